//! The one model of addresses for machines behind NAT: what we call ourselves towards a peer.

use std::net::{IpAddr, SocketAddr};

/// The address that a peer is told (Via, Contact, `c=`): the configured one, except towards peers in a private or
/// loopback range when we have a local address there ourselves, which they reach directly; without a configured
/// address of the peer's family it is the interface's.
pub fn for_peer(configured: Option<IpAddr>, local: IpAddr, peer: IpAddr) -> IpAddr {
    let (local, peer) = (local.to_canonical(), peer.to_canonical());
    let Some(configured) = configured.map(|address| address.to_canonical()) else { return local };
    if configured.is_ipv4() != peer.is_ipv4() || is_inside(peer) && is_inside(local) { local } else { configured }
}

/// Loopback and private ranges: not behind our NAT.
pub fn is_inside(address: IpAddr) -> bool {
    let address = address.to_canonical();
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// The interface's address that packets to `peer` leave from, by the kernel's routing table. Nothing is sent.
///
/// # Errors
/// No route, or no such family on this machine.
pub fn interface_towards(peer: SocketAddr) -> std::io::Result<IpAddr> {
    let any: SocketAddr = if peer.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.connect(peer)?;
    Ok(socket.local_addr()?.ip())
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
    fn a_configured_ipv4_address_is_of_no_use_to_an_ipv6_peer() {
        assert_eq!(for_peer(Some(ip("198.51.100.1")), ip("2001:db8::2"), ip("2001:db8::9")), ip("2001:db8::2"));
    }

    #[test]
    fn the_kernel_names_the_interface_towards_loopback() {
        assert_eq!(interface_towards(([127, 0, 0, 1], 9).into()).unwrap(), ip("127.0.0.1"));
    }
}
