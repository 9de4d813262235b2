//! Agreement with Checkov on Dockerfiles, workflows of GitHub and pipelines of GitLab, per policy id. There are no fixtures of these: both
//! judge the examples of our own policies, each by every id that we claim. The record is `tests/data/checkov-builds.tsv`; see
//! `agreement.rs`.

use std::collections::{BTreeMap, BTreeSet};

use ringfort_audit::policy::Catalogue;
use ringfort_audit::scan::Status;

use crate::support::{catalogue, scan};

const RECORD: &str = include_str!("../data/checkov-builds.tsv");
const DIFFERENCES: &str = include_str!("../data/checkov-builds-differences.tsv");

/// Below 98 %: of ninety Dockerfiles two where git itself is told not to verify, which Checkov does not know; of forty workflows one where
/// it asks for a word on the top that says nothing more.
const BELOW: [&str; 2] = ["CKV2_DOCKER_14", "CKV2_GHA_1"];

/// `D3` is `CKV_DOCKER_3`, `2H1` is `CKV2_GHA_1`.
fn id(short: &str) -> String {
    let (head, short) = short.strip_prefix('2').map_or(("CKV", short), |rest| ("CKV2", rest));
    let tool = match &short[..1] {
        "D" => "DOCKER",
        "H" => "GHA",
        _ => "GITLABCI",
    };
    format!("{head}_{tool}_{}", &short[1..])
}

/// The examples of a kind of policies with their names, as `RF-DOCKER-0001.bad`, and the file that each is.
fn examples() -> BTreeMap<String, (&'static str, String)> {
    let mut all = BTreeMap::new();
    for policy in catalogue().policies() {
        let file = match policy.id.split('-').nth(1) {
            Some("DOCKER") => "Dockerfile",
            Some("GHA") => ".github/workflows/a.yaml",
            Some("GITLAB") => ".gitlab-ci.yml",
            _ => continue,
        };
        let examples = Catalogue::built_in_examples(&policy.id).expect("it is built in").expect("it has some");
        for example in examples.all {
            all.insert(format!("{}.{}", policy.id, example.label), (file, example.manifest));
        }
    }
    all
}

/// Per id of Checkov whether a policy of ours of that name failed.
fn ours(file: &str, text: &str) -> BTreeMap<String, bool> {
    let mut verdicts = BTreeMap::new();
    let found = scan(file, text);
    for finding in &found.findings {
        let failed = matches!(finding.status, Status::Failed | Status::Suppressed(_));
        for alias in finding.policy(catalogue()).aliases.iter().filter(|alias| alias.starts_with("CKV")) {
            *verdicts.entry(alias.clone()).or_default() |= failed;
        }
    }
    verdicts
}

#[test]
fn checkov_agrees_on_what_builds_and_ships() {
    let examples = examples();
    let claimed: BTreeSet<&str> =
        catalogue().policies().iter().flat_map(|policy| policy.aliases.iter().map(String::as_str)).collect();
    let reasons: Vec<(&str, &str)> = DIFFERENCES
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.rsplit_once('\t').expect("id, example, ours, reason"))
        .collect();
    assert!(reasons.iter().all(|(_, reason)| reason.len() > 10), "a difference needs a reason");
    let known: BTreeSet<&str> = reasons.iter().map(|(place, _)| *place).collect();
    let mut table: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut groups: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let (mut unexplained, mut seen, mut recorded) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for line in RECORD.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split('\t').collect();
        let name = fields[0];
        let (file, text) = examples.get(name).unwrap_or_else(|| panic!("{name} is gone: record Checkov anew"));
        assert_eq!(text.chars().count().to_string(), fields[1], "{name} is another one: record Checkov anew");
        recorded.insert(name.to_owned());
        let mine = ours(file, text);
        for (ids, theirs) in [(fields[2], true), (fields[3], false)] {
            for id in ids.split(',').filter(|short| !short.is_empty()).map(id) {
                if !claimed.contains(id.as_str()) {
                    continue;
                }
                // What a policy has nothing to look at for, it does not fail.
                let mine = mine.get(&id).copied().unwrap_or_default();
                let group = groups.entry(id.split('_').nth(1).unwrap_or_default().to_owned()).or_default();
                group[0] += usize::from(mine == theirs);
                group[1] += 1;
                let counts = table.entry(id.clone()).or_default();
                counts[0] += usize::from(mine == theirs);
                counts[1] += 1;
                if mine != theirs {
                    let place = format!("{id}\t{name}\t{}", if mine { "failed" } else { "passed" });
                    if !known.contains(place.as_str()) {
                        unexplained.push(place.clone());
                    }
                    seen.insert(place);
                }
            }
        }
    }
    let missing: Vec<_> = examples.keys().filter(|name| !recorded.contains(*name)).collect();
    assert!(missing.is_empty(), "not recorded: {missing:?}");
    let mut total = [0; 2];
    let mut low = Vec::new();
    for (id, counts) in &table {
        let share = counts[0] as f64 / counts[1] as f64;
        println!("{id}: {:.1} % of {}", share * 100.0, counts[1]);
        total.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        if share < 0.98 {
            low.push(id.clone());
        }
    }
    println!("{} ids, {} of {} verdicts agree", table.len(), total[0], total[1]);
    let stale: Vec<_> = known.iter().filter(|place| !seen.contains(**place)).collect();
    assert!(unexplained.is_empty(), "{} differences without a reason:\n{}", unexplained.len(), unexplained.join("\n"));
    assert!(stale.is_empty(), "reasons for differences that are gone: {stale:?}");
    assert_eq!(low, BELOW, "below 98 %");
    for (group, [agreed, compared]) in &groups {
        println!("{group}: {agreed} of {compared}");
        assert!(*agreed as f64 >= 0.98 * *compared as f64, "{group}: {agreed} of {compared}");
    }
    assert!(table.len() >= 25, "{} ids compared", table.len());
}
