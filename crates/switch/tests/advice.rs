//! What is said of a site that works as it is written and is surely not meant so.

mod common;

use common::*;
use ringfort_sip::flow::{ListenerId, Transport};
use ringfort_sip::header::HeaderName;
use ringfort_switch::advice::advice;
use ringfort_switch::config::{ProfileKind, SwitchConfig};
use ringfort_switch::model::*;
use ringfort_switch::reach::Level;
use std::sync::Arc;

const ONE: TrunkId = TrunkId(1);

/// A trunk and a route that names the emergency numbers.
fn good() -> Site {
    let mut site = site();
    site.trunks.insert(ONE, Trunk::new(ONE, TenantId(1), "acme", "sip:sip.acme.example"));
    let emergency = ["112", "911"].map(|number| Pattern::Exact(number.into())).to_vec();
    site.outbound.push(route("emergency", emergency, vec![ONE]));
    site
}

fn said(config: &SwitchConfig, site: &Site) -> Vec<(&'static str, String)> {
    advice(config, site).into_iter().map(|it| (it.rule, format!("{}; {}", it.text, it.mend))).collect()
}

/// The one thing that is said of a trunk.
fn of_trunk(config: &SwitchConfig, change: impl FnOnce(&mut Trunk)) -> (&'static str, String) {
    let mut site = good();
    change(site.trunks.get_mut(&ONE).expect("it is there"));
    let said = said(config, &site);
    let [one] = said.as_slice() else { panic!("{said:#?}") };
    one.clone()
}

#[test]
fn nothing_is_said_of_what_is_well() {
    assert_eq!(said(&config(), &good()), []);
    let mut off = good();
    let trunk = off.trunks.get_mut(&ONE).expect("it is there");
    (trunk.enabled, trunk.profile) = (false, Some("nowhere".into()));
    assert!(said(&config(), &off).iter().all(|(rule, _)| *rule == "emergency.no-trunk"), "{:?}", said(&config(), &off));
}

#[test]
fn a_profile_that_is_unknown_or_where_phones_register() {
    let (rule, words) = of_trunk(&config(), |trunk| trunk.profile = Some("wrld".into()));
    assert_eq!(rule, "trunk.profile-unknown");
    assert!(words.contains("trunk acme") && words.contains("one of world in `profile`"), "{words}");
    let (rule, words) = of_trunk(&config(), |trunk| trunk.profile = Some("phones".into()));
    assert_eq!(rule, "trunk.profile-internal");
    assert!(words.contains("where phones register"), "{words}");
    let mut config = config();
    config.profiles.truncate(1);
    config.listeners.retain(|listener| listener.profile == ProfileId(0));
    let (_, words) = of_trunk(&config, |trunk| trunk.profile = Some("world".into()));
    let line = "[[profile]] name = \"world\", kind = \"external\", listen = [\"udp:192.0.2.1:5080\"]";
    assert!(words.contains(line), "{words}");
}

#[test]
fn a_transport_without_a_listener_names_the_line_to_write() {
    for (server, missing, listen) in [
        ("sip:sip.acme.example;transport=tcp", "TCP over IPv4", "\"tcp:192.0.2.1:5080\""),
        ("sips:sip.acme.example", "TLS over IPv4", "\"tls:192.0.2.1:5081\""),
        ("sip:[2001:db8::5]", "UDP over IPv6", "\"udp:[::]:5080\""),
    ] {
        let (rule, words) = of_trunk(&config(), |trunk| trunk.server = server.into());
        assert_eq!(rule, "trunk.no-listener", "{words}");
        let line = format!("{listen} in `listen` of [[profile]] name = \"world\" in ringfort.toml");
        assert!(words.contains(missing) && words.contains(&line), "{words}");
    }
    for reachable in ["sip:203.0.113.1", "sip:sip.acme.example:5070", "sip:sip.acme.example;transport=udp"] {
        let mut site = good();
        site.trunks.get_mut(&ONE).expect("it is there").server = reachable.into();
        assert_eq!(said(&config(), &site), [], "{reachable}");
    }
    let mut config = config();
    config.listeners[2].profile = ProfileId(1);
    let mut site = good();
    site.trunks.get_mut(&ONE).expect("it is there").server = "sips:sip.acme.example".into();
    assert_eq!(said(&config, &site), []);
}

#[test]
fn emergency_numbers_that_no_route_names() {
    let mut site = good();
    site.outbound[0].patterns = vec![Pattern::Exact("112".into()), Pattern::Any];
    let [(rule, words)] = &said(&config(), &site)[..] else { panic!("one") };
    assert_eq!(*rule, "emergency.no-route");
    assert!(words.contains("numbers 911:"), "{words}");
    site.trunks.clear();
    site.outbound.clear();
    let found = advice(&config(), &site);
    assert_eq!((found[0].rule, found[0].level), ("emergency.no-trunk", Level::Info));
    site.extensions.clear();
    assert_eq!(said(&config(), &site), []);
}

#[test]
fn limits_of_spending_without_rates() {
    let limits = SpendLimits { per_day: Some(1), ..SpendLimits::default() };
    let change: [fn(&mut Site, SpendLimits); 3] = [
        |site, limits| site.tenants[0].numbers.spend = limits,
        |site, limits| site.trunks.get_mut(&ONE).expect("it is there").spend = limits,
        |site, limits| site.extensions.get_mut(&ExtensionId(1)).expect("it is there").calling.spend = limits,
    ];
    for limit in change {
        let mut site = good();
        limit(&mut site, limits);
        let [(rule, words)] = &said(&config(), &site)[..] else { panic!("one") };
        assert_eq!(*rule, "spending.no-rates");
        assert!(words.contains("are refused") && words.contains("ctl rates import acme"), "{words}");
        let rate = Rate { prefix: "44".into(), per_minute: 1, connection: 0, first_s: 1, step_s: 1 };
        site.rates.insert(ONE, Arc::new(RateTable { currency: "EUR".into(), rates: vec![rate] }));
        assert_eq!(said(&config(), &site), []);
    }
}

