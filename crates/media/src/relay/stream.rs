//! One stream's state, and where the streams are kept.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::ChaCha8Rng;
use rustc_hash::FxHashMap;

use super::Micros;
use super::learn::{Learning, Left};
use super::output::Output;
use super::source::{RateLimit, Source};
use crate::emodel;
use crate::quality::{RoundTrip, units_to_duration};
use crate::rtcp::ReportBlock;
use crate::srtp::Context;
use crate::types::{CodecHint, DirectionReport, DropReason, PortId, PtSet, StreamConfig, StreamId, StreamReport};

/// How far the stream's remote is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latch {
    /// Not configured yet.
    Idle,
    /// Another stream is learning on the port; the remote, if any, is the one from before.
    Waiting,
    Learning,
    Learned,
}

/// RTCP of a stream.
#[derive(Debug, Default)]
pub struct Rtcp {
    /// Where RTCP goes when it is not multiplexed, and whether something came from there.
    pub remote: Option<SocketAddr>,
    pub proven: bool,
    /// Where RTCP went before offer/answer moved the peer.
    pub left: Option<Left>,
    pub round_trip: RoundTrip,
    /// The peer's last sender report: middle of its NTP time, and when it came.
    pub sender_report: Option<(u32, Micros)>,
    /// What the peer last said of our packets, and how many we had sent by then.
    pub reported: Option<(ReportBlock, u64)>,
    /// When a partner's RTCP was last sent on to the peer.
    pub relayed: Micros,
    /// When our own next report is due.
    pub due: Micros,
    pub rate: RateLimit,
    /// Our CNAME towards this peer: 96 random bits in base 64 (RFC 7022 §4.2).
    pub cname: [u8; 16],
}

/// One side of one m-line. A packet of many streams in turn finds nothing in the cache, so what its path touches lies
/// together: first what the receiving side needs, then what the sending side needs, then the rest.
#[repr(C, align(64))]
pub struct Stream {
    pub payload_types: PtSet,
    pub rate: RateLimit,
    pub last_rtp: Micros,
    pub received_octets: u64,
    pub rx: Option<Box<Context>>,
    pub peer: Option<u32>,
    pub clock_rate: u32,
    pub latch: Latch,
    pub codec: CodecHint,
    pub receives: bool,
    pub rtcp_mux: bool,
    pub silent: bool,
    pub pass_extensions: bool,
    /// What the peer sends is recorded.
    pub recorded: bool,
    pub source: Source,

    pub sending: Sending,

    pub drops: [u32; DropReason::COUNT],
    pub id: StreamId,
    pub config: Option<Box<StreamConfig>>,
    /// The SDP's address, while it has a route before anything came from it.
    pub expected: Option<SocketAddr>,
    pub learning: Learning,
    pub first_rtp: Option<Micros>,
    pub last_rtcp: Micros,
    /// Since when something should come.
    pub listening: Micros,
    pub rtcp: Rtcp,
}

/// What a packet needs that goes to the stream's peer.
#[repr(C, align(64))]
pub struct Sending {
    pub output: Output,
    pub tx: Option<Box<Context>>,
    /// The learned remote.
    pub remote: Option<SocketAddr>,
    pub port: PortId,
    pub sends: bool,
    pub send_unproven: bool,
    /// A sound of ours is played to the peer: the partner is not heard meanwhile.
    pub playing: bool,
}

impl Stream {
    pub fn new(id: StreamId, port: PortId, now: Micros, rng: &mut ChaCha8Rng) -> Self {
        Stream {
            payload_types: PtSet::EMPTY,
            rate: RateLimit::default(),
            last_rtp: 0,
            received_octets: 0,
            rx: None,
            peer: None,
            clock_rate: 8000,
            latch: Latch::Idle,
            codec: CodecHint::default(),
            receives: false,
            rtcp_mux: false,
            silent: false,
            pass_extensions: false,
            recorded: false,
            source: Source::default(),
            sending: Sending {
                output: Output::new(rng),
                tx: None,
                remote: None,
                port,
                sends: false,
                send_unproven: false,
                playing: false,
            },
            drops: [0; DropReason::COUNT],
            id,
            config: None,
            expected: None,
            learning: Learning::default(),
            first_rtp: None,
            last_rtcp: 0,
            listening: now,
            rtcp: Rtcp { cname: random_cname(rng), ..Rtcp::default() },
        }
    }

    /// Where RTP goes: the learned remote, or the SDP's address where the peer is trusted.
    #[inline]
    pub fn destination(&self) -> Option<SocketAddr> {
        if self.sending.remote.is_some() || !self.sending.send_unproven {
            return self.sending.remote;
        }
        self.config.as_ref().and_then(|config| config.remote)
    }

