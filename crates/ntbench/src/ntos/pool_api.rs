//! What drivers call to take pool and to give it back: the flags and types of several generations, over [`pool`](super::pool).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::memory::Guest;
use super::pool::{Kind, allocate, free, limit};
use crate::seh::{self, Exception};
use crate::status::NtStatus;
use crate::{bugcheck, faults, thread, verifier};

/// What every allocating export does.
fn serve(call: &str, size: usize, tag: u32, kind: Kind, zero: bool) -> usize {
    let irql = thread::irql();
    if irql > limit(kind) {
        bugcheck::raise(
            0xC2,
            [8, u64::from(irql), kind as u64, size as u64],
            format!("{call} at too high an IRQL"),
        );
    }
    if size == 0 {
        verifier::finding("pool-zero-bytes", format!("{call} was asked for 0 bytes"));
    }
    if tag == 0 {
        verifier::finding("pool-tag", format!("{call} was given tag 0"));
    }
    if faults::check(call).is_some() {
        return 0;
    }
    allocate(size, tag, kind, zero).unwrap_or(0)
}

const POOL_FLAG_UNINITIALIZED: u64 = 0x2;
const POOL_FLAG_RAISE_ON_FAILURE: u64 = 0x20;
const POOL_FLAG_NON_PAGED: u64 = 0x40;
const POOL_FLAG_NON_PAGED_EXECUTE: u64 = 0x80;
const POOL_FLAG_PAGED: u64 = 0x100;
/// The flags of the required half that are known: quota, session, cache alignment and the four above.
const POOL_FLAGS_REQUIRED: u64 = 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80 | 0x100;
/// `POOL_ZERO_ALLOCATION` in an old-style pool type.
const POOL_ZERO_ALLOCATION: u32 = 0x400;
/// The others that are heeded.
const POOL_QUOTA_FAIL_INSTEAD_OF_RAISE: u32 = 0x8;
const POOL_RAISE_IF_ALLOCATION_FAILURE: u32 = 0x10;

/// `ExAllocatePool2`'s flags as a pool and whether to zero, or `None` where it fails.
fn flags(flags: u64) -> Option<(Kind, bool)> {
    let unknown = flags & 0xFFFF_FFFF & !POOL_FLAGS_REQUIRED != 0;
    let pools = flags & (POOL_FLAG_NON_PAGED | POOL_FLAG_NON_PAGED_EXECUTE | POOL_FLAG_PAGED);
    if unknown || pools.count_ones() != 1 {
        verifier::finding(
            "pool-flags",
            format!(
                "ExAllocatePool2 was given flags {flags:#x}: exactly one of POOL_FLAG_NON_PAGED, \
                 POOL_FLAG_NON_PAGED_EXECUTE and POOL_FLAG_PAGED is needed, and no unknown bit below 2^32"
            ),
        );
        return None;
    }
    let kind = if flags & POOL_FLAG_PAGED != 0 {
        Kind::Paged
    } else {
        Kind::NonPaged
    };
    Some((kind, flags & POOL_FLAG_UNINITIALIZED == 0))
}

fn old_type(pool_type: u32) -> (Kind, bool) {
    // PagedPool is 1; bit 0 is what tells the two families apart.
    let kind = if pool_type & 1 != 0 {
        Kind::Paged
    } else {
        Kind::NonPaged
    };
    (kind, pool_type & POOL_ZERO_ALLOCATION != 0)
}

/// A block; where there is none and the caller asked for it, an exception.
pub(super) fn or_raise(block: usize, raise: bool) -> usize {
    if block == 0 && raise {
        seh::raise(Exception::new(NtStatus::INSUFFICIENT_RESOURCES));
    }
    block
}

fn with_flags(call: &'static str, asked: u64, size: usize, tag: u32) -> usize {
    let block = flags(asked).map_or(0, |(kind, zero)| serve(call, size, tag, kind, zero));
    or_raise(block, asked & POOL_FLAG_RAISE_ON_FAILURE != 0)
}

pub(super) fn of_old_type(call: &'static str, pool_type: u32, size: usize, tag: u32) -> usize {
    let (kind, zero) = old_type(pool_type);
    or_raise(
        serve(call, size, tag, kind, zero),
        pool_type & POOL_RAISE_IF_ALLOCATION_FAILURE != 0,
    )
}

