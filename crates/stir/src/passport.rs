//! The PASSporT (RFC 8225): a signed token that says who calls whom and when, as base types and with the extensions
//! `shaken` (RFC 8588) and `div` (RFC 8946). Read within limits, written in the deterministic form of RFC 8225 §9.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::es256::{self, POINT, SIGNATURE, SigningKey};
use crate::number::{MAX_LENGTH, Party};
use crate::{UnixTime, base64url, json};

/// A token is longer: it is refused unread.
pub const MAX_TOKEN: usize = 12 * 1024;
const MAX_HEADER: usize = 2 * 1024;
const MAX_CLAIMS: usize = 8 * 1024;
/// Called parties of one token.
const MAX_DEST: usize = 32;
const MAX_FINGERPRINTS: usize = 32;

/// Why a PASSporT cannot be used. The one who signed is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PassportError {
    #[error("expected a PASSporT of at most {MAX_TOKEN} characters")]
    TooLong,
    #[error("expected header.payload.signature, or ..signature in compact form")]
    Shape,
    #[error("expected the {0} in base64url without padding")]
    Base64(&'static str),
    #[error("the {part} is no JSON that could be read: {words}")]
    Json { part: &'static str, words: String },
    #[error("expected a signature of 64 octets (ES256), got {0}")]
    SignatureLength(usize),
    #[error("expected typ passport, got {0}")]
    Type(String),
    #[error("expected alg ES256, got {0}")]
    Algorithm(String),
    #[error("expected {expected} in {name}")]
    Field { name: &'static str, expected: &'static str },
    #[error("{name} is missing, which a PASSporT of type {ppt} must have")]
    Missing { name: &'static str, ppt: &'static str },
}

impl PassportError {
    /// Whether it could be read, but lacks what its type requires (RFC 8224 §6.2.2 "Invalid PASSporT").
    pub const fn is_incomplete(&self) -> bool {
        matches!(self, PassportError::Field { .. } | PassportError::Missing { .. })
    }
}

/// The PASSporT type (`ppt`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ppt {
    /// None: RFC 8225 alone.
    Base,
    /// RFC 8588.
    Shaken,
    /// RFC 8946 §3.
    Div,
}

impl Ppt {
    /// `None` for one that we do not know, which is to be passed over (RFC 8224 §6.2 step 1).
    pub fn parse(ppt: Option<&str>) -> Option<Ppt> {
        match ppt {
            None => Some(Ppt::Base),
            Some("shaken") => Some(Ppt::Shaken),
            Some("div") => Some(Ppt::Div),
            Some(_) => None,
        }
    }

    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Ppt::Base => None,
            Ppt::Shaken => Some("shaken"),
            Ppt::Div => Some("div"),
        }
    }
}

/// What the signer knows of the caller (RFC 8588 §4). The better, the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attestation {
    /// Full: the customer is known and may use the number.
    A,
    /// Partial: the customer is known, whether the number is theirs is not.
    B,
    /// Gateway: the call came from elsewhere.
    C,
}

impl Attestation {
    pub fn parse(text: &str) -> Option<Attestation> {
        match text {
            "A" => Some(Attestation::A),
            "B" => Some(Attestation::B),
            "C" => Some(Attestation::C),
            _ => None,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Attestation::A => "A",
            Attestation::B => "B",
            Attestation::C => "C",
        }
    }
}

impl fmt::Display for Attestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A media key of `mky` (RFC 8225 §5.2.2): hash function in lower case, digest as upper case hexadecimal without colons.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    pub alg: String,
    pub dig: String,
}

impl Fingerprint {
    /// The `a=fingerprint` lines of a description, each once, in the order that `mky` has.
    pub fn of_sdp(sdp: &str) -> Vec<Fingerprint> {
        let mut found: Vec<Fingerprint> = sdp
            .lines()
            .filter_map(|line| line.trim_end().strip_prefix("a=fingerprint:")?.split_once(' '))
            .map(|(alg, dig)| Fingerprint::new(alg, dig))
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn new(alg: &str, dig: &str) -> Fingerprint {
        let dig = dig.chars().filter(|c| c.is_ascii_hexdigit()).collect::<String>().to_ascii_uppercase();
        Fingerprint { alg: alg.trim().to_ascii_lowercase(), dig }
    }
}

/// What a PASSporT says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    pub orig: Party,
    /// One at least.
    pub dest: Vec<Party>,
    pub iat: UnixTime,
    /// With `shaken` only.
    pub attest: Option<Attestation>,
    /// With `shaken` only: a UUID by which the signer finds the call's source again.
    pub origid: Option<String>,
    /// With `div` only: who was called before.
    pub div: Option<Party>,
    /// Sorted.
    pub mky: Vec<Fingerprint>,
}

