/*
 * Two filters in one source. ROLE=1, above: a program's write of N has it send I/O of its own of the kind N and not wait. ROLE=2, below: meets
 * it, and says in whose thread. Kinds by the offset that is read: 0, let through; 1, pended until the next flush; 2, completed here;
 * 3, waited for (FLT_PREOP_SYNCHRONIZE) while a filter further below pends it (ROLE=3).
 */
#include "files.h"
#ifndef ROLE
#define ROLE 1
#endif

#define FLTFL_IO_OPERATION_NON_CACHED 1
#define REQUEST_OPLOCK 0x90240

IMPORT BOOLEAN FltIsOperationSynchronous(FLT_CALLBACK_DATA *);
IMPORT NTSTATUS ZwCreateFile(HANDLE *, ULONG, OBJECT_ATTRIBUTES *, IO_STATUS_BLOCK *, int64_t *, ULONG, ULONG, ULONG, ULONG, PVOID, ULONG);
IMPORT NTSTATUS ZwReadFile(HANDLE, HANDLE, PVOID, PVOID, IO_STATUS_BLOCK *, PVOID, ULONG, int64_t *, ULONG *);
IMPORT NTSTATUS ZwFsControlFile(HANDLE, HANDLE, PVOID, PVOID, IO_STATUS_BLOCK *, ULONG, PVOID, ULONG, PVOID, ULONG);
IMPORT NTSTATUS ZwWaitForSingleObject(HANDLE, BOOLEAN, int64_t *);
IMPORT NTSTATUS ZwCreateEvent(HANDLE *, ULONG, OBJECT_ATTRIBUTES *, ULONG, BOOLEAN);
IMPORT void IoGetStackLimits(uintptr_t *, uintptr_t *);

static HANDLE Sender;

static const char *Where(void)
{
    return PsGetCurrentThreadId() == Sender ? "here" : "elsewhere";
}

#if ROLE == 1
static char Text[4096] __attribute__((aligned(4096)));
static uint8_t Event[24] __attribute__((aligned(16)));
static uintptr_t Bottom;
static FLT_CALLBACK_DATA *Own;

static void Done(FLT_CALLBACK_DATA *data, PVOID context)
{
    DbgPrint("done %s %s %08x irql %u\n", (const char *)context, Where(), data->IoStatus.Status, KeGetCurrentIrql());
    KeSetEvent(Event, 0, 0);
}

static void Await(void)
{
    int64_t long_enough = -100000000;
    DbgPrint("waited %08x\n", KeWaitForSingleObject(Event, 0, 0, 0, &long_enough));
}

static NTSTATUS Send(const FLT_RELATED_OBJECTS *objects, int64_t offset, const char *name)
{
    NTSTATUS status = FltAllocateCallbackData(objects->Instance, objects->FileObject, &Own);
    if (!NT_SUCCESS(status))
        return status;
    KeInitializeEvent(Event, 0, 0);
    Own->Iopb->MajorFunction = IRP_MJ_READ;
    TRANSFER(Own)->Length = 1;
    TRANSFER(Own)->Offset = offset;
    TRANSFER(Own)->Buffer = Text;
    status = FltPerformAsynchronousIo(Own, Done, (PVOID)name);
    DbgPrint("%s %08x\n", name, status);
    return status;
}

/* By handles from the top: what was opened for asynchronous I/O. */
static void ByHandle(void)
{
    UNICODE_STRING name = { 0, 0, 0 };
    OBJECT_ATTRIBUTES object = { sizeof(object), 0, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, 0, 0 };
    OBJECT_ATTRIBUTES plain = { sizeof(plain), 0, 0, OBJ_KERNEL_HANDLE, 0, 0 };
    IO_STATUS_BLOCK block = { 77, 77 }, other;
    int64_t zero = 0, moment = -10000;
    ULONG request[3] = { 1 | 12 << 16, 1 /* read */, 1 /* request */ }, answer[6] = { 0 };
    HANDLE file = 0, event = 0;
    NTSTATUS status;

    RtlInitUnicodeString(&name, u"\\??\\C:\\a.txt");
    status = ZwCreateFile(&file, 3, &object, &block, 0, 0x80, 7, 1, 8 /* past the cache */, 0, 0);
    if (!NT_SUCCESS(status) || !NT_SUCCESS(ZwCreateEvent(&event, 0x1F0003, &plain, 0, 0))) {
        DbgPrint("no file %08x\n", status);
        return;
    }
    block.Status = 77;
    status = ZwReadFile(file, event, 0, 0, &block, Text, 512, &zero, 0);
    DbgPrint("read %08x\n", status);
    status = ZwWaitForSingleObject(event, 0, 0);
    DbgPrint("event %08x %08x %u\n", status, block.Status, (unsigned)block.Information);
    status = ZwReadFile(file, 0, 0, 0, &other, Text, 512, &zero, 0);
    DbgPrint("file %08x %08x\n", status, ZwWaitForSingleObject(file, 0, 0));
    block.Status = 77;
    status = ZwFsControlFile(file, event, 0, 0, &block, REQUEST_OPLOCK, request, sizeof(request), answer, sizeof(answer));
    DbgPrint("oplock %08x %08x\n", status, ZwWaitForSingleObject(event, 0, &moment));
    ZwClose(file);
    status = ZwWaitForSingleObject(event, 0, 0);
    DbgPrint("broken %08x %08x\n", status, block.Status);
    ZwClose(event);
}

