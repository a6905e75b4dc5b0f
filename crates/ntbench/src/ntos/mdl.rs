//! Memory descriptor lists: buffers locked for as long as somebody else works with them, and their system addresses.
//!
//! The pages of user space lie in a file of the host's, so that the system address of a locked buffer is a mapping of its
//! own: what a driver writes there, the program sees, and what the program does with its address changes nothing here.
//! System memory never moves in this bench: its system address is the one that it has.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::memory::Guest;
use super::{driver, irql, pool};
use crate::abi::io::{
    MDL_MAPPED_TO_SYSTEM_VA, MDL_PAGES_LOCKED, MDL_PARTIAL, MDL_SOURCE_IS_NONPAGED_POOL,
    MDL_WRITE_OPERATION, Mdl,
};
use crate::seh::{self, Exception};
use crate::status::NtStatus;
use crate::thread::{self, APC_LEVEL, DISPATCH_LEVEL};
use crate::user::{self, Alias};
use crate::{bugcheck, faults, verifier};

const PAGE: usize = 0x1000;
const TAG: u32 = u32::from_le_bytes(*b"Mdl ");

struct Entry {
    service: Option<String>,
    site: usize,
    alias: Option<Alias>,
    /// A filter has put it into an operation, and so it is the Filter Manager's.
    swapped: bool,
}

static MDLS: LazyLock<Mutex<HashMap<usize, Entry>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Entry>> {
    MDLS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether that is a list that somebody allocated.
pub(crate) fn is_mdl(address: usize) -> bool {
    lock().contains_key(&address)
}

fn read(mdl: usize) -> Mdl {
    Guest::at(mdl).read()
}

fn change(mdl: usize, change: impl FnOnce(&mut Mdl)) {
    let mut now = read(mdl);
    change(&mut now);
    Guest::at(mdl).write(now);
}

/// The virtual address that a list describes.
fn address_of(mdl: &Mdl) -> usize {
    mdl.start + mdl.byte_offset as usize
}

/// Makes a list for a buffer. `service`: the driver that has to free it; `None`: the kernel itself does.
pub(crate) fn allocate(address: usize, length: u32, service: Option<String>) -> usize {
    let offset = address % PAGE;
    let pages = (offset + length as usize).div_ceil(PAGE);
    let size = size_of::<Mdl>() + 8 * pages;
    let Some(mdl) = pool::lend(size, TAG, true) else {
        return 0;
    };
    Guest::at(mdl).write(Mdl {
        next: std::ptr::null_mut(),
        size: i16::try_from(size).unwrap_or(i16::MAX),
        flags: 0,
        processor: 0,
        reserved: 0,
        process: std::ptr::null_mut(),
        mapped: 0,
        start: address - offset,
        byte_count: length,
        byte_offset: u32::try_from(offset).unwrap_or(0),
    });
    let site = verifier::here();
    let entry = Entry {
        service,
        site,
        swapped: false,
        alias: None,
    };
    lock().insert(mdl, entry);
    mdl
}

/// Frees a list; what is locked by it is unlocked.
pub(crate) fn free(mdl: usize) {
    unlock(mdl);
    if lock().remove(&mdl).is_some() {
        pool::free(mdl, None);
    }
}

/// Notes whether a list is in an operation, put there by a filter, and the Filter Manager's to free.
pub(crate) fn set_swapped(mdl: usize, swapped: bool) {
    if let Some(entry) = lock().get_mut(&mdl) {
        entry.swapped = swapped;
    }
}

/// Locks what a list describes, in the current process; `Err`: some of it is not there.
pub(crate) fn lock_pages(mdl: usize, write: bool) -> Result<(), NtStatus> {
    lock_pages_in(user::current(), mdl, write)
}

/// The same, in that process.
pub(crate) fn lock_pages_in(pid: u64, mdl: usize, write: bool) -> Result<(), NtStatus> {
    let now = read(mdl);
    let (start, length) = (address_of(&now), now.byte_count as usize);
    if user::is_user(start) {
        user::lockable(start, length, write, pid)?;
    }
    change(mdl, |mdl| {
        mdl.flags |= MDL_PAGES_LOCKED | if write { MDL_WRITE_OPERATION } else { 0 };
        mdl.process = Guest::at(thread::current().process.object).0;
    });
    Ok(())
}

fn unlock(mdl: usize) {
    unmap(mdl);
    change(mdl, |mdl| {
        mdl.flags &= !(MDL_PAGES_LOCKED | MDL_WRITE_OPERATION);
    });
}

fn unmap(mdl: usize) {
    let alias = lock().get_mut(&mdl).and_then(|entry| entry.alias.take());
    drop(alias);
    change(mdl, |mdl| mdl.flags &= !MDL_MAPPED_TO_SYSTEM_VA);
}

/// The system address of what a list describes (`MmGetSystemAddressForMdlSafe`); `None`: there is no room for it.
pub(crate) fn system_address(mdl: usize) -> Option<usize> {
    let now = read(mdl);
    if now.flags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL) != 0 {
        return Some(now.mapped);
    }
    let address = address_of(&now);
    let mapped = if user::is_user(address) {
        let alias = Alias::new(address, now.byte_count as usize).ok()?;
        let mapped = alias.address();
        if let Some(entry) = lock().get_mut(&mdl) {
            entry.alias = Some(alias);
        }
        mapped
    } else {
        address
    };
    change(mdl, |mdl| {
        mdl.mapped = mapped;
        mdl.flags |= MDL_MAPPED_TO_SYSTEM_VA;
    });
    Some(mapped)
}

