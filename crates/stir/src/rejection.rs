//! What a blocked caller is told. 607 Unwanted (RFC 8197): the person called does not want this caller. 608 Rejected (RFC
//! 8688): something on the way decided so by itself, and must say where one may complain: by a jCard (RFC 7095) that is signed
//! as a JWS and fetched from the URL in Call-Info.

use serde_json::{Map, Value, json};

use crate::es256::{POINT, SIGNATURE, SigningKey};
use crate::identity::is_url;
use crate::passport::{PassportError, jose, object, signature, split};
use crate::verify::{CannotUse, FetchFailure, Settings};
use crate::{CredentialError, UnixTime, base64url, es256, json};

const TYPE: &str = "vcard+json";
const MAX_HEADER: usize = 2 * 1024;
const MAX_CARD: usize = 8 * 1024;
const MAX_TEXT: usize = 500;
const MAX_CONTACTS: usize = 20;

/// Who says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// A person: it may count against the caller elsewhere, too.
    Unwanted,
    /// A program: nobody should take it for a person's word. Needs a card, except towards whom it would be abused by.
    Rejected,
}

impl Rejection {
    pub const fn status(self) -> (u16, &'static str) {
        match self {
            Rejection::Unwanted => (607, "Unwanted"),
            Rejection::Rejected => (608, "Rejected"),
        }
    }

    pub const fn of_status(status: u16) -> Option<Rejection> {
        match status {
            607 => Some(Rejection::Unwanted),
            608 => Some(Rejection::Rejected),
            _ => None,
        }
    }
}

/// The value of Feature-Caps by which a caller's side says that it tells the caller what a 608 says (RFC 8688 §3.3).
pub const FEATURE_CAPS: &str = "*;+sip.608";

/// The value of Call-Info in a 608 response. `None` for what is no URL.
pub fn call_info(card_url: &str) -> Option<String> {
    is_url(card_url).then(|| format!("<{card_url}>;purpose=jwscard"))
}

/// The URL of a card in a value of Call-Info; `None` for another purpose.
pub fn card_url(call_info: &str) -> Option<&str> {
    let (url, params) = call_info.trim().strip_prefix('<')?.split_once('>')?;
    let is_card = params.split(';').skip(1).any(|param| {
        param.split_once('=').is_some_and(|(name, value)| {
            name.trim().eq_ignore_ascii_case("purpose")
                && value.trim().trim_matches('"').eq_ignore_ascii_case("jwscard")
        })
    });
    (is_card && is_url(url)).then_some(url)
}

/// Where to complain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    Url(String),
    Email(String),
    /// A `tel:` URI.
    Tel(String),
    /// Lines of a postal address.
    Address(Vec<String>),
}

/// A card as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectionCard {
    /// Who rejects calls.
    pub name: String,
    /// One at least.
    pub contacts: Vec<Contact>,
}

/// Why a card cannot be made, or one that came is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    #[error("expected a name and one to {MAX_CONTACTS} of url, email, tel and adr in the card")]
    NoContact,
    #[error(transparent)]
    Token(#[from] PassportError),
    #[error("expected a vCard 4.0 as JSON (RFC 7095) in jcard")]
    Jcard,
    #[error("expected an https URL of the certificate in x5u")]
    Url,
    #[error("the card is {0} s away from our clock")]
    Stale(u64),
    #[error(transparent)]
    Fetch(FetchFailure),
    #[error(transparent)]
    Credential(CredentialError),
    #[error("the signature is not that of the certificate's key over this card")]
    Signature,
}

impl From<CannotUse> for CardError {
    fn from(error: CannotUse) -> Self {
        match error {
            CannotUse::Fetch(failure) => CardError::Fetch(failure),
            CannotUse::Not(error) => CardError::Credential(error),
        }
    }
}

impl RejectionCard {
    /// The jCard.
    ///
    /// # Errors
    /// No name, or no contact.
    pub fn to_jcard(&self) -> Result<Value, CardError> {
        if self.name.is_empty() || self.contacts.is_empty() || self.contacts.len() > MAX_CONTACTS {
            return Err(CardError::NoContact);
        }
        let mut properties = vec![json!(["version", {}, "text", "4.0"]), json!(["fn", {}, "text", self.name])];
        properties.extend(self.contacts.iter().map(|contact| match contact {
            Contact::Url(url) => json!(["url", { "type": "work" }, "uri", url]),
            Contact::Email(email) => json!(["email", { "type": "work" }, "text", email]),
            Contact::Tel(tel) => json!(["tel", { "type": "work" }, "uri", tel]),
            Contact::Address(lines) => json!(["adr", { "type": "work" }, "text", lines]),
        }));
        Ok(json!(["vcard", properties]))
    }

