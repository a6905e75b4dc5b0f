//! Locks and dispatcher objects. Their state lies in the driver's memory; who waits for it is the host's affair.

pub(crate) mod by_handle;
pub(super) mod event;
mod ex_timer;
pub(super) mod fast_mutex;
mod mutex;
mod order;
mod push_lock;
mod queue;
mod remove_lock;
mod resource;
mod run_once;
mod rundown;
mod rw_spin;
mod semaphore;
pub(crate) mod spin;
mod timer;
pub(crate) mod wait;

pub(crate) use timer::in_dpc;

use std::cell::RefCell;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{pool, special};
use crate::export::Export;
use crate::fltmgr::context;
use crate::{bugcheck, schedule, verifier};

/// What this module lets drivers import.
pub(crate) fn tables() -> [&'static [Export]; 19] {
    [
        event::exports(),
        by_handle::exports(),
        fast_mutex::exports(),
        mutex::exports(),
        push_lock::exports(),
        queue::exports(),
        push_lock::filter_manager::exports(),
        resource::exports(),
        resource::filter_manager::exports(),
        remove_lock::exports(),
        run_once::exports(),
        rundown::exports(),
        rundown::cache_aware::exports(),
        rw_spin::exports(),
        semaphore::exports(),
        spin::exports(),
        timer::exports(),
        ex_timer::exports(),
        wait::exports(),
    ]
}

/// Reports what is initialised in paged pool though the kernel touches it at `DISPATCH_LEVEL`. Documentation: "Event Objects" and the
/// others' pages, "storage must be resident".
fn resident(object: usize, what: &str) {
    let block = special::paged(object).map(|(block, size, tag)| {
        let tag = pool::tag_text(tag);
        format!("a paged block of {size} bytes at {block:#x}, tag {tag}")
    });
    let context = || {
        context::paged(object)
            .map(|(at, size)| format!("a paged context of {size} bytes at {at:#x}"))
    };
    if let Some(place) = context().or(block) {
        verifier::finding(
            "sync-paged",
            format!(
                "{what} is initialised at {object:#x}, in {place}: it may be paged out when the kernel touches it at DISPATCH_LEVEL"
            ),
        );
    }
}

/// Looks at memory that is about to be freed: what is in use there would be found by the kernel later. Documentation: bug check 0xC4,
/// 0x15 for a timer that is set and 0x17 for a resource; 0xC7, 1 for a DPC that is queued.
pub(crate) fn about_to_free(start: usize, length: usize, pool: u64) {
    if let Some(resource) = resource::in_memory(start, length) {
        bugcheck::raise(
            0xC4,
            [0x17, resource as u64, pool, start as u64],
            "pool is freed that holds a resource which was not deleted: ExDeleteResourceLite first",
        );
    }
    match timer::in_memory(start, length) {
        Some((0, timer)) => bugcheck::raise(
            0xC4,
            [0x15, timer as u64, pool, start as u64],
            "pool is freed that holds a timer which is set: KeCancelTimer first",
        ),
        Some((kind, dpc)) => bugcheck::raise(
            0xC7,
            [kind, dpc as u64, start as u64, (start + length) as u64],
            "pool is freed that holds a DPC which is queued: KeRemoveQueueDpc or KeFlushQueuedDpcs first",
        ),
        None => {}
    }
    push_lock::filter_manager::LOCKS.about_to_free(start, length);
    crate::fltmgr::OPLOCKS_MADE.about_to_free(start, length);
    order::forget(start, length);
}

/// Reports what a driver that goes away has left behind.
pub(crate) fn report_leaks(service: &str) {
    resource::report_leaks(service);
    push_lock::filter_manager::LOCKS.report_leaks(service);
    timer::report_leaks(service);
    ex_timer::report_leaks(service);
    crate::fltmgr::OPLOCKS_MADE.report_leaks(service);
}

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

/// Waits for several objects at once: rare, so they share one place, which is told of every change while anybody is there.
static SEVERAL: Place = Place {
    gate: Mutex::new(()),
    changed: Condvar::new(),
};
static WAIT_FOR_SEVERAL: AtomicI32 = AtomicI32::new(0);

