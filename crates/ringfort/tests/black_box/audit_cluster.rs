//! `ringfort audit --cluster` as a process against a small API server: watched until it is asked to end, within a pod by the files
//! of its service account, and as the plugin of the real kubectl.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::{Value, json};

use crate::api_server::{ApiServer, Objects, TOKEN};
use crate::support::{PROGRAM, path_with, text};

const PODS: &str = "/api/v1/pods";

fn pod(name: &str, privileged: bool) -> Value {
    let container =
        json!({ "name": "app", "image": "registry.example/app:1", "securityContext": { "privileged": privileged } });
    json!({ "metadata": { "name": name, "namespace": "shop" }, "spec": { "containers": [container] } })
}

struct Cluster {
    folder: tempfile::TempDir,
    server: ApiServer,
}

impl Cluster {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut objects = Objects::default();
        objects.lists.insert(PODS, vec![pod("a", true), pod("b", false)]);
        let server = ApiServer::start(folder.path(), objects);
        Self { folder, server }
    }

    /// The program without anybody's own configuration of a cluster.
    fn ringfort(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("HOME", self.folder.path()).env_remove("KUBECONFIG").stdin(Stdio::null());
        command
    }
}

/// A process that watches, and its lines.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn until(&mut self, change: &str) -> Value {
        loop {
            let line: Value = serde_json::from_str(&self.lines.next().expect("it goes on").unwrap()).unwrap();
            if line["change"] == change {
                return line;
            }
        }
    }

    fn end(mut self) -> Option<i32> {
        // SAFETY: a signal to our own child, which has not been waited for.
        unsafe { libc::kill(i32::try_from(self.child.id()).unwrap(), libc::SIGTERM) };
        self.child.wait().unwrap().code()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if done() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("waited in vain for {what}");
}

#[test]
fn a_cluster_is_watched_until_the_process_is_asked_to_end() {
    let cluster = Cluster::new();
    let mut command = cluster.ringfort(PROGRAM);
    command.args(["audit", "--cluster", "--watch", "--only", "RF-K8S-0001", "-o", "json", "--kubeconfig"]);
    command.arg(&cluster.server.kubeconfig);
    let mut watch = Watch::start(command);
    assert_eq!(watch.until("appeared")["resource"], "Pod/shop/a");
    assert_eq!(watch.until("settled")["objects"], 2);
    until("a watch of the pods", || cluster.server.is_watched(PODS));
    cluster.server.put(PODS, pod("b", true));
    assert_eq!(watch.until("appeared")["resource"], "Pod/shop/b");
    cluster.server.remove(PODS, &pod("a", true));
    assert_eq!(watch.until("gone")["resource"], "Pod/shop/a");
    assert_eq!(watch.end(), Some(1), "one is left");
    let mut command = cluster.ringfort(PROGRAM);
    let output = command.args(["audit", "--cluster", "--watch", "-o", "sarif"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--watch writes lines as table or json"), "{}", text(&output.stderr));
}

/// A pod's view of its service account: the files where every pod has them, in a tree of mounts that only this process sees.
fn in_a_pod(cluster: &Cluster, account: &Path, arguments: &str) -> Command {
    const SCRIPT: &str = "set -e
        mount -t tmpfs tmpfs /run
        mkdir -p /run/secrets/kubernetes.io/serviceaccount
        mount --bind \"$1\" /run/secrets/kubernetes.io/serviceaccount
        shift
        exec \"$@\"";
    let mut command = cluster.ringfort("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", SCRIPT, "sh"]).arg(account).arg(PROGRAM);
    command.args(arguments.split(' '));
    command.env("KUBERNETES_SERVICE_HOST", cluster.server.address.ip().to_string());
    command.env("KUBERNETES_SERVICE_PORT", cluster.server.address.port().to_string());
    command
}

/// Whether a process may have mounts of its own here.
fn can_mount() -> bool {
    let mount = ["--mount", "--map-root-user", "mount", "-t", "tmpfs", "tmpfs", "/run"];
    let output = Command::new("unshare").args(mount).output();
    let why = match output {
        Ok(output) if output.status.success() && Path::new("/var/run/.").exists() => return true,
        Ok(output) => text(&output.stderr),
        Err(error) => format!("unshare: {error}"),
    };
    let required = std::env::var("RINGFORT_TEST_PROGRAMS").is_ok_and(|value| value == "required");
    assert!(!required, "no mounts of one's own, and RINGFORT_TEST_PROGRAMS=required: {why}");
    println!("skipped: no mounts of one's own: {why}");
    false
}

#[test]
fn within_a_pod_the_service_account_counts_and_its_token_is_read_again() {
    if !can_mount() {
        return;
    }
    let cluster = Cluster::new();
    let account = cluster.folder.path().join("account");
    std::fs::create_dir(&account).unwrap();
    // As the kubelet does: a whole new file in the place of the old one.
    let token = |token: &str| {
        std::fs::write(account.join("next"), token).unwrap();
        std::fs::rename(account.join("next"), account.join("token")).unwrap();
    };
    token(TOKEN);
    std::fs::copy(cluster.folder.path().join("ca.crt"), account.join("ca.crt")).unwrap();
    std::fs::write(account.join("namespace"), "audit").unwrap();
    let output = in_a_pod(&cluster, &account, "audit --cluster --only RF-K8S-0001 -o json").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["findings"][0]["file"], "kube://cluster/api/v1/pods");

    let mut watch = Watch::start(in_a_pod(&cluster, &account, "audit --cluster --watch --only RF-K8S-0001 -o json"));
    watch.until("settled");
    until("a watch of the pods", || cluster.server.is_watched(PODS));
    token("token-after-the-turn");
    cluster.server.rotate("token-after-the-turn");
    cluster.server.hang_up();
    cluster.server.put(PODS, pod("c", true));
    assert_eq!(watch.until("appeared")["resource"], "Pod/shop/c");
    assert_eq!(watch.end(), Some(1));

    // A token that the server does not know, an authority that is not the server's, no token at all.
    let refused = |words: &str| {
        let output = in_a_pod(&cluster, &account, "audit --cluster").output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(words), "{words}: {}", text(&output.stderr));
    };
    token(TOKEN);
    refused("401: Unauthorized");
    let other = Cluster::new();
    std::fs::copy(other.folder.path().join("ca.crt"), account.join("ca.crt")).unwrap();
    refused("certificate");
    std::fs::remove_file(account.join("namespace")).unwrap();
    refused("in this pod: failed to read the default namespace");
}

