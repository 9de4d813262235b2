use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};

use super::*;
use crate::model::{
    CalleeLimits, Calling, ExtensionId, NumberFormat, Rate, RateTable, Secret, SipCredentials, SrtpPolicy, Tenant,
};

const ACME: TenantId = TenantId(1);
const CHEAP: TrunkId = TrunkId(1);
const DEAR: TrunkId = TrunkId(2);
/// 2026-11-27 12:00 UTC, a Friday.
const FRIDAY_NOON: u64 = 1_795_780_800;

fn pattern(text: &str) -> Pattern {
    text.parse().expect(text)
}

fn route(name: &str, patterns: &[&str], trunks: &[TrunkId]) -> OutboundRoute {
    OutboundRoute {
        tenant: ACME,
        name: name.into(),
        patterns: patterns.iter().map(|p| pattern(p)).collect(),
        groups: Vec::new(),
        hours: Vec::new(),
        strip: 0,
        prepend: String::new(),
        enum_domain: None,
        trunks: trunks.to_vec(),
        order: TrunkOrder::Listed,
        attempts: None,
        ring_for: None,
    }
}

fn extension(number: &str, calling: Calling) -> Extension {
    Extension {
        id: ExtensionId(number.parse().expect("a number")),
        tenant: ACME,
        number: number.into(),
        name: String::new(),
        credentials: SipCredentials { user: format!("u{number}"), password: Secret::new("x") },
        srtp: SrtpPolicy::Offer,
        max_calls: 4,
        max_contacts: 4,
        enabled: true,
        calling,
    }
}

fn worldly() -> Calling {
    Calling { international: true, domains: true, ..Calling::default() }
}

fn site(outbound: Vec<OutboundRoute>) -> Site {
    let numbers = NumberPlan {
        country: "44".into(),
        national_prefix: "0".into(),
        time_zone: "Europe/London".into(),
        ..NumberPlan::default()
    };
    let tenant = Tenant { id: ACME, name: "Acme".into(), domains: vec!["acme.example".into()], numbers };
    let trunks = [(CHEAP, "cheap"), (DEAR, "dear")]
        .map(|(id, name)| (id, Trunk::new(id, ACME, name, format!("sip:{name}.example"))));
    Site { tenants: vec![tenant], trunks: BTreeMap::from(trunks), outbound, ..Site::default() }
}

struct World {
    router: Router,
    phones: Vec<Extension>,
    down: Vec<TrunkId>,
    unix_s: u64,
}

impl World {
    fn new(site: Site) -> Self {
        let phones = vec![extension("101", worldly()), extension("102", Calling::default())];
        Self { router: Router::new(&site), phones, down: Vec::new(), unix_s: FRIDAY_NOON }
    }

    /// Of the phone with index `caller`; the decision and what the explanation says must agree.
    fn ask(&self, caller: usize, dialled: &str) -> Decision<'_> {
        self.ask_at(caller, dialled, None).0
    }

    fn ask_at(&self, caller: usize, dialled: &str, foreign_host: Option<&str>) -> (Decision<'_>, Explanation) {
        let up = |id| !self.down.contains(&id);
        let find = |number: &str| self.phones.iter().find(|e| e.number == number);
        // Both closures live as long as the call alone; what comes out borrows from the phones.
        let ask =
            Ask { caller: &self.phones[caller], dialled, foreign_host, unix_s: self.unix_s, up: &up, extension: &find };
        let plain = owned(self.router.outbound(&ask));
        let (decision, explanation) = self.router.explain(&ask);
        let explained = owned(decision);
        assert_eq!(plain, explained, "{dialled}: the explanation tells another story");
        (self.lift(explained), explanation)
    }

    fn lift(&self, decision: Owned) -> Decision<'_> {
        match decision {
            Owned::Extension(number) => {
                Decision::Extension(self.phones.iter().find(|e| e.number == number).expect("it was found"))
            }
            Owned::Trunks(plan) => Decision::Trunks(plan),
            Owned::Domain(hide) => Decision::Domain { hide },
            Owned::Refused(status, rule, text) => Decision::Refused { status, rule, text },
        }
    }

    fn plan(&self, caller: usize, dialled: &str) -> TrunkPlan {
        match self.ask(caller, dialled) {
            Decision::Trunks(plan) => plan,
            other => panic!("{dialled}: expected trunks, got {other:?}"),
        }
    }

    fn tried(&self, caller: usize, dialled: &str) -> Vec<(TrunkId, String)> {
        self.plan(caller, dialled).attempts.into_iter().map(|a| (a.trunk, a.number)).collect()
    }

    fn rule(&self, caller: usize, dialled: &str) -> (u16, &'static str) {
        match self.ask(caller, dialled) {
            Decision::Refused { status, rule, .. } => (status, rule),
            other => panic!("{dialled}: expected a refusal, got {other:?}"),
        }
    }
}

