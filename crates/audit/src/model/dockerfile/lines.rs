//! Instructions of a Dockerfile: continued lines joined, comments left out, heredocs kept apart.

use crate::model::build::mistake;
use crate::model::{Mark, ModelError};

/// One instruction.
#[derive(Debug)]
pub(super) struct Instruction {
    /// In capitals: `RUN`.
    pub name: String,
    /// `--from=build` as (`from`, `build`); a flag without a value has an empty one.
    pub flags: Vec<(String, String)>,
    /// What follows the flags, continued lines joined.
    pub text: Joined,
    /// The body of its heredocs.
    pub heredoc: Joined,
    /// Where it begins.
    pub at: Mark,
    /// The last line that belongs to it.
    pub last_line: u32,
}

/// A text put together from lines, that knows where its parts stood.
#[derive(Debug, Default, Clone)]
pub(super) struct Joined {
    pub text: String,
    /// Offset in `text`, and the place in the file of what begins there.
    parts: Vec<(usize, Mark)>,
}

impl Joined {
    fn push(&mut self, text: &str, at: Mark) {
        self.parts.push((self.text.len(), at));
        self.text.push_str(text);
    }

    /// Where the byte at `offset` stood.
    pub fn place(&self, offset: usize) -> Mark {
        let index = self.parts.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
        let Some((start, at)) = self.parts.get(index) else { return Mark { line: 1, column: 1 } };
        let characters = self.text.get(*start..offset).map_or(0, |text| text.chars().count());
        Mark { line: at.line, column: at.column + characters as u32 }
    }

    /// The same for offsets that do not go back: what was counted is not counted again.
    pub fn places(&self) -> impl FnMut(usize) -> Mark {
        let mut seen: Option<(usize, usize, Mark)> = None;
        move |offset| {
            let part = self.parts.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
            let mark = match seen {
                Some((known, from, at)) if known == part && from <= offset => {
                    let characters = self.text.get(from..offset).map_or(0, |text| text.chars().count());
                    Mark { line: at.line, column: at.column + characters as u32 }
                }
                _ => self.place(offset),
            };
            seen = Some((part, offset, mark));
            mark
        }
    }

    /// Without the first `bytes`.
    fn without(mut self, bytes: usize) -> Self {
        let at = self.place(bytes);
        let keep = self.parts.partition_point(|(start, _)| *start <= bytes);
        self.text.drain(..bytes);
        let rest = self.parts.drain(..).skip(keep).map(|(start, at)| (start - bytes, at));
        self.parts = std::iter::once((0, at)).chain(rest).collect();
        self
    }
}

const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// The most instructions of a file; Docker itself makes no image of more than some hundred.
const MOST: usize = 20_000;

/// The instructions of a file.
///
/// # Errors
/// A word that is no instruction; a heredoc that does not end; too many of them.
pub(super) fn instructions(text: &str) -> Result<Vec<Instruction>, ModelError> {
    let escape = escape(text);
    let mut found = Vec::new();
    let mut lines = text.lines().zip(1u32..);
    while let Some((line, number)) = lines.next() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let mut last_line = number;
        let mut joined = Joined::default();
        let mut piece = Some((line, number));
        while let Some((line, number)) = piece.take() {
            last_line = number;
            let (content, at) = if joined.text.is_empty() {
                (line.trim_start(), column(line, number))
            } else {
                (line, Mark { line: number, column: 1 })
            };
            let content = content.trim_end();
            let Some(content) = content.strip_suffix(escape) else {
                joined.push(content, at);
                break;
            };
            joined.push(content, at);
            piece = lines.by_ref().find(|(line, _)| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
        }
        let at = column(line, number);
        if found.len() == MOST {
            return Err(ModelError { at, what: format!("more than {MOST} instructions"), over_limit: true });
        }
        let mut instruction = split(joined, at, last_line)?;
        for end in heredocs(&instruction) {
            loop {
                let Some((line, number)) = lines.next() else {
                    return Err(mistake(at, format!("a heredoc that does not end: there is no line `{end}`")));
                };
                instruction.last_line = number;
                if line.trim() == end {
                    break;
                }
                instruction.heredoc.push(line, Mark { line: number, column: 1 });
                instruction.heredoc.text.push('\n');
            }
        }
        found.push(instruction);
    }
    Ok(found)
}

fn column(line: &str, number: u32) -> Mark {
    Mark { line: number, column: 1 + line.chars().take_while(|character| character.is_whitespace()).count() as u32 }
}

/// The character that continues a line: a backslash, unless a directive at the top says otherwise.
fn escape(text: &str) -> char {
    let directives = text.lines().map(str::trim).take_while(|line| line.starts_with('#'));
    let value = directives.filter_map(|line| line[1..].split_once('=')).find_map(|(name, value)| {
        name.trim().eq_ignore_ascii_case("escape").then(|| value.trim().chars().next()).flatten()
    });
    value.unwrap_or('\\')
}

fn split(joined: Joined, at: Mark, last_line: u32) -> Result<Instruction, ModelError> {
    let end = joined.text.find(char::is_whitespace).unwrap_or(joined.text.len());
    let name = joined.text[..end].to_ascii_uppercase();
    if !NAMES.contains(&name.as_str()) {
        let word: String = joined.text[..end].chars().take(40).collect();
        return Err(mistake(at, format!("expected an instruction of a Dockerfile, such as RUN; found `{word}`")));
    }
    let mut rest = end;
    let mut flags = Vec::new();
    loop {
        rest += joined.text[rest..].len() - joined.text[rest..].trim_start().len();
        let has_flags = matches!(name.as_str(), "FROM" | "RUN" | "COPY" | "ADD" | "HEALTHCHECK");
        let Some(flag) = joined.text[rest..].strip_prefix("--").filter(|_| has_flags) else { break };
        let flag = &flag[..flag.find(char::is_whitespace).unwrap_or(flag.len())];
        let (key, value) = flag.split_once('=').unwrap_or((flag, ""));
        flags.push((key.to_owned(), value.to_owned()));
        rest += 2 + flag.len();
    }
    Ok(Instruction { name, flags, text: joined.without(rest), heredoc: Joined::default(), at, last_line })
}

/// The words that end the heredocs of an instruction, in their order.
fn heredocs(instruction: &Instruction) -> Vec<String> {
    if !matches!(instruction.name.as_str(), "RUN" | "COPY" | "ADD") {
        return Vec::new();
    }
    let words = instruction.text.text.split_whitespace();
    words
        .filter_map(|word| {
            let word = word.trim_start_matches(|first: char| first.is_ascii_digit()).strip_prefix("<<")?;
            let word = word.strip_prefix('-').unwrap_or(word).trim_matches(['"', '\'']);
            let is_name = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            is_name.then(|| word.to_owned())
        })
        .collect()
}
