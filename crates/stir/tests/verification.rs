//! The verification service: what passes, and each way to fail with its status, phrase and rule.

mod common;

use std::time::Duration;

use common::*;
use ringfort_stir::tn_auth_list::TnEntry;
use ringfort_stir::verify::Destination;
use ringfort_stir::*;

/// A carrier with authority, a verifier that trusts its root, and a signed call.
struct World {
    root: Authority,
    holder: Holder,
    verifier: Verifier,
    identity: String,
    now: Now,
}

fn world() -> World {
    world_with(Settings::default())
}

fn world_with(settings: Settings) -> World {
    let root = Authority::root();
    let holder = root.issue(|params| params.custom_extensions.push(spc()));
    let now = now();
    let identity = holder.signer().sign(now.unix, &outgoing()).unwrap().to_string();
    World { verifier: Verifier::new(settings, root.anchors()), root, holder, identity, now }
}

impl World {
    fn judge(&mut self, question: &Question<'_>) -> Verdict {
        let chain = self.holder.chain.clone();
        verdict(&mut self.verifier, self.now, question, |_| body(&chain))
    }

    fn judge_identity(&mut self, identity: &str) -> Verdict {
        self.judge(&question(&[identity]))
    }

    /// The signed claims changed before signing.
    fn signed(&self, change: impl FnOnce(&mut Claims)) -> String {
        let mut claims = Claims::new(tn(CALLER), vec![tn(CALLED)], self.now.unix);
        claims.attest = Some(Attestation::B);
        claims.origid = Some("123e4567-e89b-12d3-a456-426655440000".into());
        change(&mut claims);
        Identity::full(&Passport::sign(claims, URL, self.holder.signer().key())).to_string()
    }
}

#[test]
fn a_signed_call_passes_and_tells_who_signed_it_how() {
    let mut world = world();
    let identity = world.identity.clone();
    let verdict = world.judge_identity(&identity);
    let passed = verdict.passed().expect("passed");
    assert_eq!((passed.attestation, passed.signer.as_str()), (Some(Attestation::A), "Example Carrier"));
    assert_eq!(passed.origid.as_deref(), Some("07070707-0707-4707-8707-070707070707"));
    assert_eq!((passed.spcs.as_slice(), passed.url.as_str()), (&["709J".to_owned()][..], URL));
    assert_eq!((verdict.verstat(), verdict.rule()), ("TN-Validation-Passed", "stir.passed"));
    assert!(verdict.refusal().is_none() && verdict.reason().is_none() && verdict.failures.is_empty());
    assert_eq!(verdict.to_string(), "signed by \"Example Carrier\", attestation A");
}

#[test]
fn a_base_passport_passes_in_full_and_in_compact_form() {
    let mut world = world();
    let date = ringfort_stir::date::SipDate(world.now.unix).to_string();
    let claims = Claims::new(tn(CALLER), vec![tn(CALLED)], world.now.unix);
    let passport = Passport::sign(claims, URL, world.holder.signer().key());
    for identity in [Identity::full(&passport), Identity::compact(&passport).unwrap()] {
        let identity = identity.to_string();
        let verdict = world.judge(&Question { date: Some(&date), ..question(&[&identity]) });
        assert_eq!(verdict.passed().map(|passed| passed.attestation), Some(None), "{identity}: {verdict}");
    }
}

#[test]
fn a_compact_form_without_a_date_or_of_another_type_is_incomplete() {
    let mut world = world();
    let passport =
        Passport::sign(Claims::new(tn(CALLER), vec![tn(CALLED)], world.now.unix), URL, world.holder.signer().key());
    let compact = Identity::compact(&passport).unwrap().to_string();
    let verdict = world.judge_identity(&compact);
    assert_eq!(verdict.refusal(), Some((438, "Invalid PASSporT")));
    let verdict = world.judge_identity(&format!("{compact};ppt=shaken"));
    assert_eq!(failed(&verdict), FailureKind::Incomplete);
}

#[test]
fn a_compact_form_whose_date_was_changed_on_the_way_does_not_verify() {
    let mut world = world();
    let passport =
        Passport::sign(Claims::new(tn(CALLER), vec![tn(CALLED)], world.now.unix), URL, world.holder.signer().key());
    let compact = Identity::compact(&passport).unwrap().to_string();
    let date = ringfort_stir::date::SipDate(UnixTime(UNIX + 3)).to_string();
    let verdict = world.judge(&Question { date: Some(&date), ..question(&[&compact]) });
    assert_eq!((failed(&verdict), verdict.rule()), (FailureKind::Signature, "stir.signature"));
}

