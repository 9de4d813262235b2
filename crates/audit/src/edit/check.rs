//! Looks at the values before and after an edit: what was to change has changed as it was meant, and nothing else has.

use serde_json::{Map, Value as Json};

use super::{Change, Key};
use crate::model::{self, Limits, Syntax};

/// What is to change below a value: the rest of the way, and what has to stand there.
type Wanted<'c> = (&'c [Key], Option<&'c Json>);

/// Whether the two texts differ in nothing but these changes; one that was refused need not have been made.
pub(super) fn is_meant(before: &str, after: &str, changes: &[Change]) -> bool {
    let (Some(before), Some(after)) = (values(before), values(after)) else { return false };
    let of = |number: usize| {
        let own = changes.iter().filter(|change| change.document == number);
        own.map(|change| (&change.path[..], change.value.as_ref())).collect::<Vec<Wanted<'_>>>()
    };
    before.len() == after.len()
        && before.iter().zip(&after).enumerate().all(|(at, (before, after))| same(Some(before), Some(after), &of(at)))
}

fn values(text: &str) -> Option<Vec<Json>> {
    let mut values = Vec::new();
    let mut each = |document: model::Document| {
        values.push(document.root().map_or(Json::Null, |root| document.to_json(root)));
    };
    model::read(text, Syntax::Guess, &Limits::default(), &mut each).ok()?;
    Some(values)
}

fn same(before: Option<&Json>, after: Option<&Json>, wanted: &[Wanted<'_>]) -> bool {
    if before == after {
        return true;
    }
    if let Some((_, value)) = wanted.iter().find(|(path, _)| path.is_empty()) {
        return after == *value;
    }
    let nothing = Map::new();
    match (before, after) {
        (Some(Json::Array(before)), Some(Json::Array(after))) => {
            let mut pairs = before.iter().zip(after).enumerate();
            before.len() == after.len()
                && pairs.all(|(at, (before, after))| same(Some(before), Some(after), &below(wanted, &Key::Index(at))))
        }
        _ if wanted.is_empty() => false,
        _ => match (mapping(before, &nothing), mapping(after, &nothing)) {
            (Some(before), Some(after)) => before
                .keys()
                .chain(after.keys())
                .all(|key| same(before.get(key), after.get(key), &below(wanted, &Key::Name(key.clone())))),
            _ => false,
        },
    }
}

/// A mapping, which may have been made where nothing was.
fn mapping<'v>(value: Option<&'v Json>, nothing: &'v Map<String, Json>) -> Option<&'v Map<String, Json>> {
    match value {
        Some(Json::Object(map)) => Some(map),
        None | Some(Json::Null) => Some(nothing),
        Some(_) => None,
    }
}

/// What is to change below a key or index.
fn below<'c>(wanted: &[Wanted<'c>], key: &Key) -> Vec<Wanted<'c>> {
    let rest = |(path, value): &Wanted<'c>| {
        let (first, rest) = path.split_first()?;
        (first == key).then_some((rest, *value))
    };
    wanted.iter().filter_map(rest).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_else_has_changed_is_seen() {
        let path = |names: &[&str]| names.iter().map(|name| Key::Name((*name).to_owned())).collect();
        let set = Change { document: 0, path: path(&["a", "b"]), value: Some(json!(1)) };
        let remove = Change { document: 0, path: path(&["c"]), value: None };
        let meant = |before, after| is_meant(before, after, &[set.clone(), remove.clone()]);
        assert!(meant("a: {}\nc: 1\nd: [x]\n", "a: {b: 1}\nd: [x]\n"));
        assert!(meant("c: 1\n", "a: {b: 1}\nc: 1\n"), "one that was refused");
        for after in [
            "a: {b: 2}\nd: [x]\n",
            "a: {b: 1}\nd: [y]\n",
            "a: {b: 1, e: 1}\nd: [x]\n",
            "a: {b: 1}\n",
            "a: [",
            "a: {b: 1}\nd: [x]\n---\n",
        ] {
            assert!(!meant("a: {}\nc: 1\nd: [x]\n", after), "{after}");
        }
    }
}
