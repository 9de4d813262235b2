//! Offer/answer (RFC 3264, RFC 6337) of a back-to-back call: the caller's leg and any number of callee legs. Pure code:
//! SDP in, SDP out, and the commands that make the packet path do what the SDP says. Called by the switch; what crosses
//! from leg to leg is an allow-list (docs/sdp-allow-list.md).

mod attributes;
mod error;
mod leg;
mod legs;
mod local;
mod policy;
mod remote;
mod sync;

use std::time::Instant;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::ChaCha20Rng;

pub use self::error::SdpReject;
use self::leg::{Exchange, Leg, Slot};
use self::legs::Legs;
use self::local::LocalMedia;
pub use self::policy::{LegPolicy, SrtpPolicy};
use self::remote::{MediaKind, RemoteMedia};
use self::sync::Relayed;
use crate::ports::PortPool;
use crate::sdp::{Direction, Sdp};
use crate::sound::VoiceCodec;
use crate::types::{Command, PortId, StreamId};

/// One leg of a bridge. Never reused within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegIx(pub u32);

/// What carries an answer, and so how binding it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerIn {
    /// A 1xx that is not sent reliably: a later answer to the same offer may differ.
    Provisional,
    /// A reliable 1xx (RFC 3262): this is the answer; later calls give the same one.
    Reliable,
    /// A 2xx, a PRACK or an ACK: this is the answer and the exchange is over.
    Final,
}

/// A stream and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stream {
    id: StreamId,
    port: PortId,
}

/// Who is heard by the peer that gets an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Talker {
    OtherSide,
    Ourselves,
}

/// How a sound of ours reaches a leg's peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ear {
    pub stream: StreamId,
    pub payload_type: u8,
    pub codec: VoiceCodec,
}

/// The offer/answer state of one call. The first leg added is the anchor (the caller); every other leg talks to it, one at
/// a time. Every stream's port goes back to the pool by `remove_leg` or `close`.
#[derive(Debug)]
pub struct Bridge {
    rng: ChaCha20Rng,
    legs: Legs,
    next_leg: u32,
    anchor: Option<LegIx>,
    /// The leg that talks to the anchor.
    selected: Option<LegIx>,
    /// The leg whose offer waits for an answer of ours.
    pending: Option<LegIx>,
    /// Counts exchanges; legs that took part in the same one go back together.
    serial: u64,
    relayed: Relayed,
    /// Streams that are not used any longer, until there is a pool to give their ports to.
    orphans: Vec<Stream>,
}

impl Bridge {
    /// A bridge without legs. The seed makes session ids and SRTP keys: 32 octets from a CSPRNG, never used twice.
    pub fn new(seed: [u8; 32]) -> Bridge {
        Bridge {
            rng: ChaCha20Rng::from_seed(seed),
            legs: Legs::default(),
            next_leg: 0,
            anchor: None,
            selected: None,
            pending: None,
            serial: 0,
            relayed: Relayed::default(),
            orphans: Vec::new(),
        }
    }

    /// A new leg; the first one is the anchor.
    pub fn add_leg(&mut self, policy: LegPolicy) -> LegIx {
        let ix = LegIx(self.next_leg);
        self.next_leg += 1;
        self.legs.push(ix, Leg::new(policy, &mut self.rng));
        self.anchor.get_or_insert(ix);
        ix
    }

    /// The leg is gone (refused, cancelled, hung up): its streams are closed and its ports released. Where it was the
    /// anchor, the leg that talked to it is the anchor from now on.
    pub fn remove_leg(&mut self, now: Instant, leg: LegIx, ports: &mut PortPool) {
        let Some(mut gone) = self.legs.remove(leg) else { return };
        self.orphans.extend(gone.take_streams());
        self.pending = self.pending.filter(|&pending| pending != leg);
        if self.anchor == Some(leg) {
            self.anchor = self.selected.take().or_else(|| self.legs.iter().next().map(|(ix, _)| ix));
        }
        if self.selected == Some(leg) || self.selected == self.anchor {
            self.selected = None;
        }
        if self.selected.is_none() {
            let described = |(ix, leg): &(LegIx, &Leg)| Some(*ix) != self.anchor && leg.has_described();
            self.selected = self.legs.iter().find(described).map(|(ix, _)| ix);
        }
        self.sync(now, ports);
    }

