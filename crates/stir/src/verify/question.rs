//! A request's Identity header fields against what else it says: everything that needs no certificate. First what is cheap
//! and certain, so that a stale or foreign PASSporT makes us fetch nothing.

use std::fmt;

use crate::date::{Now, parse_sip_date};
use crate::identity::Identity;
use crate::number::Party;
use crate::passport::{Claims, Fingerprint, Passport, PassportError, Ppt, Token};
use crate::verdict::{Failure, FailureKind, NotValidated};
use crate::{UnixTime, verify::Destination, verify::Settings};

use ringfort_sip::Values;

/// Ways from an original PASSporT through its diversions; more than that is made to cost us time.
const MAX_CHAINS: usize = 16;

/// What a request says, header field values as they came.
#[derive(Clone, Copy, Default)]
pub struct Question<'a> {
    pub method: &'a str,
    pub from: &'a str,
    /// P-Asserted-Identity, only from a peer that is trusted with it; the caller is then who it says (RFC 8224 §8).
    pub asserted: Option<&'a str>,
    pub to: &'a str,
    pub request_uri: &'a str,
    pub date: Option<&'a str>,
    /// Each Identity header field.
    pub identities: &'a [&'a str],
    /// Of the description in the body: [`Fingerprint::of_sdp`].
    pub fingerprints: &'a [Fingerprint],
}

/// Without the numbers that it names.
impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Question");
        let shown = shown.field("method", &self.method).field("date", &self.date);
        shown.field("identities", &self.identities.len()).finish_non_exhaustive()
    }
}

/// A PASSporT that is to be held against its certificate.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) passport: Passport,
    pub(super) ppt: Ppt,
    pub(super) url: String,
    /// Only compared, never told: the claims in canonical form.
    orig: Party,
    dest: Vec<Party>,
    div: Option<Party>,
}

impl Candidate {
    /// Whom the signer must have authority over (RFC 8946 §3).
    pub(super) fn signed_for(&self) -> &Party {
        self.div.as_ref().unwrap_or(&self.orig)
    }
}

/// What is left to do.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) candidates: Vec<Candidate>,
    /// Indices of candidates, the outermost diversion first and the original PASSporT last.
    pub(super) chains: Vec<Vec<usize>>,
    pub(super) failures: Vec<Failure>,
}

struct Facts<'a> {
    origin: Party,
    to: Option<Party>,
    target: Option<Party>,
    date: Option<UnixTime>,
    fingerprints: &'a [Fingerprint],
    now: UnixTime,
}

pub(super) fn prepare(settings: &Settings, now: Now, question: &Question<'_>) -> Result<Work, NotValidated> {
    if matches!(question.method, "ACK" | "CANCEL") {
        return Err(NotValidated::Method);
    }
    let values: Vec<&[u8]> = question.identities.iter().flat_map(|line| Values::new(line.as_bytes())).collect();
    if values.is_empty() {
        return Err(NotValidated::Absent);
    }
    let mut work = Work::default();
    if values.len() > settings.max_identities {
        let words =
            format!("expected at most {} Identity header fields, got {}", settings.max_identities, values.len());
        work.failures.push(Failure { kind: FailureKind::Malformed, url: None, words });
        return Ok(work);
    }
    if values.iter().all(|value| is_of_unknown_type(value)) {
        return Err(NotValidated::UnsupportedType);
    }
    let facts = match facts(settings, now.unix, question) {
        Ok(facts) => facts,
        Err(failure) => {
            work.failures.push(failure);
            return Ok(work);
        }
    };
    for value in values {
        match candidate(settings, &facts, value) {
            Ok(Some(candidate)) => work.candidates.push(candidate),
            Ok(None) => {}
            Err(failure) => work.failures.push(failure),
        }
    }
    // A type that only the PASSporT itself tells.
    if work.candidates.is_empty() && work.failures.is_empty() {
        return Err(NotValidated::UnsupportedType);
    }
    let mut used = vec![false; work.candidates.len()];
    for chain in chains(&work.candidates) {
        chain.iter().for_each(|index| used[*index] = true);
        match check_chain(settings, &facts, &work.candidates, &chain) {
            Ok(()) => work.chains.push(chain),
            Err(failure) => work.failures.push(failure),
        }
    }
    for (candidate, _) in work.candidates.iter().zip(&used).filter(|(_, used)| !**used) {
        let words = "a diversion refers to no PASSporT of this request (div is in no dest)";
        work.failures.push(failure(FailureKind::Diversion, Some(&candidate.url), words));
    }
    // Who tells an attestation is heard first.
    work.chains.sort_by_key(|chain| chain.last().map(|inner| work.candidates[*inner].ppt != Ppt::Shaken));
    Ok(work)
}

