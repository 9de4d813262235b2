//! Where a request is to be sent (RFC 3263): NAPTR → SRV → A and AAAA, as pure code. [`Locator::locate`] begins a look-up;
//! [`Query`]s come out, [`Answer`]s go in, and a [`Located`] comes out with targets in their order and the reason of each.
//! The targets are tried by [`Locator::next_target`], and what became of them is told by [`Locator::report`] (§4.3).
//! [`Locator::resolve_number`] asks for the SIP addresses of a telephone number in the same way (ENUM, RFC 6116).
//! No clock and no socket: `net` has the resolver behind it, the `dns` commands and, later, the switch ask.

mod cache;
mod expression;
mod name;
mod number;
mod order;
mod record;
mod request;
mod survey;
mod target;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::ChaCha12Rng;
use rand::{RngExt, SeedableRng};

use crate::flow::Transport;
use cache::{Cache, Dead};
use number::NumberSurvey;
use record::{Reading, TtlBounds};
use survey::{Progress, Survey};

pub use expression::ExpressionError;
pub use name::{Name, NameError};
pub use number::{NumberAddress, NumberError, NumberRequest};
pub use order::{Families, SkippedRule, order_srv, rule, service_prefix, transport_of_service};
pub use record::{Answer, Contents, Naptr, QueryFailure, Record, RecordData, RecordType, RrSet, Srv};
pub use request::{Destination, Request, RequestError};
pub use target::{Asked, Attempt, LocateError, Note, Target, Targets, Trace, Why};

/// How to locate, the same for all look-ups.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Transports that this system can send by, those preferred first.
    pub transports: Vec<Transport>,
    /// Whether NAPTR records are asked for. Without them it begins with SRV.
    pub naptr: bool,
    pub families: Families,
    /// The longest look-up. What was found until then counts.
    pub deadline: Duration,
    /// How long is waited for further answers once there is a target.
    pub patience: Duration,
    /// The longest wait for one answer.
    pub query_timeout: Duration,
    /// Answers are not remembered for longer, whatever their TTL.
    pub max_ttl: Duration,
    /// The same for answers that there is nothing (RFC 2308 §5 advises one to three hours at most).
    pub max_negative_ttl: Duration,
    /// How long it is remembered that a question got no answer (RFC 2308 §7: five minutes at most).
    pub failure_ttl: Duration,
    /// How long a target that failed stands back behind the others.
    pub dead_for: Duration,
    /// The longest Retry-After that is heeded.
    pub max_retry_after: Duration,
    /// Answers that are remembered.
    pub cache: usize,
    /// Failed targets that are remembered.
    pub dead: usize,
    /// Look-ups at once.
    pub lookups: usize,
    /// Questions at once.
    pub queries: usize,
    /// Questions of one look-up.
    pub queries_per_lookup: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            transports: vec![Transport::Udp, Transport::Tcp, Transport::Tls],
            naptr: true,
            families: Families::default(),
            deadline: Duration::from_secs(5),
            patience: Duration::from_millis(500),
            query_timeout: Duration::from_secs(4),
            max_ttl: Duration::from_secs(86_400),
            max_negative_ttl: Duration::from_secs(3_600),
            failure_ttl: Duration::from_secs(5),
            dead_for: Duration::from_secs(30),
            max_retry_after: Duration::from_secs(300),
            cache: 10_000,
            dead: 4_096,
            lookups: 10_000,
            queries: 10_000,
            queries_per_lookup: 64,
        }
    }
}

/// One look-up. Never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);

/// One question. Never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// A question for a resolver. Its answer goes to [`Locator::handle_answer`] with the same id; after `deadline` nobody waits
/// for it any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub id: QueryId,
    pub name: Name,
    pub kind: RecordType,
    pub deadline: Instant,
}

/// The end of a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub id: LookupId,
    pub result: Result<Targets, LocateError>,
    pub trace: Trace,
}

/// The end of a look-up of a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub id: LookupId,
    /// In the order to try them; never empty.
    pub result: Result<Vec<NumberAddress>, LocateError>,
    pub trace: Trace,
}

/// What happened, in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub lookups: u64,
    pub queries: u64,
    /// Answers that came in time.
    pub answers: u64,
    /// Answers to questions that nobody waits for any more.
    pub late_answers: u64,
    /// Questions that got no answer in time.
    pub timeouts: u64,
}

type Key = (Name, RecordType);

/// What a look-up is for.
#[derive(Debug)]
enum Wanted {
    Targets(Request),
    Addresses(NumberRequest),
}

/// What a look-up has.
enum Found {
    Targets(Vec<Target>),
    Addresses(Vec<NumberAddress>),
}

