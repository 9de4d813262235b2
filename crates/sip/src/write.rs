//! The writer: appends to a `Vec<u8>` and makes no strings on the way. No value it is given can start a line of its
//! own: CR, LF and NUL become blanks, or the value is refused, as the caller asks.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};
use std::net::SocketAddr;

use bytes::Bytes;

use crate::flow::Transport;
use crate::header::HeaderName;
use crate::lex;
use crate::message::Message;
use crate::method::Method;
use crate::params;
use crate::reason::reason_phrase;
use crate::uri::Host;
use crate::via::Via;

/// A body with its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub content_type: Cow<'static, str>,
    pub data: Bytes,
}

impl Body {
    pub fn new(content_type: impl Into<Cow<'static, str>>, data: impl Into<Bytes>) -> Body {
        Body { content_type: content_type.into(), data: data.into() }
    }

    pub fn sdp(data: impl Into<Bytes>) -> Body {
        Body::new("application/sdp", data)
    }
}

/// A value that would have ended its line, or a name that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a header field name of token characters and a value without CR, LF or NUL")]
pub struct BadHeader;

/// A block of header fields ready to be sent, each ended by CRLF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<u8>);

impl Headers {
    pub const fn new() -> Headers {
        Headers(Vec::new())
    }

    /// Adds a header field. CR, LF and NUL in the value become blanks, characters that no name may hold hyphens: what
    /// a peer sent can be passed in without asking.
    pub fn push(&mut self, name: &str, value: impl Display) -> &mut Headers {
        header(&mut self.0, name, value);
        self
    }

    /// The same with bytes as they stand in a message; folds become blanks.
    pub fn push_bytes(&mut self, name: &str, value: &[u8]) -> &mut Headers {
        header_bytes(&mut self.0, name, value);
        self
    }

    /// Adds a header field, or nothing where name or value could break the message.
    pub fn try_push(&mut self, name: &str, value: &str) -> Result<(), BadHeader> {
        if !lex::all(name.as_bytes(), lex::TOKEN) || value.bytes().any(breaks_line) {
            return Err(BadHeader);
        }
        header(&mut self.0, name, value);
        Ok(())
    }

    /// Adds lines that are ready, each `Name: value` and CRLF. Refused whole where they are not that.
    pub fn push_raw(&mut self, block: &[u8]) -> Result<(), BadHeader> {
        let mut rest = block;
        while !rest.is_empty() {
            let end = memchr::memmem::find(rest, b"\r\n").ok_or(BadHeader)?;
            let (line, after) = (&rest[..end], &rest[end + 2..]);
            let colon = memchr::memchr(b':', line).ok_or(BadHeader)?;
            if !lex::all(&line[..colon], lex::TOKEN) || line.iter().copied().any(breaks_line) {
                return Err(BadHeader);
            }
            rest = after;
        }
        self.0.extend_from_slice(block);
        Ok(())
    }

    /// Adds all of another block.
    pub fn append(&mut self, other: &Headers) -> &mut Headers {
        self.0.extend_from_slice(&other.0);
        self
    }

    /// Whether a header field of that name is in the block.
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Name and value of each.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.split(|&b| b == b'\n').filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((&line[..colon], lex::trim(&line[colon + 1..])))
        })
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

fn breaks_line(b: u8) -> bool {
    matches!(b, b'\r' | b'\n' | 0)
}

/// Lets `Display` write to a byte vector, line ends made blanks.
struct Guarded<'a>(&'a mut Vec<u8>);

impl fmt::Write for Guarded<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        append_guarded(self.0, s.as_bytes());
        Ok(())
    }
}

fn append_guarded(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.extend_from_slice(bytes);
    if memchr::memchr3(b'\r', b'\n', 0, bytes).is_some() {
        for b in &mut out[start..] {
            if breaks_line(*b) {
                *b = b' ';
            }
        }
    }
}

/// Appends a decimal number.
pub fn number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

fn name(out: &mut Vec<u8>, name: &str) {
    out.extend(name.bytes().map(|b| if lex::is(b, lex::TOKEN) { b } else { b'-' }));
    out.extend_from_slice(b": ");
}

/// Appends one header field. CR, LF and NUL in the value become blanks.
pub fn header(out: &mut Vec<u8>, header_name: &str, value: impl Display) {
    name(out, header_name);
    write!(Guarded(out), "{value}").expect("writing to a vector does not fail");
    out.extend_from_slice(b"\r\n");
}

