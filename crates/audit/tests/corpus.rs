//! Replays the corpus of the fuzz targets and mutations of it through the fuzz targets' own code.

use std::path::PathBuf;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use ringfort_audit::fuzzing;

fn files(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    paths.into_iter().map(|path| std::fs::read(path).expect("a file")).collect()
}

/// Rounds of mutations for each file; more with `RINGFORT_FUZZ_ROUNDS`, as a factor.
fn rounds(rounds: usize) -> usize {
    let factor = std::env::var("RINGFORT_FUZZ_ROUNDS").ok().and_then(|factor| factor.parse().ok());
    rounds * factor.unwrap_or(1)
}

/// Runs every file of a corpus, and mutations of each from a fixed seed, made with these pieces and parts of the other files.
fn replay(name: &str, count: usize, pieces: &str, target: fn(&[u8])) {
    let files = files(name);
    let pieces: Vec<&str> = pieces.split(' ').collect();
    let mut rng = ChaCha8Rng::seed_from_u64(2026);
    for file in &files {
        target(file);
        for _ in 0..rounds(count) {
            let mut data = file.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..=data.len());
                match rng.random_range(0..6) {
                    0 if at < data.len() => data[at] = rng.random_range(b' '..0x7f),
                    1 => data.truncate(at),
                    2 => {
                        let to = (at + rng.random_range(0..20)).min(data.len());
                        data.drain(at..to);
                    }
                    3 => {
                        let piece = pieces[rng.random_range(0..pieces.len())].replace('_', " ").replace('¶', "\n");
                        data.splice(at..at, piece.into_bytes());
                    }
                    4 => {
                        let to = (at + rng.random_range(0..40)).min(data.len());
                        let twice = data[at..to].to_vec();
                        data.splice(at..at, twice);
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

/// Signs of YAML; `_` is a blank, `¶` ends a line.
const YAML: &str = "¶ ¶_ ¶__ ¶- -_ :_ : { } [ ] ,_ & * <<:_*x ? |¶ > # \" ' ! !!str ~ % --- \\ é \t \r\n é: 0";

#[test]
fn yaml_and_json_of_the_corpus_and_their_mutations_are_read_or_refused() {
    replay("audit_yaml", 300, YAML, fuzzing::yaml);
}

#[test]
fn the_editor_changes_what_it_is_asked_to_and_nothing_else() {
    replay("audit_fix", 300, YAML, fuzzing::fix);
}

#[test]
fn terraform_of_the_corpus_and_its_mutations_is_read_or_refused() {
    let pieces = "${ %{ } { \" [ ] = ? : ... [*] . <<-X¶ ¶X¶ ¶ for_x_in if => && ! - 0 ~} endfor /* */ $${ é (";
    replay("audit_hcl", 300, pieces, fuzzing::hcl);
}

#[test]
fn dockerfiles_of_the_corpus_and_their_mutations_are_read_or_refused() {
    let pieces = "\\¶ ¶ <<EOF¶ ¶EOF¶ RUN_ FROM_ [\" \"] ,\" ' \" $ ${ } && | ; # --x= ` \t é AS_ \r\n";
    replay("audit_dockerfile", 400, pieces, fuzzing::dockerfile);
}

#[test]
fn templates_and_pipelines_of_the_corpus_and_their_mutations_are_read_or_refused() {
    let pieces =
        "!Ref_ !Sub_ !If_ ${ } ${! {\"Ref\":\"P\"} Fn::GetAtt [ ] { } ,_ :_ ¶ ¶__ *t &t \" ' AWS:: ${{_ }} null";
    replay("audit_templates", 200, pieces, fuzzing::templates);
}

#[test]
fn controls_of_the_corpus_and_their_mutations_are_read_or_refused() {
    let pieces = "¶ ¶__ op:_eq value:_ flag:_ path:_ {. } [?(@ \"( ' $kubeletbin | grep_ set:_false -_ { ] bitmask *";
    replay("audit_controls", 300, pieces, fuzzing::controls);
}

#[test]
fn scripts_and_patterns_of_the_corpus_and_their_mutations_are_read_or_refused() {
    let pieces = "$( ) ${ } ` ' \" \\ | || && ; ;_do_ ;_done if_ ;_then_ fi [ ]] * ? ! - \0 # < > <<EOF¶ $(( )) é ¶";
    replay("audit_shell", 1500, pieces, fuzzing::shell);
}

#[test]
fn cel_of_the_corpus_and_its_mutations_is_evaluated_or_refused() {
    let pieces =
        "( ) [ ] { } . .? [? ' \" ''' r' + - * / % ! && || == in ? : , .all(x,_ .map(x,_ 1 1u 1.5 null object é";
    replay("audit_cel", 100, pieces, fuzzing::cel);
}

#[test]
fn predicates_and_paths_of_the_corpus_and_their_mutations_are_read_or_refused() {
    let pieces = "( ) [ ] [*] [-1] .. . @ @pod. ?( { } {range_ {end} \" ' , not_ and_ any( == <= 1 : é *";
    replay("audit_paths", 1500, pieces, fuzzing::paths);
}

#[test]
fn files_of_users_of_the_corpus_and_their_mutations_are_read_or_refused() {
    replay("audit_user_files", 200, YAML, fuzzing::user_files);
}

#[test]
fn events_of_the_corpus_and_their_mutations_tell_what_is_known() {
    let pieces = "{ } [ ] , : \" ¶ null 1 -1 \\ é \"items\" \"object\" \"ADDED\" \"DELETED\" \"metadata\" \"name\"";
    replay("audit_watch", 1500, pieces, fuzzing::watch);
}
