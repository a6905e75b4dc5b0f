/* What callbacks return and do to operations. Reads are of b.txt where the misuse is not about creates. */
#include "rules.h"

static PFLT_INSTANCE Elsewhere;

static VOID NTAPI CancelNothing(PFLT_CALLBACK_DATA Data)
{
    UNREFERENCED_PARAMETER(Data);
}

/* Of an operation that is completed after its end. */
static KEVENT Ended;

static VOID FLTAPI CompleteTwice(PVOID item, PFLT_CALLBACK_DATA Data, PVOID context)
{
    UNREFERENCED_PARAMETER(context);
    FltFreeDeferredIoWorkItem(item);
    FltCompletePendedPreOperation(Data, FLT_PREOP_SUCCESS_NO_CALLBACK, NULL);
    KeWaitForSingleObject(&Ended, Executive, KernelMode, FALSE, NULL);
    FltCompletePendedPreOperation(Data, FLT_PREOP_SUCCESS_NO_CALLBACK, NULL); /* here: 0xF5: completed after its end */
}

/* Holds more than it should, and gives it away. */
static VOID Deep(VOID)
{
    volatile ULONGLONG room[0xE00 / 8];
    KeInitializeEvent((PKEVENT)room, NotificationEvent, FALSE); /* here: stack-use: at a call */
}

/* The same without a call. */
static UCHAR Sum(UCHAR seed)
{
    volatile UCHAR room[0xE00];
    UCHAR sum = 0;
    for (ULONG at = 0; at < sizeof(room); at++)
        room[at] = seed++;
    for (ULONG at = 0; at < sizeof(room); at++)
        sum += room[at];
    return sum;
}

static VOID FLTAPI Later(PVOID item, PFLT_CALLBACK_DATA Data, PVOID context)
{
    LARGE_INTEGER moment = { .QuadPart = -1000000ll };
    UNREFERENCED_PARAMETER(context);
    FltFreeDeferredIoWorkItem(item);
    if (IS("user-address-in-wrong-process: and 0x7E"))
        *(volatile UCHAR *)Data->Iopb->Parameters.Read.ReadBuffer = 0; /* here */
    KeDelayExecutionThread(KernelMode, FALSE, &moment);
    FltCompletePendedPreOperation(Data, FLT_PREOP_SUCCESS_NO_CALLBACK, NULL); /* here: user-buffer-in-wrong-process: neither */
}

static FLT_PREOP_CALLBACK_STATUS Defer(PFLT_CALLBACK_DATA Data, PVOID routine)
{
    PFLT_DEFERRED_IO_WORKITEM item = FltAllocateDeferredIoWorkItem();
    FltQueueDeferredIoWorkItem(item, Data, routine, DelayedWorkQueue, NULL);
    return FLT_PREOP_PENDING;
}

/* Puts another buffer in, with that MDL. */
static FLT_PREOP_CALLBACK_STATUS Swap(PFLT_CALLBACK_DATA Data, ULONG described)
{
    static UCHAR other[4096];
    PMDL mdl = NULL;
    if (described) {
        mdl = IoAllocateMdl(other, described, FALSE, FALSE, NULL);
        MmBuildMdlForNonPagedPool(mdl);
        Data->Iopb->Parameters.Read.MdlAddress = mdl;
    }
    Data->Iopb->Parameters.Read.ReadBuffer = other;
    FltSetCallbackDataDirty(Data);
    Left = mdl;
    return FLT_PREOP_SUCCESS_WITH_CALLBACK;
}

static VOID FLTAPI Over(PFLT_CALLBACK_DATA Data, PVOID context)
{
    KeSetEvent(context, IO_NO_INCREMENT, FALSE);
    UNREFERENCED_PARAMETER(Data);
}

/* Locks the first byte for a key, alone, or unlocks it: its length, the key, where it is. */
static VOID Range(PFLT_CALLBACK_DATA own, UCHAR minor, ULONG key)
{
    static LARGE_INTEGER one = { .QuadPart = 1 };
    ULONG_PTR *range = (ULONG_PTR *)&own->Iopb->Parameters;

    own->Iopb->MajorFunction = IRP_MJ_LOCK_CONTROL;
    own->Iopb->MinorFunction = minor;
    own->Iopb->OperationFlags = SL_EXCLUSIVE_LOCK;
    range[0] = (ULONG_PTR)&one;
    range[1] = key;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreCleanup(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Context);
    if (IS("close-not-succeeded")) { /* in PreCleanup */
        Data->IoStatus.Status = STATUS_ACCESS_DENIED;
        return FLT_PREOP_COMPLETE;
    }
    return FLT_PREOP_SUCCESS_NO_CALLBACK;
}

