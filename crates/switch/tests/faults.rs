//! Peers that do what they should not: answers for another dialog, more media than a call needs, PRACKs that never come.

mod common;

use common::*;
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_switch::record::EndCause;

const A: &str = "198.51.100.10:5060";
const B: &str = "198.51.100.20:5060";
const B2: &str = "198.51.100.21:5060";

fn offer() -> String {
    sdp("198.51.100.10", 4000, "0 8 101")
}

fn answer() -> String {
    sdp("198.51.100.20", 5000, "0 101")
}

fn contact(b: &str) -> String {
    format!("Contact: <sip:user-b@{b}>\r\n")
}

/// A 200 that names another From tag than the INVITE.
fn foreign(invite: &Message, b: &str) -> String {
    reply(invite, 200, "btag", &contact(b), &answer()).replace(invite.from_tag().expect("ours"), "nobodys")
}

fn reason(message: &Message) -> String {
    message.header_str(HeaderName::Reason).unwrap_or_default().into_owned()
}

#[test]
fn a_phone_that_answers_for_another_dialog_does_not_leave_the_caller_waiting_rfc_3261_section_13_2_2_4() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    w.invite("user-a", A, "102", &offer(), "");
    let invite = w.take(B);
    w.send(B, &foreign(&invite, B));
    assert_eq!(w.take_final(A).status(), 480, "at once, not after the ring time");
    assert!(first_line(&w.take(B)).starts_with("ACK "));
    let bye = w.take(B);
    assert!(first_line(&bye).starts_with("BYE ") && reason(&bye).contains("cause=481"), "{}", reason(&bye));
    assert_eq!(bye.from_tag(), Some("nobodys"));
    w.send(B, &reply(&bye, 200, "", "", ""));
    assert_eq!(w.cdrs()[0].cause, Some(EndCause::Rejected));
    assert!(w.notices.iter().any(|n| n.text.contains("names another Call-ID or tag")));
    w.assert_empty();
}

#[test]
fn another_phone_may_still_take_the_call_when_one_answers_for_another_dialog() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    w.register("user-b", B2);
    w.invite("user-a", A, "102", &offer(), "");
    let (first, second) = (w.take(B), w.take(B2));
    w.send(B, &foreign(&first, B));
    w.send(B2, &reply(&second, 200, "ctag", &contact(B2), &answer()));
    assert_eq!(w.take_final(A).status(), 200);
    assert!(first_line(&w.take(B2)).starts_with("ACK "));
}

#[test]
fn a_bye_that_waited_for_the_ack_says_why_rfc_3326() {
    for (said, heard) in [("", "Q.850;cause=16"), ("Reason: Q.850;cause=21;text=\"Rejected\"\r\n", "Q.850;cause=21")] {
        let mut w = World::new();
        w.register("user-a", A);
        w.register("user-b", B);
        let call_id = w.invite("user-a", A, "102", &offer(), "");
        let invite = w.take(B);
        w.send(B, &reply(&invite, 200, "btag", &contact(B), &answer()));
        let ok = w.take_final(A);
        let call = Established::new(A, B, call_id, invite, ok);
        w.send(B, &call.of_b("BYE", 1, said, ""));
        w.send(A, &call.of_a("ACK", 2, "", ""));
        let bye = w.take_starting(A, "BYE ");
        assert!(reason(&bye).starts_with(heard), "{}", reason(&bye));
        w.send(A, &reply(&bye, 200, "", "", ""));
        w.assert_empty();
    }
}

#[test]
fn an_offer_of_32_media_lines_gets_four_ports_on_each_side() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register("user-b", B);
    let lines = |n: usize| -> String {
        let video = |i: usize| format!("m=video {} RTP/AVP 34\r\na=rtpmap:34 H263/90000\r\n", 6000 + 2 * i);
        (0..n).map(video).collect()
    };
    w.invite("user-a", A, "102", &(offer() + &lines(31)), "");
    let invite = w.take(B);
    let on = |message: &Message| {
        let text = body_text(message);
        assert_eq!(text.matches("m=").count(), 32);
        text.lines().filter(|line| line.starts_with("m=") && !line.contains(" 0 RTP")).count()
    };
    assert_eq!(on(&invite), 4);
    w.send(B, &reply(&invite, 200, "btag", &contact(B), &(answer() + &lines(31))));
    assert_eq!(on(&w.take_final(A)), 4);
    assert_eq!(w.status().media_streams, 8);
}

