/*
 * A filter that does not know when it has enough.
 * DEFECT: 0 allocates at each create and keeps it until it is unloaded, 1 allocates in one create until there is no more, 2 looks for a
 * flag for ever, 3 waits for an event that nobody sets.
 */
#include "files.h"
#ifndef DEFECT
#define DEFECT 0
#endif

struct KEPT {
    struct KEPT *Next;
    char Rest[8000];
};

static struct KEPT *Kept;
static volatile ULONG Flag;
static uint8_t Event[24] __attribute__((aligned(16)));

static BOOLEAN Keep(void)
{
    struct KEPT *more = ExAllocatePool2(POOL_FLAG_PAGED, sizeof(*more), TAG);
    if (more == 0)
        return 0;
    more->Next = Kept;
    Kept = more;
    return 1;
}

void LookForTheFlag(void);

__attribute__((noinline)) void LookForTheFlag(void)
{
    while (Flag == 0)
        ;
}

static int PreCreate(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)data, (void)objects, (void)context;
    if (DEFECT == 2)
        LookForTheFlag();
    if (DEFECT == 3)
        KeWaitForSingleObject(Event, 0, 0, 0, 0);
    while (Keep() && DEFECT == 1)
        ;
    return PREOP_NO_CALLBACK;
}

static NTSTATUS Unload(ULONG flags)
{
    struct KEPT *next;
    (void)flags;
    FltUnregisterFilter(Filter);
    for (; Kept != 0; Kept = next) {
        next = Kept->Next;
        ExFreePoolWithTag(Kept, TAG);
    }
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
    KeInitializeEvent(Event, 1, 0);
    status = FltRegisterFilter(driver, &Registration, &Filter);
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    return status;
}
