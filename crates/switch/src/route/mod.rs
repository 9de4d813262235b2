//! Which way a call goes: an extension, trunks in their order, a stranger's domain, or a refusal that names its rule
//! (UC-12, GUARD-1, DOM-1). Pure look-ups over one `Site`, built anew for each revision. What `ctl route explain` prints
//! comes from the same walk as the decision.

mod explain;
pub mod hours;
mod pattern;
mod prefix;
pub mod rates;

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use ringfort_guard::callee::{CalleeRefusal, CalleeRules};
use ringfort_sip::locate::{Name, NumberRequest};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

pub use explain::{Explanation, Step};
pub use pattern::PatternError;

use crate::model::{
    Alias, BlacklistCode, Destination, Extension, Hours, InboundRoute, NumberPlan, OutboundRoute, Pattern, Site,
    TenantId, Trunk, TrunkId, TrunkOrder, Verified,
};
use crate::record::LocalDay;
use crate::{money, number};
use explain::Log;
use hours::{Moment, moment};
use prefix::PrefixMap;
use rates::RateBook;

/// A call of an extension that looks for its way.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub caller: &'a Extension,
    /// User part of the Request-URI as [`decode`](ringfort_guard::callee::decode) leaves it.
    pub dialled: &'a str,
    /// Host part, where it is none of ours.
    pub foreign_host: Option<&'a str>,
    /// Seconds since 1970, UTC.
    pub unix_s: u64,
    /// Whether a trunk is up. One that is down is tried last.
    pub up: &'a dyn Fn(TrunkId) -> bool,
    /// The tenant's extension with a number.
    pub extension: &'a dyn Fn(&str) -> Option<&'a Extension>,
}

/// One trunk to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub trunk: TrunkId,
    /// As it is to be written to that trunk.
    pub number: String,
}

/// The trunks of a call, the first to try first. None only where `numbers` has something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkPlan {
    /// The route's name.
    pub route: Arc<str>,
    pub emergency: bool,
    /// The caller's number is hidden (RFC 3323).
    pub hide: bool,
    /// In E.164 with `+`, where it has that form.
    pub canonical: Option<String>,
    /// What is looked up before a trunk is tried (ENUM).
    pub numbers: SmallVec<[NumberRequest; 1]>,
    pub attempts: SmallVec<[Attempt; 2]>,
    pub ring_for: Option<Duration>,
}

/// Which way a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    Extension(&'a Extension),
    Trunks(TrunkPlan),
    /// A code that changes blacklists (BLACK-3).
    Blacklist(BlacklistCode),
    /// The code by which a phone hears its own messages.
    Mailbox,
    /// Out to `sip:user@host`, located by RFC 3263.
    Domain {
        hide: bool,
    },
    Refused {
        status: u16,
        rule: &'static str,
        text: String,
    },
}

/// Which way a call from a trunk or a stranger goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboundDecision<'a> {
    /// Where the route leads, and its name.
    To { route: &'a str, destination: &'a Destination },
    /// No route fits.
    None,
}

/// A pattern of a route, by the digits that it begins with.
#[derive(Clone, Copy)]
struct Candidate {
    route: u32,
    pattern: u32,
    /// The digits are all of it: whatever begins with them fits.
    whole: bool,
}

/// The look-ups of one tenant.
struct TenantRoutes {
    plan: NumberPlan,
    /// For extensions, for those of them that may call abroad, for guests.
    callees: [CalleeRules; 3],
    zone: TimeZone,
    outbound: Vec<OutboundRoute>,
    /// Names beside the routes, to be shared with calls.
    names: Vec<Arc<str>>,
    /// The domains of their ENUM look-ups, beside the routes.
    domains: Vec<Option<Name>>,
    by_prefix: PrefixMap<Candidate>,
    inbound: Vec<InboundRoute>,
    inbound_by_prefix: PrefixMap<u32>,
    aliases: FxHashMap<String, Alias>,
    trunks: Vec<TrunkId>,
}

