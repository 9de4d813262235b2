//! SIGKILL at random points: what was acknowledged is there afterwards, and a change of the site is there wholly or
//! not at all (RUN-1). The child is this test binary again, running one of the `child_…` functions; it tells on its
//! standard output what is flushed or committed, and the parent kills it after a random number of lines.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use common::{NOW, binding, ended, started};
use rand::rngs::ChaCha20Rng;
use rand::{RngExt, SeedableRng};
use ringfort_store::site::parse;
use ringfort_store::{
    CdrFilter, ChangeNote, JournalOptions, JournalWriter, Maintenance, Recovered, Store, StoreOptions,
};
use ringfort_switch::record::{EndCause, JournalRecord, UnixMillis};

const DIR: &str = "RINGFORT_CRASH_TEST_DIR";
const ROUNDS: u32 = 12;

fn child_dir() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// Runs a child until it has said a random number of lines, spins for a random while so that the kill falls anywhere
/// between two lines, kills it, and gives all that it said.
fn run_and_kill(test: &str, dir: &Path, rng: &mut ChaCha20Rng, most_lines: u32) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    let mut line = String::new();
    let enough = rng.random_range(1..most_lines);
    while (lines.len() as u32) < enough {
        line.clear();
        if said.read_line(&mut line).unwrap() == 0 {
            let mut why = String::new();
            child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            panic!("the child ended by itself: {why}");
        }
        lines.extend(acknowledged(&line));
    }
    for _ in 0..rng.random_range(0..400_000u32) {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest = Vec::new();
    said.read_to_end(&mut rest).unwrap();
    lines.extend(String::from_utf8_lossy(&rest).split_inclusive('\n').filter_map(acknowledged));
    lines
}

/// A whole line of ours among those of the test runner.
fn acknowledged(line: &str) -> Option<String> {
    let line = line.strip_suffix('\n')?;
    line.find("ack ").map(|at| line[at + 4..].to_owned())
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("ack {line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

fn open(dir: &Path) -> (Store, JournalWriter, Recovered, Maintenance) {
    let journal = JournalOptions { segment_size: 32 << 10, ..JournalOptions::default() };
    let store = Store::open(dir, StoreOptions { journal, ..StoreOptions::default() }, [1; 32]).unwrap();
    let (writer, recovered, maintenance) = store.open_journal(NOW).unwrap();
    (store, writer, recovered, maintenance)
}

#[test]
#[ignore = "run by the test below"]
fn child_journal() {
    let Some(dir) = child_dir() else { return };
    let (_store, mut writer, recovered, maintenance) = open(&dir);
    let maintenance = Mutex::new(maintenance);
    let mut call = recovered.next_call.0;
    let mut cseq = recovered.bindings.iter().map(|b| b.cseq).max().unwrap_or(0);
    std::thread::scope(|scope| {
        // The background thread as fast as it can, so that kills fall into it.
        scope.spawn(|| {
            loop {
                maintenance.lock().unwrap().tick(NOW).unwrap();
            }
        });
        loop {
            cseq += 1;
            let phone = cseq % 20;
            writer.append(&JournalRecord::Bound(binding(phone, "k", cseq))).unwrap();
            writer.append(&JournalRecord::CallStarted(Box::new(started(call)))).unwrap();
            writer.append(&JournalRecord::CallStarted(Box::new(started(call + 1)))).unwrap();
            writer.append(&JournalRecord::CallEnded(Box::new(ended(call)))).unwrap();
            writer.flush().unwrap();
            say(&format!("bound {phone} {cseq}"));
            say(&format!("ended {call}"));
            say(&format!("started {}", call + 1));
            call += 2;
        }
    });
}

#[test]
fn a_killed_process_loses_no_flushed_registration_and_no_ended_call() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha20Rng::from_seed([11; 32]);
    let mut phones: BTreeMap<u32, u32> = BTreeMap::new();
    let mut calls: BTreeMap<u64, EndCause> = BTreeMap::new();
    for round in 0..ROUNDS {
        for line in run_and_kill("child_journal", dir.path(), &mut rng, 600) {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["bound", phone, cseq] => drop(phones.insert(phone.parse().unwrap(), cseq.parse().unwrap())),
                ["ended", call] => drop(calls.insert(call.parse().unwrap(), EndCause::Normal)),
                ["started", call] => drop(calls.insert(call.parse().unwrap(), EndCause::Crash)),
                _ => panic!("{line}"),
            }
        }
        let (store, _writer, recovered, mut maintenance) = open(dir.path());
        assert_eq!(recovered.damaged, 0, "round {round}");
        for (&phone, &cseq) in &phones {
            let found = recovered.bindings.iter().find(|b| b.extension.0 == phone).expect("an acknowledged phone");
            assert!(found.cseq >= cseq, "round {round}: phone {phone} {} < {cseq}", found.cseq);
        }
        maintenance.tick(NOW).unwrap();
        let listed = store.cdrs.list(&CdrFilter { limit: u32::MAX, ..CdrFilter::default() }).unwrap();
        let found: BTreeMap<u64, Option<EndCause>> = listed.iter().map(|cdr| (cdr.call.0, cdr.cause)).collect();
        assert_eq!(found.len(), listed.len(), "round {round}: each call once");
        for (call, cause) in &calls {
            assert_eq!(found.get(call), Some(&Some(*cause)), "round {round}: call {call}");
        }
        assert!(recovered.next_call.0 > *calls.keys().next_back().unwrap());
    }
}

#[test]
#[ignore = "run by the test below"]
fn child_site() {
    let Some(dir) = child_dir() else { return };
    let store = Store::open(&dir, StoreOptions::default(), [2; 32]).unwrap();
    loop {
        let next = store.service.site().revision + 1;
        say(&format!("trying {next}"));
        let plan = store.service.plan(&parse("site.toml", &generation(next)).unwrap(), true).unwrap();
        let note = ChangeNote { author: "child".to_owned(), comment: next.to_string(), at: UnixMillis(next) };
        let applied = store.service.apply(plan, &note).unwrap();
        say(&format!("applied {}", applied.revision));
    }
}

/// Every revision renames all extensions and exchanges one for another.
fn generation(revision: u64) -> String {
    let numbers = (100..140).chain([1000 + revision]);
    numbers.map(|n| format!("[[extension]]\nnumber = \"{n}\"\nname = \"generation {revision}\"\n")).collect()
}

#[test]
fn a_killed_process_has_applied_a_change_wholly_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha20Rng::from_seed([12; 32]);
    for round in 0..ROUNDS {
        let said = run_and_kill("child_site", dir.path(), &mut rng, 16);
        let last = said.iter().filter_map(|l| l.strip_prefix("applied ")).next_back();
        let store = Store::open(dir.path(), StoreOptions::default(), [2; 32]).unwrap();
        let site = store.service.site();
        if let Some(last) = last {
            assert!(site.revision >= last.parse().unwrap(), "round {round}: revision {} < {last}", site.revision);
        }
        if site.revision > 0 {
            let name = format!("generation {}", site.revision);
            assert_eq!(site.extensions.len(), 41, "round {round}");
            assert!(site.extensions.values().all(|e| e.name == name), "round {round}");
            assert_eq!(store.service.revisions(1).unwrap()[0].comment, site.revision.to_string());
            // The history says the same as the rows.
            let plan = store.service.plan_rollback(Some(site.revision)).unwrap();
            assert!(plan.is_empty(), "round {round}: {plan}");
        }
    }
}
