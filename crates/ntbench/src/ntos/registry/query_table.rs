//! `RtlQueryRegistryValues`: a table of values to read, each into a variable or by a routine of the driver's.

use std::sync::Arc;

use super::{KeyHandle, Value, change, handles, rtl};
use crate::abi::base::UnicodeString;
use crate::abi::flt::KERNEL_MODE;
use crate::abi::layout;
use crate::abi::registry::REG_SZ;
use crate::gate;
use crate::ntos::memory::{Guest, terminated_wide};
use crate::ntos::{driver, handle, pool};
use crate::status::NtStatus;

const SUBKEY: u32 = 0x01;
const TOPKEY: u32 = 0x02;
const REQUIRED: u32 = 0x04;
const NOVALUE: u32 = 0x08;
const NOEXPAND: u32 = 0x10;
const DIRECT: u32 = 0x20;
const DELETE: u32 = 0x40;
const TYPECHECK: u32 = 0x100;
const REG_EXPAND_SZ: u32 = 2;
const REG_MULTI_SZ: u32 = 7;
const TAG: u32 = u32::from_le_bytes(*b"RtlR");

/// `RTL_QUERY_REGISTRY_TABLE`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    routine: usize,
    flags: u32,
    name: usize,
    entry_context: usize,
    default_type: u32,
    default_data: usize,
    default_length: u32,
}
layout!(Entry, 56, flags @ 8, name @ 16, entry_context @ 24, default_type @ 32, default_data @ 40, default_length @ 48);

impl Entry {
    /// Puts a value where the entry's variable is.
    fn store(&self, value: &Value) -> NtStatus {
        if self.flags & TYPECHECK != 0 && self.default_type >> 24 != value.kind {
            return NtStatus::OBJECT_TYPE_MISMATCH;
        }
        match value.kind {
            REG_SZ | REG_EXPAND_SZ | REG_MULTI_SZ => self.store_string(value),
            _ => self.store_bytes(&value.data),
        }
    }

    fn store_string(&self, value: &Value) -> NtStatus {
        let variable = Guest::<UnicodeString>::at(self.entry_context);
        let mut string = variable.read();
        let room = value.data.len().min(usize::from(u16::MAX - 1));
        if string.buffer.is_null() {
            let Some(block) = pool::allocate(room.max(2), TAG, pool::Kind::Paged, true) else {
                return NtStatus::INSUFFICIENT_RESOURCES;
            };
            string.buffer = Guest::at(block).0;
            string.maximum_length = u16::try_from(room).unwrap_or(u16::MAX);
        } else if usize::from(string.maximum_length) < room {
            return NtStatus::BUFFER_TOO_SMALL;
        }
        let data = &value.data[..room];
        Guest::at(Guest(string.buffer).address()).write_many(data);
        // The terminator of a text is not counted; a list's two are.
        let ended = value.kind != REG_MULTI_SZ && data.ends_with(&[0, 0]);
        let length = if ended { room - 2 } else { room };
        string.length = u16::try_from(length).unwrap_or(u16::MAX);
        variable.write(string);
        NtStatus::SUCCESS
    }

    /// Up to four bytes go where they belong; more need a buffer that begins with its negative length.
    fn store_bytes(&self, data: &[u8]) -> NtStatus {
        let to = Guest::<u8>::at(self.entry_context);
        if data.len() > 4 {
            let length = Guest::<i32>::at(self.entry_context).read();
            if length >= 0 || length.unsigned_abs() < u32::try_from(data.len()).unwrap_or(u32::MAX)
            {
                return NtStatus::BUFFER_TOO_SMALL;
            }
        }
        to.write_many(data);
        NtStatus::SUCCESS
    }

    /// Hands a value to the entry's routine, a list of texts one by one.
    fn tell(&self, value: &Value, context: u64) -> NtStatus {
        if value.kind != REG_MULTI_SZ || self.flags & NOEXPAND != 0 {
            // The bench has no environment to expand a text by: what would be expanded is handed on as it is.
            let expanded = value.kind == REG_EXPAND_SZ && self.flags & NOEXPAND == 0;
            let kind = if expanded { REG_SZ } else { value.kind };
            return self.call(&value.name, kind, &value.data, context);
        }
        let units: Vec<&[u8]> = value.data.chunks_exact(2).collect();
        for text in units
            .split(|unit| **unit == [0, 0])
            .filter(|text| !text.is_empty())
        {
            let mut data = text.concat();
            data.extend([0, 0]);
            let status = self.call(&value.name, REG_SZ, &data, context);
            if !status.is_success() {
                return status;
            }
        }
        NtStatus::SUCCESS
    }

    fn call(&self, name: &str, kind: u32, data: &[u8], context: u64) -> NtStatus {
        let name: Vec<u16> = name.encode_utf16().chain([0]).collect();
        let arguments = [
            name.as_ptr().expose_provenance() as u64,
            kind.into(),
            data.as_ptr().expose_provenance() as u64,
            data.len() as u64,
            context,
            self.entry_context as u64,
        ];
        // SAFETY: the driver gave that routine for values; a query routine takes these six.
        driver::status_of(unsafe { gate::call_within(self.routine, &arguments) })
    }

