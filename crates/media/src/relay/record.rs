//! What a stream's peer says, as linear samples: decoded in the order of its timestamps, gaps filled with silence, handed
//! out in pieces. G.711 and G.722 have 8 octets and 8 clock units in a millisecond (RFC 3551 §4.5.2, §4.5.14), so that an
//! octet's place is its timestamp. A stream that is not recorded pays one look at a flag.

use std::collections::VecDeque;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::{Micros, Relay};
use crate::g711::Law;
use crate::g722;
use crate::rtp::Header;
use crate::sound::VoiceCodec;
use crate::types::{Event, Piece, RecordEnd, RecordId, Recorded, Recording};

/// How often recordings are looked at: for silence, and for their length.
const LOOK_EVERY: Micros = 250_000;
/// Octets that wait for those that were overtaken on the way: 100 ms.
const WINDOW: usize = 800;
/// By so many units (2 s) a timestamp may be away from the time at which it came, before it is taken for a new beginning.
const ASTRAY: u64 = 16_000;
/// Units between two looks at how loud it is: a frame of 20 ms.
const FRAME: usize = 160;
/// A frame is heard whose samples are this large in the mean: some 44 dB below full scale, above the noise of a line.
const HEARD: u64 = 200;
/// An octet that has not come.
const MISSING: u16 = 0x100;

enum Decoder {
    G711(Law),
    G722(Box<g722::Decoder>),
}

struct Recorder {
    recording: Recording,
    started: Micros,
    /// When something was heard last.
    heard: Micros,
    /// The source whose timestamps count, and the timestamp of the octet at place 0.
    source: Option<(u64, u32)>,
    /// Octets from place `decoded` on.
    octets: VecDeque<u16>,
    decoded: u64,
    /// Behind the last frame in which something was heard.
    heard_until: u64,
    decoder: Decoder,
    /// Of the frame that is being decoded.
    loudness: u64,
    samples: Vec<i16>,
}

/// What is recorded, by the slot of its stream.
#[derive(Default)]
pub struct Recorders {
    by_slot: FxHashMap<u32, Box<Recorder>>,
    due: Option<Micros>,
    pieces: VecDeque<Piece>,
}

impl Recorders {
    pub fn next_due(&self) -> Option<Micros> {
        self.due
    }

    pub fn poll_piece(&mut self) -> Option<Piece> {
        self.pieces.pop_front()
    }
}

impl Recorder {
    fn new(now: Micros, recording: Recording) -> Self {
        let decoder = match recording.codec {
            VoiceCodec::Pcmu => Decoder::G711(Law::Mu),
            VoiceCodec::Pcma => Decoder::G711(Law::A),
            VoiceCodec::G722 => Decoder::G722(Box::default()),
        };
        Self {
            recording,
            started: now,
            heard: now,
            source: None,
            octets: VecDeque::with_capacity(2 * WINDOW),
            decoded: 0,
            heard_until: 0,
            decoder,
            loudness: 0,
            samples: Vec::new(),
        }
    }

    fn is_wide(&self) -> bool {
        matches!(self.decoder, Decoder::G722(_))
    }

    /// Samples of half a second.
    fn piece(&self) -> usize {
        if self.is_wide() { 8_000 } else { 4_000 }
    }

    /// Places in the longest recording.
    fn most(&self) -> u64 {
        units(self.recording.longest)
    }

    /// Where a packet belongs. One of another source, or far from where time stands, goes on from here.
    fn place(&mut self, now: Micros, generation: u64, timestamp: u32) -> Option<u64> {
        let by_time = now.saturating_sub(self.started) / 125;
        if let Some((source, origin)) = self.source
            && source == generation
        {
            let at = i64::from(timestamp.wrapping_sub(origin).cast_signed());
            if at.abs_diff(by_time.cast_signed()) <= ASTRAY {
                return u64::try_from(at).ok();
            }
        }
        let at = by_time.max(self.decoded + self.octets.len() as u64);
        self.source = Some((generation, timestamp.wrapping_sub(at as u32)));
        Some(at)
    }

    fn take(&mut self, at: u64, payload: &[u8]) {
        let most = self.most();
        for (place, octet) in (at..most).zip(payload) {
            // What comes too late is left out: its place is silence already.
            let Some(index) = place.checked_sub(self.decoded) else { continue };
            let index = index as usize;
            if index >= self.octets.len() {
                self.octets.resize(index + 1, MISSING);
            }
            self.octets[index] = u16::from(*octet);
        }
    }

