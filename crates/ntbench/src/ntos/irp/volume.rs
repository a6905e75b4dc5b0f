//! Packets that drivers send to a volume's device: they go to the filters from the top, as through the Filter Manager's own
//! device object (`FltGetDeviceObject`, `IoGetRelatedDeviceObject`).

use std::sync::Arc;

use super::{Packet, complete, send};
use crate::abi::flt::{FLTFL_CALLBACK_DATA_SYSTEM_BUFFER, IoParameterBlock, USER_MODE};
use crate::abi::io::{
    IRP_MJ_CLEANUP, IRP_MJ_CLOSE, IRP_MJ_CREATE, IRP_MJ_INTERNAL_DEVICE_CONTROL, IoStatusBlock,
};
use crate::abi::params::Parameters;
use crate::fltmgr::{self, Request, Volume};
use crate::ntos::object::{self, Kind};
use crate::status::NtStatus;
use crate::verifier;

/// Does what a packet says, and completes it.
pub(super) fn dispatch(volume: &Arc<Volume>, packet: Packet) -> NtStatus {
    let done = operation(volume, packet);
    packet.set_status(done);
    complete::IofCompleteRequest(packet.0, 0);
    done.status
}

fn operation(volume: &Arc<Volume>, packet: Packet) -> IoStatusBlock {
    let irp = packet.read();
    let location = packet.location(irp.current_location);
    if matches!(
        location.major,
        IRP_MJ_CREATE | IRP_MJ_CLEANUP | IRP_MJ_CLOSE
    ) {
        verifier::finding(
            "refused",
            format!(
                "an {} of a driver's own is sent to {}; the bench opens and closes files by their handles and references \
                 alone",
                crate::abi::io::major_name(location.major),
                volume.name
            ),
        );
        return IoStatusBlock::new(NtStatus::NOT_SUPPORTED, 0);
    }
    // A control without a file is the disk's, which answers none.
    let to_disk = volume.disk == Some(location.device_object);
    let file = object::at(location.file_object).filter(|_| !to_disk);
    let Some(Kind::File(file)) = file else {
        let internal = location.major == IRP_MJ_INTERNAL_DEVICE_CONTROL;
        let status = if send::is_control(location.major) || internal {
            NtStatus::INVALID_DEVICE_REQUEST
        } else {
            NtStatus::INVALID_PARAMETER
        };
        return IoStatusBlock::new(status, 0);
    };
    let [a, b, c, d] = location.parameters;
    let mut block = IoParameterBlock {
        irp_flags: irp.flags,
        major_function: location.major,
        minor_function: location.minor,
        operation_flags: location.flags,
        reserved: 0,
        target_file_object: std::ptr::null_mut(),
        target_instance: std::ptr::null_mut(),
        parameters: Parameters([a, b, c, d, 0, 0]),
    };
    let mut system = false;
    if let Some(slots) = fltmgr::slots(&block) {
        system = slots.mdl.is_none();
        let buffer = if system {
            irp.system_buffer
        } else {
            irp.user_buffer
        };
        block.parameters.0[slots.buffer] = buffer as u64;
        if let Some(list) = slots.mdl {
            block.parameters.0[list] = irp.mdl_address as u64;
        }
        if send::is_control(location.major) && !system && c & 3 != 3 {
            block.parameters.0[3] = irp.system_buffer as u64;
        }
    }
    fltmgr::send(
        &file,
        &Request {
            minor: block.minor_function,
            flags: block.operation_flags,
            irp_flags: block.irp_flags,
            data_flags: if system {
                FLTFL_CALLBACK_DATA_SYSTEM_BUFFER
            } else {
                0
            },
            user: irp.requestor_mode == USER_MODE,
            ..Request::new(block.major_function, block.parameters)
        },
    )
}