#[test]
fn without_an_identity_or_with_unknown_types_alone_nothing_is_validated() {
    let mut world = world();
    let verdict = world.judge(&question(&[]));
    assert_eq!((verdict.verstat(), verdict.rule()), ("No-TN-Validation", "stir.absent"));
    assert_eq!(verdict.refusal(), Some((428, "Use Identity Header")));
    assert_eq!(verdict.reason(), None);
    let rph = world.identity.replace("ppt=shaken", "ppt=rph");
    let verdict = world.judge(&Question { date: Some("Sat, 13 Nov 2010 23:29:00 GMT"), ..question(&[&rph]) });
    assert_eq!(verdict.outcome, Outcome::NotValidated(NotValidated::UnsupportedType));
    assert_eq!(verdict.refusal(), Some((428, "Use Supported PASSporT Format")));
    let identity = world.identity.clone();
    let verdict = world.judge(&Question { method: "ACK", ..question(&[&identity]) });
    assert_eq!((verdict.rule(), verdict.refusal()), ("stir.method", None));
}

#[test]
fn one_good_identity_is_enough_and_the_bad_ones_are_told() {
    let mut world = world();
    let good = world.identity.clone();
    let other = world.signed(|claims| claims.orig = tn("12025550100"));
    let rph = good.replace("ppt=shaken", "ppt=rph");
    let verdict = world.judge(&question(&[&rph, &other, "garbage", &good]));
    assert!(verdict.passed().is_some(), "{verdict}");
    let kinds: Vec<FailureKind> = verdict.failures.iter().map(|failure| failure.kind).collect();
    assert_eq!(kinds, [FailureKind::Malformed, FailureKind::Origin]);
    let joined = format!("{other}, {good}");
    assert!(world.judge(&question(&[&joined])).passed().is_some(), "several values in one field");
}

#[test]
fn too_many_identities_are_refused_unread() {
    let mut world = world();
    let identity = world.identity.clone();
    let verdict = world.judge(&question(&[identity.as_str(); 9]));
    assert_eq!(failed(&verdict), FailureKind::Malformed);
}

#[test]
fn date_and_iat_may_be_a_minute_off_and_no_more() {
    let mut world = world();
    for (offset, passes) in [(-60, true), (-61, false), (60, true), (61, false)] {
        let at = UnixTime(UNIX.checked_add_signed(offset).unwrap());
        let identity = world.signed(|claims| claims.iat = at);
        let verdict = world.judge_identity(&identity);
        assert_eq!(verdict.passed().is_some(), passes, "iat {offset}: {verdict}");
        let date = ringfort_stir::date::SipDate(at).to_string();
        let identity = world.identity.clone();
        let verdict = world.judge(&Question { date: Some(&date), ..question(&[&identity]) });
        assert_eq!(verdict.passed().is_some(), passes, "Date {offset}: {verdict}");
        if !passes {
            assert_eq!(verdict.refusal(), Some((403, "Stale Date")));
            assert_eq!(verdict.rule(), "stir.stale");
            assert_eq!(verdict.reason().unwrap().to_string(), "STIR;cause=403;text=\"Stale Date\"");
            assert_eq!(verdict.verstat(), "TN-Validation-Failed");
        }
    }
    let settings = Settings { freshness: Duration::from_secs(5), ..Settings::default() };
    let mut strict = world_with(settings);
    let identity = strict.signed(|claims| claims.iat = UnixTime(UNIX - 6));
    assert_eq!(failed(&strict.judge_identity(&identity)), FailureKind::Stale);
    let identity = strict.identity.clone();
    let verdict = strict.judge(&Question { date: Some("yesterday"), ..question(&[&identity]) });
    assert_eq!(failed(&verdict), FailureKind::Malformed);
}

#[test]
fn a_stale_or_foreign_passport_makes_nobody_fetch_anything() {
    let mut world = world();
    let stale = world.signed(|claims| claims.iat = UnixTime(UNIX - 1000));
    let foreign = world.signed(|claims| claims.orig = tn("12025550100"));
    let elsewhere = world.signed(|claims| claims.dest = vec![tn("12025550100")]);
    for identity in [stale, foreign, elsewhere] {
        world.verifier.handle_question(world.now, &question(&[&identity]));
        assert_eq!(world.verifier.poll_query(), None, "{identity}");
        assert!(world.verifier.poll_event().is_some());
    }
}

