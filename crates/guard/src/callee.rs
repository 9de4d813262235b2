//! What a callee really is, whatever it is dressed up as, and whether it may be dialled (GUARD-4). What comes out of
//! [`decode`] is what is judged, and the same text is what is routed: nobody downstream decodes once more.

use std::borrow::Cow;

/// Rounds of percent-decoding; what is still encoded after them is nonsense.
const ROUNDS: usize = 4;

/// A callee as it stands in the user part of a Request-URI or a `tel:` URI, undressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callee {
    text: String,
    kind: CalleeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalleeKind {
    /// Digits, `*` and `#`, perhaps with `+` in front.
    Number,
    /// Anything else that can be dialled: `director`.
    Name,
}

impl Callee {
    /// What is judged and routed.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn kind(&self) -> CalleeKind {
        self.kind
    }
}

/// Why something is no callee at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCallee {
    #[error("expected a number or name, got nothing")]
    Empty,
    #[error("expected text, got an escape that hides another one, or a character that cannot be dialled")]
    Disguised,
    #[error("expected at most {} characters, got more", MOST)]
    TooLong,
}

/// The longest callee.
const MOST: usize = 64;

/// Undresses the user part of a URI (escapes still in it, parameters too) or the number of a `tel:` URI: escapes are undone
/// however often they were applied, parameters cut off and a `phone-context` put in front (RFC 3966 §5.1.5), visual
/// separators and invisible characters left out, digits and plus signs of other scripts made ours. What has an `@` within,
/// control characters, or escapes that do not end is refused.
///
/// # Errors
/// It is no callee.
pub fn decode(user: &str) -> Result<Callee, NoCallee> {
    let plain = unescape(user)?;
    let (number, parameters) = match plain.split_once(';') {
        Some((number, parameters)) => (number, Some(parameters)),
        None => (plain.as_ref(), None),
    };
    // RFC 3261 §19.1.1 has a password behind a colon: it is no part of whom it names.
    let number = number.split(':').next().unwrap_or(number);
    let mut bare = String::with_capacity(number.len());
    for c in number.chars() {
        match plain_char(c) {
            Plain::Char(c) => bare.push(c),
            Plain::Separator | Plain::Nothing => {}
            Plain::Forbidden => return Err(NoCallee::Disguised),
        }
    }
    if bare.is_empty() {
        return Err(NoCallee::Empty);
    }
    let is_number = is_number(&bare);
    let mut text = if is_number { bare } else { name(number) };
    if is_number && let Some(context) = parameters.and_then(phone_context) {
        // A number that is local to `+44` is one of `+44`.
        let context: String = unescape(context)?.chars().filter_map(digit_or_plus).collect();
        if context.starts_with('+') && !text.starts_with('+') {
            text = format!("{context}{text}");
        }
    }
    if text.chars().count() > MOST {
        return Err(NoCallee::TooLong);
    }
    let kind = if is_number { CalleeKind::Number } else { CalleeKind::Name };
    Ok(Callee { text, kind })
}

/// A name keeps its dots and dashes; all else is as for a number.
fn name(text: &str) -> String {
    let keep = |c: char| match plain_char(c) {
        Plain::Char(c) => Some(c),
        Plain::Separator if c.is_ascii() && c != ' ' => Some(c),
        Plain::Separator | Plain::Nothing | Plain::Forbidden => None,
    };
    text.chars().filter_map(keep).collect()
}

fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches('+');
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'*' | b'#' | b'+'))
        || !text.is_empty() && digits.is_empty()
}

fn phone_context(parameters: &str) -> Option<&str> {
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("phone-context").then_some(value)
    })
}

fn digit_or_plus(c: char) -> Option<char> {
    match plain_char(c) {
        Plain::Char(c) if c.is_ascii_digit() || c == '+' => Some(c),
        _ => None,
    }
}

