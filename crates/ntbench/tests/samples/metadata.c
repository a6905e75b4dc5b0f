/*
 * In the manner of a filter that keeps a file of its own on each volume: it is opened when the volume is mounted, in the
 * folder that only the system uses, given up while somebody locks or dismounts the volume, and taken back when that failed
 * or is over. The instance's context holds it, behind a resource.
 */
#include "fltkernel.h"
#define TAG 'atdM'
#define METADATA L"\\System Volume Information\\Filter.dat"
#define TRANSITION 1

typedef struct {
    PFLT_INSTANCE Instance; PFLT_VOLUME Volume; ULONG FileSystem, Flags; ERESOURCE Lock; HANDLE Handle; PFILE_OBJECT File;
    UNICODE_STRING VolumeName;
} INSTANCE;

static PFLT_FILTER Filter;

/* The ERESOURCE has to be aligned, which a context's memory is; it is gone before that is. */
static VOID FLTAPI Cleanup(PFLT_CONTEXT Context, FLT_CONTEXT_TYPE Type)
{
    INSTANCE *instance = Context;
    UNREFERENCED_PARAMETER(Type);
    ExDeleteResourceLite(&instance->Lock);
    if (instance->VolumeName.Buffer)
        ExFreePoolWithTag(instance->VolumeName.Buffer, TAG);
    DbgPrint("context gone\n");
}

static VOID CloseMetadata(INSTANCE *Instance)
{
    if (Instance->Handle)
        FltClose(Instance->Handle);
    if (Instance->File)
        ObDereferenceObject(Instance->File);
    Instance->Handle = NULL;
    Instance->File = NULL;
}

static NTSTATUS OpenMetadata(INSTANCE *Instance, BOOLEAN Create)
{
    static const ULONG magic = 0x4D657461;
    UNICODE_STRING name = { 0 };
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK block;
    LARGE_INTEGER offset = { 0 };
    ULONG value = 0, moved = 0;
    NTSTATUS status;

    name.MaximumLength = Instance->VolumeName.Length + sizeof(METADATA);
    name.Buffer = ExAllocatePoolWithTag(PagedPool, name.MaximumLength, TAG);
    if (!name.Buffer)
        return STATUS_INSUFFICIENT_RESOURCES;
    RtlCopyUnicodeString(&name, &Instance->VolumeName);
    RtlAppendUnicodeToString(&name, METADATA);
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    for (int pass = 0; pass < 2; pass++) {
        status = FltCreateFileEx2(Filter, Instance->Instance, &Instance->Handle, &Instance->File, FILE_ALL_ACCESS, &attributes,
                                  &block, NULL, FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_SYSTEM, FILE_SHARE_READ,
                                  Create ? FILE_OPEN_IF : FILE_OPEN, FILE_WRITE_THROUGH | FILE_NON_DIRECTORY_FILE, NULL, 0, 0,
                                  NULL);
        if (status != STATUS_OBJECT_PATH_NOT_FOUND)
            break;
        DbgPrint("folder %08x\n", FltCreateSystemVolumeInformationFolder(Instance->Instance));
    }
    if (NT_SUCCESS(status)) {
        if (block.Information == FILE_CREATED)
            status = FltWriteFile(Instance->Instance, Instance->File, &offset, sizeof(magic), (PVOID)&magic, 0, &moved, NULL, NULL);
        else
            status = FltReadFile(Instance->Instance, Instance->File, &offset, sizeof(value), &value, 0, &moved, NULL, NULL);
        DbgPrint("metadata %s %08x %u %x\n", block.Information == FILE_CREATED ? "made" : "read", status, moved, value);
    } else {
        DbgPrint("no metadata %08x\n", status);
    }
    ExFreePoolWithTag(name.Buffer, TAG);
    return status;
}

static VOID Acquire(INSTANCE *Instance)
{
    KeEnterCriticalRegion();
    ExAcquireResourceExclusiveLite(&Instance->Lock, TRUE);
}

