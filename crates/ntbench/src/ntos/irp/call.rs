//! Sending a packet to a driver.

use std::sync::Arc;

use super::check::Call;
use super::{Packet, lock, no_irp, volume};
use crate::abi::io::{DriverObject, MAJOR_FUNCTIONS, major_name};
use crate::fltmgr;
use crate::ntos::Entered;
use crate::ntos::memory::Guest;
use crate::ntos::{device, driver, irql, object};
use crate::seh::passing;
use crate::status::NtStatus;
use crate::thread::DISPATCH_LEVEL;
use crate::wire::CallbackEvent;
use crate::{bugcheck, gate, trace};

/// Sends a packet on: to the dispatch routine of a device's driver, or to a volume.
pub(super) fn call(function: &str, address: usize, packet: Packet) -> NtStatus {
    let below = device::at(address);
    let of_volume = fltmgr::volume_of_device(address);
    if below.is_none() && of_volume.is_none() {
        bugcheck::raise(
            0xC9,
            [0x4, address as u64, 0, 0],
            format!("{function} to {address:#x}, which is no device (any more)"),
        );
    }
    let mut number = 0;
    packet.change(|irp| {
        irp.current_location -= 1;
        number = irp.current_location;
        irp.current_stack_location = packet.location_address(number);
    });
    if number <= 0 {
        bugcheck::raise(
            0x35,
            [packet.0 as u64, 0, 0, 0],
            format!(
                "{function}: the IRP has stack locations for {} driver(s), and this is one more; allocate it with the \
                 StackSize of the device that it is sent to",
                packet.read().stack_count
            ),
        );
    }
    let mut location = packet.location(number);
    location.device_object = address;
    packet.set_location(number, location);
    if let Some(volume) = of_volume {
        return volume::dispatch(&volume, packet);
    }
    let Some(below) = below else {
        return NtStatus::NO_SUCH_DEVICE;
    };
    let routine = Guest::<DriverObject>::at(below.driver)
        .read()
        .major_function[usize::from(location.major).min(MAJOR_FUNCTIONS - 1)];
    if routine == super::default_dispatch() {
        return super::invalid_device_request(address, packet.0);
    }
    let service = driver::of_object(below.driver)
        .map_or_else(|| below.service.clone(), |driver| driver.service.clone());
    let noted = Arc::new(Call::new(number, &service, location.major, routine));
    if let Some(entry) = lock().get_mut(&packet.0) {
        entry.calls.push(Arc::clone(&noted));
    }
    let event = trace::callback(CallbackEvent {
        filter: service.clone(),
        phase: "irp".to_owned(),
        operation: major_name(location.major).to_owned(),
        path: match object::at(location.file_object) {
            Some(object::Kind::File(file)) => file.full_name(),
            _ => below.volume.name.clone(),
        },
        ..CallbackEvent::default()
    });
    let entered = Entered::now();
    // SAFETY: the driver put the routine into its dispatch table, whose entries take a device and a packet.
    let returned = unsafe { gate::call_within(routine, &[address as u64, packet.0 as u64]) };
    let status = driver::status_of(returned);
    event.returned(returned & 0xFFFF_FFFF);
    if passing::is_leaving() {
        return status;
    }
    entered.check(
        &format!("the dispatch routine for {}", major_name(location.major)),
        &service,
    );
    if !noted.returned(status) {
        super::complete::give_up(packet, status);
    }
    status
}

exports! { "ntoskrnl.exe";
    /// Sends a packet to the driver of a device.
    fn IofCallDriver(device: usize, irp: usize) -> NtStatus {
        irql::at_most("IoCallDriver", DISPATCH_LEVEL);
        let Some(packet) = Packet::at(irp) else { no_irp(0x3, "IoCallDriver", irp) };
        call("IoCallDriver", device, packet)
    }
}
