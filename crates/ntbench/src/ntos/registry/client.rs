//! What programs do to the registry.

use super::open::Open;
use super::{encode, handles, zw};
use crate::abi::flt::USER_MODE;
use crate::abi::ob::OBJ_CASE_INSENSITIVE;
use crate::ntos::handle;
use crate::ntos::memory::{Guest, OwnedString, wide};
use crate::status::NtStatus;
use crate::wire::{RegistryAct, RegistryCall};

/// `KEY_ALL_ACCESS`.
const ALL_ACCESS: u32 = 0xF_003F;

/// Opens a key, does something to it and closes it.
pub(crate) fn nt_registry(call: &RegistryCall) -> NtStatus {
    let string = |text: &str| {
        let owned = OwnedString::new(&wide(text));
        let string = Box::new(owned.string());
        (owned, string)
    };
    let at = |string: &crate::abi::base::UnicodeString| {
        Guest::at(std::ptr::from_ref(string).expose_provenance())
    };
    let (_key, key) = string(&call.key);
    let mut disposition = 0_u32;
    let disposition = Guest::at((&raw mut disposition).expose_provenance());
    let create = matches!(call.act, RegistryAct::Create | RegistryAct::Set { .. });
    let open = Open {
        name: at(&key),
        root: None,
        access: ALL_ACCESS,
        attributes: OBJ_CASE_INSENSITIVE,
        mode: USER_MODE,
        create: create.then(|| (Guest::at(0), 0, disposition)),
    };
    let opened = match open.run() {
        Ok(opened) => opened,
        Err(status) => return status,
    };
    let status = match handles::of_handle(opened, USER_MODE) {
        Err(status) => status,
        Ok(key) => match &call.act {
            RegistryAct::Open | RegistryAct::Create => NtStatus::SUCCESS,
            RegistryAct::Delete => zw::delete_key(&key),
            RegistryAct::Set { name, value } => {
                let (_name, name) = string(name);
                let (kind, data) = encode(value);
                let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
                let data_at = data.as_ptr().expose_provenance();
                zw::set_value(&key, at(&name), kind, data_at, size)
            }
            RegistryAct::DeleteValue { name } => {
                let (_name, name) = string(name);
                zw::delete_value(&key, at(&name))
            }
            RegistryAct::Query { name } => {
                let (_name, name) = string(name);
                let mut buffer = vec![0_u8; 4096];
                let mut needed = 0_u32;
                let needed = Guest::at((&raw mut needed).expose_provenance());
                let to = Guest::at(buffer.as_mut_ptr().expose_provenance());
                // KeyValuePartialInformation.
                zw::query_value(&key, at(&name), 2, to, 4096, needed)
            }
        },
    };
    handle::close(opened, USER_MODE);
    status
}
