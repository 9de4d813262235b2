//! Patterns of digits: `X` 0–9, `Z` 1–9, `N` 2–9, `[1-57]` one of these, `.` one or more of anything, `!` none or more; else
//! itself. Used by routes and by blacklists.

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

/// Whether a number fits a pattern that was checked.
pub fn matches(pattern: &str, number: &str) -> bool {
    matches_octets(pattern.as_bytes(), number.as_bytes())
}

fn matches_octets(mut pattern: &[u8], mut number: &[u8]) -> bool {
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

/// Whether a text is a pattern.
///
/// # Errors
/// What was expected, and where it went wrong.
pub fn check(text: &str) -> Result<(), PatternError> {
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