/* The program asks for an oplock. */
static FLT_PREOP_CALLBACK_STATUS FLTAPI PreControl(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    UNREFERENCED_PARAMETER(Data);
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Context);
    if (IS("cannot-be-synchronized: oplock")) /* in PreControl */
        return FLT_PREOP_SYNCHRONIZE;
    return FLT_PREOP_SUCCESS_NO_CALLBACK;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostControl(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context, ULONG Flags)
{
    UNREFERENCED_PARAMETER(Data);
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Flags);
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static FLT_PREOP_CALLBACK_STATUS FLTAPI PreRead(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID *Context)
{
    PFLT_CALLBACK_DATA own;

    if (IS("preop-status")) /* in PreRead */
        return (FLT_PREOP_CALLBACK_STATUS)77;
    if (IS("pended-fast-io") && !FLT_IS_IRP_OPERATION(Data)) { /* in PreRead */
        FLT_PREOP_CALLBACK_STATUS pending = FLT_PREOP_PENDING;
        FltCompletePendedPreOperation(Data, FLT_PREOP_SUCCESS_NO_CALLBACK, NULL);
        return pending;
    }
    if (IS("oplock-fast-io") && !FLT_IS_IRP_OPERATION(Data)) {
        PVOID oplock = NULL;
        FltInitializeOplock(&oplock);
        FltCheckOplock(&oplock, Data, NULL, NULL, NULL); /* here */
        FltUninitializeOplock(&oplock);
    }
    if (IS("completion-context")) { /* in PreRead */
        *Context = Data;
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    }
    if (IS("changed-without-dirty")) /* in PreRead */
        Data->Iopb->Parameters.Read.Length = 1;
    if (IS("completed-with-pending")) { /* in PreRead */
        Data->IoStatus.Status = STATUS_PENDING;
        return FLT_PREOP_COMPLETE;
    }
    if (IS("completed-not-pended: pre") && FLT_IS_IRP_OPERATION(Data)) { /* in PreRead */
        FltCompletePendedPreOperation(Data, FLT_PREOP_SUCCESS_NO_CALLBACK, NULL);
        return FLT_PREOP_SUCCESS_NO_CALLBACK;
    }
    if (IS("completed-twice: pre") && FLT_IS_IRP_OPERATION(Data)) {
        FltCompletePendedPreOperation(Data, FLT_PREOP_SUCCESS_NO_CALLBACK, NULL);
        FltCompletePendedPreOperation(Data, FLT_PREOP_SUCCESS_NO_CALLBACK, NULL); /* here */
        return FLT_PREOP_PENDING;
    }
    if ((IS("user-buffer-in-wrong-process: neither") || IS("user-address-in-wrong-process: and 0x7E")) && FLT_IS_IRP_OPERATION(Data))
        return Defer(Data, Later);
    if (IS("0xF5: completed after its end") && FLT_IS_IRP_OPERATION(Data) && !Left) {
        Left = Data;
        KeInitializeEvent(&Ended, NotificationEvent, FALSE);
        return Defer(Data, CompleteTwice);
    }
    if (IS("stack-use: at a call"))
        Deep();
    if (IS("stack-use: between two calls")) /* in PreRead */
        Left = (PVOID)(ULONG_PTR)Sum(3);
    if (IS("never-completed") && FLT_IS_IRP_OPERATION(Data)) /* in PreRead */
        return FLT_PREOP_PENDING;
    if (IS("cancel-routine-left") && FLT_IS_IRP_OPERATION(Data)) {
        FltSetCancelCompletion(Data, CancelNothing);
        FltCompletePendedPreOperation(Data, FLT_PREOP_SUCCESS_NO_CALLBACK, NULL); /* here */
        return FLT_PREOP_PENDING;
    }
    if (IS("target-instance") && FLT_IS_IRP_OPERATION(Data)) { /* in PreRead */
        Data->Iopb->TargetInstance = (PFLT_INSTANCE)Filter;
        FltSetCallbackDataDirty(Data);
    }
    if (IS("callback-data-in-use: sent twice")) {
        if (NT_SUCCESS(FltAllocateCallbackData(FltObjects->Instance, FltObjects->FileObject, &own))) {
            own->Iopb->MajorFunction = IRP_MJ_FLUSH_BUFFERS;
            FltPerformSynchronousIo(own);
            FltPerformSynchronousIo(own); /* here */
            FltFreeCallbackData(own);
        }
    }
    if (IS("callback-data-in-use: freed under way") && NT_SUCCESS(FltAllocateCallbackData(FltObjects->Instance, FltObjects->FileObject, &own))) {
        PFLT_CALLBACK_DATA other = NULL;
        KEVENT over;
        KeInitializeEvent(&over, NotificationEvent, FALSE);
        FltAllocateCallbackData(FltObjects->Instance, FltObjects->FileObject, &other);
        Range(other, IRP_MN_LOCK, 1);
        FltPerformSynchronousIo(other);
        Range(own, IRP_MN_LOCK, 2);
        FltPerformAsynchronousIo(own, Over, &over);
        FltFreeCallbackData(own); /* here */
        FltReuseCallbackData(other);
        Range(other, IRP_MN_UNLOCK_SINGLE, 1);
        FltPerformSynchronousIo(other);
        KeWaitForSingleObject(&over, Executive, KernelMode, FALSE, NULL);
        FltReuseCallbackData(other);
        Range(other, IRP_MN_UNLOCK_SINGLE, 2);
        FltPerformSynchronousIo(other);
        FltFreeCallbackData(other);
    }
    if (IS("refused: create")) {
        if (NT_SUCCESS(FltAllocateCallbackData(FltObjects->Instance, FltObjects->FileObject, &own))) {
            own->Iopb->MajorFunction = IRP_MJ_CREATE;
            FltPerformSynchronousIo(own); /* here */
            FltFreeCallbackData(own);
        }
    }
    if (IS("instance-of-other-volume") && Elsewhere && Elsewhere != FltObjects->Instance) {
        LARGE_INTEGER zero = { .QuadPart = 0 };
        UCHAR byte;
        FltReadFile(Elsewhere, FltObjects->FileObject, &zero, 1, &byte, 0, NULL, NULL, NULL); /* here */
    }
    if (IS("mdl-too-short") && FLT_IS_IRP_OPERATION(Data)) /* in PreRead */
        return Swap(Data, 1);
    if (IS("swapped-without-mdl: direct") && FLT_IS_IRP_OPERATION(Data)) /* in PreRead */
        return Swap(Data, 0);
    if (IS("swapped-mdl-freed") && FLT_IS_IRP_OPERATION(Data))
        return Swap(Data, 4096);
    if (IS("mdl-not-nonpaged")) {
        PMDL mdl = IoAllocateMdl(Data->Iopb->Parameters.Read.ReadBuffer, 1, FALSE, FALSE, NULL);
        MmBuildMdlForNonPagedPool(mdl); /* here */
        IoFreeMdl(mdl);
    }
    if (IS("postop-status") || IS("completed-not-pended: post") || IS("safe-while-draining") || IS("completed-twice: post") ||
        IS("posted-after-transfer"))
        return FLT_PREOP_SUCCESS_WITH_CALLBACK;
    return FLT_PREOP_SUCCESS_NO_CALLBACK;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI WhenSafe(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context, ULONG Flags)
{
    UNREFERENCED_PARAMETER(Data);
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Flags);
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static VOID FLTAPI Posted(PVOID item, PFLT_CALLBACK_DATA Data, PVOID context)
{
    UNREFERENCED_PARAMETER(context);
    FltFreeDeferredIoWorkItem(item);
    FltCompletePendedPostOperation(Data);
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostRead(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context, ULONG Flags)
{
    FLT_POSTOP_CALLBACK_STATUS status = FLT_POSTOP_FINISHED_PROCESSING;

    UNREFERENCED_PARAMETER(Context);
    if (IS("postop-status")) /* in PostRead */
        return (FLT_POSTOP_CALLBACK_STATUS)9;
    if (IS("completed-not-pended: post") && FLT_IS_IRP_OPERATION(Data)) /* in PostRead */
        FltCompletePendedPostOperation(Data);
    if (IS("completed-twice: post") && FLT_IS_IRP_OPERATION(Data)) {
        FltCompletePendedPostOperation(Data);
        FltCompletePendedPostOperation(Data); /* here */
        return FLT_POSTOP_MORE_PROCESSING_REQUIRED;
    }
    if (IS("swapped-mdl-freed") && Left) {
        IoFreeMdl(Left); /* here */
        Left = NULL;
    }
    if (IS("posted-after-transfer") && FLT_IS_IRP_OPERATION(Data)) {
        PFLT_DEFERRED_IO_WORKITEM item = FltAllocateDeferredIoWorkItem();
        FltQueueDeferredIoWorkItem(item, Data, Posted, DelayedWorkQueue, NULL); /* here */
        return FLT_POSTOP_MORE_PROCESSING_REQUIRED;
    }
    if (IS("safe-while-draining"))
        FltDoCompletionProcessingWhenSafe(Data, FltObjects, NULL, Flags | FLTFL_POST_OPERATION_DRAINING, WhenSafe, &status); /* here */
    return status;
}

static FLT_POSTOP_CALLBACK_STATUS FLTAPI PostCreate(PFLT_CALLBACK_DATA Data, PCFLT_RELATED_OBJECTS FltObjects, PVOID Context, ULONG Flags)
{
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Flags);
    if (!NT_SUCCESS(Data->IoStatus.Status))
        return FLT_POSTOP_FINISHED_PROCESSING;
    if (IS("0xF5: completed after its end") && Left) {
        /* The read is over: its thread is here. It waits for the end of the machine. */
        KEVENT never;
        KeSetEvent(&Ended, IO_NO_INCREMENT, FALSE);
        KeInitializeEvent(&never, NotificationEvent, FALSE);
        KeWaitForSingleObject(&never, Executive, KernelMode, FALSE, NULL);
    }
    if (IS("failed-create-not-cancelled")) { /* in PostCreate */
        Data->IoStatus.Status = STATUS_ACCESS_DENIED;
        Data->IoStatus.Information = 0;
    } else if (IS("reissued-while-open"))
        FltReissueSynchronousIo(FltObjects->Instance, Data); /* here */
    else if (FltObjects->Transaction && IS("fltmgr-leak: transaction context"))
        LeaveContext(FltObjects, FLT_TRANSACTION_CONTEXT);
    else if (IsMisuse(L"asks for names")) {
        PFLT_FILE_NAME_INFORMATION name;
        if (NT_SUCCESS(FltGetFileNameInformation(Data, FLT_FILE_NAME_OPENED | FLT_FILE_NAME_QUERY_DEFAULT, &name)))
            FltReleaseFileNameInformation(name);
    }
    else if (FltObjects->Transaction && IS("transaction-status")) {
        PFLT_CONTEXT context;
        if (NT_SUCCESS(FltAllocateContext(Filter, FLT_TRANSACTION_CONTEXT, 16, NonPagedPool, &context))) {
            FltEnlistInTransaction(FltObjects->Instance, FltObjects->Transaction, context, FLT_MAX_TRANSACTION_NOTIFICATIONS);
            FltReleaseContext(context);
        }
    } else
        OpenObjects(Data, FltObjects);
    return FLT_POSTOP_FINISHED_PROCESSING;
}

static NTSTATUS FLTAPI Notified(PCFLT_RELATED_OBJECTS FltObjects, PFLT_CONTEXT Context, ULONG Mask)
{
    UNREFERENCED_PARAMETER(FltObjects);
    UNREFERENCED_PARAMETER(Context);
    UNREFERENCED_PARAMETER(Mask);
    return IS("transaction-status") ? STATUS_UNSUCCESSFUL : STATUS_SUCCESS; /* in Notified */
}

static NTSTATUS FLTAPI GenerateName(PFLT_INSTANCE Instance, PFILE_OBJECT FileObject, PFLT_CALLBACK_DATA Data, ULONG Options,
                                    PBOOLEAN Cache, struct { UNICODE_STRING Name; } *FileName)
{
    UNREFERENCED_PARAMETER(Instance);
    UNREFERENCED_PARAMETER(FileObject);
    UNREFERENCED_PARAMETER(Data);
    UNREFERENCED_PARAMETER(Options);
    UNREFERENCED_PARAMETER(Cache);
    if (IS("generated-name") && NT_SUCCESS(FltCheckAndGrowNameControl(FileName, 16))) { /* in GenerateName */
        FileName->Name.Length = 4;
        FileName->Name.Buffer[0] = L'\\';
        FileName->Name.Buffer[1] = L'x';
    }
    if (IS("name-control-buffer")) { /* in GenerateName */
        static WCHAR name[] = L"\\Device\\HarddiskVolume1\\a.txt";
        RtlInitUnicodeString(&FileName->Name, name);
    }
    return STATUS_SUCCESS;
}

static NTSTATUS FLTAPI Setup(PCFLT_RELATED_OBJECTS FltObjects, ULONG Flags, DEVICE_TYPE Type, ULONG FileSystem)
{
    UNREFERENCED_PARAMETER(Flags);
    UNREFERENCED_PARAMETER(Type);
    UNREFERENCED_PARAMETER(FileSystem);
    if (!Elsewhere)
        Elsewhere = FltObjects->Instance;
    return STATUS_SUCCESS;
}
