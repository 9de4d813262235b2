//! The media thread: it owns the UDP ports of calls and the relay, and moves packets between them in batches. Nothing
//! on a packet's way allocates or takes a lock. When the shard's queue of events is full, events wait here; when the
//! kernel's buffer is full, packets are lost, as on the network.

mod ports;

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringfort_guard::BanSet;
use ringfort_media::relay::{PacketBuf, Relay, TAIL_ROOM, Verdict};
use ringfort_media::types::{Command, Event};

use crate::config::MediaThreadConfig;
use crate::error::StartError;
use crate::mail::{MailSender, Pieces};
use crate::shard::panic_text;
use crate::stats::{DropCounters, MediaCounters};
use crate::sys::batch::{Datagram, RecvBatch, SendBatch};
use crate::sys::epoll::{Epoll, Interest, Ready, Waker};
use ports::{PortAt, Ports};

/// Datagrams by one system call.
const BATCH: usize = ports::MOST;
/// Sockets reported by one wait: with a port for every stream, as many as packets come in a pause.
const READY: usize = 1024;
/// Packets handled before they are sent.
const ROOM: usize = 256;
/// Octets of a datagram: more does not come over any link in use, and room for encryption.
const PACKET: usize = 2048;
/// Traffic is measured over so long.
const WINDOW: Duration = Duration::from_millis(50);
/// From so many packets a second on, the thread pauses between passes so that batches fill.
const HEAVY: u32 = 2_000;
/// How soon a full queue of events is tried again.
const RETRY: Duration = Duration::from_millis(5);

const WAKER: u64 = u64::MAX;

/// At most one address of each family.
pub(crate) fn check_addresses(config: &MediaThreadConfig) -> Result<(), StartError> {
    let v4 = config.bind.iter().filter(|address| address.is_ipv4()).count();
    let v6 = config.bind.len() - v4;
    if v4 > 1 || v6 > 1 { Err(StartError::MediaAddresses(config.bind.len())) } else { Ok(()) }
}

/// What the shard tells the thread.
pub(crate) enum Order {
    Relay(Command),
    /// Whose packets are dropped from now on.
    Bans(Arc<BanSet>),
}

/// The shard's end: orders out, events in.
pub(crate) struct MediaLink {
    commands: Option<SyncSender<Order>>,
    events: Receiver<Event>,
    waker: Waker,
    /// Orders that found the queue full. They are never dropped: a stream that is not closed would be leaked.
    backlog: VecDeque<Order>,
    sent: bool,
    retry_at: Option<Instant>,
    ended: bool,
}

impl MediaLink {
    /// Queues an order; [`MediaLink::flush`] wakes the thread.
    pub(crate) fn send(&mut self, order: Order) {
        self.backlog.push_back(order);
        self.sent = true;
    }

