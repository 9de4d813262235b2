//! What the strings of a configuration file mean: durations, listeners, port ranges, host names.
//! Each function's error is a short reason, put in brackets behind "expected …, got …"; empty where nothing needs adding.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ringfort_guard::Rate;
use ringfort_sip::flow::Transport;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// `"30s"`, `"500ms"`, `"1h30m"`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err("it is empty".into());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return Err("a number comes first, then ms, s, m, h or d".into());
        }
        let number: u64 = rest[..digits].parse().map_err(|_| "the number is too long".to_owned())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &rest[..letters];
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let after = rest.trim_start();
            let word = &after[..after.bytes().take_while(u8::is_ascii_alphabetic).count()];
            return Err(match unit_of_word(word) {
                _ if word.is_empty() => format!("the unit is missing: \"{number}s\"?"),
                Some(meant) if meant == word => format!("no space stands before the unit: \"{number}{meant}\"?"),
                Some(meant) => format!("there is no unit {word:?}: \"{number}{meant}\"?"),
                None => format!("there is no unit {word:?}; use ms, s, m, h or d"),
            });
        };
        rest = &rest[letters..];
        total = number.checked_mul(*factor).and_then(|part| total.checked_add(part)).ok_or("it is too long")?;
    }
    Ok(Duration::from_millis(total))
}

/// The unit that a word means: `h` for `hours`.
fn unit_of_word(word: &str) -> Option<&'static str> {
    const WORDS: [(&str, &[&str]); 5] = [
        ("ms", &["ms", "msec", "millisecond"]),
        ("s", &["s", "sec", "second"]),
        ("m", &["m", "min", "minute"]),
        ("h", &["h", "hr", "hour"]),
        ("d", &["d", "day"]),
    ];
    let lower = word.to_ascii_lowercase();
    let is = |known: &&str| lower == *known || lower.strip_suffix('s') == Some(*known);
    WORDS.iter().find(|(_, words)| words.iter().any(is)).map(|(unit, _)| *unit)
}

/// The shortest way to write a duration that [`duration`] reads back: `90s`, `1h`.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis() as u64;
    if millis == 0 {
        return "0s".to_owned();
    }
    let (unit, factor) = UNITS.iter().rev().find(|(_, factor)| millis.is_multiple_of(*factor)).expect("1 divides");
    format!("{}{unit}", millis / factor)
}

/// A listener as it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    pub transport: Transport,
    /// The port may be 0: the system chooses.
    pub address: SocketAddr,
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.transport.to_string().to_ascii_lowercase(), self.address)
    }
}

/// What is written where a listener is asked for.
pub const LISTEN: &str = "TRANSPORT:ADDRESS:PORT such as \"udp:127.0.0.1:5060\" or \"tls:[::1]:5061\"";

/// `udp:127.0.0.1:5060`, `tcp:[::]:5060`, `tls:0.0.0.0` (the transport's own port).
pub fn listen(text: &str) -> Result<Listen, String> {
    const TRANSPORTS: [(&str, Transport); 3] =
        [("udp", Transport::Udp), ("tcp", Transport::Tcp), ("tls", Transport::Tls)];
    let Some((name, rest)) = text.split_once(':') else {
        return Err("the transport is missing: udp:, tcp: or tls:".into());
    };
    let Some((_, transport)) = TRANSPORTS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)) else {
        return Err(match name {
            "ws" | "wss" => format!("{name} is not built yet; use udp, tcp or tls"),
            _ if name.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
                format!("the transport is missing: \"udp:{text}\"?")
            }
            _ => format!("there is no transport {name:?}; use udp, tcp or tls"),
        });
    };
    if let Ok(address) = rest.parse() {
        return Ok(Listen { transport: *transport, address });
    }
    let bracketed = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip = match bracketed {
        Some(v6) => v6.parse().map(IpAddr::V6).ok(),
        None => rest.parse().map(IpAddr::V4).ok(),
    };
    if let Some(ip) = ip {
        return Ok(Listen { transport: *transport, address: SocketAddr::new(ip, transport.default_port()) });
    }
    let (host, port) = rest.rsplit_once(':').unwrap_or((rest, ""));
    Err(match (host.parse::<std::net::Ipv6Addr>(), port.parse::<u16>()) {
        (Ok(_), _) => format!("an IPv6 address stands in brackets: \"{name}:[{host}]:{port}\""),
        (_, Err(_)) if !port.is_empty() => format!("{port:?} is no port from 0 to 65535"),
        _ => format!("{host:?} is not an IP address of this machine; names are not looked up here"),
    })
}

