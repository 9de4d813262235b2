//! Answers of the control socket as text for people.

use ringfort_store::site::DEFAULT_TENANT;
use ringfort_switch::record::UnixMillis;
use serde_json::Value;

use super::table::{Table, counted, printable, seconds};
use crate::time::utc;

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value["items"].as_array().into_iter().flatten()
}

fn time(value: &Value) -> String {
    value.as_u64().map_or_else(String::new, |millis| utc(UnixMillis(millis)))
}

pub fn status(value: &Value) -> String {
    let number = |key: &str| text(&value[key]);
    let count = |key: &str, noun: &str| counted(value[key].as_u64().unwrap_or(0) as usize, noun);
    let mut out = format!(
        "{}, revision {} of the site\n\
         {}, {}\n\
         {}, {} of them answered\n\
         {}, {}, {} on {}\n",
        if value["draining"] == true { "draining: no new calls" } else { "running" },
        number("revision"),
        count("extensions", "extension"),
        count("registrations", "registered phone"),
        count("calls", "call"),
        number("calls_answered"),
        count("transactions", "SIP transaction"),
        count("dialogs", "dialog"),
        count("media_streams", "media stream"),
        count("media_ports", "port pair"),
    );
    let refusals = value["refusals"].as_object();
    let refused: Vec<String> = refusals.into_iter().flatten().map(|(rule, count)| format!("{rule} {count}")).collect();
    if !refused.is_empty() {
        out.push_str(&format!("refused since the start, by rule: {}\n", refused.join(", ")));
    }
    out.push_str("\nlistening:\n");
    for listener in value["listeners"].as_array().into_iter().flatten() {
        let (local, told) = (text(&listener["local"]), text(&listener["advertised"]));
        let told = if local == told { String::new() } else { format!(", known as {told}") };
        let transport = text(&listener["transport"]).to_uppercase();
        out.push_str(&format!(
            "  {transport:<4} {local}{told} ({}, {})\n",
            text(&listener["profile"]),
            text(&listener["kind"])
        ));
    }
    let by_tls = value["listeners"].as_array().into_iter().flatten().any(|listener| listener["transport"] == "tls");
    if let Some(fingerprint) = value["fingerprint"].as_str().filter(|_| by_tls) {
        out.push_str(&format!("  TLS certificate, SHA-256: {fingerprint}\n"));
    }
    out.push_str("\nsince the start:\n");
    let counters = value["counters"].as_object().into_iter().flatten();
    // Offences by their kinds are for `ctl guard` and the metrics.
    for (name, count) in counters.filter(|(_, count)| count.is_u64()) {
        out.push_str(&format!("  {:>12}  {}\n", text(count), name.replace('_', " ")));
    }
    out
}

/// Which way a call would go: what was looked at, then what came of it.
pub fn route(value: &Value) -> String {
    let mut out = String::new();
    for step in value["steps"].as_array().into_iter().flatten() {
        let mark = if step["fits"] == true { "fits" } else { "no" };
        out.push_str(&format!(
            "  {mark:<4}  {}: {}\n",
            printable(&text(&step["rule"])),
            printable(&text(&step["why"]))
        ));
    }
    out.push_str(&format!("The call {}.\n", printable(&text(&value["outcome"]))));
    if let Some(canonical) = value["canonical"].as_str() {
        out.push_str(&format!("  number    {}\n", printable(canonical)));
    }
    for (index, trunk) in value["trunks"].as_array().into_iter().flatten().enumerate() {
        let state = if trunk["up"] == true { "" } else { ", which is down" };
        let number = printable(&text(&trunk["number"]));
        let cost = match (trunk["passed_over_by"].as_str(), trunk["cost_per_minute"].as_str()) {
            (Some(rule), _) => format!(", passed over: {rule}"),
            (None, Some(cost)) => format!(", {cost} {} a minute", text(&trunk["currency"])),
            (None, None) => String::new(),
        };
        let name = text(&trunk["trunk"]);
        out.push_str(&format!("  {:<8}  {name} as {number}{state}{cost}\n", format!("{}.", index + 1)));
    }
    if value["hidden"] == true {
        out.push_str("  caller    hidden\n");
    }
    if let Some(rule) = value["refused_by"].as_str() {
        out.push_str(&format!("  rule      {rule}\n"));
    }
    out
}

/// Trunks, routes, inbound routes or aliases, as they stand in a site file.
pub fn lines(kind: &str, value: &Value) -> String {
    let mut out = String::new();
    for item in items(value) {
        out.push_str(&format!("{kind} {}\n", printable(&text(&item["name"]))));
        for (key, value) in item.as_object().into_iter().flatten().filter(|(key, _)| *key != "name") {
            let shown = match value {
                Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
                other => text(other),
            };
            let is_default = key == "tenant" && shown == "default";
            if !shown.is_empty() && !is_default {
                out.push_str(&format!("  {key} = {}\n", printable(&shown)));
            }
        }
    }
    if out.is_empty() { format!("No {kind}.\n") } else { out }
}

