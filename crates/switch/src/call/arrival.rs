//! A call from outside begins: of a trunk, which is known by where it comes from (CALL-4), or of anybody, who reaches
//! published names (DOM-1) and nothing else (DOM-4). Neither can lead out of the house again.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::time::Instant;

use ringfort_guard::callee::{self, CalleeRefusal};
use ringfort_guard::{Offence, Reach};
use ringfort_media::sdp::{RtcpAttribute, Sdp};
use ringfort_media::sound::Spoken;
use ringfort_sip::endpoint::ServerTx;
use ringfort_sip::flow::Flow;
use ringfort_sip::message::Message;
use ringfort_sip::uri::Uri;
use ringfort_sip::write::Headers;
use ringfort_stir::Verdict;

use super::announce::Announcement;
use super::door::{Denial, GuestWish, TrunkWish};
use super::setup::{Callee, CallerSide, Heard, Refusal, session_description, shorten};
use crate::Switch;
use crate::arrival::{self, Party};
use crate::auth::LineIdentity;
use crate::blacklist::form_of;
use crate::diversion::{self, Diversion};
use crate::identity::{self, Held};
use crate::io::{Level, Output};
use crate::model::{CalledIn, Destination, HeaderRules, Pii, TenantId, Trunk, Verified, VerifyIdentity};
use crate::record::{EndCause, JournalRecord};
use crate::route::InboundDecision;

/// Everything that a guest cannot have gets this answer, so that he learns nothing from it (GUARD-10).
const NOT_FOR_GUESTS: u16 = 404;

impl Switch {
    /// An INVITE by a profile for everybody.
    pub(super) fn on_arrival(&mut self, now: Instant, tx: ServerTx, request: &Message, flow: &Flow) {
        let registered = self.called_contact(request);
        let by_contact = registered.is_some();
        match registered.or_else(|| self.trunk_at_source(now, request, flow)).cloned() {
            Some(trunk) => self.on_trunk_call(now, tx, &trunk, by_contact, request, flow),
            None => self.on_guest_call(now, tx, request, flow),
        }
    }

    /// `by_contact`: the request is for the Contact that the trunk is registered with.
    fn on_trunk_call(
        &mut self,
        now: Instant,
        tx: ServerTx,
        trunk: &Trunk,
        by_contact: bool,
        request: &Message,
        flow: &Flow,
    ) {
        let tenant = trunk.tenant;
        let proven = match self.authenticate_line(now, request, flow, trunk) {
            LineIdentity::Proven => true,
            LineIdentity::Unasked => false,
            LineIdentity::Challenged { failed: false } => return,
            LineIdentity::Challenged { failed: true } => {
                let cdr = self.cdr(now, tenant, None, request, flow);
                return self.refused(now, None, cdr, Refusal::new(401, "authentication", "wrong credentials"));
            }
        };
        let held = Held { tx, trunk: trunk.id, by_contact, proven, request: request.clone(), flow: *flow };
        if let Err(held) = self.judges_identity(now, trunk, held) {
            self.on_known_trunk_call(now, trunk, &held, None);
        }
    }

    /// The signature of a trunk's call has been judged.
    pub(crate) fn on_judged(&mut self, now: Instant, held: Held, verdict: &Verdict) {
        match self.router.trunk(held.trunk).cloned() {
            Some(trunk) => self.on_known_trunk_call(now, &trunk, &held, Some(verdict)),
            // It was taken away meanwhile.
            None => self.answer(now, held.tx, 404),
        }
    }

    /// The caller gave up while the signature was judged.
    pub(crate) fn on_held_cancelled(&mut self, now: Instant, held: Held) {
        let Some(trunk) = self.router.trunk(held.trunk) else { return self.answer(now, held.tx, 487) };
        let (tenant, name) = (trunk.tenant, trunk.name.clone());
        self.counters.calls_attempted += 1;
        let mut cdr = self.cdr(now, tenant, None, &held.request, &held.flow);
        cdr.trunks.from = Some(name);
        (cdr.status, cdr.cause) = (487, Some(EndCause::Cancelled));
        cdr.reason = "the caller gave up while the signature of its number was judged".to_owned();
        cdr.ended = Some(self.clock.unix(now));
        self.outputs.push_back(Output::Journal(JournalRecord::CallEnded(cdr)));
        self.answer(now, held.tx, 487);
    }

