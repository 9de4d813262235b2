//! Calls that leave by trunks or go to other domains, message by message (CALL-4, DOM-2, UC-12).

mod common;

use std::time::Duration;

use common::*;
use ringfort_sip::header::HeaderName;
use ringfort_sip::locate::{Answer, Name, Record, RecordData, RecordType, Srv};
use ringfort_sip::message::Message;
use ringfort_switch::model::*;
use ringfort_switch::record::EndCause;

const A: &str = "198.51.100.10:5060";
/// The first provider, and the second.
const P1: &str = "203.0.113.1:5060";
const P2: &str = "203.0.113.2:5060";

const ONE: TrunkId = TrunkId(1);
const TWO: TrunkId = TrunkId(2);

fn offer() -> String {
    sdp("198.51.100.10", 4000, "0 8 101")
}

fn answer() -> String {
    sdp("203.0.113.1", 6000, "8 101")
}

/// Two providers with addresses, a route to both for everything that begins with 0.
fn lines() -> Site {
    let mut site = site();
    site.tenants[0].numbers = NumberPlan { country: "44".into(), national_prefix: "0".into(), ..NumberPlan::default() };
    for (id, name, server) in [(ONE, "one", "sip:203.0.113.1"), (TWO, "two", "sip:203.0.113.2")] {
        let mut trunk = Trunk { caller_id: Some("+442079460000".into()), ..Trunk::new(id, TenantId(1), name, server) };
        // What is tested here is calls; checks are in trunk_registration.
        trunk.health_every = Duration::ZERO;
        site.trunks.insert(id, trunk);
    }
    site.outbound.push(route(
        "outside",
        vec![Pattern::Prefix("0".into()), Pattern::Exact("112".into())],
        vec![ONE, TWO],
    ));
    for extension in site.extensions.values_mut() {
        extension.calling.domains = true;
    }
    site
}

fn edit(change: impl FnOnce(&mut Site)) -> World {
    let mut site = lines();
    change(&mut site);
    let mut world = World::with(config(), site);
    world.register("user-a", A);
    world
}

fn world() -> World {
    edit(|_| {})
}

const NUMBER: &str = "02079461234";

fn from(invite: &Message) -> String {
    String::from_utf8_lossy(invite.header(HeaderName::From).expect("From")).into_owned()
}

/// `user-a` dials, the first provider gets the INVITE.
fn dial(w: &mut World) -> (String, Message) {
    let call_id = w.invite("user-a", A, NUMBER, &offer(), "");
    let invite = w.take(P1);
    (call_id, invite)
}

fn contact(at: &str) -> String {
    format!("Contact: <sip:{at}>\r\n")
}

#[test]
fn a_number_goes_out_by_the_first_trunk_and_comes_back_as_a_call_like_any_other() {
    let mut w = world();
    let (call_id, invite) = dial(&mut w);
    assert_eq!(first_line(&invite), "INVITE sip:+442079461234@203.0.113.1 SIP/2.0");
    assert!(from(&invite).starts_with("<sip:+442079460000@pbx.example>;tag="), "{}", from(&invite));
    assert_eq!(invite.header_str(HeaderName::PAssertedIdentity).as_deref(), Some("<sip:+442079460000@pbx.example>"));
    let text = String::from_utf8_lossy(invite.raw()).into_owned();
    for secret in ["198.51.100.10", "user-a", "101@", &call_id, "Desk 1"] {
        assert!(!text.contains(secret), "{secret} is nobody's business outside:\n{text}");
    }
    w.send_to(1, OUTSIDE, P1, &reply(&invite, 183, "p1", &contact(P1), &answer()));
    let progress = w.take_starting(A, "SIP/2.0 183");
    assert!(!body_text(&progress).contains("203.0.113"), "{}", body_text(&progress));
    w.send_to(1, OUTSIDE, P1, &reply(&invite, 200, "p1", &contact(P1), &answer()));
    assert!(first_line(&w.take(P1)).starts_with("ACK "));
    let ok = w.take_final(A);
    assert_eq!(ok.status(), 200);
    let call = Established::new(A, P1, call_id, invite, ok);
    w.send(A, &call.of_a("ACK", 2, "", ""));
    w.pass(Duration::from_secs(3));
    w.send(A, &call.of_a("BYE", 3, "", ""));
    let bye = w.take(P1);
    assert!(first_line(&bye).starts_with("BYE "));
    w.send_to(1, OUTSIDE, P1, &reply(&bye, 200, "", "", ""));
    assert_eq!(w.take(A).status(), 200);
    w.report_closed();
    assert_eq!((w.cdrs()[0].status, w.cdrs()[0].cause), (200, Some(EndCause::Normal)));
    let trunks = &w.cdrs()[0].trunks;
    assert_eq!((trunks.tried.as_slice(), trunks.to.as_deref()), (&["one".to_owned()][..], Some("one")));
    w.assert_empty();
}

