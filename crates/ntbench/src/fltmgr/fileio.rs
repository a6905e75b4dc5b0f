//! What a filter does with files below its instance: `FltReadFile`, `FltQueryInformationFile` and their kin.
//!
//! Each is an operation of its own that the filters below and the file system see, with the kernel as its requestor.

use std::sync::Arc;

use super::frames::frames;
use super::objects::{self, Instance};
use super::op;
use super::operation::{Request, send};
use crate::abi::base::UnicodeString;
use crate::abi::flt::{
    FLTFL_CALLBACK_DATA_GENERATED_IO, FLTFL_CALLBACK_DATA_SYSTEM_BUFFER, KERNEL_MODE,
};
use crate::abi::io::{
    FO_SYNCHRONOUS_IO, IRP_BUFFERED_IO, IRP_MJ_DEVICE_CONTROL, IRP_MJ_DIRECTORY_CONTROL,
    IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MJ_FLUSH_BUFFERS, IRP_MJ_QUERY_INFORMATION,
    IRP_MJ_QUERY_SECURITY, IRP_MJ_QUERY_VOLUME_INFORMATION, IRP_MJ_READ, IRP_MJ_SET_INFORMATION,
    IRP_MJ_SET_SECURITY, IRP_MJ_WRITE, IRP_MN_QUERY_DIRECTORY, IRP_NOCACHE, IRP_PAGING_IO,
    IRP_READ_OPERATION, IRP_SYNCHRONOUS_API, IRP_WRITE_OPERATION, IoStatusBlock, SL_RESTART_SCAN,
    SL_RETURN_SINGLE_ENTRY,
};
use crate::abi::params::{
    Control, Parameters, QueryDirectory, QueryInformation, QuerySecurity, SetInformation,
    SetSecurity, Transfer,
};
use crate::ntos::file::File;
use crate::ntos::memory::Guest;
use crate::ntos::syscall::SystemBuffer;
use crate::ntos::{iomgr, irql, mdl, object, worker};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};
use crate::{faults, stack, user, verifier};

/// `FLTFL_IO_OPERATION_NON_CACHED`, `_PAGING`, `_DO_NOT_UPDATE_BYTE_OFFSET`, `_SYNCHRONOUS_PAGING`.
const NON_CACHED: u32 = 1;
const PAGING: u32 = 2;
const KEEP_BYTE_OFFSET: u32 = 4;
const SYNCHRONOUS_PAGING: u32 = 8;

/// Instance and file of a call, and whether a fault rule hits it.
struct Call {
    instance: Arc<Instance>,
    file: Arc<File>,
    function: &'static str,
}

fn begin(
    function: &'static str,
    most_irql: u8,
    instance: usize,
    file: usize,
) -> Result<Call, NtStatus> {
    irql::at_most(function, most_irql);
    irql::apcs_enabled(function);
    let call = Call {
        instance: objects::instance(instance, function),
        file: object::file(file, function),
        function,
    };
    if !Arc::ptr_eq(&call.instance.volume, &call.file.volume) {
        verifier::finding(
            "instance-of-other-volume",
            format!("{function} was given an instance on another volume than the file's"),
        );
        return Err(NtStatus::INVALID_PARAMETER);
    }
    match faults::check(function) {
        Some(status) => Err(status),
        None => Ok(call),
    }
}

impl Call {
    fn symbol(&self) -> &'static str {
        match self.function {
            "FltReadFile" => "fltmgr!FltReadFile",
            "FltWriteFile" => "fltmgr!FltWriteFile",
            "FltQueryInformationFile" => "fltmgr!FltQueryInformationFile",
            "FltSetInformationFile" => "fltmgr!FltSetInformationFile",
            "FltQueryDirectoryFile" => "fltmgr!FltQueryDirectoryFile",
            "FltFsControlFile" | "FltTagFile" | "FltUntagFile" => "fltmgr!FltFsControlFile",
            "FltDeviceIoControlFile" => "fltmgr!FltDeviceIoControlFile",
            "FltFlushBuffers" => "fltmgr!FltFlushBuffers",
            "FltQuerySecurityObject" | "FltSetSecurityObject" => "fltmgr!FltQuerySecurityObject",
            _ => "fltmgr!FltQueryVolumeInformation",
        }
    }

    fn send(&self, request: Request<'_>) -> IoStatusBlock {
        let around = frames([self.symbol()]);
        stack::with_frames(&around, || {
            send(
                &self.file,
                &Request {
                    irp_flags: request.irp_flags | IRP_SYNCHRONOUS_API,
                    data_flags: request.data_flags | FLTFL_CALLBACK_DATA_GENERATED_IO,
                    below: Some(&self.instance),
                    ..request
                },
            )
        })
    }

    /// As [`send`](Self::send), with a buffer that is the caller's own system memory.
    fn buffered(&self, major: u8, parameters: Parameters) -> IoStatusBlock {
        self.send(Request {
            irp_flags: IRP_BUFFERED_IO,
            data_flags: FLTFL_CALLBACK_DATA_SYSTEM_BUFFER,
            ..Request::new(major, parameters)
        })
    }
}

