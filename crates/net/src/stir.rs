//! Certificates of signed calls at the edge: a few threads that take [`Query`]s of `ringfort_stir::verify` and give what came
//! of them back. Who sends a call chooses the URL, so this fetches from public addresses only, in bounded time and size, and
//! follows two redirects at the most. [`StirClient`] waits for the answer: for the command line.

mod http;
mod url;

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ringfort_sip::advertise::is_inside;
use ringfort_stir::{Event, Fetch, FetchFailure, Now, Query, QueryId, Question, UnixTime, Verdict, Verifier};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::ServerName;

use crate::error::TlsError;
use crate::link::Asker;
use crate::tls::roots_of;
use http::Deadlined;
use url::Url;

/// RFC 8226 §7; more is a loop, or somebody who lets us run errands.
const MAX_REDIRECTS: u32 = 2;
/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;

/// From where, how many at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchConfig {
    /// Authorities of web servers in PEM form; without it the ones that browsers trust. Not the trust anchors of signed calls.
    pub ca_file: Option<PathBuf>,
    /// Loopback, private and link-local addresses too. For laboratories: a caller may then make us ask our own servers.
    pub allow_private: bool,
    /// `http` URLs too. For laboratories.
    pub allow_http: bool,
    /// Fetches at once.
    pub threads: usize,
    /// Those that wait; more are answered [`FetchFailure::Busy`].
    pub waiting: usize,
}

impl Default for FetchConfig {
    fn default() -> Self {
        FetchConfig { ca_file: None, allow_private: false, allow_http: false, threads: 4, waiting: 64 }
    }
}

/// Certificates cannot be fetched. For the operator.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("a thread to fetch certificates did not start: {0}")]
    Thread(io::Error),
}

/// The threads that fetch. They end when this is dropped, each after what it has begun.
#[derive(Debug)]
pub struct Fetcher {
    queries: SyncSender<Query>,
    answer: Arc<Callback>,
}

struct Callback(Box<dyn Fn(QueryId, Fetch) + Send + Sync>);

impl std::fmt::Debug for Callback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Callback")
    }
}

impl Fetcher {
    /// `answer` is called once for each query, from one of the threads or from the one that asks; it must not block.
    ///
    /// # Errors
    /// The file of authorities, or no threads.
    pub fn start(
        config: &FetchConfig,
        answer: impl Fn(QueryId, Fetch) + Send + Sync + 'static,
    ) -> Result<Fetcher, FetchError> {
        let web = Arc::new(Web::new(config)?);
        let answer = Arc::new(Callback(Box::new(answer)));
        let (queries, waiting) = sync_channel(config.waiting.max(1));
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..config.threads.max(1) {
            let (web, waiting, answer) = (Arc::clone(&web), Arc::clone(&waiting), Arc::clone(&answer));
            thread::Builder::new()
                .name("stir".into())
                .spawn(move || serve(&web, &waiting, &answer))
                .map_err(FetchError::Thread)?;
        }
        Ok(Fetcher { queries, answer })
    }

    /// Asks. Never blocks: where too many wait, the answer says so at once.
    pub fn ask(&self, query: Query) {
        if let Err(TrySendError::Full(query) | TrySendError::Disconnected(query)) = self.queries.try_send(query) {
            (self.answer.0)(query.id, Fetch::Failed(FetchFailure::Busy));
        }
    }
}

impl Asker for Fetcher {
    type Config = FetchConfig;
    type Query = Query;
    type Answer = (QueryId, Fetch);
    const RULE: &'static str = "stir.fetch";
    const TROUBLE: &'static str = "certificates cannot be fetched";

    fn start(
        config: &FetchConfig,
        answer: impl Fn((QueryId, Fetch)) + Send + Sync + 'static,
    ) -> Result<Self, impl Display> {
        Fetcher::start(config, move |id, fetch| answer((id, fetch)))
    }

    fn ask(&self, query: Query) {
        Fetcher::ask(self, query);
    }

    fn nobody(query: Query) -> (QueryId, Fetch) {
        (query.id, Fetch::Failed(FetchFailure::Busy))
    }
}

