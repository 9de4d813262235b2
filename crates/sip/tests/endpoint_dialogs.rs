//! Calls: dialogs, forks, CANCEL races, repeated 2xx, order and glare.

mod endpoint_support;

use endpoint_support::*;
use ringfort_sip::endpoint::*;
use ringfort_sip::flow::{ConnId, Flow, Target, Transport};
use ringfort_sip::{HeaderName, Headers, Message, Method};

/// Sends an INVITE from the endpoint alone; gives it as sent.
fn invite_out(alone: &mut Alone) -> (ClientTx, Message) {
    let tx = alone.end.send_request(alone.now, invite(1, Transport::Udp)).expect("there is room");
    (tx, alone.sent().remove(0))
}

/// Answers the INVITE of the peer (branch z9hG4bKinv, CSeq 1) with 200; gives dialog and our tag.
fn answered(alone: &mut Alone, more: &str) -> (DialogId, String) {
    alone.get(&text("INVITE", "z9hG4bKinv", 1, "", more));
    let tx = alone.request_tx();
    alone.end.respond(alone.now, tx, Response::new(200).body(sdp())).expect("not answered yet");
    let tag = alone.sent()[0].to_tag().expect("a tag").to_owned();
    (alone.end.dialog_of(tx).expect("a 2xx begins one"), tag)
}

/// The same with its ACK.
fn established(alone: &mut Alone) -> (DialogId, String) {
    let (dialog, tag) = answered(alone, "");
    alone.get(&text("ACK", "z9hG4bKack", 1, &tag, ""));
    assert_eq!(alone.words(), ["ack"]);
    (dialog, tag)
}

#[test]
fn a_call_is_set_up_and_ended_and_nothing_of_it_stays() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut world = World::new(Weather::FAIR, 3);
        let (caller, callee) = world.call(invite(0, transport));
        let [a, b] = [(0, caller), (1, callee)].map(|(side, id)| world.ends[side].dialog(id).expect("in a call"));
        assert_eq!((a.state(), b.state()), (DialogState::Confirmed, DialogState::Confirmed));
        assert_eq!((a.call_id(), a.local_tag(), a.remote_tag()), (b.call_id(), b.remote_tag(), b.local_tag()));
        assert_eq!(a.remote_uri(), "sip:bob@example.org");
        assert_eq!(b.remote_uri(), "sip:anna@example.org");
        assert!(a.remote_target().starts_with("sip:bob@192.0.2.2:5060"), "{}", a.remote_target());
        assert!(a.peer_allows(Method::Update) && a.peer_supports("100REL") && !a.peer_supports("gruu"));
        let now = world.now;
        world.ends[1].dialog_request(now, callee, Method::Bye, Headers::default(), None).expect("in a call");
        let mut seen = Vec::new();
        world.run_for(secs(100), &mut |end, now, side, event| {
            if let Event::DialogRequest { tx, .. } = event {
                end.respond(now, tx, Response::new(200)).expect("not answered yet");
            }
            seen.push((side, event));
        });
        assert_eq!(words(&seen), ["0 dialog BYE", "0 ended", "1 200 BYE", "1 ended"]);
        world.assert_empty();
        assert!(world.ends.iter().all(|end| end.poll_timeout().is_none()));
    }
}

#[test]
fn a_2xx_is_repeated_until_its_ack_comes_over_any_transport_rfc_3261_section_13_3_1_4() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut world = World::new(Weather::FAIR, 3);
        let mut acks = 0;
        world.thief = Some(Box::new(move |_, msg| {
            acks += usize::from(msg.method() == Method::Ack);
            msg.method() == Method::Ack && acks <= 3
        }));
        let now = world.now;
        world.ends[0].send_request(now, invite(0, transport)).expect("there is room");
        let mut acked = 0;
        world.run_for(secs(10), &mut |end, now, _, event| match event {
            Event::Request { tx, .. } => end.respond(now, tx, Response::new(200)).expect("not answered yet"),
            Event::Response { dialog, .. } => end.ack(now, dialog.expect("a 2xx"), Headers::default(), None),
            Event::Ack { .. } => acked += 1,
            _ => {}
        });
        assert_eq!(acked, 1);
        let at: Vec<u64> = world.times_of(1, "200 INVITE").iter().map(|at| at - 10).collect();
        assert_eq!(at, [0, 500, 1500, 3500], "T1 doubling, up to T2");
        assert_eq!(world.times_of(0, "ACK").len(), 4, "each repetition is acknowledged again");
    }
}

