//! Call control as pure code: registrations, calls, routing and one file a feature. A shard owns one `Switch`,
//! feeds it messages, media events, commands and the time, and drains what is to be done.
//! Called by `net` (the running system) and `tests/sim` (whole systems in virtual time).

pub mod advice;
mod arrival;
mod auth;
mod blacklist;
mod call;
pub mod clock;
mod command;
pub mod config;
mod crossing;
pub mod directory;
mod diversion;
mod explain;
mod gruu;
pub mod identity;
pub mod io;
mod line;
mod lookup;
pub mod model;
pub mod money;
pub mod number;
mod out_of_dialog;
pub mod reach;
pub mod record;
pub mod registrar;
pub mod route;
mod spend;
mod streams;
mod timers;
mod trunk;
pub mod voicemail;
mod wall;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::ChaCha12Rng as Rng;
use ringfort_guard::Offence;
use ringfort_media::types as media;
use ringfort_sip::dialog::DialogId;
use ringfort_sip::endpoint::{ClientTx, Endpoint, EndpointConfig, Event, Priority, Response, ServerTx, TransportError};
use ringfort_sip::flow::{ConnId, Flow, Target, Transmit, TransmitToken, Transport};
use ringfort_sip::message::{Message, ParseError};
use ringfort_sip::write::{Headers, ResponseHead};
use rustc_hash::FxHashMap;

use crate::arrival::Sources;
use crate::auth::Challengers;
use crate::blacklist::Blocking;
use crate::call::{Announcements, Call, ClientUse, DialogUse, Purse, Talkers};
pub use crate::clock::Clock;
use crate::config::{ProfileKind, SwitchConfig};
use crate::directory::Directory;
use crate::gruu::Gruus;
use crate::identity::Identities;
use crate::io::{Counters, Level, Notice, Output};
use crate::line::Lines;
use crate::lookup::Lookups;
use crate::model::{CallId, Extension, ExtensionId, SipCredentials, Site, TenantId};
use crate::out_of_dialog::Errand;
use crate::record::{Binding, SpentTotal};
use crate::registrar::Registrar;
use crate::route::Router;
use crate::streams::Streams;
use crate::timers::{Timer, Timers};
use crate::trunk::Trunks;
use crate::voicemail::Mail;
use crate::wall::{Proof, Wall};

/// How often bindings are looked over.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Everything one shard knows. All of it is plain data behind `&mut self`.
pub struct Switch {
    config: SwitchConfig,
    clock: Clock,
    rng: Rng,
    endpoint: Endpoint,
    challengers: Challengers,
    directory: Directory,
    router: Router,
    lookups: Lookups,
    lines: Lines,
    sources: Sources,
    trunks: Trunks,
    purse: Purse,
    registrar: Registrar,
    gruus: Gruus,
    own_addresses: Vec<SocketAddr>,
    calls: FxHashMap<CallId, Box<Call>>,
    announcements: Announcements,
    talkers: Talkers,
    blocking: Blocking,
    mail: Mail,
    /// Who waits for the answer to what we sent.
    clients: FxHashMap<ClientTx, ClientUse>,
    /// Callers that have no final answer yet.
    servers: FxHashMap<ServerTx, CallId>,
    dialogs: FxHashMap<DialogId, DialogUse>,
    /// Changes that wait for the other side's answer: should their sender cancel, it is cancelled there.
    relayed: FxHashMap<ServerTx, ClientTx>,
    /// MESSAGEs on their way.
    errands: FxHashMap<ServerTx, Errand>,
    /// Calls at once, by extension.
    busy: FxHashMap<ExtensionId, u32>,
    wall: Wall,
    identities: Identities,
    streams: Streams,
    timers: Timers,
    next_call: u64,
    next_leg: u64,
    draining: bool,
    counters: Counters,
    /// By the rule that refused.
    refusals: BTreeMap<&'static str, u64>,
    outputs: VecDeque<Output>,
}

