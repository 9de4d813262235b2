//! The rate limit in front of the parser: one bucket per source in a table of fixed size, and one for all strangers
//! together. A bucket is a theoretical arrival time (the generic cell rate algorithm), so a look-up is a hash, one
//! cache line and a comparison. `net` asks for every datagram and every message of a stream.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::keyed::Keyed;
use crate::source::{self, Cidr, SourceKey};

/// So many a second on average, so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// 1 to 1,000,000; what lies outside is moved to the nearer end.
    pub per_second: u32,
    /// At least 1.
    pub burst: u32,
}

impl Rate {
    pub const fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst }
    }
}

/// What is let through. `None` as a rate: not limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateConfig {
    /// Ranges with a rate per source of their own; the first that contains the source counts.
    pub ranges: Vec<(Cidr, Option<Rate>)>,
    /// Every other source, each.
    pub stranger: Option<Rate>,
    /// A source with a registered phone or a live dialog, each, once the rates above say no.
    pub proven: Option<Rate>,
    /// All limited sources together; proven ones pass it by.
    pub all_strangers: Option<Rate>,
    /// Buckets of sources that are not proven, rounded up to a power of two; 16 octets each. Their number never grows.
    pub buckets: usize,
    /// Buckets of proven sources, likewise.
    pub proven_buckets: usize,
}

impl Default for RateConfig {
    fn default() -> Self {
        let loopback = source::loopback_ranges().into_iter().map(|range| (range, None));
        let private = source::private_ranges().into_iter().map(|range| (range, Some(Rate::new(600, 1200))));
        Self {
            ranges: loopback.chain(private).collect(),
            stranger: Some(Rate::new(60, 120)),
            proven: Some(Rate::new(2_000, 4_000)),
            all_strangers: Some(Rate::new(20_000, 40_000)),
            buckets: 65_536,
            proven_buckets: 65_536,
        }
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// Dropped without an answer and without state, by the rule of that name.
    Drop {
        rule: &'static str,
    },
}

/// A stranger sends more than its share.
pub const RULE_SOURCE: &str = "rate.source";
/// A proven source sends more than even it may.
pub const RULE_PROVEN: &str = "rate.proven";
/// All strangers together send more than is taken from strangers.
pub const RULE_ALL: &str = "rate.all_strangers";

/// Per-source and global limiter. Its memory is fixed at construction.
pub struct RateLimiter {
    epoch: Instant,
    key: Keyed,
    ranges_v4: Vec<(Cidr, Option<Pace>)>,
    ranges_v6: Vec<(Cidr, Option<Pace>)>,
    stranger: Option<Pace>,
    proven: Option<Pace>,
    all_strangers: Option<Pace>,
    all_strangers_state: u64,
    strangers: Table,
    proven_sources: Table,
}

impl RateLimiter {
    /// `epoch`: no later than the first `now`. `key`: random, secret, one per process.
    pub fn new(config: &RateConfig, epoch: Instant, key: [u8; 16]) -> Self {
        let ranges = config.ranges.iter().map(|(range, rate)| (*range, rate.map(Pace::new)));
        let (ranges_v4, ranges_v6) = ranges.partition(|(range, _)| range.is_ipv4());
        Self {
            epoch,
            key: Keyed::new(key),
            ranges_v4,
            ranges_v6,
            stranger: config.stranger.map(Pace::new),
            proven: config.proven.map(Pace::new),
            all_strangers: config.all_strangers.map(Pace::new),
            all_strangers_state: 0,
            strangers: Table::new(config.buckets),
            proven_sources: Table::new(config.proven_buckets),
        }
    }