impl Claims {
    /// Of the base type.
    pub fn new(orig: Party, dest: Vec<Party>, iat: UnixTime) -> Claims {
        Claims { orig, dest, iat, attest: None, origid: None, div: None, mky: Vec::new() }
    }

    /// The deterministic JSON (RFC 8225 §9).
    pub fn to_json(&self) -> String {
        let mut map = Map::new();
        if let Some(attest) = self.attest {
            map.insert("attest".into(), attest.as_str().into());
        }
        let mut dest = Map::new();
        for name in ["tn", "uri"] {
            let mut values: Vec<&str> =
                self.dest.iter().map(Party::as_claim).filter(|c| c.0 == name).map(|c| c.1).collect();
            values.sort_unstable();
            if !values.is_empty() {
                dest.insert(name.into(), values.into());
            }
        }
        map.insert("dest".into(), dest.into());
        if let Some(div) = &self.div {
            map.insert("div".into(), div.to_json());
        }
        map.insert("iat".into(), self.iat.0.into());
        if !self.mky.is_empty() {
            let keys: Vec<Value> = self.mky.iter().map(|key| json!({ "alg": key.alg, "dig": key.dig })).collect();
            map.insert("mky".into(), keys.into());
        }
        map.insert("orig".into(), self.orig.to_json());
        if let Some(origid) = &self.origid {
            map.insert("origid".into(), origid.as_str().into());
        }
        json::canonical_object(&map)
    }

    fn read(map: &Map<String, Value>, ppt: Option<Ppt>) -> Result<Claims, PassportError> {
        let missing = |name| PassportError::Missing { name, ppt: ppt.and_then(Ppt::as_str).unwrap_or("passport") };
        let orig = one_party(map.get("orig").ok_or_else(|| missing("orig"))?, "orig")?;
        let dest = parties(map.get("dest").ok_or_else(|| missing("dest"))?)?;
        let iat = seconds(map.get("iat").ok_or_else(|| missing("iat"))?)?;
        let attest = match map.get("attest") {
            None => None,
            Some(value) => {
                let attest = value.as_str().and_then(Attestation::parse);
                Some(attest.ok_or(PassportError::Field { name: "attest", expected: "A, B or C" })?)
            }
        };
        let origid = match map.get("origid") {
            None => None,
            Some(value) => {
                let id = value.as_str().filter(|id| is_uuid(id));
                Some(id.ok_or(PassportError::Field { name: "origid", expected: "a UUID" })?.to_owned())
            }
        };
        let div = map.get("div").map(|value| one_party(value, "div")).transpose()?;
        let mky = map.get("mky").map(fingerprints).transpose()?.unwrap_or_default();
        match ppt {
            Some(Ppt::Shaken) => {
                attest.ok_or_else(|| missing("attest"))?;
                origid.as_ref().ok_or_else(|| missing("origid"))?;
            }
            Some(Ppt::Div) => {
                div.as_ref().ok_or_else(|| missing("div"))?;
                // RFC 8946 §3.
                if map.contains_key("opt") {
                    return Err(PassportError::Field { name: "opt", expected: "nothing (it belongs to div-o)" });
                }
            }
            Some(Ppt::Base) | None => {}
        }
        Ok(Claims { orig, dest, iat, attest, origid, div, mky })
    }
}

fn text<'a>(value: &'a Value, name: &'static str) -> Result<&'a str, PassportError> {
    value
        .as_str()
        .filter(|text| !text.is_empty() && text.len() <= MAX_LENGTH)
        .ok_or(PassportError::Field { name, expected: "text of at most 512 octets" })
}

fn party(kind: &str, value: &Value, name: &'static str) -> Result<Party, PassportError> {
    let value = text(value, name)?;
    match kind {
        "tn" => Party::number(value).ok_or(PassportError::Field { name, expected: "a telephone number in tn" }),
        "uri" => Ok(Party::Uri(value.to_owned())),
        _ => Err(PassportError::Field { name, expected: "tn or uri" }),
    }
}

/// An object with one of `tn` and `uri`. `div` may hold more beside it (RFC 8946 §8).
fn one_party(value: &Value, name: &'static str) -> Result<Party, PassportError> {
    let expected = PassportError::Field { name, expected: "an object with one tn or one uri" };
    let map = value.as_object().ok_or(expected.clone())?;
    match (map.get("tn"), map.get("uri")) {
        (Some(tn), None) => party("tn", tn, name),
        (None, Some(uri)) => party("uri", uri, name),
        _ => Err(expected),
    }
}