#[derive(Debug, PartialEq)]
enum Owned {
    Extension(String),
    Trunks(TrunkPlan),
    Domain(bool),
    Refused(u16, &'static str, String),
}

fn owned(decision: Decision<'_>) -> Owned {
    match decision {
        Decision::Extension(e) => Owned::Extension(e.number.clone()),
        Decision::Trunks(plan) => Owned::Trunks(plan),
        Decision::Domain { hide } => Owned::Domain(hide),
        Decision::Refused { status, rule, text } => Owned::Refused(status, rule, text),
        Decision::Mailbox => Owned::Refused(0, "feature.voicemail", String::new()),
        Decision::Blacklist(code) => Owned::Refused(0, "feature.blacklist", format!("{code:?}")),
    }
}

#[test]
fn an_extension_goes_before_a_route() {
    let w = World::new(site(vec![route("all", &["any"], &[CHEAP])]));
    assert!(matches!(w.ask(0, "102"), Decision::Extension(e) if e.number == "102"));
    assert_eq!(w.tried(0, "02079460000"), [(CHEAP, "+442079460000".to_owned())]);
}

#[test]
fn the_first_route_in_the_list_that_fits_wins_not_the_longest() {
    let w = World::new(site(vec![route("outside", &["prefix:0"], &[DEAR]), route("london", &["020."], &[CHEAP])]));
    assert_eq!(&*w.plan(0, "02079460000").route, "outside");
}

#[test]
fn strip_and_prepend_make_the_number_and_the_trunk_says_how_it_is_written() {
    let mut s = site(vec![OutboundRoute { strip: 1, prepend: "00".into(), ..route("nine", &["9."], &[CHEAP, DEAR]) }]);
    s.trunks.get_mut(&DEAR).expect("it is there").headers.number_format = NumberFormat::Digits;
    let w = World::new(s);
    assert_eq!(w.tried(0, "94930123456"), [(CHEAP, "+4930123456".to_owned()), (DEAR, "4930123456".to_owned())]);
}

/// UC-12.
#[test]
fn a_route_with_attempts_offers_a_call_to_so_many_of_its_trunks_and_a_call_for_help_to_all() {
    let of = |attempts| OutboundRoute { attempts, ..route("all", &["any", "exact:112"], &[CHEAP, DEAR]) };
    let tried = |attempts, dialled: &str| World::new(site(vec![of(attempts)])).tried(0, dialled).len();
    assert_eq!([None, Some(1), Some(2), Some(9)].map(|most| tried(most, "02079460000")), [2, 1, 2, 2]);
    assert_eq!(tried(Some(1), "112"), 2);
}

#[test]
fn a_number_abroad_needs_the_permission_however_it_is_dialled() {
    let mut s =
        site(vec![OutboundRoute { strip: 1, ..route("nine", &["9."], &[CHEAP]) }, route("all", &["any"], &[CHEAP])]);
    // What may stand at the front is another rule.
    s.tenants[0].numbers.callees = CalleeLimits { longest: Some(18), denied: Some(vec![]), allowed: vec![] };
    let w = World::new(s);
    for dialled in
        ["004930123456", "+4930123456", "9004930123456", "9+4930123456", "00 49 30-123456", "000", "*67+49301"]
    {
        assert_eq!(w.rule(1, dialled), (403, "guard.international"), "{dialled}");
        assert!(!w.tried(0, dialled).is_empty(), "{dialled}");
    }
    assert_eq!(w.tried(1, "+442079460000").len(), 1, "home with a plus is no trip abroad");
}

#[test]
fn callees_are_limited_as_dialled_and_the_way_abroad_is_open_to_those_who_may_take_it() {
    let mut s = site(vec![route("all", &["any"], &[CHEAP])]);
    let w = World::new(s.clone());
    for (dialled, rule) in [
        ("004930123456", "callee.denied_prefix"),
        ("+442079460000", "callee.denied_prefix"),
        ("*67+49301", "callee.denied_prefix"),
        ("0207946000012", "callee.length"),
    ] {
        assert_eq!(w.rule(1, dialled), (403, rule), "{dialled}");
    }
    assert_eq!(w.tried(1, "020794600001").len(), 1, "twelve digits");
    assert_eq!(w.tried(0, "0044207946000012").len(), 1, "phone 0 may call abroad");
    assert_eq!(w.rule(0, "0044207946000012345"), (403, "callee.length"));
    assert!(!w.tried(1, "112").is_empty(), "no rule stands before an emergency");
    s.tenants[0].numbers.callees =
        CalleeLimits { longest: None, denied: Some(vec!["090".into()]), allowed: vec!["0".into(), "al".into()] };
    let w = World::new(s);
    assert_eq!(w.rule(0, "0900123456"), (403, "callee.denied_prefix"), "denied for all, and deny wins");
    assert_eq!(w.rule(0, "+4930123456"), (403, "callee.allowed_prefix"));
    assert_eq!(w.tried(1, "02079460000").len(), 1);
}

#[test]
fn what_a_provider_could_read_as_abroad_does_not_leave_and_codes_leave_by_a_route_that_names_them_guard_1() {
    let w = World::new(site(vec![route("all", &["any"], &[CHEAP])]));
    assert_eq!(w.rule(1, "4930123456"), (403, "guard.international"), "the plus is missing, and the provider adds it");
    for dialled in ["*7202079460", "12#34", "*72020794600"] {
        assert_eq!(w.rule(0, dialled), (404, "route.no_such_number"), "{dialled}");
    }
    assert_eq!(w.tried(1, "02079460000#").len(), 1, "some phones end a number so");
    let w = World::new(site(vec![route("forward", &["prefix:*72"], &[CHEAP]), route("all", &["any"], &[CHEAP])]));
    assert_eq!(w.tried(1, "*7202079460").len(), 1);
    for dialled in ["*720049301", "*7249301234"] {
        assert_eq!(w.rule(1, dialled), (403, "guard.international"), "{dialled}");
        assert_eq!(w.tried(0, dialled).len(), 1, "{dialled}");
    }
}

#[test]
fn a_group_may_call_abroad_where_the_tenant_says_so_guard_1() {
    let mut s = site(vec![route("all", &["any"], &[CHEAP])]);
    s.tenants[0].numbers.international_groups = vec!["sales".into()];
    let mut w = World::new(s);
    assert_eq!(w.rule(1, "004930123456"), (403, "callee.denied_prefix"));
    w.phones[1].calling.groups = vec!["support".into(), "sales".into()];
    assert_eq!(w.tried(1, "004930123456").len(), 1);
}

#[test]
fn groups_and_hours_close_a_route() {
    let office = "mon-fri 08:00-18:00".parse().expect("hours");
    let mut w = World::new(site(vec![
        OutboundRoute { groups: vec!["sales".into()], ..route("sales", &["0."], &[CHEAP]) },
        OutboundRoute { hours: vec![office], ..route("day", &["0."], &[DEAR]) },
    ]));
    assert_eq!(&*w.plan(0, "02079460000").route, "day");
    w.phones[0].calling.groups.push("sales".into());
    assert_eq!(&*w.plan(0, "02079460000").route, "sales");
    w.unix_s = FRIDAY_NOON + 7 * 3600;
    assert_eq!(w.rule(1, "02079460000"), (404, "route.no_such_number"));
}

#[test]
fn trunks_that_are_down_come_last_and_those_turned_off_never() {
    let mut s = site(vec![route("all", &["any"], &[CHEAP, DEAR])]);
    let mut w = World::new(s.clone());
    w.down.push(CHEAP);
    assert_eq!(w.plan(0, "02079460000").attempts.iter().map(|a| a.trunk).collect::<Vec<_>>(), [DEAR, CHEAP]);
    s.trunks.get_mut(&DEAR).expect("it is there").enabled = false;
    let w = World::new(s.clone());
    assert_eq!(w.plan(0, "02079460000").attempts.len(), 1);
    s.trunks.get_mut(&CHEAP).expect("it is there").enabled = false;
    assert_eq!(World::new(s).rule(0, "02079460000"), (404, "route.no_such_number"));
}

#[test]
fn least_cost_asks_the_rates_and_a_trunk_without_one_comes_last() {
    let rate =
        |prefix: &str, per_minute| Rate { prefix: prefix.into(), per_minute, connection: 0, first_s: 1, step_s: 1 };
    let table = |rates| Arc::new(RateTable { currency: "GBP".into(), rates });
    let mut s = site(vec![OutboundRoute { order: TrunkOrder::LeastCost, ..route("all", &["any"], &[CHEAP, DEAR]) }]);
    s.rates = BTreeMap::from([
        (CHEAP, table(vec![rate("44", 10_000), rate("447", 90_000)])),
        (DEAR, table(vec![rate("44", 20_000), rate("49", 5_000)])),
    ]);
    let w = World::new(s);
    let order = |dialled: &str| w.plan(0, dialled).attempts.into_iter().map(|a| a.trunk).collect::<Vec<_>>();
    assert_eq!(order("02079460000"), [CHEAP, DEAR]);
    assert_eq!(order("07700900123"), [DEAR, CHEAP]);
    assert_eq!(order("004930123456"), [DEAR, CHEAP], "one has no rate for Germany");
    assert_eq!(order("0012125550100"), [CHEAP, DEAR], "neither has a rate: as they are listed");
}

#[test]
fn emergency_numbers_go_out_for_everybody_first_and_always() {
    let mut w = World::new(site(vec![
        OutboundRoute {
            groups: vec!["sales".into()],
            hours: vec!["sun 00:00-01:00".parse().expect("hours")],
            ..route("help", &["exact:112"], &[DEAR])
        },
        route("all", &["any"], &[CHEAP]),
    ]));
    let plan = w.plan(1, "112");
    assert!(plan.emergency && !plan.hide);
    assert_eq!(&*plan.route, "help");
    assert_eq!(plan.attempts.iter().map(|a| a.trunk).collect::<Vec<_>>(), [DEAR, CHEAP], "the named route, then any");
    // Without a route that names it, hidden by the code, and with an extension of that number.
    w.phones.push(extension("911", Calling::default()));
    let plan = w.plan(1, "*67911");
    assert!(plan.emergency && !plan.hide);
    assert_eq!(plan.attempts.len(), 2);
    w.down.push(CHEAP);
    assert_eq!(w.plan(1, "+911").attempts[0], Attempt { trunk: DEAR, number: "911".into() });
}

#[test]
fn the_hiding_code_hides_one_call_and_the_extensions_own_setting_all() {
    let mut w = World::new(site(vec![route("all", &["any"], &[CHEAP])]));
    assert!(w.plan(0, "*6702079460000").hide);
    assert!(!w.plan(0, "02079460000").hide);
    assert!(matches!(w.ask(0, "*67102"), Decision::Extension(_)));
    w.phones[0].calling.hide_caller_id = true;
    assert!(w.plan(0, "02079460000").hide);
}

#[test]
fn other_domains_are_for_those_who_may() {
    let w = World::new(site(Vec::new()));
    assert_eq!(w.ask_at(0, "alex", Some("far.example")).0, Decision::Domain { hide: false });
    assert!(matches!(
        w.ask_at(1, "alex", Some("far.example")).0,
        Decision::Refused { status: 403, rule: "guard.domains", .. }
    ));
    // What looks like an emergency at another domain is a name there.
    assert_eq!(w.ask_at(0, "112", Some("far.example")).0, Decision::Domain { hide: false });
}

#[test]
fn aliases_lead_to_extensions_in_any_case_and_to_guests_when_published() {
    let mut s = site(Vec::new());
    let alias = |name: &str, to: &str, published| Alias {
        tenant: ACME,
        name: name.into(),
        to: Destination::Extension(to.into()),
        published,
    };
    s.aliases = vec![alias("director", "102", true), alias("cellar", "102", false), alias("gone", "999", true)];
    let w = World::new(s);
    assert!(matches!(w.ask(0, "Director"), Decision::Extension(e) if e.number == "102"));
    assert!(matches!(w.ask(0, "cellar"), Decision::Extension(_)));
    assert_eq!(w.rule(0, "gone"), (404, "route.no_such_number"));
    assert_eq!(w.router.alias(ACME, "DIRECTOR", true), Some(&Destination::Extension("102".into())));
    assert_eq!(w.router.alias(ACME, "cellar", true), None);
    assert_eq!(w.router.alias(TenantId(2), "director", true), None, "another tenant's");
}

#[test]
fn an_incoming_call_goes_by_trunk_number_and_hour() {
    let inbound = |name: &str, trunk, called: &str, to: &str| InboundRoute {
        tenant: ACME,
        name: name.into(),
        trunk,
        called: pattern(called),
        identity: Vec::new(),
        hours: Vec::new(),
        to: Destination::Extension(to.into()),
    };
    let mut s = site(Vec::new());
    s.inbound = vec![
        InboundRoute {
            hours: vec!["sat-sun 00:00-24:00".parse().expect("hours")],
            ..inbound("weekend", None, "any", "109")
        },
        inbound("dear alone", Some(DEAR), "exact:+442079460001", "103"),
        inbound("number", None, "exact:+442079460001", "101"),
        inbound("plain", None, "exact:442079460002", "102"),
        inbound("block", None, "prefix:+4420794601", "104"),
        inbound("short", None, "exact:9100", "105"),
    ];
    let w = World::new(s);
    let to = |trunk, called: &str, at| match w.router.inbound(ACME, trunk, called, None, at) {
        InboundDecision::To { route, .. } => route.to_owned(),
        InboundDecision::None => "none".to_owned(),
    };
    assert_eq!(to(CHEAP, "+442079460001", FRIDAY_NOON), "number");
    assert_eq!(to(DEAR, "442079460001", FRIDAY_NOON), "dear alone");
    assert_eq!(to(CHEAP, "02079460001", FRIDAY_NOON), "number", "as it is dialled within the country");
    assert_eq!(to(CHEAP, "+442079460002", FRIDAY_NOON), "plain", "a pattern without the plus");
    assert_eq!(to(CHEAP, "+442079460155", FRIDAY_NOON), "block");
    assert_eq!(to(CHEAP, "9100", FRIDAY_NOON), "short");
    assert_eq!(to(CHEAP, "+442079469999", FRIDAY_NOON), "none");
    assert_eq!(to(CHEAP, "+442079469999", FRIDAY_NOON + 86_400), "weekend");
    assert_eq!(w.router.inbound(TenantId(2), CHEAP, "+442079460001", None, FRIDAY_NOON), InboundDecision::None);
}

#[test]
fn a_local_time_is_read_in_the_tenants_zone() {
    let w = World::new(site(Vec::new()));
    assert_eq!(w.router.unix_s(ACME, "2026-11-27T12:00"), Some(FRIDAY_NOON));
    assert_eq!(w.router.unix_s(ACME, "2026-07-01T13:00"), w.router.unix_s(ACME, "2026-07-01 13:00:00"));
    assert_eq!(w.router.unix_s(ACME, "noon"), None);
}

#[test]
fn nothing_of_one_tenant_routes_for_another() {
    let mut s = site(vec![route("all", &["any"], &[CHEAP])]);
    let other = Tenant { id: TenantId(2), name: "Other".into(), domains: Vec::new(), numbers: NumberPlan::default() };
    s.tenants.push(other);
    let mut w = World::new(s);
    w.phones[0].tenant = TenantId(2);
    assert_eq!(w.rule(0, "02079460000"), (404, "route.no_such_number"));
    assert_eq!(w.rule(0, "112"), (503, "route.emergency"), "it has no trunk of its own");
}

#[test]
fn the_explanation_names_each_route_and_its_reason() {
    let w = World::new(site(vec![
        OutboundRoute { groups: vec!["sales".into()], ..route("sales", &["any"], &[CHEAP]) },
        route("mobile", &["07."], &[CHEAP]),
        route("land", &["0[1-3]."], &[CHEAP, DEAR]),
    ]));
    let (_, explanation) = w.ask_at(0, "02079460000", None);
    let steps: Vec<(&str, bool)> = explanation.steps.iter().map(|s| (s.rule.as_str(), s.fits)).collect();
    assert_eq!(
        steps,
        [
            ("emergency", false),
            ("extension", false),
            ("alias", false),
            ("callee", true),
            ("route sales", false),
            ("route mobile", false),
            ("trunk cheap", true),
            ("trunk dear", true),
            ("route land", true),
        ]
    );
    assert!(explanation.steps[4].why.contains("sales"), "{}", explanation.steps[4].why);
    assert!(explanation.steps[5].why.contains("07."), "{}", explanation.steps[5].why);
}

#[test]
fn the_index_decides_as_looking_at_every_route_does() {
    let mut rng = rand::rngs::ChaCha12Rng::seed_from_u64(7);
    for _ in 0..60 {
        let mut digits =
            |n: usize| -> String { (0..n).map(|_| char::from(b"0123459*#+"[rng.random_range(0..10usize)])).collect() };
        let routes = (0..30)
            .map(|i| {
                let text = digits(i % 4 + 1);
                let patterns: Vec<Pattern> = match i % 5 {
                    0 => vec![Pattern::Exact(text)],
                    1 => vec![Pattern::Prefix(text)],
                    2 => vec![Pattern::Digits(format!("{text}X!"))],
                    3 => vec![Pattern::Digits(format!("[0-4]{text}.")), Pattern::Prefix(text)],
                    _ => vec![Pattern::Digits(format!("N{text}"))],
                };
                OutboundRoute { patterns, ..route(&format!("r{i}"), &[], &[CHEAP]) }
            })
            .collect();
        let numbers: Vec<String> = (0..60).map(|i| digits(i % 7 + 1)).collect();
        let w = World::new(site(routes));
        for number in numbers {
            // `ask` holds the two walks against each other.
            let _ = w.ask(0, &number);
        }
    }
}

#[test]
fn rates_that_did_not_change_keep_their_index_with_the_next_revision() {
    let mut s = site(Vec::new());
    s.rates = BTreeMap::from([(CHEAP, Arc::new(RateTable::default()))]);
    let first = Router::new(&s);
    let next = Router::following(&s, Some(&first));
    assert!(Arc::ptr_eq(first.rates(), next.rates()));
    s.rates.insert(DEAR, Arc::new(RateTable::default()));
    assert!(!Arc::ptr_eq(next.rates(), Router::following(&s, Some(&next)).rates()));
}

#[test]
fn a_route_with_enum_asks_for_the_number_and_its_trunks_or_the_next_routes_follow() {
    let asking = |name: &str, trunks: &[TrunkId]| OutboundRoute {
        enum_domain: Some("e164.arpa".into()),
        ..route(name, &["any"], trunks)
    };
    let asked = |w: &World, dialled: &str| -> Vec<String> {
        w.plan(0, dialled).numbers.iter().map(|number| number.key().to_string()).collect()
    };
    let w = World::new(site(vec![asking("all", &[CHEAP])]));
    assert_eq!(asked(&w, "02079460000"), ["0.0.0.0.6.4.9.7.0.2.4.4.e164.arpa"]);
    assert_eq!(w.tried(0, "02079460000").len(), 1);
    assert!(w.plan(0, "112").numbers.is_empty(), "nobody waits for the DNS in an emergency");
    assert!(asked(&w, "1234").is_empty(), "a short code is no number of the world's");
    let (_, explanation) = w.ask_at(0, "02079460000", None);
    let step = explanation.steps.iter().find(|step| step.rule == "enum e164.arpa").expect("it is told");
    assert!(step.fits && step.why.contains("+442079460000 at 0.0.0.0.6.4.9.7.0.2.4.4.e164.arpa"), "{}", step.why);

    let w = World::new(site(vec![asking("published", &[]), route("trunks", &["any"], &[DEAR])]));
    let plan = w.plan(0, "02079460000");
    assert_eq!((&*plan.route, plan.numbers.len(), plan.attempts[0].trunk), ("trunks", 1, DEAR));
    let w = World::new(site(vec![asking("published", &[])]));
    let plan = w.plan(0, "02079460000");
    assert_eq!((&*plan.route, plan.numbers.len(), plan.attempts.len()), ("published", 1, 0));
    assert_eq!(w.rule(0, "1234"), (404, "route.no_such_number"));
}

#[test]
fn a_route_that_leaves_nothing_of_a_number_does_not_take_it() {
    let stripped = OutboundRoute { strip: 3, ..route("short", &["any"], &[CHEAP]) };
    let w = World::new(site(vec![stripped, route("rest", &["any"], &[DEAR])]));
    assert_eq!(w.tried(0, "9021234"), [(CHEAP, "1234".to_owned())]);
    assert_eq!(w.tried(0, "902"), [(DEAR, "902".to_owned())]);
    let steps = w.ask_at(0, "902", None).1.steps;
    assert!(steps.iter().any(|step| !step.fits && step.why.contains("nothing is left of 902")), "{steps:?}");
    assert_eq!(w.tried(0, "112")[0], (CHEAP, "112".to_owned()), "a call for help goes out as it was dialled");
}

#[test]
fn no_digits_of_a_route_hide_that_a_number_was_dialled_as_one_abroad_guard_1() {
    let changed = |patterns: &[&str], strip: u8, prepend: &str| {
        let mut site = site(vec![OutboundRoute { strip, prepend: prepend.into(), ..route("x", patterns, &[CHEAP]) }]);
        site.tenants[0].numbers.area = "20".into();
        site.tenants[0].numbers.callees = CalleeLimits { longest: Some(18), denied: Some(vec![]), allowed: vec![] };
        site.trunks.get_mut(&CHEAP).unwrap().headers.number_format = NumberFormat::Asis;
        World::new(site)
    };
    for (w, dialled) in [
        // Behind a carrier's code it looks like a number of the own area.
        (changed(&["any"], 0, "9"), "0067712345"),
        (changed(&["prefix:00"], 2, ""), "0067712345"),
        (changed(&["prefix:+"], 1, ""), "+67712345"),
        (changed(&["any"], 0, ""), "4930123456"),
    ] {
        assert_eq!(w.rule(1, dialled), (403, "guard.international"), "{dialled}");
        assert_eq!(w.plan(0, dialled).attempts.len(), 1, "{dialled}");
    }
    // A digit for an outside line is no way abroad.
    let outside_line = changed(&["prefix:0"], 1, "");
    assert_eq!(outside_line.tried(1, "002079461234"), [(CHEAP, "02079461234".to_owned())]);
    assert_eq!(outside_line.rule(1, "0004930123456"), (403, "guard.international"));
}
