//! A call begins: who calls, may he, whom does he want, and an INVITE to each of that extension's phones.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ringfort_guard::callee::{self, CalleeRefusal};
use ringfort_guard::{Admitted, Offence};
use ringfort_media::bridge::{Bridge, LegPolicy, SdpReject, SrtpPolicy as MediaSrtp};
use ringfort_sip::advertise;
use ringfort_sip::check::Rejection;
use ringfort_sip::endpoint::{ListenerInfo, OutRequest, Response, ServerTx};
use ringfort_sip::flow::{Flow, ListenerId, Target, Transport};
use ringfort_sip::message::Message;
use ringfort_sip::method::Method;
use ringfort_sip::uri::Uri;
use ringfort_sip::write::{Body, Headers};

use super::door::PhoneWish;
use super::{Call, ClientUse, Leg, LegState, Way};
use crate::auth::Identity;
use crate::crossing;
use crate::io::{Level, Output};
use crate::model::{
    BlacklistCode, CallId, Context, Extension, ExtensionId, LegId, Pii, ProfileId, SrtpPolicy, TenantId, TrunkId,
};
use crate::out_of_dialog::{max_breadth, next_hop};
use crate::record::{CallMore, CallTrunks, Cdr, EndCause, JournalRecord};
use crate::route::{Ask, Decision};
use crate::timers::Timer;
use crate::wall::Proof;
use crate::{Switch, draw};

/// Calls for help that a phone may begin beyond the most that it may have.
const PLACES_FOR_HELP: u32 = 2;

/// Why an attempt ends before a phone was tried.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub status: u16,
    pub rule: &'static str,
    pub text: String,
    pub headers: Headers,
    /// Whoever asked for it should not have (GUARD-5).
    pub offence: Option<Offence>,
    /// In the answer, where it is not the usual one of its status.
    pub phrase: Option<&'static str>,
}

/// Whether the answer to a refused request is kept, so that the same request gets the same again (RFC 3261 §17.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Kept,
    /// For a stranger nothing is kept (RFC 3261 §8.2.7).
    Once,
}

impl Heard {
    /// Whoever has proven who he is has proven where he is.
    pub fn proof(self, flow: &Flow) -> Proof {
        match self {
            Heard::Kept => Proof::Given,
            Heard::Once => Proof::of(flow),
        }
    }
}

/// Whoever calls, as his call begins.
pub(super) struct CallerSide {
    pub leg: Leg,
    pub policy: LegPolicy,
    /// What the called phone is shown: a From without a tag.
    pub from: String,
    /// Further header fields for it.
    pub told: Headers,
}

/// Whom a call is for.
pub(super) enum Callee {
    Extension(ExtensionId),
    /// By a trunk, or to another domain.
    Outside(Box<Way>),
}

/// What the rules say of a number that no extension has.
enum ByRules<'s> {
    Extension(&'s Extension),
    Way(Box<Way>),
    Blacklist(BlacklistCode),
    Mailbox,
}

/// What a phone of ours asks for.
pub(super) enum Wanted {
    Call(Callee),
    /// A change of blacklists.
    Blacklist(BlacklistCode),
    /// To hear its messages.
    Mailbox,
}

impl Refusal {
    pub fn new(status: u16, rule: &'static str, text: impl Into<String>) -> Self {
        Self { status, rule, text: text.into(), headers: Headers::default(), offence: None, phrase: None }
    }

    pub fn offence(mut self, offence: Offence) -> Self {
        self.offence = Some(offence);
        self
    }

    /// What a request says by itself is wrong.
    fn format(rejection: Rejection) -> Self {
        let Rejection { status, reason, headers } = rejection;
        let offence = (status == 400).then_some(Offence::Malformed);
        Self { headers, offence, phrase: Some(reason), ..Self::new(status, "format", reason) }
    }

    pub fn media(reject: &SdpReject) -> Self {
        let mut refusal = Self::new(reject.status(), "media", reject.to_string());
        refusal.headers = warning(reject);
        refusal
    }
}

impl From<ringfort_guard::Refusal> for Refusal {
    fn from(refusal: ringfort_guard::Refusal) -> Self {
        Self::new(refusal.status.unwrap_or(403), refusal.rule, "not admitted")
    }
}

