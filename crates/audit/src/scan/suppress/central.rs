//! The central file of suppressions:
//! ```yaml
//! suppressions:
//!   - policy: RF-K8S-0001        # or a list; an alias will do
//!     files: "deploy/**"         # glob, optional
//!     resource: "DaemonSet/kube-system/*"   # glob on Kind/namespace/name, optional
//!     container: agent           # optional
//!     reason: host agent
//!     owner: platform team
//!     expires: 2027-01-31        # or never
//! ```

use super::{Date, Decision, Suppressed, Target, decision};
use crate::model::{Document, Limits, Mark, NodeId, Syntax, Value, read};
use crate::scan::input::fits;

/// The file that is read where none is named, if it is there.
pub const CENTRAL_FILE: &str = ".ringfort-audit.yaml";

/// A central file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{at}: {what}")]
pub struct SuppressionsError {
    /// The file.
    pub file: String,
    /// Where in it.
    pub at: Mark,
    /// What was expected and what came.
    pub what: String,
}

#[derive(Debug)]
struct Rule {
    ids: Vec<String>,
    files: Option<String>,
    resource: Option<String>,
    container: Option<String>,
    said: Suppressed,
}

/// The rules of a central file.
#[derive(Debug, Default)]
pub struct Suppressions {
    rules: Vec<Rule>,
}

const KEYS: [&str; 7] = ["policy", "files", "resource", "container", "reason", "owner", "expires"];

impl Suppressions {
    /// Reads a central file.
    ///
    /// # Errors
    /// The first mistake with its line. Reason, owner and expiry have to be there.
    pub fn parse(file: &str, text: &str) -> Result<Self, SuppressionsError> {
        let error = |at, what: String| SuppressionsError { file: file.to_owned(), at, what };
        let mut documents = Vec::new();
        read(text, Syntax::Guess, &Limits::default(), &mut |document| documents.push(document))
            .map_err(|problem| error(problem.at, problem.what))?;
        let mut rules = Vec::new();
        for document in &documents {
            let Some(root) = document.root().filter(|root| !document.is_null(*root)) else { continue };
            let list = document.get(root, "suppressions").filter(|list| matches!(document.value(*list), Value::Seq(_)));
            let Some(list) = list else {
                return Err(error(document.at(root), "expected `suppressions:` with a list".to_owned()));
            };
            for item in document.items(list) {
                let place = format!("{file}:{}", document.at(*item).line);
                rules.push(rule(document, *item, place).map_err(|what| error(document.at(*item), what))?);
            }
        }
        Ok(Self { rules })
    }

    /// What they say about a finding; the index of a rule that applies is added to `used`.
    pub fn decide(&self, target: &Target<'_>, today: Date, used: &mut Vec<usize>) -> Decision {
        let mut result = Decision::None;
        for (index, rule) in self.rules.iter().enumerate() {
            let applies = rule.ids.iter().any(|id| id == "*" || target.policy.is_called(id))
                && rule.files.as_ref().is_none_or(|glob| fits(glob, target.file))
                && rule.resource.as_ref().is_none_or(|glob| fits(glob, target.resource))
                && rule.container.as_ref().is_none_or(|name| target.container == Some(name));
            if applies {
                used.push(index);
                result = result.or(decision(&rule.said, today));
            }
        }
        result
    }

    /// Where the rules stand whose index is not among `used`: they could go.
    pub fn unused<'s>(&'s self, used: &'s [usize]) -> impl Iterator<Item = &'s str> {
        let unused = |(index, _): &(usize, &Rule)| !used.contains(index);
        self.rules.iter().enumerate().filter(unused).map(|(_, rule)| rule.said.source.as_str())
    }
}

fn rule(document: &Document, node: NodeId, source: String) -> Result<Rule, String> {
    if let Some((key, _)) = document.entries(node).find(|(key, _)| !KEYS.contains(key)) {
        return Err(format!("`{key}` has no meaning in a suppression; there are {}", KEYS.join(", ")));
    }
    let text = |key: &str| document.get(node, key).and_then(|node| document.scalar_text(node)).map(str::to_owned);
    let need = |key: &str| text(key).ok_or_else(|| format!("a suppression needs `{key}`"));
    let ids = match document.get(node, "policy").map(|node| (node, document.value(node))) {
        Some((_, Value::Seq(items))) => {
            items.iter().filter_map(|item| document.str(*item)).map(str::to_owned).collect::<Vec<_>>()
        }
        Some((node, _)) => document.str(node).map(str::to_owned).into_iter().collect(),
        None => Vec::new(),
    };
    if ids.is_empty() {
        return Err("a suppression needs `policy`: an id or a list of them".to_owned());
    }
    let expires = need("expires")?;
    let expires = if expires == "never" { None } else { Some(expires.parse()?) };
    let said = Suppressed { reason: need("reason")?, owner: Some(need("owner")?), expires, source };
    Ok(Rule { ids, files: text("files"), resource: text("resource"), container: text("container"), said })
}
