/*
 * Raises an exception in the routine that WHERE names, and has no handler for it: 1 setup, 2 pre, 3 post, 4 a work item's, 5 the
 * one that cleans a context up, 6 teardown, 7 unload, 8 connect, 9 message, 10 disconnect. 0: in none.
 */
#include "flt.h"

IMPORT void ExRaiseStatus(NTSTATUS);
IMPORT PVOID FltAllocateGenericWorkItem(void);
IMPORT NTSTATUS FltQueueGenericWorkItem(PVOID, PVOID, PVOID, ULONG, PVOID);

enum { NOWHERE, SETUP, PRE, POST, WORK, CLEANUP, TEARDOWN, UNLOAD, CONNECT, MESSAGE, DISCONNECT };
static PVOID Server;

static __attribute__((noinline)) void raise(int where)
{
    if (where == WHERE)
        ExRaiseStatus((NTSTATUS)0xC000009A);
}

static void Work(PVOID item, PVOID filter, PVOID context)
{
    (void)item, (void)filter, (void)context;
    raise(WORK);
}

static void Cleanup(PVOID context, uint16_t type)
{
    (void)context, (void)type;
    raise(CLEANUP);
}

static NTSTATUS Setup(const FLT_RELATED_OBJECTS *objects, ULONG flags, ULONG device, ULONG system)
{
    (void)objects, (void)flags, (void)device, (void)system;
    raise(SETUP);
    return STATUS_SUCCESS;
}

static void Teardown(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    (void)objects, (void)reason;
    raise(TEARDOWN);
}

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    PVOID handle;
    (void)data, (void)objects, (void)context;
    raise(PRE);
    if (WHERE == WORK)
        FltQueueGenericWorkItem(FltAllocateGenericWorkItem(), Filter, (PVOID)Work, 1, 0);
    if (WHERE == CLEANUP && NT_SUCCESS(FltAllocateContext(Filter, 0x10, 16, 1, &handle)))
        FltReleaseContext(handle);
    return PREOP_WITH_CALLBACK;
}

static int Post(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    (void)data, (void)objects, (void)context, (void)flags;
    raise(POST);
    return POSTOP_FINISHED;
}

static NTSTATUS Connect(PVOID client, PVOID cookie, PVOID context, ULONG size, PVOID *connection)
{
    (void)cookie, (void)context, (void)size;
    *connection = client;
    raise(CONNECT);
    return STATUS_SUCCESS;
}

static void Disconnect(PVOID connection)
{
    raise(DISCONNECT);
    FltCloseClientPort(Filter, &connection);
}

static NTSTATUS Message(PVOID connection, PVOID in, ULONG in_length, PVOID out, ULONG out_length, ULONG *returned)
{
    (void)connection, (void)in, (void)in_length, (void)out, (void)out_length;
    *returned = 0;
    raise(MESSAGE);
    return STATUS_SUCCESS;
}

static NTSTATUS Unload(ULONG flags)
{
    (void)flags;
    raise(UNLOAD);
    FltCloseCommunicationPort(Server);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const struct { uint16_t Type, Flags; PVOID Cleanup; size_t Size; ULONG Tag; PVOID Rest[3]; } Contexts[] = {
    { 0x10, 0, (PVOID)Cleanup, 16, TAG, { 0 } }, { 0xFFFF, 0, 0, 0, 0, { 0 } },
};
static const FLT_OPERATION_REGISTRATION Operations[] = { { IRP_MJ_CREATE, 0, Pre, Post, 0 }, { IRP_MJ_OPERATION_END, 0, 0, 0, 0 } };
static FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, Setup, Teardown, 0);

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes = { sizeof(attributes), 0, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, 0, 0 };
    PVOID descriptor;
    (void)path;
    Registration.Contexts = Contexts;
    RtlInitUnicodeString(&name, u"\\RaiserPort");
    FltRegisterFilter(driver, &Registration, &Filter);
    FltBuildDefaultSecurityDescriptor(&descriptor, 0x1F0001);
    attributes.SecurityDescriptor = descriptor;
    FltCreateCommunicationPort(Filter, &Server, &attributes, 0, Connect, Disconnect, Message, 1);
    FltFreeSecurityDescriptor(descriptor);
    return FltStartFiltering(Filter);
}
