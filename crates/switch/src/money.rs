//! Amounts of money: whole millionths of a currency's unit, read and written as decimal text, never as a float.

use std::fmt;

/// Millionths of the currency's unit.
pub type Millionths = u64;

/// Millionths in one.
pub const UNIT: Millionths = 1_000_000;
/// Digits behind the point.
const DECIMALS: usize = 6;
/// Digits before it: more than any bill has, and no sum of them overflows.
const WHOLE: usize = 9;

/// A text that is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("write digits with a point, such as 12.50")]
    Form,
    #[error("write a point instead of the comma, and no separators of thousands")]
    Comma,
    #[error("leave out the digits behind the sixth decimal: nothing is counted in less than millionths")]
    TooFine,
    #[error("write less than 1000000000")]
    TooMuch,
}

/// `12.50` as millionths.
///
/// # Errors
/// What is to be done about it.
pub fn parse(text: &str) -> Result<Millionths, MoneyError> {
    if text.contains(',') {
        return Err(MoneyError::Comma);
    }
    let (whole, decimals) = match text.split_once('.') {
        Some((_, "")) => return Err(MoneyError::Form),
        Some(parts) => parts,
        None => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(decimals) {
        return Err(MoneyError::Form);
    }
    let decimals = decimals.trim_end_matches('0');
    let whole = whole.trim_start_matches('0');
    if decimals.len() > DECIMALS {
        return Err(MoneyError::TooFine);
    }
    if whole.len() > WHOLE {
        return Err(MoneyError::TooMuch);
    }
    let number = |text: &str| text.bytes().fold(0, |sum: u64, digit| sum * 10 + u64::from(digit - b'0'));
    let missing = u32::try_from(DECIMALS - decimals.len()).expect("six at most");
    Ok(number(whole) * UNIT + number(decimals) * 10u64.pow(missing))
}

/// The amount as text: two decimals, and more where they are not zero.
pub fn text(amount: Millionths) -> String {
    Shown(amount).to_string()
}

struct Shown(Millionths);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:06}", self.0 % UNIT);
        let decimals = decimals.trim_end_matches('0');
        write!(f, "{}.{decimals:0<2}", self.0 / UNIT)
    }
}

/// Whether a text is the name of a currency as ISO 4217 has them.
pub fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly_and_written_as_people_write_them() {
        for (read, amount, written) in [
            ("12.50", 12_500_000, "12.50"),
            ("0", 0, "0.00"),
            ("0.1", 100_000, "0.10"),
            ("0.0123", 12_300, "0.0123"),
            ("000.000001", 1, "0.000001"),
            ("7.1000000000", 7_100_000, "7.10"),
            ("999999999.999999", 999_999_999_999_999, "999999999.999999"),
        ] {
            assert_eq!(parse(read), Ok(amount), "{read}");
            assert_eq!(text(amount), written);
            assert_eq!(parse(&text(amount)), Ok(amount));
        }
        assert_eq!(text(u64::MAX), "18446744073709.551615");
    }

    #[test]
    fn what_is_no_amount_is_told_apart() {
        for text in ["", ".5", "5.", "-1", "+1", "1e3", "EUR 1", "1.2.3", "٣"] {
            assert_eq!(parse(text), Err(MoneyError::Form), "{text:?}");
        }
        assert_eq!(parse("0,05"), Err(MoneyError::Comma));
        assert_eq!(parse("0.0000001"), Err(MoneyError::TooFine));
        assert_eq!(parse("1000000000"), Err(MoneyError::TooMuch));
        assert!(is_currency("EUR") && !is_currency("eur") && !is_currency("EURO") && !is_currency("E1R"));
    }
}