#[test]
fn a_call_without_a_listener_says_the_same() {
    // One that no profile has, and one that only phones have.
    for (server, rule, listen) in [
        ("sip:203.0.113.1;transport=tcp", "route.locate", "\"tcp:192.0.2.1:5080\""),
        ("sips:203.0.113.1", "route.no_listener", "\"tls:192.0.2.1:5081\""),
    ] {
        let mut site = good();
        site.trunks.get_mut(&ONE).expect("it is there").server = server.into();
        let mut w = World::with(config(), site);
        w.register("user-a", "198.51.100.10:5060");
        w.invite("user-a", "198.51.100.10:5060", "112", &sdp("198.51.100.10", 4000, "8"), "");
        let told = w.notices.iter().find(|notice| notice.rule == rule).expect("a notice");
        assert!(told.text.contains(&format!("add {listen} in `listen` of [[profile]]")), "{}", told.text);
    }
}

#[test]
fn what_is_too_long_for_udp_goes_by_a_tcp_listener_of_the_phone_s_own_family() {
    let mut config = config();
    for (id, local) in [(3, "[2001:db8::1]:5060"), (4, INSIDE)] {
        let mut listener = config.listeners[0].clone();
        (listener.sip.id, listener.sip.transport, listener.sip.local) = (ListenerId(id), Transport::Tcp, at(local));
        listener.sip.advertised = at(local).into();
        config.listeners.push(listener);
    }
    assert_eq!(config.profiles[0].kind, ProfileKind::Internal);
    assert_eq!(config.tcp_towards(ProfileId(0), true), Some(ListenerId(4)));
    assert_eq!(config.tcp_towards(ProfileId(0), false), Some(ListenerId(3)));
    let mut w = World::with(config, site());
    w.register("user-a", "198.51.100.10:5060");
    w.register("user-b", "198.51.100.20:5060");
    let long = format!("Subject: {}\r\nUser-to-User: {}\r\n", "s".repeat(500), "u".repeat(500));
    w.invite("user-a", "198.51.100.10:5060", "102", &sdp("198.51.100.10", 4000, "0 8 101"), &long);
    let invite = w.take("198.51.100.20:5060");
    let via = String::from_utf8_lossy(invite.header(HeaderName::Via).expect("Via")).into_owned();
    assert!(via.starts_with("SIP/2.0/TCP 192.0.2.1:5060;"), "{via}");
}

#[test]
fn signatures_that_are_asked_for_without_anybody_to_judge_them() {
    let deaf = SwitchConfig { judges_identity: false, ..config() };
    let (rule, words) = of_trunk(&deaf, |trunk| trunk.verify_identity = VerifyIdentity::Require);
    assert_eq!(rule, "stir.no-trust");
    assert!(words.contains("trunk acme requires signed numbers") && words.contains("[stir]"), "{words}");
    let mut site = good();
    site.inbound.push(InboundRoute { identity: vec![Verified::Passed], ..inbound_to("101") });
    assert!(said(&deaf, &site)[0].1.contains("inbound route in"), "{:?}", said(&deaf, &site));
    site.trunks.get_mut(&ONE).expect("it is there").verify_identity = VerifyIdentity::Require;
    assert_eq!(said(&config(), &site), []);
}

#[test]
fn a_route_that_makes_something_else_of_an_emergency_number() {
    let with = |strip: u8, prepend: &str| {
        let mut site = good();
        let patterns = vec![Pattern::Exact("112".into()), Pattern::Prefix("0".into())];
        site.outbound.push(OutboundRoute { strip, prepend: prepend.into(), ..route("outside", patterns, vec![ONE]) });
        said(&config(), &site)
    };
    assert!(with(0, "").is_empty());
    assert!(with(0, "030").is_empty(), "{:?}", with(0, "030"));
    let said = with(1, "");
    assert_eq!(said[0].0, "emergency.rewritten");
    assert!(said[0].1.contains("route outside takes the emergency number 112 and makes \"12\" of it"), "{said:?}");
}

#[test]
fn a_trunk_where_phones_alone_are_let_in() {
    let mut phones = config();
    phones.profiles.truncate(1);
    phones.listeners.retain(|listener| listener.profile == ProfileId(0));
    let (rule, words) = of_trunk(&phones, |_| {});
    assert_eq!(rule, "trunk.no-external-profile");
    let line = "[[profile]] name = \"world\", kind = \"external\", listen = [\"udp:192.0.2.1:5080\"]";
    assert!(words.contains("no call of trunk acme can come in") && words.contains(line), "{words}");
}

#[test]
fn a_number_that_people_of_the_country_dial_for_help_and_that_is_none_here() {
    let mut site = good();
    site.tenants[0].numbers.country = "44".into();
    let found = said(&config(), &site);
    assert_eq!(found[0].0, "emergency.country");
    assert!(found[0].1.contains("in +44 people dial 999 for help"), "{found:?}");
    assert!(found[0].1.contains("emergency = [\"112\", \"911\", \"999\"]"), "{found:?}");
    site.tenants[0].numbers.emergency = vec!["112".into(), "999".into()];
    site.outbound[0].patterns.push(Pattern::Exact("999".into()));
    assert_eq!(said(&config(), &site), []);
    site.tenants[0].numbers.country = "34".into();
    assert_eq!(said(&config(), &site), []);
}