/// One phone that is to be tried.
struct Fork {
    breadth: usize,
    request_uri: String,
    target: Target,
    routes: Vec<String>,
    instance: Option<Box<str>>,
    policy: LegPolicy,
    profile: ProfileId,
    secure: bool,
    tcp_alternative: Option<ListenerId>,
}

impl Switch {
    pub(crate) fn on_invite(&mut self, now: Instant, tx: ServerTx, request: &Message, flow: &Flow) {
        if !self.profile_of(flow).kind.authenticates() {
            return self.on_arrival(now, tx, request, flow);
        }
        let Some(tenant) = self.tenant_of(request.from().uri) else { return self.answer(now, tx, 503) };
        let caller = match self.authenticate(now, request, flow, tenant) {
            Identity::Proven(extension) => extension,
            Identity::Challenged { failed: false } => return,
            Identity::Challenged { failed: true } => {
                let cdr = self.cdr(now, tenant, None, request, flow);
                return self.refused(now, None, cdr, Refusal::new(401, "authentication", "wrong credentials"));
            }
        };
        let Some(cdr) = self.attempt(now, tx, tenant, Some(caller), Heard::Kept, request, flow) else { return };
        let mut leg = self.caller_leg(tenant, tx, flow);
        leg.extension = Some(caller);
        leg.instance = self.instance_of(now, caller, request, flow);
        let confined = self.directory.extension(caller).is_some_and(|e| e.calling.public);
        if confined {
            leg.context = Context::Public;
        }
        let routed =
            self.asker(flow, true).confined(confined).admit(now, &mut PhoneWish { switch: self, now, caller, request });
        match routed {
            Ok((proof, wanted)) => {
                let srtp = self.directory.extension(caller).map_or(SrtpPolicy::Offer, |e| e.srtp);
                let policy = self.leg_policy(flow.listener, flow.local, flow.remote, srtp);
                let side = CallerSide { leg, policy, from: self.identity(tenant, caller), told: Headers::default() };
                match wanted {
                    Wanted::Call(callee) => self.start_call(now, proof, tx, cdr, side, callee, request),
                    Wanted::Blacklist(code) => {
                        self.on_blacklist_code(now, proof, tx, cdr, side, &code, request, flow);
                    }
                    Wanted::Mailbox => self.on_mailbox_code(now, proof, tx, cdr, side, caller, request, flow),
                }
            }
            Err(refusal) => self.turn_away(now, tx, cdr, refusal, Heard::Kept, request, flow),
        }
    }

    /// Looks at what an INVITE says by itself, and begins its record. `None`: it has been answered.
    #[allow(clippy::too_many_arguments, reason = "each is a different fact about one attempt")]
    pub(super) fn attempt(
        &mut self,
        now: Instant,
        tx: ServerTx,
        tenant: TenantId,
        caller: Option<ExtensionId>,
        heard: Heard,
        request: &Message,
        flow: &Flow,
    ) -> Option<Box<Cdr>> {
        if let Err(rejection) = self.inspect(request, flow) {
            self.counters.calls_attempted += 1;
            let cdr = self.cdr(now, tenant, caller, request, flow);
            self.turn_away(now, tx, cdr, Refusal::format(rejection), heard, request, flow);
            return None;
        }
        if let Some(refusal) = self.endpoint.interval_refusal(request) {
            // RFC 4028 §9: as after a challenge, the phone asks again at once, and that is the attempt.
            self.tell(now, tx, heard, request, flow, None, refusal);
            return None;
        }
        self.counters.calls_attempted += 1;
        Some(self.cdr(now, tenant, caller, request, flow))
    }

    /// A place on the trunk that a call comes by.
    ///
    /// # Errors
    /// There is none left.
    pub(super) fn take_line(&mut self, now: Instant, trunk: Option<TrunkId>) -> Result<Option<TrunkId>, Refusal> {
        let Some(trunk) = trunk.and_then(|id| self.router.trunk(id)) else { return Ok(None) };
        if let Err(full) = self.lines.take(now, trunk) {
            let text =
                format!("trunk {}: {} calls are up, and that is its limit", trunk.name, self.lines.calls(trunk.id));
            return Err(Refusal::new(503, full.rule(), text));
        }
        Ok(Some(trunk.id))
    }

