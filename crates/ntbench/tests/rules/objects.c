/* Objects, handles, references and what else is left behind: in DriverEntry, and in the pre-create callback. */
#include "rules.h"

static UNICODE_STRING Folder = RTL_CONSTANT_STRING(L"\\??\\C:\\Folder");
static PVOID Window;

static VOID NTAPI Callout(PVOID parameter)
{
    UNREFERENCED_PARAMETER(parameter);
}

static VOID NTAPI Raise(PVOID parameter)
{
    UNREFERENCED_PARAMETER(parameter);
    ExRaiseStatus(STATUS_ACCESS_VIOLATION);
}

static VOID NTAPI RaiseIrql(PVOID parameter)
{
    KIRQL irql;
    UNREFERENCED_PARAMETER(parameter);
    KeRaiseIrql(APC_LEVEL, &irql);
}

static VOID NTAPI Sleep(PVOID context)
{
    LARGE_INTEGER interval = { .QuadPart = -10000000000ll };
    UNREFERENCED_PARAMETER(context);
    KeDelayExecutionThread(KernelMode, FALSE, &interval);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID NTAPI Tick(PKDPC dpc, PVOID context, PVOID first, PVOID second)
{
    UNREFERENCED_PARAMETER(dpc);
    UNREFERENCED_PARAMETER(context);
    UNREFERENCED_PARAMETER(first);
    UNREFERENCED_PARAMETER(second);
}

static KEVENT Free;

static VOID FLTAPI Wait(PVOID item, PVOID object, PVOID context)
{
    UNREFERENCED_PARAMETER(object);
    UNREFERENCED_PARAMETER(context);
    KeWaitForSingleObject(&Free, Executive, KernelMode, FALSE, NULL);
    FltFreeGenericWorkItem(item);
}

/* Keeps more workers busy than there are, so that what is queued after this stays queued until Free is set. */
static VOID BlockWorkers(VOID)
{
    KeInitializeEvent(&Free, NotificationEvent, FALSE);
    for (ULONG count = 0; count < 48; count++)
        FltQueueGenericWorkItem(FltAllocateGenericWorkItem(), Filter, Wait, DelayedWorkQueue, NULL);
}

static VOID FLTAPI Nothing(PVOID item, PVOID object, PVOID context)
{
    UNREFERENCED_PARAMETER(item);
    UNREFERENCED_PARAMETER(object);
    UNREFERENCED_PARAMETER(context);
}

static KTIMER Timer;
static KDPC Dpc;

static VOID OpenFolder(ULONG flags, HANDLE *handle)
{
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK block;
    InitializeObjectAttributes(&attributes, &Folder, OBJ_CASE_INSENSITIVE | flags, NULL, NULL);
    ZwCreateFile(handle, SYNCHRONIZE, &attributes, &block, NULL, 0, 7, FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0); /* here: handle-leak: file */
}

static VOID Reference(PVOID object)
{
    ObReferenceObject(object); /* here: object-reference-leak: of several */
}

/* Before filtering begins. */
static VOID Objects(PUNICODE_STRING path)
{
    OBJECT_ATTRIBUTES attributes;
    HANDLE handle = NULL;
    PVOID object = NULL;
    UNICODE_STRING name, lower;

    if (IS("oplock-not-uninitialised: static")) {
        static PVOID oplock;
        FltInitializeOplock(&oplock); /* here */
    } else if (IS("oplock-not-null")) {
        PVOID oplock = Driver;
        FltInitializeOplock(&oplock); /* here */
        FltUninitializeOplock(&oplock);
    } else if (IS("oplock-not-uninitialised: pool")) {
        PVOID *oplock = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, TAG);
        FltInitializeOplock(oplock); /* here */
        ExFreePoolWithTag(oplock, TAG);
    } else if (IS("handle-leak: key")) {
        InitializeObjectAttributes(&attributes, path, OBJ_KERNEL_HANDLE, NULL, NULL);
        ZwOpenKey(&handle, KEY_READ, &attributes); /* here */
    } else if (IS("handle-leak: file"))
        OpenFolder(OBJ_KERNEL_HANDLE, &handle);
    else if (IS("handle-leak: thread")) {
        PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Callout, NULL); /* here */
        ObReferenceObjectByHandle(handle, SYNCHRONIZE, NULL, KernelMode, &object, NULL);
        KeWaitForSingleObject(object, Executive, KernelMode, FALSE, NULL);
        ObDereferenceObject(object);
    } else if (IS("0xCE: thread still running"))
        PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Sleep, NULL);
    else if (IS("object-reference-leak: by handle")) {
        OpenFolder(OBJ_KERNEL_HANDLE, &handle);
        ObReferenceObjectByHandle(handle, 0, *IoFileObjectType, KernelMode, &object, NULL); /* here */
        ZwClose(handle);
    } else if (IS("object-reference-leak: of several")) {
        OpenFolder(OBJ_KERNEL_HANDLE, &handle);
        ObReferenceObjectByHandle(handle, 0, *IoFileObjectType, KernelMode, &object, NULL);
        Reference(object);
        ObDereferenceObject(object);
        ZwClose(handle);
    } else if (IS("0xF5: filter dereferenced too often"))
        FltObjectDereference(Filter); /* here */
    else if (IS("0x18: object dereferenced too often")) {
        OpenFolder(OBJ_KERNEL_HANDLE, &handle);
        ObReferenceObjectByHandle(handle, 0, *IoFileObjectType, KernelMode, &object, NULL);
        ObDereferenceObject(object);
        ObDereferenceObject(object); /* here */
    } else if (IS("0x93: handle closed twice")) {
        OpenFolder(OBJ_KERNEL_HANDLE, &handle);
        ZwClose(handle);
        ZwClose(handle); /* here */
    } else if (IS("0xE4: work item queued twice")) {
        PFLT_GENERIC_WORKITEM item = FltAllocateGenericWorkItem();
        BlockWorkers();
        FltQueueGenericWorkItem(item, Filter, Nothing, DelayedWorkQueue, NULL);
        FltQueueGenericWorkItem(item, Filter, Nothing, DelayedWorkQueue, NULL); /* here */
    } else if (IS("0x1E: exception out of a callout"))
        KeExpandKernelStackAndCalloutEx(Raise, NULL, 0x6000, FALSE, NULL); /* here */
    else if (IS("0xC8: callout at another IRQL"))
        KeExpandKernelStackAndCalloutEx(RaiseIrql, NULL, 0x6000, FALSE, NULL);
    else if (IS("0xC7: timer still set")) {
        LARGE_INTEGER due = { .QuadPart = -10000000000ll };
        KeInitializeTimer(&Timer);
        KeInitializeDpc(&Dpc, Tick, NULL);
        KeSetTimer(&Timer, due, &Dpc);
    } else if (IS("expand-context"))
        KeExpandKernelStackAndCalloutEx(Callout, NULL, 0x6000, FALSE, &name); /* here */
    else if (IS("expression-case")) {
        RtlInitUnicodeString(&lower, L"*.txt");
        RtlInitUnicodeString(&name, L"A.TXT");
        FsRtlIsNameInExpression(&lower, &name, TRUE, NULL); /* here */
    } else if (IS("dbgprint-unicode-irql")) {
        KIRQL irql;
        KeRaiseIrql(DISPATCH_LEVEL, &irql);
        DbgPrint("%wZ", &Folder); /* here */
        KeLowerIrql(irql);
    } else if (IS("etw-provider-leak")) {
        static const GUID provider = { 1, 2, 3, { 4 } };
        static REGHANDLE registered;
        EtwRegister(&provider, NULL, NULL, &registered); /* here */
    } else if (IS("fltmgr-leak: filter"))
        FltObjectReference(Filter); /* here */
    else if (IS("fltmgr-leak: context never linked"))
        FltAllocateContext(Filter, FLT_STREAM_CONTEXT, 16, PagedPool, (PFLT_CONTEXT *)&Left); /* here */
    else if (IS("fltmgr-leak: work item"))
        Left = FltAllocateGenericWorkItem(); /* here */
    else if (IS("fltmgr-leak: deferred work item"))
        Left = FltAllocateDeferredIoWorkItem(); /* here */
    else if (IS("work-item-freed-queued: of the Filter Manager")) {
        PFLT_GENERIC_WORKITEM item = FltAllocateGenericWorkItem();
        BlockWorkers();
        FltQueueGenericWorkItem(item, Filter, Nothing, DelayedWorkQueue, NULL);
        FltFreeGenericWorkItem(item); /* here */
        KeSetEvent(&Free, IO_NO_INCREMENT, FALSE);
    } else if (IS("fltmgr-leak: security descriptor"))
        FltBuildDefaultSecurityDescriptor((PSECURITY_DESCRIPTOR *)&Left, 0x10000001); /* here */
    else if (IS("fltmgr-leak: extra create parameters"))
        FltAllocateExtraCreateParameterList(Filter, 0, (PVOID *)&Left); /* here */
    else if (IS("fltmgr-leak: extra create parameter")) {
        static const GUID kind = { 5, 6, 7, { 8 } };
        FltAllocateExtraCreateParameter(Filter, &kind, 16, 0, NULL, TAG, (PVOID *)&Left); /* here */
    }
}

