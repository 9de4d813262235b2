//! `--fix`: what policies can mend is mended in the file's own text, and the result is scanned again before anybody gets it.

use rustc_hash::FxHashMap;

use crate::edit::{self, Change, Key};
use crate::engine;
use crate::expr::{Root, Step};
use crate::kube::{self, Object};
use crate::model::{self, Document, NodeId, Syntax};
use crate::policy::{Fix, Policy, Severity};
use crate::scan::{FileScan, Outcome, Settings, Status, scan_text};

/// A text after mending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// The text; as it was where nothing could be mended.
    pub text: String,
    /// How many findings are gone.
    pub gone: usize,
    /// How many are left.
    pub left: usize,
    /// The worst severity that is left, where there are severities.
    pub worst: Option<Severity>,
    /// What could not be mended although its policy says how: line and reason.
    pub refused: Vec<String>,
}

/// A mended place may be one that another policy mends too, or that needs a second change.
const ROUNDS: usize = 6;

/// Mends what failed and is neither suppressed nor without a `fix`. Nothing is changed where the result would have a finding that was
/// not there before.
pub fn mend(name: &str, text: &str, settings: &Settings<'_>) -> Mended {
    let first = scan_text(name, text, settings);
    let before = failures(&first, settings);
    let worst = worst(&first, settings);
    let unchanged = |refused| Mended { text: text.to_owned(), gone: 0, left: before.values().sum(), worst, refused };
    if let Outcome::Unparsed { reason, .. } = &first.outcome {
        return unchanged(vec![format!("{name}: left alone: {reason}")]);
    }
    let mut now = text.to_owned();
    let mut refused = Vec::new();
    let mut scan = first;
    for _ in 0..ROUNDS {
        let changes = changes(&now, &scan, settings);
        if changes.is_empty() {
            break;
        }
        let edited = match edit::apply(&now, &changes) {
            Ok(edited) => edited,
            Err((at, why)) => return unchanged(vec![format!("{name}:{at}: {why}")]),
        };
        refused = edited.refused.iter().map(|(at, why)| format!("{name}:{at}: not mended: {why}")).collect();
        if edited.text == now {
            break;
        }
        now = edited.text;
        scan = scan_text(name, &now, settings);
        if !is_whole(&scan) {
            return unchanged(vec![format!("{name}: not mended: the result could not be read again")]);
        }
    }
    let after = failures(&scan, settings);
    if let Some((id, resource, _)) =
        after.iter().find(|(key, count)| before.get(*key).unwrap_or(&0) < *count).map(|(key, _)| key)
    {
        return unchanged(vec![format!("{name}: not mended: {resource} would fail {id}")]);
    }
    let (was, left) = (before.values().sum::<usize>(), after.values().sum::<usize>());
    Mended { text: now, gone: was - left, left, worst: self::worst(&scan, settings), refused }
}

fn worst(scan: &FileScan, settings: &Settings<'_>) -> Option<Severity> {
    let failed = scan.findings.iter().filter(|finding| finding.status == Status::Failed);
    failed.map(|finding| finding.policy(settings.catalogue).severity).max()
}

fn is_whole(scan: &FileScan) -> bool {
    matches!(scan.outcome, Outcome::Scanned { .. })
}

type Failures = FxHashMap<(String, String, String), usize>;

/// Policy, resource, container, and how often they failed.
fn failures(scan: &FileScan, settings: &Settings<'_>) -> Failures {
    let mut found = Failures::default();
    for finding in scan.findings.iter().filter(|finding| finding.status == Status::Failed) {
        let policy = finding.policy(settings.catalogue).id.clone();
        let container = finding.container.as_deref().unwrap_or_default().to_owned();
        *found.entry((policy, finding.resource.to_string(), container)).or_default() += 1;
    }
    found
}

/// The changes that the failed policies ask for.
fn changes(text: &str, scan: &FileScan, settings: &Settings<'_>) -> Vec<Change> {
    let mut wanted: FxHashMap<(u32, &str, u32), ()> = FxHashMap::default();
    for finding in scan.findings.iter().filter(|finding| finding.status == Status::Failed) {
        if !finding.policy(settings.catalogue).fix.is_empty() {
            wanted.insert((finding.document, &finding.json_path, finding.policy.0), ());
        }
    }
    let mut found = Vec::new();
    let mut number = 0;
    let mut each = |document: Document| {
        for object in kube::objects(&document) {
            // What is too large was said by the scan.
            let _ = engine::evaluate(settings.catalogue, &object, false, &mut |verdict| {
                if verdict.failed && wanted.contains_key(&(number, verdict.json_path.as_str(), verdict.policy.0)) {
                    let policy = settings.catalogue.get(verdict.policy);
                    found.extend(of_policy(policy, &object, &verdict.item_path, number as usize));
                }
            });
        }
        number += 1;
    };
    // It was read before, to the same end.
    let _ = model::read(text, Syntax::Guess, &settings.limits, &mut each);
    found
}

fn of_policy(policy: &Policy, object: &Object<'_>, item: &str, document: usize) -> Vec<Change> {
    policy.fix.iter().flat_map(|fix| of_fix(fix, object, item, document)).collect()
}

fn of_fix(fix: &Fix, object: &Object<'_>, item: &str, document: usize) -> Vec<Change> {
    let pod = object.pod.as_ref();
    let base = match fix.path.root {
        Root::Object => Some(object.path.as_str()),
        Root::Pod => pod.map(|pod| pod.spec_path.as_str()),
        Root::PodMeta => pod.map(|pod| pod.meta_path.as_str()),
        _ => Some(item),
    };
    let Some(base) = base.and_then(edit::keys) else { return Vec::new() };
    let start = object.document.root().and_then(|root| follow(object.document, root, &base));
    let mut paths = Vec::new();
    expand(object.document, start, &fix.path.steps, base, &mut paths);
    paths.into_iter().map(|path| Change { document, path, value: fix.value.clone() }).collect()
}

fn follow(document: &Document, root: NodeId, path: &[Key]) -> Option<NodeId> {
    path.iter().try_fold(root, |node, key| match key {
        Key::Name(name) => document.get(node, name),
        Key::Index(index) => document.items(node).get(*index).copied(),
    })
}

/// The path for each item of the lists on its way; what is missing is written as it is named.
fn expand(document: &Document, node: Option<NodeId>, steps: &[Step], path: Vec<Key>, paths: &mut Vec<Vec<Key>>) {
    let Some((step, rest)) = steps.split_first() else {
        paths.push(path);
        return;
    };
    let mut to = |node: Option<NodeId>, key: Key| {
        let mut path = path.clone();
        path.push(key);
        expand(document, node, rest, path, paths);
    };
    match step {
        Step::Key(key) => to(node.and_then(|node| document.get(node, key)), Key::Name(key.clone())),
        Step::Index(index) => {
            to(node.and_then(|node| document.items(node).get(*index).copied()), Key::Index(*index));
        }
        Step::Each => {
            let Some(node) = node else { return };
            for (index, item) in document.items(node).iter().enumerate() {
                to(Some(*item), Key::Index(index));
            }
            for (key, entry) in document.entries(node) {
                to(Some(entry.value), Key::Name(key.to_owned()));
            }
        }
    }
}