    /// The leg of whoever calls.
    pub(super) fn caller_leg(&mut self, tenant: TenantId, tx: ServerTx, flow: &Flow) -> Leg {
        let profile = self.profile_of(flow);
        let (profile, authenticates) = (profile.id, profile.kind.authenticates());
        let context = if authenticates { Context::Internal } else { Context::Public };
        Leg {
            secure: flow.transport.is_secure(),
            began_at: Some(Target::Flow(*flow)),
            ..Leg::new(self.leg_id(), tenant, profile, context, LegState::Asking(tx))
        }
    }

    /// An attempt that a rule ends before anybody was tried.
    #[allow(clippy::too_many_arguments, reason = "each is a different fact about one attempt")]
    pub(super) fn turn_away(
        &mut self,
        now: Instant,
        tx: ServerTx,
        cdr: Box<Cdr>,
        refusal: Refusal,
        heard: Heard,
        request: &Message,
        flow: &Flow,
    ) {
        let mut response = Response::new(refusal.status);
        response.headers = refusal.headers.clone();
        if let Some(phrase) = refusal.phrase {
            response = response.reason(phrase);
        }
        let (offence, rule) = (refusal.offence, refusal.rule);
        self.refused(now, None, cdr, refusal);
        if let Some(offence) = offence {
            self.offence(now, flow, offence, rule, heard.proof(flow), request);
        }
        self.tell(now, tx, heard, request, flow, offence.map(|offence| (offence, rule)), response);
    }

    /// Refuses a call.
    #[allow(clippy::too_many_arguments, reason = "each is a different fact about one attempt")]
    fn tell(
        &mut self,
        now: Instant,
        tx: ServerTx,
        heard: Heard,
        request: &Message,
        flow: &Flow,
        offence: Option<(Offence, &str)>,
        refusal: Response,
    ) {
        match heard {
            Heard::Kept => {
                let _ = self.endpoint.respond(now, tx, refusal);
            }
            Heard::Once => {
                let mark = self.mark_for(request, offence);
                self.endpoint.respond_marked(request, flow, refusal, mark);
            }
        }
    }

    /// The limits and the route of a phone's call: who is called. A call for help finds a place beside all others, and no
    /// extension that has its number stands in the way.
    pub(super) fn route(&self, now: Instant, caller: ExtensionId, request: &Message) -> Result<Wanted, Refusal> {
        let caller = self.directory.extension(caller).expect("it was just authenticated");
        let for_help = self.is_call_for_help(caller.tenant, request.request_uri());
        if !for_help {
            self.has_room()?;
        }
        let most = caller.max_calls.saturating_add(if for_help { PLACES_FOR_HELP } else { 0 });
        if self.calls_of(caller.id) >= most {
            let text = format!("extension {} has {} calls up", caller.number, caller.max_calls);
            return Err(Refusal::new(403, "limit.extension_calls", text));
        }
        let inside = || self.called(now, caller.tenant, request.request_uri());
        let callee = match (!for_help).then(inside).flatten() {
            Some(callee) => callee,
            None => match self.route_by_rules(now, caller, request)? {
                ByRules::Extension(callee) => callee,
                ByRules::Way(way) => return Ok(Wanted::Call(Callee::Outside(way))),
                ByRules::Blacklist(code) => return Ok(Wanted::Blacklist(code)),
                ByRules::Mailbox => return Ok(Wanted::Mailbox),
            },
        };
        self.may_ring(now, callee, request).map(Wanted::Call)
    }

    /// Whether a phone dials one of its tenant's emergency numbers.
    fn is_call_for_help(&self, tenant: TenantId, request_uri: &str) -> bool {
        let user = Uri::parse(request_uri).ok().and_then(|uri| uri.user);
        let dialled = user.and_then(|user| callee::decode(user).ok());
        dialled.is_some_and(|callee| self.router.is_emergency(tenant, callee.text()))
            && self.dialled(tenant, request_uri).is_some()
    }

