//! Nonces that need no memory until they are used: issue time and random bytes under a MAC. Of a used nonce the counts
//! seen are kept in a sliding window (RFC 7616 §5.5), in a table of bounded size. Beside the MAC stands a mark of the address
//! that a nonce was given to: whoever brings it back from there has received it.

use std::collections::VecDeque;
use std::hash::Hasher;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use rand::Rng;
use rand::rngs::ChaCha12Rng;
use rustc_hash::FxHashMap;
use sha2::Sha256;
use siphasher::sip::SipHasher13;
use subtle::ConstantTimeEq;

use super::hash::{Hex, unhex};

/// Milliseconds since the table was first used, 6 bytes.
const TIME: usize = 6;
const RANDOM: usize = 8;
const MAC: usize = 12;
/// Of the address that it was given to.
const MARK: usize = 4;
const NONCE: usize = TIME + RANDOM + MAC + MARK;

/// The counts of one nonce.
#[derive(Clone, Copy, Debug)]
struct Window {
    highest: u32,
    /// Bit n: `highest - n` has been seen.
    seen: u64,
}

impl Window {
    /// Whether `count` is new, and from now on it is not.
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let step = count - self.highest;
            self.seen = if step < 64 { (self.seen << step) | 1 } else { 1 };
            self.highest = count;
            return true;
        }
        let bit = self.highest - count;
        if bit >= 64 || self.seen & (1 << bit) != 0 {
            return false;
        }
        self.seen |= 1 << bit;
        true
    }
}

/// A nonce that was read back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nonce {
    issued: u64,
    id: u64,
    /// Made by us and neither too old nor forgotten.
    pub(super) fresh: bool,
    mark: [u8; MARK],
}

/// Makes nonces and remembers the counts of those in use.
pub(super) struct Nonces {
    mac: Hmac<Sha256>,
    /// Key of the marks.
    marking: [u8; 16],
    lifetime: Duration,
    epoch: Option<Instant>,
    windows: FxHashMap<u64, Window>,
    /// In order of first use: issue time and id.
    used: VecDeque<(u64, u64)>,
    limit: usize,
    /// Nonces issued up to here that are not in the table have been forgotten and are not taken any more.
    horizon: Option<u64>,
}

impl Nonces {
    pub(super) fn new(key: [u8; 32], marking: [u8; 16], lifetime: Duration, limit: usize) -> Self {
        Nonces {
            marking,
            mac: Hmac::new_from_slice(&key).expect("HMAC takes a key of any length"),
            lifetime,
            epoch: None,
            windows: FxHashMap::default(),
            used: VecDeque::new(),
            limit: limit.max(1),
            horizon: None,
        }
    }

    fn clock(&mut self, now: Instant) -> u64 {
        let epoch = *self.epoch.get_or_insert(now);
        now.saturating_duration_since(epoch).as_millis() as u64
    }

    fn tag(&self, head: &[u8]) -> [u8; MAC] {
        let full = self.mac.clone().chain_update(head).finalize().into_bytes();
        let mut tag = [0; MAC];
        tag.copy_from_slice(&full[..MAC]);
        tag
    }

    fn mark(&self, issued: u64, id: u64, to: IpAddr) -> [u8; MARK] {
        let mut hasher = SipHasher13::new_with_key(&self.marking);
        hasher.write_u64(issued);
        hasher.write_u64(id);
        match to.to_canonical() {
            IpAddr::V4(v4) => hasher.write_u32(v4.to_bits()),
            // A phone's address within its network changes with its privacy extensions (RFC 8981).
            IpAddr::V6(v6) => hasher.write_u64((v6.to_bits() >> 64) as u64),
        }
        (hasher.finish() as u32).to_be_bytes()
    }

    /// Whether a nonce of ours that is neither too old nor forgotten was given to that address.
    pub(super) fn was_given_to(&self, nonce: Nonce, address: IpAddr) -> bool {
        nonce.fresh && bool::from(self.mark(nonce.issued, nonce.id, address).ct_eq(&nonce.mark))
    }

    pub(super) fn issue(&mut self, now: Instant, to: IpAddr, rng: &mut ChaCha12Rng) -> Hex {
        let mut nonce = [0; NONCE];
        let (issued, id) = (self.clock(now), rng.next_u64());
        nonce[..TIME].copy_from_slice(&issued.to_be_bytes()[8 - TIME..]);
        nonce[TIME..TIME + RANDOM].copy_from_slice(&id.to_be_bytes());
        let tag = self.tag(&nonce[..TIME + RANDOM]);
        nonce[TIME + RANDOM..TIME + RANDOM + MAC].copy_from_slice(&tag);
        nonce[TIME + RANDOM + MAC..].copy_from_slice(&self.mark(issued, id, to));
        Hex::new(&nonce)
    }

    pub(super) fn read(&mut self, now: Instant, text: &[u8]) -> Nonce {
        let now = self.clock(now);
        let Some(raw) = unhex::<NONCE>(text) else {
            return Nonce { issued: 0, id: 0, fresh: false, mark: [0; MARK] };
        };
        let (head, rest) = raw.split_at(TIME + RANDOM);
        let (tag, mark) = rest.split_at(MAC);
        let mut issued = [0; 8];
        issued[8 - TIME..].copy_from_slice(&head[..TIME]);
        let mut id = [0; 8];
        id.copy_from_slice(&head[TIME..]);
        let (issued, id) = (u64::from_be_bytes(issued), u64::from_be_bytes(id));
        let ours = bool::from(self.tag(head).ct_eq(tag));
        let alive = issued <= now && now - issued <= self.lifetime.as_millis() as u64;
        let known = self.windows.contains_key(&id) || self.horizon.is_none_or(|horizon| issued > horizon);
        let mark = mark.try_into().expect("it is what is left of a nonce");
        Nonce { issued, id, fresh: ours && alive && known, mark }
    }

    /// Whether this count of this fresh nonce is used for the first time. Call it only for a right answer, so that
    /// strangers cannot fill the table.
    pub(super) fn take(&mut self, now: Instant, nonce: Nonce, count: u32) -> bool {
        let now = self.clock(now);
        if let Some(window) = self.windows.get_mut(&nonce.id) {
            return window.take(count);
        }
        while let Some(&(issued, id)) = self.used.front() {
            let expired = now.saturating_sub(issued) > self.lifetime.as_millis() as u64;
            if !expired && self.used.len() < self.limit {
                break;
            }
            self.used.pop_front();
            self.windows.remove(&id);
            self.horizon = self.horizon.max(Some(issued));
        }
        self.used.push_back((nonce.issued, nonce.id));
        self.windows.insert(nonce.id, Window { highest: count, seen: 1 });
        true
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(1);
    }

    pub(super) fn in_use(&self) -> usize {
        self.windows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_takes_every_count_once_and_none_that_fell_out() {
        let mut window = Window { highest: 1, seen: 1 };
        assert!(!window.take(1));
        assert!(window.take(3) && window.take(2) && !window.take(3) && !window.take(2));
        assert!(window.take(70) && !window.take(6) && window.take(7) && !window.take(7));
        assert!(window.take(u32::MAX) && !window.take(70) && !window.take(u32::MAX));
        assert!(window.take(u32::MAX - 63) && !window.take(u32::MAX - 64));
    }
}
