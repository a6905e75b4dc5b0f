//! Devices that drivers make for themselves: their life, their stacks, and who has them open.
//!
//! Followed: the reference pages of `IoCreateDevice`, `IoDeleteDevice` and the attaching functions; "Device Objects and
//! Device Stacks"; "DEVICE_OBJECT". A device that is deleted while files on it are open stays until the last of them is
//! closed, and nobody opens it any more; a driver whose devices are open is not unloaded before they are closed.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::memory::Guest;
use super::object::{self, Kind};
use super::{driver, iomgr, irql, names, pool};
use crate::abi::base::UnicodeString;
use crate::abi::io::{DeviceObject, DriverObject, IO_TYPE_DEVICE};
use crate::fltmgr::{self, Volume};
use crate::status::NtStatus;
use crate::thread::{APC_LEVEL, DISPATCH_LEVEL, PASSIVE_LEVEL};
use crate::{bugcheck, faults, stack, verifier};

/// A device of a driver's.
pub(crate) struct Device {
    /// Its `DEVICE_OBJECT`.
    pub(crate) address: usize,
    /// Its name as names are compared; empty: none.
    pub(super) key: String,
    /// The driver's service.
    pub(crate) service: String,
    /// The driver's `DRIVER_OBJECT`.
    pub(crate) driver: usize,
    /// What its file objects stand on: a volume of no file system, which no filter is attached to.
    pub(crate) volume: Arc<Volume>,
    site: usize,
}

#[derive(Default)]
struct Table {
    devices: HashMap<usize, Arc<Device>>,
    /// Devices that were deleted while somebody had them open or was attached to them.
    deleted: HashMap<usize, Arc<Device>>,
}

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);
const TAG: u32 = u32::from_le_bytes(*b"Devi");

/// `DO_EXCLUSIVE`.
const EXCLUSIVE: u32 = 0x8;
/// `DO_DEVICE_INITIALIZING`.
const INITIALIZING: u32 = 0x80;
/// `DO_DEVICE_HAS_NAME`.
const HAS_NAME: u32 = 0x40;
/// `STATUS_NO_SUCH_DEVICE` for a device that is going or has not come yet.
const GOING: NtStatus = NtStatus::NO_SUCH_DEVICE;

fn lock() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The device at that address.
pub(crate) fn at(address: usize) -> Option<Arc<Device>> {
    let table = lock();
    let found = table.devices.get(&address);
    found.or_else(|| table.deleted.get(&address)).cloned()
}

/// Runs `change` on a `DEVICE_OBJECT`, which a driver may be reading.
pub(crate) fn object<R>(address: usize, change: impl FnOnce(&mut DeviceObject) -> R) -> R {
    let body: *mut DeviceObject = Guest::at(address).0;
    // SAFETY: callers have the address from a table of devices that exist, each large and aligned enough.
    change(unsafe { &mut *body })
}

/// The highest device of the stack that a device is in.
pub(crate) fn top(address: usize) -> usize {
    let mut top = address;
    loop {
        let next = object(top, |device| device.attached_device).expose_provenance();
        if next == 0 {
            return top;
        }
        top = next;
    }
}

/// The device of that name; `None`: there is none.
pub(super) fn named(name: &str) -> Option<Arc<Device>> {
    let table = lock();
    let wanted = |device: &&Arc<Device>| device.key == name;
    let found = table.devices.values().find(wanted);
    found
        .or_else(|| table.deleted.values().find(wanted))
        .cloned()
}

/// Every device's name, as names are compared.
pub(super) fn names() -> Vec<String> {
    let table = lock();
    let all = table.devices.values().chain(table.deleted.values());
    let named = all.filter(|device| !device.key.is_empty());
    named.map(|device| device.key.clone()).collect()
}

impl Device {
    /// Takes part in an open; an error: it cannot be opened now.
    pub(crate) fn open(&self) -> Result<(), NtStatus> {
        let table = lock();
        if !table.devices.contains_key(&self.address) || driver::is_unloading(self.driver) {
            return Err(GOING);
        }
        object(self.address, |device| {
            if device.flags & INITIALIZING != 0 {
                return Err(GOING);
            }
            if device.flags & EXCLUSIVE != 0 && device.reference_count != 0 {
                return Err(NtStatus::ACCESS_DENIED);
            }
            device.reference_count += 1;
            Ok(())
        })
    }

