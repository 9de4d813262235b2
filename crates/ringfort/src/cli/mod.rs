//! The commands. Those that ask go to the running server by its control socket; those of the store alone work without
//! a server too, under the data folder's lock.

pub mod args;
mod audit;
mod audit_cis;
mod audit_serve;
mod blacklist;
mod ctl;
mod guard;
mod numbering;
mod show;
mod table;
mod voicemail;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use serde_json::Value;

use crate::admin::Admin;
use crate::config::{Config, reference};
use crate::control::{self, AdminRequest, Answer, Client, ClientError, Request};
use crate::{node, reach_gate, run, selftest};
pub use table::{Table, counted, printable, seconds};

use args::{ApplyArgs, CheckArgs, Cli, Command, DataArgs, ExportArgs, ListArgs, RollbackArgs, SelftestArgs};

/// The configuration that is read where none is named.
pub const DEFAULT_CONFIG: &str = "ringfort.toml";
/// The data folder where nothing else is said.
pub const DEFAULT_DATA: &str = "data";

/// Does what the command line says.
///
/// # Errors
/// In words for the user; `main` prints them and exits with 1.
pub fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run(args) => run::run(args),
        Command::Apply(args) => apply(&args),
        Command::Export(args) => export(&args),
        Command::Rollback(args) => rollback(&args),
        Command::Revisions(args) => revisions(&args),
        Command::Ctl(args) => ctl::ctl(args),
        Command::Check(args) => check(&args),
        Command::Dns(args) => crate::dns::dns(args),
        Command::Stir(args) => crate::stir::stir(*args),
        Command::Firewall(args) => crate::firewall::firewall(&args),
        Command::Config => print(&reference::example()).map(|()| ExitCode::SUCCESS),
        Command::Selftest(args) => self_test(&args),
        Command::Audit(args) => audit::audit(*args),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ringfort", &mut script);
            print(&String::from_utf8(script).context("the script is text")?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => man(),
    }
}

/// The data folder: as given, else as `./ringfort.toml` says, else `./data`.
pub fn data_dir(args: &DataArgs) -> anyhow::Result<PathBuf> {
    if let Some(dir) = &args.data {
        return Ok(dir.clone());
    }
    let config = Path::new(DEFAULT_CONFIG);
    if config.exists() {
        let config = Config::load(config).with_context(|| format!("looking for data_dir in {DEFAULT_CONFIG}"))?;
        if let Some(dir) = config.data_dir {
            return Ok(dir);
        }
    }
    Ok(PathBuf::from(DEFAULT_DATA))
}

