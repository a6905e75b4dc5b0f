/*
 * What file-system filters ask of the kernel by names that are met less often: extra create parameters of the run-time library's, new
 * objects' descriptors, keys that are watched, map control blocks of 32 bits, runs of bits, network providers. Prints what is not as
 * documented.
 */
#include <ntifs.h>

static ULONG Checks;
#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))
#define NAME(text) RTL_CONSTANT_STRING(L##text)
#define TAG 0x7964736E

static PDRIVER_OBJECT Driver;

static void Parameters(void)
{
    static const GUID kind = { 0x11223344, 1, 2, { 3 } }, other = { 0x55667788, 1, 2, { 3 } };
    PECP_LIST list = NULL;
    PVOID one = NULL, two = NULL, found = NULL;
    GUID next;
    ULONG size = 0;

    CHECK(NT_SUCCESS(FsRtlAllocateExtraCreateParameterList(0, &list)) && list);
    CHECK(NT_SUCCESS(FsRtlAllocateExtraCreateParameter(&kind, 24, 0, NULL, TAG, &one)) && one);
    CHECK(NT_SUCCESS(FsRtlAllocateExtraCreateParameter(&other, 8, 0, NULL, TAG, &two)) && two);
    if (!list || !one || !two)
        return;
    CHECK(FsRtlFindExtraCreateParameter(list, &kind, &found, &size) == STATUS_NOT_FOUND && !found);
    CHECK(NT_SUCCESS(FsRtlInsertExtraCreateParameter(list, one)) && NT_SUCCESS(FsRtlInsertExtraCreateParameter(list, two)));
    CHECK(NT_SUCCESS(FsRtlFindExtraCreateParameter(list, &kind, &found, &size)) && found == one && size == 24);
    CHECK(NT_SUCCESS(FsRtlGetNextExtraCreateParameter(list, one, &next, &found, &size)) && found == two && size == 8 && next.Data1 == 0x55667788);
    CHECK(FsRtlGetNextExtraCreateParameter(list, two, &next, &found, &size) == STATUS_NOT_FOUND);
    CHECK(!FsRtlIsEcpAcknowledged(one) && !FsRtlIsEcpFromUserMode(one));
    FsRtlAcknowledgeEcp(one);
    CHECK(FsRtlIsEcpAcknowledged(one));
    CHECK(NT_SUCCESS(FsRtlRemoveExtraCreateParameter(list, &other, &found, &size)) && found == two);
    FsRtlFreeExtraCreateParameter(two);
    FsRtlFreeExtraCreateParameterList(list);
}

