//! What is left of a request other than INVITE once it has its final answer: the answer, which is repeated as often as
//! the request comes again, until timer J fires (the state Completed of RFC 3261 §17.2.2). Of ten thousand phones that
//! register at once each leaves one behind for half a minute, so it is small and holds nothing of the request.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::flow::{Flow, ListenerId, Target, Transport};

/// An answer that may have to be sent again.
pub(super) struct Answered {
    /// When timer J fires.
    until: Instant,
    key: Key,
    pub(super) merge_key: Option<u64>,
    transport: Transport,
    listener: ListenerId,
    local: SocketAddr,
    remote: SocketAddr,
    pub(super) answer: Box<[u8]>,
}

/// A key in halves: a `u128` would be padded to a multiple of its own size wherever it is kept.
type Key = [u64; 2];

fn halves(key: u128) -> Key {
    [(key >> 64) as u64, key as u64]
}

impl Answered {
    /// `to`: where the answer goes; over an unreliable transport, for over the others nothing has to be repeated.
    pub(super) fn new(until: Instant, key: u128, merge_key: Option<u64>, to: Flow, answer: &[u8]) -> Self {
        let Flow { transport, listener, conn: _, local, remote } = to;
        Answered { until, key: halves(key), merge_key, transport, listener, local, remote, answer: answer.into() }
    }

    pub(super) fn target(&self) -> Target {
        let Self { transport, listener, local, remote, .. } = *self;
        Target::Flow(Flow { transport, listener, conn: None, local, remote })
    }
}

/// The answers in the order in which they were given, which is that in which they end: J has one length for all.
#[derive(Default)]
pub(super) struct AnsweredQueue {
    queue: VecDeque<Answered>,
    /// How many have ended: the place of the queue's front.
    ended: u64,
    places: FxHashMap<Key, u64>,
}

impl AnsweredQueue {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn push(&mut self, answered: Answered) {
        self.places.insert(answered.key, self.ended + self.queue.len() as u64);
        self.queue.push_back(answered);
    }

    /// The answer to the request with that key.
    pub(super) fn get(&self, key: u128) -> Option<&Answered> {
        let place = *self.places.get(&halves(key))?;
        self.queue.get(usize::try_from(place.checked_sub(self.ended)?).ok()?)
    }

    /// When the next one ends.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.front().map(|answered| answered.until)
    }

    /// The next one whose time is over.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Answered> {
        self.pop_if(|answered| answered.until <= now)
    }

    /// The oldest, before its time.
    pub(super) fn pop_oldest(&mut self) -> Option<Answered> {
        self.pop_if(|_| true)
    }

    fn pop_if(&mut self, fits: impl FnOnce(&mut Answered) -> bool) -> Option<Answered> {
        let answered = self.queue.pop_front_if(fits)?;
        self.ended += 1;
        self.places.remove(&answered.key);
        if self.queue.is_empty() && self.queue.capacity() > 1024 {
            // Memory goes back after a burst.
            self.queue = VecDeque::new();
            self.places = FxHashMap::default();
        }
        Some(answered)
    }
}
