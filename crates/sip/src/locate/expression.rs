//! The substitution of a NAPTR rule (RFC 3402 §3.2), `!^\+44(.*)$!sip:\1@example.org!`, for ENUM. Whoever owns the zone wrote
//! it, so the cost of each is bounded, and what an ERE (POSIX) means and our regular expressions do not mean alike is refused.

use regex_lite::{Regex, RegexBuilder};

/// Longest expression; a NAPTR field has 255 bytes anyway.
const LONGEST: usize = 255;
/// Bytes that a compiled one may take.
const SIZE: usize = 1 << 16;
/// Groups within groups.
const DEPTH: u32 = 16;
/// Longest result.
const LONGEST_RESULT: usize = 512;

/// Why a substitution gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    #[error("its expression is not DELIMITER pattern DELIMITER replacement DELIMITER (RFC 3402 §3.2)")]
    Form,
    #[error("its pattern is no extended regular expression, or too costly a one")]
    Pattern,
    #[error("its pattern does not fit the number")]
    NoMatch,
    #[error("its replacement names a group that the pattern does not have")]
    NoSuchGroup,
    #[error("its result is too long")]
    TooLong,
}

/// What `expression` makes of `input`. The replacement is the whole result: what of `input` the pattern leaves out is not
/// put around it.
pub(super) fn substitute(expression: &str, input: &str) -> Result<String, ExpressionError> {
    if expression.len() > LONGEST {
        return Err(ExpressionError::Form);
    }
    let [pattern, replacement] = parts(expression).ok_or(ExpressionError::Form)?;
    let pattern = compile(pattern).ok_or(ExpressionError::Pattern)?;
    let found = pattern.captures(input).ok_or(ExpressionError::NoMatch)?;
    let mut out = String::new();
    let mut chars = replacement.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                let group = digit.to_digit(10).filter(|group| *group > 0).ok_or(ExpressionError::NoSuchGroup)? as usize;
                if group >= found.len() {
                    return Err(ExpressionError::NoSuchGroup);
                }
                out.push_str(found.get(group).map_or("", |text| text.as_str()));
            }
            ('\\', escaped) => out.push(escaped.unwrap_or('\\')),
            (c, _) => out.push(c),
        }
        if out.len() > LONGEST_RESULT {
            return Err(ExpressionError::TooLong);
        }
    }
    Ok(out)
}

/// Pattern and replacement. A delimiter within them stands behind a backslash; there are exactly three that do not
/// (RFC 6116 §5.2). Behind the last one only the flag `i` may stand, and case never counts here (§3.6).
fn parts(expression: &str) -> Option<[&str; 2]> {
    let delimiter = expression.chars().next().filter(|c| !c.is_ascii_digit() && !matches!(c, 'i' | 'I' | '\\'))?;
    let mut cuts = Vec::with_capacity(3);
    let mut escaped = false;
    for (at, c) in expression.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == delimiter {
            cuts.push(at);
        }
    }
    let [first, second, third] = cuts[..] else { return None };
    let width = delimiter.len_utf8();
    let flags = &expression[third + width..];
    let known = flags.is_empty() || flags.eq_ignore_ascii_case("i");
    known.then(|| [&expression[first + width..second], &expression[second + width..third]])
}

fn compile(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(&translated(pattern)?).case_insensitive(true).size_limit(SIZE).nest_limit(DEPTH).build().ok()
}

/// An ERE (POSIX.1 §9.4) in the syntax that we compile; `None` for what it leaves undefined, or what would mean another
/// thing here.
fn translated(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    let mut repeated = false;
    while let Some(c) = chars.next() {
        let repeats = matches!(c, '*' | '+' | '?' | '{');
        // `a*?` and the like.
        if repeats && repeated {
            return None;
        }
        repeated = repeats;
        match c {
            '\\' => literal(&mut out, chars.next().filter(|c| !c.is_alphanumeric())?),
            '[' => bracket(&mut out, &mut chars)?,
            '(' => {
                // `(?…)` is no group of an ERE.
                if chars.peek() == Some(&'?') {
                    return None;
                }
                out.push('(');
            }
            '{' => {
                out.push('{');
                let bound: String = std::iter::from_fn(|| chars.next_if(|c| c.is_ascii_digit() || *c == ',')).collect();
                chars.next_if_eq(&'}')?;
                out.push_str(&bound);
                out.push('}');
            }
            ')' | '*' | '+' | '?' | '.' | '^' | '$' | '|' => out.push(c),
            c => literal(&mut out, c),
        }
    }
    Some(out)
}

