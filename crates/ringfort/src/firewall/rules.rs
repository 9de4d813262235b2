//! The rule set (DOM-7): everything is dropped that the configuration has no use for. Pure text, in a table of its own, so
//! that nothing of anybody else is touched. The bans' table stands before it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ringfort_net::enforce;
use ringfort_sip::flow::Transport;

use crate::config::Config;

/// The rules' own table; the bans' is [`enforce::TABLE`].
pub const TABLE: &str = "inet ringfort_firewall";

/// Ports that are accepted, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub tcp: bool,
    pub first: u16,
    pub last: u16,
    pub what: String,
}

impl Accepted {
    fn port(tcp: bool, port: u16, what: &str) -> Self {
        Self { tcp, first: port, last: port, what: what.to_owned() }
    }

    pub fn protocol(&self) -> &'static str {
        if self.tcp { "tcp" } else { "udp" }
    }

    pub fn ports(&self) -> String {
        if self.first == self.last { self.first.to_string() } else { format!("{}-{}", self.first, self.last) }
    }

    pub fn is_tcp_port(&self, port: u16) -> bool {
        self.tcp && (self.first..=self.last).contains(&port)
    }
}

/// What is accepted beside secure shell. Listeners that only this machine can reach need nothing.
pub fn accepted(config: &Config) -> Vec<Accepted> {
    let mut all = Vec::new();
    let mut sip: BTreeMap<(u16, bool), String> = BTreeMap::new();
    for profile in &config.profiles {
        for listen in profile.listen.iter().filter(|l| !l.address.ip().is_loopback() && l.address.port() != 0) {
            let words = match listen.transport {
                Transport::Udp | Transport::Tcp | Transport::Ws => "SIP",
                Transport::Tls | Transport::Wss => "SIP over TLS",
            };
            sip.entry((listen.address.port(), listen.transport.is_reliable())).or_insert_with(|| words.to_owned());
        }
    }
    let reached = !sip.is_empty();
    all.extend(sip.into_iter().map(|((port, tcp), words)| Accepted::port(tcp, port, &words)));
    if reached {
        let (first, last) = config.media.ports;
        all.push(Accepted { tcp: false, first, last, what: "voice".to_owned() });
    }
    all.extend(config.firewall.web.iter().map(|port| Accepted::port(true, *port, "web")));
    for port in &config.firewall.stun {
        all.extend([false, true].map(|tcp| Accepted::port(tcp, *port, "STUN and TURN")));
    }
    all.extend(config.firewall.open.iter().map(|open| Accepted {
        tcp: open.tcp,
        first: open.first,
        last: open.last,
        what: "opened in the configuration".to_owned(),
    }));
    all
}

