//! What stands at `guard`'s door: who asks, and what he wishes. Every call, registration and message of somebody else
//! goes through [`ringfort_guard::admit`] here, and nothing is begun without the proof that comes out of it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ringfort_guard::{Admitted, Authentication, BanSet, Cidr, Context, Entry, Facts, Format, Reach, Verdict, Wish};
use ringfort_sip::flow::Flow;
use ringfort_sip::message::Message;
use ringfort_stir::Verdict as Judged;

use super::arrival::believed;
use super::setup::{Callee, Refusal, Wanted};
use crate::Switch;
use crate::arrival::{self, Party};
use crate::blacklist::Blocked;
use crate::identity;
use crate::model::{ExtensionId, TenantId, Trunk};

/// Who asks, as far as the door wants to know. The packet path has looked at the rate, the parser at the format.
pub(crate) struct Asker {
    source: IpAddr,
    entry: Entry,
    authentication: Authentication,
    confined: bool,
    bans: Arc<BanSet>,
    allowed: Option<Arc<[Cidr]>>,
}

impl Asker {
    /// # Errors
    /// The first rule that says no.
    pub fn admit<W: Wish>(&self, now: Instant, wish: &mut W) -> Result<(Admitted, W::Way), W::Denial> {
        let facts = Facts {
            source: self.source,
            entry: self.entry,
            bans: &self.bans,
            allowed: self.allowed.as_deref(),
            rate: Verdict::Pass,
            format: Format::Good,
            authentication: self.authentication,
            confined: self.confined,
        };
        ringfort_guard::admit(now, &facts, wish)
    }
}

impl Asker {
    /// As an extension that another gateway registers with asks (GUARD-2).
    pub fn confined(self, confined: bool) -> Self {
        Self { confined, ..self }
    }
}

impl Switch {
    /// `proven`: by credentials of ours.
    pub(crate) fn asker(&self, flow: &Flow, proven: bool) -> Asker {
        let (profile, source) = (self.profile_of(flow), flow.remote.ip());
        Asker {
            source,
            entry: if profile.kind.authenticates() { Entry::Internal } else { Entry::External },
            authentication: if proven { Authentication::Proven } else { Authentication::Missing },
            confined: false,
            bans: self.wall.bans.clone(),
            allowed: profile.allow.clone().filter(|_| !self.is_trunk_address(source)),
        }
    }
}

/// What a phone of ours dials.
pub(super) struct PhoneWish<'s> {
    pub switch: &'s Switch,
    pub now: Instant,
    pub caller: ExtensionId,
    pub request: &'s Message,
}

impl Wish for PhoneWish<'_> {
    type Way = Wanted;
    type Denial = Refusal;

    fn way(&mut self, context: Context) -> Result<(Wanted, Reach), Refusal> {
        if context == Context::Public {
            // Published names and nothing else, as for a guest; but it is no stranger, and is not banned for asking.
            let caller = self.switch.directory.extension(self.caller).expect("it was just authenticated");
            let callee = self.switch.route_of_guest(self.now, caller.tenant, self.request);
            let callee = callee.map_err(|refusal| Refusal { offence: None, ..refusal })?;
            return Ok((Wanted::Call(callee), Reach::Local));
        }
        let wanted = self.switch.route(self.now, self.caller, self.request)?;
        let reach = match &wanted {
            Wanted::Call(Callee::Outside(_)) => Reach::Trunk,
            Wanted::Call(Callee::Extension(_)) | Wanted::Blacklist(_) | Wanted::Mailbox => Reach::Local,
        };
        Ok((wanted, reach))
    }

    fn spending(&mut self, wanted: &Wanted) -> Result<(), Refusal> {
        match wanted {
            Wanted::Call(Callee::Outside(way)) => self.switch.may_spend(self.now, way, self.caller),
            Wanted::Call(Callee::Extension(_)) | Wanted::Blacklist(_) | Wanted::Mailbox => Ok(()),
        }
    }
}

/// What a trunk's call is for.
pub(super) struct TrunkWish<'s> {
    pub switch: &'s mut Switch,
    pub now: Instant,
    pub trunk: &'s Trunk,
    pub caller: &'s Party,
    pub called: &'s str,
    /// Of the signature of the caller's number, where it was asked for.
    pub verdict: Option<&'s Judged>,
    pub request: &'s Message,
}

/// Why a trunk's call is not let in.
pub(super) enum Denial {
    Refused(Refusal),
    /// The trunk says what a blocked caller hears; whose phone would have rung.
    Blocked(Blocked, Option<ExtensionId>),
}

impl<R: Into<Refusal>> From<R> for Denial {
    fn from(refusal: R) -> Self {
        Denial::Refused(refusal.into())
    }
}

impl Wish for TrunkWish<'_> {
    type Way = Callee;
    type Denial = Denial;

    fn way(&mut self, _: Context) -> Result<(Callee, Reach), Denial> {
        let Self { switch, now, trunk, called, verdict, request, .. } = self;
        believed(trunk, *verdict)?;
        let callee = switch.route_of_trunk(*now, trunk, called, identity::worth(*verdict), request)?;
        Ok((callee, Reach::Local))
    }

    fn blacklist(&mut self, callee: &Callee) -> Result<(), Denial> {
        let extension = match callee {
            Callee::Extension(id) => Some(*id),
            Callee::Outside(_) => None,
        };
        let plan = self.switch.router.plan(self.trunk.tenant);
        let numbers = arrival::numbers(self.caller, &self.trunk.headers, plan, self.request);
        self.switch.blocked(self.now, self.trunk, &numbers).map_or(Ok(()), |hit| Err(Denial::Blocked(hit, extension)))
    }
}

/// What a stranger asks for.
pub(super) struct GuestWish<'s> {
    pub switch: &'s Switch,
    pub now: Instant,
    pub tenant: TenantId,
    pub request: &'s Message,
}

impl Wish for GuestWish<'_> {
    type Way = Callee;
    type Denial = Refusal;

    fn way(&mut self, _: Context) -> Result<(Callee, Reach), Refusal> {
        Ok((self.switch.route_of_guest(self.now, self.tenant, self.request)?, Reach::Local))
    }
}
