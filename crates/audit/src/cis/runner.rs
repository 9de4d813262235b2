//! Runs checks: audits are run, their output is tested, and each check comes to a state as kube-bench has them.

use super::controls::{Check, Controls, Group};
use super::evaluate::{self, Outputs};
use super::host::{Host, Unfinished};
use super::manifests::Manifests;
use super::report::{CheckReport, ControlsReport, GroupReport, State, go};
use super::shell::{self, Outcome, Stop};

/// Which checks run, and which count as skipped.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Only these checks; empty: all.
    pub checks: Vec<String>,
    /// Only checks of these groups; empty: all.
    pub groups: Vec<String>,
    /// These checks and groups are skipped, and reported so.
    pub skipped: Vec<String>,
    /// Those that count.
    pub scored: bool,
    /// Those that do not.
    pub unscored: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self { checks: Vec::new(), groups: Vec::new(), skipped: Vec::new(), scored: true, unscored: true }
    }
}

impl Filter {
    fn wants(&self, group: &Group, check: &Check) -> bool {
        (self.groups.is_empty() || self.groups.contains(&group.id))
            && (self.checks.is_empty() || self.checks.contains(&check.id))
            && if check.scored { self.scored } else { self.unscored }
    }

    fn skips(&self, group: &Group, check: &Check) -> bool {
        group.skipped || self.skipped.contains(&group.id) || self.skipped.contains(&check.id)
    }
}

/// What runs the audits.
#[derive(Debug)]
pub struct Runner<'r> {
    /// The host they look at.
    pub host: &'r Host,
    /// Whether what is outside of the subset is given to `/bin/sh`.
    pub allow_shell: bool,
    /// What objects tell, for checks that name policies.
    pub manifests: Option<&'r Manifests>,
}

