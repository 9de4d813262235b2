//! GitLab's report of static analysis (`gl-sast-report.json`, version 15 of its schema): each failure is a vulnerability with a stable id.
//! What is suppressed or known is left out, since the format cannot say so of its own accord.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Subject, VERSION};
use crate::policy::Severity;
use crate::scan::{Finding, Status};

const SCHEMA_VERSION: &str = "15.1.0";

pub(super) fn head(out: &mut dyn Write) -> io::Result<()> {
    write!(out, "{{\n  \"version\": \"{SCHEMA_VERSION}\",\n  \"vulnerabilities\": [")
}

/// `first` says that no row is written yet; what is no failure is none.
pub(super) fn row(
    subject: &Subject<'_>,
    first: &mut bool,
    finding: &Finding,
    fingerprint: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    if finding.status != Status::Failed {
        return Ok(());
    }
    let policy = finding.policy(subject.catalogue);
    let mut identifiers = vec![json!({ "type": "ringfort_policy", "name": policy.id, "value": policy.id })];
    identifiers.extend(policy.aliases.iter().map(|alias| {
        let kind = alias.split_once(':').map_or("alias", |(tool, _)| tool);
        json!({ "type": kind, "name": alias, "value": alias })
    }));
    let row = json!({
        "id": uuid(fingerprint),
        "name": policy.name,
        "description": format!("{}: {}", finding.subject(), policy.message),
        "severity": severity(policy.severity),
        "solution": policy.remediation,
        "location": { "file": subject.report.file(finding), "start_line": finding.at.line },
        "identifiers": identifiers,
    });
    write!(out, "{}\n    {row}", if std::mem::take(first) { "" } else { "," })
}

pub(super) fn tail(subject: &Subject<'_>, out: &mut dyn Write) -> io::Result<()> {
    // `yyyy-mm-ddThh:mm:ss`, in UTC and without saying so.
    let time = subject.time.trim_end_matches('Z');
    let tool = json!({
        "id": "ringfort-audit", "name": "Ringfort audit", "version": VERSION, "vendor": { "name": "Ringfort" },
    });
    let messages: Vec<Value> = subject
        .report
        .ledger
        .gaps()
        .map(|gap| json!({ "level": "warn", "value": format!("not read: {}: {}", gap.path, gap.outcome) }))
        .collect();
    let scan = json!({
        "type": "sast", "status": "success", "start_time": time, "end_time": time, "scanner": tool, "analyzer": tool,
        "messages": messages,
    });
    write!(out, "\n  ],\n  \"scan\": {scan}\n}}\n")
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "Critical",
        Severity::High => "High",
        Severity::Medium => "Medium",
        Severity::Low => "Low",
        Severity::Info => "Info",
    }
}

/// The name of a finding in the form of a UUID of one's own making (RFC 9562 §5.8), the same for the same name: FNV-1a, 128 bits.
fn uuid(name: &str) -> String {
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in name.bytes() {
        hash ^= u128::from(byte);
        hash = hash.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
    }
    let hash = (hash & !(0xf << 76) & !(0x3 << 62)) | (0x8 << 76) | (0x2 << 62);
    let text = format!("{hash:032x}");
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_uuids_that_stay() {
        assert_eq!(uuid("a"), uuid("a"));
        assert_ne!(uuid("a"), uuid("b"));
        let id = uuid("RF-K8S-0001|a.yaml|Pod/a||1");
        assert_eq!((id.len(), id.as_bytes()[14], id.split('-').count()), (36, b'8', 5));
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
    }
}
