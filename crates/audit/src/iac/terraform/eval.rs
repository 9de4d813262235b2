//! Values of expressions. What is not known before it is applied is an unknown with a name; what costs too much becomes one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::functions;
use super::tree::{Folder, Tree};
use crate::iac::hcl::{Block, Expr, For, Kind, Op, Part, Step};
use crate::iac::value::{UNKNOWN_START, V, Val};
use crate::model::Mark;

/// How deep evaluation may go: expressions, and locals and outputs that they lead to.
const MAX_DEPTH: u32 = 110;
/// How deep lists and mappings of a value may be nested.
const MAX_NESTING: u32 = 64;
/// Steps that one root module may take.
const STEPS: u64 = 2_000_000;
/// Bytes of text that it may make.
const BYTES: u64 = 64 << 20;
/// The most that a `count` may be.
const MAX_COUNT: f64 = 20_000.0;
/// Modules that one root may start.
const MAX_INSTANCES: usize = 2_000;
/// How deep modules may call one another.
const MAX_CALLS: usize = 16;

/// Names of a `for`, an iterator, `each`, `count`.
pub struct Env<'e> {
    pub outer: Option<&'e Env<'e>>,
    pub name: &'e str,
    pub value: &'e Val,
}

fn named<'e>(env: Option<&'e Env<'e>>, name: &str) -> Option<&'e Val> {
    let mut next = env;
    while let Some(env) = next {
        if env.name == name {
            return Some(env.value);
        }
        next = env.outer;
    }
    None
}

