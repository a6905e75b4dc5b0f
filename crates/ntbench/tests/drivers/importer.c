/*
 * Calls what filters import beside the samples' names, in the creates of programs, and prints what is not as documented, then how
 * much was asked. Every such create gets an oplock key, and a reparse point of the filter's tag is opened for itself. LOADS=1: has
 * another filter loaded, and unloads it again.
 */
#include "files.h"
#ifndef LOADS
#define LOADS 0
#endif

static ULONG Checks;
#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))
#define STRING(text) { sizeof(text) - 2, sizeof(text), (WCHAR *)text }
#define STATUS_NOT_SUPPORTED ((NTSTATUS)0xC00000BB)
#define STATUS_NOT_FOUND ((NTSTATUS)0xC0000225)
#define STATUS_INVALID_PARAMETER ((NTSTATUS)0xC000000D)
#define STATUS_INVALID_PARAMETER_1 ((NTSTATUS)0xC00000EF)
#define STATUS_NO_MORE_ENTRIES ((NTSTATUS)0x8000001A)
#define STATUS_BUFFER_TOO_SMALL ((NTSTATUS)0xC0000023)
#define STATUS_OBJECT_NAME_NOT_FOUND ((NTSTATUS)0xC0000034)
#define STATUS_IMAGE_ALREADY_LOADED ((NTSTATUS)0xC000010E)
#define STATUS_FLT_FILTER_NOT_FOUND ((NTSTATUS)0xC01C0013)

typedef struct { ULONG Size, Thread, Page, Io; } PRIORITY_INFO;
typedef struct {
    PVOID Next, Before; ULONG Tag, Flags; GUID Guid; uint16_t Size, Remaining;
} OPEN_REPARSE;

