/*
 * What the kernel does for drivers that own things: files by handles, sections, contexts on streams, share access, event log
 * entries, memory with the driver object, tables, silos. Prints what is not as documented, then how much was asked.
 */
#include "flt.h"

static ULONG Checks;
#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))
#define STRING(text) { sizeof(text) - 2, sizeof(text), (WCHAR *)text }
#define CURRENT_PROCESS ((HANDLE)(intptr_t)-1)
#define WRONG(s) ((NTSTATUS)(s))
#ifndef DEFECT
#define DEFECT 0
#endif

typedef struct LIST { struct LIST *Flink, *Blink; } LIST;
typedef struct { LIST Links; PVOID Owner, Instance, Free; } CONTEXT;
typedef struct { ULONG Open, Readers, Writers, Deleters, SharedRead, SharedWrite, SharedDelete; } SHARE;
typedef struct { ULONG Next; uint8_t Flags, NameLength; uint16_t ValueLength; char Name[4]; char Value[4]; } EA;
typedef struct { int16_t Type, Size; PVOID Device, Vpb, FsContext, FsContext2, Sections; } FILE_OBJECT;

IMPORT NTSTATUS ZwCreateFile(HANDLE *, ULONG, OBJECT_ATTRIBUTES *, IO_STATUS_BLOCK *, int64_t *, ULONG, ULONG, ULONG, ULONG, PVOID, ULONG);
IMPORT NTSTATUS NtWriteFile(HANDLE, HANDLE, PVOID, PVOID, IO_STATUS_BLOCK *, const void *, ULONG, int64_t *, PVOID);
IMPORT NTSTATUS ZwReadFile(HANDLE, HANDLE, PVOID, PVOID, IO_STATUS_BLOCK *, PVOID, ULONG, int64_t *, PVOID);
IMPORT NTSTATUS ZwCreateEvent(HANDLE *, ULONG, OBJECT_ATTRIBUTES *, ULONG, BOOLEAN);
IMPORT NTSTATUS ZwWaitForSingleObject(HANDLE, BOOLEAN, int64_t *);
IMPORT NTSTATUS ZwQueryEaFile(HANDLE, IO_STATUS_BLOCK *, PVOID, ULONG, BOOLEAN, PVOID, ULONG, ULONG *, BOOLEAN);
IMPORT NTSTATUS ZwSetEaFile(HANDLE, IO_STATUS_BLOCK *, PVOID, ULONG);
IMPORT NTSTATUS IoCheckEaBufferValidity(PVOID, ULONG, ULONG *);
IMPORT NTSTATUS ZwQuerySecurityObject(HANDLE, ULONG, PVOID, ULONG, ULONG *);
IMPORT NTSTATUS ZwSetSecurityObject(HANDLE, ULONG, PVOID);
IMPORT NTSTATUS ZwQueryVolumeInformationFile(HANDLE, IO_STATUS_BLOCK *, PVOID, ULONG, ULONG);
IMPORT NTSTATUS ZwLockFile(HANDLE, HANDLE, PVOID, PVOID, IO_STATUS_BLOCK *, int64_t *, int64_t *, ULONG, BOOLEAN, BOOLEAN);
IMPORT NTSTATUS ZwUnlockFile(HANDLE, IO_STATUS_BLOCK *, int64_t *, int64_t *, ULONG);
IMPORT NTSTATUS ZwDeleteFile(OBJECT_ATTRIBUTES *);
IMPORT NTSTATUS ZwQueryFullAttributesFile(OBJECT_ATTRIBUTES *, PVOID);
IMPORT NTSTATUS IoQueryFileInformation(PVOID, ULONG, ULONG, PVOID, ULONG *);
IMPORT NTSTATUS ObReferenceObjectByHandle(HANDLE, ULONG, PVOID, int8_t, PVOID *, PVOID);
IMPORT extern PVOID IoFileObjectType;
IMPORT NTSTATUS FsRtlInsertPerStreamContext(PVOID, CONTEXT *);
IMPORT PVOID FsRtlLookupPerStreamContextInternal(PVOID, PVOID, PVOID);
IMPORT PVOID FsRtlRemovePerStreamContext(PVOID, PVOID, PVOID);
IMPORT NTSTATUS FsRtlInsertPerFileContext(PVOID *, CONTEXT *);
IMPORT PVOID FsRtlLookupPerFileContext(PVOID *, PVOID, PVOID);
IMPORT PVOID FsRtlRemovePerFileContext(PVOID *, PVOID, PVOID);
IMPORT NTSTATUS FsRtlInsertPerFileObjectContext(PVOID, CONTEXT *);
IMPORT PVOID FsRtlLookupPerFileObjectContext(PVOID, PVOID, PVOID);
IMPORT PVOID FsRtlRemovePerFileObjectContext(PVOID, PVOID, PVOID);
IMPORT BOOLEAN MmFlushImageSection(PVOID, ULONG);
IMPORT BOOLEAN MmForceSectionClosed(PVOID, BOOLEAN);
IMPORT ULONG MmDoesFileHaveUserWritableReferences(PVOID);
IMPORT BOOLEAN MmCanFileBeTruncated(PVOID, int64_t *);
IMPORT void CcFlushCache(PVOID, int64_t *, ULONG, IO_STATUS_BLOCK *);
IMPORT BOOLEAN CcPurgeCacheSection(PVOID, int64_t *, ULONG, ULONG);
IMPORT void CcCoherencyFlushAndPurgeCache(PVOID, int64_t *, ULONG, IO_STATUS_BLOCK *, ULONG);
IMPORT BOOLEAN CcIsThereDirtyData(PVOID);
IMPORT NTSTATUS ZwCreateSection(HANDLE *, ULONG, OBJECT_ATTRIBUTES *, int64_t *, ULONG, ULONG, HANDLE);
IMPORT NTSTATUS ZwOpenSection(HANDLE *, ULONG, OBJECT_ATTRIBUTES *);
IMPORT NTSTATUS ZwMapViewOfSection(HANDLE, HANDLE, PVOID *, uintptr_t, size_t, int64_t *, size_t *, ULONG, ULONG, ULONG);
IMPORT NTSTATUS ZwUnmapViewOfSection(HANDLE, PVOID);
IMPORT NTSTATUS IoCheckShareAccess(ULONG, ULONG, PVOID, SHARE *, BOOLEAN);
IMPORT void IoSetShareAccess(ULONG, ULONG, PVOID, SHARE *);
IMPORT void IoUpdateShareAccess(PVOID, SHARE *);
IMPORT void IoRemoveShareAccess(PVOID, SHARE *);
IMPORT PVOID IoAllocateErrorLogEntry(PVOID, BOOLEAN);
IMPORT void IoWriteErrorLogEntry(PVOID);
IMPORT void IoFreeErrorLogEntry(PVOID);
IMPORT BOOLEAN IoIsErrorUserInduced(NTSTATUS);
IMPORT NTSTATUS IoAllocateDriverObjectExtension(PVOID, PVOID, ULONG, PVOID *);
IMPORT PVOID IoGetDriverObjectExtension(PVOID, PVOID);
IMPORT void IoRegisterDriverReinitialization(PVOID, PVOID, PVOID);
IMPORT NTSTATUS IoRegisterFsRegistrationChange(PVOID, PVOID);
IMPORT void IoUnregisterFsRegistrationChange(PVOID, PVOID);
IMPORT void RtlInitializeGenericTableAvl(PVOID, PVOID, PVOID, PVOID, PVOID);
IMPORT PVOID RtlInsertElementGenericTableFullAvl(PVOID, PVOID, ULONG, BOOLEAN *, PVOID, ULONG);
IMPORT PVOID RtlLookupElementGenericTableFullAvl(PVOID, PVOID, PVOID *, ULONG *);
IMPORT PVOID RtlLookupFirstMatchingElementGenericTableAvl(PVOID, PVOID, PVOID *);
IMPORT PVOID RtlEnumerateGenericTableLikeADirectory(PVOID, PVOID, PVOID, ULONG, PVOID *, ULONG *, PVOID);
IMPORT PVOID RtlGetElementGenericTableAvl(PVOID, ULONG);
IMPORT BOOLEAN RtlDeleteElementGenericTableAvl(PVOID, PVOID);
IMPORT PVOID PsGetCurrentServerSilo(void);
IMPORT PVOID PsGetHostSilo(void);
IMPORT BOOLEAN PsIsHostSilo(PVOID);
IMPORT NTSTATUS PsRegisterSiloMonitor(PVOID, PVOID *);
IMPORT NTSTATUS PsStartSiloMonitor(PVOID);
IMPORT ULONG PsGetSiloMonitorContextSlot(PVOID);
IMPORT void PsUnregisterSiloMonitor(PVOID);
IMPORT NTSTATUS PsCreateSiloContext(PVOID, ULONG, ULONG, PVOID, PVOID *);
IMPORT NTSTATUS PsInsertSiloContext(PVOID, ULONG, PVOID);
IMPORT NTSTATUS PsGetSiloContext(PVOID, ULONG, PVOID *);
IMPORT NTSTATUS PsRemoveSiloContext(PVOID, ULONG, PVOID *);
IMPORT void PsDereferenceSiloContext(PVOID);
IMPORT PVOID IoAllocateIrp(int8_t, BOOLEAN);
IMPORT void IoFreeIrp(PVOID);
IMPORT BOOLEAN IoIsOperationSynchronous(PVOID);
IMPORT ULONG IoGetIoPriorityHint(PVOID);
IMPORT NTSTATUS IoSetIoPriorityHint(PVOID, ULONG);
IMPORT PVOID PsGetCurrentProcess(void);
IMPORT PVOID PsGetProcessWow64Process(PVOID);
IMPORT BOOLEAN PsIsProtectedProcess(PVOID);
IMPORT NTSTATUS ZwOpenThread(HANDLE *, ULONG, OBJECT_ATTRIBUTES *, PVOID);
IMPORT PVOID PsGetCurrentThreadId(void);
IMPORT NTSTATUS RtlVolumeDeviceToDosName(PVOID, UNICODE_STRING *);
IMPORT NTSTATUS IoGetDiskDeviceObject(PVOID, PVOID *);
IMPORT BOOLEAN IoIsFileOriginRemote(PVOID);
IMPORT NTSTATUS IoSetFileOrigin(PVOID, BOOLEAN);
IMPORT int memcmp(const void *, const void *, size_t);

