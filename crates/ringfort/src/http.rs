//! `/metrics` and `/healthz` over HTTP/1.1: one thread, one request a connection, both bounded. No framework, because
//! two fixed pages on a local port do not need one, and an idle server should stay small.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// A request head may be this long; a longer one is refused.
const HEAD_LIMIT: usize = 8192;
/// For the whole request head, however slowly its bytes come, and for each write of the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// A page.
pub struct Page {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

impl Page {
    pub fn text(status: u16, body: impl Into<String>) -> Page {
        Page { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// Binds and serves until the process ends. `page` gets the path without its query.
///
/// # Errors
/// The address cannot be bound.
pub fn start(address: SocketAddr, page: impl Fn(&str) -> Option<Page> + Send + 'static) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let bound = listener.local_addr()?;
    thread::Builder::new().name("http".into()).stack_size(128 * 1024).spawn(move || {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => {
                    // A client that goes away half-way is no event.
                    let _ = serve(stream, &page);
                }
                // Out of file descriptors: it passes, and spinning would not help.
                Err(error) => {
                    tracing::warn!(target: "ringfort::http", %error, "accept failed");
                    thread::sleep(Duration::from_millis(100));
                }
            }
        }
    })?;
    Ok(bound)
}

fn serve(stream: TcpStream, page: &impl Fn(&str) -> Option<Page>) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let (answer, with_body) = match read_head(&stream, clock() + PATIENCE)? {
        Request::Get { path, head } => {
            let found = page(&path).unwrap_or_else(|| Page::text(404, "not found; there are /metrics and /healthz\n"));
            (found, !head)
        }
        Request::Other => (Page::text(405, "only GET and HEAD\n"), true),
        Request::Bad => (Page::text(400, "not a request\n"), true),
    };
    write_page(&stream, &answer, with_body)
}

#[derive(Debug, PartialEq)]
enum Request {
    /// `head`: the same answer without its body (RFC 9110 §9.3.2).
    Get {
        path: String,
        head: bool,
    },
    Other,
    Bad,
}

/// Reads up to the empty line; a client that has not sent it at `end` has lost its turn.
fn read_head(mut stream: &TcpStream, end: Instant) -> io::Result<Request> {
    let mut bytes = [0; HEAD_LIMIT];
    let mut len = 0;
    loop {
        let left = end.saturating_duration_since(clock());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut bytes[len..]) {
            // The client's end, or no room left for more.
            Ok(0) => return Ok(Request::Bad),
            Ok(more) => len += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if let Some(head) = whole_head(&bytes[..len]) {
            return Ok(parse(head));
        }
    }
}

/// The bytes before the empty line, where it has come. Lines end with LF, with or without CR before it.
fn whole_head(bytes: &[u8]) -> Option<&[u8]> {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    ends.map(|at| (&bytes[..at], &bytes[at..]))
        .find(|(_, rest)| rest.starts_with(b"\r\n") || rest.starts_with(b"\n"))
        .map(|(head, _)| head)
}

fn parse(head: &[u8]) -> Request {
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(first) = std::str::from_utf8(first) else { return Request::Bad };
    let mut parts = first.split_ascii_whitespace();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(method @ ("GET" | "HEAD")), Some(path), Some(version)) if version.starts_with("HTTP/1.") => {
            Request::Get { path: path.split('?').next().unwrap_or(path).to_owned(), head: method == "HEAD" }
        }
        (Some(_), Some(_), Some(version)) if version.starts_with("HTTP/") => Request::Other,
        _ => Request::Bad,
    }
}

fn write_page(mut stream: &TcpStream, page: &Page, with_body: bool) -> io::Result<()> {
    let reason = match page.status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        503 => "Service Unavailable",
        _ => "",
    };
    let head = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: no-store\r\n\r\n",
        page.status,
        page.content_type,
        page.body.len()
    );
    stream.write_all(head.as_bytes())?;
    if with_body {
        stream.write_all(page.body.as_bytes())?;
    }
    stream.flush()
}

#[allow(clippy::disallowed_methods, reason = "the edge of the system")]
fn clock() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn pages_are_served_and_everything_else_is_refused() {
        let page = |path: &str| (path == "/healthz").then(|| Page::text(200, "ok\n"));
        let address = start("127.0.0.1:0".parse().unwrap(), page).unwrap();
        let answer = ask(address, "GET /healthz?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
        assert!(ask(address, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(ask(address, "POST /healthz HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(ask(address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
        let long = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(HEAD_LIMIT - 19));
        assert!(ask(address, &long).starts_with("HTTP/1.1 400 "));
        let head = ask(address, "HEAD /healthz HTTP/1.1\n\n");
        assert!(head.contains("\r\nContent-Length: 3\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    }

    #[test]
    fn a_client_that_sends_a_byte_now_and_then_gets_no_more_time_than_others() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let slow = thread::spawn(move || {
            // Fails when the other side has gone.
            while client.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        let start = clock();
        let error = read_head(&stream, start + Duration::from_millis(200)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
        drop(stream);
        slow.join().unwrap();
    }
}
