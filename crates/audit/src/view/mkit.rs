//! Controls passed and failed (MKIT), with each affected resource: sets for what runs in a cluster, and for managed clusters of three
//! clouds. Sets are data (`data/mkit.yaml`); a control is one of our policies, and passes only where every resource passes.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;
use serde_json::json;

use crate::model::{self, Limits, Syntax};
use crate::policy::{Catalogue, Policy};
use crate::scan::{Report, Status};

const DATA: &str = include_str!("../../data/mkit.yaml");

/// A set of controls.
#[derive(Debug, Clone, Serialize)]
pub struct ControlSet {
    /// `kubernetes`, `aks`, `eks`, `gke`.
    pub id: String,
    /// For people.
    pub title: String,
    /// Ids of policies.
    #[serde(skip)]
    pub policies: Vec<String>,
}

/// What became of a control or a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Result {
    /// The policy failed.
    Failed,
    /// It failed, and somebody said that this is meant; for a control this counts as passed.
    Accepted,
    /// It passed.
    Passed,
}

/// A resource that a control looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Affected<'r> {
    /// Its name.
    pub resource: &'r str,
    /// Where it stands.
    pub file: &'r str,
    /// Of the first failure, else of the resource.
    pub line: u32,
    /// What became of it.
    pub result: Result,
}

/// A control with its resources, the failed ones first.
#[derive(Debug, Clone, Serialize)]
pub struct Control<'r> {
    /// The policy's.
    pub id: &'r str,
    /// Which set it is of.
    pub set: &'r str,
    /// What it asks for.
    pub title: &'r str,
    /// How bad a failure is.
    pub severity: &'static str,
    /// Failed where one resource failed.
    pub result: Result,
    /// Why it matters.
    pub why: &'r str,
    /// What to do.
    pub remediation: &'r str,
    /// "Affected resources".
    pub resources: Vec<Affected<'r>>,
}

/// The sets.
///
/// # Panics
/// Not in a program whose tests passed: they read the data.
pub fn sets() -> Vec<ControlSet> {
    let mut sets = Vec::new();
    model::read(DATA, Syntax::Yaml, &Limits::default(), &mut |document| {
        let root = document.root().expect("the data is a mapping");
        let list = document.get(root, "sets").expect("it has sets");
        for item in document.items(list) {
            let text = |key: &str| document.str_at(*item, &[key]).expect("a set has an id and a title").to_owned();
            let policies = document.get(*item, "policies").expect("a set has policies");
            let policies =
                document.items(policies).iter().filter_map(|id| document.str(*id)).map(str::to_owned).collect();
            sets.push(ControlSet { id: text("id"), title: text("title"), policies });
        }
    })
    .expect("the data is good YAML");
    sets
}

/// The policies of all sets.
pub fn policies(all: Catalogue) -> Catalogue {
    let sets = sets();
    all.filtered(|policy| sets.iter().any(|set| set.policies.contains(&policy.id)))
}

/// The controls that looked at something, failed ones first, the worst of them first. The report has to have been made with passes.
pub fn judge<'r>(report: &'r Report, catalogue: &'r Catalogue, sets: &'r [ControlSet]) -> Vec<Control<'r>> {
    let mut resources: BTreeMap<u32, BTreeMap<(u32, u32, &str), Affected<'_>>> = BTreeMap::new();
    for finding in &report.findings {
        let result = match finding.status {
            Status::Failed => Result::Failed,
            Status::Suppressed(_) | Status::Known => Result::Accepted,
            Status::Passed => Result::Passed,
        };
        let file = report.file(finding);
        let (line, resource) = (finding.at.line, &*finding.resource);
        let known = resources
            .entry(finding.policy.0)
            .or_default()
            .entry((finding.file, finding.document, resource))
            .or_insert(Affected { resource, file, line, result });
        if result < known.result {
            (known.result, known.line) = (result, line);
        }
    }
    let mut controls: Vec<Control<'r>> = Vec::new();
    for (index, affected) in resources {
        let policy: &Policy = &catalogue.policies()[index as usize];
        let Some(set) = sets.iter().find(|set| set.policies.contains(&policy.id)) else { continue };
        let mut affected: Vec<_> = affected.into_values().collect();
        affected.sort_by_key(|one| one.result);
        let failed = affected.iter().any(|one| one.result == Result::Failed);
        controls.push(Control {
            id: &policy.id,
            set: &set.id,
            title: &policy.name,
            severity: policy.severity.name(),
            result: if failed { Result::Failed } else { Result::Passed },
            why: &policy.message,
            remediation: &policy.remediation,
            resources: affected,
        });
    }
    let severity = |control: &Control<'_>| catalogue.called(control.id).next().map(|policy| policy.severity);
    controls.sort_by_key(|control| (control.result, std::cmp::Reverse(severity(control)), control.id));
    controls
}

/// One object: sets, controls, ids of controls that had nothing to look at, and what was not read.
///
/// # Errors
/// Those of `out`.
pub fn write(
    controls: &[Control<'_>],
    sets: &[ControlSet],
    report: &Report,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let idle: Vec<&String> =
        sets.iter().flat_map(|set| &set.policies).filter(|id| controls.iter().all(|one| one.id != **id)).collect();
    let gaps: Vec<String> = report.ledger.gaps().map(|gap| format!("{}: {}", gap.path, gap.outcome)).collect();
    let count = |result| controls.iter().filter(|control| control.result == result).count();
    let value = json!({
        "summary": { "failed": count(Result::Failed), "passed": count(Result::Passed), "idle": idle.len() },
        "sets": sets,
        "controls": controls,
        "idle": idle,
        "not_read": gaps,
    });
    writeln!(out, "{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_is_a_policy_in_one_set() {
        let (sets, all) = (sets(), Catalogue::built_in());
        let ids: Vec<_> = sets.iter().flat_map(|set| &set.policies).collect();
        for id in &ids {
            assert!(all.policies().iter().any(|policy| policy.id == **id), "{id}");
            assert_eq!(ids.iter().filter(|other| *other == id).count(), 1, "{id}");
        }
        assert_eq!(policies(all).policies().len(), ids.len());
        assert_eq!(sets.iter().map(|set| set.id.as_str()).collect::<Vec<_>>(), ["kubernetes", "aks", "eks", "gke"]);
    }
}
