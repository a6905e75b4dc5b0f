//! Reparse points that a filter wants to have opened for themselves, by tag, while others are followed: the entries that it adds to
//! a create, in an extra create parameter of type `ECP_TYPE_OPEN_REPARSE_GUID`.
//!
//! An entry is the filter's memory; its filter is referenced while it is in a create.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::flight::{self, Operation};
use super::{ecp, info, objects};
use crate::abi::base::Guid;
use crate::abi::io::IRP_MJ_CREATE;
use crate::maps::HashMap;
use crate::namespace::reparse::ReparseData;
use crate::ntos::memory::Guest;
use crate::ntos::{driver, irql, pool};
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;
use crate::verifier::{self, Leak};
use crate::{bugcheck, faults};

/// `ECP_TYPE_OPEN_REPARSE_GUID`.
const KIND: Guid = Guid {
    data1: 0x323e_b6a8,
    data2: 0xaffd,
    data3: 0x4d95,
    data4: [0x82, 0x30, 0x86, 0x3b, 0xce, 0x09, 0xd3, 0x7a],
};
/// `OPEN_REPARSE_LIST`: the head of a list.
const LIST_BYTES: u32 = 16;
/// `OPEN_REPARSE_LIST_ENTRY`.
const ENTRY_BYTES: usize = 48;
const TAG_AT: usize = 16;
const FLAGS_AT: usize = 20;
const GUID_AT: usize = 24;
const SIZE_AT: usize = 40;
const REMAINING_AT: usize = 42;
/// `OPEN_REPARSE_POINT_TAG_ENCOUNTERED`, `_REPARSE_IF_DIRECTORY_FINAL_COMPONENT`, `_VERSION_EX`.
const ENCOUNTERED: u32 = 1;
const REPARSE_IF_FINAL: u32 = 8;
const EXTENDED: u32 = 0x8000_0000;
const POOL_TAG: u32 = u32::from_le_bytes(*b"FMor");

/// An entry that is in a create's list.
struct Entry {
    /// The context of the list that it is in.
    context: usize,
    /// The filter that is referenced for it.
    filter: usize,
    /// Whose copy it is, and where it was made; `None`: it is the filter's own memory.
    copied: Option<(String, usize)>,
}

static ENTRIES: LazyLock<Mutex<HashMap<usize, Entry>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, HashMap<usize, Entry>> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn create_of(data: usize) -> Result<Arc<Operation>, NtStatus> {
    flight::at(data)
        .filter(|operation| operation.major == IRP_MJ_CREATE)
        .ok_or(NtStatus::INVALID_PARAMETER_2)
}

/// The context with the entries in a list of parameters, made where there is none.
fn context_in(list: usize, function: &str) -> Result<usize, NtStatus> {
    if let Some(found) = ecp::find(list, KIND) {
        return Ok(found);
    }
    let context = ecp::add_own(list, KIND, LIST_BYTES, function);
    let context = context.ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    Guest::<[usize; 2]>::at(context).write([context, context]);
    Ok(context)
}

/// The entries behind a list's head.
fn entries(head: usize) -> Vec<usize> {
    let next = |at: &usize| Some(Guest::<usize>::at(*at).read()).filter(|next| *next != head);
    std::iter::successors(next(&head), next).collect()
}

fn link(context: usize, entry: usize) {
    let last: usize = Guest::at(context + 8).read();
    Guest::<[usize; 2]>::at(entry).write([context, last]);
    Guest::at(last).write(entry);
    Guest::at(context + 8).write(entry);
}

fn unlink(entry: usize) {
    let [next, before]: [usize; 2] = Guest::at(entry).read();
    Guest::at(before).write(next);
    Guest::at(next + 8).write(before);
    Guest::<[usize; 2]>::at(entry).write([entry, entry]);
}

fn add(filter: usize, operation: &Operation, entry: usize) -> Result<(), NtStatus> {
    const NAME: &str = "FltAddOpenReparseEntry";
    let size: u16 = Guest::at(entry + SIZE_AT).read();
    let flags: u32 = Guest::at(entry + FLAGS_AT).read();
    if flags & EXTENDED != 0 && usize::from(size) != ENTRY_BYTES {
        return Err(NtStatus::INVALID_PARAMETER_3);
    }
    let mut list = operation.ecps.load(Ordering::Acquire);
    if list == 0 {
        list = ecp::own_list().ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
        operation.ecps.store(list, Ordering::Release);
    }
    let context = context_in(list, NAME)?;
    let referenced = info::FltObjectReference(filter);
    if !referenced.is_success() {
        return Err(referenced);
    }
    link(context, entry);
    let copied = None;
    lock().insert(
        entry,
        Entry {
            context,
            filter,
            copied,
        },
    );
    Ok(())
}

/// Takes an entry out of its list, and gives the filter back.
fn forget(address: usize) -> Option<Entry> {
    let entry = lock().remove(&address)?;
    unlink(address);
    info::FltObjectDereference(entry.filter);
    Some(entry)
}

/// A list of parameters is about to be freed: what is left in it is taken out.
pub(super) fn list_goes(list: usize) {
    if lock().is_empty() {
        return;
    }
    let Some(context) = ecp::find(list, KIND) else {
        return;
    };
    for entry in entries(context) {
        // Copies stay: whoever had them made frees them by FltFreeOpenReparseList, and is told if not.
        if lock()
            .get(&entry)
            .is_some_and(|entry| entry.copied.is_none())
        {
            forget(entry);
        }
    }
}