/// What is written where a name server is asked for.
pub const NAME_SERVER: &str = "a name server's address such as \"192.0.2.53\" or \"127.0.0.1:5353\"";

/// `192.0.2.53`, `127.0.0.1:5353`, `2001:db8::53`, `[2001:db8::53]:5353`.
pub fn name_server(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 { Err("port 0 is no port to ask at".into()) } else { Ok(address) };
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(ip) => Ok(SocketAddr::new(ip, 53)),
        Err(_) => Err("an address, not a name: a name could not be looked up".into()),
    }
}

/// `10000-20000`: both ends included, the first even (RTP takes even ports, RTCP the next odd one; RFC 3550 §11).
pub fn ports(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').ok_or_else(String::new)?;
    let parse = |text: &str| text.trim().parse::<u16>().map_err(|_| format!("{:?} is no port", text.trim()));
    let (first, last) = (parse(first)?, parse(last)?);
    if first < 1024 {
        return Err("ports below 1024 belong to the system".into());
    }
    if first > last {
        return Err("the first port is above the last".into());
    }
    // RTP on even ports: an odd first port loses itself.
    let pairs = (u32::from(last) + 1 - u32::from(first.next_multiple_of(2))) / 2;
    if pairs < 2 {
        return Err("there must be room for two pairs of ports, four ports at least".into());
    }
    Ok((first, last))
}

/// `60/s`, `60/s burst 120` (burst: twice the rate where it is not said); `off` is none.
pub fn rate(text: &str) -> Result<Option<Rate>, String> {
    if text == "off" {
        return Ok(None);
    }
    let number = |text: &str| match text.trim().parse::<u32>() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        Ok(_) => Err("from 1 to 1000000".to_owned()),
        Err(_) => Err(format!("{:?} is no number", text.trim())),
    };
    let (per_second, burst) = match text.split_once("burst") {
        Some((rate, burst)) => (rate.trim_end(), Some(number(burst)?)),
        None => (text, None),
    };
    let per_second = number(per_second.strip_suffix("/s").ok_or_else(String::new)?)?;
    Ok(Some(Rate::new(per_second, burst.unwrap_or(per_second.saturating_mul(2)))))
}

