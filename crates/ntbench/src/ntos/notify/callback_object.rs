//! Callback objects: drivers that notify each other, by name.
//!
//! `ExCreateCallback`, `ExRegisterCallback`, `ExNotifyCallback`.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::super::memory::Guest;
use super::super::object::{self, Counted};
use super::super::{callback_type, driver, irql};
use super::{Place, left};
use crate::abi::ob::ObjectAttributes;
use crate::maps::HashMap;
use crate::namespace::names;
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::{bugcheck, faults, gate};

const WHAT: &str = "callback-object";
const REMOVER: &str = "ExUnregisterCallback";
/// The ones that the system makes; nothing of what they tell of happens here.
const SYSTEMS: [&str; 3] = [
    r"\Callback\PowerState",
    r"\Callback\SetSystemTime",
    r"\Callback\ProcessorAdd",
];

struct Registered {
    handle: usize,
    object: usize,
    routine: usize,
    context: u64,
    service: String,
    site: usize,
    running: AtomicUsize,
}

/// A callback object: its name, and whether more than one routine may be registered.
struct Named {
    name: String,
    several: bool,
    object: Arc<Counted>,
}

#[derive(Default)]
struct State {
    objects: HashMap<usize, Named>,
    registered: Vec<Arc<Registered>>,
    next: usize,
}

static STATE: LazyLock<Mutex<State>> = LazyLock::new(|| {
    let mut state = State::default();
    for name in SYSTEMS {
        make(&mut state, name, true);
    }
    Mutex::new(state)
});

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make(state: &mut State, name: &str, several: bool) -> Arc<Counted> {
    let object = Counted::make("callback object", callback_type(), |address| {
        lock().objects.remove(&address);
    });
    let named = Named {
        name: name.to_owned(),
        several,
        object: Arc::clone(&object),
    };
    state.objects.insert(object.address(), named);
    object
}

/// Reports the routines that a driver leaves behind.
pub(super) fn report_left(service: &str) {
    let registered = lock().registered.clone();
    for known in registered.iter().filter(|known| known.service == service) {
        left(service, WHAT, known.site, REMOVER);
    }
}

exports! { "ntoskrnl.exe";
    /// Opens a callback object, or makes it.
    fn ExCreateCallback(out: Guest<usize>, attributes: Guest<ObjectAttributes>, create: u8, several: u8) -> NtStatus {
        irql::at_most("ExCreateCallback", PASSIVE_LEVEL);
        if let Some(status) = faults::check("ExCreateCallback") {
            return status;
        }
        let name = Guest(attributes.read().object_name).text();
        let mut state = lock();
        let same = |named: &&Named| !name.is_empty() && names::same(&named.name, &name);
        let found = state.objects.values().find(same).map(|named| Arc::clone(&named.object));
        let object = match found {
            Some(object) => {
                object.reference();
                object
            }
            None if create != 0 => make(&mut state, &name, several != 0),
            None => return NtStatus::OBJECT_NAME_NOT_FOUND,
        };
        drop(state);
        object::taken(object.address());
        out.write(object.address());
        NtStatus::SUCCESS
    }

    /// Registers a routine; gives a handle, or NULL.
    fn ExRegisterCallback(object: usize, routine: usize, context: u64) -> usize {
        irql::at_most("ExRegisterCallback", APC_LEVEL);
        let mut state = lock();
        let Some(named) = state.objects.get(&object) else { return 0 };
        if !named.several && state.registered.iter().any(|known| known.object == object) {
            return 0;
        }
        named.object.reference();
        state.next += 0x10;
        let handle = 0x2000 + state.next;
        let registered = Registered {
            handle,
            object,
            routine,
            context,
            service: driver::calling().map_or_else(String::new, |driver| driver.service.clone()),
            site: gate::call_site().map_or(0, |site| site.return_address),
            running: AtomicUsize::new(0),
        };
        state.registered.push(Arc::new(registered));
        handle
    }

    /// Takes a routine away, once no thread is in it.
    fn ExUnregisterCallback(handle: usize) {
        irql::at_most("ExUnregisterCallback", APC_LEVEL);
        let mut state = lock();
        let Some(at) = state.registered.iter().position(|known| known.handle == handle) else {
            drop(state);
            bugcheck::raise(
                0x3B,
                [0xC000_0005, 0, handle as u64, 0],
                format!("ExUnregisterCallback was given {handle:#x}, which is no registration (any more)"),
            );
        };
        let removed = state.registered.remove(at);
        let object = state.objects.get(&removed.object).map(|named| Arc::clone(&named.object));
        drop(state);
        let place = Place { service: &removed.service, what: WHAT, routine: removed.routine, running: &removed.running };
        place.wait(REMOVER);
        if let Some(object) = object {
            object.dereference();
        }
    }

    /// Calls the routines that are registered, in their order.
    fn ExNotifyCallback(object: usize, first: u64, second: u64) {
        irql::at_most("ExNotifyCallback", DISPATCH_LEVEL);
        let registered = lock().registered.clone();
        for known in registered.iter().filter(|known| known.object == object) {
            let place = Place { service: &known.service, what: WHAT, routine: known.routine, running: &known.running };
            place.call("", &[known.context, first, second]);
        }
    }
}
