//! Controls, byte-range locks and security: `NtFsControlFile`, `NtDeviceIoControlFile`, `NtLockFile`,
//! `NtQuerySecurityObject`.

use std::sync::Arc;

use super::super::file::File;
use super::super::irp;
use super::super::mdl;
use super::buffers::{SystemBuffer, address, taken, user};
use super::io::{Done, buffered, fast, send};
use crate::abi::io::{
    IRP_MJ_DEVICE_CONTROL, IRP_MJ_LOCK_CONTROL, IRP_MJ_QUERY_SECURITY, IoStatusBlock,
    SL_EXCLUSIVE_LOCK, SL_FAIL_IMMEDIATELY,
};
use crate::abi::params::{Control, LockControl, Parameters, QuerySecurity};
use crate::fltmgr::operation::Request;
use crate::status::NtStatus;
use crate::thread;

/// `NtFsControlFile` and `NtDeviceIoControlFile`.
pub(super) fn control(file: &Arc<File>, major: u8, code: u32, input: &[u8], output: u32) -> Done {
    if major == IRP_MJ_DEVICE_CONTROL && irp::takes_controls(file) {
        let from = user(input.len())?;
        let to = user(output as usize)?;
        if let Some(from) = &from {
            from.write(0, input);
        }
        let length = u32::try_from(input.len()).unwrap_or(u32::MAX);
        let input = (address(from.as_ref()), length);
        let done = irp::fast_device_control(file, code, input, (address(to.as_ref()), output));
        if let Some(block) = done {
            return Ok((block, taken(to.as_ref(), block, output)));
        }
    }
    if major == IRP_MJ_DEVICE_CONTROL
        && !file.on_device()
        && let Some(done) = control_fast(file, code, input, output)?
    {
        return Ok(done);
    }
    let method = code & 3;
    let arm = |input_at: usize, output_at: usize, list: usize| {
        Parameters::of(Control {
            output_length: output,
            pad0: 0,
            input_length: u32::try_from(input.len()).unwrap_or(0),
            pad1: 0,
            code,
            pad2: 0,
            input: input_at,
            output: output_at,
            output_mdl: list,
        })
    };
    if method == 0 {
        let buffer = SystemBuffer::new(output as usize, input)?;
        let block = send(file, buffered(major, false, arm(buffer.address(), 0, 0)));
        return Ok((block, buffer.taken(block, output)));
    }
    let out = user(output as usize)?;
    if method == 3 {
        let into = user(input.len())?;
        if let Some(into) = &into {
            into.write(0, input);
        }
        let parameters = arm(address(into.as_ref()), address(out.as_ref()), 0);
        let block = send(file, Request::new(major, parameters));
        return Ok((block, taken(out.as_ref(), block, output)));
    }
    // METHOD_IN_DIRECT and METHOD_OUT_DIRECT: the input in a system buffer, the output locked.
    let system = SystemBuffer::new(0, input)?;
    let list = match &out {
        Some(out) => {
            let list = mdl::allocate(out.base(), output, None);
            mdl::lock_pages(list, method == 2)?;
            list
        }
        None => 0,
    };
    let parameters = arm(system.address(), address(out.as_ref()), list);
    let block = send(file, Request::new(major, parameters));
    if list != 0 {
        mdl::free(list);
    }
    Ok((block, taken(out.as_ref(), block, output)))
}

/// Offers a device control to the filters as fast I/O: with the caller's own addresses, whatever the code's method.
fn control_fast(
    file: &Arc<File>,
    code: u32,
    input: &[u8],
    output: u32,
) -> Result<Option<(IoStatusBlock, Vec<u8>)>, NtStatus> {
    let from = user(input.len())?;
    let to = user(output as usize)?;
    if let Some(from) = &from {
        from.write(0, input);
    }
    let parameters = Parameters::of(Control {
        output_length: output,
        pad0: 0,
        input_length: u32::try_from(input.len()).unwrap_or(0),
        pad1: 0,
        code,
        pad2: 0,
        input: address(from.as_ref()),
        output: address(to.as_ref()),
        output_mdl: 0,
    });
    let done = fast(file, Request::new(IRP_MJ_DEVICE_CONTROL, parameters));
    Ok(done.map(|block| (block, taken(to.as_ref(), block, output))))
}

/// `NtLockFile` and `NtUnlockFile`.
pub(super) fn lock(
    file: &Arc<File>,
    minor: u8,
    flags: u8,
    (offset, length, key): (i64, i64, u32),
) -> Done {
    let length = Box::new(length);
    let parameters = Parameters::of(LockControl {
        length: std::ptr::from_ref(&*length).expose_provenance(),
        key,
        pad0: 0,
        offset,
        process: thread::current().process.object,
        fail_immediately: u8::from(flags & SL_FAIL_IMMEDIATELY != 0),
        exclusive: u8::from(flags & SL_EXCLUSIVE_LOCK != 0),
        pad1: 0,
        pad2: 0,
        pad3: 0,
    });
    let request = Request {
        minor,
        flags,
        ..Request::new(IRP_MJ_LOCK_CONTROL, parameters)
    };
    if let Some(block) = fast(file, request) {
        return Ok((block, Vec::new()));
    }
    Ok((send(file, request), Vec::new()))
}

/// `NtQuerySecurityObject`.
pub(super) fn security(file: &Arc<File>, information: u32, length: u32) -> Done {
    let pages = user(length as usize)?;
    let parameters = Parameters::of(QuerySecurity {
        information,
        pad0: 0,
        length,
        pad1: 0,
        buffer: address(pages.as_ref()),
        mdl: 0,
        pad2: [0; 2],
    });
    let mut block = send(file, Request::new(IRP_MJ_QUERY_SECURITY, parameters));
    if block.status == NtStatus::BUFFER_OVERFLOW {
        block.status = NtStatus::BUFFER_TOO_SMALL;
    }
    Ok((block, taken(pages.as_ref(), block, length)))
}
