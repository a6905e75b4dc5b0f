/*
 * A driver with a device of its own, as filters have one to be talked to by: every way to hand a buffer over, packets that
 * wait in a cancel-safe queue, fast I/O, and a second device that is attached to the first. DEFECT plants one mistake.
 */
#include <ntifs.h>
#include <csq.h>

#ifndef DEFECT
#define DEFECT 0
#endif

#define CODE(n, method) CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800 + (n), method, FILE_ANY_ACCESS)
#define BUFFERED CODE(1, METHOD_BUFFERED)
#define IN_DIRECT CODE(2, METHOD_IN_DIRECT)
#define OUT_DIRECT CODE(3, METHOD_OUT_DIRECT)
#define NEITHER CODE(4, METHOD_NEITHER)
#define WAIT CODE(5, METHOD_BUFFERED)
#define RELEASE CODE(6, METHOD_BUFFERED)
#define FAST CODE(7, METHOD_BUFFERED)
#define RESEND CODE(8, METHOD_BUFFERED)
#define DEFECTIVE CODE(9, METHOD_BUFFERED)
#define DELETE_DEVICE CODE(10, METHOD_BUFFERED)
#define VOLUME CODE(11, METHOD_BUFFERED)
#define TAG 0x6c727443

typedef struct {
    PDEVICE_OBJECT Lower;
    IO_CSQ Queue;
    LIST_ENTRY Waiting;
    KSPIN_LOCK Lock;
    ULONG Opens;
} EXTENSION;

static PDEVICE_OBJECT Device, Upper;
static UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Control"), Link = RTL_CONSTANT_STRING(L"\\DosDevices\\Control"),
                      UpperName = RTL_CONSTANT_STRING(L"\\FileSystem\\Filters\\ControlUpper");
static FAST_IO_DISPATCH Fast;

static NTSTATUS Complete(PIRP Irp, NTSTATUS status, ULONG_PTR information)
{
    Irp->IoStatus.Status = status;
    Irp->IoStatus.Information = information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return status;
}

static VOID NTAPI Insert(PIO_CSQ Csq, PIRP Irp)
{
    EXTENSION *own = CONTAINING_RECORD(Csq, EXTENSION, Queue);
    InsertTailList(&own->Waiting, &Irp->Tail.Overlay.ListEntry);
}

static VOID NTAPI Remove(PIO_CSQ Csq, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Csq);
    RemoveEntryList(&Irp->Tail.Overlay.ListEntry);
}

static PIRP NTAPI Peek(PIO_CSQ Csq, PIRP Irp, PVOID file)
{
    EXTENSION *own = CONTAINING_RECORD(Csq, EXTENSION, Queue);
    PLIST_ENTRY next = Irp ? Irp->Tail.Overlay.ListEntry.Flink : own->Waiting.Flink;
    for (; next != &own->Waiting; next = next->Flink) {
        PIRP found = CONTAINING_RECORD(next, IRP, Tail.Overlay.ListEntry);
        if (!file || IoGetCurrentIrpStackLocation(found)->FileObject == file)
            return found;
    }
    return NULL;
}

static VOID NTAPI Acquire(PIO_CSQ Csq, PKIRQL irql)
{
    KeAcquireSpinLock(&CONTAINING_RECORD(Csq, EXTENSION, Queue)->Lock, irql);
}

static VOID NTAPI Release(PIO_CSQ Csq, KIRQL irql)
{
    KeReleaseSpinLock(&CONTAINING_RECORD(Csq, EXTENSION, Queue)->Lock, irql);
}

static VOID NTAPI Cancelled(PIO_CSQ Csq, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Csq);
    DbgPrint("cancelled irql=%d", KeGetCurrentIrql());
    Complete(Irp, STATUS_CANCELLED, 0);
}

