//! What counts as one source: an IPv4 address, or an IPv6 /64 (GUARD-6), because whoever has one IPv6 address has its
//! whole subnet. And address ranges, for access lists and rate rules.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// One source of packets, as limits and bans know it. IPv4 addresses mapped into IPv6 are IPv4 sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceKey {
    V4(u32),
    /// The upper 64 bits.
    V6(u64),
}

impl From<IpAddr> for SourceKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => SourceKey::V4(v4.to_bits()),
            IpAddr::V6(v6) => SourceKey::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

impl SourceKey {
    /// The address, or the first of the /64.
    pub fn address(self) -> IpAddr {
        match self {
            SourceKey::V4(bits) => Ipv4Addr::from_bits(bits).into(),
            SourceKey::V6(prefix) => Ipv6Addr::from_bits(u128::from(prefix) << 64).into(),
        }
    }
}

impl fmt::Display for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceKey::V4(bits) => Ipv4Addr::from_bits(*bits).fmt(f),
            SourceKey::V6(prefix) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*prefix) << 64)),
        }
    }
}

/// An address range in prefix notation: `10.0.0.0/8`, `2001:db8::/32`; a bare address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no address range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    #[error("expected an IP address with an optional prefix length, as in 192.0.2.0/24, got {0:?}")]
    NotAnAddress(String),
    #[error("expected a prefix length of 0 to {most}, got {got:?}")]
    PrefixLength { most: u8, got: String },
}

impl Cidr {
    /// `None` where the prefix is longer than the address. Bits behind the prefix are cleared.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(v4) if prefix <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
            IpAddr::V4(_) | IpAddr::V6(_) => return None,
        };
        Some(Self { address, prefix })
    }

    /// The first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether it is wider than any one owner's: more than a /16, of IPv6 more than a /32.
    pub fn is_wide(&self) -> bool {
        self.prefix < if self.is_ipv4() { 16 } else { 32 }
    }

    /// Whether it is a range of IPv4 addresses.
    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether the whole source lies in the range: of a /64 all addresses.
    pub fn covers(&self, source: SourceKey) -> bool {
        self.contains(source.address()) && (matches!(source, SourceKey::V4(_)) || self.prefix <= 64)
    }

    /// Whether the address lies in the range. An IPv4 address mapped into IPv6 is looked up as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(v4)) => {
                (net.to_bits() ^ v4.to_bits()).checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(v6)) => {
                (net.to_bits() ^ v6.to_bits()).checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Self { address, prefix }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| CidrError::NotAnAddress(text.to_owned()))?;
        let Some(prefix) = prefix else { return Ok(address.into()) };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let wrong = || CidrError::PrefixLength { most, got: prefix.to_owned() };
        let bits: u8 = prefix.trim().parse().map_err(|_| wrong())?;
        Cidr::new(address, bits).ok_or_else(wrong)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// 127.0.0.0/8 and ::1.
pub fn loopback_ranges() -> Vec<Cidr> {
    ranges(&["127.0.0.0/8", "::1/128"])
}

/// RFC 1918, RFC 3927 and RFC 4193 addresses, and IPv6 link-local ones.
pub fn private_ranges() -> Vec<Cidr> {
    ranges(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"])
}

fn ranges(texts: &[&str]) -> Vec<Cidr> {
    texts.iter().map(|text| text.parse().expect("the ranges are written in this file and parse")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_ipv6_source_is_its_64_bit_prefix() {
        assert_eq!(SourceKey::from(ip("2001:db8:1:2::1")), SourceKey::from(ip("2001:db8:1:2:ffff::9")));
        assert_ne!(SourceKey::from(ip("2001:db8:1:2::1")), SourceKey::from(ip("2001:db8:1:3::1")));
        assert_eq!(SourceKey::from(ip("2001:db8:1:2::1")).to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn a_mapped_ipv4_address_is_the_ipv4_source() {
        assert_eq!(SourceKey::from(ip("::ffff:192.0.2.7")), SourceKey::from(ip("192.0.2.7")));
        assert_eq!(SourceKey::from(ip("192.0.2.7")).to_string(), "192.0.2.7");
    }

    #[test]
    fn ranges_contain_what_their_prefix_says() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
        ];
        for (range, address, expected) in cases {
            let cidr: Cidr = range.parse().unwrap();
            assert_eq!(cidr.contains(ip(address)), expected, "{range} {address}");
        }
    }

    #[test]
    fn a_range_covers_a_64_only_as_a_whole() {
        let covers = |range: &str, of: &str| range.parse::<Cidr>().unwrap().covers(ip(of).into());
        assert!(covers("2001:db8::/32", "2001:db8::1") && covers("2001:db8::/64", "2001:db8::1"));
        assert!(!covers("2001:db8::/65", "2001:db8::1") && !covers("2001:db8::1", "2001:db8::1"));
        assert!(covers("192.0.2.1", "192.0.2.1") && !covers("192.0.2.1", "192.0.2.2"));
        assert_eq!(SourceKey::from(ip("2001:db8::1")).address(), ip("2001:db8::"));
    }

    #[test]
    fn bits_behind_the_prefix_are_cleared() {
        assert_eq!("10.1.2.3/8".parse::<Cidr>().unwrap().to_string(), "10.0.0.0/8");
    }

    #[test]
    fn what_is_no_range_is_refused_in_words() {
        assert!("10.0.0.0/33".parse::<Cidr>().unwrap_err().to_string().contains("0 to 32"));
        assert!("phones".parse::<Cidr>().unwrap_err().to_string().contains("phones"));
        assert!("::/129".parse::<Cidr>().is_err());
        assert!("10.0.0.0/-1".parse::<Cidr>().is_err());
    }
}
