//! What the offer/answer machine ([`crate::bridge`]), the packet path and their callers share: ids, stream
//! configuration, commands to the packet path and events from it. Plain data, no behaviour beyond its own invariants.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroize;

use crate::sound::{Sound, VoiceCodec};

/// One side (leg) of one m-line. Never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream-{}", self.0)
    }
}

/// A UDP port pair: RTP on this (even) port number, RTCP on the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u16);

impl PortId {
    /// The UDP port number for RTP.
    pub fn rtp(self) -> u16 {
        self.0
    }

    /// The UDP port number for RTCP where it is not multiplexed (RFC 3550 §11).
    pub fn rtcp(self) -> u16 {
        self.0 | 1
    }
}

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of RTP payload types (0–127).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PtSet(pub u128);

impl PtSet {
    /// No payload type.
    pub const EMPTY: PtSet = PtSet(0);

    /// Adds a payload type; numbers above 127 are no payload types and are ignored.
    pub fn insert(&mut self, payload_type: u8) {
        if payload_type < 128 {
            self.0 |= 1 << payload_type;
        }
    }

    /// Whether the payload type is in the set.
    pub fn contains(self, payload_type: u8) -> bool {
        payload_type < 128 && self.0 >> payload_type & 1 == 1
    }

    /// Whether nothing is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The payload types in rising order.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..128u8).filter(move |&pt| self.contains(pt))
    }
}

impl FromIterator<u8> for PtSet {
    fn from_iter<I: IntoIterator<Item = u8>>(iter: I) -> Self {
        let mut set = PtSet::EMPTY;
        iter.into_iter().for_each(|pt| set.insert(pt));
        set
    }
}

impl fmt::Debug for PtSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// SRTP crypto suites that can be agreed by SDES (RFC 4568 §6.2, RFC 6188 §5, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CryptoSuite {
    /// AEAD_AES_256_GCM (RFC 7714)
    AeadAes256Gcm,
    /// AEAD_AES_128_GCM (RFC 7714)
    AeadAes128Gcm,
    /// AES_256_CM_HMAC_SHA1_80 (RFC 6188)
    Aes256CmHmacSha1_80,
    /// AES_256_CM_HMAC_SHA1_32 (RFC 6188)
    Aes256CmHmacSha1_32,
    /// AES_CM_128_HMAC_SHA1_80 (RFC 4568)
    AesCm128HmacSha1_80,
    /// AES_CM_128_HMAC_SHA1_32 (RFC 4568)
    AesCm128HmacSha1_32,
}

impl CryptoSuite {
    /// All suites, strongest first.
    pub const ALL: [CryptoSuite; 6] = [
        CryptoSuite::AeadAes256Gcm,
        CryptoSuite::AeadAes128Gcm,
        CryptoSuite::Aes256CmHmacSha1_80,
        CryptoSuite::Aes256CmHmacSha1_32,
        CryptoSuite::AesCm128HmacSha1_80,
        CryptoSuite::AesCm128HmacSha1_32,
    ];

    /// The name in `a=crypto`.
    pub fn name(self) -> &'static str {
        match self {
            CryptoSuite::AeadAes256Gcm => "AEAD_AES_256_GCM",
            CryptoSuite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            CryptoSuite::Aes256CmHmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            CryptoSuite::Aes256CmHmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            CryptoSuite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            CryptoSuite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// The suite of that name, in any case (the grammar of RFC 4568 §9.2 has upper-case names; some phones do not).
    pub fn from_name(name: &str) -> Option<CryptoSuite> {
        Self::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Length of the master key, octets.
    pub fn key_len(self) -> usize {
        match self {
            CryptoSuite::AeadAes256Gcm | CryptoSuite::Aes256CmHmacSha1_80 | CryptoSuite::Aes256CmHmacSha1_32 => 32,
            CryptoSuite::AeadAes128Gcm | CryptoSuite::AesCm128HmacSha1_80 | CryptoSuite::AesCm128HmacSha1_32 => 16,
        }
    }

    /// Length of the master salt, octets: 14 for counter mode (RFC 3711 §8.2), 12 for GCM (RFC 7714 §12).
    pub fn salt_len(self) -> usize {
        match self {
            CryptoSuite::AeadAes256Gcm | CryptoSuite::AeadAes128Gcm => 12,
            CryptoSuite::Aes256CmHmacSha1_80
            | CryptoSuite::Aes256CmHmacSha1_32
            | CryptoSuite::AesCm128HmacSha1_80
            | CryptoSuite::AesCm128HmacSha1_32 => 14,
        }
    }
}

impl fmt::Display for CryptoSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A master key identifier: stands in each packet of its key and tells a receiver with several keys which one it is
/// (RFC 3711 §3.1, RFC 4568 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mki {
    value: u64,
    length: u8,
}

impl Mki {
    /// Octets that an identifier of ours may have. RFC 4568 allows 128; phones write 1 or 4.
    pub const LONGEST: usize = 8;

