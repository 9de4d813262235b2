//! Plan, apply, roll back and export through the service, as a person would.

use std::path::Path;

use ringfort_store::credentials;
use ringfort_store::service::Rotate;
use ringfort_store::site::export::Secrets;
use ringfort_store::site::parse;
use ringfort_store::{
    Action, ChangeNote, ExtensionFields, RawSite, Service, ServiceError, SiteErrors, Store, StoreOptions,
};
use ringfort_switch::model::{Secret, SrtpPolicy};
use ringfort_switch::record::UnixMillis;

fn note(comment: &str) -> ChangeNote {
    ChangeNote { author: "admin".to_owned(), comment: comment.to_owned(), at: UnixMillis(1_700_000_000_000) }
}

fn open(dir: &Path) -> Store {
    let options = StoreOptions { default_domains: vec!["Example.ORG".to_owned()], ..StoreOptions::default() };
    Store::open(dir, options, [5; 32]).unwrap()
}

fn raw(text: &str) -> RawSite {
    parse("site.toml", text).unwrap()
}

fn errors(text: &str) -> String {
    parse("site.toml", text).unwrap_err().to_string()
}

fn refused(service: &Service, text: &str) -> String {
    match service.plan(&raw(text), false) {
        Err(ServiceError::Site(errors)) => errors.to_string(),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn apply(service: &Service, text: &str, prune: bool) -> u64 {
    let plan = service.plan(&raw(text), prune).unwrap();
    service.apply(plan, &note("")).unwrap().revision
}

const TWO: &str = "[[extension]]\nnumber = \"101\"\nname = \"Anna\"\n\n[[extension]]\nnumber = \"102\"\n";

#[test]
fn a_file_makes_extensions_with_generated_credentials_that_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let before = {
        let store = open(dir.path());
        let plan = store.service.plan(&raw(TWO), false).unwrap();
        assert_eq!(
            plan.to_string(),
            "+ extension 101\n    number: 101\n    name: Anna\n    sip_user: generated\n    srtp: offer\n    \
             max_calls: 4\n    max_contacts: 10\n    enabled: true\n    sip_password: generated\n+ extension 102\n    \
             number: 102\n    name: \n    sip_user: generated\n    srtp: offer\n    max_calls: 4\n    \
             max_contacts: 10\n    enabled: true\n    sip_password: generated\nPlan on revision 0: 2 to create, 0 to \
             change, 0 to delete, 1 unchanged."
        );
        let applied = store.service.apply(plan, &note("first")).unwrap();
        assert_eq!((applied.revision, applied.site.extensions.len(), applied.changes.len()), (1, 2, 2));
        applied.site
    };
    let store = open(dir.path());
    assert_eq!(store.service.site(), before);
    assert_eq!(before.tenants[0].domains, ["example.org"]);
    for extension in before.extensions.values() {
        let credentials = &extension.credentials;
        assert!(!credentials.user.contains(&extension.number));
        assert!(credentials.password.reveal().len() >= 20);
    }
}

#[test]
fn applying_the_same_file_again_keeps_secrets_and_makes_no_revision() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service;
    assert_eq!(apply(&service, TWO, false), 1);
    let plan = service.plan(&raw(TWO), true).unwrap();
    assert!(plan.is_empty(), "{plan}");
    assert_eq!(service.apply(plan, &note("")).unwrap().revision, 1);
    assert_eq!(service.revisions(10).unwrap().len(), 1);
}

#[test]
fn what_a_file_does_not_name_is_deleted_with_prune_only() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service;
    apply(&service, TWO, false);
    let one = "[[extension]]\nnumber = \"101\"\nname = \"Anna\"\n";
    let plan = service.plan(&raw(one), false).unwrap();
    assert!(plan.is_empty() && plan.unnamed == 1);
    assert!(plan.to_string().contains("1 that the file does not name is kept; --prune deletes it."), "{plan}");
    // A file that does not speak of extensions at all does not manage them.
    let tenants = "[[tenant]]\nname = \"b\"\ndomains = [\"b.example\"]\n";
    assert_eq!(service.plan(&raw(tenants), true).unwrap().count(Action::Delete), 0);
    assert_eq!(service.plan(&raw("extension = []"), true).unwrap().count(Action::Delete), 2);
    let plan = service.plan(&raw(one), true).unwrap();
    assert_eq!(
        plan.to_string(),
        "- extension 102\nPlan on revision 1: 0 to create, 0 to change, 1 to delete, 2 unchanged."
    );
    service.apply(plan, &note("")).unwrap();
    assert_eq!(service.extension_list(None).len(), 1);
}

