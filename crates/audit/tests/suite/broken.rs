//! Whatever is wrong with a file, it ends in a line of the ledger with its place.

use std::fs::{self, File};

use ringfort_audit::command::{self, Options};
use ringfort_audit::output::Format;
use ringfort_audit::policy::Catalogue;
use ringfort_audit::scan::Outcome;

use crate::support::{catalogue, scan};

/// xorshift64*: the same bytes every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

fn examples() -> Vec<String> {
    let examples = catalogue().policies().iter().map(|policy| Catalogue::built_in_examples(&policy.id));
    examples.flatten().flatten().flat_map(|examples| examples.all).map(|example| example.manifest).collect()
}

#[test]
fn truncated_manifests_are_scanned_or_told_with_their_place() {
    let mut unparsed = 0;
    for text in examples() {
        for cut in (0..text.len()).step_by(7) {
            match scan("a.yaml", &text[..cut]).outcome {
                Outcome::Unparsed { at, reason, .. } => {
                    unparsed += 1;
                    assert!(at.is_some_and(|at| at.line >= 1) && !reason.is_empty(), "{reason}");
                }
                Outcome::Scanned { .. } | Outcome::Skipped { .. } => {}
            }
        }
    }
    assert!(unparsed > 1000, "{unparsed} cuts hit something that has to be closed");
}

#[test]
fn mutated_manifests_never_stop_the_scanner() {
    let mut chance = Chance(20_261_125);
    let special: Vec<char> = "{}[]:,-?&*!|>'\"%@`#<\n\t \r\0\u{feff}é𝄞~".chars().collect();
    for text in examples() {
        for _ in 0..6 {
            let mut characters: Vec<char> = text.chars().collect();
            for _ in 0..=chance.below(4) {
                let at = chance.below(characters.len());
                match chance.below(3) {
                    0 => characters[at] = special[chance.below(special.len())],
                    1 => characters.insert(at, special[chance.below(special.len())]),
                    _ => {
                        characters.remove(at);
                    }
                }
            }
            let mutated: String = characters.into_iter().collect();
            for name in ["a.yaml", "a.json"] {
                let scan = scan(name, &mutated);
                assert!(scan.findings.iter().all(|finding| finding.at.line >= 1 && finding.at.column >= 1));
            }
        }
    }
}

#[test]
fn values_of_other_types_than_expected_never_stop_the_scanner() {
    let others = ["null", "[]", "{}", "5", "\"x\"", "true", "[[], {}, null]", "{a: {b: {c: []}}}"];
    for text in examples() {
        for (index, line) in text.lines().enumerate() {
            let Some((key, _)) = line.split_once(": ") else { continue };
            for other in others {
                let changed = format!("{key}: {other}");
                let lines = text
                    .lines()
                    .enumerate()
                    .map(|(number, line)| if number == index { changed.as_str() } else { line });
                scan("a.yaml", &lines.collect::<Vec<_>>().join("\n"));
            }
        }
    }
}

#[test]
fn every_file_of_a_folder_has_its_line_in_the_ledger() {
    let place = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| fs::write(place.path().join(name), bytes).expect("it can be written");
    write("good.yaml", b"apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\nnot: kubernetes\n");
    write("half.yaml", b"apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\na: [\n");
    write("chart.yaml", b"kind: {{ .Values.kind }}\napiVersion: {{ .x }}: y\n");
    write("latin.yaml", b"a: 1\nb: \xe4\n");
    write("deep.json", "[".repeat(1_000_000).as_bytes());
    write("laughs.yaml", laughs().as_bytes());
    write("notes.txt", b"nothing\n");
    write("other.yaml", b"a: 1\n");
    File::create(place.path().join("huge.yaml")).and_then(|file| file.set_len(100 << 20)).expect("a sparse file");
    fs::create_dir(place.path().join(".git")).expect("a folder");
    let mut options = Options::new(vec![place.path().to_path_buf()], "2026-11-25".parse().expect("a day"));
    options.outputs = vec![(Format::Json, None)];
    let mut out = Vec::new();
    let code = command::run(&options, &mut std::io::empty(), &mut out).expect("it runs");
    assert_eq!(code, command::FINDINGS);
    options.strict = true;
    assert_eq!(
        command::run(&options, &mut std::io::empty(), &mut Vec::new()).expect("it runs"),
        command::COULD_NOT_RUN
    );
    let report: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    let lines: Vec<_> = report["ledger"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| {
            let name = line["path"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
            let words = line["reason"].as_str().unwrap_or_default();
            format!("{name} {} {} {words}", line["outcome"].as_str().unwrap_or_default(), line["line"])
        })
        .collect();
    let expected = [
        ".git skipped null a folder of tools",
        "chart.yaml unparsed 1 ",
        "deep.json unparsed 1 nested deeper than 128 levels",
        "good.yaml scanned null ",
        "half.yaml unparsed ",
        "huge.yaml unparsed null larger than 32 MiB",
        "latin.yaml unparsed null not UTF-8 from line 2 on",
        "laughs.yaml unparsed ",
        "notes.txt skipped null not a kind of file",
        "other.yaml skipped null nothing in it that a policy is about",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\n{expected}");
    }
    assert!(lines[1].contains("render it first"), "{}", lines[1]);
    assert!(lines[7].contains("aliases written out"), "{}", lines[7]);
}

#[test]
fn an_object_or_a_file_too_large_for_its_policies_is_told_and_ends_in_time() {
    let pod = |body: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a, namespace: b}}\nspec:\n{body}");
    let many = pod(&format!("  containers:\n{}", "  - {}\n".repeat(300_000)));
    let wide: String = (0..30_000).map(|number| format!("  key{number}: {{}}\n")).collect();
    let wide = pod(&format!("{wide}  containers:\n{}", "  - {}\n".repeat(30_000)));
    let marks = "# ringfort:ignore RF-K8S-0001 reason=x\n".repeat(200_000);
    for text in [many, wide] {
        let scan = scan("a.yaml", &text);
        let words = scan.outcome.to_string();
        assert!(words.contains("Pod/b/a is too large"), "{words}");
        assert!(scan.findings.len() <= 100_000, "{}", scan.findings.len());
    }
    let found = scan("a.yaml", &(marks + &pod("  containers: [{name: a}]\n")));
    assert!(found.notes.iter().any(|(_, words)| words.contains("only the last 2000")), "{:?}", found.notes.first());
    let small = pod("  containers: [{}]\n");
    let file: String = (0..30_000).map(|_| format!("---\n{small}")).collect();
    let scan = scan("a.yaml", &file);
    assert!(scan.outcome.to_string().contains("more than 500000 verdicts"), "{}", scan.outcome);
}

fn laughs() -> String {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..40 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        text += &format!("a{level}: &a{level} [{}]\n", before.trim_end_matches(", "));
    }
    text
}
