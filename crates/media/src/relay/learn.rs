//! Learning where a peer is (CALL-5; symmetric RTP, RFC 4961): once, after SRTP authentication where there is SRTP,
//! and preferring the addresses that offer/answer and signalling name. Plain state; the relay keeps the tables.

use std::net::{IpAddr, SocketAddr};

use super::Micros;
use super::commands::canonical;

/// Consecutive packets that prove an address at the right host.
const HOST_PACKETS: u8 = 2;
/// Consecutive packets that prove any other address.
const OTHER_PACKETS: u8 = 5;
/// The shortest time those may take: two packets of 20 ms. A burst proves nothing.
const OTHER_SPAN: Micros = 40_000;
/// How long after the first packet any other address may still be learned.
const WINDOW: Micros = 5_000_000;
/// How long after offer/answer moved a peer its old address proves nothing. Packets on the way arrive in that time; a
/// peer that stayed is learned again afterwards.
const LATE: Micros = 2_000_000;
/// Packets that may be missing between two that are consecutive.
const MAX_STEP: u16 = 16;

/// What is known of an address before anything came from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Address and port of the SDP.
    Exact,
    /// The host of the SDP or of the signalling, another port.
    Host,
    Other,
}

/// How `source` stands to what offer/answer says.
pub fn standing(source: SocketAddr, remote: Option<SocketAddr>, signalling: Option<IpAddr>) -> Standing {
    let host = source.ip().to_canonical();
    match remote {
        Some(remote) if remote.ip().to_canonical() == host => {
            if remote.port() == source.port() {
                Standing::Exact
            } else {
                Standing::Host
            }
        }
        Some(_) | None if signalling.map(|ip| ip.to_canonical()) == Some(host) => Standing::Host,
        Some(_) | None => Standing::Other,
    }
}

/// A packet of a peer whose remote is not known. It passed all checks but these.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub now: Micros,
    pub source: SocketAddr,
    pub ssrc: u32,
    pub sequence: u16,
    pub authenticated: bool,
    pub standing: Standing,
}

/// What a packet does to the learning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its address is the remote from now on.
    Learned,
    /// More of its kind are needed.
    Wait,
    /// Its address will not be learned.
    Refused,
}

/// An address being proven.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    source: SocketAddr,
    ssrc: u32,
    sequence: u16,
    count: u8,
    since: Micros,
}

/// The address that a peer had before offer/answer moved it. Late packets from there carry its own SSRC and even its
/// authentication, so nothing else tells them from those of the new address.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    source: SocketAddr,
    until: Micros,
}

impl Left {
    pub fn new(now: Micros, source: SocketAddr) -> Self {
        Left { source: canonical(source), until: now + LATE }
    }

    /// Whether a packet from there may be a late one of the old address.
    pub fn is_late(&self, now: Micros, source: SocketAddr) -> bool {
        now < self.until && self.source == canonical(source)
    }
}

/// What came so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Learning {
    /// Where the peer was before.
    left: Option<Left>,
    /// SSRC and sequence number of the newest packet that proves nothing.
    passed_over: Option<(u32, u16)>,
    /// The first packet from anywhere.
    first: Option<Micros>,
    preferred_seen: bool,
    host: Option<Candidate>,
    other: Option<Candidate>,
}

impl Learning {
    /// Learning where the peer went that was at `left`; without, it goes on from where it was before that.
    pub fn anew(&self, left: Option<Left>) -> Self {
        Learning { left: left.or(self.left), ..Learning::default() }
    }

    pub fn packet(&mut self, seen: Seen) -> Step {
        let is_late = self.left.is_some_and(|left| left.is_late(seen.now, seen.source));
        if is_late && seen.standing != Standing::Exact {
            self.pass_over(seen.ssrc, seen.sequence);
            return Step::Wait;
        }
        let first = *self.first.get_or_insert(seen.now);
        match seen.standing {
            Standing::Exact => Step::Learned,
            Standing::Host => {
                self.preferred_seen = true;
                if seen.authenticated {
                    return Step::Learned;
                }
                let candidate = follow(&mut self.host, seen);
                if candidate.count >= HOST_PACKETS { Step::Learned } else { Step::Wait }
            }
            Standing::Other => {
                if self.preferred_seen || seen.now.saturating_sub(first) > WINDOW {
                    return Step::Refused;
                }
                let candidate = follow(&mut self.other, seen);
                let proven = candidate.count >= OTHER_PACKETS && seen.now.saturating_sub(candidate.since) >= OTHER_SPAN;
                if proven { Step::Learned } else { Step::Wait }
            }
        }
    }
}

impl Learning {
    /// A packet came that proves nothing, but its sender may go on after the stream.
    pub fn pass_over(&mut self, ssrc: u32, sequence: u16) {
        self.passed_over = Some((ssrc, sequence));
    }

