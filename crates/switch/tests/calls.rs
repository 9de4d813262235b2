//! Calls between extensions, message by message.

mod common;

use std::time::Duration;

use common::*;
use ringfort_media::types as media;
use ringfort_sip::header::HeaderName;
use ringfort_switch::io::{Command, CommandReply};
use ringfort_switch::record::{EndCause, JournalRecord};

const A: &str = "198.51.100.10:5060";
const B: &str = "198.51.100.20:5060";
const B2: &str = "198.51.100.21:5060";
const B3: &str = "198.51.100.22:5060";

fn offer() -> String {
    sdp("198.51.100.10", 4000, "0 8 101")
}

fn answer() -> String {
    sdp("198.51.100.20", 5000, "0 101")
}

fn contact(b: &str) -> String {
    format!("Contact: <sip:user-b@{b}>\r\n")
}

#[test]
fn a_call_is_set_up_answered_and_hung_up_and_leaves_one_record() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    let call_id = w.invite("user-a", A, "102", &offer(), "");
    assert_eq!(w.take(A).status(), 100);
    let invite = w.take(B);
    assert_ne!(invite.call_id(), call_id);
    w.send(B, &reply(&invite, 180, "btag", &contact(B), ""));
    assert_eq!(w.take(A).status(), 180);
    w.send(B, &reply(&invite, 200, "btag", &contact(B), &answer()));
    assert_eq!(first_line(&w.take(B)).split(' ').next(), Some("ACK"));
    let ok = w.take(A);
    assert_eq!(ok.status(), 200);
    assert!(body_text(&ok).contains("m=audio 10000 RTP/AVP 0 101"), "{}", body_text(&ok));

    let call = Established::new(A, B, call_id, invite, ok);
    w.send(A, &call.of_a("ACK", 2, "", ""));
    w.pass(Duration::from_secs(5));
    w.send(A, &call.of_a("BYE", 3, "", ""));
    let bye = w.take(B);
    assert!(first_line(&bye).starts_with("BYE "));
    assert_eq!(w.take(A).status(), 200);
    w.send(B, &reply(&bye, 200, "", "", ""));
    w.report_closed();

    let cdrs = w.cdrs();
    assert_eq!(cdrs.len(), 1);
    let cdr = cdrs[0];
    assert_eq!((cdr.status, cdr.cause), (200, Some(EndCause::Normal)));
    assert_eq!((cdr.caller.reveal().as_str(), cdr.callee.reveal().as_str()), ("101", "102"));
    let talked = cdr.ended.expect("ended").0 - cdr.answered.expect("answered").0;
    assert_eq!(talked, 5_000);
    assert_eq!(w.qualities().len(), 1);
    assert_eq!(w.qualities()[0].len(), 2, "one direction from each side");
    w.assert_empty();
}

#[test]
fn the_record_is_journalled_before_the_bye_is_answered_run_1() {
    let mut w = World::new();
    let call = w.call(A, B);
    let flow_order = {
        w.send(A, &call.of_a("BYE", 3, "", ""));
        w.journal.iter().any(|r| matches!(r, JournalRecord::CallEnded(_)))
    };
    assert!(flow_order);
}

#[test]
fn the_called_side_hangs_up_and_its_reason_is_passed_on_rfc_3326() {
    let mut w = World::new();
    let call = w.call(A, B);
    w.send(B, &call.of_b("BYE", 1, "Reason: Q.850;cause=16;text=\"Terminated\"\r\n", ""));
    let bye = w.take(A);
    assert_eq!(bye.header_str(HeaderName::Reason).as_deref(), Some("Q.850;cause=16;text=\"Terminated\""));
    assert_eq!(w.take(B).status(), 200);
    w.send(A, &reply(&bye, 200, "", "", ""));
    w.assert_empty();
}

#[test]
fn an_unknown_number_gets_404_after_authentication_alone_guard_10() {
    let mut w = World::new();
    w.invite("user-a", A, "999", &offer(), "");
    assert_eq!(w.take_final(A).status(), 404);
    assert_eq!(w.cdrs()[0].rule.as_deref(), Some("route.no_such_number"));
}

#[test]
fn an_extension_without_a_phone_gets_480() {
    let mut w = World::new();
    w.invite("user-a", A, "102", &offer(), "");
    assert_eq!(w.take_final(A).status(), 480);
}

