//! The packet path: commands, packets and time in, verdicts out. One [`Relay`] per media thread; no I/O, no lock, no
//! allocation per packet. It checks what comes from the network (CALL-5), learns remote addresses, decrypts, writes
//! each packet anew with our own SSRC and numbers, and encrypts. Called by the media threads of `net`.
//! `learn` is who may be heard, `source` what is plausible, `output` what goes out, `rtp` and `rtcp` the two paths, `play`
//! the sounds that we make, `record` what is kept of what we hear.

mod buf;
mod commands;
#[doc(hidden)]
pub mod fuzzing;
mod learn;
mod output;
mod play;
mod record;
mod rtcp;
mod rtp;
mod source;
mod stream;
mod tables;
mod timers;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use crate::types::{DropReason, Event, Piece, PortId, StreamId, StreamReport};

pub use buf::PacketBuf;
use play::Players;
use record::Recorders;
use stream::Streams;
use tables::Tables;
use timers::Wheel;

/// Octets of room that a [`PacketBuf`] should have behind its packet: encryption and a rewritten RTCP packet need it.
pub const TAIL_ROOM: usize = 32;

/// Limits and intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// After that long without a packet a stream is reported as silent; `None`: never.
    pub silence: Option<Duration>,
    /// RTP packets of one audio stream in a second.
    pub audio_rate: u32,
    /// RTP packets of one video stream in a second.
    pub video_rate: u32,
    /// RTCP packets of one stream in a second.
    pub rtcp_rate: u32,
}

impl Default for RelayConfig {
    fn default() -> Self {
        // 400: packets of 2.5 ms, the shortest frame of Opus (RFC 6716 §2.1.4).
        RelayConfig { silence: Some(Duration::from_secs(60)), audio_rate: 500, video_rate: 5_000, rtcp_rate: 100 }
    }
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send what the buffer now holds from that port (its RTCP half: `is_rtcp`) to `dest`.
    Forward { port: PortId, is_rtcp: bool, dest: SocketAddr },
    /// RTCP that was read and has nobody to go to, or voice in place of which a sound is played, or that is recorded alone.
    Consumed,
    /// It failed a check and was counted.
    Drop(DropReason),
}

/// A packet of our own, to be sent from that port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    pub port: PortId,
    pub is_rtcp: bool,
    pub dest: SocketAddr,
}

/// Counters of the whole relay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// RTP and RTCP packets handed in.
    pub received: u64,
    pub forwarded: u64,
    /// By reason, indexed by `DropReason as usize`; those that belong to no stream too.
    pub drops: [u64; DropReason::COUNT],
}

/// Microseconds since the relay was made.
type Micros = u64;

/// The streams of one media thread.
pub struct Relay {
    config: RelayConfig,
    epoch: Instant,
    /// NTP time at `epoch` (RFC 3550 §4).
    ntp_epoch: u64,
    rng: ChaCha8Rng,
    streams: Streams,
    tables: Tables,
    wheel: Wheel,
    players: Players,
    recorders: Recorders,
    /// Counts sources, so that an output knows whose numbers it maps.
    generations: u64,
    events: VecDeque<Event>,
    /// Streams whose own RTCP report is due.
    reports: VecDeque<u32>,
    stats: RelayStats,
}

impl Relay {
    /// `ntp` is the NTP timestamp (seconds since 1900 in the upper half) of `now`; it goes into our own sender reports.
    pub fn new(config: RelayConfig, seed: [u8; 32], now: Instant, ntp: u64) -> Self {
        Relay {
            config,
            epoch: now,
            ntp_epoch: ntp,
            rng: ChaCha8Rng::from_seed(seed),
            streams: Streams::default(),
            tables: Tables::default(),
            wheel: Wheel::default(),
            players: Players::default(),
            recorders: Recorders::default(),
            generations: 0,
            events: VecDeque::new(),
            reports: VecDeque::new(),
            stats: RelayStats::default(),
        }
    }

    /// A datagram that came on `port` (its RTCP half: `is_rtcp`) from `source`. On `Forward` the buffer holds what to
    /// send. Whatever arrives, it costs no allocation and no panic.
    #[inline]
    pub fn handle_packet(
        &mut self,
        now: Instant,
        port: PortId,
        is_rtcp: bool,
        source: SocketAddr,
        buf: &mut PacketBuf<'_>,
    ) -> Verdict {
        let now = self.micros(now);
        self.stats.received += 1;
        let verdict =
            if is_rtcp { self.handle_rtcp(now, port, source, buf) } else { self.handle_rtp(now, port, source, buf) };
        match verdict {
            Verdict::Forward { .. } => self.stats.forwarded += 1,
            Verdict::Drop(reason) => self.stats.drops[reason as usize] += 1,
            Verdict::Consumed => {}
        }
        verdict
    }

    /// The next event, until `None`.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next part of a recording, until `None`. Nothing is lost where they are left here for a while.
    pub fn poll_piece(&mut self) -> Option<Piece> {
        self.recorders.poll_piece()
    }

    /// When [`Relay::handle_timeout`] wants to be called next; `None` without streams.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let idle = self.streams.is_empty() && self.tables.is_quiet();
        let wheel = (!idle).then(|| self.epoch + Duration::from_secs(self.wheel.now() + 1))?;
        let due = [self.players.next_due(), self.recorders.next_due()].into_iter().flatten().min();
        Some(due.map_or(wheel, |due| wheel.min(self.epoch + Duration::from_micros(due))))
    }

    /// Writes the next packet of our own (RTCP reports where the partner sends none, frames of sounds) into `buf`, until
    /// `None`.
    pub fn poll_packet(&mut self, now: Instant, buf: &mut PacketBuf<'_>) -> Option<Outgoing> {
        let now = self.micros(now);
        while let Some(slot) = self.reports.pop_front() {
            if let Some(outgoing) = self.write_own_report(now, slot, buf) {
                return Some(outgoing);
            }
        }
        self.poll_frame(now, buf)
    }

    /// The figures of a live stream.
    pub fn report(&self, id: StreamId) -> Option<StreamReport> {
        let slot = self.streams.slot(id)?;
        self.streams.get(slot).map(|stream| stream.report(self.epoch))
    }

    /// Open streams.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether no stream is open.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Counters since the start.
    pub fn stats(&self) -> RelayStats {
        self.stats
    }

    #[inline]
    fn micros(&self, now: Instant) -> Micros {
        let elapsed = now.saturating_duration_since(self.epoch);
        elapsed.as_secs() * 1_000_000 + u64::from(elapsed.subsec_micros())
    }

    /// NTP time of a moment.
    fn ntp(&self, now: Micros) -> u64 {
        let fraction = ((now % 1_000_000) << 32) / 1_000_000;
        self.ntp_epoch.wrapping_add((now / 1_000_000) << 32).wrapping_add(fraction)
    }

    fn count_drop(&mut self, slot: u32, reason: DropReason) -> Verdict {
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.drops[reason as usize] = stream.drops[reason as usize].saturating_add(1);
        }
        Verdict::Drop(reason)
    }
}
