//! The answering side: which challenge of a 401 or 407 to answer, and the end of loops.

use rand::Rng;

use super::hash::Hex;
use super::{Algorithm, AuthParams, Ha1Set, Proof, Quoted, field_names};
use crate::header::HeaderName;
use crate::message::Message;
use crate::write::Headers;

/// Our name and password with a peer. Never answers a realm that is not theirs where one is set.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub realm: Option<String>,
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("realm", &self.realm).field("user", &"…").finish_non_exhaustive()
    }
}

/// Why a challenge is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    #[error("the answer is not a 401 or 407 with a digest challenge for our realm that we understand")]
    NoChallenge,
    #[error("the peer refused our credentials")]
    Refused,
}

struct Challenge {
    proxy: bool,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// Whether the algorithm was written, so that the answer names it too.
    named: bool,
    /// Whether qop=auth was offered; without any qop the form of RFC 2069 is used.
    counted: bool,
    stale: bool,
}

impl Challenge {
    fn read(value: &[u8], proxy: bool) -> Option<Challenge> {
        let params = AuthParams::parse(value).ok()?;
        let algorithm = match params.get("algorithm") {
            None => Algorithm::Md5,
            Some(name) => Algorithm::from_name(std::str::from_utf8(name).ok()?)?,
        };
        let counted = match params.text("qop") {
            None => false,
            Some(list) => list.split(',').any(|qop| qop.trim().eq_ignore_ascii_case("auth")).then_some(true)?,
        };
        Some(Challenge {
            proxy,
            realm: params.text("realm")?.to_owned(),
            nonce: params.text("nonce")?.to_owned(),
            opaque: params.text("opaque").map(str::to_owned),
            algorithm,
            named: params.get("algorithm").is_some(),
            counted,
            stale: params.get("stale").is_some_and(|value| value.eq_ignore_ascii_case(b"true")),
        })
    }

    /// The strongest challenge that these credentials are for; the topmost of equals (RFC 8760 §2.4).
    fn choose(response: &Message, credentials: &Credentials) -> Option<Challenge> {
        let (name, proxy) = match response.status() {
            401 => (HeaderName::WwwAuthenticate, false),
            407 => (HeaderName::ProxyAuthenticate, true),
            _ => return None,
        };
        let mut best: Option<Challenge> = None;
        for value in response.headers(name) {
            let Some(challenge) = Challenge::read(value, proxy) else { continue };
            if credentials.realm.as_ref().is_some_and(|realm| *realm != challenge.realm) {
                continue;
            }
            if best.as_ref().is_none_or(|best| challenge.algorithm > best.algorithm) {
                best = Some(challenge);
            }
        }
        best
    }

    fn answer(&self, credentials: &Credentials, method: &str, uri: &str, cnonce: &str, nc: u32) -> Headers {
        let ha1 = Ha1Set::new(&credentials.user, &self.realm, &credentials.password);
        let nc_text = format!("{nc:08x}");
        let response = Proof {
            algorithm: self.algorithm,
            ha1: ha1.get(self.algorithm),
            nonce: self.nonce.as_bytes(),
            counted: self.counted.then_some((nc_text.as_bytes(), cnonce.as_bytes())),
            method,
            uri: uri.as_bytes(),
        }
        .response();
        let (user, realm, nonce) = (Quoted(&credentials.user), Quoted(&self.realm), Quoted(&self.nonce));
        let mut value = format!("Digest username={user}, realm={realm}, nonce={nonce}, uri={}", Quoted(uri));
        value.push_str(&format!(", response=\"{}\"", response.as_str()));
        if self.named {
            value.push_str(&format!(", algorithm={}", self.algorithm));
        }
        if self.counted {
            value.push_str(&format!(", cnonce=\"{cnonce}\", qop=auth, nc={nc_text}"));
        }
        if let Some(opaque) = &self.opaque {
            value.push_str(&format!(", opaque={}", Quoted(opaque)));
        }
        let mut headers = Headers::default();
        headers.push(field_names(self.proxy).1, value);
        headers
    }
}

