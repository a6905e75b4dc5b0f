//! What a filter does with files below its instance: `FltReadFile`, `FltQueryInformationFile` and their kin.
//!
//! Each is an operation of its own that the filters below and the file system see, with the kernel as its requestor.

use std::sync::Arc;

use super::later::{self, Hold};
use super::objects;
use super::operation::Request;
use super::requests::Caller;
use super::transfers::TransferCall;
use crate::abi::base::UnicodeString;
use crate::abi::io::{
    IRP_MJ_DEVICE_CONTROL, IRP_MJ_FILE_SYSTEM_CONTROL, IRP_MJ_FLUSH_BUFFERS,
    IRP_MJ_QUERY_INFORMATION, IRP_MJ_QUERY_SECURITY, IRP_MJ_QUERY_VOLUME_INFORMATION, IRP_MJ_READ,
    IRP_MJ_SET_SECURITY, IRP_MJ_WRITE, IoStatusBlock, SL_RESTART_SCAN, SL_RETURN_SINGLE_ENTRY,
};
use crate::abi::params::{Parameters, QuerySecurity, SetSecurity};
use crate::ntos::memory::Guest;
use crate::ntos::{irql, object};
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;
use crate::{faults, verifier};

/// Instance and file of a call; `Err`: a fault rule hits it, or the two do not belong together.
pub(super) fn begin(
    function: &'static str,
    most_irql: u8,
    instance: usize,
    file: usize,
) -> Result<Caller, NtStatus> {
    irql::at_most(function, most_irql);
    irql::apcs_enabled(function);
    let (instance, file) = (
        objects::instance(instance, function),
        object::file(file, function),
    );
    if !Arc::ptr_eq(&instance.volume, &file.volume) {
        verifier::finding(
            "instance-of-other-volume",
            format!("{function} was given an instance on another volume than the file's"),
        );
        return Err(NtStatus::INVALID_PARAMETER);
    }
    match faults::check(function) {
        Some(status) => Err(status),
        None => Ok(Caller {
            instance: Some(instance),
            file,
            symbol: symbol(function),
        }),
    }
}

fn symbol(function: &str) -> &'static str {
    match function {
        "FltReadFile" | "FltReadFileEx" => "fltmgr!FltReadFile",
        "FltWriteFile" | "FltWriteFileEx" => "fltmgr!FltWriteFile",
        "FltQueryInformationFile" => "fltmgr!FltQueryInformationFile",
        "FltSetInformationFile" => "fltmgr!FltSetInformationFile",
        "FltQueryDirectoryFile" => "fltmgr!FltQueryDirectoryFile",
        "FltFsControlFile" | "FltTagFile" | "FltTagFileEx" | "FltUntagFile" => {
            "fltmgr!FltFsControlFile"
        }
        "FltDeviceIoControlFile" => "fltmgr!FltDeviceIoControlFile",
        "FltFlushBuffers" | "FltFlushBuffers2" => "fltmgr!FltFlushBuffers",
        "FltQuerySecurityObject" | "FltSetSecurityObject" => "fltmgr!FltQuerySecurityObject",
        _ => "fltmgr!FltQueryVolumeInformation",
    }
}

pub(super) fn short(information: usize) -> u32 {
    u32::try_from(information).unwrap_or(u32::MAX)
}

pub(super) fn finish(done: IoStatusBlock, returned: Guest<u32>) -> NtStatus {
    returned.write_opt(short(done.information));
    done.status
}

/// Makes a transfer and waits; or, where there is a routine to call back, does not wait, and tells nobody here how much was moved.
pub(super) fn go(
    transfer: TransferCall,
    moved: Guest<u32>,
    routine: usize,
    context: usize,
) -> NtStatus {
    if routine == 0 {
        return finish(transfer.run(), moved);
    }
    let Some(instance) = transfer.caller.instance.clone() else {
        return finish(transfer.run(), moved);
    };
    let Some(hold) = Hold::take(&instance, &transfer.caller.file) else {
        return NtStatus::FLT_DELETING_OBJECT;
    };
    let told = move |transfer: &TransferCall, done| {
        later::call_back(&instance, &transfer.caller.file, done, routine, context);
        drop(hold);
    };
    transfer.start(told).unwrap_or_else(|status| status)
}

/// The reparse buffer that `FltTagFile` and `FltUntagFile` are given in parts.
pub(super) fn tagged(tag: u32, guid: usize, data: &[u8]) -> Vec<u8> {
    let mut bytes = tag.to_le_bytes().to_vec();
    bytes.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend([0, 0]);
    if tag & 0x8000_0000 == 0 && guid != 0 {
        bytes.extend(Guest::<u8>::at(guid).read_many(16));
    }
    bytes.extend(data);
    bytes
}

pub(super) fn tag_control(call: &Caller, code: u32, bytes: &[u8]) -> NtStatus {
    let length = short(bytes.len());
    let at = bytes.as_ptr().expose_provenance();
    call.control(IRP_MJ_FILE_SYSTEM_CONTROL, code, (at, length), (0, 0))
        .status
}

