//! The built-in controls of managed clusters, and checks that are judged by objects: of files, of Terraform, of a live cluster.

use std::collections::BTreeSet;
use std::fs;

use ringfort_audit::cis::Choice;
use ringfort_audit::cis::controls::{self, Controls};
use ringfort_audit::cis::manifests::NETWORK_POLICIES;
use ringfort_audit::cis::source::Source;
use ringfort_audit::cluster::ClusterOptions;
use serde_json::{Value, json};

use crate::agreement::fixtures;
use crate::api_server::{ApiServer, Objects};
use crate::cis::{Node, run};
use crate::support::catalogue;

const MANAGED: [&str; 3] = ["aks-1.8", "eks-1.8.0", "gke-1.9.0"];

fn built_in() -> Vec<(String, Controls)> {
    let targets = ["master", "etcd", "controlplane", "node", "policies", "managedservices"];
    let names = ["cis-1.12"].into_iter().chain(MANAGED).flat_map(|name| targets.map(|target| (name, target)));
    let read = |(benchmark, target): (&str, &str)| {
        let (file, text) =
            Source::BuiltIn { config: None }.file(benchmark, &format!("{target}.yaml")).expect("a name")?;
        Some((format!("{benchmark}/{target}.yaml"), controls::read(&file, &text).expect("good controls")))
    };
    names.filter_map(read).collect()
}

fn ids(controls: &Controls) -> Vec<&str> {
    controls.groups.iter().flat_map(|group| &group.checks).map(|check| check.id.as_str()).collect()
}

#[test]
fn every_policy_that_the_built_in_controls_name_exists() {
    let all = built_in();
    assert_eq!(all.len(), 5 + 3 * 5);
    let checks = all.iter().flat_map(|(_, controls)| &controls.groups).flat_map(|group| &group.checks);
    let named: BTreeSet<_> = checks.flat_map(|check| &check.policies).collect();
    assert!(named.len() > 50, "{}", named.len());
    for id in named.into_iter().filter(|id| *id != NETWORK_POLICIES) {
        assert!(catalogue().policies().iter().any(|policy| policy.id == *id), "{id}");
    }
}

#[test]
fn conformance_built_in_controls_have_the_ids_of_kube_bench() {
    let Some(folder) = fixtures().map(|folder| folder.join("kube-bench/cfg")) else { return };
    for (name, ours) in built_in() {
        let text = fs::read_to_string(folder.join(&name)).expect("kube-bench has it too");
        let theirs = controls::read(&name, &text).expect("it loads");
        assert_eq!(ids(&ours), ids(&theirs), "{name}");
        assert_eq!((&ours.id, &ours.node_type), (&theirs.id, &theirs.node_type), "{name}");
        let texts: BTreeSet<_> =
            theirs.groups.iter().flat_map(|group| &group.checks).map(|check| &check.text).collect();
        let same = ours.groups.iter().flat_map(|group| &group.checks).find(|check| texts.contains(&check.text));
        assert!(same.is_none(), "{name}: our wording is ours: {same:?}");
    }
}

/// States of checks by their number.
fn states(text: &str) -> Vec<(String, String, String)> {
    let report: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"));
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let groups = list(&report, "Controls").into_iter().flat_map(|controls| list(&controls, "tests"));
    let word = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let state = |check: Value| (word(&check, "test_number"), word(&check, "status"), word(&check, "actual_value"));
    groups.flat_map(|group| list(&group, "results")).map(state).collect()
}

fn state<'s>(states: &'s [(String, String, String)], id: &str) -> (&'s str, &'s str) {
    let found = states.iter().find(|(known, ..)| known == id).unwrap_or_else(|| panic!("no {id}: {states:?}"));
    (&found.1, &found.2)
}

#[test]
fn services_of_a_provider_are_judged_by_terraform() {
    let node = Node::new();
    let folder = node.root().join("infra");
    fs::create_dir(&folder).expect("it can be made");
    fs::write(
        folder.join("main.tf"),
        "resource \"google_container_cluster\" \"c\" {\n  enable_legacy_abac = true\n  enable_shielded_nodes = true\n}\n",
    )
    .expect("it can be written");
    let mut options = node.options();
    options.choice.benchmark = Some("gke-1.9.0".to_owned());
    options.choice.targets = vec!["managedservices".to_owned(), "policies".to_owned()];
    options.manifests = vec![folder];
    let found = states(&run(&options).1);
    assert_eq!(state(&found, "5.8.3"), ("WARN", "google_container_cluster.c RF-GCP-0012"));
    assert_eq!(state(&found, "5.5.5").0, "PASS");
    // What there is nothing to look at for stays with people.
    assert_eq!(state(&found, "4.1.1"), ("WARN", ""));
    assert_eq!(state(&found, "5.1.2"), ("WARN", ""));
}

