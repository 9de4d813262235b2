//! A policy's examples: at least one that fails, one that passes, and one near miss that passes though it looks alike.

use super::read::{PolicyError, one};
use crate::model::{Mark, Value};

/// What an example has to come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The policy fails at least once.
    Fail,
    /// The policy does not fail.
    Pass,
}

/// One example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// `bad`, `good`, `near-miss`, with whatever follows the first word kept: `bad-init`.
    pub label: String,
    /// What it has to come to.
    pub want: Want,
    /// As it stands in the file.
    pub fragment: String,
    /// The whole object (or objects) that the fragment is part of.
    pub manifest: String,
}

/// All examples of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examples {
    /// What the fragments are parts of: `object`, `pod` or `container`.
    pub of: String,
    /// In the order of the file.
    pub all: Vec<Example>,
}

impl Examples {
    /// Reads the examples from the text of a policy's file.
    ///
    /// # Errors
    /// Where there is not at least one of each, or the text is no YAML.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyError> {
        let Some(start) = text.find("\nexamples:") else {
            let at = Mark { line: 1, column: 1 };
            let what = "expected `examples` as the last key".to_owned();
            return Err(PolicyError { file: file.to_owned(), at, what });
        };
        // Lines are those of the whole file.
        let before = text[..start].matches('\n').count() as u32;
        Self::parse_part(file, &text[start..])
            .map_err(|error| PolicyError { at: Mark { line: error.at.line + before, ..error.at }, ..error })
    }

    fn parse_part(file: &str, text: &str) -> Result<Self, PolicyError> {
        let error = |at, what: &str| PolicyError { file: file.to_owned(), at, what: what.to_owned() };
        let document = one(file, text)?;
        let root = document.root().and_then(|root| document.get(root, "examples"));
        let Some(root) = root.filter(|root| matches!(document.value(*root), Value::Map(_))) else {
            return Err(error(Mark { line: 1, column: 1 }, "expected a mapping for `examples`"));
        };
        let mut examples = Self { of: document.str_at(root, &["of"]).unwrap_or("object").to_owned(), all: Vec::new() };
        for (label, entry) in document.entries(root).filter(|(label, _)| *label != "of") {
            let want = match label.split('-').next() {
                Some("bad") => Want::Fail,
                Some("good" | "near") => Want::Pass,
                _ => return Err(error(entry.at, "expected names that begin with `bad`, `good` or `near-miss`")),
            };
            let fragment = document.str(entry.value).ok_or_else(|| error(entry.at, "expected text"))?;
            let manifest = whole(&examples.of, fragment)
                .ok_or_else(|| error(entry.at, "expected `of` to be object, pod or container"))?;
            examples.all.push(Example { label: label.to_owned(), want, fragment: fragment.to_owned(), manifest });
        }
        for kind in ["bad", "good", "near-miss"] {
            if !examples.all.iter().any(|example| example.label.starts_with(kind)) {
                return Err(error(Mark { line: 1, column: 1 }, &format!("expected an example `{kind}`")));
            }
        }
        Ok(examples)
    }
}

/// A fragment within the object that it is a part of.
fn whole(of: &str, fragment: &str) -> Option<String> {
    let indented = |by: usize| {
        fragment
            .lines()
            .map(|line| if line.trim().is_empty() { "\n".to_owned() } else { format!("{:by$}{line}\n", "") })
            .collect::<String>()
    };
    let head = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: example\n  namespace: shop\nspec:\n";
    Some(match of {
        "object" => fragment.to_owned(),
        "pod" => {
            let has_containers = fragment.lines().any(|line| line.starts_with("containers:"));
            let containers = if has_containers { "" } else { "  containers:\n    - name: app\n      image: app\n" };
            format!("{head}{}{containers}", indented(2))
        }
        "container" => format!("{head}  containers:\n    - name: app\n{}", indented(6)),
        _ => return None,
    })
}
