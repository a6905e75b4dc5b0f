//! Attaching and detaching on request, and finding volumes and instances.
//!
//! Every volume or instance that these give to a driver is referenced, to be given back with `FltObjectDereference`.

use std::sync::Arc;

use super::objects::{self, Filter, FilterState, Instance, Volume};
use super::{attach, info};
use crate::abi::base::UnicodeString;
use crate::abi::flt::FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT;
use crate::faults;
use crate::ntos::memory::{Guest, wide};
use crate::ntos::{MACHINE, irql};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};

pub(super) fn ready(filter: &Filter) -> Result<(), NtStatus> {
    let state = filter.state.lock();
    match *state.unwrap_or_else(std::sync::PoisonError::into_inner) {
        FilterState::Registered => Err(NtStatus::FLT_FILTER_NOT_READY),
        FilterState::Filtering => Ok(()),
        FilterState::Unregistered | FilterState::Abandoned => Err(NtStatus::FLT_DELETING_OBJECT),
    }
}

fn optional_name(name: Guest<UnicodeString>) -> Option<String> {
    (!name.is_null()).then(|| name.text())
}

fn attach_by_hand(
    filter: &Arc<Filter>,
    volume: usize,
    function: &str,
    described: impl FnOnce() -> Result<(String, String), NtStatus>,
    result: Guest<usize>,
) -> NtStatus {
    result.write_opt(0);
    if let Some(status) = faults::check(function) {
        return status;
    }
    let volume = objects::volume(volume, function);
    let attached = ready(filter).and_then(|()| {
        let (name, altitude) = described()?;
        let setup = FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT;
        attach::attach(filter, &volume, &name, &altitude, setup)
    });
    match attached {
        Ok(_) if result.is_null() => NtStatus::SUCCESS,
        Ok(instance) if attach::lend(&instance) => {
            result.write(instance.address);
            NtStatus::SUCCESS
        }
        // Somebody has detached it again meanwhile.
        Ok(_) => NtStatus::FLT_DELETING_OBJECT,
        Err(status) => status,
    }
}

/// The name and altitude of an instance that is attached at any altitude; one that is given no name gets one.
pub(super) fn described_at(
    filter: &Filter,
    name: Option<String>,
    altitude: String,
) -> (String, String) {
    let name = name.unwrap_or_else(|| format!("{} @ {altitude}", filter.service));
    (name, altitude)
}

/// A filter's instance on a volume, by its name or the first there is.
pub(super) fn find(
    filter: Option<&Arc<Filter>>,
    volume: &Volume,
    name: Option<&str>,
) -> Option<Arc<Instance>> {
    let wanted = |instance: &&Arc<Instance>| {
        filter.is_none_or(|filter| Arc::ptr_eq(&instance.filter, filter))
            && name.is_none_or(|name| instance.name.eq_ignore_ascii_case(name))
    };
    volume.instances().iter().find(wanted).cloned()
}

/// Writes addresses into a driver's array, all of them or none; `take` references each.
pub(super) fn list<T>(
    found: &[Arc<T>],
    array: Guest<usize>,
    room: u32,
    count: Guest<u32>,
    take: impl Fn(&T) -> usize,
) -> NtStatus {
    count.write(u32::try_from(found.len()).unwrap_or(u32::MAX));
    if array.is_null() || (room as usize) < found.len() {
        return if found.is_empty() {
            NtStatus::SUCCESS
        } else {
            NtStatus::BUFFER_TOO_SMALL
        };
    }
    for (index, object) in found.iter().enumerate() {
        array.add(index).write(take(object));
    }
    NtStatus::SUCCESS
}

/// The volume of a name: a device's, or a drive letter's.
pub(super) fn volume_named(name: &str) -> Option<Arc<Volume>> {
    let name = name.strip_suffix('\\').unwrap_or(name);
    let full = if name.ends_with(':') {
        format!("\\??\\{name}")
    } else {
        name.to_owned()
    };
    let (device, rest) = MACHINE.get()?.namespace.look_up(&wide(&full)).ok()?;
    rest.is_empty().then(|| super::volume(device)).flatten()
}