    /// `None` where the value is 0, does not fit in that many octets, or there are more than [`Mki::LONGEST`].
    pub fn new(value: u64, length: usize) -> Option<Mki> {
        let fits = (1..=Mki::LONGEST).contains(&length) && (length == 8 || value >> (8 * length) == 0);
        (fits && value != 0).then_some(Mki { value, length: length as u8 })
    }

    /// The octets as they stand in a packet, in the last places.
    pub fn octets(&self) -> [u8; Mki::LONGEST] {
        self.value.to_be_bytes()
    }

    /// How many octets it has.
    #[allow(clippy::len_without_is_empty, reason = "it has one octet at least")]
    pub fn len(&self) -> usize {
        usize::from(self.length)
    }
}

impl fmt::Display for Mki {
    /// `1:4`, as `a=crypto` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.value, self.length)
    }
}

/// One direction's SRTP master key and salt. Shown by suite alone; overwritten when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKeys {
    pub suite: CryptoSuite,
    /// Master key; the first [`CryptoSuite::key_len`] octets count, the rest is zero.
    pub key: [u8; 32],
    /// Master salt; the first [`CryptoSuite::salt_len`] octets count, the rest is zero.
    pub salt: [u8; 14],
    /// Stands in each packet of the key.
    pub mki: Option<Mki>,
}

impl SrtpKeys {
    /// The master key in the length of the suite.
    pub fn master_key(&self) -> &[u8] {
        &self.key[..self.suite.key_len()]
    }

    /// Whether both make the same session keys: the identifier has no part in those.
    pub fn same_key(&self, other: &SrtpKeys) -> bool {
        self.suite == other.suite
            && self.master_key() == other.master_key()
            && self.master_salt() == other.master_salt()
    }

    /// The master salt in the length of the suite.
    pub fn master_salt(&self) -> &[u8] {
        &self.salt[..self.suite.salt_len()]
    }
}

impl fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpKeys").field("suite", &self.suite).field("key", &"***").finish()
    }
}

impl Drop for SrtpKeys {
    fn drop(&mut self) {
        self.key.zeroize();
        self.salt.zeroize();
    }
}

/// The main codec of a stream as far as the quality model (ITU-T G.107/G.113) needs to know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CodecHint {
    /// G.711 A-law or µ-law.
    #[default]
    G711,
    G722,
    G729,
    Opus,
    Gsm,
    Ilbc,
    G726,
    Amr,
    Speex,
    /// Some audio codec without known impairment values.
    OtherAudio,
    Video,
    /// Real-time text (RFC 4103).
    Text,
    /// Anything else that is no sound.
    Other,
}

impl CodecHint {
    /// Sound, which has a MOS.
    pub fn is_audio(self) -> bool {
        !matches!(self, CodecHint::Video | CodecHint::Text | CodecHint::Other)
    }

    /// The media type of SDP's m-line.
    pub fn media(self) -> &'static str {
        match self {
            CodecHint::Video => "video",
            CodecHint::Text => "text",
            CodecHint::Other => "application",
            _ => "audio",
        }
    }
}