    fn give(&self, value: &Value, context: u64) -> NtStatus {
        if self.flags & DIRECT != 0 {
            self.store(value)
        } else {
            self.tell(value, context)
        }
    }

    /// What the entry names as the value where there is none.
    fn default(&self, name: String) -> Option<Value> {
        let kind = self.default_type & 0xFF_FFFF;
        if kind == 0 {
            return None;
        }
        let data = Guest::<u8>::at(self.default_data);
        let data = match (kind, self.default_length) {
            (REG_SZ | REG_EXPAND_SZ, 0) => {
                let units = terminated_wide(Guest::at(self.default_data));
                let ended = units.into_iter().chain([0]);
                ended.flat_map(u16::to_le_bytes).collect()
            }
            (_, length) => data.read_many(length as usize),
        };
        Some(Value { name, kind, data })
    }

    /// Reads what the entry asks for from a key.
    fn query(&self, key: &Arc<KeyHandle>, context: u64) -> NtStatus {
        if self.flags & NOVALUE != 0 {
            let nothing = Value {
                name: String::new(),
                kind: 0,
                data: Vec::new(),
            };
            return self.tell(&nothing, context);
        }
        if self.name == 0 || self.flags & SUBKEY != 0 {
            let values = match key.with(|key| key.values.clone()) {
                Ok(values) => values,
                Err(status) => return status,
            };
            if values.is_empty() && self.flags & REQUIRED != 0 {
                return NtStatus::OBJECT_NAME_NOT_FOUND;
            }
            let told = values.iter().map(|value| self.tell(value, context));
            return told
                .into_iter()
                .find(|status| !status.is_success())
                .unwrap_or(NtStatus::SUCCESS);
        }
        let name = String::from_utf16_lossy(&terminated_wide(Guest::at(self.name)));
        match change::value(key, &name) {
            Ok(value) => {
                let status = self.give(&value, context);
                if status.is_success() && self.flags & DELETE != 0 {
                    let _ = change::delete_value(key, &name);
                }
                status
            }
            Err(status) if status != NtStatus::OBJECT_NAME_NOT_FOUND => status,
            Err(status) if self.flags & REQUIRED != 0 => status,
            Err(_) => match self.default(name) {
                Some(value) if self.flags & DIRECT != 0 => {
                    let unchecked = Self {
                        flags: self.flags & !TYPECHECK,
                        ..*self
                    };
                    unchecked.give(&value, context)
                }
                Some(value) => self.give(&value, context),
                None => NtStatus::SUCCESS,
            },
        }
    }
}

/// Goes through a table, beginning at a key.
fn walk(top: &Arc<KeyHandle>, table: usize, context: u64) -> NtStatus {
    let mut at = Guest::<Entry>::at(table);
    let mut below: Option<u64> = None;
    let mut status = NtStatus::SUCCESS;
    while status.is_success() {
        let entry = at.read();
        if entry.routine == 0 && entry.flags & (SUBKEY | DIRECT) == 0 {
            break;
        }
        at = at.add(1);
        let contradicts = entry.flags & DIRECT != 0
            && (entry.name == 0 || entry.flags & SUBKEY != 0 || entry.routine != 0);
        if contradicts || (entry.flags & SUBKEY != 0 && entry.name == 0) {
            status = NtStatus::INVALID_PARAMETER;
            break;
        }
        if entry.flags & (TOPKEY | SUBKEY) != 0
            && let Some(left) = below.take()
        {
            handle::close(left, KERNEL_MODE);
        }
        if entry.flags & SUBKEY != 0 {
            let name = terminated_wide(Guest::at(entry.name));
            match rtl::open(&name, Some(Arc::clone(top)), false) {
                Ok(opened) => below = Some(opened),
                Err(_) if entry.flags & REQUIRED == 0 => continue,
                Err(failed) => {
                    status = failed;
                    break;
                }
            }
            if entry.routine == 0 {
                continue;
            }
        }
        let key = below.and_then(|handle| handles::of_handle(handle, KERNEL_MODE).ok());
        status = entry.query(key.as_ref().unwrap_or(top), context);
    }
    if let Some(left) = below {
        handle::close(left, KERNEL_MODE);
    }
    status
}

exports! { "ntoskrnl.exe";
    /// Reads values as a table says.
    partial "REG_EXPAND_SZ is not expanded; registry callbacks see the keys that are opened and no queries; the caller's environment is ignored"
    fn RtlQueryRegistryValues(relative: u32, path: usize, table: usize, context: u64, _environment: usize) -> NtStatus {
        if let Some(status) = rtl::begins("RtlQueryRegistryValues") {
            return status;
        }
        let status = rtl::at(relative, path, false, |key| walk(key, table, context));
        if relative & rtl::OPTIONAL != 0 && status == NtStatus::OBJECT_NAME_NOT_FOUND {
            return NtStatus::SUCCESS;
        }
        status
    }
}
