//! The auditors that look at single containers.

use serde_json::json;

use super::{AuditResult, Level, Resource};
use crate::expr::quantity;
use crate::kube::Container;

/// Folders and sockets of the host that hold its keys or let a container take it over.
const SENSITIVE: [&str; 12] = [
    "/",
    "/etc",
    "/etc/kubernetes",
    "/etc/kubernetes/manifests",
    "/home/admin",
    "/proc",
    "/root",
    "/run/containerd/containerd.sock",
    "/var/lib/kubelet",
    "/var/lib/kubelet/pki",
    "/var/run/crio/crio.sock",
    "/var/run/docker.sock",
];

pub(super) fn capabilities(resource: &Resource<'_, '_>, out: &mut Vec<AuditResult>) {
    const NAME: &str = "capabilities";
    let document = resource.document();
    for container in resource.containers() {
        let drop_all =
            || resource.change(&container.path, &["securityContext", "capabilities", "drop"], Some(json!(["ALL"])));
        let Some(capabilities) = resource.context(container, "capabilities") else {
            let words = "No security context with capabilities. Drop them all: `drop: [ALL]`.";
            let result =
                resource.of_container(NAME, "CapabilityOrSecurityContextMissing", Level::Error, words, container);
            out.push(result.mended(drop_all()));
            // A label for all of them has nothing to allow.
            let redundant = resource.overridden(NAME, Some(container.name), "allow-capability-all", None);
            out.extend(redundant);
            continue;
        };
        let list = |key: &str| {
            let list = document.get(capabilities, key).map(|list| document.items(list)).unwrap_or_default();
            list.iter().filter_map(|item| document.scalar_text(*item)).collect::<Vec<_>>()
        };
        if !list("drop").iter().any(|capability| capability.eq_ignore_ascii_case("all")) {
            let words =
                "Not all capabilities are dropped. Write `drop: [ALL]`, and add those that are needed with a label.";
            let result = resource.of_container(NAME, "CapabilityShouldDropAll", Level::Error, words, container);
            out.push(result.mended(drop_all()));
        }
        let all = list("add");
        let mut added = all.clone();
        added.sort_unstable();
        added.dedup();
        for capability in added {
            let label = format!("allow-capability-{}", capability.to_lowercase().replace('_', "-"));
            let words = format!(
                "The capability {capability} is added. Remove it, or say why it is needed with a label `container.kubeaudit.io/{}.{label}`.",
                container.name
            );
            // What is left when everything that no label allows is gone.
            let kept: Vec<_> = all
                .iter()
                .filter(|other| {
                    let label = format!("allow-capability-{}", other.to_lowercase().replace('_', "-"));
                    resource.override_reason(Some(container.name), &label).is_some()
                })
                .collect();
            let path = ["securityContext", "capabilities", "add"];
            let fix = resource.change(&container.path, &path, (!kept.is_empty()).then(|| json!(kept)));
            let result = resource
                .of_container(NAME, "CapabilityAdded", Level::Error, words, container)
                .with("Metadata", capability)
                .mended(fix);
            out.extend(resource.overridden(NAME, Some(container.name), &label, Some(result)));
        }
    }
}

pub(super) fn image(resource: &Resource<'_, '_>, out: &mut Vec<AuditResult>) {
    for container in resource.containers() {
        let image = resource.document().str_at(container.node, &["image"]).unwrap_or_default();
        if image.split(':').nth(1).unwrap_or_default().is_empty() {
            out.push(resource.of_container(
                "image",
                "ImageTagMissing",
                Level::Warning,
                "The image has no tag.",
                container,
            ));
        }
    }
}