fn is_of_unknown_type(value: &[u8]) -> bool {
    let identity = std::str::from_utf8(value).ok().and_then(|value| Identity::parse(value).ok());
    identity.is_some_and(|identity| identity.known_ppt().is_none())
}

fn failure(kind: FailureKind, url: Option<&str>, words: impl Into<String>) -> Failure {
    Failure { kind, url: url.map(str::to_owned), words: words.into() }
}

fn facts<'a>(settings: &Settings, now: UnixTime, question: &Question<'a>) -> Result<Facts<'a>, Failure> {
    let plan = &settings.plan;
    let (name, value) = match question.asserted {
        Some(asserted) => ("P-Asserted-Identity", asserted),
        None => ("From", question.from),
    };
    let origin = plan
        .party(value)
        .map_err(|error| failure(FailureKind::Origin, None, format!("{name} names no caller: {error}")))?;
    let date = match question.date {
        None => None,
        Some(value) => Some(parse_sip_date(value).ok_or_else(|| {
            failure(FailureKind::Malformed, None, "expected a Date such as Sat, 13 Nov 2010 23:29:00 GMT")
        })?),
    };
    if let Some(date) = date.filter(|date| date.distance(now) > settings.freshness) {
        return Err(stale("Date", date, now, settings.freshness.as_secs(), None));
    }
    Ok(Facts {
        origin,
        to: plan.party(question.to).ok(),
        target: plan.party_of_uri(question.request_uri).ok(),
        date,
        fingerprints: question.fingerprints,
        now,
    })
}

fn stale(name: &str, at: UnixTime, now: UnixTime, allowed: u64, url: Option<&str>) -> Failure {
    let (far, side) = (at.distance(now).as_secs(), if at < now { "old" } else { "ahead of our clock" });
    failure(FailureKind::Stale, url, format!("{name} is {far} s {side}, {allowed} s are allowed"))
}

/// `None` for a type that we do not know.
fn candidate(settings: &Settings, facts: &Facts<'_>, value: &[u8]) -> Result<Option<Candidate>, Failure> {
    let value = std::str::from_utf8(value)
        .map_err(|_| failure(FailureKind::Malformed, None, "expected an Identity header field in ASCII"))?;
    let identity = Identity::parse(value).map_err(|error| failure(FailureKind::Malformed, None, error.to_string()))?;
    let url = Some(identity.info.as_str());
    let Some(ppt) = identity.known_ppt() else { return Ok(None) };
    if let Some(alg) = identity.alg.as_deref().filter(|alg| *alg != "ES256") {
        return Err(failure(FailureKind::Algorithm, url, PassportError::Algorithm(alg.to_owned()).to_string()));
    }
    if !settings.may_fetch(&identity.info) {
        return Err(failure(FailureKind::Fetch, url, "expected a certificate at an https URL"));
    }
    let passport = match Token::parse(&identity.token) {
        Ok(Token::Full(passport)) => passport,
        Ok(Token::Compact { signature }) => {
            if ppt != Ppt::Base {
                // RFC 8588 §3, RFC 8946 §3.
                return Err(failure(FailureKind::Incomplete, url, "expected this type of PASSporT in full form"));
            }
            let (Some(date), Some(to)) = (facts.date, &facts.to) else {
                let words = "expected Date and To, from which a PASSporT in compact form is built anew";
                return Err(failure(FailureKind::Incomplete, url, words));
            };
            let mut claims = Claims::new(facts.origin.clone(), vec![to.clone()], date);
            claims.mky = facts.fingerprints.to_vec();
            Passport::rebuilt(claims, &identity.info, signature)
        }
        Err(error) => {
            let kind = match &error {
                PassportError::Algorithm(_) => FailureKind::Algorithm,
                error if error.is_incomplete() => FailureKind::Incomplete,
                _ => FailureKind::Malformed,
            };
            return Err(failure(kind, url, error.to_string()));
        }
    };
    if passport.ppt().is_none() && identity.ppt.is_none() {
        return Ok(None);
    }
    if passport.ppt_name != identity.ppt {
        return Err(failure(FailureKind::Mismatch, url, "the parameter ppt and the PASSporT's ppt differ"));
    }
    if passport.x5u.as_deref() != Some(identity.info.as_str()) {
        return Err(failure(FailureKind::Mismatch, url, "the parameter info and the PASSporT's x5u differ"));
    }
    let claimed = |party: &Party| settings.plan.claimed(party);
    let claims = &passport.claims;
    Ok(Some(Candidate {
        orig: claimed(&claims.orig),
        dest: claims.dest.iter().map(claimed).collect(),
        // Only where the type says so: elsewhere it is a claim that nobody is bound to understand.
        div: claims.div.as_ref().filter(|_| ppt == Ppt::Div).map(claimed),
        ppt,
        url: identity.info,
        passport,
    }))
}

