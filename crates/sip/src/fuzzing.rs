//! What the fuzz targets run, here so that the tests replay their corpus with the same code. Each takes any bytes and
//! asserts what must hold for all of them.

pub mod choices;
mod dialogs;
mod digest;
pub mod stage;
mod transactions;

use bytes::Bytes;

pub use dialogs::dialogs;
pub use digest::digest;
pub use transactions::transactions;

use crate::check::{self, Supported};
use crate::frame::{Frame, StreamFramer};
use crate::message::{Limits, Message};
use crate::reason::Reason;
use crate::uri::{Uri, uri_eq};
use crate::write::{self, Headers, ResponseHead};
use crate::ws::{Role, ServerHandshake, WebSocket};
use crate::{HeaderName, name_addr, stun, via};

/// A datagram: every accessor works on what was accepted, and what we answer can be read again.
pub fn message(data: &[u8]) {
    let limits = Limits::default();
    let raw = Bytes::copy_from_slice(data);
    let source = "192.0.2.7:5061".parse().ok();
    let head = ResponseHead { status: 400, reason: None, to_tag: Some("t"), source };
    let mut out = Vec::new();
    match Message::parse_datagram(raw.clone(), &limits) {
        Err(error) => {
            assert!(matches!(error.status, 400 | 413 | 414 | 505 | 513), "{error}");
            if let Some(reply) = &error.reply {
                reply.write_reply(&mut out, &head, &Headers::new());
                assert!(out.starts_with(b"SIP/2.0 400 Bad Request\r\nVia: "));
                assert!(out.ends_with(b"\r\nContent-Length: 0\r\n\r\n"));
            }
        }
        Ok(message) => {
            assert!(raw.ends_with(message.raw()) || message.raw().len() < raw.len());
            read_all(&message);
            let again = Message::parse_datagram(message.raw().clone(), &limits).expect("what was accepted once");
            assert_eq!(again.all_headers().count(), message.all_headers().count());
            if message.is_request() {
                write::write_response(&mut out, &message, &head, &Headers::new(), None);
                let response = Message::parse_datagram(Bytes::from(out), &roomy()).expect("our own response");
                assert_eq!(response.status(), 400);
                assert_eq!(response.cseq(), message.cseq());
                assert_eq!(response.call_id(), message.call_id());
                assert_eq!(response.from_tag(), message.from_tag());
                assert_eq!(response.to_tag(), message.to_tag().or(Some("t")));
                assert_eq!(response.top_via().branch(), message.top_via().branch());
                assert_eq!(response.vias().count(), message.vias().count());
            }
        }
    }
    let mut answer = Vec::new();
    if let Some(source) = source {
        stun::answer(data, source, &mut answer);
    }
}

/// What we write may be somewhat longer than what came.
fn roomy() -> Limits {
    let limits = Limits::default();
    Limits { message: limits.message * 2, header_line: limits.header_line * 2, ..limits }
}

fn read_all(message: &Message) {
    let _ = (message.from(), message.to(), message.top_via().transaction_branch(), message.reason_phrase());
    let _ = (message.from().uri(), message.to().uri(), message.parsed_request_uri());
    for (name, text, value) in message.all_headers() {
        assert!(!text.is_empty());
        assert!(message.header_named(text).is_some());
        let _ = message.header_str(name);
        let _ = message.number(name);
        let _ = message.option_tags(name).count();
        assert_eq!(message.name_addrs(name).count(), message.values(name).count());
        let _ = (via::Via::parse(value), via::CSeq::parse(value), name_addr::NameAddr::parse(value));
        let _ = Reason::parse_all(value).count();
    }
    let _ = (message.vias().count(), message.contacts().count(), message.routes().count(), message.paths().count());
    let _ = (message.max_forwards(), message.expires(), message.content_type(), message.is_wildcard_contact());
    let supported = Supported {
        option_tags: &["timer", "100rel"],
        proxy_option_tags: Some(&[]),
        body_types: &["application/sdp"],
        forwards: true,
        ..Supported::default()
    };
    if message.is_request() {
        if let Err(rejection) = check::inspect_request(message, &supported) {
            assert!(matches!(rejection.status, 400..=699));
        }
    } else {
        let _ = check::inspect_response(message);
    }
    assert_eq!(message.head().len() + message.body().len(), message.raw().len());
    assert!(message.header(HeaderName::CallId).is_some());
}

/// Two URIs with a blank between them, or one: it equals itself, and comparison does not depend on the order.
pub fn uri(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (a, b) = text.split_once(' ').unwrap_or((text, text));
    let (Ok(a), Ok(b)) = (Uri::parse(a), Uri::parse(b)) else { return };
    assert!(uri_eq(&a, &a));
    assert_eq!(uri_eq(&a, &b), uri_eq(&b, &a));
    let _ = (a.user_unescaped(), a.param("lr"), a.host.ip(), a.params().count(), a.headers().count());
    assert_eq!(Uri::parse(a.as_str()), Ok(a));
}

/// A stream: whole, and cut where the first two bytes say, gives the same.
pub fn framing(data: &[u8]) {
    let [a, b, stream @ ..] = data else { return };
    let limits = Limits { message: 4096, ..Limits::default() };
    let run = |pieces: &[&[u8]]| {
        let mut framer = StreamFramer::new(limits.clone());
        let mut frames = Vec::new();
        for piece in pieces {
            framer.push(piece);
            loop {
                match framer.poll() {
                    Ok(Some(frame)) => frames.push(Ok(frame)),
                    Ok(None) => break,
                    Err(error) => frames.push(Err((error.kind, error.status))),
                }
            }
            assert!(framer.is_broken() || framer.held() < limits.message + piece.len());
        }
        frames
    };
    let whole = run(&[stream]);
    let first = usize::from(*a).min(stream.len());
    let second = (first + usize::from(*b)).min(stream.len());
    assert_eq!(run(&[&stream[..first], &stream[first..second], &stream[second..]]), whole);
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(run(&bytes), whole);
    for frame in whole.into_iter().flatten() {
        if let Frame::Message(raw) = frame {
            let _ = Message::parse_framed(raw, &limits);
        }
    }
}

/// A WebSocket connection after its handshake, as either end; and the same bytes as a handshake.
pub fn websocket(data: &[u8]) {
    let [a, stream @ ..] = data else { return };
    for role in [Role::Server, Role::Client] {
        let run = |pieces: &[&[u8]]| {
            let mut socket = WebSocket::new(role, 1000);
            let mut events = Vec::new();
            for piece in pieces {
                socket.push(piece);
                loop {
                    match socket.poll() {
                        Ok(Some(event)) => events.push(Ok(event)),
                        Ok(None) => break,
                        Err(error) => {
                            events.push(Err(error));
                            break;
                        }
                    }
                }
                assert!(socket.held() <= 1000 + 14 + 1000 + piece.len());
            }
            events
        };
        let cut = usize::from(*a).min(stream.len());
        assert_eq!(run(&[&stream[..cut], &stream[cut..]]), run(&[stream]));
    }
    let _ = ServerHandshake::new().push(stream);
}
