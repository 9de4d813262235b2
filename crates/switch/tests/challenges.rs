//! A trunk that asks for credentials within a call (RFC 3261 §22.2): it gets them once, for its realm and at its addresses.

mod common;

use std::time::Duration;

use common::*;
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_switch::config::SwitchConfig;
use ringfort_switch::model::*;

const A: &str = "198.51.100.10:5060";
const TRUNK: &str = "203.0.113.1:5060";
const STRANGER: &str = "203.0.113.99:5060";
const NUMBER: &str = "02079461234";
const ALLOW: &str = "Allow: INVITE, ACK, BYE, CANCEL, INFO, UPDATE, MESSAGE\r\n";

fn world(realm: Option<&str>) -> World {
    world_with(config(), realm)
}

fn world_with(config: SwitchConfig, realm: Option<&str>) -> World {
    let mut site = site();
    (site.tenants[0].numbers.country, site.tenants[0].numbers.national_prefix) = ("44".into(), "0".into());
    let credentials = TrunkCredentials {
        user: "acct".into(),
        auth_user: None,
        password: Secret::new("provider-secret"),
        realm: realm.map(str::to_owned),
    };
    let trunk = Trunk::new(TrunkId(1), TenantId(1), "one", "sip:203.0.113.1");
    let trunk = Trunk { health_every: Duration::ZERO, credentials: Some(credentials), ..trunk };
    site.trunks.insert(TrunkId(1), trunk);
    site.outbound.push(route("outside", vec![Pattern::Any], vec![TrunkId(1)]));
    let mut w = World::with(config, site);
    w.pass(Duration::ZERO);
    w.register("user-a", A);
    w
}

/// A call by the trunk that was answered, by a far end whose Contact is at `contact` and that takes UPDATE.
fn call(w: &mut World, contact: &str) -> Established {
    let call_id = w.invite("user-a", A, NUMBER, &sdp("198.51.100.10", 4000, "0 8 101"), "");
    let invite = w.take(TRUNK);
    let answer = reply(&invite, 200, "far", &format!("Contact: <sip:far@{contact}>\r\n{ALLOW}"), &far_sdp());
    w.send_to(1, OUTSIDE, TRUNK, &answer);
    w.sent.retain(|s| !first_line(&s.message).starts_with("ACK"));
    let ok = w.take_final(A);
    assert_eq!(ok.status(), 200);
    let call = Established::new(A, TRUNK, call_id, invite, ok);
    w.send(A, &call.of_a("ACK", 2, "", ""));
    call
}

fn far_sdp() -> String {
    sdp("203.0.113.1", 6000, "8 101")
}

fn challenge(w: &mut World, request: &Message, from: &str, status: u16, realm: &str) {
    let name = if status == 401 { "WWW" } else { "Proxy" };
    let field =
        format!("{name}-Authenticate: Digest realm=\"{realm}\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256\r\n");
    w.send_to(1, OUTSIDE, from, &reply(request, status, "", &field, ""));
}

fn credentials(message: &Message) -> Option<String> {
    let given = message.header_str(HeaderName::Authorization);
    given.or_else(|| message.header_str(HeaderName::ProxyAuthorization)).map(|value| value.into_owned())
}

fn notices(w: &World) -> Vec<&str> {
    let of_rule = w.notices.iter().filter(|notice| notice.rule == "trunk.authentication");
    of_rule.map(|notice| notice.text.as_str()).collect()
}

