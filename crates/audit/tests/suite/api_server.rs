//! An API server of Kubernetes that replays lists in the form of a real one (1.30): TLS, a token, pages, refusals, and
//! continuations that expire. Also what kubectl asks for before it gets an object.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

/// The token that the server knows; made up of words, as no real one is.
const TOKEN: &str = "token-of-the-test";

/// What the server has and how it answers.
#[derive(Default)]
pub struct Objects {
    /// By the path of the list over all namespaces: objects without kind and apiVersion, as in a typed list.
    pub lists: BTreeMap<&'static str, Vec<Value>>,
    /// Paths that are refused.
    pub forbidden: Vec<&'static str>,
    /// Paths whose first continuation has expired.
    pub expires: Mutex<Vec<&'static str>>,
    /// What was asked for.
    pub asked: Mutex<Vec<String>>,
}

/// A server that ends with this.
pub struct ApiServer {
    pub objects: Arc<Objects>,
    pub kubeconfig: PathBuf,
    address: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ApiServer {
    /// Starts one and writes a kubeconfig for it with the context `test`.
    pub fn start(folder: &Path, objects: Objects) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a name");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they belong together");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (objects, ends) = (Arc::new(objects), Arc::new(AtomicBool::new(false)));
        let (config, served, ending) = (Arc::new(config), objects.clone(), ends.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ending.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), config, served) = (stream, config.clone(), served.clone()) else { continue };
                // Ends with its connection.
                std::thread::spawn(move || serve(stream, config, &served));
            }
        });
        let authority = folder.join("ca.crt");
        std::fs::write(&authority, certificate).expect("it can be written");
        let kubeconfig = folder.join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: c, cluster: {{server: \"https://{address}\", certificate-authority: \"{}\"}}}}]\n\
             users: [{{name: u, user: {{token: {TOKEN}}}}}, {{name: nobody, user: {{token: wrong}}}}]\n\
             contexts: [{{name: test, context: {{cluster: c, user: u}}}}, {{name: nobody, context: {{cluster: c, user: nobody}}}}]\n",
            authority.display()
        );
        std::fs::write(&kubeconfig, text).expect("it can be written");
        Self { objects, kubeconfig, address, ends, thread: Some(thread) }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Wakes it up.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ended well");
        }
    }
}

fn serve(stream: TcpStream, config: Arc<rustls::ServerConfig>, objects: &Objects) {
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
                "authorization" => known = value == format!("Bearer {TOKEN}"),
                "content-length" => length = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, body) =
            if known { answer(&target, objects) } else { refusal(401, "Unauthorized", "Unauthorized") };
        objects.asked.lock().expect("no thread broke").push(target);
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

fn answer(target: &str, objects: &Objects) -> (u16, Value) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let argument = |name: &str| query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    if let Some(found) = discovery(path) {
        return (200, found);
    }
    if objects.forbidden.contains(&path) {
        let plural = path.rsplit('/').next().unwrap_or_default();
        let message = format!(
            "{plural} is forbidden: User \"system:serviceaccount:audit:scanner\" cannot list resource \"{plural}\" in API group \"\" at the cluster scope"
        );
        return refusal(403, "Forbidden", &message);
    }
    // /api/v1/namespaces/shop/pods/a: the list, the namespace, the name.
    let parts: Vec<&str> = path.split('/').collect();
    let at = parts.iter().position(|part| *part == "namespaces").filter(|at| parts.len() > at + 2);
    let (list, namespace, name) = match at {
        Some(at) => {
            let list = [&parts[..at], &parts[at + 2..=at + 2]].concat().join("/");
            (list, Some(parts[at + 1]), parts.get(at + 3))
        }
        // /api/v1/namespaces/shop
        None if parts.len() == 5 && parts[3] == "namespaces" => ("/api/v1/namespaces".to_owned(), None, parts.get(4)),
        None => (path.to_owned(), None, None),
    };
    let Some(all) = objects.lists.get(list.as_str()) else {
        return refusal(404, "NotFound", "the server could not find the requested resource");
    };
    let (kind, version) = kind_of(&list);
    let here = |object: &&Value| namespace.is_none_or(|namespace| object["metadata"]["namespace"] == namespace);
    let all: Vec<&Value> = all.iter().filter(here).collect();
    if let Some(name) = name {
        let Some(object) = all.iter().find(|object| object["metadata"]["name"] == **name) else {
            return refusal(404, "NotFound", &format!("{} \"{name}\" not found", parts[parts.len() - 2]));
        };
        let mut object = (*object).clone();
        object["kind"] = kind.into();
        object["apiVersion"] = version.into();
        return (200, object);
    }
    let from = argument("continue").map_or(0, |(_, token)| token.trim_end_matches("%3D").parse().unwrap_or(0));
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
    let limit: usize = argument("limit").and_then(|(_, limit)| limit.parse().ok()).unwrap_or(usize::MAX);
    let page: Vec<_> = all.iter().skip(from).take(limit).collect();
    let left = all.len().saturating_sub(from + page.len());
    let mut metadata = json!({ "resourceVersion": "10245" });
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
