//! Questions and answers over time: one fetch for many calls, deadlines, bounds, what is remembered.

mod common;

use std::time::Duration;

use common::*;
use ringfort_stir::*;

fn world(settings: Settings) -> (Verifier, Holder, String, Now) {
    let root = Authority::root();
    let holder = root.issue(|params| params.custom_extensions.push(spc()));
    let now = now();
    let identity = holder.signer().sign(now.unix, &outgoing()).unwrap().to_string();
    (Verifier::new(settings, root.anchors()), holder, identity, now)
}

fn verdicts(verifier: &mut Verifier) -> Vec<Verdict> {
    std::iter::from_fn(|| verifier.poll_event())
        .map(|event| match event {
            Event::Verdict { verdict, .. } => verdict,
            Event::Card { .. } => panic!("no card was asked about"),
        })
        .collect()
}

#[test]
fn many_calls_at_once_share_one_fetch_and_later_ones_need_none() {
    let (mut verifier, holder, identity, now) = world(Settings::default());
    for _ in 0..50 {
        verifier.handle_question(now, &question(&[&identity]));
    }
    let query = verifier.poll_query().unwrap();
    assert_eq!((query.url.as_str(), verifier.poll_query()), (URL, None));
    assert!(verdicts(&mut verifier).is_empty());
    assert_eq!(verifier.load().0, 50);
    verifier.handle_fetched(now, query.id, body(&holder.chain));
    let all = verdicts(&mut verifier);
    assert!(all.len() == 50 && all.iter().all(|verdict| verdict.passed().is_some()));
    verifier.handle_question(later(now, 30), &question(&[&identity]));
    assert_eq!(verifier.poll_query(), None);
    assert!(verdicts(&mut verifier)[0].passed().is_some());
    assert_eq!((verifier.load().0, verifier.load().1, verifier.load().2), (0, 0, 1));
    assert_eq!(verifier.poll_timeout(), None);
}

#[test]
fn a_verdict_comes_at_the_deadline_and_a_late_answer_serves_the_next_call() {
    let (mut verifier, holder, identity, now) = world(Settings::default());
    verifier.handle_question(now, &question(&[&identity]));
    let query = verifier.poll_query().unwrap();
    assert_eq!(verifier.poll_timeout(), Some(now.instant + Duration::from_secs(2)));
    verifier.handle_timeout(later(now, 1));
    assert_eq!(verifier.poll_event(), None);
    verifier.handle_timeout(later(now, 2));
    let late = &verdicts(&mut verifier)[0];
    assert_eq!((failed(late), late.refusal()), (FailureKind::Fetch, Some((436, "Bad Identity Info"))));
    assert_eq!(verifier.poll_timeout(), Some(query.deadline));
    verifier.handle_fetched(later(now, 3), query.id, body(&holder.chain));
    assert_eq!(verifier.poll_event(), None);
    verifier.handle_question(later(now, 4), &question(&[&identity]));
    assert!(verdicts(&mut verifier)[0].passed().is_some());
}

#[test]
fn a_failure_is_remembered_for_a_while_and_then_tried_again() {
    let (mut verifier, holder, identity, now) = world(Settings::default());
    verifier.handle_question(now, &question(&[&identity]));
    let query = verifier.poll_query().unwrap();
    verifier.handle_timeout(later(now, 5));
    assert_eq!(verdicts(&mut verifier).len(), 1);
    verifier.handle_fetched(later(now, 6), query.id, body(&holder.chain));
    assert_eq!(verifier.load().1, 0, "an answer that comes too late is passed over");
    verifier.handle_question(later(now, 20), &question(&[&identity]));
    assert_eq!(verifier.poll_query(), None);
    assert_eq!(failed(&verdicts(&mut verifier)[0]), FailureKind::Fetch);
    verifier.handle_question(later(now, 40), &question(&[&identity]));
    assert!(verifier.poll_query().is_some());
}

#[test]
fn each_failure_to_fetch_is_bad_identity_info_in_its_own_words() {
    for failure in [
        FetchFailure::Timeout,
        FetchFailure::Busy,
        FetchFailure::Refused("192.168.0.1".into()),
        FetchFailure::Connect("refused".into()),
        FetchFailure::Status(404),
        FetchFailure::TooLarge { limit: 5 },
        FetchFailure::ContentType("text/html".into()),
        FetchFailure::Protocol("x".into()),
    ] {
        let (mut verifier, _, identity, now) = world(Settings::default());
        let words = failure.to_string();
        let verdict = verdict(&mut verifier, now, &question(&[&identity]), |_| Fetch::Failed(failure.clone()));
        assert_eq!(verdict.refusal(), Some((436, "Bad Identity Info")));
        assert_eq!(verdict.to_string(), format!("{words} ({URL})"));
        assert_eq!(verdict.reason().unwrap().to_string(), "STIR;cause=436;text=\"Bad Identity Info\"");
    }
    let (mut verifier, _, identity, now) = world(Settings::default());
    let huge = Fetch::Body { bytes: vec![b'x'; 300_000], max_age: None };
    let verdict = verdict(&mut verifier, now, &question(&[&identity]), |_| huge.clone());
    assert_eq!(failed(&verdict), FailureKind::Fetch);
}