#[test]
fn caller_and_called_are_those_of_the_request() {
    let mut world = world();
    let identity = world.identity.clone();
    let identities = [identity.as_str()];
    let good = question(&identities);
    let other = "<sip:+12025550100@example.com;user=phone>";
    for (asked, expected) in [
        (Question { from: other, ..good }, Some(FailureKind::Origin)),
        (Question { from: "<http://example.com>", ..good }, Some(FailureKind::Origin)),
        (Question { from: other, asserted: Some("<tel:+1-215-555-1212>"), ..good }, None),
        (Question { asserted: Some(other), ..good }, Some(FailureKind::Origin)),
        (Question { to: other, ..good }, None),
        (Question { request_uri: "sip:+12025550100@example.com;user=phone", ..good }, None),
        (Question { to: other, request_uri: "sip:+12025550100@x;user=phone", ..good }, Some(FailureKind::Destination)),
    ] {
        let verdict = world.judge(&asked);
        match expected {
            None => assert!(verdict.passed().is_some(), "{asked:?}: {verdict}"),
            Some(kind) => {
                assert_eq!(failed(&verdict), kind, "{asked:?}");
                assert_eq!(verdict.refusal(), Some((438, "Invalid Identity Header")));
            }
        }
    }
}

#[test]
fn what_is_compared_with_dest_is_a_setting() {
    for (destination, to_is_other, passes) in [
        (Destination::To, true, false),
        (Destination::To, false, true),
        (Destination::RequestUri, true, true),
        (Destination::RequestUri, false, false),
    ] {
        let mut world = world_with(Settings { destination, ..Settings::default() });
        let identity = world.identity.clone();
        let identities = [identity.as_str()];
        let good = question(&identities);
        let asked = if to_is_other {
            Question { to: "<sip:+12025550100@x;user=phone>", ..good }
        } else {
            Question { request_uri: "sip:+12025550100@x;user=phone", ..good }
        };
        assert_eq!(world.judge(&asked).passed().is_some(), passes, "{destination:?} {to_is_other}");
    }
}

#[test]
fn media_keys_that_were_signed_must_be_those_of_the_description() {
    let mut world = world();
    let keys = Fingerprint::of_sdp("a=fingerprint:sha-256 AB:CD\r\n");
    let others = Fingerprint::of_sdp("a=fingerprint:sha-256 AB:CE\r\n");
    let identity = world.signed(|claims| claims.mky = keys.clone());
    let identities = [identity.as_str()];
    assert!(world.judge(&Question { fingerprints: &keys, ..question(&identities) }).passed().is_some());
    for wrong in [&others[..], &[]] {
        let verdict = world.judge(&Question { fingerprints: wrong, ..question(&identities) });
        assert_eq!((failed(&verdict), verdict.rule()), (FailureKind::MediaKeys, "stir.media-keys"));
    }
}

#[test]
fn header_field_and_passport_must_agree() {
    let mut world = world();
    let good = world.identity.clone();
    for (identity, kind) in [
        (good.replace("info=<https://certs", "info=<https://other"), FailureKind::Mismatch),
        (good.replace(";ppt=shaken", ""), FailureKind::Mismatch),
        (good.replace("ppt=shaken", "ppt=div"), FailureKind::Mismatch),
        (good.replace("alg=ES256", "alg=RS256"), FailureKind::Algorithm),
        (good.replace("https://certs", "http://certs"), FailureKind::Fetch),
        (good.replace(".", ""), FailureKind::Malformed),
        (good.replacen("eyJ", "fyJ", 1), FailureKind::Malformed),
        ("a.b.c;info=<https://a>".into(), FailureKind::Malformed),
    ] {
        assert_eq!(failed(&world.judge_identity(&identity)), kind, "{identity}");
    }
    let other_type =
        Passport::sign(Claims::new(tn(CALLER), vec![tn(CALLED)], world.now.unix), URL, world.holder.signer().key());
    let identity = format!("{};info=<{URL}>;ppt=shaken", other_type.to_full());
    assert_eq!(failed(&world.judge_identity(&identity)), FailureKind::Mismatch);
}

#[test]
fn a_passport_that_lacks_what_its_type_requires_is_invalid() {
    let mut world = world();
    let no_origid = world.signed(|claims| claims.origid = None);
    let verdict = world.judge_identity(&no_origid);
    assert_eq!((failed(&verdict), verdict.refusal()), (FailureKind::Incomplete, Some((438, "Invalid PASSporT"))));
    let wrong_origid = world.signed(|claims| claims.origid = Some("1".into()));
    assert_eq!(failed(&world.judge_identity(&wrong_origid)), FailureKind::Incomplete);
    let no_dest = world.signed(|claims| claims.dest.clear());
    assert_eq!(failed(&world.judge_identity(&no_dest)), FailureKind::Incomplete);
}

