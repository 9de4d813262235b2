//! What works as it is written and surely not as it is meant: trunks that cannot be reached from here, emergency numbers that
//! nobody thought of, limits that nothing can be counted against. Said where a site is checked and applied. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ringfort_sip::flow::Transport;
use ringfort_sip::uri::{Host, Scheme, Uri};

use crate::config::{Listener, ProfileKind, SwitchConfig};
use crate::model::{InboundRoute, Pattern, Site, Tenant, Trunk, Unrated, Verified, VerifyIdentity};
use crate::reach::{Level, Weakness};
use crate::route::rewritten;

/// Where external profiles listen in the documentation.
const PORT: u16 = 5080;

/// Everything of that kind, what matters most first.
pub fn advice(config: &SwitchConfig, site: &Site) -> Vec<Weakness> {
    let mut found = Vec::new();
    for trunk in site.trunks.values().filter(|trunk| trunk.enabled) {
        found.extend(of_profile(config, trunk).or_else(|| of_transport(config, trunk)));
    }
    if !config.judges_identity {
        found.extend(of_unjudged(site));
    }
    for tenant in &site.tenants {
        found.extend(of_emergency(site, tenant));
        found.extend(of_country(site, tenant));
        found.extend(of_emergency_rewritten(site, tenant));
        found.extend(of_spending(site, tenant));
    }
    found.sort_by_key(|weakness| std::cmp::Reverse(weakness.level));
    found
}

fn warning(rule: &'static str, text: String, mend: String) -> Weakness {
    Weakness { level: Level::Warning, rule, text, mend }
}

fn of_profile(config: &SwitchConfig, trunk: &Trunk) -> Option<Weakness> {
    let Some(name) = trunk.profile.as_deref() else { return of_no_profile(config, trunk) };
    let Trunk { name: trunk, .. } = trunk;
    match config.profiles.iter().find(|profile| profile.name == name) {
        Some(profile) if profile.kind == ProfileKind::External => None,
        Some(_) => Some(warning(
            "trunk.profile-internal",
            format!(
                "trunk {trunk} goes by profile {name}, where phones register: its calls in are asked for a phone's login"
            ),
            "a profile of kind external in `profile` of the trunk".to_owned(),
        )),
        None => {
            let external = config.profiles.iter().filter(|profile| profile.kind == ProfileKind::External);
            let names: Vec<&str> = external.map(|profile| profile.name.as_str()).collect();
            let mend = match names.as_slice() {
                [] => format!("{} in ringfort.toml", new_profile(config, name, Transport::Udp, true)),
                names => format!("one of {} in `profile` of the trunk, or leave it out", names.join(", ")),
            };
            Some(warning(
                "trunk.profile-unknown",
                format!(
                    "trunk {trunk} names the profile {name}, which ringfort.toml does not have: no call goes by it"
                ),
                mend,
            ))
        }
    }
}

/// Where phones register, every call is one of a phone (GUARD-2): a provider's calls need a profile of their own.
fn of_no_profile(config: &SwitchConfig, trunk: &Trunk) -> Option<Weakness> {
    if config.profiles.iter().any(|profile| profile.kind == ProfileKind::External) {
        return None;
    }
    let (transport, ipv4) = way_of(trunk).unwrap_or((Transport::Udp, None));
    let profile = new_profile(config, "world", transport, ipv4.unwrap_or(true));
    Some(warning(
        "trunk.no-external-profile",
        format!("no call of trunk {} can come in: where phones register it is asked for a phone's login", trunk.name),
        format!("{profile} in ringfort.toml"),
    ))
}

/// The transport that a trunk is reached by, and whether its address is an IPv4 one; `None` where the DNS has the choice.
fn way_of(trunk: &Trunk) -> Option<(Transport, Option<bool>)> {
    let hop = Uri::parse(trunk.outbound_proxy.as_deref().unwrap_or(&trunk.server)).ok()?;
    let ipv4 = match hop.host {
        Host::V4(_) => Some(true),
        Host::V6(_) => Some(false),
        Host::Name(_) => None,
    };
    let named = hop.param("transport").and_then(|name| {
        let all = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];
        all.into_iter().find(|transport| transport.as_str().eq_ignore_ascii_case(name))
    });
    match (hop.scheme == Scheme::Sips, named) {
        (true, Some(Transport::Udp | Transport::Tcp) | None) => Some((Transport::Tls, ipv4)),
        (_, Some(transport)) => Some((transport, ipv4)),
        // RFC 3263 §4.1: an address or a port means UDP; else the DNS has the choice.
        (false, None) if ipv4.is_some() || hop.port.is_some() => Some((Transport::Udp, ipv4)),
        (false, None) => None,
    }
}

