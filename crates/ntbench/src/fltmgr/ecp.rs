//! Extra create parameters: lists of contexts, told apart by GUID, that travel with a create.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::open_reparse;
use crate::abi::base::Guid;
use crate::maps::HashMap;
use crate::ntos::iomgr::guid;
use crate::ntos::memory::Guest;
use crate::ntos::{driver, irql, pool};
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;
use crate::verifier::{self, Leak};
use crate::{bugcheck, faults, gate};

/// A context, in a list or not.
struct Context {
    kind: Guid,
    size: u32,
    cleanup: usize,
    acknowledged: bool,
    service: String,
    site: usize,
    list: Option<usize>,
}

#[derive(Default)]
struct State {
    /// Contexts by address.
    contexts: HashMap<usize, Context>,
    /// Lists by address: who made them, and their contexts in order.
    lists: HashMap<usize, (String, usize, Vec<usize>)>,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);
const TAG: u32 = u32::from_le_bytes(*b"FMec");
/// How long a list is, whose fields are nobody's business.
const LIST_BYTES: usize = 64;

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn caller() -> (String, usize) {
    let service = driver::calling().map_or_else(String::new, |driver| driver.service.clone());
    (service, verifier::here())
}

pub(super) fn wrong(address: usize, function: &str, what: &str) -> ! {
    bugcheck::no_such(
        address,
        format!("{function} was given {address:#x}, which is no {what} (any more)"),
    )
}

impl State {
    fn list(&mut self, address: usize, function: &str) -> &mut Vec<usize> {
        match self.lists.get_mut(&address) {
            Some((_, _, contexts)) => contexts,
            None => wrong(address, function, "list of extra create parameters"),
        }
    }

    fn context(&mut self, address: usize, function: &str) -> &mut Context {
        match self.contexts.get_mut(&address) {
            Some(context) => context,
            None => wrong(address, function, "extra create parameter"),
        }
    }

    fn find(&mut self, list: usize, kind: Guid, function: &str) -> Option<usize> {
        let contexts = self.list(list, function).clone();
        contexts.into_iter().find(|address| {
            self.contexts
                .get(address)
                .is_some_and(|context| context.kind == kind)
        })
    }
}

/// Whether a list is one.
pub(super) fn is_list(address: usize) -> bool {
    lock().lists.contains_key(&address)
}

/// The context of a kind in a list that may be none.
pub(super) fn find(list: usize, kind: Guid) -> Option<usize> {
    let mut state = lock();
    if !state.lists.contains_key(&list) {
        return None;
    }
    state.find(list, kind, "")
}

/// Makes an empty list of the Filter Manager's own.
pub(super) fn own_list() -> Option<usize> {
    let address = pool::lend(LIST_BYTES, TAG, true)?;
    let nobody = (String::new(), 0, Vec::new());
    lock().lists.insert(address, nobody);
    Some(address)
}

/// Puts a context of the Filter Manager's own into a list.
pub(super) fn add_own(list: usize, kind: Guid, size: u32, function: &str) -> Option<usize> {
    let address = pool::lend(size as usize, TAG, true)?;
    let made = Context {
        kind,
        size,
        cleanup: 0,
        acknowledged: false,
        service: String::new(),
        site: 0,
        list: Some(list),
    };
    let mut state = lock();
    state.list(list, function).push(address);
    state.contexts.insert(address, made);
    Some(address)
}

/// Takes a context of the Filter Manager's own out of its list, and frees it.
pub(super) fn remove_own(address: usize) {
    let mut state = lock();
    let removed = state.contexts.remove(&address);
    let list = removed.and_then(|context| context.list);
    if let Some((_, _, contexts)) = list.and_then(|list| state.lists.get_mut(&list)) {
        contexts.retain(|context| *context != address);
    }
    drop(state);
    pool::free(address, None);
}

/// Makes a context for the driver that is calling.
pub(super) fn allocate(
    kind: Guid,
    size: u32,
    cleanup: usize,
    out: Guest<usize>,
    function: &str,
) -> NtStatus {
    out.write(0);
    if let Some(status) = faults::check(function) {
        return status;
    }
    let Some(address) = pool::lend(size as usize, TAG, true) else {
        return NtStatus::INSUFFICIENT_RESOURCES;
    };
    let (service, site) = caller();
    let made = Context {
        kind,
        size,
        cleanup,
        acknowledged: false,
        service,
        site,
        list: None,
    };
    lock().contexts.insert(address, made);
    out.write(address);
    NtStatus::SUCCESS
}

/// Makes a context as it was before somebody acknowledged it.
pub(super) fn forget_acknowledgment(address: usize, function: &str) {
    lock().context(address, function).acknowledged = false;
}

/// Frees a context; its clean-up routine is called first.
fn free(address: usize, context: &Context) {
    if context.cleanup != 0 {
        let kind = Box::new(context.kind);
        let kind_address = std::ptr::from_ref(&*kind).expose_provenance() as u64;
        // SAFETY: the routine is the one that the context was allocated with; it takes the context and its type.
        unsafe { gate::call(context.cleanup, &[address as u64, kind_address]) };
    }
    pool::free(address, None);
}

