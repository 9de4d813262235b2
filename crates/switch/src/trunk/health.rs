//! Whether a trunk lives: an OPTIONS now and then (RFC 3261 §11). Any final answer but 503 says that it does.

use std::time::{Duration, Instant};

use rand::RngExt;
use ringfort_sip::endpoint::OutRequest;
use ringfort_sip::flow;
use ringfort_sip::locate::{Attempt as Outcome, LocateError, Target, Targets};
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;

use super::registration::{Standing, retry_after};
use super::{Attempt, TrunkUse, Wake, hop, own_domain, place, server_uri};
use crate::Switch;
use crate::call::{ClientUse, loose_route};
use crate::line;
use crate::lookup::Lookup;
use crate::model::{Trunk, TrunkId};

/// Failures in a row after which a trunk is down.
const FAILURES: u8 = 2;
/// After the first failure the next check does not wait for its turn.
const RECHECK: Duration = Duration::from_secs(5);
/// A target that has not answered for this long is left for the next one: four copies by UDP were sent.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// How long a check may take over all targets: those that failed stand back in the next one.
const CHECK_WITHIN: Duration = Duration::from_secs(12);

/// What the checks found.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failures: u8,
    /// `None`: nothing is known yet.
    pub verdict: Option<bool>,
}

impl Health {
    /// One success and it is up.
    fn good(&mut self) {
        (self.failures, self.verdict) = (0, Some(true));
    }

    fn bad(&mut self) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES {
            self.verdict = Some(false);
        }
    }
}

/// An OPTIONS for the provider itself.
pub(super) fn options_request(trunk: &Trunk, target: flow::Target) -> OutRequest {
    let user = trunk.credentials.as_ref().map_or_else(|| "ringfort".to_owned(), |c| line::user_part(&c.user));
    let uri = server_uri(trunk);
    OutRequest {
        routes: trunk.outbound_proxy.as_deref().map(loose_route).into_iter().collect(),
        from: format!("<sip:{user}@{}>", own_domain(trunk)),
        to: format!("<{uri}>"),
        ..OutRequest::new(Method::Options, uri, target)
    }
}

impl Switch {
    /// The first check comes within `spread`.
    pub(super) fn check_soon(&mut self, now: Instant, id: TrunkId, spread: Duration) {
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        if self.draining || !entry.trunk.enabled || entry.trunk.health_every.is_zero() {
            // What an earlier check found says nothing any more.
            entry.health = Health::default();
            self.unwake_trunk(id, Wake::Check);
            return;
        }
        let wait = spread.mul_f64(self.rng.random());
        self.wake_trunk(id, Wake::Check, now + wait);
    }

    pub(super) fn check_trunk(&mut self, now: Instant, id: TrunkId) {
        if self.draining {
            return;
        }
        self.stop_attempt(id, TrunkUse::Check(id));
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        entry.check = Some(Attempt { began: Some(now), ..Attempt::default() });
        let registered = entry.registration.as_ref().map(|r| r.standing);
        if let (Some(Standing::Registered { .. }), Some(target)) = (registered, entry.target.clone()) {
            // Calls come from where we are registered: that is to live, not another target.
            if let Err(why) = self.send_check(now, id, target) {
                self.check_over(now, id, why);
            }
            return;
        }
        let Some(request) = hop(&entry.trunk) else {
            let words = format!("{} is no address that can be located", entry.trunk.server);
            return self.check_over(now, id, words);
        };
        let lookup = self.lookups.begin(now, request, Lookup::Trunk(TrunkUse::Check(id)));
        if let Some(check) = self.trunks.entries.get_mut(&id).and_then(|entry| entry.check.as_mut()) {
            check.lookup = Some(lookup);
        }
    }

    pub(super) fn on_check_located(&mut self, now: Instant, id: TrunkId, result: Result<Targets, LocateError>) {
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        let Some(check) = &mut entry.check else { return };
        check.lookup = None;
        match result {
            Ok(targets) => {
                check.targets = targets;
                self.check_next_target(now, id);
            }
            Err(error) => {
                let trunk = entry.trunk.clone();
                let words = self.not_located(&trunk, error);
                self.check_over(now, id, words);
            }
        }
    }

    fn check_next_target(&mut self, now: Instant, id: TrunkId) {
        loop {
            let Some(check) = self.trunks.entries.get_mut(&id).and_then(|entry| entry.check.as_mut()) else { return };
            if check.began.is_some_and(|began| now >= began + CHECK_WITHIN) {
                check.targets = Targets::default();
            }
            let Some(target) = self.lookups.locator.next_target(now, &mut check.targets) else {
                let words = std::mem::take(&mut check.why);
                let words = if words.is_empty() { "it leads to no target".to_owned() } else { words };
                return self.check_over(now, id, words);
            };
            let why = match self.send_check(now, id, target) {
                Ok(()) => return,
                Err(why) => why,
            };
            if let Some(check) = self.trunks.entries.get_mut(&id).and_then(|entry| entry.check.as_mut()) {
                check.why = why;
            }
        }
    }

