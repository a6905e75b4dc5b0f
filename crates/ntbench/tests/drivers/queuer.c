/*
 * A filter that keeps creates of names that end in x in a cancel-safe queue, and lets them go on request, through
 * messages to its port: n the next one, c the one that its context stands for, d disables the queue, e enables it.
 */
#include "flt.h"

typedef struct LINK { struct LINK *Next, *Last; } LINK;

static PVOID Server, Client;
static uint8_t Queue[128] __attribute__((aligned(16)));
static LINK Waiting = { &Waiting, &Waiting };
static uint64_t Lock;
static struct { ULONG Type; PVOID Data, Queue; } Context;

static FLT_CALLBACK_DATA *Of(LINK *link) { return (FLT_CALLBACK_DATA *)((uint8_t *)link - offsetof(FLT_CALLBACK_DATA, Context)); }
static LINK *Link(FLT_CALLBACK_DATA *data) { return (LINK *)data->Context; }

static NTSTATUS Insert(PVOID queue, FLT_CALLBACK_DATA *data, PVOID context)
{
    LINK *link = Link(data);
    DbgPrint("insert mine=%d context=%p irql=%u\n", queue == Queue, context, KeGetCurrentIrql());
    link->Next = &Waiting, link->Last = Waiting.Last;
    Waiting.Last->Next = link, Waiting.Last = link;
    return STATUS_SUCCESS;
}

static void Remove(PVOID queue, FLT_CALLBACK_DATA *data)
{
    LINK *link = Link(data);
    (void)queue;
    link->Last->Next = link->Next, link->Next->Last = link->Last;
}

static FLT_CALLBACK_DATA *Peek(PVOID queue, FLT_CALLBACK_DATA *data, PVOID context)
{
    LINK *next = data ? Link(data)->Next : Waiting.Next;
    (void)queue, (void)context;
    return next == &Waiting ? 0 : Of(next);
}

static void Acquire(PVOID queue, uint8_t *irql)
{
    (void)queue;
    *irql = KeAcquireSpinLockRaiseToDpc(&Lock);
}

static void Release(PVOID queue, uint8_t irql)
{
    (void)queue;
    KeReleaseSpinLock(&Lock, irql);
}

static void Canceled(PVOID queue, FLT_CALLBACK_DATA *data)
{
    (void)queue;
    DbgPrint("cancelled irql=%u context=%p\n", KeGetCurrentIrql(), Context.Data);
    data->IoStatus.Status = (NTSTATUS)0xC0000120;
    FltCompletePendedPreOperation(data, PREOP_COMPLETE, 0);
}

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    const UNICODE_STRING *name = (const UNICODE_STRING *)((uint8_t *)objects->FileObject + 0x58);
    NTSTATUS status;
    (void)context;
    if (name->Length < 2 || name->Buffer[name->Length / 2 - 1] != 'x')
        return PREOP_NO_CALLBACK;
    status = FltCbdqInsertIo(Queue, data, &Context, (PVOID)0x12);
    DbgPrint("inserted %08x\n", status);
    return NT_SUCCESS(status) ? PREOP_PENDING : PREOP_NO_CALLBACK;
}

static NTSTATUS Setup(const FLT_RELATED_OBJECTS *objects, ULONG flags, ULONG device, ULONG file_system)
{
    (void)flags, (void)device, (void)file_system;
    return FltCbdqInitialize(objects->Instance, Queue, Insert, Remove, Peek, Acquire, Release, Canceled);
}

static ULONG Go(FLT_CALLBACK_DATA *data)
{
    if (data == 0)
        return 0;
    FltCompletePendedPreOperation(data, PREOP_NO_CALLBACK, 0);
    return 1;
}

static void Start(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    (void)objects, (void)reason;
    FltCbdqDisable(Queue);
    while (Go(FltCbdqRemoveNextIo(Queue, 0)))
        ;
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

static NTSTATUS Message(PVOID connection, const uint8_t *in, ULONG in_length, PVOID out, ULONG out_length, ULONG *returned)
{
    ULONG went = 9;
    (void)connection, (void)out, (void)out_length, (void)returned;
    switch (in_length ? in[0] : 0) {
    case 'n':
        went = Go(FltCbdqRemoveNextIo(Queue, 0));
        break;
    case 'c':
        went = Go(FltCbdqRemoveIo(Queue, &Context));
        break;
    case 'd':
        FltCbdqDisable(Queue);
        break;
    case 'e':
        FltCbdqEnable(Queue);
        break;
    }
    DbgPrint("%c went %u\n", in[0], went);
    return STATUS_SUCCESS;
}

static NTSTATUS Unload(ULONG flags)
{
    (void)flags;
    FltCloseCommunicationPort(Server);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = { { IRP_MJ_CREATE, 0, Pre, 0, 0 }, { IRP_MJ_OPERATION_END, 0, 0, 0, 0 } };
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, Setup, Start, 0);

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    UNICODE_STRING name = { sizeof(u"\\QueuerPort") - 2, sizeof(u"\\QueuerPort"), (WCHAR *)u"\\QueuerPort" };
    OBJECT_ATTRIBUTES object = { sizeof(object), 0, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, 0, 0 };
    NTSTATUS status = FltRegisterFilter(driver, &Registration, &Filter);
    (void)path;

    if (!NT_SUCCESS(status))
        return status;
    status = FltBuildDefaultSecurityDescriptor(&object.SecurityDescriptor, 0x1F0001);
    if (NT_SUCCESS(status)) {
        status = FltCreateCommunicationPort(Filter, &Server, &object, 0, Connect, Disconnect, Message, 1);
        FltFreeSecurityDescriptor(object.SecurityDescriptor);
    }
    if (NT_SUCCESS(status))
        status = FltStartFiltering(Filter);
    if (!NT_SUCCESS(status))
        FltUnregisterFilter(Filter);
    return status;
}
