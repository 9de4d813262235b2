use super::*;

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let nibble = |d: u8| char::from(d).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect()
}

/// A context with session keys set as the examples of RFC 7714 §16 and §17 have them.
fn gcm_session(key: &[u8]) -> Context {
    let mut salt = [0; 14];
    salt[..12].copy_from_slice(b"Quid pro quo");
    let suite = if key.len() == 32 { CryptoSuite::AeadAes256Gcm } else { CryptoSuite::AeadAes128Gcm };
    Context {
        suite,
        mki: Identifier::new(None),
        rtp: Cipher::Gcm(Gcm::new(key, &salt)),
        rtcp: Cipher::Gcm(Gcm::new(key, &salt)),
        rtp_sources: Sources::default(),
        rtcp_sources: Sources::default(),
    }
}

fn counting(len: u8) -> Vec<u8> {
    (0..len).collect()
}

fn keys(suite: CryptoSuite) -> SrtpKeys {
    let mut keys = SrtpKeys { suite, key: [0; 32], salt: [0; 14], mki: None };
    keys.key[..suite.key_len()].copy_from_slice(&counting(32)[..suite.key_len()]);
    keys.salt[..suite.salt_len()].copy_from_slice(&counting(14)[..suite.salt_len()]);
    keys
}

fn packet(ssrc: u32, sequence: u16, payload: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 1, 0x40];
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&ssrc.to_be_bytes());
    packet.extend((0..payload).map(|i| i as u8));
    packet
}

fn protect(context: &mut Context, plain: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buf = plain.to_vec();
    buf.resize(plain.len() + MAX_TRAILER, 0);
    let len = context.protect_rtp(&mut buf, plain.len())?;
    buf.truncate(len);
    Ok(buf)
}

fn unprotect(context: &mut Context, protected: &[u8]) -> Result<Vec<u8>, SrtpError> {
    let mut buf = protected.to_vec();
    let len = context.unprotect_rtp(&mut buf)?;
    buf.truncate(len);
    Ok(buf)
}

const GALLIA: &str = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 \
                      69736120 696e2070 61727465 73207472 6573";

#[test]
fn aes_128_gcm_packet_matches_rfc_7714_16_1() {
    let expected = unhex(
        "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a \
         51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
    );
    assert_eq!(protect(&mut gcm_session(&counting(16)), &unhex(GALLIA)).unwrap(), expected);
    assert_eq!(unprotect(&mut gcm_session(&counting(16)), &expected).unwrap(), unhex(GALLIA));
}

#[test]
fn aes_256_gcm_packet_matches_rfc_7714_16_2() {
    let expected = unhex(
        "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 \
         76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
    );
    assert_eq!(protect(&mut gcm_session(&counting(32)), &unhex(GALLIA)).unwrap(), expected);
    assert_eq!(unprotect(&mut gcm_session(&counting(32)), &expected).unwrap(), unhex(GALLIA));
}

const REPORT: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 \
                      deadbeef deadbeef deadbeef deadbeef deadbeef";

#[test]
fn aes_128_gcm_rtcp_packet_matches_rfc_7714_17_1() {
    let expected = unhex(
        "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda \
         4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
    );
    let mut sender = gcm_session(&counting(16));
    sender.rtcp_sources.accept(0, 0x4d617273, 0x5d3);
    let mut buf = unhex(REPORT);
    let plain = buf.len();
    buf.resize(plain + MAX_TRAILER, 0);
    let len = sender.protect_rtcp(&mut buf, plain).unwrap();
    assert_eq!(buf[..len], expected);
    let len = gcm_session(&counting(16)).unprotect_rtcp(&mut buf[..len]).unwrap();
    assert_eq!(buf[..len], unhex(REPORT));
}

#[test]
fn encrypted_and_tagged_only_rtcp_is_opened_by_rfc_7714_17_2_to_17_4() {
    let encrypted = "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be \
                     8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4";
    let tagged_128 = format!("{REPORT} 841dd968 3dd78ec9 2ae58790 125f62b3 000005d4");
    let tagged_256 = format!("{REPORT} 91db4afb feee5a97 8fab4393 ed2615fe 000005d4");
    for (key, text) in [(32, encrypted), (16, &tagged_128), (32, &tagged_256)] {
        let mut buf = unhex(text);
        let len = gcm_session(&counting(key)).unprotect_rtcp(&mut buf).unwrap();
        assert_eq!(buf[..len], unhex(REPORT));
        let mut buf = unhex(text);
        buf[20] ^= 1;
        assert_eq!(gcm_session(&counting(key)).unprotect_rtcp(&mut buf), Err(SrtpError::Authentication));
    }
}

