//! What a trunk is in use for: its limits (CALL-4), and how we show ourselves to it (RFC 3323, RFC 3325).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ringfort_sip::uri::Uri;
use ringfort_sip::write::Headers;
use rustc_hash::FxHashMap;

use crate::model::{Extension, FromUser, NumberPlan, Trunk, TrunkId, TrunkKind};
use crate::number;

/// The time in which new calls are counted, whenever it begins.
const SECOND: Duration = Duration::from_secs(1);

/// One trunk's use.
#[derive(Debug, Default)]
struct LineUse {
    calls: u32,
    /// When the calls of the last second began; kept where their number is limited.
    begun: VecDeque<Instant>,
}

/// All trunks' uses.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    uses: FxHashMap<TrunkId, LineUse>,
}

/// A limit of a trunk's is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineFull {
    Calls,
    Rate,
}

impl LineFull {
    pub fn rule(self) -> &'static str {
        match self {
            LineFull::Calls => "limit.trunk_calls",
            LineFull::Rate => "limit.trunk_rate",
        }
    }
}

impl Lines {
    /// Takes a place for one more call.
    ///
    /// # Errors
    /// The limit that is reached; nothing was taken.
    pub fn take(&mut self, now: Instant, trunk: &Trunk) -> Result<(), LineFull> {
        let used = self.uses.entry(trunk.id).or_default();
        if used.calls >= trunk.max_calls {
            return Err(LineFull::Calls);
        }
        while used.begun.front().is_some_and(|begun| now.saturating_duration_since(*begun) >= SECOND) {
            used.begun.pop_front();
        }
        let most = trunk.calls_per_second as usize;
        if most > 0 && used.begun.len() >= most {
            return Err(LineFull::Rate);
        }
        used.calls += 1;
        if most > 0 {
            used.begun.push_back(now);
        }
        Ok(())
    }

    /// Takes a place for a call for help: no limit of ours is in its way.
    pub fn take_for_help(&mut self, trunk: TrunkId) {
        self.uses.entry(trunk).or_default().calls += 1;
    }

    /// A call has left the trunk.
    pub fn give_back(&mut self, trunk: TrunkId) {
        if let Some(used) = self.uses.get_mut(&trunk) {
            used.calls = used.calls.saturating_sub(1);
        }
    }

    /// Calls that it carries or is tried for.
    pub fn calls(&self, trunk: TrunkId) -> u32 {
        self.uses.get(&trunk).map_or(0, |used| used.calls)
    }
}

