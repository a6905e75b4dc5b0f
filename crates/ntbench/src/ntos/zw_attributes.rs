//! What a driver does to files by handles beside reading and writing: extended attributes, security, locks, the volume's
//! settings; and the two calls that name a file without opening it.
//!
//! `ZwQueryEaFile`, `ZwQuerySecurityObject`, `ZwLockFile`, `ZwDeleteFile`, `ZwQueryFullAttributesFile`.

use super::memory::Guest;
use super::sync::by_handle;
use super::zw::{Open, on_file, open_file};
use super::{handle, irql, object, pool};
use crate::abi::flt::KERNEL_MODE;
use crate::abi::io::{
    IRP_MJ_LOCK_CONTROL, IRP_MJ_QUERY_EA, IRP_MJ_QUERY_INFORMATION, IRP_MJ_QUERY_QUOTA,
    IRP_MJ_QUERY_SECURITY, IRP_MJ_SET_EA, IRP_MJ_SET_QUOTA, IRP_MJ_SET_SECURITY,
    IRP_MJ_SET_VOLUME_INFORMATION, IRP_MN_LOCK, IRP_MN_UNLOCK_SINGLE, IoStatusBlock,
    SL_EXCLUSIVE_LOCK, SL_FAIL_IMMEDIATELY, SL_INDEX_SPECIFIED, SL_RESTART_SCAN,
    SL_RETURN_SINGLE_ENTRY,
};
use crate::abi::ob::ObjectAttributes;
use crate::abi::params::{
    LockControl, Parameters, QueryEa, QueryQuota, QuerySecurity, SetEa, SetSecurity,
};
use crate::faults;
use crate::fltmgr::operation::Request;
use crate::fltmgr::requests::Caller;
use crate::namespace::eas;
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;

const TAG: u32 = u32::from_le_bytes(*b"ObSd");
/// Share everything.
const SHARE_ALL: u32 = 7;
/// `FILE_DISPOSITION_INFORMATION` and `FILE_NETWORK_OPEN_INFORMATION`, by their classes.
const DISPOSITION: u32 = 13;
const NETWORK_OPEN: u32 = 34;
const NETWORK_OPEN_BYTES: usize = 56;
/// `DELETE | SYNCHRONIZE` and `FILE_READ_ATTRIBUTES | SYNCHRONIZE`.
const DELETE: u32 = 0x11_0000;
const READ_ATTRIBUTES: u32 = 0x10_0080;
/// `FILE_SYNCHRONOUS_IO_NONALERT`, `FILE_OPEN_REPARSE_POINT`.
const SYNCHRONOUS: u32 = 0x20;
const REPARSE_POINT: u32 = 0x20_0000;

/// Where a list of extended attributes goes wrong; `None`: nowhere.
fn wrong_at(buffer: usize, length: u32) -> Option<u32> {
    let bytes = Guest::<u8>::at(buffer).read_many(length as usize);
    let wrong = eas::check(&bytes).err()?;
    Some(u32::try_from(wrong).unwrap_or(u32::MAX))
}

/// What goes down for a lock, or for giving it back.
struct Lock {
    minor: u8,
    flags: u8,
    offset: Guest<i64>,
    length: Guest<i64>,
    key: u32,
}

impl Lock {
    fn send(&self, caller: &Caller) -> IoStatusBlock {
        let length = self.length.read();
        let parameters = Parameters::of(LockControl {
            length: (&raw const length).expose_provenance(),
            key: self.key,
            pad0: 0,
            offset: self.offset.read(),
            process: super::attach::object(),
            fail_immediately: u8::from(self.flags & SL_FAIL_IMMEDIATELY != 0),
            exclusive: u8::from(self.flags & SL_EXCLUSIVE_LOCK != 0),
            pad1: 0,
            pad2: 0,
            pad3: 0,
        });
        caller.send(Request {
            minor: self.minor,
            flags: self.flags,
            ..Request::new(IRP_MJ_LOCK_CONTROL, parameters)
        })
    }
}

/// Opens a file by its name, does something with it, and closes it.
fn by_name(
    call: &str,
    attributes: Guest<ObjectAttributes>,
    (access, options): (u32, u32),
    act: impl FnOnce(u64) -> NtStatus,
) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    let attributes = attributes.read();
    if attributes.length as usize != size_of::<ObjectAttributes>() {
        return NtStatus::INVALID_PARAMETER;
    }
    let opened = open_file(
        &attributes,
        &Open {
            access,
            share: SHARE_ALL,
            disposition: crate::abi::file::FILE_OPEN,
            options: options | SYNCHRONOUS,
            attributes: 0x80,
            allocation: 0,
            eas: (0, 0),
        },
    );
    match opened {
        Ok((handle, _)) => {
            let status = act(handle);
            handle::close(handle, KERNEL_MODE);
            status
        }
        Err(block) => block.status,
    }
}

