//! Fast I/O of drivers' own devices: a device control is offered to `FastIoDeviceControl` before a packet is made for it.
//!
//! The routine gets the caller's own addresses, whatever the code's method: it has to look at them as for `METHOD_NEITHER`. The
//! other entries of `FAST_IO_DISPATCH` are file systems' and are never called here.

use std::sync::Arc;

use crate::abi::io::{DriverObject, IRP_MJ_DEVICE_CONTROL, IoStatusBlock, major_name};
use crate::abi::irp::FAST_IO_DEVICE_CONTROL;
use crate::ntos::device::Device;
use crate::ntos::file::File;
use crate::ntos::memory::Guest;
use crate::ntos::{Entered, device, driver};
use crate::status::NtStatus;
use crate::wire::CallbackEvent;
use crate::{gate, trace};

/// The routine that a file's device has for device controls.
fn routine(file: &File) -> Option<(Arc<Device>, usize)> {
    let device = device::at(device::top(file.volume.device_object))?;
    let table = Guest::<DriverObject>::at(device.driver)
        .read()
        .fast_io_dispatch
        .expose_provenance();
    let size = Guest::<u32>::at(table).read_opt()? as usize;
    let has = size >= FAST_IO_DEVICE_CONTROL + size_of::<usize>();
    let routine = has.then(|| Guest::<usize>::at(table + FAST_IO_DEVICE_CONTROL).read())?;
    (routine != 0).then_some((device, routine))
}

/// Whether a file is one on a driver's device that wants to be offered device controls first.
pub(crate) fn takes_controls(file: &File) -> bool {
    file.on_device() && routine(file).is_some()
}

/// Offers a device control; `None`: there is no such routine, or it wants a packet.
pub(crate) fn device_control(
    file: &Arc<File>,
    code: u32,
    (input, input_length): (usize, u32),
    (output, output_length): (usize, u32),
) -> Option<IoStatusBlock> {
    let (device, routine) = routine(file)?;
    let service = driver::of_object(device.driver)
        .map_or_else(|| device.service.clone(), |driver| driver.service.clone());
    let status = Box::new(IoStatusBlock::new(NtStatus::SUCCESS, 0));
    let status = Box::into_raw(status);
    let arguments = [
        file.address() as u64,
        1,
        input as u64,
        u64::from(input_length),
        output as u64,
        u64::from(output_length),
        u64::from(code),
        status.expose_provenance() as u64,
        device.address as u64,
    ];
    let event = trace::callback(CallbackEvent {
        filter: service.clone(),
        phase: "fast".to_owned(),
        operation: major_name(IRP_MJ_DEVICE_CONTROL).to_owned(),
        path: file.full_name(),
        ..CallbackEvent::default()
    });
    let entered = Entered::now();
    // SAFETY: the driver put the routine into its table of fast I/O, where it takes these arguments.
    let taken = unsafe { gate::call(routine, &arguments) };
    event.returned(taken & 0xFF);
    entered.check("FastIoDeviceControl", &service);
    // SAFETY: made above by Box::into_raw; the routine has returned.
    let status = unsafe { Box::from_raw(status) };
    (taken & 0xFF != 0).then_some(*status)
}
