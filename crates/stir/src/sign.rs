//! The authentication service (RFC 8224 §6.1, RFC 8588, RFC 8946 §4.1): which calls are signed, and the Identity header fields
//! for them. That the caller is who the claims say is for the caller of this module to know.

use crate::certificate::{Certificate, CertificateError, parse_chain};
use crate::date::parse_sip_date;
use crate::es256::{KeyError, SigningKey};
use crate::identity::{Identity, is_url};
use crate::number::{NumberPlan, Party};
use crate::passport::{Attestation, Claims, Fingerprint, Passport, Ppt, Token, is_uuid};
use crate::{Credential, CredentialError, TrustAnchors, UnixTime};

/// RFC 8224 §4.1: what a Date may be off.
const FRESHNESS: std::time::Duration = std::time::Duration::from_secs(60);

/// Who calls, as the call came to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Authenticated, and the number is one of those that belong to them.
    OwnNumber,
    /// Authenticated, with a number of which we do not know whose it is.
    KnownCustomer,
    /// From elsewhere: a trunk or gateway.
    Gateway,
}

/// Which attestation a trunk's calls get (RFC 8588 §4). `None`: they are not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttestPolicy {
    pub own_number: Option<Attestation>,
    pub known_customer: Option<Attestation>,
    pub gateway: Option<Attestation>,
}

impl Default for AttestPolicy {
    /// The most that is true in each case, and nothing for what is not ours.
    fn default() -> Self {
        AttestPolicy { own_number: Some(Attestation::A), known_customer: Some(Attestation::B), gateway: None }
    }
}

impl AttestPolicy {
    /// Never better than what is known: a policy that says A for a gateway's calls gets C.
    pub fn attestation(&self, caller: Caller) -> Option<Attestation> {
        let (wanted, best) = match caller {
            Caller::OwnNumber => (self.own_number, Attestation::A),
            Caller::KnownCustomer => (self.known_customer, Attestation::B),
            Caller::Gateway => (self.gateway, Attestation::C),
        };
        wanted.map(|attestation| attestation.max(best))
    }
}

/// By which a call's source is found again: a UUID. One for each call tells others least (RFC 8588 §10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrigId(String);

impl OrigId {
    /// Version 4 (RFC 4122 §4.4) of given chance.
    pub fn from_chance(mut chance: [u8; 16]) -> OrigId {
        chance[6] = chance[6] & 0x0f | 0x40;
        chance[8] = chance[8] & 0x3f | 0x80;
        let hex: String = chance.iter().map(|octet| format!("{octet:02x}")).collect();
        OrigId(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
    }

    /// One that is set for a trunk.
    pub fn parse(text: &str) -> Option<OrigId> {
        is_uuid(text).then(|| OrigId(text.to_ascii_lowercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A call cannot be signed. It may go on without.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("the private key is not that of the certificate")]
    OtherKey,
    #[error("expected the URL that others fetch the certificate from, such as https://example.com/cert.pem, got {0:?}")]
    Url(String),
    #[error("the certificate is not valid now")]
    NotNow,
    #[error(transparent)]
    Authority(CredentialError),
    #[error("expected telephone numbers as caller and called: SHAKEN signs nothing else")]
    NoNumber,
    #[error("expected a Date within 60 s of our clock")]
    StaleDate,
}

/// What is to be signed of an outgoing call.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    pub orig: Party,
    pub dest: Party,
    /// With an attestation the type is `shaken`; without, base.
    pub attest: Option<(Attestation, OrigId)>,
    /// The Date header field, where the request has one. Without it, add one of `now`.
    pub date: Option<&'a str>,
    /// Of the description in the body.
    pub fingerprints: &'a [Fingerprint],
}

/// A request that goes to another target than it came for.
#[derive(Clone)]
pub struct Diversion<'a> {
    /// The Identity header field values that came; they stay in the request.
    pub received: &'a [&'a str],
    pub orig: Party,
    /// Who was called: ours, so that we may sign for it.
    pub from: Party,
    pub to: Party,
}

/// Signs with one key.
#[derive(Debug)]
pub struct Signer {
    key: SigningKey,
    info: String,
    credential: Option<Credential>,
}

