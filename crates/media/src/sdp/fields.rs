//! Typed views of single lines: `o=`, `c=`, `m=`, directions and `a=rtcp`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `o=` (RFC 8866 §5.2). The fields are kept as they are: versions may be longer than any integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    pub username: &'a [u8],
    pub session_id: &'a [u8],
    pub version: &'a [u8],
    pub net_type: &'a [u8],
    pub addr_type: &'a [u8],
    pub address: &'a [u8],
}

impl<'a> Origin<'a> {
    /// The value of an `o=` line; a user name with blanks in it is tolerated.
    pub fn parse(value: &'a [u8]) -> Option<Origin<'a>> {
        let mut rest = value.trim_ascii();
        let mut last = || {
            let at = rest.iter().rposition(|byte| matches!(byte, b' ' | b'\t'))?;
            let field = &rest[at + 1..];
            rest = rest[..at].trim_ascii_end();
            (!field.is_empty()).then_some(field)
        };
        let (address, addr_type, net_type, version, session_id) = (last()?, last()?, last()?, last()?, last()?);
        (!rest.is_empty()).then_some(Origin { username: rest, session_id, version, net_type, addr_type, address })
    }
}

/// `c=` (RFC 8866 §5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// Without the time-to-live or address count of a multicast group.
    pub address: &'a str,
    is_internet: bool,
}

impl<'a> Connection<'a> {
    /// The value of a `c=` line.
    pub fn parse(value: &'a [u8]) -> Option<Connection<'a>> {
        let value = std::str::from_utf8(value).ok()?;
        let mut fields = value.split_ascii_whitespace();
        let (net_type, addr_type, address) = (fields.next()?, fields.next()?, fields.next()?);
        let address = address.split('/').next().filter(|address| !address.is_empty())?;
        let is_internet = net_type == "IN" && (addr_type == "IP4" || addr_type == "IP6");
        Some(Connection { address, is_internet })
    }

    /// The address where it is a literal one (host names are not looked up); an IPv4 address in IPv6 clothes is undressed.
    pub fn ip(&self) -> Option<IpAddr> {
        let ip: IpAddr = self.address.parse().ok().filter(|_| self.is_internet)?;
        Some(ip.to_canonical())
    }
}

/// What an m-line's protocol field means to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// RTP, `secure` by SAVP (RFC 3711), `feedback` by the F of AVPF and SAVPF (RFC 4585, RFC 5124).
    Rtp { secure: bool, feedback: bool },
    /// Something that is not relayed: DTLS-SRTP, UDPTL, MSRP, …
    Other,
}

impl Proto {
    /// By its name in the m-line.
    pub fn from_name(name: &[u8]) -> Proto {
        match name {
            b"RTP/AVP" => Proto::Rtp { secure: false, feedback: false },
            b"RTP/AVPF" => Proto::Rtp { secure: false, feedback: true },
            b"RTP/SAVP" => Proto::Rtp { secure: true, feedback: false },
            b"RTP/SAVPF" => Proto::Rtp { secure: true, feedback: true },
            _ => Proto::Other,
        }
    }

    /// The name of an RTP profile.
    pub fn rtp_name(secure: bool, feedback: bool) -> &'static str {
        match (secure, feedback) {
            (false, false) => "RTP/AVP",
            (false, true) => "RTP/AVPF",
            (true, false) => "RTP/SAVP",
            (true, true) => "RTP/SAVPF",
        }
    }
}

/// `m=` (RFC 8866 §5.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaLine<'a> {
    /// `audio`, `video`, …
    pub media: &'a [u8],
    pub port: u16,
    pub proto_name: &'a [u8],
    formats: &'a [u8],
}

impl<'a> MediaLine<'a> {
    /// The value of an `m=` line. Formats may be missing where the port is 0.
    pub fn parse(value: &'a [u8]) -> Option<MediaLine<'a>> {
        let (media, rest) = field(value)?;
        let (port, rest) = field(rest)?;
        let (proto_name, formats) = field(rest)?;
        let (port, count) = match port.iter().position(|&byte| byte == b'/') {
            Some(at) => (&port[..at], Some(&port[at + 1..])),
            None => (port, None),
        };
        let port = number(port)?;
        if count.is_some_and(|count| number(count).is_none()) {
            return None;
        }
        let line = MediaLine { media, port, proto_name, formats };
        (port == 0 || line.formats().next().is_some()).then_some(line)
    }

    /// The format list: payload types for RTP.
    pub fn formats(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.formats.split(|byte| matches!(byte, b' ' | b'\t')).filter(|format| !format.is_empty())
    }

    /// What the protocol means here.
    pub fn proto(&self) -> Proto {
        Proto::from_name(self.proto_name)
    }
}

/// The first blank-separated field and what is behind it.
fn field(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], &text[end..]))
}

