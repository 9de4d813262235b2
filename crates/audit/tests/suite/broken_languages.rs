//! Broken, deep, growing and huge files of every language that is read: each ends in a line of the ledger, in bounded time and memory.

use std::fs::File;
use std::time::{Duration, Instant};

use ringfort_audit::scan::input::{self, Selection};
use ringfort_audit::scan::suppress::Suppressions;
use ringfort_audit::scan::{self, FileScan, Outcome, scan_text};

use crate::support::{catalogue, scan, settings};

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n    - name: c\n      image: \"i:1\"\n      command: [\"/bin/a\", '-x']\n";
const POD_JSON: &str = "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"},\n \"spec\": {\"containers\": [{\"name\": \"c\", \"image\": \"i\\u003a1\"}]}}";
const TERRAFORM: &str = "locals {\n  a = [for k, v in { x = 1 } : \"${k}-${v}\" if v > 0]\n}\nresource \"aws_s3_bucket\" \"b\" {\n  bucket = \"b-${local.a[0]}\"\n  \
                         acl    = <<-EOT\n    private\n  EOT\n  dynamic \"rule\" {\n    for_each = local.a\n    content { x = rule.value }\n  }\n}\n";
const TERRAFORM_JSON: &str = "{\"locals\": {\"a\": [1, 2]}, \"resource\": {\"aws_s3_bucket\": {\n \"b\": {\"bucket\": \"b-${local.a[0]}\", \"acl\": \"private\",\n \"dynamic\": \
                              {\"rule\": {\"for_each\": \"${local.a}\", \"content\": {\"x\": \"${rule.value}\"}}}}}}}";
const DOCKERFILE: &str = "# syntax=docker/dockerfile:1\nARG V=1\nFROM alpine:${V} AS build\nRUN <<EOT\necho a\nEOT\nRUN apk add a \\\n  b\nCMD [\"/bin/a\", \"-x\"]\n";
const CLOUDFORMATION: &str = "Parameters:\n  P: {Type: String, Default: 'x'}\nConditions:\n  C: !Equals [!Ref P, \"x\"]\nResources:\n  B:\n    Type: AWS::S3::Bucket\n    \
                              Properties:\n      BucketName: !Sub \"${P}-${AWS::Region}\"\n      Tags: !If [C, [{Key: a, Value: b}], !Ref 'AWS::NoValue']\n";
const CLOUDFORMATION_JSON: &str = "{\"Resources\": {\"B\": {\"Type\": \"AWS::S3::Bucket\",\n \"Properties\": {\"BucketName\": {\"Fn::Join\": [\"\", [\"a\", {\"Ref\": \"P\"}]]}}}}}";
const PLAN: &str = "{\"format_version\": \"1.2\", \"terraform_version\": \"1.9.0\",\n \"planned_values\": {\"root_module\": {\"resources\": [\n  {\"address\": \"aws_s3_bucket.b\", \
                    \"type\": \"aws_s3_bucket\", \"name\": \"b\", \"values\": {\"acl\": \"private\"}}]}}}";
const SERVERLESS: &str = "service: a\nprovider: {name: aws, runtime: \"${self:custom.r}\"}\ncustom: {r: 'nodejs22.x'}\nfunctions:\n  f:\n    handler: a.b\n    environment: {A: \"x\"}\n";
const COMPOSE: &str = "services:\n  web:\n    image: \"web:1\"\n    ports: ['80:80']\n    environment: {A: \"b\"}\n";
const WORKFLOW: &str =
    "on: [push]\njobs:\n  a:\n    runs-on: \"x\"\n    steps: [{run: 'make', env: {A: \"${{ secrets.A }}\"}}]\n";
const PIPELINE: &str = "build:\n  stage: a\n  image: \"b:1\"\n  script: ['make', \"test\"]\n";

/// A file name and a good text of each language.
const LANGUAGES: [(&str, &str); 12] = [
    ("pod.yaml", POD),
    ("pod.json", POD_JSON),
    ("main.tf", TERRAFORM),
    ("main.tf.json", TERRAFORM_JSON),
    ("Dockerfile", DOCKERFILE),
    ("template.yaml", CLOUDFORMATION),
    ("template.json", CLOUDFORMATION_JSON),
    ("plan.json", PLAN),
    ("serverless.yml", SERVERLESS),
    ("compose.yaml", COMPOSE),
    (".github/workflows/a.yaml", WORKFLOW),
    (".gitlab-ci.yml", PIPELINE),
];

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

/// Whether a file was not read to its end; then it is said why and, within the text, where.
fn is_unparsed(name: &str, text: &str, found: &FileScan) -> bool {
    // Whatever YAML takes for the end of a line.
    let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() as u32 + 1;
    for finding in &found.findings {
        assert!((1..=lines).contains(&finding.at.line) && finding.at.column >= 1, "{name}: {finding:?}");
    }
    let Outcome::Unparsed { at, reason, .. } = &found.outcome else { return false };
    let at = at.unwrap_or_else(|| panic!("{name}: no place: {reason}\n{text}"));
    assert!((1..=lines).contains(&at.line) && at.column >= 1 && !reason.is_empty(), "{name}:{at} {reason}");
    true
}

