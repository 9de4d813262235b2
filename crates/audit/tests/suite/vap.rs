//! Policies of users, in our form and as `ValidatingAdmissionPolicy`, and our own written out as such: each that can be is read back
//! and comes to what the policy's examples say.

use std::fs;
use std::path::Path;
use std::process::Command;

use ringfort_audit::command::{self, CLEAN, FINDINGS, Options, policies};
use ringfort_audit::kube;
use ringfort_audit::model::{Document, Limits, Syntax, read};
use ringfort_audit::output::Format;
use ringfort_audit::policy::users::UserFile;
use ringfort_audit::policy::{Catalogue, Want};
use ringfort_audit::scan::suppress::Suppressions;
use ringfort_audit::scan::{Status, scan_text};
use ringfort_audit::vap::export;
use serde_json::{Value, json};

use crate::support::{catalogue, settings};
use crate::tools;

/// Of the policies for Kubernetes so many can be exported at least; fewer would be a step back.
const EXPORTED: usize = 150;

#[test]
fn every_exported_policy_says_in_cel_what_it_says_in_our_words() {
    let (mut count, mut checked, mut wrong) = (0, 0, Vec::new());
    for policy in catalogue().policies() {
        let Ok(text) = export(policy) else { continue };
        count += 1;
        let file =
            UserFile::parse("exported.yaml", &text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", policy.id));
        assert_is_what_kubernetes_reads(&text);
        let alone = Catalogue::new(file.policies).expect("one policy");
        for example in Catalogue::built_in_examples(&policy.id).expect("it has some").expect("they can be read").all {
            let none = Suppressions::default();
            let scan = scan_text("example.yaml", &example.manifest, &settings(&alone, &none));
            let failed = scan.findings.iter().any(|finding| finding.status == Status::Failed);
            // Kinds and versions that an API server does not admit are nothing for it.
            let mut admitted = false;
            read(&example.manifest, Syntax::Guess, &Limits::default(), &mut |document| {
                admitted |= kube::objects(&document).iter().any(|object| {
                    alone.for_object(object).next().is_some() && text.contains(&format!("[\"{}\"]", object.group()))
                        || text.contains("apiGroups: [\"*\"]")
                });
            })
            .expect("examples are YAML");
            checked += usize::from(admitted);
            if failed != (example.want == Want::Fail) && admitted {
                wrong.push(format!("{} {}:\n{}{text}", policy.id, example.label, example.manifest));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} wrong:\n{}", wrong.len(), wrong.join("\n"));
    println!("{count} policies, {checked} examples");
    assert!(count >= EXPORTED, "only {count} can be exported");
    assert!(checked >= 3 * count, "only {checked} examples of {count} policies were looked at");
}

/// An API server cannot be had for a test; its language can: the one that C++ and Python have from those who made it.
#[test]
fn every_exported_policy_compiles_and_comes_to_the_same_in_googles_cel() {
    let Some(python) = tools::python() else { return };
    let place = tempfile::tempdir().expect("a folder");
    let mut policies = Vec::new();
    for policy in catalogue().policies() {
        let Ok(text) = export(policy) else { continue };
        let mut documents = Vec::new();
        read(&text, Syntax::Yaml, &Limits::default(), &mut |document| documents.push(json_of(&document)))
            .expect("YAML");
        let spec = &documents[0]["spec"];
        let alone =
            Catalogue::new(UserFile::parse("exported.yaml", &text).expect("it is one").policies).expect("one policy");
        let examples = Catalogue::built_in_examples(&policy.id).expect("it has some").expect("they can be read").all;
        let cases = examples.iter().filter_map(|example| {
            let mut objects = Vec::new();
            read(&example.manifest, Syntax::Guess, &Limits::default(), &mut |document| {
                let found = kube::objects(&document);
                let admitted = found.iter().filter(|object| {
                    let group =
                        text.contains(&format!("[\"{}\"]", object.group())) || text.contains("apiGroups: [\"*\"]");
                    group && alone.for_object(object).next().is_some()
                });
                objects.extend(admitted.map(|object| without_null(object.document.to_json(object.node))));
            })
            .expect("examples are YAML");
            let case = json!({ "label": example.label, "objects": objects, "fails": example.want == Want::Fail });
            (!objects.is_empty()).then_some(case)
        });
        policies.push(json!({
            "policy": policy.id,
            "variables": spec.get("variables").cloned().unwrap_or_else(|| json!([])),
            "expression": spec["validations"][0]["expression"],
            "message": spec["validations"][0]["message"],
            "cases": cases.collect::<Vec<_>>(),
        }));
    }
    assert!(policies.len() >= EXPORTED);
    let file = place.path().join("policies.json");
    fs::write(&file, Value::from(policies).to_string()).expect("it can be written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/check_cel.py");
    let output = Command::new(python).arg(script).arg(file).output().expect("it starts");
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}{}", String::from_utf8_lossy(&output.stderr));
    println!("{words}");
}

fn json_of(document: &Document) -> Value {
    document.to_json(document.root().expect("a mapping"))
}

/// As an API server has it before it asks a policy.
fn without_null(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_null(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_null).collect()),
        scalar => scalar,
    }
}

