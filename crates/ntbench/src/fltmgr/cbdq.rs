//! Cancel-safe queues of pended operations. The driver keeps the operations and the lock; the Filter Manager knows which
//! of them are cancelled, and takes those out itself.
//!
//! `FLT_CALLBACK_DATA_QUEUE` is the driver's memory and nobody's business, so what it holds is kept here.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::cancel::{Armed, arm, disarm};
use super::{flight, objects};
use crate::ntos::memory::Guest;
use crate::ntos::{driver, irql};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL};
use crate::{bugcheck, gate};

/// A queue's routines.
#[derive(Clone)]
struct Queue {
    service: String,
    disabled: bool,
    insert: usize,
    remove: usize,
    peek: usize,
    acquire: usize,
    release: usize,
    complete: usize,
}

static QUEUES: LazyLock<Mutex<HashMap<usize, Queue>>> = LazyLock::new(Mutex::default);

/// `IO_CSQ_IRP_CONTEXT.Irp`, where a context says which operation it stands for.
pub(super) const CONTEXT_DATA: usize = 8;

/// Forgets the queues of a driver that goes away: their memory was its own.
pub(super) fn driver_gone(service: &str) {
    QUEUES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|_, queue| queue.service != service);
}

/// Calls a routine of the queue. Those that take and release the lock change the IRQL, so nothing is checked around it.
fn call(routine: usize, arguments: &[u64]) -> u64 {
    // SAFETY: the driver gave this routine for calls with these arguments.
    unsafe { gate::call_within(routine, arguments) }
}

fn queue(address: usize, function: &str) -> Queue {
    let queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
    let known = queues.get(&address).cloned();
    drop(queues);
    known.unwrap_or_else(|| {
        bugcheck::no_such(
            address,
            format!("{function} on {address:#x}, which FltCbdqInitialize never made a queue"),
        )
    })
}

impl Queue {
    /// Does something while the driver's lock is held.
    fn locked<R>(&self, address: usize, work: impl FnOnce() -> R) -> R {
        let mut old: u8 = 0;
        let slot = (&raw mut old).expose_provenance();
        call(self.acquire, &[address as u64, slot as u64]);
        let result = work();
        let old: u8 = Guest::at(slot).read();
        call(self.release, &[address as u64, old.into()]);
        result
    }

    fn take_out(&self, address: usize, data: usize) {
        call(self.remove, &[address as u64, data as u64]);
    }
}

/// A cancel has taken an operation of the queue: out with it, and the driver completes it.
pub(super) fn cancelled(address: usize, data: usize) {
    let queue = queue(address, "a cancel");
    queue.locked(address, || queue.take_out(address, data));
    call(queue.complete, &[address as u64, data as u64]);
}

fn insert(address: usize, data: usize, context: usize, insert_context: usize) -> NtStatus {
    const NAME: &str = "FltCbdqInsertIo";
    let queue = queue(address, NAME);
    let Some(operation) = flight::at(data) else {
        return NtStatus::INVALID_PARAMETER;
    };
    let (status, too_late) = queue.locked(address, || {
        if self::queue(address, NAME).disabled {
            return (NtStatus::FLT_CBDQ_DISABLED, false);
        }
        let arguments = [address as u64, data as u64, insert_context as u64];
        let status = driver::status_of(call(queue.insert, &arguments));
        if !status.is_success() {
            return (status, false);
        }
        if context != 0 {
            Guest::at(context + CONTEXT_DATA).write(data);
        }
        let armed = arm(&operation, Armed::Queue { address, context });
        if armed.is_err() {
            queue.take_out(address, data);
        }
        (NtStatus::SUCCESS, armed.is_err())
    });
    if too_late {
        // It was cancelled before it came here, and is the driver's to complete.
        call(queue.complete, &[address as u64, data as u64]);
    }
    status
}

exports! { "fltmgr.sys";
    /// Makes a queue of the driver's memory and routines.
    fn FltCbdqInitialize(
        instance: usize,
        address: usize,
        insert: usize,
        remove: usize,
        peek: usize,
        acquire: usize,
        release: usize,
        complete: usize,
    ) -> NtStatus {
        irql::at_most("FltCbdqInitialize", APC_LEVEL);
        let instance = objects::instance(instance, "FltCbdqInitialize");
        if [address, insert, remove, peek, acquire, release, complete].contains(&0) {
            return NtStatus::INVALID_PARAMETER;
        }
        let service = instance.filter.service.clone();
        let queue = Queue { service, disabled: false, insert, remove, peek, acquire, release, complete };
        QUEUES.lock().unwrap_or_else(PoisonError::into_inner).insert(address, queue);
        NtStatus::SUCCESS
    }

    /// Lets the queue take operations again.
    fn FltCbdqEnable(address: usize) {
        set_disabled(address, false, "FltCbdqEnable");
    }

    /// Lets it take none.
    fn FltCbdqDisable(address: usize) {
        set_disabled(address, true, "FltCbdqDisable");
    }

    /// Puts an operation into a queue; from now on a cancel takes it out.
    fn FltCbdqInsertIo(address: usize, data: usize, context: usize, insert_context: usize) -> NtStatus {
        irql::at_most("FltCbdqInsertIo", DISPATCH_LEVEL);
        insert(address, data, context, insert_context)
    }

    /// Takes an operation out, if no cancel was faster.
    fn FltCbdqRemoveIo(address: usize, context: usize) -> usize {
        irql::at_most("FltCbdqRemoveIo", DISPATCH_LEVEL);
        let queue = queue(address, "FltCbdqRemoveIo");
        queue.locked(address, || {
            let data = Guest::<usize>::at(context + CONTEXT_DATA).read();
            let Some(operation) = (data != 0).then(|| flight::at(data)).flatten() else { return 0 };
            if !disarm(&operation) {
                return 0;
            }
            Guest::at(context + CONTEXT_DATA).write(0_usize);
            queue.take_out(address, data);
            data
        })
    }

    /// Takes the next operation out that no cancel has taken.
    fn FltCbdqRemoveNextIo(address: usize, peek_context: usize) -> usize {
        irql::at_most("FltCbdqRemoveNextIo", DISPATCH_LEVEL);
        let queue = queue(address, "FltCbdqRemoveNextIo");
        queue.locked(address, || {
            let mut last = 0_u64;
            loop {
                let next = call(queue.peek, &[address as u64, last, peek_context as u64]);
                let data = usize::try_from(next).unwrap_or(0);
                if data == 0 {
                    return 0;
                }
                if flight::at(data).is_some_and(|operation| disarm(&operation)) {
                    queue.take_out(address, data);
                    return data;
                }
                last = next;
            }
        })
    }
}

fn set_disabled(address: usize, disabled: bool, function: &'static str) {
    irql::at_most(function, DISPATCH_LEVEL);
    let queue = queue(address, function);
    queue.locked(address, || {
        let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get_mut(&address) {
            queue.disabled = disabled;
        }
    });
}
