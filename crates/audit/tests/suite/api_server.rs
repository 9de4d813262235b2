//! An API server of Kubernetes that replays lists in the form of a real one (1.30): TLS, a token, pages, refusals, continuations
//! that expire, and watches of what a test changes, with bookmarks, ends and versions that are gone. Also what kubectl asks for
//! before it gets an object.

#![allow(dead_code, reason = "two test programs share this, and neither uses all of it")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

/// The token that the server knows at first; made up of words, as no real one is.
pub const TOKEN: &str = "token-of-the-test";

/// What the server has and how it answers.
#[derive(Default)]
pub struct Objects {
    /// By the path of the list over all namespaces: objects without kind and apiVersion, as in a typed list.
    pub lists: BTreeMap<&'static str, Vec<Value>>,
    /// Paths that are refused.
    pub forbidden: Vec<&'static str>,
    /// Paths that may be listed and not watched.
    pub unwatchable: Vec<&'static str>,
    /// Paths whose first continuation has expired.
    pub expires: Mutex<Vec<&'static str>>,
    /// What was asked for.
    pub asked: Mutex<Vec<String>>,
}

/// What changes while the server runs.
struct Store {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    lists: BTreeMap<&'static str, Vec<Value>>,
    token: String,
    version: u64,
    /// Version, list, event.
    log: Vec<(u64, &'static str, Value)>,
    /// What happened before is not known any more.
    oldest: u64,
    /// Watches that began before this many hang-ups end.
    hang_ups: u64,
    /// Paths with a watch that is open.
    watched: Vec<String>,
    /// Nothing is answered any more.
    ended: bool,
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread broke")
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        state.version += 1;
        change(&mut state);
        self.changed.notify_all();
    }
}

/// A server that ends with this.
pub struct ApiServer {
    pub objects: Arc<Objects>,
    pub kubeconfig: PathBuf,
    pub address: SocketAddr,
    store: Arc<Store>,
    thread: Option<JoinHandle<()>>,
}

impl ApiServer {
    /// Starts one and writes a kubeconfig for it with the context `test`.
    pub fn start(folder: &Path, objects: Objects) -> Self {
        Self::start_at(folder, objects, "127.0.0.1:0".parse().expect("an address"))
    }

    /// The same at an address that another one had.
    pub fn start_at(folder: &Path, mut objects: Objects, address: SocketAddr) -> Self {
        let state = State {
            lists: std::mem::take(&mut objects.lists),
            token: TOKEN.to_owned(),
            version: 10_245,
            log: Vec::new(),
            oldest: 0,
            hang_ups: 0,
            watched: Vec::new(),
            ended: false,
        };
        let store = Arc::new(Store { state: Mutex::new(state), changed: Condvar::new() });
        let (authority, key_file) = (folder.join("ca.crt"), folder.join("server-key"));
        if !key_file.exists() {
            let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a name");
            std::fs::write(&authority, made.cert.pem()).expect("it can be written");
            std::fs::write(&key_file, made.signing_key.serialize_pem()).expect("it can be written");
        }
        let read = |file: &Path| std::fs::read_to_string(file).expect("it is there");
        let (certificate, key) = (read(&authority), read(&key_file));
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they belong together");
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("an address");
        let objects = Arc::new(objects);
        let (config, served, kept) = (Arc::new(config), objects.clone(), store.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if kept.lock().ended {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (config, served, kept) = (config.clone(), served.clone(), kept.clone());
                // Ends with its connection.
                std::thread::spawn(move || serve(stream, config, &served, &kept));
            }
        });
        let kubeconfig = folder.join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: c, cluster: {{server: \"https://{address}\", certificate-authority: \"{}\"}}}}]\n\
             users: [{{name: u, user: {{token: {TOKEN}}}}}, {{name: nobody, user: {{token: wrong}}}}]\n\
             contexts: [{{name: test, context: {{cluster: c, user: u}}}}, {{name: nobody, context: {{cluster: c, user: nobody}}}}]\n",
            authority.display()
        );
        std::fs::write(&kubeconfig, text).expect("it can be written");
        Self { objects, kubeconfig, address, store, thread: Some(thread) }
    }

