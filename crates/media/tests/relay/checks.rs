//! CALL-5: what fails a check is dropped and counted by its reason.

use ringfort_media::relay::{RelayConfig, Verdict};
use ringfort_media::types::*;

use crate::harness::*;

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:5000";

fn call() -> (Net, Phone) {
    let mut net = Net::new();
    net.call(config(A), StreamConfig { send_unproven: true, ..config(B) });
    let mut a = Phone::new(A, 0x1234_5678);
    net.talk(PORT, &mut a).unwrap();
    (net, a)
}

fn assert_counted(net: &Net, reason: DropReason, count: u64) {
    assert_eq!(net.drops(1, reason), count, "{}", reason.as_str());
    assert_eq!(net.relay.stats().drops[reason as usize], count);
}

#[test]
fn rtp_of_another_version_is_counted_as_version() {
    let (mut net, mut a) = call();
    for version in [1, 3] {
        let mut packet = a.next().bytes();
        packet[0] = version << 6;
        assert_eq!(net.send(PORT, false, a.source, &packet), dropped(DropReason::Version));
    }
    assert_counted(&net, DropReason::Version, 2);
}

#[test]
fn what_is_no_rtp_is_counted_as_malformed() {
    let (mut net, a) = call();
    let stun = [0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let extension_too_long = [0x90, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0xff, 0xff];
    for packet in [&[][..], &[0x80], &[0x80; 11], &stun, &extension_too_long] {
        assert_eq!(net.send(PORT, false, a.source, packet), dropped(DropReason::Malformed));
    }
    assert_counted(&net, DropReason::Malformed, 5);
}

#[test]
fn padding_longer_than_the_payload_is_counted_as_malformed() {
    let (mut net, mut a) = call();
    let mut packet = a.next().bytes();
    packet[0] |= 0x20;
    *packet.last_mut().unwrap() = 161;
    assert_eq!(net.send(PORT, false, a.source, &packet), dropped(DropReason::Malformed));
}

#[test]
fn a_payload_type_that_was_not_negotiated_does_not_pass_nor_does_rtcp_among_rtp_rfc_5761_4() {
    let (mut net, mut a) = call();
    for payload_type in (0..128).filter(|pt| ![0, 8, 101].contains(pt)) {
        let packet = Rtp { payload_type, ..a.next() };
        assert_eq!(net.send(PORT, false, a.source, &packet.bytes()), dropped(DropReason::PayloadType));
    }
    assert_eq!(
        net.send(PORT, false, a.source, &[0x80, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0]),
        dropped(DropReason::PayloadType)
    );
    assert_counted(&net, DropReason::PayloadType, 126);
}

#[test]
fn a_duplicate_passes_once() {
    let (mut net, mut a) = call();
    let packet = a.next().bytes();
    net.send(PORT, false, a.source, &packet).unwrap();
    assert_eq!(net.send(PORT, false, a.source, &packet), dropped(DropReason::Replay));
    assert_counted(&net, DropReason::Replay, 1);
}

#[test]
fn a_jump_of_the_sequence_needs_a_second_packet_rfc_3550_a_1() {
    let (mut net, mut a) = call();
    let before = net.talk(PORT, &mut a).unwrap().header();
    a.rtp.sequence = a.rtp.sequence.wrapping_add(5_000);
    assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::Sequence));
    let after = net.talk(PORT, &mut a).unwrap().header();
    assert_eq!(after.sequence, before.sequence.wrapping_add(1), "no jump of ours");
    let stray = Rtp { sequence: a.rtp.sequence.wrapping_sub(20_000), ..a.rtp };
    assert_eq!(net.send(PORT, false, a.source, &stray.bytes()), dropped(DropReason::Sequence));
    assert!(net.talk(PORT, &mut a).is_ok(), "one stray packet ends nothing");
    assert_counted(&net, DropReason::Sequence, 2);
}

