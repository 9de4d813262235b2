//! A site as the text of a `site.toml` that leads back to it.

use std::fmt::Write;

use ringfort_switch::model::{Calling, NumberPlan, Site, Tenant, TenantId, Trunk, TrunkId};
use toml::Value;

use super::DEFAULT_TENANT;
use super::line::{self, Shown, Val};
use super::plan::grouped;
use crate::cdr::word;

/// Whether passwords stand in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    Omit,
    /// The text is as precious as the phones: keep it like a key.
    Include,
}

/// The text. Applying it to the same site changes nothing; on another system passwords that were left out are
/// generated anew.
pub(crate) fn export(tenants: &[Tenant], site: &Site, secrets: Secrets) -> String {
    let mut out = format!("# Ringfort site, revision {}.\n", site.revision);
    let note = match secrets {
        Secrets::Omit => {
            "# Passwords are left out: an extension that exists keeps its own, a new one gets a new one.\n"
        }
        Secrets::Include => "# WITH PASSWORDS: keep this file like a key.\n",
    };
    out.push_str(note);
    let text = |value: &str| Value::String(value.to_owned()).to_string();
    for tenant in tenants
        .iter()
        .filter(|t| t.name != DEFAULT_TENANT || !t.domains.is_empty() || t.numbers != NumberPlan::default())
    {
        let domains: Vec<Value> = tenant.domains.iter().cloned().map(Value::String).collect();
        write(&mut out, format_args!("\n[[tenant]]\nname = {}\n", text(&tenant.name)));
        write(&mut out, format_args!("domains = {}\n", Value::Array(domains)));
        keys(&mut out, line::without(line::numbers(&tenant.numbers), &line::numbers(&NumberPlan::default())), secrets);
    }
    let mut extensions: Vec<_> = site.extensions.values().collect();
    extensions.sort_by(|a, b| (a.tenant, a.number.len(), &a.number).cmp(&(b.tenant, b.number.len(), &b.number)));
    for extension in extensions {
        write(&mut out, format_args!("\n[[extension]]\nnumber = {}\n", text(&extension.number)));
        let tenant = tenants.iter().find(|t| t.id == extension.tenant).map_or("", |t| t.name.as_str());
        if tenant != DEFAULT_TENANT {
            write(&mut out, format_args!("tenant = {}\n", text(tenant)));
        }
        if !extension.name.is_empty() {
            write(&mut out, format_args!("name = {}\n", text(&extension.name)));
        }
        write(&mut out, format_args!("sip_user = {}\n", text(&extension.credentials.user)));
        if secrets == Secrets::Include {
            write(&mut out, format_args!("sip_password = {}\n", text(extension.credentials.password.reveal())));
        }
        write(&mut out, format_args!("srtp = {}\n", text(&word(extension.srtp))));
        write(&mut out, format_args!("max_calls = {}\n", extension.max_calls));
        write(&mut out, format_args!("max_contacts = {}\n", extension.max_contacts));
        write(&mut out, format_args!("enabled = {}\n", extension.enabled));
        keys(&mut out, line::without(line::calling(&extension.calling), &line::calling(&Calling::default())), secrets);
    }
    lines(&mut out, tenants, site, secrets);
    out
}

fn lines(out: &mut String, tenants: &[Tenant], site: &Site, secrets: Secrets) {
    let object = |out: &mut String, kind: &str, name: &str, shown: Shown| {
        write(out, format_args!("\n[[{kind}]]\nname = {}\n", Value::String(name.to_owned())));
        keys(out, shown, secrets);
    };
    let default = line::trunk(&[], &Trunk::new(TrunkId(0), TenantId(0), "", ""));
    for trunk in site.trunks.values() {
        object(out, "trunk", &trunk.name, line::without(line::trunk(tenants, trunk), &default));
    }
    for (id, table) in &site.rates {
        let Some(trunk) = site.trunks.get(id) else { continue };
        let (count, currency) = (grouped(table.rates.len()), &table.currency);
        let from = format!("`ringfort ctl rates export {}`", trunk.name);
        write(
            out,
            format_args!(
                "\n# Rates of trunk {}: {count} prefixes in {currency}. They are a file of their own: {from}.\n",
                trunk.name
            ),
        );
    }
    for route in &site.outbound {
        object(
            out,
            "route",
            &route.name,
            line::without(line::route(tenants, &site.trunks, route), &line::plain_lists()),
        );
    }
    for route in &site.inbound {
        object(
            out,
            "inbound",
            &route.name,
            line::without(line::inbound(tenants, &site.trunks, route), &line::plain_lists()),
        );
    }
    for alias in &site.aliases {
        object(out, "alias", &alias.name, line::without(line::alias(tenants, alias), &line::plain_lists()));
    }
}

fn keys(out: &mut String, shown: Shown, secrets: Secrets) {
    for (key, value) in shown {
        if secrets == Secrets::Include || !matches!(value, Val::Secret(_)) {
            write(out, format_args!("{key} = {}\n", value.toml()));
        }
    }
}

fn write(out: &mut String, line: std::fmt::Arguments<'_>) {
    out.write_fmt(line).expect("a String takes everything");
}
