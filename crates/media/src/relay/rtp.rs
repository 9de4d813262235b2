//! The path of one RTP packet: whose it is, what it must be, where it goes, as what.

use std::net::SocketAddr;

use super::learn::{Seen, Standing, Step};
use super::source::{Fit, continues};
use super::stream::{Latch, Stream};
use super::tables::Owner;
use super::{Micros, PacketBuf, Relay, Verdict};
use crate::rtp::{self, HEADER_LEN, Header, Kind, RtpError};
use crate::srtp::SrtpError;
use crate::types::{DropReason, Event, PortId};

/// A packet that passed the checks on it alone.
struct Checked {
    header: Header,
    payload_end: usize,
    authenticated: bool,
    /// The extended sequence number, if the packet continues the source of the learned remote.
    index: Option<u64>,
}

impl Relay {
    #[inline]
    pub(super) fn handle_rtp(
        &mut self,
        now: Micros,
        port: PortId,
        source: SocketAddr,
        buf: &mut PacketBuf<'_>,
    ) -> Verdict {
        let slot = self.tables.route(port, false, source).or_else(|| self.tables.learner(port));
        let Some((slot, stream)) = slot.and_then(|slot| Some((slot, self.streams.get(slot)?))) else {
            return Verdict::Drop(DropReason::NoStream);
        };
        if stream.rtcp_mux && rtp::kind(buf.as_slice()) == Kind::Rtcp {
            return self.handle_muxed_rtcp(now, slot, source, buf);
        }
        match self.relay_rtp(now, slot, source, buf) {
            Ok(verdict) => verdict,
            Err(reason) => self.count_drop(slot, reason),
        }
    }

    #[inline]
    fn relay_rtp(
        &mut self,
        now: Micros,
        slot: u32,
        source: SocketAddr,
        buf: &mut PacketBuf<'_>,
    ) -> Result<Verdict, DropReason> {
        let limits = (self.config.audio_rate, self.config.video_rate);
        let stream = self.streams.get_mut(slot).ok_or(DropReason::NoStream)?;
        let checked = check(now, stream, source, limits, buf)?;
        let index = match checked.index {
            Some(index) => index,
            None => self.begin_source(now, slot, source, &checked)?,
        };
        self.forward(now, slot, index, checked, buf)
    }

    /// A packet of a remote that is not learned yet, or of a source that is new: rare, so not inlined.
    #[cold]
    fn begin_source(
        &mut self,
        now: Micros,
        slot: u32,
        source: SocketAddr,
        checked: &Checked,
    ) -> Result<u64, DropReason> {
        let Checked { header, authenticated, .. } = *checked;
        let stream = self.streams.get(slot).ok_or(DropReason::NoStream)?;
        let (port, learned) = (stream.port(), is_remote(stream, source));
        if header.ssrc == stream.sending.output.ssrc && !authenticated {
            // Our own packet come back (RFC 3550 §8.2).
            return Err(DropReason::Ssrc);
        }
        let standing = self.standing(slot, source);
        if !authenticated {
            self.check_owner(now, slot, port, &header, standing)?;
        }
        if !learned {
            let seen = Seen { now, source, ssrc: header.ssrc, sequence: header.sequence, authenticated, standing };
            let stream = self.streams.get_mut(slot).ok_or(DropReason::NoStream)?;
            match stream.learning.packet(seen) {
                Step::Learned => {}
                Step::Wait => return Err(DropReason::Learning),
                Step::Refused => return Err(DropReason::Source),
            }
            if !self.learned(now, slot, source) {
                return Err(DropReason::Source);
            }
        }
        self.restart_source(now, slot, &header, learned)
    }

    /// A plain packet whose SSRC and sequence number are those of another stream on the port is that one's, wherever
    /// it comes from: a NAT that forgot its binding must not hand one phone's voice to another.
    fn check_owner(
        &mut self,
        now: Micros,
        slot: u32,
        port: PortId,
        header: &Header,
        standing: Standing,
    ) -> Result<(), DropReason> {
        match self.tables.owner(now, port, header.ssrc, header.sequence) {
            Owner::Nobody => Ok(()),
            // The very address of the SDP: a phone that goes on with its numbers in its next call.
            Owner::Closed if standing == Standing::Exact => Ok(()),
            Owner::Closed => Err(DropReason::Ssrc),
            Owner::Stream(owner) if owner == slot => Ok(()),
            Owner::Stream(owner) => {
                let theirs = self
                    .streams
                    .get(owner)
                    .is_some_and(|stream| continues(stream.source.window.highest() as u16, header.sequence));
                if theirs { Err(DropReason::Ssrc) } else { Ok(()) }
            }
        }
    }

    fn restart_source(
        &mut self,
        now: Micros,
        slot: u32,
        header: &Header,
        learned_before: bool,
    ) -> Result<u64, DropReason> {
        let stream = self.streams.get_mut(slot).ok_or(DropReason::NoStream)?;
        if !learned_before {
            // Re-learned, and the source may have gone on meanwhile.
            match stream.source.fit(header.ssrc, header.sequence, true) {
                Fit::Next(index) => return Ok(index),
                Fit::Refused(reason) => return Err(reason),
                Fit::Restart => {}
            }
        }
        if !stream.source.may_restart(now) && learned_before {
            let jumps = stream.source.ssrc == header.ssrc;
            return Err(if jumps { DropReason::Sequence } else { DropReason::Ssrc });
        }
        if stream.source.is_known() && stream.source.ssrc != header.ssrc {
            self.tables.unclaim(stream.port(), stream.source.ssrc, slot);
        }
        stream.first_rtp.get_or_insert(now);
        self.generations += 1;
        let index = stream.source.restart(header.ssrc, header.sequence, self.generations);
        self.tables.claim(stream.port(), header.ssrc, slot);
        Ok(index)
    }

