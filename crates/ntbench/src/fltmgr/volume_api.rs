//! Volumes as filters ask about them: properties, GUID names, devices, opening them.

use super::info;
use super::objects::{self, Instance, Object, Volume};
use super::operation::{Request, send};
use crate::abi::base::UnicodeString;
use crate::abi::flt::{
    FLTFL_CALLBACK_DATA_GENERATED_IO, FLTFL_CALLBACK_DATA_SYSTEM_BUFFER, KERNEL_MODE,
    VolumeProperties,
};
use crate::abi::io::{
    FILE_REMOTE_DEVICE, IRP_BUFFERED_IO, IRP_MJ_QUERY_VOLUME_INFORMATION,
    IRP_MJ_SET_VOLUME_INFORMATION, IRP_SYNCHRONOUS_API, IoStatusBlock,
};
use crate::abi::ob::OBJ_KERNEL_HANDLE;
use crate::abi::params::{Parameters, QueryInformation};
use crate::faults;
use crate::namespace::DeviceId;
use crate::ntos::handle::{self, Target};
use crate::ntos::iomgr::{self, Create};
use crate::ntos::memory::{Guest, wide};
use crate::ntos::{irql, object};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, PASSIVE_LEVEL};
use std::sync::Arc;

/// `STATUS_FLT_NO_DEVICE_OBJECT` is what a volume without a disk answers.
const NO_DEVICE: NtStatus = NtStatus::FLT_NO_DEVICE_OBJECT;

/// The name by which the mount manager knows a local volume.
pub(crate) fn guid_name(volume: usize) -> String {
    format!("\\??\\Volume{{6e746265-6e63-4000-8000-{volume:012x}}}")
}

/// Puts a name into a caller's string, or says how long it must be.
fn put_name(units: &[u16], name: Guest<UnicodeString>, needed: Guest<u32>) -> NtStatus {
    let bytes = u32::try_from(units.len() * 2).unwrap_or(0);
    needed.write_opt(bytes);
    let Some(mut string) = name.read_opt() else {
        return NtStatus::BUFFER_TOO_SMALL;
    };
    if u32::from(string.maximum_length) < bytes {
        return NtStatus::BUFFER_TOO_SMALL;
    }
    Guest(string.buffer).write_many(units);
    string.length = u16::try_from(bytes).unwrap_or(0);
    name.write(string);
    NtStatus::SUCCESS
}

/// The three strings of `FLT_VOLUME_PROPERTIES`: of a redirector's volume no disk has a name.
fn strings(volume: &Volume) -> [Vec<u16>; 3] {
    let name = volume.name.as_str();
    let (driver, system, disk) = match volume.device {
        DeviceId::Mup => ("\\FileSystem\\Mup", name, ""),
        DeviceId::Volume(_) | DeviceId::Driver => ("\\FileSystem\\Ntfs", "\\Ntfs", name),
    };
    [driver, system, disk].map(wide)
}

/// `FLT_VOLUME_PROPERTIES`, and behind it the text of its strings.
fn properties(volume: &Volume, at: usize, length: u32, returned: Guest<u32>) -> NtStatus {
    const FIXED: usize = size_of::<VolumeProperties>();
    let strings = strings(volume);
    let text: usize = strings.iter().map(|units| units.len() * 2).sum();
    let room = length as usize;
    if room < FIXED {
        returned.write_opt(u32::try_from(FIXED + text).unwrap_or(0));
        return NtStatus::BUFFER_TOO_SMALL;
    }
    let remote = volume.device == DeviceId::Mup;
    let mut free = FIXED;
    let [driver, system, disk] = strings.map(|units| {
        let fits = units.len().min((room - free) / 2);
        let buffer = Guest::<u16>::at(at + free);
        buffer.write_many(&units[..fits]);
        let bytes = u16::try_from(fits * 2).unwrap_or(0);
        free += fits * 2;
        UnicodeString {
            length: bytes,
            maximum_length: bytes,
            buffer: buffer.0,
        }
    });
    Guest::at(at).write(VolumeProperties {
        device_type: volume.device_type,
        device_characteristics: if remote { FILE_REMOTE_DEVICE } else { 0 },
        // Neither buffered nor direct, byte alignment.
        device_object_flags: 0,
        alignment_requirement: 0,
        sector_size: 512,
        flags: 0,
        file_system_driver_name: driver,
        file_system_device_name: system,
        real_device_name: disk,
    });
    returned.write_opt(u32::try_from(free).unwrap_or(0));
    if free < FIXED + text {
        NtStatus::BUFFER_OVERFLOW
    } else {
        NtStatus::SUCCESS
    }
}

