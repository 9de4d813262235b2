//! Tests on the output of audits: whether a flag, a path or a variable is there, and what its value is.

use regex_lite::Regex;

use super::controls::{Check, Item};
use crate::model::{self, Limits, Syntax};

/// How a value is compared.
#[derive(Debug, Clone)]
pub enum Op {
    /// The same; true and false in any case.
    Eq,
    /// Not the same.
    NotEq,
    /// A greater number.
    Gt,
    /// A number as great.
    Gte,
    /// A smaller number.
    Lt,
    /// A number as small.
    Lte,
    /// The value has this in it.
    Has,
    /// The value does not have this in it.
    NotHave,
    /// An expression fits a part of the value.
    Regex(Regex),
    /// Every element of the value is one of these.
    ValidElements,
    /// No permission beyond these.
    Bitmask,
}

/// The names of the comparisons.
pub const OPS: [&str; 11] =
    ["eq", "noteq", "gt", "gte", "lt", "lte", "has", "nothave", "regex", "valid_elements", "bitmask"];

impl Op {
    /// A comparison by its name.
    ///
    /// # Errors
    /// An unknown name, or an expression that is none.
    pub fn read(name: &str, value: &str) -> Result<Self, String> {
        Ok(match name {
            "eq" => Self::Eq,
            "noteq" => Self::NotEq,
            "gt" => Self::Gt,
            "gte" => Self::Gte,
            "lt" => Self::Lt,
            "lte" => Self::Lte,
            "has" => Self::Has,
            "nothave" => Self::NotHave,
            "regex" => Self::Regex(
                Regex::new(value).map_err(|error| format!("`value: {value}`: no regular expression: {error}"))?,
            ),
            "valid_elements" => Self::ValidElements,
            "bitmask" => Self::Bitmask,
            _ => return Err(format!("`op: {name}`: one of {} is expected", OPS.join(", "))),
        })
    }

    /// Whether a value is as wanted, and what was expected, in kube-bench's words; `subject` is the flag, path or variable.
    fn compare(&self, value: &str, wanted: &str, subject: &str) -> (String, bool) {
        let same = || match value.to_lowercase().as_str() {
            truth @ ("true" | "false") => truth == wanted,
            _ => value == wanted,
        };
        let number = |words: &str, holds: fn(i64, i64) -> bool| match (whole(value), whole(wanted)) {
            (Some(one), Some(other)) => (format!("'{subject}' is {words} {wanted}"), holds(one, other)),
            _ => (format!("Invalid Number(s) used for comparison: '{value}' '{wanted}'"), false),
        };
        match self {
            Self::Eq => (format!("'{subject}' is equal to '{wanted}'"), same()),
            Self::NotEq => (format!("'{subject}' is not equal to '{wanted}'"), !same()),
            Self::Gt => number("greater than", |one, other| one > other),
            Self::Gte => number("greater or equal to", |one, other| one >= other),
            Self::Lt => number("lower than", |one, other| one < other),
            Self::Lte => number("lower or equal to", |one, other| one <= other),
            Self::Has => (format!("'{subject}' has '{wanted}'"), value.contains(wanted)),
            Self::NotHave => (format!("'{subject}' does not have '{wanted}'"), !value.contains(wanted)),
            Self::Regex(pattern) => {
                (format!("'{subject}' matched by regex expression '{wanted}'"), pattern.is_match(value))
            }
            Self::ValidElements => {
                let (found, allowed) = (elements(value), elements(wanted));
                let valid =
                    found.is_empty() == allowed.is_empty() && found.iter().all(|element| allowed.contains(element));
                (format!("'{subject}' contains valid elements from '{wanted}'"), valid)
            }
            Self::Bitmask => match (octal(value), octal(wanted)) {
                (Some(found), Some(most)) => {
                    let words = format!("{subject} has permissions {value}, expected {wanted} or more restrictive");
                    (words, most & found == found)
                }
                (None, _) => (format!("Not numeric value - flag: {value}"), false),
                (_, None) => (format!("Not numeric value - flag: {wanted}"), false),
            },
        }
    }
}

fn whole(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

fn octal(text: &str) -> Option<i64> {
    i64::from_str_radix(text, 8).ok()
}

/// What stands between commas; commas at the end count for nothing.
fn elements(text: &str) -> Vec<&str> {
    let text = text.trim().trim_end_matches(',');
    if text.is_empty() { Vec::new() } else { text.split(',').map(str::trim).collect() }
}

/// A flag with its value: `--flag=value`, `flag: value`, `--flag value`, `--flag`. The flag itself is an expression.
///
/// # Errors
/// Where it is none.
pub fn flag_pattern(flag: &str) -> Result<Regex, regex_lite::Error> {
    Regex::new(&format!("({flag})(?:=|: *)*(\\S*) *"))
}

/// What the commands of a check printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outputs {
    /// That of `audit`.
    pub audit: String,
    /// That of `audit_config`.
    pub config: String,
    /// That of `audit_env`.
    pub env: String,
}

