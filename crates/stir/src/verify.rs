//! The verification service (RFC 8224 §6.2, RFC 8946 §4.2) as a machine of questions and answers: it is asked about a request,
//! asks for certificates ([`Query`]) that it has not, and tells what it comes to ([`Event`]), at the deadline at the latest.
//! Fetching is the edge's: it refuses private addresses, follows few redirects, and reads no more than [`MAX_CHAIN_BYTES`].

mod question;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use question::Question;
use question::{Candidate, Work, prepare};

use crate::cache::{Cache, Held};
use crate::certificate::MAX_CHAIN_BYTES;
use crate::credential::{Credential, CredentialError, TrustAnchors};
use crate::date::{Now, UnixTime};
use crate::number::NumberPlan;
use crate::passport::Ppt;
use crate::rejection::{Card, CardError, SignedCard};
use crate::verdict::{Failure, FailureKind, Outcome, Passed, Verdict};

/// What is compared with a PASSporT's `dest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// As RFC 8224 §4.1 has it. Who replays a PASSporT to another target keeps To as it was.
    To,
    /// As RFC 8946 §4.2 has it.
    RequestUri,
    /// One of the two.
    Either,
}

/// How strictly, how long, how much.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How far Date and `iat` may be from our clock.
    pub freshness: Duration,
    /// The same for what was signed before a diversion; RFC 8946 §4.2 sees three hours as the most.
    pub diverted_freshness: Duration,
    pub destination: Destination,
    pub plan: NumberPlan,
    /// A verdict comes within this time, whatever has not been fetched by then.
    pub patience: Duration,
    /// For fetching; what comes later than the verdict is kept for the next call.
    pub fetch_within: Duration,
    /// Without TLS anybody on the way can answer. For laboratories.
    pub allow_http: bool,
    /// Identity header fields of one request.
    pub max_identities: usize,
    /// Verifications that wait at once, and fetches on their way at once.
    pub max_waiting: usize,
    pub max_fetches: usize,
    pub cache_entries: usize,
    /// Octets.
    pub cache_size: usize,
    /// Where the answer does not say how long it may be kept.
    pub keep: Duration,
    /// Bounds of what an answer says.
    pub keep_at_least: Duration,
    pub keep_at_most: Duration,
    /// How long a failure is remembered.
    pub keep_failure: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            freshness: Duration::from_secs(60),
            diverted_freshness: Duration::from_secs(60),
            destination: Destination::Either,
            plan: NumberPlan::default(),
            patience: Duration::from_secs(2),
            fetch_within: Duration::from_secs(5),
            allow_http: false,
            max_identities: 8,
            max_waiting: 4_096,
            max_fetches: 64,
            cache_entries: 1_000,
            cache_size: 16 * 1024 * 1024,
            keep: Duration::from_secs(3_600),
            keep_at_least: Duration::from_secs(60),
            keep_at_most: Duration::from_secs(86_400),
            keep_failure: Duration::from_secs(30),
        }
    }
}

impl Settings {
    pub(crate) fn may_fetch(&self, url: &str) -> bool {
        let has = |scheme: &str| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        has("https://") || (self.allow_http && has("http://"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerificationId(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// A certificate to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub id: QueryId,
    pub url: String,
    /// An answer after this is of no use.
    pub deadline: Instant,
}

/// What came of fetching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    Body {
        bytes: Vec<u8>,
        /// `max-age` of Cache-Control.
        max_age: Option<Duration>,
    },
    Failed(FetchFailure),
}

/// Why a certificate could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchFailure {
    #[error("the certificate did not come in time")]
    Timeout,
    #[error("too many certificates are being fetched")]
    Busy,
    #[error("{0} is not an address that certificates are fetched from")]
    Refused(String),
    #[error("no connection to the certificate's server: {0}")]
    Connect(String),
    #[error("the certificate's server answered {0}, expected 200")]
    Status(u16),
    #[error("expected at most {limit} octets of certificate")]
    TooLarge { limit: usize },
    #[error("expected a certificate's content type, got {0:?}")]
    ContentType(String),
    #[error("the certificate's server answered no HTTP that could be read: {0}")]
    Protocol(String),
}

/// What a verification came to. Each gets one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Verdict {
        id: VerificationId,
        verdict: Verdict,
    },
    /// Of [`Verifier::handle_card`].
    Card {
        id: VerificationId,
        card: Result<Card, CardError>,
    },
}

