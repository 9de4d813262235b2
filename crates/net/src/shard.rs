//! The signalling thread: one loop that owns the core, all SIP sockets and the clock. A pass stamps the time once,
//! reads what is there, lets the core work, makes its records safe and then sends. What its queues do when they are
//! full: an operator's command is refused; media commands wait in memory (a call makes a few, and calls are limited);
//! a datagram that the kernel does not take is lost, as on the network.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfort_guard::{BanChange, BanSet, RateLimiter, Verdict, rate};
use ringfort_sip::endpoint::TransportError;
use ringfort_sip::flow::{ConnId, Flow, ListenerId, Target, Transmit, Transport};
use ringfort_sip::frame::{self, Frame};
use ringfort_sip::message::{Limits, Message};
use ringfort_sip::stun;
use ringfort_switch::identity::Stir;
use ringfort_switch::io::{Command, CommandReply, Output};
use ringfort_switch::model::Site;
use ringfort_switch::voicemail::MailNews;

use crate::config::NetConfig;
use crate::conn::{CloseReason, Origin, Phase};
use crate::core::Core;
use crate::dns::Dns;
use crate::flood::Flood;
use crate::guard::GuardSink;
use crate::handle::{BoundSocket, ListenSocket, StopReason};
use crate::journal::JournalSink;
use crate::link::Link;
use crate::mail::{self, MailSender};
use crate::media::{MediaLink, Order};
use crate::notice;
use crate::stats::NetCounters;
use crate::stir::Fetcher;
use crate::streams::{FIRST_CONN, ListenerAt, StreamEvent, Streams};
use crate::sys::batch::{Datagram, RecvBatch, SendBatch};
use crate::sys::epoll::{Epoll, Interest, Ready, Waker};
use crate::sys::errors::{ErrorQueue, Undelivered};
use crate::tls::TlsStore;

/// Datagrams by one system call.
const BATCH: usize = 64;
/// Batches read from one socket in one pass, so that the others and the timers have their turn.
const BATCHES: usize = 8;
/// Datagrams that came back, of one socket in one pass.
const ERRORS: usize = 64;
/// Connections taken from one listener in one pass.
const ACCEPTS: usize = 64;
/// How long a listener rests when the process has no descriptor left.
const ACCEPT_REST: Duration = Duration::from_millis(200);
/// When records that could not be written are tried again, if no new ones come before.
const JOURNAL_RETRY: Duration = Duration::from_millis(200);
/// How often it is said that they still cannot.
const JOURNAL_TELL: Duration = Duration::from_secs(1);
/// A longest datagram.
const DATAGRAM: usize = 65_536;
/// Rounds of draining the core in one pass: a send that fails at once can make it send again.
const ROUNDS: usize = 16;

const WAKER: u64 = 0;
const FIRST_LISTENER: u64 = 1;

/// What other threads ask of the shard.
pub(crate) enum ToShard {
    Ask { command: Command, reply: Box<dyn FnOnce(CommandReply) + Send> },
    Site(Arc<Site>),
    Stir(Box<Stir>),
    Mail(MailNews),
    IsIdle(Box<dyn FnOnce(bool) + Send>),
    Stop,
}

struct Udp {
    socket: UdpSocket,
    id: ListenerId,
    /// With the real port.
    local: SocketAddr,
    /// Bound to all addresses: answers must name the one that was asked.
    wildcard: bool,
}

struct Listening {
    socket: TcpListener,
    at: ListenerAt,
    token: u64,
    resting_until: Option<Instant>,
}

/// Where the messages of a listener go.
#[derive(Clone, Copy)]
enum Place {
    Udp(usize),
    Stream(ListenerAt),
}

/// What is taken of a source before anything is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Closed,
    Open,
    /// What belongs to a running call, and nothing else.
    OfCalls,
}

