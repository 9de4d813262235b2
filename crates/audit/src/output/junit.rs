//! JUnit's XML: a suite for each file, a test case for each verdict. What is suppressed or known is skipped. A file that could not
//! be read is a test case with an error.

use std::io::{self, Write};

use super::{Subject, escape_xml};
use crate::scan::{Finding, Status};

pub(super) fn write(subject: &Subject<'_>, out: &mut dyn Write) -> io::Result<()> {
    let counts = subject.report.counts(subject.catalogue);
    let gaps: Vec<_> = subject.report.ledger.gaps().collect();
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(
        out,
        "<testsuites name=\"ringfort audit\" tests=\"{}\" failures=\"{}\" errors=\"{}\">",
        subject.report.findings.len() + gaps.len(),
        counts.failures(),
        gaps.len()
    )?;
    for (file, findings) in subject.by_file() {
        let count = |test: fn(&Status) -> bool| findings.iter().filter(|finding| test(&finding.status)).count();
        writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" errors=\"0\">",
            escape_xml(file),
            findings.len(),
            count(|status| *status == Status::Failed),
            count(|status| matches!(status, Status::Suppressed(_) | Status::Known))
        )?;
        for finding in findings {
            case(subject, file, finding, out)?;
        }
        writeln!(out, "  </testsuite>")?;
    }
    if !gaps.is_empty() {
        writeln!(
            out,
            "  <testsuite name=\"coverage\" tests=\"{0}\" failures=\"0\" skipped=\"0\" errors=\"{0}\">",
            gaps.len()
        )?;
        for gap in gaps {
            writeln!(
                out,
                "    <testcase classname=\"coverage\" name=\"{}\"><error message=\"{}\"/></testcase>",
                escape_xml(&gap.path),
                escape_xml(&gap.outcome.to_string())
            )?;
        }
        writeln!(out, "  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")
}

fn case(subject: &Subject<'_>, file: &str, finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    let policy = finding.policy(subject.catalogue);
    write!(
        out,
        "    <testcase classname=\"{}\" name=\"{} {} ({})\"",
        escape_xml(file),
        policy.id,
        escape_xml(&policy.name),
        escape_xml(&finding.subject())
    )?;
    match &finding.status {
        Status::Passed => writeln!(out, "/>"),
        Status::Known => writeln!(out, "><skipped message=\"in the baseline\"/></testcase>"),
        Status::Suppressed(said) => {
            writeln!(out, "><skipped message=\"{}\"/></testcase>", escape_xml(&said.reason))
        }
        Status::Failed => writeln!(
            out,
            "><failure type=\"{}\" message=\"{}\">{}:{} {}\n{}</failure></testcase>",
            policy.severity,
            escape_xml(&policy.message),
            escape_xml(file),
            finding.at,
            escape_xml(&finding.json_path),
            escape_xml(&policy.remediation)
        ),
    }
}
