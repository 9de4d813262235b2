//! What nft is told, as text: our own table, and changes of the sets in it. Pure. An IPv6 source is its /64: the set holds
//! the network's address and the rule cuts the packet's to it, which needs no set of ranges (those are read back whole for
//! every change). `ringfort firewall` prints the same table.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ringfort_guard::{Cidr, SourceKey, Until};

/// The table that is ours alone.
pub const TABLE: &str = "inet ringfort";
/// The chain in it.
pub const CHAIN: &str = "bans";

/// Elements of one transaction: far below what the kernel takes in one message to its packet filter.
pub(super) const CHUNK: usize = 8192;

/// The whole table: made where it is missing, its rules written anew, its elements and counters left as they are. What
/// `ringfort firewall` prints.
pub fn table() -> String {
    let mut text = format!(
        "table {TABLE} {{\n\
         \tcounter dropped4 {{ }}\n\
         \tcounter dropped6 {{ }}\n\
         \tset banned4 {{\n\t\ttype ipv4_addr\n\t\tflags timeout\n\t}}\n\
         \tset banned6 {{\n\t\ttype ipv6_addr\n\t\tflags timeout\n\t}}\n\
         \tset free4 {{\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\tauto-merge\n\t}}\n\
         \tset free6 {{\n\t\ttype ipv6_addr\n\t\tflags interval\n\t\tauto-merge\n\t}}\n\
         \tchain {CHAIN} {{\n\t\ttype filter hook input priority -300; policy accept;\n\t}}\n\
         }}\n\
         flush chain {TABLE} {CHAIN}\n"
    );
    for rule in [
        "iif \"lo\" accept",
        // Neighbours of the same cable may be one banned network: without these messages nobody there would be found.
        "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } \
         ip6 hoplimit 255 accept",
        "ip saddr @free4 accept",
        "ip6 saddr @free6 accept",
        "ip saddr @banned4 counter name dropped4 drop",
        "ip6 saddr & ffff:ffff:ffff:ffff:: @banned6 counter name dropped6 drop",
    ] {
        let _ = writeln!(text, "add rule {TABLE} {CHAIN} {rule}");
    }
    text
}

/// What is never dropped, in a table that is new.
pub(super) fn free(ranges: &[Cidr]) -> String {
    let mut text = String::new();
    for (set, v4) in [("free4", true), ("free6", false)] {
        let list: Vec<String> = ranges.iter().filter(|range| range.is_ipv4() == v4).map(ToString::to_string).collect();
        if !list.is_empty() {
            let _ = writeln!(text, "add element {TABLE} {set} {{ {} }}", list.join(", "));
        }
    }
    text
}

/// The table is taken away, whether it is there or not.
pub fn remove() -> String {
    format!("add table {TABLE}\ndelete table {TABLE}\n")
}

/// What becomes of these sources: banned until then, or free (`None`, and where the time has come). One transaction.
/// An element's time cannot be changed on every kernel, so that it is taken out and put in; the first line makes sure that
/// there is something to take out.
pub(super) fn changes<'a>(now: Instant, sources: impl Iterator<Item = (&'a SourceKey, &'a Option<Until>)>) -> String {
    let (mut named4, mut named6, mut banned4, mut banned6) = (vec![], vec![], vec![], vec![]);
    for (source, until) in sources {
        let address = address(*source);
        let (named, banned) = match source {
            SourceKey::V4(_) => (&mut named4, &mut banned4),
            SourceKey::V6(_) => (&mut named6, &mut banned6),
        };
        banned.extend(until.and_then(|until| element(now, &address, until)));
        named.push(address);
    }
    let mut text = String::new();
    for (set, named, banned) in [("banned4", named4, banned4), ("banned6", named6, banned6)] {
        if !named.is_empty() {
            let named = named.join(", ");
            let _ = writeln!(text, "add element {TABLE} {set} {{ {named} }}");
            let _ = writeln!(text, "delete element {TABLE} {set} {{ {named} }}");
        }
        if !banned.is_empty() {
            let _ = writeln!(text, "add element {TABLE} {set} {{ {} }}", banned.join(", "));
        }
    }
    text
}

/// Bans that are put into an empty table; nothing where all of them have run out.
pub(super) fn elements(now: Instant, bans: &[(SourceKey, Until)]) -> String {
    let mut text = String::new();
    for (set, v4) in [("banned4", true), ("banned6", false)] {
        let family = bans.iter().filter(|(source, _)| matches!(source, SourceKey::V4(_)) == v4);
        let list: Vec<String> = family.filter_map(|(source, until)| element(now, &address(*source), *until)).collect();
        if !list.is_empty() {
            let _ = writeln!(text, "add element {TABLE} {set} {{ {} }}", list.join(", "));
        }
    }
    text
}

