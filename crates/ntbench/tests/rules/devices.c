/* Devices and IRPs. The device control of the driver's own device breaks what IS names. */
#include "rules.h"

static PDEVICE_OBJECT Device, Upper;
static UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\Rules"), Link = RTL_CONSTANT_STRING(L"\\DosDevices\\Rules");
static BOOLEAN Linked;

static NTSTATUS Complete(PIRP Irp, NTSTATUS status)
{
    Irp->IoStatus.Status = status;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return status;
}

static VOID NTAPI KeepLock(PDEVICE_OBJECT device, PIRP Irp) /* in KeepLock */
{
    UNREFERENCED_PARAMETER(device);
    UNREFERENCED_PARAMETER(Irp);
}

static VOID NTAPI FreeItem(PDEVICE_OBJECT device, PVOID item)
{
    UNREFERENCED_PARAMETER(device);
    IoFreeWorkItem(item);
}

static NTSTATUS Control(PDEVICE_OBJECT device, PIRP Irp)
{
    PIRP own;

    if (IS("irp-completed-pending")) {
        Irp->IoStatus.Status = STATUS_PENDING;
        IoMarkIrpPending(Irp);
        IoCompleteRequest(Irp, IO_NO_INCREMENT); /* here */
        return STATUS_PENDING;
    }
    if (IS("irp-pending-not-marked")) { /* in Dispatch */
        Complete(Irp, STATUS_SUCCESS);
        return STATUS_PENDING;
    }
    if (IS("irp-marked-not-pending")) { /* in Dispatch */
        IoMarkIrpPending(Irp);
        return Complete(Irp, STATUS_SUCCESS);
    }
    if (IS("irp-status-mismatch")) { /* in Dispatch */
        Complete(Irp, STATUS_UNSUCCESSFUL);
        return STATUS_SUCCESS;
    }
    if (IS("irp-not-completed")) /* in Dispatch */
        return STATUS_SUCCESS;
    if (IS("irp-cancel-routine-set")) {
        IoSetCancelRoutine(Irp, KeepLock);
        Irp->IoStatus.Status = STATUS_SUCCESS;
        IoCompleteRequest(Irp, IO_NO_INCREMENT); /* here */
        return STATUS_SUCCESS;
    }
    if (IS("irp-leak"))
        Left = IoAllocateIrp(1, FALSE); /* here */
    else if (IS("irp-not-taken-back")) {
        own = IoAllocateIrp(device->StackSize, FALSE); /* here */
        IoGetNextIrpStackLocation(own)->MajorFunction = IRP_MJ_FLUSH_BUFFERS;
        IoCallDriver(device, own);
        IoFreeIrp(own);
    } else if (IS("irp-initialised")) {
        own = IoAllocateIrp(1, FALSE);
        IoInitializeIrp(own, IoSizeOfIrp(1), 1); /* here */
        IoFreeIrp(own);
    } else if (IS("irp-reused")) {
        IoReuseIrp(Irp, STATUS_SUCCESS); /* here */
        return STATUS_SUCCESS;
    } else if (IS("irp-freed")) {
        static UCHAR block[512];
        IoInitializeIrp((PIRP)block, sizeof(block), 1);
        IoFreeIrp((PIRP)block); /* here */
    } else if (IS("irp-major")) {
        IO_STATUS_BLOCK done;
        IoBuildAsynchronousFsdRequest(IRP_MJ_SET_EA, device, NULL, 0, NULL, &done); /* here */
    } else if (IS("cancel-lock-held")) { /* in KeepLock */
        own = IoAllocateIrp(1, FALSE);
        IoSetNextIrpStackLocation(own);
        IoSetCancelRoutine(own, KeepLock);
        IoCancelIrp(own);
        IoFreeIrp(own);
    } else if (IS("lock-not-held: cancel, and 0x10")) {
        KIRQL irql;
        IoAcquireCancelSpinLock(&irql);
        IoReleaseCancelSpinLock(irql);
        IoReleaseCancelSpinLock(irql); /* here */
    } else if (IS("work-item-leak"))
        Left = IoAllocateWorkItem(device); /* here */
    else if (IS("work-item-freed-queued: of the I/O manager")) {
        PIO_WORKITEM item = IoAllocateWorkItem(device);
        BlockWorkers();
        IoQueueWorkItem(item, (PIO_WORKITEM_ROUTINE)Nothing, DelayedWorkQueue, NULL);
        IoFreeWorkItem(item); /* here */
        KeSetEvent(&Free, IO_NO_INCREMENT, FALSE);
    } else if (IS("work-item-without-device")) {
        PIO_WORKITEM item = IoAllocateWorkItem((PDEVICE_OBJECT)Driver);
        IoQueueWorkItem(item, FreeItem, DelayedWorkQueue, item); /* here */
    } else if (IS("device-not-attached"))
        IoDetachDevice(device); /* here */
    else if (IS("device-still-attached")) {
        IoCreateDevice(Driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &Upper);
        IoAttachDeviceToDeviceStack(Upper, device);
        IoDeleteDevice(Upper); /* here */
    }
    return Complete(Irp, STATUS_SUCCESS);
}

static NTSTATUS NTAPI Dispatch(PDEVICE_OBJECT device, PIRP Irp)
{
    if (IoGetCurrentIrpStackLocation(Irp)->MajorFunction == IRP_MJ_DEVICE_CONTROL)
        return Control(device, Irp);
    return Complete(Irp, STATUS_SUCCESS);
}

/* Makes the device, or takes it away. */
static VOID Devices(BOOLEAN make)
{
    if (make) {
        IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_UNKNOWN, 0, FALSE, &Device); /* here: device-leak */
        if (!Device)
            return;
        Device->Flags &= ~DO_DEVICE_INITIALIZING;
        IoCreateSymbolicLink(&Link, &Name); /* here: symbolic-link-leak */
        Linked = TRUE;
        Driver->MajorFunction[IRP_MJ_CREATE] = Driver->MajorFunction[IRP_MJ_CLEANUP] = Driver->MajorFunction[IRP_MJ_CLOSE] = Dispatch;
        Driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Driver->MajorFunction[IRP_MJ_FLUSH_BUFFERS] = Dispatch;
    } else if (Device) {
        if (!IS("symbolic-link-leak"))
            IoDeleteSymbolicLink(&Link);
        if (!IS("device-leak"))
            IoDeleteDevice(Device);
    }
}
