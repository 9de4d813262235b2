//! REGISTER requests of a trunk: one target after another (RFC 3263 §4.3), refreshed, taken back.

use std::time::{Duration, Instant};

use ringfort_sip::endpoint::{ClientTx, Contact, OutRequest};
use ringfort_sip::flow;
use ringfort_sip::locate::{Attempt as Outcome, LocateError, Target, Targets};
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_sip::write::Headers;

use super::registration::{Next, Registration, Standing};
use super::{Attempt, TrunkUse, Wake, hop, own_domain, place, server_uri};
use crate::Switch;
use crate::call::{ClientUse, loose_route};
use crate::io::Level;
use crate::line;
use crate::lookup::Lookup;
use crate::model::{Trunk, TrunkId};
use crate::timers::Timer;

/// A target that has not answered a REGISTER for this long is left for the next one: five copies by UDP were sent.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long the answer to a registration that is taken back is waited for.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// A change of our address as the provider sees it leads to a registration no more often than this.
const MOVE_EVERY: Duration = Duration::from_secs(60);

/// A registration that is being taken back; its trunk may be gone.
#[derive(Debug)]
pub(crate) struct Leaving {
    registration: Registration,
    uri: String,
    tx: Option<ClientTx>,
    until: Instant,
}

impl Switch {
    /// Brings the next registration forward to `wait` from now, where none runs and none is due sooner.
    pub(super) fn register_soon(&mut self, now: Instant, id: TrunkId, wait: Duration) {
        let Some(entry) = self.trunks.entries.get(&id) else { return };
        let sooner = entry.wakes.get(&Wake::Register).is_some_and(|at| *at <= now + wait);
        if self.draining || entry.registration.is_none() || entry.attempt.is_some() || sooner {
            return;
        }
        self.wake_trunk(id, Wake::Register, now + wait);
    }

    /// Begins an attempt.
    pub(super) fn register_trunk(&mut self, now: Instant, id: TrunkId) {
        if self.draining {
            return;
        }
        self.stop_attempt(id, TrunkUse::Register(id));
        self.unwake_trunk(id, Wake::Register);
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        let Some(registration) = &mut entry.registration else { return };
        registration.begin();
        entry.attempt = Some(Attempt::default());
        let Some(request) = hop(&entry.trunk) else {
            let words = format!("{} is no address that can be located", entry.trunk.server);
            return self.register_over(now, id, words);
        };
        let lookup = self.lookups.begin(now, request, Lookup::Trunk(TrunkUse::Register(id)));
        if let Some(attempt) = self.trunks.entries.get_mut(&id).and_then(|entry| entry.attempt.as_mut()) {
            attempt.lookup = Some(lookup);
        }
    }

    pub(super) fn on_register_located(&mut self, now: Instant, id: TrunkId, result: Result<Targets, LocateError>) {
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        let Some(attempt) = &mut entry.attempt else { return };
        attempt.lookup = None;
        match result {
            Ok(targets) => {
                attempt.targets = targets;
                self.register_next_target(now, id);
            }
            Err(error) => {
                let trunk = entry.trunk.clone();
                let words = self.not_located(&trunk, error);
                self.register_over(now, id, words);
            }
        }
    }

    fn register_next_target(&mut self, now: Instant, id: TrunkId) {
        loop {
            let Some(attempt) = self.trunks.entries.get_mut(&id).and_then(|entry| entry.attempt.as_mut()) else {
                return;
            };
            let Some(target) = self.lookups.locator.next_target(now, &mut attempt.targets) else {
                let words = std::mem::take(&mut attempt.why);
                let words = if words.is_empty() { "it leads to no target".to_owned() } else { words };
                return self.register_over(now, id, words);
            };
            let why = match self.send_register(now, id, target) {
                Ok(()) => return,
                Err(why) => why,
            };
            if let Some(attempt) = self.trunks.entries.get_mut(&id).and_then(|entry| entry.attempt.as_mut()) {
                attempt.why = why;
            }
        }
    }

    /// One REGISTER to one target.
    fn send_register(&mut self, now: Instant, id: TrunkId, target: Target) -> Result<(), String> {
        let entry = self.trunks.entries.get(&id).ok_or("the trunk is gone")?;
        let listener = self.trunk_listener(&entry.trunk, &target)?;
        let entry = self.trunks.entries.get_mut(&id).ok_or("the trunk is gone")?;
        let registration = entry.registration.as_mut().ok_or("it does not register")?;
        let expires = registration.expires(entry.trunk.register_for);
        let unasked = registration.unasked(&server_uri(&entry.trunk), &mut self.rng);
        let mut request = register_request(&entry.trunk, &entry.contact, registration, target.flow(listener), expires);
        if let Some(given) = unasked {
            request.headers.append(&given);
        }
        let tx = self.endpoint.send_request(now, request).map_err(|error| error.to_string())?;
        self.clients.insert(tx, ClientUse::Trunk(TrunkUse::Register(id)));
        let attempt = entry.attempt.as_mut().ok_or("the attempt is over")?;
        (attempt.tx, attempt.target) = (Some(tx), Some(target));
        self.wake_trunk(id, Wake::RegisterUnheard, now + ANSWER_WITHIN);
        Ok(())
    }

