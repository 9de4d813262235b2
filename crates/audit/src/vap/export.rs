//! A policy of ours written as a `ValidatingAdmissionPolicy`. A predicate says that one of a path's values stands in a relation; in CEL
//! this is `exists` over lists and `has` before each field, so that no expression ends in an error where something is missing.

use std::fmt::Write as _;

use serde_json::json;

use super::kinds::{KINDS, WORKLOADS};
use crate::expr::{Expr, Function, Literal, Op, Path, Root, Step, Term, TextTest};
use crate::policy::{Each, Policy};

/// Why there is no such policy for Kubernetes, in words that go on after "it cannot be exported: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotExportable(String);

type Exported = Result<String, NotExportable>;

fn no(words: &str) -> NotExportable {
    NotExportable(words.to_owned())
}

/// Fields that hold mappings with any key; other lists are lists.
const MAPPINGS: [&str; 11] = [
    "labels",
    "annotations",
    "matchLabels",
    "nodeSelector",
    "data",
    "stringData",
    "binaryData",
    "limits",
    "requests",
    "parameters",
    "selector",
];

/// The pod's specification and metadata, wherever the kind has them, and its containers.
const VARIABLES: [(&str, &str); 4] = [
    (
        "template",
        "object.kind == \"Pod\" ? object : object.kind == \"PodTemplate\" ? (has(object.template) ? object.template : {}) : \
         object.kind == \"CronJob\" ? (has(object.spec) && has(object.spec.jobTemplate) && has(object.spec.jobTemplate.spec) && \
         has(object.spec.jobTemplate.spec.template) ? object.spec.jobTemplate.spec.template : {}) : \
         (has(object.spec) && has(object.spec.template) ? object.spec.template : {})",
    ),
    ("pod", "has(variables.template.spec) ? variables.template.spec : {}"),
    ("podMeta", "has(variables.template.metadata) ? variables.template.metadata : {}"),
    (
        "containers",
        "(has(variables.pod.containers) ? variables.pod.containers : []) + \
         (has(variables.pod.initContainers) ? variables.pod.initContainers : []) + \
         (has(variables.pod.ephemeralContainers) ? variables.pod.ephemeralContainers : [])",
    ),
];

/// The policy and a binding for it, as YAML.
///
/// # Errors
/// Where the kinds are none of the API's, or CEL has no word for a part of the predicate.
pub fn export(policy: &Policy) -> Exported {
    let rules = rules(policy)?;
    let mut writer = Writer { next: 0 };
    let violation = |writer: &mut Writer, item: &str| {
        let scope = Scope { here: item.to_owned(), item: item.to_owned() };
        let fails = writer.expr(&policy.fails, &scope)?;
        match &policy.when {
            Some(when) => Ok(format!("({}) && ({fails})", writer.expr(when, &scope)?)),
            None => Ok(fails),
        }
    };
    let violated = match &policy.each {
        Each::Object => violation(&mut writer, "object")?,
        Each::Containers => {
            let item = writer.fresh();
            format!("variables.containers.exists({item}, {})", violation(&mut writer, &item)?)
        }
        Each::MainContainers | Each::InitContainers => {
            let key = if matches!(policy.each, Each::MainContainers) { "containers" } else { "initContainers" };
            let item = writer.fresh();
            let inner = violation(&mut writer, &item)?;
            format!("(has(variables.pod.{key}) && variables.pod.{key}.exists({item}, {inner}))")
        }
        Each::Path(path) => {
            let scope = Scope { here: "object".to_owned(), item: "object".to_owned() };
            writer.path(path, &scope, &mut |writer, item| violation(writer, item))?
        }
    };
    let name = format!("{}.ringfort", policy.id.to_ascii_lowercase());
    let expression = format!("!({violated})");
    let variables: Vec<_> = VARIABLES
        .iter()
        .filter(|_| expression.contains("variables."))
        .map(|(name, expression)| json!({ "name": name, "expression": expression }))
        .collect();
    let mut spec = json!({
        "failurePolicy": "Fail",
        "matchConstraints": { "resourceRules": rules },
        "validations": [{ "expression": expression, "message": format!("{}: {}", policy.name, policy.message), "reason": "Forbidden" }],
    });
    if !variables.is_empty() {
        spec["variables"] = variables.into();
    }
    let annotations = json!({
        "audit.ringfort/policy": policy.id,
        "audit.ringfort/severity": policy.severity.name(),
        "audit.ringfort/category": policy.category,
        "audit.ringfort/remediation": policy.remediation,
    });
    let admission = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": name, "annotations": annotations },
        "spec": spec,
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": name },
        "spec": { "policyName": name, "validationActions": ["Warn", "Audit"] },
    });
    let mut out = String::new();
    yaml(&admission, 0, &mut out);
    out.push_str("---\n# Warns first; with validationActions: [Deny] it refuses.\n");
    yaml(&binding, 0, &mut out);
    Ok(out)
}

