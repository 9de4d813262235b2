use super::*;
use crate::model::Limits;
use crate::policy::Policy;
use crate::scan::input::{Input, Source};
use crate::scan::suppress::Suppressions;
use crate::scan::{Settings, scan};

const POLICY: &str = "id: RF-K8S-9001
name: No host \"PID\" & <more>
aliases: [CKV_K8S_17]
severity: high
category: x
kinds: [workload]
each: \"@pod\"
fails: hostPID == true
message: A message, with a comma and | a bar.
remediation: Remove it.
";

/// Files of one failure each, scanned.
fn scanned(names: &[&str]) -> (Catalogue, Report) {
    let catalogue = Catalogue::new(vec![Policy::parse("p.yaml", POLICY).expect("good")]).expect("one id");
    let suppressions = Suppressions::default();
    let today = "2026-11-25".parse().expect("a day");
    let limits = Limits::default();
    let settings =
        Settings { catalogue: &catalogue, limits, passes: false, suppressions: &suppressions, today, threads: 1 };
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {hostPID: true, containers: []}\n";
    let inputs: Vec<_> = names
        .iter()
        .map(|name| Input { name: (*name).to_owned(), source: Source::Bytes(text.as_bytes().to_vec()) })
        .collect();
    let report = scan(&inputs, &settings);
    (catalogue, report)
}

fn written(format: Format) -> String {
    let catalogue = Catalogue::new(vec![Policy::parse("p.yaml", POLICY).expect("good")]).expect("one id");
    let suppressions = Suppressions::default();
    let today = "2026-11-25".parse().expect("a day");
    let settings = Settings {
        catalogue: &catalogue,
        limits: Limits::default(),
        passes: false,
        suppressions: &suppressions,
        today,
        threads: 1,
    };
    let pod = |name: &str, more: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: \"{name}\"}}\nspec:\n  hostPID: true{more}\n  containers: []\n---\n"
        )
    };
    let text = pod("a</script>\\u0007<b>", "") + &pod("b", " # ringfort:ignore RF-K8S-9001 reason=\"host agent\"");
    let input = |name: &str, text: String| Input { name: name.to_owned(), source: Source::Bytes(text.into_bytes()) };
    let report = scan(&[input("dir/a b.yaml", text), input("=broken.yaml", "a: [".to_owned())], &settings);
    let mut out = Vec::new();
    let subject =
        Subject { report: &report, catalogue: &catalogue, colour: false, links: None, time: "2026-11-25T10:00:00Z" };
    write(format, &subject, &mut out).expect("memory");
    String::from_utf8(out).expect("text")
}

#[test]
fn the_table_shows_failures_by_file_and_object_and_sums_up() {
    let expected = "dir/a b.yaml\n  Pod/a</script>\u{fffd}<b>\n    high        5:12  RF-K8S-9001  No host \"PID\" & <more>  spec.hostPID\n\n";
    let text = written(Format::Table);
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("not read: =broken.yaml: 2:1: ") || text.contains("not read: =broken.yaml: 1:"), "{text}");
    assert!(
        text.contains("1 high, 1 suppressed\n2 objects in 1 file, 1 policy; 0 files skipped, 1 not read\n"),
        "{text}"
    );
}

#[test]
fn json_holds_findings_ledger_and_summary() {
    let value: serde_json::Value = serde_json::from_str(&written(Format::Json)).expect("JSON");
    assert_eq!(value["summary"]["failed"]["high"], 1);
    assert_eq!(value["summary"]["suppressed"], 1);
    let first = &value["findings"][0];
    for (key, expected) in [
        ("line", 5.into()),
        ("column", 12.into()),
        ("path", "spec.hostPID".into()),
        ("policy", "RF-K8S-9001".into()),
        ("severity", "high".into()),
        ("status", "failed".into()),
        ("remediation", "Remove it.".into()),
        ("file", serde_json::Value::from("dir/a b.yaml")),
    ] {
        assert_eq!(first[key], expected, "{key}");
    }
    assert_eq!(value["findings"][1]["suppressed"]["reason"], "host agent");
    assert_eq!(value["ledger"][1]["outcome"], "unparsed");
    assert!(value["ledger"][1]["line"].is_number());
}

#[test]
fn sarif_names_rules_places_and_suppressions() {
    let value: serde_json::Value = serde_json::from_str(&written(Format::Sarif)).expect("JSON");
    assert_eq!(value["version"], "2.1.0");
    let run = &value["runs"][0];
    assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "RF-K8S-9001");
    let result = &run["results"][0];
    assert_eq!(result["level"], "error");
    assert_eq!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "dir/a%20b.yaml");
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 5);
    assert_eq!(run["results"][1]["suppressions"][0]["justification"], "host agent");
    assert_eq!(run["invocations"][0]["toolExecutionNotifications"][0]["level"], "error");
}