fn address(source: SourceKey) -> String {
    match source {
        SourceKey::V4(bits) => Ipv4Addr::from_bits(bits).to_string(),
        SourceKey::V6(prefix) => Ipv6Addr::from_bits(u128::from(prefix) << 64).to_string(),
    }
}

/// With the time that is left, cut to milliseconds: the kernel never holds a ban for longer than we do.
fn element(now: Instant, address: &str, until: Until) -> Option<String> {
    match until {
        Until::Revoked => Some(address.to_owned()),
        Until::Time(end) => {
            let left = end.saturating_duration_since(now);
            (left >= Duration::from_millis(1))
                .then(|| format!("{address} timeout {}s{}ms", left.as_secs(), left.subsec_millis()))
        }
    }
}

/// Packets that the rules have dropped, IPv4 and IPv6, from `nft list table`; `None`: the chain is not as we made it.
pub(super) fn dropped(listing: &str) -> Option<(u64, u64)> {
    let has = |rule: &str| listing.lines().any(|line| line.contains(rule) && line.trim_end().ends_with("drop"));
    if !has("@banned4") || !has("@banned6") {
        return None;
    }
    let count = |counter: &str| {
        let mut lines = listing.lines().skip_while(|line| line.trim() != format!("counter {counter} {{")).skip(1);
        lines.next()?.trim().strip_prefix("packets ")?.split(' ').next()?.parse().ok()
    };
    Some((count("dropped4")?, count("dropped6")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> SourceKey {
        SourceKey::from(text.parse::<std::net::IpAddr>().unwrap())
    }

    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn an_element_has_the_time_that_is_left_and_none_when_the_ban_is_permanent() {
        let t0 = start();
        let end = Until::Time(t0 + Duration::from_micros(86_400_000_900));
        assert_eq!(element(t0, "203.0.113.7", end).unwrap(), "203.0.113.7 timeout 86400s0ms");
        assert_eq!(element(t0 + Duration::from_millis(500), "a", end).unwrap(), "a timeout 86399s500ms");
        assert_eq!(element(t0, "203.0.113.7", Until::Revoked).unwrap(), "203.0.113.7");
        assert_eq!(element(t0 + Duration::from_secs(86_401), "203.0.113.7", end), None);
    }

    #[test]
    fn a_change_takes_the_element_out_before_it_goes_in_and_a_lifted_one_stays_out() {
        let t0 = start();
        let bans = [
            (key("203.0.113.7"), Some(Until::Revoked)),
            (key("203.0.113.8"), None),
            (key("2001:db8:1:2:3::4"), Some(Until::Time(t0 + Duration::from_secs(9)))),
        ];
        assert_eq!(
            changes(t0, bans.iter().map(|(source, until)| (source, until))),
            "add element inet ringfort banned4 { 203.0.113.7, 203.0.113.8 }\n\
             delete element inet ringfort banned4 { 203.0.113.7, 203.0.113.8 }\n\
             add element inet ringfort banned4 { 203.0.113.7 }\n\
             add element inet ringfort banned6 { 2001:db8:1:2:: }\n\
             delete element inet ringfort banned6 { 2001:db8:1:2:: }\n\
             add element inet ringfort banned6 { 2001:db8:1:2:: timeout 9s0ms }\n"
        );
    }

    #[test]
    fn a_ban_that_has_run_out_is_not_put_into_a_new_table() {
        let t0 = start();
        let bans = [(key("203.0.113.7"), Until::Time(t0)), (key("2001:db8::1"), Until::Revoked)];
        assert_eq!(elements(t0, &bans), "add element inet ringfort banned6 { 2001:db8:: }\n");
        assert_eq!(elements(t0, &bans[..1]), "");
    }

    #[test]
    fn a_table_without_its_rules_is_no_table_of_ours() {
        let listing = "table inet ringfort {\n\tcounter dropped4 {\n\t\tpackets 3 bytes 84\n\t}\n\n\tcounter dropped6 {\n\t\tpackets 0 bytes 0\n\t}\n\n\
             \tchain bans {\n\t\tip saddr @banned4 counter name \"dropped4\" drop\n\t\tip6 saddr & ffff:: == @banned6 counter name \"dropped6\" drop\n\t}\n}\n";
        assert_eq!(dropped(listing), Some((3, 0)));
        assert_eq!(dropped(&listing.replace("\" drop", "\" accept")), None);
        assert_eq!(dropped("table inet ringfort {\n}\n"), None);
        assert_eq!(dropped(""), None);
    }
}
