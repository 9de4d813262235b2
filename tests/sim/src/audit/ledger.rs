//! Calls that leave by trunks and arrive by them, as the messages show them: which carriers were tried in which order, what
//! they said, and whether record, charges and limits agree with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ringfort_sip::digest::AuthParams;
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_switch::model::{CallId, ExtensionId, Rate, SpendLimits, TenantId, TrunkId};
use ringfort_switch::record::{Account, Cdr, EndCause, LocalDay, Spent, SpentTotal};
use rustc_hash::FxHashMap;

use super::claims::Claims;
use crate::lines::{self, CarrierPlan, LinesPlan};

/// A carrier that lost power so short a time before a call began may still be on its way back.
const RETURNS: Duration = Duration::from_secs(10);
/// As `setup` says it: longer than that nobody rings.
const RINGS: Duration = Duration::from_secs(30);

/// One INVITE to one carrier.
struct Branch {
    carrier: usize,
    call_id: String,
    answered: bool,
}

/// One call that leaves.
struct Out {
    started: Instant,
    route: usize,
    branches: Vec<Branch>,
    /// The answer after which no other trunk is tried.
    decided: Option<u16>,
    /// The caller has heard his end, or hung up.
    over: bool,
}

/// What is known of a carrier beside its plan.
#[derive(Default)]
struct Facts {
    /// When it lost power or got it back, and which of them.
    power: Option<(Instant, bool)>,
    /// When calls began, of either direction.
    begun: Vec<Instant>,
    /// When all its places were taken last.
    full: Option<Instant>,
    /// Calls of its that have not ended, by their Call-ID.
    arriving: BTreeSet<String>,
}

/// The books.
#[derive(Default)]
pub(super) struct Ledger {
    plan: Option<LinesPlan>,
    facts: Vec<Facts>,
    mild: bool,
    /// By what was dialled; of the boot that runs.
    out: BTreeMap<String, Out>,
    by_caller: FxHashMap<String, String>,
    by_branch: FxHashMap<String, String>,
    spent: BTreeMap<CallId, BTreeMap<TrunkId, i64>>,
    totals: BTreeMap<(Account, LocalDay), i64>,
    /// The most that further answers of forks can have cost: one of each call.
    forked: i64,
    /// Credentials that were given.
    pub proven: usize,
    wrong: Vec<String>,
}

/// Whether the next trunk may do better (docs: never after 486 or any 6xx).
fn fails_over(status: u16) -> bool {
    matches!(status, 408 | 500..=599)
}

impl Ledger {
    pub fn new(plan: Option<&LinesPlan>, mild: bool) -> Self {
        let count = plan.map_or(0, |plan| plan.carriers.len());
        let facts = (0..count).map(|_| Facts::default()).collect();
        Self { plan: plan.cloned(), facts, mild, ..Self::default() }
    }

    fn carrier(&self, index: usize) -> Option<&CarrierPlan> {
        self.plan.as_ref()?.carriers.get(index)
    }