/// Names that a block with `count` or `for_each` has for what it is made of: at most one.
pub type Names = Vec<(&'static str, Val)>;
/// The instances that a call makes, with their keys.
pub type Children = Rc<Vec<(Option<Val>, usize)>>;

/// One use of a module: the root, or a call with its arguments.
pub struct Instance<'a> {
    pub folder: &'a Folder<'a>,
    /// `module.name.` of each call on the way, empty for the root.
    pub prefix: String,
    /// The caller, its call, and the names of the call's `for_each` or `count`.
    call: Option<(usize, &'a Block, Names)>,
    memo: RefCell<FxHashMap<(Sort, &'a str), Option<Val>>>,
    children: RefCell<FxHashMap<&'a str, Children>>,
    depth: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sort {
    Variable,
    Local,
    Output,
    Data,
}

pub struct Evaluator<'a> {
    tree: &'a Tree<'a>,
    pub instances: RefCell<Vec<Rc<Instance<'a>>>>,
    depth: Cell<u32>,
    steps: Cell<u64>,
    bytes: Cell<u64>,
}

impl<'a> Evaluator<'a> {
    pub fn new(tree: &'a Tree<'a>, root: &'a Folder<'a>) -> Self {
        let root = Instance {
            folder: root,
            prefix: String::new(),
            call: None,
            memo: RefCell::default(),
            children: RefCell::default(),
            depth: 0,
        };
        Self {
            tree,
            instances: RefCell::new(vec![Rc::new(root)]),
            depth: Cell::new(0),
            steps: Cell::new(STEPS),
            bytes: Cell::new(BYTES),
        }
    }

    /// Whether something was left unevaluated because it costs too much.
    pub fn is_spent(&self) -> bool {
        self.steps.get() == 0 || self.bytes.get() == 0
    }

    pub fn instance(&self, index: usize) -> Rc<Instance<'a>> {
        self.instances.borrow()[index].clone()
    }

    /// Takes steps; false where none are left.
    pub fn spend(&self, steps: usize) -> bool {
        let left = self.steps.get().saturating_sub(steps as u64);
        self.steps.set(left);
        left > 0
    }

    /// Takes bytes of text; false where none are left.
    pub fn spend_text(&self, bytes: usize) -> bool {
        let left = self.bytes.get().saturating_sub(bytes as u64);
        self.bytes.set(left);
        left > 0
    }

    /// The value of an expression in an instance of a module.
    pub fn value(&self, instance: usize, expr: &'a Expr, env: Option<&Env<'_>>) -> Val {
        if self.depth.get() >= MAX_DEPTH || !self.spend(1) {
            self.steps.set(if self.depth.get() >= MAX_DEPTH { self.steps.get() } else { 0 });
            return Val::unknown("what is nested too deep or too large", expr.at);
        }
        self.depth.set(self.depth.get() + 1);
        let v = self.kind(instance, expr, env);
        self.depth.set(self.depth.get() - 1);
        v
    }

    fn kind(&self, instance: usize, expr: &'a Expr, env: Option<&Env<'_>>) -> Val {
        let here = |v| Val::new(v, expr.at, expr.last_line);
        match &expr.kind {
            Kind::Null => here(V::Null),
            Kind::Bool(value) => here(V::Bool(*value)),
            Kind::Number(number) => here(V::Number(*number)),
            Kind::Text(text) => here(V::Text(Rc::from(&**text))),
            Kind::Template(parts) => {
                // `"${x}"` is x itself, whatever its type.
                if let [Part::Fill(inner)] = parts.as_slice() {
                    return self.value(instance, inner, env);
                }
                let mut out = String::new();
                self.template(instance, parts, env, &mut out);
                here(V::Text(Rc::from(out)))
            }
            Kind::List(items) => here(V::List(items.iter().map(|item| self.value(instance, item, env)).collect())),
            Kind::Object(entries) => self.object(instance, expr, entries, env),
            Kind::Name(_) | Kind::Get(..) | Kind::Index(..) => self.traversal(instance, expr, env),
            Kind::Splat(of, steps) => self.splat(instance, expr, of, steps, env),
            Kind::Call(name, arguments, spread) => self.call(instance, expr, name, arguments, *spread, env),
            Kind::Not(inner) => {
                let inner = self.value(instance, inner, env);
                match inner.to_bool() {
                    Some(value) => here(V::Bool(!value)),
                    None => unknown_of(&[&inner], expr.at),
                }
            }
            Kind::Negate(inner) => {
                let inner = self.value(instance, inner, env);
                match inner.to_number() {
                    Some(value) => here(V::Number(-value)),
                    None => unknown_of(&[&inner], expr.at),
                }
            }
            Kind::Binary(op, left, right) => {
                let (left, right) = (self.value(instance, left, env), self.value(instance, right, env));
                binary(*op, &left, &right).map_or_else(|| unknown_of(&[&left, &right], expr.at), here)
            }
            Kind::Conditional(condition, yes, no) => {
                let condition = self.value(instance, condition, env);
                match condition.to_bool() {
                    Some(true) => self.value(instance, yes, env),
                    Some(false) => self.value(instance, no, env),
                    None => unknown_of(&[&condition], expr.at),
                }
            }
            Kind::For(each) => self.for_each(instance, expr, each, env),
        }
    }

    fn object(&self, instance: usize, expr: &'a Expr, entries: &'a [(Expr, Expr)], env: Option<&Env<'_>>) -> Val {
        let mut out = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key = self.value(instance, key, env);
            let Some(key) = key.to_text() else { continue };
            out.push((key, self.value(instance, value, env)));
        }
        Val::new(V::Map(out.into()), expr.at, expr.last_line)
    }

    fn call(
        &self,
        instance: usize,
        expr: &'a Expr,
        name: &str,
        arguments: &'a [Expr],
        spread: bool,
        env: Option<&Env<'_>>,
    ) -> Val {
        let mut values: Vec<Val> = arguments.iter().map(|argument| self.value(instance, argument, env)).collect();
        if spread && let Some(last) = values.pop() {
            match &last.v {
                V::List(items) => values.extend(items.iter().cloned()),
                _ => return unknown_of(&[&last], expr.at),
            }
        }
        match functions::call(name, &values, self) {
            Some(v) => Val { v, at: expr.at, last_line: expr.last_line, foreign: functions::keeps_places(name).not() },
            None => {
                let all: Vec<&Val> = values.iter().collect();
                let unknown = unknown_of(&all, expr.at);
                if values.iter().any(|value| value.first_unknown().is_some()) {
                    unknown
                } else {
                    Val::unknown(&format!("{name}()"), expr.at)
                }
            }
        }
    }

    fn template(&self, instance: usize, parts: &'a [Part], env: Option<&Env<'_>>, out: &mut String) {
        for part in parts {
            let before = out.len();
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Fill(inner) => {
                    let value = self.value(instance, inner, env);
                    match value.to_text() {
                        Some(text) => out.push_str(&text),
                        None => out.push_str(&crate::iac::value::marked("a list or mapping within a text")),
                    }
                }
                Part::If(condition, yes, no) => match self.value(instance, condition, env).to_bool() {
                    Some(true) => self.template(instance, yes, env, out),
                    Some(false) => self.template(instance, no, env, out),
                    None => out.push_str(&crate::iac::value::marked("a condition within a text")),
                },
                Part::For(value_name, key_name, of, inner) => {
                    let of = self.value(instance, of, env);
                    let Some(items) = items_of(&of) else {
                        out.push_str(&crate::iac::value::marked("a loop within a text"));
                        continue;
                    };
                    for (key, value) in &items {
                        if !self.spend(1) || self.bytes.get() == 0 {
                            return;
                        }
                        let outer = Env { outer: env, name: key_name.as_deref().unwrap_or_default(), value: key };
                        let inner_env = Env { outer: Some(&outer), name: value_name, value };
                        self.template(instance, inner, Some(&inner_env), out);
                    }
                    continue;
                }
            }
            if !self.spend_text(out.len() - before) {
                out.truncate(before);
                return;
            }
        }
    }

    fn for_each(&self, instance: usize, expr: &'a Expr, each: &'a For, env: Option<&Env<'_>>) -> Val {
        let of = self.value(instance, &each.of, env);
        let Some(items) = items_of(&of) else { return unknown_of(&[&of], expr.at) };
        let mut list = Vec::new();
        let mut map: Vec<(Rc<str>, Val)> = Vec::new();
        for (key, value) in &items {
            if !self.spend(1) {
                break;
            }
            let outer = Env { outer: env, name: each.key.as_deref().unwrap_or_default(), value: key };
            let inner = Env { outer: Some(&outer), name: &each.value, value };
            if let Some(only_if) = &each.only_if {
                let keep = self.value(instance, only_if, Some(&inner));
                match keep.to_bool() {
                    Some(true) => {}
                    Some(false) => continue,
                    None => return unknown_of(&[&keep], expr.at),
                }
            }
            let result = self.value(instance, &each.result, Some(&inner));
            match &each.entry_key {
                None => list.push(result),
                Some(entry_key) => {
                    let Some(entry_key) = self.value(instance, entry_key, Some(&inner)).to_text() else { continue };
                    if each.grouped
                        && let Some((_, Val { v: V::List(all), .. })) =
                            map.iter_mut().find(|(key, _)| *key == entry_key)
                    {
                        *all = all.iter().cloned().chain([result]).collect();
                    } else if each.grouped {
                        map.push((entry_key, Val::new(V::List([result].into()), expr.at, expr.last_line)));
                    } else {
                        map.push((entry_key, result));
                    }
                }
            }
        }
        let v = if each.entry_key.is_some() { V::Map(map.into()) } else { V::List(list.into()) };
        Val::new(v, expr.at, expr.last_line)
    }

    fn splat(&self, instance: usize, expr: &'a Expr, of: &'a Expr, steps: &'a [Step], env: Option<&Env<'_>>) -> Val {
        let of = self.value(instance, of, env);
        let each = |value: &Val| {
            steps.iter().fold(value.clone(), |value, step| match step {
                Step::Get(name) => get(&value, name, expr.at),
                Step::Index(index) => {
                    let index = self.value(instance, index, env);
                    index_of(&value, &index, expr.at)
                }
            })
        };
        match &of.v {
            V::List(items) => Val::new(V::List(items.iter().map(each).collect()), expr.at, expr.last_line),
            V::Null => Val::new(V::List([].into()), expr.at, expr.last_line),
            // All of the instances of a resource: one entry stands for them.
            V::Unknown(_) | V::Map(_) | V::Text(_) | V::Bool(_) | V::Number(_) => {
                Val::new(V::List([each(&of)].into()), expr.at, expr.last_line)
            }
        }
    }

    fn traversal(&self, instance: usize, expr: &'a Expr, env: Option<&Env<'_>>) -> Val {
        let mut steps: Vec<Either<'a>> = Vec::new();
        let mut at = expr;
        let root = loop {
            match &at.kind {
                Kind::Get(inner, name) => {
                    steps.push(Either::Get(name));
                    at = inner;
                }
                Kind::Index(inner, index) => {
                    steps.push(Either::Index(index));
                    at = inner;
                }
                Kind::Name(name) => break &**name,
                _ => {
                    let start = self.value(instance, at, env);
                    return self.along(instance, start, &steps, steps.len(), env, expr.at).used_at(expr.at);
                }
            }
        };
        let name = |back: usize| match steps.len().checked_sub(back).map(|index| &steps[index]) {
            Some(Either::Get(name)) => Some(*name),
            Some(Either::Index(Expr { kind: Kind::Text(text), .. })) => Some(&**text),
            _ => None,
        };
        let (start, left) = if let Some(value) = named(env, root) {
            (value.clone(), steps.len())
        } else {
            match (root, name(1), name(2)) {
                ("var", Some(variable), _) => (self.variable(instance, variable), steps.len() - 1),
                ("local", Some(local), _) => (self.local(instance, local), steps.len() - 1),
                ("path", ..) => (Val::text(".", expr.at), 0),
                ("terraform", ..) => (Val::text("default", expr.at), 0),
                ("module", Some(module), _) => {
                    return self.output(instance, module, &steps, env, expr.at).used_at(expr.at);
                }
                ("data", Some("aws_iam_policy_document"), Some(data)) if name(3) == Some("json") => {
                    (self.policy_document(instance, data, expr.at), 0)
                }
                _ => (Val::unknown(&self.reference(instance, root, &steps, env), expr.at), 0),
            }
        };
        self.along(instance, start, &steps, left, env, expr.at).used_at(expr.at)
    }

    /// The name of what is only known when it is there, with the module that it is in.
    fn reference(&self, instance: usize, root: &str, steps: &[Either<'a>], env: Option<&Env<'_>>) -> String {
        let mut name = format!("{}{root}", self.instance(instance).prefix);
        for step in steps.iter().rev().take(12) {
            match step {
                Either::Get(step) => {
                    name.push('.');
                    name.push_str(step);
                }
                Either::Index(index) => {
                    let index = self.value(instance, index, env);
                    let text = match &index.v {
                        V::Number(number) => crate::iac::value::number_text(*number),
                        V::Text(text) if !text.contains(UNKNOWN_START) && text.len() < 100 => format!("\"{text}\""),
                        _ => continue,
                    };
                    name.push('[');
                    name.push_str(&text);
                    name.push(']');
                }
            }
        }
        name
    }

    /// `count` of the steps, from the outermost on (they are kept from the last to the first).
    fn along(
        &self,
        instance: usize,
        start: Val,
        steps: &[Either<'a>],
        count: usize,
        env: Option<&Env<'_>>,
        at: Mark,
    ) -> Val {
        steps[..count].iter().rev().fold(start, |value, step| match step {
            Either::Get(name) => get(&value, name, at),
            Either::Index(index) => {
                let index = self.value(instance, index, env);
                index_of(&value, &index, at)
            }
        })
    }

    fn remembered(&self, instance: usize, sort: Sort, name: &str, make: impl FnOnce(&'a str) -> Option<Val>) -> Val {
        let this = self.instance(instance);
        let unknown = |what: &str| {
            let word = match sort {
                Sort::Variable => "var",
                Sort::Local => "local",
                Sort::Output => "output",
                Sort::Data => "data.aws_iam_policy_document",
            };
            Val::unknown(&format!("{}{word}.{name}{what}", this.prefix), Mark { line: 1, column: 1 })
        };
        let names = match sort {
            Sort::Variable => this.folder.variables.get_key_value(name).map(|(key, _)| *key),
            Sort::Local => this.folder.locals.get_key_value(name).map(|(key, _)| *key),
            Sort::Output => this.folder.outputs.get_key_value(name).map(|(key, _)| *key),
            Sort::Data => this.folder.documents.get_key_value(name).map(|(key, _)| *key),
        };
        let Some(key) = names else { return unknown("") };
        match this.memo.borrow().get(&(sort, key)) {
            Some(Some(value)) => return value.clone(),
            // It leads back to itself.
            Some(None) => return unknown(" (a circle)"),
            None => {}
        }
        this.memo.borrow_mut().insert((sort, key), None);
        let mut value = make(key).unwrap_or_else(|| unknown(""));
        // A row of locals, each within the next, would nest without end.
        let mut visited = 0;
        if value.is_deeper_than(MAX_NESTING, &mut visited) || !self.spend(visited) {
            value = unknown(" (nested too deep)");
        }
        this.memo.borrow_mut().insert((sort, key), Some(value.clone()));
        value
    }

    fn variable(&self, instance: usize, name: &str) -> Val {
        self.remembered(instance, Sort::Variable, name, |name| {
            let this = self.instance(instance);
            if let Some((caller, call, each)) = &this.call {
                if let Some(expr) = call.body.attribute(name) {
                    return Some(self.with_names(*caller, expr, each));
                }
            } else if let Some(expr) = this.folder.settings.get(name) {
                return Some(self.value(instance, expr, None));
            }
            let default = this.folder.variables.get(name)?.body.attribute("default")?;
            Some(self.value(instance, default, None))
        })
    }

    fn with_names(&self, instance: usize, expr: &'a Expr, names: &[(&'static str, Val)]) -> Val {
        match names {
            [] => self.value(instance, expr, None),
            [(name, value), ..] => self.value(instance, expr, Some(&Env { outer: None, name, value })),
        }
    }

    fn local(&self, instance: usize, name: &str) -> Val {
        self.remembered(instance, Sort::Local, name, |name| {
            let expr = self.instance(instance).folder.locals[name];
            Some(self.value(instance, expr, None))
        })
    }

    fn policy_document(&self, instance: usize, name: &str, at: Mark) -> Val {
        self.remembered(instance, Sort::Data, name, |name| {
            let block = self.instance(instance).folder.documents[name];
            Some(crate::iac::statements::of_data(&self.block(instance, &block.body, None, block.at, block.last_line)))
        })
        .used_at(at)
    }

    fn output(&self, instance: usize, module: &'a str, steps: &[Either<'a>], env: Option<&Env<'_>>, at: Mark) -> Val {
        let children = self.children(instance, module);
        let mut left = steps.len() - 1;
        let mut wanted = None;
        if left > 0
            && let Either::Index(index) = &steps[left - 1]
        {
            wanted = Some(self.value(instance, index, env));
            left -= 1;
        }
        let child = children.iter().find(|(key, _)| match (key, &wanted) {
            (Some(key), Some(wanted)) => same(key, wanted) == Some(true),
            _ => true,
        });
        match (child, left.checked_sub(1).map(|index| &steps[index])) {
            (Some((_, child)), Some(Either::Get(output))) => {
                let value = self.remembered(*child, Sort::Output, output, |output| {
                    let block = self.instance(*child).folder.outputs[output];
                    Some(self.value(*child, block.body.attribute("value")?, None))
                });
                self.along(instance, value, steps, left - 1, env, at)
            }
            _ => Val::unknown(&self.reference(instance, "module", steps, env), at),
        }
    }

    /// The instances that a call makes: with their key, and their index. Empty where its source is not in the tree.
    pub fn children(&self, instance: usize, module: &'a str) -> Children {
        let this = self.instance(instance);
        if let Some(known) = this.children.borrow().get(module) {
            return known.clone();
        }
        let mut made = Vec::new();
        let call = this.folder.calls.iter().find(|call| call.labels.first().is_some_and(|label| &**label == module));
        if let Some(call) = call
            && let Some(folder) = self.tree.called(this.folder, call)
            && this.depth < MAX_CALLS
            && !self.leads_back(&this, folder)
        {
            this.children.borrow_mut().insert(module, Rc::default());
            for (key, names) in self.repeats(instance, &call.body) {
                let mut instances = self.instances.borrow_mut();
                if instances.len() >= MAX_INSTANCES {
                    self.steps.set(0);
                    break;
                }
                let suffix = key.as_ref().map(key_text).unwrap_or_default();
                made.push((key, instances.len()));
                instances.push(Rc::new(Instance {
                    folder,
                    prefix: format!("{}module.{module}{suffix}.", this.prefix),
                    call: Some((instance, call, names)),
                    memo: RefCell::default(),
                    children: RefCell::default(),
                    depth: this.depth + 1,
                }));
            }
        }
        let made = Rc::new(made);
        this.children.borrow_mut().insert(module, made.clone());
        made
    }

    fn leads_back(&self, from: &Rc<Instance<'a>>, folder: &Folder<'a>) -> bool {
        let mut at = from.clone();
        loop {
            if at.folder.path == folder.path {
                return true;
            }
            let Some((caller, ..)) = at.call else { return false };
            at = self.instance(caller);
        }
    }

    /// How often a block with `count` or `for_each` is there: the key of each, and the names in it.
    pub fn repeats(&self, instance: usize, body: &'a crate::iac::hcl::Body) -> Vec<(Option<Val>, Names)> {
        let pair = |key: Val, value: Val, at: Mark| {
            Val::at(V::Map([(Rc::from("key"), key), (Rc::from("value"), value)].into()), at)
        };
        if let Some(expr) = body.attribute("count") {
            let count = self.value(instance, expr, None);
            let index = |index: Val| Val::at(V::Map([(Rc::from("index"), index)].into()), expr.at);
            return match count.to_number() {
                Some(number) if number < 1.0 => Vec::new(),
                Some(number) if number > MAX_COUNT => {
                    self.steps.set(0);
                    Vec::new()
                }
                Some(number) => (0..number as usize)
                    .take_while(|_| self.spend(1))
                    .map(|at| Val::at(V::Number(at as f64), expr.at))
                    .map(|key| (Some(key.clone()), vec![("count", index(key))]))
                    .collect(),
                None => vec![(None, vec![("count", index(Val::unknown("count.index", expr.at)))])],
            };
        }
        if let Some(expr) = body.attribute("for_each") {
            let each = self.value(instance, expr, None);
            return match items_of(&each) {
                Some(items) => items
                    .into_iter()
                    .take_while(|_| self.spend(1))
                    .map(|(key, value)| {
                        // A set's key is its value.
                        let key = if matches!(each.v, V::List(_)) { value.clone() } else { key };
                        (Some(key.clone()), vec![("each", pair(key, value, expr.at))])
                    })
                    .collect(),
                None => {
                    let unknown = |name| Val::unknown(name, expr.at);
                    vec![(None, vec![("each", pair(unknown("each.key"), unknown("each.value"), expr.at))])]
                }
            };
        }
        vec![(None, Vec::new())]
    }

    /// A block as a mapping: blocks within it become lists, dynamic ones are written out.
    pub fn block(
        &self,
        instance: usize,
        body: &'a crate::iac::hcl::Body,
        env: Option<&Env<'_>>,
        at: Mark,
        last_line: u32,
    ) -> Val {
        let mut entries: Vec<(Rc<str>, Val)> = Vec::new();
        let mut lists: Vec<(&str, Vec<Val>, Mark)> = Vec::new();
        for attribute in &body.attributes {
            if !matches!(&*attribute.name, "count" | "for_each" | "depends_on" | "provider" | "providers") {
                entries.push((Rc::from(&*attribute.name), self.value(instance, &attribute.value, env)));
            }
        }
        if self.depth.get() < MAX_DEPTH {
            self.depth.set(self.depth.get() + 1);
            for block in &body.blocks {
                let mut add = |kind: &'a str, value: Val| match lists.iter_mut().find(|(known, ..)| *known == kind) {
                    Some((_, list, _)) => list.push(value),
                    None => lists.push((kind, vec![value], block.at)),
                };
                match (&*block.kind, block.labels.first()) {
                    ("provisioner" | "connection", _) => {}
                    ("dynamic", Some(kind)) => {
                        self.dynamic(instance, block, kind, env, &mut |value| add(kind, value));
                    }
                    (kind, _) => add(kind, self.block(instance, &block.body, env, block.at, block.last_line)),
                }
                if !self.spend(1) {
                    break;
                }
            }
            self.depth.set(self.depth.get() - 1);
        }
        entries.extend(lists.into_iter().map(|(kind, list, at)| (Rc::from(kind), Val::at(V::List(list.into()), at))));
        Val::new(V::Map(entries.into()), at, last_line)
    }

    fn dynamic(
        &self,
        instance: usize,
        block: &'a Block,
        kind: &'a str,
        env: Option<&Env<'_>>,
        add: &mut dyn FnMut(Val),
    ) {
        let (Some(each), Some(content)) = (block.body.attribute("for_each"), block.body.of_kind("content").next())
        else {
            return;
        };
        let iterator = match block.body.attribute("iterator").map(|expr| &expr.kind) {
            Some(Kind::Name(name)) => name,
            _ => kind,
        };
        let each = self.value(instance, each, env);
        let unknown = |name: &str| Val::unknown(&format!("{iterator}.{name}"), block.at);
        let items = items_of(&each).unwrap_or_else(|| vec![(unknown("key"), unknown("value"))]);
        for (key, value) in items {
            if !self.spend(1) {
                return;
            }
            let value = Val::at(V::Map([(Rc::from("key"), key), (Rc::from("value"), value)].into()), block.at);
            let env = Env { outer: env, name: iterator, value: &value };
            add(self.block(instance, &content.body, Some(&env), content.at, content.last_line));
        }
    }
}

