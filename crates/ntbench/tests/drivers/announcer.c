/*
 * Answers for a file system where directories are watched: keeps who watches in a list of its own, reports every write of a file as a
 * change, and takes a watcher away with its handle. What is named "quiet" it keeps to itself.
 */
#include "files.h"

#define IRP_MN_NOTIFY_CHANGE_DIRECTORY 2
typedef struct { uint16_t Length, MaximumLength; PVOID Buffer; } STRING_;

IMPORT void FltNotifyFilterChangeDirectory(PVOID, PVOID, PVOID, STRING_ *, BOOLEAN, BOOLEAN, ULONG, FLT_CALLBACK_DATA *, PVOID, PVOID, PVOID);
IMPORT void FsRtlNotifyInitializeSync(PVOID *);
IMPORT void FsRtlNotifyUninitializeSync(PVOID *);
IMPORT void FsRtlNotifyFilterReportChange(PVOID, PVOID, STRING_ *, uint16_t, STRING_ *, STRING_ *, ULONG, ULONG, PVOID, PVOID);
IMPORT void FsRtlNotifyCleanup(PVOID, PVOID, PVOID);

static PVOID Sync;
static PVOID List[2] = { List, List };

static BOOLEAN Wanted(PVOID watcher, PVOID change)
{
    (void)watcher;
    return change != (PVOID)1;
}

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    /* FILE_OBJECT.FileName. */
    STRING_ *name = (STRING_ *)((uint8_t *)objects->FileObject + 88);
    const ULONG *words = (const ULONG *)&data->Iopb->Create;
    uint16_t at = name->Length / 2;
    const WCHAR *units = name->Buffer;
    (void)context;
    switch (data->Iopb->MajorFunction) {
    case IRP_MJ_DIRECTORY_CONTROL:
        if (data->Iopb->MinorFunction != IRP_MN_NOTIFY_CHANGE_DIRECTORY)
            return PREOP_NO_CALLBACK;
        FltNotifyFilterChangeDirectory(Sync, List, objects->FileObject, name, data->Iopb->OperationFlags & 1, 0, words[2], data, 0, 0, Wanted);
        return PREOP_PENDING;
    case IRP_MJ_CLEANUP:
        FsRtlNotifyCleanup(Sync, List, objects->FileObject);
        return PREOP_NO_CALLBACK;
    case IRP_MJ_WRITE:
        if (data->Flags & 2)
            return PREOP_DISALLOW_FASTIO;
        while (at && units[at - 1] != '\\')
            at--;
        FsRtlNotifyFilterReportChange(Sync, List, name, at * 2, 0, 0, 8, 3, 0, (PVOID)(uintptr_t)(units[at] == 'q'));
        return PREOP_NO_CALLBACK;
    }
    return PREOP_NO_CALLBACK;
}

static NTSTATUS Unload(ULONG flags)
{
    (void)flags;
    FltUnregisterFilter(Filter);
    FsRtlNotifyUninitializeSync(&Sync);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_DIRECTORY_CONTROL, 0, Pre, 0, 0 }, { IRP_MJ_CLEANUP, 0, Pre, 0, 0 }, { IRP_MJ_WRITE, 0, Pre, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    NTSTATUS status = FltRegisterFilter(driver, &Registration, &Filter);
    (void)path;
    if (!NT_SUCCESS(status))
        return status;
    FsRtlNotifyInitializeSync(&Sync);
    status = FltStartFiltering(Filter);
    if (!NT_SUCCESS(status))
        FltUnregisterFilter(Filter);
    return status;
}