/// An object with arrays; the examples of RFC 8946 §5 have a string instead, which is taken as an array of one.
fn parties(value: &Value) -> Result<Vec<Party>, PassportError> {
    const NAME: &str = "dest";
    let expected = PassportError::Field { name: NAME, expected: "an object with arrays tn or uri, 1 to 32 entries" };
    let map = value.as_object().ok_or(expected.clone())?;
    let mut parties = Vec::new();
    for kind in ["tn", "uri"] {
        match map.get(kind) {
            None => {}
            Some(Value::Array(values)) => {
                for value in values.iter().take(MAX_DEST + 1) {
                    parties.push(party(kind, value, NAME)?);
                }
            }
            Some(value) => parties.push(party(kind, value, NAME)?),
        }
    }
    if parties.is_empty() || parties.len() > MAX_DEST { Err(expected) } else { Ok(parties) }
}

/// A NumericDate. The examples of RFC 8224 §4.1.1 and RFC 8588 §6 have it as a string of digits, which is taken as well.
fn seconds(value: &Value) -> Result<UnixTime, PassportError> {
    value
        .as_u64()
        .or_else(|| value.as_str().filter(|s| s.len() <= 12 && s.bytes().all(|b| b.is_ascii_digit()))?.parse().ok())
        .map(UnixTime)
        .ok_or(PassportError::Field { name: "iat", expected: "whole seconds since 1970" })
}

fn fingerprints(value: &Value) -> Result<Vec<Fingerprint>, PassportError> {
    let expected = PassportError::Field { name: "mky", expected: "an array of objects with alg and dig, at most 32" };
    // RFC 8225 §5.2.2: a single one need not stand in an array.
    let values = match value {
        Value::Array(values) => values.as_slice(),
        single => std::slice::from_ref(single),
    };
    if values.len() > MAX_FINGERPRINTS {
        return Err(expected);
    }
    let mut found = Vec::new();
    for value in values {
        let (alg, dig) = (value.get("alg").and_then(Value::as_str), value.get("dig").and_then(Value::as_str));
        let (Some(alg), Some(dig)) = (alg, dig) else { return Err(expected) };
        found.push(Fingerprint::new(alg, dig));
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// RFC 4122 §3.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

/// A PASSporT in full form, or one of which only the signature was sent (RFC 8225 §7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Full(Passport),
    Compact { signature: [u8; SIGNATURE] },
}

impl Token {
    /// # Errors
    /// What keeps it from being used. A type that we do not know is none: see [`Passport::ppt`].
    pub fn parse(token: &str) -> Result<Token, PassportError> {
        let parts = split(token)?;
        let signature = signature(parts.signature)?;
        if parts.header.is_empty() && parts.payload.is_empty() {
            return Ok(Token::Compact { signature });
        }
        Passport::read(&parts, signature).map(Token::Full)
    }
}

pub(crate) struct Parts<'a> {
    pub(crate) header: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) signature: &'a str,
    /// Header and payload with the period between them: what is signed.
    pub(crate) signed: &'a str,
}

pub(crate) fn split(token: &str) -> Result<Parts<'_>, PassportError> {
    if token.len() > MAX_TOKEN {
        return Err(PassportError::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(PassportError::Shape)?;
    let (header, payload) = signed.split_once('.').ok_or(PassportError::Shape)?;
    if payload.contains('.') || header.is_empty() != payload.is_empty() || signature.is_empty() {
        return Err(PassportError::Shape);
    }
    Ok(Parts { header, payload, signature, signed })
}

pub(crate) fn signature(text: &str) -> Result<[u8; SIGNATURE], PassportError> {
    let bytes = base64url::decode(text).ok_or(PassportError::Base64("signature"))?;
    bytes.as_slice().try_into().map_err(|_| PassportError::SignatureLength(bytes.len()))
}

pub(crate) fn object(
    text: &str,
    part: &'static str,
    limit: usize,
) -> Result<(Map<String, Value>, Vec<u8>), PassportError> {
    let bytes = base64url::decode(text).ok_or(PassportError::Base64(part))?;
    if bytes.len() > limit {
        return Err(PassportError::TooLong);
    }
    let map = json::parse_object(&bytes).map_err(|words| PassportError::Json { part, words })?;
    Ok((map, bytes))
}

/// Header parameters of a JWS as a PASSporT and a signed jCard have them.
pub(crate) struct Jose {
    pub(crate) ppt: Option<String>,
    pub(crate) x5u: Option<String>,
}

pub(crate) fn jose(map: &Map<String, Value>, typ: &str) -> Result<Jose, PassportError> {
    let word = |name| map.get(name).and_then(Value::as_str);
    let shown = |value: Option<&str>| value.map_or("none".to_owned(), |v| v.chars().take(40).collect());
    // RFC 7515 §4.1.9: a media type, its case does not matter.
    if !word("typ").is_some_and(|got| got.eq_ignore_ascii_case(typ)) {
        return Err(PassportError::Type(shown(word("typ"))));
    }
    if word("alg") != Some("ES256") {
        return Err(PassportError::Algorithm(shown(word("alg"))));
    }
    // RFC 7515 §4.1.11: what must be understood and is not.
    if map.contains_key("crit") {
        return Err(PassportError::Field { name: "crit", expected: "nothing" });
    }
    let optional = |name| map.get(name).map(|value| text(value, name).map(str::to_owned)).transpose();
    Ok(Jose { ppt: optional("ppt")?, x5u: optional("x5u")? })
}

/// A PASSporT with all its parts.
#[derive(Clone, PartialEq, Eq)]
pub struct Passport {
    /// As written; [`Passport::ppt`] knows it.
    pub ppt_name: Option<String>,
    pub x5u: Option<String>,
    pub claims: Claims,
    /// Whether it is serialized as RFC 8225 §9 wants it. One that is not may verify all the same.
    pub canonical: bool,
    signed: String,
    signature: [u8; SIGNATURE],
}

/// Without the text that is signed: numbers can be read in it.
impl fmt::Debug for Passport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Passport");
        shown.field("ppt", &self.ppt_name).field("x5u", &self.x5u).field("claims", &self.claims).finish_non_exhaustive()
    }
}

