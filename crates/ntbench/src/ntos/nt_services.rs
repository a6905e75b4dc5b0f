//! The system services by their `Nt` names.
//!
//! "Using Nt and Zw Versions of the Native System Services Routines": what differs is the previous mode. In a program's
//! thread an `Nt` service takes its arguments for the program's: kernel handles are none, and a system address is no buffer.

use super::memory::Guest;
use super::ps_query::{ZwOpenProcess, ZwQueryInformationProcess, ZwQuerySystemInformation};
use super::section_create::ZwCreateSection;
use super::sync::by_handle::{ZwSetEvent, ZwWaitForSingleObject};
use super::zw::{
    ZwCreateFile, ZwDeviceIoControlFile, ZwFsControlFile, ZwOpenFile, ZwQueryDirectoryFile,
    ZwQueryInformationFile, ZwQueryVolumeInformationFile, ZwReadFile, ZwSetInformationFile,
    ZwWriteFile,
};
use super::zw_attributes::{
    ZwLockFile, ZwQueryEaFile, ZwQuerySecurityObject, ZwSetEaFile, ZwSetSecurityObject,
    ZwSetVolumeInformationFile, ZwUnlockFile,
};
use super::{handle, identity};
use crate::abi::base::{ClientId, UnicodeString};
use crate::abi::flt::USER_MODE;
use crate::abi::io::IoStatusBlock;
use crate::abi::ob::ObjectAttributes;
use crate::status::NtStatus;
use crate::user;

/// What the service answers before it begins, for a caller whose previous mode is the program's.
fn refused(handles: &[u64], addresses: &[usize]) -> Option<NtStatus> {
    if identity::ExGetPreviousMode() != USER_MODE {
        return None;
    }
    // The pseudo-handles are small negative numbers.
    let kernel = |handle: &u64| handle::is_kernel(*handle) && handle.cast_signed() < -6;
    if handles.iter().any(kernel) {
        return Some(NtStatus::INVALID_HANDLE);
    }
    let system = |address: &usize| !user::is_user(*address);
    addresses
        .iter()
        .any(system)
        .then_some(NtStatus::ACCESS_VIOLATION)
}