    /// SSRC and newest sequence number of the addresses being proven, and of the newest packet passed over.
    pub fn candidates(&self) -> impl Iterator<Item = (u32, u16)> {
        let proving = [self.host, self.other].into_iter().flatten();
        self.passed_over.into_iter().chain(proving.map(|candidate| (candidate.ssrc, candidate.sequence)))
    }
}

/// Counts packets in a row: same address, same SSRC, rising sequence numbers; anything else starts anew.
fn follow(candidate: &mut Option<Candidate>, seen: Seen) -> Candidate {
    let fresh = Candidate { source: seen.source, ssrc: seen.ssrc, sequence: seen.sequence, count: 1, since: seen.now };
    let next = match *candidate {
        Some(old) if old.source == seen.source && old.ssrc == seen.ssrc => {
            match seen.sequence.wrapping_sub(old.sequence) {
                0 => old,
                1..=MAX_STEP => Candidate { count: old.count.saturating_add(1), sequence: seen.sequence, ..old },
                _ => fresh,
            }
        }
        Some(_) | None => fresh,
    };
    *candidate.insert(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "192.0.2.1:4000";

    fn seen(ms: u64, source: &str, sequence: u16) -> Seen {
        let source: SocketAddr = source.parse().unwrap();
        let standing = standing(source, SDP.parse().ok(), "198.51.100.7".parse().ok());
        Seen { now: ms * 1000, source, ssrc: 7, sequence, authenticated: false, standing }
    }

    #[test]
    fn address_of_the_sdp_is_learned_at_once() {
        assert_eq!(Learning::default().packet(seen(0, SDP, 1)), Step::Learned);
        assert_eq!(Learning::default().packet(seen(0, "[::ffff:192.0.2.1]:4000", 1)), Step::Learned);
    }

    #[test]
    fn another_port_of_the_host_needs_two_packets_or_authentication() {
        for host in ["192.0.2.1:4001", "198.51.100.7:30000"] {
            let mut plain = Learning::default();
            assert_eq!(plain.packet(seen(0, host, 1)), Step::Wait);
            assert_eq!(plain.packet(seen(20, host, 2)), Step::Learned);
            assert_eq!(Learning::default().packet(Seen { authenticated: true, ..seen(0, host, 1) }), Step::Learned);
        }
    }

    #[test]
    fn inconsistent_packets_prove_nothing() {
        let host = "192.0.2.1:4001";
        let mut l = Learning::default();
        for (ms, packet) in [
            (0, seen(0, host, 1)),
            (1, Seen { ssrc: 8, ..seen(1, host, 2) }),
            (2, seen(2, "192.0.2.1:4002", 3)),
            (3, seen(3, host, 4)),
            (4, seen(4, host, 4)),
            (5, seen(5, host, 500)),
            (6, seen(6, host, 499)),
        ] {
            assert_eq!(l.packet(packet), Step::Wait, "{ms}");
        }
        assert_eq!(l.packet(seen(7, host, 500)), Step::Learned);
    }

    #[test]
    fn any_other_address_needs_five_packets_and_is_no_burst() {
        let other = "203.0.113.9:5555";
        let mut l = Learning::default();
        for i in 0..4 {
            assert_eq!(l.packet(seen(20 * i, other, i as u16)), Step::Wait);
        }
        assert_eq!(l.packet(seen(80, other, 4)), Step::Learned);
        let mut burst = Learning::default();
        for i in 0..20 {
            assert_eq!(burst.packet(seen(1, other, i)), Step::Wait);
        }
    }

    #[test]
    fn a_preferred_address_shuts_others_out_and_so_does_time() {
        let other = "203.0.113.9:5555";
        let mut l = Learning::default();
        (0..4).for_each(|i| assert_eq!(l.packet(seen(20 * i, other, i as u16)), Step::Wait));
        assert_eq!(l.packet(seen(70, "192.0.2.1:4001", 90)), Step::Wait);
        assert_eq!(l.packet(seen(80, other, 4)), Step::Refused);
        assert_eq!(l.packet(seen(90, "192.0.2.1:4001", 91)), Step::Learned);

        let mut late = Learning::default();
        late.packet(seen(0, other, 1));
        assert_eq!(late.packet(seen(5_001, other, 2)), Step::Refused);
        assert_eq!(late.packet(seen(5_002, SDP, 1)), Step::Learned, "the right one may come late");
    }

    #[test]
    fn the_window_starts_with_the_first_packet() {
        let other = "203.0.113.9:5555";
        let mut l = Learning::default();
        (0..4).for_each(|i| assert_eq!(l.packet(seen(60_000 + 20 * i, other, i as u16)), Step::Wait));
        assert_eq!(l.packet(seen(60_080, other, 4)), Step::Learned);
    }
}
