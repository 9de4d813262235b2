//! Controls: the YAML files that say what is checked, in kube-bench's grammar. Unknown keys are passed over as kube-bench does; an
//! operator, an expression or a path that is none is refused with its place.

use std::fmt;

use regex_lite::Regex;

use super::evaluate::{Op, flag_pattern};
use super::path::Path;
use crate::model::{self, Document, Limits, Mark, ModelError, NodeId, Syntax, Value};

/// What a file of controls is about.
#[derive(Debug, Clone, Default)]
pub struct Controls {
    /// `1`
    pub id: String,
    /// The benchmark's name.
    pub version: String,
    /// Its title.
    pub text: String,
    /// The target: master, node, …
    pub node_type: String,
    /// Its parts.
    pub groups: Vec<Group>,
}

/// A part of controls.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// `1.2`
    pub id: String,
    /// Its title.
    pub text: String,
    /// Whether none of its checks runs.
    pub skipped: bool,
    /// Its checks.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, Default)]
pub struct Check {
    /// `1.2.1`
    pub id: String,
    /// What is wanted.
    pub text: String,
    /// The command whose output has flags.
    pub audit: String,
    /// The command whose output has environment variables.
    pub audit_env: String,
    /// The command whose output is a configuration file.
    pub audit_config: String,
    /// `manual`, `skip`, or nothing.
    pub kind: String,
    /// What is looked for; `None` where the check has no `tests` at all.
    pub tests: Option<Tests>,
    /// How to mend it.
    pub remediation: String,
    /// Whether it counts.
    pub scored: bool,
    /// Whether each line of the output is tested.
    pub multiple: bool,
    /// Whether no command for environment variables is made up.
    pub no_env: bool,
    /// Policies of ours that judge it from objects.
    pub policies: Vec<String>,
    /// Where it stands.
    pub at: Mark,
}

/// What is looked for in the output.
#[derive(Debug, Clone, Default)]
pub struct Tests {
    /// Whether one is enough; otherwise all have to hold.
    pub any: bool,
    /// The tests.
    pub items: Vec<Item>,
}

/// One test.
#[derive(Debug, Clone, Default)]
pub struct Item {
    /// A flag in the output of `audit`.
    pub flag: String,
    /// The flag with its value, as an expression; `None` without a flag.
    pub flag_pattern: Option<Regex>,
    /// An environment variable in the output of `audit_env`.
    pub env: String,
    /// A path in the output of `audit_config`, as it is written.
    pub path: String,
    /// The same, read.
    pub parsed_path: Option<Path>,
    /// Whether it has to be there, or has to be missing.
    pub absent: bool,
    /// What its value has to be.
    pub compare: Option<(Op, String)>,
}

/// Why a file was refused: where, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ControlsError {
    /// The file.
    pub file: String,
    /// The place in it.
    pub at: Mark,
    /// What came and what was expected.
    pub what: String,
}

impl fmt::Display for ControlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.at, self.what)
    }
}

/// Reads a file of controls.
///
/// # Errors
/// What is no YAML, no controls, or has a test that cannot be.
pub fn read(file: &str, text: &str) -> Result<Controls, ControlsError> {
    let refuse = |at, what: String| ControlsError { file: file.to_owned(), at, what };
    let first = first_document(text).map_err(|error| refuse(error.at, error.what))?;
    let place = Mark { line: 1, column: 1 };
    let document = first.ok_or_else(|| refuse(place, "controls are expected, the file is empty".to_owned()))?;
    let reader = Reader { file, document: &document };
    let root = document.root().ok_or_else(|| refuse(place, "controls are expected, there is nothing".to_owned()))?;
    reader.controls(root)
}

/// The most lines whose indentation is mended.
const MOST_MENDED: usize = 200;

/// The first document. A quoted text may go on in a line that is not further in than its key, as the YAML of kube-bench's reader has it;
/// ours does not, so such a line is moved in, which changes nothing of the text.
fn first_document(text: &str) -> Result<Option<Document>, ModelError> {
    let mut text = text.to_owned();
    for _ in 0..MOST_MENDED {
        let mut first = None;
        let result = model::read(&text, Syntax::Yaml, &Limits::default(), &mut |document| {
            first.get_or_insert(document);
        });
        let Err(error) = result else { return Ok(first) };
        if !error.what.contains("indentation in quoted scalar") {
            return Err(error);
        }
        // The mistake has the place where the text begins.
        let indent = |line: &str| line.len() - line.trim_start_matches([' ', '-']).len();
        let mut lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
        let first = error.at.line as usize;
        let key = lines.get(first - 1).map_or(0, |line| indent(line));
        let Some(line) = lines.iter_mut().skip(first).find(|line| !line.trim().is_empty() && indent(line) <= key)
        else {
            return Err(error);
        };
        line.insert_str(0, &" ".repeat(key + 1));
        text = lines.concat();
    }
    Err(ModelError {
        at: Mark { line: 1, column: 1 },
        what: format!("more than {MOST_MENDED} lines of quoted texts that are not further in than their keys"),
        over_limit: true,
    })
}

struct Reader<'r> {
    file: &'r str,
    document: &'r Document,
}

