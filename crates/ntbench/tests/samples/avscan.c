/*
 * In the manner of a scanner that maps files: a stream context says whether a file is clean, and after a create and before
 * a clean-up its data are looked at through a section, mapped into the process whose thread this is. Where a file is cut
 * meanwhile the section is given up. HOLD keeps section and view until the handle is closed.
 */
#include "fltkernel.h"
#ifndef HOLD
#define HOLD 0
#endif
#define TAG 'nacS'
#define SEC_COMMIT_ 0x8000000

typedef struct { LONG State; } AV_STREAM_CONTEXT;
typedef struct { HANDLE SectionHandle; PVOID SectionObject; LARGE_INTEGER Size; PVOID View; HANDLE Process; BOOLEAN Aborted; } AV_SECTION_CONTEXT;
enum { Unknown, Clean, Infected };

static PFLT_FILTER Filter;

static NTSTATUS Map(AV_SECTION_CONTEXT *Section)
{
    CLIENT_ID client = { PsGetCurrentProcessId(), PsGetCurrentThreadId() };
    OBJECT_ATTRIBUTES attributes;
    SIZE_T size = 0;
    NTSTATUS status;

    InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
    status = ZwOpenProcess(&Section->Process, PROCESS_ALL_ACCESS, &attributes, &client);
    if (!NT_SUCCESS(status))
        return status;
    status = ZwMapViewOfSection(Section->SectionHandle, Section->Process, &Section->View, 0, 0, NULL, &size, ViewUnmap, 0,
                                PAGE_READONLY);
    DbgPrint("mapped %08x %Iu of %I64d, user %d\n", status, size, Section->Size.QuadPart,
             Section->View < MmHighestUserAddress);
    return status;
}

static VOID Unmap(AV_SECTION_CONTEXT *Section)
{
    if (Section->View)
        DbgPrint("unmapped %08x\n", ZwUnmapViewOfSection(Section->Process, Section->View));
    if (Section->Process)
        ZwClose(Section->Process);
    Section->View = NULL;
    Section->Process = NULL;
}

static VOID Finish(AV_SECTION_CONTEXT *Section)
{
    NTSTATUS closed;

    Unmap(Section);
    ZwClose(Section->SectionHandle);
    ObDereferenceObject(Section->SectionObject);
    closed = FltCloseSectionForDataScan(Section);
    DbgPrint("closed %08x again %08x\n", closed, FltCloseSectionForDataScan(Section));
    FltReleaseContext(Section);
}

static LONG Look(const UCHAR *Data, LONGLONG Size)
{
    static const UCHAR pattern[] = "foul";
    for (LONGLONG at = 0; at + 4 <= Size; at++)
        if (RtlCompareMemory(Data + at, pattern, 4) == 4)
            return Infected;
    return Clean;
}

