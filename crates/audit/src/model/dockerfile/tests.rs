use crate::model::{Document, Limits, Mark, ModelError, NodeId, Syntax, read};

fn parse(text: &str) -> Result<Document, ModelError> {
    let mut found = None;
    read(text, Syntax::Dockerfile, &Limits::default(), &mut |document| found = Some(document))?;
    Ok(found.expect("one document"))
}

fn stages(document: &Document) -> Vec<serde_json::Value> {
    let root = document.root().expect("a mapping");
    document.to_json(root)["stages"].as_array().expect("a list").clone()
}

#[test]
fn stages_know_their_image_name_and_the_user_that_they_end_with() {
    let text = "ARG VERSION=3.22\nARG NONE\nFROM alpine:${VERSION} AS Build\nUSER app:app\n\nFROM --platform=linux/arm64 build\n\
                HEALTHCHECK CMD true\nFROM \"x\"\nFROM r.io/${NONE}:${TAG:-1}\n";
    let document = parse(text).expect("it is one");
    let stages = stages(&document);
    assert_eq!((stages[0]["image"].as_str(), stages[0]["name"].as_str()), (Some("alpine:3.22"), Some("build")));
    assert_eq!((stages[1]["user"].as_str(), stages[1]["from-stage"].as_bool()), (Some("app"), Some(true)));
    assert_eq!((stages[1]["platform"].as_str(), stages[1]["healthcheck"].as_bool()), (Some("linux/arm64"), Some(true)));
    assert_eq!(stages[3]["image"], "r.io/${NONE}:1");
    assert_eq!((stages[0].get("final"), stages[3]["final"].as_bool()), (None, Some(true)));
}

fn place(document: &Document, keys: &[&str], command: usize) -> Mark {
    let mut node: NodeId = document.root().expect("a mapping");
    for key in keys {
        node = match key.parse::<usize>() {
            Ok(index) => document.items(node)[index],
            Err(_) => document.get(node, key).expect("the key"),
        };
    }
    document.at(document.items(document.get(node, "commands").expect("commands"))[command])
}

#[test]
fn commands_keep_their_place_over_continued_lines_comments_and_in_heredocs() {
    let text = "FROM a\r\nRUN apt-get update && \\\r\n# between\r\n    apt-get install b\r\nRUN <<EOF\r\nset -e\r\n  sudo make\r\nEOF\r\nCMD [\"sh\", \"-c\", \"x | sh\"]\r\n";
    let document = parse(text).expect("it is one");
    let run = ["stages", "0", "instructions", "1"];
    assert_eq!(place(&document, &run, 0), Mark { line: 2, column: 5 });
    assert_eq!(place(&document, &run, 1), Mark { line: 4, column: 5 });
    let heredoc = ["stages", "0", "instructions", "2"];
    assert_eq!(place(&document, &heredoc, 1), Mark { line: 7, column: 3 });
    let cmd = &stages(&document)[0]["instructions"][3];
    assert_eq!(cmd["commands"][1]["input"], "x");
}

#[test]
fn variables_are_read_in_both_forms() {
    let document = parse("FROM a\nENV A=1 B=\"2 3\"\nENV C d e\nARG F\n").expect("it is one");
    let stage = &stages(&document)[0];
    let of = |index: usize| stage["instructions"][index]["variables"].to_string();
    assert_eq!(of(1), r#"[{"name":"A","value":"1"},{"name":"B","value":"2 3"}]"#);
    assert_eq!(of(2), r#"[{"name":"C","value":"d e"}]"#);
    assert_eq!(of(3), r#"[{"name":"F","value":""}]"#);
}

#[test]
fn the_escape_character_can_be_another() {
    let document = parse("# escape=`\nFROM a\nRUN dir c:\\ `\n && x\n").expect("it is one");
    assert_eq!(stages(&document)[0]["instructions"][1]["commands"][1]["program"], "x");
}

#[test]
fn what_is_no_dockerfile_is_refused_with_its_place() {
    for (text, line, word) in [
        ("FROM a\nRUNN b\n", 2, "RUNN"),
        ("RUN a\nFROM b\n", 1, "before the first"),
        ("# only\n", 1, "FROM"),
        ("FROM a\nRUN <<EOF\nx\n", 2, "EOF"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.at.line == line && error.what.contains(word), "{text}: {error}");
    }
}
