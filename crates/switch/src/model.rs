//! What an administrator manages, as the switch sees it: an immutable `Site` per revision (CALL-11: everything
//! belongs to a tenant). `store` makes it from rows; a change is a new `Arc<Site>` that the shard swaps in.

mod blacklist;
mod line;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use blacklist::{BlacklistCode, BlacklistPlan, NumberForm, Treatment};
pub use line::{
    Alias, Attest, CalledIn, CalleeLimits, Calling, Destination, DiversionForm, FromUser, HeaderRules, Hours,
    InboundRoute, NumberFormat, NumberPlan, OutboundRoute, Pattern, Rate, RateTable, Rates, SpendLimits, Trunk,
    TrunkCredentials, TrunkKind, TrunkOrder, Unrated, Verified, VerifyIdentity,
};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A hosted domain with everything in it (CALL-11).
    TenantId(u32)
);
id!(
    /// An extension, for the whole of its life; a number can move to another extension, an id never does.
    ExtensionId(u32)
);
id!(
    /// A trunk, for the whole of its life.
    TrunkId(u32)
);
id!(
    /// A profile: a group of listeners with one policy, by its place in the configuration (GUARD-2).
    ProfileId(u16)
);
id!(
    /// A call: every attempt has one, and so has its call detail record.
    CallId(u64)
);
id!(
    /// A leg of a call: one side towards one party.
    LegId(u64)
);

/// Something that must not be read in a log: prints as `***`.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Call it where it is used, never where it is shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A number or name of a person: prints masked (`138****5678`), stored encrypted (GUARD-11, CALL-10).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pii<T>(T);

impl<T> Pii<T> {
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for use; showing it is a permission.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

/// `13812345678` → `138****5678`; what has fewer than eight characters keeps its first one only. Extensions of up
/// to four digits are not masked: they name a desk, not a person's line.
pub fn mask(value: &str) -> String {
    let chars: Vec<char> = value.chars().collect();
    match chars.len() {
        0..=4 => value.to_owned(),
        5..=7 => format!("{}****", chars[0]),
        n => {
            let head: String = chars[..3].iter().collect();
            let tail: String = chars[n - 4..].iter().collect();
            format!("{head}****{tail}")
        }
    }
}

impl fmt::Display for Pii<String> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(&self.0))
    }
}

impl fmt::Debug for Pii<String> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(&self.0))
    }
}

/// Whether a leg's media is encrypted by SRTP (CALL-6). SDES keys travel over TLS only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SrtpPolicy {
    /// Never: an offer of SRTP alone is refused with 488.
    Off,
    /// Where the signalling is TLS; plain RTP otherwise.
    #[default]
    Offer,
    /// Always: a call that cannot have it fails with 488.
    Require,
}

/// Where a leg's calls are routed: what it may reach (GUARD-2). Feature by feature, later issues add more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Context {
    /// Registered phones of the tenant.
    Internal,
    /// Everybody else: can never lead out by a trunk.
    Public,
}

/// A hosted domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    /// Host parts of its SIP addresses, lower case; the first is the digest realm.
    pub domains: Vec<String>,
    pub numbers: NumberPlan,
}

/// What a phone proves itself with (CALL-3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SipCredentials {
    /// Unique in its tenant; does not contain the extension number.
    pub user: String,
    pub password: Secret,
}

impl SipCredentials {
    /// Stands for them where a phone that has proven itself is remembered; never 0. Others have another one.
    pub fn fingerprint(&self) -> u64 {
        let digest = Sha256::new()
            .chain_update(self.user.as_bytes())
            .chain_update([0])
            .chain_update(self.password.reveal().as_bytes())
            .finalize();
        u64::from_be_bytes(digest[..8].try_into().expect("8 octets")).max(1)
    }
}

/// An extension: a number with its phones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    pub id: ExtensionId,
    pub tenant: TenantId,
    /// As dialled, unique in its tenant: digits, or a name of `[a-z0-9._-]`.
    pub number: String,
    /// Display name.
    pub name: String,
    pub credentials: SipCredentials,
    pub srtp: SrtpPolicy,
    /// Calls at once, both directions together.
    pub max_calls: u32,
    /// Phones registered at once.
    pub max_contacts: u32,
    pub enabled: bool,
    pub calling: Calling,
}

impl Extension {
    /// Calls at once where the administrator said nothing.
    pub const DEFAULT_MAX_CALLS: u32 = 4;
    /// Phones at once where the administrator said nothing.
    pub const DEFAULT_MAX_CONTACTS: u32 = 10;
}

/// One revision of everything the administrator manages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    pub revision: u64,
    pub tenants: Vec<Tenant>,
    pub extensions: BTreeMap<ExtensionId, Extension>,
    pub trunks: BTreeMap<TrunkId, Trunk>,
    /// In their order.
    pub outbound: Vec<OutboundRoute>,
    /// In their order.
    pub inbound: Vec<InboundRoute>,
    pub aliases: Vec<Alias>,
    pub rates: Rates,
}
