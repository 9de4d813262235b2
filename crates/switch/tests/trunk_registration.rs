//! Trunks that register and are checked, message by message (CALL-4, RFC 3261 §10.2, RFC 5626 §4.5).

mod common;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::*;
use ringfort_sip::digest::{Algorithm, Challenger, Ha1Set};
use ringfort_sip::flow::{ConnId, Flow, ListenerId, Transport};
use ringfort_sip::header::HeaderName;
use ringfort_sip::locate::{Answer, Record, RecordData, RecordType};
use ringfort_sip::message::{Limits, Message};
use ringfort_sip::uri::HostPort;
use ringfort_sip::write::Headers;
use ringfort_switch::config::Listener;
use ringfort_switch::io::{Command, CommandReply, Level, TrunkItem, TrunkState, TrunkTrial};
use ringfort_switch::model::*;

const P1: &str = "203.0.113.1:5060";
const P2: &str = "203.0.113.2:5060";
const ONE: TrunkId = TrunkId(1);
const TWO: TrunkId = TrunkId(2);

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn credentials(realm: Option<&str>) -> TrunkCredentials {
    TrunkCredentials {
        user: "cust7".into(),
        auth_user: Some("auth7".into()),
        password: Secret::new("geheim"),
        realm: realm.map(str::to_owned),
    }
}

/// A registering trunk that is not checked.
fn line(id: TrunkId, name: &str, server: &str) -> Trunk {
    Trunk {
        kind: TrunkKind::Register,
        credentials: Some(credentials(None)),
        health_every: Duration::ZERO,
        ..Trunk::new(id, TenantId(1), name, server)
    }
}

fn peer(id: TrunkId, name: &str, server: &str) -> Trunk {
    Trunk { health_every: s(30), ..Trunk::new(id, TenantId(1), name, server) }
}

fn site_with(trunks: impl IntoIterator<Item = Trunk>) -> Site {
    Site { trunks: trunks.into_iter().map(|t| (t.id, t)).collect(), ..site() }
}

/// A world in which the first requests have gone out.
fn world(trunks: impl IntoIterator<Item = Trunk>) -> World {
    let mut w = World::with(config(), site_with(trunks));
    w.pass(ms(100));
    w
}

/// The provider's side of digest, as a real one does it.
struct Provider {
    challenger: Challenger,
    ha1: Ha1Set,
}

impl Provider {
    fn new(realm: &str) -> Self {
        Self {
            challenger: Challenger::new(realm, vec![Algorithm::Md5], s(300), [3; 32]),
            ha1: Ha1Set::new("auth7", realm, "geheim"),
        }
    }

    /// A WWW-Authenticate line.
    fn challenge(&mut self, now: Instant, stale: bool) -> String {
        let mut headers = Headers::default();
        self.challenger.challenge(now, std::net::Ipv4Addr::LOCALHOST.into(), stale, &mut headers, false);
        String::from_utf8_lossy(headers.as_bytes()).into_owned()
    }

    fn accepts(&mut self, now: Instant, request: &Message, uri: &str) -> bool {
        let Some(given) = request.header(HeaderName::Authorization) else { return false };
        let ha1 = &self.ha1;
        self.challenger.verify(now, None, given, "REGISTER", uri, &|user| (user == "auth7").then_some(ha1)).is_ok()
    }
}

fn reply_to(w: &mut World, from: &str, request: &Message, status: u16, extra: &str) {
    w.send_to(1, OUTSIDE, from, &reply(request, status, "prov", extra, ""));
}

fn contact_of(request: &Message) -> String {
    let contact = request.contacts().next().expect("a Contact").expect("a good one");
    contact.uri.to_owned()
}

fn ok(w: &mut World, from: &str, request: &Message, expires: u32) {
    let extra = format!("Contact: <{}>;expires={expires}\r\n", contact_of(request));
    reply_to(w, from, request, 200, &extra);
}

/// The REGISTER that waits at `from`, challenged and then taken for `expires` seconds.
fn register_at(w: &mut World, provider: &mut Provider, from: &str, uri: &str, expires: u32) -> Message {
    let first = w.take_starting(from, "REGISTER ");
    let challenge = provider.challenge(w.now, false);
    reply_to(w, from, &first, 401, &challenge);
    let second = w.take_starting(from, "REGISTER ");
    assert!(provider.accepts(w.now, &second, uri), "{}", String::from_utf8_lossy(second.raw()));
    ok(w, from, &second, expires);
    second
}

fn items(w: &mut World) -> Vec<TrunkItem> {
    match w.command(Command::Trunks { name: None }) {
        CommandReply::Trunks { items } => items,
        other => panic!("trunks, got {other:?}"),
    }
}

fn item(w: &mut World) -> TrunkItem {
    items(w).remove(0)
}

