//! The writing end of the journal, used by the shard thread: `append` encodes and encrypts into a buffer, `flush` is
//! one `write`. What was flushed survives the death of the process; the background thread makes it survive the power's.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::LessSafeKey;
use ringfort_switch::record::{JournalRecord, UnixMillis};
use thiserror::Error;

use super::frame;
use super::segment::{Files, HEAD, Head, segment_path};
use super::state::State;
use super::{JournalError, JournalOptions, Recovered, crashed};
use crate::keys::{Keys, sync_parent};

/// The disk has taken nothing for so long that the buffer is full: the record is lost.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "journal: expected the disk to take records, but {buffered} bytes wait already; the record is lost. Free space on the disk"
)]
pub struct Overflow {
    pub buffered: usize,
}

/// Appends records. Never waits for a disk to be durable; dropped, it writes what is left in its buffer.
pub struct JournalWriter {
    dir: PathBuf,
    keys: Arc<Keys>,
    options: JournalOptions,
    segment: Segment,
    buffer: Vec<u8>,
    /// How much of the buffer's front the disk has taken already (a write that was cut short goes on there).
    taken: usize,
}

struct Segment {
    number: u64,
    file: File,
    key: LessSafeKey,
    /// Frames appended so far: the next one's nonce.
    sequence: u64,
    /// Bytes on disk.
    written: u64,
}

/// A journal as the last process left it: needs nothing of the database, so that both are read side by side.
pub(crate) struct JournalRead {
    files: Files,
    state: State,
}

impl JournalRead {
    /// Reads what is in `dir`, which is made where it is not there.
    pub(crate) fn read(dir: &Path, keys: &Keys) -> Result<Self, JournalError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(JournalError::io(dir, "making it"))?;
        let files = Files::list(dir)?;
        let state = State::load(dir, keys, &files, u64::MAX)?;
        Ok(Self { files, state })
    }
}

impl std::fmt::Debug for JournalWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JournalWriter({}, {} bytes waiting)", self.path().display(), self.pending())
    }
}

impl JournalWriter {
    /// Reads what is in `dir` (made with mode 0700 where it is not there), begins a new segment and writes the end of
    /// each call that was cut off (`EndCause::Crash`, ended at `now`). When it returns these are on the disk for good; an
    /// empty segment is after the first round of `maintenance`, as all that is appended later.
    /// `after` is the segment that the database has read up to (`CdrStore::position`): numbers go on behind it even
    /// where the files are gone.
    ///
    /// # Errors
    /// [`JournalError`]: files that cannot be read or written, another key, a newer format.
    pub fn open(
        dir: &Path,
        keys: Arc<Keys>,
        options: JournalOptions,
        after: u64,
        now: UnixMillis,
    ) -> Result<(Self, Recovered), JournalError> {
        let read = JournalRead::read(dir, &keys)?;
        Self::begin(dir, keys, options, read, after, now)
    }

    /// The second half of [`JournalWriter::open`], with what the first half has read.
    pub(crate) fn begin(
        dir: &Path,
        keys: Arc<Keys>,
        options: JournalOptions,
        read: JournalRead,
        after: u64,
        now: UnixMillis,
    ) -> Result<(Self, Recovered), JournalError> {
        let JournalRead { files, mut state } = read;
        let last = files.segments.last().copied().unwrap_or(0).max(files.snapshot_through()).max(after);
        let segment = Segment::create(dir, &keys, last + 1)?;
        let mut writer = Self { dir: dir.to_owned(), keys, options, segment, buffer: Vec::new(), taken: 0 };
        let calls = std::mem::take(&mut state.open_calls);
        let mut recovered = state.recovered(now);
        recovered.crashed = calls.keys().copied().collect();
        for cdr in calls.into_values() {
            writer.seal(&crashed(cdr, now));
        }
        if !recovered.crashed.is_empty() {
            writer.flush()?;
            let path = writer.path();
            let sync = || writer.segment.file.sync_all().and_then(|()| sync_parent(&path));
            sync().map_err(JournalError::io(&path, "making it durable"))?;
        }
        Ok((writer, recovered))
    }

