//! Which stream of the packet path belongs to which call, and what it reports when it is closed: the switch's side of
//! `ringfort_media`. Ports are handed out here, so that the SDP can be written at once.

use std::time::Duration;

use ringfort_media::bridge::Bridge;
use ringfort_media::codec::CodecAllowList;
use ringfort_media::ports::{PortPool, PortPoolConfig};
use ringfort_media::types::{Command, DropReason, StreamId, StreamReport};
use rustc_hash::FxHashMap;

use crate::config::MediaConfig;
use crate::io::Output;
use crate::model::CallId;
use crate::record::MediaQuality;

/// How long the relay has to report on a closed call.
pub(crate) const REPORT_WITHIN: Duration = Duration::from_secs(5);

/// What a stream is part of.
#[derive(Clone, Copy, Debug)]
struct StreamUse {
    call: CallId,
    is_caller: bool,
    media: &'static str,
    receives: bool,
    silent: bool,
    encrypted: bool,
}

/// A call that is over and whose streams are reporting.
#[derive(Debug, Default)]
struct Closing {
    open: usize,
    quality: Vec<MediaQuality>,
    /// The call itself is over, so that no further stream will be closed.
    over: bool,
}

/// Quality of a call, ready to be written down.
#[derive(Debug)]
pub(crate) struct QualityDone {
    pub call: CallId,
    pub directions: Vec<MediaQuality>,
}

/// All streams of a shard.
pub(crate) struct Streams {
    pub(crate) ports: PortPool,
    pub(crate) codecs: CodecAllowList,
    uses: FxHashMap<StreamId, StreamUse>,
    closing: FxHashMap<CallId, Closing>,
}

impl Streams {
    pub(crate) fn new(config: &MediaConfig) -> Self {
        let (first, last) = config.ports;
        Self {
            ports: PortPool::new(PortPoolConfig { first, last, ..PortPoolConfig::default() }),
            codecs: CodecAllowList::parse(&config.codecs).unwrap_or_default(),
            uses: FxHashMap::default(),
            closing: FxHashMap::default(),
        }
    }

    /// No closed call waits for its figures.
    pub(crate) fn is_settled(&self) -> bool {
        self.closing.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.uses.len()
    }

    /// Hands a bridge's commands on to the packet path and takes note of what they say. `caller` is the bridge's
    /// anchor: the first leg.
    pub(crate) fn drain(&mut self, call: CallId, bridge: &mut Bridge, out: &mut std::collections::VecDeque<Output>) {
        while let Some(command) = bridge.poll_command() {
            match &command {
                Command::Open { id, .. } => {
                    let is_caller = bridge.leg_of(*id).is_some_and(|leg| leg.0 == 0);
                    let stream =
                        StreamUse { call, is_caller, media: "audio", receives: false, silent: false, encrypted: false };
                    self.uses.insert(*id, stream);
                }
                Command::Configure { id, config, relearn } => {
                    if let Some(stream) = self.uses.get_mut(id) {
                        stream.media = config.codec.media();
                        stream.receives = config.receives;
                        stream.encrypted = config.rx_keys.is_some() && config.tx_keys.is_some();
                        if *relearn || !config.receives {
                            stream.silent = false;
                        }
                    }
                }
                Command::Close { .. } => self.closing.entry(call).or_default().open += 1,
                Command::Connect { .. }
                | Command::Disconnect { .. }
                | Command::Play { .. }
                | Command::StopPlaying { .. }
                | Command::Record { .. }
                | Command::StopRecording { .. }
                | Command::Report { .. } => {}
            }
            out.push_back(Output::Media(command));
        }
    }

    pub(crate) fn learned(&mut self, id: StreamId) {
        self.ports.learned(id);
    }

    /// The call that a stream belongs to, while it is up.
    pub(crate) fn call_of(&self, id: StreamId) -> Option<CallId> {
        self.uses.get(&id).map(|stream| stream.call)
    }

    pub(crate) fn resumed(&mut self, id: StreamId) {
        if let Some(stream) = self.uses.get_mut(&id) {
            stream.silent = false;
        }
    }

    /// A stream fell silent. The call, when none of its streams that should receive does.
    pub(crate) fn silent(&mut self, id: StreamId) -> Option<CallId> {
        let stream = self.uses.get_mut(&id)?;
        stream.silent = true;
        Some(stream.call)
    }

    /// Whether all streams among `ids` that should receive have fallen silent, and there is one at least.
    pub(crate) fn all_silent(&self, ids: impl Iterator<Item = StreamId>) -> bool {
        let mut expecting = 0;
        for stream in ids.filter_map(|id| self.uses.get(&id)).filter(|s| s.receives) {
            if !stream.silent {
                return false;
            }
            expecting += 1;
        }
        expecting > 0
    }

    /// Whether all of these streams, and one at least, are encrypted.
    pub(crate) fn is_encrypted(&self, mut ids: impl Iterator<Item = StreamId>) -> bool {
        let encrypted = |id: StreamId| self.uses.get(&id).is_some_and(|s| s.encrypted);
        ids.next().is_some_and(encrypted) && ids.all(encrypted)
    }

    /// A call is over and its bridge closed: whether reports are awaited, or else what there is already.
    pub(crate) fn call_over(&mut self, call: CallId) -> Option<QualityDone> {
        let closing = self.closing.get_mut(&call)?;
        closing.over = true;
        self.if_complete(call)
    }

    pub(crate) fn awaits_report(&self, call: CallId) -> bool {
        self.closing.contains_key(&call)
    }

    /// A stream reported at its end.
    pub(crate) fn closed(&mut self, id: StreamId, report: &StreamReport) -> Option<QualityDone> {
        let stream = self.uses.remove(&id)?;
        let closing = self.closing.get_mut(&stream.call)?;
        closing.open = closing.open.saturating_sub(1);
        if let Some(quality) = quality(&stream, report) {
            closing.quality.push(quality);
        }
        self.if_complete(stream.call)
    }

    /// The relay did not report in time: what there is must do.
    pub(crate) fn give_up(&mut self, call: CallId) -> Option<QualityDone> {
        let closing = self.closing.remove(&call)?;
        self.uses.retain(|_, stream| stream.call != call);
        Some(QualityDone { call, directions: closing.quality })
    }

    fn if_complete(&mut self, call: CallId) -> Option<QualityDone> {
        let complete = self.closing.get(&call).is_some_and(|c| c.over && c.open == 0);
        if !complete {
            return None;
        }
        let closing = self.closing.remove(&call).expect("it was just seen");
        Some(QualityDone { call, directions: closing.quality })
    }
}

fn quality(stream: &StreamUse, report: &StreamReport) -> Option<MediaQuality> {
    let drops: Vec<(String, u64)> = DropReason::ALL
        .iter()
        .map(|reason| (reason.as_str().to_owned(), report.drops[*reason as usize]))
        .filter(|(_, n)| *n > 0)
        .collect();
    let received = &report.received;
    if received.packets == 0 && drops.is_empty() {
        return None;
    }
    Some(MediaQuality {
        from: if stream.is_caller { "caller" } else { "callee" }.to_owned(),
        kind: stream.media.to_owned(),
        packets: received.packets,
        bytes: received.bytes,
        lost: received.lost,
        jitter_ms: received.jitter.as_secs_f32() * 1000.0,
        rtt_ms: received.rtt.map(|d| d.as_secs_f32() * 1000.0),
        mos: received.mos,
        drops,
    })
}