pub(super) fn limits(resource: &Resource<'_, '_>, out: &mut Vec<AuditResult>) {
    let document = resource.document();
    for container in resource.containers() {
        let mut push = |rule: &str, words: &str| {
            out.push(resource.of_container("limits", rule, Level::Warning, words, container));
        };
        let Some(limits) = document.follow(container.node, &["resources", "limits"]) else {
            push("LimitsNotSet", "The container has no limits of resources.");
            continue;
        };
        let is_unset = |key: &str| {
            let text = document.get(limits, key).and_then(|node| document.scalar_text(node));
            text.and_then(quantity).is_none_or(|value| value == 0.0)
        };
        if is_unset("cpu") {
            push("LimitsCPUNotSet", "The container has no limit of CPU.");
        }
        if is_unset("memory") {
            push("LimitsMemoryNotSet", "The container has no limit of memory.");
        }
    }
}

pub(super) fn mounts(resource: &Resource<'_, '_>, out: &mut Vec<AuditResult>) {
    const NAME: &str = "mounts";
    let document = resource.document();
    let Some(pod) = &resource.object.pod else { return };
    let items = |node, key: &str| document.get(node, key).map(|list| document.items(list)).unwrap_or_default();
    let volumes: Vec<(&str, &str)> = items(pod.spec, "volumes")
        .iter()
        .filter_map(|volume| {
            Some((document.str_at(*volume, &["name"])?, document.str_at(*volume, &["hostPath", "path"])?))
        })
        .filter(|(_, path)| SENSITIVE.contains(path))
        .collect();
    for container in resource.containers() {
        for mount in items(container.node, "volumeMounts") {
            let text = |key: &str| document.str_at(*mount, &[key]).unwrap_or_default();
            let Some((name, path)) = volumes.iter().find(|(name, _)| *name == text("name")) else { continue };
            let read_only = resource.is(document.get(*mount, "readOnly"), true);
            let words = format!("{path} of the host is mounted (volume {name}). Remove the mount.");
            let result = resource
                .of_container(NAME, "SensitivePathsMounted", Level::Error, words, container)
                .with("MountName", *name)
                .with("MountPath", text("mountPath"))
                .with("MountReadOnly", if read_only { "true" } else { "false" })
                .with("MountVolume", *name)
                .with("MountVolumeHostPath", *path);
            let label = format!("allow-host-path-mount-{name}");
            out.extend(resource.overridden(NAME, Some(container.name), &label, Some(result)));
        }
    }
}

/// One field of the security context that has to be set.
struct Field {
    auditor: &'static str,
    label: &'static str,
    field: &'static str,
    wanted: bool,
    missing: (&'static str, Level, &'static str),
    wrong: (&'static str, &'static str),
}

impl Field {
    fn audit(&self, resource: &Resource<'_, '_>, out: &mut Vec<AuditResult>) {
        for container in resource.containers() {
            let value = resource.context(container, self.field);
            let found = if value.is_none() {
                Some(self.missing)
            } else {
                resource.is(value, !self.wanted).then_some((self.wrong.0, Level::Error, self.wrong.1))
            };
            let result = found.map(|(rule, level, words)| {
                let fix = resource.change(&container.path, &["securityContext", self.field], Some(json!(self.wanted)));
                resource.of_container(self.auditor, rule, level, words, container).mended(fix)
            });
            out.extend(resource.overridden(self.auditor, Some(container.name), self.label, result));
        }
    }
}

pub(super) fn escalation(resource: &Resource<'_, '_>, out: &mut Vec<AuditResult>) {
    let field = Field {
        auditor: "privesc",
        label: "allow-privilege-escalation",
        field: "allowPrivilegeEscalation",
        wanted: false,
        missing: (
            "AllowPrivilegeEscalationNil",
            Level::Error,
            "Processes may gain privileges, as allowPrivilegeEscalation is not set. Set it to false.",
        ),
        wrong: (
            "AllowPrivilegeEscalationTrue",
            "Processes may gain privileges. Set allowPrivilegeEscalation to false.",
        ),
    };
    field.audit(resource, out);
}

pub(super) fn privileged(resource: &Resource<'_, '_>, out: &mut Vec<AuditResult>) {
    let field = Field {
        auditor: "privileged",
        label: "allow-privileged",
        field: "privileged",
        wanted: false,
        missing: ("PrivilegedNil", Level::Warning, "privileged is not set. It is false then; say so."),
        wrong: ("PrivilegedTrue", "The container runs privileged. Set privileged to false."),
    };
    field.audit(resource, out);
}