/// A name or number as the user part of a URI (RFC 3261 §25.1): what may not stand there is escaped.
pub(crate) fn user_part(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Host and port of a trunk's server, as they stand in its URI.
pub(crate) fn server_host(trunk: &Trunk) -> String {
    match Uri::parse(&trunk.server) {
        Ok(uri) => match uri.port {
            Some(port) => format!("{}:{port}", uri.host_str()),
            None => uri.host_str().to_owned(),
        },
        Err(_) => trunk.server.clone(),
    }
}

/// How a call shows itself to a trunk.
pub(crate) struct Shown {
    /// From, without a tag.
    pub from: String,
    /// P-Asserted-Identity, Remote-Party-ID, Privacy.
    pub headers: Headers,
}

/// Our domain on a trunk. `realm`: the tenant's first.
pub(crate) fn own_domain(trunk: &Trunk, realm: &str) -> String {
    match (&trunk.from_domain, trunk.kind) {
        (Some(domain), _) => domain.clone(),
        (None, TrunkKind::Register) => {
            Uri::parse(&trunk.server).map_or_else(|_| realm.to_owned(), |u| u.host_str().to_owned())
        }
        (None, TrunkKind::Peer) => realm.to_owned(),
    }
}

/// From and the fields about the caller, as the trunk's rules have them. A hidden caller is anonymous in From, and in
/// what the provider is told for itself marked as not to be shown (RFC 3323 §4.1, RFC 3325 §7).
pub(crate) fn shown(plan: &NumberPlan, trunk: &Trunk, realm: &str, caller: &Extension, hide: bool) -> Shown {
    let number = number::caller_id(plan, trunk, &caller.calling);
    let account = trunk.credentials.as_ref().map(|c| c.user.as_str());
    let domain = own_domain(trunk, realm);
    let user = match trunk.headers.from {
        FromUser::Caller => number.as_deref().or(account),
        FromUser::Account => account.or(number.as_deref()),
    };
    let from = match user {
        Some(user) if !hide => format!("<sip:{}@{domain}>", user_part(user)),
        // A provider that knows its customer by From alone would refuse an anonymous one; it still does not show it.
        Some(user) if trunk.headers.from == FromUser::Account => {
            format!("\"Anonymous\" <sip:{}@{domain}>", user_part(user))
        }
        Some(_) | None => "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned(),
    };
    let mut headers = Headers::default();
    if let Some(number) = &number {
        let uri = format!("<sip:{}@{domain}>", user_part(number));
        if trunk.headers.asserted_identity {
            headers.push("P-Asserted-Identity", &uri);
        }
        if trunk.headers.remote_party_id {
            let privacy = if hide { "full" } else { "off" };
            headers.push("Remote-Party-ID", format_args!("{uri};party=calling;screen=yes;privacy={privacy}"));
        }
    }
    if hide {
        headers.push("Privacy", "id");
    }
    Shown { from, headers }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Calling, ExtensionId, Secret, SipCredentials, SrtpPolicy, TenantId, TrunkCredentials};

    fn start() -> Instant {
        #[allow(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        Instant::now()
    }

    fn trunk() -> Trunk {
        Trunk::new(TrunkId(1), TenantId(1), "acme", "sip:sip.acme.example:5070")
    }

    fn caller() -> Extension {
        Extension {
            id: ExtensionId(1),
            tenant: TenantId(1),
            number: "101".into(),
            name: "Desk".into(),
            credentials: SipCredentials { user: "kx".into(), password: Secret::new("p") },
            srtp: SrtpPolicy::Offer,
            max_calls: 4,
            max_contacts: 4,
            enabled: true,
            calling: Calling { caller_id: Some("+442079460000".into()), ..Calling::default() },
        }
    }

    fn fields(shown: &Shown) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        shown.headers.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
    }

    #[test]
    fn limits_of_a_trunk_are_kept_and_places_given_back() {
        let trunk = Trunk { max_calls: 2, calls_per_second: 3, ..trunk() };
        let (mut lines, now) = (Lines::default(), start());
        assert_eq!(lines.take(now, &trunk), Ok(()));
        assert_eq!(lines.take(now, &trunk), Ok(()));
        assert_eq!(lines.take(now, &trunk), Err(LineFull::Calls));
        lines.give_back(trunk.id);
        assert_eq!(lines.take(now, &trunk), Ok(()));
        lines.give_back(trunk.id);
        assert_eq!(lines.take(now, &trunk), Err(LineFull::Rate), "the fourth in a second");
        assert_eq!(lines.take(now + SECOND, &trunk), Ok(()));
        assert_eq!(lines.calls(trunk.id), 2);
        lines.take_for_help(trunk.id);
        assert_eq!(lines.calls(trunk.id), 3, "a call for help goes on all the same, and counts");
    }

    #[test]
    fn no_second_whenever_it_begins_has_more_calls_than_the_limit() {
        let trunk = Trunk { calls_per_second: 3, ..trunk() };
        let (mut lines, start) = (Lines::default(), start());
        let mut taken = Vec::new();
        for millis in (0..5_000).step_by(70) {
            let now = start + Duration::from_millis(millis);
            if lines.take(now, &trunk).is_ok() {
                lines.give_back(trunk.id);
                taken.push(now);
            }
        }
        assert!(taken.len() >= 13, "{}", taken.len());
        assert!(taken.windows(4).all(|four| four[3] - four[0] >= SECOND), "{taken:?}");
    }

    #[test]
    fn the_caller_is_shown_as_the_trunk_wants_it() {
        let plan = NumberPlan::default();
        let of = |trunk: &Trunk, hide| shown(&plan, trunk, "pbx.example", &caller(), hide);
        let peer = of(&trunk(), false);
        assert_eq!(peer.from, "<sip:+442079460000@pbx.example>");
        assert_eq!(fields(&peer), ["P-Asserted-Identity: <sip:+442079460000@pbx.example>"]);
        let credentials =
            TrunkCredentials { user: "cust7".into(), auth_user: None, password: Secret::new("x"), realm: None };
        let mut register = Trunk { kind: TrunkKind::Register, credentials: Some(credentials), ..trunk() };
        register.headers.from = FromUser::Account;
        register.headers.remote_party_id = true;
        let shown = of(&register, false);
        assert_eq!(shown.from, "<sip:cust7@sip.acme.example>");
        assert_eq!(
            fields(&shown)[1],
            "Remote-Party-ID: <sip:+442079460000@sip.acme.example>;party=calling;screen=yes;privacy=off"
        );
    }

    #[test]
    fn a_trunk_that_takes_its_own_number_alone_is_shown_no_other() {
        let plan = NumberPlan { country: "44".into(), national_prefix: "0".into(), ..NumberPlan::default() };
        let mut trunk = Trunk { caller_id: Some("+442079469999".into()), ..trunk() };
        let from = |trunk: &Trunk| shown(&plan, trunk, "pbx.example", &caller(), false).from;
        assert_eq!(from(&trunk), "<sip:+442079460000@pbx.example>");
        trunk.headers.caller_id_only = true;
        assert_eq!(from(&trunk), "<sip:+442079469999@pbx.example>");
    }

    #[test]
    fn a_hidden_caller_is_anonymous_in_from_and_marked_private_for_the_provider() {
        let plan = NumberPlan::default();
        let shown = shown(&plan, &trunk(), "pbx.example", &caller(), true);
        assert_eq!(shown.from, "\"Anonymous\" <sip:anonymous@anonymous.invalid>");
        assert_eq!(fields(&shown), ["P-Asserted-Identity: <sip:+442079460000@pbx.example>", "Privacy: id"]);
    }

    #[test]
    fn a_number_is_escaped_where_a_uri_needs_it() {
        assert_eq!(user_part("+44*31#"), "+44*31%23");
        assert_eq!(user_part("a b@c;d?e"), "a%20b%40c%3Bd%3Fe");
    }
}
