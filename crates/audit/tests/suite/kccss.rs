//! The scores of KCCSS and kube-scan against a table that `tests/data/kccss_table.py` worked out, which shares nothing with the
//! program and takes the vectors from the two tools' own rule files.

use std::collections::BTreeMap;

use ringfort_audit::model::{Document, Limits, Syntax, read};
use ringfort_audit::view::kccss::{Kccss, RuleSet};

const WORKLOADS: &str = include_str!("../data/kccss-workloads.yaml");
const TABLE: &str = include_str!("../data/kccss-table.tsv");

fn cases() -> Vec<Document> {
    let mut cases = Vec::new();
    read(WORKLOADS, Syntax::Yaml, &Limits::default(), &mut |document| cases.push(document)).expect("good YAML");
    cases
}

#[test]
fn conformance_kccss_scores_equal_the_worked_table() {
    let mut expected: BTreeMap<(&str, &str), (&str, &str, &str)> = BTreeMap::new();
    for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split('\t').collect();
        expected.insert((fields[0], fields[1]), (fields[2], fields[3], fields[4]));
    }
    let cases = cases();
    assert!(cases.len() >= 40, "{} workloads", cases.len());
    let mut wrong = Vec::new();
    for (name, set) in [("kccss", RuleSet::Kccss), ("kube-scan", RuleSet::KubeScan)] {
        let kccss = Kccss::new(set);
        for (number, case) in cases.iter().enumerate() {
            let workload = format!("w{number}");
            let judged = kccss.judge(std::slice::from_ref(case));
            let ours = judged.iter().find(|judged| judged.name == workload).expect("each case has its workload");
            let mut ids: Vec<_> = ours.risk.risk_items.iter().map(|item| item.id.as_str()).collect();
            ids.sort_unstable();
            let ours = (ours.risk.risk_score.to_string(), ours.risk.risk_category, ids.join(","));
            let want = expected[&(workload.as_str(), name)];
            if (ours.0.as_str(), ours.1, ours.2.as_str()) != want {
                wrong.push(format!("{workload} {name}: {ours:?}, expected {want:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn both_rule_sets_are_whole() {
    assert_eq!(Kccss::new(RuleSet::Kccss).counts(), (25, 8));
    assert_eq!(Kccss::new(RuleSet::KubeScan).counts(), (18, 7));
}

#[test]
fn objects_of_several_files_are_judged_together() {
    let mut documents = Vec::new();
    for text in [
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}, spec: {template: {metadata: {labels: {app: web, tier: a}}, \
         spec: {containers: [{name: a}]}}}}",
        "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {type: LoadBalancer, selector: {tier: a}}}",
        "{apiVersion: v1, kind: Service, metadata: {name: other, namespace: else}, spec: {type: NodePort, selector: {tier: a}}}",
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: all, namespace: shop}, spec: {podSelector: \
         {matchExpressions: [{key: app, operator: In, values: [web]}]}, ingress: [{}]}}",
    ] {
        read(text, Syntax::Yaml, &Limits::default(), &mut |document| documents.push(document)).expect("good YAML");
    }
    let judged = Kccss::new(RuleSet::KubeScan).judge(&documents);
    let names: Vec<_> = judged[0].risk.risk_items.iter().map(|item| item.name.as_str()).collect();
    assert!(names.contains(&"ExposedByLoadBalancer") && !names.contains(&"ExposedByNodePort"), "{names:?}");
    assert!(names.contains(&"IngressPolicy") && !names.contains(&"EgressPolicy"), "{names:?}");
}
