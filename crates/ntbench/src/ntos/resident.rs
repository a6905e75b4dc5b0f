//! Pageable sections of a driver's image that it keeps in memory for a while, and memory that it takes page by page.
//!
//! `MmLockPagableDataSection`, `MmUnlockPagableImageSection`, `MmPageEntireDriver`, `MmAllocateContiguousMemory`,
//! `MmGetPhysicalAddress`. Physical memory is not modelled: a physical address is the virtual one.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::{driver, irql, pool, special};
use crate::bugcheck;
use crate::maps::HashMap;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL};

const TAG: u32 = u32::from_le_bytes(*b"MmCm");
const PAGE: usize = 0x1000;

/// How often each section is locked, by where it starts.
static LOCKED: LazyLock<Mutex<HashMap<usize, u32>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, u32>> {
    LOCKED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the section that holds an address; its handle is where it starts. What is not pageable has one too, and stays anyway.
fn keep(call: &str, address: usize) -> usize {
    irql::at_most(call, APC_LEVEL);
    if driver::at(address).is_none() {
        bugcheck::raise(
            0x1A,
            [0x1234, address as u64, 0, 0],
            format!("{call} was given {address:#x}, which is in no loaded driver"),
        );
    }
    let start = special::keep_section(address, true).unwrap_or(address & !(PAGE - 1));
    *lock().entry(start).or_default() += 1;
    start
}

exports! { "ntoskrnl.exe";
    /// Keeps a pageable data section in memory; gives its handle.
    fn MmLockPagableDataSection(address: usize) -> usize {
        keep("MmLockPagableDataSection", address)
    }

    /// The same for a code section.
    fn MmLockPagableCodeSection(address: usize) -> usize {
        keep("MmLockPagableCodeSection", address)
    }

    /// The same once more, by the handle.
    fn MmLockPagableSectionByHandle(handle: usize) {
        keep("MmLockPagableSectionByHandle", handle);
    }

    /// Lets it be paged again, once for each time that it was locked.
    fn MmUnlockPagableImageSection(handle: usize) {
        irql::at_most("MmUnlockPagableImageSection", APC_LEVEL);
        let mut locked = lock();
        let Some(count) = locked.get_mut(&handle) else {
            bugcheck::raise(
                0x3B,
                [0xC000_0005, 0, handle as u64, 0],
                "MmUnlockPagableImageSection on a section that is not locked",
            );
        };
        *count -= 1;
        if *count == 0 {
            locked.remove(&handle);
            drop(locked);
            special::keep_section(handle, false);
        }
    }

    /// Makes all of a driver's image pageable; gives its base.
    partial "the image's own pageable sections alone are taken away"
    fn MmPageEntireDriver(address: usize) -> usize {
        irql::at_most("MmPageEntireDriver", APC_LEVEL);
        driver::at(address).map_or(0, |driver| driver.base())
    }

    /// Makes it as its sections say again.
    partial "as MmPageEntireDriver"
    fn MmResetDriverPaging(_address: usize) {
        irql::at_most("MmResetDriverPaging", APC_LEVEL);
    }

    /// Memory whose physical addresses follow each other.
    partial "physical memory is not modelled: all memory is so"
    fn MmAllocateContiguousMemory(size: usize, _highest: u64) -> usize {
        irql::at_most("MmAllocateContiguousMemory", DISPATCH_LEVEL);
        if crate::faults::check("MmAllocateContiguousMemory").is_some() {
            return 0;
        }
        pool::allocate(size.next_multiple_of(PAGE), TAG, pool::Kind::NonPaged, false).unwrap_or(0)
    }

    /// Frees it.
    fn MmFreeContiguousMemory(address: usize) {
        irql::at_most("MmFreeContiguousMemory", DISPATCH_LEVEL);
        pool::free(address, Some(TAG));
    }

    /// An address's physical one.
    partial "physical memory is not modelled: the address itself"
    fn MmGetPhysicalAddress(address: usize) -> usize {
        address
    }
}
