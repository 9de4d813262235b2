//! Nothing that must be encrypted stands in the clear in any file of a data folder.

mod common;

use std::fs;
use std::path::Path;

use common::{NOW, binding, ended, quality, started};
use ringfort_store::service::Rotate;
use ringfort_store::{ChangeNote, ExtensionFields, JournalOptions, Store, StoreOptions};
use ringfort_switch::model::{CallId, Secret};
use ringfort_switch::record::JournalRecord;

fn all_bytes(dir: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_bytes(&path, into);
        } else {
            into.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

fn assert_nowhere(dir: &Path, needles: &[String]) {
    let mut files = Vec::new();
    all_bytes(dir, &mut files);
    assert!(files.iter().any(|(name, bytes)| name.ends_with("ringfort.db") && !bytes.is_empty()));
    assert!(files.iter().any(|(name, bytes)| name.ends_with(".rfj") && bytes.len() > 200));
    for (name, bytes) in &files {
        for needle in needles {
            let found = bytes.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle.as_bytes()));
            assert!(!found, "{needle:?} stands in the clear in {name}");
        }
    }
}

#[test]
fn neither_numbers_nor_passwords_stand_in_the_clear_in_any_file() {
    let dir = tempfile::tempdir().unwrap();
    let note = ChangeNote { author: "admin".to_owned(), comment: String::new(), at: NOW };
    let options = JournalOptions { segment_size: 4096, ..JournalOptions::default() };
    let store = Store::open(dir.path(), StoreOptions { journal: options, ..StoreOptions::default() }, [9; 32]).unwrap();
    let mut needles: Vec<String> = [
        "+8613812345678",
        "13812345678",
        "+442079460018",
        "2079460018",
        "Alexandra",
        "198.51.100.23",
        "192.0.2.77",
        "f81d4fae-7dec",
        "843817637684230",
        "mauve-cactus-orbit-71",
    ]
    .map(str::to_owned)
    .to_vec();

    // Passwords: generated, given, replaced, deleted.
    let (first, _) = store.service.extension_add(None, "101", ExtensionFields::default(), &note).unwrap();
    let (second, _) = store.service.extension_rotate(None, "101", Rotate::Password, &note).unwrap();
    let given =
        ExtensionFields { sip_password: Some(Secret::new("mauve-cactus-orbit-71")), ..ExtensionFields::default() };
    store.service.extension_add(None, "102", given, &note).unwrap();
    store.service.extension_delete(None, "102", &note).unwrap();
    for extension in [&first, &second] {
        needles.push(extension.credentials.password.reveal().to_owned());
    }

    // Numbers: a registration, a running call, an ended one with quality; segments, a snapshot, the database.
    let (mut writer, _, mut maintenance) = store.open_journal(NOW).unwrap();
    for call in 1..40 {
        let records = [
            JournalRecord::Bound(binding(call, "sip:+8613812345678@192.0.2.77", 1)),
            JournalRecord::CallStarted(Box::new(started(u64::from(call)))),
            JournalRecord::CallEnded(Box::new(ended(u64::from(call)))),
            JournalRecord::CallQuality { call: CallId(u64::from(call)), directions: quality() },
        ];
        for record in &records {
            writer.append(record).unwrap();
        }
        writer.flush().unwrap();
    }
    writer.append(&JournalRecord::CallStarted(Box::new(started(99)))).unwrap();
    writer.flush().unwrap();
    assert_nowhere(dir.path(), &needles);
    let tick = maintenance.tick(NOW).unwrap();
    assert!(tick.ingested.calls == 39 && tick.compacted.records.is_some(), "{tick:?}");
    assert_nowhere(dir.path(), &needles);
    drop((writer, maintenance, store));
    assert_nowhere(dir.path(), &needles);

    // The search of this test finds what is there: the extension's number is no secret.
    let mut files = Vec::new();
    all_bytes(dir.path(), &mut files);
    assert!(files.iter().any(|(_, bytes)| bytes.windows(7).any(|w| w == b"default")));
}

#[test]
fn secrets_print_as_stars() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreOptions::default(), [9; 32]).unwrap();
    let note = ChangeNote { author: String::new(), comment: String::new(), at: NOW };
    let (extension, applied) = store.service.extension_add(None, "101", ExtensionFields::default(), &note).unwrap();
    let shown = format!("{extension:?} {applied:?} {store:?} {:?}", store.service.revisions(9));
    assert!(!shown.contains(extension.credentials.password.reveal()));
}

#[test]
fn files_are_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let store = Store::open(&data, StoreOptions::default(), [9; 32]).unwrap();
    let _journal = store.open_journal(NOW).unwrap();
    let mut folders = vec![data];
    while let Some(folder) = folders.pop() {
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o077, 0, "{folder:?}");
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{path:?}");
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
}
