//! `ringfort audit`: arguments to options; everything else is in the crate `ringfort-audit`.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};
use ringfort_audit::command::{self, COULD_NOT_RUN, Options, View};
use ringfort_audit::output::Format;
use ringfort_audit::policy::{Catalogue, Severity};
use ringfort_audit::scan::suppress::Date;
use ringfort_audit::view::kccss::RuleSet;

/// Arguments of `ringfort audit`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    /// Files and folders to scan; `-` is standard input
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Format, with a file or to standard output: table, json, junit, sarif, csv, markdown, html; may be repeated
    #[arg(short, long = "output", value_name = "FORMAT[=FILE]")]
    outputs: Vec<String>,
    /// Judge as another tool does, in its format and with its exit codes
    #[arg(long, value_enum)]
    view: Option<ViewName>,
    /// Report what passed as well
    #[arg(long)]
    all: bool,
    /// The mildest severity that makes the exit code 1
    #[arg(long, value_name = "SEVERITY", default_value = "info")]
    fail_on: Severity,
    /// Findings do not make the exit code 1
    #[arg(long)]
    soft_fail: bool,
    /// Exit with 2 if a file could not be read or parsed to its end
    #[arg(long)]
    strict: bool,
    /// Findings in this file are known and do not fail
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write the findings to this file, as known from now on
    #[arg(long, value_name = "FILE")]
    write_baseline: Option<PathBuf>,
    /// Central file of suppressions; without it .ringfort-audit.yaml, if there is one
    #[arg(long, value_name = "FILE")]
    suppressions: Option<PathBuf>,
    /// Only these policies, by id or alias
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    only: Vec<String>,
    /// Not these policies, by id or alias
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    skip: Vec<String>,
    /// Only policies at or over this severity
    #[arg(long, value_name = "SEVERITY", default_value = "info")]
    min_severity: Severity,
    /// Of folders, only files that fit; may be repeated
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// Files and folders to leave out; may be repeated, and stand in .ringfortignore
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// The largest file that is read, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 32)]
    max_file_size: u64,
    /// Threads; without it as many as there are cores
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    threads: usize,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// The policies, or those that fit all of the words
    List {
        /// Words of id, name, alias, category or severity
        words: Vec<String>,
    },
    /// Why a policy matters, what it looks at, how to mend it
    Explain {
        /// Its id or an alias: RF-K8S-0001, CKV_K8S_16, Privileged
        id: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ViewName {
    /// Points of each object; exit code 2 where a score is not above zero
    Kubesec,
    /// Risk of each workload from 0 to 10, by the rules of KCCSS
    Kccss,
    /// The same, by the rules of kube-scan
    KubeScan,
}

/// Does it. What cannot run is said on standard error, with exit code 2.
///
/// # Errors
/// None so far; the type is that of all commands.
pub fn audit(args: AuditArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Some(AuditCommand::List { words }) => {
            super::print(&command::list(&Catalogue::built_in(), &words))?;
            Ok(ExitCode::SUCCESS)
        }
        Some(AuditCommand::Explain { id }) => match command::explain(&Catalogue::built_in(), &id) {
            Some(text) => super::print(&text).map(|()| ExitCode::SUCCESS),
            None => {
                eprintln!("ringfort: no policy is called `{id}`; `ringfort audit list` shows them");
                Ok(ExitCode::from(COULD_NOT_RUN))
            }
        },
        None => Ok(scan(args)),
    }
}

fn scan(args: AuditArgs) -> ExitCode {
    let stdout = io::stdout();
    let outputs: Result<Vec<_>, String> = args.outputs.iter().map(|text| output(text)).collect();
    let result = outputs.and_then(|outputs| {
        let mut options = Options::new(args.paths, today());
        options.selection.include = args.include;
        options.selection.exclude = args.exclude;
        options.outputs = outputs;
        options.all = args.all;
        options.fail_on = args.fail_on;
        options.soft_fail = args.soft_fail;
        options.strict = args.strict;
        options.baseline = args.baseline;
        options.write_baseline = args.write_baseline;
        options.suppressions = args.suppressions;
        options.only = args.only;
        options.skip = args.skip;
        options.min_severity = args.min_severity;
        options.limits.file_bytes = args.max_file_size.saturating_mul(1 << 20);
        options.threads = args.threads;
        options.view = args.view.map(|view| match view {
            ViewName::Kubesec => View::Kubesec,
            ViewName::Kccss => View::Kccss(RuleSet::Kccss),
            ViewName::KubeScan => View::Kccss(RuleSet::KubeScan),
        });
        options.colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        command::run(&options, &mut io::stdin().lock(), &mut stdout.lock()).map_err(|error| error.to_string())
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(words) => {
            eprintln!("ringfort: {words}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn output(text: &str) -> Result<(Format, Option<PathBuf>), String> {
    let (name, file) = match text.split_once('=') {
        Some((name, file)) if !file.is_empty() => (name, Some(PathBuf::from(file))),
        Some(_) => return Err(format!("-o {text}: a file is missing after `=`")),
        None => (text, None),
    };
    Ok((name.parse()?, file))
}

fn today() -> Date {
    #[allow(clippy::disallowed_methods)] // The thin edge: the day is stamped here.
    let now = SystemTime::now();
    Date::from_unix(now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
