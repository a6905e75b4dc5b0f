//! The functions of `FLTMGR.SYS`, bound without an import library.
#![allow(non_snake_case, reason = "the names are the header's")]

use wdk_sys::{
    ACCESS_MASK, BOOLEAN, FILE_INFORMATION_CLASS, FILE_OBJECT, GUID, HANDLE, IO_STATUS_BLOCK,
    LARGE_INTEGER, NTSTATUS, OBJECT_ATTRIBUTES, PDRIVER_OBJECT, PECP_LIST, PVOID,
};

use crate::types::{
    FLT_CALLBACK_DATA, FLT_FILE_NAME_INFORMATION, FLT_REGISTRATION, IO_DRIVER_CREATE_CONTEXT,
    PFLT_FILTER, PFLT_INSTANCE, PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK,
};

// "+verbatim" because the image is named FLTMGR.SYS, not FLTMGR.SYS.dll.
#[link(name = "FLTMGR.SYS", kind = "raw-dylib", modifiers = "+verbatim")]
unsafe extern "C" {
    /// Registers a minifilter. PASSIVE_LEVEL.
    pub fn FltRegisterFilter(
        Driver: PDRIVER_OBJECT,
        Registration: *const FLT_REGISTRATION,
        RetFilter: *mut PFLT_FILTER,
    ) -> NTSTATUS;
    /// Lets a registered minifilter attach to volumes and see operations. <= APC_LEVEL.
    pub fn FltStartFiltering(Filter: PFLT_FILTER) -> NTSTATUS;
    /// Unregisters a minifilter: waits until no callback runs and all references are gone. PASSIVE_LEVEL.
    pub fn FltUnregisterFilter(Filter: PFLT_FILTER);

    /// A file's name; it is reference-counted. <= APC_LEVEL.
    pub fn FltGetFileNameInformation(
        CallbackData: *mut FLT_CALLBACK_DATA,
        NameOptions: u32,
        FileNameInformation: *mut *mut FLT_FILE_NAME_INFORMATION,
    ) -> NTSTATUS;
    /// Releases a name. <= APC_LEVEL.
    pub fn FltReleaseFileNameInformation(FileNameInformation: *mut FLT_FILE_NAME_INFORMATION);

    /// Opens a file: below `Instance`, or from the top of the volume's stack where that is NULL. PASSIVE_LEVEL, with
    /// normal kernel APCs enabled.
    pub fn FltCreateFileEx2(
        Filter: PFLT_FILTER,
        Instance: PFLT_INSTANCE,
        FileHandle: *mut HANDLE,
        FileObject: *mut *mut FILE_OBJECT,
        DesiredAccess: ACCESS_MASK,
        ObjectAttributes: *mut OBJECT_ATTRIBUTES,
        IoStatusBlock: *mut IO_STATUS_BLOCK,
        AllocationSize: *mut LARGE_INTEGER,
        FileAttributes: u32,
        ShareAccess: u32,
        CreateDisposition: u32,
        CreateOptions: u32,
        EaBuffer: PVOID,
        EaLength: u32,
        Flags: u32,
        DriverContext: *mut IO_DRIVER_CREATE_CONTEXT,
    ) -> NTSTATUS;
    /// Closes a handle. PASSIVE_LEVEL.
    pub fn FltClose(FileHandle: HANDLE) -> NTSTATUS;
    /// Asks the instances below `Instance` for information about a file. PASSIVE_LEVEL.
    pub fn FltQueryInformationFile(
        Instance: PFLT_INSTANCE,
        FileObject: *mut FILE_OBJECT,
        FileInformation: PVOID,
        Length: u32,
        FileInformationClass: FILE_INFORMATION_CLASS,
        LengthReturned: *mut u32,
    ) -> NTSTATUS;

    /// Allocates a list of extra create parameters. <= APC_LEVEL.
    pub fn FltAllocateExtraCreateParameterList(
        Filter: PFLT_FILTER,
        Flags: u32,
        EcpList: *mut PECP_LIST,
    ) -> NTSTATUS;
    /// Frees a list and the parameters in it. <= APC_LEVEL.
    pub fn FltFreeExtraCreateParameterList(Filter: PFLT_FILTER, EcpList: PECP_LIST);
    /// Allocates one parameter. <= APC_LEVEL.
    pub fn FltAllocateExtraCreateParameter(
        Filter: PFLT_FILTER,
        EcpType: *const GUID,
        SizeOfContext: u32,
        Flags: u32,
        CleanupCallback: PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK,
        PoolTag: u32,
        EcpContext: *mut PVOID,
    ) -> NTSTATUS;
    /// Frees one parameter that is in no list. <= APC_LEVEL.
    pub fn FltFreeExtraCreateParameter(Filter: PFLT_FILTER, EcpContext: PVOID);
    /// Puts a parameter into a list, which owns it from then on. <= APC_LEVEL.
    pub fn FltInsertExtraCreateParameter(
        Filter: PFLT_FILTER,
        EcpList: PECP_LIST,
        EcpContext: PVOID,
    ) -> NTSTATUS;
    /// The list that came with a create, or NULL. <= APC_LEVEL.
    pub fn FltGetEcpListFromCallbackData(
        Filter: PFLT_FILTER,
        CallbackData: *mut FLT_CALLBACK_DATA,
        EcpList: *mut PECP_LIST,
    ) -> NTSTATUS;
    /// Looks for a parameter of a type. <= APC_LEVEL.
    pub fn FltFindExtraCreateParameter(
        Filter: PFLT_FILTER,
        EcpList: PECP_LIST,
        EcpType: *const GUID,
        EcpContext: *mut PVOID,
        EcpContextSize: *mut u32,
    ) -> NTSTATUS;
    /// Whether a parameter came from user mode. <= APC_LEVEL.
    pub fn FltIsEcpFromUserMode(Filter: PFLT_FILTER, EcpContext: PVOID) -> BOOLEAN;
    /// Marks a parameter as used. <= APC_LEVEL.
    pub fn FltAcknowledgeEcp(Filter: PFLT_FILTER, EcpContext: PVOID);
}
