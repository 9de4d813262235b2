//! The parser: one pass over the head that fills the index of `Message`, then the checks of what every layer above
//! relies on (RFC 3261 §7, §8.1.1). Allocates only what the message keeps.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use crate::header::HeaderName;
use crate::lex;
use crate::message::{Inner, Limits, Message, Slot, Start};
use crate::name_addr;
use crate::params::{self, HeaderError};
use crate::parse_error::{ParseError, ParseErrorKind as Kind};
use crate::via::{CSeq, Via};

/// A range of the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }

    /// The span of `part`, which must be a piece of `whole`.
    fn within(whole: &[u8], part: &[u8]) -> Span {
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        Span::new(start, start + part.len())
    }

    #[inline]
    pub(crate) fn of(self, raw: &[u8]) -> &[u8] {
        &raw[self.start as usize..self.end as usize]
    }
}

/// One line without its end, and where the next begins.
pub(crate) struct Line {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) next: usize,
}

/// The line that begins at `start`; `None` where no line end follows. Folds are not joined, a CR within is kept.
pub(crate) fn next_line(raw: &[u8], start: usize) -> Option<Line> {
    let lf = start + memchr::memchr(b'\n', raw.get(start..)?)?;
    let end = if lf > start && raw[lf - 1] == b'\r' { lf - 1 } else { lf };
    Some(Line { start, end, next: lf + 1 })
}

/// A header field for a reply to a broken message: name and value with its folds, or `None` where it is neither.
pub(crate) fn loose_header(raw: &[u8], line: &Line) -> Option<(HeaderName, Span)> {
    let text = &raw[line.start..line.end];
    let colon = memchr::memchr(b':', text)?;
    let name = HeaderName::from_bytes(lex::trim_end(&text[..colon]));
    let mut end = line.end;
    let mut next = line.next;
    while matches!(raw.get(next), Some(b' ' | b'\t')) {
        let folded = next_line(raw, next)?;
        end = folded.end;
        next = folded.next;
    }
    let value = lex::trim(&raw[line.start + colon + 1..end]);
    Some((name, Span::within(raw, value)))
}

type Fault = (Kind, usize, &'static str);

/// Whether the message came alone in a datagram or was cut out of a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Datagram,
    Stream,
}

pub(crate) fn parse(mut raw: Bytes, limits: &Limits, framing: Framing) -> Result<Message, ParseError> {
    // RFC 3261 §7.5: empty lines before the start line do not count.
    let blank = raw.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(raw.len());
    if blank > 0 {
        raw.advance(blank);
    }
    // The index is filled where it will stay.
    let mut shared = Arc::new(Inner {
        raw: Bytes::new(),
        start: Start::Response { status: 0, reason: Span::default() },
        body: 0,
        required: Required::default(),
        slots: SmallVec::new(),
    });
    let inner = Arc::get_mut(&mut shared).expect("nobody else has it yet");
    match index(inner, &raw, limits, framing) {
        Ok(end) => {
            raw.truncate(end);
            inner.raw = raw;
            Ok(Message::new(shared))
        }
        Err((kind, offset, expected)) => Err(ParseError::new(kind, &raw, offset, expected)),
    }
}

/// Fills all but the bytes; returns where the message ends.
fn index(inner: &mut Inner, raw: &[u8], limits: &Limits, framing: Framing) -> Result<usize, Fault> {
    if raw.len() > limits.message {
        return Err((Kind::MessageTooLong, limits.message, "a message within the limit"));
    }
    let (start, mut at) = start_line(raw, limits)?;
    inner.start = start;
    let body = loop {
        match raw.get(at) {
            Some(b'\n') => break at + 1,
            Some(b'\r') if raw.get(at + 1) == Some(&b'\n') => break at + 2,
            Some(_) => {}
            None => return Err((Kind::Unterminated, at, "an empty line after the header fields")),
        }
        let (slot, next) = header_field(raw, at, limits)?;
        if inner.slots.len() == limits.headers {
            return Err((Kind::HeadTooLong, at, "fewer header fields"));
        }
        inner.slots.push(slot);
        at = next;
    };
    inner.body = body as u32;
    inner.required = Required::find(raw, &inner.slots)?;
    body_end(raw, &inner.slots, body, limits, framing)
}

