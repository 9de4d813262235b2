//! One GET over HTTP/1.1 (RFC 9112): what a certificate needs, within limits, the connection closed behind it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ringfort_stir::FetchFailure;
use ringfort_stir::certificate::MAX_CHAIN_BYTES;

use super::now;
use super::url::Url;

const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;
/// RFC 8555 §9.1, RFC 2585 §4.1, and what servers give that know neither.
const CONTENT_TYPES: [&str; 3] =
    ["application/pem-certificate-chain", "application/pkix-cert", "application/octet-stream"];

/// A connection that ends at a moment, however slowly its peer sends.
pub(super) struct Deadlined {
    stream: TcpStream,
    deadline: Instant,
}

impl Deadlined {
    pub(super) fn new(stream: TcpStream, deadline: Instant) -> Self {
        Deadlined { stream, deadline }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(now().instant);
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Deadlined {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(into)
    }
}

impl Write for Deadlined {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// An answer, read as far as its status allows.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    content_type: Option<String>,
    max_age: Option<Duration>,
    body: Vec<u8>,
}

impl Response {
    /// What a certificate's URL gave, and how long it may be kept.
    pub(super) fn body(self) -> (Vec<u8>, Option<Duration>) {
        (self.body, self.max_age)
    }
}

pub(super) fn exchange(mut stream: impl Read + Write, url: &Url) -> Result<Response, FetchFailure> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nAccept: {}\r\nUser-Agent: Ringfort\r\nConnection: close\r\n\r\n",
        url.path,
        url.authority(),
        CONTENT_TYPES.join(", ")
    );
    stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).map_err(|error| failure(&error, true))?;
    read(stream)
}

fn failure(error: &io::Error, connecting: bool) -> FetchFailure {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => FetchFailure::Timeout,
        _ if connecting => FetchFailure::Connect(error.to_string()),
        _ => FetchFailure::Protocol(error.to_string()),
    }
}

fn protocol(words: &str) -> FetchFailure {
    FetchFailure::Protocol(words.to_owned())
}

/// How the length of a body is told (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunked,
    UntilClosed,
}

fn read(mut stream: impl Read) -> Result<Response, FetchFailure> {
    let mut buffer = Vec::new();
    let mut searched = 0;
    let end = loop {
        let found = find(&buffer[searched..], b"\r\n\r\n").map(|at| searched + at);
        if found.unwrap_or(buffer.len()) > MAX_HEAD {
            return Err(protocol("its head is too long"));
        }
        if let Some(at) = found {
            break at;
        }
        searched = buffer.len().saturating_sub(3);
        // What fails before the first octet of an answer fails in the handshake.
        if more(&mut stream, &mut buffer).map_err(|error| failure(&error, buffer.is_empty()))? == 0 {
            return Err(protocol("it ended within the head"));
        }
    };
    let rest = buffer.split_off(end + 4);
    let (mut response, length) = head(&buffer[..end])?;
    if response.status == 200 {
        // Before a body of another type is read.
        if let Some(kind) = response.content_type.take_if(|kind| !CONTENT_TYPES.contains(&kind.as_str())) {
            return Err(FetchFailure::ContentType(kind));
        }
        response.body = body(stream, rest, length)?;
    }
    Ok(response)
}

fn more(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(length) => {
                buffer.extend_from_slice(&piece[..length]);
                return Ok(length);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn find(buffer: &[u8], what: &[u8]) -> Option<usize> {
    buffer.windows(what.len()).position(|window| window == what)
}

fn head(head: &[u8]) -> Result<(Response, Length), FetchFailure> {
    let text = std::str::from_utf8(head).map_err(|_| protocol("its head is not ASCII"))?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| {
        let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
        rest.get(..3)?.parse().ok().filter(|status| (200..600).contains(status))
    });
    let status = status.ok_or_else(|| protocol("expected HTTP/1.1 and a status"))?;
    let mut response = Response { status, location: None, content_type: None, max_age: None, body: Vec::new() };
    let mut length = Length::UntilClosed;
    for (index, line) in lines.enumerate() {
        let (name, value) = line.split_once(':').ok_or_else(|| protocol("expected a colon in each header field"))?;
        if index >= MAX_HEADERS {
            return Err(protocol("it has too many header fields"));
        }
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "location" => response.location = Some(value.to_owned()),
            "content-type" => {
                let kind = value.split(';').next().unwrap_or_default();
                response.content_type = Some(kind.trim().to_ascii_lowercase());
            }
            "cache-control" => response.max_age = max_age(value).or(response.max_age),
            "transfer-encoding" => {
                if !value.eq_ignore_ascii_case("chunked") {
                    return Err(protocol("expected no transfer coding but chunked"));
                }
                length = Length::Chunked;
            }
            "content-length" if length != Length::Chunked => {
                let octets = value.parse().map_err(|_| protocol("expected a number as Content-Length"))?;
                length = Length::Known(octets);
            }
            _ => {}
        }
    }
    Ok((response, length))
}

