/*
 * Waits in a program's operations as a filter may that a cancel ends, and asks for what goes by instances: contexts, redirection,
 * the refusal of BypassIO. Prints what is not as documented, and how each wait of a write ended. DEFECT=1: waits for an operation
 * at APC_LEVEL.
 */
#include "files.h"
#ifndef DEFECT
#define DEFECT 0
#endif

#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))
#define STATUS_TIMEOUT ((NTSTATUS)0x102)
#define STATUS_BUFFER_TOO_SMALL ((NTSTATUS)0xC0000023)
#define STATUS_INVALID_BUFFER_SIZE ((NTSTATUS)0xC0000206)
#define STATUS_NOT_SUPPORTED ((NTSTATUS)0xC00000BB)
#define STATUS_INVALID_PARAMETER_3 ((NTSTATUS)0xC00000F1)
#define STATUS_INVALID_PARAMETER_4 ((NTSTATUS)0xC00000F2)
#define MANAGE_BYPASS_IO 0x90448
enum { WAIT_ALL, WAIT_ANY };
typedef struct { PVOID Volume, Instance, File, Stream, StreamHandle, Transaction, Section; } RELATED_CONTEXTS_EX;
typedef struct { uint16_t Type; ULONG Flags; PVOID Cleanup; size_t Size; ULONG PoolTag; PVOID Allocate, Free, Reserved; } CONTEXT_REGISTRATION;

IMPORT NTSTATUS FltCancellableWaitForMultipleObjects(ULONG, PVOID *, ULONG, int64_t *, PVOID, FLT_CALLBACK_DATA *);
IMPORT NTSTATUS FltGetContextsEx(const FLT_RELATED_OBJECTS *, uint16_t, size_t, RELATED_CONTEXTS_EX *);
IMPORT void FltReleaseContextsEx(size_t, RELATED_CONTEXTS_EX *);
IMPORT NTSTATUS FltIsIoRedirectionAllowed(PVOID, PVOID, BOOLEAN *);
IMPORT NTSTATUS FltIsIoRedirectionAllowedForOperation(FLT_CALLBACK_DATA *, PVOID, BOOLEAN *, BOOLEAN *);
IMPORT NTSTATUS FltAdjustDeviceStackSizeForIoRedirection(PVOID, PVOID, BOOLEAN *);
IMPORT NTSTATUS FltVetoBypassIo(FLT_CALLBACK_DATA *, const FLT_RELATED_OBJECTS *, NTSTATUS, UNICODE_STRING *);

static uint8_t Events[2][24] __attribute__((aligned(16)));
static PVOID Objects[] = { Events[0], Events[1] };
static ULONG Checks;

static void Waits(FLT_CALLBACK_DATA *data)
{
    int64_t zero = 0, moment = -100000, past = 1;

    CHECK(FltCancellableWaitForSingleObject(Events[0], &zero, data) == STATUS_TIMEOUT);
    CHECK(FltCancellableWaitForSingleObject(Events[0], &moment, data) == STATUS_TIMEOUT);
    CHECK(FltCancellableWaitForSingleObject(Events[0], &past, 0) == STATUS_TIMEOUT);
    KeSetEvent(Events[1], 0, 0);
    CHECK(FltCancellableWaitForMultipleObjects(2, Objects, WAIT_ANY, &zero, 0, data) == 1 && !KeReadStateEvent(Events[1]));
    CHECK(FltCancellableWaitForMultipleObjects(2, Objects, WAIT_ANY, &moment, 0, data) == STATUS_TIMEOUT);
    /* What is there of all stays until everything is. */
    KeSetEvent(Events[1], 0, 0);
    CHECK(FltCancellableWaitForMultipleObjects(2, Objects, WAIT_ALL, &moment, 0, data) == STATUS_TIMEOUT && KeReadStateEvent(Events[1]));
    KeSetEvent(Events[0], 0, 0);
    CHECK(FltCancellableWaitForMultipleObjects(2, Objects, WAIT_ALL, 0, 0, data) == STATUS_SUCCESS && !KeReadStateEvent(Events[0]));
    KeSetEvent(Events[0], 0, 0);
    CHECK(FltCancellableWaitForSingleObject(Events[0], 0, data) == STATUS_SUCCESS && !KeReadStateEvent(Events[0]));
}

static void Redirects(FLT_CALLBACK_DATA *data, PVOID instance)
{
    BOOLEAN this = 2, all = 2;

    CHECK(FltIsIoRedirectionAllowed(instance, instance, &all) == STATUS_SUCCESS && all == 1);
    CHECK(FltIsIoRedirectionAllowedForOperation(data, instance, &this, 0) == STATUS_SUCCESS && this == 1);
    CHECK(FltIsIoRedirectionAllowedForOperation(data, instance, &this, &all) == STATUS_SUCCESS && this == 1 && all == 1);
    CHECK(FltAdjustDeviceStackSizeForIoRedirection(instance, instance, &all) == STATUS_SUCCESS && all == 0);
}

