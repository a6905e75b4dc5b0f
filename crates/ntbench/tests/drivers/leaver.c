/*
 * Leaves while I/O of its own is under way: a flush sends a read that it put together itself and one with FltReadFile, and
 * waits for neither. When its instance begins to go it sends another one, which is too late.
 */
#include "files.h"

static FLT_CALLBACK_DATA *Spare;
static PVOID SpareInstance;
static char Text[2][8];

static void Sent(FLT_CALLBACK_DATA *data, PVOID context)
{
    DbgPrint("sent %08x %s\n", data->IoStatus.Status, (const char *)context);
    FltFreeCallbackData(data);
}

static void Refused(FLT_CALLBACK_DATA *data, PVOID context)
{
    DbgPrint("%s %08x\n", (const char *)context, data->IoStatus.Status);
}

static void Read(FLT_CALLBACK_DATA *data, PVOID context)
{
    DbgPrint("read %08x %u %s\n", data->IoStatus.Status, (unsigned)data->IoStatus.Information, (const char *)context);
}

static void Prepare(FLT_CALLBACK_DATA *data, uint8_t major)
{
    data->Iopb->MajorFunction = major;
    TRANSFER(data)->Length = 3;
    TRANSFER(data)->Offset = 1;
    TRANSFER(data)->Buffer = Text[0];
}

static int PreFlush(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    FLT_CALLBACK_DATA *own = 0;
    int64_t zero = 0;
    (void)data, (void)context;
    if (!NT_SUCCESS(FltAllocateCallbackData(objects->Instance, objects->FileObject, &own)))
        return PREOP_NO_CALLBACK;
    if (!NT_SUCCESS(FltAllocateCallbackData(objects->Instance, objects->FileObject, &Spare))) {
        FltFreeCallbackData(own);
        return PREOP_NO_CALLBACK;
    }
    SpareInstance = objects->Instance;
    Prepare(Spare, IRP_MJ_CREATE);
    DbgPrint("create %08x\n", FltPerformAsynchronousIo(Spare, Refused, "refused"));
    FltReuseCallbackData(Spare);
    Prepare(own, IRP_MJ_READ);
    FltPerformAsynchronousIo(own, Sent, Text[0]);
    FltReadFile(objects->Instance, objects->FileObject, &zero, 4, Text[1], 0, 0, Read, Text[1]);
    return PREOP_NO_CALLBACK;
}

static void TeardownStart(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    (void)reason;
    if (Spare == 0 || objects->Instance != SpareInstance)
        return;
    Prepare(Spare, IRP_MJ_READ);
    DbgPrint("leaving %08x\n", FltPerformAsynchronousIo(Spare, Refused, "too late"));
    FltFreeCallbackData(Spare);
    Spare = 0;
}

static void TeardownComplete(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    (void)reason;
    if (objects->Instance == SpareInstance)
        DbgPrint("gone\n");
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_FLUSH_BUFFERS, 0, PreFlush, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, TeardownStart, TeardownComplete);

PLAIN_ENTRY
