//! kubesec's points (KSEC). Rules are data (`data/kubesec.yaml`); the JSON has kubesec's keys, order, selectors and points, with
//! reasons in our words. Each document is one object; a `kind: List` is not taken apart, as kubesec does not.
//! Manifests are not checked against Kubernetes' schemas (kubesec with its validation off).

use std::io;

use serde::Serialize;

use crate::engine;
use crate::kube::{self, Object};
use crate::model::{self, Document, Limits, ModelError, Syntax};
use crate::policy::{Catalogue, Policy};

const DATA: &str = include_str!("../../data/kubesec.yaml");

/// One rule.
#[derive(Debug)]
struct Rule {
    selector: String,
    reason: String,
    points: i64,
    policy: Policy,
}

/// What a rule said, as kubesec prints it.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct RuleReport {
    /// Its id.
    pub id: String,
    /// What it looked for.
    pub selector: String,
    /// Why it matters.
    pub reason: String,
    /// What it counts.
    pub points: i64,
}

/// Rules by what they came to; empty lists are left out.
#[derive(Debug, Clone, Default, Serialize, PartialEq, Eq)]
pub struct Scoring {
    /// Those that took points.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub critical: Vec<RuleReport>,
    /// Those that gave points.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<RuleReport>,
    /// Those that would give points.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub advise: Vec<RuleReport>,
}

/// One object's points.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct ObjectReport {
    /// `Kind/name.namespace`
    pub object: String,
    /// Always true: schemas are not looked at.
    pub valid: bool,
    /// The file as it was given, `STDIN` for standard input.
    #[serde(rename = "fileName")]
    pub file_name: String,
    /// Passed, failed, or not a kind that is judged.
    pub message: String,
    /// The sum of the points.
    pub score: i64,
    /// The rules.
    pub scoring: Scoring,
}

/// The rules, read.
#[derive(Debug)]
pub struct Kubesec {
    rules: Vec<Rule>,
}

impl Default for Kubesec {
    fn default() -> Self {
        Self::new()
    }
}

impl Kubesec {
    /// Reads the rules.
    ///
    /// # Panics
    /// Not in a program whose tests passed: they read the rules.
    pub fn new() -> Self {
        let mut rules = Vec::new();
        model::read(DATA, Syntax::Yaml, &Limits::default(), &mut |document| {
            let root = document.root().expect("the data is a list");
            rules = document.items(root).iter().map(|item| rule(&document, *item)).collect();
        })
        .expect("the data is good YAML");
        Self { rules }
    }

    /// Judges every document of a text.
    ///
    /// # Errors
    /// Where the text is neither YAML nor JSON, or over the limits.
    pub fn judge(&self, file_name: &str, text: &str, limits: &Limits) -> Result<Vec<ObjectReport>, ModelError> {
        let mut reports = Vec::new();
        model::read(text, Syntax::Guess, limits, &mut |document| {
            if document.root().is_some_and(|root| !document.is_null(root)) {
                reports.push(self.judge_document(file_name, &document));
            }
        })?;
        Ok(reports)
    }

    fn judge_document(&self, file_name: &str, document: &Document) -> ObjectReport {
        let object = kube::single(document);
        let name = object.as_ref().map_or_else(|| "Unknown".to_owned(), object_name);
        let mut report = ObjectReport {
            object: name,
            valid: true,
            file_name: file_name.to_owned(),
            message: String::new(),
            score: 0,
            scoring: Scoring::default(),
        };
        let applying = |object: &Object<'_>| {
            self.rules
                .iter()
                .filter(|rule| rule.policy.kinds.iter().any(|kind| kind == object.kind))
                .collect::<Vec<_>>()
        };
        let rules = object.as_ref().map(applying).unwrap_or_default();
        for rule in &rules {
            let counts = object.as_ref().is_some_and(|object| engine::fails_once(&rule.policy, object));
            let list = match (counts, rule.points >= 0) {
                (true, true) => &mut report.scoring.passed,
                (true, false) => &mut report.scoring.critical,
                (false, true) => &mut report.scoring.advise,
                (false, false) => continue,
            };
            list.push(RuleReport {
                id: rule.policy.id.clone(),
                selector: rule.selector.clone(),
                reason: rule.reason.clone(),
                points: rule.points,
            });
            report.score += if counts { rule.points } else { 0 };
        }
        let scoring = &mut report.scoring;
        for list in [&mut scoring.critical, &mut scoring.passed, &mut scoring.advise] {
            list.sort_by(|a, b| b.points.abs().cmp(&a.points.abs()).then_with(|| a.selector.cmp(&b.selector)));
        }
        report.message = if rules.is_empty() {
            "This resource kind is not supported by kubesec".to_owned()
        } else {
            let word = if report.score >= 0 { "Passed" } else { "Failed" };
            format!("{word} with a score of {} points", report.score)
        };
        report
    }
}

