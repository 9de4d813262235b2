//! The shape of what is published (DOM-3), and each kind of fault put into a zone and found by its name. With a real name
//! server the same is done in `tests/interop`.

use std::collections::BTreeSet;

use ringfort_sip::locate::{Answer, Name, Naptr, QueryFailure, Record, RecordData, RecordType, Srv};

use super::args::{DomainArgs, HostArg};
use super::check::{Fault, Report, compare};
use super::offer::Offer;
use super::seen::Seen;
use super::zone::{Plan, fragment, plan};
use crate::config::Config;

const TWO_HOSTS: &str = "
    [[profile]]
    name = \"phones\"
    kind = \"internal\"
    listen = [\"udp:10.0.0.1:5062\"]
    [[profile]]
    name = \"world\"
    listen = [\"udp:192.0.2.1:5060\", \"udp:192.0.2.1:5070\", \"tcp:192.0.2.1:5060\", \"tls:192.0.2.1:5061\", \"tls:[2001:db8::1]:5061\"]
";

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn host(text: &str, addresses: &[&str]) -> HostArg {
    HostArg { name: name(text), addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect() }
}

fn offer(config: &str, hosts: &[HostArg]) -> Offer {
    Offer::new(&Config::parse("t", config).unwrap(), &name("example.org"), hosts, 3600).unwrap()
}

fn two_hosts() -> Offer {
    offer(TWO_HOSTS, &[host("sip1.example.org", &[]), host("sip2.example.org", &["192.0.2.2"])])
}

#[test]
fn dom_3_the_fragment_has_the_shape_that_is_asked_for() {
    let text = fragment(&name("example.org"), &two_hosts(), "");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with(';') && !line.is_empty()).collect();
    assert_eq!(
        lines,
        [
            "example.org. 3600 IN NAPTR 10 50 \"s\" \"SIP+D2U\" \"\" _sip._udp.example.org.",
            "example.org. 3600 IN NAPTR 10 51 \"s\" \"SIP+D2U\" \"\" _sip._udp.sip2.example.org.",
            "example.org. 3600 IN NAPTR 20 50 \"s\" \"SIP+D2T\" \"\" _sip._tcp.example.org.",
            "example.org. 3600 IN NAPTR 20 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.example.org.",
            "_sip._udp.example.org. 3600 IN SRV 10 0 5060 sip1.example.org.",
            "_sip._udp.example.org. 3600 IN SRV 20 0 5060 sip2.example.org.",
            "_sip._udp.sip2.example.org. 3600 IN SRV 10 0 5060 sip2.example.org.",
            "_sip._tcp.example.org. 3600 IN SRV 10 0 5060 sip1.example.org.",
            "_sip._tcp.example.org. 3600 IN SRV 20 0 5060 sip2.example.org.",
            "_sips._tcp.example.org. 3600 IN SRV 10 0 5061 sip1.example.org.",
            "_sips._tcp.example.org. 3600 IN SRV 20 0 5061 sip2.example.org.",
            "sip1.example.org. 3600 IN A 192.0.2.1",
            "sip1.example.org. 3600 IN AAAA 2001:db8::1",
            "sip2.example.org. 3600 IN A 192.0.2.2",
        ]
    );
    for warning in [
        "; Attention: UDP listens on port 5070 too: only 5060 is published.",
        "; Attention: sip1.example.org has an IPv6 address, but UDP port 5060 does not listen there.",
    ] {
        assert!(text.contains(warning), "{warning}\n{text}");
    }
    assert!(!text.contains("10.0.0.1") && !text.contains("5062"), "internal listeners are not for the world");
}

#[test]
fn only_what_is_listened_to_is_published() {
    let tls_only = offer("[[profile]]\nname = \"a\"\nlisten = [\"tls:192.0.2.1:5071\", \"udp:127.0.0.1:5060\"]", &[]);
    let text = fragment(&name("example.org"), &tls_only, "");
    assert!(!text.contains("_udp") && !text.contains("127.0.0.1") && !text.contains("D2U"), "{text}");
    assert!(text.contains("_sips._tcp.example.org. 3600 IN SRV 10 0 5071 sip.example.org."));
    let behind_a_router =
        offer("[[profile]]\nname = \"a\"\nlisten = [\"udp:10.0.0.1:5060\"]\naddress = \"203.0.113.9\"", &[]);
    let addresses: Vec<_> = behind_a_router.hosts[0].addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["203.0.113.9"], "the address that peers outside are told");
    let inside = offer("", &[]);
    let text = fragment(&name("example.org"), &inside, "");
    assert!(text.contains("; Attention: 127.0.0.1 of sip.example.org reaches nobody outside this network."), "{text}");
    let no_port = Config::parse("t", "[[profile]]\nname = \"a\"\nlisten = [\"udp:192.0.2.1:0\"]").unwrap();
    let error = Offer::new(&no_port, &name("example.org"), &[], 60).unwrap_err();
    assert!(error.to_string().contains("nothing listens"), "{error}");
    let twice = [host("a.example", &["192.0.2.1"]), host("a.example", &["192.0.2.2"])];
    assert!(Offer::new(&Config::default(), &name("example.org"), &twice, 60).is_err());
}

