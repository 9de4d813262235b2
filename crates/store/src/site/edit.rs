//! One trunk, route or alias changed by hand: `KEY=VALUE` pairs, named as in `site.toml`, laid over what is there. What comes
//! out is read as a file is, so that the same rules hold and the same plan is made.

use std::collections::BTreeSet;

use ringfort_switch::model::{Calling, Secret, Site, Tenant, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::line::{self, Form, Key, RawLine, Shown, Val, Values, parse_duration};
use super::plan::ObjectKind;
use super::{DEFAULT_TENANT, Located, RawSite, SiteError, SiteErrors};

/// A key and its value as somebody writes them. An empty value gives the key its default.
pub type Pair = (String, String);

/// What becomes of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineEdit {
    /// A new one.
    Add(Vec<Pair>),
    /// What is not given stays.
    Set(Vec<Pair>),
    Remove,
}

/// An object that is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineChange {
    /// A trunk, route, inbound route or alias.
    pub kind: ObjectKind,
    /// `None`: the default one.
    pub tenant: Option<String>,
    pub name: String,
    pub edit: LineEdit,
    /// The route that it is to stand before; `None`: where it is, a new one last.
    pub before: Option<String>,
}

/// Values with more keys go when a key goes.
const TOGETHER: [(&str, &[&str]); 2] =
    [("user", &["password", "auth_user", "realm"]), ("inbound_user", &["inbound_password"])];

/// The keys of a kind; none for one that is not edited so.
fn keys_of(kind: ObjectKind) -> &'static [Key] {
    match kind {
        ObjectKind::Trunk => line::TRUNK,
        ObjectKind::Route => line::ROUTE,
        ObjectKind::Inbound => line::INBOUND,
        ObjectKind::Alias => line::ALIAS,
        ObjectKind::Tenant | ObjectKind::Extension | ObjectKind::Rates => &[],
    }
}

/// All objects of a kind, in their order.
fn all_of(tenants: &[Tenant], site: &Site, kind: ObjectKind) -> Vec<(TenantId, String, Shown)> {
    match kind {
        ObjectKind::Trunk => {
            site.trunks.values().map(|t| (t.tenant, t.name.clone(), line::trunk(tenants, t))).collect()
        }
        ObjectKind::Route => {
            let of = |r| line::route(tenants, &site.trunks, r);
            site.outbound.iter().map(|r| (r.tenant, r.name.clone(), of(r))).collect()
        }
        ObjectKind::Inbound => {
            let of = |r| line::inbound(tenants, &site.trunks, r);
            site.inbound.iter().map(|r| (r.tenant, r.name.clone(), of(r))).collect()
        }
        ObjectKind::Alias => site.aliases.iter().map(|a| (a.tenant, a.name.clone(), line::alias(tenants, a))).collect(),
        ObjectKind::Tenant | ObjectKind::Extension | ObjectKind::Rates => Vec::new(),
    }
}

/// The kind's objects as they are to be, all of them and in their order.
///
/// # Errors
/// There is none of that name, or one already; a key that is none, or a value of another form.
pub(crate) fn edited(tenants: &[Tenant], site: &Site, change: &LineChange) -> Result<RawSite, SiteErrors> {
    let LineChange { kind, name, edit, before, .. } = change;
    let tenant_name = change.tenant.as_deref().unwrap_or(DEFAULT_TENANT);
    let tenant = tenants.iter().find(|t| t.name == tenant_name).map(|t| t.id);
    let all = all_of(tenants, site, *kind);
    let here = |other: &(TenantId, String, Shown)| Some(other.0) == tenant && other.1 == *name;
    let at = all.iter().position(here);
    let key = format!("{} {name:?}", kind.name());
    let mine = || -> Vec<&str> { all.iter().filter(|o| Some(o.0) == tenant).map(|o| o.1.as_str()).collect() };
    let none = |key: &str, name: &str| {
        let known = mine();
        let known = if known.is_empty() { "none: there is none yet".to_owned() } else { known.join(", ") };
        wrong(key, &format!("one of {known}"), name, "`show` lists them")
    };
    let mut lines: Vec<RawLine> = all.iter().map(|(_, name, shown)| raw(name, values(shown.clone()))).collect();
    let changed = match (edit, at) {
        (LineEdit::Add(_), Some(_)) => {
            return Err(wrong(&key, "a new name", name, "change the one that is there by `set`"));
        }
        (LineEdit::Set(_) | LineEdit::Remove, None) => return Err(none(&key, name)),
        (LineEdit::Remove, Some(_)) => None,
        (LineEdit::Add(pairs), None) => {
            let mut values = Values::new();
            if tenant_name != DEFAULT_TENANT {
                values.insert("tenant", Located::new(Val::Text(tenant_name.to_owned())));
            }
            Some(overlaid(&key, keys_of(*kind), values, pairs)?)
        }
        (LineEdit::Set(pairs), Some(at)) => Some(overlaid(&key, keys_of(*kind), values(all[at].2.clone()), pairs)?),
    };
    if let Some(at) = at {
        lines.remove(at);
    }
    if let Some(changed) = changed {
        let place = match (before, kind) {
            (None, _) => at.unwrap_or(lines.len()),
            (Some(before), ObjectKind::Route | ObjectKind::Inbound) => {
                let found = all.iter().enumerate().filter(|(index, _)| Some(*index) != at);
                let found = found.map(|(_, other)| other).position(|o| Some(o.0) == tenant && o.1 == *before);
                found.ok_or_else(|| none(&format!("{key}: before"), before))?
            }
            (Some(before), _) => {
                return Err(wrong(
                    &format!("{key}: before"),
                    "nothing: their order does not matter",
                    before,
                    "leave it out",
                ));
            }
        };
        lines.insert(place, raw(name, changed));
    }
    let mut site = RawSite::default();
    let slot = match kind {
        ObjectKind::Trunk => &mut site.trunks,
        ObjectKind::Route => &mut site.routes,
        ObjectKind::Inbound => &mut site.inbound,
        ObjectKind::Alias => &mut site.aliases,
        ObjectKind::Tenant | ObjectKind::Extension | ObjectKind::Rates => {
            return Err(wrong(
                kind.name(),
                "a trunk, route, inbound or alias",
                kind.name(),
                "it has commands of its own",
            ));
        }
    };
    *slot = Some(lines);
    Ok(site)
}