const EXTENSION: usize = 0;
const ABROAD: usize = 1;
const GUEST: usize = 2;

impl TenantRoutes {
    /// The refusal of what an extension may not dial, whatever way there were for it (GUARD-4).
    fn denies<'a, L: Log>(&self, ask: &Ask<'a>, dialled: &str, log: &mut L) -> Option<Decision<'a>> {
        let abroad = self.plan.may_go_abroad(&ask.caller.calling);
        let rules = &self.callees[if abroad { ABROAD } else { EXTENSION }];
        let refusal = match rules.judge_plain(dialled) {
            Ok(()) => {
                log.step("callee", || (true, format!("{dialled} may be dialled")));
                return None;
            }
            Err(refusal) => refusal,
        };
        log.step(refusal.rule(), || (false, refusal.to_string()));
        Some(refused(403, refusal.rule(), || refusal.to_string()))
    }
}

/// All routes of a site with their indexes.
pub struct Router {
    tenants: FxHashMap<TenantId, TenantRoutes>,
    trunks: FxHashMap<TrunkId, Trunk>,
    rates: Arc<RateBook>,
}

impl Router {
    pub fn new(site: &Site) -> Self {
        Self::following(site, None)
    }

    /// The router of the next revision; keeps the index of rates where those stayed as they were.
    pub fn following(site: &Site, before: Option<&Router>) -> Self {
        let tenants = site.tenants.iter().map(|tenant| {
            let outbound: Vec<OutboundRoute> =
                site.outbound.iter().filter(|r| r.tenant == tenant.id).cloned().collect();
            let inbound: Vec<InboundRoute> = site.inbound.iter().filter(|r| r.tenant == tenant.id).cloned().collect();
            let patterns = outbound.iter().zip(0..).flat_map(|(route, r)| {
                route.patterns.iter().zip(0..).map(move |(pattern, p)| {
                    let literal = pattern.literal();
                    let whole = matches!(pattern, Pattern::Prefix(_)) && prefix::indexed(literal) == literal;
                    (literal, Candidate { route: r, pattern: p, whole })
                })
            });
            let by_prefix = PrefixMap::new(patterns);
            let called = inbound.iter().zip(0..).map(|(route, r)| (route.called.literal(), r));
            let routes = TenantRoutes {
                by_prefix,
                inbound_by_prefix: PrefixMap::new(called),
                names: outbound.iter().map(|r| r.name.as_str().into()).collect(),
                // It was read when the site was applied.
                domains: outbound.iter().map(|r| Name::parse(r.enum_domain.as_deref()?).ok()).collect(),
                callees: [
                    tenant.numbers.callees.rules(false),
                    tenant.numbers.callees.rules(true),
                    tenant.numbers.guest_callees.rules(false),
                ],
                plan: tenant.numbers.clone(),
                zone: hours::zone(&tenant.numbers.time_zone).unwrap_or(TimeZone::UTC),
                aliases: site
                    .aliases
                    .iter()
                    .filter(|a| a.tenant == tenant.id)
                    .map(|a| (a.name.to_ascii_lowercase(), a.clone()))
                    .collect(),
                trunks: site.trunks.values().filter(|t| t.tenant == tenant.id && t.enabled).map(|t| t.id).collect(),
                outbound,
                inbound,
            };
            (tenant.id, routes)
        });
        let kept = before.map(|b| &b.rates).filter(|book| book.is_of(&site.rates));
        let rates = kept.cloned().unwrap_or_else(|| Arc::new(RateBook::new(&site.rates)));
        Self {
            tenants: tenants.collect(),
            trunks: site.trunks.iter().map(|(id, trunk)| (*id, trunk.clone())).collect(),
            rates,
        }
    }

    pub fn trunk(&self, id: TrunkId) -> Option<&Trunk> {
        self.trunks.get(&id)
    }

    pub fn plan(&self, tenant: TenantId) -> Option<&NumberPlan> {
        self.tenants.get(&tenant).map(|t| &t.plan)
    }

