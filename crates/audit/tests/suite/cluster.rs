//! A live cluster as the source: pages, refusals, expired continuations, namespaces, contexts.

use ringfort_audit::cluster::{ClusterOptions, read};
use ringfort_audit::command::{self, FINDINGS, Options, View};
use ringfort_audit::output::Format;
use ringfort_audit::scan::input::Source;
use ringfort_audit::view::kccss::RuleSet;
use serde_json::{Value, json};

use crate::api_server::{ApiServer, Objects};

/// As a 1.30 server has them in a list: with what only it writes.
pub fn object(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": namespace, "uid": "5d0f2c44-4c3c-4f8a-9c37-0a4f6d3c1b2e", "resourceVersion": "812",
            "generation": 1, "creationTimestamp": "2026-11-20T10:00:00Z",
            "managedFields": [{ "manager": "kubectl-client-side-apply", "operation": "Update", "fieldsType": "FieldsV1",
                "fieldsV1": { "f:spec": { "f:replicas": {} } } }],
        },
        "spec": spec,
        "status": { "observedGeneration": 1 },
    })
}

pub fn owned(mut object: Value, kind: &str, owner: &str) -> Value {
    object["metadata"]["ownerReferences"] = json!([{ "apiVersion": "apps/v1", "kind": kind, "name": owner, "controller": true,
        "blockOwnerDeletion": true, "uid": "c7a1" }]);
    object
}

pub fn pod_spec(privileged: bool) -> Value {
    json!({ "containers": [{ "name": "app", "image": "registry.example/app:1",
        "securityContext": { "privileged": privileged }, "terminationMessagePolicy": "File" }],
        "dnsPolicy": "ClusterFirst", "restartPolicy": "Always" })
}

pub fn deployment(namespace: &str, name: &str, privileged: bool) -> Value {
    let labels = json!({ "app": name });
    let template = json!({ "metadata": { "labels": labels, "creationTimestamp": null }, "spec": pod_spec(privileged) });
    object(namespace, name, &json!({ "replicas": 1, "selector": { "matchLabels": labels }, "template": template }))
}

pub fn objects() -> Objects {
    let mut objects = Objects::default();
    let mut deployments: Vec<Value> =
        (0..7).map(|number| deployment("shop", &format!("web-{number}"), false)).collect();
    deployments.push(deployment("mail", "relay", true));
    let rules = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    let mut admin = object("", "cluster-admin", &Value::Null);
    admin["rules"] = rules;
    admin["metadata"]["labels"] = json!({ "kubernetes.io/bootstrapping": "rbac-defaults" });
    objects.lists.insert("/apis/apps/v1/deployments", deployments);
    objects.lists.insert(
        "/apis/apps/v1/replicasets",
        vec![owned(deployment("mail", "relay-5d4f", true), "Deployment", "relay")],
    );
    objects.lists.insert(
        "/api/v1/pods",
        vec![
            owned(object("mail", "relay-5d4f-x", &pod_spec(true)), "ReplicaSet", "relay-5d4f"),
            object("shop", "by-hand", &pod_spec(true)),
        ],
    );
    let namespaces = ["mail", "shop"].map(|name| {
        let mut namespace = object("", name, &json!({ "finalizers": ["kubernetes"] }));
        namespace["metadata"].as_object_mut().expect("a mapping").remove("namespace");
        namespace
    });
    objects.lists.insert("/api/v1/namespaces", namespaces.to_vec());
    objects.lists.insert("/api/v1/services", vec![]);
    objects.lists.insert("/api/v1/secrets", vec![object("shop", "password", &Value::Null)]);
    objects.lists.insert("/apis/rbac.authorization.k8s.io/v1/clusterroles", vec![admin]);
    objects.forbidden.push("/apis/batch/v1/cronjobs");
    objects
}

struct Place {
    folder: tempfile::TempDir,
    server: ApiServer,
}

impl Place {
    fn new(objects: Objects) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = ApiServer::start(folder.path(), objects);
        Self { folder, server }
    }

    fn options(&self) -> ClusterOptions {
        ClusterOptions { kubeconfig: Some(self.server.kubeconfig.clone()), page: 3, ..ClusterOptions::default() }
    }

    fn report(&self, cluster: ClusterOptions) -> (u8, Value) {
        let mut options = Options::new(Vec::new(), "2026-11-25".parse().expect("a day"));
        options.cluster = Some(cluster);
        options.outputs = vec![(Format::Json, None)];
        let mut out = Vec::new();
        let code = command::run(&options, &mut &b""[..], &mut out).expect("it runs");
        (code, serde_json::from_slice(&out).expect("JSON"))
    }
}

fn line<'r>(report: &'r Value, end: &str) -> &'r Value {
    let lines = report["ledger"].as_array().expect("a list").iter();
    let mut found = lines.filter(|line| line["path"].as_str().is_some_and(|path| path.ends_with(end)));
    found.next().unwrap_or_else(|| panic!("nothing ends in {end}: {}", report["ledger"]))
}

