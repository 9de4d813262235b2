//! Where the nodes of a YAML text begin and end, in bytes.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use crate::model::Mark;

#[derive(Debug)]
pub(super) struct Tree {
    pub nodes: Vec<Node>,
    /// Of each document; `None` where it is empty.
    pub roots: Vec<Option<usize>>,
    starts: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    /// Has an anchor, or is an alias.
    pub shared: bool,
    /// Stands within a collection in flow style.
    pub in_flow: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    Scalar { null: bool },
    Seq { flow: bool, items: Vec<usize> },
    Map { flow: bool, entries: Vec<Entry> },
}

#[derive(Debug)]
pub(super) struct Entry {
    pub name: String,
    pub key: usize,
    pub value: usize,
}

struct Frame {
    node: usize,
    key: Option<(String, usize)>,
}

/// Deeper than this nothing is changed.
const DEPTH: usize = 256;

impl Tree {
    pub fn parse(text: &str) -> Result<Self, (Mark, String)> {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut tree = Self { nodes: Vec::new(), roots: Vec::new(), starts };
        let mut frames: Vec<Frame> = Vec::new();
        let mut parser = Parser::new_from_str(text);
        while let Some(event) = parser.next_event() {
            let place = |marker: &Marker| Mark { line: marker.line() as u32, column: marker.col() as u32 + 1 };
            let (event, span) = event.map_err(|error| (place(error.marker()), error.info().to_owned()))?;
            let start = tree.byte(text, &span.start);
            let end = tree.byte(text, &span.end);
            let in_flow = frames.last().is_some_and(|frame| tree.nodes[frame.node].is_flow());
            let node = |kind, end, shared| Node { kind, start, end, shared, in_flow };
            match event {
                Event::DocumentStart(_) => tree.roots.push(None),
                Event::Alias(_) => tree.add(&mut frames, node(Kind::Scalar { null: false }, end, true), None),
                Event::Scalar(value, style, anchor, _) => {
                    let plain = style == ScalarStyle::Plain;
                    let end = match style {
                        ScalarStyle::Literal | ScalarStyle::Folded => tree.block_end(text, start, end),
                        ScalarStyle::SingleQuoted => quoted_end(text, start, '\''),
                        ScalarStyle::DoubleQuoted => quoted_end(text, start, '"'),
                        ScalarStyle::Plain => start + text[start..end.max(start)].trim_end().len(),
                    };
                    let null = plain && matches!(&*value, "" | "~" | "null" | "Null" | "NULL");
                    let end = if plain && value.is_empty() { start } else { end };
                    let name = value.into_owned();
                    tree.add(&mut frames, node(Kind::Scalar { null }, end, anchor != 0), Some(name));
                }
                Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                    let is_map = matches!(event, Event::MappingStart(..));
                    let flow = in_flow || text[start..].starts_with(if is_map { '{' } else { '[' });
                    let kind = if is_map {
                        Kind::Map { flow, entries: Vec::new() }
                    } else {
                        Kind::Seq { flow, items: Vec::new() }
                    };
                    if frames.len() >= DEPTH {
                        return Err((place(&span.start), format!("nested deeper than {DEPTH} levels")));
                    }
                    let id = tree.nodes.len();
                    tree.nodes.push(node(kind, start, anchor != 0));
                    frames.push(Frame { node: id, key: None });
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let Some(frame) = frames.pop() else { continue };
                    // The parser's end of a bracket lies behind what it has skipped: spaces, a comment.
                    let end = match text[start..].starts_with([']', '}']) {
                        true if tree.nodes[frame.node].is_flow() => start + 1,
                        _ => tree.last_end(text, frame.node),
                    };
                    tree.nodes[frame.node].end = end;
                    tree.attach(&mut frames, frame.node, None);
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        Ok(tree)
    }

    fn add(&mut self, frames: &mut [Frame], node: Node, name: Option<String>) {
        self.nodes.push(node);
        self.attach(frames, self.nodes.len() - 1, name);
    }

    fn attach(&mut self, frames: &mut [Frame], id: usize, name: Option<String>) {
        let Some(frame) = frames.last_mut() else {
            if let Some(root) = self.roots.last_mut() {
                *root = Some(id);
            }
            return;
        };
        match &mut self.nodes[frame.node].kind {
            Kind::Seq { items, .. } => items.push(id),
            Kind::Map { entries, .. } => match frame.key.take() {
                None => frame.key = Some((name.unwrap_or_default(), id)),
                Some((name, key)) => entries.push(Entry { name, key, value: id }),
            },
            Kind::Scalar { .. } => {}
        }
    }

    fn last_end(&self, text: &str, id: usize) -> usize {
        let node = &self.nodes[id];
        match &node.kind {
            Kind::Seq { items, .. } => items.last().map_or(node.start, |item| self.nodes[*item].end.max(node.start)),
            Kind::Map { entries, .. } => entries.last().map_or(node.start, |entry| self.end_of(text, entry)),
            Kind::Scalar { .. } => node.end,
        }
    }

    /// Where an entry ends; one without a value ends with the colon of its key, or with its key alone (`? key`).
    pub fn end_of(&self, text: &str, entry: &Entry) -> usize {
        let (key, value) = (&self.nodes[entry.key], &self.nodes[entry.value]);
        if value.start != value.end {
            return value.end;
        }
        key.end + usize::from(text[key.end..].starts_with(':'))
    }

    fn byte(&self, text: &str, marker: &Marker) -> usize {
        let line = marker.line().saturating_sub(1).min(self.starts.len() - 1);
        let start = self.starts[line];
        text[start..].char_indices().nth(marker.col()).map_or(text.len(), |(at, _)| start + at)
    }

    /// The last character of a text in block style: its lines are indented further than what follows it.
    fn block_end(&self, text: &str, start: usize, bound: usize) -> usize {
        let mut at = self.next_line(text, start);
        let mut end = self.line_end(text, start);
        let mut indent = None;
        while at < bound.max(start) && at < text.len() {
            let line_end = self.line_end(text, at);
            let line = &text[at..line_end];
            let own = line.len() - line.trim_start_matches(' ').len();
            if !line.trim().is_empty() {
                if own < *indent.get_or_insert(own) {
                    break;
                }
                end = line_end;
            }
            at = self.next_line(text, at);
        }
        end
    }

    pub fn line_start(&self, text: &str, at: usize) -> usize {
        text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// The end of the line, before its line end.
    pub fn line_end(&self, text: &str, at: usize) -> usize {
        let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
        if text[..end].ends_with('\r') && end > at { end - 1 } else { end }
    }

    pub fn next_line(&self, text: &str, at: usize) -> usize {
        text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1)
    }

    /// In characters, from 0.
    pub fn column(&self, text: &str, at: usize) -> usize {
        text[self.line_start(text, at)..at].chars().count()
    }

    /// The place after the colon of a key.
    pub fn colon(&self, text: &str, key: usize) -> usize {
        let end = self.nodes[key].end;
        text[end..].find(':').map_or(end, |colon| end + colon + 1)
    }

    pub fn mark(&self, text: &str, at: usize) -> Mark {
        let line = self.starts.partition_point(|start| *start <= at);
        Mark { line: line as u32, column: self.column(text, at) as u32 + 1 }
    }
}

/// The place after the quote that closes the text that begins at `start`.
fn quoted_end(text: &str, start: usize, quote: char) -> usize {
    let mut characters = text[start..].char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == '\\' && quote == '"' {
            characters.next();
        } else if character == quote {
            let doubled = quote == '\'' && characters.next_if(|(_, next)| *next == quote).is_some();
            if !doubled {
                return start + at + 1;
            }
        }
    }
    text.len()
}

impl Node {
    fn is_flow(&self) -> bool {
        matches!(self.kind, Kind::Map { flow: true, .. } | Kind::Seq { flow: true, .. })
    }
}
