//! A whole system in virtual time: switch, phones, network, and a queue of what is to happen. Nothing sleeps: time is
//! that of the next entry. Everything comes from the plan, so a run replays.

mod ending;
mod phone_hosts;
mod restart;
mod steps;
mod switch_host;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use ringfort_guard::BanSet;
use ringfort_media::types as media;
use ringfort_phone::{CallRef, EndedBy, Event, Phone, PhoneConfig};
use ringfort_sip::flow::{Flow, Transmit, Transport};
use ringfort_sip::message::{Limits, Message};
use ringfort_switch::io::{Command, CommandReply, Output};
use ringfort_switch::model::{ExtensionId, Site};
use ringfort_switch::record::{Cdr, UnixMillis};
use ringfort_switch::{Clock, Switch};

use crate::audit::{Audit, Party};
use crate::front::Front;
use crate::lines;
use crate::media::MediaHost;
use crate::net::{Arrival, Arrivals, Host, Link, Net};
use crate::plan::{Action, PhonePlan, Plan};
use crate::script::{self, Op};
use crate::setup::{
    DOMAIN, MOST_LINES, SWITCH_IP, carrier_config, number, phone_address, phone_config, site, switch_config, tone,
};
use crate::trace::Trace;

/// The switch's host.
const SWITCH: Host = Host(0);
/// Virtual time begins here.
const EPOCH: UnixMillis = UnixMillis(1_700_000_000_000);
/// After the last step calls may ring and talk that long.
const TAIL: Duration = Duration::from_secs(150);
/// And when everybody has hung up, that long until nothing is left.
const SETTLE: Duration = Duration::from_secs(3600);
/// When everybody has hung up and had his answer, the lines are given up.
const LINES_AFTER: Duration = Duration::from_secs(40);

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
    /// Calls that left by a trunk and were answered, those of them that another trunk was tried for before, and those that
    /// came by a trunk and were answered.
    pub left: usize,
    pub failed_over: usize,
    pub arrived: usize,
    /// Answers with credentials that carriers got.
    pub proven: usize,
    /// 2xx for a dialog that was not kept.
    pub strays: usize,
    /// Bans, and returns of the switch from death.
    pub bans: usize,
    pub restarts: usize,
    /// The most lines of media that were on in a description of the switch, and the most reliable provisional answers that
    /// one INVITE got.
    pub most_lines: usize,
    pub most_reliable: usize,
    /// In runs with media: ends of calls of two seconds and more, and those that heard their peer's tone.
    pub listened: usize,
    pub heard: usize,
    /// Virtual time.
    pub lasted: Duration,
}

impl Summary {
    /// Both together.
    pub fn add(&mut self, other: &Summary) {
        for (ours, theirs) in [
            (&mut self.calls, other.calls),
            (&mut self.answered, other.answered),
            (&mut self.records, other.records),
            (&mut self.left, other.left),
            (&mut self.failed_over, other.failed_over),
            (&mut self.arrived, other.arrived),
            (&mut self.proven, other.proven),
            (&mut self.strays, other.strays),
            (&mut self.bans, other.bans),
            (&mut self.restarts, other.restarts),
            (&mut self.listened, other.listened),
            (&mut self.heard, other.heard),
        ] {
            *ours += theirs;
        }
        self.messages += other.messages;
        self.lasted += other.lasted;
        self.most_lines = self.most_lines.max(other.most_lines);
        self.most_reliable = self.most_reliable.max(other.most_reliable);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
    }
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
    /// What a phone was slow to send.
    Send {
        phone: usize,
        boot: u32,
        transmit: Transmit,
    },
    PowerOn(Host),
    /// The switch looks again.
    Thaw,
    /// Without a relay: what it would tell.
    StreamClosed(media::StreamId),
    RelayWake,
}