#[test]
fn a_stranger_on_the_external_profile_reaches_no_extension() {
    let mut w = World::new();
    w.register("user-b", B);
    for callee in ["102", "nobody"] {
        let uri = format!("sip:{callee}@{DOMAIN}");
        let text = invite(&uri, "guest", A, &format!("c-{callee}"), 1, &format!("z9hG4bK{callee}"), "", "", &offer());
        w.send_to(1, OUTSIDE, A, &text);
        assert_eq!(w.take_final(A).status(), 404);
    }
    assert!(w.nothing_for(B));
    assert!(w.cdrs().iter().all(|c| c.context == "public" && c.rule.as_deref() == Some("context.public")));
}

#[test]
fn wrong_credentials_leave_a_record_of_the_attempt_call_10() {
    let mut w = World::new();
    let uri = format!("sip:102@{DOMAIN}");
    w.send(A, &invite(&uri, "user-a", A, "c1", 1, "z9hG4bK1", "", "", &offer()));
    let challenge = w.take(A);
    assert!(w.cdrs().is_empty(), "asking for credentials is no attempt");
    let auth = w.answer_to(&challenge, "user-a", "INVITE", &uri).replace("response=\"", "response=\"0");
    w.send(A, &invite(&uri, "user-a", A, "c1", 2, "z9hG4bK2", &auth, "", &offer()));
    assert_eq!(w.take_final(A).status(), 401);
    assert_eq!(w.cdrs()[0].rule.as_deref(), Some("authentication"));
}

#[test]
fn busy_decline_and_other_refusals_reach_the_caller() {
    for (said, heard) in [(486, 486), (603, 603), (488, 488), (480, 480), (404, 480), (302, 480), (500, 480)] {
        let mut w = World::new();
        w.register("user-a", A);
        w.register("user-b", B);
        w.invite("user-a", A, "102", &offer(), "");
        let invite = w.take(B);
        w.send(B, &reply(&invite, said, "btag", "", ""));
        assert!(first_line(&w.take(B)).starts_with("ACK "));
        assert_eq!(w.take_final(A).status(), heard, "the phone said {said}");
        assert_eq!(w.cdrs()[0].cause, Some(EndCause::Rejected));
    }
}

#[test]
fn the_caller_gives_up_and_the_phone_is_told_with_the_reason_rfc_3261_section_9() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    let call_id = w.invite("user-a", A, "102", &offer(), "");
    let invite_b = w.take(B);
    w.send(B, &reply(&invite_b, 180, "btag", &contact(B), ""));
    let n = call_id.split(['-', '@']).nth(1).expect("the serial");
    w.send(A, &format!(
        "CANCEL sip:102@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bKi{n}x2;rport\r\nFrom: \"Mallory\" <sip:user-a@{DOMAIN}>;tag=t{call_id}\r\n\
         To: <sip:102@{DOMAIN}>\r\nCall-ID: {call_id}\r\nCSeq: 2 CANCEL\r\nMax-Forwards: 70\r\n\
         Reason: SIP;cause=487;text=\"changed my mind\"\r\n\r\n"));
    let cancel = w.take(B);
    assert!(first_line(&cancel).starts_with("CANCEL "));
    assert!(cancel.header_str(HeaderName::Reason).is_some_and(|r| r.contains("changed my mind")));
    let statuses: Vec<u16> = std::iter::from_fn(|| w.try_take(A)).map(|m| m.status()).filter(|s| *s >= 200).collect();
    assert_eq!(statuses.len(), 2);
    assert!(statuses.contains(&487) && statuses.contains(&200), "{statuses:?}");
    w.send(B, &reply(&cancel, 200, "btag", "", ""));
    w.send(B, &reply(&invite_b, 487, "btag", "", ""));
    assert_eq!(w.cdrs()[0].cause, Some(EndCause::Cancelled));
    w.assert_empty();
}

#[test]
fn a_phone_that_answers_while_it_is_cancelled_is_acknowledged_and_hung_up() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    w.invite("user-a", A, "102", &offer(), "");
    let invite_b = w.take(B);
    w.send(B, &reply(&invite_b, 180, "btag", &contact(B), ""));
    w.pass(Duration::from_secs(61));
    let cancel = w.take(B);
    assert!(first_line(&cancel).starts_with("CANCEL "));
    w.send(B, &reply(&invite_b, 200, "btag", &contact(B), &answer()));
    w.take_starting(B, "ACK ");
    let bye = w.take_starting(B, "BYE ");
    w.send(B, &reply(&bye, 200, "", "", ""));
    w.send(B, &reply(&cancel, 200, "btag", "", ""));
    w.assert_empty();
}

