//! The structures and callbacks of `fltKernel.h`. Names and order of the members are those of the documentation.
#![allow(
    non_snake_case,
    non_camel_case_types,
    missing_docs,
    reason = "the names are the header's, and its documentation is where the members are explained"
)]

use core::ffi::c_void;

use wdk_sys::{
    ACCESS_MASK, FILE_OBJECT, IO_STATUS_BLOCK, KPROCESSOR_MODE, LARGE_INTEGER, NTSTATUS, PECP_LIST,
    PETHREAD, PVOID, UNICODE_STRING,
};

use crate::constants::{
    FLT_CONTEXT_TYPE, FLT_FILESYSTEM_TYPE, FLT_POSTOP_CALLBACK_STATUS, FLT_PREOP_CALLBACK_STATUS,
};

/// Declares a structure that only the Filter Manager looks into, and the handle to it.
macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident, $pointer:ident;)*) => {$(
        $(#[$doc])*
        #[repr(C)]
        pub struct $name {
            _opaque: [u8; 0],
        }
        $(#[$doc])*
        pub type $pointer = *mut $name;
    )*};
}

opaque! {
    /// A registered minifilter.
    FLT_FILTER, PFLT_FILTER;
    /// A minifilter's attachment to a volume.
    FLT_INSTANCE, PFLT_INSTANCE;
    /// A volume.
    FLT_VOLUME, PFLT_VOLUME;
    /// A communication port: the server's, or one client's connection.
    FLT_PORT, PFLT_PORT;
    /// A work item for an operation that waits.
    FLT_DEFERRED_IO_WORKITEM, PFLT_DEFERRED_IO_WORKITEM;
    /// A work item of its own.
    FLT_GENERIC_WORKITEM, PFLT_GENERIC_WORKITEM;
}

/// Called before an operation goes down.
pub type PFLT_PRE_OPERATION_CALLBACK = Option<
    unsafe extern "C" fn(
        Data: *mut FLT_CALLBACK_DATA,
        FltObjects: *const FLT_RELATED_OBJECTS,
        CompletionContext: *mut PVOID,
    ) -> FLT_PREOP_CALLBACK_STATUS,
>;

/// Called after an operation has come up.
pub type PFLT_POST_OPERATION_CALLBACK = Option<
    unsafe extern "C" fn(
        Data: *mut FLT_CALLBACK_DATA,
        FltObjects: *const FLT_RELATED_OBJECTS,
        CompletionContext: PVOID,
        Flags: u32,
    ) -> FLT_POSTOP_CALLBACK_STATUS,
>;

/// Called before a filter is unloaded.
pub type PFLT_FILTER_UNLOAD_CALLBACK = Option<unsafe extern "C" fn(Flags: u32) -> NTSTATUS>;

/// Called for each volume that a filter may attach to.
pub type PFLT_INSTANCE_SETUP_CALLBACK = Option<
    unsafe extern "C" fn(
        FltObjects: *const FLT_RELATED_OBJECTS,
        Flags: u32,
        VolumeDeviceType: u32,
        VolumeFilesystemType: FLT_FILESYSTEM_TYPE,
    ) -> NTSTATUS,
>;

/// Called when somebody asks that an instance be detached.
pub type PFLT_INSTANCE_QUERY_TEARDOWN_CALLBACK =
    Option<unsafe extern "C" fn(FltObjects: *const FLT_RELATED_OBJECTS, Flags: u32) -> NTSTATUS>;

/// Called when an instance's teardown starts, and when it is complete.
pub type PFLT_INSTANCE_TEARDOWN_CALLBACK =
    Option<unsafe extern "C" fn(FltObjects: *const FLT_RELATED_OBJECTS, Reason: u32)>;

/// Called by the Filter Manager when an ECP of the given type is freed.
pub type PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK =
    Option<unsafe extern "C" fn(EcpContext: PVOID, EcpType: *const wdk_sys::GUID)>;

/// Called on a worker thread with an operation that waits.
pub type PFLT_DEFERRED_IO_WORKITEM_ROUTINE = Option<
    unsafe extern "C" fn(
        FltWorkItem: PFLT_DEFERRED_IO_WORKITEM,
        CallbackData: *mut FLT_CALLBACK_DATA,
        Context: PVOID,
    ),
>;

/// Called on a worker thread.
pub type PFLT_GENERIC_WORKITEM_ROUTINE = Option<
    unsafe extern "C" fn(FltWorkItem: PFLT_GENERIC_WORKITEM, FltObject: PVOID, Context: PVOID),
>;

/// Called when an operation that waits is cancelled.
pub type PFLT_COMPLETE_CANCELED_CALLBACK =
    Option<unsafe extern "C" fn(CallbackData: *mut FLT_CALLBACK_DATA)>;

/// Called when a context goes.
pub type PFLT_CONTEXT_CLEANUP_CALLBACK =
    Option<unsafe extern "C" fn(Context: PVOID, ContextType: FLT_CONTEXT_TYPE)>;

/// Called when a client connects.
pub type PFLT_CONNECT_NOTIFY = Option<
    unsafe extern "C" fn(
        ClientPort: PFLT_PORT,
        ServerPortCookie: PVOID,
        ConnectionContext: PVOID,
        SizeOfContext: u32,
        ConnectionPortCookie: *mut PVOID,
    ) -> NTSTATUS,
>;

/// Called when a client disconnects.
pub type PFLT_DISCONNECT_NOTIFY = Option<unsafe extern "C" fn(ConnectionCookie: PVOID)>;

/// Called with a client's message; both buffers are the client's own memory.
pub type PFLT_MESSAGE_NOTIFY = Option<
    unsafe extern "C" fn(
        PortCookie: PVOID,
        InputBuffer: PVOID,
        InputBufferLength: u32,
        OutputBuffer: PVOID,
        OutputBufferLength: u32,
        ReturnOutputBufferLength: *mut u32,
    ) -> NTSTATUS,
>;

/// One kind of context that a filter uses.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FLT_CONTEXT_REGISTRATION {
    pub ContextType: FLT_CONTEXT_TYPE,
    pub Flags: u16,
    pub ContextCleanupCallback: PFLT_CONTEXT_CLEANUP_CALLBACK,
    pub Size: usize,
    pub PoolTag: u32,
    pub ContextAllocateCallback: *const c_void,
    pub ContextFreeCallback: *const c_void,
    pub Reserved1: PVOID,
}

