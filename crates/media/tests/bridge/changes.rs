//! Hold, resume, re-offers from either side, refreshes, failures.

use std::time::Duration;

use ringfort_media::bridge::{AnswerIn, LegPolicy};
use ringfort_media::codec::CodecAllowList;
use ringfort_media::ports::{PortPool, PortPoolConfig};
use ringfort_media::types::CodecHint;

use super::support::*;

fn call() -> (Call, ringfort_media::bridge::LegIx, ringfort_media::bridge::LegIx) {
    Call::talking(plain(), plain(), AUDIO, &AUDIO.replace("4000", "6000"))
}

fn direction(text: &str) -> &str {
    text.lines().rev().find_map(|line| line.strip_prefix("a=")).unwrap()
}

#[test]
fn sendonly_is_answered_recvonly_and_resume_gives_sendrecv_rfc_3264_section_8_4() {
    let (mut call, a, b) = call();
    let callee = AUDIO.replace("4000", "6000");
    for (offer, answer, expected) in [
        ("sendonly", "recvonly", "recvonly"),
        ("sendonly", "sendrecv", "recvonly"),
        ("sendonly", "inactive", "inactive"),
        ("inactive", "inactive", "inactive"),
        ("inactive", "sendrecv", "inactive"),
        ("recvonly", "sendonly", "sendonly"),
        ("sendrecv", "sendrecv", "sendrecv"),
    ] {
        let offer_sdp = sdp(1, 2, &format!("{AUDIO}; a={offer}"));
        let (offered, answered) = call.exchange(a, b, &offer_sdp, &sdp(2, 2, &format!("{callee}; a={answer}")));
        assert_eq!((direction(&offered), direction(&answered)), (offer, expected), "answered {answer}");
        let (one, other) = (call.config(a, 0), call.config(b, 0));
        assert_eq!(
            (one.sends, one.receives),
            (expected.starts_with("send"), expected.ends_with("recv") || expected == "recvonly")
        );
        assert_eq!((one.sends, one.receives), (other.receives, other.sends));
        assert!(call.connected(a, b, 0));
    }
    assert!(call.flows.values().all(|flow| flow.relearned == 0), "nobody moved");
    call.hang_up();
}

#[test]
fn an_address_of_zeros_is_hold_and_does_not_make_the_stream_learn_anew_rfc_3264_section_8_4() {
    let (mut call, a, b) = call();
    let callee = AUDIO.replace("4000", "6000");
    let held = sdp(1, 2, &format!("{AUDIO}; c=IN IP4 0.0.0.0"));
    let (offered, answered) = call.exchange(a, b, &held, &sdp(2, 2, &format!("{callee}; a=recvonly")));
    assert_eq!((direction(&offered), direction(&answered)), ("sendonly", "recvonly"));
    assert!(!call.config(a, 0).sends && call.config(a, 0).receives && call.config(a, 0).remote.is_none());
    call.exchange(a, b, &sdp(1, 3, AUDIO), &sdp(2, 3, &callee));
    assert!(call.config(a, 0).sends && call.config(a, 0).remote == at(1, 4000));
    assert!(call.flows.values().all(|flow| flow.relearned == 0));
    call.hang_up();
}

#[test]
fn both_sides_may_hold_and_resume_in_any_order() {
    let (mut call, a, b) = call();
    let callee = AUDIO.replace("4000", "6000");
    let with = |media: &str, direction: &str| format!("{media}; a={direction}");
    call.exchange(a, b, &sdp(1, 2, &with(AUDIO, "sendonly")), &sdp(2, 2, &with(&callee, "recvonly")));
    let (_, answered) =
        call.exchange(b, a, &sdp(2, 3, &with(&callee, "sendonly")), &sdp(1, 3, &with(AUDIO, "inactive")));
    assert_eq!(direction(&answered), "inactive");
    let (_, answered) =
        call.exchange(a, b, &sdp(1, 4, &with(AUDIO, "sendrecv")), &sdp(2, 4, &with(&callee, "sendonly")));
    assert_eq!(direction(&answered), "sendonly");
    let (_, answered) = call.exchange(b, a, &sdp(2, 5, &callee), &sdp(1, 5, AUDIO));
    assert_eq!(direction(&answered), "sendrecv");
    assert!(call.config(a, 0).sends && call.config(a, 0).receives);
    call.hang_up();
}

