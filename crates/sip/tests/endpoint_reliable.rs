//! Reliable provisional answers (RFC 3262), both sides.

mod endpoint_support;

use endpoint_support::*;
use ringfort_sip::endpoint::*;
use ringfort_sip::flow::Transport;
use ringfort_sip::{HeaderName, Headers, Message, Method};

fn reliable_invite() -> OutRequest {
    OutRequest { reliable: true, ..invite(0, Transport::Udp) }
}

/// The endpoint has an INVITE that knows 100rel and has answered it reliably; gives the answer.
fn ringing(alone: &mut Alone, r: Response) -> (ServerTx, Message) {
    alone.get(&text("INVITE", "z9hG4bKa", 1, "", "Supported: 100rel\r\n"));
    let tx = alone.request_tx();
    alone.end.respond_reliably(alone.now, tx, r).expect("the peer knows 100rel");
    (tx, alone.sent().remove(0))
}

fn prack(branch: &str, cseq: u32, tag: &str, rack: &str) -> String {
    text("PRACK", branch, cseq, tag, &format!("RAck: {rack}\r\n"))
}

fn rseq(msg: &Message) -> u32 {
    msg.rseq().expect("an RSeq").expect("a number")
}

#[test]
fn a_reliable_answer_reaches_the_caller_and_is_acknowledged_by_itself_rfc_3262_section_4() {
    let mut world = World::new(Weather::FAIR, 5);
    let now = world.now;
    world.ends[0].send_request(now, reliable_invite()).expect("there is room");
    let mut seen = Vec::new();
    world.run_for(secs(3), &mut |end, now, side, event| {
        if let Event::Request { tx, .. } = &event {
            end.respond_reliably(now, *tx, Response::new(183).body(sdp())).expect("the caller knows 100rel");
            end.respond_reliably(now, *tx, Response::new(180)).expect("queued");
            end.respond(now, *tx, Response::new(200)).expect("held");
            assert_eq!(end.respond(now, *tx, Response::new(200)), Err(EndpointError::AlreadyAnswered));
        }
        if let Event::Response { dialog: Some(dialog), response, .. } = &event
            && response.status() == 200
        {
            end.ack(now, *dialog, Headers::default(), None);
        }
        seen.push((side, event));
    });
    assert_eq!(
        words(&seen),
        ["1 request INVITE", "0 183 INVITE", "1 prack", "0 180 INVITE", "1 prack", "0 200 INVITE", "1 ack"]
    );
}

#[test]
fn it_is_repeated_with_doubling_intervals_and_given_up_after_64_t1_rfc_3262_section_3() {
    let mut alone = Alone::new();
    let (tx, first) = ringing(&mut alone, Response::new(183).body(sdp()));
    assert!(first.has_option(HeaderName::Require, "100rel"));
    assert!((1..=0x7fff_ffff).contains(&rseq(&first)));
    alone.pass(secs(40));
    assert_eq!(alone.sent().len(), 6, "0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s");
    assert_eq!(alone.words(), ["no prack"]);
    alone.end.respond(alone.now, tx, Response::new(504)).expect("not answered yet");
    assert_eq!(alone.labels(), ["504 INVITE"]);
}

#[test]
fn a_prack_stops_it_and_one_that_fits_nothing_gets_481_rfc_3262_section_3() {
    let mut alone = Alone::new();
    let (_, first) = ringing(&mut alone, Response::new(180));
    let (tag, rseq) = (first.to_tag().expect("a tag").to_owned(), rseq(&first));
    for (n, rack) in [format!("{} 1 INVITE", rseq + 1), format!("{rseq} 2 INVITE"), format!("{rseq} 1 BYE"), "x".into()]
        .iter()
        .enumerate()
    {
        alone.get(&prack(&format!("z9hG4bKp{n}"), 2 + n as u32, &tag, rack));
        assert_eq!(alone.labels(), ["481 PRACK"], "{rack}");
    }
    let good = prack("z9hG4bKgood", 20, &tag, &format!("{rseq} 1 INVITE"));
    alone.get(&good);
    assert_eq!(alone.words(), ["prack"]);
    alone.get(&good);
    assert_eq!(alone.labels(), ["200 PRACK", "200 PRACK"]);
    alone.pass(secs(40));
    assert!(alone.labels().is_empty() && alone.words().is_empty());
    alone.get(&prack("z9hG4bKlate", 21, &tag, &format!("{rseq} 1 INVITE")));
    assert_eq!(alone.labels(), ["481 PRACK"], "a second time");
}

