//! A Dockerfile as a document, so that policies look at it as at any other:
//! ```yaml
//! stages:
//!   - image: docker.io/library/alpine:3.22    # with the defaults of ARG filled in
//!     name: build                             # of AS, in small letters
//!     platform: linux/amd64
//!     from-stage: true                        # where the image is an earlier stage
//!     final: true                             # of the last stage
//!     user: "1000"                            # of the last USER, also of the stage that it is made from
//!     healthcheck: true
//!     instructions:
//!       - is: RUN
//!         text: apt-get update
//!         flags: {mount: type=cache}
//!         words: [apt-get, update]            # of the array form as they are
//!         variables: [{name: A, value: b}]    # of ENV, ARG, LABEL
//!         commands:                           # of RUN, CMD, ENTRYPOINT
//!           - {program: apt-get, words: [update], text: apt-get update, input: curl}
//! ```

mod lines;
pub(crate) mod shell;

use lines::{Instruction, Joined, instructions};

use super::build::{Builder, Limits, Scalar, mistake};
use super::{Document, Mark, ModelError, Repr};

/// The most stages of a file; each takes over what the one that it begins with knows.
const MOST_STAGES: usize = 200;

/// Variables of one instruction whose place is looked for.
const MOST_PLACES: usize = 1_000;
/// Of an image's or a user's name, as far as variables are filled in.
const MOST_TEXT: usize = 4_096;

/// Reads a Dockerfile and hands its document over.
///
/// # Errors
/// The place of what is no instruction, of an instruction before the first `FROM`, of a heredoc without an end.
pub(super) fn read(text: &str, limits: &Limits, each: &mut dyn FnMut(Document)) -> Result<(), ModelError> {
    let all = instructions(text)?;
    let Some(first) = all.iter().position(|instruction| instruction.name == "FROM") else {
        return Err(mistake(Mark { line: 1, column: 1 }, "expected `FROM image`; there is none"));
    };
    if let Some(early) = all[..first].iter().find(|instruction| instruction.name != "ARG") {
        return Err(mistake(early.at, format!("`{}` before the first `FROM`; only `ARG` may be there", early.name)));
    }
    let global: Vec<(String, String)> = all[..first].iter().flat_map(variables).collect();
    let mut stages: Vec<Stage<'_>> = Vec::new();
    for instruction in &all[first..] {
        if instruction.name == "FROM" {
            if stages.len() == MOST_STAGES {
                let what = format!("more than {MOST_STAGES} stages");
                return Err(ModelError { at: instruction.at, what, over_limit: true });
            }
            let stage = Stage::begin(instruction, &global, &stages);
            stages.push(stage);
        }
        if let Some(stage) = stages.last_mut() {
            stage.add(instruction);
        }
    }
    let mut writer = Writer { builder: Builder::new(limits) };
    writer.file(&stages)?;
    each(writer.builder.finish());
    Ok(())
}

struct Stage<'t> {
    from: &'t Instruction,
    image: String,
    name: String,
    from_stage: bool,
    user: Option<(String, Mark)>,
    healthcheck: Option<(bool, Mark)>,
    known: Vec<(String, String)>,
    instructions: Vec<&'t Instruction>,
}

impl<'t> Stage<'t> {
    fn begin(from: &'t Instruction, global: &[(String, String)], earlier: &[Self]) -> Self {
        let mut words = from.text.text.split_whitespace();
        let image = expand(words.next().unwrap_or_default(), global);
        let name = words.next().filter(|word| word.eq_ignore_ascii_case("as")).and(words.next()).unwrap_or_default();
        let base = earlier.iter().rev().find(|stage| !stage.name.is_empty() && stage.name.eq_ignore_ascii_case(&image));
        Self {
            from,
            name: name.to_lowercase(),
            from_stage: base.is_some(),
            user: base.and_then(|base| base.user.clone()),
            healthcheck: base.and_then(|base| base.healthcheck),
            known: base.map(|base| base.known.clone()).unwrap_or_default(),
            image,
            instructions: Vec::new(),
        }
    }

