//! Attaching a filter's instances to volumes, and tearing them down.

use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::callback::{self, About, argument, related};
use super::objects::{
    self, ATTACHED, Altitude, DETACHED, Filter, Instance, LEAVING, Object, Rundown, Volume,
};
use super::{context, drain, flight, register, transaction};
use crate::abi::flt::{FLTFL_INSTANCE_SETUP_AUTOMATIC_ATTACHMENT, FLTFL_INSTANCE_TEARDOWN_MANUAL};
use crate::ntos::driver::status_of;
use crate::ntos::{registry, worker};
use crate::status::NtStatus;
use crate::verifier::{self, Taken};

/// The instance's `Flags`: not attached by itself.
const SUPPRESS_AUTOMATIC: u32 = 1;
/// The instance's `Flags`: not attached by hand.
const SUPPRESS_MANUAL: u32 = 2;

/// Attaches a filter to every volume, where its instances' flags and its setup callback let it.
pub(super) fn everywhere(filter: &Arc<Filter>) {
    let Some(key) = register::instances_key(&filter.service) else {
        return;
    };
    for name in registry::subkeys(&key) {
        for volume in objects::volumes() {
            let setup = FLTFL_INSTANCE_SETUP_AUTOMATIC_ATTACHMENT;
            automatically(filter, &volume, (&key, &name), setup);
        }
    }
}

/// Attaches a filter to one volume, as [`everywhere`] does to all.
pub(super) fn to_volume(filter: &Arc<Filter>, volume: &Arc<Volume>, setup: u32) {
    let Some(key) = register::instances_key(&filter.service) else {
        return;
    };
    for name in registry::subkeys(&key) {
        automatically(filter, volume, (&key, &name), setup);
    }
}

fn automatically(
    filter: &Arc<Filter>,
    volume: &Arc<Volume>,
    (key, name): (&str, &str),
    setup: u32,
) {
    // Without an altitude and flags an instance is not described, and the Filter Manager makes none.
    let Some((altitude, flags)) = described(key, name) else {
        return;
    };
    if flags & SUPPRESS_AUTOMATIC != 0 {
        return;
    }
    let attached = attach(filter, volume, name, &altitude, setup);
    if attached.err() == Some(NtStatus::FLT_INSTANCE_ALTITUDE_COLLISION) {
        verifier::finding(
            "altitude-collision",
            format!(
                "{} cannot attach to {}: another instance has its altitude",
                filter.service, volume.name
            ),
        );
    }
}

/// The altitude and flags of an instance as the registry has them.
fn described(key: &str, name: &str) -> Option<(String, u32)> {
    let instance = format!("{key}\\{name}");
    Some((
        registry::read_sz(&instance, "Altitude")?,
        registry::read_dword(&instance, "Flags")?,
    ))
}

/// The name and altitude of an instance that may be attached by hand; `None`: the default one.
pub(super) fn by_hand(filter: &Filter, name: Option<String>) -> Result<(String, String), NtStatus> {
    let key = register::instances_key(&filter.service).ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
    let name = name
        .or_else(|| registry::read_sz(&key, "DefaultInstance"))
        .ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
    let (altitude, flags) = described(&key, &name).ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
    if flags & SUPPRESS_MANUAL != 0 {
        return Err(NtStatus::FLT_DO_NOT_ATTACH);
    }
    Ok((name, altitude))
}

/// Attaches one instance.
pub(super) fn attach(
    filter: &Arc<Filter>,
    volume: &Arc<Volume>,
    name: &str,
    altitude: &str,
    setup: u32,
) -> Result<Arc<Instance>, NtStatus> {
    let parsed = Altitude::parse(altitude).ok_or(NtStatus::INVALID_PARAMETER)?;
    let instances = volume.instances();
    let taken = |other: &Arc<Instance>| {
        Arc::ptr_eq(&other.filter, filter) && other.name.eq_ignore_ascii_case(name)
    };
    if instances.iter().any(taken) {
        return Err(NtStatus::FLT_INSTANCE_NAME_COLLISION);
    }
    if instances.iter().any(|other| other.altitude == parsed) {
        return Err(NtStatus::FLT_INSTANCE_ALTITUDE_COLLISION);
    }
    if !filter.rundown.enter() {
        return Err(NtStatus::FLT_DELETING_OBJECT);
    }
    let instance = Arc::new(Instance {
        address: objects::opaque(),
        name: name.to_owned(),
        altitude: parsed,
        altitude_text: altitude.to_owned(),
        filter: Arc::clone(filter),
        volume: Arc::clone(volume),
        rundown: Rundown::default(),
        outstanding: Mutex::default(),
        teardown: AtomicU8::new(ATTACHED),
        references: AtomicI64::new(0),
        taken: Mutex::default(),
    });
    objects::insert(instance.address, Object::Instance(Arc::clone(&instance)));
    let mut status = set_up(&instance, setup);
    if status.is_success() && !volume.attach(&instance) {
        // Another filter was faster.
        status = NtStatus::FLT_INSTANCE_ALTITUDE_COLLISION;
    }
    if !status.is_success() {
        context::instance_gone(&instance);
        objects::remove(instance.address);
    }
    filter.rundown.leave();
    if status.is_success() {
        Ok(instance)
    } else {
        Err(status)
    }
}

fn about<'a>(instance: &'a Instance, phase: &'static str) -> About<'a> {
    About {
        filter: &instance.filter.service,
        phase,
        operation: "",
        path: instance.volume.name.clone(),
    }
}