    /// The peer of that leg sent an offer.
    ///
    /// # Errors
    /// Says why it is refused; the state is as before.
    pub fn offer_received(&mut self, from: LegIx, sdp: &[u8]) -> Result<(), SdpReject> {
        let leg = self.legs.get(from).ok_or(SdpReject::UnknownLeg)?;
        let waits = |ix: LegIx| self.legs.get(ix).is_some_and(Leg::owes_answer);
        if !leg.is_free() || self.pending.is_some_and(|pending| pending != from && waits(pending)) {
            return Err(SdpReject::OfferPending);
        }
        let parsed = Sdp::parse(sdp).map_err(SdpReject::Malformed)?;
        let media = remote::read_offer(&parsed, &leg.policy);
        if let Some(reject) = remote::refusal(&media) {
            return Err(reject);
        }
        self.serial += 1;
        self.pending = Some(from);
        let leg = self.legs.get_mut(from).expect("the leg was found above");
        self.orphans.extend(leg.begin(self.serial, Exchange::OfferIn { sent: None }));
        leg.set_offer(media, sdp);
        Ok(())
    }

    /// Our offer to that leg: made from the other side's waiting offer or, where none waits, from what the other side
    /// described last (a re-offer of our own).
    ///
    /// # Errors
    /// Nothing that this leg may have is left, or no port is free; the state is as before.
    pub fn offer_for(&mut self, now: Instant, to: LegIx, ports: &mut PortPool) -> Result<Bytes, SdpReject> {
        let leg = self.legs.get(to).ok_or(SdpReject::UnknownLeg)?;
        if !leg.is_free() {
            return Err(SdpReject::OfferPending);
        }
        let source_ix = self.source_for(to).ok_or(SdpReject::NoSource)?;
        let source = self.legs.get(source_ix).filter(|source| source.has_described()).ok_or(SdpReject::NoSource)?;
        let media = offer_lines(leg, &source.slots)?;
        let kinds: Vec<Option<MediaKind>> = media.iter().map(|line| line.active.then_some(line.kind)).collect();

        let serial = match source.saved.as_ref().filter(|_| source.owes_answer()).map(|saved| saved.serial) {
            Some(serial) => {
                // The ports for the answer are got now: better no call than one that fails when it is answered.
                self.reserve(now, source_ix, &kinds, ports)?;
                serial
            }
            None => {
                self.serial += 1;
                self.serial
            }
        };
        let leg = self.legs.get_mut(to).expect("the leg was found above");
        self.orphans.extend(leg.begin(serial, Exchange::OfferOut { answered: false }));
        if let Err(reject) = self.reserve(now, to, &kinds, ports) {
            self.legs.get_mut(to).expect("the leg was found above").roll_back();
            return Err(reject);
        }
        let leg = self.legs.get_mut(to).expect("the leg was found above");
        leg.set_local(media, false, &mut self.rng);
        leg.slots.iter().for_each(|slot| self.relayed.expect_also(slot));
        let text = leg.write(leg.slots.len());
        self.flush(now, ports);
        Ok(text)
    }

    /// The peer of that leg answered our offer, by a 1xx, 2xx, PRACK or ACK. A later answer to the same offer may differ;
    /// one that comes when the exchange is over (a 2xx after a reliable 1xx and an UPDATE) is ignored.
    ///
    /// # Errors
    /// Says why it cannot be used; the state is as before.
    pub fn answer_received(
        &mut self,
        now: Instant,
        from: LegIx,
        sdp: &[u8],
        ports: &mut PortPool,
    ) -> Result<(), SdpReject> {
        let leg = self.legs.get_mut(from).ok_or(SdpReject::UnknownLeg)?;
        let Exchange::OfferOut { .. } = leg.exchange else {
            // RFC 3261 §13.2.1: what a 2xx repeats after the answer has come is ignored.
            return if leg.has_spoken() { Ok(()) } else { Err(SdpReject::NoOffer) };
        };
        let parsed = Sdp::parse(sdp).map_err(SdpReject::Malformed)?;
        let offer: Vec<&LocalMedia> = leg.slots.iter().map_while(|slot| slot.local.as_ref()).collect();
        let media = remote::fit_answer(&offer, remote::read(&parsed, &leg.policy), &leg.policy)?;
        leg.set_remote(media, sdp);
        leg.exchange = Exchange::OfferOut { answered: true };
        let serial = leg.saved.as_ref().map(|saved| saved.serial);
        let waiting = self.pending.and_then(|ix| self.legs.get(ix)).and_then(|leg| leg.saved.as_ref());
        if waiting.is_none_or(|saved| Some(saved.serial) != serial) {
            // An offer of our own: nobody else's exchange hangs on it.
            self.settle(serial);
        }
        if self.selected.is_none() && Some(from) != self.anchor {
            self.selected = Some(from);
        }
        self.sync(now, ports);
        Ok(())
    }

