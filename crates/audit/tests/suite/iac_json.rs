//! Terraform's JSON syntax, and files that a Serverless service names.

use std::fs;

use ringfort_audit::scan::input::{self, Selection};
use ringfort_audit::scan::suppress::Suppressions;
use ringfort_audit::scan::{self, Finding, Outcome, Report, Status};

use crate::support::{catalogue, scan as scan_text, settings};

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

fn status(findings: &[Finding], alias: &str, resource: &str) -> Option<Status> {
    let of = |f: &&Finding| f.policy(catalogue()).is_called(alias) && &*f.resource == resource;
    findings.iter().find(of).map(|finding| finding.status.clone())
}

/// The policies and resources with their verdicts, without places.
fn verdicts(findings: &[Finding]) -> Vec<String> {
    let line = |f: &Finding| format!("{} {} {}", f.policy(catalogue()).id, f.resource, f.status == Status::Passed);
    let mut lines: Vec<_> = findings.iter().map(line).collect();
    lines.sort_unstable();
    lines
}

const NATIVE: &str = r#"
variable "on" { default = true }
locals {
  name  = "logs-${var.on}"
  ports = [443, 22]
}
provider "aws" { region = "eu-central-1" }
resource "aws_s3_bucket" "logs" {
  bucket = local.name
}
resource "aws_s3_bucket_versioning" "logs" {
  bucket = aws_s3_bucket.logs.id
  versioning_configuration {
    status = var.on ? "Enabled" : "Suspended"
  }
}
resource "aws_ebs_volume" "two" {
  count     = 2
  encrypted = count.index == 1
}
resource "aws_security_group" "web" {
  description = "web"
  dynamic "ingress" {
    for_each = local.ports
    iterator = port
    content {
      description = "open"
      from_port   = port.value
      to_port     = port.value
      protocol    = "tcp"
      cidr_blocks = ["0.0.0.0/0"]
    }
  }
}
data "aws_iam_policy_document" "all" {
  statement {
    actions   = ["*"]
    resources = ["*"]
  }
}
resource "aws_iam_policy" "all" {
  policy = data.aws_iam_policy_document.all.json
}
resource "aws_iam_policy" "some" {
  policy = jsonencode({ Statement = [{ Effect = "Allow", Action = "s3:GetObject", Resource = "*" }] })
}
"#;

const JSON: &str = r#"{
  "//": "the same in JSON",
  "variable": {"on": {"default": true, "description": "${not} a template"}},
  "locals": {"name": "logs-${var.on}", "ports": [443, 22]},
  "provider": {"aws": [{"region": "eu-central-1"}]},
  "resource": {
    "aws_s3_bucket": {"logs": {"//": "for logs", "bucket": "${local.name}"}},
    "aws_s3_bucket_versioning": {"logs": [{"bucket": "${aws_s3_bucket.logs.id}",
      "versioning_configuration": {"status": "${var.on ? \"Enabled\" : \"Suspended\"}"}}]},
    "aws_ebs_volume": {"two": {"count": 2, "encrypted": "${count.index == 1}"}},
    "aws_security_group": {"web": {"description": "web", "dynamic": {"ingress": {"for_each": "${local.ports}", "iterator": "port",
      "content": {"description": "open", "from_port": "${port.value}", "to_port": "${port.value}", "protocol": "tcp", "cidr_blocks": ["0.0.0.0/0"]}}}}},
    "aws_iam_policy": {
      "all": {"policy": "${data.aws_iam_policy_document.all.json}"},
      "some": {"policy": "${jsonencode({ Statement = [{ Effect = \"Allow\", Action = \"s3:GetObject\", Resource = \"*\" }] })}"}
    }
  },
  "data": [{"aws_iam_policy_document": {"all": {"statement": {"actions": ["*"], "resources": ["*"]}}}}]
}
"#;

