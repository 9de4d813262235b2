//! The command line as data. What each command does stands in its own module.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use ringfort_guard::Cidr;

/// A company's telephone system and its wall, in one program: SIP registrar, PBX and session border controller.
#[derive(Debug, Parser)]
#[command(name = "ringfort", version, max_term_width = 100, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the server. Without configuration it makes two extensions to try and says how to register them.
    Run(RunArgs),
    /// Change the site to what a file says: prints the plan, then does it in one step.
    Apply(ApplyArgs),
    /// Print the site as a file that `apply` takes.
    Export(ExportArgs),
    /// Go back to an earlier revision of the site (the one before, unless a number is given).
    Rollback(RollbackArgs),
    /// The revisions of the site: when, by what, and what changed.
    Revisions(ListArgs),
    /// Ask the running server, or tell it something.
    Ctl(CtlArgs),
    /// Read the configuration without touching anything: every mistake, every call of a stranger that would cost money, weak spots.
    Check(CheckArgs),
    /// DNS records of a domain: what to publish, what is published, where a call would go
    Dns(crate::dns::args::DnsArgs),
    /// Signed caller numbers (STIR/SHAKEN): read, verify or sign an Identity header field
    Stir(Box<crate::stir::args::StirArgs>),
    /// This machine's packet filter: rules that fit the configuration, put in force with a way back
    Firewall(crate::firewall::args::FirewallArgs),
    /// Print a ringfort.toml with every key, its default and its meaning
    Config,
    /// Register two built-in phones with the running server, let one call the other, and say what works.
    Selftest(SelftestArgs),
    /// Scan Kubernetes files for what an attacker would use, and say where, why and how to mend it.
    Audit(Box<super::audit::AuditArgs>),
    /// Completion script for a shell: `ringfort completion bash > /etc/bash_completion.d/ringfort`
    Completion { shell: Shell },
    /// The manual page: `ringfort man | man -l -`
    Man,
}

/// Where a server keeps its things.
#[derive(Clone, Debug, Default, Args)]
pub struct DataArgs {
    /// Data folder: database, key file, control socket [default: data_dir of ./ringfort.toml, else ./data]
    #[arg(long, value_name = "DIR", env = "RINGFORT_DATA", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Configuration of this node [default: ./ringfort.toml where there is one, else safe defaults]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub data: DataArgs,
    /// Without a configuration: listen on this machine's own network too, not on loopback alone
    #[arg(long)]
    pub listen_lan: bool,
    /// After the start, let two built-in phones call each other and print what works
    #[arg(long)]
    pub selftest: bool,
}

#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The site file
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Print the plan and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Delete what the file does not name
    #[arg(long)]
    pub prune: bool,
    /// Apply although this trunk can be reached by whoever has proven nothing; again for each
    #[arg(long, value_name = "TRUNK")]
    pub allow_reach: Vec<String>,
    /// Print an object instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub data: DataArgs,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// With passwords: whoever reads the file can register every phone
    #[arg(long)]
    pub with_secrets: bool,
    #[command(flatten)]
    pub data: DataArgs,
}

#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The revision to go back to, as `ringfort revisions` numbers them
    #[arg(value_name = "REVISION")]
    pub revision: Option<u64>,
    /// Print an object instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub data: DataArgs,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print an object with `items` instead of a table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub data: DataArgs,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Configuration of a node [default: ./ringfort.toml where there is one]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// A site file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub site: Option<PathBuf>,
    /// The site that is in force, whether its server runs or not
    #[arg(long)]
    pub stored: bool,
    #[command(flatten)]
    pub data: DataArgs,
}

#[derive(Debug, Args)]
pub struct SelftestArgs {
    /// Print an object with `items` instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub data: DataArgs,
}

