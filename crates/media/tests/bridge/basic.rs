//! First offer and answer: what crosses, what does not, what flows.

use ringfort_media::bridge::{AnswerIn, LegPolicy, SdpReject};
use ringfort_media::codec::CodecAllowList;
use ringfort_media::ports::{PortPool, PortPoolConfig};
use ringfort_media::types::CodecHint;

use super::support::*;

const LAW: &str = "a=rtpmap:8 PCMA/8000; a=rtpmap:0 PCMU/8000; a=rtpmap:101 telephone-event/8000; a=fmtp:101 0-16";

#[test]
fn a_call_is_offered_answered_and_connected_rfc_3264() {
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(plain()));
    let (offered, answered) = call.exchange(
        a,
        b,
        &sdp(1, 1, AUDIO),
        &sdp(2, 1, "m=audio 6000 RTP/AVP 0 101; a=rtpmap:101 telephone-event/8000"),
    );
    assert_eq!(media(&offered), format!("m=audio P RTP/AVP 8 0 101; {LAW}; a=sendrecv"));
    let law = "a=rtpmap:0 PCMU/8000; a=rtpmap:101 telephone-event/8000";
    assert_eq!(media(&answered), format!("m=audio P RTP/AVP 0 101; {law}; a=sendrecv"));
    assert_ne!(origin(&offered).0, origin(&answered).0, "each leg has its own session");
    assert!(offered.contains("\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n"));

    assert!(call.connected(a, b, 0));
    let (to_a, to_b) = (call.config(a, 0), call.config(b, 0));
    assert_eq!((to_a.remote, to_a.remote_rtcp), (at(1, 4000), at(1, 4001)));
    assert_eq!((to_b.remote, to_b.remote_rtcp), (at(2, 6000), at(2, 6001)));
    assert_eq!(to_a.payload_types.iter().collect::<Vec<_>>(), [0, 101]);
    assert_eq!(to_b.payload_types.iter().collect::<Vec<_>>(), [0, 101]);
    assert!(to_a.sends && to_a.receives && to_b.sends && to_b.receives && to_a.send_unproven);
    assert_eq!((to_b.codec, to_b.clock_rate), (CodecHint::G711, 8000));
    assert_eq!(to_a.signalling, Some("192.0.2.99".parse().unwrap()));
    call.hang_up();
}

#[test]
fn nothing_but_the_allow_list_crosses_call_1() {
    let offer = "b=AS:64; a=tool:Phone 1.0; a=group:BUNDLE 0; a=ice-ufrag:abcd; m=audio 4000 RTP/AVP 8 96; i=title; k=prompt;\
        b=TIAS:64000; b=X-PROD:1; a=rtpmap:96 opus/48000/2; a=fmtp:96 useinbandfec=1; a=candidate:1 1 UDP 1 192.0.2.1 1 typ host;\
        a=ice-pwd:x; a=ssrc:1 cname:user@192.0.2.1; a=msid:x y; a=mid:0; a=setup:actpass; a=fingerprint:sha-1 AA; a=x-thing:1;\
        a=rtcp:4001 IN IP4 192.0.2.1; a=ptime:20; a=maxptime:60; a=extmap:1 urn:x; a=label:1; a=rtcp-fb:* nack; a=X-nat:0; a=cname:u";
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(plain()));
    call.bridge.offer_received(a, &sdp(1, 1, offer)).unwrap();
    let expected = "m=audio P RTP/AVP 8 96; b=TIAS:64000; a=rtpmap:8 PCMA/8000; a=rtpmap:96 opus/48000/2; \
        a=fmtp:96 useinbandfec=1; a=ptime:20; a=maxptime:60; a=sendrecv";
    assert_eq!(media(&call.offer_for(b)), expected);
    call.hang_up();
}

#[test]
fn extmap_crosses_both_ways_where_one_leg_passes_header_extensions() {
    let passing = || LegPolicy { pass_extensions: true, ..plain() };
    let line = "m=audio 4000 RTP/AVP 8; a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level; a=extmap:2 urn:x";
    let offered = format!("{line}; a=extmap:3/recvonly urn:ietf:params:rtp-hdrext:toffset");
    for (one, two) in [(plain(), passing()), (passing(), plain())] {
        let mut call = Call::new();
        let (a, b) = (call.bridge.add_leg(one), call.bridge.add_leg(two));
        let (to_b, to_a) = call.exchange(a, b, &sdp(1, 1, &offered), &sdp(2, 1, line));
        let level = "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level";
        let offset = "a=extmap:3/recvonly urn:ietf:params:rtp-hdrext:toffset";
        assert_eq!(media(&to_b), format!("m=audio P RTP/AVP 8; a=rtpmap:8 PCMA/8000; {level}; {offset}; a=sendrecv"));
        assert_eq!(media(&to_a), format!("m=audio P RTP/AVP 8; a=rtpmap:8 PCMA/8000; {level}; a=sendrecv"));
        assert!(call.config(a, 0).pass_extensions ^ call.config(b, 0).pass_extensions);
        call.hang_up();
    }
}

