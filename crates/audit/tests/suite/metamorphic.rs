//! The same objects written otherwise get the same verdicts. The objects are the examples of all policies.

use std::fmt::Write as _;

use ringfort_audit::model::{Limits, Syntax, read};
use ringfort_audit::policy::Catalogue;
use ringfort_audit::scan::{FileScan, Status};
use serde_json::Value;

use crate::support::{catalogue, scan};

/// Policies that look at the object's own name, so that another name is another question.
const BY_NAME: [&str; 8] = [
    "RF-K8S-0025",
    "RF-K8S-0033",
    "RF-K8S-0040",
    "RF-K8S-0291",
    "RF-K8S-0292",
    "RF-K8S-0293",
    "RF-K8S-0041",
    "RF-K8S-0077",
];

struct Manifest {
    id: String,
    text: String,
    objects: Vec<Value>,
}

fn manifests() -> Vec<Manifest> {
    let mut all = Vec::new();
    for policy in catalogue().policies().iter().filter(|policy| policy.id.starts_with("RF-K8S-")) {
        let examples = Catalogue::built_in_examples(&policy.id).expect("built in").expect("good examples");
        for example in examples.all {
            let mut objects = Vec::new();
            read(&example.manifest, Syntax::Guess, &Limits::default(), &mut |document| {
                objects.extend(document.root().map(|root| document.to_json(root)));
            })
            .expect("the example is well-formed");
            all.push(Manifest { id: format!("{} {}", policy.id, example.label), text: example.manifest, objects });
        }
    }
    assert!(all.len() > 500, "{} manifests", all.len());
    all
}

/// Policy, container and verdict of every finding, sorted; names of objects left out.
fn verdicts(scan: &FileScan) -> Vec<(String, String, bool)> {
    let mut all: Vec<_> = scan
        .findings
        .iter()
        .map(|finding| {
            let container = finding.container.as_deref().unwrap_or_default().to_owned();
            (finding.policy(catalogue()).id.clone(), container, finding.status == Status::Failed)
        })
        .collect();
    all.sort();
    all
}

/// Checks that every manifest has the same verdicts when it is written as `rewrite` says.
fn holds_for_all(name: &str, rewrite: impl Fn(&Manifest) -> String) {
    let mut wrong = Vec::new();
    for manifest in manifests() {
        let before = verdicts(&scan("a.yaml", &manifest.text));
        let text = rewrite(&manifest);
        let after = verdicts(&scan(name, &text));
        if before != after {
            wrong.push(format!("{}:\n{text}\n{before:?}\n{after:?}", manifest.id));
        }
    }
    assert!(wrong.is_empty(), "{} manifests, the first is {}", wrong.len(), wrong[0]);
}

/// YAML in block style; keys in the order of `order`, texts in double quotes.
fn block(value: &Value, indent: usize, reverse: bool, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut entries: Vec<_> = map.iter().collect();
            if reverse {
                entries.reverse();
            }
            for (key, value) in entries {
                let _ = write!(out, "\n{:indent$}{}:", "", Value::from(key.as_str()));
                block(value, indent + 2, reverse, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(out, "\n{:indent$}-", "");
                block(item, indent + 2, reverse, out);
            }
        }
        scalar => {
            let _ = write!(out, " {scalar}");
        }
    }
}

fn documents(objects: &[Value], one: impl Fn(&Value) -> String) -> String {
    objects.iter().map(|object| format!("---\n{}\n", one(object))).collect()
}

fn as_block(object: &Value, reverse: bool) -> String {
    let mut out = String::new();
    block(object, 0, reverse, &mut out);
    out
}

#[test]
fn block_style_in_any_order_of_keys() {
    holds_for_all("a.yaml", |manifest| documents(&manifest.objects, |object| as_block(object, false)));
    holds_for_all("a.yaml", |manifest| documents(&manifest.objects, |object| as_block(object, true)));
}

#[test]
fn json_compact_and_spread_out_and_as_yaml_in_flow_style() {
    let lines = |objects: &[Value]| objects.iter().map(|object| format!("{object}\n")).collect::<String>();
    holds_for_all("a.json", |manifest| lines(&manifest.objects));
    holds_for_all("a.json", |manifest| manifest.objects.iter().map(|object| format!("{object:#}\n")).collect());
    holds_for_all("a.yaml", |manifest| documents(&manifest.objects, |object| format!("{object:#}")));
}