/// From each original PASSporT outwards by RFC 8946 §4.2: a diversion follows what has its `div` among its `dest`.
fn chains(candidates: &[Candidate]) -> Vec<Vec<usize>> {
    let mut complete = Vec::new();
    let mut growing: Vec<Vec<usize>> =
        (0..candidates.len()).filter(|i| candidates[*i].ppt != Ppt::Div).map(|i| vec![i]).collect();
    while let Some(chain) = growing.pop() {
        let dest = &candidates[chain[0]].dest;
        let next: Vec<usize> = (0..candidates.len())
            .filter(|i| !chain.contains(i) && candidates[*i].div.as_ref().is_some_and(|div| dest.contains(div)))
            .collect();
        if next.is_empty() {
            complete.push(chain);
        } else {
            growing.extend(next.into_iter().map(|outer| std::iter::once(outer).chain(chain.iter().copied()).collect()));
        }
        if complete.len() + growing.len() > MAX_CHAINS {
            growing.truncate(MAX_CHAINS.saturating_sub(complete.len()));
        }
    }
    complete.truncate(MAX_CHAINS);
    complete
}

fn check_chain(
    settings: &Settings,
    facts: &Facts<'_>,
    candidates: &[Candidate],
    chain: &[usize],
) -> Result<(), Failure> {
    for (place, index) in chain.iter().enumerate() {
        let link = &candidates[*index];
        let url = Some(link.url.as_str());
        if link.orig != facts.origin {
            return Err(failure(FailureKind::Origin, url, "signed for another caller than the request's"));
        }
        let allowed = if place == 0 { settings.freshness } else { settings.freshness.max(settings.diverted_freshness) };
        let iat = link.passport.claims.iat;
        if iat.distance(facts.now) > allowed {
            return Err(stale("iat", iat, facts.now, allowed.as_secs(), url));
        }
        let keys = &link.passport.claims.mky;
        if !keys.is_empty() && keys != facts.fingerprints {
            let words = "signed for other media keys (mky) than the description's fingerprints";
            return Err(failure(FailureKind::MediaKeys, url, words));
        }
    }
    let outermost = &candidates[chain[0]];
    let is_dest = |party: &Option<Party>| party.as_ref().is_some_and(|party| outermost.dest.contains(party));
    let matches = match settings.destination {
        Destination::To => is_dest(&facts.to),
        Destination::RequestUri => is_dest(&facts.target),
        Destination::Either => is_dest(&facts.to) || is_dest(&facts.target),
    };
    if matches {
        Ok(())
    } else {
        let words = "signed for another called party than the request's";
        Err(failure(FailureKind::Destination, Some(&outermost.url), words))
    }
}
