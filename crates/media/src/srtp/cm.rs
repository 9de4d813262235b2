//! AES in counter mode (RFC 3711 §4.1.1) over a buffer in place, and the key derivation built on it (RFC 3711 §4.3,
//! RFC 6188 §3, RFC 7714 §11). Called by [`super::Context`].

use aes::cipher::consts::U16;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::{Aes128Enc, Aes256Enc};
use zeroize::Zeroize;

const BLOCK: usize = 16;
/// A G.711 packet of 20 ms has 10 blocks.
const BATCH: usize = 16;

/// The block cipher in either key length.
pub enum Aes {
    Aes128(Aes128Enc),
    Aes256(Aes256Enc),
}

impl Aes {
    /// `key` of 16 or 32 octets; anything else is a broken invariant of the caller.
    pub fn new(key: &[u8]) -> Self {
        match key.len() {
            16 => Aes::Aes128(Aes128Enc::new_from_slice(key).expect("the length was just matched")),
            32 => Aes::Aes256(Aes256Enc::new_from_slice(key).expect("the length was just matched")),
            other => panic!("an AES key for SRTP has 16 or 32 octets, not {other}"),
        }
    }

    /// Adds the keystream that starts at counter block `iv` to `data`.
    #[inline]
    pub fn apply(&self, iv: [u8; BLOCK], data: &mut [u8]) {
        match self {
            Aes::Aes128(cipher) => apply(cipher, iv, data),
            Aes::Aes256(cipher) => apply(cipher, iv, data),
        }
    }
}

#[inline]
fn apply<C: BlockCipherEncrypt<BlockSize = U16>>(cipher: &C, iv: [u8; BLOCK], data: &mut [u8]) {
    let mut counter = u128::from_be_bytes(iv);
    let mut stream = [Array::<u8, U16>::default(); BATCH];
    for chunk in data.chunks_mut(BATCH * BLOCK) {
        let blocks = chunk.len().div_ceil(BLOCK);
        for block in &mut stream[..blocks] {
            block.copy_from_slice(&counter.to_be_bytes());
            counter = counter.wrapping_add(1);
        }
        cipher.encrypt_blocks(&mut stream[..blocks]);
        let (whole, tail) = chunk.as_chunks_mut::<BLOCK>();
        for (data, key) in whole.iter_mut().zip(&stream) {
            *data = (u128::from_ne_bytes(*data) ^ u128::from_ne_bytes((*key).into())).to_ne_bytes();
        }
        if !tail.is_empty() {
            tail.iter_mut().zip(&stream[blocks - 1]).for_each(|(data, key)| *data ^= key);
        }
    }
}

/// Labels of RFC 3711 §4.3.1 and §4.3.2.
#[derive(Clone, Copy)]
pub enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// The pseudo-random function of the key derivation: AES-CM keyed with the master key (RFC 3711 §4.3.3, RFC 6188 §3).
pub struct Derivation {
    master: Aes,
    salt: [u8; 14],
}

impl Derivation {
    /// A salt of 12 octets (GCM) is filled up with zeros at its end (RFC 7714 §11).
    pub fn new(master_key: &[u8], master_salt: &[u8]) -> Self {
        let mut salt = [0; 14];
        salt[..master_salt.len()].copy_from_slice(master_salt);
        Derivation { master: Aes::new(master_key), salt }
    }

    /// Fills `out` with the session key for `label`; the key derivation rate is 0, as SDES has it by default.
    pub fn derive(&self, label: Label, out: &mut [u8]) {
        let mut iv = [0; BLOCK];
        iv[..14].copy_from_slice(&self.salt);
        iv[7] ^= label as u8;
        out.fill(0);
        self.master.apply(iv, out);
    }
}

impl Drop for Derivation {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::tests::unhex;

    fn keystream(key: &str, iv: &str, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        Aes::new(&unhex(key)).apply(unhex(iv).try_into().unwrap(), &mut out);
        out
    }

    #[test]
    fn aes_128_keystream_matches_rfc_3711_b_2() {
        let stream = keystream("2B7E151628AED2A6ABF7158809CF4F3C", "F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000", 65282 * 16);
        let head = "E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB41E95B3BB0A2E8DD477901E4FCA894C0";
        let tail = "EC8CDF7398607CB0F2D21675EA9EA1E4362B7C3C6773516318A077D7FC5073AE6A2CC3787889374FBEB4C81B17BA6C44";
        assert_eq!(stream[..48], unhex(head));
        assert_eq!(stream[0xfeff * 16..0xfeff * 16 + 48], unhex(tail));
    }

    #[test]
    fn aes_256_keystream_matches_rfc_6188_7_1() {
        let key = "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98";
        let stream = keystream(key, "f0f1f2f3f4f5f6f7f8f9fafbfcfd0000", 65282 * 16);
        let head = "92bdd28a93c3f52511c677d08b5515a49da71b2378a854f67050756ded165bac63c4868b7096d88421b563b8c94c9a31";
        let tail = "cea518c90fd91ced9cbb18c078a547113dbc4814f4da5f00a08772b63c6a046d6eb246913062a16891433e97dd01a57f";
        assert_eq!(stream[..48], unhex(head));
        assert_eq!(stream[0xfeff * 16..0xfeff * 16 + 48], unhex(tail));
    }

    #[test]
    fn keystream_does_not_depend_on_how_much_is_taken_at_once() {
        let long = keystream("2B7E151628AED2A6ABF7158809CF4F3C", "F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000", 700);
        for len in [0, 1, 15, 16, 17, 160, 255, 256, 257, 511, 513] {
            let short = keystream("2B7E151628AED2A6ABF7158809CF4F3C", "F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000", len);
            assert_eq!(short, long[..len], "{len}");
        }
    }

    fn derived(derivation: &Derivation, label: Label, len: usize) -> Vec<u8> {
        let mut out = vec![0xff; len];
        derivation.derive(label, &mut out);
        out
    }

    #[test]
    fn session_keys_match_rfc_3711_b_3() {
        let d = Derivation::new(&unhex("E1F97A0D3E018BE0D64FA32C06DE4139"), &unhex("0EC675AD498AFEEBB6960B3AABE6"));
        assert_eq!(derived(&d, Label::RtpEncryption, 16), unhex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derived(&d, Label::RtpSalt, 14), unhex("30CBBC08863D8C85D49DB34A9AE1"));
        let auth = "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF7227098\
                    6371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2";
        assert_eq!(derived(&d, Label::RtpAuthentication, 94), unhex(auth));
    }

    #[test]
    fn session_keys_of_256_bits_match_rfc_6188_7_2() {
        let key = "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6";
        let d = Derivation::new(&unhex(key), &unhex("3b04803de51ee7c96423ab5b78d2"));
        let expected = "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4";
        assert_eq!(derived(&d, Label::RtpEncryption, 32), unhex(expected));
        assert_eq!(derived(&d, Label::RtpSalt, 14), unhex("fa31791685ca444a9e07c6c64e93"));
        assert_eq!(derived(&d, Label::RtpAuthentication, 20), unhex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
    }
}
