/*
 * A name provider: to those above, everything below \fs\data\Docs is below \fs\data\Papers. It gives whole names, and says
 * how each component of a normalized one is spelled.
 * DEFECT: 1 gives a name without its volume, 2 says that it wrote more of a name than it has room for,
 * 3 keeps the name that it asked for. On a flush it has the names that it gave forgotten: of that file, or of all where ALL=1.
 */
#include "files.h"
#ifndef DEFECT
#define DEFECT 0
#endif
#ifndef ALL
#define ALL 0
#endif

IMPORT NTSTATUS FltPurgeFileNameInformationCache(PVOID, PVOID);

typedef struct { ULONG Next, Index, NameLength; WCHAR Name[]; } NAMES;

/* Where a name has \Docs, and puts \Papers there. */
static NTSTATUS Map(const UNICODE_STRING *from, FLT_NAME_CONTROL *to)
{
    static const WCHAR old[] = u"\\fs\\data\\Docs", new[] = u"\\fs\\data\\Papers";
    const uint16_t old_length = sizeof(old) - 2, new_length = sizeof(new) - 2;
    UNICODE_STRING wanted = { old_length, old_length, (WCHAR *)old }, part = { old_length, old_length, 0 };
    uint16_t at = 0, rest;
    uint8_t *out;
    NTSTATUS status = FltCheckAndGrowNameControl(to, (uint16_t)(from->Length + new_length));

    if (!NT_SUCCESS(status))
        return status;
    for (; at + old_length <= from->Length; at += 2) {
        part.Buffer = from->Buffer + at / 2;
        if (RtlEqualUnicodeString(&part, &wanted, 1))
            break;
    }
    if (at + old_length > from->Length) {
        memcpy(to->Name.Buffer, from->Buffer, from->Length);
        to->Name.Length = from->Length;
        return STATUS_SUCCESS;
    }
    out = (uint8_t *)to->Name.Buffer;
    rest = (uint16_t)(from->Length - at - old_length);
    memcpy(out, from->Buffer, at);
    memcpy(out + at, new, new_length);
    memcpy(out + at + new_length, (uint8_t *)from->Buffer + at + old_length, rest);
    to->Name.Length = (uint16_t)(at + new_length + rest);
    if (DEFECT == 1)
        to->Name.Buffer += 3, to->Name.Length -= 6, to->Name.MaximumLength -= 6;
    return STATUS_SUCCESS;
}

static NTSTATUS Generate(PVOID instance, PVOID file, FLT_CALLBACK_DATA *data, ULONG options, BOOLEAN *cache, FLT_NAME_CONTROL *name)
{
    FLT_FILE_NAME_INFORMATION *below;
    NTSTATUS status = data ? FltGetFileNameInformation(data, options, &below)
                           : FltGetFileNameInformationUnsafe(file, instance, options, &below);
    if (!NT_SUCCESS(status))
        return status;
    status = Map(&below->Name, name);
    if (DEFECT != 3)
        FltReleaseFileNameInformation(below);
    *cache = 1;
    DbgPrint("generate %x %08x\n", options & 0xFF, status);
    return status;
}

static NTSTATUS Normalize(PVOID instance, const UNICODE_STRING *parent, uint16_t device, const UNICODE_STRING *component,
                          NAMES *out, ULONG length, ULONG flags, PVOID *context)
{
    (void)instance, (void)flags;
    DbgPrint("component %wZ of %wZ device=%u\n", component, parent, device);
    if (length < sizeof(*out) + component->Length)
        return (NTSTATUS)0xC0000023;
    *context = (PVOID)0x33;
    memcpy(out->Name, component->Buffer, component->Length);
    out->NameLength = DEFECT == 2 ? 100000 : component->Length;
    for (uint16_t at = 0; at < component->Length / 2; at++)
        out->Name[at] = RtlUpcaseUnicodeChar(out->Name[at]);
    return STATUS_SUCCESS;
}

static void Cleanup(PVOID *context)
{
    DbgPrint("context %p\n", *context);
}

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)data, (void)objects, (void)context;
    return PREOP_NO_CALLBACK;
}

static int PreFlush(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)data, (void)context;
    DbgPrint("purge %08x\n", FltPurgeFileNameInformationCache(objects->Instance, ALL ? 0 : objects->FileObject));
    return PREOP_NO_CALLBACK;
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, Pre, 0, 0 }, { IRP_MJ_FLUSH_BUFFERS, 0, PreFlush, 0, 0 }, { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = {
    sizeof(FLT_REGISTRATION), 0x0203, 0, 0, Operations, Unload, 0, 0, 0, 0, Generate, Normalize, Cleanup, 0, 0, 0
};

PLAIN_ENTRY
