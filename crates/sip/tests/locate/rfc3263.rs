//! RFC 3263 by section, with what RFC 3403, 5922 and 7118 add.

use ringfort_sip::flow::{self, ListenerId, Transport};
use ringfort_sip::locate::*;
use ringfort_sip::via::Via;

use crate::world::{World, Zone, name, request, show};

const HOSTS: &str = "
    one.example.org 300 A 192.0.2.1
    two.example.org 300 A 192.0.2.2
    three.example.org 300 A 192.0.2.3
";

fn with_hosts(zone: &str) -> World {
    World::new(&format!("{zone}{HOSTS}"))
}

fn all() -> Settings {
    use Transport::{Tcp, Tls, Udp, Ws, Wss};
    Settings { transports: vec![Udp, Tcp, Tls, Ws, Wss], ..Settings::default() }
}

#[test]
fn rfc3263_4_1_an_address_needs_no_dns_and_goes_by_udp_or_for_sips_by_tls() {
    let mut world = World::new("");
    for (uri, target) in [
        ("sip:a@192.0.2.9", "UDP 192.0.2.9:5060"),
        ("sip:a@192.0.2.9:5070", "UDP 192.0.2.9:5070"),
        ("sip:a@192.0.2.9;transport=tcp", "TCP 192.0.2.9:5060"),
        ("sips:a@[2001:db8::9]", "TLS [2001:db8::9]:5061"),
        ("sips:a@192.0.2.9;transport=tcp", "TLS 192.0.2.9:5061"),
    ] {
        assert_eq!(world.targets(uri), [target], "{uri}");
    }
    assert_eq!(world.asked, []);
}

#[test]
fn rfc3263_4_1_a_port_means_udp_or_tls_and_addresses_alone() {
    let mut world = with_hosts("_sip._udp.one.example.org 300 SRV 1 1 9 two.example.org");
    assert_eq!(world.targets("sip:a@one.example.org:5070"), ["UDP 192.0.2.1:5070"]);
    assert_eq!(world.targets("sip:a@one.example.org:5060"), ["UDP 192.0.2.1:5060"], "no SRV for 5060 either (§4.2)");
    assert_eq!(world.targets("sips:a@one.example.org:5071"), ["TLS 192.0.2.1:5071"]);
    assert!(world.asked.iter().all(|(_, kind)| matches!(kind, RecordType::A | RecordType::Aaaa)), "{:?}", world.asked);
}

/// The example of RFC 3263 §4.1, with hosts added. The client there has no TLS.
#[test]
fn rfc3263_4_1_the_example_of_the_rfc_chooses_tcp() {
    let zone = "
        example.com 300 NAPTR 50 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.example.com
        example.com 300 NAPTR 90 50 \"s\" \"SIP+D2T\" \"\" _sip._tcp.example.com
        example.com 300 NAPTR 100 50 \"s\" \"SIP+D2U\" \"\" _sip._udp.example.com
        _sip._tcp.example.com 300 SRV 0 1 5060 server1.example.com
        _sip._tcp.example.com 300 SRV 0 2 5060 server2.example.com
        server1.example.com 300 A 192.0.2.11
        server2.example.com 300 A 192.0.2.12
    ";
    let settings = Settings { transports: vec![Transport::Tcp, Transport::Udp], ..Settings::default() };
    let mut world = World::with(zone, settings, 1);
    let mut found = world.targets("sip:user@example.com");
    found.sort();
    assert_eq!(found, ["TCP 192.0.2.11:5060", "TCP 192.0.2.12:5060"]);
    assert!(!world.asked.contains(&(name("_sip._udp.example.com"), RecordType::Srv)), "UDP has another order");
}

