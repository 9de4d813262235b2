//! What a change would do, object by object and field by field, with secrets left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ringfort_switch::model::{
    Calling, Extension, ExtensionId, NumberPlan, RateTable, Tenant, TenantId, Trunk, TrunkId,
};
use serde::{Deserialize, Serialize};

use super::line::{self, Lines, Shown, Val};
use crate::cdr::word;

/// The kinds of objects that a site has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    Tenant,
    Extension,
    Trunk,
    Route,
    Inbound,
    Alias,
    /// What a trunk's calls cost.
    Rates,
}

impl ObjectKind {
    /// As `site.toml` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Extension => "extension",
            Self::Trunk => "trunk",
            Self::Route => "route",
            Self::Inbound => "inbound",
            Self::Alias => "alias",
            Self::Rates => "rates",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Create,
    Change,
    Delete,
}

/// One object that is created, changed or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub action: Action,
    pub kind: ObjectKind,
    /// The extension's number or the tenant's name.
    pub name: String,
    /// The tenant of an extension.
    pub tenant: Option<String>,
    /// What is different; all fields of what is created, none of what is deleted.
    pub fields: Vec<FieldChange>,
}

/// One field. A secret shows as `***` or `generated`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    pub field: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// What applying would do, and onto which revision: make it by `Service::plan…`, show it, hand it to `Service::apply`.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The revision that it was made for.
    pub base: u64,
    pub changes: Vec<Change>,
    /// Objects that stay as they are, those that the file does not name included.
    pub unchanged: usize,
    /// Objects of a kind that the file manages and does not name, kept because pruning was not asked for.
    pub unnamed: usize,
    /// Trunks that the gate of the service lets be reached by whoever they are reached by now: the operator has named them.
    pub allow: Vec<String>,
    pub(crate) target: Target,
    /// The revision that a rollback goes back to.
    pub(crate) rollback_to: Option<u64>,
}

/// All objects as they are to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Target {
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) extensions: BTreeMap<ExtensionId, Extension>,
    pub(crate) lines: Lines,
    /// Where user names and passwords of touched extensions come from.
    pub(crate) origins: BTreeMap<ExtensionId, Origins>,
    pub(crate) next_tenant: u32,
    pub(crate) next_extension: u32,
    pub(crate) next_trunk: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Written by the administrator.
    Given,
    /// Made by us just now.
    Generated,
    /// Nothing was said: it stays.
    Kept,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origins {
    pub(crate) user: Origin,
    pub(crate) password: Origin,
}

impl Plan {
    /// Nothing would change: applying makes no new revision.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub fn count(&self, action: Action) -> usize {
        self.changes.iter().filter(|c| c.action == action).count()
    }
}

/// For people: what `apply --dry-run` prints.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            write!(f, "{change}")?;
        }
        if self.is_empty() {
            write!(f, "Nothing to do: revision {} is what is asked for.", self.base)?;
        } else {
            write!(
                f,
                "Plan on revision {}: {} to create, {} to change, {} to delete, {} unchanged.",
                self.base,
                self.count(Action::Create),
                self.count(Action::Change),
                self.count(Action::Delete),
                self.unchanged
            )?;
        }
        if self.unnamed > 0 {
            let (are, them) = if self.unnamed == 1 { ("is", "it") } else { ("are", "them") };
            write!(f, "\n{} that the file does not name {are} kept; --prune deletes {them}.", self.unnamed)?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.action {
            Action::Create => '+',
            Action::Change => '~',
            Action::Delete => '-',
        };
        write!(f, "{sign} {} {}", self.kind.name(), self.name)?;
        match self.tenant.as_deref() {
            Some(super::DEFAULT_TENANT) | None => writeln!(f)?,
            Some(tenant) => writeln!(f, " (tenant {tenant})")?,
        }
        for field in &self.fields {
            match (&field.before, &field.after) {
                (Some(before), Some(after)) => writeln!(f, "    {}: {before} -> {after}", field.field)?,
                (Some(value), None) | (None, Some(value)) => writeln!(f, "    {}: {value}", field.field)?,
                (None, None) => writeln!(f, "    {}", field.field)?,
            }
        }
        Ok(())
    }
}