/// How far a look-up came.
enum Step {
    Open { questions: Vec<(Name, RecordType)>, found: Found },
    Done(Result<Found, LocateError>),
}

/// A look-up that runs.
#[derive(Debug)]
struct Search {
    wanted: Wanted,
    seed: u64,
    known: Vec<Asked>,
    questions: usize,
    deadline: Instant,
    /// Set once there is a target.
    patience: Option<Instant>,
}

/// A question that is on its way.
#[derive(Debug)]
struct Flight {
    key: Key,
    /// Aliases that were followed by further questions, and what they leave of the lifetime.
    aliases: Vec<Name>,
    ttl: Duration,
    authenticated: bool,
    deadline: Instant,
    waiting: Vec<LookupId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Query(QueryId),
    Lookup(LookupId),
}

/// All look-ups of one owner, with what is remembered between them.
#[derive(Debug)]
pub struct Locator {
    settings: Settings,
    rng: ChaCha12Rng,
    cache: Cache,
    dead: Dead<(Transport, SocketAddr)>,
    searches: BTreeMap<LookupId, Search>,
    flights: BTreeMap<QueryId, Flight>,
    by_key: BTreeMap<Key, QueryId>,
    due: BTreeSet<(Instant, Due)>,
    queries: VecDeque<Query>,
    located: VecDeque<Located>,
    resolved: VecDeque<Resolved>,
    next_lookup: u64,
    next_query: u64,
    counters: Counters,
}

impl Locator {
    /// `seed` feeds the draw by weight (RFC 2782).
    pub fn new(settings: Settings, seed: [u8; 32]) -> Locator {
        Locator {
            cache: Cache::new(settings.cache),
            dead: Dead::new(settings.dead),
            settings,
            rng: ChaCha12Rng::from_seed(seed),
            searches: BTreeMap::new(),
            flights: BTreeMap::new(),
            by_key: BTreeMap::new(),
            due: BTreeSet::new(),
            queries: VecDeque::new(),
            located: VecDeque::new(),
            resolved: VecDeque::new(),
            next_lookup: 0,
            next_query: 0,
            counters: Counters::default(),
        }
    }

    /// Begins a look-up. Its end comes out of [`poll_located`](Self::poll_located), at once where everything is known.
    pub fn locate(&mut self, now: Instant, request: Request) -> LookupId {
        self.begin(now, request.within, Wanted::Targets(request))
    }

    /// Begins to look for the SIP addresses of a number. The end comes out of [`poll_resolved`](Self::poll_resolved).
    pub fn resolve_number(&mut self, now: Instant, request: NumberRequest) -> LookupId {
        self.begin(now, request.limit(), Wanted::Addresses(request))
    }

    fn begin(&mut self, now: Instant, within: Option<Duration>, wanted: Wanted) -> LookupId {
        let id = LookupId(self.next_lookup);
        self.next_lookup += 1;
        self.counters.lookups += 1;
        let deadline = now + within.unwrap_or(self.settings.deadline);
        let seed = self.rng.random();
        let search = Search { wanted, seed, known: Vec::new(), questions: 0, deadline, patience: None };
        if self.searches.len() >= self.settings.lookups {
            self.end(id, search, Err(LocateError::Busy), false, Vec::new());
        } else {
            self.advance(now, id, search);
        }
        id
    }

    /// Nobody waits for it any more. Its questions stay: their answers may serve the next one.
    pub fn cancel(&mut self, id: LookupId) {
        if let Some(search) = self.searches.remove(&id) {
            self.due.remove(&(search.wakes(), Due::Lookup(id)));
        }
    }

    /// The answer to a query, however late. Of a query that nobody waits for it is counted and dropped.
    pub fn handle_answer(&mut self, now: Instant, id: QueryId, answer: Answer) {
        let Some(flight) = self.flights.remove(&id) else {
            self.counters.late_answers += 1;
            return;
        };
        self.due.remove(&(flight.deadline, Due::Query(id)));
        self.counters.answers += 1;
        self.answered(now, flight, answer);
    }

    /// Ends what has waited long enough.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, due)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            match due {
                Due::Query(id) => {
                    if let Some(flight) = self.flights.remove(&id) {
                        self.counters.timeouts += 1;
                        self.answered(now, flight, Answer::Failed(QueryFailure::Timeout));
                    }
                }
                Due::Lookup(id) => {
                    if let Some(search) = self.searches.remove(&id) {
                        self.settle(now, id, search);
                    }
                }
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next question to ask.
    pub fn poll_query(&mut self) -> Option<Query> {
        self.queries.pop_front()
    }