#[test]
fn a_phone_that_rings_too_long_gives_480_and_one_that_never_speaks_gives_408() {
    for (rings, status) in [(true, 480), (false, 408)] {
        let mut w = World::new();
        w.register("user-a", A);
        w.register("user-b", B);
        w.invite("user-a", A, "102", &offer(), "");
        let invite_b = w.take(B);
        if rings {
            w.send(B, &reply(&invite_b, 180, "btag", &contact(B), ""));
        }
        w.pass(Duration::from_secs(61));
        assert_eq!(w.take_final(A).status(), status);
        assert_eq!(w.cdrs()[0].cause, Some(EndCause::NoAnswer));
    }
}

#[test]
fn all_phones_ring_and_the_losers_hear_that_the_call_was_taken_elsewhere_rfc_3326() {
    let mut w = World::new();
    w.register("user-a", A);
    for b in [B, B2, B3] {
        w.register_with("user-b", b, &format!("<sip:user-b@{b}>"), "Expires: 600\r\n");
    }
    w.invite("user-a", A, "102", &offer(), "");
    let invites = [B, B2, B3].map(|b| (b, w.take(b)));
    for (b, invite) in &invites {
        w.send(b, &reply(invite, 180, "btag", &contact(b), ""));
    }
    let (winner, invite) = &invites[1];
    w.send(winner, &reply(invite, 200, "btag", &contact(winner), &answer()));
    assert!(first_line(&w.take(winner)).starts_with("ACK "));
    for (loser, _) in [&invites[0], &invites[2]] {
        let cancel = w.take(loser);
        assert!(first_line(&cancel).starts_with("CANCEL "));
        assert_eq!(
            cancel.header_str(HeaderName::Reason).as_deref(),
            Some("SIP;cause=200;text=\"Call completed elsewhere\"")
        );
    }
    assert_eq!(w.take_final(A).status(), 200);
}

#[test]
fn one_busy_phone_does_not_stop_the_others_but_a_decline_does_rfc_3261_section_16_7() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    w.register("user-b", B2);
    w.invite("user-a", A, "102", &offer(), "");
    let (first, second) = (w.take(B), w.take(B2));
    w.send(B2, &reply(&second, 180, "b2", &contact(B2), ""));
    w.send(B, &reply(&first, 486, "b1", "", ""));
    assert!(first_line(&w.take(B)).starts_with("ACK "));
    while let Some(m) = w.try_take(A) {
        assert!(m.status() < 200, "the second phone still rings");
    }
    w.send(B2, &reply(&second, 603, "b2", "", ""));
    assert_eq!(w.take_final(A).status(), 603);
}

#[test]
fn early_media_reaches_the_caller_as_183_with_our_own_address() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    w.invite("user-a", A, "102", &offer(), "");
    let invite_b = w.take(B);
    w.send(B, &reply(&invite_b, 183, "btag", &contact(B), &answer()));
    let mut progress = w.take(A);
    while progress.status() == 100 {
        progress = w.take(A);
    }
    assert_eq!(progress.status(), 183);
    let text = body_text(&progress);
    assert!(text.contains("c=IN IP4 192.0.2.1") && !text.contains("198.51.100.20"), "{text}");
}

#[test]
fn a_call_without_an_offer_gets_the_phones_offer_and_carries_the_answer_in_the_ack() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    let call_id = w.invite("user-a", A, "102", "", "");
    let invite_b = w.take(B);
    assert!(invite_b.body().is_empty());
    w.send(B, &reply(&invite_b, 200, "btag", &contact(B), &sdp("198.51.100.20", 5000, "0 8 101")));
    let ok = w.take_final(A);
    assert_eq!(ok.status(), 200);
    assert!(body_text(&ok).contains("RTP/AVP 0 8 101"));
    assert!(w.nothing_for(B), "the ACK waits for the caller's answer");
    let call = Established::new(A, B, call_id, invite_b, ok);
    w.send(A, &call.of_a("ACK", 2, "", &sdp("198.51.100.10", 4000, "8")));
    let ack = w.take(B);
    assert!(first_line(&ack).starts_with("ACK "));
    assert!(body_text(&ack).contains("RTP/AVP 8"), "{}", body_text(&ack));
}

