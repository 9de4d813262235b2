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
/// What only looks, of programs that can also change things, by the first word that is no option.
const LOOKING: &[(&[&str], &[&str])] = &[
    (
        &["kubectl", "oc"],
        &["get", "describe", "auth", "api-resources", "version", "logs", "whoami", "exec", "debug", "rsh"],
    ),
    (&["openssl"], &["x509", "req", "verify", "crl", "version"]),
    (&["systemctl"], &["is-enabled", "is-active", "show", "status", "list-unit-files", "cat"]),
];
/// The same of clouds' programs, which have the verb behind what it is about.
const CLOUDS: &[&str] = &["gcloud", "aws", "az"];
const CLOUDS_LOOKING: &[&str] = &["list", "describe", "show", "get"];
const CLOUDS_CHANGING: &[&str] = &[
    "delete", "create", "update", "set", "add", "remove", "put", "attach", "detach", "enable", "disable", "run", "ssh",
    "exec",
];
/// Beginnings of arguments by which others write or change something.
const REFUSED: &[(&str, &[&str])] = &[
    ("openssl", &["-out", "-keyout", "-new", "-writerand", "-CAserial", "-CAcreateserial"]),
    ("yq", &["-i", "--inplace", "-s", "--split"]),
    (
        "journalctl",
        &[
            "--vacuum",
            "--rotate",
            "--flush",
            "--sync",
            "--relinquish",
            "--smart",
            "--update",
            "--setup",
            "-f",
            "--follow",
        ],
    ),
];
/// Options of `kubectl` and `oc` whose value stands behind them.
const VALUED: &[&str] =
    &["-n", "-c", "-l", "-f", "--namespace", "--container", "--context", "--kubeconfig", "--cluster"];
/// What reads its input even inside of a loop, that is not meant for others.
const READERS: &[&str] = &["jq", "yq", "openssl", "base64"];

/// Whether a program is asked for something that changes nothing.
pub fn check(arguments: &[String]) -> Result<(), Unsupported> {
    let name = short(&arguments[0]);
    let refused = || Unsupported(format!("`{}`: it may change something", arguments.join(" ")));
    if CLOUDS.contains(&name) {
        // What it is about, and what is done with it, come before the options.
        let words: Vec<_> = arguments[1..].iter().take_while(|argument| !argument.starts_with('-')).collect();
        let has = |verbs: &[&str]| {
            let is = |word: &str| verbs.iter().any(|verb| word == *verb || word.starts_with(&format!("{verb}-")));
            words.iter().any(|word| is(word))
        };
        return if has(CLOUDS_LOOKING) && !has(CLOUDS_CHANGING) { Ok(()) } else { Err(refused()) };
    }
    if ["kubelet", "containerd"].contains(&name) {
        return if arguments[1..] == ["--version"] { Ok(()) } else { Err(refused()) };
    }
    let writes = |(program, beginnings): &(&str, &[&str])| {
        let begins = |argument: &String| beginnings.iter().any(|beginning| argument.starts_with(beginning));
        *program == name && arguments[1..].iter().any(begins)
    };
    // `hostname NAME` gives the machine another one.
    if REFUSED.iter().any(writes)
        || name == "hostname" && arguments[1..].iter().any(|argument| !argument.starts_with('-'))
    {
        return Err(refused());
    }
    let Some((_, looking)) = LOOKING.iter().find(|(names, _)| names.contains(&name)) else { return Ok(()) };
    let mut words = operands(&arguments[1..]);
    match words.next() {
        Some((_, verb)) if !looking.contains(&verb) => Err(refused()),
        Some((at, "exec" | "debug" | "rsh")) => inside(&arguments[1 + at..]),
        _ => Ok(()),
    }
}

/// What is no option and no value of one, with its place.
fn operands(arguments: &[String]) -> impl Iterator<Item = (usize, &str)> {
    let mut is_value = false;
    arguments.iter().enumerate().filter_map(move |(at, argument)| {
        let operand = !is_value && !argument.starts_with('-');
        is_value = VALUED.contains(&argument.as_str());
        operand.then_some((at, argument.as_str()))
    })
}

/// What is run in a container has to be in the subset as well; `arguments` begin with the verb.
fn inside(arguments: &[String]) -> Result<(), Unsupported> {
    let command = match arguments.iter().position(|argument| argument == "--") {
        Some(at) => &arguments[at + 1..],
        // The container's name is the first operand behind the verb.
        None => operands(arguments).nth(2).map_or(&[][..], |(at, _)| &arguments[at..]),
    };
    // On a node its files are below a folder.
    match command {
        [chroot, _, rest @ ..] if short(chroot) == "chroot" => super::check_called(rest, PROGRAMS),
        [] => Err(Unsupported(format!("`{}` without a command", arguments.join(" ")))),
        command => super::check_called(command, PROGRAMS),
    }
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
