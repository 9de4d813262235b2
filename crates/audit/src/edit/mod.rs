//! Changes YAML and JSON in place: only what is changed is written anew, so that comments, order and style stay. What stands behind an
//! alias or an anchor is left alone, since it stands in several places.

mod check;
pub mod diff;
mod render;
mod tree;

use serde_json::Value as Json;

use crate::expr::{self, Step};
use crate::model::Mark;
use render::Style;
use tree::{Kind, Tree};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A key of a mapping.
    Name(String),
    /// An index of a list.
    Index(usize),
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which document of the file, from 0.
    pub document: usize,
    /// Where.
    pub path: Vec<Key>,
    /// What has to stand there; `None`: nothing.
    pub value: Option<Json>,
}

/// A text with its changes made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The text.
    pub text: String,
    /// Changes that could not be made: where, and why.
    pub refused: Vec<(Mark, String)>,
}

/// A JSON path as keys; `None` where it is none, or goes to several places.
pub fn keys(path: &str) -> Option<Vec<Key>> {
    if path.is_empty() {
        return Some(Vec::new());
    }
    let steps = expr::parse_path(path).ok()?.steps;
    steps
        .into_iter()
        .map(|step| match step {
            Step::Key(key) => Some(Key::Name(key)),
            Step::Index(index) => Some(Key::Index(index)),
            Step::Each => None,
        })
        .collect()
}

/// Adds a document at the end of a text, in YAML.
pub fn append(text: &mut String, document: &Json) {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str(newline);
    }
    let style = Style { newline, json: false };
    text.push_str(&format!("---{newline}{}{newline}", style.block(document, 0)));
}

/// All changes of one document, by place.
#[derive(Debug, Default)]
struct Plan {
    set: Option<Json>,
    remove: bool,
    children: Vec<(Key, Plan)>,
}

impl Plan {
    fn add(&mut self, path: &[Key], value: Option<&Json>) {
        match path.split_first() {
            None if self.set.is_some() || self.remove => {}
            None => {
                self.remove = value.is_none();
                self.set = value.cloned();
            }
            Some((key, rest)) => {
                let at = self.children.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
                    self.children.push((key.clone(), Self::default()));
                    self.children.len() - 1
                });
                self.children[at].1.add(rest, value);
            }
        }
    }

    /// What has to be written where nothing is.
    fn value(&self) -> Option<Json> {
        if self.set.is_some() {
            return self.set.clone();
        }
        let mut map = serde_json::Map::new();
        for (key, child) in &self.children {
            if let (Key::Name(key), Some(value)) = (key, child.value()) {
                map.insert(key.clone(), value);
            }
        }
        (!map.is_empty()).then_some(Json::Object(map))
    }
}

/// Makes the changes. Of two that contradict each other the first is made. The values before and after are compared: where anything
/// else would differ, nothing is changed.
///
/// # Errors
/// Where the text is no YAML: the place and the reason.
pub fn apply(text: &str, changes: &[Change]) -> Result<Edited, (Mark, String)> {
    let (mark, body) = text.strip_prefix('\u{feff}').map_or(("", text), |body| ("\u{feff}", body));
    let tree = Tree::parse(body)?;
    let newline = if body.contains("\r\n") { "\r\n" } else { "\n" };
    let json = body.trim_start().starts_with(['{', '[']);
    let mut editor =
        Editor { text: body, tree: &tree, style: Style { newline, json }, edits: Vec::new(), refused: Vec::new() };
    for (number, root) in tree.roots.iter().enumerate() {
        let mut plan = Plan::default();
        for change in changes.iter().filter(|change| change.document == number) {
            plan.add(&change.path, change.value.as_ref());
        }
        if let Some(root) = root {
            editor.node(&plan, *root, None, 0);
        }
    }
    let mut refused = std::mem::take(&mut editor.refused);
    let edited = editor.finish().filter(|edited| edited == body || check::is_meant(body, edited, changes));
    let Some(edited) = edited else {
        let why = "this text cannot be changed without changing something else in it";
        refused.push((Mark { line: 1, column: 1 }, why.to_owned()));
        return Ok(Edited { text: text.to_owned(), refused });
    };
    Ok(Edited { text: format!("{mark}{edited}"), refused })
}