/// Everything that is different between two states, tenants first, by name.
pub(crate) fn compare(
    tenants: (&[Tenant], &[Tenant]),
    extensions: (&BTreeMap<ExtensionId, Extension>, &BTreeMap<ExtensionId, Extension>),
    lines: (&Lines, &Lines),
    origins: &BTreeMap<ExtensionId, Origins>,
) -> (Vec<Change>, usize) {
    let mut changes = Vec::new();
    let mut unchanged = 0;
    let by_id = |list: &[Tenant]| -> BTreeMap<u32, Tenant> { list.iter().map(|t| (t.id.0, t.clone())).collect() };
    for pair in pairs(&by_id(tenants.0), &by_id(tenants.1)) {
        match pair.change(tenant_fields, None) {
            Some(fields) => changes.push(Change {
                action: pair.action(),
                kind: ObjectKind::Tenant,
                name: pair.any().name.clone(),
                tenant: None,
                fields,
            }),
            None => unchanged += 1,
        }
    }
    let tenant_name = |extension: &Extension| {
        let all = tenants.1.iter().chain(tenants.0);
        all.into_iter().find(|t| t.id == extension.tenant).map(|t| t.name.clone())
    };
    for pair in pairs(extensions.0, extensions.1) {
        match pair.change(extension_fields, origins.get(&pair.any().id).copied()) {
            Some(fields) => changes.push(Change {
                action: pair.action(),
                kind: ObjectKind::Extension,
                name: pair.any().number.clone(),
                tenant: tenant_name(pair.any()),
                fields,
            }),
            None => unchanged += 1,
        }
    }
    unchanged += compare_lines(tenants, lines, &mut changes);
    unchanged += compare_rates(tenants, lines, &mut changes);
    changes.sort_by(|a, b| (a.kind, &a.tenant, &a.name, a.action).cmp(&(b.kind, &b.tenant, &b.name, b.action)));
    (changes, unchanged)
}

/// The fields of an object that are different; origins tell where its credentials come from.
type FieldsOf<T> = fn(Option<&T>, Option<&T>, Option<Origins>) -> Vec<FieldChange>;

/// An object before and after; at least one of the two is there.
struct Pair<'a, T> {
    before: Option<&'a T>,
    after: Option<&'a T>,
}

fn pairs<'a, K: Ord, T>(before: &'a BTreeMap<K, T>, after: &'a BTreeMap<K, T>) -> Vec<Pair<'a, T>> {
    let gone =
        before.iter().filter(|(k, _)| !after.contains_key(k)).map(|(_, v)| Pair { before: Some(v), after: None });
    let here = after.iter().map(|(k, v)| Pair { before: before.get(k), after: Some(v) });
    here.chain(gone).collect()
}

impl<T: PartialEq> Pair<'_, T> {
    fn any(&self) -> &T {
        self.after.or(self.before).expect("a pair has at least one side")
    }

    fn action(&self) -> Action {
        match (self.before, self.after) {
            (None, _) => Action::Create,
            (Some(_), Some(_)) => Action::Change,
            (Some(_), None) => Action::Delete,
        }
    }

    fn change(&self, fields: FieldsOf<T>, origins: Option<Origins>) -> Option<Vec<FieldChange>> {
        if self.before == self.after {
            return None;
        }
        Some(if self.after.is_none() { Vec::new() } else { fields(self.before, self.after, origins) })
    }
}

fn tenant_fields(before: Option<&Tenant>, after: Option<&Tenant>, _: Option<Origins>) -> Vec<FieldChange> {
    let mut fields = Fields::default();
    fields.field("name", before.map(|t| t.name.clone()), after.map(|t| t.name.clone()));
    fields.field("domains", before.map(|t| t.domains.join(", ")), after.map(|t| t.domains.join(", ")));
    fields.shown(
        before.map(|t| line::numbers(&t.numbers)),
        after.map(|t| line::numbers(&t.numbers)),
        &line::numbers(&NumberPlan::default()),
    );
    fields.0
}

