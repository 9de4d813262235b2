//! One leg: its slots (one per m-line), where its offer/answer exchange stands, and the SDP text that goes to its peer.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hasher};
use std::time::Instant;

use bytes::Bytes;
use rand::Rng;

use super::error::SdpReject;
use super::local::{LocalMedia, Protection};
use super::policy::{LegPolicy, SrtpPolicy};
use super::remote::{MediaKind, RemoteMedia};
use super::{AnswerIn, Stream};
use crate::ports::PortPool;
use crate::sdes::{self, SrtpKeys};
use crate::types::{PtSet, StreamId};

/// Where offer/answer with this peer stands (RFC 3264 §4; RFC 6337 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// Nothing is open.
    Idle,
    /// The peer offered. `sent`: the most binding answer so far.
    OfferIn { sent: Option<AnswerIn> },
    /// We offered. `answered`: at least once.
    OfferOut { answered: bool },
}

/// One m-line of a leg.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub stream: Option<Stream>,
    /// What the stream was made for.
    pub kind: Option<MediaKind>,
    /// Our keys for this stream, one per suite that was ever written.
    pub keys: Vec<SrtpKeys>,
    pub remote: Option<RemoteMedia>,
    pub local: Option<LocalMedia>,
    /// We answered last (and did not offer).
    pub answerer: bool,
}

impl Slot {
    /// Both sides have the line on and at least one payload type in common.
    pub fn agreed(&self) -> Option<(&LocalMedia, &RemoteMedia)> {
        let (local, remote) = (self.local.as_ref()?, self.remote.as_ref()?);
        let is_on = local.active && remote.active && self.stream.is_some();
        (is_on && !expected(local, remote).is_empty()).then_some((local, remote))
    }

    /// Makes what is missing of the keys that our line names.
    fn make_keys(&mut self, rng: &mut impl Rng) {
        for suite in self.local.iter().flat_map(LocalMedia::suites) {
            if !self.keys.iter().any(|keys| keys.suite == suite) {
                self.keys.push(sdes::generate_keys(suite, rng));
            }
        }
    }
}

/// Payload types that the peer may send: the numbers are ours, the codecs those that the peer also named (RFC 3264 §5.1,
/// §6.1: each side sends with the numbers of the other's SDP).
pub(super) fn expected(local: &LocalMedia, remote: &RemoteMedia) -> PtSet {
    local.formats.iter().filter(|format| remote.takes(&format.codec)).map(|format| format.payload_type).collect()
}

/// What a leg was before the exchange that is open.
#[derive(Debug)]
pub(super) struct Saved {
    /// Which exchange.
    pub serial: u64,
    pub slots: Vec<Slot>,
    received: Option<Fingerprint>,
}

/// Stands for a text that was sent or received. The text itself is not kept, because SRTP keys are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    hash: u64,
    length: usize,
}

impl Fingerprint {
    /// `key` is secret, so that a peer cannot make another text with the same fingerprint.
    fn of(text: &[u8], key: u64) -> Fingerprint {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(key);
        hasher.write(text);
        Fingerprint { hash: hasher.finish(), length: text.len() }
    }
}

#[derive(Debug)]
pub(super) struct Leg {
    pub policy: LegPolicy,
    /// SRTP was refused by the peer; offer plain RTP (policy `Offer` alone).
    pub plain: bool,
    pub exchange: Exchange,
    pub slots: Vec<Slot>,
    pub saved: Option<Saved>,
    /// The peer's SDP that was taken last.
    received: Option<Fingerprint>,
    /// M-lines of the peer's last offer: its answer has as many.
    pub offered_lines: usize,
    session_id: u64,
    version: u64,
    /// Our last SDP without its `o=` line.
    sent: Option<Fingerprint>,
    fingerprint_key: u64,
}

impl Leg {
    pub fn new(policy: LegPolicy, rng: &mut impl Rng) -> Leg {
        // 31 bits, not 0: some phones keep session ids and versions in a signed 32-bit integer.
        let session_id = u64::from(rng.next_u32() >> 1).max(1);
        Leg {
            policy,
            plain: false,
            exchange: Exchange::Idle,
            slots: Vec::new(),
            saved: None,
            received: None,
            offered_lines: 0,
            session_id,
            version: 0,
            sent: None,
            fingerprint_key: rng.next_u64(),
        }
    }

    /// Whether a new exchange may begin with this peer.
    pub fn is_free(&self) -> bool {
        match self.exchange {
            Exchange::Idle | Exchange::OfferOut { answered: true } => true,
            Exchange::OfferIn { sent } => matches!(sent, Some(AnswerIn::Reliable | AnswerIn::Final)),
            Exchange::OfferOut { answered: false } => false,
        }
    }

