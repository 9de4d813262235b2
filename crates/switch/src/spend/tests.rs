//! The arithmetic of spending, without calls.

use std::collections::BTreeMap;

use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::model::{CallId, ExtensionId, Rate, TenantId, TrunkId};

const TENANT: TenantId = TenantId(1);
const TODAY: LocalDay = LocalDay(20_261_127);

fn rate(per_minute: u64, connection: u64, first_s: u32, step_s: u32) -> Rate {
    Rate { prefix: "44".into(), per_minute, connection, first_s, step_s }
}

fn meter(call: u64, rate: Rate) -> Meter {
    Meter::new(CallId(call), TENANT, TrunkId(1), Some(ExtensionId(1)), rate).in_currency("EUR")
}

fn limits(per_call: Option<u64>, per_day: Option<u64>, per_month: Option<u64>) -> SpendLimits {
    SpendLimits { per_call, per_day, per_month }
}

/// The extension's limits; tenant and trunk have none.
fn payers(of_extension: SpendLimits) -> Payers {
    let none = SpendLimits::default();
    [
        (Account::Tenant(TENANT), none),
        (Account::Trunk(TrunkId(1)), none),
        (Account::Extension(ExtensionId(1)), of_extension),
    ]
    .into_iter()
    .collect()
}

fn spent(spending: &Spending, account: Account) -> (u64, u64, u64) {
    let ledger = spending.ledger(account).unwrap();
    (ledger.spent_on(TODAY), ledger.spent_in(TODAY.month()), ledger.held())
}

#[test]
fn what_is_held_is_not_there_for_another_call() {
    let mut spending = Spending::default();
    let payers = payers(limits(None, Some(100), None));
    spending.hold(&payers, TODAY, 60).unwrap();
    let short = spending.hold(&payers, TODAY, 60).unwrap_err();
    assert_eq!((short.limit, short.left, short.of), (Limit::Day, 40, 100));
    assert_eq!(short.account, Account::Extension(ExtensionId(1)));
    assert_eq!(spent(&spending, Account::Trunk(TrunkId(1))), (0, 0, 60));
    spending.release(payers.iter().map(|(account, _)| *account), 60);
    spending.hold(&payers, TODAY, 100).unwrap();
}

#[test]
fn the_limit_that_leaves_the_least_decides() {
    let mut spending = Spending::default();
    for (amount, day) in [(500, 20_261_126), (30, 20_261_127), (999, 20_261_031)] {
        let (account, day) = (Account::Extension(ExtensionId(1)), LocalDay(day));
        spending.restore(&SpentTotal { account, day, amount, currency: "EUR".into() });
    }
    let room = |limits| spending.room(&payers(limits), TODAY, 7).map(|room| (room.limit, room.left));
    assert_eq!(room(limits(None, None, None)), None);
    assert_eq!(room(limits(None, Some(100), None)), Some((Limit::Day, 70)));
    assert_eq!(room(limits(None, Some(100), Some(560))), Some((Limit::Month, 30)));
    assert_eq!(room(limits(Some(10), Some(100), Some(560))), Some((Limit::Call, 3)));
    assert_eq!(room(limits(None, Some(10), None)), Some((Limit::Day, 0)), "a limit that was lowered");
}

#[test]
fn a_call_pays_step_by_step_until_a_step_is_not_covered_and_gets_back_what_it_did_not_use() {
    let mut spending = Spending::default();
    let payers = payers(limits(None, Some(1_000), None));
    let mut meter = meter(1, rate(600, 50, 30, 6));
    assert_eq!(Meter::first(&meter.rate), 350);
    assert_eq!(meter.answer(&mut spending, TODAY).amount, 350);
    assert_eq!((meter.paid_s(), meter.seconds_for(650)), (30, Some(60)));
    let advance = meter.advance(&mut spending, &payers, 10, |_| TODAY);
    assert_eq!((meter.paid_s(), advance.spent[0].amount), (42, 120), "two steps of six seconds");
    assert!(advance.short.is_none());
    let advance = meter.advance(&mut spending, &payers, 1_000, |_| TODAY);
    assert_eq!((meter.paid_s(), meter.charged()), (90, 950), "as far as it goes");
    assert!(advance.short.is_none(), "some of it went");
    let advance = meter.advance(&mut spending, &payers, 6, |_| TODAY);
    assert_eq!(advance.short.map(|room| (room.limit, room.left)), Some((Limit::Day, 50)));
    assert!(advance.spent.is_empty());
    let back = meter.settle(&mut spending, 80, TODAY);
    assert_eq!((back[0].amount, meter.cost().amount), (-60, 890), "84 seconds are charged");
    for account in meter.accounts() {
        assert_eq!(spent(&spending, account), (890, 890, 0));
    }
}