static NTSTATUS NTAPI Open(PDEVICE_OBJECT device, PIRP Irp)
{
    PIO_STACK_LOCATION at = IoGetCurrentIrpStackLocation(Irp);
    EXTENSION *own = device->DeviceExtension;
    PCSTR what = at->MajorFunction == IRP_MJ_CREATE ? "create" : at->MajorFunction == IRP_MJ_CLEANUP ? "cleanup" : "close";

    if (at->MajorFunction == IRP_MJ_CREATE) {
        if (at->FileObject->FileName.Length && at->FileObject->FileName.Buffer[1] == L'!')
            return Complete(Irp, STATUS_ACCESS_DENIED, 0);
        own->Opens++;
        DbgPrint("%s '%wZ' access=%x options=%x mode=%d device=%d opens=%d", what, &at->FileObject->FileName,
            at->Parameters.Create.SecurityContext->DesiredAccess, at->Parameters.Create.Options, Irp->RequestorMode,
            at->DeviceObject == device && at->FileObject->DeviceObject == Device, device->ReferenceCount);
    } else {
        DbgPrint("%s", what);
        if (at->MajorFunction == IRP_MJ_CLEANUP) {
            PIRP waiting;
            while ((waiting = IoCsqRemoveNextIrp(&own->Queue, at->FileObject)))
                Complete(waiting, STATUS_CANCELLED, 0);
        }
    }
    return Complete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI ReadWrite(PDEVICE_OBJECT device, PIRP Irp)
{
    PIO_STACK_LOCATION at = IoGetCurrentIrpStackLocation(Irp);
    BOOLEAN read = at->MajorFunction == IRP_MJ_READ;
    ULONG length = read ? at->Parameters.Read.Length : at->Parameters.Write.Length, i;
    UCHAR *bytes = device->Flags & DO_BUFFERED_IO ? Irp->AssociatedIrp.SystemBuffer
        : device->Flags & DO_DIRECT_IO ? MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority) : Irp->UserBuffer;

    DbgPrint("%s %d at %d system=%d mdl=%d user=%d", read ? "read" : "write", length, (int)at->Parameters.Read.ByteOffset.QuadPart,
        Irp->AssociatedIrp.SystemBuffer != NULL, Irp->MdlAddress != NULL, Irp->UserBuffer != NULL);
    if (read)
        for (i = 0; i < length; i++)
            bytes[i] = (UCHAR)('a' + i);
    else if (length) {
        /* The highest device's flags are those that count, so both have them. */
        ULONG method = bytes[0] == 'd' ? DO_DIRECT_IO : bytes[0] == 'b' ? DO_BUFFERED_IO : 0;
        Device->Flags = (Device->Flags & ~(DO_BUFFERED_IO | DO_DIRECT_IO)) | method;
        Upper->Flags = (Upper->Flags & ~(DO_BUFFERED_IO | DO_DIRECT_IO)) | method;
    }
    return Complete(Irp, STATUS_SUCCESS, length);
}

#if DEFECT == 9
static VOID NTAPI Cancel(PDEVICE_OBJECT device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(device);
    UNREFERENCED_PARAMETER(Irp);
}
#endif

static NTSTATUS Defective(PDEVICE_OBJECT device, PIRP Irp)
{
#if DEFECT == 1 /* completed with a pending status */
    Complete(Irp, STATUS_PENDING, 0);
    return STATUS_PENDING;
#elif DEFECT == 2 /* pending, and nobody says so */
    Complete(Irp, STATUS_SUCCESS, 0);
    return STATUS_PENDING;
#elif DEFECT == 3 /* marked, and not pending */
    IoMarkIrpPending(Irp);
    return Complete(Irp, STATUS_SUCCESS, 0);
#elif DEFECT == 4 /* another status */
    Complete(Irp, STATUS_UNSUCCESSFUL, 0);
    return STATUS_SUCCESS;
#elif DEFECT == 5 /* left lying */
    return STATUS_SUCCESS;
#elif DEFECT == 6 /* twice */
    Complete(Irp, STATUS_SUCCESS, 0);
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
#elif DEFECT == 7 /* touched after it was completed */
    Complete(Irp, STATUS_SUCCESS, 0);
    return Irp->IoStatus.Status;
#elif DEFECT == 8 /* no stack location for it */
    IoCopyCurrentIrpStackLocationToNext(Irp);
    return IoCallDriver(device, Irp);
#elif DEFECT == 9 /* its cancel routine set */
    IoSetCancelRoutine(Irp, Cancel);
    return Complete(Irp, STATUS_SUCCESS, 0);
#elif DEFECT == 10 /* another IRQL */
    KIRQL old;
    KeRaiseIrql(DISPATCH_LEVEL, &old);
    return Complete(Irp, STATUS_SUCCESS, 0);
#elif DEFECT == 11 /* somebody else's freed */
    IoFreeIrp(Irp);
    return STATUS_SUCCESS;
#elif DEFECT == 12 /* never freed */
    IoAllocateIrp(1, FALSE);
    return Complete(Irp, STATUS_SUCCESS, 0);
#elif DEFECT == 13 /* its own, that nobody takes back */
    PIRP own = IoAllocateIrp(device->StackSize, FALSE);
    IoGetNextIrpStackLocation(own)->MajorFunction = IRP_MJ_FLUSH_BUFFERS;
    IoCallDriver(device, own);
    IoFreeIrp(own);
    return Complete(Irp, STATUS_SUCCESS, 0);
#elif DEFECT == 14 /* to no device */
    return IoCallDriver((PDEVICE_OBJECT)Irp, Irp);
#else
    UNREFERENCED_PARAMETER(device);
    return Complete(Irp, STATUS_SUCCESS, 0);
#endif
}