/// DOM-2 and DOM-3: the shape that Ringfort publishes.
#[test]
fn rfc3403_4_1_the_lowest_order_counts_alone_and_preference_orders_within_it() {
    let zone = "
        example.org 300 NAPTR 20 50 \"s\" \"SIP+D2T\" \"\" _sip._tcp.example.org
        example.org 300 NAPTR 20 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.example.org
        example.org 300 NAPTR 10 51 \"s\" \"SIP+D2U\" \"\" _sip._udp.two.example.org
        example.org 300 NAPTR 10 50 \"s\" \"SIP+D2U\" \"\" _sip._udp.one.example.org
        _sip._udp.one.example.org 300 SRV 10 0 5060 one.example.org
        _sip._udp.two.example.org 300 SRV 10 0 5060 two.example.org
        _sip._tcp.example.org 300 SRV 10 0 5060 three.example.org
        _sips._tcp.example.org 300 SRV 10 0 5061 three.example.org
    ";
    let mut world = with_hosts(zone);
    let located = world.locate("sip:alex@example.org");
    assert_eq!(show(&located), ["UDP 192.0.2.1:5060", "UDP 192.0.2.2:5060"]);
    let other = |note: &&Note| matches!(note, Note::RuleSkipped { why: SkippedRule::OtherOrder, .. });
    assert_eq!(located.trace.notes.iter().filter(other).count(), 2);
    let first = located.result.unwrap().left().next().unwrap().why.to_string();
    let way = "NAPTR 10 50 SIP+D2U → SRV _sip._udp.one.example.org 10 0 5060 → address of one.example.org";
    assert_eq!(first, way);

    assert_eq!(world.targets("sips:alex@example.org"), ["TLS 192.0.2.3:5061"], "SIPS services alone");
    let without_udp = Request { transports: vec![Transport::Tls, Transport::Tcp], ..request("sip:alex@example.org") };
    let located = world.find(without_udp);
    assert_eq!(show(&located), ["TLS 192.0.2.3:5061", "TCP 192.0.2.3:5060"], "equal rules: as we prefer");
}

#[test]
fn rfc3263_4_1_rules_that_are_not_for_us_are_left_out_with_the_reason() {
    let zone = "
        example.org 300 NAPTR 1 1 \"u\" \"E2U+sip\" \"!^.*$!sip:x@example.org!\" .
        example.org 300 NAPTR 2 1 \"s\" \"SIP+D2S\" \"\" _sip._sctp.example.org
        example.org 300 NAPTR 3 1 \"a\" \"SIP+D2U\" \"\" one.example.org
        example.org 300 NAPTR 4 1 \"s\" \"SIP+D2U\" \"!x!y!\" _sip._udp.example.org
        example.org 300 NAPTR 5 1 \"s\" \"SIP+D2U\" \"\" .
        example.org 300 NAPTR 6 1 \"S\" \"sip+d2t\" \"\" _sip._tcp.example.org
        _sip._tcp.example.org 300 SRV 1 1 5060 one.example.org
    ";
    let located = with_hosts(zone).locate("sip:a@example.org");
    assert_eq!(show(&located), ["TCP 192.0.2.1:5060"], "flags and services in any case (RFC 3403 §4.1)");
    let why = |note: &Note| match note {
        Note::RuleSkipped { naptr, why } => (naptr.order, *why),
        other => panic!("{other}"),
    };
    use SkippedRule::{Flags, NoReplacement, OtherService, Regexp};
    let skipped: Vec<_> = located.trace.notes.iter().map(why).collect();
    assert_eq!(skipped, [(1, OtherService), (2, OtherService), (3, Flags), (4, Regexp), (5, NoReplacement)]);
}

#[test]
fn rfc3263_4_1_without_naptr_the_srv_records_of_all_our_transports_are_asked() {
    let mut world = with_hosts(
        "_sip._tcp.example.org 300 SRV 1 1 5060 one.example.org
         _sips._tcp.example.org 300 SRV 1 1 5061 one.example.org",
    );
    assert_eq!(world.targets("sip:a@example.org"), ["TCP 192.0.2.1:5060", "TLS 192.0.2.1:5061"]);
    let srv = |prefix: &str| (name(&format!("{prefix}.example.org")), RecordType::Srv);
    for prefix in ["_sip._udp", "_sip._tcp", "_sips._tcp"] {
        assert!(world.asked.contains(&srv(prefix)), "{prefix}");
    }
    let mut world = with_hosts("_sips._tcp.example.org 300 SRV 1 1 5061 one.example.org");
    assert_eq!(world.targets("sips:a@example.org"), ["TLS 192.0.2.1:5061"]);
    assert!(!world.asked.contains(&srv("_sip._udp")) && !world.asked.contains(&srv("_sip._tcp")));
}

