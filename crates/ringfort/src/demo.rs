//! The first start without a configuration: two extensions to try, and a text that says how.

use std::fmt::Write as _;
use std::net::SocketAddr;

use ringfort_sip::flow::Transport;

/// Numbers and names of the extensions to try.
pub const EXTENSIONS: [(&str, &str); 2] = [("101", "First phone"), ("102", "Second phone")];

/// The site of the demo.
pub fn site_file() -> String {
    EXTENSIONS
        .iter()
        .map(|(number, name)| format!("[[extension]]\nnumber = \"{number}\"\nname = \"{name}\"\n\n"))
        .collect()
}

/// What a phone is told.
pub struct Account {
    pub number: String,
    pub user: String,
    /// `None`: not to be shown here.
    pub password: Option<String>,
}

/// What the text is made from.
pub struct Welcome<'a> {
    /// Where phones reach this machine.
    pub listeners: &'a [(Transport, SocketAddr)],
    pub accounts: &'a [Account],
    pub fingerprint: Option<&'a str>,
    pub http: Option<SocketAddr>,
    /// As a command line needs it, to put behind commands.
    pub data_flag: &'a str,
    pub lan: bool,
}

/// The text, framed.
pub fn text(welcome: &Welcome<'_>) -> String {
    let mut lines: Vec<String> = vec!["Ringfort runs, with two extensions to try.".into(), String::new()];
    lines.push("In a softphone (Linphone, Zoiper, MicroSIP, …) enter:".into());
    let mut seen: Vec<SocketAddr> = Vec::new();
    for (_, address) in welcome.listeners {
        if seen.contains(address) {
            continue;
        }
        seen.push(*address);
        let transports: Vec<&str> = welcome
            .listeners
            .iter()
            .filter(|(_, other)| other == address)
            .map(|(transport, _)| transport.as_str())
            .collect();
        let name = if seen.len() == 1 { "SIP server" } else { "" };
        lines.push(format!("  {name:<12}{address}  ({})", transports.join(" or ")));
    }
    for account in welcome.accounts {
        lines.push(String::new());
        lines.push(format!("  Extension   {}", account.number));
        lines.push(format!("  User        {}", account.user));
        lines.push(match &account.password {
            Some(password) => format!("  Password    {password}"),
            None => {
                format!("  Password    ringfort ctl extension show {} --secrets{}", account.number, welcome.data_flag)
            }
        });
    }
    if let [first, second, ..] = welcome.accounts {
        lines.push(String::new());
        lines.push(format!("Then dial {} from the first phone, or {} from the second.", second.number, first.number));
    }
    lines.push(String::new());
    if let Some(fingerprint) = welcome.fingerprint {
        lines.push("The TLS certificate is self-signed; its SHA-256 fingerprint:".into());
        // 32 pairs in two rows.
        let (first, second) = fingerprint.split_at_checked(fingerprint.len() / 2 + 1).unwrap_or((fingerprint, ""));
        lines.push(format!("  {}", first.trim_end_matches(':')));
        lines.push(format!("  {second}"));
    }
    if let Some(http) = welcome.http {
        lines.push(format!("Figures:  http://{http}/metrics"));
    }
    lines.push(String::new());
    lines.push("Next:".into());
    for (command, what) in [
        ("ctl status", "how it is"),
        ("ctl registrations", "which phones are there"),
        ("ctl cdr", "who called whom"),
        ("ctl extension add 103", "another extension"),
        ("export", "the site as a file, for `ringfort apply`"),
    ] {
        lines.push(format!("  {:<52}{what}", format!("ringfort {command}{}", welcome.data_flag)));
    }
    lines.push(String::new());
    if welcome.lan && welcome.listeners.iter().all(|(_, address)| address.ip().is_loopback()) {
        lines.push("No network was found: phones elsewhere cannot connect. Start it again when this machine".into());
        lines.push("has one, or write its address into a ringfort.toml. Ctrl-C stops it.".into());
    } else if welcome.lan {
        lines.push("Everybody on this machine's networks can connect. Configuration: docs/configuration.md".into());
    } else {
        lines.push("Only programs on this machine can connect; `ringfort run --listen-lan` opens it to the".into());
        lines.push("local network, a ringfort.toml to more. Ctrl-C stops it.".into());
    }
    frame(&lines)
}

fn frame(lines: &[String]) -> String {
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let bar = "─".repeat(width + 2);
    let mut out = format!("┌{bar}┐\n");
    for line in lines {
        let _ = writeln!(out, "│ {line}{} │", " ".repeat(width - line.chars().count()));
    }
    let _ = writeln!(out, "└{bar}┘");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_all_that_a_softphone_asks_for_and_a_straight_frame() {
        let local: SocketAddr = "127.0.0.1:5060".parse().unwrap();
        let text = text(&Welcome {
            listeners: &[
                (Transport::Udp, local),
                (Transport::Tcp, local),
                (Transport::Tls, "127.0.0.1:5061".parse().unwrap()),
            ],
            accounts: &[
                Account { number: "101".into(), user: "u1".into(), password: Some("p1".into()) },
                Account { number: "102".into(), user: "u2".into(), password: None },
            ],
            fingerprint: Some(&["AB"; 32].join(":")),
            http: Some("127.0.0.1:9099".parse().unwrap()),
            data_flag: " --data d",
            lan: false,
        });
        for part in [
            "127.0.0.1:5060  (UDP or TCP)",
            "127.0.0.1:5061  (TLS)",
            "u1",
            "p1",
            "u2",
            "dial 102",
            "ctl status --data d",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let widths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
        assert_eq!(text.matches("AB").count(), 32);
    }

    #[test]
    fn a_start_for_the_network_says_where_there_is_none() {
        let told = |address: &str| {
            let listeners = [(Transport::Udp, address.parse().unwrap())];
            let (listeners, accounts) = (&listeners[..], &[][..]);
            text(&Welcome { listeners, accounts, fingerprint: None, http: None, data_flag: "", lan: true })
        };
        assert!(told("127.0.0.1:5060").contains("No network was found"));
        assert!(told("192.0.2.7:5060").contains("Everybody on this machine's networks can connect"));
    }

    #[test]
    fn the_demo_is_a_valid_site() {
        crate::admin::check_site("demo", &site_file()).unwrap();
    }
}