static void Descriptors(void)
{
    GENERIC_MAPPING mapping = { FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_GENERIC_EXECUTE, FILE_ALL_ACCESS };
    static UCHAR descriptor[SECURITY_DESCRIPTOR_MIN_LENGTH], room[512];
    static UCHAR acl[128];
    PSECURITY_DESCRIPTOR parent = NULL, child = NULL, old;
    SECURITY_SUBJECT_CONTEXT subject;
    SECURITY_INFORMATION information = DACL_SECURITY_INFORMATION;
    ULONG length = sizeof(room);
    BOOLEAN present = FALSE, defaulted = FALSE;
    PACL list = NULL;
    PSID owner = NULL;
    PACCESS_ALLOWED_ACE entry = NULL;

    SeCaptureSubjectContext(&subject);
    /* Nobody says anything: the creator's defaults. */
    CHECK(NT_SUCCESS(SeAssignSecurity(NULL, NULL, &child, FALSE, &subject, &mapping, PagedPool)) && child);
    CHECK(NT_SUCCESS(RtlGetOwnerSecurityDescriptor(child, &owner, &defaulted)) && owner && RtlEqualSid(owner, SeExports->SeLocalSystemSid));
    CHECK(NT_SUCCESS(RtlGetDaclSecurityDescriptor(child, &present, &list, &defaulted)) && present && list && list->AceCount == 1);
    CHECK(NT_SUCCESS(SeDeassignSecurity(&child)) && !child);
    /* A folder that lets everybody read what is in it, and its files' makers do everything. */
    RtlCreateSecurityDescriptor(descriptor, SECURITY_DESCRIPTOR_REVISION);
    RtlCreateAcl((PACL)acl, sizeof(acl), ACL_REVISION);
    CHECK(NT_SUCCESS(RtlAddAccessAllowedAceEx((PACL)acl, ACL_REVISION, OBJECT_INHERIT_ACE, GENERIC_READ, SeExports->SeWorldSid)));
    CHECK(NT_SUCCESS(RtlAddAccessAllowedAceEx((PACL)acl, ACL_REVISION, OBJECT_INHERIT_ACE | CONTAINER_INHERIT_ACE, GENERIC_ALL, SeExports->SeCreatorOwnerSid)));
    RtlSetDaclSecurityDescriptor(descriptor, TRUE, (PACL)acl, FALSE);
    CHECK(NT_SUCCESS(SeAssignSecurityEx(NULL, descriptor, &parent, NULL, TRUE, 0, &subject, &mapping, PagedPool)) && parent);
    CHECK(NT_SUCCESS(SeAssignSecurityEx(parent, NULL, &child, NULL, FALSE, 1 /* SEF_DACL_AUTO_INHERIT */, &subject, &mapping, PagedPool)) && child);
    list = NULL;
    CHECK(NT_SUCCESS(RtlGetDaclSecurityDescriptor(child, &present, &list, &defaulted)) && present && list && list->AceCount == 2);
    CHECK(NT_SUCCESS(RtlGetAce(list, 0, (PVOID *)&entry)) && entry->Mask == FILE_GENERIC_READ && entry->Header.AceFlags == INHERITED_ACE);
    CHECK(NT_SUCCESS(RtlGetAce(list, 1, (PVOID *)&entry)) && entry->Mask == FILE_ALL_ACCESS && RtlEqualSid((PSID)&entry->SidStart, SeExports->SeLocalSystemSid));
    /* What of it is asked for. */
    length = 8;
    CHECK(SeQuerySecurityDescriptorInfo(&information, (PSECURITY_DESCRIPTOR)room, &length, &child) == STATUS_BUFFER_TOO_SMALL && length > 20 && length < sizeof(room));
    CHECK(NT_SUCCESS(SeQuerySecurityDescriptorInfo(&information, (PSECURITY_DESCRIPTOR)room, &length, &child)));
    CHECK(NT_SUCCESS(RtlGetOwnerSecurityDescriptor((PSECURITY_DESCRIPTOR)room, &owner, &defaulted)) && !owner);
    CHECK(NT_SUCCESS(RtlGetDaclSecurityDescriptor((PSECURITY_DESCRIPTOR)room, &present, &list, &defaulted)) && present && list->AceCount == 2);
    /* Another list, the owner stays. */
    old = child;
    CHECK(NT_SUCCESS(SeSetSecurityDescriptorInfo(NULL, &information, descriptor, &child, PagedPool, &mapping)) && child != old);
    ExFreePool(old);
    CHECK(NT_SUCCESS(RtlGetOwnerSecurityDescriptor(child, &owner, &defaulted)) && owner && RtlEqualSid(owner, SeExports->SeLocalSystemSid));
    CHECK(NT_SUCCESS(RtlGetDaclSecurityDescriptor(child, &present, &list, &defaulted)) && NT_SUCCESS(RtlGetAce(list, 0, (PVOID *)&entry)));
    CHECK(entry->Header.AceFlags == OBJECT_INHERIT_ACE && entry->Mask == FILE_GENERIC_READ);
    CHECK(RtlValidRelativeSecurityDescriptor(child, 512, OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION));
    CHECK(!RtlValidRelativeSecurityDescriptor(child, 512, SACL_SECURITY_INFORMATION));
    CHECK(NT_SUCCESS(RtlReplaceSidInSd(child, SeExports->SeWorldSid, SeExports->SeLocalSystemSid, &length)) && length == 1);
    CHECK(RtlEqualSid((PSID)&entry->SidStart, SeExports->SeLocalSystemSid));
    SeDeassignSecurity(&child);
    SeDeassignSecurity(&parent);
    SeReleaseSubjectContext(&subject);
}