    /// Takes one token for a packet from `source`. `proven` is asked only where the packet would be dropped: whether
    /// a registered phone or a live dialog is known there.
    pub fn check(&mut self, now: Instant, source: IpAddr, proven: impl FnOnce() -> bool) -> Verdict {
        let Some(pace) = self.pace_of(source) else { return Verdict::Pass };
        let now = self.ticks(now);
        let hash = self.key.source(SourceKey::from(source));
        let rule = if !self.strangers.take(now, hash, pace) {
            RULE_SOURCE
        } else if !self.all_strangers.is_none_or(|all| take(&mut self.all_strangers_state, now, all)) {
            RULE_ALL
        } else {
            return Verdict::Pass;
        };
        if !proven() {
            return Verdict::Drop { rule };
        }
        match self.proven {
            Some(pace) if !self.proven_sources.take(now, hash, pace) => Verdict::Drop { rule: RULE_PROVEN },
            Some(_) | None => Verdict::Pass,
        }
    }

    /// An offence that cannot be proven to come from there: the source's rate is halved, down to a 64th, and one
    /// halving is forgiven for every quiet minute (GUARD-6: such an offence never bans).
    pub fn penalise(&mut self, now: Instant, source: IpAddr) {
        if self.pace_of(source).is_none() {
            return;
        }
        let now = self.ticks(now);
        let hash = self.key.source(SourceKey::from(source));
        let state = self.strangers.slot(now, hash);
        let (tat, level) = settle(*state, now);
        *state = pack(tat.max(now), (level + 1).min(MAX_LEVEL));
    }

    /// Octets that the tables take, at any load.
    pub fn memory(&self) -> usize {
        (self.strangers.words.len() + self.proven_sources.words.len()) * size_of::<u64>()
    }

    fn pace_of(&self, source: IpAddr) -> Option<Pace> {
        let source = source.to_canonical();
        let ranges = if source.is_ipv4() { &self.ranges_v4 } else { &self.ranges_v6 };
        ranges.iter().find(|(range, _)| range.contains(source)).map_or(self.stranger, |(_, pace)| *pace)
    }

    /// Time since the epoch in units of 16 ns, never 0: 0 marks an empty bucket.
    fn ticks(&self, now: Instant) -> u64 {
        let time = now.saturating_duration_since(self.epoch);
        (time.as_secs() * TICKS_PER_SECOND + u64::from(time.subsec_nanos() >> 4) + 1) & TAT_MASK
    }
}

/// A rate in ticks.
#[derive(Clone, Copy)]
struct Pace {
    interval: u64,
    burst: u64,
}

const TICKS_PER_SECOND: u64 = 1_000_000_000 / 16;

impl Pace {
    fn new(rate: Rate) -> Self {
        let per_second = u64::from(rate.per_second.clamp(1, 1_000_000));
        Self { interval: TICKS_PER_SECOND / per_second, burst: u64::from(rate.burst.max(1)) }
    }
}

/// A bucket's word: the theoretical arrival time in the lower 56 bits (36 years of ticks), the penalty level above.
const TAT_BITS: u32 = 56;
const TAT_MASK: u64 = (1 << TAT_BITS) - 1;
const MAX_LEVEL: u64 = 6;
const FORGIVEN_AFTER: u64 = Duration::from_secs(60).as_secs() * TICKS_PER_SECOND;

fn pack(tat: u64, level: u64) -> u64 {
    tat.min(TAT_MASK) | level << TAT_BITS
}

/// Arrival time and what is left of the penalty.
fn settle(state: u64, now: u64) -> (u64, u64) {
    let (tat, level) = (state & TAT_MASK, state >> TAT_BITS);
    if level == 0 || tat >= now {
        return (tat, level);
    }
    (tat, level.saturating_sub((now - tat) / FORGIVEN_AFTER))
}

/// Takes one token of the bucket; false where there is none.
fn take(state: &mut u64, now: u64, pace: Pace) -> bool {
    let (tat, level) = settle(*state, now);
    let tat = tat.max(now);
    let interval = pace.interval << level;
    // A penalised source loses its burst as well: the room for it stays the same in time.
    let room = (pace.burst - 1).saturating_mul(pace.interval);
    if tat - now > room {
        return false;
    }
    *state = pack(tat + interval, level);
    true
}

/// Buckets in sets of four that share a cache line: `[tag, state] × 4`.
struct Table {
    words: Vec<u64>,
    /// First word of the first set, so that sets start on a cache line.
    first: usize,
    mask: u64,
}

const WAYS: usize = 4;
const SET_WORDS: usize = WAYS * 2;

impl Table {
    fn new(buckets: usize) -> Self {
        let sets = (buckets / WAYS).clamp(1, 1 << 24).next_power_of_two();
        let words = vec![0u64; (sets + 1) * SET_WORDS];
        let first = words.as_ptr().align_offset(SET_WORDS * size_of::<u64>()).min(SET_WORDS);
        Self { words, first, mask: sets as u64 - 1 }
    }

