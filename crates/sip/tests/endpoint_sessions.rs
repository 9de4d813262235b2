//! Session timers (RFC 4028), both refreshers.

mod endpoint_support;

use endpoint_support::*;
use ringfort_sip::endpoint::*;
use ringfort_sip::flow::Transport;
use ringfort_sip::{HeaderName, Headers, Method};

const HOUR: SessionTimer = SessionTimer { expires: 3600, min_se: 90, refresher: None };

fn with_session(session: SessionTimer) -> OutRequest {
    OutRequest { session: Some(session), ..invite(0, Transport::Udp) }
}

/// Sends UPDATE on every refresh that is due and answers what comes.
fn refresh(end: &mut Endpoint, now: std::time::Instant, event: &Event) {
    match event {
        Event::SessionRefreshDue { dialog } => {
            end.dialog_request(now, *dialog, Method::Update, Headers::default(), None).expect("nothing is under way");
        }
        Event::DialogRequest { tx, .. } => end.respond(now, *tx, Response::new(200)).expect("not answered yet"),
        _ => {}
    }
}

#[test]
fn the_caller_refreshes_at_half_the_interval_as_long_as_the_call_lasts_rfc_4028_section_7() {
    let mut world = World::new(Weather::FAIR, 9);
    let (caller, callee) =
        world.call(with_session(SessionTimer { refresher: Some(Refresher::Uac), ..SessionTimer::DEFAULT }));
    let session = |end: &Endpoint, id| *end.dialog(id).and_then(|dialog| dialog.session()).expect("in force");
    assert_eq!(session(&world.ends[0], caller), Session { interval: 1800, we_refresh: true, min_se: 90 });
    assert_eq!(session(&world.ends[1], callee), Session { interval: 1800, we_refresh: false, min_se: 90 });
    let mut refreshes = 0;
    world.run_for(secs(2 * 3600), &mut |end, now, side, event| {
        assert!(!matches!(event, Event::SessionExpired { .. }));
        if matches!(event, Event::SessionRefreshDue { .. }) {
            assert_eq!(side, 0);
            refreshes += 1;
        }
        refresh(end, now, &event);
    });
    assert_eq!(refreshes, 7, "every 900 s and the time on the way");
}

#[test]
fn the_callee_refreshes_where_it_was_chosen_rfc_4028_section_9() {
    let mut world = World::new(Weather::FAIR, 9);
    let (caller, _) = world.call(with_session(SessionTimer { refresher: Some(Refresher::Uas), ..HOUR }));
    assert!(!world.ends[0].dialog(caller).and_then(|dialog| dialog.session()).expect("in force").we_refresh);
    let mut sides = Vec::new();
    world.run_for(secs(4000), &mut |end, now, side, event| {
        if matches!(event, Event::SessionRefreshDue { .. }) {
            sides.push(side);
        }
        refresh(end, now, &event);
    });
    assert_eq!(sides, [1, 1]);
    assert!(world.ends[0].dialog(caller).is_some());
}

#[test]
fn a_session_that_is_not_refreshed_expires_on_both_sides_rfc_4028_section_10() {
    let mut world = World::new(Weather::FAIR, 9);
    world.call(with_session(HOUR));
    let events = world.watch(secs(3567));
    assert_eq!(words(&events), ["0 refresh"]);
    let events = world.watch(secs(2));
    assert_eq!(words(&events), ["1 expired", "0 expired"], "3600 - 32 s");
    assert!(world.watch(secs(9000)).is_empty(), "told once");
}

#[test]
fn the_end_of_a_call_ends_its_timers() {
    let mut world = World::new(Weather::FAIR, 9);
    let (caller, _) = world.call(with_session(HOUR));
    let now = world.now;
    world.ends[0].dialog_request(now, caller, Method::Bye, Headers::default(), None).expect("in a call");
    world.run_for(secs(60), &mut |end, now, _, event| refresh(end, now, &event));
    world.assert_empty();
    assert!(world.ends.iter().all(|end| end.poll_timeout().is_none()), "no timer lingers for an hour");
}

