//! A parsed document that remembers where everything stood: an arena of nodes with line and column, made from YAML or
//! JSON within limits. Aliases share a node, so that memory stays as small as the file; what they would expand to is
//! counted, and a document that would expand too far is refused.

mod build;
pub mod compose;
mod dockerfile;
mod json;
mod scalar;
mod yaml;

use std::fmt;

pub use build::Limits;

/// Where something stands: both from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mark {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One node of a [`Document`]; only good for the document it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(u32);

/// What a node holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// `null`, `~` or nothing.
    Null,
    /// A plain boolean; YAML 1.1's `yes`, `no`, `on`, `off` too, as Kubernetes reads them.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Str(&'a str),
    /// A list.
    Seq(&'a [NodeId]),
    /// A mapping, in the order of the file; merged keys come last.
    Map(&'a [Entry]),
}

/// One entry of a mapping.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    key: Text,
    /// Where the key stands.
    pub at: Mark,
    /// What it leads to.
    pub value: NodeId,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Text {
    start: u32,
    len: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Repr {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str,
    Seq { start: u32, len: u32 },
    Map { start: u32, len: u32 },
}

#[derive(Debug, Clone, Copy)]
struct Node {
    repr: Repr,
    text: Text,
    at: Mark,
    last_line: u32,
}

/// One document of a file.
#[derive(Debug, Default)]
pub struct Document {
    nodes: Vec<Node>,
    children: Vec<NodeId>,
    entries: Vec<Entry>,
    text: String,
    root: Option<NodeId>,
}

/// Why a document could not be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {what}")]
pub struct ModelError {
    /// Where the reader stood.
    pub at: Mark,
    /// What was expected and what came.
    pub what: String,
    /// Whether the file is well-formed but larger or deeper than the limits.
    pub over_limit: bool,
}

/// What a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// YAML, any number of documents.
    Yaml,
    /// JSON, one value after another.
    Json,
    /// A Dockerfile, read into a mapping with `stages`.
    Dockerfile,
    /// By its first character: what begins as JSON and is JSON, else YAML.
    Guess,
}

/// Reads all documents of `text` in order and hands each to `each`; documents before a mistake are handed over.
///
/// A byte order mark is skipped. Memory is held for one document at a time (for all of the file where the syntax is guessed
/// to be JSON).
///
/// # Errors
/// The place and the reason of the first mistake, or of the limit that was met.
pub fn read(text: &str, syntax: Syntax, limits: &Limits, each: &mut dyn FnMut(Document)) -> Result<(), ModelError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match syntax {
        Syntax::Yaml => yaml::read(text, limits, each),
        Syntax::Json => json::read(text, limits, each),
        Syntax::Dockerfile => dockerfile::read(text, limits, each),
        Syntax::Guess => {
            if text.trim_start().starts_with(['{', '[']) {
                let mut documents = Vec::new();
                let result = json::read(text, limits, &mut |document| documents.push(document));
                if result.as_ref().is_ok_and(|()| !documents.is_empty()) {
                    documents.into_iter().for_each(each);
                    return Ok(());
                }
                if let Err(error) = result
                    && error.over_limit
                {
                    return Err(error);
                }
            }
            yaml::read(text, limits, each)
        }
    }
}

impl Document {
    /// The outermost node; `None` for a document of nothing.
    pub fn root(&self) -> Option<NodeId> {
        self.root
    }