fn serve(web: &Web, waiting: &Mutex<Receiver<Query>>, answer: &Callback) {
    loop {
        // One thread waits at the queue, the others at its lock.
        let query = match waiting.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(query) = query else { return };
        let fetch = match web.fetch(&query.url, query.deadline) {
            Ok((bytes, max_age)) => Fetch::Body { bytes, max_age },
            Err(failure) => {
                tracing::debug!(target: "ringfort_net::stir", url = %query.url, %failure, "no certificate");
                Fetch::Failed(failure)
            }
        };
        (answer.0)(query.id, fetch);
    }
}

/// Fetches and waits.
#[derive(Debug)]
pub struct StirClient {
    web: Web,
}

impl StirClient {
    /// # Errors
    /// The file of authorities.
    pub fn new(config: &FetchConfig) -> Result<StirClient, FetchError> {
        Ok(StirClient { web: Web::new(config)? })
    }

    /// Runs one verification to its end.
    pub fn verify(&self, verifier: &mut Verifier, question: &Question<'_>) -> Verdict {
        self.verify_at(verifier, now().unix, question)
    }

    /// The same as if it were another day.
    pub fn verify_at(&self, verifier: &mut Verifier, unix: UnixTime, question: &Question<'_>) -> Verdict {
        let moment = || Now { unix, ..now() };
        let id = verifier.handle_question(moment(), question);
        loop {
            while let Some(query) = verifier.poll_query() {
                let fetch = match self.web.fetch(&query.url, query.deadline) {
                    Ok((bytes, max_age)) => Fetch::Body { bytes, max_age },
                    Err(failure) => Fetch::Failed(failure),
                };
                verifier.handle_fetched(moment(), query.id, fetch);
            }
            // Each query has been answered by now, so that there is a verdict.
            verifier.handle_timeout(moment());
            while let Some(event) = verifier.poll_event() {
                match event {
                    Event::Verdict { id: of, verdict } if of == id => return verdict,
                    Event::Verdict { .. } | Event::Card { .. } => {}
                }
            }
        }
    }
}

/// The moment, of both clocks.
#[allow(clippy::disallowed_methods, reason = "the edge of the system")]
pub fn now() -> Now {
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Now { instant: Instant::now(), unix: UnixTime(unix) }
}

/// What fetching needs and keeps between fetches.
#[derive(Debug)]
struct Web {
    tls: Arc<ClientConfig>,
    allow_private: bool,
    allow_http: bool,
}

impl Web {
    fn new(config: &FetchConfig) -> Result<Web, FetchError> {
        let roots = match &config.ca_file {
            Some(file) => roots_of(file)?,
            None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        };
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Config(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Web { tls: Arc::new(tls), allow_private: config.allow_private, allow_http: config.allow_http })
    }

    /// The body, and how long it may be kept.
    fn fetch(&self, url: &str, deadline: Instant) -> Result<(Vec<u8>, Option<Duration>), FetchFailure> {
        let refused = |url: &str| FetchFailure::Refused(url.chars().take(200).collect());
        let mut url = Url::parse(url).ok_or_else(|| refused(url))?;
        let mut redirects = 0;
        loop {
            if !url.https && !self.allow_http {
                return Err(refused(&url.to_string()));
            }
            let response = self.get(&url, deadline)?;
            match response.status {
                200 => return Ok(response.body()),
                301 | 302 | 303 | 307 | 308 if redirects < MAX_REDIRECTS => {
                    let location = response.location.ok_or_else(|| FetchFailure::Protocol("no Location".into()))?;
                    url = url.join(&location).ok_or_else(|| refused(&location))?;
                    redirects += 1;
                }
                status => return Err(FetchFailure::Status(status)),
            }
        }
    }

    fn get(&self, url: &Url, deadline: Instant) -> Result<http::Response, FetchFailure> {
        // One that waited too long for a thread is not begun.
        if now().instant >= deadline {
            return Err(FetchFailure::Timeout);
        }
        let mut last = FetchFailure::Connect(format!("{} has no address", url.host));
        for address in self.addresses(url)?.into_iter().take(MAX_ADDRESSES) {
            let left = deadline.saturating_duration_since(now().instant);
            if left.is_zero() {
                return Err(FetchFailure::Timeout);
            }
            // One address that is silent leaves time for the next.
            match TcpStream::connect_timeout(&address, left.min(Duration::from_secs(2))) {
                Ok(stream) => return self.exchange(url, Deadlined::new(stream, deadline)),
                Err(error) => last = FetchFailure::Connect(error.to_string()),
            }
        }
        Err(last)
    }

