/*
 * Sends reads on one volume on to a twin of the file on another: the operation's target becomes the filter's instance
 * there. DEFECT 1: the target is no instance of its own.
 */
#include "files.h"
#ifndef DEFECT
#define DEFECT 0
#endif

typedef struct { HANDLE Handle; PVOID File; } TWIN;
static PVOID Instances[4];
static ULONG Count;

static int PreRead(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    UNICODE_STRING name = { sizeof(u"\\Device\\HarddiskVolume2\\twin") - 2, sizeof(u"\\Device\\HarddiskVolume2\\twin"),
                            (WCHAR *)u"\\Device\\HarddiskVolume2\\twin" };
    OBJECT_ATTRIBUTES object = { sizeof(object), 0, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, 0, 0 };
    IO_STATUS_BLOCK block;
    NTSTATUS status;
    TWIN *twin;

    if (objects->Instance != Instances[0])
        return PREOP_NO_CALLBACK;
    twin = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*twin), TAG);
    if (twin == 0)
        return PREOP_NO_CALLBACK;
    status = FltCreateFileEx2(Filter, Instances[1], &twin->Handle, &twin->File, 0x100001, &object, &block, 0, 0x80, 7, 1, 0x20, 0, 0, 0, 0);
    if (!NT_SUCCESS(status)) {
        DbgPrint("twin %08x\n", status);
        ExFreePoolWithTag(twin, TAG);
        return PREOP_NO_CALLBACK;
    }
    data->Iopb->TargetFileObject = twin->File;
    data->Iopb->TargetInstance = DEFECT == 1 ? Filter : Instances[1];
    FltSetCallbackDataDirty(data);
    *context = twin;
    return PREOP_WITH_CALLBACK;
}

static int PostRead(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, TWIN *twin, ULONG flags)
{
    (void)objects, (void)flags;
    DbgPrint("back %08x own=%d\n", data->IoStatus.Status, data->Iopb->TargetInstance == Instances[0]);
    FltClose(twin->Handle);
    ObfDereferenceObject(twin->File);
    ExFreePoolWithTag(twin, TAG);
    return POSTOP_FINISHED;
}

static NTSTATUS Setup(const FLT_RELATED_OBJECTS *objects, ULONG flags, ULONG device, ULONG file_system)
{
    (void)flags, (void)file_system;
    if (device != 8 || Count == 4) /* FILE_DEVICE_DISK_FILE_SYSTEM */
        return STATUS_FLT_DO_NOT_ATTACH;
    Instances[Count++] = objects->Instance;
    return STATUS_SUCCESS;
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = { { IRP_MJ_READ, 0, PreRead, PostRead, 0 }, { IRP_MJ_OPERATION_END, 0, 0, 0, 0 } };
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, Setup, 0, 0);

PLAIN_ENTRY
