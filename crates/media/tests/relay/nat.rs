//! Two phones behind one NAT share ports. Whatever happens, neither gets the other's voice (CALL-5).

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use ringfort_media::types::*;

use crate::harness::*;

const NAT: &str = "198.51.100.7";

/// What the phones' SDP says: an address behind the NAT, the same one for both.
const INSIDE: &str = "192.168.1.10:4000";

fn behind_nat() -> StreamConfig {
    StreamConfig { signalling: Some(addr("198.51.100.7:1").ip()), ..config(INSIDE) }
}

fn nat(port: u16) -> String {
    format!("{NAT}:{port}")
}

fn far(id: u64) -> StreamConfig {
    StreamConfig { send_unproven: true, ..config(&format!("203.0.113.{id}:6000")) }
}

/// Call 1–2 with phone A, learned; call 3–4 of phone B waits for its first packet on the same port.
fn two_calls() -> (Net, Phone, Phone) {
    let mut net = Net::new();
    net.stream(1, PORT, behind_nat());
    net.stream(2, PORT_B, far(2));
    net.connect(1, 2);
    let mut a = Phone::new(&nat(30_001), 0xa);
    net.talk(PORT, &mut a).unwrap_err();
    net.talk(PORT, &mut a).unwrap();
    net.stream(3, PORT, behind_nat());
    net.stream(4, PortId(10_004), far(4));
    net.connect(3, 4);
    (net, a, Phone::new(&nat(30_002), 0xb))
}

fn dest(id: u64) -> std::net::SocketAddr {
    addr(&format!("203.0.113.{id}:6000"))
}

#[test]
fn each_phone_is_told_by_its_port() {
    let (mut net, mut a, mut b) = two_calls();
    assert_eq!(net.talk(PORT, &mut a).unwrap().dest, dest(2));
    net.talk(PORT, &mut b).unwrap_err();
    assert_eq!(net.talk(PORT, &mut b).unwrap().dest, dest(4));
    for _ in 0..100 {
        assert_eq!(net.talk(PORT, &mut a).unwrap().dest, dest(2));
        assert_eq!(net.talk(PORT, &mut b).unwrap().dest, dest(4));
    }
}

#[test]
fn a_learned_phone_whose_nat_binding_moves_does_not_fall_into_the_call_that_is_learning() {
    let (mut net, mut a, mut b) = two_calls();
    a.source = addr(&nat(30_777));
    for _ in 0..50 {
        assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::Ssrc));
    }
    net.talk(PORT, &mut b).unwrap_err();
    assert_eq!(net.talk(PORT, &mut b).unwrap().dest, dest(4), "and the right phone is learned all the same");
}

#[test]
fn swapped_nat_ports_pass_to_nobody_else_than_who_learned_them() {
    let (mut net, mut a, mut b) = two_calls();
    net.talk(PORT, &mut b).unwrap_err();
    net.talk(PORT, &mut b).unwrap();
    std::mem::swap(&mut a.source, &mut b.source);
    for _ in 0..50 {
        assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::Ssrc));
        assert_eq!(net.talk(PORT, &mut b), dropped(DropReason::Ssrc));
    }
}

#[test]
fn packets_of_a_closed_call_do_not_fall_into_the_next_one_on_the_port() {
    let (mut net, mut a, mut b) = two_calls();
    net.close(1);
    // BYE was lost on the way: A talks on for a minute, from its own port and then from another, with a pause.
    for i in 0..3_000 {
        if i == 1_500 {
            a.source = addr(&nat(30_888));
            net.run(std::time::Duration::from_secs(40));
        }
        assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::Ssrc), "{i}");
        if i % 50 == 0 {
            net.run(std::time::Duration::ZERO);
        }
    }
    net.talk(PORT, &mut b).unwrap_err();
    assert_eq!(net.talk(PORT, &mut b).unwrap().dest, dest(4));
}

