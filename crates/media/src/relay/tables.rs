//! Whose packet it is: routes by (port, remote address), SSRCs by port, and who is learning on a port. Two phones
//! behind one NAT share ports, so a packet belongs to nobody rather than to the wrong one.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};

use rustc_hash::FxHashMap;

use super::Micros;
use super::source::continues;
use crate::types::PortId;

/// How long the SSRC of a closed stream is remembered after its last packet: a phone that missed the BYE talks on, with
/// pauses, until the BYE's retransmissions are over (RFC 3261 §17.1.2.2: 32 s) and beyond.
const GONE_FOR: Micros = 60_000_000;
/// Closed streams whose SSRC is remembered at most.
const MAX_GONE: usize = 65_536;

/// Local port and remote address, packed for hashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Route {
    address: [u64; 2],
    ports: u64,
}

impl Route {
    #[inline]
    fn new(port: PortId, is_rtcp: bool, remote: SocketAddr) -> Self {
        let octets = match remote.ip() {
            IpAddr::V4(v4) => u128::from_be_bytes(v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => u128::from_be_bytes(v6.octets()),
        };
        let ports = u64::from(port.0) << 17 | u64::from(is_rtcp) << 16 | u64::from(remote.port());
        Route { address: [(octets >> 64) as u64, octets as u64], ports }
    }
}

#[derive(Clone, Copy, Debug)]
enum Claim {
    /// The SSRC of the stream in that slot.
    Live(u32),
    /// The SSRC of a closed stream: its phone may go on sending for a while.
    Gone { sequence: u16, last: Micros },
}

/// What the SSRC of a packet says about whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Nobody,
    Stream(u32),
    /// A stream that was closed; the packet continues its sequence.
    Closed,
}

#[derive(Default)]
pub struct Tables {
    routes: FxHashMap<Route, u32>,
    claims: FxHashMap<(PortId, u32), Claim>,
    /// The one stream on a port that has not learned its remote yet.
    learners: FxHashMap<PortId, u32>,
    /// Streams that would learn when their port's learner is done.
    waiting: Vec<(PortId, u32)>,
    /// Closed claims in the order in which they may end.
    gone: VecDeque<(Micros, PortId, u32)>,
}

impl Tables {
    /// The stream that has that remote on that port.
    #[inline]
    pub fn route(&self, port: PortId, is_rtcp: bool, remote: SocketAddr) -> Option<u32> {
        self.routes.get(&Route::new(port, is_rtcp, remote)).copied()
    }

    /// Gives a remote to a stream unless it is another's; tells whether it is the stream's now.
    pub fn add_route(&mut self, port: PortId, is_rtcp: bool, remote: SocketAddr, slot: u32) -> bool {
        *self.routes.entry(Route::new(port, is_rtcp, remote)).or_insert(slot) == slot
    }

    /// Takes a remote from a stream, if it is the stream's.
    pub fn remove_route(&mut self, port: PortId, is_rtcp: bool, remote: SocketAddr, slot: u32) {
        if let Entry::Occupied(entry) = self.routes.entry(Route::new(port, is_rtcp, remote))
            && *entry.get() == slot
        {
            entry.remove();
        }
    }

    /// The stream that is learning its remote on that port.
    #[inline]
    pub fn learner(&self, port: PortId) -> Option<u32> {
        self.learners.get(&port).copied()
    }

    /// Makes a stream its port's learner. `false`: another one is; this one waits for its turn.
    pub fn start_learning(&mut self, port: PortId, slot: u32) -> bool {
        if *self.learners.entry(port).or_insert(slot) == slot {
            return true;
        }
        if !self.waiting.contains(&(port, slot)) {
            self.waiting.push((port, slot));
        }
        false
    }

    /// The stream has learned or is closed. Returns the one whose turn it is now, already made the learner.
    pub fn stop_learning(&mut self, port: PortId, slot: u32) -> Option<u32> {
        self.waiting.retain(|&waiting| waiting != (port, slot));
        if self.learner(port) != Some(slot) {
            return None;
        }
        self.learners.remove(&port);
        let at = self.waiting.iter().position(|&(waiting, _)| waiting == port)?;
        let (_, next) = self.waiting.remove(at);
        self.learners.insert(port, next);
        Some(next)
    }