/// What an extension may do beyond the house, with these pairs laid over it.
///
/// # Errors
/// A key that is none of them, or a value of another form.
pub(crate) fn calling(number: &str, present: &Calling, pairs: &[Pair]) -> Result<Values, SiteErrors> {
    overlaid(&format!("extension {number:?}"), line::CALLING, values(line::calling(present)), pairs)
}

/// One object of a kind, or all of it, for programs: names with their keys. Secrets are `***` unless asked for.
pub(crate) fn shown(
    tenants: &[Tenant],
    site: &Site,
    kind: ObjectKind,
    tenant: Option<&str>,
    name: Option<&str>,
    secrets: bool,
) -> Vec<Value> {
    let wanted = tenant.map(|name| tenants.iter().find(|t| t.name == name).map(|t| t.id));
    let here =
        |o: &(TenantId, String, Shown)| wanted.is_none_or(|id| id == Some(o.0)) && name.is_none_or(|name| name == o.1);
    let object = |(tenant, name, shown): (TenantId, String, Shown)| {
        let owner = tenants.iter().find(|t| t.id == tenant).map(|t| t.name.as_str());
        let mut object = serde_json::Map::new();
        object.insert("name".to_owned(), name.into());
        object.insert("tenant".to_owned(), owner.into());
        object.extend(
            shown
                .into_iter()
                .filter(|(key, _)| *key != "tenant")
                .map(|(key, value)| (key.to_owned(), value.json(secrets))),
        );
        Value::Object(object)
    };
    all_of(tenants, site, kind).into_iter().filter(here).map(object).collect()
}

fn raw(name: &str, values: Values) -> RawLine {
    RawLine { name: Located::new(name.to_owned()), values }
}

fn values(shown: Shown) -> Values {
    shown.into_iter().map(|(key, value)| (key, Located::new(value))).collect()
}

fn overlaid(object: &str, keys: &[Key], mut values: Values, pairs: &[Pair]) -> Result<Values, SiteErrors> {
    let mut errors = Vec::new();
    let mut given = BTreeSet::new();
    for (name, text) in pairs {
        let Some((key, form)) = keys.iter().find(|(key, _)| key == name) else {
            let known: Vec<&str> = keys.iter().map(|(key, _)| *key).collect();
            let help = match super::file::closest(name, &known) {
                Some(close) => format!("did you mean {close}?"),
                None => "write KEY=VALUE".to_owned(),
            };
            errors.push(mistake(
                &format!("{object}: {name}"),
                &format!("one of {}", known.join(", ")),
                "a key that is not known",
                &help,
            ));
            continue;
        };
        if !given.insert(*key) {
            errors.push(mistake(
                &format!("{object}: {name}"),
                "each key once",
                "it twice",
                "join a list's values by commas",
            ));
            continue;
        }
        if text.is_empty() {
            values.remove(key);
            for (_, others) in TOGETHER.iter().filter(|(first, _)| first == key) {
                values.retain(|other, _| !others.contains(other));
            }
            continue;
        }
        match read(*form, text) {
            Ok(value) => {
                values.insert(key, Located::new(value));
            }
            Err(expected) => {
                let got = format!("{text:?}");
                errors.push(mistake(
                    &format!("{object}: {name}"),
                    expected,
                    &got,
                    "an empty value gives it its default",
                ));
            }
        }
    }
    SiteErrors::check("", errors)?;
    Ok(values)
}

/// The value of a form; what is expected where it is none.
fn read(form: Form, text: &str) -> Result<Val, &'static str> {
    Ok(match form {
        Form::Text => Val::Text(text.to_owned()),
        Form::Secret => Val::Secret(Secret::new(text)),
        Form::Texts => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Val::Texts(items.map(|item| Located::new(item.to_owned())).collect())
        }
        Form::Count => {
            let number = text.parse().ok().filter(|number| *number <= super::file::MAX_COUNT);
            Val::Count(number.ok_or("a whole number, at most 100000")?)
        }
        Form::Flag => Val::Flag(text.parse().map_err(|_| "true or false")?),
        Form::Duration => Val::Duration(parse_duration(text).ok_or("a duration such as 500ms, 30s, 10m or 1h30m")?),
    })
}

fn mistake(key: &str, expected: &str, got: &str, help: &str) -> SiteError {
    SiteError {
        at: None,
        key: key.to_owned(),
        expected: expected.to_owned(),
        got: got.to_owned(),
        help: help.to_owned(),
    }
}

fn wrong(key: &str, expected: &str, got: &str, help: &str) -> SiteErrors {
    SiteErrors { file: String::new(), errors: vec![mistake(key, expected, &format!("{got:?}"), help)] }
}