    /// What went wrong since it was asked last.
    pub fn complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.wrong)
    }

    /// A carrier loses power or gets it back.
    pub fn power(&mut self, now: Instant, carrier: usize, up: bool) {
        if let Some(facts) = self.facts.get_mut(carrier) {
            facts.power = Some((now, up));
        }
    }

    /// A phone's INVITE out of a dialog.
    pub fn dials(&mut self, now: Instant, call_id: &str, callee: &str) {
        let routes = self.plan.as_ref().map_or(0, |plan| plan.routes.len());
        let Some(route) = lines::route_of(callee).filter(|&route| route < routes) else { return };
        self.by_caller.entry(call_id.to_owned()).or_insert_with(|| callee.to_owned());
        let out = || Out { started: now, route, branches: Vec::new(), decided: None, over: false };
        self.out.entry(callee.to_owned()).or_insert_with(out);
        for carrier in 0..self.facts.len() {
            self.count(now, carrier);
        }
    }

    /// A carrier's INVITE out of a dialog.
    pub fn arrives(&mut self, now: Instant, call_id: &str, carrier: usize) {
        let Some(facts) = self.facts.get_mut(carrier) else { return };
        if facts.arriving.insert(call_id.to_owned()) {
            facts.begun.push(now);
            self.count(now, carrier);
        }
    }

    /// The caller with that Call-ID has heard his end, or a BYE went one way or the other.
    pub fn over(&mut self, call_id: &str) {
        if let Some(out) = self.by_caller.get(call_id).and_then(|dialled| self.out.get_mut(dialled)) {
            out.over = true;
        }
        for facts in &mut self.facts {
            facts.arriving.remove(call_id);
        }
    }

    /// Notes whether all places of a carrier are taken: rather too early than too late.
    fn count(&mut self, now: Instant, carrier: usize) {
        let out =
            self.out.values().filter(|out| !out.over && out.branches.last().is_some_and(|b| b.carrier == carrier));
        let calls = (out.count() + self.facts[carrier].arriving.len()) as u32;
        if self.carrier(carrier).is_some_and(|plan| calls >= plan.max_calls) {
            self.facts[carrier].full = Some(now);
        }
    }

    /// The switch sends an INVITE out of a dialog to a carrier.
    pub fn tries(&mut self, now: Instant, carrier: usize, message: &Message) {
        let id = message.call_id();
        if self.by_branch.contains_key(id) {
            return;
        }
        let user = message.parsed_request_uri().ok().and_then(|uri| uri.user).unwrap_or_default().to_owned();
        let name = lines::name(carrier);
        let found = self.out.iter_mut().find(|(dialled, _)| lines::canonical(dialled) == user);
        let Some((dialled, out)) = found else {
            return self.wrong.push(format!("{name} is called with {user}, which nobody has dialled"));
        };
        let route = self.plan.as_ref().and_then(|plan| plan.routes.get(out.route));
        let mut wrong = Vec::new();
        if !route.is_some_and(|route| route.contains(&carrier)) {
            wrong.push(format!("{name} is tried for {dialled}, and is not in its route"));
        }
        if out.branches.iter().any(|branch| branch.carrier == carrier) {
            wrong.push(format!("{name} is tried twice for {dialled}"));
        }
        if let Some(status) = out.decided {
            wrong.push(format!("{name} is tried for {dialled} after {status}, which is final"));
        }
        if out.over {
            wrong.push(format!("{name} is tried for {dialled}, which is over"));
        }
        if out.branches.iter().any(|branch| branch.answered) {
            wrong.push(format!("{name} is tried for {dialled}, which was answered"));
        }
        out.branches.push(Branch { carrier, call_id: id.to_owned(), answered: false });
        self.by_branch.insert(id.to_owned(), dialled.clone());
        self.wrong.append(&mut wrong);
        self.facts[carrier].begun.push(now);
        self.count(now, carrier);
        let begun = &self.facts[carrier].begun;
        let within = begun.iter().rev().take_while(|at| **at + Duration::from_secs(1) > now).count();
        let most = self.carrier(carrier).map_or(0, |plan| plan.calls_per_second);
        // Two of its windows meet in any second.
        if most > 0 && within > 2 * most as usize + self.facts[carrier].arriving.len() {
            self.wrong.push(format!("{name} got {within} calls within a second, at {most} a second"));
        }
    }

    /// The switch takes a final answer of a carrier.
    pub fn answered(&mut self, message: &Message) {
        let Some(out) = self.by_branch.get(message.call_id()).and_then(|dialled| self.out.get_mut(dialled)) else {
            return;
        };
        let is_last = out.branches.last().is_some_and(|branch| branch.call_id == message.call_id());
        let Some(branch) = out.branches.iter_mut().find(|branch| branch.call_id == message.call_id()) else { return };
        match message.status() {
            200..=299 if message.from_tag().is_some_and(|tag| !tag.ends_with("other")) => branch.answered = is_last,
            200..=299 | 401 | 407 | 422 => {}
            status if is_last && !fails_over(status) => out.decided = Some(status),
            _ => {}
        }
    }

    /// INVITEs with those Call-IDs had a 2xx: no call may be up at two carriers.
    pub fn settle(&mut self, call_ids: &[String], claims: &Claims) {
        for id in call_ids {
            let Some((dialled, out)) = self.by_branch.get(id).and_then(|dialled| self.out.get_key_value(dialled))
            else {
                continue;
            };
            let up: usize = out.branches.iter().map(|branch| claims.up(&branch.call_id)).sum();
            if up > 1 {
                self.wrong.push(format!("{up} carriers carry the call to {dialled}"));
            }
        }
    }

    /// Credentials go to the carrier that they are for, for its realm, and to nobody else.
    pub fn credentials(&mut self, carrier: Option<usize>, message: &Message) {
        let given = message.headers(HeaderName::Authorization).chain(message.headers(HeaderName::ProxyAuthorization));
        for value in given {
            let params = AuthParams::parse(value).ok();
            let realm = params.as_ref().and_then(|params| params.text("realm")).unwrap_or_default();
            let user = params.as_ref().and_then(|params| params.text("username")).unwrap_or_default();
            let right = carrier.is_some_and(|index| realm == lines::realm(index) && user == lines::account(index));
            self.proven += usize::from(right);
            if !right {
                self.wrong.push(format!("credentials of {user:?} for {realm:?} are given to {carrier:?}"));
            }
        }
    }

    /// A call has cost something.
    pub fn spent(&mut self, spent: &Spent) {
        if !self.spent.get(&spent.call).is_some_and(|trunks| trunks.contains_key(&spent.trunk)) {
            self.forked += self.fork_of(spent.trunk.0 as usize - 1).unwrap_or_default();
        }
        *self.spent.entry(spent.call).or_default().entry(spent.trunk).or_default() += spent.amount;
        for account in spent.accounts() {
            *self.totals.entry((account, spent.day)).or_default() += spent.amount;
            let limits = self.limits_of(account);
            let on = |wanted: &dyn Fn(LocalDay) -> bool| -> i64 {
                let of = self.totals.iter().filter(|((of, day), _)| *of == account && wanted(*day));
                of.map(|(_, amount)| *amount).sum()
            };
            let (today, month) = (on(&|day| day == spent.day), on(&|day| day.month() == spent.day.month()));
            let beyond =
                |most: Option<u64>, sum: i64| most.is_some_and(|most| sum > i64::try_from(most).unwrap_or(i64::MAX));
            // What a fork's answer costs was set aside by nobody.
            let forks = self.forked;
            if beyond(limits.per_day, today - forks) || beyond(limits.per_month, month - forks) {
                self.wrong.push(format!("{account:?} has spent {today} on a day and {month} in a month: {limits:?}"));
            }
            if today < 0 {
                self.wrong.push(format!("{account:?} was given back more than it paid: {today}"));
            }
        }
    }

    /// The first step of a carrier whose fork answers as well.
    fn fork_of(&self, carrier: usize) -> Option<i64> {
        let plan = self.carrier(carrier).filter(|plan| plan.twist.is_some_and(|twist| !twist.foreign))?;
        plan.rate().map(|rate| rate.charge(1) as i64)
    }

    fn limits_of(&self, account: Account) -> SpendLimits {
        let Some(plan) = &self.plan else { return SpendLimits::default() };
        match account {
            Account::Tenant(TenantId(_)) => plan.spend,
            Account::Extension(ExtensionId(_)) => plan.phone_spend,
            Account::Trunk(TrunkId(id)) => self.carrier(id as usize - 1).map(|plan| plan.spend).unwrap_or_default(),
        }
    }

    /// What a restart finds to have been spent.
    pub fn totals(&self) -> Vec<SpentTotal> {
        let total = |(&(account, day), &amount): (&(Account, LocalDay), &i64)| {
            Some(SpentTotal { account, day, amount: u64::try_from(amount).ok()?, currency: "EUR".to_owned() })
        };
        self.totals.iter().filter_map(total).collect()
    }

    /// A call is over, by the switch's own word.
    pub fn ended(&mut self, now: Instant, cdr: &Cdr) {
        let Some(plan) = &self.plan else { return };
        let mut wrong = Vec::new();
        let from = (0..plan.carriers.len()).find(|&index| lines::caller_of(index) == *cdr.caller.reveal());
        if cdr.trunks.from != from.map(lines::name) {
            wrong.push(format!("came from carrier {from:?}"));
        }
        match self.out.get(cdr.callee.reveal()).filter(|_| from.is_none()) {
            None if !cdr.trunks.tried.is_empty() || cdr.trunks.to.is_some() => wrong.push("went nowhere".to_owned()),
            None => {}
            Some(out) => {
                let tried: Vec<String> = out.branches.iter().map(|branch| lines::name(branch.carrier)).collect();
                if cdr.trunks.tried != tried {
                    wrong.push(format!("tried {tried:?}"));
                }
                // A caller may give up before the answer reaches him: the line has taken the call all the same.
                let taken = cdr.answered.is_some() || out.branches.last().is_some_and(|branch| branch.answered);
                let to = tried.last().filter(|_| taken);
                if cdr.trunks.to.as_ref() != to {
                    wrong.push(format!("went by {to:?}"));
                }
                if let Some(why) = self.is_lost(now, plan, cdr, out) {
                    wrong.push(why);
                }
            }
        }
        self.wrong.extend(wrong.into_iter().map(|what| format!("the call {what}, and its record is {cdr:?}")));
    }

    /// Why a call that no line has taken is a loss.
    fn is_lost(&self, now: Instant, plan: &LinesPlan, cdr: &Cdr, out: &Out) -> Option<String> {
        let by_us = cdr.rule.is_some() || cdr.cause != Some(EndCause::Rejected);
        if cdr.answered.is_some() || by_us || out.decided.is_some() || now >= out.started + RINGS {
            return None;
        }
        let limited = plan.spend.any() || plan.phone_spend.any();
        let route = plan.routes.get(out.route)?;
        for &carrier in route {
            let (of, facts) = (self.carrier(carrier)?, &self.facts[carrier]);
            let branch = out.branches.iter().find(|branch| branch.carrier == carrier);
            let no_room = of.calls_per_second > 0 || facts.full.is_some_and(|at| at >= out.started);
            if branch.is_none() && !no_room && !limited && !of.spend.any() {
                return Some(format!("was given up though {} was never tried", lines::name(carrier)));
            }
            let number = lines::canonical(cdr.callee.reveal());
            let was_up = facts.power.is_none_or(|(at, up)| up && at + RETURNS < out.started);
            if branch.is_some() && self.mild && was_up && of.twist.is_none() && of.manner(&number).works() {
                return Some(format!("was given up though {} works", lines::name(carrier)));
            }
        }
        None
    }

    /// The switch has died: what was under way is forgotten.
    pub fn crashed(&mut self) {
        self.out.clear();
        self.by_caller.clear();
        self.by_branch.clear();
        self.facts.iter_mut().for_each(|facts| facts.arriving.clear());
    }

    /// When all has come to rest: charges and places agree with the records.
    pub fn judge<'a>(&mut self, records: impl Iterator<Item = &'a Cdr> + Clone) {
        let Some(plan) = self.plan.clone() else { return };
        for cdr in records.clone().filter(|cdr| cdr.cause != Some(EndCause::Crash)) {
            self.judge_charges(&plan, cdr);
        }
        for (carrier, index) in plan.carriers.iter().zip(0..) {
            let name = lines::name(index);
            // Ends before beginnings where both are in the same millisecond.
            let mut changes: Vec<(u64, i64)> = Vec::new();
            for cdr in records.clone() {
                let Some(end) = cdr.ended.map(|at| at.0) else { continue };
                let begin = match (&cdr.trunks.from, &cdr.trunks.to) {
                    (_, Some(to)) if *to == name => cdr.answered,
                    (Some(from), _) if *from == name && cdr.cause != Some(EndCause::Refused) => Some(cdr.started),
                    _ => None,
                };
                if let Some(begin) = begin.filter(|begin| begin.0 < end) {
                    changes.extend([(begin.0, 1), (end, -1)]);
                }
            }
            changes.sort_unstable();
            let (mut calls, mut most) = (0, 0);
            for (_, change) in changes {
                calls += change;
                most = most.max(calls);
            }
            if most > i64::from(carrier.max_calls) {
                self.wrong.push(format!("{name} had {most} calls at once, and may have {}", carrier.max_calls));
            }
        }
    }

    fn judge_charges(&mut self, plan: &LinesPlan, cdr: &Cdr) {
        let trunk_of = |name: &String| (0..plan.carriers.len()).find(|&index| lines::name(index) == *name);
        let to = cdr.trunks.to.as_ref().and_then(trunk_of);
        let mut by_trunk = self.spent.remove(&cdr.call).unwrap_or_default();
        let mut wrong = Vec::new();
        if let Some(index) = to {
            let paid = by_trunk.remove(&TrunkId(index as u32 + 1)).unwrap_or_default();
            let cost = cdr.cost.as_ref().map_or(0, |cost| cost.amount);
            let fork = self.fork_of(index).unwrap_or_default() as u64;
            if paid != cost as i64 {
                wrong.push(format!("the journal has {paid}"));
            }
            let talked = cdr.ended.zip(cdr.answered).map(|(end, begin)| (end.0 - begin.0) as f64 / 1000.0);
            if let Some((rate, seconds)) = plan.carriers[index].rate().zip(talked) {
                let (least, most) = charges(&rate, seconds);
                let fits = |cost: u64| (least..=most).contains(&cost);
                if !fits(cost) && !cost.checked_sub(fork).is_some_and(fits) {
                    wrong.push(format!("{seconds} s are {least} to {most}, and an answer of a fork {fork}"));
                }
            }
            let limits = [plan.spend, plan.phone_spend, plan.carriers[index].spend];
            if limits.iter().filter_map(|limits| limits.per_call).any(|most| cost > most + fork) {
                wrong.push(format!("more than a call may cost: {limits:?}"));
            }
        }
        // What answered after it had been given up costs a first step.
        for (trunk, paid) in by_trunk.into_iter().filter(|(_, paid)| *paid != 0) {
            let carrier = plan.carriers.get(trunk.0 as usize - 1);
            let first = carrier.and_then(CarrierPlan::rate).map(|rate| rate.charge(1) as i64);
            let twice = self.fork_of(trunk.0 as usize - 1).map(|first| 2 * first);
            if first != Some(paid) && twice != Some(paid)
                || !cdr.trunks.tried.contains(&lines::name(trunk.0 as usize - 1))
            {
                wrong.push(format!("{paid} went to trunk {trunk}"));
            }
        }
        self.wrong.extend(wrong.into_iter().map(|what| format!("charges do not agree: {what}, the record is {cdr:?}")));
    }
}

/// The least and the most that so long a call costs: its record has whole milliseconds.
fn charges(rate: &Rate, seconds: f64) -> (u64, u64) {
    let around = |by: f64| rate.charge(((seconds + by).max(0.0).ceil() as u64).max(1));
    (around(-0.002), around(0.002))
}
