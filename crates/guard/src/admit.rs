//! The one door for a request that asks for work: ban, access list, rate, format, authentication, context, in that
//! order. What comes out is a proof (`Admitted`) that the switch wants before it starts anything, or a `Refusal` that
//! names its rule.

use std::net::IpAddr;
use std::time::Instant;

use crate::ban::BanSet;
use crate::rate::Verdict;
use crate::source::Cidr;

/// What kind of profile a request came in by (GUARD-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// Where phones register: always authenticated.
    Internal,
    /// Everybody else.
    External,
}

/// Who the sender has proven to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Authentication {
    /// Its credentials were right.
    Proven,
    /// It gave none.
    Missing,
    /// It gave some that are wrong, stale or replayed.
    Failed,
}

/// Where a request is routed (GUARD-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    Internal,
    /// Can never lead out by a trunk.
    Public,
}

/// What a request wants to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Something of this system: a phone, the registrar.
    Local,
    /// A line that costs money.
    Trunk,
}

/// Whether the message says what it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    Good,
    /// What is wrong: the status that says so, and the rule's name.
    Bad {
        status: u16,
        rule: &'static str,
    },
}

/// What is known about a request when admission is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub source: IpAddr,
    pub entry: Entry,
    pub bans: &'a BanSet,
    /// GUARD-3: the addresses that may enter; `None`: the profile has no list.
    pub allowed: Option<&'a [Cidr]>,
    /// What the rate limit said.
    pub rate: Verdict,
    pub format: Format,
    pub authentication: Authentication,
    pub reach: Reach,
}

/// A request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("refused by {rule}")]
pub struct Refusal {
    /// The rule that refused, for the log, the call record and the operator.
    pub rule: &'static str,
    /// SIP status of the answer; `None`: dropped without one.
    pub status: Option<u16>,
}

impl Refusal {
    const fn silent(rule: &'static str) -> Self {
        Self { rule, status: None }
    }

    const fn answered(rule: &'static str, status: u16) -> Self {
        Self { rule, status: Some(status) }
    }
}

/// The proof that a request went through [`admit`]. There is no other way to have one.
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted {
    context: Context,
    reach: Reach,
}

impl Admitted {
    /// Where the request is to be routed.
    pub fn context(&self) -> Context {
        self.context
    }

    pub fn reach(&self) -> Reach {
        self.reach
    }
}

/// Asks every rule that exists, cheapest first.
///
/// # Errors
/// The first rule that says no. An internal entry without good credentials gets 401 whatever the request wants, so
/// that the answer does not tell which users or numbers exist (GUARD-10).
pub fn admit(now: Instant, facts: &Facts<'_>) -> Result<Admitted, Refusal> {
    if facts.bans.is_banned(now, facts.source) {
        return Err(Refusal::silent("ban"));
    }
    if facts.allowed.is_some_and(|ranges| !ranges.iter().any(|range| range.contains(facts.source))) {
        return Err(Refusal::answered("acl", 403));
    }
    if let Verdict::Drop { rule } = facts.rate {
        return Err(Refusal::silent(rule));
    }
    if let Format::Bad { status, rule } = facts.format {
        return Err(Refusal::answered(rule, status));
    }
    let context = match (facts.entry, facts.authentication) {
        (Entry::Internal, Authentication::Proven) => Context::Internal,
        (Entry::Internal, Authentication::Missing) => return Err(Refusal::answered("authentication.missing", 401)),
        (_, Authentication::Failed) => return Err(Refusal::answered("authentication.failed", 401)),
        (Entry::External, Authentication::Proven | Authentication::Missing) => Context::Public,
    };
    match (context, facts.reach) {
        (Context::Public, Reach::Trunk) => Err(Refusal::answered("context.public", 403)),
        (Context::Public, Reach::Local) | (Context::Internal, _) => Ok(Admitted { context, reach: facts.reach }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ban::Until;

    #[allow(clippy::disallowed_methods)]
    fn start() -> Instant {
        Instant::now()
    }

    fn facts(bans: &BanSet) -> Facts<'_> {
        Facts {
            source: "203.0.113.7".parse().unwrap(),
            entry: Entry::Internal,
            bans,
            allowed: None,
            rate: Verdict::Pass,
            format: Format::Good,
            authentication: Authentication::Proven,
            reach: Reach::Local,
        }
    }

    #[test]
    fn rules_are_asked_in_the_order_ban_acl_rate_format_authentication_context() {
        let bans = BanSet::new([1; 16], &[], [("203.0.113.7".parse().unwrap(), Until::Revoked)]);
        let free = BanSet::empty();
        let list = ["192.0.2.0/24".parse().unwrap()];
        let mut everything_wrong = Facts {
            allowed: Some(&list),
            rate: Verdict::Drop { rule: "rate.source" },
            format: Format::Bad { status: 400, rule: "format" },
            authentication: Authentication::Failed,
            reach: Reach::Trunk,
            entry: Entry::External,
            ..facts(&bans)
        };
        let refusal = |facts: &Facts<'_>| admit(start(), facts).unwrap_err();
        assert_eq!(refusal(&everything_wrong), Refusal { rule: "ban", status: None });
        everything_wrong.bans = &free;
        assert_eq!(refusal(&everything_wrong), Refusal { rule: "acl", status: Some(403) });
        everything_wrong.allowed = None;
        assert_eq!(refusal(&everything_wrong), Refusal { rule: "rate.source", status: None });
        everything_wrong.rate = Verdict::Pass;
        assert_eq!(refusal(&everything_wrong), Refusal { rule: "format", status: Some(400) });
        everything_wrong.format = Format::Good;
        assert_eq!(refusal(&everything_wrong), Refusal { rule: "authentication.failed", status: Some(401) });
        everything_wrong.authentication = Authentication::Missing;
        assert_eq!(refusal(&everything_wrong), Refusal { rule: "context.public", status: Some(403) });
        everything_wrong.reach = Reach::Local;
        assert_eq!(admit(start(), &everything_wrong).unwrap().context(), Context::Public);
    }

    #[test]
    fn an_internal_entry_always_authenticates() {
        let bans = BanSet::empty();
        for authentication in [Authentication::Missing, Authentication::Failed] {
            for reach in [Reach::Local, Reach::Trunk] {
                let refusal = admit(start(), &Facts { authentication, reach, ..facts(&bans) }).unwrap_err();
                assert_eq!(refusal.status, Some(401));
            }
        }
        assert_eq!(admit(start(), &facts(&bans)).unwrap().context(), Context::Internal);
    }

    #[test]
    fn no_credentials_lead_from_an_external_entry_to_a_trunk() {
        let bans = BanSet::empty();
        for authentication in [Authentication::Missing, Authentication::Failed, Authentication::Proven] {
            let asked = Facts { entry: Entry::External, authentication, reach: Reach::Trunk, ..facts(&bans) };
            assert!(admit(start(), &asked).is_err());
        }
    }

    #[test]
    fn an_access_list_lets_its_addresses_in() {
        let bans = BanSet::empty();
        let list = ["203.0.113.0/24".parse().unwrap()];
        assert!(admit(start(), &Facts { allowed: Some(&list), ..facts(&bans) }).is_ok());
        assert!(admit(start(), &Facts { allowed: Some(&[]), ..facts(&bans) }).is_err());
    }
}
