//! `ringfort.toml`: what belongs to one node. Read by [`reader`] with every mistake at once; everything has a default
//! that is safe, so that an empty file, and none, give a system that only its own machine can reach.
//! [`reference`] describes every key, and a test holds it to what is read here.

pub mod firewall;
pub mod problem;
pub mod reader;
pub mod reference;
pub mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfort_guard::{Cidr, Rate, RateConfig, WatchConfig};
use ringfort_media::bridge::LegPolicy;
use ringfort_net::config::ConnectionLimits;
use ringfort_sip::digest::Algorithm;
use ringfort_stir::rejection::Contact;
use ringfort_switch::config::{CallConfig, ProfileKind, RegistrarConfig, SCANNERS, VoicemailConfig};

use firewall::{Firewall, KernelBans};
use problem::{Problem, Problems};
use reader::{At, Document, Place, Table};
use value::Listen;

/// A node's whole configuration, valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// Host parts of the SIP addresses served here; the first is the digest realm. Empty: the addresses listened on.
    pub domains: Vec<String>,
    /// As written; relative to the working directory.
    pub data_dir: Option<PathBuf>,
    pub profiles: Vec<Profile>,
    pub media: Media,
    pub tls: Tls,
    pub limits: Limits,
    pub registrar: RegistrarConfig,
    pub calls: CallConfig,
    pub voicemail: VoicemailConfig,
    /// How long running calls may go on after a stop was asked for.
    pub drain_for: Duration,
    pub nonce_lifetime: Duration,
    /// User-Agent and Server; `None` leaves them out.
    pub product: Option<String>,
    pub guard: Guard,
    pub firewall: Firewall,
    pub dns: Dns,
    pub stir: Stir,
    /// `None`: no HTTP.
    pub http: Option<SocketAddr>,
    pub log: Log,
}

/// A group of listeners with one policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub name: String,
    pub kind: ProfileKind,
    pub listen: Vec<Listen>,
    /// What stands in Via, Contact and SDP for peers outside the machine's own network.
    pub address: Option<IpAddr>,
    pub digest: Vec<Algorithm>,
    /// Who may ask for anything here; `None`: everybody.
    pub allow: Option<Vec<Cidr>>,
}

#[derive(Clone, Debug)]
pub struct Media {
    pub address: Option<IpAddr>,
    pub address_v6: Option<IpAddr>,
    pub ports: (u16, u16),
    pub codecs: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Both or neither; neither: a certificate of our own in the data folder.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Authorities whose certificates peers have to show (mutual TLS).
    pub client_ca: Option<PathBuf>,
    /// Authorities of servers that we connect to; `None`: the public ones.
    pub server_ca: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct Limits {
    pub transactions: usize,
    pub dialogs: usize,
    /// Of a SIP message.
    pub sip: ringfort_sip::message::Limits,
    /// M-lines of one side of a call that are on at once.
    pub media_lines: usize,
    pub connections: ConnectionLimits,
}

/// Rate limits before parsing. `None`: no limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// Any source that is not proven, each.
    pub stranger: Option<Rate>,
    /// Sources in private ranges, each.
    pub private: Option<Rate>,
    /// Sources of registered phones and running calls, each.
    pub phone: Option<Rate>,
    /// All that are not proven together.
    pub all_strangers: Option<Rate>,
    /// Sources in the loopback ranges, each.
    pub loopback: Option<Rate>,
    /// Never limited, whatever range it lies in.
    pub unlimited: Vec<Cidr>,
    /// Offences and bans.
    pub watch: WatchConfig,
    pub scanners: Vec<String>,
    /// The log that other programs read; relative to `log.dir`. `None`: there is none.
    pub offence_log: Option<PathBuf>,
    pub kernel: KernelBans,
}

