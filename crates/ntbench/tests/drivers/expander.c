/*
 * A filter that asks for each create's name on another stack; where there is none, it lets the create pass.
 */
#include "flt.h"

IMPORT NTSTATUS KeExpandKernelStackAndCalloutEx(PVOID, PVOID, size_t, BOOLEAN, PVOID);

static void Ask(FLT_CALLBACK_DATA *data)
{
    FLT_FILE_NAME_INFORMATION *name;
    if (NT_SUCCESS(FltGetFileNameInformation(data, NAME_NORMALIZED, &name)))
        FltReleaseFileNameInformation(name);
}

static int PreCreate(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)objects, (void)context;
    KeExpandKernelStackAndCalloutEx(Ask, data, 0x6000, 0, 0);
    return PREOP_NO_CALLBACK;
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, PreCreate, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

PLAIN_ENTRY