/// One operation that a filter wants to see.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FLT_OPERATION_REGISTRATION {
    pub MajorFunction: u8,
    pub Flags: u32,
    pub PreOperation: PFLT_PRE_OPERATION_CALLBACK,
    pub PostOperation: PFLT_POST_OPERATION_CALLBACK,
    pub Reserved1: PVOID,
}

/// What a filter registers. Callbacks that no filter here supplies are untyped and stay NULL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FLT_REGISTRATION {
    pub Size: u16,
    pub Version: u16,
    pub Flags: u32,
    pub ContextRegistration: *const FLT_CONTEXT_REGISTRATION,
    pub OperationRegistration: *const FLT_OPERATION_REGISTRATION,
    pub FilterUnloadCallback: PFLT_FILTER_UNLOAD_CALLBACK,
    pub InstanceSetupCallback: PFLT_INSTANCE_SETUP_CALLBACK,
    pub InstanceQueryTeardownCallback: PFLT_INSTANCE_QUERY_TEARDOWN_CALLBACK,
    pub InstanceTeardownStartCallback: PFLT_INSTANCE_TEARDOWN_CALLBACK,
    pub InstanceTeardownCompleteCallback: PFLT_INSTANCE_TEARDOWN_CALLBACK,
    pub GenerateFileNameCallback: *const c_void,
    pub NormalizeNameComponentCallback: *const c_void,
    pub NormalizeContextCleanupCallback: *const c_void,
    pub TransactionNotificationCallback: *const c_void,
    pub NormalizeNameComponentExCallback: *const c_void,
    pub SectionNotificationCallback: *const c_void,
}

