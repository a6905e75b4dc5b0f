//! Transfers by memory descriptor lists, as file servers make them (`IRP_MJ_MDL_READ`, `IRP_MJ_PREPARE_MDL_WRITE` and what
//! completes them): the file system lends pages with the data, or for them.
//!
//! There is no cache whose pages they could be: they are made for the transfer, and what was written into them goes to the
//! file when it is completed.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::{Answer, Context};
use crate::abi::params::{MdlComplete, MdlTransfer, MdlWriteComplete};
use crate::ntos::mdl;
use crate::ntos::memory::Guest;
use crate::ntos::syscall::SystemBuffer;
use crate::status::NtStatus;

/// The pages that are lent, by their lists.
static LENT: LazyLock<Mutex<HashMap<usize, SystemBuffer>>> = LazyLock::new(Mutex::default);

fn lent() -> MutexGuard<'static, HashMap<usize, SystemBuffer>> {
    LENT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lend(chain: usize, length: u32, bytes: &[u8]) -> Result<(), NtStatus> {
    let pages = SystemBuffer::new(length as usize, bytes)?;
    let list = mdl::allocate(pages.address(), length, None);
    mdl::lock_pages(list, true)?;
    lent().insert(list, pages);
    Guest::at(chain).write(list);
    Ok(())
}

fn take_back(list: usize) -> Result<SystemBuffer, NtStatus> {
    let pages = lent().remove(&list).ok_or(NtStatus::INVALID_PARAMETER)?;
    mdl::free(list);
    Ok(pages)
}

pub(super) fn read(context: &Context<'_>) -> Answer {
    let arm: MdlTransfer = context.arm();
    let offset = u64::try_from(arm.offset).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    let bytes = context.open.read(offset, arm.length as usize)?;
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    lend(arm.chain, length, &bytes)?;
    Ok((NtStatus::SUCCESS, bytes.len()))
}

pub(super) fn read_complete(context: &Context<'_>) -> Answer {
    let arm: MdlComplete = context.arm();
    take_back(arm.chain)?;
    Ok((NtStatus::SUCCESS, 0))
}

pub(super) fn prepare_write(context: &Context<'_>) -> Answer {
    let arm: MdlTransfer = context.arm();
    if arm.offset < 0 {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    lend(arm.chain, arm.length, &[])?;
    Ok((NtStatus::SUCCESS, arm.length as usize))
}

pub(super) fn write_complete(context: &Context<'_>) -> Answer {
    let arm: MdlWriteComplete = context.arm();
    let offset = u64::try_from(arm.offset).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    let length = mdl::length(arm.chain);
    let pages = take_back(arm.chain)?;
    let bytes = Guest::<u8>::at(pages.address()).read_many(length);
    context.open.write(Some(offset), &bytes, false)?;
    Ok((NtStatus::SUCCESS, 0))
}
