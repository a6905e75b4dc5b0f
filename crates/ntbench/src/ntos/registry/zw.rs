//! `ZwCreateKey` and its kin: what a driver does to the registry by handles.

use std::sync::Arc;

use super::callback::{self, Operation};
use super::open::{OPTIONS, Open};
use super::{KeyHandle, change, describe, handles, service_path};
use crate::abi::base::UnicodeString;
use crate::abi::flt::KERNEL_MODE;
use crate::abi::ob::{OBJ_KERNEL_HANDLE, ObjectAttributes};
use crate::faults;
use crate::ntos::memory::Guest;
use crate::ntos::{driver, irql};
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;

/// Opens by a driver's object attributes.
fn open(
    call: &str,
    out: Guest<u64>,
    access: u32,
    attributes: Guest<ObjectAttributes>,
    create: Option<(Guest<UnicodeString>, u32, Guest<u32>)>,
) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    if let Some(status) = faults::check(call) {
        return status;
    }
    let attributes = attributes.read();
    if attributes.length as usize != size_of::<ObjectAttributes>() {
        return NtStatus::INVALID_PARAMETER;
    }
    let root = match attributes.root_directory.expose_provenance() as u64 {
        0 => None,
        root => match handles::of_handle(root, KERNEL_MODE) {
            Ok(root) => Some(root),
            Err(status) => return status,
        },
    };
    let open = Open {
        name: Guest(attributes.object_name),
        root,
        access,
        attributes: attributes.attributes,
        mode: KERNEL_MODE,
        create,
    };
    match open.run() {
        Ok(opened) => {
            out.write(opened);
            NtStatus::SUCCESS
        }
        Err(status) => status,
    }
}

/// An operation on an open key: its `REG_…_INFORMATION` begins with the object, then `words`, then the contexts.
pub(super) fn on_key(
    key: &KeyHandle,
    classes: (u64, u64),
    words: &[u64],
    perform: impl FnOnce() -> NtStatus,
) -> NtStatus {
    let describe = || {
        let mut all = vec![key.address() as u64];
        all.extend_from_slice(words);
        all.extend([0; 3]);
        Operation {
            classes,
            call_context: 1 + words.len(),
            words: all,
            object: key.address(),
        }
    };
    callback::run(describe, perform, || None)
}

pub(super) fn ended(result: Result<(), NtStatus>) -> NtStatus {
    result.err().unwrap_or(NtStatus::SUCCESS)
}

/// An operation of a driver's on a key of its own.
fn driver_call(call: &str, handle: u64, run: impl FnOnce(&Arc<KeyHandle>) -> NtStatus) -> NtStatus {
    irql::at_most(call, PASSIVE_LEVEL);
    if let Some(status) = faults::check(call) {
        return status;
    }
    match handles::of_handle(handle, KERNEL_MODE) {
        Ok(key) => run(&key),
        Err(status) => status,
    }
}

/// Sets a value, seen by callbacks.
pub(super) fn set_value(
    key: &KeyHandle,
    name: Guest<UnicodeString>,
    kind: u32,
    data: usize,
    size: u32,
) -> NtStatus {
    // TitleIndex and Type share a word.
    let words = [
        name.address() as u64,
        u64::from(kind) << 32,
        data as u64,
        size.into(),
    ];
    on_key(key, (1, 16), &words, || {
        let data = Guest::<u8>::at(data).read_many(size as usize);
        ended(change::set_value(key, name.text(), kind, data))
    })
}

/// Deletes a value, seen by callbacks.
pub(super) fn delete_value(key: &KeyHandle, name: Guest<UnicodeString>) -> NtStatus {
    on_key(key, (2, 17), &[name.address() as u64], || {
        ended(change::delete_value(key, &name.text()))
    })
}

/// Deletes a key, seen by callbacks.
pub(super) fn delete_key(key: &KeyHandle) -> NtStatus {
    on_key(key, (0, 15), &[], || ended(change::delete(key)))
}

/// Reads a value, seen by callbacks.
pub(super) fn query_value(
    key: &KeyHandle,
    name: Guest<UnicodeString>,
    class: u32,
    buffer: Guest<u8>,
    length: u32,
    needed: Guest<u32>,
) -> NtStatus {
    let words = [
        name.address() as u64,
        class.into(),
        buffer.address() as u64,
        length.into(),
        needed.address() as u64,
    ];
    on_key(key, (8, 23), &words, || {
        match change::value(key, &name.text()) {
            Ok(value) => match describe::value(&value, class) {
                Some((bytes, fixed)) => describe::answer(&bytes, fixed, buffer, length, needed),
                None => NtStatus::INVALID_PARAMETER,
            },
            Err(status) => status,
        }
    })
}

/// What a query or enumeration of keys puts into the caller's buffer.
fn answer(
    told: Result<(Vec<u8>, usize), NtStatus>,
    buffer: Guest<u8>,
    length: u32,
    needed: Guest<u32>,
) -> NtStatus {
    match told {
        Ok((bytes, fixed)) => describe::answer(&bytes, fixed, buffer, length, needed),
        Err(status) => status,
    }
}

/// `DriverRegKeyParameters`.
const DRIVER_REG_KEY_PARAMETERS: u32 = 0;