#[derive(Debug)]
enum Job {
    Call(Work),
    Card(SignedCard),
}

impl Job {
    fn urls(&self) -> Vec<&str> {
        let mut urls: Vec<&str> = match self {
            Job::Call(work) => work.chains.iter().flatten().map(|i| work.candidates[*i].url.as_str()).collect(),
            Job::Card(card) => vec![&card.x5u],
        };
        urls.sort_unstable();
        urls.dedup();
        urls
    }
}

#[derive(Debug)]
struct Waiting {
    job: Job,
    deadline: Instant,
    /// What came so far; `None` is on its way.
    held: BTreeMap<String, Option<Held>>,
}

#[derive(Debug)]
struct InFlight {
    url: String,
    deadline: Instant,
    waiting: Vec<VerificationId>,
}

/// The machine. After each `handle_…` drain [`Self::poll_query`] and [`Self::poll_event`].
#[derive(Debug)]
pub struct Verifier {
    settings: Settings,
    anchors: TrustAnchors,
    cache: Cache,
    next: u64,
    waiting: BTreeMap<VerificationId, Waiting>,
    in_flight: BTreeMap<QueryId, InFlight>,
    by_url: BTreeMap<String, QueryId>,
    queries: VecDeque<Query>,
    events: VecDeque<Event>,
}

