//! Waiting for dispatcher objects: one, several, or just for time to pass.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{SEVERAL, WAIT_FOR_SEVERAL, mutex, place, signal_state};
use crate::abi::base::KEvent;
use crate::ntos::memory::Guest;
use crate::ntos::time;
use crate::status::NtStatus;
use crate::thread::{self, APC_LEVEL, DISPATCH_LEVEL};
use crate::{bugcheck, gate, schedule};

/// `KOBJECTS`, as far as a driver's memory holds such an object.
pub(super) const NOTIFICATION_EVENT: u8 = 0;
pub(super) const SYNCHRONIZATION_EVENT: u8 = 1;
pub(super) const MUTANT: u8 = 2;
pub(crate) const PROCESS: u8 = 3;
pub(super) const QUEUE: u8 = 4;
pub(crate) const THREAD: u8 = 6;
pub(super) const SEMAPHORE: u8 = 5;
pub(super) const TIMER_NOTIFICATION: u8 = 8;
pub(super) const TIMER_SYNCHRONIZATION: u8 = 9;

/// Makes a dispatcher header.
pub(crate) fn initialise(object: usize, kind: u8, bytes: usize, state: i32) {
    let what = match kind {
        NOTIFICATION_EVENT | SYNCHRONIZATION_EVENT => "an event",
        MUTANT => "a mutex",
        SEMAPHORE => "a semaphore",
        _ => "a timer",
    };
    super::resident(object, what);
    let words = u8::try_from(bytes / 4).unwrap_or(0);
    Guest::<[u8; 4]>::at(object).write([kind, 0, words, 0]);
    signal_state(object).store(state, Ordering::SeqCst);
    let list = object + std::mem::offset_of!(KEvent, header.wait_list);
    Guest::<[usize; 2]>::at(list).write([list, list]);
}

/// Signals an object that stays so.
pub(crate) fn signal(object: usize) {
    super::change(object, || signal_state(object).store(1, Ordering::SeqCst));
}

/// Takes what a wait takes, if the object is signalled. Under the object's place.
fn try_take(object: usize) -> bool {
    let kind = Guest::<u8>::at(object).read();
    let state = signal_state(object);
    if kind == MUTANT {
        return mutex::try_take(object);
    }
    if state.load(Ordering::SeqCst) <= 0 {
        return false;
    }
    match kind {
        SYNCHRONIZATION_EVENT | TIMER_SYNCHRONIZATION => state.store(0, Ordering::SeqCst),
        SEMAPHORE | QUEUE => {
            state.fetch_sub(1, Ordering::SeqCst);
        }
        _ => {}
    }
    true
}

/// Waiting for, or signalling, memory that is no initialised object: the kernel goes through a list of wait blocks that is not there,
/// with the dispatcher's lock held.
pub(super) fn check(object: usize, call: &str) {
    let kind = Guest::<u8>::at(object).read();
    let list = object + std::mem::offset_of!(KEvent, header.wait_list);
    let known = [
        NOTIFICATION_EVENT,
        SYNCHRONIZATION_EVENT,
        MUTANT,
        PROCESS,
        THREAD,
        SEMAPHORE,
        TIMER_NOTIFICATION,
        TIMER_SYNCHRONIZATION,
    ];
    if !known.contains(&kind) || Guest::<usize>::at(list).read() == 0 {
        let from = gate::call_site().map_or(0, |site| site.return_address as u64);
        bugcheck::raise(
            0xA,
            [8, DISPATCH_LEVEL.into(), 1, from],
            format!(
                "{call} was given {object:#x}, which is no initialised event, mutex, semaphore, timer, thread or process"
            ),
        );
    }
}

/// When a wait with that time-out ends; `None`: never.
fn deadline(timeout: Option<i64>) -> Option<Instant> {
    timeout.map(|timeout| {
        let units = if timeout < 0 {
            -timeout
        } else {
            timeout - time::system_time()
        };
        schedule::now()
            + Duration::from_nanos(u64::try_from(units).unwrap_or(0).saturating_mul(100))
    })
}

/// A wait that may block needs an IRQL at which the thread can be switched.
fn may_wait(timeout: Option<i64>) {
    let limit = if timeout == Some(0) {
        DISPATCH_LEVEL
    } else {
        APC_LEVEL
    };
    if thread::irql() > limit {
        let sp = gate::call_site().map_or(0, |site| site.rsp as u64);
        bugcheck::raise(
            0xB8,
            [thread::current().object as u64, 0, sp, 0],
            "a wait at DISPATCH_LEVEL or above with a timeout that is not zero",
        );
    }
}

