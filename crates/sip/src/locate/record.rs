//! What is asked of the DNS and what comes back, and how a raw answer becomes a set of records with a lifetime:
//! aliases followed (RFC 1034 §3.6.2), TTLs (RFC 2181 §5.2), negative answers (RFC 2308).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::name::Name;

/// Types of records that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordType {
    /// RFC 3403.
    Naptr,
    /// RFC 2782.
    Srv,
    A,
    Aaaa,
}

impl RecordType {
    pub const fn as_str(self) -> &'static str {
        match self {
            RecordType::Naptr => "NAPTR",
            RecordType::Srv => "SRV",
            RecordType::A => "A",
            RecordType::Aaaa => "AAAA",
        }
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A rule that leads from a domain to an SRV record (RFC 3403 §4.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Naptr {
    pub order: u16,
    pub preference: u16,
    pub flags: String,
    pub services: String,
    pub regexp: String,
    pub replacement: Name,
}

/// Where a service is (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Srv {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub target: Name,
}

/// The contents of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordData {
    Naptr(Naptr),
    Srv(Srv),
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(Name),
}

/// One record of an answer, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub owner: Name,
    /// Seconds.
    pub ttl: u32,
    pub data: RecordData,
}

/// Why the DNS gave neither records nor the word that there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum QueryFailure {
    #[error("no name server answered in time")]
    Timeout,
    #[error("no name server could be reached")]
    Unreachable,
    #[error("the name server failed (SERVFAIL)")]
    ServerFailure,
    #[error("the name server refused (REFUSED)")]
    Refused,
    #[error("the name server's answer could not be read")]
    Malformed,
    #[error("the aliases (CNAME) make a loop or are too many")]
    AliasLoop,
    #[error("too many questions are waiting for an answer")]
    Busy,
}

/// What a resolver answers to one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// RCODE 0, or 3 behind an alias: the records of the answer section in any order, aliases among them.
    Records {
        records: Vec<Record>,
        /// The name at the end of the aliases does not exist (RFC 2308 §2.1 with a CNAME).
        no_such_name: bool,
        /// How long the absence at the end of the aliases may be remembered, where the answer had a SOA.
        negative_ttl: Option<u32>,
        /// The resolver vouches for it by DNSSEC (the AD bit, RFC 4035 §3.2.3).
        authenticated: bool,
    },
    /// RCODE 3 (`no_such_name`), or 0 without records of that type.
    Absent {
        no_such_name: bool,
        /// Seconds: the lower of the SOA's own TTL and its MINIMUM (RFC 2308 §5); `None` without a SOA, and then it is
        /// not remembered.
        negative_ttl: Option<u32>,
        authenticated: bool,
    },
    Failed(QueryFailure),
}

/// The records of one name and type, at the end of all aliases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    Naptr(Vec<Arc<Naptr>>),
    Srv(Vec<Arc<Srv>>),
    Addresses(Vec<IpAddr>),
    /// There are none.
    Absent {
        no_such_name: bool,
    },
    Failed(QueryFailure),
}

/// A set of records while it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RrSet {
    pub contents: Contents,
    /// How long it was good for when it came: the lowest TTL of the records and aliases (RFC 2181 §5.2).
    pub ttl: Duration,
    pub expires: Instant,
    pub authenticated: bool,
    /// The names that the aliases led through, the last one the owner of the records; empty where there were none.
    pub aliases: Vec<Name>,
}

/// How long things are remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct TtlBounds {
    pub(super) max: Duration,
    pub(super) max_negative: Duration,
    pub(super) failure: Duration,
}

/// Where the reading of an answer ended.
pub(super) enum Reading {
    Done(RrSet),
    /// An alias without what is behind it: that has to be asked for.
    Alias {
        aliases: Vec<Name>,
        ttl: Duration,
        authenticated: bool,
    },
}

/// No chain of aliases is followed further. What is published for SIP has one at most.
pub(super) const MAX_ALIASES: usize = 8;
/// No more records of one type are looked at; with more a domain would only be made slow.
pub(super) const MAX_RECORDS: usize = 64;