    /// What the node holds.
    pub fn value(&self, id: NodeId) -> Value<'_> {
        let node = &self.nodes[id.0 as usize];
        match node.repr {
            Repr::Null => Value::Null,
            Repr::Bool(value) => Value::Bool(value),
            Repr::Int(value) => Value::Int(value),
            Repr::Float(value) => Value::Float(value),
            Repr::Str => Value::Str(self.text(node.text)),
            Repr::Seq { start, len } => Value::Seq(&self.children[start as usize..(start + len) as usize]),
            Repr::Map { start, len } => Value::Map(&self.entries[start as usize..(start + len) as usize]),
        }
    }

    /// A scalar as it is written (`1.10` stays `1.10`); `None` for null, lists and mappings.
    pub fn scalar_text(&self, id: NodeId) -> Option<&str> {
        let node = &self.nodes[id.0 as usize];
        match node.repr {
            Repr::Bool(_) | Repr::Int(_) | Repr::Float(_) | Repr::Str => Some(self.text(node.text)),
            Repr::Null | Repr::Seq { .. } | Repr::Map { .. } => None,
        }
    }

    /// Text of a string node.
    pub fn str(&self, id: NodeId) -> Option<&str> {
        match self.value(id) {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Where the node begins; for a node reached by an alias, where its anchor stands.
    pub fn at(&self, id: NodeId) -> Mark {
        self.nodes[id.0 as usize].at
    }

    /// The last line that the node covers.
    pub fn last_line(&self, id: NodeId) -> u32 {
        self.nodes[id.0 as usize].last_line
    }

    /// The entry of a mapping by its key; the last one where a key is repeated, `None` where `id` is no mapping.
    pub fn entry(&self, id: NodeId, key: &str) -> Option<&Entry> {
        match self.value(id) {
            Value::Map(entries) => entries.iter().rev().find(|entry| self.text(entry.key) == key),
            _ => None,
        }
    }

    /// The value of a mapping by its key, `None` where it is missing or null.
    pub fn get(&self, id: NodeId, key: &str) -> Option<NodeId> {
        let value = self.entry(id, key)?.value;
        (!self.is_null(value)).then_some(value)
    }

    /// Follows keys; `None` as soon as one is missing or null.
    pub fn follow(&self, id: NodeId, keys: &[&str]) -> Option<NodeId> {
        keys.iter().try_fold(id, |node, key| self.get(node, key))
    }

    /// Text at the end of a row of keys.
    pub fn str_at(&self, id: NodeId, keys: &[&str]) -> Option<&str> {
        self.follow(id, keys).and_then(|node| self.str(node))
    }

    /// The items of a list; empty for anything else.
    pub fn items(&self, id: NodeId) -> &[NodeId] {
        match self.value(id) {
            Value::Seq(items) => items,
            _ => &[],
        }
    }

    /// The entries of a mapping with their keys; empty for anything else.
    pub fn entries(&self, id: NodeId) -> impl DoubleEndedIterator<Item = (&str, &Entry)> {
        let entries = match self.value(id) {
            Value::Map(entries) => entries,
            _ => &[],
        };
        entries.iter().map(|entry| (self.text(entry.key), entry))
    }

    /// Whether nothing is there.
    pub fn is_null(&self, id: NodeId) -> bool {
        self.nodes[id.0 as usize].repr == Repr::Null
    }

    /// The subtree as a JSON value. Numbers that JSON does not have become text.
    pub fn to_json(&self, id: NodeId) -> serde_json::Value {
        use serde_json::Value as Json;
        match self.value(id) {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(value),
            Value::Int(value) => Json::from(value),
            Value::Float(value) => serde_json::Number::from_f64(value)
                .map_or_else(|| Json::from(self.scalar_text(id).unwrap_or_default()), Json::Number),
            Value::Str(text) => Json::from(text),
            Value::Seq(items) => Json::Array(items.iter().map(|item| self.to_json(*item)).collect()),
            Value::Map(_) => {
                Json::Object(self.entries(id).map(|(key, entry)| (key.to_owned(), self.to_json(entry.value))).collect())
            }
        }
    }

    fn text(&self, text: Text) -> &str {
        &self.text[text.start as usize..(text.start + text.len) as usize]
    }
}

/// Whether an unquoted scalar of YAML is text, and not a number, a boolean or nothing.
pub(crate) fn is_plain_text(text: &str) -> bool {
    !text.is_empty() && scalar::resolve(text) == Repr::Str
}

/// A key as a segment of a JSON path: `.name`, or `["odd/name"]` where a name alone would be misread.
pub fn push_key(path: &mut String, key: &str) {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if plain {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
    } else {
        path.push_str("[\"");
        for character in key.chars() {
            if matches!(character, '"' | '\\') {
                path.push('\\');
            }
            path.push(character);
        }
        path.push_str("\"]");
    }
}

/// An index as a segment of a JSON path.
pub fn push_index(path: &mut String, index: usize) {
    path.push('[');
    path.push_str(&index.to_string());
    path.push(']');
}

#[cfg(test)]
mod tests;