    /// A file on it is closed, or could not be opened.
    pub(crate) fn close(&self) {
        object(self.address, |device| device.reference_count -= 1);
        self.settle();
    }

    /// Takes it away if it was deleted and nobody has it any more; lets its driver be unloaded if that waits for it.
    fn settle(&self) {
        let mut table = lock();
        let (count, above) = object(self.address, |device| {
            (device.reference_count, device.attached_device)
        });
        if count == 0 && above.is_null() && table.deleted.remove(&self.address).is_some() {
            self.gone();
        }
        drop(table);
        driver::device_closed(self.driver);
    }

    fn gone(&self) {
        if object::has_references(self.address) {
            // Somebody has a pointer that he is entitled to.
            return;
        }
        object::remove(self.address);
        pool::free(self.address, None);
    }
}

/// How often the devices of a driver are open.
pub(super) fn opens(driver: usize) -> i32 {
    let table = lock();
    let all = table.devices.values().chain(table.deleted.values());
    all.filter(|device| device.driver == driver)
        .map(|device| object(device.address, |device| device.reference_count))
        .sum()
}

/// `DriverEntry` has returned: what it made is open to all.
pub(super) fn initialised(driver: usize) {
    for device in lock()
        .devices
        .values()
        .filter(|device| device.driver == driver)
    {
        object(device.address, |device| device.flags &= !INITIALIZING);
    }
}

