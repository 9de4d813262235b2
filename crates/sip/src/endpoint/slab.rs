//! Numbered slots. A key is never used twice: its upper half counts the uses of the slot.

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Values by key; finding one costs an index and a comparison.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    len: usize,
    /// Generation of a slot before its first use.
    base: u32,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Slab { slots: Vec::new(), free: Vec::new(), len: 0, base: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The value may hold its own key.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(u64) -> T) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.slots.len()).expect("limits keep slabs far below 2^32");
            self.slots.push(Slot { generation: self.base, value: None });
            index
        });
        let slot = &mut self.slots[index as usize];
        slot.generation += 1;
        let key = (u64::from(slot.generation) << 32) | u64::from(index);
        slot.value = Some(make(key));
        self.len += 1;
        key
    }

    fn slot(&self, key: u64) -> Option<&Slot<T>> {
        self.slots.get((key & 0xffff_ffff) as usize).filter(|slot| u64::from(slot.generation) == key >> 32)
    }

    pub(crate) fn get(&self, key: u64) -> Option<&T> {
        self.slot(key)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let slot = self.slots.get_mut((key & 0xffff_ffff) as usize)?;
        if u64::from(slot.generation) != key >> 32 {
            return None;
        }
        slot.value.as_mut()
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<T> {
        let index = (key & 0xffff_ffff) as usize;
        let slot = self.slots.get_mut(index)?;
        if u64::from(slot.generation) != key >> 32 {
            return None;
        }
        let value = slot.value.take()?;
        self.len -= 1;
        // A slot whose counter is used up is left empty for good.
        if slot.generation < u32::MAX {
            self.free.push(index as u32);
        }
        self.shrink();
        Some(value)
    }

    /// Gives memory back after a burst. New slots then begin above every generation that was, so keys stay unique.
    fn shrink(&mut self) {
        if self.len > 0 || self.slots.len() <= 4096 {
            return;
        }
        let highest = self.slots.iter().map(|slot| slot.generation).max().unwrap_or(0);
        if highest < u32::MAX / 2 {
            self.base = highest;
            self.slots = Vec::new();
            self.free = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_used_twice_even_after_memory_was_given_back() {
        let mut slab = Slab::new();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let keys: Vec<u64> = (0..5000).map(|n| slab.insert_with(|_| n)).collect();
            for key in keys {
                assert!(seen.insert(key));
                assert!(slab.get(key).is_some());
                assert!(slab.remove(key).is_some());
                assert!(slab.get(key).is_none() && slab.remove(key).is_none());
            }
            assert_eq!(slab.len(), 0);
            assert!(slab.slots.is_empty());
        }
    }
}
