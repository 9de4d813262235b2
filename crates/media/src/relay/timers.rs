//! A coarse timer wheel: each stream is looked at once in a while for silence and for its own RTCP report.

use std::time::Instant;

use rand::Rng;

use super::rtcp::{REPORT_INTERVAL, own_report_due};
use super::{Micros, Relay};
use crate::types::{Event, StreamId};

/// Seconds around the wheel: the longest time between two looks at a stream.
const SPOKES: usize = 16;
const SECOND: Micros = 1_000_000;

/// Streams by the second in which they are due. A stream has one entry; that of a closed one is dropped when met.
#[derive(Default)]
pub struct Wheel {
    spokes: [Vec<(u32, StreamId)>; SPOKES],
    now: u64,
}

impl Wheel {
    /// The second that was handled last.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// A new stream's first look.
    pub fn start(&mut self, now: Micros, slot: u32, id: StreamId) {
        self.schedule(now / SECOND + 1, slot, id);
    }

    /// Files a stream for a second, within one turn of the wheel.
    fn schedule(&mut self, second: u64, slot: u32, id: StreamId) {
        let second = second.clamp(self.now + 1, self.now + SPOKES as u64 - 1);
        self.spokes[(second % SPOKES as u64) as usize].push((slot, id));
    }
}

impl Relay {
    /// Looks at the streams that are due. To be called when [`Relay::poll_timeout`] says.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.micros(now);
        self.players.handle_timeout(now);
        self.look_at_recordings(now);
        let second = now / SECOND;
        if second <= self.wheel.now {
            return;
        }
        // After a jump in time one turn of the wheel meets everybody.
        self.wheel.now = self.wheel.now.max(second.saturating_sub(SPOKES as u64));
        while self.wheel.now < second {
            self.wheel.now += 1;
            let spoke = (self.wheel.now % SPOKES as u64) as usize;
            let mut due = std::mem::take(&mut self.wheel.spokes[spoke]);
            for (slot, id) in due.drain(..) {
                if self.id_of(slot) == Some(id) {
                    let next = self.look_at(now, slot);
                    self.wheel.schedule(next.div_ceil(SECOND), slot, id);
                }
            }
            // Keeps the memory for the next turn, unless it was a busy hour's.
            if self.wheel.spokes[spoke].is_empty() && due.capacity() <= 4 * (self.streams.len() + 64) {
                self.wheel.spokes[spoke] = due;
            }
        }
        self.tables.handle_timeout(now);
    }

    /// Reports silence and queues an RTCP report; says when to look again.
    fn look_at(&mut self, now: Micros, slot: u32) -> Micros {
        let Some(stream) = self.streams.get_mut(slot) else { return now };
        let mut next = now + (SPOKES as u64 - 1) * SECOND;
        if let Some(limit) = self.config.silence
            && stream.receives
            && !stream.silent
        {
            let limit = u64::try_from(limit.as_micros()).unwrap_or(Micros::MAX / 2);
            let since = stream.last_rtp.max(stream.last_rtcp).max(stream.listening);
            if now >= since + limit {
                stream.silent = true;
                let for_ = std::time::Duration::from_micros(now - since);
                self.events.push_back(Event::Silent { id: stream.id, for_ });
            } else {
                next = next.min(since + limit);
            }
        }
        if stream.rtcp.due <= now {
            if own_report_due(now, stream) {
                self.reports.push_back(slot);
            }
            // RFC 3550 §6.2: drawn anew each time, so that reports do not fall into step.
            let draw = u64::from(self.rng.next_u32()) % REPORT_INTERVAL;
            stream.rtcp.due = now + REPORT_INTERVAL / 2 + draw;
        }
        next.min(stream.rtcp.due)
    }
}
