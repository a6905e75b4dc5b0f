//! Small questions: who asked, what volume is this, references to the Filter Manager's objects.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::objects::{self, FilterState, Object, Volume};
use super::{attach, flight};
use crate::abi::base::UnicodeString;
use crate::ntos::memory::{Guest, terminated, wide};
use crate::ntos::{driver, irql, object, routines};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::verifier::{Leak, Taken};
use crate::{bugcheck, faults};

/// Notes that the driver that is calling took a reference to a volume, or gave one back.
pub(super) fn hold(volume: &Volume, change: i64) {
    volume.references.fetch_add(change, Ordering::AcqRel);
    let service = driver::calling().map_or_else(String::new, |driver| driver.service.clone());
    let mut holders = volume
        .holders
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    note(holders.entry(service).or_default(), change);
}

/// Notes a reference that was taken (above 0) or given back.
pub(super) fn note(taken: &mut Taken, change: i64) {
    if change > 0 {
        taken.take();
    } else {
        taken.give_back();
    }
}

/// What references to volumes a driver that goes away has left; they are taken away.
pub(super) fn leftovers(service: &str) -> Vec<Leak> {
    let left = |volume: Arc<Volume>| {
        let mut holders = volume
            .holders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let taken = holders.remove(service)?;
        volume.references.fetch_sub(taken.left(), Ordering::AcqRel);
        taken.leak(&format!(
            "{} reference(s) to the volume {} were not given back; each FltGetVolumeFrom… and each volume of \
             FltEnumerateVolumes needs its FltObjectDereference",
            taken.left(),
            volume.name
        ))
    };
    objects::volumes().into_iter().filter_map(left).collect()
}

/// Whether new references to an object are refused: it is being torn down.
fn is_going(object: &Object) -> bool {
    match object {
        Object::Filter(filter) => {
            *filter.state.lock().unwrap_or_else(PoisonError::into_inner)
                == FilterState::Unregistered
        }
        Object::Instance(instance) => instance.rundown.is_closed(),
        Object::Volume(_) => false,
    }
}

fn reference(address: usize, function: &str, change: i64) -> Option<i64> {
    let object = objects::at(address)?;
    if change > 0 && is_going(&object) {
        return None;
    }
    if let Object::Volume(volume) = &object {
        hold(volume, change);
        return check(address, function, volume.references.load(Ordering::Acquire));
    }
    let count = match &object {
        Object::Instance(instance) if change < 0 => attach::give_back(instance),
        Object::Instance(instance) => attach::take(instance),
        Object::Filter(filter) => {
            let mut taken = filter.taken.lock().unwrap_or_else(PoisonError::into_inner);
            note(&mut taken, change);
            filter.references.fetch_add(change, Ordering::AcqRel) + change
        }
        Object::Volume(_) => 0,
    };
    check(address, function, count)
}

fn check(address: usize, function: &str, count: i64) -> Option<i64> {
    if count < 0 {
        bugcheck::raise(
            0xF5,
            [0x6D, address as u64, 0, 0],
            format!("{function} gave back more references to {address:#x} than were taken"),
        );
    }
    Some(count)
}

exports! { "fltmgr.sys";
    /// Takes a reference to a filter, volume or instance.
    fn FltObjectReference(address: usize) -> NtStatus {
        irql::at_most("FltObjectReference", APC_LEVEL);
        if let Some(status) = faults::check("FltObjectReference") {
            return status;
        }
        if reference(address, "FltObjectReference", 1).is_some() {
            NtStatus::SUCCESS
        } else {
            NtStatus::FLT_DELETING_OBJECT
        }
    }

    /// Gives it back.
    fn FltObjectDereference(address: usize) {
        irql::at_most("FltObjectDereference", APC_LEVEL);
        if reference(address, "FltObjectDereference", -1).is_none() {
            bugcheck::raise(
                0xF5,
                [0x6E, address as u64, 0, 0],
                format!("FltObjectDereference on {address:#x}, which is no filter, volume or instance (any more)"),
            );
        }
    }

    /// The process that asked for an operation.
    fn FltGetRequestorProcess(data: usize) -> usize {
        irql::at_most("FltGetRequestorProcess", DISPATCH_LEVEL);
        flight::at(data).map_or(0, |operation| operation.process)
    }

    /// Its id.
    fn FltGetRequestorProcessId(data: usize) -> u32 {
        irql::at_most("FltGetRequestorProcessId", APC_LEVEL);
        flight::at(data).map_or(0, |operation| u32::try_from(operation.pid).unwrap_or(0))
    }

    /// Its id, as wide as a handle.
    fn FltGetRequestorProcessIdEx(data: usize) -> u64 {
        irql::at_most("FltGetRequestorProcessIdEx", APC_LEVEL);
        flight::at(data).map_or(0, |operation| operation.pid)
    }

    /// A volume's name.
    fn FltGetVolumeName(volume: usize, name: Guest<UnicodeString>, needed: Guest<u32>) -> NtStatus {
        irql::at_most("FltGetVolumeName", PASSIVE_LEVEL);
        let volume = objects::volume(volume, "FltGetVolumeName");
        let units = wide(&volume.name);
        let bytes = u32::try_from(units.len() * 2).unwrap_or(0);
        needed.write_opt(bytes);
        let Some(mut string) = name.read_opt() else { return NtStatus::BUFFER_TOO_SMALL };
        if u32::from(string.maximum_length) < bytes {
            return NtStatus::BUFFER_TOO_SMALL;
        }
        Guest(string.buffer).write_many(&units);
        string.length = u16::try_from(bytes).unwrap_or(0);
        name.write(string);
        NtStatus::SUCCESS
    }

    /// What file system a volume or an instance's volume has.
    fn FltGetFileSystemType(address: usize, kind: Guest<u32>) -> NtStatus {
        irql::at_most("FltGetFileSystemType", APC_LEVEL);
        let volume = match objects::at(address) {
            Some(Object::Volume(volume)) => volume,
            Some(Object::Instance(instance)) => instance.volume.clone(),
            _ => return NtStatus::INVALID_PARAMETER,
        };
        kind.write(volume.file_system);
        NtStatus::SUCCESS
    }

    /// An instance's volume, referenced.
    fn FltGetVolumeFromInstance(instance: usize, volume: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetVolumeFromInstance", APC_LEVEL);
        let instance = objects::instance(instance, "FltGetVolumeFromInstance");
        hold(&instance.volume, 1);
        volume.write(instance.volume.address);
        NtStatus::SUCCESS
    }

    /// A file's volume, referenced.
    fn FltGetVolumeFromFileObject(filter: usize, file: usize, volume: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetVolumeFromFileObject", APC_LEVEL);
        let _ = objects::filter(filter, "FltGetVolumeFromFileObject");
        let file = object::file(file, "FltGetVolumeFromFileObject");
        hold(&file.volume, 1);
        volume.write(file.volume.address);
        NtStatus::SUCCESS
    }

    /// An export of the Filter Manager by name; NULL: there is none.
    fn FltGetRoutineAddress(name: Guest<u8>) -> usize {
        irql::at_most("FltGetRoutineAddress", APC_LEVEL);
        let name = String::from_utf8_lossy(&terminated(name)).into_owned();
        routines::address(&["fltmgr.sys"], &name)
    }
}
