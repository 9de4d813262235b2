//! CIS benchmarks as kube-bench runs them (CIS): controls in its grammar, the user's own or the built-in ones, on this machine or on a
//! tree of files that was one. [`config`] knows components and versions, [`controls`] reads checks, [`shell`] runs their audits without
//! a shell, [`evaluate`] tests what they print, [`runner`] comes to states, [`report`] writes them.

pub mod config;
pub mod controls;
pub mod detect;
pub mod evaluate;
pub mod host;
pub mod manifests;
pub mod path;
pub mod pgsql;
pub mod processes;
pub mod report;
pub mod runner;
pub mod shell;
pub mod source;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use config::{Config, substitute};
use controls::{Controls, ControlsError};
use detect::Detected;
use host::Host;
use processes::processes;
use report::ControlsReport;
use runner::{Filter, Runner};
use source::Source;

/// The targets, in the order in which they are run.
pub const TARGETS: [&str; 6] = ["master", "controlplane", "etcd", "node", "policies", "managedservices"];

/// Why nothing was checked.
#[derive(Debug, thiserror::Error)]
pub enum CisError {
    /// A file of settings or controls is not what it should be.
    #[error(transparent)]
    Controls(#[from] ControlsError),
    /// A file cannot be read.
    #[error("{file}: {why}")]
    File {
        /// Which.
        file: String,
        /// Why.
        why: String,
    },
    /// The benchmark or the targets cannot be chosen so.
    #[error("{0}")]
    Choice(String),
}

/// What is to be checked.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// The benchmark's name.
    pub benchmark: Option<String>,
    /// The version of Kubernetes, which leads to a benchmark.
    pub version: Option<String>,
    /// The targets; empty: those whose components run here.
    pub targets: Vec<String>,
    /// The version that a live cluster says it has; this host may be none of its nodes.
    pub told: Option<String>,
}

/// A benchmark that was chosen, with its settings.
#[derive(Debug)]
pub struct Benchmark {
    /// Its name, that of its folder.
    pub name: String,
    /// What was found out of the version: `none` where it was said.
    pub detected: String,
    config: Config,
    targets: Vec<String>,
}

/// Chooses the benchmark and the targets.
///
/// # Errors
/// Where both or neither of benchmark and version can be had, or there is no such benchmark or target.
pub fn choose(source: &Source, choice: &Choice, host: &Host) -> Result<Benchmark, CisError> {
    let (file, text) = source.config()?;
    let mut config = Config::read(&file, &text)?;
    let (name, detected) = match (&choice.benchmark, &choice.version) {
        (Some(_), Some(_)) => {
            return Err(CisError::Choice(
                "--benchmark and --version are two ways to say the same; leave one out".to_owned(),
            ));
        }
        (Some(benchmark), None) => (benchmark.clone(), "none".to_owned()),
        (None, Some(version)) => (mapped(&config, version)?, "none".to_owned()),
        (None, None) => {
            let told = choice.told.as_deref().and_then(Detected::read);
            let found = told.or_else(|| detect::detect(host)).ok_or_else(|| {
                let words = "the version of Kubernetes cannot be told from kubectl, kubelet or the API server's manifest; say --version or --benchmark";
                CisError::Choice(words.to_owned())
            })?;
            match found.benchmark().and_then(|benchmark| of_provider(&config, benchmark)) {
                Some(benchmark) => (benchmark.clone(), benchmark),
                None => (mapped(&config, &found.version)?, found.version),
            }
        }
    };
    let Some(known) = config.targets(&name) else {
        let there = config.benchmarks().join(", ");
        return Err(CisError::Choice(format!(
            "{file}: `target_mapping` has no benchmark `{name}`; there are: {there}"
        )));
    };
    if let Some((file, text)) = source.file(&name, "config.yaml")? {
        config.lay_over(Config::read(&file, &text)?);
    }
    let targets = if choice.targets.is_empty() {
        let running = processes(host);
        TARGETS
            .into_iter()
            .filter(|target| known.iter().any(|known| known == target))
            .filter(|target| match *target {
                "master" | "controlplane" => config.runs_here("master", &running),
                "etcd" => config.runs_here("etcd", &running),
                "node" if choice.told.is_some() => config.runs_here("node", &running),
                _ => true,
            })
            .map(str::to_owned)
            .collect()
    } else {
        let wanted: Vec<_> =
            choice.targets.iter().map(|target| target.to_lowercase().replace("worker", "node")).collect();
        if let Some(unknown) = wanted.iter().find(|target| !known.contains(target)) {
            let there = known.join(", ");
            return Err(CisError::Choice(format!(
                "the benchmark `{name}` has no target `{unknown}`; there are: {there}"
            )));
        }
        wanted
    };
    Ok(Benchmark { name, detected, config, targets })
}

