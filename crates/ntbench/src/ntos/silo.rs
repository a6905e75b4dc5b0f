//! Server silos, of which there is the host's alone.
//!
//! `PsGetCurrentServerSilo`, `PsRegisterSiloMonitor`, `PsCreateSiloContext` and their kin ("Silos" in ntddk.h's reference). No
//! thread runs in a container here, so that the current silo is none; monitors that watch the host are told of it when they
//! are started, and contexts live in its slots.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::memory::Guest;
use super::{driver, irql, object, pool};
use crate::maps::HashMap;
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::{bugcheck, gate, verifier};

const TAG: u32 = u32::from_le_bytes(*b"Silo");
/// `INVALID_SILO_CONTEXT_SLOT` is the highest number; so many slots there are.
const SLOTS: u32 = 32;
/// `SILO_MONITOR_REGISTRATION`: version, whether the host and silos that exist are watched, a name, the two routines.
const VERSION: u8 = 1;

const CREATED: usize = 16;
const ENDED: usize = 24;
/// Pool types whose lowest bit says paged.
const PAGED: u32 = 1;

struct Monitor {
    host: bool,
    created: usize,
    ended: usize,
    slot: u32,
    started: bool,
    service: String,
    site: usize,
}

struct Context {
    references: u64,
    clean_up: usize,
    service: String,
    site: usize,
}

#[derive(Default)]
struct State {
    slots: HashMap<u32, Option<usize>>,
    monitors: HashMap<usize, Monitor>,
    contexts: HashMap<usize, Context>,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);
static HOST: LazyLock<usize> = LazyLock::new(|| object::allocate(0x100));

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one silo; NULL stands for it, as the current one's address does where a thread is in none.
fn host(call: &str, silo: usize) {
    if silo != 0 && silo != *HOST {
        bugcheck::raise(
            0x3B,
            [0xC000_0005, 0, silo as u64, 0],
            format!("{call} was given {silo:#x}, which is no silo"),
        );
    }
}

fn new_slot(state: &mut State) -> Option<u32> {
    let free = (1..=SLOTS).find(|slot| !state.slots.contains_key(slot))?;
    state.slots.insert(free, None);
    Some(free)
}

fn service() -> String {
    driver::calling().map_or_else(String::new, |driver| driver.service.clone())
}

/// Gives a reference to a context back; the last one has it cleaned up and freed.
fn release(context: usize) {
    let mut state = lock();
    let Some(known) = state.contexts.get_mut(&context) else {
        bugcheck::raise(
            0x18,
            [0, context as u64, 2, 0],
            "a silo context is dereferenced that is none (any more)",
        );
    };
    known.references -= 1;
    if known.references > 0 {
        return;
    }
    let clean_up = known.clean_up;
    state.contexts.remove(&context);
    drop(state);
    if clean_up != 0 {
        // SAFETY: the driver gave that routine with the context; it takes the context.
        unsafe { gate::call(clean_up, &[context as u64]) };
    }
    pool::free(context, None);
}

/// Tells a monitor of the host's silo.
fn tell(routine: usize) {
    if routine != 0 {
        // SAFETY: the driver registered that routine, which takes a silo.
        unsafe { gate::call(routine, &[*HOST as u64]) };
    }
}

/// Takes a context out of a slot; the slot's reference goes to the caller.
fn take(slot: u32) -> Result<usize, NtStatus> {
    let mut state = lock();
    let place = state
        .slots
        .get_mut(&slot)
        .ok_or(NtStatus::INVALID_PARAMETER)?;
    place.take().ok_or(NtStatus::NOT_FOUND)
}

