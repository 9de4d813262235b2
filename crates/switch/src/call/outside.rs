//! A call on its way out of the house: by trunks in their order (UC-12) or to a stranger's domain (DOM-2). One branch at a
//! time: a target that does not answer, or answers with its own trouble, is left for the next one (RFC 3263 §4.3).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfort_media::bridge::LegPolicy;
use ringfort_media::codec::CodecAllowList;
use ringfort_sip::digest;
use ringfort_sip::endpoint::{ClientTx, OutRequest};
use ringfort_sip::locate::{Attempt as Outcome, LocateError, LookupId, NumberRequest, Request, Target, Targets};
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_sip::uri::{Scheme, Uri};
use ringfort_sip::write::{Body, Headers};

use super::outcome::from_outside;
use super::paying::Hold;
use super::published;
use super::setup::Refusal;
use super::{ClientUse, Leg, LegState};
use crate::Switch;
use crate::advice;
use crate::crossing;
use crate::io::Level;
use crate::line;
use crate::lookup::{Lookup, status_of};
use crate::model::{CallId, Context, SrtpPolicy, Trunk, TrunkId, TrunkKind};
use crate::out_of_dialog::{max_breadth, next_hop};
use crate::record::EndCause;
use crate::route::{Attempt, TrunkPlan};
use crate::timers::Timer;
use ringfort_sip::flow::{ListenerId, Transport};

/// How long a target of a stranger's domain has for its first word.
const DOMAIN_ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// Targets of one trunk that may be silent for their whole time before the next trunk has its turn.
const SILENT_TARGETS: u32 = 3;

/// What is to be tried.
#[derive(Debug)]
pub(crate) enum Goal {
    Trunks {
        route: Arc<str>,
        left: VecDeque<Attempt>,
    },
    /// The Request-URI; `None` once it has been looked up.
    Domain {
        uri: Option<String>,
    },
}

/// How far a call on its way out has come.
#[derive(Debug)]
pub(crate) struct Way {
    pub(super) goal: Goal,
    /// The caller's INVITE: each branch is made from it.
    request: Message,
    hide: bool,
    /// Numbers to look up, and addresses that were found, before a trunk is tried (ENUM).
    pub(super) numbers: VecDeque<NumberRequest>,
    pub(super) addresses: VecDeque<String>,
    /// That is what is tried now.
    pub(super) published: bool,
    pub(super) lookup: Option<LookupId>,
    /// The trunk that is tried, and what it is to be called with.
    line: Option<Attempt>,
    /// Request-URI of the branches to come.
    pub(super) uri: String,
    pub(super) targets: Targets,
    /// When what is tried (a trunk, or what is published) has had its time, while there is something else.
    pub(super) until: Option<Instant>,
    /// Where the branch that is open went.
    target: Option<Target>,
    /// When the branch is given up if nothing at all has come.
    unheard_at: Option<Instant>,
    /// The realm for which credentials were given on this branch: another challenge means that they are wrong.
    authorized: Option<String>,
    /// How long the called side may ring, where the route says so.
    pub ring_for: Option<Duration>,
    /// What was tried, for the record.
    pub tried: Vec<String>,
    /// In E.164 with `+`: what is paid by.
    canonical: Option<String>,
    emergency: bool,
    /// What is set aside for the trunk that is tried.
    pub hold: Option<Box<Hold>>,
    /// The rule of spending by which a trunk was passed over.
    unpaid: Option<&'static str>,
    /// The rule of ours that kept the best target from being asked.
    refused: Option<&'static str>,
}

/// Whether a refusal is the trouble of the one who gave it, so that another trunk may do better: never a person's word
/// or a busy line.
pub(crate) fn fails_over(status: u16) -> bool {
    matches!(status, 408 | 500..=599)
}

/// Whether a call for help that is refused so is tried by the next trunk: for whatever reason this one does not take it, but
/// for a busy line and a person's word.
fn fails_over_for_help(status: u16) -> bool {
    matches!(status, 300..=499) && !matches!(status, 486 | 487)
}

