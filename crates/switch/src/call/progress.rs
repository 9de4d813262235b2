//! While phones ring: what they answer, which one wins, and what the caller hears of it.

use std::time::Instant;

use ringfort_media::bridge::AnswerIn;
use ringfort_sip::dialog::DialogId;
use ringfort_sip::endpoint::{ClientTx, FailCause, Response, ServerTx};
use ringfort_sip::message::Message;
use ringfort_sip::write::{Body, Headers};

use super::outcome::{better, for_caller};
use super::setup::{session_description, warning};
use super::{CALLER, ClientUse, DialogUse, LegState, Phase};
use crate::Switch;
use crate::crossing;
use crate::io::Level;
use crate::model::CallId;
use crate::record::EndCause;
use crate::timers::Timer;

impl Switch {
    pub(crate) fn on_response(&mut self, now: Instant, tx: ClientTx, dialog: Option<DialogId>, response: &Message) {
        let Some(&purpose) = self.clients.get(&tx) else { return };
        let status = response.status();
        if status >= 300 {
            self.clients.remove(&tx);
        }
        match purpose {
            ClientUse::Fork { call, leg } => match status {
                101..=199 => self.on_fork_progress(now, call, leg, dialog, response),
                200..=299 => self.on_fork_answer(now, tx, call, leg, dialog, response),
                _ => self.on_fork_refusal(now, call, leg, status, crossing::cross(response, crossing::REFUSAL)),
            },
            ClientUse::Abandoned => {
                if let (200..=299, Some(dialog)) = (status, dialog) {
                    self.end_stray_answer(now, dialog);
                }
            }
            ClientUse::Relayed { call, to, tx: asked, offer } => {
                if status >= 200 {
                    self.clients.remove(&tx);
                    self.on_relayed_answer(now, call, to, asked, offer, dialog, response);
                }
            }
            ClientUse::Refresh { call, leg, offered } => {
                if status >= 200 {
                    self.clients.remove(&tx);
                    self.on_refresh_answer(now, call, leg, offered, dialog, response);
                }
            }
            ClientUse::Errand(errand) => {
                if status >= 200 {
                    self.clients.remove(&tx);
                }
                self.on_errand_answer(now, errand, status);
            }
        }
    }

    pub(crate) fn on_failed(&mut self, now: Instant, tx: ClientTx, _dialog: Option<DialogId>, cause: FailCause) {
        let Some(purpose) = self.clients.remove(&tx) else { return };
        // RFC 3261 §8.1.3.1: no answer counts as 408, a transport error as 503.
        let status = match cause {
            FailCause::Timeout => 408,
            FailCause::Transport(_) => 503,
        };
        match purpose {
            ClientUse::Fork { call, leg } => {
                if let FailCause::Transport(error) = cause {
                    self.notice(
                        Level::Info,
                        None,
                        Some(call),
                        "call.transport",
                        format!("a phone is unreachable: {error}"),
                    );
                }
                self.on_fork_refusal(now, call, leg, status, Headers::default());
            }
            ClientUse::Abandoned => {}
            ClientUse::Relayed { call, to, tx: asked, offer } => self.on_relayed_failure(now, call, to, asked, offer),
            ClientUse::Refresh { call, leg, .. } => self.on_refresh_failed(now, call, leg),
            ClientUse::Errand(errand) => self.on_errand_answer(now, errand, status),
        }
    }

    fn on_fork_progress(&mut self, now: Instant, id: CallId, leg: usize, dialog: Option<DialogId>, response: &Message) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let LegState::Calling { tx, .. } = call.legs[leg].state {
            call.legs[leg].state = LegState::Calling { tx, rung: true };
        }
        if let Some(dialog) = dialog {
            call.legs[leg].dialog = Some(dialog);
            self.dialogs.insert(dialog, DialogUse::Leg { call: id, leg });
        }
        if call.is_answered() {
            return;
        }
        let LegState::Asking(asked) = call.legs[CALLER].state else { return };
        call.cdr.ringing.get_or_insert(self.clock.unix(now));

        let early = if call.late_offer { None } else { session_description(response) };
        let mut body = None;
        if let Some(answer) = early {
            let media = call.legs[leg].media;
            let carried = if call.reliable_caller { AnswerIn::Reliable } else { AnswerIn::Provisional };
            let ready = call.bridge.answer_received(now, media, &answer, &mut self.streams.ports).and_then(|()| {
                let caller = call.legs[CALLER].media;
                call.bridge.answer_for(now, caller, carried, &mut self.streams.ports)
            });
            match ready {
                Ok(sdp) => body = Some(Body::sdp(sdp)),
                Err(reject) => {
                    let text = format!("early media left out: {reject}");
                    self.notice(Level::Debug, None, Some(id), "media", text);
                }
            }
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        if body.is_none() && call.ringing_told {
            return;
        }
        call.ringing_told = true;
        let (reliable, with_media) = (call.reliable_caller, body.is_some());
        let status = if with_media && response.status() != 180 { 183 } else { 180 };
        let mut answer = Response::new(status);
        answer.headers = crossing::cross(response, crossing::PROGRESS);
        answer.body = body;
        // RFC 3262 §3: reliably where the caller can, so that the answer to its offer is not lost.
        if reliable {
            let _ = self.endpoint.respond_reliably(now, asked, answer);
        } else {
            let _ = self.endpoint.respond(now, asked, answer);
        }
        self.note_caller_dialog(id, asked);
    }

