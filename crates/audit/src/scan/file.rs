//! One file: read, objects found, policies asked, suppressions applied.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use super::Settings;
use super::input::{Input, Source};
use super::ledger::Outcome;
use super::report::{Finding, Status};
use super::suppress::{Decision, Target, Waivers};
use super::terraform;
use crate::engine;
use crate::iac;
use crate::kube::{self, Object};
use crate::model::{self, Document, Mark, Syntax};
use crate::pipeline;
use crate::policy::PolicyIndex;

/// What came of one file.
#[derive(Debug)]
pub struct FileScan {
    /// For the ledger.
    pub outcome: Outcome,
    /// Objects that policies were asked about.
    pub objects: usize,
    /// Findings; their `file` is 0 until they are in a report.
    pub findings: Vec<Finding>,
    /// Which of the central suppressions were used.
    pub used_suppressions: Vec<usize>,
    /// What the author of the file should know: line and words.
    pub notes: Vec<(u32, String)>,
    /// Verdicts over the limit.
    left_out: usize,
    /// The first object that policies were not evaluated on to their end.
    too_large: Option<(Mark, Arc<str>)>,
    /// Verdicts that depend on what is not known: line and name of the resource, policies.
    unknown: Vec<(u32, Arc<str>, Vec<PolicyIndex>)>,
}

impl FileScan {
    pub(super) fn without_objects(outcome: Outcome) -> Self {
        Self {
            outcome,
            objects: 0,
            findings: Vec::new(),
            used_suppressions: Vec::new(),
            notes: Vec::new(),
            left_out: 0,
            too_large: None,
            unknown: Vec::new(),
        }
    }

    /// Says which verdicts there are none of: with passes each, else how many.
    pub(super) fn note_unknown(&mut self, settings: &Settings<'_>) {
        let verdicts: usize = self.unknown.iter().map(|(_, _, policies)| policies.len()).sum();
        let Some((line, ..)) = self.unknown.first() else { return };
        if !settings.passes {
            let words = format!(
                "{verdicts} verdicts about {} resources depend on values that are not in the files; --all names them",
                self.unknown.len()
            );
            self.notes.push((*line, words));
            return;
        }
        for (line, resource, policies) in &self.unknown {
            let ids: Vec<_> = policies.iter().map(|policy| settings.catalogue.get(*policy).id.as_str()).collect();
            let words =
                format!("{resource}: no verdict, it depends on values that are not in the files: {}", ids.join(", "));
            self.notes.push((*line, words));
        }
    }

    /// Takes in what another part of the scan found in the same file.
    pub(super) fn absorb(&mut self, other: Self) {
        self.objects += other.objects;
        self.findings.extend(other.findings);
        self.used_suppressions.extend(other.used_suppressions);
        self.notes.extend(other.notes);
        self.left_out += other.left_out;
        self.unknown.extend(other.unknown);
        if self.too_large.is_none() {
            self.too_large = other.too_large;
        }
    }

    /// The line of the ledger for a file that was read to `error` or its end.
    pub(super) fn conclude(&mut self, error: Option<&model::ModelError>, settings: &Settings<'_>) {
        let objects = self.objects;
        self.outcome = if let Some(error) = error {
            Outcome::Unparsed { at: Some(error.at), reason: error.what.clone(), objects }
        } else if self.left_out > 0 {
            let reason = format!("more than {} verdicts; {} are left out", settings.limits.findings, self.left_out);
            Outcome::Unparsed { at: None, reason, objects }
        } else if let Some((at, resource)) = self.too_large.take() {
            let reason = format!("{resource} is too large; not every policy was evaluated to its end");
            Outcome::Unparsed { at: Some(at), reason, objects }
        } else {
            Outcome::Scanned { objects, others: 0 }
        };
    }

    /// Not all of it was evaluated, since that would cost too much.
    pub(super) fn is_cut(&mut self) {
        let module = || (Mark { line: 1, column: 1 }, Arc::from("the module that it belongs to"));
        self.too_large.get_or_insert_with(module);
    }

    pub(super) fn unread(reason: String) -> Self {
        Self::without_objects(Outcome::Unparsed { at: None, reason, objects: 0 })
    }
}

