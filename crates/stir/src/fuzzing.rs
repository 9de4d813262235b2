//! What the fuzz targets run, here so that the tests replay their corpus with the same code.

use std::time::{Duration, Instant};

use crate::certificate::{Certificate, parse_chain};
use crate::date::{Now, UnixTime};
use crate::der::Reader;
use crate::identity::Identity;
use crate::passport::Token;
use crate::rejection::{SignedCard, call_info, card_url};
use crate::tn_auth_list::{ClaimConstraints, TnAuthList};
use crate::verify::{Event, Fetch, Question, Settings, Verifier};
use crate::{NumberPlan, TrustAnchors};

/// Lines parted by newlines, each an Identity header field of one request: what was read is written and read again, and the
/// verifier comes to a verdict whatever there is, with nothing left in it.
pub fn identity(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines: Vec<&str> = text.split('\n').collect();
    for line in &lines {
        if let Ok(identity) = Identity::parse(line) {
            assert_eq!(Identity::parse(&identity.to_string()).as_ref(), Ok(&identity), "{line}");
            if let Ok(Token::Full(passport)) = Token::parse(&identity.token) {
                assert_eq!(passport.to_full(), identity.token);
                let _ = passport.claims.to_json();
            }
        }
        if let Ok(card) = SignedCard::parse(line) {
            assert!(!card.card.contacts.is_empty());
        }
        if let Some(url) = card_url(line) {
            assert_eq!(call_info(url).as_deref().and_then(card_url), Some(url));
        }
        let plan = NumberPlan::north_america();
        if let Ok(party) = plan.party(line) {
            assert_eq!(plan.claimed(&party), party, "canonical form is its own canonical form");
        }
    }
    // Near the examples of the RFCs, so that their PASSporTs are fresh.
    let now = Now { instant: start(), unix: UnixTime(1_443_208_345) };
    let settings = Settings { freshness: Duration::from_secs(100_000_000), ..Settings::default() };
    let mut verifier = Verifier::new(settings, TrustAnchors::default());
    let question = Question {
        method: "INVITE",
        from: "<sip:+12155551212@example.com>",
        to: "<sip:alice@example.com>",
        request_uri: "sip:+12155551214@example.com",
        date: Some("Fri, 25 Sep 2015 19:12:25 GMT"),
        identities: &lines,
        ..Question::default()
    };
    let id = verifier.handle_question(now, &question);
    while let Some(query) = verifier.poll_query() {
        assert!(query.url.to_ascii_lowercase().starts_with("https://"));
        verifier.handle_fetched(now, query.id, Fetch::Body { bytes: data.to_vec(), max_age: None });
    }
    let Some(Event::Verdict { id: of, verdict }) = verifier.poll_event() else { panic!("expected a verdict") };
    assert!(of == id && verdict.passed().is_none() && verifier.poll_event().is_none());
    assert_eq!((verifier.load().0, verifier.load().1), (0, 0));
    assert_eq!(verifier.poll_timeout(), None);
}

#[allow(clippy::disallowed_methods, reason = "any instant will do")]
fn start() -> Instant {
    Instant::now()
}

/// DER as a TN Authorization List, as claim constraints, and as a certificate.
pub fn tn_auth_list(data: &[u8]) {
    if let Some(list) = TnAuthList::parse(data) {
        assert_eq!(TnAuthList::parse(&list.to_der()), Some(list.clone()));
        let _ = (list.has_number("12155551212"), list.spcs().count());
    }
    let _ = ClaimConstraints::parse(data);
    let mut reader = Reader::new(data);
    while reader.any().is_some() {}
    if let Ok(chain) = parse_chain(data) {
        assert!(!chain.is_empty());
        let _ = Certificate::parse(&chain[0]);
        let _ = TrustAnchors::from_bytes(data);
    }
}