IMPORT ULONG FltGetIoPriorityHint(FLT_CALLBACK_DATA *);
IMPORT ULONG FltGetIoPriorityHintFromCallbackData(FLT_CALLBACK_DATA *);
IMPORT ULONG FltGetIoPriorityHintFromFileObject(PVOID);
IMPORT ULONG FltGetIoPriorityHintFromThread(PVOID);
IMPORT NTSTATUS FltSetIoPriorityHintIntoCallbackData(FLT_CALLBACK_DATA *, ULONG);
IMPORT NTSTATUS FltSetIoPriorityHintIntoFileObject(PVOID, ULONG);
IMPORT NTSTATUS FltSetIoPriorityHintIntoThread(PVOID, ULONG);
IMPORT NTSTATUS FltRetrieveIoPriorityInfo(FLT_CALLBACK_DATA *, PVOID, PVOID, PRIORITY_INFO *);
IMPORT NTSTATUS FltApplyPriorityInfoThread(PRIORITY_INFO *, PRIORITY_INFO *, PVOID);
IMPORT NTSTATUS FltGetActivityIdCallbackData(FLT_CALLBACK_DATA *, GUID *);
IMPORT NTSTATUS FltSetActivityIdCallbackData(FLT_CALLBACK_DATA *, const GUID *);
IMPORT NTSTATUS FltPropagateActivityIdToThread(FLT_CALLBACK_DATA *, GUID *, GUID **);
IMPORT NTSTATUS FltPropagateIrpExtension(FLT_CALLBACK_DATA *, FLT_CALLBACK_DATA *, ULONG);
IMPORT GUID *IoGetActivityIdThread(void);
IMPORT void IoClearActivityIdThread(GUID *);
IMPORT NTSTATUS FltEnumerateFilters(PVOID *, ULONG, ULONG *);
IMPORT NTSTATUS FltEnumerateFilterInformation(ULONG, ULONG, PVOID, ULONG, ULONG *);
IMPORT NTSTATUS FltEnumerateInstanceInformationByFilter(PVOID, ULONG, ULONG, PVOID, ULONG, ULONG *);
IMPORT NTSTATUS FltEnumerateInstanceInformationByVolume(PVOID, ULONG, ULONG, PVOID, ULONG, ULONG *);
IMPORT NTSTATUS FltEnumerateInstanceInformationByVolumeName(UNICODE_STRING *, ULONG, ULONG, PVOID, ULONG, ULONG *);
IMPORT NTSTATUS FltEnumerateInstanceInformationByDeviceObject(PVOID, ULONG, ULONG, PVOID, ULONG, ULONG *);
IMPORT NTSTATUS FltEnumerateVolumeInformation(PVOID, ULONG, ULONG, PVOID, ULONG, ULONG *);
IMPORT int FltCompareInstanceAltitudes(PVOID, PVOID);
IMPORT NTSTATUS FltGetDeviceObject(PVOID, PVOID *);
IMPORT NTSTATUS FltAllocateExtraCreateParameterList(PVOID, ULONG, PVOID *);
IMPORT void FltFreeExtraCreateParameterList(PVOID, PVOID);
IMPORT NTSTATUS FltAllocateExtraCreateParameter(PVOID, const GUID *, ULONG, ULONG, PVOID, ULONG, PVOID *);
IMPORT NTSTATUS FltInsertExtraCreateParameter(PVOID, PVOID, PVOID);
IMPORT NTSTATUS FltGetEcpListFromCallbackData(PVOID, FLT_CALLBACK_DATA *, PVOID *);
IMPORT NTSTATUS FltSetEcpListIntoCallbackData(PVOID, FLT_CALLBACK_DATA *, PVOID);
IMPORT void FltAcknowledgeEcp(PVOID, PVOID);
IMPORT BOOLEAN FltIsEcpAcknowledged(PVOID, PVOID);
IMPORT void FltInitExtraCreateParameterLookasideList(PVOID, PVOID, ULONG, size_t, ULONG);
IMPORT void FltDeleteExtraCreateParameterLookasideList(PVOID, PVOID, ULONG);
IMPORT NTSTATUS FltAllocateExtraCreateParameterFromLookasideList(PVOID, const GUID *, ULONG, ULONG, PVOID, PVOID, PVOID *);
IMPORT void FltFreeExtraCreateParameter(PVOID, PVOID);
IMPORT void FltPrepareToReuseEcp(PVOID, PVOID);
IMPORT NTSTATUS FltAddOpenReparseEntry(PVOID, FLT_CALLBACK_DATA *, OPEN_REPARSE *);
IMPORT void FltRemoveOpenReparseEntry(PVOID, FLT_CALLBACK_DATA *, OPEN_REPARSE *);
IMPORT NTSTATUS FltCopyOpenReparseList(PVOID, FLT_CALLBACK_DATA *, PVOID);
IMPORT void FltFreeOpenReparseList(PVOID, PVOID);
IMPORT BOOLEAN FltOplockKeysEqual(PVOID, PVOID);
IMPORT NTSTATUS FltReadFileEx(PVOID, PVOID, int64_t *, ULONG, PVOID, ULONG, ULONG *, PVOID, PVOID, ULONG *, PVOID);
IMPORT NTSTATUS FltWriteFileEx(PVOID, PVOID, int64_t *, ULONG, PVOID, ULONG, ULONG *, PVOID, PVOID, ULONG *, PVOID);
IMPORT NTSTATUS FltFlushBuffers2(PVOID, PVOID, ULONG, FLT_CALLBACK_DATA *);
IMPORT NTSTATUS FltQueryEaFile(PVOID, PVOID, PVOID, ULONG, BOOLEAN, PVOID, ULONG, ULONG *, BOOLEAN, ULONG *);
IMPORT NTSTATUS FltSetEaFile(PVOID, PVOID, PVOID, ULONG);
IMPORT NTSTATUS FltQueryQuotaInformationFile(PVOID, PVOID, IO_STATUS_BLOCK *, PVOID, ULONG, BOOLEAN, PVOID, ULONG, PVOID, BOOLEAN, ULONG *);
IMPORT NTSTATUS FltTagFileEx(PVOID, PVOID, ULONG, const GUID *, const void *, uint16_t, ULONG, const GUID *, ULONG);
IMPORT BOOLEAN FltFastIoMdlRead(PVOID, PVOID, int64_t *, ULONG, ULONG, MDL **, IO_STATUS_BLOCK *);
IMPORT BOOLEAN FltFastIoMdlReadComplete(PVOID, PVOID, MDL *);
IMPORT BOOLEAN FltFastIoPrepareMdlWrite(PVOID, PVOID, int64_t *, ULONG, ULONG, MDL **, IO_STATUS_BLOCK *);
IMPORT BOOLEAN FltFastIoMdlWriteComplete(PVOID, PVOID, int64_t *, MDL *);
IMPORT NTSTATUS FltLoadFilter(UNICODE_STRING *);
IMPORT NTSTATUS FltUnloadFilter(UNICODE_STRING *);
IMPORT void FltObjectDereference(PVOID);
IMPORT BOOLEAN FltOplockIsSharedRequest(FLT_CALLBACK_DATA *);

