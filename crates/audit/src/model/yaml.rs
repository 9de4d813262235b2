//! YAML by `saphyr-parser`'s events. It keeps the tokens of a flow collection until it has seen its end, several hundred bytes
//! for each; so a large text is read through a guard that ends it where no event comes for too long.

use std::cell::Cell;
use std::rc::Rc;
use std::str::Chars;

use saphyr_parser::{Event, Input, Marker, Parser, ScalarStyle, Tag};

use super::build::{Builder, Limits, Scalar, too_many_documents};
use super::{Document, Mark, ModelError, Repr, scalar};

/// The most characters from one event to the next: of one text, or of a collection in flow style that is no JSON. What
/// Kubernetes stores is smaller.
const MOST_WITHOUT_EVENT: usize = 2 << 20;

/// The characters of a text, until too many come without an event between.
struct Guarded<'t> {
    characters: Chars<'t>,
    since_event: Rc<Cell<usize>>,
}

impl Iterator for Guarded<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let since = self.since_event.get() + 1;
        self.since_event.set(since);
        if since > MOST_WITHOUT_EVENT { None } else { self.characters.next() }
    }
}

pub(super) fn read(text: &str, limits: &Limits, each: &mut dyn FnMut(Document)) -> Result<(), ModelError> {
    let since_event = Rc::new(Cell::new(0));
    if text.len() <= MOST_WITHOUT_EVENT {
        return events(Parser::new_from_str(text), &since_event, limits, each);
    }
    let guarded = Guarded { characters: text.chars(), since_event: since_event.clone() };
    events(Parser::new_from_iter(guarded), &since_event, limits, each)
}

fn events<'i, T: Input>(
    mut parser: Parser<'i, T>,
    since_event: &Cell<usize>,
    limits: &Limits,
    each: &mut dyn FnMut(Document),
) -> Result<(), ModelError> {
    let mut builder = Builder::new(limits);
    let mut documents = 0;
    let mut last = Mark { line: 1, column: 1 };
    // Of the collections that are open: whether one more is to be closed with it.
    let mut wrapped: Vec<bool> = Vec::new();
    while let Some(event) = parser.next_event() {
        if since_event.replace(0) > MOST_WITHOUT_EVENT {
            let what =
                format!("more than {} MiB in one text or in one collection in flow style", MOST_WITHOUT_EVENT >> 20);
            return Err(ModelError { at: last, what, over_limit: true });
        }
        let (event, span) = event.map_err(|error| ModelError {
            at: mark(error.marker()),
            what: error.info().to_owned(),
            over_limit: false,
        })?;
        let at = mark(&span.start);
        last = at;
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd => {}
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > limits.documents {
                    return Err(too_many_documents(at, limits));
                }
            }
            Event::DocumentEnd => each(builder.finish()),
            Event::Alias(anchor) => builder.alias(anchor, at)?,
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let repr = typed(&text, plain, tag.as_deref());
                let end = mark(&span.end);
                let last_line = if end.column <= 1 && end.line > at.line { end.line - 1 } else { end.line };
                let short = short_form(tag.as_deref());
                if let Some(function) = &short {
                    wrap(&mut builder, function, at)?;
                }
                builder.scalar(&Scalar { text: &text, repr, plain, anchor }, at, last_line)?;
                if short.is_some() {
                    builder.close(Mark { line: last_line, column: 1 }, true)?;
                }
            }
            Event::SequenceStart(anchor, ref tag) | Event::MappingStart(anchor, ref tag) => {
                let is_map = matches!(event, Event::MappingStart(..));
                let short = short_form(tag.as_deref());
                if let Some(function) = &short {
                    wrap(&mut builder, function, at)?;
                }
                wrapped.push(short.is_some());
                builder.open(is_map, anchor, at)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let has_bracket = span.start != span.end;
                builder.close(mark(&span.end), has_bracket)?;
                if wrapped.pop() == Some(true) {
                    builder.close(mark(&span.end), has_bracket)?;
                }
            }
        }
    }
    Ok(())
}

/// Functions of CloudFormation that have a short form.
const SHORT: [&str; 16] = [
    "Ref",
    "Condition",
    "GetAtt",
    "Sub",
    "Join",
    "If",
    "Select",
    "Split",
    "FindInMap",
    "Base64",
    "ImportValue",
    "GetAZs",
    "Equals",
    "Not",
    "And",
    "Or",
];

/// `!GetAtt` as `Fn::GetAtt`; those that are not in the list mean nothing.
fn short_form(tag: Option<&Tag>) -> Option<String> {
    let tag = tag.filter(|tag| tag.handle == "!" && SHORT.contains(&&*tag.suffix))?;
    Some(if matches!(&*tag.suffix, "Ref" | "Condition") { tag.suffix.clone() } else { format!("Fn::{}", tag.suffix) })
}

/// Opens the mapping that a short form stands for: `!Ref x` is `{Ref: x}`.
fn wrap(builder: &mut Builder<'_>, function: &str, at: Mark) -> Result<(), ModelError> {
    builder.open(true, 0, at)?;
    builder.scalar(&Scalar { text: function, repr: Repr::Str, plain: false, anchor: 0 }, at, at.line)
}

fn typed(text: &str, plain: bool, tag: Option<&Tag>) -> Repr {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Repr::Str,
        Some(tag) if tag.is_yaml_core_schema() && matches!(&*tag.suffix, "int" | "float" | "bool" | "null") => {
            scalar::resolve(text)
        }
        Some(_) | None if plain => scalar::resolve(text),
        Some(_) | None => Repr::Str,
    }
}

fn mark(marker: &Marker) -> Mark {
    Mark { line: marker.line() as u32, column: marker.col() as u32 + 1 }
}
