//! Where a call would go: the targets of RFC 3263 in their order, the records that led to each, and what was asked.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use ringfort_net::dns::DnsClient;
use ringfort_sip::Uri;
use ringfort_sip::locate::{Asked, Contents, Locator, Name, NumberAddress, NumberRequest, Request, Settings, Target};
use ringfort_switch::number::without_separators;
use serde_json::Value;

use super::zone::{show_naptr, show_srv};
use super::{UNANSWERED, object};
use crate::cli::{Table, printable, seconds};
use crate::random;

/// The look-up of one address.
pub struct Report {
    pub value: Value,
    /// 0: there are targets; 1: there are none; 2: the DNS did not answer.
    pub exit_code: u8,
}

/// Locates it as a call would be.
///
/// # Errors
/// It is no SIP address.
pub fn locate(uri: &str, naptr: bool, client: &DnsClient) -> anyhow::Result<Report> {
    let text = if uri.contains(':') && has_scheme(uri) { uri.to_owned() } else { format!("sip:{uri}") };
    ensure!(
        uri.contains(['@', '.', ':']),
        "expected user@domain such as alex@example.org, or a number with its + such as +442079460148, got {uri:?}"
    );
    ensure!(text.len() <= 1_024, "expected an address of at most 1024 characters");
    let request = Uri::parse(&text).with_context(|| format!("{text:?} is no SIP address"))?;
    let request = Request::of_uri(&request).with_context(|| format!("{text:?} cannot be located"))?;
    let mut locator = Locator::new(Settings { naptr, ..Settings::default() }, random::seed()?);
    let begun = clock();
    let located = client.locate(&mut locator, request);
    let took = clock().saturating_duration_since(begun);
    let notes = located.trace.notes.iter().map(|note| Value::from(printable(&note.to_string()))).collect();
    let asked = located.trace.asked.iter().map(|asked| show_asked(asked, begun)).collect();
    let (items, complete, error, exit_code) = match &located.result {
        Ok(targets) => {
            let items = targets.left().map(|target| show_target(target, begun)).collect();
            (items, targets.complete, Value::Null, 0)
        }
        Err(error) => {
            let code = if error.is_temporary() { UNANSWERED } else { 1 };
            (Vec::new(), !error.is_temporary(), Value::from(error.to_string()), code)
        }
    };
    let value = object([
        ("uri", text.into()),
        ("items", items.into()),
        ("complete", complete.into()),
        ("error", error),
        ("asked", asked),
        ("notes", notes),
        ("took_ms", (took.as_millis() as u64).into()),
    ]);
    Ok(Report { value, exit_code })
}

/// The addresses of a number, as a route with `enum` finds them.
///
/// # Errors
/// It is no number in E.164.
pub fn number(number: &str, domain: &Name, client: &DnsClient) -> anyhow::Result<Report> {
    let bare = without_separators(number);
    let request = NumberRequest::new(&bare, domain).with_context(|| format!("{number:?} cannot be looked up"))?;
    let mut locator = Locator::new(Settings::default(), random::seed()?);
    let begun = clock();
    let resolved = client.resolve_number(&mut locator, request);
    let took = clock().saturating_duration_since(begun);
    let notes = resolved.trace.notes.iter().map(|note| Value::from(printable(&note.to_string()))).collect();
    let asked = resolved.trace.asked.iter().map(|asked| show_asked(asked, begun)).collect();
    let (items, error, exit_code) = match &resolved.result {
        Ok(found) => (found.iter().map(show_number).collect(), Value::Null, 0),
        Err(error) => (Vec::new(), Value::from(error.to_string()), if error.is_temporary() { UNANSWERED } else { 1 }),
    };
    let value = object([
        ("uri", bare.into()),
        ("items", items.into()),
        ("complete", (exit_code != UNANSWERED).into()),
        ("error", error),
        ("asked", asked),
        ("notes", notes),
        ("took_ms", (took.as_millis() as u64).into()),
    ]);
    Ok(Report { value, exit_code })
}

fn show_number(found: &NumberAddress) -> Value {
    object([
        ("address", printable(&found.uri).into()),
        ("authenticated", found.authenticated.into()),
        ("why", printable(&format!("NAPTR {}", show_naptr(&found.naptr))).into()),
    ])
}

