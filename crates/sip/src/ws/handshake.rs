//! The opening handshake (RFC 6455 §4, RFC 7118 §4).

use bytes::{Bytes, BytesMut};
use sha1::{Digest, Sha1};

use crate::lex::{self, Values};

/// A request or response head may not be longer.
const MAX_HEAD: usize = 8_192;
/// Nor have more header fields.
const MAX_HEADERS: usize = 100;
/// The subprotocol (RFC 7118 §4).
const PROTOCOL: &str = "sip";

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    #[error("expected a head of at most 8192 bytes and 100 header fields")]
    TooLong,
    #[error("expected an HTTP/1.1 request line or status line and header fields")]
    Malformed,
    #[error("expected GET")]
    Method,
    #[error("expected Upgrade: websocket and Connection: Upgrade")]
    NoUpgrade,
    #[error("expected Sec-WebSocket-Version: 13")]
    Version,
    #[error("expected a Sec-WebSocket-Key of 16 bytes in Base64")]
    Key,
    #[error("expected the subprotocol sip (RFC 7118 §4)")]
    Protocol,
    #[error("expected status 101")]
    Status,
    #[error("expected Sec-WebSocket-Accept to prove that the key was read")]
    Accept,
}

impl HandshakeError {
    /// The whole HTTP response that a server sends before it closes.
    pub fn response(self) -> &'static [u8] {
        match self {
            HandshakeError::TooLong => {
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            }
            HandshakeError::Method => {
                b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            }
            HandshakeError::NoUpgrade | HandshakeError::Version => {
                b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\
                  Sec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n"
            }
            HandshakeError::Malformed
            | HandshakeError::Key
            | HandshakeError::Protocol
            | HandshakeError::Status
            | HandshakeError::Accept => b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        }
    }
}

/// A head as it comes in.
#[derive(Debug, Default)]
struct Head {
    buffer: BytesMut,
    scanned: usize,
}

impl Head {
    /// The head with its empty line, once it is whole; what follows it stays.
    fn push(&mut self, bytes: &[u8]) -> Result<Option<Bytes>, HandshakeError> {
        self.buffer.extend_from_slice(bytes);
        let from = self.scanned.saturating_sub(3);
        match memchr::memmem::find(&self.buffer[from..], b"\r\n\r\n") {
            Some(at) if from + at + 4 <= MAX_HEAD => Ok(Some(self.buffer.split_to(from + at + 4).freeze())),
            Some(_) => Err(HandshakeError::TooLong),
            None if self.buffer.len() >= MAX_HEAD => Err(HandshakeError::TooLong),
            None => {
                self.scanned = self.buffer.len();
                Ok(None)
            }
        }
    }
}

/// First line and header fields of an HTTP head; folds, which HTTP no longer has, are refused.
struct Fields<'a> {
    first: &'a [u8],
    fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Fields<'a> {
    fn read(head: &'a [u8]) -> Result<Fields<'a>, HandshakeError> {
        let mut lines =
            head[..head.len() - 4].split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = lines.next().ok_or(HandshakeError::Malformed)?;
        let mut fields = Vec::new();
        for line in lines {
            let colon = memchr::memchr(b':', line).ok_or(HandshakeError::Malformed)?;
            if !lex::all(&line[..colon], lex::TOKEN) || line.iter().any(|b| matches!(b, b'\r' | 0)) {
                return Err(HandshakeError::Malformed);
            }
            if fields.len() == MAX_HEADERS {
                return Err(HandshakeError::TooLong);
            }
            fields.push((&line[..colon], lex::trim(&line[colon + 1..])));
        }
        Ok(Fields { first, fields })
    }

    fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'_, 'a, 'n> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| *value)
    }

    /// The value, where there is exactly one.
    fn one(&self, name: &str) -> Option<&'a [u8]> {
        let mut all = self.all(name);
        all.next().filter(|_| all.next().is_none())
    }

    /// Whether a comma separated list holds the token, in any case.
    fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(Values::new).any(|value| value.eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// The server's side. Feed it what was read until it has an answer.
#[derive(Debug, Default)]
pub struct ServerHandshake {
    head: Head,
    uri: String,
    origin: Option<String>,
}

impl ServerHandshake {
    pub fn new() -> ServerHandshake {
        ServerHandshake::default()
    }

    /// The response to be sent, once the request is whole. On an error `HandshakeError::response` is sent and the
    /// connection closed.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, HandshakeError> {
        let Some(head) = self.head.push(bytes)? else { return Ok(None) };
        let fields = Fields::read(&head)?;
        self.uri = request_target(fields.first)?;
        self.origin = fields.one("Origin").map(|origin| lex::text(origin).into_owned());
        if fields.one("Host").is_none() {
            return Err(HandshakeError::Malformed);
        }
        if !fields.lists("Upgrade", "websocket") || !fields.lists("Connection", "upgrade") {
            return Err(HandshakeError::NoUpgrade);
        }
        if fields.one("Sec-WebSocket-Version") != Some(b"13") {
            return Err(HandshakeError::Version);
        }
        let key = fields.one("Sec-WebSocket-Key").filter(|key| is_key(key)).ok_or(HandshakeError::Key)?;
        if !fields.lists("Sec-WebSocket-Protocol", PROTOCOL) {
            return Err(HandshakeError::Protocol);
        }
        let mut response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Accept: "
            .to_vec();
        response.extend_from_slice(&accept(key));
        response.extend_from_slice(b"\r\n\r\n");
        Ok(Some(response))
    }

    /// The path that was asked for.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Where the page came from that opened the connection, for the owner's policy to judge (RFC 6455 §10.2).
    pub fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// What came behind the request: the first bytes of frames.
    pub fn into_rest(self) -> Bytes {
        self.head.buffer.freeze()
    }
}