/// Signed caller numbers (RFC 8224).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stir {
    /// Authorities whose certificates are believed; without it nothing is verified.
    pub trust: Option<PathBuf>,
    /// Authorities of the web servers that certificates are fetched from; `None`: the public ones.
    pub web_ca: Option<PathBuf>,
    /// Certificates are fetched from private and loopback addresses too.
    pub inner: bool,
    pub freshness: Duration,
    /// With `info`; without it nothing is signed.
    pub key: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    /// Where others fetch the certificate.
    pub info: Option<String>,
    /// Where callers may complain whom a list turns away with 608.
    pub card: Option<RejectionCardConfig>,
}

/// The card of a 608 (RFC 8688).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectionCardConfig {
    /// Under which `/rejected` of `http.listen` is reached from outside.
    pub url: String,
    pub name: String,
    pub contacts: Vec<Contact>,
}

/// How names are looked up (RFC 3263).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Empty: the system's.
    pub servers: Vec<SocketAddr>,
    pub naptr: bool,
    /// Other domains may lead to private and loopback addresses.
    pub inner: bool,
}

#[derive(Clone, Debug)]
pub struct Log {
    /// Where log files go; `None`: `log` in the data folder.
    pub dir: Option<PathBuf>,
    pub level: String,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Document::new("defaults", "").read(read).expect("an empty file is a valid configuration")
    }
}

impl Config {
    /// The default, listening on every network of this machine.
    pub fn for_lan() -> Config {
        let mut config = Config::default();
        for listen in config.profiles.iter_mut().flat_map(|profile| &mut profile.listen) {
            listen.address.set_ip(std::net::Ipv4Addr::UNSPECIFIED.into());
        }
        config
    }

    /// Reads a file. The path stands in the mistakes as it was given.
    pub fn load(path: &Path) -> Result<Config, Problems> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(source) => Config::parse(&name, &source),
            Err(error) => Err(Problems(vec![Problem::unreadable(&name, &error)])),
        }
    }

    pub fn parse(file: &str, source: &str) -> Result<Config, Problems> {
        Document::new(file, source).read(read)
    }
}

/// Where nothing is said: phones on the loopback address.
fn default_profile() -> Profile {
    let listen = ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060", "tls:127.0.0.1:5061"];
    Profile {
        name: "phones".to_owned(),
        kind: ProfileKind::Internal,
        listen: listen.iter().map(|text| value::listen(text).expect("a constant")).collect(),
        address: None,
        digest: DEFAULT_DIGEST.to_vec(),
        allow: None,
    }
}

/// The default profile as it would be written.
fn default_profile_text() -> String {
    let Profile { name, listen, .. } = default_profile();
    let listen: Vec<String> = listen.iter().map(|listen| format!("{:?}", listen.to_string())).collect();
    format!("name = {name:?}\nkind = \"internal\"\nlisten = [{}]\n", listen.join(", "))
}

const DEFAULT_DIGEST: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Md5];
const ALGORITHMS: [(&str, Algorithm); 3] =
    [("SHA-256", Algorithm::Sha256), ("SHA-512-256", Algorithm::Sha512_256), ("MD5", Algorithm::Md5)];

const fn seconds(from: u64, to: u64) -> RangeInclusive<Duration> {
    Duration::from_secs(from)..=Duration::from_secs(to)
}

