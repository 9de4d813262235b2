//! Parameters of header field values: `;name=value;flag;name="quoted"` (RFC 3261 §25.1 `generic-param`).

use crate::header::HeaderName;
use crate::lex;

/// Why the value of a header field could not be read. The peer is at fault; a request is answered 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: expected {expected}", .header.as_str())]
pub struct HeaderError {
    /// `Other` where the reader was not told which.
    pub header: HeaderName,
    pub expected: &'static str,
}

impl HeaderError {
    pub(crate) const fn new(expected: &'static str) -> Self {
        HeaderError { header: HeaderName::Other, expected }
    }

    pub(crate) const fn of(self, header: HeaderName) -> Self {
        HeaderError { header, expected: self.expected }
    }
}

/// One parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param<'a> {
    /// As written; compared without regard to case.
    pub name: &'a str,
    /// A quoted value without its quotes, its escapes left; `None` for a flag.
    pub value: Option<&'a [u8]>,
    pub quoted: bool,
}

impl<'a> Param<'a> {
    /// The value where it is UTF-8, "" for a flag.
    pub fn value_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.value.unwrap_or_default()).ok()
    }
}

/// The parameters of one value, checked when made and read on demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    /// `s` is empty or begins with a semicolon, white space before it allowed.
    pub fn parse(s: &'a [u8]) -> Result<Params<'a>, HeaderError> {
        let mut rest = s;
        while let Some((_, after)) = next_param(rest)? {
            rest = after;
        }
        Ok(Params(lex::trim(s)))
    }

    /// A parameter's value by its name in any case; `Some("")` for a flag. A value that is not UTF-8 counts as absent.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.find(name)?.value_str()
    }

    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub fn find(&self, name: &str) -> Option<Param<'a>> {
        let mut rest = self.0;
        while let Ok(Some((param, after))) = next_param(rest) {
            rest = after;
            if param.name.eq_ignore_ascii_case(name.as_bytes()) {
                let name = std::str::from_utf8(param.name).ok()?;
                return Some(Param { name, value: param.value, quoted: param.quoted });
            }
        }
        None
    }

    pub fn iter(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (param, after) = next_param(rest).ok()??;
            rest = after;
            // Only token characters, so this is ASCII.
            let name = std::str::from_utf8(param.name).ok()?;
            Some(Param { name, value: param.value, quoted: param.quoted })
        })
    }

    /// As written, from the first semicolon on.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A parameter whose name is a token of ASCII, not yet text.
#[derive(Clone, Copy)]
pub(crate) struct RawParam<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
    quoted: bool,
}

/// The next parameter and what follows it; `None` at the end.
#[inline]
pub(crate) fn next_param(s: &[u8]) -> Result<Option<(RawParam<'_>, &[u8])>, HeaderError> {
    let s = lex::skip_lws(s);
    let Some((semicolon, s)) = s.split_first() else { return Ok(None) };
    if *semicolon != b';' {
        return Err(HeaderError::new("a semicolon between parameters"));
    }
    let s = lex::skip_lws(s);
    let len = lex::span(s, lex::TOKEN);
    if len == 0 {
        return Err(HeaderError::new("a parameter name after a semicolon"));
    }
    let (name, after) = s.split_at(len);
    let s = lex::skip_lws(after);
    let Some(s) = s.strip_prefix(b"=") else {
        return Ok(Some((RawParam { name, value: None, quoted: false }, after)));
    };
    let s = lex::skip_lws(s);
    if s.first() == Some(&b'"') {
        let len = lex::quoted_len(s).ok_or(HeaderError::new("a closing quote"))?;
        return Ok(Some((RawParam { name, value: Some(&s[1..len - 1]), quoted: true }, &s[len..])));
    }
    let len = lex::span(s, lex::PARAM_VALUE);
    if len == 0 {
        return Err(HeaderError::new("a parameter value after ="));
    }
    Ok(Some((RawParam { name, value: Some(&s[..len]), quoted: false }, &s[len..])))
}