#[test]
fn the_version_goes_up_by_one_exactly_when_our_text_changes_rfc_3264_section_8() {
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(plain()));
    let callee = AUDIO.replace("4000", "6000");
    let (offered, answered) = call.exchange(a, b, &sdp(1, 1, AUDIO), &sdp(2, 1, &callee));
    let (first_b, first_a) = (origin(&offered), origin(&answered));
    let (offered, answered) = call.exchange(a, b, &sdp(1, 1, AUDIO), &sdp(2, 1, &callee));
    assert_eq!((origin(&offered), origin(&answered)), (first_b, first_a), "nothing changed");
    let hold = format!("{AUDIO}; a=sendonly");
    let (offered, answered) = call.exchange(a, b, &sdp(1, 2, &hold), &sdp(2, 2, &format!("{callee}; a=recvonly")));
    assert_eq!(origin(&offered), (first_b.0, first_b.1 + 1));
    assert_eq!(origin(&answered), (first_a.0, first_a.1 + 1));
    call.hang_up();
}

#[test]
fn a_peer_that_moves_is_learned_anew_and_keeps_our_port() {
    let (mut call, a, b) = call();
    call.learn_all();
    let before = call.stream(a, 0);
    call.exchange(a, b, &sdp(1, 2, &AUDIO.replace("4000", "4444")), &sdp(2, 1, &AUDIO.replace("4000", "6000")));
    assert_eq!(call.stream(a, 0), before);
    assert_eq!(call.flows[&before.0].relearned, 1);
    assert_eq!(call.flows[&call.stream(b, 0).0].relearned, 0);
    assert_eq!(call.config(a, 0).remote, at(1, 4444));
    assert!(!call.ports.can_relearn(call.stream(b, 0).0) || call.stream(b, 0).1 != before.1);
    call.hang_up();
}

#[test]
fn a_peer_that_moves_while_another_learns_on_its_port_gets_another_port_call_5() {
    let (mut call, a, b) = call();
    call.learn_all();
    let before = call.stream(a, 0);
    let stranger = call.ports.next_stream();
    assert_eq!(call.ports.acquire(call.now, stranger), Some(before.1), "a call of somebody else");
    call.bridge.offer_received(a, &sdp(1, 2, &AUDIO.replace("4000", "4444"))).unwrap();
    call.offer_for(b);
    call.answer(b, &sdp(2, 1, &AUDIO.replace("4000", "6000"))).unwrap();
    call.answer_for(a, AnswerIn::Final);
    let after = call.stream(a, 0);
    assert_ne!(after.1, before.1);
    assert_eq!(call.closed, [before.0]);
    assert!(call.connected(a, b, 0));
    call.ports.release(call.now, stranger);
    call.hang_up();
}

#[test]
fn codecs_change_by_a_re_offer_from_either_side() {
    let (mut call, a, b) = call();
    let opus = "m=audio 6000 RTP/AVP 96; a=rtpmap:96 opus/48000/2";
    let (offered, answered) = call.exchange(b, a, &sdp(2, 2, opus), &sdp(1, 2, &opus.replace("6000", "4000")));
    assert!(offered.contains(" 96\r\n") && answered.contains(" 96\r\n"));
    assert_eq!((call.config(a, 0).codec, call.config(b, 0).clock_rate), (CodecHint::Opus, 48_000));
    assert_eq!(call.config(a, 0).payload_types.iter().collect::<Vec<_>>(), [96]);
    call.hang_up();
}

