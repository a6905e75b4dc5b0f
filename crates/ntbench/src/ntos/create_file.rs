//! `IoCreateFile` and its forms: `ZwCreateFile` with flags, for a device further down, with a create context.

use std::sync::Arc;

use super::memory::Guest;
use super::{irql, zw};
use crate::abi::io::IoStatusBlock;
use crate::abi::ob::ObjectAttributes;
use crate::fltmgr::create::{Call, open};
use crate::fltmgr::{self, Instance};
use crate::status::NtStatus;
use crate::thread::PASSIVE_LEVEL;
use crate::{faults, stack};

/// `IO_DRIVER_CREATE_CONTEXT.DeviceObjectHint`.
const HINT: usize = 16;
/// `CreateFileTypeNone`: neither a pipe nor a mailslot.
const TYPE_NONE: u32 = 0;

/// The lowest instance on the volume of a device: a create for that device is seen by no filter.
fn below(hint: usize) -> Result<Option<Arc<Instance>>, NtStatus> {
    if hint == 0 {
        return Ok(None);
    }
    // STATUS_INVALID_DEVICE_OBJECT_PARAMETER: no device of a volume's.
    let volume = fltmgr::volume_of_device(hint).ok_or(NtStatus(0xC000_0369_u32.cast_signed()))?;
    Ok(volume.instances().last().cloned())
}

fn run(call: &Call, kind: u32, hint: usize) -> NtStatus {
    irql::at_most(call.function, PASSIVE_LEVEL);
    irql::apcs_enabled(call.function);
    call.handle.write(0);
    if let Some(status) = faults::check(call.function) {
        return status;
    }
    if kind != TYPE_NONE {
        return NtStatus::NOT_SUPPORTED;
    }
    let context_hint = if call.context == 0 {
        0
    } else {
        Guest::<usize>::at(call.context + HINT).read()
    };
    let below = match below(if hint == 0 { context_hint } else { hint }) {
        Ok(below) => below,
        Err(status) => return status,
    };
    match stack::with_frames(&zw::service_frames(), || open(call, below)) {
        Ok(status) | Err(status) => status,
    }
}

exports! { "ntoskrnl.exe";
    /// Opens or makes a file.
    partial "pipes and mailslots are STATUS_NOT_SUPPORTED"
    fn IoCreateFile(
        handle: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, status: Guest<IoStatusBlock>,
        allocation: Guest<i64>, file_attributes: u32, share: u32, disposition: u32, options: u32, ea: usize,
        ea_length: u32, kind: u32, _extra: usize, flags: u32,
    ) -> NtStatus {
        let call = Call {
            function: "IoCreateFile", filter: 0, instance: 0, handle, file: Guest::at(0), access, attributes, status,
            allocation, file_attributes, share, disposition, options, eas: (ea, ea_length), flags, context: 0,
        };
        run(&call, kind, 0)
    }

    /// The same with a create context: extra create parameters, a device further down, a transaction.
    partial "pipes and mailslots are STATUS_NOT_SUPPORTED"
    fn IoCreateFileEx(
        handle: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, status: Guest<IoStatusBlock>,
        allocation: Guest<i64>, file_attributes: u32, share: u32, disposition: u32, options: u32, ea: usize,
        ea_length: u32, kind: u32, _extra: usize, flags: u32, context: usize,
    ) -> NtStatus {
        let call = Call {
            function: "IoCreateFileEx", filter: 0, instance: 0, handle, file: Guest::at(0), access, attributes, status,
            allocation, file_attributes, share, disposition, options, eas: (ea, ea_length), flags, context,
        };
        run(&call, kind, 0)
    }

    /// The same for a device further down: filters above it see nothing of the create.
    partial "of volumes' devices, which no filter is below: the create alone, filters see what follows; pipes and mailslots are STATUS_NOT_SUPPORTED"
    fn IoCreateFileSpecifyDeviceObjectHint(
        handle: Guest<u64>, access: u32, attributes: Guest<ObjectAttributes>, status: Guest<IoStatusBlock>,
        allocation: Guest<i64>, file_attributes: u32, share: u32, disposition: u32, options: u32, ea: usize,
        ea_length: u32, kind: u32, _extra: usize, flags: u32, device: usize,
    ) -> NtStatus {
        let call = Call {
            function: "IoCreateFileSpecifyDeviceObjectHint", filter: 0, instance: 0, handle, file: Guest::at(0), access,
            attributes, status, allocation, file_attributes, share, disposition, options, eas: (ea, ea_length), flags, context: 0,
        };
        run(&call, kind, device)
    }
}
