//! A call ends: both sides are told, the media stop, the record is written. Whatever ends it comes through here once.

use std::time::{Duration, Instant};

use ringfort_media::types::{PortId, StreamId};
use ringfort_sip::dialog::DialogId;
use ringfort_sip::endpoint::Response;
use ringfort_sip::method::Method;
use ringfort_sip::write::Headers;

use super::{CALLER, Call, ClientUse, DialogUse, Leg, LegState};
use crate::Switch;
use crate::crossing;
use crate::io::{Level, Output};
use crate::model::{CallId, ExtensionId, TrunkId};
use crate::record::{EndCause, JournalRecord};
use crate::streams::{QualityDone, REPORT_WITHIN};
use crate::timers::Timer;

impl Switch {
    /// Ends a call. `by` has ended its own leg already (by BYE or CANCEL) and is not told; `words` (Reason and the
    /// like) go to those who are.
    #[allow(clippy::too_many_arguments, reason = "each is a different fact about the end")]
    pub(crate) fn end_call(
        &mut self,
        now: Instant,
        id: CallId,
        by: Option<usize>,
        status: u16,
        cause: EndCause,
        words: &Headers,
        why: &str,
    ) {
        self.cancel_forks(now, id, None, words);
        self.way_is_over(id, false);
        let Some(mut call) = self.calls.remove(&id) else { return };
        self.servers.remove(&call.invite);
        self.count_extension(&call, -1);
        self.free_line(&mut call);
        self.settle(now, &mut call);
        for (at, timer) in [(call.ring_timer.take(), Timer::Ring(id)), (call.max_timer.take(), Timer::MaxDuration(id))]
        {
            if let Some(at) = at {
                self.timers.clear(at, timer);
            }
        }
        if !call.is_answered() {
            call.cdr.status = status;
        }
        call.cdr.cause = Some(cause);
        call.cdr.ended = Some(self.clock.unix(now));
        call.cdr.reason = said(words).unwrap_or_else(|| why.to_owned());
        if let Some(announcing) = call.announcing.take() {
            self.announcement_over(id, &announcing);
            if cause == EndCause::Normal {
                call.cdr.cause = Some(announcing.cause());
            }
            // The Reason is our own.
            if by.is_none() {
                call.cdr.reason = why.to_owned();
            }
        }
        let seconds = call.answered_at.map_or(0, |at| now.saturating_duration_since(at).as_secs());
        let text =
            format!("{} to {} ended after {seconds} s: {why} ({})", call.cdr.caller, call.cdr.callee, call.cdr.status);
        self.notice(Level::Info, Some(call.tenant), Some(id), cause_rule(cause), text);

        // The record first: it is on its way to the disk before anybody hears that the call is over.
        self.close_media(now, &mut call);
        let legs = std::mem::take(&mut call.legs);
        self.outputs.push_back(Output::Journal(JournalRecord::CallEnded(call.cdr)));
        self.await_quality(now, id);

        for (index, leg) in legs.into_iter().enumerate() {
            if let Some(address) = leg.talks_from {
                self.talkers.remove(address);
            }
            match leg.state {
                LegState::Asking(tx) => {
                    if by != Some(index) {
                        let mut response = Response::new(status);
                        response.headers = words.clone();
                        let _ = self.endpoint.respond(now, tx, response);
                    }
                }
                LegState::Up => {
                    let Some(dialog) = leg.dialog else { continue };
                    if by == Some(index) {
                        self.dialogs.remove(&dialog);
                    } else if index == CALLER && !leg.acked {
                        self.dialogs
                            .insert(dialog, DialogUse::ByeOnAck { words: with_reason(words), trunk: leg.trunk });
                    } else {
                        self.bye(now, dialog, words, &leg);
                    }
                }
                LegState::Calling { .. } | LegState::Gone => {}
            }
        }
    }

    /// Hangs up a dialog. A callee whose 2xx waited for the caller's answer is acknowledged first.
    fn bye(&mut self, now: Instant, dialog: DialogId, words: &Headers, leg: &Leg) {
        self.dialogs.remove(&dialog);
        if !leg.acked {
            self.endpoint.ack(now, dialog, Headers::default(), None);
        }
        self.send_bye(now, dialog, words.clone(), leg.trunk);
    }

    pub(crate) fn send_bye(&mut self, now: Instant, dialog: DialogId, words: Headers, trunk: Option<TrunkId>) {
        if let Ok(client) = self.endpoint.dialog_request(now, dialog, Method::Bye, words, None) {
            self.clients.insert(client, ClientUse::Ending { trunk });
        }
    }

    /// The ACK (or its absence) that a BYE has waited for.
    pub(crate) fn bye_after_ack(&mut self, now: Instant, dialog: DialogId) {
        if let Some(DialogUse::ByeOnAck { words, trunk }) = self.dialogs.remove(&dialog) {
            self.send_bye(now, dialog, words, trunk);
        }
    }

    pub(crate) fn close_media(&mut self, now: Instant, call: &mut Call) {
        call.bridge.close(now, &mut self.streams.ports);
        self.streams.drain(call.id, &mut call.bridge, &mut self.outputs);
    }

