//! Packet index estimation (RFC 3711 §3.3.1, appendix A) and the replay list (RFC 3711 §3.3.2) of one SSRC.
//! Called by [`super::Context`] and, for plain RTP, by the packet path.

/// Packets behind the newest one that are still told from replays. RFC 3711 §3.3.2 asks for at least 64.
pub const WIDTH: u64 = 128;

/// Highest packet index of SRTP: 2^48 - 1 (RFC 3711 §9.2).
const MAX_INDEX: u64 = (1 << 48) - 1;

/// The newest index that was accepted, and which ones before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    highest: u64,
    /// Bit n: `highest - n` was accepted. Zero: nothing was yet.
    seen: u128,
}

impl Window {
    /// Nothing has been accepted yet.
    #[inline]
    pub fn is_new(&self) -> bool {
        self.seen == 0
    }

    /// The highest index accepted.
    #[inline]
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// The 48-bit index that `sequence` most probably has: roll-over counter ‖ sequence number. The counter starts
    /// at 0. `None`: it would lie before the first or after the last possible index.
    #[inline]
    pub fn estimate(&self, sequence: u16) -> Option<u64> {
        if self.is_new() {
            return Some(u64::from(sequence));
        }
        let roc = self.highest >> 16;
        let newest = self.highest as u16;
        let roc = if newest < 0x8000 {
            if i32::from(sequence) - i32::from(newest) > 0x8000 { roc.checked_sub(1)? } else { roc }
        } else if newest - 0x8000 > sequence {
            roc + 1
        } else {
            roc
        };
        let index = roc << 16 | u64::from(sequence);
        (index <= MAX_INDEX).then_some(index)
    }

    /// Whether a packet of that index may still be accepted: it is newer, or within the window and not seen.
    #[inline]
    pub fn is_fresh(&self, index: u64) -> bool {
        if index > self.highest || self.is_new() {
            return true;
        }
        let behind = self.highest - index;
        behind < WIDTH && self.seen >> behind & 1 == 0
    }

    /// Notes an index (after its authentication, where there is one).
    #[inline]
    pub fn accept(&mut self, index: u64) {
        if self.is_new() {
            *self = Window { highest: index, seen: 1 };
        } else if index > self.highest {
            let ahead = index - self.highest;
            self.seen = if ahead < WIDTH { self.seen << ahead | 1 } else { 1 };
            self.highest = index;
        } else if self.highest - index < WIDTH {
            self.seen |= 1 << (self.highest - index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64) -> Window {
        let mut w = Window::default();
        w.accept(index);
        w
    }

    #[test]
    fn roll_over_counter_is_guessed_by_rfc_3711_3_3_1() {
        assert_eq!(Window::default().estimate(65535), Some(65535));
        assert_eq!(at(0xffff).estimate(0), Some(0x1_0000));
        assert_eq!(at(0x1_0000).estimate(0xffff), Some(0xffff));
        assert_eq!(at(0x1_0005).estimate(0x0006), Some(0x1_0006));
        assert_eq!(at(0x2_fff0).estimate(0xffe0), Some(0x2_ffe0));
        assert_eq!(at(0x2_9000).estimate(0x0fff), Some(0x3_0fff));
        assert_eq!(at(0x2_9000).estimate(0x1000), Some(0x2_1000));
    }

    #[test]
    fn no_index_lies_before_the_first_or_after_the_last() {
        assert_eq!(at(5).estimate(0xffff), None);
        assert_eq!(at(MAX_INDEX).estimate(0), None);
    }

    #[test]
    fn a_packet_is_taken_once_within_128_and_never_behind_that_rfc_3711_3_3_2() {
        let mut w = at(1000);
        assert!(!w.is_fresh(1000));
        assert!(w.is_fresh(1000 - 127) && !w.is_fresh(1000 - 128));
        w.accept(1000 - 127);
        assert!(!w.is_fresh(1000 - 127));
        w.accept(1001);
        assert!(!w.is_fresh(1000) && !w.is_fresh(1001) && w.is_fresh(999));
        w.accept(5000);
        assert!(!w.is_fresh(1001) && w.is_fresh(4999) && w.is_fresh(5001));
    }

    #[test]
    fn index_0_is_taken_once_too() {
        let mut w = Window::default();
        assert!(w.is_fresh(0));
        w.accept(0);
        assert!(!w.is_fresh(0) && w.is_fresh(1));
    }
}
