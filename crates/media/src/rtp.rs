//! RTP headers (RFC 3550 §5.1): checked reading, writing, and telling RTP from RTCP on one port (RFC 5761 §4).
//! Called by the packet path for each packet: no allocation, no panic whatever arrives.

use thiserror::Error;

/// Octets of the fixed header (RFC 3550 §5.1).
pub const HEADER_LEN: usize = 12;

/// Why octets are no RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtpError {
    #[error("expected at least {expected} octets, got {got}")]
    TooShort { expected: usize, got: usize },
    #[error("expected RTP version 2, got {0}")]
    Version(u8),
    #[error("CSRC list or header extension runs past the end: header of {expected} octets in {got}")]
    Header { expected: usize, got: usize },
    #[error("padding of {padding} octets in a payload of {payload}")]
    Padding { padding: usize, payload: usize },
}

/// The fixed header fields, and how long the whole header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub marker: bool,
    /// 0–127
    pub payload_type: u8,
    pub sequence: u16,
    /// In units of the codec's RTP clock.
    pub timestamp: u32,
    pub ssrc: u32,
    /// The P bit: the last octet of the (decrypted) payload counts the padding.
    pub padding: bool,
    /// The X bit.
    pub extension: bool,
    /// Octets before the payload: fixed header, CSRC list, header extension.
    pub len: usize,
}

impl Header {
    /// Reads a header and checks that CSRC list and extension lie within the packet (RFC 3550 §5.1, §5.3.1).
    /// Padding is not looked at, since it is encrypted where SRTP is used.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Header, RtpError> {
        let Some(fixed) = packet.first_chunk::<HEADER_LEN>() else {
            return Err(RtpError::TooShort { expected: HEADER_LEN, got: packet.len() });
        };
        let version = fixed[0] >> 6;
        if version != 2 {
            return Err(RtpError::Version(version));
        }
        let extension = fixed[0] & 0x10 != 0;
        let mut len = HEADER_LEN + 4 * usize::from(fixed[0] & 0x0f);
        if extension {
            let Some(words) = packet.get(len + 2..len + 4) else {
                return Err(RtpError::Header { expected: len + 4, got: packet.len() });
            };
            len += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
        }
        if len > packet.len() {
            return Err(RtpError::Header { expected: len, got: packet.len() });
        }
        Ok(Header {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            padding: fixed[0] & 0x20 != 0,
            extension,
            len,
        })
    }

    /// Where the payload ends in a decrypted packet: before the padding, if there is any (RFC 3550 §5.1).
    #[inline]
    pub fn payload_end(&self, packet: &[u8]) -> Result<usize, RtpError> {
        if !self.padding {
            return Ok(packet.len());
        }
        let payload = packet.len() - self.len.min(packet.len());
        let padding = packet.last().map_or(0, |&last| usize::from(last));
        if padding == 0 || padding > payload {
            return Err(RtpError::Padding { padding, payload });
        }
        Ok(packet.len() - padding)
    }

    /// Writes the fixed header before what follows it: a header extension and padding, where they are said to.
    #[inline]
    pub fn write_with(&self, out: &mut [u8; HEADER_LEN], extension: bool, padding: bool) {
        self.write_fixed(out);
        out[0] |= u8::from(padding) << 5 | u8::from(extension) << 4;
    }

    /// Writes the fixed header alone: no CSRC list, no extension, no padding, whatever `self` says of them.
    #[inline]
    pub fn write_fixed(&self, out: &mut [u8; HEADER_LEN]) {
        out[0] = 0x80;
        out[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        out[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
    }
}

/// What a datagram on a media port is by its first two octets (RFC 5761 §4, RFC 7983 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rtp,
    Rtcp,
    /// STUN, DTLS, TURN channel data, noise.
    Other,
}

/// Tells RTP from RTCP: RTCP packet types 192–223 are where RTP has marker and payload types 64–95, which must not
/// be used together with multiplexing (RFC 5761 §4).
#[inline]
pub fn kind(packet: &[u8]) -> Kind {
    match packet {
        [0x80..=0xbf, 192..=223, ..] => Kind::Rtcp,
        [0x80..=0xbf, _, ..] => Kind::Rtp,
        _ => Kind::Other,
    }
}