    /// Decodes all octets but the last `keep`.
    fn decode(&mut self, now: Micros, keep: usize) {
        let count = self.octets.len().saturating_sub(keep);
        for octet in self.octets.drain(..count) {
            let octet = u8::try_from(octet).ok();
            match (&mut self.decoder, octet) {
                (Decoder::G711(law), octet) => self.samples.push(octet.map_or(0, |octet| law.decode(octet))),
                (Decoder::G722(decoder), Some(octet)) => self.samples.extend(decoder.decode(octet)),
                (Decoder::G722(_), None) => self.samples.extend([0; 2]),
            }
            self.loudness += self.samples.last().map_or(0, |sample| u64::from(sample.unsigned_abs()));
            self.decoded += 1;
            if self.decoded.is_multiple_of(FRAME as u64) {
                if self.loudness >= HEARD * FRAME as u64 {
                    (self.heard, self.heard_until) = (now, self.decoded);
                }
                self.loudness = 0;
            }
        }
    }

    /// What is decoded, where it is enough.
    fn next_piece(&mut self) -> Option<Piece> {
        let piece = self.piece();
        if self.samples.len() < piece {
            return None;
        }
        let samples = std::mem::replace(&mut self.samples, Vec::with_capacity(piece + 2 * FRAME));
        Some(Piece { id: self.recording.id, wide: self.is_wide(), samples, last: None })
    }

    /// How it has ended by itself.
    fn ended(&self, now: Micros) -> Option<RecordEnd> {
        let since = |from: Micros| Duration::from_micros(now.saturating_sub(from));
        if since(self.started) >= self.recording.longest {
            return Some(RecordEnd::Longest);
        }
        (since(self.heard) >= self.recording.quiet).then_some(RecordEnd::Quiet)
    }

    fn finish(mut self, now: Micros, end: RecordEnd) -> Piece {
        self.decode(now, 0);
        let heard = Duration::from_micros(self.heard_until * 125);
        let (id, wide) = (self.recording.id, self.is_wide());
        Piece { id, wide, samples: self.samples, last: Some(Recorded { end, heard }) }
    }
}

/// Clock units in so long.
fn units(length: Duration) -> u64 {
    u64::try_from(length.as_micros() / 125).unwrap_or(u64::MAX)
}

impl Relay {
    pub(super) fn record(&mut self, now: Micros, slot: u32, recording: Recording) {
        self.end_recording(now, slot, RecordEnd::Stopped);
        let Some(stream) = self.streams.get_mut(slot) else { return };
        stream.recorded = true;
        self.recorders.by_slot.insert(slot, Box::new(Recorder::new(now, recording)));
        self.recorders.due.get_or_insert(now + LOOK_EVERY);
    }

    /// Hands out the last piece.
    pub(super) fn end_recording(&mut self, now: Micros, slot: u32, end: RecordEnd) -> Option<RecordId> {
        let recorder = self.recorders.by_slot.remove(&slot)?;
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.recorded = false;
        }
        if self.recorders.by_slot.is_empty() {
            self.recorders.due = None;
        }
        let id = recorder.recording.id;
        self.recorders.pieces.push_back(recorder.finish(now, end));
        Some(id)
    }

    /// A packet of a stream that is recorded has passed all checks.
    #[cold]
    pub(super) fn record_packet(&mut self, now: Micros, slot: u32, generation: u64, header: &Header, payload: &[u8]) {
        let Some(recorder) = self.recorders.by_slot.get_mut(&slot) else { return };
        if header.payload_type != recorder.recording.payload_type {
            return;
        }
        let Some(at) = recorder.place(now, generation, header.timestamp) else { return };
        recorder.take(at, payload);
        recorder.decode(now, WINDOW);
        if let Some(piece) = recorder.next_piece() {
            self.recorders.pieces.push_back(piece);
        }
    }

    /// Ends those that are long enough, and those in which nothing is heard any more.
    pub(super) fn look_at_recordings(&mut self, now: Micros) {
        if self.recorders.due.is_none_or(|due| due > now) {
            return;
        }
        self.recorders.due = Some(now + LOOK_EVERY);
        let recorders = self.recorders.by_slot.iter();
        let mut over: Vec<(u32, RecordEnd)> =
            recorders.filter_map(|(slot, recorder)| Some((*slot, recorder.ended(now)?))).collect();
        over.sort_unstable_by_key(|(slot, _)| *slot);
        for (slot, end) in over {
            let (id, record) = (self.id_of(slot), self.end_recording(now, slot, end));
            if let (Some(id), Some(record)) = (id, record) {
                self.events.push_back(Event::Recorded { id, record, end });
            }
        }
    }
}