#[test]
fn a_plan_shows_fields_before_and_after_and_hides_passwords() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service;
    apply(&service, TWO, false);
    let text = "[[extension]]\nnumber = \"101\"\nname = \"Berta\"\nsrtp = \"require\"\n\n[[extension]]\nnumber = \
                \"102\"\nsip_password = \"kq7-Vz!mW3xBr\"\n";
    let plan = service.plan(&raw(text), false).unwrap();
    assert_eq!(
        plan.to_string(),
        "~ extension 101\n    name: Anna -> Berta\n    srtp: offer -> require\n\
         ~ extension 102\n    sip_password: *** -> ***\nPlan on revision 1: 0 to create, 2 to change, 0 to delete, 1 \
         unchanged."
    );
    assert!(!format!("{plan:?}").contains("kq7-Vz"));
}

#[test]
fn a_plan_made_before_another_change_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service;
    let plan = service.plan(&raw(TWO), false).unwrap();
    service.extension_add(None, "103", ExtensionFields::default(), &note("")).unwrap();
    let error = service.apply(plan, &note("")).unwrap_err();
    assert!(matches!(error, ServiceError::Stale { base: 0, current: 1 }));
    assert!(error.to_string().contains("make the plan anew"), "{error}");
    assert_eq!(service.extension_list(None).len(), 1);
}

#[test]
fn rolling_back_brings_the_site_before_with_its_secrets_and_ids_as_a_new_revision() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service;
    apply(&service, TWO, false);
    let first = service.site();
    service.extension_rotate(None, "101", Rotate::UserAndPassword, &note("")).unwrap();
    service.extension_delete(None, "102", &note("")).unwrap();
    let back = service.rollback(Some(1), &note("oops")).unwrap();
    assert_eq!((back.revision, &back.site.extensions), (4, &first.extensions));
    let list = service.revisions(10).unwrap();
    assert_eq!(list.len(), 4);
    assert_eq!(
        (list[0].rollback_to, list[0].comment.as_str(), list[0].created, list[0].changed),
        (Some(1), "oops", 1, 1)
    );
    // Back to the one before, twice: a rollback can be rolled back.
    assert_eq!(service.rollback(None, &note("")).unwrap().site.extensions.len(), 1);
    assert_eq!(service.rollback(Some(0), &note("")).unwrap().site.extensions.len(), 0);
    let error = service.rollback(Some(99), &note("")).unwrap_err();
    assert!(error.to_string().contains("from 0 to 6"), "{error}");
    drop(service);
    assert!(open(dir.path()).service.site().extensions.is_empty());
}

#[test]
fn an_id_is_never_used_twice() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service;
    let add = || service.extension_add(None, "101", ExtensionFields::default(), &note("")).unwrap().0.id;
    let first = add();
    service.extension_delete(None, "101", &note("")).unwrap();
    assert_ne!(add(), first);
}

#[test]
fn revisions_can_be_compared_and_the_comparison_shows_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service;
    apply(&service, TWO, false);
    service.extension_rotate(None, "101", Rotate::Password, &note("")).unwrap();
    let fields = ExtensionFields { enabled: Some(false), ..ExtensionFields::default() };
    service.extension_set(None, "102", fields, &note("")).unwrap();
    let shown: String = service.diff(1, 3).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(shown, "~ extension 101\n    sip_password: *** -> ***\n~ extension 102\n    enabled: true -> false\n");
    assert_eq!(service.diff(3, 3).unwrap(), []);
    let shown: String = service.diff(3, 0).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(shown, "- extension 101\n- extension 102\n");
}

