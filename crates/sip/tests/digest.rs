//! Challenges and answers between `Challenger` and `ClientAuth` over real messages.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;
use ringfort_sip::digest::*;
use ringfort_sip::{Headers, Limits, Message};

const URI: &str = "sip:example.org";
const LIFETIME: Duration = Duration::from_secs(60);

#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
fn start() -> Instant {
    Instant::now()
}

fn challenger(algorithms: &[Algorithm]) -> Challenger {
    Challenger::new("example.org", algorithms.to_vec(), LIFETIME, [7; 32])
}

fn credentials() -> Credentials {
    Credentials { realm: Some("example.org".into()), user: "anna".into(), password: "s3cret".into() }
}

fn rng() -> ChaCha12Rng {
    ChaCha12Rng::from_seed([1; 32])
}

/// A response with these header fields.
fn response(status: u16, headers: &Headers) -> Message {
    let mut text = format!(
        "SIP/2.0 {status} x\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\n\
         Call-ID: c\r\nCSeq: 1 REGISTER\r\n"
    )
    .into_bytes();
    text.extend_from_slice(headers.as_bytes());
    text.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    Message::parse_datagram(Bytes::from(text), &Limits::default()).expect("well-formed")
}

const PHONE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn challenge(challenger: &mut Challenger, now: Instant, stale: bool) -> Message {
    let mut headers = Headers::default();
    challenger.challenge(now, PHONE, stale, &mut headers, false);
    response(401, &headers)
}

fn value(headers: &Headers) -> Vec<u8> {
    headers.iter().next().expect("one field").1.to_vec()
}

fn check(challenger: &mut Challenger, now: Instant, value: &[u8]) -> Result<Verified, AuthFailure> {
    let anna = Ha1Set::new("anna", "example.org", "s3cret");
    challenger.verify(now, Some(PHONE), value, "REGISTER", URI, &|user| (user == "anna").then_some(&anna))
}

#[test]
fn every_algorithm_is_asked_for_in_order_and_taken_rfc_8760_section_2_3() {
    let all = [Algorithm::Sha256, Algorithm::Sha512_256, Algorithm::Md5];
    let now = start();
    let mut asking = challenger(&all);
    let asked = challenge(&mut asking, now, false);
    let fields: Vec<String> = asked
        .headers(ringfort_sip::HeaderName::WwwAuthenticate)
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect();
    assert_eq!(fields.len(), 3);
    for (field, algorithm) in fields.iter().zip(all) {
        assert!(field.contains(&format!("algorithm={algorithm}, qop=\"auth\"")), "{field}");
        assert!(!field.contains("stale"));
    }
    for algorithm in all {
        let mut asking = challenger(&[algorithm]);
        let asked = challenge(&mut asking, now, false);
        let answer = authorize(&asked, &credentials(), "REGISTER", URI, &mut rng(), 1).expect("for our realm");
        let verified = check(&mut asking, now, &value(&answer)).expect("the right password");
        assert_eq!(verified, Verified { username: "anna".into(), algorithm });
    }
}

#[test]
fn the_client_takes_the_strongest_algorithm_whatever_the_order() {
    let mut asking = challenger(&[Algorithm::Md5, Algorithm::Sha512_256, Algorithm::Sha256]);
    let asked = challenge(&mut asking, start(), false);
    let answer = authorize(&asked, &credentials(), "REGISTER", URI, &mut rng(), 1).expect("for our realm");
    assert!(String::from_utf8_lossy(answer.as_bytes()).contains("algorithm=SHA-512-256"));
}

#[test]
fn credentials_are_never_given_to_another_realm_nor_for_another_status() {
    let mut asking = challenger(&[Algorithm::Md5]);
    let asked = challenge(&mut asking, start(), false);
    let other = Credentials { realm: Some("example.com".into()), ..credentials() };
    assert!(authorize(&asked, &other, "REGISTER", URI, &mut rng(), 1).is_none());
    let mut headers = Headers::default();
    asking.challenge(start(), PHONE, false, &mut headers, true);
    assert!(authorize(&response(401, &headers), &credentials(), "REGISTER", URI, &mut rng(), 1).is_none());
    assert!(authorize(&response(403, &headers), &credentials(), "REGISTER", URI, &mut rng(), 1).is_none());
    let answer = authorize(&response(407, &headers), &credentials(), "REGISTER", URI, &mut rng(), 1).expect("a 407");
    assert!(answer.contains("Proxy-Authorization"));
}

