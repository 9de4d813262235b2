//! What a journal says when it is read from front to back: the bindings and the calls that are still open.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::path::Path;

use hashbrown::HashTable;
use ringfort_switch::model::{CallId, ExtensionId};
use ringfort_switch::record::{Binding, BlacklistChange, Cdr, GuardRecord, JournalRecord, UnixMillis};
use rustc_hash::FxBuildHasher;

use super::frame::FrameKind;
use super::segment::{Files, SegmentReader, Step, segment_path, snapshot_path};
use super::{JournalError, Recovered};
use crate::keys::Keys;

#[derive(Debug, Default)]
pub(crate) struct State {
    bindings: Bindings,
    guard: Guard,
    pub(crate) open_calls: BTreeMap<CallId, Cdr>,
    /// One more than the highest call that was seen.
    pub(crate) next_call: u64,
    /// In their order. The database has the earlier ones, and those that it has taken over may be here once more.
    blacklist: Vec<BlacklistChange>,
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
        if self.bindings.slots.is_empty() {
            let about = reader.len() / USUAL_FRAME;
            self.bindings.slots.reserve(about);
            self.bindings.places.reserve(about, |_| unreachable!("an empty table has nothing to hash again"));
        }
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
            FrameKind::CallQuality | FrameKind::Spent => {}
            FrameKind::Bound
            | FrameKind::BoundInstance
            | FrameKind::BoundProven
            | FrameKind::CallStartedMore
            | FrameKind::Unbound
            | FrameKind::CallStarted
            | FrameKind::CallEnded
            | FrameKind::CallEndedOutside
            | FrameKind::CallEndedMore
            | FrameKind::Guard
            | FrameKind::Blacklist => {
                if let Some(record) = reader.open_record(kind) {
                    self.apply_record(record);
                }
            }
        }
    }

    fn apply_record(&mut self, record: JournalRecord) {
        match record {
            JournalRecord::Bound(binding) => {
                self.bindings.put(binding);
            }
            JournalRecord::Unbound { extension, key } => self.bindings.remove(extension, &key),
            JournalRecord::CallStarted(cdr) => {
                self.next_call = self.next_call.max(cdr.call.0.saturating_add(1));
                self.open_calls.insert(cdr.call, *cdr);
            }
            JournalRecord::CallEnded(cdr) => {
                self.next_call = self.next_call.max(cdr.call.0.saturating_add(1));
                self.open_calls.remove(&cdr.call);
            }
            JournalRecord::Blacklist(changes) => self.blacklist.extend(changes),
            JournalRecord::CallQuality { .. } | JournalRecord::Spent(_) => {}
            JournalRecord::Guard(record) => self.guard.apply(record),
        }
    }

    /// The bindings that have not expired at `now`, in the order in which they first came.
    pub(crate) fn live_bindings(&mut self, now: UnixMillis) -> Vec<Binding> {
        let all = std::mem::take(&mut self.bindings).slots;
        all.into_iter().flatten().filter(|b| b.expires_at > now).collect()
    }

    /// What of the guard still holds; nothing that was lifted or taken back.
    pub(crate) fn guard(&mut self) -> Vec<GuardRecord> {
        let Guard { bans, allowed } = std::mem::take(&mut self.guard);
        bans.into_values().chain(allowed.into_iter().map(|range| GuardRecord::Allowed { range })).collect()
    }

    pub(crate) fn recovered(mut self, now: UnixMillis) -> Recovered {
        Recovered {
            bindings: self.live_bindings(now),
            guard: self.guard(),
            crashed: self.open_calls.keys().copied().collect(),
            next_call: CallId(self.next_call.max(1)),
            blacklist: self.blacklist,
            records: self.records,
            damaged: self.damaged,
        }
    }
}

/// Bans by their source, and ranges that are never banned.
#[derive(Debug, Default)]
struct Guard {
    bans: BTreeMap<IpAddr, GuardRecord>,
    allowed: BTreeSet<String>,
}

impl Guard {
    fn apply(&mut self, record: GuardRecord) {
        match record {
            GuardRecord::Banned { source, .. } => drop(self.bans.insert(source, record)),
            GuardRecord::Lifted { source } => drop(self.bans.remove(&source)),
            GuardRecord::Allowed { range } => drop(self.allowed.insert(range)),
            GuardRecord::Disallowed { range } => drop(self.allowed.remove(&range)),
        }
    }
}

/// Bytes of a usual binding on disk.
const USUAL_FRAME: usize = 256;

/// The latest binding of each extension and key. The table holds places in the list, so that a start does not copy
/// ten thousand keys.
#[derive(Debug, Default)]
struct Bindings {
    slots: Vec<Option<Binding>>,
    places: HashTable<usize>,
}

impl Bindings {
    fn put(&mut self, binding: Binding) {
        let slots = &mut self.slots;
        let hash = hash(binding.extension, &binding.key);
        let same = |&at: &usize| is(&slots[at], binding.extension, &binding.key);
        if let Some(&at) = self.places.find(hash, same) {
            slots[at] = Some(binding);
            return;
        }
        let rehash = |&at: &usize| slots[at].as_ref().map_or(0, |b| self::hash(b.extension, &b.key));
        self.places.insert_unique(hash, slots.len(), rehash);
        slots.push(Some(binding));
    }

    fn remove(&mut self, extension: ExtensionId, key: &str) {
        let same = |&at: &usize| is(&self.slots[at], extension, key);
        if let Ok(entry) = self.places.find_entry(hash(extension, key), same) {
            let (at, _) = entry.remove();
            self.slots[at] = None;
        }
    }
}

fn is(slot: &Option<Binding>, extension: ExtensionId, key: &str) -> bool {
    slot.as_ref().is_some_and(|b| b.extension == extension && b.key == key)
}

fn hash(extension: ExtensionId, key: &str) -> u64 {
    FxBuildHasher.hash_one((extension, key))
}
