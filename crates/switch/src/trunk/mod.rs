//! Lines to providers as long as they stand: registered with those that want it (`register`), asked whether they live
//! (`health`), tried by the administrator (`trial`), told in words (`report`). Calls over them are in `call`.

mod health;
mod register;
mod registration;
mod report;
mod trial;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use rand::RngExt;
use ringfort_sip::dialog::DialogId;
use ringfort_sip::endpoint::{ClientTx, FailCause};
use ringfort_sip::flow::{ConnId, Flow, ListenerId, Transmit};
use ringfort_sip::locate::{LocateError, LookupId, Request, Target, Targets};
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_sip::uri::Uri;
use rustc_hash::{FxHashMap, FxHashSet};
use sha2::Sha256;

use crate::config::SecretKey;
use crate::io::{Level, TrunkState};
use crate::line;
use crate::model::{Trunk, TrunkId, TrunkKind};
use crate::timers::Timer;
use crate::{Switch, advice};

use self::health::Health;
use self::register::Leaving;
pub(crate) use self::registration::retry_after;
use self::registration::{Registration, Standing};
use self::trial::Trial;

/// First requests of many trunks are spread: this long for each.
const SPREAD: Duration = Duration::from_millis(20);

/// What a request to a trunk is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TrunkUse {
    Register(TrunkId),
    Check(TrunkId),
    /// A registration that is taken back.
    Leave(u64),
    Trial(u64),
}

/// What a trunk is to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wake {
    /// A registration is due.
    Register,
    /// The REGISTER that is open had no answer in its time.
    RegisterUnheard,
    /// A health check is due.
    Check,
    CheckUnheard,
    /// The NAT on the way is reminded.
    KeepAlive,
}

/// One thing that is tried at the targets of a trunk, one after another.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    /// Of a check: when it began.
    began: Option<Instant>,
    lookup: Option<LookupId>,
    targets: Targets,
    target: Option<Target>,
    tx: Option<ClientTx>,
    /// What came of the last target, in words.
    why: String,
    /// The longest Retry-After that a target gave.
    retry_after: Option<Duration>,
}

/// A trunk of the site in force.
#[derive(Debug)]
pub(crate) struct Entry {
    trunk: Trunk,
    /// User part of our Contact: what comes for it comes from this trunk.
    contact: String,
    registration: Option<Registration>,
    attempt: Option<Attempt>,
    health: Health,
    check: Option<Attempt>,
    /// Where it was reached last.
    target: Option<Target>,
    /// The path of the last answer to a REGISTER.
    flow: Option<Flow>,
    /// The realm for which it has taken credentials of ours.
    realm: Option<String>,
    /// As what we appear to it (`received` and `rport` of our Via), and when that last changed.
    seen_as: Option<(String, Instant)>,
    wakes: BTreeMap<Wake, Instant>,
    /// What was told last, and since when it is so.
    told: TrunkState,
    since: Instant,
    failures: u64,
    last_error: Option<(Instant, String)>,
    calls_in: u64,
    calls_out: u64,
}

/// All of them.
pub(crate) struct Trunks {
    mac: Hmac<Sha256>,
    entries: BTreeMap<TrunkId, Entry>,
    by_contact: FxHashMap<String, TrunkId>,
    /// Where they were reached last: what comes from there is no stranger's.
    remotes: FxHashSet<SocketAddr>,
    leaving: BTreeMap<u64, Leaving>,
    trials: BTreeMap<u64, Trial>,
    next: u64,
}

impl Trunks {
    pub fn new(key: &SecretKey) -> Self {
        Self {
            mac: Hmac::new_from_slice(key.reveal()).expect("HMAC takes a key of any length"),
            entries: BTreeMap::new(),
            by_contact: FxHashMap::default(),
            remotes: FxHashSet::default(),
            leaving: BTreeMap::new(),
            trials: BTreeMap::new(),
            next: 0,
        }
    }

