/*
 * In the manner of a filter that simulates reparse points: names below one prefix are opened below another. What is mapped
 * to what are values of its key, which it opens and names replaces by functions that it looks up by their names. It is
 * built as drivers are that check themselves: stack cookies, and guarded indirect calls.
 */
#include "fltkernel.h"
#include <ntstrsafe.h>
#define TAG 'prmS'

typedef NTSTATUS(NTAPI *OPEN_KEY)(PDRIVER_OBJECT, ULONG, ACCESS_MASK, ULONG, PHANDLE);
typedef NTSTATUS(NTAPI *REPLACE_NAME)(PFILE_OBJECT, PWSTR, USHORT);

static PFLT_FILTER Filter;
static UNICODE_STRING Old, New;
static REPLACE_NAME ReplaceName;

static PVOID Routine(PCWSTR Name)
{
    UNICODE_STRING name;
    RtlInitUnicodeString(&name, Name);
    return MmGetSystemRoutineAddress(&name);
}

static NTSTATUS Read(HANDLE Key, PCWSTR Name, UNICODE_STRING *Value)
{
    UNICODE_STRING name;
    PKEY_VALUE_PARTIAL_INFORMATION value = NULL;
    ULONG length = 0;
    NTSTATUS status;

    RtlInitUnicodeString(&name, Name);
    status = ZwQueryValueKey(Key, &name, KeyValuePartialInformation, NULL, 0, &length);
    if (status != STATUS_BUFFER_TOO_SMALL && status != STATUS_BUFFER_OVERFLOW)
        return NT_SUCCESS(status) ? STATUS_INVALID_PARAMETER : status;
    value = ExAllocatePoolWithTag(NonPagedPool, length, TAG);
    if (!value)
        return STATUS_INSUFFICIENT_RESOURCES;
    status = ZwQueryValueKey(Key, &name, KeyValuePartialInformation, value, length, &length);
    if (NT_SUCCESS(status) && (value->Type != REG_SZ || value->DataLength < sizeof(WCHAR)))
        status = STATUS_INVALID_PARAMETER;
    if (NT_SUCCESS(status)) {
        Value->MaximumLength = Value->Length = (USHORT)(value->DataLength - sizeof(WCHAR));
        Value->Buffer = ExAllocatePoolWithTag(PagedPool, Value->Length, TAG);
        if (Value->Buffer)
            RtlCopyMemory(Value->Buffer, value->Data, Value->Length);
        else
            status = STATUS_INSUFFICIENT_RESOURCES;
    }
    ExFreePoolWithTag(value, TAG);
    return status;
}

static VOID Free(VOID)
{
    if (Old.Buffer)
        ExFreePoolWithTag(Old.Buffer, TAG);
    if (New.Buffer)
        ExFreePoolWithTag(New.Buffer, TAG);
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    FLT_PREOP_CALLBACK_STATUS answer = FLT_PREOP_SUCCESS_NO_CALLBACK;
    PFLT_FILE_NAME_INFORMATION name = NULL;
    UNICODE_STRING below, target = { 0 };
    NTSTATUS status;

    UNREFERENCED_PARAMETER(Context);
    /* Paging files, volumes and opens by id have no name to be mapped. */
    if (FlagOn(Data->Iopb->OperationFlags, SL_OPEN_PAGING_FILE) || FlagOn(FltObjects->FileObject->Flags, FO_VOLUME_OPEN) ||
        FlagOn(Data->Iopb->Parameters.Create.Options, FILE_OPEN_BY_FILE_ID))
        return answer;
    status = FltGetFileNameInformation(Data, FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT, &name);
    if (!NT_SUCCESS(status))
        return answer;
    status = FltParseFileNameInformation(name);
    if (NT_SUCCESS(status)) {
        below.Buffer = name->Name.Buffer + name->Volume.Length / sizeof(WCHAR);
        below.MaximumLength = below.Length = name->Name.Length - name->Volume.Length;
        if (RtlPrefixUnicodeString(&Old, &below, TRUE) &&
            (below.Length == Old.Length || below.Buffer[Old.Length / sizeof(WCHAR)] == L'\\')) {
            target.MaximumLength = (USHORT)(name->Volume.Length + New.Length + below.Length - Old.Length);
            target.Buffer = ExAllocatePoolWithTag(PagedPool, target.MaximumLength, TAG);
            if (target.Buffer) {
                UNICODE_STRING rest = { below.Length - Old.Length, below.Length - Old.Length, below.Buffer + Old.Length / sizeof(WCHAR) };
                RtlCopyUnicodeString(&target, &name->Volume);
                RtlAppendUnicodeStringToString(&target, &New);
                RtlAppendUnicodeStringToString(&target, &rest);
                status = ReplaceName(Data->Iopb->TargetFileObject, target.Buffer, target.Length);
                DbgPrint("%wZ to %wZ: %08x\n", &below, &target, status);
                Data->IoStatus.Status = NT_SUCCESS(status) ? STATUS_REPARSE : status;
                Data->IoStatus.Information = IO_REPARSE;
                answer = FLT_PREOP_COMPLETE;
                ExFreePoolWithTag(target.Buffer, TAG);
            }
        }
    }
    FltReleaseFileNameInformation(name);
    return answer;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreNetworkQueryOpen(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Data);
    /* A name cannot be replaced there: the I/O manager is to come with a create. */
    return FLT_PREOP_DISALLOW_FASTIO;
}

static NTSTATUS FLTAPI Unload(ULONG Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    Free();
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Callbacks[] = {
    { IRP_MJ_CREATE, 0, PreCreate, NULL }, { IRP_MJ_NETWORK_QUERY_OPEN, 0, PreNetworkQueryOpen, NULL }, { IRP_MJ_OPERATION_END }
};
static const FLT_REGISTRATION Registration = {
    sizeof(FLT_REGISTRATION), FLT_REGISTRATION_VERSION, 0, NULL, Callbacks, Unload,
};

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    OPEN_KEY open = (OPEN_KEY)Routine(L"IoOpenDriverRegistryKey");
    RTL_OSVERSIONINFOW version = { sizeof(version) };
    WCHAR text[40];
    HANDLE key;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);
    ReplaceName = (REPLACE_NAME)Routine(L"IoReplaceFileObjectName");
    if (!NT_SUCCESS(RtlGetVersion(&version)) || version.dwMajorVersion < 6 || !ReplaceName || !open)
        return STATUS_NOT_SUPPORTED;
    status = RtlStringCbPrintfW(text, sizeof(text), L"%u.%u", version.dwMajorVersion, version.dwMinorVersion);
    if (NT_SUCCESS(status))
        DbgPrint("Windows %ws\n", text);
    status = open(DriverObject, 0 /* DriverRegKeyParameters */, KEY_READ, 0, &key);
    if (!NT_SUCCESS(status))
        return status;
    status = Read(key, L"OldMapping", &Old);
    if (NT_SUCCESS(status))
        status = Read(key, L"NewMapping", &New);
    ZwClose(key);
    if (NT_SUCCESS(status))
        status = FltRegisterFilter(DriverObject, &Registration, &Filter);
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    if (!NT_SUCCESS(status))
        Free();
    return status;
}
