//! Writing compound RTCP into a buffer of fixed size (RFC 3550 §6). A packet that does not fit is left out whole.

use super::{BLOCK_LEN, BYE, HEADER_LEN, RR, ReportBlock, SDES, SDES_CNAME, SENDER_INFO_LEN, SR, SenderInfo};

/// Most report blocks in a packet: the count has five bits.
const MAX_BLOCKS: usize = 31;

/// Appends RTCP packets to a buffer.
pub struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Writes from the start of `buf`.
    pub fn new(buf: &'a mut [u8]) -> Self {
        Writer { buf, len: 0 }
    }

    /// Octets written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A sender report (RFC 3550 §6.4.1). `false`: no room, nothing written; so with the others.
    pub fn sender_report(&mut self, ssrc: u32, info: &SenderInfo, blocks: &[ReportBlock]) -> bool {
        let blocks = &blocks[..blocks.len().min(MAX_BLOCKS)];
        let Some(body) = self.packet(SR, blocks.len() as u8, 4 + SENDER_INFO_LEN + blocks.len() * BLOCK_LEN) else {
            return false;
        };
        body[..4].copy_from_slice(&ssrc.to_be_bytes());
        body[4..12].copy_from_slice(&info.ntp.to_be_bytes());
        body[12..16].copy_from_slice(&info.rtp_timestamp.to_be_bytes());
        body[16..20].copy_from_slice(&info.packets.to_be_bytes());
        body[20..24].copy_from_slice(&info.octets.to_be_bytes());
        write_blocks(&mut body[24..], blocks);
        true
    }

    /// A receiver report (RFC 3550 §6.4.2).
    pub fn receiver_report(&mut self, ssrc: u32, blocks: &[ReportBlock]) -> bool {
        let blocks = &blocks[..blocks.len().min(MAX_BLOCKS)];
        let Some(body) = self.packet(RR, blocks.len() as u8, 4 + blocks.len() * BLOCK_LEN) else {
            return false;
        };
        body[..4].copy_from_slice(&ssrc.to_be_bytes());
        write_blocks(&mut body[4..], blocks);
        true
    }

    /// A source description with the CNAME alone (RFC 3550 §6.5.1), which is cut at 255 octets.
    pub fn cname(&mut self, ssrc: u32, cname: &[u8]) -> bool {
        let cname = &cname[..cname.len().min(255)];
        // At least one zero octet ends the chunk, which is filled up to 32 bits.
        let items = (2 + cname.len() + 1).next_multiple_of(4);
        let Some(body) = self.packet(SDES, 1, 4 + items) else {
            return false;
        };
        body[..4].copy_from_slice(&ssrc.to_be_bytes());
        body[4] = SDES_CNAME;
        body[5] = cname.len() as u8;
        body[6..6 + cname.len()].copy_from_slice(cname);
        true
    }

    /// A goodbye for one source, without a reason (RFC 3550 §6.6).
    pub fn bye(&mut self, ssrc: u32) -> bool {
        let Some(body) = self.packet(BYE, 1, 4) else {
            return false;
        };
        body.copy_from_slice(&ssrc.to_be_bytes());
        true
    }

    /// A feedback message (RFC 4585 §6.1) whose control information has `fci_len` octets, a multiple of four; they are
    /// zero and returned for filling.
    pub fn feedback(
        &mut self,
        packet_type: u8,
        format: u8,
        sender: u32,
        media: u32,
        fci_len: usize,
    ) -> Option<&mut [u8]> {
        let body = self.packet(packet_type, format, 8 + fci_len.next_multiple_of(4))?;
        body[..4].copy_from_slice(&sender.to_be_bytes());
        body[4..8].copy_from_slice(&media.to_be_bytes());
        Some(&mut body[8..])
    }

    /// Writes a header and returns the zeroed body.
    fn packet(&mut self, packet_type: u8, count: u8, body_len: usize) -> Option<&mut [u8]> {
        let end = self.len + HEADER_LEN + body_len;
        let packet = self.buf.get_mut(self.len..end)?;
        self.len = end;
        packet[0] = 0x80 | count & 0x1f;
        packet[1] = packet_type;
        packet[2..4].copy_from_slice(&((body_len / 4) as u16).to_be_bytes());
        let body = &mut packet[HEADER_LEN..];
        body.fill(0);
        Some(body)
    }
}

fn write_blocks(out: &mut [u8], blocks: &[ReportBlock]) {
    for (out, block) in out.as_chunks_mut::<BLOCK_LEN>().0.iter_mut().zip(blocks) {
        let lost = u32::from(block.fraction_lost) << 24
            | (block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32) & 0xff_ffff;
        let words = [block.ssrc, lost, block.highest_sequence, block.jitter, block.last_sr, block.delay_since_last_sr];
        for (out, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *out = word.to_be_bytes();
        }
    }
}
