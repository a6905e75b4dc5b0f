//! `IRP_MJ_READ` and `IRP_MJ_WRITE`.

use super::{Answer, Context};
use crate::abi::file::{FILE_APPEND_DATA, FILE_WRITE_DATA};
use crate::abi::io::{FO_FILE_MODIFIED, FO_FILE_SIZE_CHANGED, FO_SYNCHRONOUS_IO, IRP_NOCACHE};
use crate::abi::params::Transfer;
use crate::namespace::locks::Owner;
use crate::ntos::cache;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;

/// The sector size of every volume here.
pub(super) const SECTOR: i64 = 512;
/// `FILE_USE_FILE_POINTER_POSITION`, and `FILE_WRITE_TO_END_OF_FILE`, as a byte offset.
const USE_POSITION: i64 = -2;
const AT_END: i64 = -1;

/// Where a transfer begins; `None`: at the end.
fn start(context: &Context<'_>, transfer: &Transfer, write: bool) -> Result<Option<u64>, NtStatus> {
    let synchronous = context
        .file
        .object(|object| object.flags & FO_SYNCHRONOUS_IO != 0);
    let offset = match transfer.offset {
        AT_END if write => return Ok(None),
        USE_POSITION if synchronous => context.file.object(|object| object.current_byte_offset),
        offset => offset,
    };
    let offset = u64::try_from(offset).map_err(|_| NtStatus::INVALID_PARAMETER)?;
    // Without a cache only whole sectors move. Paging I/O comes so by itself.
    let uncached = context.block.irp_flags & IRP_NOCACHE != 0 && !context.is_paging();
    if uncached
        && (!transfer.length.cast_signed().rem_euclid(512).eq(&0)
            || !offset.is_multiple_of(SECTOR.unsigned_abs()))
    {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    Ok(Some(offset))
}

fn owner(context: &Context<'_>, key: u32) -> Owner {
    Owner {
        file: context.file.address(),
        process: context.flight.operation.process,
        key,
    }
}

/// What mandatory locks say.
fn check_locks(
    context: &Context<'_>,
    transfer: &Transfer,
    offset: u64,
    write: bool,
) -> Result<(), NtStatus> {
    if context.is_paging() {
        return Ok(());
    }
    let (Some(id), Some(tree)) = (context.open.id(), context.open.tree()) else {
        return Ok(());
    };
    let range = (offset, u64::from(transfer.length));
    if tree
        .locks
        .allows(id, owner(context, transfer.key), range, write)
    {
        Ok(())
    } else {
        Err(NtStatus::FILE_LOCK_CONFLICT)
    }
}

/// A file that was opened for synchronous I/O remembers where it is.
fn advance(context: &Context<'_>, position: u64) {
    context.file.object(|object| {
        if object.flags & FO_SYNCHRONOUS_IO != 0 {
            object.current_byte_offset = i64::try_from(position).unwrap_or(i64::MAX);
        }
    });
}

/// The first cached transfer sets caching up for the file object and its stream, by which the I/O manager knows that fast I/O is
/// worth trying, and filters that the stream is cached. What would be the cache manager's is nobody's here: every transfer goes to the
/// file.
fn begin_caching(context: &Context<'_>) {
    if context.block.irp_flags & IRP_NOCACHE == 0 && !context.is_paging() {
        context.file.object(|object| {
            if object.private_cache_map.is_null() {
                let sections = object.section_object_pointer.expose_provenance();
                object.private_cache_map = Guest::at(cache::begin(sections)).0;
            }
        });
    }
}

pub(super) fn read(context: &Context<'_>) -> Answer {
    begin_caching(context);
    let transfer: Transfer = context.arm();
    let offset = start(context, &transfer, false)?.unwrap_or(0);
    check_locks(context, &transfer, offset, false)?;
    let bytes = context.open.read(offset, transfer.length as usize)?;
    context.put(transfer.buffer, transfer.mdl, &bytes)?;
    if !context.is_paging() {
        advance(context, offset + bytes.len() as u64);
    }
    Ok((NtStatus::SUCCESS, bytes.len()))
}

pub(super) fn write(context: &Context<'_>) -> Answer {
    begin_caching(context);
    let transfer: Transfer = context.arm();
    let offset = start(context, &transfer, true)?;
    // Rights to append alone write at the end, wherever the caller asks.
    let append = FILE_WRITE_DATA | FILE_APPEND_DATA;
    let offset = offset
        .filter(|_| context.is_paging() || context.open.access() & append != FILE_APPEND_DATA);
    check_locks(context, &transfer, offset.unwrap_or(u64::MAX), true)?;
    let bytes = context.get(transfer.buffer, transfer.mdl, transfer.length as usize)?;
    let (before, _) = context.open.size();
    let (at, written) = context.open.write(offset, &bytes, context.is_paging())?;
    let end = at + written as u64;
    context.file.object(|object| {
        object.flags |= FO_FILE_MODIFIED;
        if i64::try_from(end).is_ok_and(|end| end > before) {
            object.flags |= FO_FILE_SIZE_CHANGED;
        }
    });
    if !context.is_paging() {
        advance(context, end);
    }
    Ok((NtStatus::SUCCESS, written))
}