exports! { "ntoskrnl.exe";
    /// Opens a key.
    partial "nobody is denied access; CurrentControlSet is a key and no link"
    fn ZwOpenKey(handle: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>) -> NtStatus {
        open("ZwOpenKey", handle, access, attributes, None)
    }

    /// Opens a key with options.
    partial "as ZwOpenKey; the options (backup or restore, open link) change nothing"
    fn ZwOpenKeyEx(handle: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, options: u32) -> NtStatus {
        if options & !OPTIONS != 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        open("ZwOpenKeyEx", handle, access, attributes, None)
    }

    /// Opens a key, or makes it.
    partial "nobody is denied access; of the options REG_OPTION_VOLATILE alone counts; security descriptors are not kept"
    fn ZwCreateKey(
        handle: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, _title: u32, class: Guest<UnicodeString>,
        options: u32, disposition: Guest<u32>,
    ) -> NtStatus {
        open("ZwCreateKey", handle, access, attributes, Some((class, options, disposition)))
    }

    /// Deletes a key that has no subkeys.
    fn ZwDeleteKey(handle: u64) -> NtStatus {
        driver_call("ZwDeleteKey", handle, |key| delete_key(key))
    }

    /// Sets a value.
    fn ZwSetValueKey(
        handle: u64, name: Guest<UnicodeString>, _title: u32, kind: u32, data: usize, size: u32,
    ) -> NtStatus {
        driver_call("ZwSetValueKey", handle, |key| set_value(key, name, kind, data, size))
    }

    /// Deletes a value.
    fn ZwDeleteValueKey(handle: u64, name: Guest<UnicodeString>) -> NtStatus {
        driver_call("ZwDeleteValueKey", handle, |key| delete_value(key, name))
    }

    /// Reads a value.
    fn ZwQueryValueKey(
        handle: u64, name: Guest<UnicodeString>, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>,
    ) -> NtStatus {
        driver_call("ZwQueryValueKey", handle, |key| query_value(key, name, class, buffer, length, needed))
    }

    /// Tells of a key.
    partial "basic, node, full, name and cached information; STATUS_INVALID_PARAMETER for other classes"
    fn ZwQueryKey(handle: u64, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>) -> NtStatus {
        driver_call("ZwQueryKey", handle, |key| {
            let words = [class.into(), buffer.address() as u64, length.into(), needed.address() as u64];
            on_key(key, (7, 22), &words, || {
                let told = key.with(|_| ()).and_then(|()| describe::key(&key.path, class));
                answer(told, buffer, length, needed)
            })
        })
    }

    /// Tells of the subkey of an index.
    partial "basic, node, full, name and cached information; STATUS_INVALID_PARAMETER for other classes"
    fn ZwEnumerateKey(
        handle: u64, index: u32, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>,
    ) -> NtStatus {
        driver_call("ZwEnumerateKey", handle, |key| {
            let words = [
                u64::from(index) | u64::from(class) << 32, buffer.address() as u64, length.into(), needed.address() as u64,
            ];
            on_key(key, (5, 20), &words, || {
                let told = describe::subkey(key, index).and_then(|path| describe::key(&path, class));
                answer(told, buffer, length, needed)
            })
        })
    }

    /// Tells of the value of an index.
    fn ZwEnumerateValueKey(
        handle: u64, index: u32, class: u32, buffer: Guest<u8>, length: u32, needed: Guest<u32>,
    ) -> NtStatus {
        driver_call("ZwEnumerateValueKey", handle, |key| {
            let words = [
                u64::from(index) | u64::from(class) << 32, buffer.address() as u64, length.into(), needed.address() as u64,
            ];
            on_key(key, (6, 21), &words, || {
                let value = key.with(|key| key.values.get(index as usize).cloned());
                let told = value.and_then(|value| value.ok_or(NtStatus::NO_MORE_ENTRIES));
                let told = told.and_then(|value| describe::value(&value, class).ok_or(NtStatus::INVALID_PARAMETER));
                answer(told, buffer, length, needed)
            })
        })
    }

    /// Has a key written to disk: nothing is kept on one here.
    fn ZwFlushKey(handle: u64) -> NtStatus {
        driver_call("ZwFlushKey", handle, |key| on_key(key, (30, 31), &[], || ended(key.with(|_| ()))))
    }

    /// Opens the driver's `Parameters` key, the one place where a driver may keep settings.
    partial "DriverRegKeyParameters alone; STATUS_NOT_SUPPORTED for other keys"
    fn IoOpenDriverRegistryKey(object: usize, kind: u32, access: u32, _flags: u32, handle: Guest<u64>) -> NtStatus {
        irql::at_most("IoOpenDriverRegistryKey", PASSIVE_LEVEL);
        if let Some(status) = faults::check("IoOpenDriverRegistryKey") {
            return status;
        }
        let Some(driver) = driver::of_object(object) else { return NtStatus::INVALID_PARAMETER };
        if kind != DRIVER_REG_KEY_PARAMETERS {
            return NtStatus::NOT_SUPPORTED;
        }
        let path = format!("{}\\Parameters", service_path(&driver.service));
        let Some(key) = KeyHandle::make(&path) else { return NtStatus::OBJECT_NAME_NOT_FOUND };
        handle.write(key.open(access, OBJ_KERNEL_HANDLE, KERNEL_MODE));
        key.release();
        NtStatus::SUCCESS
    }
}
