/*
 * A buffer swapper: what lies on the disk is every byte inverted. Reads go into a buffer of the filter's own and are
 * inverted into the caller's after it; writes are inverted into one before it. A post-operation callback at a raised IRQL
 * has its work done when it is safe.
 * DEFECT: 1 does not say that the parameters changed, 2 leaks the buffer, 3 frees the MDL that the Filter Manager frees,
 * 4 never completes what it said it would process further.
 */
#include "files.h"
#ifndef DEFECT
#define DEFECT 0
#endif

typedef struct { uint8_t *Buffer; MDL *Mdl; } SWAP;

static void Free(SWAP *swap)
{
    if (DEFECT != 2)
        ExFreePoolWithTag(swap->Buffer, TAG);
    if (DEFECT == 3)
        IoFreeMdl(swap->Mdl);
    ExFreePoolWithTag(swap, TAG);
}

static SWAP *Swap(FLT_CALLBACK_DATA *data)
{
    FLT_TRANSFER *transfer = TRANSFER(data);
    SWAP *swap = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*swap), TAG);

    if (swap == 0)
        return 0;
    swap->Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, transfer->Length, TAG);
    swap->Mdl = swap->Buffer ? IoAllocateMdl(swap->Buffer, transfer->Length, 0, 0, 0) : 0;
    if (swap->Mdl == 0) {
        if (swap->Buffer)
            ExFreePoolWithTag(swap->Buffer, TAG);
        ExFreePoolWithTag(swap, TAG);
        return 0;
    }
    MmBuildMdlForNonPagedPool(swap->Mdl);
    return swap;
}

static int Use(FLT_CALLBACK_DATA *data, SWAP *swap, PVOID *context)
{
    TRANSFER(data)->Buffer = swap->Buffer;
    TRANSFER(data)->Mdl = swap->Mdl;
    if (DEFECT != 1)
        FltSetCallbackDataDirty(data);
    *context = swap;
    return PREOP_WITH_CALLBACK;
}

static int PreRead(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    SWAP *swap;
    (void)objects;
    if (TRANSFER(data)->Length == 0)
        return PREOP_NO_CALLBACK;
    swap = Swap(data);
    return swap ? Use(data, swap, context) : PREOP_NO_CALLBACK;
}

/* Inverts what was read into the buffer that the caller sees by that address. */
static void Deliver(FLT_CALLBACK_DATA *data, SWAP *swap, uint8_t *to)
{
    for (uintptr_t at = 0; at < data->IoStatus.Information; at++)
        to[at] = (uint8_t)~swap->Buffer[at];
}

static int SafePostRead(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, SWAP *swap, ULONG flags)
{
    NTSTATUS status = FltLockUserBuffer(data);
    (void)objects, (void)flags;
    DbgPrint("safe irql=%u lock=%08x\n", KeGetCurrentIrql(), status);
    if (!NT_SUCCESS(status)) {
        data->IoStatus.Status = status;
        data->IoStatus.Information = 0;
    } else {
        Deliver(data, swap, SystemAddress(TRANSFER(data)->Mdl));
    }
    Free(swap);
    return POSTOP_FINISHED;
}

static int PostRead(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, SWAP *swap, ULONG flags)
{
    FLT_TRANSFER *transfer = TRANSFER(data);
    int status = POSTOP_FINISHED;

    DbgPrint("post irql=%u status=%08x mine=%d\n", KeGetCurrentIrql(), data->IoStatus.Status, transfer->Buffer == swap->Buffer);
    if (!NT_SUCCESS(data->IoStatus.Status) || data->IoStatus.Information == 0 || flags & POST_DRAINING) {
        Free(swap);
    } else if (DEFECT == 4) {
        Free(swap);
        return POSTOP_MORE_PROCESSING;
    } else if (transfer->Mdl) {
        Deliver(data, swap, SystemAddress(transfer->Mdl));
        Free(swap);
    } else if (!FltDoCompletionProcessingWhenSafe(data, objects, swap, flags, SafePostRead, &status)) {
        data->IoStatus.Status = (NTSTATUS)0xC0000001;
        data->IoStatus.Information = 0;
        Free(swap);
    }
    return status;
}

static int PreWrite(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    FLT_TRANSFER *transfer = TRANSFER(data);
    uint8_t *from;
    SWAP *swap;
    (void)objects;

    if (transfer->Length == 0 || !NT_SUCCESS(FltLockUserBuffer(data)))
        return PREOP_NO_CALLBACK;
    from = SystemAddress(transfer->Mdl);
    swap = from ? Swap(data) : 0;
    if (swap == 0)
        return PREOP_NO_CALLBACK;
    for (ULONG at = 0; at < transfer->Length; at++)
        swap->Buffer[at] = (uint8_t)~from[at];
    return Use(data, swap, context);
}

static int PostWrite(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, SWAP *swap, ULONG flags)
{
    (void)data, (void)objects, (void)flags;
    Free(swap);
    return POSTOP_FINISHED;
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_READ, 0, PreRead, PostRead, 0 },
    { IRP_MJ_WRITE, 0, PreWrite, PostWrite, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

PLAIN_ENTRY
