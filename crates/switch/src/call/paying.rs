//! What a call that leaves by a trunk costs, while it runs (DOM-8): the first step is held before a trunk is tried, charged
//! when it answers, and each further one before it begins. A call whose next step is not covered is ended; a beep is heard
//! a minute before.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfort_media::sound::{Part, Sound, Tone};
use ringfort_media::types as media;
use ringfort_sip::endpoint::ClientTx;
use ringfort_sip::message::Message;
use rustc_hash::{FxHashMap, FxHasher};
use smallvec::SmallVec;

use super::setup::Refusal;
use super::{CALLER, Call};
use crate::Switch;
use crate::crossing;
use crate::io::{Level, Output};
use crate::model::{CallId, ExtensionId, Rate, SpendLimits, TenantId, Trunk, TrunkId, Unrated};
use crate::money::{self, Millionths};
use crate::record::{Account, Cost, EndCause, JournalRecord, LocalDay, Spent};
use crate::spend::{Limit, Meter, Payers, Room, Spending, UNRATED, accounts};
use crate::timers::Timer;

/// A step is paid for this long before it begins: the other side hangs up before its own clock begins one that is not.
const MARGIN: Duration = Duration::from_millis(500);
/// How much is paid for at once where steps are short: by limits that another call may reach, and without any.
const SLICE_S: u64 = 10;
const FREE_SLICE_S: u64 = 60;
/// How long before its end a call is warned.
const WARN_S: u64 = 60;
/// Another call has ended, and there is so much more that a second warning makes sense.
const WARN_AGAIN_S: u64 = 2 * WARN_S;
/// Just after the answer nobody listens yet.
const FIRST_WARNING: Duration = Duration::from_secs(2);
/// RFC 3261 §13.2.2.4: so long after the first answer a fork's others may come, 64*T1.
const FORKS_WITHIN: Duration = Duration::from_secs(32);
/// What tests of trunks are charged to: no call has this number.
const TRIAL: CallId = CallId(0);
/// How often is looked whether other calls use up what is left; at most and at least.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_millis(100);

/// The price of a call by one trunk, held while it is tried.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    tenant: TenantId,
    trunk: TrunkId,
    extension: Option<ExtensionId>,
    rate: Rate,
    currency: String,
}

/// A 2xx to an INVITE of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    tx: ClientTx,
    /// Stands for its To tag: a fork of the provider's has one of its own, a repetition has not (RFC 3261 §13.2.2.4).
    tag: u64,
}

impl Answer {
    pub fn of(tx: ClientTx, response: &Message) -> Answer {
        let mut hasher = FxHasher::default();
        response.to_tag().hash(&mut hasher);
        Answer { tx, tag: hasher.finish() }
    }
}

/// A branch that was answered.
#[derive(Debug)]
struct Answered {
    call: CallId,
    hold: Hold,
    /// Of the answers that are paid for.
    tags: SmallVec<[u64; 1]>,
}

/// Spending, and what of it hangs between calls.
#[derive(Debug, Default)]
pub(crate) struct Purse {
    /// By currency: what was spent in one is nothing in another, and a limit is an amount in each of them.
    spending: BTreeMap<String, Spending>,
    /// Calls that were ended as their money was gone, and those that were warned of it.
    pub ended: u64,
    pub warned: u64,
    /// Branches that were given up and may still be answered: that costs the first step.
    strays: FxHashMap<ClientTx, (CallId, Hold)>,
    /// Branches that were answered: where the provider has forked them, each further answer costs the first step.
    answered: FxHashMap<ClientTx, Answered>,
    /// When those are forgotten, the soonest first.
    forgotten: VecDeque<(Instant, ClientTx)>,
}

impl Purse {
    pub fn of(&mut self, currency: &str) -> &mut Spending {
        if !self.spending.contains_key(currency) {
            self.spending.insert(currency.to_owned(), Spending::default());
        }
        self.spending.get_mut(currency).expect("it was just put there")
    }

    /// By currency.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Spending)> {
        self.spending.iter().map(|(currency, spending)| (currency.as_str(), spending))
    }

    fn covers(&self, currency: &str, payers: &Payers, day: LocalDay, amount: Millionths) -> Result<(), Room> {
        let none = Spending::default();
        self.spending.get(currency).unwrap_or(&none).covers(payers, day, 0, amount)
    }

    fn release(&mut self, hold: &Hold) {
        self.of(&hold.currency).release(hold.accounts(), hold.amount());
    }
}