#[test]
fn a_503_and_a_silence_go_on_to_the_next_trunk_and_the_caller_hears_of_neither() {
    for silent in [false, true] {
        let mut w = world();
        let (_, invite) = dial(&mut w);
        if silent {
            w.pass(Trunk::ANSWER_WITHIN);
        } else {
            w.send_to(1, OUTSIDE, P1, &reply(&invite, 503, "p1", "", ""));
            assert!(first_line(&w.take(P1)).starts_with("ACK "));
        }
        let second = w.take(P2);
        assert_eq!(first_line(&second), "INVITE sip:+442079461234@203.0.113.2 SIP/2.0");
        assert_ne!(second.call_id(), invite.call_id(), "a call of its own");
        while let Some(told) = w.try_take(A) {
            assert_eq!(told.status(), 100);
        }
        w.send_to(1, OUTSIDE, P2, &reply(&second, 200, "p2", &contact(P2), &answer()));
        assert_eq!(w.take_final(A).status(), 200);
        assert_eq!(w.status().calls, 1);
    }
}

#[test]
fn a_late_200_of_a_trunk_that_was_given_up_is_hung_up_and_no_call_is_doubled() {
    let mut w = world();
    let (_, invite) = dial(&mut w);
    w.pass(Trunk::ANSWER_WITHIN);
    let second = w.take(P2);
    w.send_to(1, OUTSIDE, P2, &reply(&second, 180, "p2", &contact(P2), ""));
    assert_eq!(w.take_starting(A, "SIP/2.0 180").status(), 180);
    w.send_to(1, OUTSIDE, P1, &reply(&invite, 200, "p1", &contact(P1), &answer()));
    w.take_starting(P1, "ACK ");
    assert!(first_line(&w.take(P1)).starts_with("BYE "));
    w.send_to(1, OUTSIDE, P2, &reply(&second, 200, "p2", &contact(P2), &answer()));
    assert_eq!(w.take_final(A).status(), 200);
    assert_eq!(w.status().calls_answered, 1);
}

#[test]
fn a_provisional_answer_stops_the_clock() {
    let mut w = world();
    let (_, invite) = dial(&mut w);
    w.send_to(1, OUTSIDE, P1, &reply(&invite, 100, "", "", ""));
    w.pass(Duration::from_secs(20));
    assert!(w.nothing_for(P2), "a trunk that has said 100 is at work");
}

#[test]
fn a_persons_word_and_a_busy_line_are_final() {
    for (status, heard) in [(486, 486), (603, 603), (600, 600), (404, 404), (480, 480), (403, 403)] {
        let mut w = world();
        let (_, invite) = dial(&mut w);
        w.send_to(1, OUTSIDE, P1, &reply(&invite, status, "p1", "", ""));
        assert_eq!(w.take_final(A).status(), heard, "{status}");
        assert!(w.nothing_for(P2), "{status} is no reason to call again");
        assert_eq!(w.status().calls, 0);
    }
}

