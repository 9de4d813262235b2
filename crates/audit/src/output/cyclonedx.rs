//! CycloneDX 1.6 (ECMA-424): each resource with failures is a component of configuration data, each policy that failed a
//! vulnerability that affects them. What is suppressed is one with an analysis: exploitable, will not be mended, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Subject, VERSION};
use crate::scan::{Finding, Status};

pub(super) fn write(subject: &Subject<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut components: BTreeMap<String, (&str, &Finding, BTreeSet<u32>)> = BTreeMap::new();
    let mut groups: BTreeMap<(u32, u8, &str), Vec<&Finding>> = BTreeMap::new();
    for finding in &subject.report.findings {
        let key = match &finding.status {
            Status::Failed => (0, ""),
            Status::Suppressed(said) => (1, said.reason.as_str()),
            Status::Known => (2, ""),
            Status::Passed => continue,
        };
        groups.entry((finding.policy.0, key.0, key.1)).or_default().push(finding);
        let file = subject.report.file(finding);
        let component = components.entry(reference(subject, finding)).or_insert((file, finding, BTreeSet::new()));
        component.2.insert(finding.at.line);
    }
    let components: Vec<Value> = components
        .into_iter()
        .map(|(reference, (file, finding, lines))| {
            let occurrences: Vec<Value> =
                lines.into_iter().map(|line| json!({ "location": file, "line": line })).collect();
            json!({
                "type": "data",
                "bom-ref": reference,
                "name": &*finding.resource,
                "data": [{ "type": "configuration", "name": file }],
                "evidence": { "occurrences": occurrences },
            })
        })
        .collect();
    let vulnerabilities: Vec<Value> = groups
        .into_iter()
        .map(|((_, status, reason), findings)| vulnerability(subject, status, reason, &findings))
        .collect();
    let bom = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": subject.time,
            "tools": { "components": [{ "type": "application", "name": "ringfort audit", "version": VERSION }] },
            "properties": gaps(subject),
        },
        "components": components,
        "vulnerabilities": vulnerabilities,
    });
    writeln!(out, "{bom:#}")
}

fn reference(subject: &Subject<'_>, finding: &Finding) -> String {
    format!("{}#{}", subject.report.file(finding), finding.resource)
}

fn gaps(subject: &Subject<'_>) -> Vec<Value> {
    let gap = |gap: &crate::scan::LedgerEntry| json!({ "name": "ringfort:not-read", "value": format!("{}: {}", gap.path, gap.outcome) });
    subject.report.ledger.gaps().map(gap).collect()
}

fn vulnerability(subject: &Subject<'_>, status: u8, reason: &str, findings: &[&Finding]) -> Value {
    let policy = findings[0].policy(subject.catalogue);
    let affected: BTreeSet<String> = findings.iter().map(|finding| reference(subject, finding)).collect();
    let affects: Vec<Value> = affected.into_iter().map(|reference| json!({ "ref": reference })).collect();
    let places: Vec<Value> = findings
        .iter()
        .map(|finding| {
            let place = format!("{}:{} {}", subject.report.file(finding), finding.at, finding.json_path);
            json!({ "name": "ringfort:place", "value": place })
        })
        .collect();
    let mut value = json!({
        "id": policy.id,
        "source": { "name": "Ringfort audit" },
        "ratings": [{ "source": { "name": "Ringfort audit" }, "severity": policy.severity.name(), "method": "other" }],
        "description": policy.name,
        "detail": policy.message,
        "recommendation": policy.remediation,
        "affects": affects,
        "properties": places,
    });
    match status {
        1 => {
            value["analysis"] = json!({ "state": "exploitable", "response": ["will_not_fix"], "detail": reason });
        }
        2 => value["analysis"] = json!({ "state": "in_triage", "detail": "in the baseline" }),
        _ => {}
    }
    value
}
