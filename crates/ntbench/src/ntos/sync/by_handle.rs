//! Events and timers that are known by handles, and waiting for whatever has a handle.
//!
//! `ZwCreateEvent`, `IoCreateNotificationEvent`, `ZwSetTimer`, `ZwWaitForSingleObject`. The object's body is the
//! `KEVENT` or `KTIMER` itself, so that what `ObReferenceObjectByHandle` gives can be waited for.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use super::{event, signal_state, timer, wait};
use crate::abi::base::{KEvent, UnicodeString};
use crate::abi::flt::KERNEL_MODE;
use crate::abi::ob::{OBJ_CASE_INSENSITIVE, OBJ_KERNEL_HANDLE, ObjectAttributes};
use crate::faults;
use crate::ntos::handle::{self, Target};
use crate::ntos::memory::Guest;
use crate::ntos::object::Counted;
use crate::ntos::{ObjectType, away, irql, named};
use crate::status::NtStatus;
use crate::thread::{self, APC_LEVEL, PASSIVE_LEVEL};

static EVENT: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);
static TIMER: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);

/// `EVENT_ALL_ACCESS`.
const EVENT_ALL: u32 = 0x1F_0003;
/// `MAXIMUM_WAIT_OBJECTS`.
const MOST: u32 = 64;

fn make_event(kind: u32, state: u8) -> Arc<Counted> {
    let made = Counted::make("event", EVENT.value, |_| {});
    event::KeInitializeEvent(Guest::at(made.address()), kind, u8::from(state != 0));
    made
}

fn make_timer(kind: u32) -> Arc<Counted> {
    let made = Counted::make("timer", TIMER.value, |timer| {
        timer::cancel(timer);
    });
    timer::KeInitializeTimerEx(made.address(), kind);
    made
}

/// The event of a handle that is to be set when something is done; 0: none.
pub(crate) fn event_to_set(handle: u64) -> Result<Option<Arc<Counted>>, NtStatus> {
    if handle == 0 {
        return Ok(None);
    }
    let found = named::of_handle(handle, EVENT.value)?;
    event::KeClearEvent(Guest::at(found.address()));
    Ok(Some(found))
}

/// Sets it.
pub(crate) fn set(event: &Counted) {
    event::KeSetEvent(Guest::at(event.address()), 0, 0);
}

fn on_event(
    handle: u64,
    change: impl FnOnce(Guest<KEvent>) -> i32,
    before: Guest<i32>,
) -> NtStatus {
    match named::of_handle(handle, EVENT.value) {
        Ok(event) => {
            let former = change(Guest::at(event.address()));
            before.write_opt(former);
            NtStatus::SUCCESS
        }
        Err(status) => status,
    }
}

/// Opens or makes the event of a name, as `IoCreateNotificationEvent` does: signalled when it is new.
fn io_event(call: &str, name: Guest<UnicodeString>, kind: u32, out: Guest<u64>) -> usize {
    irql::at_most(call, PASSIVE_LEVEL);
    if faults::check(call).is_some() {
        return 0;
    }
    let attributes = ObjectAttributes {
        length: u32::try_from(size_of::<ObjectAttributes>()).unwrap_or(0),
        root_directory: std::ptr::null_mut(),
        object_name: name.0,
        // OBJ_OPENIF
        attributes: OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE | 0x80,
        security_descriptor: std::ptr::null_mut(),
        security_quality_of_service: std::ptr::null_mut(),
    };
    let at = Guest::at((&raw const attributes).expose_provenance());
    let status = named::create(out, EVENT_ALL, at, EVENT.value, || Ok(make_event(kind, 1)));
    if !status.is_success() {
        return 0;
    }
    named::of_handle(out.read(), EVENT.value).map_or(0, |event| event.address())
}

/// What a wait for a handle's object waits for; `None`: it is signalled always.
fn waitable(handle: u64) -> Result<Option<usize>, NtStatus> {
    if handle.cast_signed() == -2 {
        return Ok(Some(thread::current().object));
    }
    match handle::look_up(handle, KERNEL_MODE)?.0 {
        Target::Thread(object) | Target::Process(object) => Ok(Some(object)),
        Target::Counted(counted)
            if counted.object_type == EVENT.value || counted.object_type == TIMER.value =>
        {
            Ok(Some(counted.address()))
        }
        // Before anything was begun by the file's handles that is not waited for, nothing is under way.
        Target::File(file) => Ok(away::event(&file)),
        _ => Err(NtStatus::OBJECT_TYPE_MISMATCH),
    }
}

