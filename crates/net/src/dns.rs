//! The DNS at the edge: a thread that takes [`Query`]s of `sip::locate` and gives their [`Answer`]s back. What is remembered,
//! followed and preferred is decided there; here is asked, with bounded time, retries and questions at once.
//! [`DnsClient`] waits for the answers: for the command line, which has nothing else to do.

mod hickory;

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use ringfort_sip::locate::{
    Answer, Located, Locator, Name, NumberRequest, Query, QueryFailure, QueryId, RecordType, Request, Resolved,
};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::error::TrySendError;

use crate::link::Asker;
pub use hickory::SystemResolver;

/// Whom to ask, and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// Name servers, asked by UDP and, where an answer is cut off or in doubt, by TCP. Empty: those of the system
    /// (`/etc/resolv.conf`), and `/etc/hosts` before them.
    pub servers: Vec<SocketAddr>,
    /// For one attempt, all servers together.
    pub timeout: Duration,
    /// Attempts altogether.
    pub attempts: usize,
    /// Questions at once; more wait.
    pub at_once: usize,
    /// Questions that wait; more are answered [`QueryFailure::Busy`].
    pub waiting: usize,
}

impl Default for DnsConfig {
    fn default() -> Self {
        DnsConfig {
            servers: Vec::new(),
            timeout: Duration::from_millis(1_500),
            attempts: 2,
            at_once: 256,
            waiting: 4_096,
        }
    }
}

/// The DNS cannot be asked. For the operator.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    #[error(
        "the system's name servers are not known ({0}): expected `nameserver` lines in /etc/resolv.conf, or `servers` in [dns] of ringfort.toml"
    )]
    System(String),
    #[error("the DNS thread did not start: {0}")]
    Thread(io::Error),
}

impl Asker for Dns {
    type Config = DnsConfig;
    type Query = Query;
    type Answer = (QueryId, Answer);
    const RULE: &'static str = "dns";
    const TROUBLE: &'static str = "the DNS cannot be asked";

    fn start(
        config: &DnsConfig,
        answer: impl Fn((QueryId, Answer)) + Send + Sync + 'static,
    ) -> Result<Self, impl Display> {
        Dns::start(config, move |id, given| answer((id, given)))
    }

    fn ask(&self, query: Query) {
        Dns::ask(self, query);
    }

    fn nobody(query: Query) -> (QueryId, Answer) {
        (query.id, Answer::Failed(QueryFailure::Unreachable))
    }
}

/// Somebody who answers questions about the DNS. The real one is [`SystemResolver`].
pub trait Resolver: Send + Sync + 'static {
    /// One question. It may take long: the caller has the deadline.
    fn resolve(&self, name: &Name, kind: RecordType) -> impl Future<Output = Answer> + Send;
}

/// The thread that asks. It ends when this is dropped; questions that are on their way then are not answered.
#[derive(Clone, Debug)]
pub struct Dns {
    queries: tokio::sync::mpsc::Sender<Query>,
    answer: Arc<Callback>,
}

struct Callback(Box<dyn Fn(QueryId, Answer) + Send + Sync>);

impl std::fmt::Debug for Callback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Callback")
    }
}

impl Dns {
    /// Starts it with the real DNS. `answer` is called once for each question, from that thread or from the one that asks;
    /// it must not block.
    ///
    /// # Errors
    /// There are no name servers to ask, or no thread.
    pub fn start(
        config: &DnsConfig,
        answer: impl Fn(QueryId, Answer) + Send + Sync + 'static,
    ) -> Result<Dns, DnsError> {
        let resolver = SystemResolver::new(config)?;
        Dns::with(resolver, config, answer)
    }

    /// The same with another resolver.
    ///
    /// # Errors
    /// No thread.
    pub fn with(
        resolver: impl Resolver,
        config: &DnsConfig,
        answer: impl Fn(QueryId, Answer) + Send + Sync + 'static,
    ) -> Result<Dns, DnsError> {
        let answer = Arc::new(Callback(Box::new(answer)));
        let (queries, waiting) = tokio::sync::mpsc::channel(config.waiting.max(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DnsError::Thread)?;
        let serve = serve(Arc::new(resolver), waiting, Arc::clone(&answer), config.at_once.max(1));
        thread::Builder::new().name("dns".into()).spawn(move || runtime.block_on(serve)).map_err(DnsError::Thread)?;
        Ok(Dns { queries, answer })
    }

    /// Asks. Never blocks: where too many questions wait, the answer says so at once.
    pub fn ask(&self, query: Query) {
        if let Err(TrySendError::Full(query) | TrySendError::Closed(query)) = self.queries.try_send(query) {
            (self.answer.0)(query.id, Answer::Failed(QueryFailure::Busy));
        }
    }
}

async fn serve<R: Resolver>(
    resolver: Arc<R>,
    mut waiting: tokio::sync::mpsc::Receiver<Query>,
    answer: Arc<Callback>,
    at_once: usize,
) {
    let room = Arc::new(Semaphore::new(at_once));
    while let Some(query) = waiting.recv().await {
        // Never closed.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let (resolver, answer) = (Arc::clone(&resolver), Arc::clone(&answer));
        tokio::spawn(async move {
            let resolve = resolver.resolve(&query.name, query.kind);
            let result = tokio::time::timeout_at(query.deadline.into(), resolve).await;
            let result = result.unwrap_or(Answer::Failed(QueryFailure::Timeout));
            tracing::debug!(target: "ringfort_net::dns", name = %query.name, kind = %query.kind, answer = ?result, "answered");
            drop(permit);
            (answer.0)(query.id, result);
        });
    }
}

/// Asks and waits.
#[derive(Debug)]
pub struct DnsClient {
    dns: Dns,
    answers: mpsc::Receiver<(QueryId, Answer)>,
    next: u64,
}

impl DnsClient {
    /// # Errors
    /// As [`Dns::start`].
    pub fn new(config: &DnsConfig) -> Result<DnsClient, DnsError> {
        let (sender, answers) = mpsc::channel();
        let dns = Dns::start(config, move |id, answer| {
            // A client that is gone waits for nothing.
            let _ = sender.send((id, answer));
        })?;
        Ok(DnsClient { dns, answers, next: 0 })
    }

