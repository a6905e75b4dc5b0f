//! `FltCreateFile` and its newer forms, and what a filter does with the file it opened.

use std::sync::Arc;

use super::frames::create_from_filter;
use super::{Instance, ecp, objects};
use crate::abi::flt::KERNEL_MODE;
use crate::abi::io::{IO_DRIVER_CREATE_CONTEXT_SIZE_V1, IoDriverCreateContext, IoStatusBlock};
use crate::abi::ob::ObjectAttributes;
use crate::namespace::open::OpenFile;
use crate::ntos::handle::{self, Target};
use crate::ntos::iomgr::{self, Create, Eas};
use crate::ntos::memory::Guest;
use crate::ntos::object::Counted;
use crate::ntos::{irql, object};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};
use crate::{faults, stack, verifier};

/// The parameters that all forms share.
pub(crate) struct Call {
    pub(crate) function: &'static str,
    /// 0: no filter asks, but a driver by `IoCreateFile` or one of its forms.
    pub(crate) filter: usize,
    pub(crate) instance: usize,
    pub(crate) handle: Guest<u64>,
    pub(crate) file: Guest<usize>,
    pub(crate) access: u32,
    pub(crate) attributes: Guest<ObjectAttributes>,
    pub(crate) status: Guest<IoStatusBlock>,
    pub(crate) allocation: Guest<i64>,
    pub(crate) file_attributes: u32,
    pub(crate) share: u32,
    pub(crate) disposition: u32,
    pub(crate) options: u32,
    /// The list of extended attributes, and how long it is.
    pub(crate) eas: (usize, u32),
    pub(crate) flags: u32,
    pub(crate) context: usize,
}

/// The list of extra create parameters in an `IO_DRIVER_CREATE_CONTEXT`.
fn ecps(context: usize) -> Result<usize, NtStatus> {
    if context == 0 {
        return Ok(0);
    }
    let size: i16 = Guest::at(context).read();
    let whole = i16::try_from(size_of::<IoDriverCreateContext>()).unwrap_or(0);
    if size != whole && size != IO_DRIVER_CREATE_CONTEXT_SIZE_V1 {
        verifier::finding(
            "driver-create-context",
            format!("IO_DRIVER_CREATE_CONTEXT says it has {size} bytes"),
        );
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let list: usize = Guest::at(context + 8).read();
    if list != 0 && !ecp::is_list(list) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    Ok(list)
}

/// The transaction in an `IO_DRIVER_CREATE_CONTEXT`: what its `TxnParameters` say.
fn transaction(context: usize) -> Result<Option<Arc<Counted>>, NtStatus> {
    if context == 0 {
        return Ok(None);
    }
    let block: usize = Guest::at(context + 24).read();
    if block == 0 {
        return Ok(None);
    }
    let address: usize = Guest::at(block + 8).read();
    let found = crate::ntos::transaction::at(address);
    found.map(Some).ok_or(NtStatus::INVALID_PARAMETER)
}

fn run(call: &Call) -> NtStatus {
    irql::at_most(call.function, PASSIVE_LEVEL);
    irql::apcs_enabled(call.function);
    let _ = objects::filter(call.filter, call.function);
    call.handle.write(0);
    call.file.write_opt(0);
    let frames = create_from_filter(symbol(call.function));
    let done = match faults::check(call.function) {
        Some(status) => Err(status),
        None => {
            let below =
                (call.instance != 0).then(|| objects::instance(call.instance, call.function));
            stack::with_frames(&frames, || open(call, below))
        }
    };
    match done {
        Ok(status) | Err(status) => status,
    }
}

fn symbol(function: &str) -> &'static str {
    match function {
        "FltCreateFile" => "fltmgr!FltCreateFile",
        "FltCreateFileEx" => "fltmgr!FltCreateFileEx",
        _ => "fltmgr!FltCreateFileEx2",
    }
}

