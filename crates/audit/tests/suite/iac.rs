//! Terraform, CloudFormation, Serverless and plans: evaluation, links, places, the ledger, limits.

use std::fs;
use std::time::{Duration, Instant};

use ringfort_audit::scan::input::{self, Selection};
use ringfort_audit::scan::suppress::Suppressions;
use ringfort_audit::scan::{self, FileScan, Outcome, Report, Status};

use crate::support::{catalogue, scan as scan_text, settings};

/// Whether the policy of this alias failed, passed or had no verdict about a resource.
fn verdict(scan: &FileScan, alias: &str, resource: &str) -> &'static str {
    let of = |finding: &&scan::Finding| finding.policy(catalogue()).is_called(alias) && &*finding.resource == resource;
    match scan.findings.iter().find(of).map(|finding| &finding.status) {
        Some(Status::Failed) => "failed",
        Some(Status::Passed) => "passed",
        Some(Status::Suppressed(_)) => "suppressed",
        Some(Status::Known) | None => "none",
    }
}

fn terraform(text: &str) -> FileScan {
    scan_text("main.tf", text)
}

#[test]
fn variables_locals_functions_and_conditionals_are_evaluated() {
    for (value, expected) in [
        ("var.on", "passed"),
        ("local.both", "passed"),
        ("lookup({ a = true }, \"a\", false)", "passed"),
        ("merge({ on = false }, { on = true }).on", "passed"),
        ("length(concat([1], [2])) == 2 ? true : false", "passed"),
        ("\"${var.on}\"", "passed"),
        ("tobool(join(\"\", [\"tr\", \"ue\"]))", "passed"),
        ("format(\"%s\", \"false\")", "failed"),
        ("!var.on", "failed"),
        ("element([for x in [1, 2] : x == 2 if x > 1], 0)", "passed"),
        ("var.without_default", "none"),
        ("var.without_default ? true : true", "none"),
        ("local.circle", "none"),
    ] {
        let text = format!(
            "variable \"on\" {{ default = true }}\nvariable \"without_default\" {{}}\nlocals {{\n  both = var.on && true\n  \
             circle = local.circle\n}}\nresource \"aws_ebs_volume\" \"a\" {{\n  encrypted = {value}\n}}\n"
        );
        assert_eq!(verdict(&terraform(&text), "CKV_AWS_3", "aws_ebs_volume.a"), expected, "{value}");
    }
}

#[test]
fn what_depends_on_an_unknown_has_no_verdict_and_is_told() {
    let scan = terraform("variable \"on\" {}\nresource \"aws_ebs_volume\" \"a\" {\n  encrypted = var.on\n}\n");
    assert_eq!(verdict(&scan, "CKV_AWS_3", "aws_ebs_volume.a"), "none");
    let (line, words) = &scan.notes[0];
    assert_eq!(*line, 2);
    assert!(words.contains("aws_ebs_volume.a") && words.contains("RF-AWS-0001"), "{words}");
}

#[test]
fn count_and_for_each_make_as_many_resources_as_they_say() {
    let scan = terraform(
        "resource \"aws_ebs_volume\" \"none\" {\n  count = 0\n}\nresource \"aws_ebs_volume\" \"two\" {\n  count     = 2\n  \
         encrypted = count.index == 1\n}\nresource \"aws_ebs_volume\" \"each\" {\n  for_each  = { a = true, b = false }\n  \
         encrypted = each.value\n}\nresource \"aws_ebs_volume\" \"set\" {\n  for_each  = toset([\"x\"])\n  encrypted = each.key == \"x\"\n}\n",
    );
    assert_eq!(scan.objects, 5);
    for (resource, expected) in [
        ("aws_ebs_volume.two[0]", "failed"),
        ("aws_ebs_volume.two[1]", "passed"),
        ("aws_ebs_volume.each[\"a\"]", "passed"),
        ("aws_ebs_volume.each[\"b\"]", "failed"),
        ("aws_ebs_volume.set[\"x\"]", "passed"),
    ] {
        assert_eq!(verdict(&scan, "CKV_AWS_3", resource), expected, "{resource}");
    }
}

