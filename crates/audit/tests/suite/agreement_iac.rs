//! Agreement with Checkov on its examples of Terraform, CloudFormation and Serverless, per policy id. The record is
//! `tests/data/checkov-iac.tsv`; see `agreement.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use ringfort_audit::scan::input::{self, Selection};
use ringfort_audit::scan::suppress::Suppressions;
use ringfort_audit::scan::{self, Status};

use crate::agreement::fixtures;
use crate::support::{catalogue, settings};

const RECORD: &str = include_str!("../data/checkov-iac.tsv");
const DIFFERENCES: &str = include_str!("../data/checkov-iac-differences.tsv");

/// Ids below 98 %: they have so few examples that one or two verdicts in which Checkov is wrong (or contradicts its own of the same
/// thing in another language) are more than that. Each has its reason like any other difference.
const BELOW: [&str; 7] =
    ["CKV_AWS_1", "CKV_AWS_2", "CKV_AWS_21", "CKV_AWS_33", "CKV_AWS_363", "CKV_AWS_45", "CKV_AWS_6"];

/// `A3` is `CKV_AWS_3`, `2Z1` is `CKV2_AZURE_1`.
fn id(short: &str) -> String {
    let (head, short) = short
        .strip_prefix('2')
        .filter(|rest| rest.starts_with(['A', 'Z', 'G']))
        .map_or(("CKV", short), |rest| ("CKV2", rest));
    let cloud = match &short[..1] {
        "A" => "AWS",
        "Z" => "AZURE",
        _ => "GCP",
    };
    format!("{head}_{cloud}_{}", &short[1..])
}

/// Per file and resource: the ids that failed, passed, and could not be judged.
type Verdicts = BTreeMap<(String, String), BTreeMap<String, bool>>;

fn ours(folder: &Path) -> Verdicts {
    let mut all = Verdicts::new();
    let suppressions = Suppressions::default();
    for kind in ["terraform", "cloudformation", "serverless"] {
        let inputs = input::find(&[folder.join("checkov").join(kind)], &Selection::default());
        let report = scan::scan(&inputs, &settings(catalogue(), &suppressions));
        for finding in &report.findings {
            let file = report.file(finding);
            let file = file.split_once("/checkov/").map_or(file, |(_, file)| file).to_owned();
            let resource = finding.resource.strip_prefix("data.").unwrap_or(&finding.resource).to_owned();
            let failed = matches!(finding.status, Status::Failed | Status::Suppressed(_));
            let verdicts = all.entry((file, resource)).or_default();
            for alias in finding.policy(catalogue()).aliases.iter().filter(|alias| alias.starts_with("CKV")) {
                *verdicts.entry(alias.clone()).or_default() |= failed;
            }
        }
    }
    all
}

#[test]
fn conformance_checkov_agrees_on_its_cloud_examples() {
    let Some(folder) = fixtures() else { return };
    let folder = fs::canonicalize(folder).expect("it is there");
    let ours = ours(&folder);
    let reasons: Vec<(&str, &str)> = DIFFERENCES
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.rsplit_once('\t').expect("id, file, resource, ours, reason"))
        .collect();
    let known: BTreeSet<&str> = reasons.iter().map(|(place, _)| *place).collect();
    assert!(reasons.iter().all(|(_, reason)| reason.len() > 10), "a difference needs a reason");
    let mut table: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    // Agreed and compared, by language and by cloud.
    let mut groups: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut unexplained = Vec::new();
    let mut seen = BTreeSet::new();
    for line in RECORD.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split('\t').collect();
        let Some(mine) = ours.get(&(fields[0].to_owned(), fields[1].to_owned())) else { continue };
        for (ids, theirs) in [(fields[2], true), (fields[3], false)] {
            for id in ids.split(',').filter(|short| !short.is_empty()).map(id) {
                let Some(mine) = mine.get(&id) else { continue };
                let language = fields[0].split('/').next().unwrap_or_default();
                for group in [language, id.split('_').nth(1).unwrap_or_default()] {
                    let counts = groups.entry(group.to_owned()).or_default();
                    counts[0] += usize::from(*mine == theirs);
                    counts[1] += 1;
                }
                let counts = table.entry(id.clone()).or_default();
                counts[0] += usize::from(*mine == theirs);
                counts[1] += 1;
                if *mine || theirs {
                    counts[2] += usize::from(*mine == theirs);
                    counts[3] += 1;
                }
                if *mine != theirs {
                    let word = if *mine { "failed" } else { "passed" };
                    let place = format!("{id}\t{}\t{}\t{word}", fields[0], fields[1]);
                    if !known.contains(place.as_str()) {
                        unexplained.push(place.clone());
                    }
                    seen.insert(place);
                }
            }
        }
    }
    let mut low = Vec::new();
    let mut total = [0; 4];
    for (id, counts) in &table {
        let share = counts[0] as f64 / counts[1] as f64;
        println!("{id}: {:.1} % of {} ({} of {} failures)", share * 100.0, counts[1], counts[2], counts[3]);
        total.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        if share < 0.98 {
            low.push(id.clone());
        }
    }
    println!("{} ids, {} of {} verdicts agree, {} of {} failures", table.len(), total[0], total[1], total[2], total[3]);
    for (group, [agreed, compared]) in &groups {
        let share = *agreed as f64 / *compared as f64;
        println!("{group}: {agreed} of {compared} ({:.1} %)", share * 100.0);
        assert!(share >= 0.98, "{group}: {agreed} of {compared}");
    }
    assert_eq!(groups.len(), 6, "three languages, three clouds: {groups:?}");
    let stale: Vec<_> = known.iter().filter(|place| !seen.contains(**place)).collect();
    assert!(unexplained.is_empty(), "{} differences without a reason:\n{}", unexplained.len(), unexplained.join("\n"));
    assert!(stale.is_empty(), "reasons for differences that are gone: {stale:?}");
    assert_eq!(low, BELOW, "below 98 %");
    assert!(table.len() >= 250, "{} ids compared", table.len());
}
