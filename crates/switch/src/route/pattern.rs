//! Whether a dialled number fits a pattern, and how patterns are written: `any`, `exact:…`, `prefix:…`, or the digits form.

use std::fmt;
use std::str::FromStr;

use crate::model::Pattern;

/// A pattern could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("expected a pattern, got nothing; write any, exact:112, prefix:00 or one like 0[1-9]XXXXXX.")]
    Empty,
    #[error("expected ] after [ in the pattern {0:?}")]
    OpenClass(String),
    #[error("expected digits or a span like 1-5 between [ and ] in the pattern {0:?}")]
    BadClass(String),
    #[error(". and ! stand for the rest of the number: expected them at the end of the pattern {0:?} only")]
    NotLast(String),
    #[error("expected digits, *, #, +, letters of a name, X, Z, N, [ ], . or ! in the pattern {0:?}, got {1:?}")]
    BadCharacter(String, char),
}

impl Pattern {
    pub fn matches(&self, number: &str) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Exact(exact) => exact == number,
            Pattern::Prefix(prefix) => number.starts_with(prefix.as_str()),
            Pattern::Digits(pattern) => matches_digits(pattern.as_bytes(), number.as_bytes()),
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

fn matches_digits(mut pattern: &[u8], mut number: &[u8]) -> bool {
    loop {
        let Some((&first, rest)) = pattern.split_first() else { return number.is_empty() };
        match first {
            b'.' => return !number.is_empty(),
            b'!' => return true,
            _ => {}
        }
        let Some((&digit, left)) = number.split_first() else { return false };
        let fits = match first {
            b'X' => digit.is_ascii_digit(),
            b'Z' => matches!(digit, b'1'..=b'9'),
            b'N' => matches!(digit, b'2'..=b'9'),
            b'[' => {
                let Some(end) = rest.iter().position(|&b| b == b']') else { return false };
                let fits = in_class(&rest[..end], digit);
                pattern = &rest[end + 1..];
                number = left;
                if fits {
                    continue;
                }
                return false;
            }
            literal => literal == digit,
        };
        if !fits {
            return false;
        }
        (pattern, number) = (rest, left);
    }
}

fn in_class(mut class: &[u8], digit: u8) -> bool {
    while let Some((&from, rest)) = class.split_first() {
        if let [b'-', to, rest @ ..] = rest {
            if (from..=*to).contains(&digit) {
                return true;
            }
            class = rest;
        } else {
            if from == digit {
                return true;
            }
            class = rest;
        }
    }
    false
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
        check_digits(text)?;
        Ok(Pattern::Digits(text.to_owned()))
    }
}

fn check_digits(text: &str) -> Result<(), PatternError> {
    if text.is_empty() {
        return Err(PatternError::Empty);
    }
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '.' | '!' if !rest.is_empty() => return Err(PatternError::NotLast(text.to_owned())),
            '[' => {
                let end = rest.find(']').ok_or_else(|| PatternError::OpenClass(text.to_owned()))?;
                if !is_class(&rest.as_bytes()[..end]) {
                    return Err(PatternError::BadClass(text.to_owned()));
                }
                rest = &rest[end + 1..];
            }
            '.' | '!' | '+' | '*' | '#' | 'X' | 'Z' | 'N' | '0'..='9' => {}
            other => return Err(PatternError::BadCharacter(text.to_owned(), other)),
        }
    }
    Ok(())
}

fn is_class(mut class: &[u8]) -> bool {
    if class.is_empty() {
        return false;
    }
    loop {
        class = match class {
            [] => return true,
            [from, b'-', to, rest @ ..] if from.is_ascii_digit() && to.is_ascii_digit() && from <= to => rest,
            [digit, rest @ ..] if digit.is_ascii_digit() && rest.first() != Some(&b'-') => rest,
            _ => return false,
        };
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
