//! What is known of a workload only by looking at other objects: services, ingresses, network policies, rights of its token.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::kube::{Object, Pod};
use crate::model::{Document, NodeId};

/// Folders of a system that a workload has no business in.
const OS_FOLDERS: [&str; 14] =
    ["bin", "boot", "dev", "etc", "home", "lib", "lib64", "proc", "root", "run", "sbin", "sys", "usr", "var"];

/// Names of the conditions that this module works out.
pub(super) const NAMES: [&str; 11] = [
    "os-directory-written",
    "os-directory-read",
    "load-balancer",
    "node-port",
    "ingress",
    "ingress-policy",
    "egress-policy",
    "token-reads-secrets",
    "token-makes-pods",
    "shared-service-account",
    "custom-resources",
];

/// A selector of labels with what it stands for.
struct Selector<'d> {
    document: &'d Document,
    labels: Vec<(&'d str, &'d str)>,
    expressions: &'d [NodeId],
    fact: Selected<'d>,
}

enum Selected<'d> {
    Service { name: &'d str, kind: &'d str },
    Policy { ingress: bool, egress: bool },
}

#[derive(Default, Clone, Copy)]
struct Rights {
    secrets: bool,
    pods: bool,
}

/// Everything that was scanned, by what a workload asks for.
#[derive(Default)]
pub(super) struct Cluster<'d> {
    selectors: Vec<Selector<'d>>,
    /// By namespace and one label of the selector, so that a workload meets few of them.
    by_label: FxHashMap<(&'d str, &'d str, &'d str), Vec<usize>>,
    /// By namespace: selectors without labels.
    without_label: FxHashMap<&'d str, Vec<usize>>,
    /// Namespace and service behind an ingress.
    behind_ingress: FxHashSet<(&'d str, &'d str)>,
    /// By namespace and account.
    rights: FxHashMap<(&'d str, &'d str), Rights>,
    accounts: FxHashMap<(&'d str, &'d str), usize>,
    no_token: FxHashSet<(&'d str, &'d str)>,
    custom_resources: bool,
}

/// The facts that hold, by the names of [`NAMES`].
pub(super) type Facts = FxHashSet<&'static str>;

fn namespace<'d>(object: &Object<'d>) -> &'d str {
    object.namespace.unwrap_or("default")
}

fn account<'d>(document: &'d Document, pod: &Pod<'_>) -> &'d str {
    document.str_at(pod.spec, &["serviceAccountName"]).filter(|name| !name.is_empty()).unwrap_or("default")
}

fn says_no(document: &Document, node: NodeId) -> bool {
    let value = document.get(node, "automountServiceAccountToken").map(|node| document.value(node));
    value == Some(crate::model::Value::Bool(false))
}