#[test]
fn hosts_of_another_zone_get_no_address_lines_and_a_place_for_their_srv_record() {
    let hosts = [host("sip.provider.example", &["192.0.2.1"]), host("sip2.provider.example", &[])];
    let offer = offer("[[profile]]\nname = \"a\"\nlisten = [\"udp:192.0.2.1:5060\"]", &hosts);
    let text = fragment(&name("example.org"), &offer, "");
    assert!(!text.contains(" IN A "), "{text}");
    assert!(text.contains("; sip.provider.example belongs to another zone"));
    assert!(text.contains("_sip._udp.sip-host-2.example.org. 3600 IN SRV 10 0 5060 sip2.provider.example."));
    assert!(text.contains("the addresses of sip2.provider.example are not known here"));
}

#[test]
fn the_command_that_is_suggested_has_the_options_that_were_given() {
    let hosts = vec![host("sip1.example.org", &["192.0.2.1", "2001:db8::1"]), host("sip2.example.org", &[])];
    let args = DomainArgs { domain: "example.org".into(), hosts, config: Some("my node.toml".into()), ttl: 600 };
    let options = args.options();
    assert_eq!(
        options,
        " --host sip1.example.org=192.0.2.1,2001:db8::1 --host sip2.example.org --config 'my node.toml' --ttl 600"
    );
    let text = fragment(&name("example.org"), &two_hosts(), &options);
    assert!(text.contains(&format!("ringfort dns check example.org{options}\n")), "{text}");
    let args = DomainArgs { domain: "example.org".into(), hosts: Vec::new(), config: None, ttl: 3_600 };
    assert_eq!(args.options(), "");
}

#[test]
fn what_should_be_known_before_publishing_stands_beside_the_lines_to_publish() {
    let inside = offer("[[profile]]\nname = \"a\"\nlisten = [\"udp:192.168.7.5:5060\"]", &[]);
    let domain = name("example.org");
    let report = compare(&domain, &inside, &plan(&domain, &inside), &Seen::default());
    let warning = "192.168.7.5 of sip.example.org reaches nobody outside this network";
    assert!(report.to_string().contains(&format!("Attention: {warning}.")), "{report}");
    assert_eq!(report.json()["warnings"][0], warning);
}

/// A zone that is the plan, to put faults into.
#[derive(Clone)]
struct Zone {
    records: Vec<Record>,
    failing: BTreeSet<(Name, RecordType)>,
}

fn record(owner: &Name, data: RecordData) -> Record {
    Record { owner: owner.clone(), ttl: 3600, data }
}

impl Zone {
    fn new(plan: &Plan) -> Zone {
        let domain = name("example.org");
        let naptr = plan.naptr.iter().map(|naptr| record(&domain, RecordData::Naptr(naptr.clone())));
        let srv = plan.srv.iter().map(|(name, srv)| record(name, RecordData::Srv(srv.clone())));
        let address = plan.addresses.iter().map(|(name, ip)| {
            record(
                name,
                match ip {
                    std::net::IpAddr::V4(ip) => RecordData::A(*ip),
                    std::net::IpAddr::V6(ip) => RecordData::Aaaa(*ip),
                },
            )
        });
        Zone { records: naptr.chain(srv).chain(address).collect(), failing: BTreeSet::new() }
    }

