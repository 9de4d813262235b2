//! Why a message was refused, and enough of it to answer where an answer is possible (RFC 3261 §8.2, §16.3, §18.3).

use std::fmt;

use bytes::Bytes;

use crate::header::HeaderName;
use crate::lex;
use crate::method::Method;
use crate::parse::{self, Span};
use crate::via::Via;
use crate::write::{self, Headers, ResponseHead};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseErrorKind {
    /// The whole is longer than `Limits::message`.
    MessageTooLong,
    /// The body is, or would be, longer than the limit.
    BodyTooLong,
    /// More header fields than `Limits::headers`, or a line longer than `Limits::header_line`.
    HeadTooLong,
    UriTooLong,
    StartLine,
    /// Not SIP/2.0.
    Version,
    /// A line that is not a header field.
    HeaderLine,
    /// The empty line after the header fields is not there.
    Unterminated,
    Missing(HeaderName),
    /// More than one, where one is allowed.
    Duplicate(HeaderName),
    Value(HeaderName),
    /// Differing, negative, not a number, or more than came.
    ContentLength,
}

impl ParseErrorKind {
    /// The status to answer with.
    pub const fn status(self) -> u16 {
        match self {
            ParseErrorKind::MessageTooLong | ParseErrorKind::HeadTooLong => 513,
            ParseErrorKind::BodyTooLong => 413,
            ParseErrorKind::UriTooLong => 414,
            ParseErrorKind::Version => 505,
            ParseErrorKind::StartLine
            | ParseErrorKind::HeaderLine
            | ParseErrorKind::Unterminated
            | ParseErrorKind::Missing(_)
            | ParseErrorKind::Duplicate(_)
            | ParseErrorKind::Value(_)
            | ParseErrorKind::ContentLength => 400,
        }
    }
}

/// A refused message. The peer is at fault.
#[derive(Clone, Debug)]
pub struct ParseError {
    pub kind: ParseErrorKind,
    /// The status to answer with: 400, 413, 414, 505 or 513.
    pub status: u16,
    /// Byte offset in the message, after the empty lines that may stand before it.
    pub offset: usize,
    pub expected: &'static str,
    /// What stood there, shortened, with control characters escaped.
    pub got: String,
    /// `None` where no answer may or can be sent: to a response, to an ACK, or without a readable Via.
    pub reply: Option<Box<ReplyHead>>,
}

impl ParseError {
    #[cold]
    pub(crate) fn new(kind: ParseErrorKind, raw: &Bytes, offset: usize, expected: &'static str) -> ParseError {
        let got = raw.get(offset..).unwrap_or_default();
        let end = memchr::memchr2(b'\r', b'\n', got).unwrap_or(got.len()).min(48);
        let got = got[..end].escape_ascii().to_string();
        ParseError { kind, status: kind.status(), offset, expected, got, reply: ReplyHead::salvage(raw) }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ParseError { offset, expected, got, status, .. } = self;
        write!(f, "byte {offset}: expected {expected}, got \"{got}\" ({status})")
    }
}

impl std::error::Error for ParseError {}

/// What could be saved of a broken request for the response to it.
#[derive(Clone, Debug)]
pub struct ReplyHead {
    raw: Bytes,
    method: Span,
    vias: Vec<Span>,
    from: Option<Span>,
    to: Option<Span>,
    call_id: Option<Span>,
    cseq: Option<Span>,
}

impl ReplyHead {
    /// Collects what RFC 3261 §8.2.6.2 wants in a response. `None` for responses, ACK and requests whose top Via
    /// cannot be read.
    fn salvage(raw: &Bytes) -> Option<Box<ReplyHead>> {
        const AT_MOST: usize = 65_536;
        const VIAS: usize = 70;
        let head = &raw[..raw.len().min(AT_MOST)];
        let line_end = memchr::memchr(b'\n', head)?;
        let method = lex::span(head, lex::TOKEN);
        if method == 0 || !lex::is(*head.get(method)?, lex::LWS) || &head[..method] == b"ACK" {
            return None;
        }
        let mut reply = ReplyHead {
            raw: raw.clone(),
            method: Span::new(0, method),
            vias: Vec::new(),
            from: None,
            to: None,
            call_id: None,
            cseq: None,
        };
        let mut at = line_end + 1;
        while let Some(line) = parse::next_line(head, at) {
            at = line.next;
            if line.end == line.start {
                break;
            }
            let Some((name, value)) = parse::loose_header(head, &line) else { continue };
            let slot = match name {
                HeaderName::Via if reply.vias.len() < VIAS => {
                    reply.vias.push(value);
                    continue;
                }
                HeaderName::From => &mut reply.from,
                HeaderName::To => &mut reply.to,
                HeaderName::CallId => &mut reply.call_id,
                HeaderName::CSeq => &mut reply.cseq,
                _ => continue,
            };
            slot.get_or_insert(value);
        }
        reply.try_top_via()?;
        Some(Box::new(reply))
    }

    fn try_top_via(&self) -> Option<Via<'_>> {
        let first = self.bytes(*self.vias.first()?);
        let first = &first[..lex::value_end(first)];
        Via::parse(first).ok().or_else(|| Via::sent_by(first).ok().map(|(via, _)| via))
    }

    fn bytes(&self, span: Span) -> &[u8] {
        span.of(&self.raw)
    }

    /// The method as written.
    pub fn method(&self) -> Method<'_> {
        Method::from_name(std::str::from_utf8(self.bytes(self.method)).unwrap_or_default())
    }

    /// Where the response goes is decided by this (RFC 3261 §18.2.2, RFC 3581). Has no parameters where they cannot be
    /// read.
    pub fn top_via(&self) -> Via<'_> {
        self.try_top_via().expect("a reply head is kept only if its top Via can be read")
    }

    pub fn call_id(&self) -> Option<&[u8]> {
        self.call_id.map(|span| self.bytes(span))
    }

    pub fn cseq(&self) -> Option<&[u8]> {
        self.cseq.map(|span| self.bytes(span))
    }

    /// Appends the whole response. `head.to_tag` is added where To is there and has none.
    pub fn write_reply(&self, out: &mut Vec<u8>, head: &ResponseHead<'_>, extra: &Headers) {
        write::status_line(out, head.status, head.reason);
        for (i, via) in self.vias.iter().enumerate() {
            write::via_back(out, self.bytes(*via), head.source.filter(|_| i == 0));
        }
        if let Some(from) = self.from {
            write::header_bytes(out, "From", self.bytes(from));
        }
        if let Some(to) = self.to {
            write::to_back(out, self.bytes(to), head.to_tag);
        }
        if let Some(call_id) = self.call_id {
            write::header_bytes(out, "Call-ID", self.bytes(call_id));
        }
        if let Some(cseq) = self.cseq {
            write::header_bytes(out, "CSeq", self.bytes(cseq));
        }
        out.extend_from_slice(extra.as_bytes());
        write::finish(out, None);
    }
}
