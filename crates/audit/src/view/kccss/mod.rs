//! The risk of workloads from 0 to 10 (KSCAN): the arithmetic of KCCSS, with the rule set of KCCSS or that of kube-scan. Rules are
//! data (`data/kccss.yaml`); the JSON has the keys of kube-scan's API, with titles and reasons in our words.

mod facts;
pub mod score;

use std::io;

use serde::Serialize;

use crate::engine;
use crate::kube::{self, Object};
use crate::model::{self, Document, NodeId, Syntax, Value};
use crate::policy::Policy;
use facts::{Cluster, Facts};
use score::{Damage, Vector};

const DATA: &str = include_str!("../../../data/kccss.yaml");

/// The rule sets that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleSet {
    /// 25 risks, 8 remediations.
    Kccss,
    /// 18 risks, 7 remediations.
    KubeScan,
}

#[derive(Debug)]
enum Condition {
    /// A predicate, and whether it has to hold for all items.
    Predicate(Policy, bool),
    /// One of the facts.
    Fact(String),
}

#[derive(Debug)]
struct Rule {
    id: String,
    name: String,
    title: String,
    why: String,
    condition: Condition,
    vector: Vector,
}

/// A rule set, read.
#[derive(Debug)]
pub struct Kccss {
    risks: Vec<Rule>,
    remediations: Vec<Rule>,
    /// Up to where a workload's score is low, and medium.
    workload_limits: [f64; 2],
    /// The same of an item's score.
    item_limits: [f64; 2],
}

/// One rule that holds for a workload.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Its id in the rule set.
    #[serde(skip)]
    pub id: String,
    /// Its name.
    pub name: String,
    /// `Low`, `Medium`, `High`; `None` for a remediation.
    pub risk_category: &'static str,
    /// `Basic` or `Remediation`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What it is.
    pub title: String,
    /// The same.
    pub short_description: String,
    /// Why it matters.
    pub description: String,
    /// `High`, `Low` or `None`, before remediations.
    pub confidentiality: &'static str,
    /// As confidentiality.
    pub integrity: &'static str,
    /// As confidentiality.
    pub availability: &'static str,
    /// `High`, `Moderate`, `Low`, `VeryLow`; `None` for a remediation.
    pub exploitability: &'static str,
    /// `Remote` or `Local`.
    pub attack_vector: &'static str,
    /// `None`, `Host` or `Cluster`.
    pub scope: &'static str,
    /// 0 to 10 with one place, after remediations; `null` for a remediation.
    pub score: Option<f64>,
}

/// A workload's risk.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Risk {
    /// 0 to 10.
    pub risk_score: u8,
    /// `Low`, `Medium` or `High`.
    pub risk_category: &'static str,
    /// What holds.
    pub risk_items: Vec<Item>,
    /// `Open`.
    pub risk_status: &'static str,
}

/// A workload with its risk.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// `Deployment`, …
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace, `default` where it names none.
    pub namespace: String,
    /// Empty: files belong to no cluster.
    pub domain: &'static str,
    /// Whether it stands in `kube-system`.
    pub is_system_workload: bool,
    /// The result.
    pub risk: Risk,
}

impl Kccss {
    /// Reads a rule set.
    ///
    /// # Panics
    /// Not in a program whose tests passed: they read both sets.
    pub fn new(set: RuleSet) -> Self {
        let mut documents = Vec::new();
        model::read(DATA, Syntax::Yaml, &model::Limits::default(), &mut |document| documents.push(document))
            .expect("the data is good YAML");
        let document = &documents[0];
        let root = document.root().expect("the data is a mapping");
        let name = match set {
            RuleSet::Kccss => "kccss",
            RuleSet::KubeScan => "kube-scan",
        };
        let rules = |key: &str| {
            let list = document.follow(root, &["sets", name, key]).expect("each set has both lists");
            document.items(list).iter().map(|item| rule(document, root, *item)).collect()
        };
        let limits = |key: &str| {
            let list = document.follow(root, &["sets", name, "limits", key]).expect("each set has limits");
            let mut numbers = document.items(list).iter().map(|node| match document.value(*node) {
                Value::Int(number) => number as f64,
                _ => 0.0,
            });
            [numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()]
        };
        Self {
            risks: rules("risks"),
            remediations: rules("remediations"),
            workload_limits: limits("workload"),
            item_limits: limits("item"),
        }
    }

    /// How many risks and remediations the set has.
    pub fn counts(&self) -> (usize, usize) {
        (self.risks.len(), self.remediations.len())
    }

