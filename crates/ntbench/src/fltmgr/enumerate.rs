//! What the Filter Manager tells of filters, instances and volumes: of one, or one after the other by number.

use std::sync::Arc;

use super::objects::{self, Altitude, Filter, FilterState, Instance, Volume};
use super::{attach_api, info};
use crate::abi::base::UnicodeString;
use crate::ntos::irql;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};

/// `FLTFL_AGGREGATE_INFO_IS_MINIFILTER`, `FLTFL_ASI_IS_MINIFILTER`, `FLTFL_IASI_IS_MINIFILTER`.
const IS_MINIFILTER: u32 = 1;

/// Where what is told goes: the caller's buffer, its length, and how long the information is.
#[derive(Clone, Copy)]
struct Out {
    buffer: Guest<u8>,
    length: u32,
    needed: Guest<u32>,
}

impl Out {
    /// Copies information out, or says how long it is; `None`: there is no such class.
    fn put(self, information: Option<Vec<u8>>) -> NtStatus {
        let Some(bytes) = information else {
            return NtStatus::INVALID_PARAMETER;
        };
        self.needed
            .write(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        if bytes.len() > self.length as usize {
            return NtStatus::BUFFER_TOO_SMALL;
        }
        self.buffer.write_many(&bytes);
        NtStatus::SUCCESS
    }

    /// What one of several is; there is none of that number: `STATUS_NO_MORE_ENTRIES`.
    fn put_of<T>(self, all: &[T], index: u32, tell: impl Fn(&T) -> Option<Vec<u8>>) -> NtStatus {
        match all.get(index as usize) {
            Some(one) => self.put(tell(one)),
            None => NtStatus::NO_MORE_ENTRIES,
        }
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn short(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes()
}

/// Numbers, then a name after its length in bytes.
fn counted(numbers: &[u32], name: &str) -> Vec<u8> {
    let name = utf16(name);
    let mut bytes: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    bytes.extend(short(name.len()));
    bytes.extend(name);
    bytes
}

/// Numbers, then the length and the place of each text, then the numbers in `more`, then the texts.
fn placed(numbers: &[u32], texts: &[&str], more: &[u32]) -> Vec<u8> {
    let mut head: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let first = head.len() + 4 * texts.len() + 4 * more.len();
    let mut tail = Vec::new();
    for text in texts {
        let text = utf16(text);
        head.extend(short(text.len()));
        head.extend(short(first + tail.len()));
        tail.extend(text);
    }
    head.extend(more.iter().flat_map(|number| number.to_le_bytes()));
    head.extend(tail);
    head
}

/// `FILTER_FULL_INFORMATION`, `FILTER_AGGREGATE_BASIC_INFORMATION`, `FILTER_AGGREGATE_STANDARD_INFORMATION`: one frame, and
/// no next entry.
fn filter_information(filter: &Arc<Filter>, class: u32) -> Option<Vec<u8>> {
    let instances = objects::instances_of(filter).len();
    let instances = u32::try_from(instances).unwrap_or(u32::MAX);
    let altitude = || filter.altitude.as_str();
    match class {
        0 => Some(counted(&[0, 0, instances], &filter.service)),
        1 => {
            let numbers = [0, IS_MINIFILTER, 0, instances];
            Some(placed(&numbers, &[&filter.service, altitude()], &[]))
        }
        2 => {
            let numbers = [0, IS_MINIFILTER, 0, 0, instances];
            Some(placed(&numbers, &[&filter.service, altitude()], &[]))
        }
        _ => None,
    }
}

/// `INSTANCE_BASIC_INFORMATION`, `INSTANCE_PARTIAL_INFORMATION`, `INSTANCE_FULL_INFORMATION`,
/// `INSTANCE_AGGREGATE_STANDARD_INFORMATION`.
fn instance_information(instance: &Instance, class: u32) -> Option<Vec<u8>> {
    let (name, altitude) = (instance.name.as_str(), instance.altitude_text.as_str());
    let (volume, filter) = (
        instance.volume.name.as_str(),
        instance.filter.service.as_str(),
    );
    match class {
        0 => Some(placed(&[0], &[name], &[])),
        1 => Some(placed(&[0], &[name, altitude], &[])),
        2 => Some(placed(&[0], &[name, altitude, volume, filter], &[])),
        3 => {
            let numbers = [0, IS_MINIFILTER, 0, 0, instance.volume.file_system];
            let features = [instance.filter.features];
            let texts = [name, altitude, volume, filter];
            Some(placed(&numbers, &texts, &features))
        }
        _ => None,
    }
}

/// `FILTER_VOLUME_BASIC_INFORMATION`, `FILTER_VOLUME_STANDARD_INFORMATION`.
fn volume_information(volume: &Volume, class: u32) -> Option<Vec<u8>> {
    match class {
        0 => Some(counted(&[], &volume.name)),
        // No next entry, no flags, one frame.
        1 => Some(counted(&[0, 0, 0, volume.file_system], &volume.name)),
        _ => None,
    }
}

/// Every filter, the one farthest from the file systems first.
fn filters() -> Vec<Arc<Filter>> {
    let mut all = objects::filters();
    all.sort_by(|left, right| {
        let altitude = |filter: &Filter| Altitude::parse(&filter.altitude);
        altitude(right).cmp(&altitude(left))
    });
    all
}

/// The instances of a filter on all volumes.
fn instances_of(filter: &Arc<Filter>) -> Vec<Arc<Instance>> {
    let of_filter = |instance: &Arc<Instance>| Arc::ptr_eq(&instance.filter, filter);
    objects::volumes()
        .iter()
        .flat_map(|volume| volume.instances().to_vec())
        .filter(of_filter)
        .collect()
}

fn is_going(filter: &Filter) -> bool {
    let state = filter.state.lock();
    *state.unwrap_or_else(std::sync::PoisonError::into_inner) == FilterState::Unregistered
}

fn of_volume(volume: &Volume, index: u32, class: u32, out: Out) -> NtStatus {
    out.put_of(&volume.instances(), index, |instance| {
        instance_information(instance, class)
    })
}

exports! { "fltmgr.sys";
    /// What a filter is called, and how many instances it has.
    fn FltGetFilterInformation(
        filter: usize, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>,
    ) -> NtStatus {
        irql::at_most("FltGetFilterInformation", APC_LEVEL);
        let filter = objects::filter(filter, "FltGetFilterInformation");
        Out { buffer, length, needed }.put(filter_information(&filter, class))
    }

    /// What an instance is called, where it is and whose.
    fn FltGetInstanceInformation(
        instance: usize, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>,
    ) -> NtStatus {
        irql::at_most("FltGetInstanceInformation", APC_LEVEL);
        let instance = objects::instance(instance, "FltGetInstanceInformation");
        Out { buffer, length, needed }.put(instance_information(&instance, class))
    }

    /// What a volume is called, and its file system.
    fn FltGetVolumeInformation(
        volume: usize, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>,
    ) -> NtStatus {
        irql::at_most("FltGetVolumeInformation", APC_LEVEL);
        let volume = objects::volume(volume, "FltGetVolumeInformation");
        Out { buffer, length, needed }.put(volume_information(&volume, class))
    }

    /// Every filter, referenced.
    fn FltEnumerateFilters(array: Guest<usize>, room: u32, count: Guest<u32>) -> NtStatus {
        irql::at_most("FltEnumerateFilters", APC_LEVEL);
        let all: Vec<_> = filters().into_iter().filter(|filter| !is_going(filter)).collect();
        if array.is_null() && room == 0 {
            count.write(u32::try_from(all.len()).unwrap_or(u32::MAX));
            return NtStatus::SUCCESS;
        }
        attach_api::list(&all, array, room, count, |filter| {
            info::FltObjectReference(filter.address);
            filter.address
        })
    }

    /// What one of all filters is called, by its number from the top.
    fn FltEnumerateFilterInformation(
        index: u32, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>,
    ) -> NtStatus {
        irql::at_most("FltEnumerateFilterInformation", APC_LEVEL);
        let out = Out { buffer, length, needed };
        out.put_of(&filters(), index, |filter| filter_information(filter, class))
    }

    /// What one of a filter's instances is.
    fn FltEnumerateInstanceInformationByFilter(
        filter: usize, index: u32, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>,
    ) -> NtStatus {
        irql::at_most("FltEnumerateInstanceInformationByFilter", APC_LEVEL);
        let filter = objects::filter(filter, "FltEnumerateInstanceInformationByFilter");
        let out = Out { buffer, length, needed };
        out.put_of(&instances_of(&filter), index, |instance| instance_information(instance, class))
    }

    /// What one of a volume's instances is.
    fn FltEnumerateInstanceInformationByVolume(
        volume: usize, index: u32, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>,
    ) -> NtStatus {
        irql::at_most("FltEnumerateInstanceInformationByVolume", APC_LEVEL);
        let volume = objects::volume(volume, "FltEnumerateInstanceInformationByVolume");
        of_volume(&volume, index, class, Out { buffer, length, needed })
    }

    /// The same of a volume of that name.
    fn FltEnumerateInstanceInformationByVolumeName(
        name: Guest<UnicodeString>, index: u32, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>,
    ) -> NtStatus {
        irql::at_most("FltEnumerateInstanceInformationByVolumeName", PASSIVE_LEVEL);
        match attach_api::volume_named(&name.text()) {
            Some(volume) => of_volume(&volume, index, class, Out { buffer, length, needed }),
            None => NtStatus::FLT_VOLUME_NOT_FOUND,
        }
    }

    /// The same of the volume whose file system has that device object.
    fn FltEnumerateInstanceInformationByDeviceObject(
        device: usize, index: u32, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>,
    ) -> NtStatus {
        irql::at_most("FltEnumerateInstanceInformationByDeviceObject", APC_LEVEL);
        match super::volume_of_device(device) {
            Some(volume) => of_volume(&volume, index, class, Out { buffer, length, needed }),
            None => NtStatus::FLT_VOLUME_NOT_FOUND,
        }
    }

    /// What one of all volumes is.
    fn FltEnumerateVolumeInformation(
        filter: usize, index: u32, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>,
    ) -> NtStatus {
        irql::at_most("FltEnumerateVolumeInformation", APC_LEVEL);
        let _ = objects::filter(filter, "FltEnumerateVolumeInformation");
        let out = Out { buffer, length, needed };
        out.put_of(&objects::volumes(), index, |volume| volume_information(volume, class))
    }

    /// Which of two instances is higher: above 0, the first.
    fn FltCompareInstanceAltitudes(first: usize, second: usize) -> i32 {
        irql::at_most("FltCompareInstanceAltitudes", APC_LEVEL);
        let [first, second] = [first, second].map(|at| objects::instance(at, "FltCompareInstanceAltitudes"));
        first.altitude.cmp(&second.altitude) as i32
    }

    /// Whether a device object is one by which the Filter Manager filters a volume: those are not seen here.
    partial "FALSE always: what the Filter Manager attaches to a volume's device is not seen here"
    fn FltIsFltMgrVolumeDeviceObject(_device: usize) -> u8 {
        irql::at_most("FltIsFltMgrVolumeDeviceObject", APC_LEVEL);
        0
    }
}
