//! Where a peer is: learned once, from proof (CALL-5, RFC 4961).

use ringfort_media::types::*;

use crate::harness::*;

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:5000";

fn call() -> Net {
    let mut net = Net::new();
    net.call(config(A), StreamConfig { send_unproven: true, ..config(B) });
    net
}

fn learned(net: &mut Net) -> Vec<(u64, String)> {
    let events = net.events().into_iter();
    events
        .filter_map(|event| match event {
            Event::Learned { id, remote } => Some((id.0, remote.to_string())),
            Event::Closed { .. }
            | Event::Silent { .. }
            | Event::Resumed { .. }
            | Event::Played { .. }
            | Event::Recorded { .. }
            | Event::Report { .. }
            | Event::PortBusy { .. }
            | Event::PortFailed { .. } => None,
        })
        .collect()
}

#[test]
fn the_address_of_the_sdp_is_learned_with_the_first_packet() {
    let mut net = call();
    net.talk(PORT, &mut Phone::new(A, 1)).unwrap();
    assert_eq!(learned(&mut net), [(1, A.to_string())]);
}

#[test]
fn another_port_of_the_sdp_host_or_of_the_signalling_host_takes_two_packets() {
    for source in ["192.0.2.1:40123", "198.51.100.9:31000"] {
        let mut net = Net::new();
        let one = StreamConfig { signalling: Some(addr(source).ip()), ..config(A) };
        net.call(one, StreamConfig { send_unproven: true, ..config(B) });
        let mut a = Phone::new(source, 1);
        assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::Learning));
        net.talk(PORT, &mut a).unwrap();
        assert_eq!(learned(&mut net), [(1, source.to_string())]);
    }
}

#[test]
fn any_other_address_takes_five_packets_within_the_window() {
    let mut net = call();
    let mut a = Phone::new("203.0.113.5:7000", 1);
    for _ in 0..4 {
        assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::Learning));
    }
    net.talk(PORT, &mut a).unwrap();
    assert_eq!(learned(&mut net), [(1, "203.0.113.5:7000".to_string())]);
}

#[test]
fn any_other_address_is_shut_out_once_the_right_host_was_heard() {
    let mut net = call();
    let (mut stranger, mut a) = (Phone::new("203.0.113.5:7000", 1), Phone::new("192.0.2.1:40123", 2));
    for _ in 0..4 {
        net.talk(PORT, &mut stranger).unwrap_err();
    }
    net.talk(PORT, &mut a).unwrap_err();
    assert_eq!(net.talk(PORT, &mut stranger), dropped(DropReason::Source));
    net.talk(PORT, &mut a).unwrap();
    assert_eq!(net.talk(PORT, &mut stranger), dropped(DropReason::NoStream));
    assert_eq!(learned(&mut net), [(1, "192.0.2.1:40123".to_string())]);
}

#[test]
fn after_the_window_only_the_right_host_is_learned() {
    let mut net = call();
    let mut stranger = Phone::new("203.0.113.5:7000", 1);
    net.talk(PORT, &mut stranger).unwrap_err();
    net.ms(5_100);
    for _ in 0..10 {
        assert_eq!(net.talk(PORT, &mut stranger), dropped(DropReason::Source));
    }
    net.talk(PORT, &mut Phone::new(A, 2)).unwrap();
}

#[test]
fn packets_that_fail_a_check_prove_nothing() {
    let mut net = call();
    let a = Phone::new(A, 1);
    let bad = Rtp { payload_type: 77, ..a.rtp };
    assert_eq!(net.send(PORT, false, a.source, &bad.bytes()), dropped(DropReason::PayloadType));
    assert!(learned(&mut net).is_empty());
}

#[test]
fn what_is_learned_stays_until_offer_and_answer_say_relearn() {
    let mut net = call();
    let mut a = Phone::new(A, 1);
    net.talk(PORT, &mut a).unwrap();
    a.source = addr("192.0.2.1:4999");
    for _ in 0..10 {
        assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::NoStream));
    }
    net.configure(1, config("192.0.2.1:4999"), false);
    assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::NoStream), "a new address alone is no reason");
    net.configure(1, config("192.0.2.1:4999"), true);
    net.talk(PORT, &mut a).unwrap();
    let old = Phone { source: addr(A), ..a };
    assert_eq!(net.send(PORT, false, old.source, &a.next().bytes()), dropped(DropReason::NoStream));
    assert_eq!(learned(&mut net), [(1, A.to_string()), (1, "192.0.2.1:4999".to_string())]);
}

#[test]
fn relearning_the_same_address_changes_nothing() {
    let mut net = call();
    let mut a = Phone::new(A, 1);
    let before = net.talk(PORT, &mut a).unwrap().header();
    net.configure(1, config(A), true);
    let after = net.talk(PORT, &mut a).unwrap().header();
    assert_eq!(after.sequence, before.sequence.wrapping_add(1));
    assert_eq!(learned(&mut net).len(), 1);
}

#[test]
fn a_source_that_goes_on_after_relearning_has_no_break_in_our_numbers() {
    let mut net = call();
    let mut a = Phone::new(A, 1);
    let before = net.talk(PORT, &mut a).unwrap().header();
    net.configure(1, config("192.0.2.7:4000"), true);
    a.source = addr("192.0.2.7:4000");
    let after = net.talk(PORT, &mut a).unwrap().header();
    assert_eq!((after.sequence, after.marker), (before.sequence.wrapping_add(1), false));
}