#[test]
fn policies_of_a_live_cluster_are_judged_by_its_objects() {
    let folder = tempfile::tempdir().expect("a folder");
    let meta = |namespace: &str, name: &str| match namespace {
        "" => json!({ "name": name }),
        namespace => json!({ "name": name, "namespace": namespace }),
    };
    let pod = |name: &str, host: bool| json!({ "metadata": meta("shop", name), "spec": { "hostPID": host, "containers": [{ "name": "c", "image": "i:1" }] } });
    let binding = json!({ "metadata": meta("", "admins"), "subjects": [{ "kind": "Group", "name": "ops", "apiGroup": "rbac.authorization.k8s.io" }],
        "roleRef": { "kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io" } });
    let mut objects = Objects::default();
    objects.lists.insert(
        "/api/v1/namespaces",
        ["shop", "mail", "kube-system"].map(|name| json!({ "metadata": meta("", name) })).to_vec(),
    );
    objects.lists.insert(
        "/apis/networking.k8s.io/v1/networkpolicies",
        vec![json!({ "metadata": meta("shop", "deny"), "spec": { "podSelector": {} } })],
    );
    objects.lists.insert("/api/v1/pods", vec![pod("a", true), pod("b", false)]);
    objects.lists.insert("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", vec![binding]);
    objects.forbidden.push("/apis/rbac.authorization.k8s.io/v1/roles");
    let server = ApiServer::start(folder.path(), objects);
    let node = Node::new();
    let mut options = node.options();
    options.cluster = Some(ClusterOptions { kubeconfig: Some(server.kubeconfig.clone()), ..ClusterOptions::default() });
    for (benchmark, group) in [("cis-1.12", "5"), ("eks-1.8.0", "4")] {
        options.choice.benchmark = Some(benchmark.to_owned());
        options.choice.targets = vec!["policies".to_owned()];
        let found = states(&run(&options).1);
        let admin = state(&found, &format!("{group}.1.1"));
        assert_eq!(admin, ("WARN", "ClusterRoleBinding/admins RF-K8S-0280"), "{benchmark}");
        let (pid, ipc) = if group == "5" { ("5.2.3", "5.2.4") } else { ("4.2.2", "4.2.3") };
        assert_eq!(state(&found, pid), ("WARN", "Pod/shop/a RF-K8S-0003"), "{benchmark}");
        assert_eq!(state(&found, ipc).0, "PASS", "{benchmark}");
        let open = state(&found, &format!("{group}.3.2"));
        assert_eq!(open, ("WARN", "Namespace/mail namespaces-have-network-policies"), "{benchmark}");
        // Roles may not be read: nobody knows whether one has a *.
        assert_eq!(state(&found, &format!("{group}.1.3")), ("WARN", ""), "{benchmark}");
    }
    // Without anything said its version leads to the benchmark, and this host, which is no node of it, is left alone.
    options.choice = Choice::default();
    node.without_control_plane();
    fs::remove_dir_all(node.root().join("proc/15")).expect("the kubelet's");
    fs::remove_dir_all(node.root().join("proc/16")).expect("that of kube-proxy");
    let text = run(&options).1;
    assert!(text.contains("\"detected_version\":\"1.30\"") && !text.contains("\"node_type\":\"node\""), "{text}");
    assert_eq!(state(&states(&text), "5.1.1").0, "WARN");
    options.cluster =
        Some(ClusterOptions { context: Some("nobody".to_owned()), ..options.cluster.expect("it is set") });
    let (code, words) = run(&options);
    assert!(code == 2 && (words.contains("401") || words.contains("Unauthorized")), "{words}");
}

#[test]
fn a_managed_cluster_has_the_benchmark_of_its_provider_whatever_its_version() {
    for (image, benchmark) in [
        ("v1.30.4-eks-a737599", "eks-1.8.0"),
        ("v1.28.5-gke.1014001", "gke-1.9.0"),
        ("v1.31.2", "cis-1.12"),
        ("v1.27.4-rancher1", ""),
    ] {
        let node = Node::new();
        let manifest = format!("kind: Pod\nspec:\n  containers:\n  - image: registry.example/kube-apiserver:{image}\n");
        node.file("etc/kubernetes/manifests/kube-apiserver.yaml", &manifest, 0o600);
        let mut options = node.options();
        options.choice.targets = vec!["policies".to_owned()];
        let (code, text) = run(&options);
        if benchmark.is_empty() {
            assert!(code == 2 && text.contains("no benchmark for Kubernetes 1.27"), "{text}");
        } else {
            assert!(text.contains(&format!("\"version\":\"{benchmark}\"")), "{benchmark}: {text}");
        }
    }
}

#[test]
fn a_node_of_a_provider_is_judged_by_its_files_and_its_kubelet() {
    let node = Node::new();
    let mut options = node.options();
    for benchmark in MANAGED {
        options.choice.benchmark = Some(benchmark.to_owned());
        options.choice.targets = vec!["node".to_owned()];
        let found = states(&run(&options).1);
        assert_eq!(state(&found, "3.1.1").0, "PASS", "{benchmark}");
        assert_eq!(state(&found, "3.1.2").0, "PASS", "{benchmark}");
        if benchmark != "gke-1.9.0" {
            assert_eq!(state(&found, "3.2.1").0, "PASS", "{benchmark}");
        }
    }
    node.mode("var/lib/kubelet/config.yaml", 0o666);
    options.choice.benchmark = Some("eks-1.8.0".to_owned());
    assert_eq!(state(&states(&run(&options).1), "3.1.3"), ("FAIL", "permissions=666"));
}
