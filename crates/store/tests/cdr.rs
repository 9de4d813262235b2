//! Call records from the journal into the database and out again.

mod common;

use common::{NOW, System, binding, ended, later, quality, started, system};
use ringfort_store::{CdrFilter, CdrItem};
use ringfort_switch::model::{CallId, ExtensionId, Pii, TenantId};
use ringfort_switch::record::{
    CallMore, CallTrunks, Cdr, DiversionNote, EndCause, IdentityNote, JournalRecord, UnixMillis,
};

impl System {
    fn end(&mut self, cdr: Cdr) {
        self.writer.append(&JournalRecord::CallEnded(Box::new(cdr))).unwrap();
        self.writer.flush().unwrap();
    }

    fn list(&self, filter: CdrFilter) -> Vec<u64> {
        self.store.cdrs.list(&filter).unwrap().iter().map(|cdr| cdr.call.0).collect()
    }
}

#[test]
fn an_ended_call_comes_out_of_the_database_as_it_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut system = system(dir.path(), 1 << 20);
    let whole = Cdr {
        rule: Some("limit.calls".to_owned()),
        to_extension: Some(ExtensionId(2)),
        quality: quality(),
        ..ended(1)
    };
    system.end(whole.clone());
    assert_eq!(system.maintenance.tick(NOW).unwrap().ingested.calls, 1);
    assert_eq!(system.store.cdrs.list(&CdrFilter::default()).unwrap(), [whole]);
}

#[test]
fn the_trunks_of_a_call_are_kept_through_the_journal_and_in_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let trunks = CallTrunks { from: None, tried: vec!["one".into(), "two".into()], to: Some("two".into()) };
    let whole = Cdr { trunks: trunks.clone(), ..ended(1) };
    let mut first = system(dir.path(), 1 << 20);
    first.writer.append(&JournalRecord::CallStarted(Box::new(ended(1)))).unwrap();
    first.end(whole.clone());
    drop(first);
    // As after a kill: what was only in the journal is read again, and the call is not taken for one that was cut off.
    let mut again = system(dir.path(), 1 << 20);
    assert_eq!(again.recovered.crashed, []);
    again.maintenance.tick(later(1)).unwrap();
    assert_eq!(again.store.cdrs.list(&CdrFilter::default()).unwrap(), std::slice::from_ref(&whole));
    assert_eq!(CdrItem::masked(whole).trunks, trunks, "the operator's own names are no secret");
}

#[test]
fn a_call_that_a_crash_cut_off_was_answered_when_it_was_and_left_by_its_trunk() {
    let dir = tempfile::tempdir().unwrap();
    let mut answered = started(8);
    (answered.answered, answered.status) = (Some(UnixMillis(answered.started.0 + 5_000)), 200);
    answered.trunks.to = Some("acme".to_owned());
    let mut first = system(dir.path(), 1 << 20);
    for cdr in [started(8), answered.clone()] {
        first.writer.append(&JournalRecord::CallStarted(Box::new(cdr))).unwrap();
    }
    drop(first);
    let mut again = system(dir.path(), 1 << 20);
    assert_eq!(again.recovered.crashed, [CallId(8)]);
    again.maintenance.tick(later(1)).unwrap();
    let cdrs = again.store.cdrs.list(&CdrFilter::default()).unwrap();
    assert_eq!(cdrs.len(), 1);
    assert_eq!((cdrs[0].answered, cdrs[0].status, cdrs[0].cause), (answered.answered, 200, Some(EndCause::Crash)));
    assert_eq!(cdrs[0].trunks.to.as_deref(), Some("acme"));
}

