//! What is known of one list while it is watched, and what pages and events change in it. Nothing here asks the network.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::kinds::{KINDS, Served};
use super::list::{Kept, Page, kept};
use super::watch::Seen;

/// One list, as it was when it was last heard of.
pub(super) struct Followed {
    pub(super) served: &'static Served,
    /// As the API serves it.
    pub(super) path: String,
    /// As reports call it.
    list: Arc<str>,
    /// By `namespace/name`, with a hash of what is scanned: a change of the status is none.
    objects: BTreeMap<String, u64>,
    /// Of its own, so that nobody can write two objects that look like one.
    hasher: RandomState,
    /// Why it is not read or not watched, as it was told.
    gap: Option<String>,
}

/// What a line of a watch says.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    /// The list is as of this version now.
    At(String),
    /// That version is gone: everything has to be listed again.
    Expired,
    /// The server ends the watch, with its words.
    Error(String),
}

impl Followed {
    pub(super) fn new(served: &'static Served, path: String, list: &str) -> Self {
        Self { served, path, list: Arc::from(list), objects: BTreeMap::new(), hasher: RandomState::new(), gap: None }
    }

    /// Takes in an object of a page; `there` gets its name.
    pub(super) fn item(&mut self, item: &Value, whole: &BTreeSet<&str>, there: &mut BTreeSet<String>) -> Option<Seen> {
        let item = item.as_object()?;
        there.insert(name(item));
        self.object(item, whole)
    }

    /// The list was read to its end: what is not in it is gone.
    pub(super) fn listed(&mut self, there: &BTreeSet<String>) -> Vec<Seen> {
        let gone: Vec<String> = self.objects.keys().filter(|name| !there.contains(*name)).cloned().collect();
        gone.into_iter().filter_map(|name| self.gone(name)).collect()
    }

    /// Takes in a line of a watch.
    pub(super) fn event(&mut self, line: &[u8], whole: &BTreeSet<&str>) -> (Event, Option<Seen>) {
        let event: Value = match serde_json::from_slice(line) {
            Ok(event) => event,
            Err(error) => return (Event::Error(format!("expected an event in JSON: {error}")), None),
        };
        let Some(object) = event["object"].as_object() else {
            return (Event::Error(format!("expected an event with an object, found {}", event["type"])), None);
        };
        let at = || {
            let version = object.get("metadata").and_then(|metadata| metadata["resourceVersion"].as_str());
            Event::At(version.unwrap_or_default().to_owned())
        };
        match event["type"].as_str() {
            Some("ADDED" | "MODIFIED") => (at(), self.object(object, whole)),
            Some("DELETED") => (at(), self.gone(name(object))),
            Some("BOOKMARK") => (at(), None),
            Some("ERROR") if event["object"]["code"] == 410 => (Event::Expired, None),
            Some("ERROR") => {
                let code = &event["object"]["code"];
                let words = event["object"]["message"].as_str().unwrap_or("no reason given");
                (Event::Error(format!("{code}: {words}")), None)
            }
            // Of a later version of the API; the object says nothing that we could read.
            _ => (at(), None),
        }
    }

    /// Why it is not read or not watched; nothing, where that was told before.
    pub(super) fn gap(&mut self, why: &str) -> Option<Seen> {
        if self.gap.as_deref() == Some(why) {
            return None;
        }
        self.gap = Some(why.to_owned());
        Some(Seen::Gap { list: self.list.clone(), why: why.to_owned() })
    }

    /// It is read and watched.
    pub(super) fn mended(&mut self) -> Option<Seen> {
        self.gap.take().map(|_| Seen::Mended { list: self.list.clone() })
    }

    fn object(&mut self, item: &Map<String, Value>, whole: &BTreeSet<&str>) -> Option<Seen> {
        let name = name(item);
        let Kept::Object(object) = kept(item, self.served, whole) else {
            // Somebody has adopted it.
            return self.gone(name);
        };
        let text = format!("{:#}\n", Value::Object(object));
        let hash = self.hasher.hash_one(&text);
        if self.objects.insert(name.clone(), hash) == Some(hash) {
            return None;
        }
        Some(Seen::Object { list: self.list.clone(), name, text })
    }

    fn gone(&mut self, name: String) -> Option<Seen> {
        self.objects.remove(&name)?;
        Some(Seen::Gone { list: self.list.clone(), name })
    }
}

/// `namespace/name`
fn name(object: &Map<String, Value>) -> String {
    let part = |key: &str| object.get("metadata").and_then(|metadata| metadata[key].as_str()).unwrap_or_default();
    format!("{}/{}", part("namespace"), part("name"))
}