/// The client's side.
#[derive(Debug)]
pub struct ClientHandshake {
    head: Head,
    key: [u8; 24],
}

impl ClientHandshake {
    /// `nonce` is random (RFC 6455 §4.1). Also returns the request to be sent; `host` and `path` must hold no line
    /// ends, which become blanks.
    pub fn new(host: &str, path: &str, nonce: [u8; 16]) -> (ClientHandshake, Vec<u8>) {
        let mut key = [0; 24];
        base64(&nonce, &mut key);
        let mut request = b"GET ".to_vec();
        request.extend(path.bytes().map(|b| if b <= b' ' { b'_' } else { b }));
        request.extend_from_slice(b" HTTP/1.1\r\n");
        crate::write::header_bytes(&mut request, "Host", host.as_bytes());
        request.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ");
        request.extend_from_slice(&key);
        request.extend_from_slice(b"\r\nSec-WebSocket-Protocol: sip\r\nSec-WebSocket-Version: 13\r\n\r\n");
        (ClientHandshake { head: Head::default(), key }, request)
    }

    /// `true` once the server has agreed.
    pub fn push(&mut self, bytes: &[u8]) -> Result<bool, HandshakeError> {
        let Some(head) = self.head.push(bytes)? else { return Ok(false) };
        let fields = Fields::read(&head)?;
        if !fields.first.starts_with(b"HTTP/1.1 101 ") && fields.first != b"HTTP/1.1 101" {
            return Err(HandshakeError::Status);
        }
        if !fields.lists("Upgrade", "websocket") || !fields.lists("Connection", "upgrade") {
            return Err(HandshakeError::NoUpgrade);
        }
        if fields.one("Sec-WebSocket-Accept") != Some(&accept(&self.key)[..]) {
            return Err(HandshakeError::Accept);
        }
        match fields.one("Sec-WebSocket-Protocol") {
            Some(protocol) if protocol.eq_ignore_ascii_case(PROTOCOL.as_bytes()) => Ok(true),
            Some(_) | None => Err(HandshakeError::Protocol),
        }
    }

    /// What came behind the response: the first bytes of frames.
    pub fn into_rest(self) -> Bytes {
        self.head.buffer.freeze()
    }
}

fn request_target(line: &[u8]) -> Result<String, HandshakeError> {
    let mut words = line.split(|&b| b == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(HandshakeError::Malformed);
    };
    if version != b"HTTP/1.1" || !lex::all(method, lex::TOKEN) || target.iter().any(|b| !b.is_ascii_graphic()) {
        return Err(HandshakeError::Malformed);
    }
    if method != b"GET" {
        return Err(HandshakeError::Method);
    }
    Ok(lex::text(target).into_owned())
}

/// 16 bytes in Base64 are 22 characters and two pads.
fn is_key(key: &[u8]) -> bool {
    let character = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    key.len() == 24 && key.ends_with(b"==") && key[..22].iter().all(character)
}

/// RFC 6455 §4.2.2 item 5.4.
fn accept(key: &[u8]) -> [u8; 28] {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let mut out = [0; 28];
    base64(&hash.finalize(), &mut out);
    out
}

