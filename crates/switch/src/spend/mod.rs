//! Spending (DOM-8) as arithmetic: what tenants, extensions and trunks have spent and hold, whether a call's next step is
//! covered, and what a call has cost so far. No clock and no call control: `call/paying.rs` has those.
//!
//! Nothing begins before it is held or charged, so that calls side by side never spend what only one of them can.

mod ledger;
mod meter;
mod report;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

pub(crate) use ledger::Ledger;
pub(crate) use meter::{Meter, accounts};

use crate::model::SpendLimits;
use crate::money::Millionths;
use crate::record::{Account, LocalDay, Spent, SpentTotal};

/// Those who pay for one call, each with what it may spend.
pub(crate) type Payers = SmallVec<[(Account, SpendLimits); 3]>;

/// Which limit says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Call,
    Day,
    Month,
}

impl Limit {
    pub fn rule(self) -> &'static str {
        match self {
            Limit::Call => "spending.call",
            Limit::Day => "spending.day",
            Limit::Month => "spending.month",
        }
    }
}

/// The rule for calls that nobody knows the price of.
pub(crate) const UNRATED: &str = "spending.unrated";

/// What is left under the limit that leaves the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub left: Millionths,
    pub limit: Limit,
    pub account: Account,
    /// How high the limit is.
    pub of: Millionths,
}

/// All accounts, in one currency.
#[derive(Debug, Default)]
pub(crate) struct Spending {
    ledgers: FxHashMap<Account, Ledger>,
}

impl Spending {
    /// What was spent before this process began.
    pub fn restore(&mut self, total: &SpentTotal) {
        let amount = i64::try_from(total.amount).unwrap_or(i64::MAX);
        self.ledgers.entry(total.account).or_default().add(total.day, amount);
    }

    pub fn ledger(&self, account: Account) -> Option<&Ledger> {
        self.ledgers.get(&account)
    }

    /// What may still be spent by a call that has cost `so_far`; `None`: without a limit.
    pub fn room(&self, payers: &Payers, day: LocalDay, so_far: Millionths) -> Option<Room> {
        let none = Ledger::default();
        let mut least: Option<Room> = None;
        for (account, limits) in payers {
            let ledger = self.ledgers.get(account).unwrap_or(&none);
            let call = limits.per_call.map(|of| (Limit::Call, of, so_far));
            let on_day = limits.per_day.map(|of| (Limit::Day, of, ledger.bound_on(day)));
            let in_month = limits.per_month.map(|of| (Limit::Month, of, ledger.bound_in(day.month())));
            for (limit, of, bound) in [call, on_day, in_month].into_iter().flatten() {
                let room = Room { left: of.saturating_sub(bound), limit, account: *account, of };
                if least.is_none_or(|least| room.left < least.left) {
                    least = Some(room);
                }
            }
        }
        least
    }

    /// Sets an amount aside for a call that may be answered.
    ///
    /// # Errors
    /// The limit under which it does not fit; nothing is set aside then.
    pub fn hold(&mut self, payers: &Payers, day: LocalDay, amount: Millionths) -> Result<(), Room> {
        self.covers(payers, day, 0, amount)?;
        self.each(payers, |ledger| ledger.hold(amount));
        Ok(())
    }

    /// Whether the limits leave room for an amount.
    ///
    /// # Errors
    /// The limit under which it does not fit.
    pub fn covers(&self, payers: &Payers, day: LocalDay, so_far: Millionths, amount: Millionths) -> Result<(), Room> {
        match self.room(payers, day, so_far) {
            Some(room) if room.left < amount => Err(room),
            Some(_) | None => Ok(()),
        }
    }

    /// What was set aside is free again.
    pub fn release(&mut self, accounts: impl Iterator<Item = Account>, amount: Millionths) {
        for account in accounts {
            self.ledgers.entry(account).or_default().release(amount);
        }
    }

    /// Takes down what was spent, or given back.
    pub fn charge(&mut self, spent: &Spent) {
        for account in spent.accounts() {
            self.ledgers.entry(account).or_default().add(spent.day, spent.amount);
        }
    }

    /// A call that costs so much a minute has begun for these.
    pub fn begin(&mut self, accounts: impl Iterator<Item = Account>, per_minute: Millionths) {
        for account in accounts {
            self.ledgers.entry(account).or_default().begin(per_minute);
        }
    }

    /// It is over.
    pub fn end(&mut self, accounts: impl Iterator<Item = Account>, per_minute: Millionths) {
        for account in accounts {
            self.ledgers.entry(account).or_default().end(per_minute);
        }
    }

    fn each(&mut self, payers: &Payers, change: impl Fn(&mut Ledger)) {
        for (account, _) in payers {
            change(self.ledgers.entry(*account).or_default());
        }
    }

    /// Seconds for which a call can go on with what is left, when those that share its accounts go on as well. `None`: without
    /// end.
    pub fn seconds_left(&self, payers: &Payers, day: LocalDay, meter: &Meter) -> Option<u64> {
        let mut least: Option<u64> = None;
        let mut take = |seconds: Option<u64>| least = least.into_iter().chain(seconds).min();
        for payer in payers {
            let one: Payers = std::iter::once(*payer).collect();
            let Some(room) = self.room(&one, day, meter.charged()) else { continue };
            let Some(alone) = meter.seconds_for(room.left) else { continue };
            take(Some(alone));
            let burn = self.ledgers.get(&payer.0).map_or(0, Ledger::burn);
            let shared = u128::from(room.left) * 60 / u128::from(burn.max(1));
            let is_shared = room.limit != Limit::Call && burn > meter.per_minute();
            take(is_shared.then(|| u64::try_from(shared).unwrap_or(u64::MAX)));
        }
        least
    }
}

#[cfg(test)]
mod tests;