impl Switch {
    /// `seed` makes tags, branches, nonces and keys: in production it comes from the operating system.
    pub fn new(config: SwitchConfig, site: Arc<Site>, clock: Clock, seed: [u8; 32]) -> Self {
        let mut rng = Rng::from_seed(seed);
        let endpoint = Endpoint::new(endpoint_config(&config), draw(&mut rng));
        let mut timers = Timers::default();
        timers.set(clock.instant + SWEEP_EVERY, Timer::Sweep);
        let mut switch = Self {
            challengers: Challengers::new(config.nonce_lifetime, draw(&mut rng)),
            router: Router::new(&site),
            lookups: Lookups::new(config.locate.clone(), &config.listeners, draw(&mut rng)),
            lines: Lines::default(),
            sources: Sources::default(),
            trunks: Trunks::new(&config.gruu_key),
            purse: Purse::default(),
            directory: Directory::new(site),
            registrar: Registrar::new(config.registrar),
            gruus: Gruus::new(&config.gruu_key),
            own_addresses: config.listeners.iter().map(|l| l.sip.local).collect(),
            streams: Streams::new(&config.media),
            calls: FxHashMap::default(),
            announcements: Announcements::default(),
            talkers: Talkers::default(),
            blocking: Blocking::default(),
            mail: Mail::default(),
            clients: FxHashMap::default(),
            servers: FxHashMap::default(),
            dialogs: FxHashMap::default(),
            relayed: FxHashMap::default(),
            errands: FxHashMap::default(),
            busy: FxHashMap::default(),
            wall: Wall::new(config.watch.clone(), draw16(&mut rng)),
            identities: Identities::default(),
            timers,
            next_call: 1,
            next_leg: 1,
            draining: false,
            counters: Counters::default(),
            refusals: BTreeMap::new(),
            outputs: VecDeque::new(),
            endpoint,
            rng,
            clock,
            config,
        };
        switch.follow_sources(clock.instant);
        switch.trunks_follow(clock.instant);
        switch
    }

    /// After a restart: what the journal kept. Call ids go on from `next_call`.
    pub fn restore(&mut self, now: Instant, bindings: Vec<Binding>, next_call: CallId) {
        let offered = bindings.len();
        // A phone that knows the old password only is not to ring any more, also where it was changed in between.
        let proven = |b: &Binding, e: &Extension| b.credentials == 0 || b.credentials == e.credentials.fingerprint();
        let known: Vec<Binding> = bindings
            .into_iter()
            .filter(|b| self.directory.extension(b.extension).is_some_and(|e| e.enabled && proven(b, e)))
            .filter_map(|b| self.on_listener_of_today(b))
            .collect();
        let known_count = known.len();
        let taken = self.registrar.restore(now, &self.clock, known);
        self.next_call = self.next_call.max(next_call.0);
        let mut text = format!("{taken} of {offered} registrations restored");
        if known_count > taken {
            let gone = known_count - taken;
            text.push_str(&format!("; {gone} hung on connections that are gone, and come again"));
        }
        if offered > known_count {
            let others = offered - known_count;
            text.push_str(&format!("; {others} are of extensions, credentials or listeners that are no more"));
        }
        self.notice(Level::Info, None, None, "registrar", text);
    }

    /// After a restart: what was spent on the days that still count.
    pub fn restore_spending(&mut self, totals: &[SpentTotal]) {
        for total in totals {
            let currency = match total.currency.as_str() {
                "" => self.currency_of(total.account).unwrap_or_default().to_owned(),
                known => known.to_owned(),
            };
            self.purse.of(&currency).restore(total);
        }
    }

    /// The configuration may have changed while the process was down: a binding belongs to the listener for phones with
    /// its transport, the one with its address where there is one, wherever that stands now.
    fn on_listener_of_today(&self, mut binding: Binding) -> Option<Binding> {
        let for_phones = |l: &&config::Listener| {
            let profile = &self.config.profiles[usize::from(l.profile.0)];
            l.sip.transport.as_str() == binding.transport && profile.kind.authenticates()
        };
        let fit = |l: &config::Listener| {
            let ip = l.sip.local.ip();
            let same_ip = ip.is_unspecified() || ip == binding.local.ip();
            (same_ip && l.sip.local.port() == binding.local.port(), same_ip)
        };
        let best = self.config.listeners.iter().filter(for_phones).max_by_key(|l| fit(l))?;
        binding.listener = best.sip.id.0;
        Some(binding)
    }

