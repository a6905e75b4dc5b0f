/*
 * Ends the process whose id is the offset that somebody else reads at, and waits for its end.
 */
#include "files.h"

typedef struct { HANDLE Process, Thread; } CLIENT_ID;
IMPORT NTSTATUS ZwOpenProcess(HANDLE *, ULONG, OBJECT_ATTRIBUTES *, CLIENT_ID *);
IMPORT NTSTATUS ZwTerminateProcess(HANDLE, NTSTATUS);
IMPORT NTSTATUS ObReferenceObjectByHandle(HANDLE, ULONG, PVOID, int8_t, PVOID *, PVOID);
IMPORT NTSTATUS PsGetProcessExitStatus(PVOID);

static int PreRead(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    OBJECT_ATTRIBUTES attributes = { sizeof(attributes), 0, 0, OBJ_KERNEL_HANDLE, 0, 0 };
    CLIENT_ID id = { (HANDLE)TRANSFER(data)->Offset, 0 };
    int64_t long_enough = -100000000;
    NTSTATUS status;
    HANDLE handle;
    PVOID process;
    (void)objects, (void)context;
    if (data->Flags & 2)
        return PREOP_DISALLOW_FASTIO;
    status = ZwOpenProcess(&handle, 1, &attributes, &id);
    if (!NT_SUCCESS(status)) {
        DbgPrint("no process %08x\n", status);
        return PREOP_NO_CALLBACK;
    }
    ObReferenceObjectByHandle(handle, 0, 0, 0, &process, 0);
    status = ZwTerminateProcess(handle, 0x55);
    DbgPrint("end %08x\n", status);
    if (NT_SUCCESS(status) && id.Process != PsGetCurrentProcessId()) {
        status = KeWaitForSingleObject(process, 0, 0, 0, &long_enough);
        DbgPrint("ended %08x %08x\n", status, PsGetProcessExitStatus(process));
        DbgPrint("again %08x\n", ZwTerminateProcess(handle, 0x55));
    }
    ObfDereferenceObject(process);
    ZwClose(handle);
    return PREOP_NO_CALLBACK;
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_READ, 0, PreRead, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

PLAIN_ENTRY
