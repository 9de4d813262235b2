//! The virtual network: datagrams that come late, twice, out of order or never, and streams that keep their order
//! until they break. Pure: it turns a send into what arrives where and when; `world` keeps the queue.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use ringfort_sip::endpoint::{ListenerInfo, TransportError};
use ringfort_sip::flow::{ConnId, Flow, ListenerId, Target, Transmit, TransmitToken, Transport};

/// A machine on the network: index 0 is the switch, phone `n` is `n + 1`, and behind the phones come the carriers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(pub usize);

/// How bad a way is. Probabilities from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub latency: Duration,
    /// Added at random, evenly from nothing to this.
    pub jitter: Duration,
    pub loss: f64,
    pub duplicate: f64,
    /// Held back by several times the latency, so that later packets overtake it.
    pub reorder: f64,
}

impl Link {
    /// A wire without faults.
    pub const PERFECT: Link =
        Link { latency: Duration::from_millis(5), jitter: Duration::ZERO, loss: 0.0, duplicate: 0.0, reorder: 0.0 };
}

/// What comes to a host.
#[derive(Clone, Debug)]
pub enum Arrival {
    Sip { flow: Flow, payload: Bytes },
    Rtp { from: SocketAddr, to: SocketAddr, payload: Vec<u8> },
    ConnClosed { conn: ConnId },
    SendFailed { token: TransmitToken, error: TransportError },
}

/// What is to happen, in the order it was caused.
pub type Arrivals = Vec<(Instant, Host, Arrival)>;

struct Machine {
    listeners: Vec<ListenerInfo>,
    link: Link,
    up: bool,
    next_port: u16,
}

/// One end of a stream.
#[derive(Clone, Copy)]
struct End {
    host: Host,
    local: SocketAddr,
    /// The other end's id.
    other: ConnId,
    transport: Transport,
    /// By which it was opened, or to which it came.
    listener: ListenerId,
    /// Nothing arrives at the other end before this: streams keep their order.
    not_before: Instant,
}

/// The network.
pub struct Net {
    rng: ChaCha8Rng,
    machines: Vec<Machine>,
    by_address: BTreeMap<IpAddr, Host>,
    conns: BTreeMap<ConnId, End>,
    next_conn: u64,
}

impl Net {
    pub fn new(rng: ChaCha8Rng) -> Self {
        Self { rng, machines: Vec::new(), by_address: BTreeMap::new(), conns: BTreeMap::new(), next_conn: 1 }
    }

    /// A machine that listens there, at the end of that link (its way to everybody else).
    pub fn add(&mut self, listeners: Vec<ListenerInfo>, link: Link) -> Host {
        let host = Host(self.machines.len());
        for listener in &listeners {
            self.by_address.insert(listener.local.ip(), host);
        }
        self.machines.push(Machine { listeners, link, up: true, next_port: 40_000 });
        host
    }

    /// Whose address it is.
    pub fn host_of(&self, address: IpAddr) -> Option<Host> {
        self.by_address.get(&address).copied()
    }

    /// All faults are mended from now on: what is on its way stays lost or late.
    pub fn mend(&mut self) {
        for machine in &mut self.machines {
            machine.link = Link { latency: machine.link.latency, ..Link::PERFECT };
        }
    }

    /// The machine loses power: its streams break; the other ends learn it when they send, or after a while.
    pub fn power(&mut self, now: Instant, host: Host, up: bool) -> Arrivals {
        self.machines[host.0].up = up;
        let mut arrivals = Arrivals::new();
        if !up {
            let broken: Vec<ConnId> =
                self.conns.iter().filter(|(_, end)| end.host == host).map(|(&conn, _)| conn).collect();
            for conn in broken {
                let Some(end) = self.conns.remove(&conn) else { continue };
                if let Some(other) = self.conns.remove(&end.other) {
                    let at = now + Duration::from_millis(self.rng.random_range(1..5000));
                    arrivals.push((at, other.host, Arrival::ConnClosed { conn: end.other }));
                }
            }
        }
        arrivals
    }

    pub fn is_up(&self, host: Host) -> bool {
        self.machines[host.0].up
    }

    fn delay(&mut self, from: Host, to: Host) -> Duration {
        let (a, b) = (self.machines[from.0].link, self.machines[to.0].link);
        let jitter = (a.jitter + b.jitter).as_micros() as u64;
        let jitter = if jitter == 0 { 0 } else { self.rng.random_range(0..=jitter) };
        a.latency + b.latency + Duration::from_micros(jitter)
    }

    fn chance(&mut self, p: f64) -> bool {
        p > 0.0 && self.rng.random_bool(p.min(1.0))
    }

    /// The times at which one datagram arrives: none, one or two.
    fn datagram(&mut self, now: Instant, from: Host, to: Host) -> [Option<Instant>; 2] {
        let (a, b) = (self.machines[from.0].link, self.machines[to.0].link);
        if self.chance(a.loss) || self.chance(b.loss) {
            return [None, None];
        }
        let mut first = self.delay(from, to);
        if self.chance(a.reorder) || self.chance(b.reorder) {
            first *= self.rng.random_range(2..8);
        }
        let again = (self.chance(a.duplicate) || self.chance(b.duplicate)).then(|| self.delay(from, to) * 2);
        [Some(now + first), again.map(|delay| now + delay)]
    }

