//! The examples of RFC 8224, 8225, 8588, 8688 and 8946: what they say is read, what they serialize is written, and where the
//! published key belongs to the published signature it verifies. (The signatures of RFC 8225 appendix A and RFC 8688 §4.1 are
//! of keys that are not published: the two keys of RFC 8225 A.1 and A.2 are not a pair.)

use ringfort_stir::rejection::{Contact, SignedCard};
use ringfort_stir::*;

const HEADER: &str =
    "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9";
const RFC_8225_PAYLOAD: &str = "eyJkZXN0Ijp7InVyaSI6WyJzaXA6YWxpY2VAZXhhbXBsZS5jb20iXX0sImlhdCI6MTQ3MTM3NTQxOCwib3JpZyI6eyJ0biI6IjEyMTU1NTUxMjEyIn19";
const RFC_8225_SIGNATURE: &str =
    "VLBCIVDCaeK6M4hLJb6SHQvacAQVvoiiEOWQ_iUkqk79UD81fHQ0E1b3_GluIkba7UWYRM47ZbNFdOJquE35cw";
const RFC_8225_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgi7q2TZvN9VDFg8Vy
qCP06bETrR2v8MRvr89rn4i+UAahRANCAAQWfaj1HUETpoNCrOtp9KA8o0V79IuW
ARKt9C1cFPkyd3FBP4SeiNZxQhDrD0tdBHls3/wFe8++K2FrPyQF9vuh
-----END PRIVATE KEY-----";
/// RFC 8225 appendix A.2.
const RFC_8225_PUBLIC: &str = "04f0735b41dfd39af08ac0f28790c17d7d271abc6787efc61353ca8b4bc2391cb1\
                               d24a69404cb72c950321342fce865581602eb6ea7225a3b5de79b612ed26f7ee";
const RFC_8224_PAYLOAD: &str = "eyJkZXN0Ijp7InVyaSI6WyJzaXA6YWxpY2VAZXhhbXBsZS5jb20iXX0sImlhdCI6IjE0NDMyMDgzNDUiLCJvcmlnIjp7InRuIjoiMTIxNTU1NTEyMTIifX0";
const RFC_8224_SIGNATURE: &str =
    "rq3pjT1hoRwakEGjHCnWSwUnshd0-zJ6F1VOgFWSjHBr8Qjpjlk-cpFYpFYsojNCpTzO3QfPOlckGaS6hEck7w";
const RFC_8946_DIV: &str = "eyJhbGciOiJFUzI1NiIsInBwdCI6ImRpdiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly93d3cuZXhhbXBsZS5jb20vY2VydC5jZXIifQ.eyJkZXN0Ijp7InRuIjpbIjEyMTU1NTUxMjE0Il19LCJkaXYiOnsidG4iOiIxMjE1NTU1NTEyMTMifSwiaWF0IjoxNDQzMjA4MzQ1LCJvcmlnIjp7InRuIjoiMTIxNTU1NTEyMTIifX0.xBHWipDEEJ8a6TsdX6xUXAnblsFiGUiAxwLiv0HLC9IICj6eG9jQd6WzeSSjHRBwxmChHhVIiMTSqIlk3yCNkg";
const RFC_8946_INNER: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly93d3cuZXhhbXBsZS5jb20vY2VydC5jZXIifQ.eyJkZXN0Ijp7InRuIjpbIjEyMTU1NTUxMjEzIl19LCJpYXQiOjE0NDMyMDgzNDUsIm9yaWciOnsidG4iOiIxMjE1NTU1MTIxMiJ9fQ.1bEzkzcNbKvgz4QoMx0_DJ2T8qFMDC1sPqHPXl1WvbauzRJRvYlZqQ0qgGTlS8tJ_wXjVe07Z3wvDrdApHhhYw";
const RFC_8946_PRIVATE: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIFKCsFZ4Wsw3ZpBxgc4Z0sOjaXDdMk07Ny1fKg6OntAkoAoGCCqGSM49
AwEHoUQDQgAEmzGM1VsO+3IqbMF54rQMaYKQftO4hUYm9wv5wutLgEd9FsiTy3+4
+Wa2O7pffOXPC0QzO+yD8hGEXGP/2mZo6w==
-----END EC PRIVATE KEY-----";
const RFC_8688: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6InZjYXJkK2pzb24iLCJ4NXUiOiJodHRwczovL2NlcnRzLmV4YW1wbGUubmV0L3JlamVjdF9rZXkuY2VyIn0.eyJpYXQiOjE1NDYwMDg2OTgsImpjYXJkIjpbInZjYXJkIixbWyJ2ZXJzaW9uIix7fSwidGV4dCIsIjQuMCJdLFsiZm4iLHt9LCJ0ZXh0IiwiUm9ib2NhbGwgQWRqdWRpY2F0aW9uIl0sWyJlbWFpbCIseyJ0eXBlIjoid29yayJ9LCJ0ZXh0IiwicmVtZWRpYXRpb25AYmxvY2tlci5leGFtcGxlLm5ldCJdXV19.7uz2SADRvPFOQOO_UgF2ZTUjPlDTegtPrYB04UHBMwBD6g9AmL5harLJdTKDSTtH-LOV1jwJaGRUOUJiwP27ag";

