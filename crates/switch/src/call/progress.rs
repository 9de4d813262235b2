//! While phones ring: what they answer, which one wins, and what the caller hears of it.

use std::time::Instant;

use ringfort_media::bridge::AnswerIn;
use ringfort_sip::dialog::DialogId;
use ringfort_sip::endpoint::{ClientTx, FailCause, Response, ServerTx};
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_sip::write::{Body, Headers};

use super::outcome::{better, for_caller, from_outside};
use super::setup::{session_description, warning};
use super::{Answer, CALLER, ClientUse, DialogUse, LegState, Offer, Phase};
use crate::Switch;
use crate::crossing;
use crate::io::{Level, Output};
use crate::model::{CallId, TrunkId};
use crate::record::{EndCause, JournalRecord};
use crate::timers::Timer;

impl Switch {
    pub(crate) fn on_response(&mut self, now: Instant, tx: ClientTx, dialog: Option<DialogId>, response: &Message) {
        let status = response.status();
        let Some(&purpose) = self.clients.get(&tx) else {
            // RFC 3261 §13.2.2.4: a fork further on answers as well.
            if let (200..=299, Some(dialog), Method::Invite) = (status, dialog, response.cseq().method) {
                self.answered_again(now, Answer::of(tx, response));
                self.end_stray_answer(now, dialog, None);
            }
            return;
        };
        if status >= 200 {
            self.clients.remove(&tx);
        }
        if status == 422 && self.asks_for_longer(now, tx, purpose)
            || matches!(status, 401 | 407) && self.answers_challenge(now, tx, purpose, response)
        {
            return;
        }
        match purpose {
            ClientUse::Fork { call, leg } => match status {
                // RFC 6228: a fork further on ended early; it concerns nobody else.
                199 => {}
                101..=198 => self.on_fork_progress(now, call, leg, dialog, response),
                200..=299 => self.on_fork_answer(now, call, leg, dialog, response),
                422 => self.on_fork_interval(now, tx, call, leg),
                _ => {
                    let retry_after = crate::trunk::retry_after(response);
                    if !self.on_outside_refusal(now, tx, call, leg, status, retry_after, Some(response)) {
                        let mut words = crossing::cross(response, crossing::REFUSAL);
                        if self.calls.get(&call).is_some_and(|call| call.legs[leg].trunk.is_some()) {
                            words.append(&words_of_trunk(response, &words));
                        }
                        self.on_fork_refusal(now, tx, call, leg, status, words);
                    }
                }
            },
            ClientUse::Abandoned { trunk } => {
                if status >= 200 {
                    self.stray_ended(now, tx, (status < 300).then(|| Answer::of(tx, response)));
                }
                if let (200..=299, Some(dialog)) = (status, dialog) {
                    self.end_stray_answer(now, dialog, trunk);
                }
            }
            ClientUse::Relayed { call, to, tx: asked, offer } => {
                if status >= 200 {
                    self.relayed.remove(&asked);
                    self.on_relayed_answer(now, call, to, asked, offer, dialog, response);
                }
            }
            ClientUse::Refresh { call, leg, offered } => {
                if status >= 200 {
                    self.on_refresh_answer(now, call, leg, offered, dialog, response);
                }
            }
            ClientUse::Withdrawn { call, peer } => {
                if status >= 200 {
                    self.on_withdrawn_answer(now, call, peer, dialog, status);
                }
            }
            ClientUse::Ending { .. } => {}
            ClientUse::Errand(errand) => self.on_errand_answer(now, errand, status),
            ClientUse::Trunk(whose) => self.on_trunk_response(now, tx, whose, dialog, response),
        }
    }

    /// RFC 4028 §7.3: a change or refresh whose session interval is too short for its peer is sent again with a longer
    /// one; whoever asked for it need not hear of it.
    fn asks_for_longer(&mut self, now: Instant, tx: ClientTx, purpose: ClientUse) -> bool {
        // INFO and MESSAGE have no session interval.
        let has_interval = match purpose {
            ClientUse::Relayed { offer, .. } => offer != Offer::None,
            ClientUse::Refresh { .. } => true,
            _ => false,
        };
        if !has_interval {
            return false;
        }
        let Ok(again) = self.endpoint.resend_with(now, tx, Headers::default()) else { return false };
        self.sent_again(again, purpose);
        true
    }

    /// The same request, by another transaction.
    pub(super) fn sent_again(&mut self, again: ClientTx, purpose: ClientUse) {
        self.clients.insert(again, purpose);
        if let ClientUse::Relayed { tx: asked, .. } = purpose
            && let Some(waiting) = self.relayed.get_mut(&asked)
        {
            *waiting = again;
        }
    }

