//! Whether a dialled number fits a pattern, and how patterns are written: `any`, `exact:…`, `prefix:…`, or the digits form.

use std::fmt;
use std::str::FromStr;

use ringfort_guard::pattern;
pub use ringfort_guard::pattern::PatternError;

use crate::model::Pattern;

impl Pattern {
    pub fn matches(&self, number: &str) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Exact(exact) => exact == number,
            Pattern::Prefix(prefix) => number.starts_with(prefix.as_str()),
            Pattern::Digits(pattern) => pattern::matches(pattern, number),
        }
    }

    /// What every number that fits begins with.
    pub(super) fn literal(&self) -> &str {
        match self {
            Pattern::Any => "",
            Pattern::Exact(text) | Pattern::Prefix(text) => text,
            Pattern::Digits(pattern) => {
                let end = pattern.bytes().position(|b| matches!(b, b'X' | b'Z' | b'N' | b'[' | b'.' | b'!'));
                &pattern[..end.unwrap_or(pattern.len())]
            }
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.eq_ignore_ascii_case("any") {
            return Ok(Pattern::Any);
        }
        let literal = |rest: &str| match rest.chars().find(|c| !c.is_ascii_alphanumeric() && !"+*#._-".contains(*c)) {
            Some(c) => Err(PatternError::BadCharacter(text.to_owned(), c)),
            None if rest.is_empty() => Err(PatternError::Empty),
            None => Ok(rest.to_owned()),
        };
        if let Some(rest) = text.strip_prefix("exact:") {
            return Ok(Pattern::Exact(literal(rest)?));
        }
        if let Some(rest) = text.strip_prefix("prefix:") {
            return Ok(Pattern::Prefix(literal(rest)?));
        }
        pattern::check(text)?;
        Ok(Pattern::Digits(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Any => f.write_str("any"),
            Pattern::Exact(text) => write!(f, "exact:{text}"),
            Pattern::Prefix(text) => write!(f, "prefix:{text}"),
            Pattern::Digits(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_says_which_numbers_fit() {
        for (pattern, fits, does_not) in [
            ("any", &["", "101", "alex"][..], &[][..]),
            ("exact:112", &["112"], &["1122", "11", "0112"]),
            ("prefix:00", &["00", "0049"], &["0", "+49"]),
            ("0ZXXXX", &["010000", "099999"], &["000000", "01000", "0100000"]),
            ("0[1-35].", &["0101", "0351", "05x"], &["01", "0411", "06"]),
            ("9!", &["9", "91"], &["8"]),
            ("NXX", &["200", "999"], &["100", "2000"]),
            ("+44.", &["+4420"], &["4420", "+44"]),
            ("*4X", &["*45"], &["45"]),
        ] {
            let pattern: Pattern = pattern.parse().expect(pattern);
            for number in fits {
                assert!(pattern.matches(number), "{pattern} fits {number}");
            }
            for number in does_not {
                assert!(!pattern.matches(number), "{pattern} does not fit {number}");
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["any", "exact:112", "prefix:+44", "0[1-9]XXXXXX.", "prefix:alex.smith", "*31!"] {
            let pattern: Pattern = text.parse().expect(text);
            assert_eq!(pattern.to_string(), text);
        }
    }

    #[test]
    fn a_wrong_pattern_is_told_apart_with_what_is_expected() {
        let error = |text: &str| text.parse::<Pattern>().expect_err(text);
        assert_eq!(error(""), PatternError::Empty);
        assert_eq!(error("prefix:"), PatternError::Empty);
        assert_eq!(error("0[12"), PatternError::OpenClass("0[12".into()));
        assert_eq!(error("0[3-1]"), PatternError::BadClass("0[3-1]".into()));
        assert_eq!(error("0[]"), PatternError::BadClass("0[]".into()));
        assert_eq!(error("0.1"), PatternError::NotLast("0.1".into()));
        assert_eq!(error("00 49"), PatternError::BadCharacter("00 49".into(), ' '));
    }
}
