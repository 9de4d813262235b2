//! `sed`, as far as audits use it: `s`, `p`, `d` and `q`, addresses by line number, `$` and expression, and ranges of them.

use regex_lite::{Captures, Regex};

use super::super::Unsupported;
use super::super::pattern::{self, Dialect};
use super::super::run::{Shell, Stop, Streams};
use super::options::{Known, Options};
use super::{complain, inputs};

const SED: Known = Known {
    flags: "nEr",
    valued: "e",
    long: &[("quiet", 'n'), ("silent", 'n'), ("regexp-extended", 'E'), ("expression", 'e')],
    operand_ends: false,
};

enum Address {
    Line(usize),
    Last,
    Fitting(Regex),
}

enum Action {
    Substitute { pattern: Regex, replacement: Vec<Part>, all: bool, print: bool },
    Print,
    Delete,
    Quit,
}

enum Part {
    Text(String),
    Group(usize),
}

struct Command {
    from: Option<Address>,
    to: Option<Address>,
    negated: bool,
    action: Action,
    /// Whether a range has begun and not ended.
    inside: bool,
}

struct Script<'s> {
    text: std::iter::Peekable<std::str::Chars<'s>>,
    dialect: Dialect,
}

fn refused(what: impl Into<String>) -> Unsupported {
    Unsupported(what.into())
}

fn read(arguments: &[String]) -> Result<(Options, Vec<Command>, Vec<String>), Unsupported> {
    let mut options = SED.read(arguments)?;
    let mut files = std::mem::take(&mut options.operands);
    let mut scripts: Vec<_> =
        options.given.iter().filter(|(letter, _)| *letter == 'e').filter_map(|(_, text)| text.clone()).collect();
    if scripts.is_empty() && !files.is_empty() {
        scripts.push(files.remove(0));
    }
    let dialect = if options.has('E') || options.has('r') { Dialect::Extended } else { Dialect::Basic };
    let script = scripts.join("\n");
    let mut reader = Script { text: script.chars().peekable(), dialect };
    let mut commands = Vec::new();
    while let Some(command) = reader.command()? {
        commands.push(command);
    }
    Ok((options, commands, files))
}

impl Script<'_> {
    fn skip(&mut self, also: &str) {
        while self.text.peek().is_some_and(|next| next.is_whitespace() || also.contains(*next)) {
            self.text.next();
        }
    }

    fn command(&mut self) -> Result<Option<Command>, Unsupported> {
        self.skip(";");
        if self.text.peek().is_none() {
            return Ok(None);
        }
        let from = self.address()?;
        let to = if from.is_some() && self.text.next_if_eq(&',').is_some() {
            Some(self.address()?.ok_or_else(|| refused("an address of `sed` after `,`"))?)
        } else {
            None
        };
        self.skip("");
        let negated = self.text.next_if_eq(&'!').is_some();
        let action = match self.text.next() {
            Some('p') => Action::Print,
            Some('d') => Action::Delete,
            Some('q') => Action::Quit,
            Some('s') => self.substitution()?,
            other => {
                return Err(refused(format!(
                    "the command `{}` of `sed`",
                    other.map_or_else(String::new, String::from)
                )));
            }
        };
        while self.text.peek().is_some_and(|next| *next == ' ') {
            self.text.next();
        }
        match self.text.peek() {
            None | Some(';' | '\n') => Ok(Some(Command { from, to, negated, action, inside: false })),
            Some(other) => Err(refused(format!("`{other}` after a command of `sed`"))),
        }
    }

    fn address(&mut self) -> Result<Option<Address>, Unsupported> {
        self.skip("");
        Ok(match self.text.peek() {
            Some('$') => {
                self.text.next();
                Some(Address::Last)
            }
            Some('/') => {
                self.text.next();
                let text = self.until('/')?;
                Some(Address::Fitting(pattern::regex(&text, self.dialect, false, ("", ""))?))
            }
            Some(digit) if digit.is_ascii_digit() => {
                let mut number = String::new();
                while let Some(digit) = self.text.next_if(char::is_ascii_digit) {
                    number.push(digit);
                }
                Some(Address::Line(number.parse().map_err(|_| refused("a line number of `sed`"))?))
            }
            _ => None,
        })
    }

    /// What stands before the next delimiter; a delimiter behind a backslash means itself.
    fn until(&mut self, delimiter: char) -> Result<String, Unsupported> {
        let mut text = String::new();
        loop {
            match self
                .text
                .next()
                .ok_or_else(|| refused(format!("a command of `sed` without its last `{delimiter}`")))?
            {
                '\\' => match self.text.next() {
                    Some(next) if next == delimiter => text.push(next),
                    Some(next) => text.extend(['\\', next]),
                    None => {}
                },
                next if next == delimiter => return Ok(text),
                next => text.push(next),
            }
        }
    }

    fn substitution(&mut self) -> Result<Action, Unsupported> {
        let delimiter = self.text.next().ok_or_else(|| refused("`s` of `sed` without an expression"))?;
        let text = self.until(delimiter)?;
        let replacement = parts(&self.until(delimiter)?);
        let (mut all, mut print, mut ignore_case) = (false, false, false);
        while let Some(flag) = self.text.next_if(|next| next.is_alphanumeric()) {
            match flag {
                'g' => all = true,
                'p' => print = true,
                'I' | 'i' => ignore_case = true,
                _ => return Err(refused(format!("the flag `{flag}` of `s` in `sed`"))),
            }
        }
        Ok(Action::Substitute {
            pattern: pattern::regex(&text, self.dialect, ignore_case, ("", ""))?,
            replacement,
            all,
            print,
        })
    }
}

fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let group = match character {
            '&' => Some(0),
            '\\' => match characters.next() {
                Some(digit) if digit.is_ascii_digit() => digit.to_digit(10),
                Some('n') => {
                    plain.push('\n');
                    None
                }
                other => {
                    plain.extend(other);
                    None
                }
            },
            other => {
                plain.push(other);
                None
            }
        };
        if let Some(group) = group {
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(Part::Group(group as usize));
        }
    }
    parts.push(Part::Text(plain));
    parts
}

pub fn check(arguments: &[String]) -> Result<(), Unsupported> {
    read(arguments).map(|_| ())
}

/// `sed`
pub fn sed(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let (options, mut commands, files) = read(arguments)?;
    if commands.is_empty() && files.is_empty() {
        return complain(shell, streams, "Usage: sed [OPTION]... {script-only-if-no-other-script} [input-file]...", 1);
    }
    let (inputs, failed) = inputs(shell, &arguments[0], &files, streams)?;
    let lines: Vec<_> = inputs.iter().flat_map(|(_, bytes)| super::lines(bytes)).collect();
    // The last line ends as it did.
    let unended = inputs.last().is_some_and(|(_, bytes)| !bytes.is_empty() && !bytes.ends_with(b"\n"));
    let mut out = String::new();
    'lines: for (at, line) in lines.iter().enumerate() {
        if at % 256 == 0 {
            shell.tick()?;
        }
        let mut line = line.clone();
        let before = out.len();
        let mut quit = false;
        for command in &mut commands {
            if command.covers(at + 1, at + 1 == lines.len(), &line) == command.negated {
                continue;
            }
            match &command.action {
                Action::Print => out.push_str(&format!("{line}\n")),
                Action::Delete => continue 'lines,
                Action::Quit => {
                    quit = true;
                    break;
                }
                Action::Substitute { pattern, replacement, all, print } => {
                    let replaced = |found: &Captures<'_>| made(replacement, found);
                    let found = pattern.is_match(&line);
                    line = pattern.replacen(&line, usize::from(!all), replaced).into_owned();
                    if found && *print {
                        out.push_str(&format!("{line}\n"));
                    }
                }
            }
        }
        if !options.has('n') {
            out.push_str(&format!("{line}\n"));
        }
        if unended && at + 1 == lines.len() && out.len() > before {
            out.pop();
        }
        if quit {
            break;
        }
    }
    shell.write(&streams.out, out)?;
    Ok(if failed { 2 } else { 0 })
}

fn made(parts: &[Part], found: &Captures<'_>) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Group(group) => found.get(*group).map_or_else(String::new, |found| found.as_str().to_owned()),
    };
    parts.iter().map(part).collect()
}

impl Command {
    fn covers(&mut self, number: usize, last: bool, line: &str) -> bool {
        let fits = |address: &Address| match address {
            Address::Line(wanted) => *wanted == number,
            Address::Last => last,
            Address::Fitting(pattern) => pattern.is_match(line),
        };
        match (&self.from, &self.to) {
            (None, _) => true,
            (Some(from), None) => fits(from),
            (Some(from), Some(to)) => {
                if self.inside {
                    self.inside = !fits(to) && !matches!(to, Address::Line(wanted) if *wanted < number);
                    return true;
                }
                if fits(from) {
                    let ends = match to {
                        Address::Line(wanted) => *wanted <= number,
                        Address::Last => last,
                        Address::Fitting(_) => false,
                    };
                    self.inside = !ends;
                    return true;
                }
                false
            }
        }
    }
}
