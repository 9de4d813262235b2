//! Digest by bytes: what is no answer is never taken, what is one is taken once, and credentials stay with their realm.

use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;

use super::stage;
use crate::digest::{Algorithm, AuthFailure, AuthParams, Challenger, ClientAuth, Credentials, Ha1Set};
use crate::{HeaderName, Headers, Limits, Message};

const REALM: &str = "pbx.example";
const USER: &str = "anna \"a\\n\"";
const PASSWORD: &str = "Lantern-Orchard-57";
const LIFETIME: Duration = Duration::from_secs(300);

/// The bytes are a header value: as an answer, as a challenge, and as the digest uri of a right answer.
pub fn digest(data: &[u8]) {
    let _ = AuthParams::parse(data).map(|params| params.username().map(|name| name.len()));
    as_answer(data);
    as_challenge(data);
    as_uri(data);
}

/// Nobody guesses a nonce of ours.
fn as_answer(data: &[u8]) {
    let ha1 = Ha1Set::new(USER, REALM, PASSWORD);
    let mut challenger = challenger();
    let taken = challenger.verify(stage::start(), None, data, "REGISTER", "sip:pbx.example", &|_| Some(&ha1));
    assert!(taken.is_err(), "taken without a challenge: {taken:?}");
    assert_eq!(challenger.nonces_in_use(), 0);
}

/// What we answer to somebody's challenge can be read, and goes to our realm only.
fn as_challenge(data: &[u8]) {
    let mut text =
        b"SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
                     To: <sip:a@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nWWW-Authenticate: "
            .to_vec();
    text.extend_from_slice(data);
    text.extend_from_slice(b"\r\nContent-Length: 0\r\n\r\n");
    let Ok(response) = Message::parse_datagram(Bytes::from(text), &Limits::default()) else { return };
    let mut rng = ChaCha12Rng::from_seed([3; 32]);
    for realm in [Some(REALM.to_owned()), None] {
        let mut client = ClientAuth::new(credentials(realm.clone()));
        let Ok(headers) = client.answer(&response, "REGISTER", "sip:pbx.example", &mut rng) else { continue };
        let (_, value) = headers.iter().next().expect("an answer is a header field");
        let params = AuthParams::parse(value).expect("we write what we can read");
        assert_eq!(params.username().as_deref(), Some(USER));
        assert!(realm.is_none() || params.get("realm") == Some(REALM.as_bytes()), "credentials for another realm");
        let asked: Vec<AuthParams<'_>> =
            response.headers(HeaderName::WwwAuthenticate).filter_map(|value| AuthParams::parse(value).ok()).collect();
        for name in ["realm", "nonce", "opaque"] {
            // What cannot stand in a header field is not echoed; the peer then refuses, as it should.
            let echoed = |asked: &AuthParams<'_>| {
                asked.get(name).is_some_and(unprintable) || asked.get(name) == params.get(name)
            };
            assert!(asked.iter().any(echoed), "{name} of {asked:?} is not that of {params:?}");
        }
        let again = client.answer(&response, "REGISTER", "sip:pbx.example", &mut rng);
        let thrice = client.answer(&response, "REGISTER", "sip:pbx.example", &mut rng);
        assert!(again.is_err() || thrice.is_err(), "a loop of challenges ends");
    }
}

/// An answer of ours for any uri is taken once, with every algorithm, and not with another password or nonce count.
fn as_uri(data: &[u8]) {
    let Ok(uri) = std::str::from_utf8(data) else { return };
    if uri.len() > 1000 || uri.chars().any(char::is_control) {
        return;
    }
    let now = stage::start();
    let ha1 = Ha1Set::new(USER, REALM, PASSWORD);
    let other = Ha1Set::new(USER, REALM, "another");
    let mut rng = ChaCha12Rng::from_seed([4; 32]);
    let mut challenger = challenger();
    let mut headers = Headers::default();
    challenger.challenge(now, std::net::Ipv4Addr::LOCALHOST.into(), false, &mut headers, false);
    let mut text = b"SIP/2.0 401 X\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
                     To: <sip:a@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n"
        .to_vec();
    text.extend_from_slice(headers.as_bytes());
    text.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    let response = stage::parse(text);
    let mut client = ClientAuth::new(credentials(None));
    let answer = client.answer(&response, "REGISTER", uri, &mut rng).expect("our own challenge");
    let (_, value) = answer.iter().next().expect("an answer is a header field");
    let mut check = |value: &[u8], ha1| challenger.verify(now, None, value, "REGISTER", uri, &|_| Some(ha1));
    assert_eq!(check(value, &other), Err(AuthFailure::Denied));
    let taken = check(value, &ha1).expect("the right answer");
    assert_eq!((taken.username.as_str(), taken.algorithm), (USER, Algorithm::Sha512_256));
    assert_eq!(check(value, &ha1), Err(AuthFailure::Replay));
    let next = client.next("REGISTER", uri, &mut rng).expect("with a count");
    let (_, value) = next.iter().next().expect("an answer is a header field");
    check(value, &ha1).expect("the next count");
}

fn unprintable(value: &[u8]) -> bool {
    std::str::from_utf8(value).map_or(true, |text| text.chars().any(char::is_control))
}

fn challenger() -> Challenger {
    let algorithms = vec![Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256];
    Challenger::new(REALM, algorithms, LIFETIME, [5; 32])
}

fn credentials(realm: Option<String>) -> Credentials {
    Credentials { realm, user: USER.to_owned(), password: PASSWORD.to_owned() }
}
