//! The three hashes over parts joined by colons, and their lower-case hexadecimal form.

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};

use super::Algorithm;

fn joined<D: Digest>(parts: &[&[u8]]) -> D {
    let mut hash = D::new();
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            hash.update(b":");
        }
        hash.update(part);
    }
    hash
}

pub(super) fn md5(parts: &[&[u8]]) -> [u8; 16] {
    joined::<Md5>(parts).finalize().into()
}

pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    joined::<Sha256>(parts).finalize().into()
}

pub(super) fn sha512_256(parts: &[&[u8]]) -> [u8; 32] {
    joined::<Sha512_256>(parts).finalize().into()
}

/// The hash of the parts in hexadecimal.
pub(super) fn hex(algorithm: Algorithm, parts: &[&[u8]]) -> Hex {
    match algorithm {
        Algorithm::Md5 => Hex::new(&md5(parts)),
        Algorithm::Sha256 => Hex::new(&sha256(parts)),
        Algorithm::Sha512_256 => Hex::new(&sha512_256(parts)),
    }
}

/// Up to 32 bytes in lower-case hexadecimal, without allocation.
#[derive(Clone, Copy)]
pub(super) struct Hex {
    text: [u8; 64],
    len: usize,
}

impl Hex {
    pub(super) fn new(bytes: &[u8]) -> Hex {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Hex { text, len: bytes.len().min(32) * 2 }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.text[..self.len]
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("hexadecimal digits are ASCII")
    }
}

/// Reads exactly `N` bytes written in hexadecimal.
pub(super) fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high * 16 + low) as u8;
    }
    Some(bytes)
}