struct PhoneHost {
    plan: PhonePlan,
    host: Host,
    address: IpAddr,
    config: PhoneConfig,
    phone: Option<Phone>,
    /// Which carrier's it is, and what stands before it.
    carrier: Option<(usize, Front)>,
    /// CSeq of the INVITE that began a call, by Call-ID; 0 where it was ours. Where answers are twisted.
    invited: BTreeMap<String, u32>,
    /// When the first PRACK of a call was due, by Call-ID. Where they are held back.
    pracked: BTreeMap<String, Instant>,
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
    /// What waits while nobody looks.
    frozen: Option<Vec<Item>>,
    /// The switch dies after so many more outputs, and is down so long.
    dying: Option<(u32, Duration)>,
    /// The sources that are dropped unread.
    bans: Arc<BanSet>,
    site: Site,
    /// Extensions were disabled or enabled.
    extensions_changed: bool,
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
        let mut audit = Audit::new(plan, MOST_LINES);
        for word in [DOMAIN, "192.0.2.1", "telephone-event"] {
            audit.allow(word);
        }
        let phones = plan.phones.iter().zip(0..).map(|(phone, index)| {
            let address = phone_address(index, phone);
            (*phone, address, phone_config(index, phone, plan.media), None)
        });
        let carriers = plan.carriers().iter().zip(0..).map(|(carrier, index)| {
            let front = Front::new(*carrier, index, carrier.seed);
            (carrier.phone(), lines::address(index), carrier_config(index, carrier), Some((index, front)))
        });
        let phones = phones.chain(carriers).collect::<Vec<_>>().into_iter().map(|(plan, address, config, carrier)| {
            let host = net.add(vec![config.listener.clone()], plan.link);
            match &carrier {
                Some((index, _)) => {
                    audit.is_carrier(host, *index);
                    audit.own(SWITCH, &lines::password(*index));
                }
                None => {
                    audit.belongs(host, plan.extension);
                    // The name of a carrier's caller is for the phone that is called.
                    audit.own(host, &config.display_name);
                }
            }
            if plan.thief {
                audit.may_be_banned(address);
            }
            audit.own(host, &address.to_string());
            audit.own(host, config.user_agent.as_deref().unwrap_or_default());
            audit.own(host, config.instance.as_deref().unwrap_or_default());
            let phone = Some(Phone::new(config.clone(), rng.random()));
            let (invited, pracked, calls, listening) = Default::default();
            PhoneHost { plan, host, address, config, phone, carrier, invited, pracked, boot: 0, calls, listening }
        });
        let phones = phones.collect::<Vec<_>>();
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
            frozen: None,
            dying: None,
            bans: Arc::new(BanSet::empty()),
            site,
            extensions_changed: false,
            phones,
            audit,
            summary: Summary::default(),
            ends: Vec::new(),
            trace: Trace::new(traced, plan.phones.len()),
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
        if self.plan.lines.is_some() {
            self.run_until(self.now + LINES_AFTER);
            self.give_up_lines();
        }
        let deadline = self.now + SETTLE;
        while self.audit.violations.is_empty() && !self.is_at_rest() && self.now < deadline {
            self.run_until((self.now + Duration::from_secs(20)).min(deadline));
        }
        self.judge();
        self.summary.messages = self.audit.messages;
        self.summary.records = self.audit.ended.len();
        self.summary.lasted = self.now - self.start;
        self.summary.restarts = self.switch_boots as usize - 1;
        self.audit.sum_up(&mut self.summary);
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
        let of_switch = matches!(item, Item::Arrive(SWITCH, _) | Item::Wake(SWITCH) | Item::StreamClosed(_));
        if let Some(waiting) = self.frozen.as_mut().filter(|_| of_switch) {
            // Timers are looked at when all that came has been read.
            if matches!(item, Item::Wake(_)) {
                self.wake[SWITCH.0] = None;
            } else {
                waiting.push(item);
            }
            return;
        }
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
            Item::Step(index) => self.on_step(index),
            Item::Do { phone, boot, call, op } => {
                if self.phones[phone].boot == boot {
                    self.act(phone, call, op);
                }
            }
            Item::Send { phone, boot, transmit } => {
                if self.phones[phone].boot == boot {
                    let arrivals = self.net.send(self.now, self.phones[phone].host, transmit);
                    self.push_all(arrivals);
                }
            }
            Item::PowerOn(host) => self.power_on(host),
            Item::Thaw => self.thaw(),
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
            self.look_late(index);
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
        match &mut entry.carrier {
            Some((carrier, front)) => *front = Front::new(self.plan.carriers()[*carrier], *carrier, seed),
            None if !self.closing => drop(phone.register(now)),
            None => {}
        }
        entry.phone = Some(phone);
        self.audit.carrier_power(now, host, true);
        self.drain_phone(index);
    }

    /// The network is good and the switch has been up all the time: everything gets its answer.
    fn expects_answers(&self) -> bool {
        self.plan.mild && self.switch_boots == 1 && self.switch.is_some()
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