    /// Whether what the slots say is in force: no offer of either side is unanswered.
    pub fn is_settled(&self) -> bool {
        !matches!(self.exchange, Exchange::OfferIn { sent: None } | Exchange::OfferOut { answered: false })
    }

    /// Whether the peer waits for our answer.
    pub fn owes_answer(&self) -> bool {
        matches!(self.exchange, Exchange::OfferIn { sent: None | Some(AnswerIn::Provisional) })
    }

    /// Whether the peer has described its media and owes no answer.
    pub fn has_described(&self) -> bool {
        self.received.is_some() && self.exchange != Exchange::OfferOut { answered: false }
    }

    /// Whether an exchange with this peer was ever over: both sides have described their media.
    pub fn has_spoken(&self) -> bool {
        self.received.is_some() && self.sent.is_some()
    }

    /// Whether the peer's SDP that was taken last is this very text.
    pub fn has_received(&self, sdp: &[u8]) -> bool {
        self.received == Some(Fingerprint::of(sdp, self.fingerprint_key))
    }

    /// How our next offer of that line is protected: as it was agreed on, else as the policy says.
    pub fn protection(&self, line: usize) -> Protection {
        let agreed = self.slots.get(line).and_then(Slot::agreed);
        let (secure, keys) = match (self.policy.srtp, agreed) {
            (SrtpPolicy::Off, _) => (false, false),
            (SrtpPolicy::Require, _) => (true, true),
            (SrtpPolicy::Offer, Some((_, remote))) => (remote.secure, remote.crypto.is_some()),
            (SrtpPolicy::Offer, None) => {
                let both = self.policy.secure_signalling && !self.plain;
                (both, both)
            }
        };
        Protection { secure, keys }
    }

    /// Begins an exchange: from now on the leg can go back to what it is now. Gives the streams that only the exchange
    /// before could have gone back to.
    pub fn begin(&mut self, serial: u64, exchange: Exchange) -> Vec<Stream> {
        let orphans = self.forget_saved();
        self.saved = Some(Saved { serial, slots: self.slots.clone(), received: self.received });
        self.exchange = exchange;
        orphans
    }

    /// Goes back to what the leg was before the exchange; gives the streams that the exchange made.
    pub fn roll_back(&mut self) -> Vec<Stream> {
        let Some(saved) = self.saved.take() else { return Vec::new() };
        let made = std::mem::replace(&mut self.slots, saved.slots);
        self.received = saved.received;
        self.exchange = Exchange::Idle;
        made.into_iter().filter_map(|slot| slot.stream).filter(|stream| !self.holds(stream.id)).collect()
    }

    /// The exchange cannot fail any more; gives the streams that are not used any longer.
    pub fn settle(&mut self) -> Vec<Stream> {
        let mut unused = self.forget_saved();
        for slot in &mut self.slots {
            if slot.agreed().is_none() {
                unused.extend(slot.stream.take());
                slot.keys.clear();
            }
        }
        unused
    }

    /// All streams that the leg holds.
    pub fn take_streams(&mut self) -> Vec<Stream> {
        let mut streams = self.forget_saved();
        streams.extend(self.slots.iter_mut().filter_map(|slot| slot.stream.take()));
        streams
    }

    fn forget_saved(&mut self) -> Vec<Stream> {
        let slots = self.saved.take().map(|saved| saved.slots).unwrap_or_default();
        slots.into_iter().filter_map(|slot| slot.stream).filter(|stream| !self.holds(stream.id)).collect()
    }

    fn holds(&self, id: StreamId) -> bool {
        self.slots.iter().any(|slot| slot.stream.is_some_and(|stream| stream.id == id))
    }

    /// Puts what the peer said into the slots; lines that it no longer has are off.
    pub fn set_remote(&mut self, media: Vec<RemoteMedia>, sdp: &[u8]) {
        self.received = Some(Fingerprint::of(sdp, self.fingerprint_key));
        self.grow(media.len());
        let mut media = media.into_iter();
        for slot in &mut self.slots {
            slot.remote = match media.next() {
                Some(remote) => Some(remote),
                None => slot.remote.take().map(RemoteMedia::turned_off),
            };
        }
    }

    /// As `set_remote`, for an offer: a peer with new keys gets new ones of ours, because it may not know how far the old
    /// ones have come (RFC 4568 §7.1.4).
    pub fn set_offer(&mut self, media: Vec<RemoteMedia>, sdp: &[u8]) {
        for (slot, remote) in self.slots.iter_mut().zip(&media) {
            let before = slot.remote.as_ref().and_then(|before| before.crypto.as_ref());
            if before.zip(remote.crypto.as_ref()).is_some_and(|(before, now)| before.keys != now.keys) {
                slot.keys.clear();
            }
        }
        self.offered_lines = media.len();
        self.set_remote(media, sdp);
    }

