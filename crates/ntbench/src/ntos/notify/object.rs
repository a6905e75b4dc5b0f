//! Handles to processes and threads: who is asked before they are made, and told after it.
//!
//! `ObRegisterCallbacks`, `OB_CALLBACK_REGISTRATION`, `OB_PRE_OPERATION_INFORMATION`, `OB_POST_OPERATION_INFORMATION`. Before a
//! handle is made the highest altitude is asked first, after it told last. Access can only be taken away, and nothing of a
//! kernel handle's.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::memory::{Guest, units};
use super::super::{driver, irql, process_type, thread_type};
use super::{Place, is_integrity_checked, left};
use crate::abi::ps::{HandleInformation, ObjectRegistration, OperationRegistration};
use crate::fltmgr::Altitude;
use crate::maps::HashMap;
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;
use crate::{faults, gate, verifier};

const WHAT: &str = "object-handle";
const REMOVER: &str = "ObUnRegisterCallbacks";
/// `OB_FLT_REGISTRATION_VERSION`.
const VERSION: u16 = 0x0100;
/// `OB_OPERATION_HANDLE_CREATE` and `…_DUPLICATE`.
pub(crate) const CREATE: u32 = 1;
pub(crate) const DUPLICATE: u32 = 2;

/// What a driver has registered with one call.
struct Registration {
    handle: usize,
    altitude: Altitude,
    context: u64,
    operations: Vec<Operations>,
    service: String,
    site: usize,
    running: AtomicUsize,
}

/// Of one object type.
struct Operations {
    object_type: usize,
    which: u32,
    before: usize,
    after: usize,
}

/// From the highest altitude to the lowest.
static REGISTERED: Mutex<Vec<Arc<Registration>>> = Mutex::new(Vec::new());
static ANY: AtomicBool = AtomicBool::new(false);

fn lock() -> MutexGuard<'static, Vec<Arc<Registration>>> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handle that is about to be made.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// [`CREATE`] or [`DUPLICATE`].
    pub(crate) operation: u32,
    pub(crate) object: usize,
    pub(crate) object_type: usize,
    pub(crate) access: u32,
    /// Whether it is one of the kernel's own.
    pub(crate) kernel: bool,
    /// For a duplicate: the processes that it comes from and goes to.
    pub(crate) processes: (usize, usize),
}

impl Registration {
    fn call(&self, routine: usize, about: &str, information: usize) -> u64 {
        let place = Place {
            service: &self.service,
            what: WHAT,
            routine,
            running: &self.running,
        };
        place.call(about, &[self.context, information as u64])
    }
}

/// Makes a handle with the access that is left of what was wanted; `make` gives it and its status.
pub(crate) fn filtered(
    wanted: Wanted,
    make: impl FnOnce(u32) -> (u64, NtStatus),
) -> (u64, NtStatus) {
    if !ANY.load(Ordering::Acquire) {
        return make(wanted.access);
    }
    let registered = lock().clone();
    let theirs = |registration: &Registration| {
        registration
            .operations
            .iter()
            .find(|known| {
                known.object_type == wanted.object_type && known.which & wanted.operation != 0
            })
            .map(|known| (known.before, known.after))
    };
    // DesiredAccess, OriginalDesiredAccess, SourceProcess, TargetProcess.
    let both = u64::from(wanted.access) | u64::from(wanted.access) << 32;
    let mut parameters = [both, wanted.processes.0 as u64, wanted.processes.1 as u64];
    let parameters = Guest::<u32>::at((&raw mut parameters).expose_provenance());
    let mut information = HandleInformation {
        operation: wanted.operation,
        flags: wanted.kernel.into(),
        object: wanted.object,
        object_type: wanted.object_type,
        call_context: 0,
        last: [parameters.address(), 0],
    };
    let at = Guest::<HandleInformation>::at((&raw mut information).expose_provenance());
    let about = format!("operation {}", wanted.operation);
    let mut contexts: HashMap<usize, usize> = HashMap::default();
    for registration in &registered {
        let Some((before @ 1.., _)) = theirs(registration) else {
            continue;
        };
        let reset = HandleInformation {
            call_context: 0,
            ..at.read()
        };
        at.write(reset);
        let allowed = parameters.read();
        let returned = registration.call(before, &about, at.address());
        if returned & 0xFFFF_FFFF != 0 {
            verifier::finding(
                "preop-status",
                format!(
                    "the object pre-operation callback of {} returned {returned:#x}; OB_PREOP_SUCCESS is the only value",
                    registration.service
                ),
            );
        }
        let now = parameters.read();
        if now & !wanted.access != 0 {
            verifier::finding(
                "object-access-added",
                format!(
                    "the object pre-operation callback of {} adds access ({:#x}) to what was asked for",
                    registration.service,
                    now & !wanted.access
                ),
            );
        }
        // What was taken away stays away; of a kernel handle nothing is.
        parameters.write(if wanted.kernel {
            allowed
        } else {
            now & allowed
        });
        contexts.insert(registration.handle, at.read().call_context);
    }
    let granted = parameters.read();
    let (handle, status) = make(granted);
    let mut post = u64::from(if status.is_success() { granted } else { 0 });
    let post = (&raw mut post).expose_provenance();
    for registration in registered.iter().rev() {
        let Some((_, after @ 1..)) = theirs(registration) else {
            continue;
        };
        at.write(HandleInformation {
            call_context: contexts.get(&registration.handle).copied().unwrap_or(0),
            last: [usize::try_from(status.0.cast_unsigned()).unwrap_or(0), post],
            ..at.read()
        });
        registration.call(after, &about, at.address());
    }
    (handle, status)
}