    /// A time like `2026-11-27T18:00` in the tenant's zone, in seconds since 1970; `None` where it cannot be read.
    pub fn unix_s(&self, tenant: TenantId, local: &str) -> Option<u64> {
        let local: jiff::civil::DateTime = local.parse().ok()?;
        let at = self.tenants.get(&tenant)?.zone.to_timestamp(local).ok()?;
        u64::try_from(at.as_second()).ok()
    }

    /// The day at `unix_s` seconds after 1970 in the tenant's zone.
    pub fn day(&self, tenant: TenantId, unix_s: u64) -> LocalDay {
        hours::day(self.tenants.get(&tenant).map_or(&TimeZone::UTC, |t| &t.zone), unix_s)
    }

    /// What calls cost.
    pub fn rates(&self) -> &Arc<RateBook> {
        &self.rates
    }

    /// The way of a call from an extension.
    pub fn outbound<'a>(&self, ask: &Ask<'a>) -> Decision<'a> {
        self.decide(ask, &mut ())
    }

    /// The same, with every rule that was looked at and why it fits or does not.
    pub fn explain<'a>(&self, ask: &Ask<'a>) -> (Decision<'a>, Explanation) {
        let mut explanation = Explanation::default();
        let decision = self.decide(ask, &mut explanation);
        (decision, explanation)
    }

    fn decide<'a, L: Log>(&self, ask: &Ask<'a>, log: &mut L) -> Decision<'a> {
        let Some(tenant) = self.tenants.get(&ask.caller.tenant) else {
            return refused(404, "route.no_such_number", || "the caller's tenant has no numbers".to_owned());
        };
        let (dialled, hide_by_code) = without_hide_code(&tenant.plan, ask.dialled);
        let hide = hide_by_code || ask.caller.calling.hide_caller_id;
        if hide_by_code {
            log.step("number.hide_code", || (true, format!("{} hides the caller", tenant.plan.hide_code)));
        }
        if ask.foreign_host.is_some() {
            return tenant.denies(ask, dialled, log).unwrap_or_else(|| domain(ask, hide, log));
        }
        let bare = number::without_separators(dialled);
        let dialled = bare.as_str();
        let emergency = number::is_emergency(&tenant.plan, dialled);
        log.step("emergency", || (emergency, format!("emergency numbers are {}", list(&tenant.plan.emergency))));
        if emergency {
            return self.emergency(tenant, ask, dialled, log);
        }
        if let Some(extension) = (ask.extension)(dialled) {
            log.step("extension", || (true, format!("extension {} has this number", extension.number)));
            return Decision::Extension(extension);
        }
        log.step("extension", || (false, format!("no extension has the number {dialled}")));
        if let Some(alias) = tenant.alias(dialled) {
            match &alias.to {
                Destination::Extension(number) => match (ask.extension)(number) {
                    Some(extension) => {
                        log.step("alias", || (true, format!("{} leads to extension {number}", alias.name)));
                        return Decision::Extension(extension);
                    }
                    None => log.step("alias", || (false, format!("{} leads to {number}, which is none", alias.name))),
                },
                Destination::Reject(status) => {
                    log.step("alias", || (true, format!("{} is refused with {status}", alias.name)));
                    let status = *status;
                    return refused(status, "route.alias", || format!("the alias {dialled} refuses calls"));
                }
            }
        } else {
            log.step("alias", || (false, format!("no alias has the name {dialled}")));
        }
        let mailbox = tenant.plan.voicemail_code.as_str();
        if !mailbox.is_empty() && dialled == mailbox && tenant.route_for_code(mailbox, dialled).is_none() {
            log.step("feature.voicemail", || (true, "the code for the phone's own messages".to_owned()));
            return Decision::Mailbox;
        }
        if let Some(code) = tenant.plan.blacklists.code(dialled) {
            match tenant.route_for_code(&code.code, dialled) {
                Some(route) => log.step("feature.blacklist", || {
                    (
                        false,
                        format!("the route {} names numbers that begin with {}: it goes first", route.name, code.code),
                    )
                }),
                None => {
                    log.step("feature.blacklist", || (true, describe_code(&code)));
                    return Decision::Blacklist(code);
                }
            }
        }
        // What this house has itself may be called anything.
        if let Some(denied) = tenant.denies(ask, dialled, log) {
            return denied;
        }
        self.by_route(tenant, ask, dialled, hide, log)
    }

    /// Whether what was dialled is one of the tenant's emergency numbers, with or without a hiding code in front.
    pub fn is_emergency(&self, tenant: TenantId, dialled: &str) -> bool {
        self.tenants.get(&tenant).is_some_and(|tenant| {
            let (dialled, _) = without_hide_code(&tenant.plan, dialled);
            number::is_emergency(&tenant.plan, &number::without_separators(dialled))
        })
    }

    /// Whether a guest may dial this at all (GUARD-4).
    ///
    /// # Errors
    /// The rule that says no.
    pub fn judge_guest(&self, tenant: TenantId, callee: &str) -> Result<(), CalleeRefusal> {
        self.tenants.get(&tenant).map_or(Ok(()), |tenant| tenant.callees[GUEST].judge_plain(callee))
    }

    fn by_route<'a, L: Log>(
        &self,
        tenant: &TenantRoutes,
        ask: &Ask<'a>,
        dialled: &str,
        hide: bool,
        log: &mut L,
    ) -> Decision<'a> {
        let mut now = None;
        let mut numbers: SmallVec<[NumberRequest; 1]> = SmallVec::new();
        let mut way = None;
        // Every route is looked at where it is to be said why it does not fit.
        let all = || (0..).take(tenant.outbound.len()).collect();
        for index in if L::ALL { all() } else { tenant.candidates(dialled) } {
            let index = index as usize;
            let route = &tenant.outbound[index];
            if L::ALL && !route.patterns.iter().any(|p| p.matches(dialled)) {
                log.route(&route.name, || (false, format!("none of {} fits {dialled}", list(&route.patterns))));
                continue;
            }
            if !takes_code(route, dialled) {
                log.route(&route.name, || {
                    (false, format!("{dialled} has a service code, and no pattern begins with one"))
                });
                continue;
            }
            if !tenant.admits(route, ask, &mut now, log) {
                continue;
            }
            let asks = tenant.domains[index].as_ref();
            let leads = if asks.is_some() { self.leads(route) } else { self.has_trunk(route, log) };
            if !leads && asks.is_none() {
                continue;
            }
            let number = rewritten(route, dialled);
            if number.is_empty() {
                log.route(&route.name, || {
                    (false, format!("it strips {}, and nothing is left of {dialled}", route.strip))
                });
                continue;
            }
            let canonical = number::canonical(&tenant.plan, &number);
            let behind = behind_code(route, dialled).unwrap_or(&number);
            if let Some(refusal) = tenant.keeps_home(ask, behind, canonical.as_deref(), log) {
                return refusal;
            }
            // What leads abroad as it was dialled does so whatever a route makes of its digits.
            if !tenant.plan.may_go_abroad(&ask.caller.calling)
                && let Some(abroad) = abroad_as_dialled(&tenant.plan, route, dialled)
                && let Some(refusal) = tenant.keeps_home(ask, dialled, Some(&abroad), log)
            {
                return refusal;
            }
            if let Some(domain) = asks {
                let asked = canonical.as_deref().and_then(|number| NumberRequest::new(number, domain).ok());
                log.step(&format!("enum {domain}"), || match &asked {
                    Some(asked) => (true, format!("{asked} is asked for, and what it gives is tried first")),
                    None => (false, format!("{number} has no form that could be asked for (E.164)")),
                });
                numbers.extend(asked);
            }
            if leads {
                way = Some((index, number, canonical));
                break;
            }
            log.route(&route.name, || (true, "fits, and has no trunk: the next route follows".to_owned()));
            way = way.or_else(|| (!numbers.is_empty()).then_some((index, number, canonical)));
        }
        let Some((index, number, canonical)) = way else {
            return refused(404, "route.no_such_number", || format!("no extension, alias or route fits {dialled}"));
        };
        let route = &tenant.outbound[index];
        let mut attempts = self.attempts(tenant, route, &number, canonical.as_deref(), ask.up, log);
        let most = route.attempts.map_or(usize::MAX, |most| most as usize);
        log.route(&route.name, || {
            let fewer = if most < attempts.len() {
                format!("; the first {most} of these trunks are tried")
            } else {
                String::new()
            };
            (true, format!("fits {dialled}; the number is {number}{fewer}"))
        });
        attempts.truncate(most);
        Decision::Trunks(TrunkPlan {
            route: tenant.names[index].clone(),
            emergency: false,
            hide,
            canonical,
            numbers,
            attempts,
            ring_for: route.ring_for,
        })
    }

    /// Emergency numbers go out for everybody, at any hour and to anywhere: by the first route that names them, else by
    /// any trunk of the tenant.
    fn emergency<'a, L: Log>(&self, tenant: &TenantRoutes, ask: &Ask<'a>, dialled: &str, log: &mut L) -> Decision<'a> {
        let bare = dialled.strip_prefix('+').unwrap_or(dialled);
        let mut attempts: SmallVec<[Attempt; 2]> = SmallVec::new();
        let mut name: Option<Arc<str>> = None;
        let mut ring_for = None;
        for (route, route_name) in tenant.outbound.iter().zip(&tenant.names) {
            if !route.patterns.iter().any(|p| !matches!(p, Pattern::Any) && p.matches(bare)) {
                continue;
            }
            let number = Some(rewritten(route, bare)).filter(|number| !number.is_empty());
            let found = self.attempts(tenant, route, number.as_deref().unwrap_or(bare), None, ask.up, log);
            log.route(route_name, || (true, format!("names {bare}; groups, hours and limits do not count")));
            if name.is_none() && !found.is_empty() {
                (name, ring_for) = (Some(route_name.clone()), route.ring_for);
            }
            attempts.extend(found);
        }
        let rest = tenant.trunks.iter().filter(|&id| (ask.up)(*id)).chain(tenant.trunks.iter());
        for &trunk in rest {
            if !attempts.iter().any(|a| a.trunk == trunk) {
                log.trunk(&self.trunks[&trunk].name, || (true, "any trunk will do in an emergency".to_owned()));
                attempts.push(Attempt { trunk, number: bare.to_owned() });
            }
        }
        if attempts.is_empty() {
            return refused(503, "route.emergency", || format!("there is no trunk for the emergency number {bare}"));
        }
        let route = name.unwrap_or_else(|| "emergency".into());
        // Whoever calls for help is never hidden: he may have to be called back.
        let numbers = SmallVec::new();
        Decision::Trunks(TrunkPlan {
            route,
            emergency: true,
            hide: false,
            canonical: None,
            numbers,
            attempts,
            ring_for,
        })
    }

    /// Whether one of its trunks is turned on.
    fn leads(&self, route: &OutboundRoute) -> bool {
        route.trunks.iter().any(|id| self.trunks.get(id).is_some_and(|t| t.enabled))
    }

    fn has_trunk<L: Log>(&self, route: &OutboundRoute, log: &mut L) -> bool {
        let any = self.leads(route);
        if !any {
            log.route(&route.name, || (false, "none of its trunks is turned on".to_owned()));
        }
        any
    }

    /// The route's trunks in the order they are tried: those that are up first.
    fn attempts<L: Log>(
        &self,
        tenant: &TenantRoutes,
        route: &OutboundRoute,
        number: &str,
        canonical: Option<&str>,
        up: &dyn Fn(TrunkId) -> bool,
        log: &mut L,
    ) -> SmallVec<[Attempt; 2]> {
        let trunks = route.trunks.iter().filter_map(|id| self.trunks.get(id)).filter(|t| t.enabled);
        // A trunk without a rate costs the most there is.
        let minutes = match (route.order, canonical) {
            (TrunkOrder::LeastCost, Some(canonical)) => self.rates.minutes(canonical),
            _ => SmallVec::new(),
        };
        let price = |trunk| minutes.iter().find(|(id, _)| *id == trunk).map_or(u64::MAX, |(_, minute)| *minute);
        let mut ordered: SmallVec<[(bool, u64, &Trunk); 4]> =
            trunks.map(|trunk| (!up(trunk.id), price(trunk.id), trunk)).collect();
        // A stable sort: equal ones stay as they are listed.
        ordered.sort_by_key(|(down, price, _)| (*down, *price));
        for (down, price, trunk) in &ordered {
            log.trunk(&trunk.name, || {
                let state = if *down { "down, so it comes last" } else { "up" };
                let price = match (route.order, *price) {
                    (TrunkOrder::Listed, _) => String::new(),
                    (TrunkOrder::LeastCost, u64::MAX) => ", no rate for the number".to_owned(),
                    (TrunkOrder::LeastCost, price) => {
                        format!(", {} for the first minute", money::text(price))
                    }
                };
                (!*down, format!("{state}{price}"))
            });
        }
        let written = |trunk: &Trunk| number::to_trunk(&tenant.plan, trunk.headers.number_format, number, canonical);
        ordered.iter().map(|(_, _, trunk)| Attempt { trunk: trunk.id, number: written(trunk) }).collect()
    }

    /// The way of a call from a trunk. `called`: the number as the trunk gave it. `identity`: what the signature of the
    /// caller's number was worth; `None`: whatever a route asks of it.
    pub fn inbound(
        &self,
        tenant: TenantId,
        trunk: TrunkId,
        called: &str,
        identity: Option<Verified>,
        unix_s: u64,
    ) -> InboundDecision<'_> {
        match self.inbound_route(tenant, trunk, called, identity, unix_s) {
            Some(route) => InboundDecision::To { route: &route.name, destination: &route.to },
            None => InboundDecision::None,
        }
    }

    /// How well the inbound routes of a trunk know a number: how much of it the one that takes it names. Of trunks at one
    /// address the call is for the one whose number it is, not for one that takes whatever there is.
    pub fn inbound_fit(&self, tenant: TenantId, trunk: TrunkId, called: &str, unix_s: u64) -> Option<usize> {
        let route = self.inbound_route(tenant, trunk, called, None, unix_s)?;
        let exact = usize::from(matches!(route.called, Pattern::Exact(_)));
        Some(2 * route.called.literal().len() + exact)
    }

    fn inbound_route(
        &self,
        tenant: TenantId,
        trunk: TrunkId,
        called: &str,
        identity: Option<Verified>,
        unix_s: u64,
    ) -> Option<&InboundRoute> {
        let tenant = self.tenants.get(&tenant)?;
        let format = self.trunks.get(&trunk).map(|t| t.headers.number_format).unwrap_or_default();
        let bare = number::without_separators(called);
        let canonical = number::from_trunk(&tenant.plan, format, &bare);
        let canonical = canonical.as_deref().unwrap_or(&bare);
        let digits = canonical.strip_prefix('+').unwrap_or(canonical);
        let mut candidates: SmallVec<[u32; 8]> = SmallVec::new();
        tenant.inbound_by_prefix.prefixes(canonical, |found| candidates.extend_from_slice(found));
        if prefix::indexed(&bare) != prefix::indexed(canonical) {
            tenant.inbound_by_prefix.prefixes(&bare, |found| candidates.extend_from_slice(found));
        }
        candidates.sort_unstable();
        let mut now = None;
        for index in candidates {
            let route = &tenant.inbound[index as usize];
            let fits = [canonical, digits, &bare].into_iter().any(|number| route.called.matches(number));
            let believed =
                route.identity.is_empty() || identity.is_none_or(|identity| route.identity.contains(&identity));
            let here = route.trunk.is_none_or(|id| id == trunk);
            if here && fits && believed && tenant.in_hours(&route.hours, unix_s, &mut now) {
                return Some(route);
            }
        }
        None
    }

    /// Where a name leads; a guest reaches published ones only (DOM-4).
    pub fn alias(&self, tenant: TenantId, name: &str, guest: bool) -> Option<&Destination> {
        let alias = self.tenants.get(&tenant)?.alias(name)?;
        (alias.published || !guest).then_some(&alias.to)
    }
}

