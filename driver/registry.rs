//! Values of the service's `Parameters` key. All of it at `PASSIVE_LEVEL`.

use core::ptr;

use fltmgr::{NtStatus, UnicodeStr};
use wdk_sys::{
    _KEY_VALUE_INFORMATION_CLASS, ACCESS_MASK, DRIVER_OBJECT, HANDLE, KEY_READ, NTSTATUS,
    REG_DWORD, REG_SZ, STATUS_BUFFER_OVERFLOW, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_SUCCESS,
    ntddk::{ZwClose, ZwQueryValueKey},
};

// A documented export of ntoskrnl.exe that not all headers wdk-sys may be generated from declare.
unsafe extern "C" {
    /// Windows 10, version 1803; `ExAllocatePool2`, which this driver needs too, is younger. `PASSIVE_LEVEL`.
    fn IoOpenDriverRegistryKey(
        DriverObject: *mut DRIVER_OBJECT,
        RegKeyType: i32,
        DesiredAccess: ACCESS_MASK,
        Flags: u32,
        DriverRegKey: *mut HANDLE,
    ) -> NTSTATUS;
}

/// `DRIVER_REGKEY_TYPE`: the `Parameters` key below the service's.
const DRIVER_REG_KEY_PARAMETERS: i32 = 0;

/// An open registry key.
pub(crate) struct Key(HANDLE);

/// A value of a registry key, as far as settings use it.
pub(crate) enum Value {
    /// `REG_DWORD`.
    Dword(u32),
    /// `REG_SZ` of at most [`TEXT_UNITS`] units, without its terminator.
    Text([u16; TEXT_UNITS], usize),
    /// `REG_SZ` of more.
    LongText,
    /// Another type.
    Other,
    /// There is one, and it could not be read.
    Unreadable,
}

/// The longest text that a setting can be.
pub(crate) const TEXT_UNITS: usize = 16;

/// `KEY_VALUE_PARTIAL_INFORMATION` with room for the longest text and its terminator.
#[repr(C)]
struct PartialInformation {
    title_index: u32,
    kind: u32,
    data_length: u32,
    data: [u16; TEXT_UNITS + 1],
}

impl Key {
    /// The service's `Parameters` key. `PASSIVE_LEVEL`.
    pub(crate) fn parameters(driver: &mut DRIVER_OBJECT) -> Result<Self, NtStatus> {
        let mut key = ptr::null_mut();
        // SAFETY: the driver object is this driver's; the last argument is a writable local.
        let status = unsafe {
            IoOpenDriverRegistryKey(driver, DRIVER_REG_KEY_PARAMETERS, KEY_READ, 0, &raw mut key)
        };
        NtStatus::check(status).map(|()| Self(key))
    }

    /// A value; `None` where there is none of that name. `PASSIVE_LEVEL`.
    pub(crate) fn value(&self, name: &[u16]) -> Option<Value> {
        let name = UnicodeStr::new(name).ok()?;
        let mut information = PartialInformation {
            title_index: 0,
            kind: 0,
            data_length: 0,
            data: [0; TEXT_UNITS + 1],
        };
        let mut length = 0;
        #[expect(clippy::cast_possible_truncation, reason = "a few dozen bytes")]
        let room = size_of_val(&information) as u32;
        // SAFETY: the key is open; the buffer is a local of the length given; the last argument is a writable local.
        let status = unsafe {
            ZwQueryValueKey(
                self.0,
                name.as_raw(),
                _KEY_VALUE_INFORMATION_CLASS::KeyValuePartialInformation,
                (&raw mut information).cast(),
                room,
                &raw mut length,
            )
        };
        match status {
            STATUS_SUCCESS => Some(information.decode()),
            STATUS_OBJECT_NAME_NOT_FOUND => None,
            // The type of a value that is too long is known all the same.
            STATUS_BUFFER_OVERFLOW if information.kind == REG_SZ => Some(Value::LongText),
            STATUS_BUFFER_OVERFLOW => Some(Value::Other),
            // A failure is not to pass for the value's absence.
            _ => Some(Value::Unreadable),
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: this value owns the handle, and closes it once.
        let _ = unsafe { ZwClose(self.0) };
    }
}

impl PartialInformation {
    fn decode(&self) -> Value {
        let length = self.data_length as usize;
        match self.kind {
            REG_DWORD if length == 4 => {
                Value::Dword(u32::from(self.data[0]) | u32::from(self.data[1]) << 16)
            }
            REG_SZ => {
                // A string that was stored without a terminator is a string all the same.
                let text = self
                    .data
                    .iter()
                    .take(length / 2)
                    .take_while(|unit| **unit != 0);
                let (mut units, mut used) = ([0; TEXT_UNITS], 0);
                for (to, from) in units.iter_mut().zip(text.clone()) {
                    *to = *from;
                    used += 1;
                }
                if used == text.count() {
                    Value::Text(units, used)
                } else {
                    Value::LongText
                }
            }
            _ => Value::Other,
        }
    }
}
