//! `config.yaml`: which programs and files a component may have, which benchmark goes with which version of Kubernetes, and which
//! targets a benchmark has. A benchmark's own `config.yaml` is laid over that of the folder. Keys are read without regard to case.

use serde_json::{Map, Value};

use super::controls::ControlsError;
use super::host::Host;
use super::processes::{Process, processes};
use crate::model::{self, Limits, Mark, Syntax};

/// The settings of a folder of controls.
#[derive(Debug, Clone, Default)]
pub struct Config(Map<String, Value>);

/// A variable of controls and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// `$apiserverbin`
    pub name: String,
    /// `kube-apiserver`
    pub value: String,
    /// Whether it is a program.
    pub program: bool,
}

/// Endings of variables of files, and the keys that a component has their candidates and their default under.
const FILES: [(&str, &str, &str); 5] = [
    ("conf", "confs", "defaultconf"),
    ("svc", "svc", "defaultsvc"),
    ("kubeconfig", "kubeconfig", "defaultkubeconfig"),
    ("cafile", "cafile", "defaultcafile"),
    ("datadir", "datadirs", "defaultdatadir"),
];

impl Config {
    /// Reads a file; an empty one has no settings.
    ///
    /// # Errors
    /// Where it is no YAML or no mapping.
    pub fn read(file: &str, text: &str) -> Result<Self, ControlsError> {
        let refuse = |at, what: String| ControlsError { file: file.to_owned(), at, what };
        let mut settings = Value::Null;
        let mut seen = false;
        let result = model::read(text, Syntax::Yaml, &Limits::default(), &mut |document| {
            if let Some(root) = document.root().filter(|_| !seen) {
                seen = true;
                settings = lowered(document.to_json(root));
            }
        });
        result.map_err(|error| refuse(error.at, error.what))?;
        match settings {
            Value::Object(settings) => Ok(Self(settings)),
            Value::Null => Ok(Self::default()),
            _ => Err(refuse(Mark { line: 1, column: 1 }, "a mapping of settings is expected".to_owned())),
        }
    }

    /// Lays other settings over these: mappings are merged, everything else is replaced.
    pub fn lay_over(&mut self, other: Self) {
        merge(&mut self.0, other.0);
    }

    /// A text on its own, like `AWS_REGION`.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(&key.to_lowercase())?.as_str()
    }

    /// The benchmark for a version of Kubernetes: its own, else that of the nearest older version.
    pub fn benchmark(&self, version: &str) -> Option<String> {
        let mapping = self.0.get("version_mapping")?.as_object()?;
        let mut version = version.trim().to_lowercase();
        loop {
            if let Some(benchmark) = mapping.get(&version).and_then(Value::as_str) {
                return Some(benchmark.to_owned());
            }
            let mut parts: Vec<_> = version.split('.').map(str::to_owned).collect();
            let minor = parts.get(1)?.parse::<u32>().ok().filter(|minor| *minor > 1)?;
            parts[1] = (minor - 1).to_string();
            version = parts.join(".");
        }
    }

    /// The targets of a benchmark; `None` where there are none said.
    pub fn targets(&self, benchmark: &str) -> Option<Vec<String>> {
        self.0.get("target_mapping")?.get(benchmark.to_lowercase()).map(texts)
    }

    /// The benchmarks that have targets.
    pub fn benchmarks(&self) -> Vec<String> {
        let mapping = self.0.get("target_mapping").and_then(Value::as_object);
        mapping.map(|mapping| mapping.keys().cloned().collect()).unwrap_or_default()
    }

    /// Whether there are settings for a target.
    pub fn knows(&self, target: &str) -> bool {
        self.0.get(target).is_some_and(Value::is_object)
    }

    fn components(&self, target: &str) -> Vec<(String, &Value)> {
        let Some(target) = self.0.get(target) else { return Vec::new() };
        let names = target.get("components").map(texts).unwrap_or_default();
        names.into_iter().filter_map(|name| Some((name.clone(), target.get(name.to_lowercase())?))).collect()
    }

    /// The running program of each component.
    ///
    /// # Errors
    /// The component that has to run and does not.
    pub fn programs(&self, target: &str, running: &[Process]) -> Result<Vec<(String, String)>, String> {
        let mut programs = Vec::new();
        for (component, settings) in self.components(target) {
            let candidates = settings.get("bins").map(texts).unwrap_or_default();
            if candidates.is_empty() {
                continue;
            }
            let found = candidates.iter().find(|candidate| runs(candidate, running));
            let optional = settings.get("optional").and_then(Value::as_bool).unwrap_or(false);
            match found {
                Some(found) => programs.push((component, found.clone())),
                None if optional => programs.push((component.clone(), component)),
                None => return Err(component),
            }
        }
        Ok(programs)
    }

    /// Whether the components of a target run here.
    pub fn runs_here(&self, target: &str, running: &[Process]) -> bool {
        self.programs(target, running).is_ok_and(|programs| !programs.is_empty())
    }

    /// What the variables of a target's controls stand for on this host. Programs have none where one that has to run does not.
    pub fn variables(&self, target: &str, host: &Host) -> Vec<Variable> {
        let programs = self.programs(target, &processes(host)).unwrap_or_default();
        let mut variables: Vec<_> = programs
            .into_iter()
            .map(|(component, value)| Variable { name: format!("${component}bin"), value, program: true })
            .collect();
        for (ending, candidates, default) in FILES {
            for (component, settings) in self.components(target) {
                let candidates = settings.get(candidates).map(texts).unwrap_or_default();
                let found = candidates.into_iter().find(|candidate| host.exists(candidate));
                let value = found.or_else(|| settings.get(default).and_then(Value::as_str).map(str::to_owned));
                let name = format!("${component}{ending}");
                variables.push(Variable { name, value: value.unwrap_or(component), program: false });
            }
        }
        // A name that begins another is put in after it.
        variables.sort_by_key(|variable| (!variable.program, std::cmp::Reverse(variable.name.len())));
        variables
    }
}