    /// The caller's dialog begins with our first answer that has a tag (RFC 3261 §12.1.1).
    fn note_caller_dialog(&mut self, id: CallId, asked: ServerTx) {
        let Some(dialog) = self.endpoint.dialog_of(asked) else { return };
        if let Some(call) = self.calls.get_mut(&id) {
            call.legs[CALLER].dialog = Some(dialog);
            self.dialogs.insert(dialog, DialogUse::Leg { call: id, leg: CALLER });
        }
    }

    fn on_fork_answer(
        &mut self,
        now: Instant,
        tx: ClientTx,
        id: CallId,
        leg: usize,
        dialog: Option<DialogId>,
        response: &Message,
    ) {
        // The transaction stays for other 2xx of a fork further on (RFC 3261 §13.2.2.4).
        self.clients.insert(tx, ClientUse::Abandoned);
        let Some(dialog) = dialog else { return };
        let waiting = self
            .calls
            .get(&id)
            .is_some_and(|c| !c.is_answered() && matches!(c.legs[leg].state, LegState::Calling { .. }));
        if !waiting {
            return self.end_stray_answer(now, dialog);
        }
        let call = self.calls.get_mut(&id).expect("it was just seen");
        let LegState::Asking(asked) = call.legs[CALLER].state else { return self.end_stray_answer(now, dialog) };
        let (media, caller) = (call.legs[leg].media, call.legs[CALLER].media);
        let sdp = session_description(response);
        let ready = match (&sdp, call.late_offer) {
            (Some(offer), true) => call.bridge.offer_received(media, offer).and_then(|()| {
                call.bridge.select(media);
                call.bridge.offer_for(now, caller, &mut self.streams.ports)
            }),
            (Some(answer), false) => {
                call.bridge.answer_received(now, media, answer, &mut self.streams.ports).and_then(|()| {
                    call.bridge.select(media);
                    call.bridge.answer_for(now, caller, AnswerIn::Final, &mut self.streams.ports)
                })
            }
            // The answer came in a reliable 1xx and need not be repeated (RFC 6337 §2.2).
            (None, false) => {
                call.bridge.select(media);
                call.bridge.answer_for(now, caller, AnswerIn::Final, &mut self.streams.ports)
            }
            (None, true) => Err(ringfort_media::bridge::SdpReject::NoSource),
        };
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        let sdp = match ready {
            Ok(sdp) => sdp,
            Err(reject) => {
                let text = format!("a phone's answer cannot be used: {reject}");
                self.notice(Level::Warn, None, Some(id), "media", text);
                self.end_stray_answer(now, dialog);
                return self.on_fork_refusal(now, id, leg, 488, warning(&reject));
            }
        };

        let call = self.calls.get_mut(&id).expect("it was just seen");
        let late = call.late_offer;
        call.phase = Phase::Answered { winner: leg };
        call.legs[leg].state = LegState::Up;
        call.legs[leg].dialog = Some(dialog);
        call.legs[leg].acked = !late;
        call.legs[CALLER].state = LegState::Up;
        call.owes_answer_to = late.then_some(leg);
        call.answered_at = Some(now);
        call.cdr.answered = Some(self.clock.unix(now));
        call.cdr.status = 200;
        self.counters.calls_answered += 1;
        if let Some(at) = call.ring_timer.take() {
            self.timers.clear(at, Timer::Ring(id));
        }
        let end = now + self.config.calls.max_duration;
        call.max_timer = Some(end);
        self.timers.set(end, Timer::MaxDuration(id));
        self.servers.remove(&asked);
        self.dialogs.insert(dialog, DialogUse::Leg { call: id, leg });
        let (tenant, text) = (call.tenant, format!("{} answered", call.cdr.callee));
        self.notice(Level::Info, Some(tenant), Some(id), "call", text);

        if !late {
            self.endpoint.ack(now, dialog, Headers::default(), None);
        }
        let mut answer = Response::new(200);
        answer.headers = crossing::cross(response, crossing::PROGRESS);
        answer.body = Some(Body::sdp(sdp));
        let _ = self.endpoint.respond(now, asked, answer);
        self.note_caller_dialog(id, asked);
        // RFC 3326 §2: phones that lose the race must not show a missed call.
        let reason = crossing::reason("SIP", 200, "Call completed elsewhere");
        self.cancel_forks(now, id, Some(leg), &reason);
        self.reoffer_if_needed(now, id);
    }

