//! Chains of diversions (RFC 8946): made by the authentication service, followed by the verification service.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::*;
use ringfort_stir::sign::Diversion;
use ringfort_stir::*;

/// Several holders of numbers, each with its certificate at its own URL.
struct World {
    verifier: Verifier,
    chains: BTreeMap<String, String>,
    now: Now,
}

const SECOND: &str = "12155551214";
const THIRD: &str = "12155551215";

impl World {
    fn new(settings: Settings) -> (World, Vec<Signer>) {
        let root = Authority::root();
        let mut chains = BTreeMap::new();
        let signers = [CALLER, CALLED, SECOND, THIRD]
            .iter()
            .map(|number| {
                let holder = root.issue(|params| params.custom_extensions.push(one(number)));
                let url = format!("https://certs.example.org/{number}.pem");
                let signer = Signer::new(&holder.key, &url, Some(holder.chain.as_bytes())).unwrap();
                chains.insert(url, holder.chain);
                signer
            })
            .collect();
        (World { verifier: Verifier::new(settings, root.anchors()), chains, now: now() }, signers)
    }

    fn judge(&mut self, identities: &[String], target: &str) -> Verdict {
        let identities: Vec<&str> = identities.iter().map(String::as_str).collect();
        let uri = format!("sip:+{target}@192.0.2.9;user=phone");
        let chains = &self.chains;
        let asked = Question { request_uri: &uri, ..question(&identities) };
        verdict(&mut self.verifier, self.now, &asked, |url| body(&chains[url]))
    }
}

fn divert(signer: &Signer, now: Now, received: &[String], from: &str, to: &str) -> Vec<String> {
    let received: Vec<&str> = received.iter().map(String::as_str).collect();
    let diversion = Diversion { received: &received, orig: tn(CALLER), from: tn(from), to: tn(to) };
    let identities = signer.divert(now.unix, &NumberPlan::default(), &diversion).unwrap();
    identities.iter().map(ToString::to_string).collect()
}

/// Called, diverted to SECOND, diverted to THIRD.
fn twice(signers: &[Signer], now: Now) -> Vec<String> {
    let mut identities = vec![signers[0].sign(now.unix, &outgoing()).unwrap().to_string()];
    let first = divert(&signers[1], now, &identities, CALLED, SECOND);
    assert_eq!(first.len(), 1);
    identities.extend(first);
    let second = divert(&signers[2], now, &identities, SECOND, THIRD);
    assert_eq!(second.len(), 1, "for what led here, not for what led to earlier targets");
    identities.extend(second);
    identities
}

#[test]
fn a_chain_of_two_diversions_passes_in_any_order_and_tells_who_was_called_before() {
    let (mut world, signers) = World::new(Settings::default());
    let mut identities = twice(&signers, world.now);
    for _ in 0..3 {
        identities.rotate_left(1);
        let verdict = world.judge(&identities, THIRD);
        let passed = verdict.passed().unwrap_or_else(|| panic!("{verdict}"));
        assert_eq!(passed.diverted, [tn(CALLED), tn(SECOND)]);
        assert_eq!(
            (passed.attestation, &passed.url),
            (Some(Attestation::A), &format!("https://certs.example.org/{CALLER}.pem"))
        );
        assert_eq!(verdict.to_string(), "signed by \"Example Carrier\", attestation A, diverted 2 times");
    }
}

#[test]
fn the_outermost_destination_is_the_calls_target() {
    let (mut world, signers) = World::new(Settings::default());
    let identities = twice(&signers, world.now);
    let mut asked = |identities: &[String], to: &str, target: &str| {
        let lines: Vec<&str> = identities.iter().map(String::as_str).collect();
        let (to, uri) = (format!("<sip:+{to}@x;user=phone>"), format!("sip:+{target}@x;user=phone"));
        let chains = &world.chains;
        let asked = Question { to: &to, request_uri: &uri, ..question(&lines) };
        verdict(&mut world.verifier, world.now, &asked, |url| body(&chains[url]))
    };
    assert!(asked(&identities, CALLED, THIRD).passed().is_some());
    let verdict = asked(&identities, CALLED, "12025550100");
    assert_eq!(failed(&verdict), FailureKind::Destination);
    let verdict = asked(&identities[..1], "12025550100", THIRD);
    assert_eq!(failed(&verdict), FailureKind::Destination, "a PASSporT cut out and pasted elsewhere");
}

