//! Time as the callers give it, and the Date header field (RFC 3261 §20.17: RFC 1123 form, always GMT).

use std::fmt;
use std::time::{Duration, Instant};

/// Seconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// How far two moments are apart.
    pub const fn distance(self, other: UnixTime) -> Duration {
        Duration::from_secs(self.0.abs_diff(other.0))
    }

    pub(crate) const fn pki(self) -> rustls_pki_types::UnixTime {
        rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(self.0))
    }
}

/// The moment of a call into this crate: of a clock that never jumps, for deadlines, and of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub instant: Instant,
    pub unix: UnixTime,
}

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: u64 = 86_400;

/// Days from 1970-01-01 to a day of the Gregorian calendar; years from 1970 on.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    // The year begins in March, so that the leap day is its last.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

/// Seconds since 1970; `None` for a date that is none, or before 1970.
pub(crate) fn from_civil(year: u64, month: u64, day: u64, hour: u64, minute: u64, second: u64) -> Option<UnixTime> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let longest = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    // A leap second is taken as the second after it.
    if !(1970..=9999).contains(&year) || day == 0 || day > longest || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(UnixTime(days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second))
}

/// A Date header field's value such as `Sat, 13 Nov 2010 23:29:00 GMT`; `None` for what is none.
pub fn parse_sip_date(value: &str) -> Option<UnixTime> {
    let (weekday, rest) = value.trim().split_once(',')?;
    DAYS.iter().find(|day| day.eq_ignore_ascii_case(weekday.trim()))?;
    let mut words = rest.split_ascii_whitespace();
    let (day, month, year, time, zone) = (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !zone.eq_ignore_ascii_case("GMT") {
        return None;
    }
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? as u64 + 1;
    let mut clock = time.split(':').map(digits);
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if clock.next().is_some() {
        return None;
    }
    from_civil(digits(year)?, month, digits(day)?, hour, minute, second)
}

fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Writes a moment as a Date header field has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipDate(pub UnixTime);

impl fmt::Display for SipDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, seconds) = (self.0.0 / DAY, self.0.0 % DAY);
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let of_era = shifted % 146_097;
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let (month, carry) = if month < 10 { (month + 2, 0) } else { (month - 10, 1) };
        let year = era * 400 + year_of_era + carry;
        write!(
            f,
            "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
            DAYS[(days % 7) as usize],
            MONTHS[month as usize],
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_written_as_in_rfc_3261() {
        let date = "Sat, 13 Nov 2010 23:29:00 GMT";
        assert_eq!(parse_sip_date(date), Some(UnixTime(1_289_690_940)));
        assert_eq!(SipDate(UnixTime(1_289_690_940)).to_string(), date);
        for unix in [0, 951_782_400, 951_868_799, 1_709_164_800, 4_102_444_799, 1_443_208_345] {
            assert_eq!(parse_sip_date(&SipDate(UnixTime(unix)).to_string()), Some(UnixTime(unix)), "{unix}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for wrong in [
            "",
            "Sat, 13 Nov 2010 23:29:00 CET",
            "Sat, 31 Nov 2010 23:29:00 GMT",
            "Sat, 29 Feb 2011 23:29:00 GMT",
            "Sat, 13 Nov 1969 23:29:00 GMT",
            "Sat, 13 Nov 2010 24:29:00 GMT",
            "Sat, 13 Nov 2010 23:29 GMT",
            "Sat, 13 Nov 2010 23:29:00:00 GMT",
            "Sat, 13 Nov 2010 23:29:00 GMT x",
            "Xyz, 13 Nov 2010 23:29:00 GMT",
            "Sat, 13 Nov 99999999999999999999 23:29:00 GMT",
        ] {
            assert_eq!(parse_sip_date(wrong), None, "{wrong}");
        }
    }
}