#[derive(Debug, Args)]
pub struct CtlArgs {
    #[command(subcommand)]
    pub command: Ctl,
    /// Print an object (lists: with `items`) instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Data folder of the server [default: data_dir of ./ringfort.toml, else ./data]
    #[arg(long, value_name = "DIR", env = "RINGFORT_DATA", global = true, value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Ctl {
    /// How it is: calls, registrations, limits, totals
    Status,
    /// Registered phones
    Registrations {
        /// Of this extension only (TENANT/NUMBER where several tenants have it)
        number: Option<String>,
        /// Of this tenant alone
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Calls that run now
    Calls {
        /// Of this tenant alone
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Call records, the newest first
    Cdr {
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// With this number as caller or called
        #[arg(long, value_name = "NUMBER")]
        number: Option<String>,
        /// Of this tenant alone
        #[arg(long)]
        tenant: Option<String>,
        /// Show numbers in full
        #[arg(long)]
        unmasked: bool,
    },
    /// End a call, both sides
    Hangup {
        /// Its number, as `ctl calls` shows it
        call: u64,
    },
    /// Forget an extension's phones until they register again
    Unregister {
        /// The extension's (TENANT/NUMBER where several tenants have it)
        number: String,
        /// Only the one with this contact URI
        #[arg(long, value_name = "URI")]
        contact: Option<String>,
    },
    /// Extensions: list, add, show, change, delete, new password
    #[command(subcommand)]
    Extension(ExtensionCommand),
    /// Where calls go: explain, add, change, remove, show
    #[command(subcommand)]
    Route(RouteCommand),
    /// Where calls from trunks go: add, change, remove, show
    #[command(subcommand)]
    Inbound(LineCommand),
    /// Names for extensions: add, change, remove, show
    #[command(subcommand)]
    Alias(LineCommand),
    /// Lines to providers: how they stand, since when, and what went wrong last
    Trunks {
        /// This one alone (TENANT/NAME where several tenants have it)
        name: Option<String>,
    },
    /// One line to a provider: test, add, change, remove, show
    #[command(subcommand)]
    Trunk(TrunkCommand),
    /// Attackers: who failed, who is banned, and what to do about it
    #[command(subcommand)]
    Guard(GuardVerb),
    /// What calls by a trunk cost: price lists, and the price of a call to a number
    #[command(subcommand)]
    Rates(RatesCommand),
    /// What was spent today and this month, what is reserved, and what is left
    Spending {
        /// An extension's number, trunk:NAME or tenant:NAME, with TENANT/ before it of one tenant alone [default: all that
        /// have a limit or have spent]
        account: Option<String>,
    },
    /// Numbers whose calls are stopped: lists, single entries, files
    Blacklist(super::blacklist::BlacklistArgs),
    /// Messages that callers left: list, write to a file, delete, mark as heard
    #[command(subcommand)]
    Voicemail(super::voicemail::VoicemailCommand),
    /// Read certificates and the site again; no call is touched
    Reload,
    /// Take no new calls
    Drain,
    /// Stop: no new calls, running ones may end by themselves for a while, then BYE
    Stop,
}

#[derive(Debug, Subcommand)]
pub enum GuardVerb {
    /// How many failed and are banned, now and since the start, and the rules in force
    Status,
    /// The addresses that are banned, the newest first
    Bans {
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// The last offences, the newest first
    Log {
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=256))]
        limit: u32,
    },
    /// Drop everything that comes from an address (of IPv6, from its /64)
    Ban {
        address: IpAddr,
        /// For so long, such as 24h [default: until it is lifted]
        #[arg(long = "for", value_name = "DURATION", value_parser = crate::config::value::duration)]
        time: Option<Duration>,
    },
    /// Let an address in again and forget what it did
    Unban { address: IpAddr },
    /// Never ban an address or range; bans in it are lifted
    Allow {
        /// An address, or a range such as 198.51.100.0/24
        range: Cidr,
    },
    /// Take an allow back
    Unallow {
        /// As it was allowed
        range: Cidr,
    },
    /// What is known of an address, and why it is let in or not
    Why { address: IpAddr },
}

#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// Which way a call would go, with each rule that was looked at and why it fits or does not
    Explain {
        /// An extension's number, or trunk:NAME for a call that comes in
        from: String,
        /// What is dialled, or user@domain
        to: String,
        /// At another time, in the time zone of the site: 2026-11-27T18:00
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
    },
    #[command(flatten)]
    Line(LineCommand),
}

/// Of trunks, routes, inbound routes and aliases alike.
#[derive(Debug, Subcommand)]
pub enum LineCommand {
    /// A new one, with the keys that it has in site.toml
    Add {
        name: String,
        /// Lists joined by commas; `password=-` reads the line from standard input
        #[arg(value_name = "KEY=VALUE", value_parser = pair)]
        keys: Vec<(String, String)>,
        #[command(flatten)]
        edit: LineArgs,
    },
    /// Change one; what is not given stays, and `KEY=` gives a key its default
    Set {
        name: String,
        /// Lists joined by commas; `password=-` reads the line from standard input
        #[arg(value_name = "KEY=VALUE", value_parser = pair)]
        keys: Vec<(String, String)>,
        #[command(flatten)]
        edit: LineArgs,
    },
    /// Remove one that nothing leads to
    Remove {
        name: String,
        #[command(flatten)]
        edit: LineArgs,
    },
    /// What it says, or all of them in their order
    Show {
        name: Option<String>,
        /// Of this tenant alone
        #[arg(long)]
        tenant: Option<String>,
        /// With passwords
        #[arg(long)]
        secrets: bool,
    },
}

