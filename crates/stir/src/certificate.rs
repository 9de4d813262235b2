//! What we need to know of a certificate (RFC 5280, RFC 8226). Paths are checked by webpki, in [`crate::credential`]; here
//! is read what it does not tell.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::UnixTime;
use crate::date::from_civil;
use crate::der::{self, Reader, SEQUENCE, SET, context};
use crate::es256::POINT;
use crate::tn_auth_list::{ClaimConstraints, TnAuthList};

/// What a URL may give at most: a chain with long lists of numbers.
pub const MAX_CHAIN_BYTES: usize = 256 * 1024;
const MAX_CHAIN: usize = 8;

/// id-ecPublicKey, prime256v1.
const P256: &[u8] =
    &[der::OID, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, der::OID, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 17];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
/// id-pe 26, 27 (RFC 8226) and 33 (RFC 9118).
const TN_AUTH_LIST: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 26];
const CLAIM_CONSTRAINTS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 27];
const ENHANCED_CLAIM_CONSTRAINTS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 33];
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];

/// Bytes that should have been certificates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("expected a certificate as PEM or DER, got {0}")]
    Form(String),
    #[error("expected at most {MAX_CHAIN} certificates in {MAX_CHAIN_BYTES} octets")]
    TooMuch,
    #[error("expected an X.509 v3 certificate: its {0} cannot be read")]
    Field(&'static str),
}

/// A chain as a file or an answer has it, the signer's certificate first: PEM, or one certificate in DER.
pub fn parse_chain(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    if bytes.len() > MAX_CHAIN_BYTES {
        return Err(CertificateError::TooMuch);
    }
    let mut chain = Vec::new();
    if bytes.first() == Some(&SEQUENCE) && !bytes.starts_with(b"-----") {
        let mut reader = Reader::new(bytes);
        reader.read(SEQUENCE).ok_or(CertificateError::Form("other bytes".into()))?;
        chain.push(CertificateDer::from(bytes.to_vec()));
    } else {
        for certificate in CertificateDer::pem_slice_iter(bytes) {
            chain.push(certificate.map_err(|error| CertificateError::Form(format!("PEM with a mistake: {error}")))?);
            if chain.len() > MAX_CHAIN {
                return Err(CertificateError::TooMuch);
            }
        }
    }
    if chain.is_empty() {
        return Err(CertificateError::Form("none".into()));
    }
    Ok(chain)
}

/// One certificate, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Common name, else organization, else empty.
    pub subject: String,
    pub not_before: UnixTime,
    pub not_after: UnixTime,
    /// An uncompressed point on P-256; `None` for any other key.
    pub public_key: Option<[u8; POINT]>,
    /// The key usages; `None` without that extension, which allows all.
    pub usage: Option<KeyUsage>,
    pub is_ca: bool,
    /// Host names and URIs of the subjectAltName.
    pub names: Vec<String>,
    pub tn_auth_list: Option<TnAuthList>,
    pub constraints: Vec<ClaimConstraints>,
}

/// The bits of keyUsage that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    pub digital_signature: bool,
    pub key_cert_sign: bool,
}

impl Certificate {
    /// # Errors
    /// What could not be read.
    pub fn parse(der: &[u8]) -> Result<Certificate, CertificateError> {
        let mut outer = Reader::new(der);
        let mut certificate = outer.inner(SEQUENCE).ok_or(CertificateError::Field("outer form"))?;
        let mut tbs = certificate.inner(SEQUENCE).ok_or(CertificateError::Field("body"))?;
        // Version 3, serial number, algorithm, issuer.
        let version = tbs.inner(context(0)).and_then(|mut version| version.unsigned());
        let rest = version.filter(|version| *version == 2).and_then(|_| {
            tbs.read(der::INTEGER)?;
            tbs.read(SEQUENCE)?;
            tbs.read(SEQUENCE)
        });
        rest.ok_or(CertificateError::Field("version or issuer"))?;
        let mut validity = tbs.inner(SEQUENCE).ok_or(CertificateError::Field("validity"))?;
        let (not_before, not_after) =
            time(&mut validity).zip(time(&mut validity)).ok_or(CertificateError::Field("validity"))?;
        let subject = tbs.read(SEQUENCE).ok_or(CertificateError::Field("subject"))?;
        let public_key = public_key(&mut tbs).ok_or(CertificateError::Field("public key"))?;
        let mut parsed = Certificate {
            subject: subject_name(subject),
            not_before,
            not_after,
            public_key,
            usage: None,
            is_ca: false,
            names: Vec::new(),
            tn_auth_list: None,
            constraints: Vec::new(),
        };
        while !tbs.is_empty() {
            let (tag, contents) = tbs.any().ok_or(CertificateError::Field("body"))?;
            // Unique identifiers, [1] and [2], are of the past.
            if tag == context(3) {
                parsed.read_extensions(contents)?;
            }
        }
        Ok(parsed)
    }

