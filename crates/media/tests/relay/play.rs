//! Sounds of our own in a stream: when, as what, and what becomes of the partner's voice meanwhile.

use std::sync::Arc;
use std::time::Duration;

use ringfort_media::g711::Law;
use ringfort_media::relay::Verdict;
use ringfort_media::sound::{Country, Part, Signal, Sound, Tone, VoiceCodec};
use ringfort_media::srtp::Context;
use ringfort_media::types::*;

use crate::harness::*;

const A: &str = "192.0.2.1:4000";
const B: &str = "192.0.2.2:5000";

fn tone(millis: u64) -> Sound {
    Sound::once(vec![Part::Tone(Tone::single(1000), Duration::from_millis(millis))])
}

fn play(net: &mut Net, id: u64, play: u64, sound: Sound) {
    let sound = Arc::new(sound);
    let playback = Playback { id: PlayId(play), payload_type: 8, codec: VoiceCodec::Pcma, sound };
    net.command(Command::Play { id: StreamId(id), playback: Box::new(playback) });
}

fn proven(remote: &str) -> StreamConfig {
    StreamConfig { send_unproven: true, ..config(remote) }
}

fn voice(sent: Vec<Out>) -> Vec<Out> {
    sent.into_iter().filter(|out| !out.is_rtcp).collect()
}

#[test]
fn a_stream_without_a_partner_hears_a_sound_in_frames_of_20_ms_and_its_end_is_told() {
    let mut net = Net::new();
    net.stream(1, PORT, proven(A));
    play(&mut net, 1, 7, tone(500));
    let sent = voice(net.run(Duration::from_secs(2)));
    assert_eq!(sent.len(), 25);
    for (index, pair) in sent.windows(2).enumerate() {
        let (before, after) = (pair[0].header(), pair[1].header());
        assert_eq!(before.marker, index == 0, "the begin of a talkspurt (RFC 3551 §4.1)");
        assert_eq!(after.sequence, before.sequence.wrapping_add(1));
        assert_eq!(after.timestamp, before.timestamp.wrapping_add(160));
        assert_eq!((after.ssrc, after.payload_type), (before.ssrc, 8));
    }
    assert!(sent.iter().all(|out| out.dest == addr(A) && out.port == PORT && out.payload().len() == 160));
    assert!(sent[3].payload().iter().any(|&octet| Law::A.decode(octet).unsigned_abs() > 3_000));
    assert_eq!(net.events(), [Event::Played { id: StreamId(1), play: PlayId(7) }]);
    assert_eq!(net.report(1).sent.packets, 25);
}

#[test]
fn a_sound_takes_the_partners_place_and_the_peer_hears_one_stream_all_the_time() {
    let mut net = Net::new();
    net.call(proven(A), proven(B));
    let (mut a, mut b) = (Phone::new(A, 0x11), Phone::new(B, 0x22));
    for _ in 0..5 {
        net.talk(PORT, &mut a).unwrap();
        net.talk(PORT_B, &mut b).unwrap();
    }
    let last = net.talk(PORT_B, &mut b).unwrap().header();
    play(&mut net, 1, 1, tone(100));
    let sent = voice(net.run(Duration::from_millis(50)));
    assert_eq!(sent.len(), 3);
    let packet = b.next();
    assert_eq!(net.send(PORT_B, false, b.source, &packet.bytes()), Err(Verdict::Consumed), "b is not heard");
    assert!(net.talk(PORT, &mut a).is_ok(), "a is, by b");
    let more = voice(net.run(Duration::from_millis(200)));
    assert_eq!(more.len(), 2);
    let again = net.talk(PORT_B, &mut b).unwrap().header();
    let mut all = vec![last];
    all.extend(sent.iter().chain(&more).map(Out::header));
    all.push(again);
    for pair in all.windows(2) {
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert!(pair[1].timestamp.wrapping_sub(pair[0].timestamp) < 8_000, "{pair:?}");
        assert_ne!(pair[1].timestamp, pair[0].timestamp);
    }
    assert_eq!(net.drops(2, DropReason::NoPartner), 0);
}

#[test]
fn a_peer_with_srtp_hears_sounds_encrypted() {
    for suite in CryptoSuite::ALL {
        let mut net = Net::new();
        let secure = StreamConfig { rx_keys: Some(keys(suite, 1)), tx_keys: Some(keys(suite, 2)), ..proven(A) };
        net.stream(1, PORT, secure);
        play(&mut net, 1, 1, tone(60));
        let mut rx = Context::new(&keys(suite, 2));
        let sent = voice(net.run(Duration::from_secs(1)));
        assert_eq!(sent.len(), 3);
        for out in sent {
            let mut packet = out.bytes;
            let len = rx.unprotect_rtp(&mut packet).unwrap();
            assert_eq!(len, 172, "{suite}");
        }
    }
}

#[test]
fn a_sound_goes_on_unheard_while_there_is_nowhere_to_send_it() {
    let mut net = Net::new();
    net.stream(1, PORT, config(A));
    play(&mut net, 1, 1, tone(1_000));
    assert_eq!(voice(net.run(Duration::from_millis(500))), [], "an unproven peer gets nothing (CALL-5)");
    let mut a = Phone::new(A, 0x11);
    for _ in 0..3 {
        let _ = net.talk(PORT, &mut a);
    }
    let heard = voice(net.run(Duration::from_secs(2))).len();
    assert!((20..=25).contains(&heard), "{heard}: what is left of the second");
    net.configure(1, StreamConfig { sends: false, ..config(A) }, false);
    play(&mut net, 1, 2, tone(100));
    assert_eq!(voice(net.run(Duration::from_secs(1))), [], "on hold");
    assert!(net.events().contains(&Event::Played { id: StreamId(1), play: PlayId(2) }));
}

#[test]
fn another_sound_replaces_the_first_and_a_stop_ends_it_without_an_event() {
    let mut net = Net::new();
    net.stream(1, PORT, proven(A));
    play(&mut net, 1, 1, Country::De.sound(Signal::Ringing));
    assert_eq!(voice(net.run(Duration::from_secs(10))).len(), 501);
    play(&mut net, 1, 2, Country::De.sound(Signal::Busy));
    assert_eq!(voice(net.run(Duration::from_secs(1))).len(), 51, "one frame in 20 ms, not two");
    net.command(Command::StopPlaying { id: StreamId(1) });
    assert_eq!(voice(net.run(Duration::from_secs(1))), []);
    assert_eq!(net.events(), []);
}

#[test]
fn a_thread_that_was_late_leaves_frames_out_and_does_not_send_a_burst() {
    let mut net = Net::new();
    net.stream(1, PORT, proven(A));
    play(&mut net, 1, 1, tone(2_000));
    assert_eq!(voice(net.run(Duration::from_millis(100))).len(), 6);
    net.ms(1_000);
    let sent = voice(net.run(Duration::from_millis(20)));
    assert!((1..=7).contains(&sent.len()), "{}", sent.len());
    let rest = voice(net.run(Duration::from_secs(5)));
    assert!(rest.len() < 50, "{}: it ends when it would have", rest.len());
    assert_eq!(net.events().len(), 1);
}

#[test]
fn closing_a_stream_ends_its_sound_and_nothing_is_kept() {
    let mut net = Net::new();
    for round in 0..50 {
        net.stream(round, PORT, proven(A));
        play(&mut net, round, round, Country::Us.sound(Signal::Busy));
        net.ms(20);
        net.close(round);
    }
    assert_eq!(voice(net.run(Duration::from_secs(60))), []);
    assert_eq!(net.relay.poll_timeout(), None, "nothing waits");
}