    fn add(&mut self, instruction: &'t Instruction) {
        match instruction.name.as_str() {
            "USER" => {
                let user = expand(instruction.text.text.trim(), &self.known);
                let user = user.split(':').next().unwrap_or_default().to_owned();
                self.user = Some((user, instruction.at));
            }
            "HEALTHCHECK" => {
                let is_none = instruction.text.text.trim().eq_ignore_ascii_case("none");
                self.healthcheck = Some((!is_none, instruction.at));
            }
            "ENV" | "ARG" => self.known.extend(variables(instruction)),
            _ => {}
        }
        self.instructions.push(instruction);
    }
}

/// `a=b c="d e"`; in the old form of ENV and LABEL, `a b c`, the rest is the value.
fn variables(instruction: &Instruction) -> Vec<(String, String)> {
    let text = instruction.text.text.as_str();
    let pairs = pairs(text);
    if instruction.name != "ARG"
        && let Some((name, None)) = pairs.first()
    {
        let value = text.trim_start().strip_prefix(name.as_str()).unwrap_or_default().trim();
        return vec![(name.clone(), value.to_owned())];
    }
    pairs.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect()
}

/// Words with `=` in them taken apart, quotes off.
fn pairs(text: &str) -> Vec<(String, Option<String>)> {
    words(text)
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        })
        .collect()
}

/// Words of a text, with quotes taken off and nothing else that a shell would do.
fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (Some(open), close) if open == close => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(characters.next()),
            (None, space) if space.is_whitespace() => found.extend(word.take()),
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    found.extend(word);
    found
}

/// `$A`, `${A}` and `${A:-default}` by the last value that is known; what is not known stays as it is written.
fn expand(text: &str, known: &[(String, String)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$').filter(|_| out.len() < MOST_TEXT) {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        let (whole, name, default) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((inner, _)) => {
                let end = inner.find([':', '-', '+']).unwrap_or(inner.len());
                let default = inner[end..].trim_start_matches(':').strip_prefix('-');
                (inner.len() + 2, &inner[..end], default)
            }
            None => {
                let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
                (end, &after[..end], None)
            }
        };
        let value = known.iter().rev().find(|(known, value)| known == name && !value.is_empty());
        match value.map(|(_, value)| value.as_str()).or(default) {
            Some(value) if !name.is_empty() => out.push_str(value),
            _ => out.push_str(&rest[dollar..dollar + 1 + whole]),
        }
        rest = &after[whole..];
    }
    out.push_str(rest);
    out
}

struct Writer<'l> {
    builder: Builder<'l>,
}

type Done = Result<(), ModelError>;

