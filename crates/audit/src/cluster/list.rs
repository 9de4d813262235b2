//! What is made of the pages of a list: objects with their kind, without what nobody looks at, and without those whose owner is
//! scanned already. Nothing here asks the network.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::kinds::Served;

/// A text to scan is cut at about this size, so that no limit for files is reached.
const PART_BYTES: usize = 4 << 20;

/// The objects of one list, page by page.
#[derive(Debug, Default)]
pub(super) struct List {
    /// Objects one after another as JSON.
    pub(super) parts: Vec<String>,
    /// Those whose owner is scanned.
    pub(super) owned: usize,
    /// Those that Kubernetes makes in every cluster.
    pub(super) bootstrap: usize,
}

/// A page of a list.
#[derive(Debug, PartialEq)]
pub(super) struct Page {
    /// Its objects.
    pub(super) items: Vec<Value>,
    /// The token to go on with.
    pub(super) next: Option<String>,
    /// The version of the whole list, from which on it can be watched.
    pub(super) version: String,
}

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// What was expected, where it is no list.
    pub(super) fn read(page: &[u8], served: &Served) -> Result<Self, String> {
        let mut page: Value =
            serde_json::from_slice(page).map_err(|error| format!("expected a list in JSON: {error}"))?;
        let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) else {
            return Err(format!("expected a list of {}, found {}", served.plural, page["kind"]));
        };
        let text = |key: &str| page["metadata"][key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Self { items, next: text("continue"), version: text("resourceVersion").unwrap_or_default() })
    }
}

impl List {
    /// Takes a page in, and says how the next one is asked for. `whole` are the kinds whose lists were read to their end.
    ///
    /// # Errors
    /// What was expected, where it is no list.
    pub(super) fn add(
        &mut self,
        page: &[u8],
        served: &Served,
        whole: &BTreeSet<&str>,
    ) -> Result<Option<String>, String> {
        let page = Page::read(page, served)?;
        for item in page.items.iter().filter_map(Value::as_object) {
            self.object(item, served, whole);
        }
        Ok(page.next)
    }

    fn object(&mut self, item: &Map<String, Value>, served: &Served, whole: &BTreeSet<&str>) {
        let object = match kept(item, served, whole) {
            Kept::Object(object) => object,
            Kept::Owned => return self.owned += 1,
            Kept::Bootstrap => return self.bootstrap += 1,
        };
        if self.parts.last().is_none_or(|part| part.len() > PART_BYTES) {
            self.parts.push(String::new());
        }
        let part = self.parts.last_mut().expect("one was just made");
        part.push_str(&format!("{:#}\n", Value::Object(object)));
    }
}

/// What becomes of an object.
pub(super) enum Kept {
    /// It is scanned, as this.
    Object(Map<String, Value>),
    /// Its owner is scanned.
    Owned,
    /// Kubernetes makes it in every cluster.
    Bootstrap,
}

/// An object of a list or an event with its kind, and without what nobody looks at. `whole` are the kinds that are scanned to their end.
pub(super) fn kept(item: &Map<String, Value>, served: &Served, whole: &BTreeSet<&str>) -> Kept {
    let metadata = item.get("metadata").unwrap_or(&Value::Null);
    let is_owned =
        |owner: &Value| owner["controller"] == true && owner["kind"].as_str().is_some_and(|kind| whole.contains(kind));
    if metadata["ownerReferences"].as_array().is_some_and(|owners| owners.iter().any(is_owned)) {
        return Kept::Owned;
    }
    if metadata["labels"]["kubernetes.io/bootstrapping"] == "rbac-defaults" {
        return Kept::Bootstrap;
    }
    // Items of a typed list do not say what they are.
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), served.api_version.into());
    object.insert("kind".to_owned(), served.kind.into());
    for (key, value) in item.iter().filter(|(key, _)| !["status", "apiVersion", "kind"].contains(&key.as_str())) {
        let mut value = value.clone();
        if key == "metadata"
            && let Some(metadata) = value.as_object_mut()
        {
            // The version counts changes of the status too.
            metadata.remove("resourceVersion");
            metadata.remove("managedFields");
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            }
        }
        object.insert(key.clone(), value);
    }
    Kept::Object(object)
}

#[cfg(test)]
mod tests {
    use super::super::kinds::KINDS;
    use super::*;

    fn served(plural: &str) -> &'static Served {
        KINDS.iter().find(|served| served.plural == plural).expect("it is read")
    }

    #[test]
    fn items_get_their_kind_and_lose_what_nobody_looks_at() {
        let page = r#"{"kind":"PodList","apiVersion":"v1","metadata":{"continue":"abc"},"items":[
            {"metadata":{"name":"a","managedFields":[{"manager":"x"}],"annotations":{
            "kubectl.kubernetes.io/last-applied-configuration":"{}","b":"c"}},"spec":{"hostPID":true},"status":{"phase":"Running"}}]}"#;
        let mut list = List::default();
        let next = list.add(page.as_bytes(), served("pods"), &BTreeSet::new()).expect("a list");
        assert_eq!(next.as_deref(), Some("abc"));
        let object: Value = serde_json::from_str(&list.parts[0]).expect("JSON");
        assert_eq!(
            object,
            serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "annotations": {"b": "c"}},
                "spec": {"hostPID": true}})
        );
    }

    #[test]
    fn what_is_owned_is_scanned_unless_its_owner_is() {
        let page = br#"{"items":[{"metadata":{"name":"a-1","ownerReferences":[{"kind":"ReplicaSet","name":"a","controller":true}]}},
            {"metadata":{"name":"b","ownerReferences":[{"kind":"Widget","name":"w","controller":true}]}}]}"#;
        let mut list = List::default();
        list.add(page, served("pods"), &BTreeSet::from(["ReplicaSet"])).expect("a list");
        assert_eq!((list.owned, list.parts[0].matches("\"name\": \"b\"").count()), (1, 1));
        let mut list = List::default();
        list.add(page, served("pods"), &BTreeSet::new()).expect("a list");
        assert_eq!((list.owned, list.parts[0].matches("\"kind\": \"Pod\"").count()), (0, 2));
    }

    #[test]
    fn what_is_no_list_is_refused_with_words() {
        let mut list = List::default();
        let words = list.add(br#"{"kind":"Pod"}"#, served("pods"), &BTreeSet::new()).expect_err("no list");
        assert_eq!(words, "expected a list of pods, found \"Pod\"");
        assert!(list.add(b"<html>", served("pods"), &BTreeSet::new()).expect_err("no list").contains("in JSON"));
    }
}