impl TenantRoutes {
    fn alias(&self, name: &str) -> Option<&Alias> {
        if let Some(alias) = self.aliases.get(name) {
            return Some(alias);
        }
        let upper = name.bytes().any(|b| b.is_ascii_uppercase());
        if upper { self.aliases.get(&name.to_ascii_lowercase()) } else { None }
    }

    /// The route that an administrator has written for numbers with a code in front: his word goes before the code.
    fn route_for_code(&self, code: &str, dialled: &str) -> Option<&OutboundRoute> {
        let names_it = |pattern: &Pattern| pattern.literal().starts_with(code) && pattern.matches(dialled);
        self.outbound.iter().find(|route| route.patterns.iter().any(names_it))
    }

    /// Routes of which a pattern fits, in their order, each once.
    fn candidates(&self, dialled: &str) -> SmallVec<[u32; 8]> {
        let mut found: SmallVec<[u32; 8]> = SmallVec::new();
        let plus = dialled.starts_with('+');
        self.by_prefix.prefixes(dialled, |entries| {
            for candidate in entries {
                let pattern = || &self.outbound[candidate.route as usize].patterns[candidate.pattern as usize];
                if candidate.whole && !plus || pattern().matches(dialled) {
                    found.push(candidate.route);
                }
            }
        });
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether the caller's group and the hour allow the route.
    fn admits<L: Log>(&self, route: &OutboundRoute, ask: &Ask<'_>, now: &mut Option<Moment>, log: &mut L) -> bool {
        let calling = &ask.caller.calling;
        if !route.groups.is_empty() && !route.groups.iter().any(|g| calling.groups.contains(g)) {
            log.route(&route.name, || {
                (
                    false,
                    format!(
                        "it is for {}, extension {} is in {}",
                        list(&route.groups),
                        ask.caller.number,
                        list(&calling.groups)
                    ),
                )
            });
            return false;
        }
        if !self.in_hours(&route.hours, ask.unix_s, now) {
            log.route(&route.name, || {
                let now = now.map(|m| m.to_string()).unwrap_or_default();
                (false, format!("it is in force {}, and it is {now} in {}", list(&route.hours), self.plan.time_zone))
            });
            return false;
        }
        true
    }

    /// The refusal of a number abroad for an extension that may not call there (GUARD-1). `number`: what stands behind a
    /// service code, where there is one.
    fn keeps_home<'a, L: Log>(
        &self,
        ask: &Ask<'a>,
        number: &str,
        canonical: Option<&str>,
        log: &mut L,
    ) -> Option<Decision<'a>> {
        let abroad = canonical.map_or_else(
            || number::may_be_abroad(&self.plan, number),
            |canonical| number::is_international(&self.plan, canonical),
        );
        if !abroad || self.plan.may_go_abroad(&ask.caller.calling) {
            return None;
        }
        let caller = &ask.caller.number;
        log.step("guard.international", || {
            (false, format!("{} is abroad, and extension {caller} may not call there", canonical.unwrap_or(number)))
        });
        Some(refused(403, "guard.international", || match self.plan.country.as_str() {
            "" => format!(
                "extension {caller} may not call abroad, and which numbers are is not known: set `country` of the tenant"
            ),
            _ => format!("extension {caller} may not call abroad"),
        }))
    }

    fn in_hours(&self, hours: &[Hours], unix_s: u64, now: &mut Option<Moment>) -> bool {
        if hours.is_empty() {
            return true;
        }
        let now = *now.get_or_insert_with(|| moment(&self.zone, unix_s));
        hours.iter().any(|h| h.contains(now))
    }
}

