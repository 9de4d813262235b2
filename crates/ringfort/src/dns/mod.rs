//! `ringfort dns …`: what a domain should publish ([`zone`]), what it does publish ([`check`]), where a call would go
//! ([`locate`]). Works without a server: it reads the configuration and asks the DNS.

pub mod args;
mod check;
mod locate;
mod offer;
mod seen;
mod zone;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use ringfort_net::dns::{DnsClient, DnsConfig};
use ringfort_sip::locate::Name;
use serde_json::Value;

use crate::cli::{DEFAULT_CONFIG, print, print_answer};
use crate::config::Config;
use args::{DnsArgs, DnsCommand, DomainArgs};
use offer::Offer;

/// The DNS could not be asked, or a look-up may do better later.
const UNANSWERED: u8 = 2;

/// Does one command.
///
/// # Errors
/// In words for the user: a name that is none, a configuration with mistakes, no name servers.
pub fn dns(args: DnsArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        DnsCommand::Records(args) => {
            let (domain, offer) = offer(&args)?;
            print(&zone::fragment(&domain, &offer, &args.options()))?;
            Ok(ExitCode::SUCCESS)
        }
        DnsCommand::Check { domain, server, json } => {
            let config = configuration(domain.config.as_deref())?;
            let (name, offer) = offer(&domain)?;
            let mut client = client(&config, server)?;
            let report = check::check(&name, &offer, &mut client);
            print_answer(json, &report.json(), |_| report.to_string())?;
            Ok(ExitCode::from(report.exit_code()))
        }
        DnsCommand::Locate { uri, enum_domain, server, config, no_naptr, json } => {
            let config = configuration(config.as_deref())?;
            let client = client(&config, server)?;
            let report = match uri.strip_prefix("tel:").unwrap_or(&uri) {
                number if number.starts_with('+') && !number.contains('@') => {
                    locate::number(number, &name(&enum_domain)?, &client)?
                }
                _ => locate::locate(&uri, config.dns.naptr && !no_naptr, &client)?,
            };
            print_answer(json, &report.value, locate::words)?;
            Ok(ExitCode::from(report.exit_code))
        }
    }
}

/// The file that is named, `./ringfort.toml` where there is one, else the defaults.
fn configuration(path: Option<&Path>) -> anyhow::Result<Config> {
    let default = PathBuf::from(DEFAULT_CONFIG);
    match path {
        Some(path) => Ok(Config::load(path)?),
        None if default.exists() => Ok(Config::load(&default)?),
        None => Ok(Config::default()),
    }
}

fn offer(args: &DomainArgs) -> anyhow::Result<(Name, Offer)> {
    let config = configuration(args.config.as_deref())?;
    let domain = name(&args.domain)?;
    let mut offer = Offer::new(&config, &domain, &args.hosts, args.ttl)?;
    if args.config.is_none() && !Path::new(DEFAULT_CONFIG).exists() {
        let words = "there is no ringfort.toml in this folder, so the listeners are those of a system without one (--config \
                     names another file)";
        offer.warnings.insert(0, words.to_owned());
    }
    Ok((domain, offer))
}

fn name(text: &str) -> anyhow::Result<Name> {
    let name = Name::parse(text).with_context(|| format!("{text:?} is no domain"))?;
    anyhow::ensure!(!name.is_root(), "expected a domain such as example.org, got {text:?}");
    Ok(name)
}

fn client(config: &Config, server: Option<SocketAddr>) -> anyhow::Result<DnsClient> {
    let servers = server.map_or_else(|| config.dns.servers.clone(), |server| vec![server]);
    Ok(DnsClient::new(&DnsConfig { servers, ..DnsConfig::default() })?)
}

/// An object for programs.
fn object(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