impl Passport {
    fn read(parts: &Parts<'_>, signature: [u8; SIGNATURE]) -> Result<Passport, PassportError> {
        let (header, header_bytes) = object(parts.header, "header", MAX_HEADER)?;
        let (claims, claims_bytes) = object(parts.payload, "payload", MAX_CLAIMS)?;
        let Jose { ppt, x5u } = jose(&header, "passport")?;
        let canonical = json::canonical_object(&header).as_bytes() == header_bytes
            && json::canonical_object(&claims).as_bytes() == claims_bytes;
        let claims = Claims::read(&claims, Ppt::parse(ppt.as_deref()))?;
        Ok(Passport { ppt_name: ppt, x5u, claims, canonical, signed: parts.signed.to_owned(), signature })
    }

    /// Signs claims (RFC 8225 §6). The type follows from the claims.
    pub fn sign(claims: Claims, x5u: &str, key: &SigningKey) -> Passport {
        let ppt = if claims.div.is_some() {
            Ppt::Div
        } else if claims.attest.is_some() {
            Ppt::Shaken
        } else {
            Ppt::Base
        };
        let signed = signed_text(&claims, ppt, x5u);
        let signature = key.sign(signed.as_bytes());
        let ppt_name = ppt.as_str().map(str::to_owned);
        Passport { ppt_name, x5u: Some(x5u.to_owned()), claims, canonical: true, signed, signature }
    }

    /// Builds anew what a compact form left out (RFC 8225 §7).
    pub(crate) fn rebuilt(claims: Claims, x5u: &str, signature: [u8; SIGNATURE]) -> Passport {
        let signed = signed_text(&claims, Ppt::Base, x5u);
        Passport { ppt_name: None, x5u: Some(x5u.to_owned()), claims, canonical: true, signed, signature }
    }

    /// `None` for a type that we do not know.
    pub fn ppt(&self) -> Option<Ppt> {
        Ppt::parse(self.ppt_name.as_deref())
    }

    /// Whether the holder of this key (an uncompressed point) signed it.
    pub fn is_signed_by(&self, key: &[u8; POINT]) -> bool {
        es256::verify(key, self.signed.as_bytes(), &self.signature)
    }

    /// Every claim, those that we do not know among them.
    pub fn all_claims(&self) -> Map<String, Value> {
        let payload = self.signed.split_once('.').map_or("", |(_, payload)| payload);
        object(payload, "payload", MAX_CLAIMS).map(|(map, _)| map).unwrap_or_default()
    }

    /// `header.payload.signature`.
    pub fn to_full(&self) -> String {
        format!("{}.{}", self.signed, base64url::encode(&self.signature))
    }

    /// `..signature`. `None` where the type needs the full form.
    pub fn to_compact(&self) -> Option<String> {
        (self.ppt() == Some(Ppt::Base)).then(|| format!("..{}", base64url::encode(&self.signature)))
    }
}

fn signed_text(claims: &Claims, ppt: Ppt, x5u: &str) -> String {
    let mut header = Map::new();
    header.insert("alg".into(), "ES256".into());
    if let Some(ppt) = ppt.as_str() {
        header.insert("ppt".into(), ppt.into());
    }
    header.insert("typ".into(), "passport".into());
    header.insert("x5u".into(), x5u.into());
    let header = json::canonical_object(&header);
    format!("{}.{}", base64url::encode(header.as_bytes()), base64url::encode(claims.to_json().as_bytes()))
}