/// A fuzz target: lines, each an event of a watch or a page of the list. What is told is what is known.
pub(crate) fn fuzz_watch(data: &[u8]) {
    let served = KINDS.iter().find(|served| served.kind == "Pod").expect("it is read");
    let mut followed = Followed::new(served, served.path(None), "kube://fuzz/api/v1/pods");
    let whole = BTreeSet::from(["ReplicaSet"]);
    let mut told = BTreeSet::new();
    let mut tell = |seen: Option<Seen>| match seen {
        Some(Seen::Object { name, .. }) => {
            told.insert(name);
        }
        Some(Seen::Gone { name, .. }) => assert!(told.remove(&name), "{name} was not there"),
        Some(Seen::Gap { .. } | Seen::Mended { .. } | Seen::Settled { .. }) | None => {}
    };
    for line in data.split(|byte| *byte == b'\n') {
        match Page::read(line, served) {
            Ok(page) => {
                let mut there = BTreeSet::new();
                page.items.iter().for_each(|item| tell(followed.item(item, &whole, &mut there)));
                followed.listed(&there).into_iter().for_each(|gone| tell(Some(gone)));
            }
            Err(_) => tell(followed.event(line, &whole).1),
        }
    }
    assert!(told.iter().eq(followed.objects.keys()), "{told:?} {:?}", followed.objects);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pods() -> Followed {
        let served = KINDS.iter().find(|served| served.plural == "pods").expect("it is read");
        Followed::new(served, served.path(None), "kube://test/api/v1/pods")
    }

    fn pod(name: &str, version: &str, host: bool) -> Value {
        json!({ "metadata": { "name": name, "namespace": "shop", "resourceVersion": version }, "spec": { "hostPID": host },
            "status": { "phase": version } })
    }

    fn event(followed: &mut Followed, kind: &str, object: &Value) -> (Event, Option<Seen>) {
        let line = json!({ "type": kind, "object": object }).to_string();
        followed.event(line.as_bytes(), &BTreeSet::from(["ReplicaSet"]))
    }

    fn is_object(seen: Option<&Seen>) -> bool {
        matches!(seen, Some(Seen::Object { name, .. }) if name == "shop/a")
    }

    #[test]
    fn only_what_differs_is_told() {
        let mut followed = pods();
        let (at, seen) = event(&mut followed, "ADDED", &pod("a", "5", false));
        assert!(at == Event::At("5".to_owned()) && is_object(seen.as_ref()), "{seen:?}");
        let (at, seen) = event(&mut followed, "MODIFIED", &pod("a", "6", false));
        assert_eq!((at, seen), (Event::At("6".to_owned()), None), "only its status has changed");
        let (_, seen) = event(&mut followed, "MODIFIED", &pod("a", "7", true));
        assert!(is_object(seen.as_ref()), "{seen:?}");
        let mut adopted = pod("a", "8", true);
        adopted["metadata"]["ownerReferences"] = json!([{ "kind": "ReplicaSet", "controller": true }]);
        let (_, seen) = event(&mut followed, "MODIFIED", &adopted);
        assert!(matches!(seen, Some(Seen::Gone { .. })), "its owner is scanned instead: {seen:?}");
        let (_, seen) = event(&mut followed, "DELETED", &adopted);
        assert_eq!(seen, None, "it was gone already");
        let bookmark = json!({ "kind": "Pod", "apiVersion": "v1", "metadata": { "resourceVersion": "12" } });
        assert_eq!(event(&mut followed, "BOOKMARK", &bookmark), (Event::At("12".to_owned()), None));
    }

    #[test]
    fn a_list_that_is_read_again_tells_what_has_gone_in_between() {
        let (mut followed, whole) = (pods(), BTreeSet::new());
        let mut there = BTreeSet::new();
        for name in ["a", "b"] {
            assert!(followed.item(&pod(name, "5", false), &whole, &mut there).is_some());
        }
        assert_eq!(followed.listed(&there), []);
        let mut there = BTreeSet::new();
        assert_eq!(followed.item(&pod("b", "9", false), &whole, &mut there), None);
        let gone = Seen::Gone { list: Arc::from("kube://test/api/v1/pods"), name: "shop/a".to_owned() };
        assert_eq!(followed.listed(&there), [gone]);
    }

    #[test]
    fn errors_and_nonsense_end_a_watch_with_words() {
        let mut followed = pods();
        let status = |code: u16, message: &str| json!({ "kind": "Status", "code": code, "message": message });
        assert_eq!(event(&mut followed, "ERROR", &status(410, "too old resource version")).0, Event::Expired);
        let (error, _) = event(&mut followed, "ERROR", &status(500, "etcd is away"));
        assert_eq!(error, Event::Error("500: etcd is away".to_owned()));
        for line in [&b"<html>"[..], b"{}", b"[]", b"{\"type\":\"ADDED\",\"object\":7}", b"null"] {
            let (error, seen) = followed.event(line, &BTreeSet::new());
            assert!(matches!(error, Event::Error(words) if words.contains("expected an event")) && seen.is_none());
        }
        // Nothing that an object may lack ends it.
        assert_eq!(event(&mut followed, "LATER", &json!({})).0, Event::At(String::new()));
    }

    #[test]
    fn gaps_are_told_once() {
        let mut followed = pods();
        assert_eq!(followed.mended(), None);
        assert!(followed.gap("403: no").is_some() && followed.gap("403: no").is_none());
        assert!(followed.gap("500: no").is_some());
        assert!(followed.mended().is_some() && followed.mended().is_none());
    }
}