fn number(digits: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Which way media goes, as the writer of the SDP sees it (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Direction {
    /// The writer sends.
    pub send: bool,
    /// The writer receives.
    pub recv: bool,
}

impl Direction {
    pub const SEND_RECV: Direction = Direction { send: true, recv: true };
    pub const SEND_ONLY: Direction = Direction { send: true, recv: false };
    pub const RECV_ONLY: Direction = Direction { send: false, recv: true };
    pub const INACTIVE: Direction = Direction { send: false, recv: false };

    /// By attribute name, in any case.
    pub fn from_name(name: &str) -> Option<Direction> {
        [Direction::SEND_RECV, Direction::SEND_ONLY, Direction::RECV_ONLY, Direction::INACTIVE]
            .into_iter()
            .find(|direction| name.eq_ignore_ascii_case(direction.name()))
    }

    /// The attribute name.
    pub fn name(self) -> &'static str {
        match (self.send, self.recv) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        }
    }

    /// The same as the other side sees it.
    pub fn reversed(self) -> Direction {
        Direction { send: self.recv, recv: self.send }
    }

    /// What both allow.
    pub fn and(self, other: Direction) -> Direction {
        Direction { send: self.send && other.send, recv: self.recv && other.recv }
    }
}

/// `a=rtcp` (RFC 3605 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtcpAttribute {
    pub port: u16,
    /// Where it differs from the media's.
    pub address: Option<IpAddr>,
}

impl RtcpAttribute {
    /// The attribute's value: `53020` or `53020 IN IP4 192.0.2.4`.
    pub fn parse(value: &str) -> Option<RtcpAttribute> {
        let (port, rest) = field(value.as_bytes())?;
        let port = number(port)?;
        let address = if rest.trim_ascii().is_empty() { None } else { Some(Connection::parse(rest)?.ip()?) };
        Some(RtcpAttribute { port, address })
    }
}

/// Whether text contains something that reads as an IP address. Such a value never crosses to another leg.
pub(crate) fn holds_address(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
    text.split(|c| !is_part(c)).any(|run| {
        let trimmed = run.trim_matches('.');
        let dots = trimmed.bytes().filter(|&byte| byte == b'.').count();
        let colons = trimmed.bytes().filter(|&byte| byte == b':').count();
        dots >= 3
            || colons >= 2 && (trimmed.contains("::") || colons >= 7)
            || trimmed.parse::<Ipv4Addr>().is_ok()
            || trimmed.parse::<Ipv6Addr>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_takes_six_fields_and_tolerates_a_name_with_blanks() {
        let origin = Origin::parse(b"John Doe 12 34 IN IP4 192.0.2.1").unwrap();
        assert_eq!(
            (origin.username, origin.session_id, origin.address),
            (&b"John Doe"[..], &b"12"[..], &b"192.0.2.1"[..])
        );
        assert!(Origin::parse(b"12 34 IN IP4 192.0.2.1").is_none());
        assert!(Origin::parse(b"").is_none());
    }

    #[test]
    fn connection_forms_of_rfc_8866_section_5_7() {
        let ip = |text: &str| Connection::parse(text.as_bytes()).and_then(|connection| connection.ip());
        assert_eq!(ip("IN IP4 224.2.36.42/127/3"), Some("224.2.36.42".parse().unwrap()));
        assert_eq!(ip("IN IP6 ::ffff:192.0.2.7"), Some("192.0.2.7".parse().unwrap()));
        assert_eq!(ip("IN IP4 phone.example.com"), None);
        assert_eq!(ip("ATM NSAP 1.2.3.4"), None);
        assert!(Connection::parse(b"IN IP4").is_none() && Connection::parse(b"IN IP4 /1").is_none());
    }

    #[test]
    fn media_line_forms_of_rfc_8866_section_5_14() {
        let line = MediaLine::parse(b"audio 49170/2 RTP/AVP 0  8\t101 ").unwrap();
        assert_eq!((line.port, line.formats().count()), (49170, 3));
        assert_eq!(
            MediaLine::parse(b"video 0 RTP/SAVPF").unwrap().proto(),
            Proto::Rtp { secure: true, feedback: true }
        );
        for bad in [
            "audio",
            "audio 1",
            "audio x RTP/AVP 0",
            "audio 65536 RTP/AVP 0",
            "audio 1/x RTP/AVP 0",
            "audio +1 RTP/AVP 0",
        ] {
            assert!(MediaLine::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn rtcp_attribute_forms_of_rfc_3605_section_2_1() {
        assert_eq!(RtcpAttribute::parse("53020"), Some(RtcpAttribute { port: 53020, address: None }));
        let with_address = RtcpAttribute::parse("53020 IN IP6 2001:db8::1").unwrap();
        assert_eq!(with_address.address, Some("2001:db8::1".parse().unwrap()));
        assert!(RtcpAttribute::parse("").is_none() && RtcpAttribute::parse("53020 IN IP4 host").is_none());
    }

    #[test]
    fn addresses_are_found_wherever_they_hide() {
        for text in
            ["x=192.0.2.1", "192.0.2.1:5060;y", "[2001:db8::1]", "a=::1;b", "1.2.3.4.5", "fe80::1%0", ".10.0.0.1."]
        {
            assert!(holds_address(text), "{text}");
        }
        for text in [
            "br=5.9-24.4;bw=nb-swb",
            "[x=[480:16:800],y=320]",
            "profile-level-id=42e01f",
            "0-15,66",
            "config=AB+/==",
            "q=0.5",
        ] {
            assert!(!holds_address(text), "{text}");
        }
    }
}