fn rule(document: &Document, item: model::NodeId) -> Rule {
    let text = |key: &str| document.str_at(item, &[key]).unwrap_or_default().to_owned();
    let kinds = match document.get(item, "kinds") {
        Some(kinds) => document.items(kinds).iter().filter_map(|kind| document.str(*kind)).map(str::to_owned).collect(),
        None => ["Pod", "Deployment", "StatefulSet", "DaemonSet"].map(str::to_owned).to_vec(),
    };
    let each = document.str_at(item, &["each"]).unwrap_or("object");
    let policy = Policy::of_predicate(&text("id"), kinds, each, &text("holds")).expect("a test reads every rule");
    let points = match document.get(item, "points").map(|points| document.value(points)) {
        Some(model::Value::Int(points)) => points,
        _ => 0,
    };
    Rule { selector: text("selector"), reason: text("reason"), points, policy }
}

fn object_name(object: &Object<'_>) -> String {
    let name = if object.name.is_empty() { "undefined" } else { object.name };
    format!("{}/{name}.{}", object.kind, object.namespace.unwrap_or("default"))
}

/// As kubesec prints it: two spaces of indentation, `<`, `>` and `&` escaped as Go does.
///
/// # Errors
/// Those of `out`.
pub fn write(reports: &[ObjectReport], out: &mut dyn io::Write) -> io::Result<()> {
    let text = serde_json::to_string_pretty(reports)?;
    let text = text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    writeln!(out, "{text}")
}

/// Whether kubesec would exit with its code 2: a score that is not above zero.
pub fn is_low(reports: &[ObjectReport]) -> bool {
    reports.iter().any(|report| report.score <= 0)
}

/// Policies are not needed for this view; the catalogue's aliases name them.
pub fn rule_ids(catalogue: &Catalogue) -> impl Iterator<Item = &str> {
    catalogue.policies().iter().flat_map(|policy| &policy.aliases).filter_map(|alias| alias.strip_prefix("kubesec:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> Vec<ObjectReport> {
        Kubesec::new().judge("a.yaml", text, &Limits::default()).expect("good YAML")
    }

    #[test]
    fn points_are_summed_and_rules_sorted_by_weight() {
        let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {hostPID: true, serviceAccountName: x, containers: \
                   [{securityContext: {privileged: true, runAsUser: 20000}}]}}";
        let reports = judge(pod);
        assert_eq!((reports[0].score, reports[0].message.as_str()), (-35, "Failed with a score of -35 points"));
        let ids = |list: &[RuleReport]| list.iter().map(|rule| rule.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&reports[0].scoring.critical), ["Privileged", "HostPID"]);
        assert_eq!(ids(&reports[0].scoring.passed), ["ServiceAccountName", "RunAsUser"]);
        assert_eq!(reports[0].scoring.advise[0].id, "ApparmorAny");
        assert!(is_low(&reports));
    }

    #[test]
    fn json_has_the_keys_of_kubesec_in_their_order() {
        let mut out = Vec::new();
        write(&judge("kind: ConfigMap\napiVersion: v1\nmetadata: {name: a<b, namespace: n}\n"), &mut out)
            .expect("memory");
        let expected = "[\n  {\n    \"object\": \"ConfigMap/a\\u003cb.n\",\n    \"valid\": true,\n    \"fileName\": \"a.yaml\",\n    \
                        \"message\": \"This resource kind is not supported by kubesec\",\n    \"score\": 0,\n    \"scoring\": {}\n  }\n]\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn every_rule_named_in_an_alias_exists() {
        let known: Vec<_> = Kubesec::new().rules.into_iter().map(|rule| rule.policy.id).collect();
        assert_eq!(known.len(), 30);
        let catalogue = Catalogue::built_in();
        for id in rule_ids(&catalogue) {
            assert!(known.iter().any(|known| known == id), "kubesec:{id}");
        }
    }
}
