//! A baseline: the findings that were there before, so that only new ones fail.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::policy::Catalogue;
use crate::scan::{Fingerprints, Report, Status};

/// Findings by their fingerprints, which do not move with lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    version: u32,
    findings: BTreeSet<String>,
}

impl Baseline {
    /// The failures of a report.
    pub fn of(report: &Report, catalogue: &Catalogue) -> Self {
        let fingerprints = report.fingerprints(catalogue);
        let failed = report
            .findings
            .iter()
            .zip(fingerprints)
            .filter(|(finding, _)| matches!(finding.status, Status::Failed | Status::Known));
        Self { version: 1, findings: failed.map(|(_, fingerprint)| fingerprint).collect() }
    }

    /// Reads what [`Baseline::to_text`] wrote.
    ///
    /// # Errors
    /// In words, where it is something else.
    pub fn parse(text: &str) -> Result<Self, String> {
        let baseline: Self = serde_json::from_str(text).map_err(|error| format!("not a baseline: {error}"))?;
        if baseline.version == 1 {
            Ok(baseline)
        } else {
            Err(format!("a baseline of version {}; 1 is known", baseline.version))
        }
    }

    /// JSON with a line for each finding, so that a version control system shows what changed.
    pub fn to_text(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("texts and a number");
        text + "\n"
    }

    /// Marks the failures that are in the baseline as known.
    pub fn apply(&self, report: &mut Report, catalogue: &Catalogue) {
        self.apply_from(0, &mut Fingerprints::default(), report, catalogue);
    }

    /// The same for the findings from `first` on; `names` have named those before. Returns how many findings there are.
    pub fn apply_from(
        &self,
        first: usize,
        names: &mut Fingerprints,
        report: &mut Report,
        catalogue: &Catalogue,
    ) -> usize {
        for index in first..report.findings.len() {
            let name = names.next(report, &report.findings[index], catalogue);
            let finding = &mut report.findings[index];
            if finding.status == Status::Failed && self.findings.contains(&name) {
                finding.status = Status::Known;
            }
        }
        report.findings.len()
    }
}
