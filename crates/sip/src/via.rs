//! Via (RFC 3261 §20.42) and CSeq (§20.16).

use crate::lex;
use crate::method::Method;
use crate::params::{HeaderError, Params};
use crate::uri::{Host, port_number};

/// One Via value, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// As written, for example "UDP"; compared without regard to case.
    pub transport: &'a str,
    pub host: Host<'a>,
    pub port: Option<u16>,
    pub params: Params<'a>,
    host_text: &'a str,
    raw: &'a [u8],
}

impl<'a> Via<'a> {
    /// Reads exactly one value: `SIP/2.0/UDP host:port;branch=…`, with white space where the grammar has it.
    pub fn parse(value: &'a [u8]) -> Result<Via<'a>, HeaderError> {
        let (via, params) = Via::sent_by(value)?;
        Ok(Via { params: Params::parse(params)?, ..via })
    }

    /// All but the parameters, which are left unread.
    pub(crate) fn sent_by(value: &'a [u8]) -> Result<(Via<'a>, &'a [u8]), HeaderError> {
        let raw = lex::trim(value);
        let rest = match raw.strip_prefix(b"SIP/2.0") {
            // As everybody writes it.
            Some(rest @ [b'/', ..]) => rest,
            Some(_) | None => {
                let (_, rest) = token(raw, "SIP/2.0/transport")?;
                token(slash(rest)?, "a version after SIP/")?.1
            }
        };
        let (transport, rest) = token(slash(rest)?, "a transport after SIP/2.0/")?;
        if !rest.first().is_some_and(|&b| lex::is(b, lex::LWS)) {
            return Err(HeaderError::new("white space after the transport"));
        }
        let rest = lex::skip_lws(rest);
        let host_len = if rest.first() == Some(&b'[') {
            memchr::memchr(b']', rest).ok_or(HeaderError::new("] after an IPv6 address"))? + 1
        } else {
            rest.iter().position(|&b| matches!(b, b';' | b':') || lex::is(b, lex::LWS)).unwrap_or(rest.len())
        };
        let host_text =
            std::str::from_utf8(&rest[..host_len]).map_err(|_| HeaderError::new("a host after the transport"))?;
        let host = Host::parse(host_text).map_err(|_| HeaderError::new("a host after the transport"))?;
        let rest = &rest[host_len..];
        let (port, rest) = match lex::skip_lws(rest).strip_prefix(b":") {
            None => (None, rest),
            Some(rest) => {
                let rest = lex::skip_lws(rest);
                let len = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
                let port = port_number(&rest[..len]).ok_or(HeaderError::new("a port from 1 to 65535"))?;
                (Some(port), &rest[len..])
            }
        };
        Ok((Via { transport, host, port, params: Params::default(), host_text, raw }, rest))
    }

    /// The host as written, an IPv6 address with its brackets.
    pub fn host_str(&self) -> &'a str {
        self.host_text
    }

    pub fn branch(&self) -> Option<&'a str> {
        self.params.get("branch").filter(|branch| !branch.is_empty())
    }

    /// The branch where it names a transaction by itself, that is begins with the magic cookie (RFC 3261 §8.1.1.7) and
    /// has something after it.
    pub fn transaction_branch(&self) -> Option<&'a str> {
        const COOKIE: &str = "z9hG4bK";
        let branch = self.branch()?;
        let cookie = branch.get(..COOKIE.len())?;
        (cookie.eq_ignore_ascii_case(COOKIE) && branch.len() > COOKIE.len()).then_some(branch)
    }

    /// As written; an IPv6 address may stand in brackets or not (RFC 5118 §4.5).
    pub fn received(&self) -> Option<&'a str> {
        self.params.get("received")
    }

    /// RFC 3581: `None` without the parameter, `Some(None)` where it asks, `Some(Some(port))` where it was answered.
    pub fn rport(&self) -> Option<Option<u16>> {
        Some(self.params.find("rport")?.value.and_then(port_number))
    }

    pub fn maddr(&self) -> Option<&'a str> {
        self.params.get("maddr")
    }

    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.get(name)
    }

    /// The whole value as written.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }
}

/// A token at the start of `s`, white space before it skipped.
fn token<'a>(s: &'a [u8], expected: &'static str) -> Result<(&'a str, &'a [u8]), HeaderError> {
    let s = lex::skip_lws(s);
    let len = lex::span(s, lex::TOKEN);
    if len == 0 {
        return Err(HeaderError::new(expected));
    }
    let text = std::str::from_utf8(&s[..len]).map_err(|_| HeaderError::new(expected))?;
    Ok((text, &s[len..]))
}

fn slash(s: &[u8]) -> Result<&[u8], HeaderError> {
    lex::skip_lws(s).strip_prefix(b"/").ok_or(HeaderError::new("SIP/2.0/transport"))
}

/// CSeq: a number below 2^31 and a method (RFC 3261 §8.1.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    pub number: u32,
    pub method: Method<'a>,
}

impl<'a> CSeq<'a> {
    pub fn parse(value: &'a [u8]) -> Result<CSeq<'a>, HeaderError> {
        let (number, method) = CSeq::split(value)?;
        let method = std::str::from_utf8(method).map_err(|_| HeaderError::new("a method after the number"))?;
        Ok(CSeq { number, method: Method::from_name(method) })
    }

    /// Number and method, the method a token of ASCII.
    pub(crate) fn split(value: &'a [u8]) -> Result<(u32, &'a [u8]), HeaderError> {
        let value = lex::trim(value);
        let digits = value.iter().position(|b| !b.is_ascii_digit()).unwrap_or(value.len());
        let number = lex::number(&value[..digits]).ok_or(HeaderError::new("a number and a method"))?;
        if number >= 1 << 31 {
            return Err(HeaderError::new("a number below 2^31 (RFC 3261 §8.1.1.5)"));
        }
        let method = lex::skip_lws(&value[digits..]);
        if method.len() == value.len() - digits || !lex::all(method, lex::TOKEN) {
            return Err(HeaderError::new("white space and a method after the number"));
        }
        Ok((number as u32, method))
    }
}
