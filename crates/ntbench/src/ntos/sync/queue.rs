//! Queues that threads wait at: `KQUEUE`.
//!
//! `KeInitializeQueue`, `KeInsertQueue`, `KeRemoveQueue`, "Driver-Managed Queues". How many entries there are is the object's
//! signal state; the list is the driver's memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{change, signal_state, wait};
use crate::bugcheck;
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::thread::DISPATCH_LEVEL;
use std::sync::atomic::Ordering;

/// `KQUEUE`: where the list is, and behind it how many threads may run at once.
const BYTES: usize = 64;
const LIST: usize = 24;
const MAXIMUM: usize = 44;
const THREADS: usize = 48;
/// `KQUEUE` is the fifth of the kernel's objects.
const KIND: u8 = wait::QUEUE;

static LISTS: Mutex<()> = Mutex::new(());

fn lock() -> MutexGuard<'static, ()> {
    LISTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn links(at: usize) -> Guest<[usize; 2]> {
    Guest::at(at)
}

fn known(call: &str, queue: usize) {
    if Guest::<u8>::at(queue).read() != KIND {
        bugcheck::raise(
            0xA,
            [queue as u64, DISPATCH_LEVEL.into(), 1, 0],
            format!("{call} was given {queue:#x}, which is no initialised queue"),
        );
    }
}

/// Puts an entry between two neighbours; gives how many there were.
fn insert(call: &str, queue: usize, entry: usize, at_head: bool) -> i32 {
    irql::at_most(call, DISPATCH_LEVEL);
    known(call, queue);
    let head = queue + LIST;
    let guard = lock();
    let [first, last] = links(head).read();
    let (before, behind) = if at_head { (head, first) } else { (last, head) };
    links(entry).write([behind, before]);
    Guest::at(before).write(entry);
    Guest::at(behind + 8).write(entry);
    drop(guard);
    change(queue, || signal_state(queue).fetch_add(1, Ordering::SeqCst))
}

/// Takes the first entry, of which there is one for whoever has taken from the count.
fn take(queue: usize) -> usize {
    let head = queue + LIST;
    let guard = lock();
    let [first, _] = links(head).read();
    if first != head {
        let [next, _] = links(first).read();
        Guest::at(head).write(next);
        Guest::at(next + 8).write(head);
    }
    drop(guard);
    first
}

exports! { "ntoskrnl.exe";
    /// Initialises a queue.
    fn KeInitializeQueue(queue: usize, count: u32) {
        Guest::<[u8; BYTES]>::at(queue).write([0; BYTES]);
        wait::initialise(queue, KIND, BYTES, 0);
        for list in [queue + LIST, queue + THREADS] {
            links(list).write([list, list]);
        }
        // As many as there are processors where the driver does not say.
        Guest::at(queue + MAXIMUM).write(count.max(1));
    }

    /// Puts an entry behind the others; gives how many there were.
    fn KeInsertQueue(queue: usize, entry: usize) -> i32 {
        insert("KeInsertQueue", queue, entry, false)
    }

    /// Puts an entry before the others; gives how many there were.
    fn KeInsertHeadQueue(queue: usize, entry: usize) -> i32 {
        insert("KeInsertHeadQueue", queue, entry, true)
    }

    /// Waits for an entry and takes it; `STATUS_TIMEOUT` in its place where there was none in time.
    partial "as many threads run as there are entries, whatever the queue's count; no alerts, no user APCs"
    fn KeRemoveQueue(queue: usize, _mode: i8, timeout: Guest<i64>) -> usize {
        known("KeRemoveQueue", queue);
        if wait::within(queue, timeout.read_opt()) {
            take(queue)
        } else {
            usize::try_from(NtStatus::TIMEOUT.0).unwrap_or(0)
        }
    }

    /// How many entries there are.
    fn KeReadStateQueue(queue: usize) -> i32 {
        known("KeReadStateQueue", queue);
        signal_state(queue).load(Ordering::SeqCst)
    }

    /// Empties a queue that nobody is to use any more; gives the first entry, which leads to the others.
    partial "threads that wait at the queue go on waiting: end them by entries of their own first"
    fn KeRundownQueue(queue: usize) -> usize {
        irql::at_most("KeRundownQueue", DISPATCH_LEVEL);
        known("KeRundownQueue", queue);
        let head = queue + LIST;
        let guard = lock();
        let [first, last] = links(head).read();
        signal_state(queue).store(0, Ordering::SeqCst);
        links(head).write([head, head]);
        if first == head {
            return 0;
        }
        // The entries are a ring of their own.
        Guest::at(last).write(first);
        Guest::at(first + 8).write(last);
        drop(guard);
        first
    }
}
