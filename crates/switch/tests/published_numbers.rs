//! Numbers that are published with a SIP address (ENUM, RFC 6116): called there first, and by the trunks where that fails.

mod common;

use std::time::Duration;

use common::*;
use ringfort_sip::header::HeaderName;
use ringfort_sip::locate::{Answer, Name, Naptr, QueryFailure, Record, RecordData, RecordType};
use ringfort_sip::message::Message;
use ringfort_switch::io::{Command, CommandReply};
use ringfort_switch::model::*;

const A: &str = "198.51.100.10:5060";
const TRUNK: &str = "203.0.113.1:5060";
const FAR: &str = "203.0.113.7:5070";
const NUMBER: &str = "02079461234";
const KEY: &str = "4.3.2.1.6.4.9.7.0.2.4.4.e164.arpa";

fn edit(change: impl FnOnce(&mut Site)) -> World {
    let mut site = site();
    site.tenants[0].numbers = NumberPlan { country: "44".into(), national_prefix: "0".into(), ..NumberPlan::default() };
    let trunk = Trunk::new(TrunkId(1), TenantId(1), "one", "sip:203.0.113.1");
    site.trunks.insert(TrunkId(1), Trunk { health_every: Duration::ZERO, ..trunk });
    let enum_domain = Some("e164.arpa".to_owned());
    site.outbound.push(OutboundRoute { enum_domain, ..route("outside", vec![Pattern::Any], vec![TrunkId(1)]) });
    change(&mut site);
    let mut world = World::with(config(), site);
    world.register("user-a", A);
    world
}

fn offer() -> String {
    sdp("198.51.100.10", 4000, "0 8 101")
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a good name")
}

fn rule(order: u16, regexp: &str) -> Record {
    let data = RecordData::Naptr(Naptr {
        order,
        preference: 10,
        flags: "u".into(),
        services: "E2U+sip".into(),
        regexp: regexp.into(),
        replacement: Name::root(),
    });
    Record { owner: name(KEY), ttl: 60, data }
}