/// Reports the devices that a driver that goes away has left.
pub(crate) fn report_leaks(service: &str) {
    let mut table = lock();
    let left: Vec<usize> = table
        .devices
        .iter()
        .filter(|(_, made)| made.service == service)
        .map(|(address, _)| *address)
        .collect();
    let left: Vec<Arc<Device>> = left
        .iter()
        .filter_map(|address| table.devices.remove(address))
        .collect();
    table.deleted.retain(|_, device| device.service != service);
    drop(table);
    for made in left {
        verifier::finding_at(
            "device-leak",
            made.site,
            format!("{service} went away with its device {}", made.volume.name),
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
    let key = names::for_device(name)?;
    let size = size_of::<DeviceObject>() + (extension as usize).next_multiple_of(16);
    let address = pool::lend(size, TAG, true).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    // SAFETY: a DEVICE_OBJECT of zeroes is one: its fields are numbers and pointers.
    let mut device: DeviceObject = unsafe { std::mem::zeroed() };
    device.kind = IO_TYPE_DEVICE;
    device.size = u16::try_from(size_of::<DeviceObject>() + extension as usize).unwrap_or(u16::MAX);
    device.driver_object = driver_object.0;
    device.device_type = kind;
    device.characteristics = characteristics;
    device.stack_size = 1;
    device.flags = INITIALIZING
        | if exclusive { EXCLUSIVE } else { 0 }
        | if name.is_empty() { 0 } else { HAS_NAME };
    if extension != 0 {
        device.device_extension = Guest::at(address + size_of::<DeviceObject>()).0;
    }
    // The driver's list of its devices, the newest first.
    let mut of_driver = driver_object.read();
    device.next_device = of_driver.device_object.cast();
    let body: *mut DeviceObject = Guest::at(address).0;
    // SAFETY: freshly allocated for it.
    unsafe { body.write(device) };
    of_driver.device_object = body.cast();
    driver_object.write(of_driver);
    let made = Device {
        address,
        service: driver::calling().map_or_else(String::new, |driver| driver.service.clone()),
        driver: driver_object.address(),
        volume: Volume::of_driver(name, address, kind),
        key,
        site: verifier::here(),
    };
    lock().devices.insert(address, Arc::new(made));
    object::insert(address, Kind::Lasting("device object"));
    Ok(address)
}

/// Takes a device out of its driver's list.
fn unlink(device: &Device) {
    let next = object(device.address, |device| device.next_device);
    let driver = Guest::<DriverObject>::at(device.driver);
    let mut of_driver = driver.read();
    if of_driver.device_object.expose_provenance() == device.address {
        of_driver.device_object = next.cast();
        driver.write(of_driver);
        return;
    }
    let mut before = of_driver.device_object.expose_provenance();
    while before != 0 {
        let after = object(before, |device| device.next_device).expose_provenance();
        if after == device.address {
            object(before, |device| device.next_device = next);
            return;
        }
        before = after;
    }
}

fn wrong(function: &str, address: usize) -> ! {
    bugcheck::no_such(
        address,
        format!("{function} on {address:#x}, which is no device (any more)"),
    )
}

/// A device that a driver passed, a volume's among them.
pub(super) fn known(function: &str, address: usize) {
    if at(address).is_none() && fltmgr::volume_of_device(address).is_none() {
        wrong(function, address);
    }
}

/// The device below a device.
fn below(address: usize) -> Option<usize> {
    let table = lock();
    let mut all = table.devices.keys().chain(table.deleted.keys());
    all.find(|other| {
        object(**other, |device| device.attached_device).expose_provenance() == address
    })
    .copied()
}

/// Puts a device on top of a stack; gives the device that it lies on now.
fn attach(function: &str, source: usize, target: usize) -> Result<usize, NtStatus> {
    irql::at_most(function, DISPATCH_LEVEL);
    known(function, source);
    known(function, target);
    if let Some(status) = faults::check(function) {
        return Err(status);
    }
    if fltmgr::volume_of_device(target).is_some() {
        verifier::finding(
            "refused",
            format!(
                "{function} to a volume's device: the bench has no legacy file system filters; register with the Filter \
                 Manager"
            ),
        );
        return Err(NtStatus::NOT_SUPPORTED);
    }
    let top = top(target);
    let going = !lock().devices.contains_key(&top);
    let (flags, size) = object(top, |device| (device.flags, device.stack_size));
    if going || flags & INITIALIZING != 0 {
        return Err(GOING);
    }
    object(top, |device| device.attached_device = Guest::at(source).0);
    object(source, |device| device.stack_size = size + 1);
    Ok(top)
}

exports! { "ntoskrnl.exe";
    /// Makes a device.
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

    /// Takes it away: at once, or when the last file on it is closed.
    fn IoDeleteDevice(address: usize) {
        irql::at_most("IoDeleteDevice", APC_LEVEL);
        let Some(device) = lock().devices.get(&address).cloned() else { wrong("IoDeleteDevice", address) };
        if below(address).is_some() {
            verifier::finding(
                "device-still-attached",
                format!("{} deletes a device that is attached to another one", device.service),
            );
            if let Some(lower) = below(address) {
                object(lower, |device| device.attached_device = std::ptr::null_mut());
            }
        }
        unlink(&device);
        let mut table = lock();
        table.devices.remove(&address);
        table.deleted.insert(address, Arc::clone(&device));
        drop(table);
        device.settle();
    }

    /// Puts a device on top of a stack; gives the one below it, NULL where that is going.
    partial "refused for volumes' devices: NULL"
    fn IoAttachDeviceToDeviceStack(source: usize, target: usize) -> usize {
        attach("IoAttachDeviceToDeviceStack", source, target).unwrap_or(0)
    }

    /// Puts a device on top of a stack; the one below it is where the caller said before requests come.
    partial "refused for volumes' devices: STATUS_NOT_SUPPORTED"
    fn IoAttachDeviceToDeviceStackSafe(source: usize, target: usize, out: Guest<usize>) -> NtStatus {
        match attach("IoAttachDeviceToDeviceStackSafe", source, target) {
            Ok(lower) => {
                out.write(lower);
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Puts a device on top of the stack of a name.
    partial "refused for volumes' devices: STATUS_NOT_SUPPORTED"
    fn IoAttachDevice(source: usize, name: Guest<UnicodeString>, out: Guest<usize>) -> NtStatus {
        irql::at_most("IoAttachDevice", PASSIVE_LEVEL);
        match pointer_to(&name.units(), 0x80) {
            Ok((file, device)) => {
                let lower = attach("IoAttachDevice", source, device);
                file.dereference();
                lower.map_or_else(|status| status, |lower| {
                    out.write(lower);
                    NtStatus::SUCCESS
                })
            }
            Err(status) => status,
        }
    }

    /// Takes the device above one away from it.
    fn IoDetachDevice(target: usize) {
        irql::at_most("IoDetachDevice", APC_LEVEL);
        let Some(device) = at(target) else { wrong("IoDetachDevice", target) };
        if object(target, |device| device.attached_device).is_null() {
            verifier::finding("device-not-attached", "IoDetachDevice on a device that nothing is attached to");
        }
        object(target, |device| device.attached_device = std::ptr::null_mut());
        device.settle();
    }

    /// The highest device attached to one.
    fn IoGetAttachedDevice(device: usize) -> usize {
        known("IoGetAttachedDevice", device);
        top(device)
    }

    /// The highest device attached to one, referenced.
    fn IoGetAttachedDeviceReference(device: usize) -> usize {
        irql::at_most("IoGetAttachedDeviceReference", DISPATCH_LEVEL);
        known("IoGetAttachedDeviceReference", device);
        let top = top(device);
        object::lend_device(top);
        top
    }

    /// The device below one, referenced; NULL: it is the lowest.
    fn IoGetLowerDeviceObject(device: usize) -> usize {
        irql::at_most("IoGetLowerDeviceObject", DISPATCH_LEVEL);
        known("IoGetLowerDeviceObject", device);
        let Some(lower) = below(device) else { return 0 };
        object::lend_device(lower);
        lower
    }

    /// The lowest device of a stack, referenced.
    fn IoGetDeviceAttachmentBaseRef(device: usize) -> usize {
        irql::at_most("IoGetDeviceAttachmentBaseRef", DISPATCH_LEVEL);
        known("IoGetDeviceAttachmentBaseRef", device);
        let mut base = device;
        while let Some(lower) = below(base) {
            base = lower;
        }
        object::lend_device(base);
        base
    }

    /// The device to which requests on a file go: the highest of its stack.
    fn IoGetRelatedDeviceObject(file: usize) -> usize {
        irql::at_most("IoGetRelatedDeviceObject", DISPATCH_LEVEL);
        top(object::file(file, "IoGetRelatedDeviceObject").volume.device_object)
    }

    /// The device of a file's file system: nothing but filters lies above it here.
    fn IoGetBaseFileSystemDeviceObject(file: usize) -> usize {
        irql::at_most("IoGetBaseFileSystemDeviceObject", DISPATCH_LEVEL);
        object::file(file, "IoGetBaseFileSystemDeviceObject").volume.device_object
    }

    /// A named device's stack, and a file object on it, referenced.
    fn IoGetDeviceObjectPointer(
        name: Guest<UnicodeString>, access: u32, file: Guest<usize>, device: Guest<usize>,
    ) -> NtStatus {
        irql::at_most("IoGetDeviceObjectPointer", PASSIVE_LEVEL);
        if let Some(status) = faults::check("IoGetDeviceObjectPointer") {
            return status;
        }
        match pointer_to(&name.units(), access) {
            Ok((opened, top)) => {
                object::taken(opened.address());
                file.write(opened.address());
                device.write(top);
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }
}

/// Opens a name, closes the handle and keeps the file object; gives it with the device that its requests go to.
fn pointer_to(name: &[u16], access: u32) -> Result<(Arc<super::file::File>, usize), NtStatus> {
    const NON_DIRECTORY: u32 = 0x40;
    let created = stack::with_frames(&super::zw::service_frames(), || {
        iomgr::create(&iomgr::Create {
            access,
            options: NON_DIRECTORY,
            ..iomgr::Create::open(name.to_vec())
        })
    });
    let file = created.file.ok_or(created.status)?;
    file.add_handle();
    file.close_handle();
    let top = top(file.volume.device_object);
    Ok((file, top))
}
