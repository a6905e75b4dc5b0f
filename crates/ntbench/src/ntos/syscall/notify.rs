//! `NtNotifyChangeDirectoryFile` and `NtNotifyChangeDirectoryFileEx`.

use std::sync::Arc;

use super::super::file::File;
use super::buffers::{Lent, taken, user};
use super::io::{Done, send};
use crate::abi::io::{
    IRP_MJ_DIRECTORY_CONTROL, IRP_MN_NOTIFY_CHANGE_DIRECTORY, IRP_MN_NOTIFY_CHANGE_DIRECTORY_EX,
    SL_WATCH_TREE,
};
use crate::abi::params::{NotifyDirectory, NotifyDirectoryEx, Parameters};
use crate::fltmgr::Request;
use crate::namespace::watch::CHANGE_ANY;
use crate::status::NtStatus;

/// `DirectoryNotifyExtendedInformation`.
const EXTENDED_INFORMATION: u32 = 2;

/// Asks what changes.
pub(super) fn notify(
    file: &Arc<File>,
    filter: u32,
    length: u32,
    (tree, extended): (bool, bool),
) -> Done {
    if filter == 0 || filter & !CHANGE_ANY != 0 {
        return Err(NtStatus::INVALID_PARAMETER);
    }
    let pages = user(length as usize)?;
    let lent = Lent::of(file, pages.as_ref(), length, true)?;
    let (minor, parameters) = if extended {
        let arm = NotifyDirectoryEx {
            length,
            pad0: 0,
            filter,
            pad1: 0,
            class: EXTENDED_INFORMATION,
            pad2: 0,
            spare: 0,
            buffer: lent.buffer,
            mdl: lent.mdl,
        };
        (IRP_MN_NOTIFY_CHANGE_DIRECTORY_EX, Parameters::of(arm))
    } else {
        let arm = NotifyDirectory {
            length,
            pad0: 0,
            filter,
            pad1: 0,
            spare: [0; 2],
            buffer: lent.buffer,
            mdl: lent.mdl,
        };
        (IRP_MN_NOTIFY_CHANGE_DIRECTORY, Parameters::of(arm))
    };
    let request = Request {
        minor,
        flags: if tree { SL_WATCH_TREE } else { 0 },
        ..Request::new(IRP_MJ_DIRECTORY_CONTROL, parameters)
    };
    let block = send(file, lent.request(request));
    lent.settle(block, pages.as_ref());
    Ok((block, taken(pages.as_ref(), block, length)))
}