/// How the packet path treats one stream. All of it comes from offer/answer and the leg's policy.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamConfig {
    /// Where the peer's SDP wants RTP. `None`: not known yet, or on hold by `c=0.0.0.0`.
    pub remote: Option<SocketAddr>,
    /// Where the peer's SDP wants RTCP (RFC 3605 or the next port); with `rtcp_mux` the same as `remote`.
    pub remote_rtcp: Option<SocketAddr>,
    /// RTP and RTCP on one port (RFC 5761).
    pub rtcp_mux: bool,
    /// The address the leg's signalling comes from: learning prefers it beside `remote`.
    pub signalling: Option<IpAddr>,
    /// Payload types that the peer may send to us.
    pub payload_types: PtSet,
    /// RTP clock rate of the main codec, Hz.
    pub clock_rate: u32,
    pub codec: CodecHint,
    /// Keys of what the peer sends. `None`: plain RTP.
    pub rx_keys: Option<SrtpKeys>,
    /// Keys of what we send to the peer. `None`: plain RTP.
    pub tx_keys: Option<SrtpKeys>,
    /// Direction: we may send RTP to this peer.
    pub sends: bool,
    /// Direction: we take RTP from this peer.
    pub receives: bool,
    /// We may send to the SDP's address before anything came from the peer (CALL-5: not to an unproven guest).
    pub send_unproven: bool,
    /// RTP header extensions and padding pass between it and its partner; one of the two is enough.
    pub pass_extensions: bool,
}

/// One playing of a sound. Never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlayId(pub u64);

/// A sound for a stream's peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Playback {
    pub id: PlayId,
    /// As it was agreed for the codec.
    pub payload_type: u8,
    pub codec: VoiceCodec,
    pub sound: Arc<Sound>,
}

/// One recording. Never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u64);

/// How what comes from a stream's peer is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording {
    pub id: RecordId,
    /// As the peer sends the codec; what comes as anything else (RFC 4733 events) is silence.
    pub payload_type: u8,
    pub codec: VoiceCodec,
    /// It ends when nothing was heard for so long.
    pub quiet: Duration,
    /// It ends when it is so long.
    pub longest: Duration,
}

/// Why a recording is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordEnd {
    /// Nothing was heard for `Recording::quiet`.
    Quiet,
    /// It has `Recording::longest`.
    Longest,
    /// It was told to, or the stream was closed.
    Stopped,
}

/// A part of a recording, right behind the one before.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    pub id: RecordId,
    /// 16 kHz; else 8 kHz.
    pub wide: bool,
    pub samples: Vec<i16>,
    /// Set on the last one.
    pub last: Option<Recorded>,
}

/// A whole recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub end: RecordEnd,
    /// From its beginning to the end of what was last heard in it; zero: it is silent.
    pub heard: Duration,
}

/// What the packet path is told. Commands of one stream are to be applied in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// A new stream on that port; nothing flows before `Configure` and `Connect`.
    Open { id: StreamId, port: PortId },
    /// New settings. `relearn`: the remote address changed by offer/answer, so learning starts anew.
    Configure { id: StreamId, config: Box<StreamConfig>, relearn: bool },
    /// What comes from one goes to the other. A stream that was connected elsewhere is disconnected from there.
    Connect { a: StreamId, b: StreamId },
    /// The stream and its partner no longer exchange packets.
    Disconnect { id: StreamId },
    /// The stream ends; `Event::Closed` follows.
    Close { id: StreamId },
    /// Plays a sound to the stream's peer, instead of what its partner sends and of what was played before; `Event::Played`
    /// follows when it is over.
    Play { id: StreamId, playback: Box<Playback> },
    /// Ends what is played; no event follows.
    StopPlaying { id: StreamId },
    /// Records what comes from the stream's peer, beside what becomes of it otherwise. Pieces are taken by
    /// [`Relay::poll_piece`](crate::relay::Relay::poll_piece); one recording of a stream at a time.
    Record { id: StreamId, recording: Recording },
    /// Ends a recording; no event follows, only the last piece.
    StopRecording { id: StreamId },
    /// Asks for the figures of a live stream; `Event::Report` follows.
    Report { id: StreamId },
}