#[test]
fn without_an_ack_the_user_is_told_after_64_t1_and_a_bye_waits_till_then_rfc_3261_section_15() {
    let mut alone = Alone::new();
    let (dialog, _) = answered(&mut alone, "");
    alone.end.dialog_request(alone.now, dialog, Method::Bye, Headers::default(), None).expect("may be asked for");
    assert!(alone.labels().is_empty(), "no BYE before the ACK");
    alone.pass(secs(31));
    assert!(alone.labels().iter().all(|label| label == "200 INVITE"));
    alone.pass(secs(2));
    assert_eq!(alone.words(), ["no ack"]);
    let sent = alone.labels();
    assert!(sent.contains(&"BYE".to_owned()), "{sent:?}");
    alone.pass(secs(33));
    assert_eq!(alone.words(), ["failed Timeout", "ended"]);
    assert_eq!(alone.end.counts(), Counts::default());
}

#[test]
fn a_bye_that_waited_goes_out_with_the_ack() {
    let mut alone = Alone::new();
    let (dialog, tag) = answered(&mut alone, "");
    alone.end.dialog_request(alone.now, dialog, Method::Bye, Headers::default(), None).expect("may be asked for");
    alone.get(&text("ACK", "z9hG4bKack", 1, &tag, ""));
    assert_eq!(alone.words(), ["ack"]);
    let bye = alone.sent().remove(0);
    assert_eq!((label(&bye), bye.from_tag(), bye.to_tag()), ("BYE".into(), Some(&*tag), Some("a1")));
    alone.get(&answer_to(&bye, 200, "", ""));
    assert_eq!(alone.words(), ["200 BYE", "ended"]);
}

#[test]
fn every_forked_2xx_has_its_own_dialog_and_a_repeated_one_its_ack_again_rfc_3261_section_13_2_2_4() {
    let mut alone = Alone::new();
    let (_, sent) = invite_out(&mut alone);
    for (status, tag) in [(180, "x"), (180, "y"), (183, "x"), (200, "x"), (200, "z")] {
        alone.get(&answer_to(&sent, status, tag, ""));
    }
    let dialogs: Vec<DialogId> = alone
        .events()
        .iter()
        .map(|event| match event {
            Event::Response { dialog: Some(dialog), .. } => *dialog,
            other => panic!("expected an answer in a dialog, got {other:?}"),
        })
        .collect();
    assert_eq!(dialogs[0], dialogs[2]);
    assert_eq!(dialogs[0], dialogs[3], "the early dialog is confirmed");
    assert_ne!(dialogs[0], dialogs[1]);
    assert_ne!(dialogs[0], dialogs[4]);
    alone.get(&answer_to(&sent, 200, "x", ""));
    assert!(alone.words().is_empty() && alone.labels().is_empty(), "not acknowledged by the user yet");
    let mut extra = Headers::default();
    extra.push("X-Extra", "1");
    alone.end.ack(alone.now, dialogs[0], extra, Some(sdp()));
    alone.end.ack(alone.now, dialogs[4], Headers::default(), None);
    let acks = alone.sent();
    assert_eq!(acks.len(), 2);
    assert_eq!((acks[0].to_tag(), acks[1].to_tag()), (Some("x"), Some("z")));
    assert_eq!(acks[0].cseq().number, 1);
    assert_ne!(acks[0].top_via().branch(), sent.top_via().branch());
    alone.get(&answer_to(&sent, 200, "x", ""));
    let again = alone.sent();
    assert_eq!(again[0].raw(), acks[0].raw(), "body and all");
    alone.get(&answer_to(&sent, 180, "y", ""));
    assert!(alone.words().is_empty());
    alone.pass(secs(33));
    assert_eq!(alone.words(), ["ended"], "the dialog that stayed early ends with timer M");
    assert_eq!(alone.end.counts(), Counts { client: 0, server: 0, dialogs: 2 });
}

