//! The I/O manager's small services around volumes' and files' names.

use super::memory::{Guest, wide};
use super::{irql, object, pool};
use crate::abi::base::UnicodeString;
use crate::faults;
use crate::fltmgr;
use crate::namespace::DeviceId;
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};

/// `FO_REMOTE_ORIGIN`.
const REMOTE_ORIGIN: u32 = 0x0100_0000;

/// The DOS name of a volume's device.
fn dos_name(device: usize) -> Option<String> {
    let volume = fltmgr::volume_of_device(device)?;
    let machine = super::MACHINE.get()?;
    match volume.device {
        DeviceId::Mup | DeviceId::Driver => None,
        DeviceId::Volume(index) => machine
            .namespace
            .letter(index)
            .map(|letter| format!("{letter}:")),
    }
}

exports! { "ntoskrnl.exe";
    /// The DOS name of a volume, in pool that the caller frees.
    fn IoVolumeDeviceToDosName(device: usize, out: Guest<UnicodeString>) -> NtStatus {
        irql::at_most("IoVolumeDeviceToDosName", PASSIVE_LEVEL);
        if let Some(status) = faults::check("IoVolumeDeviceToDosName") {
            return status;
        }
        let Some(name) = dos_name(device) else { return NtStatus::INVALID_DEVICE_REQUEST };
        let units = wide(&name);
        let bytes = units.len() * 2;
        let Some(block) = pool::allocate(bytes + 2, u32::from_le_bytes(*b"Dosn"), pool::Kind::Paged, true) else {
            return NtStatus::INSUFFICIENT_RESOURCES;
        };
        Guest::<u16>::at(block).write_many(&units);
        let length = u16::try_from(bytes).unwrap_or(0);
        out.write(UnicodeString { length, maximum_length: length + 2, buffer: Guest::at(block).0 });
        NtStatus::SUCCESS
    }

    /// The same, by its older name.
    fn RtlVolumeDeviceToDosName(device: usize, out: Guest<UnicodeString>) -> NtStatus {
        IoVolumeDeviceToDosName(device, out)
    }

    /// The disk's device below a volume's file system, referenced.
    fn IoGetDiskDeviceObject(device: usize, out: Guest<usize>) -> NtStatus {
        irql::at_most("IoGetDiskDeviceObject", APC_LEVEL);
        let volume = fltmgr::volume_of_device(device).filter(|volume| volume.device_object == device);
        let disk = volume.and_then(|volume| volume.disk);
        let Some(disk) = disk else { return NtStatus::INVALID_PARAMETER };
        object::lend_device(disk);
        out.write(disk);
        NtStatus::SUCCESS
    }

    /// Whether a file was opened for somebody on another machine: what a file server says of its own.
    fn IoIsFileOriginRemote(file: usize) -> u8 {
        irql::at_most("IoIsFileOriginRemote", APC_LEVEL);
        let file = object::file(file, "IoIsFileOriginRemote");
        u8::from(file.object(|object| object.flags & REMOTE_ORIGIN != 0))
    }

    /// Says so.
    fn IoSetFileOrigin(file: usize, remote: u8) -> NtStatus {
        irql::at_most("IoSetFileOrigin", APC_LEVEL);
        let file = object::file(file, "IoSetFileOrigin");
        file.object(|object| {
            object.flags &= !REMOTE_ORIGIN;
            if remote != 0 {
                object.flags |= REMOTE_ORIGIN;
            }
        });
        NtStatus::SUCCESS
    }

    /// Whether a file is a paging file: none is open here.
    fn FsRtlIsPagingFile(file: usize) -> u8 {
        irql::at_most("FsRtlIsPagingFile", APC_LEVEL);
        object::file(file, "FsRtlIsPagingFile");
        0
    }

    /// Gives a file object another name, before it is open: what a create goes on with after `STATUS_REPARSE`.
    fn IoReplaceFileObjectName(file: usize, name: Guest<u16>, length: u16) -> NtStatus {
        irql::at_most("IoReplaceFileObjectName", APC_LEVEL);
        let file = object::file(file, "IoReplaceFileObjectName");
        if let Some(status) = faults::check("IoReplaceFileObjectName") {
            return status;
        }
        file.set_name(&name.read_many(usize::from(length / 2)));
        NtStatus::SUCCESS
    }
}
