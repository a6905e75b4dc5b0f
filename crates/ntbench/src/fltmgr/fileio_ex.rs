//! The rarer things that a filter does with files below its instance: transfers with a key or a list of its own, extended attributes,
//! quotas, kinds of flushes, a reparse point in another's place, transfers by lists of the file system's pages.

use super::extension;
use super::fileio::{begin, finish, go, tag_control, tagged};
use super::operation::Request;
use super::requests::Caller;
use super::transfers::TransferCall;
use crate::abi::io::{
    FO_VOLUME_OPEN, IRP_MJ_FLUSH_BUFFERS, IRP_MJ_MDL_READ, IRP_MJ_MDL_READ_COMPLETE,
    IRP_MJ_MDL_WRITE_COMPLETE, IRP_MJ_PREPARE_MDL_WRITE, IRP_MJ_QUERY_EA, IRP_MJ_QUERY_QUOTA,
    IRP_MJ_READ, IRP_MJ_SET_EA, IRP_MJ_SET_QUOTA, IRP_MJ_WRITE, IoStatusBlock, SL_INDEX_SPECIFIED,
    SL_RESTART_SCAN, SL_RETURN_SINGLE_ENTRY,
};
use crate::abi::params::{
    MdlComplete, MdlTransfer, MdlWriteComplete, Parameters, QueryEa, QueryQuota, SetEa,
};
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};

const SET_REPARSE_POINT_EX: u32 = 0x0009_040C;

/// The minor function of a kind of flush (`FLT_FLUSH_TYPE_…`).
fn flush_minor(kind: u32) -> Option<u8> {
    match kind {
        0 => Some(0),
        // FLUSH_AND_PURGE, FILE_DATA_ONLY, NO_SYNC, DATA_SYNC_ONLY.
        1 => Some(1),
        2 => Some(2),
        4 => Some(3),
        8 => Some(4),
        _ => None,
    }
}

fn flush(call: &Caller, kind: u32, origin: usize) -> NtStatus {
    let on_volume = call
        .file
        .object(|object| object.flags & FO_VOLUME_OPEN != 0);
    let directory = call.file.opened().is_some_and(|open| open.is_directory());
    let minor = match flush_minor(kind) {
        // What moves less than everything is for files.
        Some(2..) if on_volume => None,
        Some(4) if directory => None,
        minor => minor,
    };
    let Some(minor) = minor else {
        return NtStatus::INVALID_PARAMETER;
    };
    let request = Request {
        minor,
        origin,
        ..Request::new(IRP_MJ_FLUSH_BUFFERS, Parameters::default())
    };
    call.send(request).status
}

/// Flags of a query that goes through a list.
fn scan_flags(restart: u8, single: u8, indexed: bool) -> u8 {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    flag(restart != 0, SL_RESTART_SCAN)
        | flag(single != 0, SL_RETURN_SINGLE_ENTRY)
        | flag(indexed, SL_INDEX_SPECIFIED)
}

/// A transfer by lists: whether it was done, and its status where the caller wants that.
fn by_list(
    caller: Result<Caller, NtStatus>,
    major: u8,
    parameters: Parameters,
    out: Guest<IoStatusBlock>,
) -> u8 {
    let done = caller
        .ok()
        .and_then(|caller| caller.fast(major, parameters));
    let done = done.unwrap_or(IoStatusBlock::new(NtStatus::NOT_SUPPORTED, 0));
    out.write_opt(done);
    u8::from(done.status.is_success())
}

/// The parameters by which pages are asked for.
fn lend(offset: i64, length: u32, key: u32, chain: usize) -> Parameters {
    Parameters::of(MdlTransfer {
        offset,
        length,
        pad0: 0,
        key,
        pad1: 0,
        chain,
        pad2: [0; 2],
    })
}

/// A transfer whose buffer is described by the filter, or is not; `None`: both were given.
fn described(transfer: TransferCall) -> Option<TransferCall> {
    (transfer.buffer == 0 || transfer.mdl == 0).then_some(transfer)
}

