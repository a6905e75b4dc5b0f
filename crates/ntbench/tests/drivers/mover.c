/*
 * A filter that comes and goes on request, through messages to its port, and pends creates of names that end in x.
 * UPPER: asks to be called after each create and pends none. DEFECT: 1 refuses a mandatory unload, 2 keeps what an
 * enumeration gave it, 3 leaves its cancel routine set, 4 has no query callback.
 */
#include "flt.h"
#ifndef UPPER
#define UPPER 0
#endif
#ifndef DEFECT
#define DEFECT 0
#endif
#define STRING(text) { sizeof(text) - 2, sizeof(text), (WCHAR *)text }

static PVOID Server, Client;
static FLT_CALLBACK_DATA *volatile Pended;
static volatile int Refuse;

static void Complete(NTSTATUS status, int answer)
{
    FLT_CALLBACK_DATA *data = Pended;
    NTSTATUS cleared;
    if (data == 0)
        return;
    Pended = 0;
    cleared = DEFECT == 3 ? 0 : FltClearCancelCompletion(data);
    DbgPrint("completing, cleared %08x\n", cleared);
    data->IoStatus.Status = status;
    FltCompletePendedPreOperation(data, answer, 0);
}

static void Cancelled(FLT_CALLBACK_DATA *data)
{
    DbgPrint("cancelled %u same=%d cleared %08x\n", FltIsIoCanceled(data), data == Pended, FltClearCancelCompletion(data));
    Pended = 0;
    data->IoStatus.Status = (NTSTATUS)0xC0000120;
    FltCompletePendedPreOperation(data, PREOP_COMPLETE, 0);
}

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    const UNICODE_STRING *name = (const UNICODE_STRING *)((uint8_t *)objects->FileObject + 0x58);
    NTSTATUS status;
    if (UPPER) {
        *context = (PVOID)0x99;
        return PREOP_WITH_CALLBACK;
    }
    if (name->Length < 2 || name->Buffer[name->Length / 2 - 1] != 'x')
        return PREOP_NO_CALLBACK;
    status = FltSetCancelCompletion(data, Cancelled);
    DbgPrint("pending %08x\n", status);
    Pended = data;
    return PREOP_PENDING;
}

static int Post(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    (void)data, (void)objects;
    DbgPrint("post context=%p flags=%u\n", context, flags);
    return POSTOP_FINISHED;
}

static NTSTATUS Setup(const FLT_RELATED_OBJECTS *objects, ULONG flags, ULONG device, ULONG file_system)
{
    (void)objects;
    DbgPrint("setup %u %x %u\n", flags, device, file_system);
    return STATUS_SUCCESS;
}

static NTSTATUS Query(const FLT_RELATED_OBJECTS *objects, ULONG flags)
{
    (void)objects;
    DbgPrint("query %u\n", flags);
    return Refuse ? STATUS_FLT_DO_NOT_DETACH : STATUS_SUCCESS;
}

static void Start(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    (void)objects;
    DbgPrint("start %x\n", reason);
    /* As documented: what is pended goes on now. */
    Complete(0, PREOP_NO_CALLBACK);
}

static void End(const FLT_RELATED_OBJECTS *objects, ULONG reason)
{
    (void)objects;
    DbgPrint("end %x\n", reason);
}

static void Instances(PVOID volume)
{
    struct { ULONG Next; struct { uint16_t Length, Offset; } Strings[4]; WCHAR Text[128]; } full;
    PVOID instances[4], again;
    ULONG count = 0, needed, index;
    NTSTATUS status = FltEnumerateInstances(volume, Filter, instances, 0, &count);

    DbgPrint("instances %08x %u\n", status, count);
    if (!NT_SUCCESS(FltEnumerateInstances(volume, Filter, instances, 4, &count)))
        return;
    for (index = 0; index < count; index++) {
        status = FltGetInstanceInformation(instances[index], 2, &full, 20, &needed);
        DbgPrint("information %08x %u %08x\n", status, needed, FltGetInstanceInformation(instances[index], 7, &full, 20, &needed));
        if (NT_SUCCESS(FltGetInstanceInformation(instances[index], 2, &full, sizeof(full), &needed))) {
            UNICODE_STRING strings[4];
            for (int which = 0; which < 4; which++) {
                strings[which].Length = strings[which].MaximumLength = full.Strings[which].Length;
                strings[which].Buffer = (WCHAR *)((uint8_t *)&full + full.Strings[which].Offset);
            }
            DbgPrint("%wZ|%wZ|%wZ|%wZ\n", &strings[0], &strings[1], &strings[2], &strings[3]);
            if (NT_SUCCESS(FltGetVolumeInstanceFromName(0, volume, &strings[0], &again))) {
                DbgPrint("found %d\n", again == instances[index]);
                FltObjectDereference(again);
            }
        }
        if (DEFECT != 2)
            FltObjectDereference(instances[index]);
    }
}