/// What belongs to a tenant, as operators name it: `TENANT/NUMBER`, but of the first one without a tenant.
fn owned(item: &Value, key: &str) -> String {
    match item["tenant"].as_str() {
        Some(tenant) if tenant != DEFAULT_TENANT => format!("{tenant}/{}", text(&item[key])),
        _ => text(&item[key]),
    }
}

pub fn registrations(value: &Value) -> String {
    let mut table = Table::new(&["number", "source", "transport", ">expires", "phone", "contact"]);
    for item in items(value) {
        table.row([
            owned(item, "number"),
            text(&item["source"]),
            text(&item["transport"]),
            seconds(item["expires_in_s"].as_u64().unwrap_or(0)),
            text(&item["user_agent"]),
            text(&item["contact"]),
        ]);
    }
    table.render("No phone is registered.")
}

pub fn trunks(value: &Value) -> String {
    let mut table = Table::new(&["trunk", "kind", "state", ">since", "target", ">calls", ">in", ">out", "last error"]);
    for item in items(value) {
        let mut state = text(&item["state"]);
        if let Some(left) = item["registered_for_s"].as_u64() {
            state.push_str(&format!(", {} left", seconds(left)));
        } else if let Some(next) = item["next_try_s"].as_u64() {
            state.push_str(&format!(", again in {}", seconds(next)));
        }
        let error = match (item["last_error"].as_str(), item["last_error_ago_s"].as_u64()) {
            (Some(words), Some(ago)) => format!("{} ago: {words}", seconds(ago)),
            _ => String::new(),
        };
        let target = item["target"].as_str().or(item["server"].as_str()).unwrap_or_default().to_owned();
        table.row([
            text(&item["name"]),
            text(&item["kind"]),
            state,
            seconds(item["since_s"].as_u64().unwrap_or(0)),
            target,
            format!("{}/{}", text(&item["calls"]), text(&item["max_calls"])),
            text(&item["calls_in"]),
            text(&item["calls_out"]),
            error,
        ]);
    }
    table.render("There is no trunk.")
}

/// A test of a trunk, step by step.
pub fn trunk_test(value: &Value) -> String {
    let mut out = String::new();
    for step in value["steps"].as_array().into_iter().flatten() {
        out.push_str(&format!("  {}\n", printable(&text(step))));
    }
    let verdict = match (value["done"] == true, value["passed"] == true) {
        (true, true) => "passed",
        (true, false) => "failed",
        (false, _) => "not ended",
    };
    out.push_str(&format!("Test of trunk {}: {verdict}.\n", printable(&text(&value["trunk"]))));
    out
}

pub fn calls(value: &Value) -> String {
    let mut table = Table::new(&[">call", "from", "to", "state", ">time", ">legs", "media"]);
    for item in items(value) {
        let media: Vec<String> = item["srtp"].as_array().into_iter().flatten().map(text).collect();
        table.row([
            text(&item["call"]),
            owned(item, "from"),
            text(&item["to"]),
            text(&item["state"]),
            seconds(item["seconds"].as_u64().unwrap_or(0)),
            text(&item["legs"]),
            media.join(" / "),
        ]);
    }
    table.render("No calls.")
}

pub fn cdr(value: &Value) -> String {
    let mut table = Table::new(&[
        ">call",
        "started (utc)",
        "from",
        "to",
        ">talked",
        ">cost",
        ">status",
        "end",
        "trunk",
        "mos",
        "reason",
    ]);
    for item in items(value) {
        let trunks = &item["trunks"];
        let by = [&trunks["from"], &trunks["to"]].into_iter().filter_map(Value::as_str).collect::<Vec<_>>().join("→");
        let mos: Vec<String> = item["quality"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|direction| direction["mos"].as_f64().map(|mos| format!("{mos:.1}")))
            .collect();
        table.row([
            text(&item["call"]),
            time(&item["started"]),
            text(&item["caller"]),
            text(&item["callee"]),
            seconds(item["talk_ms"].as_u64().unwrap_or(0) / 1000),
            item["cost"].as_str().map_or_else(String::new, |cost| format!("{cost} {}", text(&item["currency"]))),
            text(&item["status"]),
            text(&item["cause"]),
            by,
            mos.join("/"),
            text(&item["reason"]),
        ]);
    }
    table.render("No call records.")
}

/// Price lists of trunks.
pub fn rates(value: &Value) -> String {
    let mut table = Table::new(&["trunk", "currency", ">prefixes", ">cheapest minute", ">dearest minute"]);
    for item in items(value) {
        table.row(["trunk", "currency", "prefixes", "cheapest", "dearest"].map(|key| text(&item[key])));
    }
    table.render("There is no trunk.")
}

