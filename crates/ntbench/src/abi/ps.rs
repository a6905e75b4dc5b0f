//! What process and image routines are given.

use super::{
    base::{ClientId, UnicodeString},
    layout,
};
use crate::status::NtStatus;

/// `PS_CREATE_NOTIFY_INFO`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct CreateNotifyInfo {
    pub(crate) size: u64,
    pub(crate) flags: u32,
    pub(crate) parent: u64,
    pub(crate) creator: ClientId,
    pub(crate) file_object: usize,
    pub(crate) image_file_name: usize,
    pub(crate) command_line: usize,
    pub(crate) creation_status: NtStatus,
}
layout!(CreateNotifyInfo, 72, flags @ 8, parent @ 16, creator @ 24, file_object @ 40, image_file_name @ 48, command_line @ 56, creation_status @ 64);

impl CreateNotifyInfo {
    /// `FileOpenNameAvailable`.
    pub(crate) const FILE_OPEN_NAME_AVAILABLE: u32 = 1;
}

/// `IMAGE_INFO_EX`, with the `IMAGE_INFO` in it.
#[repr(C)]
pub(crate) struct ImageInfoEx {
    pub(crate) size: u64,
    pub(crate) properties: u32,
    pub(crate) image_base: usize,
    pub(crate) selector: u32,
    pub(crate) image_size: usize,
    pub(crate) section_number: u32,
    pub(crate) file_object: usize,
}
layout!(ImageInfoEx, 56, properties @ 8, image_base @ 16, selector @ 24, image_size @ 32, section_number @ 40, file_object @ 48);

impl ImageInfoEx {
    /// Where the `IMAGE_INFO` begins.
    pub(crate) const INFO: usize = 8;
}

/// `OB_CALLBACK_REGISTRATION`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ObjectRegistration {
    pub(crate) version: u16,
    pub(crate) count: u16,
    pub(crate) altitude: UnicodeString,
    pub(crate) context: u64,
    pub(crate) operations: usize,
}
layout!(ObjectRegistration, 40, count @ 2, altitude @ 8, context @ 24, operations @ 32);

/// `OB_OPERATION_REGISTRATION`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct OperationRegistration {
    pub(crate) object_type: usize,
    pub(crate) operations: u32,
    pub(crate) before: usize,
    pub(crate) after: usize,
}
layout!(OperationRegistration, 32, operations @ 8, before @ 16, after @ 24);

/// `OB_PRE_OPERATION_INFORMATION` and `OB_POST_OPERATION_INFORMATION`: they differ in what comes last, which is the parameters
/// for the one, and status and parameters for the other.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct HandleInformation {
    pub(crate) operation: u32,
    pub(crate) flags: u32,
    pub(crate) object: usize,
    pub(crate) object_type: usize,
    pub(crate) call_context: usize,
    pub(crate) last: [usize; 2],
}
layout!(HandleInformation, 48, flags @ 4, object @ 8, object_type @ 16, call_context @ 24, last @ 32);