/// Whether a refusal says something of the trunk (its credit, its rules, its view of us) and not of the number.
fn is_of_the_trunk(status: u16) -> bool {
    matches!(status, 300..=599) && !matches!(status, 404 | 410 | 480 | 484..=487 | 491)
}

impl Way {
    pub(crate) fn by_trunks(plan: TrunkPlan, request: &Message) -> Self {
        let goal = Goal::Trunks { route: plan.route, left: plan.attempts.into_iter().collect() };
        let TrunkPlan { canonical, emergency, ring_for, numbers, .. } = plan;
        let numbers = numbers.into_iter().collect();
        Self { ring_for, canonical, emergency, numbers, ..Self::new(goal, request, plan.hide) }
    }

    pub(crate) fn to_domain(uri: String, request: &Message, hide: bool) -> Self {
        Self::new(Goal::Domain { uri: Some(uri) }, request, hide)
    }

    fn new(goal: Goal, request: &Message, hide: bool) -> Self {
        Self {
            goal,
            request: request.clone(),
            hide,
            numbers: VecDeque::new(),
            addresses: VecDeque::new(),
            published: false,
            lookup: None,
            line: None,
            uri: String::new(),
            targets: Targets::default(),
            until: None,
            target: None,
            unheard_at: None,
            authorized: None,
            ring_for: None,
            tried: Vec::new(),
            canonical: None,
            emergency: false,
            hold: None,
            unpaid: None,
            refused: None,
        }
    }

    /// The trunks that are left to try, where calls by them are paid for: not for another domain, and never for help.
    pub(super) fn trunks_to_pay(&self) -> Option<impl Iterator<Item = TrunkId> + '_> {
        match &self.goal {
            Goal::Trunks { left, .. } if !self.emergency => Some(left.iter().map(|attempt| attempt.trunk)),
            Goal::Trunks { .. } | Goal::Domain { .. } => None,
        }
    }

    /// Many targets that are all silent must not use up the time in which another trunk could take the call.
    fn heed_time(&mut self, now: Instant) {
        let others = matches!(&self.goal, Goal::Trunks { left, .. } if !left.is_empty());
        if others && self.until.is_some_and(|until| now >= until) {
            self.targets = Targets::default();
            self.addresses.clear();
        }
    }

    pub(super) fn canonical(&self) -> Option<&str> {
        self.canonical.as_deref()
    }

    /// Where it goes, for the log.
    pub(crate) fn words(&self) -> String {
        match &self.goal {
            Goal::Trunks { route, left } if self.numbers.is_empty() => {
                format!("route {route}, {} trunks", left.len())
            }
            Goal::Trunks { route, left } => format!("route {route}, ENUM, {} trunks", left.len()),
            Goal::Domain { .. } => "another domain".to_owned(),
        }
    }
}

impl Switch {
    /// Tries what comes next, until a branch or a look-up is open; ends the call where nothing is left.
    pub(crate) fn go_on_outside(&mut self, now: Instant, id: CallId) {
        while let Some(call) = self.calls.get_mut(&id) {
            let Some(way) = &mut call.way else { return };
            way.heed_time(now);
            if let Some(target) = self.lookups.locator.next_target(now, &mut way.targets) {
                match self.try_target(now, id, target) {
                    Ok(()) => return,
                    Err(refusal) => self.note_outside(id, refusal),
                }
                continue;
            }
            self.leave_line(id);
            match self.next_goal(now, id) {
                Next::Asked => return,
                Next::Again => {}
                Next::Nothing => return self.give_up_outside(now, id),
            }
        }
    }