#[test]
fn two_extensions_of_a_file_can_exchange_their_user_names() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service;
    let text = |a, b| {
        format!(
            "[[extension]]\nnumber = \"101\"\nsip_user = \"{a}\"\n[[extension]]\nnumber = \"102\"\nsip_user = \"{b}\"\n"
        )
    };
    apply(&service, &text("left", "right"), false);
    apply(&service, &text("right", "left"), false);
    assert_eq!(service.extension_show(None, "101").unwrap().credentials.user, "right");
    let error = refused(&service, "[[extension]]\nnumber = \"103\"\nsip_user = \"left\"\n");
    assert!(
        error.starts_with("site.toml:3:12: extension \"103\": sip_user: expected a SIP user name of no other"),
        "{error}"
    );
    assert!(error.contains("\"102\""), "{error}");
}

#[test]
fn weak_credentials_in_a_file_are_refused_with_place_and_reason_and_never_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service;
    let text = "[[extension]]\nnumber = \"101\"\nsip_user = \"phone-101\"\nsip_password = \"\"\n\n[[extension]]\nnumber \
                = \"102\"\nsip_user = \"u00000\"\nsip_password = \"bench-secret-of-u00000\"\nmax_calls = 0\n";
    let error = refused(&service, text);
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 4, "{error}");
    assert_eq!(
        lines[0],
        "site.toml:3:12: extension \"101\": sip_user: expected a SIP user name that cannot be guessed from the \
         extension's number, got one that contains the extension's number 101; leave it out: a good one is generated"
    );
    assert_eq!(
        lines[1],
        "site.toml:4:16: extension \"101\": sip_password: expected a password of 12 to 128 characters, got an empty \
         one; leave it out: a good one is generated"
    );
    assert!(lines[2].starts_with("site.toml:9:16: extension \"102\": sip_password: "), "{error}");
    assert!(lines[2].contains("contains the SIP user name") && !error.contains("bench"), "{error}");
    assert!(lines[3].starts_with("site.toml:10:13: extension \"102\": max_calls: expected 1 or more"), "{error}");
}

#[test]
fn every_wrong_key_and_type_of_a_file_is_told_at_once_with_line_and_column() {
    let text = "[[extension]]\nnumber = 101\n\n[[extension]]\nname = \"no number\"\n\n[[extension]]\nnumber = \
                \"103\"\npasword = \"x\"\nsrtp = \"always\"\nmax_calls = \"4\"\nenabled = 1\nsip_password = \
                12345\n\n[[tennant]]\nname = \"x\"\n";
    let error = errors(text);
    let expected = [
        "site.toml:2:10: extension 1: number: expected text in quotes, got the number 101; write number = \"101\"",
        "site.toml:5:1: extension 2: expected a number, got none; every [[extension]] needs number = \"…\"",
        "site.toml:9:1: extension \"103\": pasword: expected one of number, tenant, name, sip_user, sip_password, srtp, \
         max_calls, max_contacts, enabled, groups, international, context, domains, caller_id, hide_caller_id, spend_per_call, spend_per_day, spend_per_month, got a key that is not known; did you mean sip_password?",
        "site.toml:10:8: extension \"103\": srtp: expected \"off\", \"offer\" or \"require\", got \"always\"; \
         \"offer\" encrypts where the phone uses TLS, \"require\" always",
        "site.toml:11:13: extension \"103\": max_calls: expected a whole number from 0 to 100000, got \"4\"; write it \
         without quotes",
        "site.toml:12:11: extension \"103\": enabled: expected true or false, got the number 1; write it without quotes",
        "site.toml:13:16: extension \"103\": sip_password: expected text in quotes, got an integer; write \
         sip_password = \"…\", or leave it out: a good one is generated",
        "site.toml:15:3: tennant: expected one of tenant, extension, trunk, route, inbound, alias, got a key that is not known; did you mean tenant?",
    ];
    assert_eq!(error.lines().collect::<Vec<_>>(), expected, "{error}");
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_the_line() {
    let error = errors("[[extension]]\nnumber = \"101\"\nname = \"Anna\nsrtp = \"off\"\n");
    assert!(error.starts_with("site.toml:3:"), "{error}");
    let twice = errors("[[extension]]\nnumber = \"101\"\nnumber = \"102\"\n");
    assert!(twice.starts_with("site.toml:3:1: expected TOML, got what does not parse: duplicate key"), "{twice}");
}

#[test]
fn columns_count_characters_not_bytes() {
    let error = errors("[[extension]]\nnumber = \"101\"\n'ключ' = 1\n\"ÄÖ\" = { x = 1 }\n");
    assert!(error.contains("site.toml:3:1: ") && error.contains("site.toml:4:1: "), "{error}");
    let list = errors("[[tenant]]\nname = \"a\"\ndomains = [\"äöü\", 5]\n");
    assert!(list.contains("site.toml:3:19: "), "{list}");
}

#[test]
fn objects_that_contradict_each_other_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service;
    let twice = refused(&service, "[[extension]]\nnumber = \"101\"\n[[extension]]\nnumber = \"101\"\n");
    assert!(
        twice.contains("site.toml:4:10: extension \"101\": expected each name once") && twice.contains("line 2"),
        "{twice}"
    );
    let domain = refused(&service, "[[tenant]]\nname = \"b\"\ndomains = [\"EXAMPLE.org\"]\n");
    assert!(domain.contains("tenant \"default\"'s"), "{domain}");
    let tenant = refused(&service, "[[extension]]\nnumber = \"101\"\ntenant = \"c\"\n");
    assert!(tenant.contains("site.toml:3:10: ") && tenant.contains("one of default"), "{tenant}");
    for number in ["", "10 1", "Anna", "a@b", "+49"] {
        let error = refused(&service, &format!("[[extension]]\nnumber = \"{number}\"\n"));
        assert!(error.contains("expected digits, or a name"), "{error}");
    }
    for domain in ["", "sip:x", "a b", "-a.example", "x:5060"] {
        let error = refused(&service, &format!("[[tenant]]\nname = \"b\"\ndomains = [\"{domain}\"]\n"));
        assert!(error.contains("expected a host name or an IP address"), "{error}");
    }
}