/// How many bytes a list describes.
pub(crate) fn length(mdl: usize) -> usize {
    read(mdl).byte_count as usize
}

/// Reports the lists that a driver that goes away has left.
pub(crate) fn report_leaks(service: &str) {
    let mut mdls = lock();
    let left: Vec<usize> = mdls
        .iter()
        .filter(|(_, entry)| entry.service.as_deref() == Some(service))
        .map(|(mdl, _)| *mdl)
        .collect();
    let left: Vec<(usize, Entry)> = left
        .into_iter()
        .filter_map(|mdl| mdls.remove(&mdl).map(|entry| (mdl, entry)))
        .collect();
    drop(mdls);
    for (mdl, entry) in left {
        verifier::finding_at(
            "mdl-leak",
            entry.site,
            format!("{service} went away with an MDL"),
        );
        pool::free(mdl, None);
    }
}

/// A list that a driver passed.
fn known(mdl: usize, function: &str) {
    if !is_mdl(mdl) {
        bugcheck::no_such(
            mdl,
            format!("{function} was given {mdl:#x}, which is no MDL (any more)"),
        );
    }
}

exports! { "ntoskrnl.exe";
    /// Makes a list for a buffer.
    fn IoAllocateMdl(address: usize, length: u32, secondary: u8, _quota: u8, irp: usize) -> usize {
        irql::at_most("IoAllocateMdl", DISPATCH_LEVEL);
        if faults::check("IoAllocateMdl").is_some() {
            return 0;
        }
        let list = allocate(address, length, driver::calling().map(|driver| driver.service.clone()));
        if irp != 0 && list != 0 {
            super::irp::describe(irp, list, secondary != 0);
        }
        list
    }

    /// Frees a list.
    fn IoFreeMdl(mdl: usize) {
        irql::at_most("IoFreeMdl", DISPATCH_LEVEL);
        known(mdl, "IoFreeMdl");
        if lock().get(&mdl).is_some_and(|entry| entry.swapped) {
            verifier::finding(
                "swapped-mdl-freed",
                "a filter frees the MDL that it has put into an operation; the Filter Manager frees it after the post-operation callback",
            );
        }
        if read(mdl).flags & MDL_PAGES_LOCKED != 0 {
            verifier::finding(
                "mdl-freed-locked",
                "IoFreeMdl on an MDL whose pages are locked",
            );
        }
        free(mdl);
    }

    /// Fills in a list for a buffer in non-paged pool.
    fn MmBuildMdlForNonPagedPool(mdl: usize) {
        irql::at_most("MmBuildMdlForNonPagedPool", DISPATCH_LEVEL);
        known(mdl, "MmBuildMdlForNonPagedPool");
        let address = address_of(&read(mdl));
        if user::is_user(address) {
            verifier::finding("mdl-not-nonpaged", "MmBuildMdlForNonPagedPool for a user address");
        }
        change(mdl, |mdl| {
            mdl.mapped = address;
            mdl.flags |= MDL_SOURCE_IS_NONPAGED_POOL;
        });
    }

    /// Locks the pages that a list describes; raises the exception where they are not there.
    fn MmProbeAndLockPages(mdl: usize, mode: i8, operation: u32) {
        irql::at_most("MmProbeAndLockPages", DISPATCH_LEVEL);
        known(mdl, "MmProbeAndLockPages");
        let address = address_of(&read(mdl));
        let write = operation != 0;
        let wrong = mode != 0 && !user::is_user(address);
        let failed = faults::check("MmProbeAndLockPages").or_else(|| {
            if wrong { Some(NtStatus::ACCESS_VIOLATION) } else { lock_pages(mdl, write).err() }
        });
        if failed.is_some() {
            seh::raise(Exception::access_violation(u64::from(write), address as u64));
        }
    }

    /// Unlocks them.
    fn MmUnlockPages(mdl: usize) {
        irql::at_most("MmUnlockPages", DISPATCH_LEVEL);
        known(mdl, "MmUnlockPages");
        if read(mdl).flags & MDL_PAGES_LOCKED == 0 {
            verifier::finding("mdl-not-locked", "MmUnlockPages on an MDL whose pages are not locked");
        }
        unlock(mdl);
    }

    /// Gives locked pages a system address. Only the kernel's half is modelled: NULL for a user mapping.
    partial "refused for user mode: NULL; cache type and priority change nothing"
    fn MmMapLockedPagesSpecifyCache(
        mdl: usize, mode: i8, _cache: u32, _base: usize, _bug_check: u32, _priority: u32,
    ) -> usize {
        irql::at_most("MmMapLockedPagesSpecifyCache", DISPATCH_LEVEL);
        known(mdl, "MmMapLockedPagesSpecifyCache");
        if mode != 0 {
            verifier::finding("refused", "MmMapLockedPagesSpecifyCache into user space is not modelled");
            return 0;
        }
        let flags = read(mdl).flags;
        if flags & (MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL | MDL_PARTIAL) == 0 {
            verifier::finding(
                "mdl-not-locked",
                "a system address is asked for an MDL that is neither locked nor of non-paged pool",
            );
            return 0;
        }
        if faults::check("MmMapLockedPagesSpecifyCache").is_some() {
            return 0;
        }
        system_address(mdl).unwrap_or(0)
    }

    /// Takes the system address away.
    fn MmUnmapLockedPages(_address: usize, mdl: usize) {
        irql::at_most("MmUnmapLockedPages", DISPATCH_LEVEL);
        known(mdl, "MmUnmapLockedPages");
        unmap(mdl);
    }

    /// Makes `target` describe a part of what `source` does.
    fn IoBuildPartialMdl(source: usize, target: usize, address: usize, length: u32) {
        irql::at_most("IoBuildPartialMdl", APC_LEVEL.max(DISPATCH_LEVEL));
        known(source, "IoBuildPartialMdl");
        known(target, "IoBuildPartialMdl");
        let whole = read(source);
        let into = address.wrapping_sub(address_of(&whole));
        if into > whole.byte_count as usize {
            bugcheck::raise(0x12, [0, source as u64, address as u64, 0], "IoBuildPartialMdl for an address outside of the MDL");
        }
        let rest = whole.byte_count - u32::try_from(into).unwrap_or(0);
        let length = if length == 0 { rest } else { length.min(rest) };
        change(target, |target| {
            target.start = address - address % PAGE;
            target.byte_offset = u32::try_from(address % PAGE).unwrap_or(0);
            target.byte_count = length;
            target.process = whole.process;
            target.flags = MDL_PARTIAL
                | whole.flags & (MDL_SOURCE_IS_NONPAGED_POOL | MDL_MAPPED_TO_SYSTEM_VA);
            target.mapped = whole.mapped.wrapping_add(into);
        });
    }
}
