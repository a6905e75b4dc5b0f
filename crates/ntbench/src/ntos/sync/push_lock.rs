//! Push locks: a pointer's worth of memory, shared or exclusive, not recursive.
//!
//! The word holds the number of shared owners, or all ones for an exclusive one. Documentation: "ExInitializePushLock",
//! "FltAcquirePushLockExclusiveEx": the Filter Manager's calls enter a critical region of their own unless told that the caller has; the
//! kernel's want it disabled by the caller.

use std::sync::atomic::Ordering;

use super::{about_to_take, change, gave, holds, order, quad, self_deadlock, take, took};
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::thread::APC_LEVEL;

const EXCLUSIVE: u64 = u64::MAX;

fn acquire(lock: usize, exclusive: bool, call: &str) {
    irql::at_most(call, APC_LEVEL);
    if holds(lock) {
        self_deadlock("push lock", lock);
    }
    about_to_take("push lock", lock);
    take(lock, || try_take(lock, exclusive));
    took("push lock", lock);
}

fn try_take(lock: usize, exclusive: bool) -> bool {
    let state = quad(lock);
    match (state.load(Ordering::SeqCst), exclusive) {
        (0, true) => state.store(EXCLUSIVE, Ordering::SeqCst),
        (EXCLUSIVE, _) | (_, true) => return false,
        (shared, false) => state.store(shared + 1, Ordering::SeqCst),
    }
    true
}

fn release(lock: usize) {
    gave("push lock", lock);
    change(lock, || {
        let state = quad(lock);
        match state.load(Ordering::SeqCst) {
            // The finding is made already.
            0 => {}
            EXCLUSIVE => state.store(0, Ordering::SeqCst),
            shared => state.store(shared - 1, Ordering::SeqCst),
        }
    });
}

fn initialise(lock: usize) {
    order::forget(lock, 8);
    Guest::<u64>::at(lock).write(0);
}

exports! { "ntoskrnl.exe";
    /// Initialises a push lock.
    fn ExInitializePushLock(lock: usize) {
        initialise(lock);
    }

    /// Takes a push lock for itself alone.
    fn ExAcquirePushLockExclusiveEx(lock: usize, _flags: u32) {
        irql::critical_region("ExAcquirePushLockExclusive");
        acquire(lock, true, "ExAcquirePushLockExclusive");
    }

    /// Takes a push lock together with others.
    fn ExAcquirePushLockSharedEx(lock: usize, _flags: u32) {
        irql::critical_region("ExAcquirePushLockShared");
        acquire(lock, false, "ExAcquirePushLockShared");
    }

    /// Releases a push lock.
    fn ExReleasePushLockExclusiveEx(lock: usize, _flags: u32) {
        release(lock);
    }

    /// Releases a push lock.
    fn ExReleasePushLockSharedEx(lock: usize, _flags: u32) {
        release(lock);
    }

    /// Releases a push lock, however it is held.
    fn ExReleasePushLockEx(lock: usize, _flags: u32) {
        release(lock);
    }
}

/// The Filter Manager's.
pub(super) mod filter_manager {
    use super::{acquire, initialise, irql, release};
    use crate::verifier::{self, Embedded};

    /// The push locks that have not been deleted: only then is their memory the caller's to free (`FltDeletePushLock`).
    pub(in super::super) static LOCKS: Embedded =
        Embedded::new("push-lock-not-deleted", "push lock");

    /// `FLT_PUSH_LOCK_DISABLE_AUTO_BOOST` changes nothing here; other bits are not documented.
    fn known(flags: u32, call: &str) {
        if flags & !(1 | 2) != 0 {
            verifier::finding(
                "push-lock-flags",
                format!(
                    "{call} was given flags {flags:#x}; only FLT_PUSH_LOCK_ENABLE_AUTO_BOOST and FLT_PUSH_LOCK_DISABLE_AUTO_BOOST are documented"
                ),
            );
        }
    }

    exports! { "fltmgr.sys";
        /// Initialises a push lock.
        fn FltInitializePushLock(lock: usize) {
            initialise(lock);
            LOCKS.begin(lock);
        }

        /// Ends the use of a push lock.
        fn FltDeletePushLock(lock: usize) {
            LOCKS.end(lock);
            if crate::ntos::memory::Guest::<u64>::at(lock).read() != 0 {
                verifier::finding("push-lock-deleted-in-use", format!("FltDeletePushLock of the push lock at {lock:#x}, which somebody holds"));
            }
            super::order::forget(lock, 8);
        }

        /// Takes a push lock for itself alone, in a critical region.
        fn FltAcquirePushLockExclusive(lock: usize) {
            irql::enter_critical_region();
            acquire(lock, true, "FltAcquirePushLockExclusive");
        }

        /// The same, with flags.
        fn FltAcquirePushLockExclusiveEx(lock: usize, flags: u32) {
            known(flags, "FltAcquirePushLockExclusiveEx");
            FltAcquirePushLockExclusive(lock);
        }

        /// Takes a push lock together with others, in a critical region.
        fn FltAcquirePushLockShared(lock: usize) {
            irql::enter_critical_region();
            acquire(lock, false, "FltAcquirePushLockShared");
        }

        /// The same, with flags.
        fn FltAcquirePushLockSharedEx(lock: usize, flags: u32) {
            known(flags, "FltAcquirePushLockSharedEx");
            FltAcquirePushLockShared(lock);
        }

        /// Releases a push lock and leaves the critical region.
        fn FltReleasePushLock(lock: usize) {
            release(lock);
            irql::KeLeaveCriticalRegion();
        }

        /// The same, with flags.
        fn FltReleasePushLockEx(lock: usize, flags: u32) {
            known(flags, "FltReleasePushLockEx");
            FltReleasePushLock(lock);
        }
    }
}
