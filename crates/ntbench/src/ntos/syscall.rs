//! System calls. They run on the calling thread, inside `stack::system_call`.

use crate::status::NtStatus;
use crate::wire::{Completion, CreateFile};

/// `NtCreateFile`.
pub(crate) fn nt_create_file(create: &CreateFile) -> Completion {
    let _ = create;
    Completion {
        status: NtStatus::NOT_IMPLEMENTED,
        information: 0,
        handle: 0,
        attributes: 0,
    }
}

/// `NtQueryAttributesFile`.
pub(crate) fn nt_query_attributes_file(name: &str, root: u64) -> Completion {
    let _ = (name, root);
    Completion {
        status: NtStatus::NOT_IMPLEMENTED,
        information: 0,
        handle: 0,
        attributes: 0,
    }
}

/// `NtClose`.
pub(crate) fn nt_close(handle: u64) -> NtStatus {
    let _ = handle;
    NtStatus::NOT_IMPLEMENTED
}
