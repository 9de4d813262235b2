//! What a plain YAML scalar means. YAML 1.1 where Kubernetes' readers follow it (`yes`, `off`, `0644`), the core schema else.

use super::Repr;

/// The meaning of an unquoted scalar.
pub(super) fn resolve(text: &str) -> Repr {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Repr::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Repr::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Repr::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" => return Repr::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Repr::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Repr::Float(f64::NAN),
        _ => {}
    }
    let first = text.as_bytes()[0];
    if !(first.is_ascii_digit() || matches!(first, b'+' | b'-' | b'.')) {
        return Repr::Str;
    }
    integer(text).map(Repr::Int).or_else(|| float(text).map(Repr::Float)).unwrap_or(Repr::Str)
}

fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes()[0] {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o', ..] => (8, &digits[2..]),
        [b'0', b'b', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i64::from_str_radix(digits, radix).ok()?;
    Some(if negative { -value } else { value })
}

fn float(text: &str) -> Option<f64> {
    let plausible = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'))
        && text.bytes().any(|byte| byte.is_ascii_digit());
    if plausible { text.parse().ok() } else { None }
}