use std::ops::Not as _;

enum Either<'a> {
    Get(&'a str),
    Index(&'a Expr),
}

/// `["key"]`, `[0]`
pub fn key_text(key: &Val) -> String {
    match &key.v {
        V::Number(number) => format!("[{}]", crate::iac::value::number_text(*number)),
        _ => format!("[\"{}\"]", key.known_text().unwrap_or("?")),
    }
}

fn unknown_of(values: &[&Val], at: Mark) -> Val {
    let name = values.iter().find_map(|value| value.first_unknown());
    Val::at(V::Unknown(name.unwrap_or_else(|| Rc::from("an expression that has no value"))), at)
}

fn get(value: &Val, name: &str, at: Mark) -> Val {
    match &value.v {
        V::Map(_) => value.get(name).cloned().unwrap_or_else(|| Val::at(V::Null, at)),
        V::List(items) if name == "*" => Val::at(V::List(items.clone()), at),
        V::List(items) => match name.parse::<usize>() {
            Ok(index) => items.get(index).cloned().unwrap_or_else(|| Val::at(V::Null, at)),
            Err(_) => Val::at(V::List(items.iter().map(|item| get(item, name, at)).collect()), at),
        },
        V::Unknown(unknown) if unknown.len() < 400 => Val::unknown(&format!("{unknown}.{name}"), at),
        V::Unknown(_) => value.clone(),
        V::Text(_) => unknown_of(&[value], at),
        V::Null | V::Bool(_) | V::Number(_) => Val::at(V::Null, at),
    }
}

fn index_of(value: &Val, index: &Val, at: Mark) -> Val {
    match (&value.v, &index.v) {
        (V::List(items), _) if index.to_number().is_some() => {
            let number = index.to_number().unwrap_or_default();
            let found = if number >= 0.0 { items.get(number as usize) } else { None };
            found.cloned().unwrap_or_else(|| Val::at(V::Null, at))
        }
        (V::Map(_), _) if index.to_text().is_some() && index.first_unknown().is_none() => {
            let key = index.to_text().unwrap_or_default();
            value.get(&key).cloned().unwrap_or_else(|| Val::at(V::Null, at))
        }
        _ => unknown_of(&[value, index], at),
    }
}

/// The entries of a list or mapping with their keys; `None` where they are not known.
pub fn items_of(value: &Val) -> Option<Vec<(Val, Val)>> {
    match &value.v {
        V::List(items) => Some(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| (Val::at(V::Number(index as f64), item.at), item.clone()))
                .collect(),
        ),
        V::Map(entries) => {
            Some(entries.iter().map(|(key, value)| (Val::at(V::Text(key.clone()), value.at), value.clone())).collect())
        }
        V::Null => Some(Vec::new()),
        V::Bool(_) | V::Number(_) | V::Text(_) | V::Unknown(_) => None,
    }
}

