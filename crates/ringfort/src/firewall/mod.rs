//! `ringfort firewall …`: this machine's packet filter made from the configuration ([`rules`]), put in force with a way
//! back ([`change`]), never against the connection that it is done on ([`ssh`]).

pub mod args;
mod change;
mod rules;
mod ssh;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use ringfort_net::enforce;
use serde_json::json;

use crate::cli::{DEFAULT_CONFIG, print_answer};
use crate::config::Config;
use args::{ConfigArgs, FirewallArgs, FirewallCommand};
use change::State;
use rules::Accepted;

/// Where the package puts it.
const INSTALLED_CONFIG: &str = "/etc/ringfort/ringfort.toml";

/// Does one command.
///
/// # Errors
/// In words for the user.
pub fn firewall(args: &FirewallArgs) -> anyhow::Result<ExitCode> {
    let state = State::new(&args.state);
    match &args.command {
        FirewallCommand::Print { config } => {
            let (config, path) = load(config)?;
            let text = rules::file(&config, &path.display().to_string());
            print_answer(args.json, &json!({ "text": text, "items": items(&config) }), |_| text.clone())?;
        }
        FirewallCommand::Apply { config, within, force } => {
            let (config, path) = load(config)?;
            if !force {
                spare_the_administrator(&config, &path, ssh::connection())?;
            }
            change::apply(&state, &rules::file(&config, &path.display().to_string()), Duration::from_secs(*within))?;
            let value = json!({ "applied": true, "confirm_within_s": within, "items": items(&config) });
            print_answer(args.json, &value, |_| applied(&config, *within))?;
        }
        FirewallCommand::Confirm => {
            change::confirm(&state)?;
            let words = "The rules stay until the machine restarts. For good: `ringfort firewall print` into a file that \
                         /etc/nftables.conf includes.\n";
            print_answer(args.json, &json!({ "confirmed": true }), |_| words.to_owned())?;
        }
        FirewallCommand::Remove => {
            let removed = change::remove(&state)?;
            let words = if removed { "The rules are gone; bans stay.\n" } else { "There were no rules of ours.\n" };
            print_answer(args.json, &json!({ "removed": removed }), |_| words.to_owned())?;
        }
        FirewallCommand::RemoveBans => {
            let removed = enforce::remove_table().map_err(|error| anyhow::anyhow!("{error}\n  {}", error.mend()))?;
            let words = if removed {
                "The bans are out of the kernel. A server that runs with [guard] nftables puts its own back within seconds.\n"
            } else {
                "There were no bans in the kernel.\n"
            };
            print_answer(args.json, &json!({ "removed": removed }), |_| words.to_owned())?;
        }
        FirewallCommand::Watch { id, within } => change::watch(&state, id, Duration::from_secs(*within))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Rules made from nothing would shut out the telephones of a machine that has a configuration somewhere else.
fn load(args: &ConfigArgs) -> anyhow::Result<(Config, PathBuf)> {
    let places = [Path::new(DEFAULT_CONFIG), Path::new(INSTALLED_CONFIG)];
    let path = args.config.clone().or_else(|| places.iter().find(|path| path.exists()).map(|path| path.to_path_buf()));
    let Some(path) = path else {
        bail!(
            "there is neither {DEFAULT_CONFIG} here nor {INSTALLED_CONFIG}: name the configuration with --config FILE"
        );
    };
    Ok((Config::load(&path)?, path))
}

fn spare_the_administrator(config: &Config, path: &Path, ssh: Option<ssh::Connection>) -> anyhow::Result<()> {
    let Some(ssh::Connection { from, port }) = ssh else { return Ok(()) };
    let open = config.firewall.ssh.contains(&port) || rules::accepted(config).iter().any(|a| a.is_tcp_port(port));
    if !open {
        bail!(
            "these rules would shut out the SSH connection that this comes from ({from} to port {port}); expected port {port} \
             among [firewall] ssh in {}, got {:?}. Nothing was changed; --force does it all the same",
            path.display(),
            config.firewall.ssh
        );
    }
    Ok(())
}

fn items(config: &Config) -> serde_json::Value {
    let value = |a: &Accepted| json!({ "protocol": a.protocol(), "ports": a.ports(), "what": a.what });
    let ssh = config
        .firewall
        .ssh
        .iter()
        .map(|port| json!({ "protocol": "tcp", "ports": port.to_string(), "what": "secure shell" }));
    ssh.chain(rules::accepted(config).iter().map(value)).collect()
}

fn applied(config: &Config, within: u64) -> String {
    let mut text = String::from("In force. Accepted, beside loopback, answers and ping:\n");
    for item in items(config).as_array().into_iter().flatten() {
        let word = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
        text.push_str(&format!("  {} {:<12} {}\n", word("protocol"), word("ports"), word("what")));
    }
    text.push_str(&format!(
        "Open a new SSH connection to see that you still get in, then keep them: ringfort firewall confirm\n\
         Without that they are taken back after {within} seconds.\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_would_shut_out_their_administrator_are_refused_by_port() {
        let came_to = |port, text: &str| {
            let connection = ssh::Connection { from: "198.51.100.7".into(), port };
            let config = Config::parse("t", text).unwrap();
            spare_the_administrator(&config, Path::new("r.toml"), Some(connection)).map_err(|error| error.to_string())
        };
        assert!(came_to(22, "").is_ok());
        let error = came_to(2222, "").unwrap_err();
        assert!(
            error.contains("198.51.100.7 to port 2222") && error.contains("[firewall] ssh in r.toml, got [22]"),
            "{error}"
        );
        assert!(came_to(2222, "[firewall]\nssh = [\"2222\"]").is_ok());
        assert!(came_to(2222, "[firewall]\nopen = [\"tcp:2000-3000\"]").is_ok());
        assert!(came_to(2222, "[firewall]\nopen = [\"udp:2000-3000\"]").is_err());
        assert!(spare_the_administrator(&Config::default(), Path::new("r.toml"), None).is_ok());
    }
}
