//! One queue for all timers of an endpoint (RFC 3261 table 4, RFC 3262, RFC 4028). Nearly all of them last one of a
//! dozen fixed times, so each such time has a lane in order of arrival: arming and popping cost no search. Odd times
//! go to a tree. Timers in lanes are not cancelled; the owner knows which instant it waits for and ignores others.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::endpoint::{ClientTx, DialogId, ServerTx};

/// What a wake-up is for. A to M are those of RFC 3261 §17 with the corrections of RFC 6026 §7 and §8; J, which nearly every
/// request has, is a queue of its own (`TimerTable::j`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// INVITE request retransmission, unreliable transports (RFC 3261 §17.1.1.2).
    A,
    /// INVITE client transaction time-out.
    B,
    /// An INVITE that was answered provisionally and whose final answer does not come: after CANCEL (RFC 3261 §9.1) and
    /// within a dialog. How long a new call may ring (§16.6 item 11) is for the user to say.
    C,
    /// Wait for repeated final answers to an INVITE, client side.
    D,
    /// Non-INVITE request retransmission, unreliable transports (RFC 3261 §17.1.2.2).
    E,
    /// Non-INVITE client transaction time-out.
    F,
    /// Repetition of our final answer to an INVITE (RFC 3261 §17.2.1).
    G,
    /// Wait for the ACK to it.
    H,
    /// Wait for repeated ACKs.
    I,
    /// Wait for repeated answers to a non-INVITE request.
    K,
    /// Wait for repeated INVITEs accepted by us; also the wait of the core for the ACK (RFC 6026 §7.1, RFC 3261 §13.3.1.4).
    L,
    /// Wait for repeated or forked 2xx answers to our INVITE (RFC 6026 §7.2).
    M,
    /// Repetition of our 2xx by the core until the ACK comes (RFC 3261 §13.3.1.4).
    Accepted,
    /// Repetition of a reliable provisional answer (RFC 3262 §3).
    Reliable,
    /// No PRACK came for it.
    ReliableTimeout,
    /// Repetition of the latest provisional answer so that proxies keep waiting (RFC 3261 §13.3.1.1).
    Ringing,
    /// A non-INVITE request that the user never answered; an answer would be too late (RFC 4320 §4.2).
    Unanswered,
    /// An answered request is kept so that it can be sent again with credentials or other limits.
    Retained,
    /// RFC 4028 §10: we refresh the session.
    SessionRefresh,
    /// RFC 4028 §10: the session was not refreshed.
    SessionExpiry,
}

/// Whose timer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    Client(ClientTx),
    Server(ServerTx),
    Dialog(DialogId),
}

/// The length of every timer. The default is RFC 3261's table 4 with T1 = 500 ms, T2 = 4 s, T4 = 5 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerTable {
    pub t1: Duration,
    pub t2: Duration,
    pub t4: Duration,
    pub b: Duration,
    /// For INVITEs within a dialog; more than three minutes as RFC 3261 §16.6 wants it of proxies.
    pub c: Duration,
    pub d: Duration,
    pub f: Duration,
    pub h: Duration,
    pub j: Duration,
    pub l: Duration,
    pub m: Duration,
    /// How often a provisional answer is repeated while it rings.
    pub ringing: Duration,
}

impl TimerTable {
    /// All timers from the three base values.
    pub fn from_base(t1: Duration, t2: Duration, t4: Duration) -> Self {
        let long = t1 * 64;
        TimerTable {
            t1,
            t2,
            t4,
            b: long,
            c: long.max(Duration::from_secs(181)),
            d: long.max(Duration::from_secs(32)),
            f: long,
            h: long,
            j: long,
            l: long,
            m: long,
            ringing: Duration::from_secs(60),
        }
    }

    fn lanes(&self) -> Vec<Duration> {
        let mut lanes = vec![
            self.t2,
            self.t4,
            self.b,
            self.c,
            self.d,
            self.f,
            self.h,
            self.j,
            self.l,
            self.m,
            self.ringing,
            self.t1 * 64,
        ];
        let mut step = self.t1;
        for _ in 0..7 {
            lanes.push(step);
            step *= 2;
        }
        lanes.sort();
        lanes.dedup();
        lanes
    }
}

impl Default for TimerTable {
    fn default() -> Self {
        TimerTable::from_base(Duration::from_millis(500), Duration::from_secs(4), Duration::from_secs(5))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Instant,
    owner: Owner,
    timer: Timer,
}

#[derive(Debug)]
struct Lane {
    length: Duration,
    entries: VecDeque<Entry>,
}

/// The queue. Owners keep the instant that [`TimerQueue::arm`] gave them and compare it when woken.
#[derive(Debug)]
pub struct TimerQueue {
    lanes: Vec<Lane>,
    odd: BTreeSet<Entry>,
}

impl TimerQueue {
    pub fn new(table: &TimerTable) -> Self {
        let lanes = table.lanes().into_iter().map(|length| Lane { length, entries: VecDeque::new() }).collect();
        TimerQueue { lanes, odd: BTreeSet::new() }
    }