pub(crate) struct Shard<C, J> {
    core: C,
    journal: J,
    limits: Limits,
    epoll: Epoll,
    waker: Waker,
    media: MediaLink,
    dns: Link<Dns>,
    stir: Link<Fetcher>,
    stats: Arc<NetCounters>,
    bans: Arc<BanSet>,
    guard: Box<dyn GuardSink>,
    mail: Option<MailSender>,
    rate: RateLimiter,
    places: Vec<Place>,
    udp: Vec<Udp>,
    listening: Vec<Listening>,
    streams: Streams,
    recv: RecvBatch,
    errors: ErrorQueue,
    send: SendBatch,
    scratch: Vec<u8>,
    /// Messages of this pass, until the journal is safe.
    outbox: Vec<Transmit>,
    /// Connections that the core wants closed after its messages.
    closing: Vec<ConnId>,
    /// Answers to keep-alives: socket, destination, local address, octets.
    pongs: Vec<(usize, SocketAddr, Option<IpAddr>, Vec<u8>)>,
    resumed: Vec<ConnId>,
    journal_dirty: bool,
    journal_trouble: Option<JournalTrouble>,
    flood: Flood,
    /// A socket had more than a batch.
    behind: bool,
}

/// Records that could not be written; those after them are tried with them.
#[derive(Clone, Copy)]
struct JournalTrouble {
    retry_at: Instant,
    told_at: Instant,
}

#[allow(clippy::disallowed_methods)]
fn clock() -> Instant {
    Instant::now()
}

