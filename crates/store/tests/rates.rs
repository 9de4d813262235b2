//! Price lists of trunks: imported, planned, kept, exported, rolled back.

use std::path::Path;
use std::time::Instant;

use ringfort_store::site::export::Secrets;
use ringfort_store::site::{parse, rates};
use ringfort_store::{ChangeNote, Plan, RatesFile, Service, ServiceError, Store, StoreOptions};
use ringfort_switch::model::Rate;
use ringfort_switch::record::UnixMillis;

const SITE: &str = "[[tenant]]\nname = \"other\"\n\
                    [[trunk]]\nname = \"cheap\"\nserver = \"sip:192.0.2.1\"\n\
                    [[trunk]]\nname = \"solid\"\nserver = \"sip:192.0.2.2\"\n\
                    [[trunk]]\nname = \"solid\"\ntenant = \"other\"\nserver = \"sip:192.0.2.3\"\n";
const PRICES: &str = "prefix,per_minute,connection,first_s,step_s\n44,0.01,0,60,60\n447,0.05,0.1,30,6\n";

fn open(dir: &Path) -> Store {
    Store::open(dir, StoreOptions::default(), [5; 32]).unwrap()
}

fn note() -> ChangeNote {
    ChangeNote { author: "test".to_owned(), comment: String::new(), at: UnixMillis(1_700_000_000_000) }
}

fn with_site(dir: &Path) -> Store {
    let store = open(dir);
    let plan = store.service.plan(&parse("site.toml", SITE).unwrap(), false).unwrap();
    store.service.apply(plan, &note()).unwrap();
    store
}

fn plan(service: &Service, trunk: &str, text: &str, currency: Option<&str>) -> Result<Plan, ServiceError> {
    service.plan_rates(trunk, Some(RatesFile { file: "acme.csv", text, currency }))
}

fn import(service: &Service, trunk: &str, text: &str, currency: Option<&str>) -> u64 {
    let plan = plan(service, trunk, text, currency).unwrap();
    service.apply(plan, &note()).unwrap().revision
}

fn refused(service: &Service, trunk: &str, text: &str, currency: Option<&str>) -> String {
    plan(service, trunk, text, currency).unwrap_err().to_string()
}

#[test]
fn prices_are_planned_kept_over_a_restart_exported_and_rolled_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_site(dir.path());
    let shown = plan(&store.service, "cheap", PRICES, Some("EUR")).unwrap().to_string();
    assert!(shown.starts_with("+ rates cheap\n    currency: EUR\n    prefixes: 2\n"), "{shown}");
    assert_eq!(import(&store.service, "cheap", PRICES, Some("EUR")), 2);
    assert!(plan(&store.service, "cheap", PRICES, None).unwrap().is_empty(), "the same again is no change");

    let newer = PRICES.replace("447,0.05", "447,0.06").replace("44,0.01", "1,0.01");
    let shown = plan(&store.service, "cheap", &newer, None).unwrap().to_string();
    assert!(
        shown.starts_with("~ rates cheap\n    changed: 1 of 2\n    new: 1 of 2\n    gone: 1 of 2\nPlan on revision 2"),
        "{shown}"
    );
    assert_eq!(import(&store.service, "cheap", &newer, None), 3);
    drop(store);

    let store = open(dir.path());
    let site = store.service.site();
    let id = store.service.trunk_named("cheap").unwrap().id;
    let mobile = Rate { prefix: "447".into(), per_minute: 60_000, connection: 100_000, first_s: 30, step_s: 6 };
    assert_eq!((site.rates[&id].currency.as_str(), &site.rates[&id].rates[1]), ("EUR", &mobile));
    assert!(rates::write(&site.rates[&id]).contains("447,0.06,0.10,30,6\n"));
    let text = store.service.export(Secrets::Omit);
    assert!(text.contains("# Rates of trunk cheap: 2 prefixes in EUR."), "{text}");
    assert!(store.service.plan(&parse("site.toml", &text).unwrap(), true).unwrap().is_empty(), "they are kept");

    let diff = store.service.diff(2, 3).unwrap();
    assert_eq!((diff.len(), diff[0].name.as_str()), (1, "cheap"));
    let back = store.service.rollback(Some(2), &note()).unwrap();
    assert_eq!(back.site.rates[&id].rates[1].per_minute, 50_000);
    assert!(store.service.rollback(Some(1), &note()).unwrap().site.rates.is_empty());
}

