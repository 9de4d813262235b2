//! Security descriptions: the `a=crypto` lines of RFC 4568 with the suites of RFC 4568 §6.2, RFC 6188 §5 and RFC 7714
//! §14.2. Read by the bridge, whose answer takes the first line it can; keys never appear in `Debug`.

mod base64;

use std::fmt::Write;

use rand::Rng;
use zeroize::{Zeroize, Zeroizing};

pub use crate::types::{CryptoSuite, Mki, SrtpKeys};

/// Lines with a smaller lifetime than 2^20 packets would need new keys within a call.
const MIN_LIFETIME: u64 = 1 << 20;

/// Smallest window that `WSH` may name (RFC 4568 §6.3.7).
const MIN_WINDOW: u64 = 64;

/// Other names that phones give to suites. An answer repeats the name of the offer.
const ALIASES: [(&str, CryptoSuite); 2] = [
    ("AES_CM_256_HMAC_SHA1_80", CryptoSuite::Aes256CmHmacSha1_80),
    ("AES_CM_256_HMAC_SHA1_32", CryptoSuite::Aes256CmHmacSha1_32),
];

/// One `a=crypto` line that we can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// Names the line within its m-section; the answer repeats it (RFC 4568 §5.1.2).
    pub tag: u32,
    /// The suite's name as it was written.
    pub suite_name: Box<str>,
    pub keys: SrtpKeys,
    /// Packets that the master key is good for, where it was said.
    pub lifetime: Option<u64>,
}

/// Why an `a=crypto` line cannot be used. Never shows key material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    #[error("expected TAG SUITE inline:KEY with a tag of 1 to 9 digits")]
    Malformed,
    #[error("the suite is not known or not allowed here")]
    Suite,
    #[error("the key method is not inline")]
    KeyMethod,
    #[error("the key is not base64 or not as long as its suite wants")]
    Key,
    #[error("several master keys, which need an MKI")]
    SeveralKeys,
    #[error("a master key identifier that is 0, longer than 8 octets, or does not fit into its own length")]
    Mki,
    #[error("a key lifetime below 2^20 packets or not a number")]
    Lifetime,
    #[error("a session parameter that is not supported")]
    SessionParameter,
}

impl Crypto {
    /// Reads the value of an `a=crypto` attribute and checks that the packet path can do what it says.
    ///
    /// # Errors
    /// What is wrong or not supported. The session parameters KDR, UNENCRYPTED_SRTP, UNENCRYPTED_SRTCP,
    /// UNAUTHENTICATED_SRTP, FEC_ORDER, FEC_KEY and unknown ones make a line unusable, as RFC 4568 §6.3 wants; WSH is a
    /// hint and those that begin with `-` may be ignored.
    pub fn parse(value: &str) -> Result<Crypto, CryptoError> {
        let mut fields = value.split_ascii_whitespace();
        let (Some(tag), Some(name), Some(key_params)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(CryptoError::Malformed);
        };
        let tag = digits(tag, 9).ok_or(CryptoError::Malformed)? as u32;
        let suite = suite_of(name).ok_or(CryptoError::Suite)?;
        let (keys, lifetime) = parse_keys(suite, key_params)?;
        if !fields.all(is_session_parameter_harmless) {
            return Err(CryptoError::SessionParameter);
        }
        Ok(Crypto { tag, suite_name: name.into(), keys, lifetime })
    }

    /// The value of an `a=crypto` attribute. It holds the key: for the SDP alone.
    pub fn write(tag: u32, suite_name: &str, keys: &SrtpKeys, out: &mut String) {
        let mut secret = Zeroizing::new([0u8; 46]);
        let (key, salt) = (keys.master_key(), keys.master_salt());
        secret[..key.len()].copy_from_slice(key);
        secret[key.len()..key.len() + salt.len()].copy_from_slice(salt);
        write!(out, "{tag} {suite_name} inline:").expect("a String takes everything");
        base64::encode(&secret[..key.len() + salt.len()], out);
        if let Some(mki) = keys.mki {
            write!(out, "|{mki}").expect("a String takes everything");
        }
    }
}

