//! What checks came to, and how it is written: text, JSON and JUnit as kube-bench prints them, ASFF for AWS Security Hub.

mod asff;
pub mod go;
mod junit;
mod text;

use std::io::{self, Write};
use std::str::FromStr;

use serde::Serialize;

pub use asff::Account;
pub use text::Sections;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// It is as wanted.
    Pass,
    /// It is not, or that could not be told.
    Fail,
    /// Somebody has to look.
    Warn,
    /// It was skipped.
    Info,
}

impl State {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Warn => "WARN",
            Self::Info => "INFO",
        }
    }
}

/// How many checks came to which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Passed.
    #[serde(rename = "total_pass")]
    pub pass: usize,
    /// Failed.
    #[serde(rename = "total_fail")]
    pub fail: usize,
    /// To be looked at.
    #[serde(rename = "total_warn")]
    pub warn: usize,
    /// Skipped.
    #[serde(rename = "total_info")]
    pub info: usize,
}

impl Totals {
    /// Counts one more.
    pub fn count(&mut self, state: State) {
        *match state {
            State::Pass => &mut self.pass,
            State::Fail => &mut self.fail,
            State::Warn => &mut self.warn,
            State::Info => &mut self.info,
        } += 1;
    }

    /// Of all controls together.
    pub fn of(controls: &[ControlsReport]) -> Self {
        controls.iter().fold(Self::default(), |sum, controls| Self {
            pass: sum.pass + controls.totals.pass,
            fail: sum.fail + controls.totals.fail,
            warn: sum.warn + controls.totals.warn,
            info: sum.info + controls.totals.info,
        })
    }
}

/// One file of controls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ControlsReport {
    /// `1`
    pub id: String,
    /// The benchmark.
    pub version: String,
    /// The version of Kubernetes that was found, `none` where it was said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detected_version: String,
    /// The title.
    pub text: String,
    /// The target.
    pub node_type: String,
    /// The groups of which checks ran; `None` where none did.
    pub tests: Option<Vec<GroupReport>>,
    /// The sums.
    #[serde(flatten)]
    pub totals: Totals,
}

/// A group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct GroupReport {
    /// Its id.
    pub section: String,
    /// Always empty, as kube-bench prints it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Passed.
    pub pass: usize,
    /// Failed.
    pub fail: usize,
    /// To be looked at.
    pub warn: usize,
    /// Skipped.
    pub info: usize,
    /// The title.
    pub desc: String,
    /// The checks.
    pub results: Vec<CheckReport>,
}

impl GroupReport {
    /// Counts one more.
    pub fn count(&mut self, state: State) {
        *match state {
            State::Pass => &mut self.pass,
            State::Fail => &mut self.fail,
            State::Warn => &mut self.warn,
            State::Info => &mut self.info,
        } += 1;
    }
}

/// A check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Its id.
    pub test_number: String,
    /// What is wanted.
    pub test_desc: String,
    /// The command for flags.
    pub audit: String,
    /// The command for environment variables.
    #[serde(rename = "AuditEnv")]
    pub audit_env: String,
    /// The command for configuration files.
    #[serde(rename = "AuditConfig")]
    pub audit_config: String,
    /// `manual`, `skip` or nothing.
    #[serde(rename = "type")]
    pub kind: String,
    /// How to mend it.
    pub remediation: String,
    /// The same, as a list.
    pub test_info: Vec<String>,
    /// What it came to.
    pub status: State,
    /// The output that was tested.
    pub actual_value: String,
    /// Whether it counts.
    pub scored: bool,
    /// Whether each line was tested.
    #[serde(rename = "IsMultiple")]
    pub is_multiple: bool,
    /// What was expected.
    pub expected_result: String,
    /// Why there is nothing to test.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For a terminal.
    Text,
    /// One object, or a list where sums are not wanted.
    Json,
    /// For continuous integration.
    Junit,
    /// Findings for AWS Security Hub.
    Asff,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "junit" => Ok(Self::Junit),
            "asff" => Ok(Self::Asff),
            _ => Err(format!("`{name}` is no format; there are text, json, junit, asff")),
        }
    }
}

/// What writing has to know besides the results.
#[derive(Debug, Clone, Default)]
pub struct Style {
    /// Which parts of the text are printed.
    pub sections: Sections,
    /// Colours in the text.
    pub colour: bool,
    /// Whose findings they are, where that is known.
    pub account: Option<Account>,
    /// Now (RFC 3339).
    pub time: String,
}

/// Writes results.
///
/// # Errors
/// Those of `out`.
pub fn write(format: Format, controls: &[ControlsReport], style: &Style, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Text => text::write(controls, style, out),
        Format::Json => {
            let json = if style.sections.totals { whole_json(controls)? } else { serde_json::to_string(controls)? };
            writeln!(out, "{}", go::escaped_json(&json))
        }
        Format::Junit => junit::write(controls, out),
        Format::Asff => asff::write(controls, style, out),
    }
}

/// One file of controls as JSON.
pub fn controls_json(controls: &ControlsReport) -> String {
    go::escaped_json(&serde_json::to_string(controls).expect("plain data with text for keys"))
}

fn whole_json(controls: &[ControlsReport]) -> serde_json::Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Whole<'w> {
        controls: &'w [ControlsReport],
        totals: Totals,
    }
    serde_json::to_string(&Whole { controls, totals: Totals::of(controls) })
}