#[test]
fn when_no_trunk_works_the_caller_hears_503_once() {
    let mut w = world();
    let (_, invite) = dial(&mut w);
    w.send_to(1, OUTSIDE, P1, &reply(&invite, 500, "p1", "", ""));
    let second = w.take(P2);
    w.send_to(1, OUTSIDE, P2, &reply(&second, 503, "p2", "Retry-After: 120\r\n", ""));
    let refused = w.take_final(A);
    assert_eq!(refused.status(), 503);
    assert_eq!(w.status().calls, 0);
    assert_eq!(w.cdrs().len(), 1);
    assert_eq!((w.cdrs()[0].trunks.tried.len(), &w.cdrs()[0].trunks.to), (2, &None));
    // The second one said for how long it is not to be asked; the route still has nobody else.
    w.sent.clear();
    w.invite("user-a", A, NUMBER, &offer(), "");
    assert_eq!(first_line(&w.take(P1)), "INVITE sip:+442079461234@203.0.113.1 SIP/2.0");
}

#[test]
fn a_caller_who_gives_up_is_given_up_outside_too() {
    let mut w = world();
    let (call_id, invite) = dial(&mut w);
    w.send_to(1, OUTSIDE, P1, &reply(&invite, 180, "p1", &contact(P1), ""));
    w.cancel("user-a", A, &format!("sip:{NUMBER}@{DOMAIN}"), &call_id);
    assert!(first_line(&w.take_starting(P1, "CANCEL")).starts_with("CANCEL "));
    assert!(w.nothing_for(P2));
    assert_eq!(w.status().calls, 0);
}

#[test]
fn limits_of_a_trunk_send_further_calls_to_the_next_one() {
    let mut w = edit(|site| site.trunks.get_mut(&ONE).expect("it is there").max_calls = 1);
    let (_, first) = dial(&mut w);
    w.send_to(1, OUTSIDE, P1, &reply(&first, 200, "p1", &contact(P1), &answer()));
    w.sent.clear();
    w.invite("user-a", A, NUMBER, &offer(), "");
    assert_eq!(first_line(&w.take_starting(P2, "INVITE")), "INVITE sip:+442079461234@203.0.113.2 SIP/2.0");
    assert!(w.notices.iter().any(|n| n.rule == "limit.trunk_calls"));
}

#[test]
fn only_the_codecs_of_a_trunk_are_offered_call_4() {
    let mut w = edit(|site| site.trunks.get_mut(&ONE).expect("it is there").codecs = vec!["PCMA".into()]);
    let (_, invite) = dial(&mut w);
    let body = body_text(&invite);
    let line = body.lines().find(|l| l.starts_with("m=audio")).expect("audio").to_owned();
    assert!(line.ends_with("RTP/AVP 8 101"), "{line}");
    // What no trunk of the route may have is tried with the next one.
    let mut w = edit(|site| site.trunks.get_mut(&ONE).expect("it is there").codecs = vec!["opus".into()]);
    w.invite("user-a", A, NUMBER, &offer(), "");
    assert!(w.nothing_for(P1));
    assert!(first_line(&w.take(P2)).starts_with("INVITE "));
}

