//! All policies of a run, with an index by kind.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Examples, Policy, PolicyError};
use crate::kube::Object;
use crate::model::Mark;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// A policy's place in its catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyIndex(pub u32);

/// Policies, in the order of their ids.
#[derive(Debug, Default)]
pub struct Catalogue {
    policies: Vec<Policy>,
    by_kind: FxHashMap<String, Vec<PolicyIndex>>,
    workload: Vec<PolicyIndex>,
    every: Vec<PolicyIndex>,
}

impl Catalogue {
    /// The built-in policies.
    ///
    /// # Panics
    /// Not in a program whose tests passed: they read every embedded policy.
    pub fn built_in() -> Self {
        let read = |(file, text): &(&str, &str)| Policy::parse(file, text);
        let policies = EMBEDDED.iter().map(read).collect::<Result<Vec<_>, _>>().expect("a test reads every one");
        Self::new(policies).expect("a test looks for repeated ids")
    }

    /// The built-in policies' files: path below `policies/`, and text.
    pub fn built_in_files() -> &'static [(&'static str, &'static str)] {
        EMBEDDED
    }

    /// A catalogue of these policies.
    ///
    /// # Errors
    /// Where two have the same id.
    pub fn new(mut policies: Vec<Policy>) -> Result<Self, PolicyError> {
        policies.sort_by(|a, b| a.id.cmp(&b.id));
        let mut known = FxHashSet::default();
        if let Some(twice) = policies.iter().find(|policy| !known.insert(policy.id.as_str())) {
            let what = format!("two policies are called {}", twice.id);
            return Err(PolicyError { file: twice.id.clone(), at: Mark { line: 1, column: 1 }, what });
        }
        let mut catalogue = Self::default();
        for (index, policy) in policies.iter().enumerate() {
            let index = PolicyIndex(index as u32);
            for kind in &policy.kinds {
                match kind.as_str() {
                    "workload" => catalogue.workload.push(index),
                    "*" => catalogue.every.push(index),
                    kind => catalogue.by_kind.entry(kind.to_owned()).or_default().push(index),
                }
            }
        }
        catalogue.policies = policies;
        Ok(catalogue)
    }

    /// Only the policies that `keep` wants.
    #[must_use]
    pub fn filtered(self, mut keep: impl FnMut(&Policy) -> bool) -> Self {
        let kept = self.policies.into_iter().filter(|policy| keep(policy)).collect();
        Self::new(kept).expect("ids were distinct before")
    }

    /// All of them.
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// One of them.
    pub fn get(&self, index: PolicyIndex) -> &Policy {
        &self.policies[index.0 as usize]
    }

    /// Those that have something to say about an object of this kind.
    pub fn for_object(&self, object: &Object<'_>) -> impl Iterator<Item = (PolicyIndex, &Policy)> {
        let own = self.by_kind.get(object.kind).map(Vec::as_slice).unwrap_or_default();
        let workload = if object.pod.is_some() { self.workload.as_slice() } else { &[] };
        let plain = object.cloud.is_none() && !object.api_version.is_empty();
        let every = if plain { self.every.as_slice() } else { &[] };
        own.iter().chain(workload).chain(every).map(|index| (*index, self.get(*index)))
    }

    /// Those whose id or alias this is.
    pub fn called<'c>(&'c self, name: &'c str) -> impl Iterator<Item = &'c Policy> {
        self.policies.iter().filter(move |policy| policy.is_called(name))
    }

    /// The examples of a built-in policy.
    ///
    /// # Errors
    /// Where its file has none that can be read.
    pub fn built_in_examples(id: &str) -> Option<Result<Examples, PolicyError>> {
        let own = format!("id: {id}\n");
        EMBEDDED.iter().find(|(_, text)| text.starts_with(&own)).map(|(file, text)| Examples::parse(file, text))
    }
}
