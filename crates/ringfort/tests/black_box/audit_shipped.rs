//! What is shipped around the scanner, run for real: charts rendered by helm, kustomizations by kubectl, the hooks by pre-commit, and the
//! script of the GitHub Action with the environment that a runner gives it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{PROGRAM, Place, path_with, text};

const BAD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\nspec: {hostPID: true, containers: []}\n";
const GOOD: &str =
    "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, namespace: shop}\nautomountServiceAccountToken: false\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn file(place: &Place, name: &str, content: &str) {
    let path = place.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// A path on which `ringfort` is the program of these tests.
fn with_ringfort(place: &Place, path: &OsString) -> OsString {
    let bin = place.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink(PROGRAM, bin.join("ringfort")).unwrap();
    std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(path))).unwrap()
}

const CHART: [(&str, &str); 6] = [
    ("chart/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.2.3\ndependencies: [{name: inner, version: 0.1.0}]\n"),
    ("chart/values.yaml", "privileged: true\nreplicas: 2\ninner: {hostNetwork: true}\n"),
    ("chart/templates/_helpers.tpl", "{{- define \"shop.name\" -}}{{ .Release.Name }}-{{ .Chart.Name }}{{- end }}\n"),
    (
        "chart/templates/web.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ include \"shop.name\" . }}\nspec:\n  replicas: {{ .Values.replicas }}\n  \
         selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers:\n        - name: web\n          \
         image: registry.example/web:1\n          {{- if .Values.privileged }}\n          securityContext:\n            privileged: true\n          {{- end }}\n",
    ),
    ("chart/charts/inner/Chart.yaml", "apiVersion: v2\nname: inner\nversion: 0.1.0\n"),
    (
        "chart/charts/inner/templates/pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: \"{{ .Release.Name }}-inner\"}\nspec:\n  hostNetwork: {{ .Values.hostNetwork }}\n  \
         containers: [{name: c, image: i}]\n",
    ),
];

/// The real helm: values, helpers, a chart within the chart; and a chart that it does not like.
#[test]
fn charts_are_rendered_by_the_real_helm() {
    let Some(path) = path_with(&["helm"]) else { return };
    let place = Place::new();
    CHART.iter().for_each(|(name, content)| file(&place, name, content));
    file(&place, "broken/Chart.yaml", "apiVersion: v2\nname: broken\nversion: 1.0.0\n");
    file(&place, "broken/templates/a.yaml", "{{ include \"nowhere\" . }}\n");
    let audit = |line: &str| -> (Option<i32>, Value) {
        let output = place.command(line).env("PATH", &path).output().unwrap();
        let report = serde_json::from_slice(&output.stdout);
        (output.status.code(), report.unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr))))
    };
    let (code, report) = audit("audit chart broken --render --only RF-K8S-0001,RF-K8S-0002 -o json");
    assert_eq!(code, Some(1));
    let findings = report["findings"].as_array().unwrap().iter();
    let mut found: Vec<_> =
        findings.map(|finding| (finding["policy"].as_str(), finding["resource"].as_str())).collect();
    found.sort_unstable();
    assert_eq!(found[0], (Some("RF-K8S-0001"), Some("Deployment/release-shop")), "{report}");
    assert!(found.iter().any(|(_, resource)| *resource == Some("Pod/release-inner")), "{found:?}");
    assert!(report["findings"].as_array().unwrap().iter().all(|finding| finding["file"] == "chart (helm template)"));
    let ledger = report["ledger"].as_array().unwrap();
    let broken = ledger.iter().find(|line| line["path"] == "broken (helm template)").unwrap();
    assert!(broken["reason"].as_str().is_some_and(|why| why.contains("nowhere")), "{broken}");
    // The same by hand: what helm prints is read from standard input, and mended.
    let mut helm = Command::new("helm");
    let rendered =
        helm.args(["template", "release", "chart"]).current_dir(place.path()).env("PATH", &path).output().unwrap();
    assert!(rendered.status.success(), "{}", text(&rendered.stderr));
    let mut command = place.command("audit - --fix --only RF-K8S-0001");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &rendered.stdout).unwrap();
    let mended = child.wait_with_output().unwrap();
    assert!(mended.status.success() && text(&mended.stdout).contains("privileged: false"), "{}", text(&mended.stderr));
}

