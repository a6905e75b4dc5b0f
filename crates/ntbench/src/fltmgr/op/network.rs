//! `IRP_MJ_NETWORK_QUERY_OPEN`: a question for a file's attributes by its name, without an open file.

use super::query::facts;
use super::{Answer, mount};
use crate::abi::file::{
    FILE_OPEN, FILE_OPEN_REPARSE_POINT, FILE_READ_ATTRIBUTES, FILE_SHARE_DELETE, FILE_SHARE_READ,
    FILE_SHARE_WRITE,
};
use crate::abi::flt::IoParameterBlock;
use crate::abi::params::NetworkQueryOpen;
use crate::fltmgr::flight::Flight;
use crate::namespace::open::Request;
use crate::namespace::{DeviceId, Outcome};
use crate::ntos::MACHINE;
use crate::ntos::memory::Guest;
use crate::status::NtStatus;

/// Opens a file, tells of it and closes it, in one. What does not go well is left to the create
/// that comes then.
pub(super) fn query(flight: &Flight, block: &IoParameterBlock) -> Answer {
    let arm: NetworkQueryOpen = block.parameters.get();
    let file = &flight.operation.file;
    if file.volume.device == DeviceId::Mup {
        // MUP and the redirector have no such fast I/O: what they do for the question is the create that comes then.
        return Err(NtStatus::FLT_DISALLOW_FAST_IO);
    }
    let machine = MACHINE.get().ok_or(NtStatus::DEVICE_NOT_READY)?;
    mount::may_open(file)?;
    let request = Request {
        access: FILE_READ_ATTRIBUTES,
        share: FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
        disposition: FILE_OPEN,
        options: FILE_OPEN_REPARSE_POINT,
        attributes: 0,
        case_sensitive: false,
        ignore_share_access: false,
        target_directory: false,
        transaction: 0,
    };
    let found = machine
        .namespace
        .create(file.volume.device, &file.full(), &request)?;
    let Outcome::Opened(open, _) = found else {
        return Err(NtStatus::REPARSE);
    };
    Guest::<u8>::at(arm.information).write_many(&facts(&open).network_open().0);
    Ok((NtStatus::SUCCESS, 0))
}