#[test]
fn hold_is_answered_recvonly_and_resume_sendrecv_rfc_3264_section_8_4() {
    let mut w = World::new();
    let call = w.call(A, B);
    let steps = [("a=sendonly\r\n", "a=recvonly"), ("a=inactive\r\n", "a=inactive"), ("a=sendrecv\r\n", "a=sendrecv")];
    for (cseq, (asked, expected)) in (3..).zip(steps) {
        let held = sdp_with("198.51.100.10", 4000, "0 101", asked)
            .replace("2353687637", &format!("{}", 2353687637u64 + cseq as u64));
        w.send(A, &call.of_a("INVITE", cseq, "", &held));
        let reinvite = w.take(B);
        assert!(first_line(&reinvite).starts_with("INVITE "));
        let direction = asked.trim();
        assert!(direction == "a=sendrecv" || body_text(&reinvite).contains(direction), "{}", body_text(&reinvite));
        let back = sdp_with("198.51.100.20", 5000, "0 101", &format!("{expected}\r\n"))
            .replace("2353687637", &format!("{}", 2353687637u64 + cseq as u64));
        w.send(B, &reply(&reinvite, 200, "", &contact(B), &back));
        assert!(first_line(&w.take(B)).starts_with("ACK "));
        let ok = w.take_final(A);
        assert_eq!(ok.status(), 200);
        assert!(expected == "a=sendrecv" || body_text(&ok).contains(expected), "{}", body_text(&ok));
        w.send(A, &call.of_a("ACK", cseq, "", ""));
    }
}

#[test]
fn a_refused_change_leaves_the_call_as_it_was() {
    let mut w = World::new();
    let call = w.call(A, B);
    w.send(A, &call.of_a("INVITE", 3, "", &sdp("198.51.100.10", 4000, "9")));
    let reinvite = w.take(B);
    w.send(B, &reply(&reinvite, 488, "", "", ""));
    assert!(first_line(&w.take(B)).starts_with("ACK "));
    assert_eq!(w.take_final(A).status(), 488);
    assert_eq!(w.status().calls, 1);
}

#[test]
fn crossing_changes_from_both_sides_end_in_491_rfc_3261_section_14_1() {
    let mut w = World::new();
    let call = w.call(A, B);
    w.send(A, &call.of_a("INVITE", 3, "", &sdp_with("198.51.100.10", 4000, "0 101", "a=sendonly\r\n")));
    let _to_b = w.take(B);
    w.send(B, &call.of_b("INVITE", 1, "", &sdp_with("198.51.100.20", 5000, "0 101", "a=inactive\r\n")));
    assert_eq!(w.take_final(B).status(), 491);
}

#[test]
fn info_and_message_within_a_call_reach_the_other_side_with_their_bodies() {
    let mut w = World::new();
    let call = w.call(A, B);
    for (method, cseq) in [("INFO", 3), ("MESSAGE", 4)] {
        w.send(A, &call.of_a(method, cseq, "Content-Type: application/dtmf-relay\r\n", "Signal=5\r\nDuration=160\r\n"));
        let relayed = w.take(B);
        assert!(first_line(&relayed).starts_with(method));
        assert_eq!(body_text(&relayed), "Signal=5\r\nDuration=160\r\n");
        w.send(B, &reply(&relayed, 200, "", "", ""));
        assert_eq!(w.take_final(A).status(), 200);
    }
}

#[test]
fn a_message_reaches_every_phone_and_the_first_success_answers_it_rfc_3428() {
    let mut w = World::new();
    w.register("user-b", B);
    w.register("user-b", B2);
    let uri = format!("sip:102@{DOMAIN}");
    let message = |cseq: u32, auth: &str| {
        format!(
            "MESSAGE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bKm{cseq}\r\nFrom: <sip:user-a@{DOMAIN}>;tag=m\r\nTo: <{uri}>\r\n\
             Call-ID: m1\r\nCSeq: {cseq} MESSAGE\r\nMax-Forwards: 70\r\nContent-Type: text/plain\r\n{auth}\r\nhello"
        )
    };
    w.send(A, &message(1, ""));
    let challenge = w.take(A);
    let auth = w.answer_to(&challenge, "user-a", "MESSAGE", &uri);
    w.send(A, &message(2, &auth));
    let (first, second) = (w.take(B), w.take(B2));
    assert_eq!(body_text(&first), "hello");
    w.send(B2, &reply(&second, 480, "x", "", ""));
    assert!(w.nothing_for(A));
    w.send(B, &reply(&first, 200, "x", "", ""));
    assert_eq!(w.take(A).status(), 200);
}

#[test]
fn a_call_ends_at_its_longest_time_with_a_bye_to_both() {
    let mut cfg = config();
    cfg.calls.max_duration = Duration::from_secs(600);
    let mut w = World::with(cfg, site());
    let _call = w.call(A, B);
    w.pass(Duration::from_secs(601));
    assert!(first_line(&w.take(A)).starts_with("BYE ") && first_line(&w.take(B)).starts_with("BYE "));
    assert_eq!(w.cdrs()[0].cause, Some(EndCause::MaxDuration));
}

