//! kube-bench's own profiles: all load, but for the one with a typo; the audits in them are read, and those outside of the subset counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use ringfort_audit::cis::config::Config;
use ringfort_audit::cis::controls::{self, Check, Controls};
use ringfort_audit::cis::shell;
use ringfort_audit::cis::source::Source;
use ringfort_audit::command::{CisOptions, cis};

use crate::agreement::fixtures;
use crate::cis::Node;

/// Every file of controls below the folder: its name and its text.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for profile in fs::read_dir(folder).expect("a folder").flatten().filter(|entry| entry.path().is_dir()) {
        for file in fs::read_dir(profile.path()).expect("a folder").flatten() {
            let name = format!("{}/{}", profile.file_name().display(), file.file_name().display());
            if !name.ends_with("/config.yaml") {
                files.push((name, fs::read_to_string(file.path()).expect("text")));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn conformance_every_profile_of_kube_bench_loads_but_the_one_with_a_typo() {
    let Some(folder) = fixtures().map(|folder| folder.join("kube-bench/cfg")) else { return };
    let config =
        Config::read("config.yaml", &fs::read_to_string(folder.join("config.yaml")).expect("text")).expect("settings");
    let files = files(&folder);
    let profiles: BTreeSet<_> = files.iter().filter_map(|(name, _)| name.split('/').next()).collect();
    assert_eq!(profiles.len(), 46);
    let (mut checks, mut refused) = (0, Vec::new());
    for (name, text) in &files {
        match controls::read(name, text) {
            Ok(controls) => checks += controls.groups.iter().map(|group| group.checks.len()).sum::<usize>(),
            Err(error) => refused.push(error.to_string()),
        }
    }
    println!("{} profiles, {} files, {checks} checks", profiles.len(), files.len());
    let ops = "eq, noteq, gt, gte, lt, lte, has, nothave, regex, valid_elements, bitmask";
    assert_eq!(refused, [format!("k3s-cis-1.9/node.yaml:247:21: `op: noteqx`: one of {ops} is expected")]);
    assert!(checks > 4_700, "{checks}");
    for profile in &profiles {
        let targets = config.targets(profile).unwrap_or_else(|| panic!("no targets of {profile}"));
        let missing: Vec<_> = targets
            .iter()
            .filter(|target| !files.iter().any(|(name, _)| *name == format!("{profile}/{target}.yaml")))
            .collect();
        assert!(missing.is_empty(), "{profile}: {missing:?}");
    }
}

/// The audits of checks that run by themselves.
fn audits(controls: &Controls) -> impl Iterator<Item = (&Check, &str)> {
    let checks = controls.groups.iter().filter(|group| !group.skipped).flat_map(|group| &group.checks);
    let run = checks.filter(|check| check.kind.is_empty() && check.tests.is_some());
    run.flat_map(|check| [&check.audit, &check.audit_config, &check.audit_env].map(|audit| (check, audit.as_str())))
        .filter(|(_, audit)| !audit.is_empty())
}

#[test]
fn conformance_audits_of_kube_bench_are_in_the_subset() {
    let Some(folder) = fixtures().map(|folder| folder.join("kube-bench/cfg")) else { return };
    let (mut all, mut outside) = (BTreeMap::new(), BTreeMap::new());
    let mut runs = (0, 0);
    for (name, text) in files(&folder) {
        let controls = controls::read(&name, &text.replace("op: noteqx", "op: noteq")).expect("the typo is mended");
        for (check, audit) in audits(&controls) {
            runs.0 += 1;
            let result = all.entry(audit.trim().to_owned()).or_insert_with_key(|audit| shell::check(audit));
            if let Err(why) = result {
                runs.1 += 1;
                outside.entry(audit.trim().to_owned()).or_insert_with(|| format!("{name} {}: {why}", check.id));
            }
        }
    }
    println!(
        "{} of {} audits are outside of the subset ({} of {} different ones):",
        runs.1,
        runs.0,
        outside.len(),
        all.len()
    );
    outside.values().for_each(|why| println!("  {why}"));
    assert!(runs.0 > 2_000, "{}", runs.0);
    // What is left: process substitution, programs of certain images, programs of sed with blocks.
    assert!(runs.1 < 40 && outside.len() <= 25, "{} {}", runs.1, outside.len());
}

/// States by check, of checks that run by themselves.
fn states(options: &CisOptions) -> BTreeMap<String, String> {
    let mut out = Vec::new();
    cis(options, &mut out).unwrap_or_else(|error| panic!("{error}"));
    let report: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    let controls = report["Controls"].as_array().expect("controls").clone();
    let groups = controls.iter().flat_map(|controls| controls["tests"].as_array().expect("groups").clone());
    let checks = groups.flat_map(|group| group["results"].as_array().expect("results").clone());
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    checks.map(|check| (text(&check["test_number"]), text(&check["status"]))).collect()
}

#[test]
fn conformance_built_in_controls_judge_as_those_of_kube_bench() {
    let Some(folder) = fixtures().map(|folder| folder.join("kube-bench/cfg")) else { return };
    type Weaken = fn(&Node);
    let weakenings: &[(&str, Weaken)] =
        &[("hardened", |_| {}), ("bare", Node::weaken), ("worker", Node::without_control_plane)];
    for (name, weaken) in weakenings {
        let node = Node::new();
        weaken(&node);
        let mut options = node.options();
        options.choice.benchmark = Some("cis-1.12".to_owned());
        let ours = states(&options);
        options.source = Source::Folder { folder: folder.clone(), config: None };
        let mut theirs = states(&options);
        // They ask the cluster, ours look at manifests; they look for settings of the network plugin only where a flag says so, which
        // kubelets do not have any more.
        theirs.retain(|id, _| !id.starts_with("5.") && !["1.1.9", "1.1.10"].contains(&id.as_str()));
        assert!(theirs.len() > 20, "{name}");
        let differ = |(id, state): &(&String, &String)| ours.get(*id) != Some(*state);
        let different: Vec<_> =
            theirs.iter().filter(differ).map(|(id, state)| (id.as_str(), state.as_str(), ours.get(id))).collect();
        assert_eq!(different, [], "{name}");
    }
}
