//! What one answered call costs: seconds that are paid for, in the steps of its rate, and what is given back at its end.

use smallvec::SmallVec;

use super::{Payers, Room, Spending};
use crate::model::{CallId, ExtensionId, Rate, TenantId, TrunkId};
use crate::money::Millionths;
use crate::record::{Account, Cost, LocalDay, Spent};

/// Parts of an amount by the day that they count for.
type ByDay = SmallVec<[(LocalDay, Millionths); 2]>;

/// A call that is paid for.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    call: CallId,
    tenant: TenantId,
    extension: Option<ExtensionId>,
    trunk: TrunkId,
    pub(super) rate: Rate,
    currency: String,
    /// Seconds of the call that are paid for.
    paid_s: u64,
    charged: Millionths,
    /// What was charged on the last two days: what is given back belongs to the newest steps.
    pub(super) days: ByDay,
    /// The caller has heard that it will be over soon.
    pub warned: bool,
}

/// What became of going on.
#[derive(Debug)]
pub(crate) struct Advance {
    pub spent: SmallVec<[Spent; 2]>,
    /// The next step is not covered: not a second more is paid for.
    pub short: Option<Room>,
}

impl Meter {
    pub fn new(call: CallId, tenant: TenantId, trunk: TrunkId, extension: Option<ExtensionId>, rate: Rate) -> Self {
        Self {
            call,
            tenant,
            extension,
            trunk,
            rate,
            currency: String::new(),
            paid_s: 0,
            charged: 0,
            days: ByDay::new(),
            warned: false,
        }
    }

    pub fn in_currency(self, currency: &str) -> Self {
        Self { currency: currency.to_owned(), ..self }
    }

    /// What an answered call costs at once: the connection and the first step.
    pub fn first(rate: &Rate) -> Millionths {
        rate.charge(1)
    }

    pub fn accounts(&self) -> impl Iterator<Item = Account> + use<> {
        accounts(self.tenant, self.trunk, self.extension)
    }

    pub fn per_minute(&self) -> Millionths {
        self.rate.per_minute
    }

    pub fn charged(&self) -> Millionths {
        self.charged
    }

    pub fn paid_s(&self) -> u64 {
        self.paid_s
    }

    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    pub fn extension(&self) -> Option<ExtensionId> {
        self.extension
    }

    pub fn trunk(&self) -> TrunkId {
        self.trunk
    }

    pub fn currency(&self) -> &str {
        &self.currency
    }

    pub fn cost(&self) -> Cost {
        Cost { amount: self.charged, currency: self.currency.clone() }
    }

    /// The call is answered: the first step, which was held, is charged whatever the limits say by now.
    pub fn answer(&mut self, spending: &mut Spending, day: LocalDay) -> Spent {
        self.paid_s = self.rate.charged_seconds(1);
        let amount = self.rate.charge(1);
        self.take(spending, day, amount)
    }

    /// Pays for at least `seconds` more, step by step, as far as the limits go. `day_of`: the day on which a second of the
    /// call begins.
    pub fn advance(
        &mut self,
        spending: &mut Spending,
        payers: &Payers,
        seconds: u64,
        day_of: impl Fn(u64) -> LocalDay,
    ) -> Advance {
        let target = self.paid_s.saturating_add(seconds);
        let mut days = ByDay::new();
        let mut short = None;
        while self.paid_s < target {
            let (next, amount) = self.next_step();
            let day = day_of(self.paid_s);
            if let Err(room) = spending.covers(payers, day, self.charged, amount) {
                short = days.is_empty().then_some(room);
                break;
            }
            self.take(spending, day, amount);
            self.paid_s = next;
            add(&mut days, day, amount);
        }
        let spent = days.into_iter().filter(|(_, amount)| *amount > 0);
        Advance { spent: spent.map(|(day, amount)| self.spent(day, signed(amount))).collect(), short }
    }

    /// The call is over after so many seconds (a begun one counts): what was paid ahead is given back, and what it went on
    /// for beyond is charged.
    pub fn settle(&mut self, spending: &mut Spending, seconds: u64, today: LocalDay) -> SmallVec<[Spent; 2]> {
        let due = self.rate.charge(seconds.max(1));
        let mut changes = SmallVec::new();
        if due > self.charged {
            changes.push(self.take(spending, today, due - self.charged));
        }
        let mut back = self.charged - due;
        while back > 0 {
            let Some((day, amount)) = self.days.pop() else { break };
            let part = amount.min(back);
            back -= part;
            self.charged -= part;
            if part < amount {
                self.days.push((day, amount - part));
            }
            let spent = self.spent(day, -signed(part));
            spending.charge(&spent);
            changes.push(spent);
        }
        changes
    }

    /// How many seconds more an amount pays for beyond those that are paid; `None`: without end.
    pub fn seconds_for(&self, amount: Millionths) -> Option<u64> {
        let step = u64::from(self.rate.step_s.max(1));
        let cost = u128::from(self.rate.per_minute) * u128::from(step);
        let steps = (u128::from(amount) * 60).checked_div(cost)?;
        Some(u64::try_from(steps).unwrap_or(u64::MAX).saturating_mul(step))
    }

    /// The seconds that are paid after one more step, and what it costs.
    fn next_step(&self) -> (u64, Millionths) {
        let next = self.rate.charged_seconds(self.paid_s.saturating_add(1));
        (next, self.rate.charge(next).saturating_sub(self.rate.charge(self.paid_s)))
    }

    fn take(&mut self, spending: &mut Spending, day: LocalDay, amount: Millionths) -> Spent {
        let spent = self.spent(day, signed(amount));
        spending.charge(&spent);
        self.charged = self.charged.saturating_add(amount);
        add(&mut self.days, day, amount);
        if self.days.len() > 2 {
            self.days.remove(0);
        }
        spent
    }

    fn spent(&self, day: LocalDay, amount: i64) -> Spent {
        let Self { call, tenant, extension, trunk, .. } = *self;
        Spent { call, tenant, extension, trunk, day, amount, currency: self.currency.clone() }
    }
}

/// Those whose money a call by a trunk is.
pub(crate) fn accounts(
    tenant: TenantId,
    trunk: TrunkId,
    extension: Option<ExtensionId>,
) -> impl Iterator<Item = Account> + use<> {
    let extension = extension.map(Account::Extension);
    [Account::Tenant(tenant), Account::Trunk(trunk)].into_iter().chain(extension)
}

fn add(days: &mut ByDay, day: LocalDay, amount: Millionths) {
    match days.last_mut() {
        Some((last, sum)) if *last == day => *sum = sum.saturating_add(amount),
        _ => days.push((day, amount)),
    }
}

fn signed(amount: Millionths) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
