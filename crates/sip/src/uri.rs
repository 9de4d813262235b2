//! URIs as they stand in SIP messages: `sip:`, `sips:` (RFC 3261 §19.1), `tel:` (RFC 3966) and any other scheme kept
//! as it is. Borrowed and unescaped only on demand, so that what is forwarded stays byte-exact.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::lex;

pub use crate::uri_eq::uri_eq;

/// What a URI is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme<'a> {
    Sip,
    Sips,
    /// RFC 3966. The number stands in `user`.
    Tel,
    /// As written. What follows it stands in `opaque`.
    Other(&'a str),
}

impl<'a> Scheme<'a> {
    pub const fn as_str(self) -> &'a str {
        match self {
            Scheme::Sip => "sip",
            Scheme::Sips => "sips",
            Scheme::Tel => "tel",
            Scheme::Other(name) => name,
        }
    }

    pub const fn is_sip(self) -> bool {
        matches!(self, Scheme::Sip | Scheme::Sips)
    }
}

/// The host of a URI or a Via: a name or an address (RFC 3261 §25.1, with the IPv6 forms of RFC 5118).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    Name(&'a str),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Reads a host; an IPv6 address only within brackets.
    pub fn parse(s: &'a str) -> Result<Host<'a>, UriError> {
        if let Some(inner) = s.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(UriError::UnclosedBracket)?;
            let parsed = inner.parse().or_else(|error| match inner.rsplit_once(":::") {
                // RFC 5118 §4.10: the grammar of RFC 3261 asks for a colon too many before an IPv4 address.
                Some((before, ipv4)) if ipv4.contains('.') => format!("{before}::{ipv4}").parse(),
                Some(_) | None => Err(error),
            });
            return parsed.map(Host::V6).map_err(|_| UriError::BadIpv6);
        }
        if s.is_empty() {
            return Err(UriError::NoHost);
        }
        if let Some(v4) = ipv4(s.as_bytes()) {
            return Ok(Host::V4(v4));
        }
        if lex::all(s.as_bytes(), lex::HOST) { Ok(Host::Name(s)) } else { Err(UriError::BadHost) }
    }

    /// The address, where the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::Name(_) => None,
            Host::V4(ip) => Some(IpAddr::V4(*ip)),
            Host::V6(ip) => Some(IpAddr::V6(*ip)),
        }
    }

    /// Equal as hosts are: names without regard to case, addresses as addresses.
    pub fn same(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Host::Name(a), Host::Name(b)) => a.eq_ignore_ascii_case(b),
            (Host::V4(a), Host::V4(b)) => a == b,
            (Host::V6(a), Host::V6(b)) => a == b,
            (Host::Name(_) | Host::V4(_) | Host::V6(_), _) => false,
        }
    }
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::V4(ip) => ip.fmt(f),
            Host::V6(ip) => write!(f, "[{ip}]"),
        }
    }
}

/// A host and perhaps a port of our own: what goes into a Via's sent-by and a Contact. Displays with brackets around
/// an IPv6 address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    pub port: Option<u16>,
}

impl HostPort {
    pub fn new(host: impl Into<String>, port: Option<u16>) -> Self {
        HostPort { host: host.into(), port }
    }
}

impl From<std::net::SocketAddr> for HostPort {
    fn from(addr: std::net::SocketAddr) -> Self {
        HostPort { host: addr.ip().to_string(), port: Some(addr.port()) }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// Why a URI could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("expected a scheme and a colon, got neither")]
    NoScheme,
    #[error("expected something after the scheme, got nothing")]
    Empty,
    #[error("expected URI characters, got white space, a control character, a quote or an angle bracket")]
    BadCharacter,
    #[error("expected two hexadecimal digits after %")]
    BadEscape,
    #[error("expected a user before @, got nothing")]
    NoUser,
    #[error("expected user characters before @, got others")]
    BadUser,
    #[error("expected a host, got nothing")]
    NoHost,
    #[error("expected a host of letters, digits, hyphens and dots, or an IPv6 address in brackets")]
    BadHost,
    #[error("expected ] after an IPv6 address")]
    UnclosedBracket,
    #[error("expected an IPv6 address between brackets")]
    BadIpv6,
    #[error("expected a port from 1 to 65535")]
    BadPort,
    #[error("expected a parameter after a semicolon")]
    BadParameter,
    #[error("expected name=value after ? and between &")]
    BadHeader,
    #[error("expected a telephone number")]
    BadNumber,
    #[error("longer than the limit")]
    TooLong,
}

/// A URI, borrowed from its text. Escapes (`%41`) stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    pub scheme: Scheme<'a>,
    /// Before the @, without the password; the number of a `tel:` URI.
    pub user: Option<&'a str>,
    pub password: Option<&'a str>,
    /// An empty name for a scheme that has none.
    pub host: Host<'a>,
    pub port: Option<u16>,
    /// Between the first semicolon and the question mark, without either; empty where there are none.
    pub params: &'a str,
    /// After the question mark; empty where there are none.
    pub headers: &'a str,
    /// What follows the scheme's colon, whole.
    pub opaque: &'a str,
    host_text: &'a str,
    text: &'a str,
}

