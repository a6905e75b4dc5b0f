/*
 * In the manner of a filter that tells deletions: whatever may delete is noted in the stream's context, and after each
 * clean-up of such a stream the file system is asked whether it is still there; if not, the file's id says whether the
 * whole file went or only the stream. In a transaction it waits for its end.
 */
#include "fltkernel.h"
#define TAG 'mvrR'
#define FileIdInformation_ 59
#define FileDispositionInformationEx_ 64
#define DISPOSITION_DELETE 1
#define DISPOSITION_ON_CLOSE 8

typedef struct { ULONGLONG Volume; ULONGLONG Low, High; } FILE_ID;
typedef struct {
    PFLT_FILE_NAME_INFORMATION Name; FILE_ID Id; volatile LONG Operations, IsNotified; BOOLEAN SetDisp, DeleteOnClose, HasId;
} STREAM;
typedef struct { ULONG Deleted; } TRANSACTION;

static PFLT_FILTER Filter;

static VOID FLTAPI Cleanup(PFLT_CONTEXT Context, FLT_CONTEXT_TYPE Type)
{
    STREAM *stream = Context;
    if (Type == FLT_STREAM_CONTEXT && stream->Name)
        FltReleaseFileNameInformation(stream->Name);
}

static NTSTATUS Stream(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, BOOLEAN Make, STREAM **Result)
{
    STREAM *stream, *old = NULL;
    NTSTATUS status = FltGetStreamContext(FltObjects->Instance, FltObjects->FileObject, (PFLT_CONTEXT *)Result);

    if (NT_SUCCESS(status) || !Make)
        return status;
    status = FltAllocateContext(Filter, FLT_STREAM_CONTEXT, sizeof(*stream), NonPagedPool, (PFLT_CONTEXT *)&stream);
    if (!NT_SUCCESS(status))
        return status;
    RtlZeroMemory(stream, sizeof(*stream));
    status = FltGetFileNameInformation(Data, FLT_FILE_NAME_NORMALIZED | FLT_FILE_NAME_QUERY_DEFAULT, &stream->Name);
    if (NT_SUCCESS(status))
        status = FltParseFileNameInformation(stream->Name);
    if (NT_SUCCESS(status)) {
        status = FltQueryInformationFile(FltObjects->Instance, FltObjects->FileObject, &stream->Id, sizeof(stream->Id),
                                         FileIdInformation_, NULL);
        stream->HasId = NT_SUCCESS(status);
        status = FltSetStreamContext(FltObjects->Instance, FltObjects->FileObject, FLT_SET_CONTEXT_KEEP_IF_EXISTS, stream,
                                     (PFLT_CONTEXT *)&old);
    }
    if (NT_SUCCESS(status)) {
        *Result = stream;
        return status;
    }
    FltReleaseContext(stream);
    if (status != STATUS_FLT_CONTEXT_ALREADY_DEFINED)
        return status;
    *Result = old;
    return STATUS_SUCCESS;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    UNREFERENCED_PARAMETER(FltObjects);
    *Context = (PVOID)(ULONG_PTR)(FlagOn(Data->Iopb->Parameters.Create.Options, FILE_DELETE_ON_CLOSE) ? 1 : 0);
    return FLT_PREOP_SYNCHRONIZE;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context,
                                                    ULONG Flags)
{
    STREAM *stream;
    UNREFERENCED_PARAMETER(Flags);
    if (NT_SUCCESS(Data->IoStatus.Status) && Data->IoStatus.Status != STATUS_REPARSE && Context) {
        if (NT_SUCCESS(Stream(Data, FltObjects, TRUE, &stream))) {
            stream->DeleteOnClose = TRUE;
            FltReleaseContext(stream);
        }
    }
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreSetInfo(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    STREAM *stream;

    switch (Data->Iopb->Parameters.SetFileInformation.FileInformationClass) {
    case FileDispositionInformation:
    case FileDispositionInformationEx_:
        break;
    default:
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    }
    if (!NT_SUCCESS(Stream(Data, FltObjects, TRUE, &stream)))
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    /* Two that race cannot be told apart: the stream is then watched whatever becomes of them. */
    if (InterlockedIncrement(&stream->Operations) > 1) {
        FltReleaseContext(stream);
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    }
    *Context = stream;
    return FLT_PREOP_SYNCHRONIZE;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostSetInfo(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context,
                                                     ULONG Flags)
{
    STREAM *stream = Context;
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Flags);
    if (NT_SUCCESS(Data->IoStatus.Status)) {
        ULONG flags = *(ULONG *)Data->Iopb->Parameters.SetFileInformation.InfoBuffer;
        if (Data->Iopb->Parameters.SetFileInformation.FileInformationClass == FileDispositionInformation)
            stream->SetDisp = ((FILE_DISPOSITION_INFORMATION *)Data->Iopb->Parameters.SetFileInformation.InfoBuffer)->DeleteFile;
        else if (flags & DISPOSITION_ON_CLOSE)
            stream->DeleteOnClose = (flags & DISPOSITION_DELETE) != 0;
        else
            stream->SetDisp = (flags & DISPOSITION_DELETE) != 0;
    }
    InterlockedDecrement(&stream->Operations);
    FltReleaseContext(stream);
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreCleanup(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    STREAM *stream;
    if (!NT_SUCCESS(Stream(Data, FltObjects, FALSE, &stream)))
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    *Context = stream;
    return FLT_PREOP_SYNCHRONIZE;
}

/* Whether the file itself is gone: its id leads nowhere then. */
static NTSTATUS ById(PCFLT_RELATED_OBJECTS FltObjects, STREAM *Stream)
{
    WCHAR buffer[64];
    UNICODE_STRING name = { 0, sizeof(buffer), buffer };
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK block;
    HANDLE handle;
    NTSTATUS status = FltGetVolumeGuidName(FltObjects->Volume, &name, NULL);

    if (!NT_SUCCESS(status) || !Stream->HasId)
        return STATUS_NOT_SUPPORTED;
    buffer[name.Length / 2] = L'\\';
    RtlCopyMemory(&buffer[name.Length / 2 + 1], &Stream->Id.Low, sizeof(Stream->Id.Low));
    name.Length += 2 + sizeof(Stream->Id.Low);
    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE, NULL, NULL);
    status = FltCreateFile(Filter, FltObjects->Instance, &handle, FILE_READ_ATTRIBUTES, &attributes, &block, NULL,
                           FILE_ATTRIBUTE_NORMAL, FILE_SHARE_VALID_FLAGS, FILE_OPEN,
                           FILE_OPEN_REPARSE_POINT | FILE_OPEN_BY_FILE_ID, NULL, 0, IO_IGNORE_SHARE_ACCESS_CHECK);
    if (NT_SUCCESS(status))
        FltClose(handle);
    return status;
}

static VOID Tell(PCFLT_RELATED_OBJECTS FltObjects, STREAM *Stream, BOOLEAN Whole)
{
    TRANSACTION *mine;
    NTSTATUS status;

    DbgPrint("%s %wZ deleted, stream '%wZ'%s\n", Whole ? "file" : "stream", &Stream->Name->FinalComponent,
             &Stream->Name->Stream, FltObjects->Transaction ? " in a transaction" : "");
    if (!FltObjects->Transaction)
        return;
    status = FltAllocateContext(Filter, FLT_TRANSACTION_CONTEXT, sizeof(*mine), NonPagedPool, (PFLT_CONTEXT *)&mine);
    if (!NT_SUCCESS(status))
        return;
    mine->Deleted = 1;
    status = FltSetTransactionContext(FltObjects->Instance, FltObjects->Transaction, FLT_SET_CONTEXT_KEEP_IF_EXISTS, mine, NULL);
    if (NT_SUCCESS(status))
        FltEnlistInTransaction(FltObjects->Instance, FltObjects->Transaction, mine,
                               TRANSACTION_NOTIFY_COMMIT_FINALIZE | TRANSACTION_NOTIFY_ROLLBACK);
    FltReleaseContext(mine);
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostCleanup(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context,
                                                     ULONG Flags)
{
    STREAM *stream = Context;
    FILE_STANDARD_INFORMATION standard;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(Flags);
    if (NT_SUCCESS(Data->IoStatus.Status) && (stream->SetDisp || stream->DeleteOnClose || stream->Operations > 0) &&
        InterlockedCompareExchange(&stream->IsNotified, 0, 0) == 0) {
        status = FltQueryInformationFile(FltObjects->Instance, FltObjects->FileObject, &standard, sizeof(standard),
                                         FileStandardInformation, NULL);
        if (status == STATUS_FILE_DELETED && InterlockedExchange(&stream->IsNotified, 1) == 0) {
            /* Without a stream's name it was the file; with one its id knows. */
            status = stream->Name->Stream.Length > sizeof(WCHAR) && stream->Name->Stream.Buffer[1] != L':'
                         ? ById(FltObjects, stream)
                         : STATUS_INVALID_PARAMETER;
            Tell(FltObjects, stream, status == STATUS_INVALID_PARAMETER);
        } else {
            DbgPrint("not deleted %08x\n", status);
        }
    }
    FltReleaseContext(stream);
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static NTSTATUS FLTAPI Notification(PCFLT_RELATED_OBJECTS FltObjects, PFLT_CONTEXT Context, ULONG Mask)
{
    UNREFERENCED_PARAMETER(FltObjects);
    DbgPrint("deletions %u %s\n", ((TRANSACTION *)Context)->Deleted,
             FlagOn(Mask, TRANSACTION_NOTIFY_COMMIT_FINALIZE) ? "committed" : "rolled back");
    return STATUS_SUCCESS;
}

static NTSTATUS FLTAPI Unload(ULONG Flags)
{
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_CONTEXT_REGISTRATION Contexts[] = {
    { FLT_STREAM_CONTEXT, 0, Cleanup, sizeof(STREAM), TAG },
    { FLT_TRANSACTION_CONTEXT, 0, NULL, sizeof(TRANSACTION), TAG },
    { FLT_CONTEXT_END }
};
static const FLT_OPERATION_REGISTRATION Callbacks[] = {
    { IRP_MJ_CREATE, 0, PreCreate, PostCreate },
    { IRP_MJ_SET_INFORMATION, 0, PreSetInfo, PostSetInfo },
    { IRP_MJ_CLEANUP, 0, PreCleanup, PostCleanup },
    { IRP_MJ_OPERATION_END }
};
static const FLT_REGISTRATION Registration = {
    .Size = sizeof(FLT_REGISTRATION), .Version = FLT_REGISTRATION_VERSION, .ContextRegistration = Contexts,
    .OperationRegistration = Callbacks, .FilterUnloadCallback = Unload, .TransactionNotificationCallback = Notification,
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
