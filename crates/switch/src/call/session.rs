//! Within a call: hold and resume, other codecs, session refreshes, INFO and MESSAGE — asked for by one side, put to
//! the other, answered with what that one says.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfort_media::bridge::AnswerIn;
use ringfort_sip::dialog::DialogId;
use ringfort_sip::endpoint::{ClientTx, EndpointError, FailCause, Response, ServerTx};
use ringfort_sip::flow::{Flow, Target};
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_sip::write::{Body, Headers};

use super::outcome::within_call;
use super::setup::{session_description, warning};
use super::{CALLER, ClientUse, DialogUse, LegState, Offer};
use crate::Switch;
use crate::crossing;
use crate::model::{CallId, ExtensionId};
use crate::out_of_dialog::is_same_uri;
use crate::record::EndCause;
use crate::registrar::Moved;
use crate::timers::Timer;

/// How long a refresh or offer of ours is tried again where no session timer ends the call: 64*T1, as long as a request
/// is repeated over UDP (RFC 3261 §17.1).
const TRY_AGAIN_FOR: Duration = Duration::from_secs(32);

/// Offers of ours that a side may refuse before it is left with what it has.
const MOST_REFUSED: u8 = 3;

impl Switch {
    pub(crate) fn on_dialog_request(
        &mut self,
        now: Instant,
        dialog: DialogId,
        tx: ServerTx,
        request: &Message,
        flow: &Flow,
    ) {
        let (call, leg) = match self.dialogs.get(&dialog) {
            Some(&DialogUse::Leg { call, leg }) => (call, leg),
            Some(DialogUse::ByeOnAck { .. }) | None => {
                // The call is over on our side: a crossing BYE is right (RFC 3261 §15.1.2), all else comes too late.
                // Only a BYE takes away what waits for the ACK.
                if request.method() != Method::Bye {
                    return self.answer(now, tx, 481);
                }
                self.dialogs.remove(&dialog);
                return self.answer(now, tx, 200);
            }
        };
        self.talks_from(call, leg, flow.remote);
        match request.method() {
            Method::Bye => self.on_bye(now, call, leg, tx, request),
            Method::Invite => self.on_offer(now, call, leg, tx, request, Method::Invite),
            Method::Update if request.body().is_empty() => self.answer(now, tx, 200),
            Method::Update => self.on_offer(now, call, leg, tx, request, Method::Update),
            Method::Info => self.relay(now, call, leg, tx, request, Method::Info, crossing::INFO),
            Method::Message => self.relay(now, call, leg, tx, request, Method::Message, crossing::MESSAGE),
            Method::Options => {
                let response = Response::new(200).header("Accept", "application/sdp");
                let _ = self.endpoint.respond(now, tx, response);
            }
            // An offer in PRACK (RFC 3262 §5): our answers in reliable 1xx leave nothing to offer anew before the 2xx.
            Method::Prack => self.answer(now, tx, 488),
            Method::Refer | Method::Notify | Method::Subscribe | Method::Publish | Method::Register => {
                self.answer(now, tx, 405);
            }
            Method::Ack | Method::Cancel => {}
            Method::Other(_) => self.answer(now, tx, 501),
        }
    }

    fn on_bye(&mut self, now: Instant, id: CallId, leg: usize, tx: ServerTx, request: &Message) {
        let words = crossing::cross(request, crossing::ENDING);
        let answered = self.calls.get(&id).is_some_and(|call| call.is_answered());
        let (cause, why) = match (answered, leg) {
            (true, CALLER) => (EndCause::Normal, "the caller hung up"),
            (true, _) => (EndCause::Normal, "the called side hung up"),
            // RFC 3261 §15: BYE on an early dialog is the caller's way to give up that one.
            (false, _) => (EndCause::Cancelled, "hung up before an answer"),
        };
        if !answered && leg != CALLER {
            return self.answer(now, tx, 403);
        }
        // The record goes before the answer: RUN-1 promises that no ended call's record is lost.
        self.end_call(now, id, answered.then_some(leg), 487, cause, &words, why);
        self.answer(now, tx, 200);
    }