/// In words, for `ctl route explain`.
pub(crate) fn describe_code(code: &BlacklistCode) -> String {
    let lists = list(&code.lists);
    match (&code.number, code.deletes) {
        (Some(number), false) => format!("a code that puts {number} on blacklist {lists}"),
        (Some(number), true) => format!("a code that takes {number} off blacklist {lists}"),
        (None, _) => {
            "a code that changes blacklists, without a list or number: it is answered with the error tone".into()
        }
    }
}

/// A call to a stranger's domain.
fn domain<'a, L: Log>(ask: &Ask<'a>, hide: bool, log: &mut L) -> Decision<'a> {
    let allowed = ask.caller.calling.domains;
    log.step("domain", || {
        let may = if allowed { "may" } else { "may not" };
        (allowed, format!("extension {} {may} call other domains", ask.caller.number))
    });
    if allowed {
        return Decision::Domain { hide };
    }
    let number = &ask.caller.number;
    refused(403, "guard.domains", || format!("extension {number} may not call other domains"))
}

/// Whether a route may take what has a service code in it (`*72…` forwards a provider's line to any number): such a code
/// leaves by a route alone whose pattern begins with one, not by one that takes whatever there is.
fn takes_code(route: &OutboundRoute, dialled: &str) -> bool {
    // Some phones end a number with `#`.
    !dialled.trim_end_matches('#').contains(['*', '#']) || behind_code(route, dialled).is_some()
}

