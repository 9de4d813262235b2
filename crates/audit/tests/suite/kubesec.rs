//! The view kubesec on its own fixtures. The scores were computed by `tests/data/kubesec_points.py`, which shares nothing with the
//! program; the signs are what the names of the files promise.

use std::collections::BTreeMap;
use std::fs;

use ringfort_audit::model::Limits;
use ringfort_audit::view::kubesec::Kubesec;

use crate::agreement::fixtures;

const POINTS: &str = include_str!("../data/kubesec-points.tsv");

#[test]
fn conformance_kubesec_points_agree_on_every_fixture() {
    let Some(folder) = fixtures() else { return };
    let kubesec = Kubesec::new();
    let mut expected: BTreeMap<&str, Vec<(i64, &str)>> = BTreeMap::new();
    for line in POINTS.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split('\t').collect();
        let of_file = expected.entry(fields[0]).or_default();
        if let Ok(score) = fields[2].parse() {
            of_file.push((score, fields[3]));
        }
    }
    assert!(expected.len() >= 70, "{} files", expected.len());
    let mut wrong = Vec::new();
    for (name, expected) in expected {
        let text = fs::read_to_string(folder.join("kubesec").join(name)).expect("the fixture is there");
        let reports = kubesec.judge(name, &text, &Limits::default()).unwrap_or_default();
        let ours: Vec<(i64, String)> = reports
            .iter()
            .filter(|report| report.object != "Unknown")
            .map(|report| {
                let counted = report.scoring.critical.iter().chain(&report.scoring.passed);
                let mut ids: Vec<_> = counted.map(|rule| rule.id.as_str()).collect();
                ids.sort_unstable();
                (report.score, ids.join(","))
            })
            .collect();
        let same = ours.iter().map(|(score, ids)| (*score, ids.as_str())).eq(expected.iter().copied());
        if !same {
            wrong.push(format!("{name}: {ours:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