#[test]
fn a_call_over_midnight_charges_each_step_to_the_day_it_begins_in() {
    let mut spending = Spending::default();
    let (today, tomorrow) = (LocalDay(20_261_130), LocalDay(20_261_201));
    let mut meter = meter(1, rate(60, 5, 10, 10));
    meter.answer(&mut spending, today);
    let day_of = |second| if second < 25 { today } else { tomorrow };
    let payers = payers(limits(None, Some(40), None));
    let advance = meter.advance(&mut spending, &payers, 40, day_of);
    let by_day: Vec<_> = advance.spent.iter().map(|spent| (spent.day, spent.amount)).collect();
    assert_eq!(by_day, [(today, 20), (tomorrow, 20)], "10 to 30 s began before midnight");
    let ledger = spending.ledger(Account::Trunk(TrunkId(1))).unwrap();
    assert_eq!((ledger.spent_on(today), ledger.spent_on(tomorrow), ledger.spent_in(202_612)), (35, 20, 20));
    let back: Vec<_> = meter.settle(&mut spending, 15, tomorrow).iter().map(|s| (s.day, s.amount)).collect();
    assert_eq!(back, [(tomorrow, -20), (today, -10)], "the newest steps first");
}

#[test]
fn what_is_held_over_midnight_is_covered_on_the_new_day_too() {
    let mut spending = Spending::default();
    let (today, tomorrow) = (TODAY, LocalDay(20_261_128));
    let payers = payers(limits(None, Some(100), None));
    let mut ahead = meter(1, rate(60, 0, 60, 60));
    ahead.answer(&mut spending, tomorrow);
    assert_eq!(spending.room(&payers, today, 0).unwrap().left, 40, "what is charged ahead of midnight counts already");
    spending.hold(&payers, today, 40).unwrap();
    assert!(spending.hold(&payers, tomorrow, 1).is_err());
}

#[test]
fn time_that_nobody_watched_is_charged_all_the_same() {
    let mut spending = Spending::default();
    let mut meter = meter(1, rate(60, 0, 1, 1));
    meter.answer(&mut spending, TODAY);
    let late = meter.settle(&mut spending, 100, TODAY);
    assert_eq!((late[0].amount, meter.charged()), (99, 100));
}

#[test]
fn calls_that_share_an_account_share_what_is_left_of_it() {
    let mut spending = Spending::default();
    let payers = payers(limits(None, Some(1_000), None));
    let mut one = meter(1, rate(600, 0, 1, 1));
    one.answer(&mut spending, TODAY);
    spending.begin(one.accounts(), 600);
    assert_eq!(spending.seconds_left(&payers, TODAY, &one), Some(99));
    spending.begin(one.accounts(), 600);
    assert_eq!(spending.seconds_left(&payers, TODAY, &one), Some(49));
    spending.end(one.accounts(), 600);
    assert_eq!(spending.seconds_left(&payers, TODAY, &one), Some(99));
    assert_eq!(spending.seconds_left(&self::payers(limits(None, None, None)), TODAY, &one), None);
    let free = meter(2, rate(0, 0, 1, 1));
    assert_eq!(spending.seconds_left(&payers, TODAY, &free), None, "free calls go on");
}

