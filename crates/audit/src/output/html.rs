//! HTML: one page with its style, script and data inside, that asks nothing of the network (a policy forbids it).

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Subject, VERSION};
use crate::policy::Severity;
use crate::scan::Status;
use crate::web;

pub(super) fn write(subject: &Subject<'_>, out: &mut dyn Write) -> io::Result<()> {
    let page = web::page(web::REPORT);
    let (before, after) = page.split_once("/*DATA*/").expect("the page has a place for its data");
    out.write_all(before.as_bytes())?;
    data(subject, out)?;
    out.write_all(after.as_bytes())
}

/// A JavaScript object. `<` is escaped, so that no name in a file can end the script.
fn data(subject: &Subject<'_>, out: &mut dyn Write) -> io::Result<()> {
    let report = subject.report;
    let counts = report.counts(subject.catalogue);
    let (scanned, skipped, unparsed) = report.ledger.counts();
    let mut bad: Vec<_> = report
        .failures()
        .filter(|finding| finding.policy(subject.catalogue).severity >= Severity::High)
        .map(|finding| (finding.file, finding.document, &finding.resource))
        .collect();
    bad.dedup();
    let policies: Vec<Value> = subject
        .catalogue
        .policies()
        .iter()
        .map(|policy| {
            json!({ "id": policy.id, "name": policy.name, "severity": policy.severity as u8, "message": policy.message,
                "remediation": policy.remediation, "aliases": policy.aliases, "category": policy.category })
        })
        .collect();
    let ledger: Vec<Value> = report
        .ledger
        .entries
        .iter()
        .filter(|entry| entry.word() != "scanned")
        .map(|entry| json!([entry.word(), entry.path, entry.outcome.to_string()]))
        .collect();
    let head = json!({
        "version": VERSION, "objects": report.objects, "bad": bad.len(), "scanned": scanned, "skipped": skipped,
        "unparsed": unparsed, "suppressed": counts.suppressed, "known": counts.known, "failed": counts.failed,
        "policies": policies, "ledger": ledger, "files": report.files.iter().map(|file| file.as_ref()).collect::<Vec<&str>>(),
    });
    let escaped = |value: &Value| value.to_string().replace('<', "\\u003c");
    write!(out, "const R = {};\nR.findings = [", escaped(&head))?;
    for finding in report.findings.iter().filter(|finding| finding.status != Status::Passed) {
        let (status, said) = match &finding.status {
            Status::Failed | Status::Passed => (0, finding.expired.as_deref().unwrap_or_default()),
            Status::Suppressed(said) => (1, said.reason.as_str()),
            Status::Known => (2, ""),
        };
        let row = json!([
            finding.policy.0,
            finding.file,
            &*finding.resource,
            finding.container.as_deref().unwrap_or_default(),
            finding.at.line,
            finding.at.column,
            &*finding.json_path,
            status,
            said
        ]);
        writeln!(out, "{},", escaped(&row))?;
    }
    out.write_all(b"];")
}
