//! Agreement with Checkov, per policy id, on its own examples and those of two other tools. Its verdicts are recorded in
//! `tests/data/checkov-kubernetes.tsv` (`tests/data/record_checkov.py` makes it anew); the files are looked for in
//! `../shared/fixtures` beside the repository, or where `RINGFORT_FIXTURES` says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ringfort_audit::scan::Status;

use crate::support::{catalogue, scan};

const RECORD: &str = include_str!("../data/checkov-kubernetes.tsv");
const DIFFERENCES: &str = include_str!("../data/checkov-differences.tsv");

/// The fixtures, where they are at hand.
pub fn fixtures() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures");
    let folder = std::env::var_os("RINGFORT_FIXTURES").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("no fixtures at {}: nothing is compared (RINGFORT_FIXTURES names another place)", folder.display());
    None
}

struct Recorded<'r> {
    file: &'r str,
    resource: &'r str,
    /// Id of Checkov, and whether it failed.
    verdicts: Vec<(String, bool)>,
}

fn record() -> Vec<Recorded<'static>> {
    let id = |short: &str| match short.strip_prefix("2:") {
        Some(number) => format!("CKV2_K8S_{number}"),
        None => format!("CKV_K8S_{short}"),
    };
    let parse = |line: &'static str| {
        let mut fields = line.split('\t');
        let (file, resource) = (fields.next()?, fields.next()?);
        let mut verdicts = Vec::new();
        for failed in [true, false] {
            let ids = fields.next()?.split(',').filter(|short| !short.is_empty());
            verdicts.extend(ids.map(|short| (id(short), failed)));
        }
        Some(Recorded { file, resource, verdicts })
    };
    RECORD.lines().filter(|line| !line.starts_with('#')).map(|line| parse(line).expect("four fields")).collect()
}

/// `Kind.namespace.name`, as Checkov writes it, of our `Kind/namespace/name`.
fn checkov_name(resource: &str) -> String {
    let parts: Vec<_> = resource.splitn(3, '/').collect();
    match parts[..] {
        [kind, namespace, name] => format!("{kind}.{namespace}.{name}"),
        [kind, name] => format!("{kind}.default.{name}"),
        _ => resource.to_owned(),
    }
}

/// What our policies say about each resource of a file: the ids of Checkov that failed.
fn ours(folder: &Path, file: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(folder.join(file)).expect("the record's file is there");
    let mut failed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for finding in scan(file, &text).findings {
        let resource = failed.entry(checkov_name(&finding.resource)).or_default();
        // Checkov does not see a failure that it is told to skip; neither has it a verdict then.
        if matches!(finding.status, Status::Failed | Status::Suppressed(_)) {
            let aliases = finding.policy(catalogue()).aliases.iter();
            resource.extend(aliases.filter(|alias| alias.starts_with("CKV")).cloned());
        }
    }
    failed
}

#[test]
fn conformance_checkov_agrees_on_its_kubernetes_examples() {
    let Some(folder) = fixtures() else { return };
    let claimed: BTreeSet<&str> = catalogue()
        .policies()
        .iter()
        .flat_map(|policy| policy.aliases.iter().map(String::as_str))
        .filter(|alias| alias.starts_with("CKV"))
        .collect();
    let reasons: Vec<(&str, &str)> = DIFFERENCES
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (place, reason) = line.rsplit_once('\t').expect("id, file, resource, ours, reason");
            assert!(reason.len() > 10, "a difference needs a reason: {line}");
            (place, reason)
        })
        .collect();
    let mut files: BTreeMap<&str, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    // Per id: agreed, compared, and of these those where one of the two failed.
    let mut table: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    let mut unexplained = Vec::new();
    let mut seen = BTreeSet::new();
    for recorded in record() {
        let verdicts = files.entry(recorded.file).or_insert_with(|| ours(&folder, recorded.file));
        let Some(failed) = verdicts.get(recorded.resource) else { continue };
        for (id, theirs) in recorded.verdicts.iter().filter(|(id, _)| claimed.contains(id.as_str())) {
            let mine = failed.contains(id);
            let counts = table.entry(id.clone()).or_default();
            counts[0] += usize::from(mine == *theirs);
            counts[1] += 1;
            if mine || *theirs {
                counts[2] += usize::from(mine == *theirs);
                counts[3] += 1;
            }
            if mine != *theirs {
                let word = if mine { "failed" } else { "passed" };
                let place = format!("{id}\t{}\t{}\t{word}", recorded.file, recorded.resource);
                if !reasons.iter().any(|(known, _)| *known == place) {
                    unexplained.push(place.clone());
                }
                seen.insert(place);
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
    let stale: Vec<_> = reasons.iter().filter(|(place, _)| !seen.contains(*place)).collect();
    assert!(unexplained.is_empty(), "{} differences without a reason:\n{}", unexplained.len(), unexplained.join("\n"));
    assert!(stale.is_empty(), "reasons for differences that are gone: {stale:?}");
    assert!(low.is_empty(), "below 98 %: {low:?}");
    assert!(table.len() >= 100, "{} ids compared", table.len());
}
