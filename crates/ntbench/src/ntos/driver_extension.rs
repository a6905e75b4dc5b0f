//! What a driver keeps with its driver object, and routines that it has called later.
//!
//! `IoAllocateDriverObjectExtension`, `IoRegisterDriverReinitialization`, `IoRegisterFsRegistrationChange`.

use std::collections::VecDeque;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::memory::Guest;
use super::{Entered, driver, irql, pool};
use crate::maps::HashMap;
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};
use crate::{fltmgr, gate, verifier};

const TAG: u32 = u32::from_le_bytes(*b"DrvE");

/// A routine that wants to be called again, and how often it was.
struct Again {
    driver: usize,
    routine: usize,
    context: u64,
    count: u32,
}

#[derive(Default)]
struct State {
    /// Extensions by driver object and the address that names them.
    extensions: HashMap<(usize, usize), usize>,
    again: VecDeque<Again>,
    /// How often each routine of a driver's was registered so.
    counts: HashMap<(usize, usize), u32>,
    /// Who is to be told of file systems: driver object, routine, where.
    listeners: Vec<(usize, usize, usize)>,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls what a driver's `DriverEntry` has registered to be called after it, and what those register in turn. One that never
/// ends that is stopped by the machine's time limit, as it would keep Windows from starting.
pub(super) fn reinitialise(object: usize) {
    loop {
        let next = {
            let mut state = lock();
            let index = state.again.iter().position(|again| again.driver == object);
            index.and_then(|index| state.again.remove(index))
        };
        let Some(next) = next else { return };
        let entered = super::Entered::now();
        let arguments = [object as u64, next.context, next.count.into()];
        // SAFETY: the driver registered that routine, which takes the driver object, its context and a count.
        unsafe { gate::call(next.routine, &arguments) };
        let service =
            driver::of_object(object).map_or_else(String::new, |driver| driver.service.clone());
        entered.check("a reinitialization routine", &service);
    }
}

/// A driver is gone: its extensions go with its object.
pub(super) fn gone(object: usize, service: &str) {
    let mut state = lock();
    state.again.retain(|again| again.driver != object);
    state.counts.retain(|(owner, _), _| *owner != object);
    let mut freed = Vec::new();
    state.extensions.retain(|(owner, _), block| {
        if *owner == object {
            freed.push(*block);
        }
        *owner != object
    });
    let mut left = Vec::new();
    state.listeners.retain(|(owner, _, site)| {
        if *owner == object {
            left.push(*site);
        }
        *owner != object
    });
    drop(state);
    for block in freed {
        pool::free(block, None);
    }
    for site in left {
        verifier::finding_at(
            "notify-left",
            site,
            format!(
                "{service} went away with a routine registered by IoRegisterFsRegistrationChange"
            ),
        );
    }
}

fn call_again(call: &str, object: usize, routine: usize, context: u64) {
    irql::at_most(call, PASSIVE_LEVEL);
    let mut state = lock();
    let count = state.counts.entry((object, routine)).or_default();
    *count += 1;
    let count = *count;
    state.again.push_back(Again {
        driver: object,
        routine,
        context,
        count,
    });
}

/// Registers a routine, and tells it of the file systems that there are.
fn listen(call: &str, object: usize, routine: usize) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    let status = register(object, routine);
    if status.is_success() {
        for device in fltmgr::file_system_devices() {
            let entered = Entered::now();
            // SAFETY: a routine that is registered so takes a device object, and whether its file system is active.
            unsafe { gate::call(routine, &[device as u64, 1]) };
            let service =
                driver::at(routine).map_or_else(String::new, |driver| driver.service.clone());
            entered.check(
                "a routine registered by IoRegisterFsRegistrationChange",
                &service,
            );
        }
    }
    status
}

fn register(object: usize, routine: usize) -> NtStatus {
    let site = verifier::here();
    let mut state = lock();
    if state
        .listeners
        .iter()
        .any(|(_, known, _)| *known == routine)
    {
        // Some Windows answer so, others take the second for the first: registering twice is a mistake.
        return NtStatus::DEVICE_ALREADY_ATTACHED;
    }
    state.listeners.push((object, routine, site));
    NtStatus::SUCCESS
}

exports! { "ntoskrnl.exe";
    /// Takes memory that goes with the driver object.
    fn IoAllocateDriverObjectExtension(object: usize, id: usize, size: u32, out: Guest<usize>) -> NtStatus {
        irql::at_most("IoAllocateDriverObjectExtension", APC_LEVEL);
        out.write(0);
        if lock().extensions.contains_key(&(object, id)) {
            return NtStatus::OBJECT_NAME_COLLISION;
        }
        let Some(block) = pool::lend(size as usize, TAG, true) else { return NtStatus::INSUFFICIENT_RESOURCES };
        lock().extensions.insert((object, id), block);
        out.write(block);
        NtStatus::SUCCESS
    }

    /// Finds it.
    fn IoGetDriverObjectExtension(object: usize, id: usize) -> usize {
        irql::at_most("IoGetDriverObjectExtension", crate::thread::DISPATCH_LEVEL);
        lock().extensions.get(&(object, id)).copied().unwrap_or(0)
    }

    /// Has a routine called once `DriverEntry` has returned.
    partial "once the driver's own DriverEntry has returned; Windows waits for other drivers' too"
    fn IoRegisterDriverReinitialization(object: usize, routine: usize, context: u64) {
        call_again("IoRegisterDriverReinitialization", object, routine, context);
    }

    /// The same for drivers that are started early.
    partial "as IoRegisterDriverReinitialization"
    fn IoRegisterBootDriverReinitialization(object: usize, routine: usize, context: u64) {
        call_again("IoRegisterBootDriverReinitialization", object, routine, context);
    }

    /// Has a routine called when file systems come and go.
    partial "told at once of NTFS's and MUP's control devices; none comes or goes"
    fn IoRegisterFsRegistrationChange(object: usize, routine: usize) -> NtStatus {
        listen("IoRegisterFsRegistrationChange", object, routine)
    }

    /// The same, for filters that attach before the mount.
    partial "told at once of NTFS's and MUP's control devices; none comes or goes"
    fn IoRegisterFsRegistrationChangeMountAware(object: usize, routine: usize, _synchronise: u8) -> NtStatus {
        listen("IoRegisterFsRegistrationChangeMountAware", object, routine)
    }

    /// Ends that.
    fn IoUnregisterFsRegistrationChange(object: usize, routine: usize) {
        irql::at_most("IoUnregisterFsRegistrationChange", PASSIVE_LEVEL);
        lock().listeners.retain(|(owner, known, _)| (*owner, *known) != (object, routine));
    }
}