fn place(address: usize) -> &'static Place {
    &PLACES[(address >> 4) % PLACES.len()]
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&'a self, guard: MutexGuard<'a, ()>) -> MutexGuard<'a, ()> {
        schedule::wait(&self.changed, &self.gate, guard, None)
    }
}

/// Changes an object and wakes who waits for it.
fn change<R>(object: usize, f: impl FnOnce() -> R) -> R {
    let place = place(object);
    let guard = place.lock();
    let result = f();
    drop(guard);
    schedule::progressed();
    place.changed.notify_all();
    if WAIT_FOR_SEVERAL.load(Ordering::SeqCst) != 0 {
        drop(SEVERAL.lock());
        SEVERAL.changed.notify_all();
    }
    result
}

/// Takes a lock: waits until `try_take` succeeds.
fn take(lock: usize, mut try_take: impl FnMut() -> bool) {
    let place = place(lock);
    let mut guard = place.lock();
    while !try_take() {
        guard = place.wait(guard);
    }
}

/// A lock that the current thread holds.
struct Held {
    kind: &'static str,
    address: usize,
    /// Where it was taken.
    site: usize,
}

thread_local! {
    /// The locks that this thread holds.
    static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
}

/// How many locks the current thread holds.
pub(crate) fn held() -> usize {
    HELD.with_borrow(Vec::len)
}

/// The locks that the current thread holds, from the given one on: what each is, and where it was taken.
pub(crate) fn held_since(count: usize) -> Vec<(String, usize)> {
    HELD.with_borrow(|held| {
        let since = held.iter().skip(count);
        since
            .map(|held| (format!("{} at {:#x}", held.kind, held.address), held.site))
            .collect()
    })
}

/// The mutexes that the current thread owns, from the given number of locks on.
pub(crate) fn mutexes_since(count: usize) -> Vec<usize> {
    HELD.with_borrow(|held| {
        let mutexes = held.iter().skip(count).filter(|held| held.kind == "mutex");
        mutexes.map(|held| held.address).collect()
    })
}

/// How many of the regions entered at `regions` have come with the locks in `held` (as [`held_since`] gives them), and mutexes' own.
pub(crate) fn regions_of(held: &[(String, usize)], regions: &[usize]) -> i32 {
    let mutexes = held
        .iter()
        .filter(|(lock, _)| lock.starts_with("mutex "))
        .count();
    let with_lock = |region: &&usize| held.iter().any(|(_, site)| site == *region);
    i32::try_from(mutexes + regions.iter().filter(with_lock).count()).unwrap_or(i32::MAX)
}

/// Whether the current thread holds the lock at that address.
fn holds(address: usize) -> bool {
    HELD.with_borrow(|held| held.iter().any(|held| held.address == address))
}

/// Notes a lock as held; before it is waited for, its place in the order of locks is looked at by [`about_to_take`].
fn took(kind: &'static str, address: usize) {
    HELD.with_borrow_mut(|held| {
        held.push(Held {
            kind,
            address,
            site: verifier::here(),
        });
    });
}

/// Looks whether taking this lock while others are held goes against an order seen before. A lock that is held already is taken in no
/// order.
fn about_to_take(kind: &'static str, address: usize) {
    HELD.with_borrow(|held| {
        if held.iter().any(|held| held.address == address) {
            return;
        }
        for older in held {
            order::note(older, kind, address);
        }
    });
}

fn gave(kind: &'static str, address: usize) {
    let known = HELD.with_borrow_mut(|held| {
        let index = held.iter().rposition(|held| held.address == address);
        index.map(|index| held.remove(index)).is_some()
    });
    if !known {
        verifier::finding(
            "lock-not-held",
            format!("a {kind} at {address:#x} is released by a thread that does not hold it"),
        );
    }
}

/// Driver Verifier's self-deadlock; without it the thread waits for itself for ever.
fn self_deadlock(kind: &str, address: usize) -> ! {
    bugcheck::raise(
        0xC4,
        [0x1000, address as u64, 0, 0],
        format!("a {kind} is acquired by the thread that holds it: a deadlock"),
    )
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

/// `DISPATCHER_HEADER.SignalState`.
fn signal_state<'a>(object: usize) -> &'a AtomicI32 {
    word(object + 4)
}
