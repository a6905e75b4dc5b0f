//! Maps for what is looked up several times in each operation: by an address, a number or a name of the bench's own.
//!
//! The standard hasher withstands keys that somebody chose to collide, and takes longer for it than most of the lookups do.
//! No key here is of that kind: the worst that a driver can do by its choice of addresses is to slow its own machine down.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

/// A map with a quick hasher.
pub(crate) type HashMap<K, V> = rustc_hash::FxHashMap<K, V>;

/// By address, what few things have and every one is asked for when it ends: as long as nothing has it, that costs a load.
pub(crate) struct Sparse<T> {
    entries: LazyLock<Mutex<HashMap<usize, T>>>,
    count: AtomicUsize,
}

impl<T> Sparse<T> {
    /// Nothing has any.
    pub(crate) const fn new() -> Self {
        Self {
            entries: LazyLock::new(Mutex::default),
            count: AtomicUsize::new(0),
        }
    }

    /// Looks at all of it, and changes it.
    pub(crate) fn with<R>(&self, change: impl FnOnce(&mut HashMap<usize, T>) -> R) -> R {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut entries);
        self.count.store(entries.len(), Ordering::Release);
        result
    }

    /// Takes what that address has.
    pub(crate) fn remove(&self, address: usize) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        self.with(|entries| entries.remove(&address))
    }

    /// What that address has.
    pub(crate) fn get(&self, address: usize) -> Option<T>
    where
        T: Clone,
    {
        if self.is_empty() {
            return None;
        }
        self.with(|entries| entries.get(&address).cloned())
    }

    /// Whether nothing has any. What an address was given before its owner asks is seen by the owner.
    #[inline]
    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_found_until_it_is_taken() {
        static TABLE: Sparse<u8> = Sparse::new();
        assert_eq!((TABLE.get(16), TABLE.remove(16)), (None, None));
        TABLE.with(|entries| entries.insert(16, 1));
        assert_eq!((TABLE.get(16), TABLE.get(32)), (Some(1), None));
        assert_eq!((TABLE.remove(16), TABLE.remove(16)), (Some(1), None));
        assert!(TABLE.is_empty());
    }
}
