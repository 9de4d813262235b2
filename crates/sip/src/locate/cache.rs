//! Answers while they are good (RFC 1035 §3.2.1, RFC 2308), and targets that failed lately. Both are bounded, and what
//! a stranger can make us look up does not push out what is used: a hand goes round and takes the first entry that was not
//! used since it last came by.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::name::Name;
use super::record::{RecordType, RrSet};

/// A map with room for so many; a full one forgets an entry that was not used lately.
#[derive(Debug)]
struct Bounded<K, V> {
    index: BTreeMap<K, usize>,
    slots: Vec<Slot<K, V>>,
    hand: usize,
    room: usize,
}

#[derive(Debug)]
struct Slot<K, V> {
    key: K,
    value: V,
    used: bool,
}

impl<K: Ord + Clone, V> Bounded<K, V> {
    fn new(room: usize) -> Self {
        Bounded { index: BTreeMap::new(), slots: Vec::new(), hand: 0, room }
    }

    fn get(&mut self, key: &K) -> Option<&mut V> {
        let slot = &mut self.slots[*self.index.get(key)?];
        slot.used = true;
        Some(&mut slot.value)
    }

    fn insert(&mut self, key: K, value: V) {
        if let Some(at) = self.index.get(&key) {
            self.slots[*at].value = value;
        } else if self.slots.len() < self.room {
            self.index.insert(key.clone(), self.slots.len());
            self.slots.push(Slot { key, value, used: false });
        } else if self.room > 0 {
            // Ends after two rounds at most: the first clears every mark.
            while std::mem::take(&mut self.slots[self.hand].used) {
                self.hand = (self.hand + 1) % self.room;
            }
            let slot = &mut self.slots[self.hand];
            self.index.remove(&slot.key);
            self.index.insert(key.clone(), self.hand);
            *slot = Slot { key, value, used: false };
            self.hand = (self.hand + 1) % self.room;
        }
    }

    fn remove(&mut self, key: &K) {
        let Some(at) = self.index.remove(key) else { return };
        self.slots.swap_remove(at);
        if let Some(moved) = self.slots.get(at) {
            self.index.insert(moved.key.clone(), at);
        }
        if self.hand >= self.slots.len() {
            self.hand = 0;
        }
    }

    fn len(&self) -> usize {
        self.slots.len()
    }
}

/// Answers by name and type.
#[derive(Debug)]
pub(super) struct Cache(Bounded<(Name, RecordType), Arc<RrSet>>);

impl Cache {
    pub(super) fn new(room: usize) -> Self {
        Cache(Bounded::new(room))
    }

    /// An answer that is still good.
    pub(super) fn get(&mut self, now: Instant, key: &(Name, RecordType)) -> Option<Arc<RrSet>> {
        let found = Arc::clone(self.0.get(key)?);
        if found.expires > now {
            return Some(found);
        }
        self.0.remove(key);
        None
    }

    /// Remembers an answer; one with a lifetime of zero is for its asker alone.
    pub(super) fn insert(&mut self, key: (Name, RecordType), found: Arc<RrSet>) {
        if found.ttl.is_zero() {
            self.0.remove(&key);
        } else {
            self.0.insert(key, found);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0 = Bounded::new(self.0.room);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Until when something is left out, by what it is.
#[derive(Debug)]
pub(super) struct Dead<K>(Bounded<K, Instant>);

impl<K: Ord + Clone> Dead<K> {
    pub(super) fn new(room: usize) -> Self {
        Dead(Bounded::new(room))
    }

    pub(super) fn insert(&mut self, key: K, until: Instant) {
        self.0.insert(key, until);
    }

    pub(super) fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }

    pub(super) fn contains(&mut self, now: Instant, key: &K) -> bool {
        if self.0.len() == 0 {
            return false;
        }
        let Some(until) = self.0.get(key).copied() else { return false };
        if until <= now {
            self.0.remove(key);
        }
        until > now
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_keeps_what_is_used_and_its_size() {
        let mut table = Bounded::new(4);
        for n in 0..4 {
            table.insert(n, n);
        }
        for n in 100..200 {
            assert_eq!(table.get(&0), Some(&mut 0), "asked for all the time");
            table.insert(n, n);
            assert_eq!((table.len(), table.index.len()), (4, 4));
        }
        assert!(table.get(&199).is_some() && table.get(&1).is_none());
    }

    #[test]
    fn removing_keeps_the_index_and_the_slots_in_step() {
        let mut table = Bounded::new(8);
        for n in 0..8 {
            table.insert(n, n * 10);
        }
        for n in [7, 0, 3, 3] {
            table.remove(&n);
        }
        for n in [1, 2, 4, 5, 6] {
            assert_eq!(table.get(&n), Some(&mut (n * 10)));
        }
        for n in 20..40 {
            table.insert(n, n);
        }
        assert_eq!((table.len(), table.index.len()), (8, 8));
        let mut none = Bounded::new(0);
        none.insert(1, 1);
        assert_eq!(none.len(), 0, "no room at all");
    }

    #[test]
    fn the_dead_rise_when_their_time_is_over() {
        #[allow(clippy::disallowed_methods, reason = "any instant will do")]
        let start = Instant::now();
        let later = start + std::time::Duration::from_secs(30);
        let mut dead = Dead::new(2);
        dead.insert(1, later);
        assert!(dead.contains(start, &1) && !dead.contains(start, &2));
        assert!(!dead.contains(later, &1));
        assert_eq!(dead.len(), 0, "forgotten when met");
    }
}
