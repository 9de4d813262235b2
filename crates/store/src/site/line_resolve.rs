//! Lines to the world as they are asked for against what is there: values to objects of the model, with every rule that
//! holds for them. A part of `Resolver`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ringfort_media::codec::CodecAllowList;
use ringfort_sip::Uri;
use ringfort_sip::locate::NumberRequest;
use ringfort_switch::model::{
    Alias, BlacklistPlan, CalleeLimits, Calling, Destination, HeaderRules, InboundRoute, NumberForm, NumberPlan,
    OutboundRoute, Pattern, Secret, SipCredentials, SpendLimits, TenantId, Treatment, Trunk, TrunkCredentials, TrunkId,
    TrunkKind,
};
use ringfort_switch::route::hours::zone;
use ringfort_switch::{money, number};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::line::{RawLine, Val, Values, leads_to};
use super::resolve::{MAX_TENANT, Resolver, is_domain, is_name};
use super::{DEFAULT_TENANT, Located, Position, RawSite, SiteError};
use crate::cdr::from_word;
use crate::credentials::{self, Owner};

mod blacklists;

use self::blacklists::{blacklists, voicemail_code};

/// Longest text of a line's key.
const MAX_TEXT: usize = 255;

/// The values of one object, and where its mistakes go.
struct Given<'v> {
    /// `trunk "a"`.
    key: String,
    values: &'v Values,
    errors: Vec<SiteError>,
}

impl<'v> Given<'v> {
    fn new(key: &str, values: &'v Values) -> Self {
        Self { key: key.to_owned(), values, errors: Vec::new() }
    }

    fn at(&self, key: &str) -> Option<Position> {
        self.values.get(key).and_then(|v| v.at)
    }

    fn wrong(&mut self, key: &str, at: Option<Position>, expected: &str, got: &str, help: &str) {
        let key = format!("{}: {key}", self.key);
        let got = if got.is_empty() { "none".to_owned() } else { format!("{got:?}") };
        self.errors.push(SiteError { at, key, expected: expected.to_owned(), got, help: help.to_owned() });
    }