static LONG Scan(PCFLT_RELATED_OBJECTS FltObjects, BOOLEAN Hold)
{
    AV_SECTION_CONTEXT *section;
    OBJECT_ATTRIBUTES attributes;
    LONG result = Unknown;
    NTSTATUS status;

    status = FltAllocateContext(Filter, FLT_SECTION_CONTEXT, sizeof(*section), PagedPool, (PFLT_CONTEXT *)&section);
    if (!NT_SUCCESS(status))
        return Unknown;
    RtlZeroMemory(section, sizeof(*section));
    InitializeObjectAttributes(&attributes, NULL, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    status = FltCreateSectionForDataScan(FltObjects->Instance, FltObjects->FileObject, section, SECTION_MAP_READ, &attributes,
                                         NULL, PAGE_READONLY, SEC_COMMIT_, 0, &section->SectionHandle,
                                         &section->SectionObject, &section->Size);
    if (!NT_SUCCESS(status)) {
        DbgPrint("no section %08x\n", status);
        FltReleaseContext(section);
        return Unknown;
    }
    status = Map(section);
    if (NT_SUCCESS(status)) {
        __try {
            result = Look(section->View, section->Size.QuadPart);
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            DbgPrint("the view cannot be read: %08x\n", GetExceptionCode());
        }
    }
    if (!Hold)
        Finish(section);
    return result;
}

static NTSTATUS FLTAPI Conflict(PFLT_INSTANCE Instance, PFLT_CONTEXT Context, PFLT_CALLBACK_DATA Data)
{
    AV_SECTION_CONTEXT *section = Context;

    UNREFERENCED_PARAMETER(Instance);
    DbgPrint("conflict with %s\n", FltGetIrpName(Data->Iopb->MajorFunction));
    if (HOLD == 1)
        Unmap(section);
    section->Aborted = TRUE;
    return STATUS_SUCCESS;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context,
                                                    ULONG Flags)
{
    AV_STREAM_CONTEXT *stream, *old = NULL;
    BOOLEAN directory = TRUE;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(Context);
    if (!NT_SUCCESS(Data->IoStatus.Status) || Data->IoStatus.Status == STATUS_REPARSE || FlagOn(Flags, FLTFL_POST_OPERATION_DRAINING))
        return FLT_POSTOP_FINISHED_PROCESSING;
    status = FltIsDirectory(FltObjects->FileObject, FltObjects->Instance, &directory);
    if (!NT_SUCCESS(status) || directory || !FltSupportsStreamHandleContexts(FltObjects->FileObject))
        return FLT_POSTOP_FINISHED_PROCESSING;
    status = FltAllocateContext(Filter, FLT_STREAM_CONTEXT, sizeof(*stream), PagedPool, (PFLT_CONTEXT *)&stream);
    if (!NT_SUCCESS(status))
        return FLT_POSTOP_FINISHED_PROCESSING;
    stream->State = Unknown;
    status = FltSetStreamContext(FltObjects->Instance, FltObjects->FileObject, FLT_SET_CONTEXT_KEEP_IF_EXISTS, stream,
                                 (PFLT_CONTEXT *)&old);
    if (status == STATUS_FLT_CONTEXT_ALREADY_DEFINED) {
        FltReleaseContext(stream);
        stream = old;
    } else if (!NT_SUCCESS(status)) {
        FltReleaseContext(stream);
        return FLT_POSTOP_FINISHED_PROCESSING;
    }
    if (stream->State == Unknown)
        stream->State = Scan(FltObjects, HOLD != 0);
    if (stream->State == Infected) {
        FltCancelFileOpen(FltObjects->Instance, FltObjects->FileObject);
        Data->IoStatus.Status = STATUS_VIRUS_INFECTED;
        Data->IoStatus.Information = 0;
    }
    FltReleaseContext(stream);
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreWrite(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    AV_STREAM_CONTEXT *stream;

    UNREFERENCED_PARAMETER(Data);
    UNREFERENCED_PARAMETER(Context);
    if (NT_SUCCESS(FltGetStreamContext(FltObjects->Instance, FltObjects->FileObject, (PFLT_CONTEXT *)&stream))) {
        InterlockedExchange(&stream->State, Unknown);
        FltReleaseContext(stream);
    }
    return FLT_PREOP_SUCCESS_NO_CALLBACK;
}

typedef NTSTATUS(FLTAPI *GET_SECTION_CONTEXT)(PFLT_INSTANCE, PFILE_OBJECT, PFLT_CONTEXT *);

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreCleanup(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    GET_SECTION_CONTEXT get = (GET_SECTION_CONTEXT)FltGetRoutineAddress("FltGetSectionContext");
    AV_SECTION_CONTEXT *section;
    AV_STREAM_CONTEXT *stream;

    UNREFERENCED_PARAMETER(Data);
    UNREFERENCED_PARAMETER(Context);
#ifdef FORGET
    get = NULL;
#endif
    if (HOLD && get && NT_SUCCESS(get(FltObjects->Instance, FltObjects->FileObject, (PFLT_CONTEXT *)&section))) {
        DbgPrint("aborted %d\n", section->Aborted);
        Finish(section);
        FltReleaseContext(section);
    }
    if (NT_SUCCESS(FltGetStreamContext(FltObjects->Instance, FltObjects->FileObject, (PFLT_CONTEXT *)&stream))) {
        if (stream->State == Unknown && !HOLD) {
            stream->State = Scan(FltObjects, FALSE);
            DbgPrint("at clean-up %d\n", stream->State);
        }
        FltReleaseContext(stream);
    }
    return FLT_PREOP_SUCCESS_NO_CALLBACK;
}

static NTSTATUS FLTAPI InstanceSetup(PCFLT_RELATED_OBJECTS FltObjects, ULONG Flags, DEVICE_TYPE Type, ULONG FileSystem)
{
    NTSTATUS status;
    PAGED_CODE();
    UNREFERENCED_PARAMETER(Flags);
    UNREFERENCED_PARAMETER(FileSystem);
    status = FltRegisterForDataScan(FltObjects->Instance);
    DbgPrint("register %x %08x\n", Type, status);
    return NT_SUCCESS(status) ? STATUS_SUCCESS : STATUS_FLT_DO_NOT_ATTACH;
}

static NTSTATUS FLTAPI Unload(ULONG Flags)
{
    PAGED_CODE();
    UNREFERENCED_PARAMETER(Flags);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_CONTEXT_REGISTRATION Contexts[] = {
    { FLT_STREAM_CONTEXT, 0, NULL, sizeof(AV_STREAM_CONTEXT), TAG },
    { FLT_SECTION_CONTEXT, 0, NULL, sizeof(AV_SECTION_CONTEXT), TAG },
    { FLT_CONTEXT_END }
};
static const FLT_OPERATION_REGISTRATION Callbacks[] = {
    { IRP_MJ_CREATE, 0, NULL, PostCreate }, { IRP_MJ_WRITE, 0, PreWrite, NULL }, { IRP_MJ_CLEANUP, 0, PreCleanup, NULL },
    { IRP_MJ_OPERATION_END }
};
static const FLT_REGISTRATION Registration = {
    .Size = sizeof(FLT_REGISTRATION), .Version = FLT_REGISTRATION_VERSION, .ContextRegistration = Contexts,
    .OperationRegistration = Callbacks, .FilterUnloadCallback = Unload, .InstanceSetupCallback = InstanceSetup,
    .SectionNotificationCallback = Conflict,
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