    /// Our answer to the offer that this leg's peer made, from what the other side described. When its exchange is over
    /// (answered reliably, and an UPDATE since) it is what we said last; the 2xx may as well go without (`owes_answer_to`).
    ///
    /// # Errors
    /// No offer waits, or nothing is left that both sides have; the state is as before.
    pub fn answer_for(
        &mut self,
        now: Instant,
        to: LegIx,
        carried: AnswerIn,
        ports: &mut PortPool,
    ) -> Result<Bytes, SdpReject> {
        self.answer(now, to, carried, ports, Talker::OtherSide)
    }

    /// Our answer where nobody but this system talks to the peer (tones, prompts): one line of audio, in the first codec of
    /// the offer that sounds can be played in. [`Bridge::ear`] says where they go.
    ///
    /// # Errors
    /// No offer waits, or it has none of those codecs; the state is as before.
    pub fn answer_ourselves(
        &mut self,
        now: Instant,
        to: LegIx,
        carried: AnswerIn,
        ports: &mut PortPool,
    ) -> Result<Bytes, SdpReject> {
        self.answer(now, to, carried, ports, Talker::Ourselves)
    }

    /// Where a sound of ours is heard by this leg's peer, and as what: its first line of audio with a codec that sounds can
    /// be played in. `None`: no such line is agreed on.
    pub fn ear(&self, leg: LegIx) -> Option<Ear> {
        let agreed = |slot: &Slot| {
            let (local, remote) = slot.agreed().filter(|(local, _)| local.kind == MediaKind::Audio)?;
            // RFC 3264 §6.1: we send with the numbers of the peer's SDP.
            let named = |wanted: &&attributes::Format| local.formats.iter().any(|it| it.codec == wanted.codec);
            let format = remote.formats.iter().filter(named).find(|format| is_voice(format))?;
            let codec = VoiceCodec::from_name(format.codec.name())?;
            Some(Ear { stream: slot.stream?.id, payload_type: format.payload_type, codec })
        };
        self.legs.get(leg)?.slots.iter().find_map(agreed)
    }

    fn answer(
        &mut self,
        now: Instant,
        to: LegIx,
        carried: AnswerIn,
        ports: &mut PortPool,
        talker: Talker,
    ) -> Result<Bytes, SdpReject> {
        let leg = self.legs.get_mut(to).ok_or(SdpReject::UnknownLeg)?;
        let Exchange::OfferIn { sent } = leg.exchange else {
            let is_over = leg.is_free() && leg.has_spoken();
            return if is_over { Ok(leg.write(leg.slots.len())) } else { Err(SdpReject::NoOffer) };
        };
        if sent != Some(AnswerIn::Reliable) {
            let leg = self.legs.get(to).expect("the leg was found above");
            let media = match talker {
                Talker::OtherSide => {
                    let source = self.source_for(to).and_then(|ix| self.legs.get(ix));
                    let source = source.filter(|source| source.has_described());
                    answer_lines(leg, &source.ok_or(SdpReject::NoSource)?.slots)?
                }
                Talker::Ourselves => answer_lines(leg, &own_slots(&leg.slots)?)?,
            };
            let kinds: Vec<Option<MediaKind>> = media.iter().map(|line| line.active.then_some(line.kind)).collect();
            if sent.is_none() {
                self.legs.get_mut(to).expect("the leg was found above").leave_busy_ports(ports);
            }
            if self.reserve(now, to, &kinds, ports).is_err() {
                self.legs.get_mut(to).expect("the leg was found above").return_to_busy_ports();
                self.reserve(now, to, &kinds, ports)?;
            }
            let leg = self.legs.get_mut(to).expect("the leg was found above");
            leg.set_local(media, true, &mut self.rng);
        }
        let leg = self.legs.get_mut(to).expect("the leg was found above");
        let text = leg.write(leg.offered_lines);
        if carried == AnswerIn::Final {
            leg.exchange = Exchange::Idle;
            let serial = leg.saved.as_ref().map(|saved| saved.serial);
            self.pending = self.pending.filter(|&pending| pending != to);
            self.settle(serial);
        } else if sent != Some(AnswerIn::Reliable) {
            leg.exchange = Exchange::OfferIn { sent: Some(carried) };
        }
        if self.selected.is_none() && Some(to) != self.anchor {
            self.selected = Some(to);
        }
        self.sync(now, ports);
        Ok(text)
    }

