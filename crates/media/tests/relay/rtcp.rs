//! RTCP is read, and goes on as ours (CALL-1, RFC 3550 §6).

use std::time::Duration;

use ringfort_media::relay::Verdict;
use ringfort_media::rtcp::*;
use ringfort_media::srtp::Context;
use ringfort_media::types::*;

use crate::harness::*;

const A: &str = "192.0.2.1:4000";
const A_RTCP: &str = "192.0.2.1:4001";
const B: &str = "192.0.2.2:5000";
const B_RTCP: &str = "192.0.2.2:5001";
const SSRC_A: u32 = 0xaaaa_0001;
const SSRC_B: u32 = 0xbbbb_0002;

struct Call {
    net: Net,
    a: Phone,
    b: Phone,
    /// What A hears and what B hears.
    to_a: u32,
    to_b: u32,
}

fn call(one: StreamConfig, two: StreamConfig) -> Call {
    let mut net = Net::new();
    net.call(one, two);
    let (mut a, mut b) = (Phone::new(A, SSRC_A), Phone::new(B, SSRC_B));
    net.talk(PORT, &mut a).unwrap_err();
    let to_a = net.talk(PORT_B, &mut b).unwrap().header().ssrc;
    let to_b = net.talk(PORT, &mut a).unwrap().header().ssrc;
    Call { net, a, b, to_a, to_b }
}

fn plain() -> Call {
    call(config(A), config(B))
}

fn compound(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buf = [0; 1400];
    let mut writer = Writer::new(&mut buf);
    write(&mut writer);
    let len = writer.len();
    buf[..len].to_vec()
}

fn block(ssrc: u32) -> ReportBlock {
    ReportBlock { ssrc, fraction_lost: 12, cumulative_lost: 3, jitter: 40, ..ReportBlock::default() }
}

const INFO: SenderInfo = SenderInfo { ntp: 0xe000_0001_4000_0000, rtp_timestamp: 1000, packets: 9, octets: 1440 };

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn a_sender_report_goes_on_with_our_ssrcs_numbers_and_cname() {
    let mut c = plain();
    let first = c.net.talk(PORT, &mut c.a).unwrap().header();
    let offset = first.timestamp.wrapping_sub(c.a.rtp.timestamp);
    let packet = compound(|w| {
        w.sender_report(SSRC_A, &INFO, &[block(c.to_a)]);
        w.cname(SSRC_A, b"alice@phone.example");
    });
    let out = c.net.send(PORT, true, addr(A_RTCP), &packet).unwrap();
    assert_eq!((out.port, out.is_rtcp, out.dest), (PORT_B, true, addr(B_RTCP)));
    let packets: Vec<_> = Compound::parse(&out.bytes).unwrap().packets().collect();
    let Packet::SenderReport { ssrc, info, reports } = packets[0] else { panic!("{packets:?}") };
    assert_eq!(ssrc, c.to_b);
    assert_eq!((info.ntp, info.packets, info.octets), (INFO.ntp, 2, 320));
    assert_eq!(info.rtp_timestamp, INFO.rtp_timestamp.wrapping_add(offset));
    let blocks: Vec<_> = reports.iter().collect();
    assert_eq!((blocks[0].ssrc, blocks[0].fraction_lost, blocks[0].cumulative_lost), (SSRC_B, 12, 3));
    let Packet::SourceDescription(mut chunks) = packets[1] else { panic!("{packets:?}") };
    let (ssrc, SDES_CNAME, cname) = chunks.next().unwrap() else { panic!() };
    assert_eq!((ssrc, cname.len()), (c.to_b, 16));
    for secret in [&b"alice"[..], b"phone.example", &SSRC_A.to_be_bytes(), &c.to_a.to_be_bytes()] {
        assert!(!contains(&out.bytes, secret), "nothing of A's side is seen at B's");
    }
}

