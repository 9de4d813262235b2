//! The static check (GUARD-13) against the system itself: in random configurations every call is made that somebody without
//! credentials can make, and what rings, and what leaves, is what the check said. And holes that it has to find.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::*;
use rand::rngs::ChaCha12Rng;
use rand::{RngExt as _, SeedableRng};
use ringfort_sip::digest::Algorithm;
use ringfort_sip::endpoint::ListenerInfo;
use ringfort_sip::flow::{ListenerId, Transport};
use ringfort_sip::uri::HostPort;
use ringfort_switch::config::*;
use ringfort_switch::model::*;
use ringfort_switch::reach::{self, Level, Node, Path, SiteWays, Ways, paths, rung};
use ringfort_switch::route::{InboundDecision, Router};

const CONFIGURATIONS: u64 = 240;
/// Configurations with planted holes.
const HOLED: u64 = 150;
/// A Monday and a Saturday at 4, 12 and 20 o'clock, in milliseconds since 1970: between them all hours begin and end.
const TIMES: [u64; 6] = {
    const MONDAY: u64 = 1_795_392_000_000;
    const HOUR: u64 = 3_600_000;
    let saturday = MONDAY + 5 * 24 * HOUR;
    [
        MONDAY + 4 * HOUR,
        MONDAY + 12 * HOUR,
        MONDAY + 20 * HOUR,
        saturday + 4 * HOUR,
        saturday + 12 * HOUR,
        saturday + 20 * HOUR,
    ]
};
/// Office hours, nights, weekends.
const HOURS: [Hours; 3] = [
    Hours { days: 0b001_1111, from: 8 * 60, until: 18 * 60 },
    Hours { days: 0b111_1111, from: 18 * 60, until: 8 * 60 },
    Hours { days: 0b110_0000, from: 0, until: 0 },
];
const DOMAINS: [&str; 2] = [DOMAIN, "second.example"];
/// The second external profile.
const MORE: &str = "192.0.2.1:5090";
const STRANGER: &str = "198.51.100.250:5060";
const PATTERNS: [&str; 12] = [
    "any",
    "exact:+4420",
    "exact:+4421",
    "exact:12",
    "exact:2",
    "prefix:+442",
    "prefix:+44",
    "prefix:1",
    "prefix:12",
    "1X",
    "ZX",
    "+44[12]!",
];
const NAMES: [&str; 5] = ["director", "alex", "sales", "101", "12"];

/// The usual one, with another external profile.
fn node() -> SwitchConfig {
    let mut config = config();
    config.profiles.push(Profile {
        id: ProfileId(2),
        name: "more".into(),
        kind: ProfileKind::External,
        digest: vec![],
        allow: None,
    });
    config.listeners.push(Listener {
        profile: ProfileId(2),
        sip: ListenerInfo {
            id: ListenerId(3),
            transport: Transport::Udp,
            local: at(MORE),
            advertised: HostPort::new("192.0.2.1", Some(5090)),
            inside: None,
        },
    });
    (config.max_transactions, config.max_dialogs, config.calls.max_calls) = (1_000_000, 1_000_000, 1_000_000);
    config.media.ports = (10_000, 59_999);
    config
}

fn one_of<'a, T>(rng: &mut ChaCha12Rng, all: &'a [T]) -> &'a T {
    &all[rng.random_range(0..all.len())]
}

