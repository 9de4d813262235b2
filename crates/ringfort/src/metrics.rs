//! `/metrics` in the Prometheus text format, and `/healthz`.

use std::fmt::Write as _;
use std::time::Instant;

use ringfort_guard::Offence;
use ringfort_net::enforce::{EnforceHandle, EnforceStats};
use ringfort_net::{Handle, MediaStats, NetStats};
use ringfort_switch::io::{Command, CommandReply, Counters, SpendingCounts, SpendingItem, Status, TrunkItem};

use crate::http::Page;

const NET_GAUGES: [&str; 3] = ["connections", "strangers", "media_backlog"];
const MEDIA_GAUGES: [&str; 2] = ["sockets", "streams"];

/// The pages of the HTTP port.
pub fn page(handle: &Handle, started: Instant, enforcer: Option<&EnforceHandle>, path: &str) -> Option<Page> {
    match path {
        "/metrics" => {
            let status = match handle.command(Command::Status) {
                Ok(CommandReply::Status(status)) => status,
                Ok(_) | Err(_) => return Some(Page::text(503, "the switch does not answer\n")),
            };
            #[allow(clippy::disallowed_methods, reason = "the edge of the system")]
            let uptime = Instant::now().duration_since(started).as_secs_f64();
            let mut body = text(&status, &handle.stats(), &handle.media_stats(), uptime, memory());
            media_drops(&mut body, &handle.media_drops());
            if let Ok(CommandReply::Trunks { items }) = handle.command(Command::Trunks { name: None }) {
                trunks(&mut body, &items);
            }
            let asked = Command::Spending { account: None, extensions: false };
            if let Ok(CommandReply::Spending { items, counts }) = handle.command(asked) {
                spending(&mut body, &items, &counts);
            }
            kernel_bans(&mut body, enforcer.map(EnforceHandle::stats));
            Some(Page { status: 200, content_type: "text/plain; version=0.0.4; charset=utf-8", body })
        }
        "/healthz" => Some(match handle.command(Command::Status) {
            Ok(CommandReply::Status(status)) if status.draining => Page::text(503, "draining\n"),
            Ok(_) => Page::text(200, "ok\n"),
            Err(error) => Page::text(503, format!("{error}\n")),
        }),
        _ => None,
    }
}

/// Resident octets of this process, where the system tells.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn text(status: &Status, net: &NetStats, media: &MediaStats, uptime: f64, memory: Option<u64>) -> String {
    let mut out = String::with_capacity(8192);
    let mut metric = |name: &str, kind: &str, help: &str, value: &dyn std::fmt::Display| {
        let _ = write!(out, "# HELP ringfort_{name} {help}\n# TYPE ringfort_{name} {kind}\nringfort_{name} {value}\n");
    };
    metric("up_seconds", "gauge", "Seconds since the start.", &uptime);
    if let Some(memory) = memory {
        metric("resident_bytes", "gauge", "Memory of the process.", &memory);
    }
    for (name, help, value) in [
        ("site_revision", "Revision of the site in force.", status.revision),
        ("draining", "1 while no new calls are taken.", u64::from(status.draining)),
        ("extensions", "Extensions of the site.", status.extensions as u64),
        ("registrations", "Registered contacts.", status.registrations as u64),
        ("calls", "Calls that run.", status.calls as u64),
        ("blacklist_entries", "Entries of all blacklists.", status.blacklist_entries as u64),
        ("voicemail_messages", "Messages in all mailboxes.", status.voicemail_messages as u64),
        ("announcing", "Calls in which the system itself speaks.", status.announcements as u64),
        ("calls_talking", "Calls that run and are answered.", status.calls_answered as u64),
        ("sip_transactions", "SIP transactions.", status.transactions as u64),
        ("sip_dialogs", "SIP dialogs.", status.dialogs as u64),
        ("media_ports", "UDP port pairs in use.", status.media_ports as u64),
    ] {
        metric(name, "gauge", help, &value);
    }
    for (name, help, value) in counters(&status.counters) {
        metric(&format!("{name}_total"), "counter", help, &value);
    }
    let _ = writeln!(
        out,
        "# HELP ringfort_refusals_total Calls and registrations that were refused, by the rule that did."
    );
    let _ = writeln!(out, "# TYPE ringfort_refusals_total counter");
    for (rule, value) in &status.refusals {
        let _ = writeln!(out, "ringfort_refusals_total{{rule=\"{}\"}} {value}", label(rule));
    }
    let _ = writeln!(out, "# HELP ringfort_offences_total Offences of proven sources, by what they are.");
    let _ = writeln!(out, "# TYPE ringfort_offences_total counter");
    for (offence, value) in Offence::ALL.iter().zip(status.counters.offences) {
        let _ = writeln!(out, "ringfort_offences_total{{offence=\"{}\"}} {value}", offence.name());
    }
    let mut metric = |name: &str, kind: &str, help: &str, value: &dyn std::fmt::Display| {
        let _ = write!(out, "# HELP ringfort_{name} {help}\n# TYPE ringfort_{name} {kind}\nringfort_{name} {value}\n");
    };
    for (name, value) in net.items() {
        if NET_GAUGES.contains(&name) {
            metric(&format!("net_{name}"), "gauge", "Signalling sockets.", &value);
        } else {
            metric(&format!("net_{name}_total"), "counter", "Signalling sockets.", &value);
        }
    }
    for (name, value) in media.items() {
        if MEDIA_GAUGES.contains(&name) {
            metric(&format!("media_{name}"), "gauge", "Media sockets.", &value);
        } else {
            metric(&format!("media_{name}_total"), "counter", "Media sockets.", &value);
        }
    }
    let _ = writeln!(out, "# HELP ringfort_build_info Version.\n# TYPE ringfort_build_info gauge");
    let _ = writeln!(out, "ringfort_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    out
}

