//! ENUM (RFC 6116): the SIP addresses that are published for a telephone number, as NAPTR rules beneath a domain such as
//! `e164.arpa`. Like `survey` it is run anew with each answer over what is known so far.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::expression::substitute;
use super::name::Name;
use super::order::SkippedRule;
use super::record::{Contents, Naptr, RecordType, RrSet};
use super::target::{LocateError, Note};
use crate::uri::Uri;

/// No longer chain of non-terminal rules is followed (RFC 6116 §5.2.1).
const MAX_CHAIN: usize = 5;
/// No more addresses of a number are looked for.
const MAX_ADDRESSES: usize = 8;
/// No more rules are looked at, over all sets together.
const MAX_RULES: usize = 64;

/// A number to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberRequest {
    /// `+` and digits: the application unique string (RFC 6116 §3.1).
    number: String,
    key: Name,
    within: Option<Duration>,
}

/// Why a number cannot be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    #[error("expected + and 1 to 15 digits")]
    NoNumber,
    #[error("the domain is too long for a number beneath it")]
    LongDomain,
}

/// One address of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberAddress {
    /// `sip:` or `sips:`, as the rule wrote it.
    pub uri: String,
    pub naptr: Arc<Naptr>,
    /// All records that led here are vouched for by DNSSEC.
    pub authenticated: bool,
}

impl NumberRequest {
    /// `number` in E.164 with `+`, beneath `apex`.
    ///
    /// # Errors
    /// It is no such number, or there is no room for it beneath the domain.
    pub fn new(number: &str, apex: &Name) -> Result<NumberRequest, NumberError> {
        let digits = number.strip_prefix('+').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let digits = digits.filter(|digits| (1..=15).contains(&digits.len())).ok_or(NumberError::NoNumber)?;
        // RFC 6116 §3.2: reversed, a dot between each.
        let labels: Vec<String> = digits.chars().rev().map(String::from).collect();
        let key = apex.prefixed(&labels.join(".")).map_err(|_| NumberError::LongDomain)?;
        Ok(NumberRequest { number: number.to_owned(), key, within: None })
    }

    /// The same beneath a domain in words; `None` for what is no number or no domain.
    pub fn of_domain(number: &str, domain: &str) -> Option<NumberRequest> {
        let apex = Name::parse(domain).ok().filter(|apex| !apex.is_root())?;
        Self::new(number, &apex).ok()
    }

    /// With its own bound of how long it may take.
    #[must_use]
    pub fn within(self, within: Duration) -> NumberRequest {
        NumberRequest { within: Some(within), ..self }
    }

    /// How long it may take; `None`: as the settings say.
    pub(super) fn limit(&self) -> Option<Duration> {
        self.within
    }

    /// The name that is asked for NAPTR records.
    pub fn key(&self) -> &Name {
        &self.key
    }
}

impl fmt::Display for NumberRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.number, self.key)
    }
}

/// The rules of one name, in their order, with those that non-terminal ones of them lead to in their place.
pub(super) struct NumberSurvey<'a, F> {
    pub(super) request: &'a NumberRequest,
    /// What is known of a name and type.
    pub(super) known: F,
    pub(super) open: Vec<(Name, RecordType)>,
    pub(super) notes: Vec<Note>,
    pub(super) found: Vec<NumberAddress>,
    rules: usize,
    nowhere: bool,
    failed: Option<LocateError>,
}

impl<'a, F: FnMut(&Name, RecordType) -> Option<Arc<RrSet>>> NumberSurvey<'a, F> {
    pub(super) fn new(request: &'a NumberRequest, known: F) -> Self {
        Self {
            request,
            known,
            open: Vec::new(),
            notes: Vec::new(),
            found: Vec::new(),
            rules: 0,
            nowhere: false,
            failed: None,
        }
    }