static NTSTATUS NTAPI Returned(PDEVICE_OBJECT device, PIRP Irp, PVOID context)
{
    UNREFERENCED_PARAMETER(device);
    if (Irp->PendingReturned && context)
        KeSetEvent(context, IO_NO_INCREMENT, FALSE);
    DbgPrint("returned device=%d status=%08x", device == NULL, Irp->IoStatus.Status);
    return STATUS_MORE_PROCESSING_REQUIRED;
}

/* Sends requests of its own to the top of the stack that the file is on. */
static NTSTATUS Resend(PDEVICE_OBJECT device, PIRP Irp)
{
    KEVENT event;
    IO_STATUS_BLOCK done = { 0 };
    PFILE_OBJECT file;
    PDEVICE_OBJECT top;
    CHAR text[] = "resent", answer[8] = { 0 };
    LARGE_INTEGER offset = { .QuadPart = 7 };
    NTSTATUS status = IoGetDeviceObjectPointer(&UpperName, FILE_READ_DATA, &file, &top);
    PIRP own;

    if (!NT_SUCCESS(status))
        return Complete(Irp, status, 0);
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    own = IoBuildDeviceIoControlRequest(BUFFERED, top, text, 6, answer, 6, FALSE, &event, &done);
    IoGetNextIrpStackLocation(own)->FileObject = file;
    status = IoCallDriver(top, own);
    KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
    DbgPrint("built %08x %08x %d '%s'", status, done.Status, (int)done.Information, answer);

    KeClearEvent(&event);
    own = IoBuildSynchronousFsdRequest(IRP_MJ_READ, top, answer, 4, &offset, &event, &done);
    IoGetNextIrpStackLocation(own)->FileObject = file;
    status = IoCallDriver(top, own);
    KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
    DbgPrint("read %08x %d '%s'", status, (int)done.Information, answer);

    own = IoAllocateIrp(top->StackSize, FALSE);
    IoGetNextIrpStackLocation(own)->MajorFunction = IRP_MJ_FLUSH_BUFFERS;
    IoGetNextIrpStackLocation(own)->FileObject = file;
    IoSetCompletionRoutine(own, Returned, NULL, TRUE, TRUE, TRUE);
    status = IoCallDriver(top, own);
    DbgPrint("flush %08x", status);
    IoReuseIrp(own, STATUS_NOT_SUPPORTED);
    DbgPrint("reused %08x at %d of %d", own->IoStatus.Status, own->CurrentLocation, own->StackCount);
    IoFreeIrp(own);
    ObDereferenceObject(file);
    UNREFERENCED_PARAMETER(device);
    return Complete(Irp, STATUS_SUCCESS, 0);
}