const SET_REPARSE_POINT: u32 = 0x0009_00A4;
const DELETE_REPARSE_POINT: u32 = 0x0009_00AC;

exports! { "fltmgr.sys";
    /// Reads from a file.
    partial "there is no cache manager: each transfer goes to the file"
    fn FltReadFile(
        instance: usize, file: usize, offset: Guest<i64>, length: u32, buffer: usize, flags: u32, moved: Guest<u32>,
        routine: usize, context: usize,
    ) -> NtStatus {
        match begin("FltReadFile", PASSIVE_LEVEL, instance, file) {
            Ok(caller) => go(TransferCall { caller, major: IRP_MJ_READ, offset: offset.read_opt(), length, buffer, flags, key: 0, mdl: 0 }, moved, routine, context),
            Err(status) => status,
        }
    }

    /// Writes to a file.
    partial "there is no cache manager: each transfer goes to the file"
    fn FltWriteFile(
        instance: usize, file: usize, offset: Guest<i64>, length: u32, buffer: usize, flags: u32, moved: Guest<u32>,
        routine: usize, context: usize,
    ) -> NtStatus {
        match begin("FltWriteFile", PASSIVE_LEVEL, instance, file) {
            Ok(caller) => go(TransferCall { caller, major: IRP_MJ_WRITE, offset: offset.read_opt(), length, buffer, flags, key: 0, mdl: 0 }, moved, routine, context),
            Err(status) => status,
        }
    }

    /// Asks the file system below an instance about a file.
    partial "the classes that the bench's file systems answer; STATUS_INVALID_INFO_CLASS for others"
    fn FltQueryInformationFile(
        instance: usize, file: usize, buffer: usize, length: u32, class: u32, returned: Guest<u32>,
    ) -> NtStatus {
        match begin("FltQueryInformationFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => {
                let done = call.query(IRP_MJ_QUERY_INFORMATION, buffer, length, class);
                if done.status.0 >= 0 || done.status == NtStatus::BUFFER_OVERFLOW {
                    returned.write_opt(short(done.information));
                }
                done.status
            }
            Err(status) => status,
        }
    }

    /// Changes something about a file.
    partial "times and attributes, position, lengths, deletion, rename and link; STATUS_INVALID_INFO_CLASS for others"
    fn FltSetInformationFile(instance: usize, file: usize, buffer: usize, length: u32, class: u32) -> NtStatus {
        match begin("FltSetInformationFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => call.set(buffer, length, class).unwrap_or_else(|status| status),
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
            Ok(call) => finish(call.directory((buffer, length), class, flags, name.address()), returned),
            Err(status) => status,
        }
    }

    /// As `FltQueryDirectoryFile`, with the flags in one word.
    partial "SL_RESTART_SCAN and SL_RETURN_SINGLE_ENTRY; STATUS_NOT_SUPPORTED for other flags"
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
            Ok(call) => finish(call.directory((buffer, length), class, flags, name.address()), returned),
            Err(status) => status,
        }
    }

    /// Sends a control to the file system.
    partial "reparse points, oplocks, locking and dismounting a volume; STATUS_INVALID_DEVICE_REQUEST for other codes"
    fn FltFsControlFile(
        instance: usize, file: usize, code: u32, input: usize, input_length: u32, output: usize, output_length: u32,
        returned: Guest<u32>,
    ) -> NtStatus {
        match begin("FltFsControlFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => finish(
                call.control(IRP_MJ_FILE_SYSTEM_CONTROL, code, (input, input_length), (output, output_length)), returned,
            ),
            Err(status) => status,
        }
    }

    /// Sends a control to the device.
    partial "no device here knows a code: filters below see it, then STATUS_INVALID_DEVICE_REQUEST"
    fn FltDeviceIoControlFile(
        instance: usize, file: usize, code: u32, input: usize, input_length: u32, output: usize, output_length: u32,
        returned: Guest<u32>,
    ) -> NtStatus {
        match begin("FltDeviceIoControlFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => finish(
                call.control(IRP_MJ_DEVICE_CONTROL, code, (input, input_length), (output, output_length)), returned,
            ),
            Err(status) => status,
        }
    }

    /// Asks about the volume that a file is on.
    partial "the classes that the bench's file systems answer"
    fn FltQueryVolumeInformationFile(
        instance: usize, file: usize, buffer: usize, length: u32, class: u32, returned: Guest<u32>,
    ) -> NtStatus {
        match begin("FltQueryVolumeInformationFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => {
                let done = call.query(IRP_MJ_QUERY_VOLUME_INFORMATION, buffer, length, class);
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
    partial "what was set, else one by which everybody may do everything; no audit list"
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

    /// Changes it; it is kept, and nobody is denied anything by it.
    partial "self-relative descriptors alone, STATUS_BAD_DESCRIPTOR_FORMAT for others; kept and not enforced"
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
