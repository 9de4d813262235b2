//! Lines to the world as an administrator manages them: trunks (CALL-4), what is paid for them, and which call goes
//! where (UC-12, DOM-1). The rules that work on them are in `route` and `trunk`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringfort_guard::callee::CalleeRules;
use serde::{Deserialize, Serialize};

use super::{BlacklistPlan, NumberForm, Secret, SrtpPolicy, TenantId, Treatment, TrunkId};

/// How numbers are written in the country that a tenant's phones stand in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NumberPlan {
    /// Country calling code without `+`, for example `44`; empty: numbers are taken as they are dialled.
    pub country: String,
    /// Area code without the national prefix, for countries where subscribers of one area leave it out; may be empty.
    pub area: String,
    /// Dialled before a number of another country: `00`, `011`, `810`.
    pub international_prefix: String,
    /// Dialled before an area code: `0`, `8`, `1`; empty where there is none.
    pub national_prefix: String,
    /// Emergency numbers: always routed, and first.
    pub emergency: Vec<String>,
    /// Dialled before a number, it hides the caller for this call.
    pub hide_code: String,
    /// By which a phone hears its own messages; empty: there is no such code.
    pub voicemail_code: String,
    /// IANA name of the time zone of time conditions, for example `Europe/Berlin`.
    pub time_zone: String,
    pub blacklists: BlacklistPlan,
    /// What extensions may dial (GUARD-4).
    pub callees: CalleeLimits,
    /// What guests may dial.
    pub guest_callees: CalleeLimits,
    /// Groups whose extensions may call abroad (GUARD-1).
    pub international_groups: Vec<String>,
    /// For all of its calls together.
    pub spend: SpendLimits,
    /// What becomes of calls to numbers without a rate where a limit of spending applies.
    pub unrated: Unrated,
}

/// Which callees may be dialled at all, whoever has a way for them (GUARD-4). `None`: the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CalleeLimits {
    /// Digits of the longest number: 12, or 18 for an extension that may call abroad.
    pub longest: Option<u32>,
    /// What must not stand at the front: `00` and `+`, or nothing for an extension that may call abroad.
    pub denied: Option<Vec<String>>,
    /// One of these must stand at the front; empty: anything.
    pub allowed: Vec<String>,
}

impl CalleeLimits {
    /// A prefix for another country and the longest number behind it (E.164 §6).
    const LONGEST_ABROAD: usize = 18;

    /// The rules in force. `international`: for an extension that may call abroad. What is denied by default is the way
    /// there, and denied by the administrator it stays.
    pub fn rules(&self, international: bool) -> CalleeRules {
        let default = CalleeRules::default();
        CalleeRules {
            longest: match self.longest {
                Some(longest) => longest as usize,
                None if international => Self::LONGEST_ABROAD,
                None => default.longest,
            },
            denied: match &self.denied {
                Some(denied) => denied.clone(),
                None if international => Vec::new(),
                None => default.denied,
            },
            allowed: self.allowed.clone(),
        }
    }
}

impl Default for NumberPlan {
    fn default() -> Self {
        Self {
            country: String::new(),
            area: String::new(),
            international_prefix: "00".to_owned(),
            international_groups: Vec::new(),
            national_prefix: String::new(),
            emergency: vec!["112".to_owned(), "911".to_owned()],
            hide_code: "*67".to_owned(),
            voicemail_code: "*97".to_owned(),
            time_zone: "UTC".to_owned(),
            callees: CalleeLimits::default(),
            guest_callees: CalleeLimits::default(),
            spend: SpendLimits::default(),
            unrated: Unrated::Refuse,
            blacklists: BlacklistPlan::default(),
        }
    }
}

/// What may be spent at most (DOM-8), in millionths of the currency that the tenant's rates have; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpendLimits {
    pub per_call: Option<u64>,
    /// By the calendar of the tenant's time zone.
    pub per_day: Option<u64>,
    pub per_month: Option<u64>,
}

