//! Spin locks, and the interlocked lists that go with them.

use std::sync::atomic::Ordering;

use super::{about_to_take, gave, holds, quad, self_deadlock, took};
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::thread::{self, DISPATCH_LEVEL};
use crate::{bugcheck, schedule, verifier};

/// How a spin lock is held, as its word says; 0 is free.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Ordinary = 1,
    Queued = 2,
}

/// Takes a spin lock; the caller has raised the IRQL.
pub(crate) fn acquire(lock: usize) {
    acquire_as(lock, Held::Ordinary);
}

fn acquire_as(lock: usize, how: Held) {
    if holds(lock) {
        self_deadlock("spin lock", lock);
    }
    about_to_take("spin lock", lock);
    let state = quad(lock);
    while state
        .compare_exchange_weak(0, how as u64, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        if !schedule::wait_turn(lock, None) {
            std::thread::yield_now();
        }
    }
    took("spin lock", lock);
}

/// Gives it back.
pub(crate) fn release(lock: usize) {
    release_as(lock, Held::Ordinary);
}

fn release_as(lock: usize, how: Held) {
    gave("spin lock", lock);
    let held = quad(lock).swap(0, Ordering::Release);
    if held == 0 {
        bugcheck::raise(
            0x10,
            [lock as u64, 0, 0, 0],
            "a spin lock is released that nobody owns",
        );
    }
    if held != how as u64 {
        let (taken, given) = match how {
            Held::Ordinary => ("a queued", "an ordinary"),
            Held::Queued => ("an ordinary", "a queued"),
        };
        verifier::finding(
            "spin-lock-mixed",
            format!(
                "the spin lock at {lock:#x} was acquired as {taken} one and is released as {given} one"
            ),
        );
    }
}

/// Reports a form that neither raises nor lowers the IRQL where the caller has not raised it. Driver Verifier's 0x40 and 0x41.
fn at_dispatch(function: &str) {
    if thread::irql() < DISPATCH_LEVEL {
        verifier::finding("spin-lock-irql", format!("{function} below DISPATCH_LEVEL"));
    }
}

/// Driver Verifier's 0x32: what goes back to the IRQL before is called at `DISPATCH_LEVEL`.
fn still_at_dispatch(function: &str, lock: usize) {
    let irql = thread::irql();
    // One that is not held is another mistake.
    if irql != DISPATCH_LEVEL && holds(lock) {
        bugcheck::raise(
            0xC4,
            [0x32, irql.into(), lock as u64, 0],
            format!(
                "{function} at IRQL {irql}: a spin lock is released at DISPATCH_LEVEL, and the call lowers the IRQL itself"
            ),
        );
    }
}

/// Whether the current thread has it.
pub(crate) fn holds_lock(lock: usize) -> bool {
    holds(lock)
}

/// Runs `f` under a driver's spin lock, as the interlocked list functions do; they may be called at any IRQL.
fn locked<R>(lock: usize, f: impl FnOnce() -> R) -> R {
    let old = thread::current().set_irql(thread::irql().max(DISPATCH_LEVEL));
    acquire(lock);
    let result = f();
    release(lock);
    thread::current().set_irql(old);
    result
}

/// Puts an entry between two neighbours.
fn link(entry: usize, before: usize, after: usize) {
    Guest::<[usize; 2]>::at(entry).write([after, before]);
    Guest::<usize>::at(before).write(entry);
    Guest::<usize>::at(after + 8).write(entry);
}

