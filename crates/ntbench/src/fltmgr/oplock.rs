//! Oplocks that a filter keeps itself, on files that it owns: `FltOplockFsctrl`, `FltCheckOplock` and their kin, over the same
//! rules as the file systems'. The memory of an `OPLOCK` is the filter's; what it holds is kept here, by its address.

use std::sync::{Arc, LazyLock};

use super::callback;
use super::flight::{self, Operation};
use super::op::oplock::{self, Asked};
use crate::abi::flt::{CallbackData, PREOP_COMPLETE, PREOP_PENDING, PREOP_SUCCESS_WITH_CALLBACK};
use crate::abi::io::{IRP_MJ_CLEANUP, IRP_MJ_FILE_SYSTEM_CONTROL, IoStatusBlock};
use crate::abi::params::Control;
use crate::namespace::oplock_rules::Level;
use crate::namespace::oplocks::{Checked, Oplocks};
use crate::namespace::sharing::FileId;
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;
use crate::verifier::{self, Embedded};

static OPLOCKS: LazyLock<Oplocks> = LazyLock::new(Oplocks::default);

/// Those that have not been uninitialised: what waits for one would wait for ever.
pub(crate) static MADE: Embedded = Embedded::new("oplock-not-uninitialised", "oplock");

/// An oplock as the table knows it: there is no such device.
fn id(oplock: usize) -> FileId {
    (u64::MAX, oplock as u64)
}

fn put(data: usize, done: IoStatusBlock) {
    let at = data + std::mem::offset_of!(CallbackData, io_status);
    Guest::at(at).write(done);
}

/// Does what a control code asks of a filter's oplock.
fn control(oplock: usize, data: usize, opens: u32) -> i32 {
    let block = Guest::<CallbackData>::at(data).iopb().read();
    let control: Control = block.parameters.get();
    let asked = (block.major_function == IRP_MJ_FILE_SYSTEM_CONTROL)
        .then(|| Asked::of(&control))
        .flatten();
    let operation = flight::at(data).filter(|operation| !operation.fast);
    let (Some(asked), Some(operation)) = (asked, operation) else {
        put(data, IoStatusBlock::new(NtStatus::INVALID_PARAMETER, 0));
        return PREOP_COMPLETE;
    };
    let owner = block.target_file_object.expose_provenance();
    // For an exclusive one the filter counts the handles, for a shared one it says whether a range is locked.
    let about = (opens <= 1, opens != 0);
    let done = asked.and_then(|asked| {
        oplock::ask(
            &operation,
            &OPLOCKS,
            (id(oplock), owner),
            asked,
            about,
            |held| {
                Box::new(move |how| {
                    put(data, oplock::ended(how, control.input));
                    held.complete_for_filter();
                })
            },
        )
    });
    let status = done.unwrap_or_else(|status| status);
    if status == NtStatus::PENDING {
        return PREOP_PENDING;
    }
    put(data, IoStatusBlock::new(status, 0));
    PREOP_COMPLETE
}

/// The routines that an operation that has to wait calls, and their context.
#[derive(Clone, Copy)]
struct Routines {
    context: usize,
    wait: usize,
    prepare: usize,
}

impl Routines {
    fn call(self, operation: &Operation, phase: &'static str, routine: usize, data: usize) {
        let instance = operation.current();
        let filter = instance.map_or_else(String::new, |of| of.filter.service.clone());
        callback::call_unseen(&filter, phase, routine, &[data as u64, self.context as u64]);
    }
}

