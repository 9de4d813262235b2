//! Keys of `site.toml` for lines to the world, and the objects of the model as such keys: plan and export compare and
//! print these, `line_resolve` makes the objects of them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ringfort_switch::model::{
    Alias, Calling, Destination, InboundRoute, NumberPlan, OutboundRoute, Rates, Secret, Site, SpendLimits, Tenant,
    TenantId, Trunk, TrunkId,
};
use ringfort_switch::money;
use toml::Value;

use super::Located;
use crate::cdr::word;

/// What is written for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Val {
    Text(String),
    Secret(Secret),
    Texts(Vec<Located<String>>),
    Count(u32),
    Flag(bool),
    Duration(Duration),
}

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Secret,
    Texts,
    Count,
    Flag,
    Duration,
}

pub(super) type Key = (&'static str, Form);
/// Values by key, as far as they were given.
pub type Values = BTreeMap<&'static str, Located<Val>>;

/// `[[trunk]]`, `[[route]]`, `[[inbound]]` or `[[alias]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawLine {
    pub name: Located<String>,
    pub values: Values,
}

pub(super) const NUMBERS: &[Key] = &[
    ("country", Form::Text),
    ("area", Form::Text),
    ("international_prefix", Form::Text),
    ("national_prefix", Form::Text),
    ("emergency", Form::Texts),
    ("hide_code", Form::Text),
    ("voicemail_code", Form::Text),
    ("time_zone", Form::Text),
    ("longest_number", Form::Count),
    ("denied_prefixes", Form::Texts),
    ("allowed_prefixes", Form::Texts),
    ("guest_longest_number", Form::Count),
    ("guest_denied_prefixes", Form::Texts),
    ("guest_allowed_prefixes", Form::Texts),
    ("international_groups", Form::Texts),
    ("spend_per_call", Form::Text),
    ("spend_per_day", Form::Text),
    ("spend_per_month", Form::Text),
    ("unrated", Form::Text),
    ("blacklist_form", Form::Text),
    ("blacklist_names", Form::Texts),
    ("blacklist_add_code", Form::Text),
    ("blacklist_delete_code", Form::Text),
    ("blacklist_add_all_code", Form::Text),
];
pub(super) const CALLING: &[Key] = &[
    ("groups", Form::Texts),
    ("international", Form::Flag),
    ("context", Form::Text),
    ("domains", Form::Flag),
    ("caller_id", Form::Text),
    ("hide_caller_id", Form::Flag),
    ("spend_per_call", Form::Text),
    ("spend_per_day", Form::Text),
    ("spend_per_month", Form::Text),
];
pub(super) const TRUNK: &[Key] = &[
    ("tenant", Form::Text),
    ("kind", Form::Text),
    ("server", Form::Text),
    ("outbound_proxy", Form::Text),
    ("profile", Form::Text),
    ("user", Form::Text),
    ("auth_user", Form::Text),
    ("password", Form::Secret),
    ("realm", Form::Text),
    ("from_domain", Form::Text),
    ("register_for", Form::Duration),
    ("sources", Form::Texts),
    ("inbound_user", Form::Text),
    ("inbound_password", Form::Secret),
    ("codecs", Form::Texts),
    ("verify_identity", Form::Text),
    ("sign_identity", Form::Flag),
    ("attest", Form::Text),
    ("srtp", Form::Text),
    ("from", Form::Text),
    ("asserted_identity", Form::Flag),
    ("remote_party_id", Form::Flag),
    ("diversion", Form::Text),
    ("called_in", Form::Text),
    ("number_format", Form::Text),
    ("caller_id", Form::Text),
    ("caller_id_only", Form::Flag),
    ("health_every", Form::Duration),
    ("max_calls", Form::Count),
    ("calls_per_second", Form::Count),
    ("answer_within", Form::Duration),
    ("pass_extensions", Form::Flag),
    ("spend_per_call", Form::Text),
    ("spend_per_day", Form::Text),
    ("spend_per_month", Form::Text),
    ("blacklists", Form::Texts),
    ("blacklist_form", Form::Text),
    ("blocked", Form::Text),
    ("enabled", Form::Flag),
];
pub(super) const ROUTE: &[Key] = &[
    ("tenant", Form::Text),
    ("patterns", Form::Texts),
    ("groups", Form::Texts),
    ("hours", Form::Texts),
    ("strip", Form::Count),
    ("prepend", Form::Text),
    ("enum", Form::Text),
    ("trunks", Form::Texts),
    ("order", Form::Text),
    ("attempts", Form::Count),
    ("ring_for", Form::Duration),
];
pub(super) const INBOUND: &[Key] = &[
    ("tenant", Form::Text),
    ("trunk", Form::Text),
    ("called", Form::Text),
    ("identity", Form::Texts),
    ("hours", Form::Texts),
    ("to", Form::Text),
];
pub(super) const ALIAS: &[Key] = &[("tenant", Form::Text), ("to", Form::Text), ("published", Form::Flag)];