/// Appends one header field from bytes. CR, LF and NUL become blanks, so that folds are joined.
pub fn header_bytes(out: &mut Vec<u8>, header_name: &str, value: &[u8]) {
    name(out, header_name);
    append_guarded(out, value);
    out.extend_from_slice(b"\r\n");
}

/// Appends the start line of a request.
pub fn request_line(out: &mut Vec<u8>, method: Method<'_>, uri: &str) {
    append_guarded(out, method.as_str().as_bytes());
    out.push(b' ');
    let start = out.len();
    append_guarded(out, uri.as_bytes());
    // A blank would end the URI.
    for b in &mut out[start..] {
        if *b == b' ' {
            *b = b'_';
        }
    }
    out.extend_from_slice(b" SIP/2.0\r\n");
}

/// Appends the start line of a response, with the usual phrase where none is given.
pub fn status_line(out: &mut Vec<u8>, status: u16, reason: Option<&str>) {
    out.extend_from_slice(b"SIP/2.0 ");
    number(out, u64::from(status));
    out.push(b' ');
    append_guarded(out, reason.unwrap_or(reason_phrase(status)).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends Content-Type, Content-Length, the empty line and the body.
pub fn finish(out: &mut Vec<u8>, body: Option<&Body>) {
    if let Some(body) = body {
        header(out, "Content-Type", &body.content_type);
    }
    out.extend_from_slice(b"Content-Length: ");
    number(out, body.map_or(0, |body| body.data.len() as u64));
    out.extend_from_slice(b"\r\n\r\n");
    if let Some(body) = body {
        out.extend_from_slice(&body.data);
    }
}

/// What goes into the Via of a request of ours.
#[derive(Clone, Copy)]
pub struct ViaOut<'a> {
    pub transport: Transport,
    /// Our address as peers see it, for instance a `HostPort`.
    pub sent_by: &'a dyn Display,
    /// With the magic cookie.
    pub branch: &'a str,
    /// Asks for the response to come to the source port (RFC 3581).
    pub rport: bool,
}

/// The header fields that every request has (RFC 3261 §8.1.1). Addresses are as written in the header field; a tag is
/// added behind them.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    pub method: Method<'a>,
    pub uri: &'a str,
    pub via: ViaOut<'a>,
    pub max_forwards: u8,
    /// Route values, each written as a header field of its own.
    pub routes: &'a [&'a str],
    pub from: &'a str,
    pub from_tag: &'a str,
    pub to: &'a str,
    pub to_tag: Option<&'a str>,
    pub call_id: &'a str,
    pub cseq: u32,
    pub contact: Option<&'a str>,
}

/// Appends a whole request.
pub fn write_request(out: &mut Vec<u8>, head: &RequestHead<'_>, extra: &Headers, body: Option<&Body>) {
    request_line(out, head.method, head.uri);
    via(out, &head.via);
    out.extend_from_slice(b"Max-Forwards: ");
    number(out, u64::from(head.max_forwards));
    out.extend_from_slice(b"\r\n");
    for route in head.routes {
        header_bytes(out, "Route", route.as_bytes());
    }
    tagged(out, "From", head.from, Some(head.from_tag));
    tagged(out, "To", head.to, head.to_tag);
    header_bytes(out, "Call-ID", head.call_id.as_bytes());
    cseq(out, head.cseq, head.method);
    if let Some(contact) = head.contact {
        header_bytes(out, "Contact", contact.as_bytes());
    }
    out.extend_from_slice(extra.as_bytes());
    finish(out, body);
}

