//! Sites over real sockets, asked by curl: kubesec's server, with TLS and without, its limits, and the admission webhook.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ringfort_audit::cluster::ClusterOptions;
use ringfort_audit::command::{self, FINDINGS, Options, View};
use ringfort_audit::model::{Limits, Syntax, read};
use ringfort_audit::serve::kubesec::KubesecSite;
use ringfort_audit::serve::rescan::{Pace, Rescan, follow};
use ringfort_audit::serve::scanned::{ScannedSite, Shown};
use ringfort_audit::serve::{ServeOptions, Server, Site, TlsFiles};
use ringfort_audit::view::kccss::RuleSet;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::api_server::{ApiServer, Objects};
use crate::tools;

/// A site that is served until this goes.
pub struct Served {
    pub url: String,
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    pub fn start(site: Arc<dyn Site>, change: impl FnOnce(&mut ServeOptions)) -> Self {
        let mut options = ServeOptions::new("127.0.0.1:0".parse().expect("an address"));
        change(&mut options);
        let server = Server::bind(options).expect("a free port");
        let (url, address) = (server.url(), server.address());
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let stopped = async {
                let _ = stopped.await;
            };
            server.run(site, stopped, |line| println!("{line}")).expect("it runs");
        });
        Self { url, address, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ended well");
        }
    }
}

/// What curl says: status and body.
pub fn curl(arguments: &[&str], body: Option<&str>) -> (u16, String) {
    let mut command = Command::new("curl");
    command.args(["-s", "-S", "-m", "20", "-w", "\n%{http_code}"]).args(arguments);
    if body.is_some() {
        command.args(["--data-binary", "@-"]);
    }
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("curl starts");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    stdin.write_all(body.unwrap_or_default().as_bytes()).expect("curl reads");
    drop(stdin);
    let output = child.wait_with_output().expect("curl ends");
    let text = String::from_utf8(output.stdout).expect("text");
    let (body, status) = text.rsplit_once('\n').expect("the status comes last");
    let words = String::from_utf8_lossy(&output.stderr);
    (status.parse().unwrap_or_else(|_| panic!("{words}")), format!("{body}{words}"))
}

/// A certificate for localhost, its key, and itself as the authority.
pub fn certificate(folder: &Path) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("names");
    let files = TlsFiles { certificate: folder.join("cert.crt"), key: folder.join("cert.private") };
    fs::write(&files.certificate, made.cert.pem()).expect("it can be written");
    fs::write(&files.key, made.signing_key.serialize_pem()).expect("it can be written");
    files
}

fn kubesec() -> Arc<dyn Site> {
    Arc::new(KubesecSite::new(0, Limits::default()))
}

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/kubernetes")
}

