//! What this system offers to the world: transports and ports of its listeners, hosts and their addresses. From the
//! configuration, so that nothing is published that nobody listens to.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::ensure;
use ringfort_sip::advertise;
use ringfort_sip::flow::Transport;
use ringfort_sip::locate::Name;
use ringfort_switch::config::ProfileKind;

use super::args::HostArg;
use crate::config::Config;
use crate::node;

/// A host that runs Ringfort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: Name,
    /// Empty where they are published elsewhere.
    pub addresses: BTreeSet<IpAddr>,
}

/// What a domain has to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The first one is this node.
    pub hosts: Vec<Host>,
    /// In the order of DOM-3: UDP, TCP, TLS. One port each: an SRV record holds for a host, and hosts are set up alike.
    pub services: Vec<(Transport, u16)>,
    pub ttl: u32,
    /// What the operator should know, a sentence each.
    pub warnings: Vec<String>,
}

impl Offer {
    /// Of the listeners of external profiles, where there are any, else of all. Those on loopback count only where there is
    /// nothing else.
    ///
    /// # Errors
    /// A host is named twice, or there is nothing to publish.
    pub fn new(config: &Config, domain: &Name, hosts: &[HostArg], ttl: u32) -> anyhow::Result<Offer> {
        let mut warnings = Vec::new();
        let external = config.profiles.iter().any(|profile| profile.kind == ProfileKind::External);
        let profiles = config.profiles.iter().filter(|profile| !external || profile.kind == ProfileKind::External);
        let mut listeners: Vec<Listener> = profiles
            .flat_map(|profile| {
                profile.listen.iter().map(|listen| Listener {
                    transport: listen.transport,
                    port: listen.address.port(),
                    address: node::reachable(profile.address, listen.address.ip()),
                })
            })
            .collect();
        if listeners.iter().any(|listener| !listener.address.is_loopback()) {
            listeners.retain(|listener| !listener.address.is_loopback());
        }
        if listeners.iter().any(|listener| listener.port == 0) {
            warnings.push("a listener with port 0 gets another port at each start: it is left out".to_owned());
            listeners.retain(|listener| listener.port != 0);
        }
        ensure!(!listeners.is_empty(), "nothing listens on a port that could be published");
        let services = services(&listeners, &mut warnings);
        let published = |listener: &&Listener| services.contains(&(listener.transport, listener.port));
        let own: BTreeSet<IpAddr> = listeners.iter().filter(published).map(|listener| listener.address).collect();
        let hosts = name_hosts(domain, hosts, own, &mut warnings)?;
        for host in &hosts {
            for address in host.addresses.iter().filter(|address| is_inside(**address)) {
                warnings.push(format!("{address} of {} reaches nobody outside this network", host.name));
            }
        }
        for (transport, port) in &services {
            for address in &hosts[0].addresses {
                let listens = |listener: &Listener| {
                    listener.transport == *transport
                        && listener.port == *port
                        && listener.address.is_ipv4() == address.is_ipv4()
                };
                if !listeners.iter().any(listens) {
                    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
                    warnings.push(format!(
                        "{} has an {family} address, but {transport} port {port} does not listen there",
                        hosts[0].name
                    ));
                }
            }
        }
        Ok(Offer { hosts, services, ttl, warnings })
    }

    pub fn port(&self, transport: Transport) -> Option<u16> {
        self.services.iter().find(|(offered, _)| *offered == transport).map(|(_, port)| *port)
    }
}

struct Listener {
    transport: Transport,
    port: u16,
    address: IpAddr,
}

/// One port for each transport: the one that everybody tries without being told, else the first.
fn services(listeners: &[Listener], warnings: &mut Vec<String>) -> Vec<(Transport, u16)> {
    let mut services = Vec::new();
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let mut ports: Vec<u16> =
            listeners.iter().filter(|listener| listener.transport == transport).map(|listener| listener.port).collect();
        ports.sort_by_key(|port| *port != transport.default_port());
        ports.dedup();
        let Some((port, others)) = ports.split_first() else { continue };
        for other in others {
            warnings.push(format!("{transport} listens on port {other} too: only {port} is published"));
        }
        services.push((transport, *port));
    }
    services
}

fn name_hosts(
    domain: &Name,
    given: &[HostArg],
    own: BTreeSet<IpAddr>,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Vec<Host>> {
    let mut hosts: Vec<Host> = given
        .iter()
        .map(|host| Host { name: host.name.clone(), addresses: host.addresses.iter().copied().collect() })
        .collect();
    if hosts.is_empty() {
        hosts.push(Host { name: domain.prefixed("sip")?, addresses: BTreeSet::new() });
    }
    if hosts[0].addresses.is_empty() {
        hosts[0].addresses = own;
    }
    for (index, host) in hosts.iter().enumerate() {
        ensure!(!hosts[..index].iter().any(|other| other.name == host.name), "{} is named twice", host.name);
        if host.addresses.is_empty() {
            warnings.push(format!("the addresses of {} are not known here: --host {}=ADDRESS", host.name, host.name));
        }
    }
    Ok(hosts)
}

/// Nobody outside reaches it: a private, loopback or link-local address, or one that a provider shares among its
/// customers (RFC 6598).
fn is_inside(address: IpAddr) -> bool {
    let shared = matches!(address, IpAddr::V4(ip) if matches!(ip.octets(), [100, 64..=127, ..]));
    shared || advertise::is_inside(address)
}
