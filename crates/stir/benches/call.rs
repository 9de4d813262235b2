//! What a signed call costs the signalling thread: signing it, and verifying it with its certificate remembered, new, or not
//! needed because a cheaper check fails first. `cargo bench -p ringfort-stir`

#[path = "../tests/common/mod.rs"]
mod common;

use divan::{Bencher, black_box};

use common::*;
use ringfort_stir::*;

fn main() {
    divan::main();
}

fn made() -> (Authority, Holder, String, Now) {
    let root = Authority::root();
    let holder = root.issue(|params| params.custom_extensions.push(spc()));
    let now = now();
    let identity = holder.signer().sign(now.unix, &outgoing()).unwrap().to_string();
    (root, holder, identity, now)
}

#[divan::bench]
fn sign(bencher: Bencher<'_, '_>) {
    let (_, holder, _, now) = made();
    let signer = Signer::new(&holder.key, URL, Some(holder.chain.as_bytes())).unwrap();
    let call = outgoing();
    bencher.bench_local(|| signer.sign(black_box(now.unix), &call).unwrap().to_string());
}

#[divan::bench]
fn verify_with_the_certificate_remembered(bencher: Bencher<'_, '_>) {
    let (root, holder, identity, now) = made();
    let mut verifier = Verifier::new(Settings::default(), root.anchors());
    verdict(&mut verifier, now, &question(&[&identity]), |_| body(&holder.chain));
    bencher.bench_local(|| {
        let verdict = verdict(&mut verifier, now, &question(&[black_box(&identity)]), |_| panic!("it is remembered"));
        assert!(verdict.passed().is_some());
    });
}

#[divan::bench]
fn verify_with_a_new_certificate(bencher: Bencher<'_, '_>) {
    let (root, holder, identity, now) = made();
    let anchors = root.anchors();
    bencher.bench_local(|| {
        let mut verifier = Verifier::new(Settings::default(), anchors.clone());
        let verdict = verdict(&mut verifier, now, &question(&[black_box(&identity)]), |_| body(&holder.chain));
        assert!(verdict.passed().is_some());
    });
}

#[divan::bench]
fn refuse_a_stale_one(bencher: Bencher<'_, '_>) {
    let (root, _, identity, now) = made();
    let mut verifier = Verifier::new(Settings::default(), root.anchors());
    let now = later(now, 3_600);
    bencher.bench_local(|| {
        let verdict = verdict(&mut verifier, now, &question(&[black_box(&identity)]), |_| panic!("it is stale"));
        assert_eq!(failed(&verdict), FailureKind::Stale);
    });
}