    /// Begins the look-up of the next trunk, or of the domain.
    fn next_goal(&mut self, now: Instant, id: CallId) -> Next {
        if let Some(next) = self.next_by_number(now, id) {
            return next;
        }
        let way = self.calls.get(&id).and_then(|call| call.way.as_ref());
        let paid = way.and_then(|way| way.trunks_to_pay()?.next());
        if let Some(trunk) = paid
            && let Err(refusal) = self.hold_for(now, id, trunk)
        {
            if let Some(way) = self.calls.get_mut(&id).and_then(|call| call.way.as_mut()) {
                way.unpaid = Some(refusal.rule);
                if let Goal::Trunks { left, .. } = &mut way.goal {
                    left.pop_front();
                }
            }
            self.note_outside(id, refusal);
            return Next::Again;
        }
        let Some(way) = self.calls.get_mut(&id).and_then(|call| call.way.as_mut()) else { return Next::Nothing };
        let (request, name) = match &mut way.goal {
            Goal::Domain { uri } => {
                let Some(uri) = uri.take() else { return Next::Nothing };
                let request = Uri::parse(&uri).ok().and_then(|parsed| Request::of_uri(&parsed).ok());
                let name = "domain".to_owned();
                way.uri = uri;
                (request, name)
            }
            Goal::Trunks { left, .. } => {
                let Some(attempt) = left.pop_front() else { return Next::Nothing };
                let Some(trunk) = self.router.trunk(attempt.trunk).filter(|t| t.enabled) else { return Next::Again };
                if way.emergency {
                    self.lines.take_for_help(trunk.id);
                } else if let Err(full) = self.lines.take(now, trunk) {
                    let calls = self.lines.calls(trunk.id);
                    let text = format!("trunk {} is passed over: its limit is reached with {calls} calls", trunk.name);
                    let refusal = Refusal::new(503, full.rule(), text);
                    self.note_outside(id, refusal);
                    return Next::Again;
                }
                self.trunks.count_call(trunk.id, true);
                let scheme = if trunk.server.starts_with("sips:") { "sips" } else { "sip" };
                way.uri = format!("{scheme}:{}@{}", line::user_part(&attempt.number), line::server_host(trunk));
                way.line = Some(attempt);
                way.until = Some(now + trunk.answer_within * SILENT_TARGETS);
                let hop = self.trunks.call_hop(trunk);
                (Uri::parse(hop).ok().and_then(|parsed| Request::of_uri(&parsed).ok()), trunk.name.clone())
            }
        };
        way.tried.push(name.clone());
        let Some(request) = request else {
            let refusal = Refusal::new(500, "route.address", format!("{name} has an address that cannot be located"));
            self.note_outside(id, refusal);
            return Next::Again;
        };
        way.lookup = Some(self.lookups.begin(now, request, Lookup::Call(id)));
        Next::Asked
    }

    /// The targets of the trunk or domain are known.
    pub(crate) fn on_call_located(&mut self, now: Instant, id: CallId, result: Result<Targets, LocateError>) {
        let Some(way) = self.calls.get_mut(&id).and_then(|call| call.way.as_mut()) else { return };
        way.lookup = None;
        match result {
            Ok(targets) => way.targets = targets,
            Err(error) => {
                let trunk = way.line.as_ref().and_then(|line| self.router.trunk(line.trunk));
                let missing = trunk.filter(|_| error == LocateError::NoTransport);
                let words = missing.and_then(|trunk| advice::unreachable(&self.config, trunk));
                let words = words.unwrap_or_else(|| error.to_string());
                if let Some(trunk) = trunk.map(|trunk| trunk.id) {
                    self.trunks.call_failed(now, trunk, format!("its address is not found for a call: {words}"));
                }
                self.note_outside(id, Refusal::new(status_of(error), "route.locate", words));
            }
        }
        self.go_on_outside(now, id);
    }

