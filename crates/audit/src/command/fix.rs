//! `--fix`: files are mended in place, or shown as a diff; what comes of standard input goes to standard output.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{CLEAN, COULD_NOT_RUN, CommandError, FINDINGS, Options, chosen, suppressions};
use crate::edit::diff;
use crate::fix::{Mended, mend};
use crate::policy::Severity;
use crate::scan::Settings;
use crate::scan::input::{Input, Source};
use crate::view::kubeaudit;

/// What becomes of the mended text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixMode {
    /// It is written to the file.
    Write,
    /// Only the differences are shown.
    DryRun,
}

pub(super) fn fix(
    options: &Options,
    mode: FixMode,
    inputs: Vec<Input>,
    stdout: &mut dyn Write,
) -> Result<u8, CommandError> {
    let catalogue = chosen(options)?;
    let suppressions = suppressions(options)?;
    let settings = Settings {
        catalogue: &catalogue,
        limits: options.limits,
        passes: false,
        suppressions: &suppressions,
        today: options.today,
        threads: 1,
    };
    let done = each(options, mode, inputs, stdout, &mut |name, text| mend(name, text, &settings))?;
    let is_bad = done.worst.is_some_and(|worst| worst >= options.fail_on);
    let code = if is_bad && !options.soft_fail { FINDINGS } else { CLEAN };
    Ok(if done.unread && (options.strict || done.files == 0) { COULD_NOT_RUN } else { code })
}

pub(super) fn autofix(
    options: &Options,
    view: &kubeaudit::Config,
    exit_code: u8,
    mode: FixMode,
    inputs: Vec<Input>,
    stdout: &mut dyn Write,
) -> Result<u8, CommandError> {
    let done =
        each(options, mode, inputs, stdout, &mut |name, text| kubeaudit::mend(name, text, &options.limits, view))?;
    Ok(if done.unread && done.files == 0 {
        COULD_NOT_RUN
    } else if done.left > 0 {
        exit_code
    } else {
        CLEAN
    })
}

#[derive(Default)]
struct Done {
    files: usize,
    left: usize,
    worst: Option<Severity>,
    unread: bool,
}

fn each(
    options: &Options,
    mode: FixMode,
    inputs: Vec<Input>,
    stdout: &mut dyn Write,
    mend: &mut dyn FnMut(&str, &str) -> Mended,
) -> Result<Done, CommandError> {
    let mut done = Done::default();
    let (mut gone, mut changed) = (0, 0);
    let mut notes = Vec::new();
    for input in inputs {
        let (bytes, path) = match input.source {
            Source::Skipped(_) | Source::Rendered(_) => continue,
            Source::Unreadable(why) => {
                notes.push(format!("{}: {why}", input.name));
                done.unread = true;
                continue;
            }
            Source::Bytes(bytes) => (bytes, None),
            Source::File(path) => match fs::read(&path) {
                Ok(bytes) => (bytes, Some(path)),
                Err(error) => {
                    notes.push(format!("{}: cannot be read: {error}", input.name));
                    done.unread = true;
                    continue;
                }
            },
        };
        let text = match String::from_utf8(bytes) {
            Ok(text) if text.len() as u64 <= options.limits.file_bytes => text,
            Ok(_) | Err(_) => {
                notes.push(format!("{}: too large, or not UTF-8; left alone", input.name));
                done.unread = true;
                continue;
            }
        };
        let mended = mend(&input.name, &text);
        done.files += 1;
        done.left += mended.left;
        done.worst = done.worst.max(mended.worst);
        gone += mended.gone;
        notes.extend(mended.refused.iter().cloned());
        let is_new = mended.text != text;
        changed += usize::from(is_new);
        match (mode, path) {
            (FixMode::DryRun, _) => stdout.write_all(diff::unified(&input.name, &text, &mended.text).as_bytes())?,
            (FixMode::Write, None) => stdout.write_all(mended.text.as_bytes())?,
            (FixMode::Write, Some(path)) if is_new => {
                replace(&path, &mended.text)
                    .map_err(|error| CommandError::File { path: path.display().to_string(), error })?;
            }
            (FixMode::Write, Some(_)) => {}
        }
    }
    let word = if mode == FixMode::DryRun { "would be mended" } else { "mended" };
    notes.push(format!("{gone} findings {word} in {changed} files, {} left", done.left));
    for note in notes {
        (options.tell)(&note);
    }
    Ok(done)
}

/// The file is the old one or the new one, never half of it. Of a link its target is replaced.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = fs::canonicalize(path)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".ringfort-fix");
    let beside: PathBuf = path.with_file_name(name);
    let written = fs::write(&beside, text)
        .and_then(|()| fs::set_permissions(&beside, fs::metadata(&path)?.permissions()))
        .and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}
