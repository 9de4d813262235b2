//! A whole system in virtual time: switch, phones, network, and a queue of what is to happen. Nothing sleeps: time is
//! that of the next entry. Everything comes from the plan, so a run replays.

mod ending;
mod phone_hosts;
mod switch_host;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use ringfort_media::types as media;
use ringfort_phone::{CallRef, EndedBy, Event, Phone, PhoneConfig};
use ringfort_sip::flow::{Flow, Transport};
use ringfort_sip::message::{Limits, Message};
use ringfort_switch::io::{Command, CommandReply, Output};
use ringfort_switch::model::{CallId, ExtensionId, Site};
use ringfort_switch::record::{Cdr, UnixMillis};
use ringfort_switch::{Clock, Switch};

use crate::audit::Audit;
use crate::media::MediaHost;
use crate::net::{Arrival, Arrivals, Host, Link, Net};
use crate::plan::{Action, PhonePlan, Plan, Step};
use crate::script::{self, Op};
use crate::setup::{DOMAIN, SWITCH_IP, number, phone_address, phone_config, site, switch_config, tone};
use crate::trace::Trace;

/// The switch's host.
const SWITCH: Host = Host(0);
/// Virtual time begins here.
const EPOCH: UnixMillis = UnixMillis(1_700_000_000_000);
/// After the last step calls may ring and talk that long.
const TAIL: Duration = Duration::from_secs(150);
/// And when everybody has hung up, that long until nothing is left.
const SETTLE: Duration = Duration::from_secs(3600);
/// What a crash may lose of the registrations.
const JOURNAL_LOSS: Duration = Duration::from_millis(200);

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Calls that phones tried.
    pub calls: usize,
    pub answered: usize,
    /// Messages that the switch took and gave.
    pub messages: u64,
    /// Call detail records.
    pub records: usize,
    /// How calls ended, by final status as the caller saw it.
    pub statuses: BTreeMap<u16, usize>,
    /// In runs with media: ends of calls of two seconds and more, and those that heard their peer's tone.
    pub listened: usize,
    pub heard: usize,
    /// Virtual time.
    pub lasted: Duration,
}

/// A run that broke an invariant.
#[derive(Clone, Debug)]
pub struct Failure {
    pub violations: Vec<String>,
    pub summary: Summary,
}

/// Everything that came of a run.
#[derive(Debug)]
pub struct Outcome {
    pub result: Result<Summary, Failure>,
    /// The call records, in the order of their calls.
    pub records: Vec<Cdr>,
    /// How calls ended as their phones saw it, in order.
    pub ends: Vec<End>,
    pub trace: Trace,
}

/// One end of a call is over.
#[derive(Clone, Debug)]
pub struct End {
    /// From the beginning of the run.
    pub at: Duration,
    pub phone: usize,
    pub by: EndedBy,
    pub reason: String,
}

enum Item {
    Arrive(Host, Arrival),
    Wake(Host),
    Step(usize),
    Do {
        phone: usize,
        boot: u32,
        call: CallRef,
        op: Op,
    },
    PowerOn(Host),
    /// Without a relay: what it would tell.
    StreamClosed(media::StreamId),
    RelayWake,
}

struct PhoneHost {
    plan: PhonePlan,
    host: Host,
    config: PhoneConfig,
    phone: Option<Phone>,
    /// Counts power-ups: what was meant for the phone before means nothing to the one after.
    boot: u32,
    /// What the step that made a call had drawn for it.
    calls: BTreeMap<CallRef, CallScript>,
    /// In runs with media: whom it should hear.
    listening: BTreeMap<CallRef, Listening>,
}

struct CallScript {
    seed: u64,
    callee: Option<usize>,
    answered: bool,
}

/// What one end of a call heard.
#[derive(Clone, Copy)]
struct Listening {
    /// The extension at the other end.
    peer: usize,
    since: Instant,
}

/// The system.
pub struct World<'a> {
    plan: &'a Plan,
    start: Instant,
    now: Instant,
    queue: BTreeMap<(Instant, u64), Item>,
    next_item: u64,
    wake: Vec<Option<Instant>>,
    net: Net,
    switch: Option<Switch>,
    relay: Option<MediaHost>,
    relay_wake: Option<Instant>,
    switch_boots: u64,
    site: Site,
    phones: Vec<PhoneHost>,
    audit: Audit,
    summary: Summary,
    ends: Vec<End>,
    pub trace: Trace,
    limits: Limits,
    rng: ChaCha8Rng,
    /// Steps of the loop that remain before the run is called endless.
    budget: u64,
    closing: bool,
}

