//! Silence, its end, and that nothing is left behind.

use std::time::Duration;

use ringfort_media::relay::RelayConfig;
use ringfort_media::types::*;

use crate::harness::*;

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:5000";

fn net() -> Net {
    let silence = Some(Duration::from_secs(30));
    let mut net = Net::with(RelayConfig { silence, ..RelayConfig::default() });
    net.call(config(A), StreamConfig { receives: false, send_unproven: true, ..config(B) });
    net
}

fn silent(net: &mut Net) -> Vec<Event> {
    let events = net.events().into_iter();
    events.filter(|event| matches!(event, Event::Silent { .. } | Event::Resumed { .. })).collect()
}

#[test]
fn silence_is_told_once_and_so_is_its_end() {
    let mut net = net();
    let mut a = Phone::new(A, 1);
    for _ in 0..500 {
        net.talk(PORT, &mut a).unwrap();
        net.run(Duration::ZERO);
    }
    net.run(Duration::from_secs(29));
    assert!(silent(&mut net).is_empty());
    net.run(Duration::from_secs(3));
    let events = silent(&mut net);
    let [Event::Silent { id: StreamId(1), for_ }] = events[..] else { panic!("{events:?}") };
    assert!((30..=32).contains(&for_.as_secs()), "{for_:?}");
    net.run(Duration::from_secs(120));
    assert!(silent(&mut net).is_empty(), "once");
    net.talk(PORT, &mut a).unwrap();
    assert_eq!(silent(&mut net), [Event::Resumed { id: StreamId(1) }]);
    net.run(Duration::from_secs(32));
    assert_eq!(silent(&mut net).len(), 1, "and again");
}

#[test]
fn a_phone_that_never_sends_is_silent_since_it_should() {
    let mut net = net();
    net.configure(1, StreamConfig { receives: false, ..config(A) }, false);
    net.run(Duration::from_secs(100));
    assert!(silent(&mut net).is_empty(), "on hold nothing is expected");
    net.configure(1, config(A), false);
    net.run(Duration::from_secs(29));
    assert!(silent(&mut net).is_empty());
    net.run(Duration::from_secs(3));
    assert_eq!(silent(&mut net).len(), 1);
}

#[test]
fn rtcp_is_a_sign_of_life() {
    let mut net = net();
    let mut a = Phone::new(A, 1);
    net.talk(PORT, &mut a).unwrap();
    for _ in 0..20 {
        net.run(Duration::from_secs(5));
        net.send(PORT, true, addr("192.0.2.1:4001"), &[0x80, 201, 0, 1, 0, 0, 0, 1]).unwrap();
    }
    assert!(silent(&mut net).is_empty());
}

#[test]
fn a_jump_in_time_is_survived() {
    let mut net = net();
    net.talk(PORT, &mut Phone::new(A, 1)).unwrap();
    net.pass(Duration::from_secs(7 * 24 * 3600));
    net.relay.handle_timeout(net.now);
    let events = silent(&mut net);
    let [Event::Silent { for_, .. }] = events[..] else { panic!("{events:?}") };
    assert_eq!(for_.as_secs(), 7 * 24 * 3600);
}

#[test]
fn nothing_is_to_be_timed_without_streams() {
    let mut net = net();
    assert!(net.relay.poll_timeout().is_some());
    net.talk(PORT, &mut Phone::new(A, 1)).unwrap();
    net.close(1);
    net.close(2);
    assert!(net.relay.poll_timeout().is_some(), "the closed stream is remembered for a while");
    net.run(Duration::from_secs(62));
    assert_eq!(net.relay.poll_timeout(), None);
}

#[test]
fn a_stream_may_be_opened_again_under_the_same_port_any_number_of_times() {
    let mut net = Net::new();
    for id in 0..20_000u64 {
        net.stream(2 * id, PORT, config(A));
        net.stream(2 * id + 1, PORT_B, config(B));
        net.connect(2 * id, 2 * id + 1);
        let mut a = Phone::new(A, id as u32);
        net.talk(PORT, &mut a).unwrap_err();
        net.talk(PORT_B, &mut Phone::new(B, id as u32)).unwrap();
        net.talk(PORT, &mut a).unwrap();
        net.close(2 * id);
        net.close(2 * id + 1);
        net.run(Duration::ZERO);
    }
    assert_eq!(net.relay.len(), 0);
}
