//! Lookaside lists (`GENERAL_LOOKASIDE`): the header's inline functions read and count in the driver's memory, so it is laid out as
//! `ntddk.h` has it; only initialising and deleting are the kernel's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::memory::Guest;
use super::{driver, irql, routines, slist};
use crate::status::NtStatus;
use crate::thread::DISPATCH_LEVEL;
use crate::{faults, gate, verifier};

const DEPTH: usize = 0x10;
const MAXIMUM_DEPTH: usize = 0x12;
const TYPE: usize = 0x24;
const TAG: usize = 0x28;
const SIZE: usize = 0x2C;
const ALLOCATE: usize = 0x30;
const FREE: usize = 0x38;
const LIST_ENTRY: usize = 0x40;
/// Of `NPAGED_LOOKASIDE_LIST` and its paged kin.
const BYTES: usize = 0x80;
/// Of `LOOKASIDE_LIST_EX`.
const EX_BYTES: usize = 0x60;
/// `EX_LOOKASIDE_LIST_EX_FLAGS_RAISE_ON_FAIL` and `…_FAIL_NO_RAISE`, and the former as a pool type has it.
const RAISE_ON_FAIL: u32 = 1;
const FAIL_NO_RAISE: u32 = 2;
const POOL_RAISE: u32 = 16;

/// What Windows begins with, and the most that its balancing gives.
const FIRST_DEPTH: u16 = 4;
const MOST_DEPTH: u16 = 256;

/// Who initialised a list, and where.
struct Owner {
    service: Option<String>,
    site: usize,
}

/// Whether there ever was one.
static ANY: AtomicBool = AtomicBool::new(false);
/// The lists in use.
static LISTS: LazyLock<Mutex<HashMap<usize, Owner>>> = LazyLock::new(Mutex::default);

fn lists() -> MutexGuard<'static, HashMap<usize, Owner>> {
    LISTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A list's own routines, or the pool's.
struct Routines {
    allocate: usize,
    free: usize,
}

fn initialise(
    list: usize,
    routines: &Routines,
    flags: u32,
    size: usize,
    tag: u32,
    pool: u32,
    call: &str,
) {
    irql::at_most(call, DISPATCH_LEVEL);
    if !list.is_multiple_of(16) {
        verifier::finding(
            "lookaside-alignment",
            format!("{call}: the list at {list:#x} is not aligned to 16 bytes"),
        );
    }
    if tag == 0 {
        verifier::finding("pool-tag", format!("{call} was given tag 0"));
    }
    let bytes = if call.ends_with("Ex") {
        EX_BYTES
    } else {
        BYTES
    };
    Guest::<u8>::at(list).write_many(&vec![0; bytes]);
    slist::InitializeSListHead(list);
    Guest::<u16>::at(list + DEPTH).write(FIRST_DEPTH);
    Guest::<u16>::at(list + MAXIMUM_DEPTH).write(MOST_DEPTH);
    // The flags are those of a pool type: POOL_RAISE_IF_ALLOCATION_FAILURE, POOL_NX_ALLOCATION.
    Guest::<u32>::at(list + TYPE).write(pool | flags);
    Guest::<u32>::at(list + TAG).write(tag);
    Guest::<u32>::at(list + SIZE).write(u32::try_from(size).unwrap_or(u32::MAX));
    let or_pools = |own: usize, name| {
        if own == 0 {
            routines::address(&["ntoskrnl.exe"], name)
        } else {
            own
        }
    };
    Guest::<usize>::at(list + ALLOCATE).write(or_pools(routines.allocate, "ExAllocatePoolWithTag"));
    Guest::<usize>::at(list + FREE).write(or_pools(routines.free, "ExFreePool"));
    let entry = list + LIST_ENTRY;
    Guest::<[usize; 2]>::at(entry).write([entry, entry]);
    let owner = Owner {
        service: driver::calling().map(|driver| driver.service.clone()),
        site: verifier::here(),
    };
    ANY.store(true, Ordering::Release);
    if lists().insert(list, owner).is_some() {
        verifier::finding(
            "lookaside-initialised-twice",
            format!(
                "the lookaside list at {list:#x} is initialised again without having been deleted"
            ),
        );
    }
}

/// Initialises a list of the pool's blocks for a function of the Filter Manager's.
pub(crate) fn initialise_plain(list: usize, paged: bool, size: usize, tag: u32, call: &str) {
    let routines = Routines {
        allocate: 0,
        free: 0,
    };
    initialise(list, &routines, 0, size, tag, u32::from(paged), call);
}

