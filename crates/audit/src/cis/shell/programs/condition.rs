//! `test`, `[ … ]` and `[[ … ]]`.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt};

use super::super::pattern;
use super::super::run::{Shell, Stop, Streams};
use super::complain;

/// A word, and in `[[ ]]` the pattern that it is.
type Term = (String, Option<String>);

/// `test EXPRESSION` and `[ EXPRESSION ]`.
pub fn test(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let mut terms = &arguments[1..];
    if arguments[0] == "[" {
        match terms.split_last() {
            Some((last, rest)) if last == "]" => terms = rest,
            _ => return complain(shell, streams, "/bin/sh: 1: [: missing ]", 2),
        }
    }
    let terms: Vec<_> = terms.iter().map(|term| (term.clone(), None)).collect();
    condition(shell, &arguments[0], &terms, streams)
}

/// The status of an expression: 0 true, 1 false, 2 none at all.
pub fn condition(shell: &mut Shell<'_>, name: &str, terms: &[Term], streams: &Streams) -> Result<i32, Stop> {
    let mut reader = Reader { shell, terms, at: 0, nested: 0 };
    match reader.either().and_then(|truth| if reader.at == terms.len() { Ok(truth) } else { Err(reader.unexpected()) })
    {
        Ok(truth) => Ok(i32::from(!truth)),
        Err(why) => complain(shell, streams, &format!("/bin/sh: 1: {name}: {why}"), 2),
    }
}

struct Reader<'r, 'h> {
    shell: &'r Shell<'h>,
    terms: &'r [Term],
    at: usize,
    nested: usize,
}

impl Reader<'_, '_> {
    fn text(&self, ahead: usize) -> Option<&str> {
        self.terms.get(self.at + ahead).map(|(text, _)| text.as_str())
    }

    fn unexpected(&self) -> String {
        match self.text(0) {
            Some(text) => format!("{text}: unexpected operator"),
            None => "argument expected".to_owned(),
        }
    }

    fn either(&mut self) -> Result<bool, String> {
        let mut truth = self.both()?;
        while matches!(self.text(0), Some("-o" | "||")) {
            self.at += 1;
            truth |= self.both()?;
        }
        Ok(truth)
    }

    fn both(&mut self) -> Result<bool, String> {
        let mut truth = self.one()?;
        while matches!(self.text(0), Some("-a" | "&&")) {
            self.at += 1;
            truth &= self.one()?;
        }
        Ok(truth)
    }

    fn one(&mut self) -> Result<bool, String> {
        // With an operator between two words, neither of them is an operator.
        if let (Some(left), Some(operator), Some(right)) = (self.text(0), self.text(1), self.terms.get(self.at + 2))
            && let Some(truth) = binary(left, operator, right)?
        {
            self.at += 3;
            return Ok(truth);
        }
        match (self.text(0), self.text(1)) {
            // `test` without anything is false.
            (None, _) if self.at == 0 => Ok(false),
            (None, _) => Err(self.unexpected()),
            (Some("!"), Some(_)) => {
                self.at += 1;
                self.deeper()?;
                Ok(!self.one()?)
            }
            (Some("("), Some(_)) => {
                self.at += 1;
                self.deeper()?;
                let truth = self.either()?;
                if self.text(0) != Some(")") {
                    return Err("closing paren expected".to_owned());
                }
                self.at += 1;
                Ok(truth)
            }
            (Some(operator), Some(operand))
                if operator.len() == 2
                    && operator.starts_with('-')
                    && !matches!(operand, "-a" | "-o" | "&&" | "||") =>
            {
                let truth = self.unary(operator, operand)?;
                self.at += 2;
                Ok(truth)
            }
            (Some(text), _) => {
                let truth = !text.is_empty();
                self.at += 1;
                Ok(truth)
            }
        }
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.nested += 1;
        if self.nested > 100 { Err("expression nested too deep".to_owned()) } else { Ok(()) }
    }

    fn unary(&self, operator: &str, operand: &str) -> Result<bool, String> {
        let host = self.shell.host;
        let found = host.metadata(operand, true).ok();
        let mode = found.as_ref().map_or(0, MetadataExt::mode);
        Ok(match operator {
            "-z" => operand.is_empty(),
            "-n" => !operand.is_empty(),
            "-e" => found.is_some(),
            "-f" => found.is_some_and(|found| found.is_file()),
            "-d" => found.is_some_and(|found| found.is_dir()),
            "-s" => found.is_some_and(|found| found.len() > 0),
            "-S" => found.is_some_and(|found| found.file_type().is_socket()),
            "-L" | "-h" => host.metadata(operand, false).is_ok_and(|found| found.is_symlink()),
            // As root sees it, who can read and write everything.
            "-r" | "-w" => found.is_some(),
            "-x" => mode & 0o111 != 0,
            _ => return Err(format!("{operator}: unexpected operator")),
        })
    }
}

/// A comparison; `None` where the word in the middle is no operator.
fn binary(left: &str, operator: &str, right: &Term) -> Result<Option<bool>, String> {
    let (right, pattern) = right;
    let equal = || pattern.as_ref().map_or(left == right, |pattern| pattern::fits(pattern, left));
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("Illegal number: {text}"));
    let compare = |holds: fn(i64, i64) -> bool| Ok(Some(holds(number(left)?, number(right)?)));
    match operator {
        "=" | "==" => Ok(Some(equal())),
        "!=" => Ok(Some(!equal())),
        "<" if pattern.is_some() => Ok(Some(left < right.as_str())),
        ">" if pattern.is_some() => Ok(Some(left > right.as_str())),
        "-eq" => compare(|left, right| left == right),
        "-ne" => compare(|left, right| left != right),
        "-gt" => compare(|left, right| left > right),
        "-ge" => compare(|left, right| left >= right),
        "-lt" => compare(|left, right| left < right),
        "-le" => compare(|left, right| left <= right),
        _ => Ok(None),
    }
}
