//! Reads a policy's file. Every mistake names its line and what was expected.

use super::{Each, Fix, Policy, PolicySource, Severity};
use crate::expr::{self, Expr};
use crate::model::{Document, Limits, Mark, NodeId, Syntax, Value, read};

/// A policy that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{at}: {what}")]
pub struct PolicyError {
    /// The file.
    pub file: String,
    /// Where in it.
    pub at: Mark,
    /// What was expected and what came.
    pub what: String,
}

const KEYS: [&str; 14] = [
    "id",
    "name",
    "aliases",
    "severity",
    "category",
    "kinds",
    "each",
    "when",
    "fails",
    "at",
    "message",
    "remediation",
    "fix",
    "examples",
];

/// The policy in `text`; its `examples` are not looked at.
pub(super) fn policy(file: &str, text: &str) -> Result<Policy, PolicyError> {
    let head = text.split("\nexamples:").next().unwrap_or(text);
    let document = one(file, head)?;
    let root = document.root().filter(|root| matches!(document.value(*root), Value::Map(_)));
    let Some(root) = root else {
        return Err(PolicyError {
            file: file.to_owned(),
            at: Mark { line: 1, column: 1 },
            what: "expected a mapping".to_owned(),
        });
    };
    let reader = Reader { file, document: &document, root };
    if let Some((key, entry)) = document.entries(root).find(|(key, _)| !KEYS.contains(key)) {
        return Err(
            reader.error(entry.at, format!("`{key}` has no meaning in a policy; there are {}", KEYS.join(", ")))
        );
    }
    let severity = reader.text("severity")?;
    let severity = severity.parse().map_err(|what| reader.error(reader.place("severity"), what))?;
    let kinds = reader.list("kinds")?;
    if kinds.is_empty() {
        return Err(reader.error(document.at(root), "expected at least one kind in `kinds`".to_owned()));
    }
    let each_text = reader.optional("each")?.unwrap_or("object").to_owned();
    let when_text = reader.optional("when")?.unwrap_or_default().to_owned();
    let fails_text = reader.text("fails")?.to_owned();
    let at = match reader.optional("at")? {
        Some(text) => {
            Some(expr::parse_path(text).map_err(|error| reader.error(reader.place("at"), error.to_string()))?)
        }
        None => None,
    };
    Ok(Policy {
        id: reader.text("id")?.to_owned(),
        name: reader.text("name")?.to_owned(),
        aliases: reader.list("aliases")?,
        severity,
        category: reader.text("category")?.to_owned(),
        kinds,
        each: reader.each(&each_text)?,
        when: if when_text.is_empty() { None } else { Some(reader.predicate("when", &when_text)?) },
        fails: reader.predicate("fails", &fails_text)?,
        at,
        message: one_line(reader.text("message")?),
        remediation: one_line(reader.text("remediation")?),
        fix: reader.fixes()?,
        source: PolicySource { when: one_line(&when_text), fails: one_line(&fails_text), each: each_text },
    })
}

/// The only document of a text.
pub(super) fn one(file: &str, text: &str) -> Result<Document, PolicyError> {
    let mut all = Vec::new();
    let error = |at, what| PolicyError { file: file.to_owned(), at, what };
    read(text, Syntax::Yaml, &Limits::default(), &mut |document| all.push(document))
        .map_err(|problem| error(problem.at, problem.what))?;
    if all.len() == 1 {
        return Ok(all.remove(0));
    }
    Err(error(Mark { line: 1, column: 1 }, format!("expected one document, found {}", all.len())))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn each(text: &str) -> Result<Each, expr::ExprError> {
    Ok(match text {
        "object" => Each::Object,
        "containers" => Each::Containers,
        "main-containers" => Each::MainContainers,
        "init-containers" => Each::InitContainers,
        path => Each::Path(expr::parse_path(path)?),
    })
}

struct Reader<'d> {
    file: &'d str,
    document: &'d Document,
    root: NodeId,
}

impl<'d> Reader<'d> {
    fn error(&self, at: Mark, what: String) -> PolicyError {
        PolicyError { file: self.file.to_owned(), at, what }
    }

    fn place(&self, key: &str) -> Mark {
        self.document.entry(self.root, key).map_or_else(|| self.document.at(self.root), |entry| entry.at)
    }

    fn optional(&self, key: &str) -> Result<Option<&'d str>, PolicyError> {
        let Some(node) = self.document.get(self.root, key) else { return Ok(None) };
        match self.document.str(node) {
            Some(text) => Ok(Some(text.trim())),
            None => Err(self.error(self.place(key), format!("expected text for `{key}`"))),
        }
    }

    fn text(&self, key: &str) -> Result<&'d str, PolicyError> {
        self.optional(key)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| self.error(self.place(key), format!("expected a text for `{key}`, found nothing")))
    }

    fn list(&self, key: &str) -> Result<Vec<String>, PolicyError> {
        let Some(node) = self.document.get(self.root, key) else { return Ok(Vec::new()) };
        let texts = self.document.items(node).iter().map(|item| self.document.str(*item).map(str::to_owned));
        match (self.document.value(node), texts.collect::<Option<Vec<_>>>()) {
            (Value::Seq(_), Some(texts)) => Ok(texts),
            _ => Err(self.error(self.place(key), format!("expected a list of texts for `{key}`"))),
        }
    }

    fn predicate(&self, key: &str, text: &str) -> Result<Expr, PolicyError> {
        expr::parse(text).map_err(|error| self.error(self.place(key), format!("`{key}`: {error}")))
    }

    fn each(&self, text: &str) -> Result<Each, PolicyError> {
        each(text).map_err(|error| self.error(self.place("each"), format!("`each`: {error}")))
    }

    fn fixes(&self) -> Result<Vec<Fix>, PolicyError> {
        let Some(node) = self.document.get(self.root, "fix") else { return Ok(Vec::new()) };
        self.document
            .items(node)
            .iter()
            .map(|item| {
                let at = self.document.at(*item);
                let path = |key| self.document.str_at(*item, &[key]);
                let parse = |text| expr::parse_path(text).map_err(|error| self.error(at, format!("`fix`: {error}")));
                match (path("set"), path("remove"), self.document.entry(*item, "to")) {
                    (Some(text), None, Some(to)) => {
                        Ok(Fix { path: parse(text)?, value: Some(self.document.to_json(to.value)) })
                    }
                    (None, Some(text), None) => Ok(Fix { path: parse(text)?, value: None }),
                    _ => Err(self.error(at, "expected `set: path` with `to: value`, or `remove: path`".to_owned())),
                }
            })
            .collect()
    }
}

impl Policy {
    /// Reads one policy from the text of its file; `file` is for the words of errors.
    ///
    /// # Errors
    /// The first mistake with its line.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyError> {
        policy(file, text)
    }

    /// A rule of a view: a predicate on these kinds, without words of its own.
    pub(crate) fn of_predicate(
        id: &str,
        kinds: Vec<String>,
        each_text: &str,
        fails: &str,
    ) -> Result<Self, expr::ExprError> {
        Ok(Self {
            id: id.to_owned(),
            name: String::new(),
            aliases: Vec::new(),
            severity: Severity::Info,
            category: String::new(),
            kinds,
            each: each(each_text)?,
            when: None,
            fails: expr::parse(fails)?,
            at: None,
            message: String::new(),
            remediation: String::new(),
            fix: Vec::new(),
            source: PolicySource::default(),
        })
    }

    /// Whether the policy is at least this bad.
    pub fn is_at_least(&self, severity: Severity) -> bool {
        self.severity >= severity
    }
}