const PODS: &str = "apiVersion: v1
kind: Pod
metadata: {name: a}
spec: {containers: [{name: c, image: i, securityContext: {privileged: true}}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b}
spec: {containers: [{name: c, image: i, securityContext: {runAsNonRoot: true}}]}
";

#[test]
fn curl_has_manifests_scored() {
    if !tools::is_installed("curl") {
        return;
    }
    let served = Served::start(kubesec(), |options| options.body_bytes = 10_000);
    for path in ["", "scan"] {
        let (status, body) = curl(&[&format!("{}{path}", served.url)], Some(PODS));
        assert_eq!(status, 200, "{body}");
        let reports: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!((&reports[0]["score"], &reports[1]["score"]), (&(-30).into(), &1.into()));
    }
    let (status, body) = curl(&[&format!("{}scan", served.url)], Some(&format!("file={PODS}")));
    assert!(status == 200 && body.contains("Pod/b.default"), "{body}");
    let (status, body) = curl(&["-i", &served.url], None);
    assert!(status == 303 && body.to_lowercase().contains("location: /usage"), "{body}");
    assert_eq!(curl(&["-L", &served.url], None).0, 200);
    assert_eq!(curl(&[&format!("{}healthz", served.url)], None), (200, "ok\n".to_owned()));
    let (status, body) = curl(&[&served.url], Some(&"a".repeat(20_000)));
    assert!(status == 413 && body.contains("larger than 10000 bytes"), "{body}");
    let (_, figures) = curl(&[&format!("{}metrics", served.url)], None);
    for line in [
        "ringfort_audit_requests_total{route=\"/\",code=\"200\"} 1",
        "ringfort_audit_requests_total{route=\"/scan\",code=\"200\"} 2",
        "ringfort_kubesec_documents_total 6",
    ] {
        assert!(figures.contains(line), "{figures}");
    }
}

#[test]
fn a_client_that_does_not_come_to_its_end_is_let_go() {
    let served = Served::start(kubesec(), |options| {
        options.patience = Duration::from_millis(200);
        options.connections = 1;
    });
    let ask = |text: &str| {
        let mut stream = TcpStream::connect(served.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream.write_all(text.as_bytes()).expect("it is sent");
        let mut answer = String::new();
        // One that is let go may be so by a reset.
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    // Each of them holds the only place until it is let go; the last one gets its answer all the same.
    assert_eq!(ask("POST / HT"), "");
    assert!(ask("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n\r\nabc").starts_with("HTTP/1.1 408 "));
    assert!(ask("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").starts_with("HTTP/1.1 200 "));
    assert!(ask("GET /healthz HTTP/1.1\r\nhost: evil.example\r\n\r\n").starts_with("HTTP/1.1 421 "));
    assert!(ask(&format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(40_000))).starts_with("HTTP/1.1 4"));
}

/// As an API server of Kubernetes 1.30 sends it.
fn review(uid: &str, object: &Value) -> String {
    let pods = json!({ "group": "", "version": "v1", "kind": "Pod" });
    let resource = json!({ "group": "", "version": "v1", "resource": "pods" });
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": uid, "kind": pods, "resource": resource, "requestKind": pods, "requestResource": resource,
            "name": "a", "namespace": "shop", "operation": "CREATE",
            "userInfo": { "username": "somebody", "groups": ["system:authenticated"] },
            "object": object, "oldObject": null, "dryRun": false,
            "options": { "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1" },
        },
    })
    .to_string()
}

#[test]
fn the_admission_webhook_answers_over_tls_and_takes_a_new_certificate() {
    if !tools::is_installed("curl") {
        return;
    }
    let place = tempfile::tempdir().expect("a folder");
    let files = certificate(place.path());
    let served = Served::start(kubesec(), |options| options.tls = Some(files.clone()));
    let authority = files.certificate.display().to_string();
    let ask = |path: &str, body: &str| {
        let url = format!("https://localhost:{}/{path}", served.address.port());
        let json = ["--cacert", &authority, "-H", "content-type: application/json", &url];
        let (status, body) = curl(&json, Some(body));
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).expect("JSON")
    };
    let pod = |privileged: bool| {
        json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "namespace": "shop" }, "spec": {
            "containers": [{ "name": "c", "image": "i", "securityContext": { "privileged": privileged } }] } })
    };
    let refused = ask("admit", &review("u-1", &pod(true)));
    assert_eq!((&refused["response"]["uid"], &refused["response"]["allowed"]), (&"u-1".into(), &false.into()));
    assert_eq!(refused["response"]["status"]["code"], 403);
    assert_eq!(ask("admit", &review("u-2", &pod(false)))["response"], json!({ "uid": "u-2", "allowed": true }));
    let warned = ask("warn", &review("u-3", &pod(true)));
    assert!(warned["response"]["allowed"] == true && warned["response"]["warnings"][0].is_string(), "{warned}");
    // Renewed: the old one is no authority of the new one, which curl is told now.
    let before = fs::read(&files.certificate).expect("it is there");
    certificate(place.path());
    assert_ne!(fs::read(&files.certificate).expect("it is there"), before);
    assert_eq!(ask("admit", &review("u-4", &pod(false)))["response"]["uid"], "u-4");
    let plain = curl(&[&format!("http://localhost:{}/", served.address.port()), "--http0.9"], None);
    assert_ne!(plain.0, 200, "nothing is served without TLS");
}