/// Percent-encoding undone until nothing is left of it.
fn unescape(text: &str) -> Result<Cow<'_, str>, NoCallee> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..ROUNDS {
        if !text.contains('%') {
            return Ok(text);
        }
        let bytes = text.as_bytes();
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] != b'%' {
                out.push(bytes[at]);
                at += 1;
                continue;
            }
            let hex = bytes.get(at + 1..at + 3).ok_or(NoCallee::Disguised)?;
            let hex = std::str::from_utf8(hex).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok());
            out.push(hex.filter(|_| bytes[at + 1] != b'+').ok_or(NoCallee::Disguised)?);
            at += 3;
        }
        text = Cow::Owned(String::from_utf8(out).map_err(|_| NoCallee::Disguised)?);
    }
    if text.contains('%') { Err(NoCallee::Disguised) } else { Ok(text) }
}

enum Plain {
    Char(char),
    /// Visual: no part of a number (RFC 3966 §3).
    Separator,
    /// Seen by nobody.
    Nothing,
    Forbidden,
}

fn plain_char(c: char) -> Plain {
    match c {
        '-' | '.' | '(' | ')' | ' ' | '/' | '_' | '~' | ',' => Plain::Separator,
        '@' | '<' | '>' | '"' | '\\' => Plain::Forbidden,
        c if c.is_ascii_control() => Plain::Forbidden,
        c if c.is_ascii() => Plain::Char(c),
        // Plus signs that are drawn like one.
        '\u{FF0B}' | '\u{207A}' | '\u{208A}' | '\u{FE62}' | '\u{FB29}' | '\u{2795}' | '\u{1F7A1}'..='\u{1F7A7}' => {
            Plain::Char('+')
        }
        '\u{FF0A}' | '\u{2217}' | '\u{204E}' | '\u{066D}' | '\u{FE61}' => Plain::Char('*'),
        '\u{FF03}' | '\u{FE5F}' => Plain::Char('#'),
        // Invisible: zero-width characters, marks of direction, joiners, variation selectors, tags.
        '\u{00AD}'
        | '\u{034F}'
        | '\u{061C}'
        | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}'
        | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{FE00}'..='\u{FE0F}'
        | '\u{FEFF}'
        | '\u{E0000}'..='\u{E0FFF}' => Plain::Nothing,
        // Keycap and combining marks around a digit.
        '\u{20D0}'..='\u{20FF}' | '\u{0300}'..='\u{036F}' => Plain::Nothing,
        // Dashes, dots and blanks.
        '\u{00A0}'
        | '\u{1680}'
        | '\u{2000}'..='\u{200A}'
        | '\u{2010}'..='\u{2015}'
        | '\u{2024}'..='\u{2026}'
        | '\u{2027}'
        | '\u{202F}'
        | '\u{205F}'
        | '\u{2212}'
        | '\u{2215}'
        | '\u{3000}'
        | '\u{00B7}'
        | '\u{30FB}'
        | '\u{FE58}'
        | '\u{FE63}'
        | '\u{FF08}'
        | '\u{FF09}'
        | '\u{FF0D}'
        | '\u{FF0E}'
        | '\u{FF0F}' => Plain::Separator,
        c if c.is_control() => Plain::Forbidden,
        c => digit(c).map_or(Plain::Char(c), Plain::Char),
    }
}