#[test]
fn a_challenge_of_the_trunk_is_answered_once_with_its_credentials_for_its_realm() {
    let credentials = |realm: Option<&str>| TrunkCredentials {
        user: "cust7".into(),
        auth_user: Some("auth7".into()),
        password: Secret::new("line secret"),
        realm: realm.map(str::to_owned),
    };
    let challenge = |invite: &Message, realm: &str| {
        let field =
            format!("Proxy-Authenticate: Digest realm=\"{realm}\", nonce=\"abc\", qop=\"auth\", algorithm=MD5\r\n");
        reply(invite, 407, "p1", &field, "")
    };
    let mut w = edit(|site| site.trunks.get_mut(&ONE).expect("it is there").credentials = Some(credentials(None)));
    let (_, invite) = dial(&mut w);
    w.send_to(1, OUTSIDE, P1, &challenge(&invite, "provider"));
    let again = w.take_starting(P1, "INVITE");
    let given = again.header_str(HeaderName::ProxyAuthorization).expect("credentials").into_owned();
    assert!(given.contains("username=\"auth7\"") && given.contains("realm=\"provider\""), "{given}");
    assert_eq!(again.call_id(), invite.call_id());
    // Refused: it is not tried again and again, the next trunk is.
    w.send_to(1, OUTSIDE, P1, &challenge(&again, "provider"));
    assert!(first_line(&w.take(P2)).starts_with("INVITE "));
    assert!(w.notices.iter().any(|n| n.rule == "trunk.authentication"));

    // Of another realm, and of a trunk without credentials: nothing is given.
    let pinned = |site: &mut Site| {
        site.trunks.get_mut(&ONE).expect("it is there").credentials = Some(credentials(Some("provider")));
    };
    for mut w in [edit(pinned), world()] {
        let (_, invite) = dial(&mut w);
        w.send_to(1, OUTSIDE, P1, &challenge(&invite, "elsewhere"));
        assert!(first_line(&w.take(P1)).starts_with("ACK "));
        assert!(w.nothing_for(P1), "{:?}", w.summary());
        assert!(first_line(&w.take(P2)).starts_with("INVITE "));
    }
}

#[test]
fn a_407_to_a_bye_is_not_answered() {
    let credentials =
        TrunkCredentials { user: "cust7".into(), auth_user: None, password: Secret::new("line secret"), realm: None };
    let mut w = edit(|site| site.trunks.get_mut(&ONE).expect("it is there").credentials = Some(credentials));
    let (call_id, invite) = dial(&mut w);
    w.send_to(1, OUTSIDE, P1, &reply(&invite, 200, "p1", &contact(P1), &answer()));
    let ok = w.take_final(A);
    let call = Established::new(A, P1, call_id, invite, ok);
    w.send(A, &call.of_a("ACK", 2, "", ""));
    w.send(A, &call.of_a("BYE", 3, "", ""));
    let bye = w.take_starting(P1, "BYE");
    let field = "Proxy-Authenticate: Digest realm=\"x\", nonce=\"abc\", qop=\"auth\", algorithm=MD5\r\n";
    w.send_to(1, OUTSIDE, P1, &reply(&bye, 407, "", field, ""));
    w.pass(Duration::from_secs(5));
    assert!(!w.sent.iter().any(|s| s.message.header(HeaderName::ProxyAuthorization).is_some()));
}

