use serde_json::json;

use super::{Change, apply, keys};

fn set(path: &str, value: serde_json::Value) -> Change {
    Change { document: 0, path: keys(path).expect("a path"), value: Some(value) }
}

fn remove(path: &str) -> Change {
    Change { document: 0, path: keys(path).expect("a path"), value: None }
}

/// The key `a` of the first item of a list that is the whole document.
fn remove_first() -> Change {
    Change { document: 0, path: vec![super::Key::Index(0), super::Key::Name("a".to_owned())], value: None }
}

fn edited(text: &str, changes: &[Change]) -> String {
    let edited = apply(text, changes).expect("it is YAML");
    assert_eq!(edited.refused, [], "{text}");
    edited.text
}

#[test]
fn a_value_is_exchanged_and_its_comment_stays() {
    assert_eq!(edited("a: true # why\nb: 1\n", &[set("a", json!(false))]), "a: false # why\nb: 1\n");
    assert_eq!(edited("a: \"x\\\"#y\" # why\n", &[set("a", json!(1))]), "a: 1 # why\n");
    assert_eq!(edited("a: 'it''s' # why\n", &[set("a", json!(1))]), "a: 1 # why\n");
    assert_eq!(edited("a: {b: 'x', c: 2}\n", &[set("a.b", json!("y: z"))]), "a: {b: \"y: z\", c: 2}\n");
    assert_eq!(edited("a: \"on\"\r\nb: 1\r\n", &[set("a", json!("off"))]), "a: \"off\"\r\nb: 1\r\n");
}

#[test]
fn what_is_missing_is_added_in_the_style_around_it() {
    let text = "a:\n  - name: x # one\n    b: 1\n\n  # two\n  - name: y\nc: 2\n";
    let changes = [set("a[0].s.p", json!(false)), set("a[0].s.q", json!(["ALL"])), set("a[1].s.p", json!(true))];
    let wanted = "a:\n  - name: x # one\n    b: 1\n    s:\n      p: false\n      q:\n        - ALL\n\n  # two\n  - name: y\n    s:\n      p: true\nc: 2\n";
    assert_eq!(edited(text, &changes), wanted);
    assert_eq!(edited("a: {b: 1}\n", &[set("a.c.d", json!(1))]), "a: {b: 1, c: {d: 1}}\n");
    assert_eq!(edited("a: {}\n", &[set("a.c", json!(1))]), "a: {c: 1}\n");
    assert_eq!(edited("a:\nb: 1\n", &[set("a.c.d", json!(1))]), "a:\n  c:\n    d: 1\nb: 1\n");
    assert_eq!(edited("a: 1", &[set("b", json!(2))]), "a: 1\nb: 2");
    assert_eq!(edited("{\"a\": {\"b\": 1}}", &[set("a.c", json!("x"))]), "{\"a\": {\"b\": 1, \"c\": \"x\"}}");
}

#[test]
fn insertions_at_one_place_stand_from_the_inside_out() {
    let text = "a:\n  b:\n    c: |\n      text\n\n# end\n";
    let wanted = "a:\n  b:\n    c: |\n      text\n    d: 1\n  e: 2\nf: 3\n\n# end\n";
    assert_eq!(edited(text, &[set("f", json!(3)), set("a.e", json!(2)), set("a.b.d", json!(1))]), wanted);
}

#[test]
fn what_has_to_go_goes_with_its_lines() {
    assert_eq!(edited("a: 1\nb:\n  c: 2\n  d: 3\n# x\ne: 4\n", &[remove("b")]), "a: 1\n# x\ne: 4\n");
    assert_eq!(edited("- a: 1\n  b: 2\n", &[remove_first()]), "- b: 2\n");
    assert_eq!(edited("a: {b: 1, c: 2, d: 3}\n", &[remove("a.c"), remove("a.d")]), "a: {b: 1}\n");
    assert_eq!(edited("a: {b: 1, c: 2}\n", &[remove("a.b")]), "a: {c: 2}\n");
    assert_eq!(edited("a:\n  b: 1\nc: 2\n", &[remove("a.b")]), "a: {}\nc: 2\n");
    assert_eq!(edited("a:\n  b: 1\n  c: 2\n", &[remove("a.c"), set("a.d", json!(3))]), "a:\n  b: 1\n  d: 3\n");
}

#[test]
fn a_list_is_exchanged_where_it_stands() {
    assert_eq!(edited("a:\n  b:\n  - X\n  - Y\nc: 1\n", &[set("a.b", json!(["ALL"]))]), "a:\n  b:\n  - ALL\nc: 1\n");
    assert_eq!(edited("a: [X, Y] # z\n", &[set("a", json!(["ALL"]))]), "a: [ALL] # z\n");
}

#[test]
fn only_the_document_that_is_meant_changes() {
    let change = Change { document: 1, ..set("a", json!(2)) };
    assert_eq!(edited("a: 1\n---\na: 1\n---\na: 1\n", &[change]), "a: 1\n---\na: 2\n---\na: 1\n");
}

#[test]
fn what_stands_behind_an_alias_is_refused_with_its_place() {
    let text = "a: &x {b: 1}\nc: *x\n";
    let edited = apply(text, &[set("c.b", json!(2)), set("a.b", json!(2))]).expect("it is YAML");
    assert_eq!(edited.text, text);
    let lines: Vec<_> = edited.refused.iter().map(|(at, _)| at.line).collect();
    assert_eq!(lines, [2, 1]);
}

/// A key without a colon ends the text: what would stand behind it is not there.
#[test]
fn a_text_that_ends_with_a_key_alone_is_changed_or_left_alone() {
    for text in ["a: 1\n? d", "? d", "{? d", "? d\n? é", "? &x\n"] {
        for change in [set("d.e", json!(1)), set("f", json!(1)), remove("d"), remove("a")] {
            let Ok(edited) = apply(text, std::slice::from_ref(&change)) else { continue };
            assert!(edited.text != text || !edited.refused.is_empty() || change.value.is_none(), "{text} {change:?}");
        }
    }
}