#[test]
fn rfc3263_4_1_with_naptr_for_other_things_alone_it_goes_on_with_srv() {
    let mut world = with_hosts(
        "example.org 300 NAPTR 1 1 \"u\" \"E2U+sip\" \"!^.*$!sip:x@example.org!\" .
         _sip._udp.example.org 300 SRV 1 1 5060 one.example.org",
    );
    assert_eq!(world.targets("sip:a@example.org"), ["UDP 192.0.2.1:5060"]);
}

#[test]
fn rfc3263_4_2_plain_addresses_work_alone_by_udp_or_for_sips_by_tls() {
    let mut world = with_hosts("");
    assert_eq!(world.targets("sip:a@one.example.org"), ["UDP 192.0.2.1:5060"]);
    assert_eq!(world.targets("sips:a@one.example.org"), ["TLS 192.0.2.1:5061"]);
    assert_eq!(world.targets("sip:a@one.example.org;transport=tcp"), ["TCP 192.0.2.1:5060"]);
    assert_eq!(world.targets("sip:a@one.example.org;transport=tls"), ["TLS 192.0.2.1:5061"]);
}

#[test]
fn rfc3263_4_2_a_transport_in_the_uri_asks_for_its_srv_records_and_no_naptr() {
    let mut world = with_hosts(
        "_sip._tcp.example.org 300 SRV 1 1 5080 two.example.org
         _sips._tcp.example.org 300 SRV 1 1 5081 three.example.org",
    );
    assert_eq!(world.targets("sip:a@example.org;transport=tcp"), ["TCP 192.0.2.2:5080"]);
    assert_eq!(world.targets("sip:a@example.org;transport=tls"), ["TLS 192.0.2.3:5081"], "_sips for TLS");
    assert!(world.asked.iter().all(|(_, kind)| *kind != RecordType::Naptr));
}

#[test]
fn rfc3263_4_2_a_rule_without_srv_records_leads_to_the_addresses_of_the_domain_by_its_transport() {
    let mut world = with_hosts(
        "example.org 300 NAPTR 10 50 \"s\" \"SIP+D2T\" \"\" _sip._tcp.example.org
         example.org 300 A 192.0.2.50",
    );
    let located = world.locate("sip:a@example.org");
    assert_eq!(show(&located), ["TCP 192.0.2.50:5060"]);
    assert_eq!(located.trace.notes, [Note::NoSrvBehindNaptr(name("_sip._tcp.example.org"))]);
}

#[test]
fn naptr_can_be_turned_off() {
    let zone = "
        example.org 300 NAPTR 10 50 \"s\" \"SIP+D2T\" \"\" _sip._tcp.elsewhere.example
        _sip._tcp.elsewhere.example 300 SRV 1 1 5060 one.example.org
        _sip._udp.example.org 300 SRV 1 1 5060 two.example.org
    ";
    let settings = Settings { naptr: false, ..Settings::default() };
    let mut world = World::with(&format!("{zone}{HOSTS}"), settings, 1);
    assert_eq!(world.targets("sip:a@example.org"), ["UDP 192.0.2.2:5060"]);
    assert!(world.asked.iter().all(|(_, kind)| *kind != RecordType::Naptr));
    assert_eq!(with_hosts(zone).targets("sip:a@example.org"), ["TCP 192.0.2.1:5060"], "and on");
}