    fn take(&mut self, now: u64, hash: u64, pace: Pace) -> bool {
        take(self.slot(now, hash), now, pace)
    }

    /// The bucket of that source. Where its set is full, the newcomer takes over the least used bucket with its debt:
    /// forgetting the debt would hand a fresh burst to everybody who can invent addresses.
    fn slot(&mut self, now: u64, hash: u64) -> &mut u64 {
        let tag = hash | 1;
        let start = self.first + ((hash >> 1) & self.mask) as usize * SET_WORDS;
        let set: &mut [u64; SET_WORDS] =
            (&mut self.words[start..start + SET_WORDS]).try_into().expect("the slice has that length");
        let (mut way, mut least) = (0, u64::MAX);
        for candidate in 0..WAYS {
            if set[candidate * 2] == tag {
                return &mut set[candidate * 2 + 1];
            }
            let (tat, level) = settle(set[candidate * 2 + 1], now);
            let worth = tat.saturating_add(level * FORGIVEN_AFTER);
            if worth < least {
                (way, least) = (candidate, worth);
            }
        }
        set[way * 2] = tag;
        // The penalty was the other one's.
        set[way * 2 + 1] &= TAT_MASK;
        &mut set[way * 2 + 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limiter(start: Instant) -> RateLimiter {
        RateLimiter::new(&RateConfig::default(), start, [7; 16])
    }

    #[allow(clippy::disallowed_methods)]
    fn start() -> Instant {
        Instant::now()
    }

    fn passed(limiter: &mut RateLimiter, now: Instant, source: IpAddr, packets: usize, proven: bool) -> usize {
        (0..packets).filter(|_| limiter.check(now, source, || proven) == Verdict::Pass).count()
    }

    #[test]
    fn a_stranger_gets_its_burst_and_then_its_rate() {
        let t0 = start();
        let mut limiter = limiter(t0);
        let source = ip("203.0.113.9");
        assert_eq!(passed(&mut limiter, t0, source, 1000, false), 120);
        assert_eq!(limiter.check(t0, source, || false), Verdict::Drop { rule: "rate.source" });
        assert_eq!(passed(&mut limiter, t0 + Duration::from_secs(1), source, 1000, false), 60);
        assert_eq!(passed(&mut limiter, t0 + Duration::from_secs(60), source, 1000, false), 120);
    }

    #[test]
    fn sources_do_not_share_a_bucket_and_an_ipv6_subnet_does() {
        let t0 = start();
        let mut limiter = limiter(t0);
        passed(&mut limiter, t0, ip("203.0.113.9"), 1000, false);
        assert_eq!(passed(&mut limiter, t0, ip("203.0.113.10"), 1000, false), 120);
        assert_eq!(passed(&mut limiter, t0, ip("2001:db8::1"), 100, false), 100);
        assert_eq!(passed(&mut limiter, t0, ip("2001:db8::2"), 100, false), 20);
    }

    #[test]
    fn loopback_is_not_limited_unless_a_range_says_so() {
        let t0 = start();
        let mut config = RateConfig::default();
        assert_eq!(passed(&mut RateLimiter::new(&config, t0, [1; 16]), t0, ip("127.0.0.4"), 100_000, false), 100_000);
        config.ranges.insert(0, ("127.0.0.66".parse().unwrap(), Some(Rate::new(60, 120))));
        let mut limiter = RateLimiter::new(&config, t0, [1; 16]);
        assert_eq!(passed(&mut limiter, t0, ip("127.0.0.66"), 1000, false), 120);
        assert_eq!(passed(&mut limiter, t0, ip("127.0.0.4"), 1000, false), 1000);
    }

    #[test]
    fn private_sources_may_send_more() {
        let t0 = start();
        assert_eq!(passed(&mut limiter(t0), t0, ip("192.168.1.5"), 5000, false), 1200);
        assert_eq!(passed(&mut limiter(t0), t0, ip("fd00::5"), 5000, false), 1200);
    }

    #[test]
    fn a_proven_source_has_a_larger_bucket_of_its_own() {
        let t0 = start();
        let mut limiter = limiter(t0);
        let source = ip("203.0.113.9");
        assert_eq!(passed(&mut limiter, t0, source, 10_000, true), 120 + 4000);
        assert_eq!(limiter.check(t0, source, || true), Verdict::Drop { rule: "rate.proven" });
    }

    #[test]
    fn whether_a_source_is_proven_is_asked_only_before_a_drop() {
        let t0 = start();
        let mut limiter = limiter(t0);
        let mut asked = 0;
        for _ in 0..121 {
            limiter.check(t0, ip("203.0.113.9"), || {
                asked += 1;
                false
            });
        }
        assert_eq!(asked, 1);
    }

    #[test]
    fn a_million_invented_sources_take_no_memory_and_do_not_push_out_a_proven_one() {
        let t0 = start();
        let mut limiter = limiter(t0);
        let memory = limiter.memory();
        let phone = ip("203.0.113.9");
        let (mut through, mut phone_through) = (0, 0);
        for n in 0..1_000_000u32 {
            // One second in all: a million packets, each from an address of its own.
            let now = t0 + Duration::from_micros(u64::from(n));
            let source = IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + n));
            through += usize::from(limiter.check(now, source, || false) == Verdict::Pass);
            if n % 1000 == 0 {
                phone_through += usize::from(limiter.check(now, phone, || true) == Verdict::Pass);
            }
        }
        assert_eq!(limiter.memory(), memory);
        assert_eq!(phone_through, 1000);
        // Burst plus one second's worth, whatever the number of sources.
        assert!((55_000..=60_001).contains(&through), "{through}");
        assert!(memory <= 2 * 65_536 * 16 + 2 * 64, "{memory}");
    }