impl<'a> Uri<'a> {
    /// Reads a URI of any scheme. SIP, SIPS and TEL are taken apart, others are kept whole in `opaque`.
    /// The length is the caller's to limit.
    pub fn parse(text: &'a str) -> Result<Uri<'a>, UriError> {
        let (scheme, opaque) = split_scheme(text)?;
        if !lex::all(opaque.as_bytes(), lex::URI) {
            return Err(UriError::BadCharacter);
        }
        let mut uri = Uri {
            scheme,
            user: None,
            password: None,
            host: Host::Name(""),
            port: None,
            params: "",
            headers: "",
            opaque,
            host_text: "",
            text,
        };
        match scheme {
            Scheme::Sip | Scheme::Sips => uri.read_sip(opaque)?,
            Scheme::Tel => uri.read_tel(opaque)?,
            Scheme::Other(_) => {}
        }
        Ok(uri)
    }

    fn read_sip(&mut self, opaque: &'a str) -> Result<(), UriError> {
        // The user part may hold ; and ? but no @ that is not escaped, and nothing after it may hold an @ at all.
        let rest = match opaque.find('@') {
            None => opaque,
            Some(at) => {
                self.read_userinfo(&opaque[..at])?;
                &opaque[at + 1..]
            }
        };
        let (rest, headers) = match rest.split_once('?') {
            Some((rest, headers)) => (rest, Some(headers)),
            None => (rest, None),
        };
        let (hostport, params) = match rest.split_once(';') {
            Some((hostport, params)) => (hostport, Some(params)),
            None => (rest, None),
        };
        self.read_hostport(hostport)?;
        if let Some(params) = params {
            check_params(params)?;
            self.params = params;
        }
        if let Some(headers) = headers {
            check_headers(headers)?;
            self.headers = headers;
        }
        Ok(())
    }

    fn read_userinfo(&mut self, userinfo: &'a str) -> Result<(), UriError> {
        let (user, password) = match userinfo.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (userinfo, None),
        };
        if user.is_empty() {
            return Err(UriError::NoUser);
        }
        check_escapes(userinfo)?;
        if user.bytes().any(|b| matches!(b, b'[' | b']')) {
            return Err(UriError::BadUser);
        }
        self.user = Some(user);
        self.password = password;
        Ok(())
    }

    fn read_hostport(&mut self, hostport: &'a str) -> Result<(), UriError> {
        let (host, port) = split_hostport(hostport)?;
        self.host = Host::parse(host)?;
        self.host_text = host;
        self.port = port;
        Ok(())
    }

    fn read_tel(&mut self, opaque: &'a str) -> Result<(), UriError> {
        let (number, params) = match opaque.split_once(';') {
            Some((number, params)) => (number, Some(params)),
            None => (opaque, None),
        };
        let digits = number.strip_prefix('+').unwrap_or(number);
        let digit = |b: u8| b.is_ascii_hexdigit() || matches!(b, b'*' | b'#' | b'-' | b'.' | b'(' | b')');
        if digits.is_empty() || !digits.bytes().all(digit) {
            return Err(UriError::BadNumber);
        }
        self.user = Some(number);
        if let Some(params) = params {
            check_params(params)?;
            self.params = params;
        }
        Ok(())
    }