#[test]
fn a_phone_with_a_longer_master_key_identifier_than_we_can_carry_is_told_so_with_488_rfc_4568_section_6_1() {
    let mut w = World::new();
    w.register_tls("user-a", A);
    w.register("user-b", B);
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd";
    let secure = |mki: &str| {
        let crypto = format!("a=sendrecv\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}|2^31|{mki}\r\n");
        sdp_with("198.51.100.10", 4000, "0 101", &crypto).replace("RTP/AVP", "RTP/SAVP")
    };
    let uri = format!("sip:102@{DOMAIN}");
    let text = |cseq: u32, auth: &str, mki: &str| {
        let branch = format!("z9hG4bKm{cseq}");
        invite(&uri, "user-a", A, "mki", cseq, &branch, auth, "", &secure(mki)).replace("SIP/2.0/UDP", "SIP/2.0/TLS")
    };
    w.send_tls(A, &text(1, "", "1:16"));
    let challenge = w.take(A);
    let auth = w.answer_to(&challenge, "user-a", "INVITE", &uri);
    w.send_tls(A, &text(2, &auth, "1:16"));
    let refused = w.take_final(A);
    assert_eq!(refused.status(), 488);
    let words = refused.header_str(HeaderName::Warning).expect("a Warning").into_owned();
    assert!(words.contains("master key identifier"), "{words}");
    assert!(w.nothing_for(B), "no phone rings for a call that would be silent");
}

#[test]
fn a_phone_whose_connection_broke_in_a_call_gets_its_bye_by_the_new_one_rfc_5626_section_4_3() {
    const AGAIN: &str = "198.51.100.20:40001";
    let contact = format!("sip:user-b@{B};transport=tls");
    let mut w = World::new();
    w.register("user-a", A);
    w.register_tls_by(77, "user-b", B, &contact);
    let call_id = w.invite("user-a", A, "102", &offer(), "");
    let invite = w.take(B);
    w.send_tls(B, &reply(&invite, 200, "btag", &format!("Contact: <{contact}>\r\n"), &answer()));
    let ack_b = w.take_starting(B, "ACK ");
    let ok = w.take_final(A);
    let call = Established { a: A.into(), b: B.into(), call_id, invite, ok, ack_b, cseq_a: 2, cseq_b: 1 };
    w.send(A, &call.of_a("ACK", 2, "", ""));
    w.close_tls(77);
    assert_eq!(w.status().calls, 1, "a broken connection is no end of a call");
    w.register_tls_by(78, "user-b", AGAIN, &contact);
    w.send(A, &call.of_a("BYE", 3, "", ""));
    let bye = w.take_starting(AGAIN, "BYE ");
    w.send_tls_by(78, AGAIN, &reply(&bye, 200, "", "", ""));
    w.assert_empty();
}

