//! A cluster that is watched, over TLS: what changes in it comes as lines, also after watches that end, versions that are gone, a
//! token that was rotated, and an API server that was away.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ringfort_audit::cluster::ClusterOptions;
use ringfort_audit::command::{self, CLEAN, CommandError, FINDINGS, Options};
use ringfort_audit::output::Format;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::api_server::{ApiServer, TOKEN};
use crate::cluster::{deployment, object, objects, owned, pod_spec};

const PODS: &str = "/api/v1/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";
const PATIENCE: Duration = Duration::from_secs(30);

/// A watch of two policies on a thread of its own.
struct Watch {
    lines: Receiver<String>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<u8, CommandError>>>,
}

/// Sends what is written on, line by line.
struct Lines(Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8(bytes.to_vec()).map_err(io::Error::other)?;
        self.0.send(text).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Watch {
    fn start(server: &ApiServer, change: impl FnOnce(&mut Options)) -> Self {
        let (sender, lines) = channel();
        let (stop, stopped) = oneshot::channel();
        let mut options = Options::new(Vec::new(), "2026-11-25".parse().expect("a day"));
        let kubeconfig = Some(server.kubeconfig.clone());
        options.cluster = Some(ClusterOptions { kubeconfig, page: 3, ..ClusterOptions::default() });
        options.outputs = vec![(Format::Json, None)];
        options.only = ["RF-K8S-0001", "RF-K8S-0003"].map(str::to_owned).to_vec();
        change(&mut options);
        let thread = std::thread::spawn(move || {
            let stopped = async {
                let _ = stopped.await;
            };
            command::watch(&options, &mut Lines(sender), &|| "2026-11-25T10:00:00Z".to_owned(), stopped)
        });
        Self { lines, stop: Some(stop), thread: Some(thread) }
    }

    fn line(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("another line");
        serde_json::from_str(&line).expect("JSON")
    }

    /// What comes until the line that says that everything has been read once; the last is that line.
    fn first(&self) -> Vec<Value> {
        let mut lines = vec![self.line()];
        while lines.last().expect("one was just put there")["change"] != "settled" {
            lines.push(self.line());
        }
        lines
    }

    /// Change, resource and policy of the next line, or the reason for a gap.
    fn next(&self) -> [String; 3] {
        let line = self.line();
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        if line["policy"].is_null() {
            return [text("change"), text("file"), text("reason")];
        }
        [text("change"), text("resource"), text("policy")]
    }

    /// The next line like this; others are passed over.
    fn until(&self, like: impl Fn(&[String; 3]) -> bool) -> [String; 3] {
        std::iter::repeat_with(|| self.next()).find(like).expect("there is no end")
    }

    fn end(mut self) -> u8 {
        self.stop.take().expect("it was not stopped").send(()).expect("it goes on");
        self.thread.take().expect("it runs").join().expect("it ended well").expect("it ran well")
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited in vain for {what}");
}

fn place() -> (tempfile::TempDir, ApiServer) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = ApiServer::start(folder.path(), objects());
    (folder, server)
}

fn pod(name: &str, privileged: bool) -> Value {
    object("shop", name, &pod_spec(privileged))
}

#[test]
fn findings_come_and_go_with_what_changes_in_the_cluster() {
    let (_folder, server) = place();
    let watch = Watch::start(&server, |_| {});
    let first = watch.first();
    let appeared: Vec<_> =
        first.iter().filter(|line| line["change"] == "appeared").map(|line| &line["resource"]).collect();
    assert_eq!(appeared, ["Deployment/mail/relay", "Pod/shop/by-hand"], "what owns itself is not scanned besides");
    let refused: Vec<_> = first.iter().filter(|line| line["change"] == "gap").collect();
    assert!(refused.len() == 1 && refused[0]["file"] == "kube://test/apis/batch/v1/cronjobs", "{refused:?}");
    let settled = first.last().expect("some came");
    // 7 + 1 deployments, a pod, two namespaces; six kinds are served, one of them refused.
    assert_eq!((&settled["findings"], &settled["objects"], &settled["lists"]), (&2.into(), &11.into(), &6.into()));

    until("a watch of the pods", || server.is_watched(PODS));
    server.put(PODS, pod("new", true));
    assert_eq!(watch.next(), ["appeared", "Pod/shop/new", "RF-K8S-0001"]);
    // Only the status has changed: no line. The owned pod: no line. The next line is that of the last change.
    let mut running = pod("new", true);
    running["status"] = json!({ "phase": "Running" });
    server.put(PODS, running);
    server.put(PODS, owned(pod("relay-1", true), "ReplicaSet", "relay-5d4f"));
    server.put(PODS, pod("new", false));
    assert_eq!(watch.next(), ["gone", "Pod/shop/new", "RF-K8S-0001"]);
    server.remove(PODS, &pod("by-hand", true));
    assert_eq!(watch.next(), ["gone", "Pod/shop/by-hand", "RF-K8S-0001"]);
    until("a watch of the deployments", || server.is_watched(DEPLOYMENTS));
    server.put(DEPLOYMENTS, deployment("shop", "web-0", true));
    assert_eq!(watch.next(), ["appeared", "Deployment/shop/web-0", "RF-K8S-0001"]);
    assert_eq!(watch.end(), FINDINGS, "there are two");
}

#[test]
fn a_watch_that_ends_is_taken_up_where_it_was() {
    let (_folder, server) = place();
    let watch = Watch::start(&server, |_| {});
    watch.first();
    until("a watch of the pods", || server.is_watched(PODS));
    server.put(PODS, pod("new", true));
    assert_eq!(watch.next(), ["appeared", "Pod/shop/new", "RF-K8S-0001"]);
    let asked = || server.objects.asked.lock().expect("no thread broke").clone();
    let lists = |path: &str| asked().iter().filter(|asked| asked.starts_with(&format!("{path}?limit"))).count();
    let before = lists(PODS);
    // What happens between two watches comes with the second: it begins after the last version that was heard of.
    server.hang_up();
    server.remove(PODS, &pod("new", true));
    assert_eq!(watch.next(), ["gone", "Pod/shop/new", "RF-K8S-0001"]);
    assert_eq!(lists(PODS), before, "it was not listed again");
    let versions = |path: &str| -> Vec<u64> {
        let start = format!("{path}?watch=1");
        let watches = asked().into_iter().filter(|asked| asked.starts_with(&start)).collect::<Vec<_>>();
        watches.iter().map(|watch| watch.rsplit('=').next().expect("a version").parse().expect("a number")).collect()
    };
    assert!(versions(PODS).windows(2).all(|pair| pair[0] < pair[1]), "{:?}", versions(PODS));
    // A bookmark alone carries the version on.
    until("a watch of the deployments", || server.is_watched(DEPLOYMENTS));
    let before = versions(DEPLOYMENTS);
    server.bookmark(DEPLOYMENTS);
    server.hang_up();
    until("another watch of the deployments", || versions(DEPLOYMENTS).len() > before.len());
    assert!(versions(DEPLOYMENTS).last() > before.last(), "{before:?} {:?}", versions(DEPLOYMENTS));
    watch.end();
}

#[test]
fn a_version_that_is_gone_begins_with_the_list_and_tells_what_differs() {
    let (_folder, server) = place();
    let watch = Watch::start(&server, |_| {});
    watch.first();
    until("a watch of the pods", || server.is_watched(PODS));
    server.forget(PODS, &pod("by-hand", true));
    assert_eq!(watch.next(), ["gone", "Pod/shop/by-hand", "RF-K8S-0001"]);
    until("a watch of the pods", || server.is_watched(PODS));
    server.put(PODS, pod("new", true));
    assert_eq!(watch.next(), ["appeared", "Pod/shop/new", "RF-K8S-0001"], "nothing that stayed is told twice");
    server.put(DEPLOYMENTS, deployment("mail", "relay", false));
    assert_eq!(watch.next(), ["gone", "Deployment/mail/relay", "RF-K8S-0001"]);
    server.remove(PODS, &pod("new", true));
    assert_eq!(watch.next(), ["gone", "Pod/shop/new", "RF-K8S-0001"]);
    assert_eq!(watch.end(), CLEAN, "nothing is left");
}

#[test]
fn what_may_not_be_watched_is_listed_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut objects = objects();
    objects.unwatchable.push(PODS);
    let server = ApiServer::start(folder.path(), objects);
    let watch = Watch::start(&server, |options| {
        options.strict = true;
        options.cluster.as_mut().expect("it is there").again = Duration::from_millis(100);
    });
    watch.first();
    let [change, place, why] = watch.next();
    assert_eq!((change.as_str(), place.as_str()), ("gap", "kube://test/api/v1/pods"));
    assert!(why.starts_with("403: pods is forbidden: ") && why.ends_with("; not watched, but listed again"), "{why}");
    server.put(PODS, pod("new", true));
    assert_eq!(watch.next(), ["appeared", "Pod/shop/new", "RF-K8S-0001"]);
    server.remove(PODS, &pod("new", true));
    assert_eq!(watch.next(), ["gone", "Pod/shop/new", "RF-K8S-0001"]);
    assert_eq!(watch.end(), command::COULD_NOT_RUN, "with --strict a gap counts");
}

