/*
 * A filter with work of its own: at each flush it opens, reads, writes, lists, renames and deletes beside the file, by
 * handles, below its instance, and by operations that it puts together itself. It keeps byte-range locks of its own.
 * DEFECT: 1 frees callback data never, 2 leaves a handle open, 3 sends an operation of its own twice at once.
 */
#include "files.h"
#ifndef DEFECT
#define DEFECT 0
#endif

IMPORT NTSTATUS ZwCreateFile(HANDLE *, ULONG, OBJECT_ATTRIBUTES *, IO_STATUS_BLOCK *, int64_t *, ULONG, ULONG, ULONG, ULONG, PVOID, ULONG);
IMPORT NTSTATUS ZwReadFile(HANDLE, HANDLE, PVOID, PVOID, IO_STATUS_BLOCK *, PVOID, ULONG, int64_t *, ULONG *);
IMPORT NTSTATUS ZwWriteFile(HANDLE, HANDLE, PVOID, PVOID, IO_STATUS_BLOCK *, const void *, ULONG, int64_t *, ULONG *);
IMPORT NTSTATUS ZwQueryInformationFile(HANDLE, IO_STATUS_BLOCK *, PVOID, ULONG, ULONG);
IMPORT NTSTATUS ZwSetInformationFile(HANDLE, IO_STATUS_BLOCK *, PVOID, ULONG, ULONG);
IMPORT NTSTATUS ZwQueryDirectoryFile(HANDLE, HANDLE, PVOID, PVOID, IO_STATUS_BLOCK *, PVOID, ULONG, ULONG, BOOLEAN, UNICODE_STRING *, BOOLEAN);
IMPORT NTSTATUS ZwFlushBuffersFile(HANDLE, IO_STATUS_BLOCK *);
IMPORT NTSTATUS FsRtlGetFileSize(PVOID, int64_t *);
IMPORT NTSTATUS ObOpenObjectByPointer(PVOID, ULONG, PVOID, ULONG, PVOID, int8_t, HANDLE *);
IMPORT PVOID FltAllocateFileLock(PVOID, PVOID);
IMPORT void FltFreeFileLock(PVOID);
IMPORT int FltProcessFileLock(PVOID, FLT_CALLBACK_DATA *, PVOID);
IMPORT BOOLEAN FltCheckLockForWriteAccess(PVOID, FLT_CALLBACK_DATA *);
IMPORT void FltGetContexts(const FLT_RELATED_OBJECTS *, uint16_t, PVOID *);
IMPORT void FltReleaseContexts(PVOID *);

static PVOID Lock;
static uint8_t Event[24] __attribute__((aligned(16)));
static ULONG Moved;

static NTSTATUS DoneStatus;
static PVOID DoneContext;

static void Done(FLT_CALLBACK_DATA *data, PVOID context)
{
    DoneStatus = data->IoStatus.Status;
    DoneContext = context;
    KeSetEvent(Event, 0, 0);
}

/* Printed here and not by the worker, which may be faster than the thread that it works for. */
static void AwaitDone(void)
{
    KeWaitForSingleObject(Event, 0, 0, 0, 0);
    DbgPrint("done %08x context=%p\n", DoneStatus, DoneContext);
}

static void ByHandle(void)
{
    UNICODE_STRING name = { sizeof(u"\\??\\UNC\\fs\\data\\Docs\\made") - 2, 0, (WCHAR *)u"\\??\\UNC\\fs\\data\\Docs\\made" };
    OBJECT_ATTRIBUTES object = { sizeof(object), 0, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, 0, 0 };
    struct { uint64_t Replace; HANDLE Root; ULONG Length; WCHAR Name[5]; } rename = { 0, 0, 10, u"other" };
    IO_STATUS_BLOCK block = { 0, 0 };
    int64_t zero = 0, standard[3] = { 0 };
    char text[8] = { 0 };
    BOOLEAN delete = 1;
    HANDLE file = 0;
    NTSTATUS status;

    name.MaximumLength = name.Length;
    status = ZwCreateFile(&file, 0x110003, &object, &block, 0, 0x80, 7, 2, 0x60, 0, 0);
    DbgPrint("create %08x %u\n", status, (unsigned)block.Information);
    if (!NT_SUCCESS(status))
        return;
    DbgPrint("write %08x\n", ZwWriteFile(file, 0, 0, 0, &block, "written", 7, 0, 0));
    status = ZwReadFile(file, 0, 0, 0, &block, text, 7, &zero, 0);
    DbgPrint("read %08x %u %s\n", status, (unsigned)block.Information, text);
    status = ZwQueryInformationFile(file, &block, standard, sizeof(standard), 5);
    DbgPrint("length %08x %u\n", status, (unsigned)standard[1]);
    DbgPrint("flush %08x\n", ZwFlushBuffersFile(file, &block));
    DbgPrint("rename %08x\n", ZwSetInformationFile(file, &block, &rename, 30, 10));
    DbgPrint("delete %08x\n", ZwSetInformationFile(file, &block, &delete, 1, 13));
    if (DEFECT != 2)
        ZwClose(file);
}

