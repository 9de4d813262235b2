//! Digest authentication for SIP (RFC 3261 §22, RFC 7616, RFC 8760): [`Challenger`] asks and checks, [`ClientAuth`]
//! and [`authorize`] answer. SHA-256, SHA-512-256 and MD5, quality of protection `auth`.
//! Called by `switch` (registrations, calls, trunks) and `phone`.

mod challenger;
mod client;
mod hash;
mod nonce;
mod params;

use std::fmt;

pub use challenger::{AuthFailure, Challenger, Verified};
pub use client::{ClientAuth, Credentials, NoAnswer, authorize};
pub use params::{AuthParams, BadParams};

use crate::write::{Headers, Quoted};

/// A hash of RFC 7616 §3.2 and RFC 8760 §2.1. Ordered by strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Algorithm {
    #[serde(rename = "MD5")]
    Md5,
    #[serde(rename = "SHA-256")]
    Sha256,
    #[serde(rename = "SHA-512-256")]
    Sha512_256,
}

impl Algorithm {
    /// The registered name, as written in a challenge.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512_256 => "SHA-512-256",
        }
    }

    /// By its name without regard to case; the session variants (`MD5-sess`) are not known.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256]
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Algorithm::from_name(name).ok_or(UnknownAlgorithm)
    }
}

/// A name that is no digest algorithm of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a digest algorithm of \"SHA-256\", \"SHA-512-256\" and \"MD5\"")]
pub struct UnknownAlgorithm;

/// What a server keeps of a password: H(user ":" realm ":" password) for each algorithm (RFC 7616 §3.4.2).
/// As good as the password within that realm, so it prints masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1Set {
    pub md5: [u8; 16],
    pub sha256: [u8; 32],
    pub sha512_256: [u8; 32],
}

impl Ha1Set {
    pub fn new(user: &str, realm: &str, password: &str) -> Self {
        let parts: [&[u8]; 3] = [user.as_bytes(), realm.as_bytes(), password.as_bytes()];
        Ha1Set { md5: hash::md5(&parts), sha256: hash::sha256(&parts), sha512_256: hash::sha512_256(&parts) }
    }

    fn get(&self, algorithm: Algorithm) -> &[u8] {
        match algorithm {
            Algorithm::Md5 => &self.md5,
            Algorithm::Sha256 => &self.sha256,
            Algorithm::Sha512_256 => &self.sha512_256,
        }
    }
}

impl fmt::Debug for Ha1Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ha1Set(…)")
    }
}

/// The fields of a digest answer that its hash covers (RFC 7616 §3.4.1).
struct Proof<'a> {
    algorithm: Algorithm,
    ha1: &'a [u8],
    nonce: &'a [u8],
    /// nc as written and cnonce; `None` for the form of RFC 2069, which has no qop.
    counted: Option<(&'a [u8], &'a [u8])>,
    method: &'a str,
    uri: &'a [u8],
}

impl Proof<'_> {
    fn response(&self) -> hash::Hex {
        let ha1 = hash::Hex::new(self.ha1);
        let ha2 = hash::hex(self.algorithm, &[self.method.as_bytes(), self.uri]);
        match self.counted {
            Some((nc, cnonce)) => {
                hash::hex(self.algorithm, &[ha1.as_bytes(), self.nonce, nc, cnonce, b"auth", ha2.as_bytes()])
            }
            None => hash::hex(self.algorithm, &[ha1.as_bytes(), self.nonce, ha2.as_bytes()]),
        }
    }
}

/// The header field a challenge stands in and the one its answer goes into.
fn field_names(proxy: bool) -> (&'static str, &'static str) {
    if proxy { ("Proxy-Authenticate", "Proxy-Authorization") } else { ("WWW-Authenticate", "Authorization") }
}

fn push_challenge(headers: &mut Headers, proxy: bool, value: fmt::Arguments<'_>) {
    headers.push(field_names(proxy).0, value);
}
