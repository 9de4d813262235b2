//! Answers of a call that this system takes itself: tones and prompts.

use ringfort_media::bridge::{AnswerIn, Ear, SdpReject};
use ringfort_media::sound::VoiceCodec;

use crate::support::*;

const OFFER: &str = "m=audio 4000 RTP/AVP 97 9 8 101; a=rtpmap:97 opus/48000/2; a=rtpmap:101 telephone-event/8000";

#[test]
fn the_first_codec_that_sounds_can_be_played_in_is_taken_and_the_rest_refused() {
    let mut call = Call::new();
    let a = call.bridge.add_leg(plain());
    let video = "m=video 5000 RTP/AVP 96; a=rtpmap:96 VP8/90000; m=audio 6000 RTP/AVP 0";
    call.bridge.offer_received(a, &sdp(1, 1, &format!("{OFFER}; {video}"))).expect("a good offer");
    let text = call.bridge.answer_ourselves(call.now, a, AnswerIn::Final, &mut call.ports).expect("G.722 will do");
    call.run();
    let text = String::from_utf8(text.to_vec()).expect("it is text");
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert!(lines[0].ends_with(" RTP/AVP 9"), "{text}");
    assert_eq!(lines[1..], ["m=video 0 RTP/AVP 96", "m=audio 0 RTP/AVP 0"], "{text}");
    let stream = call.bridge.streams(a)[0].0;
    assert_eq!(call.bridge.ear(a), Some(Ear { stream, payload_type: 9, codec: VoiceCodec::G722 }));
    let config = call.flows[&stream].config.as_ref().expect("it is configured");
    assert!(config.sends && config.receives && config.payload_types.contains(9) && !config.payload_types.contains(8));
}

#[test]
fn sounds_go_out_under_the_number_that_the_peer_gave_the_codec() {
    let mut call = Call::new();
    let a = call.bridge.add_leg(plain());
    call.bridge
        .offer_received(a, &sdp(1, 1, "m=audio 4000 RTP/AVP 100; a=rtpmap:100 pcma/8000"))
        .expect("a good offer");
    assert_eq!(call.bridge.ear(a), None, "nothing is agreed yet");
    call.bridge.answer_ourselves(call.now, a, AnswerIn::Final, &mut call.ports).expect("an answer");
    call.run();
    let ear = call.bridge.ear(a).expect("there is one");
    assert_eq!((ear.payload_type, ear.codec), (100, VoiceCodec::Pcma));
}

#[test]
fn an_offer_without_such_a_codec_is_refused_and_leaves_no_port_behind() {
    let mut call = Call::new();
    let a = call.bridge.add_leg(plain());
    let offer = sdp(1, 1, "m=audio 4000 RTP/AVP 97; a=rtpmap:97 opus/48000/2");
    call.bridge.offer_received(a, &offer).expect("a good offer");
    let refused = call.bridge.answer_ourselves(call.now, a, AnswerIn::Final, &mut call.ports);
    assert_eq!(refused.map(|_| ()), Err(SdpReject::NoCodec { media: "audio" }));
    call.bridge.close(call.now, &mut call.ports);
    call.run();
    assert_eq!(call.ports.open_ports(), 0);
}

#[test]
fn early_media_goes_on_in_the_answer_and_a_ringing_caller_can_be_given_to_somebody() {
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(plain()));
    call.bridge.offer_received(a, &sdp(1, 1, AUDIO)).expect("a good offer");
    call.bridge.answer_ourselves(call.now, a, AnswerIn::Provisional, &mut call.ports).expect("a 183");
    call.run();
    let early = call.bridge.ear(a).expect("it can hear a tone");
    call.offer_for(b);
    call.answer(b, &sdp(2, 1, "m=audio 4100 RTP/AVP 8")).expect("a good answer");
    let text = call.answer_for(a, AnswerIn::Final);
    assert!(text.contains("m=audio"), "{text}");
    assert_eq!(call.bridge.ear(a).map(|ear| ear.stream), Some(early.stream), "one stream all the time");
}

#[test]
fn over_srtp_our_answer_has_keys() {
    let mut call = Call::new();
    let a = call.bridge.add_leg(secure());
    let offer =
        "m=audio 4000 RTP/SAVP 0; a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5";
    call.bridge.offer_received(a, &sdp(1, 1, offer)).expect("a good offer");
    let text = call.bridge.answer_ourselves(call.now, a, AnswerIn::Final, &mut call.ports).expect("an answer");
    call.run();
    assert!(String::from_utf8_lossy(&text).contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80"));
    let stream = call.bridge.streams(a)[0].0;
    let config = call.flows[&stream].config.as_ref().expect("it is configured");
    assert!(config.tx_keys.is_some() && config.rx_keys.is_some());
}