static VOID Release(INSTANCE *Instance)
{
    ExReleaseResourceLite(&Instance->Lock);
    KeLeaveCriticalRegion();
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreControl(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    INSTANCE *instance;

    if (Data->Iopb->MinorFunction != IRP_MN_USER_FS_REQUEST)
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    switch (Data->Iopb->Parameters.FileSystemControl.FsControlCode) {
    case FSCTL_LOCK_VOLUME:
    case FSCTL_DISMOUNT_VOLUME:
        if (!NT_SUCCESS(FltGetInstanceContext(FltObjects->Instance, (PFLT_CONTEXT *)&instance)))
            return FLT_PREOP_SUCCESS_NO_CALLBACK;
        Acquire(instance);
        CloseMetadata(instance);
        instance->Flags |= TRANSITION;
        Release(instance);
        *Context = instance;
        return FLT_PREOP_SYNCHRONIZE;
    case FSCTL_UNLOCK_VOLUME:
        if (!NT_SUCCESS(FltGetInstanceContext(FltObjects->Instance, (PFLT_CONTEXT *)&instance)))
            return FLT_PREOP_SUCCESS_NO_CALLBACK;
        *Context = instance;
        return FLT_PREOP_SYNCHRONIZE;
    }
    return FLT_PREOP_SUCCESS_NO_CALLBACK;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostControl(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context,
                                                     ULONG Flags)
{
    INSTANCE *instance = Context;
    ULONG code = Data->Iopb->Parameters.FileSystemControl.FsControlCode;
    BOOLEAN done = NT_SUCCESS(Data->IoStatus.Status), open = code == FSCTL_UNLOCK_VOLUME ? done : !done;

    DbgPrint("control %x %08x\n", code, Data->IoStatus.Status);
    if (!FlagOn(Flags, FLTFL_POST_OPERATION_DRAINING) && open) {
        Acquire(instance);
        if (!instance->Handle)
            OpenMetadata(instance, FALSE);
        instance->Flags &= ~TRANSITION;
        Release(instance);
    }
    // The volume is gone, and this instance is of no more use: it ends in a callback of its own.
    if (!FlagOn(Flags, FLTFL_POST_OPERATION_DRAINING) && done && code == FSCTL_DISMOUNT_VOLUME)
        DbgPrint("detach %08x\n", FltDetachVolume(Filter, FltObjects->Volume, NULL));
    FltReleaseContext(instance);
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreShutdown(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    INSTANCE *instance;
    UNREFERENCED_PARAMETER(Data);
    UNREFERENCED_PARAMETER(Context);
    if (NT_SUCCESS(FltGetInstanceContext(FltObjects->Instance, (PFLT_CONTEXT *)&instance))) {
        Acquire(instance);
        CloseMetadata(instance);
        Release(instance);
        FltReleaseContext(instance);
    }
    return FLT_PREOP_SUCCESS_NO_CALLBACK;
}

static NTSTATUS FLTAPI InstanceSetup(PCFLT_RELATED_OBJECTS FltObjects, ULONG Flags, DEVICE_TYPE Type, ULONG FileSystem)
{
    INSTANCE *instance;
    BOOLEAN writable = FALSE;
    ULONG needed = 0;
    NTSTATUS status;

    PAGED_CODE();
    if (Type == FILE_DEVICE_NETWORK_FILE_SYSTEM)
        return STATUS_FLT_DO_NOT_ATTACH;
    status = FltIsVolumeWritable(FltObjects->Volume, &writable);
    if (!NT_SUCCESS(status) || !writable)
        return STATUS_FLT_DO_NOT_ATTACH;
    status = FltAllocateContext(Filter, FLT_INSTANCE_CONTEXT, sizeof(*instance), NonPagedPool, (PFLT_CONTEXT *)&instance);
    if (!NT_SUCCESS(status))
        return STATUS_FLT_DO_NOT_ATTACH;
    RtlZeroMemory(instance, sizeof(*instance));
    ExInitializeResourceLite(&instance->Lock);
    instance->Instance = FltObjects->Instance;
    instance->Volume = FltObjects->Volume;
    instance->FileSystem = FileSystem;
    status = FltGetVolumeName(FltObjects->Volume, NULL, &needed);
    if (status == STATUS_BUFFER_TOO_SMALL) {
        instance->VolumeName.Buffer = ExAllocatePoolWithTag(NonPagedPool, needed, TAG);
        instance->VolumeName.MaximumLength = (USHORT)needed;
        if (instance->VolumeName.Buffer)
            status = FltGetVolumeName(FltObjects->Volume, &instance->VolumeName, NULL);
    }
    DbgPrint("setup %x %wZ\n", Flags, &instance->VolumeName);
    if (NT_SUCCESS(status))
        status = FltSetInstanceContext(FltObjects->Instance, FLT_SET_CONTEXT_KEEP_IF_EXISTS, instance, NULL);
    if (NT_SUCCESS(status)) {
        Acquire(instance);
        OpenMetadata(instance, TRUE);
        Release(instance);
    }
    FltReleaseContext(instance);
    return NT_SUCCESS(status) ? STATUS_SUCCESS : STATUS_FLT_DO_NOT_ATTACH;
}

static VOID FLTAPI TeardownStart(PCFLT_RELATED_OBJECTS FltObjects, ULONG Reason)
{
    INSTANCE *instance;
    DbgPrint("teardown %x\n", Reason);
    if (NT_SUCCESS(FltGetInstanceContext(FltObjects->Instance, (PFLT_CONTEXT *)&instance))) {
        Acquire(instance);
        CloseMetadata(instance);
        Release(instance);
        FltReleaseContext(instance);
    }
}

static VOID FLTAPI TeardownComplete(PCFLT_RELATED_OBJECTS FltObjects, ULONG Reason)
{
    UNREFERENCED_PARAMETER(Reason);
    FltDeleteInstanceContext(FltObjects->Instance, NULL);
}

static NTSTATUS FLTAPI QueryTeardown(PCFLT_RELATED_OBJECTS FltObjects, ULONG Flags)
{
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Flags);
    return STATUS_SUCCESS;
}

static NTSTATUS FLTAPI Unload(ULONG Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_CONTEXT_REGISTRATION Contexts[] = {
    { FLT_INSTANCE_CONTEXT, 0, Cleanup, sizeof(INSTANCE), TAG }, { FLT_CONTEXT_END }
};
static const FLT_OPERATION_REGISTRATION Callbacks[] = {
    { IRP_MJ_SHUTDOWN, 0, PreShutdown, NULL }, { IRP_MJ_FILE_SYSTEM_CONTROL, 0, PreControl, PostControl }, { IRP_MJ_OPERATION_END }
};
static const FLT_REGISTRATION Registration = {
    sizeof(FLT_REGISTRATION), FLT_REGISTRATION_VERSION, 0, Contexts, Callbacks, Unload, InstanceSetup, QueryTeardown, TeardownStart,
    TeardownComplete,
};

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status = FltRegisterFilter(DriverObject, &Registration, &Filter);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    return status;
}