/// The plugin: kubectl finds it by its name, it asks kubectl for the object, and gives it to the program.
#[test]
fn kubectl_has_live_objects_and_the_cluster_scanned_by_the_plugin() {
    let Some(path) = path_with(&["kubectl"]) else { return };
    let cluster = Cluster::new();
    let bin = cluster.folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/kubernetes/kubectl-ringfort");
    std::os::unix::fs::symlink(plugin.canonicalize().unwrap(), bin.join("kubectl-ringfort")).unwrap();
    std::os::unix::fs::symlink(PROGRAM, bin.join("ringfort")).unwrap();
    let kubectl =
        std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|file| file.is_file()).unwrap();
    let paths: OsString = std::env::join_paths(std::iter::once(bin).chain(std::env::split_paths(&path))).unwrap();
    let kubectl = |line: &str| -> Output {
        let mut command = cluster.ringfort(PathBuf::from(&kubectl));
        command
            .args(line.split(' '))
            .env("KUBECONFIG", &cluster.server.kubeconfig)
            .env("PATH", &paths)
            .output()
            .unwrap()
    };
    let json = |output: &Output| -> Value {
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
    };
    let output = kubectl("ringfort pod/a -n shop -- --view kubesec");
    assert_eq!(output.status.code(), Some(2), "a score that is not above zero: {}", text(&output.stderr));
    let scores = json(&output);
    assert_eq!(
        (&scores[0]["object"], &scores[0]["scoring"]["critical"][0]["points"]),
        (&"Pod/a.shop".into(), &(-30).into())
    );
    // Several objects come as a list.
    let output = kubectl("ringfort pods -n shop -- --only RF-K8S-0001 -o json");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let report = json(&output);
    let resources: Vec<_> = report["findings"].as_array().unwrap().iter().map(|finding| &finding["resource"]).collect();
    assert_eq!((resources, &report["summary"]["objects"]), (vec![&Value::from("Pod/shop/a")], &2.into()));
    assert_eq!(report["findings"][0]["file"], "STDIN");
    let output = kubectl("ringfort pod nothing -n shop");
    assert_eq!(output.status.code(), Some(2), "there is no such pod, and nothing is scanned");
    assert!(output.stdout.is_empty() && text(&output.stderr).contains("(NotFound)"), "{}", text(&output.stderr));
    let output = kubectl("ringfort -- --only RF-K8S-0001 -o json");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(json(&output)["findings"][0]["file"], "kube://test/api/v1/pods");
}
