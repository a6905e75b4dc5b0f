//! Names that drivers put into the object manager's directories: their devices, and symbolic links to them.
//!
//! `\??` is one directory here for all sessions, as `\GLOBAL??` is: `\DosDevices` and `\??` are names of it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::device::{self, Device};
use super::handle::{self, Target};
use super::memory::{Guest, wide};
use super::{MACHINE, driver, irql};
use crate::abi::base::UnicodeString;
use crate::abi::flt::KERNEL_MODE;
use crate::abi::ob::ObjectAttributes;
use crate::fltmgr;
use crate::namespace::DeviceId;
use crate::namespace::names::upcase;
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;
use crate::{faults, verifier};

/// A symbolic link that a driver made.
struct Link {
    target: Vec<u16>,
    service: String,
    site: usize,
}

static LINKS: LazyLock<Mutex<HashMap<String, Link>>> = LazyLock::new(Mutex::default);
/// How many links a name may lead through.
const MOST_LINKS: usize = 32;
/// `SYMBOLIC_LINK_QUERY`, and what stands for it: `MAXIMUM_ALLOWED`, `GENERIC_ALL`, `_EXECUTE`, `_READ`.
const MAY_QUERY: u32 = 0x1 | 0x0200_0000 | 0x1000_0000 | 0x2000_0000 | 0x8000_0000;
const BACKSLASH: char = '\\';
/// The directories that drivers may put something in; their own would have to be made first.
const DIRECTORIES: [&str; 6] = [
    "\\DEVICE",
    "\\GLOBAL??",
    "\\FILESYSTEM",
    "\\FILESYSTEM\\FILTERS",
    "\\DRIVER",
    "\\FILTERS",
];

fn lock() -> MutexGuard<'static, HashMap<String, Link>> {
    LINKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A name as the tables have it: in upper case, and with one name for the directory of DOS devices.
fn key(name: &[u16]) -> String {
    let upper: Vec<u16> = name.iter().copied().map(upcase).collect();
    let upper = String::from_utf16_lossy(&upper);
    for directory in ["\\??\\", "\\DOSDEVICES\\", "\\GLOBAL??\\GLOBAL\\"] {
        if let Some(rest) = upper.strip_prefix(directory) {
            return key_of_dos(rest);
        }
    }
    upper
}

fn key_of_dos(rest: &str) -> String {
    // `\??\Global\Name` is `\GLOBAL??\Name`.
    format!(
        "\\GLOBAL??\\{}",
        rest.strip_prefix("GLOBAL\\").unwrap_or(rest)
    )
}

/// Whether something may be put under that name.
fn free(key: &str) -> Result<(), NtStatus> {
    if !key.starts_with(BACKSLASH) {
        return Err(NtStatus::OBJECT_PATH_SYNTAX_BAD);
    }
    let (directory, last) = key.rsplit_once(BACKSLASH).unwrap_or_default();
    if last.is_empty() {
        return Err(NtStatus::OBJECT_NAME_INVALID);
    }
    if !directory.is_empty() && !DIRECTORIES.contains(&directory) {
        return Err(NtStatus::OBJECT_PATH_NOT_FOUND);
    }
    let units: Vec<u16> = key
        .replacen("\\GLOBAL??\\", "\\??\\", 1)
        .encode_utf16()
        .collect();
    let of_volume = MACHINE
        .get()
        .is_some_and(|machine| machine.namespace.look_up(&units).is_ok());
    if of_volume || device::named(key).is_some() || lock().contains_key(key) {
        return Err(NtStatus::OBJECT_NAME_COLLISION);
    }
    Ok(())
}

/// The name that a new device gets; empty: none.
pub(super) fn for_device(name: &str) -> Result<String, NtStatus> {
    if name.is_empty() {
        return Ok(String::new());
    }
    let units: Vec<u16> = name.encode_utf16().collect();
    let key = key(&units);
    free(&key)?;
    Ok(key)
}

/// What a name leads to.
pub(super) enum Place {
    /// A driver's device, and what is left of the name.
    Device(Arc<Device>, Vec<u16>),
    /// Somewhere else, by this name.
    Elsewhere(Vec<u16>),
}

/// Follows the links that drivers made, to one of their devices or away.
pub(super) fn resolve(name: &[u16]) -> Place {
    let mut name = name.to_vec();
    if lock().is_empty() && device::names().is_empty() {
        return Place::Elsewhere(name);
    }
    'links: for _ in 0..MOST_LINKS {
        let key = key(&name);
        // The prefix of the key may be longer than the name's own (`\??` is `\GLOBAL??`): what counts is what is left.
        let left = |head: &str| -> Option<Vec<u16>> {
            let rest = key.strip_prefix(head)?;
            if !rest.is_empty() && !rest.starts_with(BACKSLASH) {
                return None;
            }
            let units = rest.encode_utf16().count();
            name.get(name.len() - units..).map(<[u16]>::to_vec)
        };
        for device in device::names() {
            if let (Some(rest), Some(device)) = (left(&device), device::named(&device)) {
                return Place::Device(device, rest);
            }
        }
        for (link, to) in lock().iter() {
            if let Some(rest) = left(link) {
                name = to.target.clone();
                name.extend(rest);
                continue 'links;
            }
        }
        break;
    }
    Place::Elsewhere(name)
}

