//! A trunk tried by the administrator: `ctl trunk test NAME [NUMBER]`. OPTIONS to its targets, then, with a number, a call
//! that is taken back as soon as it rings. Each step is told in words.

use std::time::{Duration, Instant};

use ringfort_sip::dialog::DialogId;
use ringfort_sip::digest;
use ringfort_sip::endpoint::{ClientTx, OutRequest};
use ringfort_sip::locate::{Attempt as Outcome, LocateError, Target, Targets};
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_sip::write::{Body, Headers};

use super::health::{ANSWER_WITHIN, options_request};
use super::{TrunkUse, hop, own_domain, place, server_uri};
use crate::Switch;
use crate::call::{Answer, ClientUse, Hold, loose_route};
use crate::crossing;
use crate::io::{CommandReply, Level, TrunkTrial};
use crate::line;
use crate::lookup::Lookup;
use crate::model::{FromUser, Pii, Trunk, TrunkId};
use crate::number;
use crate::timers::Timer;

/// How long a test call may take until it rings.
const CALL_WITHIN: Duration = Duration::from_secs(20);
/// How long the result can be asked for.
const KEPT: Duration = Duration::from_secs(120);
/// Trials that are remembered.
const MOST: usize = 32;

/// What a trial waits for.
#[derive(Debug)]
enum Stage {
    Locating,
    Asking(Target),
    Calling { invite_uri: String, target: Target, authorized: bool },
    Done,
}

#[derive(Debug)]
pub(crate) struct Trial {
    trunk: TrunkId,
    number: Option<String>,
    stage: Stage,
    targets: Targets,
    tx: Option<ClientTx>,
    sent: Instant,
    steps: Vec<String>,
    passed: bool,
    /// A place of the trunk's is taken for the call.
    line: bool,
    /// What is set aside for its first step.
    hold: Option<Box<Hold>>,
    wake: Option<Instant>,
}

impl Switch {
    /// Begins; the result is asked for by the number in the reply.
    pub(crate) fn begin_trial(&mut self, now: Instant, name: &str, number: Option<&str>) -> CommandReply {
        let id = match self.trunk_named(name) {
            Ok(id) => id,
            Err(error) => return CommandReply::Refused { error },
        };
        if let Some(bad) = number.filter(|number| !number::is_number(number)) {
            return CommandReply::Refused {
                error: format!("expected a number of digits, with or without +, got {bad:?}"),
            };
        }
        let tenant = self.trunks.entries.get(&id).expect("it was just found").trunk.tenant;
        if let Some(number) = number.filter(|number| self.router.is_emergency(tenant, number)) {
            let error =
                format!("{number} is an emergency number: a test would call it, and whoever answers comes for nothing");
            return CommandReply::Refused { error };
        }
        if self.trunks.trials.len() >= MOST {
            return CommandReply::Refused { error: format!("{MOST} tests run or were just made: wait a minute") };
        }
        let entry = self.trunks.entries.get(&id).expect("it was just found");
        let Some(request) = hop(&entry.trunk) else {
            return CommandReply::Refused {
                error: format!("{} cannot be located: no such address", entry.trunk.server),
            };
        };
        let mut steps = Vec::new();
        if !entry.trunk.enabled {
            steps.push("the trunk is turned off: routes do not use it; it is tested all the same".to_owned());
        }
        let serial = self.trunks.serial();
        let number = number.map(number::without_separators);
        let trial = Trial {
            trunk: id,
            number,
            stage: Stage::Locating,
            targets: Targets::default(),
            tx: None,
            sent: now,
            steps,
            passed: false,
            line: false,
            hold: None,
            wake: None,
        };
        self.trunks.trials.insert(serial, trial);
        self.lookups.begin(now, request, Lookup::Trunk(TrunkUse::Trial(serial)));
        self.note_trunk(Level::Info, id, "trunk.test", "a test begins".into());
        self.trial(serial)
    }

    /// How far it has come.
    pub(crate) fn trial(&self, serial: u64) -> CommandReply {
        match self.trunks.trials.get(&serial) {
            Some(trial) => CommandReply::TrunkTest(TrunkTrial {
                test: serial,
                trunk: self.trunks.entries.get(&trial.trunk).map_or_else(String::new, |e| e.trunk.name.clone()),
                done: matches!(trial.stage, Stage::Done),
                passed: trial.passed,
                steps: trial.steps.clone(),
            }),
            None => {
                CommandReply::Refused { error: format!("there is no test {serial}: results are kept for two minutes") }
            }
        }
    }