/// RFC 4648 §4. `out` has the length that fits.
fn base64(bytes: &[u8], out: &mut [u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (three, four) in bytes.chunks(3).zip(out.chunks_mut(4)) {
        let group = three.iter().enumerate().fold(0u32, |group, (i, &b)| group | u32::from(b) << (16 - 8 * i));
        for (i, character) in four.iter_mut().enumerate() {
            let index = group >> (18 - 6 * i) & 63;
            *character = if i <= three.len() { ALPHABET[index as usize] } else { b'=' };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "GET /ws?a=b HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: WebSocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Origin: https://example.com\r\nSec-WebSocket-Protocol: chat, sip\r\nSec-WebSocket-Version: 13\r\n\r\n";

    fn refused(request: &str) -> HandshakeError {
        ServerHandshake::new().push(request.as_bytes()).expect_err("a refusal")
    }

    #[test]
    fn the_key_of_rfc_6455_1_3_is_answered_with_its_proof_and_the_subprotocol_of_rfc_7118_4_2() {
        let mut server = ServerHandshake::new();
        let response = server.push(REQUEST.as_bytes()).expect("a handshake").expect("a whole one");
        let response = String::from_utf8(response).expect("text");
        assert!(response.starts_with("HTTP/1.1 101 "));
        assert!(response.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(response.contains("\r\nSec-WebSocket-Protocol: sip\r\n"));
        assert_eq!((server.uri(), server.origin()), ("/ws?a=b", Some("https://example.com")));
    }

    #[test]
    fn a_request_in_any_pieces_is_understood_and_what_follows_is_kept() {
        let mut bytes = REQUEST.as_bytes().to_vec();
        bytes.extend_from_slice(b"\x81\x80");
        for split in 0..bytes.len() {
            let mut server = ServerHandshake::new();
            let first = server.push(&bytes[..split]).expect("no refusal");
            let second = if first.is_some() {
                server.head.push(&bytes[split..]).ok();
                first
            } else {
                server.push(&bytes[split..]).expect("no refusal")
            };
            assert!(second.is_some(), "{split}");
            assert_eq!(&server.into_rest()[..], b"\x81\x80", "{split}");
        }
    }

    #[test]
    fn what_a_handshake_lacks_is_named_rfc_6455_4_2_1() {
        let cases = [
            ("GET", "POST", HandshakeError::Method),
            ("HTTP/1.1\r\nH", "HTTP/1.0\r\nH", HandshakeError::Malformed),
            ("Host:", "Ghost:", HandshakeError::Malformed),
            ("WebSocket\r\n", "h2c\r\n", HandshakeError::NoUpgrade),
            ("keep-alive, Upgrade", "keep-alive", HandshakeError::NoUpgrade),
            ("Version: 13", "Version: 8", HandshakeError::Version),
            ("nonce", "nonce", HandshakeError::Key),
            ("chat, sip", "chat", HandshakeError::Protocol),
            ("Origin: ", "Origin ", HandshakeError::Malformed),
        ];
        for (from, to, expected) in cases {
            let request = match expected {
                HandshakeError::Key => REQUEST.replace("ZQ==", "Z==="),
                _ => REQUEST.replace(from, to),
            };
            assert_ne!(request, REQUEST, "{expected}");
            assert_eq!(refused(&request), expected, "{expected}");
            assert!(expected.response().ends_with(b"\r\n\r\n"));
        }
        assert_eq!(refused(&"x".repeat(MAX_HEAD)), HandshakeError::TooLong);
    }

    #[test]
    fn client_and_server_agree_rfc_6455_4() {
        let (mut client, request) = ClientHandshake::new("pbx.example.com\r\nX: y", "/a b", *b"the sample nonce");
        assert!(request.starts_with(b"GET /a_b HTTP/1.1\r\nHost: pbx.example.com  X: y\r\n"));
        let response = ServerHandshake::new().push(&request).expect("a handshake").expect("a whole one");
        let (half, rest) = response.split_at(60);
        assert_eq!(client.push(half), Ok(false));
        assert_eq!(client.push(rest), Ok(true));

        let (mut other, _) = ClientHandshake::new("h", "/", [7; 16]);
        assert_eq!(other.push(&response), Err(HandshakeError::Accept));
        let (mut other, _) = ClientHandshake::new("h", "/", [7; 16]);
        assert_eq!(other.push(b"HTTP/1.1 403 Forbidden\r\n\r\n"), Err(HandshakeError::Status));
    }
}