/// Opens below an instance, or from the top. The caller has charged its frames.
pub(crate) fn open(call: &Call, below: Option<Arc<Instance>>) -> Result<NtStatus, NtStatus> {
    let attributes = call.attributes.read();
    if attributes.length as usize != size_of::<ObjectAttributes>() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let root = attributes.root_directory.expose_provenance() as u64;
    let (ea_buffer, ea_length) = call.eas;
    let eas = if ea_buffer == 0 {
        Vec::new()
    } else {
        Guest::<u8>::at(ea_buffer).read_many(ea_length as usize)
    };
    let eas = Eas::of(&eas).map_err(|refused| {
        call.status.write(refused);
        refused.status
    })?;
    let created = iomgr::create(&Create {
        name: Guest(attributes.object_name).units(),
        root: iomgr::root(root, KERNEL_MODE)?,
        object_attributes: attributes.attributes,
        access: call.access,
        share: call.share,
        disposition: call.disposition,
        options: call.options,
        attributes: call.file_attributes,
        allocation: call.allocation.read_opt().unwrap_or(0),
        flags: call.flags,
        mode: KERNEL_MODE,
        below,
        ecps: ecps(call.context)?,
        generated: call.filter != 0,
        target_directory: false,
        transaction: transaction(call.context)?,
        eas,
    });
    call.status
        .write(IoStatusBlock::new(created.status, created.information));
    let Some(file) = created.file else {
        return Err(created.status);
    };
    file.add_handle();
    let opened = handle::open(
        Target::File(file.clone()),
        call.access,
        attributes.attributes,
        KERNEL_MODE,
    );
    call.handle.write(opened);
    if call.file.is_null() {
        file.dereference();
    } else {
        // The creator's reference becomes the caller's.
        object::taken(file.address());
        call.file.write(file.address());
    }
    Ok(created.status)
}

exports! { "fltmgr.sys";
    /// Opens a file below an instance, or from the top.
    fn FltCreateFile(
        filter: usize, instance: usize, handle: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>,
        status: Guest<IoStatusBlock>, allocation: Guest<i64>, file_attributes: u32, share: u32, disposition: u32,
        options: u32, ea: usize, ea_length: u32, flags: u32,
    ) -> NtStatus {
        run(&Call {
            function: "FltCreateFile", filter, instance, handle, file: Guest::at(0), access, attributes, status,
            allocation, file_attributes, share, disposition, options, eas: (ea, ea_length), flags, context: 0,
        })
    }

    /// As `FltCreateFile`, and gives the file object too.
    fn FltCreateFileEx(
        filter: usize, instance: usize, handle: Guest<u64>, file: Guest<usize>, access: u32,
        attributes: Guest<ObjectAttributes>, status: Guest<IoStatusBlock>, allocation: Guest<i64>, file_attributes: u32,
        share: u32, disposition: u32, options: u32, ea: usize, ea_length: u32, flags: u32,
    ) -> NtStatus {
        run(&Call {
            function: "FltCreateFileEx", filter, instance, handle, file, access, attributes, status, allocation,
            file_attributes, share, disposition, options, eas: (ea, ea_length), flags, context: 0,
        })
    }

    /// As `FltCreateFileEx`, and takes a driver's create context with extra create parameters.
    partial "of the create context the extra create parameters and the transaction count"
    fn FltCreateFileEx2(
        filter: usize, instance: usize, handle: Guest<u64>, file: Guest<usize>, access: u32,
        attributes: Guest<ObjectAttributes>, status: Guest<IoStatusBlock>, allocation: Guest<i64>, file_attributes: u32,
        share: u32, disposition: u32, options: u32, ea: usize, ea_length: u32, flags: u32, context: usize,
    ) -> NtStatus {
        run(&Call {
            function: "FltCreateFileEx2", filter, instance, handle, file, access, attributes, status, allocation,
            file_attributes, share, disposition, options, eas: (ea, ea_length), flags, context,
        })
    }

    /// Closes a handle from `FltCreateFile`.
    fn FltClose(handle: u64) -> NtStatus {
        irql::at_most("FltClose", PASSIVE_LEVEL);
        handle::close(handle, KERNEL_MODE)
    }

    /// Whether a file is a directory.
    fn FltIsDirectory(file: usize, instance: usize, answer: Guest<u8>) -> NtStatus {
        irql::at_most("FltIsDirectory", APC_LEVEL);
        let _ = objects::instance(instance, "FltIsDirectory");
        let file = object::file(file, "FltIsDirectory");
        match file.with_open(OpenFile::is_directory) {
            Some(directory) => {
                answer.write(u8::from(directory));
                NtStatus::SUCCESS
            }
            None => NtStatus::INVALID_DEVICE_REQUEST,
        }
    }
}
