//! Spin locks for readers and writers (`EX_SPIN_LOCK`): a word that counts the shared owners, its highest bit the one that is
//! alone. "ExAcquireSpinLockExclusive".

use std::sync::atomic::{AtomicU32, Ordering};

use super::{about_to_take, gave, holds, self_deadlock, took};
use crate::bugcheck;
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::thread::{self, DISPATCH_LEVEL};
use crate::verifier;

const EXCLUSIVE: u32 = 0x8000_0000;
const KIND: &str = "reader/writer spin lock";

fn word<'a>(lock: usize) -> &'a AtomicU32 {
    // The pointer is looked at as every one of a driver's is.
    let _ = Guest::<u32>::at(lock).read();
    let word: *const AtomicU32 = std::ptr::with_exposed_provenance(lock);
    // SAFETY: four bytes of the driver's that are there, as was just seen; a LONG is aligned.
    unsafe { &*word }
}

fn take(lock: usize, exclusive: bool) {
    if thread::irql() < DISPATCH_LEVEL {
        verifier::finding(
            "spin-lock-irql",
            "ExAcquireSpinLock…AtDpcLevel below DISPATCH_LEVEL",
        );
    }
    if holds(lock) {
        self_deadlock(KIND, lock);
    }
    about_to_take(KIND, lock);
    let word = word(lock);
    loop {
        let now = word.load(Ordering::Relaxed);
        let (free, next) = if exclusive {
            (now == 0, EXCLUSIVE)
        } else {
            (now & EXCLUSIVE == 0, now.wrapping_add(1))
        };
        if free
            && word
                .compare_exchange_weak(now, next, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        {
            break;
        }
        std::thread::yield_now();
    }
    took(KIND, lock);
}

fn give(lock: usize, exclusive: bool) {
    gave(KIND, lock);
    let word = word(lock);
    let now = word.load(Ordering::Relaxed);
    let owned = if exclusive {
        now & EXCLUSIVE != 0
    } else {
        now & EXCLUSIVE == 0 && now != 0
    };
    if !owned {
        bugcheck::raise(
            0x10,
            [lock as u64, 0, 0, 0],
            "a reader/writer spin lock is released that nobody owns that way",
        );
    }
    if exclusive {
        word.fetch_and(!EXCLUSIVE, Ordering::Release);
    } else {
        word.fetch_sub(1, Ordering::Release);
    }
}

exports! { "ntoskrnl.exe";
    /// Takes the lock for itself alone at `DISPATCH_LEVEL`; gives the old IRQL.
    fn ExAcquireSpinLockExclusive(lock: usize) -> u8 {
        let old = irql::KfRaiseIrql(DISPATCH_LEVEL);
        take(lock, true);
        old
    }

    /// Gives it back.
    fn ExReleaseSpinLockExclusive(lock: usize, old: u8) {
        give(lock, true);
        irql::KeLowerIrql(old);
    }

    /// Takes the lock together with others at `DISPATCH_LEVEL`; gives the old IRQL.
    fn ExAcquireSpinLockShared(lock: usize) -> u8 {
        let old = irql::KfRaiseIrql(DISPATCH_LEVEL);
        take(lock, false);
        old
    }

    /// Gives it back.
    fn ExReleaseSpinLockShared(lock: usize, old: u8) {
        give(lock, false);
        irql::KeLowerIrql(old);
    }

    /// Takes the lock for itself alone; the caller is at `DISPATCH_LEVEL`.
    fn ExAcquireSpinLockExclusiveAtDpcLevel(lock: usize) {
        take(lock, true);
    }

    /// Gives it back without changing the IRQL.
    fn ExReleaseSpinLockExclusiveFromDpcLevel(lock: usize) {
        give(lock, true);
    }

    /// Takes the lock together with others; the caller is at `DISPATCH_LEVEL`.
    fn ExAcquireSpinLockSharedAtDpcLevel(lock: usize) {
        take(lock, false);
    }

    /// Gives it back without changing the IRQL.
    fn ExReleaseSpinLockSharedFromDpcLevel(lock: usize) {
        give(lock, false);
    }

    /// Makes the only shared owner the exclusive one; FALSE: there are others.
    fn ExTryConvertSharedSpinLockExclusive(lock: usize) -> u8 {
        let alone = word(lock).compare_exchange(1, EXCLUSIVE, Ordering::Acquire, Ordering::Relaxed);
        u8::from(alone.is_ok())
    }
}