/// The objects that a callback is about.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FLT_RELATED_OBJECTS {
    pub Size: u16,
    pub TransactionContext: u16,
    pub Filter: PFLT_FILTER,
    pub Volume: PFLT_VOLUME,
    pub Instance: PFLT_INSTANCE,
    pub FileObject: *mut FILE_OBJECT,
    pub Transaction: PVOID,
}

/// The `Create` arm of [`FLT_PARAMETERS`]; `FileAttributes` and `EaLength` have POINTER_ALIGNMENT.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FLT_PARAMETERS_CREATE {
    pub SecurityContext: *mut IO_SECURITY_CONTEXT,
    pub Options: u32,
    pub _pad_before_file_attributes: u32,
    pub FileAttributes: u16,
    pub ShareAccess: u16,
    pub _pad_before_ea_length: u32,
    pub EaLength: u32,
    pub _pad_before_ea_buffer: u32,
    pub EaBuffer: PVOID,
    pub AllocationSize: LARGE_INTEGER,
}

/// The access that an opener asks for.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IO_SECURITY_CONTEXT {
    pub SecurityQos: PVOID,
    pub AccessState: PVOID,
    pub DesiredAccess: ACCESS_MASK,
    pub FullCreateOptions: u32,
}

/// The `Others` arm of [`FLT_PARAMETERS`]: as large as any.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FLT_PARAMETERS_OTHERS {
    pub Arguments: [PVOID; 5],
    pub Argument6: LARGE_INTEGER,
}

/// The parameters of an operation; which arm holds, the major function says.
#[repr(C)]
#[derive(Clone, Copy)]
pub union FLT_PARAMETERS {
    pub Create: FLT_PARAMETERS_CREATE,
    pub Others: FLT_PARAMETERS_OTHERS,
}

/// The parameters of an operation that a filter may change.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FLT_IO_PARAMETER_BLOCK {
    pub IrpFlags: u32,
    pub MajorFunction: u8,
    pub MinorFunction: u8,
    pub OperationFlags: u8,
    pub Reserved: u8,
    pub TargetFileObject: *mut FILE_OBJECT,
    pub TargetInstance: PFLT_INSTANCE,
    pub Parameters: FLT_PARAMETERS,
}

/// An operation, as callbacks see it.
#[repr(C)]
pub struct FLT_CALLBACK_DATA {
    pub Flags: u32,
    pub Thread: PETHREAD,
    pub Iopb: *mut FLT_IO_PARAMETER_BLOCK,
    pub IoStatus: IO_STATUS_BLOCK,
    pub TagData: PVOID,
    pub FilterContext: [PVOID; 4],
    pub RequestorMode: KPROCESSOR_MODE,
}

/// A file's name and its parts.
#[repr(C)]
pub struct FLT_FILE_NAME_INFORMATION {
    pub Size: u16,
    pub NamesParsed: u16,
    pub Format: u32,
    pub Name: UNICODE_STRING,
    pub Volume: UNICODE_STRING,
    pub Share: UNICODE_STRING,
    pub Extension: UNICODE_STRING,
    pub Stream: UNICODE_STRING,
    pub FinalComponent: UNICODE_STRING,
    pub ParentDir: UNICODE_STRING,
}

/// Extra arguments of `FltCreateFileEx2`, with the member that Windows 10 version 1607 added.
///
/// Not taken from `wdk-sys`: its layout there depends on the age of the headers. The documentation has it initialised by
/// `IoInitializeDriverCreateContext`, which is an inline function: all zero, then `Size`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IO_DRIVER_CREATE_CONTEXT {
    pub Size: i16,
    pub ExtraCreateParameter: PECP_LIST,
    pub DeviceObjectHint: PVOID,
    pub TxnParameters: PVOID,
    pub SiloContext: PVOID,
}
