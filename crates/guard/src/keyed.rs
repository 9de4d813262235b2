//! SipHash-1-3 (Aumasson and Bernstein) of one source under a secret key, so that nobody outside can choose sources
//! that meet in one place of a table.

use std::hash::{BuildHasher, Hasher};

use crate::source::SourceKey;

/// The secret key of a table: from the process's random generator.
#[derive(Clone, Copy)]
pub(crate) struct Keyed(u64, u64);

impl Keyed {
    pub(crate) fn new(key: [u8; 16]) -> Self {
        let bits = u128::from_le_bytes(key);
        Self(bits as u64, (bits >> 64) as u64)
    }

    pub(crate) fn source(&self, source: SourceKey) -> u64 {
        match source {
            SourceKey::V4(bits) => self.words(u64::from(bits), 4),
            SourceKey::V6(prefix) => self.words(prefix, 6),
        }
    }

    /// The hash of two words.
    fn words(&self, first: u64, second: u64) -> u64 {
        let mut v = [
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ];
        for word in [first, second, 16 << 56] {
            v[3] ^= word;
            round(&mut v);
            v[0] ^= word;
        }
        v[2] ^= 0xff;
        for _ in 0..3 {
            round(&mut v);
        }
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

/// For hash maps keyed by [`SourceKey`].
impl BuildHasher for Keyed {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { key: *self, state: 0, words: 0 }
    }
}

/// Chains [`Keyed::words`] over what is written.
pub(crate) struct KeyedHasher {
    key: Keyed,
    state: u64,
    words: u64,
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.words += 1;
        self.state = self.key.words(self.state ^ word, self.words);
    }

    fn write_isize(&mut self, discriminant: isize) {
        self.state ^= (discriminant as u64).rotate_left(48);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(deprecated)]
    fn agrees_with_the_standard_library_where_that_uses_siphash_1_3_with_zero_keys() {
        use std::collections::hash_map::DefaultHasher;
        let mut oracle = DefaultHasher::new();
        oracle.write_u64(0x0102_0304_0506_0708);
        oracle.write_u64(6);
        assert_eq!(Keyed::new([0; 16]).words(0x0102_0304_0506_0708, 6), oracle.finish());
    }

    #[test]
    fn another_key_puts_sources_elsewhere() {
        let (a, b) = (Keyed::new([1; 16]), Keyed::new([2; 16]));
        let same = (0..10_000u32)
            .filter(|&ip| a.source(SourceKey::V4(ip)) % 1024 == b.source(SourceKey::V4(ip)) % 1024)
            .count();
        assert!(same < 100, "{same}");
    }
}