fn assert_is_what_kubernetes_reads(text: &str) {
    use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
    let mut objects = Vec::new();
    read(text, Syntax::Yaml, &Limits::default(), &mut |document| {
        objects.push(document.to_json(document.root().expect("a mapping")));
    })
    .expect("it is YAML");
    let [policy, binding] = objects.as_slice() else { panic!("a policy and its binding: {text}") };
    let read: ValidatingAdmissionPolicy = serde_json::from_value(policy.clone()).expect("Kubernetes reads it");
    assert_eq!(&serde_json::to_value(&read).expect("JSON"), policy, "nothing in it is unknown or of another form");
    let read: ValidatingAdmissionPolicyBinding = serde_json::from_value(binding.clone()).expect("Kubernetes reads it");
    assert_eq!(&serde_json::to_value(&read).expect("JSON"), binding);
}

const OWN: &str = "id: SHOP-1
name: Workloads name their team
severity: low
category: workload
kinds: [workload]
fails: missing(metadata.labels.team)
message: Nobody knows whom to call.
remediation: Set the label `team`.
examples:
  bad: |
    apiVersion: v1
    kind: Pod
    metadata: {name: a}
    spec: {containers: [{name: a, image: b}]}
  good: |
    apiVersion: v1
    kind: Pod
    metadata: {name: a, labels: {team: b}}
    spec: {containers: [{name: a, image: b}]}
  near-miss: |
    apiVersion: v1
    kind: Pod
    metadata: {name: a, labels: {team: '', teams: c}}
    spec: {containers: [{name: a, image: b}]}
";

const ADMISSION: &str = "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: images.shop
  annotations: {audit.ringfort/severity: high}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  matchConditions:
    - {name: not-system, expression: \"!has(object.metadata.namespace) || object.metadata.namespace != 'kube-system'\"}
  variables:
    - {name: containers, expression: object.spec.template.spec.containers}
  validations:
    - expression: variables.containers.all(c, c.image.startsWith('registry.example/'))
      message: Images come from our registry.
    - expression: object.spec.replicas <= 5
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: images.shop}
spec: {policyName: images.shop, validationActions: [Deny]}
---
examples:
  bad: |
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: a, namespace: shop}
    spec: {replicas: 2, template: {spec: {containers: [{name: a, image: elsewhere/b}]}}}
  bad-missing: |
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: a, namespace: shop}
    spec: {template: {spec: {containers: [{name: a, image: registry.example/b}]}}}
  good: |
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: a, namespace: shop}
    spec: {replicas: 2, template: {spec: {containers: [{name: a, image: registry.example/b}]}}}
  near-miss: |
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: a, namespace: kube-system}
    spec: {replicas: 20, template: {spec: {containers: [{name: a, image: elsewhere/b}]}}}
";