#[test]
fn a_token_that_was_rotated_is_read_again() {
    let (_folder, server) = place();
    let watch = Watch::start(&server, |_| {});
    watch.first();
    until("a watch of the pods", || server.is_watched(PODS));
    let text = std::fs::read_to_string(&server.kubeconfig).expect("it is there");
    std::fs::write(&server.kubeconfig, text.replace(TOKEN, "token-after-the-turn")).expect("it can be written");
    server.rotate("token-after-the-turn");
    server.hang_up();
    server.put(PODS, pod("new", true));
    assert_eq!(watch.next(), ["appeared", "Pod/shop/new", "RF-K8S-0001"]);
    watch.end();
}

#[test]
fn an_api_server_that_is_away_is_a_gap_until_it_is_back() {
    let (folder, server) = place();
    let watch = Watch::start(&server, |_| {});
    watch.first();
    until("a watch of the pods", || server.is_watched(PODS));
    let address = server.address;
    drop(server);
    let pods = |change: &str| watch.until(|line| line[0] == change && line[1] == "kube://test/api/v1/pods");
    let [.., why] = pods("gap");
    assert!(why.ends_with("; it is tried again"), "{why}");
    let server = ApiServer::start_at(folder.path(), objects(), address);
    pods("mended");
    server.put(PODS, pod("new", true));
    let appeared = watch.until(|line| line[0] == "appeared");
    assert_eq!(appeared, ["appeared", "Pod/shop/new", "RF-K8S-0001"]);
    watch.end();
}

