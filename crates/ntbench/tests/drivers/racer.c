/*
 * A filter whose threads share a count and a block.
 * DEFECT: 0 holds a lock over both. 1 holds it, but frees the block at every 24th create without it, and forgets it only then: who comes in
 * between uses what was freed, or frees it again.
 */
#include "files.h"
#ifndef DEFECT
#define DEFECT 0
#endif

static uint64_t Lock;
static ULONG *volatile Shared;
static volatile ULONG Count;

/* Makes the block at the first call, counts in it, and gives it back now and then. */
static void Touch(void)
{
    uint8_t irql = KeAcquireSpinLockRaiseToDpc(&Lock);
    ULONG *old = 0;

    if (Shared == 0)
        Shared = ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, TAG);
    if (Shared != 0) {
        Shared[0]++;
        if (++Count % 24 == 0) {
            old = Shared;
            if (DEFECT == 0)
                Shared = 0;
        }
    }
    KeReleaseSpinLock(&Lock, irql);
    if (old != 0) {
        ExFreePoolWithTag(old, TAG);
        if (DEFECT == 1)
            Shared = 0;
    }
}

static int PreCreate(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)data, (void)objects, (void)context;
    Touch();
    return PREOP_NO_CALLBACK;
}

static NTSTATUS Unload(ULONG flags)
{
    (void)flags;
    FltUnregisterFilter(Filter);
    if (Shared != 0)
        ExFreePoolWithTag(Shared, TAG);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, PreCreate, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    NTSTATUS status;
    (void)path;
    status = FltRegisterFilter(driver, &Registration, &Filter);
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    return status;
}