#[test]
fn a_too_small_interval_gets_422_and_is_sent_again_with_more_rfc_4028_section_7_3() {
    let mut strict = config(1);
    strict.session = Some(SessionTimer { expires: 1200, min_se: 600, refresher: None });
    let mut world = World::with([config(0), strict], Weather::FAIR, 9);
    let now = world.now;
    let tx =
        world.ends[0].send_request(now, with_session(SessionTimer { expires: 100, ..HOUR })).expect("there is room");
    let mut settled = None;
    world.run_for(secs(2), &mut |end, now, _, event| match event {
        Event::Response { tx: answered, response, .. } if response.status() == 422 => {
            assert_eq!(answered, tx);
            assert_eq!(response.min_se(), Some(Ok(600)));
            end.resend_with(now, tx, Headers::default()).expect("kept for it");
        }
        Event::Response { dialog: Some(dialog), .. } => {
            end.ack(now, dialog, Headers::default(), None);
            settled = end.dialog(dialog).and_then(|dialog| dialog.session()).copied();
        }
        Event::Request { tx, request, .. } if end.interval_refusal(&request).is_some() => {
            let refusal = end.interval_refusal(&request).expect("just seen");
            end.respond(now, tx, refusal).expect("not answered yet");
        }
        Event::Request { tx, request, .. } => {
            assert_eq!(request.header(HeaderName::SessionExpires), Some(&b"600"[..]));
            assert_eq!(request.min_se(), Some(Ok(600)));
            end.respond(now, tx, Response::new(200)).expect("not answered yet");
        }
        _ => {}
    });
    assert_eq!(settled, Some(Session { interval: 600, we_refresh: true, min_se: 600 }));
}

#[test]
fn the_callee_shortens_but_never_below_min_se_and_says_who_refreshes_rfc_4028_section_9() {
    let ours = SessionTimer { expires: 300, min_se: 90, refresher: None };
    for (ask, expected) in [
        ("Supported: timer\r\nSession-Expires: 1800\r\n", Some("300;refresher=uac")),
        ("Supported: timer\r\nSession-Expires: 1800;refresher=uas\r\n", Some("300;refresher=uas")),
        ("Supported: timer\r\nSession-Expires: 1800\r\nMin-SE: 900\r\n", Some("900;refresher=uac")),
        ("Supported: timer\r\nSession-Expires: 200\r\n", Some("200;refresher=uac")),
        ("Session-Expires: 1800\r\n", Some("300;refresher=uas")),
        ("Supported: timer\r\n", Some("300;refresher=uac")),
        ("", Some("300;refresher=uas")),
    ] {
        let mut alone = Alone::with(EndpointConfig { session: Some(ours), ..config(1) });
        alone.get(&text("INVITE", "z9hG4bKa", 1, "", ask));
        let tx = alone.request_tx();
        alone.end.respond(alone.now, tx, Response::new(200)).expect("not answered yet");
        let sent = alone.sent().remove(0);
        assert_eq!(sent.header_str(HeaderName::SessionExpires).as_deref(), expected, "{ask}");
        let peer_refreshes = expected.is_some_and(|text| text.ends_with("uac"));
        assert_eq!(sent.has_option(HeaderName::Require, "timer"), peer_refreshes, "{ask}");
    }
    let mut alone = Alone::new();
    let refusal = |more: &str| alone.end.interval_refusal(&parse(text("INVITE", "z9hG4bKa", 1, "", more)));
    let status = |more: &str| refusal(more).map(|refusal| refusal.status);
    assert_eq!(status("Supported: timer\r\nSession-Expires: 60\r\n"), Some(422), "no interval below 90 s (§4)");
    assert_eq!(status("Supported: timer\r\nSession-Expires: 90\r\n"), None);
    assert_eq!(status("Session-Expires: 60\r\n"), None, "a 422 is only for who knows it");
    alone.get(&text("INVITE", "z9hG4bKa", 1, "", "Supported: timer\r\nSession-Expires: 60\r\n"));
    assert_eq!(alone.words(), ["request INVITE"], "who asks is for the user to know first");
}