#[test]
fn only_listed_codecs_pass_and_what_refers_to_others_goes_too_call_4() {
    let only = |list: &[&str]| LegPolicy { codecs: CodecAllowList::parse(list).unwrap(), ..plain() };
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(only(&["PCMA", "opus"])), call.bridge.add_leg(only(&["PCMA", "PCMU"])));
    let offer = "m=audio 4000 RTP/AVP 96 9 8 0 97 101 13; a=rtpmap:96 opus/48000/2; a=rtpmap:97 red/8000; a=fmtp:97 8/0;\
        a=rtpmap:101 telephone-event/8000";
    call.bridge.offer_received(a, &sdp(1, 1, offer)).unwrap();
    let expected = "m=audio P RTP/AVP 8 101 13; a=rtpmap:8 PCMA/8000; a=rtpmap:101 telephone-event/8000; a=rtpmap:13 CN/8000; a=sendrecv";
    assert_eq!(media(&call.offer_for(b)), expected);
    call.hang_up();
}

#[test]
fn an_offer_without_an_allowed_codec_is_refused_with_488_and_words() {
    let mut call = Call::new();
    let policy = LegPolicy { codecs: CodecAllowList::parse(&["G729"]).unwrap(), ..plain() };
    let (a, b) = (call.bridge.add_leg(policy.clone()), call.bridge.add_leg(plain()));
    let reject = call.bridge.offer_received(a, &sdp(1, 1, AUDIO)).unwrap_err();
    assert_eq!((reject.status(), reject.warn_code()), (488, 305));
    assert_eq!(reject.to_string(), "no codec of the audio stream is allowed here");

    let mut other = Call::new();
    let (a2, b2) = (other.bridge.add_leg(plain()), other.bridge.add_leg(policy));
    other.bridge.offer_received(a2, &sdp(1, 1, AUDIO)).unwrap();
    let reject = other.bridge.offer_for(other.now, b2, &mut other.ports).unwrap_err();
    assert_eq!(reject, SdpReject::NoCodec { media: "audio" });
    assert!(call.bridge.offer_for(call.now, b, &mut call.ports).is_err(), "there is no offer to make it from");
    call.hang_up();
    other.hang_up();
}

#[test]
fn lines_that_cannot_be_relayed_keep_their_place_with_port_0_rfc_3264_section_6() {
    let offer = format!(
        "m=image 5000 udptl t38; a=T38FaxVersion:0; {AUDIO}; m=application 9 UDP/DTLS/SCTP webrtc-datachannel; m=video 4002 RTP/AVP 34"
    );
    let answer = format!("m=image 0 udptl t38; {AUDIO}; m=application 0 RTP/AVP 98; m=video 6002 RTP/AVP 34");
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(plain()));
    let (offered, answered) = call.exchange(a, b, &sdp(1, 1, &offer), &sdp(2, 1, &answer));
    let lines = |text: &str| -> Vec<String> {
        media(text).split("; ").filter(|line| line.starts_with("m=")).map(str::to_owned).collect()
    };
    let middle = ["m=audio P RTP/AVP 8 0 101", "m=video P RTP/AVP 34"];
    assert_eq!(lines(&offered), ["m=image 0 udptl t38", middle[0], "m=application 0 RTP/AVP 98", middle[1]]);
    assert_eq!(
        lines(&answered),
        ["m=image 0 udptl t38", middle[0], "m=application 0 UDP/DTLS/SCTP webrtc-datachannel", middle[1]]
    );
    assert!(call.connected(a, b, 0) && call.connected(a, b, 1));
    assert_eq!(call.config(a, 1).codec, CodecHint::Video);
    call.hang_up();
}

#[test]
fn an_offer_of_fax_alone_is_refused() {
    let mut call = Call::new();
    let a = call.bridge.add_leg(plain());
    let reject = call.bridge.offer_received(a, &sdp(1, 1, "m=image 5000 udptl t38")).unwrap_err();
    assert_eq!((reject.status(), reject.warn_code()), (488, 304));
}

#[test]
fn a_late_offer_comes_from_the_callee_and_is_answered_in_the_ack_rfc_3264_section_4() {
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(plain()));
    let (offered, answered) = call.exchange(b, a, &sdp(2, 1, AUDIO), &sdp(1, 1, "m=audio 4000 RTP/AVP 8"));
    assert!(offered.contains("RTP/AVP 8 0 101\r\n") && answered.contains("RTP/AVP 8\r\n"));
    assert!(call.connected(a, b, 0));
    assert_eq!(call.bridge.selected(), Some(b));
    call.hang_up();
}