    /// Whether this peer's offer has no final answer yet: the 2xx, PRACK or ACK to it needs one.
    pub fn owes_answer_to(&self, leg: LegIx) -> bool {
        self.legs.get(leg).is_some_and(|leg| matches!(leg.exchange, Exchange::OfferIn { .. }))
    }

    /// `offer_received` from one leg and `offer_for` another in one step, for re-INVITE and UPDATE.
    ///
    /// # Errors
    /// As for both; all legs are as before, whichever of the two failed, and no `rollback` is wanted.
    pub fn pass_offer(
        &mut self,
        now: Instant,
        from: LegIx,
        sdp: &[u8],
        to: LegIx,
        ports: &mut PortPool,
    ) -> Result<Bytes, SdpReject> {
        self.offer_received(from, sdp)?;
        let offer = self.offer_for(now, to, ports);
        if offer.is_err() {
            self.rollback(now, ports);
        }
        offer
    }

    /// Whether the SDP is word for word the one that this peer sent last (a session refresh): it needs no exchange with
    /// the other side; `offer_received` and `answer_for` at once answer it.
    pub fn is_refresh(&self, from: LegIx, sdp: &[u8]) -> bool {
        self.legs.get(from).is_some_and(|leg| leg.has_received(sdp))
    }

    /// Our last SDP to that leg as an offer, for a session refresh by re-INVITE (RFC 4028 §7.4); its answer goes to
    /// `answer_received`. `None`: nothing is agreed yet, or an exchange is open.
    pub fn refresh_offer(&mut self, to: LegIx) -> Option<Bytes> {
        let leg = self.legs.get_mut(to).filter(|leg| leg.is_free() && leg.has_described())?;
        if !leg.slots.iter().all(|slot| slot.local.is_some()) {
            return None;
        }
        self.serial += 1;
        self.orphans.extend(leg.begin(self.serial, Exchange::OfferOut { answered: false }));
        Some(leg.write(leg.slots.len()))
    }

    /// The same where nobody but this system talks to the peer: whatever is on hold, both may speak.
    pub fn offer_ourselves(&mut self, to: LegIx) -> Option<Bytes> {
        self.refresh_offer(to)?;
        let leg = self.legs.get_mut(to)?;
        let on = leg.slots.iter_mut().filter_map(|slot| slot.local.as_mut()).filter(|local| local.active);
        on.for_each(|local| local.direction = Direction::SEND_RECV);
        Some(leg.write(leg.slots.len()))
    }

    /// The latest exchange failed (a re-INVITE or UPDATE got a failure): its legs are as before it. Not to be called for an
    /// offer that `offer_received` or `pass_offer` refused: that began no exchange.
    pub fn rollback(&mut self, now: Instant, ports: &mut PortPool) {
        self.rollback_exchange(now, self.serial, ports);
    }

    /// The exchange that this leg takes part in failed, be it the latest or not: refreshes of both sides run at the same
    /// time, and each fails by itself.
    pub fn rollback_leg(&mut self, now: Instant, leg: LegIx, ports: &mut PortPool) {
        if let Some(serial) = self.legs.get(leg).and_then(|leg| leg.saved.as_ref()).map(|saved| saved.serial) {
            self.rollback_exchange(now, serial, ports);
        }
    }

    fn rollback_exchange(&mut self, now: Instant, serial: u64, ports: &mut PortPool) {
        for leg in self.legs.values_mut() {
            if leg.saved.as_ref().is_some_and(|saved| saved.serial == serial) {
                self.orphans.extend(leg.roll_back());
            }
        }
        let waits = |ix: &LegIx| self.legs.get(*ix).is_some_and(Leg::owes_answer);
        self.pending = self.pending.filter(waits);
        self.sync(now, ports);
    }