    /// The user part of a trunk's Contact: nobody can guess it, and it is the same after a restart, so that a provider
    /// replaces the contact that it has.
    fn contact_user(&self, id: TrunkId) -> String {
        let mut mac = self.mac.clone();
        mac.update(b"trunk contact");
        mac.update(&id.0.to_be_bytes());
        let tag = mac.finalize().into_bytes();
        let mut user = "rt".to_owned();
        for byte in &tag[..8] {
            user.push_str(&format!("{byte:02x}"));
        }
        user
    }

    /// The realm that a trunk proved itself with, when it registered us or took a call with our credentials.
    pub fn realm_of(&self, id: TrunkId) -> Option<&str> {
        let entry = self.entries.get(&id)?;
        let registered = entry.registration.as_ref().and_then(Registration::realm);
        registered.or(entry.realm.as_deref())
    }

    /// The trunk has taken credentials for this realm: no other one gets any while it is up.
    pub fn keep_realm(&mut self, id: TrunkId, realm: &str) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.realm.get_or_insert_with(|| realm.to_owned());
        }
    }

    /// A call came to nothing, and it was no person's word.
    pub fn call_failed(&mut self, now: Instant, id: TrunkId, words: String) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.failed(now, words);
        }
    }

    /// RFC 3608: Route values of requests to the trunk, behind those of its proxy.
    pub fn service_route(&self, id: TrunkId) -> &[String] {
        self.entries
            .get(&id)
            .and_then(|entry| entry.registration.as_ref())
            .map_or(&[], |registration| &registration.service_route)
    }

    /// Where calls to a trunk are sent: its proxy, else the first hop that it named, else its server.
    pub fn call_hop<'a>(&'a self, trunk: &'a Trunk) -> &'a str {
        let named = self.service_route(trunk.id).first().map(|route| route.trim_matches(['<', '>']));
        trunk.outbound_proxy.as_deref().or(named).unwrap_or(&trunk.server)
    }

    /// Whether a trunk was last reached there.
    pub fn knows_remote(&self, remote: SocketAddr) -> bool {
        self.remotes.contains(&remote)
    }

    /// Whether that is where a trunk was reached last.
    pub fn is_reached_at(&self, id: TrunkId, remote: SocketAddr) -> bool {
        self.entries.get(&id).and_then(|entry| entry.target.as_ref()).is_some_and(|target| target.address == remote)
    }

    /// Whether calls should try it before those that are down.
    pub fn up(&self, id: TrunkId) -> bool {
        self.entries.get(&id).is_some_and(|entry| {
            matches!(entry.state(), TrunkState::Registered | TrunkState::Up | TrunkState::Unchecked)
        })
    }

    /// A call begins on it.
    pub fn count_call(&mut self, id: TrunkId, outgoing: bool) {
        if let Some(entry) = self.entries.get_mut(&id) {
            *(if outgoing { &mut entry.calls_out } else { &mut entry.calls_in }) += 1;
        }
    }

    /// No registration is being taken back any more.
    pub fn is_settled(&self) -> bool {
        self.leaving.is_empty()
    }

    fn remember_remotes(&mut self) {
        self.remotes = self.entries.values().filter_map(|entry| entry.target.as_ref()).map(|t| t.address).collect();
    }

    fn serial(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

impl Entry {
    fn new(now: Instant, trunk: Trunk, contact: String) -> Self {
        let mut entry = Self {
            contact,
            registration: None,
            attempt: None,
            health: Health::default(),
            check: None,
            target: None,
            flow: None,
            realm: None,
            seen_as: None,
            wakes: BTreeMap::new(),
            told: TrunkState::Disabled,
            since: now,
            failures: 0,
            last_error: None,
            calls_in: 0,
            calls_out: 0,
            trunk,
        };
        entry.told = entry.state();
        entry
    }

    /// What there is to say of it now.
    fn state(&self) -> TrunkState {
        if !self.trunk.enabled {
            return TrunkState::Disabled;
        }
        match (self.trunk.kind, self.registration.as_ref().map(|r| r.standing)) {
            (TrunkKind::Register, None) => TrunkState::Failed,
            (TrunkKind::Register, Some(Standing::Registering)) => TrunkState::Registering,
            (TrunkKind::Register, Some(Standing::Refused)) => TrunkState::Failed,
            (TrunkKind::Register, Some(Standing::Unreachable)) => TrunkState::Unreachable,
            (TrunkKind::Register, Some(Standing::Registered { .. })) => match self.health.verdict {
                Some(false) => TrunkState::Unreachable,
                Some(true) | None => TrunkState::Registered,
            },
            (TrunkKind::Peer, _) => match self.health.verdict {
                Some(true) => TrunkState::Up,
                Some(false) => TrunkState::Unreachable,
                None => TrunkState::Unchecked,
            },
        }
    }

    fn failed(&mut self, now: Instant, words: String) {
        self.failures += 1;
        self.last_error = Some((now, words));
    }
}

/// Whether a change of the settings makes a registration another one.
fn is_other_line(a: &Trunk, b: &Trunk) -> bool {
    let line = |t: &Trunk| {
        let t = t.clone();
        (t.enabled, t.kind, t.server, t.outbound_proxy, t.profile, t.credentials, t.from_domain, t.register_for)
    };
    line(a) != line(b)
}

/// Host part of From and To on a trunk.
fn own_domain(trunk: &Trunk) -> String {
    let server = || Uri::parse(&trunk.server).map_or_else(|_| trunk.server.clone(), |uri| uri.host_str().to_owned());
    trunk.from_domain.clone().unwrap_or_else(server)
}

/// Request-URI of what is for the provider itself.
fn server_uri(trunk: &Trunk) -> String {
    let scheme = if trunk.server.starts_with("sips:") { "sips" } else { "sip" };
    format!("{scheme}:{}", line::server_host(trunk))
}

/// What is to be located for a trunk (RFC 3261 §8.1.2: its proxy before its server).
fn hop(trunk: &Trunk) -> Option<Request> {
    let hop = trunk.outbound_proxy.as_deref().unwrap_or(&trunk.server);
    Uri::parse(hop).ok().and_then(|uri| Request::of_uri(&uri).ok())
}

/// An answer in words, as its sender has it; of digits in it, which may be a person's number, no more than four in a row.
pub(crate) fn said(response: &Message) -> String {
    const LONGEST: usize = 60;
    let mut words = response.status().to_string();
    let mut digits = 0;
    for c in response.reason_phrase().trim().chars().filter(|c| !c.is_control()).take(LONGEST) {
        digits = if c.is_ascii_digit() { digits + 1 } else { 0 };
        match digits {
            0..=4 => {
                if words.len() == 3 {
                    words.push(' ');
                }
                words.push(c);
            }
            5 => words.push('…'),
            _ => {}
        }
    }
    words
}

fn place(target: &Target) -> String {
    format!("{} by {}", target.address, target.transport)
}

impl Switch {
    /// The trunk whose Contact has this user part: several providers at one address are told apart by it.
    pub fn trunk_of_contact_user(&self, user: &str) -> Option<TrunkId> {
        self.trunks.by_contact.get(user).copied()
    }

    /// The site has changed, or the system has started: new trunks begin, others end, changed ones begin anew.
    pub(crate) fn trunks_follow(&mut self, now: Instant) {
        let site = self.directory.site().clone();
        let gone: Vec<TrunkId> =
            self.trunks.entries.keys().copied().filter(|id| !site.trunks.contains_key(id)).collect();
        for id in gone {
            self.trunk_ends(now, id);
            if let Some(entry) = self.trunks.entries.remove(&id) {
                self.trunks.by_contact.remove(&entry.contact);
            }
        }
        let mut begin = Vec::new();
        for (id, trunk) in &site.trunks {
            match self.trunks.entries.get_mut(id) {
                Some(entry) if !is_other_line(&entry.trunk, trunk) => {
                    let checks_changed = entry.trunk.health_every != trunk.health_every;
                    entry.trunk = trunk.clone();
                    if checks_changed {
                        self.check_soon(now, *id, SPREAD);
                    }
                }
                Some(_) => {
                    self.trunk_ends(now, *id);
                    let entry = self.trunks.entries.get_mut(id).expect("it was just there");
                    let anew = Entry::new(now, trunk.clone(), entry.contact.clone());
                    let before = std::mem::replace(entry, anew);
                    (entry.calls_in, entry.calls_out) = (before.calls_in, before.calls_out);
                    begin.push(*id);
                }
                None => {
                    let contact = self.trunks.contact_user(*id);
                    self.trunks.by_contact.insert(contact.clone(), *id);
                    self.trunks.entries.insert(*id, Entry::new(now, trunk.clone(), contact));
                    begin.push(*id);
                }
            }
        }
        self.trunks.remember_remotes();
        let spread = SPREAD * u32::try_from(begin.len()).unwrap_or(u32::MAX);
        for id in begin {
            self.trunk_begins(now, id, spread);
        }
    }

    /// `spread`: within which time it begins.
    fn trunk_begins(&mut self, now: Instant, id: TrunkId, spread: Duration) {
        if self.draining {
            return;
        }
        let credentials = self.credentials_of(id);
        let Some(entry) = self.trunks.entries.get_mut(&id).filter(|entry| entry.trunk.enabled) else { return };
        if entry.trunk.kind == TrunkKind::Register {
            match credentials {
                Some(credentials) => {
                    let registration = Registration::new(credentials, &mut self.rng);
                    entry.registration = Some(registration);
                    entry.told = TrunkState::Registering;
                    let wait = spread.mul_f64(self.rng.random());
                    self.wake_trunk(id, Wake::Register, now + wait);
                }
                None => {
                    let words = "it is to register, and has no user and password: set both".to_owned();
                    entry.failed(now, words);
                    self.tell_trunk(now, id);
                }
            }
        }
        self.check_soon(now, id, spread);
    }

    /// Everything that runs for it ends; a registration is taken back.
    fn trunk_ends(&mut self, now: Instant, id: TrunkId) {
        self.stop_attempt(id, TrunkUse::Register(id));
        self.stop_attempt(id, TrunkUse::Check(id));
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        for (wake, at) in std::mem::take(&mut entry.wakes) {
            self.timers.clear(at, Timer::Trunk(id, wake));
        }
        self.leave(now, id);
    }

    /// No new calls are taken: providers hear it, so that they do not send any.
    pub(crate) fn trunks_leave(&mut self, now: Instant) {
        let ids: Vec<TrunkId> = self.trunks.entries.keys().copied().collect();
        for id in ids {
            self.trunk_ends(now, id);
        }
    }

    /// What runs under this purpose is given up; an answer that comes after all concerns nobody.
    fn stop_attempt(&mut self, id: TrunkId, purpose: TrunkUse) {
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        let (slot, wake) = match purpose {
            TrunkUse::Register(_) => (&mut entry.attempt, Wake::RegisterUnheard),
            TrunkUse::Check(_) | TrunkUse::Leave(_) | TrunkUse::Trial(_) => (&mut entry.check, Wake::CheckUnheard),
        };
        let Some(attempt) = slot.take() else { return };
        if let Some(lookup) = attempt.lookup {
            self.lookups.cancel(lookup);
        }
        if let Some(tx) = attempt.tx {
            self.drop_request(tx);
        }
        self.unwake_trunk(id, wake);
    }

    /// A request whose answer nobody waits for any more.
    fn drop_request(&mut self, tx: ClientTx) {
        self.clients.remove(&tx);
        self.endpoint.abandon(tx);
    }

    fn wake_trunk(&mut self, id: TrunkId, wake: Wake, at: Instant) {
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        if let Some(before) = entry.wakes.insert(wake, at) {
            self.timers.clear(before, Timer::Trunk(id, wake));
        }
        self.timers.set(at, Timer::Trunk(id, wake));
    }

    fn unwake_trunk(&mut self, id: TrunkId, wake: Wake) {
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        if let Some(at) = entry.wakes.remove(&wake) {
            self.timers.clear(at, Timer::Trunk(id, wake));
        }
    }

    pub(crate) fn on_trunk_wake(&mut self, now: Instant, id: TrunkId, wake: Wake) {
        if let Some(entry) = self.trunks.entries.get_mut(&id) {
            entry.wakes.remove(&wake);
        }
        match wake {
            Wake::Register => self.register_trunk(now, id),
            Wake::RegisterUnheard => self.on_register_unheard(now, id),
            Wake::Check => self.check_trunk(now, id),
            Wake::CheckUnheard => self.on_check_unheard(now, id),
            Wake::KeepAlive => self.keep_alive(now, id),
        }
    }

    pub(crate) fn on_trunk_located(&mut self, now: Instant, whose: TrunkUse, result: Result<Targets, LocateError>) {
        match whose {
            TrunkUse::Register(id) => self.on_register_located(now, id, result),
            TrunkUse::Check(id) => self.on_check_located(now, id, result),
            TrunkUse::Trial(id) => self.on_trial_located(now, id, result),
            // It goes where the registration is.
            TrunkUse::Leave(_) => {}
        }
    }

    pub(crate) fn on_trunk_response(
        &mut self,
        now: Instant,
        tx: ClientTx,
        whose: TrunkUse,
        dialog: Option<DialogId>,
        response: &Message,
    ) {
        if response.status() < 200 && !matches!(whose, TrunkUse::Trial(_)) {
            return;
        }
        match whose {
            TrunkUse::Register(id) => self.on_register_answer(now, tx, id, response),
            TrunkUse::Check(id) => self.on_check_answer(now, id, response),
            TrunkUse::Leave(id) => self.on_leave_answer(now, tx, id, response),
            TrunkUse::Trial(id) => self.on_trial_answer(now, tx, id, dialog, response),
        }
    }

    pub(crate) fn on_trunk_failed(&mut self, now: Instant, whose: TrunkUse, cause: FailCause) {
        let words = match cause {
            FailCause::Timeout => "no answer".to_owned(),
            FailCause::Transport(error) => error.to_string(),
            FailCause::ForeignAnswer => "an answer with other tags than the request".to_owned(),
        };
        let outcome = match cause {
            FailCause::Timeout => ringfort_sip::locate::Attempt::TimedOut,
            FailCause::Transport(_) | FailCause::ForeignAnswer => ringfort_sip::locate::Attempt::TransportError,
        };
        match whose {
            TrunkUse::Register(id) => self.on_register_lost(now, id, outcome, words),
            TrunkUse::Check(id) => self.on_check_lost(now, id, outcome, words),
            TrunkUse::Leave(id) => {
                self.trunks.leaving.remove(&id);
            }
            TrunkUse::Trial(id) => self.on_trial_lost(now, id, outcome, words),
        }
    }

    /// An answer has come by that path; those to REGISTER are remembered, for keep-alives and for when it breaks.
    pub(crate) fn trunk_heard(&mut self, message: &Message, flow: &Flow) {
        if !message.is_response() || message.cseq().method != Method::Register {
            return;
        }
        for entry in self.trunks.entries.values_mut() {
            let is_its = |t: &Target| t.address == flow.remote && t.transport == flow.transport;
            let open = entry.attempt.as_ref().and_then(|attempt| attempt.target.as_ref());
            if open.or(entry.target.as_ref()).is_some_and(is_its) {
                entry.flow = Some(*flow);
            }
        }
    }

    /// A connection is gone: those who were registered by it register again, not all at once.
    pub(crate) fn trunk_conn_closed(&mut self, now: Instant, conn: ConnId) {
        let mut lost = Vec::new();
        for (id, entry) in &mut self.trunks.entries {
            if entry.flow.is_some_and(|flow| flow.conn == Some(conn)) {
                entry.flow = None;
                lost.push(*id);
            }
        }
        for id in lost {
            let wait = Duration::from_millis(self.rng.random_range(200..1500));
            self.note_trunk(Level::Debug, id, "trunk.connection", "the connection was closed; registers again".into());
            self.register_soon(now, id, wait);
        }
    }

    /// Says what has changed, once.
    fn tell_trunk(&mut self, now: Instant, id: TrunkId) {
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        let state = entry.state();
        if state == entry.told {
            return;
        }
        let before = std::mem::replace(&mut entry.told, state);
        entry.since = now;
        let at = entry.target.as_ref().map(place).unwrap_or_default();
        let why = entry.last_error.as_ref().map(|(_, words)| words.clone()).unwrap_or_default();
        let (level, rule, text) = match state {
            TrunkState::Registered => (Level::Info, "trunk.registered", format!("registered at {at}")),
            TrunkState::Up => (Level::Info, "trunk.up", format!("answers at {at}")),
            TrunkState::Failed => (Level::Warn, "trunk.refused", format!("not registered: {why}")),
            TrunkState::Unreachable if before == TrunkState::Registered => (Level::Warn, "trunk.lost", why),
            TrunkState::Unreachable => (Level::Warn, "trunk.unreachable", why),
            TrunkState::Registering | TrunkState::Disabled | TrunkState::Unchecked => return,
        };
        self.note_trunk(level, id, rule, text);
    }

    fn note_trunk(&mut self, level: Level, id: TrunkId, rule: &'static str, text: String) {
        let Some(entry) = self.trunks.entries.get(&id) else { return };
        let (tenant, text) = (entry.trunk.tenant, format!("trunk {}: {text}", entry.trunk.name));
        self.notice(level, Some(tenant), None, rule, text);
    }

    /// The listener for a target of a trunk, or why there is none.
    fn trunk_listener(&self, trunk: &Trunk, target: &Target) -> Result<ListenerId, String> {
        let profile = trunk.profile.as_deref();
        self.listener_for(profile, target).ok_or_else(|| {
            let missing = advice::no_listener(&self.config, profile, target.transport, target.address.is_ipv4());
            format!("{}: add {}", missing.what, missing.mend)
        })
    }

    /// Why a trunk has no target, with what mends it where it is ours.
    fn not_located(&self, trunk: &Trunk, error: LocateError) -> String {
        let ours = (error == LocateError::NoTransport).then(|| advice::unreachable(&self.config, trunk)).flatten();
        let server = trunk.outbound_proxy.as_ref().unwrap_or(&trunk.server);
        ours.unwrap_or_else(|| format!("{server} cannot be located: {error}"))
    }

    /// RFC 5626 §3.5.1: CRLF CRLF keeps the mapping of a NAT on the way.
    fn keep_alive(&mut self, now: Instant, id: TrunkId) {
        let every = self.config.registrar.nat_keepalive;
        let Some(entry) = self.trunks.entries.get(&id) else { return };
        if every.is_zero() || entry.state() != TrunkState::Registered {
            return;
        }
        if let Some(flow) = entry.flow {
            let target = ringfort_sip::flow::Target::Flow(flow);
            let payload = Bytes::from_static(b"\r\n\r\n");
            self.outputs.push_back(crate::io::Output::Transmit(Transmit { target, payload, token: None }));
        }
        self.plan_keep_alive(now, id);
    }

    fn plan_keep_alive(&mut self, now: Instant, id: TrunkId) {
        let every = self.config.registrar.nat_keepalive;
        if every.is_zero() {
            return;
        }
        // RFC 5626 §4.4: between 80 and 100 percent of the interval.
        let wait = every.mul_f64(0.8 + 0.2 * self.rng.random::<f64>());
        self.wake_trunk(id, Wake::KeepAlive, now + wait);
    }
}
