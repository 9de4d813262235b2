use super::*;
use crate::model::Limits;
use crate::policy::Catalogue;
use crate::scan::{FileScan, Settings, Status, scan_text};

const POLICY: &str = "id: RF-K8S-9001
name: x
aliases: [CKV_K8S_16, kubeaudit:PrivilegedTrue]
severity: high
category: x
kinds: [workload]
each: containers
fails: securityContext.privileged == true
message: m
remediation: r
";

fn scan(text: &str, central: &str) -> FileScan {
    let policy = Policy::parse("p.yaml", POLICY).expect("a good policy");
    let catalogue = Catalogue::new(vec![policy]).expect("one id");
    let suppressions = Suppressions::parse("central.yaml", central).expect("good suppressions");
    let today = "2026-11-25".parse().expect("a day");
    let settings = Settings {
        catalogue: &catalogue,
        limits: Limits::default(),
        passes: false,
        suppressions: &suppressions,
        today,
        threads: 1,
    };
    scan_text("a.yaml", text, &settings)
}

/// Which of the containers `a` and `b` stay failed.
fn failed(text: &str, central: &str) -> Vec<String> {
    let scan = scan(text, central);
    assert_eq!(scan.findings.len(), 2, "suppressed findings stay in the report");
    let failed = scan.findings.into_iter().filter(|finding| finding.status == Status::Failed);
    failed.filter_map(|finding| finding.container.map(String::from)).collect()
}

fn pod(meta: &str, before_a: &str, after_a: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n{meta}spec:\n  containers:\n{before_a}    - name: a\n      \
         securityContext:\n        privileged: true{after_a}\n    - name: b\n      securityContext: {{privileged: true}}\n"
    )
}

#[test]
fn a_comment_covers_the_container_that_it_stands_in() {
    assert_eq!(failed(&pod("", "", ""), ""), ["a", "b"]);
    for comment in [
        " # ringfort:ignore RF-K8S-9001 reason=\"host agent\" owner=platform expires=2026-11-25",
        " # ringfort:ignore x,ckv_k8s_16 reason=meant",
        " # checkov:skip=CKV_K8S_16: meant",
        " # kics-scan ignore-block",
    ] {
        assert_eq!(failed(&pod("", "", comment), ""), ["b"], "{comment}");
    }
    assert_eq!(failed(&pod("", "    # ringfort:ignore RF-K8S-9001 reason=x\n", ""), ""), ["b"]);
    assert_eq!(failed(&pod("", "", "\n    # ringfort:ignore RF-K8S-9001 reason=x"), ""), ["a"]);
    assert_eq!(failed(&pod("", "", " # kics-scan ignore-line"), ""), ["b"]);
}

#[test]
fn a_comment_outside_of_containers_covers_the_object() {
    let text = format!("# checkov:skip=CKV_K8S_16:meant\n{}", pod("", "", ""));
    assert!(failed(&text, "").is_empty());
    let text = format!("{}---\n# ringfort:ignore RF-K8S-9001 reason=x\nother: 1\n", pod("", "", ""));
    assert_eq!(failed(&text, ""), ["a", "b"]);
    assert!(failed(&format!("# kics-scan ignore\n{}", pod("", "", "")), "").is_empty());
    assert_eq!(failed(&pod("  annotations: {x: ' # checkov:skip=CKV_K8S_16:no comment'}\n", "", ""), ""), ["a", "b"]);
}

#[test]
fn annotations_and_labels_cover_the_object_or_a_container() {
    for (meta, left) in [
        ("  annotations: {checkov.io/skip1: CKV_K8S_16=meant}\n", ""),
        ("  annotations: {checkov.io/skip1: CKV_K8S_17=meant}\n", "ab"),
        ("  annotations: {ignore.ringfort/RF-K8S-9001: reason=meant}\n", ""),
        ("  annotations: {ignore.ringfort/a.RF-K8S-9001: 'reason=\"it is\"; owner=me'}\n", "b"),
        ("  annotations: {ignore.ringfort/a.RF-K8S-9001: owner=me}\n", "ab"),
        ("  labels: {kubeaudit.io/allow-privileged: SomeReason}\n", ""),
        ("  labels: {container.kubeaudit.io/b.allow-privileged: SomeReason}\n", "a"),
        ("  labels: {kubeaudit.io/allow-run-as-root: SomeReason}\n", "ab"),
    ] {
        assert_eq!(failed(&pod(meta, "", ""), "").concat(), left, "{meta}");
    }
}

#[test]
fn the_central_file_needs_reason_owner_and_expiry() {
    let rule =
        |more: &str| format!("suppressions:\n  - {{policy: RF-K8S-9001, reason: r, owner: o, expires: never{more}}}\n");
    assert!(failed(&pod("", "", ""), &rule("")).is_empty());
    assert_eq!(failed(&pod("", "", ""), &rule(", container: a")), ["b"]);
    assert!(failed(&pod("", "", ""), &rule(", files: '*.yaml', resource: 'Pod/*'")).is_empty());
    assert_eq!(failed(&pod("", "", ""), &rule(", resource: 'Job/*'")), ["a", "b"]);
    for (text, words) in [
        ("suppressions: [{policy: x, reason: r, owner: o}]", "c:1:16: a suppression needs `expires`"),
        ("suppressions: [{policy: x, owner: o, expires: never}]", "c:1:16: a suppression needs `reason`"),
        (
            "suppressions: [{policy: x, reason: r, owner: o, expires: soon}]",
            "c:1:16: expected a day like 2027-01-31, found `soon`",
        ),
        ("x: 1", "c:1:1: expected `suppressions:` with a list"),
    ] {
        assert_eq!(Suppressions::parse("c", text).expect_err(text).to_string(), words);
    }
}

#[test]
fn what_has_expired_suppresses_no_longer_and_is_told() {
    let text = pod("", "", " # ringfort:ignore RF-K8S-9001 reason=x owner=me expires=2026-11-24");
    let scan = scan(&text, "");
    assert_eq!(scan.findings[0].status, Status::Failed);
    assert_eq!(scan.findings[0].expired.as_deref(), Some("suppressed until 2026-11-24 (x, me)"));
}

#[test]
fn a_comment_without_reason_is_a_problem_with_its_line() {
    let waivers = Waivers::in_comments("a: 1\nb: 2 # ringfort:ignore RF-K8S-0001\n# ringfort:ignore reason=x\n");
    assert_eq!(waivers.problems.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn days_are_read_written_and_counted() {
    for (seconds, day) in [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_764_028_800, "2025-11-25")] {
        assert_eq!(Date::from_unix(seconds).to_string(), day);
    }
    for text in ["2026-02-29", "2026-13-01", "26-01-01", "2026-1-01", "2026-01-01-01", "soon"] {
        assert!(text.parse::<Date>().is_err(), "{text}");
    }
}
