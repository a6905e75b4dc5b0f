//! User memory that a driver takes for a process: `ZwAllocateVirtualMemory`, `ZwFreeVirtualMemory`.
//!
//! A region is reserved once and committed whole or in parts; releasing takes all of it. Its pages go with the machine
//! where nobody frees them, as a process's go with the process.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::memory::Guest;
use super::{irql, section};
use crate::cpu::memory::PAGE;
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;
use crate::user::{self, Pages, State};

/// `MEM_…`.
const COMMIT: u32 = 0x1000;
const RESERVE: u32 = 0x2000;
const DECOMMIT: u32 = 0x4000;
const RELEASE: u32 = 0x8000;
const TOP_DOWN: u32 = 0x10_0000;

static REGIONS: LazyLock<Mutex<BTreeMap<usize, Pages>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, BTreeMap<usize, Pages>> {
    REGIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a protection comes to here: code is run by nobody, so that executing is as reading.
fn state(protection: u32) -> Option<State> {
    match protection {
        0x01 => Some(State::Absent),
        0x02 | 0x10 | 0x20 => Some(State::ReadOnly),
        0x04 | 0x40 => Some(State::ReadWrite),
        _ => None,
    }
}

/// The pages that a range touches: where it begins, and how many.
fn pages(base: usize, size: usize) -> Option<(usize, usize)> {
    let first = base & !(PAGE - 1);
    let end = base.checked_add(size)?.checked_next_multiple_of(PAGE)?;
    Some((first, (end - first) / PAGE))
}

fn allocate(
    pid: u64,
    base: usize,
    size: usize,
    kind: u32,
    protection: u32,
) -> Result<(usize, usize), NtStatus> {
    let known = COMMIT | RESERVE | TOP_DOWN;
    if kind & (COMMIT | RESERVE) == 0 || kind & !known != 0 {
        return Err(NtStatus::INVALID_PARAMETER_5);
    }
    let wanted = state(protection).ok_or(NtStatus::INVALID_PAGE_PROTECTION)?;
    if size == 0 {
        return Err(NtStatus::INVALID_PARAMETER_4);
    }
    let (first, count) = pages(base, size).ok_or(NtStatus::INVALID_PARAMETER_4)?;
    let mut regions = lock();
    if base != 0 {
        if kind & RESERVE != 0 {
            return Err(NtStatus::CONFLICTING_ADDRESSES);
        }
        let (start, region) = regions
            .range(..=first)
            .next_back()
            .filter(|(start, region)| first + count * PAGE <= **start + region.length())
            .filter(|(start, _)| user::owner(**start) == pid)
            .ok_or(NtStatus::CONFLICTING_ADDRESSES)?;
        region
            .set((first - start) / PAGE, count, wanted)
            .map_err(|_| NtStatus::NO_MEMORY)?;
        return Ok((first, count * PAGE));
    }
    let made = Pages::of(pid, count).map_err(|_| NtStatus::NO_MEMORY)?;
    let shown = if kind & COMMIT == 0 {
        State::Absent
    } else {
        wanted
    };
    made.set(0, count, shown).map_err(|_| NtStatus::NO_MEMORY)?;
    let base = made.base();
    regions.insert(base, made);
    Ok((base, count * PAGE))
}

fn free(pid: u64, base: usize, size: usize, kind: u32) -> Result<(usize, usize), NtStatus> {
    if !matches!(kind, DECOMMIT | RELEASE) {
        return Err(NtStatus::INVALID_PARAMETER_4);
    }
    let mut regions = lock();
    let found = regions.range(..=base).next_back();
    let found = found.filter(|(start, region)| base < **start + region.length());
    let found = found.filter(|(start, _)| user::owner(**start) == pid);
    let (start, length) = found
        .map(|(start, region)| (*start, region.length()))
        .ok_or(NtStatus::MEMORY_NOT_ALLOCATED)?;
    if kind == RELEASE {
        if base & !(PAGE - 1) != start {
            return Err(NtStatus::FREE_VM_NOT_AT_BASE);
        }
        // All or nothing: a region is not cut here.
        if size != 0 && size.next_multiple_of(PAGE) != length {
            return Err(NtStatus::UNABLE_TO_FREE_VM);
        }
        regions.remove(&start);
        return Ok((start, length));
    }
    let (first, count) = if size == 0 {
        if base != start {
            return Err(NtStatus::FREE_VM_NOT_AT_BASE);
        }
        (start, length / PAGE)
    } else {
        pages(base, size).ok_or(NtStatus::UNABLE_TO_FREE_VM)?
    };
    let region = regions.get(&start).ok_or(NtStatus::MEMORY_NOT_ALLOCATED)?;
    if first + count * PAGE > start + length {
        return Err(NtStatus::UNABLE_TO_FREE_VM);
    }
    region
        .set((first - start) / PAGE, count, State::Absent)
        .map_err(|_| NtStatus::UNABLE_TO_FREE_VM)?;
    Ok((first, count * PAGE))
}

fn told(
    result: Result<(usize, usize), NtStatus>,
    base: Guest<usize>,
    size: Guest<usize>,
) -> NtStatus {
    match result {
        Ok((at, length)) => {
            base.write(at);
            size.write(length);
            NtStatus::SUCCESS
        }
        Err(status) => status,
    }
}

exports! { "ntoskrnl.exe";
    /// Takes user memory.
    partial "where the bench puts it: STATUS_CONFLICTING_ADDRESSES for an address of the caller's that is not reserved; nothing is run there"
    fn ZwAllocateVirtualMemory(
        process: u64, base: Guest<usize>, _zero_bits: usize, size: Guest<usize>, kind: u32, protection: u32,
    ) -> NtStatus {
        irql::at_most("ZwAllocateVirtualMemory", PASSIVE_LEVEL);
        let made = section::process(process)
            .and_then(|pid| allocate(pid, base.read(), size.read(), kind, protection));
        told(made, base, size)
    }

    /// Gives it back.
    partial "regions are released whole: STATUS_UNABLE_TO_FREE_VM for a part"
    fn ZwFreeVirtualMemory(process: u64, base: Guest<usize>, size: Guest<usize>, kind: u32) -> NtStatus {
        irql::at_most("ZwFreeVirtualMemory", PASSIVE_LEVEL);
        let freed = section::process(process).and_then(|pid| free(pid, base.read(), size.read(), kind));
        told(freed, base, size)
    }

    /// The same.
    partial "as ZwAllocateVirtualMemory"
    fn NtAllocateVirtualMemory(
        process: u64, base: Guest<usize>, zero_bits: usize, size: Guest<usize>, kind: u32, protection: u32,
    ) -> NtStatus {
        ZwAllocateVirtualMemory(process, base, zero_bits, size, kind, protection)
    }

    /// The same.
    partial "as ZwFreeVirtualMemory"
    fn NtFreeVirtualMemory(process: u64, base: Guest<usize>, size: Guest<usize>, kind: u32) -> NtStatus {
        ZwFreeVirtualMemory(process, base, size, kind)
    }
}
