//! The data folder: its files' names, and the lock that lets one process at a time use it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why the data folder cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    #[error("data folder {path} is in use by process {pid}; stop that one first, or name another folder with --data")]
    InUse { path: PathBuf, pid: String },
    #[error("data folder {path}: {doing} failed: {source}")]
    Io { path: PathBuf, doing: &'static str, source: io::Error },
}

/// An open data folder. It is this process's until the value is dropped; the kernel lets go of it after a kill.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder (mode 0700) where there is none, and takes its lock.
    ///
    /// # Errors
    /// [`DataDirError`]: another process has it, or the file system's word.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let io = |doing| move |source| DataDirError::Io { path: path.to_owned(), doing, source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("making it"))?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("ringfort.lock"))
            .map_err(io("opening its lock file"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                lock.read_to_string(&mut pid).map_err(io("reading its lock file"))?;
                return Err(DataDirError::InUse { path: path.to_owned(), pid: pid.trim().to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(io("locking it")(source)),
        }
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(io("writing its lock file"))?;
        writeln!(lock, "{}", std::process::id()).map_err(io("writing its lock file"))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// 32 random bytes, mode 0600. Without it nothing here can be read: it belongs into a backup of its own.
    pub fn key_file(&self) -> PathBuf {
        self.path.join("ringfort.key")
    }

    pub fn database(&self) -> PathBuf {
        self.path.join("ringfort.db")
    }

    /// The folder of the journal's segments and snapshots.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// The folder of messages that callers left.
    pub fn voicemail(&self) -> PathBuf {
        self.path.join("voicemail")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_folder_belongs_to_one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        DataDir::open(&path).unwrap();
    }
}
