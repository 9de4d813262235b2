//! The command as a whole: exit codes, outputs, baseline, standard input, selections.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ringfort_audit::command::{self, CLEAN, COULD_NOT_RUN, FINDINGS, FixMode, Options, View};
use ringfort_audit::output::Format;
use ringfort_audit::policy::{Catalogue, Severity};
use ringfort_audit::view::kccss::RuleSet;

const BAD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\nspec:\n  hostPID: true\n  containers: []\n";
const GOOD: &str = "apiVersion: v1\nkind: LimitRange\nmetadata: {name: a, namespace: shop}\n";

fn options(paths: &[&Path]) -> Options {
    Options::new(paths.iter().map(|path| path.to_path_buf()).collect(), "2026-11-25".parse().expect("a day"))
}

fn run(options: &Options, stdin: &str) -> (u8, String) {
    let mut out = Vec::new();
    match command::run(options, &mut stdin.as_bytes(), &mut out) {
        Ok(code) => (code, String::from_utf8(out).expect("text")),
        Err(error) => (COULD_NOT_RUN, error.to_string()),
    }
}

fn file(place: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = place.path().join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
    fs::write(&path, text).expect("it can be written");
    path
}

#[test]
fn exit_codes_tell_clean_from_findings_from_not_run() {
    let place = tempfile::tempdir().expect("a folder");
    let (bad, good) = (file(&place, "bad.yaml", BAD), file(&place, "good.yaml", GOOD));
    assert_eq!(run(&options(&[&good]), "").0, CLEAN);
    assert_eq!(run(&options(&[&bad]), "").0, FINDINGS);
    let mut high = options(&[&bad]);
    high.fail_on = Severity::Critical;
    assert_eq!(run(&high, "").0, CLEAN);
    high.fail_on = Severity::High;
    assert_eq!(run(&high, "").0, FINDINGS);
    high.soft_fail = true;
    assert_eq!(run(&high, "").0, CLEAN);
    let (code, words) = run(&options(&[&place.path().join("nothing")]), "");
    assert!(code == COULD_NOT_RUN && words.contains("nothing"), "{words}");
    let broken = file(&place, "broken.yaml", "a: [");
    assert_eq!(run(&options(&[&broken]), "").0, COULD_NOT_RUN, "nothing at all could be read");
    assert_eq!(run(&options(&[&broken, &good]), "").0, CLEAN);
    let mut strict = options(&[&broken, &good]);
    strict.strict = true;
    assert_eq!(run(&strict, "").0, COULD_NOT_RUN);
    assert_eq!(run(&options(&[]), "").0, COULD_NOT_RUN);
}

#[test]
fn standard_input_is_scanned() {
    let (code, text) = run(&options(&[Path::new("-")]), BAD);
    assert_eq!(code, FINDINGS);
    assert!(text.starts_with("STDIN\n  Pod/shop/a\n") && text.contains("RF-K8S-0003"), "{text}");
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    struct Gone;
    impl std::io::Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut options = options(&[Path::new("-")]);
    for view in [None, Some(View::Kccss(RuleSet::Kccss))] {
        options.view = view.clone();
        let code = command::run(&options, &mut BAD.as_bytes(), &mut Gone).expect("it is no error");
        assert_eq!(code, if view.is_none() { FINDINGS } else { CLEAN });
    }
}

#[test]
fn several_reports_are_written_at_once() {
    let place = tempfile::tempdir().expect("a folder");
    let mut options = options(&[&file(&place, "bad.yaml", BAD)]);
    options.outputs = vec![(Format::Table, None)];
    for format in Format::ALL.into_iter().skip(1) {
        options.outputs.push((format, Some(place.path().join(format.name()))));
    }
    let (code, text) = run(&options, "");
    assert!(code == FINDINGS && text.contains("Pods do not share the process namespace"), "{text}");
    for format in Format::ALL.iter().skip(1) {
        let report = fs::read_to_string(place.path().join(format.name())).expect("it was written");
        assert!(report.contains("RF-K8S-0003"), "{format}");
    }
    options.outputs.push((Format::Json, None));
    assert!(run(&options, "").1.contains("only one format"));
}

#[test]
fn a_baseline_knows_what_was_there_and_fails_on_what_is_new() {
    let place = tempfile::tempdir().expect("a folder");
    let path = file(&place, "bad.yaml", BAD);
    let baseline = place.path().join("baseline.json");
    let mut create = options(&[&path]);
    create.write_baseline = Some(baseline.clone());
    assert_eq!(run(&create, "").0, CLEAN);
    let mut compare = options(&[&path]);
    compare.baseline = Some(baseline);
    assert_eq!(run(&compare, "").0, CLEAN);
    file(&place, "bad.yaml", &format!("# moved by a line\n{BAD}"));
    assert_eq!(run(&compare, "").0, CLEAN, "lines may move");
    file(&place, "bad.yaml", &BAD.replace("hostPID: true", "hostPID: true\n  hostIPC: true"));
    let (code, text) = run(&compare, "");
    assert!(code == FINDINGS && text.contains("RF-K8S-0004") && !text.contains("RF-K8S-0003"), "{text}");
}