fn read(root: &mut Table<'_, '_>) -> Config {
    let domains = root.list("domains", "a domain such as \"pbx.example.com\"", value::domain).unwrap_or_default();
    unique(root, &domains, |domain| domain.clone(), "is named twice");
    let data_dir = root.text("data_dir", "a folder", path).map(|found| found.value);
    let mut names: BTreeMap<String, ()> = BTreeMap::new();
    let mut taken: Vec<At<Listen>> = Vec::new();
    let mut profiles = root.tables("profile", |table| profile(table, &mut names, &mut taken));
    if profiles.is_empty() && !root.has("profile") {
        profiles.push(default_profile());
    }
    let (calls, drain_for) = root.table("calls", calls);
    let registrar = root.table("registrar", registrar);
    Config {
        domains: domains.into_iter().map(|domain| domain.value).collect(),
        data_dir,
        profiles,
        media: root.table("media", media),
        tls: root.table("tls", tls),
        limits: root.table("limits", |table| limits(table, registrar.max_expires)),
        registrar,
        calls,
        voicemail: root.table("voicemail", voicemail),
        drain_for,
        nonce_lifetime: root
            .duration("nonce_lifetime", seconds(10, 86_400), false)
            .map_or(Duration::from_secs(300), of),
        product: product(root),
        guard: root.table("guard", guard),
        firewall: root.table("firewall", firewall::firewall),
        dns: root.table("dns", dns),
        stir: root.table("stir", stir),
        http: root.table("http", http),
        log: root.table("log", log),
    }
}

fn of<T>(found: At<T>) -> T {
    found.value
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("it is empty".into()) } else { Ok(PathBuf::from(text)) }
}

fn product(root: &mut Table<'_, '_>) -> Option<String> {
    let line = |text: &str| {
        if text.len() > 100 || text.chars().any(|c| c.is_control()) {
            Err("one line of at most 100 characters".to_owned())
        } else {
            Ok(text.to_owned())
        }
    };
    let given = root.text("product", "a short text, or \"\" for none", line).map(of);
    Some(given.unwrap_or_else(|| "Ringfort".to_owned())).filter(|text| !text.is_empty())
}

fn unique<T>(table: &Table<'_, '_>, items: &[At<T>], key: impl Fn(&T) -> String, message: &str) {
    for (index, item) in items.iter().enumerate() {
        let name = key(&item.value);
        if items[..index].iter().any(|earlier| key(&earlier.value) == name) {
            table.conflict(&item.place, format!("{name:?} {message}"));
        }
    }
}

fn profile(table: &mut Table<'_, '_>, names: &mut BTreeMap<String, ()>, taken: &mut Vec<At<Listen>>) -> Profile {
    let here = table.here();
    let word = |text: &str| {
        let right = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !text.is_empty() && text.len() <= 40 && text.chars().all(right) {
            Ok(text.to_owned())
        } else {
            Err(String::new())
        }
    };
    let expected = "a name of letters, digits, `-` and `_`";
    let name = table.text("name", expected, word);
    if name.is_none() && !table.has("name") {
        table.missing("name", expected);
    }
    if let Some(name) = &name
        && names.insert(name.value.clone(), ()).is_some()
    {
        table.conflict(&name.place, format!("there is another profile {:?}", name.value));
    }
    let kind = table.choice("kind", &[("internal", ProfileKind::Internal), ("external", ProfileKind::External)]);
    let listen = table.list("listen", value::LISTEN, value::listen);
    match &listen {
        None if !table.has("listen") => table.missing("listen", &format!("a list of {}", value::LISTEN)),
        Some(list) if list.is_empty() => table.conflict(&here, "`listen` is empty: nobody could reach this profile"),
        _ => {}
    }
    let listen = listen.unwrap_or_default();
    for item in &listen {
        if let Some(other) = taken.iter().find(|other| clash(&other.value, &item.value)) {
            table.conflict(&item.place, format!("{} is taken already by {}", item.value, other.value));
        }
        taken.push(item.clone());
    }
    let address = table.text("address", "an IP address that peers outside can reach", address);
    let kind = kind.unwrap_or(ProfileKind::External);
    Profile {
        name: name.map(of).unwrap_or_default(),
        kind,
        listen: listen.into_iter().map(of).collect(),
        address: address.map(of),
        digest: digest(table, kind, &here),
        allow: allow(table, kind),
    }
}

