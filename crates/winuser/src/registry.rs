//! Values below HKEY_LOCAL_MACHINE.

use windows_registry::{Key, LOCAL_MACHINE};

use crate::{Code, Error, Result};

/// ERROR_FILE_NOT_FOUND: no such key or value.
const NOT_FOUND: i32 = 0x8007_0002_u32.cast_signed();
/// ERROR_INVALID_DATA: a value of another type.
const OTHER_TYPE: i32 = 0x8007_000d_u32.cast_signed();
/// ERROR_MORE_DATA: a value of another type that is longer than a number.
const OTHER_SIZE: i32 = 0x8007_00ea_u32.cast_signed();

/// Whether there is a key.
///
/// # Errors
/// ERROR_ACCESS_DENIED and the like.
pub fn exists(key: &str) -> Result<bool> {
    open(key).map(|key| key.is_some())
}

/// A REG_DWORD; none where key or value is missing, or the value is no number.
///
/// # Errors
/// ERROR_ACCESS_DENIED and the like.
pub fn number(key: &str, name: &str) -> Result<Option<u32>> {
    value(key, |key| key.get_u32(name))
}

/// A REG_SZ or REG_EXPAND_SZ as it stands; none where key or value is missing, or the value is no string.
///
/// # Errors
/// ERROR_ACCESS_DENIED and the like.
pub fn text(key: &str, name: &str) -> Result<Option<String>> {
    value(key, |key| key.get_string(name))
}

/// A REG_MULTI_SZ; none where key or value is missing, or the value is none.
///
/// # Errors
/// ERROR_ACCESS_DENIED and the like.
pub fn texts(key: &str, name: &str) -> Result<Option<Vec<String>>> {
    let mut texts = value(key, |key| key.get_multi_string(name))?;
    // An empty one ends the list; the library hands it on.
    if let Some(texts) = &mut texts {
        texts.retain(|text| !text.is_empty());
    }
    Ok(texts)
}

/// The names of a key's subkeys; none where it is missing.
///
/// # Errors
/// ERROR_ACCESS_DENIED and the like.
pub fn subkeys(key: &str) -> Result<Vec<String>> {
    let Some(key) = open(key)? else {
        return Ok(Vec::new());
    };
    match key.keys() {
        Ok(keys) => Ok(keys.collect()),
        Err(error) => Err(refused("RegEnumKeyExW", &error)),
    }
}

/// Removes a key with all that is below it; also where it is missing.
///
/// # Errors
/// ERROR_ACCESS_DENIED and the like.
pub fn remove(key: &str) -> Result<()> {
    match LOCAL_MACHINE.remove_tree(key) {
        Err(error) if error.code().0 != NOT_FOUND => Err(refused("RegDeleteTreeW", &error)),
        _ => Ok(()),
    }
}

fn open(key: &str) -> Result<Option<Key>> {
    match LOCAL_MACHINE.open(key) {
        Ok(key) => Ok(Some(key)),
        Err(error) if error.code().0 == NOT_FOUND => Ok(None),
        Err(error) => Err(refused("RegOpenKeyExW", &error)),
    }
}

fn value<T>(key: &str, read: impl Fn(&Key) -> windows_registry::Result<T>) -> Result<Option<T>> {
    let Some(key) = open(key)? else {
        return Ok(None);
    };
    match read(&key) {
        Ok(value) => Ok(Some(value)),
        Err(error) if [NOT_FOUND, OTHER_TYPE, OTHER_SIZE].contains(&error.code().0) => Ok(None),
        Err(error) => Err(refused("RegQueryValueExW", &error)),
    }
}

fn refused(call: &'static str, error: &windows_result::Error) -> Error {
    let code = Code::HResult(error.code().0.cast_unsigned());
    Error::Refused { call, code }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r"SOFTWARE\winuser-tests";

    #[test]
    fn values_are_read_by_type_and_keys_removed_whole() {
        let key = LOCAL_MACHINE.create(KEY).unwrap();
        key.set_u32("number", 7).unwrap();
        key.set_string("text", "seven").unwrap();
        key.set_multi_string("texts", &["a", "b"]).unwrap();
        key.create(r"one\two").unwrap();
        assert_eq!(number(KEY, "number"), Ok(Some(7)));
        assert_eq!(text(KEY, "text"), Ok(Some("seven".to_owned())));
        let both = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(texts(KEY, "texts"), Ok(Some(both)));
        assert_eq!(number(KEY, "text"), Ok(None));
        assert_eq!(text(KEY, "missing"), Ok(None));
        assert_eq!(subkeys(KEY), Ok(vec!["one".to_owned()]));
        drop(key);
        remove(KEY).unwrap();
        assert_eq!(exists(KEY), Ok(false));
        remove(KEY).unwrap();
        assert_eq!(number(KEY, "number"), Ok(None));
    }
}
