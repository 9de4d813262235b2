//! The view of kubeaudit: 14 auditors with its result names, severities, metadata and override labels; the sentences are our own.

mod container;
mod deprecated;
mod mend;
mod network;
mod pod;
mod write;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::edit::{Change, Key};
use crate::kube::{self, Container, Group, Object};
use crate::model::{Document, Mark, NodeId};

pub use mend::mend;
pub use write::{Style, write};

/// The auditors, in the order in which they are asked.
pub const AUDITORS: [&str; 14] = [
    "apparmor",
    "asat",
    "capabilities",
    "deprecatedapis",
    "hostns",
    "image",
    "limits",
    "mounts",
    "netpols",
    "nonroot",
    "privesc",
    "privileged",
    "rootfs",
    "seccomp",
];

/// How bad a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know; also what a label allows.
    Info,
    /// Should be looked at.
    Warning,
    /// A hole.
    Error,
}

impl Level {
    /// `info`, `warning` or `error`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What one auditor says.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditResult {
    /// Which auditor.
    pub auditor: &'static str,
    /// The name of the result: `PrivilegedTrue`.
    pub rule: String,
    /// How bad it is.
    pub level: Level,
    /// In a sentence.
    pub message: String,
    /// Facts about it: `Container`, ….
    pub metadata: BTreeMap<&'static str, String>,
    /// Where.
    pub at: Mark,
    /// What mends it; empty where only people can.
    pub fix: Vec<Fix>,
}

/// One step of mending.
#[derive(Debug, Clone, PartialEq)]
pub enum Fix {
    /// A change of a document.
    Change(Change),
    /// A document that is missing.
    Add(Json),
}

/// One resource with everything that was said about it.
#[derive(Debug, Clone)]
pub struct Audited {
    /// `apiVersion`
    pub api_version: String,
    /// `kind`
    pub kind: String,
    /// `metadata.name`, may be empty.
    pub name: String,
    /// `metadata.namespace`, may be empty.
    pub namespace: String,
    /// The file.
    pub file: String,
    /// In the order of the auditors.
    pub results: Vec<AuditResult>,
}

/// What the auditors need to know beside the manifests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Only these auditors; empty: all.
    pub only: Vec<String>,
}

/// One resource while it is looked at.
struct Resource<'r, 'd> {
    object: &'r Object<'d>,
    /// Which document of the file it stands in.
    number: usize,
    /// All resources of the file.
    all: &'r [(usize, Object<'d>)],
}

