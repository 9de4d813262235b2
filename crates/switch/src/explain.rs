//! `ctl route explain FROM TO`: which way a call would go, and each rule that was looked at.

use std::time::Instant;

use ringfort_guard::callee;

use crate::Switch;
use crate::io::{CommandReply, RouteAnswer};
use crate::model::{Destination, Extension, TenantId, Trunk, TrunkId};
use crate::number;
use crate::route::{Ask, Decision, InboundDecision, Step, describe_code};

impl Switch {
    /// `from` is an extension's number, or `trunk:NAME` for a call that comes in (`TENANT/NUMBER`, `trunk:TENANT/NAME` where
    /// several tenants have it); `to` what is dialled, `user@domain` too; `at` a time in the tenant's zone.
    pub(crate) fn explain_route(&self, now: Instant, from: &str, to: &str, at: Option<&str>) -> CommandReply {
        let explained = match from.strip_prefix("trunk:") {
            Some(name) => {
                let trunk = match self.trunk_named(name) {
                    Ok(id) => &self.directory.site().trunks[&id],
                    Err(error) => return refused(error),
                };
                self.time_of(now, trunk.tenant, at).map(|unix_s| self.explain_inbound(trunk, to, unix_s))
            }
            None => {
                let caller = match self.extension_named(from) {
                    Ok(caller) => caller,
                    Err(error) => return refused(format!("{error}; or trunk:NAME, for a call that comes in")),
                };
                self.time_of(now, caller.tenant, at).map(|unix_s| self.explain_outbound(now, caller, to, unix_s))
            }
        };
        match explained {
            Some(answer) => CommandReply::Route(answer),
            None => refused(format!("expected a time like 2026-11-27T18:00, got {:?}", at.unwrap_or_default())),
        }
    }

    fn time_of(&self, now: Instant, tenant: TenantId, at: Option<&str>) -> Option<u64> {
        match at {
            Some(at) => self.router.unix_s(tenant, at),
            None => Some(self.clock.unix_s(now)),
        }
    }

    fn explain_outbound(&self, now: Instant, caller: &Extension, to: &str, unix_s: u64) -> RouteAnswer {
        let address = to.strip_prefix("sip:").or_else(|| to.strip_prefix("sips:")).unwrap_or(to);
        let (dialled, host) = match address.rsplit_once('@') {
            Some((user, host)) => (user, Some(host.split([';', ':', '?']).next().unwrap_or(host))),
            None => (address.strip_prefix("tel:").unwrap_or(address), None),
        };
        let decoded = callee::decode(dialled);
        let dialled = match &decoded {
            Ok(callee) => callee.text(),
            Err(wrong) => {
                return RouteAnswer {
                    outcome: format!("is refused with 404: {wrong}"),
                    refused_by: Some("callee.disguised".to_owned()),
                    ..RouteAnswer::default()
                };
            }
        };
        let ours = |host: &&str| self.directory.tenant_of_domain(host).is_none();
        let ask = Ask {
            caller,
            dialled,
            foreign_host: host.filter(ours),
            unix_s,
            up: &|trunk| self.trunk_is_up(trunk),
            extension: &|number| self.directory.by_number(caller.tenant, number).filter(|e| e.enabled),
        };
        let (decision, explanation) = self.router.explain(&ask);
        let mut answer = RouteAnswer { steps: explanation.steps, ..RouteAnswer::default() };
        match decision {
            Decision::Extension(extension) => answer.outcome = format!("rings extension {}", extension.number),
            Decision::Trunks(plan) => {
                answer.outcome = format!("leaves by the route {}", plan.route);
                if !plan.numbers.is_empty() {
                    let then = if plan.attempts.is_empty() { "" } else { ", then by its trunks" };
                    answer.outcome.push_str(&format!(", first to what ENUM gives{then}"));
                }
                answer.canonical = plan.canonical.clone();
                answer.hidden = plan.hide;
                answer.trunks = self.explain_cost(now, caller, &plan, &mut answer);
            }
            Decision::Blacklist(code) => answer.outcome = format!("is {}", describe_code(&code)),
            Decision::Mailbox => answer.outcome = format!("plays the messages of extension {}", caller.number),
            Decision::Domain { hide } => {
                answer.outcome = format!("goes to sip:{address}, located by its domain's DNS records");
                answer.hidden = hide;
            }
            Decision::Refused { status, rule, text } => {
                answer.outcome = format!("is refused with {status}: {text}");
                answer.refused_by = Some(rule.to_owned());
            }
        }
        answer
    }

    fn explain_inbound(&self, trunk: &Trunk, called: &str, unix_s: u64) -> RouteAnswer {
        let mut answer = RouteAnswer::default();
        let bare = number::without_separators(called);
        let plan = self.router.plan(trunk.tenant);
        answer.canonical = plan.and_then(|plan| number::from_trunk(plan, trunk.headers.number_format, &bare));
        match self.router.inbound(trunk.tenant, trunk.id, called, None, unix_s) {
            InboundDecision::To { route, destination } => {
                answer.outcome = match destination {
                    Destination::Extension(number) => format!("rings extension {number}"),
                    Destination::Reject(status) => format!("is refused with {status}"),
                };
                let why = "the first inbound route that fits trunk, number and hour".to_owned();
                answer.steps.push(Step { rule: format!("inbound {route}"), fits: true, why });
            }
            InboundDecision::None => {
                answer.outcome = "is refused with 404: no inbound route fits".to_owned();
                answer.refused_by = Some("route.no_such_number".to_owned());
            }
        }
        answer
    }

    /// Whether a trunk is fit to be tried first.
    pub(crate) fn trunk_is_up(&self, trunk: TrunkId) -> bool {
        self.trunks.up(trunk)
    }
}

fn refused(error: String) -> CommandReply {
    CommandReply::Refused { error }
}
