//! The auditors that look at pods: AppArmor, service account tokens, namespaces of the host, seccomp.

use serde_json::json;

use super::{AuditResult, Fix, Level, Resource};
use crate::kube::Container;

const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

pub(super) fn apparmor(resource: &Resource<'_, '_>, out: &mut Vec<AuditResult>) {
    const NAME: &str = "apparmor";
    let Some(pod) = &resource.object.pod else { return };
    let annotation = |key: &str, value: Option<&str>| {
        resource.change(&pod.meta_path, &["annotations", key], value.map(|value| json!(value)))
    };
    for container in resource.containers() {
        let key = format!("{APPARMOR}{}", container.name);
        let fix = || annotation(&key, Some("runtime/default"));
        let Some(profile) = resource.of_meta("annotations", &key) else {
            let words = format!("There is no AppArmor profile. Add the annotation `{key}`.");
            out.push(
                resource
                    .of_container(NAME, "AppArmorAnnotationMissing", Level::Error, words, container)
                    .with("MissingAnnotation", &*key)
                    .mended(fix()),
            );
            continue;
        };
        let is_off = profile != "runtime/default" && !profile.starts_with("localhost/");
        let is_unconfined = profile == "unconfined";
        let result = is_off.then(|| {
            let rule = if is_unconfined { "AppArmorDisabled" } else { "AppArmorBadValue" };
            let words = "AppArmor is off. Set the annotation to `runtime/default`, or to a profile: `localhost/…`.";
            resource
                .of_container(NAME, rule, Level::Error, words, container)
                .with("Annotation", &*key)
                .with("AnnotationValue", profile)
                .mended(fix())
        });
        if is_unconfined {
            out.extend(resource.overridden(NAME, Some(container.name), "allow-disabled-apparmor", result));
        } else {
            out.extend(result);
        }
    }
    let document = resource.document();
    let annotations = resource.meta().and_then(|(meta, _)| document.get(meta, "annotations"));
    for (key, entry) in annotations.into_iter().flat_map(|node| document.entries(node)) {
        let Some(name) = key.strip_prefix(APPARMOR) else { continue };
        if resource.containers().any(|container| container.name == name) {
            continue;
        }
        let value = document.scalar_text(entry.value).unwrap_or_default();
        let words = format!("There is no container {name}. Remove the annotation `{key}`.");
        out.push(
            resource
                .result(NAME, "AppArmorInvalidAnnotation", Level::Error, words, entry.value)
                .with("Container", name)
                .with("Annotation", format!("{key}: {value}"))
                .mended(annotation(key, None)),
        );
    }
}

pub(super) fn token(resource: &Resource<'_, '_>) -> Option<AuditResult> {
    const NAME: &str = "asat";
    let result = resource.object.pod.is_some().then(|| mounted_token(resource, NAME)).flatten();
    resource.overridden(NAME, None, "allow-automount-service-account-token", result)
}

fn mounted_token(resource: &Resource<'_, '_>, auditor: &'static str) -> Option<AuditResult> {
    let pod = resource.object.pod.as_ref()?;
    let document = resource.document();
    let text = |key: &str| document.str_at(pod.spec, &[key]).unwrap_or_default();
    let (old, name) = (text("serviceAccount"), text("serviceAccountName"));
    if !old.is_empty() && name.is_empty() {
        let mut fix = resource.change(&pod.spec_path, &["serviceAccountName"], Some(json!(old)));
        fix.extend(resource.change(&pod.spec_path, &["serviceAccount"], None));
        let words = "serviceAccount is an old name of serviceAccountName. Use that.";
        let result =
            resource.result(auditor, "AutomountServiceAccountTokenDeprecated", Level::Warning, words, pod.spec);
        return Some(result.with("DeprecatedServiceAccount", old).mended(fix));
    }
    let default = resource
        .all
        .iter()
        .find(|(_, object)| object.kind == "ServiceAccount" && object.api_version == "v1" && object.name == "default");
    let automount = document.get(pod.spec, "automountServiceAccountToken");
    let is_mounted = match automount {
        Some(_) => resource.is(automount, true),
        None => default.is_none_or(|(_, account)| {
            let own = account.document.get(account.node, "automountServiceAccountToken");
            own.is_none_or(|own| account.document.value(own) == crate::model::Value::Bool(true))
        }),
    };
    if !(name.is_empty() || name == "default") || !is_mounted {
        return None;
    }
    let fix = resource.change(&pod.spec_path, &["automountServiceAccountToken"], Some(json!(false)));
    let words = "The token of the default service account is mounted. Set automountServiceAccountToken to false, or give the pod an account \
                 of its own.";
    let rule = "AutomountServiceAccountTokenTrueAndDefaultSA";
    Some(resource.result(auditor, rule, Level::Error, words, pod.spec).mended(fix))
}