    /// Judges all workloads of these documents together: a service in one of them exposes a workload in another.
    pub fn judge(&self, documents: &[Document]) -> Vec<Workload> {
        let objects: Vec<_> = documents.iter().flat_map(kube::objects).collect();
        let cluster = Cluster::of(&objects);
        let workloads = objects.iter().filter(|object| object.pod.is_some());
        workloads.map(|object| self.workload(object, &cluster.facts(object))).collect()
    }

    fn workload(&self, object: &Object<'_>, facts: &Facts) -> Workload {
        let remediations: Vec<_> =
            self.remediations.iter().filter(|rule| rule.condition.holds(object, facts)).collect();
        let vectors: Vec<_> = remediations.iter().map(|rule| rule.vector).collect();
        let mut items = Vec::new();
        let mut scores = Vec::new();
        for rule in self.risks.iter().filter(|rule| rule.condition.holds(object, facts)) {
            let score = rule.vector.less(&vectors).score();
            scores.push((rule.vector, score));
            items.push(rule.item("Basic", Some(score), category(score, self.item_limits)));
        }
        items.extend(remediations.iter().map(|rule| rule.item("Remediation", None, "None")));
        let risk_score = score::workload(&scores);
        let namespace = object.namespace.unwrap_or("default");
        Workload {
            kind: object.kind.to_owned(),
            name: object.name.to_owned(),
            namespace: namespace.to_owned(),
            domain: "",
            is_system_workload: namespace == "kube-system",
            risk: Risk {
                risk_score,
                risk_category: category(f64::from(risk_score), self.workload_limits),
                risk_items: items,
                risk_status: "Open",
            },
        }
    }
}

fn category(score: f64, limits: [f64; 2]) -> &'static str {
    if score <= limits[0] {
        "Low"
    } else if score <= limits[1] {
        "Medium"
    } else {
        "High"
    }
}

impl Condition {
    fn holds(&self, object: &Object<'_>, facts: &Facts) -> bool {
        match self {
            Self::Predicate(policy, false) => engine::fails_once(policy, object),
            Self::Predicate(policy, true) => engine::fails_always(policy, object),
            Self::Fact(name) => facts.contains(name.as_str()),
        }
    }
}

impl Rule {
    fn item(&self, kind: &'static str, score: Option<f64>, risk_category: &'static str) -> Item {
        let damage = |axis: usize| match self.vector.damage[axis] {
            Damage::None => "None",
            Damage::Low => "Low",
            Damage::High => "High",
        };
        Item {
            id: self.id.clone(),
            name: self.name.clone(),
            risk_category,
            kind,
            title: self.title.clone(),
            short_description: self.title.clone(),
            description: self.why.clone(),
            confidentiality: damage(0),
            integrity: damage(1),
            availability: damage(2),
            exploitability: match self.vector.ease {
                Some(score::Ease::High) => "High",
                Some(score::Ease::Moderate) => "Moderate",
                Some(score::Ease::Low) => "Low",
                Some(score::Ease::VeryLow) => "VeryLow",
                None => "None",
            },
            attack_vector: match self.vector.attack {
                score::Attack::Remote => "Remote",
                score::Attack::Local => "Local",
            },
            scope: match self.vector.scope {
                score::Scope::None => "None",
                score::Scope::Host => "Host",
                score::Scope::Cluster => "Cluster",
            },
            score,
        }
    }
}

fn rule(document: &Document, root: NodeId, item: NodeId) -> Rule {
    let text = |key: &str| document.str_at(item, &[key]).unwrap_or_default();
    let is = text("is");
    let condition = document.follow(root, &["conditions", is]).expect("a rule names a condition that is there");
    let words = |key: &str| document.str_at(root, &["words", is, key]).expect("every condition has words").to_owned();
    let condition = match document.str_at(condition, &["holds"]) {
        Some(holds) => {
            let each = document.str_at(condition, &["each"]).unwrap_or("object");
            let policy = Policy::of_predicate(is, Vec::new(), each, holds).expect("the predicate is good");
            Condition::Predicate(policy, document.str_at(condition, &["quantifier"]) == Some("all"))
        }
        None => {
            assert!(facts::NAMES.contains(&is), "{is} is a predicate or a fact");
            Condition::Fact(is.to_owned())
        }
    };
    Rule {
        id: text("id").to_owned(),
        name: text("name").to_owned(),
        title: words("title"),
        why: words("why"),
        condition,
        vector: text("vector").parse().expect("the vector is good"),
    }
}

/// As kube-scan's API answers `GET /api/risks`.
///
/// # Errors
/// Those of `out`.
pub fn write(workloads: &[Workload], out: &mut dyn io::Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Answer<'w> {
        data: &'w [Workload],
    }
    writeln!(out, "{}", serde_json::to_string_pretty(&Answer { data: workloads })?)
}