#[test]
fn good_files_of_every_language_are_scanned() {
    for (name, text) in LANGUAGES {
        let found = scan(name, text);
        assert!(matches!(found.outcome, Outcome::Scanned { objects, .. } if objects > 0), "{name}: {}", found.outcome);
    }
}

#[test]
fn every_beginning_of_a_file_of_every_language_is_scanned_or_told_with_its_place() {
    for (name, text) in LANGUAGES {
        let cuts = (0..text.len()).filter(|cut| text.is_char_boundary(*cut));
        let unparsed = cuts.filter(|cut| is_unparsed(name, &text[..*cut], &scan(name, &text[..*cut]))).count();
        // Whatever of a Dockerfile is left is one, but for the heredoc and the list.
        let least = if name == "Dockerfile" { 1 } else { 5 };
        assert!(unparsed >= least, "{name}: {unparsed}");
    }
}

#[test]
fn mutated_files_of_every_language_are_scanned_or_told_with_their_place() {
    let mut chance = Chance(20_261_127);
    let special: Vec<char> = "{}[]()<>:,-?&*!|'\"%@`#$=\\~\n\t \r\0\u{feff}\u{e000}\u{e001}é𝄞".chars().collect();
    for (name, text) in LANGUAGES {
        let mut unparsed = 0;
        for _ in 0..150 {
            let mut characters: Vec<char> = text.chars().collect();
            for _ in 0..=chance.below(5) {
                let at = chance.below(characters.len());
                match chance.below(4) {
                    0 => characters[at] = special[chance.below(special.len())],
                    1 => characters.insert(at, special[chance.below(special.len())]),
                    2 => {
                        let end = characters.len().min(at + 1 + chance.below(12));
                        let piece = characters[at..end].to_vec();
                        characters.splice(at..at, piece);
                    }
                    _ => {
                        characters.remove(at);
                    }
                }
            }
            let mutated: String = characters.into_iter().collect();
            unparsed += usize::from(is_unparsed(name, &mutated, &scan(name, &mutated)));
        }
        assert!(unparsed > 0 || name == "Dockerfile", "{name}");
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // The bound is on the clock.
fn a_million_levels_are_refused_in_every_language() {
    const DEEP: usize = 1_000_000;
    let open = |before: &str| format!("{before}{}", "[".repeat(DEEP));
    let mappings = |before: &str| format!("{before}{}", "{\"a\":".repeat(DEEP));
    let indented: String = (0..2_000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    for (name, text) in [
        ("pod.yaml", open("apiVersion: v1\nkind: Pod\nspec: ")),
        ("pod.yaml", format!("apiVersion: v1\nkind: Pod\nspec: {}", "{a: ".repeat(DEEP))),
        ("pod.yaml", "- ".repeat(DEEP)),
        ("pod.yaml", indented),
        ("pod.json", open("{\"kind\": ")),
        ("pod.json", mappings("")),
        ("main.tf", open("locals {\n  a = ")),
        ("main.tf", format!("a = {}", "{ a = ".repeat(DEEP))),
        ("main.tf", "a {\n".repeat(DEEP)),
        ("main.tf", format!("a = {}", "\"${".repeat(DEEP))),
        ("main.tf", format!("a = {}", "f(".repeat(DEEP))),
        ("main.tf.json", open("{\"locals\": {\"a\": ")),
        ("main.tf.json", mappings("{\"resource\": ")),
        ("main.tf.json", format!("{{\"locals\": {{\"a\": \"${{{}\"}}}}", "(".repeat(DEEP))),
        ("template.yaml", open("Resources:\n  B:\n    Type: AWS::S3::Bucket\n    Properties:\n      Tags: ")),
        (
            "template.yaml",
            format!("Resources:\n  B:\n    Type: AWS::S3::Bucket\n    Properties: {}", "{a: ".repeat(DEEP)),
        ),
        ("template.json", mappings("{\"Resources\": {\"B\": {\"Type\": \"AWS::S3::Bucket\", \"Properties\": ")),
        ("plan.json", mappings("{\"format_version\": \"1\", \"planned_values\": ")),
        ("plan.json", open("{\"format_version\": \"1\", \"planned_values\": {\"root_module\": {\"child_modules\": ")),
        ("serverless.yml", open("service: a\nprovider: {name: aws}\nfunctions: ")),
        ("compose.yaml", open("services: ")),
        (".gitlab-ci.yml", open("a: ")),
    ] {
        let start = Instant::now();
        let found = scan(name, &text);
        assert!(is_unparsed(name, &text, &found), "{name}: {}", found.outcome);
        let words = found.outcome.to_string();
        assert!(words.contains("nested deeper than") || words.contains("recursion"), "{name}: {words}");
        assert!(start.elapsed() < Duration::from_secs(20), "{name}: {:?}", start.elapsed());
    }
    // Levels that a language has no brackets for.
    for text in [
        format!("FROM a\nCMD {}", "[".repeat(DEEP)),
        format!("FROM a\nRUN {}", "(".repeat(DEEP)),
        format!("FROM a\nRUN {}", "$(".repeat(DEEP)),
        format!("FROM a\nRUN a {}", "\\\n".repeat(DEEP)),
        format!("FROM {}", "${V:-".repeat(DEEP)),
        format!("ARG A={}\nFROM {}", "a".repeat(DEEP), "$A".repeat(DEEP)),
        format!("FROM a\nENV {}", "\"a\"b=1 ".repeat(DEEP / 10)),
        format!("FROM a\nRUN {}", "a;".repeat(DEEP / 4)),
    ] {
        let start = Instant::now();
        is_unparsed("Dockerfile", &text, &scan("Dockerfile", &text));
        assert!(start.elapsed() < Duration::from_secs(20), "{}: {:?}", &text[..20], start.elapsed());
    }
}

#[test]
fn aliases_that_would_grow_without_end_are_refused_in_every_language_of_yaml() {
    let mut laughs = String::from("x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n");
    for level in 1..40 {
        let before = vec![format!("*x{}", level - 1); 10].join(", ");
        laughs += &format!("x{level}: &x{level} [{before}]\n");
    }
    for (name, text) in LANGUAGES {
        let is_yaml = name.ends_with(".yaml") || name.ends_with(".yml");
        if is_yaml {
            let text = format!("{text}{laughs}");
            let found = scan(name, &text);
            assert!(is_unparsed(name, &text, &found), "{name}: {}", found.outcome);
            assert!(found.outcome.to_string().contains("aliases written out"), "{name}: {}", found.outcome);
        }
    }
}

/// The most memory that this process had, in MiB, where the system tells.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? >> 10)
}

#[test]
fn a_file_of_a_hundred_megabytes_is_not_read_in_any_language() {
    let place = tempfile::tempdir().expect("a folder");
    for (name, _) in LANGUAGES {
        let path = place.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
        File::create(path).and_then(|file| file.set_len(100 << 20)).expect("a sparse file");
    }
    let inputs = input::find(&[place.path().to_path_buf()], &Selection::default());
    let report = scan::scan(&inputs, &settings(catalogue(), &Suppressions::default()));
    assert_eq!(report.ledger.entries.len(), LANGUAGES.len());
    for entry in &report.ledger.entries {
        assert!(entry.outcome.to_string().contains("larger than 32 MiB"), "{}: {}", entry.path, entry.outcome);
    }
    assert!(peak().is_none_or(|peak| peak < 600), "{:?} MiB", peak());
}

#[test]
#[allow(clippy::disallowed_methods)] // The bound is on the clock.
fn files_of_a_hundred_megabytes_that_are_read_all_the_same_are_bounded_in_time_and_memory() {
    const SIZE: usize = 100 << 20;
    let suppressions = Suppressions::default();
    let mut settings = settings(catalogue(), &suppressions);
    settings.limits.file_bytes = 200 << 20;
    settings.limits.nodes = 400_000;
    let filled = |before: &str, piece: &str| format!("{before}{}", piece.repeat((SIZE - before.len()) / piece.len()));
    for (name, before, piece, words) in [
        ("pod.json", "{\"kind\": \"Pod\", \"a\": [", "0,", "more than 400000 values"),
        ("pod.yaml", "kind: Pod\na: [", "0, ", "more than 400000 values"),
        ("pod.yaml", "kind: Pod\na: \"", "a", "2 MiB"),
        ("pod.yaml", "kind: Pod\na:\n", "- 0\n", "more than 400000 values"),
        ("main.tf", "locals {\n  a = [", "0,", "more than 2000000 expressions"),
        ("main.tf", "", "a {}\n", "more than 2000000 expressions"),
        ("main.tf.json", "{\"locals\": {\"a\": [", "0,", "more than 400000 values"),
        (
            "template.json",
            "{\"Resources\": {\"A\": {\"Type\": \"AWS::A::B\", \"Properties\": [",
            "0,",
            "more than 400000 values",
        ),
        ("plan.json", "{\"format_version\": \"1\", \"planned_values\": [", "0,", "more than 400000 values"),
        ("Dockerfile", "FROM a\n", "RUN a\n", "more than"),
    ] {
        let start = Instant::now();
        let text = filled(before, piece);
        let found = scan_text(name, &text, &settings);
        let Outcome::Unparsed { at: Some(_), reason, .. } = &found.outcome else { panic!("{name}: {}", found.outcome) };
        assert!(reason.contains(words), "{name}: {reason}");
        assert!(start.elapsed() < Duration::from_secs(60), "{name}: {:?}", start.elapsed());
        println!("{name} {:?} {:?}", start.elapsed(), peak());
    }
    assert!(peak().is_none_or(|peak| peak < 1_500), "{:?} MiB", peak());
}
