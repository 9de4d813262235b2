//! A call in which the system itself is the other side: a tone or a prompt before a refusal (early media), or a call that
//! is answered, told something and hung up. It is a `Call` with one leg, so that CANCEL, BYE, limits, records and
//! `ctl calls` treat it as any other. No RTP goes to an address that nobody has proven (CALL-5).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfort_guard::{Admitted, Offence, SourceKey};
use ringfort_media::bridge::{AnswerIn, Bridge, LegIx};
use ringfort_media::sound::Sound;
use ringfort_media::types::{self as media, PlayId, Playback, RecordId, StreamId};
use ringfort_sip::endpoint::{Response, ServerTx};
use ringfort_sip::flow::Flow;
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_sip::write::{Body, Headers};
use rustc_hash::FxHashMap;

use super::arrival::media_addresses;
use super::setup::{CallerSide, Heard, Refusal, session_description, warning};
use super::{CALLER, Call, LegState, Phase};
use crate::crossing;
use crate::io::{Level, Output};
use crate::model::{CallId, ExtensionId};
use crate::record::{Cdr, EndCause};
use crate::timers::Timer;
use crate::voicemail::MessageId;
use crate::wall::Proof;
use crate::{Switch, draw};

/// How long a sound waits for its hearer to be proven.
const PATIENCE: Duration = Duration::from_secs(5);
/// After the end of a sound, until it is taken for played although the packet path has not said so; of a recording, and of
/// whoever looks for a message, too.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// The whole of an announcement, where its plan says nothing else.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);

/// How a caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// 180 for so long (zero: not at all), then 183 with the sound, then the status of the verdict: costs nobody anything.
    Early { ring_for: Duration },
    /// 200, and when that is acknowledged the sound, then BYE.
    Answer,
}

/// What becomes of the call when the sound is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    End,
    /// What the caller says is a message.
    Record {
        mailbox: ExtensionId,
    },
    /// The next message of a mailbox is played: the newest, or the one before that.
    Messages {
        mailbox: ExtensionId,
        after: Option<MessageId>,
    },
}

/// What a caller is told.
#[derive(Debug)]
pub(crate) struct Announcement {
    pub manner: Manner,
    pub sound: Arc<Sound>,
    pub then: Then,
    /// Status and header fields of the final refusal (`Early`), or of the one that is sent at once where nothing can be
    /// played; rule and words for the record and the log. A status of 200 says that nothing is refused.
    pub verdict: Refusal,
    /// The whole of it.
    pub longest: Duration,
}

impl Announcement {
    /// A refusal that is heard before it is told.
    pub fn early(ring_for: Duration, sound: Sound, verdict: Refusal) -> Self {
        let manner = Manner::Early { ring_for };
        Self { manner, sound: Arc::new(sound), then: Then::End, verdict, longest: LONGEST }
    }

    /// An answer that is heard and hung up.
    pub fn answer(sound: Sound, verdict: Refusal) -> Self {
        Self { manner: Manner::Answer, sound: Arc::new(sound), then: Then::End, verdict, longest: LONGEST }
    }

    /// The caller is turned away, whatever he hears before.
    fn refuses(&self) -> bool {
        self.verdict.status != 200 && self.then == Then::End
    }
}

/// How far an announcement has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The caller hears a ringing tone of his own.
    Ringing,
    /// Media are agreed on; nothing is heard before the ACK, or before the caller is proven.
    Waiting,
    Playing(PlayId),
    /// What he says is recorded.
    Recording(RecordId),
    /// A message is looked for.
    Fetching,
}

/// What a call knows of its announcement.
#[derive(Debug)]
pub(crate) struct Announcing {
    plan: Announcement,
    source: SourceKey,
    stranger: bool,
    /// By which the INVITE came.
    flow: Flow,
    /// The call itself is an offence, and its source was not proven when it came: it counts when our tag comes back.
    unproven: Option<Offence>,
    stage: Stage,
    /// RTP may go where the SDP says: a phone of ours, a trunk that has proven itself, or an SDP that names the source of
    /// the signalling in a dialog that our tag has come back in.
    trusted: bool,
    /// All addresses of the caller's SDP are the source of his signalling.
    at_source: bool,
    /// His own RTP has come.
    learned: bool,
    /// When `Timer::Announce` is due.
    due: Option<Instant>,
    /// CSeq of a re-INVITE without SDP: its ACK brings the answer to our offer.
    owed: Option<u32>,
}

