//! Says which place of the document made a predicate hold, for the finding's line and JSON path.

use super::{Expr, Path, Root, Scope, Step, Term, holds};
use crate::model::{NodeId, Value, push_index, push_key};

/// A place, relative to one of the roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What `path` is relative to; never [`Root::Here`].
    pub root: Root,
    /// JSON path, empty for the root itself. It may go on where the document ends: `securityContext.privileged` of a container
    /// without a security context.
    pub path: String,
    /// The deepest node on the way that exists, `None` where the root itself is missing.
    pub node: Option<NodeId>,
}

/// The place that made `expr` hold in `scope`; the item itself where no path is to blame.
pub fn blame(expr: &Expr, scope: &Scope<'_>) -> Place {
    let item = Place { root: Root::Item, path: String::new(), node: Some(scope.item) };
    find(expr, scope, &item).unwrap_or(item)
}

/// Where a path leads, or would lead.
pub fn place(path: &Path, scope: &Scope<'_>) -> Place {
    let item = Place { root: Root::Item, path: String::new(), node: Some(scope.item) };
    go(path, scope, &item)
}

fn find(expr: &Expr, scope: &Scope<'_>, here: &Place) -> Option<Place> {
    match expr {
        Expr::And(all) => all.iter().find_map(|inner| find(inner, scope, here)),
        Expr::Or(all) => all.iter().filter(|inner| holds(inner, scope)).find_map(|inner| find(inner, scope, here)),
        Expr::Not(inner) => match &**inner {
            Expr::All(path, inner) => {
                let mut found = None;
                each(path, scope, here, &mut |place, node| {
                    let scope = scope.within(node);
                    if found.is_none() && !holds(inner, &scope) {
                        found = Some(place.clone());
                    }
                });
                found.or_else(|| Some(go(path, scope, here)))
            }
            Expr::Not(inner) => find(inner, scope, here),
            Expr::And(all) => all
                .iter()
                .filter(|inner| !holds(inner, scope))
                .find_map(|inner| inner.first_path().map(|path| located(inner, path, scope, here))),
            inner => inner.first_path().map(|path| located(inner, path, scope, here)),
        },
        Expr::Any(path, inner) => {
            let mut found = None;
            each(path, scope, here, &mut |place, node| {
                let scope = scope.within(node);
                if found.is_none() && holds(inner, &scope) {
                    found = Some(find(inner, &scope, place).unwrap_or_else(|| place.clone()));
                }
            });
            found
        }
        Expr::All(path, _) => Some(go(path, scope, here)),
        Expr::Compare(..) | Expr::Exists(_) | Expr::Matches(..) | Expr::Text(..) => {
            let path = expr.first_path()?;
            if !is_effective(expr) && (path.steps.contains(&Step::Each) || scope.cloud.is_some()) {
                let inner = here_instead(expr);
                let mut found = None;
                each(path, scope, here, &mut |place, node| {
                    if found.is_none() && holds(&inner, &Scope { here: node, ..*scope }) {
                        found = Some(place.clone());
                    }
                });
                return found.or_else(|| Some(go(path, scope, here)));
            }
            Some(located(expr, path, scope, here))
        }
        Expr::Program(_) | Expr::Cel(_) => None,
    }
}

fn located(expr: &Expr, path: &Path, scope: &Scope<'_>, here: &Place) -> Place {
    if !is_effective(expr) {
        return go(path, scope, here);
    }
    let steps = std::iter::once(Step::Key("securityContext".to_owned())).chain(path.steps.iter().cloned()).collect();
    let mut path = Path { root: Root::Item, steps };
    let of_item = go(&path, scope, here);
    path.root = Root::Pod;
    let of_pod = go(&path, scope, here);
    // The one that says it, else the container's, where it should be said.
    let says = |place: &Place, start: Option<NodeId>| {
        start.is_some_and(|start| place.node.is_some_and(|node| node != start) && exact(&path.steps, scope, start))
    };
    if !says(&of_item, Some(scope.item)) && says(&of_pod, scope.pod) { of_pod } else { of_item }
}

fn exact(steps: &[Step], scope: &Scope<'_>, start: NodeId) -> bool {
    steps
        .iter()
        .try_fold(start, |node, step| match step {
            Step::Key(key) => scope.document.get(node, key),
            Step::Index(index) => scope.document.items(node).get(*index).copied(),
            Step::Each => Some(node),
        })
        .is_some()
}

fn is_effective(expr: &Expr) -> bool {
    let within = |mut term: &Term| loop {
        match term {
            Term::Effective(_) => return true,
            Term::Count(inner) | Term::Map(_, inner) | Term::Split(inner, _) | Term::Without(inner, _) => term = inner,
            Term::Path(_) | Term::Literals(_) | Term::Flag(_) | Term::Words => return false,
        }
    };
    match expr {
        Expr::Compare(_, left, _) | Expr::Exists(left) | Expr::Matches(left, _) | Expr::Text(_, left, _) => {
            within(left)
        }
        Expr::And(_) | Expr::Or(_) | Expr::Not(_) | Expr::Any(..) | Expr::All(..) | Expr::Program(_) | Expr::Cel(_) => {
            false
        }
    }
}

