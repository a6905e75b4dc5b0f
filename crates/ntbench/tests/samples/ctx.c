/*
 * In the manner of a filter that shows contexts: one with each volume, instance, file, stream and open, each with the name
 * that it was made by; the streams of one file share the file's context and have their own. The file's comes out of the
 * filter's own pool. A rename changes the stream's name.
 */
#include "fltkernel.h"
#define TAG 'xtcC'

typedef struct { UNICODE_STRING Name; ULONG Number; } NAMED;

static PFLT_FILTER Filter;
static volatile LONG Next, Owned;

static PVOID FLTAPI Allocate(POOL_TYPE Pool, SIZE_T Size, FLT_CONTEXT_TYPE Type)
{
    UNREFERENCED_PARAMETER(Type);
    /* The Filter Manager's own part is in it. */
    if (Size <= sizeof(NAMED))
        return NULL;
    InterlockedIncrement(&Owned);
    return ExAllocatePoolWithTag(Pool, Size, TAG);
}

static VOID FLTAPI Free(PVOID Memory, FLT_CONTEXT_TYPE Type)
{
    UNREFERENCED_PARAMETER(Type);
    InterlockedDecrement(&Owned);
    ExFreePoolWithTag(Memory, TAG);
}

static VOID FLTAPI Cleanup(PFLT_CONTEXT Context, FLT_CONTEXT_TYPE Type)
{
    NAMED *named = Context;
    DbgPrint("gone %x %u %wZ\n", Type, named->Number, &named->Name);
    if (named->Name.Buffer)
        ExFreePoolWithTag(named->Name.Buffer, TAG);
}

static VOID Rename(NAMED *Named, PCUNICODE_STRING Name)
{
    if (Named->Name.Buffer)
        ExFreePoolWithTag(Named->Name.Buffer, TAG);
    Named->Name.Length = 0;
    Named->Name.MaximumLength = Name->Length;
    Named->Name.Buffer = ExAllocatePoolWithTag(PagedPool, Name->Length + 1, TAG);
    if (Named->Name.Buffer)
        RtlCopyUnicodeString(&Named->Name, Name);
}

static NAMED *Make(FLT_CONTEXT_TYPE Type, POOL_TYPE Pool, PCUNICODE_STRING Name)
{
    NAMED *named;
    if (!NT_SUCCESS(FltAllocateContext(Filter, Type, sizeof(*named), Pool, (PFLT_CONTEXT *)&named)))
        return NULL;
    RtlZeroMemory(named, sizeof(*named));
    named->Number = InterlockedIncrement(&Next);
    Rename(named, Name);
    return named;
}

static VOID Report(PCSTR What, NTSTATUS Status, NAMED *New, NAMED *Old)
{
    DbgPrint("%s %08x %u old %u\n", What, Status, New->Number, Old ? Old->Number : 0);
    if (Old)
        FltReleaseContext(Old);
    FltReleaseContext(New);
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context,
                                                    ULONG Flags)
{
    PFLT_FILE_NAME_INFORMATION name;
    NAMED *new, *old;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Flags);
    if (!NT_SUCCESS(Data->IoStatus.Status) || Data->IoStatus.Status == STATUS_REPARSE)
        return FLT_POSTOP_FINISHED_PROCESSING;
    if (!NT_SUCCESS(FltGetFileNameInformation(Data, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name)))
        return FLT_POSTOP_FINISHED_PROCESSING;
    FltParseFileNameInformation(name);
    if ((new = Make(FLT_FILE_CONTEXT, PagedPool, &name->FinalComponent))) {
        old = NULL;
        status = FltSetFileContext(FltObjects->Instance, FltObjects->FileObject, FLT_SET_CONTEXT_KEEP_IF_EXISTS, new, (PFLT_CONTEXT *)&old);
        Report("file", status, new, old);
    }
    if ((new = Make(FLT_STREAM_CONTEXT, PagedPool, &name->FinalComponent))) {
        old = NULL;
        status = FltSetStreamContext(FltObjects->Instance, FltObjects->FileObject, FLT_SET_CONTEXT_KEEP_IF_EXISTS, new, (PFLT_CONTEXT *)&old);
        Report("stream", status, new, old);
    }
    if ((new = Make(FLT_STREAMHANDLE_CONTEXT, NonPagedPool, &name->FinalComponent))) {
        old = NULL;
        status = FltSetStreamHandleContext(FltObjects->Instance, FltObjects->FileObject, FLT_SET_CONTEXT_REPLACE_IF_EXISTS, new,
                                           (PFLT_CONTEXT *)&old);
        Report("handle", status, new, old);
    }
    FltReleaseFileNameInformation(name);
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostSetInfo(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context,
                                                     ULONG Flags)
{
    PFLT_FILE_NAME_INFORMATION name;
    NAMED *stream;

    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Flags);
    if (NT_SUCCESS(Data->IoStatus.Status) &&
        Data->Iopb->Parameters.SetFileInformation.FileInformationClass == FileRenameInformation &&
        NT_SUCCESS(FltGetFileNameInformation(Data, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &name))) {
        FltParseFileNameInformation(name);
        if (NT_SUCCESS(FltGetStreamContext(FltObjects->Instance, FltObjects->FileObject, (PFLT_CONTEXT *)&stream))) {
            DbgPrint("renamed %wZ to %wZ\n", &stream->Name, &name->FinalComponent);
            Rename(stream, &name->FinalComponent);
            FltReleaseContext(stream);
        }
        FltReleaseFileNameInformation(name);
    }
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreCleanup(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    NAMED *file = NULL, *stream = NULL, *handle = NULL;
    UNREFERENCED_PARAMETER(Data);
    UNREFERENCED_PARAMETER(Context);
    FltGetFileContext(FltObjects->Instance, FltObjects->FileObject, (PFLT_CONTEXT *)&file);
    FltGetStreamContext(FltObjects->Instance, FltObjects->FileObject, (PFLT_CONTEXT *)&stream);
    FltGetStreamHandleContext(FltObjects->Instance, FltObjects->FileObject, (PFLT_CONTEXT *)&handle);
    DbgPrint("clean-up %u %u %u\n", file ? file->Number : 0, stream ? stream->Number : 0, handle ? handle->Number : 0);
    if (file)
        FltReleaseContext(file);
    if (stream)
        FltReleaseContext(stream);
    if (handle)
        FltReleaseContext(handle);
    return FLT_PREOP_SUCCESS_NO_CALLBACK;
}