pub(super) fn host_namespaces(resource: &Resource<'_, '_>, out: &mut Vec<AuditResult>) {
    const NAME: &str = "hostns";
    let Some(pod) = &resource.object.pod else { return };
    let document = resource.document();
    for (field, rule, label) in [
        ("hostNetwork", "NamespaceHostNetworkTrue", "allow-namespace-host-network"),
        ("hostIPC", "NamespaceHostIPCTrue", "allow-namespace-host-IPC"),
        ("hostPID", "NamespaceHostPIDTrue", "allow-namespace-host-PID"),
    ] {
        let result = resource.is(document.get(pod.spec, field), true).then(|| {
            let fix = resource.change(&pod.spec_path, &[field], Some(json!(false)));
            let words = format!("The pod shares a namespace of the host. Set {field} to false.");
            let result = resource.result(NAME, rule, Level::Error, words, pod.spec).mended(fix);
            match document.str_at(pod.spec, &["hostname"]) {
                Some(hostname) if !hostname.is_empty() => result.with("PodHost", hostname),
                Some(_) | None => result,
            }
        });
        out.extend(resource.overridden(NAME, None, label, result));
    }
}

const OLD_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const OLD_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

pub(super) fn seccomp(resource: &Resource<'_, '_>, out: &mut Vec<AuditResult>) {
    const NAME: &str = "seccomp";
    let Some(pod) = &resource.object.pod else { return };
    let document = resource.document();
    let is_on = |kind: &str| matches!(kind, "RuntimeDefault" | "Localhost");
    let of_pod = document.follow(pod.spec, &["securityContext", "seccompProfile"]);
    let of_pod = of_pod.map(|profile| document.str_at(profile, &["type"]).unwrap_or_default());
    let profile = |container: &Container<'_>| {
        let profile = document.follow(container.node, &["securityContext", "seccompProfile"]);
        profile.map(|profile| document.str_at(profile, &["type"]).unwrap_or_default())
    };
    if of_pod.is_none() && resource.containers().all(|container| profile(container).is_none()) {
        let annotations = resource.meta().and_then(|(meta, _)| document.get(meta, "annotations"));
        let old: Vec<&str> = annotations
            .into_iter()
            .flat_map(|node| document.entries(node))
            .map(|(key, _)| key)
            .filter(|key| *key == OLD_POD || key.starts_with(OLD_CONTAINER))
            .collect();
        if !old.is_empty() {
            let words = "Annotations for seccomp are out of use. Write a seccompProfile in the pod's security context.";
            let fix: Vec<Fix> =
                old.iter().flat_map(|key| resource.change(&pod.meta_path, &["annotations", key], None)).collect();
            let result = resource.result(NAME, "SeccompDeprecatedAnnotations", Level::Warning, words, pod.spec);
            out.push(result.with("AnnotationKeys", old.join(", ")).mended(fix));
        }
    }
    let set = |path: &str| {
        resource.change(path, &["securityContext", "seccompProfile"], Some(json!({"type": "RuntimeDefault"})))
    };
    match of_pod {
        None => {
            let all_on = resource.containers().all(|container| profile(container).is_some_and(is_on));
            if !all_on || resource.containers().next().is_none() {
                let words = "The pod has no seccomp profile. Write a seccompProfile in its security context.";
                let result = resource.result(NAME, "SeccompProfileMissing", Level::Error, words, pod.spec);
                out.push(result.mended(set(&pod.spec_path)));
            }
        }
        Some(kind) if !is_on(kind) => {
            let words = format!(
                "The pod's seccomp profile is {kind}, which confines nothing. Use RuntimeDefault or Localhost."
            );
            let result = resource.result(NAME, "SeccompDisabledPod", Level::Error, words, pod.spec);
            out.push(result.with("SeccompProfileType", kind).mended(set(&pod.spec_path)));
        }
        Some(_) => {}
    }
    for container in resource.containers() {
        let Some(kind) = profile(container).filter(|kind| !is_on(kind)) else { continue };
        let words = format!(
            "The container's seccomp profile is {kind}, which confines nothing. Remove it, so that the pod's counts."
        );
        let fix = match of_pod {
            None | Some("RuntimeDefault") => {
                resource.change(&container.path, &["securityContext", "seccompProfile"], None)
            }
            Some(_) => set(&container.path),
        };
        let result = resource.of_container(NAME, "SeccompDisabledContainer", Level::Error, words, container);
        out.push(result.with("SeccompProfileType", kind).mended(fix));
    }
}
