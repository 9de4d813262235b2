//! Messages out of a byte stream (RFC 3261 §18.3) and the keep-alives between them (RFC 5626 §3.5.1). Called by `net`
//! for each TCP or TLS connection. Takes bytes as they come, in pieces of any size, and holds no more than one message
//! and what came behind it.

use bytes::{Buf, Bytes, BytesMut};

use crate::header::HeaderName;
use crate::message::{Limits, ParseError, ParseErrorKind as Kind};
use crate::{lex, parse};

/// What a client sends to see whether the other end is there.
pub const PING: &[u8] = b"\r\n\r\n";
/// What is answered to it.
pub const PONG: &[u8] = b"\r\n";

/// One thing found in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Exactly one message, for `Message::parse_framed`.
    Message(Bytes),
    /// An empty line between messages: the pong, where we have sent a ping. Also the first half of a ping.
    Crlf,
    /// The second empty line in a row: to be answered with `PONG`.
    Ping,
}

/// The framer of one connection.
#[derive(Debug)]
pub struct StreamFramer {
    limits: Limits,
    buffer: BytesMut,
    /// Up to here no end of the head was found.
    scanned: usize,
    /// Length of head and body, once the head is there.
    wanted: Option<usize>,
    /// Whether the last thing was an odd empty line.
    half_ping: bool,
    broken: bool,
}

impl StreamFramer {
    pub fn new(limits: Limits) -> StreamFramer {
        StreamFramer { limits, buffer: BytesMut::new(), scanned: 0, wanted: None, half_ping: false, broken: false }
    }

    /// Adds what was read. To be followed by `poll` until that has nothing more.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next thing; `None` where more bytes are needed. After an error the stream cannot be read any further: the
    /// reply goes out, where the error has one, and the connection is to be closed (RFC 3261 §18.3).
    pub fn poll(&mut self) -> Result<Option<Frame>, ParseError> {
        if self.broken {
            return Ok(None);
        }
        if self.wanted.is_none() {
            if let Some(frame) = self.empty_line() {
                return Ok(Some(frame));
            }
            if matches!(self.buffer.first(), None | Some(b'\r')) {
                return Ok(None);
            }
            self.half_ping = false;
            let Some(head) = self.head_end()? else { return Ok(None) };
            self.wanted = Some(self.message_end(head)?);
        }
        let Some(wanted) = self.wanted.filter(|wanted| *wanted <= self.buffer.len()) else { return Ok(None) };
        self.wanted = None;
        self.scanned = 0;
        Ok(Some(Frame::Message(self.buffer.split_to(wanted).freeze())))
    }

    /// Whether bytes of a message that is not complete are held: a connection that stays so is to be closed.
    pub fn is_within_message(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Whether the stream cannot be read any further.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Bytes held.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    fn empty_line(&mut self) -> Option<Frame> {
        let len = match self.buffer.as_ref() {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            // A CR that no LF follows begins nothing that could be read: the parser will say so.
            [b'\r', _, ..] => 1,
            _ => return None,
        };
        self.buffer.advance(len);
        self.half_ping = !self.half_ping;
        Some(if self.half_ping { Frame::Crlf } else { Frame::Ping })
    }

    /// Where the head with its empty line ends.
    fn head_end(&mut self) -> Result<Option<usize>, ParseError> {
        let window = &self.buffer[..self.buffer.len().min(self.limits.message)];
        while let Some(found) = memchr::memchr(b'\n', &window[self.scanned..]) {
            let lf = self.scanned + found;
            match &window[lf + 1..] {
                [b'\n', ..] => return Ok(Some(lf + 2)),
                [b'\r', b'\n', ..] => return Ok(Some(lf + 3)),
                // More is needed to tell: look here again.
                [] | [b'\r'] => {
                    self.scanned = lf;
                    return self.head_within_limit();
                }
                [..] => self.scanned = lf + 1,
            }
        }
        self.scanned = window.len();
        self.head_within_limit()
    }

    fn head_within_limit(&mut self) -> Result<Option<usize>, ParseError> {
        if self.buffer.len() < self.limits.message {
            return Ok(None);
        }
        Err(self.broken(self.limits.message, Kind::HeadTooLong, 0, "the end of the head within the limit"))
    }

    /// Where the body ends, by the Content-Length that the head must have.
    fn message_end(&mut self, head: usize) -> Result<usize, ParseError> {
        let mut length: Option<u64> = None;
        let mut at = parse::next_line(&self.buffer, 0).map_or(head, |line| line.next);
        while at < head
            && let Some(line) = parse::next_line(&self.buffer, at)
        {
            at = line.next;
            let Some((HeaderName::ContentLength, value)) = parse::loose_header(&self.buffer, &line) else { continue };
            let Some(n) = lex::number(value.of(&self.buffer)) else {
                return Err(self.broken(head, Kind::ContentLength, line.start, "a Content-Length of digits"));
            };
            if length.is_some_and(|length| length != n) {
                return Err(self.broken(
                    head,
                    Kind::ContentLength,
                    line.start,
                    "one Content-Length, or the same again",
                ));
            }
            length = Some(n);
        }
        let Some(length) = length else {
            let expected = "a Content-Length (RFC 3261 §18.3)";
            return Err(self.broken(head, Kind::Missing(HeaderName::ContentLength), 0, expected));
        };
        let room = self.limits.message.saturating_sub(head) as u64;
        if length > room {
            return Err(self.broken(head, Kind::BodyTooLong, 0, "a body within the limit"));
        }
        Ok(head + length as usize)
    }

    fn broken(&mut self, head: usize, kind: Kind, offset: usize, expected: &'static str) -> ParseError {
        self.broken = true;
        let head = self.buffer.split_to(head.min(self.buffer.len())).freeze();
        self.buffer = BytesMut::new();
        ParseError::new(kind, &head, offset, expected)
    }
}

/// Whether a datagram or a WebSocket message holds nothing but what is sent to keep a path open: empty lines, blanks
/// or NULs, or nothing (RFC 5626 §3.5.1; phones send all of these over UDP).
pub fn is_keep_alive(bytes: &[u8]) -> bool {
    bytes.len() <= 64 && bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | b' ' | 0))
}