    /// That leg talks to the anchor from now on. Without it the first leg that describes its media does.
    pub fn select(&mut self, winner: LegIx) {
        if Some(winner) != self.anchor && self.legs.contains(winner) {
            self.selected = Some(winner);
            self.connect();
        }
    }

    /// The leg that talks to the anchor.
    pub fn selected(&self) -> Option<LegIx> {
        self.selected
    }

    /// Whether the anchor was told something that does not fit the leg it talks to now (it got another fork's answer, which
    /// cannot be taken back): `offer_for` the anchor in a re-INVITE or UPDATE mends it.
    pub fn needs_reoffer(&self) -> bool {
        let Some((anchor, other)) = self.pair().filter(|(anchor, _)| anchor.is_free()) else { return false };
        anchor.slots.iter().enumerate().any(|(line, slot)| {
            let theirs = other.slots.get(line).and_then(Slot::agreed).map(|(_, remote)| remote);
            match (slot.agreed(), theirs) {
                (None, _) => false,
                (Some(_), None) => true,
                (Some((local, remote)), Some(theirs)) => {
                    let expected = leg::expected(local, remote);
                    let fits = |format: &&attributes::Format| expected.contains(format.payload_type);
                    let misses = |format: &attributes::Format| !theirs.formats.iter().any(|it| it.same(format));
                    let allowed = remote.direction.reversed();
                    local.direction.and(allowed) != theirs.direction.and(allowed)
                        || local.formats.iter().filter(fits).any(misses)
                }
            }
        })
    }

    /// Whether a side is on hold, or hears only: an audio line of it does not go both ways.
    pub fn is_one_way(&self) -> bool {
        let Some((anchor, other)) = self.pair() else { return false };
        let mut agreed = anchor.slots.iter().chain(&other.slots).filter_map(Slot::agreed);
        agreed.any(|(local, remote)| {
            local.kind == MediaKind::Audio && local.direction.and(remote.direction.reversed()) != Direction::SEND_RECV
        })
    }

    /// SRTP was offered to this leg and refused with 488: its offer is taken back, and the next `offer_for` it offers
    /// RTP/AVP. `false`, and nothing happens, where that makes no difference or the policy forbids it.
    pub fn fall_back_to_plain(&mut self, now: Instant, leg: LegIx, ports: &mut PortPool) -> bool {
        let Some(found) = self.legs.get_mut(leg) else { return false };
        let has_offered = found.exchange == Exchange::OfferOut { answered: false };
        let was_secure = found.slots.iter().any(|slot| slot.local.as_ref().is_some_and(|local| local.secure));
        if found.policy.srtp != SrtpPolicy::Offer || found.plain || !has_offered || !was_secure {
            return false;
        }
        found.plain = true;
        self.orphans.extend(found.roll_back());
        self.sync(now, ports);
        true
    }

    /// The leg's peer is reached otherwise or may do other things now; holds from the next exchange on.
    pub fn set_policy(&mut self, leg: LegIx, policy: LegPolicy) {
        if let Some(leg) = self.legs.get_mut(leg) {
            leg.policy = policy;
        }
    }

    /// From now on the leg's peer is proven, or is not: whether RTP may go to the address of its SDP before any came from
    /// there (CALL-5).
    pub fn trust(&mut self, now: Instant, leg: LegIx, trusted: bool, ports: &mut PortPool) {
        if let Some(leg) = self.legs.get_mut(leg) {
            leg.policy.trusted = trusted;
        }
        self.sync(now, ports);
    }

    /// The streams of a leg in the order of its m-lines.
    pub fn streams(&self, leg: LegIx) -> Vec<(StreamId, PortId)> {
        let slots = self.legs.get(leg).map_or(&[][..], |leg| &leg.slots);
        slots.iter().filter_map(|slot| slot.stream).map(|stream| (stream.id, stream.port)).collect()
    }

    /// The leg that a stream belongs to.
    pub fn leg_of(&self, stream: StreamId) -> Option<LegIx> {
        self.relayed.leg_of(stream)
    }

