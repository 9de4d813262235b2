//! The one door for a request that asks for work: ban, access list, rate, format, authentication, context, callee rules,
//! blacklist, spending, in that order. What comes out is a proof (`Admitted`) that the switch wants before it starts
//! anything, or a denial that names its rule. What is known by then comes as [`Facts`]; what depends on where the
//! request leads is asked of its [`Wish`], each question only where everything before it said yes.

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
    /// Whoever it is has been put into the public context (GUARD-2: an extension that another gateway registers with).
    pub confined: bool,
}

/// What a request asks for, as far as rules have a say in it.
pub trait Wish {
    /// Where it leads.
    type Way;
    /// What a rule that says no has to tell beside its name.
    type Denial: From<Refusal>;

    /// Where it leads for somebody of that context, by callee rules (GUARD-4, GUARD-1) and routes.
    ///
    /// # Errors
    /// The callee rule or the route that leads nowhere.
    fn way(&mut self, context: Context) -> Result<(Self::Way, Reach), Self::Denial>;

    /// Whether the caller is on a list that stops him (BLACK-4).
    ///
    /// # Errors
    /// The entry that stops him.
    fn blacklist(&mut self, _way: &Self::Way) -> Result<(), Self::Denial> {
        Ok(())
    }

    /// Whether the first step is covered (DOM-8). Asked of what leads to a trunk alone.
    ///
    /// # Errors
    /// The limit that leaves no room.
    fn spending(&mut self, _way: &Self::Way) -> Result<(), Self::Denial> {
        Ok(())
    }
}

/// A wish that no rule but those of the door itself has a say in.
impl Wish for Reach {
    type Way = ();
    type Denial = Refusal;

    fn way(&mut self, _context: Context) -> Result<((), Reach), Refusal> {
        Ok(((), *self))
    }
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

/// Asks every rule that exists, in this order.
///
/// # Errors
/// The first rule that says no. An internal entry without good credentials gets 401 whatever the request wants, so
/// that the answer does not tell which users or numbers exist (GUARD-10). A public one gets 403 for whatever leads to a
/// trunk, whoever asks (GUARD-2).
pub fn admit<W: Wish>(now: Instant, facts: &Facts<'_>, wish: &mut W) -> Result<(Admitted, W::Way), W::Denial> {
    let context = enter(now, facts)?;
    let (way, reach) = wish.way(context)?;
    if context == Context::Public && reach == Reach::Trunk {
        return Err(Refusal::answered("context.public", 403).into());
    }
    wish.blacklist(&way)?;
    if reach == Reach::Trunk {
        wish.spending(&way)?;
    }
    Ok((Admitted { context, reach }, way))
}

/// The rules that need not know what is wanted: where the request enters.
fn enter(now: Instant, facts: &Facts<'_>) -> Result<Context, Refusal> {
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
    match (facts.entry, facts.authentication) {
        (Entry::Internal, Authentication::Proven) if facts.confined => Ok(Context::Public),
        (Entry::Internal, Authentication::Proven) => Ok(Context::Internal),
        (Entry::Internal, Authentication::Missing) => Err(Refusal::answered("authentication.missing", 401)),
        (_, Authentication::Failed) => Err(Refusal::answered("authentication.failed", 401)),
        (Entry::External, Authentication::Proven | Authentication::Missing) => Ok(Context::Public),
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
            confined: false,
        }
    }

    fn reaches(facts: &Facts<'_>, mut reach: Reach) -> Result<Admitted, Refusal> {
        admit(start(), facts, &mut reach).map(|(admitted, ())| admitted)
    }

    /// A wish that is denied by the rules of these names, and keeps what it was asked.
    #[derive(Default)]
    struct Denied {
        by: Vec<&'static str>,
        reach: Option<Reach>,
        asked: Vec<&'static str>,
    }

    impl Denied {
        fn ask(&mut self, rule: &'static str) -> Result<(), Refusal> {
            self.asked.push(rule);
            if self.by.contains(&rule) { Err(Refusal::answered(rule, 403)) } else { Ok(()) }
        }
    }

    impl Wish for Denied {
        type Way = &'static str;
        type Denial = Refusal;

        fn way(&mut self, _: Context) -> Result<(&'static str, Reach), Refusal> {
            self.ask("callee")?;
            Ok(("way", self.reach.unwrap_or(Reach::Local)))
        }

        fn blacklist(&mut self, way: &&'static str) -> Result<(), Refusal> {
            assert_eq!(*way, "way");
            self.ask("blacklist")
        }

        fn spending(&mut self, _: &&'static str) -> Result<(), Refusal> {
            self.ask("spending")
        }
    }