#[test]
fn an_offerer_takes_the_new_payload_types_before_the_answer_rfc_3264_section_8_3_2() {
    let (mut call, a, b) = call();
    call.bridge.offer_received(a, &sdp(1, 2, "m=audio 4000 RTP/AVP 9")).unwrap();
    call.offer_for(b);
    assert_eq!(call.config(b, 0).payload_types.iter().collect::<Vec<_>>(), [0, 8, 9, 101]);
    assert_eq!(call.config(a, 0).payload_types.iter().collect::<Vec<_>>(), [0, 8, 101]);
    call.answer(b, &sdp(2, 2, "m=audio 6000 RTP/AVP 9")).unwrap();
    call.answer_for(a, AnswerIn::Final);
    assert_eq!(call.config(b, 0).payload_types.iter().collect::<Vec<_>>(), [9]);
    call.hang_up();
}

#[test]
fn a_refused_re_offer_leaves_everything_as_it_was_rfc_3261_section_14_1() {
    let (mut call, a, b) = call();
    let (config_a, config_b) = (call.config(a, 0).clone(), call.config(b, 0).clone());
    let streams = (call.bridge.streams(a), call.bridge.streams(b));
    let more = format!("{}; m=video 4002 RTP/AVP 34", AUDIO.replace("8 0 101", "9 101").replace("4000", "4004"));
    call.bridge.offer_received(a, &sdp(1, 2, &more)).unwrap();
    let failed = call.offer_for(b);
    assert_eq!(call.ports.streams(), 4, "ports for video are held");
    call.rollback();
    assert_eq!(call.ports.streams(), 2);
    assert_eq!((call.bridge.streams(a), call.bridge.streams(b)), streams);
    assert_eq!((call.config(a, 0), call.config(b, 0)), (&config_a, &config_b));
    assert!(call.connected(a, b, 0));

    let refreshed = readable(call.bridge.refresh_offer(b).unwrap());
    assert_eq!(origin(&refreshed).1, origin(&failed).1 + 1, "what was sent between does not count back");
    call.answer(b, &sdp(2, 1, &AUDIO.replace("4000", "6000"))).unwrap();
    assert!(call.bridge.is_refresh(a, &sdp(1, 1, AUDIO)), "the refused offer is forgotten");
    call.hang_up();
}

#[test]
fn a_refused_re_offer_after_an_early_answer_goes_back_too() {
    let (mut call, a, b) = call();
    call.bridge.offer_received(a, &sdp(1, 2, "m=audio 0 RTP/AVP 8; m=audio 4008 RTP/AVP 9")).unwrap();
    call.offer_for(b);
    call.answer(b, &sdp(2, 2, "m=audio 0 RTP/AVP 8; m=audio 6008 RTP/AVP 9")).unwrap();
    call.answer_for(a, AnswerIn::Provisional);
    assert_eq!(call.ports.streams(), 4, "what may come back is kept");
    call.rollback();
    assert_eq!(call.ports.streams(), 2);
    assert!(call.connected(a, b, 0));
    assert_eq!(call.config(a, 0).remote, at(1, 4000));
    call.hang_up();
}

#[test]
fn a_line_is_added_and_taken_away_and_added_again_rfc_3264_section_8_1() {
    let (mut call, a, b) = call();
    let callee = AUDIO.replace("4000", "6000");
    let video =
        |port: u16| format!("m=video {port} RTP/AVP 97; a=rtpmap:97 H264/90000; a=fmtp:97 profile-level-id=42e01f");
    for round in 0..3 {
        call.exchange(
            a,
            b,
            &sdp(1, 2 + round, &format!("{AUDIO}; {}", video(4002))),
            &sdp(2, 2 + round, &format!("{callee}; {}", video(6002))),
        );
        assert!(call.connected(a, b, 1));
        assert_eq!(call.ports.streams(), 4);
        let off = "m=video 0 RTP/AVP 97";
        let (offered, answered) = call.exchange(
            a,
            b,
            &sdp(1, 3 + round, &format!("{AUDIO}; {off}")),
            &sdp(2, 3 + round, &format!("{callee}; {off}")),
        );
        assert!(offered.contains("m=video 0 ") && answered.contains("m=video 0 RTP/AVP 97\r\n"));
        assert_eq!(call.ports.streams(), 2, "the ports of video are free again");
        call.later(Duration::from_secs(10));
    }
    call.hang_up();
}

