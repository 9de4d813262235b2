//! The auditor of namespaces: is traffic denied unless a policy allows it?

use serde_json::json;

use super::{AuditResult, Fix, Level, Resource};
use crate::edit::{Change, Key, keys};
use crate::kube::Object;
use crate::model::NodeId;

const NAME: &str = "netpols";
const INGRESS: &str = "allow-non-default-deny-ingress-network-policy";
const EGRESS: &str = "allow-non-default-deny-egress-network-policy";

struct Policy<'r, 'd> {
    number: usize,
    object: &'r Object<'d>,
    spec: NodeId,
}

impl Policy<'_, '_> {
    fn items(&self, key: &str) -> &[NodeId] {
        let document = self.object.document;
        document.get(self.spec, key).map(|list| document.items(list)).unwrap_or_default()
    }

    fn is_of_type(&self, kind: &str) -> bool {
        self.items("policyTypes").iter().any(|item| self.object.document.str(*item) == Some(kind))
    }

    /// Whether it is about every pod.
    fn selects_all(&self) -> bool {
        let document = self.object.document;
        let selector = |key: &str| document.follow(self.spec, &["podSelector", key]);
        let labels = selector("matchLabels").is_some_and(|labels| document.entries(labels).next().is_some());
        !labels && selector("matchExpressions").is_none_or(|list| document.items(list).is_empty())
    }

    fn denies(&self, rules: &str, kind: &str) -> bool {
        self.items(rules).is_empty() && self.is_of_type(kind) && self.selects_all()
    }

    /// Whether one of its rules is about everybody.
    fn allows_all(&self, rules: &str, peers: &str) -> bool {
        let document = self.object.document;
        let is_open = |rule: &NodeId| document.get(*rule, peers).is_none_or(|peers| document.items(peers).is_empty());
        self.items(rules).iter().any(is_open)
    }
}

pub(super) fn audit(resource: &Resource<'_, '_>, out: &mut Vec<AuditResult>) {
    let object = resource.object;
    if object.kind != "Namespace" || object.api_version != "v1" {
        return;
    }
    let namespace = object.name;
    let policies: Vec<Policy<'_, '_>> = resource
        .all
        .iter()
        .filter(|(_, other)| other.kind == "NetworkPolicy" && other.api_version == "networking.k8s.io/v1")
        .filter(|(_, other)| namespace.is_empty() || other.namespace.unwrap_or_default() == namespace)
        .filter_map(|(number, other)| {
            Some(Policy { number: *number, object: other, spec: other.document.get(other.node, "spec")? })
        })
        .collect();
    for policy in &policies {
        for (rules, peers, rule) in [
            ("ingress", "from", "AllowAllIngressNetworkPolicyExists"),
            ("egress", "to", "AllowAllEgressNetworkPolicyExists"),
        ] {
            if policy.allows_all(rules, peers) {
                let words = format!("A network policy allows all {rules} traffic.");
                let result = resource.result(NAME, rule, Level::Warning, words, object.node);
                out.push(result.with("PolicyName", policy.object.name));
            }
        }
    }
    let all = policies.iter().find(|policy| policy.selects_all());
    let lacking = |rule: &str, kind: &str, fix: Vec<Fix>| {
        let words = format!("Namespace {namespace}: {kind} traffic is not denied by default.");
        resource.result(NAME, rule, Level::Error, words, object.node).with("Namespace", namespace).mended(fix)
    };
    let kinds = [
        ("Ingress", "ingress", "MissingDefaultDenyIngressNetworkPolicy", INGRESS),
        ("Egress", "egress", "MissingDefaultDenyEgressNetworkPolicy", EGRESS),
    ];
    if let Some(all) = all {
        let lacks = |kind: &str, rules: &str| !policies.iter().any(|policy| policy.denies(rules, kind));
        let wanted: Vec<&str> = kinds
            .iter()
            .filter(|(kind, rules, _, label)| lacks(kind, rules) && resource.override_reason(None, label).is_none())
            .map(|(kind, ..)| *kind)
            .collect();
        for (kind, rules, rule, label) in kinds {
            if lacks(kind, rules) {
                out.extend(resource.overridden(NAME, None, label, Some(lacking(rule, kind, also(all, &wanted)))));
            }
        }
        return;
    }
    let reasons = kinds.map(|(_, _, _, label)| resource.override_reason(None, label));
    let both = "MissingDefaultDenyIngressAndEgressNetworkPolicy";
    match reasons {
        [None, None] => out.push(lacking(both, "Ingress and Egress", vec![deny(namespace, &["Ingress", "Egress"])])),
        [Some(ingress), Some(egress)] => {
            let mut result = lacking(both, "Ingress and Egress", Vec::new());
            result.rule.push_str("Allowed");
            result.level = Level::Warning;
            out.push(result.with("OverrideReason", format!("Ingress: {ingress}, Egress: {egress}")));
        }
        [Some(_), None] | [None, Some(_)] => {
            for (kind, _, rule, label) in kinds {
                let result = lacking(rule, kind, vec![deny(namespace, &[kind])]);
                out.extend(resource.overridden(NAME, None, label, Some(result)));
            }
        }
    }
}

/// The policy about every pod is made one of these types too.
fn also(policy: &Policy<'_, '_>, wanted: &[&str]) -> Vec<Fix> {
    let types: Vec<&str> =
        ["Ingress", "Egress"].into_iter().filter(|kind| policy.is_of_type(kind) || wanted.contains(kind)).collect();
    let base = if policy.object.path.is_empty() { "spec".to_owned() } else { format!("{}.spec", policy.object.path) };
    let Some(mut path) = keys(&base) else { return Vec::new() };
    path.push(Key::Name("policyTypes".to_owned()));
    vec![Fix::Change(Change { document: policy.number, path, value: Some(json!(types)) })]
}

fn deny(namespace: &str, types: &[&str]) -> Fix {
    Fix::Add(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "default-deny", "namespace": namespace},
        "spec": {"podSelector": {}, "policyTypes": types},
    }))
}