    /// Goes through what is known. Questions that are open stand in `open` then.
    ///
    /// # Errors
    /// Everything is known, and there is no address.
    pub(super) fn run(&mut self) -> Result<(), LocateError> {
        self.visit(&self.request.key, &[], true);
        if !self.open.is_empty() || !self.found.is_empty() {
            return Ok(());
        }
        Err(self.failed.unwrap_or(if self.nowhere { LocateError::NoSuchName } else { LocateError::NoRule }))
    }

    fn visit(&mut self, name: &Name, way: &[&Name], authenticated: bool) {
        let Some(set) = (self.known)(name, RecordType::Naptr) else {
            if !self.open.iter().any(|(open, _)| open == name) {
                self.open.push((name.clone(), RecordType::Naptr));
            }
            return;
        };
        let mut rules = match &set.contents {
            Contents::Naptr(rules) => rules.clone(),
            Contents::Failed(failure) => {
                self.failed = Some(LocateError::Unanswered(*failure));
                return self.notes.push(Note::NaptrUnanswered(*failure));
            }
            Contents::Absent { no_such_name } => {
                self.nowhere |= way.is_empty() && *no_such_name;
                return;
            }
            Contents::Srv(_) | Contents::Addresses(_) => return,
        };
        rules.sort_by_key(|naptr| (naptr.order, naptr.preference));
        let authenticated = authenticated && set.authenticated;
        for naptr in rules {
            if self.found.len() >= MAX_ADDRESSES || self.rules >= MAX_RULES {
                return self.notes.push(Note::TooMany(self.found.len()));
            }
            self.rules += 1;
            match judge(&naptr, &self.request.number) {
                Ok(Rule::Address(uri)) if self.found.iter().any(|other| other.uri == uri) => {}
                Ok(Rule::Address(uri)) => self.found.push(NumberAddress { uri, naptr, authenticated }),
                Ok(Rule::Further) => {
                    let next = &naptr.replacement;
                    let mut longer = way.to_vec();
                    longer.push(name);
                    if longer.len() > MAX_CHAIN || longer.contains(&next) {
                        self.skip(&naptr, SkippedRule::Chain);
                    } else {
                        self.visit(next, &longer, authenticated);
                    }
                }
                Err(why) => self.skip(&naptr, why),
            }
        }
    }

    fn skip(&mut self, naptr: &Arc<Naptr>, why: SkippedRule) {
        self.notes.push(Note::RuleSkipped { naptr: Arc::clone(naptr), why });
    }
}

enum Rule {
    Address(String),
    /// The rules of its replacement.
    Further,
}

/// What a rule says for a number.
fn judge(naptr: &Naptr, number: &str) -> Result<Rule, SkippedRule> {
    if naptr.flags.is_empty() {
        // RFC 6116 §5.2.1: its service and expression do not count.
        return if naptr.replacement.is_root() { Err(SkippedRule::NoReplacement) } else { Ok(Rule::Further) };
    }
    if !naptr.flags.eq_ignore_ascii_case("u") {
        return Err(SkippedRule::NumberFlags);
    }
    if !is_sip(&naptr.services) {
        return Err(SkippedRule::NumberService);
    }
    let uri = substitute(&naptr.regexp, number).map_err(SkippedRule::Expression)?;
    let sip = Uri::parse(&uri).is_ok_and(|parsed| parsed.scheme.is_sip() && !parsed.host_str().is_empty());
    if sip { Ok(Rule::Address(uri)) } else { Err(SkippedRule::NoSipAddress) }
}

/// `E2U+sip`, alone or among others (RFC 6116 §3.4.3, RFC 3764), and as RFC 2916 wrote it, `sip+E2U`.
fn is_sip(services: &str) -> bool {
    if services.eq_ignore_ascii_case("sip+E2U") {
        return true;
    }
    let mut parts = services.split('+');
    parts.next().is_some_and(|first| first.eq_ignore_ascii_case("E2U"))
        && parts.any(|service| service.eq_ignore_ascii_case("sip"))
}