#[test]
fn dynamic_blocks_are_written_out() {
    let scan = terraform(
        "resource \"aws_security_group\" \"a\" {\n  dynamic \"ingress\" {\n    for_each = [443, 22]\n    iterator = port\n    content {\n      \
         from_port   = port.value\n      to_port     = port.value\n      protocol    = \"tcp\"\n      cidr_blocks = [\"0.0.0.0/0\"]\n    }\n  }\n}\n",
    );
    assert_eq!(verdict(&scan, "CKV_AWS_24", "aws_security_group.a"), "failed");
    assert_eq!(verdict(&scan, "CKV_AWS_25", "aws_security_group.a"), "passed");
}

#[test]
fn a_finding_stands_where_the_attribute_does_and_suppressions_of_comments_hold() {
    let scan = terraform("resource \"aws_ebs_volume\" \"a\" {\n  size = 1\n  encrypted = false\n}\n");
    let finding = scan.findings.iter().find(|f| f.policy(catalogue()).is_called("CKV_AWS_3")).expect("it failed");
    assert_eq!((finding.at.line, finding.at.column), (3, 15));
    assert_eq!(&*finding.json_path, "resource.aws_ebs_volume.a.encrypted");
    let scan =
        terraform("resource \"aws_ebs_volume\" \"a\" {\n  # checkov:skip=CKV_AWS_3:scratch\n  encrypted = false\n}\n");
    assert_eq!(verdict(&scan, "CKV_AWS_3", "aws_ebs_volume.a"), "suppressed");
}

fn scan_folder(files: &[(&str, &str)]) -> Report {
    let place = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = place.path().join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let inputs = input::find(&[place.path().to_path_buf()], &Selection::default());
    scan::scan(&inputs, &settings(catalogue(), &Suppressions::default()))
}

fn folder_verdict(report: &Report, alias: &str, resource: &str) -> Option<Status> {
    let of = |f: &&scan::Finding| f.policy(catalogue()).is_called(alias) && &*f.resource == resource;
    report.findings.iter().find(of).map(|finding| finding.status.clone())
}

#[test]
fn modules_of_the_tree_are_evaluated_with_their_arguments_and_linked_across() {
    let report = scan_folder(&[
        (
            "main.tf",
            "module \"a\" {\n  source = \"./m\"\n  on = var.on\n}\nresource \"aws_s3_bucket_public_access_block\" \"b\" {\n  \
                     bucket = module.a.bucket\n  block_public_acls = true\n  block_public_policy = true\n}\n",
        ),
        ("variables.tf", "variable \"on\" { default = false }\n"),
        ("terraform.tfvars", "on = true\n"),
        (
            "m/main.tf",
            "variable \"on\" {}\nresource \"aws_ebs_volume\" \"v\" {\n  encrypted = var.on\n}\n\
                       resource \"aws_s3_bucket\" \"b\" {}\noutput \"bucket\" { value = aws_s3_bucket.b.id }\n",
        ),
    ]);
    assert_eq!(folder_verdict(&report, "CKV_AWS_3", "module.a.aws_ebs_volume.v"), Some(Status::Passed));
    assert_eq!(folder_verdict(&report, "CKV2_AWS_6", "module.a.aws_s3_bucket.b"), Some(Status::Passed));
    assert!(report.ledger.entries.iter().all(|entry| entry.word() == "scanned"), "{:?}", report.ledger);
}

#[test]
fn modules_that_call_each_other_in_a_circle_end() {
    let report = scan_folder(&[
        ("a/main.tf", "module \"b\" {\n  source = \"../b\"\n}\nresource \"aws_ebs_volume\" \"a\" {}\n"),
        ("b/main.tf", "module \"a\" {\n  source = \"../a\"\n}\nresource \"aws_ebs_volume\" \"b\" {}\n"),
    ]);
    assert_eq!(folder_verdict(&report, "CKV_AWS_3", "aws_ebs_volume.a"), Some(Status::Failed));
    assert_eq!(folder_verdict(&report, "CKV_AWS_3", "module.b.aws_ebs_volume.b"), Some(Status::Failed));
}

