//! Devices that a driver makes for itself, and the I/O manager's small services around devices and file names.
//!
//! Control devices exist as objects: nothing opens them, so no dispatch routine of a driver is ever called, and no IRP
//! reaches it.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::memory::{Guest, wide};
use super::object::{self, Kind};
use super::{driver, irql, pool};
use crate::abi::base::UnicodeString;
use crate::abi::io::{DeviceObject, DriverObject, IO_TYPE_DEVICE};
use crate::fltmgr;
use crate::namespace::DeviceId;
use crate::status::NtStatus;
use crate::thread::{self, APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::{bugcheck, faults, gate, symbols, verifier};

struct Made {
    service: String,
    name: String,
    site: usize,
}

static DEVICES: LazyLock<Mutex<HashMap<usize, Made>>> = LazyLock::new(Mutex::default);
/// `DO_DEVICE_INITIALIZING`, `DO_EXCLUSIVE`.
const INITIALIZING: u32 = 0x80;
const EXCLUSIVE: u32 = 0x8;

fn lock() -> MutexGuard<'static, HashMap<usize, Made>> {
    DEVICES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reports the devices that a driver that goes away has left.
pub(crate) fn report_leaks(service: &str) {
    let mut devices = lock();
    let left: Vec<usize> = devices
        .iter()
        .filter(|(_, made)| made.service == service)
        .map(|(address, _)| *address)
        .collect();
    let left: Vec<Made> = left
        .iter()
        .filter_map(|address| devices.remove(address))
        .collect();
    drop(devices);
    for made in left {
        verifier::finding(
            "device-leak",
            format!(
                "{service} went away with its device {} from {}; its unload routine must call IoDeleteDevice",
                made.name,
                symbols::describe(made.site)
            ),
        );
    }
}

fn create(
    driver_object: Guest<DriverObject>,
    extension: u32,
    name: &str,
    kind: u32,
    characteristics: u32,
    exclusive: bool,
) -> Result<usize, NtStatus> {
    let taken = |made: &Made| !name.is_empty() && made.name.eq_ignore_ascii_case(name);
    if lock().values().any(taken) {
        return Err(NtStatus::OBJECT_NAME_COLLISION);
    }
    let address = object::allocate(size_of::<DeviceObject>() + extension as usize);
    // SAFETY: a DEVICE_OBJECT of zeroes is one: its fields are numbers and pointers.
    let mut device: DeviceObject = unsafe { std::mem::zeroed() };
    device.kind = IO_TYPE_DEVICE;
    device.size = u16::try_from(size_of::<DeviceObject>() + extension as usize).unwrap_or(u16::MAX);
    device.driver_object = driver_object.0;
    device.device_type = kind;
    device.characteristics = characteristics;
    device.stack_size = 1;
    device.flags = INITIALIZING | if exclusive { EXCLUSIVE } else { 0 };
    if extension != 0 {
        device.device_extension = Guest::at(address + size_of::<DeviceObject>()).0;
    }
    let body: *mut DeviceObject = Guest::at(address).0;
    // SAFETY: freshly allocated for it.
    unsafe { body.write(device) };
    let service = driver::calling().map_or_else(String::new, |driver| driver.service.clone());
    let site = gate::call_site().map_or(0, |site| site.return_address);
    let made = Made {
        service,
        name: name.to_owned(),
        site,
    };
    lock().insert(address, made);
    object::insert(address, Kind::Lasting("device object"));
    Ok(address)
}

fn no_irps(function: &str, irp: usize) -> ! {
    bugcheck::raise(
        0x44,
        [irp as u64, 0, 0, 0],
        format!("{function} on {irp:#x}, which is no IRP: the bench shows drivers none"),
    )
}

/// The DOS name of a volume's device.
fn dos_name(device: usize) -> Option<String> {
    let volume = fltmgr::volume_of_device(device)?;
    let machine = super::MACHINE.get()?;
    match volume.device {
        DeviceId::Mup => None,
        DeviceId::Volume(index) => machine
            .namespace
            .letter(index)
            .map(|letter| format!("{letter}:")),
    }
}

exports! { "ntoskrnl.exe";
    /// Makes a device.
    partial "no requests reach the device"
    fn IoCreateDevice(
        driver_object: Guest<DriverObject>, extension: u32, name: Guest<UnicodeString>, kind: u32, characteristics: u32,
        exclusive: u8, out: Guest<usize>,
    ) -> NtStatus {
        irql::at_most("IoCreateDevice", APC_LEVEL);
        out.write(0);
        if let Some(status) = faults::check("IoCreateDevice") {
            return status;
        }
        match create(driver_object, extension, &name.text(), kind, characteristics, exclusive != 0) {
            Ok(device) => {
                out.write(device);
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Takes it away.
    fn IoDeleteDevice(device: usize) {
        irql::at_most("IoDeleteDevice", APC_LEVEL);
        if lock().remove(&device).is_none() {
            bugcheck::raise(
                0x3B, [0xC000_0005, 0, device as u64, 0],
                format!("IoDeleteDevice on {device:#x}, which IoCreateDevice did not make"),
            );
        }
    }

    /// The highest device attached to one, referenced: here nothing attaches to devices.
    partial "nothing attaches to devices: the device itself"
    fn IoGetAttachedDeviceReference(device: usize) -> usize {
        irql::at_most("IoGetAttachedDeviceReference", DISPATCH_LEVEL);
        object::lend_device(device);
        device
    }

    /// The DOS name of a volume, in pool that the caller frees.
    fn IoVolumeDeviceToDosName(device: usize, out: Guest<UnicodeString>) -> NtStatus {
        irql::at_most("IoVolumeDeviceToDosName", PASSIVE_LEVEL);
        if let Some(status) = faults::check("IoVolumeDeviceToDosName") {
            return status;
        }
        let Some(name) = dos_name(device) else { return NtStatus::INVALID_DEVICE_REQUEST };
        let units = wide(&name);
        let bytes = units.len() * 2;
        let Some(block) = pool::allocate(bytes + 2, u32::from_le_bytes(*b"Dosn"), pool::Kind::Paged, true) else {
            return NtStatus::INSUFFICIENT_RESOURCES;
        };
        Guest::<u16>::at(block).write_many(&units);
        let length = u16::try_from(bytes).unwrap_or(0);
        out.write(UnicodeString { length, maximum_length: length + 2, buffer: Guest::at(block).0 });
        NtStatus::SUCCESS
    }

    /// Gives a file object another name, before it is open: what a create goes on with after `STATUS_REPARSE`.
    fn IoReplaceFileObjectName(file: usize, name: Guest<u16>, length: u16) -> NtStatus {
        irql::at_most("IoReplaceFileObjectName", APC_LEVEL);
        let file = object::file(file, "IoReplaceFileObjectName");
        if let Some(status) = faults::check("IoReplaceFileObjectName") {
            return status;
        }
        file.set_name(&name.read_many(usize::from(length / 2)));
        NtStatus::SUCCESS
    }

    /// The lock of IRPs' cancel routines: the bench shows drivers no IRPs, and nobody else takes it.
    partial "raises the IRQL alone: drivers see no IRPs to cancel"
    fn IoAcquireCancelSpinLock(old: Guest<u8>) {
        irql::at_most("IoAcquireCancelSpinLock", DISPATCH_LEVEL);
        old.write(thread::current().set_irql(DISPATCH_LEVEL));
    }

    /// Gives it back.
    partial "lowers the IRQL alone"
    fn IoReleaseCancelSpinLock(old: u8) {
        thread::current().set_irql(old);
    }

    /// No memory, as documented for a request that cannot be built: the bench shows drivers no IRPs.
    refused "drivers see no IRPs: NULL"
    fn IoBuildDeviceIoControlRequest(
        _code: u32, _device: usize, _input: usize, _input_length: u32, _output: usize, _output_length: u32,
        _internal: u8, _event: usize, _status: usize,
    ) -> usize {
        irql::at_most("IoBuildDeviceIoControlRequest", PASSIVE_LEVEL);
        verifier::finding("refused", "IoBuildDeviceIoControlRequest: the bench shows drivers no IRPs; NULL");
        0
    }

    /// A bug check: there is no IRP to send.
    refused "drivers see no IRPs: a bug check"
    fn IofCallDriver(_device: usize, irp: usize) -> NtStatus {
        no_irps("IoCallDriver", irp)
    }

    /// A bug check: there is no IRP to complete.
    refused "drivers see no IRPs: a bug check"
    fn IofCompleteRequest(irp: usize, _boost: i8) {
        no_irps("IoCompleteRequest", irp)
    }
}