/// Calls that begin, go on, end and are answered in any order, over midnights: no limit is ever passed, and what is journaled
/// adds up to what is in memory.
#[test]
fn no_order_of_events_spends_more_than_a_limit() {
    for seed in 0..300 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut spending = Spending::default();
        let mut day = 1;
        let on = |day: u32| LocalDay(20_261_100 + day);
        let limits = limits(
            rng.random_bool(0.5).then(|| rng.random_range(100..2_000)),
            rng.random_bool(0.8).then(|| rng.random_range(100..5_000)),
            rng.random_bool(0.5).then(|| rng.random_range(500..9_000)),
        );
        let payers = payers(limits);
        let mut journal: BTreeMap<LocalDay, i64> = BTreeMap::new();
        let mut held: Vec<Meter> = Vec::new();
        let mut up: Vec<Meter> = Vec::new();
        for step in 0..400 {
            let mut told: Vec<Spent> = Vec::new();
            match rng.random_range(0..10u8) {
                0..=2 => {
                    let rate = rate(
                        rng.random_range(0..900),
                        rng.random_range(0..100),
                        rng.random_range(0..70),
                        rng.random_range(1..70),
                    );
                    let meter = meter(step, rate);
                    let amount = Meter::first(&meter.rate);
                    if spending.covers(&payers, on(day), 0, amount).is_ok() {
                        spending.hold(&payers, on(day), amount).unwrap();
                        held.push(meter);
                    } else {
                        assert!(spending.hold(&payers, on(day), amount).is_err());
                    }
                }
                3 | 4 if !held.is_empty() => {
                    let mut meter = held.swap_remove(rng.random_range(0..held.len()));
                    spending.release(meter.accounts(), Meter::first(&meter.rate));
                    if rng.random_bool(0.8) {
                        told.push(meter.answer(&mut spending, on(day)));
                        up.push(meter);
                    }
                }
                5..=7 if !up.is_empty() => {
                    let index = rng.random_range(0..up.len());
                    let ahead = rng.random_bool(0.2);
                    let before = up[index].paid_s();
                    let day_of = |second| on(day + u32::from(ahead && second > before));
                    let advance = up[index].advance(&mut spending, &payers, rng.random_range(1..90), day_of);
                    if ahead && advance.spent.iter().any(|spent| spent.day > on(day)) {
                        day += 1;
                    }
                    told.extend(advance.spent);
                }
                8 if !up.is_empty() => {
                    let mut meter = up.swap_remove(rng.random_range(0..up.len()));
                    let least = meter.paid_s().saturating_sub(90);
                    let mut seconds = rng.random_range(least..=meter.paid_s());
                    // Days fly here; what is given back is never older than a minute.
                    let last: u64 = meter.days.iter().map(|(_, amount)| amount).sum();
                    while meter.rate.charge(seconds.max(1)) + last < meter.charged() {
                        seconds += 1;
                    }
                    told.extend(meter.settle(&mut spending, seconds, on(day)));
                    assert_eq!(meter.charged(), meter.rate.charge(seconds.max(1)), "seed {seed}");
                }
                9 if day < 25 && rng.random_bool(0.1) => day += 1,
                _ => {}
            }
            for spent in told {
                *journal.entry(spent.day).or_default() += spent.amount;
            }
            let ledger = spending.ledger(Account::Extension(ExtensionId(1)));
            for (day, sum) in journal.iter().rev().take(2) {
                let sum = u64::try_from(*sum).unwrap();
                assert_eq!(ledger.unwrap().spent_on(*day), sum, "seed {seed}");
                assert!(limits.per_day.is_none_or(|limit| sum <= limit), "seed {seed}: {sum}");
            }
            let month: i64 = journal.values().sum();
            assert!(
                limits.per_month.is_none_or(|limit| month <= i64::try_from(limit).unwrap()),
                "seed {seed}: {month}"
            );
            for meter in &up {
                assert!(limits.per_call.is_none_or(|limit| meter.charged() <= limit), "seed {seed}");
            }
        }
    }
}