    /// An object is there that was not, or is another one now.
    pub fn put(&self, list: &'static str, object: Value) {
        self.store.change(|state| {
            let objects = state.lists.entry(list).or_default();
            let kind = match position(objects, &object) {
                Some(at) => {
                    objects[at] = object.clone();
                    "MODIFIED"
                }
                None => {
                    objects.push(object.clone());
                    "ADDED"
                }
            };
            state.happened(kind, list, object);
        });
    }

    /// An object is gone.
    pub fn remove(&self, list: &'static str, object: &Value) {
        self.store.change(|state| {
            let objects = state.lists.entry(list).or_default();
            let at = position(objects, object).expect("it is there");
            let object = objects.remove(at);
            state.happened("DELETED", list, object);
        });
    }

    /// Every watch hears how far the server is.
    pub fn bookmark(&self, list: &'static str) {
        self.store
            .change(|state| state.happened("BOOKMARK", list, json!({ "metadata": { "creationTimestamp": null } })));
    }

    /// All watches end, as they do after some minutes or where a server goes.
    pub fn hang_up(&self) {
        self.store.change(|state| state.hang_ups += 1);
    }

    /// An object is gone and no watch will say so: all end, and what happened until now is not known any more.
    pub fn forget(&self, list: &'static str, gone: &Value) {
        self.store.change(|state| {
            let objects = state.lists.entry(list).or_default();
            let at = position(objects, gone).expect("it is there");
            objects.remove(at);
            state.log.clear();
            (state.oldest, state.hang_ups) = (state.version, state.hang_ups + 1);
        });
    }

    /// Only this token is known from now on.
    pub fn rotate(&self, token: &str) {
        self.store.change(|state| token.clone_into(&mut state.token));
    }

    /// Whether somebody watches this path.
    pub fn is_watched(&self, path: &str) -> bool {
        self.store.lock().watched.iter().any(|watched| watched == path)
    }
}

impl State {
    fn happened(&mut self, kind: &str, list: &'static str, mut object: Value) {
        let (name, version) = kind_of(list);
        (object["kind"], object["apiVersion"]) = (name.into(), version.into());
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.log.push((self.version, list, json!({ "type": kind, "object": object })));
    }
}

fn position(objects: &[Value], object: &Value) -> Option<usize> {
    let name = |object: &Value| (object["metadata"]["namespace"].clone(), object["metadata"]["name"].clone());
    objects.iter().position(|known| name(known) == name(object))
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.store.change(|state| (state.ended, state.hang_ups) = (true, state.hang_ups + 1));
        // Wakes it up.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ended well");
        }
    }
}

fn serve(stream: TcpStream, config: Arc<rustls::ServerConfig>, objects: &Objects, store: &Store) {
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let connection = rustls::ServerConnection::new(config).expect("a connection");
    let mut reader = BufReader::new(rustls::StreamOwned::new(connection, stream));
    loop {
        let (mut first, mut known, mut length) = (String::new(), false, 0);
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "authorization" => known = value == format!("Bearer {}", store.lock().token),
                "content-length" => length = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() || store.lock().ended {
            return;
        }
        let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
        objects.asked.lock().expect("no thread broke").push(target.clone());
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let is_watch = query.split('&').any(|pair| pair == "watch=1");
        let refused = objects.forbidden.iter().chain(objects.unwatchable.iter().filter(|_| is_watch));
        let (status, body) = if !known {
            refusal(401, "Unauthorized", "Unauthorized")
        } else if refused.clone().any(|refused| *refused == path) {
            forbidden(path, if is_watch { "watch" } else { "list" })
        } else if is_watch && store.lock().lists.contains_key(list_of(path).0.as_str()) {
            // A watch is the last that a connection is used for.
            let _ = watch(path, query, store, reader.get_mut());
            return;
        } else {
            answer(path, query, objects, &store.lock())
        };
        let body = body.to_string();
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        let out = reader.get_mut();
        if out
            .write_all(head.as_bytes())
            .and_then(|()| out.write_all(body.as_bytes()))
            .and_then(|()| out.flush())
            .is_err()
        {
            return;
        }
    }
}

