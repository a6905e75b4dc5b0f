//! Filters, volumes, instances: the objects that a minifilter knows by opaque pointers.

use std::cmp::Ordering as Order;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};

use super::drain::Outstanding;
use crate::maps::HashMap;

use crate::abi::flt::{ContextRegistration, OperationRegistration, Registration};
use crate::bugcheck;
use crate::namespace::DeviceId;
use crate::ntos::object;
use crate::verifier::Taken;

/// How long the opaque objects are; nothing in them is for drivers.
const OPAQUE: usize = 0x200;

/// A registered filter.
pub(crate) struct Filter {
    /// The `PFLT_FILTER`.
    pub(crate) address: usize,
    /// Its service's name, which is the filter's.
    pub(crate) service: String,
    /// Its default instance's altitude, as it was written.
    pub(crate) altitude: String,
    /// `SupportedFeatures` of its service's key.
    pub(crate) features: u32,
    /// Where it was registered.
    pub(crate) site: usize,
    /// Its `DRIVER_OBJECT`.
    pub(crate) driver_object: usize,
    /// Its registration, as given.
    pub(crate) registration: Registration,
    /// Its callbacks by operation.
    pub(crate) operations: Vec<OperationRegistration>,
    /// The contexts that it may allocate.
    pub(crate) contexts: Vec<ContextRegistration>,
    /// Work items of it that are queued or running.
    pub(crate) rundown: Rundown,
    /// Whether `FltStartFiltering` was called, whether it was unregistered.
    pub(crate) state: Mutex<FilterState>,
    /// Whether it is being unloaded without having been asked.
    pub(crate) mandatory: AtomicBool,
    /// References that drivers took.
    pub(crate) references: AtomicI64,
    /// Where they took them.
    pub(crate) taken: Mutex<Taken>,
}

/// A filter's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilterState {
    /// `FltRegisterFilter` returned it.
    Registered,
    /// `FltStartFiltering` was called.
    Filtering,
    /// `FltUnregisterFilter` was called.
    Unregistered,
    /// Its unload routine has succeeded without that.
    Abandoned,
}

/// A volume that filters can attach to.
pub(crate) struct Volume {
    /// The `PFLT_VOLUME`.
    pub(crate) address: usize,
    /// Which device it is.
    pub(crate) device: DeviceId,
    /// The device's name.
    pub(crate) name: String,
    /// Its `DEVICE_OBJECT`.
    pub(crate) device_object: usize,
    /// The `DEVICE_OBJECT` of the disk that it is on.
    pub(crate) disk: Option<usize>,
    /// `FILE_DEVICE_…`.
    pub(crate) device_type: u32,
    /// `FLT_FSTYPE_…`.
    pub(crate) file_system: u32,
    /// References that drivers took.
    pub(crate) references: AtomicI64,
    /// Who holds them, by service.
    pub(crate) holders: Mutex<HashMap<String, Taken>>,
    /// Its instances, the highest altitude first.
    instances: RwLock<Arc<[Arc<Instance>]>>,
}

/// A filter's instance on a volume.
pub(crate) struct Instance {
    /// The `PFLT_INSTANCE`.
    pub(crate) address: usize,
    /// Its name.
    pub(crate) name: String,
    /// Its altitude.
    pub(crate) altitude: Altitude,
    /// Its altitude as it was written.
    pub(crate) altitude_text: String,
    /// Its filter.
    pub(crate) filter: Arc<Filter>,
    /// Its volume.
    pub(crate) volume: Arc<Volume>,
    /// Operations that are in it.
    pub(crate) rundown: Rundown,
    /// Those of them that are to come back up to it.
    pub(crate) outstanding: Mutex<Vec<Arc<Outstanding>>>,
    /// How far its teardown is.
    pub(crate) teardown: AtomicU8,
    /// References that drivers took.
    pub(crate) references: AtomicI64,
    /// Where they took them.
    pub(crate) taken: Mutex<Taken>,
}

/// Nobody has begun to tear the instance down.
pub(crate) const ATTACHED: u8 = 0;
/// Somebody is at it.
pub(crate) const LEAVING: u8 = 1;
/// It is done; the object stays while it is referenced.
pub(crate) const DETACHED: u8 = 2;

