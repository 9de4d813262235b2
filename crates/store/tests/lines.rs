//! Trunks, routes and aliases from a file to the site and back.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use ringfort_store::site::export::Secrets;
use ringfort_store::site::parse;
use ringfort_store::{ChangeNote, Service, ServiceError, Store, StoreOptions};
use ringfort_switch::model::{Destination, Pattern, Site, TrunkKind, TrunkOrder, Unrated};
use ringfort_switch::record::UnixMillis;

const COMPANY: &str = r#"
[[tenant]]
name = "default"
domains = ["example.org"]
country = "44"
area = "20"
national_prefix = "0"
emergency = ["999", "112"]
time_zone = "Europe/London"

[[extension]]
number = "101"
groups = ["office"]
international = true
caller_id = "+442079460101"

[[trunk]]
name = "cheap"
kind = "register"
server = "sip:sip.cheap.example;transport=tcp"
user = "acct"
password = "Provider-Secret-1"
register_for = "5m"
max_calls = 4

[[trunk]]
name = "solid"
server = "sip:192.0.2.10:5080"
sources = ["192.0.2.0/28", "2001:db8::1"]
inbound_user = "solid-in"
number_format = "digits"

[[route]]
name = "emergency"
patterns = ["exact:112", "exact:999"]
trunks = ["solid", "cheap"]

[[route]]
name = "abroad"
patterns = ["prefix:00", "+X."]
groups = ["office"]
hours = ["mon-fri 08:00-18:00"]
trunks = ["cheap", "solid"]
order = "least-cost"
ring_for = "40s"

[[route]]
name = "published"
patterns = ["any"]
enum = "E164.arpa."

[[inbound]]
name = "front"
trunk = "solid"
called = "exact:+442079460101"
to = "extension 101"

[[inbound]]
name = "rest"
to = "reject 404"

[[alias]]
name = "director"
to = "extension 101"
published = true
"#;

fn open(dir: &Path) -> Store {
    Store::open(dir, StoreOptions::default(), [5; 32]).unwrap()
}

fn note() -> ChangeNote {
    ChangeNote { author: "test".to_owned(), comment: String::new(), at: UnixMillis(1_700_000_000_000) }
}

fn apply(service: &Service, text: &str, prune: bool) -> Site {
    let plan = service.plan(&parse("site.toml", text).unwrap(), prune).unwrap();
    let site = service.apply(plan, &note()).unwrap().site;
    (*site).clone()
}

