//! `ringfort audit --cluster --watch`: findings as they come and go, a line each. What is seen of the cluster comes from
//! `crate::cluster`; what it changes is worked out here, object by object, without a clock or the network.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Baseline, CLEAN, COULD_NOT_RUN, CommandError, FINDINGS, Options, chosen, read_baseline, suppressions};
use crate::cluster::{self, Seen};
use crate::output::Format;
use crate::policy::{Catalogue, PolicyIndex};
use crate::scan::input::{Input, Source};
use crate::scan::suppress::{Date, Suppressions};
use crate::scan::{Finding, Settings, Status, scan};

/// Watches the cluster of the options until `stop` comes, and writes each change. `now` says the time (RFC 3339). The exit code is
/// that of what there is at the end.
///
/// # Errors
/// The options do not fit a watch, the cluster cannot be asked, or a report cannot be written.
pub fn watch(
    options: &Options,
    stdout: &mut dyn Write,
    now: &dyn Fn() -> String,
    stop: impl Future<Output = ()>,
) -> Result<u8, CommandError> {
    let Some(wanted) = options.cluster.as_ref().filter(|_| options.paths.is_empty()) else {
        return Err(CommandError::Options("--watch watches a cluster, no files".to_owned()));
    };
    if options.view.is_some() || options.fix.is_some() || options.all || options.write_baseline.is_some() {
        return Err(CommandError::Options(
            "--watch goes with none of --view, --fix, --all, --write-baseline".to_owned(),
        ));
    }
    let mut outputs = Outputs::open(options, stdout)?;
    let catalogue = chosen(options)?;
    let suppressions = suppressions(options)?;
    let baseline = read_baseline(options)?;
    let mut watched = Watched::new(options, &catalogue, &suppressions, baseline.as_ref());
    let mut failed = None;
    cluster::watch(wanted, stop, &mut |seen| {
        let time = now();
        for line in watched.seen(seen, &time) {
            if let Err(error) = outputs.write(&line, &time, &catalogue) {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    match failed {
        // A reader that went away (`| head`) has what it wanted.
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(watched.exit_code()),
        Some(error) => Err(error.into()),
        None => Ok(watched.exit_code()),
    }
}

/// What a line of the report says.
#[derive(Debug, PartialEq)]
enum Line {
    Appeared(Found),
    Gone(Found),
    Gap { place: String, why: String },
    Mended { place: String },
    Settled { findings: usize, objects: usize, lists: usize },
}

/// A finding that fails.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    list: Arc<str>,
    policy: PolicyIndex,
    resource: Arc<str>,
    container: Option<Box<str>>,
    json_path: Box<str>,
}

/// An object: its list and name.
type Key = (Arc<str>, String);

/// What has been found and is there still.
struct Watched<'w> {
    options: &'w Options,
    catalogue: &'w Catalogue,
    suppressions: &'w Suppressions,
    baseline: Option<&'w Baseline>,
    /// By fingerprint; objects without findings have their place too.
    objects: BTreeMap<Key, BTreeMap<String, Found>>,
    /// Lists that are not read (with an empty name) and objects that were not judged to their end.
    gaps: BTreeMap<Key, String>,
}

impl<'w> Watched<'w> {
    fn new(
        options: &'w Options,
        catalogue: &'w Catalogue,
        suppressions: &'w Suppressions,
        baseline: Option<&'w Baseline>,
    ) -> Self {
        Self { options, catalogue, suppressions, baseline, objects: BTreeMap::new(), gaps: BTreeMap::new() }
    }

    fn seen(&mut self, seen: Seen, time: &str) -> Vec<Line> {
        match seen {
            Seen::Object { list, name, text } => {
                let (found, gap) = self.judge(&list, text, time);
                self.change((list, name), Some(found), gap)
            }
            Seen::Gone { list, name } => self.change((list, name), None, None),
            Seen::Gap { list, why } => {
                self.gaps.insert((list.clone(), String::new()), why.clone());
                vec![Line::Gap { place: list.to_string(), why }]
            }
            Seen::Mended { list } => {
                let place = list.to_string();
                self.gaps.remove(&(list, String::new()));
                vec![Line::Mended { place }]
            }
            Seen::Settled { lists } => {
                let findings = self.objects.values().map(BTreeMap::len).sum();
                vec![Line::Settled { findings, objects: self.objects.len(), lists }]
            }
        }
    }

    /// What fails of an object, and why it was not judged to its end, if so.
    fn judge(&self, list: &Arc<str>, text: String, time: &str) -> (BTreeMap<String, Found>, Option<String>) {
        let settings = Settings {
            catalogue: self.catalogue,
            limits: self.options.limits,
            passes: false,
            suppressions: self.suppressions,
            today: today(time).unwrap_or(self.options.today),
            threads: 1,
        };
        let input = Input { name: list.to_string(), source: Source::Bytes(text.into_bytes()) };
        let mut report = scan(&[input], &settings);
        if let Some(baseline) = self.baseline {
            baseline.apply(&mut report, self.catalogue);
        }
        let found = |finding: &Finding| Found {
            list: list.clone(),
            policy: finding.policy,
            resource: finding.resource.clone(),
            container: finding.container.clone(),
            json_path: finding.json_path.clone(),
        };
        let fingerprints = report.fingerprints(self.catalogue);
        let fails = report.findings.iter().zip(fingerprints).filter(|(finding, _)| finding.status == Status::Failed);
        let gap = report.ledger.gaps().next().map(|entry| entry.outcome.to_string());
        (fails.map(|(finding, print)| (print, found(finding))).collect(), gap)
    }

    /// Puts what is found of an object in the place of what was; `None`: the object has gone.
    fn change(&mut self, key: Key, found: Option<BTreeMap<String, Found>>, gap: Option<String>) -> Vec<Line> {
        let before = self.objects.remove(&key).unwrap_or_default();
        let now = found.as_ref();
        let is_now = |print: &String| now.is_some_and(|now| now.contains_key(print));
        let gone = before.iter().filter(|(print, _)| !is_now(print));
        let mut lines: Vec<Line> = gone.map(|(_, found)| Line::Gone(found.clone())).collect();
        let appeared = now.into_iter().flatten().filter(|(print, _)| !before.contains_key(*print));
        lines.extend(appeared.map(|(_, found)| Line::Appeared(found.clone())));
        let place = || format!("{} {}", key.0, key.1);
        match gap {
            Some(why) => {
                lines.push(Line::Gap { place: place(), why: why.clone() });
                self.gaps.insert(key.clone(), why);
            }
            None => {
                if self.gaps.remove(&key).is_some() {
                    lines.push(Line::Mended { place: place() });
                }
            }
        }
        if let Some(found) = found {
            self.objects.insert(key, found);
        }
        lines
    }

    fn exit_code(&self) -> u8 {
        if self.options.strict && !self.gaps.is_empty() {
            return COULD_NOT_RUN;
        }
        let mut all = self.objects.values().flat_map(BTreeMap::values);
        let is_over = |found: &Found| self.catalogue.get(found.policy).is_at_least(self.options.fail_on);
        if !self.options.soft_fail && all.any(is_over) { FINDINGS } else { CLEAN }
    }
}

/// The day of a time.
fn today(time: &str) -> Option<Date> {
    time.get(..10)?.parse().ok()
}

impl Line {
    fn to_text(&self, time: &str, catalogue: &Catalogue) -> String {
        let found = |sign: char, found: &Found| {
            let policy = catalogue.get(found.policy);
            let mut text = format!("{time}  {sign}  {:<8}  {}  {}", policy.severity.name(), policy.id, found.resource);
            if let Some(container) = &found.container {
                let _ = write!(text, " container {container}");
            }
            let _ = write!(text, "  {}", policy.name);
            text
        };
        match self {
            Self::Appeared(finding) => found('+', finding),
            Self::Gone(finding) => found('-', finding),
            Self::Gap { place, why } => format!("{time}  !  {place}: {why}"),
            Self::Mended { place } => format!("{time}  =  {place}: read again"),
            Self::Settled { findings, objects, lists } => {
                format!("{time}  =  lists watched: {lists}; objects: {objects}; findings: {findings}")
            }
        }
    }

    fn to_json(&self, time: &str, catalogue: &Catalogue) -> Value {
        let found = |change: &str, found: &Found| {
            let policy = catalogue.get(found.policy);
            let mut line = json!({
                "time": time, "change": change, "policy": policy.id, "aliases": policy.aliases, "name": policy.name,
                "severity": policy.severity.name(), "category": policy.category, "message": policy.message,
                "remediation": policy.remediation, "file": &*found.list, "path": &*found.json_path, "resource": &*found.resource,
            });
            if let Some(container) = &found.container {
                line["container"] = (**container).into();
            }
            line
        };
        match self {
            Self::Appeared(finding) => found("appeared", finding),
            Self::Gone(finding) => found("gone", finding),
            Self::Gap { place, why } => json!({ "time": time, "change": "gap", "file": place, "reason": why }),
            Self::Mended { place } => json!({ "time": time, "change": "mended", "file": place }),
            Self::Settled { findings, objects, lists } => json!({
                "time": time, "change": "settled", "findings": findings, "objects": objects, "lists": lists,
            }),
        }
    }
}

/// Where lines go; each is there at once.
struct Outputs<'o> {
    outputs: Vec<(Format, Box<dyn Write + 'o>)>,
}

impl<'o> Outputs<'o> {
    fn open(options: &'o Options, stdout: &'o mut dyn Write) -> Result<Self, CommandError> {
        let mut stdout = Some(stdout);
        let table = [(Format::Table, None)];
        let mut outputs: Vec<(Format, Box<dyn Write + 'o>)> = Vec::new();
        for (format, file) in if options.outputs.is_empty() { &table[..] } else { &options.outputs } {
            if !matches!(format, Format::Table | Format::Json) {
                let words = format!("--watch writes lines as table or json, not {}", format.name());
                return Err(CommandError::Options(words));
            }
            let out: Box<dyn Write + 'o> = match (file, stdout.take()) {
                (Some(path), left) => {
                    stdout = left;
                    let made = std::fs::File::create(path);
                    Box::new(made.map_err(|error| CommandError::File { path: path.display().to_string(), error })?)
                }
                (None, Some(out)) => Box::new(out),
                (None, None) => {
                    return Err(CommandError::Options("only one format can go to standard output".to_owned()));
                }
            };
            outputs.push((*format, out));
        }
        Ok(Self { outputs })
    }

    fn write(&mut self, line: &Line, time: &str, catalogue: &Catalogue) -> io::Result<()> {
        for (format, out) in &mut self.outputs {
            let is_json = *format == Format::Json;
            let text = if is_json { line.to_json(time, catalogue).to_string() } else { line.to_text(time, catalogue) };
            out.write_all(format!("{text}\n").as_bytes())?;
            out.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-25T10:00:00Z";

    fn pod(spec: &str) -> Seen {
        let text = format!(
            "{{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{{\"name\":\"a\",\"namespace\":\"shop\"}},\"spec\":{spec}}}"
        );
        Seen::Object { list: Arc::from("kube://test/api/v1/pods"), name: "shop/a".to_owned(), text }
    }

    /// The signs and policies of the lines.
    fn told(lines: &[Line], catalogue: &Catalogue) -> Vec<String> {
        let text = |line: &Line| line.to_text(TIME, catalogue);
        let words = |text: String| {
            text.split("  ").skip(1).filter(|word| !word.trim().is_empty()).take(3).collect::<Vec<_>>().join(" ")
        };
        lines.iter().map(text).map(words).collect()
    }

    fn two_policies() -> Catalogue {
        // Shared process namespaces, and privileged containers.
        Catalogue::built_in().filtered(|policy| ["RF-K8S-0003", "RF-K8S-0001"].contains(&policy.id.as_str()))
    }

    #[test]
    fn findings_come_and_go_with_their_objects() {
        let options = Options::new(Vec::new(), "2026-11-25".parse().expect("a day"));
        let (catalogue, suppressions) = (two_policies(), Suppressions::default());
        let mut watched = Watched::new(&options, &catalogue, &suppressions, None);
        let privileged =
            r#"{"hostPID":true,"containers":[{"name":"c","image":"i","securityContext":{"privileged":true}}]}"#;
        let lines = watched.seen(pod(privileged), TIME);
        assert_eq!(told(&lines, &catalogue), ["+ critical RF-K8S-0001", "+ high RF-K8S-0003"]);
        let line = lines[0].to_json(TIME, &catalogue);
        assert_eq!(
            (&line["change"], &line["resource"], &line["container"]),
            (&"appeared".into(), &"Pod/shop/a".into(), &"c".into())
        );
        assert_eq!(watched.exit_code(), FINDINGS);
        // The same findings in another place are no news.
        assert_eq!(watched.seen(pod(&privileged.replace("\"c\",", "\"c\",\"tty\":true,")), TIME), []);
        let lines = watched.seen(pod(r#"{"hostPID":true,"containers":[{"name":"c","image":"i"}]}"#), TIME);
        assert_eq!(told(&lines, &catalogue), ["- critical RF-K8S-0001"]);
        let settled = watched.seen(Seen::Settled { lists: 1 }, TIME);
        assert_eq!(settled, [Line::Settled { findings: 1, objects: 1, lists: 1 }]);
        let gone = Seen::Gone { list: Arc::from("kube://test/api/v1/pods"), name: "shop/a".to_owned() };
        assert_eq!(told(&watched.seen(gone, TIME), &catalogue), ["- high RF-K8S-0003"]);
        assert_eq!(watched.exit_code(), CLEAN);
    }

    #[test]
    fn gaps_count_for_strict_until_they_are_mended() {
        let mut options = Options::new(Vec::new(), "2026-11-25".parse().expect("a day"));
        options.strict = true;
        // Too little for a pod with containers.
        options.limits.depth = 2;
        let (catalogue, suppressions) = (two_policies(), Suppressions::default());
        let mut watched = Watched::new(&options, &catalogue, &suppressions, None);
        let list: Arc<str> = Arc::from("kube://test/api/v1/pods");
        watched.seen(Seen::Gap { list: list.clone(), why: "403: no".to_owned() }, TIME);
        assert_eq!(watched.exit_code(), COULD_NOT_RUN);
        watched.seen(Seen::Mended { list: list.clone() }, TIME);
        assert_eq!(watched.exit_code(), CLEAN);
        let lines = watched.seen(pod(r#"{"containers":[{"name":"c","image":"i"}]}"#), TIME);
        assert!(
            matches!(&lines[..], [Line::Gap { place, .. }] if place == "kube://test/api/v1/pods shop/a"),
            "{lines:?}"
        );
        assert_eq!(watched.exit_code(), COULD_NOT_RUN);
        let lines = watched.seen(Seen::Gone { list, name: "shop/a".to_owned() }, TIME);
        assert!(matches!(&lines[..], [Line::Mended { .. }]) && watched.exit_code() == CLEAN, "{lines:?}");
    }

    #[test]
    fn a_suppression_ends_with_its_day() {
        let options = Options::new(Vec::new(), "2026-11-25".parse().expect("a day"));
        let text = "suppressions:\n  - {policy: RF-K8S-0003, reason: r, owner: o, expires: 2026-11-30}\n";
        let suppressions = Suppressions::parse("s", text).expect("it is good");
        let catalogue = two_policies();
        let mut watched = Watched::new(&options, &catalogue, &suppressions, None);
        let spec = r#"{"hostPID":true,"containers":[{"name":"c","image":"i"}]}"#;
        assert_eq!(watched.seen(pod(spec), TIME), []);
        let lines = watched.seen(pod(spec), "2026-12-01T00:00:00Z");
        assert_eq!(told(&lines, &catalogue), ["+ high RF-K8S-0003"]);
    }
}