    /// Runs one look-up of a locator to its end.
    pub fn locate(&self, locator: &mut Locator, request: Request) -> Located {
        let id = locator.locate(clock(), request);
        self.drive(locator, |locator| std::iter::from_fn(|| locator.poll_located()).find(|located| located.id == id))
    }

    /// The same for the addresses of a number (ENUM).
    pub fn resolve_number(&self, locator: &mut Locator, request: NumberRequest) -> Resolved {
        let id = locator.resolve_number(clock(), request);
        self.drive(locator, |locator| std::iter::from_fn(|| locator.poll_resolved()).find(|resolved| resolved.id == id))
    }

    fn drive<T>(&self, locator: &mut Locator, end: impl Fn(&mut Locator) -> Option<T>) -> T {
        loop {
            while let Some(query) = locator.poll_query() {
                self.dns.ask(query);
            }
            if let Some(end) = end(locator) {
                return end;
            }
            let wait = locator.poll_timeout().map_or(Duration::ZERO, |at| at.saturating_duration_since(clock()));
            match self.answers.recv_timeout(wait) {
                Ok((query, answer)) => locator.handle_answer(clock(), query, answer),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => locator.handle_timeout(clock()),
            }
        }
    }

    /// Several questions at once; the answers in their order, whatever comes within `within`.
    pub fn ask(&mut self, questions: &[(Name, RecordType)], within: Duration) -> Vec<Answer> {
        let deadline = clock() + within;
        // A number space of its own: a locator counts from 0.
        let first = (1 << 63) | self.next;
        self.next += questions.len() as u64;
        for (id, (name, kind)) in (first..).zip(questions) {
            self.dns.ask(Query { id: QueryId(id), name: name.clone(), kind: *kind, deadline });
        }
        let mut answers: Vec<Option<Answer>> = vec![None; questions.len()];
        // The thread answers at the deadline itself; a moment more, so that its answer is taken.
        let end = deadline + Duration::from_millis(500);
        while answers.iter().any(Option::is_none) {
            match self.answers.recv_timeout(end.saturating_duration_since(clock())) {
                Ok((QueryId(id), answer)) => {
                    let place = id.checked_sub(first).and_then(|at| answers.get_mut(at as usize));
                    if let Some(place) = place {
                        *place = Some(answer);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or(Answer::Failed(QueryFailure::Timeout))).collect()
    }
}

#[allow(clippy::disallowed_methods, reason = "the edge of the system")]
fn clock() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers after a while; `never.example` never.
    struct Slow;

    impl Resolver for Slow {
        async fn resolve(&self, name: &Name, _: RecordType) -> Answer {
            if name.as_str() == "never.example" {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
            Answer::Absent { no_such_name: true, negative_ttl: Some(1), authenticated: false }
        }
    }

    fn query(id: u64, name: &str, millis: u64) -> Query {
        let deadline = clock() + Duration::from_millis(millis);
        Query { id: QueryId(id), name: Name::parse(name).unwrap(), kind: RecordType::A, deadline }
    }

    fn start(config: &DnsConfig) -> (Dns, mpsc::Receiver<(QueryId, Answer)>) {
        let (sender, answers) = mpsc::channel();
        let dns = Dns::with(Slow, config, move |id, answer| sender.send((id, answer)).unwrap()).unwrap();
        (dns, answers)
    }

    #[test]
    fn a_question_without_an_answer_ends_at_its_deadline() {
        let (dns, answers) = start(&DnsConfig::default());
        dns.ask(query(1, "never.example", 120));
        dns.ask(query(2, "quick.example", 5_000));
        let (id, answer) = answers.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(id == QueryId(2) && matches!(answer, Answer::Absent { .. }), "one does not hold up the other");
        let late = answers.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(late, (QueryId(1), Answer::Failed(QueryFailure::Timeout)));
    }

    #[test]
    fn each_question_gets_one_answer_and_those_without_room_get_it_at_once() {
        let config = DnsConfig { at_once: 2, waiting: 8, ..DnsConfig::default() };
        let (dns, answers) = start(&config);
        for id in 0..200 {
            dns.ask(query(id, "quick.example", 5_000));
        }
        let mut seen: Vec<(QueryId, Answer)> =
            (0..200).map(|_| answers.recv_timeout(Duration::from_secs(5)).unwrap()).collect();
        seen.sort_by_key(|(id, _)| *id);
        assert!(seen.iter().map(|(id, _)| id.0).eq(0..200));
        let busy = seen.iter().filter(|(_, answer)| *answer == Answer::Failed(QueryFailure::Busy)).count();
        assert!((100..=192).contains(&busy), "{busy}");
        assert!(answers.recv_timeout(Duration::from_millis(100)).is_err());
    }
}
