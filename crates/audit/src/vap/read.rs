//! A `ValidatingAdmissionPolicy` of a user as policies of a scan, one for each of its validations. What needs a cluster to be
//! answered (parameters, `authorizer`, `namespaceObject`) is refused.

use std::sync::Arc;

use super::cel::{Expression, Rule};
use super::kinds::KINDS;
use crate::expr::Expr;
use crate::model::{Document, NodeId};
use crate::policy::{Each, Policy, PolicyError, PolicySource, Severity};

/// Annotations that say what a policy of Kubernetes has no field for.
const SEVERITY: &str = "audit.ringfort/severity";
const CATEGORY: &str = "audit.ringfort/category";
const REMEDIATION: &str = "audit.ringfort/remediation";
const KIND_NAMES: &str = "audit.ringfort/kinds";

/// Variables that a policy may have; each may name those before it.
const MAX_VARIABLES: usize = 64;

/// Whether the document is one.
pub fn is_admission_policy(document: &Document) -> bool {
    let root = document.root();
    root.is_some_and(|root| document.str_at(root, &["kind"]) == Some("ValidatingAdmissionPolicy"))
}

/// The policies in it.
///
/// # Errors
/// The first mistake, with its line and what was expected.
pub fn policies(file: &str, document: &Document) -> Result<Vec<Policy>, PolicyError> {
    let root = document.root().expect("it was looked at to see that it is one");
    Reader { file, document, root }.policies()
}

struct Reader<'d> {
    file: &'d str,
    document: &'d Document,
    root: NodeId,
}

impl<'d> Reader<'d> {
    fn policies(&self) -> Result<Vec<Policy>, PolicyError> {
        let name = self.text(self.root, &["metadata", "name"])?;
        let spec = self.node(self.root, "spec")?;
        for (key, why) in
            [("paramKind", "parameters are objects of a cluster; write their values into the expressions")]
        {
            if let Some(node) = self.document.get(spec, key) {
                return Err(self.error(node, format!("`{key}` cannot be answered by a scan: {why}")));
            }
        }
        let fails_closed = match self.document.str_at(spec, &["failurePolicy"]).unwrap_or("Fail") {
            "Fail" => true,
            "Ignore" => false,
            other => {
                let node = self.document.get(spec, "failurePolicy").unwrap_or(spec);
                return Err(self.error(node, format!("expected Fail or Ignore for `failurePolicy`, found {other}")));
            }
        };
        let (kinds, groups) = self.kinds(spec)?;
        let variables = self.variables(spec)?;
        let mut conditions = Vec::new();
        for item in self.list(spec, "matchConditions") {
            conditions.push(self.expression(item)?);
        }
        // A condition without a value makes an API server refuse, unless failures are ignored.
        let when = Rule {
            variables: variables.clone(),
            expressions: conditions,
            negated: false,
            on_error: fails_closed,
            groups: groups.clone(),
        };
        let annotation = |key: &str| {
            let annotations = self.document.follow(self.root, &["metadata", "annotations"])?;
            self.document.str(self.document.get(annotations, key)?).map(str::to_owned)
        };
        let severity = match annotation(SEVERITY) {
            Some(text) => text.parse().map_err(|what| self.error(self.root, what))?,
            None => Severity::Medium,
        };
        let validations = self.list(spec, "validations");
        if validations.is_empty() {
            return Err(self.error(spec, "expected at least one expression in `validations`".to_owned()));
        }
        let mut policies = Vec::new();
        for (index, item) in validations.iter().enumerate() {
            let expression = self.expression(*item)?;
            let source = self.document.str_at(*item, &["expression"]).unwrap_or_default();
            let said = self.document.str_at(*item, &["message"]).map(one_line);
            let message = said.unwrap_or_else(|| format!("This does not hold: {}", one_line(source)));
            let id = if validations.len() == 1 { name.to_owned() } else { format!("{name}/{}", index + 1) };
            let rule = Rule {
                variables: variables.clone(),
                expressions: vec![expression],
                negated: true,
                on_error: fails_closed,
                groups: groups.clone(),
            };
            policies.push(Policy {
                id,
                name: message.clone(),
                aliases: Vec::new(),
                severity,
                category: annotation(CATEGORY).unwrap_or_else(|| "admission".to_owned()),
                kinds: kinds.clone(),
                each: Each::Object,
                when: Some(Expr::Cel(Arc::new(when.clone()))),
                fails: Expr::Cel(Arc::new(rule)),
                at: None,
                message,
                remediation: annotation(REMEDIATION)
                    .unwrap_or_else(|| format!("Make it so that this holds: {}", one_line(source))),
                fix: Vec::new(),
                source: PolicySource {
                    when: String::new(),
                    fails: format!("not ({})", one_line(source)),
                    each: "object".to_owned(),
                },
            });
        }
        Ok(policies)
    }

