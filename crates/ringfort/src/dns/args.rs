//! The command line of `ringfort dns`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use ringfort_sip::locate::Name;

use crate::cli::printable;
use crate::config::value;

const DEFAULT_TTL: u32 = 3_600;

#[derive(Debug, Args)]
pub struct DnsArgs {
    #[command(subcommand)]
    pub command: DnsCommand,
}

#[derive(Debug, Subcommand)]
pub enum DnsCommand {
    /// Print the records that a domain should publish so that others can call it, as lines of a zone file
    Records(DomainArgs),
    /// Compare what a domain publishes with what it should, and name each fault (exit status: 0 none, 1 some, 2 no answer)
    Check {
        #[command(flatten)]
        domain: DomainArgs,
        /// Ask this name server [default: dns.servers of the configuration, else the system's]
        #[arg(long, value_name = "ADDRESS", value_parser = value::name_server)]
        server: Option<SocketAddr>,
        /// Print an object with `items` instead of text
        #[arg(long)]
        json: bool,
    },
    /// Show where a call to an address would be sent, in which order and why (exit status: 0 found, 1 nowhere, 2 no answer)
    Locate {
        /// Such as sip:alex@example.org; `sip:` may be left out. Or a number such as +442079460148: its addresses by ENUM
        uri: String,
        /// Domain beneath which a number is looked up
        #[arg(long = "enum", value_name = "DOMAIN", default_value = "e164.arpa")]
        enum_domain: String,
        /// Ask this name server [default: dns.servers of the configuration, else the system's]
        #[arg(long, value_name = "ADDRESS", value_parser = value::name_server)]
        server: Option<SocketAddr>,
        /// Configuration of the node [default: ./ringfort.toml where there is one]
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        config: Option<PathBuf>,
        /// Begin with SRV records
        #[arg(long)]
        no_naptr: bool,
        /// Print an object with `items` instead of text
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Debug, Args)]
pub struct DomainArgs {
    /// The domain that stands behind the @
    pub domain: String,
    /// A host that runs Ringfort, this one first; its addresses follow after `=`, joined by commas. Without them: of the
    /// first host those of the configuration [default: sip.DOMAIN]
    #[arg(long = "host", value_name = "NAME[=ADDRESS,…]", value_parser = host)]
    pub hosts: Vec<HostArg>,
    /// Configuration of the node, whose listeners are published [default: ./ringfort.toml where there is one]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// How long others may remember the records, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TTL, value_parser = clap::value_parser!(u32).range(30..=604_800))]
    pub ttl: u32,
}

/// A host of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostArg {
    pub name: Name,
    pub addresses: Vec<IpAddr>,
}

impl DomainArgs {
    /// What stands behind the domain, a space before each, to be put behind another command.
    pub fn options(&self) -> String {
        let mut out = String::new();
        for host in &self.hosts {
            let addresses: Vec<String> = host.addresses.iter().map(ToString::to_string).collect();
            let equals = if addresses.is_empty() { "" } else { "=" };
            out.push_str(&format!(" --host {}{equals}{}", host.name, addresses.join(",")));
        }
        if let Some(config) = &self.config {
            out.push_str(&format!(" --config {}", quoted(&printable(&config.display().to_string()))));
        }
        if self.ttl != DEFAULT_TTL {
            out.push_str(&format!(" --ttl {}", self.ttl));
        }
        out
    }
}

/// As a shell reads it back.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn host(text: &str) -> Result<HostArg, String> {
    let (name, addresses) = text.split_once('=').unwrap_or((text, ""));
    let name = Name::parse(name).map_err(|error| error.to_string())?;
    if name.is_root() || name.as_str().parse::<IpAddr>().is_ok() {
        return Err("expected a host's name; an SRV record cannot name an address (RFC 2782)".into());
    }
    if !name.as_str().contains('.') {
        return Err(format!("expected a host's whole name such as {0}.example.org, got {0:?}", name.as_str()));
    }
    let read = |text: &str| text.parse().map_err(|_| format!("expected an IP address behind =, got {text:?}"));
    let given = text.contains('=').then(|| addresses.split(','));
    let addresses = given.into_iter().flatten().map(read).collect::<Result<_, _>>()?;
    Ok(HostArg { name, addresses })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_with_addresses_behind_them() {
        let read = host("SIP.example.org=192.0.2.1,2001:db8::1").unwrap();
        assert_eq!(read.name.as_str(), "sip.example.org");
        assert_eq!(read.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]);
        assert_eq!(host("a.example").unwrap().addresses, Vec::<IpAddr>::new());
        assert!(host("192.0.2.1").unwrap_err().contains("cannot name an address"));
        assert!(host("a.example=x").unwrap_err().contains("behind ="));
        assert!(host("a.example=").unwrap_err().contains("behind ="));
        assert!(host("sip1=192.0.2.1").unwrap_err().contains("such as sip1.example.org"));
        assert!(host("a b").unwrap_err().contains("letters"));
    }
}
