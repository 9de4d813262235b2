//! SRTP on either leg (CALL-6), and learning only from what is authentic (CALL-5).

use ringfort_media::srtp::{Context, MAX_TRAILER};
use ringfort_media::types::*;

use crate::harness::*;

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:5000";

fn secure(remote: &str, suite: CryptoSuite, from_peer: u8, to_peer: u8) -> StreamConfig {
    StreamConfig { rx_keys: Some(keys(suite, from_peer)), tx_keys: Some(keys(suite, to_peer)), ..config(remote) }
}

fn protect(context: &mut Context, packet: &[u8]) -> Vec<u8> {
    let mut buf = packet.to_vec();
    buf.resize(packet.len() + MAX_TRAILER, 0);
    let len = context.protect_rtp(&mut buf, packet.len()).unwrap();
    buf.truncate(len);
    buf
}

fn unprotect(context: &mut Context, packet: &[u8]) -> Vec<u8> {
    let mut buf = packet.to_vec();
    let len = context.unprotect_rtp(&mut buf).unwrap();
    buf.truncate(len);
    buf
}

#[test]
fn every_pair_of_suites_and_plain_rtp_talk_to_each_other() {
    let suites: Vec<Option<CryptoSuite>> = CryptoSuite::ALL.into_iter().map(Some).chain([None]).collect();
    for one in &suites {
        for two in &suites {
            let side = |remote, suite: &Option<CryptoSuite>, from, to| match suite {
                Some(suite) => secure(remote, *suite, from, to),
                None => config(remote),
            };
            let mut net = Net::new();
            net.call(side(A, one, 1, 2), StreamConfig { send_unproven: true, ..side(B, two, 3, 4) });
            let mut tx = one.map(|suite| Context::new(&keys(suite, 1)));
            let mut rx = two.map(|suite| Context::new(&keys(suite, 4)));
            let mut a = Phone::new(A, 0x77);
            for _ in 0..5 {
                net.ms(20);
                let mut packet = a.next().bytes();
                if let Some(tx) = &mut tx {
                    packet = protect(tx, &packet);
                }
                let out = net.send(PORT, false, a.source, &packet).unwrap();
                let heard = match &mut rx {
                    Some(rx) => unprotect(rx, &out.bytes),
                    None => out.bytes,
                };
                assert_eq!(heard[12..], [0x77; 160], "{one:?} to {two:?}");
            }
        }
    }
}

#[test]
fn extension_is_taken_out_after_decryption_and_padding_too() {
    let suite = CryptoSuite::AeadAes128Gcm;
    let mut net = Net::new();
    net.call(secure(A, suite, 1, 2), StreamConfig { send_unproven: true, ..config(B) });
    let mut packet = Phone::new(A, 5).next().bytes();
    packet[0] = 0xb0;
    packet.splice(12..12, [0xbe, 0xde, 0, 1, 0x10, 1, 0, 0]);
    packet.extend_from_slice(&[0, 0, 3]);
    let out = net.send(PORT, false, addr(A), &protect(&mut Context::new(&keys(suite, 1)), &packet)).unwrap();
    assert_eq!((out.bytes.len(), out.bytes[0]), (172, 0x80));
}

#[test]
fn nothing_is_learned_or_passed_without_authentication() {
    let suite = CryptoSuite::AesCm128HmacSha1_80;
    let mut net = Net::new();
    net.call(secure(A, suite, 1, 2), StreamConfig { send_unproven: true, ..config(B) });
    let mut a = Phone::new(A, 5);
    for _ in 0..10 {
        assert_eq!(net.talk(PORT, &mut a), dropped(DropReason::Authentication));
    }
    assert_eq!(net.report(1).remote, None);
    assert_eq!(net.drops(1, DropReason::Authentication), 10);
    // From another port of the host one authentic packet is enough.
    let mut tx = Context::new(&keys(suite, 1));
    let packet = protect(&mut tx, &a.next().bytes());
    net.send(PORT, false, addr("192.0.2.1:41234"), &packet).unwrap();
    assert_eq!(net.report(1).remote, Some(addr("192.0.2.1:41234")));
    assert_eq!(net.send(PORT, false, addr("192.0.2.1:41234"), &packet), dropped(DropReason::Replay));
}

#[test]
fn an_authentic_ssrc_change_needs_no_probation_but_is_limited() {
    let suite = CryptoSuite::AesCm128HmacSha1_32;
    let mut net = Net::new();
    net.call(secure(A, suite, 1, 2), StreamConfig { send_unproven: true, ..config(B) });
    let mut tx = Context::new(&keys(suite, 1));
    let mut passed = 0;
    for ssrc in 1..=20 {
        let packet = protect(&mut tx, &Phone::new(A, ssrc).next().bytes());
        passed += u32::from(net.send(PORT, false, addr(A), &packet).is_ok());
    }
    assert_eq!(passed, 5);
}

#[test]
fn roll_over_counters_go_on_through_configure_with_the_same_keys_rfc_3711_3_3_1() {
    let suite = CryptoSuite::AesCm128HmacSha1_80;
    let two = || StreamConfig { send_unproven: true, ..secure(B, suite, 3, 4) };
    let mut net = Net::new();
    net.call(secure(A, suite, 1, 2), two());
    let (mut tx, mut rx) = (Context::new(&keys(suite, 1)), Context::new(&keys(suite, 4)));
    let mut a = Phone::new(A, 0x55);
    for i in 0..140_000 {
        net.ms(20);
        if i % 20_000 == 10_000 {
            let held = StreamConfig { sends: false, ..secure(A, suite, 1, 2) };
            net.configure(1, held, false);
            net.configure(2, two(), false);
        }
        let packet = protect(&mut tx, &a.next().bytes());
        let out = net.send(PORT, false, a.source, &packet).unwrap();
        assert_eq!(unprotect(&mut rx, &out.bytes)[12..], [0x55; 160], "{i}");
    }
}