    /// Counts the packet, writes it anew and encrypts it.
    #[inline]
    fn forward(
        &mut self,
        now: Micros,
        slot: u32,
        index: u64,
        checked: Checked,
        buf: &mut PacketBuf<'_>,
    ) -> Result<Verdict, DropReason> {
        let Checked { header, payload_end, .. } = checked;
        let stream = self.streams.get_mut(slot).ok_or(DropReason::NoStream)?;
        let octets = payload_end - header.len;
        stream.source.window.accept(index);
        stream.source.loss.packet(index);
        stream.source.jitter.packet(now, header.timestamp, stream.clock_rate);
        stream.received_octets += octets as u64;
        stream.last_rtp = now;
        if stream.silent {
            stream.silent = false;
            self.events.push_back(Event::Resumed { id: stream.id });
        }
        if !stream.receives {
            return Err(DropReason::Direction);
        }
        let peer = stream.peer;
        if stream.recorded {
            let generation = stream.source.generation;
            self.record_packet(now, slot, generation, &header, &buf.as_slice()[header.len..payload_end]);
            if peer.is_none() {
                return Ok(Verdict::Consumed);
            }
        }
        let peer = peer.ok_or(DropReason::NoPartner)?;
        let (stream, peer) = self.streams.pair_mut(slot, peer).ok_or(DropReason::NoPartner)?;
        if !peer.sending.sends {
            return Err(DropReason::Direction);
        }
        if peer.sending.playing {
            return Ok(Verdict::Consumed);
        }
        let dest = peer.destination().ok_or(DropReason::NoPartner)?;
        let mark = stream.codec.is_audio();
        let out = peer.sending.output.map(stream.source.generation, &header, now, stream.clock_rate, mark);
        let out = out.ok_or(DropReason::Sequence)?;

        if stream.pass_extensions || peer.pass_extensions {
            // The CSRC list alone is left behind: its sources are nothing to the other side.
            let (csrcs, whole) = (rtp::csrc_len(buf.as_slice()), buf.as_slice().len());
            buf.narrow(csrcs..whole);
            if let Some(fixed) = buf.packet_mut().first_chunk_mut() {
                out.write_with(fixed, header.extension, header.padding);
            }
        } else {
            // The fixed header goes right before the payload: CSRC list, extension and padding are left behind (CALL-5).
            buf.narrow(header.len - HEADER_LEN..payload_end);
            if let Some(fixed) = buf.packet_mut().first_chunk_mut() {
                out.write_fixed(fixed);
            }
        }
        if let Some(tx) = &mut peer.sending.tx {
            let len = buf.as_slice().len();
            let len = tx.protect_rtp(buf.with_room(), len).map_err(|error| drop_reason(&error))?;
            buf.set_len(len);
        }
        peer.sending.output.sent(now, octets);
        Ok(Verdict::Forward { port: peer.port(), is_rtcp: false, dest })
    }
}

/// Whether packets of that address are the stream's without further proof.
#[inline]
fn is_remote(stream: &Stream, source: SocketAddr) -> bool {
    stream.latch == Latch::Learned || stream.sending.remote == Some(source)
}

/// Checks a packet on its own and against its stream: version, lengths, payload type, authentication, rate, sequence.
#[inline]
fn check(
    now: Micros,
    stream: &mut Stream,
    source: SocketAddr,
    (audio, video): (u32, u32),
    buf: &mut PacketBuf<'_>,
) -> Result<Checked, DropReason> {
    let header = Header::parse(buf.as_slice()).map_err(|error| match error {
        // Version 0 is where STUN and DTLS are (RFC 7983 §7).
        RtpError::Version(0) | RtpError::TooShort { .. } => DropReason::Malformed,
        RtpError::Header { .. } | RtpError::Padding { .. } => DropReason::Malformed,
        RtpError::Version(_) => DropReason::Version,
    })?;
    if !stream.payload_types.contains(header.payload_type) {
        if stream.rx.is_none() && !is_remote(stream, source) {
            stream.learning.pass_over(header.ssrc, header.sequence);
        }
        return Err(DropReason::PayloadType);
    }
    let authenticated = match &mut stream.rx {
        Some(rx) => {
            let len = rx.unprotect_rtp(buf.packet_mut()).map_err(|error| drop_reason(&error))?;
            buf.set_len(len);
            true
        }
        None => false,
    };
    let payload_end = header.payload_end(buf.as_slice()).map_err(|_| DropReason::Malformed)?;
    let limit = if stream.codec.is_audio() { audio } else { video };
    if !stream.rate.allow(now, limit) {
        return Err(DropReason::Rate);
    }
    let index = if is_remote(stream, source) {
        match stream.source.fit(header.ssrc, header.sequence, authenticated) {
            Fit::Next(index) => Some(index),
            Fit::Restart => None,
            Fit::Refused(reason) => return Err(reason),
        }
    } else {
        None
    };
    Ok(Checked { header, payload_end, authenticated, index })
}

/// What a failure of SRTP counts as.
pub(super) fn drop_reason(error: &SrtpError) -> DropReason {
    match error {
        SrtpError::Malformed(_) | SrtpError::NoRoom { .. } => DropReason::Malformed,
        SrtpError::Version(_) => DropReason::Version,
        SrtpError::Replay | SrtpError::KeyExhausted => DropReason::Replay,
        SrtpError::Authentication => DropReason::Authentication,
    }
}