#define MINE 0x80000123
static const GUID Kind = { 1, 2, 3, { 4 } }, KeyKind = { 0x48850596, 0x3050, 0x4be7, { 0x98, 0x63, 0xfe, 0xc3, 0x50, 0xce, 0x8d, 0x7f } };
static uint8_t Lookaside[128] __attribute__((aligned(16)));
static OPEN_REPARSE Entry = { 0, 0, MINE, 0x80000000, { 0 }, sizeof(OPEN_REPARSE), 0 };
static uint8_t Buffer[512] __attribute__((aligned(8)));
static PVOID Before;
static int Once;

static void Hints(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects)
{
    PRIORITY_INFO info = { sizeof(info), 0xFFFF, 0, 2 }, old;
    PVOID file = objects->FileObject, thread = data->Thread;

    CHECK(FltGetIoPriorityHint(data) == 2 && FltGetIoPriorityHintFromCallbackData(data) == 2);
    CHECK(FltSetIoPriorityHintIntoThread(thread, 1) == STATUS_SUCCESS && FltGetIoPriorityHintFromThread(thread) == 1);
    CHECK(FltGetIoPriorityHint(data) == 1);
    CHECK(FltGetIoPriorityHintFromFileObject(file) == 2 && FltSetIoPriorityHintIntoFileObject(file, 3) == STATUS_SUCCESS);
    CHECK(FltGetIoPriorityHint(data) == 3 && FltGetIoPriorityHintFromFileObject(file) == 3);
    CHECK(FltSetIoPriorityHintIntoCallbackData(data, 5) == STATUS_INVALID_PARAMETER);
    CHECK(FltSetIoPriorityHintIntoCallbackData(data, 0) == STATUS_SUCCESS && FltGetIoPriorityHint(data) == 0);
    CHECK(FltRetrieveIoPriorityInfo(data, file, thread, &info) == STATUS_SUCCESS && info.Io == 0 && info.Thread == 8 && info.Page == 5);
    CHECK(FltRetrieveIoPriorityInfo(0, file, 0, &info) == STATUS_SUCCESS && info.Io == 3 && info.Thread == 0xFFFF && info.Page == 0);
    info.Io = 4;
    CHECK(FltApplyPriorityInfoThread(&info, &old, thread) == STATUS_SUCCESS && old.Io == 1 && old.Thread == 8);
    CHECK(FltGetIoPriorityHintFromThread(thread) == 4);
    info.Io = 9;
    CHECK(FltApplyPriorityInfoThread(&info, 0, thread) == STATUS_INVALID_PARAMETER_1);
    old.Io = 2;
    CHECK(FltApplyPriorityInfoThread(&old, &old, thread) == STATUS_SUCCESS && old.Io == 4);
}