#[test]
fn every_suite_round_trips_rtp_and_rtcp_of_every_length() {
    for suite in CryptoSuite::ALL {
        let (mut tx, mut rx) = (Context::new(&keys(suite)), Context::new(&keys(suite)));
        for (sequence, payload) in (0..400).enumerate() {
            let plain = packet(7, sequence as u16, payload);
            let protected = protect(&mut tx, &plain).unwrap();
            assert_eq!(protected.len(), plain.len() + rtp_tag_len(suite));
            assert_eq!(unprotect(&mut rx, &protected).unwrap(), plain, "{suite} {payload}");
        }
        for words in 1..40usize {
            let mut buf = vec![0x80, 201, 0, words as u8, 0, 0, 0, 7];
            buf.resize(4 + 4 * words, 0xab);
            let plain = buf.clone();
            buf.resize(plain.len() + MAX_TRAILER, 0);
            let len = tx.protect_rtcp(&mut buf, plain.len()).unwrap();
            let len = rx.unprotect_rtcp(&mut buf[..len]).unwrap();
            assert_eq!(buf[..len], plain, "{suite} {words}");
        }
    }
}

#[test]
fn any_changed_bit_fails_authentication_and_leaves_the_state_as_it_was() {
    for suite in CryptoSuite::ALL {
        let (mut tx, mut rx) = (Context::new(&keys(suite)), Context::new(&keys(suite)));
        let plain = packet(7, 100, 20);
        let good = protect(&mut tx, &plain).unwrap();
        for bit in 8..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unprotect(&mut rx, &bad), Err(SrtpError::Authentication), "{suite} bit {bit}");
        }
        assert_eq!(unprotect(&mut rx, &good).unwrap(), plain);
    }
}

#[test]
fn a_replayed_packet_is_refused_rfc_3711_3_3_2() {
    for suite in CryptoSuite::ALL {
        let (mut tx, mut rx) = (Context::new(&keys(suite)), Context::new(&keys(suite)));
        let protected = protect(&mut tx, &packet(7, 1, 20)).unwrap();
        unprotect(&mut rx, &protected).unwrap();
        assert_eq!(unprotect(&mut rx, &protected), Err(SrtpError::Replay));
    }
}

#[test]
fn a_sequence_number_is_never_protected_twice_under_one_key() {
    let mut tx = Context::new(&keys(CryptoSuite::AesCm128HmacSha1_80));
    protect(&mut tx, &packet(7, 1, 20)).unwrap();
    assert_eq!(protect(&mut tx, &packet(7, 1, 21)), Err(SrtpError::Replay));
}

#[test]
fn roll_over_goes_on_through_loss_and_reordering_rfc_3711_3_3_1() {
    for suite in [CryptoSuite::AesCm128HmacSha1_80, CryptoSuite::AeadAes128Gcm] {
        let (mut tx, mut rx) = (Context::new(&keys(suite)), Context::new(&keys(suite)));
        let mut held = None;
        for index in (60_000u64..400_000).step_by(37) {
            let plain = packet(7, index as u16, 10);
            let protected = protect(&mut tx, &plain).unwrap();
            match held.take() {
                None => held = Some((protected, plain)),
                Some((earlier, earlier_plain)) => {
                    assert_eq!(unprotect(&mut rx, &protected).unwrap(), plain, "{index}");
                    assert_eq!(unprotect(&mut rx, &earlier).unwrap(), earlier_plain, "before {index}");
                }
            }
        }
        assert_eq!(rx.rtp_sources.slots[0].window.highest() >> 16, 6);
    }
}

#[test]
fn each_ssrc_has_its_own_index_and_at_most_four_are_kept() {
    let suite = CryptoSuite::AesCm128HmacSha1_80;
    let (mut tx, mut rx) = (Context::new(&keys(suite)), Context::new(&keys(suite)));
    for ssrc in 1..=SOURCES as u32 {
        let protected = protect(&mut tx, &packet(ssrc, 9, 10)).unwrap();
        unprotect(&mut rx, &protected).unwrap();
        assert_eq!(unprotect(&mut rx, &protected), Err(SrtpError::Replay));
    }
    let fifth = protect(&mut tx, &packet(5, 9, 10)).unwrap();
    unprotect(&mut rx, &fifth).unwrap();
    assert!(rx.rtp_sources.slots.iter().all(|slot| slot.ssrc != 1), "the oldest made room");
}

#[test]
fn short_and_foreign_packets_are_refused_and_room_is_asked_for() {
    for suite in CryptoSuite::ALL {
        let mut context = Context::new(&keys(suite));
        for len in 0..40 {
            for fill in [0x00, 0x80, 0xff] {
                assert!(context.unprotect_rtp(&mut vec![fill; len]).is_err());
                assert!(context.unprotect_rtcp(&mut vec![fill; len]).is_err());
            }
        }
        let mut plain = packet(7, 1, 20);
        assert!(matches!(context.protect_rtp(&mut plain, 32), Err(SrtpError::NoRoom { .. })));
        assert!(matches!(context.protect_rtp(&mut plain, 64), Err(SrtpError::NoRoom { .. })));
        assert!(matches!(context.protect_rtcp(&mut plain, 32), Err(SrtpError::NoRoom { .. })));
    }
}
