//! All TCP and TLS connections of the shard: limits, deadlines, reuse. Which of them may still say something, and who
//! is a stranger.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfort_guard::SourceKey;
use ringfort_sip::endpoint::TransportError;
use ringfort_sip::flow::{ConnId, ListenerId, Transmit, TransmitToken, Transport};
use ringfort_sip::message::Limits;
use rustc_hash::FxHashMap;

use crate::config::ConnectionLimits;
use crate::conn::{CloseReason, Conn, Origin, Parts, Phase};
use crate::published::Reader;
use crate::stats::NetCounters;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::socket;
use crate::tls::{self, Loaded};

/// Epoll tokens below this are listeners and the waker; from here on they are connection ids.
pub(crate) const FIRST_CONN: u64 = 1 << 16;
/// How long the source of a stream is not read when it is over its rate.
const PAUSE: Duration = Duration::from_millis(100);
/// A connection that is to be closed may still send what is queued for so long.
const LINGER: Duration = Duration::from_secs(2);

/// What the core is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StreamEvent {
    Closed(ConnId),
    SendFailed(TransmitToken, TransportError),
}

pub(crate) struct Streams {
    limits: ConnectionLimits,
    message_limits: Limits,
    stats: Arc<NetCounters>,
    tls: Option<Reader<Loaded>>,
    conns: FxHashMap<ConnId, Conn>,
    by_remote: FxHashMap<(Transport, SocketAddr), ConnId>,
    /// One entry for every connection: when to look at it again.
    deadlines: BTreeSet<(Instant, ConnId)>,
    due: FxHashMap<ConnId, Instant>,
    /// Oldest first, because ids rise.
    strangers: BTreeSet<ConnId>,
    strangers_of: FxHashMap<SourceKey, usize>,
    next: u64,
    events: VecDeque<StreamEvent>,
}

/// A listener's address, as connections need it.
#[derive(Clone, Copy)]
pub(crate) struct ListenerAt {
    pub(crate) id: ListenerId,
    pub(crate) transport: Transport,
    pub(crate) local: SocketAddr,
}

impl Streams {
    pub(crate) fn new(
        limits: ConnectionLimits,
        message_limits: Limits,
        tls: Option<Reader<Loaded>>,
        stats: Arc<NetCounters>,
    ) -> Self {
        Self {
            limits,
            message_limits,
            stats,
            tls,
            conns: FxHashMap::default(),
            by_remote: FxHashMap::default(),
            deadlines: BTreeSet::new(),
            due: FxHashMap::default(),
            strangers: BTreeSet::new(),
            strangers_of: FxHashMap::default(),
            next: FIRST_CONN,
            events: VecDeque::new(),
        }
    }

    /// Takes a certificate that was replaced.
    pub(crate) fn refresh(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.refresh();
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }

    pub(crate) fn get(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(&id)
    }