/// Everything of a site that is a line to the world.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Lines {
    pub(crate) trunks: BTreeMap<TrunkId, Trunk>,
    pub(crate) outbound: Vec<OutboundRoute>,
    pub(crate) inbound: Vec<InboundRoute>,
    pub(crate) aliases: Vec<Alias>,
    pub(crate) rates: Rates,
}

impl Lines {
    pub(crate) fn of(site: &Site) -> Self {
        Self {
            trunks: site.trunks.clone(),
            outbound: site.outbound.clone(),
            inbound: site.inbound.clone(),
            aliases: site.aliases.clone(),
            rates: site.rates.clone(),
        }
    }

    /// The site with these lines.
    pub(crate) fn within(self, site: Site) -> Site {
        let Self { trunks, outbound, inbound, aliases, rates } = self;
        Site { trunks, outbound, inbound, aliases, rates, ..site }
    }
}

/// Keys with their values, in the order of the page; what has no value is left out.
pub(super) type Shown = Vec<(&'static str, Val)>;

/// What of `shown` is not in `default`.
pub(super) fn without(shown: Shown, default: &Shown) -> Shown {
    shown.into_iter().filter(|pair| !default.contains(pair)).collect()
}

fn text(value: impl Into<String>) -> Val {
    Val::Text(value.into())
}

fn texts<T: fmt::Display>(values: &[T]) -> Val {
    Val::Texts(values.iter().map(|v| Located::new(v.to_string())).collect())
}

fn spend(limits: &SpendLimits) -> Shown {
    let all =
        [("spend_per_call", limits.per_call), ("spend_per_day", limits.per_day), ("spend_per_month", limits.per_month)];
    all.into_iter().filter_map(|(key, limit)| Some((key, text(money::text(limit?))))).collect()
}

pub(super) fn numbers(n: &NumberPlan) -> Shown {
    let b = &n.blacklists;
    let names: Vec<String> = b.names.iter().map(|(id, name)| format!("{id}={name}")).collect();
    let mut out = vec![
        ("country", text(&n.country)),
        ("area", text(&n.area)),
        ("international_prefix", text(&n.international_prefix)),
        ("national_prefix", text(&n.national_prefix)),
        ("emergency", texts(&n.emergency)),
        ("hide_code", text(&n.hide_code)),
        ("voicemail_code", text(&n.voicemail_code)),
        ("time_zone", text(&n.time_zone)),
        ("blacklist_form", text(word(b.form))),
        ("blacklist_names", texts(&names)),
        ("blacklist_add_code", text(&b.add_code)),
        ("blacklist_delete_code", text(&b.delete_code)),
        ("blacklist_add_all_code", text(&b.add_all_code)),
    ];
    let keys = [
        ["longest_number", "denied_prefixes", "allowed_prefixes"],
        ["guest_longest_number", "guest_denied_prefixes", "guest_allowed_prefixes"],
    ];
    for ([longest, denied, allowed], limits) in keys.into_iter().zip([&n.callees, &n.guest_callees]) {
        out.extend(limits.longest.map(|most| (longest, Val::Count(most))));
        out.extend(limits.denied.as_ref().map(|prefixes| (denied, texts(prefixes))));
        if !limits.allowed.is_empty() {
            out.push((allowed, texts(&limits.allowed)));
        }
    }
    if !n.international_groups.is_empty() {
        out.push(("international_groups", texts(&n.international_groups)));
    }
    out.extend(spend(&n.spend));
    out.push(("unrated", text(word(n.unrated))));
    out
}

pub(super) fn calling(c: &Calling) -> Shown {
    let mut out = vec![
        ("groups", texts(&c.groups)),
        ("international", Val::Flag(c.international)),
        ("domains", Val::Flag(c.domains)),
    ];
    if c.public {
        out.push(("context", text("public")));
    }
    out.extend(c.caller_id.as_ref().map(|id| ("caller_id", text(id))));
    out.push(("hide_caller_id", Val::Flag(c.hide_caller_id)));
    out.extend(spend(&c.spend));
    out
}

fn tenant_name(tenants: &[Tenant], id: TenantId) -> Option<(&'static str, Val)> {
    let tenant = tenants.iter().find(|t| t.id == id)?;
    (tenant.name != super::DEFAULT_TENANT).then(|| ("tenant", text(&tenant.name)))
}

pub(super) fn trunk(tenants: &[Tenant], t: &Trunk) -> Shown {
    let mut out: Shown = tenant_name(tenants, t.tenant).into_iter().collect();
    let mut optional = |key, value: Option<&String>| out.extend(value.map(|v| (key, text(v))));
    optional("kind", Some(&word(t.kind)));
    optional("server", Some(&t.server));
    optional("outbound_proxy", t.outbound_proxy.as_ref());
    optional("profile", t.profile.as_ref());
    if let Some(c) = &t.credentials {
        optional("user", Some(&c.user));
        optional("auth_user", c.auth_user.as_ref());
        optional("realm", c.realm.as_ref());
    }
    optional("from_domain", t.from_domain.as_ref());
    optional("inbound_user", t.inbound_credentials.as_ref().map(|c| &c.user));
    optional("caller_id", t.caller_id.as_ref());
    out.extend(t.blacklist_form.map(|form| ("blacklist_form", text(word(form)))));
    out.extend(t.credentials.as_ref().map(|c| ("password", Val::Secret(c.password.clone()))));
    out.extend(t.inbound_credentials.as_ref().map(|c| ("inbound_password", Val::Secret(c.password.clone()))));
    let h = &t.headers;
    out.extend([
        ("register_for", Val::Duration(t.register_for)),
        ("sources", texts(&t.sources)),
        ("codecs", texts(&t.codecs)),
        ("verify_identity", text(word(t.verify_identity))),
        ("sign_identity", Val::Flag(t.sign_identity)),
        ("attest", text(word(t.attest))),
        ("srtp", text(word(t.srtp))),
        ("from", text(word(h.from))),
        ("asserted_identity", Val::Flag(h.asserted_identity)),
        ("remote_party_id", Val::Flag(h.remote_party_id)),
        ("diversion", text(word(h.diverted))),
        ("called_in", text(word(h.called))),
        ("number_format", text(word(h.number_format))),
        ("caller_id_only", Val::Flag(h.caller_id_only)),
        ("health_every", Val::Duration(t.health_every)),
        ("max_calls", Val::Count(t.max_calls)),
        ("calls_per_second", Val::Count(t.calls_per_second)),
        ("answer_within", Val::Duration(t.answer_within)),
        ("pass_extensions", Val::Flag(t.pass_extensions)),
        ("blacklists", texts(&t.blacklists)),
        ("blocked", text(word(t.blocked))),
        ("enabled", Val::Flag(t.enabled)),
    ]);
    out.extend(spend(&t.spend));
    out.sort_by_key(|(key, _)| TRUNK.iter().position(|(k, _)| k == key));
    out
}

pub(super) fn route(tenants: &[Tenant], trunks: &BTreeMap<TrunkId, Trunk>, r: &OutboundRoute) -> Shown {
    let mut out: Shown = tenant_name(tenants, r.tenant).into_iter().collect();
    let names: Vec<&str> = r.trunks.iter().filter_map(|id| trunks.get(id)).map(|t| t.name.as_str()).collect();
    out.extend([
        ("patterns", texts(&r.patterns)),
        ("groups", texts(&r.groups)),
        ("hours", texts(&r.hours)),
        ("strip", Val::Count(u32::from(r.strip))),
        ("prepend", text(&r.prepend)),
        ("trunks", texts(&names)),
        ("order", text(word(r.order))),
    ]);
    out.extend(r.enum_domain.as_ref().map(|domain| ("enum", text(domain))));
    out.extend(r.attempts.map(|most| ("attempts", Val::Count(most))));
    out.extend(r.ring_for.map(|d| ("ring_for", Val::Duration(d))));
    out.sort_by_key(|(key, _)| ROUTE.iter().position(|(k, _)| k == key));
    out
}

pub(super) fn inbound(tenants: &[Tenant], trunks: &BTreeMap<TrunkId, Trunk>, r: &InboundRoute) -> Shown {
    let mut out: Shown = tenant_name(tenants, r.tenant).into_iter().collect();
    out.extend(r.trunk.and_then(|id| trunks.get(&id)).map(|t| ("trunk", text(&t.name))));
    let identity: Vec<String> = r.identity.iter().map(|one| word(*one)).collect();
    out.extend([
        ("called", text(r.called.to_string())),
        ("identity", texts(&identity)),
        ("hours", texts(&r.hours)),
        ("to", text(leads_to(&r.to))),
    ]);
    out
}

pub(super) fn alias(tenants: &[Tenant], a: &Alias) -> Shown {
    let mut out: Shown = tenant_name(tenants, a.tenant).into_iter().collect();
    out.extend([("to", text(leads_to(&a.to))), ("published", Val::Flag(a.published))]);
    out
}

/// Defaults of routes, to be left out of an export.
pub(super) fn plain_lists() -> Shown {
    let none: [&str; 0] = [];
    vec![
        ("groups", texts(&none)),
        ("hours", texts(&none)),
        ("strip", Val::Count(0)),
        ("prepend", text("")),
        ("trunks", texts(&none)),
        ("order", text("listed")),
        ("published", Val::Flag(false)),
    ]
}

/// `extension 101`, `reject 486`.
pub(super) fn leads_to(to: &Destination) -> String {
    match to {
        Destination::Extension(number) => format!("extension {number}"),
        Destination::Reject(status) => format!("reject {status}"),
    }
}

impl Val {
    /// For people: secrets hidden.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Secret(_) => "***".to_owned(),
            Self::Texts(list) => list.iter().map(|l| l.value.as_str()).collect::<Vec<_>>().join(", "),
            Self::Count(n) => n.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::Duration(duration) => print_duration(*duration),
        }
    }

    /// For programs.
    pub(super) fn json(&self, secrets: bool) -> serde_json::Value {
        match self {
            Self::Secret(secret) if secrets => secret.reveal().into(),
            Self::Text(_) | Self::Secret(_) | Self::Duration(_) => self.shown().into(),
            Self::Texts(list) => list.iter().map(|l| l.value.as_str()).collect::<Vec<_>>().into(),
            Self::Count(n) => (*n).into(),
            Self::Flag(flag) => (*flag).into(),
        }
    }

    /// As TOML, secrets in the clear.
    pub(super) fn toml(&self) -> String {
        let string = |text: &str| Value::String(text.to_owned());
        match self {
            Self::Text(text) => string(text).to_string(),
            Self::Secret(secret) => string(secret.reveal()).to_string(),
            Self::Texts(list) => Value::Array(list.iter().map(|l| string(&l.value)).collect()).to_string(),
            Self::Count(_) | Self::Flag(_) => self.shown(),
            Self::Duration(_) => string(&self.shown()).to_string(),
        }
    }
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// `10m`, `1h30m`, `500ms`; `None` for what is none.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &tail[..end])?;
        total = number.parse::<u64>().ok()?.checked_mul(*unit)?.checked_add(total)?;
        rest = &tail[end..];
    }
    Some(Duration::from_millis(total))
}

pub(super) fn print_duration(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (name, unit) in UNITS {
        if left >= unit {
            out.push_str(&format!("{}{name}", left / unit));
            left %= unit;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_they_are_read() {
        for text in ["500ms", "4s", "10m", "1h30m", "2d", "0s"] {
            assert_eq!(parse_duration(text).map(print_duration).as_deref(), Some(text));
        }
        for text in ["", "4", "m", "4 s", "-4s", "4y", "99999999999999999999d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