fn extension_fields(
    before: Option<&Extension>,
    after: Option<&Extension>,
    origins: Option<Origins>,
) -> Vec<FieldChange> {
    let mut fields = Fields::default();
    fn both<'a>(
        sides: (Option<&'a Extension>, Option<&'a Extension>),
        show: impl Fn(&'a Extension) -> String,
    ) -> (Option<String>, Option<String>) {
        (sides.0.map(&show), sides.1.map(&show))
    }
    let sides = (before, after);
    let mut plain = |name, (before, after)| fields.field(name, before, after);
    plain("number", both(sides, |e| e.number.clone()));
    plain("name", both(sides, |e| e.name.clone()));
    let (user_before, user_after) = both(sides, |e| e.credentials.user.clone());
    let generated = origins.is_some_and(|o| o.user == Origin::Generated);
    plain("sip_user", (user_before, if generated { Some("generated".to_owned()) } else { user_after }));
    plain("srtp", both(sides, |e| word(e.srtp)));
    plain("max_calls", both(sides, |e| e.max_calls.to_string()));
    plain("max_contacts", both(sides, |e| e.max_contacts.to_string()));
    plain("enabled", both(sides, |e| e.enabled.to_string()));
    let calling = |e: &Extension| line::calling(&e.calling);
    fields.shown(before.map(calling), after.map(calling), &line::calling(&Calling::default()));
    let password = |e: Option<&Extension>| e.map(|e| e.credentials.password.clone());
    let shown = match origins.map(|o| o.password) {
        Some(Origin::Generated) => "generated",
        Some(Origin::Given | Origin::Kept) | None => "***",
    };
    if password(before) != password(after) {
        fields.0.push(FieldChange {
            field: "sip_password".to_owned(),
            before: before.map(|_| "***".to_owned()),
            after: after.map(|_| shown.to_owned()),
        });
    }
    fields.0
}

/// An object of a list, by tenant and name.
type Listed = BTreeMap<(TenantId, String), Shown>;

fn compare_lines(tenants: (&[Tenant], &[Tenant]), lines: (&Lines, &Lines), changes: &mut Vec<Change>) -> usize {
    let mut unchanged = 0;
    let all: Vec<Tenant> = tenants.1.iter().chain(tenants.0).cloned().collect();
    let mut kind = |kind: ObjectKind, sides: (Listed, Listed), default: Shown| {
        for pair in keyed(&sides.0, &sides.1) {
            let ((tenant, name), before, after) = pair;
            if before == after {
                unchanged += 1;
                continue;
            }
            let mut fields = Fields::default();
            if after.is_some() {
                fields.shown(before.cloned(), after.cloned(), &default);
            }
            let action = match (before, after) {
                (None, _) => Action::Create,
                (_, Some(_)) => Action::Change,
                (_, None) => Action::Delete,
            };
            let tenant = all.iter().find(|t| t.id == *tenant).map(|t| t.name.clone());
            changes.push(Change { action, kind, name: name.clone(), tenant, fields: fields.0 });
        }
    };
    let default = line::trunk(&[], &Trunk::new(TrunkId(0), TenantId(0), "", ""));
    let trunks = |l: &Lines| l.trunks.values().map(|t| ((t.tenant, t.name.clone()), line::trunk(&all, t))).collect();
    kind(ObjectKind::Trunk, (trunks(lines.0), trunks(lines.1)), default);
    // A place is named by the one before it, so that one that moves changes two at most.
    let routes =
        |l: &Lines| ordered(l.outbound.iter().map(|r| ((r.tenant, r.name.clone()), line::route(&all, &l.trunks, r))));
    kind(ObjectKind::Route, (routes(lines.0), routes(lines.1)), line::plain_lists());
    let inbound =
        |l: &Lines| ordered(l.inbound.iter().map(|r| ((r.tenant, r.name.clone()), line::inbound(&all, &l.trunks, r))));
    kind(ObjectKind::Inbound, (inbound(lines.0), inbound(lines.1)), line::plain_lists());
    let aliases = |l: &Lines| l.aliases.iter().map(|a| ((a.tenant, a.name.clone()), line::alias(&all, a))).collect();
    kind(ObjectKind::Alias, (aliases(lines.0), aliases(lines.1)), line::plain_lists());
    unchanged
}

