//! Loaded drivers: their objects, and which of them an address belongs to.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::memory::{Guest, OwnedString, wide};
use super::{
    device, driver_extension, etw, filter_context, handle, irp, lookaside, mdl, names, notify,
    object, pool, registry, section, silo, sync, threads, wmi, work_item,
};
use crate::abi::base::UnicodeString;
use crate::abi::io::{DriverExtension, DriverObject, IO_TYPE_DRIVER, MAJOR_FUNCTIONS};
use crate::loader::Image;
use crate::status::NtStatus;
use crate::wire::DriverSpec;
use crate::{cng, fltmgr, gate, thread, verifier};

/// A loaded driver.
pub(crate) struct Driver {
    /// Its service's name.
    pub(crate) service: String,
    /// The same, for those who keep it with each of many things.
    pub(crate) owner: Arc<str>,
    image: Arc<Image>,
    object: usize,
    /// Whether its unload has begun.
    unloading: AtomicBool,
    /// Whether its unload routine has been called, and what is left waits for its devices.
    unloaded: AtomicBool,
    /// Whether its unload routine is running.
    unload_running: AtomicBool,
    // What the driver object points to.
    _name: OwnedString,
    _key: OwnedString,
    registry_path: usize,
    _registry_path_text: OwnedString,
}

static DRIVERS: RwLock<Vec<Arc<Driver>>> = RwLock::new(Vec::new());
/// One load or unload at a time, as the service controller has it; a driver's own routines may ask for another one within.
static SERVICE_CONTROL: Mutex<()> = Mutex::new(());
/// The thread that is at it; 0: none.
static IN_CONTROL: AtomicU64 = AtomicU64::new(0);

/// A load or an unload.
struct Control(
    #[expect(dead_code, reason = "held")] Option<MutexGuard<'static, ()>>,
    u64,
);

impl Control {
    fn take() -> Self {
        let tid = thread::current().tid;
        if IN_CONTROL.load(Ordering::Acquire) == tid {
            return Self(None, tid);
        }
        let guard = SERVICE_CONTROL
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        IN_CONTROL.store(tid, Ordering::Release);
        Self(Some(guard), 0)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        IN_CONTROL.store(self.1, Ordering::Release);
    }
}

/// The driver whose image holds that address.
pub(crate) fn at(address: usize) -> Option<Arc<Driver>> {
    find(|driver| address.wrapping_sub(driver.image.base) < driver.image.size)
}

/// The driver that called the import that is running now.
pub(crate) fn calling() -> Option<Arc<Driver>> {
    gate::call_site().and_then(|_| at(verifier::here()))
}

/// The driver of that object.
pub(crate) fn of_object(object: usize) -> Option<Arc<Driver>> {
    find(|driver| driver.object == object)
}

fn find(wanted: impl Fn(&Driver) -> bool) -> Option<Arc<Driver>> {
    let drivers = DRIVERS.read().unwrap_or_else(PoisonError::into_inner);
    drivers.iter().find(|driver| wanted(driver)).cloned()
}

/// Makes the driver object and the service key and calls `DriverEntry`.
pub(crate) fn load(image: &Arc<Image>, spec: &DriverSpec) -> NtStatus {
    let _control = Control::take();
    let service = if spec.service.is_empty() {
        &image.name
    } else {
        &spec.service
    };
    if find(|driver| driver.service.eq_ignore_ascii_case(service)).is_some() {
        return NtStatus::IMAGE_ALREADY_LOADED;
    }
    registry::write_service(service, spec);
    let driver = Arc::new(Driver::new(Arc::clone(image), service));
    DRIVERS
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Arc::clone(&driver));
    let path = driver.registry_path;
    let entered = super::Entered::now();
    // SAFETY: the loader checked that the entry point lies in the image's code; a DriverEntry takes these two.
    let status = unsafe { gate::call(image.entry, &[driver.object as u64, path as u64]) };
    let status = status_of(status);
    entered.check("DriverEntry", service);
    if !status.is_success() {
        driver.gone("DriverEntry failed");
    } else {
        device::initialised(driver.object);
        driver_extension::reinitialise(driver.object);
    }
    status
}

/// Unloads the driver of that service, whether its filter wants it or not where `mandatory`; `None`: there is none.
pub(crate) fn unload(service: &str, mandatory: bool) -> Option<NtStatus> {
    let _control = Control::take();
    let driver = find(|driver| driver.service.eq_ignore_ascii_case(service))?;
    let filters = fltmgr::has_filter(&driver);
    if (mandatory || !filters) && device::opens(driver.object) != 0 {
        // The I/O manager waits with the unload routine until nobody has a device of the driver open.
        driver.unloading.store(true, Ordering::Relaxed);
        return Some(NtStatus::PENDING);
    }
    driver.unload_running.store(true, Ordering::Relaxed);
    let filter = if driver.unloaded.load(Ordering::Relaxed) {
        Some(NtStatus::SUCCESS)
    } else {
        fltmgr::unload(&driver, mandatory)
    };
    let gone = filter.is_some_and(NtStatus::is_success);
    if gone && device::opens(driver.object) != 0 {
        // Its filter is gone, its code is not: somebody has a device of it open.
        driver.unload_running.store(false, Ordering::Relaxed);
        driver.unloading.store(true, Ordering::Relaxed);
        driver.unloaded.store(true, Ordering::Relaxed);
        return Some(NtStatus::PENDING);
    }
    let status = match filter {
        Some(status) if !gone => status,
        _ => driver.call_unload(gone),
    };
    driver.unload_running.store(false, Ordering::Relaxed);
    if status.is_success() {
        driver.gone("it was unloaded");
    } else {
        driver.unloading.store(false, Ordering::Relaxed);
    }
    Some(status)
}

