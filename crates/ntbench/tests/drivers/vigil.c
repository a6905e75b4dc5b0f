/*
 * Watches a directory by operations of its own, more of them than any system has worker threads to spare, and has a work item
 * done meanwhile. They are cancelled when its instance begins to go.
 */
#include "files.h"

#define WATCHES 120
#define IRP_MN_NOTIFY_CHANGE_DIRECTORY 2

IMPORT PVOID FltAllocateGenericWorkItem(void);
IMPORT void FltFreeGenericWorkItem(PVOID);
IMPORT NTSTATUS FltQueueGenericWorkItem(PVOID, PVOID, PVOID, ULONG, PVOID);

typedef struct { ULONG Length, Pad0, Filter, Pad1; uint64_t Unused[2]; PVOID Buffer, Mdl; } NOTIFY;

static FLT_CALLBACK_DATA *Watches[WATCHES];
static uint8_t Buffers[WATCHES][256] __attribute__((aligned(8)));
static uint8_t Event[24] __attribute__((aligned(16)));
static PVOID Watched;
static int Sent, Over;

static void Done(FLT_CALLBACK_DATA *data, PVOID context)
{
    (void)context;
    if (data->IoStatus.Status == STATUS_CANCELLED)
        __atomic_add_fetch(&Over, 1, __ATOMIC_RELAXED);
}

static void Work(PVOID item, PVOID object, PVOID context)
{
    (void)item, (void)object, (void)context;
    KeSetEvent(Event, 0, 0);
}

static int PreFlush(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    int64_t moment = -20000000;
    PVOID item;
    (void)data, (void)context;
    if (Watched)
        return PREOP_NO_CALLBACK;
    Watched = objects->Instance;
    for (int at = 0; at < WATCHES; at++) {
        if (!NT_SUCCESS(FltAllocateCallbackData(objects->Instance, objects->FileObject, &Watches[at])))
            break;
        Watches[at]->Iopb->MajorFunction = IRP_MJ_DIRECTORY_CONTROL;
        Watches[at]->Iopb->MinorFunction = IRP_MN_NOTIFY_CHANGE_DIRECTORY;
        NOTIFY *notify = (NOTIFY *)&Watches[at]->Iopb->Create;
        notify->Length = sizeof(Buffers[at]);
        notify->Filter = 1; /* FILE_NOTIFY_CHANGE_FILE_NAME */
        notify->Buffer = Buffers[at];
        Sent += FltPerformAsynchronousIo(Watches[at], Done, 0) == 0x103;
    }
    item = FltAllocateGenericWorkItem();
    if (item && NT_SUCCESS(FltQueueGenericWorkItem(item, objects->Instance, Work, 1, 0)))
        DbgPrint("sent %d worked %08x\n", Sent, KeWaitForSingleObject(Event, 0, 0, 0, &moment));
    if (item)
        FltFreeGenericWorkItem(item);
    return PREOP_NO_CALLBACK;
}

static void TeardownStart(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    (void)reason;
    for (int at = 0; objects->Instance == Watched && at < WATCHES && Watches[at]; at++)
        FltCancelIo(Watches[at]);
}

static void TeardownComplete(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    (void)reason;
    if (objects->Instance != Watched)
        return;
    for (int at = 0; at < WATCHES && Watches[at]; at++)
        FltFreeCallbackData(Watches[at]);
    DbgPrint("over %d\n", Over);
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_FLUSH_BUFFERS, 0, PreFlush, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, TeardownStart, TeardownComplete);

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    NTSTATUS status;
    (void)path;
    KeInitializeEvent(Event, 0, 0);
    status = FltRegisterFilter(driver, &Registration, &Filter);
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    return status;
}