/// Asks the server; where none runs, does it on the store itself.
pub fn ask_store(data_dir: &Path, request: AdminRequest) -> anyhow::Result<Value> {
    match Client::connect(data_dir) {
        Ok(mut client) => Ok(client.ask(&Request::Admin(request))?),
        Err(ClientError::NotRunning { .. }) => {
            // Only a command that writes a whole site may begin a data folder.
            let begins = matches!(request, AdminRequest::Apply { .. } | AdminRequest::ExtensionAdd { .. });
            let is_new = !data_dir.join("ringfort.db").exists();
            if is_new && !begins {
                return Err(ClientError::NotRunning { data_dir: data_dir.to_owned() }.into());
            }
            let admin = Admin::offline(data_dir)?;
            if is_new {
                // Beside the answer, which may be for a program.
                eprintln!(
                    "No server runs with {}; a new data folder was begun there.",
                    control::absolute(data_dir).display()
                );
            }
            match admin.answer(request) {
                Answer::Ok(value) => Ok(value),
                Answer::Error(words) => Err(anyhow::anyhow!(words)),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// To standard output; a reader that went away (`| head`) is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// An error and its causes in one line; a cause that the text before it tells already is not told again.
pub fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if words.is_empty() {
            words = cause;
        } else if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

/// The object for programs, or what `human` makes of it.
pub fn print_answer(json: bool, value: &Value, human: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
    if json { print(&format!("{value:#}\n")) } else { print(&human(value)) }
}

fn apply(args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    let file = args.file.display().to_string();
    let text = std::fs::read_to_string(&args.file).with_context(|| file.clone())?;
    let request = AdminRequest::Apply {
        file,
        text,
        dry_run: args.dry_run,
        prune: args.prune,
        allow_reach: args.allow_reach.clone(),
    };
    let value = ask_store(&data_dir(&args.data)?, request)?;
    print_answer(args.json, &value, ctl::change)?;
    Ok(ExitCode::SUCCESS)
}

fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let value = ask_store(&data_dir(&args.data)?, AdminRequest::Export { with_secrets: args.with_secrets })?;
    print(value["text"].as_str().unwrap_or_default())?;
    Ok(ExitCode::SUCCESS)
}

fn rollback(args: &RollbackArgs) -> anyhow::Result<ExitCode> {
    let value = ask_store(&data_dir(&args.data)?, AdminRequest::Rollback { revision: args.revision })?;
    print_answer(args.json, &value, ctl::change)?;
    Ok(ExitCode::SUCCESS)
}

fn revisions(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let value = ask_store(&data_dir(&args.data)?, AdminRequest::Revisions)?;
    print_answer(args.json, &value, show::revisions)?;
    Ok(ExitCode::SUCCESS)
}

fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let default = Path::new(DEFAULT_CONFIG);
    let mut good = String::new();
    let mut wrong = Vec::new();
    let mut reachable = Reachability::default();
    let mut say = |name: &str, result: Result<String, String>| match result {
        Ok(words) => good.push_str(&format!("{name}: {words}\n")),
        Err(words) => wrong.push(words),
    };
    match &args.config {
        Some(path) => say(&path.display().to_string(), check_config(path)),
        None if default.exists() => say(DEFAULT_CONFIG, check_config(default)),
        None if args.site.is_some() || args.stored => {}
        None => {
            say(
                DEFAULT_CONFIG,
                Err(format!("there is no {DEFAULT_CONFIG} here; `ringfort run` then uses its defaults")),
            );
        }
    }
    if let Some(path) = &args.site {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: cannot be read: {error}"));
        let site = text.and_then(|text| crate::admin::check_site(&name, &text));
        say(&name, site.as_ref().map(|(_, named)| format!("good ({named} objects)")).map_err(Clone::clone));
        if let Ok((site, _)) = &site {
            reachable = check_reach(args.config.as_deref(), site);
        }
    }
    if args.stored {
        let value = ask_store(&data_dir(&args.data)?, AdminRequest::Reach)?;
        good.push_str(&format!("stored site: revision {}\n", value["revision"]));
        let stored = Reachability::of(&value);
        reachable.notes.push_str(&stored.notes);
        reachable.paths.extend(stored.paths);
    }
    print(&(good + &reachable.notes))?;
    wrong.extend(reachable.paths);
    for words in &wrong {
        eprintln!("{words}");
    }
    Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the search for calls that cost somebody else's money came to, in words.
#[derive(Default)]
struct Reachability {
    notes: String,
    /// Each is a mistake.
    paths: Vec<String>,
}

impl Reachability {
    /// `report`: of [`reach_gate::value`].
    fn of(report: &Value) -> Self {
        let items = |name: &str| report[name].as_array().cloned().unwrap_or_default();
        let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
        let mut notes = String::new();
        if items("paths").is_empty() {
            notes.push_str("reach: nobody without credentials reaches a trunk\n");
        }
        for weak in items("weak") {
            notes.push_str(&format!(
                "{}: {}\n  mend: {}\n",
                text(&weak, "level"),
                text(&weak, "text"),
                text(&weak, "mend")
            ));
        }
        let paths = items("paths").into_iter().map(|path| {
            format!(
                "reach: anybody can call at your expense by trunk {}:\n  {}",
                text(&path, "trunk"),
                text(&path, "path")
            )
        });
        Self { notes, paths: paths.collect() }
    }
}

/// Every way from somebody without credentials to a trunk, and what is easy to misuse (GUARD-13). A configuration that
/// cannot be read has been named; the site is then looked at as the defaults would serve it.
fn check_reach(config: Option<&Path>, site: &ringfort_switch::model::Site) -> Reachability {
    let config = Config::load(config.unwrap_or(Path::new(DEFAULT_CONFIG))).unwrap_or_default();
    let config = node::switch_config(&config, [0; 32], |_| None);
    Reachability::of(&reach_gate::value(&config, site))
}

/// The file, and those that it names.
fn check_config(path: &Path) -> Result<String, String> {
    let config = Config::load(path).map_err(|problems| problems.to_string())?;
    let name = path.display();
    let problems = ringfort_net::certificate_problems(&node::tls_config(&config, Path::new(DEFAULT_DATA)));
    if !problems.is_empty() {
        let lines: Vec<String> = problems.iter().map(|problem| format!("{name}: tls: {problem}")).collect();
        return Err(lines.join("\n"));
    }
    let listeners = config.profiles.iter().map(|profile| profile.listen.len()).sum::<usize>();
    Ok(format!("good ({}, {})", counted(config.profiles.len(), "profile"), counted(listeners, "listener")))
}

fn self_test(args: &SelftestArgs) -> anyhow::Result<ExitCode> {
    let report = selftest::run(&data_dir(&args.data)?)?;
    if args.json {
        let ok = report.ok();
        print(&format!("{:#}\n", serde_json::json!({ "ok": ok, "items": report.items })))?;
    } else {
        print(&format!("{report}\n"))?;
    }
    Ok(if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One page for all of it: `ringfort(1)`, with a section for each command.
fn man() -> anyhow::Result<ExitCode> {
    let command = Cli::command();
    let mut out = Vec::new();
    let page = clap_mangen::Man::new(command.clone()).manual("Ringfort");
    page.render_title(&mut out)?;
    page.render_name_section(&mut out)?;
    page.render_synopsis_section(&mut out)?;
    page.render_description_section(&mut out)?;
    writeln!(out, ".SH COMMANDS")?;
    describe(&command, "ringfort", &mut out)?;
    writeln!(
        out,
        ".SH FILES\n.TP\n.I ringfort.toml\nConfiguration of the node.\n.TP\n.I DATA/ringfort.key\nThe key that secrets and numbers are \
         encrypted with. Back it up apart from the database.\n.TP\n.I DATA/ringfort.sock\nControl socket.\n\
         .SH SIGNALS\nSIGTERM drains and stops; SIGINT stops; SIGHUP reads certificates and the site again.\n\
         .SH EXIT STATUS\n0 where all went well, 1 where not, 2 for a wrong command line."
    )?;
    page.render_version_section(&mut out)?;
    print(&String::from_utf8(out).context("the page is text")?)?;
    Ok(ExitCode::SUCCESS)
}

fn describe(command: &clap::Command, path: &str, out: &mut Vec<u8>) -> io::Result<()> {
    let roff = |text: &str| text.replace('\\', "\\\\").replace('-', "\\-");
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help" && !sub.is_hide_set()) {
        let path = format!("{path} {}", sub.get_name());
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(out, ".SS {}\n{}", roff(&path), roff(&about))?;
        for arg in sub.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let name = match (arg.get_short(), arg.get_long()) {
                (Some(short), Some(long)) => format!("-{short}, --{long}"),
                (None, Some(long)) => format!("--{long}"),
                _ => arg.get_id().as_str().to_uppercase(),
            };
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            if !help.is_empty() {
                writeln!(out, ".TP\n.B {}\n{}", roff(&name), roff(&help))?;
            }
        }
        describe(sub, &path, out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_each_cause_once() {
        let source = || io::Error::from_raw_os_error(2);
        let told = source().to_string();
        let shows_it = ringfort_net::TlsError::Read { path: "a.pem".into(), source: source() };
        assert_eq!(in_words(&shows_it.into()), format!("cannot read a.pem: {told}"));
        let adds_it = anyhow::Error::from(source()).context("site.toml");
        assert_eq!(in_words(&adds_it), format!("site.toml: {told}"));
    }
}
