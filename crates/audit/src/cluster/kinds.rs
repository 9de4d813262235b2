//! Which kinds of objects are read from a cluster, owners before what they own.

/// One kind as the API serves it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served {
    /// `v1`, `apps/v1`, …
    pub(super) api_version: &'static str,
    /// As in paths.
    pub(super) plural: &'static str,
    /// As in objects.
    pub(super) kind: &'static str,
    pub(super) namespaced: bool,
    /// Whether every cluster has it; of others nothing is said where they are not there.
    pub(super) built_in: bool,
}

const fn namespaced(api_version: &'static str, plural: &'static str, kind: &'static str) -> Served {
    Served { api_version, plural, kind, namespaced: true, built_in: true }
}

const fn cluster(api_version: &'static str, plural: &'static str, kind: &'static str) -> Served {
    Served { api_version, plural, kind, namespaced: false, built_in: true }
}

const fn extra(api_version: &'static str, plural: &'static str, kind: &'static str) -> Served {
    Served { api_version, plural, kind, namespaced: true, built_in: false }
}

pub(super) const SECRETS: Served = namespaced("v1", "secrets", "Secret");

pub(super) const KINDS: &[Served] = &[
    cluster("v1", "namespaces", "Namespace"),
    extra("argoproj.io/v1alpha1", "rollouts", "Rollout"),
    extra("apps.openshift.io/v1", "deploymentconfigs", "DeploymentConfig"),
    namespaced("batch/v1", "cronjobs", "CronJob"),
    namespaced("apps/v1", "deployments", "Deployment"),
    namespaced("apps/v1", "statefulsets", "StatefulSet"),
    namespaced("apps/v1", "daemonsets", "DaemonSet"),
    namespaced("batch/v1", "jobs", "Job"),
    namespaced("apps/v1", "replicasets", "ReplicaSet"),
    namespaced("v1", "replicationcontrollers", "ReplicationController"),
    namespaced("v1", "podtemplates", "PodTemplate"),
    namespaced("v1", "pods", "Pod"),
    namespaced("v1", "serviceaccounts", "ServiceAccount"),
    namespaced("v1", "services", "Service"),
    namespaced("v1", "configmaps", "ConfigMap"),
    namespaced("v1", "limitranges", "LimitRange"),
    namespaced("v1", "resourcequotas", "ResourceQuota"),
    namespaced("networking.k8s.io/v1", "ingresses", "Ingress"),
    namespaced("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy"),
    namespaced("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    namespaced("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    namespaced("rbac.authorization.k8s.io/v1", "roles", "Role"),
    namespaced("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding"),
    cluster("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole"),
    cluster("rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding"),
    cluster("v1", "persistentvolumes", "PersistentVolume"),
    cluster("storage.k8s.io/v1", "storageclasses", "StorageClass"),
    cluster("apiregistration.k8s.io/v1", "apiservices", "APIService"),
    cluster("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration"),
    cluster("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration"),
    cluster("admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"),
    extra("networking.istio.io/v1", "gateways", "Gateway"),
];

impl Served {
    /// The path of its list, in a namespace or over all.
    pub(super) fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.api_version.contains('/') { "/apis" } else { "/api" };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/{}/namespaces/{namespace}/{}", self.api_version, self.plural),
            None => format!("{root}/{}/{}", self.api_version, self.plural),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_role_lets_everything_be_listed_that_is_read() {
        let role = include_str!("../../../../packaging/kubernetes/scanner-role.yaml");
        for served in KINDS {
            let group = served.api_version.split_once('/').map_or("\"\"", |(group, _)| group);
            let listed = role.split("  - apiGroups: ").any(|rule| {
                let (groups, rest) = rule.split_once('\n').unwrap_or_default();
                let has = |text: &str, word: &str| text.split(['[', ']', ',', ' ', '\n']).any(|part| part == word);
                has(groups, group) && has(rest, served.plural)
            });
            assert!(listed, "{} {}", served.api_version, served.plural);
        }
        assert!(!role.lines().any(|line| !line.starts_with('#') && line.contains("secrets")));
    }

    #[test]
    fn paths_are_those_of_the_api() {
        let path = |plural: &str, namespace| {
            KINDS.iter().find(|served| served.plural == plural).expect("it is read").path(namespace)
        };
        assert_eq!(path("pods", None), "/api/v1/pods");
        assert_eq!(path("deployments", Some("shop")), "/apis/apps/v1/namespaces/shop/deployments");
        assert_eq!(path("namespaces", Some("shop")), "/api/v1/namespaces");
    }
}