/// RFC 9111 §5.2.2.
fn max_age(value: &str) -> Option<Duration> {
    value.split(',').map(str::trim).find_map(|directive| {
        let directive = directive.to_ascii_lowercase();
        match directive.as_str() {
            "no-store" | "no-cache" => Some(Duration::ZERO),
            other => other.strip_prefix("max-age=")?.trim_matches('"').parse().ok().map(Duration::from_secs),
        }
    })
}

fn body(mut stream: impl Read, mut buffer: Vec<u8>, length: Length) -> Result<Vec<u8>, FetchFailure> {
    const TOO_LARGE: FetchFailure = FetchFailure::TooLarge { limit: MAX_CHAIN_BYTES };
    // A chunked body takes some more room than what is in it.
    let room = if length == Length::Chunked { 2 * MAX_CHAIN_BYTES } else { MAX_CHAIN_BYTES };
    if matches!(length, Length::Known(octets) if octets > MAX_CHAIN_BYTES) {
        return Err(TOO_LARGE);
    }
    loop {
        match length {
            Length::Known(octets) if buffer.len() >= octets => {
                buffer.truncate(octets);
                return Ok(buffer);
            }
            Length::Chunked => {
                if let Some(body) = unchunk(&buffer)? {
                    return if body.len() > MAX_CHAIN_BYTES { Err(TOO_LARGE) } else { Ok(body) };
                }
            }
            Length::Known(_) | Length::UntilClosed => {}
        }
        if buffer.len() > room {
            return Err(TOO_LARGE);
        }
        // A TLS connection that ends without saying so may have been cut off; rustls makes an error of it.
        if more(&mut stream, &mut buffer).map_err(|error| failure(&error, false))? == 0 {
            return if length == Length::UntilClosed { Ok(buffer) } else { Err(protocol("it ended within the body")) };
        }
    }
}

/// RFC 9112 §7.1. `None`: not whole yet.
fn unchunk(mut rest: &[u8]) -> Result<Option<Vec<u8>>, FetchFailure> {
    let mut body = Vec::new();
    loop {
        let Some(end) = find(rest, b"\r\n") else {
            return if rest.len() > 200 { Err(protocol("expected the size of a chunk")) } else { Ok(None) };
        };
        let size = std::str::from_utf8(&rest[..end]).ok().and_then(|line| {
            let digits = line.split(';').next().unwrap_or_default().trim();
            (digits.len() <= 8).then(|| usize::from_str_radix(digits, 16).ok())?
        });
        let size = size.ok_or_else(|| protocol("expected the size of a chunk"))?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Ok(Some(body));
        }
        let Some(chunk) = rest.get(..size) else { return Ok(None) };
        match rest.get(size..size + 2) {
            Some(b"\r\n") => {}
            Some(_) => return Err(protocol("expected a line's end behind a chunk")),
            None => return Ok(None),
        }
        body.extend_from_slice(chunk);
        rest = &rest[size + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that gives one octet at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            into[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn answer(text: &str) -> Result<(Vec<u8>, Option<Duration>), FetchFailure> {
        let whole = read(text.as_bytes()).map(Response::body);
        let slow = read(Slow(text.as_bytes())).map(Response::body);
        assert_eq!(whole, slow, "however it is cut");
        whole
    }

    #[test]
    fn bodies_end_by_their_length_by_chunks_or_by_the_end() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellofurther",
            "HTTP/1.0 200 OK\r\nContent-Type: application/pkix-cert; x=y\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        ] {
            assert_eq!(answer(text), Ok((b"hello".to_vec(), None)), "{text}");
        }
        let kept = answer("HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(kept, Ok((Vec::new(), Some(Duration::from_secs(60)))));
        let not_kept = answer("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(not_kept, Ok((Vec::new(), Some(Duration::ZERO))));
    }

    #[test]
    fn other_answers_are_refused() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        let huge = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_CHAIN_BYTES + 1));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(200));
        for text in [
            "",
            "SIP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz",
            &long,
            &many,
        ] {
            assert!(matches!(answer(text), Err(FetchFailure::Protocol(_))), "{text:.60}");
        }
        for text in [huge.as_str(), "HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n"] {
            assert_eq!(answer(text), Err(FetchFailure::TooLarge { limit: MAX_CHAIN_BYTES }));
        }
        let page = answer("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(page, Err(FetchFailure::ContentType("text/html".into())));
    }
}
