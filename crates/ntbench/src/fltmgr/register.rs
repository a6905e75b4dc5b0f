//! `FltRegisterFilter`, `FltStartFiltering`, `FltUnregisterFilter`, and the unload of a filter.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::callback::{self, About};
use super::objects::{self, Altitude, Filter, FilterState, Object, Rundown};
use super::{attach, context, port};
use crate::abi::flt::{
    ContextRegistration, FLT_CONTEXT_END, FLTFL_FILTER_UNLOAD_MANDATORY,
    FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD, FLTFL_INSTANCE_TEARDOWN_MANDATORY_FILTER_UNLOAD,
    FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP, IRP_MJ_OPERATION_END, OperationRegistration,
    Registration,
};
use crate::faults;
use crate::ntos::driver::{self, Driver, status_of};
use crate::ntos::memory::Guest;
use crate::ntos::{irql, registry};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};
use crate::verifier::{self, Leak, Taken};

/// `FLT_REGISTRATION_VERSION` as of Windows 8, and the two before it; the major number must be 2.
const VERSION_MAJOR: u16 = 0x0200;
/// Sizes of the structure: without `NormalizeNameComponentExCallback`, without `SectionNotificationCallback`, whole.
const SIZES: [u16; 3] = [96, 104, 112];
/// A list of operations without an end is not followed for ever.
const MOST_OPERATIONS: usize = 128;

/// Where a filter's instances are described: below the service key, or below `Parameters` for isolated packages.
pub(super) fn instances_key(service: &str) -> Option<String> {
    let key = registry::service_path(service);
    [
        format!("{key}\\Parameters\\Instances"),
        format!("{key}\\Instances"),
    ]
    .into_iter()
    .find(|key| registry::exists(key))
}

/// The default instance's altitude, as it is written and as a number.
fn default_altitude(service: &str) -> Result<(String, Altitude), NtStatus> {
    let key = instances_key(service).ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
    let name = registry::read_sz(&key, "DefaultInstance").ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
    let altitude = registry::read_sz(&format!("{key}\\{name}"), "Altitude")
        .ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
    let parsed = Altitude::parse(&altitude).ok_or(NtStatus::INVALID_PARAMETER)?;
    Ok((altitude, parsed))
}

/// Which features of file systems a filter says that it knows: below its service key, or below `Parameters`.
fn features(service: &str) -> u32 {
    let key = registry::service_path(service);
    [format!("{key}\\Parameters"), key]
        .iter()
        .find_map(|key| registry::read_dword(key, "SupportedFeatures"))
        .unwrap_or(0)
}

/// Reads the operations up to the end marker.
fn operations(start: Guest<OperationRegistration>) -> Result<Vec<OperationRegistration>, NtStatus> {
    let mut operations: Vec<OperationRegistration> = Vec::new();
    if start.is_null() {
        return Ok(operations);
    }
    for index in 0..MOST_OPERATIONS {
        let operation = start.add(index).read();
        if operation.major_function == IRP_MJ_OPERATION_END {
            return Ok(operations);
        }
        if operations
            .iter()
            .any(|other| other.major_function == operation.major_function)
        {
            verifier::finding(
                "registration",
                format!(
                    "operation {:#04x} is registered twice; only one registration counts",
                    operation.major_function
                ),
            );
        } else {
            operations.push(operation);
        }
    }
    verifier::finding(
        "registration",
        "the operation registration has no IRP_MJ_OPERATION_END at its end",
    );
    Err(NtStatus::INVALID_PARAMETER)
}

