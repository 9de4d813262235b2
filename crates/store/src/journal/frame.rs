//! One record in a segment: a 20-byte header in the clear, then the record (postcard) sealed by AES-256-GCM.
//!
//! ```text
//! 0  magic "RF"   2 version u8   3 kind u8   4 length u32   8 sequence u64   16 crc32c u32   20 sealed record ‖ tag
//! ```
//! Little-endian. The sequence number counts from 0 in its segment and is the nonce under the segment's own key; the
//! CRC is over header and sealed bytes and tells a write cut short from a wrong key before anything is decrypted.

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use postcard::ser_flavors::Flavor;
use ringfort_switch::record::JournalRecord;
use serde::Serialize;

use crate::keys::Unsealed;

pub(crate) const HEADER: usize = 20;
const MAGIC: [u8; 2] = *b"RF";
const VERSION: u8 = 1;
const TAG: usize = 16;
/// A longer record is damage, not a record: the largest is a call record with the longest header lines in it.
const MAX_SEALED: usize = 4 << 20;

/// What a frame holds, readable without the key so that a reader can pass over what it does not need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Bound,
    Unbound,
    CallStarted,
    CallEnded,
    CallQuality,
    /// Snapshots only: the next call's number (u64).
    NextCall,
    /// As `CallEnded`, with the trunks that the call had to do with.
    CallEndedOutside,
    /// As `Bound`, with the epoch of the instance's temporary GRUUs.
    BoundInstance,
    /// As `BoundInstance`, with the fingerprint of the credentials that the phone has proven itself with.
    BoundProven,
    /// As `CallStarted`, with everything that `CallEndedMore` has.
    CallStartedMore,
    /// Bans and what operators allow.
    Guard,
    /// As `CallEndedOutside`, with everything else that is known of the call, as JSON.
    CallEndedMore,
    /// What a call has cost.
    Spent,
    /// Entries of blacklists.
    Blacklist,
}

impl FrameKind {
    const ALL: [Self; 14] = [
        Self::Bound,
        Self::Unbound,
        Self::CallStarted,
        Self::CallEnded,
        Self::CallQuality,
        Self::NextCall,
        Self::CallEndedOutside,
        Self::BoundInstance,
        Self::BoundProven,
        Self::CallStartedMore,
        Self::Guard,
        Self::CallEndedMore,
        Self::Spent,
        Self::Blacklist,
    ];

    pub(crate) fn of(record: &JournalRecord) -> Self {
        match record {
            JournalRecord::Bound(binding) if binding.credentials != 0 => Self::BoundProven,
            JournalRecord::Bound(binding) if binding.gruu_epoch != 0 => Self::BoundInstance,
            JournalRecord::Bound(_) => Self::Bound,
            JournalRecord::Unbound { .. } => Self::Unbound,
            JournalRecord::CallStarted(cdr) if !cdr.more.is_empty() || !cdr.trunks.is_empty() => Self::CallStartedMore,
            JournalRecord::CallStarted(_) => Self::CallStarted,
            JournalRecord::CallEnded(cdr) if !cdr.more.is_empty() => Self::CallEndedMore,
            JournalRecord::CallEnded(cdr) if !cdr.trunks.is_empty() => Self::CallEndedOutside,
            JournalRecord::CallEnded(_) => Self::CallEnded,
            JournalRecord::CallQuality { .. } => Self::CallQuality,
            JournalRecord::Guard(_) => Self::Guard,
            JournalRecord::Spent(_) => Self::Spent,
            JournalRecord::Blacklist(_) => Self::Blacklist,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Bound => 1,
            Self::Unbound => 2,
            Self::CallStarted => 3,
            Self::CallEnded => 4,
            Self::CallQuality => 5,
            Self::NextCall => 6,
            Self::CallEndedOutside => 7,
            Self::BoundInstance => 8,
            Self::Guard => 9,
            Self::CallEndedMore => 10,
            Self::Spent => 20,
            Self::Blacklist => 11,
            Self::BoundProven => 12,
            Self::CallStartedMore => 13,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.code() == code)
    }
}