    /// Whether the system takes calls at all.
    pub(super) fn has_room(&self) -> Result<(), Refusal> {
        if self.draining {
            let mut refusal = Refusal::new(503, "draining", "the system is being stopped");
            refusal.headers.push("Retry-After", 30);
            return Err(refusal);
        }
        if self.calls.len() >= self.config.calls.max_calls as usize {
            let mut refusal = Refusal::new(503, "limit.calls", format!("{} calls are up", self.calls.len()));
            refusal.headers.push("Retry-After", 5);
            return Err(refusal);
        }
        Ok(())
    }

    /// Whether an extension has a phone that may ring for this request.
    pub(super) fn may_ring(&self, now: Instant, callee: &Extension, request: &Message) -> Result<Callee, Refusal> {
        if self.calls_of(callee.id) >= callee.max_calls {
            let text = format!("extension {} has {} calls up", callee.number, callee.max_calls);
            return Err(Refusal::new(486, "limit.extension_calls", text));
        }
        match self.reachable(now, callee.id, request.request_uri()).len() {
            0 => {
                let text = format!("extension {} has no phone registered that may be called so", callee.number);
                Err(Refusal::new(480, "route.not_registered", text))
            }
            phones if max_breadth(request) < phones => {
                // RFC 5393 §5.3.3.2: each branch takes its share of the breadth.
                Err(Refusal::new(440, "loop.max_breadth", format!("{phones} phones, and Max-Breadth is less")))
            }
            _ => Ok(Callee::Extension(callee.id)),
        }
    }

    /// Where a number leads that no extension has: to the extension of an alias, or out.
    fn route_by_rules(&self, now: Instant, caller: &Extension, request: &Message) -> Result<ByRules<'_>, Refusal> {
        let nowhere = || Refusal::new(404, "route.no_such_number", "no extension has that number");
        let uri = Uri::parse(request.request_uri()).map_err(|_| nowhere())?;
        let here = self.dialled(caller.tenant, request.request_uri());
        // What is judged is what is routed: nobody downstream decodes once more (GUARD-4).
        let callee = callee::decode(uri.user.unwrap_or_default()).map_err(|wrong| {
            let refusal = CalleeRefusal::from(wrong);
            Refusal::new(404, refusal.rule(), refusal.to_string()).offence(Offence::Callee)
        })?;
        let dialled = callee.text();
        // Another tenant of this house is no stranger that could be located.
        if here.is_none() && self.directory.tenant_of_domain(uri.host_str()).is_some() {
            return Err(nowhere());
        }
        let ask = Ask {
            caller,
            dialled,
            foreign_host: here.is_none().then(|| uri.host_str()),
            unix_s: self.clock.unix_s(now),
            up: &|trunk| self.trunk_is_up(trunk),
            extension: &|number| self.directory.by_number(caller.tenant, number).filter(|e| e.enabled),
        };
        match self.router.outbound(&ask) {
            Decision::Extension(extension) => {
                let found = self.directory.extension(extension.id).expect("it was just found there");
                Ok(ByRules::Extension(found))
            }
            Decision::Trunks(plan) => Ok(ByRules::Way(Box::new(Way::by_trunks(plan, request)))),
            Decision::Blacklist(code) => Ok(ByRules::Blacklist(code)),
            Decision::Mailbox => Ok(ByRules::Mailbox),
            Decision::Domain { hide } => {
                let uri = Self::domain_uri(request.request_uri()).ok_or_else(nowhere)?;
                Ok(ByRules::Way(Box::new(Way::to_domain(uri, request, hide))))
            }
            Decision::Refused { status, rule, text } => {
                let refusal = Refusal::new(status, rule, text);
                Err(if rule.starts_with("callee.") { refusal.offence(Offence::Callee) } else { refusal })
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "each is a different fact about one attempt")]
    pub(super) fn start_call(
        &mut self,
        now: Instant,
        _admitted: Admitted,
        tx: ServerTx,
        mut cdr: Box<Cdr>,
        side: CallerSide,
        callee: Callee,
        request: &Message,
    ) {
        let CallerSide { leg, policy, from, told } = side;
        let (id, tenant) = (cdr.call, leg.tenant);
        let extension = match &callee {
            Callee::Extension(id) => Some(*id),
            Callee::Outside(_) => None,
        };
        cdr.to_extension = extension;
        let called = extension.and_then(|id| self.directory.extension(id));
        if let Some(called) = called.filter(|_| cdr.callee.reveal().starts_with("tgruu.")) {
            // Who was called is for the record to know, whatever address he was called by.
            cdr.callee = Pii::new(called.number.clone());
        }
        let mut bridge = Bridge::new(draw(&mut self.rng));
        bridge.add_leg(policy);

        let offer = session_description(request);
        let late_offer = offer.is_none();
        if late_offer && !request.body().is_empty() {
            let mut refusal = Refusal::new(415, "media.type", "the body is no session description");
            refusal.headers.push("Accept", "application/sdp");
            return self.refused(now, Some(tx), cdr, refusal);
        }
        if let Some(offer) = &offer
            && let Err(reject) = bridge.offer_received(ringfort_media::bridge::LegIx(0), offer)
        {
            return self.refused(now, Some(tx), cdr, Refusal::media(&reject));
        }
        let line = match self.take_line(now, leg.trunk) {
            Ok(line) => line,
            Err(full) => return self.refused(now, Some(tx), cdr, full),
        };
        if let Some(id) = line {
            self.trunks.count_call(id, false);
        }
        let mut call = Call::begun(now, tx, cdr, leg, bridge, !late_offer, request);
        call.line = line;
        let callee = match callee {
            Callee::Extension(callee) => callee,
            Callee::Outside(way) => return self.start_outside(now, tx, call, way),
        };
        let forks = self.forks(now, callee, request);
        let extension = self.directory.extension(callee).expect("it was just routed to");
        let to = format!("<sip:{}@{}>", extension.number, self.directory.realm(tenant));
        let mut problem = None;
        for fork in forks {
            if let Err(reject) = self.try_phone(now, &mut call, fork, request, (&from, &told), &to, callee) {
                problem = Some(reject);
            }
        }
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        if call.open_forks() == 0 {
            let refusal = match problem {
                Some(reject) => Refusal::media(&reject),
                None => Refusal::new(503, "limit.transactions", "no room for another request"),
            };
            self.close_media(now, &mut call);
            self.free_line(&mut call);
            return self.refused(now, Some(tx), call.cdr, refusal);
        }
        let text = format!("{} calls {}: {} phones ring", call.cdr.caller, call.cdr.callee, call.open_forks());
        self.call_begins(now, tx, call, self.config.calls.ring_for, text);
    }