#[test]
fn a_caller_whose_peer_knows_no_session_timer_refreshes_for_itself() {
    let mut alone = Alone::new();
    let r = OutRequest { session: Some(HOUR), ..invite(1, Transport::Udp) };
    alone.end.send_request(alone.now, r).expect("there is room");
    let sent = alone.sent().remove(0);
    assert!(sent.has_option(HeaderName::Supported, "timer"));
    alone.get(&answer_to(&sent, 200, "x", ""));
    let Some(Event::Response { dialog: Some(dialog), .. }) = alone.events().pop() else { panic!("expected a 200") };
    alone.end.ack(alone.now, dialog, Headers::default(), None);
    alone.sent();
    alone.pass(secs(1801));
    assert_eq!(alone.words(), ["refresh"]);
    alone.end.dialog_request(alone.now, dialog, Method::Invite, Headers::default(), Some(sdp())).expect("free");
    let refresh = alone.sent().remove(0);
    assert_eq!(refresh.header(HeaderName::SessionExpires), Some(&b"3600;refresher=uac"[..]));
    alone.get(&answer_to(&refresh, 200, "", "Session-Expires: 400;refresher=uas\r\n"));
    let session = alone.end.dialog(dialog).and_then(|dialog| dialog.session()).copied();
    assert_eq!(session, Some(Session { interval: 400, we_refresh: false, min_se: 90 }));
    alone.words();
    alone.pass(secs(369));
    assert_eq!(alone.words(), ["expired"], "400 - 32 s: the smaller of 32 and a third");
}

#[test]
fn a_refresh_that_is_refused_for_its_interval_asks_for_more_the_next_time_rfc_4028_section_7_3() {
    let mut alone = Alone::new();
    let r = OutRequest { session: Some(SessionTimer { expires: 200, ..HOUR }), ..invite(1, Transport::Udp) };
    alone.end.send_request(alone.now, r).expect("there is room");
    let sent = alone.sent().remove(0);
    alone.get(&answer_to(&sent, 200, "x", ""));
    let Some(Event::Response { dialog: Some(dialog), .. }) = alone.events().pop() else { panic!("expected a 200") };
    alone.end.ack(alone.now, dialog, Headers::default(), None);
    alone.sent();
    alone.pass(secs(101));
    let refresh = |alone: &mut Alone| {
        alone.end.dialog_request(alone.now, dialog, Method::Invite, Headers::default(), Some(sdp())).expect("free");
        alone.sent().pop().expect("the refresh")
    };
    let first = refresh(&mut alone);
    assert_eq!(first.header(HeaderName::SessionExpires), Some(&b"200;refresher=uac"[..]));
    alone.get(&answer_to(&first, 422, "", "Min-SE: 900\r\n"));
    alone.sent();
    let second = refresh(&mut alone);
    assert_eq!(second.header(HeaderName::SessionExpires), Some(&b"900;refresher=uac"[..]));
    assert_eq!(second.min_se(), Some(Ok(900)));
    alone.get(&answer_to(&second, 422, "", "Min-SE: 900\r\n"));
    let Some(Event::Response { tx, .. }) = alone.events().pop() else { panic!("expected the 422") };
    let again = alone.end.resend_with(alone.now, tx, Headers::default());
    assert_eq!(again, Err(EndpointError::WrongState), "a peer that refuses what it asked for is not asked for ever");
}

/// A call of ours that is up, with the session timer that was asked for; its sent messages are forgotten.
fn up(session: Option<SessionTimer>) -> (Alone, DialogId) {
    let mut alone = Alone::new();
    let r = OutRequest { session, ..invite(1, Transport::Udp) };
    alone.end.send_request(alone.now, r).expect("there is room");
    let sent = alone.sent().remove(0);
    alone.get(&answer_to(&sent, 200, "x", ""));
    let Some(Event::Response { dialog: Some(dialog), .. }) = alone.events().pop() else { panic!("expected a 200") };
    alone.end.ack(alone.now, dialog, Headers::default(), None);
    alone.sent();
    (alone, dialog)
}

