//! What the fuzz targets run, here so that the tests replay their corpus with the same code. Whatever comes in, nothing panics, places
//! are within the text, and what was changed is what was meant to be changed.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::cis::config::{self, Config, Variable};
use crate::cis::controls::{self, Check};
use crate::cis::evaluate::{Outputs, evaluate};
use crate::cis::path::Path;
use crate::cis::shell;
use crate::cluster::fuzz_watch;
use crate::edit::{self, Change, Key};
use crate::expr;
use crate::fix::mend;
use crate::model::{self, Document, Limits, NodeId, Syntax};
use crate::policy::Catalogue;
use crate::policy::users::UserFile;
use crate::scan::suppress::{Suppressions, Waivers};
use crate::scan::{FileScan, Settings, Status, scan_text};
use crate::vap::cel::{Expression, Rule};

/// Small, so that inputs that are large on purpose end soon.
const LIMITS: Limits = Limits { file_bytes: 1 << 20, depth: 64, nodes: 20_000, documents: 200, findings: 5_000 };

fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(Catalogue::built_in)
}

fn with_settings<T>(work: impl FnOnce(&Settings<'_>) -> T) -> T {
    let suppressions = Suppressions::default();
    let today = "2026-11-25".parse().expect("a day");
    let catalogue = catalogue();
    work(&Settings { catalogue, limits: LIMITS, passes: false, suppressions: &suppressions, today, threads: 1 })
}

/// Scans a text under a name; every finding has its place in it.
fn scan(name: &str, text: &str) -> FileScan {
    let scan = with_settings(|settings| scan_text(name, text, settings));
    let lines = u32::try_from(text.split('\n').count()).unwrap_or(u32::MAX);
    for finding in &scan.findings {
        assert!((1..=lines).contains(&finding.at.line) && finding.at.column > 0, "{:?} of {lines}", finding.at);
    }
    scan
}

fn documents(text: &str, syntax: Syntax) -> Option<Vec<Document>> {
    let mut documents = Vec::new();
    model::read(text, syntax, &LIMITS, &mut |document| documents.push(document)).ok()?;
    Some(documents)
}

fn json_of(document: &Document) -> Value {
    document.root().map_or(Value::Null, |root| document.to_json(root))
}

/// YAML and JSON: what was read is written as JSON and read again as the same.
pub fn yaml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for syntax in [Syntax::Yaml, Syntax::Json, Syntax::Guess] {
        for document in documents(text, syntax).into_iter().flatten() {
            let value = json_of(&document);
            let again = documents(&value.to_string(), Syntax::Json).expect("JSON");
            assert_eq!(again.iter().map(json_of).collect::<Vec<_>>(), [value]);
        }
    }
    scan("a.yaml", text);
    // Comments that suppress stand in any text.
    let _ = Waivers::in_comments(text);
}

/// The editor behind `--fix`. The first byte chooses a value of the YAML that follows, the second what it becomes; nothing else
/// changes, or nothing at all.
pub fn fix(data: &[u8]) {
    let [which, what, text @ ..] = data else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let mended = with_settings(|settings| mend("a.yaml", text, settings));
    if mended.text != text {
        let fails = |finding: &&crate::scan::Finding| finding.status == Status::Failed;
        assert_eq!(scan("a.yaml", &mended.text).findings.iter().filter(fails).count(), mended.left);
        assert!(mended.left < scan("a.yaml", text).findings.iter().filter(fails).count());
    }
    let Some(before) = documents(text, Syntax::Guess) else { return };
    let mut places = Vec::new();
    for (number, document) in before.iter().enumerate() {
        if let Some(root) = document.root() {
            let mut path = Vec::new();
            if !collect(document, root, number, &mut path, &mut places) {
                return;
            }
        }
    }
    let Some((number, path)) = places.get(usize::from(*which) % places.len().max(1)) else { return };
    let values = [json!(false), json!("a: #b"), json!({ "x": { "y": [1] } }), json!(["ALL"]), json!({}), json!(null)];
    let value = values.get(usize::from(*what) % (values.len() + 1)).cloned();
    let mut wanted: Vec<Value> = before.iter().map(json_of).collect();
    if !put(&mut wanted[*number], path, value.clone()) || (value.is_none() && text.contains("<<")) {
        return;
    }
    let Ok(edited) = edit::apply(text, &[Change { document: *number, path: path.clone(), value: value.clone() }])
    else {
        return;
    };
    if !edited.refused.is_empty() {
        assert_eq!(edited.text, text, "{:?}", edited.refused);
        return;
    }
    let after = documents(&edited.text, Syntax::Guess).unwrap_or_else(|| panic!("{path:?} {value:?}\n{}", edited.text));
    assert_eq!(after.iter().map(json_of).collect::<Vec<_>>(), wanted, "{path:?} {value:?}\n{}", edited.text);
}

