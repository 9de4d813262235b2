//! What comes from one peer: the plausibility of its SSRC and sequence numbers (RFC 3550 §6.2.1, appendix A.1), and
//! its figures.

use super::Micros;
use crate::quality::{Jitter, Loss};
use crate::rtp::is_newer;
use crate::srtp::window::{WIDTH, Window};
use crate::types::DropReason;

/// RFC 3550 §A.1: packets that may be missing in a row before the sequence counts as restarted.
const MAX_DROPOUT: u16 = 3000;
/// RFC 3550 §A.1: how far back a late packet may lie.
const MAX_MISORDER: u16 = 100;
/// How far apart the first two packets of a new SSRC may be. RFC 3550 §A.1 wants them in sequence; one may be lost.
const MAX_PROBATION_STEP: u16 = 8;
/// Changes of SSRC or restarts that a stream may have at once, and after how long it may have one more. Transfers and
/// re-INVITEs change it now and then; two senders on one stream would do so with every packet.
const RESTARTS: u8 = 4;
const RESTART_REFILL: Micros = 2_000_000;

/// Whether `sequence` may come next in a stream whose newest is `newest` (RFC 3550 §A.1).
#[inline]
pub fn continues(newest: u16, sequence: u16) -> bool {
    let ahead = sequence.wrapping_sub(newest);
    let behind = newest.wrapping_sub(sequence);
    ahead < MAX_DROPOUT || behind <= MAX_MISORDER
}

/// How a packet fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It belongs to the source; its extended sequence number.
    Next(u64),
    /// It would begin a new source or a new sequence of the same one.
    Restart,
    Refused(DropReason),
}

/// The current source of a stream.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Source {
    pub window: Window,
    /// Which source of the relay this is; 0: none yet.
    pub generation: u64,
    pub ssrc: u32,
    pub jitter: Jitter,
    pub loss: Loss,
    /// The sequence number that would prove a jump or a new SSRC: RFC 3550 §A.1 `bad_seq` and probation.
    probation: Option<(u32, u16)>,
    restarts: u8,
    refilled: Micros,
}

impl Source {
    /// Whether a packet has been taken.
    pub fn is_known(&self) -> bool {
        self.generation != 0
    }

    /// Checks a packet of the learned remote. `authenticated`: SRTP vouches for its SSRC and sequence number.
    #[inline]
    pub fn fit(&mut self, ssrc: u32, sequence: u16, authenticated: bool) -> Fit {
        if ssrc != self.ssrc || !self.is_known() {
            return self.probe(ssrc, sequence, authenticated, DropReason::Ssrc);
        }
        let newest = self.window.highest() as u16;
        // What SRTP vouches for may come as late as its own replay list allows, and is no new beginning.
        let late = authenticated && !is_newer(sequence, newest);
        if !late && !continues(newest, sequence) {
            return self.probe(ssrc, sequence, authenticated, DropReason::Sequence);
        }
        let Some(index) = self.index(sequence) else {
            return Fit::Refused(DropReason::Sequence);
        };
        if !self.window.is_fresh(index) {
            return Fit::Refused(DropReason::Replay);
        }
        Fit::Next(index)
    }

    /// The extended sequence number of a packet that `continues`. `None`: from before the first one.
    fn index(&self, sequence: u16) -> Option<u64> {
        const { assert!(MAX_MISORDER as u64 <= WIDTH, "the window tells duplicates among what is taken") };
        self.window.estimate(sequence)
    }

    /// Probation (RFC 3550 §A.1): the second of two packets in a row is taken, the first is dropped for `reason`.
    fn probe(&mut self, ssrc: u32, sequence: u16, authenticated: bool, reason: DropReason) -> Fit {
        if authenticated {
            return Fit::Restart;
        }
        if let Some((probed, newest)) = self.probation
            && probed == ssrc
            && (1..=MAX_PROBATION_STEP).contains(&sequence.wrapping_sub(newest))
        {
            return Fit::Restart;
        }
        self.probation = Some((ssrc, sequence));
        Fit::Refused(reason)
    }

    /// Whether the source may change now; takes one of its changes.
    pub fn may_restart(&mut self, now: Micros) -> bool {
        if !self.is_known() {
            (self.restarts, self.refilled) = (RESTARTS, now);
            return true;
        }
        let refill = now.saturating_sub(self.refilled) / RESTART_REFILL;
        if refill > 0 {
            self.restarts = self.restarts.saturating_add(refill.min(u64::from(RESTARTS)) as u8).min(RESTARTS);
            self.refilled += refill * RESTART_REFILL;
        }
        match self.restarts.checked_sub(1) {
            Some(left) => {
                self.restarts = left;
                true
            }
            None => false,
        }
    }

    /// A new source, or a new sequence of the same one, begins with that packet. Returns the packet's index.
    pub fn restart(&mut self, ssrc: u32, sequence: u16, generation: u64) -> u64 {
        // One cycle up, so that packets reordered before the first one have an index (RFC 3711's counter is another).
        let first = 1 << 16 | u64::from(sequence);
        let last = self.is_known().then(|| self.window.highest());
        self.loss.restart(last, first);
        self.jitter.restart();
        self.window = Window::default();
        self.window.accept(first);
        (self.ssrc, self.generation, self.probation) = (ssrc, generation, None);
        first
    }

    /// Extended highest sequence number as a report block has it: cycles since the source began.
    pub fn highest_sequence(&self) -> u32 {
        (self.window.highest() as u32).wrapping_sub(1 << 16)
    }
}

/// At most so many packets in a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateLimit {
    second: u32,
    count: u32,
}

impl RateLimit {
    #[inline]
    pub fn allow(&mut self, now: Micros, limit: u32) -> bool {
        let second = (now / 1_000_000) as u32;
        if second != self.second {
            *self = RateLimit { second, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= limit
    }
}
