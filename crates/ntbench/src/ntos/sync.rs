//! Locks and events. Their state lies in the driver's memory; who waits for it is the host's affair.

use std::cell::RefCell;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::memory::Guest;
use super::{irql, time};
use crate::abi::base::{FastMutex, KEvent};
use crate::status::NtStatus;
use crate::thread::{self, APC_LEVEL, DISPATCH_LEVEL};
use crate::{bugcheck, verifier};

/// `NotificationEvent` and `SynchronizationEvent`.
const NOTIFICATION: u8 = 0;
const SYNCHRONIZATION: u8 = 1;

/// Waiters gather at one of a few places, by the address they wait for.
struct Place {
    gate: Mutex<()>,
    changed: Condvar,
}

static PLACES: [Place; 64] = [const {
    Place {
        gate: Mutex::new(()),
        changed: Condvar::new(),
    }
}; 64];

fn place(address: usize) -> &'static Place {
    &PLACES[(address >> 4) % PLACES.len()]
}

thread_local! {
    /// The locks that this thread holds.
    static HELD: RefCell<Vec<(&'static str, usize)>> = const { RefCell::new(Vec::new()) };
}

/// How many locks the current thread holds.
pub(crate) fn held() -> usize {
    HELD.with_borrow(Vec::len)
}

/// The locks that the current thread holds, from the given one on, for a message.
pub(crate) fn held_since(count: usize) -> String {
    HELD.with_borrow(|held| {
        let names: Vec<String> = held
            .iter()
            .skip(count)
            .map(|(kind, at)| format!("{kind} at {at:#x}"))
            .collect();
        names.join(", ")
    })
}

fn took(kind: &'static str, address: usize) {
    HELD.with_borrow_mut(|held| held.push((kind, address)));
}

fn gave(kind: &'static str, address: usize) {
    let known = HELD.with_borrow_mut(|held| {
        let index = held.iter().rposition(|(_, at)| *at == address);
        index.map(|index| held.remove(index)).is_some()
    });
    if !known {
        verifier::finding(
            "lock-not-held",
            format!("a {kind} at {address:#x} is released by a thread that does not hold it"),
        );
    }
}

/// A word of a driver's object that threads change at the same time.
fn word<'a>(address: usize) -> &'a AtomicI32 {
    let pointer: *mut i32 = std::ptr::with_exposed_provenance_mut(address);
    // SAFETY: on the driver's word, see `memory`; the kernel's objects are aligned.
    unsafe { AtomicI32::from_ptr(pointer) }
}

fn quad<'a>(address: usize) -> &'a AtomicU64 {
    let pointer: *mut u64 = std::ptr::with_exposed_provenance_mut(address);
    // SAFETY: as in `word`.
    unsafe { AtomicU64::from_ptr(pointer) }
}

fn signal_state<'a>(event: usize) -> &'a AtomicI32 {
    word(event + 4)
}

/// Sets an event; gives its former state.
fn set(event: usize, state: i32) -> i32 {
    let place = place(event);
    let guard = place.gate.lock().unwrap_or_else(PoisonError::into_inner);
    let former = signal_state(event).swap(state, Ordering::SeqCst);
    drop(guard);
    place.changed.notify_all();
    former
}

/// Waits until an event is signalled; `false`: time is up.
fn wait(event: usize, deadline: Option<Instant>) -> bool {
    let place = place(event);
    let kind = Guest::<u8>::at(event).read();
    let mut guard = place.gate.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let state = signal_state(event);
        if state.load(Ordering::SeqCst) != 0 {
            if kind == SYNCHRONIZATION {
                state.store(0, Ordering::SeqCst);
            }
            return true;
        }
        guard = match deadline {
            None => place
                .changed
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return false;
                }
                place
                    .changed
                    .wait_timeout(guard, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
    }
}

fn acquire_spin(lock: usize) {
    if HELD.with_borrow(|held| held.iter().any(|(_, at)| *at == lock)) {
        // Driver Verifier's self-deadlock; without it the processor spins for ever.
        bugcheck::raise(
            0xC4,
            [0x1000, lock as u64, 0, 0],
            "a spin lock is acquired by the thread that holds it: a deadlock",
        );
    }
    let state = quad(lock);
    while state
        .compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed)
        .is_err()
    {
        std::thread::yield_now();
    }
    took("spin lock", lock);
}

fn release_spin(lock: usize) {
    gave("spin lock", lock);
    if quad(lock).swap(0, Ordering::Release) == 0 {
        bugcheck::raise(
            0x10,
            [lock as u64, 0, 0, 0],
            "a spin lock is released that nobody owns",
        );
    }
}

/// Takes a fast mutex's count if it is free.
fn try_mutex(mutex: usize) -> bool {
    word(mutex)
        .compare_exchange(1, 0, Ordering::Acquire, Ordering::Relaxed)
        .is_ok()
}

fn owner<'a>(mutex: usize) -> &'a AtomicU64 {
    quad(mutex + std::mem::offset_of!(FastMutex, owner))
}

fn acquire_mutex(mutex: usize) {
    let me = thread::current().object as u64;
    if owner(mutex).load(Ordering::Relaxed) == me {
        bugcheck::raise(
            0xC4,
            [0x1000, mutex as u64, 0, 0],
            "a fast mutex is acquired by the thread that owns it: a deadlock",
        );
    }
    let place = place(mutex);
    let mut guard = place.gate.lock().unwrap_or_else(PoisonError::into_inner);
    while !try_mutex(mutex) {
        guard = place
            .changed
            .wait(guard)
            .unwrap_or_else(PoisonError::into_inner);
    }
    drop(guard);
    owner(mutex).store(me, Ordering::Relaxed);
    took("fast mutex", mutex);
}

