//! What a domain publishes against what it should: each fault by its name, in words, with the line that mends it.

use std::collections::BTreeSet;
use std::fmt;

use ringfort_net::dns::DnsClient;
use ringfort_sip::flow::Transport;
use ringfort_sip::locate::{
    Answer, Name, Naptr, RecordType, SkippedRule, Srv, rule, service_prefix, transport_of_service,
};
use serde_json::Value;

use super::offer::Offer;
use super::seen::{Seen, both};
use super::zone::{self, Plan, address_line, is_within, naptr_line, show_naptr, show_srv, srv_line};
use super::{UNANSWERED, object};
use crate::cli::counted;

/// Below, every call costs a look-up; above, a mistake stays with others for longer than a day.
const TTL_RANGE: std::ops::RangeInclusive<u32> = 60..=86_400;
const TRANSPORTS: [Transport; 5] = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

/// What is wrong. The names are those of `--json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Unanswered,
    NoSuchDomain,
    Missing,
    Differing,
    WrongPort,
    WrongAddress,
    Extra,
    NotOffered,
    Unusable,
    Dangling,
    Refused,
    AliasAtTarget,
    HostWithoutAddress,
    TtlTooShort,
    TtlTooLong,
}

impl Fault {
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Unanswered => "unanswered",
            Fault::NoSuchDomain => "no-such-domain",
            Fault::Missing => "missing",
            Fault::Differing => "differing",
            Fault::WrongPort => "wrong-port",
            Fault::WrongAddress => "wrong-address",
            Fault::Extra => "extra",
            Fault::NotOffered => "not-offered",
            Fault::Unusable => "unusable",
            Fault::Dangling => "dangling",
            Fault::Refused => "refused",
            Fault::AliasAtTarget => "alias-at-target",
            Fault::HostWithoutAddress => "host-without-address",
            Fault::TtlTooShort => "ttl-too-short",
            Fault::TtlTooLong => "ttl-too-long",
        }
    }

    /// Calls arrive all the same.
    const fn is_advice(self) -> bool {
        matches!(self, Fault::TtlTooShort | Fault::TtlTooLong)
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub fault: Fault,
    pub name: Name,
    pub kind: RecordType,
    pub words: String,
    /// The line that belongs into the zone.
    pub publish: Option<String>,
}

/// All of them.
#[derive(Clone, Debug)]
pub struct Report {
    pub domain: Name,
    pub findings: Vec<Finding>,
    /// Of the offer: what should be known before its lines are published.
    pub warnings: Vec<String>,
    /// Records that were seen: NAPTR rules for SIP, SRV, addresses.
    pub seen: [usize; 3],
}

/// Asks the DNS and compares.
pub fn check(domain: &Name, offer: &Offer, client: &mut DnsClient) -> Report {
    let plan = zone::plan(domain, offer);
    let mut seen = Seen::default();
    let mut questions = vec![(domain.clone(), RecordType::Naptr)];
    let prefixes = TRANSPORTS.into_iter().filter_map(service_prefix);
    questions.extend(prefixes.filter_map(|prefix| Some((domain.prefixed(prefix).ok()?, RecordType::Srv))));
    questions.extend(plan.srv.iter().map(|(name, _)| (name.clone(), RecordType::Srv)));
    questions.extend(offer.hosts.iter().flat_map(|host| both(&host.name)));
    // Rules lead to SRV records, those to hosts, and an alias once further: then everything was seen.
    for _ in 0..4 {
        seen.ask(&questions, client);
        questions = seen.leads(domain);
    }
    compare(domain, offer, &plan, &seen)
}

/// Pure: what was planned against what was seen.
pub fn compare(domain: &Name, offer: &Offer, plan: &Plan, seen: &Seen) -> Report {
    let mut report =
        Report { domain: domain.clone(), findings: Vec::new(), warnings: offer.warnings.clone(), seen: [0; 3] };
    report.unanswered(seen);
    if let Some(Answer::Absent { no_such_name: true, .. }) = seen.0.get(&(domain.clone(), RecordType::Naptr)) {
        let words = "the domain does not exist in the DNS".to_owned();
        report.add(Fault::NoSuchDomain, domain, RecordType::Naptr, words, None);
    }
    report.naptr(offer, plan, seen);
    report.srv(offer, plan, seen);
    report.hosts(offer, seen);
    report.ttls(seen);
    report.findings.sort_by_key(|finding| finding.fault.is_advice());
    report
}

