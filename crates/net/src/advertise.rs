//! Which of this machine's addresses leads where; what peers are told is `ringfort_sip::advertise`'s matter.

use std::net::{IpAddr, SocketAddr};

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

    #[test]
    fn the_kernel_names_the_interface_towards_loopback() {
        assert_eq!(interface_towards(([127, 0, 0, 1], 9).into()).unwrap(), IpAddr::from([127, 0, 0, 1]));
    }
}