#[test]
fn silence_on_all_streams_ends_a_call_and_silence_on_one_does_not() {
    let mut w = World::new();
    let _call = w.call(A, B);
    let ids: Vec<media::StreamId> =
        w.media.iter().filter_map(|c| if let media::Command::Open { id, .. } = c { Some(*id) } else { None }).collect();
    let for_ = Duration::from_secs(120);
    w.media_event(media::Event::Silent { id: ids[0], for_ });
    assert_eq!(w.status().calls, 1);
    w.media_event(media::Event::Silent { id: ids[1], for_ });
    assert_eq!(w.status().calls, 0);
    assert_eq!(w.cdrs()[0].cause, Some(EndCause::MediaTimeout));
}

#[test]
fn a_call_on_hold_is_not_ended_for_its_silence_and_is_again_when_it_goes_on() {
    let mut w = World::new();
    let call = w.call(A, B);
    let change = |w: &mut World, cseq: u32, direction: &str| {
        let sdp = sdp_with("198.51.100.10", 4000, "0 101", direction)
            .replace("2353687637", &format!("{}", 2353687637u64 + u64::from(cseq)));
        w.send(A, &call.of_a("INVITE", cseq, "", &sdp));
        let reinvite = w.take(B);
        w.send(B, &reply(&reinvite, 200, "btag", &contact(B), &sdp_with("198.51.100.20", 5000, "0 101", "")));
        assert_eq!(w.take_final(A).status(), 200);
        w.send(A, &call.of_a("ACK", cseq, "", ""));
        w.sent.clear();
    };
    let ids: Vec<media::StreamId> =
        w.media.iter().filter_map(|c| if let media::Command::Open { id, .. } = c { Some(*id) } else { None }).collect();
    let for_ = Duration::from_secs(120);
    change(&mut w, 3, "a=sendonly\r\n");
    w.media_event(media::Event::Silent { id: ids[0], for_ });
    w.media_event(media::Event::Silent { id: ids[1], for_ });
    assert_eq!(w.status().calls, 1, "whoever holds sends nothing, and hears nothing");
    change(&mut w, 4, "a=sendrecv\r\n");
    w.media_event(media::Event::Silent { id: ids[1], for_ });
    assert_eq!(w.status().calls, 0);
    assert_eq!(w.cdrs()[0].cause, Some(EndCause::MediaTimeout));
}

#[test]
fn an_extension_with_as_many_calls_as_it_may_is_busy_and_may_not_call() {
    let mut s = site();
    for e in s.extensions.values_mut() {
        e.max_calls = 1;
    }
    let mut w = World::with(config(), s);
    let _call = w.call(A, B);
    w.invite("user-c", B3, "102", &offer(), "");
    assert_eq!(w.take_final(B3).status(), 486);
    w.invite("user-a", A, "103", &offer(), "");
    assert_eq!(w.take_final(A).status(), 403);
    let rules: Vec<_> = w.cdrs().iter().filter_map(|c| c.rule.clone()).collect();
    assert_eq!(rules, ["limit.extension_calls", "limit.extension_calls"]);
}

#[test]
fn a_draining_system_takes_no_call_and_lets_those_that_run_go_on() {
    let mut w = World::new();
    let _call = w.call(A, B);
    w.command(Command::Drain);
    w.invite("user-c", B3, "101", &offer(), "");
    let refused = w.take_final(B3);
    assert_eq!((refused.status(), refused.has(HeaderName::RetryAfter)), (503, true));
    assert_eq!(w.status().calls, 1);
    w.command(Command::HangupAll);
    assert!(first_line(&w.take(A)).starts_with("BYE ") && first_line(&w.take(B)).starts_with("BYE "));
    assert_eq!(w.cdrs().last().and_then(|c| c.cause), Some(EndCause::Shutdown));
}

#[test]
fn an_operator_lists_and_hangs_up_a_call() {
    let mut w = World::new();
    let _call = w.call(A, B);
    let CommandReply::Calls { items } = w.command(Command::Calls { tenant: None }) else { panic!("calls give calls") };
    assert_eq!((items.len(), items[0].state.as_str(), items[0].from.as_str()), (1, "answered", "101"));
    assert_eq!(w.command(Command::Hangup { call: items[0].call }), CommandReply::Done { changed: 1 });
    assert!(first_line(&w.take(A)).starts_with("BYE "));
    assert!(matches!(w.command(Command::Hangup { call: items[0].call }), CommandReply::Refused { .. }));
}