static PVOID Driver;
static int64_t Now = 0;
static IO_STATUS_BLOCK Status;

static HANDLE Open(const WCHAR *name, ULONG disposition)
{
    UNICODE_STRING string;
    OBJECT_ATTRIBUTES attributes = { sizeof(attributes), 0, &string, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, 0, 0 };
    HANDLE file = 0;

    RtlInitUnicodeString(&string, name);
    CHECK(ZwCreateFile(&file, 0x11F01FF, &attributes, &Status, 0, 0x80, 7, disposition, 0x20, 0, 0) == 0);
    return file;
}

#define NAME u"\\??\\C:\\owned.txt"

static void Files(void)
{
    UNICODE_STRING name = STRING(NAME);
    OBJECT_ATTRIBUTES named = { sizeof(named), 0, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, 0, 0 };
    OBJECT_ATTRIBUTES plain = { sizeof(plain), 0, 0, OBJ_KERNEL_HANDLE, 0, 0 };
    HANDLE event, file = Open(NAME, 2), other = Open(NAME, 1);
    int64_t zero = 0, four = 4, facts[7] = { 0 };
    EA ea = { 0, 0, 3, 4, "KEY", "abcd" }, back = { 0 };
    ULONG at = 99, needed = 0, descriptor[16];
    struct { int64_t Total, Free; ULONG Sectors, Bytes; } size = { 0 };
    char text[8];

    CHECK(ZwCreateEvent(&event, 0x1F0003, &plain, 0, 1) == 0);
    CHECK(NtWriteFile(file, event, 0, 0, &Status, "12345678", 8, &zero, 0) == 0 && ZwWaitForSingleObject(event, 0, &Now) == 0);
    CHECK(ZwReadFile(other, 0, 0, 0, &Status, text, 8, &zero, 0) == 0 && memcmp(text, "12345678", 8) == 0);
    CHECK(ZwReadFile(other, other, 0, 0, &Status, text, 8, &zero, 0) == WRONG(0xC0000024));
    CHECK(ZwWaitForSingleObject(file, 0, &Now) == 0);
    ZwClose(event);

    CHECK(IoCheckEaBufferValidity(&ea, sizeof(ea), &at) == 0 && IoCheckEaBufferValidity(&ea, 12, &at) == WRONG(0x80000014) && at == 0);
    CHECK(ZwSetEaFile(file, &Status, &ea, sizeof(ea)) == 0);
    CHECK(ZwQueryEaFile(other, &Status, &back, sizeof(back), 0, 0, 0, 0, 1) == 0 && memcmp(back.Value, "abcd", 4) == 0 && back.ValueLength == 4);
    ea.ValueLength = 400;
    CHECK(ZwSetEaFile(file, &Status, &ea, sizeof(ea)) == WRONG(0x80000014));

    CHECK(ZwQuerySecurityObject(file, 4, 0, 0, &needed) == WRONG(0xC0000023) && needed >= 20 && needed <= sizeof(descriptor));
    CHECK(ZwQuerySecurityObject(file, 4, descriptor, sizeof(descriptor), &needed) == 0 && (descriptor[0] & 0xFF) == 1);
    CHECK(ZwSetSecurityObject(file, 4, descriptor) == 0);
    CHECK(ZwQueryVolumeInformationFile(file, &Status, &size, sizeof(size), 3) == 0 && size.Total >= size.Free && size.Bytes >= 512);

    CHECK(ZwLockFile(file, 0, 0, 0, &Status, &zero, &four, 0, 1, 1) == 0);
    CHECK(ZwLockFile(other, 0, 0, 0, &Status, &zero, &four, 0, 1, 0) == WRONG(0xC0000055));
    CHECK(ZwUnlockFile(file, &Status, &zero, &four, 0) == 0 && ZwUnlockFile(file, &Status, &zero, &four, 0) == WRONG(0xC000007E));

    CHECK(ZwQueryFullAttributesFile(&named, facts) == 0 && facts[5] == 8);
    ZwClose(file), ZwClose(other);
    CHECK(ZwDeleteFile(&named) == 0 && ZwQueryFullAttributesFile(&named, facts) == WRONG(0xC0000034));
}

