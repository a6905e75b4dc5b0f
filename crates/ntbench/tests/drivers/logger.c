/*
 * In the manner of a create logger: asks for each create's name before it, prints its result after it.
 * Planted defects, one at a time, are chosen by DEFECT.
 */
#include "flt.h"

#define DEFECT_NONE 0
#define DEFECT_NAME 1        /* leaks a name */
#define DEFECT_POOL 2        /* leaks pool */
#define DEFECT_DOUBLE_FREE 3 /* frees twice */
#define DEFECT_OVERRUN 4     /* writes beyond a block */
#define DEFECT_IRQL 5        /* returns at a raised IRQL */
#define DEFECT_REGION 6      /* stays in a critical region */
#define DEFECT_RELEASE 7     /* releases a name twice */
#define DEFECT_CONTEXT 8     /* a completion context that nobody gets back */
#define DEFECT_CHANGE 9      /* changes parameters without saying so */
#define DEFECT_REGISTER 10   /* fails DriverEntry with the filter registered */
#define DEFECT_NO_POST 11    /* asks for a post-operation callback that it does not have */
#define DEFECT_NAME_IRQL 12  /* asks for a name at DISPATCH_LEVEL */
#define DEFECT_TAG 13        /* frees with another tag */
#define DEFECT_AFTER_FREE 14 /* writes to freed pool */
#ifndef DEFECT
#define DEFECT DEFECT_NONE
#endif

static int PreCreate(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    FLT_FILE_NAME_INFORMATION *name;
    NTSTATUS status;
    (void)objects;

    if (DEFECT == DEFECT_NAME_IRQL) {
        uint8_t old = KfRaiseIrql(2);
        if (NT_SUCCESS(FltGetFileNameInformation(data, NAME_OPENED, &name)))
            FltReleaseFileNameInformation(name);
        KeLowerIrql(old);
    }
    status = FltGetFileNameInformation(data, NAME_OPENED, &name);
    if (!NT_SUCCESS(status))
        return PREOP_NO_CALLBACK;
    FltParseFileNameInformation(name);
    DbgPrintEx(DPFLTR_IHVDRIVER_ID, 0, "pre %wZ share=%wZ parent=%wZ last=%wZ ext=%wZ pid=%u mode=%d\n", &name->Name,
               &name->Share, &name->ParentDir, &name->FinalComponent, &name->Extension, FltGetRequestorProcessId(data),
               data->RequestorMode);
    if (DEFECT != DEFECT_NAME)
        FltReleaseFileNameInformation(name);
    if (DEFECT == DEFECT_RELEASE)
        FltReleaseFileNameInformation(name);
    if (DEFECT == DEFECT_POOL)
        ExAllocatePool2(POOL_FLAG_PAGED, 100, TAG);
    if (DEFECT == DEFECT_DOUBLE_FREE || DEFECT == DEFECT_OVERRUN || DEFECT == DEFECT_TAG || DEFECT == DEFECT_AFTER_FREE) {
        volatile uint8_t *block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
        if (DEFECT == DEFECT_OVERRUN)
            block[100] = 1;
        ExFreePoolWithTag((PVOID)block, DEFECT == DEFECT_TAG ? TAG + 1 : TAG);
        if (DEFECT == DEFECT_DOUBLE_FREE)
            ExFreePoolWithTag((PVOID)block, TAG);
        if (DEFECT == DEFECT_AFTER_FREE)
            block[5] = 1;
    }
    if (DEFECT == DEFECT_IRQL)
        KfRaiseIrql(2);
    if (DEFECT == DEFECT_REGION)
        KeEnterCriticalRegion();
    if (DEFECT == DEFECT_CHANGE)
        data->Iopb->Create.ShareAccess = 0;
    if (DEFECT == DEFECT_CONTEXT) {
        *context = (PVOID)0x1234;
        return PREOP_NO_CALLBACK;
    }
    *context = (PVOID)0x1234;
    return PREOP_WITH_CALLBACK;
}

static int PostCreate(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    (void)objects;
    DbgPrint("post %08x information=%Iu context=%p flags=%u\n", data->IoStatus.Status, data->IoStatus.Information,
             context, flags);
    return POSTOP_FINISHED;
}

static NTSTATUS Setup(const FLT_RELATED_OBJECTS *objects, ULONG flags, ULONG device, ULONG file_system)
{
    DbgPrint("setup flags=%u device=%#x fs=%u related=%u\n", flags, device, file_system, objects->Size);
    return device == 0x14 ? STATUS_SUCCESS : STATUS_FLT_DO_NOT_ATTACH;
}

static void TeardownStart(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    (void)objects;
    DbgPrint("teardown start %u\n", reason);
}

static void TeardownComplete(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    (void)objects;
    DbgPrint("teardown complete %u\n", reason);
}

static ULONG Refusals = 1;

static NTSTATUS Unload(ULONG flags)
{
    if (Refusals > 0 && DEFECT == DEFECT_NONE) {
        Refusals--;
        return STATUS_FLT_DO_NOT_DETACH;
    }
    DbgPrint("unload %u\n", flags);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, PreCreate, DEFECT == DEFECT_NO_POST ? 0 : PostCreate, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, Setup, TeardownStart, TeardownComplete);

/* KEY_VALUE_PARTIAL_INFORMATION with a DWORD, read as a driver reads its settings. */
static ULONG Setting(UNICODE_STRING *path)
{
    static const WCHAR parameters[] = u"Parameters";
    struct { ULONG Title, Type, Length, Value; } value;
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes = { sizeof(attributes), 0, path, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, 0, 0 };
    HANDLE service, key;
    ULONG length, result = 0;

    if (!NT_SUCCESS(ZwOpenKey(&service, 0x20019, &attributes)))
        return 0;
    RtlInitUnicodeString(&name, parameters);
    attributes.RootDirectory = service;
    attributes.ObjectName = &name;
    if (NT_SUCCESS(ZwOpenKey(&key, 0x20019, &attributes))) {
        RtlInitUnicodeString(&name, u"Answer");
        if (NT_SUCCESS(ZwQueryValueKey(key, &name, 2, &value, sizeof(value), &length)) && value.Type == 4)
            result = value.Value;
        ZwClose(key);
    }
    ZwClose(service);
    return result;
}

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    NTSTATUS status;
    NTSTATUS (*reference)(PVOID) = FltGetRoutineAddress("FltObjectReference");
    UNICODE_STRING name;

    DbgPrint("entry %wZ answer=%u\n", path, Setting(path));
    status = FltRegisterFilter(driver, &Registration, &Filter);
    if (!NT_SUCCESS(status))
        return status;
    if (DEFECT == DEFECT_REGISTER)
        return STATUS_ACCESS_DENIED;
    RtlInitUnicodeString(&name, u"NoSuchRoutine");
    if (reference == 0 || MmGetSystemRoutineAddress(&name) != 0)
        DbgPrint("routine addresses are wrong\n");
    else if (NT_SUCCESS(reference(Filter)))
        FltObjectDereference(Filter);
    status = FltStartFiltering(Filter);
    if (!NT_SUCCESS(status))
        FltUnregisterFilter(Filter);
    return status;
}
