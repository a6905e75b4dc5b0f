//! Small services of the file system run-time library.
//!
//! `FsRtlIsTotalDeviceFailure`, `FsRtlNormalizeNtstatus`, `FsRtlAllocatePoolWithTag`, `FsRtlRemoveDotsFromPath`,
//! `FsRtlValidateReparsePointBuffer`, `FsRtlCancellableWaitForSingleObject`.

use super::memory::Guest;
use super::sync::wait;
use super::{irql, pool_api};
use crate::abi::irp::Irp;
use crate::namespace::names::BACKSLASH;
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};

/// `REPARSE_DATA_BUFFER` up to its data, and with the GUID of a third party's.
const HEADER: u32 = 8;
const GUID_HEADER: u32 = 24;
/// `MAXIMUM_REPARSE_DATA_BUFFER_SIZE`.
const MOST: u32 = 16 * 1024;
/// `IO_REPARSE_TAG_RESERVED_ONE`: this tag and those below it are nobody's. The highest bit: Microsoft's.
const RESERVED: u32 = 1;
const MICROSOFT: u32 = 0x8000_0000;
const TAG: u32 = u32::from_le_bytes(*b"FSrt");
const DOT: u16 = b'.' as u16;

/// A path without `.` and `..`; `None`: it climbs above its beginning.
fn without_dots(path: &[u16]) -> Option<Vec<u16>> {
    let rooted = path.first() == Some(&BACKSLASH);
    let mut kept: Vec<&[u16]> = Vec::new();
    for part in path.split(|unit| *unit == BACKSLASH) {
        match part {
            [] | [DOT] => {}
            [DOT, DOT] => {
                kept.pop()?;
            }
            part => kept.push(part),
        }
    }
    let mut out = Vec::new();
    for (index, part) in kept.iter().enumerate() {
        if rooted || index > 0 {
            out.push(BACKSLASH);
        }
        out.extend_from_slice(part);
    }
    if rooted && out.is_empty() {
        out.push(BACKSLASH);
    }
    Some(out)
}

fn allocate(call: &'static str, pool_type: u32, size: usize, tag: u32) -> usize {
    irql::at_most(call, APC_LEVEL);
    pool_api::or_raise(pool_api::of_old_type(call, pool_type, size, tag), true)
}

/// Waits as a thread that can be cancelled does.
fn cancellable(irp: Guest<Irp>, wait: impl FnOnce() -> NtStatus) -> NtStatus {
    if irp.read_opt().is_some_and(|irp| irp.cancel != 0) {
        return NtStatus::CANCELLED;
    }
    wait()
}