#[test]
fn an_answer_that_is_never_acknowledged_ends_the_call_on_both_sides() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    w.invite("user-a", A, "102", &offer(), "");
    let invite_b = w.take(B);
    w.send(B, &reply(&invite_b, 200, "btag", &contact(B), &answer()));
    w.pass(Duration::from_secs(40));
    let to_a: Vec<String> = std::iter::from_fn(|| w.try_take(A)).map(|m| first_line(&m)).collect();
    assert!(to_a.iter().filter(|l| l.contains(" 200 ")).count() > 5, "the 2xx is repeated: {to_a:?}");
    assert!(to_a.iter().any(|l| l.starts_with("BYE ")), "{to_a:?}");
    let to_b: Vec<String> = std::iter::from_fn(|| w.try_take(B)).map(|m| first_line(&m)).collect();
    assert!(to_b.iter().any(|l| l.starts_with("BYE ")), "{to_b:?}");
    assert_eq!(w.cdrs()[0].cause, Some(EndCause::PeerGone));
}

#[test]
fn a_called_side_that_hangs_up_before_the_callers_ack_waits_with_our_bye_rfc_3261_section_15() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    let call_id = w.invite("user-a", A, "102", &offer(), "");
    let invite_b = w.take(B);
    w.send(B, &reply(&invite_b, 200, "btag", &contact(B), &answer()));
    let ok = w.take_final(A);
    let call = Established::new(A, B, call_id, invite_b, ok);
    w.send(B, &call.of_b("BYE", 1, "", ""));
    while let Some(m) = w.try_take(A) {
        assert!(!first_line(&m).starts_with("BYE "), "not before the ACK");
    }
    w.send(A, &call.of_a("ACK", 2, "", ""));
    let bye = w.take(A);
    assert!(first_line(&bye).starts_with("BYE "));
    w.send(A, &reply(&bye, 200, "", "", ""));
    w.assert_empty();
}

#[test]
fn session_timers_are_refreshed_by_us_and_a_dead_side_ends_the_call_rfc_4028() {
    let mut cfg = config();
    cfg.calls.session_expires = Duration::from_secs(600);
    let mut w = World::with(cfg, site());
    let _call = w.call(A, B);
    w.pass(Duration::from_secs(310));
    let refresh = w.take(B);
    assert!(
        first_line(&refresh).starts_with("UPDATE ") || first_line(&refresh).starts_with("INVITE "),
        "{}",
        first_line(&refresh)
    );
    w.pass(Duration::from_secs(400));
    assert_eq!(w.status().calls, 0);
    assert_eq!(w.cdrs()[0].cause, Some(EndCause::PeerGone));
}

#[test]
fn a_gruu_reaches_one_instance_alone_rfc_5627_section_5_5() {
    let mut w = World::new();
    w.register("user-a", A);
    for (b, instance) in [(B, "urn:uuid:1"), (B2, "urn:uuid:2")] {
        w.register_with(
            "user-b",
            b,
            &format!("<sip:user-b@{b}>;+sip.instance=\"<{instance}>\""),
            "Supported: gruu\r\n",
        );
    }
    let uri = format!("sip:102@{DOMAIN};gr=urn:uuid:2");
    w.send(A, &invite(&uri, "user-a", A, "g1", 1, "z9hG4bKg1", "", "", &offer()));
    let challenge = w.take(A);
    let auth = w.answer_to(&challenge, "user-a", "INVITE", &uri);
    w.send(A, &invite(&uri, "user-a", A, "g1", 2, "z9hG4bKg2", &auth, "", &offer()));
    assert!(first_line(&w.take(B2)).starts_with("INVITE "));
    assert!(w.nothing_for(B));
}

#[test]
fn the_breadth_of_a_fork_is_shared_and_too_little_is_refused_rfc_5393_section_5_3_3() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    w.register("user-b", B2);
    w.invite("user-a", A, "102", &offer(), "Max-Breadth: 10\r\n");
    assert_eq!(w.take(B).header_str(HeaderName::MaxBreadth).as_deref(), Some("5"));
    w.take(B2);
    w.invite("user-c", B3, "102", &offer(), "Max-Breadth: 1\r\n");
    assert_eq!(w.take_final(B3).status(), 440);
    assert!(w.nothing_for(B));
}