#[test]
fn a_refresh_whose_connection_is_gone_is_tried_again_until_the_session_ends_rfc_4028_section_10() {
    let contact = format!("sip:user-b@{B};transport=tls");
    for comes_back in [true, false] {
        let mut cfg = config();
        cfg.calls.session_expires = std::time::Duration::from_secs(600);
        let mut w = World::with(cfg, site());
        w.register("user-a", A);
        w.register_tls_by(77, "user-b", B, &contact);
        let call_id = w.invite("user-a", A, "102", &offer(), "");
        let invite = w.take(B);
        w.send_tls(B, &reply(&invite, 200, "btag", &format!("Contact: <{contact}>\r\n"), &answer()));
        let ack_b = w.take_starting(B, "ACK ");
        let ok = w.take_final(A);
        let call = Established { a: A.into(), b: B.into(), call_id, invite, ok, ack_b, cseq_a: 2, cseq_b: 1 };
        w.send(A, &call.of_a("ACK", 2, "", ""));
        w.pass(std::time::Duration::from_secs(299));
        w.close_tls(77);
        w.pass(std::time::Duration::from_secs(2));
        // The refresh of A's side is answered; that of B's fails with its connection.
        let refresh_a = w.take_starting(A, "INVITE ");
        w.send(A, &reply(&refresh_a, 200, "", &format!("Contact: <sip:user-a@{A}>\r\n"), &offer()));
        w.fail_sends_to(B, "INVITE ");
        assert_eq!(w.status().calls, 1, "one lost refresh is no end");
        if comes_back {
            w.register_tls_by(78, "user-b", B, &contact);
            w.pass(std::time::Duration::from_secs(10));
            let refresh = w.take_starting(B, "INVITE ");
            w.send_tls_by(78, B, &reply(&refresh, 200, "", &format!("Contact: <{contact}>\r\n"), &answer()));
            w.pass(std::time::Duration::from_secs(280));
            assert_eq!(w.status().calls, 1);
        } else {
            w.pass(std::time::Duration::from_secs(290));
            assert_eq!(w.status().calls, 0, "the session ends at its time");
            assert_eq!(w.cdrs()[0].cause, Some(EndCause::PeerGone));
        }
    }
}

#[test]
fn a_change_whose_interval_is_too_short_for_the_other_side_is_asked_again_with_more_rfc_4028_section_7_3() {
    let mut cfg = config();
    cfg.calls.session_expires = std::time::Duration::from_secs(600);
    let mut w = World::with(cfg, site());
    let call = w.call(A, B);
    w.send(A, &call.of_a("INVITE", 3, "", &sdp_with("198.51.100.10", 4000, "0 8 101", "a=sendonly\r\n")));
    let first = w.take_starting(B, "INVITE ");
    w.send(B, &reply(&first, 422, "", "Min-SE: 1200\r\n", ""));
    let second = w.take_starting(B, "INVITE ");
    assert_eq!(second.header_str(HeaderName::SessionExpires).as_deref(), Some("1200;refresher=uac"));
    assert_eq!(second.body(), first.body(), "the same offer");
    let held = sdp_with("198.51.100.20", 5000, "0 101", "a=recvonly\r\n");
    w.send(B, &reply(&second, 200, "", &contact(B), &held));
    assert_eq!(w.take_final(A).status(), 200, "the side that asked hears of no interval");
    w.send(A, &call.of_a("INVITE", 4, "", &sdp_with("198.51.100.10", 4000, "0 8 101", "a=sendrecv\r\n")));
    let third = w.take_starting(B, "INVITE ");
    w.send(B, &reply(&third, 422, "", "Min-SE: 1200\r\n", ""));
    assert_eq!(w.take_final(A).status(), 488, "a phone that refuses what it has asked for refuses the change");
}

#[test]
fn a_phone_that_answers_everything_with_a_bare_422_is_asked_each_thing_once() {
    for (session, method) in [(0, "INFO"), (600, "INFO"), (0, "INVITE"), (600, "INVITE"), (600, "MESSAGE")] {
        let mut cfg = config();
        cfg.calls.session_expires = std::time::Duration::from_secs(session);
        let mut w = World::with(cfg, site());
        let call = w.call(A, B);
        let body = if method == "INVITE" {
            sdp_with("198.51.100.10", 4000, "0 8 101", "a=sendonly\r\n")
        } else {
            "Signal=1".to_owned()
        };
        w.send(A, &call.of_a(method, 3, "", &body));
        let mut asked = 0;
        while let Some(request) = w.try_take(B) {
            if first_line(&request).starts_with(method) && asked < 20 {
                asked += 1;
                w.send(B, &reply(&request, 422, "", "", ""));
            }
        }
        assert_eq!(asked, 1, "{method} with an interval of {session} s");
        assert_eq!(w.take_final(A).status(), if method == "INVITE" { 488 } else { 500 });
        assert_eq!(w.status().calls, 1, "the call goes on as it was");
    }
}

/// Behind each NAT the same address.
const PRIVATE: &str = "sip:user-b@192.168.1.100:5061;transport=tls";
const B3: &str = "198.51.100.22:40001";
const B4: &str = "198.51.100.23:40001";

