//! `RtlWriteRegistryValue` and its kin: the registry by a place that everybody knows and a path below it.

use std::sync::Arc;

use super::open::Open;
use super::{KeyHandle, handles, zw};
use crate::abi::base::UnicodeString;
use crate::abi::flt::KERNEL_MODE;
use crate::abi::ob::{OBJ_CASE_INSENSITIVE, OBJ_KERNEL_HANDLE};
use crate::faults;
use crate::ntos::memory::{Guest, OwnedString, terminated_wide, wide};
use crate::ntos::{handle, irql};
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;

/// `RTL_REGISTRY_HANDLE`: the path is a handle.
const HANDLE: u32 = 0x4000_0000;
/// `RTL_REGISTRY_OPTIONAL`: a key that is not there is no error.
pub(super) const OPTIONAL: u32 = 0x8000_0000;

/// Where a path begins, by `RelativeTo`: `RTL_REGISTRY_ABSOLUTE`, `…_SERVICES`, `…_CONTROL`, `…_WINDOWS_NT`, `…_DEVICEMAP`,
/// `…_USER`.
const PLACES: [&str; 6] = [
    "",
    r"\Registry\Machine\System\CurrentControlSet\Services\",
    r"\Registry\Machine\System\CurrentControlSet\Control\",
    r"\Registry\Machine\Software\Microsoft\Windows NT\CurrentVersion\",
    r"\Registry\Machine\Hardware\DeviceMap\",
    r"\Registry\User\.Default\",
];

/// The handle of a key below another or below none, which the caller closes.
pub(super) fn open(
    path: &[u16],
    root: Option<Arc<KeyHandle>>,
    create: bool,
) -> Result<u64, NtStatus> {
    let name = OwnedString::new(path);
    let string = name.string();
    let open = Open {
        name: Guest::at(std::ptr::from_ref(&string).expose_provenance()),
        root,
        access: 0x2_001F,
        attributes: OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
        mode: KERNEL_MODE,
        create: create.then(|| (Guest::at(0), 0, Guest::at(0))),
    };
    open.run()
}

/// Runs a call on the key that `relative` and `path` lead to.
pub(super) fn at(
    relative: u32,
    path: usize,
    create: bool,
    run: impl FnOnce(&Arc<KeyHandle>) -> NtStatus,
) -> NtStatus {
    let opened = if relative & HANDLE != 0 {
        Ok(path as u64)
    } else {
        let Some(place) = PLACES.get((relative & !OPTIONAL) as usize) else {
            return NtStatus::INVALID_PARAMETER;
        };
        let mut whole = wide(place);
        whole.extend(terminated_wide(Guest::at(path)));
        open(&whole, None, create)
    };
    let status = match opened.and_then(|opened| handles::of_handle(opened, KERNEL_MODE)) {
        Ok(key) => run(&key),
        Err(status) => status,
    };
    if let (Ok(opened), 0) = (opened, relative & HANDLE) {
        handle::close(opened, KERNEL_MODE);
    }
    status
}

/// Checks what each of the calls begins with.
pub(super) fn begins(call: &str) -> Option<NtStatus> {
    irql::at_most(call, PASSIVE_LEVEL);
    faults::check(call)
}

/// A terminated name as the string that the calls below take.
fn with_name(name: usize, run: impl FnOnce(Guest<UnicodeString>) -> NtStatus) -> NtStatus {
    let owned = OwnedString::new(&terminated_wide(Guest::at(name)));
    let string = owned.string();
    run(Guest::at(std::ptr::from_ref(&string).expose_provenance()))
}

exports! { "ntoskrnl.exe";
    /// Sets a value; makes its key.
    fn RtlWriteRegistryValue(relative: u32, path: usize, name: usize, kind: u32, data: usize, size: u32) -> NtStatus {
        if let Some(status) = begins("RtlWriteRegistryValue") {
            return status;
        }
        at(relative, path, true, |key| with_name(name, |name| zw::set_value(key, name, kind, data, size)))
    }

    /// Deletes a value.
    fn RtlDeleteRegistryValue(relative: u32, path: usize, name: usize) -> NtStatus {
        if let Some(status) = begins("RtlDeleteRegistryValue") {
            return status;
        }
        at(relative, path, false, |key| with_name(name, |name| zw::delete_value(key, name)))
    }

    /// Makes a key.
    fn RtlCreateRegistryKey(relative: u32, path: usize) -> NtStatus {
        if let Some(status) = begins("RtlCreateRegistryKey") {
            return status;
        }
        at(relative, path, true, |_| NtStatus::SUCCESS)
    }

    /// Whether a key is there.
    fn RtlCheckRegistryKey(relative: u32, path: usize) -> NtStatus {
        if let Some(status) = begins("RtlCheckRegistryKey") {
            return status;
        }
        at(relative, path, false, |_| NtStatus::SUCCESS)
    }
}
