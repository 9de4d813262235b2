//! The names of header fields: known ones as an enum, found by a table in constant time, with their compact forms
//! (RFC 3261 §7.3.3 and the RFCs that add to it). A name that is not here is `Other` and keeps its text in the message.

use std::fmt;

/// The name of a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum HeaderName {
    Via,
    From,
    To,
    CallId,
    CSeq,
    Contact,
    MaxForwards,
    ContentLength,
    ContentType,
    ContentEncoding,
    ContentDisposition,
    ContentLanguage,
    ContentId,
    Route,
    RecordRoute,
    Path,
    ServiceRoute,
    Expires,
    MinExpires,
    SessionExpires,
    MinSe,
    Supported,
    Require,
    ProxyRequire,
    Unsupported,
    Allow,
    AllowEvents,
    Accept,
    AcceptEncoding,
    AcceptLanguage,
    AcceptContact,
    RejectContact,
    RequestDisposition,
    Authorization,
    ProxyAuthorization,
    WwwAuthenticate,
    ProxyAuthenticate,
    AuthenticationInfo,
    ProxyAuthenticationInfo,
    UserAgent,
    Server,
    Date,
    Timestamp,
    Organization,
    Subject,
    Priority,
    AlertInfo,
    CallInfo,
    ErrorInfo,
    InReplyTo,
    MimeVersion,
    ReplyTo,
    RetryAfter,
    Warning,
    Rseq,
    Rack,
    ReferTo,
    ReferredBy,
    ReferSub,
    Replaces,
    Join,
    TargetDialog,
    Event,
    SubscriptionState,
    SuppressIfMatch,
    SipEtag,
    SipIfMatch,
    Reason,
    Privacy,
    PAssertedIdentity,
    PPreferredIdentity,
    PAssociatedUri,
    PCalledPartyId,
    PChargingVector,
    PAccessNetworkInfo,
    PEarlyMedia,
    RemotePartyId,
    Diversion,
    HistoryInfo,
    Identity,
    MaxBreadth,
    FlowTimer,
    SecurityClient,
    SecurityServer,
    SecurityVerify,
    InfoPackage,
    RecvInfo,
    AnswerMode,
    PrivAnswerMode,
    UserToUser,
    Geolocation,
    FeatureCaps,
    SessionId,
    /// Any other; its text is with the message.
    Other,
}

