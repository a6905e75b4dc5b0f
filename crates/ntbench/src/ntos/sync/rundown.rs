//! Run-down protection (`EX_RUNDOWN_REF`): a count of users, and an end after which there are no new ones.

use std::sync::atomic::Ordering;

use super::{change, place, quad};
use crate::ntos::irql;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL};
use crate::verifier;

/// The word: bit 0, the end has begun; above it, the count.
const ENDED: u64 = 1;
const ONE: u64 = 2;

fn acquire(reference: usize, count: u32) -> u8 {
    irql::at_most("ExAcquireRundownProtection", DISPATCH_LEVEL);
    let more = u64::from(count) * ONE;
    let state = quad(reference);
    let taken = state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |value| {
        (value & ENDED == 0).then_some(value + more)
    });
    taken.is_ok().into()
}

fn release(reference: usize, count: u32) {
    let less = u64::from(count) * ONE;
    let enough = change(reference, || {
        quad(reference).fetch_update(Ordering::SeqCst, Ordering::SeqCst, |value| {
            value.checked_sub(less)
        })
    });
    if enough.is_err() {
        verifier::finding(
            "rundown-released-too-often",
            format!("ExReleaseRundownProtection of {reference:#x} without an acquisition"),
        );
    }
}

exports! { "ntoskrnl.exe";
    /// Makes a protection that may be acquired.
    fn ExInitializeRundownProtection(reference: usize) {
        quad(reference).store(0, Ordering::SeqCst);
    }

    /// Makes one whose end has come usable again.
    fn ExReInitializeRundownProtection(reference: usize) {
        quad(reference).store(0, Ordering::SeqCst);
    }

    /// Acquires, unless the end has begun.
    fn ExAcquireRundownProtection(reference: usize) -> u8 {
        acquire(reference, 1)
    }

    /// Acquires several times, unless the end has begun.
    fn ExAcquireRundownProtectionEx(reference: usize, count: u32) -> u8 {
        acquire(reference, count)
    }

    /// Releases.
    fn ExReleaseRundownProtection(reference: usize) {
        release(reference, 1);
    }

    /// Releases several times.
    fn ExReleaseRundownProtectionEx(reference: usize, count: u32) {
        release(reference, count);
    }

    /// Begins the end, and waits until nobody holds the protection.
    fn ExWaitForRundownProtectionRelease(reference: usize) {
        irql::at_most("ExWaitForRundownProtectionRelease", APC_LEVEL);
        let state = quad(reference);
        state.fetch_or(ENDED, Ordering::SeqCst);
        let place = place(reference);
        let mut guard = place.lock();
        while state.load(Ordering::SeqCst) != ENDED {
            guard = place.wait(guard);
        }
    }

    /// Marks the end as come.
    fn ExRundownCompleted(reference: usize) {
        quad(reference).store(ENDED, Ordering::SeqCst);
    }
}

/// The same with a count for each processor, of which the machine has one: opaque memory that holds the word.
pub(super) mod cache_aware {
    use crate::ntos::memory::Guest;
    use crate::ntos::pool;

    /// What `ExSizeOfRundownProtectionCacheAware` says.
    const BYTES: u64 = 0x40;

    exports! { "ntoskrnl.exe";
        /// Makes one in pool; NULL: there is no memory.
        fn ExAllocateCacheAwareRundownProtection(kind: u32, tag: u32) -> usize {
            if crate::faults::check("ExAllocateCacheAwareRundownProtection").is_some() {
                return 0;
            }
            // PagedPool is the odd one.
            let kind = if kind & 1 == 0 { pool::Kind::NonPaged } else { pool::Kind::Paged };
            pool::allocate(0x40, tag, kind, true).unwrap_or(0)
        }

        /// Frees it.
        fn ExFreeCacheAwareRundownProtection(reference: usize) {
            pool::free(reference, None);
        }

        /// How large one in the driver's own memory is.
        fn ExSizeOfRundownProtectionCacheAware() -> u64 {
            BYTES
        }

        /// Makes one of the driver's memory.
        fn ExInitializeRundownProtectionCacheAware(reference: usize, size: u64) {
            if size < BYTES {
                crate::verifier::finding(
                    "registration",
                    "ExInitializeRundownProtectionCacheAware with less memory than ExSizeOfRundownProtectionCacheAware says",
                );
            }
            Guest::<u64>::at(reference).write(0);
        }

        /// Makes one whose end has come usable again.
        fn ExReInitializeRundownProtectionCacheAware(reference: usize) {
            super::ExReInitializeRundownProtection(reference);
        }

        /// Acquires, unless the end has begun.
        fn ExAcquireRundownProtectionCacheAware(reference: usize) -> u8 {
            super::acquire(reference, 1)
        }

        /// Acquires several times, unless the end has begun.
        fn ExAcquireRundownProtectionCacheAwareEx(reference: usize, count: u32) -> u8 {
            super::acquire(reference, count)
        }

        /// Releases.
        fn ExReleaseRundownProtectionCacheAware(reference: usize) {
            super::release(reference, 1);
        }

        /// Releases several times.
        fn ExReleaseRundownProtectionCacheAwareEx(reference: usize, count: u32) {
            super::release(reference, count);
        }

        /// Begins the end, and waits until nobody holds the protection.
        fn ExWaitForRundownProtectionReleaseCacheAware(reference: usize) {
            super::ExWaitForRundownProtectionRelease(reference);
        }

        /// Marks the end as come.
        fn ExRundownCompletedCacheAware(reference: usize) {
            super::ExRundownCompleted(reference);
        }
    }
}