/// What is dialled behind the service code that a pattern of the route begins with.
fn behind_code<'d>(route: &OutboundRoute, dialled: &'d str) -> Option<&'d str> {
    let mut named = route.patterns.iter().filter(|p| p.literal().starts_with(['*', '#']) && p.matches(dialled));
    named.find_map(|pattern| dialled.strip_prefix(pattern.literal()))
}

/// The number in canonical form, where it was dialled as one of another country and the route changes it: behind nothing that
/// is taken off, or by a pattern that names the way abroad itself (`prefix:00`), not by one for an outside line (`prefix:0`).
fn abroad_as_dialled(plan: &NumberPlan, route: &OutboundRoute, dialled: &str) -> Option<String> {
    if route.strip == 0 && route.prepend.is_empty() {
        return None;
    }
    let number = number::canonical(plan, dialled).filter(|number| number::is_international(plan, number))?;
    let prefix = plan.international_prefix.as_str();
    let names_abroad = |pattern: &Pattern| {
        let literal = pattern.literal();
        (literal.starts_with('+') || !prefix.is_empty() && literal.starts_with(prefix)) && pattern.matches(dialled)
    };
    (route.strip == 0 || route.patterns.iter().any(names_abroad)).then_some(number)
}

fn without_hide_code<'d>(plan: &NumberPlan, dialled: &'d str) -> (&'d str, bool) {
    let code = plan.hide_code.as_str();
    match dialled.strip_prefix(code) {
        Some(rest) if !code.is_empty() && !rest.is_empty() => (rest, true),
        _ => (dialled, false),
    }
}

/// `strip` and `prepend` of a route.
pub(crate) fn rewritten(route: &OutboundRoute, dialled: &str) -> String {
    let from = dialled.char_indices().nth(usize::from(route.strip)).map_or(dialled.len(), |(at, _)| at);
    let mut number = String::with_capacity(route.prepend.len() + dialled.len());
    number.push_str(&route.prepend);
    number.push_str(&dialled[from..]);
    number
}

fn refused<'a>(status: u16, rule: &'static str, text: impl FnOnce() -> String) -> Decision<'a> {
    Decision::Refused { status, rule, text: text() }
}

fn list<T: ToString>(items: &[T]) -> String {
    if items.is_empty() {
        return "none".to_owned();
    }
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