fn full(token: &str) -> Passport {
    match Token::parse(token).unwrap() {
        Token::Full(passport) => passport,
        Token::Compact { .. } => panic!("expected the full form"),
    }
}

fn point(hex: &str) -> [u8; 65] {
    let octets: Vec<u8> = (0..65).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
    octets.try_into().unwrap()
}

fn tn(number: &str) -> Party {
    Party::Number(number.into())
}

#[test]
fn rfc_8225_appendix_a_is_read_and_serialized_octet_for_octet() {
    let token = format!("{HEADER}.{RFC_8225_PAYLOAD}.{RFC_8225_SIGNATURE}");
    let passport = full(&token);
    let alice = Party::Uri("sip:alice@example.com".into());
    assert_eq!(passport.claims, Claims::new(tn("12155551212"), vec![alice], UnixTime(1_471_375_418)));
    assert_eq!(passport.x5u.as_deref(), Some("https://cert.example.org/passport.cer"));
    assert!(passport.canonical && passport.ppt() == Some(Ppt::Base));
    assert_eq!(passport.to_full(), token);
    let key = SigningKey::from_pem(RFC_8225_PRIVATE).unwrap();
    let ours = Passport::sign(passport.claims.clone(), "https://cert.example.org/passport.cer", &key);
    assert!(ours.to_full().starts_with(&format!("{HEADER}.{RFC_8225_PAYLOAD}.")));
    assert!(ours.is_signed_by(key.public_key().try_into().unwrap()));
    assert!(!passport.is_signed_by(key.public_key().try_into().unwrap()), "not of this key");
}

#[test]
fn rfc_8225_section_7_and_rfc_8224_section_4_1_1_verify_in_full_form_and_have_their_compact_form() {
    let passport = full(&format!("{HEADER}.{RFC_8224_PAYLOAD}.{RFC_8224_SIGNATURE}"));
    assert_eq!(passport.claims.iat, UnixTime(1_443_208_345), "which stands there as a string");
    assert!(passport.is_signed_by(&point(RFC_8225_PUBLIC)));
    assert_eq!(passport.to_compact(), Some(format!("..{RFC_8224_SIGNATURE}")));
    let token = Token::parse(&format!("..{RFC_8224_SIGNATURE}")).unwrap();
    assert!(matches!(token, Token::Compact { .. }));
    // Folded as in the RFC.
    let value = format!(
        "{}\r\n {}.{RFC_8224_PAYLOAD}.{RFC_8224_SIGNATURE};info=<https://biloxi.example.org\r\n /biloxi.cert>",
        &HEADER[..40],
        &HEADER[40..]
    );
    let unfolded = value.replace("org\r\n /", "org/");
    let identity = Identity::parse(&unfolded).unwrap();
    assert_eq!(full(&identity.token), passport);
    assert_eq!(identity.info, "https://biloxi.example.org/biloxi.cert");
}

