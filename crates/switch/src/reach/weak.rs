//! What works as it is written, and is how systems are robbed: said at every check, and no reason to refuse a change.

use std::fmt;
use std::net::IpAddr;

use ringfort_guard::{Cidr, source};
use ringfort_sip::digest::Algorithm;

use crate::config::{ProfileKind, SwitchConfig};
use crate::model::{Calling, Site, Trunk};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Info,
    Warning,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Info => "info",
            Level::Warning => "warning",
        })
    }
}

/// One weak spot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weakness {
    pub level: Level,
    /// For programs: `trunk.sources-wide`.
    pub rule: &'static str,
    /// What is, and what comes of it.
    pub text: String,
    pub mend: String,
}

pub(super) fn weaknesses(config: &SwitchConfig, site: &Site) -> Vec<Weakness> {
    let mut found = Vec::new();
    of_profiles(config, &mut found);
    for trunk in site.trunks.values().filter(|trunk| trunk.enabled && trunk.inbound_credentials.is_none()) {
        of_trunk(trunk, &mut found);
    }
    of_tenants(site, &mut found);
    of_extensions(site, &mut found);
    found.sort_by_key(|weakness| std::cmp::Reverse(weakness.level));
    found
}

fn of_profiles(config: &SwitchConfig, found: &mut Vec<Weakness>) {
    for profile in &config.profiles {
        let name = &profile.name;
        let mut listeners = config.listeners.iter().filter(|listener| listener.profile == profile.id);
        match profile.kind {
            ProfileKind::Internal => {
                let public = listeners.find(|listener| is_public(listener.sip.local.ip()));
                if let Some(listener) = public.filter(|_| profile.digest == [Algorithm::Md5]) {
                    found.push(Weakness {
                        level: Level::Warning,
                        rule: "profile.md5-only",
                        text: format!(
                            "profile {name} listens on {} and offers MD5 alone: a login that is overheard there is tried out at \
                             billions of passwords a second",
                            listener.sip.local
                        ),
                        mend: format!("digest = [\"SHA-256\", \"MD5\"] in profile {name}, or TLS alone"),
                    });
                }
            }
            ProfileKind::External if profile.allow.is_none() && listeners.any(|l| is_public(l.sip.local.ip())) => {
                found.push(Weakness {
                    level: Level::Info,
                    rule: "profile.open",
                    text: format!("profile {name} is open to everybody: strangers reach published aliases"),
                    mend: format!("where only providers are to come in, `allow` in profile {name} lists them"),
                });
            }
            ProfileKind::External => {}
        }
    }
}

/// What is not named by an address is reached by all that the machine has.
fn is_public(ip: IpAddr) -> bool {
    let inside = || source::loopback_ranges().into_iter().chain(source::private_ranges()).any(|r| r.contains(ip));
    ip.is_unspecified() || !inside()
}

/// Its address is all that such a trunk proves itself with.
fn of_trunk(trunk: &Trunk, found: &mut Vec<Weakness>) {
    let name = &trunk.name;
    let ranges: Vec<Cidr> = trunk.sources.iter().filter_map(|text| text.parse().ok()).collect();
    let mend = format!("the provider's own addresses in `sources` of trunk {name}, or inbound credentials");
    for range in &ranges {
        if range.is_wide() {
            found.push(Weakness {
                level: Level::Warning,
                rule: "trunk.sources-wide",
                text: format!(
                    "trunk {name} takes calls from all of {range} without credentials: anybody there is the provider"
                ),
                mend: mend.clone(),
            });
        } else if let Some(private) = source::private_ranges().into_iter().find(|private| overlap(private, range)) {
            found.push(Weakness {
                level: Level::Warning,
                rule: "trunk.sources-private",
                text: format!(
                    "trunk {name} takes calls from {range} without credentials, and {private} is where phones are: one of \
                     them, or whoever is in the same network, is the provider, and is never banned"
                ),
                mend: mend.clone(),
            });
        }
    }
}

/// Without a country nobody knows what is abroad (GUARD-1).
fn of_tenants(site: &Site, found: &mut Vec<Weakness>) {
    for tenant in site.tenants.iter().filter(|tenant| tenant.numbers.country.is_empty()) {
        if site.outbound.iter().any(|route| route.tenant == tenant.id) {
            found.push(Weakness {
                level: Level::Info,
                rule: "tenant.no-country",
                text: format!(
                    "tenant {} has routes and no country: every number of seven digits and more counts as abroad",
                    tenant.name
                ),
                mend: "country, national_prefix and international_prefix of the tenant (routing.md)".to_owned(),
            });
        }
    }
}

fn of_extensions(site: &Site, found: &mut Vec<Weakness>) {
    let mut numbers = Vec::new();
    for extension in site.extensions.values().filter(|extension| extension.enabled) {
        let calling = &extension.calling;
        let Calling { international: _, public, spend, groups: _, domains: _, caller_id: _, hide_caller_id: _ } =
            calling;
        let tenant = site.tenants.iter().find(|tenant| tenant.id == extension.tenant);
        let by_tenant = tenant.is_some_and(|tenant| tenant.numbers.spend.any());
        let mut trunks = site.trunks.values().filter(|trunk| trunk.enabled && trunk.tenant == extension.tenant);
        let by_trunks = trunks.all(|trunk| trunk.spend.any());
        let abroad = !public && tenant.is_some_and(|tenant| tenant.numbers.may_go_abroad(calling));
        if abroad && !spend.any() && !by_tenant && !by_trunks {
            numbers.push(extension.number.as_str());
        }
    }
    if !numbers.is_empty() {
        let more = numbers.len().saturating_sub(5);
        let shown = numbers[..numbers.len() - more].join(", ");
        let shown = if more > 0 { format!("{shown} and {more} more") } else { shown };
        found.push(Weakness {
            level: Level::Warning,
            rule: "extension.international-unlimited",
            text: format!("extensions that may call abroad, and nothing limits what they spend: {shown}"),
            mend:
                "a limit of spending for the extension, the tenant or the trunk (spending.md), or international = false"
                    .to_owned(),
        });
    }
}

fn overlap(a: &Cidr, b: &Cidr) -> bool {
    a.contains(b.address()) || b.contains(a.address())
}