fn said(w: &World, rule: &str) -> Vec<String> {
    w.notices.iter().filter(|n| n.rule == rule).map(|n| n.text.clone()).collect()
}

/// When the next request that begins with `start` is sent to `to`, counted from now.
fn wait_for(w: &mut World, to: &str, start: &str, at_most: Duration) -> Option<(Duration, Message)> {
    let begin = w.now;
    while w.now < begin + at_most {
        if let Some(index) = w.sent.iter().position(|m| m.to == at(to) && first_line(&m.message).starts_with(start)) {
            let sent = w.sent.remove(index).expect("it was just there");
            return Some((w.now - begin, sent.message));
        }
        w.pass(ms(50));
    }
    None
}

#[test]
fn a_trunk_registers_by_digest_at_once_and_says_so() {
    let mut w = world([line(ONE, "acme", "sip:203.0.113.1")]);
    let mut provider = Provider::new("acme.example");
    let second = register_at(&mut w, &mut provider, P1, "sip:203.0.113.1", 300);
    assert_eq!(first_line(&second), "REGISTER sip:203.0.113.1 SIP/2.0");
    let text = String::from_utf8_lossy(second.raw()).into_owned();
    assert!(text.contains("\r\nFrom: <sip:cust7@203.0.113.1>;tag="), "{text}");
    assert!(text.contains("\r\nTo: <sip:cust7@203.0.113.1>\r\n"), "{text}");
    assert!(text.contains("\r\nExpires: 600\r\n"), "{text}");
    let trunk = item(&mut w);
    assert_eq!((trunk.state, trunk.up, trunk.failures), (TrunkState::Registered, true, 0));
    assert_eq!(trunk.registered_for_s, Some(300), "the provider's word counts, not ours");
    assert_eq!(trunk.target.as_deref(), Some("203.0.113.1:5060 by UDP"));
    assert_eq!(said(&w, "trunk.registered"), ["trunk acme: registered at 203.0.113.1:5060 by UDP"]);
    assert!(!format!("{:?}", w.notices).contains("geheim"));
}

#[test]
fn a_registration_is_refreshed_before_it_ends_with_credentials_unasked_and_the_same_call_id() {
    let mut w = world([line(ONE, "acme", "sip:203.0.113.1")]);
    let mut provider = Provider::new("acme.example");
    let first = register_at(&mut w, &mut provider, P1, "sip:203.0.113.1", 300);
    let (waited, again) = wait_for(&mut w, P1, "REGISTER ", s(300)).expect("a refresh");
    assert!((s(216)..=s(241)).contains(&waited), "{waited:?}");
    assert!(provider.accepts(w.now, &again, "sip:203.0.113.1"), "credentials come unasked");
    assert_eq!(again.call_id(), first.call_id());
    assert!(again.cseq().number > first.cseq().number);
    assert_eq!(contact_of(&again), contact_of(&first));
    ok(&mut w, P1, &again, 120);
    let (waited, _) = wait_for(&mut w, P1, "REGISTER ", s(120)).expect("another refresh");
    assert!((s(54)..=s(61)).contains(&waited), "{waited:?}");
    assert_eq!(said(&w, "trunk.registered").len(), 1, "a refresh is no news");
}

#[test]
fn rfc_3261_10_2_8_an_interval_too_brief_is_made_longer_at_once_and_kept() {
    let mut w = world([line(ONE, "acme", "sip:203.0.113.1")]);
    let first = w.take(P1);
    reply_to(&mut w, P1, &first, 423, "Min-Expires: 1800\r\n");
    let second = w.take(P1);
    assert_eq!(second.expires().and_then(Result::ok), Some(1800));
    reply_to(&mut w, P1, &second, 200, "Expires: 1800\r\n");
    assert_eq!(item(&mut w).registered_for_s, Some(1800), "without a Contact of ours the header field counts");
    let (_, third) = wait_for(&mut w, P1, "REGISTER ", s(1800)).expect("a refresh");
    assert_eq!(third.expires().and_then(Result::ok), Some(1800));
    // One that goes up without end is not followed.
    reply_to(&mut w, P1, &third, 423, "Min-Expires: 3600\r\n");
    let fourth = w.take(P1);
    reply_to(&mut w, P1, &fourth, 423, "Min-Expires: 7200\r\n");
    assert!(w.nothing_for(P1));
    assert_eq!(item(&mut w).state, TrunkState::Failed);
}