/// What an answered call pays by.
#[derive(Debug)]
pub(crate) struct Paying {
    pub meter: Meter,
    /// What further answers of a fork have cost.
    forks: Millionths,
    answered_at: Instant,
    wake: Instant,
}

impl Hold {
    fn amount(&self) -> u64 {
        Meter::first(&self.rate)
    }

    fn accounts(&self) -> impl Iterator<Item = Account> + use<> {
        accounts(self.tenant, self.trunk, self.extension)
    }

    fn meter(self, call: CallId) -> Meter {
        Meter::new(call, self.tenant, self.trunk, self.extension, self.rate).in_currency(&self.currency)
    }
}

impl Switch {
    /// Those who pay for a call by a trunk, as the site has it now.
    fn payers(&self, tenant: TenantId, trunk: TrunkId, extension: Option<ExtensionId>) -> Payers {
        accounts(tenant, trunk, extension).map(|account| (account, self.limits_of(account))).collect()
    }

    fn today(&self, tenant: TenantId, now: Instant) -> LocalDay {
        self.router.day(tenant, self.clock.unix_s(now))
    }

    /// What would be held for a call by a trunk; `None`: nothing is known to be paid for it.
    ///
    /// # Errors
    /// The limit that leaves no room for it, or that nobody knows what it costs where there is a limit.
    pub(crate) fn price(
        &self,
        now: Instant,
        trunk: &Trunk,
        extension: Option<ExtensionId>,
        canonical: Option<&str>,
    ) -> Result<Option<(Hold, Payers)>, Refusal> {
        let payers = self.payers(trunk.tenant, trunk.id, extension);
        let table = self.router.rates().table(trunk.id);
        let rate = canonical.and_then(|number| self.router.rates().rate(trunk.id, number));
        let Some((table, rate)) = table.zip(rate) else {
            let unrated = self.router.plan(trunk.tenant).map_or(Unrated::Refuse, |plan| plan.unrated);
            let limited = payers.iter().find(|(_, limits)| limits.any());
            return match (unrated, limited) {
                (Unrated::Refuse, Some((account, _))) => {
                    let whose = self.account_words(*account);
                    let text = format!(
                        "trunk {} has no rate for the number, and {whose} has a limit; import one, or allow calls without \
                         (`unrated`)",
                        trunk.name
                    );
                    Err(Refusal::new(403, UNRATED, text))
                }
                (Unrated::Refuse | Unrated::Allow, _) => Ok(None),
            };
        };
        let hold = Hold {
            tenant: trunk.tenant,
            trunk: trunk.id,
            extension,
            rate: rate.clone(),
            currency: table.currency.clone(),
        };
        let day = self.today(trunk.tenant, now);
        match self.purse.covers(&hold.currency, &payers, day, hold.amount()) {
            Ok(()) => Ok(Some((hold, payers))),
            Err(room) => {
                let words = self.room_words(&room, &hold.currency);
                let cost = money::text(hold.amount());
                let text = format!("{words}; by trunk {} the first step costs {cost}", trunk.name);
                Err(Refusal::new(403, room.limit.rule(), text))
            }
        }
    }