static NTSTATUS FLTAPI InstanceSetup(PCFLT_RELATED_OBJECTS FltObjects, ULONG Flags, DEVICE_TYPE Type, ULONG FileSystem)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"instance"), volume = RTL_CONSTANT_STRING(L"volume");
    NAMED *new;

    UNREFERENCED_PARAMETER(Flags);
    UNREFERENCED_PARAMETER(FileSystem);
    if (Type == FILE_DEVICE_NETWORK_FILE_SYSTEM)
        return STATUS_FLT_DO_NOT_ATTACH;
    if ((new = Make(FLT_INSTANCE_CONTEXT, NonPagedPool, &name)))
        Report("instance", FltSetInstanceContext(FltObjects->Instance, FLT_SET_CONTEXT_KEEP_IF_EXISTS, new, NULL), new, NULL);
    if ((new = Make(FLT_VOLUME_CONTEXT, NonPagedPool, &volume)))
        Report("volume", FltSetVolumeContext(FltObjects->Volume, FLT_SET_CONTEXT_KEEP_IF_EXISTS, new, NULL), new, NULL);
    return STATUS_SUCCESS;
}

static NTSTATUS FLTAPI Unload(ULONG Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    DbgPrint("own memory %d\n", Owned);
    return STATUS_SUCCESS;
}

static const FLT_CONTEXT_REGISTRATION Contexts[] = {
    { FLT_VOLUME_CONTEXT, 0, Cleanup, sizeof(NAMED), TAG },
    { FLT_INSTANCE_CONTEXT, 0, Cleanup, sizeof(NAMED), TAG },
    { FLT_FILE_CONTEXT, 0, Cleanup, 0, 0, Allocate, Free, NULL },
    { FLT_STREAM_CONTEXT, 0, Cleanup, sizeof(NAMED), TAG },
    { FLT_STREAMHANDLE_CONTEXT, 0, Cleanup, sizeof(NAMED), TAG },
    { FLT_CONTEXT_END }
};
static const FLT_OPERATION_REGISTRATION Callbacks[] = {
    { IRP_MJ_CREATE, 0, NULL, PostCreate }, { IRP_MJ_SET_INFORMATION, 0, NULL, PostSetInfo }, { IRP_MJ_CLEANUP, 0, PreCleanup, NULL },
    { IRP_MJ_OPERATION_END }
};
static const FLT_REGISTRATION Registration = {
    sizeof(FLT_REGISTRATION), FLT_REGISTRATION_VERSION, 0, Contexts, Callbacks, Unload, InstanceSetup,
};

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    NTSTATUS status = FltRegisterFilter(DriverObject, &Registration, &Filter);
    UNREFERENCED_PARAMETER(RegistryPath);
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    return status;
}