#[test]
fn refused_credentials_are_said_in_words_and_tried_again_slowly() {
    for challenged in [true, false] {
        let mut w = world([line(ONE, "acme", "sip:203.0.113.1")]);
        let mut provider = Provider::new("acme.example");
        let first = w.take(P1);
        let challenge = provider.challenge(w.now, false);
        reply_to(&mut w, P1, &first, 401, &challenge);
        let second = w.take(P1);
        let again = provider.challenge(w.now, false);
        let (status, extra) = if challenged { (401, again.as_str()) } else { (403, "") };
        reply_to(&mut w, P1, &second, status, extra);
        assert!(w.nothing_for(P1), "one answer to a challenge, not a loop");
        let trunk = item(&mut w);
        assert_eq!((trunk.state, trunk.up, trunk.failures), (TrunkState::Failed, false, 1));
        let words = trunk.last_error.expect("words");
        assert!(words.contains("user name or password"), "{words}");
        assert!(said(&w, "trunk.refused")[0].contains("user name or password"));
        assert!(w.notices.iter().any(|n| n.rule == "trunk.refused" && n.level == Level::Warn));
        let (waited, _) = wait_for(&mut w, P1, "REGISTER ", s(700)).expect("it is tried again");
        assert!((s(600)..=s(661)).contains(&waited), "{waited:?}");
    }
}

#[test]
fn a_realm_that_is_not_the_trunks_gets_no_credentials() {
    let trunk = Trunk { credentials: Some(credentials(Some("acme.example"))), ..line(ONE, "acme", "sip:203.0.113.1") };
    let mut w = world([trunk]);
    let first = w.take(P1);
    let challenge = Provider::new("evil.example").challenge(w.now, false);
    reply_to(&mut w, P1, &first, 401, &challenge);
    assert!(w.nothing_for(P1));
    let words = item(&mut w).last_error.expect("words");
    assert!(words.contains("another realm than \"acme.example\""), "{words}");
}

#[test]
fn the_realm_of_the_first_registration_is_kept_while_it_is_up() {
    let mut w = world([line(ONE, "acme", "sip:203.0.113.1")]);
    register_at(&mut w, &mut Provider::new("acme.example"), P1, "sip:203.0.113.1", 300);
    let (_, refresh) = wait_for(&mut w, P1, "REGISTER ", s(300)).expect("a refresh");
    let mut other = Provider::new("evil.example");
    let challenge = other.challenge(w.now, false);
    reply_to(&mut w, P1, &refresh, 401, &challenge);
    assert!(w.nothing_for(P1), "no answer to the other realm");
    assert_eq!(item(&mut w).state, TrunkState::Failed);
    // It is down now: should the provider really have moved, it comes back by itself.
    let (_, anew) = wait_for(&mut w, P1, "REGISTER ", s(700)).expect("another attempt");
    assert!(anew.header(HeaderName::Authorization).is_none());
    let challenge = other.challenge(w.now, false);
    reply_to(&mut w, P1, &anew, 401, &challenge);
    let given = w.take(P1);
    assert!(other.accepts(w.now, &given, "sip:203.0.113.1"));
}

#[test]
fn a_scheme_in_capitals_is_understood_and_a_stale_nonce_renewed() {
    let mut w = world([line(ONE, "acme", "sip:203.0.113.1")]);
    let mut provider = Provider::new("acme.example");
    let first = w.take(P1);
    let challenge = provider.challenge(w.now, false).replace("Digest", "DIGEST");
    assert!(challenge.contains("DIGEST realm"), "{challenge}");
    reply_to(&mut w, P1, &first, 401, &challenge);
    let second = w.take(P1);
    assert!(provider.accepts(w.now, &second, "sip:203.0.113.1"));
    let stale = provider.challenge(w.now, true);
    reply_to(&mut w, P1, &second, 401, &stale);
    let third = w.take(P1);
    assert!(provider.accepts(w.now, &third, "sip:203.0.113.1"));
    ok(&mut w, P1, &third, 300);
    assert_eq!(item(&mut w).state, TrunkState::Registered);
}

