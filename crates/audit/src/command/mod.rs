//! What the command line does, without the command line: options in, reports out, an exit code back. The program that
//! wraps this only parses arguments.

mod baseline;
mod catalogue;
mod cis;
mod fix;
pub mod policies;
mod progress;
mod reports;
mod watch;

use std::fs;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

pub use baseline::Baseline;
pub use catalogue::{explain, list, markdown, pages};
pub use cis::{CisOptions, cis};
pub use fix::FixMode;
use progress::Progress;
use reports::{Reports, UntilGone};
pub use watch::watch;

use crate::cluster::{self, ClusterError, ClusterOptions};
use crate::model::{self, Limits, ModelError, Syntax};
use crate::output::Format;
use crate::pipeline;
use crate::policy::{Catalogue, Severity};
use crate::scan::input::{self, Input, Selection, Source};
use crate::scan::suppress::{CENTRAL_FILE, Date, Suppressions};
use crate::scan::{Fingerprints, Report, Settings, is_terraform, scan, scan_and_tell};
use crate::view::kccss::{self, Kccss, RuleSet};
use crate::view::kubeaudit;
use crate::view::kubesec::{self, Kubesec};
use crate::view::mkit;

/// A way to look at the files that another tool has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// kubesec's points.
    Kubesec,
    /// The risk of workloads by a rule set of KCCSS' arithmetic.
    Kccss(RuleSet),
    /// kubeaudit's auditors.
    Kubeaudit(Kubeaudit),
    /// Controls passed and failed.
    Mkit,
}

/// How kubeaudit looks at the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubeaudit {
    /// Formats and where to; no file: standard output. Empty: pretty.
    pub outputs: Vec<(kubeaudit::Style, Option<PathBuf>)>,
    /// The mildest level that is reported.
    pub least: kubeaudit::Level,
    /// The exit code where there is an error.
    pub exit_code: u8,
    /// Which auditors are asked.
    pub config: kubeaudit::Config,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Options {
    /// Files and folders; `-` is standard input.
    pub paths: Vec<PathBuf>,
    /// Objects of a live cluster too.
    pub cluster: Option<ClusterOptions>,
    /// Which files of folders.
    pub selection: Selection,
    /// Formats and where to; no file: standard output. Empty: a table.
    pub outputs: Vec<(Format, Option<PathBuf>)>,
    /// Report passes too.
    pub all: bool,
    /// The mildest severity that makes the exit code 1.
    pub fail_on: Severity,
    /// Findings do not make the exit code 1.
    pub soft_fail: bool,
    /// What could not be read makes the exit code 2.
    pub strict: bool,
    /// Findings of this file are known.
    pub baseline: Option<PathBuf>,
    /// Write all findings to this file, as known from now on.
    pub write_baseline: Option<PathBuf>,
    /// The central file of suppressions; without it [`CENTRAL_FILE`], if there is one.
    pub suppressions: Option<PathBuf>,
    /// Files and folders with policies of the user's own.
    pub policies: Vec<PathBuf>,
    /// Ids or aliases: only these policies.
    pub only: Vec<String>,
    /// Ids or aliases: not these policies.
    pub skip: Vec<String>,
    /// Only policies at or over this severity.
    pub min_severity: Severity,
    /// How much of a file is read.
    pub limits: Limits,
    /// Threads; 0: as many as there are cores.
    pub threads: usize,
    /// As another tool would.
    pub view: Option<View>,
    /// Mend what can be mended, instead of a report.
    pub fix: Option<FixMode>,
    /// Is told what `--fix` did, line by line; standard output may hold the mended text.
    pub tell: fn(&str),
    /// The time in reports that have one (RFC 3339).
    pub time: String,
    /// Colours on standard output.
    pub colour: bool,
    /// Places in files are links on standard output (OSC 8).
    pub links: bool,
    /// How far a long scan is, on standard error.
    pub progress: bool,
    /// The day for expiry dates.
    pub today: Date,
}

impl Options {
    /// The defaults of the command line for these paths.
    pub fn new(paths: Vec<PathBuf>, today: Date) -> Self {
        Self {
            paths,
            cluster: None,
            selection: Selection::default(),
            outputs: Vec::new(),
            all: false,
            fail_on: Severity::Info,
            soft_fail: false,
            strict: false,
            baseline: None,
            write_baseline: None,
            suppressions: None,
            policies: Vec::new(),
            only: Vec::new(),
            skip: Vec::new(),
            min_severity: Severity::Info,
            limits: Limits::default(),
            threads: 0,
            view: None,
            fix: None,
            tell: |_| {},
            time: format!("{today}T00:00:00Z"),
            colour: false,
            links: false,
            progress: false,
            today,
        }
    }
}