impl<'d> Cluster<'d> {
    pub(super) fn of(objects: &[Object<'d>]) -> Self {
        let mut cluster = Self::default();
        let mut roles: FxHashMap<(&str, &str, &str), Rights> = FxHashMap::default();
        for object in objects {
            match object.kind {
                "Service" => cluster.service(object),
                "NetworkPolicy" => cluster.policy(object),
                "Ingress" => cluster.ingress(object),
                "Role" => {
                    roles.insert(("Role", namespace(object), object.name), rights(object));
                }
                "ClusterRole" => {
                    roles.insert(("ClusterRole", "", object.name), rights(object));
                }
                "ServiceAccount" if says_no(object.document, object.node) => {
                    cluster.no_token.insert((namespace(object), object.name));
                }
                "CustomResourceDefinition" => cluster.custom_resources = true,
                _ => {}
            }
            if let Some(pod) = &object.pod
                && !says_no(object.document, pod.spec)
            {
                *cluster.accounts.entry((namespace(object), account(object.document, pod))).or_default() += 1;
            }
        }
        for object in objects.iter().filter(|object| matches!(object.kind, "RoleBinding" | "ClusterRoleBinding")) {
            cluster.binding(object, &roles);
        }
        cluster
    }

    fn add(&mut self, space: &'d str, selector: Selector<'d>) {
        let index = self.selectors.len();
        match selector.labels.first() {
            Some((key, value)) => self.by_label.entry((space, key, value)).or_default().push(index),
            None => self.without_label.entry(space).or_default().push(index),
        }
        self.selectors.push(selector);
    }

    fn service(&mut self, object: &Object<'d>) {
        let document = object.document;
        let labels = document.follow(object.node, &["spec", "selector"]).map(|node| labels(document, node));
        let Some(labels) = labels.filter(|labels| !labels.is_empty()) else { return };
        let kind = document.str_at(object.node, &["spec", "type"]).unwrap_or("ClusterIP");
        let fact = Selected::Service { name: object.name, kind };
        self.add(namespace(object), Selector { document, labels, expressions: &[], fact });
    }

    fn policy(&mut self, object: &Object<'d>) {
        let document = object.document;
        let has = |key: &str| {
            document.follow(object.node, &["spec", key]).is_some_and(|list| !document.items(list).is_empty())
        };
        let selector = document.follow(object.node, &["spec", "podSelector"]);
        let within = |key: &str| selector.and_then(|selector| document.get(selector, key));
        let labels = within("matchLabels").map(|node| labels(document, node)).unwrap_or_default();
        let expressions = within("matchExpressions").map(|node| document.items(node)).unwrap_or_default();
        let fact = Selected::Policy { ingress: has("ingress"), egress: has("egress") };
        self.add(namespace(object), Selector { document, labels, expressions, fact });
    }

    fn ingress(&mut self, object: &Object<'d>) {
        let document = object.document;
        let space = namespace(object);
        let Some(spec) = document.get(object.node, "spec") else { return };
        let mut backends: Vec<NodeId> =
            ["backend", "defaultBackend"].iter().filter_map(|key| document.get(spec, key)).collect();
        for rule in document.get(spec, "rules").map(|rules| document.items(rules)).unwrap_or_default() {
            let paths =
                document.follow(*rule, &["http", "paths"]).map(|paths| document.items(paths)).unwrap_or_default();
            backends.extend(paths.iter().filter_map(|path| document.get(*path, "backend")));
        }
        for backend in backends {
            let name =
                document.str_at(backend, &["serviceName"]).or_else(|| document.str_at(backend, &["service", "name"]));
            self.behind_ingress.extend(name.map(|name| (space, name)));
        }
    }

    fn binding(&mut self, object: &Object<'d>, roles: &FxHashMap<(&str, &str, &str), Rights>) {
        let document = object.document;
        let kind = document.str_at(object.node, &["roleRef", "kind"]).unwrap_or_default();
        let name = document.str_at(object.node, &["roleRef", "name"]).unwrap_or_default();
        let space = if kind == "Role" { namespace(object) } else { "" };
        let Some(rights) = roles.get(&(kind, space, name)) else { return };
        for subject in document.get(object.node, "subjects").map(|list| document.items(list)).unwrap_or_default() {
            if document.str_at(*subject, &["kind"]) != Some("ServiceAccount") {
                continue;
            }
            let space = document.str_at(*subject, &["namespace"]).unwrap_or_else(|| namespace(object));
            let Some(name) = document.str_at(*subject, &["name"]) else { continue };
            let own = self.rights.entry((space, name)).or_default();
            own.secrets |= rights.secrets;
            own.pods |= rights.pods;
        }
    }

    /// What holds for a workload.
    pub(super) fn facts(&self, object: &Object<'d>) -> Facts {
        let mut facts = Facts::default();
        let Some(pod) = &object.pod else { return facts };
        let document = object.document;
        let space = namespace(object);
        let own = pod
            .meta
            .and_then(|meta| document.get(meta, "labels"))
            .map(|node| labels(document, node))
            .unwrap_or_default();
        let mut mark = |name, holds: bool| {
            if holds {
                facts.insert(name);
            }
        };
        let by_label = own.iter().filter_map(|(key, value)| self.by_label.get(&(space, *key, *value))).flatten();
        for index in by_label.chain(self.without_label.get(space).into_iter().flatten()) {
            let selector = &self.selectors[*index];
            if !selector.fits(&own) {
                continue;
            }
            match selector.fact {
                Selected::Service { name, kind } => {
                    mark("load-balancer", kind == "LoadBalancer");
                    mark("node-port", kind == "NodePort");
                    mark("ingress", self.behind_ingress.contains(&(space, name)));
                }
                Selected::Policy { ingress, egress } => {
                    mark("ingress-policy", ingress);
                    mark("egress-policy", egress);
                }
            }
        }
        let who = (space, account(document, pod));
        let explicit = document.get(pod.spec, "automountServiceAccountToken").is_some();
        let has_token = !says_no(document, pod.spec) && (explicit || !self.no_token.contains(&who));
        let rights = self.rights.get(&who).copied().unwrap_or_default();
        mark("token-reads-secrets", has_token && rights.secrets);
        mark("token-makes-pods", has_token && rights.pods);
        mark("shared-service-account", has_token && self.accounts.get(&who).is_some_and(|count| *count > 1));
        mark("custom-resources", self.custom_resources);
        let (read, written) = os_folders(document, pod);
        mark("os-directory-read", read);
        mark("os-directory-written", written);
        facts
    }
}

impl Selector<'_> {
    fn fits(&self, own: &[(&str, &str)]) -> bool {
        let value_of = |key: &str| own.iter().find(|(own, _)| *own == key).map(|(_, value)| *value);
        self.labels.iter().all(|(key, value)| value_of(key) == Some(*value))
            && self.expressions.iter().all(|expression| {
                let text = |key: &str| self.document.str_at(*expression, &[key]).unwrap_or_default();
                let values =
                    self.document.get(*expression, "values").map(|list| self.document.items(list)).unwrap_or_default();
                let value = value_of(text("key"));
                let listed = value
                    .is_some_and(|value| values.iter().any(|node| self.document.scalar_text(*node) == Some(value)));
                match text("operator") {
                    "In" => listed,
                    "NotIn" => !listed,
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}

fn labels(document: &Document, node: NodeId) -> Vec<(&str, &str)> {
    document.entries(node).filter_map(|(key, entry)| Some((key, document.scalar_text(entry.value)?))).collect()
}

fn rights(role: &Object<'_>) -> Rights {
    let document = role.document;
    let mut rights = Rights::default();
    for rule in document.get(role.node, "rules").map(|rules| document.items(rules)).unwrap_or_default() {
        let names = |key: &str, wanted: &[&str]| {
            let list = document.get(*rule, key).map(|list| document.items(list)).unwrap_or_default();
            list.iter().filter_map(|item| document.str(*item)).any(|item| item == "*" || wanted.contains(&item))
        };
        let core = names("apiGroups", &[""]);
        rights.secrets |= core && names("resources", &["secrets"]) && names("verbs", &["get", "list", "watch"]);
        rights.pods |= core && names("resources", &["pods"]) && names("verbs", &["create", "delete"]);
    }
    rights
}

/// Whether folders of the host's system are mounted read-only, and whether to be written.
fn os_folders(document: &Document, pod: &Pod<'_>) -> (bool, bool) {
    let volumes = document.get(pod.spec, "volumes").map(|list| document.items(list)).unwrap_or_default();
    let is_os = |path: &str| {
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        path.starts_with('/') && parts.next().is_none_or(|first| OS_FOLDERS.contains(&first))
    };
    let names: FxHashSet<&str> = volumes
        .iter()
        .filter(|volume| document.str_at(**volume, &["hostPath", "path"]).is_some_and(is_os))
        .filter_map(|volume| document.str_at(*volume, &["name"]))
        .collect();
    let (mut read, mut written) = (false, false);
    for container in &pod.containers {
        let mounts = document.get(container.node, "volumeMounts").map(|list| document.items(list)).unwrap_or_default();
        for mount in
            mounts.iter().filter(|mount| document.str_at(**mount, &["name"]).is_some_and(|name| names.contains(name)))
        {
            let read_only = document.get(*mount, "readOnly").map(|node| document.value(node));
            if read_only == Some(crate::model::Value::Bool(true)) { read = true } else { written = true }
        }
    }
    (read, written)
}
