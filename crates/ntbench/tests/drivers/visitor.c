/*
 * Answers reads itself, from a work item: without an own address for the program's buffer it looks whether the program's is there,
 * first where the system's process runs, then attached to the program's, then again where it does not.
 */
#include "files.h"

IMPORT PVOID memcpy(PVOID, const void *, size_t);
IMPORT ULONG DbgPrint(const char *, ...);
IMPORT PVOID IoGetCurrentProcess(void);
IMPORT void KeStackAttachProcess(PVOID, PVOID);
IMPORT void KeUnstackDetachProcess(PVOID);
IMPORT void ProbeForWrite(PVOID, size_t, ULONG);
IMPORT int __C_specific_handler(void);
IMPORT NTSTATUS FltRegisterFilter(PVOID, const FLT_REGISTRATION *, PVOID *);
IMPORT NTSTATUS FltStartFiltering(PVOID);
IMPORT void FltUnregisterFilter(PVOID);
IMPORT PVOID FltAllocateDeferredIoWorkItem(void);
IMPORT void FltFreeDeferredIoWorkItem(PVOID);
IMPORT NTSTATUS FltQueueDeferredIoWorkItem(PVOID, FLT_CALLBACK_DATA *, PVOID, ULONG, PVOID);
IMPORT void FltCompletePendedPreOperation(FLT_CALLBACK_DATA *, int, PVOID);

static NTSTATUS Code;

static __attribute__((noinline)) void Touch(volatile uint8_t *buffer, int way)
{
    uint8_t byte = 'v';
    Code = 0;
    __try {
        if (way == 0)
            byte = *buffer;
        else if (way == 1)
            *buffer = byte;
        else if (way == 2)
            memcpy((PVOID)buffer, &byte, 1);
        else
            ProbeForWrite((PVOID)buffer, 1, 1);
    } __except (Code = __exception_code(), 1) {
    }
}

static void Try(const char *where, volatile uint8_t *buffer)
{
    NTSTATUS codes[4];
    for (int way = 0; way < 4; way++) {
        Touch(buffer, way);
        codes[way] = Code;
    }
    DbgPrint("%s: read %08x write %08x copy %08x probe %08x\n", where, codes[0], codes[1], codes[2], codes[3]);
}

static void Later(PVOID item, FLT_CALLBACK_DATA *data, PVOID process)
{
    PVOID state[6];
    volatile uint8_t *buffer = TRANSFER(data)->Buffer;
    FltFreeDeferredIoWorkItem(item);
    Try("elsewhere", buffer);
    KeStackAttachProcess(process, state);
    Try("attached", buffer);
    KeUnstackDetachProcess(state);
    Try("detached", buffer);
    data->IoStatus.Status = STATUS_SUCCESS;
    data->IoStatus.Information = 1;
    FltCompletePendedPreOperation(data, PREOP_COMPLETE, 0);
}

static int PreRead(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    PVOID item = FltAllocateDeferredIoWorkItem();
    (void)objects, (void)context;
    Try("at home", TRANSFER(data)->Buffer);
    return NT_SUCCESS(FltQueueDeferredIoWorkItem(item, data, Later, 1, IoGetCurrentProcess())) ? PREOP_PENDING : PREOP_NO_CALLBACK;
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = { { IRP_MJ_READ, 0, PreRead, 0, 0 }, { IRP_MJ_OPERATION_END, 0, 0, 0, 0 } };

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    static const FLT_REGISTRATION registration = REGISTRATION(Operations, Unload, 0, 0, 0);
    NTSTATUS status = FltRegisterFilter(driver, &registration, &Filter);
    (void)path;
    return NT_SUCCESS(status) ? FltStartFiltering(Filter) : status;
}
