//! Random sites through plan, apply, export and rollback.

mod common;

use proptest::prelude::*;
use ringfort_store::site::export::Secrets;
use ringfort_store::site::parse;
use ringfort_store::{ChangeNote, Service, Store, StoreOptions};
use ringfort_switch::model::Site;

const CASES: u32 = 24;

#[derive(Clone, Debug)]
struct Line {
    number: u32,
    tenant: bool,
    name: Option<String>,
    user: Option<u8>,
    password: Option<u8>,
    srtp: Option<&'static str>,
    max_calls: Option<u32>,
    enabled: Option<bool>,
}

fn line() -> impl Strategy<Value = Line> {
    use proptest::option::of;
    let srtp = prop::sample::select(vec!["off", "offer", "require"]);
    (
        100u32..112,
        any::<bool>(),
        of("[ -~äöü\\\\\"]{0,20}"),
        of(0u8..6),
        of(any::<u8>()),
        of(srtp),
        of(1u32..9),
        of(any::<bool>()),
    )
        .prop_map(|(number, tenant, name, user, password, srtp, max_calls, enabled)| Line {
            number,
            tenant,
            name,
            user,
            password,
            srtp,
            max_calls,
            enabled,
        })
}

/// A file of these lines, valid by making numbers and users unique.
fn file(lines: &[Line]) -> String {
    let mut text = "[[tenant]]\nname = \"b\"\ndomains = [\"b.example\"]\n".to_owned();
    let mut numbers = std::collections::BTreeSet::new();
    let mut users = std::collections::BTreeSet::new();
    for line in lines.iter().filter(|l| numbers.insert((l.number, l.tenant))) {
        let mut put = |key: &str, value: String| text.push_str(&format!("{key} = {value}\n"));
        put("\n[[extension]]\nnumber", format!("\"{}\"", line.number));
        if line.tenant {
            put("tenant", "\"b\"".to_owned());
        }
        if let Some(name) = &line.name {
            put("name", toml::Value::String(name.clone()).to_string());
        }
        if let Some(user) = line.user.filter(|u| users.insert((*u, line.tenant))) {
            // Users belong to tenants and numbers in a way that lets files exchange them between extensions.
            put("sip_user", format!("\"given-{}-{}\"", line.tenant, ["a", "b", "c", "d", "e", "f"][user as usize]));
        }
        if let Some(password) = line.password {
            // In letters: three digits could be the extension's number, which a password may not contain.
            let letter = |nibble: u8| char::from(b'a' + nibble);
            let (high, low) = (letter(password >> 4), letter(password & 15));
            put("sip_password", format!("\"Zq{high}{low}-mauve-cactus-orbit\""));
        }
        if let Some(srtp) = line.srtp {
            put("srtp", format!("{srtp:?}"));
        }
        if let Some(max_calls) = line.max_calls {
            put("max_calls", max_calls.to_string());
        }
        if let Some(enabled) = line.enabled {
            put("enabled", enabled.to_string());
        }
    }
    text
}

fn note() -> ChangeNote {
    ChangeNote { author: "test".to_owned(), comment: String::new(), at: common::NOW }
}

/// `false` where the file contradicts what is there (a user name that an unnamed extension has).
fn apply(service: &Service, text: &str, prune: bool) -> Result<bool, TestCaseError> {
    let raw = parse("site.toml", text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
    let before = service.site();
    match service.plan(&raw, prune) {
        Ok(plan) => {
            let empty = plan.is_empty();
            let applied = service.apply(plan, &note()).unwrap();
            prop_assert_eq!(applied.revision, before.revision + u64::from(!empty));
            Ok(true)
        }
        Err(error) => {
            prop_assert!(error.to_string().contains("of no other extension"), "{}", error);
            prop_assert_eq!(service.site(), before);
            Ok(false)
        }
    }
}

fn without_revision(site: &Site) -> Site {
    Site { revision: 0, ..site.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) })]

    #[test]
    fn any_revision_can_be_brought_back_as_it_was(
        files in prop::collection::vec((prop::collection::vec(line(), 0..10), any::<bool>()), 1..5),
        back in any::<prop::sample::Index>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default(), [3; 32]).unwrap();
        let service = &store.service;
        let mut sites = vec![service.site()];
        for (lines, prune) in &files {
            apply(service, &file(lines), *prune)?;
            if service.site().revision as usize == sites.len() {
                sites.push(service.site());
            }
        }
        let to = back.index(sites.len());
        let applied = service.rollback(Some(to as u64), &note()).unwrap();
        prop_assert_eq!(without_revision(&applied.site), without_revision(&sites[to]));
        let last = sites.last().unwrap();
        prop_assert_eq!(service.diff(last.revision, applied.revision).unwrap(), applied.changes);
        // What is in memory is what is on disk.
        let present = service.site();
        drop(store);
        let store = Store::open(dir.path(), StoreOptions::default(), [4; 32]).unwrap();
        prop_assert_eq!(store.service.site(), present);
        for site in &sites {
            let plan = store.service.plan_rollback(Some(site.revision)).unwrap();
            let applied = store.service.apply(plan, &note()).unwrap();
            prop_assert_eq!(without_revision(&applied.site), without_revision(site));
        }
    }

    #[test]
    fn applying_a_file_twice_or_what_was_exported_changes_nothing(
        first in prop::collection::vec(line(), 0..10),
        second in prop::collection::vec(line(), 0..10),
        prune in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), StoreOptions::default(), [3; 32]).unwrap();
        let service = &store.service;
        apply(service, &file(&first), false)?;
        if apply(service, &file(&second), prune)? {
            let again = service.plan(&parse("site.toml", &file(&second)).unwrap(), prune).unwrap();
            prop_assert!(again.is_empty(), "{}", again);
        }
        for secrets in [Secrets::Omit, Secrets::Include] {
            let text = service.export(secrets);
            let plan = service.plan(&parse("site.toml", &text).unwrap(), true).unwrap();
            prop_assert!(plan.is_empty(), "{}\n{}", plan, text);
        }
        let other_dir = tempfile::tempdir().unwrap();
        let other = Store::open(other_dir.path(), StoreOptions::default(), [5; 32]).unwrap();
        apply(&other.service, &service.export(Secrets::Include), true)?;
        let lines = |service: &Service| service.export(Secrets::Include).split('\n').skip(1).map(str::to_owned).collect::<Vec<_>>();
        prop_assert_eq!(lines(&other.service), lines(service));
    }

    #[test]
    fn any_text_is_a_site_or_refused_without_a_panic(text in "[\\[\\]a-z_=\"{}, \n0-9ä.]{0,200}") {
        if let Err(errors) = parse("site.toml", &text) {
            prop_assert!(!errors.errors.is_empty());
            prop_assert!(errors.to_string().lines().count() >= errors.errors.len());
        }
    }
}