    /// The whole URI as written.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The host as written, an IPv6 address with its brackets.
    pub fn host_str(&self) -> &'a str {
        self.host_text
    }

    /// The user with its escapes undone: UTF-8 where that is what they give, else read as Latin-1. An escaped NUL
    /// stays as `%00`, so that no one downstream takes it for an end (RFC 4475 §3.1.1.4).
    pub fn user_unescaped(&self) -> Option<Cow<'a, str>> {
        self.user.map(unescape)
    }

    /// A parameter by its name in any case: `Some("")` where it has no value. Escapes are left.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.unwrap_or(""))
    }

    pub fn has_param(&self, name: &str) -> bool {
        self.param(name).is_some()
    }

    /// Name and value of each parameter.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        self.params.split(';').filter(|param| !param.is_empty()).map(|param| match param.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (param, None),
        })
    }

    /// Name and value of each header after the question mark, escaped.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.headers.split('&').filter_map(|header| header.split_once('='))
    }

    /// A loose router's URI (RFC 3261 §16.12).
    pub fn is_loose_router(&self) -> bool {
        self.has_param("lr")
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// Scheme and what follows the colon.
fn split_scheme(text: &str) -> Result<(Scheme<'_>, &str), UriError> {
    let colon = text.find(':').ok_or(UriError::NoScheme)?;
    let (scheme, opaque) = (&text[..colon], &text[colon + 1..]);
    let bytes = scheme.as_bytes();
    let valid = bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    if !valid {
        return Err(UriError::NoScheme);
    }
    if opaque.is_empty() {
        return Err(UriError::Empty);
    }
    let scheme = if scheme.eq_ignore_ascii_case("sip") {
        Scheme::Sip
    } else if scheme.eq_ignore_ascii_case("sips") {
        Scheme::Sips
    } else if scheme.eq_ignore_ascii_case("tel") {
        Scheme::Tel
    } else {
        Scheme::Other(scheme)
    };
    Ok((scheme, opaque))
}

/// Host text and port. A colon outside brackets begins a port, so a bare IPv6 address is refused (RFC 5118 §4.2).
pub(crate) fn split_hostport(s: &str) -> Result<(&str, Option<u16>), UriError> {
    let after = if s.starts_with('[') { s.find(']').ok_or(UriError::UnclosedBracket)? } else { 0 };
    match s[after..].find(':') {
        None => Ok((s, None)),
        Some(colon) => {
            let (host, port) = (&s[..after + colon], &s[after + colon + 1..]);
            Ok((host, Some(port_number(port.as_bytes()).ok_or(UriError::BadPort)?)))
        }
    }
}

pub(crate) fn port_number(digits: &[u8]) -> Option<u16> {
    let port = u16::try_from(lex::number(digits)?).ok()?;
    (port != 0).then_some(port)
}

fn check_params(params: &str) -> Result<(), UriError> {
    check_escapes(params)?;
    for param in params.split(';') {
        let name = param.split_once('=').map_or(param, |(name, _)| name);
        if name.is_empty() || param.contains('@') {
            return Err(UriError::BadParameter);
        }
    }
    Ok(())
}

fn check_headers(headers: &str) -> Result<(), UriError> {
    check_escapes(headers)?;
    for header in headers.split('&') {
        match header.split_once('=') {
            Some((name, _)) if !name.is_empty() => {}
            Some(_) | None => return Err(UriError::BadHeader),
        }
    }
    Ok(())
}

fn check_escapes(s: &str) -> Result<(), UriError> {
    let bytes = s.as_bytes();
    for at in memchr::memchr_iter(b'%', bytes) {
        match bytes.get(at + 1..at + 3) {
            Some([a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {}
            Some(_) | None => return Err(UriError::BadEscape),
        }
    }
    Ok(())
}

/// Four numbers up to 255. One with a zero before it is no address: some read it as octal.
fn ipv4(s: &[u8]) -> Option<Ipv4Addr> {
    if s.len() > 15 {
        return None;
    }
    let mut octets = [0u8; 4];
    let (mut place, mut digits, mut value) = (0, 0, 0u16);
    for &b in s {
        match b {
            b'0'..=b'9' if digits == 0 || value != 0 && digits < 3 => {
                value = value * 10 + u16::from(b - b'0');
                digits += 1;
            }
            b'.' if digits > 0 && place < 3 => {
                octets[place] = u8::try_from(value).ok()?;
                (place, digits, value) = (place + 1, 0, 0);
            }
            _ => return None,
        }
    }
    octets[3] = u8::try_from(value).ok()?;
    (place == 3 && digits > 0).then(|| Ipv4Addr::from(octets))
}

/// Undoes `%41`; `%00` stays.
pub fn unescape(s: &str) -> Cow<'_, str> {
    if !s.contains('%') {
        return Cow::Borrowed(s);
    }
    let bytes = s.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        match escape_at(bytes, i) {
            Some(byte) if byte != 0 => {
                out.push(byte);
                i += 3;
            }
            Some(_) | None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    match String::from_utf8(out) {
        Ok(s) => Cow::Owned(s),
        Err(e) => Cow::Owned(e.as_bytes().iter().map(|&b| char::from(b)).collect()),
    }
}

/// The byte that an escape at `i` stands for.
pub(crate) fn escape_at(bytes: &[u8], i: usize) -> Option<u8> {
    let [b'%', high, low] = bytes.get(i..i + 3)? else { return None };
    let digit = |b: u8| char::from(b).to_digit(16);
    Some((digit(*high)? * 16 + digit(*low)?) as u8)
}

/// Writes text as the user part of a SIP URI, with escapes where the grammar wants them (RFC 3261 §19.1.2).
pub struct EscapeUser<'a>(pub &'a str);

impl fmt::Display for EscapeUser<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for b in self.0.bytes() {
            let plain = b.is_ascii_alphanumeric()
                || matches!(b, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
                || matches!(b, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/');
            if plain { fmt::Write::write_char(f, char::from(b))? } else { write!(f, "%{b:02X}")? }
        }
        Ok(())
    }
}