/// Puts variables into the text of controls; answers also the programs that were put in.
pub fn substitute(text: &str, variables: &[Variable]) -> (String, Vec<String>) {
    let mut text = text.to_owned();
    let mut programs = Vec::new();
    for variable in variables.iter().filter(|variable| !variable.value.is_empty()) {
        if !text.contains(&variable.name) {
            continue;
        }
        let several = variable.value.split_whitespace().count() > 1;
        let value = if several { format!("'{}'", variable.value) } else { variable.value.clone() };
        text = text.replace(&variable.name, &value);
        if variable.program {
            programs.push(variable.value.clone());
        }
    }
    (text, programs)
}

/// Whether a program runs: a process is called like its first word, and its command line begins with all of it, a folder before it aside.
fn runs(candidate: &str, running: &[Process]) -> bool {
    let candidate = candidate.trim_matches(['\'', '"']);
    let Some(name) = candidate.split_whitespace().next() else { return false };
    running.iter().filter(|process| process.is_called(name)).any(|process| {
        let command = process.command();
        let program = command.split_whitespace().next().unwrap_or_default();
        let folder = program.rfind('/').map_or(0, |slash| slash + 1);
        command.starts_with(candidate) || command[folder..].starts_with(candidate)
    })
}

/// A list of texts; a text alone is taken apart at blanks.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
        }
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn lowered(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key.to_lowercase(), lowered(value))).collect(),
        other => other,
    }
}

fn merge(under: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Object(under)), Value::Object(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
master:
  components: [apiserver, scheduler]
  APIServer: {bins: [kube-apiserver, hyperkube apiserver], confs: [/a], defaultconf: /b}
  scheduler: {optional: true, bins: kube-scheduler}
version_mapping: {'1.20': cis-1.20, '1.23': cis-1.23, eks-1.7.0: eks-1.7.0}
target_mapping: {cis-1.23: [master, node]}
";

    fn process(name: &str, command: &str) -> Process {
        let arguments = command.split(' ').map(str::to_owned).collect();
        Process {
            pid: 1,
            parent: 0,
            uid: 0,
            name: name.to_owned(),
            arguments,
            terminal: "?".to_owned(),
            worked: 0,
            started: None,
        }
    }

    #[test]
    fn versions_lead_to_the_nearest_older_benchmark() {
        let config = Config::read("config.yaml", TEXT).expect("settings");
        for (version, benchmark) in [
            ("1.23", Some("cis-1.23")),
            ("1.22", Some("cis-1.20")),
            ("1.40", Some("cis-1.23")),
            ("1.19", None),
            ("EKS-1.7.0", Some("eks-1.7.0")),
            ("nonsense", None),
        ] {
            assert_eq!(config.benchmark(version).as_deref(), benchmark, "{version}");
        }
        assert_eq!(config.targets("cis-1.23"), Some(vec!["master".to_owned(), "node".to_owned()]));
        assert_eq!(config.targets("cis-1.20"), None);
    }

    #[test]
    fn the_first_candidate_that_runs_is_the_program() {
        let config = Config::read("config.yaml", TEXT).expect("settings");
        let running = [process("hyperkube", "/usr/bin/hyperkube apiserver --x")];
        let programs = config.programs("master", &running).expect("it runs");
        assert_eq!(programs[0], ("apiserver".to_owned(), "hyperkube apiserver".to_owned()));
        assert_eq!(programs[1], ("scheduler".to_owned(), "scheduler".to_owned()), "optional, and does not run");
        assert_eq!(config.programs("master", &[process("kubelet", "kubelet")]), Err("apiserver".to_owned()));
        assert!(!config.runs_here("master", &[]) && !config.runs_here("node", &running));
    }

    #[test]
    fn a_benchmarks_settings_are_laid_over() {
        let mut config = Config::read("config.yaml", TEXT).expect("settings");
        config.lay_over(
            Config::read("b", "master: {apiserver: {bins: [other]}}\nAWS_REGION: eu-west-1").expect("settings"),
        );
        let programs = config.programs("master", &[process("other", "other")]).expect("it runs");
        assert_eq!(programs[0].1, "other");
        assert_eq!(config.text("AWS_REGION"), Some("eu-west-1"));
        assert_eq!(config.benchmark("1.23").as_deref(), Some("cis-1.23"));
        assert!(Config::read("c", "[a]").is_err_and(|error| error.to_string().contains("c:1:1")));
    }

    #[test]
    fn variables_are_put_into_the_text() {
        let variable =
            |name: &str, value: &str| Variable { name: name.to_owned(), value: value.to_owned(), program: true };
        let variables = [variable("$apiserverbin", "hyperkube apiserver"), variable("$etcdbin", "etcd")];
        let (text, programs) = substitute("ps | grep $apiserverbin; echo $other", &variables);
        assert_eq!(text, "ps | grep 'hyperkube apiserver'; echo $other");
        assert_eq!(programs, ["hyperkube apiserver"]);
    }
}