fn put(slot: u32, context: usize, replace: bool) -> Result<Option<usize>, NtStatus> {
    let mut state = lock();
    if !state.contexts.contains_key(&context) {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let place = state
        .slots
        .get_mut(&slot)
        .ok_or(NtStatus::INVALID_PARAMETER)?;
    if place.is_some() && !replace {
        return Err(NtStatus::OBJECT_NAME_COLLISION);
    }
    let former = place.replace(context);
    if let Some(known) = state.contexts.get_mut(&context) {
        known.references += 1;
    }
    Ok(former)
}

/// What is in a slot, referenced.
fn get(call: &str, silo: usize, slot: u32, out: Guest<usize>) -> NtStatus {
    irql::at_most(call, DISPATCH_LEVEL);
    host(call, silo);
    let mut state = lock();
    let found = match state.slots.get(&slot) {
        Some(Some(context)) => *context,
        Some(None) => return NtStatus::NOT_FOUND,
        None => return NtStatus::INVALID_PARAMETER,
    };
    if let Some(known) = state.contexts.get_mut(&found) {
        known.references += 1;
    }
    drop(state);
    out.write(found);
    NtStatus::SUCCESS
}

/// Reports what a driver that goes away has left.
pub(super) fn report_leaks(service: &str) {
    let mut state = lock();
    let mut left: Vec<(&str, usize)> = Vec::new();
    state.monitors.retain(|_, monitor| {
        if monitor.service == service {
            left.push(("a silo monitor", monitor.site));
        }
        monitor.service != service
    });
    state.contexts.retain(|_, context| {
        if context.service == service {
            left.push(("a silo context", context.site));
        }
        context.service != service
    });
    drop(state);
    for (what, site) in left {
        verifier::finding_at(
            "notify-left",
            site,
            format!("{service} went away with {what} registered"),
        );
    }
}

exports! { "ntoskrnl.exe";
    /// The silo that the current thread is in: none.
    partial "NULL always: no thread runs in a container"
    fn PsGetCurrentSilo() -> usize {
        0
    }

    /// The server silo that the current thread is in: none.
    partial "NULL always: no thread runs in a container"
    fn PsGetCurrentServerSilo() -> usize {
        0
    }

    /// The host's silo.
    fn PsGetHostSilo() -> usize {
        *HOST
    }

    /// Whether a silo is the host's.
    fn PsIsHostSilo(silo: usize) -> u8 {
        host("PsIsHostSilo", silo);
        1
    }

    /// The server silo that a silo is in, or itself.
    fn PsGetEffectiveServerSilo(silo: usize) -> usize {
        host("PsGetEffectiveServerSilo", silo);
        silo
    }

    /// The silo above one: none.
    fn PsGetParentSilo(job: usize) -> usize {
        host("PsGetParentSilo", job);
        0
    }

    /// The server silo of a thread: none.
    partial "NULL always: no thread runs in a container"
    fn PsGetThreadServerSilo(_thread: usize) -> usize {
        0
    }

    /// Whether the current thread is in a server silo.
    partial "FALSE always: no thread runs in a container"
    fn PsIsCurrentThreadInServerSilo() -> u8 {
        0
    }

    /// Which container a silo is: of the host's the nil GUID.
    fn PsGetSiloContainerId(silo: usize) -> usize {
        static NIL: [u8; 16] = [0; 16];
        host("PsGetSiloContainerId", silo);
        NIL.as_ptr().expose_provenance()
    }

    /// Has the current thread run in a silo; gives the former one.
    partial "the host's silo alone, which changes nothing"
    fn PsAttachSiloToCurrentThread(silo: usize) -> usize {
        irql::at_most("PsAttachSiloToCurrentThread", APC_LEVEL);
        host("PsAttachSiloToCurrentThread", silo);
        usize::MAX
    }

    /// Ends that.
    fn PsDetachSiloFromCurrentThread(_former: usize) {
        irql::at_most("PsDetachSiloFromCurrentThread", APC_LEVEL);
    }

    /// The silo that a file object was opened in: none.
    partial "NULL always: no thread runs in a container"
    fn IoGetSilo(file: usize) -> usize {
        object::file(file, "IoGetSilo");
        0
    }

    /// A slot for contexts of silos.
    fn PsAllocSiloContextSlot(_reserved: usize, out: Guest<u32>) -> NtStatus {
        irql::at_most("PsAllocSiloContextSlot", APC_LEVEL);
        let Some(slot) = new_slot(&mut lock()) else { return NtStatus::INSUFFICIENT_RESOURCES };
        out.write(slot);
        NtStatus::SUCCESS
    }

    /// Gives it back.
    fn PsFreeSiloContextSlot(slot: u32) -> NtStatus {
        irql::at_most("PsFreeSiloContextSlot", APC_LEVEL);
        let Some(context) = lock().slots.remove(&slot) else { return NtStatus::NOT_FOUND };
        if let Some(context) = context {
            release(context);
        }
        NtStatus::SUCCESS
    }

    /// Makes a context, with one reference.
    fn PsCreateSiloContext(silo: usize, size: u32, pool_type: u32, clean_up: usize, out: Guest<usize>) -> NtStatus {
        irql::at_most("PsCreateSiloContext", APC_LEVEL);
        host("PsCreateSiloContext", silo);
        // What is pageable must not be: contexts are looked at at DISPATCH_LEVEL.
        if size == 0 || pool_type & PAGED != 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        let Some(block) = pool::lend(size as usize, TAG, true) else { return NtStatus::INSUFFICIENT_RESOURCES };
        lock().contexts.insert(block, Context { references: 1, clean_up, service: service(), site: verifier::here() });
        out.write(block);
        NtStatus::SUCCESS
    }

    /// Takes a reference to a context.
    fn PsReferenceSiloContext(context: usize) {
        irql::at_most("PsReferenceSiloContext", DISPATCH_LEVEL);
        match lock().contexts.get_mut(&context) {
            Some(known) => known.references += 1,
            None => bugcheck::raise(0x18, [0, context as u64, 0, 0], "PsReferenceSiloContext on what is no silo context"),
        }
    }

    /// Gives it back.
    fn PsDereferenceSiloContext(context: usize) {
        irql::at_most("PsDereferenceSiloContext", DISPATCH_LEVEL);
        release(context);
    }

    /// Puts a context into a silo's slot, which takes a reference.
    fn PsInsertSiloContext(silo: usize, slot: u32, context: usize) -> NtStatus {
        irql::at_most("PsInsertSiloContext", DISPATCH_LEVEL);
        host("PsInsertSiloContext", silo);
        put(slot, context, false).err().unwrap_or(NtStatus::SUCCESS)
    }

    /// The same, for as long as the silo lives.
    fn PsInsertPermanentSiloContext(silo: usize, slot: u32, context: usize) -> NtStatus {
        irql::at_most("PsInsertPermanentSiloContext", DISPATCH_LEVEL);
        host("PsInsertPermanentSiloContext", silo);
        put(slot, context, false).err().unwrap_or(NtStatus::SUCCESS)
    }

    /// Puts one in the place of another, whose reference the caller gets.
    fn PsReplaceSiloContext(silo: usize, slot: u32, context: usize, former: Guest<usize>) -> NtStatus {
        irql::at_most("PsReplaceSiloContext", DISPATCH_LEVEL);
        host("PsReplaceSiloContext", silo);
        match put(slot, context, true) {
            Ok(was) if former.is_null() => {
                if let Some(was) = was {
                    release(was);
                }
                NtStatus::SUCCESS
            }
            Ok(was) => {
                former.write(was.unwrap_or(0));
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// What is in a silo's slot, referenced.
    fn PsGetSiloContext(silo: usize, slot: u32, out: Guest<usize>) -> NtStatus {
        get("PsGetSiloContext", silo, slot, out)
    }

    /// The same for one that stays, which is not referenced.
    fn PsGetPermanentSiloContext(silo: usize, slot: u32, out: Guest<usize>) -> NtStatus {
        let status = get("PsGetPermanentSiloContext", silo, slot, out);
        if status.is_success() {
            release(out.read());
        }
        status
    }

    /// Takes what is in a slot out; the caller gets its reference, or it is given back.
    fn PsRemoveSiloContext(silo: usize, slot: u32, out: Guest<usize>) -> NtStatus {
        irql::at_most("PsRemoveSiloContext", DISPATCH_LEVEL);
        host("PsRemoveSiloContext", silo);
        match take(slot) {
            Ok(context) if out.is_null() => release(context),
            Ok(context) => out.write(context),
            Err(status) => return status,
        }
        NtStatus::SUCCESS
    }

    /// Registers a monitor of server silos, which is told of them once it is started.
    fn PsRegisterSiloMonitor(registration: usize, out: Guest<usize>) -> NtStatus {
        irql::at_most("PsRegisterSiloMonitor", PASSIVE_LEVEL);
        let [version, watches_host] = Guest::<[u8; 2]>::at(registration).read();
        if version != VERSION {
            return NtStatus::INVALID_PARAMETER;
        }
        let mut state = lock();
        let Some(slot) = new_slot(&mut state) else { return NtStatus::INSUFFICIENT_RESOURCES };
        let handle = object::allocate(16);
        state.monitors.insert(handle, Monitor {
            host: watches_host != 0,
            created: Guest::at(registration + CREATED).read(),
            ended: Guest::at(registration + ENDED).read(),
            slot,
            started: false,
            service: service(),
            site: verifier::here(),
        });
        drop(state);
        out.write(handle);
        NtStatus::SUCCESS
    }

    /// Starts it.
    fn PsStartSiloMonitor(handle: usize) -> NtStatus {
        irql::at_most("PsStartSiloMonitor", PASSIVE_LEVEL);
        let told = match lock().monitors.get_mut(&handle) {
            Some(monitor) if !monitor.started => {
                monitor.started = true;
                if monitor.host { monitor.created } else { 0 }
            }
            _ => return NtStatus::INVALID_PARAMETER,
        };
        tell(told);
        NtStatus::SUCCESS
    }

    /// The slot for its contexts.
    fn PsGetSiloMonitorContextSlot(handle: usize) -> u32 {
        lock().monitors.get(&handle).map_or(u32::MAX, |monitor| monitor.slot)
    }

    /// Takes a monitor away; it is told that the silos which it watched are no longer its affair.
    fn PsUnregisterSiloMonitor(handle: usize) {
        irql::at_most("PsUnregisterSiloMonitor", PASSIVE_LEVEL);
        let Some(monitor) = lock().monitors.remove(&handle) else { return };
        if monitor.started && monitor.host {
            tell(monitor.ended);
        }
        PsFreeSiloContextSlot(monitor.slot);
    }
}
