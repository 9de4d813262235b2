//! 607, 608 and the signed card (RFC 8197, RFC 8688).

mod common;

use common::*;
use ringfort_stir::rejection::*;
use ringfort_stir::*;

fn card() -> RejectionCard {
    RejectionCard {
        name: "Robocall Adjudication".into(),
        contacts: vec![
            Contact::Url("https://blocker.example.net/adjudication-form".into()),
            Contact::Email("remediation@blocker.example.net".into()),
            Contact::Tel("tel:+1-555-555-0112".into()),
            Contact::Address(vec!["Argument Clinic".into(), "12 Main St".into()]),
        ],
    }
}

fn told(verifier: &mut Verifier, now: Now, jws: &str, chain: &str) -> Result<Card, CardError> {
    verifier.handle_card(now, jws);
    while let Some(query) = verifier.poll_query() {
        verifier.handle_fetched(now, query.id, body(chain));
    }
    match verifier.poll_event() {
        Some(Event::Card { card, .. }) => card,
        other => panic!("expected a card, got {other:?}"),
    }
}

#[test]
fn a_signed_card_is_believed_and_a_changed_or_old_one_is_not() {
    let root = Authority::root();
    let holder = root.issue(|_| {});
    let now = now();
    let key = SigningKey::from_pem(&holder.key).unwrap();
    let jws = card().sign(now.unix, URL, &key).unwrap();
    let mut verifier = Verifier::new(Settings::default(), root.anchors());
    let believed = told(&mut verifier, now, &jws, &holder.chain).unwrap();
    assert_eq!((believed.card, believed.signer.as_str(), believed.iat), (card(), "Example Carrier", now.unix));
    let other = SigningKey::from_pem(&root.issue(|_| {}).key).unwrap();
    let forged = card().sign(now.unix, URL, &other).unwrap();
    assert_eq!(told(&mut verifier, now, &forged, &holder.chain), Err(CardError::Signature));
    assert_eq!(told(&mut verifier, later(now, 61), &jws, &holder.chain), Err(CardError::Stale(61)));
    let http = card().sign(now.unix, "http://certs.example.org/x", &key).unwrap();
    assert_eq!(told(&mut verifier, now, &http, &holder.chain), Err(CardError::Url));
    let mut strangers = Verifier::new(Settings::default(), Authority::root().anchors());
    let error = told(&mut strangers, now, &jws, &holder.chain).unwrap_err();
    assert!(matches!(error, CardError::Credential(CredentialError::Untrusted { .. })), "{error}");
    strangers.handle_card(now, &card().sign(now.unix, "https://slow.example/", &key).unwrap());
    strangers.handle_timeout(later(now, 2));
    let Some(Event::Card { card, .. }) = strangers.poll_event() else { panic!("a card at the deadline") };
    assert_eq!(card, Err(CardError::Fetch(FetchFailure::Timeout)));
}

#[test]
fn a_card_must_say_whom_to_ask() {
    let key = SigningKey::from_pem(&Authority::root().issue(|_| {}).key).unwrap();
    let silent = RejectionCard { contacts: Vec::new(), ..card() };
    assert_eq!(silent.sign(UnixTime(1), URL, &key), Err(CardError::NoContact));
    assert!(matches!(SignedCard::parse("a.b"), Err(CardError::Token(_))));
    let passport = Passport::sign(Claims::new(tn("1"), vec![tn("2")], UnixTime(1)), URL, &key).to_full();
    assert!(
        matches!(SignedCard::parse(&passport), Err(CardError::Token(PassportError::Type(_)))),
        "a PASSporT is no card"
    );
}

#[test]
fn call_info_is_written_and_read() {
    let value = call_info("https://blocker.example.net/complaints-jws").unwrap();
    assert_eq!(value, "<https://blocker.example.net/complaints-jws>;purpose=jwscard");
    assert_eq!(card_url(&value), Some("https://blocker.example.net/complaints-jws"));
    assert_eq!(card_url("<https://a/b> ; x=1 ; Purpose = \"jwscard\""), Some("https://a/b"));
    for other in
        ["<https://a/b>;purpose=icon", "<https://a/b>", "https://a/b;purpose=jwscard", "<a>;purpose=jwscard", ""]
    {
        assert_eq!(card_url(other), None, "{other}");
    }
    assert_eq!(call_info("no url"), None);
}

#[test]
fn a_person_and_a_program_say_no_differently() {
    assert_eq!(Rejection::Unwanted.status(), (607, "Unwanted"));
    assert_eq!(Rejection::Rejected.status(), (608, "Rejected"));
    assert_eq!(Rejection::of_status(608), Some(Rejection::Rejected));
    assert_eq!(Rejection::of_status(603), None);
}