#[test]
fn a_cluster_is_scanned_with_every_list_in_the_ledger() {
    let place = Place::new(objects());
    let (code, report) = place.report(place.options());
    assert_eq!(code, FINDINGS);
    let deployments = line(&report, "kube://test/apis/apps/v1/deployments");
    assert_eq!((&deployments["outcome"], &deployments["objects"]), (&"scanned".into(), &8.into()));
    let asked = place.server.objects.asked.lock().expect("no thread broke").clone();
    assert!(asked.iter().any(|path| path == "/apis/apps/v1/deployments?limit=3&continue=6%3D"), "{asked:?}");
    let refused = line(&report, "/apis/batch/v1/cronjobs");
    assert_eq!(refused["outcome"], "unparsed");
    assert!(
        refused["reason"].as_str().is_some_and(|why| why.starts_with("403: cronjobs is forbidden: User")),
        "{refused}"
    );
    assert_eq!(line(&report, "/replicasets (owned)")["reason"], "1 whose owners are scanned");
    assert_eq!(line(&report, "/pods (owned)")["reason"], "1 whose owners are scanned");
    assert_eq!(line(&report, "/clusterroles (built in)")["reason"], "1 that Kubernetes makes in every cluster");
    assert!(line(&report, "/secrets")["reason"].as_str().is_some_and(|why| why.contains("--secrets")));
    assert!(!asked.iter().any(|path| path.contains("secrets")), "secrets were not asked for");
    assert_eq!(line(&report, "/services")["reason"], "there are none");
    assert_eq!(line(&report, "/apis/batch/v1/jobs")["reason"], "this cluster does not serve it");
    let findings = report["findings"].as_array().expect("a list");
    let privileged: Vec<_> =
        findings.iter().filter(|one| one["policy"] == "RF-K8S-0001").map(|one| &one["resource"]).collect();
    assert_eq!(privileged, ["Deployment/mail/relay", "Pod/shop/by-hand"]);
}

#[test]
fn namespaces_and_secrets_are_read_as_asked_for() {
    let place = Place::new(objects());
    let mut options = place.options();
    options.namespaces = vec!["mail".to_owned()];
    options.secrets = true;
    let (_, report) = place.report(options);
    assert_eq!(line(&report, "/apis/apps/v1/namespaces/mail/deployments")["objects"], 1);
    assert_eq!(line(&report, "/v1/namespaces")["reason"], "in no namespace, and only some were asked for (-n)");
    assert_eq!(line(&report, "/namespaces/mail/secrets")["reason"], "there are none");
}

#[test]
fn a_list_whose_continuation_expired_is_read_anew() {
    let objects = objects();
    objects.expires.lock().expect("no thread broke").push("/apis/apps/v1/deployments");
    let place = Place::new(objects);
    let (_, report) = place.report(place.options());
    assert_eq!(line(&report, "/apis/apps/v1/deployments")["objects"], 8, "each is there once");
    let objects = self::objects();
    objects.expires.lock().expect("no thread broke").extend(["/apis/apps/v1/deployments"; 9]);
    let place = Place::new(objects);
    let (_, report) = place.report(place.options());
    let gap = line(&report, "/apis/apps/v1/deployments (the rest)");
    assert!(gap["reason"].as_str().is_some_and(|why| why.starts_with("410: ")), "{gap}");
    // Their owner was not read, so they are scanned themselves.
    assert_eq!(line(&report, "/replicasets")["objects"], 1);
}

#[test]
fn who_is_not_known_or_not_there_is_told() {
    let place = Place::new(objects());
    let mut options = place.options();
    options.context = Some("nobody".to_owned());
    let words = read(&options).expect_err("401").to_string();
    assert!(words.starts_with("https://127.0.0.1:") && words.ends_with("401: Unauthorized"), "{words}");
    options.context = Some("elsewhere".to_owned());
    assert!(read(&options).expect_err("no such context").to_string().contains("elsewhere"));
    options.kubeconfig = Some(place.folder.path().join("nothing"));
    assert!(read(&options).expect_err("no file").to_string().contains("nothing"));
    // A server with another certificate is not the one that the file means.
    let other = Place::new(Objects::default());
    std::fs::copy(other.folder.path().join("ca.crt"), place.folder.path().join("ca.crt")).expect("it can be written");
    let words = read(&place.options()).expect_err("not trusted").to_string();
    assert!(words.contains("certificate"), "{words}");
}

#[test]
fn views_judge_a_cluster_too() {
    let place = Place::new(objects());
    let mut options = Options::new(Vec::new(), "2026-11-25".parse().expect("a day"));
    options.cluster = Some(place.options());
    options.view = Some(View::Kccss(RuleSet::Kccss));
    let mut out = Vec::new();
    command::run(&options, &mut &b""[..], &mut out).expect("a refused list does not end it");
    let risks: Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(risks["data"].as_array().map(Vec::len), Some(9));
    let inputs = read(&place.options()).expect("it is there");
    assert!(inputs.iter().any(|input| matches!(input.source, Source::Bytes(_))));
}