    /// The port pair of the stream.
    #[inline]
    pub fn port(&self) -> PortId {
        self.sending.port
    }

    /// Where RTCP goes.
    pub fn rtcp_destination(&self) -> Option<SocketAddr> {
        if self.rtcp_mux {
            return self.destination();
        }
        if self.rtcp.remote.is_some() || !self.sending.send_unproven {
            return self.rtcp.remote;
        }
        self.config.as_ref().and_then(|config| config.remote_rtcp)
    }

    /// The stream has no partner's numbers of that source: its RTP is not sent on.
    pub fn maps(&self, source: &Source) -> bool {
        self.sending.output.maps(source.generation)
    }

    /// The figures so far.
    pub fn report(&self, epoch: Instant) -> StreamReport {
        let at = |micros| epoch + Duration::from_micros(micros);
        let mut drops = [0; DropReason::COUNT];
        drops.iter_mut().zip(self.drops).for_each(|(sum, count)| *sum = u64::from(count));
        StreamReport {
            remote: self.sending.remote,
            first_packet: self.first_rtp.map(at),
            last_packet: self.first_rtp.map(|_| at(self.last_rtp)),
            received: self.received(),
            sent: self.sent(),
            drops,
        }
    }

    fn received(&self) -> DirectionReport {
        let rtt = self.rtcp.round_trip.get();
        let highest = self.source.window.highest();
        let (packets, lost) = match self.source.is_known() {
            true => (self.source.loss.received(), self.source.loss.lost(highest)),
            false => (0, 0),
        };
        let jitter = self.source.jitter.duration(self.clock_rate);
        let mos = (packets > 0).then(|| share(lost, packets + lost));
        let mos = mos.and_then(|loss| emodel::stream_mos(self.codec, loss, jitter, rtt));
        DirectionReport { packets, bytes: self.received_octets, lost, jitter, rtt, mos }
    }

    fn sent(&self) -> DirectionReport {
        let rtt = self.rtcp.round_trip.get();
        let (packets, bytes) = (self.sending.output.packets, self.sending.output.octets);
        let Some((block, sent)) = self.rtcp.reported else {
            return DirectionReport { packets, bytes, rtt, ..DirectionReport::default() };
        };
        let lost = u64::from(block.cumulative_lost.max(0).unsigned_abs()).min(sent);
        let jitter = units_to_duration(block.jitter, self.clock_rate);
        let mos = (packets > 0).then(|| emodel::stream_mos(self.codec, share(lost, sent), jitter, rtt));
        DirectionReport { packets, bytes, lost, jitter, rtt, mos: mos.flatten() }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn random_cname(rng: &mut ChaCha8Rng) -> [u8; 16] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::array::from_fn(|_| DIGITS[(rng.next_u32() & 63) as usize])
}

/// The open streams, each in a slot that does not move.
#[derive(Default)]
pub struct Streams {
    slots: Vec<Option<Box<Stream>>>,
    free: Vec<u32>,
    ids: FxHashMap<StreamId, u32>,
}

impl Streams {
    pub fn slot(&self, id: StreamId) -> Option<u32> {
        self.ids.get(&id).copied()
    }

    #[inline]
    pub fn get(&self, slot: u32) -> Option<&Stream> {
        self.slots.get(slot as usize)?.as_deref()
    }

    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Stream> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// A stream and its partner.
    #[inline]
    pub fn pair_mut(&mut self, slot: u32, peer: u32) -> Option<(&mut Stream, &mut Stream)> {
        let [stream, peer] = self.slots.get_disjoint_mut([slot as usize, peer as usize]).ok()?;
        Some((stream.as_deref_mut()?, peer.as_deref_mut()?))
    }

    pub fn insert(&mut self, stream: Stream) -> u32 {
        let id = stream.id;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(Box::new(stream));
                slot
            }
            None => {
                self.slots.push(Some(Box::new(stream)));
                u32::try_from(self.slots.len() - 1).expect("ports and memory end before 2^32 streams")
            }
        };
        self.ids.insert(id, slot);
        slot
    }

    pub fn remove(&mut self, slot: u32) -> Option<Box<Stream>> {
        let stream = self.slots.get_mut(slot as usize)?.take()?;
        self.ids.remove(&stream.id);
        if self.ids.is_empty() {
            // After the last call of a busy hour everything is given back.
            *self = Streams::default();
        } else {
            self.free.push(slot);
        }
        Some(stream)
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}
