//! Programs that are started: they ask a cluster, a cloud, a service manager, or read formats that are theirs. One program with its
//! arguments, no shell. In a tree (`--root`) there is nothing to ask, so they are refused.

use super::super::Unsupported;
use super::super::run::{Shell, Stop, Streams};
use super::complain;
use crate::cis::host::Unfinished;

/// What may be started.
pub const PROGRAMS: &[&str] = &[
    "kubectl",
    "oc",
    "journalctl",
    "systemctl",
    "jq",
    "yq",
    "openssl",
    "gcloud",
    "aws",
    "az",
    "base64",
    "hostname",
    "uname",
    "kubelet",
    "containerd",
];
/// What only looks, of programs that can also change things.
const LOOKING: &[(&[&str], &[&str])] = &[
    (
        &["kubectl", "oc"],
        &["get", "describe", "auth", "api-resources", "version", "config", "exec", "debug", "rsh", "logs", "whoami"],
    ),
    (&["systemctl"], &["is-enabled", "is-active", "show", "status", "list-unit-files", "cat"]),
    (&["kubelet", "containerd"], &["--version"]),
    (&["gcloud", "aws", "az"], &["list", "describe", "show", "get", "describe-cluster", "list-clusters"]),
];
/// What reads its input even inside of a loop, that is not meant for others.
const READERS: &[&str] = &["jq", "yq", "openssl", "base64"];

/// Whether a program is asked for something that changes nothing.
pub fn check(arguments: &[String]) -> Result<(), Unsupported> {
    let name = short(&arguments[0]);
    let Some((_, looking)) = LOOKING.iter().find(|(names, _)| names.contains(&name)) else { return Ok(()) };
    // Options may stand before the verb; clouds have it behind what it is about.
    if arguments[1..].iter().any(|argument| {
        looking.contains(&argument.as_str()) || argument.starts_with("list-") || argument.starts_with("describe-")
    }) {
        return Ok(());
    }
    Err(Unsupported(format!("`{}`: of `{name}` only {} are called", arguments.join(" "), looking.join(", "))))
}

fn short(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Starts it and waits.
pub fn run(shell: &mut Shell<'_>, arguments: &[String], streams: &Streams) -> Result<i32, Stop> {
    let name = &arguments[0];
    if !shell.host.is_live() {
        return Err(
            Unsupported(format!("`{name}` would be asked about this machine, not about the tree of --root")).into()
        );
    }
    let input = if streams.piped || READERS.contains(&short(name)) { streams.rest() } else { Vec::new() };
    match shell.host.start(name, &arguments[1..], input, shell.deadline()) {
        Ok(finished) => {
            shell.write(&streams.err, finished.err)?;
            shell.write(&streams.out, finished.out)?;
            Ok(finished.status)
        }
        Err(Unfinished::NotFound) => complain(shell, streams, &format!("/bin/sh: 1: {name}: not found"), 127),
        Err(Unfinished::NotStarted(error)) => complain(shell, streams, &format!("/bin/sh: 1: {name}: {error}"), 126),
        Err(Unfinished::TooLong) => {
            Err(Stop::Limit(format!("`{name}` took longer than {} s", shell.host.limits.time.as_secs())))
        }
        Err(Unfinished::TooMuch) => {
            Err(Stop::Limit(format!("`{name}` printed more than {} MiB", shell.host.limits.output >> 20)))
        }
    }
}