#[test]
fn lines_for_people_and_who_stops_reading_ends_it() {
    let (_folder, server) = place();
    let mut watch = Watch::start(&server, |options| options.outputs = Vec::new());
    let first = watch.lines.iter().find(|line| line.contains("  +  ")).expect("a line");
    let line = "2026-11-25T10:00:00Z  +  critical  RF-K8S-0001  Deployment/mail/relay container app  Containers do not run privileged\n";
    assert_eq!(first, line);
    drop(std::mem::replace(&mut watch.lines, channel().1));
    until("a watch of the pods", || {
        // The reader may be gone before everything has been read.
        server.is_watched(PODS) || watch.thread.as_ref().is_some_and(JoinHandle::is_finished)
    });
    server.put(PODS, pod("new", true));
    let ended = watch.thread.take().expect("it runs").join().expect("it ended well");
    assert_eq!(ended.expect("that is no error"), FINDINGS);
}

#[test]
fn what_cannot_be_watched_is_said_before_anything_is_asked() {
    let (_folder, server) = place();
    let refused = |change: fn(&mut Options)| {
        let watch = Watch::start(&server, change);
        let result = watch.thread.expect("it runs").join().expect("it ended well");
        result.expect_err("it cannot run").to_string()
    };
    assert!(refused(|options| options.cluster = None).contains("--watch watches a cluster"));
    assert!(refused(|options| options.view = Some(command::View::Mkit)).contains("--watch goes with none of --view"));
    assert!(refused(|options| options.outputs = vec![(Format::Sarif, None)]).contains("not sarif"));
    assert!(refused(|options| options.outputs = vec![(Format::Json, None); 2]).contains("only one format"));
    assert!(server.objects.asked.lock().expect("no thread broke").is_empty());
}