/// Reads and checks the registration.
fn registration(from: Guest<Registration>) -> Result<Registration, NtStatus> {
    let size: u16 = Guest::at(from.address()).read();
    let version: u16 = Guest::at(from.address() + 2).read();
    if version & 0xFF00 != VERSION_MAJOR || !SIZES.contains(&size) {
        verifier::finding(
            "registration",
            format!(
                "FLT_REGISTRATION has version {version:#06x} and size {size}; version 0x02xx and a size of 96, 104 or \
                 112 bytes are known (sizeof(FLT_REGISTRATION), FLT_REGISTRATION_VERSION)"
            ),
        );
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let bytes = Guest::<u8>::at(from.address()).read_many(usize::from(size));
    let mut whole = [0_u8; size_of::<Registration>()];
    whole[..bytes.len()].copy_from_slice(&bytes);
    // SAFETY: a FLT_REGISTRATION is numbers and pointers: any bytes are one.
    Ok(unsafe { std::mem::transmute::<[u8; size_of::<Registration>()], Registration>(whole) })
}

fn register(driver_object: usize, from: Guest<Registration>) -> Result<usize, NtStatus> {
    let driver = driver::of_object(driver_object).ok_or(NtStatus::INVALID_PARAMETER)?;
    let registration = registration(from)?;
    let operations = operations(Guest::at(registration.operation_registration))?;
    let contexts = contexts(&registration)?;
    let (altitude_text, altitude) = default_altitude(&driver.service)?;
    for other in objects::filters() {
        if default_altitude(&other.service).is_ok_and(|(_, taken)| taken == altitude) {
            return Err(NtStatus::FLT_INSTANCE_ALTITUDE_COLLISION);
        }
    }
    let filter = Arc::new(Filter {
        address: objects::opaque(),
        service: driver.service.clone(),
        altitude: altitude_text,
        features: features(&driver.service),
        site: verifier::here(),
        driver_object,
        registration,
        operations,
        contexts,
        rundown: Rundown::default(),
        state: Mutex::new(FilterState::Registered),
        mandatory: AtomicBool::new(false),
        references: AtomicI64::new(0),
        taken: Mutex::default(),
    });
    objects::insert(filter.address, Object::Filter(Arc::clone(&filter)));
    Ok(filter.address)
}

/// Copies and checks the context registrations' list: the driver's own may be gone when `FltRegisterFilter` has returned.
fn contexts(registration: &Registration) -> Result<Vec<ContextRegistration>, NtStatus> {
    let start = Guest::<ContextRegistration>::at(registration.context_registration);
    let mut copied = Vec::new();
    if start.is_null() {
        return Ok(copied);
    }
    for index in 0..MOST_OPERATIONS {
        let context = start.add(index).read();
        if context.context_type == FLT_CONTEXT_END {
            return Ok(copied);
        }
        copied.push(context);
        if !context.context_type.is_power_of_two() || context.context_type > 0x40 {
            return Err(NtStatus::FLT_INVALID_CONTEXT_REGISTRATION);
        }
    }
    Err(NtStatus::FLT_INVALID_CONTEXT_REGISTRATION)
}

fn state(filter: &Filter) -> std::sync::MutexGuard<'_, FilterState> {
    filter.state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tears a filter down: no new callbacks, the instances go, then the filter.
fn unregister(filter: &Arc<Filter>) {
    *state(filter) = FilterState::Unregistered;
    port::filter_goes(filter);
    let reason = if filter.mandatory.load(Ordering::Acquire) {
        FLTFL_INSTANCE_TEARDOWN_MANDATORY_FILTER_UNLOAD
    } else {
        FLTFL_INSTANCE_TEARDOWN_FILTER_UNLOAD
    };
    tear_down_all(filter, reason);
    filter.rundown.close();
    filter.rundown.wait();
    // What was being attached meanwhile.
    tear_down_all(filter, reason);
    attach::report_references(filter);
    context::filter_gone(filter);
    let references = filter.references.load(Ordering::Acquire);
    let text = format!(
        "{} called FltUnregisterFilter with {references} reference(s) to its filter object left, for which it would wait for \
         ever; each FltObjectReference needs its FltObjectDereference",
        filter.service
    );
    report(&filter.taken, &text);
    objects::remove(filter.address);
}

/// Reports the references to one of its objects that a filter has left when it is unregistered.
pub(super) fn report(taken: &Mutex<Taken>, text: &str) {
    let taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(leak) = taken.leak(text) {
        verifier::finding_at("fltmgr-leak", leak.site, leak.text);
    }
}

fn tear_down_all(filter: &Arc<Filter>, reason: u32) {
    for volume in objects::volumes() {
        for instance in volume
            .instances()
            .iter()
            .filter(|instance| Arc::ptr_eq(&instance.filter, filter))
        {
            attach::tear_down(instance, reason);
        }
    }
}

/// Unloads the filter of a driver as `fltmc unload` does: the filter may refuse. `mandatory`: as `sc stop` does, which
/// a filter cannot refuse, except once and for all when it registers.
pub(super) fn unload(driver: &Driver, mandatory: bool) -> Option<NtStatus> {
    let filter = objects::filters()
        .into_iter()
        .find(|filter| filter.driver_object == driver.object())?;
    let routine = filter.registration.filter_unload;
    let no_stop = filter.registration.flags & FLTFL_REGISTRATION_DO_NOT_SUPPORT_SERVICE_STOP != 0;
    if routine == 0 || (mandatory && no_stop) {
        return Some(NtStatus::FLT_DO_NOT_DETACH);
    }
    filter.mandatory.store(mandatory, Ordering::Release);
    let about = About {
        filter: &filter.service,
        phase: "unload",
        operation: "",
        path: String::new(),
    };
    let flags = if mandatory {
        FLTFL_FILTER_UNLOAD_MANDATORY
    } else {
        0
    };
    let answer = status_of(callback::call(about, routine, &[u64::from(flags)]));
    let _blame = verifier::blame_routine(routine);
    if mandatory && !answer.is_success() {
        verifier::finding(
            "mandatory-unload-refused",
            format!(
                "the unload callback of {} returned {answer} to a mandatory unload, which goes on all the same",
                filter.service
            ),
        );
    }
    let status = if mandatory { NtStatus::SUCCESS } else { answer };
    if answer.is_success() && *state(&filter) != FilterState::Unregistered {
        verifier::finding(
            "unload-without-unregister",
            format!(
                "the unload callback of {} succeeded without having called FltUnregisterFilter: the driver goes away \
                 and its callbacks stay",
                filter.service
            ),
        );
        *state(&filter) = FilterState::Abandoned;
    }
    Some(status)
}

/// What filters a driver that goes away has left registered; they are unregistered without another callback.
pub(super) fn leftovers(driver: &Driver) -> Vec<Leak> {
    let mut left = Vec::new();
    for filter in objects::filters()
        .into_iter()
        .filter(|filter| filter.driver_object == driver.object())
    {
        // Of one that was told to unload `unload-without-unregister` has been said.
        if *state(&filter) != FilterState::Abandoned {
            left.push(Leak {
                text: "its filter is still registered; every path out of DriverEntry and the unload callback needs its \
                       FltUnregisterFilter"
                    .to_owned(),
                site: filter.site,
            });
        }
        *state(&filter) = FilterState::Unregistered;
        for volume in objects::volumes() {
            for instance in volume
                .instances()
                .iter()
                .filter(|instance| Arc::ptr_eq(&instance.filter, &filter))
            {
                attach::forget(instance);
            }
        }
        objects::remove(filter.address);
    }
    left
}

exports! { "fltmgr.sys";
    /// Registers a filter.
    fn FltRegisterFilter(driver: usize, from: Guest<Registration>, filter: Guest<usize>) -> NtStatus {
        irql::at_most("FltRegisterFilter", APC_LEVEL);
        if let Some(status) = faults::check("FltRegisterFilter") {
            filter.write(0);
            return status;
        }
        match register(driver, from) {
            Ok(address) => {
                filter.write(address);
                NtStatus::SUCCESS
            }
            Err(status) => {
                filter.write(0);
                status
            }
        }
    }

    /// Lets a filter's callbacks be called and attaches it to the volumes.
    fn FltStartFiltering(filter: usize) -> NtStatus {
        irql::at_most("FltStartFiltering", APC_LEVEL);
        if let Some(status) = faults::check("FltStartFiltering") {
            return status;
        }
        let filter = objects::filter(filter, "FltStartFiltering");
        {
            let mut state = state(&filter);
            match *state {
                FilterState::Registered => *state = FilterState::Filtering,
                FilterState::Filtering => return NtStatus::INVALID_PARAMETER,
                FilterState::Unregistered | FilterState::Abandoned => return NtStatus::FLT_DELETING_OBJECT,
            }
        }
        attach::everywhere(&filter);
        NtStatus::SUCCESS
    }

    /// Unregisters a filter; returns when no callback of it is running.
    fn FltUnregisterFilter(filter: usize) {
        irql::at_most("FltUnregisterFilter", PASSIVE_LEVEL);
        let filter = objects::filter(filter, "FltUnregisterFilter");
        unregister(&filter);
    }
}