fn read(registration: &ObjectRegistration) -> Result<Vec<Operations>, NtStatus> {
    let entries = Guest::<OperationRegistration>::at(registration.operations)
        .read_many(usize::from(registration.count));
    let mut operations = Vec::new();
    for entry in entries {
        let object_type = Guest::<usize>::at(entry.object_type)
            .read_opt()
            .unwrap_or(0);
        let known = object_type == process_type() || object_type == thread_type();
        let which = entry.operations;
        let routines = [entry.before, entry.after];
        if !known || which == 0 || which & !(CREATE | DUPLICATE) != 0 || routines == [0, 0] {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        let unchecked = |routine: &usize| *routine != 0 && !is_integrity_checked(*routine);
        if routines.iter().any(unchecked) {
            return Err(NtStatus::ACCESS_DENIED);
        }
        operations.push(Operations {
            object_type,
            which,
            before: entry.before,
            after: entry.after,
        });
    }
    if operations.is_empty() {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    Ok(operations)
}

fn register(registration: &ObjectRegistration) -> Result<usize, NtStatus> {
    static NEXT: AtomicUsize = AtomicUsize::new(0x1000);
    if registration.version != VERSION {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let altitude = String::from_utf16_lossy(&units(registration.altitude));
    let altitude = Altitude::parse(&altitude).ok_or(NtStatus::INVALID_PARAMETER)?;
    let operations = read(registration)?;
    let mut registered = lock();
    if registered.iter().any(|known| known.altitude == altitude) {
        return Err(NtStatus::FLT_INSTANCE_ALTITUDE_COLLISION);
    }
    let handle = NEXT.fetch_add(0x10, Ordering::Relaxed);
    let at = registered.partition_point(|known| known.altitude > altitude);
    registered.insert(
        at,
        Arc::new(Registration {
            handle,
            altitude,
            context: registration.context,
            operations,
            service: driver::calling().map_or_else(String::new, |driver| driver.service.clone()),
            site: gate::call_site().map_or(0, |site| site.return_address),
            running: AtomicUsize::new(0),
        }),
    );
    ANY.store(true, Ordering::Release);
    Ok(handle)
}

/// Reports the callbacks that a driver leaves behind.
pub(super) fn report_left(service: &str) {
    let registered = lock().clone();
    for registration in registered.iter().filter(|known| known.service == service) {
        left(service, WHAT, registration.site, REMOVER);
    }
}

exports! { "ntoskrnl.exe";
    /// Registers callbacks for handles to processes and threads.
    partial "for processes and threads; STATUS_INVALID_PARAMETER for desktops, of which there are none"
    fn ObRegisterCallbacks(registration: Guest<ObjectRegistration>, handle: Guest<usize>) -> NtStatus {
        irql::at_most("ObRegisterCallbacks", APC_LEVEL);
        if let Some(status) = faults::check("ObRegisterCallbacks") {
            return status;
        }
        match register(&registration.read()) {
            Ok(made) => {
                handle.write(made);
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Takes them away, once no thread is in one.
    fn ObUnRegisterCallbacks(handle: usize) {
        irql::at_most("ObUnRegisterCallbacks", APC_LEVEL);
        let removed = {
            let mut registered = lock();
            let at = registered.iter().position(|known| known.handle == handle);
            let removed = at.map(|at| registered.remove(at));
            ANY.store(!registered.is_empty(), Ordering::Release);
            removed
        };
        let Some(removed) = removed else {
            crate::bugcheck::raise(
                0x3B,
                [0xC000_0005, 0, handle as u64, 0],
                format!("ObUnRegisterCallbacks was given {handle:#x}, which is no registration (any more)"),
            );
        };
        let routines = removed.operations.iter().flat_map(|known| [known.before, known.after]);
        for routine in routines.filter(|routine| *routine != 0) {
            let place = Place { service: &removed.service, what: WHAT, routine, running: &removed.running };
            place.wait(REMOVER);
        }
    }

    /// The version of the registration: 1.0.
    fn ObGetFilterVersion() -> u16 {
        irql::at_most("ObGetFilterVersion", APC_LEVEL);
        VERSION
    }
}