    /// Takes over a connection that a listener accepted.
    ///
    /// # Errors
    /// The limit that it would break; it is closed then.
    pub(crate) fn accept(
        &mut self,
        now: Instant,
        epoll: &Epoll,
        at: ListenerAt,
        socket: TcpStream,
        remote: SocketAddr,
    ) -> Result<ConnId, &'static str> {
        let source = SourceKey::from(remote.ip());
        if self.conns.len() >= self.limits.all {
            return Err("connections.all");
        }
        let of_source = self.strangers_of.get(&source).copied().unwrap_or(0);
        if of_source >= self.limits.strangers_per_source && !remote.ip().to_canonical().is_loopback() {
            return Err("connections.strangers_per_source");
        }
        let tls = match at.transport.is_secure() {
            false => None,
            true => {
                let config = self.tls.as_ref().and_then(|tls| tls.get().server.clone()).ok_or("tls.no_certificate")?;
                Some(rustls::Connection::Server(rustls::ServerConnection::new(config).map_err(|_| "tls.config")?))
            }
        };
        socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true)).map_err(|_| "kernel")?;
        let local = socket.local_addr().map_err(|_| "kernel")?;
        if self.strangers.len() >= self.limits.strangers
            && let Some(oldest) = self.strangers.first().copied()
        {
            self.close(oldest, CloseReason::Ours);
        }
        let id = self.next_id();
        let parts = Parts {
            id,
            transport: at.transport,
            listener: at.id,
            local,
            remote,
            origin: Origin::Accepted,
            socket,
            tls,
        };
        let conn = Conn::new(parts, &self.message_limits, now);
        epoll.add(conn.socket.as_fd(), id.0, conn.interest).map_err(|_| "kernel")?;
        self.strangers.insert(id);
        *self.strangers_of.entry(source).or_default() += 1;
        self.insert(conn, now + self.limits.first_message);
        Ok(id)
    }

    /// Queues a message for a connection that exists, or begins one.
    pub(crate) fn send_to_flow(&mut self, epoll: &Epoll, id: ConnId, transmit: Transmit) {
        let Transmit { payload, token, .. } = transmit;
        let limit = self.limits.write_queue;
        let Some(conn) = self.conns.get_mut(&id) else { return self.fail(token, TransportError::Closed) };
        if !conn.enqueue(payload, token, limit) {
            return self.fail(token, TransportError::QueueFull);
        }
        match conn.write() {
            Ok(()) => self.update_interest(epoll, id),
            Err(reason) => self.close(id, reason),
        }
    }

    /// Sends to an address: over a connection that is there, or a new one from the listener's address.
    pub(crate) fn send_to(
        &mut self,
        now: Instant,
        epoll: &Epoll,
        from: ListenerAt,
        remote: SocketAddr,
        server_name: Option<Arc<str>>,
        transmit: Transmit,
    ) {
        if let Some(&id) = self.by_remote.get(&(from.transport, remote))
            && self.conns.get(&id).is_some_and(|conn| conn.may_carry(server_name.as_deref()))
        {
            return self.send_to_flow(epoll, id, transmit);
        }
        match self.connect(now, epoll, from, remote, server_name) {
            Ok(id) => self.send_to_flow(epoll, id, transmit),
            Err(error) => {
                self.stats.connect_failed.one();
                self.fail(transmit.token, error);
            }
        }
    }

    fn connect(
        &mut self,
        now: Instant,
        epoll: &Epoll,
        from: ListenerAt,
        remote: SocketAddr,
        server_name: Option<Arc<str>>,
    ) -> Result<ConnId, TransportError> {
        if self.conns.len() >= self.limits.all {
            return Err(TransportError::QueueFull);
        }
        let tls = match from.transport.is_secure() {
            false => None,
            true => {
                let loaded = self.tls.as_ref().ok_or(TransportError::Tls)?.get();
                let name = tls::server_name(server_name.as_deref(), remote.ip()).ok_or(TransportError::Tls)?;
                let config = loaded.client(server_name.as_deref().unwrap_or_default());
                let client = rustls::ClientConnection::new(config, name).map_err(|_| TransportError::Tls)?;
                Some(rustls::Connection::Client(client))
            }
        };
        let socket = socket::connect(from.local.ip(), remote).map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => TransportError::Refused,
            _ => TransportError::Unreachable,
        })?;
        let id = self.next_id();
        let parts = Parts {
            id,
            transport: from.transport,
            listener: from.id,
            local: from.local,
            remote,
            origin: Origin::Connected { server_name },
            socket,
            tls,
        };
        let conn = Conn::new(parts, &self.message_limits, now);
        epoll.add(conn.socket.as_fd(), id.0, conn.interest).map_err(|_| TransportError::Unreachable)?;
        self.insert(conn, now + self.limits.connect);
        Ok(id)
    }

    /// A first message has come: from now on, silence is what counts.
    pub(crate) fn first_message(&mut self, id: ConnId) {
        if let Some(deadline) = self.deadline(id) {
            self.schedule(id, deadline);
        }
    }

    /// The core said that somebody we know is at the other end.
    pub(crate) fn settle(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if std::mem::replace(&mut conn.stranger, false) {
            let remote = conn.remote.ip();
            self.forget_stranger(id, remote);
        }
    }

    /// Does not read from there for a moment: TCP makes the peer wait.
    pub(crate) fn pause(&mut self, now: Instant, epoll: &Epoll, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.paused_until = Some(now + PAUSE);
        self.schedule(id, now + PAUSE);
        self.update_interest(epoll, id);
    }

    /// The core wants it closed: once what is queued has been sent, or soon.
    pub(crate) fn close_when_sent(&mut self, now: Instant, epoll: &Epoll, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.closing = true;
        self.schedule(id, now + LINGER);
        self.update_interest(epoll, id);
    }

    /// Tells epoll what the connection waits for; ends one that was to be closed and has nothing left to send.
    pub(crate) fn update_interest(&mut self, epoll: &Epoll, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let write = conn.wants_write();
        if conn.closing && !write {
            return self.close(id, CloseReason::Ours);
        }
        let interest = Interest { read: conn.paused_until.is_none() && !conn.closing, write };
        if interest != conn.interest {
            conn.interest = interest;
            if epoll.modify(conn.socket.as_fd(), id.0, interest).is_err() {
                self.close(id, CloseReason::Ours);
            }
        }
    }

    /// Ends a connection. Messages that wait fail, and the core is told if it can know of the connection.
    /// The connections of a source.
    pub(crate) fn of(&self, source: SourceKey) -> impl Iterator<Item = (ConnId, SocketAddr)> {
        self.conns
            .iter()
            .filter(move |(_, conn)| SourceKey::from(conn.remote.ip()) == source)
            .map(|(id, c)| (*id, c.remote))
    }

    pub(crate) fn close(&mut self, id: ConnId, reason: CloseReason) {
        let Some(mut conn) = self.conns.remove(&id) else { return };
        match (reason, conn.phase, &conn.origin) {
            (CloseReason::Tls, _, _) => self.stats.tls_failed.one(),
            (CloseReason::TimedOut, _, _) => self.stats.timed_out.one(),
            (_, Phase::Connecting, Origin::Connected { .. }) => self.stats.connect_failed.one(),
            _ => {}
        }
        for token in conn.unsent() {
            self.events.push_back(StreamEvent::SendFailed(token, reason.transport_error()));
        }
        if conn.phase == Phase::Open {
            conn.say_goodbye();
            self.events.push_back(StreamEvent::Closed(id));
        }
        if let Some(at) = self.due.remove(&id) {
            self.deadlines.remove(&(at, id));
        }
        let key = (conn.transport, conn.remote);
        if self.by_remote.get(&key) == Some(&id) {
            self.by_remote.remove(&key);
        }
        if conn.stranger {
            self.forget_stranger(id, conn.remote.ip());
        }
        self.gauges();
    }

    /// Ends all of them, before the thread does.
    pub(crate) fn close_all(&mut self) {
        let mut ids: Vec<ConnId> = self.conns.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.close(id, CloseReason::Ours);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Closes what has been silent too long and lets paused ones go on; these are added to `resumed`, because messages
    /// may be waiting in them. `known`: whether somebody we know is there.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        epoll: &Epoll,
        resumed: &mut Vec<ConnId>,
        known: impl Fn(SocketAddr) -> bool,
    ) {
        while let Some(&(at, id)) = self.deadlines.first() {
            if at > now {
                return;
            }
            let Some(conn) = self.conns.get_mut(&id) else {
                self.deadlines.remove(&(at, id));
                continue;
            };
            if conn.paused_until.is_some_and(|until| until <= now) {
                conn.paused_until = None;
                resumed.push(id);
            }
            if conn.stranger && known(conn.remote) {
                self.settle(id);
            }
            match self.deadline(id) {
                Some(deadline) if deadline > now => self.schedule(id, deadline),
                Some(_) => self.close(id, CloseReason::TimedOut),
                None => self.close(id, CloseReason::Ours),
            }
            self.update_interest(epoll, id);
        }
    }

    /// When the connection has been silent too long. `None`: it lingered long enough.
    fn deadline(&self, id: ConnId) -> Option<Instant> {
        let conn = self.conns.get(&id)?;
        let limits = &self.limits;
        let end = match (&conn.origin, conn.phase) {
            _ if conn.closing => return None,
            (Origin::Connected { .. }, Phase::Connecting | Phase::Handshaking) => conn.began + limits.connect,
            (Origin::Accepted, _) if !conn.spoke => conn.began + limits.first_message,
            _ if conn.stranger => conn.heard + limits.stranger_idle,
            _ => conn.heard + limits.idle,
        };
        Some(conn.paused_until.map_or(end, |paused| end.min(paused)))
    }

    fn schedule(&mut self, id: ConnId, at: Instant) {
        if let Some(before) = self.due.insert(id, at) {
            self.deadlines.remove(&(before, id));
        }
        self.deadlines.insert((at, id));
    }

    fn insert(&mut self, conn: Conn, deadline: Instant) {
        let id = conn.id;
        self.by_remote.insert((conn.transport, conn.remote), id);
        self.conns.insert(id, conn);
        self.schedule(id, deadline);
        self.gauges();
    }

    fn next_id(&mut self) -> ConnId {
        self.next += 1;
        ConnId(self.next)
    }

    fn forget_stranger(&mut self, id: ConnId, remote: IpAddr) {
        self.strangers.remove(&id);
        let source = SourceKey::from(remote);
        if let Some(count) = self.strangers_of.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.strangers_of.remove(&source);
            }
        }
        self.gauges();
    }

    fn gauges(&self) {
        self.stats.connections.set(self.conns.len() as u64);
        self.stats.strangers.set(self.strangers.len() as u64);
    }

    fn fail(&mut self, token: Option<TransmitToken>, error: TransportError) {
        if let Some(token) = token {
            self.events.push_back(StreamEvent::SendFailed(token, error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[allow(clippy::disallowed_methods)]
    fn start() -> Instant {
        Instant::now()
    }

    struct Bench {
        streams: Streams,
        epoll: Epoll,
        listener: TcpListener,
        peers: Vec<TcpStream>,
        now: Instant,
    }

    impl Bench {
        fn new(limits: ConnectionLimits) -> Self {
            let streams = Streams::new(limits, Limits::default(), None, Arc::default());
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            Self { streams, epoll: Epoll::new(8).unwrap(), listener, peers: Vec::new(), now: start() }
        }

        /// A connection that says it comes from there.
        fn accept(&mut self, remote: &str) -> Result<ConnId, &'static str> {
            let local = self.listener.local_addr().unwrap();
            self.peers.push(TcpStream::connect(local).unwrap());
            let (socket, _) = self.listener.accept().unwrap();
            let at = ListenerAt { id: ListenerId(0), transport: Transport::Tcp, local };
            self.streams.accept(self.now, &self.epoll, at, socket, remote.parse().unwrap())
        }

        fn pass_time(&mut self, time: Duration, known: bool) {
            self.now += time;
            self.streams.handle_timeout(self.now, &self.epoll, &mut Vec::new(), |_| known);
        }
    }

    #[test]
    fn one_source_has_so_many_half_open_connections_and_no_more() {
        let limits = ConnectionLimits { strangers_per_source: 2, ..ConnectionLimits::default() };
        let mut bench = Bench::new(limits);
        let first = bench.accept("[2001:db8::1]:1000").unwrap();
        bench.accept("[2001:db8::2]:1000").unwrap();
        assert_eq!(bench.accept("[2001:db8::3]:1000"), Err("connections.strangers_per_source"));
        bench.accept("[2001:db8:0:1::1]:1000").unwrap();
        // A phone that is known does not count, nor does one that is gone.
        bench.streams.settle(first);
        let third = bench.accept("[2001:db8::3]:1000").unwrap();
        assert!(bench.accept("[2001:db8::4]:1000").is_err());
        bench.streams.close(third, CloseReason::Peer);
        bench.accept("[2001:db8::4]:1000").unwrap();
        for port in 1000..1010 {
            bench.accept(&format!("127.0.0.1:{port}")).unwrap();
        }
    }

    #[test]
    fn many_small_messages_fill_a_queue_as_few_large_ones_do() {
        let mut bench = Bench::new(ConnectionLimits::default());
        let id = bench.accept("203.0.113.5:1000").unwrap();
        let conn = bench.streams.get(id).unwrap();
        let small = bytes::Bytes::from_static(b"\r\n");
        let room = 6_600;
        assert_eq!((0..200).filter(|_| conn.enqueue(small.clone(), None, room)).count(), 100);
        conn.write().unwrap();
        assert_eq!((0..200).filter(|_| conn.enqueue(small.clone(), None, room)).count(), 100);
    }

    #[test]
    fn a_half_open_connection_ends_after_its_time_and_leaves_nothing_behind() {
        let limits = ConnectionLimits::default();
        let mut bench = Bench::new(limits);
        let id = bench.accept("203.0.113.5:1000").unwrap();
        bench.pass_time(limits.first_message - Duration::from_millis(1), false);
        assert!(bench.streams.get(id).is_some());
        bench.pass_time(Duration::from_millis(1), false);
        assert!(bench.streams.get(id).is_none());
        assert_eq!(bench.streams.poll_timeout(), None);
        assert!(bench.streams.by_remote.is_empty() && bench.streams.strangers_of.is_empty());
        assert_eq!(bench.streams.poll_event(), Some(StreamEvent::Closed(id)));
    }

    #[test]
    fn a_known_phone_may_be_silent_for_longer_than_a_stranger() {
        let limits = ConnectionLimits::default();
        let mut bench = Bench::new(limits);
        let id = bench.accept("203.0.113.5:1000").unwrap();
        bench.streams.get(id).unwrap().spoke = true;
        bench.streams.first_message(id);
        bench.pass_time(limits.stranger_idle, true);
        assert!(!bench.streams.get(id).unwrap().stranger);
        bench.pass_time(limits.idle - limits.stranger_idle - Duration::from_millis(1), false);
        assert!(bench.streams.get(id).is_some());
        bench.pass_time(Duration::from_millis(1), false);
        assert!(bench.streams.get(id).is_none());
    }
}