    /// The next look-up that came to its end.
    pub fn poll_located(&mut self) -> Option<Located> {
        self.located.pop_front()
    }

    /// The next look-up of a number that came to its end.
    pub fn poll_resolved(&mut self) -> Option<Resolved> {
        self.resolved.pop_front()
    }

    /// The next target to try: the first that did not fail lately, and where all did, the first. A new request is made for
    /// each, with a new branch (RFC 3263 §4.3). `None`: there is none left.
    pub fn next_target(&mut self, now: Instant, targets: &mut Targets) -> Option<Target> {
        let alive = targets.left.iter().position(|target| !self.is_dead(now, target));
        targets.left.remove(alive.unwrap_or(0))
    }

    /// What became of a request at a target, so that the next ones know.
    pub fn report(&mut self, now: Instant, target: &Target, attempt: Attempt) {
        let key = (target.transport, target.address);
        let dead_for = match attempt {
            Attempt::Answered => return self.dead.remove(&key),
            Attempt::Unavailable { retry_after } => {
                retry_after.map_or(self.settings.dead_for, |after| after.min(self.settings.max_retry_after))
            }
            Attempt::TransportError | Attempt::TimedOut => self.settings.dead_for,
        };
        self.dead.insert(key, now + dead_for);
    }

    /// Whether a request there failed lately.
    pub fn is_dead(&mut self, now: Instant, target: &Target) -> bool {
        self.dead.contains(now, &(target.transport, target.address))
    }

