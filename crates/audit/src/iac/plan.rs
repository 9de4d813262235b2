//! Terraform's plans (`terraform show -json`): the values are known as far as Terraform knows them.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::cloudformation::plain;
use super::value::{V, Val, cleaned};
use super::{Resource, Stack, statements};
use crate::model::{Document, Mark, NodeId, push_index, push_key};

/// The most resources of one plan.
const MAX_RESOURCES: usize = 100_000;
/// How deep modules may be nested.
const MAX_MODULES: u32 = 32;
/// How deep values may be nested.
const MAX_DEPTH: u32 = 96;

/// Whether a mapping is a plan.
pub fn is_plan(document: &Document, root: NodeId) -> bool {
    document.get(root, "planned_values").is_some() && document.get(root, "terraform_version").is_some()
        || document.get(root, "planned_values").is_some() && document.get(root, "format_version").is_some()
}

/// The resources of a plan.
pub fn stack(document: &Document, root: NodeId) -> Stack {
    let changes = document.get(root, "resource_changes").map(|list| document.items(list)).unwrap_or_default();
    let changes =
        changes.iter().filter_map(|change| Some((document.str_at(*change, &["address"])?, *change))).collect();
    let mut reader = Reader { document, changes, configured: configured(document, root), made: Vec::new(), cut: false };
    if let Some(module) = document.follow(root, &["planned_values", "root_module"]) {
        reader.module(module, "planned_values.root_module", MAX_MODULES);
    }
    let mut stack = Stack::new(reader.made);
    stack.cut |= reader.cut;
    stack
}

struct Reader<'d> {
    document: &'d Document,
    changes: FxHashMap<&'d str, NodeId>,
    configured: FxHashMap<String, (String, NodeId)>,
    made: Vec<Resource>,
    cut: bool,
}

impl Reader<'_> {
    fn module(&mut self, module: NodeId, path: &str, depth: u32) {
        let document = self.document;
        let list = |key: &str| document.get(module, key).map(|list| document.items(list)).unwrap_or_default();
        for (index, resource) in list("resources").iter().enumerate() {
            if self.made.len() >= MAX_RESOURCES {
                self.cut = true;
                return;
            }
            let mut path = path.to_owned();
            push_key(&mut path, "resources");
            push_index(&mut path, index);
            self.resource(*resource, path);
        }
        for (index, child) in list("child_modules").iter().enumerate() {
            if depth == 0 {
                self.cut = true;
                return;
            }
            let mut path = path.to_owned();
            push_key(&mut path, "child_modules");
            push_index(&mut path, index);
            self.module(*child, &path, depth - 1);
        }
    }

    fn resource(&mut self, node: NodeId, mut path: String) {
        let document = self.document;
        let text = |key: &str| document.str_at(node, &[key]).unwrap_or_default();
        let (kind, address) = (text("type"), text("address").to_owned());
        let is_data = text("mode") == "data";
        push_key(&mut path, "values");
        let at = document.at(node);
        let values = document.get(node, "values").map(|values| plain(document, values, MAX_DEPTH));
        let mut entries = match values {
            Some(Val { v: V::Map(entries), .. }) => entries.to_vec(),
            _ => Vec::new(),
        };
        self.add_unknown(&address, &mut entries, at);
        let attributes = Val::new(V::Map(entries.into()), at, document.last_line(node));
        self.made.push(Resource {
            kind: if is_data { format!("data.{kind}") } else { kind.to_owned() },
            reference: address.clone(),
            address,
            path,
            attributes: statements::normalised(attributes),
            file: 0,
            skips: Vec::new(),
        });
    }

    /// Attributes that are known after apply, with what the configuration says they refer to.
    fn add_unknown(&self, address: &str, entries: &mut Vec<(Rc<str>, Val)>, at: Mark) {
        let document = self.document;
        let unknown =
            self.changes.get(address).and_then(|change| document.follow(*change, &["change", "after_unknown"]));
        let configured = self.configured.get(&*without_keys(address));
        for (key, entry) in unknown.into_iter().flat_map(|unknown| document.entries(unknown)) {
            if !matches!(document.value(entry.value), crate::model::Value::Bool(true)) {
                continue;
            }
            // What nobody asked for (an id, an ARN) is no attribute of the configuration.
            let Some((prefix, expressions)) = configured else { continue };
            let Some(expression) = document.get(*expressions, key) else { continue };
            let names = document.get(expression, "references").map(|list| document.items(list)).unwrap_or_default();
            let name = names.last().and_then(|name| document.str(*name)).unwrap_or("a value known after apply");
            entries.retain(|(known, _)| &**known != key);
            entries.push((Rc::from(key), Val::unknown(&format!("{prefix}{}", cleaned(name)), at)));
        }
    }
}

/// `module.a["x"].t.n[0]` as `module.a.t.n`.
fn without_keys(address: &str) -> String {
    let mut out = String::with_capacity(address.len());
    let mut depth = 0;
    for character in address.chars() {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ if depth <= 0 => out.push(character),
            _ => {}
        }
    }
    out
}

/// The expressions of every configured resource by its address without keys, with the prefix of its module.
fn configured(document: &Document, root: NodeId) -> FxHashMap<String, (String, NodeId)> {
    let mut found = FxHashMap::default();
    let start = document.follow(root, &["configuration", "root_module"]);
    let mut waiting: Vec<_> = start.into_iter().map(|module| (String::new(), module, MAX_MODULES)).collect();
    while let Some((prefix, module, depth)) = waiting.pop() {
        for resource in document.get(module, "resources").map(|list| document.items(list)).unwrap_or_default() {
            let address = document.str_at(*resource, &["address"]).unwrap_or_default();
            if let Some(expressions) = document.get(*resource, "expressions") {
                found.insert(format!("{prefix}{address}"), (prefix.clone(), expressions));
            }
        }
        let calls = document.get(module, "module_calls").filter(|_| depth > 0);
        for (name, call) in calls.into_iter().flat_map(|calls| document.entries(calls)) {
            if let Some(module) = document.get(call.value, "module") {
                waiting.push((format!("{prefix}module.{name}."), module, depth - 1));
            }
        }
    }
    found
}
