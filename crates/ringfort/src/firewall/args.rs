//! The command line of `ringfort firewall`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

#[derive(Debug, Args)]
pub struct FirewallArgs {
    #[command(subcommand)]
    pub command: FirewallCommand,
    /// Print an object instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Where a change that waits for its confirmation is kept
    #[arg(long, global = true, hide = true, default_value = "/run/ringfort-firewall")]
    pub state: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum FirewallCommand {
    /// Print the rules that fit the configuration, as a file for nft
    Print {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Put the rules in force. They go again by themselves unless `ringfort firewall confirm` follows
    Apply {
        #[command(flatten)]
        config: ConfigArgs,
        /// Seconds until they go, unless confirmed
        #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
        within: u64,
        /// Even where they would shut out the SSH connection that this comes from
        #[arg(long)]
        force: bool,
    },
    /// Keep the rules that were put in force
    Confirm,
    /// Take the rules away; bans stay
    Remove,
    /// Take the bans out of the kernel. A running server puts them back: `ringfort ctl guard unban` lifts one
    RemoveBans,
    /// Waits, and takes back what is not confirmed. Started by `apply`
    #[command(hide = true)]
    Watch {
        /// Which change
        id: String,
        /// Seconds
        within: u64,
    },
}

#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Configuration of the node [default: ./ringfort.toml, else /etc/ringfort/ringfort.toml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}