    /// An INVITE to one target.
    fn try_target(&mut self, now: Instant, id: CallId, target: Target) -> Result<(), Refusal> {
        let call = self.calls.get(&id).expect("its owner has just seen it");
        let way = call.way.as_ref().expect("its owner has just seen it");
        let trunk = way.line.as_ref().and_then(|line| self.router.trunk(line.trunk)).cloned();
        if trunk.is_none() && !self.config.inner_domains && !self.is_outside(&target) {
            let text = format!("the domain's records lead to {}, an address of our own side", target.address.ip());
            return Err(Refusal::new(403, "route.inner_address", text));
        }
        if trunk.is_none() && (self.sources.knows(target.address.ip()) || self.is_host_of_a_trunk(&way.uri)) {
            // A provider that bills by address would take it, past all that is asked of a call by its trunk.
            let text = format!(
                "the domain leads to {}, an address of a trunk: dial its numbers by a route",
                target.address.ip()
            );
            return Err(Refusal::new(403, "route.trunk_address", text));
        }
        if let Some(trunk) = &trunk {
            // A target before it may still answer, and has what was held.
            self.hold_for(now, id, trunk.id)?;
        }
        let call = self.calls.get(&id).expect("its owner has just seen it");
        let way = call.way.as_ref().expect("its owner has just seen it");
        let profile = trunk.as_ref().and_then(|t| t.profile.as_deref());
        let Some(listener) = self.listener_for(profile, &target) else {
            let missing = advice::no_listener(&self.config, profile, target.transport, target.address.is_ipv4());
            let text = format!("{} to {}: add {}", missing.what, target.address, missing.mend);
            return Err(Refusal::new(503, "route.no_listener", text));
        };
        let caller = call.cdr.from_extension;
        let (tenant, late_offer) = (call.tenant, call.late_offer);
        let policy = self.outside_policy(listener, &target, trunk.as_ref());
        let (request, hide, uri) = (way.request.clone(), way.hide, way.uri.clone());
        let within = trunk.as_ref().map_or(DOMAIN_ANSWER_WITHIN, |t| t.answer_within);

        let call = self.calls.get_mut(&id).expect("its owner has just seen it");
        let media = call.bridge.add_leg(policy);
        let body = if late_offer {
            None
        } else {
            match call.bridge.offer_for(now, media, &mut self.streams.ports) {
                Ok(sdp) => Some(Body::sdp(sdp)),
                Err(reject) => {
                    call.bridge.remove_leg(now, media, &mut self.streams.ports);
                    self.streams.drain(id, &mut call.bridge, &mut self.outputs);
                    return Err(Refusal::media(&reject));
                }
            }
        };
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        let (from, mut headers) = self.shown_outside(tenant, caller, trunk.as_ref(), hide);
        if let Some(trunk) = &trunk {
            headers.append(&self.diverted_outside(tenant, caller, trunk, hide, &request, &uri));
        }
        headers.append(&crossing::cross(&request, crossing::INVITE));
        headers.push("Max-Breadth", max_breadth(&request));
        // A PASSporT has the number in the clear, and everybody on the way reads it (RFC 8224 §11).
        let signs = trunk.as_ref().filter(|_| !hide);
        let signed = signs.and_then(|trunk| self.sign_for(now, id, tenant, caller, trunk, &uri));
        if let Some(signature) = &signed {
            headers.append(signature);
        }
        let began_at = target.flow(listener);
        let out = OutRequest {
            routes: trunk.as_ref().map(|t| self.trunk_routes(t)).unwrap_or_default(),
            from,
            to: format!("<{uri}>"),
            max_forwards: next_hop(&request),
            headers,
            body,
            reliable: !late_offer,
            session: self.config.calls.session(),
            tcp_alternative: self.tcp_alternative_of(listener, &target),
            ..OutRequest::new(Method::Invite, uri, began_at.clone())
        };
        let sent = self.endpoint.send_request(now, out);
        let leg_id = self.leg_id();
        let profile = self.config.listeners[usize::from(listener.0)].profile;
        let call = self.calls.get_mut(&id).expect("its owner has just seen it");
        let Ok(tx) = sent else {
            call.bridge.remove_leg(now, media, &mut self.streams.ports);
            self.streams.drain(id, &mut call.bridge, &mut self.outputs);
            return Err(Refusal::new(503, "limit.transactions", "no room for another request"));
        };
        let leg = call.legs.len();
        self.clients.insert(tx, ClientUse::Fork { call: id, leg });
        let text = format!("tries {} by {}: {}", target.address, target.transport, target.why);
        let secure = target.transport.is_secure();
        let trunk_name = trunk.as_ref().map(|t| t.name.as_str());
        call.legs.push(Leg {
            trunk: trunk.as_ref().map(|t| t.id),
            began_at: Some(began_at),
            media,
            secure,
            ..Leg::new(leg_id, tenant, profile, Context::Public, LegState::Calling { tx, rung: false })
        });
        let way = call.way.as_mut().expect("its owner has just seen it");
        (way.target, way.authorized) = (Some(target), None);
        way.unheard_at = Some(now + within);
        self.timers.set(now + within, Timer::Unheard(id));
        let text = trunk_name.map_or_else(|| text.clone(), |name| format!("trunk {name} {text}"));
        self.notice(Level::Debug, Some(tenant), Some(id), "route", text);
        Ok(())
    }