static void Activities(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects)
{
    GUID told, kept, *before = (GUID *)1;
    FLT_CALLBACK_DATA *own;

    CHECK(FltGetActivityIdCallbackData(data, &told) == STATUS_NOT_FOUND);
    CHECK(FltPropagateActivityIdToThread(data, &kept, &before) == STATUS_NOT_FOUND);
    CHECK(FltSetActivityIdCallbackData(data, 0) == STATUS_NOT_SUPPORTED);
    CHECK(FltSetActivityIdCallbackData(data, &Kind) == STATUS_SUCCESS);
    CHECK(FltGetActivityIdCallbackData(data, &told) == STATUS_SUCCESS && !memcmp(&told, &Kind, sizeof(GUID)));
    CHECK(FltPropagateActivityIdToThread(data, &kept, &before) == STATUS_SUCCESS && before == 0);
    CHECK(IoGetActivityIdThread() == &kept && !memcmp(&kept, &Kind, sizeof(GUID)));
    IoClearActivityIdThread(before);
    CHECK(IoGetActivityIdThread() == 0);
    CHECK(FltAllocateCallbackData(objects->Instance, objects->FileObject, &own) == STATUS_SUCCESS);
    CHECK(FltPropagateIrpExtension(data, own, 1) == STATUS_INVALID_PARAMETER);
    CHECK(FltPropagateIrpExtension(data, own, 0) == STATUS_SUCCESS);
    CHECK(FltGetActivityIdCallbackData(own, &told) == STATUS_SUCCESS && FltGetIoPriorityHintFromCallbackData(own) == 0);
    FltReuseCallbackData(own);
    CHECK(FltGetActivityIdCallbackData(own, &told) == STATUS_NOT_FOUND);
    FltFreeCallbackData(own);
}

static void Parameters(FLT_CALLBACK_DATA *data)
{
    PVOID list, context;

    FltInitExtraCreateParameterLookasideList(Filter, Lookaside, 2, 64, TAG);
    CHECK(FltAllocateExtraCreateParameterFromLookasideList(Filter, &Kind, 64, 0, 0, Lookaside, &context) == STATUS_SUCCESS);
    FltAcknowledgeEcp(Filter, context);
    CHECK(FltIsEcpAcknowledged(Filter, context));
    FltPrepareToReuseEcp(Filter, context);
    CHECK(!FltIsEcpAcknowledged(Filter, context));
    FltFreeExtraCreateParameter(Filter, context);
    FltDeleteExtraCreateParameterLookasideList(Filter, Lookaside, 0);
    CHECK(FltAllocateExtraCreateParameterList(Filter, 0, &list) == STATUS_SUCCESS);
    CHECK(FltCopyOpenReparseList(Filter, data, list) == STATUS_SUCCESS);
    FltFreeOpenReparseList(Filter, list);
    FltFreeExtraCreateParameterList(Filter, list);
}

static void Key(FLT_CALLBACK_DATA *data)
{
    PVOID list, context;

    CHECK(FltGetEcpListFromCallbackData(Filter, data, &list) == STATUS_SUCCESS && !list);
    CHECK(FltAllocateExtraCreateParameterList(Filter, 0, &list) == STATUS_SUCCESS);
    CHECK(FltAllocateExtraCreateParameter(Filter, &KeyKind, 20, 0, 0, TAG, &context) == STATUS_SUCCESS);
    memset(context, 7, 16);
    CHECK(FltInsertExtraCreateParameter(Filter, list, context) == STATUS_SUCCESS);
    CHECK(FltSetEcpListIntoCallbackData(Filter, data, list) == STATUS_SUCCESS);
}

