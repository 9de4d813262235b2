//! From the configuration to what `net` and `switch` are made with: addresses are resolved here, once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringfort_guard::{RateConfig, source};
use ringfort_media::relay::RelayConfig;
use ringfort_net::advertise;
use ringfort_net::config::{
    CertificateSource, ClientAuth, ListenerConfig, MediaThreadConfig, NetConfig, PeerCheck, TlsConfig,
};
use ringfort_net::dns::DnsConfig;
use ringfort_sip::advertise::is_hidden;
use ringfort_sip::endpoint::ListenerInfo;
use ringfort_sip::flow::ListenerId;
use ringfort_sip::locate;
use ringfort_sip::uri::HostPort;
use ringfort_switch::config::{Listener, MediaConfig, Profile, SecretKey, SwitchConfig};
use ringfort_switch::model::ProfileId;

use crate::config::{Config, Guard};

/// What `net` is started with. The self-signed certificate lives in `data_dir`.
pub fn net_config(config: &Config, data_dir: &Path) -> NetConfig {
    let listeners: Vec<ListenerConfig> = configured(config)
        .map(|(_, listen)| ListenerConfig { transport: listen.transport, bind: listen.address })
        .collect();
    NetConfig {
        tls: tls_config(config, data_dir),
        limits: config.limits.sip.clone(),
        stir: crate::stir::calls::fetching(&config.stir),
        dns: DnsConfig { servers: config.dns.servers.clone(), ..DnsConfig::default() },
        rate: rate_config(&config.guard),
        connections: config.limits.connections,
        media: MediaThreadConfig {
            bind: media_addresses(config),
            relay: RelayConfig { silence: silence(config.calls.media_timeout), ..RelayConfig::default() },
            ..MediaThreadConfig::default()
        },
        listeners,
        ..NetConfig::default()
    }
}

/// How long a stream may be silent; zero: for ever.
fn silence(media_timeout: Duration) -> Option<Duration> {
    Some(media_timeout).filter(|timeout| !timeout.is_zero())
}

/// What the switch is made with. `local` tells where each listener really listens (port 0 was any port).
pub fn switch_config(
    config: &Config,
    gruu_key: [u8; 32],
    local: impl Fn(ListenerId) -> Option<SocketAddr>,
) -> SwitchConfig {
    let profiles = config.profiles.iter().enumerate().map(|(index, profile)| Profile {
        id: ProfileId(index as u16),
        name: profile.name.clone(),
        kind: profile.kind,
        digest: profile.digest.clone(),
        allow: profile.allow.as_deref().map(Arc::from),
    });
    let listeners = configured(config).enumerate().map(|(index, (profile, listen))| {
        let id = ListenerId(index as u16);
        let local = local(id).unwrap_or(listen.address);
        let told = reachable(config.profiles[profile].address, local.ip());
        // Towards phones in our own network, where the address told to the world is a router's.
        let own = reachable(None, local.ip());
        let inside = is_hidden(told, own).then(|| HostPort::from(SocketAddr::new(own, local.port())));
        Listener {
            profile: ProfileId(profile as u16),
            sip: ListenerInfo {
                id,
                transport: listen.transport,
                local,
                advertised: HostPort::from(SocketAddr::new(told, local.port())),
                inside,
            },
        }
    });
    SwitchConfig {
        profiles: profiles.collect(),
        listeners: listeners.collect(),
        registrar: config.registrar,
        calls: config.calls,
        voicemail: config.voicemail,
        media: MediaConfig {
            advertised_v4: config.media.address.or_else(|| bound_to(config, true)),
            advertised_v6: config.media.address_v6.or_else(|| bound_to(config, false)),
            ports: config.media.ports,
            codecs: config.media.codecs.clone(),
            max_lines: config.limits.media_lines,
        },
        nonce_lifetime: config.nonce_lifetime,
        max_transactions: config.limits.transactions,
        max_dialogs: config.limits.dialogs,
        gruu_key: SecretKey::new(gruu_key),
        inner_domains: config.dns.inner,
        judges_identity: config.stir.trust.is_some(),
        locate: locate::Settings { naptr: config.dns.naptr, ..locate::Settings::default() },
        watch: config.guard.watch.clone(),
        scanners: config.guard.scanners.clone(),
        product: config.product.clone(),
    }
}

/// Host parts that phones may use for this system: those configured, or the addresses it is reached by.
pub fn domains(config: &Config) -> Vec<String> {
    if !config.domains.is_empty() {
        return config.domains.clone();
    }
    let mut domains: Vec<String> = Vec::new();
    for (profile, listen) in configured(config) {
        for address in [config.profiles[profile].address, None] {
            let told = reachable(address, listen.address.ip()).to_string();
            if !domains.contains(&told) {
                domains.push(told);
            }
        }
    }
    domains
}