    #[test]
    fn inventing_addresses_does_not_buy_a_fresh_bucket_once_the_table_is_full() {
        let t0 = start();
        let config = RateConfig { buckets: 1024, all_strangers: None, ..RateConfig::default() };
        let mut limiter = RateLimiter::new(&config, t0, [9; 16]);
        let mut through = 0u32;
        for round in 0..200 {
            for n in 0..10_000u32 {
                let source = IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + round * 10_000 + n));
                through += u32::from(limiter.check(t0, source, || false) == Verdict::Pass);
            }
        }
        assert!(through <= 1024 * 120, "{through}");
    }

    #[test]
    fn an_unproven_offence_halves_the_rate_and_is_forgiven_after_quiet_minutes() {
        let t0 = start();
        let mut limiter = limiter(t0);
        let source = ip("203.0.113.9");
        limiter.penalise(t0, source);
        assert_eq!(passed(&mut limiter, t0, source, 1000, false), 60);
        assert_eq!(passed(&mut limiter, t0 + Duration::from_secs(1), source, 1000, false), 30);
        for _ in 0..20 {
            limiter.penalise(t0 + Duration::from_secs(1), source);
        }
        let quiet = t0 + Duration::from_secs(10 * 60);
        assert_eq!(passed(&mut limiter, quiet, source, 1000, false), 120);
    }

    #[test]
    fn a_rate_of_zero_is_moved_to_the_smallest_that_can_be_kept() {
        let t0 = start();
        let config = RateConfig { stranger: Some(Rate::new(0, 0)), ..RateConfig::default() };
        let mut limiter = RateLimiter::new(&config, t0, [3; 16]);
        assert_eq!(passed(&mut limiter, t0, ip("203.0.113.9"), 10, false), 1);
        assert_eq!(passed(&mut limiter, t0 + Duration::from_secs(1), ip("203.0.113.9"), 10, false), 1);
    }
}
