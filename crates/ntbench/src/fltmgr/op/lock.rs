//! `IRP_MJ_LOCK_CONTROL`: byte-range locks (`NtLockFile`, `NtUnlockFile`).

use std::sync::Arc;

use super::{Answer, Context};
use crate::abi::io::{
    IRP_MN_LOCK, IRP_MN_UNLOCK_ALL, IRP_MN_UNLOCK_ALL_BY_KEY, IRP_MN_UNLOCK_SINGLE, IoStatusBlock,
    SL_EXCLUSIVE_LOCK, SL_FAIL_IMMEDIATELY,
};
use crate::abi::params::LockControl;
use crate::fltmgr::pending::Held;
use crate::namespace::locks::{Owner, Told};
use crate::ntos::memory::Guest;
use crate::status::NtStatus;

pub(super) fn control(context: &Context<'_>) -> Answer {
    let lock: LockControl = context.arm();
    let (Some(id), Some(tree)) = (context.open.id(), context.open.tree()) else {
        return Err(NtStatus::INVALID_PARAMETER);
    };
    if context.open.is_directory() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let owner = Owner {
        file: context.file.address(),
        process: lock.process,
        key: lock.key,
    };
    let range = || -> Result<(u64, u64), NtStatus> {
        let length: i64 = Guest::at(lock.length).read();
        Ok((lock.offset.cast_unsigned(), length.cast_unsigned()))
    };
    let flags = context.block.operation_flags;
    let status = match context.block.minor_function {
        IRP_MN_LOCK => tree.locks.acquire(
            id,
            owner,
            range()?,
            flags & SL_EXCLUSIVE_LOCK != 0,
            // What would have to wait is the IRP's affair.
            (flags & SL_FAIL_IMMEDIATELY == 0 && !context.flight.operation.fast).then_some(
                |number| {
                    let table = Arc::clone(tree);
                    let cancelled = move || table.locks.cancel(number);
                    let held = Held::new(&context.flight.operation, cancelled)?;
                    let told = move |status| held.complete(IoStatusBlock::new(status, 0));
                    Ok(Box::new(told) as Told)
                },
            ),
        ),
        IRP_MN_UNLOCK_SINGLE => {
            tree.locks.release(id, owner, range()?)?;
            NtStatus::SUCCESS
        }
        IRP_MN_UNLOCK_ALL => {
            let same = |other: &Owner| (other.file, other.process) == (owner.file, owner.process);
            tree.locks.release_all(id, same);
            NtStatus::SUCCESS
        }
        IRP_MN_UNLOCK_ALL_BY_KEY => {
            tree.locks.release_all(id, |other| *other == owner);
            NtStatus::SUCCESS
        }
        _ => NtStatus::INVALID_DEVICE_REQUEST,
    };
    Ok((status, 0))
}
