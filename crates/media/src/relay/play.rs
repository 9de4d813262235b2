//! Sounds of our own in a stream: a frame of 20 ms each, in our own numbers like what is relayed, so that the peer hears
//! one stream whoever speaks. A thousand of them cost no more than a heap of due times.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use rustc_hash::FxHashMap;

use super::{Micros, Outgoing, PacketBuf, Relay};
use crate::rtp::{HEADER_LEN, Header};
use crate::sound::Voice;
use crate::types::{Event, PlayId, Playback};

/// Between two frames.
const FRAME: Micros = 20_000;
/// A frame that is later than this is left out, and those after it stay in time: a burst would be dropped by a phone.
const LATEST: Micros = 100_000;

struct Player {
    play: PlayId,
    voice: Voice,
    payload_type: u8,
    /// The source that it is to the stream's output.
    generation: u64,
    sequence: u16,
    timestamp: u32,
    due: Micros,
}

/// What is played, by the slot of its stream.
#[derive(Default)]
pub struct Players {
    by_slot: FxHashMap<u32, Box<Player>>,
    /// An entry whose playing is over is dropped when it is met.
    due: BinaryHeap<Reverse<(Micros, u32, PlayId)>>,
    /// Frames to be sent now.
    ready: VecDeque<(u32, PlayId)>,
}

impl Players {
    pub fn next_due(&self) -> Option<Micros> {
        self.due.peek().map(|Reverse((due, ..))| *due)
    }

    pub fn handle_timeout(&mut self, now: Micros) {
        while let Some(Reverse((due, slot, play))) = self.due.peek().copied()
            && due <= now
        {
            self.due.pop();
            if self.by_slot.get(&slot).is_some_and(|player| player.play == play) {
                self.ready.push_back((slot, play));
            }
        }
    }

    fn remove(&mut self, slot: u32) -> bool {
        let removed = self.by_slot.remove(&slot).is_some();
        if self.by_slot.is_empty() {
            *self = Players::default();
        }
        removed
    }
}

impl Relay {
    pub(super) fn play(&mut self, now: Micros, slot: u32, playback: &Playback) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        stream.sending.playing = true;
        self.generations += 1;
        let player = Player {
            play: playback.id,
            voice: Voice::new(playback.sound.clone(), playback.codec),
            payload_type: playback.payload_type,
            generation: self.generations,
            sequence: 0,
            timestamp: 0,
            due: now,
        };
        self.players.by_slot.insert(slot, Box::new(player));
        self.players.due.push(Reverse((now, slot, playback.id)));
    }

    pub(super) fn stop_playing(&mut self, slot: u32) {
        if self.players.remove(slot)
            && let Some(stream) = self.streams.get_mut(slot)
        {
            stream.sending.playing = false;
        }
    }

    /// The next frame that is due.
    pub(super) fn poll_frame(&mut self, now: Micros, buf: &mut PacketBuf<'_>) -> Option<Outgoing> {
        while let Some((slot, play)) = self.players.ready.pop_front() {
            if let Some(outgoing) = self.write_frame(now, slot, play, buf) {
                return Some(outgoing);
            }
        }
        None
    }

    /// Writes a frame; `None` where it has nowhere to go: the sound goes on all the same.
    fn write_frame(&mut self, now: Micros, slot: u32, play: PlayId, buf: &mut PacketBuf<'_>) -> Option<Outgoing> {
        let player = self.players.by_slot.get_mut(&slot).filter(|player| player.play == play)?;
        let stream = self.streams.get_mut(slot)?;
        let mut frame = [0; Voice::OCTETS];
        loop {
            if !player.voice.frame(&mut frame) {
                let id = stream.id;
                self.stop_playing(slot);
                self.events.push_back(Event::Played { id, play });
                return None;
            }
            player.sequence = player.sequence.wrapping_add(1);
            player.timestamp = player.timestamp.wrapping_add(Voice::UNITS);
            player.due += FRAME;
            if player.due + LATEST > now {
                break;
            }
        }
        let header = Header {
            marker: false,
            payload_type: player.payload_type,
            sequence: player.sequence,
            timestamp: player.timestamp,
            ssrc: 0,
            padding: false,
            extension: false,
            len: HEADER_LEN,
        };
        self.players.due.push(Reverse((player.due, slot, play)));
        if !stream.sending.sends {
            return None;
        }
        let dest = stream.destination()?;
        let sending = &mut stream.sending;
        let out = sending.output.map(player.generation, &header, now, stream.clock_rate, true)?;
        buf.clear();
        let room = buf.with_room().first_chunk_mut::<{ HEADER_LEN + Voice::OCTETS }>()?;
        let (fixed, payload) = room.split_at_mut(HEADER_LEN);
        out.write_fixed(fixed.first_chunk_mut()?);
        payload.copy_from_slice(&frame);
        let mut len = HEADER_LEN + Voice::OCTETS;
        if let Some(tx) = &mut sending.tx {
            len = tx.protect_rtp(buf.with_room(), len).ok()?;
        }
        buf.set_len(len);
        sending.output.sent(now, Voice::OCTETS);
        Some(Outgoing { port: stream.port(), is_rtcp: false, dest })
    }
}