    /// Not a word from the target in its time: it is left, and should it answer after all, it is hung up on.
    pub(crate) fn on_unheard(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| !call.is_answered()) else { return };
        let Some(way) = &mut call.way else { return };
        way.unheard_at = None;
        let open = call.legs.iter().position(|l| matches!(l.state, LegState::Calling { .. }));
        let Some(leg) = open else { return };
        let LegState::Calling { tx, rung } = call.legs[leg].state else { return };
        if rung || !self.endpoint.is_unheard(tx) {
            return;
        }
        let trunk = call.legs[leg].trunk;
        if let Some(trunk) = trunk {
            self.trunks.call_failed(now, trunk, "a call had no answer in time".to_owned());
        }
        self.leave_branch(now, id, leg, Outcome::TimedOut);
        self.stray(id, tx);
        self.clients.insert(tx, ClientUse::Abandoned { trunk });
        self.endpoint.cancel(now, tx, crossing::reason("SIP", 408, "No answer"));
        self.note_outside(id, Refusal::new(408, "route.no_answer", "no answer in time"));
        self.go_on_outside(now, id);
    }

    /// A target refused. `true`: it was not the last word, another branch or the same one with credentials goes on.
    #[allow(clippy::too_many_arguments, reason = "each is a different fact about the refusal")]
    pub(crate) fn on_outside_refusal(
        &mut self,
        now: Instant,
        tx: ClientTx,
        id: CallId,
        leg: usize,
        status: u16,
        retry_after: Option<Duration>,
        response: Option<&Message>,
    ) -> bool {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.way.is_some()) else { return false };
        let (tenant, media) = (call.tenant, call.legs[leg].media);
        if matches!(status, 415 | 488 | 606) && call.bridge.fall_back_to_plain(now, media, &mut self.streams.ports) {
            self.retry_plain(now, tx, id, leg);
            return true;
        }
        if matches!(status, 401 | 407)
            && let Some(trunk) = call.legs[leg].trunk
            && let Some(response) = response
        {
            match self.authorize_branch(now, tx, id, leg, trunk, response) {
                Ok(()) => return true,
                Err(why) => {
                    let text = format!("the trunk's challenge is not answered: {why}");
                    self.trunks.call_failed(now, trunk, format!("a challenge to a call is not answered: {why}"));
                    self.leave_branch(now, id, leg, Outcome::Answered);
                    self.note_outside(id, Refusal::new(503, "trunk.authentication", text));
                    self.go_on_outside(now, id);
                    return true;
                }
            }
        }
        let trunk = call.legs[leg].trunk;
        let said = response.map(crate::trunk::said);
        if let (true, Some(trunk), Some(said)) = (is_of_the_trunk(status), trunk, &said) {
            self.trunks.call_failed(now, trunk, format!("a call was answered {said}"));
        }
        let Some(way) = self.calls.get(&id).and_then(|call| call.way.as_ref()) else { return false };
        let leaves = fails_over(status)
            || way.published && published::fails_over(status)
            || way.emergency && fails_over_for_help(status);
        if !leaves {
            if let (true, Some(said)) = (is_of_the_trunk(status), said) {
                let name = way.tried.last().cloned().unwrap_or_default();
                self.notice(Level::Info, Some(tenant), Some(id), "route.refused", format!("{name} answered {said}"));
            }
            return false;
        }
        let outcome = match (status, response) {
            (503, Some(_)) => Outcome::Unavailable { retry_after },
            (408, None) => Outcome::TimedOut,
            (_, None) => Outcome::TransportError,
            (_, Some(_)) => Outcome::Answered,
        };
        self.leave_branch(now, id, leg, outcome);
        let text = said.map_or_else(|| format!("no answer counts as {status}"), |said| format!("answered {said}"));
        // Of what only concerns us and it (a challenge, a redirection) the caller hears that there is no way.
        let heard = if (300..500).contains(&status) { from_outside(status) } else { status };
        self.note_outside(id, Refusal::new(heard, "route.failed", text));
        if outcome == Outcome::Answered
            && let Some(way) = self.calls.get_mut(&id).and_then(|call| call.way.as_mut())
        {
            // RFC 3263 §4.3: another target of the same host is for 503 and silence alone.
            way.targets = Targets::default();
        }
        self.go_on_outside(now, id);
        true
    }

    /// The same INVITE with the trunk's credentials (RFC 3261 §22.2): once, to the very target, for the trunk's realm. Where
    /// that is not known yet it is the one of the first call that is taken with them.
    fn authorize_branch(
        &mut self,
        now: Instant,
        tx: ClientTx,
        id: CallId,
        leg: usize,
        trunk: TrunkId,
        response: &Message,
    ) -> Result<(), String> {
        let credentials = self.credentials_of(trunk).ok_or("the trunk has no user and password")?;
        let call = self.calls.get_mut(&id).expect("its owner has just seen it");
        let way = call.way.as_mut().expect("its owner has just seen it");
        if way.authorized.is_some() {
            return Err("it refuses the credentials: compare user and password with the provider's".to_owned());
        }
        let realm = digest::realm_of(response, &credentials);
        let uri = way.uri.clone();
        let given = digest::authorize(response, &credentials, "INVITE", &uri, &mut self.rng, 1);
        let (Some(realm), Some(given)) = (realm, given) else {
            return Err(match &credentials.realm {
                Some(realm) => format!("it asks for another realm than {realm:?}, or in a way we do not know"),
                None => "it asks in a way we do not know".to_owned(),
            });
        };
        way.authorized = Some(realm);
        let again = self.endpoint.resend_with(now, tx, given).map_err(|error| error.to_string())?;
        let LegState::Calling { rung, .. } = call.legs[leg].state else { return Err("it is over".to_owned()) };
        call.legs[leg].state = LegState::Calling { tx: again, rung };
        self.clients.insert(again, ClientUse::Fork { call: id, leg });
        self.asked_again(now, id);
        Ok(())
    }

    /// The target has answered, and was asked once more: it has its whole time again.
    pub(super) fn asked_again(&mut self, now: Instant, id: CallId) {
        let Some(way) = self.calls.get_mut(&id).and_then(|call| call.way.as_mut()) else { return };
        let trunk = way.line.as_ref().and_then(|line| self.router.trunk(line.trunk));
        let at = now + trunk.map_or(DOMAIN_ANSWER_WITHIN, |trunk| trunk.answer_within);
        if let Some(before) = way.unheard_at.replace(at) {
            self.timers.clear(before, Timer::Unheard(id));
        }
        self.timers.set(at, Timer::Unheard(id));
    }

    /// What a trunk's challenges are answered with.
    pub(crate) fn credentials_of(&self, trunk: TrunkId) -> Option<digest::Credentials> {
        let given = self.router.trunk(trunk)?.credentials.as_ref()?;
        Some(digest::Credentials {
            realm: given.realm.clone().or_else(|| self.trunks.realm_of(trunk).map(str::to_owned)),
            user: given.auth_user.clone().unwrap_or_else(|| given.user.clone()),
            password: given.password.reveal().to_owned(),
        })
    }

    /// A branch is over without an answer.
    fn leave_branch(&mut self, now: Instant, id: CallId, leg: usize, outcome: Outcome) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.legs[leg].state = LegState::Gone;
        call.bridge.remove_leg(now, call.legs[leg].media, &mut self.streams.ports);
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        let Some(way) = &mut call.way else { return };
        if let Some(at) = way.unheard_at.take() {
            self.timers.clear(at, Timer::Unheard(id));
        }
        if let Some(target) = way.target.take() {
            self.lookups.locator.report(now, &target, outcome);
        }
    }

    /// The trunk that was tried is left: its place is free again.
    fn leave_line(&mut self, id: CallId) {
        let way = self.calls.get_mut(&id).and_then(|call| call.way.as_mut());
        let Some(way) = way else { return };
        let (line, hold) = (way.line.take(), way.hold.take());
        if let Some(line) = line {
            self.lines.give_back(line.trunk);
        }
        self.drop_hold(hold);
    }

    /// Something did not work out: it is logged, and the best word for the caller is kept.
    pub(super) fn note_outside(&mut self, id: CallId, refusal: Refusal) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let tenant = call.tenant;
        let what = call.way.as_ref().and_then(|way| way.tried.last().cloned()).unwrap_or_default();
        // What a published address says is no word about the number while there are lines to try.
        let counts = !call.way.as_ref().is_some_and(|way| way.published && way.has_more());
        if counts && call.best.as_ref().is_none_or(|(best, _)| outside_rank(refusal.status) > outside_rank(*best)) {
            call.best = Some((refusal.status, refusal.headers));
            if let Some(way) = &mut call.way {
                let ours = matches!(refusal.rule, "route.inner_address" | "route.trunk_address");
                way.refused = ours.then_some(refusal.rule);
            }
        }
        let text = if what.is_empty() { refusal.text } else { format!("{what}: {}", refusal.text) };
        self.notice(Level::Info, Some(tenant), Some(id), refusal.rule, text);
    }

    fn give_up_outside(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let (status, mut headers) = call.best.take().unwrap_or((503, Headers::default()));
        // RFC 3261 §16.7: the trouble of a trunk is no 408 of the caller's own.
        let status = if status == 408 { 504 } else { status };
        if !headers.contains("Reason") {
            headers.append(&crossing::reason("Q.850", 38, "No line could be reached"));
        }
        self.counters.calls_failed += 1;
        let unpaid = call.way.as_ref().and_then(|way| way.unpaid).filter(|_| status == 403);
        let (cause, why) = match unpaid {
            Some(_) => (EndCause::Refused, "what may be spent does not cover the call"),
            None => (EndCause::Rejected, "no line could be reached"),
        };
        let refused = call.way.as_ref().and_then(|way| way.refused).filter(|_| status == 403);
        if let Some(rule) = unpaid.or(refused) {
            call.cdr.rule = Some(rule.to_owned());
            self.count_refusal(rule);
        }
        self.end_call(now, id, None, status, cause, &headers, why);
    }

    /// Media towards a trunk or a stranger (CALL-4, CALL-5).
    fn outside_policy(&self, listener: ListenerId, target: &Target, trunk: Option<&Trunk>) -> LegPolicy {
        let local = self.config.listeners[usize::from(listener.0)].sip.local;
        // Whoever answers an INVITE of ours has got it: he is no stranger who writes somebody else's address into an offer.
        LegPolicy { trusted: true, ..self.public_policy(listener, local, target.address, trunk) }
    }

    /// Media towards a peer at `remote` that is a trunk or a stranger.
    pub(super) fn public_policy(
        &self,
        listener: ListenerId,
        local: SocketAddr,
        remote: SocketAddr,
        trunk: Option<&Trunk>,
    ) -> LegPolicy {
        let srtp = trunk.map_or(SrtpPolicy::Offer, |t| t.srtp);
        let mut policy = self.leg_policy(listener, local, remote, srtp);
        policy.trusted = trunk.is_some();
        policy.pass_extensions = trunk.is_some_and(|trunk| trunk.pass_extensions);
        if let Some(trunk) = trunk.filter(|t| !t.codecs.is_empty()) {
            // It was read when the site was applied; a list that cannot be read lets nothing pass.
            let nothing = || CodecAllowList::parse(&["x-none"]).expect("it is a name");
            policy.codecs = CodecAllowList::parse(&trunk.codecs).unwrap_or_else(|_| nothing());
        }
        policy
    }

    /// Whether the host of a URI is that of a trunk whose provider knows us by our address, turned off or not.
    fn is_host_of_a_trunk(&self, uri: &str) -> bool {
        let Ok(dialled) = Uri::parse(uri) else { return false };
        let peers = self.directory.site().trunks.values().filter(|trunk| trunk.kind == TrunkKind::Peer);
        let mut hops = peers.flat_map(|trunk| [Some(&trunk.server), trunk.outbound_proxy.as_ref()]);
        hops.any(|hop| {
            let hop = hop.and_then(|hop| Uri::parse(hop).ok());
            hop.is_some_and(|hop| hop.host_str().eq_ignore_ascii_case(dialled.host_str()))
        })
    }

    /// RFC 3261 §18.1.1: a TCP listener beside, for what is too long for UDP.
    fn tcp_alternative_of(&self, listener: ListenerId, target: &Target) -> Option<ListenerId> {
        if target.transport != Transport::Udp {
            return None;
        }
        let profile = self.config.listeners[usize::from(listener.0)].profile;
        self.config.tcp_towards(profile, target.address.is_ipv4())
    }

    /// The call is answered or over: what was only for the way there goes.
    pub(crate) fn way_is_over(&mut self, id: CallId, keep_line: bool) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(mut way) = call.way.take() else { return };
        if let Some(at) = way.unheard_at.take() {
            self.timers.clear(at, Timer::Unheard(id));
        }
        if let Some(lookup) = way.lookup.take() {
            self.lookups.cancel(lookup);
        }
        match way.line.take() {
            Some(line) if keep_line => {
                call.line = Some(line.trunk);
                call.cdr.trunks.to = way.tried.last().cloned();
            }
            Some(line) => self.lines.give_back(line.trunk),
            None if keep_line && way.published => call.cdr.trunks.to = way.tried.last().cloned(),
            None => {}
        }
        let hold = way.hold.take();
        if matches!(way.goal, Goal::Trunks { .. }) {
            call.cdr.trunks.tried = way.tried;
        }
        self.drop_hold(hold);
    }

    /// The call is over: its trunk has room again.
    pub(crate) fn free_line(&mut self, call: &mut super::Call) {
        if let Some(trunk) = call.line.take() {
            self.lines.give_back(trunk);
        }
    }

    /// A target has spoken: it lives. Credentials that it had asked for are right, and so was its realm.
    pub(crate) fn outside_lives(&mut self, now: Instant, id: CallId) {
        let Some(way) = self.calls.get_mut(&id).and_then(|call| call.way.as_mut()) else { return };
        if let (Some(line), Some(realm)) = (&way.line, &way.authorized) {
            self.trunks.keep_realm(line.trunk, realm);
        }
        if let Some(at) = way.unheard_at.take() {
            self.timers.clear(at, Timer::Unheard(id));
        }
        if let Some(target) = &way.target {
            self.lookups.locator.report(now, target, Outcome::Answered);
        }
    }

    /// The Request-URI of a call to another domain, written anew: scheme, user, host and port of what was dialled, nothing
    /// else (RFC 3261 §19.1.1 has more than a stranger's phone should be told). Phones with an outbound proxy write the
    /// transport of their own hop into it: it counts only beside a port, where the domain's records are not asked for one.
    pub(crate) fn domain_uri(dialled: &str) -> Option<String> {
        let uri = Uri::parse(dialled).ok()?;
        let scheme = if uri.scheme == Scheme::Sips { "sips" } else { "sip" };
        let user = uri.user_unescaped().map(|user| format!("{}@", line::user_part(&user))).unwrap_or_default();
        let port = uri.port.map(|port| format!(":{port}")).unwrap_or_default();
        let transport = uri.param("transport").filter(|_| uri.port.is_some());
        let transport = transport.filter(|t| t.chars().all(|c| c.is_ascii_alphanumeric()));
        let transport = transport.map(|t| format!(";transport={t}")).unwrap_or_default();
        Some(format!("{scheme}:{user}{}{port}{transport}", uri.host_str()))
    }
}

/// What came of looking for the next thing to try.
pub(super) enum Next {
    /// A look-up runs.
    Asked,
    /// This one is out, another may follow.
    Again,
    Nothing,
}

pub(crate) fn loose_route(proxy: &str) -> String {
    let lr = if proxy.contains(";lr") { "" } else { ";lr" };
    format!("<{proxy}{lr}>")
}

/// Which trouble says the most to a caller: that a domain has no such name before a line that was full, that before one
/// that said nothing.
fn outside_rank(status: u16) -> u8 {
    match status {
        404 | 403 | 488 => 4,
        503 => 3,
        500..=599 => 2,
        408 => 1,
        _ => 5,
    }
}
