//! SARIF 2.1.0 (OASIS), as code scanning reads it.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Subject, VERSION};
use crate::cluster::SCHEME;
use crate::policy::{Policy, Severity};
use crate::scan::{Finding, Outcome, Status};

pub(super) fn head(subject: &Subject<'_>, out: &mut dyn Write) -> io::Result<()> {
    let rules: Vec<Value> = subject.catalogue.policies().iter().map(rule).collect();
    let driver = json!({
        "name": "ringfort audit", "version": VERSION, "semanticVersion": VERSION, "rules": rules,
    });
    write!(
        out,
        "{{\n  \"$schema\": \"https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json\",\n  \
         \"version\": \"2.1.0\",\n  \"runs\": [{{\n    \"tool\": {{ \"driver\": {driver} }},\n    \
         \"columnKind\": \"unicodeCodePoints\",\n    \"results\": ["
    )
}

pub(super) fn row(
    subject: &Subject<'_>,
    index: usize,
    finding: &Finding,
    fingerprint: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    let result = result(subject, finding, fingerprint);
    write!(out, "{}\n      {result}", if index == 0 { "" } else { "," })
}

pub(super) fn tail(subject: &Subject<'_>, out: &mut dyn Write) -> io::Result<()> {
    let notifications: Vec<Value> = subject
        .report
        .ledger
        .gaps()
        .map(|gap| {
            let mut location = json!({ "artifactLocation": { "uri": uri(&gap.path) } });
            if let Outcome::Unparsed { at: Some(at), .. } = gap.outcome {
                location["region"] = json!({ "startLine": at.line, "startColumn": at.column });
            }
            json!({
                "level": "error",
                "message": { "text": gap.outcome.to_string() },
                "locations": [{ "physicalLocation": location }],
            })
        })
        .collect();
    let invocation = json!({ "executionSuccessful": true, "toolExecutionNotifications": notifications });
    write!(out, "\n    ],\n    \"invocations\": [{invocation}]\n  }}]\n}}\n")
}

fn rule(policy: &Policy) -> Value {
    json!({
        "id": policy.id,
        "name": policy.name,
        "shortDescription": { "text": policy.name },
        "fullDescription": { "text": policy.message },
        "help": { "text": policy.remediation },
        "defaultConfiguration": { "level": level(policy.severity) },
        "properties": {
            "security-severity": score(policy.severity),
            "tags": std::iter::once("security").chain([policy.category.as_str()]).collect::<Vec<_>>(),
            "aliases": policy.aliases,
        },
    })
}

fn result(subject: &Subject<'_>, finding: &Finding, fingerprint: &str) -> Value {
    let policy = finding.policy(subject.catalogue);
    let passed = finding.status == Status::Passed;
    let mut result = json!({
        "ruleId": policy.id,
        "ruleIndex": finding.policy.0,
        "kind": if passed { "pass" } else { "fail" },
        "level": if passed { "none" } else { level(policy.severity) },
        "message": { "text": format!("{}: {}", finding.subject(), policy.message) },
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": uri(subject.report.file(finding)) },
                "region": { "startLine": finding.at.line, "startColumn": finding.at.column },
            },
            "logicalLocations": [{ "fullyQualifiedName": format!("{}#{}", finding.resource, finding.json_path) }],
        }],
        "partialFingerprints": { "ringfortAudit/v1": fingerprint },
    });
    match &finding.status {
        Status::Failed | Status::Passed => {}
        Status::Known => result["baselineState"] = json!("unchanged"),
        Status::Suppressed(said) => {
            let kind = if said.source.contains("comment") { "inSource" } else { "external" };
            result["suppressions"] = json!([{ "kind": kind, "status": "accepted", "justification": said.reason }]);
        }
    }
    result
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

/// What code scanning sorts by.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "3.0",
        Severity::Info => "1.0",
    }
}

/// A path as a relative URI reference (RFC 3986 §4.2), an absolute one with its scheme.
fn uri(path: &str) -> String {
    let (mut out, path) = match path.strip_prefix(SCHEME) {
        Some(rest) => (String::from(SCHEME), rest),
        None if path.starts_with('/') => (String::from("file://"), path),
        None => (String::new(), path),
    };
    for byte in path.strip_prefix("./").unwrap_or(path).bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
