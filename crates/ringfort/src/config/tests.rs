//! Every mistake that a configuration file can have, with the words that come out.

use super::*;

fn problems(source: &str) -> Vec<String> {
    Config::parse("ringfort.toml", source).unwrap_err().0.iter().map(ToString::to_string).collect()
}

/// One mistake only, and it says this.
fn says(source: &str, message: &str) {
    assert_eq!(problems(source), [format!("ringfort.toml:{message}")], "{source}");
}

#[test]
fn an_empty_file_is_the_default_and_listens_on_loopback_only() {
    let config = Config::parse("ringfort.toml", "").unwrap();
    assert_eq!(config.profiles.len(), 1);
    assert_eq!(config.profiles[0].kind, ProfileKind::Internal);
    assert!(config.profiles[0].listen.iter().all(|listen| listen.address.ip().is_loopback()));
    assert!(config.http.is_some_and(|http| http.ip().is_loopback()));
    assert_eq!(config.product.as_deref(), Some("Ringfort"));
}

#[test]
fn a_whole_file_reads_into_what_it_says() {
    let config = Config::parse(
        "ringfort.toml",
        r#"
        domains = ["PBX.example.com", "192.0.2.1"]
        data_dir = "/var/lib/ringfort"
        product = ""
        [[profile]]
        name = "office"
        kind = "internal"
        listen = ["udp:[::1]:5060", "tcp:127.0.0.1:5060", "tls:0.0.0.0:5061"]
        digest = ["MD5"]
        [[profile]]
        name = "world"
        listen = ["udp:192.0.2.1:5080"]
        address = "203.0.113.9"
        [media]
        address = "203.0.113.9"
        ports = "30000-30100"
        codecs = ["PCMA", "opus"]
        [tls]
        certificate = "a.pem"
        key = "b.pem"
        [calls]
        ring_for = "20s"
        media_timeout = "0s"
        [http]
        listen = "off"
        [guard]
        stranger = "off"
        unlimited = ["198.51.100.0/24"]
        [log]
        level = "warn,ringfort_net=debug"
        format = "json"
        "#,
    )
    .unwrap();
    assert_eq!(config.domains, ["pbx.example.com", "192.0.2.1"]);
    assert_eq!(config.product, None);
    let [office, world] = &config.profiles[..] else { panic!() };
    assert_eq!(
        office.listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["udp:[::1]:5060", "tcp:127.0.0.1:5060", "tls:0.0.0.0:5061"]
    );
    assert_eq!((office.kind, &office.digest[..]), (ProfileKind::Internal, &[Algorithm::Md5][..]));
    assert_eq!(world.kind, ProfileKind::External, "a profile is external unless it says otherwise (GUARD-2)");
    assert_eq!(config.media.ports, (30_000, 30_100));
    assert_eq!(config.calls.ring_for, Duration::from_secs(20));
    assert_eq!(config.calls.media_timeout, Duration::ZERO);
    assert_eq!(config.guard.stranger, None);
    assert_eq!((config.http, config.log.format), (None, LogFormat::Json));
}

