//! Devices whose drivers want an `IRP_MJ_SHUTDOWN` when the system shuts down.
//!
//! `IoRegisterShutdownNotification`, `IoRegisterLastChanceShutdownNotification`. The one registered last is told first; those of the
//! last chance after all others.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::{device, driver, irp, irql};
use super::left;
use crate::faults;
use crate::gate;
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;

struct Registered {
    device: usize,
    last_chance: bool,
    service: String,
    site: usize,
}

static REGISTERED: Mutex<Vec<Registered>> = Mutex::new(Vec::new());

fn lock() -> MutexGuard<'static, Vec<Registered>> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The system shuts down.
pub(crate) fn tell() {
    for last_chance in [false, true] {
        let devices: Vec<usize> = lock()
            .iter()
            .rev()
            .filter(|known| known.last_chance == last_chance)
            .map(|known| known.device)
            .collect();
        for device in devices {
            irp::shutdown(device);
        }
    }
}

/// Reports what a driver leaves behind.
pub(super) fn report_left(service: &str) {
    let mut gone = Vec::new();
    lock().retain(|known| {
        if known.service == service {
            gone.push(known.site);
        }
        known.service != service
    });
    for site in gone {
        left(
            service,
            "shutdown",
            site,
            "IoUnregisterShutdownNotification",
        );
    }
}

fn register(call: &str, address: usize, last_chance: bool) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    device::known(call, address);
    if let Some(status) = faults::check(call) {
        return status;
    }
    lock().push(Registered {
        device: address,
        last_chance,
        service: driver::calling().map_or_else(String::new, |driver| driver.service.clone()),
        site: gate::call_site().map_or(0, |site| site.return_address),
    });
    NtStatus::SUCCESS
}

exports! { "ntoskrnl.exe";
    /// Registers a device.
    partial "sent when the machine is shut down; file systems are there until the end"
    fn IoRegisterShutdownNotification(device: usize) -> NtStatus {
        register("IoRegisterShutdownNotification", device, false)
    }

    /// Registers a device to be told last.
    partial "sent when the machine is shut down; file systems are there until the end"
    fn IoRegisterLastChanceShutdownNotification(device: usize) -> NtStatus {
        register("IoRegisterLastChanceShutdownNotification", device, true)
    }

    /// Takes a device away.
    fn IoUnregisterShutdownNotification(device: usize) {
        irql::at_most("IoUnregisterShutdownNotification", PASSIVE_LEVEL);
        lock().retain(|known| known.device != device);
    }
}