static void Below(const FLT_RELATED_OBJECTS *objects)
{
    FLT_CALLBACK_DATA *data = 0;
    char text[8] = { 0 };
    int64_t zero = 0;
    NTSTATUS status;
    HANDLE handle = 0;

    status = FltReadFile(objects->Instance, objects->FileObject, &zero, 4, text, 0, &Moved, Done, (PVOID)0x44);
    DbgPrint("pending %08x\n", status);
    AwaitDone();
    DbgPrint("read %u %s\n", Moved, text);
    status = FltAllocateCallbackData(objects->Instance, objects->FileObject, &data);
    DbgPrint("allocated %08x\n", status);
    if (!NT_SUCCESS(status))
        return;
    for (int round = 0; round < 2; round++) {
        memset(text, 0, sizeof(text));
        data->Iopb->MajorFunction = IRP_MJ_READ;
        TRANSFER(data)->Length = 3;
        TRANSFER(data)->Offset = 1;
        TRANSFER(data)->Buffer = text;
        if (round == 0) {
            FltPerformSynchronousIo(data);
        } else {
            status = FltPerformAsynchronousIo(data, Done, (PVOID)0x45);
            if (DEFECT == 3)
                FltPerformSynchronousIo(data);
            AwaitDone();
        }
        DbgPrint("own %08x %08x %s\n", status, data->IoStatus.Status, text);
        FltReuseCallbackData(data);
    }
    if (DEFECT != 1)
        FltFreeCallbackData(data);
    status = ObOpenObjectByPointer(objects->FileObject, OBJ_KERNEL_HANDLE, 0, 1, 0, 0, &handle);
    DbgPrint("pointer %08x\n", status);
    if (NT_SUCCESS(status))
        ZwClose(handle);
}

static int PreFlush(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    PVOID contexts[6];
    int64_t size = 0;
    NTSTATUS status;
    (void)context;
    if (data->RequestorMode == 0)
        return PREOP_NO_CALLBACK;
    status = FsRtlGetFileSize(objects->FileObject, &size);
    DbgPrint("size %08x %u\n", status, (unsigned)size);
    if (!NT_SUCCESS(status))
        return PREOP_NO_CALLBACK;
    ByHandle();
    Below(objects);
    FltGetContexts(objects, 0x3F, contexts);
    DbgPrint("contexts %d\n", contexts[0] || contexts[1] || contexts[2] || contexts[3] || contexts[4] || contexts[5]);
    FltReleaseContexts(contexts);
    return PREOP_NO_CALLBACK;
}

static int PreLock(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)objects, (void)context;
    return FltProcessFileLock(Lock, data, 0);
}

static int PreWrite(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)objects, (void)context;
    if (FltCheckLockForWriteAccess(Lock, data))
        return PREOP_NO_CALLBACK;
    data->IoStatus.Status = (NTSTATUS)0xC0000054; /* STATUS_FILE_LOCK_CONFLICT */
    data->IoStatus.Information = 0;
    return PREOP_COMPLETE;
}

static NTSTATUS Unload(ULONG flags)
{
    (void)flags;
    FltUnregisterFilter(Filter);
    FltFreeFileLock(Lock);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_FLUSH_BUFFERS, 0, PreFlush, 0, 0 },
    { IRP_MJ_LOCK_CONTROL, 0, PreLock, 0, 0 },
    { IRP_MJ_WRITE, 0, PreWrite, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    NTSTATUS status;
    (void)path;
    KeInitializeEvent(Event, 1, 0);
    Lock = FltAllocateFileLock(0, 0);
    if (Lock == 0)
        return STATUS_INSUFFICIENT_RESOURCES;
    status = FltRegisterFilter(driver, &Registration, &Filter);
    if (NT_SUCCESS(status)) {
        status = FltStartFiltering(Filter);
        if (!NT_SUCCESS(status))
            FltUnregisterFilter(Filter);
    }
    if (!NT_SUCCESS(status))
        FltFreeFileLock(Lock);
    return status;
}
