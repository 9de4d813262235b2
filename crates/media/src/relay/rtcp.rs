//! The path of one RTCP packet: read for our own figures, then written anew for the partner with our SSRCs and CNAME
//! (RFC 3550 §6, §7.2 as for a translator that hides its sides). Where a partner sends none, we report ourselves.

use std::net::SocketAddr;

use super::rtp::drop_reason;
use super::stream::{Latch, Stream};
use super::{Micros, Outgoing, PacketBuf, Relay, Verdict};
use crate::rtcp::{
    Compound, FMT_FIR, FMT_NACK, FMT_PLI, Feedback, PSFB, Packet, RTPFB, ReportBlock, Reports, RtcpError, SenderInfo,
    Writer, ntp_middle,
};
use crate::types::{DropReason, Event, PortId};

/// The longest compound packet that we write.
const MAX_LEN: usize = 1200;
/// Without a partner's RTCP for that long we report ourselves.
const PARTNER_QUIET: Micros = 12_000_000;
/// RFC 3550 §6.2: the mean interval between reports; each is drawn between half and one and a half of it.
pub(super) const REPORT_INTERVAL: Micros = 5_000_000;

/// What a compound packet has for the partner, in the order in which it goes out.
#[derive(Default)]
struct Contents<'a> {
    sender: Option<SenderInfo>,
    block: Option<ReportBlock>,
    bye: bool,
    /// RFC 4585 §3.1 has one feedback message as a rule; of more the first ones go on.
    feedback: [Option<(u8, Feedback<'a>)>; 4],
}

impl Relay {
    /// RTCP on its own port.
    pub(super) fn handle_rtcp(
        &mut self,
        now: Micros,
        port: PortId,
        source: SocketAddr,
        buf: &mut PacketBuf<'_>,
    ) -> Verdict {
        let Some(slot) = self.tables.route(port, true, source).or_else(|| self.rtcp_owner(port, source, buf)) else {
            return Verdict::Drop(DropReason::NoStream);
        };
        self.relay_rtcp(now, slot, source, false, buf)
    }

    /// RTCP among the RTP (RFC 5761). It proves no address: only the learned remote's is taken.
    pub(super) fn handle_muxed_rtcp(
        &mut self,
        now: Micros,
        slot: u32,
        source: SocketAddr,
        buf: &mut PacketBuf<'_>,
    ) -> Verdict {
        let known = |stream: &Stream| stream.latch == Latch::Learned || stream.sending.remote == Some(source);
        if !self.streams.get(slot).is_some_and(known) {
            return self.count_drop(slot, DropReason::Learning);
        }
        self.relay_rtcp(now, slot, source, true, buf)
    }

    /// RTCP from a port that nobody named: it is the stream's whose RTP has that SSRC and comes from that host.
    fn rtcp_owner(&self, port: PortId, source: SocketAddr, buf: &PacketBuf<'_>) -> Option<u32> {
        let ssrc = buf.as_slice().get(4..8)?.first_chunk()?;
        let slot = self.tables.claimed(port, u32::from_be_bytes(*ssrc))?;
        let remote = self.streams.get(slot)?.sending.remote?;
        (remote.ip().to_canonical() == source.ip().to_canonical()).then_some(slot)
    }

    fn relay_rtcp(
        &mut self,
        now: Micros,
        slot: u32,
        source: SocketAddr,
        muxed: bool,
        buf: &mut PacketBuf<'_>,
    ) -> Verdict {
        match self.read_and_rewrite(now, slot, source, muxed, buf) {
            Ok(verdict) => verdict,
            Err(reason) => self.count_drop(slot, reason),
        }
    }

    fn read_and_rewrite(
        &mut self,
        now: Micros,
        slot: u32,
        source: SocketAddr,
        muxed: bool,
        buf: &mut PacketBuf<'_>,
    ) -> Result<Verdict, DropReason> {
        let limit = self.config.rtcp_rate;
        let stream = self.streams.get_mut(slot).ok_or(DropReason::NoStream)?;
        if let Some(rx) = &mut stream.rx {
            let len = rx.unprotect_rtcp(buf.packet_mut()).map_err(|error| drop_reason(&error))?;
            buf.set_len(len);
        }
        if !stream.rtcp.rate.allow(now, limit) {
            return Err(DropReason::Rate);
        }
        let compound = Compound::parse(buf.as_slice()).map_err(|error| match error {
            RtcpError::Version(_) => DropReason::Version,
            RtcpError::TooShort { .. } | RtcpError::First(_) | RtcpError::Length { .. } | RtcpError::Padding => {
                DropReason::Malformed
            }
        })?;
        self.note_rtcp(now, slot, source, muxed);
        let stream = self.streams.get_mut(slot).ok_or(DropReason::NoStream)?;
        let contents = read(now, stream, compound);
        let peer = stream.peer;
        let Some((stream, peer)) = peer.and_then(|peer| self.streams.pair_mut(slot, peer)) else {
            return Ok(Verdict::Consumed);
        };
        let Some(dest) = peer.rtcp_destination() else {
            return Ok(Verdict::Consumed);
        };
        let mut out = [0; MAX_LEN];
        let len = write(now, stream, peer, &contents, &mut out);
        send(now, peer, &out[..len], buf)?;
        peer.rtcp.relayed = now;
        Ok(Verdict::Forward { port: peer.port(), is_rtcp: !peer.rtcp_mux, dest })
    }

    /// The peer lives; and where its RTCP comes from is where ours goes, once.
    fn note_rtcp(&mut self, now: Micros, slot: u32, source: SocketAddr, muxed: bool) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        stream.last_rtcp = now;
        if stream.silent {
            stream.silent = false;
            self.events.push_back(Event::Resumed { id: stream.id });
        }
        if muxed || stream.rtcp.proven {
            return;
        }
        if stream.rtcp.remote == Some(source) {
            stream.rtcp.proven = true;
            return;
        }
        if stream.rtcp.left.is_some_and(|left| left.is_late(now, source)) {
            return;
        }
        stream.rtcp.proven = true;
        let port = stream.port();
        if self.tables.add_route(port, true, source, slot)
            && let Some(old) = stream.rtcp.remote.replace(source)
            && super::commands::canonical(old) != super::commands::canonical(source)
        {
            self.tables.remove_route(port, true, old, slot);
        }
    }

    /// Writes our own report to a stream's peer: SR if we send, with a block on what it sends, and our CNAME.
    pub(super) fn write_own_report(&mut self, now: Micros, slot: u32, buf: &mut PacketBuf<'_>) -> Option<Outgoing> {
        let ntp = self.ntp(now);
        let stream = self.streams.get_mut(slot)?;
        let dest = own_report_due(now, stream).then(|| stream.rtcp_destination())??;
        let ssrc = stream.sending.output.ssrc;
        let block = own_block(now, stream);
        let blocks = block.as_slice();
        let mut out = [0; 256];
        let mut writer = Writer::new(&mut out);
        let idle = now.saturating_sub(stream.sending.output.last_sent);
        if stream.sending.output.packets > 0 && idle < 2 * REPORT_INTERVAL {
            let passed = idle * u64::from(stream.clock_rate) / 1_000_000;
            let info = SenderInfo {
                ntp,
                rtp_timestamp: stream.sending.output.timestamp.wrapping_add(passed as u32),
                packets: stream.sending.output.packets as u32,
                octets: stream.sending.output.octets as u32,
            };
            writer.sender_report(ssrc, &info, blocks);
            stream.rtcp.round_trip.sent(ntp_middle(ntp), now, false);
        } else {
            writer.receiver_report(ssrc, blocks);
        }
        writer.cname(ssrc, &stream.rtcp.cname);
        let len = writer.len();
        buf.clear();
        send(now, stream, &out[..len], buf).ok()?;
        Some(Outgoing { port: stream.port(), is_rtcp: !stream.rtcp_mux, dest })
    }
}