/// The hooks, by the real pre-commit, from a repository as it would be cloned.
#[test]
fn pre_commit_runs_the_hooks() {
    let Some(path) = path_with(&["pre-commit", "git"]) else { return };
    let place = Place::new();
    let path = with_ringfort(&place, &path);
    let run = |folder: &str, program: &str, words: &[&str]| -> Output {
        let mut command = Command::new(program);
        command.args(words).current_dir(place.path().join(folder)).env("PATH", &path).env("HOME", place.path());
        command.env("PRE_COMMIT_HOME", place.path().join("cache")).env("GIT_CONFIG_NOSYSTEM", "1").env("NO_COLOR", "1");
        for variable in ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"] {
            command.env_remove(variable);
        }
        command.output().unwrap()
    };
    let git = |folder: &str, words: &[&str]| {
        let identity = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"];
        let output = run(folder, "git", &[&identity, words].concat());
        assert!(output.status.success(), "git {words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let hooks = std::fs::read_to_string(root().join(".pre-commit-hooks.yaml")).unwrap();
    file(&place, "hooks/.pre-commit-hooks.yaml", &hooks);
    git("hooks", &["init", "-q"]);
    git("hooks", &["add", "."]);
    git("hooks", &["commit", "-q", "-m", "hooks"]);
    let revision = git("hooks", &["rev-parse", "HEAD"]);
    let config = format!(
        "repos:\n  - repo: {}\n    rev: {}\n    hooks:\n      - {{id: ringfort-audit, args: [--only, RF-K8S-0003]}}\n      \
         - {{id: ringfort-audit-all, args: [., --only, RF-K8S-0003, -o, csv]}}\n",
        place.path().join("hooks").display(),
        revision.trim()
    );
    file(&place, "site/.pre-commit-config.yaml", &config);
    file(&place, "site/deploy/pod.yaml", BAD);
    file(&place, "site/README.md", "words\n");
    git("site", &["init", "-q"]);
    git("site", &["add", "."]);
    let output = run("site", "pre-commit", &["run"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}{}", text(&output.stderr));
    assert_eq!(said.matches("- exit code: 1").count(), 2, "both hooks fail: {said}");
    assert!(said.contains("deploy/pod.yaml\n  Pod/shop/a\n") && said.contains("failed,high,RF-K8S-0003,"), "{said}");
    file(&place, "site/deploy/pod.yaml", GOOD);
    git("site", &["add", "."]);
    let output = run("site", "pre-commit", &["run"]);
    assert!(output.status.success(), "{}", text(&output.stdout));
    // What it cannot read stops a commit too.
    file(&place, "site/deploy/pod.yaml", "a: [\n");
    git("site", &["add", "."]);
    let output = run("site", "pre-commit", &["run", "ringfort-audit"]);
    assert!(text(&output.stdout).contains("- exit code: 2"), "{}", text(&output.stdout));
}

/// The steps of action.yml as a runner does them: expressions put in, the script run by bash, files for output and summary.
#[test]
fn the_github_action_scans_and_leaves_what_a_workflow_goes_on_with() {
    let place = Place::new();
    let path = with_ringfort(&place, &std::env::var_os("PATH").unwrap());
    file(&place, "site/my deploy/pod.yaml", BAD);
    file(&place, "site/good/account.yaml", GOOD);
    let action = std::fs::read_to_string(root().join("action.yml")).unwrap();
    let mut documents = Vec::new();
    let limits = ringfort_audit::model::Limits::default();
    ringfort_audit::model::read(&action, ringfort_audit::model::Syntax::Yaml, &limits, &mut |document| {
        documents.push(document.to_json(document.root().unwrap()));
    })
    .unwrap();
    let action = &documents[0];
    let step = &action["runs"]["steps"][0];
    let run = |inputs: &[(&str, &str)]| -> (Option<i32>, String, String, String) {
        for name in ["output", "summary"] {
            file(&place, name, "");
        }
        let input = |name: &str| {
            let given = inputs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            given.unwrap_or_else(|| {
                action["inputs"][name]["default"].as_str().expect("an input has a default").to_owned()
            })
        };
        let mut command = Command::new(step["shell"].as_str().unwrap());
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"].as_str().unwrap()]);
        command.current_dir(place.path().join("site")).env("PATH", &path).stdin(Stdio::null());
        command
            .env("GITHUB_OUTPUT", place.path().join("output"))
            .env("GITHUB_STEP_SUMMARY", place.path().join("summary"));
        for (name, value) in step["env"].as_object().unwrap() {
            let expression = value.as_str().unwrap().trim_start_matches("${{ ").trim_end_matches(" }}");
            let value = match expression.strip_prefix("inputs.") {
                Some(name) => input(name),
                None if expression == "github.action_path" => root().display().to_string(),
                None => panic!("{expression} is nothing that this test knows"),
            };
            command.env(name, value);
        }
        let output = command.output().unwrap();
        let read = |name: &str| std::fs::read_to_string(place.path().join(name)).unwrap();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr), read("output"), read("summary"))
    };
    let (code, log, output, summary) = run(&[("arguments", "--only\nRF-K8S-0003"), ("paths", "my deploy\ngood")]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("RF-K8S-0003") && summary.contains("RF-K8S-0003"), "{log}{summary}");
    assert_eq!(output, "exit-code=1\nsarif=ringfort-audit.sarif\n");
    let sarif = std::fs::read_to_string(place.path().join("site/ringfort-audit.sarif")).unwrap();
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "RF-K8S-0003");
    let only = ("arguments", "--only\nRF-K8S-0003");
    assert_eq!(run(&[only, ("soft-fail", "true")]).0, Some(0));
    assert_eq!(run(&[only, ("fail-on", "critical")]).0, Some(0));
    let (code, _, output, _) = run(&[only, ("paths", "good"), ("sarif", "")]);
    assert_eq!((code, output.as_str()), (Some(0), "exit-code=0\n"));
    // What stands in an input is an argument and never a script.
    let (code, log, ..) = run(&[("paths", "$(touch made); touch made\n--soft-fail")]);
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("touch made") && !place.path().join("site/made").exists(), "{log}");
}

/// What this repository ships is clean by its own scanner.
#[test]
fn the_container_file_and_the_action_are_clean_themselves() {
    let place = Place::new();
    let root = root();
    let files = ["packaging/Containerfile", "packaging/kubernetes/scanner-role.yaml"];
    let mut command = place.command("audit --fail-on high --strict");
    let output = command.args(files.map(|file| root.join(file))).output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}