fn instance(n: u32, reg_id: u32) -> String {
    format!("<{PRIVATE}>;+sip.instance=\"<urn:uuid:{n}>\";reg-id={reg_id}")
}

/// `user-a` has called 102, whose phone on connection 77 at B took the call; the one on connection 78 at B2 rang too.
fn call_taken_by_77(w: &mut World) -> Established {
    let call_id = w.invite("user-a", A, "102", &offer(), "");
    let (invite, other) = (w.take_starting(B, "INVITE "), w.take_starting(B2, "INVITE "));
    w.send_tls_by(77, B, &reply(&invite, 200, "btag", &format!("Contact: <{PRIVATE}>\r\n"), &answer()));
    w.send_tls_by(78, B2, &reply(&other, 486, "ctag", "", ""));
    let ack_b = w.take_starting(B, "ACK ");
    let ok = w.take_final(A);
    let call = Established { a: A.into(), b: B.into(), call_id, invite, ok, ack_b, cseq_a: 2, cseq_b: 1 };
    w.send(A, &call.of_a("ACK", 2, "", ""));
    call
}

#[test]
fn a_call_stays_with_its_phone_when_another_of_the_same_address_registers_by_a_new_connection_rfc_5626_section_4_1() {
    for home_is_lost in [false, true] {
        let mut w = World::new();
        w.register("user-a", A);
        w.register_tls_as(77, "user-b", B, &instance(1, 1));
        w.register_tls_as(78, "user-b", B2, &instance(2, 1));
        let call = call_taken_by_77(&mut w);
        if home_is_lost {
            w.close_tls(77);
        }
        w.register_tls_as(79, "user-b", B3, &instance(2, 1));
        let (conn, at) = if home_is_lost { (80, B4) } else { (77, B) };
        if home_is_lost {
            w.register_tls_as(conn, "user-b", at, &instance(1, 1));
        }
        w.send(A, &call.of_a("BYE", 3, "", ""));
        assert!(w.nothing_for(B3), "the office never was in the call: {:?}", w.summary());
        let bye = w.take_starting(at, "BYE ");
        w.send_tls_by(conn, at, &reply(&bye, 200, "", "", ""));
        w.assert_empty();
    }
}

#[test]
fn a_phone_with_two_flows_keeps_its_call_on_the_one_that_is_there_when_the_other_moves() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register_tls_as(77, "user-b", B, &instance(1, 1));
    w.register_tls_as(78, "user-b", B2, &instance(1, 2));
    let call = call_taken_by_77(&mut w);
    w.register_tls_as(79, "user-b", B3, &instance(1, 2));
    w.send(A, &call.of_a("INFO", 3, "", "Signal=1"));
    let info = w.take_starting(B, "INFO ");
    w.send_tls_by(77, B, &reply(&info, 200, "", "", ""));
    w.close_tls(77);
    w.register_tls_as(80, "user-b", B4, &instance(1, 1));
    w.send(A, &call.of_a("BYE", 4, "", ""));
    assert!(first_line(&w.take_starting(B4, "BYE ")).starts_with("BYE "), "once its own is gone, by the new one");
    assert!(w.nothing_for(B3));
}

#[test]
fn a_tls_phone_that_registers_by_udp_in_a_call_keeps_its_call_off_it() {
    let mut w = World::new();
    w.register("user-a", A);
    w.register_tls_by(77, "user-b", B, PRIVATE);
    w.register_tls_by(78, "user-b", B2, "sip:user-b@192.168.1.7:5061;transport=tls");
    let call = call_taken_by_77(&mut w);
    assert_eq!(w.register_with("user-b", B3, &format!("<{PRIVATE}>"), "").status(), 200);
    w.send(A, &call.of_a("INVITE", 3, "", &sdp_with("198.51.100.10", 4000, "0 8 101", "a=sendonly\r\n")));
    assert!(body_text(&w.take_starting(B, "INVITE ")).contains("m=audio"), "a change may carry keys");
    assert!(w.nothing_for(B3), "{:?}", w.summary());
}

