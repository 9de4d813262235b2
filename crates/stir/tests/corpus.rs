//! Replays the corpus of the fuzz targets and mutations of it through the fuzz targets' own code.

use std::path::PathBuf;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use ringfort_stir::fuzzing;

fn files(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.into_iter().map(|path| std::fs::read(path).expect("a file")).collect()
}

/// Runs every file, and `rounds` mutations of each from a fixed seed.
fn replay(files: &[Vec<u8>], rounds: usize, pieces: &[&[u8]], target: fn(&[u8])) {
    let mut rng = ChaCha8Rng::seed_from_u64(8224);
    for file in files {
        target(file);
        for _ in 0..rounds {
            let mut data = file.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..=data.len());
                match rng.random_range(0..5) {
                    0 if at < data.len() => data[at] = rng.random(),
                    1 => data.truncate(at),
                    2 => {
                        let to = (at + rng.random_range(0..20)).min(data.len());
                        data.drain(at..to);
                    }
                    3 => {
                        let piece = pieces[rng.random_range(0..pieces.len())];
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
fn identities_of_the_corpus_and_their_mutations_break_nothing() {
    let pieces: [&[u8]; 9] = [b"\n", b";", b".", b"..", b"<", b">", b"\"", b"=", b";ppt=div"];
    replay(&files("stir_identity"), 3_000, &pieces, fuzzing::identity);
}

#[test]
fn lists_and_certificates_of_the_corpus_and_their_mutations_break_nothing() {
    let pieces: [&[u8]; 6] = [b"\x30\x00", b"\x81\x80", b"\x83\xff\xff\xff", b"\xa1", b"\x02\x01\x02", b"\x16\x01#"];
    replay(&files("stir_tn_auth_list"), 20_000, &pieces, fuzzing::tn_auth_list);
}
