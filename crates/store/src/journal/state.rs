//! What a journal says when it is read from front to back: the bindings and the calls that are still open.

use std::collections::BTreeMap;
use std::path::Path;

use ringfort_switch::model::{CallId, ExtensionId};
use ringfort_switch::record::{Binding, Cdr, JournalRecord, UnixMillis};
use rustc_hash::FxHashMap;

use super::frame::FrameKind;
use super::segment::{Files, SegmentReader, Step, segment_path, snapshot_path};
use super::{JournalError, Recovered};
use crate::keys::Keys;

/// What makes a binding the same one on refresh.
type BindingKey = (ExtensionId, String);

#[derive(Debug, Default)]
pub(crate) struct State {
    bindings: FxHashMap<BindingKey, Binding>,
    pub(crate) open_calls: BTreeMap<CallId, Cdr>,
    /// One more than the highest call that was seen.
    pub(crate) next_call: u64,
    records: u64,
    damaged: u64,
}

impl State {
    /// Reads the newest snapshot and the segments behind it up to number `last`.
    pub(crate) fn load(dir: &Path, keys: &Keys, files: &Files, last: u64) -> Result<Self, JournalError> {
        let mut state = Self::default();
        let through = files.snapshot_through();
        if through > 0 {
            state.read(SegmentReader::read(&snapshot_path(dir, through), keys)?);
        }
        for &number in files.segments.iter().filter(|&&n| n > through && n <= last) {
            state.read(SegmentReader::read(&segment_path(dir, number), keys)?);
        }
        Ok(state)
    }

    fn read(&mut self, mut reader: SegmentReader) {
        loop {
            match reader.step() {
                Step::Frame(kind) => {
                    self.records += 1;
                    self.apply(kind, &mut reader);
                }
                Step::Unknown => {}
                Step::End => break,
            }
        }
        self.damaged += reader.damaged;
    }

    fn apply(&mut self, kind: FrameKind, reader: &mut SegmentReader) {
        match kind {
            FrameKind::NextCall => {
                if let Some(next) = reader.open::<u64>() {
                    self.next_call = self.next_call.max(next);
                }
            }
            // Only the background thread, which puts them into the database, needs to read these.
            FrameKind::CallQuality => {}
            FrameKind::Bound | FrameKind::Unbound | FrameKind::CallStarted | FrameKind::CallEnded => {
                if let Some(record) = reader.open::<JournalRecord>() {
                    self.apply_record(record);
                }
            }
        }
    }

    fn apply_record(&mut self, record: JournalRecord) {
        match record {
            JournalRecord::Bound(binding) => {
                self.bindings.insert((binding.extension, binding.key.clone()), binding);
            }
            JournalRecord::Unbound { extension, key } => {
                self.bindings.remove(&(extension, key));
            }
            JournalRecord::CallStarted(cdr) => {
                self.next_call = self.next_call.max(cdr.call.0.saturating_add(1));
                self.open_calls.insert(cdr.call, *cdr);
            }
            JournalRecord::CallEnded(cdr) => {
                self.next_call = self.next_call.max(cdr.call.0.saturating_add(1));
                self.open_calls.remove(&cdr.call);
            }
            JournalRecord::CallQuality { .. } => {}
        }
    }

    /// The bindings that have not expired at `now`, by extension and key.
    pub(crate) fn live_bindings(&mut self, now: UnixMillis) -> Vec<Binding> {
        let mut bindings: Vec<Binding> =
            std::mem::take(&mut self.bindings).into_values().filter(|b| b.expires_at > now).collect();
        bindings.sort_unstable_by(|a, b| (a.extension, &a.key).cmp(&(b.extension, &b.key)));
        bindings
    }

    pub(crate) fn recovered(mut self, now: UnixMillis) -> Recovered {
        Recovered {
            bindings: self.live_bindings(now),
            crashed: self.open_calls.keys().copied().collect(),
            next_call: CallId(self.next_call.max(1)),
            records: self.records,
            damaged: self.damaged,
        }
    }
}