    /// Whether a call by one of these trunks may be paid for; a call for help is never asked.
    pub(super) fn may_spend(&self, now: Instant, way: &super::Way, extension: ExtensionId) -> Result<(), Refusal> {
        if way.looks_up_numbers() {
            // What is published for the number may be free; each trunk is asked for its price when it is tried.
            return Ok(());
        }
        let mut first = None;
        for trunk in way.trunks_to_pay().into_iter().flatten() {
            let Some(trunk) = self.router.trunk(trunk) else { continue };
            match self.price(now, trunk, Some(extension), way.canonical()) {
                Ok(_) => return Ok(()),
                Err(refusal) => first = first.or(Some(refusal)),
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Holds what the first step by a trunk costs before it is tried.
    ///
    /// # Errors
    /// It is not covered: the trunk is passed over.
    pub(super) fn hold_for(&mut self, now: Instant, id: CallId, trunk: TrunkId) -> Result<(), Refusal> {
        let Some(call) = self.calls.get(&id) else { return Ok(()) };
        let Some(way) = call.way.as_ref().filter(|way| way.trunks_to_pay().is_some() && way.hold.is_none()) else {
            return Ok(());
        };
        let Some(trunk) = self.router.trunk(trunk) else { return Ok(()) };
        let Some((hold, payers)) = self.price(now, trunk, call.cdr.from_extension, way.canonical())? else {
            return Ok(());
        };
        let day = self.today(hold.tenant, now);
        let held = self.purse.of(&hold.currency).hold(&payers, day, hold.amount());
        held.expect("it was just seen that there is room");
        let way = self.calls.get_mut(&id).and_then(|call| call.way.as_mut()).expect("it was just seen");
        way.hold = Some(Box::new(hold));
        Ok(())
    }

    /// The trunk was left without an answer.
    pub(crate) fn drop_hold(&mut self, hold: Option<Box<Hold>>) {
        if let Some(hold) = hold {
            self.purse.release(&hold);
        }
    }

    /// A branch is given up, and its 2xx may be on the way: what is held for it stays so until it is known.
    pub(super) fn stray(&mut self, id: CallId, tx: ClientTx) {
        let way = self.calls.get_mut(&id).and_then(|call| call.way.as_mut());
        if let Some(hold) = way.and_then(|way| way.hold.take()) {
            self.purse.strays.insert(tx, (id, *hold));
        }
    }

    /// What became of a branch that was given up.
    pub(super) fn stray_ended(&mut self, now: Instant, tx: ClientTx, answer: Option<Answer>) {
        let Some((call, hold)) = self.purse.strays.remove(&tx) else { return };
        self.purse.release(&hold);
        if let Some(answer) = answer {
            self.pay_first_step(now, answer, call, hold);
        }
    }

    /// The far end has answered, and the call comes to nothing all the same.
    pub(super) fn pay_for_nothing(&mut self, now: Instant, answer: Answer, id: CallId) {
        let way = self.calls.get_mut(&id).and_then(|call| call.way.as_mut());
        if let Some(hold) = way.and_then(|way| way.hold.take()) {
            self.purse.release(&hold);
            self.pay_first_step(now, answer, id, *hold);
        }
    }

    /// An answer that is hung up at once, from its 2xx to our BYE: the provider charges the first step.
    fn pay_first_step(&mut self, now: Instant, answer: Answer, id: CallId, hold: Hold) {
        let day = self.today(hold.tenant, now);
        self.remember_answer(now, answer, id, &hold);
        let spending = self.purse.of(&hold.currency);
        let spent = hold.meter(id).answer(spending, day);
        self.journal_spent([spent]);
    }

    /// A provider that has forked the branch may answer it again.
    fn remember_answer(&mut self, now: Instant, Answer { tx, tag }: Answer, call: CallId, hold: &Hold) {
        let purse = &mut self.purse;
        while let Some((_, old)) = purse.forgotten.pop_front_if(|(at, _)| *at <= now) {
            purse.answered.remove(&old);
        }
        let answered = purse.answered.entry(tx).or_insert_with(|| {
            purse.forgotten.push_back((now + FORKS_WITHIN, tx));
            Answered { call, hold: hold.clone(), tags: SmallVec::new() }
        });
        answered.tags.push(tag);
    }

    /// Another answer of a fork at the provider (RFC 3261 §13.2.2.4): it is hung up at once, and is on the bill like the
    /// first one. Nobody could set money aside for it: what it costs is taken from what is left for the steps to come.
    pub(super) fn answered_again(&mut self, now: Instant, answer: Answer) {
        let known = self.purse.answered.get(&answer.tx);
        // One that comes once more after its call is paid for.
        let Some(answered) = known.filter(|known| !known.tags.contains(&answer.tag)) else { return };
        let (id, hold) = (answered.call, answered.hold.clone());
        let (tenant, amount) = (hold.tenant, hold.amount());
        if let Some(paying) = self.calls.get_mut(&id).and_then(|call| call.paying.as_mut()) {
            paying.forks = paying.forks.saturating_add(amount);
        }
        let name = self.router.trunk(hold.trunk).map_or("?", |trunk| trunk.name.as_str());
        let (amount, currency) = (money::text(amount), &hold.currency);
        let text = format!("trunk {name} answers a call once more: hung up, and charged with {amount} {currency}");
        self.notice(Level::Warn, Some(tenant), Some(id), "spending.fork", text);
        self.pay_first_step(now, answer, id, hold);
    }

    /// Holds what the first step of a trunk's test call costs; `None`: nothing is known to be paid for it.
    ///
    /// # Errors
    /// It is not covered, in words.
    pub(crate) fn hold_for_trial(
        &mut self,
        now: Instant,
        trunk: &Trunk,
        canonical: Option<&str>,
    ) -> Result<Option<Box<Hold>>, String> {
        let Some((hold, payers)) = self.price(now, trunk, None, canonical).map_err(|refusal| refusal.text)? else {
            return Ok(None);
        };
        let day = self.today(hold.tenant, now);
        let held = self.purse.of(&hold.currency).hold(&payers, day, hold.amount());
        held.expect("it was just seen that there is room");
        Ok(Some(Box::new(hold)))
    }

    /// A test call was answered.
    pub(crate) fn trial_answered(&mut self, now: Instant, answer: Answer, hold: Option<Box<Hold>>) {
        if let Some(hold) = hold {
            self.purse.release(&hold);
            self.pay_first_step(now, answer, TRIAL, *hold);
        }
    }

    /// A test call is taken back, and may be answered all the same.
    pub(crate) fn trial_abandoned(&mut self, tx: ClientTx, hold: Option<Box<Hold>>) {
        if let Some(hold) = hold {
            self.purse.strays.insert(tx, (TRIAL, *hold));
        }
    }

    /// The trunk has answered: from now on the call costs money.
    pub(super) fn begin_paying(&mut self, now: Instant, answer: Answer, id: CallId) {
        let Some(way) = self.calls.get_mut(&id).and_then(|call| call.way.as_mut()) else { return };
        let Some(hold) = way.hold.take() else { return };
        self.purse.release(&hold);
        self.remember_answer(now, answer, id, &hold);
        let day = self.today(hold.tenant, now);
        let spending = self.purse.of(&hold.currency);
        let mut meter = hold.meter(id);
        let first = meter.answer(spending, day);
        spending.begin(meter.accounts(), meter.per_minute());
        self.journal_spent([first]);
        let call = self.calls.get_mut(&id).expect("it was just seen");
        call.paying = Some(Box::new(Paying { meter, forks: 0, answered_at: now, wake: now }));
        self.go_on_paying(now, id);
    }

    pub(crate) fn on_spend_wake(&mut self, now: Instant, id: CallId) {
        if self.calls.get(&id).is_some_and(|call| call.paying.is_some()) {
            self.go_on_paying(now, id);
        }
    }

    /// Pays for the next steps where they are due, warns, and says when to look again; ends the call where a step is not
    /// covered.
    fn go_on_paying(&mut self, now: Instant, id: CallId) {
        let Some(mut paying) = self.calls.get_mut(&id).and_then(|call| call.paying.take()) else { return };
        let (tenant, extension) = (paying.meter.tenant(), paying.meter.extension());
        let payers = self.payers(tenant, paying.meter.trunk(), extension);
        let limited = payers.iter().any(|(_, limits)| limits.any());
        let slice = if limited { SLICE_S } else { FREE_SLICE_S };
        let answered = self.clock.unix(paying.answered_at).0;
        let (router, spending) = (&self.router, self.purse.of(paying.meter.currency()));
        let day_of = |second: u64| router.day(tenant, (answered + second * 1000) / 1000);
        let mut spent: Vec<Spent> = Vec::new();
        let mut short = None;
        while short.is_none() && paying.due() <= now {
            let advance = paying.meter.advance(spending, &payers, slice, day_of);
            spent.extend(advance.spent);
            short = advance.short;
        }
        self.journal_spent(spent);
        if let Some(room) = short {
            let call = self.calls.get_mut(&id).expect("it was just seen");
            call.paying = Some(paying);
            return self.end_unpaid(now, id, &room);
        }
        let day = self.today(tenant, now);
        let paid = paying.due().saturating_duration_since(now).as_secs();
        let further = self.purse.of(paying.meter.currency()).seconds_left(&payers, day, &paying.meter);
        let mut wake = paying.due();
        if let Some(left) = further.map(|further| further.saturating_add(paid)) {
            let listens = paying.answered_at + FIRST_WARNING;
            if left > WARN_AGAIN_S {
                paying.meter.warned = false;
            }
            if left <= WARN_S && !paying.meter.warned && now >= listens {
                paying.meter.warned = true;
                self.warn(id, left);
            } else if !paying.meter.warned {
                let then = Duration::from_secs(left.saturating_sub(WARN_S)).min(LOOK_EVERY);
                wake = wake.min((now + then).max(listens).max(now + SOON));
            }
        }
        paying.wake = wake;
        self.timers.set(wake, Timer::Spend(id));
        if let Some(call) = self.calls.get_mut(&id) {
            call.paying = Some(paying);
        }
    }

    fn end_unpaid(&mut self, now: Instant, id: CallId, room: &Room) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(paying) = &call.paying else { return };
        let currency = paying.meter.cost().currency;
        call.cdr.rule = Some(room.limit.rule().to_owned());
        let words = self.room_words(room, &currency);
        self.purse.ended += 1;
        let reason = crossing::reason("Q.850", 31, "Spending limit reached");
        self.end_call(now, id, None, 200, EndCause::Spending, &reason, &words);
    }

    /// A beep instead of the far voice for a moment, for the caller alone.
    fn warn(&mut self, id: CallId, left: u64) {
        const BEEP: Duration = Duration::from_millis(400);
        let Some(call) = self.calls.get(&id) else { return };
        let (tenant, caller) = (call.tenant, call.cdr.caller.clone());
        let ear = call.bridge.ear(call.legs[CALLER].media);
        self.purse.warned += 1;
        let text = format!("{caller} is warned: what may be spent is used up in {left} s");
        self.notice(Level::Info, Some(tenant), Some(id), "spending.warning", text);
        let Some(ear) = ear else { return };
        let sound = Arc::new(Sound::once(vec![Part::Tone(Tone::single(1400), BEEP)]));
        let play = media::PlayId(id.0);
        let playback = media::Playback { id: play, payload_type: ear.payload_type, codec: ear.codec, sound };
        let command = media::Command::Play { id: ear.stream, playback: Box::new(playback) };
        self.outputs.push_back(Output::Media(command));
    }

    /// The call is over: what was paid ahead is given back.
    pub(super) fn settle(&mut self, now: Instant, call: &mut Call) {
        let Some(mut paying) = call.paying.take() else { return };
        self.timers.clear(paying.wake, Timer::Spend(call.id));
        let seconds = now.saturating_duration_since(paying.answered_at).as_millis().div_ceil(1000);
        let day = self.today(call.tenant, now);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        let spending = self.purse.of(paying.meter.currency());
        let changes = paying.meter.settle(spending, seconds, day);
        spending.end(paying.meter.accounts(), paying.meter.per_minute());
        self.journal_spent(changes);
        let Cost { amount, currency } = paying.meter.cost();
        call.cdr.cost = Some(Cost { amount: amount.saturating_add(paying.forks), currency });
    }

    fn journal_spent(&mut self, spent: impl IntoIterator<Item = Spent>) {
        let records = spent.into_iter().filter(|spent| spent.amount != 0);
        self.outputs.extend(records.map(|spent| Output::Journal(JournalRecord::Spent(spent))));
    }

    /// `extension 101`, `trunk cheap`, `tenant default`.
    pub(crate) fn account_words(&self, account: Account) -> String {
        let site = self.directory.site();
        match account {
            Account::Tenant(id) => {
                let name = site.tenants.iter().find(|t| t.id == id).map_or("", |t| t.name.as_str());
                format!("tenant {name}")
            }
            Account::Extension(id) => {
                format!("extension {}", self.directory.extension(id).map_or("", |e| e.number.as_str()))
            }
            Account::Trunk(id) => format!("trunk {}", self.router.trunk(id).map_or("", |t| t.name.as_str())),
        }
    }

    /// `extension 101 has 0.20 EUR left of the 5.00 that it may spend in a day`.
    fn room_words(&self, room: &Room, currency: &str) -> String {
        let whose = self.account_words(room.account);
        let (left, of) = (money::text(room.left), money::text(room.of));
        let span = match room.limit {
            Limit::Call => "for a call",
            Limit::Day => "in a day",
            Limit::Month => "in a month",
        };
        format!("{whose} has {left} {currency} left of the {of} that it may spend {span}")
    }

    /// The limits of an account.
    pub(crate) fn limits_of(&self, account: Account) -> SpendLimits {
        match account {
            Account::Tenant(id) => self.router.plan(id).map(|plan| plan.spend),
            Account::Extension(id) => self.directory.extension(id).map(|e| e.calling.spend),
            Account::Trunk(id) => self.router.trunk(id).map(|trunk| trunk.spend),
        }
        .unwrap_or_default()
    }
}

impl Paying {
    /// When the next step has to be paid for.
    fn due(&self) -> Instant {
        let end = self.answered_at + Duration::from_secs(self.meter.paid_s());
        end.checked_sub(MARGIN).unwrap_or(end)
    }
}
