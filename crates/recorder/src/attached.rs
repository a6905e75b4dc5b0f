//! Where a ring's memory is, and how long it is: told to threads that ask already, and apart from the ring so that loom can explore it.

use core::ptr::NonNull;

use crate::sync::{AtomicPtr, AtomicU64, Ordering};

/// Tells everybody of `capacity` slots, after all that was done to them.
pub fn give<T>(at: &AtomicPtr<T>, length: &AtomicU64, slots: NonNull<T>, capacity: usize) {
    length.store(capacity as u64, Ordering::Relaxed);
    // Release: whoever sees the slots sees them zeroed, and how many there are.
    at.store(slots.as_ptr(), Ordering::Release);
}

/// The slots and how many there are, if they have been given.
#[inline]
pub fn get<T>(at: &AtomicPtr<T>, length: &AtomicU64) -> Option<(NonNull<T>, usize)> {
    let slots = NonNull::new(at.load(Ordering::Acquire))?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it was a usize when it was stored"
    )]
    let capacity = length.load(Ordering::Relaxed) as usize;
    Some((slots, capacity))
}
