//! Which UDP port pair a stream uses. Few ports are shared by many streams, because batching pays only then; at most one
//! stream whose remote is not yet learned sits on a port (CALL-5), or a stranger's packet could fall into its call.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::types::{PortId, StreamId};

/// Range and bounds of a [`PortPool`].
#[derive(Clone, Copy, Debug)]
pub struct PortPoolConfig {
    /// First UDP port, inclusive. RTP takes even ports, RTCP the odd ones above.
    pub first: u16,
    /// Last UDP port, inclusive.
    pub last: u16,
    /// Streams that may share a port.
    pub max_streams_per_port: u32,
    /// How long a port is avoided after a stream left it that had not learned its remote: its peer may still send.
    pub quarantine: Duration,
    /// How long a port is avoided that could not be opened: another program has it, or a limit was reached.
    pub avoid_for: Duration,
}

impl Default for PortPoolConfig {
    fn default() -> Self {
        Self {
            first: 10_000,
            last: 20_000,
            max_streams_per_port: 500,
            quarantine: Duration::from_secs(5),
            avoid_for: Duration::from_secs(60),
        }
    }
}

/// What is on one port.
#[derive(Clone, Copy, Debug, Default)]
struct Port {
    streams: u32,
    unlearned: u32,
    /// Nothing new may come here before.
    quarantined_until: Option<Instant>,
    /// It could not be opened; not to be tried before.
    avoided_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    port: PortId,
    learned: bool,
}

/// Hands out ports and stream ids. One per media thread (each with its own range) or one per shard.
#[derive(Debug)]
pub struct PortPool {
    config: PortPoolConfig,
    ports: FxHashMap<u16, Port>,
    holders: FxHashMap<StreamId, Holder>,
    /// Ports in use that may take another stream: all of theirs are learned, there is room, and nothing
    /// speaks against it.
    shareable: BTreeSet<u16>,
    /// Ports without a stream that are neither in quarantine nor avoided.
    free: BTreeSet<u16>,
    /// Ports in quarantine, oldest first; an entry whose time is not the port's own is stale.
    quarantine: VecDeque<(Instant, u16)>,
    /// Ports that could not be opened, oldest first, with stale entries likewise.
    avoided: VecDeque<(Instant, u16)>,
    next_stream: u64,
}

impl PortPool {
    /// A pool over the range; stream ids start at 1.
    pub fn new(config: PortPoolConfig) -> PortPool {
        PortPool::with_first_stream(config, StreamId(1))
    }

    /// A pool whose stream ids start elsewhere, so that those of several pools never meet.
    pub fn with_first_stream(config: PortPoolConfig, first: StreamId) -> PortPool {
        let lowest = u32::from(config.first).next_multiple_of(2).max(2);
        let free = (lowest..u32::from(config.last)).step_by(2).map(|port| port as u16).collect();
        PortPool {
            config,
            ports: FxHashMap::default(),
            holders: FxHashMap::default(),
            shareable: BTreeSet::new(),
            free,
            quarantine: VecDeque::new(),
            avoided: VecDeque::new(),
            next_stream: first.0,
        }
    }

    /// A stream id that was never handed out before.
    pub fn next_stream(&mut self) -> StreamId {
        let id = StreamId(self.next_stream);
        self.next_stream += 1;
        id
    }

    /// A port for a stream that has not learned its remote: first one in use whose streams are all learned, then a free
    /// one, then the one that has been in quarantine longest. `None`: every port has an unlearned stream, is full or is
    /// avoided, or the stream has a port already.
    pub fn acquire(&mut self, now: Instant, stream: StreamId) -> Option<PortId> {
        if self.holders.contains_key(&stream) {
            return None;
        }
        self.end_quarantines(now);
        self.end_avoidance(now);
        let number = self.shareable.first().or_else(|| self.free.first()).copied().or_else(|| self.quarantined())?;
        let port = self.ports.entry(number).or_default();
        port.streams += 1;
        port.unlearned += 1;
        self.holders.insert(stream, Holder { port: PortId(number), learned: false });
        self.file(number);
        Some(PortId(number))
    }

    /// The stream's remote is known now; its port may take another stream.
    pub fn learned(&mut self, stream: StreamId) {
        let Some(holder) = self.holders.get_mut(&stream) else { return };
        if std::mem::replace(&mut holder.learned, true) {
            return;
        }
        let number = holder.port.0;
        self.port_mut(number).unlearned -= 1;
        self.file(number);
    }

    /// Offer/answer changed the stream's remote, so that it learns anew. `false`: another stream on its port is learning
    /// at this time, so the stream should move to another port where it still can.
    pub fn relearn(&mut self, stream: StreamId) -> bool {
        let Some(holder) = self.holders.get_mut(&stream) else { return true };
        let was_learned = std::mem::replace(&mut holder.learned, false);
        let number = holder.port.0;
        let port = self.port_mut(number);
        port.unlearned += u32::from(was_learned);
        let alone = port.unlearned == 1;
        self.file(number);
        alone
    }