#[test]
fn the_json_syntax_of_terraform_has_the_verdicts_of_the_native_one() {
    let (native, json) = (scan_text("main.tf", NATIVE), scan_text("main.tf.json", JSON));
    assert_eq!(verdicts(&json.findings), verdicts(&native.findings));
    assert_eq!(json.objects, native.objects);
    assert!(json.findings.len() > 35, "{}", json.findings.len());
    for (alias, resource, failed) in [
        ("CKV_AWS_21", "aws_s3_bucket.logs", false),
        ("CKV_AWS_3", "aws_ebs_volume.two[0]", true),
        ("CKV_AWS_3", "aws_ebs_volume.two[1]", false),
        ("CKV_AWS_24", "aws_security_group.web", true),
        ("CKV_AWS_25", "aws_security_group.web", false),
        ("CKV_AWS_62", "aws_iam_policy.all", true),
        ("CKV_AWS_62", "aws_iam_policy.some", false),
    ] {
        let expected = if failed { Status::Failed } else { Status::Passed };
        assert_eq!(status(&json.findings, alias, resource), Some(expected), "{alias} {resource}");
    }
}

#[test]
fn a_finding_of_the_json_syntax_has_its_line_its_path_and_its_comment() {
    let text = "{\"resource\": {\"aws_ebs_volume\": {\n  \"a\": {\"size\": 1,\n    \"encrypted\": \"${false}\"},\n  \"b\": {\n    \
                \"//\": \"checkov:skip=CKV_AWS_3:scratch\",\n    \"encrypted\": false}\n}}}\n";
    let scan = scan_text("deploy/main.tf.json", text);
    let of = |f: &&Finding| f.policy(catalogue()).is_called("CKV_AWS_3") && &*f.resource == "aws_ebs_volume.a";
    let finding = scan.findings.iter().find(of).expect("it failed");
    assert_eq!((finding.at.line, finding.at.column), (3, 18));
    assert_eq!(&*finding.json_path, "resource.aws_ebs_volume.a.encrypted");
    assert!(matches!(status(&scan.findings, "CKV_AWS_3", "aws_ebs_volume.b"), Some(Status::Suppressed(_))));
}

