//! Puts a document together from a reader's events: depth and expansion are counted, merge keys resolved.

use super::{Document, Entry, Mark, ModelError, Node, NodeId, Repr, Text};

/// How much of a file is read. What is over a limit ends in a line of the ledger that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest file, in bytes.
    pub file_bytes: u64,
    /// The deepest nesting of lists and mappings, aliases followed.
    pub depth: u32,
    /// The most nodes of a document, aliases followed.
    pub nodes: u64,
    /// The most documents of a file.
    pub documents: usize,
    /// The most verdicts that are kept of a file.
    pub findings: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 32 << 20, depth: 128, nodes: 4_000_000, documents: 100_000, findings: 500_000 }
    }
}

/// What a node would be with all aliases written out.
#[derive(Debug, Clone, Copy)]
struct Size {
    nodes: u64,
    depth: u32,
}

struct Frame {
    is_map: bool,
    at: Mark,
    anchor: usize,
    /// Where this frame's children begin in `items` or `entries`.
    start: usize,
    key: Option<(Text, Mark)>,
    size: Size,
    merges: bool,
    last_line: u32,
}

pub(super) struct Builder<'l> {
    limits: &'l Limits,
    document: Document,
    frames: Vec<Frame>,
    items: Vec<NodeId>,
    entries: Vec<Entry>,
    sizes: Vec<Size>,
    anchors: Vec<(usize, NodeId)>,
}

/// A scalar as a reader gives it.
pub(super) struct Scalar<'t> {
    pub text: &'t str,
    pub repr: Repr,
    pub plain: bool,
    pub anchor: usize,
}

impl<'l> Builder<'l> {
    pub fn new(limits: &'l Limits) -> Self {
        Self {
            limits,
            document: Document::default(),
            frames: Vec::new(),
            items: Vec::new(),
            entries: Vec::new(),
            sizes: Vec::new(),
            anchors: Vec::new(),
        }
    }

    /// The finished document; the builder is ready for the next.
    pub fn finish(&mut self) -> Document {
        self.frames.clear();
        self.items.clear();
        self.entries.clear();
        self.sizes.clear();
        self.anchors.clear();
        std::mem::take(&mut self.document)
    }

    pub fn open(&mut self, is_map: bool, anchor: usize, at: Mark) -> Result<(), ModelError> {
        if self.frames.last().is_some_and(|frame| frame.is_map && frame.key.is_none()) {
            return Err(mistake(at, "a list or mapping as a key; keys have to be text"));
        }
        if self.frames.len() as u32 >= self.limits.depth {
            return Err(self.too_deep(at));
        }
        let start = if is_map { self.entries.len() } else { self.items.len() };
        let size = Size { nodes: 1, depth: 1 };
        self.frames.push(Frame { is_map, at, anchor, start, key: None, size, merges: false, last_line: at.line });
        Ok(())
    }

    pub fn scalar(&mut self, scalar: &Scalar<'_>, at: Mark, last_line: u32) -> Result<(), ModelError> {
        let text = self.keep(scalar.text);
        let is_key = self.frames.last().is_some_and(|frame| frame.is_map && frame.key.is_none());
        if is_key {
            if let Some(frame) = self.frames.last_mut() {
                frame.key = Some((text, at));
                frame.merges |= scalar.plain && scalar.text == "<<";
            }
            if scalar.anchor != 0 {
                let id = self.push(Node { repr: Repr::Str, text, at, last_line }, Size { nodes: 1, depth: 1 });
                self.anchors.push((scalar.anchor, id));
            }
            return Ok(());
        }
        let size = Size { nodes: 1, depth: 1 };
        let id = self.push(Node { repr: scalar.repr, text, at, last_line }, size);
        if scalar.anchor != 0 {
            self.anchors.push((scalar.anchor, id));
        }
        self.attach(id, size, at, last_line)
    }

    pub fn alias(&mut self, anchor: usize, at: Mark) -> Result<(), ModelError> {
        if self.frames.iter().any(|frame| frame.anchor == anchor) {
            return Err(mistake(at, "an alias within what it stands for"));
        }
        let Some(&(_, id)) = self.anchors.iter().rev().find(|(known, _)| *known == anchor) else {
            return Err(mistake(at, "an alias for an anchor that this document does not have"));
        };
        if let Some(frame) = self.frames.last_mut()
            && frame.is_map
            && frame.key.is_none()
        {
            let node = self.document.nodes[id.0 as usize];
            if matches!(node.repr, Repr::Seq { .. } | Repr::Map { .. }) {
                return Err(mistake(at, "a list or mapping as a key; keys have to be text"));
            }
            frame.key = Some((node.text, at));
            return Ok(());
        }
        self.attach(id, self.sizes[id.0 as usize], at, at.line)
    }

