//! Entries of blacklists: through the journal into the database and back, whatever happens between.

mod common;

use std::path::Path;

use common::{NOW, System, later, system};
use ringfort_store::Recovered;
use ringfort_switch::model::{Pii, TenantId};
use ringfort_switch::record::{BlacklistChange, JournalRecord, Listed};

fn change(list: Option<u32>, entry: &str, listed: Listed) -> BlacklistChange {
    BlacklistChange { tenant: TenantId(1), list, entry: Pii::new(entry.to_owned()), listed }
}

fn write(system: &mut System, changes: Vec<BlacklistChange>) {
    system.writer.append(&JournalRecord::Blacklist(changes)).unwrap();
    system.writer.flush().unwrap();
}

/// The entries as the switch has them after a start.
fn kept(recovered: &Recovered) -> Vec<(Option<u32>, String, Listed)> {
    let mut all = std::collections::BTreeMap::new();
    for c in &recovered.blacklist {
        let key = (c.list, c.entry.reveal().clone());
        match c.listed {
            Listed::Gone => all.remove(&key),
            listed => all.insert(key, listed),
        };
    }
    all.into_iter().map(|((list, entry), listed)| (list, entry, listed)).collect()
}

const SECONDS: u64 = 1000;

fn now_s() -> u64 {
    NOW.0 / SECONDS
}

#[test]
fn what_was_listed_outlives_a_kill_before_and_after_it_has_reached_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = system(dir.path(), 1 << 20);
    let end = Listed::Until(now_s() + 3600);
    write(&mut first, vec![change(Some(0), "+442079460001", Listed::ForEver), change(Some(1), "+4420*", end)]);
    write(&mut first, vec![change(None, "+442079460002", Listed::ForEver)]);
    let whole = [
        (None, "+442079460002".to_owned(), Listed::ForEver),
        (Some(0), "+442079460001".to_owned(), Listed::ForEver),
        (Some(1), "+4420*".to_owned(), end),
    ];
    // As after a kill: nothing was taken over yet.
    drop(first);
    let mut second = system(dir.path(), 1 << 20);
    assert_eq!(kept(&second.recovered), whole);
    second.maintenance.tick(later(1)).unwrap();
    write(
        &mut second,
        vec![change(Some(0), "+442079460001", Listed::Gone), change(Some(1), "+4420*", Listed::ForEver)],
    );
    drop(second);
    let third = system(dir.path(), 1 << 20);
    assert_eq!(kept(&third.recovered), [whole[0].clone(), (Some(1), "+4420*".to_owned(), Listed::ForEver)]);
}

#[test]
fn entries_stay_when_the_journal_is_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = system(dir.path(), 4096);
    for n in 0..600 {
        write(&mut first, vec![change(Some(n % 3), &format!("+44207946{n:04}"), Listed::ForEver)]);
    }
    write(&mut first, vec![change(Some(0), "+442079460000", Listed::Gone)]);
    let mut removed = 0;
    for round in 1..4 {
        removed += first.maintenance.tick(later(round)).unwrap().compacted.removed;
    }
    assert!(removed > 2, "segments were removed: {removed}");
    drop(first);
    assert_eq!(kept(&system(dir.path(), 4096).recovered).len(), 599);
}

#[test]
fn what_has_run_out_is_deleted_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = system(dir.path(), 1 << 20);
    write(
        &mut first,
        vec![
            change(Some(0), "1", Listed::Until(now_s() + 1)),
            change(Some(0), "2", Listed::Until(now_s() + 10)),
            change(Some(0), "3", Listed::ForEver),
        ],
    );
    first.maintenance.tick(NOW).unwrap();
    let counted = |at: u64| first.store.blacklists.counts(TenantId(1), at).unwrap()[0].entries;
    assert_eq!((counted(now_s()), counted(now_s() + 1), counted(now_s() + 10)), (3, 2, 1));
    let loaded = first.store.blacklists.load(now_s() + 1).unwrap();
    assert_eq!(loaded.len(), 2);
    assert_eq!(first.store.blacklists.counts(TenantId(1), now_s()).unwrap()[0].entries, 2, "the row is gone");
}

#[test]
fn pages_give_every_entry_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut system = system(dir.path(), 1 << 20);
    let all = (0..95u32).map(|n| change(if n < 5 { None } else { Some(n % 2) }, &n.to_string(), Listed::ForEver));
    let other = BlacklistChange { tenant: TenantId(2), ..change(Some(0), "7", Listed::ForEver) };
    write(&mut system, all.chain([other]).collect());
    system.maintenance.tick(NOW).unwrap();
    let read = |list: Option<Option<u32>>| {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let (page, next) = system.store.blacklists.page(TenantId(1), list, cursor.as_ref(), 10, now_s()).unwrap();
            seen.extend(page.into_iter().map(|c| (c.list, c.entry.reveal().clone())));
            match next {
                Some(next) => cursor = Some(next),
                None => return seen,
            }
        }
    };
    let mut seen = read(None);
    assert_eq!(seen.len(), 95);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 95);
    assert_eq!(read(Some(None)).len(), 5);
    assert_eq!(read(Some(Some(1))).len(), 45);
}

#[test]
fn no_number_stands_in_the_clear_in_any_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut system = system(dir.path(), 1 << 20);
    write(&mut system, vec![change(Some(0), "+442079461234", Listed::ForEver)]);
    system.maintenance.tick(NOW).unwrap();
    drop(system);
    let mut looked_at = 0;
    for entry in walk(dir.path()) {
        let bytes = std::fs::read(&entry).unwrap();
        looked_at += bytes.len();
        assert!(!bytes.windows(8).any(|w| w == b"79461234"), "{}", entry.display());
    }
    assert!(looked_at > 1000);
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}