fn random_site(rng: &mut ChaCha12Rng) -> Site {
    let mut site = Site { revision: 1, ..Site::default() };
    for (tenant, domain) in (1..).zip(DOMAINS).take(rng.random_range(1..=2)) {
        let numbers = if rng.random_bool(0.5) {
            NumberPlan { country: "44".into(), national_prefix: "0".into(), ..NumberPlan::default() }
        } else {
            NumberPlan::default()
        };
        let tenant = TenantId(tenant);
        site.tenants.push(Tenant { id: tenant, name: domain.into(), domains: vec![domain.into()], numbers });
        let destination = |rng: &mut ChaCha12Rng| match rng.random_range(0..6) {
            0 => Destination::Reject(603),
            1 => Destination::Extension("999".into()),
            _ => Destination::Extension(format!("10{}", rng.random_range(1..=3))),
        };
        for number in 1..=3 {
            let id = ExtensionId(tenant.0 * 10 + number);
            let user = format!("user-{id}");
            let calling = Calling { international: true, domains: true, ..Calling::default() };
            site.extensions.insert(
                id,
                Extension {
                    id,
                    tenant,
                    number: format!("10{number}"),
                    name: String::new(),
                    credentials: SipCredentials { password: Secret::new(format!("pw of {user}")), user },
                    srtp: SrtpPolicy::Offer,
                    max_calls: u32::MAX,
                    max_contacts: 3,
                    enabled: rng.random_bool(0.8),
                    calling,
                },
            );
        }
        for name in NAMES {
            if rng.random_bool(0.5) {
                let to = destination(rng);
                site.aliases.push(Alias { tenant, name: name.into(), to, published: rng.random_bool(0.5) });
            }
        }
        for number in 0..rng.random_range(0..=2) {
            let id = TrunkId(tenant.0 * 10 + number);
            let profile = *one_of(rng, &[None, None, Some("world"), Some("more")]);
            site.trunks.insert(
                id,
                Trunk {
                    enabled: rng.random_bool(0.8),
                    profile: profile.map(str::to_owned),
                    health_every: Duration::ZERO,
                    max_calls: u32::MAX,
                    ..Trunk::new(id, tenant, format!("line{id}"), format!("sip:203.0.113.{id}"))
                },
            );
        }
        let trunks: Vec<TrunkId> = site.trunks.values().filter(|t| t.tenant == tenant).map(|t| t.id).collect();
        for number in 0..rng.random_range(0..=4) {
            let trunk = if trunks.is_empty() || rng.random_bool(0.6) { None } else { Some(*one_of(rng, &trunks)) };
            let (called, to) = (one_of(rng, &PATTERNS).parse().unwrap(), destination(rng));
            let hours = HOURS.into_iter().filter(|_| rng.random_bool(0.08)).collect();
            let name = format!("in{number}");
            site.inbound.push(InboundRoute { tenant, name, trunk, called, identity: vec![], hours, to });
        }
        // Whatever gets as far leaves the house.
        site.outbound.push(OutboundRoute {
            tenant,
            name: "out".into(),
            patterns: vec![Pattern::Any],
            groups: vec![],
            hours: vec![],
            strip: 0,
            prepend: String::new(),
            enum_domain: None,
            trunks,
            order: TrunkOrder::Listed,
            attempts: None,
            ring_for: None,
        });
    }
    site
}

/// Numbers and names that somebody might try.
fn callees() -> BTreeSet<String> {
    let mut all: BTreeSet<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    all.extend(
        [
            "101", "102", "103", "999", "nobody", "+44", "+442", "+4420", "+4421", "+44201", "+4411", "+4419", "+4425",
            "112", "5",
        ]
        .map(str::to_owned),
    );
    all.extend(
        ["00442071838750", "*3112", "+442071838750", "1", "2", "10", "11", "12", "19", "20", "25", "121", "123"]
            .map(str::to_owned),
    );
    all
}

/// A system with a phone for each extension, and how often it was called.
struct Trial {
    world: World,
    phones: BTreeMap<std::net::SocketAddr, ExtensionId>,
    calls: u32,
}

/// What a call came to.
#[derive(Default)]
struct Came {
    rang: BTreeSet<ExtensionId>,
    left: Vec<String>,
}

impl Trial {
    /// At that many milliseconds since 1970.
    fn at(time: u64, site: &Site) -> Trial {
        let mut world = World::at(time, node(), site.clone());
        world.pass(Duration::ZERO);
        let mut phones = BTreeMap::new();
        for extension in site.extensions.values().filter(|e| e.enabled) {
            let address = format!("198.51.100.{}:5060", extension.id);
            phones.insert(at(&address), extension.id);
            let domain = DOMAINS[extension.tenant.0 as usize - 1];
            register(&mut world, domain, &extension.credentials.user, &address);
        }
        Trial { world, phones, calls: 0 }
    }