    fn naptr(&mut self, at: usize) -> &mut Naptr {
        let data = self.records.iter_mut().filter_map(|record| match &mut record.data {
            RecordData::Naptr(naptr) => Some(naptr),
            _ => None,
        });
        data.into_iter().nth(at).unwrap()
    }

    fn srv(&mut self, at: usize) -> &mut Srv {
        let data = self.records.iter_mut().filter_map(|record| match &mut record.data {
            RecordData::Srv(srv) => Some(srv),
            _ => None,
        });
        data.into_iter().nth(at).unwrap()
    }

    fn add(&mut self, owner: &str, data: RecordData) {
        self.records.push(record(&name(owner), data));
    }

    fn drop_all(&mut self, owner: &str) {
        self.records.retain(|record| record.owner != name(owner));
    }

    /// Everything that could be asked.
    fn seen(&self) -> Seen {
        let mut seen = Seen::default();
        let mut names: BTreeSet<Name> = self.records.iter().map(|record| record.owner.clone()).collect();
        for text in ["example.org", "_sip._udp.example.org", "_sip._tcp.example.org", "_sips._tcp.example.org"] {
            names.insert(name(text));
        }
        for record in &self.records {
            match &record.data {
                RecordData::Naptr(naptr) => names.insert(naptr.replacement.clone()),
                RecordData::Srv(srv) => names.insert(srv.target.clone()),
                _ => false,
            };
        }
        for name in names {
            for kind in [RecordType::Naptr, RecordType::Srv, RecordType::A, RecordType::Aaaa] {
                let answer = self.answer(&name, kind);
                seen.0.insert((name.clone(), kind), answer);
            }
        }
        seen
    }

    fn answer(&self, owner: &Name, kind: RecordType) -> Answer {
        if self.failing.contains(&(owner.clone(), kind)) {
            return Answer::Failed(QueryFailure::Timeout);
        }
        let is = |data: &RecordData| match data {
            RecordData::Naptr(_) => kind == RecordType::Naptr,
            RecordData::Srv(_) => kind == RecordType::Srv,
            RecordData::A(_) => kind == RecordType::A,
            RecordData::Aaaa(_) => kind == RecordType::Aaaa,
            RecordData::Cname(_) => true,
        };
        let mut records: Vec<Record> =
            self.records.iter().filter(|record| record.owner == *owner && is(&record.data)).cloned().collect();
        if let Some(RecordData::Cname(target)) = records.first().map(|record| record.data.clone()) {
            records.extend(self.records.iter().filter(|record| record.owner == target && is(&record.data)).cloned());
        }
        if records.is_empty() {
            let no_such_name = !self.records.iter().any(|record| record.owner.as_str().ends_with(owner.as_str()));
            return Answer::Absent { no_such_name, negative_ttl: Some(60), authenticated: false };
        }
        Answer::Records { records, no_such_name: false, negative_ttl: None, authenticated: false }
    }

    fn check(&self) -> Report {
        let offer = two_hosts();
        compare(&name("example.org"), &offer, &plan(&name("example.org"), &offer), &self.seen())
    }
}

fn good() -> Zone {
    Zone::new(&plan(&name("example.org"), &two_hosts()))
}

/// The faults that are found, and a word that has to stand in one of them.
fn finds(zone: &Zone, faults: &[Fault], words: &str) {
    let report = zone.check();
    let found: Vec<Fault> = report.findings.iter().map(|finding| finding.fault).collect();
    assert_eq!(found, faults, "{report}");
    assert!(report.to_string().contains(words), "{words:?} in\n{report}");
    let advice = faults.iter().all(|fault| matches!(fault, Fault::TtlTooShort | Fault::TtlTooLong));
    let expected = if faults.contains(&Fault::Unanswered) { 2 } else { u8::from(!advice) };
    assert_eq!(report.exit_code(), expected);
}

fn with(change: impl FnOnce(&mut Zone)) -> Zone {
    let mut zone = good();
    change(&mut zone);
    zone
}

#[test]
fn what_is_printed_is_found_clean() {
    finds(
        &good(),
        &[],
        "example.org: as it should be; 4 NAPTR rules for SIP, 7 SRV records and 3 addresses were seen.",
    );
    assert_eq!(good().check().json()["ok"], true);
}