/// Reads an answer to the question for `kind` at `name`. `aliases` leads to `name` already.
pub(super) fn read(
    now: Instant,
    name: &Name,
    kind: RecordType,
    answer: Answer,
    mut aliases: Vec<Name>,
    bounds: &TtlBounds,
) -> Reading {
    let done = |contents, ttl: Duration, authenticated, aliases| {
        Reading::Done(RrSet { contents, ttl, expires: now + ttl, authenticated, aliases })
    };
    let negative = |ttl: Option<u32>| seconds(ttl.unwrap_or(0)).min(bounds.max_negative);
    let (records, no_such_name, negative_ttl, authenticated) = match answer {
        Answer::Failed(failure) => {
            return done(Contents::Failed(failure), bounds.failure, false, aliases);
        }
        Answer::Absent { no_such_name, negative_ttl, authenticated } => {
            return done(Contents::Absent { no_such_name }, negative(negative_ttl), authenticated, aliases);
        }
        Answer::Records { records, no_such_name, negative_ttl, authenticated } => {
            (records, no_such_name, negative_ttl, authenticated)
        }
    };
    let mut owner = name.clone();
    let mut ttl = bounds.max;
    loop {
        let mine = || records.iter().filter(|record| record.owner == owner);
        let found: Vec<&Record> = mine().filter(|record| record.data.is(kind)).take(MAX_RECORDS).collect();
        if !found.is_empty() {
            let ttl = found.iter().map(|record| seconds(record.ttl)).min().unwrap_or_default().min(ttl);
            return done(collect(kind, &found), ttl, authenticated, aliases);
        }
        let alias = mine().find_map(|record| match &record.data {
            RecordData::Cname(target) => Some((target.clone(), seconds(record.ttl))),
            RecordData::Naptr(_) | RecordData::Srv(_) | RecordData::A(_) | RecordData::Aaaa(_) => None,
        });
        match alias {
            Some((target, alias_ttl)) => {
                if aliases.len() >= MAX_ALIASES || aliases.contains(&target) || target == *name || target.is_root() {
                    return done(Contents::Failed(QueryFailure::AliasLoop), bounds.failure, authenticated, aliases);
                }
                ttl = ttl.min(alias_ttl);
                aliases.push(target.clone());
                owner = target;
            }
            // What a resolver sends besides (records of other names) is not taken: nobody asked for it.
            // A SOA says that it ends here (RFC 2308 §2.2).
            None if no_such_name || owner == *name || negative_ttl.is_some() => {
                let ttl = ttl.min(negative(negative_ttl));
                return done(Contents::Absent { no_such_name }, ttl, authenticated, aliases);
            }
            None => return Reading::Alias { aliases, ttl, authenticated },
        }
    }
}

fn collect(kind: RecordType, found: &[&Record]) -> Contents {
    let mut naptr = Vec::new();
    let mut srv = Vec::new();
    let mut addresses = Vec::new();
    for record in found {
        match &record.data {
            RecordData::Naptr(data) => naptr.push(Arc::new(data.clone())),
            RecordData::Srv(data) => srv.push(Arc::new(data.clone())),
            RecordData::A(address) => addresses.push(IpAddr::V4(*address)),
            RecordData::Aaaa(address) => addresses.push(IpAddr::V6(*address)),
            RecordData::Cname(_) => {}
        }
    }
    match kind {
        RecordType::Naptr => Contents::Naptr(naptr),
        RecordType::Srv => Contents::Srv(srv),
        RecordType::A | RecordType::Aaaa => Contents::Addresses(addresses),
    }
}

impl RecordData {
    fn is(&self, kind: RecordType) -> bool {
        match self {
            RecordData::Naptr(_) => kind == RecordType::Naptr,
            RecordData::Srv(_) => kind == RecordType::Srv,
            RecordData::A(_) => kind == RecordType::A,
            RecordData::Aaaa(_) => kind == RecordType::Aaaa,
            RecordData::Cname(_) => false,
        }
    }
}

/// RFC 2181 §8: a TTL with its highest bit set counts as zero.
fn seconds(ttl: u32) -> Duration {
    if ttl > i32::MAX as u32 { Duration::ZERO } else { Duration::from_secs(u64::from(ttl)) }
}
