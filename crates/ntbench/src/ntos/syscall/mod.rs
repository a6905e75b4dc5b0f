//! System calls. They run on the calling thread, inside `stack::system_call`.

use std::sync::Arc;

mod access;
mod attributes;
mod buffers;
mod control;
mod io;
pub(crate) mod mapped;
mod notify;

pub(crate) use buffers::SystemBuffer;
pub(crate) use io::call as file_call;

use super::file::File;
use super::handle::{self, Target};
use super::iomgr::{self, Create, Eas};
use super::irp;
use super::memory::{Guest, wide};
use super::transaction;
use crate::abi::file::{
    FILE_BASIC_INFORMATION_CLASS, FILE_OPEN, FILE_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES,
    FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE,
};
use crate::abi::flt::{FLTFL_CALLBACK_DATA_SYSTEM_BUFFER, USER_MODE};
use crate::abi::io::{
    IRP_BUFFERED_IO, IRP_INPUT_OPERATION, IRP_MJ_QUERY_INFORMATION, IRP_SYNCHRONOUS_API,
};
use crate::abi::ob::{OBJ_CASE_INSENSITIVE, OBJ_KERNEL_HANDLE};
use crate::abi::params::{Parameters, QueryInformation};
use crate::fltmgr::operation::{self, Request};
use crate::status::NtStatus;
use crate::wire::{Completion, CreateFile};
use crate::{cost, fltmgr, stack};

const fn completion(status: NtStatus) -> Completion {
    Completion {
        status,
        information: 0,
        handle: 0,
        attributes: 0,
    }
}

/// The name that a program passes: text, or text with a file's id behind it.
fn object_name(create: &CreateFile) -> Vec<u16> {
    let mut name = wide(&create.name);
    if let Some(id) = create.file_id {
        let bytes = id.to_le_bytes();
        name.extend(
            bytes
                .chunks_exact(2)
                .map(|pair| u16::from_le_bytes([pair[0], pair[1]])),
        );
    }
    name
}

/// `NtCreateFile`.
pub(crate) fn nt_create_file(create: &CreateFile) -> Completion {
    stack::with_frames(cost::chain("create"), || {
        let root = match iomgr::root(create.root, USER_MODE) {
            Ok(root) => root,
            Err(status) => return completion(status),
        };
        let transaction = match create.transaction {
            0 => None,
            handle => match transaction::of_handle(handle, USER_MODE) {
                Ok(transaction) => Some(transaction),
                Err(status) => return completion(status),
            },
        };
        let eas = match Eas::of(&create.eas) {
            Ok(eas) => eas,
            Err(refused) => {
                return Completion {
                    information: refused.information as u64,
                    ..completion(refused.status)
                };
            }
        };
        let created = iomgr::create(&Create {
            name: object_name(create),
            root,
            object_attributes: create.object_attributes,
            access: create.access,
            share: create.share,
            disposition: create.disposition,
            options: create.options,
            attributes: create.attributes,
            allocation: 0,
            flags: 0,
            mode: USER_MODE,
            below: None,
            ecps: 0,
            generated: false,
            target_directory: false,
            transaction,
            eas,
        });
        let mut done = completion(created.status);
        done.information = created.information as u64;
        if let Some(file) = created.file {
            file.add_handle();
            // User mode cannot ask for a kernel handle: the flag is taken off.
            let attributes = create.object_attributes & !OBJ_KERNEL_HANDLE;
            done.handle = handle::open(
                Target::File(file.clone()),
                create.access,
                attributes,
                USER_MODE,
            );
            file.dereference();
        }
        done
    })
}

/// `NtQueryAttributesFile`: a create for the attributes, which are read and the file closed at once.
pub(crate) fn nt_query_attributes_file(name: &str, root: u64) -> Completion {
    stack::with_frames(cost::chain("query_attributes"), || {
        let root = match iomgr::root(root, USER_MODE) {
            Ok(root) => root,
            Err(status) => return completion(status),
        };
        let create = Create {
            name: wide(name),
            root,
            object_attributes: OBJ_CASE_INSENSITIVE,
            access: FILE_READ_ATTRIBUTES,
            share: FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            disposition: FILE_OPEN,
            options: FILE_OPEN_REPARSE_POINT,
            attributes: 0,
            allocation: 0,
            flags: 0,
            mode: USER_MODE,
            below: None,
            ecps: 0,
            generated: false,
            target_directory: false,
            transaction: None,
            eas: None,
        };
        let quick = iomgr::query_open(&create);
        if let Some(attributes) = quick {
            return Completion {
                attributes,
                ..completion(NtStatus::SUCCESS)
            };
        }
        let created = iomgr::create(&create);
        let mut done = completion(created.status);
        if let Some(file) = created.file {
            done.information = created.information as u64;
            match basic_attributes(&file) {
                Ok(attributes) => done.attributes = attributes,
                Err(status) => done.status = status,
            }
            // No handle was made, yet the file object goes through cleanup and close as any other.
            file.add_handle();
            file.close_handle();
            file.dereference();
        }
        done
    })
}

/// `FileBasicInformation`, as it is asked for once the create for the attributes is through.
fn basic_attributes(file: &Arc<File>) -> Result<u32, NtStatus> {
    const BASIC_LENGTH: u32 = 40;
    const ATTRIBUTES_AT: usize = 32;
    let block = SystemBuffer::new(BASIC_LENGTH as usize, &[])?;
    let parameters = Parameters::of(QueryInformation {
        length: BASIC_LENGTH,
        pad0: 0,
        class: FILE_BASIC_INFORMATION_CLASS,
        pad1: 0,
        buffer: block.address(),
        pad2: [0; 3],
    });
    let done = operation::send(
        file,
        &Request {
            irp_flags: IRP_BUFFERED_IO | IRP_SYNCHRONOUS_API | IRP_INPUT_OPERATION,
            data_flags: FLTFL_CALLBACK_DATA_SYSTEM_BUFFER,
            ..Request::new(IRP_MJ_QUERY_INFORMATION, parameters)
        },
    );
    if !done.status.is_success() {
        return Err(done.status);
    }
    Ok(Guest::at(block.address() + ATTRIBUTES_AT).read())
}

/// `NtCancelSynchronousIoFile`.
pub(crate) fn nt_cancel_synchronous_io(tid: u64) -> NtStatus {
    if fltmgr::cancel(tid) | irp::cancel_thread(tid) {
        NtStatus::SUCCESS
    } else {
        NtStatus::NOT_FOUND
    }
}

/// `NtClose`.
pub(crate) fn nt_close(handle: u64) -> NtStatus {
    handle::close(handle, USER_MODE)
}