impl<C: Core, J: JournalSink> Shard<C, J> {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        config: &NetConfig,
        sockets: Vec<BoundSocket>,
        tls: Option<Arc<TlsStore>>,
        core: C,
        journal: J,
        media: MediaLink,
        waker: Waker,
        stats: Arc<NetCounters>,
        guard: Box<dyn GuardSink>,
        mail: Option<MailSender>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(256)?;
        epoll.add(waker.as_fd(), WAKER, Interest::READ)?;
        let (mut places, mut udp, mut listening) = (Vec::new(), Vec::new(), Vec::new());
        for (index, bound) in sockets.into_iter().enumerate() {
            let id = ListenerId(index as u16);
            let token = FIRST_LISTENER + index as u64;
            match bound.socket {
                ListenSocket::Udp(socket) => {
                    epoll.add(socket.as_fd(), token, Interest::READ)?;
                    places.push(Place::Udp(udp.len()));
                    udp.push(Udp { socket, id, local: bound.local, wildcard: bound.local.ip().is_unspecified() });
                }
                ListenSocket::Stream(socket) => {
                    epoll.add(socket.as_fd(), token, Interest::READ)?;
                    let at = ListenerAt { id, transport: bound.transport, local: bound.local };
                    places.push(Place::Stream(at));
                    listening.push(Listening { socket, at, token, resting_until: None });
                }
            }
        }
        let tls = tls.map(|tls| tls.reader());
        let streams = Streams::new(config.connections, config.limits.clone(), tls, stats.clone());
        let rate = RateLimiter::new(&config.rate, clock(), crate::sys::random());
        Ok(Self {
            core,
            journal,
            limits: config.limits.clone(),
            epoll,
            dns: Link::new(config.dns.clone(), waker.clone()),
            stir: Link::new(config.stir.clone(), waker.clone()),
            waker,
            media,
            stats,
            bans: Arc::new(BanSet::empty()),
            guard,
            mail,
            rate,
            places,
            udp,
            listening,
            streams,
            recv: RecvBatch::new(BATCH, DATAGRAM, true),
            errors: ErrorQueue::new(),
            send: SendBatch::new(BATCH).with_error_queue(),
            scratch: vec![0; 16 * 1024],
            outbox: Vec::new(),
            closing: Vec::new(),
            pongs: Vec::new(),
            resumed: Vec::new(),
            journal_dirty: false,
            journal_trouble: None,
            flood: Flood::new(clock()),
            behind: false,
        })
    }

    /// Runs until it is told to stop, or cannot go on.
    pub(crate) fn run(&mut self, inbox: &Receiver<ToShard>) -> StopReason {
        let result = catch_unwind(AssertUnwindSafe(|| self.run_passes(inbox)));
        let reason = match result {
            Ok(Ok(())) => StopReason::Asked,
            Ok(Err(error)) => StopReason::Failed(error.to_string()),
            Err(panic) => StopReason::Panicked(panic_text(&*panic)),
        };
        // What was recorded is made safe whatever the reason; the core itself is not touched any more after a panic.
        if let Err(error) = self.journal.flush() {
            tracing::error!(rule = "journal", %error, "last records not written");
        }
        self.streams.close_all();
        reason
    }

    fn run_passes(&mut self, inbox: &Receiver<ToShard>) -> io::Result<()> {
        let mut ready = Vec::new();
        // What the core has to say of its start, bans above all, is in force before the first packet is read.
        self.drain(clock());
        loop {
            let timeout = self.poll_timeout().map(|at| at.saturating_duration_since(clock()));
            self.epoll.wait(timeout, &mut ready)?;
            let now = clock();
            self.behind = false;
            if !self.pass(now, &ready, inbox)? {
                return Ok(());
            }
            if let Some(pause) = self.flood.pause(now, self.behind) {
                self.stats.flood_pauses.one();
                std::thread::sleep(pause);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let resting = self.listening.iter().filter_map(|listener| listener.resting_until).min();
        let journal = self.journal_trouble.map(|trouble| trouble.retry_at);
        [self.core.poll_timeout(), self.streams.poll_timeout(), self.media.poll_timeout(), resting, journal]
            .into_iter()
            .flatten()
            .min()
    }

    /// One pass. `false`: it was told to stop.
    fn pass(&mut self, now: Instant, ready: &[Ready], inbox: &Receiver<ToShard>) -> io::Result<bool> {
        self.stats.passes.one();
        self.streams.refresh();
        let mut go_on = true;
        for ready in ready {
            match ready.token {
                WAKER => {
                    self.waker.drain();
                    go_on &= self.read_inbox(now, inbox);
                    self.read_media(now);
                    while let Some((query, answer)) = self.dns.poll_answer() {
                        self.core.handle_dns_answer(now, query, answer);
                    }
                    while let Some((query, fetch)) = self.stir.poll_answer() {
                        self.core.handle_fetched(now, query, fetch);
                    }
                }
                token if token < FIRST_CONN => {
                    let index = (token - FIRST_LISTENER) as usize;
                    if ready.error {
                        self.read_errors(now, index);
                    }
                    self.listener_ready(now, index);
                }
                token => self.conn_ready(now, ConnId(token), *ready),
            }
        }
        self.handle_timeouts(now);
        self.drain(now);
        self.media.flush(now)?;
        self.stats.media_backlog.set(self.media.backlog() as u64);
        Ok(go_on)
    }

    fn handle_timeouts(&mut self, now: Instant) {
        if self.core.poll_timeout().is_some_and(|at| at <= now) {
            self.core.handle_timeout(now);
        }
        if self.streams.poll_timeout().is_some_and(|at| at <= now) {
            let mut resumed = std::mem::take(&mut self.resumed);
            let core = &self.core;
            self.streams.handle_timeout(now, &self.epoll, &mut resumed, |remote| core.flow_priority(remote));
            for id in resumed.drain(..) {
                self.read_messages(now, id);
            }
            self.resumed = resumed;
        }
        for listener in &mut self.listening {
            if listener.resting_until.is_some_and(|at| at <= now) {
                listener.resting_until = None;
                if let Err(error) = self.epoll.modify(listener.socket.as_fd(), listener.token, Interest::READ) {
                    tracing::error!(rule = "listener", %error, "listener not watched again");
                }
            }
        }
    }

    fn read_inbox(&mut self, now: Instant, inbox: &Receiver<ToShard>) -> bool {
        loop {
            match inbox.try_recv() {
                Ok(ToShard::Ask { command, reply }) => reply(self.core.handle_command(now, command)),
                Ok(ToShard::Site(site)) => self.core.apply_site(now, site),
                Ok(ToShard::Stir(stir)) => self.core.follow_stir(now, *stir),
                Ok(ToShard::Mail(news)) => self.core.handle_mail(now, news),
                Ok(ToShard::IsIdle(reply)) => reply(self.core.is_idle()),
                // Nobody is left who could ask for anything.
                Ok(ToShard::Stop) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn read_media(&mut self, now: Instant) {
        while let Some(event) = self.media.poll_event() {
            self.core.handle_media(now, event);
        }
    }

    fn listener_ready(&mut self, now: Instant, index: usize) {
        match self.places.get(index) {
            Some(Place::Udp(udp)) => self.read_udp(now, *udp),
            Some(Place::Stream(at)) => self.accept(now, at.id),
            None => {}
        }
    }

    fn read_udp(&mut self, now: Instant, index: usize) {
        for _ in 0..BATCHES {
            let count = match self.recv.recv(self.udp[index].socket.as_fd()) {
                Ok(count) => count,
                // An ICMP error for something sent before: it stands in the error queue too.
                Err(_) => continue,
            };
            self.stats.udp_received.add(count as u64);
            for slot in 0..count {
                self.datagram(now, index, slot);
            }
            if count < BATCH {
                return;
            }
            self.behind = true;
        }
    }

    /// Datagrams of ours that came back by ICMP. What is left comes in the next pass.
    fn read_errors(&mut self, now: Instant, index: usize) {
        let Some(Place::Udp(udp)) = self.places.get(index) else { return };
        for _ in 0..ERRORS {
            let taken = self.errors.take(self.udp[*udp].socket.as_fd());
            let Ok(Some(undelivered)) = taken else { return };
            let Some(Undelivered { to, port_closed, quoted }) = undelivered else { continue };
            self.stats.udp_undelivered.one();
            let error = if port_closed { TransportError::Refused } else { TransportError::Unreachable };
            self.core.handle_unreachable(now, to, quoted, error);
        }
    }

    fn datagram(&mut self, now: Instant, index: usize, slot: usize) {
        let Some(received) = self.recv.received(slot) else { return };
        let remote = received.source;
        let entry = self.entry(now, remote, true);
        if entry == Entry::Closed {
            return;
        }
        let udp = &self.udp[index];
        let octets = self.recv.data(slot, 0..received.len);
        let local = received.local.map_or(udp.local, |ip| SocketAddr::new(ip, udp.local.port()));
        let from = udp.wildcard.then_some(local.ip());
        if stun::is_stun(octets) {
            if self.core.is_closed_to(udp.id, remote.ip()) {
                return self.stats.dropped_acl.one();
            }
            let mut answer = Vec::new();
            if stun::answer(octets, remote, &mut answer) {
                self.pongs.push((index, remote, from, answer));
            }
            self.stats.keepalives.one();
            return;
        }
        if frame::is_keep_alive(octets) {
            // RFC 5626 §3.5.1 has no answer to these over UDP.
            self.stats.keepalives.one();
            return;
        }
        let flow = Flow { transport: Transport::Udp, listener: udp.id, conn: None, local, remote };
        // One copy: a message may be kept for as long as its transaction, a shared receive buffer may not.
        let raw = Bytes::copy_from_slice(octets);
        match entry {
            Entry::OfCalls => self.message_of_call(now, raw, flow),
            Entry::Open | Entry::Closed => self.message(now, raw, flow, Message::parse_datagram),
        }
    }

    /// Over his rate, and in a call: what belongs to it is taken, all else of him is dropped as it would be otherwise.
    fn message_of_call(&mut self, now: Instant, raw: Bytes, flow: Flow) {
        self.stats.parsed.one();
        match Message::parse_datagram(raw, &self.limits) {
            Ok(message) if self.core.is_within_call(&message) => self.core.handle_message(now, message, flow),
            Ok(_) | Err(_) => {
                self.stats.dropped_rate_source.one();
                self.flood.dropped();
            }
        }
    }

    fn may_enter(&mut self, now: Instant, remote: SocketAddr) -> bool {
        self.entry(now, remote, false) == Entry::Open
    }

    /// The checks before parsing: ban, then rate. `calls`: where somebody has used up what strangers have, a call of his is
    /// reason to look further.
    fn entry(&mut self, now: Instant, remote: SocketAddr, calls: bool) -> Entry {
        if self.bans.is_banned(now, remote.ip()) {
            self.stats.dropped_ban.one();
            self.flood.dropped();
            return Entry::Closed;
        }
        let (core, mut entry) = (&self.core, Entry::Open);
        let has_room = || {
            let known = core.flow_priority(remote);
            if !known && calls && core.is_talking(remote) {
                entry = Entry::OfCalls;
            }
            known || entry == Entry::OfCalls
        };
        match self.rate.check(now, remote.ip(), has_room) {
            Verdict::Pass => entry,
            Verdict::Drop { rule } => {
                match rule {
                    rate::RULE_PROVEN => self.stats.dropped_rate_proven.one(),
                    rate::RULE_ALL => self.stats.dropped_rate_all.one(),
                    _ => self.stats.dropped_rate_source.one(),
                }
                self.flood.dropped();
                Entry::Closed
            }
        }
    }

    fn message(
        &mut self,
        now: Instant,
        raw: Bytes,
        flow: Flow,
        parse: fn(Bytes, &Limits) -> Result<Message, ringfort_sip::ParseError>,
    ) {
        self.stats.parsed.one();
        match parse(raw.clone(), &self.limits) {
            Ok(message) => self.core.handle_message(now, message, flow),
            Err(error) => {
                self.stats.malformed.one();
                self.core.handle_malformed(now, &error, &raw, flow);
            }
        }
    }

    fn accept(&mut self, now: Instant, id: ListenerId) {
        let Some(index) = self.listening.iter().position(|listener| listener.at.id == id) else { return };
        for _ in 0..ACCEPTS {
            let (socket, remote) = match self.listening[index].socket.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.accept_failed(now, index, &error),
            };
            let closed = self.core.is_closed_to(id, remote.ip());
            if closed {
                self.stats.dropped_acl.one();
            }
            if closed || !self.may_enter(now, remote) {
                self.stats.accept_refused.one();
                continue;
            }
            match self.streams.accept(now, &self.epoll, self.listening[index].at, socket, remote) {
                Ok(_) => self.stats.accepted.one(),
                Err(rule) => {
                    self.stats.accept_refused.one();
                    tracing::debug!(rule, %remote, "connection refused");
                }
            }
        }
    }

    /// A peer that gave up is nothing. Without descriptors or memory, the listener rests: it would be ready for ever.
    fn accept_failed(&mut self, now: Instant, index: usize, error: &io::Error) {
        let exhausted = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
        if !error.raw_os_error().is_some_and(|code| exhausted.contains(&code)) {
            return;
        }
        self.stats.accept_refused.one();
        tracing::warn!(rule = "listener", %error, "no connection can be accepted for now");
        let listener = &mut self.listening[index];
        let none = Interest { read: false, write: false };
        if self.epoll.modify(listener.socket.as_fd(), listener.token, none).is_ok() {
            listener.resting_until = Some(now + ACCEPT_REST);
        }
    }

    fn conn_ready(&mut self, now: Instant, id: ConnId, ready: Ready) {
        let Some(conn) = self.streams.get(id) else { return };
        if self.bans.is_banned(now, conn.remote.ip()) {
            self.stats.dropped_ban.one();
            return self.streams.close(id, CloseReason::Ours);
        }
        let before = conn.phase;
        let mut end = None;
        if ready.write {
            end = conn.writable().err();
        }
        if end.is_none() && ready.read {
            end = conn.read(now, &mut self.scratch).err();
        }
        let opened = before != Phase::Open && conn.phase == Phase::Open;
        if opened && matches!(conn.origin, Origin::Connected { .. }) {
            self.stats.connected.one();
        }
        // Messages that came before the end count.
        self.read_messages(now, id);
        match end {
            Some(reason) => self.streams.close(id, reason),
            None => self.streams.update_interest(&self.epoll, id),
        }
    }

    /// Takes what has come whole. Of the pings of one pass the first is charged like a message, and one pong answers
    /// them all: a peer that sends nothing else, or does not read, costs little.
    fn read_messages(&mut self, now: Instant, id: ConnId) {
        let mut pinged = false;
        loop {
            let Some(conn) = self.streams.get(id) else { return };
            if conn.paused_until.is_some() || conn.closing {
                return;
            }
            let (flow, remote, stranger) = (conn.flow(), conn.remote, conn.stranger);
            match conn.peek() {
                Ok(None) => return,
                Ok(Some(Frame::Crlf)) => drop(conn.take()),
                Ok(Some(Frame::Ping)) if pinged => {
                    drop(conn.take());
                    self.stats.keepalives.one();
                }
                Ok(Some(Frame::Ping)) => {
                    if !self.may_enter(now, remote) {
                        return self.streams.pause(now, &self.epoll, id);
                    }
                    // Taken in the next round.
                    pinged = true;
                    self.pong(id, flow);
                }
                Ok(Some(Frame::Message(_))) => {
                    if !self.may_enter(now, remote) {
                        self.flooded(now, id, remote);
                        return self.streams.pause(now, &self.epoll, id);
                    }
                    let Some(conn) = self.streams.get(id) else { return };
                    let Some(Frame::Message(raw)) = conn.take() else { return };
                    if !std::mem::replace(&mut conn.spoke, true) {
                        self.streams.first_message(id);
                    }
                    self.stats.stream_received.one();
                    self.message(now, raw, flow, Message::parse_framed);
                    if stranger && self.core.flow_priority(remote) {
                        self.streams.settle(id);
                    }
                }
                Err(error) => {
                    self.stats.malformed.one();
                    self.core.handle_malformed(now, &error, &Bytes::new(), flow);
                    self.closing.push(id);
                    return;
                }
            }
        }
    }

    /// A connection has sent more than its rate. The core hears of it once a pause: what waits meanwhile is the same flood.
    fn flooded(&mut self, now: Instant, id: ConnId, remote: SocketAddr) {
        let stranger = self.streams.get(id).is_some_and(|conn| conn.stranger);
        if stranger && !self.bans.is_banned(now, remote.ip()) {
            self.core.handle_flood(now, remote.ip());
        }
    }

    /// Answers the pings of a pass (RFC 5626 §4.4.1), unless the peer has not read what it was sent before.
    fn pong(&mut self, id: ConnId, flow: Flow) {
        if self.streams.get(id).is_some_and(|conn| !conn.wants_write()) {
            let payload = Bytes::from_static(frame::PONG);
            let pong = Transmit { target: Target::Flow(flow), payload, token: None };
            self.streams.send_to_flow(&self.epoll, id, pong);
        }
    }

    /// Drains the core: records are made safe, then messages are sent. A send that fails is told to the core, which may
    /// have something to say to that.
    fn drain(&mut self, now: Instant) {
        for _ in 0..ROUNDS {
            self.collect(now);
            if self.journal_dirty || self.journal_trouble.is_some_and(|trouble| trouble.retry_at <= now) {
                self.flush_journal(now);
            }
            let failed = self.send_all(now);
            let mut told = !failed.is_empty();
            for (token, error) in failed {
                self.core.handle_send_failed(now, token, error);
            }
            while let Some(event) = self.streams.poll_event() {
                told = true;
                match event {
                    StreamEvent::Closed(conn) => self.core.handle_conn_closed(now, conn),
                    StreamEvent::SendFailed(token, error) => self.core.handle_send_failed(now, token, error),
                }
            }
            if !told {
                return;
            }
        }
        // What is left comes out in the next pass, which this makes sure of.
        self.waker.wake();
    }

    fn flush_journal(&mut self, now: Instant) {
        self.journal_dirty = false;
        let Err(error) = self.journal.flush() else {
            if self.journal_trouble.take().is_some() {
                tracing::info!(rule = "journal", "records are written again");
            }
            return;
        };
        self.stats.journal_errors.one();
        let told_at = self.journal_trouble.map(|trouble| trouble.told_at).filter(|at| now < *at + JOURNAL_TELL);
        if told_at.is_none() {
            tracing::error!(rule = "journal", %error, "records not written; tried again until they are");
        }
        self.journal_trouble = Some(JournalTrouble { retry_at: now + JOURNAL_RETRY, told_at: told_at.unwrap_or(now) });
    }

    fn collect(&mut self, now: Instant) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Transmit(transmit) => self.outbox.push(transmit),
                Output::Media(command) => self.media.send(Order::Relay(command)),
                Output::Journal(record) => {
                    self.journal.append(&record);
                    self.journal_dirty = true;
                }
                Output::Query(query) => self.dns.ask(query),
                Output::Fetch(query) => self.stir.ask(query),
                Output::Mail(ask) => mail::ask(self.mail.as_ref(), ask),
                Output::CloseConn(conn) => self.closing.push(conn),
                Output::Notice(line) => notice::log(&line),
                Output::Offence(report) => self.guard.offence(&report),
                Output::Penalise(source) => self.rate.penalise(now, source),
                Output::Bans(bans) => {
                    self.guard.bans(&bans);
                    self.media.send(Order::Bans(bans.clone()));
                    self.bans = bans;
                }
                Output::Ban(change) => {
                    if let BanChange::Banned { source, .. } = change {
                        // Those that say nothing more, too; a neighbour in its /64 may be spared.
                        let banned = self.streams.of(source).filter(|(_, at)| self.bans.is_banned(now, at.ip()));
                        self.closing.extend(banned.map(|(conn, _)| conn));
                    }
                    self.guard.ban(change);
                }
            }
        }
    }

    fn send_all(&mut self, now: Instant) -> Vec<(ringfort_sip::flow::TransmitToken, TransportError)> {
        let mut failed = Vec::new();
        let outbox = std::mem::take(&mut self.outbox);
        self.send_udp(&outbox, &mut failed);
        let mut outbox = outbox;
        for transmit in outbox.drain(..) {
            self.send_stream(now, transmit, &mut failed);
        }
        self.outbox = outbox;
        for index in 0..self.closing.len() {
            self.streams.close_when_sent(now, &self.epoll, self.closing[index]);
        }
        self.closing.clear();
        failed
    }

    /// Everything for UDP sockets, socket by socket.
    fn send_udp(&mut self, outbox: &[Transmit], failed: &mut Vec<(ringfort_sip::flow::TransmitToken, TransportError)>) {
        for (index, udp) in self.udp.iter().enumerate() {
            let mine = |transmit: &&Transmit| {
                transmit.target.transport() == Transport::Udp && transmit.target.listener() == udp.id
            };
            let datagram = |transmit: &'_ Transmit| {
                let (to, from) = match &transmit.target {
                    Target::Flow(flow) => (flow.remote, udp.wildcard.then_some(flow.local.ip())),
                    Target::Connect { remote, .. } => (*remote, None),
                };
                (to, from.filter(|ip| !ip.is_unspecified()))
            };
            let messages = outbox.iter().filter(mine).map(|transmit| {
                let (to, from) = datagram(transmit);
                Datagram { to, from, data: &transmit.payload }
            });
            let pongs = self.pongs.iter().filter(|pong| pong.0 == index);
            let pongs = pongs.map(|(_, to, from, data)| Datagram { to: *to, from: *from, data });
            let mut errors = Vec::new();
            let sent = self.send.send(udp.socket.as_fd(), messages.chain(pongs), |place, error| {
                errors.push((place, error));
            });
            self.stats.udp_sent.add(sent as u64);
            self.stats.udp_send_failed.add(errors.len() as u64);
            for (place, error) in errors {
                if let Some(token) = outbox.iter().filter(mine).nth(place).and_then(|transmit| transmit.token) {
                    failed.push((token, udp_error(&error)));
                }
            }
        }
        self.pongs.clear();
    }

    fn send_stream(
        &mut self,
        now: Instant,
        transmit: Transmit,
        failed: &mut Vec<(ringfort_sip::flow::TransmitToken, TransportError)>,
    ) {
        let token = transmit.token;
        let mut no_listener = || failed.extend(token.map(|token| (token, TransportError::NoListener)));
        let place = self.places.get(usize::from(transmit.target.listener().0)).copied();
        match (place, transmit.target.clone()) {
            (Some(Place::Udp(_)), target) if target.transport() == Transport::Udp => {}
            (Some(Place::Stream(_)), Target::Flow(Flow { conn: Some(id), .. })) => {
                self.stats.stream_sent.one();
                self.streams.send_to_flow(&self.epoll, id, transmit);
            }
            (Some(Place::Stream(at)), Target::Connect { transport, remote, server_name, .. })
                if transport == at.transport =>
            {
                self.stats.stream_sent.one();
                self.streams.send_to(now, &self.epoll, at, remote, server_name, transmit);
            }
            (Some(_) | None, Target::Flow(_) | Target::Connect { .. }) => no_listener(),
        }
    }
}

fn udp_error(error: &io::Error) -> TransportError {
    match error.raw_os_error() {
        Some(libc::EMSGSIZE) => TransportError::TooLong,
        Some(libc::ECONNREFUSED) => TransportError::Refused,
        _ if error.kind() == io::ErrorKind::WouldBlock => TransportError::QueueFull,
        _ => TransportError::Unreachable,
    }
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => "a panic without words".to_owned(),
    }
}