exports! { "fltmgr.sys";
    /// Attaches an instance as the registry describes it.
    fn FltAttachVolume(filter: usize, volume: usize, name: Guest<UnicodeString>, result: Guest<usize>) -> NtStatus {
        irql::at_most("FltAttachVolume", PASSIVE_LEVEL);
        let filter = objects::filter(filter, "FltAttachVolume");
        let described = || attach::by_hand(&filter, optional_name(name));
        attach_by_hand(&filter, volume, "FltAttachVolume", described, result)
    }

    /// Attaches an instance at any altitude, for debugging.
    fn FltAttachVolumeAtAltitude(
        filter: usize,
        volume: usize,
        altitude: Guest<UnicodeString>,
        name: Guest<UnicodeString>,
        result: Guest<usize>,
    ) -> NtStatus {
        irql::at_most("FltAttachVolumeAtAltitude", PASSIVE_LEVEL);
        let filter = objects::filter(filter, "FltAttachVolumeAtAltitude");
        let described = || Ok(described_at(&filter, optional_name(name), altitude.text()));
        attach_by_hand(&filter, volume, "FltAttachVolumeAtAltitude", described, result)
    }

    /// Detaches an instance, if the filter's query callback lets it.
    fn FltDetachVolume(filter: usize, volume: usize, name: Guest<UnicodeString>) -> NtStatus {
        irql::at_most("FltDetachVolume", APC_LEVEL);
        let filter = objects::filter(filter, "FltDetachVolume");
        let volume = objects::volume(volume, "FltDetachVolume");
        if let Err(status) = ready(&filter) {
            return status;
        }
        match find(Some(&filter), &volume, optional_name(name).as_deref()) {
            Some(instance) => attach::detach(&instance),
            None => NtStatus::FLT_INSTANCE_NOT_FOUND,
        }
    }

    /// The instances of a volume, of a filter, or all of them.
    fn FltEnumerateInstances(
        volume: usize,
        filter: usize,
        array: Guest<usize>,
        room: u32,
        count: Guest<u32>,
    ) -> NtStatus {
        irql::at_most("FltEnumerateInstances", APC_LEVEL);
        let volume = (volume != 0).then(|| objects::volume(volume, "FltEnumerateInstances"));
        let filter = (filter != 0).then(|| objects::filter(filter, "FltEnumerateInstances"));
        let volumes = volume.map_or_else(objects::volumes, |volume| vec![volume]);
        let wanted = |instance: &Arc<Instance>| {
            filter.as_ref().is_none_or(|filter| Arc::ptr_eq(&instance.filter, filter))
        };
        let found: Vec<Arc<Instance>> = volumes
            .iter()
            .flat_map(|volume| volume.instances().to_vec())
            .filter(wanted)
            .filter(|instance| attach::lend(instance))
            .collect();
        let status = list(&found, array, room, count, |instance| instance.address);
        if !status.is_success() {
            for instance in &found {
                attach::give_back(instance);
            }
        }
        status
    }

    /// Every volume.
    fn FltEnumerateVolumes(filter: usize, array: Guest<usize>, room: u32, count: Guest<u32>) -> NtStatus {
        irql::at_most("FltEnumerateVolumes", APC_LEVEL);
        let _ = objects::filter(filter, "FltEnumerateVolumes");
        list(&objects::volumes(), array, room, count, |volume| {
            info::hold(volume, 1);
            volume.address
        })
    }

    /// A volume by its name.
    fn FltGetVolumeFromName(filter: usize, name: Guest<UnicodeString>, result: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetVolumeFromName", PASSIVE_LEVEL);
        let _ = objects::filter(filter, "FltGetVolumeFromName");
        if name.is_null() || result.is_null() {
            return NtStatus::INVALID_PARAMETER;
        }
        let Some(volume) = volume_named(&name.text()) else {
            result.write(0);
            return NtStatus::FLT_VOLUME_NOT_FOUND;
        };
        info::hold(&volume, 1);
        result.write(volume.address);
        NtStatus::SUCCESS
    }

    /// An instance by its name, its filter, or both.
    fn FltGetVolumeInstanceFromName(
        filter: usize,
        volume: usize,
        name: Guest<UnicodeString>,
        result: Guest<usize>,
    ) -> NtStatus {
        irql::at_most("FltGetVolumeInstanceFromName", APC_LEVEL);
        let filter = (filter != 0).then(|| objects::filter(filter, "FltGetVolumeInstanceFromName"));
        let volume = objects::volume(volume, "FltGetVolumeInstanceFromName");
        let name = optional_name(name);
        if filter.is_none() && name.is_none() {
            return NtStatus::INVALID_PARAMETER;
        }
        match find(filter.as_ref(), &volume, name.as_deref()) {
            Some(instance) if attach::lend(&instance) => {
                result.write(instance.address);
                NtStatus::SUCCESS
            }
            _ => NtStatus::FLT_INSTANCE_NOT_FOUND,
        }
    }
}
