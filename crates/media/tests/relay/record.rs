//! What a stream's peer says, as it is recorded: in order, at its time, for as long as it may be.

use std::time::Duration;

use ringfort_media::g711::Law;
use ringfort_media::g722;
use ringfort_media::relay::Verdict;
use ringfort_media::sound::VoiceCodec;
use ringfort_media::types::*;

use crate::harness::*;

const A: &str = "192.0.2.1:4000";
const LOUD: u8 = 0x15;
const FRAME: Duration = Duration::from_millis(20);

fn recording(codec: VoiceCodec) -> Recording {
    let payload_type = if codec == VoiceCodec::G722 { 9 } else { 8 };
    let (quiet, longest) = (Duration::from_secs(10), Duration::from_secs(180));
    Recording { id: RecordId(5), payload_type, codec, quiet, longest }
}

/// A stream that has learned its peer, and is recorded from now on.
fn recorded(recording: Recording) -> (Net, Phone) {
    let mut net = Net::new();
    let remote = StreamConfig { payload_types: [8, 9, 101].into_iter().collect(), ..config(A) };
    net.stream(1, PORT, remote);
    let mut a = Phone::new(A, 0x11);
    (a.rtp.fill, a.rtp.payload_type) = (LOUD, recording.payload_type);
    for _ in 0..5 {
        let _ = net.talk(PORT, &mut a);
    }
    net.events();
    net.command(Command::Record { id: StreamId(1), recording });
    (net, a)
}

fn send(net: &mut Net, packet: Rtp) -> Result<Out, Verdict> {
    net.send(PORT, false, addr(A), &packet.bytes())
}

fn pieces(net: &mut Net) -> Vec<Piece> {
    std::iter::from_fn(|| net.relay.poll_piece()).collect()
}

/// All samples, and what the last piece says.
fn whole(net: &mut Net) -> (Vec<i16>, Option<Recorded>) {
    let pieces = pieces(net);
    let last = pieces.iter().find_map(|piece| piece.last);
    (pieces.into_iter().flat_map(|piece| piece.samples).collect(), last)
}

fn says(net: &mut Net, a: &mut Phone, frames: u32) {
    for _ in 0..frames {
        assert_eq!(send(net, a.next()), Err(Verdict::Consumed));
        net.run(FRAME);
    }
}

fn stop(net: &mut Net) {
    net.command(Command::StopRecording { id: StreamId(1) });
}

#[test]
fn what_a_peer_says_comes_out_sample_by_sample() {
    let (mut net, mut a) = recorded(recording(VoiceCodec::Pcma));
    says(&mut net, &mut a, 100);
    stop(&mut net);
    let (samples, last) = whole(&mut net);
    assert_eq!(samples.len(), 16_000);
    assert!(samples.iter().all(|&sample| sample == Law::A.decode(LOUD)));
    assert_eq!(last, Some(Recorded { end: RecordEnd::Stopped, heard: Duration::from_secs(2) }));
    assert_eq!(send(&mut net, a.next()), dropped(DropReason::NoPartner), "it is not recorded any more");
}

#[test]
fn pieces_come_while_it_goes_on_and_the_end_of_the_stream_is_the_end_of_the_recording() {
    let (mut net, mut a) = recorded(recording(VoiceCodec::Pcma));
    says(&mut net, &mut a, 100);
    let first = pieces(&mut net);
    assert!(first.len() >= 3 && first.iter().all(|piece| piece.id == RecordId(5) && piece.last.is_none()));
    net.command(Command::Close { id: StreamId(1) });
    let (rest, last) = whole(&mut net);
    assert_eq!(first.iter().map(|piece| piece.samples.len()).sum::<usize>() + rest.len(), 16_000);
    assert_eq!(last.map(|last| last.end), Some(RecordEnd::Stopped));
}

#[test]
fn what_is_lost_is_silence_and_what_was_overtaken_is_put_in_its_place() {
    let (mut net, mut a) = recorded(recording(VoiceCodec::Pcma));
    says(&mut net, &mut a, 10);
    a.next();
    let (mut late, mut early) = (a.next(), a.next());
    (late.fill, early.fill) = (0x25, 0x35);
    for packet in [early, late] {
        assert_eq!(send(&mut net, packet), Err(Verdict::Consumed));
        net.run(FRAME);
    }
    says(&mut net, &mut a, 10);
    stop(&mut net);
    let (samples, _) = whole(&mut net);
    let frame = |n: usize| {
        let frame = &samples[160 * n..160 * (n + 1)];
        assert!(frame.iter().all(|sample| sample == &frame[0]), "frame {n}");
        frame[0]
    };
    assert_eq!(samples.len(), 23 * 160);
    assert_eq!([frame(9), frame(10)], [Law::A.decode(LOUD), 0]);
    assert_eq!([frame(11), frame(12), frame(13)], [0x25, 0x35, LOUD].map(|octet| Law::A.decode(octet)));
}