/// What the tests of a check came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether they hold.
    pub holds: bool,
    /// The output that was looked at.
    pub actual: String,
    /// What was expected, in words.
    pub expected: String,
}

/// Where a test looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Audit,
    Config,
    Env,
}

#[derive(Debug, Default)]
struct Found {
    there: bool,
    holds: bool,
    actual: String,
    expected: String,
}

/// Tests the outputs: first that of `audit`, then that of `audit_config`, then that of `audit_env`, until the thing is found.
pub fn evaluate(check: &Check, outputs: &Outputs) -> Verdict {
    let Some(tests) = &check.tests else { return Verdict::default() };
    let found: Vec<_> = tests
        .items
        .iter()
        .map(|item| {
            let mut found = in_output(item, Place::Audit, &outputs.audit, check.multiple);
            if !found.there && !check.audit_config.is_empty() && !outputs.config.is_empty() {
                found = in_output(item, Place::Config, &outputs.config, check.multiple);
            }
            if !found.there && !item.env.is_empty() {
                found = in_output(item, Place::Env, &outputs.env, check.multiple);
            }
            found
        })
        .collect();
    let expected: Vec<_> = found.iter().map(|found| found.expected.as_str()).collect();
    Verdict {
        holds: if tests.any { found.iter().any(|found| found.holds) } else { found.iter().all(|found| found.holds) },
        actual: found.first().map(|found| found.actual.clone()).unwrap_or_default(),
        expected: expected.join(if tests.any { " OR " } else { " AND " }),
    }
}

fn in_output(item: &Item, place: Place, output: &str, multiple: bool) -> Found {
    let output = output.trim_end_matches([' ', '\n']);
    let mut found = Found::default();
    for part in if multiple { output.split('\n').collect() } else { vec![output] } {
        found = in_text(item, place, part);
        // The first line that is not as wanted decides.
        if !found.holds {
            break;
        }
    }
    found.actual = output.to_owned();
    found
}

fn in_text(item: &Item, place: Place, text: &str) -> Found {
    let value = match place {
        Place::Audit => match flag_value(item, text) {
            Some(value) => value,
            None => return Found::default(),
        },
        Place::Config => match path_value(item, text) {
            Ok(value) => value,
            Err(_) => return Found::default(),
        },
        Place::Env => env_value(&item.env, text),
    };
    let subject = match place {
        Place::Audit => &item.flag,
        Place::Config => &item.path,
        Place::Env => &item.env,
    };
    let there = value.is_some();
    let (expected, holds) = match (&item.compare, value) {
        _ if item.absent => (format!("'{subject}' is not present"), !there),
        (Some((op, wanted)), Some(value)) => op.compare(&value, wanted, subject),
        (_, value) => (format!("'{subject}' is present"), value.is_some()),
    };
    Found { there, holds, actual: String::new(), expected }
}

/// The value of a flag, if it is there; nothing at all where the flag is an expression that stands in the text but does not fit it.
fn flag_value(item: &Item, text: &str) -> Option<Option<String>> {
    let Some(pattern) = item.flag_pattern.as_ref().filter(|_| text.contains(&item.flag)) else { return Some(None) };
    let found = pattern.captures(text)?;
    let value = found.get(2).map_or("", |value| value.as_str());
    Some(Some(match value {
        "" if item.flag.starts_with("--") => "true".to_owned(),
        "" => found.get(1).map_or(String::new(), |flag| flag.as_str().to_owned()),
        value => value.to_owned(),
    }))
}

/// The value that a path leads to in JSON or YAML; `None` where it is missing or empty.
fn path_value(item: &Item, text: &str) -> Result<Option<String>, String> {
    let mut first = None;
    let result = model::read(text, Syntax::Guess, &Limits::default(), &mut |document| {
        first.get_or_insert(document);
    });
    let value = match (&first, result) {
        // A mistake behind the first document is none of ours.
        (Some(document), _) => document.root().map_or(serde_json::Value::Null, |root| document.to_json(root)),
        (None, Ok(())) => serde_json::Value::Null,
        (None, Err(error)) => return Err(error.to_string()),
    };
    let found = match &item.parsed_path {
        Some(path) => path.text_of(&value)?,
        None => String::new(),
    };
    Ok(Some(found).filter(|found| !found.is_empty()))
}

fn env_value(name: &str, text: &str) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    let wanted = format!("{name}=");
    let value = text.lines().find_map(|line| line.find(&wanted).map(|at| &line[at + wanted.len()..]))?;
    Some(value.to_owned()).filter(|value| !value.is_empty())
}
