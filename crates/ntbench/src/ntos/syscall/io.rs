//! System calls on open files: what `NtReadFile` and its kin check, how they hand their buffers on, and what they copy
//! back.
//!
//! A program's buffer is memory of its own in user space, at the address that the operation carries where the file system
//! takes it as it is; information and buffered controls go through a system buffer.

use std::sync::Arc;

use super::super::file::File;
use super::super::handle::{self, Target};
use super::super::iomgr;
use super::super::mdl;
use super::super::memory::{OwnedString, wide};
use super::access;
use super::buffers::{Lent, SystemBuffer, address, taken, user};
use super::control::{control, lock, security};
use super::{attributes, mapped, notify};
use crate::abi::file::{FILE_BASIC_INFORMATION_CLASS, FILE_STANDARD_INFORMATION_CLASS};
use crate::abi::flt::{FLTFL_CALLBACK_DATA_SYSTEM_BUFFER, USER_MODE};
use crate::abi::io::{
    FO_NO_INTERMEDIATE_BUFFERING, FO_SYNCHRONOUS_IO, FO_WRITE_THROUGH, IRP_BUFFERED_IO,
    IRP_DEALLOCATE_BUFFER, IRP_DEFER_IO_COMPLETION, IRP_INPUT_OPERATION, IRP_MJ_DEVICE_CONTROL,
    IRP_MJ_DIRECTORY_CONTROL, IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MJ_FLUSH_BUFFERS,
    IRP_MJ_QUERY_INFORMATION, IRP_MJ_QUERY_VOLUME_INFORMATION, IRP_MJ_READ, IRP_MJ_SET_INFORMATION,
    IRP_MJ_SET_VOLUME_INFORMATION, IRP_MJ_WRITE, IRP_MN_LOCK, IRP_MN_QUERY_DIRECTORY,
    IRP_MN_UNLOCK_SINGLE, IRP_NOCACHE, IRP_PAGING_IO, IRP_READ_OPERATION, IRP_SYNCHRONOUS_API,
    IRP_WRITE_OPERATION, IoStatusBlock, SL_EXCLUSIVE_LOCK, SL_FAIL_IMMEDIATELY, SL_RESTART_SCAN,
    SL_RETURN_SINGLE_ENTRY, SL_WRITE_THROUGH,
};
use crate::abi::params::{Parameters, QueryDirectory, QueryInformation, SetInformation, Transfer};
use crate::fltmgr::operation::{self, Request};
use crate::fltmgr::{self, op};
use crate::status::NtStatus;
use crate::wire::{FileCall, IoCall, Transferred};
use crate::{stack, thread};

/// A call's result before it is copied out.
pub(super) type Done = Result<(IoStatusBlock, Vec<u8>), NtStatus>;

/// Makes the call.
pub(crate) fn call(io: &IoCall) -> Transferred {
    let frames = access::frames(&io.call);
    let done = stack::with_frames(&frames, || {
        let (file, rights) = match handle::look_up(io.handle, USER_MODE)? {
            (Target::File(file), rights) => (file, rights),
            _ => return Err(NtStatus::OBJECT_TYPE_MISMATCH),
        };
        access::check(&io.call, rights)?;
        // The call has a reference of its own while it lasts.
        file.reference();
        let done = run(&file, &io.call);
        file.dereference();
        done
    });
    match done {
        Ok((block, data)) => Transferred {
            status: block.status,
            information: block.information as u64,
            data,
        },
        Err(status) => Transferred {
            status,
            information: 0,
            data: Vec::new(),
        },
    }
}

/// Tries fast I/O on a file of a file system's.
pub(super) fn fast(file: &Arc<File>, request: Request<'_>) -> Option<IoStatusBlock> {
    if file.on_device() {
        return None;
    }
    let request = Request {
        user: true,
        ..request
    };
    fltmgr::send_fast(file, &request)
}