fn refused(service: &Service, text: &str, prune: bool) -> String {
    match service.plan(&parse("site.toml", text).unwrap(), prune) {
        Err(ServiceError::Site(errors)) => errors.to_string(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn same(a: &Site, b: &Site) {
    let plain = |site: &Site| Site { revision: 0, ..site.clone() };
    assert_eq!(plain(a), plain(b));
}

#[test]
fn a_company_with_two_providers_survives_a_restart_an_export_and_a_rollback() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let site = apply(&store.service, COMPANY, false);
    assert_eq!(site.tenants[0].numbers.country, "44");
    let trunks: Vec<_> = site.trunks.values().collect();
    assert_eq!((trunks[0].name.as_str(), trunks[0].kind), ("cheap", TrunkKind::Register));
    assert_eq!(trunks[0].register_for, Duration::from_secs(300));
    assert_eq!(trunks[0].credentials.as_ref().unwrap().password.reveal(), "Provider-Secret-1");
    assert!(trunks[1].inbound_credentials.as_ref().unwrap().password.reveal().len() >= 20);
    let routes: Vec<_> = site.outbound.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(routes, ["emergency", "abroad", "published"]);
    assert_eq!((site.outbound[2].enum_domain.as_deref(), site.outbound[2].trunks.len()), (Some("e164.arpa"), 0));
    assert_eq!(site.outbound[1].patterns[0], Pattern::Prefix("00".to_owned()));
    assert_eq!(site.outbound[1].order, TrunkOrder::LeastCost);
    assert_eq!(site.outbound[1].trunks, [trunks[0].id, trunks[1].id]);
    assert_eq!(site.inbound[1].to, Destination::Reject(404));
    assert!(site.aliases[0].published);
    drop(store);

    let store = open(dir.path());
    assert_eq!(*store.service.site(), site);
    let again = store.service.plan(&parse("site.toml", COMPANY).unwrap(), true).unwrap();
    assert!(again.is_empty(), "{again}");
    let text = store.service.export(Secrets::Omit);
    assert!(!text.contains("Provider-Secret"));
    let again = store.service.plan(&parse("site.toml", &text).unwrap(), true).unwrap();
    assert!(again.is_empty(), "{again}\n{text}");

    let less = "trunk = []\nroute = []\ninbound = []\nalias = []";
    assert!(apply(&store.service, less, true).trunks.is_empty());
    let back = store.service.rollback(Some(1), &note()).unwrap();
    same(&back.site, &site);

    let other_dir = tempfile::tempdir().unwrap();
    let other = open(other_dir.path());
    let copy = apply(&other.service, &store.service.export(Secrets::Include), true);
    same(&copy, &site);
}

#[test]
fn every_mistake_of_lines_is_found_in_one_run_with_its_place() {
    let text = "[[trunk]]\nname = \"a\"\nservers = \"sip:x\"\nregister_for = 5\n\n[[route]]\npatterns = \"any\"\n";
    let errors = parse("site.toml", text).unwrap_err().to_string();
    assert!(errors.contains("site.toml:3:1: trunk \"a\": servers:"), "{errors}");
    assert!(errors.contains("did you mean server?"), "{errors}");
    assert!(errors.contains("site.toml:4:16: trunk \"a\": register_for: expected a duration"), "{errors}");
    assert!(errors.contains("every [[route]] needs name"), "{errors}");

    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let text = "[[tenant]]\nname = \"default\"\ncountry = \"+44\"\ntime_zone = \"Europe/Nowhere\"\n\
                [[trunk]]\nname = \"a\"\nkind = \"register\"\nserver = \"provider.example\"\nsources = [\"10.0.0.0/33\"]\n\
                codecs = [\"not a codec\"]\nfrom = \"nobody\"\ninbound_user = \"x\"\ninbound_password = \"123\"\n\
                [[route]]\nname = \"r\"\npatterns = [\"prefix:\", \"[\"]\ntrunks = [\"b\"]\nhours = [\"never\"]\n\
                [[inbound]]\nname = \"i\"\nto = \"trunk a\"\n[[alias]]\nname = \"x\"\nto = \"extension 9\"\n";
    let errors = refused(&store.service, text, false);
    for part in [
        "site.toml:3:11: tenant \"default\": country",
        "site.toml:4:13: tenant \"default\": time_zone",
        "trunk \"a\": user: expected the user of the account",
        "site.toml:8:10: trunk \"a\": server",
        "site.toml:9:12: trunk \"a\": sources",
        "site.toml:10:11: trunk \"a\": codecs",
        "site.toml:11:8: trunk \"a\": from: expected one of caller, account",
        "trunk \"a\": inbound_password",
        "site.toml:16:13: route \"r\": patterns",
        "site.toml:16:24: route \"r\": patterns",
        "site.toml:17:11: route \"r\": trunks: expected one of a, got \"b\"",
        "site.toml:18:10: route \"r\": hours",
        "site.toml:21:6: inbound \"i\": to: expected extension NUMBER or reject STATUS",
        "site.toml:24:6: alias \"x\": to: expected an extension of the tenant",
    ] {
        assert!(errors.contains(part), "{part}\n{errors}");
    }
    assert!(!errors.contains("\"123\""), "{errors}");
}

#[test]
fn what_something_leads_to_is_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    apply(&store.service, COMPANY, false);
    let errors = refused(&store.service, "trunk = []", true);
    assert!(errors.contains("route \"abroad\": trunks: expected something that stays"), "{errors}");
    let errors = refused(&store.service, "extension = []", true);
    assert!(errors.contains("alias \"director\": to"), "{errors}");
    let error = store.service.extension_delete(None, "101", &note()).unwrap_err().to_string();
    assert!(error.contains("alias \"director\" leads to"), "{error}");
}

#[test]
fn an_absent_password_is_kept_and_a_plan_hides_both() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    apply(&store.service, COMPANY, false);
    let text = COMPANY.replace("password = \"Provider-Secret-1\"\n", "");
    let site = apply(&store.service, &text, true);
    let kept = |site: &Site| site.trunks.values().next().unwrap().credentials.as_ref().unwrap().password.clone();
    assert_eq!(kept(&site).reveal(), "Provider-Secret-1");
    let text = COMPANY.replace("Secret-1", "Secret-2").replace("max_calls = 4", "max_calls = 5");
    let plan = store.service.plan(&parse("site.toml", &text).unwrap(), true).unwrap();
    let shown = plan.to_string();
    assert!(shown.contains("~ trunk cheap\n    password: *** -> ***\n    max_calls: 4 -> 5\n"), "{shown}");
    assert!(!format!("{plan:?}").contains("Secret-2"));
}

#[test]
fn passwords_and_numbers_of_lines_are_not_readable_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    apply(&store.service, COMPANY, false);
    drop(store);
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let path = file.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        for secret in ["Provider-Secret-1", "sip.cheap.example"] {
            assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "{secret} in {}", path.display());
        }
    }
}

