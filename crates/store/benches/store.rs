//! The costs that the call path and the start pay: `cargo bench -p ringfort-store`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use common::{NOW, binding, ended, keys, quality};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ringfort_store::db::Db;
use ringfort_store::{
    CdrFilter, ChangeNote, JournalOptions, JournalWriter, RawSite, Service, Store, StoreOptions, journal, site,
};
use ringfort_switch::model::CallId;
use ringfort_switch::record::JournalRecord;

const PHONES: u32 = 10_000;

fn main() {
    divan::main();
}

fn append(bencher: Bencher<'_, '_>, record: &JournalRecord) {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = JournalWriter::open(dir.path(), keys(), JournalOptions::default(), 0, NOW).unwrap();
    // A flush every hundred records, as a busy loop pass does.
    bencher.counter(ItemsCount::new(100u32)).bench_local(|| {
        for _ in 0..100 {
            writer.append(black_box(record)).unwrap();
        }
        writer.flush().unwrap();
    });
}

#[divan::bench]
fn append_binding(bencher: Bencher<'_, '_>) {
    append(bencher, &JournalRecord::Bound(binding(1, "sip:a@192.0.2.77:5062", 1)));
}

#[divan::bench]
fn append_cdr(bencher: Bencher<'_, '_>) {
    append(bencher, &JournalRecord::CallEnded(Box::new(ended(1))));
}

#[divan::bench]
fn append_quality(bencher: Bencher<'_, '_>) {
    append(bencher, &JournalRecord::CallQuality { call: CallId(1), directions: quality() });
}

#[divan::bench]
fn flush_one_binding(bencher: Bencher<'_, '_>) {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _) = JournalWriter::open(dir.path(), keys(), JournalOptions::default(), 0, NOW).unwrap();
    let record = JournalRecord::Bound(binding(1, "sip:a@192.0.2.77:5062", 1));
    bencher.bench_local(|| {
        writer.append(black_box(&record)).unwrap();
        writer.flush().unwrap();
    });
}

/// 10,000 phones, each registered once.
#[divan::bench(sample_count = 20)]
fn recover_10000_bindings(bencher: Bencher<'_, '_>) {
    let dir = tempfile::tempdir().unwrap();
    let keys = keys();
    let (mut writer, _) =
        JournalWriter::open(dir.path(), Arc::clone(&keys), JournalOptions::default(), 0, NOW).unwrap();
    for phone in 0..PHONES {
        writer.append(&JournalRecord::Bound(binding(phone, "sip:a@192.0.2.77:5062", 1))).unwrap();
    }
    drop(writer);
    bencher.bench_local(|| journal::inspect(dir.path(), &keys, NOW).unwrap().bindings.len());
}

fn full_site() -> RawSite {
    let text: String =
        (0..PHONES).map(|n| format!("[[extension]]\nnumber = \"{}\"\nname = \"Person {n}\"\n", 20_000 + n)).collect();
    site::parse("site.toml", &text).unwrap()
}

fn note() -> ChangeNote {
    ChangeNote { author: "bench".to_owned(), comment: String::new(), at: NOW }
}

#[divan::bench(sample_count = 20)]
fn load_10000_extensions(bencher: Bencher<'_, '_>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ringfort.db");
    let keys = keys();
    let db = Arc::new(Db::open(&path, &keys).unwrap());
    let service = Service::open(db, Arc::clone(&keys), Vec::new(), [1; 32]).unwrap();
    let plan = service.plan(&full_site(), false).unwrap();
    service.apply(plan, &note()).unwrap();
    drop(service);
    bencher.bench_local(|| {
        let db = Arc::new(Db::open(&path, &keys).unwrap());
        Service::open(db, Arc::clone(&keys), Vec::new(), [1; 32]).unwrap().site().extensions.len()
    });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn apply_10000_extensions(bencher: Bencher<'_, '_>) {
    let raw = full_site();
    bencher
        .with_inputs(|| {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(dir.path(), StoreOptions::default(), [1; 32]).unwrap();
            (dir, store)
        })
        .bench_local_refs(|(_, store)| {
            let plan = store.service.plan(&raw, false).unwrap();
            store.service.apply(plan, &note()).unwrap().revision
        });
}

/// 1,000 calls with quality from the journal into the database, commit included.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn ingest_1000_calls(bencher: Bencher<'_, '_>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default(), [1; 32]).unwrap();
    let (mut writer, _, _) = store.open_journal(NOW).unwrap();
    let mut call = 0;
    bencher.counter(ItemsCount::new(1000u32)).bench_local(|| {
        for _ in 0..1000 {
            call += 1;
            writer.append(&JournalRecord::CallEnded(Box::new(ended(call)))).unwrap();
            writer.append(&JournalRecord::CallQuality { call: CallId(call), directions: quality() }).unwrap();
        }
        writer.flush().unwrap();
        store.cdrs.ingest(&store.dir().journal()).unwrap()
    });
}

/// The newest 100 of 20,000.
#[divan::bench(sample_count = 10)]
fn list_100_by_number(bencher: Bencher<'_, '_>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default(), [1; 32]).unwrap();
    let (mut writer, _, _) = store.open_journal(NOW).unwrap();
    for call in 1..=20_000 {
        writer.append(&JournalRecord::CallEnded(Box::new(ended(call)))).unwrap();
    }
    writer.flush().unwrap();
    store.cdrs.ingest(&store.dir().journal()).unwrap();
    let filter = CdrFilter { number: Some("+442079460018".to_owned()), ..CdrFilter::default() };
    bencher.bench_local(|| store.cdrs.list(&filter).unwrap().len());
}