#[test]
fn a_changed_claim_or_signature_does_not_verify() {
    let mut world = world();
    let good = Identity::parse(&world.identity).unwrap();
    let better = Identity::parse(&world.signed(|claims| claims.attest = Some(Attestation::A))).unwrap();
    let (signed, _) = better.token.rsplit_once('.').unwrap();
    let (_, signature) = good.token.rsplit_once('.').unwrap();
    let forged = Identity { token: format!("{signed}.{signature}"), ..good.clone() }.to_string();
    let verdict = world.judge_identity(&forged);
    assert_eq!(failed(&verdict), FailureKind::Signature);
    assert_eq!(verdict.refusal(), Some((438, "Invalid Identity Header")));
    let other = world.root.issue(|params| params.custom_extensions.push(spc()));
    let verdict = verdict_of(&mut world, &other.chain);
    assert_eq!(failed(&verdict), FailureKind::Signature, "another key's certificate at the URL");
}

/// The good call, with another chain at its URL, and nothing remembered.
fn verdict_of(world: &mut World, chain: &str) -> Verdict {
    let anchors = world.root.anchors();
    world.verifier.set_anchors(anchors);
    let identity = world.identity.clone();
    verdict(&mut world.verifier, world.now, &question(&[&identity]), |_| body(chain))
}

#[test]
fn each_fault_of_a_certificate_is_unsupported_credential() {
    let mut world = world();
    let key = rcgen::KeyPair::from_pem(&world.holder.key).unwrap();
    let spc_and = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        world.root.issue_for(&key, |params| {
            params.custom_extensions.push(spc());
            change(params);
        })
    };
    let expired = spc_and(&|params| params.not_after = rcgen::date_time_ymd(2026, 2, 1));
    let future = spc_and(&|params| params.not_before = rcgen::date_time_ymd(2026, 7, 1));
    let no_signing = spc_and(&|params| params.key_usages = vec![rcgen::KeyUsagePurpose::KeyAgreement]);
    let is_ca = spc_and(&|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    let broken = world.root.issue_for(&key, |params| {
        let oid = [1, 3, 6, 1, 5, 5, 7, 1, 26];
        params.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&oid, vec![0x30, 0]));
    });
    let no_list = world.root.issue_for(&key, |_| {});
    let other_number = world.root.issue_for(&key, |params| params.custom_extensions.push(one("12155551211")));
    let untrusted = Authority::root().issue_for(&key, |params| params.custom_extensions.push(spc()));
    let p384 = world.root.issue_for(&p384(), |params| params.custom_extensions.push(spc()));
    for (name, holder, kind) in [
        ("expired", expired, FailureKind::Expired),
        ("future", future, FailureKind::Expired),
        ("no signing", no_signing, FailureKind::Credential),
        ("an authority's", is_ca, FailureKind::Untrusted),
        ("empty list", broken, FailureKind::Credential),
        ("no list", no_list, FailureKind::Authority),
        ("other number", other_number, FailureKind::Authority),
        ("untrusted", untrusted, FailureKind::Untrusted),
        ("P-384", p384, FailureKind::Credential),
    ] {
        let verdict = verdict_of(&mut world, &holder.chain);
        assert_eq!(failed(&verdict), kind, "{name}: {verdict}");
        assert_eq!(verdict.refusal(), Some((437, "Unsupported Credential")), "{name}");
        assert_eq!(verdict.to_string().contains("CA:TRUE"), name == "an authority's", "{verdict}");
    }
    for other in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "0\u{3}"] {
        assert_eq!(failed(&verdict_of(&mut world, other)), FailureKind::Credential, "{other:?}");
    }
}

#[test]
fn a_number_in_the_certificates_list_passes_by_itself_and_by_its_range() {
    let mut world = world();
    let key = rcgen::KeyPair::from_pem(&world.holder.key).unwrap();
    for list in [one(CALLER), list(&[TnEntry::Range { start: "12155551000".into(), count: 1_000 }])] {
        let holder = world.root.issue_for(&key, |params| params.custom_extensions.push(list));
        assert!(verdict_of(&mut world, &holder.chain).passed().is_some());
    }
}