    fn text(&mut self, key: &str) -> Option<&'v str> {
        let Some(Located { value: Val::Text(text), at }) = self.values.get(key) else { return None };
        if text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
            let expected = format!("at most {MAX_TEXT} characters and no control characters");
            self.wrong(key, *at, &expected, text, "shorten it");
        }
        Some(text)
    }

    /// Text that has to be something; empty text counts as none.
    fn some(&mut self, key: &str) -> Option<String> {
        self.text(key).filter(|t| !t.is_empty()).map(str::to_owned)
    }

    fn secret(&self, key: &str) -> Option<&'v Secret> {
        match &self.values.get(key)?.value {
            Val::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    fn texts(&self, key: &str) -> &'v [Located<String>] {
        match self.values.get(key).map(|v| &v.value) {
            Some(Val::Texts(list)) => list,
            _ => &[],
        }
    }

    fn plain_texts(&self, key: &str) -> Vec<String> {
        let mut seen = HashSet::new();
        self.texts(key).iter().map(|t| t.value.clone()).filter(|t| seen.insert(t.clone())).collect()
    }

    fn count(&self, key: &str, default: u32) -> u32 {
        match self.values.get(key).map(|v| &v.value) {
            Some(Val::Count(n)) => *n,
            _ => default,
        }
    }

    fn flag(&self, key: &str, default: bool) -> bool {
        match self.values.get(key).map(|v| &v.value) {
            Some(Val::Flag(flag)) => *flag,
            _ => default,
        }
    }

    fn duration(&mut self, key: &str, default: Duration, least: Duration, most: Duration) -> Duration {
        let Some(Located { value: Val::Duration(given), at }) = self.values.get(key) else { return default };
        if !(least..=most).contains(given) {
            let show = super::line::print_duration;
            let expected = format!("from {} to {}", show(least), show(most));
            self.wrong(key, *at, &expected, &show(*given), "write a duration like \"30s\" or \"10m\"");
        }
        *given
    }

    /// One of a set of words.
    fn word<T: DeserializeOwned + Default>(&mut self, key: &str, words: &str) -> T {
        let Some(text) = self.text(key) else { return T::default() };
        if let Some(value) = from_word(text) {
            return value;
        }
        self.wrong(key, self.at(key), &format!("one of {words}"), text, "choose one of them");
        T::default()
    }

    /// Each of a list by its own syntax.
    fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self, key: &str, expected: &str) -> Vec<T> {
        let mut out = Vec::new();
        for text in self.texts(key) {
            match text.value.parse() {
                Ok(value) => out.push(value),
                Err(error) => self.wrong(key, text.at, expected, &text.value, &format!("{error}")),
            }
        }
        out
    }

    fn check_digits(&mut self, key: &str, text: &str, also: &str, most: usize, help: &str) {
        if text.len() > most || !text.chars().all(|c| c.is_ascii_digit() || also.contains(c)) {
            let expected = format!("at most {most} digits{}", if also.is_empty() { "" } else { ", * or #" });
            self.wrong(key, self.at(key), &expected, text, help);
        }
    }

    /// What may be dialled at all (GUARD-4).
    fn callee_limits(&mut self, longest: &str, denied: &str, allowed: &str) -> CalleeLimits {
        for text in self.texts(denied).iter().chain(self.texts(allowed)) {
            let key = if self.texts(denied).contains(text) { denied } else { allowed };
            let plain = text.value.bytes().all(|b| b.is_ascii_alphanumeric() || b"+*#._-".contains(&b));
            if text.value.is_empty() || !plain {
                let help = "write what a number or name begins with, without separators: \"00\", \"+7\"";
                self.wrong(key, text.at, "the beginning of a number or name", &text.value, help);
            }
        }
        let given = self.values.get(longest);
        if let Some(Located { value: Val::Count(n), at }) = given
            && !(1..=64).contains(n)
        {
            self.wrong(longest, *at, "digits, from 1 to 64", &n.to_string(), "12 is the default");
        }
        CalleeLimits {
            longest: given.map(|_| self.count(longest, 0)),
            denied: self.values.contains_key(denied).then(|| self.plain_texts(denied)),
            allowed: self.plain_texts(allowed),
        }
    }

    fn sip_uri(&mut self, key: &str, text: &str) {
        let lower = text.to_ascii_lowercase();
        let sip = lower.starts_with("sip:") || lower.starts_with("sips:");
        let good = sip && Uri::parse(text).is_ok_and(|uri| uri.user_unescaped().is_none());
        if !good {
            let help = "write it without a user: \"sip:sip.provider.example;transport=tcp\"";
            self.wrong(key, self.at(key), "a SIP URI of a host", text, help);
        }
    }

    /// `spend_per_call` and the like; empty text is no limit.
    fn spend(&mut self) -> SpendLimits {
        SpendLimits {
            per_call: self.money("spend_per_call"),
            per_day: self.money("spend_per_day"),
            per_month: self.money("spend_per_month"),
        }
    }

    fn money(&mut self, key: &str) -> Option<u64> {
        let text = self.some(key)?;
        money::parse(&text)
            .inspect_err(|error| self.wrong(key, self.at(key), "an amount", &text, &error.to_string()))
            .ok()
    }

    fn caller_id(&mut self) -> Option<String> {
        let id = self.some("caller_id")?;
        if !number::is_number(&number::without_separators(&id)) {
            let at = self.at("caller_id");
            self.wrong("caller_id", at, "a telephone number", &id, "write it in full, with + and the country code");
        }
        Some(id)
    }
}

/// An address, or one with a prefix length.
fn is_source(text: &str) -> bool {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.bytes().all(|b| b.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|b| b <= most))
}

/// How the destination of an incoming call is written.
fn destination(text: &str) -> Option<Destination> {
    match text.split_once(' ')? {
        ("extension", number) => Some(Destination::Extension(number.trim().to_owned())),
        ("reject", status) => status.trim().parse().ok().filter(|s| (400..700).contains(s)).map(Destination::Reject),
        _ => None,
    }
}

const FORMS: &str = "e164, russia, asis";

