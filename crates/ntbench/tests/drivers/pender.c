/*
 * Pends reads: a work item completes each after a moment, so that the rest of its way down and up runs in a system thread.
 * Before that the program's buffer is locked (DEFECT 1: it is not). Writes are pended in their post-operation callback,
 * and the filter waits there for an event, unless the write is cancelled.
 * DEFECT 2: completes a read twice.
 */
#include "files.h"
#ifndef DEFECT
#define DEFECT 0
#endif

static uint8_t Event[24] __attribute__((aligned(16))), Never[24] __attribute__((aligned(16)));

static void Later(PVOID item, FLT_CALLBACK_DATA *data, PVOID context)
{
    int64_t moment = -300000;
    (void)context;
    FltFreeDeferredIoWorkItem(item);
    KeWaitForSingleObject(Never, 0, 0, 0, &moment);
    FltCompletePendedPreOperation(data, PREOP_WITH_CALLBACK, (PVOID)0x99);
    if (DEFECT == 2)
        FltCompletePendedPreOperation(data, PREOP_NO_CALLBACK, 0);
}

static int PreRead(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    PVOID item;
    NTSTATUS status = DEFECT == 1 ? STATUS_SUCCESS : FltLockUserBuffer(data);
    (void)objects, (void)context;
    item = NT_SUCCESS(status) ? FltAllocateDeferredIoWorkItem() : 0;
    if (item == 0)
        return PREOP_NO_CALLBACK;
    status = FltQueueDeferredIoWorkItem(item, data, Later, 1, 0);
    DbgPrint("queued %08x\n", status);
    if (NT_SUCCESS(status))
        return PREOP_PENDING;
    FltFreeDeferredIoWorkItem(item);
    return PREOP_NO_CALLBACK;
}

static int PostRead(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    (void)objects, (void)flags;
    DbgPrint("read %08x context=%p system=%d\n", data->IoStatus.Status, context, PsGetCurrentProcessId() == (HANDLE)4);
    return POSTOP_FINISHED;
}

static int PreWrite(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    NTSTATUS status = FltCancellableWaitForSingleObject(Event, 0, data);
    (void)objects, (void)context;
    DbgPrint("waited %08x\n", status);
    if (NT_SUCCESS(status))
        return PREOP_WITH_CALLBACK;
    data->IoStatus.Status = status;
    data->IoStatus.Information = 0;
    return PREOP_COMPLETE;
}

static void After(PVOID item, FLT_CALLBACK_DATA *data, PVOID context)
{
    (void)context;
    FltFreeDeferredIoWorkItem(item);
    DbgPrint("after %08x\n", data->IoStatus.Status);
    FltCompletePendedPostOperation(data);
}

static int PostWrite(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    PVOID item = flags & POST_DRAINING ? 0 : FltAllocateDeferredIoWorkItem();
    (void)objects, (void)context;
    if (item && NT_SUCCESS(FltQueueDeferredIoWorkItem(item, data, After, 1, 0)))
        return POSTOP_MORE_PROCESSING;
    if (item)
        FltFreeDeferredIoWorkItem(item);
    return POSTOP_FINISHED;
}

/* Any flush lets the writes go on. */
static int PreFlush(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)data, (void)objects, (void)context;
    KeSetEvent(Event, 0, 0);
    return PREOP_NO_CALLBACK;
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_READ, 0, PreRead, PostRead, 0 },
    { IRP_MJ_WRITE, 0, PreWrite, PostWrite, 0 },
    { IRP_MJ_FLUSH_BUFFERS, 0, PreFlush, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    NTSTATUS status;
    (void)path;
    KeInitializeEvent(Event, 1, 0);
    KeInitializeEvent(Never, 0, 0);
    status = FltRegisterFilter(driver, &Registration, &Filter);
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    return status;
}
