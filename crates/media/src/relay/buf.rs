//! The buffer that a packet travels in: received, decrypted, rewritten and encrypted in place.

use std::ops::Range;

/// A packet within a larger buffer. The packet may come to start later (a shorter header) and to end later (a tag).
#[derive(Debug)]
pub struct PacketBuf<'a> {
    data: &'a mut [u8],
    start: usize,
    end: usize,
}

impl<'a> PacketBuf<'a> {
    /// A packet in the first `len` octets of `data`; what is behind them is room to grow.
    pub fn new(data: &'a mut [u8], len: usize) -> Self {
        let end = len.min(data.len());
        PacketBuf { data, start: 0, end }
    }

    /// The packet.
    pub fn as_slice(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// Where the packet lies in the buffer.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    #[inline]
    pub(super) fn packet_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.start..self.end]
    }

    /// The packet and the room behind it.
    #[inline]
    pub(super) fn with_room(&mut self) -> &mut [u8] {
        &mut self.data[self.start..]
    }

    /// The packet is now `range` of what it was.
    #[inline]
    pub(super) fn narrow(&mut self, range: Range<usize>) {
        let end = self.start + range.end;
        self.end = end.min(self.end);
        self.start = (self.start + range.start).min(self.end);
    }

    /// The packet has `len` octets from where it starts, as far as the buffer goes.
    #[inline]
    pub(super) fn set_len(&mut self, len: usize) {
        self.end = (self.start + len).min(self.data.len());
    }

    /// The packet starts at the beginning of the buffer again, with no octets: room for one of our own.
    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }
}
