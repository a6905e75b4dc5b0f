//! Cancelling operations that a filter has pended.
//!
//! A cancel that finds a routine takes it and calls it, once, in the canceller's thread; then the operation is that
//! routine's to complete. Who clears the routine first has the operation for himself.

use std::sync::{MutexGuard, PoisonError};

use super::callback::{self, About};
use super::flight::{self, Operation, name_of};
use crate::ntos::irql;
use crate::status::NtStatus;
use crate::thread::DISPATCH_LEVEL;
use crate::verifier;

/// What is known of an operation's cancelling.
#[derive(Default)]
pub(super) struct Cancel {
    requested: bool,
    /// The routine to call; 0: none.
    routine: usize,
    /// Whether the routine was taken to be called.
    taken: bool,
}

fn lock(operation: &Operation) -> MutexGuard<'_, Cancel> {
    operation
        .cancel
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Cancels what a thread waits for; false: there is nothing.
pub(super) fn thread(tid: u64) -> bool {
    let operations = flight::of_thread(tid);
    let found = !operations.is_empty();
    for (data, operation) in operations {
        let routine = {
            let mut cancel = lock(&operation);
            cancel.requested = true;
            let routine = std::mem::take(&mut cancel.routine);
            cancel.taken |= routine != 0;
            routine
        };
        if routine != 0 {
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
    let left = std::mem::take(&mut lock(operation).routine);
    if left != 0 {
        verifier::finding(
            "cancel-routine-left",
            format!(
                "{function} on an operation whose cancel routine is still set; call FltClearCancelCompletion first"
            ),
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
        let mut cancel = lock(&operation);
        if cancel.requested {
            return NtStatus::CANCELLED;
        }
        cancel.routine = routine;
        NtStatus::SUCCESS
    }

    /// Takes the routine back; where it was called already the operation is its.
    fn FltClearCancelCompletion(data: usize) -> NtStatus {
        irql::at_most("FltClearCancelCompletion", DISPATCH_LEVEL);
        let Some(operation) = flight::at(data) else { return NtStatus::INVALID_PARAMETER };
        let mut cancel = lock(&operation);
        cancel.routine = 0;
        if cancel.taken { NtStatus::CANCELLED } else { NtStatus::SUCCESS }
    }

    /// Whether the operation is cancelled.
    fn FltIsIoCanceled(data: usize) -> u8 {
        irql::at_most("FltIsIoCanceled", DISPATCH_LEVEL);
        flight::at(data).map_or(0, |operation| u8::from(lock(&operation).requested))
    }
}