#[test]
fn rfc7118_5_5_websocket_is_found_by_naptr_and_else_by_address_at_ports_80_and_443() {
    let zone = format!(
        "example.org 300 NAPTR 10 50 \"s\" \"SIPS+D2W\" \"\" _sips._ws.example.org
         _sips._ws.example.org 300 SRV 1 1 7443 one.example.org{HOSTS}"
    );
    let mut world = World::with(&zone, all(), 1);
    assert_eq!(world.targets("sips:a@example.org"), ["WSS 192.0.2.1:7443"]);
    assert_eq!(world.targets("sip:a@two.example.org;transport=ws"), ["WS 192.0.2.2:80"]);
    assert_eq!(world.targets("sips:a@two.example.org;transport=ws"), ["WSS 192.0.2.2:443"]);
}

#[test]
fn rfc5922_4_the_certificate_is_for_the_domain_that_was_asked_for() {
    let mut world = with_hosts(
        "example.org 300 NAPTR 10 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.provider.example
         _sips._tcp.provider.example 300 SRV 1 1 5061 one.example.org",
    );
    let located = world.locate("sip:a@Example.org");
    let targets = located.result.unwrap();
    let target = targets.left().next().unwrap();
    assert_eq!(target.server_name.as_deref(), Some("example.org"), "not one.example.org");
    let flow::Target::Connect { listener, remote, server_name, transport } = target.flow(ListenerId(3)) else {
        panic!()
    };
    assert_eq!((listener, transport, server_name), (ListenerId(3), Transport::Tls, target.server_name.clone()));
    assert_eq!(remote, "192.0.2.1:5061".parse().unwrap());
    let udp = world.locate("sip:a@one.example.org").result.unwrap();
    assert_eq!(udp.left().next().unwrap().server_name, None);
}

#[test]
fn maddr_is_not_followed_and_that_is_said() {
    let located = with_hosts("").locate("sip:a@one.example.org;maddr=198.51.100.66");
    assert_eq!(show(&located), ["UDP 192.0.2.1:5060"]);
    assert_eq!(located.trace.notes, [Note::MaddrIgnored]);
}

#[test]
fn rfc8305_4_addresses_of_both_families_take_turns() {
    let zone = "
        a.example 300 A 192.0.2.1
        a.example 300 A 192.0.2.2
        a.example 300 A 192.0.2.3
        a.example 300 AAAA 2001:db8::1
        a.example 300 AAAA 2001:db8::2
    ";
    let with = |families| {
        let settings = Settings { families, ..Settings::default() };
        World::with(zone, settings, 1).targets("sip:x@a.example:5").join(" ").replace("UDP ", "")
    };
    let six = ["[2001:db8::1]:5", "[2001:db8::2]:5"];
    let four = ["192.0.2.1:5", "192.0.2.2:5", "192.0.2.3:5"];
    assert_eq!(with(Families::V6First), [six[0], four[0], six[1], four[1], four[2]].join(" "));
    assert_eq!(with(Families::V4First), [four[0], six[0], four[1], six[1], four[2]].join(" "));
    assert_eq!(with(Families::V4Only), four.join(" "));
    assert_eq!(with(Families::V6Only), six.join(" "));
}