    /// Those that may be asked. The connection goes to one of these very addresses: a name that resolves to another one a
    /// moment later gains nothing.
    fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, FetchFailure> {
        let found: Vec<SocketAddr> = (url.host.as_str(), url.port)
            .to_socket_addrs()
            .map_err(|error| FetchFailure::Connect(format!("{}: {error}", url.host)))?
            .collect();
        let allowed: Vec<SocketAddr> =
            found.iter().copied().filter(|address| self.allow_private || is_public(address.ip())).collect();
        match found.first() {
            Some(address) if allowed.is_empty() => Err(FetchFailure::Refused(address.ip().to_string())),
            _ => Ok(allowed),
        }
    }

    fn exchange(&self, url: &Url, stream: Deadlined) -> Result<http::Response, FetchFailure> {
        if !url.https {
            return http::exchange(stream, url);
        }
        let name = ServerName::try_from(url.host.clone())
            .map_err(|_| FetchFailure::Connect(format!("{} is no name of a server", url.host)))?;
        let connection = ClientConnection::new(Arc::clone(&self.tls), name)
            .map_err(|error| FetchFailure::Connect(error.to_string()))?;
        http::exchange(StreamOwned::new(connection, stream), url)
    }
}

/// Whether an address belongs to the Internet, as far as its number tells.
fn is_public(address: IpAddr) -> bool {
    let address = address.to_canonical();
    if is_inside(address) || address.is_unspecified() || address.is_multicast() {
        return false;
    }
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            // "This network", shared (RFC 6598), protocol assignments, benchmarks, reserved and broadcast.
            !(a == 0
                || (a == 100 && b & 0xc0 == 64)
                || (a, b, c) == (192, 0, 0)
                || (a == 198 && b & 0xfe == 18)
                || a >= 240)
        }
        IpAddr::V6(v6) => match v6.segments() {
            // Within these an IPv4 address is what is reached: NAT64 (RFC 6052), 6to4, and the old ::a.b.c.d.
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] | [0, 0, 0, 0, 0, 0, high, low] => {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                is_public(IpAddr::from([a, b, c, d]))
            }
            // Local NAT64 and site-local of old.
            [0x64, 0xff9b, 1, ..] => false,
            [first, ..] => first & 0xffc0 != 0xfec0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_of_the_internet_are_refused() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "fe80::1",
            "fec0::1",
            "fd00::1",
            "ff02::1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["8.8.8.8", "100.128.0.1", "198.20.0.1", "2001:4860::1", "64:ff9b::808:808", "2002:808:808::"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn private_addresses_and_plain_http_are_refused_before_anything_is_sent() {
        let client = StirClient::new(&FetchConfig::default()).unwrap();
        let deadline = now().instant + Duration::from_secs(5);
        for (url, told) in [
            ("https://127.0.0.1:1/c.pem", "127.0.0.1"),
            ("https://[::1]/c.pem", "::1"),
            ("https://[::ffff:169.254.169.254]/latest", "169.254.169.254"),
            ("http://example.com/c.pem", "http://example.com/c.pem"),
            ("ftp://example.com/c.pem", "ftp://example.com/c.pem"),
        ] {
            let Err(FetchFailure::Refused(words)) = client.web.fetch(url, deadline) else {
                panic!("{url} was fetched")
            };
            assert!(words.contains(told), "{url}: {words}");
        }
    }

    #[test]
    fn where_too_many_wait_the_answer_comes_at_once() {
        let (sender, answers) = std::sync::mpsc::channel();
        let config = FetchConfig { threads: 1, waiting: 1, ..FetchConfig::default() };
        let fetcher = Fetcher::start(&config, move |id, fetch| sender.send((id, fetch)).unwrap()).unwrap();
        for id in 0..50 {
            let deadline = now().instant + Duration::from_secs(5);
            fetcher.ask(Query { id: QueryId(id), url: "https://127.0.0.1/".into(), deadline });
        }
        let mut seen: Vec<u64> = (0..50)
            .map(|_| {
                let (id, fetch) = answers.recv_timeout(Duration::from_secs(10)).unwrap();
                assert!(matches!(fetch, Fetch::Failed(FetchFailure::Busy | FetchFailure::Refused(_))), "{fetch:?}");
                id.0
            })
            .collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..50), "each gets one answer");
    }
}