#[test]
fn a_re_offer_with_fewer_lines_is_answered_in_its_number_and_ours_never_shrink() {
    let two = format!("{AUDIO}; m=video 4002 RTP/AVP 34");
    let (mut call, a, b) = Call::talking(plain(), plain(), &two, &two);
    let (offered, answered) =
        call.exchange(a, b, &sdp(1, 2, AUDIO), &sdp(2, 2, &format!("{AUDIO}; m=video 0 RTP/AVP 34")));
    assert_eq!((offered.matches("m=").count(), answered.matches("m=").count()), (2, 1));
    let (offered, answered) = call.exchange(b, a, &sdp(2, 3, &two), &sdp(1, 3, &two));
    assert_eq!((offered.matches("m=").count(), answered.matches("m=").count()), (2, 2));
    assert!(call.connected(a, b, 0) && call.connected(a, b, 1));
    call.hang_up();
}

#[test]
fn a_session_refresh_is_answered_without_the_other_side_rfc_4028() {
    let (mut call, a, b) = call();
    assert!(call.bridge.is_refresh(a, &sdp(1, 1, AUDIO)) && !call.bridge.is_refresh(a, &sdp(1, 2, AUDIO)));
    call.bridge.offer_received(a, &sdp(1, 1, AUDIO)).unwrap();
    let answered = call.answer_for(a, AnswerIn::Final);
    assert_eq!(origin(&answered).1, 1, "word for word what was answered before");
    let offered = readable(call.bridge.refresh_offer(b).unwrap());
    assert_eq!(origin(&offered).1, 1);
    assert!(call.bridge.refresh_offer(b).is_none(), "one at a time");
    call.answer(b, &sdp(2, 1, &AUDIO.replace("4000", "6000"))).unwrap();
    assert!(call.connected(a, b, 0));
    call.hang_up();
}

#[test]
fn video_keeps_its_feedback_profile_and_audio_loses_it_rfc_4585() {
    let offer = "m=audio 4000 RTP/AVPF 8; a=rtcp-fb:* nack; m=video 4002 RTP/AVPF 97; a=rtpmap:97 VP8/90000;\
        a=rtcp-fb:97 nack pli; a=rtcp-fb:97 ccm fir; a=rtcp-fb:* goog-remb; a=framerate:30; a=imageattr:97 send * recv *";
    let answer = "m=audio 6000 RTP/AVP 8; m=video 6002 RTP/AVPF 97; a=rtpmap:97 VP8/90000; a=rtcp-fb:97 nack pli";
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(plain()));
    let (offered, answered) = call.exchange(a, b, &sdp(1, 1, offer), &sdp(2, 1, answer));
    assert_eq!(
        media(&offered),
        "m=audio P RTP/AVP 8; a=rtpmap:8 PCMA/8000; a=sendrecv; m=video P RTP/AVPF 97; a=rtpmap:97 VP8/90000; \
         a=imageattr:97 send * recv *; a=rtcp-fb:97 nack pli; a=rtcp-fb:97 ccm fir; a=framerate:30; a=sendrecv"
    );
    assert_eq!(
        media(&answered),
        "m=audio P RTP/AVPF 8; a=rtpmap:8 PCMA/8000; a=sendrecv; m=video P RTP/AVPF 97; a=rtpmap:97 VP8/90000; \
         a=rtcp-fb:97 nack pli; a=sendrecv"
    );
    call.hang_up();
}