/// The blocks of `FltAllocatePoolAlignedWithTag`, which `FltFreePoolAlignedWithTag` frees.
static ALIGNED: Mutex<Vec<usize>> = Mutex::new(Vec::new());
static ANY_ALIGNED: AtomicBool = AtomicBool::new(false);

fn aligned() -> MutexGuard<'static, Vec<usize>> {
    ALIGNED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes a block of `FltAllocatePoolAlignedWithTag`.
pub(crate) fn mark_aligned(block: usize) {
    if block != 0 {
        ANY_ALIGNED.store(true, Ordering::Release);
        aligned().push(block);
    }
}

/// It is freed as it is to be; gives whether it was one.
pub(crate) fn forget_aligned(block: usize) -> bool {
    if !ANY_ALIGNED.load(Ordering::Acquire) {
        return false;
    }
    let mut blocks = aligned();
    let index = blocks.iter().position(|known| *known == block);
    index.map(|index| blocks.swap_remove(index)).is_some()
}

/// A driver gives a block back.
fn returned(function: &str, block: usize, tag: Option<u32>) {
    if forget_aligned(block) {
        verifier::finding(
            "pool-aligned",
            format!("{function} of a block that FltAllocatePoolAlignedWithTag has returned"),
        );
    }
    free(block, tag);
}

exports! { "ntoskrnl.exe";
    /// Allocates, zeroed unless asked otherwise.
    partial "quota, session and special pool flags change nothing"
    fn ExAllocatePool2(flags_: u64, size: usize, tag: u32) -> usize {
        with_flags("ExAllocatePool2", flags_, size, tag)
    }

    /// As `ExAllocatePool2`; the extended parameters (priority, secure pool, NUMA node) change nothing here.
    partial "as ExAllocatePool2; extended parameters change nothing"
    fn ExAllocatePool3(flags_: u64, size: usize, tag: u32, _parameters: usize, _count: u32) -> usize {
        with_flags("ExAllocatePool3", flags_, size, tag)
    }

    /// Allocates, not zeroed.
    partial "MustSucceed, quota and session types are as the plain ones"
    fn ExAllocatePoolWithTag(pool_type: u32, size: usize, tag: u32) -> usize {
        of_old_type("ExAllocatePoolWithTag", pool_type, size, tag)
    }

    /// Allocates; how badly it is wanted changes nothing.
    partial "as ExAllocatePoolWithTag; the priority changes nothing"
    fn ExAllocatePoolWithTagPriority(pool_type: u32, size: usize, tag: u32, _priority: u32) -> usize {
        of_old_type("ExAllocatePoolWithTagPriority", pool_type, size, tag)
    }

    /// Allocates, and raises an exception where it cannot, unless it is asked not to.
    partial "as ExAllocatePoolWithTag; no process has a quota that could end"
    fn ExAllocatePoolWithQuotaTag(pool_type: u32, size: usize, tag: u32) -> usize {
        let block = of_old_type("ExAllocatePoolWithQuotaTag", pool_type, size, tag);
        or_raise(block, pool_type & POOL_QUOTA_FAIL_INSTEAD_OF_RAISE == 0)
    }

    /// Allocates with the tag `None`.
    partial "MustSucceed, quota and session types are as the plain ones"
    fn ExAllocatePool(pool_type: u32, size: usize) -> usize {
        of_old_type("ExAllocatePool", pool_type, size, u32::from_le_bytes(*b"None"))
    }

    /// Frees.
    fn ExFreePool(block: Guest<u8>) {
        returned("ExFreePool", block.address(), None);
    }

    /// Frees; the tag must be the allocation's.
    fn ExFreePoolWithTag(block: Guest<u8>, tag: u32) {
        returned("ExFreePoolWithTag", block.address(), Some(tag));
    }

    /// Frees; the tag must be the allocation's.
    partial "extended parameters change nothing"
    fn ExFreePool2(block: Guest<u8>, tag: u32, _parameters: usize, _count: u32) {
        returned("ExFreePool2", block.address(), Some(tag));
    }
}