    fn read_extensions(&mut self, contents: &[u8]) -> Result<(), CertificateError> {
        const FORM: CertificateError = CertificateError::Field("list of extensions");
        let mut list = Reader::new(contents).inner(SEQUENCE).ok_or(FORM)?;
        while !list.is_empty() {
            let mut extension = list.inner(SEQUENCE).ok_or(FORM)?;
            let id = extension.read(der::OID).ok_or(FORM)?;
            let _critical = extension.read(der::BOOLEAN);
            let value = extension.read(der::OCTET_STRING).ok_or(FORM)?;
            match id {
                KEY_USAGE => self.usage = Some(key_usage(value).ok_or(CertificateError::Field("keyUsage"))?),
                BASIC_CONSTRAINTS => {
                    let mut fields = Reader::new(value);
                    let mut fields = fields.inner(SEQUENCE).ok_or(CertificateError::Field("basicConstraints"))?;
                    self.is_ca = fields.read(der::BOOLEAN).is_some_and(|value| value == [0xff]);
                }
                SUBJECT_ALT_NAME => {
                    self.names = alt_names(value).ok_or(CertificateError::Field("subjectAltName"))?;
                }
                TN_AUTH_LIST => {
                    let list = TnAuthList::parse(value).ok_or(CertificateError::Field("TNAuthorizationList"))?;
                    self.tn_auth_list = Some(list);
                }
                CLAIM_CONSTRAINTS | ENHANCED_CLAIM_CONSTRAINTS => {
                    let constraints = ClaimConstraints::parse(value);
                    self.constraints.push(constraints.ok_or(CertificateError::Field("JWTClaimConstraints"))?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a name is this domain: as a host name or as a SIP URI, without wildcards (RFC 5922 §7.2).
    pub(crate) fn is_of_domain(&self, domain: &str) -> bool {
        self.names.iter().any(|name| {
            let name = name.strip_prefix("sip:").or_else(|| name.strip_prefix("sips:")).unwrap_or(name);
            name.eq_ignore_ascii_case(domain)
        })
    }
}

fn public_key(tbs: &mut Reader<'_>) -> Option<Option<[u8; POINT]>> {
    let mut info = tbs.inner(SEQUENCE)?;
    let algorithm = info.read(SEQUENCE)?;
    let bits = info.read(der::BIT_STRING)?;
    let point = bits.strip_prefix(&[0])?;
    Some(if algorithm == P256 && point.first() == Some(&4) { point.try_into().ok() } else { None })
}

fn key_usage(value: &[u8]) -> Option<KeyUsage> {
    let bits = Reader::new(value).read(der::BIT_STRING)?;
    let first = *bits.get(1)?;
    Some(KeyUsage { digital_signature: first & 0x80 != 0, key_cert_sign: first & 0x04 != 0 })
}

fn alt_names(value: &[u8]) -> Option<Vec<String>> {
    let mut list = Reader::new(value).inner(SEQUENCE)?;
    let mut names = Vec::new();
    while !list.is_empty() {
        // dNSName [2] and uniformResourceIdentifier [6], both IA5String.
        let (tag, contents) = list.any()?;
        if matches!(tag, 0x82 | 0x86) {
            names.push(std::str::from_utf8(contents).ok()?.to_owned());
        }
    }
    Some(names)
}

fn subject_name(contents: &[u8]) -> String {
    let mut best = String::new();
    let mut sets = Reader::new(contents);
    while let Some(mut set) = sets.inner(SET) {
        while let Some(mut attribute) = set.inner(SEQUENCE) {
            let (Some(id), Some((_, value))) = (attribute.read(der::OID), attribute.any()) else { continue };
            let value = || String::from_utf8_lossy(value).chars().filter(|c| !c.is_control()).take(100).collect();
            if id == COMMON_NAME {
                return value();
            }
            if id == ORGANIZATION {
                best = value();
            }
        }
    }
    best
}

/// UTCTime until 2049, GeneralizedTime from then on (RFC 5280 §4.1.2.5).
fn time(reader: &mut Reader<'_>) -> Option<UnixTime> {
    let (tag, contents) = reader.any()?;
    let text = std::str::from_utf8(contents).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match (tag, text.len()) {
        (der::UTC_TIME, 12) => {
            let year: u64 = text[..2].parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, &text[2..])
        }
        (der::GENERALIZED_TIME, 14) => (text[..4].parse().ok()?, &text[4..]),
        _ => return None,
    };
    let two = |at: usize| rest[at..at + 2].parse::<u64>().ok();
    // A certificate that began before 1970 began at once.
    if year < 1970 {
        return Some(UnixTime(0));
    }
    from_civil(year, two(0)?, two(2)?, two(4)?, two(6)?, two(8)?)
}