    /// Whether the stream could learn anew on its port without another one learning there.
    pub fn can_relearn(&self, stream: StreamId) -> bool {
        self.holders.get(&stream).is_none_or(|holder| {
            self.ports.get(&holder.port.0).is_none_or(|port| port.unlearned == u32::from(!holder.learned))
        })
    }

    /// The stream is gone.
    pub fn release(&mut self, now: Instant, stream: StreamId) {
        let Some(holder) = self.holders.remove(&stream) else { return };
        let number = holder.port.0;
        let until = now + self.config.quarantine;
        let port = self.port_mut(number);
        port.streams -= 1;
        if !holder.learned {
            port.unlearned -= 1;
            port.quarantined_until = Some(until);
            self.quarantine.push_back((until, number));
        }
        self.file(number);
    }

    /// The port could not be opened: nobody gets it for a while. Streams that have it keep it until they are released.
    pub fn failed(&mut self, now: Instant, port: PortId) {
        let number = port.0;
        if !self.ports.contains_key(&number) && !self.free.contains(&number) {
            return;
        }
        let until = now + self.config.avoid_for;
        self.ports.entry(number).or_default().avoided_until = Some(until);
        self.avoided.push_back((until, number));
        self.file(number);
    }

    /// The port of a stream.
    pub fn port_of(&self, stream: StreamId) -> Option<PortId> {
        self.holders.get(&stream).map(|holder| holder.port)
    }

    /// Streams that have a port.
    pub fn streams(&self) -> usize {
        self.holders.len()
    }

    /// Port pairs with at least one stream.
    pub fn open_ports(&self) -> usize {
        self.ports.values().filter(|port| port.streams > 0).count()
    }

    /// Port pairs in the range.
    pub fn capacity(&self) -> usize {
        let lowest = u32::from(self.config.first).next_multiple_of(2).max(2);
        (u32::from(self.config.last).saturating_sub(lowest) as usize).div_ceil(2)
    }

    fn port_mut(&mut self, number: u16) -> &mut Port {
        self.ports.get_mut(&number).expect("a stream's port has an entry until its last stream left")
    }

    /// Puts the port into the set it belongs to.
    fn file(&mut self, number: u16) {
        let port = self.ports.get(&number).copied().unwrap_or_default();
        let open = port.quarantined_until.is_none() && port.avoided_until.is_none() && port.unlearned == 0;
        set(&mut self.free, number, open && port.streams == 0);
        set(&mut self.shareable, number, open && port.streams > 0 && port.streams < self.config.max_streams_per_port);
        if open && port.streams == 0 {
            self.ports.remove(&number);
        }
    }

    fn end_quarantines(&mut self, now: Instant) {
        while let Some(&(until, number)) = self.quarantine.front()
            && until <= now
        {
            self.quarantine.pop_front();
            self.end_quarantine(number, until);
        }
    }

    fn end_quarantine(&mut self, number: u16, until: Instant) {
        if let Some(port) = self.ports.get_mut(&number)
            && port.quarantined_until == Some(until)
        {
            port.quarantined_until = None;
            self.file(number);
        }
    }

    fn end_avoidance(&mut self, now: Instant) {
        while let Some(&(until, number)) = self.avoided.front()
            && until <= now
        {
            self.avoided.pop_front();
            if let Some(port) = self.ports.get_mut(&number)
                && port.avoided_until == Some(until)
            {
                port.avoided_until = None;
                self.file(number);
            }
        }
    }

    /// The port that has been in quarantine longest and could take a stream otherwise.
    fn quarantined(&mut self) -> Option<u16> {
        let max = self.config.max_streams_per_port;
        let index = self.quarantine.iter().position(|&(until, number)| {
            self.ports.get(&number).is_some_and(|port| {
                port.quarantined_until == Some(until)
                    && port.avoided_until.is_none()
                    && port.unlearned == 0
                    && port.streams < max
            })
        })?;
        let (until, number) = self.quarantine.remove(index)?;
        self.end_quarantine(number, until);
        Some(number)
    }
}

