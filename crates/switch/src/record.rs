//! What outlives the process: registrations and call detail records, as the switch hands them to the journal.
//! `store` encrypts the numbers before a byte of them reaches a disk (CALL-10).

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::model::{CallId, ExtensionId, Pii, TenantId, TrunkId};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

/// One line of the journal, in the order things happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum JournalRecord {
    /// A binding was added or refreshed: it replaces the one with the same `extension` and `key`.
    Bound(Binding),
    /// A binding was removed by its phone or by an operator. Expired ones are not told: their time says so.
    Unbound { extension: ExtensionId, key: String },
    /// An attempt began. Should the process die before `CallEnded`, the record is closed with `EndCause::Crash`.
    CallStarted(Box<Cdr>),
    /// The attempt is over: the whole record, replacing the one that began it.
    CallEnded(Box<Cdr>),
    /// The relay's last word on the media of a call that has ended.
    CallQuality { call: CallId, directions: Vec<MediaQuality> },
    /// Somebody is banned, or free again (GUARD-6).
    Guard(GuardRecord),
    /// A call has cost something. The journal keeps it by itself.
    Spent(Spent),
    /// Entries of blacklists were added, given another end, or deleted. Those that have run out are not told: their time
    /// says so.
    Blacklist(Vec<BlacklistChange>),
}

/// What of the guard outlives a restart. Times are seconds since 1970; an IPv6 source is the first address of its /64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuardRecord {
    /// Replaces what was said of the same source before. `end`: none where an operator has to lift it.
    Banned {
        source: IpAddr,
        since: u64,
        end: Option<u64>,
        times: u32,
        cause: String,
    },
    /// Nothing is known of it any more.
    Lifted {
        source: IpAddr,
    },
    /// An operator says that nobody in this range is ever banned.
    Allowed {
        range: String,
    },
    Disallowed {
        range: String,
    },
}

/// A day of the calendar in a tenant's time zone: `20261127`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LocalDay(pub u32);

impl LocalDay {
    /// `202611`.
    pub fn month(self) -> u32 {
        self.0 / 100
    }
}

/// What a call has cost, step by step: written when the step begins. The sum over a call is its cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    pub call: CallId,
    pub tenant: TenantId,
    pub extension: Option<ExtensionId>,
    pub trunk: TrunkId,
    /// On which the steps begin.
    pub day: LocalDay,
    /// In millionths of the currency's unit; less than zero for what was paid ahead and not used.
    pub amount: i64,
    pub currency: String,
}

/// Whose money is counted (DOM-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Account {
    Tenant(TenantId),
    Extension(ExtensionId),
    Trunk(TrunkId),
}

/// What an account has spent on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentTotal {
    pub account: Account,
    pub day: LocalDay,
    /// Millionths.
    pub amount: u64,
    /// Empty where it was not written down yet: that of the tenant's rates.
    pub currency: String,
}

impl Spent {
    /// Those whose money it was.
    pub fn accounts(&self) -> impl Iterator<Item = Account> + use<> {
        crate::spend::accounts(self.tenant, self.trunk, self.extension)
    }
}

/// What a call has cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Millionths.
    pub amount: u64,
    pub currency: String,
}

/// How long an entry is on a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listed {
    /// While the seconds since 1970 are fewer.
    Until(u64),
    ForEver,
    /// Not any more.
    Gone,
}

/// One entry of one list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlacklistChange {
    pub tenant: TenantId,
    /// `None`: the allow-list.
    pub list: Option<u32>,
    /// As `guard::blacklist` writes it.
    pub entry: Pii<String>,
    pub listed: Listed,
}

/// A registered contact (RFC 3261 §10), enough of it to reach the phone after a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    pub tenant: TenantId,
    pub extension: ExtensionId,
    /// What makes it the same binding on refresh: instance and reg-id (RFC 5626 §6.2), or the contact's URI.
    pub key: String,
    /// The Contact URI as the phone wrote it, without angle brackets.
    pub contact: String,
    /// RFC 3327, first hop first.
    pub path: Vec<String>,
    /// `+sip.instance` without angle brackets (RFC 5626 §4.1).
    pub instance: Option<String>,
    pub reg_id: Option<u32>,
    /// Thousandths, 0 to 1000 (RFC 3261 §20.10).
    pub q: u16,
    pub call_id: String,
    pub cseq: u32,
    pub user_agent: String,
    /// The transport's Via name, the listener's index, and the two ends of the flow. A stream is gone after a restart.
    pub transport: String,
    pub listener: u16,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub expires_at: UnixMillis,
    /// Which temporary GRUUs of the instance are good (RFC 5627 §5.3); 0: none was ever made. The journal keeps it beside
    /// the rest.
    #[serde(skip)]
    pub gruu_epoch: u32,
    /// The fingerprint of the credentials that the phone has proven itself with; 0: not known. The journal keeps it
    /// beside the rest.
    #[serde(skip)]
    pub credentials: u64,
}