/// One known name: variant, text as it is written, compact form.
type Known = (HeaderName, &'static str, Option<u8>);

/// In the order of the enum (a test holds them together).
const KNOWN: [Known; HeaderName::Other as usize] = [
    (HeaderName::Via, "Via", Some(b'v')),
    (HeaderName::From, "From", Some(b'f')),
    (HeaderName::To, "To", Some(b't')),
    (HeaderName::CallId, "Call-ID", Some(b'i')),
    (HeaderName::CSeq, "CSeq", None),
    (HeaderName::Contact, "Contact", Some(b'm')),
    (HeaderName::MaxForwards, "Max-Forwards", None),
    (HeaderName::ContentLength, "Content-Length", Some(b'l')),
    (HeaderName::ContentType, "Content-Type", Some(b'c')),
    (HeaderName::ContentEncoding, "Content-Encoding", Some(b'e')),
    (HeaderName::ContentDisposition, "Content-Disposition", None),
    (HeaderName::ContentLanguage, "Content-Language", None),
    (HeaderName::ContentId, "Content-ID", None),
    (HeaderName::Route, "Route", None),
    (HeaderName::RecordRoute, "Record-Route", None),
    (HeaderName::Path, "Path", None),
    (HeaderName::ServiceRoute, "Service-Route", None),
    (HeaderName::Expires, "Expires", None),
    (HeaderName::MinExpires, "Min-Expires", None),
    (HeaderName::SessionExpires, "Session-Expires", Some(b'x')),
    (HeaderName::MinSe, "Min-SE", None),
    (HeaderName::Supported, "Supported", Some(b'k')),
    (HeaderName::Require, "Require", None),
    (HeaderName::ProxyRequire, "Proxy-Require", None),
    (HeaderName::Unsupported, "Unsupported", None),
    (HeaderName::Allow, "Allow", None),
    (HeaderName::AllowEvents, "Allow-Events", Some(b'u')),
    (HeaderName::Accept, "Accept", None),
    (HeaderName::AcceptEncoding, "Accept-Encoding", None),
    (HeaderName::AcceptLanguage, "Accept-Language", None),
    (HeaderName::AcceptContact, "Accept-Contact", Some(b'a')),
    (HeaderName::RejectContact, "Reject-Contact", Some(b'j')),
    (HeaderName::RequestDisposition, "Request-Disposition", Some(b'd')),
    (HeaderName::Authorization, "Authorization", None),
    (HeaderName::ProxyAuthorization, "Proxy-Authorization", None),
    (HeaderName::WwwAuthenticate, "WWW-Authenticate", None),
    (HeaderName::ProxyAuthenticate, "Proxy-Authenticate", None),
    (HeaderName::AuthenticationInfo, "Authentication-Info", None),
    (HeaderName::ProxyAuthenticationInfo, "Proxy-Authentication-Info", None),
    (HeaderName::UserAgent, "User-Agent", None),
    (HeaderName::Server, "Server", None),
    (HeaderName::Date, "Date", None),
    (HeaderName::Timestamp, "Timestamp", None),
    (HeaderName::Organization, "Organization", None),
    (HeaderName::Subject, "Subject", Some(b's')),
    (HeaderName::Priority, "Priority", None),
    (HeaderName::AlertInfo, "Alert-Info", None),
    (HeaderName::CallInfo, "Call-Info", None),
    (HeaderName::ErrorInfo, "Error-Info", None),
    (HeaderName::InReplyTo, "In-Reply-To", None),
    (HeaderName::MimeVersion, "MIME-Version", None),
    (HeaderName::ReplyTo, "Reply-To", None),
    (HeaderName::RetryAfter, "Retry-After", None),
    (HeaderName::Warning, "Warning", None),
    (HeaderName::Rseq, "RSeq", None),
    (HeaderName::Rack, "RAck", None),
    (HeaderName::ReferTo, "Refer-To", Some(b'r')),
    (HeaderName::ReferredBy, "Referred-By", Some(b'b')),
    (HeaderName::ReferSub, "Refer-Sub", None),
    (HeaderName::Replaces, "Replaces", None),
    (HeaderName::Join, "Join", None),
    (HeaderName::TargetDialog, "Target-Dialog", None),
    (HeaderName::Event, "Event", Some(b'o')),
    (HeaderName::SubscriptionState, "Subscription-State", None),
    (HeaderName::SuppressIfMatch, "Suppress-If-Match", None),
    (HeaderName::SipEtag, "SIP-ETag", None),
    (HeaderName::SipIfMatch, "SIP-If-Match", None),
    (HeaderName::Reason, "Reason", None),
    (HeaderName::Privacy, "Privacy", None),
    (HeaderName::PAssertedIdentity, "P-Asserted-Identity", None),
    (HeaderName::PPreferredIdentity, "P-Preferred-Identity", None),
    (HeaderName::PAssociatedUri, "P-Associated-URI", None),
    (HeaderName::PCalledPartyId, "P-Called-Party-ID", None),
    (HeaderName::PChargingVector, "P-Charging-Vector", None),
    (HeaderName::PAccessNetworkInfo, "P-Access-Network-Info", None),
    (HeaderName::PEarlyMedia, "P-Early-Media", None),
    (HeaderName::RemotePartyId, "Remote-Party-ID", None),
    (HeaderName::Diversion, "Diversion", None),
    (HeaderName::HistoryInfo, "History-Info", None),
    (HeaderName::Identity, "Identity", Some(b'y')),
    (HeaderName::MaxBreadth, "Max-Breadth", None),
    (HeaderName::FlowTimer, "Flow-Timer", None),
    (HeaderName::SecurityClient, "Security-Client", None),
    (HeaderName::SecurityServer, "Security-Server", None),
    (HeaderName::SecurityVerify, "Security-Verify", None),
    (HeaderName::InfoPackage, "Info-Package", None),
    (HeaderName::RecvInfo, "Recv-Info", None),
    (HeaderName::AnswerMode, "Answer-Mode", None),
    (HeaderName::PrivAnswerMode, "Priv-Answer-Mode", None),
    (HeaderName::UserToUser, "User-to-User", None),
    (HeaderName::Geolocation, "Geolocation", None),
    (HeaderName::FeatureCaps, "Feature-Caps", None),
    (HeaderName::SessionId, "Session-ID", None),
];

const SLOTS: usize = 512;
const EMPTY: u8 = u8::MAX;

/// Open addressing by `Key::hash`; a slot holds a place in `KNOWN` and `KEYS`.
static TABLE: [u8; SLOTS] = table();
static KEYS: [Key; KNOWN.len()] = keys();
static COMPACT: [u8; 256] = compact();

/// The first and the last bytes of a name as numbers (they overlap in a short one), and what of them must be equal:
/// all bits but that of the case of a letter. Two comparisons find a name of up to 16 bytes.
#[derive(Clone, Copy)]
struct Key {
    ends: (u64, u64),
    mask: (u64, u64),
    len: usize,
}

impl Key {
    #[inline]
    const fn hash(ends: (u64, u64), len: usize) -> usize {
        const CASE: u64 = 0x2020_2020_2020_2020;
        let mixed = (ends.0 | CASE).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (ends.1 | CASE).rotate_left(29);
        let mixed = (mixed ^ len as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed >> 55) as usize
    }
}

/// The first and the last eight bytes, or four, or all of two or three. `name` has two bytes or more.
#[inline]
const fn ends(name: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (u32::from_le_bytes(*first) as u64, u32::from_le_bytes(*last) as u64)
    } else {
        let first = u16::from_le_bytes([name[0], name[1]]) as u64;
        (first, name[name.len() - 1] as u64)
    }
}