    #[test]
    fn rules_are_asked_in_the_order_of_the_table_and_none_after_the_first_no() {
        let bans = BanSet::new([1; 16], &[], [("203.0.113.7".parse().unwrap(), Until::Revoked)]);
        let free = BanSet::empty();
        let list = ["192.0.2.0/24".parse().unwrap()];
        let mut everything_wrong = Facts {
            allowed: Some(&list),
            rate: Verdict::Drop { rule: "rate.source" },
            format: Format::Bad { status: 400, rule: "format" },
            authentication: Authentication::Failed,
            entry: Entry::External,
            ..facts(&bans)
        };
        let mut wish =
            Denied { by: vec!["callee", "blacklist", "spending"], reach: Some(Reach::Trunk), ..Denied::default() };
        let refusal = |facts: &Facts<'_>, wish: &mut Denied| {
            wish.asked.clear();
            admit(start(), facts, wish).unwrap_err()
        };
        assert_eq!(refusal(&everything_wrong, &mut wish), Refusal { rule: "ban", status: None });
        everything_wrong.bans = &free;
        assert_eq!(refusal(&everything_wrong, &mut wish), Refusal { rule: "acl", status: Some(403) });
        everything_wrong.allowed = None;
        assert_eq!(refusal(&everything_wrong, &mut wish), Refusal { rule: "rate.source", status: None });
        everything_wrong.rate = Verdict::Pass;
        assert_eq!(refusal(&everything_wrong, &mut wish), Refusal { rule: "format", status: Some(400) });
        everything_wrong.format = Format::Good;
        assert_eq!(refusal(&everything_wrong, &mut wish), Refusal { rule: "authentication.failed", status: Some(401) });
        assert!(wish.asked.is_empty(), "where it leads is looked at for nobody who may not enter");
        everything_wrong.authentication = Authentication::Missing;

        assert_eq!(refusal(&everything_wrong, &mut wish).rule, "callee");
        wish.by = vec!["blacklist", "spending"];
        assert_eq!(refusal(&everything_wrong, &mut wish), Refusal { rule: "context.public", status: Some(403) });
        assert_eq!(wish.asked, ["callee"]);
        let inside = facts(&free);
        assert_eq!(refusal(&inside, &mut wish).rule, "blacklist");
        wish.by = vec!["spending"];
        assert_eq!(refusal(&inside, &mut wish).rule, "spending");
        assert_eq!(wish.asked, ["callee", "blacklist", "spending"]);
        // What stays in the house costs nothing.
        wish.reach = Some(Reach::Local);
        wish.asked.clear();
        let (admitted, way) = admit(start(), &inside, &mut wish).unwrap();
        assert_eq!((admitted.context(), admitted.reach(), way), (Context::Internal, Reach::Local, "way"));
        assert_eq!(wish.asked, ["callee", "blacklist"]);
    }

    #[test]
    fn an_internal_entry_always_authenticates() {
        let bans = BanSet::empty();
        for authentication in [Authentication::Missing, Authentication::Failed] {
            for reach in [Reach::Local, Reach::Trunk] {
                let refusal = reaches(&Facts { authentication, ..facts(&bans) }, reach).unwrap_err();
                assert_eq!(refusal.status, Some(401));
            }
        }
        assert_eq!(reaches(&facts(&bans), Reach::Trunk).unwrap().context(), Context::Internal);
    }

    #[test]
    fn no_credentials_lead_from_an_external_entry_to_a_trunk() {
        let bans = BanSet::empty();
        for authentication in [Authentication::Missing, Authentication::Failed, Authentication::Proven] {
            let asked = Facts { entry: Entry::External, authentication, ..facts(&bans) };
            assert!(reaches(&asked, Reach::Trunk).is_err());
        }
    }

    #[test]
    fn whoever_is_put_into_the_public_context_reaches_no_trunk_with_the_best_credentials() {
        let bans = BanSet::empty();
        let confined = Facts { confined: true, ..facts(&bans) };
        assert_eq!(reaches(&confined, Reach::Local).unwrap().context(), Context::Public);
        assert_eq!(reaches(&confined, Reach::Trunk), Err(Refusal { rule: "context.public", status: Some(403) }));
        let stranger = Facts { authentication: Authentication::Missing, ..confined };
        assert_eq!(reaches(&stranger, Reach::Local).unwrap_err().status, Some(401));
    }

    #[test]
    fn an_access_list_lets_its_addresses_in() {
        let bans = BanSet::empty();
        let list = ["203.0.113.0/24".parse().unwrap()];
        assert!(reaches(&Facts { allowed: Some(&list), ..facts(&bans) }, Reach::Local).is_ok());
        assert!(reaches(&Facts { allowed: Some(&[]), ..facts(&bans) }, Reach::Local).is_err());
    }
}