/// Answers what is asked: these rules for the number, `ip` for every host.
fn zone(w: &mut World, rules: &[Record], ip: &str) {
    while let Some(query) = w.queries.pop() {
        let records = match query.kind {
            RecordType::Naptr if query.name == name(KEY) => rules.to_vec(),
            RecordType::A => {
                let data = RecordData::A(ip.parse().expect("an address"));
                vec![Record { owner: query.name.clone(), ttl: 60, data }]
            }
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

const BOB: &str = r"!^\+44(.*)$!sip:\1@far.example:5070!";

fn dial(w: &mut World) -> String {
    w.invite("user-a", A, NUMBER, &offer(), "")
}

fn refuse(w: &mut World, invite: &Message, from: &str, status: u16) {
    w.send_to(1, OUTSIDE, from, &reply(invite, status, "far", "", ""));
}

#[test]
fn a_number_is_called_where_it_is_published_and_no_trunk_is_used() {
    let mut w = edit(|_| {});
    dial(&mut w);
    zone(&mut w, &[rule(10, BOB)], "203.0.113.7");
    let invite = w.take(FAR);
    assert_eq!(first_line(&invite), "INVITE sip:2079461234@far.example:5070 SIP/2.0");
    assert!(invite.header(HeaderName::PAssertedIdentity).is_none(), "that is for providers");
    let answer = reply(&invite, 200, "far", &format!("Contact: <sip:x@{FAR}>\r\n"), &sdp("203.0.113.7", 6000, "8 101"));
    w.send_to(1, OUTSIDE, FAR, &answer);
    assert_eq!(w.take_final(A).status(), 200);
    assert!(w.nothing_for(TRUNK));
    w.pass(Duration::from_secs(40));
    let cdr = w.cdrs()[0];
    assert_eq!(
        (cdr.trunks.tried.as_slice(), cdr.trunks.to.as_deref()),
        (&["enum:far.example".to_owned()][..], Some("enum:far.example"))
    );
    assert_eq!(cdr.cost, None);
}

#[test]
fn without_a_rule_or_an_answer_of_the_dns_the_trunk_is_called() {
    for rules in [vec![], vec![rule(10, "!^.*$!mailto:a@far.example!")], vec![rule(10, "!(!sip:a@far.example!")]] {
        let mut w = edit(|_| {});
        dial(&mut w);
        assert!(w.nothing_for(TRUNK));
        zone(&mut w, &rules, "203.0.113.7");
        assert_eq!(first_line(&w.take(TRUNK)), "INVITE sip:+442079461234@203.0.113.1 SIP/2.0");
    }
    let mut w = edit(|_| {});
    dial(&mut w);
    w.pass(Duration::from_millis(1_900));
    assert!(w.nothing_for(TRUNK));
    w.pass(Duration::from_millis(200));
    w.take(TRUNK);
    let mut w = edit(|_| {});
    dial(&mut w);
    let query = w.queries.pop().expect("the number is asked for");
    w.answer_dns(query.id, Answer::Failed(QueryFailure::ServerFailure));
    w.take(TRUNK);
}

#[test]
fn addresses_are_tried_in_their_order_and_the_trunk_last() {
    let mut w = edit(|_| {});
    dial(&mut w);
    let rules = [rule(20, "!^.*$!sip:second@far.example:5070!"), rule(10, "!^.*$!sip:first@far.example:5070!")];
    zone(&mut w, &rules, "203.0.113.7");
    let invite = w.take(FAR);
    assert!(first_line(&invite).contains("first@"), "{}", first_line(&invite));
    refuse(&mut w, &invite, FAR, 404);
    w.take_starting(FAR, "ACK");
    zone(&mut w, &rules, "203.0.113.7");
    let invite = w.take(FAR);
    assert!(first_line(&invite).contains("second@"), "{}", first_line(&invite));
    refuse(&mut w, &invite, FAR, 401);
    let invite = w.take(TRUNK);
    // What the published addresses said is not what the number said.
    refuse(&mut w, &invite, TRUNK, 503);
    assert_eq!(w.take_final(A).status(), 503);
    assert_eq!(w.cdrs()[0].trunks.tried, ["enum:far.example", "enum:far.example", "one"]);
    w.assert_empty();
}

#[test]
fn a_person_s_word_at_a_published_address_is_final() {
    for status in [480, 486, 600, 603] {
        let mut w = edit(|_| {});
        dial(&mut w);
        zone(&mut w, &[rule(10, BOB)], "203.0.113.7");
        let invite = w.take(FAR);
        refuse(&mut w, &invite, FAR, status);
        assert_eq!(w.take_final(A).status(), status);
        assert!(w.nothing_for(TRUNK));
    }
}

#[test]
fn an_address_that_leads_inside_or_back_to_us_is_not_called() {
    for inside in ["127.0.0.1", "10.0.0.5", "192.168.1.1", "192.0.2.1"] {
        let mut w = edit(|_| {});
        dial(&mut w);
        zone(&mut w, &[rule(10, BOB)], inside);
        w.take(TRUNK);
        assert!(w.sent.iter().all(|s| s.to == at(A)), "{inside}: {:?}", w.summary());
    }
    for literal in ["sip:x@127.0.0.1", "sip:x@[::1]", "sip:x@192.0.2.1:5060", "sip:101@pbx.example"] {
        let mut w = edit(|_| {});
        dial(&mut w);
        zone(&mut w, &[rule(10, &format!("!^.*$!{literal}!"))], "203.0.113.7");
        w.take(TRUNK);
        assert!(w.sent.iter().all(|s| s.to == at(A)), "{literal}: {:?}", w.summary());
    }
}

#[test]
fn a_route_of_enum_alone_ends_with_what_the_dns_and_the_addresses_say() {
    let alone = || edit(|site| site.outbound[0].trunks.clear());
    let mut w = alone();
    dial(&mut w);
    zone(&mut w, &[], "203.0.113.7");
    assert_eq!(w.take_final(A).status(), 404);
    let mut w = alone();
    dial(&mut w);
    w.pass(Duration::from_secs(3));
    assert_eq!(w.take_final(A).status(), 503);
    let mut w = alone();
    dial(&mut w);
    zone(&mut w, &[rule(10, BOB)], "203.0.113.7");
    let invite = w.take(FAR);
    refuse(&mut w, &invite, FAR, 403);
    assert_eq!(w.take_final(A).status(), 403);
    w.assert_empty();
}

#[test]
fn a_caller_who_gives_up_while_a_number_is_asked_for_leaves_nothing_behind() {
    let mut w = edit(|_| {});
    let call_id = dial(&mut w);
    w.cancel("user-a", A, &format!("sip:{NUMBER}@pbx.example"), &call_id);
    zone(&mut w, &[rule(10, BOB)], "203.0.113.7");
    assert!(w.sent.iter().all(|s| s.to == at(A)), "{:?}", w.summary());
    w.assert_empty();
}

#[test]
fn a_call_that_money_does_not_cover_is_free_where_it_is_published() {
    let mut w = edit(|site| site.tenants[0].numbers.spend.per_call = Some(1));
    dial(&mut w);
    zone(&mut w, &[rule(10, BOB)], "203.0.113.7");
    let invite = w.take(FAR);
    refuse(&mut w, &invite, FAR, 503);
    assert_eq!(w.take_final(A).status(), 403, "the trunk has no rate, and there is a limit");
    assert!(w.nothing_for(TRUNK));
    w.assert_empty();
}

#[test]
fn the_explanation_names_what_is_asked_for() {
    let mut w = edit(|_| {});
    let ask = Command::RouteExplain { from: "101".into(), to: NUMBER.into(), at: None };
    let CommandReply::Route(answer) = w.command(ask) else { panic!("no route") };
    assert!(answer.outcome.contains("first to what ENUM gives, then by its trunks"), "{}", answer.outcome);
    assert!(answer.steps.iter().any(|s| s.rule == "enum e164.arpa" && s.why.contains(KEY)), "{:#?}", answer.steps);
}
