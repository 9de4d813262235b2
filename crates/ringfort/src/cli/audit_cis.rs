//! `ringfort audit cis`: arguments to options; everything else is in the crate `ringfort-audit`.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Args};
use ringfort_audit::cis::Choice;
use ringfort_audit::cis::host::Limits;
use ringfort_audit::cis::report::Sections;
use ringfort_audit::cis::runner::Filter;
use ringfort_audit::cis::source::Source;
use ringfort_audit::command::{self, COULD_NOT_RUN, CisOptions};

/// Arguments of `ringfort audit cis`.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub struct CisArgs {
    /// Folder of controls like kube-bench's cfg/, instead of the built-in ones
    #[arg(short = 'D', long, value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Settings, instead of config.yaml of the folder
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The benchmark; without it that of the version of Kubernetes
    #[arg(long, value_name = "NAME", conflicts_with = "version")]
    benchmark: Option<String>,
    /// The version of Kubernetes; without it asked of kubectl or kubelet
    #[arg(long, value_name = "VERSION", env = "KUBE_BENCH_VERSION", hide_env_values = true)]
    version: Option<String>,
    /// master, etcd, controlplane, node, policies, managedservices; without it those that run here
    #[arg(short = 's', long, value_name = "TARGET", value_delimiter = ',')]
    targets: Vec<String>,
    /// Only these checks
    #[arg(short, long, value_name = "ID", value_delimiter = ',')]
    check: Vec<String>,
    /// Only checks of these groups
    #[arg(short, long, value_name = "ID", value_delimiter = ',')]
    group: Vec<String>,
    /// These checks and groups are skipped, and reported as INFO
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    skip: Vec<String>,
    /// Run checks that are scored
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true")]
    scored: bool,
    /// Run checks that are not scored
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true")]
    unscored: bool,
    /// Format, with a file or to standard output: text, json, junit, asff; may be repeated
    #[arg(short, long = "output", value_name = "FORMAT[=FILE]")]
    outputs: Vec<String>,
    /// Store the results in PostgreSQL: postgresql://user@host/database
    #[arg(long, value_name = "URL", env = "RINGFORT_AUDIT_PGSQL", hide_env_values = true)]
    pgsql: Option<String>,
    /// With --pgsql: authorities that the server's certificate is checked against, in PEM
    #[arg(long, value_name = "FILE")]
    pgsql_ca: Option<PathBuf>,
    /// The node's name in stored results and in ASFF
    #[arg(long, value_name = "NAME", env = "KUBE_BENCH_K8S_HOST", hide_env_values = true)]
    node_name: Option<String>,
    /// Judge policies of the cluster by these manifests and Terraform files or folders; may be repeated
    #[arg(long, value_name = "PATH")]
    manifests: Vec<PathBuf>,
    #[command(flatten)]
    cluster: super::audit::ClusterArgs,
    /// Check this tree of files, with proc/ in it, instead of this machine
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Give audits that cannot be run without a shell to /bin/sh
    #[arg(long)]
    allow_shell: bool,
    /// The most seconds of an audit
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// The exit code where a check failed
    #[arg(long, value_name = "CODE", default_value_t = 0)]
    exit_code: u8,
    /// Text without the checks
    #[arg(long)]
    noresults: bool,
    /// Text without the sums of each target
    #[arg(long)]
    nosummary: bool,
    /// Text without what to do
    #[arg(long)]
    noremediations: bool,
    /// Text and JSON without the sums of all
    #[arg(long)]
    nototals: bool,
    /// Text with the output that a failed check was tested on
    #[arg(long)]
    include_test_output: bool,
}

/// Does it. What cannot run is said on standard error, with exit code 2.
pub fn cis(args: CisArgs) -> ExitCode {
    let stdout = io::stdout();
    let outputs = args.outputs.iter().map(|text| super::audit::output(text)).collect::<Result<_, _>>();
    let result = outputs.and_then(|outputs| {
        let options = CisOptions {
            source: match args.config_dir {
                Some(folder) => Source::Folder { folder, config: args.config },
                None => Source::BuiltIn { config: args.config },
            },
            choice: Choice { benchmark: args.benchmark, version: args.version, targets: args.targets, told: None },
            filter: Filter {
                checks: args.check,
                groups: args.group,
                skipped: args.skip,
                scored: args.scored,
                unscored: args.unscored,
            },
            root: args.root,
            allow_shell: args.allow_shell,
            limits: Limits { time: Duration::from_secs(args.timeout), ..Limits::default() },
            manifests: args.manifests,
            cluster: args.cluster.options(),
            tell: |line| eprintln!("ringfort: {line}"),
            outputs,
            sections: Sections {
                results: !args.noresults,
                remediations: !args.noremediations,
                summary: !args.nosummary,
                totals: !args.nototals,
                test_output: args.include_test_output,
            },
            pgsql: args.pgsql,
            pgsql_authorities: args.pgsql_ca,
            node: args.node_name,
            settings: |name| std::env::var(format!("KUBE_BENCH_{name}")).ok(),
            exit_code: args.exit_code,
            colour: stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            now: super::audit::seconds(),
        };
        command::cis(&options, &mut stdout.lock()).map_err(|error| error.to_string())
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(words) => {
            eprintln!("ringfort: {words}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}