static CONTEXT Stream, PerFile, Handle;
static PVOID Freed;

static void Free(CONTEXT *context)
{
    Freed = context;
}

static void Contexts(void)
{
    HANDLE file = Open(NAME, 2), other = Open(NAME, 1), third = Open(u"\\??\\C:\\a.txt", 1);
    FILE_OBJECT *object, *same, *different;
    uint8_t *header;
    PVOID *variable;

    ObReferenceObjectByHandle(file, 1, IoFileObjectType, 0, (PVOID *)&object, 0);
    ObReferenceObjectByHandle(other, 1, IoFileObjectType, 0, (PVOID *)&same, 0);
    ObReferenceObjectByHandle(third, 1, IoFileObjectType, 0, (PVOID *)&different, 0);
    header = object->FsContext;
    CHECK(header == same->FsContext && header != different->FsContext && object->Sections == same->Sections);
    /* FSRTL_FLAG_ADVANCED_HEADER, FSRTL_FLAG2_SUPPORTS_FILTER_CONTEXTS; FilterContexts is empty; FileSize */
    CHECK((header[4] & 0x40) && (header[6] & 2) && *(PVOID *)(header + 56) == header + 56 && *(int64_t *)((uint8_t *)different->FsContext + 32) == 4);
    Stream = (CONTEXT){ { 0 }, &Stream, &Handle, Free };
    CHECK(FsRtlInsertPerStreamContext(header, &Stream) == 0 && *(PVOID *)(header + 56) == &Stream);
    CHECK(FsRtlLookupPerStreamContextInternal(same->FsContext, &Stream, 0) == &Stream && FsRtlLookupPerStreamContextInternal(header, &Stream, &Handle) == &Stream);
    CHECK(!FsRtlLookupPerStreamContextInternal(header, &Stream, &Stream) && !FsRtlLookupPerStreamContextInternal(different->FsContext, &Stream, 0));
    CHECK(FsRtlInsertPerStreamContext(0, &Stream) == WRONG(0xC0000010));
    variable = *(PVOID **)(header + 80);
    PerFile = (CONTEXT){ { 0 }, &PerFile, 0, Free };
    CHECK(FsRtlInsertPerFileContext(variable, &PerFile) == 0 && FsRtlLookupPerFileContext(variable, &PerFile, 0) == &PerFile);
    CHECK(FsRtlRemovePerFileContext(variable, &PerFile, 0) == &PerFile && !FsRtlLookupPerFileContext(variable, &PerFile, 0));
    Handle = (CONTEXT){ { 0 }, &Handle, 0, 0 };
    CHECK(FsRtlInsertPerFileObjectContext(object, &Handle) == 0 && FsRtlLookupPerFileObjectContext(object, &Handle, 0) == &Handle);
    CHECK(!FsRtlLookupPerFileObjectContext(same, &Handle, 0) && FsRtlRemovePerFileObjectContext(object, &Handle, 0) == &Handle);
    ObfDereferenceObject(object), ObfDereferenceObject(same);
#if DEFECT == 1 /* a context stays on a stream that stays open */
    FsRtlInsertPerStreamContext(different->FsContext, &PerFile);
#else
    ZwClose(third);
#endif
    ObfDereferenceObject(different);
    ZwClose(file);
    CHECK(Freed == 0);
    ZwClose(other);
    CHECK(Freed == &Stream);
}