    /// An RTP packet goes out.
    pub fn send_rtp(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, payload: Vec<u8>) -> Arrivals {
        let (Some(source), Some(dest)) = (self.host_of(from.ip()), self.host_of(to.ip())) else { return Vec::new() };
        let times = self.datagram(now, source, dest);
        times.into_iter().flatten().map(|at| (at, dest, Arrival::Rtp { from, to, payload: payload.clone() })).collect()
    }

    /// A SIP message goes out.
    pub fn send(&mut self, now: Instant, from: Host, transmit: Transmit) -> Arrivals {
        match &transmit.target {
            Target::Flow(flow) if flow.transport == Transport::Udp => {
                self.send_datagram(now, from, flow.local, flow.remote, transmit)
            }
            Target::Connect { transport: Transport::Udp, listener, remote, .. } => {
                let listeners = &self.machines[from.0].listeners;
                let Some(local) = listeners.iter().find(|info| info.id == *listener).map(|info| info.local) else {
                    return self.failed(now, from, &transmit, TransportError::NoListener);
                };
                self.send_datagram(now, from, local, *remote, transmit)
            }
            Target::Flow(flow) => match flow.conn {
                Some(conn) if self.conns.contains_key(&conn) => self.send_stream(now, conn, transmit),
                _ => self.failed(now, from, &transmit, TransportError::Closed),
            },
            Target::Connect { transport, remote, listener, .. } => {
                match self.connect(now, from, *transport, *listener, *remote) {
                    Some(conn) => self.send_stream(now, conn, transmit),
                    None => self.failed(now, from, &transmit, TransportError::Refused),
                }
            }
        }
    }

    fn failed(&mut self, now: Instant, host: Host, transmit: &Transmit, error: TransportError) -> Arrivals {
        let after = Duration::from_millis(self.rng.random_range(1..50));
        transmit.token.map(|token| (now + after, host, Arrival::SendFailed { token, error })).into_iter().collect()
    }

    fn send_datagram(
        &mut self,
        now: Instant,
        from: Host,
        local: SocketAddr,
        remote: SocketAddr,
        transmit: Transmit,
    ) -> Arrivals {
        let Some(to) = self.host_of(remote.ip()) else { return Vec::new() };
        let Some(listener) = self.machines[to.0]
            .listeners
            .iter()
            .find(|info| info.transport == Transport::Udp && info.local == remote)
            .map(|info| info.id)
        else {
            return Vec::new();
        };
        let flow = Flow { transport: Transport::Udp, listener, conn: None, local: remote, remote: local };
        self.datagram(now, from, to)
            .into_iter()
            .flatten()
            .map(|at| (at, to, Arrival::Sip { flow, payload: transmit.payload.clone() }))
            .collect()
    }

    /// An open stream to that address, or a new one.
    fn connect(
        &mut self,
        now: Instant,
        from: Host,
        transport: Transport,
        listener: ListenerId,
        remote: SocketAddr,
    ) -> Option<ConnId> {
        let to = self.host_of(remote.ip())?;
        let open = self.conns.iter().find(|(_, end)| {
            end.host == from
                && end.transport == transport
                && self.conns.get(&end.other).is_some_and(|other| other.local == remote)
        });
        if let Some((&conn, _)) = open {
            return Some(conn);
        }
        let machine = &self.machines[to.0];
        let called = machine.listeners.iter().find(|info| info.transport == transport && info.local == remote);
        let called = called.filter(|_| machine.up)?.id;
        let own = &mut self.machines[from.0];
        own.next_port = own.next_port.checked_add(1).unwrap_or(40_000);
        let local = SocketAddr::new(own.listeners[0].local.ip(), own.next_port);
        let (ours, theirs) = (ConnId(self.next_conn), ConnId(self.next_conn + 1));
        self.next_conn += 2;
        // The handshake takes a round trip before anything flows.
        let open_at = now + self.delay(from, to) * 2;
        let end = |host, local, other, listener| End { host, local, other, transport, listener, not_before: open_at };
        self.conns.insert(ours, end(from, local, theirs, listener));
        self.conns.insert(theirs, end(to, remote, ours, called));
        Some(ours)
    }

    fn send_stream(&mut self, now: Instant, conn: ConnId, transmit: Transmit) -> Arrivals {
        let Some(end) = self.conns.get(&conn).copied() else { return Vec::new() };
        let Some(other) = self.conns.get(&end.other).copied() else { return Vec::new() };
        let delay = self.delay(end.host, other.host);
        let at = (now + delay).max(end.not_before);
        if let Some(end) = self.conns.get_mut(&conn) {
            end.not_before = at;
        }
        let flow = Flow {
            transport: end.transport,
            listener: other.listener,
            conn: Some(end.other),
            local: other.local,
            remote: end.local,
        };
        vec![(at, other.host, Arrival::Sip { flow, payload: transmit.payload })]
    }

    /// One side closes a stream; the other is told.
    pub fn close(&mut self, now: Instant, conn: ConnId) -> Arrivals {
        let Some(end) = self.conns.remove(&conn) else { return Vec::new() };
        let Some(other) = self.conns.remove(&end.other) else { return Vec::new() };
        let delay = self.delay(end.host, other.host);
        vec![((now + delay).max(end.not_before), other.host, Arrival::ConnClosed { conn: end.other })]
    }

    /// Streams that are open.
    pub fn open_streams(&self) -> usize {
        self.conns.len() / 2
    }
}
