//! Limits of spending in virtual time, with calls, fail-over, hang-ups, answers that come too late, midnight and a crash in
//! any order, drawn from a seed. The providers write their own bills, and no bill is higher than a limit.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};
use ringfort_sip::message::Message;
use ringfort_switch::io::{Command, CommandReply};
use ringfort_switch::model::*;
use ringfort_switch::record::{Account, EndCause, JournalRecord, LocalDay, SpentTotal, UnixMillis};
use ringfort_switch::{Clock, Switch};

const PHONES: [(&str, &str); 3] =
    [("user-a", "198.51.100.10:5060"), ("user-b", "198.51.100.20:5060"), ("user-c", "198.51.100.30:5060")];
const PROVIDERS: u32 = 2;
const NUMBER: &str = "02079461234";
/// What the clock of a table shows at first: 23:43:20 in Darwin.
const BEGIN: u64 = 1_790_000_000_000;
const TO_MIDNIGHT: Duration = Duration::from_secs(1000);
const STEP: Duration = Duration::from_millis(100);
const DAYS: [LocalDay; 2] = [LocalDay(20_260_921), LocalDay(20_260_922)];

/// One INVITE at a provider.
struct Branch {
    provider: u32,
    /// Whose call it is.
    phone: usize,
    invite: Message,
    answered: Option<Instant>,
    hung_up: bool,
}

enum Line {
    Idle,
    Calling { call_id: String },
    Up(Box<Established>),
}

struct Run {
    w: World,
    rng: ChaCha12Rng,
    site: Site,
    begin: Instant,
    phones: [Line; 3],
    branches: BTreeMap<String, Branch>,
    due: BTreeSet<(Instant, String, u16)>,
    /// What the providers want to be paid: by account and day.
    bills: BTreeMap<(Account, LocalDay), u64>,
    dearest: u64,
    crashed: bool,
}

fn provider(index: u32) -> String {
    format!("203.0.113.{}:5060", index + 1)
}

/// What a provider is told of who calls.
fn own_number(phone: usize) -> String {
    format!("+44207946000{phone}")
}

fn limits(rng: &mut ChaCha12Rng) -> SpendLimits {
    let mut one = |most: u64| rng.random_bool(0.3).then(|| rng.random_range(most / 20..most));
    SpendLimits { per_call: one(900_000), per_day: one(5_000_000), per_month: one(8_000_000) }
}

fn drawn_site(rng: &mut ChaCha12Rng) -> Site {
    let mut site = site();
    site.tenants[0].numbers = NumberPlan {
        country: "44".into(),
        national_prefix: "0".into(),
        time_zone: "Australia/Darwin".into(),
        spend: limits(rng),
        ..NumberPlan::default()
    };
    for index in 0..PROVIDERS {
        let id = TrunkId(index + 1);
        let server = format!("sip:203.0.113.{}", index + 1);
        let trunk = Trunk {
            health_every: Duration::ZERO,
            spend: limits(rng),
            ..Trunk::new(id, TenantId(1), format!("t{index}"), server)
        };
        site.trunks.insert(id, trunk);
        let steps = [1, 6, 10, 30, 60];
        let rate = Rate {
            prefix: "44".into(),
            per_minute: rng.random_range(1..900_000),
            connection: if rng.random_bool(0.5) { rng.random_range(0..200_000) } else { 0 },
            first_s: [0, 1, 30, 60][rng.random_range(0..4usize)],
            step_s: steps[rng.random_range(0..5usize)],
        };
        site.rates.insert(id, Arc::new(RateTable { currency: "EUR".into(), rates: vec![rate] }));
    }
    site.outbound.push(OutboundRoute {
        tenant: TenantId(1),
        name: "outside".into(),
        patterns: vec![Pattern::Prefix("0".into())],
        groups: Vec::new(),
        hours: Vec::new(),
        strip: 0,
        prepend: String::new(),
        enum_domain: None,
        trunks: (1..=PROVIDERS).map(TrunkId).collect(),
        order: TrunkOrder::Listed,
        attempts: None,
        ring_for: None,
    });
    for (extension, index) in site.extensions.values_mut().zip(0..) {
        extension.calling.spend = limits(rng);
        extension.calling.caller_id = Some(own_number(index));
    }
    site
}