/// Answers the challenge of a 401 or 407: the header field to send the request again with, or `None` where there is
/// no challenge for these credentials. Keeps no state: a caller that may be asked again uses [`ClientAuth`].
pub fn authorize(
    response: &Message,
    credentials: &Credentials,
    method: &str,
    uri: &str,
    rng: &mut impl Rng,
    nc: u32,
) -> Option<Headers> {
    let challenge = Challenge::choose(response, credentials)?;
    Some(challenge.answer(credentials, method, uri, new_cnonce(rng).as_str(), nc))
}

/// The realm of the challenge that [`authorize`] answers.
pub fn realm_of(response: &Message, credentials: &Credentials) -> Option<String> {
    Challenge::choose(response, credentials).map(|challenge| challenge.realm)
}

fn new_cnonce(rng: &mut impl Rng) -> Hex {
    let mut bytes = [0; 8];
    rng.fill_bytes(&mut bytes);
    Hex::new(&bytes)
}

/// Credentials with one peer and the nonce in use: answers challenges, but each only once, and sends credentials
/// unasked with the next count afterwards (RFC 7616 §3.6).
#[derive(Debug)]
pub struct ClientAuth {
    credentials: Credentials,
    challenge: Option<Challenge>,
    nc: u32,
    /// The challenge in use has not been taken yet: another one that is not stale means that we are refused.
    unproven: bool,
    /// One stale challenge per request is answered.
    stale_answered: bool,
}

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Challenge")
            .field("realm", &self.realm)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl ClientAuth {
    pub fn new(credentials: Credentials) -> Self {
        ClientAuth { credentials, challenge: None, nc: 0, unproven: false, stale_answered: false }
    }

    /// Answers a 401 or 407. A second challenge for the same request is answered only where it is the first one that
    /// says `stale`; so loops end.
    pub fn answer(
        &mut self,
        response: &Message,
        method: &str,
        uri: &str,
        rng: &mut impl Rng,
    ) -> Result<Headers, NoAnswer> {
        let challenge = Challenge::choose(response, &self.credentials).ok_or(NoAnswer::NoChallenge)?;
        if self.unproven {
            if !challenge.stale || self.stale_answered {
                return Err(NoAnswer::Refused);
            }
            self.stale_answered = true;
        }
        self.unproven = true;
        self.nc = 1;
        let cnonce = new_cnonce(rng);
        let headers = challenge.answer(&self.credentials, method, uri, cnonce.as_str(), 1);
        self.challenge = Some(challenge);
        Ok(headers)
    }

    /// Says that a request with our answer got through (any final answer but 401 and 407), or that a new request
    /// begins.
    pub fn accepted(&mut self) {
        self.unproven = false;
        self.stale_answered = false;
    }

    /// The realm that is answered: the one that was set or kept.
    pub fn realm(&self) -> Option<&str> {
        self.credentials.realm.as_deref()
    }

    /// From now on no other realm is answered than that of the challenge in use.
    pub fn keep_realm(&mut self) {
        if self.credentials.realm.is_none() {
            self.credentials.realm = self.challenge.as_ref().map(|challenge| challenge.realm.clone());
        }
    }

    /// The next challenge may be for any realm again; nothing is sent unasked before it.
    pub fn free_realm(&mut self) {
        self.credentials.realm = None;
        self.challenge = None;
    }

    /// Credentials for the next request to the same peer without being asked; `None` before the first challenge.
    pub fn next(&mut self, method: &str, uri: &str, rng: &mut impl Rng) -> Option<Headers> {
        let challenge = self.challenge.as_ref().filter(|challenge| challenge.counted)?;
        self.nc = self.nc.checked_add(1)?;
        Some(challenge.answer(&self.credentials, method, uri, new_cnonce(rng).as_str(), self.nc))
    }
}
