//! What goes out is written anew: our SSRC, our numbers, the voice and nothing else.

use std::time::Duration;

use ringfort_media::types::*;

use crate::harness::*;

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:5000";

/// A call whose two phones were both heard.
fn call() -> (Net, Phone, Phone) {
    let mut net = Net::new();
    net.call(config(A), config(B));
    let (mut a, mut b) = (Phone::new(A, 0xaaaa_0001), Phone::new(B, 0xbbbb_0002));
    assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::NoPartner), "B is an unproven guest");
    net.talk(PORT_B, &mut b).unwrap();
    net.talk(PORT, &mut a).unwrap();
    (net, a, b)
}

#[test]
fn voice_goes_from_phone_to_phone_under_our_own_ssrc_both_ways() {
    let (mut net, mut a, mut b) = call();
    let to_b = net.talk(PORT, &mut a).unwrap();
    assert_eq!((to_b.port, to_b.is_rtcp, to_b.dest), (PORT_B, false, addr(B)));
    assert_eq!(to_b.payload(), [1u8; 160]);
    assert_ne!(to_b.header().ssrc, a.rtp.ssrc);
    let to_a = net.talk(PORT_B, &mut b).unwrap();
    assert_eq!((to_a.port, to_a.dest, to_a.payload()), (PORT, addr(A), &[2u8; 160][..]));
    assert!(to_a.header().ssrc != b.rtp.ssrc && to_a.header().ssrc != to_b.header().ssrc);
}

#[test]
fn sequence_numbers_and_timestamps_are_ours_and_gaps_stay_gaps() {
    let (mut net, mut a, _) = call();
    let first = net.talk(PORT, &mut a).unwrap().header();
    assert!(first.sequence != a.rtp.sequence && first.timestamp != a.rtp.timestamp);
    for lost in [0u16, 1, 5, 70] {
        let before = net.talk(PORT, &mut a).unwrap().header();
        for _ in 0..lost {
            a.next();
        }
        let after = net.talk(PORT, &mut a).unwrap().header();
        assert_eq!(after.sequence.wrapping_sub(before.sequence), lost + 1);
        assert_eq!(after.timestamp.wrapping_sub(before.timestamp), 160 * (u32::from(lost) + 1));
    }
}

#[test]
fn packets_out_of_order_keep_their_places() {
    let (mut net, mut a, _) = call();
    let base = net.talk(PORT, &mut a).unwrap().header().sequence;
    let (one, two, three) = (a.next(), a.next(), a.next());
    let mut numbers = Vec::new();
    for packet in [three, one, two] {
        numbers.push(net.send(PORT, false, a.source, &packet.bytes()).unwrap().header().sequence.wrapping_sub(base));
    }
    assert_eq!(numbers, [3, 1, 2]);
}

#[test]
fn csrc_list_extension_and_padding_do_not_pass() {
    let (mut net, mut a, _) = call();
    let plain = a.next().bytes();
    let mut packet = vec![0xb2];
    packet.extend_from_slice(&plain[1..12]);
    packet.extend_from_slice(b"csrc1234"); // two CSRCs
    packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]); // an audio level (RFC 6464)
    packet.extend_from_slice(&plain[12..]);
    packet.extend_from_slice(&[9, 9, 9, 4]);
    let out = net.send(PORT, false, a.source, &packet).unwrap();
    assert_eq!(out.bytes.len(), 172);
    assert_eq!((out.bytes[0], out.payload()), (0x80, &[1u8; 160][..]));
}

#[test]
fn extension_and_padding_pass_where_a_side_says_so_and_the_csrc_list_never() {
    for of_a in [true, false] {
        let mut net = Net::new();
        let passing = |pass_extensions, remote| StreamConfig { pass_extensions, ..config(remote) };
        net.call(passing(of_a, A), StreamConfig { send_unproven: true, ..passing(!of_a, B) });
        let mut a = Phone::new(A, 0xaaaa_0001);
        net.talk(PORT, &mut a).unwrap();
        let plain = a.next().bytes();
        let mut packet = vec![0xb2];
        packet.extend_from_slice(&plain[1..12]);
        packet.extend_from_slice(b"csrc1234");
        let extension = [0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0];
        packet.extend_from_slice(&extension);
        packet.extend_from_slice(&plain[12..]);
        packet.extend_from_slice(&[9, 9, 9, 4]);
        let out = net.send(PORT, false, a.source, &packet).unwrap();
        assert_eq!(out.bytes[0], 0xb0, "padding and extension, no CSRC");
        assert_eq!(out.bytes[12..20], extension);
        assert_eq!(out.bytes[20..180], [1u8; 160]);
        assert_eq!(out.bytes[180..], [9, 9, 9, 4]);
        let plain = net.talk(PORT, &mut a).unwrap();
        assert_eq!((plain.bytes[0], plain.bytes.len()), (0x80, 172));
    }
}