/// Declares services as their `Zw` forms with that check of the handles and addresses that are named.
macro_rules! services {
    ($($(#[$meta:meta])* $nt:ident = $zw:ident($($arg:ident: $ty:ty),*) handles($($handle:ident),*) addresses($($address:expr),*);)*) => {
        exports! { "ntoskrnl.exe";
            $($(#[$meta])*
            partial "in a program's thread, arguments are the program's; what such a call makes is the kernel's all the same"
            fn $nt($($arg: $ty),*) -> NtStatus {
                refused(&[$($handle),*], &[$($address),*]).unwrap_or_else(|| $zw($($arg),*))
            })*
        }
    };
}

services! {
    /// Opens or makes a file.
    NtCreateFile = ZwCreateFile(
        out: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, status: Guest<IoStatusBlock>,
        allocation: Guest<i64>, file_attributes: u32, share: u32, disposition: u32, options: u32, ea: usize,
        ea_length: u32
    ) handles() addresses(out.address(), attributes.address(), status.address());
    /// Opens a file.
    NtOpenFile = ZwOpenFile(
        out: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, status: Guest<IoStatusBlock>, share: u32,
        options: u32
    ) handles() addresses(out.address(), attributes.address(), status.address());
    /// Reads.
    NtReadFile = ZwReadFile(
        file: u64, event: u64, apc: usize, context: usize, status: Guest<IoStatusBlock>, buffer: usize, length: u32,
        offset: Guest<i64>, key: usize
    ) handles(file) addresses(status.address(), buffer, offset.address());
    /// Writes.
    NtWriteFile = ZwWriteFile(
        file: u64, event: u64, apc: usize, context: usize, status: Guest<IoStatusBlock>, buffer: usize, length: u32,
        offset: Guest<i64>, key: usize
    ) handles(file) addresses(status.address(), buffer, offset.address());
    /// Asks about a file.
    NtQueryInformationFile = ZwQueryInformationFile(
        file: u64, status: Guest<IoStatusBlock>, buffer: usize, length: u32, class: u32
    ) handles(file) addresses(status.address(), buffer);
    /// Changes something about a file.
    NtSetInformationFile = ZwSetInformationFile(
        file: u64, status: Guest<IoStatusBlock>, buffer: usize, length: u32, class: u32
    ) handles(file) addresses(status.address(), buffer);
    /// Asks about the volume that a file is on.
    NtQueryVolumeInformationFile = ZwQueryVolumeInformationFile(
        file: u64, status: Guest<IoStatusBlock>, buffer: usize, length: u32, class: u32
    ) handles(file) addresses(status.address(), buffer);
    /// Changes something about it.
    NtSetVolumeInformationFile = ZwSetVolumeInformationFile(
        file: u64, status: Guest<IoStatusBlock>, buffer: usize, length: u32, class: u32
    ) handles(file) addresses(status.address(), buffer);
    /// Lists a directory.
    NtQueryDirectoryFile = ZwQueryDirectoryFile(
        file: u64, event: u64, apc: usize, context: usize, status: Guest<IoStatusBlock>, buffer: usize, length: u32,
        class: u32, single: u8, name: Guest<UnicodeString>, restart: u8
    ) handles(file) addresses(status.address(), buffer, name.address());
    /// Sends a control to the file system.
    NtFsControlFile = ZwFsControlFile(
        file: u64, event: u64, apc: usize, context: usize, status: Guest<IoStatusBlock>, code: u32, input: usize,
        input_length: u32, output: usize, output_length: u32
    ) handles(file) addresses(status.address(), input, output);
    /// Sends a control to the device.
    NtDeviceIoControlFile = ZwDeviceIoControlFile(
        file: u64, event: u64, apc: usize, context: usize, status: Guest<IoStatusBlock>, code: u32, input: usize,
        input_length: u32, output: usize, output_length: u32
    ) handles(file) addresses(status.address(), input, output);
    /// A file's extended attributes.
    NtQueryEaFile = ZwQueryEaFile(
        file: u64, status: Guest<IoStatusBlock>, buffer: usize, length: u32, single: u8, list: usize,
        list_length: u32, index: Guest<u32>, restart: u8
    ) handles(file) addresses(status.address(), buffer, list, index.address());
    /// Changes them.
    NtSetEaFile = ZwSetEaFile(
        file: u64, status: Guest<IoStatusBlock>, buffer: usize, length: u32
    ) handles(file) addresses(status.address(), buffer);
    /// A file's security descriptor.
    NtQuerySecurityObject = ZwQuerySecurityObject(
        file: u64, information: u32, buffer: usize, length: u32, needed: Guest<u32>
    ) handles(file) addresses(buffer, needed.address());
    /// Changes it.
    NtSetSecurityObject = ZwSetSecurityObject(
        file: u64, information: u32, descriptor: usize
    ) handles(file) addresses(descriptor);
    /// Locks a range of a file.
    NtLockFile = ZwLockFile(
        file: u64, event: u64, apc: usize, context: usize, status: Guest<IoStatusBlock>, offset: Guest<i64>,
        length: Guest<i64>, key: u32, fail: u8, exclusive: u8
    ) handles(file) addresses(status.address(), offset.address(), length.address());
    /// Gives it back.
    NtUnlockFile = ZwUnlockFile(
        file: u64, status: Guest<IoStatusBlock>, offset: Guest<i64>, length: Guest<i64>, key: u32
    ) handles(file) addresses(status.address(), offset.address(), length.address());
    /// Makes a section.
    NtCreateSection = ZwCreateSection(
        out: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, length: Guest<i64>, protection: u32,
        kind: u32, file: u64
    ) handles(file) addresses(out.address(), attributes.address(), length.address());
    /// Waits for the object of a handle.
    NtWaitForSingleObject = ZwWaitForSingleObject(
        object: u64, alertable: u8, timeout: Guest<i64>
    ) handles(object) addresses(timeout.address());
    /// Signals an event.
    NtSetEvent = ZwSetEvent(event: u64, before: Guest<i32>) handles(event) addresses(before.address());
    /// A handle for a process.
    NtOpenProcess = ZwOpenProcess(
        out: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, client: Guest<ClientId>
    ) handles() addresses(out.address(), attributes.address(), client.address());
    /// What a class tells of a process.
    NtQueryInformationProcess = ZwQueryInformationProcess(
        process: u64, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>
    ) handles(process) addresses(buffer.address(), needed.address());
    /// What a class tells of the system.
    NtQuerySystemInformation = ZwQuerySystemInformation(
        class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>
    ) handles() addresses(buffer.address(), needed.address());
}
