//! Contexts: memory of a filter's that the Filter Manager keeps with a volume, an instance, a file, a stream or an open.
//!
//! A context is counted: its allocation holds one reference, what it is linked to another, and each successful get or
//! set that hands it out one more. When the last goes its clean-up callback is called and the memory is freed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::callback;
use super::objects::{self, Filter, Instance, Object};
use crate::abi::flt::ContextRegistration;
use crate::namespace::sharing::FileId;
use crate::ntos::file::File;
use crate::ntos::memory::Guest;
use crate::ntos::pool::Kind;
use crate::ntos::{irql, pool, worker};
use crate::status::NtStatus;
use crate::thread::{self, APC_LEVEL, DISPATCH_LEVEL};
use crate::verifier::{Leak, Taken};
use crate::{bugcheck, faults, gate};

pub(super) const VOLUME: u16 = 0x1;
pub(super) const INSTANCE: u16 = 0x2;
pub(super) const FILE: u16 = 0x4;
pub(super) const STREAM: u16 = 0x8;
pub(super) const STREAM_HANDLE: u16 = 0x10;
pub(super) const TRANSACTION: u16 = 0x20;
pub(super) const SECTION: u16 = 0x40;
/// `FLT_VARIABLE_SIZED_CONTEXTS`.
const VARIABLE_SIZE: usize = usize::MAX;
/// `FLTFL_CONTEXT_REGISTRATION_NO_EXACT_SIZE_MATCH`.
const NO_EXACT_SIZE: u16 = 0x1;
/// `FLT_SET_CONTEXT_REPLACE_IF_EXISTS` is 0.
const KEEP_IF_EXISTS: u32 = 1;
/// How much of a context is the Filter Manager's, where a filter allocates it whole.
const HEADER: usize = 0x40;

/// What a context is linked to. A filter has at most one context of a kind there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Place {
    Volume {
        filter: usize,
        volume: usize,
    },
    Instance {
        instance: usize,
    },
    /// A file, a stream, or a stream that is scanned by a section.
    Stream {
        kind: u16,
        instance: usize,
        id: FileId,
    },
    Handle {
        instance: usize,
        file: usize,
    },
    Transaction {
        instance: usize,
        transaction: usize,
    },
}

struct Context {
    kind: u16,
    references: i64,
    filter: usize,
    service: String,
    cleanup: usize,
    /// The references that are the filter's to give back.
    taken: Taken,
    place: Option<Place>,
    /// Whether it was linked at any time.
    linked: bool,
    /// `PFLT_CONTEXT_FREE_CALLBACK`, where the memory is the filter's own; 0: it is pool.
    free: usize,
}

#[derive(Default)]
struct State {
    contexts: HashMap<usize, Context>,
    places: HashMap<Place, usize>,
    /// Those in paged pool, with their sizes: known also where special pool is off, and nothing takes them away.
    paged: BTreeMap<usize, usize>,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name_of(kind: u16) -> &'static str {
    match kind {
        VOLUME => "volume",
        INSTANCE => "instance",
        FILE => "file",
        STREAM => "stream",
        STREAM_HANDLE => "stream handle",
        TRANSACTION => "transaction",
        SECTION => "section",
        _ => "other",
    }
}

/// The registration that an allocation matches.
fn registration(filter: &Filter, kind: u16, size: usize) -> Option<ContextRegistration> {
    filter
        .contexts
        .iter()
        .find(|entry| {
            entry.context_type == kind
                // What a filter allocates itself comes from no list of one size.
                && (entry.allocate != 0
                    || entry.size == VARIABLE_SIZE
                    || entry.size == size
                    || (entry.flags & NO_EXACT_SIZE != 0 && size <= entry.size))
        })
        .copied()
}

