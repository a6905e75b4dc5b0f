/*
 * Pends a create that shares reading alone, and lets it go from within another handle's cleanup; asks for the oplock keys of files
 * that it opens itself.
 */
#include "files.h"

#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))
typedef struct { uint16_t Version, Flags; GUID Parent, Target; ULONG Reserved; } OPLOCK_KEY_CONTEXT;

IMPORT PVOID IoGetOplockKeyContext(PVOID);
IMPORT OPLOCK_KEY_CONTEXT *IoGetOplockKeyContextEx(PVOID);

static const GUID DualKey = { 0x41621a14, 0xb08b, 0x4df1, { 0xb6, 0x76, 0xa0, 0x5f, 0xfd, 0xf0, 0x1b, 0xea } };
static const GUID Target = { 0x11111111, 1, 1, { 1 } }, Parent = { 0x22222222, 2, 2, { 2 } };
static FLT_CALLBACK_DATA *Kept;
static ULONG Checks;

static void Keys(PVOID instance)
{
    UNICODE_STRING name;
    OBJECT_ATTRIBUTES attributes = { sizeof(attributes), 0, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, 0, 0 };
    IO_DRIVER_CREATE_CONTEXT context = { sizeof(context), 0, 0, 0, 0 };
    OPLOCK_KEY_CONTEXT *keys = 0;
    IO_STATUS_BLOCK block;
    HANDLE file = 0;
    PVOID object = 0;

    RtlInitUnicodeString(&name, u"\\??\\C:\\a.txt");
    CHECK(FltAllocateExtraCreateParameterList(Filter, 0, &context.Ecps) == STATUS_SUCCESS);
    CHECK(FltAllocateExtraCreateParameter(Filter, &DualKey, sizeof(*keys), 0, 0, TAG, (PVOID *)&keys) == STATUS_SUCCESS);
    keys->Version = 2;
    keys->Flags = 3;
    keys->Parent = Parent;
    keys->Target = Target;
    CHECK(FltInsertExtraCreateParameter(Filter, context.Ecps, keys) == STATUS_SUCCESS);
    CHECK(FltCreateFileEx2(Filter, instance, &file, &object, 0x100080, &attributes, &block, 0, 0x80, 7, 1, 0, 0, 0, 0, &context) == STATUS_SUCCESS);
    FltFreeExtraCreateParameterList(Filter, context.Ecps);
    keys = IoGetOplockKeyContextEx(object);
    CHECK(keys && keys->Flags == 3 && !memcmp(&keys->Parent, &Parent, sizeof(Parent)) && !memcmp(&keys->Target, &Target, sizeof(Target)));
    CHECK(IoGetOplockKeyContext(object) && !memcmp(IoGetOplockKeyContext(object), &Target, sizeof(Target)));
    ObfDereferenceObject(object);
    FltClose(file);
    CHECK(FltCreateFileEx2(Filter, instance, &file, &object, 0x100080, &attributes, &block, 0, 0x80, 7, 1, 0, 0, 0, 0, 0) == STATUS_SUCCESS);
    CHECK(!IoGetOplockKeyContextEx(object) && !IoGetOplockKeyContext(object));
    ObfDereferenceObject(object);
    FltClose(file);
    DbgPrint("%u checks\n", Checks);
}

static int PreCreate(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)objects, (void)context;
    if (data->RequestorMode == 0 || data->Iopb->Create.ShareAccess != 1)
        return PREOP_NO_CALLBACK;
    Kept = data;
    return PREOP_PENDING;
}

static int PreCleanup(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    FLT_CALLBACK_DATA *kept = Kept;
    (void)data, (void)objects, (void)context;
    Kept = 0;
    if (kept) {
        FltCompletePendedPreOperation(kept, PREOP_NO_CALLBACK, 0);
        DbgPrint("let go\n");
    }
    return PREOP_NO_CALLBACK;
}

static int PreFlush(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)data, (void)context;
    Keys(objects->Instance);
    return PREOP_NO_CALLBACK;
}

PLAIN_UNLOAD

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, PreCreate, 0, 0 },
    { IRP_MJ_CLEANUP, 0, PreCleanup, 0, 0 },
    { IRP_MJ_FLUSH_BUFFERS, 0, PreFlush, 0, 0 },
    { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

PLAIN_ENTRY