/// So many header fields need no allocation of their own.
pub(crate) const INLINE_SLOTS: usize = 20;

fn start_line(raw: &[u8], limits: &Limits) -> Result<(Start, usize), Fault> {
    let Some(line) = next_line(raw, 0) else {
        return Err((Kind::Unterminated, 0, "a start line that ends"));
    };
    let text = &raw[..line.end];
    let start = if text.len() >= 4 && text[..4].eq_ignore_ascii_case(b"SIP/") {
        if text.len() > limits.header_line {
            return Err((Kind::HeadTooLong, limits.header_line, "a shorter start line"));
        }
        // A request line has room for neither: its three parts are checked to the byte.
        if let Some(at) = memchr::memchr2(b'\0', b'\r', text) {
            return Err((Kind::StartLine, at, "a start line without NUL or CR"));
        }
        status_line(text)?
    } else {
        request_line(text, limits)?
    };
    Ok((start, line.next))
}

fn status_line(text: &[u8]) -> Result<Start, Fault> {
    let Some(rest) = text.get(VERSION.len()..).filter(|_| text[..VERSION.len()].eq_ignore_ascii_case(VERSION)) else {
        return Err((Kind::Version, 0, "SIP/2.0"));
    };
    let digits = match rest {
        [b' ', a, b, c] | [b' ', a, b, c, b' ', ..] => [*a, *b, *c],
        _ => return Err((Kind::StartLine, VERSION.len(), "a status of three digits")),
    };
    let status = match lex::number(&digits) {
        Some(status @ 100..=699) => status as u16,
        Some(_) | None => return Err((Kind::StartLine, VERSION.len() + 1, "a status from 100 to 699")),
    };
    // RFC 4475 §3.1.1.13: the reason phrase may be empty; the blank before it is missing often enough.
    let reason = (VERSION.len() + 5).min(text.len());
    Ok(Start::Response { status, reason: Span::new(reason, text.len()) })
}

const VERSION: &[u8] = b"SIP/2.0";

fn request_line(text: &[u8], limits: &Limits) -> Result<Start, Fault> {
    let method = lex::span(text, lex::TOKEN);
    if method == 0 || text.get(method) != Some(&b' ') {
        return Err((Kind::StartLine, method, "a method and one blank"));
    }
    let uri_start = method + 1;
    let Some(uri_end) = memchr::memchr(b' ', &text[uri_start..]).map(|at| uri_start + at) else {
        if text.len() - uri_start > limits.uri {
            return Err((Kind::UriTooLong, uri_start, "a shorter Request-URI"));
        }
        return Err((Kind::StartLine, text.len(), "a blank and SIP/2.0 after the Request-URI"));
    };
    let uri = &text[uri_start..uri_end];
    if uri.len() > limits.uri {
        return Err((Kind::UriTooLong, uri_start, "a shorter Request-URI"));
    }
    let version = &text[uri_end + 1..];
    if !version.eq_ignore_ascii_case(VERSION) {
        if is_other_version(version) {
            return Err((Kind::Version, uri_end + 1, "SIP/2.0"));
        }
        return Err((Kind::StartLine, uri_end + 1, "SIP/2.0 and the end of the line after the Request-URI"));
    }
    if name_addr::check_uri(uri).is_err() {
        return Err((Kind::StartLine, uri_start, "a Request-URI with a scheme and without brackets"));
    }
    Ok(Start::Request { method: Span::new(0, method), uri: Span::new(uri_start, uri_end) })
}

