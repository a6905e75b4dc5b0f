//! What a filter wants to know of a file as soon as its create is over: asked for before, and told after
//! (`FltRequestFileInfoOnCreateCompletion`), and by name without an open of its own (`FltQueryInformationByName`).

use std::sync::Arc;

use super::flight::{self, Operation};
use super::frames::create_from_filter;
use super::requests::Caller;
use super::{objects, op};
use crate::abi::file::{FILE_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, SYNCHRONIZE};
use crate::abi::io::{IRP_MJ_CREATE, IRP_MJ_QUERY_INFORMATION, IoStatusBlock};
use crate::abi::ob::ObjectAttributes;
use crate::maps::Sparse;
use crate::namespace::DeviceId;
use crate::ntos::iomgr::{self, Create};
use crate::ntos::memory::Guest;
use crate::ntos::{irql, pool};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};
use crate::{faults, stack};

/// `QoCFileStatInformation`, `QoCFileLxInformation`, `QoCFileEaInformation`.
const STAT: u32 = 1;
const LX: u32 = 2;
const EA: u32 = 4;
const TAG: u32 = u32::from_le_bytes(*b"FMqc");

/// What was asked for in a create, and what was told of it.
#[derive(Clone, Default)]
struct Asked {
    classes: u32,
    /// The blocks that were given out, by class: they go with the create.
    told: Vec<(u32, usize, u32)>,
}

static ASKED: Sparse<Asked> = Sparse::new();

/// A create is over.
pub(super) fn forget(data: usize) {
    let asked = ASKED.remove(data);
    for (_, block, _) in asked.into_iter().flat_map(|asked| asked.told) {
        pool::free(block, None);
    }
}

fn create_of(data: usize) -> Result<Arc<Operation>, NtStatus> {
    flight::at(data)
        .filter(|operation| operation.major == IRP_MJ_CREATE)
        .ok_or(NtStatus::INVALID_PARAMETER_2)
}

/// The information of a class in memory of its own: where it is, and how long.
fn made(operation: &Operation, class: u32) -> Result<(usize, u32), NtStatus> {
    let open = operation.file.opened().ok_or(NtStatus::NOT_FOUND)?;
    if operation.file.volume.device == DeviceId::Mup {
        // A redirector leaves the request as it is.
        return Err(NtStatus::NOT_FOUND);
    }
    let (head, list) = match class {
        STAT => (op::stat(&open), Vec::new()),
        EA => {
            let list = open.ea_list();
            if list.is_empty() {
                return Err(NtStatus::NOT_FOUND);
            }
            (vec![0; 16], list)
        }
        // No file here has what the subsystem for Linux keeps with it.
        LX => return Err(NtStatus::NOT_FOUND),
        _ => return Err(NtStatus::INVALID_PARAMETER_3),
    };
    let block = pool::lend(head.len() + list.len(), TAG, true);
    let block = block.ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    Guest::<u8>::at(block).write_many(&head);
    Guest::<u8>::at(block + head.len()).write_many(&list);
    if class == EA {
        // QUERY_ON_CREATE_EA_INFORMATION: how long the list is, and where.
        Guest::<u32>::at(block).write(u32::try_from(list.len()).unwrap_or(u32::MAX));
        Guest::<usize>::at(block + 8).write(block + head.len());
    }
    Ok((block, u32::try_from(head.len()).unwrap_or(0)))
}

fn retrieve(
    filter: usize,
    data: usize,
    class: u32,
    function: &str,
) -> Result<(usize, u32), NtStatus> {
    irql::at_most(function, APC_LEVEL);
    let _ = objects::filter(filter, function);
    let operation = create_of(data)?;
    let asked = ASKED.get(data).filter(|asked| asked.classes & class != 0);
    let asked = asked.ok_or(NtStatus::NOT_FOUND)?;
    let known = asked.told.iter().find(|told| told.0 == class).copied();
    if let Some((_, block, size)) = known {
        return Ok((block, size));
    }
    let (block, size) = made(&operation, class)?;
    ASKED.with(|all| all.entry(data).or_default().told.push((class, block, size)));
    Ok((block, size))
}