#[test]
fn each_mistake_says_where_it_is_what_was_expected_and_what_came() {
    says(
        "domains = \"a.example\"",
        r#"1:11: domains: expected a list, each member a domain such as "pbx.example.com", got "a.example""#,
    );
    says(
        "domains = [\"sip:a.example\"]",
        r#"1:12: domains[1]: expected a domain such as "pbx.example.com", got "sip:a.example" (only the domain, without "sip:", user or port)"#,
    );
    says("domains = [\"a.example\", \"A.example\"]", r#"1:25: domains[2]: "a.example" is named twice"#);
    says(
        "nonce_lifetime = 30",
        r#"1:18: nonce_lifetime: expected a duration from "10s" to "1d", got the number 30 (in quotes and with its unit: "30s"?)"#,
    );
    says("nonce_lifetime = 3", r#"1:18: nonce_lifetime: expected a duration from "10s" to "1d", got the number 3"#);
    says(
        "nonce_lifetime = \"4 hours\"",
        r#"1:18: nonce_lifetime: expected a duration from "10s" to "1d", got "4 hours" (there is no unit "hours": "4h"?)"#,
    );
    says(
        "nonce_lifetime = \"30\"",
        r#"1:18: nonce_lifetime: expected a duration from "10s" to "1d", got "30" (the unit is missing: "30s"?)"#,
    );
    says("nonce_lifetime = \"1s\"", r#"1:18: nonce_lifetime: expected a duration from "10s" to "1d", got "1s""#);
    says(
        "[media]\nports = \"20000-10000\"",
        r#"2:9: media.ports: expected two UDP ports such as "10000-20000", got "20000-10000" (the first port is above the last)"#,
    );
    says(
        "[media]\naddress = \"::1\"",
        r#"2:11: media.address: expected an IPv4 address, got "::1" (address_v6 is for IPv6)"#,
    );
    says(
        "[media]\naddress = \"0.0.0.0\"",
        r#"2:11: media.address: expected an IPv4 address, got "0.0.0.0" (peers cannot send to it)"#,
    );
    says("[limits]\ndialogs = 0", "2:11: limits.dialogs: expected a number from 100 to 10000000, got the number 0");
    says("media = 5", "1:9: media: expected a table: [media], got the number 5");
    says("[log]\nformat = \"jsn\"", r#"2:10: log.format: expected "text" or "json", got "jsn" (did you mean "json"?)"#);
    says("[calls]\nring_for = true", r#"2:12: calls.ring_for: expected a duration from "1s" to "10m", got true"#);
    says(
        "[http]\nlisten = \"9099\"",
        r#"2:10: http.listen: expected ADDRESS:PORT such as "127.0.0.1:9099", or "off", got "9099""#,
    );
    says(
        "[guard]\nstranger = \"5\"",
        r#"2:12: guard.stranger: expected a rate such as "60/s" or "60/s burst 120", or "off", got "5""#,
    );
    says("[tls]\ncertificate = \"a.pem\"", "1:1: tls.key: missing; expected the certificate's private key, a PEM file");
    says("profile = []\nproduct = 1", "2:11: product: expected a short text, or \"\" for none, got the number 1");
}

#[test]
fn name_servers_are_read_and_each_mistake_in_them_is_named() {
    let dns = Config::parse("t", "[dns]\nservers = [\"127.0.0.1:5353\", \"2001:db8::53\"]\nnaptr = false").unwrap().dns;
    assert_eq!(dns.servers, ["127.0.0.1:5353".parse().unwrap(), "[2001:db8::53]:53".parse().unwrap()]);
    assert!(!dns.naptr && Config::default().dns == Dns { servers: Vec::new(), naptr: true, inner: false });
    says(
        "[dns]\nservers = [\"ns.example.org\"]",
        &format!(
            "2:12: dns.servers[1]: expected {}, got \"ns.example.org\" (an address, not a name: a name could not be looked up)",
            value::NAME_SERVER
        ),
    );
    says("[dns]\nnaptr = \"no\"", "2:9: dns.naptr: expected true or false, got \"no\"");
    let twice = "2:26: dns.servers[2]: \"192.0.2.53:53\" is named twice";
    says("[dns]\nservers = [\"192.0.2.53\", \"192.0.2.53:53\"]", twice);
}

#[test]
fn unknown_keys_are_refused_with_the_one_that_was_meant() {
    says("[media]\nport = \"1\"", "2:1: media: unknown key `port`; did you mean `ports`?");
    says("domain = [\"a\"]", "1:1: unknown key `domain`; did you mean `domains`?");
    says(
        "[registrar]\nmin-expires = \"60s\"",
        "2:1: registrar: unknown key `min-expires`; did you mean `min_expires`?",
    );
    says("[http]\ncolour = 1", "2:1: http: unknown key `colour`; known here: listen");
}

#[test]
fn profiles_are_checked_one_by_one_and_together() {
    says(
        "[[profile]]\nname = \"a\"",
        &format!("1:1: profile[1].listen: missing; expected a list of {}", value::LISTEN),
    );
    says(
        "[[profile]]\nname = \"a\"\nlisten = [\"127.0.0.1:5060\"]",
        &format!(
            "3:11: profile[1].listen[1]: expected {}, got \"127.0.0.1:5060\" (the transport is missing: \"udp:127.0.0.1:5060\"?)",
            value::LISTEN
        ),
    );
    says(
        "[[profile]]\nname = \"a\"\nlisten = [\"udp:127.0.0.1:5060\"]\n[[profile]]\nname = \"a\"\nlisten = [\"udp:0.0.0.0:5062\"]",
        "5:8: profile[2].name: there is another profile \"a\"",
    );
}

#[test]
fn listeners_that_the_system_would_refuse_are_found_before_it_does() {
    let file = |first: &str, second: &str| format!("[[profile]]\nname = \"a\"\nlisten = [\"{first}\", \"{second}\"]");
    let clash = "profile[1].listen[2]: tls:0.0.0.0:5060 is taken already by tcp:127.0.0.1:5060";
    assert!(problems(&file("tcp:127.0.0.1:5060", "tls:0.0.0.0:5060"))[0].ends_with(clash));
    for (first, second) in [
        ("udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"),
        ("udp:127.0.0.1:0", "udp:127.0.0.1:0"),
        ("udp:127.0.0.1:5060", "udp:[::]:5060"),
    ] {
        Config::parse("t", &file(first, second)).unwrap();
    }
}

#[test]
fn an_internal_profile_cannot_be_told_not_to_authenticate() {
    let source = "[[profile]]\nname = \"a\"\nkind = \"internal\"\nlisten = [\"udp:127.0.0.1:5060\"]\ndigest = []";
    says(source, "1:1: profile[1]: `digest` is empty: an internal profile always authenticates");
}

#[test]
fn values_that_do_not_go_together_are_named_together() {
    says(
        "[registrar]\nmin_expires = \"3h\"",
        "1:1: registrar: min_expires (3h) ≤ default_expires (1h) ≤ max_expires (2h) does not hold",
    );
    says("[calls]\nmin_se = \"1h\"", "1:1: calls: session_expires is below min_se: our own calls would be refused");
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_file() {
    let source = "domains = [\"ok.example\", 5]\n[media]\nport = \"1\"\nports = \"x\"\n[calls]\nmax = \"many\"\n";
    let lines: Vec<String> = problems(source).iter().map(|p| p.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(lines, ["ringfort.toml:1:26", "ringfort.toml:3:1", "ringfort.toml:4:9", "ringfort.toml:6:7"]);
}

#[test]
fn text_that_is_not_toml_is_shown_where_it_stops_being_so() {
    let error = Config::parse("ringfort.toml", "domains = [\"a.example\"\n[media]\n").unwrap_err().to_string();
    assert!(error.starts_with("ringfort.toml:") && error.contains("not valid TOML"), "{error}");
    let twice = Config::parse("ringfort.toml", "product = \"a\"\nproduct = \"b\"\n").unwrap_err().to_string();
    assert!(twice.contains("ringfort.toml:2:1: not valid TOML: duplicate key"), "{twice}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nowhere/ringfort.toml")).unwrap_err().to_string();
    assert_eq!(error, "/nowhere/ringfort.toml: cannot be read: No such file or directory (os error 2)");
}