impl<'a> World<'a> {
    /// The world at its beginning.
    #[allow(clippy::disallowed_methods, reason = "virtual time has to begin at some instant; only differences count")]
    pub fn new(plan: &'a Plan, traced: bool) -> Self {
        let start = Instant::now();
        let mut rng = ChaCha8Rng::seed_from_u64(plan.seed ^ 0x5EED);
        let mut net = Net::new(ChaCha8Rng::seed_from_u64(rng.random()));
        let config = switch_config();
        net.add(config.listeners.iter().map(|listener| listener.sip.clone()).collect(), Link::PERFECT);
        let mut audit = Audit::default();
        for word in [DOMAIN, "192.0.2.1", "telephone-event"] {
            audit.allow(word);
        }
        let phones = plan
            .phones
            .iter()
            .enumerate()
            .map(|(index, phone)| {
                let config = phone_config(index, phone, plan.media);
                let host = net.add(vec![config.listener.clone()], phone.link);
                audit.belongs(host, phone.extension);
                audit.own(host, &phone_address(index).to_string());
                audit.own(host, config.user_agent.as_deref().unwrap_or_default());
                audit.own(host, config.instance.as_deref().unwrap_or_default());
                audit.own(host, &config.display_name);
                let calls = BTreeMap::new();
                let phone_of = Some(Phone::new(config.clone(), rng.random()));
                let listening = BTreeMap::new();
                PhoneHost { plan: *phone, host, config, phone: phone_of, boot: 0, calls, listening }
            })
            .collect::<Vec<_>>();
        let site = site(plan);
        let mut world = Self {
            plan,
            start,
            now: start,
            queue: BTreeMap::new(),
            next_item: 0,
            wake: vec![None; phones.len() + 1],
            net,
            switch: None,
            relay: None,
            relay_wake: None,
            switch_boots: 0,
            site,
            phones,
            audit,
            summary: Summary::default(),
            ends: Vec::new(),
            trace: Trace::new(traced),
            limits: Limits::default(),
            rng,
            budget: 200_000 + plan.calls() as u64 * if plan.media { 40_000 } else { 4000 },
            closing: false,
        };
        world.boot_switch();
        for (index, step) in plan.steps.iter().enumerate() {
            world.push(start + step.at, Item::Step(index));
        }
        world
    }

    fn push(&mut self, at: Instant, item: Item) {
        self.next_item += 1;
        self.queue.insert((at.max(self.now), self.next_item), item);
    }

    fn push_all(&mut self, arrivals: Arrivals) {
        for (at, host, arrival) in arrivals {
            self.push(at, Item::Arrive(host, arrival));
        }
    }

    /// Runs the plan to its end and judges it.
    pub fn run(mut self) -> Outcome {
        let last = self.plan.steps.iter().map(|step| step.at).max().unwrap_or_default();
        self.run_until(self.start + last + TAIL);
        self.close();
        let deadline = self.now + SETTLE;
        while self.audit.violations.is_empty() && !self.is_at_rest() && self.now < deadline {
            self.run_until((self.now + Duration::from_secs(20)).min(deadline));
        }
        self.judge();
        self.summary.messages = self.audit.messages;
        self.summary.records = self.audit.ended.len();
        self.summary.lasted = self.now - self.start;
        let result = if self.audit.violations.is_empty() {
            Ok(self.summary)
        } else {
            Err(Failure { violations: self.audit.violations, summary: self.summary })
        };
        let records = self.audit.ended.into_values().map(|record| *record).collect();
        Outcome { result, records, ends: self.ends, trace: self.trace }
    }

