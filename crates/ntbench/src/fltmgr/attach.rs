//! Attaching a filter's instances to volumes, and tearing them down.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::callback::{self, About, argument, related};
use super::objects::{self, Altitude, Filter, Instance, Object, Rundown, Volume};
use super::{context, register};
use crate::abi::flt::FLTFL_INSTANCE_SETUP_AUTOMATIC_ATTACHMENT;
use crate::ntos::driver::status_of;
use crate::ntos::registry;
use crate::status::NtStatus;
use crate::verifier;

/// The instance's `Flags`: not attached by itself.
const SUPPRESS_AUTOMATIC: u32 = 1;

/// Attaches a filter to every volume, where its instances' flags and its setup callback let it.
pub(super) fn everywhere(filter: &Arc<Filter>) {
    let Some(key) = register::instances_key(&filter.service) else {
        return;
    };
    for name in registry::subkeys(&key) {
        let instance = format!("{key}\\{name}");
        let altitude =
            registry::read_sz(&instance, "Altitude").and_then(|text| Altitude::parse(&text));
        // Without an altitude and flags an instance is not described, and the Filter Manager makes none.
        let (Some(altitude), Some(flags)) = (altitude, registry::read_dword(&instance, "Flags"))
        else {
            continue;
        };
        if flags & SUPPRESS_AUTOMATIC != 0 {
            continue;
        }
        for volume in objects::volumes() {
            let _ = attach(filter, &volume, &name, altitude.clone());
        }
    }
}

/// Attaches one instance.
fn attach(
    filter: &Arc<Filter>,
    volume: &Arc<Volume>,
    name: &str,
    altitude: Altitude,
) -> Result<(), NtStatus> {
    let taken = |other: &Arc<Instance>| {
        Arc::ptr_eq(&other.filter, filter) && other.name.eq_ignore_ascii_case(name)
    };
    if volume.instances().iter().any(taken) {
        return Err(NtStatus::FLT_INSTANCE_NAME_COLLISION);
    }
    let instance = Arc::new(Instance {
        address: objects::opaque(),
        name: name.to_owned(),
        altitude,
        filter: Arc::clone(filter),
        volume: Arc::clone(volume),
        rundown: Rundown::default(),
        references: AtomicI64::new(0),
    });
    objects::insert(instance.address, Object::Instance(Arc::clone(&instance)));
    let status = set_up(&instance);
    if !status.is_success() {
        objects::remove(instance.address);
        return Err(status);
    }
    if !volume.attach(&instance) {
        objects::remove(instance.address);
        verifier::finding(
            "altitude-collision",
            format!(
                "{} cannot attach to {}: another instance has its altitude",
                filter.service, volume.name
            ),
        );
        return Err(NtStatus::FLT_INSTANCE_ALTITUDE_COLLISION);
    }
    Ok(())
}

fn about<'a>(instance: &'a Instance, phase: &'static str) -> About<'a> {
    About {
        filter: &instance.filter.service,
        phase,
        operation: "",
        path: instance.volume.name.clone(),
    }
}

/// Asks the filter whether it wants the volume.
fn set_up(instance: &Arc<Instance>) -> NtStatus {
    let routine = instance.filter.registration.instance_setup;
    if routine == 0 {
        return NtStatus::SUCCESS;
    }
    let objects = related(instance, None);
    let volume = &instance.volume;
    let flags = FLTFL_INSTANCE_SETUP_AUTOMATIC_ATTACHMENT;
    let arguments = [
        argument(&*objects),
        u64::from(flags),
        u64::from(volume.device_type),
        u64::from(volume.file_system),
    ];
    let status = status_of(callback::call(
        about(instance, "setup"),
        routine,
        &arguments,
    ));
    if !status.is_success() && status != NtStatus::FLT_DO_NOT_ATTACH {
        verifier::finding(
            "instance-setup-status",
            format!(
                "the instance setup callback of {} returned {status} for {}; STATUS_SUCCESS and \
                 STATUS_FLT_DO_NOT_ATTACH are documented",
                instance.filter.service, volume.name
            ),
        );
    }
    status
}

/// Tears an instance down: the filter is told, operations that are in it end, the filter is told again.
pub(super) fn tear_down(instance: &Arc<Instance>, reason: u32) {
    let registration = &instance.filter.registration;
    let tell = |routine: usize, phase: &'static str| {
        if routine != 0 {
            let objects = related(instance, None);
            callback::call(
                about(instance, phase),
                routine,
                &[argument(&*objects), u64::from(reason)],
            );
        }
    };
    instance.rundown.close();
    instance.volume.detach(instance);
    tell(registration.instance_teardown_start, "teardown start");
    instance.rundown.wait();
    tell(registration.instance_teardown_complete, "teardown complete");
    context::instance_gone(instance);
    let references = instance.references.load(Ordering::Acquire);
    if references > 0 {
        verifier::finding(
            "fltmgr-leak",
            format!(
                "the instance of {} on {} is gone with {references} reference(s) to it left; each FltObjectReference \
                 needs its FltObjectDereference",
                instance.filter.service, instance.volume.name
            ),
        );
    }
    objects::remove(instance.address);
}

/// Takes an instance of a driver that is gone away.
pub(super) fn forget(instance: &Arc<Instance>) {
    instance.rundown.close();
    instance.volume.detach(instance);
    instance.rundown.wait();
    objects::remove(instance.address);
}