fn short(information: usize) -> u32 {
    u32::try_from(information).unwrap_or(u32::MAX)
}

/// What `FltReadFile` and `FltWriteFile` share.
struct TransferCall {
    call: Call,
    major: u8,
    offset: Option<i64>,
    length: u32,
    buffer: usize,
    flags: u32,
}

impl TransferCall {
    fn run(&self) -> IoStatusBlock {
        let file = &self.call.file;
        let synchronous = file.object(|object| object.flags & FO_SYNCHRONOUS_IO != 0);
        let before = file.object(|object| object.current_byte_offset);
        let offset = match self.offset {
            Some(offset) => offset,
            None if synchronous => before,
            None => return IoStatusBlock::new(NtStatus::INVALID_PARAMETER, 0),
        };
        let paging = self.flags & (PAGING | SYNCHRONOUS_PAGING) != 0;
        // The Filter Manager describes a buffer in system space for what works without its caller.
        let list = if paging && !user::is_user(self.buffer) {
            let list = mdl::allocate(self.buffer, self.length, None);
            if mdl::lock_pages(list, self.major == IRP_MJ_READ).is_err() {
                mdl::free(list);
                return IoStatusBlock::new(NtStatus::INSUFFICIENT_RESOURCES, 0);
            }
            list
        } else {
            0
        };
        let kind = if self.major == IRP_MJ_READ {
            IRP_READ_OPERATION
        } else {
            IRP_WRITE_OPERATION
        };
        let parameters = Parameters::of(Transfer {
            length: self.length,
            pad0: 0,
            key: 0,
            pad1: 0,
            offset,
            buffer: self.buffer,
            mdl: list,
            pad2: 0,
        });
        let irp_flags =
            kind | if self.flags & NON_CACHED != 0 || paging {
                IRP_NOCACHE
            } else {
                0
            } | if paging { IRP_PAGING_IO } else { 0 };
        let done = self.call.send(Request {
            irp_flags,
            ..Request::new(self.major, parameters)
        });
        if list != 0 {
            mdl::free(list);
        }
        if self.flags & KEEP_BYTE_OFFSET != 0 {
            file.object(|object| object.current_byte_offset = before);
        }
        done
    }

    /// Runs it here; or, where there is a routine to call back, in a system thread.
    fn go(self, moved: Guest<u32>, routine: usize, context: usize) -> NtStatus {
        if routine == 0 {
            let done = self.run();
            moved.write_opt(short(done.information));
            return done.status;
        }
        let address = moved.address();
        worker::queue(move || {
            let done = self.run();
            if address != 0 {
                Guest::<u32>::at(address).write(short(done.information));
            }
            super::issue::call_back(&self.call.instance, &self.call.file, done, routine, context);
        });
        NtStatus::PENDING
    }
}

fn control(
    major: u8,
    call: &Call,
    code: u32,
    (input, input_length): (usize, u32),
    (output, output_length): (usize, u32),
    returned: Guest<u32>,
) -> NtStatus {
    let arm = |input: usize, output: usize| {
        Parameters::of(Control {
            output_length,
            pad0: 0,
            input_length,
            pad1: 0,
            code,
            pad2: 0,
            input,
            output,
            output_mdl: 0,
        })
    };
    if code & 3 != 0 {
        let done = call.send(Request::new(major, arm(input, output)));
        returned.write_opt(short(done.information));
        return done.status;
    }
    let bytes = Guest::<u8>::at(input).read_many(input_length as usize);
    let Ok(buffer) = SystemBuffer::new(output_length as usize, &bytes) else {
        return NtStatus::INSUFFICIENT_RESOURCES;
    };
    let done = call.buffered(major, arm(buffer.address(), 0));
    Guest::<u8>::at(output).write_many(&buffer.taken(done, output_length));
    returned.write_opt(short(done.information));
    done.status
}

fn query(major: u8, call: &Call, buffer: usize, length: u32, class: u32) -> IoStatusBlock {
    let parameters = Parameters::of(QueryInformation {
        length,
        pad0: 0,
        class,
        pad1: 0,
        buffer,
        pad2: [0; 3],
    });
    call.buffered(major, parameters)
}