pub(super) fn root_filesystem(resource: &Resource<'_, '_>, out: &mut Vec<AuditResult>) {
    let field = Field {
        auditor: "rootfs",
        label: "allow-read-only-root-filesystem-false",
        field: "readOnlyRootFilesystem",
        wanted: true,
        missing: (
            "ReadOnlyRootFilesystemNil",
            Level::Error,
            "The root filesystem can be written to, as readOnlyRootFilesystem is not set. Set it to true.",
        ),
        wrong: (
            "ReadOnlyRootFilesystemFalse",
            "The root filesystem can be written to. Set readOnlyRootFilesystem to true.",
        ),
    };
    field.audit(resource, out);
}

pub(super) fn non_root(resource: &Resource<'_, '_>, out: &mut Vec<AuditResult>) {
    const NAME: &str = "nonroot";
    const LABEL: &str = "allow-run-as-root";
    for container in resource.containers() {
        let result = as_root(resource, container).map(|(rule, level, words)| {
            let result = resource.of_container(NAME, rule, level, words, container);
            if level != Level::Error {
                return result;
            }
            let mut fix = resource.change(&container.path, &["securityContext", "runAsNonRoot"], Some(json!(true)));
            if resource.is_zero(resource.context(container, "runAsUser")) {
                fix.extend(resource.change(&container.path, &["securityContext", "runAsUser"], None));
            }
            // That of the pod is for all; a container that is allowed to be root may live by it.
            let allowed = |other: &Container<'_>| resource.override_reason(Some(other.name), LABEL).is_some();
            if let Some(pod) = &resource.object.pod
                && resource.is_zero(resource.pod_context("runAsUser"))
                && !resource.containers().any(allowed)
            {
                fix.extend(resource.change(&pod.spec_path, &["securityContext", "runAsUser"], None));
            }
            result.mended(fix)
        });
        out.extend(resource.overridden(NAME, Some(container.name), LABEL, result));
    }
}

fn as_root(resource: &Resource<'_, '_>, container: &Container<'_>) -> Option<(&'static str, Level, &'static str)> {
    const POD: &str = "runAsUser of the pod is 0, root. Set it to a greater number, or remove it and set runAsNonRoot.";
    let own = resource.document().follow(container.node, &["securityContext", "runAsUser"]);
    let of_pod = resource.pod_context("runAsUser");
    if own.is_some() {
        if resource.is_zero(own) {
            let words =
                "runAsUser of the container is 0, root. Set it to a greater number, or remove it and set runAsNonRoot.";
            return Some(("RunAsUserCSCRoot", Level::Error, words));
        }
        return resource.is_zero(of_pod).then_some(("RunAsUserPSCRoot", Level::Warning, POD));
    }
    if of_pod.is_some() {
        return resource.is_zero(of_pod).then_some(("RunAsUserPSCRoot", Level::Error, POD));
    }
    let own = resource.document().follow(container.node, &["securityContext", "runAsNonRoot"]);
    let of_pod = resource.pod_context("runAsNonRoot");
    if resource.is(own, false) {
        let words = "runAsNonRoot of the container is false. Set it to true, or runAsUser to a number above 0.";
        return Some(("RunAsNonRootCSCFalse", Level::Error, words));
    }
    if own.is_none() && of_pod.is_none() {
        let words = "The container may run as root: neither runAsNonRoot nor runAsUser is set for it or the pod.";
        return Some(("RunAsNonRootPSCNilCSCNil", Level::Error, words));
    }
    if own.is_none() && resource.is(of_pod, false) {
        let words = "runAsNonRoot of the pod is false. Set it to true, or runAsUser to a number above 0.";
        return Some(("RunAsNonRootPSCFalseCSCNil", Level::Error, words));
    }
    None
}