    /// A call that leaves the house begins: its way is tried step by step.
    fn start_outside(&mut self, now: Instant, tx: ServerTx, mut call: Call, way: Box<Way>) {
        let id = call.id;
        let ring_for = way.ring_for.unwrap_or(self.config.calls.ring_for);
        let text = format!("{} calls {}: {}", call.cdr.caller, call.cdr.callee, way.words());
        call.way = Some(way);
        self.streams.drain(id, &mut call.bridge, &mut self.outputs);
        self.call_begins(now, tx, call, ring_for, text);
        self.go_on_outside(now, id);
    }

    pub(super) fn call_begins(&mut self, now: Instant, tx: ServerTx, mut call: Call, ring_for: Duration, text: String) {
        let (id, tenant) = (call.id, call.tenant);
        let ring = now + ring_for;
        self.timers.set(ring, Timer::Ring(id));
        call.ring_timer = Some(ring);
        self.servers.insert(tx, id);
        self.outputs.push_back(Output::Journal(JournalRecord::CallStarted(call.cdr.clone())));
        self.notice(Level::Info, Some(tenant), Some(id), "call", text);
        self.count_extension(&call, 1);
        self.calls.insert(id, Box::new(call));
    }

    #[allow(clippy::too_many_arguments, reason = "each is a different fact about one INVITE")]
    fn try_phone(
        &mut self,
        now: Instant,
        call: &mut Call,
        fork: Fork,
        request: &Message,
        (from, told): (&str, &Headers),
        to: &str,
        callee: ExtensionId,
    ) -> Result<(), SdpReject> {
        let media = call.bridge.add_leg(fork.policy);
        let body = if call.late_offer {
            None
        } else {
            match call.bridge.offer_for(now, media, &mut self.streams.ports) {
                Ok(sdp) => Some(Body::sdp(sdp)),
                Err(reject) => {
                    call.bridge.remove_leg(now, media, &mut self.streams.ports);
                    return Err(reject);
                }
            }
        };
        let mut headers = crossing::cross(request, crossing::INVITE);
        headers.append(told);
        headers.push("Max-Breadth", fork.breadth);
        let out = OutRequest {
            routes: fork.routes,
            from: from.to_owned(),
            to: to.to_owned(),
            max_forwards: next_hop(request),
            headers,
            body,
            // A late offer in a reliable 1xx would have to be answered in PRACK: it comes in the 2xx instead.
            reliable: !call.late_offer,
            session: self.config.calls.session(),
            tcp_alternative: fork.tcp_alternative,
            ..OutRequest::new(Method::Invite, fork.request_uri, fork.target.clone())
        };
        let Ok(tx) = self.endpoint.send_request(now, out) else {
            call.bridge.remove_leg(now, media, &mut self.streams.ports);
            return Ok(());
        };
        self.clients.insert(tx, ClientUse::Fork { call: call.id, leg: call.legs.len() });
        let state = LegState::Calling { tx, rung: false };
        call.legs.push(Leg {
            extension: Some(callee),
            instance: fork.instance,
            began_at: Some(fork.target),
            media,
            secure: fork.secure,
            ..Leg::new(self.leg_id(), call.tenant, fork.profile, Context::Internal, state)
        });
        Ok(())
    }