fn of_transport(config: &SwitchConfig, trunk: &Trunk) -> Option<Weakness> {
    let (transport, ipv4) = way_of(trunk)?;
    let profile = trunk.profile.as_deref();
    let families: &[bool] = match ipv4 {
        Some(true) => &[true],
        Some(false) => &[false],
        None => &[true, false],
    };
    if families.iter().any(|ipv4| config.listener_towards(profile, transport, *ipv4).is_some()) {
        return None;
    }
    let missing = no_listener(config, profile, transport, families[0]);
    Some(warning(
        "trunk.no-listener",
        format!("trunk {} cannot be reached: {}", trunk.name, missing.what),
        missing.mend,
    ))
}

/// Why a trunk cannot be reached from here at all, and what to write.
pub(crate) fn unreachable(config: &SwitchConfig, trunk: &Trunk) -> Option<String> {
    of_transport(config, trunk).map(|found| format!("{}: add {}", found.text, found.mend))
}

/// A listener that a call would need, in words.
pub(crate) struct Missing {
    pub what: String,
    /// The line to write.
    pub mend: String,
}

/// There is no listener to send from.
pub(crate) fn no_listener(config: &SwitchConfig, profile: Option<&str>, transport: Transport, ipv4: bool) -> Missing {
    let family = if ipv4 { "IPv4" } else { "IPv6" };
    let whose = match profile {
        Some(name) => format!("profile {name:?}"),
        None => "an external profile".to_owned(),
    };
    let external = |kind| kind == ProfileKind::External;
    let there = config.profiles.iter().find(|p| profile.map_or(external(p.kind), |name| p.name == name));
    let mend = match there {
        Some(found) => format!(
            "{} in `listen` of [[profile]] name = {:?} in ringfort.toml",
            listen(config, transport, ipv4),
            found.name
        ),
        None => format!("{} in ringfort.toml", new_profile(config, profile.unwrap_or("world"), transport, ipv4)),
    };
    Missing { what: format!("no listener of {whose} for {transport} over {family}"), mend }
}

fn new_profile(config: &SwitchConfig, name: &str, transport: Transport, ipv4: bool) -> String {
    let listen = listen(config, transport, ipv4);
    format!("[[profile]] name = {name:?}, kind = \"external\", listen = [{listen}]")
}

/// An address for `listen` that is free, where others of the family listen.
fn listen(config: &SwitchConfig, transport: Transport, ipv4: bool) -> String {
    let of_family = |listener: &&Listener| listener.sip.local.is_ipv4() == ipv4;
    let any = if ipv4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let ip = config.listeners.iter().find(of_family).map_or(any, |listener| listener.sip.local.ip());
    let same = |listener: &&Listener| {
        listener.sip.transport.is_reliable() == transport.is_reliable() && listener.sip.local.is_ipv4() == ipv4
    };
    let taken = |port: u16| config.listeners.iter().filter(same).any(|listener| listener.sip.local.port() == port);
    let first = if transport.is_secure() { PORT + 1 } else { PORT };
    let port = (first..).find(|port| !taken(*port)).unwrap_or(first);
    format!("\"{}:{}\"", transport.as_str().to_ascii_lowercase(), SocketAddr::new(ip, port))
}

/// Signatures that are asked for, and nobody to judge them.
fn of_unjudged(site: &Site) -> impl Iterator<Item = Weakness> {
    let required = |trunk: &&Trunk| trunk.enabled && trunk.verify_identity == VerifyIdentity::Require;
    let trunks = site.trunks.values().filter(required).map(|trunk| {
        format!(
            "trunk {} requires signed numbers, and nothing is there to judge them by: each of its calls is refused",
            trunk.name
        )
    });
    let never = |route: &&InboundRoute| !route.identity.is_empty() && !route.identity.contains(&Verified::None);
    let routes = site.inbound.iter().filter(never).map(|route| {
        format!("inbound route {} wants numbers that were judged, and none ever is: no call fits it", route.name)
    });
    let mend = "`trust`, the file of the authorities that are believed, in [stir] of ringfort.toml";
    trunks.chain(routes).map(|text| warning("stir.no-trust", text, mend.to_owned()))
}

fn of_emergency(site: &Site, tenant: &Tenant) -> Option<Weakness> {
    let names_it = |number: &&String| {
        let of_tenant = site.outbound.iter().filter(|route| route.tenant == tenant.id && !route.trunks.is_empty());
        !of_tenant.flat_map(|route| &route.patterns).any(|p| !matches!(p, Pattern::Any) && p.matches(number))
    };
    let numbers: Vec<&str> = tenant.numbers.emergency.iter().filter(names_it).map(String::as_str).collect();
    if numbers.is_empty() || !site.extensions.values().any(|e| e.tenant == tenant.id && e.enabled) {
        return None;
    }
    let numbers = numbers.join(", ");
    let whose = whose(site, tenant);
    let has_trunk = site.trunks.values().any(|trunk| trunk.tenant == tenant.id && trunk.enabled);
    if has_trunk {
        return Some(warning(
            "emergency.no-route",
            format!(
                "no route{whose} names the emergency numbers {numbers}: they go out by any trunk, as they are dialled"
            ),
            "a [[route]] with patterns like \"exact:112\" and the trunks that take such calls".to_owned(),
        ));
    }
    Some(Weakness {
        level: Level::Info,
        rule: "emergency.no-trunk",
        text: format!("nobody{whose} can call the emergency numbers {numbers}: there is no trunk"),
        mend: "a [[trunk]], or another telephone".to_owned(),
    })
}

