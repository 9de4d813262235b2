//! Parallel forking, early media, reliable answers, legs that come and go.

use ringfort_media::bridge::{AnswerIn, LegIx, SdpReject};

use super::support::*;

/// A caller and three phones that ring.
fn forked() -> (Call, LegIx, [LegIx; 3]) {
    let mut call = Call::new();
    let a = call.bridge.add_leg(plain());
    call.bridge.offer_received(a, &sdp(1, 1, AUDIO)).unwrap();
    let phones = [(); 3].map(|()| {
        let leg = call.bridge.add_leg(plain());
        call.offer_for(leg);
        leg
    });
    (call, a, phones)
}

fn answer(phone: u8, codec: u8) -> Vec<u8> {
    sdp(phone, 1, &format!("m=audio 600{phone} RTP/AVP {codec}"))
}

#[test]
fn every_fork_has_its_own_session_and_port_and_the_winner_is_connected() {
    let (mut call, a, [b, c, d]) = forked();
    assert_eq!(call.ports.streams(), 4);
    assert_ne!(call.stream(b, 0).1, call.stream(c, 0).1, "unlearned streams do not share");
    call.answer(c, &answer(3, 8)).unwrap();
    call.select(c);
    let answered = call.answer_for(a, AnswerIn::Final);
    assert!(answered.contains("RTP/AVP 8\r\n") && call.connected(a, c, 0));
    call.remove(b);
    call.remove(d);
    assert_eq!(call.ports.streams(), 2);
    assert!(!call.bridge.needs_reoffer());
    call.hang_up();
}

#[test]
fn early_media_of_the_first_fork_flows_and_the_winners_answer_may_differ() {
    let (mut call, a, [b, c, _]) = forked();
    call.answer(b, &answer(2, 8)).unwrap();
    let early = call.answer_for(a, AnswerIn::Provisional);
    assert!(call.connected(a, b, 0));
    call.answer(c, &answer(3, 0)).unwrap();
    assert!(call.connected(a, b, 0), "the first keeps the caller's ear until one is selected");
    call.select(c);
    assert!(call.connected(a, c, 0));
    let last = call.answer_for(a, AnswerIn::Final);
    assert!(early.contains("RTP/AVP 8\r\n") && last.contains("RTP/AVP 0\r\n"));
    assert_eq!(origin(&last), (origin(&early).0, origin(&early).1 + 1));
    assert_eq!(call.config(a, 0).payload_types.iter().collect::<Vec<_>>(), [0]);
    call.hang_up();
}

#[test]
fn a_final_answer_may_differ_from_the_early_one_of_the_same_phone() {
    let (mut call, a, [b, ..]) = forked();
    call.answer(b, &answer(2, 8)).unwrap();
    let early = call.answer_for(a, AnswerIn::Provisional);
    assert_eq!(early, call.answer_for(a, AnswerIn::Provisional), "another 183 says the same");
    call.answer(b, &sdp(2, 2, "m=audio 7000 RTP/AVP 0")).unwrap();
    let last = call.answer_for(a, AnswerIn::Final);
    assert!(last.contains("RTP/AVP 0\r\n"));
    assert_eq!(call.config(b, 0).remote, at(2, 7000));
    assert_eq!(call.flows[&call.stream(b, 0).0].relearned, 1);
    call.hang_up();
}

#[test]
fn what_was_answered_reliably_is_kept_and_mended_by_a_re_offer_rfc_3262_rfc_6337() {
    let (mut call, a, [b, c, d]) = forked();
    call.answer(b, &answer(2, 8)).unwrap();
    let early = call.answer_for(a, AnswerIn::Reliable);
    call.answer(c, &answer(3, 0)).unwrap();
    call.select(c);
    assert_eq!(call.answer_for(a, AnswerIn::Final), early);
    call.remove(b);
    call.remove(d);
    assert!(call.bridge.needs_reoffer(), "the caller was told A-law, the winner takes µ-law");
    let mended = call.offer_for(a);
    assert!(mended.contains("RTP/AVP 0\r\n"));
    assert_eq!(origin(&mended).1, origin(&early).1 + 1);
    call.answer(a, &sdp(1, 2, "m=audio 4000 RTP/AVP 0")).unwrap();
    assert!(!call.bridge.needs_reoffer() && call.connected(a, c, 0));
    assert_eq!(call.config(a, 0).payload_types.iter().collect::<Vec<_>>(), [0]);
    call.hang_up();
}