fn either(address: usize, function: &str) -> Arc<Volume> {
    match objects::at(address) {
        Some(Object::Volume(volume)) => volume,
        _ => objects::instance(address, function).volume.clone(),
    }
}

/// Opens a volume itself, below an instance.
fn open(instance: &Arc<Instance>, handle: Guest<u64>, file: Guest<usize>) -> NtStatus {
    if instance.volume.device == DeviceId::Mup {
        // Documented for local volumes only.
        return NtStatus::INVALID_PARAMETER;
    }
    let created = iomgr::create(&Create {
        below: Some(Arc::clone(instance)),
        generated: true,
        object_attributes: OBJ_KERNEL_HANDLE,
        ..Create::open(wide(&instance.volume.name))
    });
    let Some(opened) = created.file else {
        return created.status;
    };
    opened.add_handle();
    let value = handle::open(
        Target::File(opened.clone()),
        0x0010_0080,
        OBJ_KERNEL_HANDLE,
        KERNEL_MODE,
    );
    handle.write(value);
    if file.is_null() {
        opened.dereference();
    } else {
        object::taken(opened.address());
        file.write(opened.address());
    }
    created.status
}

/// Asks or tells a volume about itself, by an open of its own.
fn about(
    instance: &Arc<Instance>,
    major: u8,
    (buffer, length): (usize, u32),
    class: u32,
) -> IoStatusBlock {
    let root = format!("{}\\", instance.volume.name);
    let name = match instance.volume.device {
        DeviceId::Mup => return IoStatusBlock::new(NtStatus::INVALID_PARAMETER, 0),
        DeviceId::Volume(_) | DeviceId::Driver => wide(&root),
    };
    let created = iomgr::create(&Create {
        below: Some(Arc::clone(instance)),
        generated: true,
        ..Create::open(name)
    });
    let Some(file) = created.file else {
        return IoStatusBlock::new(created.status, 0);
    };
    file.add_handle();
    let parameters = Parameters::of(QueryInformation {
        length,
        pad0: 0,
        class,
        pad1: 0,
        buffer,
        pad2: [0; 3],
    });
    let done = send(
        &file,
        &Request {
            irp_flags: IRP_BUFFERED_IO | IRP_SYNCHRONOUS_API,
            data_flags: FLTFL_CALLBACK_DATA_SYSTEM_BUFFER | FLTFL_CALLBACK_DATA_GENERATED_IO,
            below: Some(instance),
            ..Request::new(major, parameters)
        },
    );
    file.close_handle();
    file.dereference();
    done
}

/// Makes `System Volume Information` in the root of an instance's volume.
fn system_folder(instance: &Arc<Instance>) -> NtStatus {
    if instance.volume.device == DeviceId::Mup {
        return NtStatus::INVALID_PARAMETER;
    }
    let name = format!("{}\\System Volume Information", instance.volume.name);
    let created = iomgr::create(&Create {
        below: Some(Arc::clone(instance)),
        generated: true,
        // FILE_OPEN_IF, as a directory; hidden, system.
        disposition: 3,
        options: 0x21,
        attributes: 0x6,
        ..Create::open(wide(&name))
    });
    if let Some(file) = created.file {
        file.add_handle();
        file.close_handle();
        file.dereference();
    }
    created.status
}

