//! YAML by `saphyr-parser`'s events.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::build::{Builder, Limits, Scalar, too_many_documents};
use super::{Document, Mark, ModelError, Repr, scalar};

pub(super) fn read(text: &str, limits: &Limits, each: &mut dyn FnMut(Document)) -> Result<(), ModelError> {
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::new(limits);
    let mut documents = 0;
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| ModelError {
            at: mark(error.marker()),
            what: error.info().to_owned(),
            over_limit: false,
        })?;
        let at = mark(&span.start);
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
                builder.scalar(&Scalar { text: &text, repr, plain, anchor }, at, last_line)?;
            }
            Event::SequenceStart(anchor, _) => builder.open(false, anchor, at)?,
            Event::MappingStart(anchor, _) => builder.open(true, anchor, at)?,
            Event::SequenceEnd | Event::MappingEnd => builder.close(mark(&span.end), span.start != span.end)?,
        }
    }
    Ok(())
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
