//! The functions of `FLTMGR.SYS`, bound without an import library.
#![allow(non_snake_case, reason = "the names are the header's")]

use wdk_sys::{
    ACCESS_MASK, BOOLEAN, FILE_INFORMATION_CLASS, FILE_OBJECT, GUID, HANDLE, IO_STATUS_BLOCK,
    LARGE_INTEGER, NTSTATUS, OBJECT_ATTRIBUTES, PDRIVER_OBJECT, PECP_LIST, PEPROCESS, POOL_TYPE,
    PSECURITY_DESCRIPTOR, PVOID, UNICODE_STRING, WORK_QUEUE_TYPE,
};

use crate::{
    constants::{FLT_CONTEXT_TYPE, FLT_PREOP_CALLBACK_STATUS},
    types::{
        FLT_CALLBACK_DATA, FLT_FILE_NAME_INFORMATION, FLT_REGISTRATION, IO_DRIVER_CREATE_CONTEXT,
        PFLT_COMPLETE_CANCELED_CALLBACK, PFLT_CONNECT_NOTIFY, PFLT_DEFERRED_IO_WORKITEM,
        PFLT_DEFERRED_IO_WORKITEM_ROUTINE, PFLT_DISCONNECT_NOTIFY, PFLT_FILTER,
        PFLT_GENERIC_WORKITEM, PFLT_GENERIC_WORKITEM_ROUTINE, PFLT_INSTANCE, PFLT_MESSAGE_NOTIFY,
        PFLT_PORT, PFLT_VOLUME, PFSRTL_EXTRA_CREATE_PARAMETER_CLEANUP_CALLBACK,
    },
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

    /// Lets an operation go on that a pre-operation callback pended. <= DISPATCH_LEVEL.
    pub fn FltCompletePendedPreOperation(
        CallbackData: *mut FLT_CALLBACK_DATA,
        CallbackStatus: FLT_PREOP_CALLBACK_STATUS,
        Context: PVOID,
    );
    /// Allocates a work item for an operation. <= DISPATCH_LEVEL.
    pub fn FltAllocateDeferredIoWorkItem() -> PFLT_DEFERRED_IO_WORKITEM;
    /// Frees one. <= DISPATCH_LEVEL.
    pub fn FltFreeDeferredIoWorkItem(FltWorkItem: PFLT_DEFERRED_IO_WORKITEM);
    /// Has a worker thread process an operation; refused where that is not safe. <= APC_LEVEL.
    pub fn FltQueueDeferredIoWorkItem(
        FltWorkItem: PFLT_DEFERRED_IO_WORKITEM,
        Data: *mut FLT_CALLBACK_DATA,
        WorkerRoutine: PFLT_DEFERRED_IO_WORKITEM_ROUTINE,
        QueueType: WORK_QUEUE_TYPE,
        Context: PVOID,
    ) -> NTSTATUS;
    /// Says what is called when a pended operation is cancelled. <= DISPATCH_LEVEL.
    pub fn FltSetCancelCompletion(
        CallbackData: *mut FLT_CALLBACK_DATA,
        CanceledCallback: PFLT_COMPLETE_CANCELED_CALLBACK,
    ) -> NTSTATUS;
    /// Takes that back; STATUS_CANCELLED where it is too late. Any IRQL.
    pub fn FltClearCancelCompletion(CallbackData: *mut FLT_CALLBACK_DATA) -> NTSTATUS;
    /// The process that asked for an operation, or NULL. <= DISPATCH_LEVEL.
    pub fn FltGetRequestorProcess(CallbackData: *mut FLT_CALLBACK_DATA) -> PEPROCESS;

    /// Allocates a work item. <= DISPATCH_LEVEL.
    pub fn FltAllocateGenericWorkItem() -> PFLT_GENERIC_WORKITEM;
    /// Frees one. <= DISPATCH_LEVEL.
    pub fn FltFreeGenericWorkItem(FltWorkItem: PFLT_GENERIC_WORKITEM);
    /// Has a worker thread call a routine; the filter or instance stays meanwhile. <= DISPATCH_LEVEL.
    pub fn FltQueueGenericWorkItem(
        FltWorkItem: PFLT_GENERIC_WORKITEM,
        FltObject: PVOID,
        WorkerRoutine: PFLT_GENERIC_WORKITEM_ROUTINE,
        QueueType: WORK_QUEUE_TYPE,
        Context: PVOID,
    ) -> NTSTATUS;

    /// Allocates a context with one reference. <= DISPATCH_LEVEL for non-paged ones.
    pub fn FltAllocateContext(
        Filter: PFLT_FILTER,
        ContextType: FLT_CONTEXT_TYPE,
        ContextSize: usize,
        PoolType: POOL_TYPE,
        ReturnedContext: *mut PVOID,
    ) -> NTSTATUS;
    /// Gives a reference to a context back. <= DISPATCH_LEVEL.
    pub fn FltReleaseContext(Context: PVOID);
    /// Ties a context to an instance. <= APC_LEVEL.
    pub fn FltSetInstanceContext(
        Instance: PFLT_INSTANCE,
        Operation: i32,
        NewContext: PVOID,
        OldContext: *mut PVOID,
    ) -> NTSTATUS;
    /// The context of an instance, with a reference. <= APC_LEVEL.
    pub fn FltGetInstanceContext(Instance: PFLT_INSTANCE, Context: *mut PVOID) -> NTSTATUS;

    /// A security descriptor that lets administrators and the system in. PASSIVE_LEVEL.
    pub fn FltBuildDefaultSecurityDescriptor(
        SecurityDescriptor: *mut PSECURITY_DESCRIPTOR,
        DesiredAccess: ACCESS_MASK,
    ) -> NTSTATUS;
    /// Frees it. PASSIVE_LEVEL.
    pub fn FltFreeSecurityDescriptor(SecurityDescriptor: PSECURITY_DESCRIPTOR);
    /// Makes a communication server port. PASSIVE_LEVEL.
    pub fn FltCreateCommunicationPort(
        Filter: PFLT_FILTER,
        ServerPort: *mut PFLT_PORT,
        ObjectAttributes: *mut OBJECT_ATTRIBUTES,
        ServerPortCookie: PVOID,
        ConnectNotifyCallback: PFLT_CONNECT_NOTIFY,
        DisconnectNotifyCallback: PFLT_DISCONNECT_NOTIFY,
        MessageNotifyCallback: PFLT_MESSAGE_NOTIFY,
        MaxConnections: i32,
    ) -> NTSTATUS;
    /// Closes it: no new client connects. PASSIVE_LEVEL.
    pub fn FltCloseCommunicationPort(ServerPort: PFLT_PORT);
    /// Closes a client's connection and sets the pointer to NULL. PASSIVE_LEVEL.
    pub fn FltCloseClientPort(Filter: PFLT_FILTER, ClientPort: *mut PFLT_PORT);
    /// Sends a message to a client that waits for one. <= APC_LEVEL.
    pub fn FltSendMessage(
        Filter: PFLT_FILTER,
        ClientPort: *mut PFLT_PORT,
        SenderBuffer: PVOID,
        SenderBufferLength: u32,
        ReplyBuffer: PVOID,
        ReplyLength: *mut u32,
        Timeout: *mut LARGE_INTEGER,
    ) -> NTSTATUS;

    /// Looks a volume up by its name; it is referenced. PASSIVE_LEVEL.
    pub fn FltGetVolumeFromName(
        Filter: PFLT_FILTER,
        VolumeName: *const UNICODE_STRING,
        RetVolume: *mut PFLT_VOLUME,
    ) -> NTSTATUS;
    /// Gives a reference back. <= APC_LEVEL.
    pub fn FltObjectDereference(FltObject: PVOID);
    /// Makes an instance on a volume. PASSIVE_LEVEL.
    pub fn FltAttachVolume(
        Filter: PFLT_FILTER,
        Volume: PFLT_VOLUME,
        InstanceName: *const UNICODE_STRING,
        RetInstance: *mut PFLT_INSTANCE,
    ) -> NTSTATUS;
    /// Takes an instance off a volume. PASSIVE_LEVEL.
    pub fn FltDetachVolume(
        Filter: PFLT_FILTER,
        Volume: PFLT_VOLUME,
        InstanceName: *const UNICODE_STRING,
    ) -> NTSTATUS;
    /// Lists instances; each is referenced. <= APC_LEVEL.
    pub fn FltEnumerateInstances(
        Volume: PFLT_VOLUME,
        Filter: PFLT_FILTER,
        InstanceList: *mut PFLT_INSTANCE,
        InstanceListSize: u32,
        NumberInstancesReturned: *mut u32,
    ) -> NTSTATUS;
    /// The file system of an instance's or a volume's volume. <= APC_LEVEL.
    pub fn FltGetFileSystemType(FltObject: PVOID, FileSystemType: *mut i32) -> NTSTATUS;
    /// Describes an instance. <= APC_LEVEL.
    pub fn FltGetInstanceInformation(
        Instance: PFLT_INSTANCE,
        InformationClass: i32,
        Buffer: PVOID,
        BufferSize: u32,
        BytesReturned: *mut u32,
    ) -> NTSTATUS;

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
