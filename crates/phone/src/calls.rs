//! The phone's calls: the verbs of a caller and of a called phone, and each call's state. What comes from the network
//! is in `events`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::{Rng, RngExt};
use ringfort_media::sdp::Direction;
use ringfort_sip::endpoint::{ClientTx, Contact, DialogId, OutRequest, Response, ServerTx};
use ringfort_sip::method::Method;
use ringfort_sip::write::{Body, Headers};

use crate::config::AnswerPolicy;
use crate::media::{Media, MediaReport, RtpTransmit};
use crate::requests::{Goal, Purpose};
use crate::session::{Agreed, Session};
use crate::tone::Law;
use crate::{CallRef, EndedBy, Event, Phone, PhoneError, Timer};

/// How far a call has come.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// Our INVITE is out.
    Dialling { tx: ClientTx, cancelled: bool },
    /// Their INVITE waits for our answer.
    Alerting { tx: ServerTx },
    /// Answered; `tx` is the INVITE of a called phone whose 200 waits for its ACK.
    Talking { unacknowledged: bool },
    /// Our BYE is out.
    Leaving { status: u16, reason: String, by: EndedBy },
}

impl Stage {
    fn name(&self) -> &'static str {
        match self {
            Stage::Dialling { .. } => "dialling",
            Stage::Alerting { .. } => "alerting",
            Stage::Talking { .. } => "talking",
            Stage::Leaving { .. } => "ending",
        }
    }
}

/// A change of the session that is under way or waits to be tried again.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub direction: Option<Direction>,
    pub laws: Option<Vec<Law>>,
    pub method: Method<'static>,
    /// How often it met a 491.
    pub glares: u32,
}

/// One call.
pub(crate) struct Call {
    pub stage: Stage,
    pub outgoing: bool,
    pub dialog: Option<DialogId>,
    pub session: Session,
    pub media: Option<Media>,
    /// The peer's offer came in their INVITE and has our answer.
    pub answered_offer: bool,
    pub change: Option<Change>,
}

impl Call {
    pub(crate) fn is_talking(&self) -> bool {
        matches!(self.stage, Stage::Talking { .. })
    }

    pub(crate) fn agreed(&self) -> Option<&Agreed> {
        self.session.agreed()
    }

    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.session.port() == port & !1
    }

    pub(crate) fn next_packet(&self) -> Option<Instant> {
        self.media.as_ref().and_then(Media::next_packet)
    }

    pub(crate) fn poll_rtp(&mut self, now: Instant) -> Option<RtpTransmit> {
        self.media.as_mut().and_then(|media| media.poll(now))
    }

    pub(crate) fn handle_rtp(&mut self, now: Instant, port: u16, packet: &mut [u8]) {
        if let Some(media) = &mut self.media {
            media.handle(now, port, packet);
        }
    }

    pub(crate) fn media_report(&self) -> Option<MediaReport> {
        self.media.as_ref().map(Media::report)
    }
}

impl Phone {
    /// Calls a number; the INVITE carries an offer.
    pub fn call(&mut self, now: Instant, number: &str) -> Result<CallRef, PhoneError> {
        let uri = self.uri_of(number);
        self.dial(now, &uri, &uri, false)
    }

    /// Calls a number by an INVITE without an offer: it comes with the answer (RFC 3264 §5, "late offer").
    pub fn call_late_offer(&mut self, now: Instant, number: &str) -> Result<CallRef, PhoneError> {
        let uri = self.uri_of(number);
        self.dial(now, &uri, &uri, true)
    }

    /// Calls `to` where it is registered, at `contact`: what a provider does with a number of a customer's (RFC 3261 §16.5).
    /// Both are whole URIs.
    pub fn call_at(&mut self, now: Instant, contact: &str, to: &str) -> Result<CallRef, PhoneError> {
        self.dial(now, contact, to, false)
    }

    fn dial(&mut self, now: Instant, uri: &str, to: &str, late: bool) -> Result<CallRef, PhoneError> {
        let mut session = self.new_session();
        let body = (!late).then(|| Body::sdp(session.offer(None, None, &mut self.rng)));
        let request = OutRequest {
            to: format!("<{to}>"),
            contact: Some(Contact { user: Some(self.config.user.clone()), ..Contact::default() }),
            body,
            session: self.config.session,
            reliable: self.config.reliable,
            ..self.new_request(Method::Invite, uri)
        };
        let call = CallRef(self.next_call);
        let tx = self.send(now, Goal::Invite(call), request)?;
        self.next_call += 1;
        let stage = Stage::Dialling { tx, cancelled: false };
        self.calls.insert(call, self.new_call(stage, true, session));
        Ok(call)
    }

