//! Character classes and small scanners of RFC 3261 §25.1, shared by everything that reads headers and URIs.
//! Inside a header field value a CR or LF is always part of a fold (the message parser sees to that), so that
//! "white space" here takes in SP, HT, CR and LF.

/// `token` characters.
pub(crate) const TOKEN: u8 = 1;
/// Linear white space including folds.
pub(crate) const LWS: u8 = 2;
/// What may stand unquoted as a parameter value: token, host and the like. Wider than the grammar, for what is sent.
pub(crate) const PARAM_VALUE: u8 = 4;
/// What may stand in a URI of any scheme, escapes and non-ASCII included.
pub(crate) const URI: u8 = 8;
/// What may stand in a Call-ID (`word`, §25.1) and any other visible character except separators of values.
pub(crate) const WORD: u8 = 16;
/// What a host name may hold, an underscore included, which is sent.
pub(crate) const HOST: u8 = 64;
/// ASCII.
pub(crate) const ASCII: u8 = 32;

const CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut i = 0usize;
    while i < 256 {
        let b = i as u8;
        let mut class = 0;
        let alphanumeric = b.is_ascii_alphanumeric();
        if alphanumeric || matches!(b, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~') {
            class |= TOKEN;
        }
        if matches!(b, b' ' | b'\t' | b'\r' | b'\n') {
            class |= LWS;
        }
        if b > b' ' && b != 0x7f && !matches!(b, b';' | b',' | b'"' | b'<' | b'>') {
            class |= PARAM_VALUE;
        }
        if b > b' ' && b != 0x7f && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}') {
            class |= URI;
        }
        if b > b' ' && b < 0x7f && !matches!(b, b',' | b';') {
            class |= WORD;
        }
        if alphanumeric || matches!(b, b'-' | b'.' | b'_') {
            class |= HOST;
        }
        if b.is_ascii() {
            class |= ASCII;
        }
        table[i] = class;
        i += 1;
    }
    table
}

#[inline]
pub(crate) fn is(b: u8, class: u8) -> bool {
    CLASS[usize::from(b)] & class != 0
}

/// Whether `s` is one or more characters, all of `class`.
#[inline]
pub(crate) fn all(s: &[u8], class: u8) -> bool {
    common(s) & class != 0
}

/// The classes that all characters of `s` are in; none for nothing. Looks at every byte, which for the short pieces of
/// a message is quicker than to stop early.
#[inline]
pub(crate) fn common(s: &[u8]) -> u8 {
    if s.is_empty() { 0 } else { s.iter().fold(u8::MAX, |classes, &b| classes & CLASS[usize::from(b)]) }
}

/// Whether `s` is text, where the classes that its characters have in common are known.
#[inline]
pub(crate) fn is_utf8(s: &[u8], common: u8) -> bool {
    common & ASCII != 0 || std::str::from_utf8(s).is_ok()
}

/// How many bytes at the start of `s` are of `class`.
#[inline]
pub(crate) fn span(s: &[u8], class: u8) -> usize {
    s.iter().position(|&b| !is(b, class)).unwrap_or(s.len())
}

#[inline]
pub(crate) fn skip_lws(s: &[u8]) -> &[u8] {
    &s[span(s, LWS)..]
}

#[inline]
pub(crate) fn trim_end(s: &[u8]) -> &[u8] {
    let end = s.iter().rposition(|&b| !is(b, LWS)).map_or(0, |i| i + 1);
    &s[..end]
}

#[inline]
pub(crate) fn trim(s: &[u8]) -> &[u8] {
    trim_end(skip_lws(s))
}

/// The length of the quoted string at the start of `s`, both quotes counted; `None` where it does not end.
/// `s` must begin with a double quote.
pub(crate) fn quoted_len(s: &[u8]) -> Option<usize> {
    let mut i = 1;
    loop {
        i += memchr::memchr2(b'"', b'\\', s.get(i..)?)?;
        if s[i] == b'"' {
            return Some(i + 1);
        }
        i += 2;
    }
}

/// Digits only, at most `u64::MAX`; saturating, so that a caller can tell "too large" from "no number".
pub(crate) fn number(s: &[u8]) -> Option<u64> {
    if s.is_empty() {
        return None;
    }
    let mut n = 0u64;
    for &b in s {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        n = n.saturating_mul(10).saturating_add(u64::from(digit));
    }
    Some(n)
}

/// Bytes as text for people: UTF-8 where they are that, else read as Latin-1, which every byte string is.
pub(crate) fn text(s: &[u8]) -> std::borrow::Cow<'_, str> {
    match std::str::from_utf8(s) {
        Ok(s) => s.into(),
        Err(_) => s.iter().map(|&b| char::from(b)).collect::<String>().into(),
    }
}

/// The values of one header field line, split at the commas that are neither in quotes nor in angle brackets
/// (RFC 3261 §7.3.1). Each is trimmed; empty ones are kept, for the grammar of the value to refuse.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Values<'a> {
    pub fn new(line: &'a [u8]) -> Self {
        Values { rest: Some(line) }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let end = value_end(rest);
        self.rest = (end < rest.len()).then(|| &rest[end + 1..]);
        Some(trim(&rest[..end]))
    }
}

/// Where the first value of a comma separated list ends.
pub(crate) fn value_end(s: &[u8]) -> usize {
    let mut i = 0;
    while let Some(found) = memchr::memchr3(b',', b'"', b'<', &s[i..]) {
        i += found;
        // A quote that does not end, or a bracket that does not close, takes in all the rest.
        let len = match s[i] {
            b',' => return i,
            b'"' => quoted_len(&s[i..]),
            _ => memchr::memchr(b'>', &s[i..]).map(|end| end + 1),
        };
        match len {
            Some(len) => i += len,
            None => break,
        }
    }
    s.len()
}