#[test]
fn payload_numbers_may_differ_in_both_directions_rfc_3264_section_5_1() {
    let (call, a, b) = Call::talking(
        plain(),
        plain(),
        "m=audio 4000 RTP/AVP 96; a=rtpmap:96 opus/48000/2",
        "m=audio 6000 RTP/AVP 111; a=rtpmap:111 opus/48000/2",
    );
    assert_eq!(
        call.config(a, 0).payload_types.iter().collect::<Vec<_>>(),
        [111],
        "the caller sends as it was answered"
    );
    assert_eq!(call.config(b, 0).payload_types.iter().collect::<Vec<_>>(), [96], "the callee sends as it was offered");
    assert_eq!((call.config(a, 0).codec, call.config(a, 0).clock_rate), (CodecHint::Opus, 48_000));
    call.hang_up();
}

#[test]
fn an_answer_with_a_codec_that_was_not_offered_does_not_count() {
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(plain()));
    call.bridge.offer_received(a, &sdp(1, 1, "m=audio 4000 RTP/AVP 8")).unwrap();
    call.offer_for(b);
    let reject = call.answer(b, &sdp(2, 1, "m=audio 6000 RTP/AVP 0")).unwrap_err();
    assert_eq!(reject.status(), 488);
    call.answer(b, &sdp(2, 2, "m=audio 6000 RTP/AVP 0 8")).unwrap();
    assert!(call.answer_for(a, AnswerIn::Final).contains("RTP/AVP 8\r\n"));
    call.hang_up();
}

#[test]
fn rtcp_attribute_and_rtcp_mux_are_kept_per_leg_rfc_3605_rfc_5761() {
    let offer = "m=audio 4000 RTP/AVP 8; a=rtcp-mux; a=rtcp:4000";
    let (call, a, b) = Call::talking(plain(), plain(), offer, "m=audio 6000 RTP/AVP 8; a=rtcp:7001 IN IP4 192.0.2.50");
    assert!(call.config(a, 0).rtcp_mux && !call.config(b, 0).rtcp_mux);
    assert_eq!(call.config(a, 0).remote_rtcp, at(1, 4000));
    assert_eq!(call.config(b, 0).remote_rtcp, at(50, 7001));
    call.hang_up();
    let (call, a, b) = Call::talking(plain(), plain(), "m=audio 4000 RTP/AVP 8", "m=audio 6000 RTP/AVP 8; a=rtcp-mux");
    assert!(!call.config(a, 0).rtcp_mux && !call.config(b, 0).rtcp_mux, "mux is not offered to b");
    call.hang_up();
}

#[test]
fn addresses_that_are_no_host_or_of_the_other_family_are_not_sent_to() {
    for connection in
        ["c=IN IP4 224.2.1.1/127", "c=IN IP6 2001:db8::1", "c=IN IP4 phone.example", "c=IN IP4 255.255.255.255"]
    {
        let answer = format!("m=audio 6000 RTP/AVP 8; {connection}");
        let (call, a, b) = Call::talking(plain(), plain(), "m=audio 4000 RTP/AVP 8", &answer);
        assert_eq!((call.config(b, 0).remote, call.config(b, 0).remote_rtcp), (None, None), "{connection}");
        assert!(call.connected(a, b, 0));
        call.hang_up();
    }
}

#[test]
fn ipv6_legs_and_ipv4_legs_talk() {
    let six = LegPolicy::new("2001:db8::5".parse().unwrap(), "2001:db8::7".parse().unwrap());
    let (call, a, b) =
        Call::talking(six, plain(), "m=audio 4000 RTP/AVP 8; c=IN IP6 2001:db8::7", "m=audio 6000 RTP/AVP 8");
    assert_eq!(call.config(a, 0).remote, Some("[2001:db8::7]:4000".parse().unwrap()));
    assert!(!call.config(a, 0).send_unproven, "a guest");
    assert_eq!(call.config(b, 0).remote, at(2, 6000));
    call.hang_up();
}

#[test]
fn without_a_port_the_call_is_refused_with_503_and_nothing_is_kept() {
    let pool = PortPool::new(PortPoolConfig { first: 10_000, last: 10_003, ..PortPoolConfig::default() });
    let mut call = Call::with_pool(pool, 1);
    let legs: Vec<_> = (0..3).map(|_| call.bridge.add_leg(plain())).collect();
    call.bridge.offer_received(legs[0], &sdp(1, 1, AUDIO)).unwrap();
    call.offer_for(legs[1]);
    let reject = call.bridge.offer_for(call.now, legs[2], &mut call.ports).unwrap_err();
    assert_eq!(reject.status(), 503);
    assert!(call.bridge.streams(legs[2]).is_empty());
    call.hang_up();
}

