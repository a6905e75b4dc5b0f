//! Threads that are created and deleted.
//!
//! `PsSetCreateThreadNotifyRoutine`, `…Ex`, `PCREATE_THREAD_NOTIFY_ROUTINE`. A plain routine runs in the thread that creates the
//! new one; one registered with `PsCreateThreadNotifyNonSystem` in the new thread itself, and of programs' threads only.

use super::super::irql;
use super::{Form, Registry};
use crate::faults;
use crate::status::NtStatus;
use crate::thread::{PASSIVE_LEVEL, current};

pub(super) static ROUTINES: Registry =
    Registry::new("thread-notify", "PsRemoveCreateThreadNotifyRoutine");

/// `PSCREATETHREADNOTIFYTYPE`.
const NON_SYSTEM: u32 = 0;
const SUBSYSTEMS: u32 = 1;

fn tell(form: Option<Form>, pid: u64, tid: u64, created: bool) {
    if ROUTINES.is_empty() {
        return;
    }
    ROUTINES.call(form, &format!("thread {tid:#x} of {pid:#x}"), |_| {
        vec![pid, tid, u64::from(created)]
    });
}

/// In the creator's thread.
pub(super) fn created(pid: u64, tid: u64) {
    tell(Some(Form::Plain), pid, tid, true);
}

/// In the new thread.
pub(super) fn begins() {
    let thread = current();
    if !thread.is_system() {
        tell(Some(Form::Extended), thread.pid(), thread.tid, true);
    }
}

/// In the thread that ends.
pub(super) fn ends() {
    let thread = current();
    let form = thread.is_system().then_some(Form::Plain);
    tell(form, thread.pid(), thread.tid, false);
}

fn add(call: &str, routine: usize, form: Form) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    if let Some(status) = faults::check(call) {
        return status;
    }
    match ROUTINES.add(routine, form, false) {
        Ok(()) => NtStatus::SUCCESS,
        Err(()) => NtStatus::INSUFFICIENT_RESOURCES,
    }
}

exports! { "ntoskrnl.exe";
    /// Registers a routine that is told of each thread that starts and ends.
    fn PsSetCreateThreadNotifyRoutine(routine: usize) -> NtStatus {
        add("PsSetCreateThreadNotifyRoutine", routine, Form::Plain)
    }

    /// The same, called in the new thread.
    partial "PsCreateThreadNotifySubsystems is as PsCreateThreadNotifyNonSystem: there are no other subsystems"
    fn PsSetCreateThreadNotifyRoutineEx(kind: u32, routine: usize) -> NtStatus {
        match kind {
            NON_SYSTEM | SUBSYSTEMS => add("PsSetCreateThreadNotifyRoutineEx", routine, Form::Extended),
            _ => NtStatus::INVALID_PARAMETER,
        }
    }

    /// Takes a routine away, once no thread is in it.
    fn PsRemoveCreateThreadNotifyRoutine(routine: usize) -> NtStatus {
        irql::at_most("PsRemoveCreateThreadNotifyRoutine", PASSIVE_LEVEL);
        if ROUTINES.remove(routine) { NtStatus::SUCCESS } else { NtStatus::PROCEDURE_NOT_FOUND }
    }
}