/// Tables of rates by their trunks: not each prefix, but how many of them there are and how many are different.
fn compare_rates(tenants: (&[Tenant], &[Tenant]), lines: (&Lines, &Lines), changes: &mut Vec<Change>) -> usize {
    let mut unchanged = 0;
    let ids: BTreeSet<TrunkId> = lines.0.rates.keys().chain(lines.1.rates.keys()).copied().collect();
    for id in ids {
        let pair = Pair { before: lines.0.rates.get(&id), after: lines.1.rates.get(&id) };
        if pair.before == pair.after {
            unchanged += 1;
            continue;
        }
        let trunk = lines.1.trunks.get(&id).or_else(|| lines.0.trunks.get(&id));
        let tenant = trunk.and_then(|trunk| tenants.1.iter().chain(tenants.0).find(|t| t.id == trunk.tenant));
        let mut fields = Fields::default();
        if let Some(after) = pair.after {
            rate_fields(&mut fields, pair.before.map(|table| &**table), after);
        }
        changes.push(Change {
            action: pair.action(),
            kind: ObjectKind::Rates,
            name: trunk.map_or_else(String::new, |trunk| trunk.name.clone()),
            tenant: tenant.map(|t| t.name.clone()),
            fields: fields.0,
        });
    }
    unchanged
}

fn rate_fields(fields: &mut Fields, before: Option<&RateTable>, after: &RateTable) {
    let counted = |table: &RateTable| grouped(table.rates.len());
    let other = before.filter(|before| before.currency != after.currency);
    let currency = match other {
        Some(before) => {
            format!("{} (limits begin anew; what was spent in {} is kept apart)", after.currency, before.currency)
        }
        None => after.currency.clone(),
    };
    fields.field("currency", before.map(|t| t.currency.clone()), Some(currency));
    fields.field("prefixes", before.map(counted), Some(counted(after)));
    let Some(before) = before else { return };
    let (mut changed, mut new) = (0, 0);
    for rate in &after.rates {
        match before.rates.binary_search_by(|old| old.prefix.cmp(&rate.prefix)) {
            Ok(at) => changed += usize::from(before.rates[at] != *rate),
            Err(_) => new += 1,
        }
    }
    let gone = before.rates.len() + new - after.rates.len();
    for (name, count) in [("changed", changed), ("new", new), ("gone", gone)] {
        if count > 0 {
            fields.field(name, None, Some(format!("{} of {}", grouped(count), counted(after))));
        }
    }
}

/// `120,031`.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// With the name of the one before each.
fn ordered(list: impl Iterator<Item = ((TenantId, String), Shown)>) -> Listed {
    let mut before = "the first".to_owned();
    list.map(|(key, mut shown)| {
        let after = std::mem::replace(&mut before, format!("after {}", key.1));
        shown.push(("place", Val::Text(after)));
        (key, shown)
    })
    .collect()
}

type KeyedPair<'a> = (&'a (TenantId, String), Option<&'a Shown>, Option<&'a Shown>);

fn keyed<'a>(before: &'a Listed, after: &'a Listed) -> Vec<KeyedPair<'a>> {
    let gone = before.iter().filter(|(k, _)| !after.contains_key(*k)).map(|(k, v)| (k, Some(v), None));
    after.iter().map(|(k, v)| (k, before.get(k), Some(v))).chain(gone).collect()
}

#[derive(Default)]
struct Fields(Vec<FieldChange>);

impl Fields {
    /// What is different; of what is created only what is not the default.
    fn shown(&mut self, before: Option<Shown>, after: Option<Shown>, default: &Shown) {
        let old = before.clone().unwrap_or_else(|| default.clone());
        let new = after.unwrap_or_default();
        let value = |list: &Shown, key: &str| list.iter().find(|(k, _)| *k == key).map(|(_, v)| v.clone());
        let mut keys: Vec<&str> = new.iter().map(|(key, _)| *key).collect();
        keys.extend(old.iter().map(|(key, _)| *key).filter(|key| !keys.contains(key)).collect::<Vec<_>>());
        for key in keys {
            let (was, is) = (value(&old, key), value(&new, key));
            if was == is || (before.is_none() && is.is_none()) {
                continue;
            }
            let was = before.as_ref().map(|_| was.map_or_else(|| "none".to_owned(), |v| v.shown()));
            let is = Some(is.map_or_else(|| "none".to_owned(), |v| v.shown()));
            self.0.push(FieldChange { field: key.to_owned(), before: was, after: is });
        }
    }

    fn field(&mut self, name: &str, before: Option<String>, after: Option<String>) {
        if before != after {
            self.0.push(FieldChange { field: name.to_owned(), before, after });
        }
    }
}