    /// The phone of an extension passes on a call by that route of its tenant, as a gateway does that forwards: it dials
    /// with its own credentials. The trunks that see the INVITE: each refuses, so that the next one is asked.
    fn passes_on(&mut self, site: &Site, extension: ExtensionId, route: &str) -> BTreeSet<TrunkId> {
        let phone = self.phones.iter().find(|(_, id)| **id == extension).expect("it is registered").0.to_string();
        let extension = &site.extensions[&extension];
        let number = number_of(route);
        dial(&mut self.world, DOMAINS[extension.tenant.0 as usize - 1], &extension.credentials.user, &phone, number);
        let mut seen = BTreeSet::new();
        let leaves = |trial: &Trial| {
            let is_out =
                |sent: &Sent| first_line(&sent.message).starts_with("INVITE") && !trial.phones.contains_key(&sent.to);
            trial.world.sent.iter().position(is_out)
        };
        while let Some(place) = leaves(self) {
            let sent = self.world.sent.remove(place).expect("it was just seen");
            assert!(first_line(&sent.message).contains(&format!(":{number}@")), "{}", first_line(&sent.message));
            let trunk = site.trunks.keys().find(|id| at(&provider(**id)) == sent.to);
            seen.insert(*trunk.expect("it goes to a trunk"));
            let refusal = reply(&sent.message, 503, "t", "", "");
            self.world.send_to(1, OUTSIDE, &sent.to.to_string(), &refusal);
        }
        seen
    }

    fn call(&mut self, listener: (u16, &str), from: &str, uri: &str) -> Came {
        self.calls += 1;
        let n = self.calls;
        let sdp = sdp(from.split(':').next().unwrap(), 4000, "0 8");
        let text = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKc{n};rport\r\nFrom: <sip:101@{DOMAIN}>;tag=c{n}\r\n\
             To: <{uri}>\r\nCall-ID: c{n}\r\nCSeq: 1 INVITE\r\nContact: <sip:x@{from}>\r\nMax-Forwards: 70\r\n\
             Content-Type: application/sdp\r\n\r\n{sdp}"
        );
        self.world.send_to(listener.0, listener.1, from, &text);
        let mut came = Came::default();
        for sent in std::mem::take(&mut self.world.sent) {
            if !first_line(&sent.message).starts_with("INVITE") {
                continue;
            }
            match self.phones.get(&sent.to) {
                Some(extension) => drop(came.rang.insert(*extension)),
                None => came.left.push(format!("{} to {}", first_line(&sent.message), sent.to)),
            }
        }
        came
    }
}

fn provider(trunk: TrunkId) -> String {
    format!("203.0.113.{trunk}:5060")
}

/// A number that leaves by that route in a site with holes.
fn number_of(route: &str) -> &'static str {
    if route == "one" { "1555" } else { "2555" }
}

fn dial(world: &mut World, domain: &str, user: &str, from: &str, number: &str) {
    let uri = format!("sip:{number}@{domain}");
    let request = |cseq: u32, auth: &str| {
        format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKo{user}x{cseq};rport\r\n\
             From: <sip:{user}@{domain}>;tag=o\r\nTo: <{uri}>\r\nCall-ID: out@{user}\r\nCSeq: {cseq} INVITE\r\n\
             Contact: <sip:{user}@{from}>\r\nMax-Forwards: 70\r\n{auth}Content-Type: application/sdp\r\n\r\n{}",
            sdp("198.51.100.1", 4000, "0 8")
        )
    };
    world.send(from, &request(1, ""));
    let challenge = world.take(from);
    let auth = world.answer_to(&challenge, user, "INVITE", &uri);
    world.send(from, &request(2, &auth));
}

fn register(world: &mut World, domain: &str, user: &str, from: &str) {
    let uri = format!("sip:{domain}");
    let request = |cseq: u32, auth: &str| {
        format!(
            "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKr{user}x{cseq};rport\r\n\
             From: <sip:{user}@{domain}>;tag=r\r\nTo: <sip:{user}@{domain}>\r\nCall-ID: reg@{user}\r\n\
             CSeq: {cseq} REGISTER\r\nContact: <sip:{user}@{from}>\r\nMax-Forwards: 70\r\n{auth}\r\n"
        )
    };
    world.send(from, &request(1, ""));
    let challenge = world.take(from);
    let auth = world.answer_to(&challenge, user, "REGISTER", &uri);
    world.send(from, &request(2, &auth));
    assert_eq!(world.take(from).status(), 200);
}