#[test]
fn a_prack_with_a_body_is_for_the_user_to_answer() {
    let mut alone = Alone::new();
    let (_, first) = ringing(&mut alone, Response::new(183).body(sdp()));
    let (tag, rseq) = (first.to_tag().expect("a tag").to_owned(), rseq(&first));
    let with_body = prack("z9hG4bKp", 2, &tag, &format!("{rseq} 1 INVITE"))
        .replace("Content-Length: 0\r\n\r\n", "Content-Length: 1\r\n\r\nv");
    alone.get(&with_body);
    let events = alone.events();
    assert_eq!(events.iter().map(word).collect::<Vec<_>>(), ["prack", "dialog PRACK"]);
    let Event::DialogRequest { tx, .. } = events[1] else { panic!("expected the PRACK") };
    alone.end.respond(alone.now, tx, Response::new(200).body(sdp())).expect("not answered yet");
    assert_eq!(alone.labels(), ["200 PRACK"]);
}

#[test]
fn a_caller_without_100rel_gets_none_and_one_that_requires_it_gets_it_always_rfc_3262_section_3() {
    let mut alone = Alone::new();
    alone.get(&text("INVITE", "z9hG4bKa", 1, "", ""));
    let tx = alone.request_tx();
    let result = alone.end.respond_reliably(alone.now, tx, Response::new(180));
    assert_eq!(result, Err(EndpointError::NotReliable));
    alone.get(&text("INVITE", "z9hG4bKb", 2, "", "Require: 100rel\r\n"));
    let tx = alone.request_tx();
    alone.sent();
    alone.end.respond(alone.now, tx, Response::new(180)).expect("not answered yet");
    assert!(alone.sent()[0].rseq().is_some());
}

#[test]
fn a_final_refusal_does_not_wait_and_stops_the_repetition_but_a_late_prack_is_known() {
    let mut alone = Alone::new();
    let (tx, first) = ringing(&mut alone, Response::new(180));
    alone.end.respond(alone.now, tx, Response::new(200)).expect("no description is outstanding");
    assert_eq!(alone.labels(), ["200 INVITE"]);
    let tag = first.to_tag().expect("a tag").to_owned();
    alone.get(&prack("z9hG4bKp", 2, &tag, &format!("{} 1 INVITE", rseq(&first))));
    assert_eq!(alone.labels(), ["200 PRACK"]);
    alone.get(&text("ACK", "z9hG4bKk", 1, &tag, ""));
    alone.pass(secs(10));
    assert!(alone.labels().is_empty());
}

#[test]
fn a_cancel_drops_the_2xx_that_waited_for_a_prack() {
    let mut alone = Alone::new();
    let (tx, _) = ringing(&mut alone, Response::new(183).body(sdp()));
    alone.end.respond(alone.now, tx, Response::new(200)).expect("held");
    assert!(alone.labels().is_empty());
    alone.get(&text("CANCEL", "z9hG4bKa", 1, "", ""));
    assert_eq!(alone.labels(), ["200 CANCEL", "487 INVITE"]);
    assert_eq!(alone.words(), ["cancelled", "ended"]);
}

fn reliable(status: u16, rseq: u32, sent: &Message) -> String {
    answer_to(sent, status, "x", &format!("Require: 100rel\r\nRSeq: {rseq}\r\n"))
}

#[test]
fn the_caller_takes_them_in_order_and_each_once_rfc_3262_section_4() {
    let mut alone = Alone::new();
    let r = OutRequest { reliable: true, ..invite(1, Transport::Udp) };
    alone.end.send_request(alone.now, r).expect("there is room");
    let sent = alone.sent().remove(0);
    assert!(sent.has_option(HeaderName::Supported, "100rel"));
    for rseq in [100, 100, 102, 101] {
        alone.get(&reliable(180, rseq, &sent));
    }
    assert_eq!(alone.words(), ["180 INVITE", "180 INVITE"]);
    let pracks = alone.sent();
    let racks: Vec<_> = pracks.iter().map(|prack| prack.header_str(HeaderName::Rack).expect("an RAck")).collect();
    assert_eq!(racks, ["100 1 INVITE", "101 1 INVITE"]);
    assert_eq!(pracks.iter().map(|prack| prack.cseq().number).collect::<Vec<_>>(), [2, 3]);
    alone.get(&answer_to(&pracks[0], 200, "", ""));
    assert!(alone.words().is_empty(), "its answer is nobody's business");
}