exports! { "fltmgr.sys";
    /// Reads from a file, with a key for locked ranges, into a buffer or into what a list describes.
    partial "there is no cache manager: each transfer goes to the file"
    fn FltReadFileEx(
        instance: usize, file: usize, offset: Guest<i64>, length: u32, buffer: usize, flags: u32, moved: Guest<u32>,
        routine: usize, context: usize, key: Guest<u32>, mdl: usize,
    ) -> NtStatus {
        match begin("FltReadFileEx", PASSIVE_LEVEL, instance, file) {
            Ok(caller) => {
                let key = key.read_opt().unwrap_or(0);
                let transfer = TransferCall { caller, major: IRP_MJ_READ, offset: offset.read_opt(), length, buffer, flags, key, mdl };
                described(transfer).map_or(NtStatus::INVALID_PARAMETER, |transfer| go(transfer, moved, routine, context))
            }
            Err(status) => status,
        }
    }

    /// Writes to a file in the same way.
    partial "there is no cache manager: each transfer goes to the file"
    fn FltWriteFileEx(
        instance: usize, file: usize, offset: Guest<i64>, length: u32, buffer: usize, flags: u32, moved: Guest<u32>,
        routine: usize, context: usize, key: Guest<u32>, mdl: usize,
    ) -> NtStatus {
        match begin("FltWriteFileEx", PASSIVE_LEVEL, instance, file) {
            Ok(caller) => {
                let key = key.read_opt().unwrap_or(0);
                let transfer = TransferCall { caller, major: IRP_MJ_WRITE, offset: offset.read_opt(), length, buffer, flags, key, mdl };
                described(transfer).map_or(NtStatus::INVALID_PARAMETER, |transfer| go(transfer, moved, routine, context))
            }
            Err(status) => status,
        }
    }

    /// Has a file written out, or a part of what that means; with the extension of the operation that it is done for.
    partial "filters below see what kind it is; the file system writes everything out"
    fn FltFlushBuffers2(instance: usize, file: usize, kind: u32, data: usize) -> NtStatus {
        match begin("FltFlushBuffers2", PASSIVE_LEVEL, instance, file) {
            Ok(call) => {
                let origin = if data != 0 && extension::is_irp(data) { data } else { 0 };
                flush(&call, kind, origin)
            }
            Err(status) => status,
        }
    }

    /// A file's extended attributes.
    fn FltQueryEaFile(
        instance: usize, file: usize, buffer: usize, length: u32, single: u8, list: usize, list_length: u32,
        index: Guest<u32>, restart: u8, returned: Guest<u32>,
    ) -> NtStatus {
        match begin("FltQueryEaFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => {
                let index = index.read_opt().filter(|_| list == 0);
                let parameters = Parameters::of(QueryEa {
                    length, pad0: 0, list, list_length, pad1: 0, index: index.unwrap_or(0), pad2: 0, buffer, mdl: 0,
                });
                let flags = scan_flags(restart, single, index.is_some());
                finish(call.send(Request { flags, ..Request::new(IRP_MJ_QUERY_EA, parameters) }), returned)
            }
            Err(status) => status,
        }
    }

    /// Sets extended attributes.
    fn FltSetEaFile(instance: usize, file: usize, buffer: usize, length: u32) -> NtStatus {
        match begin("FltSetEaFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => {
                let parameters = Parameters::of(SetEa { length, pad0: 0, buffer, mdl: 0, pad1: [0; 3] });
                call.send(Request::new(IRP_MJ_SET_EA, parameters)).status
            }
            Err(status) => status,
        }
    }

    /// Asks for quotas.
    partial "no volume keeps quotas: filters below see it, then STATUS_INVALID_DEVICE_REQUEST"
    fn FltQueryQuotaInformationFile(
        instance: usize, file: usize, status: Guest<IoStatusBlock>, buffer: usize, length: u32, single: u8, list: usize,
        list_length: u32, start: usize, restart: u8, returned: Guest<u32>,
    ) -> NtStatus {
        match begin("FltQueryQuotaInformationFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => {
                let parameters = Parameters::of(QueryQuota {
                    length, pad0: 0, start_sid: start, list, list_length, pad1: 0, buffer, mdl: 0,
                });
                let flags = scan_flags(restart, single, start != 0 && list == 0);
                let done = call.send(Request { flags, ..Request::new(IRP_MJ_QUERY_QUOTA, parameters) });
                status.write_opt(done);
                finish(done, returned)
            }
            Err(status) => status,
        }
    }

    /// Sets quotas.
    partial "no volume keeps quotas: filters below see it, then STATUS_INVALID_DEVICE_REQUEST"
    fn FltSetQuotaInformationFile(instance: usize, file: usize, buffer: usize, length: u32) -> NtStatus {
        match begin("FltSetQuotaInformationFile", PASSIVE_LEVEL, instance, file) {
            Ok(call) => {
                let parameters = Parameters::of(SetEa { length, pad0: 0, buffer, mdl: 0, pad1: [0; 3] });
                call.send(Request::new(IRP_MJ_SET_QUOTA, parameters)).status
            }
            Err(status) => status,
        }
    }

    /// Makes a file a reparse point, in the place of the one that it is said to be, or of none.
    fn FltTagFileEx(
        instance: usize, file: usize, tag: u32, guid: usize, data: Guest<u8>, length: u16, existing: u32,
        existing_guid: usize, flags: u32,
    ) -> NtStatus {
        match begin("FltTagFileEx", PASSIVE_LEVEL, instance, file) {
            Ok(call) => {
                let mut bytes = flags.to_le_bytes().to_vec();
                bytes.extend(existing.to_le_bytes());
                if existing_guid == 0 {
                    bytes.extend([0; 16]);
                } else {
                    bytes.extend(Guest::<u8>::at(existing_guid).read_many(16));
                }
                bytes.extend([0; 8]);
                bytes.extend(tagged(tag, guid, &data.read_many(usize::from(length))));
                tag_control(&call, SET_REPARSE_POINT_EX, &bytes)
            }
            Err(status) => status,
        }
    }

    /// Lends the file system's pages with a part of a file.
    fn FltFastIoMdlRead(
        instance: usize, file: usize, offset: Guest<i64>, length: u32, key: u32, chain: usize, status: Guest<IoStatusBlock>,
    ) -> u8 {
        let caller = begin("FltFastIoMdlRead", APC_LEVEL, instance, file);
        by_list(caller, IRP_MJ_MDL_READ, lend(offset.read(), length, key, chain), status)
    }

    /// Gives them back.
    fn FltFastIoMdlReadComplete(instance: usize, file: usize, chain: usize) -> u8 {
        let caller = begin("FltFastIoMdlReadComplete", APC_LEVEL, instance, file);
        let parameters = Parameters::of(MdlComplete { chain, pad0: [0; 5] });
        by_list(caller, IRP_MJ_MDL_READ_COMPLETE, parameters, Guest::at(0))
    }

    /// Lends the file system's pages for a part of a file.
    fn FltFastIoPrepareMdlWrite(
        instance: usize, file: usize, offset: Guest<i64>, length: u32, key: u32, chain: usize, status: Guest<IoStatusBlock>,
    ) -> u8 {
        let caller = begin("FltFastIoPrepareMdlWrite", APC_LEVEL, instance, file);
        by_list(caller, IRP_MJ_PREPARE_MDL_WRITE, lend(offset.read(), length, key, chain), status)
    }

    /// Has what was put into them written.
    fn FltFastIoMdlWriteComplete(instance: usize, file: usize, offset: Guest<i64>, chain: usize) -> u8 {
        let caller = begin("FltFastIoMdlWriteComplete", APC_LEVEL, instance, file);
        let parameters = Parameters::of(MdlWriteComplete { offset: offset.read(), chain, pad0: [0; 4] });
        by_list(caller, IRP_MJ_MDL_WRITE_COMPLETE, parameters, Guest::at(0))
    }
}