/// A context's memory: pool, or the filter's own by its `PFLT_CONTEXT_ALLOCATE_CALLBACK`.
fn memory(
    filter: &Filter,
    found: &ContextRegistration,
    kind: u16,
    size: usize,
    pool_type: u32,
) -> Result<usize, NtStatus> {
    if found.allocate == 0 {
        let pool = if pool_type & 1 == 0 {
            Kind::NonPaged
        } else {
            Kind::Paged
        };
        let lent = pool::lend_in(pool, size, found.pool_tag);
        return lent.ok_or(NtStatus::INSUFFICIENT_RESOURCES);
    }
    // Documented: the size is that of the whole context, the Filter Manager's own part before the filter's included.
    let whole = HEADER + size;
    let arguments = [u64::from(pool_type), whole as u64, u64::from(kind)];
    let address = callback::call_unseen(
        &filter.service,
        "context allocation callback",
        found.allocate,
        &arguments,
    );
    match usize::try_from(address) {
        Ok(0) | Err(_) => Err(NtStatus::INSUFFICIENT_RESOURCES),
        Ok(address) => Ok(address + HEADER),
    }
}

pub(super) fn allocate(
    filter: &Filter,
    kind: u16,
    size: usize,
    pool_type: u32,
) -> Result<usize, NtStatus> {
    if kind == VOLUME && pool_type & 1 != 0 {
        // Documented: a volume context is allocated from non-paged pool.
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let found =
        registration(filter, kind, size).ok_or(NtStatus::FLT_CONTEXT_ALLOCATION_NOT_FOUND)?;
    let address = memory(filter, &found, kind, size, pool_type)?;
    let paged = found.allocate == 0 && pool_type & 1 != 0;
    let mut taken = Taken::default();
    taken.take();
    let context = Context {
        kind,
        references: 1,
        filter: filter.address,
        service: filter.service.clone(),
        cleanup: found.cleanup,
        taken,
        place: None,
        linked: false,
        free: found.free,
    };
    let mut state = lock();
    state.contexts.insert(address, context);
    if paged {
        state.paged.insert(address, size);
    } else {
        state.paged.remove(&address);
    }
    Ok(address)
}

/// The context, and how long it is, that lies there and is in paged pool by what its filter asked for.
pub(crate) fn paged(address: usize) -> Option<(usize, usize)> {
    let state = lock();
    let (base, size) = state.paged.range(..=address).next_back()?;
    (address < base + size).then_some((*base, *size))
}

/// What a driver passes for a context must be one: the parameters are those documented for FLTMGR_FILE_SYSTEM.
pub(super) fn gone(address: usize, function: &str) -> ! {
    bugcheck::raise(
        0xF5,
        [0x6E, address as u64, 0, 0],
        format!("{function} was given {address:#x}, which is no context (any more)"),
    )
}

/// Takes a reference that is the Filter Manager's own.
pub(super) fn reference(address: usize, function: &str) {
    change(address, function, |context| context.references += 1);
}

/// Takes a reference that the calling filter is to give back.
pub(super) fn lend(address: usize, function: &str) {
    change(address, function, |context| {
        context.references += 1;
        context.taken.take();
    });
}

/// The reference that something had to it becomes the calling filter's.
fn hand_over(address: usize, function: &str) {
    change(address, function, |context| context.taken.take());
}

/// The calling filter gives a reference back.
pub(super) fn give_back(address: usize, function: &str) {
    if paged(address).is_some() {
        irql::at_most(function, APC_LEVEL);
    }
    change(address, function, |context| context.taken.give_back());
    release(address, function);
}

fn change(address: usize, function: &str, change: impl FnOnce(&mut Context)) {
    let mut state = lock();
    let Some(context) = state.contexts.get_mut(&address) else {
        drop(state);
        gone(address, function)
    };
    change(context);
}

/// Gives back a reference that is not a filter's; with the last one the context goes.
pub(super) fn release(address: usize, function: &str) {
    let mut state = lock();
    let Some(context) = state.contexts.get_mut(&address) else {
        drop(state);
        gone(address, function)
    };
    context.references -= 1;
    let left = context.references;
    if left < i64::from(context.place.is_some()) {
        drop(state);
        bugcheck::raise(
            0xF5,
            [0x6D, address as u64, 0, 0],
            format!(
                "{function}: more references to the context at {address:#x} are given back than were taken"
            ),
        );
    }
    let last = if left == 0 {
        state.paged.remove(&address);
        state.contexts.remove(&address)
    } else {
        None
    };
    drop(state);
    let Some(context) = last else { return };
    if thread::irql() < DISPATCH_LEVEL {
        return dispose(address, &context);
    }
    // Documented: at DISPATCH_LEVEL a work item is to free the context. The filter's unregistration waits for it.
    match objects::at(context.filter) {
        Some(Object::Filter(filter)) if filter.rundown.enter() => worker::queue(move || {
            dispose(address, &context);
            filter.rundown.leave();
        }),
        _ => dispose(address, &context),
    }
}

/// A context is gone: its filter cleans up, and its memory goes.
fn dispose(address: usize, context: &Context) {
    if context.cleanup != 0 {
        // SAFETY: the routine is the one registered for this kind; it takes the context and its type.
        unsafe { gate::call(context.cleanup, &[address as u64, u64::from(context.kind)]) };
    }
    if context.free == 0 {
        pool::free(address, None);
    } else {
        let whole = address - HEADER;
        // SAFETY: the routine is the one registered beside that which allocated; it takes the memory and the type.
        unsafe { gate::call(context.free, &[whole as u64, u64::from(context.kind)]) };
    }
}

/// Links a context to a place.
pub(super) fn set(
    place: Place,
    kind: u16,
    operation: u32,
    new: usize,
    old: Guest<usize>,
    function: &str,
) -> NtStatus {
    irql::at_most(function, APC_LEVEL);
    old.write_opt(0);
    if let Some(status) = faults::check(function) {
        return status;
    }
    let mut state = lock();
    let Some(context) = state.contexts.get(&new) else {
        drop(state);
        gone(new, function)
    };
    if context.kind != kind {
        return NtStatus::INVALID_PARAMETER;
    }
    if context.place.is_some() {
        return NtStatus::FLT_CONTEXT_ALREADY_LINKED;
    }
    let existing = state.places.get(&place).copied();
    if let Some(existing) = existing
        && operation == KEEP_IF_EXISTS
    {
        drop(state);
        if !old.is_null() {
            lend(existing, function);
            old.write(existing);
        }
        return NtStatus::FLT_CONTEXT_ALREADY_DEFINED;
    }
    state.places.insert(place, new);
    if let Some(context) = state.contexts.get_mut(&new) {
        context.place = Some(place);
        context.linked = true;
        context.references += 1;
    }
    if let Some(context) = existing.and_then(|existing| state.contexts.get_mut(&existing)) {
        context.place = None;
    }
    drop(state);
    match existing {
        // The link's reference becomes the caller's.
        Some(existing) if !old.is_null() => {
            hand_over(existing, function);
            old.write(existing);
        }
        Some(existing) => release(existing, function),
        None => {}
    }
    NtStatus::SUCCESS
}

pub(super) fn get(place: Place, out: Guest<usize>, function: &str) -> NtStatus {
    irql::at_most(function, APC_LEVEL);
    out.write(0);
    if let Some(status) = faults::check(function) {
        return status;
    }
    let Some(found) = lock().places.get(&place).copied() else {
        return NtStatus::NOT_FOUND;
    };
    lend(found, function);
    out.write(found);
    NtStatus::SUCCESS
}

pub(super) fn unlink(place: Place, old: Guest<usize>, function: &str) -> NtStatus {
    irql::at_most(function, APC_LEVEL);
    old.write_opt(0);
    let Some(found) = take(place) else {
        return NtStatus::NOT_FOUND;
    };
    if old.is_null() {
        release(found, function);
    } else {
        hand_over(found, function);
        old.write(found);
    }
    NtStatus::SUCCESS
}

/// Takes a context from its place; the link's reference is the caller's to give back.
pub(super) fn take(place: Place) -> Option<usize> {
    let mut state = lock();
    let found = state.places.remove(&place)?;
    if let Some(context) = state.contexts.get_mut(&found) {
        context.place = None;
    }
    Some(found)
}

fn drop_where(wanted: impl Fn(&Place) -> bool) {
    let places: Vec<Place> = lock()
        .places
        .keys()
        .filter(|place| wanted(place))
        .copied()
        .collect();
    for context in places.into_iter().filter_map(take) {
        release(context, "the end of what a context was linked to");
    }
}

/// An instance goes, and with it every context that its filter has through it.
pub(super) fn instance_gone(gone: &Instance) {
    drop_where(|place| match place {
        Place::Instance { instance }
        | Place::Stream { instance, .. }
        | Place::Transaction { instance, .. }
        | Place::Handle { instance, .. } => *instance == gone.address,
        Place::Volume { .. } => false,
    });
}

/// A transaction is done, and with it what filters have linked to it.
pub(super) fn transaction_gone(gone: usize) {
    drop_where(
        |place| matches!(place, Place::Transaction { transaction, .. } if *transaction == gone),
    );
}

/// The section contexts that are linked to a stream, each with its instance.
pub(super) fn sections(stream: FileId) -> Vec<(usize, usize)> {
    let state = lock();
    state
        .places
        .iter()
        .filter_map(|(place, context)| match place {
            Place::Stream { kind, instance, id } if *kind == SECTION && *id == stream => {
                Some((*context, *instance))
            }
            _ => None,
        })
        .collect()
}

/// What kind of context that is.
pub(super) fn kind(context: usize, function: &str) -> u16 {
    let kind = lock().contexts.get(&context).map(|context| context.kind);
    kind.unwrap_or_else(|| gone(context, function))
}

/// Whether it was linked to something once.
pub(super) fn was_linked(context: usize) -> bool {
    let state = lock();
    state
        .contexts
        .get(&context)
        .is_some_and(|context| context.linked)
}

/// A filter goes, and with it its volume contexts.
pub(super) fn filter_gone(gone: &Filter) {
    drop_where(|place| matches!(place, Place::Volume { filter, .. } if *filter == gone.address));
}

/// An open is closed; `last`: and with it the last open of its stream, of its file.
pub(super) fn file_gone(gone: &File, [stream, whole]: [Option<FileId>; 2]) {
    drop_where(|place| match place {
        Place::Handle { file, .. } => *file == gone.address(),
        Place::Stream { kind: FILE, id, .. } => Some(*id) == whole,
        Place::Stream { id, .. } => Some(*id) == stream,
        _ => false,
    });
}

/// What contexts a driver that goes away has left; they are taken away without calling it.
pub(super) fn leftovers(service: &str) -> Vec<Leak> {
    let mut state = lock();
    let left: Vec<usize> = state
        .contexts
        .iter()
        .filter(|(_, context)| context.service == service)
        .map(|(address, _)| *address)
        .collect();
    let (mut leaks, mut own) = (Vec::new(), Vec::new());
    for address in &left {
        state.paged.remove(address);
        let Some(context) = state.contexts.remove(address) else {
            continue;
        };
        own.extend((context.free == 0).then_some(*address));
        if let Some(place) = context.place {
            state.places.remove(&place);
        }
        let text = format!(
            "a {} context has {} reference(s) left; each allocation, get and set that hands one out needs its FltReleaseContext",
            name_of(context.kind),
            context.references
        );
        leaks.push(context.taken.leak(&text).unwrap_or(Leak { text, site: 0 }));
    }
    drop(state);
    for address in own {
        pool::free(address, None);
    }
    leaks
}

/// The filter that a context belongs to.
pub(super) fn owner(context: usize, function: &str) -> usize {
    let owner = lock().contexts.get(&context).map(|context| context.filter);
    owner.unwrap_or_else(|| gone(context, function))
}

/// Where a context is linked.
pub(super) fn place(context: usize, function: &str) -> Option<Place> {
    let Some(place) = lock().contexts.get(&context).map(|context| context.place) else {
        gone(context, function)
    };
    place
}
