//! JSON: findings, ledger, notes, summary.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

use super::{Subject, VERSION};
use crate::policy::{Catalogue, Policy, Severity};
use crate::scan::{Finding, Outcome, Status};

#[derive(Serialize)]
struct Row<'r> {
    status: &'static str,
    file: &'r str,
    document: u32,
    line: u32,
    column: u32,
    path: &'r str,
    resource: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<&'r str>,
    fingerprint: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<Suppressed<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expired: Option<&'r str>,
}

#[derive(Serialize)]
struct Suppressed<'r> {
    reason: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    source: &'r str,
}

pub(super) fn head(subject: &Subject<'_>, out: &mut dyn Write) -> io::Result<()> {
    let tool = json!({ "name": "ringfort audit", "version": VERSION, "policies": subject.catalogue.policies().len() });
    write!(out, "{{\n  \"tool\": {tool},\n  \"findings\": [")
}

pub(super) fn row(
    subject: &Subject<'_>,
    index: usize,
    finding: &Finding,
    fingerprint: &str,
    said: &[String],
    out: &mut dyn Write,
) -> io::Result<()> {
    let row = Row {
        status: finding.word(),
        file: subject.report.file(finding),
        document: finding.document,
        line: finding.at.line,
        column: finding.at.column,
        path: &finding.json_path,
        resource: &finding.resource,
        container: finding.container.as_deref(),
        fingerprint,
        suppressed: match &finding.status {
            Status::Suppressed(said) => Some(Suppressed {
                reason: &said.reason,
                owner: said.owner.as_deref(),
                expires: said.expires.map(|date| date.to_string()),
                source: &said.source,
            }),
            Status::Failed | Status::Passed | Status::Known => None,
        },
        expired: finding.expired.as_deref(),
    };
    out.write_all(if index == 0 { b"\n    {" } else { b",\n    {" })?;
    out.write_all(said[finding.policy.0 as usize].as_bytes())?;
    out.write_all(b",")?;
    // The row without its opening brace.
    out.write_all(&serde_json::to_vec(&row)?[1..])
}

pub(super) fn tail(subject: &Subject<'_>, out: &mut dyn Write) -> io::Result<()> {
    let report = subject.report;
    out.write_all(b"\n  ],\n  \"ledger\": [")?;
    for (index, entry) in report.ledger.entries.iter().enumerate() {
        let mut line = json!({ "path": entry.path, "outcome": entry.word() });
        match &entry.outcome {
            Outcome::Scanned { objects, others } => {
                line["objects"] = (*objects).into();
                line["other_documents"] = (*others).into();
            }
            Outcome::Skipped { reason } => line["reason"] = reason.as_str().into(),
            Outcome::Unparsed { at, reason, objects } => {
                line["reason"] = reason.as_str().into();
                line["objects"] = (*objects).into();
                if let Some(at) = at {
                    line["line"] = at.line.into();
                    line["column"] = at.column.into();
                }
            }
        }
        write!(out, "{}\n    {line}", if index == 0 { "" } else { "," })?;
    }
    let counts = report.counts(subject.catalogue);
    let (scanned, skipped, unparsed) = report.ledger.counts();
    let failed: serde_json::Map<_, _> = Severity::ALL
        .into_iter()
        .rev()
        .map(|severity| (severity.name().to_owned(), counts.failed[severity as usize].into()))
        .collect();
    let summary = json!({
        "files": { "scanned": scanned, "skipped": skipped, "unparsed": unparsed },
        "objects": report.objects,
        "failed": failed,
        "passed": counts.passed,
        "suppressed": counts.suppressed,
        "known": counts.known,
    });
    writeln!(out, "\n  ],\n  \"notes\": {},\n  \"summary\": {summary}\n}}", serde_json::to_string(&report.notes)?)
}

/// The fields of a finding that its policy gives, without braces; they are the same for each of its findings.
pub(super) fn said(catalogue: &Catalogue) -> Vec<String> {
    let fields = |policy: &Policy| {
        let fields = json!({
            "policy": policy.id, "aliases": policy.aliases, "name": policy.name, "severity": policy.severity.name(),
            "category": policy.category, "message": policy.message, "remediation": policy.remediation,
        })
        .to_string();
        fields[1..fields.len() - 1].to_owned()
    };
    catalogue.policies().iter().map(fields).collect()
}