/// Octets of the CSRC list of a packet whose header was read.
#[inline]
pub fn csrc_len(packet: &[u8]) -> usize {
    packet.first().map_or(0, |first| 4 * usize::from(first & 0x0f))
}

/// `a` comes after `b` on the circle of sequence numbers.
#[inline]
pub fn is_newer(a: u16, b: u16) -> bool {
    a != b && a.wrapping_sub(b) < 0x8000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut p = vec![first, 0x80 | 8, 0x12, 0x34, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef];
        p.extend_from_slice(rest);
        p
    }

    #[test]
    fn fixed_header_is_read_and_written_back_by_rfc_3550_5_1() {
        let p = packet(0x80, &[1, 2, 3]);
        let h = Header::parse(&p).unwrap();
        assert_eq!((h.marker, h.payload_type, h.sequence, h.timestamp, h.ssrc), (true, 8, 0x1234, 160, 0xdeadbeef));
        assert_eq!((h.len, h.payload_end(&p).unwrap()), (12, 15));
        let mut out = [0; 12];
        h.write_fixed(&mut out);
        assert_eq!(out, p[..12]);
    }

    #[test]
    fn csrc_list_and_extension_lie_before_the_payload_rfc_3550_5_3_1() {
        let mut rest = vec![0; 8];
        rest.extend_from_slice(&[0xbe, 0xde, 0, 1, 9, 9, 9, 9, 0x55]);
        let p = packet(0x92, &rest);
        let h = Header::parse(&p).unwrap();
        assert_eq!(h.len, 12 + 8 + 4 + 4);
        assert_eq!(&p[h.len..], [0x55]);
    }

    #[test]
    fn extension_or_csrc_list_past_the_end_is_refused() {
        assert!(matches!(Header::parse(&packet(0x8f, &[0; 20])), Err(RtpError::Header { expected: 72, got: 32 })));
        assert!(matches!(Header::parse(&packet(0x90, &[0, 0])), Err(RtpError::Header { .. })));
        assert!(matches!(Header::parse(&packet(0x90, &[0, 0, 0xff, 0xff])), Err(RtpError::Header { .. })));
    }

    #[test]
    fn padding_is_cut_and_impossible_padding_is_refused_rfc_3550_5_1() {
        let p = packet(0xa0, &[7, 7, 0, 0, 3]);
        assert_eq!(Header::parse(&p).unwrap().payload_end(&p).unwrap(), 14);
        for bad in [&[7u8, 7, 0][..], &[1, 9], &[]] {
            let p = packet(0xa0, bad);
            assert!(matches!(Header::parse(&p).unwrap().payload_end(&p), Err(RtpError::Padding { .. })), "{bad:?}");
        }
    }

    #[test]
    fn other_versions_and_short_packets_are_refused() {
        assert_eq!(Header::parse(&packet(0x40, &[])), Err(RtpError::Version(1)));
        assert_eq!(Header::parse(&[0x80; 11]), Err(RtpError::TooShort { expected: 12, got: 11 }));
    }

    #[test]
    fn rtcp_types_192_to_223_are_told_from_rtp_rfc_5761_4() {
        assert_eq!(kind(&[0x80, 200]), Kind::Rtcp);
        assert_eq!(kind(&[0x81, 223]), Kind::Rtcp);
        assert_eq!(kind(&[0x80, 0x80 | 96]), Kind::Rtp);
        assert_eq!(kind(&[0x80, 8]), Kind::Rtp);
        assert_eq!(kind(&[0x00, 0x01]), Kind::Other);
        assert_eq!(kind(&[0x16, 0xfe]), Kind::Other);
        assert_eq!(kind(&[]), Kind::Other);
    }

    #[test]
    fn sequence_numbers_are_compared_on_a_circle() {
        assert!(is_newer(0, 65535) && is_newer(5, 4) && !is_newer(4, 4) && !is_newer(65535, 0));
    }
}