impl SpendLimits {
    /// Whether there is one at all.
    pub fn any(&self) -> bool {
        self.per_call.is_some() || self.per_day.is_some() || self.per_month.is_some()
    }
}

/// What becomes of a call whose cost nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unrated {
    /// It may cost more than is left.
    #[default]
    Refuse,
    /// It counts as free.
    Allow,
}

impl NumberPlan {
    /// GUARD-1: whether an extension may call other countries, by itself or by one of its groups.
    pub fn may_go_abroad(&self, calling: &Calling) -> bool {
        calling.international || calling.groups.iter().any(|group| self.international_groups.contains(group))
    }
}

/// What an extension may do beyond the house, and how it appears there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Calling {
    /// Groups that routes name.
    pub groups: Vec<String>,
    /// GUARD-1: off until it is turned on.
    pub international: bool,
    /// GUARD-2: another gateway registers with it. Whoever calls by it reaches published names and nothing else.
    pub public: bool,
    /// Calls to any `user@domain` (DOM-2).
    pub domains: bool,
    /// Its number on trunks, in E.164 with `+` or as the trunk wants it; `None`: the trunk's own.
    pub caller_id: Option<String>,
    /// Hidden caller id on every call that leaves the house (RFC 3323, 3325).
    pub hide_caller_id: bool,
    /// For its calls.
    pub spend: SpendLimits,
}

/// How a trunk's far end is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrunkKind {
    /// By its addresses.
    #[default]
    Peer,
    /// We register with it by digest.
    Register,
}

/// What we prove ourselves to a provider with. Given to that provider and realm alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkCredentials {
    /// User part of the address of record that is registered.
    pub user: String,
    /// Digest user name where that is another.
    pub auth_user: Option<String>,
    pub password: Secret,
    /// The only realm that is answered; `None`: the one of the first challenge that came from the trunk's own target is
    /// kept, and no other is answered while it is up.
    pub realm: Option<String>,
}

/// Where a provider wants the caller's number, and where it puts the called one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeaderRules {
    /// User part of From on outgoing calls.
    pub from: FromUser,
    /// P-Asserted-Identity (RFC 3325): believed in calls from it, written in calls to it.
    pub asserted_identity: bool,
    /// Remote-Party-ID, the same.
    pub remote_party_id: bool,
    /// How it is told that a call was diverted, both ways.
    pub diverted: DiversionForm,
    /// Where the called number of an incoming call stands.
    pub called: CalledIn,
    /// How numbers are written to it.
    pub number_format: NumberFormat,
    /// It takes no caller's number but its own: an extension's is not shown to it.
    pub caller_id_only: bool,
}

impl Default for HeaderRules {
    fn default() -> Self {
        Self {
            from: FromUser::Caller,
            asserted_identity: true,
            remote_party_id: false,
            diverted: DiversionForm::None,
            called: CalledIn::RequestUri,
            number_format: NumberFormat::E164,
            caller_id_only: false,
        }
    }
}

/// User part of From on a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FromUser {
    /// The caller's number.
    #[default]
    Caller,
    /// The user of the trunk's credentials; the caller's number stands in P-Asserted-Identity alone.
    Account,
}

/// The header field in which a diversion of a call is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiversionForm {
    /// It is neither told nor heard.
    #[default]
    None,
    /// RFC 5806.
    Diversion,
    /// RFC 7044.
    HistoryInfo,
}

/// Where the called number stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CalledIn {
    #[default]
    RequestUri,
    To,
    /// P-Called-Party-ID (RFC 7315 §4.2).
    CalledPartyId,
}

/// How numbers are written to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NumberFormat {
    /// `+442079460000`
    #[default]
    E164,
    /// `442079460000`
    Digits,
    /// As the tenant's number plan dials it within the country, with the international prefix beyond it.
    National,
    /// As the route leaves it.
    Asis,
}