/// Makes what was sent to `to` and begins with `start` fail, for that many seconds; says whether there was any.
fn keep_failing(w: &mut World, to: &str, start: &str, seconds: u64) -> bool {
    let mut failed = false;
    for _ in 0..seconds {
        if w.sent.iter().any(|s| s.to == at(to) && first_line(&s.message).starts_with(start)) {
            w.fail_sends_to(to, start);
            failed = true;
        }
        w.pass(std::time::Duration::from_secs(1));
    }
    failed
}

#[test]
fn a_side_that_cannot_be_reached_is_given_up_where_no_session_timer_ends_the_call() {
    let contact = format!("sip:user-b@{B};transport=tls");
    let mut w = World::new();
    w.register("user-a", A);
    w.register_tls_by(77, "user-b", B, &contact);
    let call_id = w.invite("user-a", A, "102", &offer(), "");
    let invite = w.take(B);
    w.send_tls(B, &reply(&invite, 200, "btag", &format!("Contact: <{contact}>\r\n"), &answer()));
    let ack_b = w.take_starting(B, "ACK ");
    let ok = w.take_final(A);
    let call = Established { a: A.into(), b: B.into(), call_id, invite, ok, ack_b, cseq_a: 2, cseq_b: 1 };
    w.send(A, &call.of_a("ACK", 2, "", ""));
    // A change that A has cancelled, but B accepts: B is asked back to what was agreed, and cannot be reached.
    w.send(A, &call.of_a("INVITE", 3, "", &sdp_with("198.51.100.10", 4000, "0 101", "a=sendonly\r\n")));
    let change = w.take_starting(B, "INVITE ");
    w.send_tls(B, &reply(&change, 100, "", "", ""));
    w.send(A, &call.of_a("CANCEL", 3, "", "").replace("bKacancel3", "bKainvite3"));
    let held = sdp_with("198.51.100.20", 5000, "0 101", "a=recvonly\r\n");
    w.send_tls(B, &reply(&change, 200, "", &format!("Contact: <{contact}>\r\n"), &held));
    w.take_starting(B, "ACK ");
    assert!(keep_failing(&mut w, B, "INVITE ", 30));
    assert_eq!(w.status().calls, 1, "a phone has time to come back");
    keep_failing(&mut w, B, "INVITE ", 10);
    assert_eq!(w.status().calls, 0, "it does not keep its call for ever");
    assert_eq!(w.cdrs()[0].cause, Some(EndCause::PeerGone));
    w.take_starting(A, "BYE ");
}

/// A call whose caller was told A-law reliably, and is offered µ-law now, for another phone took the call. What it is
/// offered is on its way.
fn call_that_needs_another_offer(w: &mut World) {
    w.register("user-a", A);
    w.register("user-b", B);
    w.register("user-b", B2);
    let call_id = w.invite("user-a", A, "102", &offer(), "Supported: 100rel\r\n");
    let (first, second) = (w.take_starting(B, "INVITE "), w.take_starting(B2, "INVITE "));
    w.send(B, &reply(&first, 183, "btag", &contact(B), &sdp("198.51.100.20", 5000, "8")));
    let early = w.take_starting(A, "SIP/2.0 183");
    let rseq = early.header_str(HeaderName::Rseq).expect("it is reliable").into_owned();
    let (a, b) = (A.to_owned(), B2.to_owned());
    let mut call =
        Established { a, b, call_id, invite: second.clone(), ok: early, ack_b: second, cseq_a: 3, cseq_b: 1 };
    w.send(A, &call.of_a("PRACK", 3, &format!("RAck: {rseq} 2 INVITE\r\n"), ""));
    w.send(B2, &reply(&call.invite, 200, "ctag", &contact(B2), &sdp("198.51.100.21", 5000, "0")));
    call.ok = w.take_starting(A, "SIP/2.0 200 ");
    while call.ok.cseq().number != 2 {
        call.ok = w.take_starting(A, "SIP/2.0 200 ");
    }
    w.send(A, &call.of_a("ACK", 2, "", ""));
}

fn accept_of_a(w: &mut World, offer: &Message) {
    let format = if body_text(offer).contains("RTP/AVP 0") { "0" } else { "8" };
    let mine = sdp("198.51.100.10", 4000, format);
    w.send(A, &reply(offer, 200, "", &format!("Contact: <sip:user-a@{A}>\r\n"), &mine));
}