    pub(crate) fn on_failed(&mut self, now: Instant, tx: ClientTx, _dialog: Option<DialogId>, cause: FailCause) {
        let Some(purpose) = self.clients.remove(&tx) else { return };
        // RFC 3261 §8.1.3.1: no answer counts as 408, a transport error as 503.
        let status = match cause {
            FailCause::Timeout => 408,
            FailCause::Transport(_) => 503,
            FailCause::ForeignAnswer => 500,
        };
        match purpose {
            ClientUse::Fork { call, leg } => {
                let trunk = self.calls.get(&call).and_then(|found| found.legs[leg].trunk);
                let whom = if trunk.is_some() { "a line" } else { "a phone" };
                let note = match cause {
                    FailCause::Timeout => None,
                    FailCause::Transport(error) => Some((Level::Info, format!("{whom} is unreachable: {error}"))),
                    FailCause::ForeignAnswer => {
                        Some((Level::Warn, format!("the 200 of {whom} names another Call-ID or tag than our INVITE")))
                    }
                };
                if let Some(trunk) = trunk {
                    let words = note.as_ref().map_or("no answer in time", |(_, text)| text);
                    self.trunks.call_failed(now, trunk, format!("a call could not be made: {words}"));
                }
                if let Some((level, text)) = note {
                    self.notice(level, None, Some(call), "call.transport", text);
                }
                if !self.on_outside_refusal(now, tx, call, leg, status, None, None) {
                    self.on_fork_refusal(now, tx, call, leg, status, Headers::default());
                }
            }
            ClientUse::Abandoned { .. } => self.stray_ended(now, tx, None),
            ClientUse::Ending { .. } => {}
            ClientUse::Withdrawn { call, .. } => self.roll_back(now, call),
            ClientUse::Relayed { call, tx: asked, offer, .. } => {
                self.relayed.remove(&asked);
                self.on_relayed_failure(now, call, asked, offer, cause);
            }
            ClientUse::Refresh { call, leg, offered } => match cause {
                FailCause::Transport(_) => self.on_refresh_lost(now, call, leg, offered),
                FailCause::Timeout | FailCause::ForeignAnswer => self.on_refresh_failed(now, call),
            },
            ClientUse::Errand(errand) => self.on_errand_answer(now, errand, status),
            ClientUse::Trunk(whose) => self.on_trunk_failed(now, whose, cause),
        }
    }

