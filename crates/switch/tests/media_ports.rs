//! A media port that cannot be opened: the call ends in words instead of being silent.

mod common;

use common::*;
use ringfort_media::types as media;
use ringfort_sip::header::HeaderName;
use ringfort_switch::io::{Level, Notice};
use ringfort_switch::record::EndCause;

const A: &str = "198.51.100.10:5060";
const B: &str = "198.51.100.20:5060";

/// The streams that were opened and not closed, with their ports.
fn open(w: &World) -> Vec<(media::StreamId, media::PortId)> {
    let opened = w.media.iter().filter_map(|command| match command {
        media::Command::Open { id, port } if !w.closed.contains(id) => Some((*id, *port)),
        _ => None,
    });
    opened.collect()
}

fn warnings(w: &World) -> Vec<&Notice> {
    w.notices.iter().filter(|n| n.level == Level::Warn && n.rule == "media.port").collect()
}

fn reason(message: &ringfort_sip::message::Message) -> String {
    message.header_str(HeaderName::Reason).unwrap_or_default().into_owned()
}

#[test]
fn an_answered_call_whose_port_cannot_be_opened_ends_with_a_bye_that_says_so_rfc3326() {
    let mut w = World::new();
    let _call = w.call(A, B);
    let (id, port) = open(&w)[0];
    w.media_event(media::Event::PortFailed { id, port });
    for phone in [A, B] {
        let bye = w.take(phone);
        assert!(first_line(&bye).starts_with("BYE "), "{}", first_line(&bye));
        assert!(reason(&bye).starts_with("Q.850;cause=47"), "{}", reason(&bye));
        w.send(phone, &reply(&bye, 200, "x", "", ""));
    }
    assert_eq!((w.cdrs()[0].cause, w.cdrs()[0].status), (Some(EndCause::Internal), 200));
    let [warning] = warnings(&w)[..] else { panic!("one warning, got {:?}", w.notices) };
    assert!(warning.text.contains(&port.to_string()) && warning.call.is_some(), "{}", warning.text);
    w.assert_empty();
}

#[test]
fn a_ringing_call_whose_port_cannot_be_opened_is_answered_503_and_the_next_one_gets_another_port() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    w.invite("user-a", A, "102", &sdp("198.51.100.10", 4000, "0 8 101"), "");
    let invite = w.take(B);
    w.send(B, &reply(&invite, 180, "b", "", ""));
    let failed = open(&w);
    for (id, port) in &failed {
        w.media_event(media::Event::PortFailed { id: *id, port: *port });
    }
    let answer = w.take_final(A);
    assert_eq!(answer.status(), 503);
    assert!(reason(&answer).starts_with("Q.850;cause=47"), "{}", reason(&answer));
    assert!(first_line(&w.take(B)).starts_with("CANCEL "));
    assert_eq!((w.cdrs()[0].cause, w.cdrs()[0].status), (Some(EndCause::Internal), 503));
    w.report_closed();
    w.sent.clear();
    w.invite("user-a", A, "102", &sdp("198.51.100.10", 4000, "0 8 101"), "");
    let ports: Vec<_> = open(&w).into_iter().map(|(_, port)| port).skip(failed.len()).collect();
    assert!(!ports.is_empty() && ports.iter().all(|port| failed.iter().all(|(_, bad)| bad != port)), "{ports:?}");
}

#[test]
fn a_port_that_fails_after_its_call_ended_is_noted_and_nothing_else_happens() {
    let mut w = World::new();
    w.media_event(media::Event::PortFailed { id: media::StreamId(77), port: media::PortId(20_000) });
    assert_eq!(warnings(&w).len(), 1);
    w.assert_empty();
}