    fn trial_wake(&mut self, serial: u64, at: Option<Instant>) {
        let Some(trial) = self.trunks.trials.get_mut(&serial) else { return };
        if let Some(before) = std::mem::replace(&mut trial.wake, at) {
            self.timers.clear(before, Timer::Trial(serial));
        }
        if let Some(at) = at {
            self.timers.set(at, Timer::Trial(serial));
        }
    }

    fn trial_step(&mut self, serial: u64, words: String) {
        if let Some(trial) = self.trunks.trials.get_mut(&serial) {
            trial.steps.push(words);
        }
    }

    fn trial_done(&mut self, now: Instant, serial: u64, passed: bool, words: String) {
        let Some(trial) = self.trunks.trials.get_mut(&serial) else { return };
        (trial.stage, trial.passed, trial.tx) = (Stage::Done, passed, None);
        trial.steps.push(words.clone());
        let (id, hold) = (trial.trunk, trial.hold.take());
        if std::mem::take(&mut trial.line) {
            self.lines.give_back(id);
        }
        self.drop_hold(hold);
        self.trial_wake(serial, Some(now + KEPT));
        let verdict = if passed { "passed" } else { "failed" };
        self.note_trunk(Level::Info, id, "trunk.test", format!("the test {verdict}: {words}"));
    }

    pub(super) fn on_trial_located(&mut self, now: Instant, serial: u64, result: Result<Targets, LocateError>) {
        let Some(trial) = self.trunks.trials.get_mut(&serial) else { return };
        match result {
            Ok(targets) => {
                let words: Vec<String> = targets.left().map(|t| format!("{} ({})", place(t), t.why)).collect();
                trial.steps.push(format!("located: {}", words.join(", ")));
                trial.targets = targets;
                self.trial_next_target(now, serial);
            }
            Err(error) => {
                let trunk = self.trunks.entries.get(&trial.trunk).map(|entry| entry.trunk.clone());
                let words = trunk.map_or_else(|| error.to_string(), |trunk| self.not_located(&trunk, error));
                self.trial_done(now, serial, false, words);
            }
        }
    }

    fn trial_next_target(&mut self, now: Instant, serial: u64) {
        loop {
            let Some(trial) = self.trunks.trials.get_mut(&serial) else { return };
            let Some(target) = self.lookups.locator.next_target(now, &mut trial.targets) else {
                return self.trial_done(now, serial, false, "no target answers".into());
            };
            let trunk = trial.trunk;
            let Some(entry) = self.trunks.entries.get(&trunk) else {
                return self.trial_done(now, serial, false, "the trunk is gone".into());
            };
            let sent = self.trunk_listener(&entry.trunk, &target).and_then(|listener| {
                let request = options_request(&entry.trunk, target.flow(listener));
                self.endpoint.send_request(now, request).map_err(|error| error.to_string())
            });
            match sent {
                Ok(tx) => {
                    self.clients.insert(tx, ClientUse::Trunk(TrunkUse::Trial(serial)));
                    let trial = self.trunks.trials.get_mut(&serial).expect("it was just there");
                    (trial.stage, trial.tx, trial.sent) = (Stage::Asking(target), Some(tx), now);
                    return self.trial_wake(serial, Some(now + ANSWER_WITHIN));
                }
                Err(why) => self.trial_step(serial, format!("{}: {why}", place(&target))),
            }
        }
    }

