//! CSV (RFC 4180), a line for each verdict.

use std::io::{self, Write};

use super::Subject;
use crate::scan::{Finding, Status};

pub(super) fn head(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(
        b"status,severity,policy,aliases,name,file,line,column,path,resource,container,message,remediation,suppression\r\n",
    )
}

pub(super) fn rows(subject: &Subject<'_>, findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    for finding in findings {
        let policy = finding.policy(subject.catalogue);
        let suppression = match &finding.status {
            Status::Suppressed(said) => said.reason.as_str(),
            Status::Failed | Status::Passed | Status::Known => "",
        };
        let cells = [
            finding.word(),
            policy.severity.name(),
            &policy.id,
            &policy.aliases.join(" "),
            &policy.name,
            subject.report.file(finding),
            &finding.at.line.to_string(),
            &finding.at.column.to_string(),
            &finding.json_path,
            &finding.resource,
            finding.container.as_deref().unwrap_or_default(),
            &policy.message,
            &policy.remediation,
            suppression,
        ];
        let line: Vec<_> = cells.into_iter().map(cell).collect();
        write!(out, "{}\r\n", line.join(","))?;
    }
    Ok(())
}

/// Quoted where it has to be; what a spreadsheet would take for a formula gets an apostrophe.
fn cell(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