/* 1: CC_FLUSH_AND_PURGE_NO_PURGE. */
static NTSTATUS Flushed(PVOID sections, ULONG flags)
{
    CcCoherencyFlushAndPurgeCache(sections, 0, 0, &Status, flags);
    return Status.Status;
}

static void Sections(void)
{
    UNICODE_STRING name = STRING(u"\\BaseNamedObjects\\Shared");
    OBJECT_ATTRIBUTES named = { sizeof(named), 0, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, 0, 0 };
    OBJECT_ATTRIBUTES plain = { sizeof(plain), 0, 0, OBJ_KERNEL_HANDLE, 0, 0 };
    int64_t length = 0x2000, zero = 0, end = 8;
    PVOID one = 0, two = 0, third = 0;
    HANDLE section, again, file;
    size_t size = 0;
    FILE_OBJECT *object;

    CHECK(ZwCreateSection(&section, 0xF001F, &named, &length, 4, 0x8000000, 0) == 0 && ZwOpenSection(&again, 0xF001F, &named) == 0);
    CHECK(ZwMapViewOfSection(section, CURRENT_PROCESS, &one, 0, 0, 0, &size, 2, 0, 4) == 0 && size == 0x2000);
    size = 0;
    CHECK(ZwMapViewOfSection(again, CURRENT_PROCESS, &two, 0, 0, 0, &size, 2, 0, 2) == 0 && one != two);
    *(volatile uint32_t *)one = 0x12345678;
    CHECK(*(volatile uint32_t *)two == 0x12345678);
    CHECK(ZwUnmapViewOfSection(CURRENT_PROCESS, one) == 0 && ZwUnmapViewOfSection(CURRENT_PROCESS, two) == 0);
    ZwClose(section), ZwClose(again);
    CHECK(ZwCreateSection(&section, 0xF001F, &plain, 0, 4, 0x8000000, 0) == WRONG(0xC00000F2));
    CHECK(ZwCreateSection(&section, 0xF001F, &plain, &length, 4, 0, 0) == WRONG(0xC00000F4));

    file = Open(NAME, 5);
    CHECK(ZwCreateSection(&section, 0xF001F, &plain, 0, 4, 0x8000000, file) == WRONG(0xC000011E));
    CHECK(ZwCreateSection(&section, 0xF001F, &plain, &zero, 4, 0x8000000, file) == WRONG(0xC000011E));
    CHECK(ZwCreateSection(&section, 0xF001F, &plain, &length, 4, 0x8000000, file) == WRONG(0xC0000040));
    CHECK(NtWriteFile(file, 0, 0, 0, &Status, "12345678", 8, &zero, 0) == 0);
    CHECK(ZwCreateSection(&section, 0xF001F, &plain, &length, 4, 0x8000000, file) == WRONG(0xC0000040));
    CHECK(ZwCreateSection(&section, 0xF001F, &plain, 0, 4, 0x8000000, file) == 0);
    ObReferenceObjectByHandle(file, 1, IoFileObjectType, 0, (PVOID *)&object, 0);
    CHECK(MmFlushImageSection(object->Sections, 0) && MmForceSectionClosed(object->Sections, 0) && MmCanFileBeTruncated(object->Sections, &zero));
    /* CcIsFileCached, since the write. */
    CHECK(((PVOID *)object->Sections)[0] && ((PVOID *)object->Sections)[1]);
    CHECK(Flushed(object->Sections, 0) == 0 && CcPurgeCacheSection(object->Sections, 0, 0, 0) && !CcIsThereDirtyData(0));
    size = 0;
    CHECK(ZwMapViewOfSection(section, CURRENT_PROCESS, &third, 0, 0, 0, &size, 2, 0, 4) == 0 && memcmp(third, "12345678", 8) == 0);
    CHECK(!CcPurgeCacheSection(object->Sections, 0, 0, 0) && Flushed(object->Sections, 0) == 0 && Flushed(object->Sections, 1) == 0);
    CcFlushCache(object->Sections, &zero, 8, &Status);
    CHECK(Status.Status == 0);
    CHECK(!MmFlushImageSection(object->Sections, 0) && MmFlushImageSection(object->Sections, 1) && !MmForceSectionClosed(object->Sections, 0));
    CHECK(MmDoesFileHaveUserWritableReferences(object->Sections) == 1 && !MmCanFileBeTruncated(object->Sections, &zero) && MmCanFileBeTruncated(object->Sections, &end));
    ZwUnmapViewOfSection(CURRENT_PROCESS, third);
    CHECK(MmDoesFileHaveUserWritableReferences(object->Sections) == 0);
    ObfDereferenceObject(object);
    ZwClose(section), ZwClose(file);
}

