//! Functions of templates: `Ref`, `Fn::Sub`, `Fn::If`, … A parameter has its default's value, without one it is unknown.

use std::cell::Cell;
use std::rc::Rc;

use crate::iac::value::{V, Val, cleaned, marked};
use crate::model::{Document, NodeId, Value};

/// How deep values may be nested.
const MAX_DEPTH: u32 = 100;
/// Steps that one template may take.
const STEPS: u64 = 8_000_000;

pub struct Template<'d> {
    document: &'d Document,
    parameters: Option<NodeId>,
    conditions: Option<NodeId>,
    mappings: Option<NodeId>,
    steps: Cell<u64>,
}

impl<'d> Template<'d> {
    pub fn new(document: &'d Document, root: NodeId) -> Self {
        Self {
            document,
            parameters: document.get(root, "Parameters"),
            conditions: document.get(root, "Conditions"),
            mappings: document.get(root, "Mappings"),
            steps: Cell::new(STEPS),
        }
    }

    /// Whether something was left out since it costs too much.
    pub fn is_spent(&self) -> bool {
        self.steps.get() == 0
    }

    pub fn value(&self, node: NodeId) -> Val {
        self.at_depth(node, MAX_DEPTH)
    }

    fn at_depth(&self, node: NodeId, depth: u32) -> Val {
        let document = self.document;
        let at = document.at(node);
        let left = self.steps.get().saturating_sub(1);
        self.steps.set(left);
        if depth == 0 || left == 0 {
            return Val::unknown("what is nested too deep or too large", at);
        }
        let v = match document.value(node) {
            Value::Null => V::Null,
            Value::Bool(value) => V::Bool(value),
            Value::Int(value) => V::Number(value as f64),
            Value::Float(value) => V::Number(value),
            Value::Str(text) => V::Text(Rc::from(&*cleaned(text))),
            Value::Seq(items) => V::List(
                items
                    .iter()
                    .map(|item| self.at_depth(*item, depth - 1))
                    // `AWS::NoValue` within a list is no item.
                    .filter(|value| !matches!(value.v, V::Null))
                    .collect(),
            ),
            Value::Map(entries) => {
                if let [_] = entries
                    && let Some((key, entry)) = document.entries(node).next()
                    && (key == "Ref" || key == "Condition" || key.starts_with("Fn::"))
                {
                    return Val { at, last_line: document.last_line(node), ..self.call(key, entry.value, depth - 1) };
                }
                V::Map(
                    document
                        .entries(node)
                        .map(|(key, entry)| (Rc::from(&*cleaned(key)), self.at_depth(entry.value, depth - 1)))
                        .collect(),
                )
            }
        };
        Val::new(v, at, document.last_line(node))
    }

    fn call(&self, function: &str, node: NodeId, depth: u32) -> Val {
        let document = self.document;
        let at = document.at(node);
        let unknown = || Val::unknown(function, at);
        let argument = |index: usize| document.items(node).get(index).map(|item| self.at_depth(*item, depth));
        match function {
            "Ref" => self.reference(&cleaned(document.scalar_text(node).unwrap_or_default()), at),
            "Fn::GetAtt" => match document.scalar_text(node) {
                Some(text) => Val::unknown(&cleaned(text), at),
                None => {
                    let texts: Vec<_> =
                        document.items(node).iter().filter_map(|item| document.scalar_text(*item)).collect();
                    Val::unknown(&cleaned(&texts.join(".")), at)
                }
            },
            "Fn::Sub" => self.substituted(node, depth),
            "Fn::Join" => match (argument(0).and_then(|separator| separator.to_text()), argument(1)) {
                (Some(separator), Some(Val { v: V::List(items), .. })) => {
                    let pieces: Option<Vec<_>> = items.iter().map(Val::to_text).collect();
                    match pieces {
                        Some(pieces) => Val::text(&pieces.join(&*separator), at),
                        None => unknown(),
                    }
                }
                _ => unknown(),
            },
            "Fn::If" => {
                let name = document.items(node).first().and_then(|name| document.scalar_text(*name));
                match name.and_then(|name| self.condition(name, 24)) {
                    Some(true) => argument(1).unwrap_or_else(unknown),
                    Some(false) => argument(2).unwrap_or_else(unknown),
                    None => Val::unknown(&format!("Condition {}", cleaned(name.unwrap_or_default())), at),
                }
            }
            "Fn::Select" => match (argument(0).and_then(|index| index.to_number()), argument(1)) {
                (Some(index), Some(Val { v: V::List(items), .. })) if index >= 0.0 => {
                    items.get(index as usize).cloned().unwrap_or_else(unknown)
                }
                _ => unknown(),
            },
            "Fn::Split" => match (argument(0), argument(1)) {
                (Some(separator), Some(text)) => match (separator.known_text(), text.known_text()) {
                    (Some(separator), Some(text)) if !separator.is_empty() => {
                        let pieces = text.split(separator).map(|piece| Val::text(piece, at)).collect();
                        Val::at(V::List(pieces), at)
                    }
                    _ => unknown(),
                },
                _ => unknown(),
            },
            "Fn::FindInMap" => {
                let mut found = self.mappings;
                for index in 0..3 {
                    let key = argument(index).and_then(|key| key.known_text().map(str::to_owned));
                    found = match (found, key) {
                        (Some(map), Some(key)) => document.get(map, &key),
                        _ => None,
                    };
                }
                found.map_or_else(unknown, |node| self.at_depth(node, depth))
            }
            "Fn::Base64" | "Fn::ToJsonString" => self.at_depth(node, depth),
            _ => unknown(),
        }
    }