    fn forks(&self, now: Instant, callee: ExtensionId, request: &Message) -> Vec<Fork> {
        let srtp = self.directory.extension(callee).map_or(SrtpPolicy::Offer, |e: &Extension| e.srtp);
        let live = self.reachable(now, callee, request.request_uri());
        let breadth = max_breadth(request) / live.len().max(1);
        live.into_iter()
            .map(|contact| {
                let target = contact.target();
                let (transport, listener) = (target.transport(), target.listener());
                let slot = &self.config.listeners[usize::from(listener.0)];
                Fork {
                    breadth,
                    request_uri: contact.uri.to_string(),
                    routes: contact.path.iter().map(|p| p.to_string()).collect(),
                    instance: contact.instance.clone(),
                    policy: self.leg_policy(target.listener(), contact.flow.local, target.remote(), srtp),
                    profile: slot.profile,
                    secure: transport.is_secure(),
                    tcp_alternative: self.tcp_beside(slot.profile, &target, &contact.uri),
                    target,
                }
            })
            .collect()
    }

    /// RFC 3261 §18.1.1: a TCP listener of the same profile, where the phone's Contact does not insist on UDP.
    /// A phone behind NAT is reached by its flow alone.
    pub(crate) fn tcp_beside(&self, profile: ProfileId, target: &Target, contact: &str) -> Option<ListenerId> {
        if target.transport() != Transport::Udp || matches!(target, Target::Flow(_)) {
            return None;
        }
        let insists = Uri::parse(contact).ok()?.param("transport").is_some();
        self.config.tcp_towards(profile, target.remote().is_ipv4()).filter(|_| !insists)
    }

    pub(crate) fn leg_policy(
        &self,
        listener: ListenerId,
        local: SocketAddr,
        remote: SocketAddr,
        srtp: SrtpPolicy,
    ) -> LegPolicy {
        let listener = &self.config.listeners[usize::from(listener.0)].sip;
        LegPolicy {
            secure_signalling: listener.transport.is_secure(),
            srtp: match srtp {
                SrtpPolicy::Off => MediaSrtp::Off,
                SrtpPolicy::Offer => MediaSrtp::Offer,
                SrtpPolicy::Require => MediaSrtp::Require,
            },
            codecs: self.streams.codecs.clone(),
            trusted: true,
            max_lines: self.config.media.max_lines,
            ..LegPolicy::new(self.media_address(listener, local, remote), remote.ip())
        }
    }

