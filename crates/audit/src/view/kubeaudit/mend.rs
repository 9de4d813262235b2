//! Autofix: what the auditors can mend, in the file's own text.

use super::{Audited, Config, Fix, Level, audit};
use crate::edit;
use crate::fix::Mended;
use crate::model::{self, Document, Limits, Syntax};

const ROUNDS: usize = 4;

/// Mends a manifest, and asks the auditors again: the text is only changed where they say no more than before about anything.
pub fn mend(name: &str, text: &str, limits: &Limits, config: &Config) -> Mended {
    let Some(first) = read(name, text, limits, config) else {
        return Mended {
            text: text.to_owned(),
            gone: 0,
            left: 0,
            worst: None,
            refused: vec![format!("{name}: left alone: it cannot be read to its end")],
        };
    };
    let bad = |audited: &[Audited]| {
        let results = audited.iter().flat_map(|resource| &resource.results);
        results.filter(|result| result.level == Level::Error).count()
    };
    let before = bad(&first);
    let unchanged =
        |why: Vec<String>| Mended { text: text.to_owned(), gone: 0, left: before, worst: None, refused: why };
    let mut now = text.to_owned();
    let mut audited = first;
    let mut refused = Vec::new();
    // What one change uncovers, the next round mends.
    for _ in 0..ROUNDS {
        let results = audited.iter().flat_map(|resource| &resource.results);
        let (mut changes, mut documents) = (Vec::new(), Vec::new());
        for fix in results.flat_map(|result| &result.fix) {
            match fix {
                Fix::Change(change) => changes.push(change.clone()),
                Fix::Add(document) => documents.push(document),
            }
        }
        let edited = match edit::apply(&now, &changes) {
            Ok(edited) => edited,
            Err((at, why)) => return unchanged(vec![format!("{name}:{at}: {why}")]),
        };
        refused = edited.refused.iter().map(|(at, why)| format!("{name}:{at}: not mended: {why}")).collect();
        let mut next = edited.text;
        documents.iter().for_each(|document| edit::append(&mut next, document));
        if next == now {
            break;
        }
        now = next;
        let Some(again) = read(name, &now, limits, config) else {
            return unchanged(vec![format!("{name}: not mended: the result could not be read again")]);
        };
        audited = again;
    }
    let left = bad(&audited);
    if left > before {
        return unchanged(vec![format!("{name}: not mended: the result would be worse")]);
    }
    Mended { text: now, gone: before - left, left, worst: None, refused }
}

fn read(name: &str, text: &str, limits: &Limits, config: &Config) -> Option<Vec<Audited>> {
    let mut documents: Vec<Document> = Vec::new();
    model::read(text, Syntax::Guess, limits, &mut |document| documents.push(document)).ok()?;
    Some(audit(name, &documents, config))
}
