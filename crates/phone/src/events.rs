//! What comes from the network, as the endpoint tells it, and what the phone does about it.

use std::time::Instant;

use ringfort_sip::endpoint::{self, ClientTx, DialogId, FailCause, Response, ServerTx};
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_sip::write::{Body, Headers};

use crate::calls::Stage;
use crate::remote::SdpRefusal;
use crate::requests::{Goal, Purpose};
use crate::{CallRef, EndedBy, Event, Phone};

/// The user part of From or To, as it is shown.
fn user_of(message: &Message, name: HeaderName) -> String {
    let address = if name == HeaderName::From { message.from() } else { message.to() };
    let uri = address.uri().ok();
    uri.and_then(|uri| uri.user_unescaped().map(|user| user.into_owned())).unwrap_or_default()
}

/// The words of a Reason header field, else those of the status line.
fn reason_of(message: &Message, otherwise: &str) -> String {
    message.header_str(HeaderName::Reason).map_or_else(|| otherwise.to_owned(), |reason| reason.into_owned())
}

fn has_sdp(message: &Message) -> bool {
    !message.body().is_empty() && message.has_content_type("application/sdp")
}

impl Phone {
    /// Takes everything that the endpoint has to tell.
    pub(crate) fn drain(&mut self, now: Instant) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                endpoint::Event::Request { tx, request, .. } => self.on_request(now, tx, &request),
                endpoint::Event::Cancelled { tx, cancel } => self.on_cancelled(tx, &cancel),
                endpoint::Event::DialogRequest { dialog, tx, request, .. } => {
                    self.on_dialog_request(now, dialog, tx, &request);
                }
                endpoint::Event::Ack { dialog, ack } => self.on_ack(now, dialog, &ack),
                endpoint::Event::AckTimeout { dialog } => self.on_lost(now, dialog, "no ACK came"),
                endpoint::Event::ReliableAcked { .. } | endpoint::Event::Acknowledged { .. } => {}
                endpoint::Event::ReliableTimeout { tx } => self.on_unreliable(now, tx),
                endpoint::Event::Response { tx, dialog, response } => self.on_response(now, tx, dialog, &response),
                endpoint::Event::Failed { tx, cause, .. } => self.on_failed(now, tx, cause),
                endpoint::Event::SessionRefreshDue { dialog } => self.on_refresh_due(now, dialog),
                endpoint::Event::SessionExpired { dialog } => self.on_lost(now, dialog, "session not refreshed"),
                endpoint::Event::DialogEnded { dialog } => self.on_dialog_ended(dialog),
            }
        }
    }

    fn respond(&mut self, now: Instant, tx: ServerTx, status: u16) {
        // The transaction may have ended meanwhile; then nobody waits for the answer.
        let _ = self.endpoint.respond(now, tx, Response::new(status));
    }

    fn on_request(&mut self, now: Instant, tx: ServerTx, request: &Message) {
        match request.method() {
            Method::Invite => self.on_invite(now, tx, request),
            Method::Options => self.respond(now, tx, 200),
            Method::Message => {
                let from = user_of(request, HeaderName::From);
                let text = String::from_utf8_lossy(request.body()).into_owned();
                self.events.push_back(Event::Message { from, text });
                self.respond(now, tx, 200);
            }
            Method::Bye | Method::Info | Method::Update | Method::Prack | Method::Notify | Method::Refer => {
                self.respond(now, tx, 481);
            }
            Method::Ack => {}
            Method::Cancel | Method::Register | Method::Subscribe | Method::Publish | Method::Other(_) => {
                self.respond(now, tx, 405);
            }
        }
    }

    fn on_invite(&mut self, now: Instant, tx: ServerTx, request: &Message) {
        if self.calls.len() >= self.config.max_calls {
            return self.respond(now, tx, 486);
        }
        if let Some(refusal) = self.endpoint.interval_refusal(request) {
            let _ = self.endpoint.respond(now, tx, refusal);
            return;
        }
        let mut session = self.new_session();
        let answered_offer = has_sdp(request);
        if answered_offer && let Err(refusal) = session.answer(request.body(), &mut self.rng) {
            return self.refuse_offer(now, tx, &refusal);
        }
        let call = CallRef(self.next_call);
        self.next_call += 1;
        let mut entry = self.new_call(Stage::Alerting { tx }, false, session);
        entry.answered_offer = answered_offer;
        self.calls.insert(call, entry);
        self.by_server.insert(tx, call);
        let (from, to) = (user_of(request, HeaderName::From), user_of(request, HeaderName::To));
        self.events.push_back(Event::Incoming { call, from, to });
        self.apply_policy(now, call);
    }

    fn refuse_offer(&mut self, now: Instant, tx: ServerTx, refusal: &SdpRefusal) {
        let warning = format!("399 {} \"{refusal}\"", self.config.listener.advertised.host);
        let _ = self.endpoint.respond(now, tx, Response::new(488).header("Warning", warning));
    }

    fn on_cancelled(&mut self, tx: ServerTx, cancel: &Message) {
        if let Some(call) = self.by_server.remove(&tx) {
            self.end(call, 487, reason_of(cancel, "Request Terminated"), EndedBy::Peer);
        }
    }

    /// No PRACK came for our 183: the call fails (RFC 3262 §3).
    fn on_unreliable(&mut self, now: Instant, tx: ServerTx) {
        if let Some(call) = self.by_server.remove(&tx) {
            self.respond(now, tx, 504);
            self.end(call, 504, "no PRACK came".to_owned(), EndedBy::Lost);
        }
    }

    fn on_dialog_request(&mut self, now: Instant, dialog: DialogId, tx: ServerTx, request: &Message) {
        let call = self.by_dialog.get(&dialog).copied();
        match request.method() {
            Method::Bye => {
                self.respond(now, tx, 200);
                if let Some(call) = call {
                    self.on_bye(now, call, request);
                }
            }
            Method::Invite | Method::Update | Method::Prack => match call {
                Some(call) => self.on_offer(now, call, tx, request),
                None => self.respond(now, tx, 481),
            },
            Method::Info => {
                if let Some(call) = call {
                    self.events.push_back(Event::Info { call, body: request.body().to_vec() });
                }
                self.respond(now, tx, 200);
            }
            Method::Message => {
                let from = user_of(request, HeaderName::From);
                let text = String::from_utf8_lossy(request.body()).into_owned();
                self.events.push_back(Event::Message { from, text });
                self.respond(now, tx, 200);
            }
            Method::Options | Method::Notify => self.respond(now, tx, 200),
            Method::Ack | Method::Cancel => {}
            Method::Register | Method::Subscribe | Method::Publish | Method::Refer | Method::Other(_) => {
                self.respond(now, tx, 405);
            }
        }
    }

    fn on_bye(&mut self, now: Instant, call: CallRef, bye: &Message) {
        let Some(entry) = self.calls.get(&call) else { return };
        match entry.stage.clone() {
            // A BYE before the answer ends the INVITE too (RFC 3261 §15.1.2).
            Stage::Alerting { tx } => {
                self.respond(now, tx, 487);
                self.end(call, 487, reason_of(bye, "hung up"), EndedBy::Peer);
            }
            Stage::Talking { .. } | Stage::Dialling { .. } => {
                self.end(call, 200, reason_of(bye, "hung up"), EndedBy::Peer);
            }
            // Both hung up at once: ours still waits for its answer.
            Stage::Leaving { .. } => {}
        }
    }

    /// A re-INVITE, UPDATE or PRACK, with or without an offer.
    fn on_offer(&mut self, now: Instant, call: CallRef, tx: ServerTx, request: &Message) {
        let is_invite = request.method() == Method::Invite;
        let user = self.config.user.clone();
        let Some(entry) = self.calls.get_mut(&call) else { return self.respond(now, tx, 481) };
        if matches!(entry.stage, Stage::Leaving { .. }) {
            return self.respond(now, tx, 481);
        }
        let mut response = Response::new(200).contact_user(user);
        if has_sdp(request) {
            if entry.session.is_offering() {
                return self.respond(now, tx, 491);
            }
            let before = entry.session.agreed().map(|agreed| agreed.direction);
            match entry.session.answer(request.body(), &mut self.rng) {
                Ok(answer) => response = response.body(Body::sdp(answer)),
                Err(refusal) => return self.refuse_offer(now, tx, &refusal),
            }
            self.tell_media(now, call, before, true);
        } else if is_invite {
            if entry.session.is_offering() {
                return self.respond(now, tx, 491);
            }
            response = response.body(Body::sdp(entry.session.offer(None, None, &mut self.rng)));
        }
        let _ = self.endpoint.respond(now, tx, response);
    }

    fn tell_media(&mut self, now: Instant, call: CallRef, before: Option<crate::Direction>, by_peer: bool) {
        let Some(entry) = self.calls.get(&call) else { return };
        let Some(agreed) = entry.session.agreed() else { return };
        if before != Some(agreed.direction) {
            self.events.push_back(Event::Media { call, direction: agreed.direction, by_peer });
        }
        if entry.media.is_some() || entry.is_talking() {
            self.start_media(now, call);
        }
    }

    fn on_ack(&mut self, now: Instant, dialog: DialogId, ack: &Message) {
        let Some(&call) = self.by_dialog.get(&dialog) else { return };
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let first = std::mem::replace(&mut entry.stage, Stage::Talking { unacknowledged: false });
        match first {
            Stage::Talking { unacknowledged } => {
                if entry.session.is_offering() && entry.change.is_none() {
                    let before = entry.session.agreed().map(|agreed| agreed.direction);
                    if entry.session.accept(ack.body()).is_err() {
                        entry.session.roll_back();
                        if before.is_none() {
                            self.events.push_back(Event::Answered { call });
                            return self.leave(now, call, 200, "no usable answer in ACK".to_owned(), EndedBy::Us);
                        }
                    } else if !unacknowledged {
                        self.tell_media(now, call, before, true);
                    }
                }
                if unacknowledged {
                    self.events.push_back(Event::Answered { call });
                    self.start_media(now, call);
                }
            }
            other => entry.stage = other,
        }
    }

    fn on_lost(&mut self, now: Instant, dialog: DialogId, why: &str) {
        if let Some(&call) = self.by_dialog.get(&dialog)
            && self.calls.get(&call).is_some_and(|entry| entry.is_talking())
        {
            self.leave(now, call, 408, why.to_owned(), EndedBy::Lost);
        }
    }

    fn on_dialog_ended(&mut self, dialog: DialogId) {
        let Some(call) = self.by_dialog.remove(&dialog) else { return };
        // An early dialog may end while the call itself goes on, by another one.
        if self.calls.get(&call).is_some_and(|entry| entry.is_talking() && entry.dialog == Some(dialog)) {
            self.end(call, 481, "dialog ended".to_owned(), EndedBy::Lost);
        }
    }

    fn on_refresh_due(&mut self, now: Instant, dialog: DialogId) {
        let Some(&call) = self.by_dialog.get(&dialog) else { return };
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if !entry.is_talking() || entry.change.is_some() || entry.session.is_offering() {
            return;
        }
        let by_update = self.endpoint.dialog(dialog).is_some_and(|dialog| dialog.peer_allows(Method::Update));
        let result = if by_update {
            self.in_dialog(now, dialog, Goal::Refresh(call), Method::Update, Headers::default(), None)
        } else {
            self.reinvite(now, call)
        };
        if result.is_err() {
            self.on_lost(now, dialog, "session could not be refreshed");
        }
    }

    fn on_response(&mut self, now: Instant, tx: ClientTx, dialog: Option<DialogId>, response: &Message) {
        let status = response.status();
        if status < 200 {
            if let Some(Purpose { goal: Goal::Invite(call), .. }) = self.pending.get(&tx).cloned() {
                self.on_progress(now, call, dialog, response);
            }
            return;
        }
        let Some(purpose) = self.pending.remove(&tx) else {
            // A second 2xx of a forked INVITE: one answer is enough (RFC 3261 §13.2.2.4).
            if response.method() == Method::Invite
                && (200..300).contains(&status)
                && let Some(dialog) = dialog
            {
                self.endpoint.ack(now, dialog, Headers::default(), None);
                let _ = self.endpoint.dialog_request(now, dialog, Method::Bye, Headers::default(), None);
            }
            return;
        };
        if matches!(status, 401 | 407)
            && !self.is_cancelled(&purpose)
            && let Some(again) = self.answer_challenge(now, tx, &purpose, response)
        {
            match purpose.goal {
                Goal::Register => self.register_challenged(),
                Goal::Invite(call) => {
                    if let Some(entry) = self.calls.get_mut(&call) {
                        entry.stage = Stage::Dialling { tx: again, cancelled: false };
                    }
                }
                Goal::Change(_) | Goal::Refresh(_) | Goal::Bye(_) | Goal::Other(_) => {}
            }
            return;
        }
        match purpose.goal {
            Goal::Register => self.register_answered(now, response),
            Goal::Invite(call) => self.on_invite_final(now, call, dialog, response),
            Goal::Change(call) => self.on_change_final(now, call, dialog, response),
            Goal::Refresh(call) => {
                if matches!(status, 408 | 481)
                    && let Some(dialog) = self.calls.get(&call).and_then(|entry| entry.dialog)
                {
                    self.on_lost(now, dialog, "the peer no longer knows the call");
                }
            }
            Goal::Bye(call) => self.on_left(call),
            Goal::Other(method) => self.done(method, status),
        }
    }

    fn is_cancelled(&self, purpose: &Purpose) -> bool {
        let Goal::Invite(call) = purpose.goal else { return false };
        matches!(self.calls.get(&call).map(|entry| &entry.stage), Some(Stage::Dialling { cancelled: true, .. }))
    }

    fn on_left(&mut self, call: CallRef) {
        if let Some(Stage::Leaving { status, reason, by }) = self.calls.get(&call).map(|entry| entry.stage.clone()) {
            self.end(call, status, reason, by);
        }
    }

    fn on_progress(&mut self, now: Instant, call: CallRef, dialog: Option<DialogId>, response: &Message) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        if let Some(dialog) = dialog {
            entry.dialog = Some(dialog);
            self.by_dialog.insert(dialog, call);
        }
        // An answer in a provisional response counts only in preview, unless it was sent reliably (RFC 3261 §13.2.1);
        // either way it says where early media comes from.
        if has_sdp(response) && entry.session.is_offering() {
            let _ = entry.session.accept(response.body());
            self.start_media(now, call);
        }
        if response.status() >= 180 {
            self.events.push_back(Event::Ringing { call, status: response.status() });
        }
    }

    fn on_invite_final(&mut self, now: Instant, call: CallRef, dialog: Option<DialogId>, response: &Message) {
        let status = response.status();
        if !(200..300).contains(&status) {
            let by = match self.calls.get(&call).map(|entry| &entry.stage) {
                Some(Stage::Dialling { cancelled: true, .. }) if status == 487 => EndedBy::Us,
                _ => EndedBy::Peer,
            };
            return self.end(call, status, reason_of(response, &response.reason_phrase()), by);
        }
        let Some(dialog) = dialog else { return };
        let Some(entry) = self.calls.get_mut(&call) else {
            self.endpoint.ack(now, dialog, Headers::default(), None);
            let _ = self.endpoint.dialog_request(now, dialog, Method::Bye, Headers::default(), None);
            return;
        };
        let cancelled = matches!(entry.stage, Stage::Dialling { cancelled: true, .. });
        entry.dialog = Some(dialog);
        entry.stage = Stage::Talking { unacknowledged: false };
        self.by_dialog.insert(dialog, call);
        let (ack_body, usable) = if has_sdp(response) {
            if entry.session.is_offering() {
                (None, entry.session.accept(response.body()).is_ok())
            } else if entry.session.agreed().is_none() {
                match entry.session.answer(response.body(), &mut self.rng) {
                    Ok(answer) => (Some(Body::sdp(answer)), true),
                    Err(_) => (None, false),
                }
            } else {
                (None, true)
            }
        } else {
            (None, entry.session.agreed().is_some())
        };
        self.endpoint.ack(now, dialog, Headers::default(), ack_body);
        if cancelled {
            // The CANCEL came too late (RFC 3261 §9.1): the call is up, so it is hung up.
            return self.leave(now, call, 487, "answered while it was cancelled".to_owned(), EndedBy::Us);
        }
        self.events.push_back(Event::Answered { call });
        if usable {
            self.start_media(now, call);
        } else {
            self.leave(now, call, 200, "no usable answer".to_owned(), EndedBy::Us);
        }
    }

    fn on_change_final(&mut self, now: Instant, call: CallRef, dialog: Option<DialogId>, response: &Message) {
        let status = response.status();
        if (200..300).contains(&status) {
            if response.method() == Method::Invite
                && let Some(dialog) = dialog.or_else(|| self.calls.get(&call).and_then(|entry| entry.dialog))
            {
                self.endpoint.ack(now, dialog, Headers::default(), None);
            }
            let Some(entry) = self.calls.get_mut(&call) else { return };
            let before = entry.session.agreed().map(|agreed| agreed.direction);
            if entry.session.accept(response.body()).is_ok() {
                entry.change = None;
                self.tell_media(now, call, before, false);
            } else {
                self.change_failed(call, 488);
            }
            return;
        }
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.session.roll_back();
        }
        if status == 491 && self.glare(now, call) {
            return;
        }
        self.change_failed(call, status);
        if matches!(status, 408 | 481) && self.calls.get(&call).is_some_and(|entry| entry.is_talking()) {
            // The dialog is dead for the peer (RFC 3261 §12.2.1.2).
            self.leave(now, call, status, "the peer no longer knows the call".to_owned(), EndedBy::Lost);
        }
    }

    fn on_failed(&mut self, now: Instant, tx: ClientTx, cause: FailCause) {
        let Some(purpose) = self.pending.remove(&tx) else { return };
        let (status, why) = match cause {
            FailCause::Timeout => (408, "nobody answered".to_owned()),
            FailCause::Transport(error) => (503, error.to_string()),
            FailCause::ForeignAnswer => (500, "the answer names another call".to_owned()),
        };
        match purpose.goal {
            Goal::Register => self.register_failed(now, status),
            Goal::Invite(call) => self.end(call, status, why, EndedBy::Lost),
            Goal::Change(call) => {
                self.change_failed(call, status);
                if self.calls.get(&call).is_some_and(|entry| entry.is_talking()) {
                    self.leave(now, call, status, why, EndedBy::Lost);
                }
            }
            Goal::Refresh(call) => {
                if self.calls.get(&call).is_some_and(|entry| entry.is_talking()) {
                    self.leave(now, call, status, why, EndedBy::Lost);
                }
            }
            Goal::Bye(call) => self.on_left(call),
            Goal::Other(method) => self.done(method, status),
        }
    }
}