    /// Hands over what is queued.
    ///
    /// # Errors
    /// The media thread has ended.
    pub(crate) fn flush(&mut self, now: Instant) -> io::Result<()> {
        if self.ended {
            return Err(io::Error::other("the media thread has ended"));
        }
        if !self.sent && self.backlog.is_empty() {
            return Ok(());
        }
        self.sent = false;
        self.retry_at = None;
        let Some(sender) = &self.commands else { return Ok(()) };
        while let Some(order) = self.backlog.pop_front() {
            match sender.try_send(order) {
                Ok(()) => {}
                Err(TrySendError::Full(order)) => {
                    self.backlog.push_front(order);
                    self.retry_at = Some(now + RETRY);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => return Err(io::Error::other("the media thread has ended")),
            }
        }
        self.waker.wake();
        Ok(())
    }

    pub(crate) fn backlog(&self) -> usize {
        self.backlog.len()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The next event. That the thread has ended is told by [`MediaLink::flush`].
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.try_recv().inspect_err(|error| self.ended |= *error == TryRecvError::Disconnected).ok()
    }
}

impl Drop for MediaLink {
    fn drop(&mut self) {
        // First the end of the queue, then the wake-up that lets the thread see it.
        self.commands = None;
        self.waker.wake();
    }
}

/// Starts the thread. `shard`: woken when there are events.
pub(crate) fn spawn(
    config: &MediaThreadConfig,
    stats: Arc<MediaCounters>,
    drops: Arc<DropCounters>,
    shard: Waker,
    mail: Option<MailSender>,
) -> io::Result<(MediaLink, JoinHandle<()>)> {
    let waker = Waker::new()?;
    let (commands, inbox) = sync_channel(config.queue.max(1));
    let (outbox, events) = sync_channel(config.queue.max(1));
    let mut thread = MediaThread::new(config, stats, drops, shard.clone(), waker.clone(), inbox, outbox, mail)?;
    let run = move || {
        match catch_unwind(AssertUnwindSafe(|| thread.run())) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(rule = "media", alarm = true, %error, "media thread stopped"),
            Err(panic) => {
                let what = panic_text(&*panic);
                tracing::error!(rule = "media", alarm = true, "media thread stopped by a panic: {what}");
            }
        }
        drop(thread);
        // The shard finds the queue closed.
        shard.wake();
    };
    let handle = std::thread::Builder::new().name("media-0".to_owned()).spawn(run)?;
    let link = MediaLink {
        commands: Some(commands),
        events,
        waker,
        backlog: VecDeque::new(),
        sent: false,
        retry_at: None,
        ended: false,
    };
    Ok((link, handle))
}

/// A packet that is ready in its buffer.
#[derive(Clone, Copy)]
struct Packet {
    /// Index of the socket to send from.
    socket: u32,
    slot: u32,
    start: u32,
    end: u32,
    to: std::net::SocketAddr,
}

struct MediaThread {
    relay: Relay,
    bans: Arc<BanSet>,
    ports: Ports,
    epoll: Epoll,
    waker: Waker,
    shard: Waker,
    inbox: Receiver<Order>,
    outbox: SyncSender<Event>,
    unsent_events: VecDeque<Event>,
    pieces: Pieces,
    stats: Arc<MediaCounters>,
    drops: Arc<DropCounters>,
    recv: RecvBatch,
    send: SendBatch,
    packets: Vec<Packet>,
    used: usize,
    pause: Duration,
    load: Load,
    /// More was waiting than a pass takes: no pause now.
    behind: bool,
}

/// How many packets come.
#[derive(Clone, Copy)]
struct Load {
    since: Instant,
    packets: u32,
    heavy: bool,
}

#[allow(clippy::disallowed_methods)]
fn clock() -> Instant {
    Instant::now()
}

/// The NTP timestamp of this moment (RFC 3550 §4).
#[allow(clippy::disallowed_methods)]
fn ntp() -> u64 {
    const SECONDS_1900_TO_1970: u64 = 2_208_988_800;
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000;
    (unix.as_secs() + SECONDS_1900_TO_1970) << 32 | fraction
}

impl MediaThread {
    #[allow(clippy::too_many_arguments, reason = "each is one end of something")]
    fn new(
        config: &MediaThreadConfig,
        stats: Arc<MediaCounters>,
        drops: Arc<DropCounters>,
        shard: Waker,
        waker: Waker,
        inbox: Receiver<Order>,
        outbox: SyncSender<Event>,
        mail: Option<MailSender>,
    ) -> io::Result<Self> {
        let now = clock();
        let epoll = Epoll::new(READY)?;
        epoll.add(waker.as_fd(), WAKER, Interest::READ)?;
        Ok(Self {
            bans: Arc::new(BanSet::empty()),
            relay: Relay::new(config.relay, crate::sys::random(), now, ntp()),
            ports: Ports::new(&config.bind, config.socket_buffer),
            epoll,
            waker,
            shard,
            inbox,
            outbox,
            unsent_events: VecDeque::new(),
            pieces: Pieces::new(mail),
            stats,
            drops,
            recv: RecvBatch::new(ROOM, PACKET, false),
            send: SendBatch::new(BATCH),
            packets: Vec::with_capacity(ROOM),
            used: 0,
            pause: config.pause,
            load: Load { since: now, packets: 0, heavy: false },
            behind: false,
        })
    }