pub(super) fn send(file: &Arc<File>, request: Request<'_>) -> IoStatusBlock {
    let synchronous = file.object(|object| object.flags & FO_SYNCHRONOUS_IO != 0);
    let irp_flags = request.irp_flags & !IRP_SYNCHRONOUS_API
        | if synchronous { IRP_SYNCHRONOUS_API } else { 0 };
    operation::send(
        file,
        &Request {
            irp_flags,
            user: true,
            ..request
        },
    )
}

/// An operation whose buffer is the system's.
pub(super) fn buffered(major: u8, input: bool, parameters: Parameters) -> Request<'static> {
    let input = if input { 0 } else { IRP_INPUT_OPERATION };
    Request {
        irp_flags: IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER | IRP_DEFER_IO_COMPLETION | input,
        data_flags: FLTFL_CALLBACK_DATA_SYSTEM_BUFFER,
        ..Request::new(major, parameters)
    }
}

fn run(file: &Arc<File>, call: &FileCall) -> Done {
    match call {
        FileCall::Read {
            length,
            offset,
            paging,
        } => transfer(file, *offset, *length, None, *paging),
        FileCall::Write {
            data,
            offset,
            paging,
        } => {
            let length = u32::try_from(data.len()).map_err(|_| NtStatus::INVALID_PARAMETER)?;
            transfer(file, *offset, length, Some(data), *paging)
        }
        FileCall::QueryInformation { class, length } => query(file, *class, *length),
        FileCall::SetInformation { class, data } => set(file, *class, data),
        FileCall::QueryDirectory {
            class,
            length,
            pattern,
            restart,
            single,
        } => {
            let flags = if *restart { SL_RESTART_SCAN } else { 0 }
                | if *single { SL_RETURN_SINGLE_ENTRY } else { 0 };
            directory(file, *class, *length, pattern.as_deref(), flags)
        }
        FileCall::FsControl {
            code,
            input,
            output,
        } => control(file, IRP_MJ_FILE_SYSTEM_CONTROL, *code, input, *output),
        FileCall::DeviceControl {
            code,
            input,
            output,
        } => control(file, IRP_MJ_DEVICE_CONTROL, *code, input, *output),
        FileCall::QueryVolume { class, length } => {
            query_as(IRP_MJ_QUERY_VOLUME_INFORMATION, file, *class, *length)
        }
        FileCall::SetVolume { class, data } => {
            let buffer = SystemBuffer::new(0, data)?;
            let parameters = information(*class, data.len(), buffer.address())?;
            let request = buffered(IRP_MJ_SET_VOLUME_INFORMATION, true, parameters);
            Ok((send(file, request), Vec::new()))
        }
        FileCall::Flush => {
            let request = Request::new(IRP_MJ_FLUSH_BUFFERS, Parameters::default());
            Ok((send(file, request), Vec::new()))
        }
        FileCall::Lock {
            offset,
            length,
            key,
            exclusive,
            fail_immediately,
        } => {
            let flags = if *exclusive { SL_EXCLUSIVE_LOCK } else { 0 }
                | if *fail_immediately {
                    SL_FAIL_IMMEDIATELY
                } else {
                    0
                };
            lock(file, IRP_MN_LOCK, flags, (*offset, *length, *key))
        }
        FileCall::Unlock {
            offset,
            length,
            key,
        } => lock(file, IRP_MN_UNLOCK_SINGLE, 0, (*offset, *length, *key)),
        FileCall::QuerySecurity {
            information,
            length,
        } => security(file, *information, *length),
        FileCall::QueryEa {
            names,
            length,
            restart,
            single,
        } => attributes::query_ea(file, names, *length, (*restart, *single)),
        FileCall::SetEa { data } => attributes::set_ea(file, data),
        FileCall::QueryQuota { length } => attributes::query_quota(file, *length),
        FileCall::SetQuota { data } => attributes::set_quota(file, data),
        FileCall::SetSecurity {
            information,
            descriptor,
        } => attributes::set_security(file, *information, descriptor),
        FileCall::MappedRead { offset, length } => mapped::read(file, *offset, *length),
        FileCall::MappedWrite { offset, data } => mapped::write(file, *offset, data),
        FileCall::MdlRead { offset, length } => mapped::by_list(file, *offset, *length, None),
        FileCall::MdlWrite { offset, data } => {
            let length = u32::try_from(data.len()).map_err(|_| NtStatus::INVALID_PARAMETER)?;
            mapped::by_list(file, *offset, length, Some(data))
        }
        FileCall::NotifyDirectory {
            filter,
            length,
            tree,
            extended,
            wait,
        } => {
            let ask = || notify::notify(file, *filter, *length, (*tree, *extended));
            if *wait {
                ask()
            } else {
                fltmgr::cancel::when_pended(ask)
            }
        }
    }
}

