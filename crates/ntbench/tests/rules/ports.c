/* Ports, registration and unloading. */
#include "rules.h"

static PFLT_PORT Server, Client;

static NTSTATUS NTAPI Connect(PFLT_PORT port, PVOID cookie, PVOID context, ULONG size, PVOID *connection)
{
    UNREFERENCED_PARAMETER(cookie);
    UNREFERENCED_PARAMETER(context);
    UNREFERENCED_PARAMETER(size);
    *connection = NULL;
    Client = port;
    return STATUS_SUCCESS;
}

static VOID NTAPI Disconnect(PVOID connection)
{
    UNREFERENCED_PARAMETER(connection);
    if (!IS("fltmgr-leak: client port"))
        FltCloseClientPort(Filter, &Client);
}

static NTSTATUS NTAPI Message(PVOID cookie, PVOID in, ULONG in_size, PVOID out, ULONG out_size, PULONG returned)
{
    UNREFERENCED_PARAMETER(cookie);
    UNREFERENCED_PARAMETER(in);
    UNREFERENCED_PARAMETER(in_size);
    UNREFERENCED_PARAMETER(out);
    *returned = IS("port-output-length") ? out_size + 1 : 0; /* in Message */
    return IS("port-message-pending") ? STATUS_PENDING : STATUS_SUCCESS; /* in Message */
}

static VOID Ports(VOID)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Rules");
    OBJECT_ATTRIBUTES attributes;
    PSECURITY_DESCRIPTOR descriptor = NULL;

    FltBuildDefaultSecurityDescriptor(&descriptor, 0x1F0001);
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, descriptor);
    if (IS("port-attributes")) {
        attributes.Attributes = OBJ_CASE_INSENSITIVE;
        FltCreateCommunicationPort(Filter, &Server, &attributes, NULL, Connect, Disconnect, Message, 4); /* here */
    } else if (IS("server-port-open-at-unregister") || IS("fltmgr-leak: client port") || IS("fltmgr-leak: server port"))
        FltCreateCommunicationPort(Filter, &Server, &attributes, NULL, Connect, Disconnect, Message, 4); /* here: server-port-open-at-unregister *//* here: fltmgr-leak: client port *//* here: fltmgr-leak: server port */
    else
        FltCreateCommunicationPort(Filter, &Server, &attributes, NULL, Connect, Disconnect, Message, 4);
    FltFreeSecurityDescriptor(descriptor);
}

static NTSTATUS FLTAPI Unload(ULONG Flags)
{
    UNICODE_STRING own = RTL_CONSTANT_STRING(L"rules");

    UNREFERENCED_PARAMETER(Flags);
    if (IS("filter-unloads-itself"))
        FltUnloadFilter(&own); /* here */
    if (IS("unload-without-unregister") || IS("fltmgr-leak: server port")) /* in Unload */
        return STATUS_SUCCESS;
    if (Server && !IS("server-port-open-at-unregister"))
        FltCloseCommunicationPort(Server);
    Devices(FALSE);
    FltUnregisterFilter(Filter);
    return IS("mandatory-unload-refused") ? STATUS_FLT_DO_NOT_DETACH : STATUS_SUCCESS; /* in Unload */
}