/// `context` of an extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ExtensionContext {
    #[default]
    Internal,
    Public,
}

impl Resolver<'_> {
    /// `country` and what else a tenant says about its numbers.
    pub(super) fn numbers(&mut self, key: &str, values: &Values) -> NumberPlan {
        let mut given = Given::new(key, values);
        let default = NumberPlan::default();
        let text = |given: &mut Given<'_>, key: &str, default: String| given.text(key).map_or(default, str::to_owned);
        let mut plan = NumberPlan {
            country: text(&mut given, "country", default.country),
            area: text(&mut given, "area", default.area),
            international_prefix: text(&mut given, "international_prefix", default.international_prefix),
            national_prefix: text(&mut given, "national_prefix", default.national_prefix),
            hide_code: text(&mut given, "hide_code", default.hide_code),
            voicemail_code: text(&mut given, "voicemail_code", default.voicemail_code),
            time_zone: text(&mut given, "time_zone", default.time_zone),
            emergency: default.emergency,
            blacklists: BlacklistPlan {
                add_code: text(&mut given, "blacklist_add_code", default.blacklists.add_code),
                delete_code: text(&mut given, "blacklist_delete_code", default.blacklists.delete_code),
                add_all_code: text(&mut given, "blacklist_add_all_code", default.blacklists.add_all_code),
                form: default.blacklists.form,
                names: default.blacklists.names,
            },
            callees: given.callee_limits("longest_number", "denied_prefixes", "allowed_prefixes"),
            guest_callees: given.callee_limits(
                "guest_longest_number",
                "guest_denied_prefixes",
                "guest_allowed_prefixes",
            ),
            international_groups: given.plain_texts("international_groups"),
            spend: given.spend(),
            unrated: given.word("unrated", "refuse, allow"),
        };
        blacklists(&mut given, &mut plan.blacklists);
        if values.contains_key("emergency") {
            plan.emergency = given.plain_texts("emergency");
        }
        if plan.country.starts_with('0') {
            given.wrong(
                "country",
                given.at("country"),
                "a country calling code such as 44",
                &plan.country,
                "leave out 00 and +",
            );
        }
        given.check_digits("country", &plan.country, "", 3, "the code that follows + in international numbers");
        given.check_digits("area", &plan.area, "", 8, "leave out the national prefix");
        given.check_digits("international_prefix", &plan.international_prefix, "*#", 8, "for example 00 or 011");
        given.check_digits(
            "national_prefix",
            &plan.national_prefix,
            "*#",
            8,
            "for example 0; \"\" where there is none",
        );
        voicemail_code(&mut given, &plan);
        given.check_digits("hide_code", &plan.hide_code, "*#", 8, "for example *67; \"\" where there is none");
        for text in given.texts("emergency") {
            if text.value.is_empty() || !text.value.bytes().all(|b| b.is_ascii_digit()) {
                given.wrong("emergency", text.at, "digits", &text.value, "write numbers as they are dialled");
            }
        }
        if zone(&plan.time_zone).is_none() {
            let at = given.at("time_zone");
            given.wrong("time_zone", at, "the IANA name of a time zone", &plan.time_zone, "for example Europe/Berlin");
        }
        self.errors.append(&mut given.errors);
        plan
    }

    /// What an extension may do beyond the house.
    pub(super) fn calling(&mut self, key: &str, values: &Values) -> Calling {
        let mut given = Given::new(key, values);
        let calling = Calling {
            groups: groups(&mut given),
            international: given.flag("international", false),
            public: given.word::<ExtensionContext>("context", "internal, public") == ExtensionContext::Public,
            domains: given.flag("domains", false),
            caller_id: given.caller_id(),
            hide_caller_id: given.flag("hide_caller_id", false),
            spend: given.spend(),
        };
        self.errors.append(&mut given.errors);
        calling
    }

    /// Trunks, routes, aliases; how many of them the file does not name but are kept.
    pub(super) fn lines(&mut self, raw: &RawSite, prune: bool) -> usize {
        let mut unnamed = 0;
        if let Some(trunks) = &raw.trunks {
            let found = self.named("trunk", trunks);
            let before = self.target.lines.trunks.clone();
            let mut named = HashSet::new();
            for (key, tenant, raw) in found {
                let old = before.values().find(|t| t.tenant == tenant && t.name == raw.name.value);
                let id = old.map_or_else(
                    || {
                        self.target.next_trunk += 1;
                        TrunkId(self.target.next_trunk - 1)
                    },
                    |t| t.id,
                );
                let trunk = self.trunk(&key, id, tenant, raw, old);
                named.insert(id);
                self.target.lines.trunks.insert(id, trunk);
            }
            unnamed += prune_or_count(&mut self.target.lines.trunks, &named, prune);
            let lines = &mut self.target.lines;
            lines.rates.retain(|id, _| lines.trunks.contains_key(id));
        }
        if let Some(routes) = &raw.routes {
            let new: Vec<OutboundRoute> = self
                .named("route", routes)
                .into_iter()
                .map(|(key, tenant, raw)| self.route(&key, tenant, raw))
                .collect();
            unnamed += replace(&mut self.target.lines.outbound, new, prune, |r| (r.tenant, r.name.clone()));
        }
        if let Some(routes) = &raw.inbound {
            let found = self.named("inbound", routes);
            let new: Vec<InboundRoute> =
                found.into_iter().map(|(key, tenant, raw)| self.inbound(&key, tenant, raw)).collect();
            unnamed += replace(&mut self.target.lines.inbound, new, prune, |r| (r.tenant, r.name.clone()));
        }
        if let Some(aliases) = &raw.aliases {
            let found = self.named("alias", aliases);
            let new: Vec<Alias> = found.into_iter().map(|(key, tenant, raw)| self.alias(&key, tenant, raw)).collect();
            let list = &mut self.target.lines.aliases;
            unnamed += replace(list, new, prune, |a| (a.tenant, a.name.clone()));
            list.sort_by(|a, b| (a.tenant, &a.name).cmp(&(b.tenant, &b.name)));
        }
        self.check_lines();
        unnamed
    }

    /// Objects with their tenant, each name once.
    fn named<'r>(&mut self, kind: &str, raw: &'r [RawLine]) -> Vec<(String, TenantId, &'r RawLine)> {
        let mut seen = HashMap::new();
        let mut found = Vec::new();
        for line in raw {
            let key = format!("{kind} {:?}", line.name.value);
            if !is_name(&line.name.value, MAX_TENANT) {
                let expected = format!("a name of at most {MAX_TENANT} characters of a-z 0-9 . _ -");
                self.error(line.name.at, format!("{key}: name"), expected, &line.name.value, "choose another name");
            }
            let (tenant, at) = match line.values.get("tenant") {
                Some(Located { value: Val::Text(name), at }) => (name.as_str(), *at),
                _ => (DEFAULT_TENANT, None),
            };
            let Some(tenant) = self.tenant_named(&key, tenant, at) else { continue };
            match seen.insert((tenant, line.name.value.clone()), line.name.at) {
                Some(first) => self.duplicate(key, &line.name, first),
                None => found.push((key, tenant, line)),
            }
        }
        found
    }

    fn trunk(&mut self, key: &str, id: TrunkId, tenant: TenantId, raw: &RawLine, old: Option<&Trunk>) -> Trunk {
        let mut given = Given::new(key, &raw.values);
        let server = given.some("server").unwrap_or_default();
        if given.values.contains_key("server") {
            given.sip_uri("server", &server);
        } else {
            given.wrong("server", raw.name.at, "where its calls go", "", "write server = \"sip:sip.provider.example\"");
        }
        let kind = given.word("kind", "peer, register");
        let credentials = trunk_credentials(&mut given, raw, kind, old);
        let inbound_credentials = self.inbound_credentials(&mut given, &raw.name.value, old);
        let outbound_proxy = given.some("outbound_proxy");
        if let Some(proxy) = &outbound_proxy {
            given.sip_uri("outbound_proxy", proxy);
        }
        let from_domain = given.some("from_domain");
        if let Some(domain) = from_domain.as_ref().filter(|d| !is_domain(d)) {
            let at = given.at("from_domain");
            given.wrong("from_domain", at, "a host name or an IP address", domain, "leave out sip: and ports");
        }
        for source in given.texts("sources").iter().filter(|s| !is_source(&s.value)) {
            given.wrong(
                "sources",
                source.at,
                "an address or a range of addresses",
                &source.value,
                "for example 192.0.2.0/24",
            );
        }
        for codec in given.texts("codecs").iter().filter(|c| CodecAllowList::parse(&[&c.value]).is_err()) {
            given.wrong("codecs", codec.at, "a codec's name as in SDP", &codec.value, "for example PCMA, opus or G722");
        }
        let default = HeaderRules::default();
        let headers = HeaderRules {
            from: given.word("from", "caller, account"),
            asserted_identity: given.flag("asserted_identity", default.asserted_identity),
            remote_party_id: given.flag("remote_party_id", default.remote_party_id),
            diverted: given.word("diversion", "none, diversion, history-info"),
            called: given.word("called_in", "request-uri, to, called-party-id"),
            number_format: given.word("number_format", "e164, digits, national, asis"),
            caller_id_only: given.flag("caller_id_only", false),
        };
        let (blacklists, blacklist_form, blocked) = self.blacklists_of_trunk(&mut given, tenant);
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
        let trunk = Trunk {
            enabled: given.flag("enabled", true),
            kind,
            outbound_proxy,
            profile: given.some("profile"),
            credentials,
            from_domain,
            register_for: given.duration("register_for", Trunk::REGISTER_FOR, second * 60, day),
            sources: given.plain_texts("sources"),
            inbound_credentials,
            codecs: given.plain_texts("codecs"),
            verify_identity: given.word("verify_identity", "off, note, require"),
            sign_identity: given.flag("sign_identity", true),
            attest: given.word("attest", "A, B, C"),
            srtp: given.word("srtp", "off, offer, require"),
            headers,
            caller_id: given.caller_id(),
            health_every: given.duration("health_every", Trunk::HEALTH_EVERY, Duration::ZERO, day),
            max_calls: given.count("max_calls", Trunk::MAX_CALLS),
            calls_per_second: given.count("calls_per_second", 0),
            answer_within: given.duration("answer_within", Trunk::ANSWER_WITHIN, second, second * 32),
            pass_extensions: given.flag("pass_extensions", false),
            spend: given.spend(),
            blacklists,
            blacklist_form,
            blocked,
            ..Trunk::new(id, tenant, &raw.name.value, server)
        };
        if trunk.headers.caller_id_only && trunk.caller_id.is_none() {
            let at = given.at("caller_id_only");
            given.wrong("caller_id", at, "the number that all calls by it show", "", "write caller_id = \"+44…\"");
        }
        if trunk.max_calls == 0 {
            given.wrong("max_calls", given.at("max_calls"), "1 or more", "0", "for none at all write enabled = false");
        }
        self.errors.append(&mut given.errors);
        trunk
    }

    /// Lists that a trunk's callers are checked against, and what those hear who are on one.
    fn blacklists_of_trunk(
        &mut self,
        given: &mut Given<'_>,
        tenant: TenantId,
    ) -> (Vec<u32>, Option<NumberForm>, Treatment) {
        let plan = self.target.tenants.iter().find(|t| t.id == tenant).map(|t| t.numbers.blacklists.clone());
        let plan = plan.unwrap_or_default();
        let mut lists = Vec::new();
        for text in given.texts("blacklists") {
            match plan.list(&text.value) {
                Some(list) if !lists.contains(&list) => lists.push(list),
                Some(_) => {}
                None => {
                    let expected = "the number of a list, or a name of the tenant's blacklist_names";
                    given.wrong("blacklists", text.at, expected, &text.value, "write it like \"0\"");
                }
            }
        }
        let has_form = given.values.contains_key("blacklist_form");
        let form = given.word("blacklist_form", FORMS);
        let blocked = given.word("blocked", "busy, reject, reject-608, prompt, voicemail");
        (lists, has_form.then_some(form), blocked)
    }

    /// What is absent is kept, or made where a user is named for the first time.
    fn inbound_credentials(
        &mut self,
        given: &mut Given<'_>,
        name: &str,
        old: Option<&Trunk>,
    ) -> Option<SipCredentials> {
        let kept = old.and_then(|t| t.inbound_credentials.as_ref());
        let secret = given.secret("inbound_password");
        let Some(user) = given.some("inbound_user") else {
            if secret.is_some() {
                let at = given.at("inbound_password");
                given.wrong("inbound_user", at, "the user of inbound_password", "", "name it, or leave both out");
            }
            return None;
        };
        let owner = Owner { user: &user, number: name, name: "" };
        let password = match (secret, kept) {
            (Some(secret), kept) => {
                let unchanged = kept.is_some_and(|k| k.password == *secret);
                if !unchanged && let Err(weak) = credentials::check_password(secret.reveal(), &owner) {
                    let (at, key) = (given.at("inbound_password"), format!("{}: inbound_password", given.key));
                    let (expected, got) = (weak.expected(), weak.to_string());
                    let help = "leave it out: a good one is generated".to_owned();
                    given.errors.push(SiteError { at, key, expected, got, help });
                }
                secret.clone()
            }
            (None, Some(kept)) => kept.password.clone(),
            (None, None) => credentials::generate_password(self.rng, &owner),
        };
        Some(SipCredentials { user, password })
    }

    fn route(&mut self, key: &str, tenant: TenantId, raw: &RawLine) -> OutboundRoute {
        let mut given = Given::new(key, &raw.values);
        let patterns = given.parsed("patterns", "a pattern of numbers");
        if given.texts("patterns").is_empty() {
            given.wrong(
                "patterns",
                raw.name.at,
                "at least one pattern",
                "",
                "for all numbers write patterns = [\"any\"]",
            );
        }
        let mut trunks = Vec::new();
        for name in given.texts("trunks") {
            match self.trunk_named(tenant, &name.value) {
                Some(id) if !trunks.contains(&id) => trunks.push(id),
                Some(_) => given.wrong("trunks", name.at, "each trunk once", &name.value, "remove one of the two"),
                None => given.wrong(
                    "trunks",
                    name.at,
                    &self.trunk_names(tenant),
                    &name.value,
                    "add a [[trunk]] of that name",
                ),
            }
        }
        let enum_domain = given.some("enum").map(|domain| domain.trim_end_matches('.').to_ascii_lowercase());
        // RFC 6116 §3.2: 15 digits and their dots go in front.
        if let Some(domain) = enum_domain.as_ref().filter(|d| NumberRequest::of_domain("+100000000000000", d).is_none())
        {
            let help = "for example \"e164.arpa\"";
            given.wrong("enum", given.at("enum"), "a domain with room for a number beneath it", domain, help);
        }
        if given.texts("trunks").is_empty() && enum_domain.is_none() {
            given.wrong("trunks", raw.name.at, "at least one trunk", "", "write trunks = [\"name\"]");
        }
        let strip = given.count("strip", 0);
        let prepend = given.some("prepend").unwrap_or_default();
        if !prepend.is_empty() && !number::is_number(&prepend) && prepend != "+" {
            given.wrong(
                "prepend",
                given.at("prepend"),
                "digits, *, # or a leading +",
                &prepend,
                "write what is dialled",
            );
        }
        let strip = u8::try_from(strip).ok().filter(|s| *s <= 32).unwrap_or_else(|| {
            given.wrong("strip", given.at("strip"), "at most 32", &strip.to_string(), "no number is longer");
            0
        });
        let attempts = given.values.contains_key("attempts").then(|| given.count("attempts", 0));
        if attempts == Some(0) {
            given.wrong("attempts", given.at("attempts"), "at least 1", "0", "leave it out where all trunks are tried");
        }
        let rings = given.values.contains_key("ring_for");
        let ring_for = given.duration("ring_for", Duration::ZERO, Duration::from_secs(1), Duration::from_secs(600));
        let route = OutboundRoute {
            tenant,
            name: raw.name.value.clone(),
            patterns,
            groups: groups(&mut given),
            hours: given.parsed("hours", "days and times"),
            strip,
            prepend,
            enum_domain,
            trunks,
            order: given.word("order", "listed, least-cost"),
            attempts,
            ring_for: rings.then_some(ring_for),
        };
        self.errors.append(&mut given.errors);
        route
    }

    fn inbound(&mut self, key: &str, tenant: TenantId, raw: &RawLine) -> InboundRoute {
        let mut given = Given::new(key, &raw.values);
        let trunk = given.some("trunk").and_then(|name| {
            let found = self.trunk_named(tenant, &name);
            if found.is_none() {
                let at = given.at("trunk");
                given.wrong("trunk", at, &self.trunk_names(tenant), &name, "add a [[trunk]] of that name");
            }
            found
        });
        let called = match given.text("called").map(Pattern::from_str) {
            None => Pattern::Any,
            Some(Ok(pattern)) => pattern,
            Some(Err(error)) => {
                let (text, help) = (given.text("called").unwrap_or_default(), error.to_string());
                given.wrong("called", given.at("called"), "a pattern of numbers", text, &help);
                Pattern::Any
            }
        };
        let mut identity = Vec::new();
        for text in given.texts("identity") {
            match from_word(&text.value) {
                Some(one) => identity.push(one),
                None => given.wrong("identity", text.at, "passed, failed or none", &text.value, "choose of these"),
            }
        }
        let hours = given.parsed("hours", "days and times");
        let to = self.leads_to(&mut given, tenant, raw);
        self.errors.append(&mut given.errors);
        InboundRoute { tenant, name: raw.name.value.clone(), trunk, called, identity, hours, to }
    }

    fn alias(&mut self, key: &str, tenant: TenantId, raw: &RawLine) -> Alias {
        let mut given = Given::new(key, &raw.values);
        let to = self.leads_to(&mut given, tenant, raw);
        let published = given.flag("published", false);
        self.errors.append(&mut given.errors);
        Alias { tenant, name: raw.name.value.clone(), to, published }
    }

    fn leads_to(&self, given: &mut Given<'_>, tenant: TenantId, raw: &RawLine) -> Destination {
        let help = "write to = \"extension 101\" or to = \"reject 486\"";
        let Some(text) = given.text("to") else {
            given.wrong("to", raw.name.at, "where its calls go", "", help);
            return Destination::Reject(480);
        };
        let Some(to) = destination(text) else {
            let outside = ["trunk", "route", "sip:", "sips:", "tel:"].iter().any(|word| text.starts_with(word));
            let why = "a call from outside never leaves by a trunk again (GUARD-2): name an extension of the house";
            let help = if outside { why } else { help };
            given.wrong("to", given.at("to"), "extension NUMBER or reject STATUS (400 to 699)", text, help);
            return Destination::Reject(480);
        };
        if !self.is_there(tenant, &to) {
            given.wrong(
                "to",
                given.at("to"),
                "an extension of the tenant",
                text,
                "add an [[extension]] of that number",
            );
        }
        to
    }

    fn is_there(&self, tenant: TenantId, to: &Destination) -> bool {
        match to {
            Destination::Extension(number) => {
                let id = self.by_number.get(&(tenant, number.clone()));
                id.is_some_and(|id| self.target.extensions.contains_key(id))
            }
            Destination::Reject(_) => true,
        }
    }

    fn trunk_named(&self, tenant: TenantId, name: &str) -> Option<TrunkId> {
        self.target.lines.trunks.values().find(|t| t.tenant == tenant && t.name == name).map(|t| t.id)
    }

    fn trunk_names(&self, tenant: TenantId) -> String {
        let all = self.target.lines.trunks.values().filter(|t| t.tenant == tenant);
        let names: Vec<&str> = all.map(|t| t.name.as_str()).collect();
        if names.is_empty() { "a trunk (there is none)".to_owned() } else { format!("one of {}", names.join(", ")) }
    }

    /// What is kept must not lead to what is deleted.
    fn check_lines(&mut self) {
        let lines = self.target.lines.clone();
        let has = |id: &TrunkId| lines.trunks.contains_key(id);
        let mut broken = Vec::new();
        for route in lines.outbound.iter().filter(|r| !r.trunks.iter().all(has)) {
            broken.push((format!("route {:?}: trunks", route.name), "a trunk that is deleted".to_owned()));
        }
        for route in &lines.inbound {
            let key = format!("inbound {:?}", route.name);
            if route.trunk.is_some_and(|id| !has(&id)) {
                broken.push((format!("{key}: trunk"), "a trunk that is deleted".to_owned()));
            }
            if !self.is_there(route.tenant, &route.to) {
                broken.push((format!("{key}: to"), leads_to(&route.to)));
            }
        }
        for alias in lines.aliases.iter().filter(|a| !self.is_there(a.tenant, &a.to)) {
            broken.push((format!("alias {:?}: to", alias.name), leads_to(&alias.to)));
        }
        let tenants: HashSet<TenantId> = self.target.tenants.iter().map(|t| t.id).collect();
        let lost = |tenant: TenantId| !tenants.contains(&tenant);
        let all = lines.trunks.values().map(|t| ("trunk", &t.name, t.tenant));
        let all = all.chain(lines.outbound.iter().map(|r| ("route", &r.name, r.tenant)));
        let all = all.chain(lines.inbound.iter().map(|r| ("inbound", &r.name, r.tenant)));
        for (kind, name, _) in
            all.chain(lines.aliases.iter().map(|a| ("alias", &a.name, a.tenant))).filter(|l| lost(l.2))
        {
            broken.push((format!("{kind} {name:?}: tenant"), "one that is deleted".to_owned()));
        }
        for (key, got) in broken {
            // Those that the file names itself are told already, with their place.
            if !self.errors.iter().any(|e| e.key == key) {
                let expected = "something that stays".to_owned();
                let help = "delete or change what leads to it first, or in the same file".to_owned();
                self.errors.push(SiteError { at: None, key, expected, got, help });
            }
        }
    }
}

