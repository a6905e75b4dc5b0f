//! The part of the registry that a driver reads: its service key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::handle::{self, Target};
use super::memory::{Guest, wide};
use super::{driver, irql};
use crate::abi::base::UnicodeString;
use crate::abi::flt::KERNEL_MODE;
use crate::abi::ob::ObjectAttributes;
use crate::abi::registry::{
    KEY_VALUE_BASIC, KEY_VALUE_FULL, KEY_VALUE_PARTIAL, KEY_VALUE_PARTIAL_ALIGN64, KeyValueBasic,
    KeyValueFull, KeyValuePartial, REG_DWORD, REG_SZ,
};
use crate::faults;
use crate::namespace::names;
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;
use crate::wire::{DriverSpec, RegistryValue};

/// A value: its name, type and data.
#[derive(Clone, Debug)]
struct Value {
    name: String,
    kind: u32,
    data: Vec<u8>,
}

/// A key: its name as it was written, and its values.
#[derive(Debug)]
struct Key {
    name: String,
    values: Vec<Value>,
}

/// Keys by their full path in upper case.
static KEYS: Mutex<BTreeMap<Vec<u16>, Key>> = Mutex::new(BTreeMap::new());

/// An open key.
#[derive(Debug)]
pub(crate) struct KeyHandle {
    /// Its full path.
    pub(crate) path: String,
}

fn lock() -> MutexGuard<'static, BTreeMap<Vec<u16>, Key>> {
    KEYS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A service key's path.
pub(crate) fn service_path(service: &str) -> String {
    format!("\\Registry\\Machine\\System\\CurrentControlSet\\Services\\{service}")
}

fn encode(value: &RegistryValue) -> (u32, Vec<u8>) {
    let text = |text: &str| {
        wide(text)
            .into_iter()
            .chain([0])
            .flat_map(u16::to_le_bytes)
            .collect::<Vec<u8>>()
    };
    match value {
        RegistryValue::Sz(value) => (REG_SZ, text(value)),
        RegistryValue::Dword(value) => (REG_DWORD, value.to_le_bytes().to_vec()),
        RegistryValue::Qword(value) => (11, value.to_le_bytes().to_vec()),
        RegistryValue::Binary(value) => (3, value.clone()),
        RegistryValue::ExpandSz(value) => (2, text(value)),
        RegistryValue::None(value) => (0, value.clone()),
        RegistryValue::MultiSz(values) => (
            7,
            values
                .iter()
                .flat_map(|value| text(value))
                .chain([0, 0])
                .collect(),
        ),
    }
}

/// Writes a value, and makes its key and those above it as far as `root`, which is the service's.
fn write(root: &str, subkey: &str, name: &str, value: &RegistryValue) {
    let mut keys = lock();
    let mut path = root.to_owned();
    make(&mut keys, &path);
    for part in subkey.split('\\').filter(|part| !part.is_empty()) {
        path = format!("{path}\\{part}");
        make(&mut keys, &path);
    }
    let Some(key) = keys.get_mut(&names::key(&path)) else {
        return;
    };
    key.values.retain(|known| !names::same(&known.name, name));
    let (kind, data) = encode(value);
    key.values.push(Value {
        name: name.to_owned(),
        kind,
        data,
    });
}

fn make(keys: &mut BTreeMap<Vec<u16>, Key>, path: &str) {
    keys.entry(names::key(path)).or_insert_with(|| Key {
        name: path.rsplit('\\').next().unwrap_or(path).to_owned(),
        values: Vec::new(),
    });
}

