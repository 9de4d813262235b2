//! Every policy's examples are run, every fix is tried on the bad example, and the words are there.

use ringfort_audit::expr::Step;
use ringfort_audit::fix::mend;
use ringfort_audit::model::{Limits, Syntax, read};
use ringfort_audit::pipeline;
use ringfort_audit::policy::{Catalogue, Examples, Policy, Want};
use ringfort_audit::scan::suppress::Suppressions;
use ringfort_audit::scan::{FileScan, Outcome, Status, scan_text};
use serde_json::Value;

use crate::support::{catalogue, settings};

/// What a file with such an example in it is called.
fn name(policy: &Policy, manifest: &str) -> &'static str {
    let starts = ["resource \"", "data \"", "provider \"", "variable \"", "module \"", "locals {"];
    if policy.kinds == [pipeline::DOCKERFILE] {
        "Dockerfile"
    } else if starts.iter().any(|start| manifest.starts_with(start)) {
        "example.tf"
    } else {
        "example.yaml"
    }
}

/// A scan of `manifest` by this policy alone.
fn scan(policy: &Policy, manifest: &str) -> FileScan {
    let alone = Catalogue::new(vec![policy.clone()]).expect("one policy");
    let scan = scan_text(name(policy, manifest), manifest, &settings(&alone, &Suppressions::default()));
    assert!(matches!(scan.outcome, Outcome::Scanned { .. }), "{}: {}\n{manifest}", policy.id, scan.outcome);
    scan
}

fn fails(policy: &Policy, manifest: &str) -> bool {
    scan(policy, manifest).findings.iter().any(|finding| finding.status == Status::Failed)
}