fn groups(given: &mut Given<'_>) -> Vec<String> {
    for group in given.texts("groups").iter().filter(|g| !is_name(&g.value, MAX_TENANT)) {
        given.wrong("groups", group.at, "names of a-z 0-9 . _ -", &group.value, "choose another name");
    }
    given.plain_texts("groups")
}

fn trunk_credentials(
    given: &mut Given<'_>,
    raw: &RawLine,
    kind: TrunkKind,
    old: Option<&Trunk>,
) -> Option<TrunkCredentials> {
    let kept = old.and_then(|t| t.credentials.as_ref()).map(|c| &c.password);
    let secret = given.secret("password");
    let (auth_user, realm) = (given.some("auth_user"), given.some("realm"));
    let Some(user) = given.some("user") else {
        if kind == TrunkKind::Register || secret.is_some() || auth_user.is_some() || realm.is_some() {
            let help = "write user = \"…\" as the provider gave it";
            given.wrong("user", raw.name.at, "the user of the account", "", help);
        }
        return None;
    };
    let Some(password) = secret.or(kept) else {
        let help = "write password = \"…\" as the provider gave it";
        given.wrong("password", given.at("user"), "the password of the account", "", help);
        return None;
    };
    Some(TrunkCredentials { user, auth_user, password: password.clone(), realm })
}

fn prune_or_count(trunks: &mut BTreeMap<TrunkId, Trunk>, named: &HashSet<TrunkId>, prune: bool) -> usize {
    if prune {
        trunks.retain(|id, _| named.contains(id));
        return 0;
    }
    trunks.keys().filter(|id| !named.contains(id)).count()
}

/// The list of the file in its order; what the file does not name stays behind it.
fn replace<T, K: PartialEq>(list: &mut Vec<T>, new: Vec<T>, prune: bool, key: impl Fn(&T) -> K) -> usize {
    let old = std::mem::replace(list, new);
    if prune {
        return 0;
    }
    let kept: Vec<T> = old.into_iter().filter(|o| !list.iter().any(|n| key(n) == key(o))).collect();
    let count = kept.len();
    list.extend(kept);
    count
}