/// Every listener with its profile's index, in the order of their ids.
fn configured(config: &Config) -> impl Iterator<Item = (usize, crate::config::value::Listen)> + '_ {
    config.profiles.iter().enumerate().flat_map(|(index, profile)| profile.listen.iter().map(move |l| (index, *l)))
}

/// What peers are told instead of an address that is every address.
pub fn reachable(configured: Option<IpAddr>, local: IpAddr) -> IpAddr {
    if let Some(configured) = configured.filter(|address| address.is_ipv4() == local.is_ipv4()) {
        return configured;
    }
    if local.is_unspecified() { primary_address(local.is_ipv4()) } else { local }
}

/// The address that this machine sends from towards the rest of the world; loopback where it has no way there.
pub fn primary_address(v4: bool) -> IpAddr {
    // Documentation addresses (RFC 5737, RFC 3849): the routing table is asked, nothing is sent.
    let (outside, fallback): (SocketAddr, IpAddr) = if v4 {
        (SocketAddr::from((Ipv4Addr::new(198, 51, 100, 1), 9)), Ipv4Addr::LOCALHOST.into())
    } else {
        (SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9)), Ipv6Addr::LOCALHOST.into())
    };
    advertise::interface_towards(outside).unwrap_or(fallback)
}

fn media_address(config: &Config, v4: bool) -> Option<IpAddr> {
    let explicit = if v4 { config.media.address } else { config.media.address_v6 };
    explicit.or_else(|| {
        let (profile, listen) = configured(config).find(|(_, listen)| listen.address.is_ipv4() == v4)?;
        Some(reachable(config.profiles[profile].address, listen.address.ip()))
    })
}

/// Local addresses of media: one for each family that is used, on loopback where nothing else is listened on.
fn media_addresses(config: &Config) -> Vec<IpAddr> {
    let family = |v4: bool| {
        let explicit = if v4 { config.media.address } else { config.media.address_v6 };
        let mut own =
            configured(config).map(|(_, listen)| listen.address.ip()).filter(|ip| ip.is_ipv4() == v4).peekable();
        if own.peek().is_none() && explicit.is_none() {
            return None;
        }
        let inside = own.all(|ip| ip.is_loopback()) && explicit.is_none_or(|ip| ip.is_loopback());
        // Inside, the very address that the SDP names (127.0.0.0/8 has many); outside, whatever the packets come to.
        Some(match media_address(config, v4) {
            Some(named) if inside => named,
            Some(_) | None if v4 => Ipv4Addr::UNSPECIFIED.into(),
            Some(_) | None => Ipv6Addr::UNSPECIFIED.into(),
        })
    };
    [family(true), family(false)].into_iter().flatten().collect()
}

/// The very address that media of that family is bound to, where it is not bound to all of them.
fn bound_to(config: &Config, v4: bool) -> Option<IpAddr> {
    media_addresses(config).into_iter().find(|ip| ip.is_ipv4() == v4 && !ip.is_unspecified())
}

/// Certificates and keys as configured; the self-signed ones lie in `data_dir`.
pub fn tls_config(config: &Config, data_dir: &Path) -> TlsConfig {
    let certificate = match (&config.tls.certificate, &config.tls.key) {
        (Some(chain), Some(key)) => CertificateSource::Files { chain: chain.clone(), key: key.clone() },
        _ => CertificateSource::SelfSigned {
            dir: data_dir.to_owned(),
            domains: domains(config).into_iter().filter(|domain| domain.parse::<IpAddr>().is_err()).collect(),
            addresses: {
                let mut addresses: Vec<IpAddr> = configured(config)
                    .map(|(profile, listen)| reachable(config.profiles[profile].address, listen.address.ip()))
                    .collect();
                addresses.sort();
                addresses.dedup();
                addresses
            },
        },
    };
    let clients = match &config.tls.client_ca {
        Some(ca_file) => ClientAuth::Required { ca_file: ca_file.clone() },
        None => ClientAuth::Off,
    };
    let servers = PeerCheck::Verify { ca_file: config.tls.server_ca.clone(), wildcards: false };
    TlsConfig { certificate: Some(certificate), clients, servers, ..TlsConfig::default() }
}

