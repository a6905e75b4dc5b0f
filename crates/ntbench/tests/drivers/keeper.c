/*
 * Sees oplocks asked for and broken. OWN=1: keeps the oplock itself, for whatever file; a create, read or write that has to wait for a
 * break it lets FltCheckOplock pend.
 */
#include "files.h"
#ifndef OWN
#define OWN 0
#endif

IMPORT void FltInitializeOplock(PVOID *);
IMPORT void FltUninitializeOplock(PVOID *);
IMPORT int FltOplockFsctrl(PVOID *, FLT_CALLBACK_DATA *, ULONG);
IMPORT int FltCheckOplock(PVOID *, FLT_CALLBACK_DATA *, PVOID, PVOID, PVOID);
IMPORT BOOLEAN FltOplockIsFastIoPossible(PVOID *);
IMPORT BOOLEAN FltCurrentBatchOplock(PVOID *);
static PVOID Oplock;

static void Prepare(FLT_CALLBACK_DATA *data, PVOID context)
{
    DbgPrint("prepare %s context=%p\n", FltGetIrpName(data->Iopb->MajorFunction), context);
}

static void Waited(FLT_CALLBACK_DATA *data, PVOID context)
{
    NTSTATUS status = data->IoStatus.Status;
    DbgPrint("waited %s %08x context=%p\n", FltGetIrpName(data->Iopb->MajorFunction), status, context);
    FltCompletePendedPreOperation(data, NT_SUCCESS(status) ? PREOP_WITH_CALLBACK : PREOP_COMPLETE, 0);
}

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    uint8_t major = data->Iopb->MajorFunction;
    int status;
    (void)objects, (void)context;
    if (data->Flags & 2)
        return PREOP_DISALLOW_FASTIO;
    if (data->RequestorMode == 0 && major != IRP_MJ_CLEANUP)
        return PREOP_NO_CALLBACK;
    if (major == IRP_MJ_FILE_SYSTEM_CONTROL)
        DbgPrint("pre control %x\n", CONTROL(data)->Code);
    if (!OWN)
        return PREOP_WITH_CALLBACK;
    if (major == IRP_MJ_FILE_SYSTEM_CONTROL) {
        status = FltOplockFsctrl(&Oplock, data, 1);
        DbgPrint("fsctrl %d fast=%d batch=%d\n", status, FltOplockIsFastIoPossible(&Oplock), FltCurrentBatchOplock(&Oplock));
        return status;
    }
    status = FltCheckOplock(&Oplock, data, (PVOID)0x0C, Waited, Prepare);
    if (status != PREOP_WITH_CALLBACK)
        DbgPrint("check %s %d\n", FltGetIrpName(major), status);
    return status;
}

static int Post(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    (void)objects, (void)context, (void)flags;
    DbgPrint("post %s %08x %u\n", FltGetIrpName(data->Iopb->MajorFunction), data->IoStatus.Status, (unsigned)data->IoStatus.Information);
    return POSTOP_FINISHED;
}

static NTSTATUS Unload(ULONG flags)
{
    (void)flags;
    FltUnregisterFilter(Filter);
    FltUninitializeOplock(&Oplock);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, Pre, Post, 0 },
    { IRP_MJ_READ, 0, Pre, Post, 0 },
    { IRP_MJ_WRITE, 0, Pre, Post, 0 },
    { IRP_MJ_CLEANUP, 0, Pre, Post, 0 },
    { IRP_MJ_FILE_SYSTEM_CONTROL, 0, Pre, Post, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    NTSTATUS status;
    (void)path;
    FltInitializeOplock(&Oplock);
    status = FltRegisterFilter(driver, &Registration, &Filter);
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    return status;
}
