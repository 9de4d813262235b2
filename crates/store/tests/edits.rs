//! Trunks, routes, inbound routes and aliases changed one at a time, as `ctl` does it.

use std::path::Path;

use ringfort_store::site::edit::{LineChange, LineEdit};
use ringfort_store::site::export::Secrets;
use ringfort_store::site::parse;
use ringfort_store::{ChangeNote, ExtensionFields, ObjectKind, Service, Store, StoreOptions};
use ringfort_switch::model::{Destination, Site, TrunkKind};
use ringfort_switch::record::UnixMillis;

const SITE: &str = r#"
[[extension]]
number = "101"

[[trunk]]
name = "solid"
server = "sip:192.0.2.10"
inbound_user = "solid-in"

[[route]]
name = "country"
patterns = ["0ZX."]
trunks = ["solid"]

[[route]]
name = "rest"
patterns = ["any"]
trunks = ["solid"]
"#;

fn open(dir: &Path) -> Store {
    let store = Store::open(dir, StoreOptions::default(), [5; 32]).unwrap();
    let plan = store.service.plan(&parse("site.toml", SITE).unwrap(), false).unwrap();
    store.service.apply(plan, &note()).unwrap();
    store
}

fn note() -> ChangeNote {
    ChangeNote { author: "test".to_owned(), comment: String::new(), at: UnixMillis(1_700_000_000_000) }
}

fn pairs(text: &[&str]) -> Vec<(String, String)> {
    let pair = |text: &&str| text.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap();
    text.iter().map(pair).collect()
}

fn change(kind: ObjectKind, name: &str, edit: LineEdit) -> LineChange {
    LineChange { kind, tenant: None, name: name.to_owned(), edit, before: None }
}

fn apply(service: &Service, change: &LineChange) -> Site {
    let plan = service.plan_line(change).unwrap_or_else(|error| panic!("{error}"));
    (*service.apply(plan, &note()).unwrap().site).clone()
}

fn refused(service: &Service, change: &LineChange) -> String {
    service.plan_line(change).unwrap_err().to_string()
}

fn routes(site: &Site) -> Vec<&str> {
    site.outbound.iter().map(|route| route.name.as_str()).collect()
}

#[test]
fn a_trunk_is_added_changed_shown_and_removed_and_each_is_a_revision() {
    use ObjectKind::Trunk;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let keys = pairs(&[
        "kind=register",
        "server=sip:sip.acme.example",
        "user=acct",
        "password=Provider-Secret-1",
        "max_calls=4",
    ]);
    let site = apply(&store.service, &change(Trunk, "acme", LineEdit::Add(keys)));
    let acme = site.trunks.values().find(|t| t.name == "acme").unwrap().clone();
    assert_eq!((acme.kind, acme.max_calls, site.revision), (TrunkKind::Register, 4, 2));
    let solid = |site: &Site| site.trunks.values().find(|t| t.name == "solid").unwrap().clone();
    let before = solid(&site);

    let set = pairs(&["codecs=PCMA, opus", "max_calls=", "health_every=1m", "sign_identity=false"]);
    let site = apply(&store.service, &change(Trunk, "acme", LineEdit::Set(set)));
    let changed = site.trunks.values().find(|t| t.name == "acme").unwrap();
    assert_eq!(changed.id, acme.id);
    assert_eq!((changed.codecs.len(), changed.max_calls, changed.health_every.as_secs()), (2, 30, 60));
    assert_eq!(changed.credentials.as_ref().unwrap().password.reveal(), "Provider-Secret-1", "it stays");
    assert!(!changed.sign_identity);
    assert_eq!(solid(&site), before, "the others stay as they are");

    let shown = store.service.lines(Trunk, None, Some("acme"), false);
    assert_eq!(
        (&shown[0]["server"], &shown[0]["password"], &shown[0]["codecs"][1]),
        (&"sip:sip.acme.example".into(), &"***".into(), &"opus".into())
    );
    assert_eq!(store.service.lines(Trunk, None, Some("acme"), true)[0]["password"], "Provider-Secret-1");
    assert_eq!(store.service.lines(Trunk, None, None, false).len(), 2);

    let site = apply(&store.service, &change(Trunk, "acme", LineEdit::Remove));
    assert_eq!((site.trunks.len(), site.revision), (1, 4));
    store.service.rollback(Some(2), &note()).unwrap();
    assert_eq!(*store.service.site().trunks.get(&acme.id).unwrap(), acme);
}

#[test]
fn a_route_keeps_its_place_and_a_new_one_comes_last_or_before_another() {
    use ObjectKind::Route;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let keys = || pairs(&["patterns=prefix:00,+X.", "trunks=solid", "hours=mon-fri 08:00-18:00"]);
    let site = apply(&store.service, &change(Route, "last", LineEdit::Add(keys())));
    assert_eq!(routes(&site), ["country", "rest", "last"]);
    let before = LineChange { before: Some("country".into()), ..change(Route, "abroad", LineEdit::Add(keys())) };
    let site = apply(&store.service, &before);
    assert_eq!(routes(&site), ["abroad", "country", "rest", "last"]);
    assert_eq!((site.outbound[0].patterns.len(), site.outbound[0].hours.len()), (2, 1));
    let site = apply(&store.service, &change(Route, "country", LineEdit::Set(pairs(&["strip=1", "prepend=+44"]))));
    assert_eq!(routes(&site), ["abroad", "country", "rest", "last"]);
    assert_eq!((site.outbound[1].strip, site.outbound[1].prepend.as_str()), (1, "+44"));
    let moved = LineChange { before: Some("last".into()), ..change(Route, "abroad", LineEdit::Set(Vec::new())) };
    assert_eq!(routes(&apply(&store.service, &moved)), ["country", "rest", "abroad", "last"]);
    let site = apply(&store.service, &change(Route, "last", LineEdit::Remove));
    assert_eq!(routes(&site), ["country", "rest", "abroad"]);

    let text = store.service.export(Secrets::Omit);
    assert!(store.service.plan(&parse("export", &text).unwrap(), true).unwrap().is_empty());
}

