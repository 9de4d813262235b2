//! Replays the corpus of the fuzz targets, the test messages and mutations of all of them through the fuzz targets'
//! own code, so that what fuzzing found stays found.

use std::path::PathBuf;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use ringfort_sip::fuzzing;

fn files(folder: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.into_iter().map(|path| std::fs::read(path).expect("a file")).collect()
}

/// Runs every file, and `rounds` mutations of each from a fixed seed.
fn replay(files: &[Vec<u8>], rounds: usize, target: fn(&[u8])) {
    let mut rng = ChaCha8Rng::seed_from_u64(3261);
    const PIECES: [&[u8]; 16] =
        [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b",", b";", b"\"", b"<", b">", b"\\", b"%", b"[", b":", b"\r\n "];
    for file in files {
        target(file);
        for _ in 0..rounds {
            let mut data = file.clone();
            for _ in 0..rng.random_range(1..5) {
                let at = rng.random_range(0..=data.len());
                match rng.random_range(0..5) {
                    0 if at < data.len() => data[at] = rng.random(),
                    1 => data.truncate(at),
                    2 => {
                        let to = (at + rng.random_range(0..40)).min(data.len());
                        data.drain(at..to);
                    }
                    3 => {
                        let piece = PIECES[rng.random_range(0..PIECES.len())];
                        data.splice(at..at, piece.iter().copied());
                    }
                    _ => {
                        let other = &files[rng.random_range(0..files.len())];
                        let from = rng.random_range(0..=other.len());
                        let to = (from + rng.random_range(0..60)).min(other.len());
                        data.splice(at..at, other[from..to].iter().copied());
                    }
                }
            }
            target(&data);
        }
    }
}

#[test]
fn messages_of_the_corpus_and_their_mutations_break_nothing() {
    let mut all = files("../../fuzz/corpus/message");
    all.extend(files("tests/torture"));
    all.extend(files("tests/torture-ipv6"));
    replay(&all, 150, fuzzing::message);
}

#[test]
fn uris_of_the_corpus_and_their_mutations_break_nothing() {
    replay(&files("../../fuzz/corpus/uri"), 1000, fuzzing::uri);
}

#[test]
fn streams_of_the_corpus_and_their_mutations_break_nothing() {
    replay(&files("../../fuzz/corpus/framing"), 100, fuzzing::framing);
    replay(&files("tests/torture"), 2, fuzzing::framing);
}

#[test]
fn websockets_of_the_corpus_and_their_mutations_break_nothing() {
    replay(&files("../../fuzz/corpus/websocket"), 1000, fuzzing::websocket);
}

#[test]
fn digest_values_of_the_corpus_and_their_mutations_break_nothing() {
    replay(&files("../../fuzz/corpus/digest"), 300, fuzzing::digest);
}

#[test]
fn lists_of_operations_of_the_corpus_and_their_mutations_leave_nothing_in_an_endpoint() {
    replay(&files("../../fuzz/corpus/transactions"), 20, fuzzing::transactions);
}

#[test]
fn lists_of_operations_of_the_corpus_and_their_mutations_leave_nothing_in_two_endpoints() {
    replay(&files("../../fuzz/corpus/dialogs"), 20, fuzzing::dialogs);
}
