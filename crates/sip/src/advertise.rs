//! The one model of addresses for machines behind NAT: what we call ourselves towards a peer, in Via, Contact and `c=`.

use std::net::IpAddr;

/// The address that a peer is told: the configured one, but not where it is a router's towards a peer in a private or
/// loopback range while we have a local address there ourselves, which such a peer reaches directly. Without a
/// configured address of the peer's family it is the local one.
pub fn for_peer(configured: Option<IpAddr>, local: IpAddr, peer: IpAddr) -> IpAddr {
    let (local, peer) = (local.to_canonical(), peer.to_canonical());
    match configured.map(|address| address.to_canonical()) {
        Some(configured) if configured.is_ipv4() == peer.is_ipv4() => {
            if is_hidden(configured, local) && is_inside(peer) { local } else { configured }
        }
        Some(_) | None => local,
    }
}

/// Whether the configured address is that of a router before the local one.
pub fn is_hidden(configured: IpAddr, local: IpAddr) -> bool {
    !is_inside(configured) && is_inside(local) && configured.is_ipv4() == local.is_ipv4()
}

/// Loopback and private ranges: not behind our NAT.
pub fn is_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn behind_nat_outside_peers_are_told_the_configured_address_and_inside_ones_the_interfaces() {
        let public = Some(ip("198.51.100.1"));
        let local = ip("192.168.1.2");
        let cases = [
            (public, "203.0.113.5", "198.51.100.1"),
            (public, "192.168.1.77", "192.168.1.2"),
            (public, "10.0.0.9", "192.168.1.2"),
            (public, "::ffff:192.168.1.77", "192.168.1.2"),
            (None, "203.0.113.5", "192.168.1.2"),
        ];
        for (configured, peer, expected) in cases {
            assert_eq!(for_peer(configured, local, ip(peer)), ip(expected), "{peer}");
        }
    }

    #[test]
    fn a_public_interface_is_not_told_to_private_peers_instead_of_the_configured_address() {
        assert_eq!(for_peer(Some(ip("198.51.100.1")), ip("198.51.100.9"), ip("10.0.0.9")), ip("198.51.100.1"));
    }

    #[test]
    fn a_configured_private_address_is_told_to_everybody() {
        assert_eq!(for_peer(Some(ip("10.0.0.5")), ip("10.0.0.4"), ip("10.0.0.9")), ip("10.0.0.5"));
    }

    #[test]
    fn a_configured_ipv4_address_is_of_no_use_to_an_ipv6_peer() {
        assert_eq!(for_peer(Some(ip("198.51.100.1")), ip("2001:db8::2"), ip("2001:db8::9")), ip("2001:db8::2"));
    }
}
