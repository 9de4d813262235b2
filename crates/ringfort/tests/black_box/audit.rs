//! `ringfort audit` as a process: arguments, standard output, exit codes.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::{PROGRAM, Place, path_with, text};

const BAD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\nspec: {hostPID: true, containers: []}\n";

#[test]
fn audit_reports_findings_and_exits_with_one() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("deploy")).unwrap();
    std::fs::write(place.path().join("deploy/pod.yaml"), BAD).unwrap();
    let output = place.run("audit deploy -o sarif=audit.sarif -o html=audit.html -o table --fail-on high");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(table.starts_with("deploy/pod.yaml\n  Pod/shop/a\n    high"), "{table}");
    assert!(table.contains("4:17  RF-K8S-0003"), "{table}");
    let sarif = std::fs::read_to_string(place.path().join("audit.sarif")).unwrap();
    assert!(sarif.contains("\"2.1.0\"") && place.path().join("audit.html").exists());
    assert!(place.ok("audit deploy --soft-fail").contains("RF-K8S-0003"));
    let output = place.run("audit deploy --only CKV_K8S_17 --fail-on critical -o json");
    assert_eq!(output.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["findings"][0]["path"], "spec.hostPID");
}

#[test]
fn audit_that_cannot_run_exits_with_two_and_says_why() {
    let place = Place::new();
    for (line, words) in [
        ("audit nothing.yaml", "nothing.yaml: "),
        ("audit . -o xml", "`xml` is no format; there are table, json"),
        ("audit . -o json=", "a file is missing after `=`"),
        ("audit . --only RF-K8S-9999", "no policy is called `RF-K8S-9999`"),
        ("audit explain nothing", "no policy is called `nothing`"),
        ("audit", "<PATHS>"),
        ("audit . --fail-on bad", "`bad` is no severity"),
    ] {
        let output = place.run(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(text(&output.stderr).contains(words), "{line}: {}", text(&output.stderr));
    }
}

#[test]
fn audit_lists_and_explains_policies() {
    let place = Place::new();
    assert!(place.ok("audit list critical privileged").contains("RF-K8S-0001  critical"));
    let words = place.ok("audit explain CKV_K8S_16");
    assert!(words.starts_with("RF-K8S-0001  Containers do not run privileged\n"), "{words}");
}

#[test]
fn audit_reads_standard_input_and_judges_as_kubesec() {
    let mut command = Command::new(PROGRAM);
    command.args(["audit", "--view", "kubesec", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(BAD.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "a score that is not above zero");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report[0]["object"], &report[0]["score"]), (&"Pod/a.shop".into(), &(-9).into()));
    let place = Place::new();
    std::fs::write(place.path().join("pod.yaml"), BAD).unwrap();
    for view in ["kccss", "kube-scan"] {
        let risks = place.json(&format!("audit pod.yaml --view {view}"));
        assert_eq!(risks["data"][0]["risk"]["riskItems"][0]["scope"], "Host", "{view}");
    }
}

#[test]
fn audit_serves_scores_until_it_is_asked_to_end() {
    use std::io::{BufRead as _, BufReader, Read as _};
    let mut command = Command::new(PROGRAM);
    command.args("audit serve --view kubesec --listen 127.0.0.1:0".split(' ')).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("ringfort: listening on http://").unwrap().trim_end_matches('/');
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let head =
        format!("POST /scan HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", BAD.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(BAD.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"Pod/a.shop\""), "{answer}");
    // SAFETY: a signal to our own child, which has not been waited for.
    unsafe { libc::kill(i32::try_from(child.id()).unwrap(), libc::SIGTERM) };
    assert!(child.wait().unwrap().success());
}

#[test]
fn audit_cis_checks_a_tree_of_files() {
    let place = Place::new();
    let file = |path: &str, text: &str, mode: u32| {
        let path = place.path().join("node").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    file("proc/7/comm", "kubelet\n", 0o444);
    file("proc/7/cmdline", "/usr/bin/kubelet\0--config=/var/lib/kubelet/config.yaml\0", 0o444);
    file("var/lib/kubelet/config.yaml", "authentication: {anonymous: {enabled: true}}\n", 0o644);
    let line = "audit cis --root node --version 1.33 -c 4.1.9,4.2.1,4.2.3 --exit-code 7";
    let output = place.run(line);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    let report = text(&output.stdout);
    assert!(
        report.starts_with("[INFO] 4 Nodes: files, kubelet, kube-proxy\n[INFO] 4.1 Files of the node\n[FAIL] 4.1.9 "),
        "{report}"
    );
    assert!(report.contains("== Summary total ==\n0 checks PASS\n3 checks FAIL\n"), "{report}");
    file(
        "var/lib/kubelet/config.yaml",
        "authentication: {anonymous: {enabled: false}, x509: {clientCAFile: /ca}}\n",
        0o600,
    );
    let report = place.ok(&format!("{line} -o junit=report.xml -o json --unscored=false"));
    assert!(report.contains("\"Totals\":{\"total_pass\":3,\"total_fail\":0,"), "{report}");
    assert!(std::fs::read_to_string(place.path().join("report.xml")).unwrap().contains("tests=\"3\" failures=\"0\""));
    for (line, words) in [
        ("audit cis --root node --benchmark a --version 1.33", "cannot be used with"),
        (
            "audit cis --root node --benchmark cis-0.1",
            "`target_mapping` has no benchmark `cis-0.1`; there are: aks-1.8, cis-1.12, eks-1.8.0, gke-1.9.0",
        ),
        ("audit cis --root node --version 1.33 -o xml", "`xml` is no format; there are text, json, junit, asff"),
        ("audit cis -D nowhere --benchmark a", "nowhere/config.yaml: "),
        ("audit cis --root node --version 1.33 --pgsql nonsense", "the address of PostgreSQL"),
    ] {
        let output = place.run(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(text(&output.stderr).contains(words), "{line}: {}", text(&output.stderr));
    }
}

#[test]
fn charts_and_kustomizations_are_rendered_by_the_users_programs() {
    let Some(path) = path_with(&["kubectl"]) else { return };
    let place = Place::new();
    let file = |name: &str, text: &str| {
        let path = place.path().join("tree").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    file("base/kustomization.yaml", "resources: [pod.yaml]\n");
    file(
        "base/pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: i}]}\n",
    );
    file("overlay/kustomization.yaml", "resources: [../base]\nnamePrefix: big-\npatches: [{path: patch.yaml}]\n");
    file("overlay/patch.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {hostPID: true}\n");
    file("chart/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n");
    file("chart/values.yaml", "a: 1\n");
    file("chart/templates/pod.yaml", "{{ if .Values.a }}\n");
    file("chart/charts/inner/Chart.yaml", "apiVersion: v2\nname: d\nversion: 1.0.0\n");
    file("plain.yaml", BAD);
    let mut command = place.command("audit tree --render --only RF-K8S-0003 -o json");
    let output = command.env("PATH", path).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let line = |end: &str| {
        let mut lines = report["ledger"].as_array().unwrap().iter();
        let found = lines.find(|line| line["path"] == format!("tree/{end}"));
        found.unwrap_or_else(|| panic!("{end}: {}", report["ledger"]))
    };
    let findings = report["findings"].as_array().unwrap();
    let resources: Vec<_> = findings.iter().map(|finding| (&finding["resource"], &finding["file"])).collect();
    let (big, plain) = ("tree/overlay (kustomize build)".into(), "tree/plain.yaml".into());
    assert_eq!(resources, [(&"Pod/big-a".into(), &big), (&"Pod/shop/a".into(), &plain)]);
    assert_eq!(line("base (kustomize build)")["outcome"], "scanned");
    assert_eq!(line("overlay/patch.yaml")["reason"], "a part of tree/overlay, which is rendered");
    for part in ["chart/templates/pod.yaml", "chart/values.yaml", "chart/Chart.yaml", "chart/charts/inner/Chart.yaml"] {
        assert_eq!(line(part)["outcome"], "skipped", "{part}");
    }
    // Where there is no helm, or one that does not like this chart, that is a gap and not left out.
    let chart = line("chart (helm template)");
    assert!(chart["outcome"] == "unparsed" && chart["reason"].as_str().unwrap().contains("helm"), "{chart}");
}

#[test]
fn audit_tests_and_exports_policies() {
    let place = Place::new();
    let exported = place.ok("audit export-vap CKV_K8S_17");
    assert!(exported.contains("kind: \"ValidatingAdmissionPolicy\""), "{exported}");
    std::fs::write(place.path().join("own.yaml"), exported.replace("rf-k8s-0003.ringfort", "own")).unwrap();
    assert!(place.ok("audit test-policies own.yaml").contains("own: no examples"));
    std::fs::write(place.path().join("pod.yaml"), BAD).unwrap();
    let output = place.run("audit pod.yaml --policies own.yaml --only own");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("own  Pods do not share the process namespace"), "{}", text(&output.stdout));
    let output = place.run("audit export-vap RF-AWS-0152");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("RF-AWS-0152 cannot be exported: "), "{}", text(&output.stderr));
}