    /// Wakes `owner` for `timer` when `after` has passed; gives the instant.
    pub fn arm(&mut self, now: Instant, after: Duration, owner: Owner, timer: Timer) -> Instant {
        let at = now + after;
        let entry = Entry { at, owner, timer };
        match self.lanes.iter_mut().find(|lane| lane.length == after) {
            // A lane stays sorted as long as `now` never goes back; if it does, the tree takes the entry.
            Some(lane) if lane.entries.back().is_none_or(|last| last.at <= at) => lane.entries.push_back(entry),
            _ => {
                self.odd.insert(entry);
            }
        }
        at
    }

    /// Takes back a timer of an odd length (session timers); one in a lane passes by unheeded.
    pub fn disarm(&mut self, at: Instant, owner: Owner, timer: Timer) {
        self.odd.remove(&Entry { at, owner, timer });
    }

    /// The next wake-up; it may turn out to be for nobody.
    pub fn next(&self) -> Option<Instant> {
        let lanes = self.lanes.iter().filter_map(|lane| lane.entries.front()).map(|entry| entry.at).min();
        let odd = self.odd.first().map(|entry| entry.at);
        match (lanes, odd) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The next entry that is due at `now`, earliest first.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, Owner, Timer)> {
        let lane = self
            .lanes
            .iter_mut()
            .filter(|lane| lane.entries.front().is_some_and(|entry| entry.at <= now))
            .min_by_key(|lane| lane.entries.front().map(|entry| entry.at));
        let odd = self.odd.first().copied().filter(|entry| entry.at <= now);
        let entry = match (lane, odd) {
            (Some(lane), Some(odd)) if lane.entries.front().is_some_and(|front| front.at > odd.at) => {
                self.odd.pop_first();
                odd
            }
            (Some(lane), _) => {
                let entry = lane.entries.pop_front().expect("the filter saw a front");
                if lane.entries.is_empty() && lane.entries.capacity() > 1024 {
                    lane.entries = VecDeque::new();
                }
                entry
            }
            (None, Some(odd)) => {
                self.odd.pop_first();
                odd
            }
            (None, None) => return None,
        };
        Some((entry.at, entry.owner, entry.timer))
    }

    /// Entries held, heeded or not.
    pub fn len(&self) -> usize {
        self.odd.len() + self.lanes.iter().map(|lane| lane.entries.len()).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn timers_come_in_order_of_their_instant_whatever_their_length() {
        let table = TimerTable::default();
        let mut queue = TimerQueue::new(&table);
        let t0 = start();
        let owner = |n| Owner::Client(ClientTx(n));
        queue.arm(t0, table.b, owner(1), Timer::B);
        queue.arm(t0, Duration::from_millis(777), owner(2), Timer::SessionRefresh);
        queue.arm(t0, table.t1, owner(3), Timer::A);
        queue.arm(t0 + Duration::from_millis(100), table.t1, owner(4), Timer::A);
        assert_eq!(queue.next(), Some(t0 + table.t1));
        assert!(queue.pop_due(t0).is_none());
        let mut seen = Vec::new();
        while let Some((_, Owner::Client(tx), _)) = queue.pop_due(t0 + table.b) {
            seen.push(tx.0);
        }
        assert_eq!(seen, [3, 4, 2, 1]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_timer_of_odd_length_can_be_taken_back() {
        let mut queue = TimerQueue::new(&TimerTable::default());
        let owner = Owner::Dialog(DialogId(7));
        let at = queue.arm(start(), Duration::from_secs(1234), owner, Timer::SessionExpiry);
        queue.disarm(at, owner, Timer::SessionExpiry);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_clock_that_steps_back_does_not_disturb_the_order() {
        let table = TimerTable::default();
        let mut queue = TimerQueue::new(&table);
        let t0 = start() + Duration::from_secs(10);
        queue.arm(t0, table.t1, Owner::Client(ClientTx(1)), Timer::A);
        queue.arm(t0 - Duration::from_secs(1), table.t1, Owner::Client(ClientTx(2)), Timer::A);
        let first = queue.pop_due(t0 + table.t1).map(|(_, owner, _)| owner);
        assert_eq!(first, Some(Owner::Client(ClientTx(2))));
    }
}
