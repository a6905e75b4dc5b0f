//! The ring's memory, given to threads that claim already.

use core::ptr::{NonNull, null_mut};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use recorder::attached;
use recorder::weaken::{AtomicPtr, AtomicU64};

use crate::explore;

struct Shared {
    memory: UnsafeCell<u64>,
    at: AtomicPtr<UnsafeCell<u64>>,
    length: AtomicU64,
}

// SAFETY: the memory is written by the thread that gives it, before, and only read by those that it was given to.
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer leads into the same value, which threads share by an `Arc`.
unsafe impl Send for Shared {}

/// Who sees the memory sees what was done to it, and how long it is; who does not sees none.
pub(crate) fn memory_that_is_given_is_seen_as_it_was_left() {
    explore(4, || {
        let shared = Arc::new(Shared {
            memory: UnsafeCell::new(0),
            at: AtomicPtr::new(null_mut()),
            length: AtomicU64::new(0),
        });
        let other = shared.clone();
        let giver = thread::spawn(move || {
            // SAFETY: nobody else has been told of the memory.
            other.memory.with_mut(|memory| unsafe { *memory = 7 });
            attached::give(&other.at, &other.length, NonNull::from(&other.memory), 3);
        });
        if let Some((memory, length)) = attached::get(&shared.at, &shared.length) {
            // SAFETY: it is the memory of `shared`, which lives here.
            let memory = unsafe { memory.as_ref() };
            // SAFETY: nobody writes it any more; loom says so where that is wrong.
            let seen = memory.with(|memory| unsafe { *memory });
            assert_eq!((seen, length), (7, 3));
        }
        giver.join().unwrap();
    });
}