fn has_scheme(uri: &str) -> bool {
    let scheme = uri.split(':').next().unwrap_or_default();
    ["sip", "sips", "tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

fn show_target(target: &Target, now: Instant) -> Value {
    let ttl = target.expires.map(|at| rounded(at.saturating_duration_since(now)));
    object([
        ("transport", target.transport.to_string().to_ascii_lowercase().into()),
        ("address", target.address.to_string().into()),
        ("certificate_for", target.server_name.as_deref().into()),
        ("ttl_s", ttl.into()),
        ("authenticated", target.authenticated.into()),
        ("why", printable(&target.why.to_string()).into()),
    ])
}

fn show_asked(asked: &Asked, now: Instant) -> Value {
    let list = |items: Vec<String>| Value::from(items);
    let answer = match &asked.found.contents {
        Contents::Naptr(rules) => list(rules.iter().map(|naptr| show_naptr(naptr)).collect()),
        Contents::Srv(records) => list(records.iter().map(|srv| show_srv(srv)).collect()),
        Contents::Addresses(addresses) => list(addresses.iter().map(ToString::to_string).collect()),
        Contents::Absent { no_such_name: true } => "no such name".into(),
        Contents::Absent { no_such_name: false } => "none".into(),
        Contents::Failed(failure) => failure.to_string().into(),
    };
    let aliases: Vec<String> = asked.found.aliases.iter().map(ToString::to_string).collect();
    object([
        ("name", asked.name.to_string().into()),
        ("type", asked.kind.as_str().into()),
        ("answer", answer),
        ("aliases", aliases.into()),
        ("ttl_s", rounded(asked.found.expires.saturating_duration_since(now)).into()),
        ("authenticated", asked.found.authenticated.into()),
    ])
}

/// The moment that passed since the answer came does not make 3600 s into 3599.
fn rounded(duration: Duration) -> u64 {
    (duration + Duration::from_millis(500)).as_secs()
}

/// The report as text.
pub fn words(value: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ttl = |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), seconds);
    let items = |key: &str| value[key].as_array().cloned().unwrap_or_default();
    let mut out = String::new();
    if let Some(error) = value["error"].as_str() {
        out.push_str(&format!("{}: {error}.\n", text(&value["uri"])));
    } else if items("items").iter().all(|item| item["transport"].is_null()) {
        let mut table = Table::new(&[">try", "address", "because of"]);
        for (index, item) in items("items").iter().enumerate() {
            table.row([(index + 1).to_string(), text(&item["address"]), text(&item["why"])]);
        }
        out.push_str(&table.render("No address."));
    } else {
        let mut table = Table::new(&[">try", "transport", "address", "certificate for", ">ttl", "because of"]);
        for (index, item) in items("items").iter().enumerate() {
            let name = item["certificate_for"].as_str().map_or_else(|| "-".to_owned(), str::to_owned);
            table.row([
                (index + 1).to_string(),
                text(&item["transport"]),
                text(&item["address"]),
                name,
                ttl(&item["ttl_s"]),
                text(&item["why"]),
            ]);
        }
        out.push_str(&table.render("No target."));
        if value["complete"] == false {
            out.push_str("Some answers did not come in time.\n");
        }
    }
    let mut table = Table::new(&["asked", "type", ">ttl", "answer"]);
    for asked in items("asked") {
        let mut answers = match &asked["answer"] {
            Value::Array(answers) => answers.iter().map(text).collect(),
            other => vec![text(other)],
        };
        for alias in asked["aliases"].as_array().into_iter().flatten().rev() {
            answers.insert(0, format!("alias of {}", text(alias)));
        }
        for (index, answer) in answers.into_iter().enumerate() {
            let first = index == 0;
            let cell = |value: String| if first { value } else { String::new() };
            table.row([cell(text(&asked["name"])), cell(text(&asked["type"])), cell(ttl(&asked["ttl_s"])), answer]);
        }
    }
    out.push_str(&format!("\n{}", table.render("Nothing was asked.")));
    for note in items("notes") {
        out.push_str(&format!("Note: {}.\n", text(&note)));
    }
    out
}

#[allow(clippy::disallowed_methods, reason = "the edge of the system")]
fn clock() -> Instant {
    Instant::now()
}