fn rules(policy: &Policy) -> Result<Vec<serde_json::Value>, NotExportable> {
    let mut kinds: Vec<&str> = Vec::new();
    for kind in &policy.kinds {
        match kind.as_str() {
            "workload" => kinds.extend(WORKLOADS),
            "*" => return Ok(vec![rule("*", "*", &["*"])]),
            kind => kinds.push(kind),
        }
    }
    let mut rules: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for (_, group, version, plural) in KINDS.iter().filter(|(kind, ..)| kinds.contains(kind)) {
        match rules.iter_mut().find(|(known, of, _)| known == group && of == version) {
            Some((.., plurals)) => plurals.push(plural),
            None => rules.push((group, version, vec![plural])),
        }
    }
    if rules.is_empty() {
        return Err(NotExportable(format!(
            "{} is no kind of object that an API server admits",
            policy.kinds.join(", ")
        )));
    }
    Ok(rules.into_iter().map(|(group, version, plurals)| rule(group, version, &plurals)).collect())
}

fn rule(group: &str, version: &str, plurals: &[&str]) -> serde_json::Value {
    json!({ "apiGroups": [group], "apiVersions": [version], "operations": ["CREATE", "UPDATE"], "resources": plurals })
}

/// What paths begin at, as CEL.
struct Scope {
    here: String,
    item: String,
}

struct Writer {
    next: usize,
}

/// What is to hold for one value, written as CEL.
type With<'w> = &'w mut dyn FnMut(&mut Writer, &str) -> Exported;

