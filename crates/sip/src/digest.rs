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
pub use client::{ClientAuth, Credentials, NoAnswer, authorize, realm_of};
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

#[cfg(test)]
mod tests {
    use super::*;

    fn response(algorithm: Algorithm, user: &str, realm: &str, password: &str, rest: [&str; 3]) -> String {
        let set = Ha1Set::new(user, realm, password);
        let [nonce, cnonce, uri] = rest;
        let counted = Some((&b"00000001"[..], cnonce.as_bytes()));
        let proof = Proof {
            algorithm,
            ha1: set.get(algorithm),
            nonce: nonce.as_bytes(),
            counted,
            method: "GET",
            uri: uri.as_bytes(),
        };
        proof.response().as_str().to_owned()
    }

    #[test]
    fn the_examples_of_rfc_7616_section_3_9_1_come_out() {
        let rest = [
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            "/dir/index.html",
        ];
        let of = |algorithm| response(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life", rest);
        assert_eq!(of(Algorithm::Md5), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(of(Algorithm::Sha256), "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
    }

    /// The RFC prints a value made with SHA-512 cut short; erratum 4897 gives the one of SHA-512/256.
    #[test]
    fn the_example_of_rfc_7616_section_3_9_2_comes_out_as_its_erratum_says() {
        let rest = [
            "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
            "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
            "/doe.json",
        ];
        let response = response(Algorithm::Sha512_256, "Jäsøn Doe", "api@example.org", "Secret, or not?", rest);
        assert_eq!(response, "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5");
    }

    #[test]
    fn algorithms_have_the_names_of_rfc_8760_section_2_1_in_any_case() {
        for (name, algorithm) in
            [("md5", Algorithm::Md5), ("SHA-256", Algorithm::Sha256), ("sha-512-256", Algorithm::Sha512_256)]
        {
            assert_eq!(name.parse(), Ok(algorithm));
        }
        assert!("MD5-sess".parse::<Algorithm>().is_err());
        assert_eq!(format!("{:?}", Ha1Set::new("a", "b", "c")), "Ha1Set(…)");
    }
}