#[test]
fn line_ends_of_windows_and_a_byte_order_mark() {
    holds_for_all("a.yaml", |manifest| manifest.text.replace('\n', "\r\n"));
    holds_for_all("a.yaml", |manifest| format!("\u{feff}{}", manifest.text));
    holds_for_all("a.yaml", |manifest| format!("\u{feff}{}", manifest.text.replace('\n', "\r\n")));
    let lines = |objects: &[Value]| objects.iter().map(|object| format!("{object:#}\r\n")).collect::<String>();
    holds_for_all("a.json", |manifest| format!("\u{feff}{}", lines(&manifest.objects)));
}

#[test]
fn comments_blank_lines_and_document_marks() {
    holds_for_all("a.yaml", |manifest| {
        let spaced: String = manifest.text.lines().fold(String::from("# a comment\n---\n"), |mut out, line| {
            // Between the lines of a text in block style a comment would be text.
            out.push_str(line);
            out.push('\n');
            out
        });
        format!("{spaced}...\n# the end\n")
    });
}

#[test]
fn a_list_of_objects_as_json_and_yaml() {
    let list = |objects: &[Value]| serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
    holds_for_all("a.json", |manifest| list(&manifest.objects).to_string());
    holds_for_all("a.yaml", |manifest| as_block(&list(&manifest.objects), true));
    holds_for_all("a.yaml", |manifest| {
        let inner = list(&manifest.objects);
        list(&[inner]).to_string()
    });
}

#[test]
fn anchors_aliases_and_merge_keys() {
    holds_for_all("a.yaml", |manifest| {
        documents(&manifest.objects, |object| {
            let Value::Object(map) = object else { return object.to_string() };
            // All values stand behind anchors first, and the object is made of aliases.
            let mut anchors = String::from("{apiVersion: v1, kind: List, anchors: {");
            let mut aliases = String::new();
            for (number, (key, value)) in map.iter().enumerate() {
                let _ = write!(anchors, "a{number}: &a{number} {value}, ");
                let _ = write!(aliases, "{}: *a{number} , ", Value::from(key.as_str()));
            }
            format!("{anchors}}}, items: [{{{aliases}}}]}}")
        })
    });
    holds_for_all("a.yaml", |manifest| {
        documents(&manifest.objects, |object| {
            let Value::Object(map) = object else { return object.to_string() };
            let merged: Vec<_> = map
                .iter()
                .map(|(key, value)| match value {
                    Value::Object(inner) if !inner.is_empty() => {
                        format!("{}: {{<<: {value}}}", Value::from(key.as_str()))
                    }
                    _ => format!("{}: {value}", Value::from(key.as_str())),
                })
                .collect();
            format!("{{<<: [{{{}}}]}}", merged.join(", "))
        })
    });
}

#[test]
fn another_name_of_the_object() {
    let mut wrong = Vec::new();
    for manifest in manifests() {
        let renamed: String = manifest
            .objects
            .iter()
            .map(|object| {
                let mut object = object.clone();
                object["metadata"]["name"] = Value::from("quite-another-name");
                format!("{object}\n")
            })
            .collect();
        let own = |scan: &FileScan| {
            let all = verdicts(scan).into_iter();
            all.filter(|(id, _, _)| !BY_NAME.contains(&id.as_str())).collect::<Vec<_>>()
        };
        if own(&scan("a.yaml", &manifest.text)) != own(&scan("a.json", &renamed)) {
            wrong.push(manifest.id);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn one_file_of_all_documents_or_a_file_for_each() {
    let all = manifests();
    let mut apart: Vec<_> = all.iter().flat_map(|manifest| verdicts(&scan("a.yaml", &manifest.text))).collect();
    let joined: String = all.iter().map(|manifest| format!("---\n{}\n", manifest.text)).collect();
    let mut together = verdicts(&scan("a.yaml", &joined));
    apart.sort();
    together.sort();
    assert_eq!(apart.len(), together.len());
    assert!(apart == together, "the same verdicts");
}