static void Sharing(void)
{
    HANDLE file = Open(NAME, 1), other = Open(NAME, 1);
    PVOID object, second, disk;
    UNICODE_STRING letter;
    SHARE share;

    ObReferenceObjectByHandle(file, 1, IoFileObjectType, 0, &object, 0);
    ObReferenceObjectByHandle(other, 1, IoFileObjectType, 0, &second, 0);
    IoSetShareAccess(1, 1, object, &share);
    CHECK(share.Open == 1 && share.Readers == 1 && share.SharedRead == 1 && share.Writers == 0 && share.SharedWrite == 0);
    CHECK(IoCheckShareAccess(2, 7, second, &share, 1) == WRONG(0xC0000043) && share.Open == 1);
    CHECK(IoCheckShareAccess(1, 2, second, &share, 1) == WRONG(0xC0000043));
    CHECK(IoCheckShareAccess(0x80, 0, second, &share, 1) == 0 && share.Open == 1);
    CHECK(IoCheckShareAccess(1, 7, second, &share, 0) == 0 && share.Open == 1);
    IoUpdateShareAccess(second, &share);
    CHECK(share.Open == 2 && share.Readers == 2 && share.SharedRead == 2 && share.SharedWrite == 1);
    IoRemoveShareAccess(second, &share);
    IoRemoveShareAccess(object, &share);
    CHECK(share.Open == 0 && share.Readers == 0 && share.SharedRead == 0 && share.SharedWrite == 0);
    CHECK(!IoIsFileOriginRemote(object) && IoSetFileOrigin(object, 1) == 0 && IoIsFileOriginRemote(object) && !IoIsFileOriginRemote(second));
    CHECK(RtlVolumeDeviceToDosName(((FILE_OBJECT *)object)->Device, &letter) == 0 && memcmp(letter.Buffer, u"C:", 4) == 0);
    ExFreePool(letter.Buffer);
    CHECK(IoGetDiskDeviceObject(((FILE_OBJECT *)object)->Device, &disk) == 0 && IoGetDiskDeviceObject(disk, &disk) == WRONG(0xC000000D));
    ObfDereferenceObject(disk);
    ObfDereferenceObject(object), ObfDereferenceObject(second);
    ZwClose(file), ZwClose(other);
}

