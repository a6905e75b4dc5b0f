//! What drivers ask to be told of: power settings, and devices that come and go.
//!
//! `PoRegisterPowerSettingCallback`, `IoRegisterPlugPlayNotification`. The machine's power never changes, and no device comes or
//! goes but volumes, of which filters learn by their instances: what is registered is kept, and told of what is so already.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::super::memory::Guest;
use super::super::{driver, irql, object};
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;
use crate::verifier;

/// A registration: what by, its handle, whose, and where it was made.
struct Registered {
    call: &'static str,
    handle: usize,
    service: String,
    site: usize,
}

static REGISTERED: LazyLock<Mutex<Vec<Registered>>> = LazyLock::new(Mutex::default);

fn lock() -> MutexGuard<'static, Vec<Registered>> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn register(call: &'static str, out: Guest<usize>) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    let handle = object::allocate(16);
    lock().push(Registered {
        call,
        handle,
        service: driver::calling().map_or_else(String::new, |driver| driver.service.clone()),
        site: verifier::here(),
    });
    out.write_opt(handle);
    NtStatus::SUCCESS
}

fn unregister(call: &str, handle: usize) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    let mut registered = lock();
    match registered.iter().position(|known| known.handle == handle) {
        Some(index) => {
            registered.remove(index);
            NtStatus::SUCCESS
        }
        None => NtStatus::INVALID_PARAMETER,
    }
}

/// Reports what a driver that goes away has left registered.
pub(super) fn report_leaks(service: &str) {
    let left: Vec<_> = lock()
        .extract_if(.., |known| known.service == service)
        .collect();
    for known in left {
        verifier::finding_at(
            "notify-left",
            known.site,
            format!(
                "{service} went away with a routine registered by {}",
                known.call
            ),
        );
    }
}

exports! { "ntoskrnl.exe";
    /// Has a routine told of a power setting.
    partial "never called: the machine's power never changes"
    fn PoRegisterPowerSettingCallback(
        _device: usize, _setting: usize, routine: usize, _context: usize, out: Guest<usize>,
    ) -> NtStatus {
        if routine == 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        register("PoRegisterPowerSettingCallback", out)
    }

    /// Ends that.
    fn PoUnregisterPowerSettingCallback(handle: usize) -> NtStatus {
        unregister("PoUnregisterPowerSettingCallback", handle)
    }

    /// Has a routine told of devices that come and go.
    partial "never called: no device has an interface, and none comes or goes"
    fn IoRegisterPlugPlayNotification(
        category: u32, _flags: u32, _data: usize, _driver: usize, routine: usize, _context: usize, out: Guest<usize>,
    ) -> NtStatus {
        // EventCategoryHardwareProfileChange, …DeviceInterfaceChange, …TargetDeviceChange.
        if !(1..=3).contains(&category) || routine == 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        register("IoRegisterPlugPlayNotification", out)
    }

    /// Ends that.
    fn IoUnregisterPlugPlayNotification(handle: usize) -> NtStatus {
        unregister("IoUnregisterPlugPlayNotification", handle)
    }

    /// The same, which waits for a routine that runs.
    fn IoUnregisterPlugPlayNotificationEx(handle: usize) -> NtStatus {
        unregister("IoUnregisterPlugPlayNotificationEx", handle)
    }
}
