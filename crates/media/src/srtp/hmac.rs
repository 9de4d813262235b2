//! HMAC-SHA1 (RFC 2104) with the key's two states kept ready, so that a tag over a packet costs four compressions
//! and no copy of it. Called by [`super::Context`].

use zeroize::Zeroize;

const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
const BLOCK: usize = 64;

/// A keyed HMAC-SHA1.
pub struct HmacSha1 {
    inner: [u32; 5],
    outer: [u32; 5],
}

impl HmacSha1 {
    /// `key` of at most one block (SRTP's authentication key has 20 octets, RFC 3711 §5.2).
    pub fn new(key: &[u8; 20]) -> Self {
        let mut block = [0; BLOCK];
        let mut absorb = |pad: u8| {
            block.fill(pad);
            block.iter_mut().zip(key).for_each(|(b, k)| *b = pad ^ k);
            let mut state = INITIAL;
            sha1::block_api::compress(&mut state, &[block]);
            state
        };
        let (inner, outer) = (absorb(0x36), absorb(0x5c));
        block.zeroize();
        HmacSha1 { inner, outer }
    }

    /// The tag of `message` followed by `suffix` (RFC 3711 §4.2: the roll-over counter is appended for SRTP).
    #[inline]
    pub fn tag<const N: usize>(&self, message: &[u8], suffix: [u8; N]) -> [u8; 20] {
        const { assert!(N <= 8, "the suffix is a counter") };
        let mut state = self.inner;
        let (blocks, rest) = message.as_chunks::<BLOCK>();
        sha1::block_api::compress(&mut state, blocks);
        let mut last = [0; 2 * BLOCK];
        let used = rest.len() + N;
        last[..rest.len()].copy_from_slice(rest);
        last[rest.len()..used].copy_from_slice(&suffix);
        last[used] = 0x80;
        let end = if used + 9 <= BLOCK { BLOCK } else { 2 * BLOCK };
        let bits = 8 * (BLOCK + message.len() + N) as u64;
        last[end - 8..end].copy_from_slice(&bits.to_be_bytes());
        sha1::block_api::compress(&mut state, last[..end].as_chunks().0);

        let mut block = [0; BLOCK];
        write_state(&state, &mut block);
        block[20] = 0x80;
        block[BLOCK - 8..].copy_from_slice(&(8 * (BLOCK as u64 + 20)).to_be_bytes());
        let mut state = self.outer;
        sha1::block_api::compress(&mut state, &[block]);
        let mut tag = [0; 20];
        write_state(&state, &mut tag);
        tag
    }
}

fn write_state(state: &[u32; 5], out: &mut [u8]) {
    for (bytes, word) in out.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
}

impl Drop for HmacSha1 {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

/// Compares without telling by its time where the difference is.
#[inline]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && std::hint::black_box(a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn tags_match_rfc_2202_3() {
        let mac = HmacSha1::new(&[0x0b; 20]);
        assert_eq!(hex(&mac.tag(b"Hi There", [])), "b617318655057264e28bc0b6fb378c8ef146be00");
        let mac = HmacSha1::new(&[0xaa; 20]);
        assert_eq!(hex(&mac.tag(&[0xdd; 50], [])), "125d7342b9ac11cd91a39af48aa17b4f63f175d3");
    }

    #[test]
    fn a_suffix_counts_as_part_of_the_message_at_every_length() {
        let mac = HmacSha1::new(&[7; 20]);
        for len in 0..200 {
            let message = vec![0x5a; len];
            let whole: Vec<u8> = message.iter().copied().chain([1, 2, 3, 4]).collect();
            assert_eq!(mac.tag(&message, [1, 2, 3, 4]), mac.tag(&whole, []), "{len}");
        }
    }

    #[test]
    fn comparison_finds_every_difference() {
        assert!(equal(b"abc", b"abc") && !equal(b"abc", b"abd") && !equal(b"xbc", b"abc") && !equal(b"ab", b"abc"));
    }
}
