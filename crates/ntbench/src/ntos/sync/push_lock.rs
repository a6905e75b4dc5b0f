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
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::{acquire, initialise, irql, release};
    use crate::ntos::driver;
    use crate::verifier;

    /// Who initialised a push lock, and where.
    struct Owner {
        service: Option<String>,
        site: usize,
    }

    /// The push locks that have not been deleted: each `FltInitializePushLock` has its `FltDeletePushLock`.
    static LOCKS: Mutex<BTreeMap<usize, Owner>> = Mutex::new(BTreeMap::new());
    /// Whether there ever was one: each block that is freed is asked about.
    static ANY: AtomicBool = AtomicBool::new(false);

    fn locks() -> MutexGuard<'static, BTreeMap<usize, Owner>> {
        LOCKS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports the push locks in memory that is about to be freed.
    pub(in super::super) fn about_to_free(start: usize, length: usize) {
        if !ANY.load(Ordering::Acquire) {
            return;
        }
        let left: Vec<usize> = locks()
            .range(start..start + length)
            .map(|(at, _)| *at)
            .collect();
        for at in left {
            if let Some(owner) = locks().remove(&at) {
                let text =
                    format!("pool is freed that holds the push lock at {at:#x}, initialised here");
                verifier::finding_at("push-lock-not-deleted", owner.site, text);
            }
        }
    }

    /// Reports those that a driver which goes away has left.
    pub(in super::super) fn report_leaks(service: &str) {
        let mut left = Vec::new();
        locks().retain(|at, owner| {
            let mine = owner.service.as_deref() == Some(service);
            if mine {
                left.push((*at, owner.site));
            }
            !mine
        });
        for (at, site) in left {
            let text = format!("{service} went away without deleting the push lock at {at:#x}");
            verifier::finding_at("push-lock-not-deleted", site, text);
        }
    }

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
            let owner = Owner {
                service: driver::calling().map(|driver| driver.service.clone()),
                site: verifier::here(),
            };
            locks().insert(lock, owner);
            ANY.store(true, Ordering::Release);
        }

        /// Ends the use of a push lock.
        fn FltDeletePushLock(lock: usize) {
            locks().remove(&lock);
            if crate::ntos::memory::Guest::<u64>::at(lock).read() != 0 {
                verifier::finding("push-lock-deleted-in-use", format!("FltDeletePushLock of the push lock at {lock:#x}, which somebody holds"));
            }
            super::order::forget(lock, 8);
        }

        /// Takes a push lock for itself alone, in a critical region.
        fn FltAcquirePushLockExclusive(lock: usize) {
            irql::KeEnterCriticalRegion();
            acquire(lock, true, "FltAcquirePushLockExclusive");
        }

        /// The same, with flags.
        fn FltAcquirePushLockExclusiveEx(lock: usize, flags: u32) {
            known(flags, "FltAcquirePushLockExclusiveEx");
            FltAcquirePushLockExclusive(lock);
        }

        /// Takes a push lock together with others, in a critical region.
        fn FltAcquirePushLockShared(lock: usize) {
            irql::KeEnterCriticalRegion();
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