#[test]
fn a_certificate_that_is_none_is_refused_by_its_name() {
    let place = tempfile::tempdir().expect("a folder");
    let good = certificate(place.path());
    let refused = |files: TlsFiles| {
        let mut options = ServeOptions::new("127.0.0.1:0".parse().expect("an address"));
        options.tls = Some(files);
        Server::bind(options).expect_err("it is no good").to_string()
    };
    let words = refused(TlsFiles { certificate: good.key.clone(), ..good.clone() });
    assert!(words.contains("cert.private: expected a certificate in PEM, found none"), "{words}");
    let words = refused(TlsFiles { key: place.path().join("nothing"), ..good.clone() });
    assert!(words.contains("nothing: expected a private key in PEM: "), "{words}");
    let other = tempfile::tempdir().expect("a folder");
    let words = refused(TlsFiles { key: certificate(other.path()).key, ..good });
    assert!(words.contains("does not go with"), "{words}");
}

/// The manifest that is shipped is what Kubernetes' types say, and clean by our own policies.
#[test]
fn the_shipped_webhook_configuration_is_what_kubernetes_reads() {
    use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;

    let path = manifests().join("admission.yaml");
    let text = fs::read_to_string(&path).expect("it is there");
    let mut objects = Vec::new();
    read(&text, Syntax::Yaml, &Limits::default(), &mut |document| {
        objects.push(document.to_json(document.root().expect("a mapping")));
    })
    .expect("it is YAML");
    fn known<T: serde::de::DeserializeOwned + serde::Serialize>(object: &Value) -> T {
        let read: T = serde_json::from_value(object.clone()).expect("Kubernetes reads it");
        assert_eq!(&serde_json::to_value(&read).expect("JSON"), object, "nothing in it is unknown or of another form");
        read
    }
    let mut webhooks = 0;
    for object in &objects {
        match object["kind"].as_str() {
            Some("ValidatingWebhookConfiguration") => {
                let config: ValidatingWebhookConfiguration = known(object);
                for webhook in config.webhooks.into_iter().flatten() {
                    webhooks += 1;
                    let selectors = [webhook.namespace_selector, webhook.object_selector];
                    let opted = selectors.iter().flatten().filter_map(|selector| selector.match_labels.as_ref());
                    assert_eq!(opted.flatten().filter(|(key, _)| *key == "audit.ringfort/admission").count(), 1);
                    assert_eq!(webhook.failure_policy.as_deref(), Some("Ignore"));
                }
            }
            Some("Deployment") => drop(known::<k8s_openapi::api::apps::v1::Deployment>(object)),
            Some("NetworkPolicy") => drop(known::<k8s_openapi::api::networking::v1::NetworkPolicy>(object)),
            Some("PodDisruptionBudget") => drop(known::<k8s_openapi::api::policy::v1::PodDisruptionBudget>(object)),
            Some("Service" | "ServiceAccount" | "Namespace") => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(webhooks, 3);
    let scan = crate::support::scan("admission.yaml", &text);
    let catalogue = crate::support::catalogue();
    let failed = scan.findings.iter().filter(|finding| finding.status == ringfort_audit::scan::Status::Failed);
    let failed: Vec<_> = failed.map(|finding| finding.policy(catalogue).id.as_str()).collect();
    assert_eq!(failed, ["RF-K8S-0017"], "the digest is that of an image that does not exist yet");
}

/// A scan that waits until it is told to go on, and says how often it was done.
fn scan_on_command() -> (std::sync::mpsc::Sender<Result<Vec<u8>, String>>, Arc<Rescan>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let scan = move || receiver.recv().unwrap_or_else(|_| Err("the test is over".to_owned()));
    (sender, Rescan::start(scan, pace(3_600_000), || 1_790_000_000))
}

/// Again after so many milliseconds, or at once where something has changed.
fn pace(most: u64) -> Pace {
    Pace { least: Duration::ZERO, most: Duration::from_millis(most) }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited in vain for {what}");
}

#[test]
fn risks_are_served_as_kube_scan_does() {
    if !tools::is_installed("curl") {
        return;
    }
    let (go_on, rescan) = scan_on_command();
    let served = Served::start(Arc::new(ScannedSite::new(Shown::Risks, rescan)), |_| {});
    let url = |path: &str| format!("{}{path}", served.url);
    let status = || serde_json::from_str::<Value>(&curl(&[&url("api/refreshing_status")], None).1).expect("JSON");
    assert_eq!(curl(&[&url("api/risks")], None), (204, String::new()), "before the first scan");
    assert_eq!(status(), json!({ "lastRefresh": 0, "refreshing": true }));
    go_on.send(Ok(b"{\"data\": []}".to_vec())).expect("it waits");
    until("the first scan", || status()["refreshing"] == false);
    assert_eq!(curl(&[&url("api/risks")], None), (200, "{\"data\": []}".to_owned()));
    assert_eq!(status()["lastRefresh"], 1_790_000_000);
    assert_eq!(curl(&["-X", "POST", &url("api/refresh")], None), (204, String::new()));
    assert_eq!(status()["refreshing"], true);
    assert_eq!(curl(&["-X", "POST", &url("api/refresh")], None).0, 204, "one is under way; no other follows it");
    go_on.send(Err("kube://: 403".to_owned())).expect("it waits");
    until("the second scan", || status()["refreshing"] == false);
    assert_eq!(status()["error"], "kube://: 403");
    assert_eq!(curl(&[&url("api/risks")], None).0, 200, "what was found before stays");
    let foreign = ["-X", "POST", "-H", "Origin: https://evil.example", &url("api/refresh")];
    assert_eq!(curl(&foreign, None).0, 403);
    assert_eq!((curl(&[&url("api/refresh")], None).0, curl(&[&url("nothing")], None).0), (405, 404));
    assert!(curl(&[&url("metrics")], None).1.contains("ringfort_audit_scan_failed 1"));
    let (status, page) = curl(&["-i", &served.url], None);
    assert!(status == 200 && page.contains("default-src 'none'"), "{page}");
    assert!(!page.contains("src=") && !page.contains("https://"), "the page asks nobody else");
}

#[test]
fn a_scan_is_done_again_by_the_clock() {
    let (sender, scans) = std::sync::mpsc::channel();
    let scan = move || sender.send(()).map(|()| Vec::new()).map_err(|error| error.to_string());
    let rescan = Rescan::start(scan, pace(1), || 1);
    for _ in 0..3 {
        scans.recv_timeout(Duration::from_secs(20)).expect("another one");
    }
    drop(scans);
    until("the failure", || rescan.state().error.is_some());
}

#[test]
fn a_scan_is_done_again_when_something_has_changed_also_while_it_goes_on() {
    let (sender, scans) = std::sync::mpsc::channel();
    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let scan = move || {
        let told = sender.send(()).map_err(|error| error.to_string());
        told.and_then(|()| wait.recv().map(|()| Vec::new()).map_err(|error| error.to_string()))
    };
    let rescan = Rescan::start(scan, pace(3_600_000), || 1);
    let begun = || scans.recv_timeout(Duration::from_secs(20)).expect("a scan");
    begun();
    rescan.changed();
    go_on.send(()).expect("it waits");
    begun();
    go_on.send(()).expect("it waits");
    until("the end of the second", || !rescan.state().refreshing);
    rescan.changed();
    begun();
}

/// What changes in a cluster is on the page without anybody asking for it.
#[test]
fn a_served_cluster_that_is_watched_is_scanned_again_when_it_changes() {
    let place = tempfile::tempdir().expect("a folder");
    let mut objects = Objects::default();
    let spec = |host: bool| json!({ "hostNetwork": host, "containers": [{ "name": "c", "image": "i" }] });
    let pod = |host: bool| json!({ "metadata": { "name": "a", "namespace": "shop" }, "spec": spec(host) });
    objects.lists.insert("/api/v1/pods", vec![pod(false)]);
    let server = ApiServer::start(place.path(), objects);
    let cluster = ClusterOptions { kubeconfig: Some(server.kubeconfig.clone()), ..ClusterOptions::default() };
    let mut options = Options::new(Vec::new(), "2026-11-25".parse().expect("a day"));
    (options.cluster, options.view) = (Some(cluster.clone()), Some(View::Kccss(RuleSet::Kccss)));
    let scan = move || {
        let mut out = Vec::new();
        command::run(&options, &mut std::io::empty(), &mut out).map(|_| out).map_err(|error| error.to_string())
    };
    let rescan = Rescan::start(scan, pace(3_600_000), || 1);
    follow(&rescan, cluster, |line| println!("{line}"));
    let items = || {
        let result = rescan.state().result.unwrap_or_default();
        let risks: Value = serde_json::from_slice(&result).unwrap_or_default();
        risks["data"][0]["risk"]["riskItems"].as_array().map_or(0, Vec::len)
    };
    until("the first scan", || rescan.state().result.is_some());
    let before = items();
    until("a watch of the pods", || server.is_watched("/api/v1/pods"));
    server.put("/api/v1/pods", pod(true));
    until("the change", || items() > before);
}

#[test]
fn controls_pass_only_where_every_resource_does() {
    let place = tempfile::tempdir().expect("a folder");
    fs::write(place.path().join("pods.yaml"), PODS).expect("it can be written");
    let cloud = "resource \"aws_eks_cluster\" \"a\" {\n  name = \"a\"\n  role_arn = \"r\"\n  vpc_config {\n    endpoint_public_access = true\n  }\n}\n";
    fs::write(place.path().join("main.tf"), cloud).expect("it can be written");
    let mut options = Options::new(vec![place.path().to_owned()], "2026-11-25".parse().expect("a day"));
    options.view = Some(View::Kccss(RuleSet::Kccss));
    let mut out = Vec::new();
    command::run(&options, &mut &b""[..], &mut out).expect("Terraform's files are not among what this view reads");
    options.view = Some(View::Mkit);
    let mut out = Vec::new();
    assert_eq!(command::run(&options, &mut &b""[..], &mut out).expect("it runs"), FINDINGS);
    let found: Value = serde_json::from_slice(&out).expect("JSON");
    let controls = found["controls"].as_array().expect("a list");
    let control = |id: &str| controls.iter().find(|control| control["id"] == id).unwrap_or_else(|| panic!("{id}"));
    let privileged = control("RF-K8S-0001");
    assert_eq!((&privileged["result"], &privileged["set"]), (&"failed".into(), &"kubernetes".into()));
    let affected: Vec<_> =
        privileged["resources"].as_array().expect("a list").iter().map(|one| &one["result"]).collect();
    assert_eq!(affected, ["failed", "passed"]);
    assert_eq!(control("RF-K8S-0003")["result"], "passed");
    assert_eq!((&control("RF-AWS-0154")["set"], &control("RF-AWS-0154")["result"]), (&"eks".into(), &"failed".into()));
    let results: Vec<_> = controls.iter().map(|control| control["result"] == "failed").collect();
    assert!(results.is_sorted_by(|a, b| a >= b), "the failed ones first");
    assert!(found["idle"].as_array().is_some_and(|idle| idle.contains(&"RF-GCP-0010".into())));
    assert_eq!(found["summary"]["failed"], results.iter().filter(|failed| **failed).count());
}
