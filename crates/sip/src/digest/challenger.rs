//! The asking side: challenges, and the check of what comes back.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand::rngs::ChaCha12Rng;
use rand::{Rng, SeedableRng};
use subtle::ConstantTimeEq;

use super::hash::Hex;
use super::nonce::Nonces;
use super::{Algorithm, AuthParams, BadParams, Ha1Set, Proof, Quoted, push_challenge};
use crate::uri::Uri;
use crate::write::Headers;

/// Nonces whose counts are kept; each costs about 60 bytes.
const NONCES_IN_USE: usize = 262_144;

/// Who was asked and answered right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub username: String,
    pub algorithm: Algorithm,
}

/// Why an answer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthFailure {
    /// To be answered 400; or, where the scheme is another, as if there were no answer.
    #[error("not a digest answer: {0}")]
    Malformed(#[from] BadParams),
    #[error("expected {0} in the digest answer")]
    Missing(&'static str),
    /// An answer to somebody else's challenge (another proxy's): look at the next field.
    #[error("the answer is for another realm")]
    OtherRealm,
    /// Challenge again.
    #[error("an algorithm or quality of protection that was not offered")]
    NotOffered,
    /// Right password, but the nonce is too old or not known any more: challenge again with `stale`.
    #[error("the nonce is stale")]
    Stale,
    /// Right password, but this nonce count came before: challenge again with `stale`.
    #[error("the nonce count was used before")]
    Replay,
    /// The answer was made for another request.
    #[error("the digest uri is not the request's")]
    OtherUri,
    /// Unknown user or wrong password; nobody can tell which (GUARD-10).
    #[error("unknown user or wrong password")]
    Denied,
}

impl AuthFailure {
    /// Whether the peer knows the password and just needs a new nonce (RFC 7616 §3.3).
    pub const fn is_stale(self) -> bool {
        matches!(self, AuthFailure::Stale | AuthFailure::Replay)
    }
}

/// Challenges for one realm and the memory that replays are found with.
pub struct Challenger {
    realm: String,
    algorithms: Vec<Algorithm>,
    nonces: Nonces,
    rng: ChaCha12Rng,
    opaque: Hex,
    /// Takes the place of an unknown user's hashes so that work and reply are the same.
    nobody: Ha1Set,
}

impl Challenger {
    /// `algorithms` in the order in which they are offered (RFC 8760 §2.3); an empty list offers SHA-256.
    pub fn new(realm: impl Into<String>, algorithms: Vec<Algorithm>, nonce_lifetime: Duration, seed: [u8; 32]) -> Self {
        let realm = realm.into();
        let mut rng = ChaCha12Rng::from_seed(seed);
        let mut key = [0; 32];
        let mut secret = [0; 16];
        let mut opaque = [0; 8];
        let mut marking = [0; 16];
        rng.fill_bytes(&mut key);
        rng.fill_bytes(&mut marking);
        rng.fill_bytes(&mut secret);
        rng.fill_bytes(&mut opaque);
        let nobody = Ha1Set::new("", &realm, Hex::new(&secret).as_str());
        Challenger {
            algorithms: if algorithms.is_empty() { vec![Algorithm::Sha256] } else { algorithms },
            nonces: Nonces::new(key, marking, nonce_lifetime, NONCES_IN_USE),
            opaque: Hex::new(&opaque),
            realm,
            rng,
            nobody,
        }
    }

    /// Bounds the number of nonces whose counts are kept. When more are in use the oldest go stale.
    pub fn with_nonce_limit(mut self, limit: usize) -> Self {
        self.nonces.set_limit(limit);
        self
    }

    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// Nonces whose counts are kept at the moment.
    pub fn nonces_in_use(&self) -> usize {
        self.nonces.in_use()
    }

    /// Appends one challenge per algorithm, in order: WWW-Authenticate, or Proxy-Authenticate where `proxy`. `to` is the
    /// address that the answer goes to: the nonce is good from there (IPv6: from its /64).
    pub fn challenge(&mut self, now: Instant, to: IpAddr, stale: bool, headers: &mut Headers, proxy: bool) {
        let nonce = self.nonces.issue(now, to, &mut self.rng);
        let (realm, nonce, opaque) = (Quoted(&self.realm), nonce.as_str(), self.opaque.as_str());
        let stale = if stale { ", stale=true" } else { "" };
        for algorithm in &self.algorithms {
            push_challenge(
                headers,
                proxy,
                format_args!(
                    "Digest realm={realm}, nonce=\"{nonce}\", opaque=\"{opaque}\", algorithm={algorithm}, \
                     qop=\"auth\"{stale}"
                ),
            );
        }
    }

    /// Whether the value of an Authorization or Proxy-Authorization field brings back a nonce of ours from the address that
    /// it was given to: then that source is no forged one, whatever else is in the field (GUARD-6).
    pub fn was_heard_at(&mut self, now: Instant, authorization: &[u8], source: IpAddr) -> bool {
        let Ok(params) = AuthParams::parse(authorization) else { return false };
        let Some(nonce) = params.get("nonce") else { return false };
        let nonce = self.nonces.read(now, nonce);
        self.nonces.was_given_to(nonce, source)
    }

    /// Checks the value of one Authorization or Proxy-Authorization field.
    ///
    /// The digest uri has to name the same user, host and port as the Request-URI; scheme, parameters and headers may
    /// differ, because phones leave them out and proxies add them (RFC 3261 §22.4 item 5 lets a server be lenient). A
    /// digest uri without a user names the whole server, as some programs (SIPp) write it whatever they ask for: it is
    /// taken too, because a nonce count is never taken twice.
    /// An answer without qop (RFC 2069) is taken as the first count of its nonce, so it works once.
    ///
    /// `from`: where the request came from. A nonce that was not given to there is stale whatever else is said, and so is one
    /// that is too old or made up: nobody learns whether a password is right who has not received our challenge himself,
    /// and whoever has proven the password has proven his address too (GUARD-6). `None`: the nonce may come from anywhere.
    pub fn verify<'s>(
        &mut self,
        now: Instant,
        from: Option<IpAddr>,
        authorization: &[u8],
        method: &str,
        request_uri: &str,
        lookup: &dyn Fn(&str) -> Option<&'s Ha1Set>,
    ) -> Result<Verified, AuthFailure> {
        let params = AuthParams::parse(authorization)?;
        if params.get("realm") != Some(self.realm.as_bytes()) {
            return Err(AuthFailure::OtherRealm);
        }
        let algorithm = match params.get("algorithm") {
            None => Algorithm::Md5,
            Some(name) => {
                std::str::from_utf8(name).ok().and_then(Algorithm::from_name).ok_or(AuthFailure::NotOffered)?
            }
        };
        let hashed_user = params.get("userhash").is_some_and(|value| value.eq_ignore_ascii_case(b"true"));
        if !self.algorithms.contains(&algorithm) || hashed_user {
            return Err(AuthFailure::NotOffered);
        }
        let username = params.username().ok_or(AuthFailure::Missing("username"))?;
        let nonce = params.get("nonce").ok_or(AuthFailure::Missing("nonce"))?;
        let uri = params.get("uri").ok_or(AuthFailure::Missing("uri"))?;
        let response = params.get("response").ok_or(AuthFailure::Missing("response"))?;
        let (count, counted) = match params.get("qop") {
            None => (1, None),
            Some(qop) if qop.eq_ignore_ascii_case(b"auth") => {
                let nc = params.get("nc").ok_or(AuthFailure::Missing("nc"))?;
                let cnonce = params.get("cnonce").ok_or(AuthFailure::Missing("cnonce"))?;
                (nonce_count(nc).ok_or(AuthFailure::Missing("eight hexadecimal digits as nc"))?, Some((nc, cnonce)))
            }
            Some(_) => return Err(AuthFailure::NotOffered),
        };
        let read = self.nonces.read(now, nonce);
        if !read.fresh || from.is_some_and(|from| !self.nonces.was_given_to(read, from)) {
            return Err(AuthFailure::Stale);
        }
        let user = lookup(&username);
        let ha1 = user.unwrap_or(&self.nobody).get(algorithm);
        let expected = Proof { algorithm, ha1, nonce, counted, method, uri }.response();
        let right = bool::from(expected.as_bytes().ct_eq(&response.to_ascii_lowercase()));
        if user.is_none() || !right {
            return Err(AuthFailure::Denied);
        }
        if !same_resource(uri, request_uri) {
            return Err(AuthFailure::OtherUri);
        }
        if !self.nonces.take(now, read, count) {
            return Err(AuthFailure::Replay);
        }
        Ok(Verified { username: username.into_owned(), algorithm })
    }
}

fn nonce_count(text: &[u8]) -> Option<u32> {
    super::hash::unhex::<4>(text).map(u32::from_be_bytes)
}

fn same_resource(digest_uri: &[u8], request_uri: &str) -> bool {
    if digest_uri == request_uri.as_bytes() {
        return true;
    }
    let Ok(digest_uri) = std::str::from_utf8(digest_uri) else {
        return false;
    };
    let (Ok(a), Ok(b)) = (Uri::parse(digest_uri), Uri::parse(request_uri)) else {
        return digest_uri.eq_ignore_ascii_case(request_uri);
    };
    if !a.scheme.is_sip() || !b.scheme.is_sip() {
        return digest_uri.eq_ignore_ascii_case(request_uri);
    }
    let port = |uri: &Uri<'_>| uri.port.filter(|port| !matches!(port, 5060 | 5061));
    let user_fits = a.user.is_none() || a.user_unescaped() == b.user_unescaped();
    user_fits && a.host.same(&b.host) && port(&a) == port(&b)
}