/// What was spent, and what is left.
pub fn spending(value: &Value) -> String {
    let heads = [
        "account",
        "currency",
        ">today",
        ">of",
        ">left",
        ">this month",
        ">of",
        ">left",
        ">reserved",
        ">calls",
        ">a call",
    ];
    let mut table = Table::new(&heads);
    let keys = [
        "account",
        "currency",
        "spent_today",
        "limit_per_day",
        "left_today",
        "spent_this_month",
        "limit_per_month",
        "left_this_month",
        "reserved",
        "calls",
        "limit_per_call",
    ];
    for item in items(value) {
        table.row(keys.map(|key| text(&item[key])));
    }
    let mut out = table.render("Nothing was spent, and nothing has a limit.");
    let counts = &value["counts"];
    let refused: u64 =
        counts["refused"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
    let count = |key: &str| counts[key].as_u64().unwrap_or(0);
    let (warned, ended) = (count("warned"), count("ended"));
    if refused + warned + ended > 0 {
        out.push_str(&format!(
            "Since the start: {} refused, {warned} warned, {ended} ended.\n",
            counted(usize::try_from(refused).unwrap_or(usize::MAX), "call")
        ));
    }
    out
}

/// What a call to a number costs by each trunk.
pub fn costs(value: &Value) -> String {
    let heads = [
        "trunk",
        "number",
        "prefix",
        "currency",
        ">per minute",
        ">connection",
        ">first",
        ">step",
        ">1 min",
        ">3 min",
        ">10 min",
    ];
    let mut table = Table::new(&heads);
    for item in items(value) {
        let rate = &item["rate"];
        let seconds = |key: &str| rate[key].as_u64().map_or_else(String::new, |s| format!("{s}s"));
        table.row([
            text(&item["trunk"]),
            text(&item["number"]),
            rate["prefix"].as_str().unwrap_or("no rate").to_owned(),
            text(&item["currency"]),
            text(&rate["per_minute"]),
            text(&rate["connection"]),
            seconds("first_s"),
            seconds("step_s"),
            text(&item["cost_1m"]),
            text(&item["cost_3m"]),
            text(&item["cost_10m"]),
        ]);
    }
    table.render("There is no trunk.")
}

pub fn extensions(value: &Value) -> String {
    let mut table = Table::new(&["number", "name", "sip user", "srtp", ">calls", ">phones", "enabled"]);
    for item in items(value) {
        table.row([
            owned(item, "number"),
            text(&item["name"]),
            text(&item["sip_user"]),
            text(&item["srtp"]),
            text(&item["max_calls"]),
            text(&item["max_contacts"]),
            if item["enabled"] == true { "yes".to_owned() } else { "no".to_owned() },
        ]);
    }
    table.render("No extensions. `ringfort ctl extension add 101` makes one.")
}

/// One extension, with what a phone wants to be told.
pub fn extension(value: &Value) -> String {
    let name = match text(&value["name"]) {
        name if name.is_empty() => name,
        name => format!(" ({name})"),
    };
    let mut out = format!("Extension {}{name}\n", text(&value["number"]));
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            out.push_str(&format!("  {name:<12} {value}\n"));
        }
    };
    line("user", text(&value["sip_user"]));
    line(
        "password",
        match &value["sip_password"] {
            Value::String(password) => password.clone(),
            _ => "*** (--secrets shows it)".to_owned(),
        },
    );
    line("srtp", text(&value["srtp"]));
    line("calls", format!("{} at once", text(&value["max_calls"])));
    line("phones", format!("{} at once", text(&value["max_contacts"])));
    if value["enabled"] == false {
        line("disabled", "nobody can log in or reach it".to_owned());
    }
    out
}

pub fn revisions(value: &Value) -> String {
    let mut table = Table::new(&[">revision", "made (utc)", "by", ">new", ">changed", ">deleted", "what"]);
    for item in items(value) {
        table.row([
            text(&item["revision"]),
            time(&item["at"]),
            text(&item["author"]),
            text(&item["created"]),
            text(&item["changed"]),
            text(&item["deleted"]),
            text(&item["comment"]),
        ]);
    }
    table.render("No revisions: nothing was changed yet.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn brackets_stand_around_a_name_only() {
        assert!(extension(&json!({ "number": "102", "name": "" })).starts_with("Extension 102\n"));
        assert!(extension(&json!({ "number": "101", "name": "Hall" })).starts_with("Extension 101 (Hall)\n"));
    }

    #[test]
    fn one_phone_is_not_called_phones() {
        let one = status(&json!({ "extensions": 2, "registrations": 1, "calls": 1, "calls_answered": 1 }));
        assert!(one.contains("\n2 extensions, 1 registered phone\n1 call, 1 of them answered\n0 SIP trans"), "{one}");
    }
}