#[test]
#[allow(clippy::disallowed_methods)] // The bound is on the clock.
fn what_would_grow_without_end_is_bounded_and_told() {
    let mut doubling = String::from("locals {\n  a0 = \"xxxxxxxxxx\"\n");
    (1..60).for_each(|n| doubling += &format!("  a{n} = \"${{local.a{}}}${{local.a{}}}\"\n", n - 1, n - 1));
    doubling += "}\nresource \"aws_ebs_volume\" \"a\" {\n  size = local.a59\n}\n";
    let many = "resource \"aws_ebs_volume\" \"a\" {\n  count = 100000000\n}\n".to_owned();
    let product =
        "locals {\n  l = range(1000)\n  p = [for a in local.l : [for b in local.l : [for c in local.l : c]]]\n}\n\
                   resource \"aws_ebs_volume\" \"a\" {\n  size = local.p\n}\n"
            .to_owned();
    for text in [doubling, many, product] {
        let start = Instant::now();
        let scan = terraform(&text);
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        assert!(
            matches!(&scan.outcome, Outcome::Unparsed { reason, .. } if reason.contains("too large")),
            "{}",
            scan.outcome
        );
    }
}

#[test]
fn a_row_of_values_each_within_the_next_does_not_overflow() {
    let mut text = String::from("locals {\n  a0 = [1]\n");
    (1..40_000).for_each(|n| text += &format!("  a{n} = [local.a{}]\n", n - 1));
    text += "}\nresource \"aws_ebs_volume\" \"a\" {\n  encrypted = true\n  size = [\n";
    (0..40_000).for_each(|n| text += &format!("    local.a{n},\n"));
    text += "  ]\n}\n";
    let scan = terraform(&text);
    assert_eq!(verdict(&scan, "CKV_AWS_3", "aws_ebs_volume.a"), "passed", "{}", scan.outcome);
}

#[test]
fn a_broken_file_is_a_line_of_the_ledger_with_its_place() {
    let report = scan_folder(&[("bad.tf", "resource \"aws_ebs_volume\" \"a\" {}\nresource \"x\" {\n  a = \n}\n")]);
    let outcome = &report.ledger.entries[0].outcome;
    assert!(matches!(outcome, Outcome::Unparsed { at: Some(at), objects: 1, .. } if at.line == 3), "{outcome}");
}

#[test]
fn cloudformation_is_the_same_in_yaml_with_short_forms_and_in_json() {
    let yaml = "Parameters:\n  On: {Type: String, Default: 'true'}\nConditions:\n  Live: !Equals [!Ref On, 'true']\nResources:\n  V:\n    \
                Type: AWS::EC2::Volume\n    Properties:\n      Encrypted: !If [Live, true, false]\n  W:\n    Type: AWS::EC2::Volume\n    \
                Properties:\n      Encrypted: !Ref Off\n  B:\n    Type: AWS::S3::Bucket\n";
    let json = r#"{"Parameters": {"On": {"Type": "String", "Default": "true"}},
        "Conditions": {"Live": {"Fn::Equals": [{"Ref": "On"}, "true"]}},
        "Resources": {"V": {"Type": "AWS::EC2::Volume", "Properties": {"Encrypted": {"Fn::If": ["Live", true, false]}}},
        "W": {"Type": "AWS::EC2::Volume", "Properties": {"Encrypted": {"Ref": "Off"}}}, "B": {"Type": "AWS::S3::Bucket"}}}"#;
    for (name, text) in [("t.yaml", yaml), ("t.json", json)] {
        let scan = scan_text(name, text);
        assert_eq!(verdict(&scan, "CKV_AWS_3", "AWS::EC2::Volume.V"), "passed", "{name}");
        assert_eq!(verdict(&scan, "CKV_AWS_3", "AWS::EC2::Volume.W"), "none", "{name}");
        assert_eq!(verdict(&scan, "CKV_AWS_53", "AWS::S3::Bucket.B"), "failed", "{name}");
        assert_eq!(verdict(&scan, "CKV_AWS_21", "AWS::S3::Bucket.B"), "failed", "{name}");
    }
    let scan =
        scan_text("t.yaml", "Resources:\n  V:\n    Type: AWS::EC2::Volume\n    Properties:\n      Encrypted: false\n");
    let finding = scan.findings.iter().find(|f| f.policy(catalogue()).is_called("CKV_AWS_3")).expect("it failed");
    assert_eq!((finding.at.line, finding.at.column), (5, 18));
}

