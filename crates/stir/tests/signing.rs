//! The authentication service: policy, keys, and what it refuses to sign.

mod common;

use common::*;
use ringfort_stir::sign::{AttestPolicy, Caller};
use ringfort_stir::*;

#[test]
fn an_attestation_is_never_better_than_what_is_known_of_the_caller() {
    let policy = AttestPolicy::default();
    assert_eq!(policy.attestation(Caller::OwnNumber), Some(Attestation::A));
    assert_eq!(policy.attestation(Caller::KnownCustomer), Some(Attestation::B));
    assert_eq!(policy.attestation(Caller::Gateway), None);
    let boastful = AttestPolicy {
        own_number: Some(Attestation::B),
        known_customer: Some(Attestation::A),
        gateway: Some(Attestation::A),
    };
    assert_eq!(boastful.attestation(Caller::OwnNumber), Some(Attestation::B));
    assert_eq!(boastful.attestation(Caller::KnownCustomer), Some(Attestation::B));
    assert_eq!(boastful.attestation(Caller::Gateway), Some(Attestation::C));
}

#[test]
fn an_origid_is_a_version_4_uuid() {
    assert_eq!(OrigId::from_chance([0xff; 16]).as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    assert_eq!(OrigId::parse("123E4567-E89B-12D3-A456-426655440000").unwrap().as_str().len(), 36);
    assert_eq!(OrigId::parse("123e4567e89b12d3a456426655440000"), None);
}

#[test]
fn keys_are_p_256_and_belong_to_the_certificate() {
    let root = Authority::root();
    let holder = root.issue(|params| params.custom_extensions.push(spc()));
    assert!(Signer::new(&holder.key, URL, Some(holder.chain.as_bytes())).is_ok());
    let other = root.issue(|_| {});
    assert_eq!(Signer::new(&holder.key, URL, Some(other.chain.as_bytes())).unwrap_err(), SignError::OtherKey);
    let error = Signer::new(&p384().serialize_pem(), URL, None).unwrap_err();
    assert_eq!(error, SignError::Key(KeyError::NotP256));
    assert!(matches!(Signer::new("no key", URL, None), Err(SignError::Key(KeyError::Pem(_)))));
    for url in ["", "certs.example.org", "https://a b", "mailto:x"] {
        assert!(matches!(Signer::new(&holder.key, url, None), Err(SignError::Url(_))), "{url}");
    }
    assert!(matches!(Signer::new(&holder.key, URL, Some(b"x")), Err(SignError::Certificate(_))));
    assert_eq!(format!("{:?}", SigningKey::from_pem(&holder.key).unwrap()), "SigningKey");
}

#[test]
fn nothing_is_signed_beyond_the_certificates_authority_and_time() {
    let root = Authority::root();
    let holder = root.issue(|params| params.custom_extensions.push(one(CALLER)));
    let signer = Signer::new(&holder.key, URL, Some(holder.chain.as_bytes())).unwrap();
    let now = now().unix;
    assert!(signer.sign(now, &outgoing()).is_ok());
    let foreign = sign::Outgoing { orig: tn("12025550100"), ..outgoing() };
    assert!(matches!(signer.sign(now, &foreign), Err(SignError::Authority(CredentialError::NoAuthority { .. }))));
    assert_eq!(signer.sign(UnixTime(UNIX + 400 * 86_400), &outgoing()), Err(SignError::NotNow));
    assert_eq!(signer.not_after(), Some(UnixTime(1_798_761_600)));
    let to_uri = sign::Outgoing { dest: Party::Uri("sip:bob@example.com".into()), ..outgoing() };
    assert_eq!(signer.sign(now, &to_uri), Err(SignError::NoNumber));
    let base = sign::Outgoing { attest: None, ..to_uri };
    assert_eq!(signer.sign(now, &base).unwrap().ppt, None);
}

#[test]
fn iat_is_the_date_of_the_request_and_a_wrong_date_is_not_signed() {
    let root = Authority::root();
    let signer = root.issue(|_| {}).signer();
    let now = now().unix;
    let date = ringfort_stir::date::SipDate(UnixTime(UNIX - 20)).to_string();
    let identity = signer.sign(now, &sign::Outgoing { date: Some(&date), ..outgoing() }).unwrap();
    let Ok(Token::Full(passport)) = Token::parse(&identity.token) else { panic!("full form") };
    assert_eq!(passport.claims.iat, UnixTime(UNIX - 20));
    for date in ["Sat, 13 Nov 2010 23:29:00 GMT", "now"] {
        let result = signer.sign(now, &sign::Outgoing { date: Some(date), ..outgoing() });
        assert_eq!(result, Err(SignError::StaleDate), "{date}");
    }
}
