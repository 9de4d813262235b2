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

const CONFIGURATIONS: u64 = 400;
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
            site.inbound.push(InboundRoute {
                tenant,
                name: format!("in{number}"),
                trunk,
                called,
                identity: vec![],
                hours: vec![],
                to,
            });
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
    fn new(site: &Site) -> Trial {
        let mut world = World::with(node(), site.clone());
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
    let mut trial = Trial::new(site);
    let listeners = [(0, INSIDE, 0), (1, OUTSIDE, 1), (3, MORE, 2)];
    let profiles = node().profiles;
    let mut rang: BTreeMap<Node, BTreeSet<ExtensionId>> = BTreeMap::new();
    let mut left = Vec::new();
    let lines = site.trunks.values().map(|trunk| (format!("203.0.113.{}:5060", trunk.id), Some(trunk)));
    let sources: Vec<(String, Option<&Trunk>)> = lines.chain([(STRANGER.to_owned(), None)]).collect();
    for (listener, local, profile) in listeners {
        let profile = &profiles[profile];
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
    (rang, left, trial.calls)
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
    let mut trial = Trial::new(&site);
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
    config.profiles[1].allow = Some(vec![]);
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