impl Runner<'_> {
    /// Runs the checks that are wanted. `programs` are those that stand in the text for variables: if it is one alone, its environment
    /// is where environment variables are looked for.
    pub fn run(&self, controls: &Controls, programs: &[String], detected: &str, filter: &Filter) -> ControlsReport {
        let mut report = ControlsReport {
            id: controls.id.clone(),
            version: controls.version.clone(),
            detected_version: detected.to_owned(),
            text: controls.text.clone(),
            node_type: controls.node_type.clone(),
            ..ControlsReport::default()
        };
        let mut groups: Vec<GroupReport> = Vec::new();
        for group in &controls.groups {
            for check in group.checks.iter().filter(|check| filter.wants(group, check)) {
                let mut check = check.clone();
                add_env_audit(&mut check, programs);
                if filter.skips(group, &check) {
                    "skip".clone_into(&mut check.kind);
                }
                let result = self.check(check);
                report.totals.count(result.status);
                // Groups of the same id are one.
                let at = groups.iter().position(|known| known.section == group.id).unwrap_or_else(|| {
                    groups.push(GroupReport {
                        section: group.id.clone(),
                        desc: group.text.clone(),
                        ..GroupReport::default()
                    });
                    groups.len() - 1
                });
                groups[at].count(result.status);
                groups[at].results.push(result);
            }
        }
        report.tests = Some(groups).filter(|groups| !groups.is_empty());
        report
    }

    fn check(&self, mut check: Check) -> CheckReport {
        let untested = |state: State, reason: &str| (state, reason.to_owned(), evaluate::Verdict::default());
        let unmet = if check.scored { State::Fail } else { State::Warn };
        let judged = self.judged(&check);
        if judged.is_some() {
            check.kind.clear();
        }
        let (status, reason, verdict) = match (check.kind.as_str(), &check.tests) {
            _ if let Some(verdict) = judged => {
                (if verdict.holds { State::Pass } else { unmet }, String::new(), verdict)
            }
            (kind, None) if check.scored && kind.trim().is_empty() => untested(State::Warn, "There are no tests"),
            ("skip", _) => untested(State::Info, "Test marked as skip"),
            ("manual", _) => untested(State::Warn, "Test marked as a manual test"),
            (_, Some(tests)) if !tests.items.is_empty() => match self.outputs(&check) {
                Ok(outputs) => {
                    let verdict = evaluate::evaluate(&check, &outputs);
                    (if verdict.holds { State::Pass } else { unmet }, String::new(), verdict)
                }
                Err(reason) => untested(unmet, &reason),
            },
            _ => untested(unmet, "No tests defined"),
        };
        CheckReport {
            test_number: check.id,
            test_desc: check.text,
            audit: check.audit,
            audit_env: check.audit_env,
            audit_config: check.audit_config,
            kind: check.kind,
            test_info: vec![check.remediation.clone()],
            remediation: check.remediation,
            status,
            actual_value: verdict.actual,
            scored: check.scored,
            is_multiple: check.multiple,
            expected_result: verdict.expected,
            reason,
        }
    }

    /// What objects tell about a check that is not skipped and names policies.
    fn judged(&self, check: &Check) -> Option<evaluate::Verdict> {
        if check.kind == "skip" {
            return None;
        }
        let failing = self.manifests?.failing(&check.policies)?;
        let expected = format!("no object fails {}", check.policies.join(" or "));
        Some(evaluate::Verdict { holds: failing.is_empty(), actual: failing.join("\n"), expected })
    }

    fn outputs(&self, check: &Check) -> Result<Outputs, String> {
        let env = self.audit(&check.audit_env)?;
        let audit = self.audit(&check.audit)?;
        let config = match self.audit(&check.audit_config) {
            // A missing file does not matter where something else was printed.
            Err(why)
                if (why.contains("exit status 127") || why.contains("No such file or directory"))
                    && !(env.is_empty() && audit.is_empty()) =>
            {
                String::new()
            }
            config => config?,
        };
        Ok(Outputs { audit, config, env })
    }

    /// What an audit prints, or why there is nothing to test.
    fn audit(&self, audit: &str) -> Result<String, String> {
        let audit = audit.trim();
        if audit.is_empty() {
            return Ok(String::new());
        }
        let outcome = match shell::run(audit, self.host) {
            Ok(outcome) => outcome,
            Err(Stop::Unsupported(_)) if self.allow_shell => self.by_shell(audit)?,
            Err(Stop::Unsupported(what)) => {
                return Err(format!("not run without a shell: {what}. With --allow-shell, /bin/sh runs it"));
            }
            Err(Stop::Limit(what)) => return Err(format!("failed to run: {}, {what}", go::quoted(audit))),
            Err(Stop::Exit(status)) => Outcome { output: String::new(), status },
            Err(Stop::Break | Stop::Continue) => Outcome { output: String::new(), status: 0 },
        };
        match outcome.status {
            0 => Ok(outcome.output),
            status => {
                let (audit, output) = (go::quoted(audit), go::quoted(&outcome.output));
                Err(format!("failed to run: {audit}, output: {output}, error: exit status {status}"))
            }
        }
    }

    fn by_shell(&self, audit: &str) -> Result<Outcome, String> {
        let finished = self.host.start("/bin/sh", &[], audit.as_bytes().to_vec(), self.host.deadline());
        let failed = |what: String| Err(format!("failed to run: {}, {what}", go::quoted(audit)));
        match finished {
            Ok(finished) => {
                let output = [finished.err, finished.out].concat();
                Ok(Outcome { output: String::from_utf8_lossy(&output).into_owned(), status: finished.status })
            }
            Err(Unfinished::NotFound) => failed("there is no /bin/sh".to_owned()),
            Err(Unfinished::NotStarted(error)) => failed(error.to_string()),
            Err(Unfinished::TooLong) => failed(format!("it took longer than {} s", self.host.limits.time.as_secs())),
            Err(Unfinished::TooMuch) => failed(format!("more than {} MiB of output", self.host.limits.output >> 20)),
        }
    }
}

/// A check for environment variables without a command of its own reads those of the program.
fn add_env_audit(check: &mut Check, programs: &[String]) {
    let wanted = check.tests.as_ref().is_some_and(|tests| tests.items.iter().any(|item| !item.env.is_empty()));
    if wanted && !check.no_env && check.audit_env.is_empty() {
        let program = if let [program] = programs { program } else { "" };
        check.audit_env = format!("cat \"/proc/$(/bin/ps -C {program} -o pid= | tr -d ' ')/environ\" | tr '\\0' '\\n'");
    }
}
