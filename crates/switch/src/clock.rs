//! The wall clock as pure data: one reading of both clocks, and arithmetic from there.

use std::fmt;
use std::time::{Duration, Instant};

use crate::record::UnixMillis;

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub instant: Instant,
    pub unix: UnixMillis,
}

impl Clock {
    /// The wall-clock time of `at`.
    pub fn unix(&self, at: Instant) -> UnixMillis {
        match at.checked_duration_since(self.instant) {
            Some(later) => UnixMillis(self.unix.0 + later.as_millis() as u64),
            None => UnixMillis(self.unix.0.saturating_sub(self.instant.duration_since(at).as_millis() as u64)),
        }
    }

    /// The same in whole seconds since 1970.
    pub fn unix_s(&self, at: Instant) -> u64 {
        self.unix(at).0 / 1000
    }

    /// The Date header field's form (RFC 3261 §20.17): `Sat, 13 Nov 2010 23:29:00 GMT`.
    pub fn date(&self, at: Instant) -> impl fmt::Display + use<> {
        SipDate(Duration::from_millis(self.unix(at).0).as_secs())
    }
}

/// Seconds since 1970, shown as a SIP date.
struct SipDate(u64);

impl fmt::Display for SipDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let seconds = self.0;
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        write!(
            f,
            "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
            DAYS[(days % 7) as usize],
            MONTHS[month as usize - 1],
            rest / 3600,
            rest / 60 % 60,
            rest % 60
        )
    }
}

/// Days since 1970-01-01 to year, month (1–12) and day (1–31) of the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years are counted from March, so that the leap day is a year's last; an era is 400 years of 146,097 days.
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    fn clock(unix_ms: u64) -> Clock {
        Clock { instant: Instant::now(), unix: UnixMillis(unix_ms) }
    }

    #[test]
    fn date_is_written_as_rfc_3261_section_20_17_shows_it() {
        let c = clock(1_289_690_940_000);
        assert_eq!(c.date(c.instant).to_string(), "Sat, 13 Nov 2010 23:29:00 GMT");
        let leap = clock(1_709_164_800_000);
        assert_eq!(leap.date(leap.instant).to_string(), "Thu, 29 Feb 2024 00:00:00 GMT");
    }

    #[test]
    fn wall_time_follows_the_instant_in_both_directions() {
        let c = clock(1_000_000);
        assert_eq!(c.unix(c.instant + Duration::from_secs(2)), UnixMillis(1_002_000));
        assert_eq!(c.unix(c.instant - Duration::from_secs(2)), UnixMillis(998_000));
    }
}