#[test]
fn an_identifier_that_comes_or_goes_leaves_keys_and_counters_as_they_are_rfc_3711_9_1() {
    for suite in [CryptoSuite::AesCm128HmacSha1_80, CryptoSuite::AeadAes128Gcm] {
        let identified = |keys: Option<SrtpKeys>, mki| keys.map(|keys| SrtpKeys { mki, ..keys });
        let with = |side: StreamConfig, mki| StreamConfig {
            rx_keys: identified(side.rx_keys.clone(), mki),
            tx_keys: identified(side.tx_keys.clone(), mki),
            ..side
        };
        let (one, two) = (secure(A, suite, 1, 2), secure(B, suite, 3, 4));
        let two = StreamConfig { send_unproven: true, ..two };
        let mut net = Net::new();
        net.call(one.clone(), two.clone());
        let (mut tx, mut rx) = (Context::new(&keys(suite, 1)), Context::new(&keys(suite, 4)));
        let mut a = Phone::new(A, 0x55);
        // One round and a bit of sequence numbers, so that a counter that began anew would be heard.
        for i in 0..70_000 {
            net.ms(20);
            if i % 5_000 == 4_999 || i > 69_990 {
                let mki = (i % 2 == 1).then(|| Mki::new(7, 4).unwrap());
                net.configure(1, with(one.clone(), mki), false);
                net.configure(2, with(two.clone(), mki), false);
                tx.set_identifier(mki);
                rx.set_identifier(mki);
            }
            let protected = protect(&mut tx, &a.next().bytes());
            let out = net.send(PORT, false, a.source, &protected).unwrap();
            assert_eq!(unprotect(&mut rx, &out.bytes)[12..], [0x55; 160], "{suite:?} {i}");
            if i > 69_990 {
                assert_eq!(net.send(PORT, false, a.source, &protected), dropped(DropReason::Replay), "{i}");
            }
        }
    }
}

#[test]
fn new_keys_are_used_from_configure_on_and_counters_begin_at_0_rfc_4568_6_4() {
    let suite = CryptoSuite::AeadAes256Gcm;
    let mut net = Net::new();
    net.call(secure(A, suite, 1, 2), StreamConfig { send_unproven: true, ..config(B) });
    let mut a = Phone::new(A, 0x55);
    let old = &mut Context::new(&keys(suite, 1));
    net.send(PORT, false, a.source, &protect(old, &a.next().bytes())).unwrap();
    net.configure(1, secure(A, suite, 9, 2), false);
    let packet = protect(old, &a.next().bytes());
    assert_eq!(net.send(PORT, false, a.source, &packet), dropped(DropReason::Authentication));
    let packet = protect(&mut Context::new(&keys(suite, 9)), &a.next().bytes());
    assert!(net.send(PORT, false, a.source, &packet).is_ok());
    net.configure(1, config(A), false);
    assert!(net.talk(PORT, &mut a).is_ok(), "and without keys it is plain");
}

#[test]
fn late_authentic_packets_pass_as_far_as_the_replay_list_goes() {
    let suite = CryptoSuite::AesCm128HmacSha1_80;
    let mut net = Net::new();
    net.call(secure(A, suite, 1, 2), StreamConfig { send_unproven: true, ..config(B) });
    let mut tx = Context::new(&keys(suite, 1));
    let mut a = Phone::new(A, 3);
    let packets: Vec<_> = (0..200).map(|_| protect(&mut tx, &a.next().bytes())).collect();
    net.send(PORT, false, a.source, &packets[0]).unwrap();
    let newest = net.send(PORT, false, a.source, &packets[199]).unwrap().header().sequence;
    let late = net.send(PORT, false, a.source, &packets[199 - 127]).unwrap().header().sequence;
    assert_eq!(newest.wrapping_sub(late), 127);
    assert_eq!(net.send(PORT, false, a.source, &packets[199 - 128]), dropped(DropReason::Replay));
}

#[test]
fn late_authentic_packets_from_the_old_address_are_not_learned_after_relearning() {
    let suite = CryptoSuite::ALL[0];
    let mut net = Net::new();
    net.call(secure(A, suite, 1, 2), StreamConfig { send_unproven: true, ..config(B) });
    let (mut a, mut tx) = (Phone::new(A, 1), Context::new(&keys(suite, 1)));
    let mut talk = |net: &mut Net, source: &str| {
        net.ms(20);
        let packet = protect(&mut tx, &a.next().bytes());
        net.send(PORT, false, addr(source), &packet)
    };
    talk(&mut net, A).unwrap();
    net.configure(1, secure("192.0.2.1:4999", suite, 1, 2), true);
    for _ in 0..20 {
        assert_eq!(talk(&mut net, A), dropped(DropReason::Learning));
    }
    talk(&mut net, "192.0.2.1:40123").unwrap();
    assert_eq!(net.report(1).remote, Some(addr("192.0.2.1:40123")));
}