fn release_mutex(mutex: usize) {
    gave("fast mutex", mutex);
    owner(mutex).store(0, Ordering::Relaxed);
    let place = place(mutex);
    let guard = place.gate.lock().unwrap_or_else(PoisonError::into_inner);
    word(mutex).store(1, Ordering::Release);
    drop(guard);
    place.changed.notify_all();
}

exports! { "ntoskrnl.exe";
    /// Initialises an event.
    fn KeInitializeEvent(event: Guest<KEvent>, kind: u32, state: u8) {
        let bytes = event.address();
        Guest::<u8>::at(bytes).write(if kind == 0 { NOTIFICATION } else { SYNCHRONIZATION });
        Guest::<u8>::at(bytes + 2).write(6);
        signal_state(bytes).store(i32::from(state), Ordering::SeqCst);
        let list = bytes + 8;
        Guest::<[usize; 2]>::at(list).write([list, list]);
    }

    /// Signals an event.
    fn KeSetEvent(event: Guest<KEvent>, _increment: i32, _wait: u8) -> i32 {
        irql::at_most("KeSetEvent", DISPATCH_LEVEL);
        set(event.address(), 1)
    }

    /// Resets an event; gives its former state.
    fn KeResetEvent(event: Guest<KEvent>) -> i32 {
        irql::at_most("KeResetEvent", DISPATCH_LEVEL);
        set(event.address(), 0)
    }

    /// Resets an event.
    fn KeClearEvent(event: Guest<KEvent>) {
        irql::at_most("KeClearEvent", DISPATCH_LEVEL);
        set(event.address(), 0);
    }

    /// An event's state.
    fn KeReadStateEvent(event: Guest<KEvent>) -> i32 {
        signal_state(event.address()).load(Ordering::SeqCst)
    }

    /// Waits for an event.
    fn KeWaitForSingleObject(
        object: usize,
        _reason: u32,
        _mode: i8,
        _alertable: u8,
        timeout: Guest<i64>,
    ) -> NtStatus {
        let timeout = timeout.read_opt();
        let limit = if timeout == Some(0) { DISPATCH_LEVEL } else { APC_LEVEL };
        if thread::irql() > limit {
            bugcheck::raise(0xB8, [0; 4], "a wait at DISPATCH_LEVEL or above with a timeout that is not zero");
        }
        let deadline = timeout.map(|timeout| {
            let units = if timeout < 0 { -timeout } else { timeout - time::system_time() };
            Instant::now() + Duration::from_nanos(u64::try_from(units).unwrap_or(0).saturating_mul(100))
        });
        if wait(object, deadline) { NtStatus::SUCCESS } else { NtStatus::TIMEOUT }
    }

    /// Initialises a spin lock.
    fn KeInitializeSpinLock(lock: Guest<u64>) {
        lock.write(0);
    }

    /// Takes a spin lock at `DISPATCH_LEVEL`; gives the old IRQL.
    fn KeAcquireSpinLockRaiseToDpc(lock: Guest<u64>) -> u8 {
        let old = irql::KfRaiseIrql(DISPATCH_LEVEL);
        acquire_spin(lock.address());
        old
    }

    /// Releases a spin lock and goes back to the IRQL before.
    fn KeReleaseSpinLock(lock: Guest<u64>, old: u8) {
        release_spin(lock.address());
        irql::KeLowerIrql(old);
    }

    /// Takes a spin lock; the caller is at `DISPATCH_LEVEL`.
    fn KeAcquireSpinLockAtDpcLevel(lock: Guest<u64>) {
        if thread::irql() < DISPATCH_LEVEL {
            verifier::finding("spin-lock-irql", "KeAcquireSpinLockAtDpcLevel below DISPATCH_LEVEL; use KeAcquireSpinLock");
        }
        acquire_spin(lock.address());
    }

    /// Releases a spin lock without changing the IRQL.
    fn KeReleaseSpinLockFromDpcLevel(lock: Guest<u64>) {
        release_spin(lock.address());
    }

    /// Takes a fast mutex and raises to `APC_LEVEL`.
    fn ExAcquireFastMutex(mutex: Guest<FastMutex>) {
        irql::at_most("ExAcquireFastMutex", APC_LEVEL);
        let old = irql::KfRaiseIrql(APC_LEVEL);
        acquire_mutex(mutex.address());
        Guest::<u32>::at(mutex.address() + std::mem::offset_of!(FastMutex, old_irql)).write(old.into());
    }

    /// Releases a fast mutex and goes back to the IRQL before.
    fn ExReleaseFastMutex(mutex: Guest<FastMutex>) {
        let old = Guest::<u32>::at(mutex.address() + std::mem::offset_of!(FastMutex, old_irql)).read();
        release_mutex(mutex.address());
        irql::KeLowerIrql(old.to_le_bytes()[0]);
    }

    /// Takes a fast mutex if it is free.
    fn ExTryToAcquireFastMutex(mutex: Guest<FastMutex>) -> u8 {
        let old = irql::KfRaiseIrql(APC_LEVEL);
        if !try_mutex(mutex.address()) {
            irql::KeLowerIrql(old);
            return 0;
        }
        owner(mutex.address()).store(thread::current().object as u64, Ordering::Relaxed);
        took("fast mutex", mutex.address());
        Guest::<u32>::at(mutex.address() + std::mem::offset_of!(FastMutex, old_irql)).write(old.into());
        1
    }

    /// Takes a fast mutex; the caller has APCs disabled.
    fn ExAcquireFastMutexUnsafe(mutex: Guest<FastMutex>) {
        acquire_mutex(mutex.address());
    }

    /// Releases a fast mutex without changing the IRQL.
    fn ExReleaseFastMutexUnsafe(mutex: Guest<FastMutex>) {
        release_mutex(mutex.address());
    }
}