#[test]
fn an_offer_in_a_reliable_answer_waits_for_the_users_prack_rfc_3262_section_5() {
    let mut alone = Alone::new();
    let r = OutRequest { reliable: true, body: None, ..invite(1, Transport::Udp) };
    alone.end.send_request(alone.now, r).expect("there is room");
    let sent = alone.sent().remove(0);
    let offer = reliable(183, 7, &sent).replace("Content-Length: 0\r\n\r\n", "Content-Length: 1\r\n\r\nv");
    alone.get(&offer);
    assert!(alone.labels().is_empty());
    let Some(Event::Response { dialog: Some(dialog), .. }) = alone.events().pop() else { panic!("expected a 183") };
    alone.end.prack(alone.now, dialog, Headers::default(), Some(sdp())).expect("one is due");
    let prack = alone.sent().remove(0);
    assert_eq!(prack.header(HeaderName::Rack), Some(&b"7 1 INVITE"[..]));
    assert!(!prack.body().is_empty());
    let again = alone.end.prack(alone.now, dialog, Headers::default(), None);
    assert_eq!(again, Err(EndpointError::WrongState));
    alone.get(&answer_to(&prack, 200, "", ""));
    assert_eq!(alone.words(), ["200 PRACK"]);
}

#[test]
fn an_update_is_possible_once_the_offer_was_answered_reliably_rfc_3311_section_5_1() {
    let mut alone = Alone::new();
    let r = OutRequest { reliable: true, ..invite(1, Transport::Udp) };
    alone.end.send_request(alone.now, r).expect("there is room");
    let sent = alone.sent().remove(0);
    alone.get(&answer_to(&sent, 180, "x", ""));
    let Some(Event::Response { dialog: Some(dialog), .. }) = alone.events().pop() else { panic!("expected a 180") };
    let update = |alone: &mut Alone| {
        alone.end.dialog_request(alone.now, dialog, Method::Update, Headers::default(), Some(sdp()))
    };
    assert_eq!(update(&mut alone), Err(EndpointError::Pending));
    alone.get(&reliable(183, 1, &sent).replace("Content-Length: 0\r\n\r\n", "Content-Length: 1\r\n\r\nv"));
    assert!(update(&mut alone).is_ok());
    let invite = alone.end.dialog_request(alone.now, dialog, Method::Invite, Headers::default(), None);
    assert_eq!(invite, Err(EndpointError::Pending), "no re-INVITE in an early dialog");
}

#[test]
fn answers_that_wait_for_a_prack_are_bounded_and_one_more_is_refused() {
    let mut alone = Alone::new();
    let (tx, first) = ringing(&mut alone, Response::new(183).body(sdp()));
    let again = |alone: &mut Alone| alone.end.respond_reliably(alone.now, tx, Response::new(180));
    for _ in 0..MOST_WAITING {
        again(&mut alone).expect("there is room");
    }
    for _ in 0..100 {
        assert_eq!(again(&mut alone), Err(EndpointError::TooManyProvisional));
    }
    assert!(alone.sent().is_empty(), "each waits for the PRACK of the one before");
    let (tag, mut number) = (first.to_tag().expect("a tag").to_owned(), rseq(&first));
    for n in 0..MOST_WAITING as u32 {
        alone.get(&prack(&format!("z9hG4bKp{n}"), 2 + n, &tag, &format!("{number} 1 INVITE")));
        let sent = alone.sent();
        let next = sent.iter().find(|message| label(message) == "180 INVITE").expect("the next in line");
        assert_eq!(rseq(next), number + 1, "in order, none twice");
        number += 1;
        again(&mut alone).expect("one has gone, so one may come");
        assert_eq!(again(&mut alone), Err(EndpointError::TooManyProvisional));
    }
    alone.end.respond(alone.now, tx, Response::new(486)).expect("not answered yet");
    assert_eq!(alone.labels(), ["486 INVITE"], "a refusal does not wait");
}