#[test]
fn files_and_policies_are_chosen() {
    let place = tempfile::tempdir().expect("a folder");
    file(&place, "a/bad.yaml", BAD);
    file(&place, "b/bad.yaml", BAD);
    file(&place, "b/bad.conf", BAD);
    file(&place, ".ringfortignore", "# not these\na/\n");
    let mut all = options(&[place.path()]);
    all.only = vec!["ckv_k8s_17".to_owned()];
    let (_, text) = run(&all, "");
    assert!(text.contains("b/bad.yaml") && !text.contains("a/bad.yaml\n  Pod"), "{text}");
    assert!(text.contains("1 object in 1 file, 1 policy; "), "{text}");
    all.selection.include = vec!["*.conf".to_owned()];
    assert!(run(&all, "").1.contains("b/bad.conf"));
    all.skip = vec!["RF-K8S-0003".to_owned()];
    assert_eq!(run(&all, "").0, CLEAN);
    all.skip = vec!["RF-K8S-9999".to_owned()];
    assert!(run(&all, "").1.contains("no policy is called `RF-K8S-9999`"));
    let mut high = options(&[place.path()]);
    high.min_severity = Severity::High;
    let (_, text) = run(&high, "");
    assert!(text.contains("RF-K8S-0003") && !text.contains("RF-K8S-0014"), "{text}");
}

#[test]
fn the_view_kubesec_prints_json_and_exits_with_two_at_zero() {
    let mut options = options(&[Path::new("-")]);
    options.view = Some(View::Kubesec);
    let (code, text) = run(&options, BAD);
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, &value[0]["score"], &value[0]["fileName"]), (2, &(-9).into(), &"STDIN".into()));
    let passing = BAD.replace("hostPID: true", "serviceAccountName: x");
    assert_eq!(run(&options, &passing).0, CLEAN);
    assert_eq!(run(&options, "").0, COULD_NOT_RUN);
    options.outputs = vec![(Format::Html, None)];
    assert!(run(&options, BAD).1.contains("JSON only"));
}

#[test]
fn the_view_kccss_prints_risks_as_kube_scan_answers() {
    let mut options = options(&[Path::new("-")]);
    options.view = Some(View::Kccss(RuleSet::KubeScan));
    let pod = BAD.replace("containers: []", "containers: [{name: a, securityContext: {privileged: true}}]");
    let (code, text) = run(&options, &pod);
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let workload = &value["data"][0];
    assert_eq!((code, &workload["kind"], &workload["namespace"]), (CLEAN, &"Pod".into(), &"shop".into()));
    let risk = &workload["risk"];
    assert!(risk["riskScore"].as_u64().is_some_and(|score| (5..=10).contains(&score)), "{risk}");
    assert_eq!(risk["riskItems"][0]["name"], "privileged");
    assert_eq!(risk["riskItems"][0]["attackVector"], "Local");
    assert!(run(&options, "a: [").1.starts_with("STDIN:"));
}

#[test]
fn list_and_explain_show_what_there_is() {
    let catalogue = Catalogue::built_in();
    let all = command::list(&catalogue, &[]);
    assert!(all.contains("RF-K8S-0001  critical"), "{all}");
    let some = command::list(&catalogue, &["CRITICAL".to_owned(), "etcd".to_owned()]);
    assert!(some.lines().count() >= 2 && some.lines().count() < 12, "{some}");
    for name in ["RF-K8S-0001", "CKV_K8S_16", "privilegedtrue"] {
        let text = command::explain(&catalogue, name).expect("it is known");
        assert!(text.contains("fails if   securityContext.privileged == true") && text.contains("near-miss"), "{text}");
    }
    assert_eq!(command::explain(&catalogue, "nothing"), None);
}

#[test]
fn the_page_of_policies_is_current() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let catalogue = Catalogue::built_in();
    let mut pages: BTreeMap<PathBuf, String> = BTreeMap::new();
    pages.insert(docs.join("audit-policies.md"), command::markdown(&catalogue));
    pages.extend(command::pages(&catalogue).into_iter().map(|(name, text)| (docs.join("policies").join(name), text)));
    if std::env::var_os("RINGFORT_WRITE_DOCS").is_some() {
        // Also those of policies that are gone.
        let _ = fs::remove_dir_all(docs.join("policies"));
        fs::create_dir(docs.join("policies")).expect("it can be made");
        pages.iter().for_each(|(page, text)| fs::write(page, text).expect("it can be written"));
    }
    let mut found: BTreeMap<PathBuf, String> = BTreeMap::new();
    let there = fs::read_dir(docs.join("policies")).expect("the pages are there").flatten().map(|entry| entry.path());
    for page in there.chain([docs.join("audit-policies.md")]) {
        let text = fs::read_to_string(&page).expect("text");
        found.insert(page, text);
    }
    let old: Vec<_> = pages.keys().chain(found.keys()).filter(|page| pages.get(*page) != found.get(*page)).collect();
    assert!(old.is_empty(), "old: {old:?}\nRINGFORT_WRITE_DOCS=1 cargo nextest run -p ringfort-audit page_of_policies");
}

#[test]
fn a_mended_file_is_replaced_and_a_dry_run_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pod.yaml");
    let text = "apiVersion: v1\nkind: Pod # a pod\nmetadata: {name: a, namespace: b}\nspec:\n  hostPID: true # why\n  containers: []\n";
    std::fs::write(&file, text).expect("written");
    let mut options = Options::new(vec![file.clone()], "2026-11-27".parse().expect("a day"));
    options.only = vec!["RF-K8S-0003".to_owned()];
    options.fix = Some(FixMode::DryRun);
    let mut out = Vec::new();
    assert_eq!(command::run(&options, &mut [].as_slice(), &mut out).expect("it runs"), CLEAN);
    let diff = String::from_utf8(out).expect("text");
    assert!(diff.contains("-  hostPID: true # why\n+  hostPID: false # why\n"), "{diff}");
    assert_eq!(std::fs::read_to_string(&file).expect("read"), text);
    options.fix = Some(FixMode::Write);
    command::run(&options, &mut [].as_slice(), &mut Vec::new()).expect("it runs");
    assert_eq!(std::fs::read_to_string(&file).expect("read"), text.replace("true", "false"));
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left beside it");
}
