//! Events, timers and sections under names: what one driver makes and another one, or a program, opens.
//!
//! "Object Names", `OBJECT_ATTRIBUTES`. A name goes with the last handle to its object, since nothing here is permanent.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::handle::{self, Target};
use super::memory::Guest;
use super::object::Counted;
use crate::abi::flt::KERNEL_MODE;
use crate::abi::ob::ObjectAttributes;
use crate::maps::HashMap;
use crate::namespace::names::{BACKSLASH, upcase};
use crate::status::NtStatus;

/// `OBJ_OPENIF`.
const OPEN_IF: u32 = 0x80;
/// The directories that are there to put something in.
const DIRECTORIES: [&str; 4] = [
    "\\BASENAMEDOBJECTS",
    "\\KERNELOBJECTS",
    "\\CALLBACK",
    "\\DEVICE",
];

static NAMES: LazyLock<Mutex<HashMap<String, Arc<Counted>>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<String, Arc<Counted>>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name as the table has it; `None`: the attributes hold none.
fn key(attributes: &ObjectAttributes) -> Result<Option<String>, NtStatus> {
    let name = Guest(attributes.object_name).units();
    if name.is_empty() {
        return Ok(None);
    }
    if name.first() != Some(&BACKSLASH) {
        return Err(NtStatus::OBJECT_PATH_SYNTAX_BAD);
    }
    let upper: Vec<u16> = name.into_iter().map(upcase).collect();
    let name = String::from_utf16_lossy(&upper);
    let (directory, last) = name.rsplit_once('\\').unwrap_or_default();
    if last.is_empty() {
        return Err(NtStatus::OBJECT_NAME_INVALID);
    }
    if !directory.is_empty() && !DIRECTORIES.contains(&directory) {
        return Err(NtStatus::OBJECT_PATH_NOT_FOUND);
    }
    Ok(Some(name))
}

/// Object attributes; without them there is no name, and the handle is the current process's.
pub(super) fn attributes(
    at: Guest<ObjectAttributes>,
) -> Result<Option<ObjectAttributes>, NtStatus> {
    match at.read_opt() {
        Some(read) if read.length as usize != size_of::<ObjectAttributes>() => {
            Err(NtStatus::INVALID_PARAMETER)
        }
        read => Ok(read),
    }
}

/// A handle for an object, which holds a reference of its own.
pub(super) fn give(object: Arc<Counted>, access: u32, attributes: u32) -> u64 {
    object.add_handle();
    handle::open(Target::Counted(object), access, attributes, KERNEL_MODE)
}

/// Makes an object of a type with a handle, or opens the one of that name where the caller wants either.
pub(super) fn create(
    out: Guest<u64>,
    access: u32,
    at: Guest<ObjectAttributes>,
    object_type: usize,
    make: impl FnOnce() -> Result<Arc<Counted>, NtStatus>,
) -> NtStatus {
    let run = || {
        let attributes = attributes(at)?;
        let flags = attributes.map_or(0, |attributes| attributes.attributes);
        let name = attributes.as_ref().map_or(Ok(None), key)?;
        let mut names = lock();
        if let Some(known) = name.as_ref().and_then(|name| names.get(name)).cloned() {
            drop(names);
            if flags & OPEN_IF == 0 {
                return Err(NtStatus::OBJECT_NAME_COLLISION);
            }
            if known.object_type != object_type {
                return Err(NtStatus::OBJECT_TYPE_MISMATCH);
            }
            out.write(give(known, access, flags));
            return Ok(NtStatus::OBJECT_NAME_EXISTS);
        }
        let made = make()?;
        if let Some(name) = name {
            names.insert(name, Arc::clone(&made));
        }
        drop(names);
        out.write(give(Arc::clone(&made), access, flags));
        made.dereference();
        Ok(NtStatus::SUCCESS)
    };
    run().unwrap_or_else(|status| status)
}

/// Opens the object of a type by its name.
pub(super) fn open(
    out: Guest<u64>,
    access: u32,
    at: Guest<ObjectAttributes>,
    object_type: usize,
) -> NtStatus {
    let run = || {
        let attributes = attributes(at)?.ok_or(NtStatus::INVALID_PARAMETER)?;
        let name = key(&attributes)?.ok_or(NtStatus::OBJECT_PATH_SYNTAX_BAD)?;
        let known = lock().get(&name).cloned();
        let known = known.ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
        if known.object_type != object_type {
            return Err(NtStatus::OBJECT_TYPE_MISMATCH);
        }
        out.write(give(known, access, attributes.attributes));
        Ok(NtStatus::SUCCESS)
    };
    run().unwrap_or_else(|status| status)
}

/// The last handle to an object is closed: its name goes.
pub(super) fn handles_closed(object: &Counted) {
    lock().retain(|_, known| known.address() != object.address());
}

/// The object of a type that a handle stands for.
pub(super) fn of_handle(handle: u64, object_type: usize) -> Result<Arc<Counted>, NtStatus> {
    match handle::look_up(handle, KERNEL_MODE)?.0 {
        Target::Counted(counted) if counted.object_type == object_type => Ok(counted),
        _ => Err(NtStatus::OBJECT_TYPE_MISMATCH),
    }
}
