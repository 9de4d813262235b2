//! Suppressions in comments: our own, and those that people have in their files already.
//! ```yaml
//! # ringfort:ignore RF-K8S-0001,RF-K8S-0002 reason="host agent" owner=platform expires=2027-01-31
//! # checkov:skip=CKV_K8S_16: host agent
//! # kics-scan ignore-line
//! ```
//! Terraform's `//` begins a comment too, and in its JSON the key `"//"` holds one.
//!
//! A comment after something is about its line, a comment alone about the next line that is not one. `ringfort:ignore`,
//! `checkov:skip` and `ignore-block` cover the container that this line is in, outside of containers the object.

use super::{Cover, Suppressed, Waiver, Waivers};

/// More than these are not looked at: nobody has so many, and each finding is compared with those around it.
const MOST: usize = 2_000;
/// What a comment of ours begins with.
const WORDS: [&str; 3] = ["ringfort:ignore", "checkov:skip=", "kics-scan"];

pub(super) fn read(text: &str) -> Waivers {
    let mut waivers = Waivers::default();
    if !WORDS.iter().any(|word| text.contains(word)) {
        return waivers;
    }
    // From the end, so that the line after a comment is known.
    let mut next = None;
    let mut found = 0;
    for (index, line) in text.lines().collect::<Vec<_>>().into_iter().enumerate().rev() {
        let number = index as u32 + 1;
        let trimmed = line.trim();
        let is_alone = trimmed.starts_with('#') || trimmed.starts_with("//");
        if !trimmed.is_empty() && !is_alone && trimmed != "---" {
            next = Some(number);
        }
        let Some(comment) = comment_key(trimmed).or_else(|| comment(line)) else { continue };
        let about = if is_alone { next.unwrap_or(number) } else { number };
        match parse(comment.trim(), about, number) {
            None => continue,
            Some(Ok(waiver)) => waivers.all.push(waiver),
            Some(Err(problem)) => waivers.problems.push((number, problem)),
        }
        found += 1;
        if found == MOST {
            waivers.problems.push((number, format!("only the last {MOST} suppressions of a file are looked at")));
            break;
        }
    }
    waivers.problems.reverse();
    waivers.all.sort_by_key(Waiver::line);
    waivers
}

/// `"//": "checkov:skip=…"`
fn comment_key(trimmed: &str) -> Option<&str> {
    let value = trimmed.strip_prefix("\"//\"")?.trim_start().strip_prefix(':')?.trim();
    value.strip_suffix(',').unwrap_or(value).strip_prefix('"')?.strip_suffix('"')
}

/// The comment of a line: after `#` or `//` at its start or after a space, outside of quotes.
fn comment(line: &str) -> Option<&str> {
    let mut quote = None;
    let mut before = b' ';
    for (index, byte) in line.bytes().enumerate() {
        match (quote, byte) {
            (None, b'#') if before.is_ascii_whitespace() => return Some(&line[index + 1..]),
            (None, b'/') if before.is_ascii_whitespace() => {
                // Elsewhere it is text.
                let rest = line[index..].strip_prefix("//").map(str::trim_start);
                if rest.is_some_and(|rest| WORDS.iter().any(|word| rest.starts_with(word))) {
                    return rest;
                }
            }
            (None, b'"' | b'\'') if before.is_ascii_whitespace() || matches!(before, b'[' | b'{' | b',' | b':') => {
                quote = Some(byte);
            }
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        before = byte;
    }
    None
}

fn parse(comment: &str, about: u32, number: u32) -> Option<Result<Waiver, String>> {
    let source = format!("comment in line {number}");
    let plain = |ids: Vec<String>, cover, reason: &str| Waiver {
        ids,
        cover,
        said: Suppressed { reason: reason.to_owned(), owner: None, expires: None, source: source.clone() },
    };
    if let Some(rest) = comment.strip_prefix("checkov:skip=") {
        let (id, reason) = rest.split_once(':').unwrap_or((rest, ""));
        let id = id.split_whitespace().next().unwrap_or_default();
        let reason = if reason.trim().is_empty() { "no reason given" } else { reason.trim() };
        return Some(Ok(plain(vec![id.to_owned()], Cover::Around(about), reason)));
    }
    if let Some(rest) = comment.strip_prefix("kics-scan") {
        let cover = match rest.trim() {
            "ignore" => Cover::All,
            "ignore-line" => Cover::Line(about),
            "ignore-block" => Cover::Around(about),
            _ => return None,
        };
        return Some(Ok(plain(Vec::new(), cover, "kics-scan comment")));
    }
    let rest = comment.strip_prefix("ringfort:ignore")?;
    Some(own(rest, source).map(|(ids, said)| Waiver { ids, cover: Cover::Around(about), said }))
}

fn own(text: &str, source: String) -> Result<(Vec<String>, Suppressed), String> {
    let text = text.trim();
    let (ids, attributes) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let ids: Vec<_> = ids.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
    if ids.is_empty() || ids.iter().any(|id| id.contains('=')) {
        return Err("ringfort:ignore needs the ids of policies first".to_owned());
    }
    super::marks::attributes(attributes, source).map(|said| (ids, said))
}
