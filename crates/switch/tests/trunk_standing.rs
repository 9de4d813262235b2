//! What calls tell of a trunk: its realm, its last error, what the caller hears of a refusal; and what a provider forgets.

mod common;

use std::time::Duration;

use common::*;
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_switch::io::{Command, CommandReply, TrunkItem, TrunkState};
use ringfort_switch::model::*;

const A: &str = "198.51.100.10:5060";
const P1: &str = "203.0.113.1:5060";
const NUMBER: &str = "02079461234";

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn trunk() -> Trunk {
    let credentials =
        TrunkCredentials { user: "cust7".into(), auth_user: None, password: Secret::new("line secret"), realm: None };
    let trunk = Trunk::new(TrunkId(1), TenantId(1), "one", "sip:203.0.113.1");
    Trunk { health_every: Duration::ZERO, credentials: Some(credentials), ..trunk }
}

fn world(trunk: Trunk) -> World {
    let mut site = site();
    (site.tenants[0].numbers.country, site.tenants[0].numbers.national_prefix) = ("44".into(), "0".into());
    site.trunks.insert(trunk.id, trunk);
    site.outbound.push(route("outside", vec![Pattern::Any], vec![TrunkId(1)]));
    let mut w = World::with(config(), site);
    w.pass(Duration::from_millis(100));
    w.register("user-a", A);
    w
}

fn dial(w: &mut World) -> Message {
    w.sent.clear();
    w.invite("user-a", A, NUMBER, &sdp("198.51.100.10", 4000, "0 8 101"), "");
    w.take_starting(P1, "INVITE")
}

fn told(w: &mut World, request: &Message, status: u16, extra: &str) {
    w.send_to(1, OUTSIDE, P1, &reply(request, status, "p1", extra, ""));
}

fn challenge(realm: &str) -> String {
    format!("Proxy-Authenticate: Digest realm=\"{realm}\", nonce=\"abc\", qop=\"auth\", algorithm=MD5\r\n")
}

fn has_credentials(message: &Message) -> bool {
    let fields = [HeaderName::ProxyAuthorization, HeaderName::Authorization];
    fields.into_iter().any(|field| message.header(field).is_some())
}

/// A call is challenged for that realm; whether credentials are given. It is over then.
fn is_answered(w: &mut World, realm: &str) -> bool {
    let invite = dial(w);
    told(w, &invite, 407, &challenge(realm));
    let again =
        w.sent.iter().find(|sent| has_credentials(&sent.message) && first_line(&sent.message).starts_with("INVITE"));
    let Some(again) = again.map(|sent| sent.message.clone()) else { return false };
    told(w, &again, 183, &format!("Contact: <sip:{P1}>\r\n"));
    told(w, &again, 486, "");
    true
}

fn item(w: &mut World) -> TrunkItem {
    match w.command(Command::Trunks { name: None }) {
        CommandReply::Trunks { mut items } => items.remove(0),
        other => panic!("trunks, got {other:?}"),
    }
}

fn last_error(w: &mut World) -> String {
    item(w).last_error.expect("an error")
}

#[test]
fn the_realm_of_the_first_call_that_is_taken_is_the_only_one_that_gets_credentials() {
    let mut w = world(trunk());
    assert!(is_answered(&mut w, "provider"));
    assert!(!is_answered(&mut w, "stranger.example"));
    assert!(last_error(&mut w).contains("another realm than \"provider\""), "{}", last_error(&mut w));
    assert!(is_answered(&mut w, "provider"));
}

#[test]
fn a_realm_whose_credentials_were_refused_is_not_kept() {
    let mut w = world(trunk());
    let invite = dial(&mut w);
    told(&mut w, &invite, 407, &challenge("stranger.example"));
    let again = w.take_starting(P1, "INVITE");
    told(&mut w, &again, 407, &challenge("stranger.example"));
    assert!(last_error(&mut w).contains("refuses the credentials"), "{}", last_error(&mut w));
    assert!(is_answered(&mut w, "provider"));
}

#[test]
fn a_trunk_that_was_down_may_come_back_with_another_realm() {
    let mut w = world(Trunk { health_every: s(30), ..trunk() });
    assert!(is_answered(&mut w, "provider"));
    w.pass(s(60));
    assert_eq!(item(&mut w).state, TrunkState::Unreachable);
    assert!(is_answered(&mut w, "moved.example"));
}

#[test]
fn a_registered_trunk_that_is_lost_gives_its_credentials_to_the_realm_it_knew() {
    let mut w = world(Trunk { kind: TrunkKind::Register, ..trunk() });
    let first = w.take_starting(P1, "REGISTER");
    told(&mut w, &first, 401, &challenge("provider").replace("Proxy-Authenticate", "WWW-Authenticate"));
    let second = w.take_starting(P1, "REGISTER");
    let contact = contact_uri(&second);
    told(&mut w, &second, 200, &format!("Contact: <{contact}>;expires=120\r\n"));
    assert_eq!(item(&mut w).state, TrunkState::Registered);
    // No refresh is answered, and the next attempt may meet another machine.
    w.pass(s(180));
    assert_eq!(item(&mut w).state, TrunkState::Unreachable);
    w.sent.clear();
    assert!(!is_answered(&mut w, "stranger.example"));
    assert!(is_answered(&mut w, "provider"));
}