    fn run_until(&mut self, end: Instant) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end || !self.audit.violations.is_empty() {
                break;
            }
            if self.budget == 0 {
                return self.audit.violate("the run does not come to an end: something goes round in circles");
            }
            self.budget -= 1;
            let ((at, _), item) = entry.remove_entry();
            self.now = at;
            self.happen(item);
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, item: Item) {
        match item {
            Item::Arrive(host, arrival) => {
                if host == SWITCH {
                    self.switch_takes(arrival);
                } else {
                    self.phone_takes(host.0 - 1, arrival);
                }
            }
            Item::Wake(host) => self.on_wake(host),
            Item::RelayWake => self.on_relay_wake(),
            Item::Step(index) => self.on_step(self.plan.steps[index]),
            Item::Do { phone, boot, call, op } => {
                if self.phones[phone].boot == boot {
                    self.act(phone, call, op);
                }
            }
            Item::PowerOn(host) => self.power_on(host),
            Item::StreamClosed(id) => {
                let now = self.now;
                if let Some(switch) = &mut self.switch {
                    let report = Box::default();
                    switch.handle_media(now, media::Event::Closed { id, report });
                    self.drain_switch();
                }
            }
        }
    }

    fn on_wake(&mut self, host: Host) {
        let now = self.now;
        self.wake[host.0] = None;
        if host == SWITCH {
            let Some(switch) = &mut self.switch else { return };
            if switch.poll_timeout().is_some_and(|at| at <= now) {
                switch.handle_timeout(now);
            }
            self.drain_switch();
        } else {
            let index = host.0 - 1;
            let Some(phone) = &mut self.phones[index].phone else { return };
            if phone.poll_timeout().is_some_and(|at| at <= now) {
                phone.handle_timeout(now);
            }
            self.drain_phone(index);
        }
    }

    fn set_wake(&mut self, host: Host, at: Option<Instant>) {
        let Some(at) = at else { return };
        if self.wake[host.0].is_none_or(|set| at < set) {
            self.wake[host.0] = Some(at);
            self.push(at, Item::Wake(host));
        }
    }

    fn power_on(&mut self, host: Host) {
        let now = self.now;
        let arrivals = self.net.power(now, host, true);
        self.push_all(arrivals);
        self.trace.note(now - self.start, host, "starts");
        if host == SWITCH {
            self.boot_switch();
            return;
        }
        let index = host.0 - 1;
        let seed = self.rng.random();
        let entry = &mut self.phones[index];
        let mut phone = Phone::new(entry.config.clone(), seed);
        if !self.closing {
            let _ = phone.register(now);
        }
        entry.phone = Some(phone);
        self.drain_phone(index);
    }

    /// The network is good and the switch has been up all the time: everything gets its answer.
    fn expects_answers(&self) -> bool {
        self.plan.mild && self.switch_boots == 1 && self.switch.is_some()
    }

    fn on_step(&mut self, step: Step) {
        let now = self.now;
        self.trace.step(now - self.start, &step);
        let index = step.phone;
        match step.action {
            Action::CrashSwitch { down } => return self.crash(down),
            Action::SetEnabled { extension, enabled } => return self.set_enabled(extension, enabled),
            Action::Reboot { down } => return self.reboot(index, down),
            Action::Register
            | Action::Unregister
            | Action::Call { .. }
            | Action::Message { .. }
            | Action::Options
            | Action::SetAnswer(_) => {}
        }
        let boot = self.phones[index].boot;
        let Some(phone) = &mut self.phones[index].phone else { return };
        // What is refused locally (a full transaction table, say) never becomes an attempt.
        match step.action {
            Action::Register => drop(phone.register(now)),
            Action::Unregister => drop(phone.unregister(now)),
            Action::Message { extension } => drop(phone.message(now, &number(extension), "hello")),
            Action::Options => drop(phone.options(now, "")),
            Action::SetAnswer(answer) => phone.set_answer(answer),
            Action::Call { extension, late_offer, cancel_after } => {
                let number = number(extension);
                let call = if late_offer { phone.call_late_offer(now, &number) } else { phone.call(now, &number) };
                if let Ok(call) = call {
                    self.summary.calls += 1;
                    let script = CallScript { seed: step.seed, callee: Some(extension), answered: false };
                    self.phones[index].calls.insert(call, script);
                    if let Some(after) = cancel_after {
                        self.push(now + after, Item::Do { phone: index, boot, call, op: Op::Cancel });
                    }
                }
            }
            Action::CrashSwitch { .. } | Action::SetEnabled { .. } | Action::Reboot { .. } => {}
        }
        self.drain_phone(index);
    }
}

/// `None` for a keep-alive (RFC 5626 §3.5.1).
fn parse(
    flow: &Flow,
    payload: bytes::Bytes,
    limits: &Limits,
) -> Option<Result<Message, ringfort_sip::message::ParseError>> {
    if payload.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
        return None;
    }
    Some(match flow.transport {
        Transport::Udp => Message::parse_datagram(payload, limits),
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => Message::parse_framed(payload, limits),
    })
}