/// Whether a learned stream's peer gets no reports from a partner.
pub(super) fn own_report_due(now: Micros, stream: &Stream) -> bool {
    stream.sending.remote.is_some() && now.saturating_sub(stream.rtcp.relayed) >= PARTNER_QUIET
}

/// Takes our figures from a compound packet and collects what the partner gets.
fn read<'a>(now: Micros, stream: &mut Stream, compound: Compound<'a>) -> Contents<'a> {
    let mut contents = Contents::default();
    let mut count = 0;
    for packet in compound.packets() {
        match packet {
            Packet::SenderReport { ssrc, info, reports } => {
                if ssrc == stream.source.ssrc {
                    stream.rtcp.sender_report = Some((ntp_middle(info.ntp), now));
                    contents.sender = Some(info);
                }
                contents.block = read_block(now, stream, reports).or(contents.block);
            }
            Packet::ReceiverReport { reports, .. } => {
                contents.block = read_block(now, stream, reports).or(contents.block);
            }
            Packet::Bye { sources } => {
                contents.bye |= sources.iter().any(|ssrc| u32::from_be_bytes(*ssrc) == stream.source.ssrc);
            }
            Packet::TransportFeedback(feedback) if feedback.format == FMT_NACK => {
                keep(&mut contents.feedback, &mut count, RTPFB, feedback);
            }
            Packet::PayloadFeedback(feedback) if matches!(feedback.format, FMT_PLI | FMT_FIR) => {
                keep(&mut contents.feedback, &mut count, PSFB, feedback);
            }
            // Names and addresses of the other side (SDES, APP, XR) end here; so does feedback that names other SSRCs
            // or extensions that we take out.
            Packet::TransportFeedback(_) | Packet::PayloadFeedback(_) => {}
            Packet::SourceDescription(_) | Packet::App { .. } | Packet::Other { .. } => {}
        }
    }
    contents
}