/// A line to a provider or another exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trunk {
    pub id: TrunkId,
    pub tenant: TenantId,
    /// Unique in its tenant.
    pub name: String,
    pub enabled: bool,
    pub kind: TrunkKind,
    /// SIP URI without user, `sip:sip.provider.example;transport=tcp`: where calls and registrations go, located by RFC 3263.
    pub server: String,
    /// SIP URI of a proxy in between, as a loose route.
    pub outbound_proxy: Option<String>,
    /// External profile by which it is reached; `None`: the first external one that has a listener of the transport.
    pub profile: Option<String>,
    pub credentials: Option<TrunkCredentials>,
    /// Domain in From; `None`: the host of `server` on a registering trunk, the tenant's first domain on a peer.
    pub from_domain: Option<String>,
    /// How long a registration is asked for.
    pub register_for: Duration,
    /// Further addresses or CIDRs from which its calls come, beside those that `server` is located at.
    pub sources: Vec<String>,
    /// What the far end proves itself with (digest) on incoming calls; `None`: its address is enough.
    pub inbound_credentials: Option<super::SipCredentials>,
    /// SDP names in order of preference; all others are taken out of offers. Empty: those of the node.
    pub codecs: Vec<String>,
    pub srtp: SrtpPolicy,
    /// Numbers in and out.
    pub headers: HeaderRules,
    /// Caller's number where the extension has none of its own.
    pub caller_id: Option<String>,
    /// An OPTIONS each (RFC 3261 §11) tells whether it lives; zero: never asked.
    pub health_every: Duration,
    /// Calls at once, both directions.
    pub max_calls: u32,
    /// New calls in a second, both directions; zero: no limit.
    pub calls_per_second: u32,
    /// No answer of any kind to INVITE for this long: the next trunk is tried (timer B, shortened).
    pub answer_within: Duration,
    /// RTP header extensions and padding pass (CALL-5 takes them out).
    pub pass_extensions: bool,
    /// Lists that its callers are checked against (BLACK-4).
    pub blacklists: Vec<u32>,
    /// What the signature of a caller's number is worth here (RFC 8224).
    pub verify_identity: VerifyIdentity,
    /// Calls to it are signed, where the node has a key.
    pub sign_identity: bool,
    /// What we say of our callers at the most.
    pub attest: Attest,
    /// For the calls that leave by it.
    pub spend: SpendLimits,
    /// The form of its callers' numbers on lists; `None`: the tenant's.
    pub blacklist_form: Option<NumberForm>,
    /// What a caller hears who is on one of them.
    pub blocked: Treatment,
}

/// What becomes of the signature of a caller's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyIdentity {
    /// It is not looked at.
    Off,
    /// The verdict stands in the call record and is shown to the phone.
    #[default]
    Note,
    /// A call whose signature fails or is missing is refused (RFC 8224 §6.2.2).
    Require,
}

/// What we know of our callers (RFC 8588 §4): full, partial, gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Attest {
    #[default]
    A,
    B,
    C,
}

impl Trunk {
    pub const REGISTER_FOR: Duration = Duration::from_secs(600);
    pub const HEALTH_EVERY: Duration = Duration::from_secs(30);
    pub const MAX_CALLS: u32 = 30;
    pub const ANSWER_WITHIN: Duration = Duration::from_secs(4);

    /// A trunk with everything that the administrator need not say.
    pub fn new(id: TrunkId, tenant: TenantId, name: impl Into<String>, server: impl Into<String>) -> Self {
        Self {
            id,
            tenant,
            name: name.into(),
            enabled: true,
            kind: TrunkKind::Peer,
            server: server.into(),
            outbound_proxy: None,
            profile: None,
            credentials: None,
            from_domain: None,
            register_for: Self::REGISTER_FOR,
            sources: Vec::new(),
            inbound_credentials: None,
            codecs: Vec::new(),
            srtp: SrtpPolicy::Offer,
            headers: HeaderRules::default(),
            caller_id: None,
            health_every: Self::HEALTH_EVERY,
            max_calls: Self::MAX_CALLS,
            calls_per_second: 0,
            answer_within: Self::ANSWER_WITHIN,
            pass_extensions: false,
            blacklists: Vec::new(),
            verify_identity: VerifyIdentity::default(),
            sign_identity: true,
            attest: Attest::default(),
            spend: SpendLimits::default(),
            blacklist_form: None,
            blocked: Treatment::Busy,
        }
    }
}