    pub(super) fn on_trial_answer(
        &mut self,
        now: Instant,
        tx: ClientTx,
        serial: u64,
        dialog: Option<DialogId>,
        response: &Message,
    ) {
        let status = response.status();
        let Some(trial) = self.trunks.trials.get_mut(&serial) else {
            if let (200..=299, Some(dialog)) = (status, dialog) {
                self.end_stray_answer(now, dialog, None);
            }
            return;
        };
        let trunk = Some(trial.trunk);
        let said = format!("{status} {}", response.reason_phrase().trim());
        let took = now.saturating_duration_since(trial.sent).as_millis();
        match &mut trial.stage {
            Stage::Asking(target) if status >= 200 => {
                let target = target.clone();
                trial.tx = None;
                trial.steps.push(format!("OPTIONS to {}: {said} after {took} ms", place(&target)));
                self.trial_wake(serial, None);
                self.lookups.locator.report(now, &target, Outcome::of_status(status, None));
                if status == 503 {
                    return self.trial_next_target(now, serial);
                }
                match self.trunks.trials.get_mut(&serial).and_then(|trial| trial.number.take()) {
                    Some(number) => self.trial_call(now, serial, &number, target),
                    None => self.trial_done(now, serial, true, "it lives".into()),
                }
            }
            Stage::Calling { invite_uri, authorized, .. } => match status {
                180..=183 => {
                    let hold = trial.hold.take();
                    self.trial_abandoned(tx, hold);
                    self.clients.insert(tx, ClientUse::Abandoned { trunk });
                    self.endpoint.cancel(now, tx, crossing::reason("SIP", 487, "Test call"));
                    let words = format!("the number answers {said} after {took} ms; the call is taken back");
                    self.trial_done(now, serial, true, words);
                }
                100..=199 => {}
                200..=299 => {
                    let hold = trial.hold.take();
                    self.trial_answered(now, Answer::of(tx, response), hold);
                    if let Some(dialog) = dialog {
                        self.end_stray_answer(now, dialog, trunk);
                    }
                    let words = format!("the call was answered ({said}) after {took} ms, and is ended");
                    self.trial_done(now, serial, true, words);
                }
                401 | 407 if !*authorized => {
                    *authorized = true;
                    let (uri, trunk) = (invite_uri.clone(), trial.trunk);
                    let given = self
                        .credentials_of(trunk)
                        .and_then(|own| digest::authorize(response, &own, "INVITE", &uri, &mut self.rng, 1));
                    match given.and_then(|given| self.endpoint.resend_with(now, tx, given).ok()) {
                        Some(again) => {
                            self.clients.insert(again, ClientUse::Trunk(TrunkUse::Trial(serial)));
                            let trial = self.trunks.trials.get_mut(&serial).expect("it was just there");
                            trial.tx = Some(again);
                            trial.steps.push(format!("INVITE: {said}; credentials are given"));
                        }
                        None => {
                            let words = format!("INVITE: {said}, for which the trunk has no credentials");
                            self.trial_done(now, serial, false, words);
                        }
                    }
                }
                486 | 600 | 603 => {
                    self.trial_done(now, serial, true, format!("the number is reached: {said} after {took} ms"));
                }
                _ => self.trial_done(now, serial, false, format!("the call is refused: {said} after {took} ms")),
            },
            Stage::Asking(_) | Stage::Locating | Stage::Done => {}
        }
    }

    pub(super) fn on_trial_lost(&mut self, now: Instant, serial: u64, outcome: Outcome, words: String) {
        let Some(trial) = self.trunks.trials.get_mut(&serial) else { return };
        trial.tx = None;
        match &trial.stage {
            Stage::Asking(target) => {
                let target = target.clone();
                trial.steps.push(format!("OPTIONS to {}: {words}", place(&target)));
                self.lookups.locator.report(now, &target, outcome);
                self.trial_wake(serial, None);
                self.trial_next_target(now, serial);
            }
            Stage::Calling { target, .. } => {
                let words = format!("INVITE to {}: {words}", place(target));
                self.trial_done(now, serial, false, words);
            }
            Stage::Locating | Stage::Done => {}
        }
    }

    /// Its time is over: of a request, or of the result.
    pub(crate) fn on_trial_wake(&mut self, now: Instant, serial: u64) {
        let Some(trial) = self.trunks.trials.get_mut(&serial) else { return };
        trial.wake = None;
        let tx = trial.tx.take();
        let trunk = Some(trial.trunk);
        match trial.stage {
            Stage::Done => {
                self.trunks.trials.remove(&serial);
            }
            Stage::Asking(_) => {
                if let Some(tx) = tx {
                    self.drop_request(tx);
                }
                let words = format!("no answer in {} s", ANSWER_WITHIN.as_secs());
                self.on_trial_lost(now, serial, Outcome::TimedOut, words);
            }
            Stage::Calling { .. } => {
                if let Some(tx) = tx {
                    let hold = trial.hold.take();
                    self.trial_abandoned(tx, hold);
                    self.clients.insert(tx, ClientUse::Abandoned { trunk });
                    self.endpoint.cancel(now, tx, crossing::reason("SIP", 487, "Test call"));
                }
                let words = format!("the number does not ring in {} s", CALL_WITHIN.as_secs());
                self.trial_done(now, serial, false, words);
            }
            Stage::Locating => {}
        }
    }

