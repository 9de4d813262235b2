//! RTCP (RFC 3550 §6, feedback of RFC 4585 and 5104): compound packets read in place without allocation, and written
//! by [`Writer`] (in `write`). Called by the packet path.

mod write;

use thiserror::Error;

pub use write::Writer;

/// Packet types (RFC 3550 §12.1, RFC 4585 §6.1).
pub const SR: u8 = 200;
pub const RR: u8 = 201;
pub const SDES: u8 = 202;
pub const BYE: u8 = 203;
pub const APP: u8 = 204;
pub const RTPFB: u8 = 205;
pub const PSFB: u8 = 206;

/// Generic NACK, a transport layer message (RFC 4585 §6.2.1).
pub const FMT_NACK: u8 = 1;
/// Picture loss indication, a payload specific message (RFC 4585 §6.3.1).
pub const FMT_PLI: u8 = 1;
/// Full intra request, a payload specific message (RFC 5104 §4.3.1).
pub const FMT_FIR: u8 = 4;

/// The SDES item that every compound packet carries (RFC 3550 §6.5.1).
pub const SDES_CNAME: u8 = 1;

const HEADER_LEN: usize = 4;
const SENDER_INFO_LEN: usize = 20;
const BLOCK_LEN: usize = 24;

/// Why octets are no compound RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtcpError {
    #[error("expected at least {expected} octets, got {got}")]
    TooShort { expected: usize, got: usize },
    #[error("expected RTCP version 2, got {0}")]
    Version(u8),
    #[error("expected SR, RR or feedback first, got packet type {0}")]
    First(u8),
    #[error("packet of type {packet_type} needs {expected} octets, its length says {got}")]
    Length { packet_type: u8, expected: usize, got: usize },
    #[error("padding that is not at the end of the last packet, or of an impossible length")]
    Padding,
}

/// Sender information of an SR (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// NTP timestamp: seconds since 1900 and 2^-32 parts.
    pub ntp: u64,
    pub rtp_timestamp: u32,
    pub packets: u32,
    pub octets: u32,
}

/// The middle 32 bits of an NTP timestamp (RFC 3550 §4), in units of 2^-16 seconds.
pub fn ntp_middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// A report block (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source that is reported on.
    pub ssrc: u32,
    /// Lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Signed, 24 bits on the wire.
    pub cumulative_lost: i32,
    /// Cycles in the upper, sequence number in the lower half.
    pub highest_sequence: u32,
    /// In timestamp units.
    pub jitter: u32,
    /// Middle bits of the last SR's NTP timestamp; 0: none came.
    pub last_sr: u32,
    /// Delay since that SR, in 2^-16 seconds.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    fn read(b: &[u8; BLOCK_LEN]) -> Self {
        let word = |at: usize| u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        let lost = word(4);
        ReportBlock {
            ssrc: word(0),
            fraction_lost: (lost >> 24) as u8,
            cumulative_lost: ((lost << 8) as i32) >> 8,
            highest_sequence: word(8),
            jitter: word(12),
            last_sr: word(16),
            delay_since_last_sr: word(20),
        }
    }
}

/// The report blocks of an SR or RR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reports<'a>(&'a [[u8; BLOCK_LEN]]);

impl<'a> Reports<'a> {
    /// The blocks in their order.
    pub fn iter(self) -> impl Iterator<Item = ReportBlock> + 'a {
        self.0.iter().map(ReportBlock::read)
    }

    /// How many there are, at most 31.
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// A feedback message (RFC 4585 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback<'a> {
    /// FMT
    pub format: u8,
    pub sender: u32,
    pub media: u32,
    /// Feedback control information.
    pub fci: &'a [u8],
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    SenderReport {
        ssrc: u32,
        info: SenderInfo,
        reports: Reports<'a>,
    },
    ReceiverReport {
        ssrc: u32,
        reports: Reports<'a>,
    },
    SourceDescription(Chunks<'a>),
    /// The SSRCs that leave, four octets each; the reason is not read.
    Bye {
        sources: &'a [[u8; 4]],
    },
    App {
        ssrc: u32,
        name: [u8; 4],
    },
    TransportFeedback(Feedback<'a>),
    PayloadFeedback(Feedback<'a>),
    /// A type that is not known here (XR among them).
    Other {
        packet_type: u8,
    },
}

/// A checked compound packet; also one of reduced size that opens with feedback (RFC 5506 §3.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compound<'a>(&'a [u8]);

impl<'a> Compound<'a> {
    /// Checks every packet's version, length and counts (RFC 3550 §6.1, appendix A.2).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RtcpError> {
        let mut rest = bytes;
        let mut first = true;
        loop {
            let (packet, next) = split(rest)?;
            if first && !matches!(packet[1], SR | RR | RTPFB | PSFB) {
                return Err(RtcpError::First(packet[1]));
            }
            if packet[0] & 0x20 != 0 && !next.is_empty() {
                return Err(RtcpError::Padding);
            }
            read(packet)?;
            if next.is_empty() {
                return Ok(Compound(bytes));
            }
            first = false;
            rest = next;
        }
    }

    /// The packets in their order.
    pub fn packets(self) -> impl Iterator<Item = Packet<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (packet, next) = split(rest).ok()?;
            rest = next;
            read(packet).ok()
        })
    }
}