#[test]
fn a_nonce_count_is_never_taken_twice_rfc_7616_section_5_5() {
    let now = start();
    let mut asking = challenger(&[Algorithm::Sha256]);
    let asked = challenge(&mut asking, now, false);
    let answer = |nc| value(&authorize(&asked, &credentials(), "REGISTER", URI, &mut rng(), nc).expect("ours"));
    for nc in [1, 3, 2, 200, 150] {
        assert!(check(&mut asking, now, &answer(nc)).is_ok(), "{nc}");
        assert_eq!(check(&mut asking, now, &answer(nc)), Err(AuthFailure::Replay), "{nc}");
    }
    assert_eq!(check(&mut asking, now, &answer(100)), Err(AuthFailure::Replay), "beyond the window");
    assert!(AuthFailure::Replay.is_stale());
}

#[test]
fn an_old_nonce_and_one_from_before_a_restart_are_stale_and_say_nothing_about_the_password() {
    let now = start();
    let mut asking = challenger(&[Algorithm::Sha256]);
    let asked = challenge(&mut asking, now, false);
    let answer = value(&authorize(&asked, &credentials(), "REGISTER", URI, &mut rng(), 1).expect("ours"));
    let later = now + LIFETIME + Duration::from_secs(1);
    assert_eq!(check(&mut asking, later, &answer), Err(AuthFailure::Stale));
    let mut restarted = Challenger::new("example.org", vec![Algorithm::Sha256], LIFETIME, [8; 32]);
    assert_eq!(check(&mut restarted, now, &answer), Err(AuthFailure::Stale));
    let wrong = Credentials { password: "guess".into(), ..credentials() };
    let guess = value(&authorize(&asked, &wrong, "REGISTER", URI, &mut rng(), 1).expect("ours"));
    assert_eq!(check(&mut asking, later, &guess), Err(AuthFailure::Stale), "as for the right one");
    assert_eq!(check(&mut asking, now, &guess), Err(AuthFailure::Denied));
    let asked = challenge(&mut asking, later, true);
    let field = asked.header(ringfort_sip::HeaderName::WwwAuthenticate).expect("a challenge");
    assert!(field.ends_with(b", stale=true"));
}

#[test]
fn an_unknown_user_and_a_wrong_password_are_told_the_same_and_leave_no_trace() {
    let now = start();
    let mut asking = challenger(&[Algorithm::Sha256]);
    for (user, password) in [("nobody", "s3cret"), ("anna", "guess"), ("", "")] {
        let asked = challenge(&mut asking, now, false);
        let wrong = Credentials { realm: None, user: user.into(), password: password.into() };
        let answer = value(&authorize(&asked, &wrong, "REGISTER", URI, &mut rng(), 1).expect("any realm"));
        assert_eq!(check(&mut asking, now, &answer), Err(AuthFailure::Denied));
    }
    assert_eq!(asking.nonces_in_use(), 0);
}

#[test]
fn the_table_of_used_nonces_is_bounded_and_what_it_forgets_is_stale() {
    let now = start();
    let mut asking = challenger(&[Algorithm::Md5]).with_nonce_limit(4);
    let mut answers = Vec::new();
    for n in 0..10 {
        let at = now + Duration::from_millis(n);
        let asked = challenge(&mut asking, at, false);
        let first = value(&authorize(&asked, &credentials(), "REGISTER", URI, &mut rng(), 1).expect("ours"));
        assert!(check(&mut asking, at, &first).is_ok());
        answers.push(first);
    }
    assert_eq!(asking.nonces_in_use(), 4);
    let at = now + Duration::from_millis(20);
    for (n, answer) in answers.iter().enumerate() {
        let expected = if n < 6 { AuthFailure::Stale } else { AuthFailure::Replay };
        assert_eq!(check(&mut asking, at, answer), Err(expected), "{n}");
    }
}

/// An answer made by hand, to vary it.
fn by_hand(asked: &Message, edit: impl Fn(String) -> String) -> Vec<u8> {
    let answer = authorize(asked, &credentials(), "REGISTER", URI, &mut rng(), 1).expect("ours");
    edit(String::from_utf8(value(&answer)).expect("text")).into_bytes()
}