#[test]
fn our_cname_stays_the_same_in_a_call_and_differs_between_its_sides_rfc_7022() {
    let mut c = plain();
    let mut cname = |port, source: &str, ssrc| {
        let out = c.net.send(port, true, addr(source), &compound(|w| assert!(w.receiver_report(ssrc, &[])))).unwrap();
        let packets: Vec<_> = Compound::parse(&out.bytes).unwrap().packets().collect();
        let Packet::SourceDescription(mut chunks) = packets[1] else { panic!("{packets:?}") };
        chunks.next().unwrap().2.to_vec()
    };
    let first = cname(PORT, A_RTCP, SSRC_A);
    assert_eq!(cname(PORT, A_RTCP, SSRC_A), first);
    assert_ne!(cname(PORT_B, B_RTCP, SSRC_B), first);
}

#[test]
fn sequence_numbers_in_reports_and_nacks_are_those_of_the_source_rfc_4585_6_2_1() {
    let mut c = plain();
    let heard = c.net.talk(PORT_B, &mut c.b).unwrap().header().sequence;
    let packet = compound(|w| {
        let highest_sequence = u32::from(heard) | 1 << 16;
        w.receiver_report(SSRC_A, &[ReportBlock { highest_sequence, ..block(c.to_a) }]);
        let nack = w.feedback(RTPFB, FMT_NACK, SSRC_A, c.to_a, 8).unwrap();
        nack[..2].copy_from_slice(&heard.to_be_bytes());
        nack[2..4].copy_from_slice(&[0xab, 0xcd]);
        nack[4..6].copy_from_slice(&heard.wrapping_sub(40).to_be_bytes());
    });
    let out = c.net.send(PORT, true, addr(A_RTCP), &packet).unwrap();
    let packets: Vec<_> = Compound::parse(&out.bytes).unwrap().packets().collect();
    let Packet::ReceiverReport { reports, .. } = packets[0] else { panic!("{packets:?}") };
    assert_eq!(reports.iter().next().unwrap().highest_sequence as u16, c.b.rtp.sequence);
    let Packet::TransportFeedback(nack) = packets[2] else { panic!("{packets:?}") };
    assert_eq!((nack.sender, nack.media), (c.to_b, SSRC_B));
    let [high, low] = c.b.rtp.sequence.to_be_bytes();
    assert_eq!(nack.fci[..4], [high, low, 0xab, 0xcd]);
    assert_eq!(nack.fci[4..6], c.b.rtp.sequence.wrapping_sub(40).to_be_bytes());
}

#[test]
fn picture_requests_name_the_source_of_the_other_side_rfc_5104() {
    let mut c = plain();
    let packet = compound(|w| {
        w.receiver_report(SSRC_A, &[]);
        w.feedback(PSFB, FMT_PLI, SSRC_A, c.to_a, 0);
        let fir = w.feedback(PSFB, FMT_FIR, SSRC_A, 0, 8).unwrap();
        fir[..4].copy_from_slice(&c.to_a.to_be_bytes());
        fir[4] = 7;
        w.feedback(PSFB, FMT_PLI, SSRC_A, 0x0bad_0bad, 0);
    });
    let out = c.net.send(PORT, true, addr(A_RTCP), &packet).unwrap();
    let feedback: Vec<_> = Compound::parse(&out.bytes)
        .unwrap()
        .packets()
        .filter_map(|packet| match packet {
            Packet::PayloadFeedback(feedback) => Some((feedback.format, feedback.media, feedback.fci.to_vec())),
            _ => None,
        })
        .collect();
    let mut fir = SSRC_B.to_be_bytes().to_vec();
    fir.extend_from_slice(&[7, 0, 0, 0]);
    assert_eq!(feedback, [(FMT_PLI, SSRC_B, vec![]), (FMT_FIR, 0, fir)]);
}

#[test]
fn names_applications_extended_reports_and_foreign_feedback_end_here() {
    let mut c = plain();
    let mut packet = compound(|w| {
        w.receiver_report(SSRC_A, &[]);
        w.feedback(PSFB, 15, SSRC_A, c.to_a, 8).unwrap().copy_from_slice(b"REMBxxxx");
        w.feedback(RTPFB, 15, SSRC_A, c.to_a, 8);
    });
    packet.extend_from_slice(&[0x80, APP, 0, 2, 0xaa, 0xaa, 0, 1]);
    packet.extend_from_slice(b"qtsi");
    packet.extend_from_slice(&[0x80, 207, 0, 1, 0xaa, 0xaa, 0, 1]);
    let out = c.net.send(PORT, true, addr(A_RTCP), &packet).unwrap();
    let packets: Vec<_> = Compound::parse(&out.bytes).unwrap().packets().collect();
    assert!(matches!(packets[..], [Packet::ReceiverReport { .. }, Packet::SourceDescription(_)]), "{packets:?}");
}

