//! The kernel's executive, as far as minifilters see it.

use std::sync::Arc;

use crate::export::Export;
use crate::loader::Image;
use crate::status::NtStatus;
use crate::wire::{DriverSpec, MachineConfig, Refusal};

pub(crate) mod syscall;

/// What this module lets drivers import.
pub(crate) fn tables() -> Vec<&'static [Export]> {
    Vec::new()
}

/// Sets the executive up. Runs on the system thread before anything else.
pub(crate) fn boot(config: &MachineConfig) -> Result<(), Refusal> {
    let _ = config;
    Ok(())
}

/// Makes the driver object and the service key and calls `DriverEntry`. Runs on the system thread. Where it fails, the
/// caller unmaps the image.
pub(crate) fn load_driver(image: &Arc<Image>, spec: &DriverSpec) -> NtStatus {
    let _ = spec;
    // SAFETY: the loader checked that the entry point lies in the image's code.
    let status = unsafe { crate::gate::call(image.entry, &[0, 0]) };
    #[allow(
        clippy::cast_possible_truncation,
        reason = "an NTSTATUS is the low half of RAX"
    )]
    NtStatus(status as u32 as i32)
}

/// Unloads the driver of that service; `None`: there is none. After a success the caller unmaps the image.
pub(crate) fn unload_driver(service: &str) -> Option<NtStatus> {
    let _ = service;
    None
}

/// Looks for what is left over; findings go to the verifier. Runs on the system thread, last.
pub(crate) fn shutdown() {}