#[test]
fn forms_that_phones_write_are_taken() {
    let now = start();
    let mut asking = challenger(&[Algorithm::Md5]);
    let edits: [fn(String) -> String; 5] = [
        |text| text.replacen("Digest", "DIGEST", 1),
        |text| text.replace("algorithm=MD5", "algorithm=\"md5\""),
        |text| text.replace("qop=auth", "qop=\"auth\""),
        |text| text.replace("algorithm=MD5, ", ""),
        |text| text.replace("username=\"anna\"", "username*=UTF-8''%61nna"),
    ];
    for edit in edits {
        let asked = challenge(&mut asking, now, false);
        let answer = by_hand(&asked, edit);
        assert!(check(&mut asking, now, &answer).is_ok(), "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn what_was_not_offered_or_is_not_whole_is_refused() {
    let now = start();
    let mut asking = challenger(&[Algorithm::Md5]);
    let asked = challenge(&mut asking, now, false);
    type Edit = fn(String) -> String;
    let cases: [(Edit, AuthFailure); 9] = [
        (|text| text.replace("MD5", "SHA-256"), AuthFailure::NotOffered),
        (|text| text.replace("MD5", "MD5-sess"), AuthFailure::NotOffered),
        (|text| text.replace("qop=auth", "qop=auth-int"), AuthFailure::NotOffered),
        (|text| text + ", userhash=true", AuthFailure::NotOffered),
        (|text| text.replace("example.org\", nonce", "example.com\", nonce"), AuthFailure::OtherRealm),
        (|text| text.replace("nc=", "xx="), AuthFailure::Missing("nc")),
        (|text| text.replace("response=", "xx="), AuthFailure::Missing("response")),
        (|text| text.replace("Digest", "Basic"), AuthFailure::Malformed(BadParams::OtherScheme)),
        (|text| text.replace("uri=\"sip:", "uri=\"sip:x@"), AuthFailure::Denied),
    ];
    for (edit, failure) in cases {
        let answer = by_hand(&asked, edit);
        assert_eq!(check(&mut asking, now, &answer), Err(failure), "{}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn the_digest_uri_names_the_same_resource_leniently_and_no_other_rfc_3261_section_22_4() {
    let now = start();
    let anna = Ha1Set::new("anna", "example.org", "s3cret");
    for (digest_uri, request_uri, fits) in [
        ("sip:example.org", "sip:example.org;transport=tcp", true),
        ("sip:example.org:5060", "sip:EXAMPLE.org", true),
        ("sips:bob@example.org", "sip:bob@example.org;user=phone", true),
        ("sip:%62ob@example.org", "sip:bob@example.org", true),
        ("sip:eve@example.org", "sip:bob@example.org", false),
        ("sip:example.com", "sip:example.org", false),
        ("sip:example.org:5060", "sip:bob@example.org", true),
        ("sip:example.com", "sip:bob@example.org", false),
        ("sip:bob@example.org", "sip:example.org", false),
        ("sip:example.org:5070", "sip:example.org", false),
        ("tel:+1", "tel:+2", false),
    ] {
        let mut asking = challenger(&[Algorithm::Md5]);
        let asked = challenge(&mut asking, now, false);
        let answer = authorize(&asked, &credentials(), "INVITE", digest_uri, &mut rng(), 1).expect("ours");
        let result = asking.verify(now, Some(PHONE), &value(&answer), "INVITE", request_uri, &|_| Some(&anna));
        let expected = if fits { None } else { Some(AuthFailure::OtherUri) };
        assert_eq!(result.err(), expected, "{digest_uri} for {request_uri}");
    }
}

#[test]
fn an_answer_without_qop_works_once_rfc_2069() {
    let now = start();
    let mut asking = challenger(&[Algorithm::Md5]);
    let asked = challenge(&mut asking, now, false);
    let field = asked.header_str(ringfort_sip::HeaderName::WwwAuthenticate).expect("a challenge").into_owned();
    let mut headers = Headers::default();
    headers.push("WWW-Authenticate", field.replace(", qop=\"auth\"", ""));
    let answer = authorize(&response(401, &headers), &credentials(), "REGISTER", URI, &mut rng(), 1).expect("ours");
    let answer = value(&answer);
    assert!(!String::from_utf8_lossy(&answer).contains("cnonce"));
    assert!(check(&mut asking, now, &answer).is_ok());
    assert_eq!(check(&mut asking, now, &answer), Err(AuthFailure::Replay));
}

#[test]
fn loops_of_challenges_end() {
    let now = start();
    let mut asking = challenger(&[Algorithm::Sha256]);
    let mut client = ClientAuth::new(credentials());
    assert!(client.next("REGISTER", URI, &mut rng()).is_none());
    let first = challenge(&mut asking, now, false);
    assert!(client.answer(&first, "REGISTER", URI, &mut rng()).is_ok());
    let again = challenge(&mut asking, now, false);
    assert_eq!(client.answer(&again, "REGISTER", URI, &mut rng()).err(), Some(NoAnswer::Refused));
    let stale = challenge(&mut asking, now, true);
    assert!(client.answer(&stale, "REGISTER", URI, &mut rng()).is_ok());
    assert_eq!(client.answer(&stale, "REGISTER", URI, &mut rng()).err(), Some(NoAnswer::Refused));
    client.accepted();
    let unasked = client.next("REGISTER", URI, &mut rng()).expect("a nonce is known");
    assert!(check(&mut asking, now, &value(&unasked)).is_ok());
    assert!(client.answer(&challenge(&mut asking, now, true), "REGISTER", URI, &mut rng()).is_ok());
}

#[test]
fn no_answer_makes_the_challenger_panic() {
    let now = start();
    let mut asking = challenger(&[Algorithm::Md5]);
    let asked = challenge(&mut asking, now, false);
    let whole = by_hand(&asked, |text| text);
    for cut in 0..whole.len() {
        let _ = check(&mut asking, now, &whole[..cut]);
        for byte in [0, b'"', b'\\', b',', b'%', 0xff] {
            let mut changed = whole.clone();
            changed[cut] = byte;
            let _ = check(&mut asking, now, &changed);
        }
    }
}

#[test]
fn a_nonce_that_comes_back_from_where_it_went_proves_that_source_alone() {
    let mut asking = challenger(&[Algorithm::Md5]);
    let asked = challenge(&mut asking, start(), false);
    let wrong = Credentials { password: "guess".into(), ..credentials() };
    let answer = authorize(&asked, &wrong, "REGISTER", URI, &mut rng(), 1).expect("a challenge");
    let field = value(&answer);
    assert!(asking.was_heard_at(start(), &field, PHONE));
    assert!(asking.was_heard_at(start(), &field, "::ffff:192.0.2.7".parse().unwrap()), "as an IPv6 socket shows it");
    assert!(!asking.was_heard_at(start(), &field, "192.0.2.8".parse().unwrap()), "given to another");
    assert!(!asking.was_heard_at(start() + Duration::from_secs(3600), &field, PHONE), "too old");
    assert!(!challenger(&[Algorithm::Sha256]).was_heard_at(start(), b"Digest nonce=\"1\"", PHONE));
    assert!(!asking.was_heard_at(start(), b"Basic x", PHONE));
    let text = String::from_utf8(field).expect("ASCII");
    let at = text.find("nonce=\"").expect("a nonce") + 7 + 51;
    let flipped = if &text[at..=at] == "0" { "1" } else { "0" };
    let forged = format!("{}{flipped}{}", &text[..at], &text[at + 1..]);
    assert!(!asking.was_heard_at(start(), forged.as_bytes(), PHONE), "made up");
    // From anywhere else it is stale, for who knows the password and for who does not; then the phone is asked again.
    let right = value(&authorize(&asked, &credentials(), "REGISTER", URI, &mut rng(), 1).expect("a challenge"));
    let anna = Ha1Set::new("anna", "example.org", "s3cret");
    let lookup = |_: &str| Some(&anna);
    let elsewhere = Some("192.0.2.8".parse().unwrap());
    for given in [&right, &value(&answer)] {
        assert_eq!(asking.verify(start(), elsewhere, given, "REGISTER", URI, &lookup), Err(AuthFailure::Stale));
    }
    assert!(asking.verify(start(), None, &right, "REGISTER", URI, &lookup).is_ok(), "where that does not matter");
    let right = value(&authorize(&asked, &credentials(), "REGISTER", URI, &mut rng(), 2).expect("a challenge"));
    assert!(asking.verify(start(), Some(PHONE), &right, "REGISTER", URI, &lookup).is_ok());
    // An IPv6 phone's privacy address changes within its /64.
    let mut headers = Headers::default();
    asking.challenge(start(), "2001:db8:1:2::1".parse().unwrap(), false, &mut headers, false);
    let asked = response(401, &headers);
    let right = |nc| value(&authorize(&asked, &credentials(), "REGISTER", URI, &mut rng(), nc).expect("a challenge"));
    let mut from = |address: &str, nc| {
        asking.verify(start(), Some(address.parse().unwrap()), &right(nc), "REGISTER", URI, &lookup).map(|_| ())
    };
    assert_eq!(from("2001:db8:1:2:ffff::9", 1), Ok(()));
    assert_eq!(from("2001:db8:1:3::1", 2), Err(AuthFailure::Stale));
}
