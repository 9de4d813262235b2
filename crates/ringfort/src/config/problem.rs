//! A mistake in a configuration file, told so that it can be mended without the manual: file, line, column, key, what was
//! expected and what stands there.

use std::fmt;
use std::ops::Range;

/// One mistake. `Display` is one line; [`Problems`] adds the line of the file and a marker under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As the user named it.
    pub file: String,
    /// From 1. Columns count characters.
    pub line: usize,
    pub column: usize,
    /// Dotted: `media.ports`, `profile[2].listen[1]`; empty where the file as a whole cannot be read.
    pub key: String,
    pub what: What,
    /// The line of the file, and how many characters of it are meant.
    excerpt: Option<(String, usize)>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Not TOML.
    Syntax(String),
    /// A value of the wrong kind or out of bounds. `why` says more than the two words can.
    Value { expected: String, got: String, why: Option<String> },
    /// A key that nobody reads. `known` is what may stand there.
    Unknown { name: String, nearest: Option<String>, known: Vec<String> },
    /// A key that has to be there.
    Missing { expected: String },
    /// Each value is right, together they are not.
    Conflict(String),
    /// The file could not be read.
    Unreadable(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        match &self.what {
            What::Syntax(message) => f.write_str(message),
            What::Value { expected, got, why } => {
                write!(f, "expected {expected}, got {got}")?;
                why.as_ref().map_or(Ok(()), |why| write!(f, " ({why})"))
            }
            What::Unknown { name, nearest: Some(nearest), .. } => {
                write!(f, "unknown key `{name}`; did you mean `{nearest}`?")
            }
            What::Unknown { name, nearest: None, known } => {
                write!(f, "unknown key `{name}`; known here: {}", known.join(", "))
            }
            What::Missing { expected } => write!(f, "missing; expected {expected}"),
            What::Conflict(message) | What::Unreadable(message) => f.write_str(message),
        }
    }
}

impl Problem {
    /// A mistake at a place of the text.
    pub fn at(file: &str, source: &str, span: Range<usize>, key: impl Into<String>, what: What) -> Problem {
        let start = floor_boundary(source, span.start);
        let line_start = source[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_text = source[line_start..].lines().next().unwrap_or("").to_owned();
        let column = source[line_start..start].chars().count() + 1;
        let end = floor_boundary(source, span.end).max(start);
        let marked = source[start..end].lines().next().unwrap_or("").trim_end().chars().count();
        Problem {
            file: file.to_owned(),
            line: source[..start].matches('\n').count() + 1,
            column,
            key: key.into(),
            what,
            excerpt: Some((line_text, marked.max(1))),
        }
    }

    /// A file that cannot be read.
    pub fn unreadable(file: &str, error: &std::io::Error) -> Problem {
        let what = What::Unreadable(format!("cannot be read: {error}"));
        Problem { file: file.to_owned(), line: 0, column: 0, key: String::new(), what, excerpt: None }
    }
}

fn floor_boundary(source: &str, index: usize) -> usize {
    let mut index = index.min(source.len());
    while !source.is_char_boundary(index) {
        index -= 1;
    }
    index
}

/// Every mistake of a file, in the order of its lines. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
            if let Some((line, marked)) = &problem.excerpt {
                let number = problem.line.to_string();
                let gap = " ".repeat(number.len());
                // Tabs stay tabs in the margin, so that the marker stands under the same column.
                let margin: String =
                    line.chars().take(problem.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                write!(f, "\n  {number} | {line}\n  {gap} | {margin}{}", "^".repeat(*marked))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_and_column_count_characters_from_one() {
        let source = "a = 1\nname = \"Zoë\" # x\n";
        let start = source.find('#').unwrap();
        let problem = Problem::at("f.toml", source, start..start + 3, "name", What::Syntax("odd".into()));
        assert_eq!((problem.line, problem.column), (2, 14));
        let shown = Problems(vec![problem]).to_string();
        assert_eq!(shown, "f.toml:2:14: name: odd\n  2 | name = \"Zoë\" # x\n    |              ^^^");
    }

    #[test]
    fn a_span_past_the_end_is_shown_at_the_end() {
        let problem = Problem::at("f.toml", "a", 7..9, "", What::Syntax("odd".into()));
        assert_eq!((problem.line, problem.column), (1, 2));
    }
}
