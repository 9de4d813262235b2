//! What manifests tell about the policies of a cluster: checks that name policies of ours (`policies: [RF-K8S-0001]`) are judged by
//! them. The key is ours; kube-bench passes over it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::CisError;
use crate::model::Limits;
use crate::policy::Catalogue;
use crate::scan::input::{self, Selection};
use crate::scan::suppress::{Date, Suppressions};
use crate::scan::{Settings, scan};

/// Which objects fail which policies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifests {
    failing: BTreeMap<String, BTreeSet<String>>,
    /// How many objects there are.
    pub objects: usize,
}

impl Manifests {
    /// Scans files and folders.
    ///
    /// # Errors
    /// Where one is not there or cannot be read to its end.
    pub fn scan(paths: &[PathBuf], today: Date) -> Result<Self, CisError> {
        if let Some(missing) = paths.iter().find(|path| !path.exists()) {
            return Err(CisError::File {
                file: missing.display().to_string(),
                why: "no such file or folder".to_owned(),
            });
        }
        let catalogue = Catalogue::built_in().filtered(|policy| policy.id.starts_with("RF-K8S-"));
        let settings = Settings {
            catalogue: &catalogue,
            limits: Limits::default(),
            passes: false,
            suppressions: &Suppressions::default(),
            today,
            threads: 0,
        };
        let report = scan(&input::find(paths, &Selection::default()), &settings);
        if let Some(gap) = report.ledger.gaps().next() {
            return Err(CisError::Choice(format!(
                "{}: cannot be read to its end, so nobody knows what is in it",
                gap.path
            )));
        }
        let mut manifests = Self { objects: report.objects, ..Self::default() };
        for finding in report.failures() {
            let id = finding.policy(&catalogue).id.clone();
            manifests.failing.entry(id).or_default().insert(finding.resource.to_string());
        }
        Ok(manifests)
    }

    /// The objects that fail one of these policies, each with the policy.
    pub fn failing(&self, policies: &[String]) -> Vec<String> {
        let of = |policy: &String| {
            let objects = self.failing.get(policy).into_iter().flatten();
            objects.map(move |object| format!("{object} {policy}")).collect::<Vec<_>>()
        };
        policies.iter().flat_map(of).collect()
    }
}
