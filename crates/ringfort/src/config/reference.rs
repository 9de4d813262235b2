//! Every key of the two configuration files with its meaning: `docs/configuration.md` is made from this, and tests hold
//! it to what the code reads and to the defaults that it uses.

#[cfg(test)]
mod site;

use std::fmt::Write as _;

/// One key. `path` has `[]` behind the name of a list of tables.
pub struct Key {
    pub path: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the page in docs"))]
    pub kind: &'static str,
    /// A TOML value; in words where there is none.
    pub default: Default,
    pub text: &'static str,
}

pub enum Default {
    Toml(&'static str),
    Words(&'static str),
}

use Default::{Toml, Words};

const fn key(path: &'static str, kind: &'static str, default: Default, text: &'static str) -> Key {
    Key { path, kind, default, text }
}

/// `ringfort.toml`, in the order of the page.
pub const NODE: &[Key] = &[
    key(
        "domains",
        "list of domains",
        Words("the addresses listened on"),
        "What may stand to the right of the `@` in addresses of this system. The first is the digest realm: changing it makes every phone's stored password hash wrong, so choose it once.",
    ),
    key(
        "data_dir",
        "folder",
        Words("`data` in the working directory"),
        "Database, journal, key file, certificate and control socket. `--data` on the command line wins.",
    ),
    key("nonce_lifetime", "duration", Toml("\"5m\""), "How long a digest challenge may be answered."),
    key(
        "product",
        "text",
        Toml("\"Ringfort\""),
        "Contents of User-Agent and Server. `\"\"` leaves both header fields out, so that strangers learn less.",
    ),
    key("profile[].name", "name", Words("must be there"), "For logs, call records and the command line."),
    key(
        "profile[].kind",
        "`internal`, `external`",
        Toml("\"external\""),
        "`internal`: phones register here, and every call is authenticated, which nothing can turn off. `external`: everybody else; calls enter the `public` context, which never leads out by a trunk.",
    ),
    key(
        "profile[].listen",
        "list of listeners",
        Words("must be there"),
        "`udp:`, `tcp:` or `tls:`, an address of this machine (IPv6 in brackets), a port. Without a port: 5060, for TLS 5061. `0.0.0.0` and `[::]` are all addresses.",
    ),
    key(
        "profile[].address",
        "IP address",
        Words("the address listened on"),
        "What peers outside are told in Via and Contact, where a router translates addresses. Peers in private ranges are told the real one.",
    ),
    key(
        "profile[].digest",
        "list of `SHA-256`, `SHA-512-256`, `MD5`",
        Toml("[\"SHA-256\", \"MD5\"]"),
        "Algorithms offered, in this order. Most phones take the first they know; SIPp 3.6 gives up unless the first is MD5, baresip before 3.12 unless MD5 is all there is.",
    ),
    key(
        "profile[].allow",
        "list of addresses and ranges",
        Words("everybody"),
        "For `external` profiles: only these, and the addresses of trunks, may ask for anything; all others get no answer at all (GUARD-3). Whoever is called through this profile can still answer.",
    ),
    key(
        "media.address",
        "IPv4 address",
        Words("the profile's address"),
        "What stands in the `c=` line of SDP: the address that peers send voice to. Where it is a router's, peers in private ranges are told the real one.",
    ),
    key("media.address_v6", "IPv6 address", Words("the profile's address"), "The same for IPv6."),
    key(
        "media.ports",
        "first and last UDP port",
        Toml("\"10000-20000\""),
        "Open these in the firewall. Streams share ports, so that a few hundred serve thousands of calls.",
    ),
    key(
        "media.codecs",
        "list of codecs",
        Words("all that are known"),
        "Names as in SDP. What is not listed is taken out of offers and answers.",
    ),
    key(
        "tls.certificate",
        "PEM file",
        Words("a self-signed one, made at first start"),
        "Certificate chain, own certificate first. Read again on SIGHUP and `ringfort ctl reload`.",
    ),
    key("tls.key", "PEM file", Words("a self-signed one's"), "Its private key."),
    key(
        "tls.client_ca",
        "PEM file",
        Words("none: peers need no certificate"),
        "Authorities: a peer that connects by TLS has to show a certificate of one of them.",
    ),
    key(
        "tls.server_ca",
        "PEM file",
        Words("the public authorities"),
        "Authorities: servers of trunks and other domains that we connect to by TLS have to show a certificate of one of them, for the domain that is called (RFC 5922).",
    ),
    key(
        "limits.transactions",
        "number",
        Toml("200000"),
        "SIP transactions at once. When it is reached, new requests get 503 with Retry-After.",
    ),
    key("limits.dialogs", "number", Toml("50000"), "SIP dialogs at once; a call has two."),
    key(
        "limits.message",
        "octets",
        Toml("65536"),
        "The longest SIP message. A longer one gets 513, or 413 where its Content-Length says so, where an answer is possible.",
    ),
    key("limits.headers", "number", Toml("256"), "Header fields of a SIP message. One with more gets 513."),
    key(
        "limits.header_line",
        "octets",
        Toml("8192"),
        "The longest header field, folded lines included. A longer one gets 400.",
    ),
    key("limits.uri", "octets", Toml("2048"), "The longest Request-URI. A longer one gets 414."),
    key(
        "limits.media_lines",
        "number",
        Toml("4"),
        "Media streams (audio, video, …) of one side of a call that are on at once, each with its ports. More are refused with port 0, audio last.",
    ),
    key("limits.connections", "number", Toml("20000"), "TCP and TLS connections at once."),
    key(
        "limits.strangers",
        "number",
        Toml("2000"),
        "Connections at once without a registered phone or a running call at the other end. A new one closes the oldest.",
    ),
    key(
        "limits.strangers_per_source",
        "number",
        Toml("64"),
        "… from one address (an IPv6 /64). A new one is closed at once.",
    ),
    key(
        "limits.first_message",
        "duration",
        Toml("\"10s\""),
        "From connecting to the first whole message, the TLS handshake included.",
    ),
    key("limits.stranger_idle", "duration", Toml("\"1m\""), "A stranger's connection that says nothing is closed."),
    key(
        "limits.idle",
        "duration",
        Toml("\"125m\""),
        "So is any other one. The default is five minutes more than the longest registration.",
    ),
    key("registrar.min_expires", "duration", Toml("\"1m\""), "Phones that ask for less get 423 and are told this."),
    key("registrar.default_expires", "duration", Toml("\"1h\""), "For phones that do not ask."),
    key("registrar.max_expires", "duration", Toml("\"2h\""), "Phones that ask for more get this."),
    key(
        "registrar.nat_keepalive",
        "duration, `\"0s\"`: never",
        Toml("\"25s\""),
        "How often a phone behind a router is sent a keep-alive, so that calls find their way back.",
    ),
    key("calls.max", "number", Toml("10000"), "Calls at once. More get 503 with Retry-After."),
    key("calls.ring_for", "duration", Toml("\"1m\""), "Then the caller is told that nobody answered."),
    key("calls.max_duration", "duration", Toml("\"4h\""), "The longest call. Then both sides get BYE with the reason."),
    key(
        "calls.media_timeout",
        "duration, `\"0s\"`: never",
        Toml("\"2m\""),
        "A call is ended when no voice came from either side for this long.",
    ),
    key(
        "calls.session_expires",
        "duration, `\"0s\"`: only where the peer asks",
        Toml("\"30m\""),
        "Session timer that is asked for (RFC 4028): how long a call outlives a peer that vanished without BYE.",
    ),
    key("calls.min_se", "duration", Toml("\"90s\""), "The shortest session timer that is taken; others get 422."),
    key(
        "calls.announcements",
        "number",
        Toml("200"),
        "Calls at once in which the system itself speaks (prompts, tones, feature codes). Beyond it a caller is refused plainly; strangers have half of them at most.",
    ),
    key("calls.announcements_per_source", "number", Toml("50"), "The same for one address, of a phone or a trunk."),
    key("calls.announcements_per_stranger", "number", Toml("2"), "The same for the address (IPv6: /64) of a stranger."),
    key(
        "calls.drain_for",
        "duration",
        Toml("\"30s\""),
        "After SIGTERM: how long running calls may go on before they get BYE. Ctrl-C waits at most 2 s.",
    ),
    key(
        "voicemail.longest",
        "duration",
        Toml("\"3m\""),
        "The longest message; at most 10m. Then the caller is hung up.",
    ),
    key("voicemail.silence", "duration", Toml("\"10s\""), "So is one who says nothing for this long."),
    key(
        "voicemail.at_once",
        "number",
        Toml("20"),
        "Callers that leave a message at once, in all. More hear busy. 0: nobody can leave one.",
    ),
    key("voicemail.messages", "number", Toml("100"), "Messages of one mailbox. When it is full, callers hear busy."),
    key(
        "voicemail.megabytes",
        "number",
        Toml("100"),
        "The same for its files together. A minute has 1 MB, in G.722 2 MB.",
    ),
    key(
        "voicemail.keep_for",
        "duration, `\"0s\"`: for ever",
        Toml("\"30d\""),
        "How long a message is kept, heard or not.",
    ),
    key(
        "guard.stranger",
        "rate, or `off`",
        Toml("\"60/s burst 120\""),
        "SIP messages that one source address (an IPv6 /64) may send for long, and at once. More is dropped unread.",
    ),
    key("guard.private", "rate, or `off`", Toml("\"600/s burst 1200\""), "The same for sources in private ranges."),
    key(
        "guard.loopback",
        "rate, or `off`",
        Toml("\"off\""),
        "The same for this machine's own loopback addresses. Set it where a proxy on this machine passes strangers on.",
    ),
    key(
        "guard.phone",
        "rate, or `off`",
        Toml("\"2000/s burst 4000\""),
        "The same for sources of registered phones and running calls, once the rates above are used up.",
    ),
    key(
        "guard.all_strangers",
        "rate, or `off`",
        Toml("\"20000/s burst 40000\""),
        "All limited sources together. Registered phones and running calls pass it by.",
    ),
    key(
        "guard.unlimited",
        "list of addresses and ranges",
        Toml("[]"),
        "Never limited, whatever the keys above say of them. For your own proxies and load tests.",
    ),
    key(
        "guard.offences",
        "number",
        Toml("5"),
        "So many offences of one proven source (an IPv6 /64 is one source) ban it. See attack-blocking.md for what counts.",
    ),
    key("guard.within", "duration", Toml("\"3m\""), "… within so long."),
    key("guard.ban_for", "duration", Toml("\"1d\""), "How long the first ban of a source holds."),
    key(
        "guard.ban_growth",
        "number",
        Toml("2"),
        "Each further ban of the same source is so many times as long as the one before.",
    ),
    key("guard.longest_ban", "duration", Toml("\"30d\""), "… until it is this long."),
    key(
        "guard.remember_bans",
        "duration, `\"0s\"`: not at all",
        Toml("\"30d\""),
        "For so long after its end a ban counts when the next one comes.",
    ),
    key(
        "guard.never_banned",
        "list of addresses and ranges",
        Words("the loopback and private ranges"),
        "Never banned, beside the addresses of trunks and what `ringfort ctl guard allow` adds. A list replaces the default.",
    ),
    key(
        "guard.scanners",
        "list of texts",
        Words("friendly-scanner, sipvicious, pplsip and other known ones"),
        "A request whose User-Agent contains one of these, in any case, is an offence. A list replaces the default.",
    ),
    key(
        "guard.offence_log",
        "file, or `off`",
        Toml("\"offences.log\""),
        "One line for each offence that counts, in a form that fail2ban reads. A relative path lies in `log.dir`.",
    ),
    key(
        "guard.nftables",
        "`auto`, `on`, `off`",
        Toml("\"auto\""),
        "Bans in the kernel too, in a table of our own (`inet ringfort`): packets of a banned source are dropped for all ports and protocols before any program sees them. `auto`: where the process may (CAP_NET_ADMIN, the program nft) and a listener is not on loopback; what is missing is said at the start. `on`: no start without it.",
    ),
    key(
        "guard.nftables_at_stop",
        "`keep`, `remove`",
        Toml("\"keep\""),
        "What becomes of them when the server stops: `keep`: each ends in the kernel when its time is over. `ringfort firewall remove-bans` takes them away by hand.",
    ),
    key(
        "firewall.ssh",
        "list of ports",
        Toml("[\"22\"]"),
        "For `ringfort firewall`: where this machine's secure shell listens.",
    ),
    key(
        "firewall.ssh_per_minute",
        "number",
        Toml("0"),
        "New connections to it that one source (an IPv6 /64) may make in a minute. 0: any number.",
    ),
    key(
        "firewall.web",
        "list of ports",
        Toml("[\"80\", \"443\"]"),
        "TCP ports of web servers on this machine; `[]`: none.",
    ),
    key("firewall.stun", "list of ports", Toml("[\"3478\", \"5349\"]"), "STUN and TURN, UDP and TCP."),
    key(
        "firewall.open",
        "list of openings",
        Toml("[]"),
        "Whatever else is to be reached: `\"tcp:8443\"`, `\"udp:51820\"`, `\"udp:60000-61000\"`.",
    ),
    key(
        "dns.servers",
        "list of addresses",
        Words("the system's name servers"),
        "Who is asked where other domains' telephone systems are (RFC 3263), with a port where it is not 53. Several are asked side by side. What they say about DNSSEC counts only where all of them are on this machine.",
    ),
    key("dns.naptr", "true or false", Toml("true"), "`false`: NAPTR records are not asked for; it begins with SRV."),
    key(
        "dns.inner",
        "true or false",
        Toml("false"),
        "`true`: calls to other domains may be led to private and loopback addresses. For closed networks; otherwise whoever writes a DNS record could reach what stands behind this machine.",
    ),
    key(
        "http.listen",
        "address and port, or `off`",
        Toml("\"127.0.0.1:9099\""),
        "`/metrics` (Prometheus) and `/healthz`. No login: keep it on loopback or behind a proxy.",
    ),
    key(
        "stir.trust",
        "PEM file",
        Words("none: nothing is verified"),
        "Authorities whose certificates are believed in signed caller numbers (STIR/SHAKEN; in North America the list of the STI-PA). Trunks say what a verdict does: `verify_identity`.",
    ),
    key(
        "stir.web_ca",
        "PEM file",
        Words("the public authorities"),
        "Authorities of the web servers that certificates are fetched from.",
    ),
    key(
        "stir.inner",
        "true or false",
        Toml("false"),
        "`true`: certificates are fetched from private and loopback addresses too. For laboratories: who calls chooses the URL.",
    ),
    key("stir.freshness", "duration", Toml("\"1m\""), "How far the date of a signature may be from our clock."),
    key(
        "stir.key",
        "PEM file",
        Words("none: nothing is signed"),
        "Private key (P-256) that calls to trunks are signed with. With `info`.",
    ),
    key(
        "stir.certificate",
        "PEM file",
        Words("none: nothing is checked"),
        "Its certificate and those above: with it, no call is signed that it does not cover, or when it is over.",
    ),
    key("stir.info", "https URL", Words("must be there with `key`"), "Where others fetch that certificate."),
    key(
        "stir.card_url",
        "https URL",
        Words("none: a 608 has no Call-Info"),
        "Under which `/rejected` of `http.listen` is reached from outside, by a proxy: where a caller fetches the signed card of a 608 (RFC 8688). With `key`.",
    ),
    key("stir.card_name", "text", Words("must be there with `card_url`"), "Who turns calls away, as the card says."),
    key(
        "stir.card_contacts",
        "list of addresses",
        Words("must be there with `card_url`"),
        "Where a caller may complain: `https://…`, `mailto:…`, `tel:+…`.",
    ),
    key("log.dir", "folder", Words("`log` in the data folder"), "Where log files go."),
    key(
        "log.level",
        "level",
        Toml("\"info\""),
        "`error`, `warn`, `info`, `debug`, `trace`; by part: `\"info,ringfort_net=debug\"`.",
    ),
    key("log.format", "`text`, `json`", Toml("\"text\""), "One JSON object a line for log collectors."),
];

/// A `ringfort.toml` with everything in it: the default profile as it is, all other keys as comments with their default.
pub fn example() -> String {
    let mut out = String::from("# Every key of ringfort.toml. What is commented out shows its default.\n");
    let mut section = "";
    for key in NODE {
        let (table, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if table != section {
            section = table;
            let _ = match table.strip_suffix("[]") {
                Some(list) => write!(out, "\n[[{list}]]\n{}", super::default_profile_text()),
                None => write!(out, "\n[{table}]\n"),
            };
        }
        let default = match &key.default {
            Toml(value) => format!("{name} = {value}"),
            Words(words) if *words == "must be there" => continue,
            Words(words) => format!("{name} = …    # default: {words}"),
        };
        if table.ends_with("[]") && name == "kind" {
            continue;
        }
        let _ = write!(out, "# {}\n# {default}\n", key.text);
    }
    out
}

/// A Markdown section for each table of a file.
#[cfg(test)]
fn markdown(keys: &[Key]) -> String {
    let mut out = String::new();
    let mut section = None;
    for key in keys {
        let (table, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if section != Some(table) {
            section = Some(table);
            let title = match table.strip_suffix("[]") {
                Some(list) => format!("`[[{list}]]`, any number of times"),
                None if table.is_empty() => "At the top".to_owned(),
                None => format!("`[{table}]`"),
            };
            let _ = write!(out, "\n### {title}\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
        }
        let default = match &key.default {
            Toml(value) => format!("`{value}`"),
            Words(words) => (*words).to_owned(),
        };
        let _ = writeln!(out, "| `{name}` | {} | {default} | {} |", key.kind, key.text);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::site::SITE;
    use super::*;
    use crate::config::Config;
    use crate::config::reader::Document;

    fn paths(keys: &[Key]) -> Vec<String> {
        let mut paths: Vec<String> = keys.iter().map(|key| key.path.to_owned()).collect();
        paths.sort();
        paths
    }

    /// What the readers ask for, without the tables themselves.
    fn asked(document: &Document<'_>) -> Vec<String> {
        let all = document.asked();
        let is_table = |key: &String| {
            all.iter().any(|other| other.starts_with(&format!("{key}.")) || other.starts_with(&format!("{key}[]")))
        };
        let mut keys: Vec<String> = all.iter().filter(|key| !is_table(key)).cloned().collect();
        keys.sort();
        keys
    }

    #[test]
    fn the_reference_names_exactly_the_keys_that_are_read() {
        let document = Document::new("t", "[[profile]]\nname = \"a\"\nlisten = [\"udp:127.0.0.1:5060\"]");
        document.read(crate::config::read).unwrap();
        assert_eq!(asked(&document), paths(NODE));
    }

    /// The store reads this file: what it accepts is asked of itself.
    #[test]
    fn the_reference_of_the_site_names_exactly_the_keys_that_the_store_takes() {
        let mut known: Vec<String> = Vec::new();
        for table in ["tenant", "extension", "trunk", "route", "inbound", "alias"] {
            let errors = ringfort_store::site::parse("t", &format!("[[{table}]]\nnot_a_key = 1\n")).unwrap_err();
            let unknown = errors.errors.iter().find(|error| error.got == "a key that is not known").unwrap();
            let keys = unknown.expected.strip_prefix("one of ").unwrap().split(", ");
            known.extend(keys.map(|key| format!("{table}[].{key}")));
        }
        known.sort();
        assert_eq!(known, paths(SITE));
    }

    #[test]
    fn the_defaults_in_the_reference_are_the_defaults_in_use() {
        let mut text = String::new();
        let mut section = "";
        for key in NODE {
            let Toml(value) = key.default else { continue };
            let (table, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
            if table.ends_with("[]") {
                continue;
            }
            if table != section {
                section = table;
                let _ = writeln!(text, "[{table}]");
            }
            let _ = writeln!(text, "{name} = {value}");
        }
        let written = Config::parse("t", &text).unwrap();
        assert_eq!(format!("{written:?}"), format!("{:?}", Config::default()), "{text}");

        let bare = "[[profile]]\nname = \"a\"\nlisten = [\"udp:127.0.0.1:5060\"]\n";
        let full = format!("{bare}kind = \"external\"\ndigest = [\"SHA-256\", \"MD5\"]\n");
        assert_eq!(Config::parse("t", bare).unwrap().profiles, Config::parse("t", &full).unwrap().profiles);
    }

    #[test]
    fn the_example_is_the_default_and_has_every_key() {
        let example = example();
        let read = Config::parse("example", &example).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", Config::default()), "{example}");
        for key in NODE {
            let name = key.path.rsplit('.').next().unwrap();
            assert!(example.contains(&format!("{name} = ")), "{name}");
        }
        let uncommented: String = example
            .lines()
            .map(|line| {
                line.strip_prefix("# ").filter(|rest| rest.contains(" = ") && !rest.contains('…')).unwrap_or(line)
            })
            .map(|line| format!("{line}\n"))
            .filter(|line| !line.starts_with("# "))
            .collect();
        let read = Config::parse("example", &uncommented).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", Config::default()), "{uncommented}");
    }

    #[test]
    fn the_page_in_docs_is_made_from_the_reference() {
        const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let page = std::fs::read_to_string(PAGE).unwrap();
        let mut expected = page.clone();
        for (name, keys) in [("ringfort.toml", NODE), ("site.toml", SITE)] {
            let (begin, end) = (format!("<!-- keys of {name}: begin -->\n"), format!("\n<!-- keys of {name}: end -->"));
            let start = expected.find(&begin).expect("the page has the mark") + begin.len();
            let stop = expected.find(&end).expect("the page has the mark");
            expected.replace_range(start..stop, &markdown(keys));
        }
        if std::env::var_os("RINGFORT_UPDATE_DOCS").is_some() {
            std::fs::write(PAGE, &expected).unwrap();
        } else if page != expected {
            panic!("docs/configuration.md is old: RINGFORT_UPDATE_DOCS=1 cargo test -p ringfort reference");
        }
    }
}
