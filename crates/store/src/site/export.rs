//! A site as the text of a `site.toml` that leads back to it.

use std::fmt::Write;

use ringfort_switch::model::{Site, Tenant};
use toml::Value;

use super::DEFAULT_TENANT;
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
    for tenant in tenants.iter().filter(|t| t.name != DEFAULT_TENANT || !t.domains.is_empty()) {
        let domains: Vec<Value> = tenant.domains.iter().cloned().map(Value::String).collect();
        write(&mut out, format_args!("\n[[tenant]]\nname = {}\n", text(&tenant.name)));
        write(&mut out, format_args!("domains = {}\n", Value::Array(domains)));
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
    }
    out
}

fn write(out: &mut String, line: std::fmt::Arguments<'_>) {
    out.write_fmt(line).expect("a String takes everything");
}