fn set(call: &Call, buffer: usize, length: u32, class: u32) -> Result<NtStatus, NtStatus> {
    let bytes = Guest::<u8>::at(buffer).read_many(length as usize);
    let (target, replace) = match op::names_target(class) {
        Some(extended) => {
            let (name, root, replace) = op::rename_target(&bytes, extended)?;
            let root = iomgr::root(root, KERNEL_MODE)?;
            let below = Some(&call.instance);
            (
                iomgr::open_target(&call.file, &name, root, KERNEL_MODE, below)?,
                replace,
            )
        }
        None => (None, false),
    };
    let parameters = Parameters::of(SetInformation {
        length,
        pad0: 0,
        class,
        pad1: 0,
        parent_of_target: target.as_ref().map_or(0, |target| target.address()),
        replace_if_exists: u8::from(replace),
        advance_only: 0,
        pad2: 0,
        pad3: 0,
        buffer,
        pad4: 0,
    });
    let done = call.buffered(IRP_MJ_SET_INFORMATION, parameters);
    if let Some(target) = target {
        target.close_handle();
    }
    Ok(done.status)
}

fn directory(
    call: &Call,
    (buffer, length): (usize, u32),
    class: u32,
    flags: u8,
    name: usize,
    returned: Guest<u32>,
) -> NtStatus {
    let parameters = Parameters::of(QueryDirectory {
        length,
        pad0: 0,
        file_name: name,
        class,
        pad1: 0,
        file_index: 0,
        pad2: 0,
        buffer,
        mdl: 0,
    });
    let done = call.send(Request {
        minor: IRP_MN_QUERY_DIRECTORY,
        flags,
        ..Request::new(IRP_MJ_DIRECTORY_CONTROL, parameters)
    });
    returned.write_opt(short(done.information));
    done.status
}

/// The reparse buffer that `FltTagFile` and `FltUntagFile` are given in parts.
fn tagged(tag: u32, guid: usize, data: &[u8]) -> Vec<u8> {
    let mut bytes = tag.to_le_bytes().to_vec();
    bytes.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend([0, 0]);
    if tag & 0x8000_0000 == 0 && guid != 0 {
        bytes.extend(Guest::<u8>::at(guid).read_many(16));
    }
    bytes.extend(data);
    bytes
}

fn tag_control(call: &Call, code: u32, bytes: &[u8]) -> NtStatus {
    let length = short(bytes.len());
    let at = bytes.as_ptr().expose_provenance();
    control(
        IRP_MJ_FILE_SYSTEM_CONTROL,
        call,
        code,
        (at, length),
        (0, 0),
        Guest::at(0),
    )
}

const SET_REPARSE_POINT: u32 = 0x0009_00A4;
const DELETE_REPARSE_POINT: u32 = 0x0009_00AC;

