//! Other spellings of functions that are here: as macros had them once, with a tag, with both steps in one, by the I/O manager's name.

use super::irp::{call, complete};
use super::memory::Guest;
use super::sync::fast_mutex;
use super::{handle, irql, object, zw};
use crate::fltmgr::priority::{self, Info};
use crate::stack;
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};

exports! { "ntoskrnl.exe";
    /// `IofCallDriver`.
    fn IoCallDriver(device: usize, irp: usize) -> NtStatus {
        call::IofCallDriver(device, irp)
    }

    /// `IofCompleteRequest`.
    fn IoCompleteRequest(irp: usize, boost: i8) {
        complete::IofCompleteRequest(irp, boost);
    }

    /// `ObfDereferenceObject`.
    fn ObDereferenceObject(object: usize) -> i64 {
        object::ObfDereferenceObject(object)
    }

    /// `ObOpenObjectByPointer` with a tag for the reference.
    partial "as ObOpenObjectByPointer; the tag is not kept"
    fn ObOpenObjectByPointerWithTag(
        address: usize, attributes: u32, state: usize, access: u32, kind: usize, mode: i8, _tag: u32, out: Guest<u64>,
    ) -> NtStatus {
        zw::ObOpenObjectByPointer(address, attributes, state, access, kind, mode, out)
    }

    /// Closes a handle of a mode.
    fn ObCloseHandle(handle: u64, mode: i8) -> NtStatus {
        irql::at_most("ObCloseHandle", PASSIVE_LEVEL);
        handle::close(handle, mode)
    }

    /// Whether a handle's closing is audited: nothing is.
    partial "FALSE always: nothing is audited"
    fn ObQueryObjectAuditingByHandle(handle: u64, on_close: Guest<u8>) -> NtStatus {
        irql::at_most("ObQueryObjectAuditingByHandle", PASSIVE_LEVEL);
        on_close.write(0);
        handle::look_up(handle, crate::abi::flt::KERNEL_MODE).err().unwrap_or(NtStatus::SUCCESS)
    }

    /// Enters a critical region, and acquires a fast mutex there.
    fn ExEnterCriticalRegionAndAcquireFastMutexUnsafe(mutex: usize) {
        irql::at_most("ExEnterCriticalRegionAndAcquireFastMutexUnsafe", APC_LEVEL);
        irql::KeEnterCriticalRegion();
        fast_mutex::ExAcquireFastMutexUnsafe(mutex);
    }

    /// Releases it, and leaves the region.
    fn ExReleaseFastMutexUnsafeAndLeaveCriticalRegion(mutex: usize) {
        fast_mutex::ExReleaseFastMutexUnsafe(mutex);
        irql::KeLeaveCriticalRegion();
    }

    /// Whether so many bytes from an address on are all on the current stack segment.
    fn IoWithinStackLimits(start: u64, size: u64) -> u64 {
        let limits = stack::limits();
        let end = start.checked_add(size);
        u64::from(start >= limits.low && end.is_some_and(|end| end <= limits.high))
    }

    /// `FltSetIoPriorityHintIntoFileObject`.
    fn IoSetIoPriorityHintIntoFileObject(file: usize, hint: u32) -> NtStatus {
        priority::FltSetIoPriorityHintIntoFileObject(file, hint)
    }

    /// `FltSetIoPriorityHintIntoThread`.
    fn IoSetIoPriorityHintIntoThread(thread: usize, hint: u32) -> NtStatus {
        priority::FltSetIoPriorityHintIntoThread(thread, hint)
    }

    /// `FltRetrieveIoPriorityInfo`, for a packet.
    partial "the hint of the file object or the thread, whatever the packet has"
    fn IoRetrievePriorityInfo(_irp: usize, file: usize, thread: usize, info: Guest<Info>) -> NtStatus {
        priority::FltRetrieveIoPriorityInfo(0, file, thread, info)
    }

    /// `FltApplyPriorityInfoThread`.
    fn IoApplyPriorityInfoThread(input: Guest<Info>, output: Guest<Info>, thread: usize) -> NtStatus {
        priority::FltApplyPriorityInfoThread(input, output, thread)
    }
}