    /// A peer that moved learns anew; where another stream is learning on the port, it gets another port (CALL-5).
    pub fn leave_busy_ports(&mut self, ports: &PortPool) {
        let saved = self.saved.as_ref().map_or(&[][..], |saved| &saved.slots);
        for (slot, before) in self.slots.iter_mut().zip(saved) {
            let address = |slot: &Slot| slot.remote.as_ref().and_then(|remote| remote.address);
            let moved = slot.stream.is_some() && address(before).is_some() && address(before) != address(slot);
            if moved && slot.stream == before.stream && slot.stream.is_some_and(|it| !ports.can_relearn(it.id)) {
                slot.stream = None;
            }
        }
    }

    /// Undoes `leave_busy_ports` where there is no other port: the packet path takes the very address of the SDP alone.
    pub fn return_to_busy_ports(&mut self) {
        let saved = self.saved.as_ref().map_or(&[][..], |saved| &saved.slots);
        for (slot, before) in self.slots.iter_mut().zip(saved) {
            slot.stream = slot.stream.or(before.stream);
        }
    }

    /// Gets a stream for each of those lines that has none of its kind, or none at all.
    ///
    /// # Errors
    /// No port is free; nothing has changed.
    pub fn reserve(
        &mut self,
        now: Instant,
        kinds: &[Option<MediaKind>],
        ports: &mut PortPool,
    ) -> Result<Vec<Stream>, SdpReject> {
        self.grow(kinds.len());
        let lacks =
            |slot: &Slot, kind: &Option<MediaKind>| kind.is_some() && (slot.stream.is_none() || slot.kind != *kind);
        let wanted = self.slots.iter().zip(kinds).filter(|(slot, kind)| lacks(slot, kind)).count();
        let opened = acquire(now, wanted, ports)?;
        let mut fresh = opened.iter().copied();
        for (slot, kind) in self.slots.iter_mut().zip(kinds) {
            if lacks(slot, kind) {
                slot.stream = fresh.next();
                slot.kind = *kind;
                slot.keys.clear();
            }
        }
        Ok(opened)
    }

    /// Puts our lines into the slots, after `reserve`, and makes the keys that they name.
    pub fn set_local(&mut self, media: Vec<LocalMedia>, answerer: bool, rng: &mut impl Rng) {
        self.grow(media.len());
        for (slot, line) in self.slots.iter_mut().zip(media) {
            slot.local = Some(line);
            slot.answerer = answerer;
            slot.make_keys(rng);
        }
    }

    fn grow(&mut self, lines: usize) {
        if self.slots.len() < lines {
            // One line in nearly every call: no room for lines that never come.
            self.slots.reserve_exact(lines - self.slots.len());
            self.slots.resize_with(lines, Slot::default);
        }
    }

    /// The SDP that says what the slots say. The version goes up where the text is not the one sent before.
    pub fn write(&mut self, lines: usize) -> Bytes {
        let address = self.policy.address;
        let family = if address.is_ipv4() { "IP4" } else { "IP6" };
        let mut tail = Vec::with_capacity(512);
        tail.extend_from_slice(format!("s=-\r\nc=IN {family} {address}\r\nt=0 0\r\n").as_bytes());
        for slot in self.slots.iter().take(lines) {
            if let Some(local) = &slot.local {
                local.write(slot.stream.map(|stream| stream.port), &slot.keys, &mut tail);
            }
        }
        let fingerprint = Some(Fingerprint::of(&tail, self.fingerprint_key));
        if fingerprint != self.sent {
            self.version += 1;
            self.sent = fingerprint;
        }
        let mut text = String::with_capacity(96);
        let (session_id, version) = (self.session_id, self.version);
        write!(text, "v=0\r\no=- {session_id} {version} IN {family} {address}\r\n").expect("a String takes everything");
        let mut text = text.into_bytes();
        text.extend_from_slice(&tail);
        text.into()
    }
}

/// That many streams with a port each, or none.
fn acquire(now: Instant, count: usize, ports: &mut PortPool) -> Result<Vec<Stream>, SdpReject> {
    let mut streams: Vec<Stream> = Vec::with_capacity(count);
    while streams.len() < count {
        let id = ports.next_stream();
        let Some(port) = ports.acquire(now, id) else {
            streams.iter().for_each(|stream| ports.release(now, stream.id));
            return Err(SdpReject::NoPorts);
        };
        streams.push(Stream { id, port });
    }
    Ok(streams)
}