#[test]
fn a_hidden_number_is_hidden_in_all_fields_but_the_providers_own() {
    let mut w = world();
    w.invite("user-a", A, &format!("*67{NUMBER}"), &offer(), "");
    let invite = w.take(P1);
    assert!(from(&invite).starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>"), "{}", from(&invite));
    assert_eq!(invite.header_str(HeaderName::Privacy).as_deref(), Some("id"));
}

#[test]
fn a_number_abroad_and_another_domain_are_refused_to_those_who_may_not() {
    let mut w = edit(|site| {
        for extension in site.extensions.values_mut() {
            extension.calling.domains = false;
        }
        // What may stand at the front of a number is another rule.
        site.tenants[0].numbers.callees = CalleeLimits { longest: Some(18), denied: Some(vec![]), allowed: vec![] };
    });
    w.invite("user-a", A, "004930123456", &offer(), "");
    assert_eq!(w.take_final(A).status(), 403);
    w.invite_uri("user-a", A, "sip:bob@far.example", &offer());
    assert_eq!(w.take_final(A).status(), 403);
    let rules: Vec<_> = w.cdrs().iter().map(|c| c.rule.clone().unwrap_or_default()).collect();
    assert_eq!(rules, ["guard.international", "guard.domains"]);
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a good name")
}

fn srv(priority: u16, target: &str) -> Record {
    let data = RecordData::Srv(Srv { priority, weight: 0, port: 5070, target: name(target) });
    Record { owner: name("_sip._udp.far.example"), ttl: 60, data }
}

fn address(host: &str, ip: &str) -> Record {
    Record { owner: name(host), ttl: 60, data: RecordData::A(ip.parse().expect("an address")) }
}

/// A zone with two hosts behind SRV, answered as long as something is asked.
fn zone(w: &mut World, first: &str, second: &str) {
    while let Some(query) = w.queries.pop() {
        let (host, kind) = (query.name.as_str().to_owned(), query.kind);
        let records = match (host.as_str(), kind) {
            ("_sip._udp.far.example", RecordType::Srv) => vec![srv(10, "a.far.example"), srv(20, "b.far.example")],
            ("a.far.example", RecordType::A) => vec![address("a.far.example", first)],
            ("b.far.example", RecordType::A) => vec![address("b.far.example", second)],
            _ => Vec::new(),
        };
        let answer = if records.is_empty() {
            Answer::Absent { no_such_name: false, negative_ttl: Some(60), authenticated: false }
        } else {
            Answer::Records { records, no_such_name: false, negative_ttl: None, authenticated: false }
        };
        w.answer_dns(query.id, answer);
    }
}

#[test]
fn a_call_to_another_domain_is_located_and_goes_on_to_the_next_host_dom_2() {
    let mut w = world();
    // The transport is that of the phone's own hop.
    w.invite_uri("user-a", A, "sip:bob@far.example;transport=tls", &offer());
    zone(&mut w, "203.0.113.7", "203.0.113.8");
    let invite = w.take("203.0.113.7:5070");
    assert_eq!(first_line(&invite), "INVITE sip:bob@far.example SIP/2.0");
    assert!(from(&invite).starts_with("\"Desk 1\" <sip:101@pbx.example>"), "{}", from(&invite));
    w.pass(Duration::from_secs(4));
    let second = w.take("203.0.113.8:5070");
    w.send_to(
        1,
        OUTSIDE,
        "203.0.113.8:5070",
        &reply(&second, 200, "far", "Contact: <sip:x@203.0.113.8:5070>\r\n", &answer()),
    );
    assert_eq!(w.take_final(A).status(), 200);
    // The first one stands back for a while.
    w.sent.clear();
    w.invite_uri("user-a", A, "sip:eve@far.example", &offer());
    zone(&mut w, "203.0.113.7", "203.0.113.8");
    assert_eq!(first_line(&w.take("203.0.113.8:5070")), "INVITE sip:eve@far.example SIP/2.0");
}

#[test]
fn a_domain_that_leads_inside_reaches_nothing() {
    for inside in ["127.0.0.1", "10.0.0.5", "192.168.1.1", "192.0.2.1"] {
        let mut w = world();
        w.invite_uri("user-a", A, "sip:bob@far.example", &offer());
        zone(&mut w, inside, inside);
        assert_eq!(w.take_final(A).status(), 403, "{inside}");
        assert!(w.sent.iter().all(|s| s.to == at(A)), "{:?}", w.summary());
    }
}

#[test]
fn a_domain_that_leads_to_a_trunks_address_is_no_way_around_the_trunk() {
    for provider in ["203.0.113.1", "203.0.113.70"] {
        let mut w = edit(|site| site.trunks.get_mut(&ONE).unwrap().sources = vec!["203.0.113.64/28".into()]);
        w.pass(Duration::from_secs(1));
        w.invite_uri("user-a", A, "sip:sales@far.example", &offer());
        zone(&mut w, provider, provider);
        assert_eq!(w.take_final(A).status(), 403, "{provider}");
        assert_eq!(w.cdrs().last().unwrap().rule.as_deref(), Some("route.trunk_address"));
        assert!(w.sent.iter().all(|s| s.to == at(A)), "{:?}", w.summary());
        w.pass(Duration::from_secs(40));
        w.sent.clear();
        w.invite_uri("user-a", A, "sip:sales@far.example", &offer());
        assert_eq!(w.take_final(A).status(), 403, "{provider} from the cache");
    }
}

#[test]
fn many_silent_targets_of_one_trunk_do_not_keep_the_next_one_from_its_turn() {
    let many = |w: &mut World| {
        while let Some(query) = w.queries.pop() {
            let hosts = (1..=12).map(|n| address("many.example", &format!("203.0.113.{}", 100 + n)));
            let records = if query.kind == RecordType::A { hosts.collect() } else { Vec::new() };
            let answer = Answer::Records { records, no_such_name: false, negative_ttl: None, authenticated: false };
            w.answer_dns(query.id, answer);
        }
    };
    let server = "sip:many.example:5070";
    let mut w = edit(|site| site.trunks.get_mut(&ONE).expect("it is there").server = server.into());
    many(&mut w);
    w.invite("user-a", A, NUMBER, &offer(), "");
    many(&mut w);
    w.pass(Duration::from_secs(13));
    assert!(first_line(&w.take(P2)).starts_with("INVITE "), "{:?}", w.summary());
    // Where there is no other one, all of them are tried.
    let mut w = edit(|site| {
        site.trunks.get_mut(&ONE).expect("it is there").server = server.into();
        site.outbound[0].trunks = vec![ONE];
    });
    many(&mut w);
    w.invite("user-a", A, NUMBER, &offer(), "");
    many(&mut w);
    w.pass(Duration::from_secs(45));
    assert!(!w.nothing_for("203.0.113.112:5070"), "{:?}", w.summary());
}

#[test]
fn the_host_of_a_trunk_that_is_turned_off_is_no_domain_to_call_either() {
    for (enabled, server) in [(false, "sip:FAR.example:5090"), (true, "sip:other.example")] {
        let mut w = edit(|site| {
            let trunk = site.trunks.get_mut(&ONE).expect("it is there");
            (trunk.enabled, trunk.server) = (enabled, server.into());
        });
        w.invite_uri("user-a", A, "sip:sales@far.example", &offer());
        zone(&mut w, "203.0.113.7", "203.0.113.7");
        assert_eq!(w.nothing_for("203.0.113.7:5070"), !enabled, "{server}");
        if !enabled {
            assert_eq!(w.take_final(A).status(), 403);
            assert_eq!(w.cdrs().last().expect("a record").rule.as_deref(), Some("route.trunk_address"));
        }
    }
}

#[test]
fn an_extension_of_another_gateway_reaches_published_names_alone_guard_2() {
    let mut w = edit(|site| {
        let extension = site.extensions.get_mut(&ExtensionId(1)).unwrap();
        (extension.calling.public, extension.calling.international) = (true, true);
        site.aliases.push(alias("director", "102", true));
        site.aliases.push(alias("secret", "102", false));
        site.tenants[0].numbers.blacklists.names.insert(1, "one".into());
    });
    w.register("user-b", "198.51.100.20:5060");
    for callee in [NUMBER, "102", "secret", "112", "*3012079460009", "00493012345", "nobody"] {
        w.invite("user-a", A, callee, &offer(), "");
        assert_eq!(w.take_final(A).status(), 404, "{callee}");
    }
    w.invite_uri("user-a", A, "sip:bob@far.example", &offer());
    assert_eq!(w.take_final(A).status(), 404);
    assert!(w.queries.is_empty() && w.offences.is_empty(), "{:?}", w.offences);
    assert_eq!(w.cdrs().last().unwrap().rule.as_deref(), Some("context.public"));
    assert!(w.cdrs().iter().all(|cdr| cdr.context == "public" && cdr.profile == "phones"), "{:?}", w.cdrs());
    w.invite("user-a", A, "director", &offer(), "");
    assert!(first_line(&w.take("198.51.100.20:5060")).starts_with("INVITE "));
    assert!(w.sent.iter().all(|s| s.to != at(P1) && s.to != at(P2)));
}

#[test]
fn a_domain_that_does_not_exist_is_404_and_a_dns_that_is_silent_503() {
    let mut w = world();
    w.invite_uri("user-a", A, "sip:bob@nowhere.example", &offer());
    while let Some(query) = w.queries.pop() {
        w.answer_dns(query.id, Answer::Absent { no_such_name: true, negative_ttl: Some(60), authenticated: false });
    }
    assert_eq!(w.take_final(A).status(), 404);
    let mut w = world();
    w.invite_uri("user-a", A, "sip:bob@silent.example", &offer());
    w.pass(Duration::from_secs(6));
    assert_eq!(w.take_final(A).status(), 503);
    assert_eq!(w.status().calls, 0);
}

#[test]
fn a_caller_who_gives_up_while_the_dns_is_asked_leaves_nothing_behind() {
    let mut w = world();
    let call_id = w.invite_uri("user-a", A, "sip:bob@far.example", &offer());
    w.cancel("user-a", A, "sip:bob@far.example", &call_id);
    assert_eq!(w.status().calls, 0);
    zone(&mut w, "203.0.113.7", "203.0.113.8");
    assert!(w.sent.iter().all(|s| s.to == at(A)), "{:?}", w.summary());
}

#[test]
fn an_emergency_call_needs_no_permission_and_is_not_hidden() {
    let mut w = edit(|site| {
        for extension in site.extensions.values_mut() {
            extension.calling.hide_caller_id = true;
        }
    });
    w.invite("user-a", A, "112", &offer(), "");
    let invite = w.take(P1);
    assert_eq!(first_line(&invite), "INVITE sip:112@203.0.113.1 SIP/2.0");
    assert!(from(&invite).starts_with("<sip:+442079460000@"), "{}", from(&invite));
}

#[test]
fn a_change_of_the_site_during_a_call_does_not_touch_it() {
    let mut w = world();
    let (_, invite) = dial(&mut w);
    w.switch.apply_site(w.now, std::sync::Arc::new(site()));
    w.send_to(1, OUTSIDE, P1, &reply(&invite, 200, "p1", &contact(P1), &answer()));
    assert_eq!(w.take_final(A).status(), 200);
    w.sent.clear();
    w.invite("user-a", A, NUMBER, &offer(), "");
    assert_eq!(w.take_final(A).status(), 404, "there is no trunk any more");
}

#[test]
fn a_phone_that_passes_a_call_on_says_so_with_its_own_number_in_the_form_of_the_trunk() {
    use DiversionForm as F;
    const CLAIM: &str = "Diversion: <sip:+15551234@198.51.100.10>;reason=no-answer\r\n";
    let mine = "sip:+442079460000@pbx.example";
    for (form, name, expected) in [
        (F::None, HeaderName::Diversion, None),
        (F::None, HeaderName::HistoryInfo, None),
        (F::Diversion, HeaderName::HistoryInfo, None),
        (F::Diversion, HeaderName::Diversion, Some(format!("<{mine}>;reason=no-answer;counter=1;privacy=off"))),
        (
            F::HistoryInfo,
            HeaderName::HistoryInfo,
            Some(format!("<{mine}>;index=1, <sip:+442079461234@203.0.113.1;cause=408>;index=1.1;mp=1")),
        ),
    ] {
        let mut w = edit(|site| {
            for trunk in site.trunks.values_mut() {
                trunk.headers.diverted = form;
            }
        });
        w.invite("user-a", A, NUMBER, &offer(), CLAIM);
        let invite = w.take(P1);
        let told = invite.header_str(name).map(|value| value.into_owned());
        assert_eq!(told, expected, "{form:?}");
        assert!(!String::from_utf8_lossy(invite.raw()).contains("15551234"));
    }
}

#[test]
fn header_extensions_of_rtp_pass_on_trunks_that_say_so() {
    let extmap = "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n";
    for passes in [false, true] {
        let mut w = edit(|site| {
            for trunk in site.trunks.values_mut() {
                trunk.pass_extensions = passes;
            }
        });
        w.invite("user-a", A, NUMBER, &sdp_with("198.51.100.10", 4000, "0 8", extmap), "");
        let invite = w.take(P1);
        assert_eq!(body_text(&invite).contains("a=extmap:1 urn:"), passes, "{}", body_text(&invite));
    }
}
