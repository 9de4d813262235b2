//! STUN on a SIP port: a Binding request is a keep-alive and is answered with the address it came from
//! (RFC 5626 §8.2, RFC 8489). Called by `net` for datagrams that `is_stun` tells apart; nothing else of STUN is here.

use std::net::{IpAddr, SocketAddr};

const MAGIC_COOKIE: u32 = 0x2112_A442;
const HEADER: usize = 20;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// Attributes that must be understood and are: USERNAME, MESSAGE-INTEGRITY, REALM, NONCE and the newer forms of them
/// (RFC 8489 §18.3), none of which a keep-alive needs, and PRIORITY and USE-CANDIDATE, which ICE agents send.
const UNDERSTOOD: [u16; 9] = [0x0006, 0x0008, 0x0014, 0x0015, 0x001C, 0x001D, 0x001E, 0x0024, 0x0025];
/// So many unknown attributes are named in an answer.
const NAMED: usize = 8;

/// Whether a datagram is STUN and not SIP: the first two bits are zero, which no letter's are, the magic cookie is
/// there, and the length is what came (RFC 8489 §6.3, RFC 5626 §8).
pub fn is_stun(datagram: &[u8]) -> bool {
    let Some(header) = datagram.first_chunk::<HEADER>() else { return false };
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    header[0] < 0x40
        && header[4..8] == MAGIC_COOKIE.to_be_bytes()
        && length.is_multiple_of(4)
        && length == datagram.len() - HEADER
}

/// Appends the answer to a Binding request. `false`, and nothing appended, for anything else: indications, responses
/// and other methods get no answer.
pub fn answer(datagram: &[u8], source: SocketAddr, out: &mut Vec<u8>) -> bool {
    if !is_stun(datagram) || datagram[..2] != BINDING_REQUEST.to_be_bytes() {
        return false;
    }
    let transaction = &datagram[4..HEADER];
    let Some((unknown, count)) = unknown_attributes(&datagram[HEADER..]) else { return false };
    let start = out.len();
    if count > 0 {
        header(out, BINDING_ERROR, transaction);
        let reason = b"Unknown Attribute";
        attribute(out, ERROR_CODE, 4 + reason.len());
        out.extend_from_slice(&[0, 0, 4, 20]);
        out.extend_from_slice(reason);
        pad(out, start);
        attribute(out, UNKNOWN_ATTRIBUTES, 2 * count);
        for kind in &unknown[..count] {
            out.extend_from_slice(&kind.to_be_bytes());
        }
        pad(out, start);
    } else {
        header(out, BINDING_SUCCESS, transaction);
        xor_mapped_address(out, source, transaction);
    }
    let length = (out.len() - start - HEADER) as u16;
    out[start + 2..start + 4].copy_from_slice(&length.to_be_bytes());
    true
}

/// Types that must be understood and are not; `None` where the attributes do not fill their lengths.
fn unknown_attributes(mut attributes: &[u8]) -> Option<([u16; NAMED], usize)> {
    let (mut unknown, mut count) = ([0; NAMED], 0);
    while !attributes.is_empty() {
        let [a, b, c, d] = *attributes.first_chunk()?;
        let kind = u16::from_be_bytes([a, b]);
        let length = usize::from(u16::from_be_bytes([c, d]));
        attributes = attributes.get(4 + length.next_multiple_of(4)..)?;
        if kind < 0x8000 && !UNDERSTOOD.contains(&kind) && count < NAMED {
            unknown[count] = kind;
            count += 1;
        }
    }
    Some((unknown, count))
}

fn header(out: &mut Vec<u8>, kind: u16, transaction: &[u8]) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(transaction);
}

fn attribute(out: &mut Vec<u8>, kind: u16, length: usize) {
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(length as u16).to_be_bytes());
}

fn pad(out: &mut Vec<u8>, start: usize) {
    while !(out.len() - start).is_multiple_of(4) {
        out.push(0);
    }
}