impl Announcing {
    /// Why a record of a call that was hung up says what it says.
    pub fn cause(&self) -> EndCause {
        if self.plan.refuses() { EndCause::Refused } else { EndCause::Normal }
    }

    pub(super) fn then(&self) -> Then {
        self.plan.then
    }

    pub(super) fn set_then(&mut self, then: Then) {
        self.plan.then = then;
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }
}

/// All announcements of a shard: how many, for whom.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    next_play: u64,
    by_source: FxHashMap<SourceKey, u32>,
    all: u32,
    strangers: u32,
}

impl Announcements {
    pub fn len(&self) -> usize {
        self.all as usize
    }

    /// Takes a place. Strangers have half of them at most, so that they leave some for those who are known.
    fn take(&mut self, source: SourceKey, stranger: bool, config: &crate::config::CallConfig) -> bool {
        let of_source = self.by_source.get(&source).copied().unwrap_or(0);
        let full = self.all >= config.max_announcements
            || stranger && self.strangers >= config.max_announcements / 2
            || of_source >= if stranger { config.announcements_per_stranger } else { config.announcements_per_source };
        if full {
            return false;
        }
        self.all += 1;
        self.strangers += u32::from(stranger);
        *self.by_source.entry(source).or_default() += 1;
        true
    }

    fn give_back(&mut self, source: SourceKey, stranger: bool) {
        self.all = self.all.saturating_sub(1);
        self.strangers = self.strangers.saturating_sub(u32::from(stranger));
        if let Some(count) = self.by_source.get_mut(&source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
    }

    fn play(&mut self) -> PlayId {
        self.next_play += 1;
        PlayId(self.next_play)
    }
}

impl Switch {
    /// Begins a call in which the system speaks and nobody else; the INVITE of `tx` is answered by it, in every case.
    /// `true`: it has begun. Where it cannot be (too many at once, no SDP, no codec of ours, no port), the plain status of
    /// the verdict goes out, as by `turn_away`, and the record says the rest.
    ///
    /// A stranger's wrong call (DOM-5) is told so, in place of `turn_away`:
    /// ```text
    /// let (admitted, ()) = door.admit(now, &mut Reach::Local)?;                   // the proof; the route was refused
    /// let side = self.arriving(tx, tenant, None, &caller, flow);                  // as for a good call
    /// let plan = Announcement::answer(Spoken::NoSuchUser.sound(), refusal);       // refusal: 404, context.public
    /// self.start_announcement(now, admitted, tx, cdr, side, plan, request, flow);
    /// ```
    /// Answered, because a stranger's phone sends no RTP before an answer, and is proven by its ACK at the earliest: early
    /// media would reach few. Who is a stranger is seen by the leg: neither extension nor trunk.
    #[allow(clippy::too_many_arguments, reason = "each is a different fact about one INVITE")]
    pub(super) fn start_announcement(
        &mut self,
        now: Instant,
        _admitted: Admitted,
        tx: ServerTx,
        mut cdr: Box<Cdr>,
        side: CallerSide,
        plan: Announcement,
        request: &Message,
        flow: &Flow,
    ) -> bool {
        let CallerSide { leg, policy, .. } = side;
        let stranger = leg.extension.is_none() && leg.trunk.is_none();
        let heard = if stranger { Heard::Once } else { Heard::Kept };
        let (source, trusted) = (SourceKey::from(flow.remote.ip()), policy.trusted);
        let mut bridge = Bridge::new(draw(&mut self.rng));
        bridge.add_leg(policy);
        let offer = session_description(request);
        let usable = offer.as_deref().is_some_and(|offer| bridge.offer_received(LegIx(0), offer).is_ok());
        // Ringing needs no media; all else does.
        let rings = matches!(plan.manner, Manner::Early { ring_for } if !ring_for.is_zero());
        if !usable && !rings {
            return self.cannot_announce(now, tx, cdr, plan, heard, request, flow, "no SDP that can be answered");
        }
        let line = match self.take_line(now, leg.trunk) {
            Ok(line) => line,
            Err(full) => {
                self.turn_away(now, tx, cdr, full, heard, request, flow);
                return false;
            }
        };
        if !self.announcements.take(source, stranger, &self.config.calls) {
            line.into_iter().for_each(|trunk| self.lines.give_back(trunk));
            self.counters.announcements_full += 1;
            return self.cannot_announce(now, tx, cdr, plan, heard, request, flow, "too many announcements at once");
        }
        if let Some(id) = line {
            self.trunks.count_call(id, false);
        }
        self.counters.announcements += 1;
        let refuses = plan.refuses();
        cdr.rule = Some(plan.verdict.rule.to_owned());
        let text = format!("{} to {}: {}", cdr.caller, cdr.callee, plan.verdict.text);
        if refuses {
            self.counters.calls_refused += 1;
            self.count_refusal(plan.verdict.rule);
        }
        let proof = heard.proof(flow);
        if let Some(offence) = plan.verdict.offence {
            self.offence(now, flow, offence, plan.verdict.rule, proof, request);
        }
        let (rule, longest, manner) = (plan.verdict.rule, plan.longest, plan.manner);
        let addresses = offer.as_deref().map(media_addresses).unwrap_or_default();
        let announcing = Announcing {
            source,
            stranger,
            flow: *flow,
            unproven: plan.verdict.offence.filter(|_| proof != Proof::Given),
            stage: Stage::Ringing,
            trusted,
            at_source: are_all(&addresses, flow.remote.ip()),
            learned: false,
            due: None,
            owed: None,
            plan,
        };
        let (id, tenant) = (cdr.call, leg.tenant);
        if let Then::Record { mailbox } = announcing.plan.then {
            self.mail.begin(id, mailbox);
        }
        let mut call = Call::begun(now, tx, cdr, leg, bridge, offer.is_some(), request);
        (call.line, call.announcing) = (line, Some(Box::new(announcing)));
        self.notice(Level::Info, Some(tenant), Some(id), rule, text.clone());
        self.call_begins(now, tx, call, longest, text);
        match manner {
            Manner::Early { ring_for } if rings => self.ring_first(now, id, ring_for),
            Manner::Early { .. } => self.open_early(now, id),
            Manner::Answer => self.answer_ourselves(now, id),
        }
        self.calls.contains_key(&id)
    }