#[test]
fn authorities_in_between_are_followed_and_their_lists_limit_what_is_below() {
    let mut world = world();
    let key = rcgen::KeyPair::from_pem(&world.holder.key).unwrap();
    for (list, expected) in [
        (None, None),
        (Some(spc()), None),
        (Some(one(CALLER)), None),
        (Some(one("12025550100")), Some(FailureKind::Authority)),
    ] {
        let between = world.root.below(|params| params.custom_extensions.extend(list));
        let holder = between.issue_for(&key, |params| params.custom_extensions.push(spc()));
        let chain = format!("{}{}", holder.chain, between.pem);
        let verdict = verdict_of(&mut world, &chain);
        match expected {
            None => assert!(verdict.passed().is_some(), "{verdict}"),
            Some(kind) => assert_eq!(failed(&verdict), kind),
        }
        let verdict = verdict_of(&mut world, &holder.chain);
        assert_eq!(failed(&verdict), FailureKind::Untrusted, "without the one in between");
    }
    let no_cert_sign = world.root.below(|params| params.key_usages = vec![rcgen::KeyUsagePurpose::CrlSign]);
    let holder = no_cert_sign.issue_for(&key, |params| params.custom_extensions.push(spc()));
    let verdict = verdict_of(&mut world, &format!("{}{}", holder.chain, no_cert_sign.pem));
    assert_eq!(failed(&verdict), FailureKind::Credential);
}

#[test]
fn claims_that_the_certificate_does_not_allow_are_invalid() {
    let mut world = world();
    let key = rcgen::KeyPair::from_pem(&world.holder.key).unwrap();
    // permittedValues: attest = B.
    let constraint = b"\x30\x13\xa1\x11\x30\x0f\x30\x0d\x16\x06attest\x30\x03\x0c\x01B".to_vec();
    let oid = [1, 3, 6, 1, 5, 5, 7, 1, 27];
    let holder = world.root.issue_for(&key, |params| {
        params.custom_extensions.push(spc());
        params.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&oid, constraint));
    });
    let verdict = verdict_of(&mut world, &holder.chain);
    assert_eq!((failed(&verdict), verdict.rule()), (FailureKind::Constraint, "stir.constraint"));
    world.identity = world.signed(|claims| claims.attest = Some(Attestation::B));
    assert!(verdict_of(&mut world, &holder.chain).passed().is_some());
}

#[test]
fn a_sip_address_is_vouched_for_by_a_certificate_of_its_domain() {
    let root = Authority::root();
    let now = now();
    let alice = Party::Uri("sip:alice@example.com".into());
    let bob = Party::Uri("sip:bob@example.net".into());
    for (name, passes) in [("example.com", true), ("example.net", false), ("*.example.com", false)] {
        let holder = root.issue(|params| dns(params, name));
        let claims = Claims::new(alice.clone(), vec![bob.clone()], now.unix);
        let identity = Identity::full(&Passport::sign(claims, URL, holder.signer().key())).to_string();
        let mut verifier = Verifier::new(Settings::default(), root.anchors());
        let asked = Question { from: "<sip:Alice@example.com:5070>", to: "<sip:bob@EXAMPLE.net>", ..question(&[]) };
        let verdict =
            verdict(&mut verifier, now, &Question { identities: &[&identity], ..asked }, |_| body(&holder.chain));
        assert_eq!(verdict.passed().is_some(), passes, "{name}: {verdict}");
        if !passes {
            assert_eq!(failed(&verdict), FailureKind::Authority);
        }
    }
}

#[test]
fn no_word_of_a_verdict_holds_a_persons_number() {
    let mut world = world();
    let foreign = world.signed(|claims| claims.orig = tn("12025550100"));
    let elsewhere = world.signed(|claims| claims.dest = vec![tn("12025550100")]);
    let good = world.identity.clone();
    let verdicts =
        [world.judge(&question(&[&foreign, &elsewhere])), world.judge_identity(&good), verdict_of(&mut world, "")];
    for verdict in verdicts {
        let words: Vec<String> =
            verdict.failures.iter().map(ToString::to_string).chain([verdict.to_string()]).collect();
        assert!(!words.iter().any(|words| words.contains("215555") || words.contains("202555")), "{words:?}");
    }
    let identity = Identity::parse(&good).unwrap();
    let Ok(Token::Full(passport)) = Token::parse(&identity.token) else { panic!("full form") };
    let shown = format!("{identity:?}{passport:?}{:?}{:?}", question(&[&good]), outgoing());
    assert!(!shown.contains("215555") && !shown.contains("eyJ"), "{shown}");
}

#[test]
fn every_kind_of_failure_has_a_rule_of_its_own_and_a_status_of_rfc_8224() {
    let mut rules: Vec<&str> = FailureKind::ALL.iter().map(|kind| kind.rule()).collect();
    rules.sort_unstable();
    rules.dedup();
    assert_eq!(rules.len(), FailureKind::ALL.len());
    assert!(FailureKind::ALL.iter().all(|kind| matches!(kind.status().0, 403 | 436 | 437 | 438)));
}
