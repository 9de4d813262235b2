//! What a predicate means on a node. A term has any number of values; a comparison holds if it holds for one of them.
//! Every step through the document takes from a budget, so that no file can make a policy run for ever.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::ControlFlow;

use super::words::{capability, image, quantity};
use super::{Expr, Function, Literal, Op, Path, Root, Step, Term, TextTest};
use crate::iac::value::{UNKNOWN_END, UNKNOWN_START};
use crate::kube::{Cloud, Links};
use crate::model::{Document, NodeId, Value};
use crate::vap::cel::Outcome;

/// What paths begin at.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'d> {
    /// The document that the nodes are of.
    pub document: &'d Document,
    /// The whole object.
    pub object: NodeId,
    /// The item that the policy looks at.
    pub item: NodeId,
    /// The value under consideration.
    pub here: NodeId,
    /// The one that was it outside of the innermost `any`, `all` or `none`.
    pub outer: NodeId,
    /// The pod's spec, where the object has one.
    pub pod: Option<NodeId>,
    /// The pod's metadata, where it has any.
    pub pod_meta: Option<NodeId>,
    /// Where the object is a cloud's resource.
    pub cloud: Option<CloudScope<'d>>,
    /// What is left to spend.
    pub budget: &'d Budget,
}

/// A cloud's resource: lists are transparent (a path goes on in each item), texts that say a number or a boolean are equal to it,
/// and there are unknowns.
#[derive(Debug, Clone, Copy)]
pub struct CloudScope<'d> {
    /// What refers to whom.
    pub links: &'d Cloud,
    /// What a test of something unknown comes to.
    pub unknown_holds: bool,
}

impl Scope<'_> {
    /// The same with another value under consideration.
    pub fn within(&self, node: NodeId) -> Self {
        Self { here: node, outer: self.here, ..*self }
    }

    /// The links of the resource under consideration: that of the innermost `any` that went to resources, else the object.
    fn links(&self) -> Option<Links> {
        let links = self.cloud?.links;
        links.get(&self.here).or_else(|| links.get(&self.object)).copied()
    }

    /// The same with every test of something unknown as it is not now.
    fn flipped(&self) -> Self {
        let cloud = self.cloud.map(|cloud| CloudScope { unknown_holds: !cloud.unknown_holds, ..cloud });
        Self { cloud, ..*self }
    }

    /// The same with every test of something unknown holding.
    pub fn if_unknown_holds(&self) -> Self {
        Self { cloud: self.cloud.map(|cloud| CloudScope { unknown_holds: true, ..cloud }), ..*self }
    }

    fn unknown_holds(&self) -> bool {
        self.cloud.is_some_and(|cloud| cloud.unknown_holds)
    }
}

/// How many steps evaluation may still take. With none left every path leads nowhere.
#[derive(Debug)]
pub struct Budget(Cell<u64>);

impl Budget {
    /// A budget of this many steps.
    pub fn new(steps: u64) -> Self {
        Self(Cell::new(steps))
    }

    /// Takes from it; false where there is not enough.
    pub fn spend(&self, steps: u64) -> bool {
        let left = self.0.get().checked_sub(steps);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Takes all of it.
    pub fn exhaust(&self) {
        self.0.set(0);
    }

    /// Whether nothing is left; what was said since may be wrong.
    pub fn is_spent(&self) -> bool {
        self.0.get() == 0
    }
}

/// One value of a term.
#[derive(Debug, Clone, PartialEq)]
pub enum Val<'d> {
    /// Something in the document.
    Node(NodeId),
    /// A text that was made.
    Text(Cow<'d, str>),
    /// A number that was made.
    Number(f64),
    /// A literal boolean.
    Bool(bool),
}

type Visit<'v, 'd> = &'v mut dyn FnMut(Val<'d>) -> ControlFlow<()>;