/// The ASCII digit that a character stands for: decimal digits of all scripts (Unicode category Nd), and those in circles,
/// brackets, with a stop, above and below the line.
fn digit(c: char) -> Option<char> {
    /// The zero of each script.
    #[rustfmt::skip]
    const ZEROS: [u32; 57] = [
        0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66,
        0x0DE6, 0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90,
        0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10,
        0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0,
        0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16B50, 0x1E140, 0x1E950,
    ];
    /// First and last of a run that begins with this digit.
    #[rustfmt::skip]
    const RUNS: [(u32, u32, u32); 15] = [
        (0x2070, 0x2070, 0), (0x00B9, 0x00B9, 1), (0x00B2, 0x00B3, 2), (0x2074, 0x2079, 4), (0x2080, 0x2089, 0),
        (0x2460, 0x2468, 1), (0x2474, 0x247C, 1), (0x2488, 0x2490, 1), (0x24EA, 0x24EA, 0), (0x24F5, 0x24FD, 1),
        (0x24FF, 0x24FF, 0), (0x2776, 0x277E, 1), (0x2780, 0x2788, 1), (0x278A, 0x2792, 1), (0x1F100, 0x1F100, 0),
    ];
    let code = u32::from(c);
    let of = |value: u32| char::from_digit(value, 10);
    if let Some(zero) = ZEROS.iter().find(|&&zero| (zero..zero + 10).contains(&code)) {
        return of(code - zero);
    }
    // Mathematical digits: five alphabets in a row.
    if (0x1D7CE..=0x1D7FF).contains(&code) {
        return of((code - 0x1D7CE) % 10);
    }
    if (0x1FBF0..=0x1FBF9).contains(&code) {
        return of(code - 0x1FBF0);
    }
    // With a comma behind it.
    if (0x1F101..=0x1F10A).contains(&code) {
        return of(code - 0x1F101);
    }
    RUNS.iter()
        .find(|(first, last, _)| (*first..=*last).contains(&code))
        .and_then(|(first, _, value)| of(value + code - first))
}

/// Which callees guests and extensions may dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalleeRules {
    /// Digits of the longest number; names are free of it.
    pub longest: usize,
    /// What a callee must not begin with.
    pub denied: Vec<String>,
    /// What it must begin with, one of them; empty: anything.
    pub allowed: Vec<String>,
}

impl Default for CalleeRules {
    fn default() -> Self {
        Self { longest: 12, denied: vec!["00".to_owned(), "+".to_owned()], allowed: Vec::new() }
    }
}

/// Why a callee may not be dialled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalleeRefusal {
    #[error(transparent)]
    NoCallee(#[from] NoCallee),
    #[error("numbers have at most {most} digits here, got {got}")]
    TooManyDigits { most: usize, got: usize },
    #[error("what begins with {prefix} may not be dialled here")]
    Denied { prefix: String },
    #[error("only what begins with one of the allowed prefixes may be dialled here")]
    NotAllowed,
}

impl CalleeRefusal {
    /// The rule that refused, for log, record and counter.
    pub fn rule(&self) -> &'static str {
        match self {
            CalleeRefusal::NoCallee(_) => "callee.disguised",
            CalleeRefusal::TooManyDigits { .. } => "callee.length",
            CalleeRefusal::Denied { .. } => "callee.denied_prefix",
            CalleeRefusal::NotAllowed => "callee.allowed_prefix",
        }
    }
}

impl CalleeRules {
    /// Undresses and judges in one step. Deny wins over allow.
    ///
    /// # Errors
    /// The first rule that says no.
    pub fn admit(&self, user: &str) -> Result<Callee, CalleeRefusal> {
        let callee = decode(user)?;
        self.judge(&callee)?;
        Ok(callee)
    }

    /// # Errors
    /// The first rule that says no.
    pub fn judge(&self, callee: &Callee) -> Result<(), CalleeRefusal> {
        self.judge_plain(callee.text())
    }