fn set(set: &mut BTreeSet<u16>, number: u16, member: bool) {
    if member {
        set.insert(number);
    } else {
        set.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(first: u16, last: u16) -> PortPool {
        PortPool::new(PortPoolConfig { first, last, max_streams_per_port: 3, ..PortPoolConfig::default() })
    }

    fn start() -> Instant {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        Instant::now()
    }

    fn take(pool: &mut PortPool, now: Instant) -> Option<(StreamId, u16)> {
        let id = pool.next_stream();
        pool.acquire(now, id).map(|port| (id, port.0))
    }

    #[test]
    fn ports_are_even_and_their_pairs_lie_in_the_range_rfc_3550_section_11() {
        for (first, last, expected) in [(10_001, 10_006, vec![10_002, 10_004]), (10_000, 10_001, vec![10_000])] {
            let mut pool = pool(first, last);
            let ports: Vec<u16> = std::iter::from_fn(|| take(&mut pool, start())).map(|(_, port)| port).collect();
            assert_eq!(ports, expected);
            assert_eq!(pool.capacity(), expected.len());
        }
        assert_eq!(pool(10_000, 10_000).capacity(), 0);
        assert_eq!(pool(65_534, 65_535).capacity(), 1);
        assert_eq!(pool(20_000, 10_000).capacity(), 0);
    }

    #[test]
    fn a_port_takes_a_second_stream_only_when_the_first_is_learned() {
        let (mut pool, now) = (pool(10_000, 10_003), start());
        let (a, port_a) = take(&mut pool, now).unwrap();
        let (_, port_b) = take(&mut pool, now).unwrap();
        assert_ne!(port_a, port_b);
        assert!(take(&mut pool, now).is_none(), "both ports have an unlearned stream");
        pool.learned(a);
        assert_eq!(take(&mut pool, now).unwrap().1, port_a);
    }

    #[test]
    fn a_port_in_use_is_shared_before_a_new_one_is_opened_up_to_its_bound() {
        let (mut pool, now) = (pool(10_000, 10_100), start());
        for _ in 0..3 {
            let (id, port) = take(&mut pool, now).unwrap();
            assert_eq!(port, 10_000);
            pool.learned(id);
        }
        assert_eq!(take(&mut pool, now).unwrap().1, 10_002, "three streams are the bound");
        assert_eq!(pool.open_ports(), 2);
    }

    #[test]
    fn a_port_left_by_an_unlearned_stream_is_avoided_for_some_seconds() {
        let (mut pool, now) = (pool(10_000, 10_003), start());
        let (a, first) = take(&mut pool, now).unwrap();
        pool.release(now, a);
        let (b, second) = take(&mut pool, now).unwrap();
        assert_ne!(first, second);
        pool.learned(b);
        pool.release(now, b);
        assert_eq!(take(&mut pool, now + Duration::from_secs(6)).unwrap().1, first, "lowest free port after the time");
    }

    #[test]
    fn the_oldest_quarantined_port_is_taken_when_nothing_else_is_left() {
        let (mut pool, now) = (pool(10_000, 10_003), start());
        let (a, _) = take(&mut pool, now).unwrap();
        let (b, port_b) = take(&mut pool, now).unwrap();
        pool.release(now, b);
        pool.release(now + Duration::from_secs(1), a);
        assert_eq!(take(&mut pool, now + Duration::from_secs(2)).unwrap().1, port_b);
    }

    #[test]
    fn a_port_that_could_not_be_opened_is_avoided_for_a_minute_even_when_nothing_else_is_left() {
        let (mut pool, now) = (pool(10_000, 10_003), start());
        let (a, port) = take(&mut pool, now).unwrap();
        pool.failed(now, PortId(port));
        pool.release(now, a);
        let (b, other) = take(&mut pool, now).unwrap();
        assert_ne!(other, port);
        let late = now + Duration::from_secs(59);
        assert!(take(&mut pool, late).is_none());
        // A second failure counts from itself.
        pool.failed(late, PortId(other));
        pool.learned(b);
        pool.release(late, b);
        assert_eq!(take(&mut pool, now + Duration::from_secs(60)).unwrap().1, port);
        assert!(take(&mut pool, late + Duration::from_secs(59)).is_none());
        assert_eq!(take(&mut pool, late + Duration::from_secs(60)).unwrap().1, other);
        assert_eq!(pool.streams(), 2);
    }

    #[test]
    fn a_port_that_failed_twice_or_is_not_of_the_pool_leaves_nothing_behind() {
        let (mut pool, now) = (pool(10_000, 10_001), start());
        for port in [9_998, 10_001, 10_002] {
            pool.failed(now, PortId(port));
        }
        assert_eq!(take(&mut pool, now).unwrap().1, 10_000);
        pool.release(now, StreamId(1));
        let later = now + Duration::from_secs(30);
        pool.failed(now, PortId(10_000));
        pool.failed(later, PortId(10_000));
        assert!(take(&mut pool, now + Duration::from_secs(60)).is_none(), "the second one counts");
        let (id, _) = take(&mut pool, later + Duration::from_secs(60)).unwrap();
        pool.learned(id);
        pool.release(later, id);
        assert!(pool.ports.is_empty() && pool.avoided.is_empty());
    }

    #[test]
    fn relearning_beside_a_learning_stream_is_told() {
        let (mut pool, now) = (pool(10_000, 10_001), start());
        let (a, _) = take(&mut pool, now).unwrap();
        pool.learned(a);
        assert!(pool.can_relearn(a));
        let (b, _) = take(&mut pool, now).unwrap();
        assert!(!pool.can_relearn(a) && !pool.relearn(a));
        pool.learned(b);
        assert!(take(&mut pool, now).is_none(), "a is learning");
        pool.learned(a);
        assert!(take(&mut pool, now).is_some());
    }

    #[test]
    fn double_release_and_unknown_streams_do_nothing() {
        let (mut pool, now) = (pool(10_000, 10_001), start());
        let (a, _) = take(&mut pool, now).unwrap();
        assert!(pool.acquire(now, a).is_none());
        pool.release(now, a);
        pool.release(now, a);
        pool.learned(a);
        assert!(pool.relearn(a));
        assert_eq!((pool.streams(), pool.open_ports()), (0, 0));
    }
}