    /// The call is over: all streams are closed, all ports released.
    pub fn close(&mut self, now: Instant, ports: &mut PortPool) {
        let legs = std::mem::take(&mut self.legs);
        self.orphans.extend(legs.into_values().flat_map(|mut leg| leg.take_streams()));
        (self.anchor, self.selected, self.pending) = (None, None, None);
        self.sync(now, ports);
    }

    /// What the packet path has to be told next, in order.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.relayed.poll()
    }

    /// Whose description a leg's offer or answer is made from.
    fn source_for(&self, to: LegIx) -> Option<LegIx> {
        if Some(to) != self.anchor {
            return self.anchor;
        }
        let waits = |ix: &LegIx| self.legs.get(*ix).is_some_and(Leg::owes_answer);
        self.pending.filter(|ix| *ix != to && waits(ix)).or(self.selected)
    }

    fn pair(&self) -> Option<(&Leg, &Leg)> {
        Some((self.legs.get(self.anchor?)?, self.legs.get(self.selected?)?))
    }

    fn reserve(
        &mut self,
        now: Instant,
        leg: LegIx,
        kinds: &[Option<MediaKind>],
        ports: &mut PortPool,
    ) -> Result<(), SdpReject> {
        let found = self.legs.get_mut(leg).ok_or(SdpReject::UnknownLeg)?;
        let opened = found.reserve(now, kinds, ports)?;
        self.relayed.open(leg, &opened);
        Ok(())
    }

    /// An exchange is over for the legs that took part in it and do not wait for an answer.
    fn settle(&mut self, serial: Option<u64>) {
        for leg in self.legs.values_mut().filter(|leg| leg.is_settled()) {
            if leg.saved.as_ref().is_some_and(|saved| Some(saved.serial) == serial) {
                self.orphans.extend(leg.settle());
            }
        }
    }

    fn flush(&mut self, now: Instant, ports: &mut PortPool) {
        self.relayed.close(now, self.orphans.drain(..), ports);
    }

    fn sync(&mut self, now: Instant, ports: &mut PortPool) {
        self.flush(now, ports);
        for leg in self.legs.values().filter(|leg| leg.is_settled()) {
            self.relayed.configure(leg, ports);
        }
        self.connect();
    }

    fn connect(&mut self) {
        let ends = self.anchor.zip(self.selected);
        // Not `self.pair()`: the commands are borrowed mutably beside the legs.
        let pair = ends.and_then(|(anchor, other)| Some((self.legs.get(anchor)?, self.legs.get(other)?)));
        self.relayed.connect(pair);
    }
}

/// Our offer's lines: one per line that either side has ever had.
fn offer_lines(leg: &Leg, source: &[Slot]) -> Result<Vec<LocalMedia>, SdpReject> {
    let count = source.len().max(leg.slots.len());
    let mut lines = Vec::with_capacity(count);
    let mut reject = None;
    for line in 0..count {
        let before = leg.slots.get(line);
        let kind_before = before.and_then(|slot| slot.local.as_ref()).map_or(MediaKind::Audio, |local| local.kind);
        let theirs = source.get(line).and_then(|slot| slot.remote.as_ref());
        let Some(theirs) = theirs.filter(|theirs| theirs.active) else {
            lines.push(LocalMedia::unused(theirs.map_or(kind_before, |theirs| theirs.kind)));
            continue;
        };
        let protection = leg.protection(line);
        if protection.secure && !leg.policy.secure_signalling {
            return Err(SdpReject::SrtpNeedsTls);
        }
        let muxed = before.and_then(Slot::agreed).is_some_and(|(local, remote)| local.mux && remote.mux);
        let offer = LocalMedia::offer(theirs, &leg.policy, protection, theirs.mux || muxed);
        if offer.is_none() && (reject.is_none() || theirs.kind == MediaKind::Audio) {
            reject = Some((theirs.kind, SdpReject::NoCodec { media: theirs.kind.name() }));
        }
        lines.push(offer.unwrap_or_else(|| LocalMedia::unused(theirs.kind)));
    }
    let kinds: Vec<Option<MediaKind>> = lines.iter().map(|line| line.active.then_some(line.kind)).collect();
    for index in remote::too_many(kinds.iter().copied(), leg.policy.max_lines) {
        lines[index] = LocalMedia::unused(lines[index].kind);
    }
    check_something_left(&lines, reject)?;
    Ok(lines)
}