impl<'d> Resource<'_, 'd> {
    fn document(&self) -> &'d Document {
        self.object.document
    }

    /// Metadata of the pod, of the object where it has none.
    fn meta(&self) -> Option<(NodeId, String)> {
        match &self.object.pod {
            Some(pod) => pod.meta.map(|meta| (meta, pod.meta_path.clone())),
            None => {
                let path = if self.object.path.is_empty() {
                    "metadata".to_owned()
                } else {
                    format!("{}.metadata", self.object.path)
                };
                self.document().get(self.object.node, "metadata").map(|meta| (meta, path))
            }
        }
    }

    fn of_meta(&self, list: &str, key: &str) -> Option<&'d str> {
        let (meta, _) = self.meta()?;
        let list = self.document().get(meta, list)?;
        self.document().entry(list, key).map(|entry| self.document().scalar_text(entry.value).unwrap_or_default())
    }

    /// Main and init containers.
    fn containers(&self) -> impl Iterator<Item = &Container<'d>> {
        let pod = self.object.pod.as_ref();
        pod.into_iter().flat_map(|pod| &pod.containers).filter(|container| container.group != Group::Ephemeral)
    }

    /// The node of a field of the container's security context, where it is set.
    fn context(&self, container: &Container<'d>, field: &str) -> Option<NodeId> {
        self.document().follow(container.node, &["securityContext", field])
    }

    /// The same of the pod.
    fn pod_context(&self, field: &str) -> Option<NodeId> {
        self.document().follow(self.object.pod.as_ref()?.spec, &["securityContext", field])
    }

    fn is(&self, node: Option<NodeId>, value: bool) -> bool {
        node.is_some_and(|node| self.document().value(node) == crate::model::Value::Bool(value))
    }

    fn is_zero(&self, node: Option<NodeId>) -> bool {
        node.is_some_and(|node| self.document().value(node) == crate::model::Value::Int(0))
    }

    /// A change below a JSON path of the document; nothing where the path cannot be written as one.
    fn change(&self, base: &str, keys: &[&str], value: Option<Json>) -> Vec<Fix> {
        let Some(mut path) = crate::edit::keys(base) else { return Vec::new() };
        path.extend(keys.iter().map(|key| Key::Name((*key).to_owned())));
        vec![Fix::Change(Change { document: self.number, path, value })]
    }

    /// A label `kubeaudit.io/allow-…` in one of its forms: its value, the reason.
    fn override_reason(&self, container: Option<&str>, label: &str) -> Option<&'d str> {
        let of_container = container.into_iter().flat_map(|name| {
            [format!("container.audit.kubernetes.io/{name}.{label}"), format!("container.kubeaudit.io/{name}.{label}")]
        });
        let of_resource = [
            format!("kubeaudit.io/{label}"),
            format!("audit.kubernetes.io/pod.{label}"),
            format!("audit.kubernetes.io/namespace.{label}"),
        ];
        of_container.chain(of_resource).find_map(|label| self.of_meta("labels", &label))
    }

    /// What becomes of a result, or of there being none, by an override.
    fn overridden(
        &self,
        auditor: &'static str,
        container: Option<&str>,
        label: &str,
        result: Option<AuditResult>,
    ) -> Option<AuditResult> {
        let Some(reason) = self.override_reason(container, label) else { return result };
        let Some(mut result) = result else {
            let metadata =
                [("Container", container.unwrap_or_default().to_owned()), ("OverrideLabel", label.to_owned())].into();
            let message = "A label turns the auditor off, but it finds nothing. Remove the label.".to_owned();
            let rule = "RedundantAuditorOverride".to_owned();
            let at = self.meta().map_or(self.document().at(self.object.node), |(meta, _)| self.document().at(meta));
            return Some(AuditResult { auditor, rule, level: Level::Warning, message, metadata, at, fix: Vec::new() });
        };
        result.rule.push_str("Allowed");
        result.level = Level::Info;
        result.message = format!("Allowed by a label: {}", result.message);
        result.fix.clear();
        if !reason.is_empty() && !reason.eq_ignore_ascii_case("true") {
            result.metadata.insert("OverrideReason", reason.to_owned());
        }
        Some(result)
    }

    fn result(
        &self,
        auditor: &'static str,
        rule: &str,
        level: Level,
        message: impl Into<String>,
        at: NodeId,
    ) -> AuditResult {
        AuditResult {
            auditor,
            rule: rule.to_owned(),
            level,
            message: message.into(),
            metadata: BTreeMap::new(),
            at: self.document().at(at),
            fix: Vec::new(),
        }
    }

    fn of_container(
        &self,
        auditor: &'static str,
        rule: &str,
        level: Level,
        message: impl Into<String>,
        container: &Container<'d>,
    ) -> AuditResult {
        self.result(auditor, rule, level, message, container.node).with("Container", container.name)
    }
}

impl AuditResult {
    fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.metadata.insert(key, value.into());
        self
    }

    fn mended(mut self, fix: Vec<Fix>) -> Self {
        self.fix = fix;
        self
    }
}

/// Asks all auditors about the documents of one file. Resources of one file are seen together: network policies, the default service
/// account.
pub fn audit(file: &str, documents: &[Document], config: &Config) -> Vec<Audited> {
    let all: Vec<(usize, Object<'_>)> = documents
        .iter()
        .enumerate()
        .flat_map(|(number, document)| kube::objects(document).into_iter().map(move |object| (number, object)))
        .collect();
    all.iter()
        .map(|(number, object)| {
            let resource = Resource { object, number: *number, all: &all };
            let mut results = Vec::new();
            for auditor in
                AUDITORS.iter().filter(|name| config.only.is_empty() || config.only.iter().any(|only| only == **name))
            {
                match *auditor {
                    "apparmor" => pod::apparmor(&resource, &mut results),
                    "asat" => results.extend(pod::token(&resource)),
                    "capabilities" => container::capabilities(&resource, &mut results),
                    "deprecatedapis" => results.extend(deprecated::audit(&resource)),
                    "hostns" => pod::host_namespaces(&resource, &mut results),
                    "image" => container::image(&resource, &mut results),
                    "limits" => container::limits(&resource, &mut results),
                    "mounts" => container::mounts(&resource, &mut results),
                    "netpols" => network::audit(&resource, &mut results),
                    "nonroot" => container::non_root(&resource, &mut results),
                    "privesc" => container::escalation(&resource, &mut results),
                    "privileged" => container::privileged(&resource, &mut results),
                    "rootfs" => container::root_filesystem(&resource, &mut results),
                    _ => pod::seccomp(&resource, &mut results),
                }
            }
            Audited {
                api_version: object.api_version.to_owned(),
                kind: object.kind.to_owned(),
                name: object.name.to_owned(),
                namespace: object.namespace.unwrap_or_default().to_owned(),
                file: file.to_owned(),
                results,
            }
        })
        .collect()
}

/// Whether there is a result of the worst sort.
pub fn has_errors(audited: &[Audited]) -> bool {
    audited.iter().flat_map(|resource| &resource.results).any(|result| result.level == Level::Error)
}
