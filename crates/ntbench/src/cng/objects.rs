//! Handles of algorithms, hashes and keys: whose they are, and whether they may be used where they are used.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::Answer;
use super::algorithm::Algorithm;
use super::hash::Hash;
use super::key::Key;
use crate::ntos::memory::Guest;
use crate::ntos::{driver, irql};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL};
use crate::verifier;

/// Where handles lie: addresses at which nothing is, so that whoever follows one gets bug check 0x50.
const FIRST: usize = 0xFFFF_A70C_0000_0000;
/// What stands at the beginning of memory that a caller has given for an object.
const MARK: u64 = 0x4B52_414D_474E_4323;

/// What a handle is of.
pub(super) enum Object {
    /// `BCRYPT_ALG_HANDLE`.
    Algorithm(Algorithm),
    /// `BCRYPT_HASH_HANDLE`.
    Hash(Hash),
    /// `BCRYPT_KEY_HANDLE`.
    Key(Key),
}

impl Object {
    fn noun(&self) -> &'static str {
        match self {
            Self::Algorithm(_) => "an algorithm provider",
            Self::Hash(_) => "a hash",
            Self::Key(_) => "a key",
        }
    }
}

struct Entry {
    object: Object,
    /// Whether its provider was opened with `BCRYPT_PROV_DISPATCH`.
    dispatch: bool,
    /// The caller's memory that it lies in, where it gave any.
    memory: Option<usize>,
    service: String,
    site: usize,
}

static ENTRIES: LazyLock<Mutex<HashMap<usize, Entry>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicUsize = AtomicUsize::new(FIRST);

fn lock() -> MutexGuard<'static, HashMap<usize, Entry>> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory that a caller gives for an object: none, or enough.
pub(super) fn memory(at: Guest<u8>, length: u32, needed: u32) -> Answer<Option<usize>> {
    match (at.is_null(), length) {
        (true, 0) => Ok(None),
        (true, _) => Err(NtStatus::INVALID_PARAMETER),
        (false, given) if given < needed => Err(NtStatus::BUFFER_TOO_SMALL),
        (false, _) => {
            // The object takes all of it.
            at.write_many(&vec![0; needed as usize]);
            Guest::at(at.address()).write(MARK);
            Ok(Some(at.address()))
        }
    }
}

/// Gives an object a handle.
pub(super) fn add(object: Object, dispatch: bool, memory: Option<usize>) -> usize {
    let handle = NEXT.fetch_add(0x20, Ordering::Relaxed);
    let entry = Entry {
        object,
        dispatch,
        memory,
        service: driver::calling().map_or_else(String::new, |driver| driver.service.clone()),
        site: verifier::here(),
    };
    lock().insert(handle, entry);
    handle
}

/// What a function does with an object, once it is seen to be one, and to be used at an IRQL that it was made for.
pub(super) fn with<T>(
    call: &str,
    handle: usize,
    act: impl FnOnce(&mut Object, bool) -> Answer<T>,
) -> Answer<T> {
    let (dispatch, memory) = match lock().get(&handle) {
        Some(entry) => (entry.dispatch, entry.memory),
        None => return Err(none(call, handle)),
    };
    level(call, dispatch);
    look(call, memory);
    match lock().get_mut(&handle) {
        Some(entry) => act(&mut entry.object, entry.dispatch),
        None => Err(none(call, handle)),
    }
}

/// Takes an object away, if it is one that `fits`.
pub(super) fn remove(call: &str, handle: usize, fits: impl FnOnce(&Object) -> bool) -> Answer {
    let (dispatch, memory) = match lock().get(&handle) {
        Some(entry) if fits(&entry.object) => (entry.dispatch, entry.memory),
        _ => return Err(none(call, handle)),
    };
    level(call, dispatch);
    look(call, memory);
    lock().remove(&handle);
    if let Some(memory) = memory {
        Guest::at(memory).write(0_u64);
    }
    Ok(())
}

/// At `DISPATCH_LEVEL` only what was opened for it. The pages name that and `PASSIVE_LEVEL`; the levels between are taken for the latter.
pub(super) fn level(call: &str, dispatch: bool) {
    irql::at_most(call, if dispatch { DISPATCH_LEVEL } else { APC_LEVEL });
}

fn look(call: &str, memory: Option<usize>) {
    if let Some(memory) = memory
        && Guest::<u64>::at(memory).read() != MARK
    {
        verifier::finding(
            "cng-object-memory",
            format!("{call} was given an object whose memory at {memory:#x} has been written to"),
        );
    }
}

/// A handle that is none. Windows does not find out about every one; NULL is the caller's failure to open it, and no more.
pub(super) fn none(call: &str, handle: usize) -> NtStatus {
    if handle != 0 {
        verifier::finding(
            "cng-handle",
            format!("{call} was given {handle:#x}, which is no handle of that kind (any more)"),
        );
    }
    NtStatus::INVALID_HANDLE
}

/// Reports what a driver that goes away has left.
pub(crate) fn report_leaks(service: &str) {
    let mut left: Vec<(usize, Entry)> = lock()
        .extract_if(|_, entry| entry.service == service)
        .collect();
    left.sort_unstable_by_key(|(handle, _)| *handle);
    for (_, entry) in left {
        verifier::finding_at(
            "cng-leak",
            entry.site,
            format!("{service} went away with {} left", entry.object.noun()),
        );
    }
}