#[test]
fn a_peer_without_any_address_yet_is_learned_by_its_signalling_host() {
    let mut net = Net::new();
    let held = StreamConfig { remote: None, remote_rtcp: None, ..config(A) };
    net.call(held, StreamConfig { send_unproven: true, ..config(B) });
    let mut a = Phone::new("192.0.2.1:4444", 1);
    net.talk(PORT, &mut a).unwrap_err();
    net.talk(PORT, &mut a).unwrap();
}

#[test]
fn ipv4_in_ipv6_disguise_is_the_same_phone() {
    let mut net = call();
    let mut a = Phone::new("[::ffff:192.0.2.1]:4000", 1);
    net.talk(PORT, &mut a).unwrap();
    a.source = addr(A);
    net.talk(PORT, &mut a).unwrap();
    assert_eq!(learned(&mut net).len(), 1);
}

#[test]
fn ipv6_phones_are_learned_too() {
    let mut net = Net::new();
    net.call(config("[2001:db8::1]:4000"), StreamConfig { send_unproven: true, ..config("[2001:db8::2]:5000") });
    let out = net.talk(PORT, &mut Phone::new("[2001:db8::1]:4000", 1)).unwrap();
    assert_eq!(out.dest, addr("[2001:db8::2]:5000"));
}

#[test]
fn only_one_stream_of_a_port_learns_and_the_next_has_its_turn_then() {
    let mut net = Net::new();
    net.stream(1, PORT, config(A));
    net.stream(2, PORT, config(B));
    net.stream(3, PORT_B, config("192.0.2.3:1000"));
    assert_eq!(net.events(), [Event::PortBusy { id: StreamId(2), port: PORT }]);
    net.connect(2, 3);
    net.configure(3, StreamConfig { send_unproven: true, ..config("192.0.2.3:1000") }, false);
    // Not even its own host: only the address of its SDP.
    let mut b = Phone::new("192.0.2.2:5999", 2);
    for _ in 0..3 {
        assert!(net.talk(PORT, &mut b).is_err());
    }
    assert!(learned(&mut net).is_empty());
    net.talk(PORT, &mut Phone::new(A, 1)).unwrap_err();
    assert_eq!(learned(&mut net), [(1, A.to_string())]);
    net.talk(PORT, &mut b).unwrap_err();
    net.talk(PORT, &mut b).unwrap();
    assert_eq!(learned(&mut net), [(2, "192.0.2.2:5999".to_string())]);
}

#[test]
fn a_waiting_stream_is_learned_from_the_very_address_of_its_sdp() {
    let mut net = Net::new();
    net.stream(1, PORT, config(A));
    net.stream(2, PORT, config(B));
    net.stream(3, PORT_B, StreamConfig { send_unproven: true, ..config("192.0.2.3:1000") });
    net.connect(2, 3);
    net.talk(PORT, &mut Phone::new(B, 2)).unwrap();
    net.events();
    net.close(1);
    assert!(net.talk(PORT, &mut Phone::new("192.0.2.2:6000", 5)).is_err(), "and has no second turn");
}

#[test]
fn a_stream_that_relearns_on_a_busy_port_keeps_its_old_address_meanwhile() {
    let mut net = call();
    let mut a = Phone::new(A, 1);
    net.talk(PORT, &mut a).unwrap();
    net.stream(3, PORT, config("192.0.2.3:1000"));
    net.configure(1, config("10.0.0.1:4999"), true);
    assert!(net.events().contains(&Event::PortBusy { id: StreamId(1), port: PORT }));
    net.talk(PORT, &mut a).unwrap();
    let report = net.report(1);
    assert_eq!(report.remote, Some(addr(A)));
    net.close(3);
    assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::Learning), "now it is its turn");
}

/// A was learned at [`A`]; offer/answer moves it to another port of its host.
fn moved() -> (Net, Phone) {
    let mut net = call();
    let mut a = Phone::new(A, 1);
    net.talk(PORT, &mut a).unwrap();
    net.configure(1, config("192.0.2.1:4999"), true);
    net.events();
    (net, a)
}

#[test]
fn late_packets_from_the_old_address_are_not_learned_after_relearning() {
    // Its SDP's address, and what a NAT makes of it; the disguise is the old address, too.
    for (new, lost) in [("192.0.2.1:4999", 0), ("192.0.2.1:40123", 1), ("203.0.113.5:7000", 4)] {
        for old in [A, "[::ffff:192.0.2.1]:4000"] {
            let (mut net, mut a) = moved();
            a.source = addr(old);
            for _ in 0..20 {
                assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::Learning));
            }
            a.source = addr(new);
            for _ in 0..lost {
                assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::Learning));
            }
            net.talk(PORT, &mut a).unwrap();
            assert_eq!(learned(&mut net), [(1, new.to_string())]);
        }
    }
}

#[test]
fn a_peer_that_stayed_at_its_old_address_is_learned_there_two_seconds_after_relearning() {
    let (mut net, mut a) = moved();
    // 99 packets within the two seconds, and the first of the two that prove another port of the host.
    for _ in 0..100 {
        assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::Learning));
    }
    net.talk(PORT, &mut a).unwrap();
    assert_eq!(learned(&mut net), [(1, A.to_string())]);
}

#[test]
fn the_old_address_is_still_known_after_relearning_twice_and_counts_once_the_sdp_names_it() {
    let (mut net, mut a) = moved();
    net.configure(1, config("192.0.2.1:4888"), true);
    for _ in 0..20 {
        assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::Learning));
    }
    net.configure(1, config(A), true);
    net.talk(PORT, &mut a).unwrap();
    assert_eq!(learned(&mut net), [(1, A.to_string())]);
}