/// Asks the filter whether it wants the volume: any error or warning says no.
fn set_up(instance: &Arc<Instance>, flags: u32) -> NtStatus {
    let routine = instance.filter.registration.instance_setup;
    if routine == 0 {
        return NtStatus::SUCCESS;
    }
    let objects = related(instance, None);
    let volume = &instance.volume;
    let arguments = [
        argument(&*objects),
        u64::from(flags),
        u64::from(volume.device_type),
        u64::from(volume.file_system),
    ];
    status_of(callback::call(
        about(instance, "setup"),
        routine,
        &arguments,
    ))
}

/// Detaches an instance on request, if the filter lets it: one without a query callback never does.
pub(super) fn detach(instance: &Arc<Instance>) -> NtStatus {
    let routine = instance.filter.registration.instance_query_teardown;
    if routine == 0 {
        return NtStatus::FLT_DO_NOT_DETACH;
    }
    let objects = related(instance, None);
    let arguments = [argument(&*objects), 0];
    let status = status_of(callback::call(
        about(instance, "query teardown"),
        routine,
        &arguments,
    ));
    if !status.is_success() {
        return status;
    }
    if !begin_teardown(instance, FLTFL_INSTANCE_TEARDOWN_MANUAL) {
        return NtStatus::FLT_DELETING_OBJECT;
    }
    if flight::on_this_thread() {
        // Of the operations that the rest waits for one may be the caller's own: a filter detaches itself in a callback.
        let instance = Arc::clone(instance);
        worker::queue(move || end_teardown(&instance, FLTFL_INSTANCE_TEARDOWN_MANUAL));
    } else {
        end_teardown(instance, FLTFL_INSTANCE_TEARDOWN_MANUAL);
    }
    NtStatus::SUCCESS
}

/// Tears an instance down: the filter is told, operations that are below it are taken from it, those that are in it end,
/// the filter is told again. False: somebody else was at it, and is done.
pub(super) fn tear_down(instance: &Arc<Instance>, reason: u32) -> bool {
    if begin_teardown(instance, reason) {
        end_teardown(instance, reason);
        return true;
    }
    while instance.teardown.load(Ordering::Acquire) != DETACHED {
        crate::schedule::poll(Arc::as_ptr(instance).addr());
    }
    false
}

/// As far as nothing is waited for. False: somebody else is at it.
fn begin_teardown(instance: &Arc<Instance>, reason: u32) -> bool {
    let begun =
        instance
            .teardown
            .compare_exchange(ATTACHED, LEAVING, Ordering::AcqRel, Ordering::Acquire);
    if begun.is_err() {
        return false;
    }
    instance.rundown.close();
    instance.volume.detach(instance);
    let routine = instance.filter.registration.instance_teardown_start;
    tell(instance, routine, "teardown start", reason);
    drain::drain(instance);
    true
}

fn end_teardown(instance: &Arc<Instance>, reason: u32) {
    instance.rundown.wait();
    let routine = instance.filter.registration.instance_teardown_complete;
    tell(instance, routine, "teardown complete", reason);
    transaction::instance_gone(instance);
    context::instance_gone(instance);
    // In one order with `lend`: either that sees the instance gone, or this sees its reference.
    instance.teardown.store(DETACHED, Ordering::SeqCst);
    if instance.references.load(Ordering::SeqCst) <= 0 {
        objects::remove(instance.address);
    }
}

fn tell(instance: &Arc<Instance>, routine: usize, phase: &'static str, reason: u32) {
    if routine != 0 {
        let objects = related(instance, None);
        let arguments = [argument(&*objects), u64::from(reason)];
        callback::call(about(instance, phase), routine, &arguments);
    }
}

fn taken(instance: &Instance) -> std::sync::MutexGuard<'_, Taken> {
    instance
        .taken
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// Takes a reference for a driver, and says how many there are.
pub(super) fn take(instance: &Instance) -> i64 {
    taken(instance).take();
    instance.references.fetch_add(1, Ordering::SeqCst) + 1
}

/// References an instance for a driver, unless it is gone.
pub(super) fn lend(instance: &Instance) -> bool {
    take(instance);
    if instance.teardown.load(Ordering::SeqCst) != DETACHED {
        return true;
    }
    give_back(instance);
    false
}

/// Takes a reference back, and says how many are left. With the last one an instance that is detached goes.
pub(super) fn give_back(instance: &Instance) -> i64 {
    taken(instance).give_back();
    let left = instance.references.fetch_sub(1, Ordering::SeqCst) - 1;
    if left <= 0 && instance.teardown.load(Ordering::SeqCst) == DETACHED {
        objects::remove(instance.address);
    }
    left
}

/// A filter is being unregistered, and its instances are detached: nobody may hold a reference to one.
pub(super) fn report_references(filter: &Arc<Filter>) {
    for instance in objects::instances_of(filter) {
        let references = instance.references.load(Ordering::Acquire);
        let text = format!(
            "the instance of {} on {} is gone with {references} reference(s) to it left; each needs its FltObjectDereference",
            filter.service, instance.volume.name
        );
        register::report(&instance.taken, &text);
        objects::remove(instance.address);
    }
}

/// Takes an instance of a driver that is gone away.
pub(super) fn forget(instance: &Arc<Instance>) {
    instance.rundown.close();
    instance.volume.detach(instance);
    instance.rundown.wait();
    objects::remove(instance.address);
}
