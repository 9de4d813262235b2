//! An immutable value that one thread replaces and others read: the reader looks at a number, and takes the lock only
//! when that has changed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The newest value. Share it by `Arc`.
#[derive(Debug)]
pub(crate) struct Published<T> {
    version: AtomicU64,
    value: Mutex<Arc<T>>,
}

impl<T> Published<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { version: AtomicU64::new(0), value: Mutex::new(Arc::new(value)) }
    }

    pub(crate) fn publish(&self, value: T) {
        let mut slot = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Arc::new(value);
        self.version.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn get(&self) -> Arc<T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One reader's copy of a published value.
pub(crate) struct Reader<T> {
    source: Arc<Published<T>>,
    seen: u64,
    value: Arc<T>,
}

impl<T> Reader<T> {
    pub(crate) fn new(source: Arc<Published<T>>) -> Self {
        let seen = source.version.load(Ordering::Acquire);
        let value = source.get();
        Self { source, seen, value }
    }

    /// Takes the newest value if there is a new one. Call it once a pass.
    pub(crate) fn refresh(&mut self) {
        let version = self.source.version.load(Ordering::Acquire);
        if version != self.seen {
            self.value = self.source.get();
            self.seen = version;
        }
    }

    pub(crate) fn get(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_a_new_value_when_it_refreshes() {
        let published = Arc::new(Published::new(1));
        let mut reader = Reader::new(published.clone());
        published.publish(2);
        assert_eq!(*reader.get(), 1);
        reader.refresh();
        assert_eq!(*reader.get(), 2);
    }
}