#[test]
fn the_same_phone_may_call_again_from_the_same_port_at_once() {
    let (mut net, a, _) = two_calls();
    net.close(1);
    let mut again = Phone { source: a.source, ..Phone::new(&nat(1), 0xa2) };
    net.talk(PORT, &mut again).unwrap_err();
    assert_eq!(net.talk(PORT, &mut again).unwrap().dest, dest(4));
    // With its old SSRC too, if it begins anew.
    net.close(3);
    net.stream(5, PORT, behind_nat());
    net.connect(5, 4);
    again.rtp.sequence = again.rtp.sequence.wrapping_add(20_000);
    net.talk(PORT, &mut again).unwrap_err();
    assert_eq!(net.talk(PORT, &mut again).unwrap().dest, dest(4));
}

#[test]
fn a_remote_that_a_learned_stream_has_stays_its_own_whatever_another_sdp_says() {
    let (mut net, mut a, _) = two_calls();
    // B's SDP names the very address where A is heard.
    let thief = StreamConfig { remote: Some(a.source), ..behind_nat() };
    net.configure(3, thief, true);
    for _ in 0..20 {
        assert_eq!(net.talk(PORT, &mut a).unwrap().dest, dest(2));
    }
    assert_eq!(net.report(3).remote, None);
}

#[test]
fn a_phone_that_takes_the_others_ssrc_gets_nothing_of_it() {
    let (mut net, mut a, mut b) = two_calls();
    b.rtp.ssrc = a.rtp.ssrc;
    b.rtp.sequence = a.rtp.sequence;
    for _ in 0..50 {
        assert_eq!(net.talk(PORT, &mut a).unwrap().dest, dest(2));
        assert_eq!(net.talk(PORT, &mut b), dropped(DropReason::Ssrc));
    }
}

#[test]
fn rtcp_from_one_host_goes_by_port_or_by_ssrc() {
    let (mut net, mut a, mut b) = two_calls();
    net.talk(PORT, &mut b).unwrap_err();
    net.talk(PORT, &mut b).unwrap();
    let report = |ssrc: u32| {
        let mut packet = vec![0x80, 201, 0, 1];
        packet.extend_from_slice(&ssrc.to_be_bytes());
        packet
    };
    let is_for = |out: &Out, id: u64| out.is_rtcp && out.dest == addr(&format!("203.0.113.{id}:6001"));
    // A's RTCP port was moved by the NAT, B's is the next one to its RTP port.
    let from_a = net.send(PORT, true, addr(&nat(31_555)), &report(a.rtp.ssrc)).unwrap();
    assert!(is_for(&from_a, 2), "{from_a:?}");
    let from_b = net.send(PORT, true, addr(&nat(30_003)), &report(b.rtp.ssrc)).unwrap();
    assert!(is_for(&from_b, 4), "{from_b:?}");
    assert_eq!(net.send(PORT, true, addr(&nat(31_556)), &report(0x999)), dropped(DropReason::NoStream));
    assert_eq!(net.send(PORT, true, addr("203.0.113.99:1"), &report(a.rtp.ssrc)), dropped(DropReason::NoStream));
    assert!(net.talk(PORT, &mut a).is_ok() && net.talk(PORT, &mut b).is_ok());
}

#[test]
fn packets_of_a_call_that_ended_before_it_was_learned_do_not_fall_into_the_next_one() {
    let (mut net, _, mut b) = two_calls();
    assert_eq!(net.talk(PORT, &mut b), dropped(DropReason::Learning));
    net.close(3);
    net.stream(5, PORT, behind_nat());
    net.stream(6, PortId(10_006), far(6));
    net.connect(5, 6);
    for _ in 0..50 {
        assert_eq!(net.talk(PORT, &mut b), dropped(DropReason::Ssrc));
    }
}

#[test]
fn packets_refused_for_their_payload_type_do_not_fall_into_the_next_call_either() {
    let (mut net, _, mut b) = two_calls();
    b.rtp.payload_type = 77;
    assert_eq!(net.talk(PORT, &mut b), dropped(DropReason::PayloadType));
    net.close(3);
    net.stream(5, PORT, behind_nat());
    net.stream(6, PortId(10_006), far(6));
    net.connect(5, 6);
    b.rtp.payload_type = 8;
    for _ in 0..50 {
        assert_eq!(net.talk(PORT, &mut b), dropped(DropReason::Ssrc));
    }
}