/// `NtReadFile`, or `NtWriteFile` of that data; or what the memory manager does in their place.
pub(super) fn transfer(
    file: &Arc<File>,
    offset: Option<i64>,
    length: u32,
    data: Option<&[u8]>,
    paging: bool,
) -> Done {
    let flags = file.object(|object| object.flags);
    let offset = match offset {
        Some(offset) => offset,
        None if flags & FO_SYNCHRONOUS_IO != 0 => file.object(|object| object.current_byte_offset),
        None => return Err(NtStatus::INVALID_PARAMETER),
    };
    let (major, kind) = if data.is_some() {
        (IRP_MJ_WRITE, IRP_WRITE_OPERATION)
    } else {
        (IRP_MJ_READ, IRP_READ_OPERATION)
    };
    let placed = |offset: i64, length: u32, buffer: usize, mdl: usize| Request {
        flags: if data.is_some() && flags & FO_WRITE_THROUGH != 0 {
            SL_WRITE_THROUGH
        } else {
            0
        },
        ..Request::new(
            major,
            Parameters::of(Transfer {
                length,
                pad0: 0,
                key: 0,
                pad1: 0,
                offset,
                buffer,
                mdl,
                pad2: 0,
            }),
        )
    };
    if paging {
        return page(
            file,
            (offset, length),
            data,
            |(offset, length), buffer, mdl| Request {
                irp_flags: IRP_NOCACHE | IRP_PAGING_IO | IRP_INPUT_OPERATION,
                ..placed(offset, length, buffer, mdl)
            },
        );
    }
    let request = |buffer: usize, mdl: usize, irp_flags: u32| Request {
        irp_flags,
        ..placed(offset, length, buffer, mdl)
    };
    let pages = user(length as usize)?;
    if let (Some(pages), Some(data)) = (&pages, data) {
        pages.write(0, data);
    }
    let back = |block: IoStatusBlock| {
        if data.is_some() {
            Vec::new()
        } else {
            taken(pages.as_ref(), block, length)
        }
    };
    let cached = file.object(|object| !object.private_cache_map.is_null());
    if cached && flags & (FO_SYNCHRONOUS_IO | FO_NO_INTERMEDIATE_BUFFERING) == FO_SYNCHRONOUS_IO {
        let fast = fast(file, request(address(pages.as_ref()), 0, 0));
        if let Some(block) = fast {
            return Ok((block, back(block)));
        }
    }
    let uncached = if flags & FO_NO_INTERMEDIATE_BUFFERING != 0 {
        IRP_NOCACHE
    } else {
        0
    };
    let irp_flags = kind | IRP_DEFER_IO_COMPLETION | uncached;
    let lent = Lent::of(file, pages.as_ref(), length, data.is_none())?;
    let block = send(
        file,
        lent.request(request(lent.buffer, lent.mdl, irp_flags)),
    );
    lent.settle(block, pages.as_ref());
    Ok((block, back(block)))
}