exports! { "ntoskrnl.exe";
    /// Whether a status says that a device has failed for good: neither success nor bad data in one place.
    fn FsRtlIsTotalDeviceFailure(status: NtStatus) -> u8 {
        const CRC_ERROR: NtStatus = NtStatus(0xC000_003F_u32.cast_signed());
        u8::from(!status.is_success() && status != CRC_ERROR && status != NtStatus::DEVICE_DATA_ERROR)
    }

    /// A status that a file system may return, or a general one in the place of another.
    fn FsRtlNormalizeNtstatus(status: NtStatus, general: NtStatus) -> NtStatus {
        if super::name::FsRtlIsNtstatusExpected(status) != 0 { status } else { general }
    }

    /// Allocates, or raises `STATUS_INSUFFICIENT_RESOURCES`.
    fn FsRtlAllocatePool(pool_type: u32, size: u32) -> usize {
        allocate("FsRtlAllocatePool", pool_type, size as usize, TAG)
    }

    /// The same with a tag.
    fn FsRtlAllocatePoolWithTag(pool_type: u32, size: u32, tag: u32) -> usize {
        allocate("FsRtlAllocatePoolWithTag", pool_type, size as usize, tag)
    }

    /// The same, charged to the process.
    partial "quotas are not kept"
    fn FsRtlAllocatePoolWithQuota(pool_type: u32, size: u32) -> usize {
        allocate("FsRtlAllocatePoolWithQuota", pool_type, size as usize, TAG)
    }

    /// The same with a tag.
    partial "quotas are not kept"
    fn FsRtlAllocatePoolWithQuotaTag(pool_type: u32, size: u32, tag: u32) -> usize {
        allocate("FsRtlAllocatePoolWithQuotaTag", pool_type, size as usize, tag)
    }

    /// Takes `.` and `..` out of a path, in place.
    fn FsRtlRemoveDotsFromPath(path: Guest<u16>, length: u16, new: Guest<u16>) -> NtStatus {
        irql::at_most("FsRtlRemoveDotsFromPath", PASSIVE_LEVEL);
        let Some(short) = without_dots(&path.read_many(usize::from(length / 2))) else {
            return NtStatus::IO_REPARSE_DATA_INVALID;
        };
        path.write_many(&short);
        new.write(u16::try_from(short.len() * 2).unwrap_or(u16::MAX));
        NtStatus::SUCCESS
    }

    /// Whether a reparse point's data are well formed.
    fn FsRtlValidateReparsePointBuffer(length: u32, buffer: usize) -> NtStatus {
        irql::at_most("FsRtlValidateReparsePointBuffer", PASSIVE_LEVEL);
        if !(HEADER..=MOST).contains(&length) {
            return NtStatus::IO_REPARSE_DATA_INVALID;
        }
        let tag: u32 = Guest::at(buffer).read();
        let data = u32::from(Guest::<u16>::at(buffer + 4).read());
        let header = if tag & MICROSOFT == 0 { GUID_HEADER } else { HEADER };
        if data + header != length && !(tag & MICROSOFT != 0 && data + GUID_HEADER == length) {
            return NtStatus::IO_REPARSE_DATA_INVALID;
        }
        if tag & 0x0FFF_FFFF <= RESERVED {
            return NtStatus::IO_REPARSE_TAG_INVALID;
        }
        NtStatus::SUCCESS
    }

    /// Waits for an object, unless the operation is cancelled.
    partial "a packet that is cancelled during the wait does not end it"
    fn FsRtlCancellableWaitForSingleObject(object: usize, timeout: Guest<i64>, irp: Guest<Irp>) -> NtStatus {
        cancellable(irp, || wait::KeWaitForSingleObject(object, 0, 0, 0, timeout))
    }

    /// Waits for one or all of several objects, unless the operation is cancelled.
    partial "a packet that is cancelled during the wait does not end it"
    fn FsRtlCancellableWaitForMultipleObjects(
        count: u32, objects: Guest<usize>, kind: u32, timeout: Guest<i64>, blocks: usize, irp: Guest<Irp>,
    ) -> NtStatus {
        cancellable(irp, || wait::KeWaitForMultipleObjects(count, objects, kind, 0, 0, 0, timeout, blocks))
    }

    /// How deep a volume's disk is in virtual disks: not at all.
    fn FsRtlGetVirtualDiskNestingLevel(_device: usize, level: Guest<u32>, flags: Guest<u32>) -> NtStatus {
        irql::at_most("FsRtlGetVirtualDiskNestingLevel", PASSIVE_LEVEL);
        level.write(0);
        flags.write_opt(0);
        NtStatus::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_taken_out_of_a_path() {
        let cases = [
            (r"\a\.\b", Some(r"\a\b")),
            (r"\a\..\b", Some(r"\b")),
            (r"a\b\..", Some("a")),
            (r"\..", None),
            (r"\a\..", Some("\\")),
            ("a..b", Some("a..b")),
        ];
        for (path, wanted) in cases {
            let units: Vec<u16> = path.encode_utf16().collect();
            let short = without_dots(&units).map(|short| String::from_utf16_lossy(&short));
            assert_eq!(short.as_deref(), wanted, "{path}");
        }
    }
}