static int Pre(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    if (!data->RequestorMode)
        return PREOP_NO_CALLBACK;
    Key(data);
    CHECK(FltAddOpenReparseEntry(Filter, data, &Entry) == STATUS_SUCCESS);
    if (!Once) {
        PVOID list;
        Hints(data, objects);
        Activities(data, objects);
        Parameters(data);
        CHECK(FltAllocateExtraCreateParameterList(Filter, 0, &list) == STATUS_SUCCESS);
        CHECK(FltCopyOpenReparseList(Filter, data, list) == STATUS_SUCCESS);
        FltFreeOpenReparseList(Filter, list);
        FltFreeExtraCreateParameterList(Filter, list);
    }
    *context = (PVOID)1;
    return PREOP_SYNCHRONIZE;
}

static void Transfers(PVOID instance, PVOID file)
{
    int64_t zero = 0;
    ULONG key = 0, moved = 0;
    IO_STATUS_BLOCK status;
    MDL *chain = 0, *own = IoAllocateMdl(Buffer, 4, 0, 0, 0);

    CHECK(FltReadFileEx(instance, file, &zero, 4, Buffer + 8, 4, &moved, 0, 0, &key, 0) == STATUS_SUCCESS && moved == 4);
    CHECK(!memcmp(Buffer + 8, "text", 4));
    MmBuildMdlForNonPagedPool(own);
    CHECK(FltReadFileEx(instance, file, &zero, 4, Buffer, 4, &moved, 0, 0, &key, own) == STATUS_INVALID_PARAMETER);
    CHECK(FltReadFileEx(instance, file, &zero, 4, 0, 4, &moved, 0, 0, &key, own) == STATUS_SUCCESS && !memcmp(Buffer, "text", 4));
    IoFreeMdl(own);
    CHECK(FltWriteFileEx(instance, file, &zero, 1, "T", 4, &moved, 0, 0, 0, 0) == STATUS_SUCCESS && moved == 1);
    CHECK(FltFastIoMdlRead(instance, file, &zero, 4, 0, &chain, &status) && status.Information == 4);
    CHECK(chain && !memcmp(SystemAddress(chain), "Text", 4));
    CHECK(FltFastIoMdlReadComplete(instance, file, chain));
    CHECK(FltFastIoPrepareMdlWrite(instance, file, &zero, 1, 0, &chain, &status) && status.Information == 1);
    *(uint8_t *)SystemAddress(chain) = 't';
    CHECK(FltFastIoMdlWriteComplete(instance, file, &zero, chain));
    CHECK(FltReadFile(instance, file, &zero, 4, Buffer, 4, &moved, 0, 0) == STATUS_SUCCESS && !memcmp(Buffer, "text", 4));
    CHECK(FltFlushBuffers2(instance, file, 0, 0) == STATUS_SUCCESS && FltFlushBuffers2(instance, file, 8, 0) == STATUS_SUCCESS);
    CHECK(FltFlushBuffers2(instance, file, 3, 0) == STATUS_INVALID_PARAMETER);
}

static void Attributes(PVOID instance, PVOID file)
{
    static uint8_t ea[] = { 0, 0, 0, 0, 0, 1, 2, 0, 'A', 0, 'h', 'i' }, list[] = { 0, 0, 0, 0, 1, 'A', 0 };
    static const GUID guid = { 9, 9, 9, { 9 } };
    ULONG returned = 0, first = 1;
    IO_STATUS_BLOCK status;

    CHECK(FltQueryEaFile(instance, file, Buffer, 100, 0, 0, 0, 0, 1, &returned) == (NTSTATUS)0xC0000052);
    CHECK(FltSetEaFile(instance, file, ea, sizeof(ea)) == STATUS_SUCCESS);
    CHECK(FltQueryEaFile(instance, file, Buffer, 100, 0, 0, 0, 0, 1, &returned) == STATUS_SUCCESS && returned == sizeof(ea));
    CHECK(!memcmp(Buffer, ea, sizeof(ea)));
    CHECK(FltQueryEaFile(instance, file, Buffer, 100, 1, list, sizeof(list), 0, 1, &returned) == STATUS_SUCCESS && returned == sizeof(ea));
    CHECK(FltQueryEaFile(instance, file, Buffer, 100, 1, 0, 0, &first, 0, &returned) == STATUS_SUCCESS);
    CHECK(FltQueryQuotaInformationFile(instance, file, &status, Buffer, 64, 0, 0, 0, 0, 1, 0) == (NTSTATUS)0xC0000010);
    /* A tag in the place of none, of another that is known, of one that is not there; and as it was. */
    CHECK(FltTagFileEx(instance, file, 0x123, &guid, "a", 1, MINE, 0, 0) == (NTSTATUS)0xC0000277);
    CHECK(FltTagFileEx(instance, file, 0x123, &guid, "a", 1, 0, 0, 0) == STATUS_SUCCESS);
    CHECK(FltTagFileEx(instance, file, MINE, 0, "b", 1, 0x123, &Kind, 0) == (NTSTATUS)0xC00002B2);
    CHECK(FltTagFileEx(instance, file, MINE, 0, "b", 1, 0x123, &guid, 0) == STATUS_SUCCESS);
    CHECK(FltUntagFile(instance, file, MINE, 0) == STATUS_SUCCESS);
}

