//! The view kubeaudit on its own manifests: the names of the results that its own tests expect.

use std::collections::BTreeSet;
use std::fs;

use ringfort_audit::command::{self, FixMode, Kubeaudit, Options, View};
use ringfort_audit::model::{Document, Limits, Syntax, read};
use ringfort_audit::view::kubeaudit::{Audited, Config, Level, Style, audit, mend, write};

use crate::agreement::fixtures;

const EXPECTED: &str = include_str!("../data/kubeaudit-results.tsv");

fn documents(text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    read(text, Syntax::Guess, &Limits::default(), &mut |document| documents.push(document)).expect("well-formed");
    documents
}

fn names(audited: &[Audited]) -> BTreeSet<&str> {
    audited.iter().flat_map(|resource| &resource.results).map(|result| result.rule.as_str()).collect()
}

#[test]
fn conformance_kubeaudit_results_are_equal_on_every_fixture() {
    let Some(folder) = fixtures() else { return };
    let (mut wrong, mut files) = (Vec::new(), 0);
    for line in EXPECTED.lines().filter(|line| !line.starts_with('#')) {
        let (file, expected) = line.split_once('\t').expect("file and names");
        let expected: BTreeSet<&str> = expected.split(',').filter(|name| !name.is_empty()).collect();
        let text = fs::read_to_string(folder.join("kubeaudit/auditors").join(file)).expect("the fixture is there");
        let only = file.split('/').next().expect("an auditor").to_owned();
        let audited = audit(file, &documents(&text), &Config { only: vec![only] });
        let ours = names(&audited);
        files += 1;
        if ours != expected {
            wrong.push(format!("{file}: {ours:?}, expected {expected:?}"));
        }
    }
    println!("{} of {files} files are equal", files - wrong.len());
    assert!(files >= 120, "{files} files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn conformance_kubeaudit_autofix_leaves_only_what_people_have_to_decide() {
    let Some(folder) = fixtures() else { return };
    // The auditors that mend nothing, here as in kubeaudit.
    let by_hand = ["image", "limits", "mounts", "deprecatedapis"];
    let (mut wrong, mut mended_files) = (Vec::new(), 0);
    for line in EXPECTED.lines().filter(|line| !line.starts_with('#')) {
        let (file, _) = line.split_once('\t').expect("file and names");
        let only = file.split('/').next().expect("an auditor").to_owned();
        if by_hand.contains(&only.as_str()) {
            continue;
        }
        let text = fs::read_to_string(folder.join("kubeaudit/auditors").join(file)).expect("the fixture is there");
        let config = Config { only: vec![only] };
        let mended = mend(file, &text, &Limits::default(), &config);
        let again = audit(file, &documents(&mended.text), &config);
        let left: Vec<_> = again
            .iter()
            .flat_map(|resource| &resource.results)
            .filter(|result| result.level == Level::Error)
            .map(|result| result.rule.as_str())
            .collect();
        mended_files += usize::from(mended.text != text);
        if !left.is_empty() || !mended.refused.is_empty() || mended.left != 0 {
            wrong.push(format!("{file}: {left:?} {:?}\n{}", mended.refused, mended.text));
        }
    }
    println!("{mended_files} files were mended");
    assert!(mended_files > 50, "{mended_files}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a # keep\n  namespace: b\n  labels:\n    container.kubeaudit.io/c.allow-privileged: \"it has to\"\nspec:\n  hostNetwork: true\n  containers:\n    - name: c\n      image: a:1\n      securityContext: {privileged: true}\n";

#[test]
fn kubeaudit_results_have_its_names_levels_and_metadata_in_every_format() {
    let audited = audit("a.yaml", &documents(POD), &Config::default());
    let print = |style, least| {
        let mut out = Vec::new();
        write(style, &audited, least, "2026-11-27T10:00:00Z", &mut out).expect("a vector takes it");
        String::from_utf8(out).expect("text")
    };
    let lines: Vec<serde_json::Value> =
        print(Style::Json, Level::Info).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let allowed = lines.iter().find(|line| line["AuditResultName"] == "PrivilegedTrueAllowed").expect("it is allowed");
    assert_eq!((allowed["level"].as_str(), allowed["OverrideReason"].as_str()), (Some("info"), Some("it has to")));
    assert_eq!((allowed["Container"].as_str(), allowed["ResourceNamespace"].as_str()), (Some("c"), Some("b")));
    assert!(lines.iter().any(|line| line["AuditResultName"] == "NamespaceHostNetworkTrue" && line["level"] == "error"));
    let errors = print(Style::Json, Level::Error);
    assert!(errors.lines().count() < lines.len() && !errors.contains("\"info\""), "{errors}");
    assert!(print(Style::Logrus, Level::Error).starts_with("time=\"2026-11-27T10:00:00Z\" level=error msg="));
    assert!(print(Style::Pretty, Level::Info).contains("-- [info] PrivilegedTrueAllowed\n"));
    let sarif: serde_json::Value = serde_json::from_str(&print(Style::Sarif, Level::Info)).expect("JSON");
    assert_eq!(sarif["runs"][0]["results"].as_array().expect("results").len(), lines.len());
}

#[test]
fn kubeaudit_exits_with_the_code_that_is_asked_for_and_mends_standard_input() {
    let view = Kubeaudit { outputs: Vec::new(), least: Level::Error, exit_code: 7, config: Config::default() };
    let mut options = Options::new(vec!["-".into()], "2026-11-27".parse().expect("a day"));
    options.view = Some(View::Kubeaudit(view));
    let run = |options: &Options, text: &str| {
        let mut out = Vec::new();
        let code = command::run(options, &mut text.as_bytes(), &mut out).expect("it runs");
        (code, String::from_utf8(out).expect("text"))
    };
    assert_eq!(run(&options, POD).0, 7);
    options.fix = Some(FixMode::DryRun);
    let (_, diff) = run(&options, POD);
    assert!(diff.contains("-  hostNetwork: true\n+  hostNetwork: false\n"), "{diff}");
    options.fix = Some(FixMode::Write);
    let (code, text) = run(&options, POD);
    assert!(code == 0 && text.contains("  name: a # keep\n"), "{text}");
    options.fix = None;
    assert_eq!(run(&options, &text).0, 0, "{text}");
}