static int PreWrite(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    int64_t zero = 0;
    uintptr_t top;
    ULONG moved = 77;
    NTSTATUS status;
    (void)context;
    if (data->Flags & 2)
        return PREOP_DISALLOW_FASTIO;
    Sender = PsGetCurrentThreadId();
    IoGetStackLimits(&Bottom, &top);
    DbgPrint("sender %p in %p at %p\n", Sender, IoGetCurrentProcess(), (PVOID)Bottom);
    switch (TRANSFER(data)->Offset) {
    case 0:
        Send(objects, 0, "through");
        Await();
        break;
    case 1:
        Send(objects, 1, "pended");
        break;
    case 2:
        Send(objects, 2, "completed");
        Await();
        break;
    case 3:
        Send(objects, 3, "synchronised");
        break;
    case 4:
        KeInitializeEvent(Event, 0, 0);
        status = FltReadFile(objects->Instance, objects->FileObject, &zero, 512, Text, FLTFL_IO_OPERATION_NON_CACHED, &moved, Done, "raw");
        DbgPrint("raw %08x %u\n", status, moved);
        Await();
        break;
    case 5:
        ByHandle();
        break;
    case 6:
        Await();
        break;
    case 7:
        DbgPrint("cancelled %u\n", FltCancelIo(Own));
        Await();
        break;
    }
    if (Own && TRANSFER(data)->Offset != 1) {
        FltFreeCallbackData(Own);
        Own = 0;
    }
    data->IoStatus.Status = STATUS_SUCCESS;
    data->IoStatus.Information = TRANSFER(data)->Length;
    return PREOP_COMPLETE;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_WRITE, 0, PreWrite, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
#else
static FLT_CALLBACK_DATA *Kept;

static void Cancelled(FLT_CALLBACK_DATA *data)
{
    data->IoStatus.Status = STATUS_CANCELLED;
    data->IoStatus.Information = 0;
    FltCompletePendedPreOperation(data, PREOP_COMPLETE, 0);
}

static int PreRead(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    uintptr_t bottom, top;
    int64_t offset = TRANSFER(data)->Offset;
    (void)objects, (void)context;
    if (data->Flags & 2)
        return PREOP_DISALLOW_FASTIO;
    Sender = PsGetCurrentThreadId();
    IoGetStackLimits(&bottom, &top);
    if (ROLE == 2)
        DbgPrint("meets %p in %p at %p sync %u\n", Sender, IoGetCurrentProcess(), (PVOID)bottom, FltIsOperationSynchronous(data));
    if (offset == (ROLE == 2 ? 1 : 3)) {
        Kept = data;
        if (ROLE == 2 && !NT_SUCCESS(FltSetCancelCompletion(data, Cancelled))) {
            data->IoStatus.Status = STATUS_CANCELLED;
            return PREOP_COMPLETE;
        }
        return PREOP_PENDING;
    }
    if (ROLE == 3)
        return PREOP_NO_CALLBACK;
    if (offset == 2) {
        data->IoStatus.Status = STATUS_SUCCESS;
        data->IoStatus.Information = 0;
        return PREOP_COMPLETE;
    }
    return offset == 3 ? PREOP_SYNCHRONIZE : PREOP_WITH_CALLBACK;
}

static int PostRead(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    (void)objects, (void)context, (void)flags;
    DbgPrint("post %s %08x irql %u\n", Where(), data->IoStatus.Status, KeGetCurrentIrql());
    return POSTOP_FINISHED;
}

/* Lets go what is kept. */
static int PreFlush(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    FLT_CALLBACK_DATA *kept = Kept;
    (void)data, (void)objects, (void)context;
    Kept = 0;
    if (kept && (ROLE == 3 || NT_SUCCESS(FltClearCancelCompletion(kept))))
        FltCompletePendedPreOperation(kept, ROLE == 2 ? PREOP_WITH_CALLBACK : PREOP_NO_CALLBACK, 0);
    return PREOP_NO_CALLBACK;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_READ, 0, PreRead, PostRead, 0 },
    { IRP_MJ_FLUSH_BUFFERS, 0, PreFlush, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
#endif

PLAIN_UNLOAD

static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

PLAIN_ENTRY
