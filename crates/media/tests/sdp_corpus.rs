//! Replays the fuzz corpus: each file goes through the same entry functions as under the fuzzer.

use std::path::Path;

fn replay(folder: &str, least: usize, entry: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(folder);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= least, "the corpus is there: {}", folder.display());
    for file in files {
        let data = std::fs::read(&file).unwrap();
        entry(&data);
        for cut in 0..data.len() {
            entry(&data[..cut]);
        }
    }
}

#[test]
fn descriptions_of_the_corpus_are_read_or_refused_and_never_panic() {
    replay("sdp", 20, ringfort_media::sdp::fuzz_sdp);
}

#[test]
fn calls_by_descriptions_of_the_corpus_release_every_port() {
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
    let now = std::time::Instant::now();
    replay("sdp", 20, |data| ringfort_media::bridge::fuzz_bridge(now, data));
    replay("offer_answer", 20, |data| ringfort_media::bridge::fuzz_bridge(now, data));
}

#[test]
fn key_lines_of_the_corpus_are_read_or_refused_and_never_panic() {
    replay("sdes", 8, ringfort_media::sdes::fuzz_sdes);
}