impl Report {
    fn add(&mut self, fault: Fault, name: &Name, kind: RecordType, words: String, publish: Option<String>) {
        self.findings.push(Finding { fault, name: name.clone(), kind, words, publish });
    }

    fn unanswered(&mut self, seen: &Seen) {
        for ((name, kind), answer) in &seen.0 {
            if let Answer::Failed(failure) = answer {
                self.add(Fault::Unanswered, name, *kind, format!("no answer: {failure}"), None);
            }
        }
    }

    fn naptr(&mut self, offer: &Offer, plan: &Plan, seen: &Seen) {
        let domain = self.domain.clone();
        let kind = RecordType::Naptr;
        if seen.failed(&domain, kind) {
            return;
        }
        // Rules of other services (ENUM and the like) are none of our business.
        let all = seen.naptr(&domain);
        let is_sip = |naptr: &Naptr| naptr.services.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("SIP"));
        let mut found: Vec<&Naptr> = all.iter().map(|(naptr, _)| *naptr).filter(|naptr| is_sip(naptr)).collect();
        self.seen[0] = found.len();
        let published = found.clone();
        for planned in &plan.naptr {
            let line = || Some(naptr_line(&domain, offer.ttl, planned));
            let same_service = |naptr: &&Naptr| naptr.services.eq_ignore_ascii_case(&planned.services);
            let place = |naptr: &&Naptr| (naptr.order, naptr.preference) == (planned.order, planned.preference);
            let end = |naptr: &&Naptr| naptr.replacement == planned.replacement;
            // The same rule with another end is a change, not one too few and one too many.
            let strange = |naptr: &&Naptr| !plan.naptr.iter().any(|plan| plan.replacement == naptr.replacement);
            // Records come in any order: the very one first, then the one that resembles it most.
            let find =
                |alike: &dyn Fn(&&Naptr) -> bool| found.iter().position(|naptr| same_service(naptr) && alike(naptr));
            let at = find(&|naptr| place(naptr) && end(naptr))
                .or_else(|| find(&end))
                .or_else(|| find(&|naptr| place(naptr) && strange(naptr)));
            let Some(at) = at else {
                let words = format!("no rule for {} leads to {}", planned.services, planned.replacement);
                self.add(Fault::Missing, &domain, kind, words, line());
                continue;
            };
            let naptr = found.remove(at);
            if naptr.replacement != planned.replacement {
                let words =
                    format!("{} leads to {}, not to {}", naptr.services, naptr.replacement, planned.replacement);
                self.add(Fault::Differing, &domain, kind, words, line());
            } else if (naptr.order, naptr.preference) != (planned.order, planned.preference) {
                let words = format!(
                    "{} to {} has order {} and preference {}, not {} and {}",
                    naptr.services, naptr.replacement, naptr.order, naptr.preference, planned.order, planned.preference
                );
                self.add(Fault::Differing, &domain, kind, words, line());
            }
        }
        for naptr in found {
            let shown = show_naptr(naptr);
            match transport_of_service(&naptr.services) {
                Some(transport) if offer.port(transport).is_some() => {
                    self.add(Fault::Extra, &domain, kind, format!("{shown} does not belong here"), None);
                }
                Some(_) | None => {
                    let words = format!("{shown} promises what no listener of Ringfort offers");
                    self.add(Fault::NotOffered, &domain, kind, words, None);
                }
            }
        }
        for naptr in published {
            self.usable(&domain, naptr, seen);
        }
    }

    /// Whether a rule leads to SRV records.
    fn usable(&mut self, domain: &Name, naptr: &Naptr, seen: &Seen) {
        let shown = show_naptr(naptr);
        match rule(naptr, false, &TRANSPORTS) {
            Ok(_) if seen.failed(&naptr.replacement, RecordType::Srv) => {}
            Ok(_) if seen.srv(&naptr.replacement).is_empty() => {
                let words = format!("{shown} leads to {}, where there is no SRV record", naptr.replacement);
                self.add(Fault::Dangling, domain, RecordType::Naptr, words, None);
            }
            Ok(_) | Err(SkippedRule::OtherService | SkippedRule::OtherTransport) => {}
            Err(why) => {
                self.add(
                    Fault::Unusable,
                    domain,
                    RecordType::Naptr,
                    format!("{shown} is passed over by callers: {why}"),
                    None,
                );
            }
        }
    }

    fn srv(&mut self, offer: &Offer, plan: &Plan, seen: &Seen) {
        let names: BTreeSet<&Name> = plan.srv.iter().map(|(name, _)| name).collect();
        for name in &names {
            self.srv_at(name, offer, plan, seen);
        }
        let domain = self.domain.clone();
        let others = TRANSPORTS.into_iter().filter(|transport| offer.port(*transport).is_none());
        for (transport, name) in
            others.filter_map(|transport| Some((transport, domain.prefixed(service_prefix(transport)?).ok()?)))
        {
            // To say that there is none (".") is right.
            for (srv, _) in seen.srv(&name).into_iter().filter(|(srv, _)| !srv.target.is_root()) {
                let words = format!("{} promises {transport}, which no listener of Ringfort offers", show_srv(srv));
                self.add(Fault::NotOffered, &name, RecordType::Srv, words, None);
            }
        }
        self.targets(seen);
    }

    fn srv_at(&mut self, name: &Name, offer: &Offer, plan: &Plan, seen: &Seen) {
        let kind = RecordType::Srv;
        if seen.failed(name, kind) {
            return;
        }
        let found = seen.srv(name);
        self.seen[1] += found.len();
        let planned: Vec<&Srv> = plan.srv.iter().filter(|(at, _)| at == name).map(|(_, srv)| srv).collect();
        for srv in &planned {
            let line = || Some(srv_line(name, offer.ttl, srv));
            let host = &srv.target;
            let same: Vec<&Srv> = found.iter().map(|(srv, _)| *srv).filter(|other| other.target == *host).collect();
            let exact = same.iter().find(|other| **other == *srv);
            let Some(nearest) = exact.or(same.iter().find(|other| other.port == srv.port)).or(same.first()) else {
                self.add(Fault::Missing, name, kind, format!("{host} is not named"), line());
                continue;
            };
            if nearest.port != srv.port {
                let words = format!("{host} has port {}, but Ringfort listens on {}", nearest.port, srv.port);
                self.add(Fault::WrongPort, name, kind, words, line());
            } else if (nearest.priority, nearest.weight) != (srv.priority, srv.weight) {
                let words = format!(
                    "{host} has priority {} and weight {}, not {} and {}",
                    nearest.priority, nearest.weight, srv.priority, srv.weight
                );
                self.add(Fault::Differing, name, kind, words, line());
            }
            for other in same.iter().filter(|other| *other != nearest) {
                self.add(Fault::Extra, name, kind, format!("{} does not belong here", show_srv(other)), None);
            }
        }
        for (srv, _) in &found {
            if srv.target.is_root() {
                let words = "says that there is no such service (target \".\"), though Ringfort offers it".to_owned();
                self.add(Fault::Refused, name, kind, words, None);
            } else if !planned.iter().any(|plan| plan.target == srv.target) {
                let words = format!("{} leads to a host that is not ours", show_srv(srv));
                self.add(Fault::Extra, name, kind, words, None);
            }
        }
    }

    /// Every host that SRV records name has an address, and is no alias (RFC 2782).
    fn targets(&mut self, seen: &Seen) {
        let srv_names = seen.0.keys().filter(|(_, kind)| *kind == RecordType::Srv).map(|(name, _)| name);
        let targets: BTreeSet<Name> = srv_names
            .flat_map(|name| seen.srv(name))
            .map(|(srv, _)| srv.target.clone())
            .filter(|target| !target.is_root())
            .collect();
        for target in targets {
            if let Some(end) = seen.alias(&target, RecordType::A).or_else(|| seen.alias(&target, RecordType::Aaaa)) {
                let words =
                    format!("an SRV record names {target}, which is an alias (CNAME) of {end}: RFC 2782 forbids that");
                self.add(Fault::AliasAtTarget, &target, RecordType::A, words, None);
            }
            let failed = both(&target).iter().any(|(name, kind)| seen.failed(name, *kind));
            if !failed && seen.addresses(&target).is_empty() {
                let words = format!("an SRV record names {target}, which has no address (A or AAAA)");
                self.add(Fault::HostWithoutAddress, &target, RecordType::A, words, None);
            }
        }
    }

    fn hosts(&mut self, offer: &Offer, seen: &Seen) {
        for host in &offer.hosts {
            let found = seen.addresses(&host.name);
            self.seen[2] += found.len();
            for address in &host.addresses {
                let kind = if address.is_ipv4() { RecordType::A } else { RecordType::Aaaa };
                if seen.failed(&host.name, kind) || found.contains_key(address) {
                    continue;
                }
                let within = is_within(&host.name, &self.domain);
                let publish = within.then(|| address_line(&host.name, offer.ttl, *address));
                self.add(Fault::Missing, &host.name, kind, format!("its address {address} is not published"), publish);
            }
            if host.addresses.is_empty() {
                continue;
            }
            for address in found.keys().filter(|address| !host.addresses.contains(address)) {
                let kind = if address.is_ipv4() { RecordType::A } else { RecordType::Aaaa };
                let words = format!("{address} is published, where Ringfort does not listen");
                self.add(Fault::WrongAddress, &host.name, kind, words, None);
            }
        }
    }

    fn ttls(&mut self, seen: &Seen) {
        for (name, kind) in seen.0.keys() {
            let Some(ttl) = seen.data(name, *kind).iter().map(|(_, ttl)| *ttl).min() else { continue };
            if ttl < *TTL_RANGE.start() {
                let words = format!(
                    "others may remember it for {ttl} s only, so that nearly every call looks it up anew (a resolver counts down: --server asks the zone's own name server)"
                );
                self.add(Fault::TtlTooShort, name, *kind, words, None);
            } else if ttl > *TTL_RANGE.end() {
                let words = format!("others may remember it for {ttl} s: a change takes more than a day to be seen");
                self.add(Fault::TtlTooLong, name, *kind, words, None);
            }
        }
    }

    /// 0: as it should be, perhaps with advice; 1: with faults; 2: the DNS did not answer.
    pub fn exit_code(&self) -> u8 {
        if self.findings.iter().any(|finding| finding.fault == Fault::Unanswered) {
            return UNANSWERED;
        }
        u8::from(self.findings.iter().any(|finding| !finding.fault.is_advice()))
    }

    pub fn json(&self) -> Value {
        let item = |finding: &Finding| {
            object([
                ("fault", finding.fault.name().into()),
                ("severity", if finding.fault.is_advice() { "advice" } else { "fault" }.into()),
                ("name", finding.name.to_string().into()),
                ("type", finding.kind.as_str().into()),
                ("text", finding.words.clone().into()),
                ("publish", finding.publish.clone().into()),
            ])
        };
        object([
            ("domain", self.domain.to_string().into()),
            ("ok", (self.exit_code() == 0).into()),
            ("naptr", self.seen[0].into()),
            ("srv", self.seen[1].into()),
            ("addresses", self.seen[2].into()),
            ("warnings", self.warnings.clone().into()),
            ("items", self.findings.iter().map(item).collect()),
        ])
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [naptr, srv, addresses] = self.seen;
        let addresses = if addresses == 1 { "1 address".to_owned() } else { format!("{addresses} addresses") };
        let (naptr, srv) = (counted(naptr, "NAPTR rule"), counted(srv, "SRV record"));
        let counts = format!("{naptr} for SIP, {srv} and {addresses} were seen");
        let faults = self.findings.iter().filter(|finding| !finding.fault.is_advice()).count();
        match faults {
            0 => writeln!(f, "{}: as it should be; {counts}.", self.domain)?,
            1 => writeln!(f, "{}: 1 fault; {counts}.", self.domain)?,
            _ => writeln!(f, "{}: {faults} faults; {counts}.", self.domain)?,
        }
        for warning in &self.warnings {
            writeln!(f, "  Attention: {warning}.")?;
        }
        for finding in &self.findings {
            writeln!(f, "  {}: {} {}: {}", finding.fault.name(), finding.kind, finding.name, finding.words)?;
            if let Some(line) = &finding.publish {
                writeln!(f, "      publish: {line}")?;
            }
        }
        Ok(())
    }
}
