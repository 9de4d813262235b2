//! Terraform's files: read one by one, judged module by module.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustc_hash::FxHashMap;

use super::Settings;
use super::file::{FileScan, read_input, scan_object};
use super::input::Input;
use super::ledger::Outcome;
use super::suppress::Waivers;
use crate::iac::hcl;
use crate::iac::terraform::{File, Tree};
use crate::model::ModelError;

/// Whether a file is read as Terraform's, by its name.
pub(crate) fn is_terraform(name: &str) -> bool {
    let name = name.strip_suffix(".json").unwrap_or(name);
    [".tf", ".tofu", ".tfvars"].iter().any(|end| name.ends_with(end))
}

/// What is known of a file beside its contents.
struct Known {
    waivers: Waivers,
    error: Option<ModelError>,
}

type Read = (usize, Result<(File, Known), Box<FileScan>>);

/// One text alone, a module of one file.
pub(super) fn scan_text(name: &str, text: &str, settings: &Settings<'_>) -> FileScan {
    let (file, known) = parse(name, 0, text, settings);
    let mut known = FxHashMap::from_iter([(0, (name, known))]);
    let files = [file];
    let tree = Tree::new(&files);
    let mut whole = FileScan::without_objects(Outcome::Scanned { objects: 0, others: 0 });
    for root in tree.roots() {
        for (_, scan) in judge(&tree.stack(root), &known, settings) {
            whole.absorb(scan);
        }
    }
    if let Some((_, known)) = known.remove(&0) {
        finish(&mut whole, known, settings);
    }
    whole
}

/// All of Terraform's files among the inputs, each with its index.
pub(super) fn scan(inputs: &[Input], settings: &Settings<'_>, threads: usize) -> Vec<(usize, FileScan)> {
    let wanted: Vec<usize> = (0..inputs.len()).filter(|index| is_terraform(&inputs[*index].name)).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut read: Vec<Read> = in_parallel(wanted.len(), threads, &|index| {
        let index = wanted[index];
        let input = &inputs[index];
        let parsed = read_input(input, settings).map(|text| parse(&input.name, index, &text, settings));
        (index, parsed)
    });
    read.sort_by_key(|(index, _)| *index);
    let mut scans: FxHashMap<usize, FileScan> = FxHashMap::default();
    let mut files = Vec::new();
    let mut known = FxHashMap::default();
    for (index, result) in read {
        match result {
            Ok((file, about)) => {
                files.push(file);
                known.insert(index, (inputs[index].name.as_str(), about));
                scans.insert(index, FileScan::without_objects(Outcome::Scanned { objects: 0, others: 0 }));
            }
            Err(scan) => {
                scans.insert(index, *scan);
            }
        }
    }
    let tree = Tree::new(&files);
    let roots = tree.roots();
    let mut parts =
        in_parallel(roots.len(), threads, &|index| (index, judge(&tree.stack(roots[index]), &known, settings)));
    // Whichever thread was faster.
    parts.sort_by_key(|(index, _)| *index);
    for (index, scan) in parts.into_iter().flat_map(|(_, parts)| parts) {
        if let Some(whole) = scans.get_mut(&index) {
            whole.absorb(scan);
        }
    }
    for (index, (_, about)) in known {
        if let Some(whole) = scans.get_mut(&index) {
            finish(whole, about, settings);
        }
    }
    scans.into_iter().collect()
}

fn parse(name: &str, input: usize, text: &str, settings: &Settings<'_>) -> (File, Known) {
    let parsed = if name.ends_with(".tfvars.json") {
        hcl::parse_json_values(text, &settings.limits)
    } else if name.ends_with(".json") {
        hcl::parse_json(text, &settings.limits)
    } else {
        hcl::parse(text)
    };
    let (folder, short) = name.rsplit_once('/').unwrap_or(("", name));
    let folder = folder.split('/').filter(|segment| *segment != ".").collect::<Vec<_>>().join("/");
    let file = File { folder, name: short.to_owned(), body: parsed.body, input };
    (file, Known { waivers: Waivers::in_comments(text), error: parsed.error })
}

fn finish(scan: &mut FileScan, known: Known, settings: &Settings<'_>) {
    scan.notes.extend(known.waivers.problems);
    scan.note_unknown(settings);
    scan.conclude(known.error.as_ref(), settings);
}

/// What policies say about a stack, by file.
fn judge(
    stack: &crate::iac::Stack,
    known: &FxHashMap<usize, (&str, Known)>,
    settings: &Settings<'_>,
) -> Vec<(usize, FileScan)> {
    let mut scans: Vec<(usize, FileScan)> = Vec::new();
    let mut at: FxHashMap<usize, usize> = FxHashMap::default();
    for (file, object) in stack.objects() {
        let Some((name, about)) = known.get(&file) else { continue };
        let place = *at.entry(file).or_insert_with(|| {
            scans.push((file, FileScan::without_objects(Outcome::Scanned { objects: 0, others: 0 })));
            scans.len() - 1
        });
        let scan = &mut scans[place].1;
        scan.objects += 1;
        scan_object(name, 0, &object, &about.waivers, settings, scan);
    }
    if stack.cut {
        for file in stack.files.iter().filter(|file| !at.contains_key(*file)) {
            scans.push((*file, FileScan::without_objects(Outcome::Scanned { objects: 0, others: 0 })));
        }
        scans.iter_mut().for_each(|(_, scan)| scan.is_cut());
    }
    scans
}

/// The results for 0..count, in any order.
fn in_parallel<T: Send>(count: usize, threads: usize, make: &(dyn Fn(usize) -> T + Sync)) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(count));
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            let made = make(index);
            results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(made);
        }
    };
    if threads == 1 {
        work();
    } else {
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
        });
    }
    results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