/// Fresh random keys for a suite.
pub fn generate_keys<R: Rng + ?Sized>(suite: CryptoSuite, rng: &mut R) -> SrtpKeys {
    let mut keys = SrtpKeys { suite, key: [0; 32], salt: [0; 14], mki: None };
    rng.fill_bytes(&mut keys.key[..suite.key_len()]);
    rng.fill_bytes(&mut keys.salt[..suite.salt_len()]);
    keys
}

/// Which line of an offer the answer takes: the first whose suite is allowed and that we can do in every respect (RFC
/// 4568 §5.1.2: lines come in order of preference).
///
/// # Errors
/// Why the last line that was looked at will not do; `Malformed` where there is none.
pub fn select<'a>(lines: impl Iterator<Item = &'a str>, allowed: &[CryptoSuite]) -> Result<Crypto, CryptoError> {
    let mut last = CryptoError::Malformed;
    for line in lines {
        match Crypto::parse(line) {
            Ok(crypto) if allowed.contains(&crypto.keys.suite) => return Ok(crypto),
            Ok(_) => last = CryptoError::Suite,
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn suite_of(name: &str) -> Option<CryptoSuite> {
    let alias = || ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)).map(|(_, suite)| *suite);
    CryptoSuite::from_name(name).or_else(alias)
}

/// `inline:KEY[|LIFETIME][|MKI:LENGTH]` (RFC 4568 §6.1).
fn parse_keys(suite: CryptoSuite, key_params: &str) -> Result<(SrtpKeys, Option<u64>), CryptoError> {
    if key_params.contains(';') {
        return Err(CryptoError::SeveralKeys);
    }
    let (method, info) = key_params.split_once(':').ok_or(CryptoError::Malformed)?;
    if !method.eq_ignore_ascii_case("inline") {
        return Err(CryptoError::KeyMethod);
    }
    let mut parts = info.split('|');
    let mut keys = decode_keys(suite, parts.next().unwrap_or("")).ok_or(CryptoError::Key)?;
    let mut lifetime = None;
    for part in parts {
        if keys.mki.is_some() {
            return Err(CryptoError::Malformed);
        }
        if let Some((mki, length)) = part.split_once(':') {
            keys.mki = Some(parse_mki(mki, length)?);
            continue;
        }
        if lifetime.is_some() {
            return Err(CryptoError::Malformed);
        }
        let packets = parse_lifetime(part).filter(|&packets| packets >= MIN_LIFETIME);
        lifetime = Some(packets.ok_or(CryptoError::Lifetime)?);
    }
    Ok((keys, lifetime))
}

/// RFC 4568 §6.1: decimal numbers without leading zeroes. One beyond what a packet of ours can carry is no mistake, but
/// nothing that we can do.
fn parse_mki(value: &str, length: &str) -> Result<Mki, CryptoError> {
    let number = |text: &str, most| digits(text, most).filter(|_| !text.starts_with('0') || text == "0");
    let (Some(value), Some(length)) = (number(value, 309), number(length, 3)) else {
        return Err(CryptoError::Malformed);
    };
    Mki::new(value, length as usize).filter(|_| value != u64::MAX).ok_or(CryptoError::Mki)
}

fn decode_keys(suite: CryptoSuite, text: &str) -> Option<SrtpKeys> {
    let mut secret = Zeroizing::new([0u8; 48]);
    let length = base64::decode(text, &mut secret[..])?;
    let (key_len, salt_len) = (suite.key_len(), suite.salt_len());
    if length != key_len + salt_len {
        return None;
    }
    let mut keys = SrtpKeys { suite, key: [0; 32], salt: [0; 14], mki: None };
    keys.key[..key_len].copy_from_slice(&secret[..key_len]);
    keys.salt[..salt_len].copy_from_slice(&secret[key_len..length]);
    secret.zeroize();
    Some(keys)
}

/// A number of packets or `2^N` (RFC 4568 §6.1); what is more than a key may ever protect counts as 2^48.
fn parse_lifetime(text: &str) -> Option<u64> {
    match text.strip_prefix("2^") {
        Some(power) => digits(power, 3).map(|power| 1u64 << power.min(48)),
        None => digits(text, 19),
    }
}

fn is_session_parameter_harmless(parameter: &str) -> bool {
    if parameter.starts_with('-') {
        return true;
    }
    parameter.strip_prefix("WSH=").and_then(|size| digits(size, 9)).is_some_and(|size| size >= MIN_WINDOW)
}

/// A decimal number of at most that many digits; more than 64 bits saturates.
fn digits(text: &str, most: usize) -> Option<u64> {
    let fits = (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// What a fuzzer feeds: whatever is read is written and read again as the same.
#[doc(hidden)]
pub fn fuzz_sdes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(crypto) = Crypto::parse(text) {
        let mut again = String::new();
        Crypto::write(crypto.tag, &crypto.suite_name, &crypto.keys, &mut again);
        let read = Crypto::parse(&again).expect("what we write we can read");
        assert_eq!(read.keys, crypto.keys);
        assert_eq!((read.tag, &read.suite_name), (crypto.tag, &crypto.suite_name));
    }
    let _ = select(text.lines(), &CryptoSuite::ALL);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha20Rng;

    /// 30 octets 0x00–0x1d.
    const KEY_30: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd";

    fn line(rest: &str) -> String {
        format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}{rest}")
    }

    #[test]
    fn key_and_salt_are_cut_by_the_suite_rfc_4568_section_6_1() {
        let crypto = Crypto::parse(&line("|2^31")).unwrap();
        assert_eq!(crypto.tag, 1);
        assert_eq!(crypto.keys.master_key(), (0..16).collect::<Vec<u8>>());
        assert_eq!(crypto.keys.master_salt(), (16..30).collect::<Vec<u8>>());
        assert_eq!(crypto.lifetime, Some(1 << 31));
    }

    #[test]
    fn every_suite_is_written_and_read_rfc_6188_rfc_7714() {
        let mut rng = ChaCha20Rng::from_seed([7; 32]);
        for suite in CryptoSuite::ALL {
            let keys = generate_keys(suite, &mut rng);
            let mut text = String::new();
            Crypto::write(4, suite.name(), &keys, &mut text);
            let read = Crypto::parse(&text).unwrap();
            assert_eq!((read.tag, read.keys), (4, keys), "{text}");
        }
    }

    #[test]
    fn a_master_key_identifier_is_read_and_written_rfc_4568_section_6_1() {
        for (rest, mki, lifetime) in [
            ("|1:4", Mki::new(1, 4), None),
            ("|2^20|1:4", Mki::new(1, 4), Some(1 << 20)),
            ("|2^31|1066:2", Mki::new(1066, 2), Some(1 << 31)),
            ("|255:1", Mki::new(255, 1), None),
            ("", None, None),
        ] {
            let crypto = Crypto::parse(&line(rest)).unwrap();
            assert_eq!((crypto.keys.mki, crypto.lifetime), (mki, lifetime), "{rest}");
            let mut text = String::new();
            Crypto::write(1, &crypto.suite_name, &crypto.keys, &mut text);
            assert_eq!(Crypto::parse(&text).unwrap().keys, crypto.keys, "{text}");
        }
    }

    #[test]
    fn keys_of_a_wrong_length_or_alphabet_are_refused() {
        let bad = [
            "1 AES_256_CM_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd",
            "1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGx",
            "1 AES_CM_128_HMAC_SHA1_80 inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBka*xwd",
            "1 AES_CM_128_HMAC_SHA1_80 inline:",
        ];
        for text in bad {
            assert_eq!(Crypto::parse(text), Err(CryptoError::Key), "{text}");
        }
        assert!(Crypto::parse("0 AES_CM_128_HMAC_SHA1_80").is_err());
        assert_eq!(Crypto::parse("1 F8_128_HMAC_SHA1_80 inline:AAAA"), Err(CryptoError::Suite));
        assert_eq!(Crypto::parse(&line("").replace("inline", "uri")), Err(CryptoError::KeyMethod));
    }

    #[test]
    fn what_the_packet_path_cannot_do_makes_a_line_unusable_rfc_4568_section_6() {
        let cases = [
            ("|1:9", CryptoError::Mki),
            ("|1:128", CryptoError::Mki),
            ("|256:1", CryptoError::Mki),
            ("|0:1", CryptoError::Mki),
            ("|36893488147419103232:8", CryptoError::Mki),
            ("|01:4", CryptoError::Malformed),
            ("|1:04", CryptoError::Malformed),
            ("|1:4|2^20", CryptoError::Malformed),
            ("|1:4|2:4", CryptoError::Malformed),
            ("|2^20|x:4", CryptoError::Malformed),
            ("|2^20|2^20", CryptoError::Malformed),
            ("|2^10", CryptoError::Lifetime),
            ("|many", CryptoError::Lifetime),
            (";inline:AAAA|1:4", CryptoError::SeveralKeys),
            (" KDR=1", CryptoError::SessionParameter),
            (" UNENCRYPTED_SRTP", CryptoError::SessionParameter),
            (" UNENCRYPTED_SRTCP", CryptoError::SessionParameter),
            (" UNAUTHENTICATED_SRTP", CryptoError::SessionParameter),
            (" FEC_ORDER=FEC_SRTP", CryptoError::SessionParameter),
            (" WSH=32", CryptoError::SessionParameter),
            (" X-NEW=1", CryptoError::SessionParameter),
        ];
        for (rest, expected) in cases {
            assert_eq!(Crypto::parse(&line(rest)), Err(expected), "{rest}");
        }
        for rest in ["|2^48", "|1048576", "|2^127", " WSH=64", " -X=1", "|2^20 WSH=1024 -Y"] {
            assert!(Crypto::parse(&line(rest)).is_ok(), "{rest}");
        }
    }

    #[test]
    fn the_answer_takes_the_first_acceptable_line_rfc_4568_section_5_1_2() {
        let lines = [line(" UNENCRYPTED_SRTP"), line("").replacen('1', "2", 1), line("").replacen('1', "3", 1)];
        let chosen = select(lines.iter().map(String::as_str), &CryptoSuite::ALL).unwrap();
        assert_eq!(chosen.tag, 2);
        let only_gcm = [CryptoSuite::AeadAes256Gcm];
        assert_eq!(select(lines.iter().map(String::as_str), &only_gcm), Err(CryptoError::Suite));
        assert_eq!(select(std::iter::empty(), &only_gcm), Err(CryptoError::Malformed));
    }

    #[test]
    fn a_suite_by_another_name_keeps_that_name() {
        let text = format!("5 AES_CM_256_HMAC_SHA1_80 inline:{}", "A".repeat(62) + "==".trim_end_matches('='));
        let crypto = Crypto::parse(&text).unwrap();
        assert_eq!(crypto.keys.suite, CryptoSuite::Aes256CmHmacSha1_80);
        assert_eq!(&*crypto.suite_name, "AES_CM_256_HMAC_SHA1_80");
    }

    #[test]
    fn keys_never_show() {
        let shown = format!("{:?} {}", Crypto::parse(&line("")).unwrap(), Crypto::parse(&line("|1:9")).unwrap_err());
        assert!(!shown.contains("AAEC") && !shown.contains("1, 2, 3"), "{shown}");
    }
}
