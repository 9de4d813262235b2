//! Kubernetes objects in a document: lists taken apart, the pod within a workload and its containers found.

use rustc_hash::FxHashMap;

use crate::model::{Document, NodeId, push_index, push_key};

/// One Kubernetes object.
#[derive(Debug)]
pub struct Object<'d> {
    /// The document it stands in.
    pub document: &'d Document,
    /// Its mapping.
    pub node: NodeId,
    /// Its JSON path in the document: empty, or `items[3]` within a list.
    pub path: String,
    /// `apiVersion`, empty where it is missing.
    pub api_version: &'d str,
    /// `kind`.
    pub kind: &'d str,
    /// `metadata.name`, else `metadata.generateName`, else empty.
    pub name: &'d str,
    /// `metadata.namespace`.
    pub namespace: Option<&'d str>,
    /// The pod that it is, or makes.
    pub pod: Option<Pod<'d>>,
    /// Where it is no object of Kubernetes but a resource of a cloud.
    pub cloud: Option<&'d Cloud>,
    /// Policies that its file says are to be skipped, each with the reason.
    pub skips: &'d [(String, String)],
}

/// The links of a stack's resources (`crate::iac`), each by the node of its attributes.
pub type Cloud = FxHashMap<NodeId, Links>;

/// What a resource of a cloud has beside its attributes: mappings from kinds to lists of attributes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Links {
    /// The resources that refer to it.
    pub users: Option<NodeId>,
    /// The resources that it refers to.
    pub uses: Option<NodeId>,
}

/// A pod's specification, wherever it stands.
#[derive(Debug)]
pub struct Pod<'d> {
    /// The mapping that holds `containers`.
    pub spec: NodeId,
    /// Its JSON path.
    pub spec_path: String,
    /// The pod's metadata.
    pub meta: Option<NodeId>,
    /// Its JSON path.
    pub meta_path: String,
    /// All containers, in the order main, init, ephemeral.
    pub containers: Vec<Container<'d>>,
}

/// One container.
#[derive(Debug)]
pub struct Container<'d> {
    /// Its mapping.
    pub node: NodeId,
    /// Its JSON path.
    pub path: String,
    /// Its name, empty where it has none.
    pub name: &'d str,
    /// Which of the lists it stands in.
    pub group: Group,
}

/// The lists of containers that a pod has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// `containers`
    Main,
    /// `initContainers`
    Init,
    /// `ephemeralContainers`
    Ephemeral,
}

const GROUPS: [(&str, Group); 3] =
    [("containers", Group::Main), ("initContainers", Group::Init), ("ephemeralContainers", Group::Ephemeral)];

/// All objects of a document in their order; lists (`kind: List`, `PodList`, …) are taken apart. Empty where the document
/// is not Kubernetes'.
pub fn objects(document: &Document) -> Vec<Object<'_>> {
    let mut found = Vec::new();
    let mut waiting: Vec<(NodeId, String)> = document.root().map(|root| (root, String::new())).into_iter().collect();
    while let Some((node, path)) = waiting.pop() {
        let Some(kind) = document.str_at(node, &["kind"]) else { continue };
        let items = document.get(node, "items").map(|items| document.items(items)).unwrap_or_default();
        if kind.ends_with("List") && !items.is_empty() {
            for (index, item) in items.iter().enumerate().rev() {
                let mut item_path = path.clone();
                push_key(&mut item_path, "items");
                push_index(&mut item_path, index);
                waiting.push((*item, item_path));
            }
            continue;
        }
        let Some(api_version) = document.str_at(node, &["apiVersion"]) else { continue };
        found.push(object(document, node, path, kind, api_version));
    }
    found
}

/// The document as one object, whatever its kind; `None` where it has none.
pub fn single(document: &Document) -> Option<Object<'_>> {
    let root = document.root()?;
    let kind = document.str_at(root, &["kind"])?;
    let api_version = document.str_at(root, &["apiVersion"]).unwrap_or_default();
    Some(object(document, root, String::new(), kind, api_version))
}

/// A whole document that is no object of Kubernetes but is looked at as one, under a kind of our own.
pub(crate) fn whole<'d>(document: &'d Document, node: NodeId, kind: &'d str, name: &'d str) -> Object<'d> {
    Object { name, namespace: None, pod: None, ..object(document, node, String::new(), kind, "") }
}

fn object<'d>(document: &'d Document, node: NodeId, path: String, kind: &'d str, api_version: &'d str) -> Object<'d> {
    let text = |keys: &[&str]| document.follow(node, keys).and_then(|node| document.scalar_text(node));
    Object {
        document,
        node,
        api_version,
        kind,
        name: text(&["metadata", "name"]).or_else(|| text(&["metadata", "generateName"])).unwrap_or_default(),
        namespace: text(&["metadata", "namespace"]).filter(|namespace| !namespace.is_empty()),
        pod: pod(document, node, &path, kind),
        path,
        cloud: None,
        skips: &[],
    }
}

fn pod<'d>(document: &'d Document, node: NodeId, path: &str, kind: &str) -> Option<Pod<'d>> {
    let way: &[&str] = match kind {
        "Pod" => &[],
        "PodTemplate" => &["template"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template"],
        // Deployments, Jobs, … and what others made after their pattern (Rollout, DeploymentConfig, Knative's Service).
        _ => &["spec", "template"],
    };
    let template = document.follow(node, way)?;
    let spec = document.get(template, "spec")?;
    let has_containers = document.get(spec, "containers").is_some_and(|list| !document.items(list).is_empty());
    let is_known = matches!(
        kind,
        "Pod"
            | "PodTemplate"
            | "CronJob"
            | "Deployment"
            | "ReplicaSet"
            | "StatefulSet"
            | "DaemonSet"
            | "Job"
            | "ReplicationController"
            | "DeploymentConfig"
    );
    if !has_containers && !is_known {
        return None;
    }
    let mut template_path = path.to_owned();
    way.iter().for_each(|key| push_key(&mut template_path, key));
    let mut spec_path = template_path.clone();
    push_key(&mut spec_path, "spec");
    let mut meta_path = template_path;
    push_key(&mut meta_path, "metadata");
    let mut containers = Vec::new();
    for (key, group) in GROUPS {
        let list = document.get(spec, key).map(|list| document.items(list)).unwrap_or_default();
        for (index, container) in list.iter().enumerate().filter(|(_, container)| !document.is_null(**container)) {
            let mut path = spec_path.clone();
            push_key(&mut path, key);
            push_index(&mut path, index);
            let name = document.get(*container, "name").and_then(|name| document.scalar_text(name)).unwrap_or_default();
            containers.push(Container { node: *container, path, name, group });
        }
    }
    Some(Pod { spec, spec_path, meta: document.get(template, "metadata"), meta_path, containers })
}

impl Object<'_> {
    /// What names the object in reports: `Kind/namespace/name`, without the namespace where it has none; a cloud's resource has its
    /// address.
    pub fn label(&self) -> String {
        if self.cloud.is_some() {
            return self.name.to_owned();
        }
        let name = if self.name.is_empty() { "(unnamed)" } else { self.name };
        match self.namespace {
            Some(namespace) => format!("{}/{namespace}/{name}", self.kind),
            None => format!("{}/{name}", self.kind),
        }
    }

    /// The group of `apiVersion`: `apps` of `apps/v1`, empty for the core.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}