    /// Nothing can be played: the plain status.
    #[allow(clippy::too_many_arguments, reason = "each is a different fact about one attempt")]
    fn cannot_announce(
        &mut self,
        now: Instant,
        tx: ServerTx,
        cdr: Box<Cdr>,
        plan: Announcement,
        heard: Heard,
        request: &Message,
        flow: &Flow,
        why: &str,
    ) -> bool {
        let mut verdict = plan.verdict;
        if verdict.status == 200 {
            verdict = Refusal::new(488, "media", format!("{}; {why}", verdict.text));
        } else {
            verdict.text = format!("{}; not announced: {why}", verdict.text);
        }
        self.turn_away(now, tx, cdr, verdict, heard, request, flow);
        false
    }

    fn ring_first(&mut self, now: Instant, id: CallId, ring_for: Duration) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        (call.ringing_told, call.progress_told) = (true, true);
        call.cdr.ringing = Some(self.clock.unix(now));
        self.tell_progress(now, id, Response::new(180));
        self.announce_at(id, now + ring_for);
    }

    /// 183 with our media: from now on the caller hears us as soon as he may.
    fn open_early(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let carried = if call.reliable_caller { AnswerIn::Reliable } else { AnswerIn::Provisional };
        let media = call.legs[CALLER].media;
        let ready = call.bridge.answer_ourselves(now, media, carried, &mut self.streams.ports);
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        call.progress_told = true;
        match ready {
            Ok(sdp) => {
                self.tell_progress(now, id, Response::new(183).body(Body::sdp(sdp)));
                self.await_proof(now, id);
            }
            Err(reject) => {
                self.notice(Level::Debug, None, Some(id), "media", format!("not announced: {reject}"));
                self.finish_announcement(now, id);
            }
        }
    }

    fn answer_ourselves(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let LegState::Asking(asked) = call.legs[CALLER].state else { return };
        let media = call.legs[CALLER].media;
        let ready = call.bridge.answer_ourselves(now, media, AnswerIn::Final, &mut self.streams.ports);
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        let sdp = match ready {
            Ok(sdp) => sdp,
            Err(reject) => {
                let why = format!("it cannot be answered: {reject}");
                let status = call.announcing.as_ref().map_or(488, |a| a.plan.verdict.status);
                let (status, words) =
                    if status == 200 { (reject.status(), warning(&reject)) } else { (status, Headers::default()) };
                return self.end_call(now, id, None, status, EndCause::Refused, &words, &why);
            }
        };
        call.phase = Phase::Announced;
        call.legs[CALLER].state = LegState::Up;
        call.answered_at = Some(now);
        call.cdr.answered = Some(self.clock.unix(now));
        call.cdr.status = 200;
        self.counters.calls_answered += 1;
        let _ = self.endpoint.respond(now, asked, Response::new(200).body(Body::sdp(sdp)));
        self.note_caller_dialog(id, asked);
        if let Some(announcing) = self.announcing(id) {
            announcing.stage = Stage::Waiting;
        }
    }

