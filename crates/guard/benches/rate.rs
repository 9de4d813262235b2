//! What the checks in front of the parser cost: the goal is 50 ns each.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use divan::{Bencher, black_box};
use ringfort_guard::{BanSet, RateConfig, RateLimiter, Until};

fn main() {
    divan::main();
}

#[allow(clippy::disallowed_methods)]
fn limiter() -> (RateLimiter, Instant) {
    let start = Instant::now();
    (RateLimiter::new(&RateConfig::default(), start, [5; 16]), start)
}

/// One flooding address: its bucket stays in the cache.
#[divan::bench(sample_size = 1000)]
fn one_flooding_source(bencher: Bencher<'_, '_>) {
    let (mut limiter, start) = limiter();
    let source: IpAddr = "203.0.113.9".parse().expect("an address");
    let mut n = 0;
    bencher.bench_local(|| {
        n += 1;
        limiter.check(start + Duration::from_micros(n), black_box(source), || false)
    });
}

/// Every packet from an address of its own: every look-up misses the cache.
#[divan::bench(sample_size = 1000)]
fn a_new_source_every_time(bencher: Bencher<'_, '_>) {
    let (mut limiter, start) = limiter();
    // The table's memory is there after the first minutes of any system on the internet.
    for n in 0..1_000_000u32 {
        limiter.check(start, IpAddr::V4(Ipv4Addr::from_bits(n)), || false);
    }
    let mut n = 0u32;
    bencher.bench_local(|| {
        n = n.wrapping_add(1);
        let source = IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + n.wrapping_mul(2_654_435_761) % 1_000_000));
        limiter.check(start + Duration::from_micros(u64::from(n)), black_box(source), || false)
    });
}

#[divan::bench]
fn loopback(bencher: Bencher<'_, '_>) {
    let (mut limiter, start) = limiter();
    let source: IpAddr = "127.0.0.4".parse().expect("an address");
    bencher.bench_local(|| limiter.check(start, black_box(source), || false));
}

#[divan::bench]
fn ban_lookup_among_100_000(bencher: Bencher<'_, '_>) {
    let (_, start) = limiter();
    let address = |n: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + n));
    let bans = BanSet::new([6; 16], &[], (0..100_000).map(|n| (address(n * 2), Until::Revoked)));
    let mut n = 0u32;
    bencher.bench_local(|| {
        n = n.wrapping_add(1);
        bans.is_banned(start, black_box(address(n.wrapping_mul(2_654_435_761) % 200_000)))
    });
}
