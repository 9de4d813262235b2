//! The orders that the RFCs prescribe: NAPTR rules (RFC 3403 §4.1, RFC 3263 §4.1), SRV records (RFC 2782), addresses of
//! both families (RFC 8305 §4).

use std::net::IpAddr;
use std::sync::Arc;

use rand::{Rng, RngExt};

use super::expression::ExpressionError;
use super::record::{Naptr, Srv};
use crate::flow::Transport;

/// Why a NAPTR record does not lead anywhere for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkippedRule {
    #[error("its service is not one of SIP (RFC 3263 §9, RFC 7118 §10.2)")]
    OtherService,
    #[error("its transport is not one that we use here")]
    OtherTransport,
    #[error("a sips: address allows only services that begin with SIPS (RFC 3263 §4.1)")]
    NotSecure,
    #[error("its flags are not \"s\" (RFC 3263 §4.1)")]
    Flags,
    #[error("it has a regular expression where a replacement belongs (RFC 3263 §4.1)")]
    Regexp,
    #[error("its replacement is empty")]
    NoReplacement,
    #[error("a rule of a lower order was taken, and then no other order counts (RFC 3403 §4.1)")]
    OtherOrder,
    #[error("its service is not E2U+sip (RFC 6116 §3.4.3)")]
    NumberService,
    #[error("its flags are not \"u\" (RFC 6116 §3.4.2)")]
    NumberFlags,
    #[error("{0}")]
    Expression(ExpressionError),
    #[error("what it makes of the number is no SIP address")]
    NoSipAddress,
    #[error("it leads in a circle, or too far (RFC 6116 §5.2.1)")]
    Chain,
}

/// The transport that a NAPTR service field names (RFC 3263 §9, RFC 7118 §10.2); `None` for other services, SCTP among them.
pub fn transport_of_service(services: &str) -> Option<Transport> {
    const KNOWN: [(&str, Transport); 5] = [
        ("SIP+D2U", Transport::Udp),
        ("SIP+D2T", Transport::Tcp),
        ("SIPS+D2T", Transport::Tls),
        ("SIP+D2W", Transport::Ws),
        ("SIPS+D2W", Transport::Wss),
    ];
    KNOWN.iter().find(|(name, _)| name.eq_ignore_ascii_case(services)).map(|(_, transport)| *transport)
}

/// Where the SRV record of a transport stands beneath a domain (RFC 3263 §4.1, §4.2). None for WebSocket: RFC 7118 §5.5
/// names no label, so that only a NAPTR record leads to SRV records there.
pub const fn service_prefix(transport: Transport) -> Option<&'static str> {
    match transport {
        Transport::Udp => Some("_sip._udp"),
        Transport::Tcp => Some("_sip._tcp"),
        Transport::Tls => Some("_sips._tcp"),
        Transport::Ws | Transport::Wss => None,
    }
}

/// The transport that a record leads to, among those in use.
///
/// # Errors
/// Why it does not count.
pub fn rule(naptr: &Naptr, secure: bool, in_use: &[Transport]) -> Result<Transport, SkippedRule> {
    let transport = transport_of_service(&naptr.services).ok_or(SkippedRule::OtherService)?;
    if secure && !transport.is_secure() {
        return Err(SkippedRule::NotSecure);
    }
    if !in_use.contains(&transport) {
        return Err(SkippedRule::OtherTransport);
    }
    if !naptr.flags.eq_ignore_ascii_case("s") {
        return Err(SkippedRule::Flags);
    }
    if !naptr.regexp.is_empty() {
        return Err(SkippedRule::Regexp);
    }
    if naptr.replacement.is_root() {
        return Err(SkippedRule::NoReplacement);
    }
    Ok(transport)
}

