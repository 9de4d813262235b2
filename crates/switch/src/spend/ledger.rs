//! One account: what was spent by day and by month, what is set aside, and how fast its calls spend.

use std::collections::BTreeMap;

use crate::money::Millionths;
use crate::record::LocalDay;

/// Days and months that are remembered: the newest, the one before it (steps that began there are given back), and one
/// more for a step that is charged ahead of midnight.
const REMEMBERED: usize = 3;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    days: BTreeMap<LocalDay, Millionths>,
    months: BTreeMap<u32, Millionths>,
    held: Millionths,
    /// What its calls cost together in a minute.
    burn: Millionths,
    calls: u32,
}

impl Ledger {
    pub fn add(&mut self, day: LocalDay, amount: i64) {
        add(&mut self.days, day, amount);
        add(&mut self.months, day.month(), amount);
    }

    pub fn spent_on(&self, day: LocalDay) -> Millionths {
        self.days.get(&day).copied().unwrap_or(0)
    }

    pub fn spent_in(&self, month: u32) -> Millionths {
        self.months.get(&month).copied().unwrap_or(0)
    }

    /// Spent on that day or on a later one, whichever has more, and set aside: what is held may be spent on either.
    pub fn bound_on(&self, day: LocalDay) -> Millionths {
        bound(&self.days, day).saturating_add(self.held)
    }

    /// The same for a month.
    pub fn bound_in(&self, month: u32) -> Millionths {
        bound(&self.months, month).saturating_add(self.held)
    }

    pub fn held(&self) -> Millionths {
        self.held
    }

    pub fn burn(&self) -> Millionths {
        self.burn
    }

    /// Calls that cost something just now.
    pub fn calls(&self) -> u32 {
        self.calls
    }

    pub fn hold(&mut self, amount: Millionths) {
        self.held = self.held.saturating_add(amount);
    }

    pub fn release(&mut self, amount: Millionths) {
        self.held = self.held.saturating_sub(amount);
    }

    pub fn begin(&mut self, per_minute: Millionths) {
        self.burn = self.burn.saturating_add(per_minute);
        self.calls += 1;
    }

    pub fn end(&mut self, per_minute: Millionths) {
        self.burn = self.burn.saturating_sub(per_minute);
        self.calls = self.calls.saturating_sub(1);
    }
}

fn add<K: Ord + Copy>(sums: &mut BTreeMap<K, Millionths>, key: K, amount: i64) {
    let sum = sums.entry(key).or_default();
    *sum = sum.saturating_add_signed(amount);
    while sums.len() > REMEMBERED {
        sums.pop_first();
    }
}

fn bound<K: Ord>(sums: &BTreeMap<K, Millionths>, from: K) -> Millionths {
    sums.range(from..).map(|(_, sum)| *sum).max().unwrap_or(0)
}
