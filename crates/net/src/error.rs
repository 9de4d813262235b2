//! Why the edge does not start, or does not answer. All of these are for the operator.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use ringfort_sip::flow::Transport;

/// The edge could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {transport} {address}: {source}")]
    Listen { transport: Transport, address: SocketAddr, source: io::Error },
    #[error("{0} is not a transport of this build: expected UDP, TCP or TLS")]
    Transport(Transport),
    #[error("media addresses: expected at most one IPv4 and one IPv6 address, got {0}")]
    MediaAddresses(usize),
    #[error("the kernel gave no {what}: {source}")]
    Kernel { what: &'static str, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Certificates and keys.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("a TLS listener needs a certificate, and none is configured")]
    NoCertificate,
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{}: expected {expected}, got {got}", path.display())]
    Pem { path: PathBuf, expected: &'static str, got: String },
    #[error("{} and {} do not go together: {why}", chain.display(), key.display())]
    Pair { chain: PathBuf, key: PathBuf, why: String },
    #[error("making the self-signed certificate failed: {0}")]
    Make(String),
    #[error("TLS configuration: {0}")]
    Config(String),
}

/// A request to the running edge was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    #[error("too many commands are waiting: try again")]
    Busy,
    #[error("no answer within {0} seconds")]
    NoAnswer(u64),
    #[error("the system has stopped")]
    Stopped,
}