#[test]
fn the_ack_carries_the_credentials_of_the_invite_rfc_3261_section_13_2_2_4() {
    let mut alone = Alone::new();
    let mut r = invite(1, Transport::Udp);
    r.headers.push("Proxy-Authorization", "Digest mine").push("Subject", "s");
    alone.end.send_request(alone.now, r).expect("there is room");
    let sent = alone.sent().remove(0);
    alone.get(&answer_to(&sent, 200, "x", ""));
    let Some(Event::Response { dialog: Some(dialog), .. }) = alone.events().pop() else { panic!("expected a 200") };
    alone.end.ack(alone.now, dialog, Headers::default(), None);
    let ack = alone.sent().remove(0);
    assert_eq!(ack.header(HeaderName::ProxyAuthorization), Some(&b"Digest mine"[..]));
    assert!(!ack.has(HeaderName::Subject));
}

#[test]
fn a_peer_cannot_make_dialogs_without_end_by_forking() {
    let mut alone = Alone::new();
    let (_, sent) = invite_out(&mut alone);
    for n in 0..100 {
        alone.get(&answer_to(&sent, 180, &format!("t{n}"), ""));
        alone.get(&answer_to(&sent, 200, &format!("u{n}"), ""));
    }
    assert_eq!(alone.end.counts().dialogs, 32);
}

/// An answer with other names than those of our INVITE.
fn foreign(sent: &Message, tag: &str) -> String {
    answer_to(sent, 200, tag, "").replace(sent.from_tag().expect("ours"), "nobodys")
}

#[test]
fn a_2xx_for_another_dialog_fails_the_invite_at_once_and_is_acknowledged_and_hung_up_rfc_3261_section_13_2_2_4() {
    let mut alone = Alone::new();
    let (_, sent) = invite_out(&mut alone);
    alone.get(&answer_to(&sent, 180, "x", ""));
    alone.words();
    alone.get(&foreign(&sent, "x"));
    assert_eq!(alone.words(), ["failed ForeignAnswer"]);
    let out = alone.sent();
    assert_eq!(out.iter().map(label).collect::<Vec<_>>(), ["ACK", "BYE"]);
    for message in &out {
        assert_eq!((message.from_tag(), message.to_tag()), (Some("nobodys"), Some("x")), "by the names it goes by");
    }
    assert!(out[1].header_str(HeaderName::Reason).expect("a Reason").contains("481"));
    alone.get(&foreign(&sent, "x"));
    assert_eq!(alone.labels(), ["ACK"], "a repeated one is acknowledged again and told no more");
    assert!(alone.words().is_empty());
    alone.get(&answer_to(&out[1], 200, "", ""));
    alone.get(&answer_to(&sent, 200, "x", ""));
    assert_eq!(alone.words(), ["ended", "200 INVITE"], "the right one may follow, for the user to end");
    alone.pass(secs(70));
    assert_eq!(alone.end.counts().client, 0);
}

#[test]
fn a_2xx_that_takes_the_names_of_another_call_does_not_end_that_one() {
    let mut alone = Alone::new();
    let (_, one) = invite_out(&mut alone);
    alone.get(&answer_to(&one, 200, "x", ""));
    let Some(Event::Response { dialog: Some(dialog), .. }) = alone.events().pop() else { panic!("expected a 200") };
    alone.end.ack(alone.now, dialog, Headers::default(), None);
    alone.sent();
    let (_, two) = invite_out(&mut alone);
    let stolen = answer_to(&two, 200, "x", "")
        .replace(two.call_id(), one.call_id())
        .replace(two.from_tag().expect("ours"), one.from_tag().expect("ours"));
    alone.get(&stolen);
    assert_eq!(alone.words(), ["failed ForeignAnswer"]);
    assert!(alone.sent().is_empty(), "nothing is said in the first call's name");
    assert!(alone.end.dialog(dialog).is_some_and(|dialog| dialog.state() == DialogState::Confirmed));
}

#[test]
fn a_refused_invite_is_acknowledged_by_the_transaction_and_its_early_dialogs_end_rfc_3261_section_17_1_1_3() {
    let mut alone = Alone::new();
    let mut r = invite(1, Transport::Udp);
    r.routes = vec!["<sip:192.0.2.1;lr>".into()];
    alone.end.send_request(alone.now, r).expect("there is room");
    let sent = alone.sent().remove(0);
    alone.get(&answer_to(&sent, 180, "x", ""));
    alone.get(&answer_to(&sent, 486, "x", ""));
    assert_eq!(alone.words(), ["180 INVITE", "486 INVITE", "ended"]);
    let ack = alone.sent().remove(0);
    assert_eq!(ack.top_via().branch(), sent.top_via().branch());
    assert_eq!((ack.request_uri(), ack.cseq().number), (sent.request_uri(), 1));
    assert_eq!((ack.to_tag(), ack.from_tag()), (Some("x"), sent.from_tag()));
    assert_eq!(ack.header(HeaderName::Route), sent.header(HeaderName::Route));
    alone.get(&answer_to(&sent, 486, "x", ""));
    assert_eq!(alone.sent()[0].raw(), ack.raw());
    assert!(alone.words().is_empty());
    alone.pass(secs(33));
    assert_eq!(alone.end.counts(), Counts::default());
}