/// Every call from every source; by the source as the check names it.
fn try_everything(site: &Site) -> (BTreeMap<Node, BTreeSet<ExtensionId>>, Vec<String>, u32) {
    let mut rang: BTreeMap<Node, BTreeSet<ExtensionId>> = BTreeMap::new();
    let (mut left, mut calls) = (Vec::new(), 0);
    let has_hours = site.inbound.iter().any(|route| !route.hours.is_empty());
    for time in TIMES.into_iter().take(if has_hours { TIMES.len() } else { 1 }) {
        let mut trial = Trial::at(time, site);
        try_at_that_time(&mut trial, site, &mut rang, &mut left);
        calls += trial.calls;
    }
    (rang, left, calls)
}

/// The listener of each profile, by its id.
const LISTENERS: [(u16, &str); 3] = [(0, INSIDE), (1, OUTSIDE), (3, MORE)];

fn try_at_that_time(
    trial: &mut Trial,
    site: &Site,
    rang: &mut BTreeMap<Node, BTreeSet<ExtensionId>>,
    left: &mut Vec<String>,
) {
    let profiles = node().profiles;
    let lines = site.trunks.values().map(|trunk| (provider(trunk.id), Some(trunk)));
    let sources: Vec<(String, Option<&Trunk>)> = lines.chain([(STRANGER.to_owned(), None)]).collect();
    for (profile, (listener, local)) in profiles.iter().zip(LISTENERS) {
        for (from, trunk) in &sources {
            // Whoever is no trunk here is a stranger like all.
            let line = trunk.filter(|t| {
                t.enabled
                    && profile.kind == ProfileKind::External
                    && t.profile.as_ref().is_none_or(|name| *name == profile.name)
            });
            let source = match line {
                Some(trunk) => Node::Line { profile: profile.id, trunk: trunk.id },
                None => Node::Stranger { profile: profile.id },
            };
            let into = rang.entry(source).or_default();
            for callee in callees() {
                for domain in DOMAINS.iter().take(site.tenants.len()) {
                    let came = trial.call((listener, local), from, &format!("sip:{callee}@{domain}"));
                    into.extend(came.rang);
                    left.extend(came.left);
                }
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a test needs some instant")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[test]
fn the_check_and_the_system_agree_on_every_call_of_random_configurations_guard_13() {
    let config = node();
    let (mut calls, mut rings, mut sources, mut kept_out) = (0, 0, 0, 0);
    for seed in 0..CONFIGURATIONS {
        let site = random_site(&mut ChaCha12Rng::seed_from_u64(seed));
        let ways = SiteWays::new(now(), &config.profiles, &site);
        let (rang, left, made) = try_everything(&site);
        calls += made;
        let found: Vec<String> = paths(&ways).iter().map(Path::to_string).collect();
        assert_eq!(
            found.is_empty(),
            left.is_empty(),
            "seed {seed}: the check says {found:?}, the system sent {left:?}"
        );
        assert_eq!(found, [""; 0], "seed {seed}: no call of a stranger leaves the house");
        assert_eq!(reach::check(now(), &config, &site).paths, [], "seed {seed}");
        let said: BTreeMap<Node, BTreeSet<ExtensionId>> =
            ways.sources().into_iter().map(|source| (source.clone(), rung(&ways, &source))).collect();
        for (source, extensions) in &said {
            let rung = rang.get(source).cloned().unwrap_or_default();
            assert_eq!(*extensions, rung, "seed {seed}: {}\n{:#?}", ways.name(source), site.inbound);
            (rings, sources) = (rings + rung.len(), sources + 1);
            kept_out += site.extensions.len() - rung.len();
        }
        assert!(
            rang.keys().all(|source| said.contains_key(source)),
            "seed {seed}: a source that the check does not know"
        );
    }
    println!(
        "{CONFIGURATIONS} configurations, {calls} calls, {sources} sources: {rings} extensions rang, {kept_out} did not"
    );
    assert!(rings > 500 && kept_out > 500, "both happen often: {rings} and {kept_out}");
}

/// What this test would see if something left: an extension's own call does.
#[test]
fn a_call_that_leaves_is_seen_by_the_trial() {
    let mut site = site();
    site.trunks.insert(
        TrunkId(7),
        Trunk { health_every: Duration::ZERO, ..Trunk::new(TrunkId(7), TenantId(1), "line7", "sip:203.0.113.7") },
    );
    site.outbound.push(route("out", vec![Pattern::Any], vec![TrunkId(7)]));
    let mut trial = Trial::at(TIMES[1], &site);
    trial.world.invite("user-a", "198.51.100.1:5060", "5550", &sdp("198.51.100.1", 4000, "0"), "");
    let left = trial.world.sent.iter().any(|sent| sent.to == at("203.0.113.7:5060"));
    assert!(left, "{:?}", trial.world.summary());
    trial.world.sent.clear();
    assert!(trial.call((1, OUTSIDE), STRANGER, &format!("sip:5550@{DOMAIN}")).left.is_empty());
}

/// The site's ways and some more.
struct Holed<'a, F> {
    ways: SiteWays<'a>,
    hole: F,
}

impl<F: Fn(&Node) -> Vec<Node>> Ways for Holed<'_, F> {
    fn sources(&self) -> Vec<Node> {
        self.ways.sources()
    }

    fn next(&self, from: &Node) -> Vec<Node> {
        let mut next = self.ways.next(from);
        next.extend((self.hole)(from));
        next
    }

    fn name(&self, node: &Node) -> String {
        self.ways.name(node)
    }
}

/// A random site with two routes for each tenant, to some of its trunks, and extensions whose phones pass calls on by one of
/// them: what a forward that leads out would do.
fn holed_site(rng: &mut ChaCha12Rng) -> (Site, BTreeMap<ExtensionId, String>) {
    let mut site = random_site(rng);
    site.outbound.clear();
    for tenant in site.tenants.iter().map(|tenant| tenant.id) {
        for (name, digit) in [("one", "1"), ("two", "2")] {
            let trunks = site.trunks.values().filter(|trunk| trunk.tenant == tenant && rng.random_bool(0.6));
            let trunks: Vec<TrunkId> = trunks.map(|trunk| trunk.id).collect();
            if !trunks.is_empty() {
                let out = route(name, vec![Pattern::Prefix(digit.into())], trunks);
                site.outbound.push(OutboundRoute { tenant, ..out });
            }
        }
    }
    let mut holes = BTreeMap::new();
    for extension in site.extensions.values().filter(|extension| extension.enabled) {
        let routes: Vec<&str> =
            site.outbound.iter().filter(|r| r.tenant == extension.tenant).map(|r| r.name.as_str()).collect();
        if !routes.is_empty() && rng.random_bool(0.4) {
            holes.insert(extension.id, (*one_of(rng, &routes)).to_owned());
        }
    }
    (site, holes)
}

/// Makes the call that a path tells of, step by step; it gets to the trunk.
fn walk(site: &Site, path: &Path) {
    let [source, Node::Context { tenant, .. }, way_in, Node::Extension(extension), out, Node::Trunk(trunk)] =
        &path.nodes[..]
    else {
        panic!("{path}")
    };
    let Node::Outbound { route, .. } = out else { panic!("{path}") };
    let (profile, line) = match source {
        Node::Stranger { profile } => (profile, None),
        Node::Line { profile, trunk } => (profile, Some(*trunk)),
        _ => panic!("{path}"),
    };
    let router = Router::new(site);
    let dialled = match (way_in, line) {
        (Node::Alias { name, .. }, None) => Some((TIMES[0], name.clone())),
        (Node::Inbound { route, .. }, Some(line)) => TIMES.into_iter().find_map(|time| {
            let takes = |callee: &String| {
                let decided = router.inbound(*tenant, line, callee, Some(Verified::None), time / 1000);
                matches!(decided, InboundDecision::To { route: taken, .. } if taken == route)
            };
            Some((time, callees().into_iter().find(takes)?))
        }),
        _ => panic!("{path}"),
    };
    let (time, callee) = dialled.unwrap_or_else(|| panic!("no number that takes {path}"));
    let from = line.map_or_else(|| STRANGER.to_owned(), provider);
    let mut trial = Trial::at(time, site);
    let uri = format!("sip:{callee}@{}", DOMAINS[tenant.0 as usize - 1]);
    let came = trial.call(LISTENERS[usize::from(profile.0)], &from, &uri);
    assert_eq!((came.rang, came.left), (BTreeSet::from([*extension]), Vec::new()), "{path}");
    assert!(trial.passes_on(site, *extension, route).contains(trunk), "{path}");
}

#[test]
fn a_way_out_that_the_check_finds_is_one_that_the_system_has_and_it_finds_all_of_them_guard_13() {
    let config = node();
    let (mut open, mut closed, mut walked) = (0, 0, 0);
    for seed in 0..HOLED {
        let (site, holes) = holed_site(&mut ChaCha12Rng::seed_from_u64(10_000 + seed));
        let hole = |node: &Node| match node {
            Node::Extension(id) => {
                let (tenant, route) = (site.extensions[id].tenant, holes.get(id).cloned());
                route.map(|route| Node::Outbound { tenant, route }).into_iter().collect()
            }
            _ => Vec::new(),
        };
        let found = paths(&Holed { ways: SiteWays::new(now(), &config.profiles, &site), hole });
        let said: BTreeSet<TrunkId> = found.iter().map(|path| path.trunk).collect();

        let (rang, left, _) = try_everything(&site);
        assert_eq!(left, [""; 0], "seed {seed}: nothing leaves by itself");
        let rung: BTreeSet<ExtensionId> = rang.into_values().flatten().collect();
        let passed_on = holes.iter().filter(|(extension, _)| rung.contains(extension));
        let reached: BTreeSet<TrunkId> =
            passed_on.flat_map(|(id, route)| Trial::at(TIMES[1], &site).passes_on(&site, *id, route)).collect();
        let words: Vec<String> = found.iter().map(Path::to_string).collect();
        assert_eq!(said, reached, "seed {seed}: {words:#?}");
        for path in &found {
            walk(&site, path);
        }
        walked += found.len();
        *(if found.is_empty() { &mut closed } else { &mut open }) += 1;
    }
    println!("{HOLED} configurations with holes: {open} open, {closed} closed, {walked} calls walked to their trunks");
    assert!(open > 30 && closed > 20, "{open} open, {closed} closed");
}

/// A house with a published alias, a name that is not published, and a line.
fn house() -> Site {
    let mut site = site();
    site.tenants[0].numbers.country = "44".into();
    site.aliases = vec![alias("director", "102", true), alias("secret", "103", false)];
    site.trunks.insert(TrunkId(1), Trunk::new(TrunkId(1), TenantId(1), "acme", "sip:203.0.113.1"));
    site.outbound.push(route("world", vec![Pattern::Any], vec![TrunkId(1)]));
    site
}

fn holed(site: &Site, hole: impl Fn(&Node) -> Vec<Node>) -> Vec<String> {
    let config = config();
    let ways = SiteWays::new(now(), &config.profiles, site);
    paths(&Holed { ways, hole }).iter().map(Path::to_string).collect()
}

#[test]
fn a_forward_that_leads_out_is_found_with_the_call_that_anybody_can_read() {
    let out = || Node::Outbound { tenant: TenantId(1), route: "world".into() };
    // As if extension 102 forwarded its calls to a number outside.
    let found = holed(&house(), |node| if *node == Node::Extension(ExtensionId(2)) { vec![out()] } else { vec![] });
    let expected = "anybody → profile world (external) → context public → alias director → extension 102 → route world → trunk acme";
    assert_eq!(found, [expected]);
    // 103 is reached by nobody from outside.
    let found = holed(&house(), |node| if *node == Node::Extension(ExtensionId(3)) { vec![out()] } else { vec![] });
    assert_eq!(found, [""; 0]);
}

#[test]
fn the_shortest_call_is_the_one_that_is_told_and_each_trunk_is_told_once() {
    let mut site = house();
    site.trunks.insert(TrunkId(2), Trunk::new(TrunkId(2), TenantId(1), "other", "sip:203.0.113.2"));
    let to = |id| Node::Trunk(TrunkId(id));
    let found = holed(&site, |node| match node {
        Node::Extension(ExtensionId(2)) => vec![to(1), to(2)],
        Node::Context { public: true, .. } => vec![to(2)],
        _ => vec![],
    });
    assert_eq!(
        found,
        [
            "anybody → profile world (external) → context public → trunk other",
            "anybody → profile world (external) → context public → alias director → extension 102 → trunk acme"
        ]
    );
}

#[test]
fn a_trunk_that_is_off_and_one_without_a_way_to_it_are_not_reached() {
    let mut site = house();
    let hole = |node: &Node| match node {
        Node::Extension(_) => vec![Node::Outbound { tenant: TenantId(1), route: "world".into() }],
        _ => vec![],
    };
    assert_eq!(holed(&site, hole).len(), 1);
    site.trunks.get_mut(&TrunkId(1)).unwrap().enabled = false;
    assert_eq!(holed(&site, hole), [""; 0]);
    let mut site = house();
    site.aliases[0].published = false;
    assert_eq!(holed(&site, hole), [""; 0]);
}

#[test]
fn weak_spots_are_named_with_what_mends_them() {
    let mut config = config();
    let rules = |config: &SwitchConfig, site: &Site| -> Vec<(Level, &'static str)> {
        reach::check(now(), config, site).weak.iter().map(|weak| (weak.level, weak.rule)).collect()
    };
    let countryless = [(Level::Info, "profile.open"), (Level::Info, "tenant.no-country")];
    let mut nowhere = house();
    nowhere.tenants[0].numbers.country.clear();
    assert_eq!(rules(&config, &nowhere), countryless);
    assert_eq!(rules(&config, &house()), [(Level::Info, "profile.open")]);
    config.profiles[1].allow = Some(vec![].into());
    assert_eq!(rules(&config, &house()), []);

    config.profiles[0].digest = vec![Algorithm::Md5];
    assert_eq!(rules(&config, &house()), [(Level::Warning, "profile.md5-only")]);
    let mut inside = config.clone();
    for listener in &mut inside.listeners {
        listener.sip.local.set_ip([192, 168, 1, 2].into());
    }
    assert_eq!(rules(&inside, &house()), [], "in the house nobody listens");
    config.profiles[0].digest = vec![Algorithm::Sha256, Algorithm::Md5];

    let with = |sources: &[&str], credentials: bool| {
        let mut site = house();
        let trunk = site.trunks.get_mut(&TrunkId(1)).unwrap();
        trunk.sources = sources.iter().map(|source| (*source).to_owned()).collect();
        let far = SipCredentials { user: "far".into(), password: Secret::new("secret") };
        trunk.inbound_credentials = credentials.then_some(far);
        rules(&config, &site)
    };
    for (sources, rule) in [
        (["0.0.0.0/0"], "trunk.sources-wide"),
        (["203.0.0.0/8"], "trunk.sources-wide"),
        (["2000::/3"], "trunk.sources-wide"),
        (["192.168.1.0/24"], "trunk.sources-private"),
        (["10.1.0.0/16"], "trunk.sources-private"),
        (["fd00:1::/48"], "trunk.sources-private"),
    ] {
        assert_eq!(with(&sources, false), [(Level::Warning, rule)], "{sources:?}");
        assert_eq!(with(&sources, true), [], "{sources:?}: credentials are asked for");
    }
    assert_eq!(with(&["203.0.113.0/24", "198.51.100.7"], false), []);

    let mut site = house();
    site.extensions.get_mut(&ExtensionId(1)).unwrap().calling.international = true;
    let weak = reach::check(now(), &config, &site).weak;
    assert!(weak.len() == 1 && weak[0].text.ends_with("spend: 101") && weak[0].level == Level::Warning, "{weak:?}");
    let limits = SpendLimits { per_day: Some(10_000_000), ..SpendLimits::default() };
    let change: [fn(&mut Site, SpendLimits); 3] = [
        |site, limits| site.extensions.get_mut(&ExtensionId(1)).unwrap().calling.spend = limits,
        |site, limits| site.tenants[0].numbers.spend = limits,
        |site, limits| site.trunks.get_mut(&TrunkId(1)).unwrap().spend = limits,
    ];
    for limit in change {
        let mut site = site.clone();
        limit(&mut site, limits);
        assert_eq!(rules(&config, &site), []);
    }
    site.trunks.clear();
    assert_eq!(rules(&config, &site), [], "without a line nothing costs money");
}