impl Writer<'_> {
    fn file(&mut self, stages: &[Stage<'_>]) -> Done {
        let at = Mark { line: 1, column: 1 };
        let end = stages.last().and_then(|stage| stage.instructions.last()).map_or(1, |last| last.last_line);
        self.map(at, end, |file| {
            file.list("stages", at, end, |file| {
                stages.iter().enumerate().try_for_each(|(index, stage)| file.stage(stage, index + 1 == stages.len()))
            })
        })
    }

    fn stage(&mut self, stage: &Stage<'_>, last: bool) -> Done {
        let from = stage.from;
        let end = stage.instructions.last().map_or(from.last_line, |last| last.last_line);
        self.map(from.at, end, |out| {
            out.entry("image", &stage.image, from.text.place(0))?;
            if !stage.name.is_empty() {
                out.entry("name", &stage.name, from.at)?;
            }
            for (name, value) in &from.flags {
                out.entry(name, value, from.at)?;
            }
            if stage.from_stage {
                out.flag("from-stage", true, from.at)?;
            }
            if last {
                out.flag("final", true, from.at)?;
            }
            if let Some((user, at)) = &stage.user {
                out.entry("user", user, *at)?;
            }
            if let Some((healthcheck, at)) = stage.healthcheck {
                out.flag("healthcheck", healthcheck, at)?;
            }
            out.list("instructions", from.at, end, |out| {
                stage.instructions.iter().try_for_each(|instruction| out.instruction(instruction))
            })
        })
    }

    fn instruction(&mut self, instruction: &Instruction) -> Done {
        let at = instruction.at;
        let text = instruction.text.text.trim_end();
        let array = text.starts_with('[').then(|| serde_json::from_str::<Vec<String>>(text).ok()).flatten();
        self.map(at, instruction.last_line, |out| {
            out.entry("is", &instruction.name, at)?;
            out.entry("text", text, instruction.text.place(0))?;
            if !instruction.flags.is_empty() {
                out.key("flags", at)?;
                out.map(at, at.line, |out| {
                    instruction.flags.iter().try_for_each(|(name, value)| out.entry(name, value, at))
                })?;
            }
            let own = match &array {
                Some(array) => array.clone(),
                None => words(text),
            };
            out.list("words", instruction.text.place(0), instruction.last_line, |out| {
                own.iter().try_for_each(|word| out.text(word, instruction.text.place(0)))
            })?;
            if matches!(instruction.name.as_str(), "ENV" | "ARG" | "LABEL") {
                out.list("variables", at, instruction.last_line, |out| {
                    let mut places = instruction.text.places();
                    let mut from = 0;
                    variables(instruction).iter().enumerate().try_for_each(|(index, (name, value))| {
                        let found = (index < MOST_PLACES).then(|| text[from..].find(name.as_str())).flatten();
                        from += found.unwrap_or(0);
                        let place = found.map_or(at, |_| places(from));
                        out.map(place, place.line, |out| {
                            out.entry("name", name, place)?;
                            out.entry("value", value, place)
                        })
                    })
                })?;
            }
            if matches!(instruction.name.as_str(), "RUN" | "CMD" | "ENTRYPOINT") {
                out.list("commands", at, instruction.last_line, |out| out.commands(instruction, array.as_deref()))?;
            }
            Ok(())
        })
    }

    fn commands(&mut self, instruction: &Instruction, array: Option<&[String]>) -> Done {
        let line = &instruction.text;
        let at_start = |command: shell::Command| (command, line.place(0));
        let all: Vec<(shell::Command, Mark)> = match array {
            Some([program, option, script, ..]) if option == "-c" && program.ends_with("sh") => {
                shell::commands(script).into_iter().map(at_start).collect()
            }
            Some(words) => {
                let command = shell::Command { words: words.to_vec(), ..shell::Command::default() };
                (!words.is_empty()).then_some(at_start(command)).into_iter().collect()
            }
            // A script in a heredoc is what runs; in front of it stands at most the shell that reads it.
            None if !instruction.heredoc.text.is_empty() => placed(&instruction.heredoc),
            None => placed(line),
        };
        all.iter().try_for_each(|(command, at)| {
            self.map(*at, at.line, |out| {
                out.entry("program", command.program(), *at)?;
                if let Some(input) = &command.input {
                    out.entry("input", input, *at)?;
                }
                out.list("words", *at, at.line, |out| {
                    command.words.iter().skip(1).try_for_each(|word| out.text(word, *at))
                })?;
                out.entry("text", &command.words.join(" "), *at)
            })
        })
    }

    fn map(&mut self, at: Mark, end: u32, fill: impl FnOnce(&mut Self) -> Done) -> Done {
        self.builder.open(true, 0, at)?;
        fill(self)?;
        self.builder.close(Mark { line: end, column: 1 }, true)
    }

    fn list(&mut self, key: &str, at: Mark, end: u32, fill: impl FnOnce(&mut Self) -> Done) -> Done {
        self.key(key, at)?;
        self.builder.open(false, 0, at)?;
        fill(self)?;
        self.builder.close(Mark { line: end, column: 1 }, true)
    }

    fn key(&mut self, key: &str, at: Mark) -> Done {
        self.text(key, at)
    }

    fn entry(&mut self, key: &str, value: &str, at: Mark) -> Done {
        self.key(key, at)?;
        self.text(value, at)
    }

    fn flag(&mut self, key: &str, value: bool, at: Mark) -> Done {
        self.key(key, at)?;
        let text = if value { "true" } else { "false" };
        self.builder.scalar(&Scalar { text, repr: Repr::Bool(value), plain: false, anchor: 0 }, at, at.line)
    }

    fn text(&mut self, text: &str, at: Mark) -> Done {
        self.builder.scalar(&Scalar { text, repr: Repr::Str, plain: false, anchor: 0 }, at, at.line)
    }
}

fn placed(script: &Joined) -> Vec<(shell::Command, Mark)> {
    let mut places = script.places();
    let with_place = |command: shell::Command| {
        let at = places(command.start);
        (command, at)
    };
    shell::commands(&script.text).into_iter().map(with_place).collect()
}

#[cfg(test)]
mod tests;