exports! { "ntoskrnl.exe";
    data ExEventObjectType = || EVENT.variable;

    /// Makes an event.
    fn ZwCreateEvent(
        out: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, kind: u32, state: u8,
    ) -> NtStatus {
        irql::at_most("ZwCreateEvent", PASSIVE_LEVEL);
        if kind > 1 {
            return NtStatus::INVALID_PARAMETER;
        }
        named::create(out, access, attributes, EVENT.value, || Ok(make_event(kind, state)))
    }

    /// Opens an event by its name.
    fn ZwOpenEvent(out: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>) -> NtStatus {
        irql::at_most("ZwOpenEvent", PASSIVE_LEVEL);
        named::open(out, access, attributes, EVENT.value)
    }

    /// Signals an event; gives its former state.
    fn ZwSetEvent(handle: u64, before: Guest<i32>) -> NtStatus {
        irql::at_most("ZwSetEvent", PASSIVE_LEVEL);
        on_event(handle, |event| event::KeSetEvent(event, 0, 0), before)
    }

    /// Resets an event; gives its former state.
    fn ZwResetEvent(handle: u64, before: Guest<i32>) -> NtStatus {
        irql::at_most("ZwResetEvent", PASSIVE_LEVEL);
        on_event(handle, |event| event::KeResetEvent(event), before)
    }

    /// Resets an event.
    fn ZwClearEvent(handle: u64) -> NtStatus {
        irql::at_most("ZwClearEvent", PASSIVE_LEVEL);
        on_event(handle, |event| event::KeResetEvent(event), Guest::at(0))
    }

    /// Makes or opens a notification event that has a name; gives the event, and a handle that keeps it.
    fn IoCreateNotificationEvent(name: Guest<UnicodeString>, out: Guest<u64>) -> usize {
        io_event("IoCreateNotificationEvent", name, 0, out)
    }

    /// The same for a synchronization event.
    fn IoCreateSynchronizationEvent(name: Guest<UnicodeString>, out: Guest<u64>) -> usize {
        io_event("IoCreateSynchronizationEvent", name, 1, out)
    }

    /// Makes a timer.
    fn ZwCreateTimer(out: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, kind: u32) -> NtStatus {
        irql::at_most("ZwCreateTimer", PASSIVE_LEVEL);
        if kind > 1 {
            return NtStatus::INVALID_PARAMETER_4;
        }
        named::create(out, access, attributes, TIMER.value, || Ok(make_timer(kind)))
    }

    /// Opens a timer by its name.
    fn ZwOpenTimer(out: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>) -> NtStatus {
        irql::at_most("ZwOpenTimer", PASSIVE_LEVEL);
        named::open(out, access, attributes, TIMER.value)
    }

    /// Sets a timer; tells whether it had gone off.
    partial "no APC routine: STATUS_NOT_SUPPORTED with one"
    fn ZwSetTimer(
        handle: u64, due: Guest<i64>, routine: usize, _context: usize, _resume: u8, period: i32, before: Guest<u8>,
    ) -> NtStatus {
        irql::at_most("ZwSetTimer", PASSIVE_LEVEL);
        if period < 0 {
            return NtStatus::INVALID_PARAMETER_6;
        }
        if routine != 0 {
            return NtStatus::NOT_SUPPORTED;
        }
        match named::of_handle(handle, TIMER.value) {
            Ok(timer) => {
                let signalled = signal_state(timer.address()).load(Ordering::SeqCst) != 0;
                timer::KeSetTimerEx(timer.address(), due.read(), period.cast_unsigned(), 0);
                before.write_opt(signalled.into());
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Cancels a timer; tells whether it has gone off.
    fn ZwCancelTimer(handle: u64, state: Guest<u8>) -> NtStatus {
        irql::at_most("ZwCancelTimer", PASSIVE_LEVEL);
        match named::of_handle(handle, TIMER.value) {
            Ok(timer) => {
                timer::cancel(timer.address());
                let signalled = signal_state(timer.address()).load(Ordering::SeqCst) != 0;
                state.write_opt(signalled.into());
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Waits for the object of a handle.
    partial "a file is signalled always: nothing that was begun on it is under way; no alerts, no user APCs"
    fn ZwWaitForSingleObject(handle: u64, _alertable: u8, timeout: Guest<i64>) -> NtStatus {
        irql::at_most("ZwWaitForSingleObject", PASSIVE_LEVEL);
        match waitable(handle) {
            Ok(Some(object)) => wait::KeWaitForSingleObject(object, 0, 0, 0, timeout),
            Ok(None) => NtStatus::SUCCESS,
            Err(status) => status,
        }
    }

    /// Waits for one or all of the objects of several handles.
    partial "a file is signalled always: nothing that was begun on it is under way; no alerts, no user APCs"
    fn ZwWaitForMultipleObjects(count: u32, handles: Guest<u64>, kind: u32, _alertable: u8, timeout: Guest<i64>) -> NtStatus {
        irql::at_most("ZwWaitForMultipleObjects", PASSIVE_LEVEL);
        if count == 0 || count > MOST {
            return NtStatus::INVALID_PARAMETER_1;
        }
        // WaitAll is 0, WaitAny 1.
        if kind > 1 {
            return NtStatus::INVALID_PARAMETER_3;
        }
        let mut objects = Vec::new();
        for (index, handle) in handles.read_many(count as usize).into_iter().enumerate() {
            match waitable(handle) {
                Ok(Some(object)) => objects.push(object),
                Ok(None) if kind == 1 => return NtStatus(i32::try_from(index).unwrap_or(0)),
                Ok(None) => {}
                Err(status) => return status,
            }
        }
        if objects.is_empty() {
            return NtStatus::SUCCESS;
        }
        let list = Guest::at(objects.as_ptr().expose_provenance());
        let count = u32::try_from(objects.len()).unwrap_or(0);
        // Room for wait blocks is the host's: any address says that there is some.
        wait::KeWaitForMultipleObjects(count, list, kind, 0, 0, 0, timeout, list.address())
    }

    /// Lets another thread run.
    fn ZwYieldExecution() -> NtStatus {
        irql::at_most("ZwYieldExecution", APC_LEVEL);
        std::thread::yield_now();
        NtStatus::SUCCESS
    }
}
