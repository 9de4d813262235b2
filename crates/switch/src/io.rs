//! The seam between the switch and the world: what it asks for (`Output`), what an operator asks of it (`Command`),
//! and what it has to say (`Notice`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ringfort_guard::{BanChange, BanSet, Cidr};
use ringfort_media::types as media;
use ringfort_sip::flow::{ConnId, Transmit};
use ringfort_sip::locate::Query;
use serde::{Deserialize, Serialize};

use crate::model::{CallId, Context, ExtensionId, LegId, Pii, TenantId};
use crate::record::{JournalRecord, UnixMillis};
use crate::route::Step;
use crate::voicemail::MailAsk;

/// What the switch wants done, in order. A `Journal` that stands before a `Transmit` is written before it is sent.
#[derive(Debug)]
pub enum Output {
    Transmit(Transmit),
    Media(media::Command),
    Journal(JournalRecord),
    /// A question for the DNS; its answer goes to [`Switch::handle_dns_answer`](crate::Switch::handle_dns_answer).
    Query(Query),
    /// A certificate to fetch; it goes to [`Switch::handle_fetched`](crate::Switch::handle_fetched).
    Fetch(ringfort_stir::Query),
    /// Close a stream connection.
    CloseConn(ConnId),
    Notice(Notice),
    /// A proven offence, for the log that other programs read (GUARD-9).
    Offence(Box<OffenceReport>),
    /// An offence of nobody who could be proven: the source's rate is lowered (GUARD-6).
    Penalise(IpAddr),
    /// The sources that are dropped unread from now on.
    Bans(Arc<BanSet>),
    /// The same change, for whoever else enforces it.
    Ban(BanChange),
    /// For whoever keeps messages; answers go to [`Switch::handle_mail`](crate::Switch::handle_mail).
    Mail(MailAsk),
}

/// A proven offence (GUARD-5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffenceReport {
    pub at: UnixMillis,
    pub source: IpAddr,
    /// `authentication`, `malformed`, `callee`, `unknown-user`, `scanner`, `flood`.
    pub offence: String,
    /// Which rule says so.
    pub rule: String,
    /// Who he said he was, and whom he asked for; as he wrote it, in bounded length.
    pub user: Pii<String>,
    pub callee: Pii<String>,
    /// What it led to: `3 of 5`, `banned`, `never banned: …`.
    pub counted: String,
}

/// What an operator asks of the guard (GUARD-8).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "guard", rename_all = "snake_case")]
pub enum GuardCommand {
    Status,
    /// The addresses that are banned, the newest first.
    Bans {
        limit: usize,
    },
    /// The last offences, the newest first.
    Log {
        limit: usize,
    },
    /// `for_s`: seconds; `None`: until it is lifted.
    Ban {
        address: IpAddr,
        for_s: Option<u64>,
    },
    Unban {
        address: IpAddr,
    },
    /// Nobody in that range is banned any more.
    Allow {
        #[serde(with = "cidr")]
        range: Cidr,
    },
    Unallow {
        #[serde(with = "cidr")]
        range: Cidr,
    },
    /// Everything that is known of an address.
    Why {
        address: IpAddr,
    },
}

mod cidr {
    use ringfort_guard::Cidr;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(range: &Cidr, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(range)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cidr, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Figures of the guard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardStatus {
    /// Sources with offences within the window that are not banned yet.
    pub failed_now: usize,
    /// Offences of proven sources since the start.
    pub failed_total: u64,
    /// Offences of sources that may be forged: they lower a rate and never ban.
    pub unproven_total: u64,
    pub banned_now: usize,
    pub banned_total: u64,
    /// Requests to profiles that are closed to their source (GUARD-3).
    pub refused_acl_total: u64,
    /// Ranges that operators allowed.
    pub allowed: Vec<String>,
    /// Those of the configuration.
    pub never_banned: Vec<String>,
    /// So many offences within so long ban for so long.
    pub offences: u32,
    pub within_s: u64,
    pub ban_for_s: u64,
}

/// A source that is banned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanItem {
    /// An IPv4 address, or an IPv6 /64.
    pub source: String,
    pub since: UnixMillis,
    pub until: Option<UnixMillis>,
    /// Seconds.
    pub left_s: Option<u64>,
    /// How often it was banned, this time included.
    pub times: u32,
    /// The last offence, or `operator`.
    pub cause: String,
}

/// Everything that is known of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardWhy {
    pub source: String,
    pub banned: bool,
    /// One that is over is remembered for a while.
    pub ban: Option<BanItem>,
    /// Offences within the window: seconds ago, and which.
    pub offences: Vec<(u64, String)>,
    /// Why it is never banned, in words.
    pub exempt: Option<String>,
    /// Profiles whose access list does not name it.
    pub closed_profiles: Vec<String>,
    pub offences_for_ban: u32,
    pub within_s: u64,
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Debug,
    /// Once a call or registration.
    Info,
    /// Once a call, and worth reading when nothing else is.
    Notice,
    /// Somebody should look.
    Warn,
}

