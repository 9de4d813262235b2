//! The commands. Those that ask go to the running server by its control socket; those of the store alone work without
//! a server too, under the data folder's lock.

pub mod args;
mod audit;
mod ctl;
mod show;
mod table;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use serde_json::Value;

use crate::admin::Admin;
use crate::config::{Config, reference};
use crate::control::{AdminRequest, Answer, Client, ClientError, Request};
use crate::{run, selftest};
pub use table::{Table, printable, seconds};

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
        Command::Check(args) => Ok(check(&args)),
        Command::Dns(args) => crate::dns::dns(args),
        Command::Config => print(&reference::example()).map(|()| ExitCode::SUCCESS),
        Command::Selftest(args) => self_test(&args),
        Command::Audit(args) => audit::audit(*args),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "ringfort", &mut io::stdout());
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
            if !begins && !data_dir.join("ringfort.db").exists() {
                return Err(ClientError::NotRunning { data_dir: data_dir.to_owned() }.into());
            }
            let admin = Admin::offline(data_dir)?;
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

/// The object for programs, or what `human` makes of it.
pub fn print_answer(json: bool, value: &Value, human: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
    if json { print(&format!("{value:#}\n")) } else { print(&human(value)) }
}

fn apply(args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    let file = args.file.display().to_string();
    let text = std::fs::read_to_string(&args.file).with_context(|| file.clone())?;
    let request = AdminRequest::Apply { file, text, dry_run: args.dry_run, prune: args.prune };
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

fn check(args: &CheckArgs) -> ExitCode {
    let config = args.config.clone().or_else(|| {
        let default = PathBuf::from(DEFAULT_CONFIG);
        (args.site.is_none() || default.exists()).then_some(default)
    });
    let mut failed = false;
    let mut say = |name: &str, result: Result<String, String>| match result {
        Ok(words) => println!("{name}: {words}"),
        Err(words) => {
            failed = true;
            eprintln!("{words}");
        }
    };
    if let Some(path) = config {
        let result = Config::load(&path).map_err(|problems| problems.to_string());
        let words = |config: Config| {
            let listeners = config.profiles.iter().map(|profile| profile.listen.len()).sum::<usize>();
            format!("good ({} profiles, {listeners} listeners)", config.profiles.len())
        };
        say(&path.display().to_string(), result.map(words));
    }
    if let Some(path) = &args.site {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: cannot be read: {error}"));
        say(&name, text.and_then(|text| crate::admin::check_site(&name, &text)));
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
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
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let path = format!("{path} {}", sub.get_name());
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(out, ".SS {}\n{}", roff(&path), roff(&about))?;
        for arg in sub.get_arguments() {
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