exports! { "fltmgr.sys";
    /// Reads from a file.
    fn FltReadFile(
        instance: usize, file: usize, offset: Guest<i64>, length: u32, buffer: usize, flags: u32, moved: Guest<u32>,
        routine: usize, context: usize,
    ) -> NtStatus {
        match begin("FltReadFile", APC_LEVEL, instance, file) {
            Ok(call) => TransferCall { call, major: IRP_MJ_READ, offset: offset.read_opt(), length, buffer, flags }
                .go(moved, routine, context),
            Err(status) => status,
        }
    }

    /// Writes to a file.
    fn FltWriteFile(
        instance: usize, file: usize, offset: Guest<i64>, length: u32, buffer: usize, flags: u32, moved: Guest<u32>,
        routine: usize, context: usize,
    ) -> NtStatus {
        match begin("FltWriteFile", APC_LEVEL, instance, file) {
            Ok(call) => TransferCall { call, major: IRP_MJ_WRITE, offset: offset.read_opt(), length, buffer, flags }
                .go(moved, routine, context),
            Err(status) => status,
        }
    }

    /// Asks the file system below an instance about a file.
    fn FltQueryInformationFile(
        instance: usize, file: usize, buffer: usize, length: u32, class: u32, returned: Guest<u32>,
    ) -> NtStatus {
        match begin("FltQueryInformationFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => {
                let done = query(IRP_MJ_QUERY_INFORMATION, &call, buffer, length, class);
                if done.status.0 >= 0 || done.status == NtStatus::BUFFER_OVERFLOW {
                    returned.write_opt(short(done.information));
                }
                done.status
            }
            Err(status) => status,
        }
    }

    /// Changes something about a file.
    fn FltSetInformationFile(instance: usize, file: usize, buffer: usize, length: u32, class: u32) -> NtStatus {
        match begin("FltSetInformationFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => set(&call, buffer, length, class).unwrap_or_else(|status| status),
            Err(status) => status,
        }
    }

    /// Lists a directory.
    fn FltQueryDirectoryFile(
        instance: usize, file: usize, buffer: usize, length: u32, class: u32, single: u8, name: Guest<UnicodeString>,
        restart: u8, returned: Guest<u32>,
    ) -> NtStatus {
        let flags = if restart != 0 { SL_RESTART_SCAN } else { 0 }
            | if single != 0 { SL_RETURN_SINGLE_ENTRY } else { 0 };
        match begin("FltQueryDirectoryFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => directory(&call, (buffer, length), class, flags, name.address(), returned),
            Err(status) => status,
        }
    }

    /// As `FltQueryDirectoryFile`, with the flags in one word.
    fn FltQueryDirectoryFileEx(
        instance: usize, file: usize, buffer: usize, length: u32, class: u32, flags: u32, name: Guest<UnicodeString>,
        returned: Guest<u32>,
    ) -> NtStatus {
        let known = u32::from(SL_RESTART_SCAN | SL_RETURN_SINGLE_ENTRY);
        if flags & !known != 0 {
            return NtStatus::NOT_SUPPORTED;
        }
        let flags = u8::try_from(flags).unwrap_or(0);
        match begin("FltQueryDirectoryFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => directory(&call, (buffer, length), class, flags, name.address(), returned),
            Err(status) => status,
        }
    }

    /// Sends a control to the file system.
    fn FltFsControlFile(
        instance: usize, file: usize, code: u32, input: usize, input_length: u32, output: usize, output_length: u32,
        returned: Guest<u32>,
    ) -> NtStatus {
        match begin("FltFsControlFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => control(
                IRP_MJ_FILE_SYSTEM_CONTROL, &call, code, (input, input_length), (output, output_length), returned,
            ),
            Err(status) => status,
        }
    }

    /// Sends a control to the device.
    fn FltDeviceIoControlFile(
        instance: usize, file: usize, code: u32, input: usize, input_length: u32, output: usize, output_length: u32,
        returned: Guest<u32>,
    ) -> NtStatus {
        match begin("FltDeviceIoControlFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => control(
                IRP_MJ_DEVICE_CONTROL, &call, code, (input, input_length), (output, output_length), returned,
            ),
            Err(status) => status,
        }
    }

    /// Asks about the volume that a file is on.
    fn FltQueryVolumeInformationFile(
        instance: usize, file: usize, buffer: usize, length: u32, class: u32, returned: Guest<u32>,
    ) -> NtStatus {
        match begin("FltQueryVolumeInformationFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => {
                let done = query(IRP_MJ_QUERY_VOLUME_INFORMATION, &call, buffer, length, class);
                returned.write_opt(short(done.information));
                done.status
            }
            Err(status) => status,
        }
    }

    /// Has a file's data written out.
    fn FltFlushBuffers(instance: usize, file: usize) -> NtStatus {
        match begin("FltFlushBuffers", PASSIVE_LEVEL, instance, file) {
            Ok(call) => call.send(Request::new(IRP_MJ_FLUSH_BUFFERS, Parameters::default())).status,
            Err(status) => status,
        }
    }

    /// A file's security descriptor.
    fn FltQuerySecurityObject(
        instance: usize, file: usize, information: u32, buffer: usize, length: u32, needed: Guest<u32>,
    ) -> NtStatus {
        match begin("FltQuerySecurityObject", PASSIVE_LEVEL, instance, file) {
            Ok(call) => {
                let parameters = Parameters::of(QuerySecurity {
                    information, pad0: 0, length, pad1: 0, buffer, mdl: 0, pad2: [0; 2],
                });
                let done = call.send(Request::new(IRP_MJ_QUERY_SECURITY, parameters));
                needed.write_opt(short(done.information));
                if done.status == NtStatus::BUFFER_OVERFLOW { NtStatus::BUFFER_TOO_SMALL } else { done.status }
            }
            Err(status) => status,
        }
    }

    /// Changes it; the file systems here keep none.
    fn FltSetSecurityObject(instance: usize, file: usize, information: u32, descriptor: usize) -> NtStatus {
        match begin("FltSetSecurityObject", PASSIVE_LEVEL, instance, file) {
            Ok(call) => {
                let parameters = Parameters::of(SetSecurity { information, pad0: 0, descriptor, pad1: [0; 4] });
                call.send(Request::new(IRP_MJ_SET_SECURITY, parameters)).status
            }
            Err(status) => status,
        }
    }

    /// Makes a file a reparse point.
    fn FltTagFile(instance: usize, file: usize, tag: u32, guid: usize, data: Guest<u8>, length: u16) -> NtStatus {
        match begin("FltTagFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => {
                let bytes = tagged(tag, guid, &data.read_many(usize::from(length)));
                tag_control(&call, SET_REPARSE_POINT, &bytes)
            }
            Err(status) => status,
        }
    }

    /// Makes it an ordinary file again.
    fn FltUntagFile(instance: usize, file: usize, tag: u32, guid: usize) -> NtStatus {
        match begin("FltUntagFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => tag_control(&call, DELETE_REPARSE_POINT, &tagged(tag, guid, &[])),
            Err(status) => status,
        }
    }
}