/// The links that the system itself has made: volumes' letters and names, and where shares are found.
fn of_system(key: &str) -> Option<Vec<u16>> {
    let name = key.strip_prefix("\\GLOBAL??\\")?;
    if name == "UNC" {
        return Some(wide("\\Device\\Mup"));
    }
    let namespace = &MACHINE.get()?.namespace;
    namespace.devices().find_map(|(device, path)| {
        let DeviceId::Volume(index) = device else {
            return None;
        };
        let letter = namespace.letter(index).map(|letter| format!("{letter}:"));
        let guid = fltmgr::guid_name(index).to_uppercase();
        let own = [letter.unwrap_or_default(), guid.replacen("\\??\\", "", 1)];
        own.iter().any(|own| own == name).then(|| wide(path))
    })
}

/// Where the symbolic link of that name leads.
fn target_of(name: &[u16]) -> Result<Arc<[u16]>, NtStatus> {
    let key = key(name);
    if !key.starts_with(BACKSLASH) {
        return Err(NtStatus::OBJECT_PATH_SYNTAX_BAD);
    }
    if let Some(link) = lock().get(&key) {
        return Ok(link.target.as_slice().into());
    }
    if let Some(target) = of_system(&key) {
        return Ok(target.into());
    }
    Err(if device::named(&key).is_some() {
        NtStatus::OBJECT_TYPE_MISMATCH
    } else {
        NtStatus::OBJECT_NAME_NOT_FOUND
    })
}

/// Reports the links that a driver that goes away has left.
pub(crate) fn report_leaks(service: &str) {
    let mut left: Vec<(String, usize)> = Vec::new();
    lock().retain(|name, link| {
        if link.service == service {
            left.push((name.clone(), link.site));
        }
        link.service != service
    });
    left.sort();
    for (name, site) in left {
        verifier::finding_at(
            "symbolic-link-leak",
            site,
            format!("{service} went away with the symbolic link {name}, which leads nowhere now"),
        );
    }
}

fn link(function: &str, name: Guest<UnicodeString>, target: Guest<UnicodeString>) -> NtStatus {
    irql::at_most(function, PASSIVE_LEVEL);
    if let Some(status) = faults::check(function) {
        return status;
    }
    let name = key(&name.units());
    if let Err(status) = free(&name) {
        return status;
    }
    let link = Link {
        target: target.units(),
        service: driver::calling().map_or_else(String::new, |driver| driver.service.clone()),
        site: verifier::here(),
    };
    lock().insert(name, link);
    NtStatus::SUCCESS
}

exports! { "ntoskrnl.exe";
    /// Makes a symbolic link, by which programs find a device.
    fn IoCreateSymbolicLink(name: Guest<UnicodeString>, target: Guest<UnicodeString>) -> NtStatus {
        link("IoCreateSymbolicLink", name, target)
    }

    /// Makes one that everybody may change.
    fn IoCreateUnprotectedSymbolicLink(name: Guest<UnicodeString>, target: Guest<UnicodeString>) -> NtStatus {
        link("IoCreateUnprotectedSymbolicLink", name, target)
    }

    /// A handle to a symbolic link: a driver's, a volume's letter or name, or the one of the shares.
    partial "no directory to begin in"
    fn ZwOpenSymbolicLinkObject(handle: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>) -> NtStatus {
        irql::at_most("ZwOpenSymbolicLinkObject", PASSIVE_LEVEL);
        if let Some(status) = faults::check("ZwOpenSymbolicLinkObject") {
            return status;
        }
        let attributes = attributes.read();
        if !attributes.root_directory.is_null() {
            return NtStatus::OBJECT_TYPE_MISMATCH;
        }
        match target_of(&Guest(attributes.object_name).units()) {
            Ok(target) => {
                let target = Target::Link(target);
                handle.write(handle::open(target, access, attributes.attributes, KERNEL_MODE));
                NtStatus::SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Where a symbolic link leads.
    fn ZwQuerySymbolicLinkObject(handle: u64, target: Guest<UnicodeString>, needed: Guest<u32>) -> NtStatus {
        irql::at_most("ZwQuerySymbolicLinkObject", PASSIVE_LEVEL);
        if let Some(status) = faults::check("ZwQuerySymbolicLinkObject") {
            return status;
        }
        let link = match handle::look_up(handle, KERNEL_MODE) {
            Ok((Target::Link(_), access)) if access & MAY_QUERY == 0 => return NtStatus::ACCESS_DENIED,
            Ok((Target::Link(link), _)) => link,
            Ok(_) => return NtStatus::OBJECT_TYPE_MISMATCH,
            Err(status) => return status,
        };
        let bytes = link.len() * 2;
        needed.write_opt(u32::try_from(bytes).unwrap_or(u32::MAX));
        let present = target.read();
        if bytes > usize::from(present.maximum_length) {
            return NtStatus::BUFFER_TOO_SMALL;
        }
        Guest(present.buffer).write_many(&link);
        target.write(UnicodeString { length: u16::try_from(bytes).unwrap_or(0), ..present });
        NtStatus::SUCCESS
    }

    /// Takes it away.
    fn IoDeleteSymbolicLink(name: Guest<UnicodeString>) -> NtStatus {
        irql::at_most("IoDeleteSymbolicLink", PASSIVE_LEVEL);
        match lock().remove(&key(&name.units())) {
            Some(_) => NtStatus::SUCCESS,
            None => NtStatus::OBJECT_NAME_NOT_FOUND,
        }
    }
}