/// A domain or address that can stand to the right of the `@`; lower case in the result.
pub fn domain(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let bare = lower.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    if lower.contains('@') || lower.contains(':') {
        return Err("only the domain, without \"sip:\", user or port".into());
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if lower.is_empty() || lower.len() > 253 || !lower.split('.').all(label) {
        return Err("letters, digits and hyphens, parts joined by dots".into());
    }
    Ok(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_show() {
        for (text, millis) in
            [("30s", 30_000), ("500ms", 500), ("1h30m", 5_400_000), ("2d", 172_800_000), ("0s", 0), ("90s", 90_000)]
        {
            let parsed = duration(text).unwrap();
            assert_eq!(parsed.as_millis(), millis, "{text}");
            assert_eq!(duration(&show_duration(parsed)), Ok(parsed));
        }
        assert_eq!(show_duration(Duration::from_secs(7200)), "2h");
        assert_eq!(duration("30").unwrap_err(), "the unit is missing: \"30s\"?");
        assert_eq!(duration("30 s").unwrap_err(), "no space stands before the unit: \"30s\"?");
        for (text, why) in [
            ("4 hours", "there is no unit \"hours\": \"4h\"?"),
            ("90min", "there is no unit \"min\": \"90m\"?"),
            ("500 milliseconds", "there is no unit \"milliseconds\": \"500ms\"?"),
            ("2 Days", "there is no unit \"Days\": \"2d\"?"),
            ("3 x", "there is no unit \"x\"; use ms, s, m, h or d"),
        ] {
            assert_eq!(duration(text).unwrap_err(), why, "{text}");
        }
        assert_eq!(duration("3x").unwrap_err(), "there is no unit \"x\"; use ms, s, m, h or d");
        assert_eq!(duration("s").unwrap_err(), "a number comes first, then ms, s, m, h or d");
        assert_eq!(duration("99999999999999999999d").unwrap_err(), "the number is too long");
        assert_eq!(duration("9999999999999d9999999999999d").unwrap_err(), "it is too long");
    }

    #[test]
    fn listeners_read_with_and_without_port() {
        assert_eq!(listen("udp:127.0.0.1:5060").unwrap().to_string(), "udp:127.0.0.1:5060");
        assert_eq!(listen("UDP:[::1]:5070").unwrap().to_string(), "udp:[::1]:5070");
        assert_eq!(listen("tls:0.0.0.0").unwrap().to_string(), "tls:0.0.0.0:5061");
        assert_eq!(listen("tcp:[::]").unwrap().to_string(), "tcp:[::]:5060");
    }

    #[test]
    fn a_wrong_listener_says_how_to_mend_it() {
        for (text, why) in [
            ("127.0.0.1:5060", "the transport is missing: \"udp:127.0.0.1:5060\"?"),
            ("5060", "the transport is missing: udp:, tcp: or tls:"),
            ("sctp:127.0.0.1:5060", "there is no transport \"sctp\"; use udp, tcp or tls"),
            ("wss:127.0.0.1:443", "wss is not built yet; use udp, tcp or tls"),
            ("udp:::1:5060", "an IPv6 address stands in brackets: \"udp:[::1]:5060\""),
            ("udp:127.0.0.1:70000", "\"70000\" is no port from 0 to 65535"),
            (
                "udp:pbx.example:5060",
                "\"pbx.example\" is not an IP address of this machine; names are not looked up here",
            ),
        ] {
            assert_eq!(listen(text).unwrap_err(), why, "{text}");
        }
    }

    #[test]
    fn port_ranges_have_room_for_two_pairs() {
        assert_eq!(ports("10000-20000"), Ok((10_000, 20_000)));
        assert_eq!(ports("10000 - 10003"), Ok((10_000, 10_003)));
        assert!(ports("10001-10004").is_err(), "one pair only: 10002 and 10003");
        assert!(ports("20000-10000").unwrap_err().contains("above"));
        assert!(ports("80-90").is_err());
        assert!(ports("10000").is_err());
        assert!(ports("1-x").unwrap_err().contains("no port"));
        assert_eq!(ports("65532-65535"), Ok((65_532, 65_535)));
    }

    #[test]
    fn rates_read_with_and_without_burst() {
        assert_eq!(rate("off"), Ok(None));
        assert_eq!(rate("60/s"), Ok(Some(Rate::new(60, 120))));
        assert_eq!(rate("60/s burst 500"), Ok(Some(Rate::new(60, 500))));
        assert_eq!(rate("x/s").unwrap_err(), "\"x\" is no number");
        assert_eq!(rate("0/s").unwrap_err(), "from 1 to 1000000");
        assert!(rate("60").is_err() && rate("60/m").is_err());
    }

    #[test]
    fn name_servers_are_addresses_with_port_53_unless_it_is_said() {
        for (text, address) in [
            ("192.0.2.53", "192.0.2.53:53"),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("2001:db8::53", "[2001:db8::53]:53"),
            ("[2001:db8::53]", "[2001:db8::53]:53"),
            ("[2001:db8::53]:5353", "[2001:db8::53]:5353"),
        ] {
            assert_eq!(name_server(text).unwrap().to_string(), address);
        }
        assert!(name_server("dns.example.org").unwrap_err().contains("not a name"));
        assert!(name_server("192.0.2.53:0").unwrap_err().contains("port 0"));
    }

    #[test]
    fn domains_are_lower_case_and_bare() {
        assert_eq!(domain("PBX.Example.COM").unwrap(), "pbx.example.com");
        assert_eq!(domain("[2001:DB8::1]").unwrap(), "2001:db8::1");
        assert_eq!(domain("192.0.2.1").unwrap(), "192.0.2.1");
        for wrong in ["", "sip:example.com", "a@b", "exa mple.com", "-a.com", "a..b", "example.com:5060"] {
            assert!(domain(wrong).is_err(), "{wrong}");
        }
    }
}