    /// `end`: where its bracket stands, in block style the place of what follows.
    pub fn close(&mut self, end: Mark, has_bracket: bool) -> Result<(), ModelError> {
        let frame = self.frames.pop().expect("a reader closes only what it opened");
        let repr = if frame.is_map {
            if frame.merges {
                self.merge(frame.start, frame.at)?;
            }
            let start = self.document.entries.len() as u32;
            self.document.entries.extend(self.entries.drain(frame.start..));
            Repr::Map { start, len: self.document.entries.len() as u32 - start }
        } else {
            let start = self.document.children.len() as u32;
            self.document.children.extend(self.items.drain(frame.start..));
            Repr::Seq { start, len: self.document.children.len() as u32 - start }
        };
        let last_line = if has_bracket { end.line } else { frame.last_line };
        let id = self.push(Node { repr, text: Text::default(), at: frame.at, last_line }, frame.size);
        if frame.anchor != 0 {
            self.anchors.push((frame.anchor, id));
        }
        self.attach(id, frame.size, end, last_line)
    }

    /// YAML's merge key: what `<<` leads to (a mapping or a list of them) fills in the keys that are not there.
    fn merge(&mut self, start: usize, at: Mark) -> Result<(), ModelError> {
        let mut sources = Vec::new();
        let mut kept = Vec::new();
        for entry in self.entries.drain(start..) {
            if self.document.text(entry.key) != "<<" {
                kept.push(entry);
                continue;
            }
            match self.document.nodes[entry.value.0 as usize].repr {
                Repr::Map { .. } => sources.push(entry.value),
                Repr::Seq { .. } => sources.extend_from_slice(self.document.items(entry.value)),
                Repr::Null => {}
                Repr::Bool(_) | Repr::Int(_) | Repr::Float(_) | Repr::Str => {
                    return Err(mistake(
                        entry.at,
                        "`<<` with a value that is neither a mapping nor a list of mappings",
                    ));
                }
            }
        }
        let mut known: rustc_hash::FxHashSet<&str> = kept.iter().map(|entry| self.document.text(entry.key)).collect();
        let mut merged = Vec::new();
        for source in sources {
            if !matches!(self.document.nodes[source.0 as usize].repr, Repr::Map { .. }) {
                return Err(mistake(at, "`<<` with a list that holds something else than mappings"));
            }
            for (key, entry) in self.document.entries(source) {
                if known.insert(key) {
                    merged.push(*entry);
                }
            }
        }
        if (self.document.entries.len() + self.entries.len() + kept.len() + merged.len()) as u64 > self.limits.nodes {
            return Err(self.too_large(at));
        }
        self.entries.extend(kept);
        self.entries.extend(merged);
        Ok(())
    }

    fn attach(&mut self, id: NodeId, size: Size, at: Mark, last_line: u32) -> Result<(), ModelError> {
        let Some(frame) = self.frames.last_mut() else {
            self.document.root = Some(id);
            return Ok(());
        };
        frame.size.nodes = frame.size.nodes.saturating_add(size.nodes);
        frame.size.depth = frame.size.depth.max(size.depth + 1);
        frame.last_line = frame.last_line.max(last_line);
        if frame.is_map {
            let (key, key_at) = frame.key.take().expect("`open` and `scalar` see to it that a key comes first");
            self.entries.push(Entry { key, at: key_at, value: id });
        } else {
            self.items.push(id);
        }
        if frame.size.nodes > self.limits.nodes {
            return Err(self.too_large(at));
        }
        if frame.size.depth > self.limits.depth {
            return Err(self.too_deep(at));
        }
        Ok(())
    }

    fn push(&mut self, node: Node, size: Size) -> NodeId {
        let id = NodeId(self.document.nodes.len() as u32);
        self.document.nodes.push(node);
        self.sizes.push(size);
        id
    }

    fn keep(&mut self, text: &str) -> Text {
        let start = self.document.text.len() as u32;
        self.document.text.push_str(text);
        Text { start, len: text.len() as u32 }
    }

    fn too_deep(&self, at: Mark) -> ModelError {
        let what = format!("nested deeper than {} levels", self.limits.depth);
        ModelError { at, what, over_limit: true }
    }

    fn too_large(&self, at: Mark) -> ModelError {
        let what = format!("more than {} values in one document, aliases written out", self.limits.nodes);
        ModelError { at, what, over_limit: true }
    }
}

pub(super) fn mistake(at: Mark, what: impl Into<String>) -> ModelError {
    ModelError { at, what: what.into(), over_limit: false }
}

pub(super) fn too_many_documents(at: Mark, limits: &Limits) -> ModelError {
    ModelError { at, what: format!("more than {} documents in one file", limits.documents), over_limit: true }
}
