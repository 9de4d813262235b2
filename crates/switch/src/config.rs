//! What belongs to one node and is fixed while it runs: listeners, profiles, limits and times. The binary makes it
//! from `ringfort.toml`; every duration and bound that the switch obeys stands here with its default.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ringfort_guard::{Cidr, WatchConfig};
use ringfort_sip::digest::Algorithm;
use ringfort_sip::endpoint::ListenerInfo;
use ringfort_sip::flow::{ListenerId, Transport};
use ringfort_sip::locate;
use ringfort_sip::session_timer::SessionTimer;

use crate::model::ProfileId;

/// What kind of peers reach a profile (GUARD-2). A new profile is external.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProfileKind {
    /// Where phones register: every call is authenticated, and nothing can turn that off.
    Internal,
    /// Everybody else: enters the `public` context.
    External,
}

/// A group of listeners with one policy.
#[derive(Clone, Debug)]
pub struct Profile {
    pub id: ProfileId,
    pub name: String,
    pub kind: ProfileKind,
    /// Digest algorithms in the order they are offered (CALL-2). Never empty for an internal profile.
    pub digest: Vec<Algorithm>,
    /// Addresses that may ask for anything here, beside those of trunks; `None`: everybody (GUARD-3).
    pub allow: Option<Arc<[Cidr]>>,
}

/// A listener and the profile it belongs to. `ListenerInfo::id` is its index in `SwitchConfig::listeners`.
#[derive(Clone, Debug)]
pub struct Listener {
    pub profile: ProfileId,
    pub sip: ListenerInfo,
}

impl SwitchConfig {
    /// The listener by which an address is reached: one of the profile that is named, else of the first external profile that
    /// has one, for its transport and family. TCP and TLS are opened from there.
    pub fn listener_towards(&self, profile: Option<&str>, transport: Transport, ipv4: bool) -> Option<&Listener> {
        let fits = |l: &&Listener| l.sip.transport == transport && l.sip.local.is_ipv4() == ipv4;
        let named = |l: &&Listener| {
            let of = &self.profiles[usize::from(l.profile.0)];
            match profile {
                Some(name) => of.name == name,
                None => of.kind == ProfileKind::External,
            }
        };
        let found = self.listeners.iter().filter(fits).find(named);
        // Without an external profile at all, the one that there is has to do for going out.
        let external = self.profiles.iter().any(|p| p.kind == ProfileKind::External);
        let any = || self.listeners.iter().find(fits).filter(|_| profile.is_none() && !external);
        found.or_else(any)
    }

    /// RFC 3261 §18.1.1: the TCP listener of a profile for what is too long for UDP. `ipv4`: of whoever it goes to.
    pub fn tcp_towards(&self, profile: ProfileId, ipv4: bool) -> Option<ListenerId> {
        let fits =
            |l: &&Listener| l.profile == profile && l.sip.transport == Transport::Tcp && l.sip.local.is_ipv4() == ipv4;
        self.listeners.iter().find(fits).map(|l| l.sip.id)
    }
}

/// Registrar bounds (RFC 3261 §10.3).
#[derive(Clone, Copy, Debug)]
pub struct RegistrarConfig {
    /// A shorter interval is refused with 423 and Min-Expires.
    pub min_expires: Duration,
    pub default_expires: Duration,
    pub max_expires: Duration,
    /// How often a phone behind NAT is sent a keep-alive; zero turns it off.
    pub nat_keepalive: Duration,
}

impl Default for RegistrarConfig {
    fn default() -> Self {
        Self {
            min_expires: Duration::from_secs(60),
            default_expires: Duration::from_secs(3600),
            max_expires: Duration::from_secs(7200),
            nat_keepalive: Duration::from_secs(25),
        }
    }
}

/// Call limits and times.
#[derive(Clone, Copy, Debug)]
pub struct CallConfig {
    /// Calls at once in all; more get 503 with Retry-After.
    pub max_calls: u32,
    /// How long an extension rings before the caller gets 480 (or 408 where no phone answered the INVITE at all).
    pub ring_for: Duration,
    /// Longest call; then both sides get BYE with a Reason.
    pub max_duration: Duration,
    /// Both directions silent for this long end the call; zero turns it off.
    pub media_timeout: Duration,
    /// Session-Expires that is asked for (RFC 4028); zero turns session timers off where the peer does not ask.
    pub session_expires: Duration,
    /// Min-SE: a shorter interval is refused with 422 (RFC 4028 §4: not below 90 s).
    pub min_se: Duration,
    /// Calls at once in which the system itself speaks (prompts, tones); strangers have half of them at most.
    pub max_announcements: u32,
    /// Of one source, where that is a phone of ours or a trunk, and where it is a stranger.
    pub announcements_per_source: u32,
    pub announcements_per_stranger: u32,
}