fn keep<'a>(kept: &mut [Option<(u8, Feedback<'a>)>; 4], count: &mut usize, packet_type: u8, feedback: Feedback<'a>) {
    if let Some(place) = kept.get_mut(*count) {
        *place = Some((packet_type, feedback));
        *count += 1;
    }
}

/// The block on what we send to the peer. Its times go on only if they answer the partner's own sender report.
fn read_block(now: Micros, stream: &mut Stream, reports: Reports<'_>) -> Option<ReportBlock> {
    let mut block = reports.iter().find(|block| block.ssrc == stream.sending.output.ssrc)?;
    stream.rtcp.reported = Some((block, stream.sending.output.packets));
    if !stream.rtcp.round_trip.reported(block.last_sr, block.delay_since_last_sr, now) {
        (block.last_sr, block.delay_since_last_sr) = (0, 0);
    }
    Some(block)
}

/// Our block on what the peer sends (RFC 3550 §6.4.1, §A.3).
fn own_block(now: Micros, stream: &mut Stream) -> Option<ReportBlock> {
    let source = &mut stream.source;
    if !source.is_known() || now.saturating_sub(stream.last_rtp) > 2 * REPORT_INTERVAL {
        return None;
    }
    let highest = source.window.highest();
    let (last_sr, delay_since_last_sr) = match stream.rtcp.sender_report {
        Some((middle, at)) => (middle, ((now.saturating_sub(at) << 16) / 1_000_000) as u32),
        None => (0, 0),
    };
    Some(ReportBlock {
        ssrc: source.ssrc,
        fraction_lost: source.loss.take_fraction(highest),
        cumulative_lost: i32::try_from(source.loss.lost(highest)).unwrap_or(i32::MAX),
        highest_sequence: source.highest_sequence(),
        jitter: source.jitter.units(),
        last_sr,
        delay_since_last_sr,
    })
}

