//! Which inbound routes a trunk's calls can take: asked of the router with numbers that stand for each pattern, at each
//! hour at which anything changes.

use std::collections::BTreeSet;

use crate::model::{InboundRoute, Pattern, Site, TenantId, TrunkId, Verified};
use crate::route::{InboundDecision, Router};

/// More times than this are not told apart: all of the week's hours at which routes begin or end.
const MOST_TIMES: usize = 7 * 48;
/// Numbers of one pattern from which on a further class of digits is not told apart.
const MOST_NUMBERS: usize = 100;

pub(super) fn routes_in(router: &Router, site: &Site, tenant: TenantId, trunk: TrunkId) -> Vec<String> {
    let mine = |route: &&InboundRoute| route.tenant == tenant && route.trunk.is_none_or(|id| id == trunk);
    let routes: Vec<&InboundRoute> = site.inbound.iter().filter(mine).collect();
    let times = times(router, tenant, &routes);
    let numbers: BTreeSet<String> = routes.iter().flat_map(|route| witnesses(&route.called)).collect();
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for number in &numbers {
        for &time in &times {
            // A caller's number may be signed well, badly or not at all.
            for worth in [Verified::Passed, Verified::Failed, Verified::None] {
                match router.inbound(tenant, trunk, number, Some(worth), time) {
                    InboundDecision::To { route, .. } => drop(taken.insert(route)),
                    InboundDecision::None => {}
                }
            }
        }
    }
    routes.iter().filter(|route| taken.contains(route.name.as_str())).map(|route| route.name.clone()).collect()
}

/// Numbers that fit the pattern: the shortest, and some with digits behind it where those are open.
fn witnesses(pattern: &Pattern) -> Vec<String> {
    let longer = |text: &str| {
        let one = (0..10).map(|digit| format!("{text}{digit}"));
        let two = (0..100).map(|digits| format!("{text}{digits:02}"));
        let long = (0..100).map(|digits| format!("{text}{digits:02}0000000"));
        std::iter::once(text.to_owned()).chain(one).chain(two).chain(long).collect()
    };
    match pattern {
        Pattern::Any => longer(""),
        Pattern::Exact(text) => vec![text.clone()],
        Pattern::Prefix(text) => longer(text),
        Pattern::Digits(pattern) => {
            let mut texts = vec![String::new()];
            let mut chars = pattern.chars();
            while let Some(c) = chars.next() {
                let class: String = match c {
                    'X' | '.' => "0123456789".into(),
                    'Z' => "123456789".into(),
                    'N' => "23456789".into(),
                    '!' => continue,
                    '[' => members(&chars.by_ref().take_while(|c| *c != ']').collect::<Vec<char>>()),
                    other => other.into(),
                };
                // Where there are many numbers already, one digit stands for the rest of its class.
                let several = if texts.len() < MOST_NUMBERS { class.chars().count() } else { 1 };
                let with =
                    |text: &String| class.chars().take(several).map(|c| format!("{text}{c}")).collect::<Vec<_>>();
                texts = texts.iter().flat_map(with).collect();
            }
            let open = pattern.ends_with(['.', '!']);
            if open { texts.iter().flat_map(|text| longer(text)).collect() } else { texts }
        }
    }
}

/// `1-57` is 1, 2, 3, 4, 5 and 7.
fn members(class: &[char]) -> String {
    let mut all = String::new();
    let mut rest = class;
    loop {
        rest = match rest {
            [first, '-', last, more @ ..] => {
                all.extend(*first..=*last);
                more
            }
            [one, more @ ..] => {
                all.push(*one);
                more
            }
            [] => return all,
        };
    }
}

/// A time in each span in which the same routes are in force.
fn times(router: &Router, tenant: TenantId, routes: &[&InboundRoute]) -> Vec<u64> {
    let edges = routes.iter().flat_map(|route| &route.hours).flat_map(|hours| [hours.from, hours.until]);
    let minutes: BTreeSet<u16> = edges.chain([0]).map(|minute| minute % 1440).collect();
    let days: u32 = if minutes.len() > 1 || routes.iter().any(|route| !route.hours.is_empty()) { 7 } else { 1 };
    // A Monday without a change of the clock in any zone.
    let at = |day: u32, minute: u16| format!("2026-11-{:02}T{:02}:{:02}", 23 + day, minute / 60, minute % 60);
    let all = (0..days).flat_map(|day| minutes.iter().map(move |minute| at(day, *minute)));
    let mut times: Vec<u64> = all.filter_map(|text| router.unix_s(tenant, &text)).take(MOST_TIMES).collect();
    if times.is_empty() {
        times.push(0);
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Destination, Hours, Tenant, Trunk};

    fn site(routes: &[(&str, &str, Option<u32>)]) -> Site {
        let tenant = Tenant { id: TenantId(1), name: "a".into(), domains: vec![], numbers: Default::default() };
        let mut site = Site { tenants: vec![tenant], ..Site::default() };
        for id in [TrunkId(1), TrunkId(2)] {
            site.trunks.insert(id, Trunk::new(id, TenantId(1), format!("t{id}"), "sip:192.0.2.1"));
        }
        site.inbound = routes
            .iter()
            .map(|(name, pattern, trunk)| InboundRoute {
                tenant: TenantId(1),
                name: (*name).into(),
                trunk: trunk.map(TrunkId),
                called: pattern.parse().unwrap(),
                identity: vec![],
                hours: vec![],
                to: Destination::Reject(603),
            })
            .collect();
        site
    }

    fn open(site: &Site, trunk: u32) -> Vec<String> {
        routes_in(&Router::new(site), site, TenantId(1), TrunkId(trunk))
    }

    #[test]
    fn a_route_behind_one_that_takes_everything_is_never_taken() {
        let site = site(&[
            ("a", "exact:100", None),
            ("b", "prefix:1", None),
            ("c", "exact:123", None),
            ("d", "prefix:12", None),
            ("e", "any", None),
            ("f", "ZX.", None),
        ]);
        assert_eq!(open(&site, 1), ["a", "b", "e"]);
    }

    #[test]
    fn a_route_of_another_trunk_is_not_this_ones() {
        let site = site(&[("a", "any", Some(1)), ("b", "any", None)]);
        assert_eq!((open(&site, 1), open(&site, 2)), (vec!["a".to_owned()], vec!["b".to_owned()]));
    }

    #[test]
    fn a_route_with_hours_leaves_the_others_their_own() {
        let mut site = site(&[("night", "any", None), ("day", "any", None), ("never", "any", None)]);
        site.inbound[0].hours = vec![Hours { days: 0b111_1111, from: 1320, until: 360 }];
        assert_eq!(open(&site, 1), ["night", "day"]);
    }

    #[test]
    fn every_pattern_has_a_number_that_fits_it() {
        for text in ["any", "exact:+4420", "prefix:+44", "0X.", "+1NXXZXX", "[2-4]5!", "[79]X[0]", "11!"] {
            let pattern: Pattern = text.parse().unwrap();
            assert!(witnesses(&pattern).iter().any(|number| pattern.matches(number)), "{text}");
        }
    }
}