#[test]
fn goodbye_goes_on_for_our_ssrc_without_the_reason_rfc_3550_6_6() {
    let mut c = plain();
    let mut packet = compound(|w| assert!(w.receiver_report(SSRC_A, &[])));
    packet.extend_from_slice(&[0x81, BYE, 0, 3]);
    packet.extend_from_slice(&SSRC_A.to_be_bytes());
    packet.extend_from_slice(b"\x06gone!!\0");
    let out = c.net.send(PORT, true, addr(A_RTCP), &packet).unwrap();
    let last = Compound::parse(&out.bytes).unwrap().packets().last().unwrap();
    assert_eq!(last, Packet::Bye { sources: &[c.to_b.to_be_bytes()] });
    assert!(!contains(&out.bytes, b"gone"));
}

#[test]
fn loss_jitter_and_round_trip_as_the_peer_sees_them_are_in_the_report() {
    let mut c = plain();
    // B's sender report goes to A and comes back in A's block 70 ms later, of which A held it 20 ms.
    let packet = compound(|w| assert!(w.sender_report(SSRC_B, &INFO, &[])));
    c.net.send(PORT_B, true, addr(B_RTCP), &packet).unwrap();
    for _ in 0..99 {
        c.net.talk(PORT_B, &mut c.b).unwrap();
    }
    let held = Duration::from_millis(20 * 99 - 50);
    let answer = ReportBlock {
        last_sr: ntp_middle(INFO.ntp),
        delay_since_last_sr: (held.as_micros() as u64 * 65536 / 1_000_000) as u32,
        ..block(c.to_a)
    };
    let packet = compound(|w| assert!(w.receiver_report(SSRC_A, &[answer])));
    let out = c.net.send(PORT, true, addr(A_RTCP), &packet).unwrap();
    let report = c.net.report(1);
    let rtt = report.sent.rtt.unwrap();
    assert!((49..=51).contains(&rtt.as_millis()), "{rtt:?}");
    assert_eq!((report.sent.packets, report.sent.lost), (100, 3));
    assert_eq!(report.sent.jitter, Duration::from_millis(5));
    assert!((3.9..4.3).contains(&report.sent.mos.unwrap()), "{:?}", report.sent.mos);
    // The answer means B's own report, so B can reckon with it too.
    let Some(Packet::ReceiverReport { reports, .. }) = Compound::parse(&out.bytes).unwrap().packets().next() else {
        panic!()
    };
    assert_eq!(reports.iter().next().unwrap().last_sr, ntp_middle(INFO.ntp));
}

#[test]
fn where_the_partner_sends_none_we_report_ourselves_rfc_3550_6_2() {
    let mut c = plain();
    let mut sent = Vec::new();
    for i in 0..1_500 {
        if i % 10 == 4 {
            c.a.next();
            c.net.ms(20);
        }
        c.net.talk(PORT, &mut c.a).unwrap();
        c.net.talk(PORT_B, &mut c.b).unwrap();
        sent.extend(c.net.run(Duration::ZERO));
    }
    let to_a: Vec<_> = sent.iter().filter(|out| out.dest == addr(A_RTCP)).collect();
    assert!((5..=15).contains(&to_a.len()), "a minute and a bit, the first 12 s quiet: {}", to_a.len());
    let packets: Vec<_> = Compound::parse(&to_a[2].bytes).unwrap().packets().collect();
    let Packet::SenderReport { ssrc, info, reports } = packets[0] else { panic!("{packets:?}") };
    assert_eq!(ssrc, c.to_a);
    assert!(info.ntp >> 32 > 0xe000_0000 && info.packets > 100);
    let block = reports.iter().next().unwrap();
    assert_eq!(block.ssrc, SSRC_A);
    assert!((21..=26).contains(&block.fraction_lost), "one in eleven of 256: {}", block.fraction_lost);
    assert!(matches!(packets[1], Packet::SourceDescription(_)));
    // A's block on our own report is no answer to anything that B sent.
    let answer = ReportBlock { last_sr: ntp_middle(info.ntp), ..block_on(c.to_a) };
    let out =
        c.net.send(PORT, true, addr(A_RTCP), &compound(|w| assert!(w.receiver_report(SSRC_A, &[answer])))).unwrap();
    let Some(Packet::ReceiverReport { reports, .. }) = Compound::parse(&out.bytes).unwrap().packets().next() else {
        panic!()
    };
    assert_eq!(reports.iter().next().unwrap().last_sr, 0);
    // B's phone was reported to by a partner just now, A's was not.
    let later = c.net.run(Duration::from_secs(9));
    assert!(later.iter().all(|out| out.dest == addr(A_RTCP)), "{later:?}");
}