static ULONG Calls;

static void Again(PVOID driver, PVOID context, ULONG count)
{
    DbgPrint("again %d, %d\n", count, driver == Driver && context == &Calls);
    if (++Calls < 2) IoRegisterDriverReinitialization(driver, Again, &Calls);
}

static void FileSystems(PVOID device, BOOLEAN active)
{
    (void)device, (void)active;
}

static void Objects(void)
{
    struct { uint8_t Major, Retry; uint16_t Dump, Strings, At, Category; ULONG Code, Unique; NTSTATUS Final; ULONG Sequence, Control; int64_t Offset; ULONG Data; WCHAR Text[8]; } *entry;
    PVOID extension = 0, more = (PVOID)1, irp = IoAllocateIrp(2, 0);
    OBJECT_ATTRIBUTES plain = { sizeof(plain), 0, 0, OBJ_KERNEL_HANDLE, 0, 0 };
    PVOID id[2] = { 0, PsGetCurrentThreadId() };
    HANDLE thread;

    CHECK(IoAllocateDriverObjectExtension(Driver, Objects, 64, &extension) == 0 && extension && IoGetDriverObjectExtension(Driver, Objects) == extension);
    CHECK(IoAllocateDriverObjectExtension(Driver, Objects, 64, &more) == WRONG(0xC0000035) && more == 0 && !IoGetDriverObjectExtension(Driver, Sharing));
    IoRegisterDriverReinitialization(Driver, Again, &Calls);
    CHECK(IoRegisterFsRegistrationChange(Driver, FileSystems) == 0 && IoRegisterFsRegistrationChange(Driver, FileSystems) == WRONG(0xC0000038));
#if DEFECT != 2 /* left registered */
    IoUnregisterFsRegistrationChange(Driver, FileSystems);
#endif
    entry = IoAllocateErrorLogEntry(Driver, sizeof(*entry));
    CHECK(entry && !IoAllocateErrorLogEntry(Driver, 8) && !IoAllocateErrorLogEntry(Driver, 250) && !IoIsErrorUserInduced(WRONG(0xC0000001)) && IoIsErrorUserInduced(WRONG(0xC0000012)));
    if (entry) {
        entry->Code = 0x40010001, entry->Final = WRONG(0xC0000022), entry->Strings = 1, entry->At = (uint16_t)offsetof(__typeof__(*entry), Text);
        entry->Text[0] = 'o', entry->Text[1] = 'w';
        IoWriteErrorLogEntry(entry);
    }
#if DEFECT == 3 /* given back a second time */
    IoFreeErrorLogEntry(entry);
#endif
    CHECK(IoGetIoPriorityHint(irp) == 2 && IoSetIoPriorityHint(irp, 0) == 0 && IoGetIoPriorityHint(irp) == 0 && IoSetIoPriorityHint(irp, 5) == WRONG(0xC000000D));
    IoFreeIrp(irp);
    CHECK(!PsGetProcessWow64Process(PsGetCurrentProcess()) && PsIsProtectedProcess(PsGetCurrentProcess()));
    CHECK(ZwOpenThread(&thread, 0x1FFFFF, &plain, id) == 0 && ZwWaitForSingleObject(thread, 0, &Now) == 0x102);
    ZwClose(thread);
}