    /// The JWS that is put where Call-Info points to, made anew for each 608: its `iat` is what keeps it from being used
    /// again (RFC 8688 §3.2).
    pub fn sign(&self, now: UnixTime, x5u: &str, key: &SigningKey) -> Result<String, CardError> {
        let mut header = Map::new();
        header.insert("alg".into(), "ES256".into());
        header.insert("typ".into(), TYPE.into());
        header.insert("x5u".into(), x5u.into());
        let mut payload = Map::new();
        payload.insert("iat".into(), now.0.into());
        payload.insert("jcard".into(), self.to_jcard()?);
        let part = |map| base64url::encode(json::canonical_object(&map).as_bytes());
        let signed = format!("{}.{}", part(header), part(payload));
        let signature = key.sign(signed.as_bytes());
        Ok(format!("{signed}.{}", base64url::encode(&signature)))
    }
}

/// A card that came and was believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    pub card: RejectionCard,
    pub iat: UnixTime,
    /// The name in the certificate that signed it.
    pub signer: String,
}

/// A card that came, its signature not yet checked.
#[derive(Clone, Debug)]
pub struct SignedCard {
    pub card: RejectionCard,
    pub iat: UnixTime,
    pub x5u: String,
    signed: String,
    signature: [u8; SIGNATURE],
}

impl SignedCard {
    /// # Errors
    /// It is none, or has no contact.
    pub fn parse(jws: &str) -> Result<SignedCard, CardError> {
        let parts = split(jws.trim())?;
        let (header, _) = object(parts.header, "header", MAX_HEADER)?;
        let (payload, _) = object(parts.payload, "payload", MAX_CARD)?;
        let jose = jose(&header, TYPE)?;
        let iat = payload.get("iat").and_then(Value::as_u64);
        let iat = iat.ok_or(PassportError::Missing { name: "iat", ppt: TYPE })?;
        let card = read_jcard(payload.get("jcard").ok_or(PassportError::Missing { name: "jcard", ppt: TYPE })?)?;
        Ok(SignedCard {
            card,
            iat: UnixTime(iat),
            x5u: jose.x5u.ok_or(PassportError::Missing { name: "x5u", ppt: TYPE })?,
            signed: parts.signed.to_owned(),
            signature: signature(parts.signature)?,
        })
    }

    pub(crate) fn check(&self, settings: &Settings, now: UnixTime) -> Result<(), CardError> {
        if !is_url(&self.x5u) || !settings.may_fetch(&self.x5u) {
            return Err(CardError::Url);
        }
        let far = self.iat.distance(now);
        if far > settings.freshness { Err(CardError::Stale(far.as_secs())) } else { Ok(()) }
    }

    pub(crate) fn is_signed_by(&self, key: &[u8; POINT]) -> bool {
        es256::verify(key, self.signed.as_bytes(), &self.signature)
    }

    pub(crate) fn verified(&self, signer: &str) -> Card {
        Card { card: self.card.clone(), iat: self.iat, signer: signer.to_owned() }
    }
}

/// RFC 7095 §3. Properties that say nothing of whom to ask are passed over.
fn read_jcard(value: &Value) -> Result<RejectionCard, CardError> {
    let [Value::String(kind), Value::Array(properties)] = value.as_array().ok_or(CardError::Jcard)?.as_slice() else {
        return Err(CardError::Jcard);
    };
    if !kind.eq_ignore_ascii_case("vcard") {
        return Err(CardError::Jcard);
    }
    let mut card = RejectionCard { name: String::new(), contacts: Vec::new() };
    for property in properties {
        let property = property.as_array().ok_or(CardError::Jcard)?;
        let (Some(name), Some(value)) = (property.first().and_then(Value::as_str), property.get(3)) else {
            return Err(CardError::Jcard);
        };
        let text = || value.as_str().map(shortened).ok_or(CardError::Jcard);
        let contact = match name.to_ascii_lowercase().as_str() {
            "fn" => {
                card.name = text()?;
                continue;
            }
            "url" => Contact::Url(text()?),
            "email" => Contact::Email(text()?),
            "tel" => Contact::Tel(text()?),
            "adr" => Contact::Address(match value {
                Value::Array(lines) => {
                    lines.iter().take(MAX_CONTACTS).filter_map(Value::as_str).map(shortened).collect()
                }
                _ => vec![text()?],
            }),
            _ => continue,
        };
        if card.contacts.len() < MAX_CONTACTS {
            card.contacts.push(contact);
        }
    }
    if card.contacts.is_empty() { Err(CardError::NoContact) } else { Ok(card) }
}

/// What is shown to people: bounded, without control characters.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}