/* Gets the context that is set, and keeps it. */
static VOID Keep(PCFLT_RELATED_OBJECTS FltObjects, FLT_CONTEXT_TYPE kind)
{
    PFLT_CONTEXT got;
    switch (kind) {
    case FLT_VOLUME_CONTEXT:
        FltGetVolumeContext(Filter, FltObjects->Volume, &got); /* here: fltmgr-leak: volume context */
        break;
    case FLT_INSTANCE_CONTEXT:
        FltGetInstanceContext(FltObjects->Instance, &got); /* here: fltmgr-leak: instance context */
        break;
    case FLT_FILE_CONTEXT:
        FltGetFileContext(FltObjects->Instance, FltObjects->FileObject, &got); /* here: fltmgr-leak: file context */
        break;
    case FLT_STREAM_CONTEXT:
        FltGetStreamContext(FltObjects->Instance, FltObjects->FileObject, &got); /* here: fltmgr-leak: stream context */
        break;
    case FLT_STREAMHANDLE_CONTEXT:
        FltGetStreamHandleContext(FltObjects->Instance, FltObjects->FileObject, &got); /* here: fltmgr-leak: stream handle context */
        break;
    case FLT_TRANSACTION_CONTEXT:
        FltGetTransactionContext(FltObjects->Instance, FltObjects->Transaction, &got); /* here: fltmgr-leak: transaction context */
        break;
    }
}