/// Media packets that failed a check, by the check.
fn media_drops(out: &mut String, drops: &[(&'static str, u64)]) {
    out.push_str("# HELP ringfort_media_drops_total Media packets that failed a check, by the check (CALL-5).\n");
    out.push_str("# TYPE ringfort_media_drops_total counter\n");
    for (reason, value) in drops {
        let _ = writeln!(out, "ringfort_media_drops_total{{reason=\"{reason}\"}} {value}");
    }
}

/// A metric and how it is read off a trunk.
type TrunkMetric = (&'static str, &'static str, &'static str, fn(&TrunkItem) -> u64);

fn trunks(out: &mut String, items: &[TrunkItem]) {
    const METRICS: [TrunkMetric; 6] = [
        ("trunk_up", "gauge", "1 where calls are given to it.", |t| u64::from(t.up)),
        ("trunk_registered_seconds", "gauge", "Until its registration ends; 0 without one.", |t| {
            t.registered_for_s.unwrap_or(0)
        }),
        ("trunk_calls", "gauge", "Calls on it.", |t| u64::from(t.calls)),
        ("trunk_calls_in_total", "counter", "Calls that came by it.", |t| t.calls_in),
        ("trunk_calls_out_total", "counter", "Calls that it was tried for.", |t| t.calls_out),
        (
            "trunk_failures_total",
            "counter",
            "Registrations, checks and calls that came to nothing by its doing.",
            |t| t.failures,
        ),
    ];
    for (name, kind, help, value) in METRICS.iter().filter(|_| !items.is_empty()) {
        let _ = writeln!(out, "# HELP ringfort_{name} {help}\n# TYPE ringfort_{name} {kind}");
        for item in items {
            let (trunk, tenant) = (label(&item.name), label(&item.tenant));
            let _ = writeln!(out, "ringfort_{name}{{trunk=\"{trunk}\",tenant=\"{tenant}\"}} {}", value(item));
        }
    }
}

/// `None`: bans are not in the kernel.
fn kernel_bans(out: &mut String, stats: Option<EnforceStats>) {
    let mut metric = |name: &str, kind: &str, help: &str, value: u64| {
        let _ = write!(out, "# HELP ringfort_{name} {help}\n# TYPE ringfort_{name} {kind}\nringfort_{name} {value}\n");
    };
    metric("kernel_bans_active", "gauge", "1 where bans are in the kernel too.", u64::from(stats.is_some()));
    let Some(stats) = stats else { return };
    for (name, value) in stats.items() {
        match name {
            "elements" => metric("kernel_bans", "gauge", "Sources that the kernel drops.", value),
            name => metric(&format!("kernel_bans_{name}_total"), "counter", "Bans in the kernel.", value),
        }
    }
}

/// A metric and how it is read off an account; `None`: the account has none.
type SpendingMetric = (&'static str, &'static str, fn(&SpendingItem) -> Option<&String>);

fn spending(out: &mut String, items: &[SpendingItem], counts: &SpendingCounts) {
    const METRICS: [SpendingMetric; 7] = [
        ("spending_today", "Spent today by the tenant's calendar.", |i| Some(&i.spent_today)),
        ("spending_month", "Spent this month.", |i| Some(&i.spent_this_month)),
        ("spending_reserved", "Set aside for calls that may be answered.", |i| Some(&i.reserved)),
        ("spending_limit_day", "What may be spent in a day.", |i| i.limit_per_day.as_ref()),
        ("spending_limit_month", "What may be spent in a month.", |i| i.limit_per_month.as_ref()),
        ("spending_left_day", "Left today beside what is reserved.", |i| i.left_today.as_ref()),
        ("spending_left_month", "Left this month beside what is reserved.", |i| i.left_this_month.as_ref()),
    ];
    for (name, help, value) in METRICS {
        let mut lines = items.iter().filter_map(|item| Some((item, value(item)?))).peekable();
        if lines.peek().is_none() {
            continue;
        }
        let _ = writeln!(out, "# HELP ringfort_{name} {help}\n# TYPE ringfort_{name} gauge");
        for (item, value) in lines {
            let (account, tenant) = (label(&item.account), label(&item.tenant));
            let currency = label(item.currency.as_deref().unwrap_or_default());
            let labels = format!("account=\"{account}\",tenant=\"{tenant}\",currency=\"{currency}\"");
            let _ = writeln!(out, "ringfort_{name}{{{labels}}} {value}");
        }
    }
    let name = "spending_refused_total";
    let _ = writeln!(out, "# HELP ringfort_{name} Calls that a limit refused.\n# TYPE ringfort_{name} counter");
    for rule in ["spending.call", "spending.day", "spending.month", "spending.unrated"] {
        let count = counts.refused.get(rule).copied().unwrap_or(0);
        let _ = writeln!(out, "ringfort_{name}{{rule=\"{rule}\"}} {count}");
    }
    for (name, help, count) in [
        ("spending_ended_total", "Calls that were ended as their money was gone.", counts.ended),
        ("spending_warned_total", "Calls that were warned of it.", counts.warned),
    ] {
        let _ = writeln!(out, "# HELP ringfort_{name} {help}\n# TYPE ringfort_{name} counter\nringfort_{name} {count}");
    }
}

/// A label's value, escaped as the format wants it.
fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn counters(counters: &Counters) -> [(&'static str, &'static str, u64); 30] {
    let Counters {
        requests,
        responses,
        malformed,
        challenges,
        auth_failures,
        registrations_accepted,
        registrations_refused,
        calls_attempted,
        calls_answered,
        calls_refused,
        calls_failed,
        messages,
        sip_retransmissions,
        sip_loops,
        sip_refused_full,
        sip_unknown_dialogs,
        offences: _,
        offences_unproven,
        bans,
        refused_acl,
        guest_calls,
        guest_calls_wrong,
        announcements,
        announcements_full,
        calls_blacklisted,
        voicemail_calls,
        voicemail_kept,
        voicemail_short,
        voicemail_failed,
        voicemail_full,
        voicemail_played,
    } = *counters;
    [
        ("requests", "SIP requests received.", requests),
        ("responses", "SIP responses received.", responses),
        ("malformed", "Messages that could not be read.", malformed),
        ("sip_retransmissions", "Requests that came again.", sip_retransmissions),
        ("sip_loops", "Requests refused with 482, 483 or 440.", sip_loops),
        ("sip_refused_full", "Requests refused with 503 because the system is full.", sip_refused_full),
        ("sip_unknown_dialogs", "Requests for dialogs that there are not.", sip_unknown_dialogs),
        ("challenges", "Digest challenges sent.", challenges),
        ("auth_failures", "Wrong credentials.", auth_failures),
        ("registrations_accepted", "REGISTER requests answered 200.", registrations_accepted),
        ("registrations_refused", "REGISTER requests refused.", registrations_refused),
        ("calls_attempted", "Calls that began.", calls_attempted),
        ("calls_answered", "Calls that were answered.", calls_answered),
        ("calls_refused", "Calls that a rule refused.", calls_refused),
        ("calls_failed", "Calls that ended without an answer for other reasons.", calls_failed),
        ("messages", "MESSAGE requests forwarded.", messages),
        (
            "offences_unproven",
            "Offences whose source may be forged: they lower its rate and never ban.",
            offences_unproven,
        ),
        ("bans", "Bans made, operators' included.", bans),
        ("refused_acl", "Requests to a profile whose access list does not name their source.", refused_acl),
        ("guest_calls", "Calls of strangers to published names.", guest_calls),
        ("guest_calls_wrong", "Calls of strangers to anything else.", guest_calls_wrong),
        ("announcements", "Calls that the system itself spoke in.", announcements),
        (
            "announcements_full",
            "Calls refused plainly because too many were told something already.",
            announcements_full,
        ),
        ("calls_blacklisted", "Calls of trunks whose caller is on a blacklist.", calls_blacklisted),
        ("voicemail_calls", "Calls in which a message could be left.", voicemail_calls),
        ("voicemail_kept", "Messages that were kept.", voicemail_kept),
        ("voicemail_short", "Messages with less than a second in them, which are thrown away.", voicemail_short),
        ("voicemail_failed", "Messages that could not be kept.", voicemail_failed),
        ("voicemail_full", "Callers for whose message there was no room.", voicemail_full),
        ("voicemail_played", "Messages that phones have heard to their end.", voicemail_played),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trunk_has_its_figures_under_its_name() {
        let item = TrunkItem {
            name: "ac\"me".into(),
            tenant: "main".into(),
            kind: "register".into(),
            state: ringfort_switch::io::TrunkState::Registered,
            up: true,
            since_s: 1,
            registered_for_s: Some(280),
            server: "sip:sip.acme.example".into(),
            target: None,
            calls: 2,
            max_calls: 30,
            calls_in: 3,
            calls_out: 4,
            failures: 5,
            last_error: None,
            last_error_ago_s: None,
            next_try_s: None,
        };
        let mut out = String::new();
        trunks(&mut out, &[item]);
        for line in
            ["ringfort_trunk_up{trunk=\"ac\\\"me\",tenant=\"main\"} 1", "# TYPE ringfort_trunk_calls_in_total counter"]
        {
            assert!(out.lines().any(|l| l == line), "{line} in {out}");
        }
        assert!(out.contains("trunk_registered_seconds{trunk=\"ac\\\"me\",tenant=\"main\"} 280\n"));
        let mut none = String::new();
        trunks(&mut none, &[]);
        assert!(none.is_empty());
    }

    #[test]
    fn bans_in_the_kernel_are_counted_and_their_absence_is_told() {
        let mut out = String::new();
        kernel_bans(&mut out, None);
        assert!(out.ends_with("\nringfort_kernel_bans_active 0\n"), "{out}");
        let mut out = String::new();
        kernel_bans(&mut out, Some(EnforceStats { elements: 7, failures: 2, ..EnforceStats::default() }));
        for line in ["ringfort_kernel_bans 7", "ringfort_kernel_bans_failures_total 2", "ringfort_kernel_bans_active 1"]
        {
            assert!(out.lines().any(|l| l == line), "{line} in {out}");
        }
    }

    #[test]
    fn spending_has_its_figures_by_account_and_by_rule() {
        let item = SpendingItem {
            account: "trunk:acme".into(),
            tenant: "default".into(),
            currency: Some("EUR".into()),
            day: "2026-11-27".into(),
            spent_today: "1.25".into(),
            spent_this_month: "7.00".into(),
            reserved: "0.00".into(),
            calls: 1,
            limit_per_call: None,
            limit_per_day: Some("10.00".into()),
            limit_per_month: None,
            left_today: Some("8.75".into()),
            left_this_month: None,
        };
        let mut counts = SpendingCounts { ended: 2, ..SpendingCounts::default() };
        counts.refused.insert("spending.day".into(), 3);
        let mut out = String::new();
        spending(&mut out, &[item], &counts);
        let labels = "account=\"trunk:acme\",tenant=\"default\",currency=\"EUR\"";
        for line in [
            format!("ringfort_spending_today{{{labels}}} 1.25"),
            format!("ringfort_spending_left_day{{{labels}}} 8.75"),
            "ringfort_spending_refused_total{rule=\"spending.day\"} 3".to_owned(),
            "ringfort_spending_refused_total{rule=\"spending.call\"} 0".to_owned(),
            "ringfort_spending_ended_total 2".to_owned(),
        ] {
            assert!(out.lines().any(|l| l == line), "{line} in {out}");
        }
        assert!(!out.contains("limit_month"), "{out}");
    }

    #[test]
    fn every_metric_has_help_and_type_and_no_name_comes_twice() {
        let text = text(&Status::default(), &NetStats::default(), &MediaStats::default(), 1.5, Some(1));
        let mut names = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split([' ', '{']).next().unwrap();
            assert!(text.contains(&format!("# TYPE {name} ")) && text.contains(&format!("# HELP {name} ")), "{name}");
            let series = line.rsplit_once(' ').unwrap().0;
            assert!(!names.contains(&series), "{series} comes twice");
            names.push(series);
        }
        assert!(text.contains("\nringfort_calls_answered_total 0\n") && text.contains("\nringfort_calls_talking 0\n"));
    }
}