/// The benchmark, or where there is none of that version the last one of the same provider.
fn of_provider(config: &Config, benchmark: &str) -> Option<String> {
    if config.targets(benchmark).is_some() {
        return Some(benchmark.to_owned());
    }
    let provider = benchmark.split('-').next().filter(|name| matches!(*name, "aks" | "eks" | "gke"))?;
    config.benchmarks().into_iter().rfind(|name| name.split('-').next() == Some(provider))
}

fn mapped(config: &Config, version: &str) -> Result<String, CisError> {
    config.benchmark(version).ok_or_else(|| {
        CisError::Choice(format!(
            "`version_mapping` has no benchmark for Kubernetes {version} or an older version; say --benchmark"
        ))
    })
}

impl Benchmark {
    /// A text of the settings, like `AWS_REGION`.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.config.text(key)
    }

    /// Reads the controls of a target, with what the variables stand for on this host; answers also the programs that were put in.
    ///
    /// # Errors
    /// Where there are none, or they are refused.
    pub fn controls(&self, source: &Source, target: &str, host: &Host) -> Result<(Controls, Vec<String>), CisError> {
        let name = format!("{target}.yaml");
        let (file, text) = source
            .file(&self.name, &name)?
            .ok_or_else(|| CisError::Choice(format!("the benchmark `{}` has no file {name}", self.name)))?;
        if !self.config.knows(target) {
            return Err(CisError::Choice(format!(
                "the settings have nothing about `{target}`, so {file} cannot be run"
            )));
        }
        let (text, programs) = substitute(&text, &self.config.variables(target, host));
        let controls = controls::read(&file, &text)?;
        if controls.node_type != target {
            let what = format!("`type: {}`: `{target}` is expected, as the file is called", controls.node_type);
            return Err(ControlsError { file, at: crate::model::Mark { line: 1, column: 1 }, what }.into());
        }
        Ok((controls, programs))
    }

    /// The policies that checks of its targets name.
    ///
    /// # Errors
    /// Where controls are refused.
    pub fn policies(&self, source: &Source, host: &Host) -> Result<BTreeSet<String>, CisError> {
        let mut named = BTreeSet::new();
        for target in &self.targets {
            let (controls, _) = self.controls(source, target, host)?;
            let checks = controls.groups.into_iter().flat_map(|group| group.checks);
            named.extend(checks.flat_map(|check| check.policies));
        }
        Ok(named)
    }

    /// Runs the checks of all targets, in the order of the controls' numbers.
    ///
    /// # Errors
    /// Where controls are refused; all are read before anything runs.
    pub fn run(&self, source: &Source, runner: &Runner<'_>, filter: &Filter) -> Result<Vec<ControlsReport>, CisError> {
        let read = |target: &String| self.controls(source, target, runner.host);
        let controls = self.targets.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let run =
            |(controls, programs): &(Controls, Vec<String>)| runner.run(controls, programs, &self.detected, filter);
        let mut reports: Vec<_> = controls.iter().map(run).collect();
        reports.sort_by_key(|report| report.id.parse::<i64>().unwrap_or(0));
        Ok(reports)
    }
}
