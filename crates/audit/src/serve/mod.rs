//! Sites over HTTP/1.1, with TLS or without: what a view answers to programs and shows to people. A site is a pure function of
//! requests; sockets, limits and time are here. Listens on loopback unless told otherwise.

mod connection;
pub mod kubesec;
mod metrics;
pub mod rescan;
pub mod scanned;
mod tls;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

pub use metrics::Metrics;

/// Where and how to listen.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Address and port.
    pub listen: SocketAddr,
    /// Certificate and key; without them plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The largest body, in bytes.
    pub body_bytes: usize,
    /// Connections at once; more wait.
    pub connections: usize,
    /// For the head of a request, for its body, for a handshake, and for the next request of a connection.
    pub patience: Duration,
    /// How long a connection may serve requests.
    pub lifetime: Duration,
}

impl ServeOptions {
    /// Plain HTTP with the limits of the command line.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            tls: None,
            body_bytes: 4 << 20,
            connections: 128,
            patience: Duration::from_secs(10),
            lifetime: Duration::from_secs(300),
        }
    }
}

/// PEM files; they are read again when they change.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate and those between it and the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// Certificate or key cannot be read or do not belong together.
    #[error("{path}: {why}")]
    Tls {
        /// Which file.
        path: String,
        /// Why.
        why: String,
    },
    /// No threads, no sockets.
    #[error("cannot serve: {0}")]
    Io(#[from] io::Error),
}

/// A request, read to its end.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Without its query.
    pub path: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// `GET` and `HEAD`; the connection leaves the body of the latter's answer out.
    pub fn is_get(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD")
    }
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Which of the site's routes it was, for figures.
    pub route: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Of the body.
    pub content_type: &'static str,
    /// Where to go instead.
    pub location: Option<&'static str>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A body with its type.
    pub fn new(route: &'static str, status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { route, status, content_type, location: None, body: body.into() }
    }

    /// Words for people.
    pub fn text(route: &'static str, status: u16, words: &str) -> Self {
        Self::new(route, status, "text/plain; charset=utf-8", format!("{words}\n"))
    }

    /// JSON.
    pub fn json(route: &'static str, status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(route, status, "application/json", body)
    }

    /// A page that asks nothing of the network.
    pub fn page(route: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self::new(route, 200, "text/html; charset=utf-8", body)
    }

    /// Nothing to say.
    pub fn empty(route: &'static str) -> Self {
        Self::new(route, 204, "text/plain; charset=utf-8", "")
    }

    /// See other.
    pub fn elsewhere(route: &'static str, location: &'static str) -> Self {
        Self { location: Some(location), ..Self::text(route, 303, location) }
    }
}

/// A site: requests in, answers out. It is asked by several threads at once.
pub trait Site: Send + Sync {
    /// What comes back for a request.
    fn answer(&self, request: &Request) -> Answer;
    /// Lines for `/metrics` beside those of the server.
    fn metrics(&self, out: &mut String);
}

/// A socket that listens.
#[derive(Debug)]
pub struct Server {
    options: ServeOptions,
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<tls::Acceptor>,
}

impl Server {
    /// Takes the address and reads the certificate.
    ///
    /// # Errors
    /// The address is taken, or the files are no good.
    pub fn bind(options: ServeOptions) -> Result<Self, ServeError> {
        let tls = options.tls.clone().map(tls::Acceptor::load).transpose()?;
        let failed = |error| ServeError::Listen { address: options.listen, error };
        let listener = TcpListener::bind(options.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { options, listener, address, tls })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("{}://{}/", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// Serves until `stop` comes; requests under way get an answer. `tell` hears what an operator should know.
    ///
    /// # Errors
    /// No runtime could be made.
    pub fn run(self, site: Arc<dyn Site>, stop: impl Future<Output = ()>, tell: fn(&str)) -> Result<(), ServeError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
        runtime.block_on(self.serve(site, stop, tell))?;
        // A judgement that is still under way may end with the process.
        runtime.shutdown_background();
        Ok(())
    }

    async fn serve(
        mut self,
        site: Arc<dyn Site>,
        stop: impl Future<Output = ()>,
        tell: fn(&str),
    ) -> Result<(), ServeError> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let slots = Arc::new(Semaphore::new(self.options.connections));
        let (ending, ended) = watch::channel(false);
        let shared = Arc::new(connection::Shared {
            site,
            metrics: Metrics::default(),
            loopback: self.address.ip().is_loopback(),
            options: self.options,
        });
        tokio::pin!(stop);
        loop {
            let slot = tokio::select! {
                slot = slots.clone().acquire_owned() => slot.expect("the semaphore is never closed"),
                () = &mut stop => break,
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stop => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                // Out of file descriptors: it passes, and spinning would not help.
                Err(error) => {
                    tell(&format!("a connection was not accepted: {error}"));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let acceptor = self.tls.as_mut().map(|tls| tls.current(tell));
            let (shared, ended) = (shared.clone(), ended.clone());
            tokio::spawn(async move {
                connection::serve(stream, acceptor, shared, ended).await;
                drop(slot);
            });
        }
        drop(listener);
        // Whoever is being answered holds a slot.
        let _ = ending.send(true);
        let all = slots.acquire_many(u32::try_from(shared.options.connections).unwrap_or(u32::MAX));
        let _ = tokio::time::timeout(shared.options.patience, all).await;
        Ok(())
    }
}

/// Comes when the process is asked to end (SIGTERM, SIGINT).
pub async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
