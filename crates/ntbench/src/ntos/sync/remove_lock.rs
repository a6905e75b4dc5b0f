//! Remove locks: who uses a device, and an end after which nobody does any more.
//!
//! `IoInitializeRemoveLock` and its kin. The lock lies in the driver's memory; of `IO_REMOVE_LOCK` the first two words count.

use std::sync::atomic::Ordering;

use super::{change, place, word};
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::verifier;

/// `Removed`, and `IoCount`, which begins with one for the device itself.
const REMOVED: usize = 0;
const COUNT: usize = 4;
/// `sizeof(IO_REMOVE_LOCK)` of a free build, and of a checked one.
const SIZES: [u32; 2] = [32, 120];

fn release(lock: usize, call: &str) -> i32 {
    let left = change(lock, || word(lock + COUNT).fetch_sub(1, Ordering::SeqCst)) - 1;
    // The device's own acquisition goes with IoReleaseRemoveLockAndWait alone.
    let own = i32::from(word(lock + REMOVED).load(Ordering::SeqCst) & 0xFF == 0);
    if left < own {
        verifier::finding(
            "remove-lock-released-too-often",
            format!("{call} of {lock:#x} without an acquisition"),
        );
    }
    left
}

exports! { "ntoskrnl.exe";
    /// Makes a lock that may be acquired.
    fn IoInitializeRemoveLockEx(lock: usize, _tag: u32, _minutes: u32, _high_water: u32, size: u32) {
        irql::at_most("IoInitializeRemoveLockEx", PASSIVE_LEVEL);
        if !SIZES.contains(&size) {
            verifier::finding("registration", format!("IoInitializeRemoveLockEx with a lock of {size} bytes; pass sizeof(IO_REMOVE_LOCK)"));
        }
        Guest::<[u64; 4]>::at(lock).write([0; 4]);
        word(lock + COUNT).store(1, Ordering::SeqCst);
    }

    /// Acquires, unless the device is being removed.
    partial "who holds the lock is not kept by tag, as in free builds"
    fn IoAcquireRemoveLockEx(lock: usize, _tag: usize, _file: usize, _line: u32, _size: u32) -> NtStatus {
        irql::at_most("IoAcquireRemoveLockEx", DISPATCH_LEVEL);
        word(lock + COUNT).fetch_add(1, Ordering::SeqCst);
        if word(lock + REMOVED).load(Ordering::SeqCst) & 0xFF == 0 {
            return NtStatus::SUCCESS;
        }
        change(lock, || word(lock + COUNT).fetch_sub(1, Ordering::SeqCst));
        NtStatus::DELETE_PENDING
    }

    /// Releases.
    fn IoReleaseRemoveLockEx(lock: usize, _tag: usize, _size: u32) {
        irql::at_most("IoReleaseRemoveLockEx", DISPATCH_LEVEL);
        release(lock, "IoReleaseRemoveLockEx");
    }

    /// Releases, lets nobody acquire any more, and waits until nobody holds the lock.
    fn IoReleaseRemoveLockAndWaitEx(lock: usize, _tag: usize, _size: u32) {
        irql::at_most("IoReleaseRemoveLockAndWaitEx", APC_LEVEL);
        word(lock + REMOVED).fetch_or(1, Ordering::SeqCst);
        release(lock, "IoReleaseRemoveLockAndWaitEx");
        change(lock, || word(lock + COUNT).fetch_sub(1, Ordering::SeqCst));
        let place = place(lock);
        let mut guard = place.lock();
        while word(lock + COUNT).load(Ordering::SeqCst) > 0 {
            guard = place.wait(guard);
        }
    }
}
