/*
 * Asks for names in every way, before and after creates and before renames, and about its volume when it is attached.
 */
#include "files.h"

/* DEVICE_OBJECT.DeviceType */
#define DEVICE_TYPE_OF(device) (*(ULONG *)((char *)(device) + 72))

/* What the setup callback says of a volume. */
#ifndef SETUP_STATUS
#define SETUP_STATUS STATUS_SUCCESS
#endif

static void Ask(FLT_CALLBACK_DATA *data, const char *when, ULONG options)
{
    FLT_FILE_NAME_INFORMATION *name = 0;
    NTSTATUS status = FltGetFileNameInformation(data, options, &name);
    if (!NT_SUCCESS(status)) {
        DbgPrint("%s %x %08x\n", when, options, status);
        return;
    }
    DbgPrint("%s %x %wZ\n", when, options, &name->Name);
    FltReleaseFileNameInformation(name);
}

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)objects, (void)context;
    Ask(data, "pre", 0x202); /* the cache alone */
    Ask(data, "pre", NAME_OPENED);
    Ask(data, "pre", 0x202);
    Ask(data, "pre", NAME_NORMALIZED);
    return PREOP_WITH_CALLBACK;
}

static int Post(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    (void)objects, (void)context, (void)flags;
    Ask(data, "post", 0x202);
    return POSTOP_FINISHED;
}

static int PreSet(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    FLT_SET *set = SETINFO(data);
    const struct { ULONG Flags, Pad; HANDLE Root; ULONG Length; WCHAR Name[]; } *rename = set->Buffer;
    FLT_FILE_NAME_INFORMATION *name = 0, *tunneled = (PVOID)1;
    NTSTATUS status;
    (void)context;
    if (set->Class != 10)
        return PREOP_NO_CALLBACK;
    Ask(data, "rename", NAME_OPENED);
    status = FltGetDestinationFileNameInformation(objects->Instance, objects->FileObject, rename->Root, rename->Name,
                                                  rename->Length, NAME_NORMALIZED, &name);
    if (NT_SUCCESS(status)) {
        UNICODE_STRING extension, stream, last;
        FltParseFileName(&name->Name, &extension, &stream, &last);
        DbgPrint("to %wZ last=%wZ extension=%wZ\n", &name->Name, &last, &extension);
        status = FltGetTunneledName(data, name, &tunneled);
        DbgPrint("tunneled %08x %p\n", status, tunneled);
        FltReleaseFileNameInformation(name);
    } else {
        DbgPrint("to %08x\n", status);
    }
    return PREOP_WITH_CALLBACK;
}

static int PostSet(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    (void)objects, (void)context, (void)flags;
    Ask(data, "renamed", NAME_OPENED);
    return POSTOP_FINISHED;
}

static NTSTATUS Setup(const FLT_RELATED_OBJECTS *objects, ULONG flags, ULONG device, ULONG file_system)
{
    WCHAR buffer[64];
    UNICODE_STRING name = { 0, sizeof(buffer), buffer }, dos = { 0, 0, 0 };
    uint64_t properties[64];
    ULONG needed = 0, sizes[2] = { 0 };
    IO_STATUS_BLOCK block;
    BOOLEAN writable = 0;
    PVOID disk = 0, file = 0;
    HANDLE handle = 0;
    NTSTATUS status;
    (void)flags, (void)device, (void)file_system;

    status = FltGetVolumeProperties(objects->Volume, properties, sizeof(properties), &needed);
    DbgPrint("properties %08x type=%x sector=%u driver=%wZ system=%wZ disk=%wZ\n", status, (unsigned)properties[0],
             (unsigned)(uint16_t)properties[2], (UNICODE_STRING *)&properties[3], (UNICODE_STRING *)&properties[5],
             (UNICODE_STRING *)&properties[7]);
    status = FltGetVolumeProperties(objects->Volume, properties, 8, &needed);
    DbgPrint("short %08x\n", status);
    status = FltGetVolumeGuidName(objects->Volume, &name, 0);
    DbgPrint("guid %08x %wZ\n", status, &name);
    status = FltGetDiskDeviceObject(objects->Volume, &disk);
    DbgPrint("disk %08x type=%x\n", status, NT_SUCCESS(status) ? DEVICE_TYPE_OF(disk) : 0);
    if (NT_SUCCESS(status)) {
        status = IoVolumeDeviceToDosName(disk, &dos);
        DbgPrint("dos %08x %wZ\n", status, &dos);
        if (NT_SUCCESS(status))
            ExFreePool(dos.Buffer);
        ObfDereferenceObject(disk);
    }
    status = FltOpenVolume(objects->Instance, &handle, &file);
    DbgPrint("open %08x\n", status);
    if (NT_SUCCESS(status)) {
        FltClose(handle);
        ObfDereferenceObject(file);
    }
    status = FltQueryVolumeInformation(objects->Instance, &block, sizes, sizeof(sizes), 4);
    DbgPrint("device %08x %x\n", status, sizes[0]);
    DbgPrint("folder %08x\n", FltCreateSystemVolumeInformationFolder(objects->Instance));
    status = FltIsVolumeWritable(objects->Volume, &writable);
    DbgPrint("writable %08x %u\n", status, writable);
    return SETUP_STATUS;
}

PLAIN_UNLOAD

/* A name that is held stays whole, whatever the cache forgets meanwhile. */
static int PreFlush(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    FLT_FILE_NAME_INFORMATION *name = 0;
    (void)objects;
    Ask(data, "flush", NAME_OPENED);
    if (!NT_SUCCESS(FltGetFileNameInformation(data, 0x202, &name)))
        return PREOP_NO_CALLBACK;
    *context = name;
    return PREOP_SYNCHRONIZE;
}

static int PostFlush(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    FLT_FILE_NAME_INFORMATION *name = context;
    (void)objects, (void)flags;
    DbgPrint("held %wZ\n", &name->Name);
    FltReleaseFileNameInformation(name);
    Ask(data, "flushed", 0x202);
    return POSTOP_FINISHED;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, Pre, Post, 0 },
    { IRP_MJ_FLUSH_BUFFERS, 0, PreFlush, PostFlush, 0 },
    { IRP_MJ_SET_INFORMATION, 0, PreSet, PostSet, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, Setup, 0, 0);

PLAIN_ENTRY
