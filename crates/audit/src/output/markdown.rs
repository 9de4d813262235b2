//! Markdown, for comments on pull requests: a summary, then a table for each file.

use std::io::{self, Write};

use super::Subject;
use crate::policy::Severity;
use crate::scan::Status;

pub(super) fn write(subject: &Subject<'_>, out: &mut dyn Write) -> io::Result<()> {
    let report = subject.report;
    let counts = report.counts(subject.catalogue);
    writeln!(out, "# Audit: {}\n", subject.failures_in_words())?;
    writeln!(out, "| severity | findings |\n| --- | ---: |")?;
    for severity in Severity::ALL.into_iter().rev() {
        writeln!(out, "| {severity} | {} |", counts.failed[severity as usize])?;
    }
    let (scanned, skipped, unparsed) = report.ledger.counts();
    writeln!(
        out,
        "\n{} objects in {scanned} files were looked at by {} policies; {skipped} files were skipped, {unparsed} could not be \
         read; {} findings are suppressed, {} are in the baseline.",
        report.objects,
        subject.catalogue.policies().len(),
        counts.suppressed,
        counts.known
    )?;
    for (file, findings) in subject.by_file() {
        let mut rows: Vec<_> = findings.iter().filter(|finding| finding.status == Status::Failed).collect();
        if rows.is_empty() {
            continue;
        }
        rows.sort_by_key(|finding| std::cmp::Reverse(finding.policy(subject.catalogue).severity));
        writeln!(
            out,
            "\n## `{}`\n\n| | line | resource | policy | what to do |\n| --- | ---: | --- | --- | --- |",
            cell(file)
        )?;
        for finding in rows {
            let policy = finding.policy(subject.catalogue);
            writeln!(
                out,
                "| {} | {} | {} | {} {} | {} |",
                policy.severity,
                finding.at.line,
                cell(&finding.subject()),
                policy.id,
                cell(&policy.name),
                cell(&policy.remediation)
            )?;
        }
    }
    let gaps: Vec<_> = report.ledger.gaps().collect();
    if !gaps.is_empty() {
        writeln!(out, "\n## Not read\n")?;
        for gap in gaps {
            writeln!(out, "- `{}`: {}", cell(&gap.path), cell(&gap.outcome.to_string()))?;
        }
    }
    Ok(())
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace(['\n', '\r'], " ")
}
