//! `name-addr` and `addr-spec` with parameters: From, To, Contact, Route, Record-Route, Path, Refer-To and their kin
//! (RFC 3261 §20, §25.1).

use std::borrow::Cow;

use crate::lex;
use crate::params::{HeaderError, Params};
use crate::uri::{Uri, UriError};

/// One value such as `"Bob" <sip:bob@example.com>;tag=1`, borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// Quotes and escapes undone; `None` where there is none.
    pub display: Option<Cow<'a, str>>,
    /// The URI as written, not yet taken apart.
    pub uri: &'a str,
    pub params: Params<'a>,
    /// Whether the URI stood in angle brackets. Where not, what follows a semicolon is the header's, not the URI's.
    pub bracketed: bool,
}

impl<'a> NameAddr<'a> {
    /// Reads exactly one value.
    pub fn parse(value: &'a [u8]) -> Result<NameAddr<'a>, HeaderError> {
        let split = split(lex::trim(value))?;
        let params = Params::parse(split.params)?;
        let uri = std::str::from_utf8(split.uri).map_err(|_| HeaderError::new("a URI in UTF-8"))?;
        Ok(NameAddr { display: display_text(split.display), uri, params, bracketed: split.bracketed })
    }

    pub fn uri(&self) -> Result<Uri<'a>, UriError> {
        Uri::parse(self.uri)
    }

    /// A parameter of the header field (not of the URI) by its name in any case; `Some("")` where it has no value.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.get(name)
    }

    pub fn tag(&self) -> Option<&'a str> {
        self.param("tag")
    }

    /// `q` in thousandths, 1000 where it is absent or cannot be read (RFC 3261 §20.10).
    pub fn q_thousandths(&self) -> u16 {
        self.param("q").and_then(q_value).unwrap_or(1000)
    }
}

/// `0.5` as 500; `None` for what is not `0`…`1` with at most three decimals.
fn q_value(s: &str) -> Option<u16> {
    let (whole, fraction) = s.split_once('.').unwrap_or((s, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scale = [1000, 100, 10, 1][fraction.len()];
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse::<u16>().ok()? * scale };
    match whole {
        "0" | "" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

/// The pieces of a value before they are read.
pub(crate) struct Split<'a> {
    display: &'a [u8],
    pub(crate) uri: &'a [u8],
    pub(crate) params: &'a [u8],
    bracketed: bool,
}

/// Takes a trimmed value apart and checks the URI's characters; allocates nothing.
pub(crate) fn split(value: &[u8]) -> Result<Split<'_>, HeaderError> {
    if value.first() == Some(&b'"') {
        let len = lex::quoted_len(value).ok_or(HeaderError::new("a closing quote after the display name"))?;
        let rest = lex::skip_lws(&value[len..]);
        let inner = rest.strip_prefix(b"<").ok_or(HeaderError::new("< after a quoted display name"))?;
        return bracketed(&value[..len], inner);
    }
    // A display name of words, or none: a colon before any < means that there are no brackets at all. Wider than the
    // grammar, which takes tokens only: phones send names in UTF-8, with apostrophes and parentheses, unquoted.
    match value.iter().position(|b| matches!(b, b'<' | b':' | b'"' | b',' | b';' | b'>')) {
        Some(at) if value[at] == b'<' => bracketed(&value[..at], &value[at + 1..]),
        Some(at) if value[at] == b':' => addr_spec(value),
        Some(_) | None => Err(HeaderError::new("a URI, or a display name and a URI in angle brackets")),
    }
}

fn bracketed<'a>(display: &'a [u8], inner: &'a [u8]) -> Result<Split<'a>, HeaderError> {
    let end = memchr::memchr(b'>', inner).ok_or(HeaderError::new("> after the URI"))?;
    let (uri, params) = (&inner[..end], &inner[end + 1..]);
    check_uri(uri)?;
    Ok(Split { display: lex::trim_end(display), uri, params, bracketed: true })
}

/// Without brackets the URI has neither parameters nor headers of its own, nor commas (RFC 3261 §20).
fn addr_spec(value: &[u8]) -> Result<Split<'_>, HeaderError> {
    let end = value.iter().position(|&b| b == b';' || lex::is(b, lex::LWS)).unwrap_or(value.len());
    let (uri, params) = (&value[..end], &value[end..]);
    check_uri(uri)?;
    if uri.iter().any(|b| matches!(b, b'?' | b',')) {
        return Err(HeaderError::new("a URI with ? or , to stand in angle brackets (RFC 3261 §20.10)"));
    }
    Ok(Split { display: b"", uri, params, bracketed: false })
}

/// The scheme, the colon, something after it, and nothing that no URI may hold; UTF-8.
#[inline]
pub(crate) fn check_uri(uri: &[u8]) -> Result<(), HeaderError> {
    let colon = memchr::memchr(b':', uri).ok_or(HeaderError::new("a URI with a scheme"))?;
    if colon == 0 || !uri[0].is_ascii_alphabetic() || !lex::all(&uri[..colon], lex::TOKEN) {
        return Err(HeaderError::new("a URI with a scheme"));
    }
    let rest = &uri[colon + 1..];
    let common = lex::common(rest);
    if common & lex::URI == 0 || !lex::is_utf8(rest, common) {
        return Err(HeaderError::new("a URI in UTF-8 without white space, quotes or brackets"));
    }
    Ok(())
}

fn display_text(display: &[u8]) -> Option<Cow<'_, str>> {
    let Some(inner) = display.strip_prefix(b"\"") else {
        return (!display.is_empty()).then(|| lex::text(display));
    };
    let inner = &inner[..inner.len() - 1];
    if !inner.contains(&b'\\') {
        return Some(lex::text(inner));
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&b) = bytes.next() {
        plain.push(if b == b'\\' { bytes.next().copied().unwrap_or(b) } else { b });
    }
    Some(Cow::Owned(lex::text(&plain).into_owned()))
}
