//! SIP messages: the bytes as they came and an index of their header fields (RFC 3261 §7). What every layer relies on
//! is checked by the parser, so that it can be asked for without errors; all else is read when asked for.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::header::HeaderName;
use crate::lex::{self, Values};
use crate::name_addr::NameAddr;
use crate::params::HeaderError;
use crate::parse::{self, Framing, INLINE_SLOTS, Required, Span};
use crate::uri::{Uri, UriError};
use crate::via::{CSeq, Via};

pub use crate::method::Method;
pub use crate::parse_error::{ParseError, ParseErrorKind, ReplyHead};

/// What a message may not exceed, in bytes unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Start line, header fields and body.
    pub message: usize,
    /// How many header fields.
    pub headers: usize,
    /// One header field with its folds, and the line of a response.
    pub header_line: usize,
    /// The Request-URI.
    pub uri: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { message: 65_536, headers: 256, header_line: 8_192, uri: 2_048 }
    }
}

/// One parsed message. A clone shares the bytes and the index.
#[derive(Clone)]
pub struct Message {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) raw: Bytes,
    pub(crate) start: Start,
    /// Where the body begins.
    pub(crate) body: u32,
    pub(crate) required: Required,
    pub(crate) slots: SmallVec<[Slot; INLINE_SLOTS]>,
}

pub(crate) enum Start {
    Request { method: Span, uri: Span },
    Response { status: u16, reason: Span },
}

/// One header field.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) name: HeaderName,
    pub(crate) name_len: u16,
    /// Where the name begins.
    pub(crate) at: u32,
    /// Trimmed, folds kept.
    pub(crate) value: Span,
}

impl Message {
    /// Reads a message that came alone: a datagram or a WebSocket message. Without Content-Length the body goes to
    /// the end; bytes beyond Content-Length are cut off (RFC 3261 §18.3).
    pub fn parse_datagram(raw: Bytes, limits: &Limits) -> Result<Message, ParseError> {
        parse::parse(raw, limits, Framing::Datagram)
    }

    /// Reads exactly one message from the stream framer: Content-Length must be there (RFC 3261 §18.3).
    pub fn parse_framed(raw: Bytes, limits: &Limits) -> Result<Message, ParseError> {
        parse::parse(raw, limits, Framing::Stream)
    }

    pub(crate) fn new(inner: Arc<Inner>) -> Message {
        Message { inner }
    }

    /// The whole message as it came, without empty lines before it or bytes after it.
    pub fn raw(&self) -> &Bytes {
        &self.inner.raw
    }

    /// From the start of the message to the end of the empty line.
    pub fn head(&self) -> &[u8] {
        &self.inner.raw[..self.inner.body as usize]
    }

    pub fn is_request(&self) -> bool {
        matches!(self.inner.start, Start::Request { .. })
    }

    pub fn is_response(&self) -> bool {
        !self.is_request()
    }

