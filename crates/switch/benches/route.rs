//! What one routing decision costs with 100,000 prefixes (the bar: 2 µs), and an incoming call with as many numbers.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use divan::Bencher;
use ringfort_switch::model::*;
use ringfort_switch::route::{Ask, Router};

fn main() {
    divan::main();
}

const PREFIXES: u32 = 100_000;

/// Prefixes of five to seven digits in the order of no sort.
fn prefix(index: u32) -> String {
    let spread = index.wrapping_mul(2_654_435_761) % 9_000_000 + 1_000_000;
    spread.to_string()[..5 + (index % 3) as usize].to_owned()
}

fn site() -> Site {
    let numbers = NumberPlan { country: "44".into(), national_prefix: "0".into(), ..NumberPlan::default() };
    let tenant = Tenant { id: TenantId(1), name: "Acme".into(), domains: vec!["acme.example".into()], numbers };
    let trunks: BTreeMap<TrunkId, Trunk> = (1..=4)
        .map(|n| (TrunkId(n), Trunk::new(TrunkId(n), TenantId(1), format!("t{n}"), format!("sip:t{n}.example"))))
        .collect();
    let route = |index: u32| OutboundRoute {
        tenant: TenantId(1),
        name: format!("r{index}"),
        patterns: vec![Pattern::Prefix(format!("00{}", prefix(index)))],
        groups: Vec::new(),
        hours: Vec::new(),
        strip: 0,
        prepend: String::new(),
        enum_domain: None,
        trunks: trunks.keys().copied().collect(),
        order: TrunkOrder::LeastCost,
        attempts: None,
        ring_for: None,
    };
    let inbound = |index: u32| InboundRoute {
        tenant: TenantId(1),
        name: format!("i{index}"),
        trunk: None,
        called: Pattern::Exact(format!("+4420{index:07}")),
        identity: Vec::new(),
        hours: Vec::new(),
        to: Destination::Extension("101".into()),
    };
    let table = || {
        let mut rates: Vec<Rate> = (0..PREFIXES)
            .map(|i| Rate { prefix: prefix(i), per_minute: u64::from(i), connection: 0, first_s: 1, step_s: 1 })
            .collect();
        rates.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        rates.dedup_by(|a, b| a.prefix == b.prefix);
        Arc::new(RateTable { currency: "EUR".into(), rates })
    };
    Site {
        tenants: vec![tenant],
        outbound: (0..PREFIXES).map(route).collect(),
        inbound: (0..PREFIXES).map(inbound).collect(),
        rates: trunks.keys().map(|id| (*id, table())).collect(),
        trunks,
        ..Site::default()
    }
}

fn caller() -> Extension {
    Extension {
        id: ExtensionId(1),
        tenant: TenantId(1),
        number: "101".into(),
        name: String::new(),
        credentials: SipCredentials { user: "u".into(), password: Secret::new("p") },
        srtp: SrtpPolicy::Offer,
        max_calls: 4,
        max_contacts: 4,
        enabled: true,
        calling: Calling { international: true, ..Calling::default() },
    }
}

/// 100,000 outbound prefixes, four trunks ordered by the cost of 100,000 rates each; another number each time.
#[divan::bench(sample_count = 1000, sample_size = 20)]
fn outbound_least_cost(bencher: Bencher<'_, '_>) {
    let router = Router::new(&site());
    let caller = caller();
    let numbers: Vec<String> = (0..4096).map(|i| format!("00{}123456", prefix(i * 23))).collect();
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 1) % numbers.len();
        let ask = Ask {
            caller: &caller,
            dialled: black_box(&numbers[next]),
            foreign_host: None,
            unix_s: 1_795_780_800,
            up: &|_| true,
            extension: &|_| None,
        };
        router.outbound(&ask)
    });
}

/// 100,000 numbers, each with a route of its own.
#[divan::bench(sample_count = 1000, sample_size = 20)]
fn inbound(bencher: Bencher<'_, '_>) {
    let router = Router::new(&site());
    let numbers: Vec<String> = (0..4096u32).map(|i| format!("+4420{:07}", i * 23)).collect();
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 1) % numbers.len();
        router.inbound(TenantId(1), TrunkId(1), black_box(&numbers[next]), None, 1_795_780_800)
    });
}

/// What a new revision costs; rate tables that did not change are kept.
#[divan::bench(sample_count = 5)]
fn rebuild(bencher: Bencher<'_, '_>) {
    let site = site();
    let before = Router::new(&site);
    bencher.bench_local(|| Router::following(black_box(&site), Some(&before)));
}