/// What an opaque pointer is.
#[derive(Clone)]
pub(crate) enum Object {
    /// A `PFLT_FILTER`.
    Filter(Arc<Filter>),
    /// A `PFLT_VOLUME`.
    Volume(Arc<Volume>),
    /// A `PFLT_INSTANCE`.
    Instance(Arc<Instance>),
}

static OBJECTS: LazyLock<RwLock<HashMap<usize, Object>>> = LazyLock::new(RwLock::default);

/// Memory for an opaque object. It is never used again, so a pointer that is kept too long is known as such.
pub(crate) fn opaque() -> usize {
    object::allocate(OPAQUE)
}

/// Makes an object known.
pub(crate) fn insert(address: usize, object: Object) {
    OBJECTS
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(address, object);
}

/// Forgets an object.
pub(crate) fn remove(address: usize) {
    OBJECTS
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&address);
}

/// What is at that address.
pub(crate) fn at(address: usize) -> Option<Object> {
    OBJECTS
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&address)
        .cloned()
}

/// Every filter that is registered.
pub(crate) fn filters() -> Vec<Arc<Filter>> {
    let objects = OBJECTS.read().unwrap_or_else(PoisonError::into_inner);
    let filter = |object: &Object| match object {
        Object::Filter(filter) => Some(Arc::clone(filter)),
        _ => None,
    };
    objects.values().filter_map(filter).collect()
}

/// Every instance of a filter, also those that are detached and still referenced.
pub(crate) fn instances_of(filter: &Arc<Filter>) -> Vec<Arc<Instance>> {
    let objects = OBJECTS.read().unwrap_or_else(PoisonError::into_inner);
    let instance = |object: &Object| match object {
        Object::Instance(instance) if Arc::ptr_eq(&instance.filter, filter) => {
            Some(Arc::clone(instance))
        }
        _ => None,
    };
    objects.values().filter_map(instance).collect()
}

/// The volume of which that is true, which it must be of one alone.
pub(crate) fn volume_where(wanted: impl Fn(&Volume) -> bool) -> Option<Arc<Volume>> {
    let objects = OBJECTS.read().unwrap_or_else(PoisonError::into_inner);
    objects.values().find_map(|object| match object {
        Object::Volume(volume) if wanted(volume) => Some(Arc::clone(volume)),
        _ => None,
    })
}

/// Every volume.
pub(crate) fn volumes() -> Vec<Arc<Volume>> {
    let objects = OBJECTS.read().unwrap_or_else(PoisonError::into_inner);
    let volume = |object: &Object| match object {
        Object::Volume(volume) => Some(Arc::clone(volume)),
        _ => None,
    };
    let mut volumes: Vec<_> = objects.values().filter_map(volume).collect();
    volumes.sort_by(|left, right| left.name.cmp(&right.name));
    volumes
}

/// A pointer that is not what a function wants: Windows would read whatever is there and fault or worse.
fn wrong(address: usize, function: &str, wanted: &str) -> ! {
    bugcheck::no_such(
        address,
        format!("{function} was given {address:#x}, which is no {wanted} (any more)"),
    )
}

/// The filter at that address.
pub(crate) fn filter(address: usize, function: &str) -> Arc<Filter> {
    match at(address) {
        Some(Object::Filter(filter)) => filter,
        _ => wrong(address, function, "filter"),
    }
}

/// The volume at that address.
pub(crate) fn volume(address: usize, function: &str) -> Arc<Volume> {
    match at(address) {
        Some(Object::Volume(volume)) => volume,
        _ => wrong(address, function, "volume"),
    }
}

/// The instance at that address.
pub(crate) fn instance(address: usize, function: &str) -> Arc<Instance> {
    match at(address) {
        Some(Object::Instance(instance)) => instance,
        _ => wrong(address, function, "instance"),
    }
}

impl Filter {
    /// Its callbacks for an operation.
    pub(crate) fn operation(&self, major: u8) -> Option<&OperationRegistration> {
        self.operations
            .iter()
            .find(|operation| operation.major_function == major)
    }
}