    fn on_fork_progress(&mut self, now: Instant, id: CallId, leg: usize, dialog: Option<DialogId>, response: &Message) {
        self.outside_lives(now, id);
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let LegState::Calling { tx, .. } = call.legs[leg].state {
            call.legs[leg].state = LegState::Calling { tx, rung: true };
        }
        if let Some(dialog) = dialog {
            self.begin_dialog(id, leg, dialog);
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
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
        // One 180 is enough, but a 183 does not stand for it: silence is no ringing.
        let rings = response.status() == 180;
        if body.is_none() && (call.ringing_told || !rings && call.progress_told) {
            return;
        }
        call.ringing_told |= rings;
        call.progress_told = true;
        let reliable = call.reliable_caller;
        let status = if rings || body.is_none() { 180 } else { 183 };
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
    pub(super) fn note_caller_dialog(&mut self, id: CallId, asked: ServerTx) {
        if let Some(dialog) = self.endpoint.dialog_of(asked) {
            self.begin_dialog(id, CALLER, dialog);
        }
    }

    /// A leg has a dialog now. Its Contact or Record-Route says where requests within the call go on to (RFC 3261 §12.1). Never
    /// to a trunk, unless it is the trunk's own call: a provider who knows us by our address would have an INVITE of ours
    /// that a stranger made (GUARD-4). Those stay on the way that the call began on.
    fn begin_dialog(&mut self, id: CallId, leg: usize, dialog: DialogId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        self.dialogs.insert(dialog, DialogUse::Leg { call: id, leg });
        let side = &mut call.legs[leg];
        side.dialog = Some(dialog);
        let target = self.endpoint.dialog(dialog).map(|dialog| dialog.target().remote().ip());
        if side.trunk.is_none()
            && target.is_some_and(|ip| self.sources.knows(ip))
            && let Some(began_at) = side.began_at.clone()
        {
            self.endpoint.set_target(dialog, began_at);
        }
    }

    fn on_fork_answer(&mut self, now: Instant, id: CallId, leg: usize, dialog: Option<DialogId>, response: &Message) {
        let Some(dialog) = dialog else { return };
        let trunk = self.calls.get(&id).and_then(|call| call.legs[leg].trunk);
        let waiting = self.calls.get_mut(&id).filter(|call| !call.is_answered());
        let Some((call, tx)) = waiting.and_then(|call| match call.legs[leg].state {
            LegState::Calling { tx, .. } => Some((call, tx)),
            LegState::Asking(_) | LegState::Up | LegState::Gone => None,
        }) else {
            return self.end_stray_answer(now, dialog, trunk);
        };
        let LegState::Asking(asked) = call.legs[CALLER].state else {
            return self.end_stray_answer(now, dialog, trunk);
        };
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
                self.pay_for_nothing(now, Answer::of(tx, response), id);
                self.end_stray_answer(now, dialog, trunk);
                return self.fork_over(now, id, leg, 488, warning(&reject));
            }
        };

        self.outside_lives(now, id);
        self.begin_paying(now, Answer::of(tx, response), id);
        self.way_is_over(id, true);
        let call = self.calls.get_mut(&id).expect("it was just seen");
        let late = call.late_offer;
        call.phase = Phase::Answered { winner: leg };
        call.legs[leg].state = LegState::Up;
        call.legs[leg].acked = !late;
        call.legs[CALLER].state = LegState::Up;
        call.owes_answer_to = late.then_some(leg);
        call.answered_at = Some(now);
        call.cdr.answered = Some(self.clock.unix(now));
        call.cdr.status = 200;
        // After a crash the record says when the call was answered.
        self.outputs.push_back(Output::Journal(JournalRecord::CallStarted(call.cdr.clone())));
        self.counters.calls_answered += 1;
        if let Some(at) = call.ring_timer.take() {
            self.timers.clear(at, Timer::Ring(id));
        }
        let end = now + self.config.calls.max_duration;
        call.max_timer = Some(end);
        self.timers.set(end, Timer::MaxDuration(id));
        // `servers` keeps the caller's request until its ACK: a 2xx that waits for a PRACK (RFC 3262 §3) can still be
        // cancelled.
        let (tenant, text) = (call.tenant, format!("{} answered", call.cdr.callee));
        self.begin_dialog(id, leg, dialog);
        self.talks_from_its_beginning(id, leg);
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
    fn on_fork_refusal(&mut self, now: Instant, tx: ClientTx, id: CallId, leg: usize, status: u16, words: Headers) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.legs[leg].state == LegState::Gone || call.is_answered() {
            return;
        }
        let media = call.legs[leg].media;
        if matches!(status, 415 | 488 | 606) && call.bridge.fall_back_to_plain(now, media, &mut self.streams.ports) {
            return self.retry_plain(now, tx, id, leg);
        }
        self.fork_over(now, id, leg, status, words);
    }