    /// Encodes and encrypts a record into the buffer; no system call. About a microsecond.
    ///
    /// # Errors
    /// [`Overflow`]: the disk has refused writes for so long that the buffer is full.
    pub fn append(&mut self, record: &JournalRecord) -> Result<(), Overflow> {
        if self.pending() >= self.options.buffer_limit {
            return Err(Overflow { buffered: self.pending() });
        }
        self.seal(record);
        Ok(())
    }

    /// Bytes that wait for [`JournalWriter::flush`].
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.taken
    }

    /// Hands the buffer to the kernel by one `write`: call it once a loop pass, before what was sent in that pass.
    /// Begins the next segment where this one is full.
    ///
    /// # Errors
    /// The kernel's word. Nothing is lost by it: the rest stays in the buffer and the next call goes on there.
    pub fn flush(&mut self) -> Result<(), JournalError> {
        if self.pending() == 0 {
            return Ok(());
        }
        while self.pending() > 0 {
            match self.segment.file.write(&self.buffer[self.taken..]) {
                Ok(0) => return Err(JournalError::io(&self.path(), "writing it")(io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    self.taken += n;
                    self.segment.written += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(JournalError::io(&self.path(), "writing it")(e)),
            }
        }
        self.buffer.clear();
        self.taken = 0;
        if self.segment.written >= self.options.segment_size {
            self.segment = Segment::create(&self.dir, &self.keys, self.segment.number + 1)?;
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        segment_path(&self.dir, self.segment.number)
    }

    fn seal(&mut self, record: &JournalRecord) {
        frame::seal_record(&mut self.buffer, &self.segment.key, self.segment.sequence, record);
        self.segment.sequence += 1;
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!(%error, lost_bytes = self.pending(), "the journal could not be written at the end");
        }
    }
}

impl Segment {
    /// Makes the file with its head written. A file that could not get its head is removed again: the number is free.
    fn create(dir: &Path, keys: &Keys, number: u64) -> Result<Self, JournalError> {
        let path = segment_path(dir, number);
        let head = Head::create(keys, number);
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(JournalError::io(&path, "making it"))?;
        if let Err(e) = file.write_all(&head.bytes) {
            // The disk is full: whether the removal works too does not matter, an empty file is no damage.
            let _ = fs::remove_file(&path);
            return Err(JournalError::io(&path, "writing its head")(e));
        }
        Ok(Self { number, file, key: head.key, sequence: 0, written: HEAD as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal;
    use ringfort_switch::model::ExtensionId;

    fn record(n: u32) -> JournalRecord {
        JournalRecord::Unbound { extension: ExtensionId(n), key: "k".repeat(100) }
    }

    #[test]
    fn a_full_disk_keeps_records_in_memory_until_it_takes_them_or_the_buffer_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Arc::new(Keys::derive(&[7; 32]));
        let options = JournalOptions { buffer_limit: 1000, ..JournalOptions::default() };
        let now = UnixMillis(1);
        let (mut writer, _) = JournalWriter::open(dir.path(), Arc::clone(&keys), options, 0, now).unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let disk = std::mem::replace(&mut writer.segment.file, full);
        let mut kept = 0;
        while writer.append(&record(kept)).is_ok() {
            kept += 1;
            let error = writer.flush().unwrap_err();
            assert!(matches!(&error, JournalError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull));
        }
        assert!((5..15).contains(&kept) && writer.pending() >= 1000);
        writer.segment.file = disk;
        writer.flush().unwrap();
        writer.append(&record(99)).unwrap();
        drop(writer);
        let found = journal::inspect(dir.path(), &keys, now).unwrap();
        assert_eq!((found.records, found.damaged), (u64::from(kept) + 1, 0));
    }

    #[test]
    fn a_write_that_was_cut_short_goes_on_where_it_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Arc::new(Keys::derive(&[7; 32]));
        let now = UnixMillis(1);
        let (mut writer, _) =
            JournalWriter::open(dir.path(), Arc::clone(&keys), JournalOptions::default(), 0, now).unwrap();
        writer.append(&record(1)).unwrap();
        writer.append(&record(2)).unwrap();
        // The kernel took 150 bytes and then had no more room.
        writer.segment.file.write_all(&writer.buffer[..150]).unwrap();
        writer.taken = 150;
        writer.flush().unwrap();
        drop(writer);
        let found = journal::inspect(dir.path(), &keys, now).unwrap();
        assert_eq!((found.records, found.damaged), (2, 0));
    }
}
