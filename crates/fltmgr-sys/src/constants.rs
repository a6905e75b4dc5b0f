//! The constants of `fltKernel.h` and `fltUserStructures.h`, under their own names.
#![allow(non_camel_case_types, reason = "the names are the header's")]

/// What a pre-operation callback returns (`FLT_PREOP_CALLBACK_STATUS`).
pub type FLT_PREOP_CALLBACK_STATUS = i32;
/// The operation goes on; the post-operation callback is called.
pub const FLT_PREOP_SUCCESS_WITH_CALLBACK: FLT_PREOP_CALLBACK_STATUS = 0;
/// The operation goes on; the post-operation callback is not called.
pub const FLT_PREOP_SUCCESS_NO_CALLBACK: FLT_PREOP_CALLBACK_STATUS = 1;
/// The operation waits until `FltCompletePendedPreOperation`.
pub const FLT_PREOP_PENDING: FLT_PREOP_CALLBACK_STATUS = 2;
/// The filter has completed the operation.
pub const FLT_PREOP_COMPLETE: FLT_PREOP_CALLBACK_STATUS = 4;

/// What a post-operation callback returns (`FLT_POSTOP_CALLBACK_STATUS`).
pub type FLT_POSTOP_CALLBACK_STATUS = i32;
/// The filter has finished with the operation.
pub const FLT_POSTOP_FINISHED_PROCESSING: FLT_POSTOP_CALLBACK_STATUS = 0;

/// The version of `FLT_REGISTRATION` with a section-notification callback: Windows 8 and
/// later.
pub const FLT_REGISTRATION_VERSION_0203: u16 = 0x0203;
/// The major function that ends an array of operation registrations.
pub const IRP_MJ_OPERATION_END: u8 = 0x80;

/// Flag of a post-operation callback: the instance is being torn down, and the operation has not completed.
pub const FLTFL_POST_OPERATION_DRAINING: u32 = 1;
/// Flag of an unload callback: the filter cannot refuse.
pub const FLTFL_FILTER_UNLOAD_MANDATORY: u32 = 1;

/// Flag of an instance's set-up: somebody asked for it.
pub const FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT: u32 = 2;

/// A kind of context (`FLT_CONTEXT_TYPE`).
pub type FLT_CONTEXT_TYPE = u16;
/// The context of an instance.
pub const FLT_INSTANCE_CONTEXT: FLT_CONTEXT_TYPE = 2;
/// The context of one open of a file.
pub const FLT_STREAMHANDLE_CONTEXT: FLT_CONTEXT_TYPE = 0x10;
/// Ends an array of context registrations.
pub const FLT_CONTEXT_END: FLT_CONTEXT_TYPE = 0xFFFF;
/// Set a context only where there is none (`FLT_SET_CONTEXT_OPERATION`).
pub const FLT_SET_CONTEXT_KEEP_IF_EXISTS: i32 = 1;

/// Flag of callback data: the operation is an IRP.
pub const FLTFL_CALLBACK_DATA_IRP_OPERATION: u32 = 1;

/// The right to connect to a communication port, and the standard ones (`FLT_PORT_ALL_ACCESS`).
pub const FLT_PORT_ALL_ACCESS: u32 = 0x001F_0001;

/// Name option: the name as it was opened.
pub const FLT_FILE_NAME_OPENED: u32 = 2;
/// Name option: look in the cache first, then ask the file system where that is safe.
pub const FLT_FILE_NAME_QUERY_DEFAULT: u32 = 0x100;

/// The kind of file system on a volume (`FLT_FILESYSTEM_TYPE`).
pub type FLT_FILESYSTEM_TYPE = i32;
/// The SMB redirector, before it went behind the multiple UNC provider.
pub const FLT_FSTYPE_LANMAN: FLT_FILESYSTEM_TYPE = 6;
/// The WebDAV redirector.
pub const FLT_FSTYPE_WEBDAV: FLT_FILESYSTEM_TYPE = 7;
/// The Remote Desktop device redirector.
pub const FLT_FSTYPE_RDPDR: FLT_FILESYSTEM_TYPE = 8;
/// The NFS redirector.
pub const FLT_FSTYPE_NFS: FLT_FILESYSTEM_TYPE = 9;
/// The multiple UNC provider.
pub const FLT_FSTYPE_MUP: FLT_FILESYSTEM_TYPE = 13;

/// A filter declines to attach to a volume.
pub const STATUS_FLT_DO_NOT_ATTACH: i32 = 0xC01C_000F_u32.cast_signed();