    pub(crate) fn new_call(&self, stage: Stage, outgoing: bool, session: Session) -> Call {
        Call { stage, outgoing, dialog: None, session, media: None, answered_offer: false, change: None }
    }

    /// A session on the lowest port that no call uses.
    pub(crate) fn new_session(&mut self) -> Session {
        let first = self.config.media.port;
        let port = (first..=u16::MAX - 1)
            .step_by(2)
            .find(|&port| !self.calls.values().any(|call| call.has_port(port)))
            .unwrap_or(first);
        Session::new(&self.config.media, port, &mut self.rng)
    }

    fn get(&mut self, call: CallRef) -> Result<&mut Call, PhoneError> {
        self.calls.get_mut(&call).ok_or(PhoneError::NoSuchCall(call))
    }

    fn alerting(&mut self, call: CallRef) -> Result<ServerTx, PhoneError> {
        match &self.get(call)?.stage {
            Stage::Alerting { tx } => Ok(*tx),
            other => Err(PhoneError::State { expected: "alerting", got: other.name() }),
        }
    }

    fn talking_dialog(&mut self, call: CallRef) -> Result<DialogId, PhoneError> {
        let entry = self.get(call)?;
        match (&entry.stage, entry.dialog) {
            (Stage::Talking { .. }, Some(dialog)) => Ok(dialog),
            (stage, _) => Err(PhoneError::State { expected: "talking", got: stage.name() }),
        }
    }

    fn response(&self, status: u16) -> Response {
        Response { contact_user: Some(self.config.user.clone()), ..Response::new(status) }
    }

    /// 180 to an incoming call.
    pub fn ring(&mut self, now: Instant, call: CallRef) -> Result<(), PhoneError> {
        let tx = self.alerting(call)?;
        let response = self.response(180);
        self.provisional(now, tx, response)?;
        self.learn_dialog(call, tx);
        Ok(())
    }

    /// 183 with our answer to an incoming call, so that the caller hears us before we answer.
    pub fn early_media(&mut self, now: Instant, call: CallRef) -> Result<(), PhoneError> {
        let tx = self.alerting(call)?;
        let entry = self.get(call)?;
        let response = if entry.answered_offer {
            let body = Body::sdp(entry.session.last());
            let response = self.response(183).body(body);
            self.start_media(now, call);
            response
        } else {
            self.response(183)
        };
        self.provisional(now, tx, response)?;
        self.learn_dialog(call, tx);
        Ok(())
    }

    fn provisional(&mut self, now: Instant, tx: ServerTx, response: Response) -> Result<(), PhoneError> {
        if self.config.reliable && self.endpoint.respond_reliably(now, tx, response.clone()).is_ok() {
            return Ok(());
        }
        Ok(self.endpoint.respond(now, tx, response)?)
    }