/// RFC 8489 §14.2: port and address are mixed with the cookie and the transaction, so that no NAT rewrites them.
/// `transaction` begins with the cookie.
fn xor_mapped_address(out: &mut Vec<u8>, source: SocketAddr, transaction: &[u8]) {
    let port = source.port() ^ (MAGIC_COOKIE >> 16) as u16;
    let mut put = |family: u8, address: &[u8]| {
        attribute(out, XOR_MAPPED_ADDRESS, 4 + address.len());
        out.extend_from_slice(&[0, family]);
        out.extend_from_slice(&port.to_be_bytes());
        out.extend(address.iter().zip(transaction).map(|(a, t)| a ^ t));
    };
    match source.ip().to_canonical() {
        IpAddr::V4(ip) => put(1, &ip.octets()),
        IpAddr::V6(ip) => put(2, &ip.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(attributes: &[u8]) -> Vec<u8> {
        let mut out = vec![0, 1, 0, attributes.len() as u8, 0x21, 0x12, 0xA4, 0x42];
        out.extend_from_slice(b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae");
        out.extend_from_slice(attributes);
        out
    }

    #[test]
    fn a_binding_request_is_answered_with_the_address_it_came_from_as_in_rfc_5769_2_2() {
        let mut out = b"before".to_vec();
        assert!(answer(&request(&[]), "192.0.2.1:32853".parse().expect("an address"), &mut out));
        let out = &out[6..];
        assert_eq!(&out[..4], [1, 1, 0, 12]);
        assert_eq!(&out[4..20], &request(&[])[4..20]);
        assert_eq!(&out[20..], b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43");
    }

    #[test]
    fn an_ipv6_address_is_mixed_with_the_transaction_as_in_rfc_5769_2_3() {
        let mut out = Vec::new();
        let source = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().expect("an address");
        assert!(answer(&request(&[]), source, &mut out));
        let address = b"\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";
        assert_eq!(&out[20..28], b"\x00\x20\x00\x14\x00\x02\xa1\x47");
        assert_eq!(&out[28..], address);
    }

    #[test]
    fn an_attribute_that_must_be_understood_and_is_not_gets_420_rfc_8489_6_3_1() {
        let mut out = Vec::new();
        assert!(answer(&request(&[0x7f, 0x01, 0, 1, 9, 0, 0, 0]), "192.0.2.1:1".parse().expect("address"), &mut out));
        assert_eq!(&out[..2], [1, 0x11]);
        assert_eq!(usize::from(u16::from_be_bytes([out[2], out[3]])), out.len() - 20);
        assert_eq!(&out[20..28], [0, 9, 0, 21, 0, 0, 4, 20]);
        assert_eq!(&out[out.len() - 8..], [0, 0x0a, 0, 2, 0x7f, 0x01, 0, 0]);
    }

    #[test]
    fn attributes_that_may_be_ignored_are_ignored_rfc_8489_5() {
        let mut out = Vec::new();
        assert!(answer(&request(&[0x80, 0x22, 0, 2, b'p', b'h', 0, 0]), "[::1]:1".parse().expect("address"), &mut out));
        assert_eq!(&out[..2], [1, 1]);
    }

    #[test]
    fn what_is_no_binding_request_is_not_answered_rfc_8489_6_3() {
        let source = "192.0.2.1:1".parse().expect("an address");
        let mut out = Vec::new();
        let mut indication = request(&[]);
        indication[1] = 0x11;
        let mut no_cookie = request(&[]);
        no_cookie[4] = 0;
        let mut too_long = request(&[]);
        too_long[3] = 4;
        let overrun = request(&[0x80, 0x22, 0, 9, 1, 2, 3, 4]);
        for datagram in
            [&indication[..], &no_cookie, &too_long, &overrun, b"OPTIONS sip:a@b SIP/2.0\r\n", b"", &[0; 19]]
        {
            assert!(!answer(datagram, source, &mut out), "{datagram:?}");
        }
        assert!(out.is_empty());
    }
}
