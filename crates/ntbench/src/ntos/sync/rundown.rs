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