    /// A phone says no. When none is left, the caller hears the best of what they said.
    fn on_fork_refusal(&mut self, now: Instant, id: CallId, leg: usize, status: u16, words: Headers) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.legs[leg].state == LegState::Gone || call.is_answered() {
            return;
        }
        let heard = for_caller(status);
        if heard == 488 && call.bridge.fall_back_to_plain(now, call.legs[leg].media, &mut self.streams.ports) {
            return self.retry_plain(now, id, leg);
        }
        call.legs[leg].state = LegState::Gone;
        let media = call.legs[leg].media;
        call.bridge.remove_leg(now, media, &mut self.streams.ports);
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        if call.best.as_ref().is_none_or(|(best, _)| better(heard, *best)) {
            call.best = Some((heard, words));
        }
        let decided = (600..=699).contains(&heard);
        if call.open_forks() > 0 && !decided {
            return;
        }
        // RFC 3261 §16.7 step 5: a 6xx ends all branches at once.
        let (status, headers) = call.best.take().unwrap_or((480, Headers::default()));
        self.counters.calls_failed += 1;
        let cause = if status == 408 { EndCause::NoAnswer } else { EndCause::Rejected };
        self.end_call(now, id, None, status, cause, &headers, "the called side refused");
    }

    /// SRTP was offered to a phone that cannot: the same phone is asked again with plain RTP where the policy allows it.
    fn retry_plain(&mut self, now: Instant, id: CallId, leg: usize) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let media = call.legs[leg].media;
        let LegState::Calling { tx, rung } = call.legs[leg].state else { return };
        let sdp = call.bridge.offer_for(now, media, &mut self.streams.ports);
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        let again =
            sdp.ok().and_then(|sdp| self.endpoint.resend_with_body(now, tx, Headers::default(), Body::sdp(sdp)).ok());
        let Some(call) = self.calls.get_mut(&id) else { return };
        match again {
            Some(tx) => {
                call.legs[leg].state = LegState::Calling { tx, rung };
                self.clients.insert(tx, ClientUse::Fork { call: id, leg });
            }
            None => self.on_fork_refusal(now, id, leg, 480, Headers::default()),
        }
    }

    pub(crate) fn on_cancelled(&mut self, now: Instant, tx: ServerTx, cancel: &Message) {
        let Some(&id) = self.servers.get(&tx) else { return };
        let words = crossing::cross(cancel, crossing::ENDING);
        self.end_call(now, id, Some(CALLER), 487, EndCause::Cancelled, &words, "the caller gave up");
    }

    pub(crate) fn on_ring_timeout(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.ring_timer = None;
        if call.is_answered() {
            return;
        }
        let rung = call.legs[1..].iter().any(|l| matches!(l.state, LegState::Calling { rung: true, .. }));
        let best = call.best.take();
        // Somebody else's refusal says more than silence; a phone that rang says 480, none that spoke says 408.
        let (status, cause) = match best {
            Some((status, _)) if better(status, 480) => (status, EndCause::Rejected),
            _ if rung => (480, EndCause::NoAnswer),
            _ => (408, EndCause::NoAnswer),
        };
        let words = crossing::reason("Q.850", 19, "No answer from the user");
        self.end_call(now, id, None, status, cause, &words, "nobody answered in time");
    }

    pub(crate) fn on_reliable_timeout(&mut self, now: Instant, tx: ServerTx) {
        // RFC 3262 §3: the caller never acknowledged what it asked to be able to acknowledge.
        let Some(&id) = self.servers.get(&tx) else { return self.answer(now, tx, 504) };
        self.end_call(now, id, None, 504, EndCause::PeerGone, &Headers::default(), "the caller does not answer");
    }

    /// Gives up every phone that still rings, but for `keep`.
    pub(crate) fn cancel_forks(&mut self, now: Instant, id: CallId, keep: Option<usize>, reason: &Headers) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        for leg in 1..call.legs.len() {
            let LegState::Calling { tx, .. } = call.legs[leg].state else { continue };
            if Some(leg) == keep {
                continue;
            }
            call.legs[leg].state = LegState::Gone;
            call.bridge.remove_leg(now, call.legs[leg].media, &mut self.streams.ports);
            self.clients.insert(tx, ClientUse::Abandoned);
            self.endpoint.cancel(now, tx, reason.clone());
        }
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
    }

    /// A 2xx that nobody wants any more (it crossed our CANCEL): acknowledged, then ended (RFC 3261 §13.2.2.4, §9.1).
    fn end_stray_answer(&mut self, now: Instant, dialog: DialogId) {
        self.dialogs.remove(&dialog);
        self.endpoint.ack(now, dialog, Headers::default(), None);
        let reason = crossing::reason("SIP", 487, "Call completed elsewhere or given up");
        let _ = self.endpoint.dialog_request(now, dialog, ringfort_sip::method::Method::Bye, reason, None);
    }
}
