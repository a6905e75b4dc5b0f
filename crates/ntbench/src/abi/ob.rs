//! What the object manager takes: attributes of a name to open.

use super::{
    base::{Ptr, UnicodeString},
    layout,
};

/// `OBJECT_ATTRIBUTES`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectAttributes {
    pub(crate) length: u32,
    pub(crate) root_directory: Ptr,
    pub(crate) object_name: *mut UnicodeString,
    pub(crate) attributes: u32,
    pub(crate) security_descriptor: Ptr,
    pub(crate) security_quality_of_service: Ptr,
}
layout!(ObjectAttributes, 48, root_directory @ 8, object_name @ 16, attributes @ 24, security_descriptor @ 32);

/// `OBJ_CASE_INSENSITIVE`.
pub(crate) const OBJ_CASE_INSENSITIVE: u32 = 0x40;
/// `OBJ_KERNEL_HANDLE`: the handle is good in every process, and only in kernel mode.
pub(crate) const OBJ_KERNEL_HANDLE: u32 = 0x200;
/// `OBJ_DONT_REPARSE` is `0x1000`; with it every bit that a caller may set is below.
pub(crate) const OBJ_VALID_ATTRIBUTES: u32 = 0x1FF2;