static ULONG Compare(PVOID table, const ULONG *one, const ULONG *other)
{
    (void)table;
    return *one < *other ? 0 : *one > *other ? 1 : 2;
}

static PVOID Allocate(PVOID table, ULONG bytes)
{
    (void)table;
    return ExAllocatePool2(POOL_FLAG_NON_PAGED, bytes, TAG);
}

static void Release(PVOID table, PVOID block)
{
    (void)table;
    ExFreePoolWithTag(block, TAG);
}

static NTSTATUS Odd(PVOID table, const ULONG *element, PVOID data)
{
    (void)table, (void)data;
    return *element & 1 ? 0 : WRONG(0xC0000272);
}

static void Tables(void)
{
    static uint64_t table[16];
    ULONG values[] = { 5, 1, 9, 4, 7 }, result = 9, deletes = 0;
    BOOLEAN new;
    PVOID node, key = 0;

    RtlInitializeGenericTableAvl(table, Compare, Allocate, Release, 0);
    for (ULONG i = 0; i < 5; i++) {
        CHECK(!RtlLookupElementGenericTableFullAvl(table, &values[i], &node, &result) && result != 1);
        CHECK(RtlInsertElementGenericTableFullAvl(table, &values[i], 4, &new, node, result) && new);
    }
    CHECK(*(ULONG *)RtlGetElementGenericTableAvl(table, 0) == 1 && *(ULONG *)RtlGetElementGenericTableAvl(table, 4) == 9);
    CHECK(*(ULONG *)RtlLookupElementGenericTableFullAvl(table, &values[3], &node, &result) == 4 && result == 1);
    RtlInsertElementGenericTableFullAvl(table, &values[3], 4, &new, node, result);
    CHECK(!new && *(ULONG *)RtlLookupFirstMatchingElementGenericTableAvl(table, &values[4], &key) == 7 && key);
    key = 0;
    values[0] = 2;
    CHECK(*(ULONG *)RtlEnumerateGenericTableLikeADirectory(table, Odd, 0, 0, &key, &deletes, &values[0]) == 5);
    CHECK(*(ULONG *)RtlEnumerateGenericTableLikeADirectory(table, Odd, 0, 1, &key, &deletes, &values[0]) == 7);
    values[0] = 5;
    for (ULONG i = 0; i < 5; i++) CHECK(RtlDeleteElementGenericTableAvl(table, &values[i]));
}

