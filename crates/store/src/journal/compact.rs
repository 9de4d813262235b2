//! Keeps the journal small: closed segments become one snapshot of what they still say. Runs in the background
//! thread, from files alone, while the shard thread appends to the newest segment.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ringfort_switch::record::{JournalRecord, UnixMillis};

use super::frame::{self, FrameKind};
use super::segment::{Files, Head, segment_path, snapshot_path};
use super::state::State;
use super::{JournalError, JournalOptions};
use crate::keys::{Keys, sync_parent};

/// More closed segments than this are compacted whatever their size (a restart begins a new one).
const MAX_CLOSED: usize = 8;

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Records in the new snapshot; `None` where none was due.
    pub records: Option<u64>,
    /// Segments and snapshots removed.
    pub removed: usize,
}

/// Makes a snapshot where enough segments are closed to be worth it, and removes files that nobody needs any more:
/// those a snapshot speaks for and whose call records are in the database (all segments below `ingested`).
///
/// # Errors
/// [`JournalError`]; whatever it had done is whole: a snapshot takes its place by one rename.
pub fn compact(
    dir: &Path,
    keys: &Keys,
    options: &JournalOptions,
    now: UnixMillis,
    ingested: u64,
) -> Result<Compacted, JournalError> {
    let mut files = Files::list(dir)?;
    let mut done = Compacted::default();
    let Some(&live) = files.segments.last() else { return Ok(done) };
    let before = files.snapshot_through();
    let closed: Vec<u64> = files.segments.iter().copied().filter(|&n| n > before && n < live).collect();
    if let Some(&through) = closed.last()
        && is_due(dir, options, before, &closed)?
    {
        done.records = Some(write_snapshot(dir, keys, &files, through, now)?);
        files.snapshots.push(through);
    }
    let through = files.snapshot_through();
    let stale_segments = files.segments.iter().filter(|&&n| n <= through && n < ingested);
    let stale_snapshots = files.snapshots.iter().filter(|&&n| n < through);
    let stale = stale_segments.map(|&n| segment_path(dir, n)).chain(stale_snapshots.map(|&n| snapshot_path(dir, n)));
    for path in stale {
        fs::remove_file(&path).map_err(JournalError::io(&path, "removing it"))?;
        done.removed += 1;
    }
    Ok(done)
}

fn is_due(dir: &Path, options: &JournalOptions, snapshot: u64, closed: &[u64]) -> Result<bool, JournalError> {
    let size = |path: &Path| fs::metadata(path).map(|m| m.len()).map_err(JournalError::io(path, "reading its size"));
    let mut bytes = 0;
    for &number in closed {
        bytes += size(&segment_path(dir, number))?;
    }
    let last = if snapshot > 0 { size(&snapshot_path(dir, snapshot))? } else { 0 };
    Ok(closed.len() >= MAX_CLOSED || bytes >= options.segment_size.max(last))
}

fn write_snapshot(dir: &Path, keys: &Keys, files: &Files, through: u64, now: UnixMillis) -> Result<u64, JournalError> {
    let mut state = State::load(dir, keys, files, through)?;
    let head = Head::create(keys, through);
    let mut out = head.bytes.to_vec();
    let mut sequence = 0;
    let next_call = state.next_call;
    frame::seal(&mut out, &head.key, sequence, FrameKind::NextCall, &next_call);
    let bindings = state.live_bindings(now).into_iter().map(JournalRecord::Bound);
    let guard = state.guard().into_iter().map(JournalRecord::Guard);
    let calls = state.open_calls.into_values().map(|cdr| JournalRecord::CallStarted(Box::new(cdr)));
    for record in bindings.chain(guard).chain(calls) {
        sequence += 1;
        frame::seal_record(&mut out, &head.key, sequence, &record);
    }
    let path = snapshot_path(dir, through);
    let fresh = path.with_extension("tmp");
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&out)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        sync_parent(&path)
    };
    write().map_err(JournalError::io(&path, "writing it"))?;
    Ok(sequence)
}