/// GUARD-3. Phones of an internal profile prove themselves wherever they are.
fn allow(table: &mut Table<'_, '_>, kind: ProfileKind) -> Option<Vec<Cidr>> {
    let list = table.list("allow", RANGE, cidr)?;
    if let Some(first) = list.first().filter(|_| kind == ProfileKind::Internal) {
        let words = "`allow` is for external profiles: an internal one asks everybody for credentials";
        table.conflict(&first.place, words);
    }
    Some(list.into_iter().map(of).collect())
}

const RANGE: &str = "an address or range such as \"198.51.100.0/24\"";

fn cidr(text: &str) -> Result<Cidr, String> {
    text.parse::<Cidr>().map_err(|error| error.to_string())
}

/// Two listeners that the system would not let live side by side: TCP and TLS share the port numbers.
fn clash(a: &Listen, b: &Listen) -> bool {
    let same_kind = a.transport.is_reliable() == b.transport.is_reliable();
    let overlap = a.address.ip() == b.address.ip()
        || (a.address.is_ipv4() == b.address.is_ipv4()
            && (a.address.ip().is_unspecified() || b.address.ip().is_unspecified()));
    same_kind && overlap && a.address.port() == b.address.port() && a.address.port() != 0
}

fn digest(table: &mut Table<'_, '_>, kind: ProfileKind, here: &Place) -> Vec<Algorithm> {
    let words: Vec<&str> = ALGORITHMS.iter().map(|(word, _)| *word).collect();
    let algorithm = |text: &str| {
        let known = ALGORITHMS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        known.copied().ok_or_else(|| reader::did_you_mean(text, &words))
    };
    let Some(list) = table.list("digest", &reader::one_of(&words), algorithm) else {
        return DEFAULT_DIGEST.to_vec();
    };
    unique(table, &list, |(word, _)| (*word).to_owned(), "is named twice");
    if list.is_empty() && kind == ProfileKind::Internal {
        table.conflict(here, "`digest` is empty: an internal profile always authenticates");
    }
    list.into_iter().map(|found| found.value.1).collect()
}

fn address(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = text.parse().map_err(|_| String::new())?;
    if ip.is_unspecified() || ip.is_multicast() { Err("peers cannot send to it".into()) } else { Ok(ip) }
}

fn media(table: &mut Table<'_, '_>) -> Media {
    let v4 = |text: &str| {
        address(text).and_then(|ip| if ip.is_ipv4() { Ok(ip) } else { Err("address_v6 is for IPv6".into()) })
    };
    let v6 =
        |text: &str| address(text).and_then(|ip| if ip.is_ipv6() { Ok(ip) } else { Err("address is for IPv4".into()) });
    let codec = |text: &str| {
        let right = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if !text.is_empty() && text.chars().all(right) { Ok(text.to_owned()) } else { Err(String::new()) }
    };
    let codecs =
        table.list("codecs", "a codec's name as in SDP, such as \"PCMA\" or \"opus\"", codec).unwrap_or_default();
    unique(table, &codecs, |name| name.to_ascii_lowercase(), "is named twice");
    Media {
        address: table.text("address", "an IPv4 address", v4).map(of),
        address_v6: table.text("address_v6", "an IPv6 address", v6).map(of),
        ports: table.text("ports", "two UDP ports such as \"10000-20000\"", value::ports).map_or((10_000, 20_000), of),
        codecs: codecs.into_iter().map(of).collect(),
    }
}

fn tls(table: &mut Table<'_, '_>) -> Tls {
    let tls = Tls {
        certificate: table.text("certificate", "a PEM file", path).map(of),
        key: table.text("key", "a PEM file", path).map(of),
        client_ca: table.text("client_ca", "a PEM file", path).map(of),
        server_ca: table.text("server_ca", "a PEM file", path).map(of),
    };
    match (&tls.certificate, &tls.key) {
        (Some(_), None) if !table.has("key") => table.missing("key", "the certificate's private key, a PEM file"),
        (None, Some(_)) if !table.has("certificate") => {
            table.missing("certificate", "the key's certificate, a PEM file")
        }
        _ => {}
    }
    tls
}