/// Trunks 0 to 3 and routes 0 to 4 over them, in any order.
fn lines() -> impl Strategy<Value = String> {
    let route = (0u8..5, prop::collection::hash_set(0u8..4, 1..4), any::<bool>());
    (prop::collection::vec(0u32..9, 4), prop::collection::vec(route, 0..5)).prop_map(|(limits, routes)| {
        let mut text = "route = []\n".repeat(usize::from(routes.is_empty()));
        for (trunk, limit) in limits.iter().enumerate() {
            text += &format!(
                "[[trunk]]\nname = \"t{trunk}\"\nserver = \"sip:192.0.2.{trunk}\"\nmax_calls = {}\n",
                limit + 1
            );
        }
        let mut seen = std::collections::HashSet::new();
        for (name, trunks, cheap) in routes.into_iter().filter(|r| seen.insert(r.0)) {
            let trunks: Vec<String> = trunks.iter().map(|t| format!("\"t{t}\"")).collect();
            let order = if cheap { "least-cost" } else { "listed" };
            text += &format!(
                "[[route]]\nname = \"r{name}\"\npatterns = [\"any\"]\ntrunks = [{}]\norder = \"{order}\"\n",
                trunks.join(", ")
            );
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    #[test]
    fn any_lines_come_back_by_export_restart_and_rollback(files in prop::collection::vec(lines(), 1..4)) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let mut sites = vec![(*store.service.site()).clone()];
        for text in &files {
            let site = apply(&store.service, text, true);
            let again = store.service.plan(&parse("site.toml", text).unwrap(), true).unwrap();
            prop_assert!(again.is_empty(), "{}\n{}", again, text);
            if site.revision as usize == sites.len() {
                sites.push(site);
            }
        }
        let text = store.service.export(Secrets::Omit);
        let again = store.service.plan(&parse("site.toml", &text).unwrap(), true).unwrap();
        prop_assert!(again.is_empty(), "{}\n{}", again, text);
        let present = store.service.site();
        drop(store);
        let store = open(dir.path());
        prop_assert_eq!(store.service.site(), present);
        for site in &sites {
            same(&store.service.rollback(Some(site.revision), &note()).unwrap().site, site);
        }
    }
}

#[test]
fn the_worked_example_in_docs_is_taken() {
    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/routing.md");
    let page = std::fs::read_to_string(PAGE).unwrap();
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let site = apply(&open(dir.path()).service, example, false);
    assert_eq!((site.trunks.len(), site.outbound.len(), site.inbound.len(), site.aliases.len()), (2, 3, 3, 1));
}

#[test]
fn limits_of_spending_are_amounts_kept_exactly_and_shown_in_plans_and_exports() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let text = COMPANY
        .replace("international = true\n", "international = true\nspend_per_call = \"2.50\"\nspend_per_day = \"10\"\n")
        .replace("max_calls = 4\n", "max_calls = 4\nspend_per_month = \"120.000001\"\n")
        .replace("area = \"20\"\n", "area = \"20\"\nspend_per_day = \"0\"\nunrated = \"allow\"\n");
    let site = apply(&store.service, &text, false);
    let of_extension = site.extensions.values().next().unwrap().calling.spend;
    assert_eq!((of_extension.per_call, of_extension.per_day), (Some(2_500_000), Some(10_000_000)));
    assert_eq!(site.trunks.values().next().unwrap().spend.per_month, Some(120_000_001));
    assert_eq!((site.tenants[0].numbers.spend.per_day, site.tenants[0].numbers.unrated), (Some(0), Unrated::Allow));
    let exported = store.service.export(Secrets::Omit);
    assert!(exported.contains("spend_per_month = \"120.000001\"") && exported.contains("unrated = \"allow\""));
    drop(store);
    let store = open(dir.path());
    same(&store.service.site(), &site);
    assert!(store.service.plan(&parse("site.toml", &exported).unwrap(), true).unwrap().is_empty());
    let raised = text.replace("spend_per_day = \"10\"", "spend_per_day = \"12.5\"");
    let plan = store.service.plan(&parse("site.toml", &raised).unwrap(), true).unwrap().to_string();
    assert!(plan.contains("~ extension 101\n    spend_per_day: 10.00 -> 12.50\n"), "{plan}");

    let wrong = "[[trunk]]\nname = \"a\"\nserver = \"sip:192.0.2.1\"\nspend_per_day = \"12,50\"\n\
                 [[extension]]\nnumber = \"9\"\nspend_per_call = \"-1\"\n[[tenant]]\nname = \"default\"\nunrated = \"perhaps\"\n";
    let errors = refused(&store.service, wrong, false);
    for part in [
        "site.toml:4:17: trunk \"a\": spend_per_day: expected an amount, got \"12,50\"; write a point instead of the comma",
        "site.toml:7:18: extension \"9\": spend_per_call: expected an amount, got \"-1\"; write digits with a point",
        "site.toml:10:11: tenant \"default\": unrated: expected one of refuse, allow, got \"perhaps\"",
    ] {
        assert!(errors.contains(part), "{part}\n{errors}");
    }
    let number = parse("site.toml", "[[extension]]\nnumber = \"9\"\nspend_per_call = 1.5\n").unwrap_err().to_string();
    assert!(number.contains("site.toml:3:18: extension \"9\": spend_per_call: expected text in quotes"), "{number}");
}
