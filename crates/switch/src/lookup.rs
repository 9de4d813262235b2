//! Hosts that have to be located (RFC 3263) before something can be sent there: which look-up is whose, and the way of
//! questions and answers through the switch.

use std::time::Instant;

use ringfort_sip::advertise;
use ringfort_sip::flow::ListenerId;
use ringfort_sip::locate::{
    Answer, Families, LocateError, Located, Locator, LookupId, NumberRequest, QueryId, Request, Resolved, Settings,
    Target, Targets,
};
use rustc_hash::FxHashMap;

use crate::Switch;
use crate::arrival::HopId;
use crate::config::Listener;
use crate::io::Output;
use crate::model::CallId;
use crate::trunk::TrunkUse;

/// Who waits for a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lookup {
    /// A call on its way out.
    Call(CallId),
    /// Where the calls of a trunk come from.
    Sources(HopId),
    /// A trunk that is to be registered with, checked or tried.
    Trunk(TrunkUse),
}

/// The locator and who waits for what.
pub(crate) struct Lookups {
    pub locator: Locator,
    waiting: FxHashMap<LookupId, Lookup>,
}

impl Lookups {
    pub(crate) fn new(mut settings: Settings, listeners: &[Listener], seed: [u8; 32]) -> Self {
        // What we have no listener for cannot be sent.
        settings.transports.retain(|transport| listeners.iter().any(|l| l.sip.transport == *transport));
        let has = |ipv4: bool| listeners.iter().any(|l| l.sip.local.is_ipv4() == ipv4);
        settings.families = match (settings.families, has(true), has(false)) {
            (Families::V6First | Families::V4First, true, false) => Families::V4Only,
            (Families::V6First | Families::V4First, false, true) => Families::V6Only,
            (families, _, _) => families,
        };
        Self { locator: Locator::new(settings, seed), waiting: FxHashMap::default() }
    }

    pub(crate) fn begin(&mut self, now: Instant, request: Request, whose: Lookup) -> LookupId {
        let id = self.locator.locate(now, request);
        self.waiting.insert(id, whose);
        id
    }

    /// The addresses of a number, for a call on its way out.
    pub(crate) fn begin_number(&mut self, now: Instant, request: NumberRequest, call: CallId) -> LookupId {
        let id = self.locator.resolve_number(now, request);
        self.waiting.insert(id, Lookup::Call(call));
        id
    }

    /// Nobody waits for it any more.
    pub(crate) fn cancel(&mut self, id: LookupId) {
        if self.waiting.remove(&id).is_some() {
            self.locator.cancel(id);
        }
    }
}

impl Switch {
    /// A question that was put out as [`Output::Query`] is answered.
    pub fn handle_dns_answer(&mut self, now: Instant, query: QueryId, answer: Answer) {
        self.lookups.locator.handle_answer(now, query, answer);
        self.handle_events(now);
    }

    /// Puts questions out and hands results on. `true`: there was a result.
    pub(crate) fn pump_lookups(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(Located { id, result, .. }) = self.lookups.locator.poll_located() {
            let Some(whose) = self.lookups.waiting.remove(&id) else { continue };
            any = true;
            self.on_located(now, whose, result);
        }
        while let Some(Resolved { id, result, .. }) = self.lookups.locator.poll_resolved() {
            let Some(Lookup::Call(call)) = self.lookups.waiting.remove(&id) else { continue };
            any = true;
            self.on_call_resolved(now, call, result);
        }
        while let Some(query) = self.lookups.locator.poll_query() {
            self.outputs.push_back(Output::Query(query));
        }
        any
    }

    fn on_located(&mut self, now: Instant, whose: Lookup, result: Result<Targets, LocateError>) {
        match whose {
            Lookup::Call(call) => self.on_call_located(now, call, result),
            Lookup::Sources(hop) => self.on_sources_located(now, hop, result),
            Lookup::Trunk(whose) => self.on_trunk_located(now, whose, result),
        }
    }

    /// The listener by which a target is reached.
    pub(crate) fn listener_for(&self, profile: Option<&str>, target: &Target) -> Option<ListenerId> {
        let found = self.config.listener_towards(profile, target.transport, target.address.is_ipv4());
        found.map(|l| l.sip.id)
    }

    /// Whether a stranger's DNS records may lead there: to no address of our own, of a private network or of this machine.
    pub(crate) fn is_outside(&self, target: &Target) -> bool {
        let ip = target.address.ip();
        !advertise::is_inside(ip) && !self.own_addresses.iter().any(|own| own.ip() == ip)
    }
}

/// Whether an error of a look-up is the domain's (404) or may be over soon (503).
pub(crate) fn status_of(error: LocateError) -> u16 {
    if error.is_temporary() { 503 } else { 404 }
}