/// `registered`: the longest registration. A connection that it hangs on is not idle before that is over.
fn limits(table: &mut Table<'_, '_>, registered: Duration) -> Limits {
    let d = ConnectionLimits::default();
    let sip = ringfort_sip::message::Limits::default();
    let idle = d.idle.max(registered + Duration::from_secs(300));
    let day = 86_400;
    Limits {
        transactions: table.integer("transactions", "a number", 100..=10_000_000).map_or(200_000, of),
        dialogs: table.integer("dialogs", "a number", 100..=10_000_000).map_or(50_000, of),
        sip: ringfort_sip::message::Limits {
            message: table.integer("message", "octets", 2_048..=1_048_576).map_or(sip.message, of),
            headers: table.integer("headers", "a number", 32..=4_096).map_or(sip.headers, of),
            header_line: table.integer("header_line", "octets", 512..=65_536).map_or(sip.header_line, of),
            uri: table.integer("uri", "octets", 256..=65_536).map_or(sip.uri, of),
        },
        media_lines: table.integer("media_lines", "a number", 1..=32).map_or(LegPolicy::DEFAULT_MAX_LINES, of),
        connections: ConnectionLimits {
            all: table.integer("connections", "a number", 1..=1_000_000).map_or(d.all, of),
            strangers: table.integer("strangers", "a number", 1..=1_000_000).map_or(d.strangers, of),
            strangers_per_source: table
                .integer("strangers_per_source", "a number", 1..=1_000_000)
                .map_or(d.strangers_per_source, of),
            first_message: table.duration("first_message", seconds(1, 60), false).map_or(d.first_message, of),
            stranger_idle: table.duration("stranger_idle", seconds(5, day), false).map_or(d.stranger_idle, of),
            idle: table.duration("idle", seconds(10, 7 * day), false).map_or(idle, of),
            ..d
        },
    }
}

fn registrar(table: &mut Table<'_, '_>) -> RegistrarConfig {
    let d = RegistrarConfig::default();
    let bounds = || seconds(1, 30 * 86_400);
    let config = RegistrarConfig {
        min_expires: table.duration("min_expires", bounds(), false).map_or(d.min_expires, of),
        default_expires: table.duration("default_expires", bounds(), false).map_or(d.default_expires, of),
        max_expires: table.duration("max_expires", bounds(), false).map_or(d.max_expires, of),
        nat_keepalive: table.duration("nat_keepalive", seconds(5, 3_600), true).map_or(d.nat_keepalive, of),
    };
    if !(config.min_expires <= config.default_expires && config.default_expires <= config.max_expires) {
        let show = value::show_duration;
        table.conflict(
            &table.here(),
            format!(
                "min_expires ({}) ≤ default_expires ({}) ≤ max_expires ({}) does not hold",
                show(config.min_expires),
                show(config.default_expires),
                show(config.max_expires)
            ),
        );
    }
    config
}

fn calls(table: &mut Table<'_, '_>) -> (CallConfig, Duration) {
    let d = CallConfig::default();
    let config = CallConfig {
        max_calls: table.integer("max", "a number of calls", 1..=1_000_000).map_or(d.max_calls, of),
        ring_for: table.duration("ring_for", seconds(1, 600), false).map_or(d.ring_for, of),
        max_duration: table.duration("max_duration", seconds(1, 7 * 86_400), false).map_or(d.max_duration, of),
        media_timeout: table.duration("media_timeout", seconds(5, 86_400), true).map_or(d.media_timeout, of),
        session_expires: table.duration("session_expires", seconds(90, 86_400), true).map_or(d.session_expires, of),
        // RFC 4028 §4: Min-SE is never below 90 seconds.
        min_se: table.duration("min_se", seconds(90, 86_400), false).map_or(d.min_se, of),
        max_announcements: table
            .integer("announcements", "a number of calls", 0..=100_000)
            .map_or(d.max_announcements, of),
        announcements_per_source: table
            .integer("announcements_per_source", "a number of calls", 0..=100_000)
            .map_or(d.announcements_per_source, of),
        announcements_per_stranger: table
            .integer("announcements_per_stranger", "a number of calls", 0..=100_000)
            .map_or(d.announcements_per_stranger, of),
    };
    if !config.session_expires.is_zero() && config.session_expires < config.min_se {
        table.conflict(&table.here(), "session_expires is below min_se: our own calls would be refused");
    }
    (config, table.duration("drain_for", seconds(0, 86_400), false).map_or(Duration::from_secs(30), of))
}

