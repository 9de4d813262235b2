//! What the self-test found: for people as lines, for programs as an object with `items`.

use std::fmt;

use serde::Serialize;

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub check: &'static str,
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// What to do about it; empty where all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub items: Vec<Check>,
}

impl Report {
    pub fn pass(&mut self, check: &'static str, detail: &str) {
        self.items.push(Check { check, ok: true, detail: detail.to_owned(), advice: String::new() });
    }

    pub fn fail(&mut self, check: &'static str, detail: &str, advice: &str) {
        self.items.push(Check { check, ok: false, detail: detail.to_owned(), advice: advice.to_owned() });
    }

    /// Could not be tried, because of something above it.
    pub fn skip(&mut self, check: &'static str, why: &str) {
        self.fail(check, why, "");
    }

    pub fn passed(&self, check: &str) -> bool {
        self.items.iter().any(|item| item.check == check && item.ok)
    }

    /// Everything works.
    pub fn ok(&self) -> bool {
        !self.items.is_empty() && self.items.iter().all(|item| item.ok)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.items.iter().map(|item| item.check.len()).max().unwrap_or(0);
        for item in &self.items {
            let word = if item.ok { "works" } else { "FAILS" };
            writeln!(f, "  {word}  {:width$}  {}", item.check, item.detail)?;
            if !item.advice.is_empty() {
                writeln!(f, "         {:width$}  -> {}", "", item.advice)?;
            }
        }
        let failed = self.items.iter().filter(|item| !item.ok).count();
        match failed {
            0 => write!(f, "Everything works."),
            1 => write!(f, "One thing does not work."),
            n => write!(f, "{n} things do not work."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_works_and_what_to_do_about_what_does_not() {
        let mut report = Report::default();
        assert!(!report.ok(), "nothing tried is nothing proven");
        report.pass("call", "rang");
        assert!(report.ok() && report.passed("call"));
        report.fail("audio to the caller", "nothing arrives", "open the ports");
        assert!(!report.ok());
        assert_eq!(
            report.to_string(),
            "  works  call                 rang\n  FAILS  audio to the caller  nothing arrives\n         \
                                  \u{20}                    -> open the ports\nOne thing does not work."
        );
    }
}
