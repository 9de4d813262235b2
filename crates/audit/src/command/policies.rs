//! Policies of users: read from files and folders, tested by their examples, and ours written out for a cluster.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::CommandError;
use crate::model::Limits;
use crate::policy::users::{UserFile, taken};
use crate::policy::{Catalogue, Policy, Want};
use crate::scan::input::{self, Selection, Source};
use crate::scan::suppress::{Date, Suppressions};
use crate::scan::{self, Settings, Status};
use crate::vap;

/// A policy is a page or two; what is larger is something else.
const MAX_BYTES: u64 = 1 << 20;

/// The files with policies at these paths.
///
/// # Errors
/// All mistakes of all files, a line each.
pub fn read(paths: &[PathBuf]) -> Result<Vec<UserFile>, CommandError> {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    let mut known: BTreeSet<String> = Catalogue::built_in().policies().iter().map(|policy| policy.id.clone()).collect();
    for input in input::find(paths, &Selection::default()) {
        let path = match input.source {
            Source::File(path) if is_yaml(&path) => path,
            Source::Unreadable(why) => {
                problems.push(format!("{}: {why}", input.name));
                continue;
            }
            Source::File(_) | Source::Bytes(_) | Source::Rendered(_) | Source::Skipped(_) => continue,
        };
        match read_file(&path, &input.name) {
            Ok(file) => {
                let twice = file.policies.iter().find(|policy| !known.insert(policy.id.clone()));
                problems.extend(twice.map(|policy| taken(&file.file, &policy.id).to_string()));
                files.push(file);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() && files.is_empty() {
        problems.push("there are no policies: expected files that end in .yaml or .yml".to_owned());
    }
    if problems.is_empty() { Ok(files) } else { Err(CommandError::Options(problems.join("\n"))) }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn read_file(path: &Path, name: &str) -> Result<UserFile, String> {
    let size = fs::metadata(path).map_err(|error| format!("{name}: {error}"))?.len();
    if size > MAX_BYTES {
        return Err(format!("{name}: a policy has at most {MAX_BYTES} bytes, this file has {size}"));
    }
    let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    UserFile::parse(name, &text).map_err(|error| error.to_string())
}

/// Runs the examples of users' policies. The words say what came of them, and whether all came to what they should.
///
/// # Errors
/// A policy that cannot be used.
pub fn test(paths: &[PathBuf], today: Date) -> Result<(String, bool), CommandError> {
    let mut out = String::new();
    let (mut wrong, mut run) = (0, 0);
    for file in read(paths)? {
        let ids = file.policies.iter().map(|policy| policy.id.as_str()).collect::<Vec<_>>().join(", ");
        let Some(examples) = &file.examples else {
            let _ = writeln!(out, "{}: {ids}: no examples", file.file);
            continue;
        };
        let mut bad = Vec::new();
        for example in &examples.all {
            run += 1;
            let came = fails(&file.policies, &example.manifest, today);
            let should = example.want == Want::Fail;
            match came {
                Ok(failed) if failed == should => {}
                Ok(_) => bad.push(format!("{} {}", example.label, if should { "does not fail" } else { "fails" })),
                Err(why) => bad.push(format!("{} cannot be read: {why}", example.label)),
            }
        }
        wrong += bad.len();
        let words = if bad.is_empty() { format!("{} examples are right", examples.all.len()) } else { bad.join(", ") };
        let _ = writeln!(out, "{}: {ids}: {words}", file.file);
    }
    let _ = writeln!(out, "{run} examples, {wrong} wrong");
    Ok((out, wrong == 0))
}

/// Whether one of the policies fails on the manifest.
fn fails(policies: &[Policy], manifest: &str, today: Date) -> Result<bool, String> {
    let catalogue = Catalogue::new(policies.to_vec()).map_err(|error| error.to_string())?;
    let suppressions = Suppressions::default();
    let limits = Limits::default();
    let settings =
        Settings { catalogue: &catalogue, limits, passes: true, suppressions: &suppressions, today, threads: 1 };
    let starts = ["resource \"", "data \"", "provider \"", "variable \"", "module \"", "locals {"];
    let is_dockerfile = policies.iter().all(|policy| policy.kinds == [crate::pipeline::DOCKERFILE]);
    let name = if is_dockerfile {
        "Dockerfile"
    } else if starts.iter().any(|start| manifest.starts_with(start)) {
        "example.tf"
    } else {
        "example.yaml"
    };
    let scan = scan::scan_text(name, manifest, &settings);
    match &scan.outcome {
        scan::Outcome::Unparsed { .. } => Err(scan.outcome.to_string()),
        _ => Ok(scan.findings.iter().any(|finding| finding.status == Status::Failed)),
    }
}

/// The policies of these ids or aliases as `ValidatingAdmissionPolicy`, as YAML.
///
/// # Errors
/// One of them is not there, or has no such form.
pub fn export(catalogue: &Catalogue, names: &[String]) -> Result<String, CommandError> {
    let mut parts = Vec::new();
    for name in names {
        let mut found = catalogue.called(name).peekable();
        if found.peek().is_none() {
            return Err(CommandError::Options(format!(
                "no policy is called `{name}`; `ringfort audit list` shows them"
            )));
        }
        for policy in found {
            let text = vap::export(policy)
                .map_err(|why| CommandError::Options(format!("{} cannot be exported: {why}", policy.id)))?;
            parts.push(text);
        }
    }
    Ok(parts.join("---\n"))
}
