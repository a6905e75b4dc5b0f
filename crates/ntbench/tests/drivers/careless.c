/*
 * A filter that takes two blocks for each create. DEFECT: 1 forgets the first where the second is not to be had.
 */
#include "flt.h"
#ifndef DEFECT
#define DEFECT 0
#endif

static int PreCreate(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    PVOID first = ExAllocatePool2(POOL_FLAG_NON_PAGED, 32, TAG);
    PVOID second = first == 0 ? 0 : ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, TAG);
    (void)data, (void)objects, (void)context;

    if (second != 0)
        ExFreePoolWithTag(second, TAG);
    if (first != 0 && (second != 0 || DEFECT != 1))
        ExFreePoolWithTag(first, TAG);
    return PREOP_NO_CALLBACK;
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, PreCreate, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

PLAIN_ENTRY
