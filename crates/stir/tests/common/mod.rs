//! Authorities and signers for the tests, made anew each time.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SanType,
};
use ringfort_stir::tn_auth_list::{TnAuthList, TnEntry};
use ringfort_stir::*;

/// Within the certificates' validity: 2026-06-01.
pub const UNIX: u64 = 1_780_272_000;
pub const URL: &str = "https://certs.example.org/sp.pem";
pub const CALLER: &str = "12155551212";
pub const CALLED: &str = "12155551213";

pub struct Authority {
    pub issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

pub struct Holder {
    pub key: String,
    /// The certificate, and those above it but for the root.
    pub chain: String,
}

pub fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

pub fn list(entries: &[TnEntry]) -> CustomExtension {
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 26], TnAuthList(entries.to_vec()).to_der())
}

pub fn spc() -> CustomExtension {
    list(&[TnEntry::Spc("709J".into())])
}

pub fn one(number: &str) -> CustomExtension {
    list(&[TnEntry::One(number.into())])
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 1);
    params
}

impl Authority {
    pub fn root() -> Authority {
        let key = key();
        let params = authority_params("Test Root");
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// An authority below this one.
    pub fn below(&self, change: impl FnOnce(&mut CertificateParams)) -> Authority {
        let key = key();
        let mut params = authority_params("Test Intermediate");
        change(&mut params);
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    pub fn anchors(&self) -> TrustAnchors {
        TrustAnchors::from_bytes(self.pem.as_bytes()).unwrap()
    }

    pub fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> Holder {
        self.issue_for(&key(), change)
    }

    pub fn issue_for(&self, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Holder {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Example Carrier");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        change(&mut params);
        Holder { key: key.serialize_pem(), chain: params.signed_by(key, &self.issuer).unwrap().pem() }
    }
}

pub fn p384() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()
}

pub fn dns(params: &mut CertificateParams, name: &str) {
    params.subject_alt_names.push(SanType::DnsName(name.try_into().unwrap()));
}

impl Holder {
    pub fn signer(&self) -> Signer {
        Signer::new(&self.key, URL, None).unwrap()
    }
}

pub fn tn(number: &str) -> Party {
    Party::Number(number.into())
}

#[allow(clippy::disallowed_methods, reason = "any instant will do")]
pub fn now() -> Now {
    Now { instant: Instant::now(), unix: UnixTime(UNIX) }
}

pub fn later(now: Now, seconds: u64) -> Now {
    Now { instant: now.instant + Duration::from_secs(seconds), unix: UnixTime(now.unix.0 + seconds) }
}

/// A shaken call from CALLER to CALLED.
pub fn outgoing() -> sign::Outgoing<'static> {
    sign::Outgoing {
        orig: tn(CALLER),
        dest: tn(CALLED),
        attest: Some((Attestation::A, OrigId::from_chance([7; 16]))),
        date: None,
        fingerprints: &[],
    }
}

/// The request that belongs to it.
pub fn question<'a>(identities: &'a [&'a str]) -> Question<'a> {
    Question {
        method: "INVITE",
        from: "\"A. Caller\" <sip:+12155551212@example.com;user=phone>;tag=1",
        to: "<sip:+12155551213@example.net;user=phone>",
        request_uri: "sip:+12155551213@192.0.2.9;user=phone",
        identities,
        ..Question::default()
    }
}

pub fn body(chain: &str) -> Fetch {
    Fetch::Body { bytes: chain.as_bytes().to_vec(), max_age: None }
}

/// The verdict on a question; each query is answered with what the URL is given.
pub fn verdict(verifier: &mut Verifier, now: Now, question: &Question<'_>, answer: impl Fn(&str) -> Fetch) -> Verdict {
    let id = verifier.handle_question(now, question);
    while let Some(query) = verifier.poll_query() {
        let fetch = answer(&query.url);
        verifier.handle_fetched(now, query.id, fetch);
    }
    match verifier.poll_event() {
        Some(Event::Verdict { id: of, verdict }) if of == id => verdict,
        other => panic!("expected a verdict on {id:?}, got {other:?}"),
    }
}

pub fn failed(verdict: &Verdict) -> FailureKind {
    match &verdict.outcome {
        Outcome::Failed(failure) => failure.kind,
        other => panic!("expected a failure, got {other:?}"),
    }
}
