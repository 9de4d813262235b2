use super::*;

fn documents(text: &str) -> Vec<Document> {
    let mut all = Vec::new();
    read(text, Syntax::Guess, &Limits::default(), &mut |document| all.push(document)).expect(text);
    all
}

fn json(text: &str) -> serde_json::Value {
    let all = documents(text);
    all[0].root().map_or(serde_json::Value::Null, |root| all[0].to_json(root))
}

fn error(text: &str) -> ModelError {
    read(text, Syntax::Guess, &Limits::default(), &mut |_| {}).expect_err("it is broken")
}

#[test]
fn plain_scalars_mean_what_kubernetes_takes_them_for() {
    let text =
        "{a: yes, b: 'yes', c: 0644, d: 1.5, e: ~, f: 1.2.3, g: 0x1f, h: -7, i: !!str 5, j: off, k: 10Mi, l: 1e3}";
    let expected = serde_json::json!({"a": true, "b": "yes", "c": 420, "d": 1.5, "e": null, "f": "1.2.3", "g": 31,
        "h": -7, "i": "5", "j": false, "k": "10Mi", "l": 1000.0});
    assert_eq!(json(text), expected);
}

#[test]
fn merge_keys_fill_in_what_is_missing_and_the_first_source_wins() {
    let text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 9\n";
    assert_eq!(json(text)["z"], serde_json::json!({"a": 9, "b": 1, "c": 2}));
}

#[test]
fn json_and_yaml_give_the_same_document() {
    let text = r#"{"a": [1, -2.5, true, null, "x\n\u00e4"], "b": {"c": {}, "d": []}}"#;
    let mut from_yaml = Vec::new();
    read(text, Syntax::Yaml, &Limits::default(), &mut |document| from_yaml.push(document)).expect("flow style");
    let yaml = from_yaml[0].to_json(from_yaml[0].root().expect("a root"));
    assert_eq!(json(text), yaml);
    assert_eq!(yaml, serde_json::from_str::<serde_json::Value>(text).expect("JSON"));
}

#[test]
fn json_pairs_of_surrogates_are_one_character() {
    assert_eq!(json(r#"["\ud83d\ude00", "\ud83d"]"#), serde_json::json!(["\u{1f600}", "\u{fffd}"]));
}

#[test]
fn places_are_counted_from_one_in_characters() {
    for text in ["a:\n  b:\n    - c: ü\n      d: 1\n", "\u{feff}a:\r\n  b:\r\n    - c: ü\r\n      d: 1\r\n"] {
        let all = documents(text);
        let root = all[0].root().expect("a root");
        let item = all[0].items(all[0].follow(root, &["a", "b"]).expect("b"))[0];
        let entry = all[0].entry(item, "d").expect("d");
        assert_eq!((entry.at, all[0].at(entry.value)), (Mark { line: 4, column: 7 }, Mark { line: 4, column: 10 }));
        assert_eq!((all[0].at(item).line, all[0].last_line(item)), (3, 4));
    }
    let all = documents("{\"ü\": 1,\n \"b\": [2,\n  3]}");
    let root = all[0].root().expect("a root");
    assert_eq!(all[0].at(all[0].items(all[0].get(root, "b").expect("b"))[1]), Mark { line: 3, column: 3 });
}

#[test]
fn several_documents_come_one_by_one() {
    assert_eq!(
        documents("a: 1\n---\nb: 2\n---\n---\nc: 3\n").iter().filter(|document| document.root().is_some()).count(),
        4
    );
    assert_eq!(documents("{\"a\": 1}\n{\"b\": 2} [3]").len(), 3);
}

#[test]
fn a_mistake_says_where_and_keeps_what_came_before() {
    let mut seen = 0;
    let error = read("a: 1\n---\nb: [1\n", Syntax::Yaml, &Limits::default(), &mut |_| seen += 1).expect_err("broken");
    assert_eq!((seen, error.over_limit), (1, false));
    assert!(error.at.line >= 3, "{error}");
    let mut seen = 0;
    let error =
        read("{\"a\": 1}\n{\"b\" 2}", Syntax::Json, &Limits::default(), &mut |_| seen += 1).expect_err("broken");
    assert_eq!((seen, error.to_string()), (1, "2:6: expected `:` after a key, found `2`".to_owned()));
}

#[test]
fn deep_nesting_ends_at_the_limit_in_every_style() {
    let deep = 1_000_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("- ", ""), ("[\n", "]"), ("{a: ", "}"), ("? ", "")] {
        let text = open.repeat(deep) + &close.repeat(deep);
        let error = error(&text);
        assert!(error.over_limit || error.what.contains("limit") || error.what.contains("key"), "{open}: {error}");
    }
}

#[test]
fn aliases_that_would_expand_without_end_are_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..40 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        text += &format!("a{level}: &a{level} [{}]\n", before.trim_end_matches(", "));
    }
    assert!(error(&text).over_limit);
    let mut chain = String::from("a0: &a0 [x]\n");
    for level in 1..100_000 {
        chain += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    assert!(error(&chain).what.contains("deeper"));
    assert!(error("a: &a [*a]").what.contains("alias"));
    assert!(error("a: *b").what.contains("nchor"));
}

#[test]
fn a_large_collection_in_flow_style_ends_before_its_tokens_fill_memory() {
    for text in [
        format!("[{}]", "a, ".repeat(1_500_000)),
        format!("[\n{}]", "a,\n".repeat(2_000_000)),
        "'".to_owned() + &"a".repeat(4 << 20),
    ] {
        let error = error(&text);
        assert!(error.over_limit && error.what.contains("flow style"), "{error}");
    }
    let large = "- a: b\n  c: 'd'\n".repeat(200_000);
    let mut found = Vec::new();
    read(&large, Syntax::Yaml, &Limits::default(), &mut |document| found.push(document)).expect("it is large and good");
    let root = found[0].root().expect("a root");
    let last = *found[0].items(root).last().expect("items");
    assert_eq!((found[0].items(root).len(), found[0].at(last).line), (200_000, 399_999));
}

#[test]
fn every_prefix_and_every_changed_byte_of_a_manifest_is_survived() {
    let text = "a: &x {b: [1, 'two', \"thr\\u00e9e\"]}\nc:\n  <<: *x\n  d: |\n    text\n---\n- ? e\n  : f\n# end\n";
    let json = r#"{"a": [1, 2.5e3, "x\u00e4", {"b": null}], "c": {"d": false}}"#;
    for source in [text, json] {
        for cut in (0..=source.len()).filter(|cut| source.is_char_boundary(*cut)) {
            let _ = read(&source[..cut], Syntax::Guess, &Limits::default(), &mut |_| {});
            for byte in b"\0\t\n \"'[]{}:,-&*#!|>%@`\\\xff".iter().filter(|_| cut < source.len()) {
                let mut bytes = source.as_bytes().to_vec();
                bytes[cut] = *byte;
                let _ = read(&String::from_utf8_lossy(&bytes), Syntax::Guess, &Limits::default(), &mut |_| {});
            }
        }
    }
}