#[test]
fn tenants_have_their_own_numbers_and_cannot_be_deleted_with_extensions_in_them() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service;
    let both = "[[tenant]]\nname = \"b\"\ndomains = [\"B.example\", \"[::1]\"]\n\n[[extension]]\nnumber = \
                \"101\"\n\n[[extension]]\nnumber = \"101\"\ntenant = \"b\"\n";
    apply(&service, both, false);
    assert_eq!(service.extension_list(None).len(), 2);
    assert_eq!(service.extension_list(Some("b")).len(), 1);
    assert_ne!(service.extension_show(Some("b"), "101").unwrap().id, service.extension_show(None, "101").unwrap().id);
    let Err(ServiceError::Site(error)) = service.plan(&raw("tenant = []"), true) else { panic!("refused") };
    assert!(error.to_string().contains("tenant \"b\": expected no extensions in a tenant that is deleted"), "{error}");
    let gone = "tenant = []\n[[extension]]\nnumber = \"101\"\n";
    assert_eq!(service.plan(&raw(gone), true).unwrap().count(Action::Delete), 2);
    apply(&service, gone, true);
    let back = service.rollback(Some(1), &note("")).unwrap();
    assert_eq!(back.site.tenants[1].domains, ["b.example", "[::1]"]);
}

#[test]
fn changes_by_hand_keep_what_is_not_given_and_files_reset_it() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service;
    let fields = ExtensionFields {
        name: Some("Anna".to_owned()),
        srtp: Some(SrtpPolicy::Require),
        max_calls: Some(2),
        ..ExtensionFields::default()
    };
    service.extension_add(None, "101", fields, &note("")).unwrap();
    let set = ExtensionFields { max_contacts: Some(3), ..ExtensionFields::default() };
    let (after, _) = service.extension_set(None, "101", set, &note("")).unwrap();
    assert_eq!(
        (after.name.as_str(), after.srtp, after.max_calls, after.max_contacts),
        ("Anna", SrtpPolicy::Require, 2, 3)
    );
    apply(&service, "[[extension]]\nnumber = \"101\"\n", false);
    let reset = service.extension_show(None, "101").unwrap();
    assert_eq!((reset.name.as_str(), reset.srtp, reset.max_calls, reset.max_contacts), ("", SrtpPolicy::Offer, 4, 10));
    assert_eq!(reset.credentials, after.credentials);
}