/// Waits for one object; `false`: time is up.
pub(crate) fn one(object: usize, deadline: Option<Instant>) -> bool {
    let place = place(object);
    let mut guard = place.lock();
    loop {
        if try_take(object) {
            return true;
        }
        if deadline.is_some_and(|deadline| deadline <= schedule::now()) {
            return false;
        }
        guard = schedule::wait(&place.changed, &place.gate, guard, deadline);
    }
}

/// Waits for one object for so long; `false`: time is up.
pub(super) fn within(object: usize, timeout: Option<i64>) -> bool {
    may_wait(timeout);
    one(object, deadline(timeout))
}

/// Takes an object under its own place.
fn take_one(object: usize) -> bool {
    let guard = place(object).lock();
    let taken = try_take(object);
    drop(guard);
    taken
}

fn signalled(object: usize) -> bool {
    let state = signal_state(object).load(Ordering::SeqCst);
    state > 0 || (Guest::<u8>::at(object).read() == MUTANT && mutex::is_mine(object))
}

/// Waits until one of the objects is signalled, or all are; gives the index (0 for all), or `None` when time is up.
fn several(objects: &[usize], all: bool, deadline: Option<Instant>) -> Option<usize> {
    WAIT_FOR_SEVERAL.fetch_add(1, Ordering::SeqCst);
    let mut guard = SEVERAL.lock();
    let found = loop {
        let found = if all {
            // Nothing is taken before all can be. Another thread may take one in between: then those taken are kept for the next
            // round only by waiting for the rest, as no object here can be given back.
            objects.iter().all(|object| signalled(*object)).then(|| {
                for object in objects {
                    one(*object, None);
                }
                0
            })
        } else {
            objects.iter().position(|object| take_one(*object))
        };
        if found.is_some() {
            break found;
        }
        if deadline.is_some_and(|deadline| deadline <= schedule::now()) {
            break None;
        }
        guard = schedule::wait(&SEVERAL.changed, &SEVERAL.gate, guard, deadline);
    };
    drop(guard);
    WAIT_FOR_SEVERAL.fetch_sub(1, Ordering::SeqCst);
    found
}

/// `THREAD_WAIT_OBJECTS` and `MAXIMUM_WAIT_OBJECTS`.
const WITHOUT_BLOCKS: u32 = 3;
const MOST_OBJECTS: u32 = 64;

exports! { "ntoskrnl.exe";
    /// Waits for an object.
    partial "a wait ends by its object or its time: no alerts, no user APCs; reason and mode change nothing"
    fn KeWaitForSingleObject(
        object: usize,
        _reason: u32,
        _mode: i8,
        _alertable: u8,
        timeout: Guest<i64>,
    ) -> NtStatus {
        let timeout = timeout.read_opt();
        may_wait(timeout);
        check(object, "KeWaitForSingleObject");
        if one(object, deadline(timeout)) { NtStatus::SUCCESS } else { NtStatus::TIMEOUT }
    }

    /// Waits for one of several objects, or for all of them.
    partial "a wait ends by its object or its time: no alerts, no user APCs; reason and mode change nothing"
    fn KeWaitForMultipleObjects(
        count: u32,
        objects: Guest<usize>,
        kind: u32,
        _reason: u32,
        _mode: i8,
        _alertable: u8,
        timeout: Guest<i64>,
        blocks: usize,
    ) -> NtStatus {
        let most = if blocks == 0 { WITHOUT_BLOCKS } else { MOST_OBJECTS };
        if count == 0 || count > most {
            bugcheck::raise(0xC, [0; 4], format!("KeWaitForMultipleObjects for {count} objects; with{} wait blocks at most {most}", if blocks == 0 { "out" } else { "" }));
        }
        let timeout = timeout.read_opt();
        may_wait(timeout);
        let objects = objects.read_many(count as usize);
        for object in &objects {
            check(*object, "KeWaitForMultipleObjects");
        }
        // WaitAll is 0, WaitAny 1.
        match several(&objects, kind == 0, deadline(timeout)) {
            Some(index) => NtStatus(i32::try_from(index).unwrap_or(0)),
            None => NtStatus::TIMEOUT,
        }
    }

    /// Lets time pass.
    partial "no alerts, no user APCs"
    fn KeDelayExecutionThread(_mode: i8, _alertable: u8, interval: Guest<i64>) -> NtStatus {
        let interval = interval.read();
        // However short: the thread is switched.
        may_wait(Some(if interval == 0 { 1 } else { interval }));
        let end = deadline(Some(interval)).unwrap_or_else(schedule::now);
        schedule::sleep_until(end);
        NtStatus::SUCCESS
    }

    /// Keeps the processor busy for some microseconds.
    fn KeStallExecutionProcessor(microseconds: u32) {
        let end = schedule::now() + Duration::from_micros(microseconds.into());
        if schedule::virtual_time().is_some() {
            return schedule::sleep_until(end);
        }
        while Instant::now() < end {
            std::hint::spin_loop();
        }
    }
}
