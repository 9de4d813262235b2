//! Variables of Serverless Framework: `${self:custom.table}`, `${file(vars.yml):name}`, `${opt:stage, 'dev'}`. What only a deployment
//! knows (options, the environment, the account) stays unknown, or has the default that the file gives.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::iac::Beside;
use crate::iac::cloudformation::plain;
use crate::iac::value::{V, Val, marked};

/// How often one variable may lead to another.
const MAX_LEAPS: u32 = 10;
/// How deep what they lead to may be nested.
const MAX_DEPTH: u32 = 32;
/// Values, and bytes of text, that one service may make by them.
const MAX_STEPS: usize = 1_000_000;
/// What a file costs of them.
const STEPS_OF_FILE: usize = 5_000;

/// What variables of a service lead to.
pub struct Variables<'f> {
    root: Val,
    beside: &'f Beside<'f>,
    steps: Cell<usize>,
    /// Those that were read.
    files: RefCell<FxHashMap<String, Option<Val>>>,
}

impl<'f> Variables<'f> {
    /// Of a service with all that is in its file; `beside` reads files that it names.
    pub fn new(root: Val, beside: &'f Beside<'f>) -> Self {
        Self { root, beside, steps: Cell::new(MAX_STEPS), files: RefCell::default() }
    }

    /// Whether some were left out, since there are too many.
    pub fn is_spent(&self) -> bool {
        self.steps.get() == 0
    }

    /// The value with its variables filled in; what is not known is an unknown.
    pub fn filled(&self, value: &Val) -> Val {
        self.at_depth(value, MAX_DEPTH, MAX_LEAPS)
    }

    /// Takes steps; false where none are left.
    fn spend(&self, steps: usize) -> bool {
        self.steps.set(self.steps.get().saturating_sub(steps));
        self.steps.get() > 0
    }

    fn at_depth(&self, value: &Val, depth: u32, leaps: u32) -> Val {
        if !self.spend(1) {
            return Val::unknown("too many variables", value.at);
        }
        let v = match &value.v {
            V::Text(text) if text.contains("${") => return self.text(text, value, leaps),
            V::List(items) if depth > 0 => {
                V::List(items.iter().map(|item| self.at_depth(item, depth - 1, leaps)).collect())
            }
            V::Map(entries) if depth > 0 => {
                let filled = |(key, value): &(Rc<str>, Val)| (key.clone(), self.at_depth(value, depth - 1, leaps));
                V::Map(entries.iter().map(filled).collect())
            }
            V::Null | V::Bool(_) | V::Number(_) | V::Text(_) | V::List(_) | V::Map(_) | V::Unknown(_) => {
                return value.clone();
            }
        };
        Val { v, ..value.clone() }
    }

    /// A text, the innermost of its variables first.
    fn text(&self, text: &str, place: &Val, leaps: u32) -> Val {
        let mut text = text.to_owned();
        while let Some(end) = closing(&text) {
            let Some(start) = text[..end].rfind("${") else { break };
            if !self.spend(text.len()) {
                return Val::unknown("too many variables", place.at);
            }
            let inner = &text[start + 2..end];
            // CloudFormation's own, which a deployment passes on.
            let value = if inner.starts_with("AWS::") { None } else { self.variable(inner, leaps) };
            if start == 0 && end + 1 == text.len() {
                return match value {
                    Some(value) => Val { last_line: place.last_line, ..value.used_at(place.at) },
                    None => Val::unknown(inner, place.at),
                };
            }
            let piece = value.as_ref().and_then(Val::to_text).unwrap_or_else(|| marked(inner));
            text.replace_range(start..=end, &piece);
        }
        Val { v: V::Text(Rc::from(text)), ..place.clone() }
    }

    /// What is between the braces: sources, the first that is known counts.
    fn variable(&self, inner: &str, leaps: u32) -> Option<Val> {
        if leaps == 0 {
            return None;
        }
        inner.split(',').find_map(|source| self.source(source.trim(), leaps - 1))
    }

    fn source(&self, source: &str, leaps: u32) -> Option<Val> {
        let quoted = |quote: char| source.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(literal) = quoted('\'').or_else(|| quoted('"')) {
            return Some(Val::text(literal, self.root.at));
        }
        if let Some(path) = source.strip_prefix("self:") {
            return self.follow(&self.root, path, leaps);
        }
        let (file, path) = source.strip_prefix("file(")?.split_once(')')?;
        self.follow(&self.file(file.trim())?, path.strip_prefix(':').unwrap_or_default(), leaps)
    }

    fn file(&self, name: &str) -> Option<Val> {
        if let Some(known) = self.files.borrow().get(name) {
            return known.clone();
        }
        if !self.spend(STEPS_OF_FILE) {
            return None;
        }
        let document = (self.beside)(name);
        let value = document.and_then(|document| Some(plain(&document, document.root()?, MAX_DEPTH)));
        self.files.borrow_mut().insert(name.to_owned(), value.clone());
        value
    }

    /// What a path leads to, each value on its way filled in.
    fn follow(&self, from: &Val, path: &str, leaps: u32) -> Option<Val> {
        let mut value = from.clone();
        for key in path.split('.').filter(|key| !key.is_empty()) {
            value = match &value.v {
                V::Text(text) if text.contains("${") => self.text(text, &value, leaps),
                _ => value,
            };
            value = match &value.v {
                V::Map(_) => value.get(key)?.clone(),
                V::List(items) => items.get(key.parse::<usize>().ok()?)?.clone(),
                V::Null | V::Bool(_) | V::Number(_) | V::Text(_) | V::Unknown(_) => return None,
            };
        }
        let filled = self.at_depth(&value, MAX_DEPTH, leaps);
        (!matches!(filled.v, V::Null | V::Unknown(_))).then_some(filled)
    }
}

/// Where the first variable that is not around another one ends.
fn closing(text: &str) -> Option<usize> {
    let start = text.find("${")?;
    text[start..].find('}').map(|end| start + end)
}