#[test]
fn native_and_json_files_of_a_folder_are_one_module() {
    let report = scan_folder(&[
        ("main.tf.json", r#"{"module": {"m": {"source": "./m", "on": "${var.on}"}}, "variable": {"on": {}}}"#),
        ("terraform.tfvars.json", r#"{"on": false, "text": "${literal}"}"#),
        ("z.auto.tfvars.json", r#"{"on": true}"#),
        (
            "m/main.tf",
            "variable \"on\" {}\nresource \"aws_ebs_volume\" \"v\" {\n  encrypted = var.on\n}\n// checkov:skip=CKV_AWS_3:scratch\n\
             resource \"aws_ebs_volume\" \"w\" {}\n",
        ),
    ]);
    assert_eq!(status(&report.findings, "CKV_AWS_3", "module.m.aws_ebs_volume.v"), Some(Status::Passed));
    let skipped = status(&report.findings, "CKV_AWS_3", "module.m.aws_ebs_volume.w");
    assert!(matches!(skipped, Some(Status::Suppressed(_))), "{skipped:?}");
    assert!(report.ledger.entries.iter().all(|entry| entry.word() == "scanned"), "{:?}", report.ledger);
}

#[test]
fn what_is_wrong_in_the_json_syntax_is_told_with_its_place() {
    let deep = format!("{{\"locals\": {{\"a\": {}1{}}}}}", "[".repeat(100), "]".repeat(100));
    for (text, line, words) in [
        ("{\"resource\": {\"aws_ebs_volume\": {\n  \"a\": 5}}}", 2, "expected a mapping with attributes"),
        ("{\"resource\": {\"aws_ebs_volume\":\n  true}}", 2, "expected a mapping with names of blocks"),
        ("{\"locals\": {\n\n  \"a\": \"${1 +}\"}}", 3, "expected a value"),
        ("{\"locals\": {\n  \"a\": \"%{ if true }\"}}", 2, "endif"),
        ("{\"locals\": {\"a\": 1}\n", 2, "found the end"),
        (deep.as_str(), 1, "nested deeper than 64 levels"),
    ] {
        let outcome = scan_text("main.tf.json", text).outcome;
        let Outcome::Unparsed { at: Some(at), reason, .. } = &outcome else { panic!("{text}: {outcome}") };
        assert_eq!(at.line, line, "{text}");
        assert!(reason.contains(words), "{text}: {reason}");
    }
}

#[test]
fn start_scripts_are_looked_into_whatever_they_are_written_in() {
    let script = "export AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE";
    let encoded = "ZXhwb3J0IEFXU19BQ0NFU1NfS0VZX0lEPUFLSUFJT1NGT0ROTjdFWEFNUExF";
    for value in [
        format!("user_data = \"{script}\""),
        format!("user_data = base64encode(\"{script}\")"),
        format!("user_data_base64 = \"{encoded}\""),
        format!("user_data = base64decode(\"{encoded}\")"),
    ] {
        let scan = scan_text("main.tf", &format!("resource \"aws_instance\" \"a\" {{\n  {value}\n}}\n"));
        assert_eq!(status(&scan.findings, "CKV_AWS_46", "aws_instance.a"), Some(Status::Failed), "{value}");
    }
    let template = format!(
        "Resources:\n  A:\n    Type: AWS::EC2::Instance\n    Properties:\n      UserData: {encoded}\n  B:\n    Type: \
         AWS::EC2::Instance\n    Properties:\n      UserData: bm90aGluZw==\n"
    );
    let scan = scan_text("t.yaml", &template);
    assert_eq!(status(&scan.findings, "CKV_AWS_46", "AWS::EC2::Instance.A"), Some(Status::Failed));
    assert_eq!(status(&scan.findings, "CKV_AWS_46", "AWS::EC2::Instance.B"), Some(Status::Passed));
}

#[test]
fn what_the_metadata_of_cloudformation_skips_is_suppressed() {
    let text = "Resources:\n  V:\n    Type: AWS::EC2::Volume\n    Metadata: {checkov: {skip: [{id: CKV_AWS_3, comment: scratch}]}}\n  W:\n    \
                Type: AWS::EC2::Volume\n    Metadata: {checkov: {skip: [{id: CKV_AWS_9}]}}\n";
    let scan = scan_text("t.yaml", text);
    let Some(Status::Suppressed(said)) = status(&scan.findings, "CKV_AWS_3", "AWS::EC2::Volume.V") else {
        panic!("{scan:?}")
    };
    assert_eq!((said.reason.as_str(), said.source.as_str()), ("scratch", "Metadata.checkov.skip"));
    assert_eq!(status(&scan.findings, "CKV_AWS_3", "AWS::EC2::Volume.W"), Some(Status::Failed));
}

const SERVICE: &str = "service: shop\ncustom: ${file(vars/all.yml)}\nprovider:\n  name: aws\n  iamRoleStatements:\n    - Effect: Allow\n      \
                       Action: ${self:custom.action}\n      Resource: ${self:custom.${opt:what, 'everything'}}\nfunctions:\n  pay:\n    \
                       handler: a.b\n    runtime: python${self:custom.numbers.1, '2.7'}\n  old:\n    handler: a.c\n    runtime: ${file(../outside.yml):runtime}\n";

#[test]
fn variables_of_a_service_are_followed_within_it_and_into_files_beside_it() {
    let all = "action: '*'\neverything: ${file(vars/more.json):all}\nnumbers: [1, '3.13']\n";
    let report = scan_folder(&[
        ("svc/serverless.yml", SERVICE),
        ("svc/vars/all.yml", all),
        ("svc/vars/more.json", r#"{"all": "*"}"#),
        ("outside.yml", "runtime: python2.7\n"),
    ]);
    assert_eq!(status(&report.findings, "CKV_AWS_1", "pay"), Some(Status::Failed));
    assert_eq!(status(&report.findings, "CKV_AWS_363", "pay"), Some(Status::Passed));
    // What is above the service's folder is not read.
    assert_eq!(status(&report.findings, "CKV_AWS_363", "old"), None);
    // Of a text alone nothing beside it is read.
    let alone = scan_text("serverless.yml", SERVICE);
    assert_eq!(status(&alone.findings, "CKV_AWS_1", "pay"), None);
}

#[test]
fn variables_that_lead_in_a_circle_or_grow_without_end_are_bounded() {
    let mut text = "service: a\nprovider: {name: aws}\nfunctions:\n  f: {handler: a, runtime: \"${self:custom.circle}\", description: \
                    \"${self:custom.l0}\"}\ncustom:\n  circle: ${self:custom.circle}\n"
        .to_owned();
    for level in 0..30 {
        let next = format!("${{self:custom.l{}}}", level + 1);
        text += &format!("  l{level}: [{}]\n", vec![format!("'{next}'"); 10].join(", "));
    }
    let scan = scan_text("serverless.yml", &text);
    assert!(scan.outcome.to_string().contains("too large"), "{}", scan.outcome);
}