/// Paging I/O: pages of the system's, described by a list, at `APC_LEVEL`. What is asked for is a part of them: a transfer without the cache is
/// of whole sectors, as the memory manager sends it, and what a write has around its data is what the file has there.
fn page(
    file: &Arc<File>,
    part: (i64, u32),
    data: Option<&[u8]>,
    request: impl FnOnce((i64, u32), usize, usize) -> Request<'static>,
) -> Done {
    let ((offset, length), lead) = sectors(part).ok_or(NtStatus::INVALID_PARAMETER)?;
    let mut content = Vec::new();
    if let Some(data) = data {
        content = vec![0; length as usize];
        let there = file.opened().zip(u64::try_from(offset).ok());
        let there = there.and_then(|(open, offset)| open.read(offset, content.len()).ok());
        let there = there.unwrap_or_default();
        content[..there.len()].copy_from_slice(&there);
        content[lead..lead + data.len()].copy_from_slice(data);
    }
    let pages = SystemBuffer::new(length as usize, &content)?;
    let list = mdl::allocate(pages.address(), length, None);
    mdl::lock_pages(list, data.is_none())?;
    let thread = thread::current();
    let irql = thread.set_irql(thread::APC_LEVEL);
    let mut block = operation::send(file, &request((offset, length), pages.address(), list));
    thread.set_irql(irql);
    let mut read = if data.is_some() {
        Vec::new()
    } else {
        pages.taken(block, length)
    };
    mdl::free(list);
    read.drain(..lead.min(read.len()));
    read.truncate(part.1 as usize);
    block.information = block.information.saturating_sub(lead).min(part.1 as usize);
    Ok((block, read))
}

/// The whole sectors that hold a part of a file, and where in them it begins. What has no place of its own, or no length, is left as it is.
fn sectors((offset, length): (i64, u32)) -> Option<((i64, u32), usize)> {
    if offset < 0 || length == 0 {
        return Some(((offset, length), 0));
    }
    let lead = u32::try_from(offset % i64::from(op::BYTES_PER_SECTOR)).ok()?;
    let whole = lead
        .checked_add(length)?
        .checked_next_multiple_of(op::BYTES_PER_SECTOR)?;
    Some(((offset - i64::from(lead), whole), lead as usize))
}

fn information(class: u32, length: usize, buffer: usize) -> Result<Parameters, NtStatus> {
    Ok(Parameters::of(QueryInformation {
        length: u32::try_from(length).map_err(|_| NtStatus::INVALID_PARAMETER)?,
        pad0: 0,
        class,
        pad1: 0,
        buffer,
        pad2: [0; 3],
    }))
}

fn query_as(major: u8, file: &Arc<File>, class: u32, length: u32) -> Done {
    let buffer = SystemBuffer::new(length as usize, &[])?;
    let parameters = information(class, length as usize, buffer.address())?;
    let block = send(file, buffered(major, false, parameters));
    Ok((block, buffer.taken(block, length)))
}

/// Basic and standard information of a file opened for synchronous I/O, which file systems answer without an IRP.
fn query_fast(file: &Arc<File>, class: u32, length: u32) -> Option<(IoStatusBlock, Vec<u8>)> {
    let fixed = match class {
        FILE_BASIC_INFORMATION_CLASS => 40,
        FILE_STANDARD_INFORMATION_CLASS => 24,
        _ => return None,
    };
    let synchronous = file.object(|object| object.flags & FO_SYNCHRONOUS_IO != 0);
    if !synchronous || length < fixed || file.on_device() {
        return None;
    }
    let buffer = SystemBuffer::new(fixed as usize, &[]).ok()?;
    let parameters = information(class, fixed as usize, buffer.address()).ok()?;
    let block = fast(file, Request::new(IRP_MJ_QUERY_INFORMATION, parameters))?;
    Some((block, buffer.taken(block, fixed)))
}

