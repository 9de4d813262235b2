//! MESSAGE between extensions (RFC 3428): limits and ways that it has in common with calls.

mod common;

use common::*;
use ringfort_sip::endpoint::ListenerInfo;
use ringfort_sip::flow::{ListenerId, Transport};
use ringfort_sip::header::HeaderName;
use ringfort_sip::uri::HostPort;
use ringfort_switch::config::Listener;
use ringfort_switch::model::ProfileId;

const A: &str = "198.51.100.10:5060";
const B: &str = "198.51.100.20:5060";
const B2: &str = "198.51.100.21:5060";

/// user-a writes to 102.
fn write(w: &mut World, n: u32, more: &str, text: &str) {
    write_as(w, n, more, "text/plain", text);
}

fn write_as(w: &mut World, n: u32, more: &str, kind: &str, text: &str) {
    let uri = format!("sip:102@{DOMAIN}");
    let request = |cseq: u32, auth: &str| {
        format!(
            "MESSAGE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bKm{n}x{cseq};rport\r\nFrom: <sip:user-a@{DOMAIN}>;tag=m\r\n\
             To: <{uri}>\r\nCall-ID: m{n}\r\nCSeq: {cseq} MESSAGE\r\nMax-Forwards: 70\r\n{auth}{more}Content-Type: {kind}\r\n\r\n{text}"
        )
    };
    w.send(A, &request(1, ""));
    let challenge = w.take(A);
    let auth = w.answer_to(&challenge, "user-a", "MESSAGE", &uri);
    w.send(A, &request(2, &auth));
}

#[test]
fn a_body_that_is_a_message_itself_does_not_cross_and_of_a_types_parameters_the_character_set_does_call_1() {
    let mut w = World::new();
    w.register("user-b", B);
    let inner = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 198.51.100.10:5060\r\n";
    for (n, kind) in ["message/sipfrag", "Message/CPIM", "multipart/mixed;boundary=x"].into_iter().enumerate() {
        write_as(&mut w, n as u32 + 1, "", kind, inner);
        let refused = w.take(A);
        assert_eq!(refused.status(), 415, "{kind}");
        assert!(refused.header_str(HeaderName::Accept).unwrap().contains("text/"));
        assert!(w.nothing_for(B));
    }
    write_as(&mut w, 9, "", "text/plain; charset=UTF-8; x=198.51.100.10", "hello");
    assert_eq!(w.take(B).content_type(), Some("text/plain;charset=UTF-8"));
}

#[test]
fn the_breadth_of_a_message_is_shared_and_too_little_is_refused_rfc_7332_section_6() {
    let mut w = World::new();
    w.register("user-b", B);
    w.register("user-b", B2);
    write(&mut w, 1, "Max-Breadth: 10\r\n", "hello");
    for phone in [B, B2] {
        assert_eq!(w.take(phone).header_str(HeaderName::MaxBreadth).as_deref(), Some("5"));
    }
    write(&mut w, 2, "Max-Breadth: 1\r\n", "hello");
    assert_eq!(w.take_final(A).status(), 440);
    write(&mut w, 3, "Max-Breadth: 4000000\r\n", "hello");
    assert_eq!(w.take(B).header_str(HeaderName::MaxBreadth).as_deref(), Some("30"), "no more than we would say");
}

#[test]
fn a_message_too_long_for_udp_goes_by_tcp_where_there_is_a_way_rfc_3261_section_18_1_1() {
    let mut cfg = config();
    let local = at("192.0.2.1:5060");
    cfg.listeners.push(Listener {
        profile: ProfileId(0),
        sip: ListenerInfo {
            id: ListenerId(3),
            transport: Transport::Tcp,
            local,
            advertised: HostPort::new("192.0.2.1", Some(5060)),
            inside: None,
        },
    });
    let mut w = World::with(cfg, site());
    w.register("user-b", B);
    for (n, length, transport) in [(1, 100, "SIP/2.0/UDP"), (2, 2000, "SIP/2.0/TCP")] {
        write(&mut w, n, "", &"x".repeat(length));
        let message = w.take(B);
        let via = message.header_str(HeaderName::Via).expect("a Via").into_owned();
        assert!(via.starts_with(transport), "{length} octets: {via}");
        assert_eq!(message.body().len(), length);
    }
}