#[test]
fn another_source_of_the_peer_goes_on_in_our_numbers_with_a_marker() {
    let (mut net, mut a, _) = call();
    let before = net.talk(PORT, &mut a).unwrap().header();
    let mut moved = Phone::new(A, 0xcccc_0003);
    assert_eq!(net.talk(PORT, &mut moved), dropped(DropReason::Ssrc), "probation, RFC 3550 A.1");
    let after = net.talk(PORT, &mut moved).unwrap().header();
    assert_eq!(after.ssrc, before.ssrc);
    assert_eq!(after.sequence, before.sequence.wrapping_add(1));
    assert_eq!(after.timestamp, before.timestamp.wrapping_add(320), "40 ms went by");
    assert!(after.marker && !before.marker);
    let third = net.talk(PORT, &mut moved).unwrap().header();
    assert_eq!((third.sequence, third.marker), (after.sequence.wrapping_add(1), false));
}

#[test]
fn another_partner_goes_on_in_our_numbers_without_a_jump_back() {
    let (mut net, mut a, mut b) = call();
    let before = net.talk(PORT, &mut a).unwrap().header();
    let mut c = Phone::new("192.0.2.3:6000", 0x0c0c_0003);
    net.stream(3, PortId(10_004), config("192.0.2.3:6000"));
    net.connect(3, 2);
    assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::NoPartner), "A was disconnected by that");
    net.ms(980);
    let after = net.talk(PortId(10_004), &mut c).unwrap();
    assert_eq!((after.dest, after.header().ssrc), (addr(B), before.ssrc));
    assert_eq!(after.header().sequence, before.sequence.wrapping_add(1));
    assert_eq!(after.header().timestamp, before.timestamp.wrapping_add(8160), "1.02 s");
    assert_eq!(net.talk(PORT_B, &mut b).unwrap().dest, addr("192.0.2.3:6000"));
    // A late packet of the new source from before its first one would take a number that was A's.
    let mut late = c.rtp;
    late.sequence = late.sequence.wrapping_sub(1);
    assert_eq!(net.send(PortId(10_004), false, c.source, &late.bytes()), dropped(DropReason::Sequence));
}

#[test]
fn numbers_wrap_without_a_jump() {
    let (mut net, mut a, _) = call();
    let mut last = net.talk(PORT, &mut a).unwrap().header();
    for _ in 0..70_000 {
        let next = net.talk(PORT, &mut a).unwrap().header();
        assert_eq!(next.sequence, last.sequence.wrapping_add(1));
        assert_eq!(next.timestamp, last.timestamp.wrapping_add(160));
        last = next;
    }
    assert_eq!(net.report(1).received.lost, 0);
}

#[test]
fn direction_is_respected_on_both_sides() {
    let (mut net, mut a, mut b) = call();
    net.configure(1, StreamConfig { sends: false, ..config(A) }, false);
    assert_eq!(net.talk(PORT_B, &mut b), dropped(DropReason::Direction));
    assert!(net.talk(PORT, &mut a).is_ok());
    net.configure(1, StreamConfig { receives: false, ..config(A) }, false);
    assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::Direction));
    assert!(net.talk(PORT_B, &mut b).is_ok());
    net.command(Command::Disconnect { id: StreamId(2) });
    net.configure(1, config(A), false);
    assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::NoPartner));
    assert_eq!(net.talk(PORT_B, &mut b), dropped(DropReason::NoPartner));
}

#[test]
fn nothing_goes_to_the_sdp_address_of_an_unproven_guest_and_a_trusted_peer_gets_it_at_once() {
    let mut net = Net::new();
    net.call(config(A), StreamConfig { send_unproven: true, ..config(B) });
    let (mut a, mut b) = (Phone::new(A, 1), Phone::new(B, 2));
    assert_eq!(net.talk(PORT, &mut a).unwrap().dest, addr(B));
    let moved = Phone::new("192.0.2.2:5999", 2);
    b.source = moved.source;
    net.talk(PORT_B, &mut b).unwrap_err();
    net.talk(PORT_B, &mut b).unwrap();
    assert_eq!(net.talk(PORT, &mut a).unwrap().dest, moved.source, "and then where it really is");
}

#[test]
fn figures_of_a_call_are_in_its_report() {
    let (mut net, mut a, _) = call();
    let start = net.report(1).first_packet.unwrap();
    for i in 0..500 {
        if i % 50 == 7 {
            a.next();
            net.ms(20);
        }
        net.talk(PORT, &mut a).unwrap();
    }
    net.send(PORT, false, a.source, &Rtp { payload_type: 3, ..a.next() }.bytes()).unwrap_err();
    net.command(Command::Report { id: StreamId(1) });
    let events = net.events();
    let Some(Event::Report { id: StreamId(1), report: live }) = events.last() else { panic!("{events:?}") };
    let live = (**live).clone();
    let report = net.close(1);
    assert_eq!(report, live);
    assert_eq!((report.received.packets, report.received.lost), (502, 10));
    assert_eq!(report.received.bytes, 502 * 160);
    assert_eq!(report.received.jitter, Duration::ZERO);
    assert_eq!(report.remote, Some(addr(A)));
    assert_eq!(report.last_packet.unwrap() - start, Duration::from_millis(20 * (1 + 1 + 500 + 10)));
    let mos = report.received.mos.unwrap();
    assert!((4.0..4.4).contains(&mos), "2 % loss of G.711: {mos}");
    assert_eq!(report.drops[DropReason::PayloadType as usize], 1);
    assert_eq!(net.report(2).sent.packets, 501);
}