    /// Forgets all answers, not the failed targets: for an administrator who changed his zone.
    pub fn forget(&mut self) {
        self.cache.clear();
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Answers and failed targets that are remembered, look-ups and questions that run.
    pub fn sizes(&self) -> [usize; 4] {
        [self.cache.len(), self.dead.len(), self.searches.len(), self.flights.len()]
    }

    /// Runs the procedure over what is known, and asks what is not.
    fn advance(&mut self, now: Instant, id: LookupId, mut search: Search) {
        loop {
            let (progress, notes) = self.survey(now, &mut search);
            let (questions, found) = match progress {
                Step::Done(result) => return self.end(id, search, result, true, notes),
                // Its time ran out while nobody looked: no further questions.
                Step::Open { found, .. } if now >= search.wakes() => {
                    return self.end(id, search, found.in_time(), false, notes);
                }
                Step::Open { questions, found } => (questions, found),
            };
            let mut refused = false;
            for (name, kind) in questions {
                if !self.ask(now, id, &mut search, &name, kind) {
                    refused = true;
                    let failure = Contents::Failed(QueryFailure::Busy);
                    let set = RrSet {
                        contents: failure,
                        ttl: Duration::ZERO,
                        expires: now,
                        authenticated: false,
                        aliases: Vec::new(),
                    };
                    search.known.push(Asked { name, kind, found: Arc::new(set), cached: false });
                }
            }
            // With the refusals known it may have come to its end.
            if refused {
                continue;
            }
            self.due.remove(&(search.wakes(), Due::Lookup(id)));
            if !found.is_empty() && search.patience.is_none() {
                search.patience = Some(now + self.settings.patience);
            }
            self.due.insert((search.wakes(), Due::Lookup(id)));
            self.searches.insert(id, search);
            return;
        }
    }

    fn survey(&mut self, now: Instant, search: &mut Search) -> (Step, Vec<Note>) {
        let Search { wanted, seed, known, .. } = search;
        let cache = &mut self.cache;
        let known = |name: &Name, kind| {
            if let Some(asked) = known.iter().find(|asked| asked.kind == kind && asked.name == *name) {
                return Some(Arc::clone(&asked.found));
            }
            let key = (name.clone(), kind);
            let found = cache.get(now, &key)?;
            // Held, so that it does not run out half-way.
            known.push(Asked { name: key.0, kind, found: Arc::clone(&found), cached: true });
            Some(found)
        };
        match wanted {
            Wanted::Targets(request) => {
                let settings = &self.settings;
                let (open, notes) = (Vec::new(), Vec::new());
                let mut survey = Survey { request, settings, seed: *seed, known, open, notes };
                let step = match survey.run() {
                    Progress::Open { questions, targets } => Step::Open { questions, found: Found::Targets(targets) },
                    Progress::Done(result) => Step::Done(result.map(Found::Targets)),
                };
                (step, survey.notes)
            }
            Wanted::Addresses(request) => {
                let mut survey = NumberSurvey::new(request, known);
                let result = survey.run();
                let found = Found::Addresses(survey.found);
                let step = match survey.open.is_empty() {
                    true => Step::Done(result.map(|()| found)),
                    false => Step::Open { questions: survey.open, found },
                };
                (step, survey.notes)
            }
        }
    }

    /// Joins a question that is on its way, or sends one. `false`: there is no room.
    fn ask(&mut self, now: Instant, id: LookupId, search: &mut Search, name: &Name, kind: RecordType) -> bool {
        let key = (name.clone(), kind);
        if let Some(flight) = self.by_key.get(&key).and_then(|query| self.flights.get_mut(query)) {
            if !flight.waiting.contains(&id) {
                flight.waiting.push(id);
            }
            return true;
        }
        if self.flights.len() >= self.settings.queries || search.questions >= self.settings.queries_per_lookup {
            return false;
        }
        search.questions += 1;
        let flight = Flight {
            key,
            aliases: Vec::new(),
            ttl: self.settings.max_ttl,
            authenticated: true,
            deadline: now + self.settings.query_timeout,
            waiting: vec![id],
        };
        self.send(name.clone(), flight);
        true
    }

    fn send(&mut self, name: Name, flight: Flight) {
        let id = QueryId(self.next_query);
        self.next_query += 1;
        self.counters.queries += 1;
        self.by_key.insert(flight.key.clone(), id);
        self.due.insert((flight.deadline, Due::Query(id)));
        self.queries.push_back(Query { id, name, kind: flight.key.1, deadline: flight.deadline });
        self.flights.insert(id, flight);
    }

    fn answered(&mut self, now: Instant, mut flight: Flight, answer: Answer) {
        self.by_key.remove(&flight.key);
        let bounds = TtlBounds {
            max: self.settings.max_ttl,
            max_negative: self.settings.max_negative_ttl,
            failure: self.settings.failure_ttl,
        };
        let asked = flight.aliases.last().unwrap_or(&flight.key.0).clone();
        let found = match record::read(now, &asked, flight.key.1, answer, std::mem::take(&mut flight.aliases), &bounds)
        {
            Reading::Alias { aliases, ttl, authenticated } => {
                let next = aliases.last().cloned().unwrap_or(asked);
                let ttl = ttl.min(flight.ttl);
                let authenticated = authenticated && flight.authenticated;
                return self.send(next, Flight { aliases, ttl, authenticated, ..flight });
            }
            Reading::Done(found) => {
                let ttl = found.ttl.min(flight.ttl);
                RrSet { ttl, expires: now + ttl, authenticated: found.authenticated && flight.authenticated, ..found }
            }
        };
        let found = Arc::new(found);
        self.cache.insert(flight.key.clone(), Arc::clone(&found));
        for id in flight.waiting {
            let Some(mut search) = self.searches.remove(&id) else { continue };
            let (name, kind) = flight.key.clone();
            search.known.push(Asked { name, kind, found: Arc::clone(&found), cached: false });
            self.advance(now, id, search);
        }
    }

    /// Its time is over: what was found counts.
    fn settle(&mut self, now: Instant, id: LookupId, mut search: Search) {
        let (progress, notes) = self.survey(now, &mut search);
        let (result, complete) = match progress {
            Step::Done(result) => (result, true),
            Step::Open { found, .. } => (found.in_time(), false),
        };
        self.end(id, search, result, complete, notes);
    }

    fn end(
        &mut self,
        id: LookupId,
        search: Search,
        result: Result<Found, LocateError>,
        complete: bool,
        notes: Vec<Note>,
    ) {
        self.due.remove(&(search.wakes(), Due::Lookup(id)));
        let trace = Trace { asked: search.known, notes };
        match search.wanted {
            Wanted::Targets(_) => {
                let result = result.map(|found| Targets { left: found.targets().into(), complete });
                self.located.push_back(Located { id, result, trace });
            }
            Wanted::Addresses(_) => {
                self.resolved.push_back(Resolved { id, result: result.map(Found::addresses), trace });
            }
        }
    }
}

impl Search {
    fn wakes(&self) -> Instant {
        self.patience.map_or(self.deadline, |patience| patience.min(self.deadline))
    }
}

impl Found {
    fn is_empty(&self) -> bool {
        match self {
            Found::Targets(targets) => targets.is_empty(),
            Found::Addresses(addresses) => addresses.is_empty(),
        }
    }

    /// What a look-up has when its time is over.
    fn in_time(self) -> Result<Found, LocateError> {
        if self.is_empty() { Err(LocateError::TooLate) } else { Ok(self) }
    }

    fn targets(self) -> Vec<Target> {
        match self {
            Found::Targets(targets) => targets,
            Found::Addresses(_) => Vec::new(),
        }
    }

    fn addresses(self) -> Vec<NumberAddress> {
        match self {
            Found::Addresses(addresses) => addresses,
            Found::Targets(_) => Vec::new(),
        }
    }
}
