//! Certificates by URL, bounded in number and size; failures are remembered for a while, so that one bad URL in a flood of
//! calls is asked for once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use crate::credential::{Credential, CredentialError};
use crate::verify::FetchFailure;

/// What a URL gave.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    Credential(Arc<Credential>),
    /// Something that is no certificate.
    Unreadable(CredentialError),
    Failed(FetchFailure),
}

#[derive(Debug)]
struct Entry {
    held: Held,
    until: Instant,
    used: u64,
    size: usize,
}

#[derive(Debug)]
pub(crate) struct Cache {
    entries: IndexMap<String, Entry>,
    /// By the last use, the oldest first.
    by_use: BTreeMap<u64, String>,
    uses: u64,
    size: usize,
    max_entries: usize,
    max_size: usize,
}

impl Cache {
    pub(crate) fn new(max_entries: usize, max_size: usize) -> Self {
        Cache { entries: IndexMap::new(), by_use: BTreeMap::new(), uses: 0, size: 0, max_entries, max_size }
    }

    pub(crate) fn get(&mut self, url: &str, now: Instant) -> Option<Held> {
        let entry = self.entries.get_mut(url)?;
        if entry.until <= now {
            self.remove(url);
            return None;
        }
        self.uses += 1;
        let name = self.by_use.remove(&entry.used).expect("each entry has its place in the order of use");
        entry.used = self.uses;
        self.by_use.insert(self.uses, name);
        Some(entry.held.clone())
    }

    /// What is larger than all room is not kept.
    pub(crate) fn insert(&mut self, url: &str, held: Held, keep: Duration, now: Instant) {
        self.remove(url);
        let size = url.len()
            + match &held {
                Held::Credential(credential) => credential.size(),
                Held::Unreadable(_) | Held::Failed(_) => 256,
            };
        if size > self.max_size || self.max_entries == 0 || keep.is_zero() {
            return;
        }
        while self.entries.len() >= self.max_entries || self.size + size > self.max_size {
            let Some((_, oldest)) = self.by_use.first_key_value() else { break };
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
        self.uses += 1;
        self.size += size;
        self.by_use.insert(self.uses, url.to_owned());
        self.entries.insert(url.to_owned(), Entry { held, until: now + keep, used: self.uses, size });
    }

    fn remove(&mut self, url: &str) {
        if let Some(entry) = self.entries.swap_remove(url) {
            self.size -= entry.size;
            self.by_use.remove(&entry.used);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Cache::new(self.max_entries, self.max_size);
    }

    /// Entries and what they take.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.entries.len(), self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Held = Held::Failed(FetchFailure::Timeout);

    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn what_was_used_least_goes_first_and_nothing_is_kept_beyond_its_time() {
        let now = start();
        let mut cache = Cache::new(2, 10_000);
        cache.insert("a", FAILED, Duration::from_secs(10), now);
        cache.insert("b", FAILED, Duration::from_secs(5), now);
        assert!(cache.get("a", now).is_some());
        cache.insert("c", FAILED, Duration::from_secs(10), now);
        assert!(cache.get("b", now).is_none() && cache.get("a", now).is_some());
        let later = now + Duration::from_secs(10);
        assert!(cache.get("a", later).is_none() && cache.get("c", later).is_none());
        assert_eq!(cache.held(), (0, 0));
        assert!(cache.by_use.is_empty());
    }

    #[test]
    fn room_is_bounded_in_octets() {
        let now = start();
        let mut cache = Cache::new(100, 1_000);
        for n in 0..50 {
            cache.insert(&format!("https://{n}.example"), FAILED, Duration::from_secs(10), now);
            assert!(cache.held().1 <= 1_000);
        }
        assert_eq!(cache.held().0, 3);
        cache.insert(&"x".repeat(2_000), FAILED, Duration::from_secs(10), now);
        assert_eq!(cache.held().0, 3, "too large for all of it");
    }
}