#[test]
fn a_chain_with_a_gap_is_no_chain_but_the_original_may_still_pass_by_itself() {
    let (mut world, signers) = World::new(Settings::default());
    let identities = twice(&signers, world.now);
    let with_gap = [identities[0].clone(), identities[2].clone()];
    let verdict = world.judge(&with_gap, THIRD);
    assert!(verdict.passed().is_some_and(|passed| passed.diverted.is_empty()), "To is who was called first: {verdict}");
    assert_eq!(verdict.failures.iter().map(|failure| failure.kind).collect::<Vec<_>>(), [FailureKind::Diversion]);
    let alone = [identities[1].clone(), identities[2].clone()];
    let verdict = world.judge(&alone, THIRD);
    assert_eq!((failed(&verdict), verdict.rule()), (FailureKind::Diversion, "stir.diversion"));
    assert_eq!(verdict.refusal(), Some((438, "Invalid Identity Header")));
}

#[test]
fn who_diverts_must_have_authority_over_the_number_that_was_called() {
    let (mut world, signers) = World::new(Settings::default());
    let identities = [signers[0].sign(world.now.unix, &outgoing()).unwrap().to_string()];
    // By THIRD, who was never called; without the certificate at hand, as a forger would.
    let mut claims = Claims::new(tn(CALLER), vec![tn(SECOND)], world.now.unix);
    claims.div = Some(tn(CALLED));
    let forged = Identity::full(&Passport::sign(claims, signers[3].info(), signers[3].key())).to_string();
    let verdict = world.judge(&[identities[0].clone(), forged], SECOND);
    assert_eq!((failed(&verdict), verdict.refusal()), (FailureKind::Authority, Some((437, "Unsupported Credential"))));
    let diversion = Diversion { received: &[&identities[0]], orig: tn(CALLER), from: tn(CALLED), to: tn(SECOND) };
    let error = signers[3].divert(world.now.unix, &NumberPlan::default(), &diversion).unwrap_err();
    assert!(matches!(error, SignError::Authority(_)), "{error}");
}

#[test]
fn every_link_has_the_same_caller() {
    let (mut world, signers) = World::new(Settings::default());
    let original = signers[0].sign(world.now.unix, &outgoing()).unwrap().to_string();
    let mut claims = Claims::new(tn("12025550100"), vec![tn(SECOND)], world.now.unix);
    claims.div = Some(tn(CALLED));
    let other = Identity::full(&Passport::sign(claims, signers[1].info(), signers[1].key())).to_string();
    let verdict = world.judge(&[original, other], SECOND);
    assert_eq!(failed(&verdict), FailureKind::Origin);
}

#[test]
fn diversions_in_a_circle_end() {
    let (mut world, signers) = World::new(Settings::default());
    let mut identities = vec![signers[0].sign(world.now.unix, &outgoing()).unwrap().to_string()];
    identities.extend(divert(&signers[1], world.now, &identities, CALLED, SECOND));
    identities.extend(divert(&signers[2], world.now, &identities, SECOND, CALLED));
    let verdict = world.judge(&identities, CALLED);
    assert_eq!(verdict.passed().map(|passed| passed.diverted.len()), Some(2), "{verdict}");
    let doubled: Vec<String> = identities.iter().chain(&identities[1..]).cloned().collect();
    let verdict = world.judge(&doubled, CALLED);
    assert!(verdict.passed().is_some(), "{verdict}");
}

#[test]
fn the_original_may_be_older_only_where_the_setting_says_so() {
    for (window, passes) in [(60, false), (3 * 3600, true)] {
        let settings = Settings { diverted_freshness: Duration::from_secs(window), ..Settings::default() };
        let (mut world, signers) = World::new(settings);
        let mut identities = vec![signers[0].sign(UnixTime(UNIX - 600), &outgoing()).unwrap().to_string()];
        identities.extend(divert(&signers[1], world.now, &identities, CALLED, SECOND));
        let verdict = world.judge(&identities, SECOND);
        assert_eq!(verdict.passed().is_some(), passes, "{verdict}");
        let verdict = world.judge(&identities[..1], CALLED);
        assert_eq!(failed(&verdict), FailureKind::Stale, "without a diversion it is stale");
    }
}

#[test]
fn nothing_is_signed_where_nothing_is_diverted_or_nothing_was_signed() {
    let (world, signers) = World::new(Settings::default());
    let original = vec![signers[0].sign(world.now.unix, &outgoing()).unwrap().to_string()];
    assert!(divert(&signers[1], world.now, &[], CALLED, SECOND).is_empty());
    assert!(divert(&signers[1], world.now, &original, CALLED, CALLED).is_empty());
    assert!(divert(&signers[2], world.now, &original, SECOND, THIRD).is_empty(), "it did not lead here");
    let both: Vec<String> = original.iter().chain(&original).cloned().collect();
    assert_eq!(divert(&signers[1], world.now, &both, CALLED, SECOND).len(), 1, "one for the same caller");
    assert!(divert(&signers[1], world.now, &["nonsense".into()], CALLED, SECOND).is_empty());
}