#[test]
fn rfc3263_4_3_after_503_a_transport_error_or_a_timeout_the_next_target_is_tried() {
    use std::time::Duration;
    assert!(Attempt::of_status(503, Some(Duration::from_secs(9))).is_failure());
    assert!(Attempt::TimedOut.is_failure() && Attempt::TransportError.is_failure());
    for status in [100, 180, 200, 302, 404, 408, 480, 486, 500, 504, 600, 603] {
        assert!(!Attempt::of_status(status, None).is_failure(), "{status}");
    }
    let mut world = with_hosts(
        "_sip._udp.example.org 300 SRV 1 1 5060 one.example.org
         _sip._udp.example.org 300 SRV 2 1 5060 two.example.org
         _sip._udp.example.org 300 SRV 3 1 5060 three.example.org",
    );
    let mut targets = world.locate("sip:a@example.org").result.unwrap();
    let mut taken = Vec::new();
    while let Some(target) = world.locator.next_target(world.now, &mut targets) {
        world.locator.report(world.now, &target, Attempt::TimedOut);
        taken.push(target.address.ip().to_string());
    }
    assert_eq!(taken, ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
}

/// RFC 3263 §5: the answer to a request whose connection is gone.
#[test]
fn rfc3263_5_a_response_finds_its_way_by_the_sent_by_of_the_via() {
    let mut world = with_hosts(
        "_sip._udp.client.example 300 SRV 1 1 5062 one.example.org
         _sips._tcp.client.example 300 SRV 1 1 5063 two.example.org
         client.example 300 A 192.0.2.77",
    );
    for (via, target) in [
        (&b"SIP/2.0/UDP 192.0.2.30:5090;branch=z9hG4bK1"[..], "UDP 192.0.2.30:5090"),
        (b"SIP/2.0/TCP 192.0.2.30", "TCP 192.0.2.30:5060"),
        (b"SIP/2.0/TLS [2001:db8::1]", "TLS [2001:db8::1]:5061"),
        (b"SIP/2.0/UDP client.example:5090", "UDP 192.0.2.77:5090"),
        (b"SIP/2.0/UDP client.example", "UDP 192.0.2.1:5062"),
        (b"SIP/2.0/TLS client.example", "TLS 192.0.2.2:5063"),
    ] {
        let request = Request::of_via(&Via::parse(via).unwrap()).unwrap();
        assert_eq!(show(&world.find(request)), [target], "{}", String::from_utf8_lossy(via));
    }
    assert!(world.asked.iter().all(|(_, kind)| *kind != RecordType::Naptr));
}

#[test]
fn aliases_are_followed_and_their_chains_have_an_end() {
    let mut world = with_hosts(
        "example.org 300 CNAME www.example.net
         www.example.net 300 CNAME one.example.org
         loop.example 300 CNAME pool.example
         pool.example 300 CNAME loop.example",
    );
    assert_eq!(world.targets("sip:a@example.org"), ["UDP 192.0.2.1:5060"]);
    let looped = world.locate("sip:a@loop.example");
    assert_eq!(looped.result, Err(LocateError::Unanswered(QueryFailure::AliasLoop)));
    let chain: String = (0..20).map(|n| format!("n{n}.example 300 CNAME n{}.example\n", n + 1)).collect();
    let located = World::new(&format!("{chain}n20.example 300 A 192.0.2.1")).locate("sip:a@n0.example:5060");
    assert_eq!(located.result, Err(LocateError::Unanswered(QueryFailure::AliasLoop)));
}

/// As a name server that is not recursive, or a zone cut, gives it.
#[test]
fn an_alias_without_what_is_behind_it_is_asked_further() {
    let mut world = World::new("");
    let id = world.locator.locate(world.now, request("sip:a@alias.example:5060"));
    let mut asked = Vec::new();
    while let Some(query) = world.locator.poll_query() {
        asked.push((query.name.to_string(), query.kind));
        let zone = match query.name.as_str() {
            "alias.example" => "alias.example 60 CNAME far.example",
            "far.example" => "far.example 300 CNAME further.example",
            _ => "further.example 300 A 192.0.2.8",
        };
        let Zone { records, .. } = Zone::new(zone);
        let answer = Answer::Records { records, no_such_name: false, negative_ttl: None, authenticated: true };
        let answer = if query.kind == RecordType::A || query.name != name("further.example") {
            answer
        } else {
            Answer::Absent { no_such_name: false, negative_ttl: None, authenticated: true }
        };
        world.locator.handle_answer(world.now, query.id, answer);
    }
    let located = world.locator.poll_located().unwrap();
    assert_eq!(located.id, id);
    assert_eq!(show(&located), ["UDP 192.0.2.8:5060"]);
    assert!(asked.contains(&("further.example".into(), RecordType::A)), "{asked:?}");
    let a = located.trace.asked.iter().find(|asked| asked.kind == RecordType::A).unwrap();
    assert_eq!(a.found.ttl.as_secs(), 60, "the lowest of the chain");
    assert_eq!(a.found.aliases, [name("far.example"), name("further.example")]);
    assert!(a.found.authenticated);
}

#[test]
fn an_alias_at_an_srv_target_is_followed_and_named() {
    let located = with_hosts(
        "_sip._udp.example.org 300 SRV 1 1 5060 alias.example.org
         _sip._udp.example.org 300 SRV 2 1 5062 alias.example.org
         alias.example.org 300 CNAME one.example.org",
    )
    .locate("sip:a@example.org");
    assert_eq!(show(&located), ["UDP 192.0.2.1:5060", "UDP 192.0.2.1:5062"]);
    assert_eq!(located.trace.notes, [Note::TargetIsAlias(name("alias.example.org"))], "once");
}

#[test]
fn dnssec_is_passed_on_where_every_record_of_the_way_has_it() {
    let zone = format!("_sip._udp.example.org 300 SRV 1 1 5060 one.example.org{HOSTS}");
    for authenticated in [true, false] {
        let mut world = World::new(&zone);
        world.zone.authenticated = authenticated;
        let targets = world.locate("sip:a@example.org").result.unwrap();
        assert_eq!(targets.left().next().unwrap().authenticated, authenticated);
    }
}

#[test]
fn what_is_not_there_and_what_was_not_answered_are_told_apart() {
    let mut world = with_hosts("empty.example 300 NAPTR 1 1 \"u\" \"x\" \"\" .");
    assert_eq!(world.locate("sip:a@nowhere.example").result, Err(LocateError::NoSuchName));
    assert_eq!(world.locate("sip:a@empty.example").result, Err(LocateError::NoAddress));
    assert!(!LocateError::NoSuchName.is_temporary());
    world.zone.broken.insert((name("one.example.org"), RecordType::A));
    let failed = world.locate("sip:a@one.example.org:5060").result;
    assert_eq!(failed, Err(LocateError::Unanswered(QueryFailure::ServerFailure)));
    assert!(failed.unwrap_err().is_temporary());
}

#[test]
fn a_name_server_that_fails_for_naptr_does_not_cost_the_call_and_one_that_fails_for_srv_is_no_licence_to_guess() {
    let mut world = with_hosts(
        "_sip._udp.example.org 300 SRV 1 1 5060 one.example.org
         example.org 300 A 192.0.2.80",
    );
    world.zone.broken.insert((name("example.org"), RecordType::Naptr));
    assert_eq!(world.targets("sip:a@example.org"), ["UDP 192.0.2.1:5060"]);
    world.zone.broken.insert((name("_sip._udp.example.org"), RecordType::Srv));
    world.locator.forget();
    let located = world.locate("sip:a@example.org");
    assert_eq!(located.result, Err(LocateError::Unanswered(QueryFailure::ServerFailure)));
}

#[test]
fn a_transport_that_we_do_not_have_or_may_not_use_is_refused() {
    let mut world = with_hosts("");
    assert_eq!(world.locate("sip:a@one.example.org;transport=ws").result, Err(LocateError::NoTransport));
    let only_udp = Request { transports: vec![Transport::Udp], ..request("sips:a@one.example.org") };
    assert_eq!(world.find(only_udp).result, Err(LocateError::NoTransport));
    let too_long_for_udp = Request { transports: vec![Transport::Tcp], ..request("sip:a@one.example.org") };
    assert_eq!(show(&world.find(too_long_for_udp)), ["TCP 192.0.2.1:5060"], "RFC 3261 §18.1.1");
}

#[test]
fn a_domain_of_a_thousand_hosts_is_cut_to_what_can_be_tried() {
    let mut zone = String::new();
    for n in 0..1000 {
        zone.push_str(&format!("_sip._udp.big.example 300 SRV 1 1 5060 h{n}.big.example\n"));
        for m in 0..30 {
            zone.push_str(&format!("h{n}.big.example 300 A 10.{}.{}.{m}\n", n / 250, n % 250));
        }
    }
    let mut world = World::new(&zone);
    let located = world.locate("sip:a@big.example");
    assert_eq!(located.result.unwrap().left().len(), 64);
    assert!(world.asked.len() <= 64, "{}", world.asked.len());
    assert!(located.trace.notes.contains(&Note::TooMany(16)) && located.trace.notes.contains(&Note::TooMany(64)));
}