    /// Of a request: from its start line. Of a response: from CSeq.
    pub fn method(&self) -> Method<'_> {
        match self.inner.start {
            Start::Request { method, .. } => Method::from_name(self.text(method)),
            Start::Response { .. } => self.cseq().method,
        }
    }

    /// As written; "" for a response.
    pub fn request_uri(&self) -> &str {
        match self.inner.start {
            Start::Request { uri, .. } => self.text(uri),
            Start::Response { .. } => "",
        }
    }

    /// The Request-URI taken apart.
    pub fn parsed_request_uri(&self) -> Result<Uri<'_>, UriError> {
        Uri::parse(self.request_uri())
    }

    /// 100 to 699; 0 for a request.
    pub fn status(&self) -> u16 {
        match self.inner.start {
            Start::Request { .. } => 0,
            Start::Response { status, .. } => status,
        }
    }

    /// As written, read as Latin-1 where it is not UTF-8; "" for a request.
    pub fn reason_phrase(&self) -> Cow<'_, str> {
        match self.inner.start {
            Start::Request { .. } => Cow::Borrowed(""),
            Start::Response { reason, .. } => lex::text(reason.of(&self.inner.raw)),
        }
    }

    fn bytes(&self, span: Span) -> &[u8] {
        span.of(&self.inner.raw)
    }

    /// Text that the parser has found to be UTF-8.
    fn text(&self, span: Span) -> &str {
        std::str::from_utf8(self.bytes(span)).expect("the parser lets only UTF-8 through here")
    }

    /// The value of the first header field of that name, trimmed, folds kept (see `unfold`).
    pub fn header(&self, name: HeaderName) -> Option<&[u8]> {
        self.inner.slots.iter().find(|slot| slot.name == name).map(|slot| self.bytes(slot.value))
    }

    /// The first header field of that name as text: folds joined, read as Latin-1 where it is not UTF-8.
    pub fn header_str(&self, name: HeaderName) -> Option<Cow<'_, str>> {
        self.header(name).map(|value| match unfold(value) {
            Cow::Borrowed(value) => lex::text(value),
            Cow::Owned(value) => Cow::Owned(lex::text(&value).into_owned()),
        })
    }

    /// The values of all header fields of that name, one for a line, trimmed, folds kept.
    pub fn headers(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.inner.slots.iter().filter(move |slot| slot.name == name).map(|slot| self.bytes(slot.value))
    }

    /// All values of that name, the lines split at their commas (RFC 3261 §7.3.1).
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.headers(name).flat_map(Values::new)
    }

    /// The first header field of any name, in any case; the compact form of a known name counts as the name.
    pub fn header_named(&self, name: &str) -> Option<&[u8]> {
        let known = HeaderName::from_bytes(name.as_bytes());
        if known != HeaderName::Other {
            return self.header(known);
        }
        self.all_headers().find(|(_, text, _)| text.eq_ignore_ascii_case(name)).map(|(_, _, value)| value)
    }

    pub fn has(&self, name: HeaderName) -> bool {
        self.inner.slots.iter().any(|slot| slot.name == name)
    }

    /// Every header field in order: name, name as written, value trimmed with its folds.
    pub fn all_headers(&self) -> impl Iterator<Item = (HeaderName, &str, &[u8])> {
        self.inner.slots.iter().map(|slot| {
            let at = slot.at as usize;
            let name = self.text(Span::new(at, at + usize::from(slot.name_len)));
            (slot.name, name, self.bytes(slot.value))
        })
    }

    pub fn body(&self) -> &[u8] {
        &self.inner.raw[self.inner.body as usize..]
    }

    /// The body sharing the message's memory.
    pub fn body_bytes(&self) -> Bytes {
        self.inner.raw.slice(self.inner.body as usize..)
    }

    pub fn call_id(&self) -> &str {
        self.text(self.inner.required.call_id)
    }

    pub fn cseq(&self) -> CSeq<'_> {
        CSeq { number: self.inner.required.cseq, method: Method::from_name(self.text(self.inner.required.cseq_method)) }
    }

    pub fn top_via(&self) -> Via<'_> {
        Via::parse(self.bytes(self.inner.required.via)).expect("the parser has read the top Via")
    }

    pub fn from_tag(&self) -> Option<&str> {
        self.inner.required.from_tag.map(|span| self.text(span))
    }

    pub fn to_tag(&self) -> Option<&str> {
        self.inner.required.to_tag.map(|span| self.text(span))
    }

    pub fn from(&self) -> NameAddr<'_> {
        NameAddr::parse(self.bytes(self.inner.required.from)).expect("the parser has read From")
    }

    pub fn to(&self) -> NameAddr<'_> {
        NameAddr::parse(self.bytes(self.inner.required.to)).expect("the parser has read To")
    }

    /// Every Via from the top.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'_>, HeaderError>> {
        self.values(HeaderName::Via).map(|value| Via::parse(value).map_err(|e| e.of(HeaderName::Via)))
    }

    /// Every Contact; `*` comes as an error (see `is_wildcard_contact`).
    pub fn contacts(&self) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        self.name_addrs(HeaderName::Contact)
    }

    /// `Contact: *`, which removes all bindings (RFC 3261 §10.2.2).
    pub fn is_wildcard_contact(&self) -> bool {
        self.values(HeaderName::Contact).any(|value| value == b"*")
    }

    pub fn routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        self.name_addrs(HeaderName::Route)
    }

    pub fn record_routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        self.name_addrs(HeaderName::RecordRoute)
    }

    /// RFC 3327.
    pub fn paths(&self) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        self.name_addrs(HeaderName::Path)
    }

    /// All values of a header field that holds addresses.
    pub fn name_addrs(&self, name: HeaderName) -> impl Iterator<Item = Result<NameAddr<'_>, HeaderError>> {
        self.values(name).map(move |value| NameAddr::parse(value).map_err(|e| e.of(name)))
    }

    /// The number at the start of a header field such as Expires, Min-SE, RSeq, Session-Expires or Retry-After; what
    /// follows a semicolon, a comment or white space is not looked at. More than `u32::MAX` is an error.
    pub fn number(&self, name: HeaderName) -> Option<Result<u32, HeaderError>> {
        let value = self.header(name)?;
        let end = value.iter().position(|&b| matches!(b, b';' | b'(') || lex::is(b, lex::LWS)).unwrap_or(value.len());
        let number = lex::number(&value[..end]).and_then(|n| u32::try_from(n).ok());
        Some(number.ok_or(HeaderError { header: name, expected: "a number below 2^32" }))
    }

    /// Seconds (RFC 3261 §20.19).
    pub fn expires(&self) -> Option<Result<u32, HeaderError>> {
        self.number(HeaderName::Expires)
    }

    /// 0 to 255 (RFC 3261 §20.22).
    pub fn max_forwards(&self) -> Option<Result<u32, HeaderError>> {
        let number = self.number(HeaderName::MaxForwards)?;
        let out_of_range = HeaderError { header: HeaderName::MaxForwards, expected: "a number from 0 to 255" };
        Some(number.and_then(|n| if n <= 255 { Ok(n) } else { Err(out_of_range) }))
    }

    /// Seconds (RFC 4028 §5).
    pub fn min_se(&self) -> Option<Result<u32, HeaderError>> {
        self.number(HeaderName::MinSe)
    }

    /// Seconds (RFC 3261 §20.23).
    pub fn min_expires(&self) -> Option<Result<u32, HeaderError>> {
        self.number(HeaderName::MinExpires)
    }

    /// RFC 5393 §5.3.
    pub fn max_breadth(&self) -> Option<Result<u32, HeaderError>> {
        self.number(HeaderName::MaxBreadth)
    }

    /// RFC 3262 §7.1.
    pub fn rseq(&self) -> Option<Result<u32, HeaderError>> {
        self.number(HeaderName::Rseq)
    }

    /// The tags of Supported, Require, Proxy-Require, Unsupported, Allow or Allow-Events; empty ones and what is not
    /// UTF-8 are left out.
    pub fn option_tags(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.values(name).filter_map(|tag| std::str::from_utf8(tag).ok()).filter(|tag| !tag.is_empty())
    }

    /// Whether one of the tags of that header field is `tag`, in any case.
    pub fn has_option(&self, name: HeaderName, tag: &str) -> bool {
        self.option_tags(name).any(|t| t.eq_ignore_ascii_case(tag))
    }

    /// As written with its parameters; `None` where absent or not UTF-8.
    pub fn content_type(&self) -> Option<&str> {
        std::str::from_utf8(self.header(HeaderName::ContentType)?).ok()
    }

    /// Whether the media type is `wanted` ("application/sdp"), in any case, parameters aside.
    pub fn has_content_type(&self, wanted: &str) -> bool {
        let Some(value) = self.content_type() else { return false };
        let bare = value.split(';').next().unwrap_or_default().trim();
        match (bare.split_once('/'), wanted.split_once('/')) {
            (Some((a, b)), Some((x, y))) => a.trim().eq_ignore_ascii_case(x) && b.trim().eq_ignore_ascii_case(y),
            _ => false,
        }
    }
}

/// For logs: the start line and the Call-ID, no secrets and no body.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.head().split(|&b| matches!(b, b'\r' | b'\n')).next().unwrap_or_default();
        write!(f, "Message({:?}, Call-ID {:?}, {} bytes)", lex::text(line), self.call_id(), self.raw().len())
    }
}

/// Joins a folded value: every fold becomes one blank (RFC 3261 §7.3.1).
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    for (i, line) in value.split(|&b| b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if i == 0 {
            out.extend_from_slice(lex::trim_end(line));
        } else {
            out.push(b' ');
            out.extend_from_slice(lex::trim(line));
        }
    }
    Cow::Owned(out)
}
