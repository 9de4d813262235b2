//! SRTP and SRTCP against an independent implementation: what one protects the other takes, octet for octet.

use proptest::prelude::*;
use ringfort_media::srtp::{Context, MAX_TRAILER};
use ringfort_media::types::{CryptoSuite, Mki, SrtpKeys};
use rtc_srtp::context::Context as Oracle;
use rtc_srtp::protection_profile::ProtectionProfile;

fn oracle(keys: &SrtpKeys) -> Oracle {
    let profile = match keys.suite {
        CryptoSuite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        CryptoSuite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        CryptoSuite::Aes256CmHmacSha1_80 => ProtectionProfile::Aes256CmHmacSha1_80,
        CryptoSuite::Aes256CmHmacSha1_32 => ProtectionProfile::Aes256CmHmacSha1_32,
        CryptoSuite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        CryptoSuite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
    };
    let provider = rtc_crypto::default_provider().unwrap();
    Oracle::new(keys.master_key(), keys.master_salt(), profile, None, None, provider.crypto()).unwrap()
}

fn protect(
    plain: &[u8],
    work: impl FnOnce(&mut [u8], usize) -> Result<usize, ringfort_media::srtp::SrtpError>,
) -> Vec<u8> {
    let mut buf = plain.to_vec();
    buf.resize(plain.len() + MAX_TRAILER, 0);
    let len = work(&mut buf, plain.len()).unwrap();
    buf.truncate(len);
    buf
}

prop_compose! {
    fn keys()(suite in prop::sample::select(&CryptoSuite::ALL[..]), key: [u8; 32], salt: [u8; 14]) -> SrtpKeys {
        let mut keys = SrtpKeys { suite, key: [0; 32], salt: [0; 14], mki: None };
        keys.key[..suite.key_len()].copy_from_slice(&key[..suite.key_len()]);
        keys.salt[..suite.salt_len()].copy_from_slice(&salt[..suite.salt_len()]);
        keys
    }
}

prop_compose! {
    fn rtp_packet()(
        csrcs in 0..4usize,
        extension in prop::option::of(0..4usize),
        octets in prop::collection::vec(any::<u8>(), 0..300),
        ssrc: u32,
        timestamp: u32,
    ) -> Vec<u8> {
        let mut packet = vec![0x80 | csrcs as u8 | u8::from(extension.is_some()) << 4, 0x60, 0, 0];
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&ssrc.to_be_bytes());
        packet.resize(12 + 4 * csrcs, 0x11);
        if let Some(words) = extension {
            packet.extend_from_slice(&[0xbe, 0xde, 0, words as u8]);
            packet.resize(packet.len() + 4 * words, 0);
        }
        packet.extend_from_slice(&octets);
        packet
    }
}

proptest! {
    #[test]
    fn rtp_of_both_is_the_same_through_roll_over(
        keys in keys(),
        template in rtp_packet(),
        start: u16,
        steps in prop::collection::vec(1..2000u16, 1..60),
    ) {
        let (mut tx, mut rx, mut theirs, mut their_rx) =
            (Context::new(&keys), Context::new(&keys), oracle(&keys), oracle(&keys));
        // RFC 3711 §3.3.1: both start at roll-over counter 0.
        let mut sequence = start & 0x7fff;
        for step in steps {
            let mut plain = template.clone();
            plain[2..4].copy_from_slice(&sequence.to_be_bytes());
            let ours = protect(&plain, |buf, len| tx.protect_rtp(buf, len));
            prop_assert_eq!(&ours[..], &theirs.encrypt_rtp(&plain).unwrap()[..]);
            prop_assert_eq!(&their_rx.decrypt_rtp(&ours).unwrap()[..], &plain[..]);
            let mut buf = ours;
            let len = rx.unprotect_rtp(&mut buf).unwrap();
            prop_assert_eq!(&buf[..len], &plain[..]);
            sequence = sequence.wrapping_add(step);
        }
    }

    /// The other implementation knows no MKI. Its packet with the octets put where RFC 3711 §3.1 and RFC 7714 §8.2 want
    /// them is ours, and ours without them is its.
    #[test]
    fn a_packet_with_an_mki_is_one_without_it_but_for_its_octets(
        keys in keys(),
        template in rtp_packet(),
        mki in (1usize..=8).prop_flat_map(|length| (1..=u64::MAX >> (64 - 8 * length), Just(length))),
        body in prop::collection::vec(any::<u8>(), 0..200),
        ssrc: u32,
    ) {
        let mut with = keys.clone();
        with.mki = Mki::new(mki.0, mki.1);
        prop_assert!(with.mki.is_some());
        let octets = &mki.0.to_be_bytes()[8 - mki.1..];
        let gcm = matches!(keys.suite, CryptoSuite::AeadAes128Gcm | CryptoSuite::AeadAes256Gcm);
        let (mut tx, mut rx, mut theirs) = (Context::new(&with), Context::new(&with), oracle(&keys));

        let ours = protect(&template, |buf, len| tx.protect_rtp(buf, len));
        let mut expected = theirs.encrypt_rtp(&template).unwrap().to_vec();
        let at = if gcm { expected.len() } else { expected.len() - ringfort_media::srtp::rtp_tag_len(keys.suite) };
        expected.splice(at..at, octets.iter().copied());
        prop_assert_eq!(&ours, &expected);
        let mut other = ours.clone();
        other[at] ^= 1;
        prop_assert!(rx.unprotect_rtp(&mut other).is_err(), "another MKI names another key");
        let mut buf = ours;
        let len = rx.unprotect_rtp(&mut buf).unwrap();
        prop_assert_eq!(&buf[..len], &template[..]);

        let mut body = body;
        body.resize(body.len().next_multiple_of(4), 0);
        let mut plain = vec![0x80, 204, 0, (1 + body.len() / 4) as u8];
        plain.extend_from_slice(&ssrc.to_be_bytes());
        plain.extend_from_slice(&body);
        let mut ours = protect(&plain, |buf, len| tx.protect_rtcp(buf, len));
        let mut again = ours.clone();
        let len = rx.unprotect_rtcp(&mut again).unwrap();
        prop_assert_eq!(&again[..len], &plain[..]);
        // RFC 3711 §3.1: before the tag of 80 bits; RFC 7714 §9.2: behind the index.
        let at = if gcm { ours.len() - mki.1 } else { ours.len() - 10 - mki.1 };
        prop_assert_eq!(&ours[at..at + mki.1], octets);
        ours.drain(at..at + mki.1);
        prop_assert_eq!(&theirs.decrypt_rtcp(&ours).unwrap()[..], &plain[..]);
    }

    #[test]
    fn rtcp_each_takes_what_the_other_sends(
        keys in keys(),
        ssrc: u32,
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..10),
    ) {
        let (mut tx, mut rx, mut theirs, mut their_rx) =
            (Context::new(&keys), Context::new(&keys), oracle(&keys), oracle(&keys));
        for mut body in bodies {
            body.resize(body.len().next_multiple_of(4), 0);
            let mut plain = vec![0x80, 204, 0, (1 + body.len() / 4) as u8];
            plain.extend_from_slice(&ssrc.to_be_bytes());
            plain.extend_from_slice(&body);
            let ours = protect(&plain, |buf, len| tx.protect_rtcp(buf, len));
            prop_assert_eq!(&their_rx.decrypt_rtcp(&ours).unwrap()[..], &plain[..]);
            let mut buf = theirs.encrypt_rtcp(&plain).unwrap().to_vec();
            let len = rx.unprotect_rtcp(&mut buf).unwrap();
            prop_assert_eq!(&buf[..len], &plain[..]);
        }
    }
}