#[test]
fn a_sips_call_reaches_no_phone_that_is_not_on_tls_rfc_3261_section_26_2_2() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    let uri = format!("sips:102@{DOMAIN}");
    w.send(A, &invite(&uri, "user-a", A, "s1", 1, "z9hG4bKs1", "", "", &offer()));
    let challenge = w.take(A);
    let auth = w.answer_to(&challenge, "user-a", "INVITE", &uri);
    w.send(A, &invite(&uri, "user-a", A, "s1", 2, "z9hG4bKs2", &auth, "", &offer()));
    assert_eq!(w.take_final(A).status(), 480);
    assert!(w.nothing_for(B));
}

#[test]
fn an_unknown_required_extension_is_refused_with_420_rfc_3261_section_8_2_2_3() {
    let mut w = World::new();
    w.invite("user-a", A, "102", &offer(), "Require: nothing-we-know\r\n");
    let refused = w.take_final(A);
    assert_eq!(refused.status(), 420);
    assert_eq!(refused.header_str(HeaderName::Unsupported).as_deref(), Some("nothing-we-know"));
}

#[test]
fn a_call_cancelled_while_its_answer_waits_for_a_prack_ends_on_both_sides_rfc_3262_section_3() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    let call_id = w.invite("user-a", A, "102", &offer(), "Supported: 100rel\r\n");
    let invite_b = w.take(B);
    w.send(B, &reply(&invite_b, 183, "btag", &contact(B), &answer()));
    w.send(B, &reply(&invite_b, 200, "btag", &contact(B), &answer()));
    w.take_starting(B, "ACK ");
    let n = call_id.split(['-', '@']).nth(1).expect("the serial").to_owned();
    w.send(
        A,
        &format!(
            "CANCEL sip:102@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bKi{n}x2;rport\r\n\
             From: \"Mallory\" <sip:user-a@{DOMAIN}>;tag=t{call_id}\r\nTo: <sip:102@{DOMAIN}>\r\nCall-ID: {call_id}\r\n\
             CSeq: 2 CANCEL\r\nMax-Forwards: 70\r\n\r\n"
        ),
    );
    let bye = w.take_starting(B, "BYE ");
    w.send(B, &reply(&bye, 200, "", "", ""));
    assert_eq!((w.cdrs()[0].status, w.cdrs()[0].answered), (487, None));
    w.assert_empty();
}

#[test]
fn a_caller_that_never_sends_the_prack_loses_the_call_on_both_sides() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    w.invite("user-a", A, "102", &offer(), "Supported: 100rel\r\n");
    let invite_b = w.take(B);
    w.send(B, &reply(&invite_b, 183, "btag", &contact(B), &answer()));
    w.send(B, &reply(&invite_b, 200, "btag", &contact(B), &answer()));
    w.pass(Duration::from_secs(40));
    w.take_starting(B, "BYE ");
    assert_eq!(w.take_final(A).status(), 504);
    assert_eq!(w.cdrs()[0].cause, Some(EndCause::PeerGone));
}

#[test]
fn a_tls_phone_that_refuses_srtp_is_asked_again_with_plain_rtp() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register_tls("user-b", B);
    w.invite("user-a", A, "102", &offer(), "");
    let secure = w.take_starting(B, "INVITE ");
    assert!(body_text(&secure).contains("RTP/SAVP") && body_text(&secure).contains("a=crypto:"));
    w.send_tls(B, &reply(&secure, 488, "btag", "", ""));
    let plain = w.take_starting(B, "INVITE ");
    assert!(body_text(&plain).contains("RTP/AVP 0 8 101"), "{}", body_text(&plain));
    w.send_tls(B, &reply(&plain, 200, "btag", &contact(B), &answer()));
    assert_eq!(w.take_final(A).status(), 200);
}

#[test]
fn a_phone_that_wants_a_longer_session_is_asked_again_rfc_4028_section_7_3() {
    let mut cfg = config();
    cfg.calls.session_expires = Duration::from_secs(600);
    let mut w = World::with(cfg, site());
    w.register("user-a", A);
    w.register("user-b", B);
    w.invite("user-a", A, "102", &offer(), "");
    let first = w.take(B);
    assert_eq!(first.header_str(HeaderName::SessionExpires).as_deref(), Some("600"));
    w.send(B, &reply(&first, 422, "btag", "Min-SE: 1200\r\n", ""));
    let second = w.take_starting(B, "INVITE ");
    assert_eq!(second.header_str(HeaderName::SessionExpires).as_deref(), Some("1200"));
    w.send(B, &reply(&second, 180, "btag", &contact(B), ""));
    while let Some(m) = w.try_take(A) {
        assert!(m.status() < 200, "the caller hears nothing of it");
    }
}