static VOID LeaveContext(PCFLT_RELATED_OBJECTS FltObjects, FLT_CONTEXT_TYPE kind)
{
    const FLT_SET_CONTEXT_OPERATION keep = FLT_SET_CONTEXT_KEEP_IF_EXISTS;
    PFLT_INSTANCE instance = FltObjects->Instance;
    PFLT_CONTEXT context = NULL;

    if (!NT_SUCCESS(FltAllocateContext(Filter, kind, 16, NonPagedPool, &context)))
        return;
    switch (kind) {
    case FLT_VOLUME_CONTEXT:
        FltSetVolumeContext(FltObjects->Volume, keep, context, NULL);
        break;
    case FLT_INSTANCE_CONTEXT:
        FltSetInstanceContext(instance, keep, context, NULL);
        break;
    case FLT_FILE_CONTEXT:
        FltSetFileContext(instance, FltObjects->FileObject, keep, context, NULL);
        break;
    case FLT_STREAM_CONTEXT:
        FltSetStreamContext(instance, FltObjects->FileObject, keep, context, NULL);
        break;
    case FLT_STREAMHANDLE_CONTEXT:
        FltSetStreamHandleContext(instance, FltObjects->FileObject, keep, context, NULL);
        break;
    case FLT_TRANSACTION_CONTEXT:
        FltSetTransactionContext(instance, FltObjects->Transaction, keep, context, NULL);
        break;
    }
    Keep(FltObjects, kind);
    FltReleaseContext(context);
}