#[test]
fn inbound_routes_and_aliases_are_changed_alike() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let keys = pairs(&["trunk=solid", "called=exact:+442079460101", "to=extension 101"]);
    let site = apply(&store.service, &change(ObjectKind::Inbound, "desk", LineEdit::Add(keys)));
    assert_eq!(site.inbound[0].to, Destination::Extension("101".to_owned()));
    let keys = pairs(&["to=extension 101", "published=true"]);
    apply(&store.service, &change(ObjectKind::Alias, "alex", LineEdit::Add(keys)));
    let site = apply(&store.service, &change(ObjectKind::Alias, "alex", LineEdit::Set(pairs(&["published="]))));
    assert!(!site.aliases[0].published);
    let words = refused(&store.service, &change(ObjectKind::Trunk, "solid", LineEdit::Remove));
    assert!(words.contains("something that stays"), "what a route leads to: {words}");
    let site = apply(&store.service, &change(ObjectKind::Alias, "alex", LineEdit::Remove));
    assert!(site.aliases.is_empty());
}

#[test]
fn what_is_wrong_is_told_all_at_once_and_nothing_is_changed() {
    use ObjectKind::{Alias, Route, Trunk};
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let service = &store.service;
    for (change, words) in [
        (change(Trunk, "acme", LineEdit::Set(Vec::new())), "trunk \"acme\": expected one of solid, got \"acme\""),
        (change(Trunk, "solid", LineEdit::Add(Vec::new())), "expected a new name"),
        (change(Alias, "alex", LineEdit::Remove), "there is none yet"),
        (change(Trunk, "a", LineEdit::Add(Vec::new())), "trunk \"a\": server: expected where its calls go"),
        (change(Trunk, "solid", LineEdit::Set(pairs(&["sever=x"]))), "did you mean server?"),
        (change(Trunk, "solid", LineEdit::Set(pairs(&["max_calls=many"]))), "a whole number"),
        (change(Trunk, "solid", LineEdit::Set(pairs(&["enabled=yes"]))), "true or false"),
        (change(Trunk, "solid", LineEdit::Set(pairs(&["health_every=5"]))), "a duration such as"),
        (change(Trunk, "solid", LineEdit::Set(pairs(&["srtp=maybe"]))), "one of off, offer, require"),
        (change(Trunk, "solid", LineEdit::Set(pairs(&["kind=peer", "kind=peer"]))), "each key once"),
        (change(Route, "rest", LineEdit::Set(pairs(&["trunks=nobody"]))), "add a [[trunk]] of that name"),
        (
            LineChange { before: Some("x".into()), ..change(Route, "rest", LineEdit::Set(Vec::new())) },
            "expected one of country, rest",
        ),
        (
            LineChange { before: Some("x".into()), ..change(Trunk, "solid", LineEdit::Set(Vec::new())) },
            "their order does not matter",
        ),
        (
            LineChange {
                tenant: Some("x".into()),
                ..change(Trunk, "a", LineEdit::Add(pairs(&["server=sip:192.0.2.1"])))
            },
            "expected one of default",
        ),
        (change(ObjectKind::Extension, "101", LineEdit::Remove), "expected one of none"),
    ] {
        let told = refused(service, &change);
        assert!(told.contains(words), "{change:?}: {told}");
    }
    let both = refused(service, &change(Trunk, "solid", LineEdit::Set(pairs(&["x=1", "enabled=2"]))));
    assert_eq!(both.lines().count(), 2, "{both}");
    assert_eq!(service.site().revision, 1);
    let nothing = service.plan_line(&change(Trunk, "solid", LineEdit::Set(pairs(&["max_calls=30"])))).unwrap();
    assert!(nothing.is_empty(), "it is so already");
}

#[test]
fn a_user_that_goes_takes_its_password_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let set = change(ObjectKind::Trunk, "solid", LineEdit::Set(pairs(&["inbound_user="])));
    assert_eq!(apply(&store.service, &set).trunks.values().next().unwrap().inbound_credentials, None);
}

#[test]
fn what_an_extension_may_do_is_set_key_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let set = |keys: &[&str]| {
        let fields = ExtensionFields { keys: pairs(keys), ..ExtensionFields::default() };
        store.service.extension_set(None, "101", fields, &note()).map(|(extension, _)| extension)
    };
    let one =
        set(&["groups=office,sales", "international=true", "caller_id=+442079460101", "spend_per_day=5.00"]).unwrap();
    assert_eq!(
        (one.calling.groups.len(), one.calling.international, one.calling.spend.per_day),
        (2, true, Some(5_000_000))
    );
    let two = set(&["domains=true", "groups="]).unwrap();
    assert!(two.calling.domains && two.calling.international && two.calling.groups.is_empty());
    assert_eq!(two.calling.caller_id.as_deref(), Some("+442079460101"), "what is not named stays");
    assert_eq!(two.credentials, one.credentials);
    assert!(set(&["colour=red"]).unwrap_err().to_string().contains("a key that is not known"));
    assert!(set(&["international=1"]).unwrap_err().to_string().contains("true or false"));
    let fields = ExtensionFields { keys: pairs(&["hide_caller_id=true"]), ..ExtensionFields::default() };
    let (new, _) = store.service.extension_add(None, "102", fields, &note()).unwrap();
    assert!(new.calling.hide_caller_id);
}
