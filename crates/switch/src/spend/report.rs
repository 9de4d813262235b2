//! What an operator is told of spending: `ctl spending`, `/metrics`, and what `ctl route explain` says of a call's cost.

use std::time::Instant;

use crate::Switch;
use crate::io::{CommandReply, RouteAnswer, RouteTrunk, SpendingCounts, SpendingItem, of_tenant};
use crate::model::{Extension, SpendLimits, TenantId};
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
            let of_interest = || self.limits_of(account).any() || self.purse.spending.ledger(account).is_some();
            let is_asked = |bare| account_name == bare && of.is_none_or(|of| of == self.name_of_tenant(tenant));
            if bare.map_or_else(of_interest, is_asked) {
                items.push(self.spending_item(now, account, tenant, account_name));
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

    fn spending_item(&self, now: Instant, account: Account, tenant: TenantId, name: String) -> SpendingItem {
        let site = self.directory.site();
        let day = self.router.day(tenant, self.clock.unix_s(now));
        let none = Ledger::default();
        let ledger = self.purse.spending.ledger(account).unwrap_or(&none);
        let SpendLimits { per_call, per_day, per_month } = self.limits_of(account);
        let left =
            |limit: Option<Millionths>, bound: Millionths| limit.map(|limit| money::text(limit.saturating_sub(bound)));
        let currency = site.rates.iter().find(|(id, _)| site.trunks.get(id).is_some_and(|t| t.tenant == tenant));
        SpendingItem {
            account: name,
            tenant: self.name_of_tenant(tenant).to_owned(),
            currency: currency.map(|(_, table)| table.currency.clone()),
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