    fn send_check(&mut self, now: Instant, id: TrunkId, target: Target) -> Result<(), String> {
        let entry = self.trunks.entries.get(&id).ok_or("the trunk is gone")?;
        let listener = self.trunk_listener(&entry.trunk, &target)?;
        let request = options_request(&entry.trunk, target.flow(listener));
        let tx = self.endpoint.send_request(now, request).map_err(|error| error.to_string())?;
        self.clients.insert(tx, ClientUse::Trunk(TrunkUse::Check(id)));
        let check = self.trunks.entries.get_mut(&id).and_then(|entry| entry.check.as_mut());
        let check = check.ok_or("the check is over")?;
        (check.tx, check.target) = (Some(tx), Some(target));
        self.wake_trunk(id, Wake::CheckUnheard, now + ANSWER_WITHIN);
        Ok(())
    }

    pub(super) fn on_check_answer(&mut self, now: Instant, id: TrunkId, response: &Message) {
        let status = response.status();
        if status == 503 {
            let outcome = Outcome::of_status(status, retry_after(response));
            return self.on_check_lost(now, id, outcome, "answered 503 to OPTIONS".to_owned());
        }
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        let Some(target) = entry.check.as_mut().and_then(|check| check.target.take()) else { return };
        self.lookups.locator.report(now, &target, Outcome::Answered);
        let was_away = entry.health.failures > 0;
        let registers = entry.registration.as_ref().map(|r| r.standing);
        if registers.is_none() {
            entry.target = Some(target);
            self.trunks.remember_remotes();
        }
        self.stop_attempt(id, TrunkUse::Check(id));
        self.lives(now, id);
        match registers {
            // It is back: no need to wait for the end of the back-off.
            Some(Standing::Unreachable) => self.register_soon(now, id, Duration::ZERO),
            Some(Standing::Registered { .. }) => {
                self.seen_as(now, id, response, false);
                if was_away {
                    // It may have started anew and forgotten us.
                    self.register_soon(now, id, Duration::ZERO);
                }
            }
            Some(Standing::Registering | Standing::Refused) | None => {}
        }
        self.check_again(now, id);
        self.tell_trunk(now, id);
    }

    /// A sign of life.
    pub(super) fn lives(&mut self, _now: Instant, id: TrunkId) {
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        if !entry.trunk.health_every.is_zero() {
            entry.health.good();
        }
    }

    pub(super) fn on_check_unheard(&mut self, now: Instant, id: TrunkId) {
        let check = self.trunks.entries.get_mut(&id).and_then(|entry| entry.check.as_mut());
        let Some(tx) = check.and_then(|check| check.tx.take()) else { return };
        self.drop_request(tx);
        let words = format!("no answer to OPTIONS in {} s", ANSWER_WITHIN.as_secs());
        self.on_check_lost(now, id, Outcome::TimedOut, words);
    }

    pub(super) fn on_check_lost(&mut self, now: Instant, id: TrunkId, outcome: Outcome, words: String) {
        let Some(check) = self.trunks.entries.get_mut(&id).and_then(|entry| entry.check.as_mut()) else { return };
        check.tx = None;
        if let Some(target) = check.target.take() {
            self.lookups.locator.report(now, &target, outcome);
            check.why = format!("{}: {words}", place(&target));
        }
        self.unwake_trunk(id, Wake::CheckUnheard);
        self.check_next_target(now, id);
    }

    /// None of the targets answered.
    fn check_over(&mut self, now: Instant, id: TrunkId, words: String) {
        self.stop_attempt(id, TrunkUse::Check(id));
        let Some(entry) = self.trunks.entries.get_mut(&id) else { return };
        entry.failed(now, words);
        let before = entry.health.verdict;
        entry.health.bad();
        let went_down = before != Some(false) && entry.health.verdict == Some(false);
        if went_down && entry.registration.is_none() {
            // When it comes back it may be another machine with another realm.
            entry.realm = None;
        }
        self.check_again(now, id);
        self.tell_trunk(now, id);
        if went_down {
            // Another target of the provider may take us.
            self.register_soon(now, id, Duration::ZERO);
        }
    }

    fn check_again(&mut self, now: Instant, id: TrunkId) {
        let Some(entry) = self.trunks.entries.get(&id) else { return };
        let every = entry.trunk.health_every;
        if self.draining || every.is_zero() {
            return;
        }
        let doubtful = (1..FAILURES).contains(&entry.health.failures);
        let wait = if doubtful { every.min(RECHECK) } else { every.mul_f64(0.9 + 0.2 * self.rng.random::<f64>()) };
        self.wake_trunk(id, Wake::Check, now + wait);
    }
}
