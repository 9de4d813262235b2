//! `/metrics` and `/healthz` over HTTP/1.1: one thread, one request a connection, both bounded. No framework, because
//! two fixed pages on a local port do not need one, and an idle server should stay small.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// A request head may be this long; a longer one is refused.
const HEAD_LIMIT: u64 = 8192;
/// For reading the request and for writing the answer, each.
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
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let answer = match read_head(&stream)? {
        Request::Get { path } => {
            page(&path).unwrap_or_else(|| Page::text(404, "not found; there are /metrics and /healthz\n"))
        }
        Request::Other => Page::text(405, "only GET and HEAD\n"),
        Request::Bad => Page::text(400, "not a request\n"),
    };
    write_page(&stream, &answer)
}

enum Request {
    Get { path: String },
    Other,
    Bad,
}

fn read_head(stream: &TcpStream) -> io::Result<Request> {
    let mut reader = BufReader::new(stream.take(HEAD_LIMIT));
    let mut first = String::new();
    if reader.read_line(&mut first).is_err() {
        return Ok(Request::Bad);
    }
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(Request::Bad);
        }
        if line == b"\r\n" || line == b"\n" {
            break;
        }
    }
    let mut parts = first.split_ascii_whitespace();
    Ok(match (parts.next(), parts.next(), parts.next()) {
        (Some("GET" | "HEAD"), Some(path), Some(version)) if version.starts_with("HTTP/1.") => {
            Request::Get { path: path.split('?').next().unwrap_or(path).to_owned() }
        }
        (Some(_), Some(_), Some(version)) if version.starts_with("HTTP/") => Request::Other,
        _ => Request::Bad,
    })
}

fn write_page(mut stream: &TcpStream, page: &Page) -> io::Result<()> {
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
    stream.write_all(page.body.as_bytes())?;
    stream.flush()
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
    }
}
