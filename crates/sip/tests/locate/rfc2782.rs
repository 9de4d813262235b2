//! The order of SRV records: priority, weight, weight 0, no service. The draw is held to its distribution.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;
use ringfort_sip::locate::*;

use crate::world::{World, name};

fn srv(priority: u16, weight: u16, target: &str) -> Arc<Srv> {
    Arc::new(Srv { priority, weight, port: 5060, target: name(target) })
}

const DRAWS: u32 = 10_000;

/// How often each record came first (or, of those left, at `place`).
fn draw(records: &[Arc<Srv>], place: usize, seed: u8) -> BTreeMap<String, u32> {
    let mut rng = ChaCha12Rng::from_seed([seed; 32]);
    let mut counts = BTreeMap::new();
    for _ in 0..DRAWS {
        let ordered = order_srv(records, &mut rng);
        assert_eq!(ordered.len(), records.len());
        *counts.entry(ordered[place].target.to_string()).or_insert(0) += 1;
    }
    counts
}

/// Σ (observed − expected)² / expected.
fn chi_square(observed: &BTreeMap<String, u32>, probability: &[(&str, f64)]) -> f64 {
    let sum: f64 = probability.iter().map(|(_, p)| p).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    probability
        .iter()
        .map(|(target, p)| {
            let expected = p * f64::from(DRAWS);
            let got = f64::from(observed.get(*target).copied().unwrap_or(0));
            (got - expected).powi(2) / expected
        })
        .sum()
}

/// "Choose a uniform random number between 0 and the sum computed (inclusive)": of sum + 1 numbers the first record in
/// the list has one more than its weight. With weights 10, 20, 30, 40 there are 101.
#[test]
fn rfc2782_the_draw_follows_the_weights() {
    let records = [srv(1, 40, "d"), srv(1, 10, "a"), srv(1, 30, "c"), srv(1, 20, "b")];
    let expected = [("a", 11.0 / 101.0), ("b", 20.0 / 101.0), ("c", 30.0 / 101.0), ("d", 40.0 / 101.0)];
    for seed in 1..=5 {
        // Three degrees of freedom: 16.27 is passed by one draw in a thousand.
        let chi = chi_square(&draw(&records, 0, seed), &expected);
        assert!(chi < 16.27, "seed {seed}: {chi}");
    }
    // A draw that did not look at weights would be far outside.
    let even = [("a", 0.25), ("b", 0.25), ("c", 0.25), ("d", 0.25)];
    assert!(chi_square(&draw(&records, 0, 1), &even) > 1000.0);
}

/// The second place is drawn among those that are left, by their weights.
#[test]
fn rfc2782_the_second_draw_is_among_those_that_are_left() {
    let records = [srv(1, 1000, "a"), srv(1, 2000, "b"), srv(1, 3000, "c")];
    let weight = |at: usize| f64::from(records[at].weight);
    let sum = 6000.0;
    // P(second = x) = Σ over first ≠ x of P(first) · w(x) / (sum − w(first)); the odd one of 6001 numbers is too
    // little to be seen in so many draws.
    let second = |at: usize| {
        let firsts = (0..3).filter(|first| *first != at);
        firsts.map(|first| weight(first) / sum * weight(at) / (sum - weight(first))).sum::<f64>()
    };
    let expected = [("a", second(0)), ("b", second(1)), ("c", second(2))];
    let chi = chi_square(&draw(&records, 1, 3), &expected);
    assert!(chi < 13.82, "two degrees of freedom, one in a thousand: {chi}");
}

/// "In the presence of records containing weights greater than 0, records with weight 0 should have a very small chance".
#[test]
fn rfc2782_weight_0_comes_first_seldom_beside_others_and_evenly_not_at_all_alone() {
    let counts = draw(&[srv(1, 0, "zero"), srv(1, 99, "heavy")], 0, 1);
    let chi = chi_square(&counts, &[("zero", 0.01), ("heavy", 0.99)]);
    assert!(chi < 10.83, "one number of a hundred: {chi}");
    let alone = draw(&[srv(1, 0, "b"), srv(1, 0, "a")], 0, 1);
    assert_eq!(alone, BTreeMap::from([("a".to_owned(), DRAWS)]), "no selection to do: the same order each time");
}

#[test]
fn rfc2782_a_lower_priority_always_comes_first() {
    let records = [srv(20, 60_000, "late"), srv(10, 1, "early"), srv(10, 0, "zero"), srv(30, 65_535, "last")];
    let mut rng = ChaCha12Rng::from_seed([9; 32]);
    for _ in 0..1000 {
        let order: Vec<u16> = order_srv(&records, &mut rng).iter().map(|srv| srv.priority).collect();
        assert_eq!(order, [10, 10, 20, 30]);
    }
}

#[test]
fn the_draw_replays_from_its_seed_whichever_order_the_records_came_in() {
    let mut records: Vec<_> = (0..12).map(|n| srv(n % 3, n * 7, &format!("h{n}"))).collect();
    let order = |records: &[Arc<Srv>]| order_srv(records, &mut ChaCha12Rng::from_seed([5; 32]));
    let first = order(&records);
    records.reverse();
    assert_eq!(order(&records), first);
}

#[test]
fn rfc2782_the_target_dot_says_that_there_is_no_service_and_no_address_is_tried() {
    let mut world = World::new(
        "_sip._udp.example.org 300 SRV 0 0 0 .
         example.org 300 A 192.0.2.80",
    );
    let located = world.locate("sip:a@example.org");
    assert_eq!(located.result, Err(LocateError::NoService));
    assert_eq!(located.trace.notes, [Note::NoService(name("_sip._udp.example.org"))]);
    let mut world = World::new(
        "_sip._udp.example.org 300 SRV 0 0 0 .
         _sip._tcp.example.org 300 SRV 0 0 5060 example.org
         example.org 300 A 192.0.2.80",
    );
    assert_eq!(world.targets("sip:a@example.org"), ["TCP 192.0.2.80:5060"], "another transport is there");
}

#[test]
fn records_without_a_port_are_of_no_use() {
    let mut world = World::new(
        "_sip._udp.example.org 300 SRV 0 0 0 a.example.org
         _sip._udp.example.org 300 SRV 1 0 5070 a.example.org
         a.example.org 300 A 192.0.2.80",
    );
    assert_eq!(world.targets("sip:a@example.org"), ["UDP 192.0.2.80:5070"]);
}