/// The first packet and what is behind it.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), RtcpError> {
    let &[first, _, high, low, ..] = bytes else {
        return Err(RtcpError::TooShort { expected: HEADER_LEN, got: bytes.len() });
    };
    if first >> 6 != 2 {
        return Err(RtcpError::Version(first >> 6));
    }
    let len = HEADER_LEN + 4 * usize::from(u16::from_be_bytes([high, low]));
    bytes.split_at_checked(len).ok_or(RtcpError::TooShort { expected: len, got: bytes.len() })
}

fn read(packet: &[u8]) -> Result<Packet<'_>, RtcpError> {
    let (count, packet_type) = (packet[0] & 0x1f, packet[1]);
    let body = body(packet)?;
    let need = |expected: usize| match body.len() >= expected {
        true => Ok(()),
        false => Err(RtcpError::Length { packet_type, expected, got: body.len() }),
    };
    let word = |at: usize| u32::from_be_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
    let blocks = |at: usize| -> Result<Reports<'_>, RtcpError> {
        let end = at + BLOCK_LEN * usize::from(count);
        need(end)?;
        Ok(Reports(body[at..end].as_chunks().0))
    };
    let feedback = || -> Result<Feedback<'_>, RtcpError> {
        need(8)?;
        Ok(Feedback { format: count, sender: word(0), media: word(4), fci: &body[8..] })
    };
    Ok(match packet_type {
        SR => {
            let reports = blocks(4 + SENDER_INFO_LEN)?;
            let ntp = u64::from(word(4)) << 32 | u64::from(word(8));
            let info = SenderInfo { ntp, rtp_timestamp: word(12), packets: word(16), octets: word(20) };
            Packet::SenderReport { ssrc: word(0), info, reports }
        }
        RR => {
            let reports = blocks(4)?;
            Packet::ReceiverReport { ssrc: word(0), reports }
        }
        SDES => Packet::SourceDescription(Chunks { rest: body, left: count, chunk: None }),
        BYE => {
            need(4 * usize::from(count))?;
            Packet::Bye { sources: body[..4 * usize::from(count)].as_chunks().0 }
        }
        APP => {
            need(8)?;
            Packet::App { ssrc: word(0), name: [body[4], body[5], body[6], body[7]] }
        }
        RTPFB => Packet::TransportFeedback(feedback()?),
        PSFB => Packet::PayloadFeedback(feedback()?),
        other => Packet::Other { packet_type: other },
    })
}

/// What is behind the header, without padding.
fn body(packet: &[u8]) -> Result<&[u8], RtcpError> {
    let body = &packet[HEADER_LEN..];
    if packet[0] & 0x20 == 0 {
        return Ok(body);
    }
    let padding = body.last().map_or(0, |&last| usize::from(last));
    if padding == 0 || !padding.is_multiple_of(4) || padding > body.len() {
        return Err(RtcpError::Padding);
    }
    Ok(&body[..body.len() - padding])
}

/// The items of an SDES packet as (SSRC, item type, text) (RFC 3550 §6.5); ends at the first one that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks<'a> {
    rest: &'a [u8],
    left: u8,
    /// The SSRC of the chunk being read, and how many of its octets were.
    chunk: Option<(u32, usize)>,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = (u32, u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((ssrc, read)) = self.chunk else {
                self.left = self.left.checked_sub(1)?;
                let (ssrc, rest) = self.rest.split_first_chunk()?;
                self.rest = rest;
                self.chunk = Some((u32::from_be_bytes(*ssrc), 0));
                continue;
            };
            let (&item, rest) = self.rest.split_first()?;
            if item == 0 {
                // RFC 3550 §6.5: the list of items ends with one or more zeros, up to the next 32-bit boundary.
                let skip = 4 - read % 4;
                self.rest = self.rest.get(skip..)?;
                self.chunk = None;
                continue;
            }
            let (&len, rest) = rest.split_first()?;
            let (text, rest) = rest.split_at_checked(usize::from(len))?;
            self.rest = rest;
            self.chunk = Some((ssrc, read + 2 + text.len()));
            return Some((ssrc, item, text));
        }
    }
}

#[cfg(test)]
mod tests;