exports! { "ntoskrnl.exe";
    /// A file's extended attributes.
    fn ZwQueryEaFile(
        handle: u64, status: Guest<IoStatusBlock>, buffer: usize, length: u32, single: u8, list: usize,
        list_length: u32, index: Guest<u32>, restart: u8,
    ) -> NtStatus {
        on_file("ZwQueryEaFile", "nt!NtQueryEaFile", handle, status, |caller| {
            let given = index.read_opt();
            let parameters = Parameters::of(QueryEa {
                length, pad0: 0, list, list_length, pad1: 0, index: given.unwrap_or(0), pad2: 0, buffer, mdl: 0,
            });
            let flag = |set: bool, bit: u8| if set { bit } else { 0 };
            let flags = flag(restart != 0, SL_RESTART_SCAN)
                | flag(single != 0, SL_RETURN_SINGLE_ENTRY)
                | flag(given.is_some(), SL_INDEX_SPECIFIED);
            Ok(caller.send(Request { flags, ..Request::new(IRP_MJ_QUERY_EA, parameters) }))
        })
    }

    /// Changes them.
    fn ZwSetEaFile(handle: u64, status: Guest<IoStatusBlock>, buffer: usize, length: u32) -> NtStatus {
        on_file("ZwSetEaFile", "nt!NtSetEaFile", handle, status, |caller| {
            if let Some(at) = wrong_at(buffer, length) {
                return Ok(IoStatusBlock::new(NtStatus::EA_LIST_INCONSISTENT, at as usize));
            }
            let parameters = Parameters::of(SetEa { length, pad0: 0, buffer, mdl: 0, pad1: [0; 3] });
            Ok(caller.send(Request::new(IRP_MJ_SET_EA, parameters)))
        })
    }

    /// Asks for quotas.
    partial "no volume keeps quotas: filters see it, then STATUS_INVALID_DEVICE_REQUEST"
    fn ZwQueryQuotaInformationFile(
        handle: u64, status: Guest<IoStatusBlock>, buffer: usize, length: u32, single: u8, list: usize, list_length: u32,
        start: usize, restart: u8,
    ) -> NtStatus {
        on_file("ZwQueryQuotaInformationFile", "nt!NtQueryQuotaInformationFile", handle, status, |caller| {
            let parameters = Parameters::of(QueryQuota {
                length, pad0: 0, start_sid: start, list, list_length, pad1: 0, buffer, mdl: 0,
            });
            let flag = |set: bool, bit: u8| if set { bit } else { 0 };
            let flags = flag(restart != 0, SL_RESTART_SCAN)
                | flag(single != 0, SL_RETURN_SINGLE_ENTRY)
                | flag(start != 0 && list == 0, SL_INDEX_SPECIFIED);
            Ok(caller.send(Request { flags, ..Request::new(IRP_MJ_QUERY_QUOTA, parameters) }))
        })
    }

    /// Sets quotas.
    partial "no volume keeps quotas: filters see it, then STATUS_INVALID_DEVICE_REQUEST"
    fn ZwSetQuotaInformationFile(handle: u64, status: Guest<IoStatusBlock>, buffer: usize, length: u32) -> NtStatus {
        on_file("ZwSetQuotaInformationFile", "nt!NtSetQuotaInformationFile", handle, status, |caller| {
            let parameters = Parameters::of(SetEa { length, pad0: 0, buffer, mdl: 0, pad1: [0; 3] });
            Ok(caller.send(Request::new(IRP_MJ_SET_QUOTA, parameters)))
        })
    }

    /// Whether a list of extended attributes is one; where it goes wrong otherwise.
    fn IoCheckEaBufferValidity(buffer: usize, length: u32, at: Guest<u32>) -> NtStatus {
        irql::at_most("IoCheckEaBufferValidity", PASSIVE_LEVEL);
        match wrong_at(buffer, length) {
            Some(wrong) => {
                at.write(wrong);
                NtStatus::EA_LIST_INCONSISTENT
            }
            None => NtStatus::SUCCESS,
        }
    }

    /// A file's security descriptor.
    partial "of files; what was set, else one by which everybody may do everything; no audit list"
    fn ZwQuerySecurityObject(handle: u64, information: u32, buffer: usize, length: u32, needed: Guest<u32>) -> NtStatus {
        let mut told = 0;
        let status = on_file("ZwQuerySecurityObject", "nt!NtQuerySecurityObject", handle, Guest::at(0), |caller| {
            let parameters = Parameters::of(QuerySecurity {
                information, pad0: 0, length, pad1: 0, buffer, mdl: 0, pad2: [0; 2],
            });
            let done = caller.send(Request::new(IRP_MJ_QUERY_SECURITY, parameters));
            told = u32::try_from(done.information).unwrap_or(u32::MAX);
            Ok(done)
        });
        if told != 0 {
            needed.write(told);
        }
        if status == NtStatus::BUFFER_OVERFLOW { NtStatus::BUFFER_TOO_SMALL } else { status }
    }

    /// Changes it.
    partial "of files; self-relative descriptors alone, STATUS_BAD_DESCRIPTOR_FORMAT for others; kept and not enforced"
    fn ZwSetSecurityObject(handle: u64, information: u32, descriptor: usize) -> NtStatus {
        on_file("ZwSetSecurityObject", "nt!NtSetSecurityObject", handle, Guest::at(0), |caller| {
            let parameters = Parameters::of(SetSecurity { information, pad0: 0, descriptor, pad1: [0; 4] });
            Ok(caller.send(Request::new(IRP_MJ_SET_SECURITY, parameters)))
        })
    }

    /// An object's descriptor, in memory that `ObReleaseObjectSecurity` gives back; NULL for what has none.
    partial "of files, asked of the file system; other objects have none here"
    fn ObGetObjectSecurity(object: usize, out: Guest<usize>, allocated: Guest<u8>) -> NtStatus {
        const CALL: &str = "ObGetObjectSecurity";
        /// Owner, group, discretionary list.
        const INFORMATION: u32 = 7;
        irql::at_most(CALL, PASSIVE_LEVEL);
        out.write(0);
        allocated.write(0);
        if let Some(status) = faults::check(CALL) {
            return status;
        }
        let Some(object::Kind::File(file)) = object::at(object) else { return NtStatus::SUCCESS };
        let caller = Caller { instance: None, file, symbol: "nt!NtQuerySecurityObject" };
        let ask = |length: u32, buffer: usize| {
            let parameters = Parameters::of(QuerySecurity {
                information: INFORMATION, pad0: 0, length, pad1: 0, buffer, mdl: 0, pad2: [0; 2],
            });
            caller.send(Request::new(IRP_MJ_QUERY_SECURITY, parameters))
        };
        // It may become longer between the question how long it is and the one for it.
        let mut length = 0;
        for _ in 0..4 {
            let Some(block) = pool::lend(length.max(1), TAG, true) else { return NtStatus::INSUFFICIENT_RESOURCES };
            let done = ask(u32::try_from(length).unwrap_or(0), block);
            if done.status.is_success() {
                out.write(block);
                allocated.write(1);
                return NtStatus::SUCCESS;
            }
            pool::free(block, None);
            if !matches!(done.status, NtStatus::BUFFER_OVERFLOW | NtStatus::BUFFER_TOO_SMALL) {
                return done.status;
            }
            length = done.information;
        }
        NtStatus::BUFFER_TOO_SMALL
    }

    /// Gives it back.
    fn ObReleaseObjectSecurity(descriptor: usize, allocated: u8) {
        irql::at_most("ObReleaseObjectSecurity", PASSIVE_LEVEL);
        if descriptor != 0 && allocated != 0 {
            pool::free(descriptor, None);
        }
    }

    /// Changes something about the volume that a file is on.
    partial "the classes that the bench's file systems take"
    fn ZwSetVolumeInformationFile(
        handle: u64, status: Guest<IoStatusBlock>, buffer: usize, length: u32, class: u32,
    ) -> NtStatus {
        on_file("ZwSetVolumeInformationFile", "nt!NtSetVolumeInformationFile", handle, status, |caller| {
            Ok(caller.query(IRP_MJ_SET_VOLUME_INFORMATION, buffer, length, class))
        })
    }

    /// Locks a range of a file.
    partial "no asynchronous form: the call waits, APC routines are not called"
    fn ZwLockFile(
        handle: u64, event: u64, _apc: usize, _context: usize, status: Guest<IoStatusBlock>, offset: Guest<i64>,
        length: Guest<i64>, key: u32, fail: u8, exclusive: u8,
    ) -> NtStatus {
        on_file("ZwLockFile", "nt!NtLockFile", handle, status, |caller| {
            let event = by_handle::event_to_set(event)?;
            let flags = if fail != 0 { SL_FAIL_IMMEDIATELY } else { 0 }
                | if exclusive != 0 { SL_EXCLUSIVE_LOCK } else { 0 };
            let done = Lock { minor: IRP_MN_LOCK, flags, offset, length, key }.send(&caller);
            if let Some(event) = event {
                by_handle::set(&event);
            }
            Ok(done)
        })
    }

    /// Gives it back.
    fn ZwUnlockFile(
        handle: u64, status: Guest<IoStatusBlock>, offset: Guest<i64>, length: Guest<i64>, key: u32,
    ) -> NtStatus {
        on_file("ZwUnlockFile", "nt!NtUnlockFile", handle, status, |caller| {
            Ok(Lock { minor: IRP_MN_UNLOCK_SINGLE, flags: 0, offset, length, key }.send(&caller))
        })
    }

    /// Cancels what the current thread has begun on a file: nothing is under way when a call has returned.
    fn ZwCancelIoFile(handle: u64, status: Guest<IoStatusBlock>) -> NtStatus {
        on_file("ZwCancelIoFile", "nt!NtCancelIoFile", handle, status, |_| {
            Ok(IoStatusBlock::new(NtStatus::SUCCESS, 0))
        })
    }

    /// Deletes a file by its name.
    fn ZwDeleteFile(attributes: Guest<ObjectAttributes>) -> NtStatus {
        by_name("ZwDeleteFile", attributes, (DELETE, REPARSE_POINT), |handle| {
            on_file("ZwDeleteFile", "nt!NtDeleteFile", handle, Guest::at(0), |caller| {
                let delete = 1_u8;
                let at = (&raw const delete).expose_provenance();
                caller.set(at, 1, DISPOSITION).map(|status| IoStatusBlock::new(status, 0))
            })
        })
    }

    /// A file's times, lengths and attributes by its name.
    partial "opens the file and asks, never by fast I/O alone"
    fn ZwQueryFullAttributesFile(attributes: Guest<ObjectAttributes>, out: Guest<u8>) -> NtStatus {
        by_name("ZwQueryFullAttributesFile", attributes, (READ_ATTRIBUTES, REPARSE_POINT), |handle| {
            let mut answer = [0_u8; NETWORK_OPEN_BYTES];
            let at = answer.as_mut_ptr().expose_provenance();
            let length = u32::try_from(NETWORK_OPEN_BYTES).unwrap_or(0);
            let status = on_file("ZwQueryFullAttributesFile", "nt!NtQueryFullAttributesFile", handle, Guest::at(0), |caller| {
                Ok(caller.query(IRP_MJ_QUERY_INFORMATION, at, length, NETWORK_OPEN))
            });
            if status.is_success() {
                out.write_many(&Guest::<u8>::at(at).read_many(NETWORK_OPEN_BYTES));
            }
            status
        })
    }

    /// Asks about a file by its object, as the kernel.
    partial "the classes that the bench's file systems answer"
    fn IoQueryFileInformation(file: usize, class: u32, length: u32, buffer: usize, returned: Guest<u32>) -> NtStatus {
        by_object("IoQueryFileInformation", file, returned, |caller| {
            caller.query(IRP_MJ_QUERY_INFORMATION, buffer, length, class)
        })
    }

    /// Asks about a file's volume by its object, as the kernel.
    partial "the classes that the bench's file systems answer"
    fn IoQueryVolumeInformation(file: usize, class: u32, length: u32, buffer: usize, returned: Guest<u32>) -> NtStatus {
        by_object("IoQueryVolumeInformation", file, returned, |caller| {
            caller.query(crate::abi::io::IRP_MJ_QUERY_VOLUME_INFORMATION, buffer, length, class)
        })
    }

    /// Changes something about a file by its object, as the kernel.
    partial "times and attributes, position, lengths, deletion, rename and link; STATUS_INVALID_INFO_CLASS for others"
    fn IoSetInformation(file: usize, class: u32, length: u32, buffer: usize) -> NtStatus {
        by_object("IoSetInformation", file, Guest::at(0), |caller| {
            let status = caller.set(buffer, length, class).unwrap_or_else(|status| status);
            IoStatusBlock::new(status, 0)
        })
    }

    /// What the generic rights come to for files.
    fn IoGetFileObjectGenericMapping() -> usize {
        static MAPPING: [u32; 4] = [0x12_0089, 0x12_0116, 0x12_00A0, 0x1F_01FF];
        MAPPING.as_ptr().expose_provenance()
    }
}

fn by_object(
    call: &'static str,
    file: usize,
    returned: Guest<u32>,
    act: impl FnOnce(Caller) -> IoStatusBlock,
) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    irql::apcs_enabled(call);
    let done = act(Caller {
        instance: None,
        file: super::object::file(file, call),
        symbol: "nt!NtQueryInformationFile",
    });
    returned.write_opt(u32::try_from(done.information).unwrap_or(u32::MAX));
    done.status
}
