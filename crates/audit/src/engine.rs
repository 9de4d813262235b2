//! Evaluates policies on objects. Nothing here reads a file or keeps anything between objects.

use crate::expr::{self, Budget, CloudScope, Place, Root, Scope};
use crate::kube::{Group, Object};
use crate::model::{Mark, NodeId, push_index, push_key};
use crate::policy::{Catalogue, Each, Policy, PolicyIndex};

/// A verdict of one policy about one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Which policy.
    pub policy: PolicyIndex,
    /// Whether it failed.
    pub failed: bool,
    /// Whether it depends on what is only known when the configuration is applied: neither failed nor passed.
    pub unknown: bool,
    /// Where: of a failure what is to blame, of a pass the item.
    pub at: Mark,
    /// JSON path of the same. It may name what is missing.
    pub json_path: String,
    /// JSON path of the item that the policy looked at.
    pub item_path: String,
    /// The container that the item is, or is in, by its index in the pod's list of containers.
    pub container: Option<usize>,
    /// First and last line of the item.
    pub lines: (u32, u32),
}

struct Item {
    node: NodeId,
    path: String,
    container: Option<usize>,
}

/// Steps that the policies may take on one object. A large real one (a few hundred containers) takes a hundredth of it.
const STEPS: u64 = 100_000_000;
/// What one verdict costs of them, so that their number is limited too.
const STEPS_OF_VERDICT: u64 = 1_000;

/// Not every policy could be evaluated to its end: the object is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// Evaluates every policy of the catalogue that has something to say about the object. Passes are told only where `passes`.
///
/// # Errors
/// Where the object is so large that its policies were not evaluated to their end; verdicts until then were told.
pub fn evaluate(
    catalogue: &Catalogue,
    object: &Object<'_>,
    passes: bool,
    tell: &mut dyn FnMut(Verdict),
) -> Result<(), TooLarge> {
    let budget = Budget::new(STEPS);
    for (index, policy) in catalogue.for_object(object) {
        for_each_item(policy, object, &mut |item| {
            if budget.is_spent() {
                return;
            }
            let scope = scope(object, item.node, &budget);
            if policy.when.as_ref().is_some_and(|when| !expr::holds(when, &scope)) {
                return;
            }
            let failed = expr::holds(&policy.fails, &scope);
            let unknown = !failed && scope.cloud.is_some() && expr::holds(&policy.fails, &scope.if_unknown_holds());
            if (!failed && !passes && !unknown) || !budget.spend(STEPS_OF_VERDICT) {
                return;
            }
            let document = object.document;
            let (at, json_path) = if failed {
                let place = match &policy.at {
                    Some(path) => expr::place(path, &scope),
                    None => expr::blame(&policy.fails, &scope),
                };
                locate(&place, object, item)
            } else {
                (document.at(item.node), item.path.clone())
            };
            let lines = (document.at(item.node).line, document.last_line(item.node));
            let item_path = item.path.clone();
            let container = item.container;
            tell(Verdict { policy: index, failed, unknown, at, json_path, item_path, container, lines });
        });
    }
    if budget.is_spent() { Err(TooLarge) } else { Ok(()) }
}

/// Whether the policy fails for one of the object's items, whatever the object's kind.
pub fn fails_once(policy: &Policy, object: &Object<'_>) -> bool {
    count(policy, object).0 > 0
}

/// Whether the policy has items to look at and fails for all of them, whatever the object's kind.
pub fn fails_always(policy: &Policy, object: &Object<'_>) -> bool {
    let (failed, all) = count(policy, object);
    all > 0 && failed == all
}

/// How many of the object's items the policy fails for, and how many it looks at.
fn count(policy: &Policy, object: &Object<'_>) -> (usize, usize) {
    let budget = Budget::new(STEPS);
    let (mut failed, mut all) = (0, 0);
    for_each_item(policy, object, &mut |item| {
        let scope = scope(object, item.node, &budget);
        if policy.when.as_ref().is_none_or(|when| expr::holds(when, &scope)) {
            all += 1;
            failed += usize::from(expr::holds(&policy.fails, &scope));
        }
    });
    (failed, all)
}