#[test]
fn max_age_is_kept_within_bounds_and_a_certificate_that_ends_meanwhile_is_no_longer_believed() {
    for (max_age, kept) in [(Some(0), 60), (Some(600), 600), (Some(10_000_000), 86_400), (None, 3_600)] {
        let (mut verifier, holder, identity, now) = world(Settings::default());
        let fetch = || Fetch::Body { bytes: holder.chain.clone().into(), max_age: max_age.map(Duration::from_secs) };
        verdict(&mut verifier, now, &question(&[&identity]), |_| fetch());
        for (after, asks) in [(kept - 1, false), (kept, true)] {
            let at = later(now, after);
            let identity = holder.signer().sign(at.unix, &outgoing()).unwrap().to_string();
            verifier.handle_question(at, &question(&[&identity]));
            assert_eq!(verifier.poll_query().is_some(), asks, "{max_age:?} after {after} s");
        }
    }
    let root = Authority::root();
    let holder = root.issue(|params| {
        params.custom_extensions.push(spc());
        params.not_after = rcgen::date_time_ymd(2026, 6, 2);
    });
    let mut verifier = Verifier::new(Settings::default(), root.anchors());
    let now = now();
    for (after, passes) in [(0, true), (86_399, true), (86_401, false)] {
        let at = Now { unix: UnixTime(UNIX + after), ..now };
        let identity = holder.signer().sign(at.unix, &outgoing()).unwrap().to_string();
        let verdict = verdict(&mut verifier, at, &question(&[&identity]), |_| body(&holder.chain));
        assert_eq!(verdict.passed().is_some(), passes, "{after}: {verdict}");
    }
}

#[test]
fn a_certificate_that_was_not_yet_valid_when_it_was_fetched_is_believed_when_it_is() {
    let root = Authority::root();
    let holder = root.issue(|params| {
        params.custom_extensions.push(spc());
        params.not_before = rcgen::date_time_ymd(2026, 6, 2);
    });
    let mut verifier = Verifier::new(Settings::default(), root.anchors());
    let now = now();
    for (after, passes) in [(86_399, false), (86_401, true)] {
        let at = Now { unix: UnixTime(UNIX + after), ..now };
        let identity = holder.signer().sign(at.unix, &outgoing()).unwrap().to_string();
        let verdict = verdict(&mut verifier, at, &question(&[&identity]), |_| body(&holder.chain));
        assert_eq!(verdict.passed().is_some(), passes, "{verdict}");
    }
}

#[test]
fn fetches_and_waiting_calls_are_bounded() {
    let (mut verifier, holder, _, now) = world(Settings { max_fetches: 3, max_waiting: 10, ..Settings::default() });
    let signed = |n: u32| {
        let url = format!("https://certs.example.org/{n}.pem");
        Signer::new(&holder.key, &url, None).unwrap().sign(now.unix, &outgoing()).unwrap().to_string()
    };
    for n in 0..10 {
        verifier.handle_question(now, &question(&[&signed(n)]));
    }
    assert_eq!(std::iter::from_fn(|| verifier.poll_query()).count(), 3);
    let refused = verdicts(&mut verifier);
    assert!(refused.len() == 7 && refused.iter().all(|verdict| failed(verdict) == FailureKind::Fetch));
    for _ in 0..20 {
        verifier.handle_question(now, &question(&[&signed(0)]));
    }
    assert_eq!(verifier.load().0, 10);
    assert_eq!(verdicts(&mut verifier).len(), 13);
}

#[test]
fn a_call_that_is_gone_gets_no_verdict() {
    let (mut verifier, holder, identity, now) = world(Settings::default());
    let id = verifier.handle_question(now, &question(&[&identity]));
    let query = verifier.poll_query().unwrap();
    verifier.handle_cancel(id);
    verifier.handle_fetched(now, query.id, body(&holder.chain));
    assert_eq!(verifier.poll_event(), None);
    assert_eq!(verifier.load().2, 1, "what was fetched is kept");
}

#[test]
fn new_anchors_hold_for_what_was_fetched_before() {
    let (mut verifier, holder, identity, now) = world(Settings::default());
    assert!(verdict(&mut verifier, now, &question(&[&identity]), |_| body(&holder.chain)).passed().is_some());
    verifier.set_anchors(Authority::root().anchors());
    let verdict = verdict(&mut verifier, now, &question(&[&identity]), |_| body(&holder.chain));
    assert_eq!(failed(&verdict), FailureKind::Untrusted);
}

#[test]
fn the_first_good_chain_decides_without_waiting_for_the_others() {
    let (mut verifier, holder, identity, now) = world(Settings::default());
    let slow = Signer::new(&holder.key, "https://slow.example/c.pem", None).unwrap();
    let slow = slow.sign(now.unix, &outgoing()).unwrap().to_string();
    verifier.handle_question(now, &question(&[&slow, &identity]));
    let queries: Vec<Query> = std::iter::from_fn(|| verifier.poll_query()).collect();
    let quick = queries.iter().find(|query| query.url == URL).unwrap();
    verifier.handle_fetched(now, quick.id, body(&holder.chain));
    assert!(verdicts(&mut verifier)[0].passed().is_some());
}
