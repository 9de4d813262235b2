//! What a scan found, in memory; `crate::output` writes it down.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::file::FileScan;
use super::ledger::{Ledger, LedgerEntry};
use super::suppress::Suppressed;
use crate::model::Mark;
use crate::policy::{Catalogue, Policy, PolicyIndex, Severity};

/// What a finding comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The policy failed.
    Failed,
    /// The policy passed; kept only where passes are asked for.
    Passed,
    /// It failed, and somebody said that this is meant.
    Suppressed(Box<Suppressed>),
    /// It failed, and the baseline has it.
    Known,
}

/// One verdict about one item, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The policy.
    pub policy: PolicyIndex,
    /// Index of the file in [`Report::files`].
    pub file: u32,
    /// Which document of the file, from 0.
    pub document: u32,
    /// `Kind/namespace/name`
    pub resource: Arc<str>,
    /// The container, where it is about one.
    pub container: Option<Box<str>>,
    /// Line and column.
    pub at: Mark,
    /// JSON path within the document.
    pub json_path: Box<str>,
    /// What it comes to.
    pub status: Status,
    /// A suppression that would have applied, had it not expired; its words.
    pub expired: Option<Box<str>>,
}

/// How many verdicts there are of each sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// By severity, from info on.
    pub failed: [usize; 5],
    /// Passes, where they were kept.
    pub passed: usize,
    /// Suppressed ones.
    pub suppressed: usize,
    /// Those of the baseline.
    pub known: usize,
}

impl Counts {
    /// All that failed and are neither suppressed nor in the baseline.
    pub fn failures(&self) -> usize {
        self.failed.iter().sum()
    }

    /// Those at or over a severity.
    pub fn at_least(&self, severity: Severity) -> usize {
        self.failed[severity as usize..].iter().sum()
    }
}

/// The result of a scan.
#[derive(Debug, Default)]
pub struct Report {
    /// Names of the files that findings are in.
    pub files: Vec<Arc<str>>,
    /// In the order of the files, within a file of the objects, within an object of the policies.
    pub findings: Vec<Finding>,
    /// What became of every file.
    pub ledger: Ledger,
    /// Objects that policies were asked about.
    pub objects: usize,
    /// Central suppressions that were used, by their index.
    pub used_suppressions: Vec<usize>,
    /// What authors of files should know, with file and line.
    pub notes: Vec<String>,
}

impl Report {
    pub(super) fn add(&mut self, name: String, scan: FileScan) {
        let file = self.files.len() as u32;
        self.objects += scan.objects;
        self.notes.extend(scan.notes.into_iter().map(|(line, words)| format!("{name}:{line}: {words}")));
        self.findings.extend(scan.findings.into_iter().map(|finding| Finding { file, ..finding }));
        self.used_suppressions.extend(scan.used_suppressions);
        self.used_suppressions.sort_unstable();
        self.used_suppressions.dedup();
        self.files.push(Arc::from(name.as_str()));
        self.ledger.entries.push(LedgerEntry { path: name, outcome: scan.outcome });
    }

    /// The name of a finding's file.
    pub fn file(&self, finding: &Finding) -> &str {
        &self.files[finding.file as usize]
    }

    /// Findings that failed and are neither suppressed nor in the baseline.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.status == Status::Failed)
    }

    /// How many there are of each sort.
    pub fn counts(&self, catalogue: &Catalogue) -> Counts {
        let mut counts = Counts::default();
        for finding in &self.findings {
            match &finding.status {
                Status::Failed => counts.failed[catalogue.get(finding.policy).severity as usize] += 1,
                Status::Passed => counts.passed += 1,
                Status::Suppressed(_) => counts.suppressed += 1,
                Status::Known => counts.known += 1,
            }
        }
        counts
    }

    /// A name for every finding that stays the same while lines move: policy, file, resource, container, and a number
    /// where those repeat. In the order of the findings.
    pub fn fingerprints(&self, catalogue: &Catalogue) -> Vec<String> {
        let mut names = Fingerprints::default();
        self.findings.iter().map(|finding| names.next(self, finding, catalogue)).collect()
    }
}

/// Makes the fingerprints of [`Report::fingerprints`] one by one, in the order of the findings.
#[derive(Debug, Default)]
pub struct Fingerprints {
    seen: FxHashMap<String, u32>,
}

impl Fingerprints {
    /// The name of the next finding of this report.
    pub fn next(&mut self, report: &Report, finding: &Finding, catalogue: &Catalogue) -> String {
        let key = format!(
            "{}|{}|{}|{}",
            catalogue.get(finding.policy).id,
            report.file(finding),
            finding.resource,
            finding.container.as_deref().unwrap_or_default()
        );
        let times = self.seen.entry(key.clone()).or_insert(0);
        *times += 1;
        format!("{key}|{times}")
    }
}

impl Finding {
    /// Its policy.
    pub fn policy<'c>(&self, catalogue: &'c Catalogue) -> &'c Policy {
        catalogue.get(self.policy)
    }

    /// Resource and container, for people.
    pub fn subject(&self) -> String {
        match &self.container {
            Some(container) => format!("{} container {container}", self.resource),
            None => self.resource.to_string(),
        }
    }

    /// `failed`, `passed`, `suppressed` or `known`.
    pub fn word(&self) -> &'static str {
        match self.status {
            Status::Failed => "failed",
            Status::Passed => "passed",
            Status::Suppressed(_) => "suppressed",
            Status::Known => "known",
        }
    }
}
