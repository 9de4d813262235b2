//! Socket addresses as the kernel writes them.

use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for an IPv4 or IPv6 socket address.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) union RawAddr {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl RawAddr {
    pub(crate) const LEN: libc::socklen_t = size_of::<RawAddr>() as libc::socklen_t;

    pub(crate) fn empty() -> Self {
        // SAFETY: all-zero bytes are valid for every field of the union: integers and arrays of them.
        unsafe { zeroed() }
    }

    /// The address and its length for the kernel.
    pub(crate) fn new(address: SocketAddr) -> (Self, libc::socklen_t) {
        let mut raw = Self::empty();
        let len = raw.set(address);
        (raw, len)
    }

    pub(crate) fn set(&mut self, address: SocketAddr) -> libc::socklen_t {
        match address {
            SocketAddr::V4(v4) => {
                self.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: in_addr(*v4.ip()),
                    sin_zero: [0; 8],
                };
                size_of::<libc::sockaddr_in>() as libc::socklen_t
            }
            SocketAddr::V6(v6) => {
                self.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: in6_addr(*v6.ip()),
                    sin6_scope_id: v6.scope_id(),
                };
                size_of::<libc::sockaddr_in6>() as libc::socklen_t
            }
        }
    }

    /// `None`: the kernel wrote another family, or nothing.
    pub(crate) fn get(&self) -> Option<SocketAddr> {
        // SAFETY: the union was zeroed or written as one of its fields, all of which begin with the family; a family
        // says which field was written, and every bit pattern of that field is valid.
        unsafe {
            match i32::from(self.family) {
                libc::AF_INET => {
                    let ip = Ipv4Addr::from_bits(u32::from_be(self.v4.sin_addr.s_addr));
                    Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(self.v4.sin_port))))
                }
                libc::AF_INET6 => {
                    let ip = Ipv6Addr::from(self.v6.sin6_addr.s6_addr);
                    let port = u16::from_be(self.v6.sin6_port);
                    Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, self.v6.sin6_scope_id)))
                }
                _ => None,
            }
        }
    }
}

pub(crate) fn in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: ip.to_bits().to_be() }
}

pub(crate) fn in6_addr(ip: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr { s6_addr: ip.octets() }
}

/// The address that a packet was sent to, out of IP_PKTINFO or IPV6_PKTINFO.
pub(crate) fn ip_of_v4(info: &libc::in_pktinfo) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(u32::from_be(info.ipi_addr.s_addr)))
}

pub(crate) fn ip_of_v6(info: &libc::in6_pktinfo) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_through_the_kernels_form() {
        for text in ["192.0.2.7:5060", "[2001:db8::7]:5061", "0.0.0.0:0", "[::]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(RawAddr::new(address).0.get(), Some(address));
        }
        assert_eq!(RawAddr::empty().get(), None);
    }
}