    pub fn handle_message(&mut self, now: Instant, message: Message, flow: Flow) {
        if message.is_request() {
            self.counters.requests += 1;
        } else {
            self.counters.responses += 1;
        }
        if !self.is_let_in(now, &message, &flow) {
            return self.handle_events(now);
        }
        self.trunk_heard(&message, &flow);
        let known = self.flow_priority(flow.remote);
        let priority = if known { Priority::High } else { Priority::Normal };
        self.endpoint.handle_message_from(now, message, flow, priority);
        self.handle_events(now);
    }

    /// A message that could not be read: it is answered where a reply is possible and safe (RFC 3261 §8.2).
    pub fn handle_malformed(&mut self, now: Instant, error: &ParseError, _raw: &Bytes, flow: Flow) {
        self.counters.malformed += 1;
        self.notice(Level::Debug, None, None, "format", format!("{} from {}", error, flow.remote));
        // Over UDP anything at all may come, keep-alives of odd phones too: what could be answered was meant for us.
        if error.reply.is_some() || flow.transport.is_reliable() {
            let nobody = (String::new(), String::new());
            self.offence_of(now, flow.remote.ip(), Offence::Malformed, "format", Proof::of(&flow), nobody);
        }
        if self.is_closed_to(flow.listener, flow.remote.ip()) {
            return;
        }
        let Some(reply) = &error.reply else { return };
        let mut target = flow;
        let via = reply.top_via();
        if flow.transport == Transport::Udp && via.rport().is_none() {
            target.remote.set_port(via.port.unwrap_or(5060));
        }
        let mut payload = Vec::with_capacity(512);
        let head =
            ResponseHead { status: error.status, to_tag: Some("malformed"), source: Some(flow.remote), reason: None };
        reply.write_reply(&mut payload, &head, &Headers::default());
        let transmit = Transmit { target: Target::Flow(target), payload: payload.into(), token: None };
        self.outputs.push_back(Output::Transmit(transmit));
    }

    pub fn handle_send_failed(&mut self, now: Instant, token: TransmitToken, error: TransportError) {
        self.endpoint.handle_transport_error(now, token, error);
        self.handle_events(now);
    }

    /// A datagram to `remote` came back by ICMP; `quoted`: what came of it, perhaps not whole. What it does not prove to be a
    /// request of ours is passed over.
    pub fn handle_unreachable(&mut self, now: Instant, remote: SocketAddr, quoted: &[u8], error: TransportError) {
        if self.endpoint.handle_unreachable(now, remote, quoted, error) {
            self.handle_events(now);
        }
    }

    pub fn handle_conn_closed(&mut self, now: Instant, conn: ConnId) {
        for record in self.registrar.conn_closed(conn) {
            self.outputs.push_back(Output::Journal(record));
        }
        self.trunk_conn_closed(now, conn);
        self.endpoint.handle_flow_closed(now, conn);
        self.handle_events(now);
    }

    pub fn handle_media(&mut self, now: Instant, event: media::Event) {
        match event {
            media::Event::Learned { id, .. } => {
                self.streams.learned(id);
                self.on_announcement_learned(now, id);
            }
            media::Event::Closed { id, report } => {
                if let Some(done) = self.streams.closed(id, &report) {
                    self.finish_quality(done);
                }
            }
            media::Event::Silent { id, for_ } => self.on_silent(now, id, for_),
            media::Event::Resumed { id } => self.streams.resumed(id),
            media::Event::PortBusy { id, port } => {
                let text = format!("stream {} shares port {} with one that is still learning", id.0, port.0);
                self.notice(Level::Debug, None, None, "media.port", text);
            }
            media::Event::PortFailed { id, port } => self.on_port_failed(now, id, port),
            media::Event::Played { id, play } => self.on_played(now, id, play),
            media::Event::Recorded { id, record, end } => self.on_recorded(now, id, record, end),
            media::Event::Report { .. } => {}
        }
        self.handle_events(now);
    }