static void Contexts(const FLT_RELATED_OBJECTS *objects)
{
    RELATED_CONTEXTS_EX all;
    PVOID own;

    memset(&all, 0xFF, sizeof(all));
    CHECK(FltGetContextsEx(objects, 0x7F, sizeof(all), &all) == STATUS_SUCCESS);
    CHECK(!all.Volume && !all.Instance && !all.Stream && !all.StreamHandle && !all.Transaction && !all.Section);
    CHECK(FltAllocateContext(Filter, 8, 16, 1, &own) == STATUS_SUCCESS);
    CHECK(FltSetStreamContext(objects->Instance, objects->FileObject, 1, own, 0) == STATUS_SUCCESS);
    FltReleaseContext(own);
    CHECK(FltGetContextsEx(objects, 0x7F, sizeof(all), &all) == STATUS_SUCCESS && all.Stream == own && !all.Section);
    FltReleaseContextsEx(sizeof(all), &all);
    CHECK(!all.Stream);
    CHECK(FltGetContextsEx(objects, 2, sizeof(all), &all) == STATUS_SUCCESS && !all.Stream);
    CHECK(!NT_SUCCESS(FltGetContextsEx(objects, 0x7F, sizeof(all) - 8, &all)));
}

static int PreRead(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)context;
    if (data->Flags & 2)
        return PREOP_DISALLOW_FASTIO;
    if (Checks)
        return PREOP_NO_CALLBACK;
    Waits(data);
    Redirects(data, objects->Instance);
    Contexts(objects);
    DbgPrint("%u checks\n", Checks);
    return PREOP_NO_CALLBACK;
}

/* At the file's start for one event, elsewhere for any of both, until the program is tired of it. */
static int PreWrite(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    uint8_t old = 0;
    NTSTATUS status;
    (void)objects, (void)context;
    if (data->Flags & 2)
        return PREOP_DISALLOW_FASTIO;
    if (DEFECT)
        old = KfRaiseIrql(1);
    if (TRANSFER(data)->Offset == 0)
        status = FltCancellableWaitForSingleObject(Events[0], 0, data);
    else
        status = FltCancellableWaitForMultipleObjects(2, Objects, WAIT_ANY, 0, 0, data);
    if (DEFECT)
        KeLowerIrql(old);
    DbgPrint("waited %08x\n", status);
    data->IoStatus.Status = status;
    data->IoStatus.Information = 0;
    return PREOP_COMPLETE;
}

static int PreControl(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    UNICODE_STRING why = { 20, 22, u"waits here" }, empty = { 0, 0, 0 };
    NTSTATUS status;
    (void)context;
    if (CONTROL(data)->Code != MANAGE_BYPASS_IO) {
        CHECK(!NT_SUCCESS(FltVetoBypassIo(data, objects, STATUS_NOT_SUPPORTED, &why)));
        return PREOP_NO_CALLBACK;
    }
    status = FltVetoBypassIo(data, objects, STATUS_NOT_SUPPORTED, &why);
    DbgPrint("veto %08x\n", status);
    if (NT_SUCCESS(status)) {
        CHECK(FltVetoBypassIo(data, objects, STATUS_SUCCESS, &why) == STATUS_INVALID_PARAMETER_3);
        CHECK(FltVetoBypassIo(data, objects, STATUS_NOT_SUPPORTED, &empty) == STATUS_INVALID_PARAMETER_4);
        CHECK(FltVetoBypassIo(data, objects, STATUS_NOT_SUPPORTED, 0) == STATUS_INVALID_PARAMETER_4);
    }
    data->IoStatus.Status = status;
    data->IoStatus.Information = NT_SUCCESS(status) ? CONTROL(data)->Out : 0;
    return PREOP_COMPLETE;
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_READ, 0, PreRead, 0, 0 },
    { IRP_MJ_WRITE, 0, PreWrite, 0, 0 },
    { IRP_MJ_FILE_SYSTEM_CONTROL, 0, PreControl, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const CONTEXT_REGISTRATION Kinds[] = { { 8, 0, 0, 16, TAG, 0, 0, 0 }, { 0xFFFF, 0, 0, 0, 0, 0, 0, 0 } };
static const FLT_REGISTRATION Registration = {
    sizeof(FLT_REGISTRATION), 0x0203, 0, Kinds, Operations, Unload, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
};

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    NTSTATUS status;
    (void)path;
    KeInitializeEvent(Events[0], 1, 0);
    KeInitializeEvent(Events[1], 1, 0);
    status = FltRegisterFilter(driver, &Registration, &Filter);
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    return status;
}