#[test]
fn a_peer_that_sends_nothing_for_a_while_leaves_as_much_silence() {
    let (mut net, mut a) = recorded(recording(VoiceCodec::Pcma));
    says(&mut net, &mut a, 50);
    net.run(Duration::from_secs(3));
    a.rtp.timestamp = a.rtp.timestamp.wrapping_add(24_000);
    says(&mut net, &mut a, 50);
    // Another source, with numbers of its own.
    net.run(Duration::from_secs(1));
    (a.rtp.ssrc, a.rtp.timestamp, a.rtp.sequence) = (0x77, 5, 9_000);
    // Its first packet alone is not believed (RFC 3550 §A.1).
    assert_eq!(send(&mut net, a.next()), Err(Verdict::Drop(DropReason::Ssrc)));
    net.run(FRAME);
    says(&mut net, &mut a, 49);
    stop(&mut net);
    let (samples, last) = whole(&mut net);
    let loud = |second: usize| samples[8_000 * second..8_000 * (second + 1)].iter().filter(|&&s| s != 0).count();
    assert_eq!([0, 1, 2, 3, 4, 5].map(loud), [8_000, 0, 0, 0, 8_000, 0]);
    assert!(loud(6) >= 7_000, "{}", loud(6));
    assert!(last.is_some_and(|last| last.heard >= Duration::from_millis(6_900)), "{last:?}");
}

#[test]
fn it_ends_by_itself_when_nothing_is_heard_and_says_how_far_something_was() {
    let (mut net, mut a) = recorded(recording(VoiceCodec::Pcma));
    says(&mut net, &mut a, 100);
    a.rtp.fill = Law::A.encode(0);
    says(&mut net, &mut a, 495);
    assert_eq!(net.events(), []);
    net.run(Duration::from_millis(600));
    let end = RecordEnd::Quiet;
    assert_eq!(net.events(), [Event::Recorded { id: StreamId(1), record: RecordId(5), end }]);
    let (_, last) = whole(&mut net);
    assert_eq!(last, Some(Recorded { end, heard: Duration::from_secs(2) }));
}

#[test]
fn it_ends_when_it_is_long_enough_and_has_no_sample_more() {
    let longest = Duration::from_millis(2_500);
    let (mut net, mut a) = recorded(Recording { longest, ..recording(VoiceCodec::Pcma) });
    for _ in 0..200 {
        let _ = send(&mut net, a.next());
        net.run(FRAME);
    }
    let end = RecordEnd::Longest;
    assert_eq!(net.events(), [Event::Recorded { id: StreamId(1), record: RecordId(5), end }]);
    let (samples, last) = whole(&mut net);
    assert_eq!((samples.len(), last.map(|last| last.end)), (20_000, Some(end)));
}

#[test]
fn g722_has_twice_the_samples_and_events_are_silence() {
    let (mut net, mut a) = recorded(recording(VoiceCodec::G722));
    says(&mut net, &mut a, 50);
    let mut digit = a.next();
    digit.payload_type = 101;
    assert_eq!(send(&mut net, digit), Err(Verdict::Consumed));
    net.run(FRAME);
    says(&mut net, &mut a, 1);
    stop(&mut net);
    let pieces = pieces(&mut net);
    assert!(pieces.iter().all(|piece| piece.wide));
    let samples: Vec<i16> = pieces.into_iter().flat_map(|piece| piece.samples).collect();
    assert_eq!(samples.len(), 52 * 320);
    let mut decoder = g722::Decoder::default();
    let expected: Vec<i16> = (0..50 * 160).flat_map(|_| decoder.decode(LOUD)).collect();
    assert_eq!(samples[..50 * 320], expected[..]);
    assert!(samples[50 * 320..51 * 320].iter().all(|&sample| sample == 0));
}

#[test]
fn a_stream_with_a_partner_is_relayed_and_recorded() {
    let mut net = Net::new();
    net.call(config(A), StreamConfig { send_unproven: true, ..config("192.0.2.2:5000") });
    let mut a = Phone::new(A, 0x11);
    for _ in 0..5 {
        let _ = net.talk(PORT, &mut a);
    }
    net.command(Command::Record { id: StreamId(1), recording: recording(VoiceCodec::Pcma) });
    assert!(send(&mut net, a.next()).is_ok());
    stop(&mut net);
    assert_eq!(whole(&mut net).0.len(), 160);
}