fn voicemail(table: &mut Table<'_, '_>) -> VoicemailConfig {
    let d = VoicemailConfig::default();
    let megabytes = table.integer("megabytes", "a number", 1..=1_000_000).map(of);
    VoicemailConfig {
        longest: table.duration("longest", seconds(5, 600), false).map_or(d.longest, of),
        quiet: table.duration("silence", seconds(2, 120), false).map_or(d.quiet, of),
        at_once: table.integer("at_once", "a number of calls", 0..=1_000).map_or(d.at_once, of),
        messages: table.integer("messages", "a number", 1..=10_000).map_or(d.messages, of),
        octets: megabytes.map_or(d.octets, |megabytes: u64| megabytes << 20),
        keep_for: table.duration("keep_for", seconds(3_600, 3650 * 86_400), true).map_or(d.keep_for, of),
    }
}

fn guard(table: &mut Table<'_, '_>) -> Guard {
    let d = RateConfig::default();
    let private = d.ranges.iter().find_map(|(_, rate)| *rate);
    let mut rate = |key: &'static str, default: Option<Rate>| {
        let expected = "a rate such as \"60/s\" or \"60/s burst 120\", or \"off\"";
        table.text(key, expected, value::rate).map_or(default, of)
    };
    Guard {
        stranger: rate("stranger", d.stranger),
        private: rate("private", private),
        loopback: rate("loopback", None),
        phone: rate("phone", d.proven),
        all_strangers: rate("all_strangers", d.all_strangers),
        unlimited: table.list("unlimited", RANGE, cidr).unwrap_or_default().into_iter().map(of).collect(),
        watch: watch(table),
        scanners: {
            let part = |text: &str| {
                let long = (3..=64).contains(&text.len());
                if long { Ok(text.to_ascii_lowercase()) } else { Err("3 to 64 characters".to_owned()) }
            };
            let named = table.list("scanners", "a part of a User-Agent", part);
            named.map_or_else(|| SCANNERS.map(str::to_owned).to_vec(), |names| names.into_iter().map(of).collect())
        },
        offence_log: match table.text("offence_log", "a file, or \"off\"", path).map(of) {
            Some(file) if file == Path::new("off") => None,
            Some(file) => Some(file),
            None => Some(PathBuf::from("offences.log")),
        },
        kernel: firewall::kernel_bans(table),
    }
}

fn watch(table: &mut Table<'_, '_>) -> WatchConfig {
    let d = WatchConfig::default();
    let day = 86_400;
    let ban_for = table.duration("ban_for", seconds(1, 3650 * day), false).map_or(d.ban_for, of);
    WatchConfig {
        offences: table.integer("offences", "a number", 1..=1000).map_or(d.offences, of),
        within: table.duration("within", seconds(1, 7 * day), false).map_or(d.within, of),
        ban_for,
        growth: table.integer("ban_growth", "a number", 1..=100).map_or(d.growth, of),
        longest: table.duration("longest_ban", seconds(1, 3650 * day), false).map_or(d.longest, of).max(ban_for),
        remember: table.duration("remember_bans", seconds(0, 3650 * day), true).map_or(d.remember, of),
        never: match table.list("never_banned", RANGE, cidr) {
            Some(ranges) => ranges.into_iter().map(of).collect(),
            None => d.never,
        },
        ..d
    }
}

