//! What call control says to the packet path.

use std::net::SocketAddr;
use std::time::Instant;

use super::learn::{Learning, Left, Standing, standing};
use super::stream::{Latch, Stream};
use super::{Micros, Relay};
use crate::srtp::Context;
use crate::types::{Command, Event, RecordEnd, SrtpKeys, StreamConfig, StreamId};

impl Relay {
    /// Applies a command. Commands for streams that are not open are ignored: they were closed in the meantime.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        let now = self.micros(now);
        match command {
            Command::Open { id, port } => {
                if self.streams.slot(id).is_none() {
                    let stream = Stream::new(id, port, now, &mut self.rng);
                    let slot = self.streams.insert(stream);
                    self.wheel.start(now, slot, id);
                }
            }
            Command::Configure { id, config, relearn } => {
                if let Some(slot) = self.streams.slot(id) {
                    self.configure(now, slot, config, relearn);
                }
            }
            Command::Connect { a, b } => {
                if let (Some(a), Some(b)) = (self.streams.slot(a), self.streams.slot(b))
                    && a != b
                {
                    self.connect(a, b);
                }
            }
            Command::Disconnect { id } => {
                if let Some(slot) = self.streams.slot(id) {
                    self.disconnect(slot);
                }
            }
            Command::Close { id } => {
                if let Some(slot) = self.streams.slot(id) {
                    self.close(now, slot);
                }
            }
            Command::Play { id, playback } => {
                if let Some(slot) = self.streams.slot(id) {
                    self.play(now, slot, &playback);
                }
            }
            Command::StopPlaying { id } => {
                if let Some(slot) = self.streams.slot(id) {
                    self.stop_playing(slot);
                }
            }
            Command::Record { id, recording } => {
                if let Some(slot) = self.streams.slot(id) {
                    self.record(now, slot, recording);
                }
            }
            Command::StopRecording { id } => {
                if let Some(slot) = self.streams.slot(id) {
                    self.end_recording(now, slot, RecordEnd::Stopped);
                }
            }
            Command::Report { id } => {
                if let Some(report) = self.report(id) {
                    self.events.push_back(Event::Report { id, report: Box::new(report) });
                }
            }
        }
    }

    fn connect(&mut self, a: u32, b: u32) {
        for (slot, other) in [(a, b), (b, a)] {
            if self.streams.get(slot).is_some_and(|stream| stream.peer != Some(other)) {
                self.disconnect(slot);
            }
        }
        if let Some((first, second)) = self.streams.pair_mut(a, b) {
            (first.peer, second.peer) = (Some(b), Some(a));
        }
    }

    fn disconnect(&mut self, slot: u32) {
        let peer = self.streams.get_mut(slot).and_then(|stream| stream.peer.take());
        if let Some(peer) = peer.and_then(|peer| self.streams.get_mut(peer)) {
            peer.peer = None;
        }
    }

    fn close(&mut self, now: Micros, slot: u32) {
        self.disconnect(slot);
        self.stop_playing(slot);
        self.end_recording(now, slot, RecordEnd::Stopped);
        let Some(stream) = self.streams.remove(slot) else { return };
        for remote in [stream.sending.remote, stream.expected].into_iter().flatten() {
            self.tables.remove_route(stream.port(), false, remote, slot);
        }
        if let Some(remote) = stream.rtcp.remote {
            self.tables.remove_route(stream.port(), true, remote, slot);
        }
        if stream.source.is_known() {
            let newest = stream.source.window.highest() as u16;
            self.tables.bury(now, stream.port(), stream.source.ssrc, newest, slot);
        }
        for (ssrc, sequence) in stream.learning.candidates() {
            self.tables.bury(now, stream.port(), ssrc, sequence, slot);
        }
        self.end_turn(now, stream.port(), slot);
        let report = Box::new(stream.report(self.epoch));
        self.events.push_back(Event::Closed { id: stream.id, report });
    }

    /// The stream is no longer its port's learner; the next one that waits is.
    pub(super) fn end_turn(&mut self, now: Micros, port: crate::types::PortId, slot: u32) {
        if let Some(next) = self.tables.stop_learning(port, slot) {
            self.begin_learning(now, next);
        }
    }

    fn configure(&mut self, now: Micros, slot: u32, config: Box<StreamConfig>, relearn: bool) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let old = stream.config.take();
        let (old_rx, old_tx) = match &old {
            Some(old) => (old.rx_keys.as_ref(), old.tx_keys.as_ref()),
            None => (None, None),
        };
        replace_context(&mut stream.rx, old_rx, config.rx_keys.as_ref());
        replace_context(&mut stream.sending.tx, old_tx, config.tx_keys.as_ref());
        if config.receives && !stream.receives {
            stream.listening = now;
        }
        if !config.receives {
            stream.silent = false;
        }
        stream.payload_types = config.payload_types;
        stream.clock_rate = config.clock_rate.max(1);
        stream.codec = config.codec;
        (stream.receives, stream.sending.sends) = (config.receives, config.sends);
        (stream.rtcp_mux, stream.sending.send_unproven) = (config.rtcp_mux, config.send_unproven);
        stream.pass_extensions = config.pass_extensions;
        let known =
            stream.latch == Latch::Learned && stream.sending.remote.map(canonical) == config.remote.map(canonical);
        let remote = config.remote;
        stream.config = Some(config);

        let starts = match stream.latch {
            Latch::Idle => true,
            Latch::Learned => relearn && !known,
            Latch::Waiting | Latch::Learning => relearn,
        };
        if starts {
            self.learn_anew(now, slot);
        }
        self.expect(slot, remote);
    }

    /// Starts learning, or waits until the port's other learner is done.
    fn learn_anew(&mut self, now: Micros, slot: u32) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let (id, port) = (stream.id, stream.port());
        if self.tables.start_learning(port, slot) {
            self.begin_learning(now, slot);
        } else {
            stream.latch = Latch::Waiting;
            self.events.push_back(Event::PortBusy { id, port });
        }
    }

    /// The stream is its port's learner: what it had learned before is forgotten, but for where late packets come from.
    fn begin_learning(&mut self, now: Micros, slot: u32) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        stream.latch = Latch::Learning;
        stream.learning = stream.learning.anew(stream.sending.remote.map(|remote| Left::new(now, remote)));
        stream.rtcp.left = stream.rtcp.remote.map(|remote| Left::new(now, remote)).or(stream.rtcp.left);
        stream.rtcp.proven = false;
        let port = stream.port();
        if let Some(remote) = stream.sending.remote.take() {
            self.tables.remove_route(port, false, remote, slot);
        }
        if let Some(remote) = stream.rtcp.remote.take() {
            self.tables.remove_route(port, true, remote, slot);
        }
        let expected = stream.config.as_ref().and_then(|config| config.remote);
        self.expect(slot, expected);
    }

    /// Gives the SDP's address a route, so that its packets find this stream even where another one is learning.
    fn expect(&mut self, slot: u32, remote: Option<SocketAddr>) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        if let Some(old) = stream.expected.take()
            && stream.sending.remote != Some(old)
        {
            self.tables.remove_route(stream.port(), false, old, slot);
        }
        if stream.latch == Latch::Learned {
            return;
        }
        stream.expected = remote.filter(|&remote| self.tables.add_route(stream.port(), false, remote, slot));
    }

    /// `source` is the stream's remote from now on. `false`: it is another stream's already and stays so.
    pub(super) fn learned(&mut self, now: Micros, slot: u32, source: SocketAddr) -> bool {
        let Some(stream) = self.streams.get_mut(slot) else { return false };
        let port = stream.port();
        if !self.tables.add_route(port, false, source, slot) {
            return false;
        }
        for old in [stream.sending.remote.take(), stream.expected.take()].into_iter().flatten() {
            if canonical(old) != canonical(source) {
                self.tables.remove_route(port, false, old, slot);
            }
        }
        if let Some(old) = stream.rtcp.remote.take() {
            self.tables.remove_route(port, true, old, slot);
        }
        stream.sending.remote = Some(source);
        stream.latch = Latch::Learned;
        stream.learning = Learning::default();
        stream.rtcp.proven = false;
        stream.rtcp.relayed = now;
        let rtcp = expected_rtcp(source, stream.config.as_deref());
        if !stream.rtcp_mux {
            stream.rtcp.remote = rtcp.filter(|&rtcp| self.tables.add_route(port, true, rtcp, slot));
        }
        self.events.push_back(Event::Learned { id: stream.id, remote: source });
        self.end_turn(now, port, slot);
        true
    }

    /// How an address stands to the stream's configuration.
    pub(super) fn standing(&self, slot: u32, source: SocketAddr) -> Standing {
        match self.streams.get(slot).and_then(|stream| stream.config.as_ref()) {
            Some(config) => standing(source, config.remote, config.signalling),
            None => Standing::Other,
        }
    }

    /// The stream's id, for an event.
    pub(super) fn id_of(&self, slot: u32) -> Option<StreamId> {
        self.streams.get(slot).map(|stream| stream.id)
    }
}

/// Where RTCP belongs to a learned remote: the SDP's RTCP port if the SDP names this very host, else the next port.
fn expected_rtcp(remote: SocketAddr, config: Option<&StreamConfig>) -> Option<SocketAddr> {
    let named = config.and_then(|config| config.remote_rtcp);
    let next = || remote.port().checked_add(1).map(|port| SocketAddr::new(remote.ip(), port));
    match named {
        Some(named) if canonical(named).ip() == canonical(remote).ip() => Some(named),
        Some(_) | None => next(),
    }
}

/// The address without an IPv6 disguise of IPv4.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A new context only where the keys differ: with the same keys the indices must go on (RFC 3711 §3.3.1), with new
/// ones they start at 0 (RFC 4568 §6.4). Another identifier does not make another key: to begin anew with the same one
/// would encrypt two texts with one keystream.
fn replace_context(context: &mut Option<Box<Context>>, old: Option<&SrtpKeys>, new: Option<&SrtpKeys>) {
    match (context, old, new) {
        (Some(context), Some(old), Some(new)) if old.same_key(new) => context.set_identifier(new.mki),
        (context, _, new) => *context = new.map(|keys| Box::new(Context::new(keys))),
    }
}
