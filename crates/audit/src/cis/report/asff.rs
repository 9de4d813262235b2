//! The AWS Security Finding Format: what failed or has to be looked at, as a list that `aws securityhub batch-import-findings` takes.
//! Nothing is sent from here.

use std::io::{self, Write};

use serde_json::json;

use super::{CheckReport, ControlsReport, State, Style};

/// Whose findings they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The number of the account.
    pub account: String,
    /// The region.
    pub region: String,
    /// The ARN of the cluster.
    pub cluster: String,
    /// The node's name, where there is one.
    pub node: Option<String>,
}

const TYPE: &str = "Software and Configuration Checks/Industry and Regulatory Standards/CIS Kubernetes Benchmark";
const SCHEMA: &str = "2018-10-08";
/// The longest text of a field of the product.
const LONGEST_FIELD: usize = 1024;
/// The longest recommendation.
const LONGEST_RECOMMENDATION: usize = 512;

/// Writes the findings; they have to be somebody's.
pub fn write(controls: &[ControlsReport], style: &Style, out: &mut dyn Write) -> io::Result<()> {
    let account =
        style.account.as_ref().ok_or_else(|| io::Error::other("ASFF needs an account, a region and a cluster"))?;
    let mut findings = Vec::new();
    for controls in controls {
        for group in controls.tests.iter().flatten() {
            let section = (format!("{} {}", controls.id, controls.text), format!("{} {}", group.section, group.desc));
            let checks = group.results.iter().filter(|check| matches!(check.status, State::Fail | State::Warn));
            findings.extend(checks.map(|check| finding(account, &controls.version, &section, check, &style.time)));
        }
    }
    writeln!(out, "{}", serde_json::to_string_pretty(&findings)?)
}

fn finding(
    account: &Account,
    version: &str,
    section: &(String, String),
    check: &CheckReport,
    time: &str,
) -> serde_json::Value {
    let Account { account, region, cluster, node } = account;
    let product = format!("arn:aws:securityhub:{region}::product/aqua-security/kube-bench");
    let node = node.as_ref().map_or_else(String::new, |node| format!("+{node}"));
    json!({
        "SchemaVersion": SCHEMA,
        "Id": format!("{product}{account}EKSnodeID+{}+{cluster}{node}", check.test_number),
        "ProductArn": product,
        "GeneratorId": format!("{product}/cis-kubernetes-benchmark/{version}/{}", check.test_number),
        "AwsAccountId": account,
        "Types": [TYPE],
        "CreatedAt": time,
        "UpdatedAt": time,
        "Confidence": 100,
        "Severity": {"Label": "HIGH"},
        "Title": format!("{} {}", check.test_number, check.test_desc),
        "Description": check.test_desc,
        "Remediation": {"Recommendation": {"Text": shortened(&check.remediation, LONGEST_RECOMMENDATION)}},
        "ProductFields": {
            "Reason": shortened(&check.reason, LONGEST_FIELD),
            "Actual result": shortened(&check.actual_value, LONGEST_FIELD),
            "Expected result": check.expected_result,
            "Section": section.0,
            "Subsection": section.1,
        },
        "Resources": [{"Id": cluster, "Type": TYPE}],
    })
}

/// The beginning of a text that is longer than `most` bytes: one less.
fn shortened(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let end = (0..most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}