/// Appends a Via of ours.
pub fn via(out: &mut Vec<u8>, via: &ViaOut<'_>) {
    out.extend_from_slice(b"Via: SIP/2.0/");
    out.extend_from_slice(via.transport.as_str().as_bytes());
    out.push(b' ');
    write!(Guarded(out), "{}", via.sent_by).expect("writing to a vector does not fail");
    out.extend_from_slice(b";branch=");
    append_guarded(out, via.branch.as_bytes());
    if via.rport {
        out.extend_from_slice(b";rport");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a CSeq.
pub fn cseq(out: &mut Vec<u8>, n: u32, method: Method<'_>) {
    out.extend_from_slice(b"CSeq: ");
    number(out, u64::from(n));
    out.push(b' ');
    append_guarded(out, method.as_str().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends an address and a tag.
pub fn tagged(out: &mut Vec<u8>, header_name: &str, address: &str, tag: Option<&str>) {
    name(out, header_name);
    append_guarded(out, address.as_bytes());
    if let Some(tag) = tag {
        out.extend_from_slice(b";tag=");
        append_guarded(out, tag.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// What is new in a response.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseHead<'a> {
    pub status: u16,
    /// `None`: the usual phrase.
    pub reason: Option<&'a str>,
    /// Added to To where it has none.
    pub to_tag: Option<&'a str>,
    /// Where the request came from: goes into the top Via (RFC 3261 §18.2.1, RFC 3581 §4).
    pub source: Option<SocketAddr>,
}

/// Appends a whole response to a request (RFC 3261 §8.2.6.2): its Vias, From, To, Call-ID and CSeq, then `extra` and
/// the body.
pub fn write_response(
    out: &mut Vec<u8>,
    request: &Message,
    head: &ResponseHead<'_>,
    extra: &Headers,
    body: Option<&Body>,
) {
    status_line(out, head.status, head.reason);
    for (i, line) in request.headers(HeaderName::Via).enumerate() {
        via_back(out, line, head.source.filter(|_| i == 0));
    }
    let copy = |out: &mut Vec<u8>, name: HeaderName| {
        if let Some(value) = request.header(name) {
            header_bytes(out, name.as_str(), value);
        }
    };
    copy(out, HeaderName::From);
    if let Some(to) = request.header(HeaderName::To) {
        to_back(out, to, head.to_tag);
    }
    copy(out, HeaderName::CallId);
    copy(out, HeaderName::CSeq);
    out.extend_from_slice(extra.as_bytes());
    finish(out, body);
}

/// Appends To, with a tag where one is given and none is there.
pub(crate) fn to_back(out: &mut Vec<u8>, to: &[u8], tag: Option<&str>) {
    name(out, "To");
    append_guarded(out, to);
    let tagged = crate::name_addr::NameAddr::parse(to).is_ok_and(|to| to.params.has("tag"));
    if let Some(tag) = tag.filter(|tag| !tagged && !tag.is_empty()) {
        out.extend_from_slice(b";tag=");
        append_guarded(out, tag.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a line of Vias of a request as it goes into the response. With `source`, the first value gets `received`
/// where the source is not what sent-by says or `rport` was asked for, and `rport` its port.
pub(crate) fn via_back(out: &mut Vec<u8>, line: &[u8], source: Option<SocketAddr>) {
    let end = lex::value_end(line);
    let parsed = source.and_then(|source| Some((source, Via::parse(&line[..end]).ok()?)));
    let Some((source, via)) = parsed else {
        header_bytes(out, "Via", line);
        return;
    };
    let ip = source.ip().to_canonical();
    let asked = via.params.has("rport");
    let received = asked || via.host.ip().map(|host| host.to_canonical()) != Some(ip) || via.received().is_some();
    out.extend_from_slice(b"Via: ");
    let value = via.as_bytes();
    append_guarded(out, lex::trim_end(&value[..value.len() - via.params.as_bytes().len()]));
    let mut rest = via.params.as_bytes();
    while let Ok(Some((param, after))) = params::next_param(rest) {
        let text = &rest[..rest.len() - after.len()];
        rest = after;
        if param.name.eq_ignore_ascii_case(b"rport") {
            out.extend_from_slice(b";rport=");
            number(out, u64::from(source.port()));
        } else if !param.name.eq_ignore_ascii_case(b"received") {
            append_guarded(out, lex::trim(text));
        }
    }
    if received {
        write!(Guarded(out), ";received={ip}").expect("writing to a vector does not fail");
    }
    append_guarded(out, &line[end..]);
    out.extend_from_slice(b"\r\n");
}

/// Displays text as a quoted string with its escapes (RFC 3261 §25.1).
pub struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(if c.is_control() { ' ' } else { c })?;
        }
        f.write_char('"')
    }
}

/// Displays `"name" <uri>`, or `<uri>` without a name.
pub struct NameAddrOut<'a> {
    pub display: Option<&'a str>,
    pub uri: &'a dyn Display,
}

impl Display for NameAddrOut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = self.display {
            write!(f, "{} ", Quoted(display))?;
        }
        write!(f, "<{}>", self.uri)
    }
}

/// Displays a host for a URI or a Via from an address.
pub fn ip_host(ip: std::net::IpAddr) -> Host<'static> {
    match ip.to_canonical() {
        std::net::IpAddr::V4(ip) => Host::V4(ip),
        std::net::IpAddr::V6(ip) => Host::V6(ip),
    }
}