impl Default for CallConfig {
    fn default() -> Self {
        Self {
            max_calls: 10_000,
            ring_for: Duration::from_secs(60),
            max_duration: Duration::from_secs(4 * 3600),
            media_timeout: Duration::from_secs(120),
            session_expires: Duration::from_secs(1800),
            min_se: Duration::from_secs(90),
            max_announcements: 200,
            announcements_per_source: 50,
            announcements_per_stranger: 2,
        }
    }
}

impl CallConfig {
    /// The session timer that we ask for (RFC 4028); none where it is turned off.
    pub fn session(&self) -> Option<SessionTimer> {
        let expires = self.session_expires.as_secs() as u32;
        (expires > 0).then_some(SessionTimer { expires, min_se: self.min_se.as_secs() as u32, refresher: None })
    }
}

/// Voicemail.
#[derive(Clone, Copy, Debug)]
pub struct VoicemailConfig {
    /// Of a message; then the caller is hung up.
    pub longest: Duration,
    /// The same when nothing was heard for so long.
    pub quiet: Duration,
    /// Callers that leave a message at once, in all.
    pub at_once: u32,
    /// Of one mailbox. More callers hear busy.
    pub messages: u32,
    pub octets: u64,
    /// For so long a message is kept; zero: for ever.
    pub keep_for: Duration,
}

impl Default for VoicemailConfig {
    fn default() -> Self {
        Self {
            longest: Duration::from_secs(180),
            quiet: Duration::from_secs(10),
            at_once: 20,
            messages: 100,
            octets: 100 << 20,
            keep_for: Duration::from_secs(30 * 86_400),
        }
    }
}

/// Addresses and ports of media.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// What stands in `c=` of the SDP that we write, by family; `None`: what the listener tells in Contact.
    pub advertised_v4: Option<IpAddr>,
    pub advertised_v6: Option<IpAddr>,
    /// First and last UDP port, both inclusive; RTP takes even ports, RTCP the odd ones above.
    pub ports: (u16, u16),
    /// Codecs that pass, in SDP names (`PCMA`, `opus`, …); empty: all that are known.
    pub codecs: Vec<String>,
    /// Media lines of a leg that are on at once; more are refused with port 0.
    pub max_lines: usize,
}

/// Programs that scan for telephone systems and try passwords, by what they call themselves.
pub const SCANNERS: [&str; 10] = [
    "friendly-scanner",
    "sipvicious",
    "pplsip",
    "sipcli",
    "sip-scan",
    "sipscan",
    "sundayddr",
    "vaxsipuseragent",
    "iwar",
    "siparmyknife",
];

/// 32 secret bytes. Shows as `***`.
#[derive(Clone)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes themselves. Call it where they are used, never where they are shown.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Everything of the node that the switch needs.
#[derive(Clone, Debug)]
pub struct SwitchConfig {
    pub profiles: Vec<Profile>,
    pub listeners: Vec<Listener>,
    pub registrar: RegistrarConfig,
    pub calls: CallConfig,
    pub voicemail: VoicemailConfig,
    pub media: MediaConfig,
    /// How long a nonce of ours is good for.
    pub nonce_lifetime: Duration,
    /// SIP transactions and dialogs at once; more get 503 with Retry-After.
    pub max_transactions: usize,
    pub max_dialogs: usize,
    /// Temporary GRUUs are made with it (RFC 5627); the same after a restart, as the registrations are.
    pub gruu_key: SecretKey,
    /// A stranger's domain may lead to private and loopback addresses. For closed networks and tests.
    pub inner_domains: bool,
    /// There are authorities by which signatures of callers' numbers are judged (RFC 8224).
    pub judges_identity: bool,
    /// How hosts of trunks and domains are located (RFC 3263); the transports are those of our listeners.
    pub locate: locate::Settings,
    /// When offenders are banned, and for how long.
    pub watch: WatchConfig,
    /// Names of programs that look for victims, in lower case: a User-Agent that contains one is an offence.
    pub scanners: Vec<String>,
    /// Contents of User-Agent and Server; `None` leaves both out.
    pub product: Option<String>,
}