fn block_on(ssrc: u32) -> ReportBlock {
    ReportBlock { ssrc, ..ReportBlock::default() }
}

#[test]
fn multiplexed_and_separate_rtcp_meet_rfc_5761() {
    let mut c = call(StreamConfig { rtcp_mux: true, ..config(A) }, config(B));
    let packet = compound(|w| assert!(w.receiver_report(SSRC_A, &[])));
    let out = c.net.send(PORT, false, addr(A), &packet).unwrap();
    assert_eq!((out.is_rtcp, out.dest), (true, addr(B_RTCP)));
    let packet = compound(|w| assert!(w.receiver_report(SSRC_B, &[])));
    let out = c.net.send(PORT_B, true, addr(B_RTCP), &packet).unwrap();
    assert_eq!((out.port, out.is_rtcp, out.dest), (PORT, false, addr(A)));
}

#[test]
fn multiplexed_rtcp_proves_no_address() {
    let mut net = Net::new();
    net.call(StreamConfig { rtcp_mux: true, ..config(A) }, StreamConfig { send_unproven: true, ..config(B) });
    let packet = compound(|w| assert!(w.receiver_report(SSRC_A, &[])));
    assert_eq!(net.send(PORT, false, addr(A), &packet), dropped(DropReason::Learning));
    assert_eq!(net.report(1).remote, None);
}

#[test]
fn rtcp_goes_to_the_next_port_of_the_learned_remote_and_then_where_it_comes_from() {
    let mut net = Net::new();
    net.call(config("10.0.0.1:4000"), config(B));
    net.configure(1, StreamConfig { signalling: Some(addr(A).ip()), ..config("10.0.0.1:4000") }, false);
    let (mut a, mut b) = (Phone::new("192.0.2.1:30000", SSRC_A), Phone::new(B, SSRC_B));
    net.talk(PORT, &mut a).unwrap_err();
    net.talk(PORT, &mut a).unwrap_err();
    net.talk(PORT_B, &mut b).unwrap();
    let from_b = compound(|w| assert!(w.receiver_report(SSRC_B, &[])));
    assert_eq!(net.send(PORT_B, true, addr(B_RTCP), &from_b).unwrap().dest, addr("192.0.2.1:30001"));
    let from_a = compound(|w| assert!(w.receiver_report(SSRC_A, &[])));
    net.send(PORT, true, addr("192.0.2.1:37777"), &from_a).unwrap();
    assert_eq!(net.send(PORT_B, true, addr(B_RTCP), &from_b).unwrap().dest, addr("192.0.2.1:37777"));
    assert_eq!(
        net.send(PORT, true, addr("192.0.2.1:30001"), &compound(|w| assert!(w.receiver_report(5, &[])))),
        dropped(DropReason::NoStream),
        "learned once"
    );
}

#[test]
fn no_rtcp_goes_to_an_unproven_guest() {
    let mut net = Net::new();
    net.call(config(A), config(B));
    net.talk(PORT, &mut Phone::new(A, SSRC_A)).unwrap_err();
    let packet = compound(|w| assert!(w.receiver_report(SSRC_A, &[])));
    assert_eq!(net.send(PORT, true, addr(A_RTCP), &packet), Err(Verdict::Consumed));
    assert!(net.run(Duration::from_secs(60)).iter().all(|out| out.dest == addr(A_RTCP)));
}