/// Who ended a call, and why (CALL-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// A party hung up an answered call.
    Normal,
    /// The caller gave up before an answer.
    Cancelled,
    /// The called side said no: its status is `Cdr::status`.
    Rejected,
    /// Nobody answered in time.
    NoAnswer,
    /// A rule of ours refused: `Cdr::rule` names it.
    Refused,
    /// Longest call time reached.
    MaxDuration,
    /// No media for too long.
    MediaTimeout,
    /// The peer stopped refreshing its session (RFC 4028), or never acknowledged.
    PeerGone,
    /// An operator hung it up.
    Operator,
    /// The system was stopped in order.
    Shutdown,
    /// The system died while the call ran; end time is when it was noticed.
    Crash,
    /// Ours: something failed that should not have.
    Internal,
    /// Its money was gone: `Cdr::rule` names the limit.
    Spending,
}

/// A call detail record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cdr {
    pub call: CallId,
    pub tenant: TenantId,
    /// Names, from the configuration.
    pub profile: String,
    pub context: String,
    pub caller: Pii<String>,
    pub caller_name: Pii<String>,
    /// As dialled.
    pub callee: Pii<String>,
    pub from_extension: Option<ExtensionId>,
    pub to_extension: Option<ExtensionId>,
    /// The caller's source.
    pub source: SocketAddr,
    pub started: UnixMillis,
    pub ringing: Option<UnixMillis>,
    pub answered: Option<UnixMillis>,
    pub ended: Option<UnixMillis>,
    /// The last status the caller got; 200 for an answered call.
    pub status: u16,
    pub cause: Option<EndCause>,
    /// In words, with the peer's Reason where it gave one.
    pub reason: String,
    /// The rule that refused, where one did.
    pub rule: Option<String>,
    pub quality: Vec<MediaQuality>,
    /// The journal keeps it beside the rest.
    #[serde(skip)]
    pub trunks: CallTrunks,
    /// The journal keeps it beside the rest.
    #[serde(skip)]
    pub more: CallMore,
    /// The sum of its [`Spent`] records, which the journal keeps; `None`: it cost nothing that is known.
    #[serde(skip)]
    pub cost: Option<Cost>,
}

/// What else there is to say of a call. It is kept by the names of its fields, so that it can grow: what an older version wrote
/// lacks some, and what a newer one wrote has some that are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallMore {
    /// What the signature of the caller's number was worth (RFC 8224).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityNote>,
    /// Where the call came from a number that had been called first (RFC 5806, RFC 7044).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diverted: Option<DiversionNote>,
    /// The number of the extension in whose mailbox the caller could leave a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voicemail: Option<String>,
}

impl CallMore {
    pub fn is_empty(&self) -> bool {
        *self == CallMore::default()
    }

    /// With numbers as `show` makes them.
    #[must_use]
    pub fn shown(mut self, show: impl Fn(&str) -> String) -> Self {
        if let Some(diverted) = &mut self.diverted {
            diverted.by = Pii::new(show(diverted.by.reveal()));
        }
        self
    }
}

/// By whom a call was diverted to the number that it came to, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiversionNote {
    /// In E.164 with `+` where it has that form.
    pub by: Pii<String>,
    /// `unconditional`, `user-busy`, … (RFC 5806 §4).
    pub reason: String,
}

/// A verdict on a caller's number, or our own word for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdentityNote {
    /// `TN-Validation-Passed`, `TN-Validation-Failed` or `No-TN-Validation` of a call that came; none of one that left.
    pub verstat: Option<String>,
    /// `stir.passed`, `stir.signature`, …; `stir.signed` of a call that left.
    pub rule: String,
    /// `A`, `B` or `C` (RFC 8588 §4).
    pub attest: Option<String>,
}

/// Trunks that a call had to do with, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CallTrunks {
    /// The one that it came from.
    pub from: Option<String>,
    /// Those by which it was tried to send it out, in their order.
    pub tried: Vec<String>,
    /// The one that took it.
    pub to: Option<String>,
}

impl CallTrunks {
    pub fn is_empty(&self) -> bool {
        self.from.is_none() && self.tried.is_empty() && self.to.is_none()
    }
}

/// Quality of one direction of one stream: what was received from `from`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MediaQuality {
    /// `caller` or `callee`.
    pub from: String,
    /// `audio`, `video`, …
    pub kind: String,
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
    /// Milliseconds.
    pub jitter_ms: f32,
    /// Milliseconds, where RTCP told it.
    pub rtt_ms: Option<f32>,
    /// 1.0 to 4.5 (ITU-T G.107); none without packets.
    pub mos: Option<f32>,
    /// Dropped packets by reason, those that are not zero.
    pub drops: Vec<(String, u64)>,
}