static void Volumes(void)
{
    static UNICODE_STRING wrong = STRING(u"\\Device\\None");
    PVOID volumes[4], none;
    ULONG count = 0;
    NTSTATUS status = FltEnumerateVolumes(Filter, volumes, 0, &count);
    DbgPrint("volumes %08x %u\n", status, count);
    if (NT_SUCCESS(FltEnumerateVolumes(Filter, volumes, 4, &count)) && DEFECT != 2)
        while (count-- > 0)
            FltObjectDereference(volumes[count]);
    DbgPrint("wrong %08x\n", FltGetVolumeFromName(Filter, &wrong, &none));
}

static NTSTATUS Connect(PVOID client, PVOID cookie, PVOID context, ULONG size, PVOID *connection)
{
    (void)cookie, (void)context, (void)size;
    *connection = 0;
    Client = client;
    return STATUS_SUCCESS;
}

static void Disconnect(PVOID connection)
{
    (void)connection;
    FltCloseClientPort(Filter, &Client);
}

static NTSTATUS Message(PVOID connection, const uint8_t *in, ULONG in_length, PVOID out, ULONG out_length, ULONG *returned)
{
    static UNICODE_STRING mup = STRING(u"\\Device\\Mup"), altitude = STRING(u"371000.5"), second = STRING(u"mover @ 371000.5");
    PVOID volume, instance = 0;
    NTSTATUS status = FltGetVolumeFromName(Filter, &mup, &volume);
    (void)connection, (void)out, (void)out_length, (void)returned;

    if (!NT_SUCCESS(status) || in_length == 0)
        return status;
    switch (in[0]) {
    case 'a':
        status = FltAttachVolume(Filter, volume, 0, 0);
        break;
    case 'A':
        status = FltAttachVolumeAtAltitude(Filter, volume, &altitude, 0, &instance);
        if (NT_SUCCESS(status))
            FltObjectDereference(instance);
        break;
    case 'd':
        status = FltDetachVolume(Filter, volume, 0);
        break;
    case 'D':
        status = FltDetachVolume(Filter, volume, &second);
        break;
    case 'k':
        /* A reference outlives the attachment, and gets no company. */
        status = FltGetVolumeInstanceFromName(Filter, volume, &second, &instance);
        if (NT_SUCCESS(status)) {
            status = FltDetachVolume(Filter, volume, &second);
            DbgPrint("kept %08x\n", FltObjectReference(instance));
            FltObjectDereference(instance);
        }
        break;
    case 'r':
        Refuse = in[1];
        break;
    case 'c':
        Complete(0, PREOP_NO_CALLBACK);
        break;
    case 'i':
        Instances(volume);
        Volumes();
        break;
    }
    FltObjectDereference(volume);
    return status;
}

static NTSTATUS Unload(ULONG flags)
{
    DbgPrint("unload %u\n", flags);
    if (Refuse && (flags == 0 || DEFECT == 1))
        return STATUS_FLT_DO_NOT_DETACH;
    FltCloseCommunicationPort(Server);
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, Pre, UPPER ? Post : 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = {
    sizeof(FLT_REGISTRATION), 0x0203, 0, 0, Operations, Unload, Setup, DEFECT == 4 ? 0 : Query, Start, End, 0, 0, 0, 0, 0, 0,
};

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    UNICODE_STRING name = STRING(u"\\MoverPort"), upper = STRING(u"\\UpperPort"), mup = STRING(u"\\Device\\Mup");
    OBJECT_ATTRIBUTES object = { sizeof(object), 0, UPPER ? &upper : &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, 0, 0 };
    PVOID volume;
    NTSTATUS status = FltRegisterFilter(driver, &Registration, &Filter);
    (void)path;

    if (!NT_SUCCESS(status))
        return status;
    if (NT_SUCCESS(FltGetVolumeFromName(Filter, &mup, &volume))) {
        DbgPrint("early %08x\n", FltAttachVolume(Filter, volume, 0, 0));
        FltObjectDereference(volume);
    }
    status = FltBuildDefaultSecurityDescriptor(&object.SecurityDescriptor, 0x1F0001);
    if (NT_SUCCESS(status)) {
        status = FltCreateCommunicationPort(Filter, &Server, &object, 0, Connect, Disconnect, Message, 1);
        FltFreeSecurityDescriptor(object.SecurityDescriptor);
    }
    if (NT_SUCCESS(status))
        status = FltStartFiltering(Filter);
    if (!NT_SUCCESS(status))
        FltUnregisterFilter(Filter);
    return status;
}