#[test]
fn srtcp_on_either_side_rfc_3711_3_4() {
    for suite in CryptoSuite::ALL {
        let secure = |remote, from, to| StreamConfig {
            rx_keys: Some(keys(suite, from)),
            tx_keys: Some(keys(suite, to)),
            send_unproven: true,
            ..config(remote)
        };
        let mut net = Net::new();
        net.call(secure(A, 1, 2), StreamConfig { send_unproven: true, ..config(B) });
        let mut a = Context::new(&keys(suite, 1));
        let mut b = Phone::new(B, SSRC_B);
        let mut room = [0; 300];
        let rtp = Phone::new(A, SSRC_A).next().bytes();
        room[..rtp.len()].copy_from_slice(&rtp);
        let len = a.protect_rtp(&mut room, rtp.len()).unwrap();
        net.send(PORT, false, addr(A), &room[..len]).unwrap();
        net.talk(PORT_B, &mut b).unwrap();
        // A's RTCP is opened for B.
        let packet = compound(|w| assert!(w.receiver_report(SSRC_A, &[])));
        assert_eq!(net.send(PORT, true, addr(A_RTCP), &packet), dropped(DropReason::Malformed), "{suite}");
        let forged = [&packet[..], &[0x80, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 0x80, 0, 0, 9]].concat();
        assert_eq!(net.send(PORT, true, addr(A_RTCP), &forged), dropped(DropReason::Authentication), "{suite}");
        room[..packet.len()].copy_from_slice(&packet);
        let len = a.protect_rtcp(&mut room, packet.len()).unwrap();
        let out = net.send(PORT, true, addr(A_RTCP), &room[..len]).unwrap();
        assert!(Compound::parse(&out.bytes).is_ok());
        assert_eq!(net.send(PORT, true, addr(A_RTCP), &room[..len]), dropped(DropReason::Replay));
        // B's is closed for A.
        let packet = compound(|w| assert!(w.receiver_report(SSRC_B, &[])));
        let mut out = net.send(PORT_B, true, addr(B_RTCP), &packet).unwrap().bytes;
        let len = Context::new(&keys(suite, 2)).unprotect_rtcp(&mut out).unwrap();
        assert!(Compound::parse(&out[..len]).is_ok());
    }
}

#[test]
fn malformed_rtcp_and_a_flood_of_it_are_counted() {
    let mut c = plain();
    for bad in [&[0x80, 201, 0, 9, 0, 0, 0, 1][..], &[0x80, 203, 0, 1, 0xaa, 0xaa, 0, 1], &[0x80, 201]] {
        assert_eq!(c.net.send(PORT, true, addr(A_RTCP), bad), dropped(DropReason::Malformed));
    }
    assert_eq!(c.net.send(PORT, true, addr(A_RTCP), &[0x40, 201, 0, 1, 0, 0, 0, 1]), dropped(DropReason::Version));
    c.net.ms(1000);
    let packet = compound(|w| assert!(w.receiver_report(SSRC_A, &[])));
    let passed = (0..500).filter(|_| c.net.send(PORT, true, addr(A_RTCP), &packet).is_ok()).count();
    assert_eq!((passed, c.net.drops(1, DropReason::Rate)), (100, 400));
}

#[test]
fn late_rtcp_from_the_old_address_is_read_but_not_where_ours_goes_after_relearning() {
    for (ms, late_dest) in [(0, "192.0.2.1:4801"), (2_000, A_RTCP)] {
        let Call { mut net, mut a, .. } = plain();
        let from_a = compound(|w| _ = w.receiver_report(SSRC_A, &[]));
        let from_b = compound(|w| _ = w.receiver_report(SSRC_B, &[]));
        net.send(PORT, true, addr(A_RTCP), &from_a).unwrap();
        net.configure(1, config("192.0.2.1:4800"), true);
        a.source = addr("192.0.2.1:4800");
        net.talk(PORT, &mut a).unwrap();
        net.ms(ms);
        net.send(PORT, true, addr(A_RTCP), &from_a).unwrap();
        assert_eq!(net.send(PORT_B, true, addr(B_RTCP), &from_b).unwrap().dest, addr(late_dest));
        if ms == 0 {
            net.send(PORT, true, addr("192.0.2.1:4777"), &from_a).unwrap();
            assert_eq!(net.send(PORT_B, true, addr(B_RTCP), &from_b).unwrap().dest, addr("192.0.2.1:4777"));
        }
    }
}
