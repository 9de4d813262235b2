//! What kubeaudit prints: pretty, JSON lines, logrus' text, SARIF.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::str::FromStr;

use serde_json::{Value as Json, json};

use super::{AuditResult, Audited, Level};

/// A way to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// For people.
    Pretty,
    /// A line of JSON for each result.
    Json,
    /// A line of `key=value` for each result.
    Logrus,
    /// SARIF 2.1.0.
    Sarif,
}

impl FromStr for Style {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "pretty" => Self::Pretty,
            "json" => Self::Json,
            "logrus" => Self::Logrus,
            "sarif" => Self::Sarif,
            _ => return Err(format!("`{text}` is no format of this view; there are pretty, json, logrus and sarif")),
        })
    }
}

/// Writes the results that are at least as bad as `least`; `time` as RFC 3339 has it.
///
/// # Errors
/// What `out` says.
pub fn write(style: Style, audited: &[Audited], least: Level, time: &str, out: &mut dyn Write) -> io::Result<()> {
    let wanted = |resource: &Audited| {
        let results: Vec<_> = resource.results.iter().filter(|result| result.level >= least).cloned().collect();
        (!results.is_empty()).then(|| Audited { results, ..resource.clone() })
    };
    let audited: Vec<Audited> = audited.iter().filter_map(wanted).collect();
    match style {
        Style::Pretty => pretty(&audited, out),
        Style::Sarif => {
            serde_json::to_writer_pretty(&mut *out, &sarif(&audited))?;
            writeln!(out)
        }
        Style::Json | Style::Logrus => {
            for resource in &audited {
                for result in &resource.results {
                    let fields = fields(resource, result);
                    if style == Style::Json {
                        let mut all: BTreeMap<&str, &str> =
                            fields.iter().map(|(key, text)| (*key, text.as_str())).collect();
                        all.extend([("level", result.level.name()), ("msg", &*result.message), ("time", time)]);
                        serde_json::to_writer(&mut *out, &all)?;
                        writeln!(out)?;
                    } else {
                        write!(
                            out,
                            "time={} level={} msg={}",
                            quoted(time),
                            result.level.name(),
                            quoted(&result.message)
                        )?;
                        for (key, text) in &fields {
                            write!(out, " {key}={}", quoted(text))?;
                        }
                        writeln!(out)?;
                    }
                }
            }
            Ok(())
        }
    }
}

fn fields(resource: &Audited, result: &AuditResult) -> BTreeMap<&'static str, String> {
    let mut fields = result.metadata.clone();
    fields.insert("AuditResultName", result.rule.clone());
    fields.insert("ResourceApiVersion", resource.api_version.clone());
    fields.insert("ResourceKind", resource.kind.clone());
    for (key, text) in [("ResourceName", &resource.name), ("ResourceNamespace", &resource.namespace)] {
        if !text.is_empty() {
            fields.insert(key, text.clone());
        }
    }
    fields
}

/// As logrus does: in quotes where there is anything but letters, digits and a few signs.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) { text.to_owned() } else { Json::from(text).to_string() }
}

fn pretty(audited: &[Audited], out: &mut dyn Write) -> io::Result<()> {
    if audited.is_empty() {
        return writeln!(out, "All checks completed. 0 high-risk vulnerabilities found");
    }
    for resource in audited {
        writeln!(out, "\n---------------- Results for ---------------\n")?;
        writeln!(out, "  apiVersion: {}\n  kind: {}", resource.api_version, resource.kind)?;
        if !resource.name.is_empty() || !resource.namespace.is_empty() {
            writeln!(out, "  metadata:")?;
        }
        for (key, text) in [("name", &resource.name), ("namespace", &resource.namespace)] {
            if !text.is_empty() {
                writeln!(out, "    {key}: {text}")?;
            }
        }
        writeln!(out, "\n--------------------------------------------\n")?;
        for result in &resource.results {
            writeln!(out, "-- [{}] {}\n   Message: {}", result.level.name(), result.rule, result.message)?;
            if !result.metadata.is_empty() {
                writeln!(out, "   Metadata:")?;
            }
            for (key, text) in &result.metadata {
                writeln!(out, "      {key}: {text}")?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

fn sarif(audited: &[Audited]) -> Json {
    let all = || audited.iter().flat_map(|resource| resource.results.iter().map(move |result| (resource, result)));
    let auditors: BTreeMap<&str, &str> = all().map(|(_, result)| (result.rule.as_str(), result.auditor)).collect();
    let rules: Vec<Json> = auditors
        .iter()
        .map(|(rule, auditor)| {
            json!({"id": rule, "name": auditor, "shortDescription": {"text": rule},
                   "properties": {"tags": ["security", "kubernetes", "infrastructure"]}})
        })
        .collect();
    let results: Vec<Json> = all()
        .map(|(resource, result)| {
            let level = if result.level == Level::Info { "note" } else { result.level.name() };
            let place = json!({"artifactLocation": {"uri": resource.file},
                               "region": {"startLine": result.at.line, "startColumn": result.at.column}});
            json!({"ruleId": result.rule, "level": level, "message": {"text": result.message},
                   "locations": [{"physicalLocation": place}]})
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": {"name": "ringfort audit --view kubeaudit", "rules": rules}}, "results": results}],
    })
}