#[test]
fn what_else_is_known_of_a_call_is_kept_through_the_journal_and_in_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let identity = IdentityNote {
        verstat: Some("TN-Validation-Passed".into()),
        rule: "stir.passed".into(),
        attest: Some("A".into()),
    };
    let diverted = DiversionNote { by: Pii::new("+442079460001".into()), reason: "no-answer".into() };
    let whole = Cdr {
        more: CallMore { identity: Some(identity), diverted: Some(diverted), voicemail: Some("102".into()) },
        ..ended(1)
    };
    let mut first = system(dir.path(), 1 << 20);
    first.writer.append(&JournalRecord::CallStarted(Box::new(ended(1)))).unwrap();
    first.end(whole.clone());
    drop(first);
    let mut again = system(dir.path(), 1 << 20);
    assert_eq!(again.recovered.crashed, []);
    again.maintenance.tick(later(1)).unwrap();
    assert_eq!(again.store.cdrs.list(&CdrFilter::default()).unwrap(), std::slice::from_ref(&whole));
    let shown = serde_json::to_value(CdrItem::masked(whole)).unwrap();
    assert_eq!(shown["identity"]["rule"], "stir.passed");
    assert_eq!((&shown["diverted"]["by"], &shown["diverted"]["reason"]), (&"+44****0001".into(), &"no-answer".into()));
}

#[test]
fn quality_that_comes_after_the_end_is_shown_with_the_call() {
    let dir = tempfile::tempdir().unwrap();
    let mut system = system(dir.path(), 1 << 20);
    system.end(ended(1));
    system.maintenance.tick(NOW).unwrap();
    system.writer.append(&JournalRecord::CallQuality { call: CallId(1), directions: quality() }).unwrap();
    system.writer.flush().unwrap();
    system.maintenance.tick(NOW).unwrap();
    assert_eq!(system.store.cdrs.list(&CdrFilter::default()).unwrap()[0].quality, quality());
}

#[test]
fn each_call_is_there_once_whatever_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let mut system = system(dir.path(), 4096);
        for call in 1..=20 {
            system.end(ended(round * 20 + call));
            // The same end again, as after a crash between journal and database.
            system.end(ended(call));
            if call % 3 == 0 {
                system.maintenance.tick(NOW).unwrap();
            }
        }
        system.maintenance.tick(NOW).unwrap();
        assert_eq!(system.maintenance.tick(NOW).unwrap().ingested.calls, 0);
        let expected: Vec<u64> = (1..=(round + 1) * 20).rev().collect();
        assert_eq!(system.list(CdrFilter { limit: 1000, ..CdrFilter::default() }), expected);
    }
}

#[test]
fn a_call_that_was_cut_off_has_a_record_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = system(dir.path(), 1 << 20);
    first.writer.append(&JournalRecord::CallStarted(Box::new(started(5)))).unwrap();
    drop(first);
    let mut second = system(dir.path(), 1 << 20);
    assert_eq!((second.recovered.crashed.as_slice(), second.recovered.next_call), ([CallId(5)].as_slice(), CallId(6)));
    second.maintenance.tick(NOW).unwrap();
    let found = second.store.cdrs.list(&CdrFilter::default()).unwrap();
    assert_eq!((found[0].cause, found[0].ended), (Some(EndCause::Crash), Some(UnixMillis(NOW.0 + 5))));
}

#[test]
fn the_next_call_is_higher_than_any_even_without_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = system(dir.path(), 1 << 20);
    first.end(ended(41));
    first.maintenance.tick(NOW).unwrap();
    drop(first);
    std::fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let mut second = system(dir.path(), 1 << 20);
    assert_eq!(second.recovered.next_call, CallId(42));
    second.end(ended(42));
    second.maintenance.tick(NOW).unwrap();
    assert_eq!(second.list(CdrFilter::default()), [42, 41]);
}

