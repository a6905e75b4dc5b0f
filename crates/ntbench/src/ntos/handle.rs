//! Handles: a table of the kernel's own, and one for each process.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::file::File;
use super::irql;
use super::memory::Guest;
use super::{attach, driver, object, registry};
use crate::abi::flt::{KERNEL_MODE, USER_MODE};
use crate::abi::ob::OBJ_KERNEL_HANDLE;
use crate::maps::HashMap;
use crate::status::NtStatus;
use crate::thread::{self, PASSIVE_LEVEL};
use crate::{bugcheck, verifier};

/// What a handle refers to.
#[derive(Clone)]
pub(crate) enum Target {
    /// A file object.
    File(Arc<File>),
    /// A registry key.
    Key(Arc<registry::KeyHandle>),
    /// A thread that a driver started, by its object.
    Thread(usize),
    /// A process, by its object.
    Process(usize),
    /// A section, event, timer or transaction.
    Counted(Arc<object::Counted>),
    /// A token, by its address.
    Token(usize),
    /// A symbolic link, by where it leads.
    Link(Arc<[u16]>),
}

struct Entry {
    target: Target,
    access: u32,
    /// The process whose handle it is; `None`: the kernel's.
    process: Option<u64>,
    /// The driver that opened it.
    opener: Option<String>,
    /// Where it did.
    site: usize,
}

#[derive(Default)]
struct Table {
    entries: HashMap<u64, Entry>,
    next: u64,
}

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);

/// What marks a handle as the kernel's own.
const KERNEL_BIT: u64 = 0xFFFF_FFFF_8000_0000;

fn lock() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether that value is a handle of the kernel's table.
pub(super) fn is_kernel(handle: u64) -> bool {
    handle & KERNEL_BIT == KERNEL_BIT
}

/// Makes a handle. `attributes` are those of the open; a driver that opens without `OBJ_KERNEL_HANDLE` puts the handle
/// into the table of whichever process happens to be current, where user mode can use and close it.
pub(crate) fn open(target: Target, access: u32, attributes: u32, mode: i8) -> u64 {
    let kernel = attributes & OBJ_KERNEL_HANDLE != 0;
    let opener = if mode == KERNEL_MODE {
        driver::calling().map(|driver| driver.service.clone())
    } else {
        None
    };
    let process = (!kernel).then(attach::pid);
    if opener.is_some() && process.is_some_and(|pid| pid > 4) {
        verifier::finding(
            "handle-in-user-process",
            "a driver opened a handle without OBJ_KERNEL_HANDLE in the context of a user process, which can use it and \
             close it",
        );
    }
    insert(target, access, process, opener)
}

/// As [`open_for`], in the table of a process that need not be the current one.
pub(super) fn open_in(target: Target, access: u32, attributes: u32, pid: u64) -> u64 {
    let opener = driver::calling().map(|driver| driver.service.clone());
    let process = (attributes & OBJ_KERNEL_HANDLE == 0).then_some(pid);
    insert(target, access, process, opener)
}

fn insert(target: Target, access: u32, process: Option<u64>, opener: Option<String>) -> u64 {
    let kernel = process.is_none();
    let mut table = lock();
    table.next += 4;
    let handle = if kernel {
        KERNEL_BIT | table.next
    } else {
        table.next
    };
    table.entries.insert(
        handle,
        Entry {
            target,
            access,
            process,
            opener,
            site: verifier::here(),
        },
    );
    handle
}

/// As [`open`] for kernel mode, where a handle of the current process's is what the caller may well want: one that a
/// program is to get.
pub(crate) fn open_for(target: Target, access: u32, attributes: u32) -> u64 {
    open_in(target, access, attributes, attach::pid())
}

/// What a handle refers to, for a caller of that mode in the current process.
pub(crate) fn look_up(handle: u64, mode: i8) -> Result<(Target, u32), NtStatus> {
    look_up_in(handle, mode, attach::pid())
}

/// The same in a process that need not be the current one.
pub(super) fn look_up_in(handle: u64, mode: i8, pid: u64) -> Result<(Target, u32), NtStatus> {
    if is_kernel(handle) && mode == USER_MODE {
        return Err(NtStatus::INVALID_HANDLE);
    }
    let table = lock();
    let entry = table.entries.get(&handle).ok_or(NtStatus::INVALID_HANDLE)?;
    if entry.process.is_some_and(|owner| owner != pid) {
        return Err(NtStatus::INVALID_HANDLE);
    }
    Ok((entry.target.clone(), entry.access))
}

/// Closes a handle.
pub(crate) fn close(handle: u64, mode: i8) -> NtStatus {
    if let Err(status) = look_up(handle, mode) {
        if mode == KERNEL_MODE && is_kernel(handle) {
            bugcheck::raise(
                0x93,
                [handle, 1, 0, 0],
                format!("the driver closed {handle:#x}, which is no open handle"),
            );
        }
        return status;
    }
    remove(handle)
}

/// Closes a handle of a process that need not be the current one, where it is open.
pub(super) fn close_in(handle: u64, pid: u64) {
    if look_up_in(handle, KERNEL_MODE, pid).is_ok() {
        remove(handle);
    }
}