/// The rules to follow, the first one first: those of the lowest order that has one for us, by preference. Once an order
/// matched, others must not be considered (RFC 3403 §4.1). Of equal rules the transport that stands first in `in_use`
/// comes first. What is left out goes to `skipped`.
pub(super) fn rules<'n>(
    records: &'n [Arc<Naptr>],
    secure: bool,
    in_use: &[Transport],
    mut skipped: impl FnMut(&'n Arc<Naptr>, SkippedRule),
) -> Vec<(Transport, &'n Arc<Naptr>)> {
    let mut found = Vec::new();
    for naptr in records {
        match rule(naptr, secure, in_use) {
            Ok(transport) => found.push((transport, naptr)),
            Err(why) => skipped(naptr, why),
        }
    }
    let rank = |transport: Transport| in_use.iter().position(|other| *other == transport);
    found.sort_by_key(|(transport, naptr)| (naptr.order, naptr.preference, rank(*transport), &naptr.replacement));
    if let Some(order) = found.first().map(|(_, naptr)| naptr.order) {
        let others = found.partition_point(|(_, naptr)| naptr.order == order);
        for (_, naptr) in found.drain(others..) {
            skipped(naptr, SkippedRule::OtherOrder);
        }
    }
    found
}

/// SRV records in the order to try them: by priority, those of one priority drawn by weight (RFC 2782 "Usage rules").
/// Records that name no host (`.`) or port 0 are left out.
pub fn order_srv(records: &[Arc<Srv>], rng: &mut impl Rng) -> Vec<Arc<Srv>> {
    let mut left: Vec<&Arc<Srv>> = records.iter().filter(|srv| !srv.target.is_root() && srv.port != 0).collect();
    // Within a priority, weight 0 stands at the beginning; the rest of the order makes a draw replay from its seed,
    // whichever order the records came in.
    left.sort();
    let mut ordered = Vec::with_capacity(left.len());
    let mut rest = left.as_mut_slice();
    while let [first, ..] = rest {
        let priority = first.priority;
        let len = rest.partition_point(|srv| srv.priority == priority);
        let (group, others) = rest.split_at_mut(len);
        draw(group, &mut ordered, rng);
        rest = others;
    }
    ordered
}

fn draw(mut group: &mut [&Arc<Srv>], ordered: &mut Vec<Arc<Srv>>, rng: &mut impl Rng) {
    while group.len() > 1 {
        let sum: u32 = group.iter().map(|srv| u32::from(srv.weight)).sum();
        let drawn = rng.random_range(0..=sum);
        let mut running = 0;
        let reached = |srv: &&Arc<Srv>| {
            running += u32::from(srv.weight);
            running >= drawn
        };
        let at = group.iter().position(reached).unwrap_or(group.len() - 1);
        // Kept in order: those with weight 0 stay at the beginning.
        group[..=at].rotate_right(1);
        let (taken, rest) = group.split_at_mut(1);
        ordered.push(Arc::clone(taken[0]));
        group = rest;
    }
    ordered.extend(group.iter().map(|srv| Arc::clone(srv)));
}

/// Which family of addresses is used, and which comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Families {
    /// Both in turn, IPv6 first (RFC 8305 §4, RFC 6724).
    #[default]
    V6First,
    V4First,
    V4Only,
    V6Only,
}

impl Families {
    pub(super) const fn v4(self) -> bool {
        !matches!(self, Families::V6Only)
    }

    pub(super) const fn v6(self) -> bool {
        !matches!(self, Families::V4Only)
    }
}

/// Both families in turn, so that one that does not work costs one attempt and not all of them. Within a family the order of
/// the answer stays.
pub(super) fn interleave(v6: &[IpAddr], v4: &[IpAddr], families: Families) -> Vec<IpAddr> {
    let (first, second) = match families {
        Families::V6First => (v6, v4),
        Families::V4First => (v4, v6),
        Families::V4Only => (v4, &[][..]),
        Families::V6Only => (v6, &[][..]),
    };
    let mut out = Vec::with_capacity(first.len() + second.len());
    for at in 0..first.len().max(second.len()) {
        out.extend(first.get(at).into_iter().chain(second.get(at)));
    }
    out
}