/// Whether two values are the same; `None` where that is not known.
pub fn same(a: &Val, b: &Val) -> Option<bool> {
    match (&a.v, &b.v) {
        (V::Null, V::Null) => Some(true),
        (V::Unknown(_), _) | (_, V::Unknown(_)) => None,
        (V::Null, _) | (_, V::Null) => Some(false),
        (V::List(a), V::List(b)) => {
            if a.len() != b.len() {
                return Some(false);
            }
            a.iter().zip(b.iter()).try_fold(true, |all, (a, b)| same(a, b).map(|same| all && same))
        }
        (V::Map(a), V::Map(b)) if a.len() == b.len() => a.iter().try_fold(true, |all, (key, value)| {
            let other = b.iter().find(|(name, _)| name == key);
            other.map_or(Some(false), |(_, other)| same(value, other).map(|same| all && same))
        }),
        (V::Map(_) | V::List(_), _) | (_, V::Map(_) | V::List(_)) => Some(false),
        _ => {
            if a.first_unknown().is_some() || b.first_unknown().is_some() {
                return None;
            }
            Some(a.to_text() == b.to_text())
        }
    }
}

fn binary(op: Op, left: &Val, right: &Val) -> Option<V> {
    let numbers = || Some((left.to_number()?, right.to_number()?));
    Some(match op {
        Op::Or => match (left.to_bool(), right.to_bool()) {
            (Some(true), _) | (_, Some(true)) => V::Bool(true),
            (Some(false), Some(false)) => V::Bool(false),
            _ => return None,
        },
        Op::And => match (left.to_bool(), right.to_bool()) {
            (Some(false), _) | (_, Some(false)) => V::Bool(false),
            (Some(true), Some(true)) => V::Bool(true),
            _ => return None,
        },
        Op::Eq => V::Bool(same(left, right)?),
        Op::Ne => V::Bool(!same(left, right)?),
        Op::Lt => numbers().map(|(a, b)| V::Bool(a < b))?,
        Op::Le => numbers().map(|(a, b)| V::Bool(a <= b))?,
        Op::Gt => numbers().map(|(a, b)| V::Bool(a > b))?,
        Op::Ge => numbers().map(|(a, b)| V::Bool(a >= b))?,
        Op::Add => numbers().map(|(a, b)| V::Number(a + b))?,
        Op::Sub => numbers().map(|(a, b)| V::Number(a - b))?,
        Op::Mul => numbers().map(|(a, b)| V::Number(a * b))?,
        Op::Div => numbers().filter(|(_, b)| *b != 0.0).map(|(a, b)| V::Number(a / b))?,
        Op::Rem => numbers().filter(|(_, b)| *b != 0.0).map(|(a, b)| V::Number(a % b))?,
    })
}