fn examples(policy: &Policy) -> Examples {
    Catalogue::built_in_examples(&policy.id)
        .unwrap_or_else(|| panic!("{}: the file has to begin with `id: {}`", policy.id, policy.id))
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_example_of_every_policy_comes_to_what_it_says() {
    let mut wrong = Vec::new();
    for policy in catalogue().policies() {
        for example in examples(policy).all {
            if fails(policy, &example.manifest) != (example.want == Want::Fail) {
                wrong.push(format!("{} {} should {:?}:\n{}", policy.id, example.label, example.want, example.manifest));
            }
        }
    }
    assert!(wrong.is_empty(), "{} examples:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_near_miss_and_good_example_reaches_the_policy_or_its_kind() {
    // An example that the policy never looks at proves nothing: at least one passing example has to be judged.
    let mut wrong = Vec::new();
    for policy in catalogue().policies() {
        let judged = |manifest: &str| !scan(policy, manifest).findings.is_empty();
        if !examples(policy).all.iter().any(|example| example.want == Want::Pass && judged(&example.manifest)) {
            wrong.push(policy.id.clone());
        }
    }
    assert!(wrong.is_empty(), "no passing example is judged: {wrong:?}");
}

#[test]
fn every_fix_mends_the_bad_examples_and_changes_nothing_else() {
    let mut wrong = Vec::new();
    for policy in catalogue().policies().iter().filter(|policy| !policy.fix.is_empty()) {
        let alone = Catalogue::new(vec![policy.clone()]).expect("one policy");
        let none = Suppressions::default();
        let settings = settings(&alone, &none);
        for example in examples(policy).all {
            // With comments, that have to be there afterwards.
            let text = format!("# first\n{}# last\n", example.manifest.replacen('\n', " # beside\n", 1));
            for text in [&example.manifest, &text, &text.replace('\n', "\r\n"), &as_json(&example.manifest)] {
                let mended = mend(name(policy, text), text, &settings);
                let is_bad = example.want == Want::Fail;
                let comments = |text: &str| text.matches(" # beside").count() + text.matches("# first").count();
                let fine = !fails(policy, &mended.text)
                    && mended.refused.is_empty()
                    && (is_bad || mended.text == *text)
                    && comments(&mended.text) == comments(text)
                    && others(policy, text) == others(policy, &mended.text);
                if !fine {
                    wrong.push(format!(
                        "{} {}: {:?}\n{text}\n->\n{}",
                        policy.id, example.label, mended.refused, mended.text
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} examples, the first:\n{}", wrong.len(), wrong[0]);
}

fn as_json(manifest: &str) -> String {
    let mut out = String::new();
    read(manifest, Syntax::Guess, &Limits::default(), &mut |document| {
        if let Some(root) = document.root() {
            out.push_str(&format!("{:#}\n", document.to_json(root)));
        }
    })
    .expect("the example is well-formed");
    out
}

/// Every value that no fix of the policy is about, with its path.
fn others(policy: &Policy, text: &str) -> Vec<String> {
    let touched: Vec<&str> = policy
        .fix
        .iter()
        .flat_map(|fix| &fix.path.steps)
        .filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) | Step::Each => None,
        })
        .collect();
    let mut found = Vec::new();
    read(text, Syntax::Guess, &Limits::default(), &mut |document| {
        if let Some(root) = document.root() {
            leaves(&document.to_json(root), String::new(), &touched, &mut found);
        }
    })
    .expect("it can be read");
    found
}

fn leaves(value: &Value, path: String, touched: &[&str], found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter().filter(|(key, _)| !touched.contains(&key.as_str())) {
                leaves(inner, format!("{path}.{key}"), touched, found);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                leaves(inner, format!("{path}[{index}]"), touched, found);
            }
        }
        scalar => found.push(format!("{path}={scalar}")),
    }
}

#[test]
fn every_finding_of_an_example_has_a_place_and_a_path_that_begins_in_the_document() {
    for policy in catalogue().policies() {
        for example in examples(policy).all.into_iter().filter(|example| example.want == Want::Fail) {
            for finding in scan(policy, &example.manifest).findings {
                assert!(finding.at.line >= 1 && finding.at.column >= 1, "{}", policy.id);
                assert!(!finding.json_path.contains("*"), "{}: {}", policy.id, finding.json_path);
                assert!(!finding.json_path.starts_with('.'), "{}: {}", policy.id, finding.json_path);
            }
        }
    }
}

#[test]
fn ids_names_and_words_are_in_order() {
    let mut names = std::collections::BTreeSet::new();
    for (file, text) in Catalogue::built_in_files() {
        let policy = Policy::parse(file, text).unwrap_or_else(|error| panic!("{error}"));
        let stem = file.rsplit('/').next().and_then(|name| name.strip_suffix(".yaml"));
        assert_eq!(stem, Some(policy.id.as_str()), "the file is called as its policy");
        assert!(names.insert(policy.name.clone()), "{}: the name `{}` is another policy's", policy.id, policy.name);
        assert!(policy.message.ends_with('.') && policy.remediation.ends_with('.'), "{}: whole sentences", policy.id);
        assert!(policy.message.len() >= 40 && policy.remediation.len() >= 15, "{}: say why, and what to do", policy.id);
        assert!(policy.name.len() <= 90, "{}: the name is long", policy.id);
        for alias in &policy.aliases {
            let known = ["CKV_", "CKV2_", "kubesec:", "kubeaudit:", "CIS-", "KHV", "KCCSS:", "PSS-"];
            assert!(known.iter().any(|prefix| alias.starts_with(prefix)), "{}: alias {alias}", policy.id);
        }
    }
}

#[test]
fn what_stands_behind_an_anchor_or_is_suppressed_is_not_mended() {
    let pod = |context: &str, comment: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a, namespace: b}}\nspec:\n  containers:\n    - name: c{comment}\n      image: i:1\n      securityContext: {context}\n"
        )
    };
    let none = Suppressions::default();
    let alone = catalogue().policies().iter().filter(|policy| policy.id == "RF-K8S-0001").cloned().collect();
    let alone = Catalogue::new(alone).expect("one policy");
    let settings = settings(&alone, &none);
    let shared = pod("&x {privileged: true}", "");
    let mended = mend("a.yaml", &shared, &settings);
    assert_eq!((mended.text, mended.left, mended.refused.len()), (shared, 1, 1));
    let meant = pod("{privileged: true}", " # ringfort:ignore RF-K8S-0001 reason=\"meant\"");
    assert_eq!(mend("a.yaml", &meant, &settings).text, meant);
    let broken = format!("{}---\na: [\n", pod("{privileged: true}", ""));
    assert_eq!(mend("a.yaml", &broken, &settings).text, broken);
}
