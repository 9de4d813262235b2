//! Reports: one scan, written in as many formats as are asked for. Failures only, unless passes were kept.

mod csv;
mod cyclonedx;
mod gitlab;
mod html;
mod json;
mod junit;
mod markdown;
mod sarif;
mod table;

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use crate::policy::{Catalogue, Severity};
use crate::scan::{Finding, Fingerprints, Report, Status};

/// The formats that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// For a terminal.
    Table,
    /// One object with everything.
    Json,
    /// JUnit's XML: a test case for each verdict.
    Junit,
    /// SARIF 2.1.0.
    Sarif,
    /// A line for each verdict (RFC 4180).
    Csv,
    /// For a comment on a pull request.
    Markdown,
    /// CycloneDX 1.6.
    Cyclonedx,
    /// GitLab's report of static analysis.
    GitlabSast,
    /// One page without network.
    Html,
}

impl Format {
    /// All of them, in the order of the manual.
    pub const ALL: [Self; 9] = [
        Self::Table,
        Self::Json,
        Self::Junit,
        Self::Sarif,
        Self::Csv,
        Self::Cyclonedx,
        Self::GitlabSast,
        Self::Markdown,
        Self::Html,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Junit => "junit",
            Self::Sarif => "sarif",
            Self::Csv => "csv",
            Self::Cyclonedx => "cyclonedx",
            Self::GitlabSast => "gitlab-sast",
            Self::Markdown => "markdown",
            Self::Html => "html",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("`{text}` is no format; there are {names}")
        })
    }
}

/// What is written down.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'r> {
    /// The scan.
    pub report: &'r Report,
    /// Its policies.
    pub catalogue: &'r Catalogue,
    /// Colours for a terminal.
    pub colour: bool,
    /// Files are links for a terminal; relative paths begin in this folder.
    pub links: Option<&'r Path>,
    /// When it was scanned (RFC 3339, in UTC), for the formats that say so.
    pub time: &'r str,
}

/// Writes the report.
///
/// # Errors
/// Those of `out`.
pub fn write(format: Format, subject: &Subject<'_>, out: &mut dyn io::Write) -> io::Result<()> {
    Writer::new(format).end(subject, out)
}

/// Writes a report while it grows. Formats that begin with sums (JUnit, Markdown, HTML) or are sorted otherwise (CycloneDX) are
/// written at the end.
#[derive(Debug)]
pub struct Writer {
    format: Format,
    /// Findings that are written.
    done: usize,
    begun: bool,
    /// Whether no vulnerability of GitLab's report is written.
    first: bool,
    names: Fingerprints,
    /// What policies say, by their index, as JSON has it.
    said: Vec<String>,
}

impl Writer {
    /// Of a report of which nothing is written yet.
    pub fn new(format: Format) -> Self {
        Self { format, done: 0, begun: false, first: true, names: Fingerprints::default(), said: Vec::new() }
    }

    /// Writes what the report has gained since the last time; findings that were there then stay as they were.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn more(&mut self, subject: &Subject<'_>, out: &mut dyn io::Write) -> io::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            match self.format {
                Format::Json => {
                    self.said = json::said(subject.catalogue);
                    json::head(subject, out)?;
                }
                Format::Sarif => sarif::head(subject, out)?,
                Format::Csv => csv::head(out)?,
                Format::GitlabSast => gitlab::head(out)?,
                Format::Table | Format::Junit | Format::Cyclonedx | Format::Markdown | Format::Html => {}
            }
        }
        let new = &subject.report.findings[self.done..];
        match self.format {
            Format::Table => table::rows(subject, new, out)?,
            Format::Csv => csv::rows(subject, new, out)?,
            Format::Json | Format::Sarif | Format::GitlabSast => {
                for (index, finding) in (self.done..).zip(new) {
                    let name = self.names.next(subject.report, finding, subject.catalogue);
                    match self.format {
                        Format::Json => json::row(subject, index, finding, &name, &self.said, out)?,
                        Format::Sarif => sarif::row(subject, index, finding, &name, out)?,
                        _ => gitlab::row(subject, &mut self.first, finding, &name, out)?,
                    }
                }
            }
            Format::Junit | Format::Cyclonedx | Format::Markdown | Format::Html => {}
        }
        self.done = subject.report.findings.len();
        Ok(())
    }

    /// Writes what is left; nothing may follow.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn end(mut self, subject: &Subject<'_>, out: &mut dyn io::Write) -> io::Result<()> {
        self.more(subject, out)?;
        match self.format {
            Format::Table => table::tail(subject, out),
            Format::Json => json::tail(subject, out),
            Format::Junit => junit::write(subject, out),
            Format::Sarif => sarif::tail(subject, out),
            Format::Csv => Ok(()),
            Format::Cyclonedx => cyclonedx::write(subject, out),
            Format::GitlabSast => gitlab::tail(subject, out),
            Format::Markdown => markdown::write(subject, out),
            Format::Html => html::write(subject, out),
        }
    }
}

/// The version that reports name.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

impl<'r> Subject<'r> {
    /// Findings of files in a row: (file, its findings).
    fn by_file(&self) -> impl Iterator<Item = (&'r str, &'r [Finding])> {
        self.files_of(&self.report.findings)
    }

    fn files_of(&self, findings: &'r [Finding]) -> impl Iterator<Item = (&'r str, &'r [Finding])> {
        let report = self.report;
        findings.chunk_by(|a, b| a.file == b.file).map(|findings| (report.file(&findings[0]), findings))
    }

    /// Whether a finding is worth a reader's time in a report for people: failed, or passed where those were asked for.
    fn shown(finding: &Finding) -> bool {
        matches!(finding.status, Status::Failed | Status::Passed)
    }

    /// `1 critical, 2 high`; `nothing` where nothing failed.
    fn failures_in_words(&self) -> String {
        let counts = self.report.counts(self.catalogue);
        let words: Vec<_> = Severity::ALL
            .into_iter()
            .rev()
            .filter(|severity| counts.failed[*severity as usize] > 0)
            .map(|severity| format!("{} {severity}", counts.failed[severity as usize]))
            .collect();
        if words.is_empty() { "nothing found".to_owned() } else { words.join(", ") }
    }
}

/// Text for XML and HTML. Control characters that XML 1.0 does not have become U+FFFD.
fn escape_xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(character),
            control if control < ' ' || control == '\u{fffe}' || control == '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests;