#[test]
fn rules_of_other_services_are_nobodys_business() {
    let enum_rule = Naptr {
        order: 1,
        preference: 1,
        flags: "u".into(),
        services: "E2U+sip".into(),
        regexp: "!^.*$!sip:x@example.org!".into(),
        replacement: Name::root(),
    };
    finds(&with(|zone| zone.add("example.org", RecordData::Naptr(enum_rule))), &[], "as it should be");
}

#[test]
fn missing_records_are_named_with_the_line_that_mends_it() {
    let zone = with(|zone| zone.records.retain(|record| !matches!(record.data, RecordData::Naptr(_))));
    let line = "publish: example.org. 3600 IN NAPTR 20 50 \"s\" \"SIPS+D2T\" \"\" _sips._tcp.example.org.";
    finds(&zone, &[Fault::Missing; 4], line);
    let zone = with(|zone| zone.records.retain(|record| record.owner != name("_sips._tcp.example.org")));
    let line = "publish: _sips._tcp.example.org. 3600 IN SRV 20 0 5061 sip2.example.org.";
    finds(&zone, &[Fault::Dangling, Fault::Missing, Fault::Missing], line);
    let zone = with(|zone| zone.records.retain(|record| !matches!(record.data, RecordData::Aaaa(_))));
    finds(&zone, &[Fault::Missing], "publish: sip1.example.org. 3600 IN AAAA 2001:db8::1");
}

#[test]
fn differing_rules_and_records_are_named_with_both_values() {
    let zone = with(|zone| zone.naptr(0).order = 30);
    finds(&zone, &[Fault::Differing], "SIP+D2U to _sip._udp.example.org has order 30 and preference 50, not 10 and 50");
    let zone = with(|zone| zone.srv(0).priority = 11);
    finds(&zone, &[Fault::Differing], "sip1.example.org has priority 11 and weight 0, not 10 and 0");
    let zone = with(|zone| zone.naptr(2).replacement = name("_sip._tcp.elsewhere.example"));
    finds(
        &zone,
        &[Fault::Differing, Fault::Dangling],
        "leads to _sip._tcp.elsewhere.example, not to _sip._tcp.example.org",
    );
}

#[test]
fn a_wrong_port_is_a_wrong_port() {
    let zone = with(|zone| zone.srv(0).port = 5070);
    finds(&zone, &[Fault::WrongPort], "sip1.example.org has port 5070, but Ringfort listens on 5060");
}

#[test]
fn extra_records_are_named_whether_they_lead_to_strangers_or_to_nothing() {
    let stranger = Srv { priority: 1, weight: 0, port: 5060, target: name("evil.example") };
    let zone = with(|zone| {
        zone.add("_sip._udp.example.org", RecordData::Srv(stranger));
        zone.add("evil.example", RecordData::A([203, 0, 113, 66].into()));
    });
    finds(&zone, &[Fault::Extra], "1 0 5060 evil.example leads to a host that is not ours");
    let sctp = Naptr { services: "SIP+D2S".into(), ..good().naptr(0).clone() };
    let zone = with(|zone| zone.add("example.org", RecordData::Naptr(sctp)));
    finds(&zone, &[Fault::NotOffered], "promises what no listener of Ringfort offers");
    let again = Naptr { preference: 77, ..good().naptr(0).clone() };
    // Records of one name come in any order.
    for at in [0, good().records.len()] {
        let again = record(&name("example.org"), RecordData::Naptr(again.clone()));
        let zone = with(|zone| zone.records.insert(at, again));
        finds(&zone, &[Fault::Extra], "10 77 \"s\" \"SIP+D2U\" \"\" _sip._udp.example.org does not belong here");
        let again = Srv { priority: 30, ..good().srv(0).clone() };
        let again = record(&name("_sip._udp.example.org"), RecordData::Srv(again));
        let zone = with(|zone| zone.records.insert(at, again));
        finds(&zone, &[Fault::Extra], "30 0 5060 sip1.example.org does not belong here");
    }
}