/// What the packet path tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The peer's address is known and fixed until offer/answer changes it.
    Learned { id: StreamId, remote: SocketAddr },
    /// The stream was closed; its figures.
    Closed { id: StreamId, report: Box<StreamReport> },
    /// Nothing came for that long although the direction says that something should.
    Silent { id: StreamId, for_: Duration },
    /// Media comes again after `Silent`.
    Resumed { id: StreamId },
    /// The sound is over, and the partner is heard again.
    Played { id: StreamId, play: PlayId },
    /// A recording has come to its end by itself; it has its last piece.
    Recorded { id: StreamId, record: RecordId, end: RecordEnd },
    /// The figures so far, as `Command::Report` asked.
    Report { id: StreamId, report: Box<StreamReport> },
    /// Another stream is still learning its remote on that port (CALL-5: one at a time). This one takes packets from
    /// the very address of its SDP alone until the other has learned or is closed.
    PortBusy { id: StreamId, port: PortId },
    /// The stream's port could not be opened: nothing will ever flow. The stream itself stays until `Command::Close`.
    PortFailed { id: StreamId, port: PortId },
}

/// Why a packet was dropped (CALL-5: what fails is counted).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// Nobody on this port has that remote and nobody is waiting to learn one.
    NoStream,
    /// Not RTP or RTCP, too short, or lengths in it that do not add up.
    Malformed,
    /// RTP or RTCP of a version other than 2.
    Version,
    /// A payload type that was not negotiated.
    PayloadType,
    /// Not the address that was learned.
    Source,
    /// One of the first packets of an address that is not proven yet.
    Learning,
    /// SSRC changed too often or belongs to somebody else.
    Ssrc,
    /// Sequence number not plausible.
    Sequence,
    /// SRTP authentication failed.
    Authentication,
    /// SRTP replay.
    Replay,
    /// The direction does not allow it (hold).
    Direction,
    /// No partner is connected, or its address is not known.
    NoPartner,
    /// More than the stream may send.
    Rate,
}

impl DropReason {
    /// Number of reasons.
    pub const COUNT: usize = 13;

    /// All reasons, in the order of [`StreamReport::drops`].
    pub const ALL: [DropReason; Self::COUNT] = [
        DropReason::NoStream,
        DropReason::Malformed,
        DropReason::Version,
        DropReason::PayloadType,
        DropReason::Source,
        DropReason::Learning,
        DropReason::Ssrc,
        DropReason::Sequence,
        DropReason::Authentication,
        DropReason::Replay,
        DropReason::Direction,
        DropReason::NoPartner,
        DropReason::Rate,
    ];

    /// A short stable word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            DropReason::NoStream => "no_stream",
            DropReason::Malformed => "malformed",
            DropReason::Version => "version",
            DropReason::PayloadType => "payload_type",
            DropReason::Source => "source",
            DropReason::Learning => "learning",
            DropReason::Ssrc => "ssrc",
            DropReason::Sequence => "sequence",
            DropReason::Authentication => "authentication",
            DropReason::Replay => "replay",
            DropReason::Direction => "direction",
            DropReason::NoPartner => "no_partner",
            DropReason::Rate => "rate",
        }
    }
}

/// One direction of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DirectionReport {
    pub packets: u64,
    /// RTP payload octets.
    pub bytes: u64,
    /// Packets missing by sequence number (negative sums of duplicates count as 0).
    pub lost: u64,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
    /// Round trip by RTCP, where measured.
    pub rtt: Option<Duration>,
    /// Mean opinion score by the E-model (ITU-T G.107), 1.0–4.5, where there was audio.
    pub mos: Option<f32>,
}

/// What one stream did in its life.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamReport {
    /// The address that was learned.
    pub remote: Option<SocketAddr>,
    /// When the first and the last accepted RTP packet came.
    pub first_packet: Option<Instant>,
    pub last_packet: Option<Instant>,
    /// From the peer to us.
    pub received: DirectionReport,
    /// From us to the peer (loss and jitter as the peer's RTCP reports them).
    pub sent: DirectionReport,
    /// Dropped packets by reason, indexed by `DropReason as usize`.
    pub drops: [u64; DropReason::COUNT],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_type_set_holds_0_to_127_only() {
        let set: PtSet = [0u8, 127, 128, 255].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 127]);
        assert!(!set.contains(128));
    }

    #[test]
    fn keys_never_show_in_debug() {
        let keys = SrtpKeys { suite: CryptoSuite::AesCm128HmacSha1_80, key: [0xAB; 32], salt: [0xCD; 14], mki: None };
        let shown = format!("{keys:?}");
        assert!(!shown.contains("171") && !shown.contains("205") && shown.contains("AesCm128HmacSha1_80"), "{shown}");
    }

    #[test]
    fn drop_reasons_index_their_counter() {
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