impl Writer {
    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("x{}", self.next)
    }

    fn expr(&mut self, expr: &Expr, scope: &Scope) -> Exported {
        Ok(match expr {
            Expr::And(all) => self.joined(all, " && ", scope)?,
            Expr::Or(all) => self.joined(all, " || ", scope)?,
            Expr::Not(inner) => format!("!({})", self.expr(inner, scope)?),
            Expr::Exists(term) => self.term(term, scope, &mut |_, _| Ok("true".to_owned()))?,
            Expr::Any(path, inner) => self.path(path, scope, &mut |writer, value| {
                writer.expr(inner, &Scope { here: value.to_owned(), item: scope.item.clone() })
            })?,
            Expr::All(path, inner) => {
                let fails = self.path(path, scope, &mut |writer, value| {
                    let scope = Scope { here: value.to_owned(), item: scope.item.clone() };
                    Ok(format!("!({})", writer.expr(inner, &scope)?))
                })?;
                format!("!({fails})")
            }
            Expr::Compare(op, left, right) => {
                self.term(left, scope, &mut |writer, a| writer.term(right, scope, &mut |_, b| Ok(compare(*op, a, b))))?
            }
            Expr::Matches(term, regex) => {
                let pattern = quoted(regex.as_str());
                self.term(term, scope, &mut |_, value| Ok(format!("string({value}).matches({pattern})")))?
            }
            Expr::Text(test, left, right) => {
                let test = match test {
                    TextTest::Starts => "startsWith",
                    TextTest::Ends => "endsWith",
                    TextTest::Contains => "contains",
                };
                self.term(left, scope, &mut |writer, a| {
                    writer.term(right, scope, &mut |_, b| Ok(format!("string({a}).{test}(string({b}))")))
                })?
            }
            Expr::Program(_) => return Err(no("it looks at what a command line starts")),
            Expr::Cel(_) => return Err(no("it is in CEL already")),
        })
    }

    fn joined(&mut self, all: &[Expr], with: &str, scope: &Scope) -> Exported {
        let parts = all.iter().map(|inner| Ok(format!("({})", self.expr(inner, scope)?)));
        Ok(parts.collect::<Result<Vec<_>, NotExportable>>()?.join(with))
    }

    /// That one of the term's values is as `with` says.
    fn term(&mut self, term: &Term, scope: &Scope, with: With<'_>) -> Exported {
        match term {
            Term::Path(path) => self.path(path, scope, with),
            Term::Effective(path) => {
                if path.steps.iter().any(|step| matches!(step, Step::Each)) {
                    return Err(no("it looks at a list that a container or its pod may have"));
                }
                let own = self.steps(&path.steps, &format!("{}.securityContext", scope.item), None, with)?;
                let own_there =
                    self.steps(&path.steps, &format!("{}.securityContext", scope.item), None, &mut |_, _| {
                        Ok("true".to_owned())
                    })?;
                let of_pod = self.steps(&path.steps, "variables.pod.securityContext", None, with)?;
                let has = |of: &str, inner: &str| format!("(has({of}.securityContext) && {inner})");
                let (own, own_there) = (has(&scope.item, &own), has(&scope.item, &own_there));
                Ok(format!("({own_there} ? {own} : {})", has("variables.pod", &of_pod)))
            }
            Term::Literals(literals) => {
                let each = literals.iter().map(|literal| with(self, &written(literal)));
                let each = each.collect::<Result<Vec<_>, _>>()?;
                Ok(if each.len() == 1 {
                    each.into_iter().next().unwrap_or_default()
                } else {
                    format!("({})", each.join(" || "))
                })
            }
            Term::Count(inner) => self.count(inner, scope, with),
            Term::Map(function, inner) => self.function(*function, inner, scope, with),
            Term::Split(inner, separator) => {
                let separator = quoted(separator);
                self.term(inner, scope, &mut |writer, value| {
                    let piece = writer.fresh();
                    let inner = with(writer, &format!("{piece}.trim()"))?;
                    Ok(format!("string({value}).split({separator}).exists({piece}, {piece}.trim() != \"\" && {inner})"))
                })
            }
            Term::Without(inner, literals) => {
                let list = literals.iter().map(written).collect::<Vec<_>>().join(", ");
                self.term(inner, scope, &mut |writer, value| {
                    let inner = with(writer, value)?;
                    Ok(format!("(!({value} in [{list}]) && {inner})"))
                })
            }
            Term::Flag(_) | Term::Words => Err(no("it looks at the words of a command line")),
        }
    }

    fn count(&mut self, inner: &Term, scope: &Scope, with: With<'_>) -> Exported {
        let Term::Path(path) = inner else { return Err(no("it counts what it has made")) };
        let Some((Step::Each, before)) = path.steps.split_last() else {
            return Err(no("it counts something other than the items of one list"));
        };
        if before.iter().any(|step| matches!(step, Step::Each)) {
            return Err(no("it counts over several lists"));
        }
        let list = Path { root: path.root, steps: before.to_vec() };
        let there = self.path(&list, scope, &mut |_, _| Ok("true".to_owned()))?;
        let many = self.path(&list, scope, &mut |writer, value| with(writer, &format!("size({value})")))?;
        let none = with(self, "0")?;
        Ok(format!("({there} ? {many} : {none})"))
    }

    fn function(&mut self, function: Function, inner: &Term, scope: &Scope, with: With<'_>) -> Exported {
        self.term(inner, scope, &mut |writer, value| {
            let text = format!("string({value})");
            Ok(match function {
                Function::Lower => with(writer, &format!("{text}.lowerAscii()"))?,
                Function::Text => with(writer, &text)?,
                Function::Length => with(writer, &format!("size({text})"))?,
                Function::Cap => {
                    let upper = format!("{text}.trim().upperAscii()");
                    writer.bound(&format!("{upper}.startsWith(\"CAP_\") ? {upper}.substring(4) : {upper}"), with)?
                }
                Function::Keys => {
                    let key = writer.fresh();
                    format!("{value}.exists({key}, {})", with(writer, &key)?)
                }
                Function::Digest => {
                    let parts = writer.fresh();
                    let inner = with(writer, &format!("{parts}[1]"))?;
                    format!("[{text}.trim().split(\"@\")].exists({parts}, size({parts}) > 1 && {inner})")
                }
                Function::Tag => {
                    let (path, last) = (writer.fresh(), writer.fresh());
                    let inner = with(writer, &format!("{last}[1]"))?;
                    format!(
                        "[{text}.trim().split(\"@\")[0].split(\"/\")].exists({path}, \
                         [{path}[size({path}) - 1].split(\":\")].exists({last}, size({last}) > 1 && {inner}))"
                    )
                }
                Function::Registry => {
                    let name = writer.fresh();
                    let first = format!("{name}.split(\"/\")[0]");
                    let registry = format!(
                        "{name}.contains(\"/\") && ({first}.contains(\".\") || {first}.contains(\":\") || {first} == \"localhost\") \
                         ? {first} : \"docker.io\""
                    );
                    let inner = writer.bound(&registry, with)?;
                    format!("[{text}.trim().split(\"@\")[0]].exists({name}, {name} != \"\" && {inner})")
                }
                Function::Quantity => return Err(no("it compares quantities")),
                Function::Number => return Err(no("it reads numbers from texts")),
                Function::Repository => return Err(no("it looks at the repository of an image")),
            })
        })
    }

    /// A value with a name, so that it is written once: CEL of admission policies has no `let`.
    fn bound(&mut self, value: &str, with: With<'_>) -> Exported {
        let name = self.fresh();
        let inner = with(self, &name)?;
        Ok(format!("[{value}].exists({name}, {inner})"))
    }

    /// That one of the path's values is as `with` says.
    fn path(&mut self, path: &Path, scope: &Scope, with: With<'_>) -> Exported {
        let from = match path.root {
            Root::Here => &scope.here,
            Root::Item => &scope.item,
            Root::Object => "object",
            Root::Pod => "variables.pod",
            Root::PodMeta => "variables.podMeta",
            Root::Outer => return Err(no("it compares with a value outside of a list")),
            Root::Users | Root::Uses => return Err(no("it looks at resources of a cloud")),
        };
        self.steps(&path.steps, from, None, with)
    }

    fn steps(&mut self, steps: &[Step], from: &str, key: Option<&str>, with: With<'_>) -> Exported {
        let Some((step, rest)) = steps.split_first() else { return with(self, from) };
        match step {
            Step::Key(key) if is_name(key) => {
                let inner = self.steps(rest, &format!("{from}.{key}"), Some(key), with)?;
                Ok(format!("(has({from}.{key}) && {inner})"))
            }
            Step::Key(key) => {
                let key = quoted(key);
                let inner = self.steps(rest, &format!("{from}[{key}]"), None, with)?;
                Ok(format!("({key} in {from} && {inner})"))
            }
            Step::Index(index) => {
                let inner = self.steps(rest, &format!("{from}[{index}]"), None, with)?;
                Ok(format!("(size({from}) > {index} && {inner})"))
            }
            Step::Each => {
                let name = self.fresh();
                // Of a mapping CEL goes through the keys.
                let value = match key {
                    Some(key) if MAPPINGS.contains(&key) => format!("{from}[{name}]"),
                    _ => name.clone(),
                };
                let inner = self.steps(rest, &value, None, with)?;
                Ok(format!("{from}.exists({name}, {inner})"))
            }
        }
    }
}

