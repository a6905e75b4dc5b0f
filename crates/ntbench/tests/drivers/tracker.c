/*
 * In the manner of a context tracker: a context with each instance, one with each open, one with each stream, found
 * again at cleanup. LEAK: 1 forgets to release the open's context, 2 releases it twice, 3 links one context twice. PAGED: contexts are
 * in paged pool; 2 writes into the open's at DISPATCH_LEVEL, 3 releases it there. LENT: DriverEntry's lists are gone when it has returned.
 */
#include "flt.h"
#ifndef LEAK
#define LEAK 0
#endif
#ifndef PAGED
#define PAGED 0
#endif

#define INSTANCE_CONTEXT 2
#define STREAM_CONTEXT 8
#define HANDLE_CONTEXT 0x10
#define CONTEXT_END 0xFFFF
#define KEEP 1
typedef struct { uint16_t Type, Flags; PVOID Cleanup; size_t Size; ULONG Tag; PVOID Allocate, Free, Reserved; } CONTEXTS;
typedef struct { ULONG Number; } NUMBER;

static ULONG Next = 1;

static void Cleanup(NUMBER *context, uint16_t type)
{
    DbgPrint("cleanup type=%x number=%u\n", type, context->Number);
}

static NUMBER *New(uint16_t type)
{
    NUMBER *context;
    NTSTATUS status = FltAllocateContext(Filter, type, sizeof(*context), PAGED ? 1 : 0x200, (PVOID *)&context);
    if (!NT_SUCCESS(status)) {
        DbgPrint("allocate %x: %08x\n", type, status);
        return 0;
    }
    context->Number = Next++;
    return context;
}

static NTSTATUS Setup(const FLT_RELATED_OBJECTS *objects, ULONG flags, ULONG device, ULONG file_system)
{
    NUMBER *context = New(INSTANCE_CONTEXT);
    (void)flags, (void)device, (void)file_system;
    if (context == 0)
        return STATUS_FLT_DO_NOT_ATTACH;
    DbgPrint("set instance %08x\n", FltSetInstanceContext(objects->Instance, KEEP, context, 0));
    FltReleaseContext(context);
    DbgPrint("unregistered %08x\n", FltAllocateContext(Filter, 1, 8, 0x200, (PVOID *)&context));
    return STATUS_SUCCESS;
}

static int PreCreate(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *completion)
{
    PVOID handle = data, stream = data;
    NTSTATUS status = FltGetStreamHandleContext(objects->Instance, objects->FileObject, &handle);
    (void)completion;
    (void)FltGetStreamContext(objects->Instance, objects->FileObject, &stream);
    DbgPrint("before the create %08x %d %d\n", status, handle == 0, stream == 0);
    return PREOP_WITH_CALLBACK;
}

static int PostCreate(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID completion, ULONG flags)
{
    NUMBER *context, *old;
    NTSTATUS status;
    (void)completion, (void)flags;
    if (!NT_SUCCESS(data->IoStatus.Status) || data->IoStatus.Status == 0x104)
        return POSTOP_FINISHED;
    context = New(HANDLE_CONTEXT);
    if (context == 0)
        return POSTOP_FINISHED;
    if (PAGED > 1)
        KfRaiseIrql(2);
    if (PAGED == 2)
        context->Number = 0;
    if (PAGED == 3) {
        FltReleaseContext(context);
        KeLowerIrql(0);
        return POSTOP_FINISHED;
    }
    status = FltSetStreamHandleContext(objects->Instance, objects->FileObject, KEEP, context, 0);
    DbgPrint("set handle %08x number=%u\n", status, context->Number);
    if (LEAK == 3)
        DbgPrint("twice %08x\n", FltSetStreamHandleContext(objects->Instance, objects->FileObject, KEEP, context, 0));
    if (LEAK != 1)
        FltReleaseContext(context);
    if (LEAK == 2) {
        FltReleaseContext(context);
        FltReleaseContext(context);
    }
    context = New(STREAM_CONTEXT);
    if (context == 0)
        return POSTOP_FINISHED;
    status = FltSetStreamContext(objects->Instance, objects->FileObject, KEEP, context, (PVOID *)&old);
    DbgPrint("set stream %08x old=%u\n", status, old ? old->Number : 0);
    if (old)
        FltReleaseContext(old);
    FltReleaseContext(context);
    return POSTOP_FINISHED;
}

static int PreCleanup(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *completion)
{
    NUMBER *context;
    (void)data, (void)completion;
    if (NT_SUCCESS(FltGetStreamHandleContext(objects->Instance, objects->FileObject, (PVOID *)&context))) {
        DbgPrint("closing number=%u\n", context->Number);
        FltReleaseContext(context);
    }
    return PREOP_NO_CALLBACK;
}

PLAIN_UNLOAD

static const CONTEXTS Contexts[] = {
    { INSTANCE_CONTEXT, 0, Cleanup, sizeof(NUMBER), TAG, 0, 0, 0 },
    { STREAM_CONTEXT, 0, Cleanup, sizeof(NUMBER), TAG, 0, 0, 0 },
    { HANDLE_CONTEXT, 0, Cleanup, (size_t)-1, TAG, 0, 0, 0 },
    { CONTEXT_END, 0, 0, 0, 0, 0, 0, 0 },
};
static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, PreCreate, PostCreate, 0 },
    { IRP_MJ_CLEANUP, 0, PreCleanup, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = {
    sizeof(FLT_REGISTRATION), 0x0203, 0, Contexts, Operations, Unload, Setup, 0, 0, 0, 0, 0, 0, 0, 0, 0
};

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    NTSTATUS status;
    (void)path;

#ifdef LENT
    CONTEXTS contexts[sizeof(Contexts) / sizeof(*Contexts)];
    FLT_OPERATION_REGISTRATION operations[sizeof(Operations) / sizeof(*Operations)];
    FLT_REGISTRATION registration = Registration;
    memcpy(contexts, Contexts, sizeof(contexts));
    memcpy(operations, Operations, sizeof(operations));
    registration.Contexts = contexts;
    registration.Operations = operations;
    status = FltRegisterFilter(driver, &registration, &Filter);
    memset(contexts, 0xFF, sizeof(contexts));
    memset(operations, 0xFF, sizeof(operations));
    memset(&registration, 0xFF, sizeof(registration));
    __asm__ volatile("" : : "r"(contexts), "r"(operations), "r"(&registration) : "memory");
#else
    status = FltRegisterFilter(driver, &Registration, &Filter);
#endif
    if (!NT_SUCCESS(status))
        return status;
    status = FltStartFiltering(Filter);
    if (!NT_SUCCESS(status))
        FltUnregisterFilter(Filter);
    return status;
}
