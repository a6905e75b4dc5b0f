//! Byte-range locks that a filter keeps itself: `FltProcessFileLock` and its kin, over the same rules as the file
//! systems'. The memory of a `FILE_LOCK` is the filter's; what it holds is kept here, by its address.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::callback::{self, argument};
use super::flight::{self, Operation};
use super::pending::Held;
use crate::abi::flt::{
    CallbackData, PREOP_COMPLETE, PREOP_DISALLOW_FASTIO, PREOP_PENDING, PREOP_SUCCESS_NO_CALLBACK,
};
use crate::abi::io::{
    IRP_MJ_LOCK_CONTROL, IRP_MN_LOCK, IRP_MN_UNLOCK_ALL, IRP_MN_UNLOCK_ALL_BY_KEY,
    IRP_MN_UNLOCK_SINGLE, IoStatusBlock, SL_EXCLUSIVE_LOCK, SL_FAIL_IMMEDIATELY,
};
use crate::abi::params::{LockControl, Transfer};
use crate::maps::HashMap;
use crate::namespace::locks::{Locks, Owner, Released, Told};
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

/// What a filter wants to be told of a lock structure: of operations that are completed, and of ranges that are unlocked.
#[derive(Clone, Copy, Default)]
struct Routines {
    complete: usize,
    unlock: usize,
}

static ROUTINES: LazyLock<Mutex<HashMap<usize, Routines>>> = LazyLock::new(Mutex::default);

fn routines() -> MutexGuard<'static, HashMap<usize, Routines>> {
    ROUTINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `FILE_LOCK_INFO`.
#[repr(C)]
struct FileLockInfo {
    starting: u64,
    length: u64,
    exclusive: u8,
    key: u32,
    file_object: usize,
    process: usize,
    ending: u64,
}

/// A lock operation of a filter's, as it was given to `FltProcessFileLock`.
#[derive(Clone)]
struct Asked {
    lock: usize,
    data: usize,
    context: usize,
    routines: Routines,
    operation: Arc<Operation>,
}

impl Asked {
    fn call(&self, phase: &'static str, routine: usize, arguments: &[u64]) -> NtStatus {
        let instance = self.operation.current();
        let filter = instance.map_or_else(String::new, |of| of.filter.service.clone());
        let returned = callback::call_unseen(&filter, phase, routine, arguments);
        NtStatus((returned & 0xFFFF_FFFF) as u32 as i32)
    }

    /// The operation ends so: its filter's completion routine is told, and may say otherwise of a lock that was granted.
    fn end(&self, status: NtStatus, granted: impl FnOnce()) {
        let put = |status| {
            let at = self.data + std::mem::offset_of!(CallbackData, io_status);
            Guest::at(at).write(IoStatusBlock::new(status, 0));
        };
        put(status);
        if self.routines.complete == 0 || self.operation.fast {
            return;
        }
        let arguments = [self.context as u64, self.data as u64];
        let says = self.call(
            "completion routine of a file lock",
            self.routines.complete,
            &arguments,
        );
        if status.is_success() && !says.is_success() {
            granted();
            put(says);
        }
    }

    /// Ranges are unlocked.
    fn unlocked(&self, gone: &[Released]) {
        for released in gone.iter().filter(|_| self.routines.unlock != 0) {
            let (starting, length) = released.range;
            let info = Box::new(FileLockInfo {
                starting,
                length,
                exclusive: u8::from(released.exclusive),
                key: released.owner.key,
                file_object: released.owner.file,
                process: released.owner.process,
                ending: starting.wrapping_add(length).wrapping_sub(1),
            });
            let arguments = [self.context as u64, argument(&*info)];
            self.call(
                "unlock routine of a file lock",
                self.routines.unlock,
                &arguments,
            );
        }
    }
}

fn process(lock: usize, data: usize, context: usize) -> i32 {
    let at = Guest::<CallbackData>::at(data);
    let block = at.iopb().read();
    let operation = flight::at(data).filter(|_| block.major_function == IRP_MJ_LOCK_CONTROL);
    let Some(operation) = operation else {
        return PREOP_SUCCESS_NO_CALLBACK;
    };
    let asked = Asked {
        lock,
        data,
        context,
        routines: routines().get(&lock).copied().unwrap_or_default(),
        operation,
    };
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
    let release = |matches: &dyn Fn(&Owner) -> bool| {
        asked.unlocked(&LOCKS.release_all(id(lock), matches));
        NtStatus::SUCCESS
    };
    let exclusive = flags & SL_EXCLUSIVE_LOCK != 0;
    let status = match block.minor_function {
        IRP_MN_LOCK => {
            let range = range();
            let wait = (flags & SL_FAIL_IMMEDIATELY == 0).then_some(|number| {
                if asked.operation.fast {
                    return Err(NtStatus::FLT_DISALLOW_FAST_IO);
                }
                let held = Held::new(&asked.operation, move || LOCKS.cancel(number))?;
                let asked = asked.clone();
                let told = move |status| {
                    asked.end(status, || {
                        let _ = LOCKS.release(id(asked.lock), owner, range);
                    });
                    held.complete_for_filter();
                };
                Ok(Box::new(told) as Told)
            });
            let status = LOCKS.acquire(id(lock), owner, range, exclusive, wait);
            match status {
                NtStatus::PENDING => return PREOP_PENDING,
                NtStatus::FLT_DISALLOW_FAST_IO => return PREOP_DISALLOW_FASTIO,
                _ => {}
            }
            asked.end(status, || {
                let _ = LOCKS.release(id(lock), owner, range);
            });
            return PREOP_COMPLETE;
        }
        IRP_MN_UNLOCK_SINGLE => {
            let range = range();
            match LOCKS.release(id(lock), owner, range) {
                Ok(gone) => {
                    asked.unlocked(&[gone]);
                    NtStatus::SUCCESS
                }
                Err(status) => status,
            }
        }
        IRP_MN_UNLOCK_ALL => {
            release(&|other| (other.file, other.process) == (owner.file, owner.process))
        }
        IRP_MN_UNLOCK_ALL_BY_KEY => release(&|other| *other == owner),
        _ => NtStatus::INVALID_DEVICE_REQUEST,
    };
    asked.end(status, || {});
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
    fn FltAllocateFileLock(complete: usize, unlock: usize) -> usize {
        irql::at_most("FltAllocateFileLock", APC_LEVEL);
        let lock = pool::lend(BYTES, TAG, true).unwrap_or(0);
        if lock != 0 {
            routines().insert(lock, Routines { complete, unlock });
        }
        lock
    }

    /// Frees it.
    fn FltFreeFileLock(lock: usize) {
        irql::at_most("FltFreeFileLock", APC_LEVEL);
        routines().remove(&lock);
        LOCKS.release_all(id(lock), |_| true);
        pool::free(lock, None);
    }

    /// Makes one of the filter's own memory.
    fn FltInitializeFileLock(lock: usize, complete: usize, unlock: usize) {
        irql::at_most("FltInitializeFileLock", APC_LEVEL);
        routines().insert(lock, Routines { complete, unlock });
        LOCKS.release_all(id(lock), |_| true);
    }

    /// Takes what it holds away.
    fn FltUninitializeFileLock(lock: usize) {
        irql::at_most("FltUninitializeFileLock", APC_LEVEL);
        routines().remove(&lock);
        LOCKS.release_all(id(lock), |_| true);
    }

    /// Does what a lock operation asks, and completes it, or pends it until the lock can be granted.
    fn FltProcessFileLock(lock: usize, data: usize, context: usize) -> i32 {
        irql::at_most("FltProcessFileLock", APC_LEVEL);
        process(lock, data, context)
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