static int Post(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID context, ULONG flags)
{
    (void)context, (void)flags;
    if (Entry.Flags & 1)
        DbgPrint("met mine, %08x\n", data->IoStatus.Status);
    FltRemoveOpenReparseEntry(Filter, data, &Entry);
    Entry.Flags &= ~1u;
    if (!NT_SUCCESS(data->IoStatus.Status) || data->IoStatus.Status == STATUS_REPARSE)
        return POSTOP_FINISHED;
    CHECK(FltOplockKeysEqual(objects->FileObject, objects->FileObject) && !FltOplockKeysEqual(objects->FileObject, 0));
    if (Before)
        CHECK(FltOplockKeysEqual(objects->FileObject, Before));
    if (!Once) {
        Once = 1;
        Before = objects->FileObject;
        Transfers(objects->Instance, objects->FileObject);
        Attributes(objects->Instance, objects->FileObject);
        DbgPrint("%u checks\n", Checks);
    }
    return POSTOP_FINISHED;
}

static int Control(FLT_CALLBACK_DATA *data, const FLT_RELATED_OBJECTS *objects, PVOID *context)
{
    (void)objects, (void)context;
    DbgPrint("control shared=%u\n", FltOplockIsSharedRequest(data));
    return PREOP_NO_CALLBACK;
}