/// Frees a list and every context in it.
pub(super) fn free_list(list: usize) {
    open_reparse::list_goes(list);
    let contexts: Vec<(usize, Context)> = {
        let mut state = lock();
        let Some((_, _, addresses)) = state.lists.remove(&list) else {
            drop(state);
            wrong(
                list,
                "FltFreeExtraCreateParameterList",
                "list of extra create parameters",
            );
        };
        addresses
            .into_iter()
            .filter_map(|address| {
                state
                    .contexts
                    .remove(&address)
                    .map(|found| (address, found))
            })
            .collect()
    };
    for (address, context) in contexts {
        free(address, &context);
    }
    pool::free(list, None);
}

/// What a driver that goes away has left; it is taken away, without calling it.
pub(super) fn leftovers(service: &str) -> Vec<Leak> {
    let mut left = Vec::new();
    let mut blocks = Vec::new();
    let mut state = lock();
    state.lists.retain(|address, (owner, site, _)| {
        let leaked = owner == service;
        if leaked {
            blocks.push(*address);
            left.push(Leak {
                text: "a list of extra create parameters was not freed with FltFreeExtraCreateParameterList".to_owned(),
                site: *site,
            });
        }
        !leaked
    });
    state.contexts.retain(|address, context| {
        let leaked = context.service == service;
        if leaked {
            blocks.push(*address);
            left.push(Leak {
                text: format!(
                    "an extra create parameter {} was not freed with FltFreeExtraCreateParameter",
                    guid(context.kind)
                ),
                site: context.site,
            });
        }
        !leaked
    });
    drop(state);
    for block in blocks {
        pool::free(block, None);
    }
    left
}

/// Makes an empty list for the driver that is calling.
pub(super) fn new_list(list: Guest<usize>, function: &str) -> NtStatus {
    irql::at_most(function, APC_LEVEL);
    if let Some(status) = faults::check(function) {
        list.write(0);
        return status;
    }
    let Some(address) = pool::lend(LIST_BYTES, TAG, true) else {
        return NtStatus::INSUFFICIENT_RESOURCES;
    };
    let (service, site) = caller();
    lock().lists.insert(address, (service, site, Vec::new()));
    list.write(address);
    NtStatus::SUCCESS
}

/// Frees a context that is in no list.
pub(super) fn free_alone(context: usize, function: &str) {
    irql::at_most(function, APC_LEVEL);
    let mut state = lock();
    if state.context(context, function).list.is_some() {
        drop(state);
        wrong(
            context,
            function,
            "extra create parameter outside of a list",
        );
    }
    let removed = state.contexts.remove(&context);
    drop(state);
    if let Some(removed) = removed {
        free(context, &removed);
    }
}

/// Puts a context into a list.
pub(super) fn insert(list: usize, context: usize, function: &str) -> NtStatus {
    irql::at_most(function, APC_LEVEL);
    if let Some(status) = faults::check(function) {
        return status;
    }
    let mut state = lock();
    let kind = state.context(context, function).kind;
    if state.find(list, kind, function).is_some() {
        return NtStatus::INVALID_PARAMETER;
    }
    state.context(context, function).list = Some(list);
    state.list(list, function).push(context);
    NtStatus::SUCCESS
}

/// Takes a context out of a list; it is the caller's now.
pub(super) fn remove(
    list: usize,
    kind: Guest<Guid>,
    (context, size): (Guest<usize>, Guest<u32>),
    function: &str,
) -> NtStatus {
    irql::at_most(function, APC_LEVEL);
    let mut state = lock();
    let Some(found) = state.find(list, kind.read(), function) else {
        return NtStatus::NOT_FOUND;
    };
    state
        .list(list, function)
        .retain(|address| *address != found);
    let removed = state.context(found, function);
    removed.list = None;
    size.write_opt(removed.size);
    context.write(found);
    NtStatus::SUCCESS
}

/// Finds a context by its type.
pub(super) fn look_up(
    list: usize,
    kind: Guest<Guid>,
    (context, size): (Guest<usize>, Guest<u32>),
    function: &str,
) -> NtStatus {
    irql::at_most(function, APC_LEVEL);
    let mut state = lock();
    let found = state.find(list, kind.read(), function);
    let bytes = found.map_or(0, |found| state.context(found, function).size);
    context.write_opt(found.unwrap_or(0));
    size.write_opt(bytes);
    match found {
        Some(_) => NtStatus::SUCCESS,
        None => NtStatus::NOT_FOUND,
    }
}

/// The context after a given one, or the first.
pub(super) fn next_of(
    list: usize,
    current: usize,
    kind: Guest<Guid>,
    (next, size): (Guest<usize>, Guest<u32>),
    function: &str,
) -> NtStatus {
    irql::at_most(function, APC_LEVEL);
    let mut state = lock();
    let contexts = state.list(list, function).clone();
    let index = if current == 0 {
        0
    } else {
        match contexts.iter().position(|address| *address == current) {
            Some(index) => index + 1,
            None => return NtStatus::INVALID_PARAMETER,
        }
    };
    let Some(found) = contexts.get(index) else {
        next.write_opt(0);
        return NtStatus::NOT_FOUND;
    };
    let context = state.context(*found, function);
    kind.write_opt(context.kind);
    size.write_opt(context.size);
    next.write_opt(*found);
    NtStatus::SUCCESS
}

/// Marks a context as seen by somebody who understands it.
pub(super) fn acknowledge(context: usize, function: &str) {
    lock().context(context, function).acknowledged = true;
}

/// Whether it was.
pub(super) fn is_acknowledged(context: usize, function: &str) -> bool {
    lock().context(context, function).acknowledged
}