/// `[…]`: within it a backslash is nothing special, `]` is a member where it stands first, and classes are `[:digit:]`.
fn bracket(out: &mut String, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<()> {
    out.push('[');
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut first = true;
    loop {
        let c = chars.next()?;
        match c {
            ']' if !first => break,
            '[' if chars.next_if_eq(&':').is_some() => {
                let name: String = std::iter::from_fn(|| chars.next_if(char::is_ascii_lowercase)).collect();
                (chars.next()? == ':' && chars.next()? == ']').then_some(())?;
                out.push_str(&format!("[:{name}:]"));
            }
            // `[.ch.]` and `[=e=]` belong to a locale.
            '[' if matches!(chars.peek(), Some('.' | '=')) => return None,
            '-' if !first && !matches!(chars.peek(), Some(']')) => {
                // The end of a range; a second hyphen would be another operator.
                if chars.peek() == Some(&'-') {
                    return None;
                }
                out.push('-');
            }
            c => literal(out, c),
        }
        first = false;
    }
    out.push(']');
    Some(())
}

fn literal(out: &mut String, c: char) {
    if r"\.+*?()|[]{}^$#&-~".contains(c) {
        out.push('\\');
    }
    out.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: &str = "+442079460148";

    fn of(expression: &str) -> Result<String, ExpressionError> {
        substitute(expression, NUMBER)
    }

    #[test]
    fn substitutions_are_made_as_rfc_6116_shows_them() {
        assert_eq!(of(r"!^(\+442079460148)$!sip:\1@example.com!").unwrap(), "sip:+442079460148@example.com");
        assert_eq!(of("!^.*$!sip:Info@example.com!i").unwrap(), "sip:Info@example.com");
        assert_eq!(of(r"/^\+44([0-9]{2})(.*)$/sip:\2\1@a.example/").unwrap(), "sip:7946014820@a.example");
        assert_eq!(of(r"|^\+(44\|49)[[:digit:]]+$|sip:x@h|"), Err(ExpressionError::NoMatch), "an escaped | is one");
        assert_eq!(of(r"!^\+44(20|161)?(.*)$!sip:\2;area=\1@h!").unwrap(), "sip:79460148;area=20@h");
        assert_eq!(of(r"!^\+44(9)?.*$!sip:[\1]@h!").unwrap(), "sip:[]@h", "a group that took no part");
        assert_eq!(of(r"!^[+][^a-c]+$!sip:x@h!").unwrap(), "sip:x@h");
        assert_eq!(of(r"!^\+44(.)(.)(.)(.)(.)(.)(.)(.)(.).*$!\9\8\7\6\5\4\3\2\1!").unwrap(), "410649702");
    }

    #[test]
    fn what_is_no_substitution_is_refused_with_its_reason() {
        use ExpressionError::*;
        for (expression, wrong) in [
            ("", Form),
            ("!a!b", Form),
            ("!a!b!c!", Form),
            ("!a!b!x", Form),
            ("1a1b1", Form),
            (r"\a\b\", Form),
            (r"!^\+1(.*)$!sip:\1@h!", NoMatch),
            (r"!^.*$!sip:\1@h!", NoSuchGroup),
            (r"!^.*$!sip:\0@h!", NoSuchGroup),
            ("!(!x!", Pattern),
            ("![!x!", Pattern),
            (r"!\d+!x!", Pattern),
            (r"!(.)\1!x!", Pattern),
            ("!(?i)a!x!", Pattern),
            ("!^.*?$!x!", Pattern),
            ("![0-9--5]!x!", Pattern),
            ("![[.a.]]!x!", Pattern),
            ("!.{1!x!", Pattern),
        ] {
            assert_eq!(of(expression), Err(wrong), "{expression}");
        }
        assert_eq!(of(&format!("!{}!x!", "a".repeat(300))), Err(Form));
    }

    #[test]
    fn an_expression_that_is_meant_to_cost_is_refused_or_cheap() {
        assert_eq!(of("!((((((((((((((((((((a))))))))))))))))))))!x!"), Err(ExpressionError::Pattern));
        assert_eq!(of("!(.{1,1000}){1,1000}!x!"), Err(ExpressionError::Pattern));
        // Backtracking would take years for this one.
        assert_eq!(substitute("!^([0-9]+)+$!x!", &format!("{}x", "1".repeat(200))), Err(ExpressionError::NoMatch));
        let long = format!("!^(.*)$!{}!", r"\1".repeat(100));
        assert_eq!(of(&long), Err(ExpressionError::TooLong));
    }
}
