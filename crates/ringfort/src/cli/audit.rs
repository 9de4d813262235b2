//! `ringfort audit`: arguments to options; everything else is in the crate `ringfort-audit`.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};
use ringfort_audit::cluster::ClusterOptions;
use ringfort_audit::command::{self, COULD_NOT_RUN, FixMode, Kubeaudit, Options, View};
use ringfort_audit::policy::{Catalogue, Severity};
use ringfort_audit::scan::suppress::Date;
use ringfort_audit::serve::signalled;
use ringfort_audit::view::kccss::RuleSet;
use ringfort_audit::view::kubeaudit::{AUDITORS, Config, Level};

use super::audit_cis::CisArgs;

/// Arguments of `ringfort audit`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: Option<AuditCommand>,
    /// Files and folders to scan; `-` is standard input
    #[arg(required_unless_present = "cluster")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Go on after the scan of a cluster: a line for each finding that comes or goes, as table or json, until SIGTERM or SIGINT
    #[arg(long, requires = "cluster")]
    watch: bool,
    /// Format, with a file or to standard output: table, json, junit, sarif, csv, cyclonedx, gitlab-sast, markdown, html; may be repeated
    #[arg(short, long = "output", value_name = "FORMAT[=FILE]")]
    outputs: Vec<String>,
    /// Judge as another tool does, in its format and with its exit codes
    #[arg(long, value_enum)]
    view: Option<ViewName>,
    /// Mend in place what can be mended, instead of a report; of standard input to standard output
    #[arg(long)]
    fix: bool,
    /// With --fix: show what would change, as a diff
    #[arg(long, requires = "fix")]
    dry_run: bool,
    /// With --view kubeaudit: the mildest level to report
    #[arg(short = 'm', long, alias = "minseverity", value_enum, default_value = "info", hide_default_value = true)]
    level: LevelName,
    /// With --view kubeaudit: the exit code where there is an error
    #[arg(short = 'e', long, alias = "exitcode", value_name = "CODE", default_value_t = 2)]
    exit_code: u8,
    /// With --view kubeaudit: only these auditors
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    auditors: Vec<String>,
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
    /// Files and folders with policies of your own, beside the built-in ones; may be repeated
    #[arg(long, value_name = "PATH")]
    policies: Vec<PathBuf>,
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
    /// Have Helm charts and kustomizations in folders rendered by your helm, kustomize or kubectl, instead of reading their parts
    #[arg(long)]
    render: bool,
    /// The largest file that is read, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 32)]
    max_file_size: u64,
    /// Threads; without it as many as there are cores
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    threads: usize,
}

/// Which cluster.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// Scan the objects of a live cluster: by the kubeconfig, within a pod by its service account
    #[arg(long)]
    cluster: bool,
    /// The kubeconfig; without it KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE", requires = "cluster")]
    kubeconfig: Option<PathBuf>,
    /// The context in it; without it the current one
    #[arg(long, value_name = "NAME", requires = "cluster")]
    context: Option<String>,
    /// Only these namespaces; without it all, and what is in none
    #[arg(short, long = "namespace", value_name = "NAMESPACE", value_delimiter = ',', requires = "cluster")]
    namespaces: Vec<String>,
    /// Read secrets of the cluster too
    #[arg(long, requires = "cluster")]
    secrets: bool,
}