impl Volume {
    /// A volume for a device.
    pub(crate) fn new(
        device: DeviceId,
        name: &str,
        object: usize,
        disk: Option<usize>,
        device_type: u32,
        file_system: u32,
    ) -> Arc<Self> {
        let volume = Arc::new(Self {
            address: opaque(),
            device,
            name: name.to_owned(),
            device_object: object,
            disk,
            device_type,
            file_system,
            references: AtomicI64::new(0),
            holders: Mutex::default(),
            instances: RwLock::new(Arc::new([])),
        });
        insert(volume.address, Object::Volume(Arc::clone(&volume)));
        volume
    }

    /// What stands for a driver's own device among the volumes of file objects: no filter knows it.
    pub(crate) fn of_driver(name: &str, object: usize, device_type: u32) -> Arc<Self> {
        Arc::new(Self {
            address: opaque(),
            device: DeviceId::Driver,
            name: name.to_owned(),
            device_object: object,
            disk: None,
            device_type,
            file_system: 0,
            references: AtomicI64::new(0),
            holders: Mutex::default(),
            instances: RwLock::new(Arc::new([])),
        })
    }

    /// Its instances now, the highest altitude first.
    pub(crate) fn instances(&self) -> Arc<[Arc<Instance>]> {
        Arc::clone(
            &self
                .instances
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Adds an instance at its altitude; false: the altitude is taken.
    pub(crate) fn attach(&self, instance: &Arc<Instance>) -> bool {
        let mut instances = self
            .instances
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if instances
            .iter()
            .any(|other| other.altitude == instance.altitude)
        {
            return false;
        }
        let mut new: Vec<Arc<Instance>> = instances.to_vec();
        new.push(Arc::clone(instance));
        new.sort_by(|left, right| right.altitude.cmp(&left.altitude));
        *instances = new.into();
        true
    }

    /// Takes an instance away.
    pub(crate) fn detach(&self, instance: &Instance) {
        let mut instances = self
            .instances
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *instances = instances
            .iter()
            .filter(|other| other.address != instance.address)
            .cloned()
            .collect();
    }
}

/// Counts what is inside something that may be closed.
#[derive(Default)]
pub(crate) struct Rundown(AtomicUsize);

/// Set once nobody may enter any more.
const CLOSED: usize = 1;

impl Rundown {
    /// Enters; false: it is closed.
    pub(crate) fn enter(&self) -> bool {
        if self.0.fetch_add(2, Ordering::AcqRel) & CLOSED == 0 {
            return true;
        }
        self.0.fetch_sub(2, Ordering::AcqRel);
        false
    }

    /// Leaves.
    pub(crate) fn leave(&self) {
        self.0.fetch_sub(2, Ordering::AcqRel);
    }

    /// Whether nobody may enter any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.0.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Waits until nobody is inside.
    pub(crate) fn wait(&self) {
        while self.0.load(Ordering::Acquire) != CLOSED {
            crate::schedule::poll(std::ptr::from_ref(self).addr());
        }
    }
}

/// An altitude: a decimal number of any length, perhaps with a fraction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Altitude {
    whole: String,
    fraction: String,
}

impl Altitude {
    /// Reads one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return None;
        }
        Some(Self {
            whole: whole.trim_start_matches('0').to_owned(),
            fraction: fraction.trim_end_matches('0').to_owned(),
        })
    }
}

impl Ord for Altitude {
    fn cmp(&self, other: &Self) -> Order {
        let whole = self
            .whole
            .len()
            .cmp(&other.whole.len())
            .then_with(|| self.whole.cmp(&other.whole));
        whole.then_with(|| self.fraction.cmp(&other.fraction))
    }
}

impl PartialOrd for Altitude {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn altitudes_are_numbers_not_text() {
        let altitude = |text: &str| Altitude::parse(text).unwrap();
        assert!(altitude("40000") < altitude("385100"));
        assert!(altitude("385100") < altitude("385100.5"));
        assert!(altitude("385100.45") < altitude("385100.5"));
        assert_eq!(altitude("0385100.50"), altitude("385100.5"));
        for wrong in ["", ".5", "38a", "-1", "1.2.3", "385 100"] {
            assert!(Altitude::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_closed_rundown_lets_nobody_in() {
        let rundown = Rundown::default();
        assert!(rundown.enter());
        rundown.close();
        assert!(!rundown.enter());
        rundown.leave();
        assert_eq!(rundown.0.load(Ordering::Relaxed), CLOSED);
    }
}