    /// Runs until the shard lets go of its end of the queue.
    fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::with_capacity(READY);
        loop {
            let due = match self.unsent_events.is_empty() && !self.pieces.waits() {
                true => self.relay.poll_timeout().map(|at| at.saturating_duration_since(clock())),
                false => Some(RETRY),
            };
            self.epoll.wait(due, &mut ready)?;
            let now = clock();
            self.behind = ready.len() == READY;
            if !self.pass(now, &ready) {
                return Ok(());
            }
            if self.load.heavy && !self.behind && !self.pause.is_zero() {
                self.stats.paused.one();
                std::thread::sleep(self.pause);
            }
        }
    }

    /// One pass. `false`: the shard is gone.
    fn pass(&mut self, now: Instant, ready: &[Ready]) -> bool {
        self.stats.passes.one();
        let mut received = 0;
        let mut go_on = true;
        for ready in ready {
            if ready.token == WAKER {
                self.waker.drain();
                // Before a command closes a socket and another one takes its index.
                self.send_packets();
                go_on = self.read_commands(now);
            } else {
                received += self.read_port(now, ready.token as u32);
            }
        }
        self.send_packets();
        if self.relay.poll_timeout().is_some_and(|at| at <= now) {
            self.relay.handle_timeout(now);
        }
        self.send_own(now);
        self.pieces.hand_over(&mut self.relay);
        self.hand_events();
        self.measure(now, received);
        go_on
    }

    fn measure(&mut self, now: Instant, received: u32) {
        self.load.packets += received;
        let elapsed = now.saturating_duration_since(self.load.since);
        if elapsed >= WINDOW {
            let per_second = u128::from(self.load.packets) * 1000 / elapsed.as_millis().max(1);
            self.load = Load { since: now, packets: 0, heavy: per_second >= u128::from(HEAVY) };
        }
    }

    fn read_commands(&mut self, now: Instant) -> bool {
        loop {
            let command = match self.inbox.try_recv() {
                Ok(Order::Relay(command)) => command,
                Ok(Order::Bans(bans)) => {
                    self.bans = bans;
                    continue;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            };
            if let Command::Open { id, port } = command
                && let Err(error) = self.ports.open(&self.epoll, id, port)
            {
                self.stats.bind_failed.one();
                tracing::error!(rule = "media.port", alarm = true, %port, %error, "media port cannot be bound");
                self.unsent_events.push_back(Event::PortFailed { id, port });
            }
            let closed = match command {
                Command::Close { id } => Some(id),
                _ => None,
            };
            self.relay.handle_command(now, command);
            if let Some(id) = closed {
                self.ports.close(id);
            }
        }
        self.stats.sockets.set(self.ports.len() as u64);
        self.stats.streams.set(self.relay.len() as u64);
        true
    }

    /// Reads what waits on one socket, and handles each packet. Returns how many there were. It asks for as many as the
    /// socket had of late: asking for one more than there is costs a futile look into the queue each time, and what is
    /// left is reported by the next wait.
    fn read_port(&mut self, now: Instant, socket: u32) -> u32 {
        let pass = self.stats.passes.get();
        let mut total = 0;
        loop {
            if self.used == ROOM {
                self.send_packets();
            }
            let first = self.used;
            let Some((fd, at, wanted)) = self.ports.reading(socket, pass) else { return total };
            let asked = wanted.min(ROOM - first);
            // An error is an ICMP answer to something sent before; the next packet comes with the next pass.
            let count = self.recv.recv_at(fd, first, asked).unwrap_or(0);
            for slot in first..first + count {
                self.packet(now, at, slot);
            }
            self.used += count;
            total += count as u32;
            self.stats.received.add(count as u64);
            self.ports.found(socket, asked, count);
            if count < asked || asked == 1 {
                return total;
            }
            // A socket that never runs dry must not starve the others.
            if total as usize >= ROOM {
                self.behind = true;
                return total;
            }
        }
    }

    fn packet(&mut self, now: Instant, at: PortAt, slot: usize) {
        let Some(received) = self.recv.received(slot) else { return };
        if received.truncated || received.len + TAIL_ROOM > PACKET {
            return self.stats.dropped.one();
        }
        if self.bans.is_banned(now, received.source.ip()) {
            return self.stats.dropped_ban.one();
        }
        let mut buffer = PacketBuf::new(self.recv.buffer(slot), received.len);
        match self.relay.handle_packet(now, at.port, at.is_rtcp, received.source, &mut buffer) {
            Verdict::Forward { port, is_rtcp, dest } => {
                let range = buffer.range();
                match self.ports.find(PortAt { port, is_rtcp }, dest.is_ipv6()) {
                    Some(socket) => self.packets.push(Packet {
                        socket,
                        slot: slot as u32,
                        start: range.start as u32,
                        end: range.end as u32,
                        to: dest,
                    }),
                    None => self.stats.send_failed.one(),
                }
            }
            Verdict::Drop(reason) => {
                self.stats.dropped.one();
                self.drops.one(reason);
            }
            Verdict::Consumed => {}
        }
    }

    /// Sends what is ready, socket by socket. The order within a socket stays.
    fn send_packets(&mut self) {
        self.packets.sort_unstable_by_key(|packet| (packet.socket, packet.slot));
        let (mut sent, mut failed) = (0, 0);
        for group in self.packets.chunk_by(|a, b| a.socket == b.socket) {
            let Some((fd, _)) = self.ports.get(group[0].socket) else { continue };
            let recv = &self.recv;
            let datagrams = group.iter().map(|packet| Datagram {
                to: packet.to,
                from: None,
                data: recv.data(packet.slot as usize, packet.start as usize..packet.end as usize),
            });
            sent += self.send.send(fd, datagrams, |_, _| failed += 1);
        }
        self.stats.forwarded.add(sent as u64);
        self.stats.send_failed.add(failed);
        self.packets.clear();
        self.used = 0;
    }

    /// The relay's own RTCP.
    fn send_own(&mut self, now: Instant) {
        loop {
            let mut buffer = PacketBuf::new(self.recv.buffer(0), 0);
            let Some(outgoing) = self.relay.poll_packet(now, &mut buffer) else { return };
            let range = buffer.range();
            let at = PortAt { port: outgoing.port, is_rtcp: outgoing.is_rtcp };
            let Some((fd, _)) = self.ports.find(at, outgoing.dest.is_ipv6()).and_then(|at| self.ports.get(at)) else {
                self.stats.send_failed.one();
                continue;
            };
            let datagram = Datagram { to: outgoing.dest, from: None, data: self.recv.data(0, range) };
            let mut failed = 0;
            self.send.send(fd, [datagram], |_, _| failed += 1);
            self.stats.send_failed.add(failed);
        }
    }

    fn hand_events(&mut self) {
        let mut handed = false;
        while let Some(event) = self.unsent_events.pop_front().or_else(|| self.relay.poll_event()) {
            match self.outbox.try_send(event) {
                Ok(()) => handed = true,
                Err(TrySendError::Full(event)) => {
                    self.unsent_events.push_front(event);
                    break;
                }
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
        if handed || !self.unsent_events.is_empty() {
            self.shard.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfort_media::types::StreamId;

    #[test]
    fn the_end_of_the_media_thread_is_noticed_without_a_command() {
        let (commands, inbox) = sync_channel(1);
        let (outbox, events) = sync_channel(1);
        let waker = Waker::new().unwrap();
        let backlog = VecDeque::new();
        let mut link =
            MediaLink { commands: Some(commands), events, waker, backlog, sent: false, retry_at: None, ended: false };
        assert_eq!(link.poll_event(), None);
        link.flush(clock()).unwrap();
        // What it said last is heard first.
        outbox.send(Event::Resumed { id: StreamId(1) }).unwrap();
        drop((inbox, outbox));
        assert_eq!(link.poll_event(), Some(Event::Resumed { id: StreamId(1) }));
        assert_eq!(link.poll_event(), None);
        link.flush(clock()).unwrap_err();
    }
}
