//! The text for a terminal, as kube-bench prints it.

use std::io::{self, Write};

use super::{CheckReport, ControlsReport, State, Style, Totals};

/// Which parts of the text are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sections {
    /// Each check.
    pub results: bool,
    /// How to mend what failed.
    pub remediations: bool,
    /// The sums of each file of controls.
    pub summary: bool,
    /// The sums of all.
    pub totals: bool,
    /// The output that a failed check was tested on.
    pub test_output: bool,
}

impl Default for Sections {
    fn default() -> Self {
        Self { results: true, remediations: true, summary: true, totals: true, test_output: false }
    }
}

/// Writes the text.
pub fn write(controls: &[ControlsReport], style: &Style, out: &mut dyn Write) -> io::Result<()> {
    for controls in controls {
        if style.sections.results {
            results(controls, style, out)?;
        }
        if style.sections.remediations && controls.totals.fail + controls.totals.warn > 0 {
            remediations(controls, style, out)?;
        }
        if style.sections.summary {
            summary(&controls.totals, &controls.node_type, style, out)?;
        }
    }
    if style.sections.totals {
        summary(&Totals::of(controls), "total", style, out)?;
    }
    Ok(())
}

fn coloured(state: State, text: &str, style: &Style) -> String {
    if !style.colour {
        return text.to_owned();
    }
    let code = match state {
        State::Pass => 32,
        State::Fail => 31,
        State::Warn => 33,
        State::Info => 34,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

fn line(state: State, id: &str, text: &str, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}{id} {text}", coloured(state, &format!("[{}] ", state.name()), style))
}

fn checks(controls: &ControlsReport) -> impl Iterator<Item = &CheckReport> {
    controls.tests.iter().flatten().flat_map(|group| &group.results)
}

fn results(controls: &ControlsReport, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    line(State::Info, &controls.id, &controls.text, style, out)?;
    for group in controls.tests.iter().flatten() {
        line(State::Info, &group.section, &group.desc, style, out)?;
        for check in &group.results {
            line(check.status, &check.test_number, &check.test_desc, style, out)?;
            if style.sections.test_output && check.status == State::Fail && !check.actual_value.is_empty() {
                for row in check.actual_value.split('\n') {
                    writeln!(out, "\t {row}")?;
                }
            }
        }
    }
    writeln!(out)
}

fn remediations(controls: &ControlsReport, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let title = format!("== Remediations {} ==", controls.node_type);
    writeln!(out, "{}", coloured(State::Warn, &title, style))?;
    for check in checks(controls) {
        match check.status {
            State::Warn if !check.reason.is_empty() && check.kind != "manual" => {
                writeln!(out, "{} audit test did not run: {}", check.test_number, check.reason)?;
            }
            State::Fail | State::Warn => writeln!(out, "{} {}", check.test_number, check.remediation)?,
            State::Pass | State::Info => {}
        }
    }
    writeln!(out)
}

fn summary(totals: &Totals, name: &str, style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let state = match totals {
        Totals { fail: 1.., .. } => State::Fail,
        Totals { warn: 1.., .. } => State::Warn,
        _ => State::Pass,
    };
    writeln!(out, "{}", coloured(state, &format!("== Summary {name} =="), style))?;
    let Totals { pass, fail, warn, info } = totals;
    writeln!(out, "{pass} checks PASS\n{fail} checks FAIL\n{warn} checks WARN\n{info} checks INFO\n")
}