    /// A call is over and its media closed: what the relay reports is written down when it is whole, or late.
    pub(crate) fn await_quality(&mut self, now: Instant, call: CallId) {
        if let Some(done) = self.streams.call_over(call) {
            self.finish_quality(done);
        } else if self.streams.awaits_report(call) {
            self.timers.set(now + REPORT_WITHIN, Timer::Quality(call));
        }
    }

    pub(crate) fn finish_quality(&mut self, done: QualityDone) {
        if !done.directions.is_empty() {
            let record = JournalRecord::CallQuality { call: done.call, directions: done.directions };
            self.outputs.push_back(Output::Journal(record));
        }
    }

    pub(crate) fn on_max_duration(&mut self, now: Instant, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.max_timer = None;
        }
        let words = crossing::reason("Q.850", 31, "Longest call time reached");
        self.end_call(now, id, None, 200, EndCause::MaxDuration, &words, "longest call time reached");
    }

    pub(crate) fn on_silent(&mut self, now: Instant, id: StreamId, for_: Duration) {
        let Some(id) = self.streams.silent(id) else { return };
        let Some(call) = self.calls.get(&id).filter(|c| c.is_answered()) else { return };
        let streams = call.legs.iter().flat_map(|l| call.bridge.streams(l.media)).map(|(stream, _)| stream);
        // Whoever is on hold need not be sent anything, and many phones send nothing then: that both are still there is
        // for session timers to find out.
        if call.bridge.is_one_way() || !self.streams.all_silent(streams) {
            return;
        }
        let why = format!("no media for {} s", for_.as_secs());
        let words = crossing::reason("Q.850", 41, "No media");
        self.end_call(now, id, None, 200, EndCause::MediaTimeout, &words, &why);
    }

    /// Another program has the port, or the process may open no more sockets: the port is left alone for a while, and
    /// the call, which would be silent, ends with a word.
    pub(crate) fn on_port_failed(&mut self, now: Instant, id: StreamId, port: PortId) {
        self.streams.ports.failed(now, port);
        let call = self.streams.call_of(id);
        let text = format!(
            "UDP ports {} and {} cannot be opened: another program has them (`ss -ulpn` says which) or the limit of open \
             files is reached; they are left alone for a while",
            port.rtp(),
            port.rtcp()
        );
        let tenant = call.and_then(|id| self.calls.get(&id)).map(|c| c.tenant);
        self.notice(Level::Warn, tenant, call, "media.port", text);
        if let Some(call) = call {
            let words = crossing::reason("Q.850", 47, "No media port");
            self.end_call(now, call, None, 503, EndCause::Internal, &words, "a media port could not be opened");
        }
    }

    pub(crate) fn on_session_expired(&mut self, now: Instant, dialog: DialogId) {
        if let Some(&DialogUse::Leg { call, .. }) = self.dialogs.get(&dialog) {
            let words = crossing::reason("SIP", 408, "Session expired");
            self.end_call(now, call, None, 200, EndCause::PeerGone, &words, "a side stopped refreshing its session");
        }
    }

    pub(crate) fn on_ack_timeout(&mut self, now: Instant, dialog: DialogId) {
        match self.dialogs.get(&dialog) {
            Some(&DialogUse::Leg { call, leg }) => {
                if let Some(call) = self.calls.get_mut(&call) {
                    call.legs[leg].acked = true;
                }
                let words = crossing::reason("SIP", 408, "No ACK");
                self.end_call(now, call, None, 200, EndCause::PeerGone, &words, "an answer was never acknowledged");
            }
            Some(DialogUse::ByeOnAck { .. }) => self.bye_after_ack(now, dialog),
            None => {}
        }
    }

    /// Calls an extension takes part in.
    pub(crate) fn calls_of(&self, extension: ExtensionId) -> u32 {
        self.busy.get(&extension).copied().unwrap_or(0)
    }

    pub(crate) fn count_extension(&mut self, call: &Call, change: i32) {
        for extension in [call.cdr.from_extension, call.cdr.to_extension].into_iter().flatten() {
            let count = self.busy.entry(extension).or_default();
            *count = count.saturating_add_signed(change);
            if *count == 0 {
                self.busy.remove(&extension);
            }
        }
    }
}

/// Words for a caller who is hung up the moment he has acknowledged: without a Reason (RFC 3326) his phone would show a
/// call that was answered and lost.
fn with_reason(words: &Headers) -> Headers {
    let mut words = words.clone();
    if !words.contains("Reason") {
        words.append(&crossing::reason("Q.850", 16, "The called side hung up"));
    }
    words
}

/// The text of a Reason header field, for the record.
fn said(words: &Headers) -> Option<String> {
    let (_, value) = words.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"Reason"))?;
    let value = String::from_utf8_lossy(value);
    Some(value.chars().filter(|c| !c.is_control()).take(200).collect())
}

/// The name of the rule that ended a call, for the log.
fn cause_rule(cause: EndCause) -> &'static str {
    match cause {
        EndCause::Normal | EndCause::Cancelled | EndCause::Rejected => "call",
        EndCause::NoAnswer => "limit.ring_time",
        EndCause::Refused => "refused",
        EndCause::MaxDuration => "limit.call_time",
        EndCause::MediaTimeout => "limit.media_silence",
        EndCause::PeerGone => "call.peer_gone",
        EndCause::Operator => "operator",
        EndCause::Shutdown => "shutdown",
        EndCause::Crash => "crash",
        EndCause::Internal => "internal",
        EndCause::Spending => "spending",
    }
}