exports! { "fltmgr.sys";
    /// What a volume is.
    fn FltGetVolumeProperties(volume: usize, out: Guest<u8>, length: u32, returned: Guest<u32>) -> NtStatus {
        irql::at_most("FltGetVolumeProperties", PASSIVE_LEVEL);
        let volume = objects::volume(volume, "FltGetVolumeProperties");
        if let Some(status) = faults::check("FltGetVolumeProperties") {
            return status;
        }
        properties(&volume, out.address(), length, returned)
    }

    /// The mount manager's name of a local volume.
    fn FltGetVolumeGuidName(volume: usize, name: Guest<UnicodeString>, needed: Guest<u32>) -> NtStatus {
        irql::at_most("FltGetVolumeGuidName", PASSIVE_LEVEL);
        let volume = objects::volume(volume, "FltGetVolumeGuidName");
        if let Some(status) = faults::check("FltGetVolumeGuidName") {
            return status;
        }
        match volume.device {
            DeviceId::Mup | DeviceId::Driver => NtStatus::INVALID_DEVICE_REQUEST,
            DeviceId::Volume(index) => put_name(&wide(&guid_name(index)), name, needed),
        }
    }

    /// The device object of a volume, referenced.
    fn FltGetDeviceObject(volume: usize, out: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetDeviceObject", APC_LEVEL);
        let volume = objects::volume(volume, "FltGetDeviceObject");
        object::lend_device(volume.device_object);
        out.write(volume.device_object);
        NtStatus::SUCCESS
    }

    /// The device object of the disk below a volume, referenced: a redirector has none.
    partial "a disk of its own for each volume, which answers no control"
    fn FltGetDiskDeviceObject(volume: usize, out: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetDiskDeviceObject", APC_LEVEL);
        let volume = objects::volume(volume, "FltGetDiskDeviceObject");
        let Some(disk) = volume.disk else {
            return NO_DEVICE;
        };
        object::lend_device(disk);
        out.write(disk);
        NtStatus::SUCCESS
    }

    /// Whether a volume can be written to: all can.
    partial "TRUE always: no volume is read-only"
    fn FltIsVolumeWritable(address: usize, answer: Guest<u8>) -> NtStatus {
        irql::at_most("FltIsVolumeWritable", APC_LEVEL);
        let _ = either(address, "FltIsVolumeWritable");
        answer.write(1);
        NtStatus::SUCCESS
    }

    /// Opens the volume itself.
    fn FltOpenVolume(instance: usize, handle: Guest<u64>, file: Guest<usize>) -> NtStatus {
        irql::at_most("FltOpenVolume", PASSIVE_LEVEL);
        let instance = objects::instance(instance, "FltOpenVolume");
        if let Some(status) = faults::check("FltOpenVolume") {
            return status;
        }
        open(&instance, handle, file)
    }

    /// Asks a volume about itself.
    partial "the classes that the bench's file systems answer"
    fn FltQueryVolumeInformation(
        instance: usize, status: Guest<IoStatusBlock>, buffer: usize, length: u32, class: u32,
    ) -> NtStatus {
        irql::at_most("FltQueryVolumeInformation", PASSIVE_LEVEL);
        let instance = objects::instance(instance, "FltQueryVolumeInformation");
        let done = match faults::check("FltQueryVolumeInformation") {
            Some(status) => IoStatusBlock::new(status, 0),
            None => about(&instance, IRP_MJ_QUERY_VOLUME_INFORMATION, (buffer, length), class),
        };
        status.write_opt(done);
        done.status
    }

    /// Changes something about a volume.
    partial "the label; STATUS_INVALID_INFO_CLASS for other classes"
    fn FltSetVolumeInformation(
        instance: usize, status: Guest<IoStatusBlock>, buffer: usize, length: u32, class: u32,
    ) -> NtStatus {
        irql::at_most("FltSetVolumeInformation", PASSIVE_LEVEL);
        let instance = objects::instance(instance, "FltSetVolumeInformation");
        let done = match faults::check("FltSetVolumeInformation") {
            Some(status) => IoStatusBlock::new(status, 0),
            None => about(&instance, IRP_MJ_SET_VOLUME_INFORMATION, (buffer, length), class),
        };
        status.write_opt(done);
        done.status
    }

    /// Makes the folder that only the system uses.
    fn FltCreateSystemVolumeInformationFolder(instance: usize) -> NtStatus {
        irql::at_most("FltCreateSystemVolumeInformationFolder", PASSIVE_LEVEL);
        let instance = objects::instance(instance, "FltCreateSystemVolumeInformationFolder");
        match faults::check("FltCreateSystemVolumeInformationFolder") {
            Some(status) => status,
            None => system_folder(&instance),
        }
    }

    /// The volume whose device that is, referenced.
    fn FltGetVolumeFromDeviceObject(filter: usize, device: usize, out: Guest<usize>) -> NtStatus {
        irql::at_most("FltGetVolumeFromDeviceObject", APC_LEVEL);
        let _ = objects::filter(filter, "FltGetVolumeFromDeviceObject");
        let found = objects::volumes().into_iter().find(|volume| volume.device_object == device);
        let Some(volume) = found else { return NtStatus::INVALID_PARAMETER };
        info::hold(&volume, 1);
        out.write(volume.address);
        NtStatus::SUCCESS
    }
}