/// Values of different types are never equal and never ordered; CEL would end in an error for the latter.
fn compare(op: Op, a: &str, b: &str) -> String {
    let sign = match op {
        Op::Eq => return format!("{a} == {b}"),
        Op::Lt => "<",
        Op::Le => "<=",
        Op::Gt => ">",
        Op::Ge => ">=",
    };
    let guard = |side: &str| {
        let known = side.parse::<f64>().is_ok() || side.starts_with("size(");
        if known { String::new() } else { format!("type({side}) == int && ") }
    };
    format!("({}{}{a} {sign} {b})", guard(a), guard(b))
}

fn written(literal: &Literal) -> String {
    match literal {
        Literal::Bool(value) => value.to_string(),
        Literal::Number(number) => number.to_string(),
        Literal::Text(text) => quoted(text),
    }
}

/// A text as a literal of CEL, whose escapes are a superset of JSON's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether it can be selected by a dot.
fn is_name(key: &str) -> bool {
    const RESERVED: [&str; 22] = [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "type",
        "var",
        "void",
        "while",
    ];
    let good = |(at, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit());
    !key.is_empty() && key.chars().enumerate().all(good) && !RESERVED.contains(&key)
}

/// Block style with JSON's scalars, which YAML reads the same.
fn yaml(value: &serde_json::Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        serde_json::Value::Object(entries) => {
            // apiVersion, kind, metadata, spec: in the order that people expect.
            for (key, value) in entries {
                match value {
                    serde_json::Value::Object(inner) if !inner.is_empty() => {
                        let _ = writeln!(out, "{pad}{key}:");
                        yaml(value, indent + 2, out);
                    }
                    serde_json::Value::Array(items) if items.iter().any(serde_json::Value::is_object) => {
                        let _ = writeln!(out, "{pad}{key}:");
                        for item in items {
                            let mut inner = String::new();
                            yaml(item, indent + 4, &mut inner);
                            let _ = write!(out, "{pad}  - {}", inner.trim_start());
                        }
                    }
                    scalar => {
                        let _ = writeln!(out, "{pad}{key}: {scalar}");
                    }
                }
            }
        }
        other => {
            let _ = writeln!(out, "{pad}{other}");
        }
    }
}