#[test]
fn junit_is_escaped_and_counts_add_up() {
    let text = written(Format::Junit);
    assert!(text.contains("<testsuites name=\"ringfort audit\" tests=\"3\" failures=\"1\" errors=\"1\">"), "{text}");
    assert!(text.contains("No host &quot;PID&quot; &amp; &lt;more&gt;"), "{text}");
    assert!(text.contains("<skipped message=\"host agent\"/>"), "{text}");
    assert!(!text.contains('\u{7}'), "no control character that XML does not have");
    assert_eq!(text.matches("<testcase").count(), text.matches("</testcase>").count());
}

#[test]
fn csv_quotes_and_disarms_formulas() {
    let text = written(Format::Csv);
    let lines: Vec<_> = text.split("\r\n").collect();
    assert_eq!((lines.len(), lines[3]), (4, ""));
    assert!(
        lines[1].starts_with("failed,high,RF-K8S-9001,CKV_K8S_17,\"No host \"\"PID\"\" & <more>\",dir/a b.yaml,5,12,"),
        "{}",
        lines[1]
    );
    assert!(lines[1].contains("\"A message, with a comma and | a bar.\""));
}

#[test]
fn markdown_and_html_do_not_let_names_break_out() {
    let text = written(Format::Markdown);
    assert!(text.starts_with("# Audit: 1 high\n") && !text.contains("</script"), "{text}");
    let text = written(Format::Html);
    assert_eq!(text.matches("</script>").count(), 1);
    assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("src="), "no network");
}

#[test]
fn formats_are_known_by_their_names() {
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
    }
    assert!("xml".parse::<Format>().expect_err("no such format").contains("table, json"));
}

#[test]
fn gitlab_gets_failures_with_what_its_schema_asks_for() {
    let value: serde_json::Value = serde_json::from_str(&written(Format::GitlabSast)).expect("JSON");
    let found = value["vulnerabilities"].as_array().expect("a list");
    assert_eq!(found.len(), 1, "what is suppressed is none");
    assert_eq!(found[0]["severity"], "High");
    assert_eq!(found[0]["location"], serde_json::json!({ "file": "dir/a b.yaml", "start_line": 5 }));
    assert_eq!(found[0]["identifiers"][1]["value"], "CKV_K8S_17");
    let scan = &value["scan"];
    assert_eq!((&scan["type"], &scan["status"]), (&"sast".into(), &"success".into()));
    assert_eq!(scan["end_time"], "2026-11-25T10:00:00");
    for tool in ["scanner", "analyzer"] {
        for key in ["id", "name", "version"] {
            assert!(scan[tool][key].is_string(), "{tool} {key}");
        }
        assert!(scan[tool]["vendor"]["name"].is_string());
    }
    assert!(scan["messages"][0]["value"].as_str().is_some_and(|words| words.starts_with("not read: =broken.yaml")));
}

#[test]
fn cyclonedx_ties_policies_to_the_resources_that_they_affect() {
    let value: serde_json::Value = serde_json::from_str(&written(Format::Cyclonedx)).expect("JSON");
    let found = value["vulnerabilities"].as_array().expect("a list");
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["affects"].as_array().map(Vec::len), Some(1));
    assert_eq!(found[1]["analysis"]["detail"], "host agent");
    let refs: Vec<_> = value["components"].as_array().expect("a list").iter().map(|part| &part["bom-ref"]).collect();
    assert!(found.iter().all(|one| refs.contains(&&one["affects"][0]["ref"])), "{refs:?}");
}

#[test]
fn a_report_that_grows_is_the_same_as_one_written_at_once() {
    fn subject<'r>(report: &'r Report, catalogue: &'r Catalogue) -> Subject<'r> {
        Subject { report, catalogue, colour: false, links: None, time: "2026-11-25T10:00:00Z" }
    }
    let (catalogue, whole) = scanned(&["a.yaml", "b.yaml", "c.yaml"]);
    for format in Format::ALL {
        let mut at_once = Vec::new();
        write(format, &subject(&whole, &catalogue), &mut at_once).expect("memory");
        let mut writer = Writer::new(format);
        let mut slowly = Vec::new();
        let mut part = Report { files: whole.files.clone(), ..Default::default() };
        for finding in &whole.findings {
            part.findings.push(finding.clone());
            writer.more(&subject(&part, &catalogue), &mut slowly).expect("memory");
            if format == Format::Csv {
                assert!(String::from_utf8_lossy(&slowly).lines().count() == part.findings.len() + 1, "at once");
            }
        }
        writer.end(&subject(&whole, &catalogue), &mut slowly).expect("memory");
        assert_eq!(String::from_utf8_lossy(&slowly), String::from_utf8_lossy(&at_once), "{format}");
    }
}
