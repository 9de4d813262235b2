//! Files of the journal: their names and heads, and reading one from front to back past whatever is damaged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::LessSafeKey;
use ringfort_switch::record::{Binding, CallTrunks, Cdr, JournalRecord};
use serde::de::DeserializeOwned;

use super::JournalError;
use super::frame::{Frame, FrameKind};
use crate::keys::{self, FINGERPRINT_LEN, Keys};

/// Bytes before the first frame.
pub(crate) const HEAD: usize = 64;
const MAGIC: [u8; 8] = *b"RFJOURNL";
const VERSION: u16 = 1;

/// The head of a file: magic, version, key fingerprint, number, salt, CRC. It has a key of its own by its salt.
pub(crate) struct Head {
    pub(crate) bytes: [u8; HEAD],
    pub(crate) key: LessSafeKey,
}

impl Head {
    /// A head with a fresh salt.
    pub(crate) fn create(keys: &Keys, number: u64) -> Self {
        let mut salt = [0; 32];
        keys::random(&mut salt);
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..18].copy_from_slice(&keys.fingerprint());
        bytes[18..26].copy_from_slice(&number.to_le_bytes());
        bytes[26..58].copy_from_slice(&salt);
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        Self { bytes, key: keys.segment(&salt) }
    }

    /// `None`: the file was cut short before its head was whole, or its head is damaged.
    fn read(path: &Path, keys: &Keys, data: &[u8]) -> Result<Option<LessSafeKey>, JournalError> {
        let Some(head) = data.get(..HEAD) else { return Ok(None) };
        if head[..8] != MAGIC || crc32c::crc32c(&head[..60]).to_le_bytes() != head[60..] {
            return Ok(None);
        }
        let found = u16::from_le_bytes([head[8], head[9]]);
        if found > VERSION {
            return Err(JournalError::Newer { path: path.to_owned(), found, known: VERSION });
        }
        if head[10..10 + FINGERPRINT_LEN] != keys.fingerprint() {
            return Err(JournalError::OtherKey { path: path.to_owned() });
        }
        let salt: [u8; 32] = head[26..58].try_into().expect("32 bytes");
        Ok(Some(keys.segment(&salt)))
    }
}

/// The files that are there, lowest number first.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) segments: Vec<u64>,
    pub(crate) snapshots: Vec<u64>,
}

impl Files {
    /// Lists `dir`; a folder that is not there has no files. Names that are not ours are left alone.
    pub(crate) fn list(dir: &Path) -> Result<Self, JournalError> {
        let mut files = Self::default();
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(files),
            Err(e) => return Err(JournalError::io(dir, "listing it")(e)),
        };
        for entry in entries {
            let name = entry.map_err(JournalError::io(dir, "listing it"))?.file_name();
            let Some(stem) = name.to_str().and_then(|n| n.strip_suffix(".rfj")) else { continue };
            if let Some(number) = stem.strip_prefix("segment-").and_then(|n| n.parse().ok()) {
                files.segments.push(number);
            } else if let Some(number) = stem.strip_prefix("snapshot-").and_then(|n| n.parse().ok()) {
                files.snapshots.push(number);
            }
        }
        files.segments.sort_unstable();
        files.snapshots.sort_unstable();
        Ok(files)
    }

    /// The highest segment that the newest snapshot speaks for; 0 where there is none.
    pub(crate) fn snapshot_through(&self) -> u64 {
        self.snapshots.last().copied().unwrap_or(0)
    }
}

pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("segment-{number:010}.rfj"))
}

pub(crate) fn snapshot_path(dir: &Path, through: u64) -> PathBuf {
    dir.join(format!("snapshot-{through:010}.rfj"))
}

/// What comes next in a file.
#[derive(Debug)]
pub(crate) enum Step {
    /// A whole frame of this kind; [`SegmentReader::open`] reads it.
    Frame(FrameKind),
    /// A frame of a later version with nothing to read for us; passed over and counted as damage.
    Unknown,
    /// The end, or a frame that is not wholly written yet.
    End,
}

/// Reads one file that has been read into memory.
pub(crate) struct SegmentReader {
    data: Vec<u8>,
    key: Option<LessSafeKey>,
    at: usize,
    frame: Option<Frame>,
    /// Bytes passed over so far.
    pub(crate) damaged: u64,
}

