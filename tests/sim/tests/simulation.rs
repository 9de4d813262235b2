//! 100,000 calls in random systems, split so that all cores have work. `RINGFORT_SIM_CALLS` makes it more or fewer,
//! `RINGFORT_SIM_SEED` runs one seed alone.

use std::ops::Range;

use ringfort_sim::world::Summary;

/// Calls of one run: enough for state to build up, few enough for a failure to be read.
const CALLS_PER_RUN: usize = 250;
/// Tests below.
const PARTS: u64 = 8;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// The seeds of one part.
fn seeds(part: u64) -> Range<u64> {
    if let Some(seed) = setting("RINGFORT_SIM_SEED") {
        return if part == 0 { seed..seed + 1 } else { 0..0 };
    }
    let calls = setting("RINGFORT_SIM_CALLS").unwrap_or(106_000);
    let runs = calls.div_ceil(CALLS_PER_RUN as u64 * PARTS).max(1);
    part * runs + 1..(part + 1) * runs + 1
}

fn run_part(part: u64) {
    let calls = setting("RINGFORT_SIM_CALLS_PER_RUN").map_or(CALLS_PER_RUN, |calls| calls as usize);
    let seeds = seeds(part);
    let many = seeds.clone().count() * calls > 10_000;
    let mut sum = Summary::default();
    for seed in seeds {
        match ringfort_sim::check(seed, calls, false) {
            Ok(summary) => sum.add(&summary),
            Err(report) => panic!("{report}"),
        }
    }
    println!("{sum:?}");
    // That nothing is broken says something only where there was something to break.
    let there = [sum.left, sum.failed_over, sum.arrived, sum.proven, sum.strays, sum.bans, sum.restarts];
    assert!(!many || there.iter().all(|&count| count > 0), "some of it never happened: {sum:?}");
}

macro_rules! parts {
    ($($name:ident = $part:literal),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                run_part($part);
            }
        )*
    };
}

parts! {
    random_systems_keep_every_invariant_part_1 = 0,
    random_systems_keep_every_invariant_part_2 = 1,
    random_systems_keep_every_invariant_part_3 = 2,
    random_systems_keep_every_invariant_part_4 = 3,
    random_systems_keep_every_invariant_part_5 = 4,
    random_systems_keep_every_invariant_part_6 = 5,
    random_systems_keep_every_invariant_part_7 = 6,
    random_systems_keep_every_invariant_part_8 = 7,
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let first = ringfort_sim::run(&ringfort_sim::plan::draw(42, 60), false).0;
    let again = ringfort_sim::run(&ringfort_sim::plan::draw(42, 60), false).0;
    assert_eq!(first.map_err(|failure| failure.violations), again.map_err(|failure| failure.violations));
}

/// With the real relay and tones: who is in a call hears the other one, and never anybody else (CALL-5).
#[test]
fn phones_hear_their_peer_and_nobody_else() {
    let (mut listened, mut heard) = (0, 0);
    for seed in 1..=8 {
        match ringfort_sim::check(seed, 40, true) {
            Ok(summary) => {
                listened += summary.listened;
                heard += summary.heard;
            }
            Err(report) => panic!("{report}"),
        }
    }
    assert!(listened > 100, "only {listened} ends of calls listened");
    // Some calls are on hold from beginning to end, or talk to a phone that has lost power.
    assert!(heard * 10 > listened * 9, "{heard} of {listened} ends of calls heard their peer");
}