    pub(super) fn on_register_answer(&mut self, now: Instant, tx: ClientTx, id: TrunkId, response: &Message) {
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        let (Some(attempt), Some(registration)) = (&mut entry.attempt, &mut entry.registration) else { return };
        let Some(target) = attempt.target.clone() else { return };
        attempt.tx = None;
        let outcome = Outcome::of_status(response.status(), super::registration::retry_after(response));
        self.lookups.locator.report(now, &target, outcome);
        let asked = registration.expires(entry.trunk.register_for);
        let uri = server_uri(&entry.trunk);
        let next = registration.answered(now, response, &entry.contact, asked, &uri, &mut self.rng);
        match next {
            Next::Authorize(given) => match self.endpoint.resend_with(now, tx, given) {
                Ok(again) => {
                    attempt.tx = Some(again);
                    self.clients.insert(again, ClientUse::Trunk(TrunkUse::Register(id)));
                    self.wake_trunk(id, Wake::RegisterUnheard, now + ANSWER_WITHIN);
                }
                Err(error) => self.on_register_lost(now, id, Outcome::Answered, error.to_string()),
            },
            Next::Again => {
                if let Err(why) = self.send_register(now, id, target) {
                    self.on_register_lost(now, id, Outcome::Answered, why);
                }
            }
            Next::OtherTarget { retry_after } => {
                let status = response.status();
                let mut words = format!("{} answered {status} {}", place(&target), response.reason_phrase().trim());
                if let Some(after) = retry_after {
                    words.push_str(&format!(", wants to be asked again in {} s", after.as_secs()));
                }
                attempt.retry_after = attempt.retry_after.max(retry_after);
                attempt.why = words;
                attempt.target = None;
                self.unwake_trunk(id, Wake::RegisterUnheard);
                self.register_next_target(now, id);
            }
            Next::Refused { wait, words } => {
                let words = format!("{} {words}", place(&target));
                entry.target = Some(target);
                entry.failed(now, words);
                self.stop_attempt(id, TrunkUse::Register(id));
                self.trunks.remember_remotes();
                self.wake_trunk(id, Wake::Register, now + wait);
                self.tell_trunk(now, id);
            }
            Next::Registered { granted, refresh } => {
                entry.target = Some(target);
                entry.realm = registration.realm().map(str::to_owned);
                self.seen_as(now, id, response, true);
                self.stop_attempt(id, TrunkUse::Register(id));
                self.trunks.remember_remotes();
                self.wake_trunk(id, Wake::Register, now + refresh);
                let text = format!("registered for {} s, again in {} s", granted.as_secs(), refresh.as_secs());
                self.note_trunk(Level::Debug, id, "trunk.register", text);
                // A provider that registers us lives, whatever a check found before.
                self.lives(now, id);
                self.tell_trunk(now, id);
                if self.trunks.entries.get(&id).is_some_and(|entry| !entry.wakes.contains_key(&Wake::KeepAlive)) {
                    self.plan_keep_alive(now, id);
                }
            }
        }
    }

    pub(super) fn on_register_unheard(&mut self, now: Instant, id: TrunkId) {
        let attempt = self.trunks.entries.get_mut(&id).and_then(|entry| entry.attempt.as_mut());
        let Some(tx) = attempt.and_then(|attempt| attempt.tx.take()) else { return };
        self.drop_request(tx);
        self.on_register_lost(now, id, Outcome::TimedOut, format!("no answer in {} s", ANSWER_WITHIN.as_secs()));
    }

    /// A target gave no answer.
    pub(super) fn on_register_lost(&mut self, now: Instant, id: TrunkId, outcome: Outcome, words: String) {
        let Some(attempt) = self.trunks.entries.get_mut(&id).and_then(|entry| entry.attempt.as_mut()) else { return };
        attempt.tx = None;
        if let Some(target) = attempt.target.take() {
            self.lookups.locator.report(now, &target, outcome);
            attempt.why = format!("{}: {words}", place(&target));
        }
        self.unwake_trunk(id, Wake::RegisterUnheard);
        self.register_next_target(now, id);
    }