fn refusal(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code });
    (code, status)
}

fn forbidden(path: &str, verb: &str) -> (u16, Value) {
    let plural = path.rsplit('/').next().unwrap_or_default();
    let message = format!(
        "{plural} is forbidden: User \"system:serviceaccount:audit:scanner\" cannot {verb} resource \"{plural}\" in API group \"\" at the cluster scope"
    );
    refusal(403, "Forbidden", &message)
}

/// `/api/v1/namespaces/shop/pods/a`: the path of the list over all namespaces, the namespace, the name.
fn list_of(path: &str) -> (String, Option<&str>, Option<&str>) {
    let parts: Vec<&str> = path.split('/').collect();
    let at = parts.iter().position(|part| *part == "namespaces").filter(|at| parts.len() > at + 2);
    match at {
        Some(at) => {
            let list = [&parts[..at], &parts[at + 2..=at + 2]].concat().join("/");
            (list, Some(parts[at + 1]), parts.get(at + 3).copied())
        }
        // /api/v1/namespaces/shop
        None if parts.len() == 5 && parts[3] == "namespaces" => {
            ("/api/v1/namespaces".to_owned(), None, parts.get(4).copied())
        }
        None => (path.to_owned(), None, None),
    }
}

fn argument<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Sends what happens to a list after a version, an event a line, until somebody hangs up.
fn watch(path: &str, query: &str, store: &Store, out: &mut impl Write) -> std::io::Result<()> {
    let (list, namespace, _) = list_of(path);
    let mut after: u64 = argument(query, "resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    let bookmarks = argument(query, "allowWatchBookmarks") == Some("true");
    write!(out, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")?;
    out.flush()?;
    let mut send = |event: &Value| {
        let line = format!("{event}\n");
        write!(out, "{:x}\r\n{line}\r\n", line.len())?;
        out.flush()
    };
    let mut state = store.lock();
    let hang_ups = state.hang_ups;
    if after < state.oldest {
        drop(state);
        let (_, status) = refusal(410, "Expired", "too old resource version");
        send(&json!({ "type": "ERROR", "object": status }))?;
        return out.write_all(b"0\r\n\r\n").and_then(|()| out.flush());
    }
    state.watched.push(path.to_owned());
    let result = loop {
        let is_mine = |(version, of, event): &&(u64, &'static str, Value)| {
            let here = namespace.is_none_or(|namespace| event["object"]["metadata"]["namespace"] == namespace);
            let wanted = if event["type"] == "BOOKMARK" { bookmarks } else { here };
            *version > after && *of == list && wanted
        };
        let news: Vec<Value> = state.log.iter().filter(is_mine).map(|(.., event)| event.clone()).collect();
        after = state.version;
        if news.is_empty() && state.hang_ups > hang_ups {
            break Ok(());
        }
        if news.is_empty() {
            state = store.changed.wait(state).expect("no thread broke");
            continue;
        }
        drop(state);
        let sent = news.iter().try_for_each(&mut send);
        state = store.lock();
        if sent.is_err() {
            break sent;
        }
    };
    let at = state.watched.iter().position(|watched| watched == path).expect("it was put there");
    state.watched.remove(at);
    drop(state);
    result.and_then(|()| out.write_all(b"0\r\n\r\n")).and_then(|()| out.flush())
}

fn answer(path: &str, query: &str, objects: &Objects, state: &State) -> (u16, Value) {
    if let Some(found) = discovery(path) {
        return (200, found);
    }
    let (list, namespace, name) = list_of(path);
    let Some(all) = state.lists.get(list.as_str()) else {
        return refusal(404, "NotFound", "the server could not find the requested resource");
    };
    let (kind, version) = kind_of(&list);
    let here = |object: &&Value| namespace.is_none_or(|namespace| object["metadata"]["namespace"] == namespace);
    let all: Vec<&Value> = all.iter().filter(here).collect();
    if let Some(name) = name {
        let Some(object) = all.iter().find(|object| object["metadata"]["name"] == name) else {
            let plural = path.rsplit('/').nth(1).unwrap_or_default();
            return refusal(404, "NotFound", &format!("{plural} \"{name}\" not found"));
        };
        let mut object = (*object).clone();
        object["kind"] = kind.into();
        object["apiVersion"] = version.into();
        return (200, object);
    }
    let from = argument(query, "continue").map_or(0, |token| token.trim_end_matches("%3D").parse().unwrap_or(0));
    if from > 0 {
        let mut expires = objects.expires.lock().expect("no thread broke");
        if let Some(at) = expires.iter().position(|expired| *expired == path) {
            expires.remove(at);
            return refusal(
                410,
                "Expired",
                "The provided continue parameter is too old to display a consistent list result.",
            );
        }
    }
    let limit: usize = argument(query, "limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let page: Vec<_> = all.iter().skip(from).take(limit).collect();
    let left = all.len().saturating_sub(from + page.len());
    let mut metadata = json!({ "resourceVersion": state.version.to_string() });
    if left > 0 {
        // A token of a real one is base64 and may end in `=`.
        metadata["continue"] = format!("{}=", from + page.len()).into();
        metadata["remainingItemCount"] = left.into();
    }
    (200, json!({ "kind": format!("{kind}List"), "apiVersion": version, "metadata": metadata, "items": page }))
}

fn kind_of(list: &str) -> (&'static str, &'static str) {
    match list {
        "/api/v1/namespaces" => ("Namespace", "v1"),
        "/api/v1/pods" => ("Pod", "v1"),
        "/api/v1/services" => ("Service", "v1"),
        "/api/v1/secrets" => ("Secret", "v1"),
        "/apis/apps/v1/deployments" => ("Deployment", "apps/v1"),
        "/apis/apps/v1/replicasets" => ("ReplicaSet", "apps/v1"),
        "/apis/rbac.authorization.k8s.io/v1/clusterroles" => ("ClusterRole", "rbac.authorization.k8s.io/v1"),
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings" => {
            ("ClusterRoleBinding", "rbac.authorization.k8s.io/v1")
        }
        "/apis/networking.k8s.io/v1/networkpolicies" => ("NetworkPolicy", "networking.k8s.io/v1"),
        other => panic!("the test has no kind for {other}"),
    }
}

/// What kubectl asks for first.
fn discovery(path: &str) -> Option<Value> {
    let resource = |name: &str, kind: &str, short: &str| {
        json!({ "name": name, "singularName": kind.to_lowercase(), "namespaced": true, "kind": kind,
            "verbs": ["get", "list"], "shortNames": [short] })
    };
    Some(match path {
        "/version" => json!({ "major": "1", "minor": "30", "gitVersion": "v1.30.4", "platform": "linux/amd64" }),
        "/api" => json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }),
        "/apis" => {
            let version = json!({ "groupVersion": "apps/v1", "version": "v1" });
            json!({ "kind": "APIGroupList", "apiVersion": "v1",
                "groups": [{ "name": "apps", "versions": [version], "preferredVersion": version }] })
        }
        "/api/v1" => {
            json!({ "kind": "APIResourceList", "groupVersion": "v1", "resources": [resource("pods", "Pod", "po")] })
        }
        "/apis/apps/v1" => json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "apps/v1",
            "resources": [resource("deployments", "Deployment", "deploy")] }),
        _ => return None,
    })
}