/// What is dialled for help in a country, by its calling code, beside 112 and 911.
const FOR_HELP: [(&str, &[&str]); 13] = [
    ("33", &["15", "17", "18"]),
    ("353", &["999"]),
    ("41", &["117", "118", "144"]),
    ("43", &["122", "133", "144"]),
    ("44", &["999"]),
    ("49", &["110"]),
    ("55", &["190", "192", "193"]),
    ("61", &["000"]),
    ("64", &["111"]),
    ("65", &["995", "999"]),
    ("81", &["110", "119"]),
    ("82", &["119"]),
    ("86", &["110", "119", "120"]),
];

/// Numbers that people of the country dial for help, and that are like any other here.
fn of_country(site: &Site, tenant: &Tenant) -> Option<Weakness> {
    let plan = &tenant.numbers;
    let (_, known) = FOR_HELP.iter().find(|(country, _)| *country == plan.country)?;
    let missing: Vec<&str> = known.iter().filter(|n| !plan.emergency.iter().any(|own| own == *n)).copied().collect();
    if missing.is_empty() || !site.trunks.values().any(|trunk| trunk.tenant == tenant.id && trunk.enabled) {
        return None;
    }
    let all: Vec<String> =
        plan.emergency.iter().map(String::as_str).chain(missing.iter().copied()).map(|n| format!("{n:?}")).collect();
    Some(warning(
        "emergency.country",
        format!(
            "in +{} people dial {} for help, which is no emergency number{}: groups, hours and limits hold for it",
            plan.country,
            missing.join(", "),
            whose(site, tenant)
        ),
        format!("emergency = [{}] in the [[tenant]]", all.join(", ")),
    ))
}

/// A route for more than emergency numbers takes digits off those as well.
fn of_emergency_rewritten<'s>(site: &'s Site, tenant: &'s Tenant) -> impl Iterator<Item = Weakness> + 's {
    let numbers = &tenant.numbers.emergency;
    let routes = site.outbound.iter().filter(|route| route.tenant == tenant.id && !route.trunks.is_empty());
    routes.filter_map(move |route| {
        let named = |number: &&String| route.patterns.iter().any(|p| !matches!(p, Pattern::Any) && p.matches(number));
        let becomes = |number: &str| rewritten(route, number);
        // `030112` is still a call for help, `12` is none.
        let lost = |number: &&String| !numbers.iter().any(|known| becomes(number).ends_with(known.as_str()));
        let number = numbers.iter().filter(named).find(lost)?;
        Some(warning(
            "emergency.rewritten",
            format!(
                "route {}{} takes the emergency number {number} and makes {:?} of it",
                route.name,
                whose(site, tenant),
                becomes(number)
            ),
            format!("a [[route]] with the pattern \"exact:{number}\" and no `strip`, before this one or instead"),
        ))
    })
}

fn of_spending(site: &Site, tenant: &Tenant) -> Vec<Weakness> {
    let used = |trunk: &&Trunk| {
        let mut routes = site.outbound.iter().filter(|route| route.tenant == tenant.id);
        trunk.tenant == tenant.id && trunk.enabled && routes.any(|route| route.trunks.contains(&trunk.id))
    };
    let by_extension = site.extensions.values().any(|e| e.tenant == tenant.id && e.enabled && e.calling.spend.any());
    let limited = |trunk: &&Trunk| trunk.spend.any() || tenant.numbers.spend.any() || by_extension;
    let unrated = |trunk: &&Trunk| site.rates.get(&trunk.id).is_none_or(|table| table.rates.is_empty());
    let found = site.trunks.values().filter(used).filter(limited).filter(unrated);
    let what = match tenant.numbers.unrated {
        Unrated::Refuse => "calls that the limit is for are refused",
        Unrated::Allow => "its calls count as free and no limit is ever reached",
    };
    found
        .map(|trunk| {
            warning(
                "spending.no-rates",
                format!("trunk {} has no rates, and there is a limit of spending: {what}", trunk.name),
                format!("`ringfort ctl rates import {} FILE`", trunk.name),
            )
        })
        .collect()
}

fn whose(site: &Site, tenant: &Tenant) -> String {
    if site.tenants.len() > 1 { format!(" of tenant {}", tenant.name) } else { String::new() }
}