/// `SIP/7.0`: to be refused with 505, not 400.
fn is_other_version(s: &[u8]) -> bool {
    let Some((b"SIP/", number)) = s
        .split_at_checked(4)
        .map(|(name, rest)| (name.to_ascii_uppercase(), rest))
        .as_ref()
        .map(|(name, rest)| (name.as_slice(), *rest))
    else {
        return false;
    };
    let mut parts = number.split(|&b| b == b'.');
    let digits = |part: Option<&[u8]>| part.is_some_and(|p| !p.is_empty() && p.iter().all(u8::is_ascii_digit));
    digits(parts.next()) && digits(parts.next()) && parts.next().is_none()
}

/// One header field with its folds, and where the next line begins.
#[inline]
fn header_field(raw: &[u8], at: usize, limits: &Limits) -> Result<(Slot, usize), Fault> {
    let line = &raw[at..];
    let Some(colon) = colon(line) else {
        return Err((Kind::HeaderLine, at, "a header field name and a colon"));
    };
    let mut name_len = colon;
    while name_len > 0 && matches!(line[name_len - 1], b' ' | b'\t') {
        name_len -= 1;
    }
    let name = HeaderName::from_bytes(&line[..name_len]);
    // A known name is made of token characters: only others need a look.
    if name == HeaderName::Other && !lex::all(&line[..name_len], lex::TOKEN) {
        return Err((Kind::HeaderLine, at, "a header field name and a colon"));
    }
    let mut pos = colon + 1;
    let (end, next) = loop {
        let Some(eol) = memchr::memchr2(b'\r', b'\n', &line[pos..]) else {
            return Err((Kind::Unterminated, raw.len(), "an end of the line and an empty line"));
        };
        let eol = pos + eol;
        let next = match (line[eol], line.get(eol + 1)) {
            (b'\n', _) => eol + 1,
            (_, Some(b'\n')) => eol + 2,
            (_, _) => return Err((Kind::HeaderLine, at + eol, "LF after CR")),
        };
        if next > limits.header_line {
            return Err((Kind::HeadTooLong, at + limits.header_line, "a shorter header field"));
        }
        if !matches!(line.get(next), Some(b' ' | b'\t')) {
            break (eol, next);
        }
        pos = next;
    };
    let (mut start, mut end) = (colon + 1, end);
    while start < end && lex::is(line[start], lex::LWS) {
        start += 1;
    }
    while start < end && lex::is(line[end - 1], lex::LWS) {
        end -= 1;
    }
    let value = Span::new(at + start, at + end);
    Ok((Slot { name, name_len: name_len as u16, at: at as u32, value }, at + next))
}

/// Where the first colon is, if within reach. Most names are short enough for one look at 16 bytes at once.
#[inline]
fn colon(line: &[u8]) -> Option<usize> {
    const COLONS: u128 = u128::from_le_bytes([b':'; 16]);
    const LOW: u128 = u128::from_le_bytes([1; 16]);
    if let Some(first) = line.first_chunk::<16>() {
        // A byte becomes zero where there is a colon; borrowing finds the lowest zero byte exactly.
        let zeros = u128::from_le_bytes(*first) ^ COLONS;
        let found = zeros.wrapping_sub(LOW) & !zeros & (LOW << 7);
        if found != 0 {
            return Some(found.trailing_zeros() as usize / 8);
        }
    }
    memchr::memchr(b':', &line[..line.len().min(MAX_NAME)])
}

/// Longer names, with the blanks behind them, are no header field of anyone's.
const MAX_NAME: usize = 256;

/// Where what every layer relies on stands.
#[derive(Clone, Copy, Default)]
pub(crate) struct Required {
    pub(crate) call_id: Span,
    pub(crate) cseq: u32,
    pub(crate) cseq_method: Span,
    /// The first Via value.
    pub(crate) via: Span,
    pub(crate) from: Span,
    pub(crate) to: Span,
    pub(crate) from_tag: Option<Span>,
    pub(crate) to_tag: Option<Span>,
}