#[test]
fn a_trunk_takes_its_prices_with_it_and_brings_them_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_site(dir.path());
    import(&store.service, "cheap", PRICES, Some("EUR"));
    let without = parse("site.toml", &SITE.replace("name = \"cheap\"", "name = \"dear\"")).unwrap();
    let plan = store.service.plan(&without, true).unwrap();
    assert!(plan.to_string().contains("- rates cheap\n"), "{plan}");
    assert!(store.service.apply(plan, &note()).unwrap().site.rates.is_empty());
    assert_eq!(store.service.rollback(Some(2), &note()).unwrap().site.rates.len(), 1);
    let plan = store.service.plan_rates("cheap", None).unwrap();
    assert!(store.service.apply(plan, &note()).unwrap().site.rates.is_empty());
    let again = store.service.plan_rates("cheap", None).unwrap_err().to_string();
    assert!(again.contains("expected rates to delete, got a trunk without any"), "{again}");
}

#[test]
fn what_cannot_be_imported_is_refused_with_words_that_help() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_site(dir.path());
    let service = &store.service;
    assert_eq!(
        refused(service, "gold", PRICES, Some("EUR")),
        "trunk \"gold\": expected one of cheap, solid, solid, got none of that name"
    );
    assert!(refused(service, "solid", PRICES, Some("EUR")).contains("several tenants have one, write TENANT/NAME"));
    assert!(refused(service, "cheap", PRICES, None).contains("add --currency EUR"));
    assert!(refused(service, "cheap", PRICES, Some("euro")).contains("expected three capital letters such as EUR"));
    assert!(refused(service, "cheap", "44,1\n", Some("EUR")).starts_with("acme.csv:1:1: expected one of prefix"));
    import(service, "cheap", PRICES, Some("EUR"));
    let mixed = refused(service, "default/solid", PRICES, Some("USD"));
    assert!(
        mixed.starts_with(
            "trunk \"solid\": expected rates in EUR, got USD: trunk cheap of the same tenant has that currency"
        ),
        "{mixed}"
    );
    import(service, "other/solid", PRICES, Some("USD"));
    assert_eq!(service.site().rates.len(), 2, "another tenant has its own currency");
    let changed = plan(service, "other/solid", PRICES, Some("GBP")).unwrap().to_string();
    assert!(
        changed.contains("currency: USD -> GBP (limits begin anew; what was spent in USD is kept apart)"),
        "a trunk that is alone may change: {changed}"
    );
    import(service, "default/solid", PRICES, None);
    assert_eq!(service.site().rates.values().filter(|t| t.currency == "EUR").count(), 2);
}

#[test]
fn a_hundred_thousand_prefixes_are_imported_and_are_there_after_a_restart_in_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let store = with_site(dir.path());
    let mut text = "prefix,per_minute\n".to_owned();
    (0..100_000).for_each(|n| text.push_str(&format!("{},0.{:04}\n", 100_000 + n, n % 10_000)));
    #[allow(clippy::disallowed_methods, reason = "a test of speed")]
    let begin = Instant::now();
    import(&store.service, "cheap", &text, Some("EUR"));
    let imported = begin.elapsed();
    drop(store);
    let store = open(dir.path());
    let all = begin.elapsed();
    assert_eq!(store.service.site().rates.values().next().unwrap().rates.len(), 100_000);
    eprintln!("imported in {imported:?}, opened again in {:?}", all - imported);
    assert!(all.as_millis() < 3_000, "{all:?}");
}
