//! The background work: makes the journal durable, takes ended calls into the database, compacts. `Maintenance::tick`
//! is one round with the time passed in; `Maintenance::spawn` runs it in a thread of its own once a second.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use ringfort_switch::record::UnixMillis;

use crate::blacklist::BlacklistStore;
use crate::cdr::{CdrError, CdrStore, Ingested};
use crate::journal::{self, Compacted, Files, JournalError, JournalOptions, segment_path};
use crate::keys::{Keys, sync_parent};

/// One round's work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    pub ingested: Ingested,
    pub compacted: Compacted,
}

/// What the background thread works on.
#[derive(Debug)]
pub struct Maintenance {
    dir: PathBuf,
    keys: Arc<Keys>,
    cdrs: Arc<CdrStore>,
    blacklists: Arc<BlacklistStore>,
    options: JournalOptions,
    /// The newest segment that was flushed to disk, and its size then.
    synced: (u64, u64),
}

impl Maintenance {
    pub fn new(
        dir: PathBuf,
        keys: Arc<Keys>,
        cdrs: Arc<CdrStore>,
        blacklists: Arc<BlacklistStore>,
        options: JournalOptions,
    ) -> Self {
        Self { dir, keys, cdrs, blacklists, options, synced: (0, 0) }
    }

    /// One round: what was flushed before it is on the disk for good after it, and ended calls are in the database.
    ///
    /// # Errors
    /// The first thing that failed. The next round tries everything again; nothing is lost in between.
    pub fn tick(&mut self, now: UnixMillis) -> Result<Tick, CdrError> {
        self.sync()?;
        let ingested = self.cdrs.ingest(&self.dir)?;
        self.blacklists.purge(now.0 / 1000)?;
        let below = self.cdrs.position()?.segment;
        let compacted = journal::compact(&self.dir, &self.keys, &self.options, now, below)?;
        Ok(Tick { ingested, compacted })
    }

    /// Flushes every segment that has grown since the last round to the disk.
    fn sync(&mut self) -> Result<(), JournalError> {
        let (from, _) = self.synced;
        for number in Files::list(&self.dir)?.segments.into_iter().filter(|&n| n >= from) {
            let path = segment_path(&self.dir, number);
            let failed = JournalError::io(&path, "making it durable");
            let size = fs::metadata(&path).map_err(&failed)?.len();
            if (number, size) == self.synced {
                continue;
            }
            File::open(&path).and_then(|f| f.sync_data()).map_err(&failed)?;
            if number > self.synced.0 {
                sync_parent(&path).map_err(&failed)?;
            }
            self.synced = (number, size);
        }
        Ok(())
    }

    /// Runs [`Maintenance::tick`] every `interval` in a thread of its own until the handle is dropped, and once more
    /// then. A round that fails is logged and counted; the next one tries again.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn spawn(mut self, interval: Duration) -> std::io::Result<MaintenanceHandle> {
        let (sender, receiver) = mpsc::sync_channel::<SyncSender<()>>(16);
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || {
            loop {
                let asked = receiver.recv_timeout(interval);
                match self.tick(unix_now()) {
                    Ok(tick) if tick.ingested.damaged > 0 => {
                        tracing::warn!(bytes = tick.ingested.damaged, "damaged bytes in the journal were passed over");
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "background work of the store failed; it is tried again"),
                }
                match asked {
                    // Whoever asked may have stopped waiting.
                    Ok(done) => drop(done.try_send(())),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        })?;
        Ok(MaintenanceHandle { sender: Some(sender), thread: Some(thread) })
    }
}

/// The background thread. Dropped, it does a last round and ends.
#[derive(Debug)]
pub struct MaintenanceHandle {
    sender: Option<SyncSender<SyncSender<()>>>,
    thread: Option<JoinHandle<()>>,
}

impl MaintenanceHandle {
    /// Does a round now and waits for its end (at most `patience`): afterwards the database has every call whose end
    /// was flushed before. `false` where it took longer.
    pub fn catch_up(&self, patience: Duration) -> bool {
        let (done, wait) = mpsc::sync_channel(1);
        let Some(sender) = &self.sender else { return false };
        sender.try_send(done).is_ok() && wait.recv_timeout(patience).is_ok()
    }
}

impl Drop for MaintenanceHandle {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the edge: this thread has no other source of time")]
fn unix_now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