fn rate_config(guard: &Guard) -> RateConfig {
    let unlimited = guard.unlimited.iter().map(|range| (*range, None));
    let loopback = source::loopback_ranges().into_iter().map(|range| (range, guard.loopback));
    let private = source::private_ranges().into_iter().map(|range| (range, guard.private));
    RateConfig {
        ranges: unlimited.chain(loopback).chain(private).collect(),
        stranger: guard.stranger,
        proven: guard.phone,
        all_strangers: guard.all_strangers,
        ..RateConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(source: &str) -> Config {
        Config::parse("t", source).unwrap()
    }

    #[test]
    fn loopback_alone_keeps_media_on_loopback() {
        let net = net_config(&Config::default(), Path::new("d"));
        assert_eq!(net.media.bind, [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        assert_eq!(domains(&Config::default()), ["127.0.0.1"]);
    }

    #[test]
    fn the_configured_address_is_told_where_a_router_translates() {
        let config = config(
            "[[profile]]\nname = \"a\"\nkind = \"internal\"\nlisten = [\"udp:0.0.0.0:5060\", \"udp:[::]:5060\"]\naddress = \"203.0.113.9\"",
        );
        let switch = switch_config(&config, [0; 32], |_| None);
        assert_eq!(switch.listeners[0].sip.advertised.to_string(), "203.0.113.9:5060");
        assert!(switch.listeners[1].sip.advertised.host.contains(':'), "an IPv6 listener never tells an IPv4 address");
        assert_eq!(switch.media.advertised_v4, None, "voice goes to what each listener tells");
        let media = net_config(&config, Path::new("d")).media.bind;
        assert_eq!(media, [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    fn loopback_is_limited_only_where_asked_and_never_a_source_that_is_named_unlimited() {
        let verdicts = |source: &str, from: &str| {
            let now = std::time::Instant::now();
            let mut limiter = ringfort_guard::RateLimiter::new(&rate_config(&config(source).guard), now, [0; 16]);
            let from = from.parse().unwrap();
            (0..3).filter(|_| limiter.check(now, from, || false) == ringfort_guard::Verdict::Pass).count()
        };
        let limited = "[guard]\nloopback = \"1/s burst 2\"\nunlimited = [\"127.0.0.2\"]";
        assert_eq!(verdicts("", "127.0.0.1"), 3);
        assert_eq!(verdicts(limited, "127.0.0.1"), 2);
        assert_eq!(verdicts(limited, "127.0.0.2"), 3);
    }

    #[test]
    fn phones_in_our_own_network_are_told_our_own_address() {
        let listener = |address: &str, listen: &str| {
            let config = config(&format!("[[profile]]\nname = \"a\"\nlisten = [\"udp:{listen}:5060\"]\n{address}"));
            let sip = switch_config(&config, [7; 32], |_| None).listeners.remove(0).sip;
            let told = |peer: &str| sip.told_to(peer.parse().unwrap()).host.clone();
            (told("198.51.100.7"), told("192.168.1.77"))
        };
        let public = "address = \"203.0.113.9\"";
        let both = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(listener(public, "192.168.1.2"), both("203.0.113.9", "192.168.1.2"));
        assert_eq!(listener("", "192.168.1.2"), both("192.168.1.2", "192.168.1.2"));
        assert_eq!(listener(public, "198.51.100.3"), both("203.0.113.9", "203.0.113.9"));
    }

    #[test]
    fn how_long_silence_and_idleness_last_is_what_the_file_says() {
        let silence = |text: &str| net_config(&config(text), Path::new("d")).media.relay.silence;
        assert_eq!(silence(""), Some(Duration::from_secs(120)));
        assert_eq!(silence("[calls]\nmedia_timeout = \"30s\""), Some(Duration::from_secs(30)));
        assert_eq!(silence("[calls]\nmedia_timeout = \"0s\""), None, "never");
        // A phone is reached by the connection that it registered by, for as long as it is registered.
        let idle = |text: &str| net_config(&config(text), Path::new("d")).connections.idle;
        assert_eq!(idle(""), Duration::from_secs(7_500));
        assert_eq!(idle("[registrar]\nmax_expires = \"1d\""), Duration::from_secs(86_700));
        assert_eq!(idle("[limits]\nidle = \"10m\""), Duration::from_secs(600), "whoever says so has it");
        let limits = net_config(&config("[limits]\nheaders = 40\nheader_line = 600\nuri = 300"), Path::new("d")).limits;
        assert_eq!((limits.message, limits.headers, limits.header_line, limits.uri), (65_536, 40, 600, 300));
    }

    #[test]
    fn a_port_that_the_system_chose_is_the_one_that_is_told() {
        let config = config("[[profile]]\nname = \"a\"\nlisten = [\"udp:127.0.0.1:0\"]");
        let switch = switch_config(&config, [0; 32], |_| Some("127.0.0.1:40000".parse().unwrap()));
        assert_eq!(switch.listeners[0].sip.advertised.to_string(), "127.0.0.1:40000");
    }
}