#[test]
fn a_cancel_waits_for_the_first_provisional_answer_rfc_3261_section_9_1() {
    let mut alone = Alone::new();
    let (tx, sent) = invite_out(&mut alone);
    let mut extra = Headers::default();
    extra.push("Reason", "SIP;cause=200");
    alone.end.cancel(alone.now, tx, extra.clone());
    alone.end.cancel(alone.now, tx, extra);
    assert!(alone.labels().is_empty());
    alone.get(&answer_to(&sent, 100, "", ""));
    let cancel = alone.sent().remove(0);
    assert_eq!(label(&cancel), "CANCEL");
    assert_eq!(cancel.top_via().branch(), sent.top_via().branch());
    assert_eq!((cancel.cseq().number, cancel.to_tag()), (1, None));
    assert_eq!(cancel.header(HeaderName::Reason), Some(&b"SIP;cause=200"[..]));
    alone.pass(ms(600));
    assert_eq!(alone.labels(), ["CANCEL"], "timer E");
    alone.get(&answer_to(&cancel, 200, "x", ""));
    alone.get(&answer_to(&sent, 487, "x", ""));
    assert_eq!(alone.words(), ["487 INVITE"]);
    assert_eq!(alone.labels(), ["ACK"]);
    alone.pass(secs(33));
    assert_eq!(alone.end.counts(), Counts::default());
}

#[test]
fn a_2xx_that_crosses_the_cancel_is_told_as_any_other() {
    let mut alone = Alone::new();
    let (tx, sent) = invite_out(&mut alone);
    alone.get(&answer_to(&sent, 180, "x", ""));
    alone.end.cancel(alone.now, tx, Headers::default());
    alone.get(&answer_to(&sent, 200, "x", ""));
    assert_eq!(alone.words(), ["180 INVITE", "200 INVITE"]);
    alone.end.cancel(alone.now, tx, Headers::default());
    assert_eq!(alone.labels(), ["CANCEL"]);
}

#[test]
fn a_cancelled_invite_without_final_answer_fails_after_64_t1_rfc_3261_section_9_1() {
    let mut alone = Alone::new();
    let (tx, sent) = invite_out(&mut alone);
    alone.get(&answer_to(&sent, 180, "x", ""));
    alone.end.cancel(alone.now, tx, Headers::default());
    alone.pass(secs(33));
    assert_eq!(alone.words(), ["180 INVITE", "failed Timeout", "ended"]);
    assert_eq!(alone.end.counts(), Counts::default());
}

#[test]
fn a_cancel_ends_a_ringing_invite_with_487_and_an_answered_one_not_at_all_rfc_3261_section_9_2() {
    let mut alone = Alone::new();
    alone.get(&text("INVITE", "z9hG4bKa", 1, "", ""));
    let tx = alone.request_tx();
    alone.end.respond(alone.now, tx, Response::new(180)).expect("not answered yet");
    let ringing = alone.sent().remove(0);
    alone.get(&text("CANCEL", "z9hG4bKa", 1, "", ""));
    assert_eq!(alone.words(), ["cancelled", "ended"]);
    let sent = alone.sent();
    assert_eq!(sent.iter().map(label).collect::<Vec<_>>(), ["200 CANCEL", "487 INVITE"]);
    assert!(sent.iter().all(|msg| msg.to_tag() == ringing.to_tag()), "one tag for all");
    alone.get(&text("CANCEL", "z9hG4bKa", 1, "", ""));
    assert_eq!(alone.labels(), ["200 CANCEL"], "a repeated CANCEL");
    assert_eq!(alone.end.respond(alone.now, tx, Response::new(200)), Err(EndpointError::AlreadyAnswered));

    let mut alone = Alone::new();
    let (dialog, _) = answered(&mut alone, "");
    alone.get(&text("CANCEL", "z9hG4bKinv", 1, "", ""));
    assert_eq!(alone.labels(), ["200 CANCEL"]);
    assert!(alone.words().is_empty() && alone.end.dialog(dialog).is_some());
    alone.get(&text("CANCEL", "z9hG4bKother", 1, "", ""));
    assert_eq!(alone.labels(), ["481 CANCEL"]);
}

