//! What can be done to keys and values, whoever asks for it.

use super::{KeyHandle, Value, lock, make, watch};
use crate::namespace::names;
use crate::ntos::time;
use crate::status::NtStatus;

/// The longest name of a key and of a value, in characters ("Registry Element Size Limits").
const LONGEST_KEY: usize = 255;
const LONGEST_VALUE: usize = 16_383;

/// The key above a path; none: it is the root.
fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('\\').map(|(parent, _)| parent)
}

/// Makes a key, or finds it; true: it is new.
pub(super) fn create(path: &str, class: &[u16], volatile: bool) -> Result<bool, NtStatus> {
    let mut keys = lock();
    let at = names::key(path);
    if keys.contains_key(&at) {
        return Ok(false);
    }
    let (above, name) = path
        .rsplit_once('\\')
        .ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
    if name.encode_utf16().count() > LONGEST_KEY {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let above = keys
        .get_mut(&names::key(above))
        .ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)?;
    if above.volatile && !volatile {
        return Err(NtStatus::CHILD_MUST_BE_VOLATILE);
    }
    above.written = time::system_time();
    make(&mut keys, path);
    if let Some(key) = keys.get_mut(&at) {
        class.clone_into(&mut key.class);
        key.volatile = volatile;
    }
    drop(keys);
    if let Some(above) = parent(path) {
        watch::changed(above, watch::NAME);
    }
    Ok(true)
}

/// Deletes a key that has no keys below it.
pub(super) fn delete(key: &KeyHandle) -> Result<(), NtStatus> {
    key.with(|_| ())?;
    let mut keys = lock();
    let at = names::key(&key.path);
    let below = keys
        .keys()
        .any(|path| path.starts_with(&at) && path.get(at.len()) == Some(&names::BACKSLASH));
    if below {
        return Err(NtStatus::CANNOT_DELETE);
    }
    keys.remove(&at);
    if let Some(above) = parent(&key.path).and_then(|path| keys.get_mut(&names::key(path))) {
        above.written = time::system_time();
    }
    drop(keys);
    if let Some(above) = parent(&key.path) {
        watch::changed(above, watch::NAME);
    }
    Ok(())
}

/// Sets a value.
pub(super) fn set_value(
    key: &KeyHandle,
    name: String,
    kind: u32,
    data: Vec<u8>,
) -> Result<(), NtStatus> {
    if name.encode_utf16().count() > LONGEST_VALUE {
        return Err(NtStatus::OBJECT_NAME_INVALID);
    }
    key.with(|key| {
        key.written = time::system_time();
        match key
            .values
            .iter_mut()
            .find(|value| names::same(&value.name, &name))
        {
            Some(value) => (value.kind, value.data) = (kind, data),
            None => key.values.push(Value { name, kind, data }),
        }
    })?;
    watch::changed(&key.path, watch::LAST_SET);
    Ok(())
}

/// Deletes a value.
pub(super) fn delete_value(key: &KeyHandle, name: &str) -> Result<(), NtStatus> {
    key.with(|key| {
        let before = key.values.len();
        key.values.retain(|value| !names::same(&value.name, name));
        if key.values.len() == before {
            return Err(NtStatus::OBJECT_NAME_NOT_FOUND);
        }
        key.written = time::system_time();
        Ok(())
    })??;
    watch::changed(&key.path, watch::LAST_SET);
    Ok(())
}

/// A value.
pub(super) fn value(key: &KeyHandle, name: &str) -> Result<Value, NtStatus> {
    let found = key.with(|key| {
        let same = |value: &&Value| names::same(&value.name, name);
        key.values.iter().find(same).cloned()
    })?;
    found.ok_or(NtStatus::OBJECT_NAME_NOT_FOUND)
}