    /// One phone less: when none is left, the caller hears the best of what they said.
    fn fork_over(&mut self, now: Instant, id: CallId, leg: usize, status: u16, words: Headers) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let heard = if call.legs[leg].extension.is_some() { for_caller(status) } else { from_outside(status) };
        call.legs[leg].state = LegState::Gone;
        let media = call.legs[leg].media;
        call.bridge.remove_leg(now, media, &mut self.streams.ports);
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        // RFC 3261 §16.7 step 5: a 6xx ends all branches at once.
        let decided = (600..=699).contains(&heard);
        if decided || call.best.as_ref().is_none_or(|(best, _)| better(heard, *best)) {
            call.best = Some((heard, words));
        }
        if call.open_forks() > 0 && !decided {
            return;
        }
        let elsewhere = crossing::reason("SIP", heard, "Declined by another phone");
        self.cancel_forks(now, id, None, &elsewhere);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let (status, headers) = call.best.take().unwrap_or((480, Headers::default()));
        self.counters.calls_failed += 1;
        let cause = if status == 408 { EndCause::NoAnswer } else { EndCause::Rejected };
        self.end_call(now, id, None, status, cause, &headers, "the called side refused");
    }

    /// SRTP was offered to a phone that cannot: the same phone is asked again with plain RTP where the policy allows it.
    pub(super) fn retry_plain(&mut self, now: Instant, tx: ClientTx, id: CallId, leg: usize) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let media = call.legs[leg].media;
        let LegState::Calling { rung, .. } = call.legs[leg].state else { return };
        let sdp = call.bridge.offer_for(now, media, &mut self.streams.ports);
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        let again =
            sdp.ok().and_then(|sdp| self.endpoint.resend_with_body(now, tx, Headers::default(), Body::sdp(sdp)).ok());
        let Some(call) = self.calls.get_mut(&id) else { return };
        match again {
            Some(tx) => {
                call.legs[leg].state = LegState::Calling { tx, rung };
                self.clients.insert(tx, ClientUse::Fork { call: id, leg });
                self.asked_again(now, id);
            }
            None => self.fork_over(now, id, leg, 480, Headers::default()),
        }
    }

    /// RFC 4028 §7.3: the phone wants a longer session interval; the endpoint knows which.
    fn on_fork_interval(&mut self, now: Instant, tx: ClientTx, id: CallId, leg: usize) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let LegState::Calling { rung, .. } = call.legs[leg].state else { return };
        match self.endpoint.resend_with(now, tx, Headers::default()) {
            Ok(tx) => {
                call.legs[leg].state = LegState::Calling { tx, rung };
                self.clients.insert(tx, ClientUse::Fork { call: id, leg });
                self.asked_again(now, id);
            }
            Err(_) => self.fork_over(now, id, leg, 480, Headers::default()),
        }
    }

    pub(crate) fn on_cancelled(&mut self, now: Instant, tx: ServerTx, cancel: &Message) {
        let words = crossing::cross(cancel, crossing::ENDING);
        if let Some(client) = self.relayed.remove(&tx) {
            return self.withdraw(now, client, words);
        }
        if let Some(held) = self.give_up_held(tx) {
            return self.on_held_cancelled(now, held);
        }
        let Some(&id) = self.servers.get(&tx) else { return };
        self.take_back_answer(id, 487);
        self.end_call(now, id, Some(CALLER), 487, EndCause::Cancelled, &words, "the caller gave up");
    }

    pub(crate) fn on_ring_timeout(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.ring_timer = None;
        if call.announcing.is_some() {
            return self.finish_announcement(now, id);
        }
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
        if let Some(&id) = self.servers.get(&tx) {
            self.take_back_answer(id, 504);
            let words = crossing::reason("SIP", 504, "The caller does not answer");
            self.end_call(now, id, Some(CALLER), 504, EndCause::PeerGone, &words, "the caller does not answer");
        }
        self.answer(now, tx, 504);
    }

    /// A phone has answered, but the caller never got the 2xx: for him the call was never answered.
    fn take_back_answer(&mut self, id: CallId, status: u16) {
        if let Some(call) = self.calls.get_mut(&id).filter(|c| c.is_answered()) {
            call.cdr.status = status;
            call.cdr.answered = None;
            self.counters.calls_answered -= 1;
        }
    }

    /// Gives up every phone that still rings, but for `keep`.
    pub(crate) fn cancel_forks(&mut self, now: Instant, id: CallId, keep: Option<usize>, reason: &Headers) {
        let Some(call) = self.calls.get(&id) else { return };
        let open = call.legs.iter().enumerate().skip(1).find_map(|(index, leg)| match leg.state {
            LegState::Calling { tx, .. } if leg.trunk.is_some() && Some(index) != keep => Some(tx),
            _ => None,
        });
        if let Some(tx) = open {
            self.stray(id, tx);
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        for leg in 1..call.legs.len() {
            let LegState::Calling { tx, .. } = call.legs[leg].state else { continue };
            if Some(leg) == keep {
                continue;
            }
            call.legs[leg].state = LegState::Gone;
            call.bridge.remove_leg(now, call.legs[leg].media, &mut self.streams.ports);
            self.clients.insert(tx, ClientUse::Abandoned { trunk: call.legs[leg].trunk });
            self.endpoint.cancel(now, tx, reason.clone());
        }
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
    }

    /// A 2xx of that trunk's that nobody wants any more (it crossed our CANCEL): acknowledged, then ended (RFC 3261
    /// §13.2.2.4, §9.1).
    pub(crate) fn end_stray_answer(&mut self, now: Instant, dialog: DialogId, trunk: Option<TrunkId>) {
        self.dialogs.remove(&dialog);
        self.endpoint.ack(now, dialog, Headers::default(), None);
        let reason = crossing::reason("SIP", 487, "Call completed elsewhere or given up");
        self.send_bye(now, dialog, reason, trunk);
    }
}

/// What a trunk's refusal says beyond the fields that cross anyway: what it was where the caller hears another status
/// (RFC 3326), and where he may complain of a 608 (RFC 8688 §3.3).
fn words_of_trunk(response: &Message, crossed: &Headers) -> Headers {
    let status = response.status();
    if status == 608 {
        return crossing::complaint(response);
    }
    if from_outside(status) == status || crossed.contains("Reason") {
        return Headers::default();
    }
    crossing::reason("SIP", status, "Refused by the line")
}
