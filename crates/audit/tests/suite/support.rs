//! A scan of one text with the built-in policies.

use std::sync::OnceLock;

use ringfort_audit::model::Limits;
use ringfort_audit::policy::Catalogue;
use ringfort_audit::scan::suppress::Suppressions;
use ringfort_audit::scan::{FileScan, Settings, Status, scan_text};

pub fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(Catalogue::built_in)
}

pub fn settings<'s>(catalogue: &'s Catalogue, suppressions: &'s Suppressions) -> Settings<'s> {
    let today = "2026-11-25".parse().expect("a day");
    Settings { catalogue, limits: Limits::default(), passes: true, suppressions, today, threads: 1 }
}

pub fn scan(name: &str, text: &str) -> FileScan {
    scan_text(name, text, &settings(catalogue(), &Suppressions::default()))
}

/// Every verdict as `policy resource container failed`, sorted.
#[allow(dead_code)]
pub fn verdicts(scan: &FileScan) -> Vec<String> {
    let mut all: Vec<_> = scan
        .findings
        .iter()
        .map(|finding| {
            let container = finding.container.as_deref().unwrap_or_default();
            let id = &finding.policy(catalogue()).id;
            format!("{id} {} {container} {}", finding.resource, finding.status == Status::Failed)
        })
        .collect();
    all.sort();
    all
}
