//! Scanning: from files to a report. Files are read within limits by several threads; the report is in their order, whatever
//! thread was faster.

mod file;
pub mod input;
mod ledger;
pub mod render;
mod report;
pub mod suppress;
mod terraform;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

pub(crate) use file::read_input;
pub use file::{FileScan, scan_text};
use input::Input;
pub use ledger::{Ledger, LedgerEntry, Outcome};
pub use report::{Counts, Finding, Fingerprints, Report, Status};
use suppress::{Date, Suppressions};
pub(crate) use terraform::is_terraform;

use crate::model::Limits;
use crate::policy::Catalogue;

/// What a scan needs to know.
#[derive(Debug)]
pub struct Settings<'s> {
    /// The policies.
    pub catalogue: &'s Catalogue,
    /// How much of a file is read.
    pub limits: Limits,
    /// Keep passes too.
    pub passes: bool,
    /// Suppressions of a central file.
    pub suppressions: &'s Suppressions,
    /// The day that expiry dates are compared with.
    pub today: Date,
    /// How many threads; 0: as many as the machine has cores.
    pub threads: usize,
}

/// Reads and scans all inputs.
pub fn scan(inputs: &[Input], settings: &Settings<'_>) -> Report {
    scan_and_tell(inputs, settings, &mut |_| {})
}

/// The same; `tell` gets the report each time when it has gained files, in their order, while others are still being scanned.
pub fn scan_and_tell(inputs: &[Input], settings: &Settings<'_>, tell: &mut dyn FnMut(&mut Report)) -> Report {
    const BATCH: usize = 16;
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    // A thread costs more than a few files.
    let threads = if settings.threads == 0 { cores() } else { settings.threads }.min(inputs.len().div_ceil(8)).max(1);
    // Those of Terraform belong together; they come first, so that the others can be told in order.
    let mut done: Vec<Option<FileScan>> = inputs.iter().map(|_| None).collect();
    for (index, scan) in terraform::scan(inputs, settings, threads) {
        done[index] = Some(scan);
    }
    let next = AtomicUsize::new(0);
    let batch = |start: usize| -> Vec<Option<FileScan>> {
        let batch = &inputs[start..inputs.len().min(start + BATCH)];
        let scan = |input: &Input| (!terraform::is_terraform(&input.name)).then(|| file::scan_input(input, settings));
        batch.iter().map(scan).collect()
    };
    let starts = || {
        let start = next.fetch_add(BATCH, Ordering::Relaxed);
        (start < inputs.len()).then_some(start)
    };
    let mut report = Report::default();
    let mut added = 0;
    let mut arrived = |start: usize, scans: Vec<Option<FileScan>>| {
        for (slot, scan) in done[start..].iter_mut().zip(scans).filter(|(_, scan)| scan.is_some()) {
            *slot = scan;
        }
        let before = added;
        while let Some(scan) = done.get_mut(added).and_then(Option::take) {
            report.add(inputs[added].name.clone(), scan);
            added += 1;
        }
        if added > before {
            tell(&mut report);
        }
    };
    if threads == 1 {
        while let Some(start) = starts() {
            arrived(start, batch(start));
        }
    } else {
        let (sender, receiver) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..threads {
                let sender = sender.clone();
                scope.spawn(move || {
                    while let Some(start) = starts() {
                        if sender.send((start, batch(start))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(sender);
            for (start, scans) in receiver {
                arrived(start, scans);
            }
        });
    }
    report
}