    /// A re-INVITE or UPDATE with a session description, or a re-INVITE without one.
    fn on_offer(&mut self, now: Instant, id: CallId, leg: usize, tx: ServerTx, request: &Message, method: Method<'_>) {
        let Some(call) = self.calls.get_mut(&id) else { return self.answer(now, tx, 481) };
        if call.announcing.is_some() {
            return self.on_announcement_offer(now, id, tx, request, method);
        }
        let Some(peer) = call.peer_of(leg) else { return self.try_again(now, tx) };
        let Some(dialog) = call.legs[peer].dialog else { return self.try_again(now, tx) };
        let sdp = session_description(request);
        if sdp.is_none() && (!request.body().is_empty() || method == Method::Update) {
            let mut headers = Headers::default();
            headers.push("Accept", "application/sdp");
            return self.answer_with(now, tx, 415, headers);
        }
        let (media, peer_media) = (call.legs[leg].media, call.legs[peer].media);
        if let Some(sdp) = sdp.as_deref()
            && call.bridge.is_refresh(media, sdp)
        {
            // A refresh by re-INVITE (RFC 4028 §7.4) changes nothing: the other side need not hear of it.
            if let Err(reject) = call.bridge.offer_received(media, sdp) {
                return self.answer_with(now, tx, reject.status(), warning(&reject));
            }
            let answer = call.bridge.answer_for(now, media, AnswerIn::Final, &mut self.streams.ports);
            if answer.is_err() {
                call.bridge.rollback(now, &mut self.streams.ports);
            }
            self.streams.drain(id, &mut call.bridge, &mut self.outputs);
            return match answer {
                Ok(sdp) => {
                    let _ = self.endpoint.respond(now, tx, Response::new(200).body(Body::sdp(sdp)));
                }
                // Our own refresh of the other side is under way: in a moment it works.
                Err(_) => self.answer(now, tx, 491),
            };
        }
        let (body, offer) = match sdp {
            Some(sdp) => {
                let ready = call.bridge.pass_offer(now, media, &sdp, peer_media, &mut self.streams.ports);
                match ready {
                    Ok(sdp) => (Some(Body::sdp(sdp)), Offer::Made),
                    Err(reject) => {
                        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
                        return self.answer_with(now, tx, reject.status(), warning(&reject));
                    }
                }
            }
            None => (None, Offer::Late),
        };
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        // A peer that does not take UPDATE gets the change as a re-INVITE, once its own INVITE is over.
        let allows_update = self.endpoint.dialog(dialog).is_some_and(|d| d.peer_allows(Method::Update));
        let up = call.legs[peer].state == LegState::Up;
        let method = match method {
            Method::Update if !allows_update && up => Method::Invite,
            Method::Update => Method::Update,
            _ => Method::Invite,
        };
        let headers = crossing::cross(request, crossing::INVITE);
        match self.endpoint.dialog_request(now, dialog, method, headers, body) {
            Ok(client) => {
                self.clients.insert(client, ClientUse::Relayed { call: id, to: leg, tx, offer });
                self.relayed.insert(tx, client);
                if let Some(call) = self.calls.get_mut(&id) {
                    call.owes_answer_cseq = request.cseq().number;
                }
            }
            Err(error) => {
                let call = self.calls.get_mut(&id).expect("it was just seen");
                call.bridge.rollback(now, &mut self.streams.ports);
                self.streams.drain(id, &mut call.bridge, &mut self.outputs);
                self.answer(now, tx, busy_status(error));
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "each is a different fact about one request")]
    fn relay(
        &mut self,
        now: Instant,
        id: CallId,
        leg: usize,
        tx: ServerTx,
        request: &Message,
        method: Method<'_>,
        allowed: &[ringfort_sip::header::HeaderName],
    ) {
        let dialog = self.calls.get(&id).and_then(|c| c.peer_of(leg).and_then(|peer| c.legs[peer].dialog));
        let Some(dialog) = dialog else { return self.try_again(now, tx) };
        if !crossing::body_crosses(request) {
            return self.refuse_body(now, tx);
        }
        let (headers, body) = (crossing::cross(request, allowed), crossing::cross_body(request));
        match self.endpoint.dialog_request(now, dialog, method, headers, body) {
            Ok(client) => {
                self.clients.insert(client, ClientUse::Relayed { call: id, to: leg, tx, offer: Offer::None });
            }
            Err(error) => self.answer(now, tx, busy_status(error)),
        }
    }

    /// The other side answered what `to` asked for.
    #[allow(clippy::too_many_arguments, reason = "each is a different fact about one answer")]
    pub(crate) fn on_relayed_answer(
        &mut self,
        now: Instant,
        id: CallId,
        to: usize,
        tx: ServerTx,
        offer: Offer,
        dialog: Option<DialogId>,
        response: &Message,
    ) {
        let status = response.status();
        if status < 300 && offer != Offer::None {
            return self.on_offer_accepted(now, id, to, tx, offer, dialog, response);
        }
        let mut answer = Response::new(within_call(status, offer != Offer::None));
        answer.headers = crossing::cross(response, crossing::REFUSAL);
        if offer == Offer::None {
            answer.body = crossing::cross_body(response);
        } else {
            self.roll_back(now, id);
        }
        let _ = self.endpoint.respond(now, tx, answer);
        // RFC 5057 §5.1: these say that the dialog is gone, not that the request was unwelcome.
        if status == 481 || status == 408 && offer != Offer::None {
            self.peer_gone(now, id);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "each is a different fact about one answer")]
    fn on_offer_accepted(
        &mut self,
        now: Instant,
        id: CallId,
        to: usize,
        tx: ServerTx,
        offer: Offer,
        answered_in: Option<DialogId>,
        response: &Message,
    ) {
        let is_invite = response.cseq().method == Method::Invite;
        let Some((call, peer)) = self.calls.get_mut(&id).and_then(|c| c.peer_of(to).map(|peer| (c, peer))) else {
            // The call ended while the question was on its way: both who asked and who answered are told so.
            if let (true, Some(dialog)) = (is_invite, answered_in) {
                self.endpoint.ack(now, dialog, Headers::default(), None);
            }
            return self.answer(now, tx, 481);
        };
        let (media, peer_media) = (call.legs[to].media, call.legs[peer].media);
        let dialog = call.legs[peer].dialog;
        let sdp = session_description(response);
        let ready = match (offer, &sdp) {
            (Offer::Late, _) => call
                .bridge
                .offer_received(peer_media, sdp.as_deref().unwrap_or_default())
                .and_then(|()| call.bridge.offer_for(now, media, &mut self.streams.ports)),
            (Offer::Made | Offer::None, Some(sdp)) => call
                .bridge
                .answer_received(now, peer_media, sdp, &mut self.streams.ports)
                .and_then(|()| call.bridge.answer_for(now, media, AnswerIn::Final, &mut self.streams.ports)),
            // The answer came in a reliable 1xx and need not be repeated (RFC 6337 §2.2).
            (Offer::Made | Offer::None, None) => {
                call.bridge.answer_for(now, media, AnswerIn::Final, &mut self.streams.ports)
            }
        };
        if ready.is_err() {
            call.bridge.rollback(now, &mut self.streams.ports);
        }
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        match ready {
            Ok(sdp) => {
                match (offer, dialog) {
                    // The asking side's answer comes in its ACK and goes on in ours.
                    (Offer::Late, _) => {
                        call.owes_answer_to = Some(peer);
                        call.legs[peer].acked = false;
                    }
                    (_, Some(dialog)) if is_invite => self.endpoint.ack(now, dialog, Headers::default(), None),
                    _ => {}
                }
                let _ = self.endpoint.respond(now, tx, Response::new(200).body(Body::sdp(sdp)));
            }
            Err(reject) => {
                if let (true, Some(dialog)) = (is_invite, dialog) {
                    self.endpoint.ack(now, dialog, Headers::default(), None);
                }
                self.answer_with(now, tx, 488, warning(&reject));
            }
        }
    }

    pub(crate) fn on_relayed_failure(
        &mut self,
        now: Instant,
        id: CallId,
        tx: ServerTx,
        offer: Offer,
        cause: FailCause,
    ) {
        let is_offer = offer != Offer::None;
        if is_offer {
            self.roll_back(now, id);
        }
        // RFC 4320 §4.2: 408 is of no use to a non-INVITE.
        self.answer(now, tx, within_call(503, is_offer));
        // RFC 3261 §12.2.1.2: no answer at all ends the dialog. An INFO that a phone leaves unanswered, or a connection
        // that was lost just now, does not take the call with it.
        if is_offer && cause == FailCause::Timeout {
            self.peer_gone(now, id);
        }
    }

    /// The asking side cancelled its re-INVITE before the other one answered.
    pub(crate) fn withdraw(&mut self, now: Instant, client: ClientTx, words: Headers) {
        let Some(&ClientUse::Relayed { call, to, .. }) = self.clients.get(&client) else { return };
        let Some(peer) = self.calls.get(&call).and_then(|c| c.peer_of(to)) else { return };
        self.clients.insert(client, ClientUse::Withdrawn { call, peer });
        self.endpoint.cancel(now, client, words);
    }

    /// The other side answered a change that was withdrawn: where it accepted, it is asked back to what was agreed.
    pub(crate) fn on_withdrawn_answer(
        &mut self,
        now: Instant,
        id: CallId,
        peer: usize,
        dialog: Option<DialogId>,
        status: u16,
    ) {
        self.roll_back(now, id);
        if status >= 300 {
            return;
        }
        let Some(dialog) = dialog else { return };
        self.endpoint.ack(now, dialog, Headers::default(), None);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(sdp) = call.bridge.refresh_offer(call.legs[peer].media) else { return };
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        self.offer_again(now, id, peer, dialog, sdp);
    }

    pub(crate) fn on_ack(&mut self, now: Instant, dialog: DialogId, ack: &Message) {
        let (id, leg) = match self.dialogs.get(&dialog) {
            Some(&DialogUse::Leg { call, leg }) => (call, leg),
            Some(DialogUse::ByeOnAck { .. }) => return self.bye_after_ack(now, dialog),
            None => return,
        };
        self.talks_from_its_beginning(id, leg);
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.legs[leg].acked = true;
        if leg == CALLER {
            self.servers.remove(&call.invite);
        }
        if call.announcing.is_some() {
            return self.on_announcement_acked(now, id, ack);
        }
        let owed = call.owes_answer_to.filter(|owed| call.peer_of(*owed) == Some(leg));
        let Some(owed) = owed.filter(|_| ack.cseq().number == call.owes_answer_cseq) else {
            return self.reoffer_if_needed(now, id);
        };
        call.owes_answer_to = None;
        call.legs[owed].acked = true;
        let (media, owed_media, owed_dialog) = (call.legs[leg].media, call.legs[owed].media, call.legs[owed].dialog);
        let answer = session_description(ack).unwrap_or_default();
        let ready = call
            .bridge
            .answer_received(now, media, &answer, &mut self.streams.ports)
            .and_then(|()| call.bridge.answer_for(now, owed_media, AnswerIn::Final, &mut self.streams.ports));
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        let Some(owed_dialog) = owed_dialog else { return };
        match ready {
            Ok(sdp) => self.endpoint.ack(now, owed_dialog, Headers::default(), Some(Body::sdp(sdp))),
            Err(reject) => {
                // RFC 3261 §13.2.2.4: an offer that cannot be answered leaves an ACK and a BYE.
                self.endpoint.ack(now, owed_dialog, Headers::default(), None);
                let words = crossing::reason("SIP", 488, "No usable answer");
                let why = format!("the answer in the ACK cannot be used: {reject}");
                self.end_call(now, id, None, 200, EndCause::Internal, &words, &why);
            }
        }
    }

    /// RFC 4028 §7.4: UPDATE where the peer takes it, else a re-INVITE with what was agreed.
    pub(crate) fn on_refresh_due(&mut self, now: Instant, dialog: DialogId) {
        let Some(&DialogUse::Leg { call: id, leg }) = self.dialogs.get(&dialog) else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let allowed = self.endpoint.dialog(dialog).is_some_and(|d| d.peer_allows(Method::Update));
        let (method, body) = if allowed && !call.legs[leg].refuses_update {
            (Method::Update, None)
        } else {
            let Some(sdp) = call.bridge.refresh_offer(call.legs[leg].media) else {
                return self.refresh_later(now, dialog, false);
            };
            (Method::Invite, Some(Body::sdp(sdp)))
        };
        let offered = body.is_some();
        match self.endpoint.dialog_request(now, dialog, method, Headers::default(), body) {
            Ok(client) => {
                self.clients.insert(client, ClientUse::Refresh { call: id, leg, offered });
            }
            Err(_) => {
                if offered {
                    self.roll_back_leg(now, id, leg);
                }
                self.refresh_later(now, dialog, false);
            }
        }
    }

    /// The refresh could not be sent, or was refused for now: once more in a few seconds (RFC 3261 §14.1's times), as
    /// long as the session lasts. Where no session timer says how long that is, a side that cannot be reached is given up
    /// in time, and one that refuses is left with what it has.
    fn refresh_later(&mut self, now: Instant, dialog: DialogId, is_lost: bool) {
        let Some(&DialogUse::Leg { call: id, leg }) = self.dialogs.get(&dialog) else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let since = *call.legs[leg].failing_since.get_or_insert(now);
        let has_end = self.endpoint.dialog(dialog).is_some_and(|dialog| dialog.session().is_some());
        if !has_end && now >= since + TRY_AGAIN_FOR {
            call.legs[leg].failing_since = None;
            if is_lost {
                self.on_refresh_failed(now, id);
            }
            return;
        }
        let wait = self.endpoint.glare_wait(dialog).max(Duration::from_secs(1));
        self.timers.set(now + wait, Timer::Refresh(dialog));
    }

    pub(crate) fn on_refresh_answer(
        &mut self,
        now: Instant,
        id: CallId,
        leg: usize,
        offered: bool,
        dialog: Option<DialogId>,
        response: &Message,
    ) {
        let status = response.status();
        if let (true, 200..=299, Some(dialog)) = (offered, status, dialog) {
            self.endpoint.ack(now, dialog, Headers::default(), None);
            let answer = session_description(response).unwrap_or_default();
            if let Some(call) = self.calls.get_mut(&id) {
                let media = call.legs[leg].media;
                if call.bridge.answer_received(now, media, &answer, &mut self.streams.ports).is_err() {
                    call.bridge.rollback_leg(now, media, &mut self.streams.ports);
                }
                self.streams.drain(id, &mut call.bridge, &mut self.outputs);
            }
        } else if offered {
            self.roll_back_leg(now, id, leg);
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        match (status, dialog) {
            (408 | 481, _) => self.on_refresh_failed(now, id),
            (300.., Some(dialog)) => {
                call.legs[leg].refuses_update |= matches!(status, 405 | 501);
                if offered {
                    call.legs[leg].offers_refused = call.legs[leg].offers_refused.saturating_add(1);
                }
                self.refresh_later(now, dialog, false);
            }
            (200..=299, _) => {
                // An offer that was lost before is still due, but not for ever.
                call.legs[leg].failing_since = None;
                if call.legs[CALLER].offers_refused < MOST_REFUSED {
                    self.reoffer_if_needed(now, id);
                }
            }
            _ => {}
        }
    }

    /// The refresh did not get through: its connection is gone, which the phone may be mending by registering anew. The
    /// session has an end of its own (RFC 4028 §10), should it not.
    pub(crate) fn on_refresh_lost(&mut self, now: Instant, id: CallId, leg: usize, offered: bool) {
        if offered {
            self.roll_back_leg(now, id, leg);
        }
        if let Some(dialog) = self.calls.get(&id).and_then(|call| call.legs[leg].dialog) {
            self.refresh_later(now, dialog, true);
        }
    }

    pub(crate) fn on_refresh_failed(&mut self, now: Instant, id: CallId) {
        if self.calls.contains_key(&id) {
            let words = crossing::reason("SIP", 408, "Session expired");
            self.end_call(now, id, None, 200, EndCause::PeerGone, &words, "a side does not answer any more");
        }
    }

    /// A phone registers by another flow than before, for instance because its connection broke: its calls go on by the
    /// new one (RFC 5626 §4.3), or their BYEs and refreshes would go nowhere. Phones of one extension may have the same
    /// Contact URI behind different NATs: one that is known to be another instance, or whose own flow is registered, is
    /// left alone, and so is a call that began under TLS where the new flow is not secure.
    pub(crate) fn follow(&mut self, now: Instant, extension: ExtensionId, moved: &[Moved], flow: &Flow) {
        let mut legs: Vec<DialogId> = Vec::new();
        for leg in self.calls.values().flat_map(|call| &call.legs).filter(|leg| leg.extension == Some(extension)) {
            let Some(id) = leg.dialog else { continue };
            let Some(dialog) = self.endpoint.dialog(id) else { continue };
            let Some(old) = dialog.flow().filter(|old| *old != flow) else { continue };
            if old.transport.is_secure() && !flow.transport.is_secure() {
                // Its SRTP keys would go in the clear.
                continue;
            }
            let is_its = moved.iter().any(|contact| match (&leg.instance, &contact.instance) {
                (Some(a), Some(b)) => a == b,
                _ => is_same_uri(&contact.uri, dialog.remote_target()),
            });
            if is_its && !self.registrar.has_flow(now, extension, old) {
                legs.push(id);
            }
        }
        for dialog in legs {
            self.endpoint.set_target(dialog, Target::Flow(*flow));
        }
    }

    /// The winner's media differ from what the caller was told in a reliable early answer: told anew.
    pub(crate) fn reoffer_if_needed(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !call.bridge.needs_reoffer() || !call.legs[CALLER].acked {
            return;
        }
        let Some(dialog) = call.legs[CALLER].dialog else { return };
        let media = call.legs[CALLER].media;
        let Ok(sdp) = call.bridge.offer_for(now, media, &mut self.streams.ports) else { return };
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        self.offer_again(now, id, CALLER, dialog, sdp);
    }

    /// A re-INVITE of our own, with an offer that the bridge has made for that leg.
    fn offer_again(&mut self, now: Instant, id: CallId, leg: usize, dialog: DialogId, sdp: Bytes) {
        match self.endpoint.dialog_request(now, dialog, Method::Invite, Headers::default(), Some(Body::sdp(sdp))) {
            Ok(client) => {
                self.clients.insert(client, ClientUse::Refresh { call: id, leg, offered: true });
            }
            Err(_) => {
                // What is due is sent after the refresh that comes then.
                self.roll_back_leg(now, id, leg);
                self.refresh_later(now, dialog, false);
            }
        }
    }

    pub(crate) fn roll_back(&mut self, now: Instant, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.bridge.rollback(now, &mut self.streams.ports);
            self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        }
    }

    /// An offer of our own to that leg failed; the other one's exchange, should one be open, has nothing to do with it.
    fn roll_back_leg(&mut self, now: Instant, id: CallId, leg: usize) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.bridge.rollback_leg(now, call.legs[leg].media, &mut self.streams.ports);
            self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        }
    }

    /// A side has no dialog any more, or does not answer: both get a BYE, the gone one too (RFC 3261 §12.2.1.2).
    fn peer_gone(&mut self, now: Instant, id: CallId) {
        let words = crossing::reason("SIP", 481, "The other side is gone");
        self.end_call(now, id, None, 200, EndCause::PeerGone, &words, "a side does not answer any more");
    }

    /// RFC 3261 §14.2: not now.
    fn try_again(&mut self, now: Instant, tx: ServerTx) {
        let mut headers = Headers::default();
        headers.push("Retry-After", 2);
        self.answer_with(now, tx, 500, headers);
    }
}

/// What the asking side hears where we could not ask the other one.
fn busy_status(error: EndpointError) -> u16 {
    match error {
        EndpointError::Pending | EndpointError::WrongState => 491,
        EndpointError::UnknownDialog | EndpointError::UnknownTransaction => 481,
        EndpointError::Full => 503,
        EndpointError::UnknownListener
        | EndpointError::AlreadyAnswered
        | EndpointError::BadStatus(_)
        | EndpointError::NotProvisional
        | EndpointError::NotReliable
        | EndpointError::TooManyProvisional
        | EndpointError::WrongMethod => 500,
    }
}