    fn reference(&self, name: &str, at: crate::model::Mark) -> Val {
        if name == "AWS::NoValue" {
            return Val::at(V::Null, at);
        }
        let Some(parameter) = self.parameters.and_then(|all| self.document.get(all, name)) else {
            return Val::unknown(name, at);
        };
        match self.document.get(parameter, "Default") {
            Some(default) => {
                let value = super::plain(self.document, default, 8);
                let is_list = self
                    .document
                    .str_at(parameter, &["Type"])
                    .is_some_and(|kind| kind.starts_with("List<") || kind == "CommaDelimitedList");
                match value.known_text() {
                    Some(text) if is_list => {
                        Val::at(V::List(text.split(',').map(|piece| Val::text(piece.trim(), at)).collect()), at)
                    }
                    _ => value.used_at(at),
                }
            }
            None => Val::unknown(&format!("parameter {name}"), at),
        }
    }

    fn substituted(&self, node: NodeId, depth: u32) -> Val {
        let document = self.document;
        let at = document.at(node);
        let (text, names) = match document.items(node) {
            [] => (document.scalar_text(node), None),
            items => (document.scalar_text(items[0]), items.get(1).copied()),
        };
        let mut out = String::new();
        let text = cleaned(text.unwrap_or_default());
        let mut rest = &*text;
        while let Some(start) = rest.find("${") {
            out.push_str(&rest[..start]);
            let Some(end) = rest[start..].find('}') else { break };
            let name = rest[start + 2..start + end].trim();
            rest = &rest[start + end + 1..];
            if let Some(literal) = name.strip_prefix('!') {
                out.push_str(&format!("${{{literal}}}"));
                continue;
            }
            let value = match names.and_then(|names| document.get(names, name)) {
                Some(own) => self.at_depth(own, depth),
                None => self.reference(name, at),
            };
            match value.to_text() {
                Some(text) => out.push_str(&text),
                None => out.push_str(&marked(name)),
            }
            let left = self.steps.get().saturating_sub(1 + out.len() as u64 / 1024);
            self.steps.set(left);
            if left == 0 {
                break;
            }
        }
        out.push_str(rest);
        Val::text(&out, at)
    }

    /// What a condition comes to with the parameters' defaults.
    fn condition(&self, name: &str, depth: u32) -> Option<bool> {
        let node = self.conditions.and_then(|all| self.document.get(all, name))?;
        self.holds(node, depth)
    }

    fn holds(&self, node: NodeId, depth: u32) -> Option<bool> {
        let document = self.document;
        let left = self.steps.get().saturating_sub(1);
        self.steps.set(left);
        if depth == 0 || left == 0 {
            return None;
        }
        let (key, entry) = document.entries(node).next()?;
        let all = || document.items(entry.value).iter().map(|item| self.holds(*item, depth - 1));
        match key {
            "Condition" => self.condition(document.scalar_text(entry.value)?, depth - 1),
            "Fn::Equals" => {
                let [left, right] = document.items(entry.value) else { return None };
                let (left, right) = (self.at_depth(*left, 24), self.at_depth(*right, 24));
                if left.first_unknown().is_some() || right.first_unknown().is_some() {
                    return None;
                }
                Some(left.to_text() == right.to_text())
            }
            "Fn::Not" => all().next()?.map(|held| !held),
            "Fn::And" => {
                let all: Vec<_> = all().collect();
                if all.contains(&Some(false)) {
                    return Some(false);
                }
                all.into_iter().collect::<Option<Vec<_>>>().map(|_| true)
            }
            "Fn::Or" => {
                let all: Vec<_> = all().collect();
                if all.contains(&Some(true)) {
                    return Some(true);
                }
                all.into_iter().collect::<Option<Vec<_>>>().map(|_| false)
            }
            _ => None,
        }
    }
}