/// Says what the entries of a create say of a reparse point that it met: true, it is to be opened for itself.
pub(super) fn matches(ecps: usize, data: &ReparseData, unparsed: usize) -> bool {
    if ecps == 0 || lock().is_empty() {
        return false;
    }
    let Some(context) = ecp::find(ecps, KIND) else {
        return false;
    };
    let wanted = |entry: &usize| {
        let tag: u32 = Guest::at(entry + TAG_AT).read();
        let guid: [u8; 16] = Guest::at(entry + GUID_AT).read();
        tag == data.tag() && data.guid().is_none_or(|own| own == guid)
    };
    let Some(entry) = entries(context).into_iter().find(wanted) else {
        return false;
    };
    let flags = Guest::<u32>::at(entry + FLAGS_AT);
    let asked = flags.read();
    flags.write(asked | ENCOUNTERED);
    let extended = asked & EXTENDED != 0;
    if unparsed == 0 {
        return !(extended && asked & REPARSE_IF_FINAL != 0);
    }
    if extended {
        let remaining = u16::try_from(unparsed).unwrap_or(u16::MAX);
        Guest::<u16>::at(entry + REMAINING_AT).write(remaining);
    }
    false
}

fn copy(filter: usize, operation: &Operation, list: usize) -> Result<(), NtStatus> {
    const NAME: &str = "FltCopyOpenReparseList";
    let Some(from) = ecp::find(operation.ecps.load(Ordering::Acquire), KIND) else {
        return Ok(());
    };
    let context = context_in(list, NAME)?;
    let service = driver::calling().map_or_else(String::new, |driver| driver.service.clone());
    for entry in entries(from) {
        let made = pool::lend(ENTRY_BYTES, POOL_TAG, true);
        let made = made.ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
        let bytes = Guest::<u8>::at(entry).read_many(SIZE_AT + 4);
        Guest::<u8>::at(made).write_many(&bytes);
        let flags = Guest::<u32>::at(made + FLAGS_AT);
        flags.write(flags.read() & !ENCOUNTERED);
        link(context, made);
        info::FltObjectReference(filter);
        let copied = Some((service.clone(), verifier::here()));
        lock().insert(
            made,
            Entry {
                context,
                filter,
                copied,
            },
        );
    }
    Ok(())
}

/// What a driver that goes away has left of copies; they are taken away.
pub(super) fn leftovers(service: &str) -> Vec<Leak> {
    let mut left = Vec::new();
    lock().retain(|address, entry| {
        let Some((_, site)) = entry.copied.as_ref().filter(|(owner, _)| owner == service) else {
            return true;
        };
        pool::free(*address, None);
        left.push(Leak {
            text: "open reparse entries were not freed with FltFreeOpenReparseList".to_owned(),
            site: *site,
        });
        false
    });
    left
}

fn begin(filter: usize, function: &str) -> Result<(), NtStatus> {
    irql::at_most(function, APC_LEVEL);
    let _ = objects::filter(filter, function);
    faults::check(function).map_or(Ok(()), Err)
}

fn ended(done: Result<(), NtStatus>) -> NtStatus {
    done.err().unwrap_or(NtStatus::SUCCESS)
}

exports! { "fltmgr.sys";
    /// Has a create open reparse points of a tag for themselves.
    partial "a directory of that tag in the middle of a path is a reparse always, with RemainingLength"
    fn FltAddOpenReparseEntry(filter: usize, data: usize, entry: usize) -> NtStatus {
        let done = begin(filter, "FltAddOpenReparseEntry").and_then(|()| create_of(data));
        ended(done.and_then(|operation| add(filter, &operation, entry)))
    }

    /// Takes that back.
    fn FltRemoveOpenReparseEntry(filter: usize, _data: usize, entry: usize) {
        const NAME: &str = "FltRemoveOpenReparseEntry";
        irql::at_most(NAME, APC_LEVEL);
        let _ = objects::filter(filter, NAME);
        if forget(entry).is_none() {
            bugcheck::no_such(entry, format!("{NAME} was given {entry:#x}, which is in no create (any more)"));
        }
    }

    /// Copies a create's entries into a list for another create.
    fn FltCopyOpenReparseList(filter: usize, data: usize, list: usize) -> NtStatus {
        let done = begin(filter, "FltCopyOpenReparseList").and_then(|()| create_of(data));
        ended(done.and_then(|operation| copy(filter, &operation, list)))
    }

    /// Frees what was copied.
    fn FltFreeOpenReparseList(filter: usize, list: usize) {
        irql::at_most("FltFreeOpenReparseList", APC_LEVEL);
        let _ = objects::filter(filter, "FltFreeOpenReparseList");
        let Some(context) = ecp::find(list, KIND) else { return };
        let copies: Vec<usize> = {
            let all = lock();
            let mine = all.iter().filter(|(_, entry)| entry.context == context && entry.copied.is_some());
            mine.map(|(address, _)| *address).collect()
        };
        for copy in copies {
            forget(copy);
            pool::free(copy, None);
        }
        ecp::remove_own(context);
    }
}