fn scope<'d>(object: &Object<'d>, item: NodeId, budget: &'d Budget) -> Scope<'d> {
    Scope {
        document: object.document,
        object: object.node,
        item,
        here: item,
        outer: item,
        pod: object.pod.as_ref().map(|pod| pod.spec),
        pod_meta: object.pod.as_ref().and_then(|pod| pod.meta),
        cloud: object.cloud.map(|links| CloudScope { links, unknown_holds: false }),
        budget,
    }
}

fn for_each_item(policy: &Policy, object: &Object<'_>, visit: &mut dyn FnMut(&Item)) {
    let groups: &[Group] = match &policy.each {
        Each::Object => {
            visit(&Item { node: object.node, path: object.path.clone(), container: None });
            return;
        }
        Each::Path(path) => {
            let start = match path.root {
                Root::Here | Root::Outer | Root::Item | Root::Object => Some((object.node, object.path.clone())),
                Root::Pod => object.pod.as_ref().map(|pod| (pod.spec, pod.spec_path.clone())),
                Root::PodMeta => object.pod.as_ref().and_then(|pod| pod.meta.map(|meta| (meta, pod.meta_path.clone()))),
                Root::Users | Root::Uses => None,
            };
            if let Some((node, path_text)) = start {
                items(&path.steps, object, Item { node, path: path_text, container: None }, visit);
            }
            return;
        }
        Each::Containers => &[Group::Main, Group::Init, Group::Ephemeral],
        Each::MainContainers => &[Group::Main],
        Each::InitContainers => &[Group::Init],
    };
    let containers = object.pod.as_ref().map(|pod| pod.containers.as_slice()).unwrap_or_default();
    for (index, container) in containers.iter().enumerate().filter(|(_, container)| groups.contains(&container.group)) {
        visit(&Item { node: container.node, path: container.path.clone(), container: Some(index) });
    }
}

fn items(steps: &[expr::Step], object: &Object<'_>, item: Item, visit: &mut dyn FnMut(&Item)) {
    let document = object.document;
    let Some((step, rest)) = steps.split_first() else {
        if !document.is_null(item.node) {
            visit(&item);
        }
        return;
    };
    let mut to = |node: NodeId, push: &dyn Fn(&mut String)| {
        let mut path = item.path.clone();
        push(&mut path);
        items(rest, object, Item { node, path, container: None }, visit);
    };
    match step {
        expr::Step::Key(key) => {
            if let Some(next) = document.get(item.node, key) {
                to(next, &|path| push_key(path, key));
            }
        }
        expr::Step::Index(index) => {
            if let Some(next) = document.items(item.node).get(*index) {
                to(*next, &|path| push_index(path, *index));
            }
        }
        expr::Step::Each => {
            for (index, next) in document.items(item.node).iter().enumerate() {
                to(*next, &|path| push_index(path, index));
            }
            for (key, entry) in document.entries(item.node) {
                to(entry.value, &|path| push_key(path, key));
            }
        }
    }
}

/// A place relative to a root as line, column and JSON path of the document.
fn locate(place: &Place, object: &Object<'_>, item: &Item) -> (Mark, String) {
    let pod = object.pod.as_ref();
    let (root, fallback) = match place.root {
        Root::Here | Root::Outer | Root::Item | Root::Users | Root::Uses => (item.path.as_str(), item.node),
        Root::Object => (object.path.as_str(), object.node),
        Root::Pod => pod.map_or((object.path.as_str(), object.node), |pod| (pod.spec_path.as_str(), pod.spec)),
        Root::PodMeta => pod
            .map_or((object.path.as_str(), object.node), |pod| (pod.meta_path.as_str(), pod.meta.unwrap_or(pod.spec))),
    };
    let mut path = root.to_owned();
    if !place.path.is_empty() {
        if !path.is_empty() && !place.path.starts_with('[') {
            path.push('.');
        }
        path.push_str(&place.path);
    }
    (object.document.at(place.node.unwrap_or(fallback)), path)
}
