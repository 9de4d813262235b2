//! Every policy's examples are run, every fix is tried on the bad example, and the words are there.

use ringfort_audit::expr::Step;
use ringfort_audit::model::{Limits, Syntax, read};
use ringfort_audit::pipeline;
use ringfort_audit::policy::{Catalogue, Each, Examples, Fix, Policy, Want};
use ringfort_audit::scan::suppress::Suppressions;
use ringfort_audit::scan::{FileScan, Outcome, Status, scan_text};
use serde_json::Value;

use crate::support::{catalogue, settings};

/// What a file with such an example in it is called.
fn name(policy: &Policy) -> &'static str {
    if policy.kinds == [pipeline::DOCKERFILE] { "Dockerfile" } else { "example.yaml" }
}

/// A scan of `manifest` by this policy alone.
fn scan(policy: &Policy, manifest: &str) -> FileScan {
    let alone = Catalogue::new(vec![policy.clone()]).expect("one policy");
    let scan = scan_text(name(policy), manifest, &settings(&alone, &Suppressions::default()));
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
fn every_fix_mends_the_bad_examples() {
    let mut wrong = Vec::new();
    for policy in catalogue().policies().iter().filter(|policy| !policy.fix.is_empty()) {
        for example in examples(policy).all.into_iter().filter(|example| example.want == Want::Fail) {
            let mended = mend(policy, &example.manifest);
            if fails(policy, &mended) {
                wrong.push(format!("{}:\n{mended}", policy.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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

/// The manifest, as JSON, with the policy's fix made in every item that the policy looks at.
fn mend(policy: &Policy, manifest: &str) -> String {
    let mut out = String::new();
    read(manifest, Syntax::Guess, &Limits::default(), &mut |document| {
        let Some(root) = document.root() else { return };
        let mut value = document.to_json(root);
        for pointer in items(policy, &document) {
            let item = value.pointer_mut(&pointer).expect("it was found there");
            for fix in &policy.fix {
                apply(item, &fix.path.steps, fix);
            }
        }
        out.push_str(&format!("{value}\n"));
    })
    .expect("the example is well-formed");
    out
}

fn items(policy: &Policy, document: &ringfort_audit::model::Document) -> Vec<String> {
    let pointer =
        |path: &str| format!("/{path}").replace('.', "/").replace('[', "/").replace(']', "").replace("//", "/");
    let mut found = Vec::new();
    for object in ringfort_audit::kube::objects(document) {
        match (&policy.each, &object.pod) {
            (Each::Containers | Each::MainContainers | Each::InitContainers, Some(pod)) => {
                found.extend(pod.containers.iter().map(|container| pointer(&container.path)));
            }
            (Each::Path(path), Some(pod)) if path.steps.is_empty() => found.push(pointer(&pod.spec_path)),
            _ => found.push(String::new()),
        }
    }
    found
}

fn apply(value: &mut Value, steps: &[Step], fix: &Fix) {
    let Some((step, rest)) = steps.split_first() else {
        *value = fix.value.clone().expect("a path to remove has steps");
        return;
    };
    match step {
        Step::Key(key) => {
            if value.is_null() {
                *value = Value::Object(serde_json::Map::new());
            }
            let Some(map) = value.as_object_mut() else { return };
            if rest.is_empty() && fix.value.is_none() {
                map.remove(key);
            } else if fix.value.is_some() || map.contains_key(key) {
                apply(map.entry(key.clone()).or_insert(Value::Null), rest, fix);
            }
        }
        Step::Index(index) => {
            if let Some(item) = value.get_mut(*index) {
                apply(item, rest, fix);
            }
        }
        Step::Each => {
            for item in value.as_array_mut().into_iter().flatten() {
                apply(item, rest, fix);
            }
        }
    }
}