    /// The next revision of what the administrator manages. Calls that run go on as they began.
    pub fn apply_site(&mut self, now: Instant, site: Arc<Site>) {
        let revision = site.revision;
        let currencies = self.currencies();
        let empty = Directory::new(Arc::new(Site::default()));
        let before = std::mem::replace(&mut self.directory, empty);
        let credentials_before: FxHashMap<ExtensionId, SipCredentials> = self
            .registrar
            .extensions()
            .into_iter()
            .filter_map(|id| Some((id, before.extension(id)?.credentials.clone())))
            .collect();
        self.router = Router::following(&site, Some(&self.router));
        self.directory = Directory::following(site, Some(before));
        for extension in self.registrar.extensions() {
            // A phone that knows the old password only is not to ring any more: it may be a thief's.
            let same = |e: &Extension| credentials_before.get(&extension) == Some(&e.credentials);
            if !self.directory.extension(extension).is_some_and(|e| e.enabled && same(e)) {
                for record in self.registrar.unregister(extension, None) {
                    self.outputs.push_back(Output::Journal(record));
                }
            }
        }
        self.follow_sources(now);
        self.notice(Level::Info, None, None, "site", format!("revision {revision} in force"));
        self.tell_new_currencies(&currencies);
        self.trunks_follow(now);
        self.handle_events(now);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.lookups.locator.handle_timeout(now);
        self.identities_timeout(now);
        self.handle_events(now);
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Ring(call) => self.on_ring_timeout(now, call),
                Timer::Unheard(call) => self.on_unheard(now, call),
                Timer::Sources(hop) => self.on_sources_due(now, hop),
                Timer::MaxDuration(call) => self.on_max_duration(now, call),
                Timer::Spend(call) => self.on_spend_wake(now, call),
                Timer::Quality(call) => {
                    if let Some(done) = self.streams.give_up(call) {
                        self.finish_quality(done);
                    }
                }
                Timer::Announce(call) => self.on_announce_due(now, call),
                Timer::Refresh(dialog) => self.on_refresh_due(now, dialog),
                Timer::Sweep => self.sweep(now),
                Timer::Trunk(trunk, wake) => self.on_trunk_wake(now, trunk, wake),
                Timer::Leaving(serial) => self.on_leaving_over(serial),
                Timer::Trial(serial) => self.on_trial_wake(now, serial),
            }
            self.handle_events(now);
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let identities = self.identities.poll_timeout();
        [self.endpoint.poll_timeout(), self.timers.next(), self.lookups.locator.poll_timeout(), identities]
            .into_iter()
            .flatten()
            .min()
    }

    /// The next thing to do. Call until `None` after each input.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        self.endpoint.poll_transmit().map(Output::Transmit)
    }

    /// No call is left, every BYE has been answered or given up, and all media have reported.
    pub fn is_idle(&self) -> bool {
        let bye_waits = self.dialogs.values().any(|d| matches!(d, DialogUse::ByeOnAck { .. }));
        // What keeps a trunk up concerns no call; registrations that are taken back are waited for.
        let of_calls = self.clients.values().any(|client| !matches!(client, ClientUse::Trunk(_)));
        self.calls.is_empty()
            && self.identities.is_idle()
            && !of_calls
            && self.trunks.is_settled()
            && !bye_waits
            && self.streams.is_settled()
    }

    /// Whether a registered phone or a trunk uses this source: the rate limiter gives it room that strangers do not get.
    pub fn flow_priority(&self, remote: SocketAddr) -> bool {
        self.registrar.knows_remote(remote) || self.trunks.knows_remote(remote) || self.sources.knows_well(remote.ip())
    }

    fn handle_events(&mut self, now: Instant) {
        self.drain_endpoint(now);
        // What was located begins requests, and those have events of their own.
        while self.pump_lookups(now) {
            self.drain_endpoint(now);
        }
    }

    fn drain_endpoint(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Request { tx, request, flow } => self.on_request(now, tx, request, flow),
                Event::Cancelled { tx, cancel } => self.on_cancelled(now, tx, &cancel),
                Event::DialogRequest { dialog, tx, request, flow } => {
                    self.on_dialog_request(now, dialog, tx, &request, &flow);
                }
                Event::Ack { dialog, ack } => self.on_ack(now, dialog, &ack),
                Event::Acknowledged { mark, ack, flow } => self.on_acknowledged(now, mark, &ack, &flow),
                Event::AckTimeout { dialog } => self.on_ack_timeout(now, dialog),
                Event::ReliableAcked { tx, .. } => {
                    if let Some(&call) = self.servers.get(&tx) {
                        self.on_announcement_proven(now, call);
                    }
                }
                Event::ReliableTimeout { tx } => self.on_reliable_timeout(now, tx),
                Event::Response { tx, dialog, response } => self.on_response(now, tx, dialog, &response),
                Event::Failed { tx, dialog, cause } => self.on_failed(now, tx, dialog, cause),
                Event::SessionRefreshDue { dialog } => self.on_refresh_due(now, dialog),
                Event::SessionExpired { dialog } => self.on_session_expired(now, dialog),
                Event::DialogEnded { dialog } => {
                    self.dialogs.remove(&dialog);
                }
            }
            // What the endpoint wants sent goes out behind what the event put out (journal before answer).
            while let Some(transmit) = self.endpoint.poll_transmit() {
                self.outputs.push_back(Output::Transmit(transmit));
            }
        }
    }

    /// Something was refused by that rule.
    fn count_refusal(&mut self, rule: &'static str) {
        *self.refusals.entry(rule).or_default() += 1;
    }

    fn sweep(&mut self, now: Instant) {
        let sweep = self.registrar.sweep(now);
        for flow in sweep.keep_alive {
            // RFC 5626 §3.5.1's CRLF form: phones skip it, and the NAT on the way keeps its mapping.
            let payload = Bytes::from_static(b"\r\n\r\n");
            self.outputs.push_back(Output::Transmit(Transmit { target: Target::Flow(flow), payload, token: None }));
        }
        if sweep.expired > 0 {
            self.notice(Level::Info, None, None, "registrar", format!("{} registrations expired", sweep.expired));
        }
        self.sweep_wall(now);
        self.sweep_blacklists(now);
        self.timers.set(now + SWEEP_EVERY, Timer::Sweep);
    }

    /// Answers a request with a status alone. That the transaction has gone meanwhile is no error of anybody's.
    fn answer(&mut self, now: Instant, tx: ServerTx, status: u16) {
        let _ = self.endpoint.respond(now, tx, Response::new(status));
    }

    /// Answers with header fields.
    fn answer_with(&mut self, now: Instant, tx: ServerTx, status: u16, headers: Headers) {
        let mut response = Response::new(status);
        response.headers = headers;
        let _ = self.endpoint.respond(now, tx, response);
    }

    fn notice(
        &mut self,
        level: Level,
        tenant: Option<TenantId>,
        call: Option<CallId>,
        rule: &'static str,
        text: String,
    ) {
        self.outputs.push_back(Output::Notice(Notice { level, tenant, call, rule, text }));
    }

    /// The profile of the listener that a flow came by.
    fn profile_of(&self, flow: &Flow) -> &config::Profile {
        let listener = &self.config.listeners[usize::from(flow.listener.0)];
        let profile = usize::from(listener.profile.0);
        self.config.profiles.get(profile).expect("the configuration was checked: each listener has its profile")
    }
}

fn endpoint_config(config: &SwitchConfig) -> EndpointConfig {
    EndpointConfig {
        max_transactions: config.max_transactions,
        max_dialogs: config.max_dialogs,
        listeners: config.listeners.iter().map(|l| l.sip.clone()).collect(),
        user_agent: config.product.clone(),
        supported: &["timer", "100rel", "path", "outbound", "gruu"],
        allow: &["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "UPDATE", "PRACK", "MESSAGE", "REGISTER"],
        session: config.calls.session(),
        ..EndpointConfig::default()
    }
}

fn draw16(rng: &mut Rng) -> [u8; 16] {
    use rand::Rng as _;
    let mut key = [0; 16];
    rng.fill_bytes(&mut key);
    key
}

fn draw(rng: &mut Rng) -> [u8; 32] {
    use rand::Rng as _;
    let mut seed = [0; 32];
    rng.fill_bytes(&mut seed);
    seed
}

impl ProfileKind {
    /// Whether phones register and are asked for credentials here.
    fn authenticates(self) -> bool {
        matches!(self, ProfileKind::Internal)
    }
}