#[test]
fn rfc_8225_section_5_2_2_sorts_media_keys_and_drops_their_colons() {
    let sdp = "v=0\r\na=fingerprint:sha-256 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB:3E:4B:65:2E:7D:46:3F:54:42:CD:54:F1\r\n\
               a=fingerprint:SHA-256 02:1a:CC:54:27:AB:EB:9C:53:3F:3E:4B:65:2E:7D:46:3F:54:42:CD:54:F1:7A:03:A2:7D:F9:B0:7F:46:19:B2\r\n";
    let keys = Fingerprint::of_sdp(sdp);
    let mut claims =
        Claims::new(tn("12155551212"), vec![Party::Uri("sip:alice@example.com".into())], UnixTime(1_443_208_345));
    claims.mky = keys;
    assert_eq!(
        claims.to_json(),
        "{\"dest\":{\"uri\":[\"sip:alice@example.com\"]},\"iat\":1443208345,\"mky\":[\
         {\"alg\":\"sha-256\",\"dig\":\"021ACC5427ABEB9C533F3E4B652E7D463F5442CD54F17A03A27DF9B07F4619B2\"},\
         {\"alg\":\"sha-256\",\"dig\":\"4AADB9B13F82183B540212DF3E5D496B19E57CAB3E4B652E7D463F5442CD54F1\"}],\
         \"orig\":{\"tn\":\"12155551212\"}}"
    );
}

#[test]
fn rfc_8588_section_6_has_its_claims_in_the_order_of_section_8() {
    let mut claims = Claims::new(tn("12155550121"), vec![tn("12155550131")], UnixTime(1_443_208_345));
    claims.attest = Some(Attestation::A);
    claims.origid = Some("123e4567-e89b-12d3-a456-426655440000".into());
    assert_eq!(
        claims.to_json(),
        "{\"attest\":\"A\",\"dest\":{\"tn\":[\"12155550131\"]},\"iat\":1443208345,\"orig\":{\"tn\":\"12155550121\"},\
         \"origid\":\"123e4567-e89b-12d3-a456-426655440000\"}"
    );
    let key = SigningKey::from_pem(RFC_8225_PRIVATE).unwrap();
    let passport = Passport::sign(claims.clone(), "https://cert.example.org/passport.cer", &key);
    let again = full(&passport.to_full());
    assert!(again.canonical && again.ppt() == Some(Ppt::Shaken) && again.claims == claims);
    assert_eq!(passport.to_compact(), None, "not specified for shaken");
}

#[test]
fn rfc_8946_section_3_and_section_5_verify_with_the_key_of_appendix_a() {
    let key = SigningKey::from_pem(RFC_8946_PRIVATE).unwrap();
    let point: &[u8; 65] = key.public_key().try_into().unwrap();
    let inner = full(RFC_8946_INNER);
    assert!(inner.is_signed_by(point));
    assert_eq!(inner.claims, Claims::new(tn("12155551212"), vec![tn("12155551213")], UnixTime(1_443_208_345)));
    let div = full(RFC_8946_DIV);
    assert!(div.is_signed_by(point));
    assert_eq!(div.ppt(), Some(Ppt::Div));
    // As it stands in the RFC, with a 5 too many.
    assert_eq!(div.claims.div, Some(tn("121555551213")));
    assert_eq!(div.claims.dest, [tn("12155551214")]);
}

#[test]
fn rfc_8688_section_4_1_is_read() {
    let card = SignedCard::parse(RFC_8688).unwrap();
    assert_eq!(card.iat, UnixTime(1_546_008_698));
    assert_eq!(card.x5u, "https://certs.example.net/reject_key.cer");
    assert_eq!(card.card.name, "Robocall Adjudication");
    assert_eq!(card.card.contacts, [Contact::Email("remediation@blocker.example.net".into())]);
}
