//! Processes that are created and deleted.
//!
//! `PsSetCreateProcessNotifyRoutine`, `…Ex`, `…Ex2`, `PCREATE_PROCESS_NOTIFY_ROUTINE`, `PS_CREATE_NOTIFY_INFO`. The routines of a
//! new process run in the thread that creates it, those of its end in its last thread.

use std::sync::Arc;

use super::super::memory::{Guest, OwnedString, wide};
use super::super::{MACHINE, file, irql, ps};
use super::{Form, Registry, is_integrity_checked};
use crate::abi::base::ClientId;
use crate::abi::ps::CreateNotifyInfo;
use crate::fltmgr;
use crate::namespace::DeviceId;
use crate::status::NtStatus;
use crate::thread::{self, PASSIVE_LEVEL, Process};

pub(super) static ROUTINES: Registry =
    Registry::new("process-notify", "PsSetCreateProcessNotifyRoutine(…, TRUE)");

/// The first local volume, where every image lies; where a machine has none, its redirector's.
fn volume() -> Option<Arc<fltmgr::Volume>> {
    fltmgr::volume(DeviceId::Volume(0)).or_else(|| fltmgr::volume(DeviceId::Mup))
}

/// The name by which a program's file is opened.
fn open_name(process: &Process) -> Vec<u16> {
    let letter = MACHINE
        .get()
        .and_then(|machine| machine.namespace.letter(0));
    match letter {
        Some(letter) => wide(&format!("\\??\\{letter}:{}{}", ps::FOLDER, process.image)),
        None => ps::image_path(process),
    }
}

/// The file object of an image in the system's folder, with one reference: nothing is open on it.
pub(super) fn image_file(image: &str) -> Option<Arc<file::File>> {
    let name = wide(&format!("{}{image}", ps::FOLDER));
    Some(file::File::new(&volume()?, &name, None, 0))
}

/// Tells of a new process; the first driver's failure is the answer.
pub(super) fn created(process: &Process) -> Result<(), NtStatus> {
    if ROUTINES.is_empty() {
        return Ok(());
    }
    let creator = thread::current();
    let file = image_file(&process.image);
    let name = OwnedString::new(&open_name(process));
    let command = process
        .command_line
        .as_deref()
        .map_or_else(|| wide(&format!("C:{}{}", ps::FOLDER, process.image)), wide);
    let command = OwnedString::new(&command);
    let (name, command) = (name.string(), command.string());
    let id = |value: u64| Guest::at(usize::try_from(value).unwrap_or(0)).0;
    let mut info = CreateNotifyInfo {
        size: size_of::<CreateNotifyInfo>() as u64,
        flags: CreateNotifyInfo::FILE_OPEN_NAME_AVAILABLE,
        parent: process.parent,
        creator: ClientId {
            process: id(creator.pid()),
            thread: id(creator.tid),
        },
        file_object: file.as_ref().map_or(0, |file| file.address()),
        image_file_name: std::ptr::from_ref(&name).expose_provenance(),
        command_line: std::ptr::from_ref(&command).expose_provenance(),
        creation_status: NtStatus::SUCCESS,
    };
    let at = Guest::<CreateNotifyInfo>::at((&raw mut info).expose_provenance());
    ROUTINES.call(None, &process.image, |form| match form {
        Form::Plain => vec![process.parent, process.pid, 1],
        Form::Extended => vec![process.object as u64, process.pid, at.address() as u64],
    });
    let status = at.read().creation_status;
    if let Some(file) = file {
        file.dereference();
    }
    if status.is_success() {
        Ok(())
    } else {
        Err(status)
    }
}

/// Tells of a process that goes.
pub(super) fn ends(process: &Process) {
    ROUTINES.call(None, &process.image, |form| match form {
        Form::Plain => vec![process.parent, process.pid, 0],
        Form::Extended => vec![process.object as u64, process.pid, 0],
    });
}

fn change(routine: usize, form: Form, remove: bool) -> NtStatus {
    let done = if remove {
        ROUTINES.remove(routine)
    } else {
        ROUTINES.add(routine, form, true).is_ok()
    };
    match (done, remove) {
        (true, _) => NtStatus::SUCCESS,
        (false, true) => NtStatus::PROCEDURE_NOT_FOUND,
        (false, false) => NtStatus::INVALID_PARAMETER,
    }
}

fn asked(call: &str, routine: usize, form: Form, remove: u8) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    if remove != 0 {
        // What is registered can always be taken away.
        return change(routine, form, true);
    }
    if let Some(status) = crate::faults::check(call) {
        return status;
    }
    if form == Form::Extended && !is_integrity_checked(routine) {
        return NtStatus::ACCESS_DENIED;
    }
    change(routine, form, false)
}

exports! { "ntoskrnl.exe";
    /// Registers a routine that is told of each process that starts and ends, or takes it away.
    fn PsSetCreateProcessNotifyRoutine(routine: usize, remove: u8) -> NtStatus {
        asked("PsSetCreateProcessNotifyRoutine", routine, Form::Plain, remove)
    }

    /// The same for a routine that learns more, and may forbid a process (`CreationStatus`).
    fn PsSetCreateProcessNotifyRoutineEx(routine: usize, remove: u8) -> NtStatus {
        asked("PsSetCreateProcessNotifyRoutineEx", routine, Form::Extended, remove)
    }

    /// The same, for processes of other subsystems too: there are none here.
    fn PsSetCreateProcessNotifyRoutineEx2(kind: u32, routine: usize, remove: u8) -> NtStatus {
        // PsCreateProcessNotifySubsystems is the only type there is.
        if kind != 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        asked("PsSetCreateProcessNotifyRoutineEx2", routine, Form::Extended, remove)
    }
}
