//! What calls have cost: journaled by the shard, taken into the database, there again after a kill.

mod common;

use std::path::Path;

use common::{NOW, ended, later, started};
use ringfort_store::{CdrFilter, CdrItem, JournalWriter, Store, StoreOptions};
use ringfort_switch::model::{CallId, ExtensionId, TenantId, TrunkId};
use ringfort_switch::record::{Account, Cost, EndCause, JournalRecord, LocalDay, Spent, SpentTotal};

/// `NOW` is 2023-11-14.
const DAY: LocalDay = LocalDay(20_231_114);
const NEXT: LocalDay = LocalDay(20_231_115);

fn spent(call: u64, day: LocalDay, amount: i64) -> JournalRecord {
    JournalRecord::Spent(Spent {
        call: CallId(call),
        tenant: TenantId(1),
        extension: Some(ExtensionId(7)),
        trunk: TrunkId(3),
        day,
        amount,
        currency: "EUR".to_owned(),
    })
}

fn in_pounds(record: JournalRecord) -> JournalRecord {
    let JournalRecord::Spent(spent) = record else { panic!("it is money") };
    JournalRecord::Spent(Spent { currency: "GBP".to_owned(), ..spent })
}

fn open(dir: &Path) -> (Store, JournalWriter) {
    let (store, writer, _, _) = Store::open_to_run(dir, StoreOptions::default(), [5; 32], later(10)).unwrap();
    (store, writer)
}

/// Totals of a trunk.
fn of_trunk(totals: &[SpentTotal]) -> Vec<(LocalDay, u64)> {
    let is_it = |total: &&SpentTotal| total.account == Account::Trunk(TrunkId(3));
    totals.iter().filter(is_it).map(|total| (total.day, total.amount)).collect()
}

#[test]
fn a_kill_forgets_no_money_and_no_start_counts_it_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writer) = open(dir.path());
    assert!(store.spent(NOW).unwrap().is_empty());
    let records = [
        JournalRecord::CallStarted(Box::new(started(1))),
        spent(1, DAY, 250_000),
        spent(1, NEXT, 100_000),
        spent(1, NEXT, -40_000),
        JournalRecord::CallEnded(Box::new(ended(1))),
        JournalRecord::CallStarted(Box::new(started(2))),
        spent(2, NEXT, 5),
    ];
    for record in &records {
        writer.append(record).unwrap();
    }
    writer.flush().unwrap();
    // No round of the background work, no orderly end.
    std::mem::forget(writer);
    drop(store);

    for _ in 0..3 {
        let (store, writer) = open(dir.path());
        let totals = store.spent(later(10)).unwrap();
        assert_eq!(of_trunk(&totals), [(DAY, 250_000), (NEXT, 60_005)]);
        for account in [Account::Tenant(TenantId(1)), Account::Extension(ExtensionId(7))] {
            let sum: u64 = totals.iter().filter(|t| t.account == account).map(|t| t.amount).sum();
            assert_eq!(sum, 310_005, "{account:?}");
        }
        std::mem::forget(writer);
        drop(store);
    }
    let (store, mut writer) = open(dir.path());
    let records = store.cdrs.list(&CdrFilter::default()).unwrap();
    let cost = |amount| Some(Cost { amount, currency: "EUR".to_owned() });
    assert_eq!((records[0].call, &records[0].cost, records[0].cause), (CallId(2), &cost(5), Some(EndCause::Crash)));
    assert_eq!((records[1].call, &records[1].cost), (CallId(1), &cost(310_000)));
    let item = CdrItem::plain(records[1].clone());
    assert_eq!((item.cost.as_deref(), item.currency.as_deref()), (Some("0.31"), Some("EUR")));

    writer.append(&spent(3, NEXT, 7)).unwrap();
    writer.append(&in_pounds(spent(4, NEXT, 9))).unwrap();
    drop(writer);
    let totals = store.spent(later(20)).unwrap();
    let (euros, pounds): (Vec<_>, Vec<_>) = totals.into_iter().partition(|total| total.currency == "EUR");
    assert_eq!(of_trunk(&euros), [(DAY, 250_000), (NEXT, 60_012)]);
    assert_eq!(of_trunk(&pounds), [(NEXT, 9)], "each currency has sums of its own");
    assert!(pounds.iter().all(|total| total.currency == "GBP"));
    let two_months = later(70 * 86_400);
    assert!(store.spent(two_months).unwrap().is_empty(), "what no limit asks for any more is not read");
}

#[test]
fn a_call_that_cost_nothing_has_no_cost_in_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut writer) = open(dir.path());
    writer.append(&JournalRecord::CallEnded(Box::new(ended(1)))).unwrap();
    drop(writer);
    store.spent(NOW).unwrap();
    let records = store.cdrs.list(&CdrFilter::default()).unwrap();
    assert_eq!((records.len(), &records[0].cost), (1, &None));
    assert_eq!(CdrItem::plain(records[0].clone()).cost, None);
}