    /// No target took it: again after a while.
    fn register_over(&mut self, now: Instant, id: TrunkId, words: String) {
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        let retry_after = entry.attempt.as_ref().and_then(|attempt| attempt.retry_after);
        let Some(registration) = &mut entry.registration else { return };
        let wait = registration.exhausted(retry_after, &mut self.rng);
        entry.failed(now, words);
        self.stop_attempt(id, TrunkUse::Register(id));
        self.wake_trunk(id, Wake::Register, now + wait);
        self.tell_trunk(now, id);
    }

    /// RFC 3581: as what the provider sees us. Another address means another network or NAT mapping: what it has
    /// registered leads nowhere.
    pub(super) fn seen_as(&mut self, now: Instant, id: TrunkId, response: &Message, registering: bool) {
        let via = response.top_via();
        let Some(rport) = via.rport().flatten() else { return };
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        let as_what = format!("{} {rport}", via.received().unwrap_or_default());
        let Some((before, at)) = &entry.seen_as else {
            if registering {
                entry.seen_as = Some((as_what, now));
            }
            return;
        };
        if *before == as_what {
            return;
        }
        let settled = now.saturating_duration_since(*at) >= MOVE_EVERY;
        if registering || settled {
            entry.seen_as = Some((as_what, now));
        }
        if !registering && settled {
            let text = "the provider sees us at another address; registers again".to_owned();
            self.note_trunk(Level::Info, id, "trunk.moved", text);
            self.register_soon(now, id, Duration::ZERO);
        }
    }

    /// Takes a registration back (RFC 3261 §10.2.2), where there is one.
    pub(super) fn leave(&mut self, now: Instant, id: TrunkId) {
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        let Some(mut registration) = entry.registration.take() else { return };
        let target = entry.target.take();
        let (Standing::Registered { .. }, Some(target)) = (registration.standing, target) else { return };
        let trunk = entry.trunk.clone();
        let contact = entry.contact.clone();
        let Ok(listener) = self.trunk_listener(&trunk, &target) else { return };
        let uri = server_uri(&trunk);
        let unasked = registration.unasked(&uri, &mut self.rng);
        let to = target.flow(listener);
        let mut request = register_request(&trunk, &contact, &mut registration, to, Duration::ZERO);
        if let Some(given) = unasked {
            request.headers.append(&given);
        }
        let Ok(tx) = self.endpoint.send_request(now, request) else { return };
        let serial = self.trunks.serial();
        self.clients.insert(tx, ClientUse::Trunk(TrunkUse::Leave(serial)));
        let until = now + LEAVE_WITHIN;
        self.timers.set(until, Timer::Leaving(serial));
        self.trunks.leaving.insert(serial, Leaving { registration, uri, tx: Some(tx), until });
        let text = format!("trunk {}: its registration is taken back", trunk.name);
        self.notice(Level::Info, Some(trunk.tenant), None, "trunk.unregister", text);
    }

    pub(super) fn on_leave_answer(&mut self, now: Instant, tx: ClientTx, serial: u64, response: &Message) {
        let Some(leaving) = self.trunks.leaving.get_mut(&serial) else { return };
        leaving.tx = None;
        if matches!(response.status(), 401 | 407)
            && let Ok(given) = leaving.registration.authorize(response, &leaving.uri, &mut self.rng)
            && let Ok(again) = self.endpoint.resend_with(now, tx, given)
        {
            leaving.tx = Some(again);
            self.clients.insert(again, ClientUse::Trunk(TrunkUse::Leave(serial)));
            return;
        }
        self.timers.clear(leaving.until, Timer::Leaving(serial));
        self.trunks.leaving.remove(&serial);
    }

    /// The provider has had its time.
    pub(crate) fn on_leaving_over(&mut self, serial: u64) {
        if let Some(tx) = self.trunks.leaving.remove(&serial).and_then(|leaving| leaving.tx) {
            self.drop_request(tx);
        }
    }
}

fn register_request(
    trunk: &Trunk,
    contact: &str,
    registration: &mut Registration,
    target: flow::Target,
    expires: Duration,
) -> OutRequest {
    registration.cseq += 1;
    let user = trunk.credentials.as_ref().map(|c| line::user_part(&c.user)).unwrap_or_default();
    let own = format!("<sip:{user}@{}>", own_domain(trunk));
    let mut headers = Headers::default();
    headers.push("Expires", expires.as_secs());
    // RFC 3327; no GRUU and no outbound flows are asked for.
    headers.push("Supported", "path");
    OutRequest {
        routes: trunk.outbound_proxy.as_deref().map(loose_route).into_iter().collect(),
        from: own.clone(),
        to: own,
        contact: Some(Contact {
            user: Some(contact.to_owned()),
            params: format!(";expires={}", expires.as_secs()),
            raw: None,
        }),
        headers,
        call_id: Some(registration.call_id.clone()),
        cseq: Some(registration.cseq),
        from_tag: Some(registration.from_tag.clone()),
        ..OutRequest::new(Method::Register, server_uri(trunk), target)
    }
}