struct Edit {
    start: usize,
    end: usize,
    depth: usize,
    text: String,
}

struct Editor<'t> {
    text: &'t str,
    tree: &'t Tree,
    style: Style<'t>,
    edits: Vec<Edit>,
    refused: Vec<(Mark, String)>,
}

impl Editor<'_> {
    /// `None`, where the places do not fit the text, as the parser's of some odd YAML.
    fn finish(mut self) -> Option<String> {
        // From the end; of two insertions at one place the deeper one has to stand first.
        self.edits
            .sort_by(|a, b| (b.start, b.end - b.start).cmp(&(a.start, a.end - a.start)).then(a.depth.cmp(&b.depth)));
        let mut out = self.text.to_owned();
        for edit in &self.edits {
            out.get(edit.start..edit.end)?;
            out.replace_range(edit.start..edit.end, &edit.text);
        }
        Some(out)
    }

    fn edit(&mut self, range: std::ops::Range<usize>, depth: usize, text: String) {
        self.edits.push(Edit { start: range.start, end: range.end, depth, text });
    }

    fn refuse(&mut self, node: usize, why: &str) {
        self.refused.push((self.tree.mark(self.text, self.tree.nodes[node].start), why.to_owned()));
    }

    /// `key`: the node of the key that leads here.
    fn node(&mut self, plan: &Plan, id: usize, key: Option<usize>, depth: usize) {
        if plan.set.is_none() && plan.children.is_empty() {
            return;
        }
        let node = &self.tree.nodes[id];
        if node.shared {
            self.refuse(id, "it stands behind an anchor or alias and would change in several places");
            return;
        }
        if let Some(value) = &plan.set {
            self.replace(id, key, value, depth);
            return;
        }
        match &node.kind {
            Kind::Map { .. } => self.map(plan, id, key, depth),
            Kind::Seq { items, .. } => {
                for (step, child) in &plan.children {
                    let Key::Index(index) = step else { continue };
                    match items.get(*index) {
                        Some(item) if !child.remove => self.node(child, *item, None, depth + 1),
                        Some(_) | None => self.refuse(id, "an item of a list is not removed"),
                    }
                }
            }
            Kind::Scalar { null: true } => {
                if let Some(value) = plan.value() {
                    self.replace(id, key, &value, depth);
                }
            }
            Kind::Scalar { null: false } => {
                if plan.value().is_some() {
                    self.refuse(id, "there is a plain value where a mapping is expected");
                }
            }
        }
    }

    fn replace(&mut self, id: usize, key: Option<usize>, value: &Json, depth: usize) {
        let node = &self.tree.nodes[id];
        let is_flow = node.in_flow || matches!(node.kind, Kind::Map { flow: true, .. } | Kind::Seq { flow: true, .. });
        let is_block = !is_flow && matches!(node.kind, Kind::Map { .. } | Kind::Seq { .. });
        if is_block {
            let column = self.tree.column(self.text, node.start);
            // A list whose dashes stand right below its key begins at its first item for the parser.
            let dash = &self.text[self.tree.line_start(self.text, node.start)..node.start];
            let start = node.start - if dash.trim() == "-" { dash.len() - dash.find('-').unwrap_or(0) } else { 0 };
            let is_list = matches!(node.kind, Kind::Seq { .. });
            let (start, column) =
                if is_list { (start, self.tree.column(self.text, start)) } else { (node.start, column) };
            let same = matches!((&node.kind, value), (Kind::Map { .. }, Json::Object(new)) if !new.is_empty())
                || matches!((&node.kind, value), (Kind::Seq { .. }, Json::Array(new)) if !new.is_empty());
            if same {
                let text = self.style.block(value, column);
                self.edit(start..node.end, depth, text.trim_start().to_owned());
                return;
            }
        }
        let is_nothing = node.start == node.end;
        match key {
            // `key:` with its value on the lines below, or without one.
            Some(key) if !is_flow && (is_block || is_nothing) => {
                let colon = self.tree.colon(self.text, key);
                let end = if is_nothing { colon } else { node.end };
                let column = self.tree.column(self.text, self.tree.nodes[key].start);
                let nested = matches!(value, Json::Object(map) if !map.is_empty());
                if is_nothing && nested {
                    let at = self.tree.line_end(self.text, colon);
                    let text = format!("{}{}", self.style.newline, self.style.block(value, column + 2));
                    self.edit(at..at, depth, text);
                } else {
                    self.edit(colon..end, depth, format!(" {}", self.style.flow(value)));
                }
            }
            Some(key) if is_nothing => {
                let colon = self.tree.colon(self.text, key);
                self.edit(colon..colon, depth, format!(" {}", self.style.flow(value)));
            }
            None if is_nothing => self.refuse(id, "an empty item of a list"),
            Some(_) | None => self.edit(node.start..node.end, depth, self.style.flow(value)),
        }
    }

    fn map(&mut self, plan: &Plan, id: usize, key: Option<usize>, depth: usize) {
        let tree = self.tree;
        let node = &tree.nodes[id];
        let Kind::Map { flow, entries } = &node.kind else { return };
        let flow = *flow || node.in_flow;
        let mut gone = vec![false; entries.len()];
        let mut missing = serde_json::Map::new();
        for (step, child) in &plan.children {
            let Key::Name(name) = step else {
                self.refuse(id, "there is a mapping where a list is expected");
                continue;
            };
            match entries.iter().rposition(|entry| entry.name == *name) {
                Some(at) if child.remove => gone[at] = true,
                Some(at) => self.node(child, entries[at].value, Some(entries[at].key), depth + 1),
                None => {
                    if let Some(value) = child.value() {
                        missing.insert(name.clone(), value);
                    }
                }
            }
        }
        let kept = gone.iter().rposition(|gone| !gone);
        let Some(last_kept) = kept else {
            // Nothing is left of what was there.
            let value = Json::Object(missing);
            if entries.is_empty() || !flow {
                if !entries.is_empty() || value.as_object().is_some_and(|map| !map.is_empty()) {
                    self.replace(id, key, &value, depth);
                }
            } else {
                self.edit(node.start..node.end, depth, self.style.flow(&value));
            }
            return;
        };
        let mut at = 0;
        while at < entries.len() {
            if !gone[at] {
                at += 1;
                continue;
            }
            let run = at;
            while at < entries.len() && gone[at] {
                at += 1;
            }
            let start = tree.nodes[entries[run].key].start;
            let line = tree.line_start(self.text, start);
            let own_line = !flow && self.text[line..start].trim().is_empty();
            if own_line {
                for entry in &entries[run..at] {
                    let start = tree.line_start(self.text, tree.nodes[entry.key].start);
                    let end = tree.next_line(self.text, tree.end_of(self.text, entry));
                    self.edit(start..end, depth, String::new());
                }
            } else if at < entries.len() {
                self.edit(start..tree.nodes[entries[at].key].start, depth, String::new());
            } else {
                let start = tree.end_of(self.text, &entries[last_kept]);
                self.edit(start..tree.end_of(self.text, &entries[at - 1]), depth, String::new());
            }
        }
        if missing.is_empty() {
            return;
        }
        if flow {
            let at = tree.end_of(self.text, &entries[last_kept]);
            let inner = self.style.flow_entries(&missing);
            self.edit(at..at, depth, format!(", {inner}"));
            return;
        }
        let column = tree.column(self.text, tree.nodes[entries[0].key].start);
        let last = tree.end_of(self.text, &entries[last_kept]);
        let block = self.style.block(&Json::Object(missing), column);
        let line_end = tree.line_end(self.text, last);
        self.edit(line_end..line_end, depth, format!("{}{block}", self.style.newline));
    }
}

#[cfg(test)]
mod tests;