fn remove(handle: u64) -> NtStatus {
    let entry = lock().entries.remove(&handle);
    match entry.map(|entry| entry.target) {
        Some(Target::File(file)) => file.close_handle(),
        Some(Target::Counted(counted)) => counted.close_handle(),
        Some(Target::Key(key)) => registry::closed(&key),
        Some(Target::Thread(_) | Target::Process(_) | Target::Token(_) | Target::Link(_)) => {}
        None => return NtStatus::INVALID_HANDLE,
    }
    NtStatus::SUCCESS
}

/// Closes a process's handles, as its end does.
pub(crate) fn close_all(pid: u64) {
    let left: Vec<u64> = {
        let table = lock();
        let theirs = |entry: &Entry| entry.process == Some(pid);
        let left = table.entries.iter().filter(|(_, entry)| theirs(entry));
        left.map(|(handle, _)| *handle).collect()
    };
    for handle in left {
        close(handle, USER_MODE);
    }
}

/// Reports handles that a driver that goes away has left open, and closes them.
pub(crate) fn report_leaks(service: &str) {
    let leaked: Vec<(u64, Entry)> = {
        let mut table = lock();
        let handles: Vec<u64> = table
            .entries
            .iter()
            .filter(|(_, entry)| entry.opener.as_deref() == Some(service))
            .map(|(handle, _)| *handle)
            .collect();
        handles
            .into_iter()
            .filter_map(|handle| table.entries.remove(&handle).map(|entry| (handle, entry)))
            .collect()
    };
    for (handle, entry) in leaked {
        let what = match &entry.target {
            Target::File(file) => format!("file {}", file.full_name()),
            Target::Key(key) => format!("key {}", key.path),
            Target::Thread(_) => "thread that it started".to_owned(),
            Target::Process(_) => "process".to_owned(),
            Target::Token(_) => "token".to_owned(),
            Target::Counted(counted) => counted.what.to_owned(),
            Target::Link(to) => format!("symbolic link to {}", String::from_utf16_lossy(to)),
        };
        verifier::finding_at(
            "handle-leak",
            entry.site,
            format!("{service} went away with handle {handle:#x} open on the {what}"),
        );
        match entry.target {
            Target::File(file) => file.close_handle(),
            Target::Counted(counted) => counted.close_handle(),
            Target::Key(key) => registry::closed(&key),
            Target::Thread(_) | Target::Process(_) | Target::Token(_) | Target::Link(_) => {}
        }
    }
}

exports! { "ntoskrnl.exe";
    /// Closes a handle.
    fn ZwClose(handle: u64) -> NtStatus {
        irql::at_most("ZwClose", PASSIVE_LEVEL);
        close(handle, KERNEL_MODE)
    }

    /// Closes a handle.
    fn NtClose(handle: u64) -> NtStatus {
        irql::at_most("NtClose", PASSIVE_LEVEL);
        close(handle, KERNEL_MODE)
    }

    /// A handle's object, referenced.
    partial "files, keys, threads, processes, tokens, events, timers, sections, transactions and the pseudo-handles of process and thread"
    fn ObReferenceObjectByHandle(
        handle: u64,
        access: u32,
        object_type: usize,
        mode: i8,
        result: Guest<usize>,
        information: Guest<[u32; 2]>,
    ) -> NtStatus {
        irql::at_most("ObReferenceObjectByHandle", PASSIVE_LEVEL);
        let current = match handle.cast_signed() {
            -1 => Some((attach::object(), super::process_type())),
            -2 => Some((thread::current().object, super::thread_type())),
            _ => None,
        };
        if let Some((address, kind)) = current {
            if object_type != 0 && object_type != kind {
                return NtStatus::OBJECT_TYPE_MISMATCH;
            }
            object::ObfReferenceObject(address);
            result.write(address);
            return NtStatus::SUCCESS;
        }
        let (target, granted) = match look_up(handle, mode) {
            Ok(found) => found,
            Err(status) => return status,
        };
        let (address, kind) = match &target {
            Target::File(file) => (file.address(), super::file_object_type()),
            Target::Thread(address) => (*address, super::thread_type()),
            Target::Process(address) => (*address, super::process_type()),
            Target::Counted(counted) => (counted.address(), counted.object_type),
            Target::Key(key) => (key.object().address(), super::key_type()),
            Target::Token(address) => (*address, super::security::token::object_type()),
            Target::Link(_) => return NtStatus::OBJECT_TYPE_MISMATCH,
        };
        if object_type != 0 && object_type != kind {
            return NtStatus::OBJECT_TYPE_MISMATCH;
        }
        let Target::File(file) = target else {
            match target {
                Target::Token(_) => object::lend(address, "token"),
                _ => {
                    object::ObfReferenceObject(address);
                }
            }
            result.write(address);
            return NtStatus::SUCCESS;
        };
        if mode == USER_MODE && access & !granted != 0 {
            return NtStatus::ACCESS_DENIED;
        }
        information.write_opt([0, granted]);
        file.reference();
        object::taken(file.address());
        result.write(file.address());
        NtStatus::SUCCESS
    }
}
