//! For a terminal: findings by file and object, the worst first, and a summary.

use std::io::{self, Write};
use std::path::Path;

use super::Subject;
use crate::policy::Severity;
use crate::scan::{Finding, Status};

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const RESET: &str = "\x1b[0m";

pub(super) fn rows<'r>(subject: &Subject<'r>, findings: &'r [Finding], out: &mut dyn Write) -> io::Result<()> {
    let paint = |code: &'static str| if subject.colour { code } else { "" };
    for (file, findings) in subject.files_of(findings) {
        let shown: Vec<_> = findings.iter().filter(|finding| Subject::shown(finding)).collect();
        if shown.is_empty() {
            continue;
        }
        let (begin, end) = link(subject.links, file);
        writeln!(out, "{begin}{}{}{}{end}", paint(BOLD), printable(file), paint(RESET))?;
        for findings in shown.chunk_by(|a, b| a.document == b.document && a.resource == b.resource) {
            writeln!(out, "  {}", printable(&findings[0].resource))?;
            let mut findings = findings.to_vec();
            findings.sort_by_key(|finding| {
                (finding.status == Status::Passed, std::cmp::Reverse(finding.policy(subject.catalogue).severity))
            });
            for finding in findings {
                line(subject, finding, out)?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

fn line(subject: &Subject<'_>, finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    let policy = finding.policy(subject.catalogue);
    let passed = finding.status == Status::Passed;
    let (word, code) = if passed { ("passed", GREEN) } else { (policy.severity.name(), colour(policy.severity)) };
    let (code, dim, reset) = if subject.colour { (code, DIM, RESET) } else { ("", "", "") };
    let container = finding.container.as_deref().map(|name| format!(" [{}]", printable(name))).unwrap_or_default();
    let expired = finding.expired.as_deref().map(|words| format!(" ({})", printable(words))).unwrap_or_default();
    writeln!(
        out,
        "    {code}{word:<8}{reset} {:>7}  {}  {}{container}{expired}  {dim}{}{reset}",
        finding.at.to_string(),
        policy.id,
        policy.name,
        printable(&finding.json_path)
    )
}

/// What makes a terminal show a file when its name is clicked on (OSC 8); nothing for what is no file.
fn link(folder: Option<&Path>, file: &str) -> (String, &'static str) {
    let no_file = file.contains("://") || file == "STDIN" || file.ends_with(')');
    let Some(folder) = folder.filter(|_| !no_file) else { return (String::new(), "") };
    let mut url = String::from("\x1b]8;;file://");
    for byte in folder.join(file).to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    (url + "\x1b\\", "\x1b]8;;\x1b\\")
}

pub(super) fn tail(subject: &Subject<'_>, out: &mut dyn Write) -> io::Result<()> {
    let report = subject.report;
    let counts = report.counts(subject.catalogue);
    let (scanned, skipped, unparsed) = report.ledger.counts();
    for gap in report.ledger.gaps() {
        writeln!(out, "not read: {}: {}", printable(&gap.path), printable(&gap.outcome.to_string()))?;
    }
    for note in &report.notes {
        writeln!(out, "note: {}", printable(note))?;
    }
    let (bold, reset) = if subject.colour { (BOLD, RESET) } else { ("", "") };
    write!(out, "{bold}{}{reset}", subject.failures_in_words())?;
    for (count, words) in
        [(counts.suppressed, "suppressed"), (counts.known, "in the baseline"), (counts.passed, "passed")]
    {
        if count > 0 {
            write!(out, ", {count} {words}")?;
        }
    }
    writeln!(
        out,
        "\n{} in {}, {}; {} skipped, {unparsed} not read",
        count(report.objects, "object"),
        count(scanned, "file"),
        policies(subject.catalogue.policies().len()),
        count(skipped, "file")
    )?;
    if counts.failures() > 0 {
        writeln!(out, "`ringfort audit explain ID` says why something matters and how to mend it")?;
    }
    Ok(())
}

fn count(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

fn policies(number: usize) -> String {
    if number == 1 { "1 policy".to_owned() } else { format!("{number} policies") }
}

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "\x1b[1;37;41m",
        Severity::High => "\x1b[1;31m",
        Severity::Medium => "\x1b[33m",
        Severity::Low => "\x1b[36m",
        Severity::Info => "\x1b[2m",
    }
}

/// What comes from a file must not move the cursor.
fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_links_and_what_is_no_file_is_none() {
        let folder = Some(Path::new("/srv/a b"));
        let (begin, end) = link(folder, "deploy/x;\x1by.yaml");
        assert_eq!(begin, "\x1b]8;;file:///srv/a%20b/deploy/x%3B%1By.yaml\x1b\\");
        assert_eq!(end, "\x1b]8;;\x1b\\");
        assert_eq!(link(folder, "/etc/x.yaml").0, "\x1b]8;;file:///etc/x.yaml\x1b\\");
        for file in ["STDIN", "kube://prod/api/v1/pods", "deploy/web (helm template)"] {
            assert_eq!(link(folder, file), (String::new(), ""), "{file}");
        }
        assert_eq!(link(None, "a.yaml"), (String::new(), ""));
    }
}