#[test]
fn requests_of_an_unknown_dialog_get_481_and_late_ones_500_rfc_3261_section_12_2_2() {
    let mut alone = Alone::new();
    let (_, tag) = established(&mut alone);
    alone.get(&text("INFO", "z9hG4bKb", 5, "unknown", ""));
    assert_eq!(alone.labels(), ["481 INFO"]);
    alone.get(&text("INFO", "z9hG4bKc", 5, &tag, ""));
    assert_eq!(alone.words(), ["dialog INFO"]);
    for cseq in [4, 5] {
        alone.get(&text("INFO", &format!("z9hG4bKd{cseq}"), cseq, &tag, ""));
        assert_eq!(alone.labels(), ["500 INFO"]);
    }
    assert!(alone.words().is_empty());
    alone.get(&text("INFO", "z9hG4bKe", 9, &tag, ""));
    assert_eq!(alone.words(), ["dialog INFO"], "gaps are allowed");
}

#[test]
fn a_request_that_requires_the_unknown_is_refused_with_420_rfc_3261_section_8_2_2_3() {
    let mut alone = Alone::new();
    let (_, tag) = established(&mut alone);
    alone.get(&text("INFO", "z9hG4bKb", 5, &tag, "Require: timer, teleport\r\n"));
    let sent = alone.sent();
    assert_eq!(label(&sent[0]), "420 INFO");
    assert_eq!(sent[0].header(HeaderName::Unsupported), Some(&b"teleport"[..]));
}

#[test]
fn invites_that_cross_are_refused_with_491_and_ours_has_to_wait_rfc_3261_section_14() {
    let mut alone = Alone::new();
    let (dialog, tag) = established(&mut alone);
    let ours = alone.end.dialog_request(alone.now, dialog, Method::Invite, Headers::default(), Some(sdp()));
    let ours = ours.expect("nothing is under way");
    let sent = alone.sent().remove(0);
    assert_eq!(label(&sent), "INVITE");
    assert!(sent.has(HeaderName::Contact) && sent.to_tag() == Some("a1"));
    let again = alone.end.dialog_request(alone.now, dialog, Method::Invite, Headers::default(), Some(sdp()));
    assert_eq!(again, Err(EndpointError::Pending));
    alone.get(&text("INVITE", "z9hG4bKg", 2, &tag, ""));
    assert_eq!(alone.labels(), ["491 INVITE"]);
    alone.get(&text("INVITE", "z9hG4bKg", 2, &tag, ""));
    assert_eq!(alone.labels(), ["491 INVITE"], "the same again, not 500");
    alone.get(&text("ACK", "z9hG4bKg", 2, &tag, ""));
    alone.get(&answer_to(&sent, 491, "", ""));
    assert_eq!(alone.words(), ["491 INVITE"]);
    assert_eq!(alone.labels(), ["ACK"]);
    let wait = alone.end.glare_wait(dialog);
    assert!(wait <= secs(2), "the callee waits 0 to 2 seconds: {wait:?}");
    let later = alone.end.dialog_request(alone.now, dialog, Method::Invite, Headers::default(), Some(sdp()));
    assert!(later.is_ok_and(|later| later != ours));
}

#[test]
fn an_invite_while_the_one_before_is_unanswered_gets_500_with_retry_after_rfc_3261_section_14_2() {
    let mut alone = Alone::new();
    let (dialog, tag) = established(&mut alone);
    alone.get(&text("INVITE", "z9hG4bKg", 2, &tag, ""));
    let tx = alone.request_tx();
    alone.labels();
    alone.get(&text("INVITE", "z9hG4bKh", 3, &tag, ""));
    let sent = alone.sent();
    assert_eq!(label(&sent[0]), "500 INVITE");
    let wait = sent[0].number(HeaderName::RetryAfter).expect("there").expect("a number");
    assert!(wait <= 10);
    let ours = alone.end.dialog_request(alone.now, dialog, Method::Invite, Headers::default(), None);
    assert_eq!(ours, Err(EndpointError::Pending));
    alone.end.respond(alone.now, tx, Response::new(200).body(sdp())).expect("not answered yet");
    assert_eq!(alone.labels(), ["200 INVITE"]);
    alone.get(&text("ACK", "z9hG4bKi", 2, &tag, ""));
    assert_eq!(alone.words(), ["ack"]);
}

