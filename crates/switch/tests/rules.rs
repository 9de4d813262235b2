//! Every rule that the code can name stands in the table of docs/order-of-checks.md, and none else.

use std::collections::BTreeSet;
use std::path::Path;

/// Families of rules that refuse something.
const FAMILIES: [&str; 10] =
    ["callee", "limit", "route", "rate", "spending", "media", "loop", "registrar", "context", "guard"];
/// Names in those families that refuse nothing: they head log lines.
const NO_REFUSALS: [&str; 6] =
    ["media.port", "spending.warning", "spending.fork", "spending.currency", "guard.offence_log", "route.refused"];

fn rules_in(text: &str, quote: char) -> BTreeSet<String> {
    let quoted = text.split(quote).skip(1).step_by(2);
    let is_rule = |name: &&str| {
        let Some((family, rest)) = name.split_once('.') else { return false };
        FAMILIES.contains(&family) && !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    quoted.filter(is_rule).map(str::to_owned).collect()
}

fn read(dir: &Path, out: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            // Line by line, so that a quotation mark in a character or a comment upsets no more than its line.
            let text = std::fs::read_to_string(&path).unwrap();
            out.extend(text.lines().flat_map(|line| rules_in(line, '"')));
        }
    }
}

#[test]
fn the_table_of_rules_has_every_rule_of_the_code_and_no_other() {
    let mut code = BTreeSet::new();
    for crate_ in ["guard", "switch", "net"] {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(crate_).join("src"), &mut code);
    }
    code.retain(|name| !NO_REFUSALS.contains(&name.as_str()));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/order-of-checks.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("## Rules by name").expect("the table is there");
    let told = rules_in(table, '`');
    assert!(code.len() > 35, "{code:?}");
    assert_eq!(code.difference(&told).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the table");
    assert_eq!(told.difference(&code).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the code");
}