#[test]
fn a_transport_that_nobody_listens_to_may_only_be_denied() {
    let config = "[[profile]]\nname = \"a\"\nlisten = [\"udp:192.0.2.1:5060\"]";
    let offer = offer(config, &[]);
    let plan = plan(&name("example.org"), &offer);
    let check = |target: &str| {
        let mut zone = Zone::new(&plan);
        let srv = Srv { priority: 0, weight: 0, port: 5060, target: name(target) };
        zone.add("_sip._tcp.example.org", RecordData::Srv(srv));
        compare(&name("example.org"), &offer, &plan, &zone.seen())
    };
    assert_eq!(check(".").findings, []);
    let report = check("sip.example.org");
    assert_eq!(report.findings[0].fault, Fault::NotOffered);
    assert!(report.to_string().contains("promises TCP, which no listener of Ringfort offers"));
}

#[test]
fn rules_that_lead_nowhere_or_cannot_be_followed_are_named() {
    let zone = with(|zone| zone.drop_all("_sip._udp.sip2.example.org"));
    finds(
        &zone,
        &[Fault::Dangling, Fault::Missing],
        "leads to _sip._udp.sip2.example.org, where there is no SRV record",
    );
    let zone = with(|zone| zone.naptr(0).flags = "a".into());
    finds(&zone, &[Fault::Unusable], "is passed over by callers: its flags are not \"s\"");
    let zone = with(|zone| zone.naptr(0).regexp = "!x!y!".into());
    finds(&zone, &[Fault::Unusable], "regular expression");
}

#[test]
fn a_service_that_is_denied_though_it_is_there_is_named() {
    let zone = with(|zone| {
        zone.drop_all("_sips._tcp.example.org");
        let none = Srv { priority: 0, weight: 0, port: 0, target: Name::root() };
        zone.add("_sips._tcp.example.org", RecordData::Srv(none));
    });
    finds(
        &zone,
        &[Fault::Missing, Fault::Missing, Fault::Refused],
        "no such service (target \".\"), though Ringfort offers it",
    );
}

#[test]
fn an_alias_at_the_target_of_an_srv_record_is_named() {
    let zone = with(|zone| {
        zone.records.iter_mut().filter(|record| record.owner == name("sip2.example.org")).for_each(|record| {
            if matches!(record.data, RecordData::A(_)) {
                record.owner = name("real.example.org");
            }
        });
        zone.records.insert(0, record(&name("sip2.example.org"), RecordData::Cname(name("real.example.org"))));
    });
    finds(
        &zone,
        &[Fault::AliasAtTarget],
        "sip2.example.org, which is an alias (CNAME) of real.example.org: RFC 2782 forbids that",
    );
}

#[test]
fn hosts_without_an_address_or_with_a_wrong_one_are_named() {
    let zone = with(|zone| zone.drop_all("sip2.example.org"));
    finds(&zone, &[Fault::HostWithoutAddress, Fault::Missing], "sip2.example.org, which has no address (A or AAAA)");
    let zone = with(|zone| zone.add("sip2.example.org", RecordData::A([203, 0, 113, 9].into())));
    finds(&zone, &[Fault::WrongAddress], "203.0.113.9 is published, where Ringfort does not listen");
}

#[test]
fn ttls_that_are_too_short_or_too_long_are_advice() {
    let zone = with(|zone| zone.records[0].ttl = 5);
    finds(&zone, &[Fault::TtlTooShort], "for 5 s only");
    let zone = with(|zone| zone.records.last_mut().unwrap().ttl = 604_800);
    finds(&zone, &[Fault::TtlTooLong], "for 604800 s: a change takes more than a day");
}

#[test]
fn silence_is_told_apart_from_absence() {
    let zone = with(|zone| {
        zone.failing.insert((name("_sip._tcp.example.org"), RecordType::Srv));
    });
    finds(
        &zone,
        &[Fault::Unanswered],
        "unanswered: SRV _sip._tcp.example.org: no answer: no name server answered in time",
    );
    let empty = Zone { records: Vec::new(), failing: BTreeSet::new() };
    let report = empty.check();
    assert_eq!(report.findings[0].fault, Fault::NoSuchDomain);
    assert_eq!(report.exit_code(), 1);
}

#[test]
fn what_a_strangers_zone_says_cannot_move_the_cursor() {
    let zone = with(|zone| zone.naptr(0).flags = "\x1b[2J".into());
    let text = zone.check().to_string();
    assert!(!text.contains('\x1b') && text.contains("·[2J"), "{text}");
}