    fn tell_progress(&mut self, now: Instant, id: CallId, answer: Response) {
        let Some(call) = self.calls.get(&id) else { return };
        let LegState::Asking(asked) = call.legs[CALLER].state else { return };
        if call.reliable_caller {
            let _ = self.endpoint.respond_reliably(now, asked, answer);
        } else {
            let _ = self.endpoint.respond(now, asked, answer);
        }
        self.note_caller_dialog(id, asked);
    }

    pub(super) fn announcing(&mut self, id: CallId) -> Option<&mut Announcing> {
        self.calls.get_mut(&id)?.announcing.as_deref_mut()
    }

    pub(super) fn set_stage(&mut self, id: CallId, stage: Stage) {
        if let Some(announcing) = self.announcing(id) {
            announcing.stage = stage;
        }
    }

    pub(super) fn announce_at(&mut self, id: CallId, at: Instant) {
        let Some(announcing) = self.announcing(id) else { return };
        let before = announcing.due.replace(at);
        if let Some(before) = before {
            self.timers.clear(before, Timer::Announce(id));
        }
        self.timers.set(at, Timer::Announce(id));
    }

    /// Media are agreed on and may be sent: played at once where the caller is proven, else as soon as he is.
    fn await_proof(&mut self, now: Instant, id: CallId) {
        let Some(announcing) = self.announcing(id) else { return };
        announcing.stage = Stage::Waiting;
        self.announce_at(id, now + PATIENCE);
        self.play_if_proven(now, id);
    }

    fn play_if_proven(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(announcing) = call.announcing.as_deref() else { return };
        let acked = announcing.plan.manner != Manner::Answer || call.legs[CALLER].acked;
        if announcing.stage != Stage::Waiting || !acked || !(announcing.trusted || announcing.learned) {
            return;
        }
        let sound = announcing.plan.sound.clone();
        self.play_to_caller(now, id, sound);
    }