    fn learn_dialog(&mut self, call: CallRef, tx: ServerTx) {
        let Some(dialog) = self.endpoint.dialog_of(tx) else { return };
        self.by_dialog.insert(dialog, call);
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.dialog = Some(dialog);
        }
    }

    /// 200 to an incoming call, with our answer, or with our offer where the INVITE had none.
    pub fn answer(&mut self, now: Instant, call: CallRef) -> Result<(), PhoneError> {
        let tx = self.alerting(call)?;
        let entry = self.calls.get_mut(&call).ok_or(PhoneError::NoSuchCall(call))?;
        let sdp = match entry.answered_offer {
            true => entry.session.last(),
            false => entry.session.offer(None, None, &mut self.rng),
        };
        let response = self.response(200).body(Body::sdp(sdp));
        self.endpoint.respond(now, tx, response)?;
        self.learn_dialog(call, tx);
        self.get(call)?.stage = Stage::Talking { unacknowledged: true };
        self.start_media(now, call);
        Ok(())
    }

    /// A final refusal (300–699) to an incoming call.
    pub fn reject(&mut self, now: Instant, call: CallRef, status: u16) -> Result<(), PhoneError> {
        let tx = self.alerting(call)?;
        self.endpoint.respond(now, tx, Response::new(status))?;
        self.end(call, status, ringfort_sip::reason::reason_phrase(status).to_owned(), EndedBy::Us);
        Ok(())
    }

    /// Gives up a call that has no answer yet. Should the answer be under way already, the call is hung up when it
    /// comes (RFC 3261 §9.1, §15).
    pub fn cancel(&mut self, now: Instant, call: CallRef) -> Result<(), PhoneError> {
        match &mut self.get(call)?.stage {
            Stage::Dialling { tx, cancelled } => {
                *cancelled = true;
                let tx = *tx;
                self.endpoint.cancel(now, tx, Headers::default());
                Ok(())
            }
            other => Err(PhoneError::State { expected: "dialling", got: other.name() }),
        }
    }

    /// Ends a call, whatever its state: CANCEL, 603 or BYE.
    pub fn hang_up(&mut self, now: Instant, call: CallRef) -> Result<(), PhoneError> {
        match self.get(call)?.stage {
            Stage::Dialling { .. } => self.cancel(now, call),
            Stage::Alerting { .. } => self.reject(now, call, 603),
            Stage::Talking { .. } => {
                self.leave(now, call, 200, "hung up".to_owned(), EndedBy::Us);
                Ok(())
            }
            Stage::Leaving { .. } => Ok(()),
        }
    }

    /// Sends BYE; the call is over when it is answered.
    pub(crate) fn leave(&mut self, now: Instant, call: CallRef, status: u16, reason: String, by: EndedBy) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        entry.media = None;
        let Some(dialog) = entry.dialog else { return self.end(call, status, reason, by) };
        entry.stage = Stage::Leaving { status, reason: reason.clone(), by };
        if self.in_dialog(now, dialog, Goal::Bye(call), Method::Bye, Headers::default(), None).is_err() {
            self.end(call, status, reason, by);
        }
    }

    /// The call is no more, and told so once.
    pub(crate) fn end(&mut self, call: CallRef, status: u16, reason: String, by: EndedBy) {
        if self.calls.remove(&call).is_none() {
            return;
        }
        self.by_dialog.retain(|_, of| *of != call);
        self.by_server.retain(|_, of| *of != call);
        self.events.push_back(Event::Ended { call, status, reason, by });
    }

    pub(crate) fn in_dialog(
        &mut self,
        now: Instant,
        dialog: DialogId,
        goal: Goal,
        method: Method<'static>,
        headers: Headers,
        body: Option<Body>,
    ) -> Result<(), PhoneError> {
        let uri = self.endpoint.dialog(dialog).map(|dialog| dialog.remote_target().to_owned()).unwrap_or_default();
        let tx = self.endpoint.dialog_request(now, dialog, method, headers, body)?;
        self.pending.insert(tx, Purpose { goal, method, uri, tries: 0 });
        Ok(())
    }

    /// Puts the other side on hold: a re-INVITE with `a=sendonly` (RFC 3264 §8.4).
    pub fn hold(&mut self, now: Instant, call: CallRef) -> Result<(), PhoneError> {
        self.change(now, call, Some(Direction::SEND_ONLY), None, Method::Invite)
    }

    /// Takes the other side back.
    pub fn resume(&mut self, now: Instant, call: CallRef) -> Result<(), PhoneError> {
        self.change(now, call, Some(Direction::SEND_RECV), None, Method::Invite)
    }

    /// Offers only that codec from now on, by a re-INVITE.
    pub fn change_codec(&mut self, now: Instant, call: CallRef, law: Law) -> Result<(), PhoneError> {
        self.change(now, call, None, Some(vec![law]), Method::Invite)
    }

    /// Offers the session as it is once more by UPDATE (RFC 3311).
    pub fn update(&mut self, now: Instant, call: CallRef) -> Result<(), PhoneError> {
        self.change(now, call, None, None, Method::Update)
    }

    /// Offers the session as it is once more by a re-INVITE.
    pub fn reinvite(&mut self, now: Instant, call: CallRef) -> Result<(), PhoneError> {
        self.change(now, call, None, None, Method::Invite)
    }

    fn change(
        &mut self,
        now: Instant,
        call: CallRef,
        direction: Option<Direction>,
        laws: Option<Vec<Law>>,
        method: Method<'static>,
    ) -> Result<(), PhoneError> {
        let dialog = self.talking_dialog(call)?;
        let entry = self.calls.get_mut(&call).ok_or(PhoneError::NoSuchCall(call))?;
        if entry.change.is_some() || entry.session.is_offering() {
            return Err(PhoneError::State { expected: "at rest", got: "changing" });
        }
        let offer = entry.session.offer(direction, laws.clone(), &mut self.rng);
        match self.in_dialog(now, dialog, Goal::Change(call), method, Headers::default(), Some(Body::sdp(offer))) {
            Ok(()) => {
                self.get(call)?.change = Some(Change { direction, laws, method, glares: 0 });
                Ok(())
            }
            Err(error) => {
                self.get(call)?.session.roll_back();
                Err(error)
            }
        }
    }

    /// A change met a 491: it is tried again after the time of RFC 3261 §14.1, three times at most.
    pub(crate) fn glare(&mut self, now: Instant, call: CallRef) -> bool {
        let Some(entry) = self.calls.get_mut(&call) else { return false };
        let outgoing = entry.outgoing;
        let Some(change) = entry.change.as_mut().filter(|change| change.glares < 3) else { return false };
        change.glares += 1;
        let wait = if outgoing { self.rng.random_range(210..=400) } else { self.rng.random_range(0..=200) };
        self.arm(now + Duration::from_millis(wait * 10), Timer::Glare { call });
        true
    }

    pub(crate) fn glare_timer(&mut self, now: Instant, call: CallRef) {
        let Ok(dialog) = self.talking_dialog(call) else { return };
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(change) = entry.change.clone() else { return };
        if entry.session.is_offering() {
            return;
        }
        let offer = entry.session.offer(change.direction, change.laws, &mut self.rng);
        let body = Some(Body::sdp(offer));
        if self.in_dialog(now, dialog, Goal::Change(call), change.method, Headers::default(), body).is_err() {
            self.change_failed(call, 491);
        }
    }

    pub(crate) fn change_failed(&mut self, call: CallRef, status: u16) {
        if let Some(entry) = self.calls.get_mut(&call) {
            entry.session.roll_back();
            entry.change = None;
            self.events.push_back(Event::ChangeFailed { call, status });
        }
    }

    /// Sends an INFO in a call (RFC 6086). Its end comes as [`Event::Done`].
    pub fn info(&mut self, now: Instant, call: CallRef, content_type: &str, body: &[u8]) -> Result<(), PhoneError> {
        let dialog = self.talking_dialog(call)?;
        let body = Body::new(content_type.to_owned(), Bytes::copy_from_slice(body));
        self.in_dialog(now, dialog, Goal::Other("INFO"), Method::Info, Headers::default(), Some(body))
    }

    /// What the policy does when a call comes in.
    pub(crate) fn apply_policy(&mut self, now: Instant, call: CallRef) {
        let answer = self.config.answer;
        let (first, after) = match answer {
            AnswerPolicy::Manual => return,
            AnswerPolicy::Answer { after } => (Some(180), Some(after)),
            AnswerPolicy::EarlyMedia { after } => (Some(183), Some(after)),
            AnswerPolicy::RingOnly => (Some(180), None),
            AnswerPolicy::Reject { after, .. } => ((!after.is_zero()).then_some(180), Some(after)),
        };
        // An error means that the call is gone already, and its end has been told.
        let _ = match first {
            Some(183) => self.early_media(now, call),
            Some(_) => self.ring(now, call),
            None => Ok(()),
        };
        match after {
            Some(Duration::ZERO) => self.policy_timer(now, call, answer),
            Some(after) => self.arm(now + after, Timer::Policy { call, answer }),
            None => {}
        }
    }

    /// The policy's second step. The caller may have given up meanwhile.
    pub(crate) fn policy_timer(&mut self, now: Instant, call: CallRef, answer: AnswerPolicy) {
        let _ = match answer {
            AnswerPolicy::Manual | AnswerPolicy::RingOnly => Ok(()),
            AnswerPolicy::Answer { .. } | AnswerPolicy::EarlyMedia { .. } => self.answer(now, call),
            AnswerPolicy::Reject { status, .. } => self.reject(now, call, status),
        };
    }

    /// Begins to send and listen where the phone has a tone, or takes over what has newly been agreed on.
    pub(crate) fn start_media(&mut self, now: Instant, call: CallRef) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let Some(hertz) = self.config.media.tone else { return };
        let Some(agreed) = entry.session.agreed().cloned() else { return };
        let port = entry.session.port();
        match &mut entry.media {
            Some(media) => media.change(&agreed),
            none => {
                let mut seed = [0; 8];
                self.rng.fill_bytes(&mut seed);
                *none = Some(Media::new(now, port, hertz, &self.config.media.listen_for, &agreed, seed));
            }
        }
    }
}
