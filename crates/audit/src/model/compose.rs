//! Documents made by a program instead of read from a file.

use super::{Document, Entry, Mark, Node, NodeId, Repr, Text};

/// Puts a document together from the inside out.
#[derive(Debug, Default)]
pub struct Composer {
    document: Document,
}

impl Composer {
    /// How many nodes there are so far.
    pub fn nodes(&self) -> usize {
        self.document.nodes.len()
    }

    /// Nothing.
    pub fn null(&mut self, at: Mark) -> NodeId {
        self.node(Repr::Null, Text::default(), at, at.line)
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool, at: Mark) -> NodeId {
        let text = self.keep(if value { "true" } else { "false" });
        self.node(Repr::Bool(value), text, at, at.line)
    }

    /// A number; `text` is how it is written.
    pub fn number(&mut self, value: f64, text: &str, at: Mark) -> NodeId {
        let text = self.keep(text);
        let whole = value.fract() == 0.0 && value.abs() < 9e15;
        self.node(if whole { Repr::Int(value as i64) } else { Repr::Float(value) }, text, at, at.line)
    }

    /// A text.
    pub fn text(&mut self, text: &str, at: Mark, last_line: u32) -> NodeId {
        let text = self.keep(text);
        self.node(Repr::Str, text, at, last_line)
    }

    /// A list.
    pub fn list(&mut self, items: &[NodeId], at: Mark, last_line: u32) -> NodeId {
        let start = self.document.children.len() as u32;
        self.document.children.extend_from_slice(items);
        self.node(Repr::Seq { start, len: items.len() as u32 }, Text::default(), at, last_line)
    }

    /// A mapping: keys, where these stand, values.
    pub fn map(&mut self, entries: &[(&str, Mark, NodeId)], at: Mark, last_line: u32) -> NodeId {
        let start = self.document.entries.len() as u32;
        for (key, at, value) in entries {
            let key = self.keep(key);
            self.document.entries.push(Entry { key, at: *at, value: *value });
        }
        self.node(Repr::Map { start, len: entries.len() as u32 }, Text::default(), at, last_line)
    }

    /// The document. It has no root: whoever made it knows its nodes.
    pub fn finish(self) -> Document {
        self.document
    }

    fn keep(&mut self, text: &str) -> Text {
        let start = self.document.text.len() as u32;
        self.document.text.push_str(text);
        Text { start, len: text.len() as u32 }
    }

    fn node(&mut self, repr: Repr, text: Text, at: Mark, last_line: u32) -> NodeId {
        let id = NodeId(self.document.nodes.len() as u32);
        self.document.nodes.push(Node { repr, text, at, last_line });
        id
    }
}