exports! { "ntoskrnl.exe";
    /// Initialises a spin lock.
    fn KeInitializeSpinLock(lock: Guest<u64>) {
        super::order::forget(lock.address(), 8);
        super::resident(lock.address(), "a spin lock");
        lock.write(0);
    }

    /// Takes a spin lock at `DISPATCH_LEVEL`; gives the old IRQL.
    fn KeAcquireSpinLockRaiseToDpc(lock: Guest<u64>) -> u8 {
        let old = irql::KfRaiseIrql(DISPATCH_LEVEL);
        acquire(lock.address());
        old
    }

    /// Releases a spin lock and goes back to the IRQL before.
    fn KeReleaseSpinLock(lock: Guest<u64>, old: u8) {
        still_at_dispatch("KeReleaseSpinLock", lock.address());
        release(lock.address());
        irql::KeLowerIrql(old);
    }

    /// Takes a spin lock; the caller is at `DISPATCH_LEVEL`.
    fn KeAcquireSpinLockAtDpcLevel(lock: Guest<u64>) {
        at_dispatch("KeAcquireSpinLockAtDpcLevel");
        acquire(lock.address());
    }

    /// Takes a spin lock if it is free; the caller is at `DISPATCH_LEVEL`.
    fn KeTryToAcquireSpinLockAtDpcLevel(lock: Guest<u64>) -> u8 {
        at_dispatch("KeTryToAcquireSpinLockAtDpcLevel");
        if quad(lock.address()).compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return 0;
        }
        took("spin lock", lock.address());
        1
    }

    /// Releases a spin lock without changing the IRQL.
    fn KeReleaseSpinLockFromDpcLevel(lock: Guest<u64>) {
        at_dispatch("KeReleaseSpinLockFromDpcLevel");
        release(lock.address());
    }

    /// Takes a spin lock with a queue entry of the caller's (`KLOCK_QUEUE_HANDLE`: the lock at 8, the old IRQL at 16).
    fn KeAcquireInStackQueuedSpinLock(lock: Guest<u64>, handle: usize) {
        let old = irql::KfRaiseIrql(DISPATCH_LEVEL);
        acquire_as(lock.address(), Held::Queued);
        Guest::<usize>::at(handle + 8).write(lock.address());
        Guest::<u8>::at(handle + 16).write(old);
    }

    /// Releases it and goes back to the IRQL before.
    fn KeReleaseInStackQueuedSpinLock(handle: usize) {
        let lock = Guest::<usize>::at(handle + 8).read();
        still_at_dispatch("KeReleaseInStackQueuedSpinLock", lock);
        release_as(lock, Held::Queued);
        irql::KeLowerIrql(Guest::<u8>::at(handle + 16).read());
    }

    /// Takes a spin lock with a queue entry; the caller is at `DISPATCH_LEVEL`.
    fn KeAcquireInStackQueuedSpinLockAtDpcLevel(lock: Guest<u64>, handle: usize) {
        at_dispatch("KeAcquireInStackQueuedSpinLockAtDpcLevel");
        acquire_as(lock.address(), Held::Queued);
        Guest::<usize>::at(handle + 8).write(lock.address());
    }

    /// Releases it without changing the IRQL.
    fn KeReleaseInStackQueuedSpinLockFromDpcLevel(handle: usize) {
        at_dispatch("KeReleaseInStackQueuedSpinLockFromDpcLevel");
        release_as(Guest::<usize>::at(handle + 8).read(), Held::Queued);
    }

    /// Puts an entry at a list's head; gives the former head, NULL for an empty list.
    fn ExInterlockedInsertHeadList(list: usize, entry: usize, lock: usize) -> usize {
        locked(lock, || {
            let first = Guest::<usize>::at(list).read();
            link(entry, list, first);
            if first == list { 0 } else { first }
        })
    }

    /// Puts an entry at a list's tail; gives the former tail, NULL for an empty list.
    fn ExInterlockedInsertTailList(list: usize, entry: usize, lock: usize) -> usize {
        locked(lock, || {
            let last = Guest::<usize>::at(list + 8).read();
            link(entry, last, list);
            if last == list { 0 } else { last }
        })
    }

    /// Takes a list's first entry; NULL for an empty list.
    fn ExInterlockedRemoveHeadList(list: usize, lock: usize) -> usize {
        locked(lock, || {
            let first = Guest::<usize>::at(list).read();
            if first == list {
                return 0;
            }
            let second = Guest::<usize>::at(first).read();
            Guest::<usize>::at(list).write(second);
            Guest::<usize>::at(second + 8).write(list);
            first
        })
    }
}