#[test]
fn the_ssrc_may_change_now_and_then_but_not_all_the_time() {
    let (mut net, mut a) = call();
    let mut accepted = 0;
    for round in 0..50 {
        a.rtp.ssrc = 1000 + round;
        net.talk(PORT, &mut a).unwrap_err();
        accepted += u32::from(net.talk(PORT, &mut a).is_ok());
    }
    assert!((4..=5).contains(&accepted), "50 changes in 2 s: {accepted} were taken");
    net.ms(8_000);
    a.rtp.ssrc = 7;
    net.talk(PORT, &mut a).unwrap_err();
    assert!(net.talk(PORT, &mut a).is_ok());
}

#[test]
fn two_senders_on_one_address_do_not_alternate() {
    let (mut net, mut a) = call();
    let mut intruder = Phone::new(A, 0x0666_0001);
    for _ in 0..20 {
        assert!(net.talk(PORT, &mut a).is_ok());
        net.ms(2_000);
        let packet = intruder.next();
        intruder.rtp.sequence = intruder.rtp.sequence.wrapping_add(20);
        assert_eq!(net.send(PORT, false, intruder.source, &packet.bytes()), dropped(DropReason::Ssrc));
    }
    assert_counted(&net, DropReason::Ssrc, 20);
}

#[test]
fn our_own_packet_come_back_is_dropped_rfc_3550_8_2() {
    let (mut net, mut a) = call();
    let mut b = Phone::new(B, 2);
    let to_a = net.talk(PORT_B, &mut b).unwrap();
    for sequence in 0..5u16 {
        let echo = Rtp { ssrc: to_a.header().ssrc, sequence, ..a.next() };
        assert_eq!(net.send(PORT, false, a.source, &echo.bytes()), dropped(DropReason::Ssrc));
    }
}

#[test]
fn a_stranger_on_the_port_belongs_to_nobody() {
    let (mut net, _) = call();
    let mut stranger = Phone::new("203.0.113.66:4000", 9);
    assert_eq!(net.talk(PORT, &mut stranger), dropped(DropReason::NoStream));
    assert_eq!(net.talk(PortId(19_998), &mut stranger), dropped(DropReason::NoStream));
    assert_eq!(net.relay.stats().drops[DropReason::NoStream as usize], 2);
}

#[test]
fn a_flood_is_cut_at_the_streams_rate() {
    let mut net = Net::with(RelayConfig { audio_rate: 60, ..RelayConfig::default() });
    net.call(config(A), StreamConfig { send_unproven: true, ..config(B) });
    let mut a = Phone::new(A, 1);
    net.ms(1000);
    let passed = (0..500).filter(|_| net.send(PORT, false, addr(A), &a.next().bytes()).is_ok()).count();
    assert_eq!(passed, 60);
    assert_counted(&net, DropReason::Rate, 440);
    net.ms(1000);
    assert!(net.send(PORT, false, addr(A), &a.next().bytes()).is_ok());
}

#[test]
fn nothing_passes_before_configure_or_after_close() {
    let mut net = Net::new();
    net.command(Command::Open { id: StreamId(1), port: PORT });
    let mut a = Phone::new(A, 1);
    assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::NoStream));
    net.configure(1, config(A), false);
    assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::NoPartner));
    net.close(1);
    assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::NoStream));
}

#[test]
fn commands_for_closed_streams_do_nothing() {
    let mut net = Net::new();
    for command in [
        Command::Connect { a: StreamId(1), b: StreamId(2) },
        Command::Disconnect { id: StreamId(1) },
        Command::Close { id: StreamId(1) },
        Command::Report { id: StreamId(1) },
        Command::Configure { id: StreamId(1), config: Box::new(config(A)), relearn: true },
    ] {
        net.command(command);
    }
    assert!(net.events().is_empty() && net.relay.is_empty());
    net.stream(1, PORT, config(A));
    net.connect(1, 1);
    assert_eq!(net.talk(PORT, &mut Phone::new(A, 1)), Err(Verdict::Drop(DropReason::NoPartner)));
}