    pub(super) fn play_to_caller(&mut self, now: Instant, id: CallId, sound: Arc<Sound>) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(announcing) = call.announcing.as_deref() else { return };
        let Some(ear) = call.bridge.ear(call.legs[CALLER].media) else { return self.finish_announcement(now, id) };
        let length = sound.length().unwrap_or(announcing.plan.longest);
        let play = self.announcements.play();
        let playback = Playback { id: play, payload_type: ear.payload_type, codec: ear.codec, sound };
        self.set_stage(id, Stage::Playing(play));
        self.outputs.push_back(Output::Media(media::Command::Play { id: ear.stream, playback: Box::new(playback) }));
        self.announce_at(id, now + length + GRACE);
    }

    /// The caller's own RTP has come from somewhere: that is where he is.
    pub(crate) fn on_announcement_learned(&mut self, now: Instant, id: StreamId) {
        let Some(id) = self.streams.call_of(id) else { return };
        let Some(announcing) = self.announcing(id) else { return };
        announcing.learned = true;
        self.play_if_proven(now, id);
    }

    /// Our tag has come back (ACK, PRACK): who signals is where he says, and so are media that he wants there.
    pub(crate) fn on_announcement_proven(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(announcing) = call.announcing.as_deref_mut() else { return };
        if !announcing.trusted && announcing.at_source {
            announcing.trusted = true;
            let media = call.legs[CALLER].media;
            call.bridge.trust(now, media, true, &mut self.streams.ports);
            self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        }
        self.play_if_proven(now, id);
    }

    pub(crate) fn on_announcement_acked(&mut self, now: Instant, id: CallId, ack: &Message) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(announcing) = call.announcing.as_deref_mut() else { return };
        if announcing.owed == Some(ack.cseq().number) {
            announcing.owed = None;
            let (media, answer) = (call.legs[CALLER].media, session_description(ack).unwrap_or_default());
            let ready = call.bridge.answer_received(now, media, &answer, &mut self.streams.ports);
            self.streams.drain(id, &mut call.bridge, &mut self.outputs);
            if let Err(reject) = ready {
                let words = crossing::reason("SIP", 488, "No usable answer");
                let why = format!("the answer in the ACK cannot be used: {reject}");
                return self.end_call(now, id, None, 200, EndCause::Internal, &words, &why);
            }
            return;
        }
        let (announcing_offence, flow, rule) =
            (announcing.unproven.take(), announcing.flow, announcing.plan.verdict.rule);
        if announcing.stage == Stage::Waiting && announcing.due.is_none() {
            self.announce_at(id, now + PATIENCE);
        }
        if let Some(offence) = announcing_offence {
            self.offence(now, &flow, offence, rule, Proof::Given, ack);
        }
        self.on_announcement_proven(now, id);
    }

    /// Hold and the like: answered by ourselves. A stranger who moves is not trusted for what he was before.
    pub(crate) fn on_announcement_offer(
        &mut self,
        now: Instant,
        id: CallId,
        tx: ServerTx,
        request: &Message,
        method: Method<'_>,
    ) {
        let Some(call) = self.calls.get_mut(&id) else { return self.answer(now, tx, 481) };
        let media = call.legs[CALLER].media;
        let Some(announcing) = call.announcing.as_deref_mut() else { return self.answer(now, tx, 481) };
        let Some(sdp) = session_description(request) else {
            if !request.body().is_empty() || method == Method::Update {
                let mut headers = Headers::default();
                headers.push("Accept", "application/sdp");
                return self.answer_with(now, tx, 415, headers);
            }
            let Some(offer) = call.bridge.offer_ourselves(media) else { return self.answer(now, tx, 491) };
            announcing.owed = Some(request.cseq().number);
            self.streams.drain(id, &mut call.bridge, &mut self.outputs);
            let _ = self.endpoint.respond(now, tx, Response::new(200).body(Body::sdp(offer)));
            return;
        };
        let ready = call.bridge.offer_received(media, &sdp).and_then(|()| {
            let at_source = are_all(&media_addresses(&sdp), announcing.flow.remote.ip());
            if announcing.stranger && announcing.trusted && !at_source {
                announcing.trusted = false;
                call.bridge.trust(now, media, false, &mut self.streams.ports);
            }
            announcing.at_source = at_source;
            let answer = call.bridge.answer_ourselves(now, media, AnswerIn::Final, &mut self.streams.ports);
            if answer.is_err() {
                call.bridge.rollback(now, &mut self.streams.ports);
            }
            answer
        });
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        match ready {
            Ok(sdp) => {
                let _ = self.endpoint.respond(now, tx, Response::new(200).body(Body::sdp(sdp)));
            }
            Err(reject) => self.answer_with(now, tx, reject.status(), warning(&reject)),
        }
    }

    pub(crate) fn on_played(&mut self, now: Instant, id: StreamId, play: PlayId) {
        let Some(id) = self.streams.call_of(id) else { return };
        if self.announcing(id).is_some_and(|announcing| announcing.stage == Stage::Playing(play)) {
            self.after_sound(now, id);
        }
    }

    pub(crate) fn on_announce_due(&mut self, now: Instant, id: CallId) {
        let Some(announcing) = self.announcing(id) else { return };
        announcing.due = None;
        match announcing.stage {
            Stage::Ringing => self.open_early(now, id),
            // Nobody has shown where he wants to hear it, or nobody has said that it is over.
            Stage::Waiting | Stage::Playing(_) | Stage::Recording(_) | Stage::Fetching => {
                self.finish_announcement(now, id)
            }
        }
    }

    /// The caller has been told what there was to tell.
    pub(super) fn finish_announcement(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(announcing) = call.announcing.as_deref() else { return };
        let verdict = &announcing.plan.verdict;
        let (status, cause, why) = (verdict.status, announcing.cause(), verdict.text.clone());
        let mut words = verdict.headers.clone();
        if call.is_answered() && !words.contains("Reason") {
            // Who refuses a stranger tells him no more than the status that he would have got.
            words = if cause == EndCause::Refused {
                crossing::reason("SIP", status, "Refused")
            } else {
                crossing::reason("Q.850", 16, "Done")
            };
        }
        self.end_call(now, id, None, status, cause, &words, &why);
    }

    /// The call is over: its place is free.
    pub(super) fn announcement_over(&mut self, id: CallId, announcing: &Announcing) {
        self.announcements.give_back(announcing.source, announcing.stranger);
        self.mail.over(id);
        if let Some(due) = announcing.due {
            self.timers.clear(due, Timer::Announce(id));
        }
    }
}

/// Whether there are addresses, and each of them is this one.
fn are_all(addresses: &[IpAddr], source: IpAddr) -> bool {
    let source = source.to_canonical();
    !addresses.is_empty() && addresses.iter().all(|ip| ip.to_canonical() == source)
}
