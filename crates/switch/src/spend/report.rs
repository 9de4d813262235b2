//! What an operator is told of spending: `ctl spending`, `/metrics`, and what `ctl route explain` says of a call's cost.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::Switch;
use crate::io::{CommandReply, Level, RouteAnswer, RouteTrunk, SpendingCounts, SpendingItem, of_tenant};
use crate::model::{Extension, SpendLimits, TenantId, TrunkId};
use crate::money::{self, Millionths};
use crate::record::{Account, LocalDay};
use crate::route::{Step, TrunkPlan};

use super::Ledger;

impl Switch {
    /// All accounts that have a limit or have spent, or the one of that name: an extension's number, `trunk:NAME`,
    /// `tenant:NAME`; with `TENANT/` before it those of one tenant alone.
    pub(crate) fn spending_items(&self, now: Instant, name: Option<&str>, extensions: bool) -> CommandReply {
        let site = self.directory.site();
        let tenants = site.tenants.iter().map(|t| (Account::Tenant(t.id), t.id, format!("tenant:{}", t.name)));
        let trunks = site.trunks.values().map(|t| (Account::Trunk(t.id), t.tenant, format!("trunk:{}", t.name)));
        let wanted = site.extensions.values().filter(|_| extensions);
        let extensions = wanted.map(|e| (Account::Extension(e.id), e.tenant, e.number.clone()));
        let (of, bare) = name.map_or((None, None), |name| (of_tenant(name).0, Some(of_tenant(name).1)));
        let mut items = Vec::new();
        for (account, tenant, account_name) in tenants.chain(trunks).chain(extensions) {
            let has_spent = || self.purse.all().any(|(_, spending)| spending.ledger(account).is_some());
            let of_interest = || self.limits_of(account).any() || has_spent();
            let is_asked = |bare| account_name == bare && of.is_none_or(|of| of == self.name_of_tenant(tenant));
            if bare.map_or_else(of_interest, is_asked) {
                self.add_spending(now, account, tenant, &account_name, &mut items);
            }
        }
        match name {
            Some(name) if items.is_empty() => {
                let error =
                    format!("expected an extension's number, trunk:NAME or tenant:NAME, got {name:?}, which is none");
                CommandReply::Refused { error }
            }
            _ => CommandReply::Spending { items, counts: self.spending_counts() },
        }
    }

    fn spending_counts(&self) -> SpendingCounts {
        let refused = self.refusals.iter().filter(|(rule, _)| rule.starts_with("spending."));
        SpendingCounts {
            refused: refused.map(|(rule, count)| ((*rule).to_owned(), *count)).collect(),
            ended: self.purse.ended,
            warned: self.purse.warned,
        }
    }

    /// An account in the currency of its tenant's rates, and behind it what it has spent this month in others.
    fn add_spending(
        &self,
        now: Instant,
        account: Account,
        tenant: TenantId,
        name: &str,
        items: &mut Vec<SpendingItem>,
    ) {
        let day = self.router.day(tenant, self.clock.unix_s(now));
        let currency = self.currency_of(account);
        let none = Ledger::default();
        let own = self.purse.all().find(|(known, _)| Some(*known) == currency);
        let ledger = own.and_then(|(_, spending)| spending.ledger(account));
        let limits = self.limits_of(account);
        items.push(self.spending_item(day, tenant, name, currency, limits, ledger.unwrap_or(&none)));
        for (other, spending) in self.purse.all().filter(|(other, _)| Some(*other) != currency) {
            let ledger = spending.ledger(account).filter(|l| l.spent_in(day.month()) > 0 || l.calls() > 0);
            let Some(ledger) = ledger else { continue };
            items.push(self.spending_item(day, tenant, name, Some(other), SpendLimits::default(), ledger));
        }
    }

    /// That of the rates of an account's tenant; `None`: it has none.
    pub(crate) fn currency_of(&self, account: Account) -> Option<&str> {
        let site = self.directory.site();
        let tenant = match account {
            Account::Tenant(id) => id,
            Account::Extension(id) => site.extensions.get(&id)?.tenant,
            Account::Trunk(id) => site.trunks.get(&id)?.tenant,
        };
        let is_its = |id: &TrunkId| site.trunks.get(id).is_some_and(|trunk| trunk.tenant == tenant);
        site.rates.iter().find(|(id, _)| is_its(id)).map(|(_, table)| table.currency.as_str())
    }