/// Answers what is asked about provider.example: two addresses.
fn two_addresses(w: &mut World) {
    while let Some(query) = w.queries.pop() {
        let records: Vec<Record> = match query.kind {
            RecordType::A => [Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(203, 0, 113, 2)]
                .into_iter()
                .map(|ip| Record { owner: query.name.clone(), ttl: 60, data: RecordData::A(ip) })
                .collect(),
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
fn a_silent_target_is_left_for_the_next_one_and_stands_back_afterwards() {
    let mut w = world([line(ONE, "acme", "sip:provider.example:5060;transport=udp")]);
    two_addresses(&mut w);
    let alive = if w.try_take(P1).is_some() { P2 } else { P1 };
    let (waited, request) = wait_for(&mut w, alive, "REGISTER ", s(20)).expect("the next target");
    assert!((s(9)..=s(11)).contains(&waited), "{waited:?}");
    assert_eq!(first_line(&request), "REGISTER sip:provider.example:5060 SIP/2.0");
    ok(&mut w, alive, &request, 60);
    assert_eq!(item(&mut w).state, TrunkState::Registered);
    w.sent.clear();
    w.pass(s(31));
    two_addresses(&mut w);
    assert!(!w.nothing_for(alive), "the refresh goes to the one that lives: {:?}", w.summary());
}

#[test]
fn a_503_leads_to_the_next_target_at_once_and_its_retry_after_is_heeded_where_there_is_none() {
    let mut w = world([line(ONE, "acme", "sip:provider.example:5060;transport=udp")]);
    two_addresses(&mut w);
    let (first, second) = if w.nothing_for(P2) { (P1, P2) } else { (P2, P1) };
    let request = w.take(first);
    reply_to(&mut w, first, &request, 503, "Retry-After: 120 (maintenance)\r\n");
    let request = w.take(second);
    reply_to(&mut w, second, &request, 503, "");
    let trunk = item(&mut w);
    assert_eq!(trunk.state, TrunkState::Unreachable);
    assert!(trunk.last_error.expect("words").contains("answered 503"), "in words");
    let begin = w.now;
    w.pass(s(119));
    two_addresses(&mut w);
    assert!(w.nothing_for(first) && w.nothing_for(second), "not before its time");
    for _ in 0..14 {
        w.pass(s(1));
        two_addresses(&mut w);
    }
    assert!(!w.nothing_for(first) || !w.nothing_for(second), "{:?} later it is tried again", w.now - begin);
}

#[test]
fn rfc_5626_4_5_a_provider_that_is_away_is_tried_less_and_less_often_but_every_five_minutes() {
    let mut w = world([line(ONE, "acme", "sip:203.0.113.1")]);
    let mut tries = vec![w.now];
    let end = w.now + s(3600);
    let mut last = w.take(P1);
    while w.now < end {
        w.pass(ms(500));
        while let Some(request) = w.try_take(P1) {
            if request.cseq().number != last.cseq().number {
                tries.push(w.now);
                last = request;
            }
        }
    }
    let gaps: Vec<u64> = tries.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    // Ten seconds of each gap are the attempt itself.
    for (gap, (least, most)) in gaps.iter().zip([(15, 21), (20, 31), (30, 51), (50, 91), (90, 171)]) {
        assert!((least - 1..=most).contains(gap), "{gaps:?}");
    }
    assert!(gaps[5..].iter().all(|gap| (159..=311).contains(gap)), "{gaps:?}");
    assert!(gaps[5..].iter().any(|gap| *gap != gaps[5]), "jitter: {gaps:?}");
    assert_eq!(item(&mut w).state, TrunkState::Unreachable);
    let (waited, request) = wait_for(&mut w, P1, "REGISTER ", s(311)).expect("never given up");
    assert!(waited <= s(311));
    ok(&mut w, P1, &request, 300);
    assert_eq!(item(&mut w).state, TrunkState::Registered);
}

#[test]
fn after_a_restart_it_registers_at_once_under_the_same_contact() {
    let mut w = world([line(ONE, "acme", "sip:203.0.113.1")]);
    let before = w.take(P1);
    let mut w = World::with(config(), site_with([line(ONE, "acme", "sip:203.0.113.1")]));
    w.pass(ms(20));
    let after = w.take(P1);
    assert_eq!(contact_of(&before), contact_of(&after));
    assert!(!contact_of(&before).contains("cust7"), "it cannot be guessed from the account");
}

#[test]
fn a_change_of_the_line_begins_anew_and_a_change_of_anything_else_does_not() {
    let mut w = world([line(ONE, "acme", "sip:203.0.113.1")]);
    register_at(&mut w, &mut Provider::new("acme.example"), P1, "sip:203.0.113.1", 300);
    let apply = |w: &mut World, trunk: Option<Trunk>| {
        let site = Site { revision: 2, ..site_with(trunk) };
        w.switch.apply_site(w.now, Arc::new(site));
        w.command(Command::Status);
        w.pass(ms(100));
    };
    apply(&mut w, Some(Trunk { max_calls: 3, ..line(ONE, "acme", "sip:203.0.113.1") }));
    assert!(w.nothing_for(P1));
    assert_eq!((item(&mut w).state, item(&mut w).max_calls), (TrunkState::Registered, 3));

    // Another server: the old registration is taken back, the new one made at once.
    apply(&mut w, Some(line(ONE, "acme", "sip:203.0.113.2")));
    let taken_back = w.take(P1);
    assert_eq!(taken_back.expires().and_then(Result::ok), Some(0));
    assert!(taken_back.header(HeaderName::Authorization).is_some());
    reply_to(&mut w, P1, &taken_back, 200, "");
    let anew = w.take(P2);
    assert_eq!(anew.expires().and_then(Result::ok), Some(600));
    ok(&mut w, P2, &anew, 300);

    apply(&mut w, Some(Trunk { enabled: false, ..line(ONE, "acme", "sip:203.0.113.2") }));
    let off = w.take(P2);
    assert_eq!(off.expires().and_then(Result::ok), Some(0));
    reply_to(&mut w, P2, &off, 200, "");
    assert_eq!(item(&mut w).state, TrunkState::Disabled);
    apply(&mut w, None);
    assert!(items(&mut w).is_empty());
    w.pass(s(2000));
    assert!(w.nothing_for(P1) && w.nothing_for(P2), "{:?}", w.summary());
    w.assert_empty();
}

#[test]
fn a_system_that_stops_takes_its_registrations_back_and_waits_two_seconds_at_most() {
    for answers in [true, false] {
        let mut w = world([line(ONE, "acme", "sip:203.0.113.1"), peer(TWO, "pal", "sip:203.0.113.2")]);
        register_at(&mut w, &mut Provider::new("acme.example"), P1, "sip:203.0.113.1", 300);
        w.command(Command::Drain);
        let off = w.take(P1);
        assert_eq!(off.expires().and_then(Result::ok), Some(0));
        assert!(!w.switch.is_idle());
        if answers {
            let challenge = Provider::new("acme.example").challenge(w.now, true);
            reply_to(&mut w, P1, &off, 401, &challenge);
            let again = w.take(P1);
            reply_to(&mut w, P1, &again, 200, "");
        } else {
            w.pass(s(2));
        }
        assert!(w.switch.is_idle());
        w.sent.clear();
        w.pass(s(900));
        assert!(!w.summary().iter().any(|line| line.contains("OPTIONS")), "{:?}", w.summary());
    }
}

#[test]
fn an_answer_to_an_attempt_that_was_given_up_changes_nothing() {
    let mut w = world([line(ONE, "acme", "sip:203.0.113.1")]);
    let late = w.take(P1);
    w.pass(s(11));
    assert_eq!(item(&mut w).state, TrunkState::Unreachable);
    ok(&mut w, P1, &late, 300);
    assert_eq!(item(&mut w).state, TrunkState::Unreachable);
}

#[test]
fn a_connection_that_closes_is_followed_by_a_registration_over_a_new_one() {
    let mut config = config();
    config.listeners.push(Listener {
        profile: ProfileId(1),
        sip: ringfort_sip::endpoint::ListenerInfo {
            id: ListenerId(3),
            transport: Transport::Tcp,
            local: at(OUTSIDE),
            advertised: HostPort::new("192.0.2.1", Some(5080)),
            inside: None,
        },
    });
    let mut w = World::with(config, site_with([line(ONE, "acme", "sip:203.0.113.1;transport=tcp")]));
    w.pass(ms(20));
    let request = w.take(P1);
    let text = reply(&request, 200, "prov", &format!("Contact: <{}>;expires=300\r\n", contact_of(&request)), "");
    let conn = Some(ConnId(9));
    let flow = Flow { transport: Transport::Tcp, listener: ListenerId(3), conn, local: at(OUTSIDE), remote: at(P1) };
    let raw = text.replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n");
    let message = Message::parse_framed(Bytes::from(raw), &Limits::default()).expect("a good answer");
    w.switch.handle_message(w.now, message, flow);
    assert_eq!(item(&mut w).state, TrunkState::Registered);
    w.close_tls(8);
    w.pass(s(3));
    assert!(w.nothing_for(P1), "another connection is none of its business");
    w.close_tls(9);
    let (waited, _) = wait_for(&mut w, P1, "REGISTER ", s(5)).expect("a new registration");
    assert!(waited <= s(2), "{waited:?}");
}

#[test]
fn a_nat_that_gives_us_another_address_is_noticed_by_the_checks() {
    let trunk = Trunk { health_every: s(30), ..line(ONE, "acme", "sip:203.0.113.1") };
    let mut w = world([trunk]);
    let as_seen = |message: &Message, port: u16| {
        let text = reply(message, 200, "prov", "", "");
        let seen = format!(";rport={port};received=198.51.100.77");
        assert!(text.contains(";rport"), "{text}");
        text.replacen(";rport", &seen, 1)
    };
    let register = w.take_starting(P1, "REGISTER ");
    let text = as_seen(&register, 40_000);
    w.send_to(1, OUTSIDE, P1, &text);
    assert_eq!(item(&mut w).state, TrunkState::Registered);
    w.sent.clear();
    for (port, again) in [(40_000, false), (40_000, false), (40_000, false), (41_234, true)] {
        let (_, check) = wait_for(&mut w, P1, "OPTIONS ", s(40)).expect("a check");
        let text = as_seen(&check, port);
        w.send_to(1, OUTSIDE, P1, &text);
        w.pass(ms(10));
        let registers = w.summary().iter().any(|line| line.contains("REGISTER"));
        assert_eq!(registers, again, "port {port}: {:?}", w.summary());
    }
    assert_eq!(said(&w, "trunk.moved").len(), 1);
}

#[test]
fn the_way_through_a_nat_is_kept_open_while_it_is_registered() {
    let mut w = world([line(ONE, "acme", "sip:203.0.113.1")]);
    w.pass(s(60));
    assert!(w.keep_alives.is_empty());
    w.sent.clear();
    let (_, request) = wait_for(&mut w, P1, "REGISTER ", s(300)).expect("another attempt");
    ok(&mut w, P1, &request, 3600);
    w.pass(s(250));
    let sent = w.keep_alives.iter().filter(|to| **to == at(P1)).count();
    assert!((10..=12).contains(&sent), "RFC 5626 §4.4, every 20 to 25 s: {sent}");
}

#[test]
fn two_failed_checks_make_a_peer_unreachable_and_one_answer_brings_it_back() {
    let mut w = world([peer(ONE, "pal", "sip:203.0.113.1")]);
    let (_, check) = wait_for(&mut w, P1, "OPTIONS ", s(1)).expect("a first check");
    assert_eq!(first_line(&check), "OPTIONS sip:203.0.113.1 SIP/2.0");
    assert_eq!((item(&mut w).state, item(&mut w).up), (TrunkState::Unchecked, true));
    // Any final answer is a sign of life.
    reply_to(&mut w, P1, &check, 404, "");
    assert_eq!(item(&mut w).state, TrunkState::Up);
    let (waited, check) = wait_for(&mut w, P1, "OPTIONS ", s(40)).expect("the next check");
    assert!((s(27)..=s(33)).contains(&waited), "{waited:?}");
    // 503 and silence are none.
    reply_to(&mut w, P1, &check, 503, "");
    assert_eq!(item(&mut w).state, TrunkState::Up, "once is not enough");
    let (waited, _) = wait_for(&mut w, P1, "OPTIONS ", s(40)).expect("the next check");
    assert!(waited <= s(6), "it does not wait for its turn: {waited:?}");
    w.pass(ms(4100));
    let trunk = item(&mut w);
    assert_eq!((trunk.state, trunk.up), (TrunkState::Unreachable, false));
    assert!(trunk.last_error.expect("words").contains("no answer to OPTIONS in 4 s"));
    assert_eq!(said(&w, "trunk.unreachable").len(), 1);
    w.sent.clear();
    let (_, check) = wait_for(&mut w, P1, "OPTIONS ", s(40)).expect("it is asked on");
    reply_to(&mut w, P1, &check, 200, "");
    assert_eq!(item(&mut w).state, TrunkState::Up);
    assert_eq!(said(&w, "trunk.up").len(), 2);
}

#[test]
fn a_provider_that_answers_a_check_again_is_registered_with_at_once() {
    let trunk = Trunk { health_every: s(30), ..line(ONE, "acme", "sip:203.0.113.1") };
    let mut w = world([trunk]);
    // Half an hour of silence: the back-off has grown to minutes.
    w.pass(s(1800));
    assert_eq!(item(&mut w).state, TrunkState::Unreachable);
    w.sent.clear();
    let (waited, check) = wait_for(&mut w, P1, "OPTIONS ", s(40)).expect("a check");
    assert!(waited <= s(34));
    w.sent.clear();
    reply_to(&mut w, P1, &check, 200, "");
    w.pass(ms(1));
    let request = w.take_starting(P1, "REGISTER ");
    ok(&mut w, P1, &request, 300);
    assert_eq!(item(&mut w).state, TrunkState::Registered);
}

#[test]
fn a_registered_trunk_that_stops_answering_is_not_up_any_more() {
    let trunk = Trunk { health_every: s(30), ..line(ONE, "acme", "sip:203.0.113.1") };
    let mut w = world([trunk]);
    let request = w.take_starting(P1, "REGISTER ");
    ok(&mut w, P1, &request, 3600);
    assert!(item(&mut w).up);
    w.pass(s(60));
    let trunk = item(&mut w);
    assert_eq!((trunk.state, trunk.up), (TrunkState::Unreachable, false));
    assert_eq!(said(&w, "trunk.lost").len(), 1);
}

#[test]
fn a_thousand_trunks_do_not_begin_at_the_same_moment() {
    let server = |n: u32| format!("sip:203.0.113.{}:{}", n % 250 + 1, 6000 + n / 250);
    let trunks = (1..=1000).map(|n| Trunk { health_every: s(30), ..line(TrunkId(n), &format!("t{n}"), &server(n)) });
    let mut w = World::with(config(), site_with(trunks));
    let (mut most, mut all, mut seen) = (0, 0, std::collections::BTreeSet::new());
    for _ in 0..210 {
        w.pass(ms(100));
        let new = w
            .sent
            .drain(..)
            .filter(|m| first_line(&m.message).starts_with("REGISTER"))
            .filter(|m| seen.insert(m.to))
            .count();
        most = most.max(new);
        all += new;
    }
    assert_eq!(all, 1000, "all within 20 s");
    assert!(most <= 20, "{most} in a tenth of a second, where 5 are the mean");
}

#[test]
fn providers_at_one_address_are_told_apart_by_the_contact_they_were_given() {
    let mut w = world([line(ONE, "a", "sip:203.0.113.1"), line(TWO, "b", "sip:203.0.113.1")]);
    let user = |message: &Message| {
        let contact = contact_of(message);
        contact.trim_start_matches("sip:").split('@').next().expect("a user").to_owned()
    };
    let users = [user(&w.take(P1)), user(&w.take(P1))];
    let mut trunks: Vec<_> =
        users.iter().map(|user| w.switch.trunk_of_contact_user(user).expect("one of ours")).collect();
    trunks.sort();
    assert_eq!(trunks, [ONE, TWO]);
    assert_eq!(w.switch.trunk_of_contact_user("cust7"), None);
}

#[test]
fn rfc_3608_calls_go_the_way_that_the_provider_named_when_it_registered_us() {
    let mut site = site_with([line(ONE, "acme", "sip:203.0.113.1")]);
    site.outbound.push(route("out", vec![Pattern::Prefix("0".into())], vec![ONE]));
    (site.tenants[0].numbers.country, site.tenants[0].numbers.national_prefix) = ("44".into(), "0".into());
    let mut w = World::with(config(), site);
    w.pass(ms(100));
    let request = w.take(P1);
    let extra = format!(
        "Contact: <{}>;expires=300\r\nService-Route: <sip:203.0.113.2;lr>, <sip:core.acme.example;lr>\r\n",
        contact_of(&request)
    );
    reply_to(&mut w, P1, &request, 200, &extra);
    let phone = "198.51.100.10:5060";
    w.register("user-a", phone);
    w.invite("user-a", phone, "02079461234", &sdp("198.51.100.10", 4000, "8"), "");
    let invite = w.take(P2);
    let routes: Vec<_> = invite.routes().flatten().map(|r| r.uri.to_owned()).collect();
    assert_eq!(routes, ["sip:203.0.113.2;lr", "sip:core.acme.example;lr"]);
    assert_eq!(item(&mut w).calls_out, 1);
}

fn test(w: &mut World, number: Option<&str>) -> TrunkTrial {
    match w.command(Command::TrunkTest { name: "acme".into(), number: number.map(str::to_owned) }) {
        CommandReply::TrunkTest(trial) => trial,
        other => panic!("a test, got {other:?}"),
    }
}

fn result(w: &mut World, trial: &TrunkTrial) -> TrunkTrial {
    match w.command(Command::TrunkTestResult { test: trial.test }) {
        CommandReply::TrunkTest(trial) => trial,
        other => panic!("a test, got {other:?}"),
    }
}

fn checkless_peer() -> World {
    world([Trunk { health_every: Duration::ZERO, max_calls: 1, ..peer(ONE, "acme", "sip:203.0.113.1") }])
}

#[test]
fn a_test_asks_the_trunk_and_tells_each_step_in_words() {
    let mut w = checkless_peer();
    let trial = test(&mut w, None);
    assert!(!trial.done);
    let asked = w.take(P1);
    w.pass(ms(12));
    reply_to(&mut w, P1, &asked, 200, "");
    let done = result(&mut w, &trial);
    assert!(done.done && done.passed);
    assert_eq!(
        done.steps,
        [
            "located: 203.0.113.1:5060 by UDP (address in the URI)",
            "OPTIONS to 203.0.113.1:5060 by UDP: 200 Because after 12 ms",
            "it lives"
        ]
    );
    w.pass(s(121));
    assert!(matches!(w.command(Command::TrunkTestResult { test: trial.test }), CommandReply::Refused { .. }));

    let silent = test(&mut w, None);
    w.pass(s(5));
    let done = result(&mut w, &silent);
    assert!(done.done && !done.passed && done.steps.last().is_some_and(|s| s == "no target answers"), "{done:?}");
    for (name, number) in [("nobody", None), ("acme", Some("+44 20; DROP"))] {
        let reply = w.command(Command::TrunkTest { name: name.into(), number: number.map(str::to_owned) });
        assert!(matches!(reply, CommandReply::Refused { .. }), "{name}");
    }
}

#[test]
fn a_test_call_is_taken_back_when_it_rings_and_ended_when_it_is_answered() {
    let mut w = checkless_peer();
    let begin = |w: &mut World| {
        let trial = test(w, Some("+442079461234"));
        let asked = w.take_starting(P1, "OPTIONS ");
        reply_to(w, P1, &asked, 200, "");
        let invite = w.take_starting(P1, "INVITE ");
        assert_eq!(first_line(&invite), "INVITE sip:+442079461234@203.0.113.1 SIP/2.0");
        assert!(body_text(&invite).contains("a=inactive"));
        (trial, invite)
    };
    let (trial, invite) = begin(&mut w);
    assert_eq!(item(&mut w).calls, 1);
    reply_to(&mut w, P1, &invite, 180, "Contact: <sip:203.0.113.1>\r\n");
    let cancel = w.take(P1);
    assert!(first_line(&cancel).starts_with("CANCEL "));
    reply_to(&mut w, P1, &cancel, 200, "");
    reply_to(&mut w, P1, &invite, 487, "");
    assert!(first_line(&w.take(P1)).starts_with("ACK "));
    let done = result(&mut w, &trial);
    assert!(done.done && done.passed && done.steps.iter().any(|s| s.contains("180")), "{done:?}");
    assert_eq!(item(&mut w).calls, 0);
    assert!(!done.steps.iter().any(|s| s.contains("2079461234")), "the number is masked: {done:?}");

    let (trial, invite) = begin(&mut w);
    let text = reply(&invite, 200, "prov", "Contact: <sip:203.0.113.1>\r\n", &sdp("203.0.113.1", 6000, "8"));
    w.send_to(1, OUTSIDE, P1, &text);
    assert!(first_line(&w.take(P1)).starts_with("ACK "));
    let bye = w.take(P1);
    assert!(first_line(&bye).starts_with("BYE "));
    reply_to(&mut w, P1, &bye, 200, "");
    assert!(result(&mut w, &trial).passed);

    let (trial, invite) = begin(&mut w);
    reply_to(&mut w, P1, &invite, 404, "");
    let done = result(&mut w, &trial);
    assert!(done.done && !done.passed && done.steps.iter().any(|s| s.contains("refused: 404")), "{done:?}");

    let (trial, invite) = begin(&mut w);
    reply_to(&mut w, P1, &invite, 100, "");
    w.pass(s(21));
    assert!(!result(&mut w, &trial).passed);
    let cancel = w.take_starting(P1, "CANCEL ");
    reply_to(&mut w, P1, &cancel, 200, "");
    reply_to(&mut w, P1, &invite, 487, "");
    w.assert_empty();
}

/// Two registrations with one provider: its calls come to the Contact of one of them, from whatever address, with the
/// number in To.
#[test]
fn a_call_to_the_contact_of_a_registration_is_that_trunks_wherever_it_comes_from() {
    const B: &str = "198.51.100.20:5060";
    let inbound = |name: &str, trunk, called: &str, to: &str| InboundRoute {
        tenant: TenantId(1),
        name: name.into(),
        trunk: Some(trunk),
        called: called.parse().expect(called),
        identity: Vec::new(),
        hours: Vec::new(),
        to: Destination::Extension(to.into()),
    };
    let mut site = site_with([line(ONE, "one", "sip:203.0.113.1"), line(TWO, "two", "sip:203.0.113.1")]);
    site.inbound = vec![
        inbound("number", TWO, "exact:442079460000", "102"),
        inbound("account", TWO, "exact:cust7", "103"),
        inbound("other", ONE, "any", "101"),
    ];
    let mut w = World::with(config(), site);
    w.register("user-b", B);
    w.pass(ms(100));
    let one = contact_of(&w.take_starting(P1, "REGISTER "));
    let two = contact_of(&w.take_starting(P1, "REGISTER "));
    assert_ne!(one, two);
    let call = |w: &mut World, uri: &str, to: &str, n: u32| {
        let text = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.77:5060;branch=z9hG4bKin{n}\r\nFrom: <sip:+4930123456@far.example>;tag=in{n}\r\n\
             To: <sip:{to}>\r\nCall-ID: in{n}@far.example\r\nCSeq: 1 INVITE\r\nContact: <sip:x@203.0.113.77>\r\nMax-Forwards: 70\r\n\
             Content-Type: application/sdp\r\n\r\n{}",
            sdp("203.0.113.77", 6000, "0 8 101")
        );
        w.send_to(1, OUTSIDE, "203.0.113.77:5060", &text);
    };
    // The registrations stand in the order of their first requests: find the one of `two` by where it leads.
    let (mut reached, mut refused) = (0, 0);
    for (n, uri) in [&one, &two].into_iter().enumerate() {
        call(&mut w, uri, "442079460000@203.0.113.1", n as u32);
        match w.try_take(B) {
            Some(invite) => {
                assert!(first_line(&invite).starts_with("INVITE "));
                reached += 1;
            }
            // Trunk one leads to 101, which has no phone.
            None => {
                assert_eq!(w.take_final("203.0.113.77:5060").status(), 480);
                refused += 1;
            }
        }
    }
    assert_eq!((reached, refused), (1, 1));
    let stranger = "sip:rt0123456789abcdef@192.0.2.1:5080";
    call(&mut w, stranger, "442079460000@203.0.113.1", 9);
    assert_eq!(w.take_final("203.0.113.77:5060").status(), 404, "a Contact that nobody was told");
}