#[test]
fn updates_follow_rfc_3311_section_5() {
    let mut alone = Alone::new();
    let (dialog, tag) = established(&mut alone);
    let update = |branch: &str, cseq, offer: bool| {
        let text = text("UPDATE", branch, cseq, &tag, "");
        if offer { text.replace("Content-Length: 0\r\n\r\n", "Content-Length: 1\r\n\r\nv") } else { text }
    };
    alone.get(&update("z9hG4bKu1", 2, true));
    let tx = alone.request_tx();
    alone.get(&update("z9hG4bKu2", 3, true));
    assert_eq!(alone.labels(), ["500 UPDATE"], "the one before is unanswered");
    let ours = alone.end.dialog_request(alone.now, dialog, Method::Update, Headers::default(), Some(sdp()));
    assert_eq!(ours, Err(EndpointError::Pending), "no offer over an offer");
    alone.end.respond(alone.now, tx, Response::new(200)).expect("not answered yet");
    alone.labels();
    alone.end.dialog_request(alone.now, dialog, Method::Update, Headers::default(), Some(sdp())).expect("free now");
    let again = alone.end.dialog_request(alone.now, dialog, Method::Update, Headers::default(), None);
    assert_eq!(again, Err(EndpointError::Pending));
    let sent = alone.sent().remove(0);
    alone.get(&update("z9hG4bKu3", 4, true));
    assert_eq!(alone.labels(), ["491 UPDATE"], "offers cross");
    alone.get(&answer_to(&sent, 200, "", "Contact: <sip:moved@192.0.2.1>\r\n"));
    assert_eq!(alone.words(), ["200 UPDATE"]);
    assert_eq!(alone.end.dialog(dialog).expect("in a call").remote_target(), "sip:moved@192.0.2.1");
    alone.end.dialog_request(alone.now, dialog, Method::Update, Headers::default(), None).expect("free again");
}

#[test]
fn a_bye_before_the_answer_is_answered_and_the_invite_gets_487_rfc_3261_section_15_1_2() {
    let mut alone = Alone::new();
    alone.get(&text("INVITE", "z9hG4bKa", 1, "", ""));
    let invite = alone.request_tx();
    alone.end.respond(alone.now, invite, Response::new(180)).expect("not answered yet");
    let tag = alone.sent()[0].to_tag().expect("a tag").to_owned();
    let early = alone.end.dialog_of(invite).expect("early");
    let bye = alone.end.dialog_request(alone.now, early, Method::Bye, Headers::default(), None);
    assert_eq!(bye, Err(EndpointError::WrongState), "the callee may not");
    alone.get(&text("BYE", "z9hG4bKb", 2, &tag, ""));
    let bye = alone.request_tx();
    alone.end.respond(alone.now, bye, Response::new(200)).expect("not answered yet");
    assert_eq!(alone.labels(), ["200 BYE", "487 INVITE"]);
    assert_eq!(alone.words(), ["ended"]);
}

#[test]
fn two_byes_that_cross_both_get_200_rfc_5407_section_3_2() {
    let mut alone = Alone::new();
    let (dialog, tag) = established(&mut alone);
    alone.end.dialog_request(alone.now, dialog, Method::Bye, Headers::default(), None).expect("in a call");
    let sent = alone.sent().remove(0);
    alone.get(&text("BYE", "z9hG4bKb", 2, &tag, ""));
    assert_eq!(alone.labels(), ["200 BYE"]);
    alone.get(&text("INFO", "z9hG4bKc", 3, &tag, ""));
    assert_eq!(alone.labels(), ["481 INFO"]);
    let info = alone.end.dialog_request(alone.now, dialog, Method::Info, Headers::default(), None);
    assert_eq!(info, Err(EndpointError::WrongState));
    alone.get(&answer_to(&sent, 481, "", ""));
    assert_eq!(alone.words(), ["481 BYE", "ended"]);
}

