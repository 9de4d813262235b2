//! Days, for expiry dates.

use std::fmt;
use std::str::FromStr;

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: i32,
    month: u8,
    day: u8,
}

impl Date {
    /// The day (UTC) of a moment, in seconds since 1970.
    pub fn from_unix(seconds: u64) -> Self {
        let mut days = (seconds / 86_400) as i64;
        let mut year = 1970;
        while days >= length(year) {
            days -= length(year);
            year += 1;
        }
        let mut month = 1;
        while days >= i64::from(month_length(year, month)) {
            days -= i64::from(month_length(year, month));
            month += 1;
        }
        Self { year, month, day: days as u8 + 1 }
    }
}

fn leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn length(year: i32) -> i64 {
    if leap(year) { 366 } else { 365 }
}

fn month_length(year: i32, month: u8) -> u8 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("expected a day like 2027-01-31, found `{text}`");
        let mut parts = text.split('-');
        let mut next = |digits: usize| parts.next().filter(|part| part.len() == digits)?.parse::<u16>().ok();
        let (Some(year), Some(month), Some(day)) = (next(4), next(2), next(2)) else { return Err(error()) };
        let (year, month, day) = (i32::from(year), month as u8, day as u8);
        let exists = (1..=12).contains(&month) && (1..=month_length(year, month)).contains(&day);
        if exists && parts.next().is_none() { Ok(Self { year, month, day }) } else { Err(error()) }
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}
