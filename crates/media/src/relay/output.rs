//! What goes to one peer: our own SSRC, sequence numbers and timestamps from a random start. A source's numbers are
//! shifted, so that its gaps stay; another source goes on where the last one was.

use rand::Rng;
use rand::rngs::ChaCha8Rng;

use super::Micros;
use crate::rtp::{Header, is_newer};

/// Numbers of the packets that we send to a peer.
#[derive(Debug)]
pub struct Output {
    /// Whose numbers are mapped: [`super::source::Source::generation`]; 0: nothing was sent yet.
    owner: u64,
    pub ssrc: u32,
    timestamp_offset: u32,
    sequence_offset: u16,
    /// The newest packet sent; before the first one, what it would follow.
    sequence: u16,
    pub timestamp: u32,
    /// Sequence numbers used since this source began; earlier ones are another's.
    span: u16,
    pub last_sent: Micros,
    pub packets: u64,
    pub octets: u64,
}

impl Output {
    /// Random start. The sequence number is below 2^15, so that a lost first packet cannot mislead the receiver's
    /// roll-over counter (RFC 3711 §3.3.1).
    pub fn new(rng: &mut ChaCha8Rng) -> Self {
        Output {
            owner: 0,
            ssrc: rng.next_u32(),
            timestamp_offset: 0,
            sequence_offset: 0,
            sequence: (rng.next_u32() as u16) & 0x7fff,
            timestamp: rng.next_u32(),
            span: 0,
            last_sent: 0,
            packets: 0,
            octets: 0,
        }
    }

    /// Whether what was sent last came from that source.
    pub fn maps(&self, owner: u64) -> bool {
        self.owner == owner && owner != 0
    }

    /// Sequence number and timestamp of the source, as seen here.
    pub fn shift_timestamp(&self, timestamp: u32) -> u32 {
        timestamp.wrapping_add(self.timestamp_offset)
    }

    /// The source's sequence number for one of ours, its cycles as far as they can be told.
    pub fn unshift_sequence(&self, ours: u32) -> u32 {
        ours.wrapping_sub(u32::from(self.sequence_offset))
    }

    /// Rewrites a header of source `owner`. `mark`: a change of source is marked as the begin of a talkspurt
    /// (RFC 3551 §4.1). `None`: the packet is from before the source's first one that was sent.
    #[inline]
    pub fn map(&mut self, owner: u64, header: &Header, now: Micros, clock_rate: u32, mark: bool) -> Option<Header> {
        let mut marker = header.marker;
        if self.owner != owner {
            let gap = now.saturating_sub(self.last_sent) * u64::from(clock_rate) / 1_000_000;
            let gap = if self.owner == 0 { 1 } else { gap.max(1) as u32 };
            self.sequence_offset = self.sequence.wrapping_add(1).wrapping_sub(header.sequence);
            self.timestamp_offset = self.timestamp.wrapping_add(gap).wrapping_sub(header.timestamp);
            self.owner = owner;
            self.span = 0;
            self.sequence = self.sequence.wrapping_add(1);
            self.timestamp = header.timestamp.wrapping_add(self.timestamp_offset);
            marker |= mark;
        }
        let sequence = header.sequence.wrapping_add(self.sequence_offset);
        let timestamp = header.timestamp.wrapping_add(self.timestamp_offset);
        if is_newer(sequence, self.sequence) {
            self.span = self.span.saturating_add(sequence.wrapping_sub(self.sequence));
            (self.sequence, self.timestamp) = (sequence, timestamp);
        } else if self.sequence.wrapping_sub(sequence) > self.span {
            return None;
        }
        Some(Header { marker, sequence, timestamp, ssrc: self.ssrc, ..*header })
    }

    /// A packet was sent.
    #[inline]
    pub fn sent(&mut self, now: Micros, octets: usize) {
        self.last_sent = now;
        self.packets += 1;
        self.octets += octets as u64;
    }
}
