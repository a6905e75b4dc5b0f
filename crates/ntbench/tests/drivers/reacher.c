/*
 * Prints what of a program's doings reaches a filter: the extended attributes of its creates, the labels that it sets, questions by
 * name, what is taken from it when it ends; and asks for what a create can tell. Has a port.
 */
#include "files.h"

IMPORT NTSTATUS FltRequestFileInfoOnCreateCompletion(PVOID, FLT_CALLBACK_DATA *, ULONG);
IMPORT NTSTATUS FltRetrieveFileInfoOnCreateCompletionEx(PVOID, FLT_CALLBACK_DATA *, ULONG, ULONG *, PVOID *);
IMPORT PVOID FltRetrieveFileInfoOnCreateCompletion(PVOID, FLT_CALLBACK_DATA *, ULONG, ULONG *);
IMPORT NTSTATUS FltQueryInformationByName(PVOID, PVOID, OBJECT_ATTRIBUTES *, IO_STATUS_BLOCK *, PVOID, ULONG, ULONG, PVOID);
IMPORT NTSTATUS FltSetVolumeInformation(PVOID, IO_STATUS_BLOCK *, PVOID, ULONG, ULONG);
IMPORT NTSTATUS FltCreateFile(PVOID, PVOID, HANDLE *, ULONG, OBJECT_ATTRIBUTES *, IO_STATUS_BLOCK *, int64_t *, ULONG, ULONG, ULONG, ULONG, PVOID, ULONG, ULONG);
IMPORT NTSTATUS FltClose(HANDLE);

#define STRING(text) { sizeof(text) - 2, sizeof(text), (WCHAR *)text }
typedef struct { int64_t Id, Times[4], Allocation, End; ULONG Attributes, Tag, Links; } STAT;
typedef struct { ULONG Length; uint8_t *List; } EAS;

static PVOID Server, Client;

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    const FLT_IO_PARAMETER_BLOCK *block = data->Iopb;
    const uint8_t *eas = *(uint8_t **)(block->Rest + 8);
    ULONG length = *(ULONG *)block->Rest;
    (void)objects, (void)context;
    switch (block->MajorFunction) {
    case IRP_MJ_CREATE:
        if (length)
            DbgPrint("create with %u bytes of %c\n", length, eas[8]);
        if (data->RequestorMode)
            FltRequestFileInfoOnCreateCompletion(Filter, data, 5);
        return PREOP_WITH_CALLBACK;
    case 0xF2:
        DbgPrint("query open fast=%d\n", (data->Flags & 2) != 0);
        return PREOP_WITH_CALLBACK;
    case IRP_MJ_SET_VOLUME_INFORMATION:
        DbgPrint("set volume\n");
        return PREOP_NO_CALLBACK;
    case IRP_MJ_CLEANUP:
        DbgPrint("cleanup\n");
        return PREOP_NO_CALLBACK;
    }
    return PREOP_WITH_CALLBACK;
}

static int Post(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    STAT *stat;
    EAS *eas;
    ULONG size;
    NTSTATUS status;
    (void)objects, (void)context, (void)flags;
    if (data->Iopb->MajorFunction != IRP_MJ_CREATE) {
        DbgPrint("post %s %08x\n", FltGetIrpName(data->Iopb->MajorFunction), data->IoStatus.Status);
        return POSTOP_FINISHED;
    }
    if (!data->RequestorMode || !NT_SUCCESS(data->IoStatus.Status))
        return POSTOP_FINISHED;
    stat = FltRetrieveFileInfoOnCreateCompletion(Filter, data, 1, &size);
    if (stat && size == 72)
        DbgPrint("end %u links %u\n", (ULONG)stat->End, stat->Links);
    status = FltRetrieveFileInfoOnCreateCompletionEx(Filter, data, 4, &size, (PVOID *)&eas);
    DbgPrint("eas %08x %u\n", status, status ? 0 : eas->Length);
    return POSTOP_FINISHED;
}

static NTSTATUS Connect(PVOID client, PVOID cookie, const void *bytes, ULONG size, PVOID *connection)
{
    (void)cookie, (void)bytes, (void)size;
    Client = client;
    *connection = 0;
    return STATUS_SUCCESS;
}

static void Disconnect(PVOID connection)
{
    (void)connection;
    DbgPrint("disconnected\n");
    FltCloseClientPort(Filter, &Client);
}

static int PreFlush(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    static struct { ULONG Length; WCHAR Text[2]; } label = { 4, { 'o', 'k' } };
    static uint8_t ea[] = { 0, 0, 0, 0, 0, 1, 1, 0, 'B', 0, 'x', 0 };
    UNICODE_STRING name = STRING(L"\\Device\\HarddiskVolume1\\a.txt"), made = STRING(L"\\Device\\HarddiskVolume1\\made.txt");
    OBJECT_ATTRIBUTES attributes = { sizeof(attributes), 0, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, 0, 0 };
    IO_STATUS_BLOCK status;
    HANDLE handle;
    STAT stat;
    NTSTATUS answer;
    (void)data, (void)context;
    answer = FltQueryInformationByName(Filter, 0, &attributes, &status, &stat, 72, 68, 0);
    DbgPrint("by name %08x end %u\n", answer, (ULONG)stat.End);
    DbgPrint("label %08x\n", FltSetVolumeInformation(objects->Instance, &status, &label, sizeof(label), 2));
    attributes.ObjectName = &made;
    answer = FltCreateFile(Filter, objects->Instance, &handle, 0x100001, &attributes, &status, 0, 0x80, 7, 2, 0x20, ea, sizeof(ea), 0);
    DbgPrint("made %08x\n", answer);
    if (NT_SUCCESS(answer))
        FltClose(handle);
    ea[9] = 'x';
    answer = FltCreateFile(Filter, objects->Instance, &handle, 0x100001, &attributes, &status, 0, 0x80, 7, 3, 0x20, ea, sizeof(ea), 0);
    DbgPrint("made %08x %u\n", answer, (ULONG)status.Information);
    return PREOP_NO_CALLBACK;
}

static NTSTATUS Unload(ULONG flags)
{
    (void)flags;
    FltCloseCommunicationPort(Server);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, Pre, Post, 0 }, { 0xF2, 0, Pre, Post, 0 }, { IRP_MJ_SET_VOLUME_INFORMATION, 0, Pre, 0, 0 },
    { IRP_MJ_CLEANUP, 0, Pre, 0, 0 }, { IRP_MJ_DIRECTORY_CONTROL, 0, Pre, Post, 0 }, { IRP_MJ_FILE_SYSTEM_CONTROL, 0, Pre, Post, 0 },
    { IRP_MJ_FLUSH_BUFFERS, 0, PreFlush, 0, 0 }, { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    UNICODE_STRING name = STRING(L"\\ReacherPort");
    OBJECT_ATTRIBUTES attributes = { sizeof(attributes), 0, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, 0, 0 };
    PVOID descriptor;
    NTSTATUS status = FltRegisterFilter(driver, &Registration, &Filter);
    (void)path;
    if (!NT_SUCCESS(status))
        return status;
    status = FltBuildDefaultSecurityDescriptor(&descriptor, 0x1F0001);
    if (NT_SUCCESS(status)) {
        attributes.SecurityDescriptor = descriptor;
        status = FltCreateCommunicationPort(Filter, &Server, &attributes, 0, Connect, Disconnect, 0, 1);
        FltFreeSecurityDescriptor(descriptor);
    }
    if (NT_SUCCESS(status))
        status = FltStartFiltering(Filter);
    if (!NT_SUCCESS(status))
        FltUnregisterFilter(Filter);
    return status;
}