#[test]
fn a_side_that_lost_its_dialog_ends_the_call_with_a_bye_to_both() {
    let mut w = World::new();
    let call = w.call(A, B);
    w.send(A, &call.of_a("INVITE", 3, "", &sdp_with("198.51.100.10", 4000, "0 101", "a=sendonly\r\n")));
    let reinvite = w.take_starting(B, "INVITE ");
    w.send(B, &reply(&reinvite, 481, "", "", ""));
    w.take_starting(B, "BYE ");
    assert_eq!(w.take_final(A).status(), 488);
    let bye = w.take_starting(A, "BYE ");
    w.send(A, &reply(&bye, 200, "", "", ""));
    assert_eq!(w.cdrs()[0].cause, Some(EndCause::PeerGone));
    w.assert_empty();
}

#[test]
fn an_info_that_a_phone_leaves_unanswered_does_not_take_the_call_with_it() {
    let mut w = World::new();
    let call = w.call(A, B);
    w.send(A, &call.of_a("INFO", 3, "Content-Type: application/dtmf-relay\r\n", "Signal=5\r\n"));
    w.take_starting(B, "INFO ");
    w.pass(Duration::from_secs(40));
    assert_eq!(w.status().calls, 1);
    // RFC 4320 §4.2: an answer that late would only be noise.
    assert!(w.try_take(A).is_none_or(|m| m.status() == 100));
}

#[test]
fn a_cancelled_change_is_cancelled_on_the_other_side_too() {
    let mut w = World::new();
    let call = w.call(A, B);
    let held = sdp_with("198.51.100.10", 4000, "0 101", "a=sendonly\r\n");
    w.send(A, &call.of_a("INVITE", 3, "", &held));
    let reinvite = w.take_starting(B, "INVITE ");
    w.send(B, &reply(&reinvite, 100, "", "", ""));
    w.send(A, &call.of_a("CANCEL", 3, "", "").replace("bKacancel3", "bKainvite3"));
    let cancel = w.take_starting(B, "CANCEL ");
    w.send(B, &reply(&cancel, 200, "", "", ""));
    w.send(B, &reply(&reinvite, 487, "", "", ""));
    assert_eq!(w.status().calls, 1);
    w.send(A, &call.of_a("BYE", 4, "", ""));
    let bye = w.take_starting(B, "BYE ");
    w.send(B, &reply(&bye, 200, "", "", ""));
    w.assert_empty();
}

#[test]
fn a_bye_that_waits_for_the_ack_survives_another_request_in_between() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    let call_id = w.invite("user-a", A, "102", &offer(), "");
    let invite_b = w.take(B);
    w.send(B, &reply(&invite_b, 200, "btag", &contact(B), &answer()));
    let ok = w.take_final(A);
    let call = Established::new(A, B, call_id, invite_b, ok);
    w.send(B, &call.of_b("BYE", 1, "", ""));
    w.send(A, &call.of_a("INFO", 3, "", ""));
    assert_eq!(w.take_final(A).status(), 481);
    w.send(A, &call.of_a("ACK", 2, "", ""));
    let bye = w.take_starting(A, "BYE ");
    w.send(A, &reply(&bye, 200, "", "", ""));
    w.assert_empty();
}

#[test]
fn a_stopping_system_is_idle_only_when_its_byes_are_answered_and_the_media_have_reported() {
    let mut w = World::new();
    let _call = w.call(A, B);
    w.command(Command::HangupAll);
    assert!(!w.switch.is_idle(), "two BYEs are on their way");
    for side in [A, B] {
        let bye = w.take_starting(side, "BYE ");
        w.send(side, &reply(&bye, 200, "", "", ""));
    }
    assert!(!w.switch.is_idle(), "the relay has not reported");
    w.report_closed();
    assert!(w.switch.is_idle());
}

#[test]
fn a_media_port_that_another_program_has_ends_the_call_with_a_word_instead_of_silence() {
    let mut w = World::new();
    let _call = w.call(A, B);
    let opened =
        w.media.iter().find_map(|c| if let media::Command::Open { id, port } = c { Some((*id, *port)) } else { None });
    let (id, port) = opened.expect("a stream was opened");
    w.media_event(media::Event::PortFailed { id, port });
    assert_eq!(w.status().calls, 0);
    assert!(w.notices.iter().any(|n| n.rule == "media.port" && n.text.contains(&port.0.to_string())));
    w.media.clear();
    w.invite("user-c", B3, "101", &offer(), "");
    let again = w.media.iter().any(|c| matches!(c, media::Command::Open { port: p, .. } if *p == port));
    assert!(!again, "the next call gets other ports");
}