#[test]
fn each_request_within_a_call_is_sent_once_more_with_credentials() {
    let mut w = world(Some("acme"));
    let call = call(&mut w, TRUNK);
    let hold = sdp_with("198.51.100.10", 4000, "8 101", "a=sendonly\r\n");
    let resume = sdp_with("198.51.100.10", 4000, "8 101", "a=sendrecv\r\n");
    for (cseq, method, status, body) in [
        (3, "INVITE", 407, hold.as_str()),
        (4, "INFO", 401, ""),
        (5, "MESSAGE", 407, ""),
        (6, "UPDATE", 407, resume.as_str()),
        (7, "UPDATE", 401, hold.as_str()),
    ] {
        w.send(A, &call.of_a(method, cseq, "", body));
        let asked = w.take_starting(TRUNK, method);
        assert_eq!(credentials(&asked), None);
        challenge(&mut w, &asked, TRUNK, status, "acme");
        let again = w.take_starting(TRUNK, method);
        assert_eq!(again.cseq().number, asked.cseq().number + 1);
        let given = credentials(&again).expect("credentials");
        let uri = first_line(&again).split(' ').nth(1).map(str::to_owned).expect("a Request-URI");
        assert!(given.contains("realm=\"acme\"") && given.contains(&format!("uri=\"{uri}\"")), "{given}");
        assert_eq!(again.header(HeaderName::ProxyAuthorization).is_some(), status == 407);
        assert_eq!(body_text(&again), body_text(&asked));
        let answer = if body.is_empty() { String::new() } else { far_sdp() };
        w.send_to(1, OUTSIDE, TRUNK, &reply(&again, 200, "", &format!("Contact: <sip:far@{TRUNK}>\r\n"), &answer));
        assert_eq!(w.take_final(A).status(), 200, "{method}");
        if method == "INVITE" {
            w.send(A, &call.of_a("ACK", cseq, "", ""));
        }
    }
    w.send(A, &call.of_a("BYE", 8, "", ""));
    let bye = w.take_starting(TRUNK, "BYE");
    challenge(&mut w, &bye, TRUNK, 407, "acme");
    let again = w.take_starting(TRUNK, "BYE");
    assert!(credentials(&again).is_some());
    w.send_to(1, OUTSIDE, TRUNK, &reply(&again, 200, "", "", ""));
    assert!(notices(&w).is_empty(), "{:?}", notices(&w));
    w.assert_empty();
}

#[test]
fn an_update_of_our_own_that_refreshes_the_session_is_sent_once_more_with_credentials() {
    let mut config = config();
    config.calls.session_expires = Duration::from_secs(600);
    let mut w = world_with(config, Some("acme"));
    let call = call(&mut w, TRUNK);
    // Half of the interval (RFC 4028 §10). The phone's side is refreshed as well.
    w.pass(Duration::from_secs(300));
    let of_phone = w.take(A);
    let body = if of_phone.body().is_empty() { String::new() } else { sdp("198.51.100.10", 4000, "8 101") };
    w.send(A, &reply(&of_phone, 200, "", &format!("Contact: <sip:user-a@{A}>\r\n"), &body));
    let asked = w.take_starting(TRUNK, "UPDATE");
    assert_eq!(credentials(&asked), None);
    challenge(&mut w, &asked, TRUNK, 407, "acme");
    let again = w.take_starting(TRUNK, "UPDATE");
    let given = credentials(&again).expect("credentials");
    assert!(given.contains("realm=\"acme\""), "{given}");
    assert_eq!(again.header(HeaderName::SessionExpires), asked.header(HeaderName::SessionExpires));
    let fields = format!("Contact: <sip:far@{TRUNK}>\r\nSession-Expires: 600;refresher=uac\r\n");
    w.send_to(1, OUTSIDE, TRUNK, &reply(&again, 200, "", &fields, ""));
    // It counts as a refresh: the call goes on.
    w.pass(Duration::from_secs(299));
    assert!(w.nothing_for(TRUNK), "{:?}", w.summary());
    assert!(notices(&w).is_empty(), "{:?}", notices(&w));
    w.send(A, &call.of_a("BYE", 3, "", ""));
    w.take_starting(TRUNK, "BYE");
}

#[test]
fn an_update_with_a_challenge_of_another_realm_is_refused_and_the_call_goes_on() {
    let mut w = world(Some("acme"));
    let call = call(&mut w, TRUNK);
    let hold = sdp_with("198.51.100.10", 4000, "8 101", "a=sendonly\r\n");
    w.send(A, &call.of_a("UPDATE", 3, "", &hold));
    let asked = w.take_starting(TRUNK, "UPDATE");
    challenge(&mut w, &asked, TRUNK, 401, "stranger.example");
    assert!(w.nothing_for(TRUNK), "{:?}", w.summary());
    assert!(w.take_final(A).status() >= 400);
    assert!(notices(&w)[0].contains("another realm"), "{:?}", notices(&w));
    w.send(A, &call.of_a("BYE", 4, "", ""));
    w.take_starting(TRUNK, "BYE");
}

