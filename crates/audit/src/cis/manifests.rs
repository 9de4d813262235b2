//! What objects tell about the policies of a cluster: checks that name policies of ours (`policies: [RF-K8S-0001]`) are judged by them,
//! whether they stand in files or come from the cluster. The key is ours; kube-bench passes over it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::CisError;
use crate::cluster::{self, ClusterOptions};
use crate::kube;
use crate::model::{self, Limits, Syntax};
use crate::policy::Catalogue;
use crate::scan::input::{self, Input, Selection};
use crate::scan::suppress::{Date, Suppressions};
use crate::scan::{Outcome, Settings, Status, is_terraform, read_input, scan};

/// Stands at `policies` for what is about all objects together: that each namespace has a NetworkPolicy.
pub const NETWORK_POLICIES: &str = "namespaces-have-network-policies";

/// Namespaces of Kubernetes itself.
const SYSTEM: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// Which objects fail which policies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifests {
    /// By policies that had something to look at.
    failing: BTreeMap<String, BTreeSet<String>>,
    /// What the cluster did not let us read, a line each.
    pub gaps: Vec<String>,
}

impl Manifests {
    /// Judges files, folders and a cluster by the policies of these ids.
    ///
    /// # Errors
    /// Where a file is not there or cannot be read to its end, or the cluster cannot be asked.
    pub fn scan(
        paths: &[PathBuf],
        cluster: Option<&ClusterOptions>,
        ids: &BTreeSet<String>,
        today: Date,
    ) -> Result<Self, CisError> {
        if let Some(missing) = paths.iter().find(|path| !path.exists()) {
            return Err(CisError::File {
                file: missing.display().to_string(),
                why: "no such file or folder".to_owned(),
            });
        }
        let mut inputs = match cluster {
            Some(options) => cluster::read(options).map_err(|error| CisError::Choice(error.to_string()))?,
            None => Vec::new(),
        };
        inputs.extend(input::find(paths, &Selection::default()));
        let catalogue = Catalogue::built_in().filtered(|policy| ids.contains(&policy.id));
        let settings = Settings {
            catalogue: &catalogue,
            limits: Limits::default(),
            passes: true,
            suppressions: &Suppressions::default(),
            today,
            threads: 0,
        };
        let report = scan(&inputs, &settings);
        let mut manifests = Self::default();
        for gap in report.ledger.gaps() {
            let is_list =
                gap.path.starts_with(cluster::SCHEME) && matches!(gap.outcome, Outcome::Unparsed { at: None, .. });
            if !is_list {
                let words = format!("{}: cannot be read to its end, so nobody knows what is in it", gap.path);
                return Err(CisError::Choice(words));
            }
            manifests.gaps.push(format!("{}: {}", gap.path, gap.outcome));
        }
        for finding in &report.findings {
            let failing = manifests.failing.entry(finding.policy(&catalogue).id.clone()).or_default();
            if finding.status == Status::Failed {
                failing.insert(finding.resource.to_string());
            }
        }
        let is_known = |list: &str| !manifests.gaps.iter().any(|gap| gap.contains(list));
        if ids.contains(NETWORK_POLICIES)
            && is_known("/networkpolicies")
            && let Some(open) = without_network_policies(&inputs, &settings)
        {
            manifests.failing.insert(NETWORK_POLICIES.to_owned(), open);
        }
        Ok(manifests)
    }

    /// The objects that fail one of these policies, each with the policy; `None` where none of them had anything to look at.
    pub fn failing(&self, policies: &[String]) -> Option<Vec<String>> {
        let judged: Vec<_> = policies.iter().filter_map(|policy| Some((policy, self.failing.get(policy)?))).collect();
        let of = |(policy, objects): &(&String, &BTreeSet<String>)| {
            objects.iter().map(|object| format!("{object} {policy}")).collect::<Vec<_>>()
        };
        (!judged.is_empty()).then(|| judged.iter().flat_map(of).collect())
    }
}

/// Namespaces without a NetworkPolicy; `None` where there is no namespace.
fn without_network_policies(inputs: &[Input], settings: &Settings<'_>) -> Option<BTreeSet<String>> {
    let (mut all, mut with) = (BTreeSet::new(), BTreeSet::new());
    for input in inputs.iter().filter(|input| !is_terraform(&input.name)) {
        let Ok(text) = read_input(input, settings) else { continue };
        // What cannot be read to its end has ended this before.
        let _ = model::read(&text, Syntax::Guess, &settings.limits, &mut |document| {
            for object in kube::objects(&document) {
                match (object.kind, object.namespace) {
                    ("Namespace", _) => all.insert(object.name.to_owned()),
                    ("NetworkPolicy", namespace) => with.insert(namespace.unwrap_or("default").to_owned()),
                    (_, Some(namespace)) if object.pod.is_some() => all.insert(namespace.to_owned()),
                    _ => false,
                };
            }
        });
    }
    all.retain(|namespace| !SYSTEM.contains(&namespace.as_str()));
    let open = all.difference(&with).map(|namespace| format!("Namespace/{namespace}")).collect();
    (!all.is_empty()).then_some(open)
}
