//! What drivers ask in their registry callbacks of the key's object: which key it is, by what name, and what they keep with it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{callback, full_name, handles};
use crate::abi::base::UnicodeString;
use crate::ntos::memory::{Guest, wide};
use crate::ntos::{irql, pool};
use crate::status::NtStatus;
use crate::thread::APC_LEVEL;

const TAG: u32 = u32::from_le_bytes(*b"CMcb");

/// Names that were lent to drivers for as long as a key object is there, by the object.
static LENT: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());

/// A key's object goes, and the name that was lent with it.
pub(super) fn gone(object: usize) {
    let lent = LENT
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&object);
    if let Some(block) = lent {
        pool::free(block, None);
    }
}

/// The name of a key object as a string in pool.
fn name_in(object: usize, pool: impl FnOnce(usize) -> Option<usize>) -> Result<usize, NtStatus> {
    let key = handles::of_object(object).ok_or(NtStatus::INVALID_PARAMETER)?;
    let name = wide(&full_name(&key.path));
    let header = size_of::<UnicodeString>();
    let block = pool(header + name.len() * 2).ok_or(NtStatus::INSUFFICIENT_RESOURCES)?;
    let text = Guest::<u16>::at(block + header);
    text.write_many(&name);
    let length = u16::try_from(name.len() * 2).unwrap_or(u16::MAX - 1);
    Guest::at(block).write(UnicodeString {
        length,
        maximum_length: length,
        buffer: text.0,
    });
    Ok(block)
}

fn key_identity(call: &str, cookie: Guest<i64>, object: usize, id: Guest<u64>) -> NtStatus {
    irql::at_most(call, APC_LEVEL);
    let cookie = cookie.read();
    if !callback::is_registered(cookie) {
        return NtStatus::INVALID_PARAMETER;
    }
    let Some(key) = handles::of_object(object) else {
        return NtStatus::INVALID_PARAMETER;
    };
    id.write_opt(key.id());
    NtStatus::SUCCESS
}

exports! { "ntoskrnl.exe";
    /// A key object's identity and name; the name is there as long as the object.
    fn CmCallbackGetKeyObjectID(cookie: Guest<i64>, object: usize, id: Guest<u64>, name: Guest<usize>) -> NtStatus {
        let status = key_identity("CmCallbackGetKeyObjectID", cookie, object, id);
        if !status.is_success() || name.is_null() {
            return status;
        }
        let mut lent = LENT.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lent.get(&object).copied().map_or_else(|| name_in(object, |size| pool::lend(size, TAG, true)), Ok);
        match known {
            Ok(block) => {
                lent.insert(object, block);
                name.write(block);
                status
            }
            Err(status) => status,
        }
    }

    /// The same; the name is the caller's, who frees it with `CmCallbackReleaseKeyObjectIDEx`.
    fn CmCallbackGetKeyObjectIDEx(
        cookie: Guest<i64>, object: usize, id: Guest<u64>, name: Guest<usize>, flags: u32,
    ) -> NtStatus {
        if flags != 0 {
            return NtStatus::INVALID_PARAMETER;
        }
        let status = key_identity("CmCallbackGetKeyObjectIDEx", cookie, object, id);
        if !status.is_success() || name.is_null() {
            return status;
        }
        match name_in(object, |size| pool::allocate(size, TAG, pool::Kind::Paged, true)) {
            Ok(block) => {
                name.write(block);
                status
            }
            Err(status) => status,
        }
    }

    /// Frees such a name.
    fn CmCallbackReleaseKeyObjectIDEx(name: usize) {
        irql::at_most("CmCallbackReleaseKeyObjectIDEx", APC_LEVEL);
        pool::free(name, Some(TAG));
    }

    /// Keeps a pointer of the driver's with an open key; gives the former one.
    fn CmSetCallbackObjectContext(object: usize, cookie: Guest<i64>, context: u64, old: Guest<u64>) -> NtStatus {
        irql::at_most("CmSetCallbackObjectContext", APC_LEVEL);
        let cookie = cookie.read();
        if handles::of_object(object).is_none() || !callback::is_registered(cookie) {
            return NtStatus::INVALID_PARAMETER;
        }
        old.write_opt(callback::keep(object, cookie, context));
        NtStatus::SUCCESS
    }
}