#[test]
fn a_bye_of_another_realm_is_not_answered_nor_one_whose_realm_nobody_knows() {
    for (ours, asked, word) in [(Some("acme"), "stranger.example", "another realm"), (None, "acme", "set `realm`")] {
        let mut w = world(ours);
        let call = call(&mut w, TRUNK);
        w.send(A, &call.of_a("BYE", 3, "", ""));
        let bye = w.take_starting(TRUNK, "BYE");
        challenge(&mut w, &bye, TRUNK, 407, asked);
        assert!(w.nothing_for(TRUNK), "{:?}", w.summary());
        assert!(notices(&w)[0].contains(word), "{:?}", notices(&w));
        w.assert_empty();
    }
}

#[test]
fn the_bye_after_an_answer_that_came_too_late_is_sent_once_more_with_credentials() {
    let mut w = world(Some("acme"));
    w.invite("user-a", A, NUMBER, &sdp("198.51.100.10", 4000, "0 8 101"), "");
    let invite = w.take(TRUNK);
    w.pass(Trunk::ANSWER_WITHIN + Duration::from_secs(1));
    assert!(w.take_final(A).status() >= 500, "it was given up");
    let answer = reply(&invite, 200, "far", &format!("Contact: <sip:far@{TRUNK}>\r\n"), &far_sdp());
    w.send_to(1, OUTSIDE, TRUNK, &answer);
    let bye = w.take_starting(TRUNK, "BYE");
    challenge(&mut w, &bye, TRUNK, 407, "acme");
    // Without them the provider would go on, and write a bill.
    let again = w.take_starting(TRUNK, "BYE");
    assert!(credentials(&again).is_some_and(|given| given.contains("realm=\"acme\"")));
    w.send_to(1, OUTSIDE, TRUNK, &reply(&again, 200, "", "", ""));
    assert!(notices(&w).is_empty(), "{:?}", notices(&w));
}

#[test]
fn a_challenge_is_answered_once() {
    let mut w = world(Some("acme"));
    let call = call(&mut w, TRUNK);
    w.send(A, &call.of_a("INFO", 3, "", ""));
    for again in [false, true] {
        let info = w.take_starting(TRUNK, "INFO");
        assert_eq!(credentials(&info).is_some(), again);
        challenge(&mut w, &info, TRUNK, 401, "acme");
    }
    assert!(w.nothing_for(TRUNK), "{:?}", w.summary());
    assert!(w.take_final(A).status() >= 400);
    assert!(notices(&w)[0].contains("refuses the credentials"), "{:?}", notices(&w));
}

#[test]
fn a_stranger_at_the_far_end_of_a_trunk_s_call_gets_no_credentials() {
    let mut w = world(Some("acme"));
    let call = call(&mut w, STRANGER);
    w.send(A, &call.of_a("BYE", 3, "", ""));
    let sent = w.sent.iter().find(|s| first_line(&s.message).starts_with("BYE")).expect("a BYE").clone();
    assert_eq!(sent.to, at(STRANGER), "the far end said so in its Contact");
    challenge(&mut w, &sent.message, STRANGER, 407, "acme");
    w.pass(Duration::from_secs(1));
    let given = w.sent.iter().filter(|s| credentials(&s.message).is_some()).count();
    assert_eq!(given, 0, "{:?}", w.summary());
    assert!(notices(&w)[0].contains("no address of the trunk"), "{:?}", notices(&w));
    w.assert_empty();
}

#[test]
fn a_phone_that_asks_for_credentials_within_a_call_gets_none() {
    let mut w = world(Some("acme"));
    let call = w.call(A, "198.51.100.20:5060");
    w.send(A, &call.of_a("BYE", 3, "", ""));
    let bye = w.take_starting("198.51.100.20:5060", "BYE");
    let field = "Proxy-Authenticate: Digest realm=\"acme\", nonce=\"n1\"\r\n";
    w.send("198.51.100.20:5060", &reply(&bye, 407, "", field, ""));
    assert!(w.nothing_for("198.51.100.20:5060"), "{:?}", w.summary());
}
