/*
 * A filter with a port, after the samples that have one: echoes, sends on request, counts who comes and goes.
 * DEFECT: 1 leaves its server port open, 2 never closes a client port, 3 leaks the security descriptor, 4 says that it
 * wrote more than there was room for, 5 closes a client port twice. DESCRIPTOR: instead of the default one, 1 none, 2 one
 * without a list, 3 one that denies administrators and allows users, 4 one that is none.
 */
#include "flt.h"
#ifndef DEFECT
#define DEFECT 0
#endif
#ifndef ATTRIBUTES
#define ATTRIBUTES (OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE)
#endif

#ifndef DESCRIPTOR
#define DESCRIPTOR 0
#endif

/* SECURITY_DESCRIPTOR, absolute; then one that is self-relative, with a list of two entries. */
static struct { uint8_t Revision, Zero; uint16_t Control; PVOID Owner, Group, Sacl, Dacl; } Open = { 1, 0, 4, 0, 0, 0, 0 };
static struct {
    uint8_t Revision, Zero; uint16_t Control; ULONG Owner, Group, Sacl, Dacl;
    uint8_t List[8], Deny[8], Administrators[16], Allow[8], Users[16];
} Relative = {
    DESCRIPTOR == 4 ? 2 : 1, 0, 0x8004, 0, 0, 0, 20,
    { 2, 0, 56, 0, 2, 0, 0, 0 },
    { 1, 0, 24, 0, 1, 0, 0, 0 }, { 1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0 },
    { 0, 0, 24, 0, 1, 0, 0, 0 }, { 1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x21, 2, 0, 0 },
};

static PVOID Server, Client, Last;
static const FLT_OPERATION_REGISTRATION Operations[] = { { IRP_MJ_OPERATION_END, 0, 0, 0, 0 } };

static NTSTATUS Connect(PVOID client, PVOID cookie, const uint8_t *context, ULONG size, PVOID *connection)
{
    DbgPrint("connect cookie=%p size=%u first=%u\n", cookie, size, size ? *context : 0);
#ifdef WANTS
    if (size != 3 || context[0] != 1 || context[1] != 2 || context[2] != 3)
        return (NTSTATUS)0xC000000D;
#endif
    if (size && *context == 9)
        return (NTSTATUS)0xC0000059; /* STATUS_REVISION_MISMATCH */
    Client = Last = client;
    *connection = (PVOID)0x55;
    return STATUS_SUCCESS;
}

static void Disconnect(PVOID connection)
{
    DbgPrint("disconnect cookie=%p\n", connection);
    if (DEFECT == 2)
        return;
    FltCloseClientPort(Filter, &Client);
    DbgPrint("client is %p\n", Client);
    if (DEFECT == 5)
        FltCloseClientPort(Filter, &Last);
}

/* The first byte says what to do: 0 echo, 1 send without a reply, 2 send and want 4 bytes back, 3 the same without time. */
static NTSTATUS Message(PVOID connection, const uint8_t *in, ULONG in_length, uint8_t *out, ULONG out_length, ULONG *returned)
{
    int64_t soon = -500000, now = 0;
    uint8_t reply[4] = { 0 };
    ULONG reply_length = sizeof(reply);
    NTSTATUS status;

    if (in_length == 0) {
        DbgPrint("empty in=%p out=%p length=%u cookie=%p\n", in, out, out_length, connection);
        return STATUS_SUCCESS;
    }
    switch (in[0]) {
    case 0:
        if (out_length < in_length)
            return (NTSTATUS)0xC0000023;
        memcpy(out, in, in_length);
        *returned = DEFECT == 4 ? out_length + 1 : in_length;
        return STATUS_SUCCESS;
    case 1:
        return FltSendMessage(Filter, &Client, (PVOID) "hello", 5, 0, 0, &soon);
    case 2:
    case 3:
        status = FltSendMessage(Filter, &Client, (PVOID) "question", 8, reply, &reply_length, in[0] == 3 ? &now : 0);
        DbgPrint("replied %08x length=%u first=%u\n", status, reply_length, reply[0]);
        return status;
    default:
        return FltSendMessage(Filter, &Client, (PVOID) "x", 1, reply, 0, &soon);
    }
}

static NTSTATUS Unload(ULONG flags)
{
    (void)flags;
    if (DEFECT != 1)
        FltCloseCommunicationPort(Server);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

static NTSTATUS Create(PVOID descriptor, ULONG attributes, int most, PVOID *port)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES object = { sizeof(object), 0, &name, attributes, descriptor, 0 };
    RtlInitUnicodeString(&name, u"\\TalkerPort");
    if (DESCRIPTOR)
        object.SecurityDescriptor = DESCRIPTOR == 1 ? 0 : DESCRIPTOR == 2 ? (PVOID)&Open : (PVOID)&Relative;
    return FltCreateCommunicationPort(Filter, port, &object, (PVOID)0x44, Connect, Disconnect, Message, most);
}

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    PVOID descriptor, other;
    NTSTATUS status = FltRegisterFilter(driver, &Registration, &Filter);
    (void)path;

    if (!NT_SUCCESS(status))
        return status;
    status = FltBuildDefaultSecurityDescriptor(&descriptor, 0x1F0001);
    if (NT_SUCCESS(status)) {
        status = Create(descriptor, ATTRIBUTES, 2, &Server);
        if (NT_SUCCESS(status))
            DbgPrint("again %08x none %08x\n", Create(descriptor, ATTRIBUTES, 2, &other), Create(descriptor, ATTRIBUTES, 0, &other));
        if (DEFECT != 3)
            FltFreeSecurityDescriptor(descriptor);
    }
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltCloseCommunicationPort(Server);
    }
    if (!NT_SUCCESS(status))
        FltUnregisterFilter(Filter);
    return status;
}