#[test]
fn broken_descriptions_and_calls_out_of_turn_change_nothing() {
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(plain()));
    let reject = call.bridge.offer_received(a, b"v=0\r\nnonsense\r\n").unwrap_err();
    assert_eq!(
        (reject.status(), reject.to_string()),
        (400, "bad session description: line 2: expected LETTER=VALUE".into())
    );
    assert_eq!(call.answer(b, &sdp(2, 1, AUDIO)), Err(SdpReject::NoOffer));
    assert_eq!(call.bridge.offer_for(call.now, b, &mut call.ports), Err(SdpReject::NoSource));
    call.bridge.offer_received(a, &sdp(1, 1, AUDIO)).unwrap();
    assert_eq!(call.bridge.offer_received(a, &sdp(1, 2, AUDIO)), Err(SdpReject::OfferPending));
    assert_eq!(call.bridge.offer_received(b, &sdp(2, 2, AUDIO)), Err(SdpReject::OfferPending), "RFC 3261 §14.1: 491");
    assert_eq!(
        call.bridge.answer_for(call.now, a, AnswerIn::Final, &mut call.ports),
        Err(SdpReject::NoSource),
        "nobody has answered"
    );
    call.hang_up();
}

/// Media lines with those names, all on.
fn many(names: &[&str]) -> String {
    let line =
        |(n, name): (usize, &&str)| format!("m={name} {} RTP/AVP 96; a=rtpmap:96 {}", 4000 + 2 * n, rtpmap(name));
    names.iter().enumerate().map(line).collect::<Vec<_>>().join("; ")
}

fn rtpmap(name: &str) -> &'static str {
    match name {
        "audio" => "opus/48000/2",
        "text" => "t140/1000",
        _ => "H264/90000",
    }
}

#[test]
fn an_offer_of_32_lines_takes_four_ports_and_the_others_are_refused_with_port_0() {
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(plain()));
    let mut names = ["video"; 32];
    (names[0], names[1], names[30]) = ("text", "video", "audio");
    call.bridge.offer_received(a, &sdp(1, 1, &many(&names))).unwrap();
    let offered = call.offer_for(b);
    assert_eq!(call.ports.streams(), 8, "four on each leg");
    let on = |text: &str| -> Vec<usize> {
        let lines = text.lines().filter(|line| line.starts_with("m=")).enumerate();
        lines.filter(|(_, line)| !line.contains(" 0 RTP")).map(|(index, _)| index).collect()
    };
    assert_eq!(on(&offered), [0, 1, 2, 30], "the audio line stays, however late it comes");
    assert_eq!(offered.matches("m=").count(), 32, "each line keeps its place");
    call.answer(b, &sdp(2, 1, &many(&names))).unwrap();
    let answered = call.answer_for(a, AnswerIn::Final);
    assert_eq!(on(&answered), [0, 1, 2, 30], "what was not offered cannot be turned on by an answer");
    assert_eq!(answered.matches("m=").count(), 32);
    assert_eq!(call.ports.streams(), 8);
    call.hang_up();
}

#[test]
fn a_line_that_makes_room_lets_another_in_and_a_leg_may_have_fewer_than_the_other() {
    let mut call = Call::new();
    let narrow = LegPolicy { max_lines: 1, ..plain() };
    let (a, b) = (call.bridge.add_leg(LegPolicy { max_lines: 2, ..plain() }), call.bridge.add_leg(narrow));
    let offer = many(&["audio", "video", "video"]);
    let (offered, answered) = call.exchange(a, b, &sdp(1, 1, &offer), &sdp(2, 1, &many(&["audio", "video", "video"])));
    assert_eq!(offered.matches(" 0 RTP/AVP").count(), 2);
    assert_eq!(answered.matches(" 0 RTP/AVP").count(), 2);
    let mut call = Call::new();
    let two = LegPolicy { max_lines: 2, ..plain() };
    let (a, b) = (call.bridge.add_leg(two.clone()), call.bridge.add_leg(two));
    call.exchange(a, b, &sdp(1, 1, &offer), &sdp(2, 1, &offer));
    let moved = offer.replace("m=video 4002", "m=video 0");
    let (offered, _) = call.exchange(a, b, &sdp(1, 2, &moved), &sdp(2, 2, &moved));
    assert!(!offered.lines().filter(|line| line.starts_with("m=")).nth(2).unwrap().contains(" 0 RTP"), "{offered}");
    assert_eq!(call.ports.streams(), 4);
    call.hang_up();
}