    /// What stands in `c=` towards a peer: what the administrator says for its family, else what the listener tells; and
    /// towards peers in our own network behind the same router, the address that the signalling with it uses.
    fn media_address(&self, listener: &ListenerInfo, local: SocketAddr, remote: SocketAddr) -> IpAddr {
        let configured = match local.ip() {
            IpAddr::V4(_) => self.config.media.advertised_v4,
            IpAddr::V6(_) => self.config.media.advertised_v6,
        };
        let told = || listener.advertised.host.trim_matches(['[', ']']).parse().ok();
        advertise::for_peer(configured.or_else(told), local.ip(), remote.ip())
    }

    pub(super) fn cdr(
        &mut self,
        now: Instant,
        tenant: TenantId,
        caller: Option<ExtensionId>,
        request: &Message,
        flow: &Flow,
    ) -> Box<Cdr> {
        let profile = self.profile_of(flow);
        let (profile, external) = (profile.name.clone(), !profile.kind.authenticates());
        let call = CallId(self.next_call);
        self.next_call += 1;
        let known = caller.and_then(|id| self.directory.extension(id));
        let (number, name) = match known {
            Some(e) => (e.number.clone(), e.name.clone()),
            None => {
                let from = request.from();
                let user = from.uri().ok().and_then(|u| u.user_unescaped().map(|u| u.into_owned()));
                (user.unwrap_or_default(), String::new())
            }
        };
        let public = external || known.is_some_and(|extension| extension.calling.public);
        let dialled = Uri::parse(request.request_uri()).ok().and_then(|u| u.user_unescaped().map(|u| u.into_owned()));
        Box::new(Cdr {
            call,
            tenant,
            profile,
            context: if public { "public" } else { "internal" }.to_owned(),
            caller: Pii::new(shorten(number)),
            caller_name: Pii::new(shorten(name)),
            callee: Pii::new(shorten(dialled.unwrap_or_default())),
            from_extension: caller,
            to_extension: None,
            source: flow.remote,
            started: self.clock.unix(now),
            ringing: None,
            answered: None,
            ended: None,
            status: 0,
            cause: None,
            reason: String::new(),
            rule: None,
            quality: Vec::new(),
            trunks: CallTrunks::default(),
            more: CallMore::default(),
            cost: None,
        })
    }

    /// An attempt that a rule ends: the record, the log line and the caller name the rule.
    pub(super) fn refused(&mut self, now: Instant, tx: Option<ServerTx>, mut cdr: Box<Cdr>, refusal: Refusal) {
        self.counters.calls_refused += 1;
        self.count_refusal(refusal.rule);
        let text = format!("{} to {} refused: {} ({})", cdr.caller, cdr.callee, refusal.text, refusal.status);
        self.notice(Level::Info, Some(cdr.tenant), Some(cdr.call), refusal.rule, text);
        cdr.status = refusal.status;
        cdr.cause = Some(EndCause::Refused);
        cdr.reason = refusal.text;
        cdr.rule = Some(refusal.rule.to_owned());
        cdr.ended = Some(self.clock.unix(now));
        let call = cdr.call;
        self.outputs.push_back(Output::Journal(JournalRecord::CallEnded(cdr)));
        self.await_quality(now, call);
        if let Some(tx) = tx {
            self.answer_with(now, tx, refusal.status, refusal.headers);
        }
    }

    pub(super) fn leg_id(&mut self) -> LegId {
        let id = LegId(self.next_leg);
        self.next_leg += 1;
        id
    }
}

/// The session description of a message, alone or as a part of a multipart body.
pub(crate) fn session_description(message: &Message) -> Option<Vec<u8>> {
    if message.body().is_empty() {
        return None;
    }
    ringfort_media::sdp::find_sdp(message.content_type()?, message.body()).map(<[u8]>::to_vec)
}

/// Says in a Warning why media do not fit (RFC 3261 §20.43).
pub(crate) fn warning(reject: &SdpReject) -> Headers {
    let mut headers = Headers::default();
    let words: String = reject.to_string().chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect();
    headers.push("Warning", format_args!("{} - \"{words}\"", reject.warn_code()));
    headers
}

/// What a peer wrote goes into a record in bounded length.
pub(crate) fn shorten(mut text: String) -> String {
    const LONGEST: usize = 128;
    if text.len() > LONGEST {
        let cut = (0..=LONGEST).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(cut);
    }
    text
}
