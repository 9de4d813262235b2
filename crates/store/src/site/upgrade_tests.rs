//! Databases of earlier versions: made by the migrations of that time, opened by this program.

use std::path::Path;

use ringfort_switch::model::{Calling, NumberPlan, TenantId, TrunkId};
use ringfort_switch::record::{Account, UnixMillis};
use rusqlite::{Connection, params};
use serde_json::json;

use crate::cdr::CdrFilter;
use crate::db::{MIGRATIONS, migrate};
use crate::keys::{Keys, Purpose};
use crate::open::{Store, StoreOptions};
use crate::service::ChangeNote;

/// A data folder as the program of schema version 2 left it: one change that made an extension, another that renamed it.
fn folder_of_version_2(dir: &Path) {
    let keys = Keys::load_or_create(&dir.join("ringfort.key"), None).unwrap();
    let path = dir.join("ringfort.db");
    let mut db = Connection::open(&path).unwrap();
    migrate(&mut db, &path, &MIGRATIONS[..2]).unwrap();
    for revision in [1, 2] {
        db.execute("INSERT INTO revision VALUES ($1, 1700000000000, 'old', '', NULL, 1, 0, 0)", [revision]).unwrap();
        let body = json!({
            "tenant": 1, "number": "101", "name": format!("Desk {revision}"), "sip_user": "kx7",
            "sip_password": "an-Old-Password-11", "srtp": "offer", "max_calls": 4, "max_contacts": 10, "enabled": true,
        });
        let sealed = keys.seal(
            Purpose::History,
            &format!("history/extension/1/{revision}"),
            &serde_json::to_vec(&body).unwrap(),
        );
        db.execute("INSERT INTO history VALUES ('extension', 1, $1, $2)", params![revision, sealed]).unwrap();
    }
    let password = keys.seal(Purpose::Credential, "extension/1/sip_password", b"an-Old-Password-11");
    db.execute("INSERT INTO extension VALUES (1, 1, '101', 'Desk 2', 'kx7', $1, 'offer', 4, 10, 1)", params![password])
        .unwrap();
    db.execute("UPDATE counter SET value = 2 WHERE name = 'next_extension'", []).unwrap();
    let record = json!({
        "caller": "101", "caller_name": "Desk 2", "callee": "+442079460018", "source": "198.51.100.23:5062",
        "reason": "Q.850;cause=16",
    });
    let sealed = keys.seal(Purpose::Pii, "cdr/5", &serde_json::to_vec(&record).unwrap());
    db.execute(
        "INSERT INTO cdr VALUES (5, 1, 'phones', 'internal', 1, NULL, $1, $1, 1700000000000, NULL, 1700000001000, \
         1700000060000, 200, 'normal', NULL, $2)",
        params![keys.blind_index(TenantId(1), "101").to_vec(), sealed],
    )
    .unwrap();
}

#[test]
fn a_folder_of_schema_version_2_is_taken_over_with_its_history_and_call_records() {
    let dir = tempfile::tempdir().unwrap();
    folder_of_version_2(dir.path());
    let store = Store::open(dir.path(), StoreOptions::default(), [5; 32]).unwrap();
    let site = store.service.site();
    assert_eq!(site.revision, 2);
    let extension = store.service.extension_show(None, "101").unwrap();
    assert_eq!(extension.credentials.password.reveal(), "an-Old-Password-11");
    assert_eq!((extension.name.as_str(), &extension.calling), ("Desk 2", &Calling::default()));
    assert_eq!(site.tenants[0].numbers, NumberPlan::default());
    assert!(site.trunks.is_empty());

    let records = store.cdrs.list(&CdrFilter::default()).unwrap();
    assert_eq!((records.len(), records[0].caller.reveal().as_str()), (1, "101"));
    assert!(records[0].trunks.is_empty());

    let note = ChangeNote { author: "test".to_owned(), comment: String::new(), at: UnixMillis(1_700_000_100_000) };
    let back = store.service.rollback(Some(1), &note).unwrap();
    assert_eq!((back.revision, back.site.extensions.values().next().unwrap().name.as_str()), (3, "Desk 1"));
    drop(store);
    let again = Store::open(dir.path(), StoreOptions::default(), [5; 32]).unwrap();
    assert_eq!(*again.service.site(), *back.site);
}

#[test]
fn what_was_spent_before_sums_had_a_currency_is_there_without_one() {
    let dir = tempfile::tempdir().unwrap();
    Keys::load_or_create(&dir.path().join("ringfort.key"), None).unwrap();
    let path = dir.path().join("ringfort.db");
    let mut db = Connection::open(&path).unwrap();
    migrate(&mut db, &path, &MIGRATIONS[..5]).unwrap();
    db.execute("INSERT INTO spent (account, account_id, day, amount) VALUES ('trunk', 3, 20231114, 250000)", [])
        .unwrap();
    drop(db);
    let store = Store::open(dir.path(), StoreOptions::default(), [5; 32]).unwrap();
    let total = store.spent(UnixMillis(1_700_000_000_000)).unwrap().pop().unwrap();
    assert_eq!((total.account, total.amount, total.currency.as_str()), (Account::Trunk(TrunkId(3)), 250_000, ""));
}
