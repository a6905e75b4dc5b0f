/*
 * A filter that breaks one rule: the one that its Misuse value names. Each part beside this file breaks the rules of its subject;
 * without a misuse the filter does all that they do around it, and does it right.
 */
#include "locks.c"
#include "memory.c"
#include "objects.c"
#include "operations.c"
#include "devices.c"
#include "ports.c"

static const FLT_CONTEXT_REGISTRATION Contexts[] = {
    { FLT_VOLUME_CONTEXT, 0, NULL, 16, TAG }, { FLT_INSTANCE_CONTEXT, 0, NULL, 16, TAG }, { FLT_FILE_CONTEXT, 0, NULL, 16, TAG },
    { FLT_STREAM_CONTEXT, 0, NULL, 16, TAG }, { FLT_STREAMHANDLE_CONTEXT, 0, NULL, 16, TAG },
    { FLT_TRANSACTION_CONTEXT, 0, NULL, 16, TAG }, { FLT_SECTION_CONTEXT, 0, NULL, 16, TAG }, { FLT_CONTEXT_END }
};
#define OPERATIONS { IRP_MJ_CREATE, 0, NULL, PostCreate }, { IRP_MJ_READ, 0, PreRead, PostRead }, \
    { IRP_MJ_CLEANUP, 0, PreCleanup, NULL }, { IRP_MJ_FILE_SYSTEM_CONTROL, 0, PreControl, PostControl }
static const FLT_OPERATION_REGISTRATION Operations[] = { OPERATIONS, { IRP_MJ_OPERATION_END } };
static const FLT_OPERATION_REGISTRATION Twice[] = { OPERATIONS, { IRP_MJ_READ, 0, PreRead, NULL }, { IRP_MJ_OPERATION_END } };
static FLT_OPERATION_REGISTRATION Endless[200];

static FLT_REGISTRATION Registration = {
    sizeof(FLT_REGISTRATION), FLT_REGISTRATION_VERSION, 0, Contexts, Operations, Unload, Setup, NULL, NULL, NULL, NULL, NULL, NULL,
    Notified, NULL, NULL
};

/* Reads the Misuse value. */
static VOID ReadMisuse(PUNICODE_STRING path)
{
    static WCHAR key_name[256];
    static UCHAR block[256];
    UNICODE_STRING key = { 0, sizeof(key_name), key_name }, value = RTL_CONSTANT_STRING(L"Misuse");
    OBJECT_ATTRIBUTES attributes;
    HANDLE handle;
    ULONG length, at;
    PKEY_VALUE_PARTIAL_INFORMATION found = (PKEY_VALUE_PARTIAL_INFORMATION)block;

    RtlCopyUnicodeString(&key, path);
    RtlAppendUnicodeToString(&key, L"\\Parameters");
    InitializeObjectAttributes(&attributes, &key, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    if (!NT_SUCCESS(ZwOpenKey(&handle, KEY_READ, &attributes)))
        return;
    if (NT_SUCCESS(ZwQueryValueKey(handle, &value, KeyValuePartialInformation, block, sizeof(block), &length)))
        for (at = 0; at < found->DataLength / sizeof(WCHAR) && at < RTL_NUMBER_OF(Misuse) - 1; at++)
            Misuse[at] = ((WCHAR *)found->Data)[at];
    ZwClose(handle);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status;

    ReadMisuse(RegistryPath);
    Driver = DriverObject;
    if (IS("registration: twice"))
        Registration.OperationRegistration = Twice;
    if (IS("registration: no end"))
        Registration.OperationRegistration = Endless;
    if (IS("registration: size"))
        Registration.Size = 40;
    if (IS("generated-name") || IS("name-control-buffer"))
        Registration.GenerateFileNameCallback = GenerateName;
    status = FltRegisterFilter(DriverObject, &Registration, &Filter); /* here: registration: twice *//* here: registration: no end *//* here: registration: size *//* here: fltmgr-leak: filter of a failing DriverEntry */
    if (!NT_SUCCESS(status))
        return status;
    if (IS("fltmgr-leak: filter of a failing DriverEntry"))
        return STATUS_UNSUCCESSFUL;
    Devices(TRUE);
    Ports();
    Locks();
    Memory();
    Objects(RegistryPath);
    status = FltStartFiltering(Filter); /* here: altitude-collision */
    if (!NT_SUCCESS(status)) {
        Devices(FALSE);
        FltUnregisterFilter(Filter);
    }
    return status;
}