const fn keys() -> [Key; KNOWN.len()] {
    let mut keys = [Key { ends: (0, 0), mask: (0, 0), len: 0 }; KNOWN.len()];
    let mut i = 0;
    while i < KNOWN.len() {
        let name = KNOWN[i].1.as_bytes();
        assert!(name.len() <= 32);
        let mut mask = [0xffu8; 32];
        let mut j = 0;
        while j < name.len() {
            if name[j].is_ascii_alphabetic() {
                mask[j] = !0x20;
            }
            j += 1;
        }
        let mask = ends(mask.split_at(name.len()).0);
        let (first, last) = ends(name);
        keys[i] = Key { ends: (first & mask.0, last & mask.1), mask, len: name.len() };
        i += 1;
    }
    keys
}

const fn table() -> [u8; SLOTS] {
    let mut table = [EMPTY; SLOTS];
    let mut i = 0;
    while i < KNOWN.len() {
        let name = KNOWN[i].1.as_bytes();
        let mut slot = Key::hash(ends(name), name.len());
        while table[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = i as u8;
        i += 1;
    }
    table
}

const fn compact() -> [u8; 256] {
    let mut table = [EMPTY; 256];
    let mut i = 0;
    while i < KNOWN.len() {
        if let Some(letter) = KNOWN[i].2 {
            table[letter as usize] = i as u8;
            table[letter.to_ascii_uppercase() as usize] = i as u8;
        }
        i += 1;
    }
    table
}

impl HeaderName {
    /// The name of that text in any case, long or compact; `Other` for one that is not known.
    #[inline]
    pub fn from_bytes(name: &[u8]) -> HeaderName {
        match name {
            [] => HeaderName::Other,
            [letter] => match COMPACT[usize::from(*letter)] {
                EMPTY => HeaderName::Other,
                i => KNOWN[usize::from(i)].0,
            },
            _ => {
                let ends = ends(name);
                let mut slot = Key::hash(ends, name.len());
                while TABLE[slot] != EMPTY {
                    let place = usize::from(TABLE[slot]);
                    let Key { ends: wanted, mask, len } = KEYS[place];
                    if len == name.len()
                        && ends.0 & mask.0 == wanted.0
                        && ends.1 & mask.1 == wanted.1
                        && (len <= 16 || KNOWN[place].1.as_bytes().eq_ignore_ascii_case(name))
                    {
                        return KNOWN[place].0;
                    }
                    slot = (slot + 1) % SLOTS;
                }
                HeaderName::Other
            }
        }
    }

    /// The text as it is usually written; empty for `Other`.
    pub const fn as_str(self) -> &'static str {
        if (self as usize) < KNOWN.len() { KNOWN[self as usize].1 } else { "" }
    }

    /// The one-letter form, lower case.
    pub const fn compact(self) -> Option<u8> {
        if (self as usize) < KNOWN.len() { KNOWN[self as usize].2 } else { None }
    }

    /// Every known name.
    pub fn known() -> impl Iterator<Item = HeaderName> {
        KNOWN.iter().map(|known| known.0)
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case_and_by_its_compact_form_rfc_3261_7_3_3() {
        for (place, (name, text, compact)) in KNOWN.iter().enumerate() {
            assert_eq!(*name as usize, place);
            assert_eq!(HeaderName::from_bytes(text.as_bytes()), *name);
            assert_eq!(HeaderName::from_bytes(text.to_ascii_uppercase().as_bytes()), *name);
            assert_eq!(HeaderName::from_bytes(text.to_ascii_lowercase().as_bytes()), *name);
            if let Some(letter) = compact {
                assert_eq!(HeaderName::from_bytes(&[*letter]), *name);
                assert_eq!(HeaderName::from_bytes(&[letter.to_ascii_uppercase()]), *name);
            }
        }
    }

    #[test]
    fn a_name_that_is_not_known_is_other() {
        for name in [
            "",
            "q",
            "X-Via",
            "Vi",
            "Call-IDs",
            "Content_Length",
            "\u{e9}",
            "NewFangledHeader",
            "Call\rID",
            "T\u{f}",
            "P-Asserted\rIdentity",
        ] {
            assert_eq!(HeaderName::from_bytes(name.as_bytes()), HeaderName::Other, "{name}");
        }
    }

    #[test]
    fn a_look_up_seldom_probes_more_than_once() {
        let slot = |known: &Known| Key::hash(ends(known.1.as_bytes()), known.1.len());
        let displaced = KNOWN.iter().enumerate().filter(|(i, known)| TABLE[slot(known)] != *i as u8).count();
        assert!(displaced <= 12, "{displaced} of {} names are not in their first slot", KNOWN.len());
    }
}