/// A log line: structured, masked where it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub level: Level,
    pub tenant: Option<TenantId>,
    pub call: Option<CallId>,
    /// Which rule acted, or which part speaks: `registrar`, `call`, `limit.extension_calls`, …
    pub rule: &'static str,
    pub text: String,
}

/// How operators name what several tenants may have: `NAME`, or `TENANT/NAME`.
pub fn of_tenant(name: &str) -> (Option<&str>, &str) {
    name.split_once('/').map_or((None, name), |(tenant, bare)| (Some(tenant), bare))
}

/// What an operator asks of the running switch. Answered at once, in the shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    Status,
    /// Of all tenants and extensions, or of one; `number` may be `TENANT/NUMBER`.
    Registrations {
        tenant: Option<String>,
        number: Option<String>,
    },
    Calls {
        /// `None`: of all.
        tenant: Option<String>,
    },
    Hangup {
        call: CallId,
    },
    /// Forget the bindings of an extension (all of them, or the one with this contact). Its number, or `TENANT/NUMBER`
    /// where several tenants have it.
    Unregister {
        number: String,
        contact: Option<String>,
    },
    /// Which way a call from an extension (or `trunk:NAME`) would go, now or at another time.
    RouteExplain {
        from: String,
        to: String,
        /// `2026-11-27T18:00` in the tenant's time zone; `None`: now.
        at: Option<String>,
    },
    /// State of the trunks, or of the one with this name (`TENANT/NAME` where several tenants have it).
    Trunks {
        name: Option<String>,
    },
    /// Try a trunk: OPTIONS, and with a number a call that is taken back when it rings. The result is asked for by
    /// `TrunkTestResult`.
    TrunkTest {
        name: String,
        number: Option<String>,
    },
    TrunkTestResult {
        test: u64,
    },
    /// Bans, offences and who is exempt.
    Guard(GuardCommand),
    /// What was spent, and what is left: of an extension's number, `trunk:NAME` or `tenant:NAME`; `None`: of all that have a
    /// limit or have spent, extensions only where they are asked for.
    Spending {
        account: Option<String>,
        extensions: bool,
    },
    /// Blacklists of a tenant (`None`: the first).
    Blacklist {
        tenant: Option<String>,
        ask: BlacklistAsk,
    },
    /// Take no new calls; `Status` tells how many are left.
    Drain,
    /// End what is left with BYE and a Reason.
    HangupAll,
}

/// The answer to a `Command`: a JSON object for `--json`, which the command line also renders as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandReply {
    Status(Status),
    Registrations {
        items: Vec<RegistrationItem>,
    },
    Calls {
        items: Vec<CallItem>,
    },
    Route(RouteAnswer),
    Trunks {
        items: Vec<TrunkItem>,
    },
    TrunkTest(TrunkTrial),
    GuardStatus(GuardStatus),
    Bans {
        items: Vec<BanItem>,
        /// Of all that are banned, these included.
        total: usize,
    },
    Offences {
        items: Vec<OffenceReport>,
    },
    GuardWhy(GuardWhy),
    Spending {
        items: Vec<SpendingItem>,
        counts: SpendingCounts,
    },
    Blacklist(BlacklistReply),
    Done {
        changed: usize,
    },
    /// In words: what was asked for does not exist or cannot be done.
    Refused {
        error: String,
    },
}