/// Names a list that is none.
pub(crate) fn check(list: usize, call: &str) {
    if !lists().contains_key(&list) {
        unknown(list, call);
    }
}

fn unknown(list: usize, call: &str) {
    verifier::finding(
        "lookaside-unknown",
        format!("{call} of {list:#x}, which is no initialised lookaside list"),
    );
}

pub(crate) fn delete(list: usize, call: &str) {
    irql::at_most(call, DISPATCH_LEVEL);
    if lists().remove(&list).is_none() {
        return unknown(list, call);
    }
    flush(list);
}

/// Frees what is in a list.
fn flush(list: usize) {
    let free = Guest::<usize>::at(list + FREE).read();
    loop {
        let entry = slist::ExpInterlockedPopEntrySList(list);
        if entry == 0 {
            return;
        }
        // SAFETY: the list's routine, which the driver gave (or the pool's stub), takes one entry, and the list where it is an extended one.
        unsafe { gate::call_within(free, &[entry as u64, list as u64]) };
    }
}

/// Driver Verifier's miscellaneous checks: an active list in memory that is freed.
pub(super) fn about_to_free(start: usize, length: usize) {
    if !ANY.load(Ordering::Acquire) {
        return;
    }
    let range = start..start + length;
    let found = lists().keys().copied().find(|list| range.contains(list));
    if let Some(list) = found {
        verifier::finding(
            "lookaside-in-freed-pool",
            format!("pool is freed that holds the lookaside list at {list:#x}"),
        );
    }
}

/// Reports lists that a driver which goes away has not deleted.
pub(super) fn report_leaks(service: &str) {
    let mut left = Vec::new();
    lists().retain(|list, owner| {
        let mine = owner.service.as_deref() == Some(service);
        if mine {
            left.push((*list, owner.site));
        }
        !mine
    });
    for (list, site) in left {
        verifier::finding_at(
            "lookaside-not-deleted",
            site,
            format!("{service} went away without deleting the lookaside list at {list:#x}"),
        );
    }
}

exports! { "ntoskrnl.exe";
    /// Initialises a list of non-paged blocks.
    fn ExInitializeNPagedLookasideList(list: usize, allocate: usize, free: usize, flags: u32, size: usize, tag: u32, _depth: u16) {
        initialise(list, &Routines { allocate, free }, flags, size, tag, 0, "ExInitializeNPagedLookasideList");
    }

    /// Initialises a list of paged blocks.
    fn ExInitializePagedLookasideList(list: usize, allocate: usize, free: usize, flags: u32, size: usize, tag: u32, _depth: u16) {
        initialise(list, &Routines { allocate, free }, flags, size, tag, 1, "ExInitializePagedLookasideList");
    }

    /// Deletes a list and frees what is in it.
    fn ExDeleteNPagedLookasideList(list: usize) {
        delete(list, "ExDeleteNPagedLookasideList");
    }

    /// Deletes a list and frees what is in it.
    fn ExDeletePagedLookasideList(list: usize) {
        delete(list, "ExDeletePagedLookasideList");
    }

    /// Initialises a list of blocks of any pool; its routines get the list too.
    fn ExInitializeLookasideListEx(
        list: usize, allocate: usize, free: usize, pool: u32, flags: u32, size: usize, tag: u32, depth: u16,
    ) -> NtStatus {
        if flags & !(RAISE_ON_FAIL | FAIL_NO_RAISE) != 0 || depth != 0 {
            return NtStatus::INVALID_PARAMETER_5;
        }
        if let Some(status) = faults::check("ExInitializeLookasideListEx") {
            return status;
        }
        let raise = if flags & RAISE_ON_FAIL == 0 { 0 } else { POOL_RAISE };
        initialise(list, &Routines { allocate, free }, raise, size, tag, pool, "ExInitializeLookasideListEx");
        NtStatus::SUCCESS
    }

    /// Deletes such a list and frees what is in it.
    fn ExDeleteLookasideListEx(list: usize) {
        delete(list, "ExDeleteLookasideListEx");
    }

    /// Frees what is in such a list.
    fn ExFlushLookasideListEx(list: usize) {
        irql::at_most("ExFlushLookasideListEx", DISPATCH_LEVEL);
        flush(list);
    }
}
