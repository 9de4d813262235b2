//! The journal: an append-only log of registrations and calls in segment files, written by the shard thread with one
//! `write` a loop pass and read by the background thread (`maintenance`) and at start. Every record is encrypted.
//!
//! ```text
//! journal/segment-0000000007.rfj    numbered, never written again after a restart or when it is full
//! journal/snapshot-0000000005.rfj   all that segments up to 5 still say: live bindings, calls in progress
//! ```

mod compact;
mod frame;
mod segment;
mod state;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

use ringfort_switch::model::CallId;
use ringfort_switch::record::{Binding, BlacklistChange, Cdr, GuardRecord, JournalRecord, UnixMillis};
use thiserror::Error;

use crate::keys::Keys;

pub use compact::{Compacted, compact};
pub use writer::{JournalWriter, Overflow};

pub(crate) use frame::FrameKind;
pub(crate) use segment::{Files, SegmentReader, Step, segment_path};
pub(crate) use writer::JournalRead;

/// Sizes of the journal.
#[derive(Clone, Copy, Debug)]
pub struct JournalOptions {
    /// Bytes after which a new segment is begun. Also how much may lie unread by compaction before it is worth its
    /// while (or the size of the last snapshot, if that is more), so that a start reads a bounded number of bytes.
    pub segment_size: u64,
    /// Bytes that may wait in memory while the disk takes none; more records are refused (and counted).
    pub buffer_limit: usize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { segment_size: 4 << 20, buffer_limit: 16 << 20 }
    }
}

/// Why the journal cannot be read or written. `OtherKey` and `Newer` are the operator's, the rest the machine's.
#[derive(Debug, Error)]
pub enum JournalError {
    #[error("journal {path}: {doing} failed: {source}")]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
    #[error(
        "journal {path}: expected the key file it was written with, got another one; put the right ringfort.key back \
         from your backup"
    )]
    OtherKey { path: PathBuf },
    #[error(
        "journal {path}: expected format version {known} or older, got {found}: it was written by a newer ringfort; \
         run that version"
    )]
    Newer { path: PathBuf, found: u16, known: u16 },
}

impl JournalError {
    pub(crate) fn io(path: &Path, doing: &'static str) -> impl Fn(io::Error) -> JournalError {
        move |source| JournalError::Io { path: path.to_owned(), doing, source }
    }
}

/// What a journal said at start.
#[derive(Debug)]
pub struct Recovered {
    /// The latest of each extension and key that has not expired, in the order in which they first came.
    pub bindings: Vec<Binding>,
    /// Bans, those included that are over and remembered, and ranges that operators allowed.
    pub guard: Vec<GuardRecord>,
    /// Calls that ran when the process died; [`JournalWriter::open`] has written their end with `EndCause::Crash`.
    pub crashed: Vec<CallId>,
    /// One more than the highest call of the journal; the database may know a higher one.
    pub next_call: CallId,
    /// Entries of blacklists: what the database has, and then what the journal says, in order.
    pub blacklist: Vec<BlacklistChange>,
    /// Records read.
    pub records: u64,
    /// Bytes that were skipped because a record in them was damaged. A record cut short by a kill is not damage.
    pub damaged: u64,
}

/// Reads the journal in `dir` without changing anything: what [`JournalWriter::open`] would find at `now`.
///
/// # Errors
/// [`JournalError`]: files that cannot be read, another key, a newer format.
pub fn inspect(dir: &Path, keys: &Keys, now: UnixMillis) -> Result<Recovered, JournalError> {
    Ok(state::State::load(dir, keys, &Files::list(dir)?, u64::MAX)?.recovered(now))
}

/// The end that a call gets when the process died while it ran.
fn crashed(mut cdr: Cdr, now: UnixMillis) -> JournalRecord {
    cdr.ended = Some(now.max(cdr.started));
    cdr.cause = Some(ringfort_switch::record::EndCause::Crash);
    cdr.reason = "the system stopped while the call ran; the end is when it was noticed".to_owned();
    JournalRecord::CallEnded(Box::new(cdr))
}
