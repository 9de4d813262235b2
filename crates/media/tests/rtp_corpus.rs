//! Replays the fuzzing corpus of the packet readers and of the packet path, and what lies near it.

use std::fs;
use std::path::PathBuf;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use ringfort_media::relay::fuzzing;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", "fuzz", "corpus", name].iter().collect();
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus {name} is committed");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Runs a target on its corpus, and on changed copies of it from a fixed seed.
fn replay(name: &str, changes: usize, target: fn(&[u8])) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let inputs = corpus(name);
    for input in &inputs {
        target(input);
        for cut in 0..input.len().min(64) {
            target(&input[..cut]);
        }
        for _ in 0..changes {
            let mut changed = input.clone();
            for _ in 0..rng.random_range(1..6) {
                match rng.random_range(0..4) {
                    0 if !changed.is_empty() => {
                        let at = rng.random_range(0..changed.len());
                        changed[at] ^= 1 << rng.random_range(0..8);
                    }
                    1 if !changed.is_empty() => {
                        let at = rng.random_range(0..changed.len());
                        changed[at] = *[0, 1, 0x7f, 0x80, 0xff].get(rng.random_range(0..5usize)).unwrap_or(&0);
                    }
                    2 => changed.insert(rng.random_range(0..=changed.len()), rng.random()),
                    _ if !changed.is_empty() => {
                        changed.remove(rng.random_range(0..changed.len()));
                    }
                    _ => {}
                }
            }
            target(&changed);
        }
    }
}

#[test]
fn rtp_reader_survives_its_corpus() {
    replay("rtp", 3_000, fuzzing::rtp);
}

#[test]
fn rtcp_reader_survives_its_corpus() {
    replay("rtcp", 3_000, fuzzing::rtcp);
}

#[test]
fn srtp_takes_nothing_of_the_corpora() {
    replay("rtp", 100, fuzzing::srtp);
    replay("rtcp", 100, fuzzing::srtp);
}

#[test]
fn relay_survives_its_corpus() {
    replay("relay", 400, fuzzing::relay);
}