/// What comes of sending a request again whose answer was just told.
fn again(alone: &mut Alone) -> Result<ClientTx, EndpointError> {
    let Some(Event::Response { tx, .. }) = alone.events().pop() else { panic!("expected an answer") };
    alone.end.resend_with(alone.now, tx, Headers::default())
}

#[test]
fn a_422_that_wants_nothing_longer_is_no_reason_to_ask_again_rfc_4028_section_7_3() {
    let short = SessionTimer { expires: 200, ..HOUR };
    for (session, method, min_se) in [
        (Some(short), Method::Info, "Min-SE: 900\r\n"),
        (Some(short), Method::Update, ""),
        (Some(short), Method::Update, "Min-SE: 0\r\n"),
        (Some(short), Method::Invite, "Min-SE: 200\r\n"),
        (Some(short), Method::Invite, "Min-SE: 86401\r\n"),
        (Some(short), Method::Invite, "Min-SE: 4294967295\r\n"),
        (None, Method::Invite, "Min-SE: 900\r\n"),
        (None, Method::Message, ""),
    ] {
        let (mut alone, dialog) = up(session);
        alone.end.dialog_request(alone.now, dialog, method, Headers::default(), None).expect("free");
        let sent = alone.sent().remove(0);
        alone.get(&answer_to(&sent, 422, "", min_se));
        assert_eq!(again(&mut alone), Err(EndpointError::WrongState), "{method:?} {min_se}");
        let interval = alone.end.dialog(dialog).and_then(|dialog| dialog.session()).map(|session| session.interval);
        assert_eq!(interval, session.map(|session| session.expires), "{method:?} {min_se}");
    }
    let mut alone = Alone::new();
    alone.end.send_request(alone.now, invite(1, Transport::Udp)).expect("there is room");
    let sent = alone.sent().remove(0);
    alone.get(&answer_to(&sent, 422, "x", "Min-SE: 900\r\n"));
    assert_eq!(again(&mut alone), Err(EndpointError::WrongState), "it asked for no session timer");
}

#[test]
fn a_peer_whose_least_interval_grows_each_time_is_not_followed_for_ever() {
    let (mut alone, dialog) = up(Some(SessionTimer { expires: 200, ..HOUR }));
    alone.end.dialog_request(alone.now, dialog, Method::Update, Headers::default(), None).expect("free");
    let mut asked = Vec::new();
    for min_se in 201..300 {
        let Some(sent) = alone.sent().pop() else { break };
        asked.push(sent.header_str(HeaderName::SessionExpires).expect("an interval").into_owned());
        alone.get(&answer_to(&sent, 422, "", &format!("Min-SE: {min_se}\r\n")));
        let _ = again(&mut alone);
    }
    assert_eq!(asked, ["200;refresher=uac", "201;refresher=uac", "202;refresher=uac"]);
}

#[test]
fn a_422_that_crosses_our_bye_brings_no_request_behind_it_rfc_3261_section_15() {
    let (mut alone, dialog) = up(Some(SessionTimer { expires: 200, ..HOUR }));
    alone.end.dialog_request(alone.now, dialog, Method::Invite, Headers::default(), Some(sdp())).expect("free");
    let sent = alone.sent().remove(0);
    alone.end.dialog_request(alone.now, dialog, Method::Bye, Headers::default(), None).expect("in a call");
    let bye = alone.sent().remove(0);
    alone.get(&answer_to(&sent, 422, "", "Min-SE: 900\r\n"));
    assert_eq!(again(&mut alone), Err(EndpointError::WrongState));
    assert_eq!(alone.labels(), ["ACK"]);
    alone.get(&answer_to(&bye, 401, "", "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n"));
    let Some(Event::Response { tx, .. }) = alone.events().into_iter().find(|e| matches!(e, Event::Response { .. }))
    else {
        panic!("expected the 401");
    };
    alone.end.resend_with(alone.now, tx, Headers::default()).expect("a BYE with credentials is still due");
    assert_eq!(alone.labels(), ["BYE"]);
}
