//! The auditor of versions of the API that are going, or gone.

use super::{AuditResult, Level, Resource};

/// Group and version, kind, introduced, deprecated and removed in (minor versions of 1), what to use instead.
const APIS: [(&str, &str, u8, u8, u8, &str); 29] = [
    ("apps/v1beta1", "Deployment", 6, 8, 16, "apps/v1"),
    ("apps/v1beta1", "StatefulSet", 5, 8, 16, "apps/v1"),
    ("apps/v1beta1", "ControllerRevision", 7, 8, 16, "apps/v1"),
    ("apps/v1beta2", "Deployment", 8, 9, 16, "apps/v1"),
    ("apps/v1beta2", "StatefulSet", 8, 9, 16, "apps/v1"),
    ("apps/v1beta2", "DaemonSet", 8, 9, 16, "apps/v1"),
    ("apps/v1beta2", "ReplicaSet", 8, 9, 16, "apps/v1"),
    ("apps/v1beta2", "ControllerRevision", 8, 9, 16, "apps/v1"),
    ("extensions/v1beta1", "Deployment", 1, 8, 16, "apps/v1"),
    ("extensions/v1beta1", "DaemonSet", 1, 8, 16, "apps/v1"),
    ("extensions/v1beta1", "ReplicaSet", 2, 8, 16, "apps/v1"),
    ("extensions/v1beta1", "Ingress", 1, 14, 22, "networking.k8s.io/v1"),
    ("extensions/v1beta1", "NetworkPolicy", 3, 9, 16, "networking.k8s.io/v1"),
    ("networking.k8s.io/v1beta1", "Ingress", 14, 19, 22, "networking.k8s.io/v1"),
    ("networking.k8s.io/v1beta1", "IngressClass", 18, 19, 22, "networking.k8s.io/v1"),
    ("batch/v1beta1", "CronJob", 8, 21, 25, "batch/v1"),
    ("policy/v1beta1", "PodDisruptionBudget", 0, 21, 25, "policy/v1"),
    ("policy/v1beta1", "PodSecurityPolicy", 0, 21, 25, ""),
    ("autoscaling/v2beta1", "HorizontalPodAutoscaler", 8, 22, 25, "autoscaling/v2"),
    ("autoscaling/v2beta2", "HorizontalPodAutoscaler", 12, 23, 26, "autoscaling/v2"),
    ("rbac.authorization.k8s.io/v1beta1", "Role", 6, 17, 22, "rbac.authorization.k8s.io/v1"),
    ("rbac.authorization.k8s.io/v1beta1", "RoleBinding", 6, 17, 22, "rbac.authorization.k8s.io/v1"),
    ("rbac.authorization.k8s.io/v1beta1", "ClusterRole", 6, 17, 22, "rbac.authorization.k8s.io/v1"),
    ("rbac.authorization.k8s.io/v1beta1", "ClusterRoleBinding", 6, 17, 22, "rbac.authorization.k8s.io/v1"),
    ("discovery.k8s.io/v1beta1", "EndpointSlice", 16, 21, 25, "discovery.k8s.io/v1"),
    ("events.k8s.io/v1beta1", "Event", 8, 22, 25, "events.k8s.io/v1"),
    ("scheduling.k8s.io/v1beta1", "PriorityClass", 11, 14, 22, "scheduling.k8s.io/v1"),
    ("storage.k8s.io/v1beta1", "StorageClass", 4, 19, 22, "storage.k8s.io/v1"),
    ("coordination.k8s.io/v1beta1", "Lease", 12, 19, 22, "coordination.k8s.io/v1"),
];

pub(super) fn audit(resource: &Resource<'_, '_>) -> Option<AuditResult> {
    let object = resource.object;
    let (version, kind, introduced, deprecated, removed, instead) =
        APIS.iter().find(|api| api.0 == object.api_version && api.1 == object.kind)?;
    let mut words = format!("{version} {kind} is deprecated since 1.{deprecated} and gone in 1.{removed}.");
    let mut metadata = vec![
        ("DeprecatedMajor", "1".to_owned()),
        ("DeprecatedMinor", deprecated.to_string()),
        ("RemovedMajor", "1".to_owned()),
        ("RemovedMinor", removed.to_string()),
    ];
    if *introduced > 0 {
        metadata.push(("IntroducedMajor", "1".to_owned()));
        metadata.push(("IntroducedMinor", introduced.to_string()));
    }
    if !instead.is_empty() {
        words.push_str(&format!(" Use {instead} {kind}."));
        metadata.push(("ReplacementGroup", (*instead).to_owned()));
        metadata.push(("ReplacementKind", (*kind).to_owned()));
    }
    let mut result = resource.result("deprecatedapis", "DeprecatedAPIUsed", Level::Warning, words, object.node);
    result.metadata.extend(metadata);
    Some(result)
}
