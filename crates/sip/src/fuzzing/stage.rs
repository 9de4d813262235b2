//! The stage on which endpoints are tried: two sides with an address and two listeners each, and messages written out.
//! The tests of the endpoint stand on it too.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::endpoint::{EndpointConfig, ListenerInfo, OutRequest};
use crate::flow::{ConnId, Flow, ListenerId, Target, Transport};
use crate::{Body, HeaderName, HostPort, Limits, Message, Method};

pub const UDP: ListenerId = ListenerId(0);
pub const TCP: ListenerId = ListenerId(1);

pub const METHODS: [&str; 12] = [
    "INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "INFO", "UPDATE", "PRACK", "MESSAGE", "REFER", "WHATEVER",
];
pub const STATUSES: [u16; 16] = [100, 180, 183, 199, 200, 202, 299, 302, 401, 407, 408, 422, 481, 491, 503, 600];

/// Some instant to count from; only differences matter.
#[allow(clippy::disallowed_methods, reason = "a try-out needs some instant to start from")]
pub fn start() -> Instant {
    Instant::now()
}

pub fn addr(side: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, side as u8 + 1], 5060))
}

pub fn config(side: usize) -> EndpointConfig {
    let listener = |id, transport| ListenerInfo {
        id,
        transport,
        local: addr(side),
        advertised: HostPort::new(addr(side).ip().to_string(), Some(5060)),
        inside: None,
    };
    EndpointConfig {
        listeners: vec![listener(UDP, Transport::Udp), listener(TCP, Transport::Tcp)],
        user_agent: Some("Test".into()),
        ..EndpointConfig::default()
    }
}

/// The flow by which side `to` sees what side `from` sends.
pub fn flow(from: usize, to: usize, transport: Transport) -> Flow {
    let stream = transport.is_reliable();
    Flow {
        transport,
        listener: if stream { TCP } else { UDP },
        conn: stream.then_some(ConnId(1)),
        local: addr(to),
        remote: addr(from),
    }
}

/// # Panics
/// Where an endpoint has written what nobody can read.
pub fn parse(bytes: impl Into<Bytes>) -> Message {
    let bytes = bytes.into();
    Message::parse_datagram(bytes.clone(), &Limits::default())
        .unwrap_or_else(|error| panic!("{error:?} in\n{}", String::from_utf8_lossy(&bytes)))
}

pub fn sdp() -> Body {
    Body::sdp(&b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"[..])
}

/// A request of side `from` to the other side.
pub fn request(from: usize, method: Method<'static>, transport: Transport) -> OutRequest {
    let to = 1 - from;
    let listener = if transport.is_reliable() { TCP } else { UDP };
    let target = Target::Connect { transport, listener, remote: addr(to), server_name: None };
    let mut r = OutRequest::new(method, format!("sip:bob@{}", addr(to)), target);
    r.from = "\"Anna\" <sip:anna@example.org>".into();
    r.to = "<sip:bob@example.org>".into();
    if method == Method::Invite {
        r.body = Some(sdp());
    }
    r
}

/// A request by hand; `more` are header lines each with "\r\n".
pub fn text(method: &str, branch: &str, cseq: u32, to_tag: &str, more: &str) -> String {
    let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    let cseq_method = method;
    format!(
        "{method} sip:bob@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch={branch};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:anna@example.org>;tag=a1\r\nTo: <sip:bob@example.org>{tag}\r\n\
         Call-ID: call-1\r\nCSeq: {cseq} {cseq_method}\r\nContact: <sip:anna@192.0.2.1>\r\n{more}\
         Content-Length: 0\r\n\r\n"
    )
}

/// An answer by hand to a request that an endpoint has sent.
pub fn answer_to(request: &Message, status: u16, to_tag: &str, more: &str) -> String {
    use HeaderName::{CSeq, CallId, From, To, Via};
    let line = |name: HeaderName| {
        format!("{}: {}\r\n", name.as_str(), String::from_utf8_lossy(request.header(name).unwrap_or_default()))
    };
    let to = line(To).trim_end().to_owned();
    let to = if to.contains(";tag=") || to_tag.is_empty() { to } else { format!("{to};tag={to_tag}") };
    let contact = if more.contains("Contact:") { "" } else { "Contact: <sip:bob@192.0.2.1>\r\n" };
    format!(
        "SIP/2.0 {status} X\r\n{}{}{to}\r\n{}{}{contact}{more}Content-Length: 0\r\n\r\n",
        line(Via),
        line(From),
        line(CallId),
        line(CSeq)
    )
}