impl Signer {
    /// `key` is PKCS #8 or SEC 1 as PEM. `info` is where others fetch the certificate. With the chain at hand each call is
    /// checked: the key, the validity, the authority over the number.
    ///
    /// # Errors
    /// For the operator: what does not fit.
    pub fn new(key: &str, info: &str, chain: Option<&[u8]>) -> Result<Signer, SignError> {
        let key = SigningKey::from_pem(key)?;
        if !is_url(info) || !info.contains("://") {
            return Err(SignError::Url(info.chars().take(100).collect()));
        }
        let credential = match chain {
            None => None,
            Some(bytes) => {
                let certificate = Certificate::parse(&parse_chain(bytes)?[0])?;
                if certificate.public_key.as_ref().map(<[u8; 65]>::as_slice) != Some(key.public_key()) {
                    return Err(SignError::OtherKey);
                }
                // Who believes it is for others to say: no anchors.
                let loaded = Credential::load(bytes, &TrustAnchors::default(), UnixTime(0));
                Some(loaded.map_err(SignError::Authority)?)
            }
        };
        Ok(Signer { key, info: info.to_owned(), credential })
    }

    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    pub fn info(&self) -> &str {
        &self.info
    }

    /// When the certificate ends, where it is known.
    pub fn not_after(&self) -> Option<UnixTime> {
        self.credential.as_ref().map(|credential| credential.certificate.not_after)
    }

    /// The Identity header field of an outgoing call, in full form.
    ///
    /// # Errors
    /// It must not be signed by us, or not now.
    pub fn sign(&self, now: UnixTime, call: &Outgoing<'_>) -> Result<Identity, SignError> {
        self.may_sign(now, &call.orig)?;
        let iat = match call.date {
            None => now,
            Some(date) => {
                parse_sip_date(date).filter(|date| date.distance(now) <= FRESHNESS).ok_or(SignError::StaleDate)?
            }
        };
        let mut claims = Claims::new(call.orig.clone(), vec![call.dest.clone()], iat);
        claims.mky = call.fingerprints.to_vec();
        if let Some((attest, origid)) = &call.attest {
            if !matches!((&call.orig, &call.dest), (Party::Number(_), Party::Number(_))) {
                return Err(SignError::NoNumber);
            }
            claims.attest = Some(*attest);
            claims.origid = Some(origid.as_str().to_owned());
        }
        Ok(Identity::full(&Passport::sign(claims, &self.info, &self.key)))
    }

    /// The Identity header fields to add to a call that is diverted, mostly one (RFC 8946 §4.1); none where the request had
    /// none, or where the target is the same. The time is that of the new request.
    ///
    /// # Errors
    /// It must not be signed by us, or not now.
    pub fn divert(
        &self,
        now: UnixTime,
        plan: &NumberPlan,
        diversion: &Diversion<'_>,
    ) -> Result<Vec<Identity>, SignError> {
        if diversion.received.is_empty() || diversion.from == diversion.to {
            return Ok(Vec::new());
        }
        self.may_sign(now, &diversion.from)?;
        let mut origs: Vec<Party> = Vec::new();
        for value in diversion.received {
            let Ok(identity) = Identity::parse(value) else { continue };
            if identity.known_ppt().is_none() {
                continue;
            }
            let orig = match Token::parse(&identity.token) {
                // RFC 8946 §4.1: what led here, not what led to earlier targets. The innermost led here where nothing else did.
                Ok(Token::Full(passport)) => {
                    let leads_here = passport.claims.dest.iter().any(|dest| plan.claimed(dest) == diversion.from);
                    if !leads_here || passport.ppt().is_none() {
                        continue;
                    }
                    passport.claims.orig
                }
                Ok(Token::Compact { .. }) if identity.known_ppt() == Some(Ppt::Base) => diversion.orig.clone(),
                Ok(Token::Compact { .. }) | Err(_) => continue,
            };
            if !origs.contains(&orig) {
                origs.push(orig);
            }
        }
        let sign = |orig| {
            let mut claims = Claims::new(orig, vec![diversion.to.clone()], now);
            claims.div = Some(diversion.from.clone());
            Identity::full(&Passport::sign(claims, &self.info, &self.key))
        };
        Ok(origs.into_iter().map(sign).collect())
    }

    fn may_sign(&self, now: UnixTime, party: &Party) -> Result<(), SignError> {
        let Some(credential) = &self.credential else { return Ok(()) };
        let certificate = &credential.certificate;
        if now < certificate.not_before || now > certificate.not_after {
            return Err(SignError::NotNow);
        }
        credential.check_authority(party).map_err(SignError::Authority)
    }
}
