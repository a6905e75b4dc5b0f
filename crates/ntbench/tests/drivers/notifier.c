/*
 * Sees notifications of changed directories come and go. One with room for 1000 bytes it pends itself, and lets a work item send it
 * on; one with room for 1001 it keeps until it is cancelled.
 */
#include "files.h"


static void Returned(const FLT_RELATED_OBJECTS *objects, const FLT_IO_PARAMETER_BLOCK *block, NTSTATUS status, PVOID context)
{
    (void)objects, (void)block, (void)context;
    DbgPrint("dispatched %08x\n", status);
}

static void Later(PVOID item, FLT_CALLBACK_DATA *data, PVOID context)
{
    FltFreeDeferredIoWorkItem(item);
    FltCompletePendedPreOperation(data, PREOP_WITH_CALLBACK, context);
}

static void Cancelled(FLT_CALLBACK_DATA *data)
{
    DbgPrint("cancel routine\n");
    data->IoStatus.Status = (NTSTATUS)0xC0000120;
    data->IoStatus.Information = 0;
    FltCompletePendedPreOperation(data, PREOP_COMPLETE, 0);
}

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    const FLT_IO_PARAMETER_BLOCK *block = data->Iopb;
    const ULONG *words = (const ULONG *)&block->Create;
    PVOID thread = PsGetCurrentThreadId(), item;
    (void)objects;
    if (block->MinorFunction < 2)
        return PREOP_NO_CALLBACK;
    DbgPrint("notify minor=%u flags=%u length=%u filter=%x class=%u buffer=%d\n", block->MinorFunction, block->OperationFlags,
             words[0], words[2], words[4], *(PVOID *)&words[8] != 0);
    if (words[0] == 1000 && NT_SUCCESS(FltLockUserBuffer(data)) && (item = FltAllocateDeferredIoWorkItem()) != 0) {
        if (NT_SUCCESS(FltQueueDeferredIoWorkItem(item, data, Later, 1, thread)))
            return PREOP_PENDING;
        FltFreeDeferredIoWorkItem(item);
    }
    if (words[0] == 1001 && NT_SUCCESS(FltSetCancelCompletion(data, Cancelled)))
        return PREOP_PENDING;
    FltRequestOperationStatusCallback(data, Returned, 0);
    *context = thread;
    return PREOP_WITH_CALLBACK;
}

static int Post(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    (void)objects;
    if (flags & POST_DRAINING)
        DbgPrint("drained\n");
    else
        DbgPrint("notified %08x %u home=%d\n", data->IoStatus.Status, (unsigned)data->IoStatus.Information,
                 PsGetCurrentThreadId() == context);
    return POSTOP_FINISHED;
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_DIRECTORY_CONTROL, 0, Pre, Post, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

PLAIN_ENTRY