#[test]
fn a_challenged_bye_is_sent_again_before_the_dialog_ends() {
    let mut alone = Alone::new();
    let (dialog, _) = established(&mut alone);
    let bye = alone.end.dialog_request(alone.now, dialog, Method::Bye, Headers::default(), None).expect("in a call");
    let sent = alone.sent().remove(0);
    alone.get(&answer_to(&sent, 407, "", ""));
    assert_eq!(alone.words(), ["407 BYE"]);
    let mut extra = Headers::default();
    extra.push("Proxy-Authorization", "Digest x");
    alone.end.resend_with(alone.now, bye, extra).expect("kept for it");
    let again = alone.sent().remove(0);
    assert_eq!(again.cseq().number, sent.cseq().number + 1);
    assert!(again.has(HeaderName::ProxyAuthorization));
    alone.get(&answer_to(&again, 200, "", ""));
    assert_eq!(alone.words(), ["200 BYE", "ended"]);
    alone.pass(secs(40));
    assert_eq!(alone.end.counts(), Counts::default());
}

#[test]
fn a_challenged_bye_that_is_not_sent_again_ends_the_dialog_with_its_transaction() {
    let mut alone = Alone::new();
    let (dialog, _) = established(&mut alone);
    alone.end.dialog_request(alone.now, dialog, Method::Bye, Headers::default(), None).expect("in a call");
    let sent = alone.sent().remove(0);
    alone.get(&answer_to(&sent, 401, "", ""));
    alone.pass(secs(40));
    assert_eq!(alone.words(), ["401 BYE", "ended"]);
    assert_eq!(alone.end.counts(), Counts::default());
}

#[test]
fn requests_follow_route_set_and_remote_target_rfc_3261_section_12() {
    let mut alone = Alone::new();
    let (_, sent) = invite_out(&mut alone);
    let routes = "Record-Route: <sip:198.51.100.2;lr>, <sip:198.51.100.1:5080;lr>\r\n";
    alone.get(&answer_to(&sent, 200, "x", &format!("{routes}Contact: <sip:bob@10.0.0.9>\r\n")));
    let Some(Event::Response { dialog: Some(id), .. }) = alone.events().pop() else { panic!("expected a 200") };
    alone.end.ack(alone.now, id, Headers::default(), None);
    let transmit = alone.transmits().remove(0);
    assert_eq!(transmit.target.remote(), "198.51.100.1:5080".parse().expect("an address"), "the first route");
    let ack = parse(transmit.payload);
    assert_eq!(ack.request_uri(), "sip:bob@10.0.0.9");
    let fields: Vec<&[u8]> = ack.headers(HeaderName::Route).collect();
    assert_eq!(fields, [&b"<sip:198.51.100.1:5080;lr>"[..], b"<sip:198.51.100.2;lr>"], "reversed for the caller");

    let mut alone = Alone::new();
    let (id, _) = answered(&mut alone, "Record-Route: <sip:198.51.100.2>\r\nRecord-Route: <sip:198.51.100.1;lr>\r\n");
    let routes: Vec<&str> = alone.end.dialog(id).expect("in a call").routes().collect();
    assert_eq!(routes, ["<sip:198.51.100.2>", "<sip:198.51.100.1;lr>"], "in order for the callee");
    alone.end.dialog_request(alone.now, id, Method::Info, Headers::default(), None).expect("in a call");
    let transmit = alone.transmits().remove(0);
    let info = parse(transmit.payload);
    assert_eq!(info.request_uri(), "sip:198.51.100.2", "a strict router (§12.2.1.1)");
    let fields: Vec<&[u8]> = info.headers(HeaderName::Route).collect();
    assert_eq!(fields, [&b"<sip:198.51.100.1;lr>"[..], b"<sip:anna@192.0.2.1>"]);
}

#[test]
fn a_peer_behind_nat_is_answered_and_asked_where_its_messages_come_from() {
    let mut alone = Alone::new();
    let nat = Flow { remote: "203.0.113.9:34567".parse().expect("an address"), ..flow(0, 1, Transport::Udp) };
    alone.get_by(&text("INVITE", "z9hG4bKa", 1, "", ""), nat);
    let tx = alone.request_tx();
    alone.end.respond(alone.now, tx, Response::new(200)).expect("not answered yet");
    let id = alone.end.dialog_of(tx).expect("a 2xx begins one");
    let tag = alone.sent()[0].to_tag().expect("a tag").to_owned();
    assert_eq!(alone.end.dialog(id).and_then(|dialog| dialog.flow()), Some(&nat));
    let moved = Flow { remote: "203.0.113.9:40000".parse().expect("an address"), ..nat };
    alone.get_by(&text("INFO", "z9hG4bKb", 2, &tag, ""), moved);
    assert_eq!(alone.end.dialog(id).and_then(|dialog| dialog.flow()), Some(&moved), "its NAT has moved");
    let fixed = Target::Connect { transport: Transport::Udp, listener: UDP, remote: addr(0), server_name: None };
    alone.end.set_target(id, fixed.clone());
    alone.get_by(&text("INFO", "z9hG4bKc", 3, &tag, ""), nat);
    assert_eq!(alone.end.dialog(id).map(|dialog| dialog.target().clone()), Some(fixed));
}

