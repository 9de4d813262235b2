//! Within a call: hold and resume, other codecs, session refreshes, INFO and MESSAGE — asked for by one side, put to
//! the other, answered with what that one says.

use std::time::Instant;

use ringfort_media::bridge::AnswerIn;
use ringfort_sip::dialog::DialogId;
use ringfort_sip::endpoint::{EndpointError, Response, ServerTx};
use ringfort_sip::flow::Flow;
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_sip::write::{Body, Headers};

use super::outcome::for_caller;
use super::setup::{session_description, warning};
use super::{CALLER, ClientUse, DialogUse, LegState, Offer};
use crate::Switch;
use crate::crossing;
use crate::model::CallId;
use crate::record::EndCause;

impl Switch {
    pub(crate) fn on_dialog_request(
        &mut self,
        now: Instant,
        dialog: DialogId,
        tx: ServerTx,
        request: &Message,
        _flow: &Flow,
    ) {
        let (call, leg) = match self.dialogs.get(&dialog) {
            Some(&DialogUse::Leg { call, leg }) => (call, leg),
            Some(DialogUse::ByeOnAck) | None => {
                // The call is over on our side: a crossing BYE is right (RFC 3261 §15.1.2), all else comes too late.
                let status = if request.method() == Method::Bye { 200 } else { 481 };
                self.dialogs.remove(&dialog);
                return self.answer(now, tx, status);
            }
        };
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
        let answered = self.calls.get(&id).is_some_and(super::Call::is_answered);
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
        let Some(peer) = call.peer_of(leg) else { return self.try_again(now, tx) };
        let Some(dialog) = call.legs[peer].dialog else { return self.try_again(now, tx) };
        let sdp = session_description(request);
        let (media, peer_media) = (call.legs[leg].media, call.legs[peer].media);
        if let Some(sdp) = sdp.as_deref()
            && call.bridge.is_refresh(media, sdp)
        {
            // A refresh by re-INVITE (RFC 4028 §7.4) changes nothing: the other side need not hear of it.
            let answer = call
                .bridge
                .offer_received(media, sdp)
                .and_then(|()| call.bridge.answer_for(now, media, AnswerIn::Final, &mut self.streams.ports));
            self.streams.drain(id, &mut call.bridge, &mut self.outputs);
            return match answer {
                Ok(sdp) => {
                    let _ = self.endpoint.respond(now, tx, Response::new(200).body(Body::sdp(sdp)));
                }
                Err(reject) => self.answer_with(now, tx, reject.status(), warning(&reject)),
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
        let Some(dialog) = dialog else { return self.answer(now, tx, 480) };
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
        let mut answer = Response::new(match status {
            200..=299 | 488 | 491 | 415 | 469 | 600.. => status,
            other => for_caller(other),
        });
        answer.headers = crossing::cross(response, crossing::REFUSAL);
        if offer == Offer::None {
            answer.body = crossing::cross_body(response);
        } else {
            self.roll_back(now, id);
        }
        let _ = self.endpoint.respond(now, tx, answer);
        // RFC 5057 §5.1: these say that the dialog is gone, not that the request was unwelcome.
        if matches!(status, 408 | 481) {
            self.peer_gone(now, id, to);
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
                    (Offer::Late, _) => call.owes_answer_to = Some(peer),
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

    pub(crate) fn on_relayed_failure(&mut self, now: Instant, id: CallId, to: usize, tx: ServerTx, offer: Offer) {
        if offer != Offer::None {
            self.roll_back(now, id);
        }
        // RFC 4320 §4.2: 408 is of no use to a non-INVITE; RFC 3261 §12.2.1.2: no answer at all ends the dialog.
        self.answer(now, tx, 480);
        self.peer_gone(now, id, to);
    }

    pub(crate) fn on_ack(&mut self, now: Instant, dialog: DialogId, ack: &Message) {
        let (id, leg) = match self.dialogs.get(&dialog) {
            Some(&DialogUse::Leg { call, leg }) => (call, leg),
            Some(DialogUse::ByeOnAck) => return self.bye_after_ack(now, dialog),
            None => return,
        };
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.legs[leg].acked = true;
        let Some(owed) = call.owes_answer_to.filter(|owed| call.peer_of(*owed) == Some(leg)) else { return };
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
        let update = self.endpoint.dialog(dialog).is_some_and(|d| d.peer_allows(Method::Update));
        let (method, body) = if update {
            (Method::Update, None)
        } else {
            let Some(call) = self.calls.get_mut(&id) else { return };
            let Some(sdp) = call.bridge.refresh_offer(call.legs[leg].media) else { return };
            (Method::Invite, Some(Body::sdp(sdp)))
        };
        let offered = body.is_some();
        match self.endpoint.dialog_request(now, dialog, method, Headers::default(), body) {
            Ok(client) => {
                self.clients.insert(client, ClientUse::Refresh { call: id, leg, offered });
            }
            Err(_) if offered => self.roll_back(now, id),
            Err(_) => {}
        }
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
                if call.bridge.answer_received(now, call.legs[leg].media, &answer, &mut self.streams.ports).is_err() {
                    call.bridge.rollback(now, &mut self.streams.ports);
                }
                self.streams.drain(id, &mut call.bridge, &mut self.outputs);
            }
        } else if offered {
            self.roll_back(now, id);
        }
        if matches!(status, 408 | 481) {
            self.on_refresh_failed(now, id, leg);
        }
    }

    pub(crate) fn on_refresh_failed(&mut self, now: Instant, id: CallId, leg: usize) {
        if self.calls.contains_key(&id) {
            self.forget_dialog(id, leg);
            let words = crossing::reason("SIP", 408, "Session expired");
            self.end_call(now, id, Some(leg), 200, EndCause::PeerGone, &words, "a side does not answer any more");
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
        match self.endpoint.dialog_request(now, dialog, Method::Invite, Headers::default(), Some(Body::sdp(sdp))) {
            Ok(client) => {
                self.clients.insert(client, ClientUse::Refresh { call: id, leg: CALLER, offered: true });
            }
            Err(_) => self.roll_back(now, id),
        }
    }

    fn roll_back(&mut self, now: Instant, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.bridge.rollback(now, &mut self.streams.ports);
            self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        }
    }

    /// The side that `asking` talks to is gone.
    fn peer_gone(&mut self, now: Instant, id: CallId, asking: usize) {
        let Some(peer) = self.calls.get(&id).and_then(|c| c.peer_of(asking)) else { return };
        self.forget_dialog(id, peer);
        let words = crossing::reason("SIP", 481, "The other side is gone");
        self.end_call(now, id, Some(peer), 200, EndCause::PeerGone, &words, "a side does not answer any more");
    }

    /// A leg that answered 481, 408 or not at all has no dialog any more (RFC 5057 §5.1): there is nobody to send a
    /// BYE to, and nothing to wait for.
    fn forget_dialog(&mut self, id: CallId, leg: usize) {
        if let Some(dialog) = self.calls.get(&id).and_then(|call| call.legs[leg].dialog) {
            self.dialogs.remove(&dialog);
            self.endpoint.end_dialog(dialog);
        }
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
        | EndpointError::WrongMethod => 500,
    }
}
