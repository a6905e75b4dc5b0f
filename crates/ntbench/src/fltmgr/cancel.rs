//! Cancelling operations that a filter or the file system has pended.
//!
//! A cancel that finds a routine takes it and calls it, once, in the canceller's thread; then the operation is that
//! routine's to complete. Who clears the routine first has the operation for himself.

use std::cell::Cell;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::callback::{self, About};
use super::cbdq;
use super::flight::{self, Operation, name_of};
use super::issue;
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::thread::DISPATCH_LEVEL;
use crate::verifier;

/// What is known of an operation's cancelling.
#[derive(Default)]
pub(super) struct Cancel {
    requested: bool,
    armed: Option<Armed>,
    /// Whether a cancel took that, and whoever it is has the operation.
    taken: bool,
    /// What the file system does with it while it keeps it.
    below: Option<Box<dyn FnOnce() + Send>>,
}

/// Who is told of a cancel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Armed {
    /// This routine.
    Routine(usize),
    /// A cancel-safe queue, and what stands for the operation there; 0: nothing does.
    Queue { address: usize, context: usize },
}

/// Says who is to be told; an error: it is cancelled already.
pub(super) fn arm(operation: &Operation, who: Armed) -> Result<(), NtStatus> {
    let mut cancel = lock(operation);
    if cancel.requested {
        return Err(NtStatus::CANCELLED);
    }
    cancel.armed = Some(who);
    Ok(())
}

/// Says what the file system, which keeps the operation, does when it is cancelled; an error: it is already.
pub(super) fn arm_below(
    operation: &Operation,
    cancelled: Box<dyn FnOnce() + Send>,
) -> Result<(), NtStatus> {
    let mut cancel = lock(operation);
    if cancel.requested {
        return Err(NtStatus::CANCELLED);
    }
    cancel.below = Some(cancelled);
    Ok(())
}

/// The file system has completed it.
pub(super) fn disarm_below(operation: &Operation) {
    let below = lock(operation).below.take();
    drop(below);
}

thread_local! {
    static AT_ONCE: Cell<bool> = const { Cell::new(false) };
}

/// Makes a call whose operation is cancelled as soon as it is pended: what a program gets that asks and does not wait.
pub(crate) fn when_pended<R>(call: impl FnOnce() -> R) -> R {
    AT_ONCE.set(true);
    let result = call();
    AT_ONCE.set(false);
    result
}

/// An operation of this thread was pended.
pub(super) fn pended(operation: &Operation) {
    if operation.tid == crate::thread::current().tid && AT_ONCE.take() {
        thread(operation.tid);
    }
    if operation.origin != 0 && issue::is_cancelled(operation.origin) {
        sent_by(operation.origin);
    }
}

/// Takes that back; false: a cancel was faster.
pub(super) fn disarm(operation: &Operation) -> bool {
    let mut cancel = lock(operation);
    cancel.armed = None;
    !cancel.taken
}

fn lock(operation: &Operation) -> MutexGuard<'_, Cancel> {
    operation
        .cancel
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Whether an operation is cancelled.
pub(super) fn is_requested(operation: &Operation) -> bool {
    lock(operation).requested
}

/// Cancels what a thread waits for; false: there is nothing.
pub(super) fn thread(tid: u64) -> bool {
    all(flight::of_thread(tid))
}

/// Cancels what a filter sent by that callback data; false: it is not under way.
pub(super) fn sent_by(origin: usize) -> bool {
    all(flight::sent_by(origin))
}

fn all(operations: Vec<(usize, Arc<Operation>)>) -> bool {
    let found = !operations.is_empty();
    for (data, operation) in operations {
        let (armed, below) = {
            let mut cancel = lock(&operation);
            cancel.requested = true;
            let armed = cancel.armed.take();
            cancel.taken |= armed.is_some();
            (armed, cancel.below.take())
        };
        if let Some(below) = below {
            below();
        }
        if let Some(Armed::Queue { address, context }) = armed {
            if context != 0 {
                Guest::at(context + cbdq::CONTEXT_DATA).write(0_usize);
            }
            cbdq::cancelled(address, data);
        } else if let Some(Armed::Routine(routine)) = armed {
            let filter = operation
                .instance
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .map_or_else(String::new, |instance| instance.filter.service.clone());
            let about = About {
                filter: &filter,
                phase: "cancel",
                operation: name_of(operation.major),
                path: operation.file.full_name(),
            };
            callback::call(about, routine, &[data as u64]);
        }
    }
    found
}

/// A pended operation is completed: its routine must be cleared, or a later cancel calls it with what is gone.
pub(super) fn check_cleared(operation: &Operation, function: &str) {
    let left = lock(operation).armed.take();
    if left.is_some() {
        verifier::finding(
            "cancel-routine-left",
            format!("{function} on an operation whose cancel routine is still set"),
        );
    }
}

exports! { "fltmgr.sys";
    /// Sets the routine that is called when the operation is cancelled.
    fn FltSetCancelCompletion(data: usize, routine: usize) -> NtStatus {
        irql::at_most("FltSetCancelCompletion", DISPATCH_LEVEL);
        let Some(operation) = flight::at(data).filter(|_| routine != 0) else {
            return NtStatus::INVALID_PARAMETER;
        };
        arm(&operation, Armed::Routine(routine)).err().unwrap_or(NtStatus::SUCCESS)
    }

    /// Takes the routine back; where it was called already the operation is its.
    fn FltClearCancelCompletion(data: usize) -> NtStatus {
        irql::at_most("FltClearCancelCompletion", DISPATCH_LEVEL);
        let Some(operation) = flight::at(data) else { return NtStatus::INVALID_PARAMETER };
        if disarm(&operation) { NtStatus::SUCCESS } else { NtStatus::CANCELLED }
    }

    /// Whether the operation is cancelled.
    fn FltIsIoCanceled(data: usize) -> u8 {
        irql::at_most("FltIsIoCanceled", DISPATCH_LEVEL);
        flight::at(data).map_or(0, |operation| u8::from(is_requested(&operation)))
    }
}