static ULONG Told;

static NTSTATUS Created(PVOID silo)
{
    Told += silo == PsGetHostSilo();
    return 0;
}

static void Ended(PVOID silo)
{
    Told += 0x100 * (silo == PsGetHostSilo());
}

static void Silos(void)
{
    struct { uint8_t Version, Host, Existing, Pad[5]; UNICODE_STRING *Name; PVOID Create, Terminate; } registration = { 1, 1, 0, { 0 }, 0, Created, Ended };
    PVOID monitor, context, found = 0;
    ULONG slot;

    CHECK(PsGetCurrentServerSilo() == 0 && PsIsHostSilo(PsGetHostSilo()) && PsIsHostSilo(0));
    CHECK(PsRegisterSiloMonitor(&registration, &monitor) == 0 && Told == 0 && PsStartSiloMonitor(monitor) == 0 && Told == 1);
    slot = PsGetSiloMonitorContextSlot(monitor);
    CHECK(PsCreateSiloContext(PsGetHostSilo(), 32, 0x200, 0, &context) == 0 && PsCreateSiloContext(0, 32, 1, 0, &found) == WRONG(0xC000000D));
    CHECK(PsGetSiloContext(PsGetHostSilo(), slot, &found) == WRONG(0xC0000225));
    CHECK(PsInsertSiloContext(PsGetHostSilo(), slot, context) == 0 && PsInsertSiloContext(PsGetHostSilo(), slot, context) == WRONG(0xC0000035));
    PsDereferenceSiloContext(context);
    CHECK(PsGetSiloContext(PsGetHostSilo(), slot, &found) == 0 && found == context);
    PsDereferenceSiloContext(found);
    CHECK(PsRemoveSiloContext(PsGetHostSilo(), slot, 0) == 0 && PsRemoveSiloContext(PsGetHostSilo(), slot, 0) == WRONG(0xC0000225));
    PsUnregisterSiloMonitor(monitor);
    CHECK(Told == 0x101);
}

static void Unload(PVOID driver)
{
    (void)driver;
}

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    (void)path;
    Driver = driver;
    Files();
    Contexts();
    Sections();
    Sharing();
    Objects();
    Tables();
    Silos();
    DbgPrint("%u checks\n", Checks);
    /* DRIVER_OBJECT.DriverUnload */
    *(PVOID *)((uint8_t *)driver + 0x68) = Unload;
    return STATUS_SUCCESS;
}