/// What is asked about blacklists. A list is named by its number or its name; `allow` is the allow-list, none is list 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlacklistAsk {
    Add {
        list: Option<String>,
        entry: String,
        hours: Option<u32>,
    },
    Delete {
        list: Option<String>,
        entry: String,
    },
    /// Which lists have a number.
    Check {
        number: String,
    },
    /// Entries of an import: all of them, or none where one is wrong. `dry_run`: only tells which are.
    Put {
        rows: Vec<BlacklistRow>,
        dry_run: bool,
    },
}

/// One entry as it is imported and exported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlacklistRow {
    /// `None`: the allow-list.
    pub list: Option<u32>,
    pub entry: String,
    /// Seconds since 1970; `None`: never.
    pub expires: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlacklistReply {
    /// The number or entry in the form that lists have it in.
    pub number: String,
    /// Entries that are new, or gone. One that got another end only is not counted.
    pub changed: usize,
    /// The allow-list has the number: no list stops it.
    pub allowed: bool,
    pub hits: Vec<BlacklistHit>,
    /// Rows of an import that are no entries.
    pub wrong: Vec<BlacklistWrong>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlacklistWrong {
    /// Its place in what was sent, from 0.
    pub row: usize,
    pub words: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlacklistHit {
    pub list: u32,
    pub name: String,
    pub entry: String,
}

/// Which way a call would go.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteAnswer {
    /// In words: `leaves by the route abroad`, …
    pub outcome: String,
    pub refused_by: Option<String>,
    /// The number in E.164 with `+`, where it has that form.
    pub canonical: Option<String>,
    /// The caller's number is hidden.
    pub hidden: bool,
    /// In the order in which they are tried.
    pub trunks: Vec<RouteTrunk>,
    /// Everything that was looked at, in its order.
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteTrunk {
    pub trunk: String,
    /// As it is written to that trunk.
    pub number: String,
    pub up: bool,
    /// An exact amount such as `0.05`; `None`: without a rate.
    pub cost_per_minute: Option<String>,
    pub currency: Option<String>,
    /// The rule of spending by which it is passed over.
    pub passed_over_by: Option<String>,
}

/// What an account has spent and may spend. Amounts are exact decimals as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpendingItem {
    /// An extension's number, `trunk:NAME` or `tenant:NAME`.
    pub account: String,
    pub tenant: String,
    /// That of the tenant's rates; `None`: it has none.
    pub currency: Option<String>,
    /// Today in the tenant's time zone: `2026-11-27`.
    pub day: String,
    pub spent_today: String,
    pub spent_this_month: String,
    /// For calls that may be answered.
    pub reserved: String,
    /// Calls that cost something just now.
    pub calls: u32,
    pub limit_per_call: Option<String>,
    pub limit_per_day: Option<String>,
    pub limit_per_month: Option<String>,
    /// Beside what is reserved; `None`: without a limit.
    pub left_today: Option<String>,
    pub left_this_month: Option<String>,
}

/// What limits of spending did since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpendingCounts {
    /// Calls that were refused, by rule.
    pub refused: BTreeMap<String, u64>,
    /// Calls that were ended as their money was gone.
    pub ended: u64,
    /// Calls that were warned of it.
    pub warned: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub revision: u64,
    pub draining: bool,
    pub extensions: usize,
    pub registrations: usize,
    pub calls: usize,
    pub calls_answered: usize,
    /// Calls in which the system itself speaks.
    pub announcements: usize,
    pub transactions: usize,
    pub dialogs: usize,
    pub blacklist_entries: usize,
    /// In all mailboxes.
    #[serde(default)]
    pub voicemail_messages: usize,
    pub media_streams: usize,
    pub media_ports: usize,
    pub counters: Counters,
    /// Calls and registrations that a rule refused since the start, by the rule.
    #[serde(default)]
    pub refusals: BTreeMap<String, u64>,
}

