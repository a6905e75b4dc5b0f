/*
 * Registers every operation there is and passes all of them on, printing what it sees; asks each time for the status that
 * the dispatch returns.
 */
#include "files.h"

static void Returned(const FLT_RELATED_OBJECTS *objects, const FLT_IO_PARAMETER_BLOCK *block, NTSTATUS status, PVOID context)
{
    (void)objects;
    DbgPrint("dispatched %s %08x context=%p\n", FltGetIrpName(block->MajorFunction), status, context);
}

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    const FLT_IO_PARAMETER_BLOCK *block = data->Iopb;
    (void)objects;
    DbgPrint("pre %s minor=%u flags=%x irp=%x data=%x mode=%d\n", FltGetIrpName(block->MajorFunction), block->MinorFunction,
             block->OperationFlags, block->IrpFlags, data->Flags, data->RequestorMode);
    if (block->MajorFunction == IRP_MJ_QUERY_VOLUME_INFORMATION)
        FltRequestOperationStatusCallback(data, Returned, (PVOID)0x77);
    *context = (PVOID)(uintptr_t)(block->MajorFunction + 1);
    return block->MajorFunction == IRP_MJ_READ ? PREOP_SYNCHRONIZE : PREOP_WITH_CALLBACK;
}

static int Post(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    (void)objects;
    DbgPrint("post %s status=%08x information=%x mine=%d flags=%u irql=%u\n", FltGetIrpName(data->Iopb->MajorFunction),
             data->IoStatus.Status, (unsigned)data->IoStatus.Information,
             (uintptr_t)context == data->Iopb->MajorFunction + 1u, flags, KeGetCurrentIrql());
    return POSTOP_FINISHED;
}

PLAIN_UNLOAD

#define BOTH(major) { major, 0, Pre, Post, 0 }
static const FLT_OPERATION_REGISTRATION Operations[] = {
    BOTH(IRP_MJ_CREATE), BOTH(IRP_MJ_CLOSE), BOTH(IRP_MJ_READ), BOTH(IRP_MJ_WRITE), BOTH(IRP_MJ_QUERY_INFORMATION),
    BOTH(IRP_MJ_SET_INFORMATION), BOTH(IRP_MJ_QUERY_EA), BOTH(IRP_MJ_SET_EA), BOTH(IRP_MJ_FLUSH_BUFFERS),
    BOTH(IRP_MJ_QUERY_VOLUME_INFORMATION), BOTH(IRP_MJ_SET_VOLUME_INFORMATION), BOTH(IRP_MJ_DIRECTORY_CONTROL),
    BOTH(IRP_MJ_FILE_SYSTEM_CONTROL), BOTH(IRP_MJ_DEVICE_CONTROL), BOTH(IRP_MJ_LOCK_CONTROL), BOTH(IRP_MJ_CLEANUP),
    BOTH(IRP_MJ_QUERY_SECURITY), BOTH(IRP_MJ_SET_SECURITY), { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

PLAIN_ENTRY
