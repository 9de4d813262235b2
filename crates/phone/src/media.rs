//! The phone's RTP: a tone goes out every 20 ms, what comes in is counted and listened to; RTCP sender reports with
//! a report block every five seconds (RFC 3550 §6). SRTP where it was agreed on. Called by `calls`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringfort_media::rtp::{self, HEADER_LEN, Header};
use ringfort_media::srtp::{Context, MAX_TRAILER};

use crate::session::Agreed;
use crate::tone::{Detector, FRAME, Heard, Law, SAMPLE_RATE, Tone};

/// Packet time.
const PTIME: Duration = Duration::from_millis(20);
/// RTCP interval (RFC 3550 §6.2: five seconds at the least).
const RTCP_INTERVAL: Duration = Duration::from_secs(5);
/// From 1900 (NTP) to whatever instant the phone was made at: reports need differences only.
const NTP_BASE: u64 = 0xE000_0000_0000_0000;

/// A packet to send from one of the phone's ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpTransmit {
    /// The phone's own UDP port.
    pub port: u16,
    pub remote: SocketAddr,
    pub payload: Vec<u8>,
}

/// What one call's media did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MediaReport {
    pub sent: u64,
    pub received: u64,
    /// Missing by sequence number.
    pub lost: u64,
    /// Came out of order or twice.
    pub misordered: u64,
    /// Could not be read: wrong keys, no RTP, another payload type.
    pub refused: u64,
    /// The longest time between two packets.
    pub longest_gap: Duration,
    /// RTCP packets that came.
    pub rtcp: u64,
    pub heard: Heard,
}

/// Sends and receives for one call.
pub(crate) struct Media {
    port: u16,
    agreed: Agreed,
    tx: Option<Context>,
    rx: Option<Context>,
    tone: Tone,
    hertz: u16,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    first_packet: bool,
    started: Instant,
    next: Instant,
    next_rtcp: Instant,
    cname: String,
    detector: Detector,
    report: MediaReport,
    /// Extended highest sequence number, SSRC and arrival of what came last.
    last: Option<Last>,
    first_sequence: u64,
}

#[derive(Clone, Copy)]
struct Last {
    extended: u64,
    ssrc: u32,
    at: Instant,
}

impl Media {
    pub(crate) fn new(now: Instant, port: u16, hertz: u16, listen_for: &[u16], agreed: &Agreed, seed: [u8; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = seed;
        let mut media = Self {
            port,
            tx: None,
            rx: None,
            tone: Tone::new(agreed.law, hertz),
            hertz,
            ssrc: u32::from_be_bytes([a, b, c, d]),
            sequence: u16::from_be_bytes([e, f]) & 0x7FFF,
            timestamp: u32::from_be_bytes([c, d, e, f]),
            first_packet: true,
            started: now,
            next: now,
            next_rtcp: now + RTCP_INTERVAL / 2,
            cname: format!("{:016x}", u64::from_be_bytes([h, g, f, e, d, c, b, a])),
            detector: Detector::new(SAMPLE_RATE, listen_for.iter().copied()),
            report: MediaReport::default(),
            last: None,
            first_sequence: 0,
            agreed: agreed.clone(),
        };
        media.key();
        media
    }

    fn key(&mut self) {
        self.rx = self.agreed.keys.as_ref().map(|(theirs, _)| Context::new(theirs));
        self.tx = self.agreed.keys.as_ref().map(|(_, ours)| Context::new(ours));
    }

    /// Takes over what has newly been agreed on; keys that stay keep their state.
    pub(crate) fn change(&mut self, agreed: &Agreed) {
        if self.agreed.law != agreed.law {
            self.tone = Tone::new(agreed.law, self.hertz);
        }
        let rekeyed = self.agreed.keys != agreed.keys;
        self.agreed = agreed.clone();
        if rekeyed {
            self.key();
        }
    }

    /// When [`Self::poll`] has something; `None` where nothing may be sent now.
    pub(crate) fn next_packet(&self) -> Option<Instant> {
        self.agreed.remote?;
        match self.agreed.direction.send {
            true => Some(self.next.min(self.next_rtcp)),
            false => Some(self.next_rtcp),
        }
    }

    pub(crate) fn poll(&mut self, now: Instant) -> Option<RtpTransmit> {
        let remote = self.agreed.remote?;
        if self.next_rtcp <= now {
            self.next_rtcp = now + RTCP_INTERVAL;
            let remote = SocketAddr::new(remote.ip(), remote.port().saturating_add(1));
            let mut payload = self.sender_report(now);
            if let Some(context) = &mut self.tx {
                let len = payload.len();
                payload.resize(len + MAX_TRAILER, 0);
                let total = context.protect_rtcp(&mut payload, len).ok()?;
                payload.truncate(total);
            }
            return Some(RtpTransmit { port: self.port + 1, remote, payload });
        }
        if self.next > now || !self.agreed.direction.send {
            return None;
        }
        if now > self.next + PTIME * 10 {
            // Held until now, or the owner was late: the time in between has passed in silence.
            let frames = ((now - self.next).as_millis() / PTIME.as_millis()) as u32;
            self.timestamp = self.timestamp.wrapping_add(frames * FRAME as u32);
            self.next += PTIME * frames;
            self.first_packet = true;
        }
        self.next += PTIME;
        let mut payload = Vec::with_capacity(HEADER_LEN + FRAME + MAX_TRAILER);
        let header = Header {
            marker: std::mem::take(&mut self.first_packet),
            payload_type: self.agreed.law.payload_type(),
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            padding: false,
            extension: false,
            len: HEADER_LEN,
        };
        let mut fixed = [0; HEADER_LEN];
        header.write_fixed(&mut fixed);
        payload.extend_from_slice(&fixed);
        self.tone.write_frame(&mut payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(FRAME as u32);
        if let Some(context) = &mut self.tx {
            let len = payload.len();
            payload.resize(len + MAX_TRAILER, 0);
            let total = context.protect_rtp(&mut payload, len).ok()?;
            payload.truncate(total);
        }
        self.report.sent += 1;
        Some(RtpTransmit { port: self.port, remote, payload })
    }

    pub(crate) fn handle(&mut self, now: Instant, port: u16, packet: &mut [u8]) {
        if port & 1 == 1 || rtp::kind(packet) == rtp::Kind::Rtcp {
            self.report.rtcp += 1;
            return;
        }
        let Some(plain) = self.unprotect(packet) else {
            self.report.refused += 1;
            return;
        };
        let Ok(header) = Header::parse(plain) else {
            self.report.refused += 1;
            return;
        };
        let Some(law) = Law::from_payload_type(header.payload_type) else {
            self.report.refused += u64::from(header.payload_type != 101);
            return;
        };
        self.report.received += 1;
        self.count(now, &header);
        let payload = &plain[header.len..];
        self.detector.push_g711(law, payload);
    }

    fn unprotect<'a>(&mut self, packet: &'a mut [u8]) -> Option<&'a [u8]> {
        let Some(context) = &mut self.rx else { return Some(packet) };
        let len = context.unprotect_rtp(packet).ok()?;
        packet.get(..len)
    }