impl SegmentReader {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The file system's word, another key, a newer format.
    pub(crate) fn read(path: &Path, keys: &Keys) -> Result<Self, JournalError> {
        let data = fs::read(path).map_err(JournalError::io(path, "reading it"))?;
        Self::new(path, keys, data)
    }

    fn new(path: &Path, keys: &Keys, data: Vec<u8>) -> Result<Self, JournalError> {
        let key = Head::read(path, keys, &data)?;
        let damaged = if key.is_none() && data.len() >= HEAD { data.len() as u64 } else { 0 };
        Ok(Self { data, key, at: HEAD, frame: None, damaged })
    }

    /// Goes on from a byte offset that an earlier reader's [`SegmentReader::position`] gave.
    pub(crate) fn seek(&mut self, position: u64) {
        self.at = usize::try_from(position).unwrap_or(usize::MAX).max(HEAD);
    }

    /// Bytes in memory.
    pub(crate) fn len(&self) -> usize {
        self.data.len()
    }

    /// Behind the last frame that was stepped over.
    pub(crate) fn position(&self) -> u64 {
        self.at as u64
    }

    /// Goes to the next frame. Damage in the middle is passed over to the next whole frame; what is left behind the
    /// last whole frame is a write that was cut short (or is still under way) and no damage.
    pub(crate) fn step(&mut self) -> Step {
        self.frame = None;
        if self.key.is_none() {
            return Step::End;
        }
        let frame = match Frame::find(&self.data, self.at) {
            Some(frame) => frame,
            None => match Frame::find_after(&self.data, self.at) {
                Some(frame) => frame,
                None => return Step::End,
            },
        };
        self.damaged += (frame.start - self.at) as u64;
        self.at = frame.end;
        self.frame = Some(frame);
        match frame.kind {
            Some(kind) if frame.is_known() => Step::Frame(kind),
            _ => {
                self.damaged += frame.len();
                Step::Unknown
            }
        }
    }

    /// Reads the record of the frame last stepped to, which is of that kind; `None` as for [`Self::open`].
    pub(crate) fn open_record(&mut self, kind: FrameKind) -> Option<JournalRecord> {
        match kind {
            FrameKind::CallEndedOutside => {
                let (mut cdr, trunks) = self.open::<(Cdr, CallTrunks)>()?;
                cdr.trunks = trunks;
                Some(JournalRecord::CallEnded(Box::new(cdr)))
            }
            FrameKind::CallEndedMore | FrameKind::CallStartedMore => {
                let (mut cdr, trunks, more) = self.open::<(Cdr, CallTrunks, Vec<u8>)>()?;
                // What cannot be read of it costs no call its record.
                (cdr.trunks, cdr.more) = (trunks, serde_json::from_slice(&more).unwrap_or_default());
                let cdr = Box::new(cdr);
                Some(match kind {
                    FrameKind::CallStartedMore => JournalRecord::CallStarted(cdr),
                    _ => JournalRecord::CallEnded(cdr),
                })
            }
            FrameKind::BoundInstance => {
                let (mut binding, epoch) = self.open::<(Binding, u32)>()?;
                binding.gruu_epoch = epoch;
                Some(JournalRecord::Bound(binding))
            }
            FrameKind::BoundProven => {
                let (mut binding, epoch, credentials) = self.open::<(Binding, u32, u64)>()?;
                (binding.gruu_epoch, binding.credentials) = (epoch, credentials);
                Some(JournalRecord::Bound(binding))
            }
            FrameKind::Spent => self.open().map(JournalRecord::Spent),
            FrameKind::Blacklist => self.open().map(JournalRecord::Blacklist),
            FrameKind::Bound
            | FrameKind::Unbound
            | FrameKind::CallStarted
            | FrameKind::CallEnded
            | FrameKind::CallQuality
            | FrameKind::NextCall
            | FrameKind::Guard => self.open(),
        }
    }

    /// Reads the record of the frame last stepped to. `None`: its CRC is right but it does not decrypt or decode,
    /// which is damage and counted.
    pub(crate) fn open<T: DeserializeOwned>(&mut self) -> Option<T> {
        let (frame, key) = (self.frame.take()?, self.key.as_ref()?);
        let value = frame.open(&mut self.data, key).ok();
        if value.is_none() {
            self.damaged += frame.len();
        }
        value
    }
}
