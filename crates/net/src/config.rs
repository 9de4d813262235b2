//! What the edge is told at start: listeners, limits of connections, TLS, media addresses. The binary makes it from
//! `ringfort.toml`; every bound and time that sockets obey stands here with its default.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ringfort_guard::RateConfig;
use ringfort_media::relay::RelayConfig;
use ringfort_sip::flow::Transport;
use ringfort_sip::message::Limits;

use crate::dns::DnsConfig;
use crate::stir::FetchConfig;

/// Everything of the node that sockets and threads need.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// A listener's place in this list is its `ListenerId`.
    pub listeners: Vec<ListenerConfig>,
    /// Bounds of a SIP message.
    pub limits: Limits,
    pub rate: RateConfig,
    pub connections: ConnectionLimits,
    pub tls: TlsConfig,
    pub media: MediaThreadConfig,
    pub dns: DnsConfig,
    /// How certificates of signed calls are fetched.
    pub stir: FetchConfig,
    /// Wanted size of the socket buffers of each UDP socket, octets. The kernel may allow less: see `checks`.
    pub socket_buffer: usize,
    /// Operators' commands that may wait for the shard; one more is refused.
    pub commands: usize,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            limits: Limits::default(),
            rate: RateConfig::default(),
            connections: ConnectionLimits::default(),
            tls: TlsConfig::default(),
            media: MediaThreadConfig::default(),
            dns: DnsConfig::default(),
            stir: FetchConfig::default(),
            socket_buffer: 4 << 20,
            commands: 256,
        }
    }
}

/// One address to listen on. UDP, TCP and TLS; port 0 takes any free port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    pub transport: Transport,
    pub bind: SocketAddr,
}

/// Bounds of TCP and TLS connections. A connection is a stranger's until the core knows a registered phone or a live
/// dialog at its other end; those that we opened are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    pub all: usize,
    /// Strangers in all: a new one closes the oldest.
    pub strangers: usize,
    /// Strangers of one source (IPv4 address, IPv6 /64); a new one is closed at once. Loopback is exempt.
    pub strangers_per_source: usize,
    /// From accepting to the first complete message, the TLS handshake included (half-open limit).
    pub first_message: Duration,
    /// Connecting, the TLS handshake included.
    pub connect: Duration,
    /// A stranger's connection that says nothing.
    pub stranger_idle: Duration,
    /// Any other connection that says nothing.
    pub idle: Duration,
    /// Octets that may wait to be sent on one connection; more fails that message.
    pub write_queue: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            all: 20_000,
            strangers: 2_000,
            strangers_per_source: 64,
            first_message: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            stranger_idle: Duration::from_secs(60),
            idle: Duration::from_secs(65 * 60),
            write_queue: 1 << 20,
        }
    }
}

/// TLS on SIP (RFC 5922).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Needed where a listener speaks TLS.
    pub certificate: Option<CertificateSource>,
    pub clients: ClientAuth,
    /// How servers that we connect to are checked, unless `targets` says otherwise.
    pub servers: PeerCheck,
    /// By server name, lower case.
    pub targets: BTreeMap<String, PeerCheck>,
    /// How often the certificate files are looked at for a change; zero: only on command.
    pub reload_every: Duration,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            certificate: None,
            clients: ClientAuth::Off,
            servers: PeerCheck::Verify { ca_file: None, wildcards: false },
            targets: BTreeMap::new(),
            reload_every: Duration::from_secs(30),
        }
    }
}

/// Where our own certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// Made at first start and kept as `self-signed.crt` and `self-signed.key` (mode 0600) in `dir`.
    SelfSigned { dir: PathBuf, domains: Vec<String>, addresses: Vec<IpAddr> },
    /// PEM files; the chain starts with our own certificate.
    Files { chain: PathBuf, key: PathBuf },
}

/// Whether clients of our TLS listeners show a certificate (mutual TLS).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    #[default]
    Off,
    /// One that is shown must be issued by this CA.
    Optional {
        ca_file: PathBuf,
    },
    Required {
        ca_file: PathBuf,
    },
}

/// How the certificate of a server is checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerCheck {
    /// Encrypted, but to whom is not known.
    Off,
    /// Chain and name. `ca_file`: PEM; `None`: the roots of the public web. `wildcards`: take `*.example.net`, which
    /// RFC 5922 §7.2 forbids and some carriers use.
    Verify { ca_file: Option<PathBuf>, wildcards: bool },
}

/// Media sockets and their thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaThreadConfig {
    /// Local addresses of the ports, at most one of each family.
    pub bind: Vec<IpAddr>,
    /// Commands and events that may wait between the shard and the media thread.
    pub queue: usize,
    /// Wanted size of each media socket's buffers, octets: some 20 ms of all its streams, not more, or an overloaded
    /// machine queues seconds of audio before it loses a packet.
    pub socket_buffer: usize,
    /// Pause between passes while traffic is heavy, so that batches fill; zero: never.
    pub pause: Duration,
    /// Checks and intervals of the packet path.
    pub relay: RelayConfig,
}

impl Default for MediaThreadConfig {
    fn default() -> Self {
        Self {
            bind: vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
            queue: 4096,
            socket_buffer: 1 << 20,
            pause: Duration::from_micros(1000),
            relay: RelayConfig::default(),
        }
    }
}