/// Whether the driver of that service is unloaded but for somebody's having a device of it open.
pub(crate) fn waits_for_its_devices(service: &str) -> bool {
    let waits = |driver: &Driver| {
        driver.service.eq_ignore_ascii_case(service) && driver.unloading.load(Ordering::Relaxed)
    };
    find(waits).is_some()
}

/// Whether that driver is being unloaded: nobody opens its devices any more.
pub(super) fn is_unloading(object: usize) -> bool {
    of_object(object).is_some_and(|driver| driver.unloading.load(Ordering::Relaxed))
}

/// A device of a driver was closed: an unload that waits for the last one goes on, in the system's thread.
pub(super) fn device_closed(object: usize) {
    let waits = |driver: &Driver| {
        driver.object == object
            && driver.unloading.load(Ordering::Relaxed)
            && !driver.unload_running.load(Ordering::Relaxed)
    };
    if let Some(driver) = find(waits)
        && device::opens(object) == 0
    {
        crate::machine::unload_later(&driver.service);
    }
}

/// RAX as an `NTSTATUS`, which is its low half.
#[allow(
    clippy::cast_possible_truncation,
    reason = "an NTSTATUS is the low half of RAX"
)]
pub(crate) const fn status_of(rax: u64) -> NtStatus {
    NtStatus((rax as u32).cast_signed())
}

impl Driver {
    fn new(image: Arc<Image>, service: &str) -> Self {
        let name = OwnedString::new(&wide(&format!("\\FileSystem\\{service}")));
        let key = OwnedString::new(&wide(service));
        let registry_path_text = OwnedString::new(&wide(&registry::service_path(service)));
        let object = object::allocate(size_of::<DriverObject>() + size_of::<DriverExtension>());
        let extension = object + size_of::<DriverObject>();
        Guest::at(extension).write(DriverExtension {
            driver_object: Guest::at(object).0,
            add_device: 0,
            count: 0,
            service_key_name: key.string(),
        });
        let null = std::ptr::null_mut();
        Guest::at(object).write(DriverObject {
            kind: IO_TYPE_DRIVER,
            size: i16::try_from(size_of::<DriverObject>()).unwrap_or(0),
            device_object: null,
            flags: 0x2,
            driver_start: Guest::at(image.base).0,
            driver_size: u32::try_from(image.size).unwrap_or(0),
            driver_section: null,
            driver_extension: Guest::at(extension).0,
            driver_name: name.string(),
            hardware_database: std::ptr::null_mut(),
            fast_io_dispatch: null,
            driver_init: image.entry,
            driver_start_io: 0,
            driver_unload: 0,
            major_function: [irp::default_dispatch(); MAJOR_FUNCTIONS],
        });
        let registry_path = object::allocate(size_of::<UnicodeString>());
        Guest::at(registry_path).write(registry_path_text.string());
        Self {
            service: service.to_owned(),
            owner: service.into(),
            image,
            object,
            unloading: AtomicBool::new(false),
            unloaded: AtomicBool::new(false),
            unload_running: AtomicBool::new(false),
            _name: name,
            _key: key,
            registry_path,
            _registry_path_text: registry_path_text,
        }
    }

    /// Whether its image was linked with `/INTEGRITYCHECK`, which the kernel asks of those whose routines may forbid things.
    pub(crate) fn forces_integrity(&self) -> bool {
        self.image.forces_integrity
    }

    /// Where its image is.
    pub(crate) fn base(&self) -> usize {
        self.image.base
    }

    /// Its `DRIVER_OBJECT`.
    pub(crate) fn object(&self) -> usize {
        self.object
    }

    /// Calls `DriverUnload`, without which a driver cannot be unloaded, unless it was a filter and is none any more.
    fn call_unload(&self, filter_gone: bool) -> NtStatus {
        let object = Guest::<DriverObject>::at(self.object).read();
        let routine = object.driver_unload;
        if routine == 0 && filter_gone {
            return NtStatus::SUCCESS;
        }
        if routine == 0 {
            return NtStatus::INVALID_DEVICE_REQUEST;
        }
        let entered = super::Entered::now();
        // SAFETY: the driver set this routine, which takes the driver object.
        unsafe { gate::call(routine, &[self.object as u64]) };
        entered.check("DriverUnload", &self.service);
        NtStatus::SUCCESS
    }

    /// Takes it off the list and looks for what it left behind.
    fn gone(&self, why: &str) {
        let _blame = verifier::blame(&self.service);
        for leak in fltmgr::leftovers(self) {
            let text = format!("{} ({why}): {}", self.service, leak.text);
            verifier::finding_at("fltmgr-leak", leak.site, text);
        }
        filter_context::report_leaks(&self.service);
        notify::report_left(&self.service);
        work_item::report_leaks(&self.service);
        threads::report_leaks(&self.service);
        sync::report_leaks(&self.service);
        lookaside::report_leaks(&self.service);
        etw::report_leaks(&self.service);
        cng::report_leaks(&self.service);
        section::report_leaks(&self.service);
        handle::report_leaks(&self.service);
        object::report_leaks(&self.service);
        crate::bugcheck::callbacks::report_leaks(&self.service);
        driver_extension::gone(self.object, &self.service);
        silo::report_leaks(&self.service);
        wmi::report_leaks(&self.service);
        pool::flush();
        mdl::report_leaks(&self.service);
        irp::report_leaks(&self.service);
        names::report_leaks(&self.service);
        device::report_leaks(&self.service);
        pool::report_leaks(&self.service);
        DRIVERS
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|driver| driver.object != self.object);
    }
}