/// The paths of all values; false where a key is there twice, so that nobody could say which one is meant.
fn collect(
    document: &Document,
    id: NodeId,
    number: usize,
    path: &mut Vec<Key>,
    places: &mut Vec<(usize, Vec<Key>)>,
) -> bool {
    if places.len() > 300 {
        return true;
    }
    places.push((number, path.clone()));
    let entries: Vec<_> = document.entries(id).map(|(key, entry)| (Key::Name(key.to_owned()), entry.value)).collect();
    let items = document.items(id).iter().enumerate().map(|(index, item)| (Key::Index(index), *item));
    if entries.iter().enumerate().any(|(at, (key, _))| entries[..at].iter().any(|(known, _)| known == key)) {
        return false;
    }
    entries.into_iter().chain(items).all(|(key, child)| {
        path.push(key);
        let good = collect(document, child, number, path, places);
        path.pop();
        good
    })
}

/// Makes the change in JSON; false where there is no such change.
fn put(value: &mut Value, path: &[Key], to: Option<Value>) -> bool {
    match (path, to) {
        ([], Some(to)) => {
            *value = to;
            true
        }
        ([], None) | ([Key::Index(_)], None) => false,
        ([Key::Name(name)], None) => value.as_object_mut().is_some_and(|map| map.remove(name).is_some()),
        ([key, rest @ ..], to) => {
            let inner = match key {
                Key::Name(name) => value.get_mut(name),
                Key::Index(index) => value.get_mut(index),
            };
            inner.is_some_and(|inner| put(inner, rest, to))
        }
    }
}

/// Terraform's language, read and evaluated.
pub fn hcl(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    scan("main.tf", text);
    scan("terraform.tfvars", text);
}

/// A Dockerfile.
pub fn dockerfile(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    scan("Dockerfile", text);
}

/// Templates and plans of clouds, compose files, workflows and pipelines: by what is in them, and by their name.
pub fn templates(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for name in ["template.yaml", "plan.json", "serverless.yml", ".gitlab-ci.yml", ".github/workflows/a.yml"] {
        scan(name, text);
    }
}

/// kube-bench's grammar: controls with their audits (read, never run) and tests, settings, what variables stand for.
pub fn controls(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let outputs = || {
        let config =
            "kind: KubeletConfiguration\nauthentication: {anonymous: {enabled: false}, webhook: {cacheTTL: 0s}}\n";
        let audit = "/usr/bin/kubelet --anonymous-auth=false --tls-cipher-suites=A,B, --event-qps 5\nroot:root 600";
        Outputs { audit: audit.to_owned(), config: config.to_owned(), env: "ETCD_X=true\n".to_owned() }
    };
    let judge = |check: &Check| {
        for script in [&check.audit, &check.audit_config, &check.audit_env] {
            let _ = shell::check(script);
        }
        evaluate(check, &outputs());
    };
    if let Ok(controls) = controls::read("controls.yaml", text) {
        controls.groups.iter().flat_map(|group| &group.checks).for_each(judge);
    }
    if let Ok(mut config) = Config::read("config.yaml", text) {
        let benchmark = config.benchmark("1.33");
        let _ = config.targets(benchmark.as_deref().unwrap_or("cis-1.12"));
        config.lay_over(config.clone());
    }
    let variables = ["$kubeletbin", "$kubeletconf"].map(|name| Variable {
        name: name.to_owned(),
        value: "a b".to_owned(),
        program: name.ends_with("bin"),
    });
    config::substitute(text, &variables);
}

/// A script of an audit, and a pattern with a text behind a zero byte.
pub fn shell(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = shell::check(text);
    let (pattern, rest) = text.split_once('\0').unwrap_or((text, text));
    shell::fits(pattern, rest);
}

/// An expression in CEL, evaluated on an object.
pub fn cel(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(expression) = Expression::parse(text) else { return };
    let rule = Rule {
        variables: vec![("v".to_owned(), expression.clone())],
        expressions: vec![expression],
        negated: false,
        on_error: false,
        groups: vec!["*".to_owned()],
    };
    let _ = rule.evaluate(&object());
}

fn object() -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "labels": { "a/b": "c" } },
        "spec": { "replicas": 3, "containers": [{ "name": "x", "ports": [{ "containerPort": 80 }] }, { "name": "y" }] } })
}

/// Predicates, their paths, and the paths of kubectl, which are followed in an object.
pub fn paths(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = expr::parse(text);
    if let Some(keys) = edit::keys(text) {
        put(&mut object(), &keys, Some(Value::Null));
    }
    if let Ok(path) = Path::parse(text) {
        let _ = path.text_of(&object());
    }
}

/// Files that users write for a scan: policies in our form and as ValidatingAdmissionPolicy, and suppressions.
pub fn user_files(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(file) = UserFile::parse("own.yaml", text)
        && let Ok(catalogue) = Catalogue::new(file.policies)
    {
        let suppressions = Suppressions::default();
        let today = "2026-11-25".parse().expect("a day");
        let settings = Settings {
            catalogue: &catalogue,
            limits: LIMITS,
            passes: true,
            suppressions: &suppressions,
            today,
            threads: 1,
        };
        scan_text("a.json", &object().to_string(), &settings);
    }
    let _ = Suppressions::parse("own.yaml", text);
}

/// Lines that an API server sends while a list is watched.
pub fn watch(data: &[u8]) {
    fuzz_watch(data);
}
