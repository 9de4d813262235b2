//! Time conditions: spans of the week in a tenant's time zone.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::model::Hours;
use crate::record::LocalDay;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTES_OF_DAY: u16 = 24 * 60;

/// A moment of the week somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// 0 is Monday.
    pub day: u8,
    /// Since midnight.
    pub minute: u16,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:02}:{:02}", DAYS[usize::from(self.day)], self.minute / 60, self.minute % 60)
    }
}

/// The zone of an IANA name; `None` where there is none of that name.
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

/// The day in Greenwich at `unix_s` seconds after 1970.
pub fn utc_day(unix_s: u64) -> LocalDay {
    day(&TimeZone::UTC, unix_s)
}

/// The day of the calendar at `unix_s` seconds after 1970 (UTC).
pub(super) fn day(zone: &TimeZone, unix_s: u64) -> LocalDay {
    let at = i64::try_from(unix_s).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or(Timestamp::MAX);
    let local = zone.to_datetime(at);
    let part = |number: i8| u32::from(number.unsigned_abs());
    LocalDay(u32::from(local.year().unsigned_abs()) * 10_000 + part(local.month()) * 100 + part(local.day()))
}

/// What the clock on the wall shows at `unix_s` seconds after 1970 (UTC).
pub(super) fn moment(zone: &TimeZone, unix_s: u64) -> Moment {
    let at = i64::try_from(unix_s).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or(Timestamp::MAX);
    let local = zone.to_datetime(at);
    Moment {
        day: local.weekday().to_monday_zero_offset().unsigned_abs(),
        minute: u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs()),
    }
}

impl Hours {
    pub fn contains(&self, at: Moment) -> bool {
        let on = |day: u8| self.days & (1 << day) != 0;
        if self.from < self.until {
            return on(at.day) && (self.from..self.until).contains(&at.minute);
        }
        on(at.day) && at.minute >= self.from || on((at.day + 6) % 7) && at.minute < self.until
    }
}

/// A span of hours could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    #[error("expected days and times like \"mon-fri 08:00-18:00\", got {0:?}")]
    Form(String),
    #[error("expected mon, tue, wed, thu, fri, sat or sun, alone, as mon-fri or as mon,wed, got {0:?}")]
    Day(String),
    #[error("expected a time from 00:00 to 24:00, got {0:?}")]
    Time(String),
}

impl FromStr for Hours {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let mut parts = text.split_whitespace();
        let (days, times) = match (parts.next(), parts.next(), parts.next()) {
            (Some(days), Some(times), None) => (self::days(days)?, times),
            (Some(times), None, None) if times.contains(':') => (0x7f, times),
            _ => return Err(HoursError::Form(text.to_owned())),
        };
        let (from, until) = times.split_once('-').ok_or_else(|| HoursError::Form(text.to_owned()))?;
        let from = time(from).filter(|&m| m < MINUTES_OF_DAY).ok_or_else(|| HoursError::Time(from.to_owned()))?;
        let until = time(until).ok_or_else(|| HoursError::Time(until.to_owned()))?;
        Ok(Hours { days, from, until })
    }
}

fn days(text: &str) -> Result<u8, HoursError> {
    let day = |name: &str| {
        let found = DAYS.iter().position(|d| d.eq_ignore_ascii_case(name));
        found.ok_or_else(|| HoursError::Day(text.to_owned()))
    };
    let mut set = 0;
    for part in text.split(',') {
        match part.split_once('-') {
            None => set |= 1 << day(part)?,
            Some((from, to)) => {
                let (mut at, last) = (day(from)?, day(to)?);
                set |= 1 << at;
                while at != last {
                    at = (at + 1) % DAYS.len();
                    set |= 1 << at;
                }
            }
        }
    }
    Ok(set)
}