#[test]
fn an_offer_that_was_lost_on_its_way_to_the_caller_is_made_again() {
    let mut w = World::new();
    call_that_needs_another_offer(&mut w);
    assert!(w.sent.iter().any(|s| s.to == at(A) && body_text(&s.message).contains("RTP/AVP 0")));
    w.fail_sends_to(A, "INVITE ");
    w.pass(std::time::Duration::from_secs(10));
    let back = w.take_starting(A, "INVITE ");
    w.sent.clear();
    accept_of_a(&mut w, &back);
    let again = w.take_starting(A, "INVITE ");
    assert!(body_text(&again).contains("RTP/AVP 0"), "{}", body_text(&again));
    accept_of_a(&mut w, &again);
    w.sent.clear();
    w.pass(std::time::Duration::from_secs(60));
    assert!(w.nothing_for(A), "{:?}", w.summary());
    assert_eq!(w.status().calls, 1);
}

#[test]
fn a_caller_that_refuses_the_other_offer_is_left_with_what_it_has() {
    let mut w = World::new();
    call_that_needs_another_offer(&mut w);
    let mut refused = 0;
    for _ in 0..300 {
        while let Some(request) = w.try_take(A) {
            if !first_line(&request).starts_with("INVITE ") {
                continue;
            }
            if body_text(&request).contains("RTP/AVP 0") {
                refused += 1;
                w.send(A, &reply(&request, 488, "", "", ""));
            } else {
                accept_of_a(&mut w, &request);
            }
        }
        w.pass(std::time::Duration::from_secs(1));
    }
    assert_eq!((refused, w.status().calls), (3, 1));
}

#[test]
fn a_caller_that_goes_by_its_gruu_is_followed_to_its_new_connection_rfc_5627_section_4_4() {
    const AGAIN: &str = "198.51.100.10:40002";
    let phone = |port: u16| format!("<sip:user-a@192.168.1.50:{port};transport=tls>;+sip.instance=\"<urn:uuid:7>\"");
    for kind in ["pub-gruu", "temp-gruu"] {
        let mut w = World::new();
        w.register("user-b", B);
        let ok = w.register_tls_as(77, "user-a", A, &phone(5061));
        let field = ok.header_str(HeaderName::Contact).expect("a Contact").into_owned();
        let gruu = field.split(&format!("{kind}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        let gruu = gruu.expect("an address in quotes").to_owned();
        let uri = format!("sip:102@{DOMAIN}");
        let text = |cseq: u32, auth: &str| {
            let branch = format!("z9hG4bKg{cseq}");
            invite(&uri, "user-a", A, "g", cseq, &branch, auth, "", &offer())
                .replace("SIP/2.0/UDP", "SIP/2.0/TLS")
                .replace(&format!("Contact: <sip:user-a@{A}>"), &format!("Contact: <{gruu}>"))
        };
        w.send_tls(A, &text(1, ""));
        let challenge = w.take(A);
        let auth = w.answer_to(&challenge, "user-a", "INVITE", &uri);
        w.send_tls(A, &text(2, &auth));
        let invite = w.take_starting(B, "INVITE ");
        w.send(B, &reply(&invite, 200, "btag", &contact(B), &answer()));
        let ack_b = w.take_starting(B, "ACK ");
        let ok = w.take_final(A);
        let (a, b) = (A.to_owned(), B.to_owned());
        let call = Established { a, b, call_id: "g".into(), invite, ok, ack_b, cseq_a: 2, cseq_b: 1 };
        w.send_tls(A, &call.of_a("ACK", 2, "", ""));
        w.close_tls(77);
        // By another port and under another Call-ID, which ends the temporary GRUU.
        w.register_tls_as(78, "user-a", AGAIN, &phone(5062));
        w.send(B, &call.of_b("BYE", 1, "", ""));
        let bye = w.take_starting(AGAIN, "BYE ");
        w.send_tls_by(78, AGAIN, &reply(&bye, 200, "", "", ""));
        w.assert_empty();
    }
}
