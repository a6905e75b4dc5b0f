/*
 * A content scanner that asks user mode: what a file begins with is sent to a program after its create and, where it may
 * have been written to, before its clean-up; the program says whether the file may be had. What is about to be written is
 * looked at here.
 * DEFECT: 1 denies a create without undoing it, 2 keeps a context, 3 leaks the buffer when the answer is no.
 */
#include "files.h"
#ifndef DEFECT
#define DEFECT 0
#endif
#define SCAN 64
#define STREAM_HANDLE_CONTEXT 0x10

typedef struct { BOOLEAN Rescan; } CONTEXT;
typedef struct {
    uint16_t Type, Flags; PVOID Cleanup; size_t Size; ULONG Tag; PVOID Allocate, Free, Reserved;
} CONTEXT_REGISTRATION;

static PVOID Server, Client;

/* Whether the program lets the file's first bytes pass; without a program everything passes. */
static BOOLEAN Safe(const FLT_RELATED_OBJECTS *objects)
{
    int64_t offset = 0, patience = -10000000;
    uint8_t reply[4] = { 0 };
    ULONG read = 0, length = sizeof(reply);
    BOOLEAN safe = 1;
    uint8_t *buffer;
    NTSTATUS status;

    if (Client == 0)
        return 1;
    buffer = FltAllocatePoolAlignedWithTag(objects->Instance, 0x200, SCAN, TAG);
    if (buffer == 0)
        return 1;
    status = FltReadFile(objects->Instance, objects->FileObject, &offset, SCAN, buffer, 4 /* keeps the byte offset */, &read, 0, 0);
    DbgPrint("scan %08x %u\n", status, read);
    if (NT_SUCCESS(status) && read) {
        status = FltSendMessage(Filter, &Client, buffer, read, reply, &length, &patience);
        safe = status != STATUS_SUCCESS || reply[0] == 0;
    }
    if (DEFECT != 3 || safe)
        FltFreePoolAlignedWithTag(objects->Instance, buffer, TAG);
    return safe;
}

static int PostCreate(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID completion, ULONG flags)
{
    CONTEXT *context;
    BOOLEAN directory = 1;
    (void)completion, (void)flags;

    if (!NT_SUCCESS(data->IoStatus.Status) || data->IoStatus.Status == STATUS_REPARSE)
        return POSTOP_FINISHED;
    if (!NT_SUCCESS(FltIsDirectory(objects->FileObject, objects->Instance, &directory)) || directory)
        return POSTOP_FINISHED;
    if (!Safe(objects)) {
        if (DEFECT != 1)
            FltCancelFileOpen(objects->Instance, objects->FileObject);
        data->IoStatus.Status = STATUS_ACCESS_DENIED;
        data->IoStatus.Information = 0;
        return POSTOP_FINISHED;
    }
    if (NT_SUCCESS(FltAllocateContext(Filter, STREAM_HANDLE_CONTEXT, sizeof(*context), 1, (PVOID *)&context))) {
        context->Rescan = 1;
        FltSetStreamHandleContext(objects->Instance, objects->FileObject, 1, context, 0);
        if (DEFECT != 2)
            FltReleaseContext(context);
    }
    return POSTOP_FINISHED;
}

static int PreWrite(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *completion)
{
    FLT_TRANSFER *transfer = TRANSFER(data);
    const uint8_t *bytes;
    (void)objects, (void)completion;

    if (transfer->Length == 0 || !NT_SUCCESS(FltLockUserBuffer(data)))
        return PREOP_NO_CALLBACK;
    bytes = SystemAddress(transfer->Mdl);
    for (ULONG at = 0; bytes && at + 4 <= transfer->Length; at++) {
        if (memcmp(bytes + at, "foul", 4) == 0) {
            data->IoStatus.Status = STATUS_ACCESS_DENIED;
            data->IoStatus.Information = 0;
            return PREOP_COMPLETE;
        }
    }
    return PREOP_NO_CALLBACK;
}

static int PreCleanup(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *completion)
{
    CONTEXT *context;
    (void)data, (void)completion;
    if (NT_SUCCESS(FltGetStreamHandleContext(objects->Instance, objects->FileObject, (PVOID *)&context))) {
        if (context->Rescan && !Safe(objects))
            DbgPrint("foul at the end\n");
        FltReleaseContext(context);
    }
    return PREOP_NO_CALLBACK;
}

static NTSTATUS Connect(PVOID client, PVOID cookie, PVOID context, ULONG size, PVOID *connection)
{
    (void)cookie, (void)context, (void)size;
    *connection = 0;
    Client = client;
    return STATUS_SUCCESS;
}

static void Disconnect(PVOID connection)
{
    (void)connection;
    FltCloseClientPort(Filter, &Client);
}

static NTSTATUS Unload(ULONG flags)
{
    (void)flags;
    FltCloseCommunicationPort(Server);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const CONTEXT_REGISTRATION Contexts[] = {
    { STREAM_HANDLE_CONTEXT, 0, 0, sizeof(CONTEXT), TAG, 0, 0, 0 }, { 0xFFFF, 0, 0, 0, 0, 0, 0, 0 },
};
static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, 0, PostCreate, 0 },
    { IRP_MJ_WRITE, 0, PreWrite, 0, 0 },
    { IRP_MJ_CLEANUP, 0, PreCleanup, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = {
    sizeof(FLT_REGISTRATION), 0x0203, 0, Contexts, Operations, Unload, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
};

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    UNICODE_STRING name = { sizeof(u"\\ScannerPort") - 2, sizeof(u"\\ScannerPort"), (WCHAR *)u"\\ScannerPort" };
    OBJECT_ATTRIBUTES object = { sizeof(object), 0, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, 0, 0 };
    NTSTATUS status = FltRegisterFilter(driver, &Registration, &Filter);
    (void)path;

    if (!NT_SUCCESS(status))
        return status;
    status = FltBuildDefaultSecurityDescriptor(&object.SecurityDescriptor, 0x1F0001);
    if (NT_SUCCESS(status)) {
        status = FltCreateCommunicationPort(Filter, &Server, &object, 0, Connect, Disconnect, 0, 1);
        FltFreeSecurityDescriptor(object.SecurityDescriptor);
    }
    if (NT_SUCCESS(status))
        status = FltStartFiltering(Filter);
    if (!NT_SUCCESS(status))
        FltUnregisterFilter(Filter);
    return status;
}