    fn count(&mut self, now: Instant, header: &Header) {
        let sequence = u64::from(header.sequence);
        match self.last {
            Some(last) if last.ssrc == header.ssrc => {
                let ahead = header.sequence.wrapping_sub(last.extended as u16);
                if ahead == 0 || ahead >= 0x8000 {
                    self.report.misordered += 1;
                    // It had been counted as lost when its successor came.
                    self.report.lost = self.report.lost.saturating_sub(u64::from(ahead != 0));
                    return;
                }
                self.report.lost += u64::from(ahead) - 1;
                self.report.longest_gap = self.report.longest_gap.max(now - last.at);
                self.last = Some(Last { extended: last.extended + u64::from(ahead), ssrc: last.ssrc, at: now });
            }
            _ => {
                self.first_sequence = sequence;
                self.last = Some(Last { extended: sequence, ssrc: header.ssrc, at: now });
            }
        }
    }

    /// SR with one report block, and SDES with CNAME (RFC 3550 §6.4.1, §6.5).
    fn sender_report(&self, now: Instant) -> Vec<u8> {
        let since = now.saturating_duration_since(self.started);
        let ntp = NTP_BASE + (since.as_secs() << 32) + (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        let blocks = u8::from(self.last.is_some());
        let mut out = Vec::with_capacity(96);
        out.extend([0x80 | blocks, 200]);
        out.extend((6 + 6 * u16::from(blocks)).to_be_bytes());
        out.extend(self.ssrc.to_be_bytes());
        out.extend(ntp.to_be_bytes());
        out.extend(self.timestamp.to_be_bytes());
        out.extend((self.report.sent as u32).to_be_bytes());
        out.extend((self.report.sent as u32).wrapping_mul(FRAME as u32).to_be_bytes());
        if let Some(last) = self.last {
            let expected = last.extended - self.first_sequence + 1;
            let lost = expected.saturating_sub(self.report.received).min(0x7F_FFFF) as u32;
            let fraction = (u64::from(lost) * 256 / expected.max(1)).min(255) as u32;
            out.extend(last.ssrc.to_be_bytes());
            out.extend((fraction << 24 | lost).to_be_bytes());
            out.extend((last.extended as u32).to_be_bytes());
            out.extend([0; 12]);
        }
        let cname = self.cname.as_bytes();
        let padded = (4 + 2 + cname.len() + 1).next_multiple_of(4);
        out.extend([0x81, 202]);
        out.extend(((padded / 4) as u16).to_be_bytes());
        let start = out.len();
        out.extend(self.ssrc.to_be_bytes());
        out.extend([1, cname.len() as u8]);
        out.extend(cname);
        out.resize(start + padded, 0);
        out
    }

    pub(crate) fn report(&self) -> MediaReport {
        MediaReport { heard: self.detector.heard(), ..self.report }
    }
}