#[derive(Clone, Debug, Default, Args)]
pub struct LineArgs {
    /// Whose it is [default: default]
    #[arg(long)]
    pub tenant: Option<String>,
    /// Routes: to be tried before that one [default: where it is, a new one last]
    #[arg(long, value_name = "NAME")]
    pub before: Option<String>,
    /// Print the plan and stop
    #[arg(long)]
    pub dry_run: bool,
    /// A trunk that may be reached by whoever has proven nothing
    #[arg(long, value_name = "TRUNK")]
    pub allow_reach: Vec<String>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, for example server=sip:sip.provider.example")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[derive(Debug, Subcommand)]
pub enum TrunkCommand {
    /// Ask it whether it lives (OPTIONS); with a number, call that and hang up as soon as it rings
    Test {
        /// Its name (TENANT/NAME where several tenants have it)
        name: String,
        /// As it is dialled, digits with or without +. A call that is answered at once may cost money.
        number: Option<String>,
    },
    #[command(flatten)]
    Line(LineCommand),
}

#[derive(Debug, Subcommand)]
pub enum RatesCommand {
    /// Give a trunk the rates of a CSV file (prefix,per_minute,connection,first_s,step_s), instead of those it has
    Import {
        /// Its name (TENANT/NAME where several tenants have it)
        trunk: String,
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Of the prices, as ISO 4217 has it [default: as it is]
        #[arg(long, value_name = "EUR")]
        currency: Option<String>,
        /// Print the plan and stop
        #[arg(long)]
        dry_run: bool,
    },
    /// Print a trunk's rates as a file that `import` takes
    Export { trunk: String },
    /// The price lists; with a number, the rate that a trunk has for it
    Show {
        /// Of this trunk only
        trunk: Option<String>,
        /// As it is dialled, or with + and the country code
        number: Option<String>,
    },
    /// What a call to a number costs by each trunk, the cheapest first minute first
    Lookup {
        /// As it is dialled, or with + and the country code
        number: String,
    },
    /// Take a trunk's rates away
    Delete { trunk: String },
}

#[derive(Debug, Subcommand)]
pub enum ExtensionCommand {
    /// All extensions
    List {
        /// Of this tenant alone
        #[arg(long)]
        tenant: Option<String>,
    },
    /// A new extension; user name and password are generated unless given
    Add {
        /// What others dial; TENANT/NUMBER for another tenant than the default one, here and below
        number: String,
        #[command(flatten)]
        fields: ExtensionFields,
    },
    /// One extension, with what to enter in the phone
    Show {
        number: String,
        /// With the password
        #[arg(long)]
        secrets: bool,
    },
    /// Change an extension; what is not given stays
    Set {
        number: String,
        #[command(flatten)]
        fields: ExtensionFields,
        /// Turn it on or off
        #[arg(long, value_name = "BOOL")]
        enabled: Option<bool>,
    },
    /// Delete an extension
    Delete { number: String },
    /// A new password; the phones must be told
    Rotate { number: String },
}

#[derive(Clone, Debug, Default, Args)]
pub struct ExtensionFields {
    /// Display name
    #[arg(long)]
    pub name: Option<String>,
    /// What the phone logs in with
    #[arg(long, value_name = "USER")]
    pub sip_user: Option<String>,
    /// Its password; `-` reads it from standard input
    #[arg(long, value_name = "PASSWORD")]
    pub sip_password: Option<String>,
    /// Encrypted voice
    #[arg(long)]
    pub srtp: Option<Srtp>,
    /// Calls at once
    #[arg(long, value_name = "N")]
    pub max_calls: Option<u32>,
    /// Phones at once
    #[arg(long, value_name = "N")]
    pub max_contacts: Option<u32>,
    /// Further keys of site.toml: groups, international, domains, caller_id, hide_caller_id, spend_per_call, …_day, …_month
    #[arg(value_name = "KEY=VALUE", value_parser = pair)]
    pub keys: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Srtp {
    Off,
    Offer,
    Require,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ctl_takes_json_and_data_before_and_behind_the_verb() {
        for line in ["ringfort ctl --json --data d cdr --limit 5", "ringfort ctl cdr --limit 5 --json --data d"] {
            let Command::Ctl(ctl) = Cli::parse_from(line.split(' ')).command else { panic!("{line}") };
            assert!(ctl.json && ctl.data.as_deref() == Some(std::path::Path::new("d")), "{line}");
            assert!(matches!(ctl.command, Ctl::Cdr { limit: 5, .. }));
        }
    }
}