/// Opens a name for its attributes, asks, and closes it.
fn by_name(
    instance: usize,
    attributes: &ObjectAttributes,
    (buffer, length): (usize, u32),
    class: u32,
) -> IoStatusBlock {
    const NAME: &str = "FltQueryInformationByName";
    let failed = |status| IoStatusBlock::new(status, 0);
    let root = attributes.root_directory.expose_provenance() as u64;
    let root = match iomgr::root(root, crate::abi::flt::KERNEL_MODE) {
        Ok(root) => root,
        Err(status) => return failed(status),
    };
    let below = (instance != 0).then(|| objects::instance(instance, NAME));
    let created = iomgr::create(&Create {
        root,
        object_attributes: attributes.attributes,
        access: FILE_READ_ATTRIBUTES | SYNCHRONIZE,
        options: FILE_OPEN_REPARSE_POINT,
        below: below.clone(),
        generated: true,
        ..Create::open(Guest(attributes.object_name).units())
    });
    let Some(file) = created.file else {
        return failed(created.status);
    };
    file.add_handle();
    let caller = Caller {
        instance: below,
        file: Arc::clone(&file),
        symbol: "fltmgr!FltQueryInformationFile",
    };
    let done = caller.query(IRP_MJ_QUERY_INFORMATION, buffer, length, class);
    file.close_handle();
    file.dereference();
    done
}

exports! { "fltmgr.sys";
    /// Asks in a create for what is to be known of the file when it is open.
    fn FltRequestFileInfoOnCreateCompletion(filter: usize, data: usize, classes: u32) -> NtStatus {
        const NAME: &str = "FltRequestFileInfoOnCreateCompletion";
        irql::at_most(NAME, APC_LEVEL);
        let _ = objects::filter(filter, NAME);
        if let Some(status) = faults::check(NAME) {
            return status;
        }
        if classes == 0 || classes & !(STAT | LX | EA) != 0 {
            return NtStatus::INVALID_PARAMETER_3;
        }
        match create_of(data) {
            Ok(operation) if !operation.fast => {
                ASKED.with(|all| all.entry(data).or_default().classes |= classes);
                NtStatus::SUCCESS
            }
            _ => NtStatus::INVALID_PARAMETER_2,
        }
    }

    /// Tells it; NULL: there is nothing to be told.
    fn FltRetrieveFileInfoOnCreateCompletion(filter: usize, data: usize, class: u32, size: Guest<u32>) -> usize {
        match retrieve(filter, data, class, "FltRetrieveFileInfoOnCreateCompletion") {
            Ok((block, bytes)) => {
                size.write(bytes);
                block
            }
            Err(_) => {
                size.write(0);
                0
            }
        }
    }

    /// The same, and why there is nothing.
    fn FltRetrieveFileInfoOnCreateCompletionEx(
        filter: usize, data: usize, class: u32, size: Guest<u32>, out: Guest<usize>,
    ) -> NtStatus {
        let told = retrieve(filter, data, class, "FltRetrieveFileInfoOnCreateCompletionEx");
        let (block, bytes) = told.unwrap_or((0, 0));
        size.write(bytes);
        out.write(block);
        told.err().unwrap_or(NtStatus::SUCCESS)
    }

    /// Asks about a file by its name.
    partial "always by a create, a query and a close; the classes that the bench's file systems answer"
    fn FltQueryInformationByName(
        filter: usize, instance: usize, attributes: Guest<ObjectAttributes>, status: Guest<IoStatusBlock>, buffer: usize,
        length: u32, class: u32, _context: usize,
    ) -> NtStatus {
        const NAME: &str = "FltQueryInformationByName";
        irql::at_most(NAME, PASSIVE_LEVEL);
        irql::apcs_enabled(NAME);
        let _ = objects::filter(filter, NAME);
        let done = match faults::check(NAME) {
            Some(status) => IoStatusBlock::new(status, 0),
            None => stack::with_frames(&create_from_filter("fltmgr!FltCreateFileEx2"), || {
                by_name(instance, &attributes.read(), (buffer, length), class)
            }),
        };
        status.write(done);
        done.status
    }
}