#[test]
fn records_are_found_by_number_extension_tenant_and_time_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut system = system(dir.path(), 1 << 20);
    let number = |n: &str| Pii::new(n.to_owned());
    for call in 1..=6 {
        let mut cdr = Cdr { started: later(call), ..ended(call) };
        match call {
            1 => cdr.caller = number("101"),
            2 => cdr.callee = number("101"),
            3 => (cdr.tenant, cdr.caller) = (TenantId(2), number("101")),
            4 => cdr.callee = number("sip:+44 20 7946 0000@example.org"),
            5 => (cdr.from_extension, cdr.to_extension) = (None, Some(ExtensionId(9))),
            _ => cdr.from_extension = Some(ExtensionId(9)),
        }
        system.end(cdr);
    }
    system.maintenance.tick(NOW).unwrap();
    // A number is looked for in the tenants that there are; the second one is not there yet.
    let by_number = |n: &str| CdrFilter { number: Some(n.to_owned()), ..CdrFilter::default() };
    assert_eq!(system.list(by_number("101")), [2, 1]);
    let text = "[[tenant]]\nname = \"b\"\n";
    let raw = ringfort_store::site::parse("site.toml", text).unwrap();
    let plan = system.store.service.plan(&raw, false).unwrap();
    let note = ringfort_store::ChangeNote { author: String::new(), comment: String::new(), at: NOW };
    assert_eq!(system.store.service.apply(plan, &note).unwrap().site.tenants[1].id, TenantId(2));
    assert_eq!(system.list(by_number("101")), [3, 2, 1]);
    assert_eq!(system.list(CdrFilter { tenant: Some(TenantId(2)), ..by_number("101") }), [3]);
    assert_eq!(system.list(CdrFilter { tenant: Some(TenantId(1)), ..by_number("101") }), [2, 1]);
    assert_eq!(system.list(by_number("+442079460000")), [4]);
    assert!(system.list(by_number("10")).is_empty());
    assert!(system.list(by_number("' OR 1=1 --")).is_empty());
    assert_eq!(system.list(CdrFilter { extension: Some(ExtensionId(9)), ..CdrFilter::default() }), [6, 5]);
    let window = CdrFilter { since: Some(later(2)), until: Some(later(5)), ..CdrFilter::default() };
    assert_eq!(system.list(window), [4, 3, 2]);
    assert_eq!(system.list(CdrFilter { limit: 2, ..CdrFilter::default() }), [6, 5]);
}

#[test]
fn a_record_is_shown_masked_or_plain() {
    let masked = CdrItem::masked(ended(1));
    assert_eq!((masked.caller.as_str(), masked.reason.as_str(), masked.talk_ms), ("+86****5678", "", 60_000));
    assert!(!format!("{masked:?}").contains("Alexandra"));
    let plain = CdrItem::plain(ended(1));
    assert_eq!(plain.caller, "+8613812345678");
    let json = serde_json::to_string(&plain).unwrap();
    assert_eq!(serde_json::from_str::<CdrItem>(&json).unwrap(), plain);
}

#[test]
fn registrations_alone_do_not_write_to_the_database_every_second() {
    let dir = tempfile::tempdir().unwrap();
    let mut system = system(dir.path(), 1 << 20);
    system.maintenance.tick(NOW).unwrap();
    let before = system.store.cdrs.position().unwrap();
    system.writer.append(&JournalRecord::Bound(binding(1, "a", 1))).unwrap();
    system.writer.flush().unwrap();
    system.maintenance.tick(NOW).unwrap();
    assert_eq!(system.store.cdrs.position().unwrap(), before);
}

#[test]
fn the_background_thread_catches_up_when_asked_and_when_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let System { store, mut writer, maintenance, .. } = system(dir.path(), 1 << 20);
    let hour = std::time::Duration::from_secs(3600);
    let handle = maintenance.spawn(hour).unwrap();
    writer.append(&JournalRecord::CallEnded(Box::new(ended(1)))).unwrap();
    writer.flush().unwrap();
    assert!(handle.catch_up(hour));
    assert_eq!(store.cdrs.list(&CdrFilter::default()).unwrap().len(), 1);
    writer.append(&JournalRecord::CallEnded(Box::new(ended(2)))).unwrap();
    writer.flush().unwrap();
    drop(handle);
    assert_eq!(store.cdrs.list(&CdrFilter::default()).unwrap().len(), 2);
}