fn time(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    if hours.len() > 2 || minutes.len() != 2 || !(hours.bytes().chain(minutes.bytes()).all(|b| b.is_ascii_digit())) {
        return None;
    }
    let minutes: u16 = minutes.parse().ok().filter(|&m| m < 60)?;
    let total = hours.parse::<u16>().ok()? * 60 + minutes;
    (total <= MINUTES_OF_DAY).then_some(total)
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |day: usize| self.days & (1 << day) != 0;
        let mut day = 0;
        let mut separator = "";
        while day < DAYS.len() {
            if !on(day) {
                day += 1;
                continue;
            }
            let mut last = day;
            while last + 1 < DAYS.len() && on(last + 1) {
                last += 1;
            }
            match last - day {
                0 => write!(f, "{separator}{}", DAYS[day])?,
                _ => write!(f, "{separator}{}-{}", DAYS[day], DAYS[last])?,
            }
            separator = ",";
            day = last + 1;
        }
        let clock = |m: u16| (m / 60, m % 60);
        let ((fh, fm), (uh, um)) = (clock(self.from), clock(self.until));
        write!(f, " {fh:02}:{fm:02}-{uh:02}:{um:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(text: &str) -> Hours {
        text.parse().expect(text)
    }

    #[test]
    fn a_span_holds_its_hours_and_one_over_midnight_those_of_the_next_day() {
        let office = hours("mon-fri 08:00-18:00");
        let at = |day, hour: u16, minute| Moment { day, minute: hour * 60 + minute };
        assert!(office.contains(at(0, 8, 0)));
        assert!(office.contains(at(4, 17, 59)));
        assert!(!office.contains(at(4, 18, 0)));
        assert!(!office.contains(at(5, 12, 0)));
        let night = hours("sun 22:00-06:00");
        assert!(night.contains(at(6, 23, 0)));
        assert!(night.contains(at(0, 5, 59)), "Monday morning");
        assert!(!night.contains(at(6, 5, 0)), "Sunday morning");
        assert!(hours("00:00-24:00").contains(at(3, 23, 59)));
    }

    #[test]
    fn the_wall_clock_follows_summer_time() {
        let berlin = zone("Europe/Berlin").expect("it is a zone");
        // 2026-03-29 00:59:59 UTC is 01:59:59 there, a second later it is 03:00.
        assert_eq!(moment(&berlin, 1_774_745_999), Moment { day: 6, minute: 119 });
        assert_eq!(moment(&berlin, 1_774_746_000), Moment { day: 6, minute: 180 });
        assert!(zone("Europe/Atlantis").is_none());
        // 22:59:59 UTC is the last second of the day before summer time, 21:59:59 that of the day it begins.
        let days = [1_774_738_799, 1_774_738_800, 1_774_821_599, 1_774_821_600].map(|s| day(&berlin, s).0);
        assert_eq!(days, [20_260_328, 20_260_329, 20_260_329, 20_260_330]);
        assert_eq!(day(&berlin, 1_774_738_799).month(), 202_603);
        let _ = day(&berlin, u64::MAX);
        let _ = moment(&berlin, u64::MAX);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["mon-fri 08:00-18:00", "sat 09:30-24:00", "mon,wed,fri-sat 22:00-06:00", "mon-sun 00:00-24:00"] {
            assert_eq!(hours(text).to_string(), text);
        }
        assert_eq!(hours("fri-mon 1:00-2:00").to_string(), "mon,fri-sun 01:00-02:00");
    }

    #[test]
    fn a_wrong_span_is_told_apart() {
        let error = |text: &str| text.parse::<Hours>().expect_err(text);
        assert_eq!(error("mon-fri"), HoursError::Form("mon-fri".into()));
        assert_eq!(error("mo 08:00-10:00"), HoursError::Day("mo".into()));
        assert_eq!(error("mon 8-10"), HoursError::Time("8".into()));
        assert_eq!(error("mon 08:00-24:01"), HoursError::Time("24:01".into()));
        assert_eq!(error("mon 24:00-10:00"), HoursError::Time("24:00".into()));
    }
}