/// Appends a record's frame to `out`.
pub(crate) fn seal_record(out: &mut Vec<u8>, key: &LessSafeKey, sequence: u64, record: &JournalRecord) {
    let kind = FrameKind::of(record);
    match record {
        JournalRecord::CallEnded(cdr) if kind == FrameKind::CallEndedOutside => {
            seal(out, key, sequence, kind, &(&**cdr, &cdr.trunks));
        }
        JournalRecord::CallEnded(cdr) | JournalRecord::CallStarted(cdr)
            if matches!(kind, FrameKind::CallEndedMore | FrameKind::CallStartedMore) =>
        {
            let more = serde_json::to_vec(&cdr.more).expect("strings and numbers are JSON");
            seal(out, key, sequence, kind, &(&**cdr, &cdr.trunks, more));
        }
        JournalRecord::Bound(binding) if kind == FrameKind::BoundInstance => {
            seal(out, key, sequence, kind, &(binding, binding.gruu_epoch));
        }
        JournalRecord::Bound(binding) if kind == FrameKind::BoundProven => {
            seal(out, key, sequence, kind, &(binding, binding.gruu_epoch, binding.credentials));
        }
        JournalRecord::Spent(spent) => seal(out, key, sequence, kind, spent),
        JournalRecord::Blacklist(changes) => seal(out, key, sequence, kind, changes),
        record => seal(out, key, sequence, kind, record),
    }
}

/// Appends one frame to `out`.
pub(crate) fn seal<T: Serialize>(out: &mut Vec<u8>, key: &LessSafeKey, sequence: u64, kind: FrameKind, value: &T) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, kind.code()]);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    postcard::serialize_with_flavor(value, Append(out)).expect("records hold no type that postcard cannot write");
    let header: [u8; 16] = sealed_header(out, start);
    let tag = key
        .seal_in_place_separate_tag(nonce(sequence), Aad::from(header), &mut out[start + HEADER..])
        .expect("AES-GCM seals anything shorter than 64 GiB");
    out.extend_from_slice(tag.as_ref());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header), &out[start + HEADER..]);
    out[start + 16..start + HEADER].copy_from_slice(&crc.to_le_bytes());
}

/// Writes the length (with the tag to come) and gives the authenticated part of the header.
fn sealed_header(out: &mut [u8], start: usize) -> [u8; 16] {
    let len = u32::try_from(out.len() - start - HEADER + TAG).expect("a record is shorter than 4 GiB");
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    out[start..start + 16].try_into().expect("16 bytes")
}

fn nonce(sequence: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..8].copy_from_slice(&sequence.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// A frame whose CRC is right; nothing in it has been decrypted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Option<FrameKind>,
    pub(crate) version: u8,
    sequence: u64,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Frame {
    /// The frame at `at`: `None` where the bytes there are no whole frame with a right CRC.
    pub(crate) fn find(data: &[u8], at: usize) -> Option<Self> {
        let header = data.get(at..at + HEADER)?;
        if header[..2] != MAGIC {
            return None;
        }
        let field = |range: std::ops::Range<usize>| &header[range];
        let len = u32::from_le_bytes(field(4..8).try_into().ok()?) as usize;
        if !(TAG..=MAX_SEALED).contains(&len) {
            return None;
        }
        let end = at + HEADER + len;
        let sealed = data.get(at + HEADER..end)?;
        let crc = u32::from_le_bytes(field(16..20).try_into().ok()?);
        if crc32c::crc32c_append(crc32c::crc32c(field(0..16)), sealed) != crc {
            return None;
        }
        Some(Self {
            kind: FrameKind::from_code(header[3]),
            version: header[2],
            sequence: u64::from_le_bytes(field(8..16).try_into().ok()?),
            start: at,
            end,
        })
    }

    /// The first whole frame after `at`: where reading goes on behind damage.
    pub(crate) fn find_after(data: &[u8], at: usize) -> Option<Self> {
        (at + 1..data.len()).find_map(|at| Self::find(data, at))
    }

    /// Bytes on disk.
    pub(crate) fn len(&self) -> u64 {
        (self.end - self.start) as u64
    }

    /// Whether this program knows how to read it.
    pub(crate) fn is_known(&self) -> bool {
        self.kind.is_some() && self.version == VERSION
    }

    /// Decrypts in place and reads the record.
    ///
    /// # Errors
    /// [`Unsealed`]: another key, or bytes that no writer of ours made.
    pub(crate) fn open<T: serde::de::DeserializeOwned>(
        &self,
        data: &mut [u8],
        key: &LessSafeKey,
    ) -> Result<T, Unsealed> {
        let header: [u8; 16] = data[self.start..self.start + 16].try_into().map_err(|_| Unsealed)?;
        let sealed = &mut data[self.start + HEADER..self.end];
        let plain = key.open_in_place(nonce(self.sequence), Aad::from(header), sealed).map_err(|_| Unsealed)?;
        postcard::from_bytes(plain).map_err(|_| Unsealed)
    }
}

/// Lets postcard write to the end of a buffer that has other frames in it.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