    /// A call with media that are off.
    fn trial_call(&mut self, now: Instant, serial: u64, dialled: &str, target: Target) {
        let Some(id) = self.trunks.trials.get(&serial).map(|trial| trial.trunk) else { return };
        let Some(trunk) = self.trunks.entries.get(&id).map(|entry| entry.trunk.clone()) else {
            return self.trial_done(now, serial, false, "the trunk is gone".into());
        };
        if let Err(full) = self.lines.take(now, &trunk) {
            return self.trial_done(now, serial, false, format!("no call: its limit is reached ({})", full.rule()));
        }
        if let Some(trial) = self.trunks.trials.get_mut(&serial) {
            trial.line = true;
        }
        let plan = self.router.plan(trunk.tenant);
        let canonical = plan.and_then(|plan| number::canonical(plan, dialled));
        // As of a phone: a call for help is never asked what it costs.
        if !plan.is_some_and(|plan| number::is_emergency(plan, dialled)) {
            match self.hold_for_trial(now, &trunk, canonical.as_deref()) {
                Ok(hold) => self.trunks.trials.get_mut(&serial).expect("it was just there").hold = hold,
                Err(why) => return self.trial_done(now, serial, false, format!("no call: {why}")),
            }
        }
        let sent = self.trunk_listener(&trunk, &target).and_then(|listener| {
            let plan = self.router.plan(trunk.tenant);
            let written = plan.map_or_else(
                || dialled.to_owned(),
                |plan| number::to_trunk(plan, trunk.headers.number_format, dialled, canonical.as_deref()),
            );
            let base = server_uri(&trunk);
            let (scheme, host) = base.split_once(':').unwrap_or(("sip", &base));
            let uri = format!("{scheme}:{}@{host}", line::user_part(&written));
            let told = self.config.listeners[usize::from(listener.0)].sip.told_to(target.address.ip()).host.clone();
            let request = OutRequest {
                routes: self.trunk_routes(&trunk),
                from: format!("<sip:{}@{}>", caller(&trunk), own_domain(&trunk)),
                to: format!("<{uri}>"),
                body: Some(Body::sdp(silent_offer(&told))),
                headers: Headers::default(),
                ..OutRequest::new(Method::Invite, &*uri, target.flow(listener))
            };
            let tx = self.endpoint.send_request(now, request).map_err(|error| error.to_string())?;
            Ok((tx, uri))
        });
        let trial = self.trunks.trials.get_mut(&serial).expect("it was just there");
        match sent {
            Ok((tx, invite_uri)) => {
                trial.steps.push(format!("INVITE for {} to {}", Pii::new(dialled.to_owned()), place(&target)));
                trial.stage = Stage::Calling { invite_uri, target, authorized: false };
                (trial.tx, trial.sent) = (Some(tx), now);
                self.clients.insert(tx, ClientUse::Trunk(TrunkUse::Trial(serial)));
                self.trial_wake(serial, Some(now + CALL_WITHIN));
            }
            Err(why) => self.trial_done(now, serial, false, format!("no call: {why}")),
        }
    }

    /// Route values of a request to a trunk: its proxy, then what it told when it registered us (RFC 3608 §6.1).
    pub(crate) fn trunk_routes(&self, trunk: &Trunk) -> Vec<String> {
        let proxy = trunk.outbound_proxy.as_deref().map(loose_route);
        proxy.into_iter().chain(self.trunks.service_route(trunk.id).iter().cloned()).collect()
    }
}

/// Who a test call is from.
fn caller(trunk: &Trunk) -> String {
    let account = trunk.credentials.as_ref().map(|c| c.user.as_str());
    let own = trunk.caller_id.as_deref();
    let user = match trunk.headers.from {
        FromUser::Account => account.or(own),
        FromUser::Caller => own.or(account),
    };
    line::user_part(user.unwrap_or("anonymous"))
}

/// RFC 3264 §5.1: an offer that wants no media.
fn silent_offer(host: &str) -> String {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let family = if bare.contains(':') { "IP6" } else { "IP4" };
    format!(
        "v=0\r\no=- 1 1 IN {family} {bare}\r\ns=-\r\nc=IN {family} {bare}\r\nt=0 0\r\nm=audio 9 RTP/AVP 8 0\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=inactive\r\n"
    )
}
