use super::{Kind, Part, parse};

#[test]
fn blocks_labels_and_attributes_keep_their_places() {
    let parsed =
        parse("\u{feff}resource \"a\" \"b\" {\r\n  x = 1 # one\r\n  inner {\r\n    y = [1, 2,]\r\n  }\r\n}\r\n");
    assert_eq!(parsed.error, None);
    let block = &parsed.body.blocks[0];
    assert_eq!((block.at.line, block.at.column, block.last_line), (1, 1, 6));
    assert_eq!(block.labels.iter().map(|label| &**label).collect::<Vec<_>>(), ["a", "b"]);
    let x = block.body.attribute("x").expect("it is there");
    assert_eq!((x.at.line, x.at.column), (2, 7));
    assert_eq!(block.body.of_kind("inner").count(), 1);
}

#[test]
fn heredocs_lose_their_indentation_and_keep_what_is_to_be_filled_in() {
    let parsed = parse("x = <<-EOT\n    a ${b}\n      c\n    EOT\ny = 2\n");
    assert_eq!(parsed.error, None);
    let Kind::Template(parts) = &parsed.body.attribute("x").expect("x").kind else { panic!("a template") };
    assert!(matches!(&parts[0], Part::Text(text) if &**text == "a "));
    assert!(matches!(&parts[2], Part::Text(text) if &**text == "\n  c\n"));
    assert!(parsed.body.attribute("y").is_some());
}

#[test]
fn a_mistake_is_placed_and_what_stood_before_it_is_kept() {
    let parsed = parse("a = 1\nresource \"x\" \"y\" {\n  b = = 2\n}\n");
    let error = parsed.error.expect("a mistake");
    assert_eq!((error.at.line, error.at.column), (3, 7));
    assert!(error.what.starts_with("expected a value, found `=`"), "{}", error.what);
    assert!(parsed.body.attribute("a").is_some());
}

#[test]
fn deep_and_long_expressions_are_refused_and_do_not_overflow() {
    for text in [
        format!("x = {}1{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("x = {}", "[".repeat(1_000_000)),
        format!("x = 1{}", "+1".repeat(500_000)),
        format!("x = a{}", ".b".repeat(500_000)),
        format!("x = {}a", "!".repeat(500_000)),
        format!("x = {}", "\"${".repeat(200_000)),
        "a {\n".repeat(200_000),
    ] {
        let error = parse(&text).error.expect("too deep");
        assert!(error.over_limit, "{error}");
    }
}

#[test]
fn every_beginning_of_a_file_is_read_or_refused() {
    let text = "resource \"a\" \"b\" {\n  x = \"${f(1, [for k, v in m : v if k != \"q\"]...)}-%{ if a }b%{ else }c%{ endif }\"\n  \
                y = a ? b[0].c : d[*].e\n  z = <<E\n${q}\nE\n  w = { for k, v in m : k => v... }\n}\n";
    for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
        let parsed = parse(&text[..end]);
        assert_eq!(
            parsed.error.is_none(),
            end == text.len() || end == text.len() - 1 || end == 0,
            "{:?}",
            &text[..end]
        );
    }
}