fn dns(table: &mut Table<'_, '_>) -> Dns {
    let servers = table.list("servers", value::NAME_SERVER, value::name_server).unwrap_or_default();
    unique(table, &servers, ToString::to_string, "is named twice");
    Dns {
        servers: servers.into_iter().map(of).collect(),
        naptr: table.boolean("naptr").unwrap_or(true),
        inner: table.boolean("inner").unwrap_or(false),
    }
}

fn stir(table: &mut Table<'_, '_>) -> Stir {
    let url = |text: &str| {
        let good = text.len() <= 256 && text.starts_with("https://") && !text.contains(|c: char| c.is_whitespace());
        if good { Ok(text.to_owned()) } else { Err("others fetch it by https".to_owned()) }
    };
    let stir = Stir {
        trust: table.text("trust", "a PEM file", path).map(of),
        web_ca: table.text("web_ca", "a PEM file", path).map(of),
        inner: table.boolean("inner").unwrap_or(false),
        freshness: table.duration("freshness", seconds(5, 3600), false).map_or(Duration::from_secs(60), of),
        key: table.text("key", "a PEM file", path).map(of),
        certificate: table.text("certificate", "a PEM file", path).map(of),
        info: table.text("info", "the URL of the certificate", url).map(of),
        card: rejection_card(table, url),
    };
    match (&stir.key, &stir.info) {
        (Some(_), None) if !table.has("info") => {
            table.missing("info", "the URL that others fetch the certificate from")
        }
        (None, Some(_)) if !table.has("key") => table.missing("key", "the certificate's private key, a PEM file"),
        (None, None) if stir.card.is_some() && !table.has("key") => {
            table.missing("key", "the private key that cards are signed with, a PEM file, and `info`");
        }
        _ => {}
    }
    stir
}

fn rejection_card(
    table: &mut Table<'_, '_>,
    url: impl Fn(&str) -> Result<String, String>,
) -> Option<RejectionCardConfig> {
    let address = table.text("card_url", "the URL under which /rejected of http.listen is reached", url).map(of);
    let name = table.text("card_name", "a name", |text| Ok::<_, String>(text.to_owned())).map(of);
    let contacts = table.list("card_contacts", "an address to complain to", crate::stir::card::contact);
    let contacts: Vec<Contact> = contacts.unwrap_or_default().into_iter().map(of).collect();
    let url = address?;
    if name.is_none() && !table.has("card_name") {
        table.missing("card_name", "who turns calls away, as a caller is told");
    }
    if contacts.is_empty() && !table.has("card_contacts") {
        table.missing("card_contacts", "where a caller may complain, such as [\"mailto:calls@example.com\"]");
    }
    Some(RejectionCardConfig { url, name: name?, contacts })
}

fn http(table: &mut Table<'_, '_>) -> Option<SocketAddr> {
    let expected = "ADDRESS:PORT such as \"127.0.0.1:9099\", or \"off\"";
    let read = |text: &str| match text {
        "off" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| String::new()),
    };
    let fallback = SocketAddr::from(([127, 0, 0, 1], 9099));
    table.text("listen", expected, read).map_or(Some(fallback), of)
}

fn log(table: &mut Table<'_, '_>) -> Log {
    let level = |text: &str| {
        let known = text.parse::<tracing_subscriber::filter::Targets>();
        known.map(|_| text.to_owned()).map_err(|_| String::new())
    };
    let expected = "error, warn, info, debug or trace, or a list such as \"info,ringfort_net=debug\"";
    Log {
        dir: table.text("dir", "a folder", path).map(of),
        level: table.text("level", expected, level).map_or_else(|| "info".to_owned(), of),
        format: table
            .choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)])
            .unwrap_or(LogFormat::Text),
    }
}
