//! A start reads journal and database side by side and finds what it finds when it reads them one after the other.

mod common;

use common::{NOW, binding, later, started};
use ringfort_store::{ChangeNote, ExtensionFields, Store, StoreError, StoreOptions};
use ringfort_switch::model::CallId;
use ringfort_switch::record::JournalRecord;

/// A folder with an extension, two registrations and a call that was cut off.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writer, recovered, _maintenance) =
        Store::open_to_run(dir.path(), StoreOptions::default(), [1; 32], NOW).unwrap();
    assert!(recovered.bindings.is_empty() && recovered.crashed.is_empty(), "a new folder is empty");
    let note = ChangeNote { author: String::new(), comment: String::new(), at: NOW };
    store.service.extension_add(None, "101", ExtensionFields::default(), &note).unwrap();
    for key in ["a", "b"] {
        writer.append(&JournalRecord::Bound(binding(1, key, 1))).unwrap();
    }
    writer.append(&JournalRecord::CallStarted(Box::new(started(7)))).unwrap();
    writer.flush().unwrap();
    dir
}

#[test]
fn side_by_side_or_one_after_the_other_a_start_finds_the_same() {
    let seen = |together: bool| {
        let dir = folder();
        let (store, recovered) = if together {
            let (store, _, recovered, _) =
                Store::open_to_run(dir.path(), StoreOptions::default(), [2; 32], later(1)).unwrap();
            (store, recovered)
        } else {
            let store = Store::open(dir.path(), StoreOptions::default(), [2; 32]).unwrap();
            let (_, recovered, _) = store.open_journal(later(1)).unwrap();
            (store, recovered)
        };
        let numbers: Vec<String> = store.service.extension_list(None).into_iter().map(|e| e.number).collect();
        (numbers, recovered.bindings, recovered.crashed, recovered.next_call, recovered.damaged)
    };
    let together = seen(true);
    assert_eq!((together.0.len(), together.1.len(), &together.2), (1, 2, &vec![CallId(7)]));
    assert_eq!(together.3, CallId(8));
    assert_eq!(together, seen(false));
}

#[test]
fn what_is_wrong_with_either_keeps_the_system_from_starting_and_is_said() {
    let dir = folder();
    std::fs::write(dir.path().join("ringfort.db"), b"this is no database").unwrap();
    let error = Store::open_to_run(dir.path(), StoreOptions::default(), [2; 32], NOW).unwrap_err();
    assert!(matches!(error, StoreError::Db(_)), "{error}");
    let dir = folder();
    let segment = std::fs::read_dir(dir.path().join("journal")).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(&segment).unwrap();
    std::fs::create_dir(&segment).unwrap();
    let error = Store::open_to_run(dir.path(), StoreOptions::default(), [2; 32], NOW).unwrap_err();
    assert!(matches!(error, StoreError::Journal(_)), "{error}");
}

#[test]
fn a_derived_key_is_the_same_at_every_start_and_another_for_another_name() {
    let dir = folder();
    let keys = || {
        let store = Store::open(dir.path(), StoreOptions::default(), [3; 32]).unwrap();
        (store.derived_key("one"), store.derived_key("two"))
    };
    let (one, two) = keys();
    assert_ne!(one, two);
    assert_eq!(keys(), (one, two));
}
