//! The records of a domain in the shape of DOM-3: NAPTR with UDP at order 10 (50 for the first host, 51 for the second)
//! and TCP and TLS at order 20, SRV with priority 10, 20, … by host, A and AAAA. Printed as lines that any name server loads.

use std::fmt::Write as _;
use std::net::IpAddr;

use ringfort_sip::flow::Transport;
use ringfort_sip::locate::{Name, Naptr, Srv, service_prefix};

use super::offer::Offer;
use crate::cli::printable;

/// Who answers for hosts outside the domain is somebody else.
pub fn is_within(name: &Name, domain: &Name) -> bool {
    name == domain || name.as_str().strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'))
}

/// What a domain should publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub naptr: Vec<Naptr>,
    pub srv: Vec<(Name, Srv)>,
    /// Within the domain.
    pub addresses: Vec<(Name, IpAddr)>,
}

/// The NAPTR service of a transport (RFC 3263 §9).
pub const fn service(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "SIP+D2U",
        Transport::Tcp => "SIP+D2T",
        Transport::Tls => "SIPS+D2T",
        Transport::Ws => "SIP+D2W",
        Transport::Wss => "SIPS+D2W",
    }
}

/// The records that an offer comes to. Names that would be longer than a name may be are left out.
pub fn plan(domain: &Name, offer: &Offer) -> Plan {
    let mut plan = Plan::default();
    let srv = |priority: u16, port, target: &Name| Srv { priority, weight: 0, port, target: target.clone() };
    for (transport, port) in &offer.services {
        let Some(name) = service_prefix(*transport).and_then(|prefix| domain.prefixed(prefix).ok()) else { continue };
        let rule = |order, preference, replacement: &Name| Naptr {
            order,
            preference,
            flags: "s".to_owned(),
            services: service(*transport).to_owned(),
            regexp: String::new(),
            replacement: replacement.clone(),
        };
        let order = if *transport == Transport::Udp { 10 } else { 20 };
        plan.naptr.push(rule(order, 50, &name));
        // RFC 3263 §4.1: whoever knows no NAPTR looks here, so every host is here.
        for (index, host) in offer.hosts.iter().enumerate() {
            plan.srv.push((name.clone(), srv(10 * (index as u16 + 1), *port, &host.name)));
        }
        if *transport != Transport::Udp {
            continue;
        }
        for (index, host) in offer.hosts.iter().enumerate().skip(1) {
            let at = if is_within(&host.name, domain) { Ok(host.name.clone()) } else { own_label(index, domain) };
            let Ok(name) = at.and_then(|at| at.prefixed("_sip._udp")) else { continue };
            plan.naptr.push(rule(order, 50 + index as u16, &name));
            plan.srv.push((name, srv(10, *port, &host.name)));
        }
    }
    for host in offer.hosts.iter().filter(|host| is_within(&host.name, domain)) {
        plan.addresses.extend(host.addresses.iter().map(|address| (host.name.clone(), *address)));
    }
    plan
}

/// A place within the domain for the SRV record of a host outside it.
fn own_label(index: usize, domain: &Name) -> Result<Name, ringfort_sip::locate::NameError> {
    domain.prefixed(&format!("sip-host-{}", index + 1))
}

/// Lines for a zone file, with full names, so that it does not matter where they stand in it.
/// `options`: those of the command line, for the command that checks them.
pub fn fragment(domain: &Name, offer: &Offer, options: &str) -> String {
    let plan = plan(domain, offer);
    let ttl = offer.ttl;
    let mut out = format!(
        "; SIP records of {domain}. Put them into its zone file (or $INCLUDE this one), raise the zone's serial number,\n\
         ; then see what the world sees: ringfort dns check {domain}{options}\n"
    );
    for warning in &offer.warnings {
        let _ = writeln!(out, "; Attention: {warning}.");
    }
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let _ = write!(out, "\n; {title}\n{}\n", lines.join("\n"));
        }
    };
    let naptr = plan.naptr.iter().map(|rule| naptr_line(domain, ttl, rule)).collect();
    section("Which transport, the lowest order first (RFC 3263 §4.1)", naptr);
    let srv = plan.srv.iter().map(|(name, srv)| srv_line(name, ttl, srv)).collect();
    section("Which host and port, the lowest priority first (RFC 2782)", srv);
    let addresses = plan.addresses.iter().map(|(name, address)| address_line(name, ttl, *address)).collect();
    section("The hosts", addresses);
    for host in offer.hosts.iter().filter(|host| !is_within(&host.name, domain)) {
        let _ = write!(out, "\n; {} belongs to another zone: its addresses are published there.\n", host.name);
    }
    out
}

/// `OWNER TTL IN NAPTR …` as it stands in a zone file.
pub fn naptr_line(domain: &Name, ttl: u32, naptr: &Naptr) -> String {
    format!("{domain}. {ttl} IN NAPTR {}.", show_naptr(naptr))
}

/// The data of a rule. What a stranger's zone holds must not move the cursor of a terminal.
pub fn show_naptr(naptr: &Naptr) -> String {
    let Naptr { order, preference, flags, services, regexp, replacement } = naptr;
    let [flags, services, regexp] = [flags, services, regexp].map(|text| printable(text));
    format!("{order} {preference} \"{flags}\" \"{services}\" \"{regexp}\" {replacement}")
}

/// `OWNER TTL IN SRV …`.
pub fn srv_line(name: &Name, ttl: u32, srv: &Srv) -> String {
    format!("{name}. {ttl} IN SRV {}.", show_srv(srv))
}

pub fn show_srv(srv: &Srv) -> String {
    format!("{} {} {} {}", srv.priority, srv.weight, srv.port, srv.target)
}

/// `OWNER TTL IN A …` or `AAAA`.
pub fn address_line(name: &Name, ttl: u32, address: IpAddr) -> String {
    format!("{name}. {ttl} IN {} {address}", if address.is_ipv4() { "A" } else { "AAAA" })
}