/// What this system would have described itself, to be heard by a peer with these slots.
///
/// # Errors
/// No line of audio has a codec that sounds can be played in.
fn own_slots(theirs: &[Slot]) -> Result<Vec<Slot>, SdpReject> {
    let mut found = false;
    let slots = theirs.iter().map(|slot| {
        let remote = slot.remote.clone().map(|remote| {
            let voice = remote.formats.iter().find(|format| is_voice(format)).cloned();
            match voice.filter(|_| !found && remote.active && remote.kind == MediaKind::Audio) {
                Some(voice) => {
                    found = true;
                    RemoteMedia { formats: vec![voice], direction: Direction::SEND_RECV, ..remote }
                }
                None => remote.turned_off(),
            }
        });
        Slot { remote, ..Slot::default() }
    });
    let slots = slots.collect();
    if found { Ok(slots) } else { Err(SdpReject::NoCodec { media: MediaKind::Audio.name() }) }
}

fn is_voice(format: &attributes::Format) -> bool {
    format.codec.channels() == 1 && VoiceCodec::from_name(format.codec.name()).is_some()
}

/// Our answer's lines: as many as the offer has.
fn answer_lines(leg: &Leg, source: &[Slot]) -> Result<Vec<LocalMedia>, SdpReject> {
    let mut lines = Vec::with_capacity(leg.offered_lines);
    let mut reject = None;
    for (line, slot) in leg.slots.iter().take(leg.offered_lines).enumerate() {
        let theirs = slot.remote.as_ref().expect("an offer put something into each of its lines");
        let source = source.get(line).and_then(|slot| slot.remote.as_ref());
        let answer = LocalMedia::answer(theirs, source, &leg.policy);
        let both = theirs.active && source.is_some_and(|source: &RemoteMedia| source.active);
        if both && !answer.active && (reject.is_none() || theirs.kind == MediaKind::Audio) {
            reject = Some((theirs.kind, SdpReject::NoCodec { media: theirs.kind.name() }));
        }
        lines.push(answer);
    }
    check_something_left(&lines, reject)?;
    Ok(lines)
}

/// A line that was lost for want of a codec is fatal where it was the last of its kind and audio, or the last of all.
fn check_something_left(lines: &[LocalMedia], lost: Option<(MediaKind, SdpReject)>) -> Result<(), SdpReject> {
    let Some((kind, reject)) = lost else { return Ok(()) };
    let is_left = |line: &LocalMedia| line.active && (kind != MediaKind::Audio || line.kind == MediaKind::Audio);
    if lines.iter().any(is_left) { Ok(()) } else { Err(reject) }
}

/// What a fuzzer feeds: the octets are an offer, parted by an octet of 0xFF from an answer and a second offer.
#[doc(hidden)]
pub fn fuzz_bridge(now: Instant, data: &[u8]) {
    let mut parts = data.split(|&byte| byte == 0xFF);
    let mut next = || parts.next().unwrap_or(b"");
    let mut ports = PortPool::new(crate::ports::PortPoolConfig::default());
    let mut bridge = Bridge::new([1; 32]);
    let address = std::net::IpAddr::from([198, 51, 100, 1]);
    let policy = LegPolicy { secure_signalling: true, ..LegPolicy::new(address, address) };
    let (a, b) = (bridge.add_leg(policy.clone()), bridge.add_leg(policy));
    for (from, to, carried) in [(a, b, AnswerIn::Provisional), (b, a, AnswerIn::Final), (a, b, AnswerIn::Final)] {
        let _ = bridge.offer_received(from, next());
        if let Ok(offer) = bridge.offer_for(now, to, &mut ports) {
            let echo = if data.len().is_multiple_of(2) { &offer[..] } else { next() };
            let _ = bridge.answer_received(now, to, echo, &mut ports);
        }
        if let Ok(answer) = bridge.answer_for(now, from, carried, &mut ports) {
            Sdp::parse(&answer).expect("we write what we can read");
        }
        if data.len().is_multiple_of(3) {
            bridge.rollback(now, &mut ports);
        }
    }
    bridge.close(now, &mut ports);
    assert_eq!(ports.streams(), 0, "every port is free again");
}
