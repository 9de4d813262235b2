//! From words to arguments: parameters, outputs of commands, splitting into fields, patterns of file names.

use super::pattern;
use super::run::{Shell, Stop, Streams};
use super::syntax::{Form, Piece, Word};

/// The longest value that a beginning or an end is cut from: the time grows with its square.
const LONGEST_TO_CUT: usize = 1 << 13;

/// A field while it is made: its text, and the pattern that it is (what was quoted stands for itself in it).
#[derive(Debug, Default, Clone)]
pub struct Field {
    /// The text.
    pub text: String,
    /// The same as a pattern.
    pub pattern: String,
    /// Whether the pattern has signs of its own.
    is_pattern: bool,
}

impl Field {
    fn push(&mut self, text: &str, quoted: bool) {
        self.text.push_str(text);
        if quoted {
            self.pattern.push_str(&pattern::literal(text));
        } else {
            self.pattern.push_str(text);
            self.is_pattern |= text.contains(['*', '?', '[']);
        }
    }
}

impl Shell<'_> {
    /// All words as arguments.
    pub(super) fn arguments(&mut self, words: &[Word], streams: &Streams) -> Result<Vec<String>, Stop> {
        let mut arguments = Vec::new();
        for word in words {
            for field in self.fields(word, streams)? {
                let found = if field.is_pattern { self.host.glob(&field.pattern) } else { Vec::new() };
                if found.is_empty() {
                    arguments.push(field.text);
                } else {
                    arguments.extend(found);
                }
            }
        }
        Ok(arguments)
    }

    /// A word as one text, not split.
    pub(super) fn text(&mut self, word: &Word, streams: &Streams) -> Result<String, Stop> {
        Ok(self.unsplit(word, streams)?.text)
    }

    /// A word as one field, not split.
    pub(super) fn unsplit(&mut self, word: &Word, streams: &Streams) -> Result<Field, Stop> {
        let mut field = Field::default();
        for piece in &word.0 {
            let (text, quoted) = self.piece(piece, streams)?;
            field.push(&text, quoted);
        }
        Ok(field)
    }

    fn fields(&mut self, word: &Word, streams: &Streams) -> Result<Vec<Field>, Stop> {
        let mut fields = Vec::new();
        let mut current: Option<Field> = None;
        for piece in &word.0 {
            let (text, quoted) = self.piece(piece, streams)?;
            if quoted || matches!(piece, Piece::Text(..)) {
                current.get_or_insert_default().push(&text, quoted);
                continue;
            }
            if text.starts_with([' ', '\t', '\n']) {
                fields.extend(current.take());
            }
            let mut parts = text.split([' ', '\t', '\n']).filter(|part| !part.is_empty()).peekable();
            while let Some(part) = parts.next() {
                current.get_or_insert_default().push(part, false);
                if parts.peek().is_some() || text.ends_with([' ', '\t', '\n']) {
                    fields.extend(current.take());
                }
            }
        }
        fields.extend(current);
        Ok(fields)
    }

    fn piece(&mut self, piece: &Piece, streams: &Streams) -> Result<(String, bool), Stop> {
        Ok(match piece {
            Piece::Text(text, quoted) => (text.clone(), *quoted),
            Piece::Output(script, quoted) => (self.output_of(script, streams)?, *quoted),
            Piece::Parameter(name, form, quoted) => {
                let value = self.parameter(name);
                let cut = matches!(form, Form::WithoutPrefix(..) | Form::WithoutSuffix(..));
                if cut && value.as_ref().is_some_and(|value| value.len() > LONGEST_TO_CUT) {
                    return Err(Stop::Limit(format!("more than {LONGEST_TO_CUT} bytes in `${{{name}}}` to cut from")));
                }
                let text = match form {
                    Form::Plain => value.unwrap_or_default(),
                    Form::Length => value.unwrap_or_default().chars().count().to_string(),
                    Form::Default(word, also_empty) => match value {
                        Some(value) if !(*also_empty && value.is_empty()) => value,
                        _ => self.text(word, streams)?,
                    },
                    Form::WithoutPrefix(word, longest) => {
                        let (value, pattern) = (value.unwrap_or_default(), self.unsplit(word, streams)?.pattern);
                        let mut cuts = cuts(&value).filter(|cut| pattern::fits(&pattern, &value[..*cut]));
                        let cut = if *longest { cuts.next_back() } else { cuts.next() };
                        value[cut.unwrap_or(0)..].to_owned()
                    }
                    Form::WithoutSuffix(word, longest) => {
                        let (value, pattern) = (value.unwrap_or_default(), self.unsplit(word, streams)?.pattern);
                        let mut cuts = cuts(&value).filter(|cut| pattern::fits(&pattern, &value[*cut..]));
                        let cut = if *longest { cuts.next() } else { cuts.next_back() };
                        value[..cut.unwrap_or(value.len())].to_owned()
                    }
                };
                (text, *quoted)
            }
        })
    }
}

/// Every place where a text can be cut in two.
fn cuts(text: &str) -> impl DoubleEndedIterator<Item = usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()]).collect::<Vec<_>>().into_iter()
}
