//! A look-up in lists with 1,000,000 entries (the bar: 1 µs, 100 MB), and judging a callee.

use std::alloc::System;
use std::hint::black_box;

use divan::{AllocProfiler, Bencher};
use ringfort_guard::blacklist::{Blacklists, Expiry, ListId, Match};
use ringfort_guard::callee::CalleeRules;

#[global_allocator]
static ALLOC: AllocProfiler<System> = AllocProfiler::new(System);

fn main() {
    divan::main();
}

fn number(index: u64) -> String {
    format!("+44{:010}", index.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 10_000_000_000)
}

/// A million numbers in one list, a thousand prefixes and ten patterns in another.
fn lists() -> Blacklists {
    let mut lists = Blacklists::default();
    for index in 0..1_000_000 {
        lists.list_mut(ListId(0)).add(&Match::Exact(number(index)), Expiry::Never);
    }
    for index in 0..1_000u64 {
        lists.list_mut(ListId(1)).add(&Match::Prefix(format!("+49{index:04}")), Expiry::Never);
    }
    for index in 0..10u64 {
        lists.list_mut(ListId(1)).add(&Match::Pattern(format!("+33{index}[1-5]ZZX.")), Expiry::Never);
    }
    lists
}

const BOTH: [ListId; 2] = [ListId(0), ListId(1)];

/// What the lists cost in memory stands under `max alloc`.
#[divan::bench(sample_count = 3)]
fn fill() -> Blacklists {
    lists()
}

#[divan::bench(sample_count = 1000, sample_size = 20)]
fn listed(bencher: Bencher<'_, '_>) {
    let mut lists = lists();
    let mut next = 0;
    bencher.bench_local(|| {
        next += 7;
        lists.check(1, &BOTH, black_box(&number(next % 1_000_000)))
    });
}

#[divan::bench(sample_count = 1000, sample_size = 20)]
fn not_listed(bencher: Bencher<'_, '_>) {
    let mut lists = lists();
    let mut next = 0u64;
    bencher.bench_local(|| {
        next += 7;
        lists.check(1, &BOTH, black_box(&format!("+1{:010}", next.wrapping_mul(2_654_435_761))))
    });
}

#[divan::bench(args = ["101", "%2B49%2030-1234567", "director"])]
fn callee(bencher: Bencher<'_, '_>, user: &str) {
    let rules = CalleeRules::default();
    bencher.bench_local(|| rules.admit(black_box(user)));
}