    /// The stream whose SSRC that is on that port.
    pub fn claimed(&self, port: PortId, ssrc: u32) -> Option<u32> {
        match self.claims.get(&(port, ssrc)) {
            Some(&Claim::Live(slot)) => Some(slot),
            Some(Claim::Gone { .. }) | None => None,
        }
    }

    /// Whose packet that is by its SSRC. That of a closed stream is remembered for as long as it keeps coming.
    pub fn owner(&mut self, now: Micros, port: PortId, ssrc: u32, sequence: u16) -> Owner {
        match self.claims.get_mut(&(port, ssrc)) {
            None => Owner::Nobody,
            Some(&mut Claim::Live(slot)) => Owner::Stream(slot),
            Some(Claim::Gone { sequence: newest, last }) => {
                if *last + GONE_FOR <= now || !continues(*newest, sequence) {
                    return Owner::Nobody;
                }
                (*newest, *last) = (sequence, now);
                Owner::Closed
            }
        }
    }

    /// Notes a stream's SSRC, unless it is another live stream's.
    pub fn claim(&mut self, port: PortId, ssrc: u32, slot: u32) {
        let claim = self.claims.entry((port, ssrc)).or_insert(Claim::Live(slot));
        if matches!(claim, Claim::Gone { .. }) {
            *claim = Claim::Live(slot);
        }
    }

    /// A stream no longer has that SSRC.
    pub fn unclaim(&mut self, port: PortId, ssrc: u32, slot: u32) {
        if self.claimed(port, ssrc) == Some(slot) {
            self.claims.remove(&(port, ssrc));
        }
    }

    /// The stream in `slot` was closed, and packets of that SSRC came for it, the newest one `sequence`.
    pub fn bury(&mut self, now: Micros, port: PortId, ssrc: u32, sequence: u16, slot: u32) {
        if self.claimed(port, ssrc).is_some_and(|owner| owner != slot) {
            return;
        }
        if self.gone.len() >= MAX_GONE
            && let Some((_, port, ssrc)) = self.gone.pop_front()
        {
            self.forget(port, ssrc);
        }
        self.claims.insert((port, ssrc), Claim::Gone { sequence, last: now });
        self.gone.push_back((now + GONE_FOR, port, ssrc));
    }

    /// Forgets closed streams whose time is over, and gives memory back after a busy hour.
    pub fn handle_timeout(&mut self, now: Micros) {
        while let Some(&(until, port, ssrc)) = self.gone.front()
            && until <= now
        {
            self.gone.pop_front();
            match self.claims.get(&(port, ssrc)) {
                Some(&Claim::Gone { last, .. }) if last + GONE_FOR > now => {
                    self.gone.push_back((last + GONE_FOR, port, ssrc));
                }
                Some(Claim::Gone { .. }) => self.forget(port, ssrc),
                Some(Claim::Live(_)) | None => {}
            }
        }
        shrink(&mut self.routes);
        shrink(&mut self.claims);
        shrink(&mut self.learners);
        if self.gone.is_empty() {
            self.gone.shrink_to_fit();
        }
    }

    /// Nothing is remembered that a timeout would end.
    pub fn is_quiet(&self) -> bool {
        self.gone.is_empty()
    }

    fn forget(&mut self, port: PortId, ssrc: u32) {
        if let Some(Claim::Gone { .. }) = self.claims.get(&(port, ssrc)) {
            self.claims.remove(&(port, ssrc));
        }
    }
}

/// Shrinks a table that is mostly empty.
pub fn shrink<K: Eq + std::hash::Hash, V>(map: &mut FxHashMap<K, V>) {
    if map.capacity() > 1024 && map.len() * 8 < map.capacity() {
        map.shrink_to(map.len() * 2);
    }
}