#[test]
fn single_extensions_are_refused_with_reasons_too() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service;
    let weak = ExtensionFields { sip_password: Some(Secret::new("101-short")), ..ExtensionFields::default() };
    let error = service.extension_add(None, "101", weak, &note("")).unwrap_err().to_string();
    assert_eq!(
        error,
        "extension \"101\": sip_password: expected a password of 12 to 128 characters, got one of 9 characters; leave it \
         out: a good one is generated"
    );
    service.extension_add(None, "101", ExtensionFields::default(), &note("")).unwrap();
    let twice = service.extension_add(None, "101", ExtensionFields::default(), &note("")).unwrap_err();
    assert!(matches!(twice, ServiceError::Exists { .. }));
    let unknown = service.extension_delete(None, "102", &note("")).unwrap_err();
    assert!(matches!(unknown, ServiceError::NoExtension { .. }));
    assert_eq!(service.revisions(10).unwrap().len(), 1);
}

#[test]
fn rotating_makes_new_good_credentials_and_keeps_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service;
    apply(&service, TWO, false);
    let before = service.extension_show(None, "101").unwrap();
    let (password, _) = service.extension_rotate(None, "101", Rotate::Password, &note("")).unwrap();
    assert_eq!(password.credentials.user, before.credentials.user);
    assert_ne!(password.credentials.password, before.credentials.password);
    let (both, _) = service.extension_rotate(None, "101", Rotate::UserAndPassword, &note("")).unwrap();
    assert_ne!(both.credentials.user, before.credentials.user);
    assert_eq!((both.id, both.name), (before.id, before.name));
    let owner = credentials::Owner { user: &both.credentials.user, number: "101", name: "Anna" };
    assert_eq!(credentials::check_password(both.credentials.password.reveal(), &owner), Ok(()));
}

#[test]
fn an_export_shows_secrets_only_when_asked_and_leads_back() {
    let dir = tempfile::tempdir().unwrap();
    let service = open(dir.path()).service;
    apply(&service, TWO, false);
    let fields = ExtensionFields { name: Some("a \"quoted\"\\ näme".to_owned()), ..ExtensionFields::default() };
    service.extension_set(None, "102", fields, &note("")).unwrap();
    let password = service.extension_show(None, "101").unwrap().credentials.password;
    let (without, with) = (service.export(Secrets::Omit), service.export(Secrets::Include));
    assert!(!without.contains(password.reveal()) && with.contains(password.reveal()));
    for text in [&without, &with] {
        let plan = service.plan(&raw(text), true).unwrap();
        assert!(plan.is_empty(), "{plan}\n{text}");
    }
    // On another system the whole export makes the same phones work.
    let other_dir = tempfile::tempdir().unwrap();
    let other = open(other_dir.path()).service;
    apply(&other, &with, true);
    assert_eq!(other.extension_show(None, "101").unwrap().credentials.password, password);
}

#[test]
fn site_errors_are_never_empty() {
    let site: Result<RawSite, SiteErrors> = parse("site.toml", "");
    assert_eq!(site.unwrap(), RawSite { file: "site.toml".to_owned(), ..RawSite::default() });
}

#[test]
fn a_change_that_the_gate_refuses_is_not_stored_unless_it_is_allowed_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.service.set_gate(Box::new(|site, allow| {
        let open = site.extensions.values().any(|extension| extension.number == "102");
        if open && !allow.contains(&"acme".to_owned()) {
            Err("102 is an open door".to_owned())
        } else {
            Ok(vec!["well".to_owned()])
        }
    }));
    let plan = store.service.plan(&raw(TWO), false).unwrap();
    assert!(store.service.advice(&plan).is_err());
    let refused = store.service.apply(plan, &note("")).unwrap_err();
    assert!(matches!(refused, ServiceError::Gate(_)) && refused.to_string() == "102 is an open door");
    assert_eq!((store.service.site().revision, store.service.site().extensions.len()), (0, 0));
    let refused = store.service.extension_add(None, "102", ExtensionFields::default(), &note("")).unwrap_err();
    assert!(matches!(refused, ServiceError::Gate(_)), "single changes too");
    let mut plan = store.service.plan(&raw(TWO), false).unwrap();
    plan.allow = vec!["acme".to_owned()];
    assert_eq!(store.service.advice(&plan).unwrap(), ["well"]);
    let applied = store.service.apply(plan, &note("")).unwrap();
    assert_eq!((applied.revision, applied.advice.as_slice()), (1, &["well".to_owned()][..]));
}
