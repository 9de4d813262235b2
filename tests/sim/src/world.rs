//! A whole system in virtual time: switch, phones, network, and a queue of what is to happen. Nothing sleeps: time is
//! that of the next entry. Everything comes from the plan, so a run replays.

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
use ringfort_switch::record::UnixMillis;
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
    pub fn run(mut self) -> (Result<Summary, Failure>, Trace) {
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
        (result, self.trace)
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

    // The switch.

    fn boot_switch(&mut self) {
        self.switch_boots += 1;
        let clock = Clock { instant: self.start, unix: EPOCH };
        let mut seed = [0; 32];
        rand::Rng::fill_bytes(&mut self.rng, &mut seed);
        let mut switch = Switch::new(switch_config(), Arc::new(self.site.clone()), clock, seed);
        if self.switch_boots > 1 {
            let bindings = self.audit.restore(self.now);
            switch.restore(self.now, bindings, CallId(self.audit.last_call + 1));
        }
        self.switch = Some(switch);
        self.relay = self.plan.media.then(|| MediaHost::new(self.now, SWITCH_IP, seed));
        self.drain_switch();
    }

    fn on_relay_wake(&mut self) {
        let now = self.now;
        self.relay_wake = None;
        let Some(relay) = &mut self.relay else { return };
        if relay.next().is_some_and(|at| at <= now) {
            for (from, to, payload) in relay.timeout(now) {
                let arrivals = self.net.send_rtp(now, from, to, payload);
                self.push_all(arrivals);
            }
        }
        self.drain_relay();
    }

    /// Tells the switch what the relay has to tell.
    fn drain_relay(&mut self) {
        let now = self.now;
        let Some(relay) = &mut self.relay else { return };
        let mut told = false;
        while let Some(event) = relay.event() {
            told = true;
            if let Some(switch) = &mut self.switch {
                switch.handle_media(now, event);
            }
        }
        if let Some(at) = relay.next()
            && self.relay_wake.is_none_or(|set| at < set)
        {
            self.relay_wake = Some(at);
            self.push(at, Item::RelayWake);
        }
        if told {
            self.drain_switch();
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

    fn switch_takes(&mut self, arrival: Arrival) {
        let now = self.now;
        let Some(switch) = &mut self.switch else { return };
        match arrival {
            Arrival::Sip { flow, payload } => match parse(&flow, payload.clone(), &self.limits) {
                Some(Ok(message)) => {
                    if let Some(from) = self.net.host_of(flow.remote.ip()) {
                        let extension = self.phones[from.0 - 1].plan.extension;
                        self.audit.taken(from, &number(extension), &message);
                        self.trace.message(now - self.start, from, SWITCH, &message);
                    }
                    switch.handle_message(now, message, flow);
                }
                Some(Err(error)) => {
                    self.audit.violate(format!("a phone's message could not be read: {error}"));
                }
                None => {}
            },
            Arrival::ConnClosed { conn } => switch.handle_conn_closed(now, conn),
            Arrival::SendFailed { token, error } => switch.handle_send_failed(now, token, error),
            Arrival::Rtp { from, to, payload } => {
                let onward = self.relay.as_mut().and_then(|relay| relay.packet(now, from, to, &payload));
                if let Some((from, to, payload)) = onward {
                    let arrivals = self.net.send_rtp(now, from, to, payload);
                    self.push_all(arrivals);
                }
                return self.drain_relay();
            }
        }
        self.drain_switch();
    }

    fn drain_switch(&mut self) {
        let now = self.now;
        let Some(switch) = &mut self.switch else { return };
        let mut outputs = Vec::new();
        while let Some(output) = switch.poll_output() {
            outputs.push(output);
        }
        let next = switch.poll_timeout();
        for output in outputs {
            match output {
                Output::Transmit(transmit) => {
                    let remote = transmit.target.remote();
                    if let Some(to) = self.net.host_of(remote.ip())
                        && let Ok(message) = Message::parse_datagram(transmit.payload.clone(), &self.limits)
                    {
                        self.audit.given(to, &message);
                        self.trace.message(now - self.start, SWITCH, to, &message);
                    }
                    let arrivals = self.net.send(now, SWITCH, transmit);
                    self.push_all(arrivals);
                }
                Output::Journal(record) => {
                    self.trace.record(now - self.start, &record);
                    self.audit.journal(now, record);
                }
                Output::Media(command) if self.relay.is_some() => {
                    if let Some(relay) = &mut self.relay {
                        relay.command(now, command);
                    }
                }
                Output::Media(media::Command::Close { id }) => {
                    self.push(now + Duration::from_millis(20), Item::StreamClosed(id));
                }
                Output::Media(_) => {}
                Output::CloseConn(conn) => {
                    let arrivals = self.net.close(now, conn);
                    self.push_all(arrivals);
                }
                Output::Notice(notice) => self.trace.note(now - self.start, SWITCH, &notice.text),
            }
        }
        self.audit.pause();
        self.set_wake(SWITCH, next);
        self.drain_relay();
    }

    // The phones.

    fn phone_takes(&mut self, index: usize, arrival: Arrival) {
        let now = self.now;
        let Some(phone) = &mut self.phones[index].phone else { return };
        match arrival {
            Arrival::Sip { flow, payload } => match parse(&flow, payload, &self.limits) {
                Some(Ok(message)) => phone.handle_message(now, message, flow),
                Some(Err(error)) => self.audit.violate(format!("a message of the switch cannot be read: {error}")),
                None => {}
            },
            Arrival::ConnClosed { conn } => phone.handle_conn_closed(now, conn),
            Arrival::SendFailed { token, error } => phone.handle_send_failed(now, token, error),
            Arrival::Rtp { to, mut payload, .. } => phone.handle_rtp(now, to.port(), &mut payload),
        }
        self.drain_phone(index);
    }

    fn drain_phone(&mut self, index: usize) {
        let now = self.now;
        loop {
            let entry = &mut self.phones[index];
            let Some(phone) = &mut entry.phone else { return };
            let mut idle = true;
            while let Some(transmit) = phone.poll_transmit() {
                idle = false;
                let arrivals = self.net.send(now, entry.host, transmit);
                for (at, host, arrival) in arrivals {
                    self.next_item += 1;
                    self.queue.insert((at.max(now), self.next_item), Item::Arrive(host, arrival));
                }
            }
            while let Some(rtp) = phone.poll_rtp(now) {
                let from = SocketAddr::new(phone_address(index), rtp.port);
                for (at, host, arrival) in self.net.send_rtp(now, from, rtp.remote, rtp.payload) {
                    self.next_item += 1;
                    self.queue.insert((at.max(now), self.next_item), Item::Arrive(host, arrival));
                }
            }
            while let Some(event) = self.phones[index].phone.as_mut().and_then(Phone::poll_event) {
                idle = false;
                self.on_phone_event(index, event);
            }
            if idle {
                break;
            }
        }
        let entry = &self.phones[index];
        let next = entry.phone.as_ref().and_then(Phone::poll_timeout);
        self.set_wake(entry.host, next);
    }

    fn on_phone_event(&mut self, index: usize, event: Event) {
        self.trace.event(self.now - self.start, self.phones[index].host, &event);
        match event {
            Event::Answered { call } => {
                if let Some(peer) = self.phones[index].calls.get(&call).and_then(|script| script.callee) {
                    self.phones[index].listening.insert(call, Listening { peer, since: self.now });
                } else if let Some(listening) = self.phones[index].listening.get_mut(&call) {
                    listening.since = self.now;
                }
                let boot = self.phones[index].boot;
                let entry = &mut self.phones[index];
                let outgoing = entry.calls.get_mut(&call);
                let seed = match outgoing {
                    Some(script) => {
                        script.answered = true;
                        self.summary.answered += 1;
                        script.seed
                    }
                    None => entry.plan.seed ^ call.0.wrapping_mul(0x9E37_79B9_7F4A_7C15),
                };
                for (after, op) in script::talk(seed) {
                    self.push(self.now + after, Item::Do { phone: index, boot, call, op });
                }
            }
            Event::Incoming { call, from, .. } => {
                let peer = (0..self.plan.extensions).find(|&n| number(n) == from);
                match peer {
                    Some(peer) => {
                        self.phones[index].listening.insert(call, Listening { peer, since: self.now });
                    }
                    None => self.audit.violate(format!("phone {index} is called by {from:?}, which does not exist")),
                }
            }
            Event::Ended { call, status, by, reason } => {
                self.phones[index].listening.remove(&call);
                if let Some(script) = self.phones[index].calls.remove(&call) {
                    *self.summary.statuses.entry(if script.answered { 200 } else { status }).or_default() += 1;
                    if !script.answered && by == EndedBy::Lost && self.expects_answers() {
                        let number = script.callee.map(number).unwrap_or_default();
                        self.audit.violate(format!(
                            "phone {index} called {number} and got no final answer from the switch: {status} {reason}"
                        ));
                    }
                }
            }
            Event::RegisterFailed { status } => {
                let enabled = self.site.extensions.values().nth(self.phones[index].plan.extension);
                if enabled.is_some_and(|extension| extension.enabled)
                    && self.expects_answers()
                    && self.site.revision == 1
                {
                    self.audit.violate(format!("phone {index} could not register: {status}"));
                }
            }
            Event::Registered { .. }
            | Event::Unregistered
            | Event::Ringing { .. }
            | Event::Media { .. }
            | Event::ChangeFailed { .. }
            | Event::Message { .. }
            | Event::Info { .. }
            | Event::Done { .. } => {}
        }
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

    fn crash(&mut self, down: Duration) {
        if self.switch.take().is_none() {
            return;
        }
        self.wake[0] = None;
        self.relay = None;
        self.queue.retain(|_, item| !matches!(item, Item::Wake(SWITCH) | Item::StreamClosed(_)));
        self.trace.note(self.now - self.start, SWITCH, "dies");
        let arrivals = self.net.power(self.now, SWITCH, false);
        self.push_all(arrivals);
        self.audit.crashed();
        self.audit.restore(self.now - JOURNAL_LOSS);
        self.push(self.now + down, Item::PowerOn(SWITCH));
    }

    fn set_enabled(&mut self, extension: usize, enabled: bool) {
        self.site.revision += 1;
        if let Some(extension) = self.site.extensions.get_mut(&ExtensionId(extension as u32 + 1)) {
            extension.enabled = enabled;
        }
        if let Some(switch) = &mut self.switch {
            switch.apply_site(self.now, Arc::new(self.site.clone()));
        }
        self.drain_switch();
    }

    fn reboot(&mut self, index: usize, down: Duration) {
        let entry = &mut self.phones[index];
        if entry.phone.take().is_none() {
            return;
        }
        entry.boot += 1;
        entry.calls.clear();
        entry.listening.clear();
        let host = entry.host;
        self.wake[host.0] = None;
        self.queue.retain(|_, item| !matches!(item, Item::Wake(of) if *of == host));
        self.trace.note(self.now - self.start, host, "loses power");
        let arrivals = self.net.power(self.now, host, false);
        self.push_all(arrivals);
        self.push(self.now + down, Item::PowerOn(host));
    }

    /// A call is about to be hung up: did this end hear its peer, and nobody else?
    fn listen(&mut self, index: usize, call: CallRef) {
        let entry = &self.phones[index];
        let Some(listening) = entry.listening.get(&call) else { return };
        let Some(report) = entry.phone.as_ref().and_then(|phone| phone.media_report(call)) else { return };
        if self.now < listening.since + Duration::from_secs(2) {
            return;
        }
        self.summary.listened += 1;
        match report.heard.hertz {
            None => {}
            Some(hertz) if hertz == tone(listening.peer) => self.summary.heard += 1,
            Some(hertz) => self.audit.violate(format!(
                "phone {index} heard {hertz} Hz in {call:?}, but its peer plays {} Hz: {report:?}",
                tone(listening.peer)
            )),
        }
    }

    fn act(&mut self, index: usize, call: CallRef, op: Op) {
        let now = self.now;
        if matches!(op, Op::HangUp | Op::BothHangUp) {
            self.listen(index, call);
        }
        let callee = self.phones[index].calls.get(&call).and_then(|script| script.callee);
        if let Some(phone) = &mut self.phones[index].phone {
            self.trace.op(now - self.start, Host(index + 1), call, op);
            // A verb that no longer fits the call (it ended meanwhile) is refused, and that is all.
            let _ = script::act(phone, now, call, op);
        }
        self.drain_phone(index);
        // Some things happen at both ends in the same moment.
        if let (true, Some(extension)) = (op.is_mutual(), callee) {
            for other in 0..self.phones.len() {
                if other == index || self.phones[other].plan.extension != extension {
                    continue;
                }
                if let Some(phone) = &mut self.phones[other].phone
                    && let Some(theirs) = phone.talking().last()
                {
                    let _ = script::act(phone, now, theirs, op);
                    self.drain_phone(other);
                }
            }
        }
    }

    // The end.

    /// Everybody hangs up and unregisters; the network has no more faults.
    fn close(&mut self) {
        self.closing = true;
        let now = self.now;
        self.net.mend();
        for index in 0..self.phones.len() {
            if let Some(phone) = &mut self.phones[index].phone {
                let calls: Vec<CallRef> = phone.calls().collect();
                for call in calls {
                    let _ = phone.hang_up(now, call);
                }
                let _ = phone.unregister(now);
            }
            self.drain_phone(index);
        }
    }

    fn is_at_rest(&mut self) -> bool {
        let now = self.now;
        let phones_rest = self.phones.iter().all(|entry| {
            entry.phone.as_ref().is_some_and(|phone| {
                let counts = phone.counts();
                phone.calls().next().is_none() && counts.client + counts.server + counts.dialogs == 0
            })
        });
        let Some(switch) = &mut self.switch else { return false };
        let idle = switch.is_idle();
        let CommandReply::Status(status) = switch.handle_command(now, Command::Status) else { return false };
        phones_rest
            && idle
            && status.calls == 0
            && status.transactions == 0
            && status.dialogs == 0
            && status.media_streams == 0
            && status.media_ports == 0
    }

    fn judge(&mut self) {
        if !self.audit.violations.is_empty() {
            return;
        }
        let now = self.now;
        for (index, entry) in self.phones.iter().enumerate() {
            let Some(phone) = &entry.phone else { continue };
            let calls: Vec<CallRef> = phone.calls().collect();
            if !calls.is_empty() {
                self.audit.violate(format!("phone {index} still has calls {calls:?}"));
            }
            let counts = phone.counts();
            if counts.client + counts.server + counts.dialogs != 0 {
                self.audit.violate(format!("phone {index} still has {counts:?}"));
            }
        }
        let streams = self.relay.as_ref().map_or(0, MediaHost::streams);
        if streams != 0 {
            self.audit.violate(format!("the relay still has {streams} streams"));
        }
        if let Some(switch) = &mut self.switch {
            if !switch.is_idle() {
                self.audit.violate("the switch is not idle");
            }
            if let CommandReply::Status(status) = switch.handle_command(now, Command::Status) {
                let left = [
                    ("calls", status.calls),
                    ("transactions", status.transactions),
                    ("dialogs", status.dialogs),
                    ("media streams", status.media_streams),
                    ("media ports", status.media_ports),
                ];
                for (what, count) in left {
                    if count != 0 {
                        self.audit.violate(format!("the switch still has {count} {what}"));
                    }
                }
                if status.registrations != 0 && self.switch_boots == 1 && self.plan.mild && self.site.revision == 1 {
                    self.audit.violate(format!("the switch still has {} registrations", status.registrations));
                }
            }
        }
        self.audit.settle(self.switch_boots == 1);
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
