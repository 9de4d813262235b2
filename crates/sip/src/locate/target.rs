//! What comes out: targets in order with the records that led to them, and what was asked on the way.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::name::Name;
use super::order::SkippedRule;
use super::record::{Naptr, QueryFailure, RecordType, RrSet, Srv};
use crate::flow::{self, ListenerId, Transport};

/// One place to send a request to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub transport: Transport,
    pub address: SocketAddr,
    /// Whom the peer's certificate has to be for, where the transport has one: the domain that was asked for, not the
    /// name in an SRV record, which whoever forges an answer chooses (RFC 5922 §4). `None` also where the URI has an
    /// address: then the certificate has to be for the address.
    pub server_name: Option<Arc<str>>,
    pub why: Why,
    /// When the first of the records that led here runs out. A URI with an address: never (`None`).
    pub expires: Option<Instant>,
    /// All records that led here are vouched for by DNSSEC.
    pub authenticated: bool,
}

impl Target {
    /// For the writer of a request: by which listener of ours it goes out is the caller's to say.
    pub fn flow(&self, listener: ListenerId) -> flow::Target {
        flow::Target::Connect {
            transport: self.transport,
            listener,
            remote: self.address,
            server_name: self.server_name.clone(),
        }
    }
}

/// The records that led to a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Why {
    pub naptr: Option<Arc<Naptr>>,
    /// The name that the SRV record stands at, and the record.
    pub srv: Option<(Name, Arc<Srv>)>,
    /// The host that the address is of; `None` where the URI has an address itself.
    pub host: Option<Name>,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(naptr) = &self.naptr {
            write!(f, "NAPTR {} {} {} → ", naptr.order, naptr.preference, naptr.services)?;
        }
        if let Some((name, srv)) = &self.srv {
            write!(f, "SRV {name} {} {} {} → ", srv.priority, srv.weight, srv.port)?;
        }
        match &self.host {
            Some(host) => write!(f, "address of {host}"),
            None => f.write_str("address in the URI"),
        }
    }
}

/// The targets of one look-up, while they are tried. [`Locator::next_target`](super::Locator::next_target) takes the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    pub(super) left: VecDeque<Target>,
    /// Whether all answers had come; else some came too late to be waited for.
    pub complete: bool,
}

impl Targets {
    /// Those that were not taken yet, in their order.
    pub fn left(&self) -> impl ExactSizeIterator<Item = &Target> {
        self.left.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }
}

/// What became of a request at a target (RFC 3263 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Anything but 503: the target lives, and its answer counts.
    Answered,
    /// 503 (Service Unavailable), with the Retry-After of the answer where it had one.
    Unavailable { retry_after: Option<Duration> },
    /// The connection failed, or ICMP said that nobody is there.
    TransportError,
    /// Timer B or F fired without any answer.
    TimedOut,
}

impl Attempt {
    /// Whether the next target is to be tried.
    pub const fn is_failure(self) -> bool {
        !matches!(self, Attempt::Answered)
    }

    /// By the status of a final answer.
    pub const fn of_status(status: u16, retry_after: Option<Duration>) -> Attempt {
        match status {
            503 => Attempt::Unavailable { retry_after },
            _ => Attempt::Answered,
        }
    }
}

/// Why there is no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocateError {
    #[error("none of our transports is allowed for it")]
    NoTransport,
    #[error("the domain says that it has no such service (SRV target \".\", RFC 2782)")]
    NoService,
    #[error("the name does not exist")]
    NoSuchName,
    #[error("the name has no address")]
    NoAddress,
    #[error("no rule leads to a SIP address")]
    NoRule,
    #[error("the DNS gave no answer: {0}")]
    Unanswered(QueryFailure),
    #[error("no target was found in time")]
    TooLate,
    #[error("too many look-ups at once")]
    Busy,
}

impl LocateError {
    /// Whether a later look-up may do better: then the caller gets 503 or 480 rather than 404 (RFC 3261 §16.6 item 7 leaves
    /// the choice; the domain itself is fine).
    pub const fn is_temporary(self) -> bool {
        match self {
            LocateError::Unanswered(_) | LocateError::TooLate | LocateError::Busy => true,
            LocateError::NoTransport
            | LocateError::NoService
            | LocateError::NoSuchName
            | LocateError::NoAddress
            | LocateError::NoRule => false,
        }
    }
}

/// One question of a look-up and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub name: Name,
    pub kind: RecordType,
    pub found: Arc<RrSet>,
    /// It was known already.
    pub cached: bool,
}

/// Something that somebody who looks for a mistake wants to know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    #[error("maddr in the URI is not followed")]
    MaddrIgnored,
    #[error("NAPTR {} {} {:?} is left out: {why}", .naptr.order, .naptr.preference, .naptr.services)]
    RuleSkipped { naptr: Arc<Naptr>, why: SkippedRule },
    #[error("no answer about NAPTR records ({0}): went on as if there were none")]
    NaptrUnanswered(QueryFailure),
    #[error("no answer about SRV records of {name} ({failure}): left out")]
    SrvUnanswered { name: Name, failure: QueryFailure },
    #[error("NAPTR leads to {0}, which has no SRV records")]
    NoSrvBehindNaptr(Name),
    #[error("{0} says that there is no such service (SRV target \".\")")]
    NoService(Name),
    #[error("the SRV target {0} is an alias (CNAME), which RFC 2782 forbids; followed all the same")]
    TargetIsAlias(Name),
    #[error("{0} has no address")]
    NoAddress(Name),
    #[error("no answer about an address of {name} ({failure})")]
    AddressUnanswered { name: Name, failure: QueryFailure },
    #[error("more than {0} hosts or targets: the rest is left out")]
    TooMany(usize),
}

/// How a look-up came to its result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    pub asked: Vec<Asked>,
    pub notes: Vec<Note>,
}