/// Totals since start; each is a Prometheus counter with the prefix `ringfort_` and the suffix `_total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    pub requests: u64,
    pub responses: u64,
    pub malformed: u64,
    pub challenges: u64,
    pub auth_failures: u64,
    pub registrations_accepted: u64,
    pub registrations_refused: u64,
    pub calls_attempted: u64,
    pub calls_answered: u64,
    pub calls_refused: u64,
    pub calls_failed: u64,
    pub messages: u64,
    /// Requests that came again and were answered from memory.
    pub sip_retransmissions: u64,
    /// 482, 483 and 440.
    pub sip_loops: u64,
    /// Requests refused with 503 because the system is full.
    pub sip_refused_full: u64,
    /// Requests for dialogs that there are not (481).
    pub sip_unknown_dialogs: u64,
    /// Of proven sources, in the order of `guard::Offence::ALL`.
    pub offences: [u64; 6],
    pub offences_unproven: u64,
    pub bans: u64,
    /// Requests to a profile that is closed to their source.
    pub refused_acl: u64,
    pub guest_calls: u64,
    pub guest_calls_wrong: u64,
    /// Calls in which the system itself spoke, and those in which it would have, had there been fewer of them.
    pub announcements: u64,
    pub announcements_full: u64,
    /// Calls of trunks whose caller is on a blacklist.
    pub calls_blacklisted: u64,
    /// Calls in which a message could be left, messages that were kept, those that had nothing or less than a second in them,
    /// and those that could not be kept.
    pub voicemail_calls: u64,
    pub voicemail_kept: u64,
    pub voicemail_short: u64,
    pub voicemail_failed: u64,
    /// Callers for whose message there was no room.
    pub voicemail_full: u64,
    /// Messages that phones have heard to their end.
    pub voicemail_played: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegistrationItem {
    pub tenant: String,
    pub number: String,
    pub contact: String,
    pub source: String,
    pub transport: String,
    pub user_agent: String,
    pub expires_in_s: u64,
    pub q: f32,
    pub path: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallItem {
    pub call: CallId,
    pub tenant: String,
    pub from: String,
    pub to: String,
    /// `trying`, `ringing`, `answered`, `announcing`, `held`, `ending`.
    pub state: String,
    pub seconds: u64,
    pub legs: usize,
    /// `srtp` or `rtp` for each side, the caller first.
    pub srtp: Vec<String>,
    pub sides: Vec<LegItem>,
}

/// One side of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LegItem {
    pub leg: LegId,
    pub tenant: TenantId,
    pub profile: String,
    pub context: Context,
    pub extension: Option<ExtensionId>,
    /// `asking`, `trying`, `ringing`, `up`.
    pub state: String,
    /// Whether its signalling is encrypted.
    pub tls: bool,
}

/// How a trunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrunkState {
    /// Turned off.
    Disabled,
    /// A peer of which nothing is known: no check has ended, or none is made.
    Unchecked,
    /// A peer that answers.
    Up,
    /// No answer to a registration yet.
    Registering,
    Registered,
    /// The provider refuses the registration.
    Failed,
    /// None of its targets answers.
    Unreachable,
}

/// A trunk as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrunkItem {
    pub name: String,
    pub tenant: String,
    /// `peer` or `register`.
    pub kind: String,
    pub state: TrunkState,
    /// Routes try it before those that are down.
    pub up: bool,
    /// Seconds since the state changed.
    pub since_s: u64,
    /// Seconds until the registration ends, where there is one.
    pub registered_for_s: Option<u64>,
    pub server: String,
    /// Where it was reached last: `203.0.113.1:5060 by UDP`.
    pub target: Option<String>,
    pub calls: u32,
    pub max_calls: u32,
    /// Since the start.
    pub calls_in: u64,
    pub calls_out: u64,
    /// Registrations and checks that came to nothing, since the start.
    pub failures: u64,
    /// In words.
    pub last_error: Option<String>,
    pub last_error_ago_s: Option<u64>,
    /// Seconds until a registration that failed is tried again.
    pub next_try_s: Option<u64>,
}

/// A test of a trunk, as far as it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrunkTrial {
    /// For `TrunkTestResult`.
    pub test: u64,
    pub trunk: String,
    pub done: bool,
    pub passed: bool,
    /// In words.
    pub steps: Vec<String>,
}