/// Breaks what an operation is not compatible with.
fn check(oplock: usize, data: usize, routines: Routines) -> i32 {
    let block = Guest::<CallbackData>::at(data).iopb().read();
    let Some(operation) = flight::at(data) else {
        return PREOP_SUCCESS_WITH_CALLBACK;
    };
    if operation.fast {
        verifier::finding(
            "oplock-fast-io",
            "FltCheckOplock on fast I/O; it takes an IRP",
        );
        return PREOP_SUCCESS_WITH_CALLBACK;
    }
    let owner = block.target_file_object.expose_provenance();
    let id = id(oplock);
    if block.major_function == IRP_MJ_CLEANUP {
        OPLOCKS.close(id, owner);
        return PREOP_SUCCESS_WITH_CALLBACK;
    }
    let Some(act) = oplock::act(&block) else {
        return PREOP_SUCCESS_WITH_CALLBACK;
    };
    let patient = !oplock::is_impatient(&block);
    let done = if routines.wait == 0 {
        oplock::break_and_wait(&operation, &OPLOCKS, (id, owner), act, patient).map(|under_way| {
            if under_way {
                Checked::InProgress
            } else {
                Checked::Go
            }
        })
    } else {
        let waiting = Arc::clone(&operation);
        OPLOCKS.check(id, owner, act, patient, |number| {
            if routines.prepare != 0 {
                routines.call(
                    &operation,
                    "prepost routine of an oplock",
                    routines.prepare,
                    data,
                );
            }
            super::cancel::arm_below(&operation, Box::new(move || OPLOCKS.cancel(id, number)))?;
            Ok(Box::new(move |status| {
                super::cancel::disarm_below(&waiting);
                put(data, IoStatusBlock::new(status, 0));
                routines.call(&waiting, "wait routine of an oplock", routines.wait, data);
            }))
        })
    };
    match done {
        Ok(Checked::Wait) => PREOP_PENDING,
        Ok(Checked::InProgress) => {
            put(
                data,
                IoStatusBlock::new(NtStatus::OPLOCK_BREAK_IN_PROGRESS, 0),
            );
            PREOP_SUCCESS_WITH_CALLBACK
        }
        Ok(Checked::Go) => PREOP_SUCCESS_WITH_CALLBACK,
        Err(status) => {
            put(data, IoStatusBlock::new(status, 0));
            PREOP_COMPLETE
        }
    }
}

exports! { "fltmgr.sys";
    /// Makes an oplock of the driver's memory: nobody holds one.
    fn FltInitializeOplock(oplock: Guest<usize>) {
        irql::at_most("FltInitializeOplock", APC_LEVEL);
        let before = oplock.read();
        if before != 0 {
            verifier::finding(
                "oplock-not-null",
                format!("FltInitializeOplock of an oplock pointer that holds {before:#x}, and not NULL"),
            );
        }
        oplock.write(0);
        OPLOCKS.forget(id(oplock.address()));
        MADE.begin(oplock.address());
    }

    /// Takes it back; who waits goes on.
    fn FltUninitializeOplock(oplock: Guest<usize>) {
        irql::at_most("FltUninitializeOplock", APC_LEVEL);
        oplock.write(0);
        OPLOCKS.forget(id(oplock.address()));
        MADE.end(oplock.address());
    }

    /// Grants one, or takes an acknowledgment.
    partial "not for a create, by which a Filter oplock may be requested: STATUS_INVALID_PARAMETER"
    fn FltOplockFsctrl(oplock: usize, data: usize, count: u32) -> i32 {
        irql::at_most("FltOplockFsctrl", APC_LEVEL);
        control(oplock, data, count)
    }

    /// Breaks what an operation is not compatible with; one that has to wait for the owner's acknowledgment is pended.
    partial "a create that conflicts with what others share is not told from one that does not; no oplock keys"
    fn FltCheckOplock(oplock: usize, data: usize, context: usize, wait: usize, prepare: usize) -> i32 {
        irql::at_most("FltCheckOplock", APC_LEVEL);
        check(oplock, data, Routines { context, wait, prepare })
    }

    /// Whether fast I/O is possible on a file: nothing of an oplock is against it.
    fn FltOplockIsFastIoPossible(oplock: usize) -> u8 {
        irql::at_most("FltOplockIsFastIoPossible", APC_LEVEL);
        u8::from(OPLOCKS.allow_fast(id(oplock)))
    }

    /// Whether somebody holds a Batch or Filter oplock.
    fn FltCurrentBatchOplock(oplock: usize) -> u8 {
        irql::at_most("FltCurrentBatchOplock", APC_LEVEL);
        let held = |level| OPLOCKS.holds(id(oplock), level);
        u8::from(held(Level::Batch) || held(Level::Filter))
    }
}
