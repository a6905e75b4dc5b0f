/*
 * Sees byte-range locks come and go. OWN=1: keeps them itself, with routines that tell of each operation that is completed and of each
 * range that is unlocked; a lock at 100 its completion routine refuses.
 */
#include "files.h"
#ifndef OWN
#define OWN 0
#endif

typedef struct { int64_t *Length; ULONG Key, Pad; int64_t Offset; PVOID Process; } FLT_LOCK;
typedef struct { int64_t Start, Length; BOOLEAN Exclusive; ULONG Key; PVOID FileObject, Process; int64_t End; } FILE_LOCK_INFO;
IMPORT PVOID FltAllocateFileLock(PVOID, PVOID);
IMPORT void FltFreeFileLock(PVOID);
IMPORT int FltProcessFileLock(PVOID, FLT_CALLBACK_DATA *, PVOID);
static PVOID Lock;

static NTSTATUS Completed(PVOID context, FLT_CALLBACK_DATA *data)
{
    FLT_LOCK *lock = (FLT_LOCK *)&data->Iopb->Create;
    DbgPrint("completed %u %08x context=%p\n", data->Iopb->MinorFunction, data->IoStatus.Status, context);
    return data->Iopb->MinorFunction == 1 && lock->Offset == 100 ? STATUS_ACCESS_DENIED : STATUS_SUCCESS;
}

static void Unlocked(PVOID context, FILE_LOCK_INFO *info)
{
    DbgPrint("unlocked %d-%d exclusive=%d key=%u context=%p\n", (int)info->Start, (int)info->End, info->Exclusive, info->Key, context);
}

static void Returned(const FLT_RELATED_OBJECTS *objects, const FLT_IO_PARAMETER_BLOCK *block, NTSTATUS status, PVOID context)
{
    (void)objects, (void)block, (void)context;
    DbgPrint("dispatched %08x\n", status);
}

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    int status;
    (void)objects;
    if (data->Flags & 2) /* FLTFL_CALLBACK_DATA_FAST_IO_OPERATION */
        return PREOP_DISALLOW_FASTIO;
    if (OWN) {
        status = FltProcessFileLock(Lock, data, (PVOID)0x10C);
        DbgPrint("processed %d\n", status);
        return status;
    }
    FltRequestOperationStatusCallback(data, Returned, 0);
    *context = PsGetCurrentThreadId();
    return PREOP_WITH_CALLBACK;
}

static int Post(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    (void)objects, (void)flags;
    DbgPrint("lock %u %08x home=%d\n", data->Iopb->MinorFunction, data->IoStatus.Status, PsGetCurrentThreadId() == context);
    return POSTOP_FINISHED;
}

static NTSTATUS Unload(ULONG flags)
{
    (void)flags;
    FltUnregisterFilter(Filter);
    FltFreeFileLock(Lock);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_LOCK_CONTROL, 0, Pre, Post, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    NTSTATUS status;
    (void)path;
    Lock = FltAllocateFileLock(Completed, Unlocked);
    if (Lock == 0)
        return STATUS_INSUFFICIENT_RESOURCES;
    status = FltRegisterFilter(driver, &Registration, &Filter);
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    if (!NT_SUCCESS(status))
        FltFreeFileLock(Lock);
    return status;
}