    fn on_known_trunk_call(&mut self, now: Instant, trunk: &Trunk, held: &Held, verdict: Option<&Verdict>) {
        let Held { request, flow, .. } = held;
        let (tx, tenant) = (held.tx, trunk.tenant);
        let Some(mut cdr) = self.attempt(now, tx, tenant, None, Heard::Kept, request, flow) else { return };
        cdr.trunks.from = Some(trunk.name.clone());
        cdr.more.identity = verdict.map(identity::note);
        let plan = self.router.plan(tenant).expect("the router has the tenant of each trunk");
        let mut caller = arrival::of_trunk(plan, &trunk.headers, form_of(trunk, plan), request);
        caller.verstat = verdict.map(Verdict::verstat);
        let called = if held.by_contact { called_at(trunk, request) } else { arrival::called(&trunk.headers, request) };
        cdr.caller = Pii::new(shorten(caller.address.clone().unwrap_or_default()));
        cdr.caller_name = Pii::new(shorten(caller.name.clone()));
        cdr.callee = Pii::new(shorten(called.clone().unwrap_or_default()));
        let diverted = diversion::of_trunk(plan, &trunk.headers, request);
        cdr.more.diverted = diverted.as_ref().map(Diversion::note);
        if let Some(claimed) = caller.address.as_deref().filter(|number| self.is_name_of_ours(tenant, number)) {
            let text =
                format!("trunk {}: a caller says that he is {claimed} of this house: shown as anonymous", trunk.name);
            self.notice(Level::Info, Some(tenant), Some(cdr.call), "trunk.claims_extension", text);
            caller.hidden = true;
        }

        let wish = &mut TrunkWish {
            switch: self,
            now,
            trunk,
            caller: &caller,
            called: called.as_deref().unwrap_or_default(),
            verdict,
            request,
        };
        let door = wish.switch.asker(flow, held.proven);
        match door.admit(now, wish) {
            Ok((proof, callee)) => {
                let mut side = self.arriving_by(trunk, held, &caller);
                side.told = diverted.map(|it| it.for_phone(self.directory.realm(tenant))).unwrap_or_default();
                self.start_call(now, proof, tx, cdr, side, callee, request);
            }
            Err(Denial::Blocked(hit, callee)) => {
                let side = self.arriving_by(trunk, held, &caller);
                self.turn_blocked(now, &door, tx, cdr, side, (trunk, &hit, callee), request, flow);
            }
            Err(Denial::Refused(refusal)) => self.turn_away(now, tx, cdr, refusal, Heard::Kept, request, flow),
        }
    }

    fn on_guest_call(&mut self, now: Instant, tx: ServerTx, request: &Message, flow: &Flow) {
        let Some(tenant) = self.tenant_of(request.request_uri()) else { return self.answer(now, tx, 503) };
        let Some(mut cdr) = self.attempt(now, tx, tenant, None, Heard::Once, request, flow) else { return };
        let caller = arrival::guest(request, |host| self.directory.tenant_of_domain(host).is_some());
        cdr.caller = Pii::new(shorten(caller.address.clone().unwrap_or_default()));
        cdr.caller_name = Pii::new(shorten(caller.name.clone()));

        let door = self.asker(flow, false);
        match door.admit(now, &mut GuestWish { switch: self, now, tenant, request }) {
            Ok((proof, callee)) => {
                self.counters.guest_calls += 1;
                let text = format!("Good call IP={} from {} to {}", flow.remote.ip(), cdr.caller, cdr.callee);
                self.notice(Level::Notice, Some(tenant), Some(cdr.call), "guest", text);
                let side = self.arriving(tx, tenant, None, &caller, flow);
                self.start_call(now, proof, tx, cdr, side, callee, request);
            }
            Err(refusal) => {
                if refusal.offence.is_some() {
                    self.counters.guest_calls_wrong += 1;
                    let ip = flow.remote.ip();
                    let text = format!("Wrong call IP={ip} from {} to {}: {}", cdr.caller, cdr.callee, refusal.text);
                    self.notice(Level::Warn, Some(tenant), Some(cdr.call), refusal.rule, text);
                    // Whoever dialled wrongly is told so (DOM-5); a program that looks for victims hears the status alone.
                    if !self.is_scanner(request)
                        && let Ok((proof, ())) = door.admit(now, &mut Reach::Local)
                    {
                        let side = self.arriving(tx, tenant, None, &caller, flow);
                        let plan = Announcement::answer(Spoken::NoSuchUser.sound(), refusal);
                        self.start_announcement(now, proof, tx, cdr, side, plan, request, flow);
                        return;
                    }
                }
                self.turn_away(now, tx, cdr, refusal, Heard::Once, request, flow);
            }
        }
    }

