//! A signer's certificate with its chain, held against the trust anchors that the operator chose (RFC 8226, RFC 5280).
//! Revocation is not asked for: neither CRL nor OCSP. Certificates of short life are what keeps a stolen key from harm.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, TrustAnchor};
use serde_json::{Map, Value};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};

use crate::UnixTime;
use crate::certificate::{self, Certificate, CertificateError};
use crate::es256::POINT;
use crate::number::Party;

/// RFC 8226 §4 requires ECDSA on P-256 and RSA PKCS #1; P-384 signs roots that live long.
const ALGORITHMS: &[&dyn rustls_pki_types::SignatureVerificationAlgorithm] = &[
    webpki::aws_lc_rs::ECDSA_P256_SHA256,
    webpki::aws_lc_rs::ECDSA_P256_SHA384,
    webpki::aws_lc_rs::ECDSA_P384_SHA256,
    webpki::aws_lc_rs::ECDSA_P384_SHA384,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA384,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA512,
];

/// Why a certificate does not do. The signer's fault, except where an anchor is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("the certificate of {subject:?} leads to no trust anchor: {words}")]
    Untrusted { subject: String, words: String },
    #[error("the certificate of {subject:?}, or one above it, is valid from {from} to {to} only", from = crate::date::SipDate(*.not_before), to = crate::date::SipDate(*.not_after))]
    NotNow { subject: String, not_before: UnixTime, not_after: UnixTime },
    #[error("expected a key on P-256 (ES256) in the certificate of {0:?}")]
    Key(String),
    #[error("expected a certificate for {expected}, got that of {subject:?}")]
    Usage { subject: String, expected: &'static str },
    #[error("the certificate of {subject:?} has no authority over this {what}")]
    NoAuthority { subject: String, what: &'static str },
    #[error("the certificate of {subject:?} does not allow this value of the claim {claim}")]
    Claim { subject: String, claim: String },
}

/// An anchor file cannot be used. For the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("certificate {number} of the file is no trust anchor: {words}")]
    Unusable { number: usize, words: String },
}

/// The authorities whose certificates are believed. In North America those of the list that the policy administrator keeps.
#[derive(Clone, Debug, Default)]
pub struct TrustAnchors {
    anchors: Arc<[TrustAnchor<'static>]>,
}

impl TrustAnchors {
    /// Certificates of authorities, as PEM or DER.
    pub fn from_bytes(bytes: &[u8]) -> Result<TrustAnchors, AnchorError> {
        let mut anchors = Vec::new();
        // A file of anchors is the operator's: it may be longer than a chain.
        let mut certificates: Vec<CertificateDer<'static>> = Vec::new();
        if bytes.starts_with(b"0") {
            certificates = certificate::parse_chain(bytes)?;
        } else {
            use rustls_pki_types::pem::PemObject as _;
            for der in CertificateDer::pem_slice_iter(bytes) {
                certificates.push(der.map_err(|error| CertificateError::Form(format!("PEM with a mistake: {error}")))?);
            }
        }
        if certificates.is_empty() {
            return Err(CertificateError::Form("none".into()).into());
        }
        for (index, der) in certificates.iter().enumerate() {
            let anchor = webpki::anchor_from_trusted_cert(der)
                .map_err(|error| AnchorError::Unusable { number: index + 1, words: error.to_string() })?;
            anchors.push(anchor.to_owned());
        }
        Ok(TrustAnchors { anchors: anchors.into() })
    }

    pub fn len(&self) -> usize {
        self.anchors.len()
    }

    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }
}

/// RFC 8226 defines no extended key usage, so none is asked for.
struct AnyPurpose;

impl ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

/// A chain that was read and, where it leads to an anchor, is known to do so.
#[derive(Clone, Debug)]
pub struct Credential {
    pub certificate: Certificate,
    chain: Vec<CertificateDer<'static>>,
    path: Result<Path, CredentialError>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Path {
    /// When every certificate of the path is valid.
    not_before: UnixTime,
    not_after: UnixTime,
    /// Those between the signer's and the anchor.
    above: Vec<Certificate>,
}

impl Credential {
    /// Reads a chain, the signer's certificate first, and looks for a path to an anchor.
    ///
    /// # Errors
    /// It is none. Where it is one that leads nowhere, [`Self::check`] says so.
    pub fn load(bytes: &[u8], anchors: &TrustAnchors, now: UnixTime) -> Result<Credential, CredentialError> {
        let chain = certificate::parse_chain(bytes)?;
        let certificate = Certificate::parse(&chain[0])?;
        let path = path(&chain, &certificate, anchors, now);
        Ok(Credential { certificate, chain, path })
    }

    /// Whether it is trusted at this moment and may sign calls. Gives the key.
    pub fn check(&self, anchors: &TrustAnchors, now: UnixTime) -> Result<&[u8; POINT], CredentialError> {
        let subject = || self.certificate.subject.clone();
        let again;
        let path = match &self.path {
            // It may have become valid since.
            Err(CredentialError::NotNow { .. }) => {
                again = path(&self.chain, &self.certificate, anchors, now);
                &again
            }
            known => known,
        };
        let path = path.as_ref().map_err(Clone::clone)?;
        if now < path.not_before || now > path.not_after {
            let (not_before, not_after) = (path.not_before, path.not_after);
            return Err(CredentialError::NotNow { subject: subject(), not_before, not_after });
        }
        if self.certificate.usage.is_some_and(|usage| !usage.digital_signature) {
            return Err(CredentialError::Usage { subject: subject(), expected: "digital signatures (keyUsage)" });
        }
        self.certificate.public_key.as_ref().ok_or_else(|| CredentialError::Key(subject()))
    }

