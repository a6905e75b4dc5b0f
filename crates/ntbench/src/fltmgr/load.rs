//! `FltLoadFilter` and `FltUnloadFilter`: a filter that has another one loaded, which it depends on.
//!
//! What can be loaded is what is installed: the services whose drivers were loaded before, and those that the machine was given
//! without being told to start them.

use crate::abi::base::UnicodeString;
use crate::machine::{self, Load};
use crate::ntos::memory::Guest;
use crate::ntos::{driver, irql};
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;
use crate::verifier;

use super::objects::{self, FilterState};
use crate::faults;

fn load(name: &str) -> NtStatus {
    match machine::load_installed(name) {
        Load::Unknown => NtStatus::OBJECT_NAME_NOT_FOUND,
        Load::Already => NtStatus::IMAGE_ALREADY_LOADED,
        Load::Unloading => NtStatus::DRIVER_FAILED_PRIOR_UNLOAD,
        Load::Entered(status) if status.is_success() => status,
        Load::Entered(_) => NtStatus::FAILED_DRIVER_ENTRY,
    }
}

fn unload(name: &str) -> NtStatus {
    let named =
        |filter: &std::sync::Arc<objects::Filter>| filter.service.eq_ignore_ascii_case(name);
    let Some(filter) = objects::filters().into_iter().find(named) else {
        return NtStatus::FLT_FILTER_NOT_FOUND;
    };
    let state = *filter
        .state
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if state == FilterState::Unregistered {
        return NtStatus::FLT_DELETING_OBJECT;
    }
    if driver::calling().is_some_and(|caller| caller.service.eq_ignore_ascii_case(name)) {
        verifier::finding(
            "filter-unloads-itself",
            format!(
                "{name} calls FltUnloadFilter for itself: its code would be gone when the call returns"
            ),
        );
        return NtStatus::FLT_DO_NOT_DETACH;
    }
    machine::unload_filter(name)
}

exports! { "fltmgr.sys";
    /// Loads the filter of a service.
    partial "of services whose drivers were loaded before, or that the machine was given to install; ImagePath is not read"
    fn FltLoadFilter(name: Guest<UnicodeString>) -> NtStatus {
        irql::at_most("FltLoadFilter", PASSIVE_LEVEL);
        match faults::check("FltLoadFilter") {
            Some(status) => status,
            None => load(&name.text()),
        }
    }

    /// Unloads it again, if its unload callback lets it.
    fn FltUnloadFilter(name: Guest<UnicodeString>) -> NtStatus {
        irql::at_most("FltUnloadFilter", PASSIVE_LEVEL);
        match faults::check("FltUnloadFilter") {
            Some(status) => status,
            None => unload(&name.text()),
        }
    }
}