static void Files(void)
{
    OBJECT_ATTRIBUTES attributes;
    UNICODE_STRING name = NAME("\\??\\C:\\a.txt"), provider = NAME("\\device\\lanmanredirector"), none = NAME("\\Device\\Nfs");
    IO_STATUS_BLOCK block;
    HANDLE file = NULL;
    PFILE_OBJECT object = NULL;
    PSECURITY_DESCRIPTOR descriptor = NULL;
    BOOLEAN allocated = FALSE;
    ULONG length = 4;
    ULONG32 id = 0;
    ULONG sectors[7] = { 0 };
    UNICODE_STRING routine = NAME("FsRtlGetSectorSizeInformation");

    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    CHECK(NT_SUCCESS(ZwOpenFile(&file, FILE_READ_DATA | SYNCHRONIZE, &attributes, &block, 7, FILE_SYNCHRONOUS_IO_NONALERT)));
    CHECK(NT_SUCCESS(ObReferenceObjectByHandle(file, 0, *IoFileObjectType, KernelMode, (PVOID *)&object, NULL)));
    if (!object)
        return;
    CHECK(NT_SUCCESS(ObGetObjectSecurity(object, &descriptor, &allocated)) && descriptor && allocated && RtlValidSecurityDescriptor(descriptor));
    ObReleaseObjectSecurity(descriptor, allocated);
    CHECK(FsRtlMupGetProviderInfoFromFileObject(object, 1, &id, &length) == STATUS_INVALID_DEVICE_REQUEST);
    CHECK(NT_SUCCESS(FsRtlMupGetProviderIdFromName(&provider, &id)) && id);
    CHECK(FsRtlMupGetProviderIdFromName(&none, &id) == STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK(NT_SUCCESS(FsRtlNotifyVolumeEvent(object, FSRTL_VOLUME_LOCK)));
    CHECK(!SeAuditingFileEvents(TRUE, NULL));
    FsRtlAcquireFileExclusive(object);
    FsRtlReleaseFile(object);
    CHECK(NT_SUCCESS(((NTSTATUS (NTAPI *)(PDEVICE_OBJECT, PVOID))MmGetSystemRoutineAddress(&routine))(object->DeviceObject, sectors)) && sectors[0] == 512);
    CHECK(ZwQueryQuotaInformationFile(file, &block, sectors, sizeof(sectors), FALSE, NULL, 0, NULL, TRUE) == STATUS_INVALID_DEVICE_REQUEST);
    ObDereferenceObject(object);
    ZwClose(file);
}

static WORK_QUEUE_ITEM Item;
static KEVENT Worked;

static VOID NTAPI Work(PVOID context)
{
    KeSetEvent((PKEVENT)context, 0, FALSE);
}

static void Keys(void)
{
    OBJECT_ATTRIBUTES attributes;
    UNICODE_STRING name = NAME("\\Registry\\Machine\\Software\\Sundry"), below = NAME("\\Registry\\Machine\\Software\\Sundry\\Below"), value = NAME("Value");
    IO_STATUS_BLOCK block = { { 77 }, 0 };
    HANDLE key = NULL, child = NULL, event = NULL;
    LARGE_INTEGER now = { .QuadPart = 0 };
    ULONG data = 1;

    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    CHECK(NT_SUCCESS(ZwCreateKey(&key, KEY_ALL_ACCESS, &attributes, 0, NULL, 0, NULL)));
    CHECK(NT_SUCCESS(ZwCreateEvent(&event, EVENT_ALL_ACCESS, NULL, NotificationEvent, FALSE)));
    CHECK(ZwNotifyChangeKey(key, event, NULL, NULL, &block, 0, FALSE, NULL, 0, TRUE) == STATUS_INVALID_PARAMETER);
    CHECK(ZwNotifyChangeKey(key, event, NULL, NULL, &block, REG_NOTIFY_CHANGE_LAST_SET, FALSE, NULL, 0, TRUE) == STATUS_PENDING);
    CHECK(ZwWaitForSingleObject(event, FALSE, &now) == STATUS_TIMEOUT && block.Status == 77);
    /* Not what is watched for: a key, and a value of a key below. */
    InitializeObjectAttributes(&attributes, &below, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    CHECK(NT_SUCCESS(ZwCreateKey(&child, KEY_ALL_ACCESS, &attributes, 0, NULL, 0, NULL)));
    CHECK(NT_SUCCESS(ZwSetValueKey(child, &value, 0, REG_DWORD, &data, sizeof(data))));
    CHECK(ZwWaitForSingleObject(event, FALSE, &now) == STATUS_TIMEOUT);
    CHECK(NT_SUCCESS(ZwSetValueKey(key, &value, 0, REG_DWORD, &data, sizeof(data))));
    CHECK(ZwWaitForSingleObject(event, FALSE, &now) == STATUS_SUCCESS && block.Status == STATUS_NOTIFY_ENUM_DIR);
    /* What changes between two calls ends the second at once. */
    CHECK(NT_SUCCESS(ZwDeleteValueKey(key, &value)));
    CHECK(ZwNotifyChangeKey(key, NULL, NULL, NULL, &block, REG_NOTIFY_CHANGE_LAST_SET, FALSE, NULL, 0, FALSE) == STATUS_NOTIFY_ENUM_DIR);
    /* By a work item; a close ends it too. */
    KeInitializeEvent(&Worked, NotificationEvent, FALSE);
    ExInitializeWorkItem(&Item, Work, &Worked);
    CHECK(ZwNotifyChangeKey(key, NULL, (PIO_APC_ROUTINE)(ULONG_PTR)&Item, (PVOID)DelayedWorkQueue, &block, REG_NOTIFY_CHANGE_LAST_SET, FALSE, NULL, 0, TRUE) == STATUS_PENDING);
    ZwDeleteKey(child);
    ZwClose(child);
    ZwDeleteKey(key);
    ZwClose(key);
    CHECK(block.Status == STATUS_NOTIFY_CLEANUP);
    CHECK(NT_SUCCESS(KeWaitForSingleObject(&Worked, Executive, KernelMode, FALSE, NULL)));
    ZwClose(event);
}

static void Maps(void)
{
    static MCB map;
    LBN lbn = 0;
    VBN vbn = 0;
    ULONG count = 0, index = 0;

    FsRtlInitializeMcb(&map, PagedPool);
    CHECK(FsRtlAddMcbEntry(&map, 0, 100, 4) && FsRtlAddMcbEntry(&map, 8, 200, 2) && !FsRtlAddMcbEntry(&map, 8, 300, 1));
    CHECK(FsRtlNumberOfRunsInMcb(&map) == 3);
    CHECK(FsRtlLookupMcbEntry(&map, 1, &lbn, &count, &index) && lbn == 101 && count == 3 && index == 0);
    CHECK(FsRtlLookupMcbEntry(&map, 5, &lbn, &count, &index) && lbn == (LBN)-1 && count == 3 && index == 1);
    CHECK(FsRtlGetNextMcbEntry(&map, 2, &vbn, &lbn, &count) && vbn == 8 && lbn == 200 && count == 2);
    CHECK(FsRtlLookupLastMcbEntry(&map, &vbn, &lbn) && vbn == 9 && lbn == 201);
    FsRtlRemoveMcbEntry(&map, 8, 1);
    FsRtlTruncateMcb(&map, 4);
    CHECK(FsRtlNumberOfRunsInMcb(&map) == 1);
    FsRtlUninitializeMcb(&map);
}

static void Bits(void)
{
    ULONG words[2] = { 0xFF00FF0F, 0x0000FFFF }, at = 77;
    RTL_BITMAP_RUN runs[2];
    RTL_BITMAP map;

    RtlInitializeBitMap(&map, words, 64);
    CHECK(RtlFindFirstRunClear(&map, &at) == 4 && at == 4);
    CHECK(RtlFindLongestRunClear(&map, &at) == 16 && at == 48);
    CHECK(RtlFindNextForwardRunClear(&map, 18, &at) == 6 && at == 18);
    CHECK(RtlFindLastBackwardRunClear(&map, 18, &at) == 3 && at == 16);
    CHECK(RtlFindClearRuns(&map, runs, 2, TRUE) == 2 && runs[0].StartingIndex == 48 && runs[1].NumberOfBits == 8);
    CHECK(RtlFindMostSignificantBit(0x10) == 4 && RtlFindMostSignificantBit(0) == -1 && RtlFindLeastSignificantBit(0x8000000000000010) == 4);
}

static void Events(void)
{
    UNICODE_STRING name = NAME("RtlIsNtDdiVersionAvailable");
    BOOLEAN (NTAPI *available)(ULONG) = MmGetSystemRoutineAddress(&name);
    GUID one, two = { 0 };

    CHECK(NT_SUCCESS(EtwActivityIdControl(EVENT_ACTIVITY_CTRL_CREATE_SET_ID, &two)) && two.Data1 == 0);
    CHECK(NT_SUCCESS(EtwActivityIdControl(EVENT_ACTIVITY_CTRL_GET_ID, &one)) && one.Data1 != 0);
    CHECK(EtwActivityIdControl(77, &one) == STATUS_INVALID_PARAMETER);
    CHECK(available && available(0x06010000) && !available(0x06010001) && !available(0x0B000000));
}

static VOID NTAPI Deep(PVOID context, PKEVENT event)
{
    *(ULONG *)context = IoGetRemainingStackSize() > 0x4000;
    KeSetEvent(event, 0, FALSE);
}

static void Stacks(void)
{
    UNICODE_STRING one = NAME("Abc"), same = NAME("aBC");
    ULONG context = 77;
    KEVENT event;

    KeInitializeEvent(&event, NotificationEvent, FALSE);
    FsRtlPostStackOverflow(&context, &event, Deep);
    CHECK(NT_SUCCESS(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL)) && context == 1);
    CHECK(IoWithinStackLimits((ULONG_PTR)&context, sizeof(context)) && !IoWithinStackLimits((ULONG_PTR)&Checks, sizeof(Checks)));
    CHECK(FsRtlAreNamesEqual(&one, &same, TRUE, NULL) && !FsRtlAreNamesEqual(&one, &same, FALSE, NULL));
}

static ULONG Systems[2];

static VOID NTAPI FileSystem(PDEVICE_OBJECT device, BOOLEAN active)
{
    Systems[device->DeviceType == FILE_DEVICE_DISK_FILE_SYSTEM ? 0 : 1] += active;
}

static void FileSystems(void)
{
    CHECK(NT_SUCCESS(IoRegisterFsRegistrationChange(Driver, FileSystem)) && Systems[0] == 1 && Systems[1] == 1);
    IoUnregisterFsRegistrationChange(Driver, FileSystem);
}

static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
    (void)driver;
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    (void)path;
    Driver = driver;
    driver->DriverUnload = Unload;
    Parameters();
    Descriptors();
    Files();
    Keys();
    Maps();
    Bits();
    Stacks();
    Events();
    FileSystems();
    DbgPrint("%u checks\n", Checks);
    return STATUS_SUCCESS;
}