impl Verifier {
    pub fn new(settings: Settings, anchors: TrustAnchors) -> Verifier {
        let cache = Cache::new(settings.cache_entries, settings.cache_size);
        Verifier {
            settings,
            anchors,
            cache,
            next: 0,
            waiting: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            by_url: BTreeMap::new(),
            queries: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Other anchors: what was fetched is fetched anew.
    pub fn set_anchors(&mut self, anchors: TrustAnchors) {
        self.anchors = anchors;
        self.cache.clear();
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Asks about a request. Its [`Event`] comes at once where nothing is to be fetched.
    pub fn handle_question(&mut self, now: Now, question: &Question<'_>) -> VerificationId {
        let id = self.new_id();
        match prepare(&self.settings, now, question) {
            Ok(work) => self.begin(now, id, Job::Call(work)),
            Err(why) => {
                let verdict = Verdict { outcome: Outcome::NotValidated(why), failures: Vec::new() };
                self.events.push_back(Event::Verdict { id, verdict });
            }
        }
        id
    }

    /// Believes as `other` does from now on. Questions that wait stay. Certificates that were fetched are forgotten: each was
    /// looked up among the authorities of before when it came.
    pub fn follow(&mut self, other: Verifier) {
        (self.settings, self.anchors) = (other.settings, other.anchors);
        self.cache.clear();
    }

    /// Asks about the signed card of a 608 response (RFC 8688 §3.3), as it was fetched from the URL in Call-Info.
    pub fn handle_card(&mut self, now: Now, jws: &str) -> VerificationId {
        let id = self.new_id();
        match SignedCard::parse(jws).and_then(|card| card.check(&self.settings, now.unix).map(|()| card)) {
            Ok(card) => self.begin(now, id, Job::Card(card)),
            Err(error) => self.events.push_back(Event::Card { id, card: Err(error) }),
        }
        id
    }

    /// The answer to a query. One that nobody asked, or that comes too late, is passed over.
    pub fn handle_fetched(&mut self, now: Now, id: QueryId, fetch: Fetch) {
        let Some(in_flight) = self.in_flight.remove(&id) else { return };
        self.by_url.remove(&in_flight.url);
        let (held, keep) = match fetch {
            Fetch::Failed(failure) => (Held::Failed(failure), self.settings.keep_failure),
            Fetch::Body { bytes, .. } if bytes.len() > MAX_CHAIN_BYTES => {
                (Held::Failed(FetchFailure::TooLarge { limit: MAX_CHAIN_BYTES }), self.settings.keep_failure)
            }
            Fetch::Body { bytes, max_age } => match Credential::load(&bytes, &self.anchors, now.unix) {
                Ok(credential) => {
                    let keep = max_age.unwrap_or(self.settings.keep);
                    let keep = keep.min(self.settings.keep_at_most).max(self.settings.keep_at_least);
                    (Held::Credential(Arc::new(credential)), keep)
                }
                Err(error) => (Held::Unreadable(error), self.settings.keep_failure),
            },
        };
        self.cache.insert(&in_flight.url, held.clone(), keep, now.instant);
        for waiter in in_flight.waiting {
            let Some(waiting) = self.waiting.get_mut(&waiter) else { continue };
            waiting.held.insert(in_flight.url.clone(), Some(held.clone()));
            self.try_finish(now, waiter, false);
        }
    }

    /// Deadlines.
    pub fn handle_timeout(&mut self, now: Now) {
        let late: Vec<QueryId> =
            self.in_flight.iter().filter(|(_, query)| query.deadline <= now.instant).map(|(id, _)| *id).collect();
        for id in late {
            self.handle_fetched(now, id, Fetch::Failed(FetchFailure::Timeout));
        }
        let late: Vec<VerificationId> =
            self.waiting.iter().filter(|(_, waiting)| waiting.deadline <= now.instant).map(|(id, _)| *id).collect();
        for id in late {
            self.try_finish(now, id, true);
        }
    }

    /// The call is gone: no verdict is wanted any more.
    pub fn handle_cancel(&mut self, id: VerificationId) {
        self.waiting.remove(&id);
    }

    pub fn poll_query(&mut self) -> Option<Query> {
        self.queries.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.waiting.values().map(|waiting| waiting.deadline);
        waiting.chain(self.in_flight.values().map(|query| query.deadline)).min()
    }

    /// Verifications that wait, fetches on their way, certificates and failures remembered, and what these take in octets.
    pub fn load(&self) -> (usize, usize, usize, usize) {
        let (entries, size) = self.cache.held();
        (self.waiting.len(), self.in_flight.len(), entries, size)
    }

    fn new_id(&mut self) -> VerificationId {
        self.next += 1;
        VerificationId(self.next)
    }

    fn begin(&mut self, now: Now, id: VerificationId, job: Job) {
        let urls: Vec<String> = job.urls().into_iter().map(str::to_owned).collect();
        let has_room = self.waiting.len() < self.settings.max_waiting;
        let mut held = BTreeMap::new();
        for url in urls {
            let known = self.cache.get(&url, now.instant).or_else(|| {
                let asked = has_room && self.ask(now, &url, id);
                (!asked).then_some(Held::Failed(FetchFailure::Busy))
            });
            held.insert(url, known);
        }
        let deadline = now.instant + self.settings.patience;
        self.waiting.insert(id, Waiting { job, deadline, held });
        self.try_finish(now, id, false);
    }

    /// Joins a fetch that is on its way, or begins one. False where there is no room.
    fn ask(&mut self, now: Now, url: &str, id: VerificationId) -> bool {
        if let Some(in_flight) = self.by_url.get(url).and_then(|query| self.in_flight.get_mut(query)) {
            in_flight.waiting.push(id);
            return true;
        }
        if self.in_flight.len() >= self.settings.max_fetches {
            return false;
        }
        self.next += 1;
        let query = QueryId(self.next);
        let deadline = now.instant + self.settings.fetch_within;
        self.in_flight.insert(query, InFlight { url: url.to_owned(), deadline, waiting: vec![id] });
        self.by_url.insert(url.to_owned(), query);
        self.queries.push_back(Query { id: query, url: url.to_owned(), deadline });
        true
    }

    fn try_finish(&mut self, now: Now, id: VerificationId, is_late: bool) {
        let Some(waiting) = self.waiting.get_mut(&id) else { return };
        if is_late {
            for held in waiting.held.values_mut() {
                held.get_or_insert(Held::Failed(FetchFailure::Timeout));
            }
        }
        let held = |url: &str| waiting.held.get(url).and_then(Option::as_ref);
        let anchors = &self.anchors;
        let event = match &waiting.job {
            Job::Call(work) => judge(work, &held, anchors, now.unix).map(|verdict| Event::Verdict { id, verdict }),
            Job::Card(card) => {
                held(&card.x5u).map(|held| Event::Card { id, card: judge_card(card, held, anchors, now.unix) })
            }
        };
        if let Some(event) = event {
            self.waiting.remove(&id);
            self.events.push_back(event);
        }
    }
}

/// A certificate that cannot be used.
#[derive(Debug)]
pub(crate) enum CannotUse {
    Fetch(FetchFailure),
    Not(CredentialError),
}

fn credential(held: &Held) -> Result<&Credential, CannotUse> {
    match held {
        Held::Credential(credential) => Ok(credential),
        Held::Unreadable(error) => Err(CannotUse::Not(error.clone())),
        Held::Failed(failure) => Err(CannotUse::Fetch(failure.clone())),
    }
}

/// RFC 8688 §3.3. There is no number that the signer would need authority over.
fn judge_card(card: &SignedCard, held: &Held, anchors: &TrustAnchors, now: UnixTime) -> Result<Card, CardError> {
    let found = credential(held)?;
    let key = found.check(anchors, now).map_err(CardError::Credential)?;
    if card.is_signed_by(key) { Ok(card.verified(&found.certificate.subject)) } else { Err(CardError::Signature) }
}

/// `None` while something that could still change the outcome is on its way.
fn judge<'a>(
    work: &Work,
    held: &dyn Fn(&str) -> Option<&'a Held>,
    anchors: &TrustAnchors,
    now: UnixTime,
) -> Option<Verdict> {
    let mut failures = work.failures.clone();
    let mut pending = false;
    let mut passed = None;
    for chain in &work.chains {
        match check_chain(work, chain, held, anchors, now) {
            None => pending = true,
            Some(Err(failure)) => failures.push(failure),
            Some(Ok(found)) => {
                passed = Some(found);
                break;
            }
        }
    }
    let outcome = match passed {
        Some(passed) => Outcome::Passed(passed),
        None if pending => return None,
        // RFC 8224 §6.2.2: 436 only where no credential at all could be had; so of several the one that came furthest tells.
        None => Outcome::Failed(failures.iter().max_by_key(|failure| failure.kind)?.clone()),
    };
    Some(Verdict { outcome, failures })
}

/// RFC 8224 §6.2 steps 3 to 5 for each link. `None`: something is on its way.
fn check_chain<'a>(
    work: &Work,
    chain: &[usize],
    held: &dyn Fn(&str) -> Option<&'a Held>,
    anchors: &TrustAnchors,
    now: UnixTime,
) -> Option<Result<Passed, Failure>> {
    let mut found = None;
    for index in chain {
        let link = &work.candidates[*index];
        let failed = |kind, words: String| Failure { kind, url: Some(link.url.clone()), words };
        match credential(held(&link.url)?) {
            Err(CannotUse::Fetch(failure)) => return Some(Err(failed(FailureKind::Fetch, failure.to_string()))),
            Err(CannotUse::Not(error)) => return Some(Err(failed(kind_of(&error), error.to_string()))),
            Ok(credential) => {
                if let Err(failure) = check_link(link, credential, anchors, now) {
                    return Some(Err(failure));
                }
                found = Some((link, credential));
            }
        }
    }
    let (inner, credential) = found?;
    let claims = &inner.passport.claims;
    let diverted = chain.iter().rev().filter_map(|i| {
        let link = &work.candidates[*i];
        (link.ppt == Ppt::Div).then(|| link.signed_for().clone())
    });
    let shaken = inner.ppt == Ppt::Shaken;
    let list = credential.certificate.tn_auth_list.as_ref();
    Some(Ok(Passed {
        attestation: claims.attest.filter(|_| shaken),
        origid: claims.origid.clone().filter(|_| shaken),
        orig: claims.orig.clone(),
        dest: claims.dest.clone(),
        iat: claims.iat,
        signer: credential.certificate.subject.clone(),
        spcs: list.map(|list| list.spcs().map(str::to_owned).collect()).unwrap_or_default(),
        url: inner.url.clone(),
        diverted: diverted.collect(),
    }))
}

fn check_link(link: &Candidate, credential: &Credential, anchors: &TrustAnchors, now: UnixTime) -> Result<(), Failure> {
    let failed = |kind, words: String| Failure { kind, url: Some(link.url.clone()), words };
    let bad = |error: CredentialError| failed(kind_of(&error), error.to_string());
    let key = credential.check(anchors, now).map_err(bad)?;
    if !link.passport.is_signed_by(key) {
        let words = format!("the signature is not that of {:?} over these claims", credential.certificate.subject);
        return Err(failed(FailureKind::Signature, words));
    }
    credential.check_authority(link.signed_for()).map_err(bad)?;
    credential.check_claims(|| link.passport.all_claims()).map_err(bad)
}

const fn kind_of(error: &CredentialError) -> FailureKind {
    match error {
        CredentialError::Certificate(_) | CredentialError::Key(_) | CredentialError::Usage { .. } => {
            FailureKind::Credential
        }
        CredentialError::Untrusted { .. } => FailureKind::Untrusted,
        CredentialError::NotNow { .. } => FailureKind::Expired,
        CredentialError::NoAuthority { .. } => FailureKind::Authority,
        CredentialError::Claim { .. } => FailureKind::Constraint,
    }
}