/// `NtQueryInformationFile`: some classes are the I/O manager's own.
fn query(file: &Arc<File>, class: u32, length: u32) -> Done {
    let flags = file.object(|object| object.flags);
    let own = match class {
        op::ACCESS => Some(
            file.opened()
                .map_or(0, |open| open.access())
                .to_le_bytes()
                .to_vec(),
        ),
        op::MODE => Some(op::mode(flags).to_le_bytes().to_vec()),
        op::ALIGNMENT => Some(0_u32.to_le_bytes().to_vec()),
        op::POSITION if flags & FO_SYNCHRONOUS_IO != 0 => {
            let position = file.object(|object| object.current_byte_offset);
            Some(position.to_le_bytes().to_vec())
        }
        _ => None,
    };
    if let Some(done) = query_fast(file, class, length) {
        return Ok(done);
    }
    let Some(own) = own else {
        return query_as(IRP_MJ_QUERY_INFORMATION, file, class, length);
    };
    if own.len() > length as usize {
        return Err(NtStatus::INFO_LENGTH_MISMATCH);
    }
    Ok((IoStatusBlock::new(NtStatus::SUCCESS, own.len()), own))
}

/// `NtSetInformationFile`: a rename or hard link to somewhere else has its directory opened first.
fn set(file: &Arc<File>, class: u32, data: &[u8]) -> Done {
    let flags = file.object(|object| object.flags);
    if class == op::POSITION && flags & FO_SYNCHRONOUS_IO != 0 {
        let position = data.first_chunk().map(|bytes| i64::from_le_bytes(*bytes));
        let position = position.ok_or(NtStatus::INFO_LENGTH_MISMATCH)?;
        if position < 0 {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        file.object(|object| object.current_byte_offset = position);
        return Ok((IoStatusBlock::new(NtStatus::SUCCESS, 0), Vec::new()));
    }
    let buffer = SystemBuffer::new(0, data)?;
    let named = op::names_target(class);
    let (target, replace) = match named {
        Some(extended) => {
            let (name, root, replace) = op::rename_target(data, extended)?;
            let root = iomgr::root(root, USER_MODE)?;
            (
                iomgr::open_target(file, &name, root, USER_MODE, None)?,
                replace,
            )
        }
        None => (None, false),
    };
    let parameters = Parameters::of(SetInformation {
        length: u32::try_from(data.len()).map_err(|_| NtStatus::INVALID_PARAMETER)?,
        pad0: 0,
        class,
        pad1: 0,
        parent_of_target: target.as_ref().map_or(0, |target| target.address()),
        replace_if_exists: u8::from(replace),
        advance_only: 0,
        pad2: 0,
        pad3: 0,
        buffer: buffer.address(),
        pad4: 0,
    });
    let block = send(file, buffered(IRP_MJ_SET_INFORMATION, true, parameters));
    if let Some(target) = target {
        target.close_handle();
    }
    Ok((block, Vec::new()))
}

/// `NtQueryDirectoryFile`.
fn directory(file: &Arc<File>, class: u32, length: u32, pattern: Option<&str>, flags: u8) -> Done {
    let fixed = op::directory_entry(class).ok_or(NtStatus::INVALID_INFO_CLASS)?;
    if (length as usize) < fixed {
        return Err(NtStatus::INFO_LENGTH_MISMATCH);
    }
    let pages = user(length as usize)?;
    let lent = Lent::of(file, pages.as_ref(), length, true)?;
    let pattern = pattern.map(|text| OwnedString::new(&wide(text)));
    let string = pattern.as_ref().map(OwnedString::string);
    let parameters = Parameters::of(QueryDirectory {
        length,
        pad0: 0,
        file_name: string
            .as_ref()
            .map_or(0, |string| std::ptr::from_ref(string).expose_provenance()),
        class,
        pad1: 0,
        file_index: 0,
        pad2: 0,
        buffer: lent.buffer,
        mdl: lent.mdl,
    });
    let request = Request {
        minor: IRP_MN_QUERY_DIRECTORY,
        flags,
        ..Request::new(IRP_MJ_DIRECTORY_CONTROL, parameters)
    };
    let block = send(file, lent.request(request));
    lent.settle(block, pages.as_ref());
    Ok((block, taken(pages.as_ref(), block, length)))
}
