//! JUnit as kube-bench prints it: a suite for each file of controls, the check's JSON as what was printed.

use std::io::{self, Write};

use super::{CheckReport, ControlsReport, State, go};

/// Writes the suites.
pub fn write(controls: &[ControlsReport], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<testsuites>")?;
    for controls in controls {
        let totals = controls.totals;
        let tests = totals.pass + totals.fail + totals.info + totals.warn;
        let name = go::xml(&controls.text);
        write!(
            out,
            "<testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{}\" errors=\"0\" time=\"0\">",
            totals.fail
        )?;
        let groups = controls.tests.iter().flatten();
        let mut empty = true;
        for (group, check) in groups.flat_map(|group| group.results.iter().map(move |check| (group, check))) {
            empty = false;
            case(&group.desc, check, out)?;
        }
        write!(out, "{}</testsuite>", if empty { "" } else { "\n" })?;
    }
    writeln!(out, "\n</testsuites>")
}

fn case(class: &str, check: &CheckReport, out: &mut dyn Write) -> io::Result<()> {
    let name = go::xml(&format!("{} {}", check.test_number, check.test_desc));
    write!(out, "\n    <testcase name=\"{name}\" classname=\"{}\" time=\"0\">", go::xml(class))?;
    match check.status {
        State::Fail => write!(out, "\n        <failure type=\"\">{}</failure>", go::xml(&check.remediation))?,
        State::Warn | State::Info => write!(out, "\n        <skipped></skipped>")?,
        State::Pass => {}
    }
    let json = go::escaped_json(&serde_json::to_string(check)?);
    write!(out, "\n        <system-out>{}</system-out>\n    </testcase>", go::xml(&json))
}