pub(super) fn scan_input(input: &Input, settings: &Settings<'_>) -> FileScan {
    match read_input(input, settings) {
        Ok(text) => scan_with(&input.name, &text, settings, &|named| beside(&input.source, named, settings)),
        Err(scan) => *scan,
    }
}

/// A file that a scanned one names: next to it or below, as large as a scanned one at most.
fn beside(source: &Source, named: &str, settings: &Settings<'_>) -> Option<Document> {
    let Source::File(path) = source else { return None };
    let folder = path.parent()?.canonicalize().ok().or_else(|| Path::new(".").canonicalize().ok())?;
    let other = folder.join(named).canonicalize().ok()?;
    if !other.starts_with(&folder) {
        return None;
    }
    let input = Input { name: named.to_owned(), source: Source::File(other) };
    let text = read_input(&input, settings).ok()?;
    let mut first = None;
    model::read(&text, Syntax::Guess, &settings.limits, &mut |document| {
        first.get_or_insert(document);
    })
    .ok()?;
    first
}

/// The text of an input, or what became of it.
pub(crate) fn read_input(input: &Input, settings: &Settings<'_>) -> Result<String, Box<FileScan>> {
    let limit = settings.limits.file_bytes;
    let too_large = || Box::new(FileScan::unread(format!("larger than {} MiB", limit >> 20)));
    let bytes = match &input.source {
        Source::Skipped(reason) => {
            return Err(Box::new(FileScan::without_objects(Outcome::Skipped { reason: reason.clone() })));
        }
        Source::Unreadable(reason) => return Err(Box::new(FileScan::unread(reason.clone()))),
        Source::Rendered(rendering) => match rendering.run(limit) {
            Ok(bytes) => bytes,
            Err(why) => return Err(Box::new(FileScan::unread(why))),
        },
        Source::Bytes(bytes) if bytes.len() as u64 > limit => return Err(too_large()),
        Source::Bytes(bytes) => bytes.clone(),
        Source::File(path) => {
            let read = || {
                let file = std::fs::File::open(path)?;
                let size = file.metadata()?.len();
                if size > limit {
                    return Ok(None);
                }
                let mut bytes = Vec::with_capacity(size as usize);
                // The file may grow, and what is no regular file has no size.
                file.take(limit + 1).read_to_end(&mut bytes)?;
                Ok::<_, std::io::Error>((bytes.len() as u64 <= limit).then_some(bytes))
            };
            match read() {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Err(too_large()),
                Err(error) => return Err(Box::new(FileScan::unread(format!("cannot be read: {error}")))),
            }
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let bytes = error.as_bytes();
            let line = 1 + bytes[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            Err(Box::new(FileScan::unread(format!("not UTF-8 from line {line} on"))))
        }
    }
}

/// Scans a text as if it were a file of this name. The name decides the syntax (`.json`, `.yaml`, else by its first character)
/// and what central suppressions apply.
pub fn scan_text(name: &str, text: &str, settings: &Settings<'_>) -> FileScan {
    scan_with(name, text, settings, &|_| None)
}

fn scan_with(name: &str, text: &str, settings: &Settings<'_>, beside: &iac::Beside<'_>) -> FileScan {
    if terraform::is_terraform(name) {
        return terraform::scan_text(name, text, settings);
    }
    let syntax = match name.rsplit('.').next() {
        Some("yaml" | "yml") => Syntax::Guess,
        Some("json") => Syntax::Json,
        Some(_) | None if pipeline::is_dockerfile(name) => Syntax::Dockerfile,
        Some(_) | None => Syntax::Guess,
    };
    let waivers = Waivers::in_comments(text);
    let mut scan = FileScan::without_objects(Outcome::Scanned { objects: 0, others: 0 });
    let (mut others, mut number) = (0, 0);
    let result = model::read(text, syntax, &settings.limits, &mut |document| {
        let found = match iac::recognised(name, &document, beside) {
            Some(stack) => scan_stack(name, number, &stack, &waivers, settings, &mut scan),
            None => scan_document(name, number, &document, &waivers, settings, &mut scan),
        };
        others += usize::from(!found && document.root().is_some());
        number += 1;
    });
    scan.notes = waivers.problems;
    scan.note_unknown(settings);
    let objects = scan.objects;
    scan.outcome = match result {
        Ok(()) if scan.left_out > 0 => {
            let reason = format!("more than {} verdicts; {} are left out", settings.limits.findings, scan.left_out);
            Outcome::Unparsed { at: None, reason, objects }
        }
        Ok(()) if scan.too_large.is_some() => {
            let (at, resource) = scan.too_large.take().expect("it was just looked at");
            let reason = format!("{resource} is too large; not every policy was evaluated to its end");
            Outcome::Unparsed { at: Some(at), reason, objects }
        }
        Ok(()) if objects > 0 => Outcome::Scanned { objects, others },
        Ok(()) => Outcome::Skipped { reason: "nothing in it that a policy is about".to_owned() },
        Err(error) => {
            let template = !error.over_limit && text.contains("{{");
            let hint = if template {
                "; it looks like a template: render it first (--render, or `helm template`) and scan that"
            } else {
                ""
            };
            Outcome::Unparsed { at: Some(error.at), reason: format!("{}{hint}", error.what), objects }
        }
    };
    scan
}

/// The resources of a template or plan; true, as it is one.
fn scan_stack(
    name: &str,
    number: u32,
    stack: &iac::Stack,
    waivers: &Waivers,
    settings: &Settings<'_>,
    scan: &mut FileScan,
) -> bool {
    for (_, object) in stack.objects() {
        scan.objects += 1;
        scan_object(name, number, &object, waivers, settings, scan);
    }
    if stack.cut && scan.too_large.is_none() {
        scan.too_large = Some((Mark { line: 1, column: 1 }, Arc::from("the template")));
    }
    true
}

fn scan_document(
    name: &str,
    number: u32,
    document: &Document,
    waivers: &Waivers,
    settings: &Settings<'_>,
    scan: &mut FileScan,
) -> bool {
    let mut objects = kube::objects(document);
    objects.extend(pipeline::recognised(name, document));
    for object in &objects {
        scan.objects += 1;
        scan_object(name, number, object, waivers, settings, scan);
    }
    !objects.is_empty()
}

pub(super) fn scan_object(
    name: &str,
    number: u32,
    object: &Object<'_>,
    waivers: &Waivers,
    settings: &Settings<'_>,
    scan: &mut FileScan,
) {
    let resource: Arc<str> = Arc::from(object.label());
    let mut around = None;
    let limit = settings.limits.findings;
    let result = engine::evaluate(settings.catalogue, object, settings.passes, &mut |verdict| {
        if verdict.unknown {
            let line = object.document.at(object.node).line;
            match scan.unknown.last_mut() {
                Some((_, last, policies)) if Arc::ptr_eq(last, &resource) => policies.push(verdict.policy),
                _ => scan.unknown.push((line, resource.clone(), vec![verdict.policy])),
            }
            return;
        }
        if scan.findings.len() == limit {
            scan.left_out += 1;
            return;
        }
        let container = verdict.container.and_then(|index| Some(&object.pod.as_ref()?.containers[index]));
        let mut finding = Finding {
            policy: verdict.policy,
            file: 0,
            document: number,
            resource: resource.clone(),
            container: container.map(|container| Box::from(container.name)),
            at: verdict.at,
            json_path: verdict.json_path.into_boxed_str(),
            status: if verdict.failed { Status::Failed } else { Status::Passed },
            expired: None,
        };
        if verdict.failed {
            let around = around.get_or_insert_with(|| waivers.of_object(object));
            let target = Target {
                policy: settings.catalogue.get(verdict.policy),
                file: name,
                resource: &resource,
                container: finding.container.as_deref(),
                line: verdict.at.line,
                item_lines: verdict.lines,
            };
            let central = settings.suppressions.decide(&target, settings.today, &mut scan.used_suppressions);
            match around.decide(&target, settings.today).or(central) {
                Decision::None => {}
                Decision::Suppressed(suppressed) => finding.status = Status::Suppressed(Box::new(suppressed)),
                Decision::Expired(words) => finding.expired = Some(words.into_boxed_str()),
            }
        }
        scan.findings.push(finding);
    });
    if result.is_err() && scan.too_large.is_none() {
        scan.too_large = Some((object.document.at(object.node), resource));
    }
}