    fn arriving(
        &mut self,
        tx: ServerTx,
        tenant: TenantId,
        trunk: Option<&Trunk>,
        caller: &Party,
        flow: &Flow,
    ) -> CallerSide {
        let mut leg = self.caller_leg(tenant, tx, flow);
        leg.trunk = trunk.map(|t| t.id);
        let policy = self.public_policy(flow.listener, flow.local, flow.remote, trunk);
        CallerSide { leg, policy, from: caller.from(self.directory.realm(tenant)), told: Headers::default() }
    }

    /// Whether an extension or alias has that number or name: nobody outside is it, and phones show the house's own names
    /// beside such a number.
    fn is_name_of_ours(&self, tenant: TenantId, number: &str) -> bool {
        self.directory.by_number(tenant, number).is_some() || self.router.alias(tenant, number, false).is_some()
    }

    fn arriving_by(&mut self, trunk: &Trunk, held: &Held, caller: &Party) -> CallerSide {
        let mut side = self.arriving(held.tx, trunk.tenant, Some(trunk), caller, &held.flow);
        side.policy.trusted = held.proven || held.by_contact || self.may_send_first(trunk, &held.request, &held.flow);
        side
    }

    /// The trunk whose registered Contact a request is for: nobody else was told it, wherever the request comes from.
    fn called_contact(&self, request: &Message) -> Option<&Trunk> {
        let uri = request.parsed_request_uri().ok()?;
        let trunk = self.trunk_of_contact_user(&uri.user_unescaped()?)?;
        self.router.trunk(trunk).filter(|trunk| trunk.enabled)
    }

    /// The trunk that a request comes from, by its source address and the profile that it came to. Where several are at one
    /// address, the account or the domain that it is for tells them apart, then which one's route names the most of the number,
    /// then the port.
    fn trunk_at_source(&self, now: Instant, request: &Message, flow: &Flow) -> Option<&Trunk> {
        let profile = &self.profile_of(flow).name;
        let at = self.sources.at(profile, flow.remote.ip()).filter_map(|id| self.router.trunk(id));
        let here: Vec<&Trunk> = at.collect();
        if here.len() < 2 {
            return here.first().copied();
        }
        let uri = Uri::parse(request.request_uri()).ok();
        let user = uri.and_then(|uri| uri.user_unescaped().map(|user| user.into_owned()));
        let hosts: Vec<&str> = uri
            .into_iter()
            .chain(request.to().uri().ok())
            .map(|uri| uri.host_str())
            .filter(|h| !h.is_empty())
            .collect();
        let unix_s = self.clock.unix_s(now);
        here.into_iter().min_by_key(|trunk| {
            let account = trunk.credentials.as_ref().is_some_and(|c| user.as_deref() == Some(c.user.as_str()));
            let domain = hosts.iter().any(|host| {
                trunk.from_domain.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(host))
                    || self.directory.tenant_of_domain(host) == Some(trunk.tenant)
            });
            let called = arrival::called(&trunk.headers, request);
            let routed = called.and_then(|it| self.router.inbound_fit(trunk.tenant, trunk.id, &it, unix_s));
            Reverse((account, domain, routed, self.sources.is_exactly_at(trunk.id, flow.remote)))
        })
    }

    /// Where the inbound routes send a trunk's call.
    pub(super) fn route_of_trunk(
        &self,
        now: Instant,
        trunk: &Trunk,
        called: &str,
        identity: Verified,
        request: &Message,
    ) -> Result<Callee, Refusal> {
        self.has_room()?;
        let unix_s = self.clock.unix_s(now);
        match self.router.inbound(trunk.tenant, trunk.id, called, Some(identity), unix_s) {
            InboundDecision::To { route, destination } => {
                self.route_inside(now, trunk.tenant, destination, &format!("route {route}"), request)
            }
            InboundDecision::None => {
                let text = format!("no inbound route fits a call of trunk {}", trunk.name);
                Err(Refusal::new(404, "route.no_inbound_route", text))
            }
        }
    }

    /// The published name that a guest asks for.
    pub(super) fn route_of_guest(&self, now: Instant, tenant: TenantId, request: &Message) -> Result<Callee, Refusal> {
        self.has_room()?;
        let wanted = self.dialled(tenant, request.request_uri());
        let published = wanted.and_then(|name| self.router.alias(tenant, &name, true));
        match published {
            Some(destination) => {
                let callee = self.route_inside(now, tenant, destination, "alias", request)?;
                self.leaves_room(&callee)?;
                Ok(callee)
            }
            None => Err(self.not_for_guests(tenant, request)),
        }
    }

    /// Guests, who may be nobody at all, never take the last call that a phone can have.
    fn leaves_room(&self, callee: &Callee) -> Result<(), Refusal> {
        let Callee::Extension(id) = callee else { return Ok(()) };
        let Some(extension) = self.directory.extension(*id) else { return Ok(()) };
        if extension.max_calls > 1 && self.calls_of(*id) + 1 >= extension.max_calls {
            let text = format!("extension {} has one call left, which is not for guests", extension.number);
            return Err(Refusal::new(486, "limit.guest_calls", text));
        }
        Ok(())
    }

    /// Why a guest gets nothing: what he dialled is against the rules for guests, or there is nobody of that name for him.
    /// He cannot tell which.
    fn not_for_guests(&self, tenant: TenantId, request: &Message) -> Refusal {
        let user = request.parsed_request_uri().ok().and_then(|uri| uri.user).unwrap_or_default();
        let judged = callee::decode(user)
            .map_err(CalleeRefusal::from)
            .and_then(|callee| self.router.judge_guest(tenant, callee.text()));
        match judged {
            Ok(()) => Refusal::new(NOT_FOR_GUESTS, "context.public", "guests reach published names only")
                .offence(Offence::UnknownUser),
            Err(refusal) => Refusal::new(NOT_FOR_GUESTS, refusal.rule(), refusal.to_string()).offence(Offence::Callee),
        }
    }

    /// A destination within the house: there is no other for a call from outside.
    fn route_inside(
        &self,
        now: Instant,
        tenant: TenantId,
        destination: &Destination,
        by: &str,
        request: &Message,
    ) -> Result<Callee, Refusal> {
        match destination {
            Destination::Extension(number) => {
                let extension = self.directory.by_number(tenant, number).filter(|e| e.enabled);
                let missing = || {
                    let text = format!("{by} leads to extension {number}, and there is none");
                    Refusal::new(404, "route.no_such_number", text)
                };
                self.may_ring(now, extension.ok_or_else(missing)?, request)
            }
            Destination::Reject(status) => {
                Err(Refusal::new(*status, "route.reject", format!("{by} refuses calls with {status}")))
            }
        }
    }

    /// CALL-5: whether RTP may go to the SDP's addresses before any came from there. An address in a datagram can be
    /// forged: what a trunk that has proven nothing more asks for is sent to its own addresses only, or to where it speaks
    /// to us over a connection.
    fn may_send_first(&self, trunk: &Trunk, request: &Message, flow: &Flow) -> bool {
        if flow.transport.is_reliable() {
            return true;
        }
        let Some(body) = session_description(request) else { return false };
        let addresses = media_addresses(&body);
        !addresses.is_empty() && addresses.iter().all(|ip| self.sources.is_at(trunk.id, *ip))
    }
}

