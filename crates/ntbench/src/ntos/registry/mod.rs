//! The registry: drivers' service keys, and what drivers and programs write beside them.
//!
//! It lasts as long as the machine. Keys are kept by their paths; "Registry Key Object Routines".

mod callback;
mod change;
pub(crate) mod client;
mod describe;
mod handles;
mod objects;
mod open;
mod query_table;
mod rtl;
mod watch;
mod zw;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::memory::wide;
use super::time;
use crate::abi::registry::{REG_DWORD, REG_SZ};
use crate::export::Export;
use crate::namespace::names;
use crate::wire::{DriverSpec, RegistryValue};

pub(crate) use callback::report_left;
pub(crate) use handles::{KeyHandle, closed, name_of};

/// What this module lets drivers import.
pub(super) fn tables() -> [&'static [Export]; 6] {
    [
        zw::exports(),
        rtl::exports(),
        query_table::exports(),
        callback::exports(),
        objects::exports(),
        watch::exports(),
    ]
}

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
    /// Tells a key from one of the same name that was deleted.
    id: u64,
    name: String,
    class: Vec<u16>,
    volatile: bool,
    /// When it, its values or its subkeys were changed last: 100 ns units since 1601.
    written: i64,
    values: Vec<Value>,
}

/// Keys by their full path in upper case.
static KEYS: Mutex<BTreeMap<Vec<u16>, Key>> = Mutex::new(BTreeMap::new());

/// What is there before any driver's service key.
const FIRST: &[&str] = &[
    r"\REGISTRY",
    r"\REGISTRY\MACHINE",
    r"\REGISTRY\MACHINE\SOFTWARE",
    r"\REGISTRY\MACHINE\SOFTWARE\Microsoft",
    r"\REGISTRY\MACHINE\SOFTWARE\Microsoft\Windows NT",
    r"\REGISTRY\MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion",
    r"\REGISTRY\MACHINE\HARDWARE",
    r"\REGISTRY\MACHINE\HARDWARE\DEVICEMAP",
    r"\REGISTRY\MACHINE\SYSTEM",
    r"\REGISTRY\MACHINE\SYSTEM\CurrentControlSet",
    r"\REGISTRY\MACHINE\SYSTEM\CurrentControlSet\Control",
    r"\REGISTRY\MACHINE\SYSTEM\CurrentControlSet\Services",
    r"\REGISTRY\USER",
    r"\REGISTRY\USER\.DEFAULT",
];

fn lock() -> MutexGuard<'static, BTreeMap<Vec<u16>, Key>> {
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    if keys.is_empty() {
        for path in FIRST {
            make(&mut keys, path);
        }
    }
    keys
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
    static NEXT: AtomicU64 = AtomicU64::new(1);
    keys.entry(names::key(path)).or_insert_with(|| Key {
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        name: path.rsplit('\\').next().unwrap_or(path).to_owned(),
        class: Vec::new(),
        volatile: false,
        written: time::system_time(),
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

/// A key's path as its name is told: each part as it was written when it was made.
fn full_name(path: &str) -> String {
    let keys = lock();
    let mut known = String::new();
    for part in path.split('\\').filter(|part| !part.is_empty()) {
        let at = format!("{known}\\{part}");
        let name = keys.get(&names::key(&at)).map(|key| key.name.clone());
        known = format!("{known}\\{}", name.as_deref().unwrap_or(part));
    }
    known
}