/// Writes a minifilter's service key as its INF would have. Without one it has `Parameters`, and `Instances` directly below the
/// key; an INF decides itself which of the two places that Windows looks in it writes, and whether there is a `Parameters`.
pub(crate) fn write_service(service: &str, spec: &DriverSpec) {
    let root = service_path(service);
    let prefix = names::key(&root);
    lock().retain(|path, _| {
        !(path.starts_with(&prefix) && matches!(path.get(prefix.len()), None | Some(0x5C)))
    });
    let set = |subkey: &str, name: &str, value: &RegistryValue| write(&root, subkey, name, value);
    set("", "Type", &RegistryValue::Dword(2));
    set("", "Start", &RegistryValue::Dword(3));
    for value in &spec.values {
        set(&value.subkey, &value.name, &value.value);
    }
    if spec.values.is_empty() {
        make(&mut lock(), &format!("{root}\\Parameters"));
    }
    for (name, value) in &spec.parameters {
        set("Parameters", name, value);
    }
    if let Some(default) = spec.instances.first() {
        let name = RegistryValue::Sz(default.name.clone());
        set("Instances", "DefaultInstance", &name);
    }
    for instance in &spec.instances {
        let key = format!("Instances\\{}", instance.name);
        let altitude = RegistryValue::Sz(instance.altitude.clone());
        set(&key, "Altitude", &altitude);
        set(&key, "Flags", &RegistryValue::Dword(instance.flags));
    }
}

fn value(path: &str, name: &str) -> Option<Value> {
    lock()
        .get(&names::key(path))?
        .values
        .iter()
        .find(|value| names::same(&value.name, name))
        .cloned()
}

/// A `REG_SZ` value of the Filter Manager's own reading.
pub(crate) fn read_sz(path: &str, name: &str) -> Option<String> {
    let value = value(path, name).filter(|value| value.kind == REG_SZ)?;
    let units: Vec<u16> = value
        .data
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16(&units).ok()
}

/// A `REG_DWORD` value of the Filter Manager's own reading.
pub(crate) fn read_dword(path: &str, name: &str) -> Option<u32> {
    let value = value(path, name).filter(|value| value.kind == REG_DWORD)?;
    Some(u32::from_le_bytes(*value.data.first_chunk()?))
}

/// The names of a key's direct subkeys, as they were written.
pub(crate) fn subkeys(path: &str) -> Vec<String> {
    let prefix: Vec<u16> = names::key(path)
        .into_iter()
        .chain([names::BACKSLASH])
        .collect();
    let direct = |path: &[u16]| {
        path.strip_prefix(prefix.as_slice())
            .is_some_and(|rest| !rest.contains(&names::BACKSLASH))
    };
    lock()
        .iter()
        .filter(|(path, _)| direct(path))
        .map(|(_, key)| key.name.clone())
        .collect()
}

/// Whether a key exists.
pub(crate) fn exists(path: &str) -> bool {
    lock().contains_key(&names::key(path))
}

/// Opens a key and gives a handle to it.
fn open(path: &str, access: u32, attributes: u32) -> Result<u64, NtStatus> {
    if !exists(path) {
        return Err(NtStatus::OBJECT_NAME_NOT_FOUND);
    }
    let key = Arc::new(KeyHandle {
        path: path.to_owned(),
    });
    Ok(handle::open(
        Target::Key(key),
        access,
        attributes,
        KERNEL_MODE,
    ))
}

fn key(handle: u64) -> Result<Arc<KeyHandle>, NtStatus> {
    match handle::look_up(handle, KERNEL_MODE)? {
        (Target::Key(key), _) => Ok(key),
        _ => Err(NtStatus::OBJECT_TYPE_MISMATCH),
    }
}

