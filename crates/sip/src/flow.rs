//! Where a message came from and where one is to go: plain data that `net` gives a meaning to.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

/// A SIP transport (RFC 3261 §18, RFC 7118 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Ws,
    Wss,
}

impl Transport {
    /// The name as it stands in a Via header field, upper case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// The name as it stands in a `transport` URI parameter, lower case. TLS is `tcp` beneath `sips:`, but every
    /// phone in use reads `tls`.
    pub const fn as_param(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        }
    }

    /// Whether the transport itself repeats what is lost, so that transactions need not (RFC 3261 §17).
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// Whether what is sent cannot be read on the way.
    pub const fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    /// The port where none is written (RFC 3261 §19.1.2; RFC 7118 §4.2.2 for WebSocket).
    pub const fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A configured listener, by its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u16);

/// One stream connection. Never reused within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// The path a message came by: enough to answer on it (RFC 3261 §18.2.2, RFC 3581, RFC 5626).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    pub transport: Transport,
    pub listener: ListenerId,
    /// `None` for UDP.
    pub conn: Option<ConnId>,
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// Where to send.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Back along a known flow. A stream that has closed meanwhile is a transport error.
    Flow(Flow),
    /// To an address: a UDP listener sends from its socket; a stream transport reuses an open connection to
    /// `remote` or opens one, and for TLS checks that the peer's certificate is for `server_name` (RFC 5922).
    Connect { transport: Transport, listener: ListenerId, remote: SocketAddr, server_name: Option<Arc<str>> },
}

impl Target {
    pub fn transport(&self) -> Transport {
        match self {
            Target::Flow(flow) => flow.transport,
            Target::Connect { transport, .. } => *transport,
        }
    }

    pub fn listener(&self) -> ListenerId {
        match self {
            Target::Flow(flow) => flow.listener,
            Target::Connect { listener, .. } => *listener,
        }
    }

    pub fn remote(&self) -> SocketAddr {
        match self {
            Target::Flow(flow) => flow.remote,
            Target::Connect { remote, .. } => *remote,
        }
    }
}

/// Names one send, so that its failure can be told to whoever waits for an answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransmitToken(pub u64);

/// One message to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    pub target: Target,
    pub payload: Bytes,
    /// Where set, a failure to send is reported with it; where not, a failure is only counted.
    pub token: Option<TransmitToken>,
}
