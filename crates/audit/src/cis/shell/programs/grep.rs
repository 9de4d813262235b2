//! `grep`, with the options that audits use.

use regex_lite::Regex;

use super::super::Unsupported;
use super::super::pattern::{self, Dialect};
use super::super::run::{Shell, Stop, Streams};
use super::options::{Known, Options};
use super::{complain, inputs};

const GREP: Known = Known {
    flags: "EFGPivqocnwxshHa",
    valued: "eABCm",
    long: &[
        ("color", 'a'),
        ("colour", 'a'),
        ("extended-regexp", 'E'),
        ("fixed-strings", 'F'),
        ("ignore-case", 'i'),
        ("invert-match", 'v'),
        ("quiet", 'q'),
        ("silent", 'q'),
        ("only-matching", 'o'),
        ("count", 'c'),
        ("line-number", 'n'),
        ("word-regexp", 'w'),
        ("line-regexp", 'x'),
        ("no-messages", 's'),
        ("no-filename", 'h'),
        ("with-filename", 'H'),
        ("text", 'a'),
        ("regexp", 'e'),
        ("max-count", 'm'),
        ("after-context", 'A'),
        ("before-context", 'B'),
        ("context", 'C'),
    ],
    operand_ends: false,
};

struct Grep {
    options: Options,
    patterns: Vec<Regex>,
    files: Vec<String>,
    before: usize,
    after: usize,
    most: usize,
}

/// `None` where the pattern is missing.
fn read(arguments: &[String]) -> Result<Option<Grep>, Unsupported> {
    let mut options = GREP.read(arguments)?;
    let mut files = std::mem::take(&mut options.operands);
    let mut texts: Vec<_> =
        options.given.iter().filter(|(letter, _)| *letter == 'e').filter_map(|(_, text)| text.clone()).collect();
    if texts.is_empty() {
        if files.is_empty() {
            return Ok(None);
        }
        texts.push(files.remove(0));
    }
    let dialect = if options.has('F') || arguments[0].ends_with("fgrep") {
        Dialect::Fixed
    } else if options.has('E') || options.has('P') || arguments[0].ends_with("egrep") {
        Dialect::Extended
    } else {
        Dialect::Basic
    };
    let around = match (options.has('x'), options.has('w')) {
        (true, _) => ("^", "$"),
        (false, true) => ("\\b", "\\b"),
        (false, false) => ("", ""),
    };
    // A pattern of several lines is several patterns.
    let lines = texts.iter().flat_map(|text| text.split('\n'));
    let patterns =
        lines.map(|text| pattern::regex(text, dialect, options.has('i'), around)).collect::<Result<_, _>>()?;
    let context = options.number('C')?.unwrap_or(0);
    let (before, after) = (options.number('B')?.unwrap_or(context), options.number('A')?.unwrap_or(context));
    let most = options.number('m')?.unwrap_or(usize::MAX);
    Ok(Some(Grep { options, patterns, files, before, after, most }))
}

pub fn check(arguments: &[String]) -> Result<(), Unsupported> {
    read(arguments).map(|_| ())
}

/// `grep`: 0 where a line was found, 1 where none was, 2 where a file could not be read.
pub fn grep(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let Some(grep) = read(arguments)? else {
        let usage = "Usage: grep [OPTION]... PATTERNS [FILE]...\nTry 'grep --help' for more information.";
        return complain(shell, streams, usage, 2);
    };
    let quiet = Streams { err: if grep.options.has('s') { None } else { streams.err.clone() }, ..streams.clone() };
    let (inputs, failed) = inputs(shell, &arguments[0], &grep.files, &quiet)?;
    let named = grep.options.has('H') || grep.files.len() > 1 && !grep.options.has('h');
    let mut found = false;
    for (name, bytes) in inputs {
        let prefix = if named { name.clone() } else { String::new() };
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().collect();
        let fitting = grep.fitting(shell, &lines)?;
        found |= !fitting.is_empty();
        if grep.options.has('q') {
            continue;
        }
        if grep.options.has('c') {
            let prefix = if named { format!("{name}:") } else { String::new() };
            shell.write(&streams.out, format!("{prefix}{}\n", fitting.len()))?;
        } else if bytes.contains(&0) && !grep.options.has('a') && !fitting.is_empty() {
            shell.write(&streams.out, format!("grep: {name}: binary file matches\n"))?;
        } else {
            shell.write(&streams.out, grep.shown(&prefix, &lines, &fitting))?;
        }
    }
    Ok(if failed { 2 } else { i32::from(!found) })
}

impl Grep {
    /// The numbers of the lines that are wanted.
    fn fitting(&self, shell: &Shell<'_>, lines: &[&str]) -> Result<Vec<usize>, Stop> {
        let mut fitting = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            if at % 256 == 0 {
                shell.tick()?;
            }
            let fits = self.patterns.iter().any(|pattern| pattern.is_match(line));
            if fits != self.options.has('v') && fitting.len() < self.most {
                fitting.push(at);
            }
        }
        Ok(fitting)
    }

    fn shown(&self, name: &str, lines: &[&str], fitting: &[usize]) -> String {
        let mut out = String::new();
        let head = |at: usize, sign: char| {
            let mut head = String::new();
            if !name.is_empty() {
                head = format!("{name}{sign}");
            }
            if self.options.has('n') {
                head.push_str(&format!("{}{sign}", at + 1));
            }
            head
        };
        let mut next = 0;
        for at in fitting {
            if self.options.has('o') {
                for part in self
                    .patterns
                    .iter()
                    .flat_map(|pattern| pattern.find_iter(lines[*at]))
                    .filter(|part| !part.is_empty())
                {
                    out.push_str(&format!("{}{}\n", head(*at, ':'), part.as_str()));
                }
                continue;
            }
            let first = at.saturating_sub(self.before).max(next);
            if first > next && next > 0 && self.before + self.after > 0 {
                out.push_str("--\n");
            }
            let last = (at + self.after).min(lines.len() - 1);
            for (line, text) in lines.iter().enumerate().take(last + 1).skip(first) {
                let hit = fitting.binary_search(&line).is_ok();
                out.push_str(&format!("{}{text}\n", head(line, if hit { ':' } else { '-' })));
            }
            next = next.max(last + 1);
        }
        out
    }
}