/* Reads a file by a packet of its own that it sends to the file's volume. */
static NTSTATUS Volume(PIRP Irp)
{
    UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\??\\UNC\\fs\\data\\Docs\\Deep\\Readme.txt");
    OBJECT_ATTRIBUTES attributes;
    IO_STATUS_BLOCK done = { 0 };
    HANDLE handle;
    PFILE_OBJECT file;
    PDEVICE_OBJECT device;
    KEVENT event;
    CHAR text[8] = { 0 };
    LARGE_INTEGER offset = { .QuadPart = 1 };
    NTSTATUS status;
    PIRP own;

    InitializeObjectAttributes(&attributes, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, NULL, NULL);
    status = ZwOpenFile(&handle, FILE_READ_DATA | SYNCHRONIZE, &attributes, &done, FILE_SHARE_READ, FILE_SYNCHRONOUS_IO_NONALERT);
    if (!NT_SUCCESS(status))
        return Complete(Irp, status, 0);
    ObReferenceObjectByHandle(handle, FILE_READ_DATA, *IoFileObjectType, KernelMode, (PVOID *)&file, NULL);
    device = IoGetRelatedDeviceObject(file);
    KeInitializeEvent(&event, NotificationEvent, FALSE);
    own = IoBuildSynchronousFsdRequest(IRP_MJ_READ, device, text, 3, &offset, &event, &done);
    IoGetNextIrpStackLocation(own)->FileObject = file;
    status = IoCallDriver(device, own);
    DbgPrint("volume %08x %d '%s' set=%d", status, (int)done.Information, text, KeReadStateEvent(&event));
    own = IoBuildDeviceIoControlRequest(0x70000, device, NULL, 0, NULL, 0, FALSE, &event, &done);
    status = IoCallDriver(device, own);
    DbgPrint("disk %08x %08x", status, done.Status);
    ObDereferenceObject(file);
    ZwClose(handle);
    return Complete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI Control(PDEVICE_OBJECT device, PIRP Irp)
{
    PIO_STACK_LOCATION at = IoGetCurrentIrpStackLocation(Irp);
    EXTENSION *own = device->DeviceExtension;
    ULONG input = at->Parameters.DeviceIoControl.InputBufferLength, output = at->Parameters.DeviceIoControl.OutputBufferLength, i;
    UCHAR *from = Irp->AssociatedIrp.SystemBuffer, *to;

    switch (at->Parameters.DeviceIoControl.IoControlCode) {
    case BUFFERED:
        for (i = 0; i < input; i++)
            from[i] ^= 0x20;
        return Complete(Irp, STATUS_SUCCESS, input < output ? input : output);
    case IN_DIRECT:
    case OUT_DIRECT:
        to = MmGetSystemAddressForMdlSafe(Irp->MdlAddress, NormalPagePriority);
        DbgPrint("direct in=%.*s flags=%x count=%d", (int)input, from, Irp->MdlAddress->MdlFlags & MDL_WRITE_OPERATION,
            MmGetMdlByteCount(Irp->MdlAddress));
        if (at->Parameters.DeviceIoControl.IoControlCode == IN_DIRECT)
            return Complete(Irp, STATUS_SUCCESS, to[0]);
        for (i = 0; i < output; i++)
            to[i] = from[i % input];
        return Complete(Irp, STATUS_SUCCESS, output);
    case NEITHER:
        to = Irp->UserBuffer;
        from = at->Parameters.DeviceIoControl.Type3InputBuffer;
        ProbeForRead(from, input, 1);
        ProbeForWrite(to, output, 1);
        to[0] = from[input - 1];
        return Complete(Irp, STATUS_SUCCESS, 1);
    case WAIT:
        IoCsqInsertIrp(&own->Queue, Irp, NULL);
        return STATUS_PENDING;
    case RELEASE: {
        PIRP waiting = IoCsqRemoveNextIrp(&own->Queue, NULL);
        if (waiting)
            Complete(waiting, STATUS_SUCCESS, 0);
        return Complete(Irp, waiting ? STATUS_SUCCESS : STATUS_NOT_FOUND, 0);
    }
    case FAST:
        return Complete(Irp, STATUS_SUCCESS, 2);
    case RESEND:
        return Resend(device, Irp);
    case VOLUME:
        return Volume(Irp);
    case DEFECTIVE:
        return Defective(device, Irp);
    case DELETE_DEVICE:
        IoDeleteSymbolicLink(&Link);
        if (own->Lower == NULL && Upper) {
            IoDetachDevice(Device);
            IoDeleteDevice(Upper);
            Upper = NULL;
        }
        IoDeleteDevice(Device);
        Device = NULL;
        return Complete(Irp, STATUS_SUCCESS, 0);
    }
    return Complete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
}

static BOOLEAN NTAPI FastControl(PFILE_OBJECT file, BOOLEAN wait, PVOID in, ULONG input, PVOID out, ULONG output, ULONG code,
    PIO_STATUS_BLOCK done, PDEVICE_OBJECT device)
{
    UNREFERENCED_PARAMETER(file);
    UNREFERENCED_PARAMETER(device);
    if (code != FAST || input == 0)
        return FALSE;
    DbgPrint("fast wait=%d", wait);
    ProbeForRead(in, input, 1);
    ProbeForWrite(out, output, 1);
    *(UCHAR *)out = *(UCHAR *)in + 1;
    done->Status = STATUS_SUCCESS;
    done->Information = 1;
    return TRUE;
}

static NTSTATUS NTAPI Passed(PDEVICE_OBJECT device, PIRP Irp, PVOID context)
{
    UNREFERENCED_PARAMETER(context);
#if DEFECT != 15 /* the mark does not go up */
    if (Irp->PendingReturned)
        IoMarkIrpPending(Irp);
#endif
    DbgPrint("passed up device=%d pending=%d", device == Upper, Irp->PendingReturned);
    return STATUS_CONTINUE_COMPLETION;
}

/* The upper device passes everything on: what it opens by skipping, the rest with a completion routine. */
static NTSTATUS Pass(PDEVICE_OBJECT device, PIRP Irp)
{
    EXTENSION *own = device->DeviceExtension;
    UCHAR major = IoGetCurrentIrpStackLocation(Irp)->MajorFunction;

    if (major == IRP_MJ_CREATE || major == IRP_MJ_CLOSE || major == IRP_MJ_CLEANUP) {
        IoSkipCurrentIrpStackLocation(Irp);
        return IoCallDriver(own->Lower, Irp);
    }
    IoCopyCurrentIrpStackLocationToNext(Irp);
    IoSetCompletionRoutine(Irp, Passed, NULL, TRUE, TRUE, TRUE);
    return IoCallDriver(own->Lower, Irp);
}

static NTSTATUS NTAPI Dispatch(PDEVICE_OBJECT device, PIRP Irp)
{
    EXTENSION *own = device->DeviceExtension;

    if (own->Lower)
        return Pass(device, Irp);
    switch (IoGetCurrentIrpStackLocation(Irp)->MajorFunction) {
    case IRP_MJ_CREATE:
    case IRP_MJ_CLEANUP:
    case IRP_MJ_CLOSE:
        return Open(device, Irp);
    case IRP_MJ_READ:
    case IRP_MJ_WRITE:
        return ReadWrite(device, Irp);
    case IRP_MJ_FLUSH_BUFFERS:
        return Complete(Irp, STATUS_SUCCESS, 0);
    default:
        return Control(device, Irp);
    }
}

static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
    DbgPrint("unload devices=%d", driver->DeviceObject != NULL);
    if (Device == NULL)
        return;
#if DEFECT != 16 /* the link stays */
    IoDeleteSymbolicLink(&Link);
#endif
#if DEFECT == 17 /* deleted under the one that is attached */
    IoDeleteDevice(Upper);
    IoDetachDevice(Device);
#else
    IoDetachDevice(Device);
    IoDeleteDevice(Upper);
#endif
    IoDeleteDevice(Device);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    EXTENSION *own;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(path);
    DbgPrint("invalid=%d", driver->MajorFunction[IRP_MJ_PNP] != NULL && driver->MajorFunction[IRP_MJ_PNP] == driver->MajorFunction[0]);
    driver->DriverUnload = Unload;
    driver->MajorFunction[IRP_MJ_CREATE] = driver->MajorFunction[IRP_MJ_CLEANUP] = driver->MajorFunction[IRP_MJ_CLOSE] = Dispatch;
    driver->MajorFunction[IRP_MJ_READ] = driver->MajorFunction[IRP_MJ_WRITE] = driver->MajorFunction[IRP_MJ_FLUSH_BUFFERS] = Dispatch;
    driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Dispatch;
    status = IoCreateDevice(driver, sizeof(EXTENSION), &Name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &Device);
    DbgPrint("created %08x flags=%x", status, Device->Flags);
    Device->Flags |= DO_BUFFERED_IO;
    own = Device->DeviceExtension;
    InitializeListHead(&own->Waiting);
    KeInitializeSpinLock(&own->Lock);
    IoCsqInitialize(&own->Queue, Insert, Remove, Peek, Acquire, Release, Cancelled);
    status = IoCreateSymbolicLink(&Link, &Name);
    DbgPrint("linked %08x again %08x", status, IoCreateSymbolicLink(&Link, &Name));
    Fast.SizeOfFastIoDispatch = sizeof(Fast);
    Fast.FastIoDeviceControl = FastControl;
    driver->FastIoDispatch = &Fast;

    Device->Flags &= ~DO_DEVICE_INITIALIZING;
    status = IoCreateDevice(driver, sizeof(EXTENSION), &UpperName, FILE_DEVICE_UNKNOWN, 0, FALSE, &Upper);
    own = Upper->DeviceExtension;
    own->Lower = IoAttachDeviceToDeviceStack(Upper, Device);
    Upper->Flags |= DO_BUFFERED_IO;
    DbgPrint("attached %d size=%d list=%d", own->Lower == Device, Upper->StackSize,
        driver->DeviceObject == Upper && Upper->NextDevice == Device && Device->NextDevice == NULL);
    return STATUS_SUCCESS;
}