impl Required {
    fn find(raw: &[u8], slots: &[Slot]) -> Result<Required, Fault> {
        let (mut via, mut from, mut to, mut call_id, mut cseq) = (None, None, None, None, None);
        for slot in slots {
            let place = match slot.name {
                HeaderName::Via => {
                    via.get_or_insert(slot.value);
                    continue;
                }
                HeaderName::From => &mut from,
                HeaderName::To => &mut to,
                HeaderName::CallId => &mut call_id,
                HeaderName::CSeq => &mut cseq,
                _ => continue,
            };
            if place.is_some() {
                return Err((Kind::Duplicate(slot.name), slot.at as usize, "this header field once"));
            }
            *place = Some(slot.value);
        }
        let need = |span: Option<Span>, name, expected| span.ok_or((Kind::Missing(name), 0, expected));
        let via = need(via, HeaderName::Via, "a Via header field")?;
        let from = need(from, HeaderName::From, "a From header field")?;
        let to = need(to, HeaderName::To, "a To header field")?;
        let call_id = need(call_id, HeaderName::CallId, "a Call-ID header field")?;
        let cseq = need(cseq, HeaderName::CSeq, "a CSeq header field")?;

        let value = via.of(raw);
        let via = Span::new(via.start as usize, via.start as usize + lex::value_end(value));
        Via::parse(via.of(raw)).map_err(|e| fault(HeaderName::Via, via, e))?;
        let from_tag = tag(raw, from).map_err(|e| fault(HeaderName::From, from, e))?;
        let to_tag = tag(raw, to).map_err(|e| fault(HeaderName::To, to, e))?;
        if !lex::all(call_id.of(raw), lex::WORD) {
            return Err((Kind::Value(HeaderName::CallId), call_id.start as usize, "a Call-ID of visible characters"));
        }
        let (number, method) = CSeq::split(cseq.of(raw)).map_err(|e| fault(HeaderName::CSeq, cseq, e))?;
        let cseq_method = Span::within(raw, method);
        Ok(Required { call_id, cseq: number, cseq_method, via, from, to, from_tag, to_tag })
    }
}

fn fault(name: HeaderName, value: Span, error: HeaderError) -> Fault {
    (Kind::Value(name), value.start as usize, error.expected)
}

/// Checks a From or To whole and finds its tag, a token of ASCII.
fn tag(raw: &[u8], span: Span) -> Result<Option<Span>, HeaderError> {
    let mut rest = name_addr::split(span.of(raw))?.params;
    let mut tag = None;
    while let Some((param, after)) = params::next_param(rest)? {
        rest = after;
        if param.name.eq_ignore_ascii_case(b"tag") && tag.is_none() {
            let value = param.value.filter(|value| lex::all(value, lex::WORD));
            tag = Some(Span::within(raw, value.ok_or(HeaderError::new("a tag of visible characters"))?));
        }
    }
    Ok(tag)
}

fn body_end(raw: &[u8], slots: &[Slot], body: usize, limits: &Limits, framing: Framing) -> Result<usize, Fault> {
    let mut length: Option<u64> = None;
    for slot in slots.iter().filter(|slot| slot.name == HeaderName::ContentLength) {
        let at = slot.value.start as usize;
        let Some(n) = lex::number(slot.value.of(raw)) else {
            return Err((Kind::ContentLength, at, "a Content-Length of digits"));
        };
        if length.is_some_and(|length| length != n) {
            return Err((Kind::ContentLength, at, "one Content-Length, or the same again"));
        }
        if n > limits.message as u64 {
            return Err((Kind::BodyTooLong, at, "a body within the limit"));
        }
        length = Some(n);
    }
    let rest = raw.len() - body;
    match (length, framing) {
        // RFC 3261 §18.3: a datagram's body goes to its end; what is over is dropped; too little is an error.
        (None, Framing::Datagram) => Ok(raw.len()),
        (None, Framing::Stream) => {
            Err((Kind::Missing(HeaderName::ContentLength), 0, "a Content-Length (RFC 3261 §18.3)"))
        }
        (Some(n), _) if n as usize > rest => {
            Err((Kind::ContentLength, raw.len(), "as many bytes as Content-Length says"))
        }
        (Some(n), _) => Ok(body + n as usize),
    }
}
