//! Byte-range locks that a filter keeps itself: `FltProcessFileLock` and its kin, over the same rules as the file
//! systems'. The memory of a `FILE_LOCK` is the filter's; what it holds is kept here, by its address.

use std::sync::LazyLock;

use super::flight;
use crate::abi::flt::{CallbackData, PREOP_COMPLETE, PREOP_SUCCESS_NO_CALLBACK};
use crate::abi::io::{
    IRP_MJ_LOCK_CONTROL, IRP_MN_LOCK, IRP_MN_UNLOCK_ALL, IRP_MN_UNLOCK_ALL_BY_KEY,
    IRP_MN_UNLOCK_SINGLE, IoStatusBlock, SL_EXCLUSIVE_LOCK, SL_FAIL_IMMEDIATELY,
};
use crate::abi::params::{LockControl, Transfer};
use crate::namespace::locks::{Locks, Owner};
use crate::ntos::memory::Guest;
use crate::ntos::{irql, pool};
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;

static LOCKS: LazyLock<Locks> = LazyLock::new(Locks::default);
/// How long a `FILE_LOCK` that is allocated here is; its fields are nobody's.
const BYTES: usize = 0x80;
const TAG: u32 = u32::from_le_bytes(*b"FMfl");

/// A lock structure as the locks' table knows it: there is no such device.
fn id(lock: usize) -> (u64, u64) {
    (u64::MAX, lock as u64)
}

fn process(lock: usize, data: usize) -> i32 {
    let at = Guest::<CallbackData>::at(data);
    let block = at.iopb().read();
    if block.major_function != IRP_MJ_LOCK_CONTROL {
        return PREOP_SUCCESS_NO_CALLBACK;
    }
    let arm: LockControl = block.parameters.get();
    let owner = Owner {
        file: block.target_file_object.expose_provenance(),
        process: arm.process,
        key: arm.key,
    };
    let range = || {
        let length: i64 = Guest::at(arm.length).read();
        (arm.offset.cast_unsigned(), length.cast_unsigned())
    };
    let flags = block.operation_flags;
    let status = match block.minor_function {
        IRP_MN_LOCK => LOCKS.acquire(
            id(lock),
            owner,
            range(),
            flags & SL_EXCLUSIVE_LOCK != 0,
            flags & SL_FAIL_IMMEDIATELY == 0,
        ),
        IRP_MN_UNLOCK_SINGLE => LOCKS.release(id(lock), owner, range()),
        IRP_MN_UNLOCK_ALL => {
            let same = |other: &Owner| (other.file, other.process) == (owner.file, owner.process);
            LOCKS.release_all(id(lock), same);
            NtStatus::SUCCESS
        }
        IRP_MN_UNLOCK_ALL_BY_KEY => {
            LOCKS.release_all(id(lock), |other| *other == owner);
            NtStatus::SUCCESS
        }
        _ => NtStatus::INVALID_DEVICE_REQUEST,
    };
    let status_at = data + std::mem::offset_of!(CallbackData, io_status);
    Guest::at(status_at).write(IoStatusBlock::new(status, 0));
    PREOP_COMPLETE
}

/// Whether a read or write may go on.
fn allows(lock: usize, data: usize, write: bool) -> u8 {
    let block = Guest::<CallbackData>::at(data).iopb().read();
    let Some(operation) = flight::at(data) else {
        return 1;
    };
    let arm: Transfer = block.parameters.get();
    let owner = Owner {
        file: block.target_file_object.expose_provenance(),
        process: operation.process,
        key: arm.key,
    };
    let range = (arm.offset.cast_unsigned(), u64::from(arm.length));
    u8::from(LOCKS.allows(id(lock), owner, range, write))
}

exports! { "fltmgr.sys";
    /// Makes a lock structure.
    partial "the completion and unlock routines are not called"
    fn FltAllocateFileLock(_complete: usize, _unlock: usize) -> usize {
        irql::at_most("FltAllocateFileLock", APC_LEVEL);
        pool::lend(BYTES, TAG, true).unwrap_or(0)
    }

    /// Frees it.
    fn FltFreeFileLock(lock: usize) {
        irql::at_most("FltFreeFileLock", APC_LEVEL);
        LOCKS.release_all(id(lock), |_| true);
        pool::free(lock, None);
    }

    /// Makes one of the filter's own memory.
    partial "the completion and unlock routines are not called"
    fn FltInitializeFileLock(lock: usize, _complete: usize, _unlock: usize) {
        irql::at_most("FltInitializeFileLock", APC_LEVEL);
        LOCKS.release_all(id(lock), |_| true);
    }

    /// Takes what it holds away.
    fn FltUninitializeFileLock(lock: usize) {
        irql::at_most("FltUninitializeFileLock", APC_LEVEL);
        LOCKS.release_all(id(lock), |_| true);
    }

    /// Does what a lock operation asks, and completes it. One that has to wait does so here, in the caller's thread.
    partial "a lock that has to wait does so in the caller's thread; it is never pended"
    fn FltProcessFileLock(lock: usize, data: usize, _context: usize) -> i32 {
        irql::at_most("FltProcessFileLock", APC_LEVEL);
        process(lock, data)
    }

    /// Whether a read may go on.
    fn FltCheckLockForReadAccess(lock: usize, data: usize) -> u8 {
        irql::at_most("FltCheckLockForReadAccess", APC_LEVEL);
        allows(lock, data, false)
    }

    /// Whether a write may go on.
    fn FltCheckLockForWriteAccess(lock: usize, data: usize) -> u8 {
        irql::at_most("FltCheckLockForWriteAccess", APC_LEVEL);
        allows(lock, data, true)
    }
}