static void Enumerate(void)
{
    UNICODE_STRING name = STRING(L"\\Device\\HarddiskVolume1"), none = STRING(L"\\Device\\None");
    PVOID filters[2], volume, device, instance;
    ULONG count = 0, needed = 0, *numbers = (ULONG *)Buffer;
    uint16_t *shorts = (uint16_t *)Buffer;

    CHECK(FltEnumerateFilters(0, 0, &count) == STATUS_SUCCESS && count == 1);
    CHECK(FltEnumerateFilters(filters, 2, &count) == STATUS_SUCCESS && count == 1 && filters[0] == Filter);
    FltObjectDereference(filters[0]);
    CHECK(FltEnumerateFilterInformation(0, 1, Buffer, 4, &needed) == STATUS_BUFFER_TOO_SMALL && needed == 24 + 16 + 12);
    CHECK(FltEnumerateFilterInformation(0, 1, Buffer, sizeof(Buffer), &needed) == STATUS_SUCCESS && numbers[1] == 1 && numbers[3] == 2);
    CHECK(shorts[8] == 16 && shorts[9] == 24 && shorts[10] == 12 && shorts[11] == 40 && shorts[12] == 'i' && shorts[20] == '3');
    CHECK(FltEnumerateFilterInformation(0, 2, Buffer, sizeof(Buffer), &needed) == STATUS_SUCCESS && numbers[4] == 2 && shorts[11] == 28);
    CHECK(FltEnumerateFilterInformation(1, 0, Buffer, sizeof(Buffer), &needed) == STATUS_NO_MORE_ENTRIES);
    CHECK(FltEnumerateFilterInformation(0, 3, Buffer, sizeof(Buffer), &needed) == STATUS_INVALID_PARAMETER);
    CHECK(FltEnumerateInstanceInformationByFilter(Filter, 1, 1, Buffer, sizeof(Buffer), &needed) == STATUS_SUCCESS);
    CHECK(FltEnumerateInstanceInformationByFilter(Filter, 2, 1, Buffer, sizeof(Buffer), &needed) == STATUS_NO_MORE_ENTRIES);
    CHECK(FltGetVolumeFromName(Filter, &name, &volume) == STATUS_SUCCESS && FltGetDeviceObject(volume, &device) == STATUS_SUCCESS);
    CHECK(FltEnumerateInstanceInformationByVolume(volume, 0, 3, Buffer, sizeof(Buffer), &needed) == STATUS_SUCCESS);
    CHECK(numbers[1] == 1 && numbers[4] == 2 && shorts[10] == 14 && shorts[11] == 40 && shorts[20] == 'D');
    CHECK(FltEnumerateInstanceInformationByVolumeName(&name, 0, 0, Buffer, sizeof(Buffer), &needed) == STATUS_SUCCESS);
    CHECK(FltEnumerateInstanceInformationByVolumeName(&none, 0, 0, Buffer, sizeof(Buffer), &needed) == (NTSTATUS)0xC01C0014);
    CHECK(FltEnumerateInstanceInformationByDeviceObject(device, 0, 0, Buffer, sizeof(Buffer), &needed) == STATUS_SUCCESS);
    CHECK(FltEnumerateVolumeInformation(Filter, 0, 1, Buffer, sizeof(Buffer), &needed) == STATUS_SUCCESS && numbers[3] == 2);
    CHECK(FltEnumerateVolumeInformation(Filter, 9, 1, Buffer, sizeof(Buffer), &needed) == STATUS_NO_MORE_ENTRIES);
    CHECK(FltGetVolumeInstanceFromName(Filter, volume, 0, &instance) == STATUS_SUCCESS && FltCompareInstanceAltitudes(instance, instance) == 0);
    FltObjectDereference(instance);
    ObfDereferenceObject(device);
    FltObjectDereference(volume);
}

static NTSTATUS Unload(ULONG flags)
{
    UNICODE_STRING other = STRING(L"inquirer");
    (void)flags;
    if (LOADS) {
        CHECK(FltUnloadFilter(&other) == STATUS_SUCCESS && FltUnloadFilter(&other) == STATUS_FLT_FILTER_NOT_FOUND);
        DbgPrint("unloaded\n");
    }
    FltUnregisterFilter(Filter);
    return STATUS_SUCCESS;
}

static const FLT_OPERATION_REGISTRATION Operations[] = {
    { IRP_MJ_CREATE, 0, Pre, Post, 0 }, { IRP_MJ_FILE_SYSTEM_CONTROL, 0, Control, 0, 0 }, { IRP_MJ_OPERATION_END, 0, 0, 0, 0 },
};
static const FLT_REGISTRATION Registration = REGISTRATION(Operations, Unload, 0, 0, 0);

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    UNICODE_STRING other = STRING(L"inquirer"), none = STRING(L"none");
    NTSTATUS status = FltRegisterFilter(driver, &Registration, &Filter);
    (void)path;
    if (!NT_SUCCESS(status))
        return status;
    status = FltStartFiltering(Filter);
    if (!NT_SUCCESS(status)) {
        FltUnregisterFilter(Filter);
        return status;
    }
    Enumerate();
    if (LOADS) {
        CHECK(FltLoadFilter(&none) == STATUS_OBJECT_NAME_NOT_FOUND && FltLoadFilter(&other) == STATUS_SUCCESS);
        CHECK(FltLoadFilter(&other) == STATUS_IMAGE_ALREADY_LOADED);
        DbgPrint("loaded\n");
    }
    return STATUS_SUCCESS;
}