    fn kinds(&self, spec: NodeId) -> Result<(Vec<String>, Vec<String>), PolicyError> {
        let constraints = self.node(spec, "matchConstraints")?;
        let (mut kinds, mut groups): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        if let Some(list) = self.document.follow(self.root, &["metadata", "annotations"]) {
            let named =
                self.document.get(list, KIND_NAMES).and_then(|node| self.document.str(node)).unwrap_or_default();
            kinds.extend(named.split(',').map(str::trim).filter(|kind| !kind.is_empty()).map(str::to_owned));
        }
        let named = !kinds.is_empty();
        for rule in self.list(constraints, "resourceRules") {
            let texts = |key: &str| self.list(rule, key).into_iter().filter_map(|node| self.document.str(node));
            groups.extend(texts("apiGroups").map(str::to_owned));
            if named {
                continue;
            }
            for node in self.list(rule, "resources") {
                let plural = self.document.str(node).unwrap_or_default();
                match KINDS.iter().find(|(.., known)| *known == plural) {
                    Some((kind, ..)) => kinds.push((*kind).to_owned()),
                    None if plural == "*" => kinds.push("*".to_owned()),
                    // Something of an object, such as its status, is in no file.
                    None if plural.contains('/') => {}
                    None => {
                        let what = format!("no kind is known for `{plural}`; name it in the annotation {KIND_NAMES}");
                        return Err(self.error(node, what));
                    }
                }
            }
        }
        if kinds.is_empty() || groups.is_empty() {
            let what = "expected `resourceRules` with `apiGroups` and `resources` in `matchConstraints`".to_owned();
            return Err(self.error(constraints, what));
        }
        kinds.sort();
        kinds.dedup();
        Ok((kinds, groups))
    }

    fn variables(&self, spec: NodeId) -> Result<Vec<(String, Expression)>, PolicyError> {
        let list = self.list(spec, "variables");
        if list.len() > MAX_VARIABLES {
            return Err(self.error(spec, format!("expected at most {MAX_VARIABLES} variables, found {}", list.len())));
        }
        list.into_iter().map(|item| Ok((self.text(item, &["name"])?.to_owned(), self.expression(item)?))).collect()
    }

    fn expression(&self, item: NodeId) -> Result<Expression, PolicyError> {
        let text = self.text(item, &["expression"])?;
        let node = self.document.get(item, "expression").unwrap_or(item);
        for unknown in ["authorizer", "namespaceObject", "params"] {
            let is_word = |at: usize| {
                let before = text[..at].chars().next_back();
                let after = text[at + unknown.len()..].chars().next();
                let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || "_.'\"".contains(c));
                !part(before) && !after.is_some_and(|c| c.is_alphanumeric() || "_'\"".contains(c))
            };
            if text.match_indices(unknown).any(|(at, _)| is_word(at)) {
                return Err(
                    self.error(node, format!("`{unknown}` is only known in a cluster; a scan cannot answer it"))
                );
            }
        }
        Expression::parse(text).map_err(|what| self.error(node, what))
    }

    fn list(&self, node: NodeId, key: &str) -> Vec<NodeId> {
        self.document.get(node, key).map(|list| self.document.items(list).to_vec()).unwrap_or_default()
    }

    fn node(&self, node: NodeId, key: &str) -> Result<NodeId, PolicyError> {
        self.document.get(node, key).ok_or_else(|| self.error(node, format!("expected `{key}`, found nothing")))
    }

    fn text(&self, node: NodeId, path: &[&str]) -> Result<&'d str, PolicyError> {
        let found = self.document.str_at(node, path).filter(|text| !text.is_empty());
        found.ok_or_else(|| self.error(node, format!("expected a text for `{}`, found nothing", path.join("."))))
    }

    fn error(&self, node: NodeId, what: String) -> PolicyError {
        PolicyError { file: self.file.to_owned(), at: self.document.at(node), what }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