#[test]
fn an_update_in_an_early_dialog_passes_after_a_reliable_answer_rfc_3311() {
    let (mut call, a, [b, c, _]) = forked();
    call.answer(b, &answer(2, 8)).unwrap();
    assert_eq!(call.bridge.offer_received(b, &answer(2, 0)), Err(SdpReject::OfferPending), "the caller waits");
    call.answer_for(a, AnswerIn::Reliable);
    let (offered, answered) =
        call.exchange(b, a, &sdp(2, 2, "m=audio 6002 RTP/AVP 0"), &sdp(1, 2, "m=audio 4000 RTP/AVP 0"));
    assert!(offered.contains("RTP/AVP 0\r\n") && answered.contains("RTP/AVP 0\r\n"));
    assert!(call.connected(a, b, 0));
    call.rollback();
    assert!(call.connected(a, b, 0), "the exchange is over: there is nothing to go back to");
    assert!(!call.bridge.owes_answer_to(a), "the 200 needs no answer");
    call.answer(b, &sdp(2, 2, "m=audio 6666 RTP/AVP 8")).unwrap();
    assert_eq!(call.config(b, 0).remote, at(2, 6002), "what a 200 repeats is ignored (RFC 3261 §13.2.1)");
    assert_eq!(call.answer_for(a, AnswerIn::Final), offered);
    call.answer(c, &answer(3, 8)).unwrap();
    call.hang_up();
}

#[test]
fn a_failed_update_of_one_fork_does_not_touch_the_others() {
    let (mut call, a, [b, c, _]) = forked();
    call.answer(b, &answer(2, 8)).unwrap();
    call.answer_for(a, AnswerIn::Reliable);
    call.bridge.offer_received(b, &sdp(2, 2, "m=audio 6002 RTP/AVP 0")).unwrap();
    call.offer_for(a);
    call.rollback();
    assert_eq!(call.config(b, 0).payload_types.iter().collect::<Vec<_>>(), [8]);
    call.answer(c, &answer(3, 8)).unwrap();
    call.select(c);
    assert!(call.connected(a, c, 0));
    call.hang_up();
}

#[test]
fn the_next_fork_takes_over_when_the_first_one_goes() {
    let (mut call, a, [b, c, _]) = forked();
    call.answer(b, &answer(2, 8)).unwrap();
    call.answer_for(a, AnswerIn::Provisional);
    call.answer(c, &answer(3, 8)).unwrap();
    call.remove(b);
    assert_eq!(call.bridge.selected(), Some(c));
    assert!(call.connected(a, c, 0));
    call.hang_up();
}

#[test]
fn another_phone_is_tried_after_the_first_refused() {
    let (mut call, a, phones) = forked();
    phones.into_iter().for_each(|leg| call.remove(leg));
    assert_eq!(call.ports.streams(), 1);
    let voicemail = call.bridge.add_leg(plain());
    call.offer_for(voicemail);
    call.answer(voicemail, &answer(9, 8)).unwrap();
    call.answer_for(a, AnswerIn::Final);
    assert!(call.connected(a, voicemail, 0));
    call.hang_up();
}

#[test]
fn a_transferred_caller_is_offered_what_the_new_leg_has() {
    let (mut call, a, [b, c, d]) = forked();
    call.answer(b, &answer(2, 8)).unwrap();
    call.answer_for(a, AnswerIn::Final);
    call.remove(c);
    call.remove(d);
    call.remove(a);
    assert_eq!(call.flows.len(), 1, "b is the anchor now and alone");
    let target = call.bridge.add_leg(plain());
    let offered = call.offer_for(target);
    assert!(offered.contains("RTP/AVP 8\r\n"));
    call.answer(target, &answer(5, 8)).unwrap();
    assert!(call.connected(b, target, 0) && !call.bridge.needs_reoffer());
    call.hang_up();
}

#[test]
fn stream_ids_lead_back_to_their_leg() {
    let (mut call, a, [b, ..]) = forked();
    let stream = call.stream(b, 0).0;
    assert_eq!(call.bridge.leg_of(stream), Some(b));
    call.remove(b);
    assert_eq!(call.bridge.leg_of(stream), None);
    assert_eq!(call.bridge.leg_of(call.stream(a, 0).0), Some(a));
    call.hang_up();
}