#[test]
fn an_offer_that_is_refused_while_another_is_open_does_not_disturb_it_rfc_3261_section_14_1() {
    let (mut call, a, b) = call();
    let moved = AUDIO.replace("4000", "4004");
    call.bridge.offer_received(a, &sdp(1, 2, &moved)).unwrap();
    call.offer_for(b);
    let glare = call.bridge.pass_offer(call.now, b, &sdp(2, 2, AUDIO), a, &mut call.ports).unwrap_err();
    assert_eq!(glare.status(), 491);
    call.answer(b, &sdp(2, 1, &AUDIO.replace("4000", "6000"))).unwrap();
    call.answer_for(a, AnswerIn::Final);
    assert_eq!(call.config(a, 0).remote, at(1, 4004));
    call.hang_up();
}

#[test]
fn an_offer_that_cannot_be_passed_leaves_both_legs_as_they_were() {
    let strict = LegPolicy { codecs: CodecAllowList::parse(&["PCMA"]).unwrap(), ..plain() };
    let (mut call, a, b) = Call::talking(plain(), strict, AUDIO, "m=audio 6000 RTP/AVP 8");
    let config = call.config(a, 0).clone();
    let offer = sdp(1, 2, "m=audio 4004 RTP/AVP 0");
    let reject = call.bridge.pass_offer(call.now, a, &offer, b, &mut call.ports).unwrap_err();
    call.run();
    assert_eq!((reject.status(), call.config(a, 0)), (488, &config));
    call.exchange(a, b, &sdp(1, 3, AUDIO), &sdp(2, 1, "m=audio 6000 RTP/AVP 8"));
    call.hang_up();
}

#[test]
fn a_peer_that_moves_stays_on_a_busy_port_where_there_is_no_other() {
    let pool = PortPool::new(PortPoolConfig { first: 10_000, last: 10_003, ..PortPoolConfig::default() });
    let mut call = Call::with_pool(pool, 3);
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(plain()));
    call.exchange(a, b, &sdp(1, 1, AUDIO), &sdp(2, 1, AUDIO));
    call.learn_all();
    for _ in 0..2 {
        let stranger = call.ports.next_stream();
        assert!(call.ports.acquire(call.now, stranger).is_some());
    }
    let before = call.stream(a, 0);
    call.exchange(a, b, &sdp(1, 2, &AUDIO.replace("4000", "4004")), &sdp(2, 1, AUDIO));
    assert_eq!((call.stream(a, 0), call.flows[&before.0].relearned), (before, 1));
    call.bridge.close(call.now, &mut call.ports);
    call.run();
    assert_eq!(call.ports.streams(), 2, "the strangers");
}

#[test]
fn a_late_offer_that_is_answered_with_less_needs_no_mending() {
    let mut call = Call::new();
    let (a, b) = (call.bridge.add_leg(plain()), call.bridge.add_leg(plain()));
    call.exchange(b, a, &sdp(2, 1, AUDIO), &sdp(1, 1, "m=audio 4000 RTP/AVP 8; a=recvonly"));
    assert!(!call.bridge.needs_reoffer());
    assert!(call.config(a, 0).sends && !call.config(a, 0).receives);
    call.hang_up();
}

#[test]
fn of_two_refreshes_at_the_same_time_each_fails_by_itself_rfc_4028_section_7_4() {
    let (mut call, a, b) = call();
    call.bridge.refresh_offer(b).expect("nothing is open");
    call.bridge.refresh_offer(a).expect("the other leg's has nothing to do with it");
    call.bridge.rollback_leg(call.now, b, &mut call.ports);
    assert!(call.bridge.refresh_offer(b).is_some(), "b may be asked again although a's is the latest");
    call.answer(a, &sdp(1, 1, AUDIO)).unwrap();
    call.bridge.rollback_leg(call.now, b, &mut call.ports);
    assert!(call.connected(a, b, 0), "and the call is as it was");
    call.hang_up();
}