/// Why nothing was scanned, in words for the user.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A file of ours cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The cluster cannot be asked.
    #[error("{0}")]
    Cluster(#[from] ClusterError),
    /// Standard output went away.
    #[error("the report cannot be written: {0}")]
    Output(#[from] io::Error),
    /// The options contradict each other or name what is not there.
    #[error("{0}")]
    Options(String),
}

/// Nothing at or over the severity to fail on.
pub const CLEAN: u8 = 0;
/// Findings.
pub const FINDINGS: u8 = 1;
/// Not everything that should have been looked at could be.
pub const COULD_NOT_RUN: u8 = 2;

/// Scans, writes the reports, and says which exit code that makes.
///
/// # Errors
/// Where nothing could be scanned or written; the exit code is [`COULD_NOT_RUN`].
pub fn run(options: &Options, stdin: &mut dyn io::Read, stdout: &mut dyn Write) -> Result<u8, CommandError> {
    if options.paths.is_empty() && options.cluster.is_none() {
        return Err(CommandError::Options("say what to scan: a file, a folder, or `-` for standard input".to_owned()));
    }
    if (options.cluster.is_some() || options.selection.render) && options.fix.is_some() {
        return Err(CommandError::Options("--fix mends files, neither a cluster nor what is rendered".to_owned()));
    }
    if options.outputs.iter().filter(|(_, file)| file.is_none()).count() > 1 {
        return Err(CommandError::Options(
            "only one format can go to standard output; give the others a file: -o json=report.json".to_owned(),
        ));
    }
    let inputs = inputs(options, stdin)?;
    match (&options.view, options.fix) {
        (Some(View::Kubeaudit(view)), Some(mode)) => {
            return fix::autofix(options, &view.config, view.exit_code, mode, inputs, stdout);
        }
        (Some(_), Some(_)) => return Err(CommandError::Options("this view mends nothing; leave out --fix".to_owned())),
        (None, Some(mode)) => return fix::fix(options, mode, inputs, stdout),
        (_, None) => {}
    }
    match &options.view {
        Some(View::Kubesec) => view_kubesec(options, inputs, stdout),
        Some(View::Kccss(set)) => view_kccss(options, *set, inputs, stdout),
        Some(View::Kubeaudit(view)) => view_kubeaudit(options, view, inputs, stdout),
        Some(View::Mkit) => view_mkit(options, &inputs, stdout),
        None => audit(options, &inputs, stdout),
    }
}

fn inputs(options: &Options, stdin: &mut dyn io::Read) -> Result<Vec<Input>, CommandError> {
    let mut inputs = match &options.cluster {
        Some(options) => cluster::read(options)?,
        None => Vec::new(),
    };
    for path in &options.paths {
        if path.as_os_str() == "-" {
            let mut bytes = Vec::new();
            stdin.take(options.limits.file_bytes + 1).read_to_end(&mut bytes)?;
            inputs.push(Input { name: "STDIN".to_owned(), source: Source::Bytes(bytes) });
            continue;
        }
        if let Err(error) = fs::metadata(path) {
            return Err(CommandError::File { path: path.display().to_string(), error });
        }
        inputs.extend(input::find(std::slice::from_ref(path), &options.selection));
    }
    Ok(inputs)
}

fn audit(options: &Options, inputs: &[Input], stdout: &mut dyn Write) -> Result<u8, CommandError> {
    let catalogue = chosen(options)?;
    let suppressions = suppressions(options)?;
    let settings = Settings {
        catalogue: &catalogue,
        limits: options.limits,
        passes: options.all,
        suppressions: &suppressions,
        today: options.today,
        threads: options.threads,
    };
    let baseline = read_baseline(options)?;
    #[allow(clippy::disallowed_methods)] // The thin edge: the time is stamped here.
    let now = Instant::now;
    let mut stderr = io::stderr();
    let mut progress = options.progress.then(|| Progress::new(&mut stderr, inputs.len(), now()));
    let mut reports = Reports::open(options, stdout)?;
    let mut known = Fingerprints::default();
    let mut judged = 0;
    let mut report = scan_and_tell(inputs, &settings, &mut |report| {
        if let Some(baseline) = &baseline {
            judged = baseline.apply_from(judged, &mut known, report, &catalogue);
        }
        // What becomes the baseline is only known at the end.
        if options.write_baseline.is_none() {
            if let Some(progress) = &mut progress {
                progress.away();
            }
            reports.more(report, &catalogue);
        }
        if let Some(progress) = &mut progress {
            progress.draw(report.ledger.entries.len(), || report.failures().count(), now());
        }
    });
    if let Some(progress) = &mut progress {
        progress.away();
    }
    let unused: Vec<_> = suppressions
        .unused(&report.used_suppressions)
        .map(|place| format!("{place}: this suppression applies to nothing"))
        .collect();
    report.notes.extend(unused);
    if let Some(path) = &options.write_baseline {
        let baseline = Baseline::of(&report, &catalogue);
        write_file(path, &mut |out| out.write_all(baseline.to_text().as_bytes()))?;
        baseline.apply(&mut report, &catalogue);
    }
    reports.end(&report, &catalogue)?;
    Ok(exit_code(options, &report, &catalogue))
}

fn exit_code(options: &Options, report: &Report, catalogue: &Catalogue) -> u8 {
    let unreadable = report.ledger.counts().0 == 0 && report.ledger.gaps().next().is_some();
    if unreadable || (options.strict && report.ledger.gaps().next().is_some()) {
        return COULD_NOT_RUN;
    }
    if !options.soft_fail && report.counts(catalogue).at_least(options.fail_on) > 0 { FINDINGS } else { CLEAN }
}

fn read_baseline(options: &Options) -> Result<Option<Baseline>, CommandError> {
    let Some(path) = &options.baseline else { return Ok(None) };
    let baseline = Baseline::parse(&read(path)?);
    baseline.map(Some).map_err(|error| CommandError::Options(format!("{}: {error}", path.display())))
}

fn chosen(options: &Options) -> Result<Catalogue, CommandError> {
    let mut catalogue = Catalogue::built_in();
    if !options.policies.is_empty() {
        let own = policies::read(&options.policies)?;
        let all = catalogue.policies().iter().cloned().chain(own.into_iter().flat_map(|file| file.policies));
        catalogue = Catalogue::new(all.collect()).map_err(|error| CommandError::Options(error.to_string()))?;
    }
    for name in options.only.iter().chain(&options.skip) {
        if catalogue.called(name).next().is_none() {
            return Err(CommandError::Options(format!(
                "no policy is called `{name}`; `ringfort audit list` shows them"
            )));
        }
    }
    let called = |names: &[String], policy: &crate::policy::Policy| names.iter().any(|name| policy.is_called(name));
    Ok(catalogue.filtered(|policy| {
        (options.only.is_empty() || called(&options.only, policy))
            && !called(&options.skip, policy)
            && policy.is_at_least(options.min_severity)
    }))
}

fn suppressions(options: &Options) -> Result<Suppressions, CommandError> {
    let path = match &options.suppressions {
        Some(path) => path.clone(),
        None if Path::new(CENTRAL_FILE).exists() => PathBuf::from(CENTRAL_FILE),
        None => return Ok(Suppressions::default()),
    };
    let text = read(&path)?;
    Suppressions::parse(&path.display().to_string(), &text).map_err(|error| CommandError::Options(error.to_string()))
}

fn view_kubesec(options: &Options, inputs: Vec<Input>, stdout: &mut dyn Write) -> Result<u8, CommandError> {
    let kubesec = Kubesec::new();
    let mut reports = Vec::new();
    read_all(options, inputs, &mut |name, text| {
        reports.extend(kubesec.judge(name, text, &options.limits)?);
        Ok(())
    })?;
    if reports.is_empty() {
        return Err(CommandError::Options("invalid input: no document in it".to_owned()));
    }
    write_json(options, stdout, &mut |out| kubesec::write(&reports, out))?;
    Ok(if kubesec::is_low(&reports) { 2 } else { CLEAN })
}

fn view_kccss(options: &Options, set: RuleSet, inputs: Vec<Input>, stdout: &mut dyn Write) -> Result<u8, CommandError> {
    let mut documents = Vec::new();
    read_all(options, inputs, &mut |_, text| {
        model::read(text, Syntax::Guess, &options.limits, &mut |document| documents.push(document))
    })?;
    let workloads = Kccss::new(set).judge(&documents);
    write_json(options, stdout, &mut |out| kccss::write(&workloads, out))?;
    Ok(CLEAN)
}

fn view_kubeaudit(
    options: &Options,
    view: &Kubeaudit,
    inputs: Vec<Input>,
    stdout: &mut dyn Write,
) -> Result<u8, CommandError> {
    let mut audited = Vec::new();
    // What is in a cluster belongs together, whatever list it came in.
    let mut together = Vec::new();
    read_all(options, inputs, &mut |name, text| {
        let mut documents = Vec::new();
        model::read(text, Syntax::Guess, &options.limits, &mut |document| documents.push(document))?;
        if name.starts_with(cluster::SCHEME) {
            together.extend(documents);
        } else {
            audited.extend(kubeaudit::audit(name, &documents, &view.config));
        }
        Ok(())
    })?;
    if !together.is_empty() {
        audited.extend(kubeaudit::audit("cluster", &together, &view.config));
    }
    let pretty = [(kubeaudit::Style::Pretty, None)];
    for (style, file) in if view.outputs.is_empty() { &pretty[..] } else { &view.outputs } {
        let mut write = |out: &mut dyn Write| kubeaudit::write(*style, &audited, view.least, &options.time, out);
        match file {
            Some(path) => write_file(path, &mut write)?,
            None => write_to(stdout, &mut write)?,
        }
    }
    Ok(if kubeaudit::has_errors(&audited) { view.exit_code } else { CLEAN })
}

fn view_mkit(options: &Options, inputs: &[Input], stdout: &mut dyn Write) -> Result<u8, CommandError> {
    only_json(options)?;
    let catalogue = mkit::policies(chosen(options)?);
    let suppressions = suppressions(options)?;
    let settings = Settings {
        catalogue: &catalogue,
        limits: options.limits,
        passes: true,
        suppressions: &suppressions,
        today: options.today,
        threads: options.threads,
    };
    let report = scan(inputs, &settings);
    let sets = mkit::sets();
    let controls = mkit::judge(&report, &catalogue, &sets);
    write_json(options, stdout, &mut |out| mkit::write(&controls, &sets, &report, out))?;
    Ok(exit_code(options, &report, &catalogue))
}

fn only_json(options: &Options) -> Result<(), CommandError> {
    if options.outputs.iter().all(|(format, _)| *format == Format::Json) {
        return Ok(());
    }
    Err(CommandError::Options("a view is written as JSON only: -o json".to_owned()))
}

/// Reads every input for a view; the first that cannot be read ends it, since a view has no ledger to say so.
fn read_all(
    options: &Options,
    inputs: Vec<Input>,
    each: &mut dyn FnMut(&str, &str) -> Result<(), ModelError>,
) -> Result<(), CommandError> {
    only_json(options)?;
    for input in inputs {
        // Not Kubernetes', as is known by its name.
        if is_terraform(&input.name) || pipeline::is_dockerfile(&input.name) {
            continue;
        }
        let bytes = match input.source {
            Source::Skipped(_) => continue,
            // What may not be listed in a cluster is told; the rest is judged.
            Source::Unreadable(why) if options.cluster.is_some() => {
                (options.tell)(&format!("not read: {}: {why}", input.name));
                continue;
            }
            Source::Unreadable(why) => return Err(CommandError::Options(format!("{}: {why}", input.name))),
            Source::Bytes(bytes) => bytes,
            Source::Rendered(rendering) => {
                let rendered = rendering.run(options.limits.file_bytes);
                rendered.map_err(|why| CommandError::Options(format!("{}: {why}", input.name)))?
            }
            Source::File(path) => {
                let limit = options.limits.file_bytes + 1;
                let read = || {
                    let mut bytes = Vec::new();
                    fs::File::open(&path)?.take(limit).read_to_end(&mut bytes).map(|_| bytes)
                };
                read().map_err(|error| CommandError::File { path: path.display().to_string(), error })?
            }
        };
        if bytes.len() as u64 > options.limits.file_bytes {
            let most = options.limits.file_bytes >> 20;
            return Err(CommandError::Options(format!("{}: larger than {most} MiB", input.name)));
        }
        each(&input.name, &String::from_utf8_lossy(&bytes))
            .map_err(|error| CommandError::Options(format!("{}:{error}", input.name)))?;
    }
    Ok(())
}

fn write_json(
    options: &Options,
    stdout: &mut dyn Write,
    write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> Result<(), CommandError> {
    let standard_output = [(Format::Json, None)];
    for (_, file) in if options.outputs.is_empty() { &standard_output[..] } else { &options.outputs } {
        match file {
            Some(path) => write_file(path, write)?,
            None => write_to(stdout, write)?,
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, CommandError> {
    fs::read_to_string(path).map_err(|error| CommandError::File { path: path.display().to_string(), error })
}

fn write_to(out: &mut dyn Write, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, UntilGone { out, gone: false });
    write(&mut out)?;
    out.flush()
}

fn write_file(path: &Path, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> Result<(), CommandError> {
    let done = fs::File::create(path).and_then(|file| {
        let mut out = BufWriter::with_capacity(1 << 16, file);
        write(&mut out)?;
        out.flush()
    });
    done.map_err(|error| CommandError::File { path: path.display().to_string(), error })
}
