//! Fast mutexes and guarded mutexes, which are the same thing with another way to keep APCs out.

use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{about_to_take, change, gave, holds, order, quad, self_deadlock, take, took, word};
use crate::abi::base::FastMutex;
use crate::bugcheck;
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::thread::{self, APC_LEVEL};

/// Takes its count if it is free.
fn try_take(mutex: usize) -> bool {
    word(mutex)
        .compare_exchange(1, 0, Ordering::Acquire, Ordering::Relaxed)
        .is_ok()
}

fn owner<'a>(mutex: usize) -> &'a AtomicU64 {
    quad(mutex + offset_of!(FastMutex, owner))
}

fn own(mutex: usize) {
    owner(mutex).store(thread::current().object as u64, Ordering::Relaxed);
    took("fast mutex", mutex);
}

fn acquire(mutex: usize) {
    if owner(mutex).load(Ordering::Relaxed) == thread::current().object as u64 {
        self_deadlock("fast mutex", mutex);
    }
    about_to_take("fast mutex", mutex);
    take(mutex, || try_take(mutex));
    own(mutex);
}

fn release(mutex: usize) {
    gave("fast mutex", mutex);
    owner(mutex).store(0, Ordering::Relaxed);
    change(mutex, || word(mutex).store(1, Ordering::Release));
}

/// Driver Verifier's 0x33 (acquired above `APC_LEVEL`) and 0x34 (released elsewhere than there).
fn wrong_irql(kind: u64, function: &str, mutex: usize) -> ! {
    let irql = thread::irql();
    let level = if kind == 0x33 { "at most" } else { "exactly" };
    bugcheck::raise(
        0xC4,
        [kind, irql.into(), mutex as u64, 0],
        format!("{function} at IRQL {irql}: it is called at {level} {APC_LEVEL}, APC_LEVEL"),
    )
}

/// Reports the forms that leave APCs to their caller where the caller has not disabled them. Driver Verifier's 0x39 and 0x3A.
fn apcs_disabled(function: &str) {
    irql::at_most(function, APC_LEVEL);
    irql::critical_region(function);
}

fn old_irql(mutex: usize) -> Guest<u32> {
    Guest::at(mutex + offset_of!(FastMutex, old_irql))
}

exports! { "ntoskrnl.exe";
    /// Takes a fast mutex and raises to `APC_LEVEL`.
    fn ExAcquireFastMutex(mutex: usize) {
        if thread::irql() > APC_LEVEL {
            wrong_irql(0x33, "ExAcquireFastMutex", mutex);
        }
        let old = irql::KfRaiseIrql(APC_LEVEL);
        acquire(mutex);
        old_irql(mutex).write(old.into());
    }

    /// Releases a fast mutex and goes back to the IRQL before.
    fn ExReleaseFastMutex(mutex: usize) {
        // One that is not held is another mistake.
        if thread::irql() != APC_LEVEL && holds(mutex) {
            wrong_irql(0x34, "ExReleaseFastMutex", mutex);
        }
        let old = old_irql(mutex).read();
        release(mutex);
        irql::KeLowerIrql(old.to_le_bytes()[0]);
    }

    /// Takes a fast mutex if it is free.
    fn ExTryToAcquireFastMutex(mutex: usize) -> u8 {
        if thread::irql() > APC_LEVEL {
            wrong_irql(0x33, "ExTryToAcquireFastMutex", mutex);
        }
        let old = irql::KfRaiseIrql(APC_LEVEL);
        if !try_take(mutex) {
            irql::KeLowerIrql(old);
            return 0;
        }
        own(mutex);
        old_irql(mutex).write(old.into());
        1
    }

    /// Takes a fast mutex; the caller has APCs disabled.
    fn ExAcquireFastMutexUnsafe(mutex: usize) {
        apcs_disabled("ExAcquireFastMutexUnsafe");
        acquire(mutex);
    }

    /// Releases a fast mutex without changing the IRQL.
    fn ExReleaseFastMutexUnsafe(mutex: usize) {
        apcs_disabled("ExReleaseFastMutexUnsafe");
        release(mutex);
    }

    /// Initialises a guarded mutex.
    fn KeInitializeGuardedMutex(mutex: usize) {
        order::forget(mutex, size_of::<FastMutex>());
        Guest::<i32>::at(mutex).write(1);
        Guest::<usize>::at(mutex + offset_of!(FastMutex, owner)).write(0);
        Guest::<u32>::at(mutex + offset_of!(FastMutex, contention)).write(0);
    }

    /// Takes a guarded mutex in a guarded region.
    fn KeAcquireGuardedMutex(mutex: usize) {
        irql::at_most("KeAcquireGuardedMutex", APC_LEVEL);
        irql::KeEnterGuardedRegion();
        acquire(mutex);
    }

    /// Releases a guarded mutex and leaves the guarded region.
    fn KeReleaseGuardedMutex(mutex: usize) {
        release(mutex);
        irql::KeLeaveGuardedRegion();
    }

    /// Takes a guarded mutex if it is free.
    fn KeTryToAcquireGuardedMutex(mutex: usize) -> u8 {
        irql::KeEnterGuardedRegion();
        if !try_take(mutex) {
            irql::KeLeaveGuardedRegion();
            return 0;
        }
        own(mutex);
        1
    }
}
