//! Reports as other programs read them: SARIF and CycloneDX by their schemas, JUnit by a library, GitLab's by what its schema asks for.

use std::fs;
use std::path::Path;
use std::process::Command;

use ringfort_audit::command::{self, FINDINGS, Options};
use ringfort_audit::output::Format;

use crate::tools;

const OBJECTS: &str = "apiVersion: v1
kind: Pod
metadata: {name: \"a\\u0007<b> & c\", namespace: shop}
spec:
  hostPID: true # ringfort:ignore RF-K8S-0003 reason=\"reads 'all' & <more>\"
  hostNetwork: true
  containers:
    - {name: one, image: nginx, securityContext: {privileged: true}}
    - {name: two, image: nginx@sha256:0000}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: all}
rules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]
";

#[test]
fn reports_are_what_their_readers_expect() {
    let Some(python) = tools::python() else { return };
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path().join("with space & more");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("objects.yaml"), OBJECTS).expect("it can be written");
    fs::write(folder.join("broken.yaml"), "a: [").expect("it can be written");
    let mut options = Options::new(vec![folder], "2026-11-25".parse().expect("a day"));
    options.all = true;
    for format in [Format::Sarif, Format::Cyclonedx, Format::Junit, Format::GitlabSast, Format::Json] {
        options.outputs.push((format, Some(place.path().join(format.name()))));
    }
    assert_eq!(command::run(&options, &mut &b""[..], &mut Vec::new()).expect("it runs"), FINDINGS);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/validate_reports.py");
    let output = Command::new(python).arg(script).arg(place.path()).output().expect("it starts");
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}{}", String::from_utf8_lossy(&output.stderr));
    let json = fs::read_to_string(place.path().join("json")).expect("it was written");
    let report: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let findings = report["findings"].as_array().expect("a list");
    let count = |status: &str| findings.iter().filter(|finding| finding["status"] == status).count();
    assert!(count("suppressed") > 0 && count("failed") > 10, "{words}");
    let cases = findings.len() + 1;
    assert!(words.contains(&format!("gitlab {} 1\n", count("failed"))), "{words}");
    assert!(words.contains(&format!("sarif {}\n", findings.len())), "{words}");
    assert!(words.contains(&format!("junit {cases} {} {} 1\n", count("failed"), count("suppressed"))), "{words}");
}
