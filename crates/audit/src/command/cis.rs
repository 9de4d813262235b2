//! `ringfort audit cis`: chooses a benchmark, runs its checks, writes the results.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use super::{CLEAN, CommandError, write_file, write_to};
use crate::cis::host::{Host, Limits};
use crate::cis::manifests::Manifests;
use crate::cis::report::{self, Account, Format, Sections, Style};
use crate::cis::runner::{Filter, Runner};
use crate::cis::source::Source;
use crate::cis::{Benchmark, Choice, choose, pgsql};
use crate::cluster::{self, ClusterOptions};
use crate::scan::suppress::Date;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct CisOptions {
    /// Where controls come from.
    pub source: Source,
    /// The benchmark and the targets.
    pub choice: Choice,
    /// Which checks.
    pub filter: Filter,
    /// A tree of files instead of this machine.
    pub root: Option<PathBuf>,
    /// Give what is outside of the subset to `/bin/sh`.
    pub allow_shell: bool,
    /// How much an audit may take.
    pub limits: Limits,
    /// Manifests and Terraform files that policies of the cluster are judged by.
    pub manifests: Vec<PathBuf>,
    /// The cluster whose objects they are judged by.
    pub cluster: Option<ClusterOptions>,
    /// Is told what the cluster did not let us read, line by line.
    pub tell: fn(&str),
    /// Formats and where to; no file: standard output. Empty: text.
    pub outputs: Vec<(Format, Option<PathBuf>)>,
    /// Which parts of the text are printed.
    pub sections: Sections,
    /// The address of a PostgreSQL server for results.
    pub pgsql: Option<String>,
    /// Authorities that its certificate is checked against (PEM).
    pub pgsql_authorities: Option<PathBuf>,
    /// The node's name in results that are stored; else that of the host.
    pub node: Option<String>,
    /// Settings by their name, before those of `config.yaml`: `AWS_ACCOUNT` and the like.
    pub settings: fn(&str) -> Option<String>,
    /// The exit code where a check failed.
    pub exit_code: u8,
    /// Colours on standard output.
    pub colour: bool,
    /// Now, in seconds since 1970.
    pub now: u64,
}

/// Runs the checks, writes the results, and says which exit code that makes.
///
/// # Errors
/// Where nothing could be checked, written or stored.
pub fn cis(options: &CisOptions, stdout: &mut dyn Write) -> Result<u8, CommandError> {
    let refuse = |words: &dyn std::fmt::Display| CommandError::Options(words.to_string());
    if options.outputs.iter().filter(|(_, file)| file.is_none()).count() > 1 {
        return Err(refuse(&"only one format can go to standard output; give the others a file: -o json=report.json"));
    }
    if !options.filter.checks.is_empty() && !options.filter.groups.is_empty() {
        return Err(refuse(&"--check and --group cannot be used together"));
    }
    if options.allow_shell && options.root.is_some() {
        return Err(refuse(&"--allow-shell would look at this machine, not at the tree of --root; leave one out"));
    }
    if let Some(root) = options.root.as_ref().filter(|root| !root.is_dir()) {
        return Err(refuse(&format!("--root {}: a folder is expected", root.display())));
    }
    let today = Date::from_unix(options.now);
    let host = Host::new(options.root.as_deref(), options.now, options.limits);
    let mut choice = options.choice.clone();
    if let Some(cluster) = options.cluster.as_ref().filter(|_| choice.benchmark.is_none() && choice.version.is_none()) {
        choice.told = Some(cluster::version(cluster)?);
    }
    let benchmark = choose(&options.source, &choice, &host).map_err(|error| refuse(&error))?;
    let manifests = if options.manifests.is_empty() && options.cluster.is_none() {
        None
    } else {
        let ids = benchmark.policies(&options.source, &host).map_err(|error| refuse(&error))?;
        let scanned = Manifests::scan(&options.manifests, options.cluster.as_ref(), &ids, today);
        Some(scanned.map_err(|error| refuse(&error))?)
    };
    for gap in manifests.iter().flat_map(|manifests| &manifests.gaps) {
        (options.tell)(&format!("not read: {gap}"));
    }
    let wants_account = options.outputs.iter().any(|(format, _)| *format == Format::Asff);
    let account = if wants_account { Some(account(options, &benchmark)?) } else { None };
    let runner = Runner { host: &host, allow_shell: options.allow_shell, manifests: manifests.as_ref() };
    let reports = benchmark.run(&options.source, &runner, &options.filter).map_err(|error| refuse(&error))?;
    if reports.iter().all(|report| report.tests.is_none()) {
        return Err(refuse(&"no check was run: the filters leave none of the targets"));
    }

    let time = rfc3339(options.now);
    let style = Style { sections: options.sections, colour: false, account, time: time.clone() };
    let text = [(Format::Text, None)];
    let none = options.outputs.is_empty() && options.pgsql.is_none();
    for (format, file) in if none { &text[..] } else { &options.outputs } {
        match file {
            Some(path) => write_file(path, &mut |out| report::write(*format, &reports, &style, out))?,
            None => {
                let style = Style { colour: options.colour, ..style.clone() };
                write_to(stdout, &mut |out| report::write(*format, &reports, &style, out))?;
            }
        }
    }
    if let Some(address) = &options.pgsql {
        let authorities = match &options.pgsql_authorities {
            Some(path) => {
                Some(fs::read(path).map_err(|error| CommandError::File { path: path.display().to_string(), error })?)
            }
            None => None,
        };
        let target = pgsql::Target { address: address.clone(), authorities };
        let node = options.node.clone().unwrap_or_else(|| node_name(&host));
        pgsql::store(&target, &reports, &node, &time).map_err(|error| refuse(&error))?;
    }
    let failed = reports.iter().any(|report| report.totals.fail > 0);
    Ok(if failed { options.exit_code } else { CLEAN })
}

fn account(options: &CisOptions, benchmark: &Benchmark) -> Result<Account, CommandError> {
    let setting = |name: &str| {
        let value = (options.settings)(name).or_else(|| benchmark.setting(name).map(str::to_owned));
        value.filter(|value| !value.is_empty())
    };
    let wanted = |name: &str| {
        let words = format!("ASFF needs {name}: set it in config.yaml, or KUBE_BENCH_{name} in the environment");
        setting(name).ok_or(CommandError::Options(words))
    };
    Ok(Account {
        account: wanted("AWS_ACCOUNT")?,
        region: wanted("AWS_REGION")?,
        cluster: wanted("CLUSTER_ARN")?,
        node: options.node.clone().or_else(|| setting("NODE_NAME")),
    })
}

/// The host's own name.
fn node_name(host: &Host) -> String {
    let read = |path| host.read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    let name = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname"));
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

fn rfc3339(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{}T{hours:02}:{minutes:02}:{:02}Z", Date::from_unix(seconds), seconds % 60)
}