#[test]
fn a_plan_is_judged_by_what_terraform_knows() {
    let plan = r#"{"format_version": "1.2", "terraform_version": "1.9.0",
        "planned_values": {"root_module": {"resources": [
          {"address": "aws_ebs_volume.a", "mode": "managed", "type": "aws_ebs_volume", "name": "a", "values": {"encrypted": false}},
          {"address": "aws_s3_bucket.b", "mode": "managed", "type": "aws_s3_bucket", "name": "b", "values": {}}],
          "child_modules": [{"address": "module.m", "resources": [
          {"address": "module.m.aws_ebs_volume.c", "mode": "managed", "type": "aws_ebs_volume", "name": "c", "values": {"encrypted": true}}]}]}},
        "resource_changes": [{"address": "aws_s3_bucket_public_access_block.p", "change": {"after_unknown": {"bucket": true}}}],
        "configuration": {"root_module": {"resources": []}}}"#;
    let scan = scan_text("plan.json", plan);
    assert_eq!(scan.objects, 3);
    assert_eq!(verdict(&scan, "CKV_AWS_3", "aws_ebs_volume.a"), "failed");
    assert_eq!(verdict(&scan, "CKV_AWS_3", "module.m.aws_ebs_volume.c"), "passed");
    let linked = plan
        .replace("\"values\": {}}]", "\"values\": {}}, {\"address\": \"aws_s3_bucket_public_access_block.p\", \"type\": \
                  \"aws_s3_bucket_public_access_block\", \"name\": \"p\", \"values\": {\"block_public_acls\": true, \"block_public_policy\": true}}]")
        .replace("\"resources\": []", "\"resources\": [{\"address\": \"aws_s3_bucket_public_access_block.p\", \"expressions\": \
                  {\"bucket\": {\"references\": [\"aws_s3_bucket.b.id\", \"aws_s3_bucket.b\"]}}}]");
    assert_eq!(verdict(&scan_text("plan.json", &linked), "CKV2_AWS_6", "aws_s3_bucket.b"), "passed");
    assert_eq!(verdict(&scan, "CKV2_AWS_6", "aws_s3_bucket.b"), "failed");
}

#[test]
fn a_serverless_function_has_what_the_provider_sets_for_all() {
    let text = "service: shop\nprovider:\n  name: aws\n  runtime: python2.7\n  tracing: {lambda: true}\nfunctions:\n  pay:\n    handler: a.b\n  \
                old:\n    handler: a.c\n    runtime: ${opt:runtime}\nresources:\n  Resources:\n    V:\n      Type: AWS::EC2::Volume\n";
    let scan = scan_text("serverless.yml", text);
    assert_eq!(verdict(&scan, "CKV_AWS_363", "pay"), "failed");
    assert_eq!(verdict(&scan, "CKV_AWS_363", "old"), "none");
    assert_eq!(verdict(&scan, "CKV_AWS_50", "pay"), "passed");
    assert_eq!(verdict(&scan, "CKV_AWS_3", "AWS::EC2::Volume.V"), "failed");
}
