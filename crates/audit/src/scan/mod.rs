//! Scanning: from files to a report. Files are read within limits by several threads; the report is in their order, whatever
//! thread was faster.

mod file;
pub mod input;
mod ledger;
mod report;
pub mod suppress;
mod terraform;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

pub use file::{FileScan, scan_text};
use input::Input;
pub use ledger::{Ledger, LedgerEntry, Outcome};
pub use report::{Counts, Finding, Report, Status};
use suppress::{Date, Suppressions};

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
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    // A thread costs more than a few files.
    let threads = if settings.threads == 0 { cores() } else { settings.threads }.min(inputs.len().div_ceil(8)).max(1);
    let results: Mutex<Vec<Option<FileScan>>> = Mutex::new(inputs.iter().map(|_| None).collect());
    let next = AtomicUsize::new(0);
    let work = || {
        const BATCH: usize = 16;
        loop {
            let start = next.fetch_add(BATCH, Ordering::Relaxed);
            let Some(batch) = inputs.get(start..inputs.len().min(start + BATCH)).filter(|batch| !batch.is_empty())
            else {
                return;
            };
            let done: Vec<_> = batch
                .iter()
                // Those of Terraform belong together; they come after.
                .map(|input| (!terraform::is_terraform(&input.name)).then(|| file::scan_input(input, settings)))
                .collect();
            let mut results = results.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for (offset, scan) in done.into_iter().enumerate() {
                results[start + offset] = scan;
            }
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
    let mut report = Report::default();
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (index, scan) in terraform::scan(inputs, settings, threads) {
        results[index] = Some(scan);
    }
    for (input, scan) in inputs.iter().zip(results) {
        report.add(input.name.clone(), scan.expect("every input was given to a thread"));
    }
    report
}