    /// As [`CalleeRules::judge`], of a part of what [`decode`] gave: what is left of it behind a code.
    ///
    /// # Errors
    /// The first rule that says no.
    pub fn judge_plain(&self, text: &str) -> Result<(), CalleeRefusal> {
        if let Some(prefix) = self.denied.iter().find(|prefix| text.starts_with(prefix.as_str())) {
            return Err(CalleeRefusal::Denied { prefix: prefix.clone() });
        }
        if is_number(text) {
            let got = text.bytes().filter(u8::is_ascii_digit).count();
            if got > self.longest {
                return Err(CalleeRefusal::TooManyDigits { most: self.longest, got });
            }
        }
        if !self.allowed.is_empty() && !self.allowed.iter().any(|prefix| text.starts_with(prefix.as_str())) {
            return Err(CalleeRefusal::NotAllowed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod disguises;

#[cfg(test)]
mod tests {
    use super::disguises::{corpus, dresses};
    use super::*;

    fn text(user: &str) -> String {
        decode(user).expect(user).text().to_owned()
    }

    #[test]
    fn what_is_dialled_is_seen_through_its_dress() {
        for (user, expected) in [
            ("101", "101"),
            ("%31%30%31", "101"),
            ("%2531%2530%2531", "101"),
            ("+44-20.7946(0000)", "+442079460000"),
            ("00 49 30 1234", "0049301234"),
            ("0\u{200B}0\u{2060}49", "0049"),
            ("\u{FF10}\u{0660}\u{06F4}\u{1D7D7}", "0049"),
            ("\u{FF0B}49", "+49"),
            ("0;phone-context=+49", "+490"),
            ("123;isub=5;phone-context=%2B44", "+44123"),
            ("director", "director"),
            ("alex.smith-2", "alex.smith-2"),
            ("director:secret", "director"),
            ("*31#5", "*31#5"),
        ] {
            assert_eq!(text(user), expected, "{user}");
        }
        assert_eq!(decode("director").map(|c| c.kind()), Ok(CalleeKind::Name));
        assert_eq!(decode("+").map(|c| c.kind()), Ok(CalleeKind::Number));
    }

    #[test]
    fn what_cannot_be_undressed_is_no_callee() {
        for (user, expected) in [
            ("", NoCallee::Empty),
            ("...", NoCallee::Empty),
            (";x=1", NoCallee::Empty),
            ("a@b", NoCallee::Disguised),
            ("101%40evil", NoCallee::Disguised),
            ("10%", NoCallee::Disguised),
            ("10%4", NoCallee::Disguised),
            ("10%zz", NoCallee::Disguised),
            ("10%+1", NoCallee::Disguised),
            ("10%00", NoCallee::Disguised),
            ("10%ff", NoCallee::Disguised),
            ("%25252525252530", NoCallee::Disguised),
            ("101%0d%0aX", NoCallee::Disguised),
        ] {
            assert_eq!(decode(user), Err(expected), "{user}");
        }
        assert_eq!(decode(&"1".repeat(65)), Err(NoCallee::TooLong));
    }

    #[test]
    fn rules_are_those_of_guard_4_and_deny_wins() {
        let rules = CalleeRules::default();
        let rule = |user: &str| rules.admit(user).map(|c| c.text().to_owned()).map_err(|e| e.rule());
        assert_eq!(rule("123456789012"), Ok("123456789012".into()));
        assert_eq!(rule("1234567890123"), Err("callee.length"));
        assert_eq!(rule("a-very-long-name-of-a-person"), Ok("a-very-long-name-of-a-person".into()));
        assert_eq!(rule("0049"), Err("callee.denied_prefix"));
        assert_eq!(rule("00director"), Err("callee.denied_prefix"));
        assert_eq!(rule("+1"), Err("callee.denied_prefix"));
        let narrow = CalleeRules { allowed: vec!["1".into(), "00".into()], ..rules };
        assert_eq!(narrow.admit("101").map(|_| ()), Ok(()));
        assert_eq!(narrow.admit("201").map_err(|e| e.rule()).map(|_| ()), Err("callee.allowed_prefix"));
        assert_eq!(narrow.admit("0049").map_err(|e| e.rule()).map(|_| ()), Err("callee.denied_prefix"));
    }

    #[test]
    fn none_of_thousands_of_disguises_of_forbidden_callees_gets_through() {
        let rules = CalleeRules::default();
        let users = corpus();
        for user in &users {
            if let Ok(callee) = rules.admit(user) {
                panic!("{user} passes as {}", callee.text());
            }
        }
        assert!(users.len() >= 5_000, "{} disguises", users.len());
    }

    #[test]
    fn an_honest_callee_passes_in_every_dress_as_what_it_is() {
        let rules = CalleeRules::default();
        for number in ["101", "02079460000", "*31", "112"] {
            for dress in dresses() {
                let user = dress(number);
                let callee = rules.admit(&user).map(|c| c.text().to_owned());
                assert_eq!(callee.as_deref(), Ok(number), "{user}");
            }
        }
    }
}
