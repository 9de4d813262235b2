//! Comparison of URIs (RFC 3261 §19.1.4; RFC 3966 §4 for `tel:`).

use crate::uri::{Scheme, Uri, escape_at};

/// Parameters that count as different when only one side has them (RFC 3261 §19.1.4).
const MUST_MATCH: [&str; 4] = ["user", "ttl", "method", "maddr"];

/// Whether two URIs are equal in the sense of RFC 3261 §19.1.4. Not transitive, as the RFC says.
pub fn uri_eq(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    // What is written alike is equal, even if a parameter stands there twice, which no rule of comparison foresees.
    if a.as_str() == b.as_str() {
        return true;
    }
    match (a.scheme, b.scheme) {
        (Scheme::Sip, Scheme::Sip) | (Scheme::Sips, Scheme::Sips) => sip_eq(a, b),
        (Scheme::Tel, Scheme::Tel) => tel_eq(a, b),
        (Scheme::Other(x), Scheme::Other(y)) => x.eq_ignore_ascii_case(y) && a.opaque == b.opaque,
        (Scheme::Sip | Scheme::Sips | Scheme::Tel | Scheme::Other(_), _) => false,
    }
}

fn sip_eq(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    option_eq(a.user, b.user, Case::Matters)
        && option_eq(a.password, b.password, Case::Matters)
        && a.host.same(&b.host)
        && a.port == b.port
        && params_eq(a, b)
        && headers_eq(a, b)
}

fn params_eq(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    let one_way = |a: &Uri<'_>, b: &Uri<'_>| {
        a.params().all(|(name, value)| match b.params().find(|(other, _)| text_eq(name, other, Case::Ignored)) {
            Some((_, other)) => option_eq(value, other, Case::Ignored),
            None => !MUST_MATCH.iter().any(|must| text_eq(name, must, Case::Ignored)),
        })
    };
    one_way(a, b) && one_way(b, a)
}

fn headers_eq(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    let one_way = |a: &Uri<'_>, b: &Uri<'_>| {
        a.headers().all(|(name, value)| {
            b.headers().any(|(n, v)| text_eq(name, n, Case::Ignored) && text_eq(value, v, Case::Matters))
        })
    };
    a.headers().count() == b.headers().count() && one_way(a, b) && one_way(b, a)
}

/// RFC 3966 §4: visual separators do not count, case does not, and the set of parameters must be the same.
fn tel_eq(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    let digits = |uri: &Uri<'_>| -> Vec<u8> {
        let number = uri.user.unwrap_or("").bytes();
        number.filter(|b| !matches!(b, b'-' | b'.' | b'(' | b')')).map(|b| b.to_ascii_lowercase()).collect()
    };
    let one_way = |a: &Uri<'_>, b: &Uri<'_>| {
        a.params().all(|(name, value)| {
            b.params().any(|(n, v)| text_eq(name, n, Case::Ignored) && option_eq(value, v, Case::Ignored))
        })
    };
    digits(a) == digits(b) && one_way(a, b) && one_way(b, a)
}

#[derive(Clone, Copy)]
enum Case {
    Matters,
    Ignored,
}

fn option_eq(a: Option<&str>, b: Option<&str>, case: Case) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => text_eq(a, b, case),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// An escaped character equals the character, unless it is one that has a meaning of its own there
/// (RFC 3261 §19.1.4: "characters other than those in the reserved set").
fn text_eq(a: &str, b: &str, case: Case) -> bool {
    let (mut a, mut b) = (Units::new(a), Units::new(b));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(x), Some(y)) => {
                let same = match case {
                    Case::Matters => x == y,
                    Case::Ignored => x.0.eq_ignore_ascii_case(&y.0) && x.1 == y.1,
                };
                if !same {
                    return false;
                }
            }
            (None, Some(_)) | (Some(_), None) => return false,
        }
    }
}

/// Bytes with whether they are escaped reserved ones.
struct Units<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Units<'a> {
    fn new(s: &'a str) -> Self {
        Units { bytes: s.as_bytes(), at: 0 }
    }
}

impl Iterator for Units<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<(u8, bool)> {
        let plain = *self.bytes.get(self.at)?;
        match escape_at(self.bytes, self.at) {
            None => {
                self.at += 1;
                Some((plain, false))
            }
            Some(byte) => {
                self.at += 3;
                let reserved = matches!(byte, b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b',');
                Some((byte, reserved))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eq(a: &str, b: &str) -> bool {
        let (a, b) = (Uri::parse(a).expect(a), Uri::parse(b).expect(b));
        assert_eq!(uri_eq(&a, &b), uri_eq(&b, &a), "comparison must not depend on the order: {a} {b}");
        uri_eq(&a, &b)
    }

    #[test]
    fn the_equal_pairs_of_rfc_3261_19_1_4_are_equal() {
        assert!(eq("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"));
        assert!(eq("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"));
        assert!(eq("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"));
        assert!(eq(
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"
        ));
        assert!(eq(
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x"
        ));
    }

    #[test]
    fn the_different_pairs_of_rfc_3261_19_1_4_are_different() {
        assert!(!eq("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"));
        assert!(!eq("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
        assert!(!eq("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000"));
        assert!(!eq("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"));
        assert!(!eq("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"));
        assert!(!eq("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"));
    }

    #[test]
    fn a_parameter_without_which_the_meaning_changes_must_be_on_both_sides_rfc_3261_19_1_4() {
        for param in ["user=phone", "ttl=15", "method=INVITE", "maddr=239.255.255.1"] {
            assert!(!eq("sip:a@b", &format!("sip:a@b;{param}")), "{param}");
        }
        // RFC 3261 §19.1.4 lists transport in prose and leaves it out of the rule; its examples decide nothing.
        assert!(eq("sip:a@b", "sip:a@b;transport=udp"));
    }

    #[test]
    fn an_escaped_reserved_character_is_not_the_character_rfc_3261_19_1_4() {
        assert!(!eq("sip:a%3Bb@c", "sip:a;b@c"));
        assert!(eq("sip:a%2db@c", "sip:a-b@c"));
    }

    #[test]
    fn telephone_numbers_differ_not_by_separators_rfc_3966_4() {
        assert!(eq("tel:+1-201-555-0123", "tel:+1(201)5550123"));
        assert!(!eq("tel:+12015550123", "tel:12015550123"));
        assert!(!eq("tel:7042;phone-context=a.example", "tel:7042;phone-context=b.example"));
        assert!(!eq("tel:7042;phone-context=a.example", "tel:7042"));
    }

    #[test]
    fn ipv6_addresses_are_compared_as_addresses_rfc_5954_4_2() {
        assert!(eq("sip:bob@[::ffff:192.0.2.128]", "sip:bob@[::ffff:c000:280]"));
        assert!(eq("sip:bob@[2001:DB8::9:1]", "sip:bob@[2001:db8:0::9:1]"));
    }
}
