/*
 * A filter that tells fast I/O from IRPs, and what it is given of buffers.
 * REFUSE disallows fast I/O. DEFECT: 1 pends fast I/O, 2 disallows an IRP, 3 swaps a buffer and leaves its MDL.
 */
#include "files.h"
#ifndef DEFECT
#define DEFECT 0
#endif
#ifndef REFUSE
#define REFUSE 0
#endif
#define DATA_FAST_IO 2

IMPORT void FltCompletePendedPreOperation(FLT_CALLBACK_DATA *, int, PVOID);

static PVOID Filter;
static uint8_t Other[4096];

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    int fast = (data->Flags & DATA_FAST_IO) != 0, transfer = data->Iopb->MajorFunction == IRP_MJ_READ || data->Iopb->MajorFunction == IRP_MJ_WRITE;
    (void)objects, (void)context;

    if (transfer)
        DbgPrint("pre %s fast=%d system=%d mdl=%d length=%u", FltGetIrpName(data->Iopb->MajorFunction), fast,
            (data->Flags & DATA_SYSTEM_BUFFER) != 0, TRANSFER(data)->Mdl != 0, TRANSFER(data)->Length);
    else
        DbgPrint("pre %s fast=%d irp=%d", FltGetIrpName(data->Iopb->MajorFunction), fast, data->Flags & 1);
    if (fast && REFUSE)
        return PREOP_DISALLOW_FASTIO;
    if (DEFECT == 1 && fast) {
        FltCompletePendedPreOperation(data, PREOP_NO_CALLBACK, 0);
        return PREOP_PENDING;
    }
    if (DEFECT == 2 && !fast)
        return PREOP_DISALLOW_FASTIO;
    if (DEFECT == 3 && transfer && TRANSFER(data)->Mdl) {
        TRANSFER(data)->Buffer = Other;
        FltSetCallbackDataDirty(data);
    }
    return PREOP_WITH_CALLBACK;
}

static int Post(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    (void)objects, (void)context, (void)flags;
    DbgPrint("post %s status=%08x", FltGetIrpName(data->Iopb->MajorFunction), data->IoStatus.Status);
    return POSTOP_FINISHED;
}

PLAIN_UNLOAD

#ifdef DRIVER_UNLOAD
static void Last(PVOID driver)
{
    (void)driver;
    DbgPrint("driver unload");
}
#endif

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_READ, 0, Pre, Post, 0 }, { IRP_MJ_WRITE, 0, Pre, Post, 0 }, { IRP_MJ_LOCK_CONTROL, 0, Pre, Post, 0 },
    { IRP_MJ_QUERY_INFORMATION, 0, Pre, Post, 0 }, { IRP_MJ_DEVICE_CONTROL, 0, Pre, Post, 0 }, { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};

NTSTATUS DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    static const FLT_REGISTRATION registration = { .Size = sizeof(registration), .Version = 0x0203, .Operations = Operations, .Unload = Unload };
    NTSTATUS status = FltRegisterFilter(driver, &registration, &Filter);
    (void)path;
#ifdef DRIVER_UNLOAD
    /* DRIVER_OBJECT.DriverUnload */
    *(PVOID *)((char *)driver + 104) = (PVOID)Last;
#endif
    return NT_SUCCESS(status) ? FltStartFiltering(Filter) : status;
}