/// The file for nft: both tables. `origin`: what the configuration is called.
pub fn file(config: &Config, origin: &str) -> String {
    // A comment ends with its line.
    let origin: String = origin.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let accepted = accepted(config);
    let mut text = format!(
        "#!/usr/sbin/nft -f\n\
         # Made from {origin} by `ringfort firewall print`. Make it again when that changes.\n\
         # Only the two tables named here are touched.\n"
    );
    if !accepted.iter().any(|a| a.what.starts_with("SIP")) {
        text.push_str("# No listener outside loopback: telephones of other machines are not let in.\n");
    }
    let _ = write!(
        text,
        "\n# Bans; `ringfort run` fills the sets. First of all, for all ports.\n{}\
         \n# What this machine accepts.\n\
         add table {TABLE}\n\
         delete table {TABLE}\n\
         table {TABLE} {{\n",
        enforce::table()
    );
    if config.firewall.ssh_per_minute > 0 {
        for family in ["4", "6"] {
            let _ = write!(
                text,
                "\tset ssh{family} {{\n\t\ttype ipv{family}_addr\n\t\tsize 65535\n\t\tflags dynamic,timeout\n\t\ttimeout 2m\n\t}}\n"
            );
        }
    }
    text.push_str(
        "\tchain input {\n\
         \t\ttype filter hook input priority filter; policy drop;\n\
         \t\tiif \"lo\" accept\n\
         \t\tct state established,related accept\n\
         \t\tct state invalid drop\n\
         \t\ticmp type echo-request accept\n\
         \t\ticmpv6 type { echo-request, packet-too-big, time-exceeded, destination-unreachable, parameter-problem } accept\n\
         \t\ticmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect } ip6 hoplimit 255 accept\n\
         \t\tip6 saddr fe80::/10 icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } accept\n\
         \t\t# The answers of DHCPv6 come from other addresses than were asked.\n\
         \t\tip6 saddr fe80::/10 udp sport 547 udp dport 546 accept\n",
    );
    let ssh: Vec<String> = config.firewall.ssh.iter().map(u16::to_string).collect();
    if !ssh.is_empty() {
        let ports = ssh.join(", ");
        let rate = config.firewall.ssh_per_minute;
        if rate > 0 {
            for (family, source) in [("4", "ip saddr"), ("6", "ip6 saddr & ffff:ffff:ffff:ffff::")] {
                let _ = writeln!(
                    text,
                    "\t\ttcp dport {{ {ports} }} ct state new update @ssh{family} {{ {source} limit rate over {rate}/minute burst {rate} packets }} counter drop"
                );
            }
        }
        let _ = writeln!(text, "\t\ttcp dport {{ {ports} }} accept comment \"secure shell\"");
    }
    for entry in &accepted {
        let (protocol, ports) = (entry.protocol(), entry.ports());
        let _ = writeln!(text, "\t\t{protocol} dport {ports} accept comment \"{}\"", entry.what);
    }
    text.push_str("\t\tcounter comment \"dropped\"\n\t}\n}\n");
    text
}

/// The rules are taken away, whether they are there or not.
pub fn removal() -> String {
    format!("add table {TABLE}\ndelete table {TABLE}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse("t", text).unwrap()
    }

    fn list(config: &Config) -> Vec<String> {
        accepted(config).iter().map(|a| format!("{} {} {}", a.protocol(), a.ports(), a.what)).collect()
    }

    #[test]
    fn the_ports_are_those_of_the_listeners_that_others_can_reach() {
        let text = "[[profile]]\nname = \"a\"\nlisten = [\"udp:0.0.0.0:5060\", \"tcp:[::]:5060\", \"tls:192.0.2.1:5061\", \"udp:127.0.0.1:5099\"]\n\
             [media]\nports = \"20000-20100\"\n[firewall]\nstun = [\"3478\"]\nweb = [\"443\"]\nopen = [\"udp:500-501\"]";
        assert_eq!(
            list(&config(text)),
            [
                "udp 5060 SIP",
                "tcp 5060 SIP",
                "tcp 5061 SIP over TLS",
                "udp 20000-20100 voice",
                "tcp 443 web",
                "udp 3478 STUN and TURN",
                "tcp 3478 STUN and TURN",
                "udp 500-501 opened in the configuration"
            ]
        );
    }

    #[test]
    fn a_system_on_loopback_alone_opens_no_port_for_telephones_and_says_so() {
        let config = config("[firewall]\nstun = []");
        assert_eq!(list(&config), ["tcp 80 web", "tcp 443 web"]);
        assert!(file(&config, "x").contains("# No listener outside loopback"));
    }

    #[test]
    fn the_name_of_the_configuration_cannot_bring_a_rule_with_it() {
        let text = file(&Config::default(), "a\nflush ruleset\n#");
        assert!(!text.lines().any(|line| line.trim() == "flush ruleset"), "{text}");
    }

    #[test]
    fn no_table_but_ours_is_named() {
        let text = file(&config("[firewall]\nssh_per_minute = 10\nopen = [\"tcp:1\"]"), "x");
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            for word in ["table ", "chain inet", "set inet", "rule inet", "element inet"] {
                let Some((_, rest)) = line.split_once(word) else { continue };
                assert!(rest.contains("ringfort"), "{line}");
            }
            assert!(!line.contains("flush ruleset"), "{line}");
        }
    }
}