#[test]
fn what_a_trunk_says_to_a_call_is_its_last_error_and_the_caller_hears_the_cause() {
    let mut w = world(trunk());
    for (status, heard) in [(402, 480), (420, 480), (437, 480), (403, 403)] {
        let invite = dial(&mut w);
        let text = reply(&invite, status, "p1", "", "").replace("Because", "No way to 02079461234 today");
        w.send_to(1, OUTSIDE, P1, &text);
        let refused = w.take_final(A);
        assert_eq!(refused.status(), heard);
        let reason = refused.header_str(HeaderName::Reason).map(|value| value.into_owned());
        assert_eq!(reason.is_some_and(|r| r.starts_with(&format!("SIP;cause={status};"))), heard == 480, "{status}");
        assert_eq!(last_error(&mut w), format!("a call was answered {status} No way to 0207… today"));
        assert!(
            w.notices.iter().any(|n| n.rule == "route.refused" && n.text.contains(&format!("one answered {status}")))
        );
    }
    let failures = item(&mut w).failures;
    for status in [404, 480, 486, 603] {
        let invite = dial(&mut w);
        told(&mut w, &invite, status, "");
        assert_eq!(w.take_final(A).status(), status);
    }
    assert_eq!(item(&mut w).failures, failures, "a number or a person that says no is no fault of the trunk");
    dial(&mut w);
    w.pass(Trunk::ANSWER_WITHIN);
    assert_eq!((item(&mut w).failures, last_error(&mut w).as_str()), (failures + 1, "a call had no answer in time"));
}

#[test]
fn where_a_blocked_caller_may_complain_is_told_to_the_phone_rfc_8688() {
    let mut w = world(trunk());
    for (status, given, heard) in [
        (608, "<https://block.example/card>;purpose=jwscard", Some("<https://block.example/card>;purpose=jwscard")),
        (608, "<https://block.example/picture.png>;purpose=icon", None),
        (608, "<javascript:alert(1)>;purpose=jwscard", None),
        (603, "<https://block.example/card>;purpose=jwscard", None),
    ] {
        let invite = dial(&mut w);
        told(&mut w, &invite, status, &format!("Call-Info: {given}\r\n"));
        let refused = w.take_final(A);
        assert_eq!(refused.status(), status);
        assert_eq!(refused.header_str(HeaderName::CallInfo).as_deref(), heard, "{status} {given}");
    }
}

#[test]
fn a_provider_that_was_away_for_a_moment_is_registered_with_again() {
    let mut w = world(Trunk { kind: TrunkKind::Register, health_every: s(30), ..trunk() });
    let first = w.take_starting(P1, "REGISTER");
    let contact = contact_uri(&first);
    told(&mut w, &first, 200, &format!("Contact: <{contact}>;expires=3600\r\n"));
    let check = |w: &mut World, answers: bool| {
        for _ in 0..900 {
            if let Some(index) = w.sent.iter().position(|sent| first_line(&sent.message).starts_with("OPTIONS")) {
                let options = w.sent.remove(index).expect("it was just there").message;
                match answers {
                    true => told(w, &options, 200, ""),
                    false => w.pass(s(4)),
                }
                w.sent.retain(|sent| !first_line(&sent.message).starts_with("OPTIONS") || answers);
                return w.pass(Duration::from_millis(1));
            }
            w.pass(Duration::from_millis(50));
        }
        panic!("no check came");
    };
    check(&mut w, true);
    let registers = |w: &World| w.sent.iter().filter(|sent| first_line(&sent.message).starts_with("REGISTER")).count();
    assert_eq!(registers(&w), 0, "nothing was wrong");
    check(&mut w, false);
    assert_eq!((registers(&w), item(&mut w).state), (0, TrunkState::Registered));
    check(&mut w, true);
    assert_eq!(registers(&w), 1, "it may have forgotten us");
}

#[test]
fn a_test_calls_no_emergency_number_and_tells_nobody_the_contact_of_the_registration() {
    let mut w = world(trunk());
    let test = |number: &str| Command::TrunkTest { name: "one".into(), number: Some(number.into()) };
    for number in ["112", "+112"] {
        let CommandReply::Refused { error } = w.command(test(number)) else { panic!("{number} is not to be called") };
        assert!(error.contains("emergency number"), "{error}");
    }
    w.command(test(NUMBER));
    let options = w.take_starting(P1, "OPTIONS");
    told(&mut w, &options, 200, "");
    let invite = w.take_starting(P1, "INVITE");
    assert_eq!(contact_uri(&invite), "sip:192.0.2.1:5080", "as on any call");
}

#[test]
fn a_challenge_gives_the_trunk_its_whole_time_again() {
    let mut w = world(trunk());
    let invite = dial(&mut w);
    w.pass(Duration::from_millis(3_900));
    told(&mut w, &invite, 407, &challenge("provider"));
    let again = w.sent.iter().find(|sent| has_credentials(&sent.message)).expect("credentials").message.clone();
    w.pass(Duration::from_millis(3_800));
    assert_eq!(item(&mut w).last_error, None, "4 s are not over yet");
    told(&mut w, &again, 486, "");
    assert_eq!(w.take_final(A).status(), 486);
}

#[test]
fn a_trunk_without_a_listener_for_it_says_which_line_is_missing() {
    let mut w = world(Trunk { server: "sip:203.0.113.1;transport=tcp".into(), health_every: s(30), ..trunk() });
    w.pass(s(1));
    let line = "no listener of an external profile for TCP over IPv4: add \"tcp:192.0.2.1:5080\"";
    assert!(last_error(&mut w).contains(line), "{}", last_error(&mut w));
    let test = Command::TrunkTest { name: "one".into(), number: None };
    let CommandReply::TrunkTest(begun) = w.command(test) else { panic!("a test") };
    let CommandReply::TrunkTest(trial) = w.command(Command::TrunkTestResult { test: begun.test }) else {
        panic!("one")
    };
    assert!(trial.steps.iter().any(|step| step.contains(line)), "{:?}", trial.steps);
}