    /// Whether the signer may speak for a party: a number by the TN Authorization List, of which a service provider code
    /// stands for any number (which ones, no certificate says); a URI by its domain. RFC 8226 §9, RFC 8224 §8.4.
    pub fn check_authority(&self, party: &Party) -> Result<(), CredentialError> {
        let denied = |what| CredentialError::NoAuthority { subject: self.certificate.subject.clone(), what };
        match party {
            Party::Number(number) => {
                let allows = |certificate: &Certificate| {
                    certificate
                        .tn_auth_list
                        .as_ref()
                        .map(|list| list.spcs().next().is_some() || list.has_number(number))
                };
                if allows(&self.certificate) != Some(true) {
                    return Err(denied("telephone number (TNAuthList)"));
                }
                // In a certificate of an authority the list limits what is below it.
                let above = self.path.as_ref().map_or(&[][..], |path| path.above.as_slice());
                if above.iter().any(|certificate| allows(certificate) == Some(false)) {
                    return Err(denied("telephone number (TNAuthList of its authority)"));
                }
                Ok(())
            }
            Party::Uri(_) => {
                let domain = party.domain().filter(|domain| self.certificate.is_of_domain(domain));
                domain.map(|_| ()).ok_or_else(|| denied("domain (subjectAltName)"))
            }
        }
    }

    /// RFC 8226 §8.
    pub fn check_claims(&self, claims: impl FnOnce() -> Map<String, Value>) -> Result<(), CredentialError> {
        if self.certificate.constraints.is_empty() {
            return Ok(());
        }
        let claims = claims();
        match self.certificate.constraints.iter().find_map(|constraints| constraints.broken_by(&claims)) {
            None => Ok(()),
            Some(claim) => Err(CredentialError::Claim {
                subject: self.certificate.subject.clone(),
                claim: claim.chars().take(40).collect(),
            }),
        }
    }

    /// What it costs to keep.
    pub(crate) fn size(&self) -> usize {
        // The lists of numbers are kept as read, too.
        3 * self.chain.iter().map(|der| der.len()).sum::<usize>() + 512
    }
}

fn path(
    chain: &[CertificateDer<'static>],
    leaf: &Certificate,
    anchors: &TrustAnchors,
    now: UnixTime,
) -> Result<Path, CredentialError> {
    let untrusted = |words: String| CredentialError::Untrusted { subject: leaf.subject.clone(), words };
    let end = EndEntityCert::try_from(&chain[0]).map_err(|error| untrusted(error.to_string()))?;
    let found = end
        .verify_for_usage(ALGORITHMS, &anchors.anchors, &chain[1..], now.pki(), AnyPurpose, None, None)
        .map_err(|error| match error {
            webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
                let all: Vec<Certificate> = chain.iter().filter_map(|der| Certificate::parse(der).ok()).collect();
                let (not_before, not_after) = validity(all.iter());
                CredentialError::NotNow { subject: leaf.subject.clone(), not_before, not_after }
            }
            other => untrusted(in_words(&other)),
        })?;
    let mut above = Vec::new();
    for certificate in found.intermediate_certificates() {
        let certificate = Certificate::parse(&certificate.der())?;
        if certificate.usage.is_some_and(|usage| !usage.key_cert_sign) {
            let subject = certificate.subject;
            return Err(CredentialError::Usage { subject, expected: "signing certificates (keyUsage)" });
        }
        above.push(certificate);
    }
    let (not_before, not_after) = validity(std::iter::once(leaf).chain(&above));
    Ok(Path { not_before, not_after, above })
}

/// Why there is no path, where an operator or signer meets it; else the library's own word for it.
fn in_words(error: &webpki::Error) -> String {
    match error {
        webpki::Error::UnknownIssuer => "the authority that issued it is not among them".to_owned(),
        webpki::Error::CaUsedAsEndEntity => {
            "it is one for an authority (CA:TRUE), which vouches for certificates and signs no calls".to_owned()
        }
        webpki::Error::EndEntityUsedAsCa => "one above it is for no authority (CA:TRUE is wanting)".to_owned(),
        webpki::Error::InvalidSignatureForPublicKey => "a signature in the chain is wrong".to_owned(),
        webpki::Error::PathLenConstraintViolated => {
            "there are more authorities in the chain than one of them allows (pathLenConstraint)".to_owned()
        }
        webpki::Error::UnsupportedCriticalExtension => "it has a critical extension that is not understood".to_owned(),
        other => other.to_string(),
    }
}

fn validity<'a>(certificates: impl Iterator<Item = &'a Certificate>) -> (UnixTime, UnixTime) {
    certificates.fold((UnixTime(0), UnixTime(u64::MAX)), |(from, to), certificate| {
        (from.max(certificate.not_before), to.min(certificate.not_after))
    })
}