    /// Those of the tenants' rates.
    pub(crate) fn currencies(&self) -> BTreeMap<TenantId, String> {
        let tenants = self.directory.site().tenants.iter().map(|tenant| tenant.id);
        tenants.filter_map(|id| Some((id, self.currency_of(Account::Tenant(id))?.to_owned()))).collect()
    }

    /// The rates of a tenant may have another currency than before.
    pub(crate) fn tell_new_currencies(&mut self, before: &BTreeMap<TenantId, String>) {
        for (tenant, now) in self.currencies() {
            let Some(old) = before.get(&tenant).filter(|old| **old != now) else { continue };
            let text = format!(
                "the rates are in {now} now: limits count what is spent in it from here on, and what was spent in {old} is \
                 kept apart"
            );
            self.notice(Level::Warn, Some(tenant), None, "spending.currency", text);
        }
    }

    fn spending_item(
        &self,
        day: LocalDay,
        tenant: TenantId,
        name: &str,
        currency: Option<&str>,
        limits: SpendLimits,
        ledger: &Ledger,
    ) -> SpendingItem {
        let SpendLimits { per_call, per_day, per_month } = limits;
        let left =
            |limit: Option<Millionths>, bound: Millionths| limit.map(|limit| money::text(limit.saturating_sub(bound)));
        SpendingItem {
            account: name.to_owned(),
            tenant: self.name_of_tenant(tenant).to_owned(),
            currency: currency.map(str::to_owned),
            day: shown(day),
            spent_today: money::text(ledger.spent_on(day)),
            spent_this_month: money::text(ledger.spent_in(day.month())),
            reserved: money::text(ledger.held()),
            calls: ledger.calls(),
            limit_per_call: per_call.map(money::text),
            limit_per_day: per_day.map(money::text),
            limit_per_month: per_month.map(money::text),
            left_today: left(per_day, ledger.bound_on(day)),
            left_this_month: left(per_month, ledger.bound_in(day.month())),
        }
    }

    /// What a call by the trunks of a plan costs, and whether it may be paid for.
    pub(crate) fn explain_cost(
        &self,
        now: Instant,
        caller: &Extension,
        plan: &TrunkPlan,
        answer: &mut RouteAnswer,
    ) -> Vec<RouteTrunk> {
        let mut refused = None;
        let mut payable = false;
        let mut trunks = Vec::new();
        for attempt in &plan.attempts {
            let Some(trunk) = self.router.trunk(attempt.trunk) else { continue };
            let canonical = plan.canonical.as_deref();
            let rate = canonical.and_then(|number| self.router.rates().rate(trunk.id, number));
            let currency = self.router.rates().table(trunk.id).map(|table| table.currency.clone());
            let price = self.price(now, trunk, Some(caller.id), canonical);
            let (fits, why, rule) = match (&price, rate) {
                _ if plan.emergency => (true, "calls for help are never refused for what they cost".to_owned(), None),
                (Err(refusal), _) => (false, refusal.text.clone(), Some(refusal.rule)),
                (Ok(_), Some(rate)) => {
                    let (minute, connection) = (money::text(rate.per_minute), money::text(rate.connection));
                    let currency = currency.as_deref().unwrap_or_default();
                    let why = format!(
                        "{minute} {currency} a minute and {connection} once (prefix {}), at least {} s, then in steps of {} s",
                        rate.prefix, rate.first_s, rate.step_s
                    );
                    (true, why, None)
                }
                (Ok(_), None) => (true, "no rate for the number; it counts as free".to_owned(), None),
            };
            payable |= fits;
            refused = refused.or(price.err().filter(|_| !plan.emergency).map(|refusal| (refusal.rule, refusal.text)));
            answer.steps.push(Step { rule: format!("spending trunk {}", trunk.name), fits, why });
            trunks.push(RouteTrunk {
                trunk: trunk.name.clone(),
                number: attempt.number.clone(),
                up: self.trunk_is_up(attempt.trunk),
                cost_per_minute: rate.map(|rate| money::text(rate.per_minute)),
                currency: rate.and(currency),
                passed_over_by: rule.map(str::to_owned),
            });
        }
        if let Some((rule, text)) = refused.filter(|_| !payable && plan.numbers.is_empty()) {
            answer.outcome = format!("is refused with 403: {text}");
            answer.refused_by = Some(rule.to_owned());
        }
        trunks
    }
}

/// `2026-11-27`.
fn shown(day: LocalDay) -> String {
    let LocalDay(day) = day;
    format!("{:04}-{:02}-{:02}", day / 10_000, day / 100 % 100, day % 100)
}