#[test]
fn own_policies_are_asked_beside_the_built_in_ones() {
    let place = tempfile::tempdir().expect("a folder");
    let own = place.path().join("policies");
    fs::create_dir(&own).expect("a folder");
    fs::write(own.join("team.yaml"), OWN).expect("it can be written");
    fs::write(own.join("images.yml"), ADMISSION).expect("it can be written");
    fs::write(own.join("README.md"), "words").expect("it can be written");
    let (words, right) =
        policies::test(std::slice::from_ref(&own), "2026-11-25".parse().expect("a day")).expect("they are good");
    assert!(right, "{words}");
    assert!(words.contains("SHOP-1: 3 examples are right") && words.ends_with("7 examples, 0 wrong\n"), "{words}");
    assert!(words.contains("images.shop/1, images.shop/2: 4 examples are right"), "{words}");
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, namespace: shop}\nspec: {replicas: 9, template: {spec: {containers: [{name: a, image: b}]}}}\n";
    let file = place.path().join("deployment.yaml");
    fs::write(&file, deployment).expect("it can be written");
    let mut options = Options::new(vec![file], "2026-11-25".parse().expect("a day"));
    options.policies = vec![own];
    options.only = ["SHOP-1", "images.shop/1", "images.shop/2"].map(str::to_owned).to_vec();
    options.outputs = vec![(Format::Csv, None)];
    let mut out = Vec::new();
    assert_eq!(command::run(&options, &mut &b""[..], &mut out).expect("it runs"), FINDINGS);
    let text = String::from_utf8(out).expect("text");
    for line in [
        "failed,low,SHOP-1,",
        "failed,high,images.shop/1,,Images come from our registry.,",
        "failed,high,images.shop/2,",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    options.only = vec!["RF-K8S-0003".to_owned()];
    assert_eq!(command::run(&options, &mut &b""[..], &mut Vec::new()).expect("it runs"), CLEAN);
}

#[test]
fn a_policy_that_is_no_good_is_refused_by_file_and_line() {
    let place = tempfile::tempdir().expect("a folder");
    let file = place.path().join("p.yaml");
    let refused = |text: &str| {
        fs::write(&file, text).expect("it can be written");
        let error = policies::read(std::slice::from_ref(&file))
            .map(|files| files.len())
            .expect_err("it is no good")
            .to_string();
        error.replace(&format!("{}:", file.display()), "p:")
    };
    for (change, to, words) in [
        ("severity: low", "severity: bad", "p:3:1: `bad` is no severity"),
        ("fails: missing(", "fails: missing((", "p:6:1: `fails`: at character 9: expected "),
        ("id: SHOP-1", "id: RF-K8S-0001", "p:1:1: there is a policy RF-K8S-0001 already"),
        ("  near-miss: |", "  other: |", "p:20:3: expected names that begin with `bad`, `good` or `near-miss`"),
        ("message: ", "massage: ", "`massage` has no meaning in a policy"),
    ] {
        let found = refused(&OWN.replace(change, to));
        assert!(found.contains(words), "{words}\n{found}");
    }
    for (change, to, words) in [
        ("object.spec.replicas <= 5", "object.spec.replicas <=", "p:18:19: expected an expression in CEL: 1:2"),
        ("object.spec.replicas <= 5", "params.most <= 5", "`params` is only known in a cluster"),
        ("  failurePolicy: Fail", "  failurePolicy: Open", "p:7:18: expected Fail or Ignore"),
        ("resources: [deployments]", "resources: [widgets]", "no kind is known for `widgets`"),
        (
            "  failurePolicy: Fail",
            "  paramKind: {apiVersion: v1, kind: ConfigMap}",
            "p:7:14: `paramKind` cannot be answered",
        ),
    ] {
        let found = refused(&ADMISSION.replace(change, to));
        assert!(found.contains(words), "{words}\n{found}");
    }
    fs::write(&file, OWN.replace("labels: {team: b}", "labels: {}")).expect("it can be written");
    let (words, right) =
        policies::test(std::slice::from_ref(&file), "2026-11-25".parse().expect("a day")).expect("it can be read");
    assert!(!right && words.contains("SHOP-1: good fails"), "{words}");
}

#[test]
fn what_cannot_be_exported_is_told_with_the_reason() {
    let export = |id: &str| policies::export(catalogue(), &[id.to_owned()]).map_err(|error| error.to_string());
    let text = export("CKV_K8S_16").expect("it can be");
    assert!(
        text.contains("kind: \"ValidatingAdmissionPolicyBinding\"") && text.contains("rf-k8s-0001.ringfort"),
        "{text}"
    );
    let words = export("RF-K8S-0100").expect_err("it is about a command line");
    assert!(words.starts_with("RF-K8S-0100 cannot be exported: it looks at the words of a command line"), "{words}");
    assert!(export("RF-AWS-0152").expect_err("a cloud's").contains("no kind of object that an API server admits"));
    assert!(export("nothing").expect_err("no such").contains("no policy is called `nothing`"));
}
