/*
 * In the manner of a filter that passes everything through: every operation there is, counted before and after, and the
 * dispatch's status asked for where a request may be granted or refused (oplocks, change notifications).
 */
#include "fltkernel.h"

static PFLT_FILTER Filter;
static volatile LONG Before[256], After[256], Statuses;

static VOID FLTAPI OperationStatus(PCFLT_RELATED_OBJECTS FltObjects, PFLT_IO_PARAMETER_BLOCK Iopb, NTSTATUS Status, PVOID Context)
{
    UNREFERENCED_PARAMETER(FltObjects);
    InterlockedIncrement(&Statuses);
    DbgPrint("status %08x of %s, asked for by %p\n", Status, FltGetIrpName(Iopb->MajorFunction), Context);
}

static BOOLEAN WantsStatus(PFLT_CALLBACK_DATA Data)
{
    PFLT_IO_PARAMETER_BLOCK iopb = Data->Iopb;
    return iopb->MajorFunction == IRP_MJ_FILE_SYSTEM_CONTROL &&
           (iopb->Parameters.FileSystemControl.FsControlCode == FSCTL_REQUEST_FILTER_OPLOCK ||
            iopb->Parameters.FileSystemControl.FsControlCode == FSCTL_REQUEST_BATCH_OPLOCK ||
            iopb->Parameters.FileSystemControl.FsControlCode == FSCTL_REQUEST_OPLOCK_LEVEL_1 ||
            iopb->Parameters.FileSystemControl.FsControlCode == FSCTL_REQUEST_OPLOCK_LEVEL_2);
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreOperation(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Context);
    InterlockedIncrement(&Before[Data->Iopb->MajorFunction]);
    if (WantsStatus(Data)) {
        NTSTATUS status = FltRequestOperationStatusCallback(Data, (PVOID)OperationStatus, (PVOID)(ULONG_PTR)7);
        if (!NT_SUCCESS(status))
            DbgPrint("no status will be told: %08x\n", status);
    }
    return FLT_PREOP_SUCCESS_WITH_CALLBACK;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostOperation(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context,
                                                       ULONG Flags)
{
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Flags);
    InterlockedIncrement(&After[Data->Iopb->MajorFunction]);
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreOnly(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Context);
    InterlockedIncrement(&Before[Data->Iopb->MajorFunction]);
    return FLT_PREOP_SUCCESS_NO_CALLBACK;
}

static NTSTATUS FLTAPI InstanceSetup(PCFLT_RELATED_OBJECTS FltObjects, ULONG Flags, DEVICE_TYPE Type, ULONG FileSystem)
{
    PAGED_CODE();
    DbgPrint("setup %x device %x fs %u size %u\n", Flags, Type, FileSystem, FltObjects->Size);
    return STATUS_SUCCESS;
}

static NTSTATUS FLTAPI QueryTeardown(PCFLT_RELATED_OBJECTS FltObjects, ULONG Flags)
{
    PAGED_CODE();
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Flags);
    return STATUS_SUCCESS;
}

static VOID FLTAPI Teardown(PCFLT_RELATED_OBJECTS FltObjects, ULONG Reason)
{
    UNREFERENCED_PARAMETER(FltObjects);
    DbgPrint("teardown %x\n", Reason);
}

static NTSTATUS FLTAPI Unload(ULONG Flags)
{
    PAGED_CODE();
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    for (ULONG major = 0; major < 256; major++)
        if (Before[major])
            DbgPrint("%s %d %d\n", FltGetIrpName((UCHAR)major), Before[major], After[major]);
    return STATUS_SUCCESS;
}

#define BOTH(major) { major, 0, PreOperation, PostOperation, NULL }
static const FLT_OPERATION_REGISTRATION Callbacks[] = {
    BOTH(IRP_MJ_CREATE), BOTH(IRP_MJ_CREATE_NAMED_PIPE), BOTH(IRP_MJ_CLOSE), BOTH(IRP_MJ_READ), BOTH(IRP_MJ_WRITE),
    BOTH(IRP_MJ_QUERY_INFORMATION), BOTH(IRP_MJ_SET_INFORMATION), BOTH(IRP_MJ_QUERY_EA), BOTH(IRP_MJ_SET_EA),
    BOTH(IRP_MJ_FLUSH_BUFFERS), BOTH(IRP_MJ_QUERY_VOLUME_INFORMATION), BOTH(IRP_MJ_SET_VOLUME_INFORMATION),
    BOTH(IRP_MJ_DIRECTORY_CONTROL), BOTH(IRP_MJ_FILE_SYSTEM_CONTROL), BOTH(IRP_MJ_DEVICE_CONTROL),
    BOTH(IRP_MJ_INTERNAL_DEVICE_CONTROL), { IRP_MJ_SHUTDOWN, 0, PreOnly, NULL, NULL }, BOTH(IRP_MJ_LOCK_CONTROL),
    BOTH(IRP_MJ_CLEANUP), BOTH(IRP_MJ_CREATE_MAILSLOT), BOTH(IRP_MJ_QUERY_SECURITY), BOTH(IRP_MJ_SET_SECURITY),
    BOTH(IRP_MJ_QUERY_QUOTA), BOTH(IRP_MJ_SET_QUOTA), BOTH(IRP_MJ_PNP), BOTH(IRP_MJ_ACQUIRE_FOR_SECTION_SYNCHRONIZATION),
    BOTH(IRP_MJ_RELEASE_FOR_SECTION_SYNCHRONIZATION), BOTH(IRP_MJ_ACQUIRE_FOR_MOD_WRITE),
    BOTH(IRP_MJ_RELEASE_FOR_MOD_WRITE), BOTH(IRP_MJ_ACQUIRE_FOR_CC_FLUSH), BOTH(IRP_MJ_RELEASE_FOR_CC_FLUSH),
    BOTH(IRP_MJ_FAST_IO_CHECK_IF_POSSIBLE), BOTH(IRP_MJ_NETWORK_QUERY_OPEN), BOTH(IRP_MJ_MDL_READ),
    BOTH(IRP_MJ_MDL_READ_COMPLETE), BOTH(IRP_MJ_PREPARE_MDL_WRITE), BOTH(IRP_MJ_MDL_WRITE_COMPLETE),
    BOTH(IRP_MJ_VOLUME_MOUNT), BOTH(IRP_MJ_VOLUME_DISMOUNT), { IRP_MJ_OPERATION_END }
};

static const FLT_REGISTRATION Registration = {
    sizeof(FLT_REGISTRATION), FLT_REGISTRATION_VERSION, 0, NULL, Callbacks, Unload, InstanceSetup, QueryTeardown, Teardown, Teardown,
};

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status = FltRegisterFilter(DriverObject, &Registration, &Filter);

    DbgPrint("%wZ\n", RegistryPath);
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    return status;
}
