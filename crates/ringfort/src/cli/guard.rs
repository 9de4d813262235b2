//! What `ctl guard` shows to people (GUARD-8).

use ringfort_switch::record::UnixMillis;
use serde_json::Value;

use super::show::{items, text};
use super::table::{Table, counted, printable, seconds};
use crate::time;

/// Figures and the rules in force.
pub fn status(value: &Value) -> String {
    let number = |key: &str| value[key].as_u64().unwrap_or(0);
    let list = |key: &str| {
        let items: Vec<&str> = value[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if items.is_empty() { "none".to_owned() } else { items.join(", ") }
    };
    format!(
        "failed: {} now, {} since the start\n\
         banned: {} now, {} since the start\n\
         unproven: {} (their source may be forged: they lower its rate and never ban it)\n\
         turned away by access lists: {}\n\n\
         {} within {} ban a source for {}; who comes again is banned for longer\n\
         never banned: {}\n\
         allowed by operators: {}\n",
        counted(number("failed_now") as usize, "source"),
        counted(number("failed_total") as usize, "offence"),
        counted(number("banned_now") as usize, "source"),
        counted(number("banned_total") as usize, "ban"),
        counted(number("unproven_total") as usize, "offence"),
        counted(number("refused_acl_total") as usize, "request"),
        counted(number("offences") as usize, "offence"),
        seconds(number("within_s")),
        seconds(number("ban_for_s")),
        list("never_banned"),
        list("allowed"),
    )
}

/// The addresses that are banned.
pub fn bans(value: &Value) -> String {
    let mut table = Table::new(&["address", "since", ">left", ">times", "for"]);
    for item in items(value) {
        table.row([
            text(&item["source"]),
            time::utc(UnixMillis(item["since"].as_u64().unwrap_or(0))),
            item["left_s"].as_u64().map_or_else(|| "until lifted".to_owned(), seconds),
            text(&item["times"]),
            text(&item["cause"]),
        ]);
    }
    let mut out = table.render("Nobody is banned.");
    let (shown, total) = (items(value).count(), value["total"].as_u64().unwrap_or(0) as usize);
    if shown < total {
        out.push_str(&format!("{shown} of {total}: --limit shows more.\n"));
    }
    out
}

/// The last offences.
pub fn log(value: &Value) -> String {
    let mut table = Table::new(&["time", "address", "offence", "user", "callee", "led to"]);
    for item in items(value) {
        table.row([
            time::utc(UnixMillis(item["at"].as_u64().unwrap_or(0))),
            text(&item["source"]),
            match (text(&item["offence"]), text(&item["rule"])) {
                (offence, rule) if offence == rule => offence,
                (offence, rule) => format!("{offence} ({rule})"),
            },
            text(&item["user"]),
            text(&item["callee"]),
            text(&item["counted"]),
        ]);
    }
    table.render("No offences since the start.")
}

/// Everything that is known of an address.
pub fn why(value: &Value) -> String {
    let mut out = String::new();
    let source = text(&value["source"]);
    let ban = &value["ban"];
    if value["banned"] == true {
        let left = ban["left_s"]
            .as_u64()
            .map_or_else(|| "until it is lifted".to_owned(), |left| format!("for {}", seconds(left)));
        out.push_str(&format!(
            "{source} is banned, {left} more: {}. It is its ban number {}, since {}.\n",
            text(&ban["cause"]),
            text(&ban["times"]),
            time::utc(UnixMillis(ban["since"].as_u64().unwrap_or(0)))
        ));
    } else {
        out.push_str(&format!("{source} is not banned.\n"));
        if !ban.is_null() {
            out.push_str(&format!(
                "It was, {} so far, the last time for: {}.\n",
                counted(ban["times"].as_u64().unwrap_or(0) as usize, "time"),
                text(&ban["cause"])
            ));
        }
    }
    if let Some(exempt) = value["exempt"].as_str() {
        out.push_str(&format!("It cannot be banned: {}.\n", printable(exempt)));
    }
    let offences = value["offences"].as_array().map_or(&[][..], Vec::as_slice);
    let window = seconds(value["within_s"].as_u64().unwrap_or(0));
    out.push_str(&format!(
        "{} within the last {window}; {} would ban it.\n",
        counted(offences.len(), "offence"),
        text(&value["offences_for_ban"])
    ));
    for offence in offences {
        out.push_str(&format!("  {} ago: {}\n", seconds(offence[0].as_u64().unwrap_or(0)), text(&offence[1])));
    }
    for profile in value["closed_profiles"].as_array().into_iter().flatten() {
        out.push_str(&format!(
            "The access list of profile {} does not name it: it gets no answer there.\n",
            text(profile)
        ));
    }
    out
}

/// What a verb has changed.
pub fn changed(value: &Value, none: &str, some: &str) -> String {
    format!("{}\n", if value["changed"].as_u64() == Some(0) { none } else { some })
}
