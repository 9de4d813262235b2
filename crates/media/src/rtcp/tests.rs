use super::*;

fn block() -> ReportBlock {
    ReportBlock {
        ssrc: 0x1111_1111,
        fraction_lost: 64,
        cumulative_lost: -3,
        highest_sequence: 0x0001_fffe,
        jitter: 80,
        last_sr: 0xaabb_ccdd,
        delay_since_last_sr: 0x8000,
    }
}

fn info() -> SenderInfo {
    SenderInfo { ntp: 0xe000_0000_8000_0000, rtp_timestamp: 16000, packets: 100, octets: 16000 }
}

fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buf = [0xffu8; 1500];
    let mut writer = Writer::new(&mut buf);
    write(&mut writer);
    let len = writer.len();
    buf[..len].to_vec()
}

#[test]
fn what_is_written_is_read_back_rfc_3550_6() {
    let bytes = written(|w| {
        assert!(w.sender_report(7, &info(), &[block()]));
        assert!(w.receiver_report(7, &[]));
        assert!(w.cname(7, b"0123456789abcdef"));
        assert!(w.bye(7));
        w.feedback(PSFB, FMT_FIR, 7, 0, 8).unwrap().copy_from_slice(&[0, 0, 0, 9, 1, 0, 0, 0]);
    });
    let packets: Vec<_> = Compound::parse(&bytes).unwrap().packets().collect();
    assert_eq!(packets.len(), 5);
    let Packet::SenderReport { ssrc: 7, info: got, reports } = packets[0] else { panic!("{packets:?}") };
    assert_eq!((got, reports.iter().collect::<Vec<_>>()), (info(), vec![block()]));
    assert!(matches!(packets[1], Packet::ReceiverReport { ssrc: 7, reports } if reports.is_empty()));
    let Packet::SourceDescription(chunks) = packets[2] else { panic!("{packets:?}") };
    assert_eq!(chunks.collect::<Vec<_>>(), [(7, SDES_CNAME, &b"0123456789abcdef"[..])]);
    assert_eq!(packets[3], Packet::Bye { sources: &[[0, 0, 0, 7]] });
    let fci = &[0, 0, 0, 9, 1, 0, 0, 0][..];
    assert_eq!(packets[4], Packet::PayloadFeedback(Feedback { format: FMT_FIR, sender: 7, media: 0, fci }));
}

#[test]
fn sdes_chunks_end_on_32_bits_whatever_the_length_rfc_3550_6_5() {
    for len in 0..=255usize {
        let bytes = written(|w| assert!(w.cname(3, &vec![b'x'; len])));
        assert_eq!(bytes.len() % 4, 0);
        let mut compound = written(|w| assert!(w.receiver_report(3, &[])));
        compound.extend_from_slice(&bytes);
        let packets: Vec<_> = Compound::parse(&compound).unwrap().packets().collect();
        let Packet::SourceDescription(chunks) = packets[1] else { panic!("{packets:?}") };
        assert_eq!(chunks.map(|(_, _, text)| text.len()).collect::<Vec<_>>(), [len]);
    }
}

#[test]
fn several_chunks_and_items_are_read_rfc_3550_6_5() {
    let mut bytes = written(|w| assert!(w.receiver_report(3, &[])));
    let body = [&[0, 0, 0, 1, 1, 1, b'a', 2, 2, b'b', b'c', 0][..], &[0, 0, 0, 2, 1, 2, b'd', b'e', 0, 0, 0, 0]];
    bytes.extend_from_slice(&[0x82, SDES, 0, 6]);
    bytes.extend_from_slice(&body.concat());
    let packets: Vec<_> = Compound::parse(&bytes).unwrap().packets().collect();
    let Packet::SourceDescription(chunks) = packets[1] else { panic!("{packets:?}") };
    assert_eq!(chunks.collect::<Vec<_>>(), [(1, 1, &b"a"[..]), (1, 2, &b"bc"[..]), (2, 1, &b"de"[..])]);
}

#[test]
fn padding_stands_in_the_last_packet_alone_rfc_3550_6_4_1() {
    let padded = [0xa0, RR, 0, 2, 0, 0, 0, 9, 0, 0, 0, 4];
    let packets: Vec<_> = Compound::parse(&padded).unwrap().packets().collect();
    assert!(matches!(packets[..], [Packet::ReceiverReport { ssrc: 9, .. }]));
    let twice = [padded, padded].concat();
    assert_eq!(Compound::parse(&twice), Err(RtcpError::Padding));
    for last in [0, 3, 12, 255] {
        let mut bad = padded;
        bad[11] = last;
        assert_eq!(Compound::parse(&bad), Err(RtcpError::Padding), "{last}");
    }
}

#[test]
fn lengths_and_counts_that_do_not_add_up_are_refused() {
    assert!(matches!(Compound::parse(&[]), Err(RtcpError::TooShort { .. })));
    assert!(matches!(Compound::parse(&[0x80, RR, 0, 2, 0, 0, 0, 1]), Err(RtcpError::TooShort { .. })));
    assert!(matches!(Compound::parse(&[0x81, RR, 0, 1, 0, 0, 0, 1]), Err(RtcpError::Length { expected: 28, .. })));
    assert!(matches!(Compound::parse(&[0x80, SR, 0, 1, 0, 0, 0, 1]), Err(RtcpError::Length { .. })));
    assert!(matches!(Compound::parse(&[0x80, PSFB, 0, 1, 0, 0, 0, 1]), Err(RtcpError::Length { .. })));
    assert_eq!(Compound::parse(&[0x40, RR, 0, 1, 0, 0, 0, 1]), Err(RtcpError::Version(1)));
    assert_eq!(Compound::parse(&[0x81, BYE, 0, 1, 0, 0, 0, 1]), Err(RtcpError::First(BYE)));
    assert!(matches!(Compound::parse(&[0x80, RR, 0, 1, 0, 0, 0, 1, 0x80]), Err(RtcpError::TooShort { .. })));
}

#[test]
fn feedback_may_open_a_packet_of_reduced_size_rfc_5506() {
    let bytes = written(|w| assert!(w.feedback(RTPFB, FMT_NACK, 1, 2, 4).is_some()));
    assert!(Compound::parse(&bytes).is_ok());
}

#[test]
fn a_packet_without_room_is_left_out_whole() {
    let mut buf = [0; 20];
    let mut writer = Writer::new(&mut buf);
    assert!(writer.receiver_report(1, &[]));
    assert!(!writer.cname(1, b"0123456789abcdef"));
    assert!(!writer.sender_report(1, &info(), &[]));
    assert!(writer.bye(1));
    assert_eq!(writer.len(), 16);
}

#[test]
fn cumulative_loss_is_cut_to_24_bits_with_its_sign() {
    for (lost, read) in [(-1, -1), (i32::MIN, -0x80_0000), (i32::MAX, 0x7f_ffff), (0x7f_fffe, 0x7f_fffe)] {
        let bytes = written(|w| assert!(w.receiver_report(1, &[ReportBlock { cumulative_lost: lost, ..block() }])));
        let Some(Packet::ReceiverReport { reports, .. }) = Compound::parse(&bytes).unwrap().packets().next() else {
            panic!()
        };
        assert_eq!(reports.iter().next().unwrap().cumulative_lost, read);
    }
}