/// The same test with its first path replaced by the value under consideration.
fn here_instead(expr: &Expr) -> Expr {
    fn swap(term: &mut Term) -> bool {
        match term {
            Term::Path(path) => {
                *path = Path { root: Root::Here, steps: Vec::new() };
                true
            }
            Term::Count(inner) | Term::Map(_, inner) | Term::Split(inner, _) | Term::Without(inner, _) => swap(inner),
            Term::Effective(_) | Term::Literals(_) | Term::Flag(_) | Term::Words => false,
        }
    }
    let mut expr = expr.clone();
    match &mut expr {
        Expr::Compare(_, left, right) | Expr::Text(_, left, right) => {
            let _ = swap(left) || swap(right);
        }
        Expr::Exists(term) | Expr::Matches(term, _) => {
            swap(term);
        }
        Expr::And(_) | Expr::Or(_) | Expr::Not(_) | Expr::Any(..) | Expr::All(..) | Expr::Program(_) | Expr::Cel(_) => {
        }
    }
    expr
}

fn start(path: &Path, scope: &Scope<'_>, here: &Place) -> Place {
    let node = match path.root {
        Root::Here => return here.clone(),
        Root::Item => Some(scope.item),
        Root::Object => Some(scope.object),
        Root::Pod => scope.pod,
        Root::PodMeta => scope.pod_meta,
        Root::Outer => return Place { root: Root::Item, path: String::new(), node: Some(scope.outer) },
        // What is wrong with the links of a resource is its own fault.
        Root::Users | Root::Uses => return Place { root: Root::Item, path: String::new(), node: Some(scope.item) },
    };
    Place { root: path.root, path: String::new(), node }
}

/// Follows a path as far as it is one way; a list on the way ends it.
fn go(path: &Path, scope: &Scope<'_>, here: &Place) -> Place {
    let mut place = start(path, scope, here);
    let mut alive = place.node;
    let is_link = matches!(path.root, Root::Users | Root::Uses);
    for step in path.steps.iter().filter(|_| !is_link) {
        // The lists of a cloud's resource are transparent.
        if scope.cloud.is_some()
            && matches!(step, Step::Key(_))
            && let Some(first) = alive.and_then(|node| scope.document.items(node).first())
        {
            push_index(&mut place.path, 0);
            alive = Some(*first);
            place.node = alive;
        }
        let next = match step {
            Step::Key(key) => {
                push_key(&mut place.path, key);
                alive.and_then(|node| scope.document.entry(node, key)).map(|entry| entry.value)
            }
            Step::Index(index) => {
                push_index(&mut place.path, *index);
                alive.and_then(|node| scope.document.items(node).get(*index).copied())
            }
            Step::Each => break,
        };
        alive = next;
        if next.is_some() {
            place.node = next;
        }
    }
    place
}

fn each(path: &Path, scope: &Scope<'_>, here: &Place, visit: &mut dyn FnMut(&Place, NodeId)) {
    let place = start(path, scope, here);
    if let Some(node) = place.node {
        descend(&path.steps, scope, node, place, visit);
    }
}

fn descend(steps: &[Step], scope: &Scope<'_>, node: NodeId, place: Place, visit: &mut dyn FnMut(&Place, NodeId)) {
    let document = scope.document;
    if scope.cloud.is_some()
        && !matches!(steps.first(), Some(Step::Each | Step::Index(_)))
        && let Value::Seq(items) = document.value(node)
    {
        for (index, item) in items.iter().enumerate() {
            let mut place = Place { root: place.root, path: place.path.clone(), node: Some(*item) };
            push_index(&mut place.path, index);
            descend(steps, scope, *item, place, visit);
        }
        return;
    }
    let Some((step, rest)) = steps.split_first() else {
        if !document.is_null(node) {
            visit(&place, node);
        }
        return;
    };
    let mut to = |next: NodeId, push: &dyn Fn(&mut String)| {
        let mut place = Place { root: place.root, path: place.path.clone(), node: Some(next) };
        push(&mut place.path);
        descend(rest, scope, next, place, visit);
    };
    match step {
        Step::Key(key) => {
            if let Some(next) = document.get(node, key) {
                to(next, &|path| push_key(path, key));
            }
        }
        Step::Index(index) => {
            if let Some(next) = document.items(node).get(*index) {
                to(*next, &|path| push_index(path, *index));
            }
        }
        Step::Each => match document.value(node) {
            Value::Seq(items) => {
                for (index, item) in items.iter().enumerate() {
                    to(*item, &|path| push_index(path, index));
                }
            }
            Value::Map(_) => {
                for (key, entry) in document.entries(node) {
                    to(entry.value, &|path| push_key(path, key));
                }
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => {}
        },
    }
}
