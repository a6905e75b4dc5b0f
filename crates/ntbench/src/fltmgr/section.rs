//! Sections by which a filter scans a file's data (`FltCreateSectionForDataScan`), and what is told when an operation
//! gets in their way.
//!
//! A filter has one such section for a stream and an instance; its context is linked to the stream until the section is
//! closed. What would make the file shorter cannot be done while somebody has a view of what is to go
//! (`STATUS_USER_MAPPED_FILE`): the filters whose sections these are are asked first to give them up.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::callback::{self, About};
use super::context::{self, Place, SECTION};
use super::flight::Flight;
use super::objects::{self, Instance};
use crate::abi::ob::ObjectAttributes;
use crate::faults;
use crate::namespace::DeviceId;
use crate::namespace::sharing::FileId;
use crate::ntos::handle::{self, Target};
use crate::ntos::memory::Guest;
use crate::ntos::section::{self, PAGE_READONLY, PAGE_READWRITE};
use crate::ntos::{irql, object};
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;

/// `SEC_COMMIT`, and `SEC_FILE`.
const SEC_COMMIT: u32 = 0x0800_0000;
const SEC_FILE: u32 = 0x0080_0000;

/// The instances that scan data.
static SCANNING: LazyLock<Mutex<HashSet<usize>>> = LazyLock::new(Mutex::default);

fn scanning() -> std::sync::MutexGuard<'static, HashSet<usize>> {
    SCANNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The instance at the other end of a section's place.
fn instance_of(address: usize) -> Option<std::sync::Arc<Instance>> {
    match objects::at(address) {
        Some(objects::Object::Instance(instance)) => Some(instance),
        _ => None,
    }
}

/// An operation is about to make a file `end` bytes long: whoever scans it is told, and then nobody may have a view of
/// what is to go.
pub(super) fn make_way(flight: &Flight, id: FileId, end: i64) -> Result<(), NtStatus> {
    for (context, address) in context::sections(id) {
        let Some(instance) = instance_of(address) else {
            continue;
        };
        let routine = instance.filter.registration.section_notification;
        if routine != 0 {
            let about = About {
                filter: &instance.filter.service,
                phase: "section conflict",
                operation: "",
                path: flight.operation.file.full_name(),
            };
            context::reference(context, "a section conflict");
            callback::call(
                about,
                routine,
                &[address as u64, context as u64, flight.data()],
            );
            context::release(context, "a section conflict");
        }
    }
    if section::shown_behind(id, end) {
        return Err(NtStatus::USER_MAPPED_FILE);
    }
    Ok(())
}

/// Whether anybody scans data at all: only then is a create that empties a file looked at before it does.
pub(super) fn in_use() -> bool {
    !scanning().is_empty()
}

/// The caller's parameters.
struct Call {
    instance: usize,
    file: usize,
    context: usize,
    access: u32,
    attributes: u32,
    protection: u32,
    allocation: u32,
}

/// What it gives: handle, object and the file's length.
struct Created {
    handle: u64,
    object: usize,
    length: i64,
}

fn create(call: &Call) -> Result<Created, NtStatus> {
    const NAME: &str = "FltCreateSectionForDataScan";
    let instance = objects::instance(call.instance, NAME);
    let file = object::file(call.file, NAME);
    if context::kind(call.context, NAME) != SECTION || !scanning().contains(&instance.address) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    if !matches!(call.protection, PAGE_READONLY | PAGE_READWRITE) {
        return Err(NtStatus::INVALID_PARAMETER_8);
    }
    if call.allocation & SEC_COMMIT == 0 || call.allocation & !(SEC_COMMIT | SEC_FILE) != 0 {
        return Err(NtStatus::INVALID_PARAMETER_9);
    }
    let open = file.opened().ok_or(NtStatus::INVALID_FILE_FOR_SECTION)?;
    let id = open.id().ok_or(NtStatus::INVALID_FILE_FOR_SECTION)?;
    if open.tree().is_some_and(|tree| tree.locks.any(id)) {
        return Err(NtStatus::FILE_LOCK_CONFLICT);
    }
    let (section, length) = section::over(open, call.protection == PAGE_READWRITE)?;
    let place = Place::Stream {
        kind: SECTION,
        instance: instance.address,
        id,
    };
    let linked = context::set(place, SECTION, 1, call.context, Guest::at(0), NAME);
    if !linked.is_success() {
        section.dereference();
        return Err(linked);
    }
    section.add_handle();
    let object = section.address();
    object::taken(object);
    // The caller knows whether the handle is the kernel's or goes to the program whose thread this is.
    let handle = handle::open_for(Target::Counted(section), call.access, call.attributes);
    Ok(Created {
        handle,
        object,
        length,
    })
}

exports! { "fltmgr.sys";
    /// Lets an instance make sections for scanning: on local volumes, whose streams keep contexts.
    partial "STATUS_NOT_SUPPORTED for the redirector's volume"
    fn FltRegisterForDataScan(instance: usize) -> NtStatus {
        irql::at_most("FltRegisterForDataScan", APC_LEVEL);
        let instance = objects::instance(instance, "FltRegisterForDataScan");
        if let Some(status) = faults::check("FltRegisterForDataScan") {
            return status;
        }
        if instance.volume.device == DeviceId::Mup {
            return NtStatus::NOT_SUPPORTED;
        }
        scanning().insert(instance.address);
        NtStatus::SUCCESS
    }

    /// Makes a section over an open file's data.
    fn FltCreateSectionForDataScan(
        instance: usize, file: usize, context: usize, access: u32, attributes: Guest<ObjectAttributes>,
        _maximum: usize, protection: u32, allocation: u32, _flags: u32, handle: Guest<u64>, object: Guest<usize>,
        length: Guest<i64>,
    ) -> NtStatus {
        irql::at_most("FltCreateSectionForDataScan", APC_LEVEL);
        handle.write(0);
        object.write(0);
        if let Some(status) = faults::check("FltCreateSectionForDataScan") {
            return status;
        }
        let attributes = attributes.read_opt().map_or(0, |attributes| attributes.attributes);
        match create(&Call { instance, file, context, access, attributes, protection, allocation }) {
            Ok(created) => {
                handle.write(created.handle);
                object.write(created.object);
                length.write_opt(created.length);
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Takes a section's context from its stream.
    fn FltCloseSectionForDataScan(address: usize) -> NtStatus {
        irql::at_most("FltCloseSectionForDataScan", APC_LEVEL);
        if context::kind(address, "FltCloseSectionForDataScan") != SECTION {
            return NtStatus::INVALID_PARAMETER;
        }
        match context::place(address, "FltCloseSectionForDataScan").and_then(context::take) {
            Some(context) => {
                context::release(context, "FltCloseSectionForDataScan");
                NtStatus::SUCCESS
            }
            None if context::was_linked(address) => NtStatus::NOT_FOUND,
            None => NtStatus::INVALID_PARAMETER,
        }
    }

    /// The context of an instance's section over a stream.
    fn FltGetSectionContext(instance: usize, file: usize, out: Guest<usize>) -> NtStatus {
        let instance = objects::instance(instance, "FltGetSectionContext").address;
        let file = object::file(file, "FltGetSectionContext");
        let id = file.with_open(crate::namespace::open::OpenFile::id).flatten();
        let Some(id) = id else {
            out.write(0);
            return NtStatus::NOT_SUPPORTED;
        };
        context::get(Place::Stream { kind: SECTION, instance, id }, out, "FltGetSectionContext")
    }
}