/// Writes as much of `bytes` as fits: `STATUS_BUFFER_TOO_SMALL` where not even the fixed part does,
/// `STATUS_BUFFER_OVERFLOW` where the rest does not.
fn answer(
    bytes: &[u8],
    fixed: usize,
    buffer: Guest<u8>,
    length: u32,
    needed: Guest<u32>,
) -> NtStatus {
    needed.write(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let room = length as usize;
    if room < fixed {
        return NtStatus::BUFFER_TOO_SMALL;
    }
    buffer.write_many(bytes.get(..room).unwrap_or(bytes));
    if room < bytes.len() {
        NtStatus::BUFFER_OVERFLOW
    } else {
        NtStatus::SUCCESS
    }
}

fn words(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn long(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn describe(value: &Value, class: u32) -> Option<(Vec<u8>, usize)> {
    let name: Vec<u8> = wide(&value.name)
        .into_iter()
        .flat_map(u16::to_le_bytes)
        .collect();
    let mut bytes;
    let fixed;
    match class {
        KEY_VALUE_BASIC => {
            fixed = size_of::<KeyValueBasic>();
            bytes = words(&[0, value.kind, long(name.len())]);
            bytes.extend(name);
        }
        KEY_VALUE_FULL => {
            fixed = size_of::<KeyValueFull>();
            let offset = (fixed + name.len()).next_multiple_of(8);
            bytes = words(&[
                0,
                value.kind,
                long(offset),
                long(value.data.len()),
                long(name.len()),
            ]);
            bytes.extend(name);
            bytes.resize(offset, 0);
            bytes.extend(&value.data);
        }
        KEY_VALUE_PARTIAL => {
            fixed = size_of::<KeyValuePartial>();
            bytes = words(&[0, value.kind, long(value.data.len())]);
            bytes.extend(&value.data);
        }
        KEY_VALUE_PARTIAL_ALIGN64 => {
            fixed = 8;
            bytes = words(&[value.kind, long(value.data.len())]);
            bytes.extend(&value.data);
        }
        _ => return None,
    }
    Some((bytes, fixed))
}

/// `DriverRegKeyParameters` and `DriverRegKeyPersistentState`.
const DRIVER_REG_KEY_PARAMETERS: u32 = 0;

exports! { "ntoskrnl.exe";
    /// Opens a key.
    partial "drivers' service keys are all of the registry; nobody is denied access"
    fn ZwOpenKey(handle: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>) -> NtStatus {
        irql::at_most("ZwOpenKey", PASSIVE_LEVEL);
        if let Some(status) = faults::check("ZwOpenKey") {
            return status;
        }
        let attributes = attributes.read();
        let name = Guest(attributes.object_name).text();
        let root = attributes.root_directory.expose_provenance() as u64;
        let path = if root == 0 {
            name
        } else {
            match key(root) {
                Ok(key) if name.is_empty() => key.path.clone(),
                Ok(key) => format!("{}\\{name}", key.path),
                Err(status) => return status,
            }
        };
        match open(path.trim_end_matches('\\'), access, attributes.attributes) {
            Ok(opened) => {
                handle.write(opened);
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Reads a value.
    fn ZwQueryValueKey(
        handle: u64,
        name: Guest<UnicodeString>,
        class: u32,
        buffer: Guest<u8>,
        length: u32,
        needed: Guest<u32>,
    ) -> NtStatus {
        irql::at_most("ZwQueryValueKey", PASSIVE_LEVEL);
        if let Some(status) = faults::check("ZwQueryValueKey") {
            return status;
        }
        let key = match key(handle) {
            Ok(key) => key,
            Err(status) => return status,
        };
        let Some(value) = value(&key.path, &name.text()) else { return NtStatus::OBJECT_NAME_NOT_FOUND };
        match describe(&value, class) {
            Some((bytes, fixed)) => answer(&bytes, fixed, buffer, length, needed),
            None => NtStatus::INVALID_PARAMETER,
        }
    }

    /// Opens the driver's `Parameters` key, the one place where a driver may keep settings.
    partial "DriverRegKeyParameters alone; STATUS_NOT_SUPPORTED for other keys"
    fn IoOpenDriverRegistryKey(
        object: usize,
        kind: u32,
        access: u32,
        _flags: u32,
        handle: Guest<u64>,
    ) -> NtStatus {
        irql::at_most("IoOpenDriverRegistryKey", PASSIVE_LEVEL);
        if let Some(status) = faults::check("IoOpenDriverRegistryKey") {
            return status;
        }
        let Some(driver) = driver::of_object(object) else { return NtStatus::INVALID_PARAMETER };
        if kind != DRIVER_REG_KEY_PARAMETERS {
            return NtStatus::NOT_SUPPORTED;
        }
        let path = format!("{}\\Parameters", service_path(&driver.service));
        match open(&path, access, crate::abi::ob::OBJ_KERNEL_HANDLE) {
            Ok(opened) => {
                handle.write(opened);
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }
}