impl ClusterArgs {
    /// What to read, where a cluster is asked for.
    pub fn options(self) -> Option<ClusterOptions> {
        self.cluster.then_some(ClusterOptions {
            kubeconfig: self.kubeconfig,
            context: self.context,
            namespaces: self.namespaces,
            secrets: self.secrets,
            ..ClusterOptions::default()
        })
    }
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
    /// Run the examples of policies of your own
    TestPolicies {
        /// Files and folders with policies
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Policies as ValidatingAdmissionPolicy, so that a cluster warns of what they find or refuses it
    ExportVap {
        /// Ids or aliases
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Serve a view over HTTP: scores with an admission webhook, risks, controls
    Serve(Box<super::audit_serve::ServeArgs>),
    /// Check the nodes of a cluster against a CIS benchmark, with kube-bench's controls or the built-in ones
    Cis(Box<CisArgs>),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ViewName {
    /// Points of each object; exit code 2 where a score is not above zero
    Kubesec,
    /// Risk of each workload from 0 to 10, by the rules of KCCSS
    Kccss,
    /// Results of the 14 auditors of kubeaudit; -o pretty, json, logrus or sarif
    Kubeaudit,
    /// The same, by the rules of kube-scan
    KubeScan,
    /// Controls passed and failed with their resources: workloads, AKS, EKS, GKE
    Mkit,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LevelName {
    /// Everything
    Info,
    /// Warnings and errors
    Warning,
    /// Errors
    Error,
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
        Some(AuditCommand::TestPolicies { paths }) => match command::policies::test(&paths, today()) {
            Ok((words, right)) => {
                super::print(&words)?;
                Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Err(error) => Ok(could_not_run(&error)),
        },
        Some(AuditCommand::ExportVap { ids }) => match command::policies::export(&Catalogue::built_in(), &ids) {
            Ok(text) => super::print(&text).map(|()| ExitCode::SUCCESS),
            Err(error) => Ok(could_not_run(&error)),
        },
        Some(AuditCommand::Serve(args)) => Ok(super::audit_serve::serve(*args)),
        Some(AuditCommand::Cis(args)) => Ok(super::audit_cis::cis(*args)),
        None => Ok(scan(args)),
    }
}

/// Says why, a line for each reason.
fn could_not_run(error: &dyn std::fmt::Display) -> ExitCode {
    error.to_string().lines().for_each(|line| eprintln!("ringfort: {line}"));
    ExitCode::from(COULD_NOT_RUN)
}

fn scan(args: AuditArgs) -> ExitCode {
    let stdout = io::stdout();
    let result = view(&args).and_then(|view| {
        // The formats of that view are its own.
        let outputs = match &view {
            Some(View::Kubeaudit(_)) => Vec::new(),
            _ => args.outputs.iter().map(|text| output(text)).collect::<Result<_, _>>()?,
        };
        let mut options = Options::new(args.paths, today());
        options.cluster = args.cluster.options();
        options.selection.include = args.include;
        options.selection.exclude = args.exclude;
        options.selection.render = args.render;
        options.outputs = outputs;
        options.all = args.all;
        options.fail_on = args.fail_on;
        options.soft_fail = args.soft_fail;
        options.strict = args.strict;
        options.baseline = args.baseline;
        options.write_baseline = args.write_baseline;
        options.suppressions = args.suppressions;
        options.policies = args.policies;
        options.only = args.only;
        options.skip = args.skip;
        options.min_severity = args.min_severity;
        options.limits.file_bytes = args.max_file_size.saturating_mul(1 << 20);
        options.threads = args.threads;
        options.view = view;
        options.fix = args.fix.then_some(if args.dry_run { FixMode::DryRun } else { FixMode::Write });
        options.time = now();
        options.tell = |line| eprintln!("ringfort: {line}");
        options.colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        // These show what they do not know.
        let plain = std::env::var("TERM").is_ok_and(|name| matches!(name.as_str(), "dumb" | "linux"));
        options.links = options.colour && !plain;
        options.progress = io::stderr().is_terminal() && !plain;
        if args.watch {
            let watched = command::watch(&options, &mut stdout.lock(), &now, signalled());
            return watched.map_err(|error| error.to_string());
        }
        command::run(&options, &mut io::stdin().lock(), &mut stdout.lock()).map_err(|error| error.to_string())
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(words) => could_not_run(&words),
    }
}

fn view(args: &AuditArgs) -> Result<Option<View>, String> {
    Ok(match args.view {
        None => None,
        Some(ViewName::Kubesec) => Some(View::Kubesec),
        Some(ViewName::Kccss) => Some(View::Kccss(RuleSet::Kccss)),
        Some(ViewName::KubeScan) => Some(View::Kccss(RuleSet::KubeScan)),
        Some(ViewName::Mkit) => Some(View::Mkit),
        Some(ViewName::Kubeaudit) => {
            if let Some(name) = args.auditors.iter().find(|name| !AUDITORS.contains(&name.as_str())) {
                return Err(format!("`{name}` is no auditor; there are {}", AUDITORS.join(", ")));
            }
            Some(View::Kubeaudit(Kubeaudit {
                outputs: args.outputs.iter().map(|text| output(text)).collect::<Result<_, _>>()?,
                least: match args.level {
                    LevelName::Info => Level::Info,
                    LevelName::Warning => Level::Warning,
                    LevelName::Error => Level::Error,
                },
                exit_code: args.exit_code,
                config: Config { only: args.auditors.clone() },
            }))
        }
    })
}

pub(super) fn output<F: FromStr<Err = String>>(text: &str) -> Result<(F, Option<PathBuf>), String> {
    let (name, file) = match text.split_once('=') {
        Some((name, file)) if !file.is_empty() => (name, Some(PathBuf::from(file))),
        Some(_) => return Err(format!("-o {text}: a file is missing after `=`")),
        None => (text, None),
    };
    Ok((name.parse()?, file))
}

pub fn seconds() -> u64 {
    #[allow(clippy::disallowed_methods)] // The thin edge: the time is stamped here.
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

pub fn today() -> Date {
    Date::from_unix(seconds())
}

fn now() -> String {
    let seconds = seconds();
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{}T{hours:02}:{minutes:02}:{:02}Z", Date::from_unix(seconds), seconds % 60)
}