/// What a dialled number is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    Any,
    Exact(String),
    Prefix(String),
    /// `X` 0–9, `Z` 1–9, `N` 2–9, `[1-57]` one of these, `.` one or more of anything, `!` none or more; else itself.
    Digits(String),
}

/// When a route is in force, in the tenant's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hours {
    /// Bit 0 is Monday.
    pub days: u8,
    /// Minutes since midnight; `until` is not within. Where it is not after `from`, the span ends the next day.
    pub from: u16,
    pub until: u16,
}

/// In which order a route's trunks are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrunkOrder {
    #[default]
    Listed,
    /// The cheapest by its rate for the number first; those without a rate for it last.
    LeastCost,
}

/// Which calls of extensions leave by which trunks. Routes are tried in the order of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboundRoute {
    pub tenant: TenantId,
    /// Unique in its tenant.
    pub name: String,
    /// On the number as dialled, without a hiding code. One that fits is enough.
    pub patterns: Vec<Pattern>,
    /// Extensions in one of these groups may use it; empty: all.
    pub groups: Vec<String>,
    /// One that fits is enough; empty: always.
    pub hours: Vec<Hours>,
    /// Characters taken off the front of the dialled number, before `prepend` is put there.
    pub strip: u8,
    pub prepend: String,
    /// Domain beneath which numbers are looked up first (ENUM, RFC 6116), `e164.arpa`; `None`: they are not.
    pub enum_domain: Option<String>,
    /// None with `enum_domain` alone: what is not found there goes by the next route.
    pub trunks: Vec<TrunkId>,
    pub order: TrunkOrder,
    /// How many of its trunks one call is offered to at most, the first ones in order; `None`: all. Emergency calls go on.
    pub attempts: Option<u32>,
    /// How long the called side may ring over all trunks together.
    pub ring_for: Option<Duration>,
}

/// What an incoming call, alias or forward leads to. Later features add kinds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// By its number.
    Extension(String),
    /// Refused with this status.
    Reject(u16),
}

/// What the signature of a caller's number was worth (RFC 8224). Where none is looked at, it is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verified {
    Passed,
    Failed,
    #[default]
    None,
}

/// Where calls from trunks go. The first that fits wins, in the order of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundRoute {
    pub tenant: TenantId,
    /// Unique in its tenant.
    pub name: String,
    /// `None`: any of the tenant's.
    pub trunk: Option<TrunkId>,
    /// On the called number in canonical form (E.164 with `+`, where the number plan has a country).
    pub called: Pattern,
    /// What the signature of the caller's number has to be worth, one of these; empty: anything.
    pub identity: Vec<Verified>,
    pub hours: Vec<Hours>,
    pub to: Destination,
}

/// A name for an extension (DOM-1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    pub tenant: TenantId,
    /// Lower case, unique in its tenant; a local part as of an e-mail address.
    pub name: String,
    pub to: Destination,
    /// Strangers reach it from any domain (DOM-4).
    pub published: bool,
}

/// What a call to numbers with a prefix costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Digits of the number in E.164, without `+`.
    pub prefix: String,
    /// In millionths of the currency unit, for 60 s.
    pub per_minute: u64,
    /// In millionths, once for each answered call.
    pub connection: u64,
    /// Seconds that are charged at least, and in steps of how many the rest is.
    pub first_s: u32,
    pub step_s: u32,
}

/// The rates of one trunk, sorted by prefix, none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateTable {
    /// ISO 4217, for display.
    pub currency: String,
    pub rates: Vec<Rate>,
}

/// The rate tables of all trunks; shared between revisions where nothing changed.
pub type Rates = BTreeMap<TrunkId, Arc<RateTable>>;
