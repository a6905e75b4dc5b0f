//! Keys and values as queries and enumerations tell them.

use super::{KeyHandle, Value, full_name, lock, subkeys};
use crate::abi::registry::{
    KEY_BASIC, KEY_CACHED, KEY_FULL, KEY_NAME, KEY_NODE, KEY_VALUE_BASIC, KEY_VALUE_FULL,
    KEY_VALUE_PARTIAL, KEY_VALUE_PARTIAL_ALIGN64, KeyValueBasic, KeyValueFull, KeyValuePartial,
};
use crate::namespace::names;
use crate::ntos::memory::{Guest, wide};
use crate::status::NtStatus;

/// Writes as much of `bytes` as fits: `STATUS_BUFFER_TOO_SMALL` where not even the fixed part does,
/// `STATUS_BUFFER_OVERFLOW` where the rest does not.
pub(super) fn answer(
    bytes: &[u8],
    fixed: usize,
    buffer: Guest<u8>,
    length: u32,
    needed: Guest<u32>,
) -> NtStatus {
    needed.write_opt(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
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

/// A value as a class tells it, and how much of that is the fixed part.
pub(super) fn value(value: &Value, class: u32) -> Option<(Vec<u8>, usize)> {
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

fn bytes(units: &[u16]) -> Vec<u8> {
    units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
}

/// What is told of a key.
struct Facts {
    name: Vec<u8>,
    class: Vec<u8>,
    written: i64,
    subkeys: Vec<String>,
    /// How many values, the longest name and the longest data of one, in bytes.
    values: [u32; 3],
}

fn facts(path: &str) -> Option<Facts> {
    let subkeys = subkeys(path);
    let keys = lock();
    let key = keys.get(&names::key(path))?;
    let longest = |length: fn(&Value) -> usize| key.values.iter().map(length).max();
    Some(Facts {
        name: bytes(&wide(&key.name)),
        class: bytes(&key.class),
        written: key.written,
        subkeys,
        values: [
            long(key.values.len()),
            long(longest(|value| value.name.encode_utf16().count() * 2).unwrap_or(0)),
            long(longest(|value| value.data.len()).unwrap_or(0)),
        ],
    })
}

/// A key as a class tells it, and how much of that is the fixed part. `STATUS_INVALID_PARAMETER`: no such class.
pub(super) fn key(path: &str, class: u32) -> Result<(Vec<u8>, usize), NtStatus> {
    let Facts {
        name,
        class: class_name,
        written,
        subkeys,
        values: [count, longest_name, longest_data],
    } = facts(path).ok_or(NtStatus::KEY_DELETED)?;
    let longest_key = subkeys.iter().map(|name| name.encode_utf16().count() * 2);
    let longest_key = long(longest_key.max().unwrap_or(0));
    let mut told = written.to_le_bytes().to_vec();
    let fixed;
    match class {
        KEY_BASIC => {
            told.extend(words(&[0, long(name.len())]));
            fixed = told.len();
            told.extend(name);
        }
        KEY_NODE => {
            let offset = 24 + name.len();
            let lengths = [0, long(offset), long(class_name.len()), long(name.len())];
            told.extend(words(&lengths));
            fixed = told.len();
            told.extend(name);
            told.extend(class_name);
        }
        KEY_FULL => {
            let class_length = long(class_name.len());
            told.extend(words(&[0, 44, class_length, long(subkeys.len())]));
            told.extend(words(&[longest_key, 0, count, longest_name, longest_data]));
            fixed = told.len();
            told.extend(class_name);
        }
        KEY_NAME => {
            let name = bytes(&wide(&full_name(path)));
            told = words(&[long(name.len())]);
            fixed = told.len();
            told.extend(name);
        }
        KEY_CACHED => {
            told.extend(words(&[0, long(subkeys.len()), longest_key, count]));
            told.extend(words(&[longest_name, longest_data, long(name.len()), 0]));
            fixed = told.len();
        }
        _ => return Err(NtStatus::INVALID_PARAMETER),
    }
    Ok((told, fixed))
}

/// The path of a key's subkey of that index, in order of their names.
pub(super) fn subkey(key: &KeyHandle, index: u32) -> Result<String, NtStatus> {
    key.with(|_| ())?;
    let subkeys = subkeys(&key.path);
    let name = subkeys
        .get(index as usize)
        .ok_or(NtStatus::NO_MORE_ENTRIES)?;
    Ok(format!("{}\\{name}", key.path))
}