#[test]
fn a_dialog_ended_by_its_user_leaves_nothing_that_repeats() {
    let mut alone = Alone::new();
    let (id, tag) = answered(&mut alone, "");
    alone.end.end_dialog(id);
    alone.pass(secs(40));
    assert!(alone.labels().is_empty() && alone.words().is_empty());
    assert_eq!(alone.end.counts(), Counts::default());
    alone.get(&text("BYE", "z9hG4bKb", 2, &tag, ""));
    assert_eq!(alone.labels(), ["481 BYE"]);
    let gone = alone.end.dialog_request(alone.now, id, Method::Bye, Headers::default(), None);
    assert_eq!(gone, Err(EndpointError::UnknownDialog));
}

#[test]
fn an_invite_without_contact_is_refused_rfc_3261_section_8_1_1_8() {
    let mut alone = Alone::new();
    alone.get(&text("INVITE", "z9hG4bKa", 1, "", "").replace("Contact: <sip:anna@192.0.2.1>\r\n", ""));
    assert_eq!(alone.labels(), ["400 INVITE"]);
}

#[test]
fn a_ringing_answer_is_repeated_each_minute_so_that_proxies_wait_rfc_3261_section_13_3_1_1() {
    let mut alone = Alone::new();
    alone.get(&text("INVITE", "z9hG4bKa", 1, "", ""));
    let tx = alone.request_tx();
    alone.end.respond(alone.now, tx, Response::new(180)).expect("not answered yet");
    alone.pass(secs(150));
    assert_eq!(alone.labels(), ["180 INVITE"; 3]);
}

#[test]
fn a_dialog_that_began_under_tls_does_not_go_on_in_the_clear() {
    let (tls, again) = (flow(0, 1, Transport::Tls), Flow { conn: Some(ConnId(2)), ..flow(0, 1, Transport::Tls) });
    let mut alone = Alone::new();
    alone.get_by(&text("INVITE", "z9hG4bKa", 1, "", ""), tls);
    let tx = alone.request_tx();
    alone.end.respond(alone.now, tx, Response::new(200).body(sdp())).expect("not answered yet");
    let dialog = alone.end.dialog_of(tx).expect("a 2xx begins one");
    let ok = alone.sent().pop().expect("the 200");
    let tag = ok.to_tag().expect("ours").to_owned();
    alone.get_by(&text("ACK", "z9hG4bKb", 1, &tag, ""), tls);
    alone.words();
    let way =
        |alone: &Alone| *alone.end.dialog(dialog).and_then(|dialog| dialog.flow()).expect("it follows the peer's flow");
    for (n, method) in ["INVITE", "UPDATE", "INFO", "PRACK"].into_iter().enumerate() {
        let branch = format!("z9hG4bKc{n}");
        alone.get_by(&text(method, &branch, 2, &tag, ""), flow(0, 1, Transport::Udp));
        let answers = alone.transmits();
        assert_eq!(answers.len(), 1, "{method}");
        assert_eq!(parse(answers[0].payload.clone()).status(), 403, "{method}");
        assert!(alone.words().is_empty() && way(&alone) == tls, "{method}");
    }
    alone.get_by(&text("INFO", "z9hG4bKd", 2, &tag, ""), again);
    assert_eq!(alone.words(), ["dialog INFO"], "by another connection under TLS, with the CSeq that was not used up");
    assert_eq!(way(&alone), again);
    alone.get_by(&text("BYE", "z9hG4bKe", 3, &tag, ""), flow(0, 1, Transport::Udp));
    assert_eq!(alone.words(), ["dialog BYE"], "it gives nothing away");
    assert_eq!(way(&alone), again);
}