impl Reader<'_> {
    fn refuse<T>(&self, node: NodeId, what: impl Into<String>) -> Result<T, ControlsError> {
        Err(ControlsError { file: self.file.to_owned(), at: self.document.at(node), what: what.into() })
    }

    /// A scalar as it is written; nothing where it is missing.
    fn text(&self, node: NodeId, key: &str) -> Result<String, ControlsError> {
        match self.document.get(node, key) {
            None => Ok(String::new()),
            Some(value) => match self.document.scalar_text(value) {
                Some(text) => Ok(text.to_owned()),
                None => self.refuse(value, format!("`{key}`: a text is expected, not a list or a mapping")),
            },
        }
    }

    fn boolean(&self, node: NodeId, key: &str, missing: bool) -> Result<bool, ControlsError> {
        match self.document.get(node, key) {
            None => Ok(missing),
            Some(value) => match self.document.value(value) {
                Value::Bool(truth) => Ok(truth),
                _ => self.refuse(value, format!("`{key}`: true or false is expected")),
            },
        }
    }

    fn items<T>(
        &self,
        node: NodeId,
        key: &str,
        read: impl Fn(NodeId) -> Result<T, ControlsError>,
    ) -> Result<Vec<T>, ControlsError> {
        let Some(list) = self.document.get(node, key) else { return Ok(Vec::new()) };
        let Value::Seq(items) = self.document.value(list) else {
            return self.refuse(list, format!("`{key}`: a list is expected"));
        };
        items.iter().map(|item| read(*item)).collect()
    }

    fn mapping(&self, node: NodeId, what: &str) -> Result<(), ControlsError> {
        match self.document.value(node) {
            Value::Map(_) => Ok(()),
            _ => self.refuse(node, format!("{what}: a mapping is expected")),
        }
    }

    fn controls(&self, root: NodeId) -> Result<Controls, ControlsError> {
        self.mapping(root, "controls")?;
        Ok(Controls {
            id: self.text(root, "id")?,
            version: self.text(root, "version")?,
            text: self.text(root, "text")?,
            node_type: self.text(root, "type")?,
            groups: self.items(root, "groups", |group| self.group(group))?,
        })
    }

    fn group(&self, node: NodeId) -> Result<Group, ControlsError> {
        self.mapping(node, "a group")?;
        Ok(Group {
            id: self.text(node, "id")?,
            text: self.text(node, "text")?,
            skipped: self.text(node, "type")? == "skip",
            checks: self.items(node, "checks", |check| self.check(check))?,
        })
    }

    fn check(&self, node: NodeId) -> Result<Check, ControlsError> {
        self.mapping(node, "a check")?;
        let tests = match self.document.get(node, "tests") {
            Some(tests) => Some(self.tests(tests)?),
            None => None,
        };
        Ok(Check {
            id: self.text(node, "id")?,
            text: self.text(node, "text")?,
            audit: self.text(node, "audit")?,
            audit_env: self.text(node, "audit_env")?,
            audit_config: self.text(node, "audit_config")?,
            kind: self.text(node, "type")?,
            tests,
            remediation: self.text(node, "remediation")?,
            scored: self.boolean(node, "scored", false)?,
            multiple: self.boolean(node, "use_multiple_values", false)?,
            no_env: self.boolean(node, "disableenvtesting", false)?
                || self.boolean(node, "disableEnvTesting", false)?,
            policies: self.items(node, "policies", |policy| match self.document.str(policy) {
                Some(policy) => Ok(policy.to_owned()),
                None => self.refuse(policy, "the id of a policy is expected"),
            })?,
            at: self.document.at(node),
        })
    }

    fn tests(&self, node: NodeId) -> Result<Tests, ControlsError> {
        self.mapping(node, "`tests`")?;
        let any = match self.text(node, "bin_op")?.as_str() {
            "" | "and" => false,
            "or" => true,
            other => {
                let at = self.document.get(node, "bin_op").unwrap_or(node);
                return self.refuse(at, format!("`bin_op: {other}`: and or or is expected"));
            }
        };
        Ok(Tests { any, items: self.items(node, "test_items", |item| self.item(item))? })
    }

    fn item(&self, node: NodeId) -> Result<Item, ControlsError> {
        self.mapping(node, "a test item")?;
        let (flag, path) = (self.text(node, "flag")?, self.text(node, "path")?);
        let flag_pattern = if flag.is_empty() {
            None
        } else {
            match flag_pattern(&flag) {
                Ok(pattern) => Some(pattern),
                Err(why) => return self.refuse(node, format!("`flag: {flag}`: no regular expression: {why}")),
            }
        };
        let parsed_path = if path.is_empty() {
            None
        } else {
            match Path::parse(&path) {
                Ok(path) => Some(path),
                Err(why) => {
                    return self
                        .refuse(self.document.get(node, "path").unwrap_or(node), format!("`path: {path}`: {why}"));
                }
            }
        };
        Ok(Item {
            flag,
            flag_pattern,
            env: self.text(node, "env")?,
            path,
            parsed_path,
            absent: !self.boolean(node, "set", true)?,
            compare: self.compare(node)?,
        })
    }

    fn compare(&self, node: NodeId) -> Result<Option<(Op, String)>, ControlsError> {
        let Some(compare) = self.document.get(node, "compare") else { return Ok(None) };
        self.mapping(compare, "`compare`")?;
        let (name, value) = (self.text(compare, "op")?, self.text(compare, "value")?);
        if name.is_empty() {
            return Ok(None);
        }
        match Op::read(&name, &value) {
            Ok(op) => Ok(Some((op, value))),
            Err(why) => self.refuse(self.document.get(compare, "op").unwrap_or(compare), why),
        }
    }
}