/// Whether the predicate holds.
pub fn holds(expr: &Expr, scope: &Scope<'_>) -> bool {
    match expr {
        Expr::And(all) => all.iter().all(|inner| holds(inner, scope)),
        Expr::Or(all) => all.iter().any(|inner| holds(inner, scope)),
        Expr::Not(inner) if scope.cloud.is_some() => !holds(inner, &scope.flipped()),
        Expr::Not(inner) => !holds(inner, scope),
        Expr::Compare(op, left, right) => any(left, scope, |a| any(right, scope, |b| compare(*op, a, b, scope))),
        Expr::Exists(term) => any(term, scope, |_| true),
        Expr::Any(path, inner) => walk(path, scope, &mut |node| {
            if holds(inner, &scope.within(node)) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .is_break(),
        Expr::All(path, inner) => walk(path, scope, &mut |node| {
            if holds(inner, &scope.within(node)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .is_continue(),
        Expr::Matches(term, regex) => any(term, scope, |val| {
            text_of(val, scope.document).is_some_and(|text| {
                if is_unknown(&text, scope) { scope.unknown_holds() } else { regex.is_match(&text) }
            })
        }),
        Expr::Text(test, left, right) => any(left, scope, |a| {
            any(right, scope, |b| {
                let (Some(a), Some(b)) = (text_of(a, scope.document), text_of(b, scope.document)) else { return false };
                if is_unknown(&a, scope) || is_unknown(&b, scope) {
                    return may_be(*test, &a, &b, scope);
                }
                match test {
                    TextTest::Starts => a.starts_with(&*b),
                    TextTest::Ends => a.ends_with(&*b),
                    TextTest::Contains => a.contains(&*b),
                }
            })
        }),
        Expr::Program(name) => program(name, scope),
        Expr::Cel(rule) => match rule.evaluate(&scope.document.to_json(scope.object)) {
            Outcome::Holds => true,
            Outcome::DoesNot => false,
            Outcome::TooLong => {
                scope.budget.exhaust();
                false
            }
        },
    }
}

/// Visits every value of a term until told to stop.
pub fn values<'d>(term: &Term, scope: &Scope<'d>, visit: Visit<'_, 'd>) -> ControlFlow<()> {
    let document = scope.document;
    match term {
        Term::Path(path) => walk(path, scope, &mut |node| visit(Val::Node(node))),
        Term::Effective(path) => {
            let context = |from: NodeId| document.get(from, "securityContext");
            let mut found = false;
            for from in [Some(scope.item), scope.pod].into_iter().flatten() {
                let Some(here) = context(from) else { continue };
                descend(&path.steps, scope, here, &mut |node| {
                    found = true;
                    visit(Val::Node(node))
                })?;
                if found {
                    break;
                }
            }
            ControlFlow::Continue(())
        }
        Term::Literals(literals) => literals.iter().try_for_each(|literal| {
            visit(match literal {
                Literal::Bool(value) => Val::Bool(*value),
                Literal::Number(value) => Val::Number(*value),
                Literal::Text(text) => Val::Text(Cow::Owned(text.clone())),
            })
        }),
        Term::Count(inner) => {
            let mut count = 0;
            let _ = values(inner, scope, &mut |_| {
                count += 1;
                ControlFlow::Continue(())
            });
            visit(Val::Number(f64::from(count)))
        }
        Term::Map(function, inner) => values(inner, scope, &mut |val| {
            let of_unknown = scope.cloud.is_some()
                && *function != Function::Keys
                && text_of(&val, document).is_some_and(|text| text.contains(UNKNOWN_START));
            // What is made of an unknown is not known either.
            if of_unknown { visit(val) } else { apply(*function, val, document, visit) }
        }),
        Term::Split(inner, separator) => values(inner, scope, &mut |val| {
            let Some(text) = text_of(&val, document) else { return ControlFlow::Continue(()) };
            text.split(&**separator)
                .map(str::trim)
                .filter(|piece| !piece.is_empty())
                .try_for_each(|piece| visit(Val::Text(Cow::Owned(piece.to_owned()))))
        }),
        Term::Without(inner, literals) => values(inner, scope, &mut |val| {
            let named = literals.iter().any(|literal| match literal {
                Literal::Bool(value) => bool_of(&val, document) == Some(*value),
                Literal::Number(value) => number_of(&val, document) == Some(*value),
                Literal::Text(text) => string_of(&val, document) == Some(text),
            });
            if named { ControlFlow::Continue(()) } else { visit(val) }
        }),
        Term::Flag(name) => flag(name, scope, visit),
        Term::Words => words(scope, &mut |word| visit(Val::Text(Cow::Borrowed(word)))),
    }
}

fn any<'d>(term: &Term, scope: &Scope<'d>, mut test: impl FnMut(&Val<'d>) -> bool) -> bool {
    // The common cases without the detour by `values`.
    if let Term::Literals(literals) = term {
        return literals.iter().any(|literal| {
            test(&match literal {
                Literal::Bool(value) => Val::Bool(*value),
                Literal::Number(value) => Val::Number(*value),
                Literal::Text(text) => Val::Text(Cow::Owned(text.clone())),
            })
        });
    }
    values(term, scope, &mut |val| if test(&val) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        .is_break()
}

/// Visits every node that a path leads to; null is nothing.
fn walk(path: &Path, scope: &Scope<'_>, visit: &mut dyn FnMut(NodeId) -> ControlFlow<()>) -> ControlFlow<()> {
    let from = match path.root {
        Root::Here => Some(scope.here),
        Root::Item => Some(scope.item),
        Root::Object => Some(scope.object),
        Root::Pod => scope.pod,
        Root::PodMeta => scope.pod_meta,
        Root::Outer => Some(scope.outer),
        Root::Users => scope.links().and_then(|links| links.users),
        Root::Uses => scope.links().and_then(|links| links.uses),
    };
    match from {
        Some(from) if scope.cloud.is_some() => through(&path.steps, scope, from, visit),
        Some(from) => descend(&path.steps, scope, from, visit),
        None => ControlFlow::Continue(()),
    }
}

fn descend(
    steps: &[Step],
    scope: &Scope<'_>,
    from: NodeId,
    visit: &mut dyn FnMut(NodeId) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let document = scope.document;
    let mut node = from;
    for (index, step) in steps.iter().enumerate() {
        let width = match document.value(node) {
            Value::Seq(items) => items.len(),
            Value::Map(entries) => entries.len(),
            _ => return ControlFlow::Continue(()),
        };
        if !scope.budget.spend(width as u64 + 1) {
            return ControlFlow::Continue(());
        }
        let next = match step {
            Step::Key(key) => document.get(node, key),
            Step::Index(index) => document.items(node).get(*index).copied(),
            Step::Each => {
                let rest = &steps[index + 1..];
                return match document.value(node) {
                    Value::Seq(items) => items.iter().try_for_each(|item| descend(rest, scope, *item, visit)),
                    Value::Map(entries) => {
                        entries.iter().try_for_each(|entry| descend(rest, scope, entry.value, visit))
                    }
                    _ => ControlFlow::Continue(()),
                };
            }
        };
        let Some(next) = next else { return ControlFlow::Continue(()) };
        node = next;
    }
    if document.is_null(node) { ControlFlow::Continue(()) } else { visit(node) }
}

/// As `descend`, with lists transparent: whatever is asked of a list is asked of its items.
fn through(
    steps: &[Step],
    scope: &Scope<'_>,
    node: NodeId,
    visit: &mut dyn FnMut(NodeId) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let document = scope.document;
    if !scope.budget.spend(1) {
        return ControlFlow::Continue(());
    }
    match (document.value(node), steps.split_first()) {
        (Value::Null, _) => ControlFlow::Continue(()),
        (Value::Seq(items), Some((Step::Index(index), rest))) => match items.get(*index) {
            Some(item) => through(rest, scope, *item, visit),
            None => ControlFlow::Continue(()),
        },
        (Value::Seq(items), Some((Step::Each, rest))) => {
            items.iter().try_for_each(|item| through(rest, scope, *item, visit))
        }
        (Value::Seq(items), _) => items.iter().try_for_each(|item| through(steps, scope, *item, visit)),
        (_, None) => visit(node),
        (Value::Map(_), Some((Step::Key(key), rest))) => match document.get(node, key) {
            Some(next) => through(rest, scope, next, visit),
            None => ControlFlow::Continue(()),
        },
        (Value::Map(entries), Some((Step::Each, rest))) => {
            entries.iter().try_for_each(|entry| through(rest, scope, entry.value, visit))
        }
        // One block where a list of them is meant.
        (Value::Map(_), Some((Step::Index(0), rest))) => through(rest, scope, node, visit),
        // What is inside of an unknown is unknown too.
        (Value::Str(text), Some(_)) if is_wholly_unknown(text) => visit(node),
        _ => ControlFlow::Continue(()),
    }
}

fn is_wholly_unknown(text: &str) -> bool {
    text.starts_with(UNKNOWN_START) && text.find(UNKNOWN_END) == Some(text.len() - UNKNOWN_END.len_utf8())
}

fn is_unknown(text: &str, scope: &Scope<'_>) -> bool {
    scope.cloud.is_some() && text.contains(UNKNOWN_START)
}

/// Whether a text that is known in part is equal to another, as far as that can be excluded.
fn may_equal(a: &str, b: &str) -> bool {
    let (partial, whole) = if a.contains(UNKNOWN_START) { (a, b) } else { (b, a) };
    if whole.contains(UNKNOWN_START) {
        return true;
    }
    let start = partial.split(UNKNOWN_START).next().unwrap_or_default();
    let end = partial.rsplit(UNKNOWN_END).next().unwrap_or_default();
    whole.len() >= start.len() + end.len() && whole.starts_with(start) && whole.ends_with(end)
}

/// A test of texts that are known in part.
fn may_be(test: TextTest, a: &str, b: &str, scope: &Scope<'_>) -> bool {
    if b.contains(UNKNOWN_START) {
        return scope.unknown_holds();
    }
    let start = a.split(UNKNOWN_START).next().unwrap_or_default();
    let end = a.rsplit(UNKNOWN_END).next().unwrap_or_default();
    match test {
        TextTest::Starts if start.len() >= b.len() => start.starts_with(b),
        TextTest::Starts => b.starts_with(start) && scope.unknown_holds(),
        TextTest::Ends if end.len() >= b.len() => end.ends_with(b),
        TextTest::Ends => b.ends_with(end) && scope.unknown_holds(),
        TextTest::Contains => {
            let mut known = a.split(UNKNOWN_START).flat_map(|piece| piece.rsplit(UNKNOWN_END).take(1));
            known.any(|piece| piece.contains(b)) || scope.unknown_holds()
        }
    }
}

fn compare(op: Op, a: &Val<'_>, b: &Val<'_>, scope: &Scope<'_>) -> bool {
    let document = scope.document;
    if scope.cloud.is_some() {
        return compare_in_cloud(op, a, b, scope);
    }
    compare_known(op, a, b, document)
}

/// Texts stand for what they say, as Terraform and CloudFormation take them; unknowns may be anything that they can be.
fn compare_in_cloud(op: Op, a: &Val<'_>, b: &Val<'_>, scope: &Scope<'_>) -> bool {
    let document = scope.document;
    let texts = (text_of(a, document), text_of(b, document));
    let (Some(left), Some(right)) = texts else { return false };
    if left.contains(UNKNOWN_START) || right.contains(UNKNOWN_START) {
        return scope.unknown_holds() && (op != Op::Eq || may_equal(&left, &right));
    }
    if op != Op::Eq {
        let number = |val: &Val<'_>, text: &str| number_of(val, document).or_else(|| text.trim().parse().ok());
        return match (number(a, &left), number(b, &right)) {
            (Some(left), Some(right)) => compare_known(op, &Val::Number(left), &Val::Number(right), document),
            _ => false,
        };
    }
    if bool_of(a, document).is_some() || bool_of(b, document).is_some() {
        return left.eq_ignore_ascii_case(&right);
    }
    if let (Some(left), Some(right)) = (number_of(a, document), number_of(b, document)) {
        return left == right;
    }
    left == right
}

fn compare_known(op: Op, a: &Val<'_>, b: &Val<'_>, document: &Document) -> bool {
    if let (Some(a), Some(b)) = (number_of(a, document), number_of(b, document)) {
        return match op {
            Op::Eq => a == b,
            Op::Lt => a < b,
            Op::Le => a <= b,
            Op::Gt => a > b,
            Op::Ge => a >= b,
        };
    }
    if op != Op::Eq {
        return false;
    }
    if let (Some(a), Some(b)) = (bool_of(a, document), bool_of(b, document)) {
        return a == b;
    }
    match (string_of(a, document), string_of(b, document)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

fn number_of(val: &Val<'_>, document: &Document) -> Option<f64> {
    match val {
        Val::Number(number) => Some(*number),
        Val::Node(node) => match document.value(*node) {
            Value::Int(number) => Some(number as f64),
            Value::Float(number) => Some(number),
            _ => None,
        },
        Val::Text(_) | Val::Bool(_) => None,
    }
}

fn bool_of(val: &Val<'_>, document: &Document) -> Option<bool> {
    match val {
        Val::Bool(value) => Some(*value),
        Val::Node(node) => match document.value(*node) {
            Value::Bool(value) => Some(value),
            _ => None,
        },
        Val::Text(_) | Val::Number(_) => None,
    }
}

fn string_of<'v>(val: &'v Val<'_>, document: &'v Document) -> Option<&'v str> {
    match val {
        Val::Text(text) => Some(text),
        Val::Node(node) => document.str(*node),
        Val::Number(_) | Val::Bool(_) => None,
    }
}

/// Any scalar as text.
fn text_of<'v>(val: &'v Val<'_>, document: &'v Document) -> Option<Cow<'v, str>> {
    match val {
        Val::Text(text) => Some(Cow::Borrowed(text)),
        Val::Node(node) => document.scalar_text(*node).map(Cow::Borrowed),
        Val::Number(number) => Some(Cow::Owned(number.to_string())),
        Val::Bool(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
    }
}

fn apply<'d>(function: Function, val: Val<'d>, document: &'d Document, visit: Visit<'_, 'd>) -> ControlFlow<()> {
    if function == Function::Keys {
        let Val::Node(node) = val else { return ControlFlow::Continue(()) };
        // The step that led here has paid for as many entries.
        return document.entries(node).try_for_each(|(key, _)| visit(Val::Text(Cow::Borrowed(key))));
    }
    let Some(text) = text_of(&val, document) else { return ControlFlow::Continue(()) };
    let part = |pick: fn(super::words::Image<'_>) -> Option<&str>| {
        image(&text).and_then(pick).map(|part| Val::Text(Cow::Owned(part.to_owned())))
    };
    let result = match function {
        Function::Keys => None,
        Function::Lower => Some(Val::Text(Cow::Owned(text.to_lowercase()))),
        Function::Cap => Some(Val::Text(Cow::Owned(capability(&text)))),
        Function::Quantity => quantity(&text).map(Val::Number),
        Function::Number => text.trim().parse().ok().map(Val::Number),
        Function::Length => Some(Val::Number(text.chars().count() as f64)),
        Function::Tag => part(|image| image.tag),
        Function::Digest => part(|image| image.digest),
        Function::Registry => part(|image| Some(image.registry)),
        Function::Repository => part(|image| Some(image.repository)),
        Function::Text => Some(Val::Text(Cow::Owned(text.clone().into_owned()))),
    };
    match result {
        Some(val) => visit(val),
        None => ControlFlow::Continue(()),
    }
}

/// Whether a word of the command line names the program, or, where there is no `command`, the image does.
fn program(name: &str, scope: &Scope<'_>) -> bool {
    let mut named = |word: &str| {
        if word.rsplit('/').next() == Some(name) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let document = scope.document;
    words(scope, &mut named).is_break()
        || document.get(scope.item, "command").is_none()
            && document
                .str_at(scope.item, &["image"])
                .and_then(image)
                .is_some_and(|image| named(image.repository).is_break())
}

/// The words of the container's command line: `command`, then `args`; a shell's script comes apart at spaces.
fn words<'d>(scope: &Scope<'d>, visit: &mut dyn FnMut(&'d str) -> ControlFlow<()>) -> ControlFlow<()> {
    let document = scope.document;
    for key in ["command", "args"] {
        let Some(list) = document.get(scope.item, key) else { continue };
        let items = document.items(list);
        if !scope.budget.spend(items.len() as u64) {
            return ControlFlow::Continue(());
        }
        for item in items {
            document.scalar_text(*item).into_iter().flat_map(str::split_whitespace).try_for_each(&mut *visit)?;
        }
    }
    ControlFlow::Continue(())
}

/// `--name=value`, `--name value`; a flag alone is `true`, one with an empty value is not there.
fn flag<'d>(name: &str, scope: &Scope<'d>, visit: Visit<'_, 'd>) -> ControlFlow<()> {
    let mut waiting = false;
    words(scope, &mut |word| {
        if std::mem::take(&mut waiting) {
            let value = if word.starts_with('-') { "true" } else { word };
            visit(Val::Text(Cow::Borrowed(value.trim_matches(['"', '\'']))))?;
            if !word.starts_with('-') {
                return ControlFlow::Continue(());
            }
        }
        let Some(rest) = word.trim_start_matches(['"', '\'']).strip_prefix(name) else {
            return ControlFlow::Continue(());
        };
        match rest.strip_prefix('=') {
            Some(value) => match value.trim_matches(['"', '\'']) {
                "" => ControlFlow::Continue(()),
                value => visit(Val::Text(Cow::Borrowed(value))),
            },
            None => {
                waiting = rest.is_empty();
                ControlFlow::Continue(())
            }
        }
    })?;
    if waiting { visit(Val::Text(Cow::Borrowed("true"))) } else { ControlFlow::Continue(()) }
}