/// RFC 8224 §6.2.2: what becomes of a call whose number is not proven, where the trunk's have to be.
pub(super) fn believed(trunk: &Trunk, verdict: Option<&Verdict>) -> Result<(), Refusal> {
    if trunk.verify_identity != VerifyIdentity::Require {
        return Ok(());
    }
    let Some(verdict) = verdict else {
        let text = format!("trunk {} requires signed numbers, and [stir] has no `trust` to judge them by", trunk.name);
        return Err(Refusal::new(503, "stir.no-trust", text));
    };
    let Some((status, phrase)) = verdict.refusal() else { return Ok(()) };
    let mut refusal = Refusal::new(status, verdict.rule(), verdict.to_string());
    refusal.phrase = Some(phrase);
    Err(refusal)
}

/// All addresses that media are asked for at, RTCP's (RFC 3605) too; empty where one of them is no address.
pub(super) fn media_addresses(body: &[u8]) -> Vec<IpAddr> {
    let Ok(sdp) = Sdp::parse(body) else { return Vec::new() };
    let of_lines = sdp.media().map(|line| line.connection());
    let all = std::iter::once(sdp.session().connection()).chain(of_lines).flatten();
    let rtcp = sdp.media().filter_map(|line| RtcpAttribute::parse(line.attribute("rtcp")?)?.address).map(Some);
    all.map(|connection| connection.ip()).chain(rtcp).collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// The number that a call to a trunk's registered Contact is for: the Request-URI has only our own word for the trunk, so
/// that it stands in To, or it is the account's only one.
fn called_at(trunk: &Trunk, request: &Message) -> Option<String> {
    let rules = match trunk.headers.called {
        CalledIn::RequestUri => HeaderRules { called: CalledIn::To, ..trunk.headers.clone() },
        CalledIn::To | CalledIn::CalledPartyId => trunk.headers.clone(),
    };
    arrival::called(&rules, request).or_else(|| trunk.credentials.as_ref().map(|c| c.user.clone()))
}