/// Writes for `peer` what `stream`'s peer said: SR or RR first, then our CNAME, feedback and goodbye.
fn write(now: Micros, stream: &Stream, peer: &mut Stream, contents: &Contents<'_>, out: &mut [u8]) -> usize {
    let ssrc = peer.sending.output.ssrc;
    // Whether each side's packets are what the other one gets; otherwise its numbers mean nothing there.
    let forth = peer.maps(&stream.source);
    let back = stream.maps(&peer.source);
    let block = contents.block.filter(|_| back).map(|block| ReportBlock {
        ssrc: peer.source.ssrc,
        highest_sequence: stream.sending.output.unshift_sequence(block.highest_sequence),
        ..block
    });
    let mut writer = Writer::new(out);
    match contents.sender.filter(|_| forth) {
        Some(info) => {
            let info = SenderInfo {
                rtp_timestamp: peer.sending.output.shift_timestamp(info.rtp_timestamp),
                packets: peer.sending.output.packets as u32,
                octets: peer.sending.output.octets as u32,
                ..info
            };
            writer.sender_report(ssrc, &info, block.as_slice());
            peer.rtcp.round_trip.sent(ntp_middle(info.ntp), now, true);
        }
        None => {
            writer.receiver_report(ssrc, block.as_slice());
        }
    }
    writer.cname(ssrc, &peer.rtcp.cname);
    for (packet_type, feedback) in contents.feedback.iter().flatten().filter(|_| back) {
        write_feedback(&mut writer, stream, peer, *packet_type, feedback);
    }
    if contents.bye {
        writer.bye(ssrc);
    }
    writer.len()
}

/// Feedback on what we send to `stream`'s peer becomes feedback on what `peer` sends us.
fn write_feedback(writer: &mut Writer<'_>, stream: &Stream, peer: &Stream, packet_type: u8, feedback: &Feedback<'_>) {
    let (ours, theirs) = (stream.sending.output.ssrc, peer.source.ssrc);
    let sender = peer.sending.output.ssrc;
    match (packet_type, feedback.format) {
        // RFC 4585 §6.2.1: PID and BLP; only the PID is a sequence number.
        (RTPFB, FMT_NACK) if feedback.media == ours => {
            let entries = feedback.fci.as_chunks::<4>().0;
            if let Some(out) = writer.feedback(RTPFB, FMT_NACK, sender, theirs, 4 * entries.len()) {
                for (out, [high, low, mask @ ..]) in out.as_chunks_mut::<4>().0.iter_mut().zip(entries) {
                    let lost =
                        stream.sending.output.unshift_sequence(u32::from(u16::from_be_bytes([*high, *low]))) as u16;
                    let [high, low] = lost.to_be_bytes();
                    *out = [high, low, mask[0], mask[1]];
                }
            }
        }
        (PSFB, FMT_PLI) if feedback.media == ours => {
            writer.feedback(PSFB, FMT_PLI, sender, theirs, 0);
        }
        // RFC 5104 §4.3.1.1: the media SSRC is 0, the entries name whom they mean.
        (PSFB, FMT_FIR) => {
            let entry = feedback.fci.as_chunks::<8>().0.iter().find(|entry| entry[..4] == ours.to_be_bytes());
            if let Some(entry) = entry
                && let Some(out) = writer.feedback(PSFB, FMT_FIR, sender, 0, 8)
            {
                out[..4].copy_from_slice(&theirs.to_be_bytes());
                out[4] = entry[4];
            }
        }
        _ => {}
    }
}

/// Puts a compound packet into the buffer, encrypted if the peer wants that.
fn send(now: Micros, peer: &mut Stream, packet: &[u8], buf: &mut PacketBuf<'_>) -> Result<(), DropReason> {
    buf.with_room().get_mut(..packet.len()).ok_or(DropReason::Malformed)?.copy_from_slice(packet);
    let mut len = packet.len();
    if let Some(tx) = &mut peer.sending.tx {
        len = tx.protect_rtcp(buf.with_room(), len).map_err(|error| drop_reason(&error))?;
    }
    buf.set_len(len);
    peer.rtcp.due = now + REPORT_INTERVAL;
    Ok(())
}
