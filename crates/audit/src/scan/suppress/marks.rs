//! Suppressions in annotations and labels: `ignore.ringfort/ID`, `ignore.ringfort/CONTAINER.ID`, `checkov.io/skipN`, and the
//! labels `kubeaudit.io/allow-…`, `container.kubeaudit.io/CONTAINER.allow-…`; and in the metadata of CloudFormation's resources.

use super::{Cover, Suppressed, Waiver};
use crate::kube::Object;

pub(super) fn read(object: &Object<'_>) -> Vec<Waiver> {
    let document = object.document;
    let skip = |(id, reason): &(String, String)| {
        let said = Suppressed {
            reason: reason.clone(),
            owner: None,
            expires: None,
            source: "Metadata.checkov.skip".to_owned(),
        };
        Waiver { ids: vec![id.clone()], cover: Cover::All, said }
    };
    let mut waivers: Vec<Waiver> = object.skips.iter().map(skip).collect();
    let own = document.get(object.node, "metadata");
    let pod = object.pod.as_ref().and_then(|pod| pod.meta).filter(|meta| Some(*meta) != own);
    for meta in [own, pod].into_iter().flatten() {
        for (table, reader) in [("annotations", annotation as fn(&str, &str) -> Option<Waiver>), ("labels", label)] {
            let Some(table) = document.get(meta, table) else { continue };
            for (key, entry) in document.entries(table) {
                let value = document.scalar_text(entry.value).unwrap_or_default();
                waivers.extend(reader(key, value));
            }
        }
    }
    waivers
}

fn annotation(key: &str, value: &str) -> Option<Waiver> {
    let source = format!("annotation {key}");
    if key.strip_prefix("checkov.io/skip").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
        let (id, reason) = value.split_once('=').unwrap_or((value, "no reason given"));
        let said = Suppressed { reason: reason.trim().to_owned(), owner: None, expires: None, source };
        return Some(Waiver { ids: vec![id.trim().to_owned()], cover: Cover::All, said });
    }
    let name = key.strip_prefix("ignore.ringfort/")?;
    // A container's name has no dot (RFC 1123 label), an id has none either.
    let (cover, id) = match name.split_once('.') {
        Some((container, id)) => (Cover::Container(container.to_owned()), id),
        None => (Cover::All, name),
    };
    let said = attributes(value, source).ok()?;
    Some(Waiver { ids: vec![id.to_owned()], cover, said })
}

fn label(key: &str, value: &str) -> Option<Waiver> {
    let (cover, allowed) = if let Some(rest) = key.strip_prefix("container.kubeaudit.io/") {
        let (container, allowed) = rest.split_once('.')?;
        (Cover::Container(container.to_owned()), allowed)
    } else {
        (Cover::All, key.strip_prefix("kubeaudit.io/")?)
    };
    let results: &[&str] = match allowed.strip_prefix("allow-")? {
        "privileged" => &["kubeaudit:PrivilegedTrue"],
        "privilege-escalation" => &["kubeaudit:AllowPrivilegeEscalationTrue", "kubeaudit:AllowPrivilegeEscalationNil"],
        "run-as-root" => &[
            "kubeaudit:RunAsUserCSCRoot",
            "kubeaudit:RunAsUserPSCRoot",
            "kubeaudit:RunAsNonRootCSCFalse",
            "kubeaudit:RunAsNonRootPSCNilCSCNil",
            "kubeaudit:RunAsNonRootPSCFalseCSCNil",
        ],
        "read-only-root-filesystem-false" => {
            &["kubeaudit:ReadOnlyRootFilesystemFalse", "kubeaudit:ReadOnlyRootFilesystemNil"]
        }
        "automount-service-account-token" => &["kubeaudit:AutomountServiceAccountTokenTrueAndDefaultSA"],
        "namespace-host-network" => &["kubeaudit:NamespaceHostNetworkTrue"],
        "namespace-host-IPC" => &["kubeaudit:NamespaceHostIPCTrue"],
        "namespace-host-PID" => &["kubeaudit:NamespaceHostPIDTrue"],
        "disabled-apparmor" => &["kubeaudit:AppArmorDisabled"],
        other if other.starts_with("host-path-mount-") => &["kubeaudit:SensitivePathsMounted"],
        other if other.starts_with("capability-") => &["kubeaudit:CapabilityAdded"],
        _ => return None,
    };
    let reason = if value.is_empty() { "no reason given" } else { value };
    let said = Suppressed { reason: reason.to_owned(), owner: None, expires: None, source: format!("label {key}") };
    Some(Waiver { ids: results.iter().map(|result| (*result).to_owned()).collect(), cover, said })
}

/// `reason="…" owner=… expires=2027-01-31`, separated by spaces, commas or semicolons. The reason has to be there.
pub(super) fn attributes(text: &str, source: String) -> Result<Suppressed, String> {
    let mut said = Suppressed { reason: String::new(), owner: None, expires: None, source };
    let mut rest = text.trim();
    while !rest.is_empty() {
        let Some((key, after)) = rest.split_once('=') else {
            return Err(format!("expected reason=\"…\", owner=… or expires=…, found `{rest}`"));
        };
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(|| "a quoted text that does not end".to_owned())?,
            None => after.split_at(after.find([' ', ',', ';']).unwrap_or(after.len())),
        };
        match key.trim() {
            "reason" => value.trim().clone_into(&mut said.reason),
            "owner" => said.owner = Some(value.to_owned()),
            "expires" => said.expires = Some(value.parse()?),
            key => return Err(format!("`{key}` has no meaning here; there are reason, owner and expires")),
        }
        rest = next.trim_start_matches([' ', ',', ';']);
    }
    if said.reason.is_empty() {
        return Err("a suppression needs reason=\"…\"".to_owned());
    }
    Ok(said)
}