/// With a branch of its own: a phone's calls come one after another.
fn bye(call: &Established, user: &str) -> String {
    let serial = call.call_id.split('@').next().unwrap_or_default();
    call.of_a("BYE", 3, "", "").replace("user-a", user).replace("abye3", &format!("abye3{serial}"))
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let site = drawn_site(&mut rng);
        let w = World::with(config(), site.clone());
        let begin = w.now;
        let mut run = Run {
            w,
            rng,
            site,
            begin,
            phones: [Line::Idle, Line::Idle, Line::Idle],
            branches: BTreeMap::new(),
            due: BTreeSet::new(),
            bills: BTreeMap::new(),
            dearest: 0,
            crashed: false,
        };
        run.w.pass(TO_MIDNIGHT - Duration::from_secs(run.rng.random_range(10..180)));
        run.register();
        run
    }

    fn register(&mut self) {
        for (user, at) in PHONES {
            assert_eq!(self.w.register(user, at).status(), 200);
        }
    }

    fn run(&mut self, crash: bool) {
        let crash_at = crash.then(|| self.rng.random_range(300..2_000u32));
        for step in 0..2_500u32 {
            self.someone_acts();
            self.deliver();
            self.w.pass(STEP);
            self.deliver();
            self.speak();
            self.deliver();
            if crash_at == Some(step) {
                self.crash();
            }
        }
        for phone in 0..PHONES.len() {
            self.stop(phone);
        }
        // What was given up is answered or not by then.
        for _ in 0..800 {
            self.deliver();
            self.w.pass(STEP);
            self.speak();
        }
        self.deliver();
    }

    fn someone_acts(&mut self) {
        let phone = self.rng.random_range(0..PHONES.len());
        let (user, at) = PHONES[phone];
        match &self.phones[phone] {
            Line::Idle if self.rng.random_bool(0.05) => {
                let call_id = self.w.invite(user, at, NUMBER, &sdp("198.51.100.10", 4000, "0 8 101"), "");
                self.phones[phone] = Line::Calling { call_id };
            }
            Line::Calling { .. } if self.rng.random_bool(0.005) => self.stop(phone),
            Line::Up(_) if self.rng.random_bool(0.003) => self.stop(phone),
            Line::Idle | Line::Calling { .. } | Line::Up(_) => {}
        }
        self.deliver();
    }

    fn stop(&mut self, phone: usize) {
        let (user, at) = PHONES[phone];
        match std::mem::replace(&mut self.phones[phone], Line::Idle) {
            Line::Calling { call_id } => self.w.cancel(user, at, &format!("sip:{NUMBER}@{DOMAIN}"), &call_id),
            Line::Up(call) => {
                let bye = bye(&call, user);
                self.w.send(at, &bye);
            }
            Line::Idle => {}
        }
        self.deliver();
    }

    fn deliver(&mut self) {
        while let Some(sent) = self.w.sent.pop_front() {
            let to = sent.to.to_string();
            match (0..PROVIDERS).find(|&index| provider(index) == to) {
                Some(index) => self.at_provider(index, &sent.message),
                None => {
                    let phone = PHONES.iter().position(|(_, at)| *at == to).expect("a phone of ours");
                    self.at_phone(phone, &sent.message);
                }
            }
        }
    }

    fn at_provider(&mut self, index: u32, message: &Message) {
        let id = message.call_id().to_owned();
        let now = self.w.now;
        match first_line(message).split(' ').next().unwrap_or_default() {
            "INVITE" if !self.branches.contains_key(&id) => {
                let words: &[(u16, u64)] = match self.rng.random_range(0..10u8) {
                    0..=3 => &[(100, 100), (200, 1_500)],
                    4 | 5 => &[(200, 100)],
                    6 => &[],
                    7 => &[(200, 6_500)],
                    8 => &[(100, 100), (503, 400)],
                    _ => &[(100, 100), (486, 900)],
                };
                let at = |millis: u64| now + Duration::from_millis(millis);
                self.due.extend(words.iter().map(|&(status, millis)| (at(millis), id.clone(), status)));
                let phone = self.caller_of(message);
                let branch = Branch { provider: index, phone, invite: message.clone(), answered: None, hung_up: false };
                self.branches.insert(id, branch);
            }
            "CANCEL" => {
                self.answer(index, message, 200, "");
                // Half of them have lost the race: the answer is on its way already.
                let races = self.rng.random_bool(0.5);
                if let Some(branch) = self.branches.get(&id).filter(|b| b.answered.is_none()) {
                    let invite = branch.invite.clone();
                    self.due.retain(|(_, due, _)| *due != id);
                    if races {
                        self.pick_up(&id);
                    } else {
                        self.answer(index, &invite, 487, "p");
                    }
                }
            }
            "BYE" => {
                self.answer(index, message, 200, "");
                self.end_branch(&id);
            }
            _ => {}
        }
    }

    /// The extension's number stands in P-Asserted-Identity: each phone has one of its own.
    fn caller_of(&self, invite: &Message) -> usize {
        let text = String::from_utf8_lossy(invite.raw()).into_owned();
        (0..PHONES.len()).find(|&phone| text.contains(&own_number(phone))).expect("a caller of ours")
    }

    fn pick_up(&mut self, id: &str) {
        let now = self.w.now;
        let Some(branch) = self.branches.get_mut(id) else { return };
        branch.answered.get_or_insert(now);
        let (index, invite) = (branch.provider, branch.invite.clone());
        self.answer(index, &invite, 200, "p");
    }

    /// The provider's clock stops, and what it counted is on the bill: each step on the day that it begins in.
    fn end_branch(&mut self, id: &str) {
        let now = self.w.now;
        let Some(branch) = self.branches.get_mut(id).filter(|branch| !branch.hung_up) else { return };
        branch.hung_up = true;
        let Some(answered) = branch.answered else { return };
        let trunk = TrunkId(branch.provider + 1);
        let rate = self.site.rates[&trunk].rates[0].clone();
        let seconds = u64::try_from((now - answered).as_millis().div_ceil(1000)).unwrap().max(1);
        let caller = ExtensionId(u32::try_from(branch.phone).unwrap() + 1);
        let accounts = [Account::Tenant(TenantId(1)), Account::Trunk(trunk), Account::Extension(caller)];
        let (mut paid, mut begins) = (0, 0);
        let mut whole = 0;
        while begins < seconds {
            let until = rate.charged_seconds(begins + 1);
            let step = rate.charge(until) - paid;
            let at = answered + Duration::from_secs(begins);
            let day = DAYS[usize::from(at - self.begin >= TO_MIDNIGHT)];
            for account in accounts {
                *self.bills.entry((account, day)).or_default() += step;
            }
            (paid, begins) = (paid + step, until);
            whole += step;
        }
        assert_eq!(whole, rate.charge(seconds));
        let of = |limits: &SpendLimits| limits.per_call.unwrap_or(u64::MAX);
        let (tenant, extension) = (&self.site.tenants[0].numbers.spend, &self.site.extensions[&caller].calling.spend);
        let most = of(tenant).min(of(extension)).min(of(&self.site.trunks[&trunk].spend));
        assert!(whole <= most, "a call costs {whole} of {most}, {seconds} s at {rate:?}");
        self.dearest = self.dearest.max(whole);
    }

    fn at_phone(&mut self, phone: usize, message: &Message) {
        let (user, at) = PHONES[phone];
        if message.is_request() {
            if first_line(message).starts_with("BYE ") {
                let ok = reply(message, 200, "", "", "");
                self.w.send(at, &ok);
                let ours = matches!(&self.phones[phone], Line::Up(call) if call.call_id == message.call_id());
                if ours {
                    self.phones[phone] = Line::Idle;
                }
            }
            return;
        }
        let is_answer = message.cseq().method.as_str() == "INVITE" && message.cseq().number == 2;
        if !is_answer || message.status() < 200 {
            return;
        }
        let mine = matches!(&self.phones[phone], Line::Calling { call_id } if call_id == message.call_id());
        if message.status() == 200 {
            let call_id = message.call_id().to_owned();
            let call = Established::new(at, "", call_id, message.clone(), message.clone());
            let ack = call.of_a("ACK", 2, "", "").replace("user-a", user);
            self.w.send(at, &ack);
            if mine {
                self.phones[phone] = Line::Up(Box::new(call));
            } else if !matches!(&self.phones[phone], Line::Up(up) if up.call_id == call.call_id) {
                // RFC 3261 §15: it had taken the call back too late.
                let bye = bye(&call, user);
                self.w.send(at, &bye);
            }
        } else if mine {
            self.phones[phone] = Line::Idle;
        }
    }

    fn speak(&mut self) {
        let now = self.w.now;
        while let Some(word) = self.due.first().filter(|(at, ..)| *at <= now).cloned() {
            self.due.remove(&word);
            let (_, id, status) = word;
            if status == 200 {
                self.pick_up(&id);
            } else if let Some(branch) = self.branches.get(&id) {
                let (index, invite) = (branch.provider, branch.invite.clone());
                self.answer(index, &invite, status, if status == 100 { "" } else { "p" });
            }
        }
    }

    fn answer(&mut self, index: u32, request: &Message, status: u16, tag: &str) {
        let from = provider(index);
        let (contact, body) = match status {
            200 if !tag.is_empty() => (format!("Contact: <sip:{from}>\r\n"), sdp("203.0.113.1", 6000, "8 101")),
            _ => (String::new(), String::new()),
        };
        self.w.send_to(1, OUTSIDE, &from, &reply(request, status, tag, &contact, &body));
    }

    /// The journal, as the database adds it up.
    fn journaled(&self) -> BTreeMap<(Account, LocalDay), i64> {
        let mut sums = BTreeMap::new();
        for record in &self.w.journal {
            let JournalRecord::Spent(spent) = record else { continue };
            for account in spent.accounts() {
                *sums.entry((account, spent.day)).or_insert(0) += spent.amount;
            }
        }
        sums
    }

    /// The process is killed, and another one begins with what was journaled. The providers hear nothing more and hang up.
    fn crash(&mut self) {
        self.crashed = true;
        let up: Vec<String> = self.branches.keys().cloned().collect();
        up.iter().for_each(|id| self.end_branch(id));
        self.branches.clear();
        self.due.clear();
        self.w.sent.clear();
        self.phones = [Line::Idle, Line::Idle, Line::Idle];
        let unix = UnixMillis(BEGIN + u64::try_from((self.w.now - self.begin).as_millis()).unwrap());
        let totals: Vec<SpentTotal> = self
            .journaled()
            .into_iter()
            .map(|((account, day), amount)| {
                let amount = u64::try_from(amount).unwrap();
                SpentTotal { account, day, amount, currency: "EUR".to_owned() }
            })
            .collect();
        let clock = Clock { instant: self.w.now, unix };
        self.w.switch = Switch::new(config(), Arc::new(self.site.clone()), clock, [8; 32]);
        self.w.switch.restore_spending(&totals);
        self.register();
    }

    /// No account is billed more than it may spend, and nothing is left that is held.
    fn check(&mut self, seed: u64) {
        let journaled = self.journaled();
        for (&(account, day), &bill) in &self.bills {
            let counted = u64::try_from(journaled[&(account, day)]).unwrap();
            if self.crashed {
                assert!(counted >= bill, "seed {seed}: {account:?} was billed {bill} and counted {counted}");
            } else {
                assert_eq!(counted, bill, "seed {seed}: {account:?} on {day:?}");
            }
        }
        let tenant = self.site.tenants[0].numbers.spend;
        let trunks = self.site.trunks.values().map(|t| (Account::Trunk(t.id), t.spend));
        let extensions = self.site.extensions.values().map(|e| (Account::Extension(e.id), e.calling.spend));
        for (account, limits) in trunks.chain(extensions).chain([(Account::Tenant(TenantId(1)), tenant)]) {
            let on = |day| self.bills.get(&(account, day)).copied().unwrap_or(0);
            for day in DAYS {
                assert!(limits.per_day.is_none_or(|most| on(day) <= most), "seed {seed}: {account:?} on {day:?}");
            }
            let month = on(DAYS[0]) + on(DAYS[1]);
            assert!(limits.per_month.is_none_or(|most| month <= most), "seed {seed}: {account:?}: {month}");
        }
        let CommandReply::Spending { items, .. } =
            self.w.command(Command::Spending { account: None, extensions: true })
        else {
            panic!("spending gives items")
        };
        for item in items {
            assert_eq!((item.reserved.as_str(), item.calls), ("0.00", 0), "seed {seed}: {}", item.account);
        }
    }
}

#[test]
fn no_interleaving_of_calls_is_billed_more_than_a_limit() {
    let (mut ended, mut refused, mut calls, mut crashes) = (0, 0, 0, 0);
    for seed in 0..300 {
        let mut run = Run::new(seed);
        run.run(seed % 2 == 1);
        run.check(seed);
        crashes += usize::from(run.crashed);
        for cdr in run.w.cdrs() {
            calls += 1;
            ended += usize::from(cdr.cause == Some(EndCause::Spending));
            refused +=
                usize::from(cdr.rule.as_deref().is_some_and(|r| r.starts_with("spending.")) && cdr.answered.is_none());
        }
    }
    eprintln!("{calls} calls, {ended} ended, {refused} refused, {crashes} crashes");
    assert!(ended > 500 && refused > 1_000 && calls > 5_000, "{calls} calls, {ended} ended, {refused} refused");
}