/// Random lives of twelve phones behind one NAT on two shared ports: calls, hang-ups, lost BYEs (a phone talks on with
/// pauses of less than a minute), moved bindings, re-INVITEs. Each phone's voice is its own number, so that a crossing
/// would be heard.
#[test]
fn no_voice_crosses_whatever_twelve_phones_do() {
    for seed in 0..300u64 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut net = Net::new();
        let mut phones: Vec<Phone> = (0..12u32)
            .map(|n| Phone { rtp: Rtp { fill: n as u8, ..Phone::new(&nat(30_000), 1).rtp }, ..Phone::new(&nat(1), 1) })
            .collect();
        // Which stream a phone is in a call by: (stream, its port); phones go on sending after a lost BYE.
        let mut calls: Vec<Option<(u64, PortId)>> = vec![None; 12];
        let mut target: Vec<PortId> = vec![PORT; 12];
        let mut owner: std::collections::BTreeMap<u64, usize> = Default::default();
        let mut next_id = 1u64;
        let mut learning: std::collections::BTreeMap<PortId, u64> = Default::default();
        let mut bindings = 30_000u16;
        let mut last_sent = [None; 12];
        let mut heard = 0;
        for _ in 0..600 {
            let n = rng.random_range(0..12usize);
            match rng.random_range(0..100u32) {
                // A new call: a new binding and SSRC, on a port without a learner as the port pool has it.
                0..=7 if calls[n].is_none() => {
                    let port = if rng.random_bool(0.5) { PORT } else { PORT_B };
                    if learning.contains_key(&port) {
                        continue;
                    }
                    bindings += 1;
                    phones[n].source = addr(&nat(bindings));
                    phones[n].rtp.ssrc = rng.random();
                    phones[n].rtp.sequence = rng.random();
                    last_sent[n] = None;
                    net.stream(next_id, port, behind_nat());
                    net.stream(next_id + 1, PortId(20_000 + n as u16 * 2), far(n as u64 + 1));
                    net.connect(next_id, next_id + 1);
                    owner.insert(next_id, n);
                    learning.insert(port, next_id);
                    (calls[n], target[n]) = (Some((next_id, port)), port);
                    next_id += 2;
                }
                8..=10 => {
                    if let Some((id, _)) = calls[n].take() {
                        net.close(id);
                        net.close(id + 1);
                        learning.retain(|_, learner| *learner != id);
                    }
                }
                // The NAT forgets the binding.
                11..=12 => {
                    bindings += 1;
                    phones[n].source = addr(&nat(bindings));
                }
                // A re-INVITE with relearning, if no other stream learns on the port.
                13..=14 => {
                    if let Some((id, port)) = calls[n]
                        && learning.get(&port).is_none_or(|learner| *learner == id)
                    {
                        net.configure(id, behind_nat(), true);
                        learning.insert(port, id);
                    }
                }
                15 => {
                    net.run(std::time::Duration::from_secs(rng.random_range(0..4)));
                }
                _ => {
                    // Without a call a phone only goes on with what it was at.
                    let going_on = last_sent[n].is_some_and(|at| net.now - at < std::time::Duration::from_secs(50));
                    if calls[n].is_none() && !going_on {
                        continue;
                    }
                    last_sent[n] = Some(net.now);
                    for _ in 0..rng.random_range(1..5) {
                        let port = target[n];
                        if let Ok(out) = net.talk(port, &mut phones[n]) {
                            assert_eq!(usize::from(out.payload()[0]), n);
                            assert_eq!(out.dest, dest(n as u64 + 1), "seed {seed}: phone {n} is heard elsewhere");
                            heard += 1;
                        }
                    }
                }
            }
            for event in net.events() {
                if let Event::Learned { id, .. } = event {
                    learning.retain(|_, learner| *learner != id.0);
                }
            }
        }
        assert!(heard > 50, "seed {seed}: only {heard} packets were relayed");
    }
}