/* In the post-create callback, where a file is open. */
static VOID OpenObjects(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects)
{
    static LONG once;
    HANDLE handle;
    PFILE_OBJECT file;
    PFLT_CALLBACK_DATA own;
    PFLT_FILE_NAME_INFORMATION name;
    PFLT_CONTEXT context = NULL, section = NULL;
    ULONG count;
    LARGE_INTEGER zero = { .QuadPart = 0 };
    UCHAR byte;

    if (InterlockedIncrement(&once) > 1)
        return;
    if (IS("fltmgr-leak: volume context"))
        LeaveContext(FltObjects, FLT_VOLUME_CONTEXT);
    else if (IS("fltmgr-leak: instance context"))
        LeaveContext(FltObjects, FLT_INSTANCE_CONTEXT);
    else if (IS("fltmgr-leak: file context"))
        LeaveContext(FltObjects, FLT_FILE_CONTEXT);
    else if (IS("fltmgr-leak: stream context"))
        LeaveContext(FltObjects, FLT_STREAM_CONTEXT);
    else if (IS("fltmgr-leak: stream handle context"))
        LeaveContext(FltObjects, FLT_STREAMHANDLE_CONTEXT);
    else if (IS("fltmgr-leak: section context") || IS("view-leak") || IS("object-reference-leak: section")) {
        static LARGE_INTEGER size;
        SIZE_T mapped = 0;
        OBJECT_ATTRIBUTES attributes;
        PVOID object = NULL;
        BOOLEAN keep_object = IS("object-reference-leak: section");
        InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
        FltRegisterForDataScan(FltObjects->Instance);
        FltAllocateContext(Filter, FLT_SECTION_CONTEXT, 16, PagedPool, &section); /* here: fltmgr-leak: section context */
        FltCreateSectionForDataScan(FltObjects->Instance, FltObjects->FileObject, section, SECTION_MAP_READ, &attributes, NULL, /* here: object-reference-leak: section */
            PAGE_READONLY, SEC_COMMIT, 0, &handle, &object, &size);
        if (IS("view-leak")) {
            ZwMapViewOfSection(handle, NtCurrentProcess(), &Window, 0, 0, NULL, &mapped, ViewUnmap, 0, PAGE_READONLY); /* here: view-leak */
        }
        ZwClose(handle);
        if (!keep_object)
            ObDereferenceObject(object);
        FltCloseSectionForDataScan(section);
        if (!IS("fltmgr-leak: section context"))
            FltReleaseContext(section);
    } else if (IS("fltmgr-leak: file name information"))
        FltGetFileNameInformation(Data, FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT, &name); /* here */
    else if (IS("fltmgr-leak: volume"))
        FltGetVolumeFromInstance(FltObjects->Instance, (PFLT_VOLUME *)&Left); /* here */
    else if (IS("fltmgr-leak: instance"))
        FltObjectReference(FltObjects->Instance); /* here */
    else if (IS("fltmgr-leak: enumerated instance"))
        FltEnumerateInstances(FltObjects->Volume, NULL, (PFLT_INSTANCE *)&Left, 1, &count); /* here */
    else if (IS("fltmgr-leak: callback data"))
        FltAllocateCallbackData(FltObjects->Instance, FltObjects->FileObject, &own); /* here */
    else if (IS("pool-aligned")) {
        PVOID block = FltAllocatePoolAlignedWithTag(FltObjects->Instance, NonPagedPool, 600, TAG);
        ExFreePoolWithTag(block, TAG); /* here */
    } else if (IS("irql: names")) {
        KIRQL irql;
        KeRaiseIrql(APC_LEVEL, &irql);
        RtlEqualUnicodeString(&Folder, &FltObjects->FileObject->FileName, TRUE); /* here */
        KeLowerIrql(irql);
    } else if (IS("critical-region: fast mutex")) {
        static FAST_MUTEX mutex;
        ExInitializeFastMutex(&mutex);
        ExAcquireFastMutexUnsafe(&mutex); /* here */
        ExReleaseFastMutexUnsafe(&mutex);
    } else if (IS("handle-leak: volume")) {
        FltOpenVolume(FltObjects->Instance, &handle, &file); /* here */
        ObDereferenceObject(file);
    } else if (IS("object-reference-leak: file")) {
        ObReferenceObject(FltObjects->FileObject); /* here */
    } else if (IS("handle-in-user-process")) {
        OBJECT_ATTRIBUTES attributes;
        IO_STATUS_BLOCK block;
        InitializeObjectAttributes(&attributes, &Folder, OBJ_CASE_INSENSITIVE, NULL, NULL);
        if (NT_SUCCESS(FltCreateFile(Filter, FltObjects->Instance, &handle, SYNCHRONIZE, &attributes, &block, NULL, 0, 7, FILE_OPEN, /* here */
                FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0, 0)))
            FltClose(handle);
    } else if (IS("driver-create-context")) {
        IO_DRIVER_CREATE_CONTEXT extra = { 0 };
        OBJECT_ATTRIBUTES attributes;
        IO_STATUS_BLOCK block;
        extra.Size = 7;
        InitializeObjectAttributes(&attributes, &Folder, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
        FltCreateFileEx2(Filter, FltObjects->Instance, &handle, &file, SYNCHRONIZE, &attributes, &block, NULL, 0, 7, FILE_OPEN, /* here */
            FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0, 0, &extra);
    } else if (IS("apcs-enabled")) {
        KeEnterGuardedRegion();
        FltReadFile(FltObjects->Instance, FltObjects->FileObject, &zero, 1, &byte, 0, NULL, NULL, NULL); /* here */
        KeLeaveGuardedRegion();
    } else if (IS("critical-region")) {
        static ERESOURCE resource;
        ExInitializeResourceLite(&resource);
        ExAcquireResourceExclusiveLite(&resource, TRUE); /* here */
        ExReleaseResourceLite(&resource);
        ExDeleteResourceLite(&resource);
    } else if (IS("system-thread-process")) {
        PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, (HANDLE)0x1234, NULL, Callout, NULL); /* here */
    }
    UNREFERENCED_PARAMETER(context);
}
