/*
 * What drivers ask of the executive's small services: tokens, identities, descriptors and checks by them; remove locks, one-time
 * initialisation, cache-aware rundown protection, the executive's timers and lookaside lists, callback objects, files by IoCreateFile.
 *
 * DEFECT: 1 a token stays referenced, 2 a subject is released twice, 3 a remove lock is released too often, 4 a timer is left behind,
 * 5 a callback object's routine is left behind, 6 a lookaside list is left behind, 7 a shutdown notification is left behind.
 */
#include <ntifs.h>
#include <ntstrsafe.h>

#ifndef DEFECT
#define DEFECT 0
#endif

static ULONG Checks;
#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))
#define NAME(text) RTL_CONSTANT_STRING(L##text)
#define TAG 0x63727653
#ifndef SECURITY_MAX_SID_SIZE
#define SECURITY_MAX_SID_SIZE 68
#endif

typedef VOID (NTAPI *TIMER_ROUTINE)(PVOID timer, PVOID context);
static PVOID (NTAPI *AllocateTimer)(TIMER_ROUTINE routine, PVOID context, ULONG attributes);
static BOOLEAN (NTAPI *SetTimer)(PVOID timer, LONGLONG due, LONGLONG period, PVOID parameters);
static BOOLEAN (NTAPI *CancelTimer)(PVOID timer, PVOID parameters);
static BOOLEAN (NTAPI *DeleteTimer)(PVOID timer, BOOLEAN cancel, BOOLEAN wait, PVOID parameters);
static ULONG (NTAPI *ProcessorCount)(USHORT group);

static PVOID Routine(PCWSTR name)
{
    UNICODE_STRING string;

    RtlInitUnicodeString(&string, name);
    return MmGetSystemRoutineAddress(&string);
}

static void Identities(void)
{
    static UCHAR acl[128], descriptor[SECURITY_DESCRIPTOR_MIN_LENGTH];
    SID_IDENTIFIER_AUTHORITY nt = { SECURITY_NT_AUTHORITY };
    UCHAR admins[SECURITY_MAX_SID_SIZE], copy[SECURITY_MAX_SID_SIZE];
    UNICODE_STRING text, expected = NAME("S-1-5-32-544");
    GENERIC_MAPPING mapping = { 1, 2, 4, 7 };
    SECURITY_SUBJECT_CONTEXT subject;
    ACCESS_MASK granted;
    NTSTATUS status;
    BOOLEAN present, defaulted;
    PACL found;
    PSID owner;
    PACCESS_TOKEN token;
    PTOKEN_USER user;
    ULONG level = 0;
    LUID logon;
    PRIVILEGE_SET privilege = { 1, PRIVILEGE_SET_ALL_NECESSARY, { { { 20, 0 }, 0 } } };

    CHECK(NT_SUCCESS(RtlInitializeSid((PSID)admins, &nt, 2)) && RtlLengthRequiredSid(2) == 16);
    *RtlSubAuthoritySid((PSID)admins, 0) = SECURITY_BUILTIN_DOMAIN_RID;
    *RtlSubAuthoritySid((PSID)admins, 1) = DOMAIN_ALIAS_RID_ADMINS;
    CHECK(RtlValidSid((PSID)admins) && RtlLengthSid((PSID)admins) == 16 && RtlEqualSid((PSID)admins, SeExports->SeAliasAdminsSid));
    CHECK(RtlCopySid(8, (PSID)copy, (PSID)admins) == STATUS_BUFFER_TOO_SMALL && RtlCopySid(sizeof(copy), (PSID)copy, (PSID)admins) == STATUS_SUCCESS);
    CHECK(RtlEqualSid((PSID)copy, (PSID)admins) && !RtlEqualSid((PSID)copy, SeExports->SeLocalSystemSid));
    CHECK(RtlConvertSidToUnicodeString(&text, (PSID)admins, TRUE) == STATUS_SUCCESS && RtlEqualUnicodeString(&text, &expected, FALSE));
    RtlFreeUnicodeString(&text);

    CHECK(RtlCreateSecurityDescriptor(descriptor, 7) == STATUS_UNKNOWN_REVISION);
    CHECK(RtlCreateSecurityDescriptor(descriptor, SECURITY_DESCRIPTOR_REVISION) == STATUS_SUCCESS);
    CHECK(RtlCreateAcl((PACL)acl, sizeof(acl), ACL_REVISION) == STATUS_SUCCESS);
    CHECK(RtlAddAccessAllowedAce((PACL)acl, ACL_REVISION, GENERIC_ALL, (PSID)admins) == STATUS_SUCCESS);
    CHECK(RtlAddAccessAllowedAce((PACL)acl, ACL_REVISION, GENERIC_READ, SeExports->SeWorldSid) == STATUS_SUCCESS);
    CHECK(RtlSetDaclSecurityDescriptor(descriptor, TRUE, (PACL)acl, FALSE) == STATUS_SUCCESS && RtlValidSecurityDescriptor(descriptor));
    CHECK(RtlGetDaclSecurityDescriptor(descriptor, &present, &found, &defaulted) == STATUS_SUCCESS && present && !defaulted && found == (PACL)acl);
    CHECK(RtlGetOwnerSecurityDescriptor(descriptor, &owner, &defaulted) == STATUS_SUCCESS && owner == NULL);
    CHECK(RtlLengthSecurityDescriptor(descriptor) == 40 + sizeof(acl));

    SeCaptureSubjectContext(&subject);
    SeLockSubjectContext(&subject);
    CHECK(SeAccessCheck(descriptor, &subject, TRUE, 2, 0, NULL, &mapping, UserMode, &granted, &status) && granted == 2 && status == STATUS_SUCCESS);
    CHECK(SeAccessCheck(descriptor, &subject, TRUE, MAXIMUM_ALLOWED, 0, NULL, &mapping, UserMode, &granted, &status) && granted == 7);
    CHECK(!SeAccessCheck(descriptor, &subject, TRUE, 8, 0, NULL, &mapping, UserMode, &granted, &status) && status == STATUS_ACCESS_DENIED);
    CHECK(SeAccessCheck(descriptor, &subject, TRUE, 8, 0, NULL, &mapping, KernelMode, &granted, &status) && granted == 8);
    CHECK(SePrivilegeCheck(&privilege, &subject, UserMode) && privilege.Privilege[0].Attributes == SE_PRIVILEGE_USED_FOR_ACCESS);
    CHECK(SeSinglePrivilegeCheck(SeExports->SeDebugPrivilege, UserMode));
    SeUnlockSubjectContext(&subject);
    SeReleaseSubjectContext(&subject);
#if DEFECT == 2
    SeReleaseSubjectContext(&subject);
#endif

    token = PsReferencePrimaryToken(PsGetCurrentProcess());
    CHECK(SeTokenIsAdmin(token) && !SeTokenIsRestricted(token) && SeTokenType(token) == TokenPrimary);
    CHECK(SeQueryInformationToken(token, TokenUser, (PVOID *)&user) == STATUS_SUCCESS && RtlEqualSid(user->User.Sid, SeExports->SeLocalSystemSid));
    ExFreePool(user);
    CHECK(SeQueryInformationToken(token, (TOKEN_INFORMATION_CLASS)25, (PVOID *)&level) == STATUS_SUCCESS && level == 0x4000);
    CHECK(SeQueryAuthenticationIdToken(token, &logon) == STATUS_SUCCESS && logon.LowPart == 0x3E7);
#if DEFECT != 1
    PsDereferencePrimaryToken(token);
#endif
}

static VOID NTAPI Tick(PVOID timer, PVOID context)
{
    (void)timer;
    if (KeGetCurrentIrql() == DISPATCH_LEVEL)
        KeSetEvent(context, 0, FALSE);
}

static ULONG NTAPI Once(PRTL_RUN_ONCE once, PVOID parameter, PVOID *context)
{
    (void)once;
    ++*(PULONG)parameter;
    *context = (PVOID)0x1000;
    return TRUE;
}

static VOID NTAPI Notified(PVOID context, PVOID first, PVOID second)
{
    if (first == (PVOID)1 && second == (PVOID)2)
        ++*(PULONG)context;
}

static void Synchronisation(void)
{
    static IO_REMOVE_LOCK lock;
    static RTL_RUN_ONCE once;
    static KEVENT event;
    static ULONG count;
    static LOOKASIDE_LIST_EX list;
    PEX_RUNDOWN_REF_CACHE_AWARE rundown;
    LARGE_INTEGER second = { .QuadPart = -10000000 };
    OBJECT_ATTRIBUTES attributes;
    UNICODE_STRING name = NAME("\\Callback\\Services");
    PCALLBACK_OBJECT object;
    PVOID timer, context, block, handle;
    GUID one, two;

    IoInitializeRemoveLock(&lock, TAG, 0, 0);
    CHECK(IoAcquireRemoveLock(&lock, NULL) == STATUS_SUCCESS);
    IoReleaseRemoveLock(&lock, NULL);
    CHECK(IoAcquireRemoveLock(&lock, NULL) == STATUS_SUCCESS);
    IoReleaseRemoveLockAndWait(&lock, NULL);
    CHECK(IoAcquireRemoveLock(&lock, NULL) == STATUS_DELETE_PENDING);
#if DEFECT == 3
    IoReleaseRemoveLock(&lock, NULL);
#endif

    CHECK(RtlRunOnceExecuteOnce(&once, Once, &count, &context) == STATUS_SUCCESS && count == 1 && context == (PVOID)0x1000);
    context = NULL;
    CHECK(RtlRunOnceExecuteOnce(&once, Once, &count, &context) == STATUS_SUCCESS && count == 1 && context == (PVOID)0x1000);

    rundown = ExAllocateCacheAwareRundownProtection(NonPagedPool, TAG);
    CHECK(rundown != NULL && ExAcquireRundownProtectionCacheAware(rundown));
    ExReleaseRundownProtectionCacheAware(rundown);
    ExWaitForRundownProtectionReleaseCacheAware(rundown);
    CHECK(!ExAcquireRundownProtectionCacheAware(rundown));
    ExFreeCacheAwareRundownProtection(rundown);

    KeInitializeEvent(&event, SynchronizationEvent, FALSE);
    timer = AllocateTimer(Tick, &event, 0);
    CHECK(timer != NULL && !SetTimer(timer, -10000, 0, NULL));
    CHECK(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &second) == STATUS_SUCCESS);
    CHECK(!SetTimer(timer, -100000000, 0, NULL) && CancelTimer(timer, NULL) && !CancelTimer(timer, NULL));
#if DEFECT != 4
    CHECK(!DeleteTimer(timer, TRUE, TRUE, NULL));
#endif

    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE, NULL, NULL);
    CHECK(ExCreateCallback(&object, &attributes, FALSE, TRUE) == STATUS_OBJECT_NAME_NOT_FOUND);
    CHECK(ExCreateCallback(&object, &attributes, TRUE, FALSE) == STATUS_SUCCESS);
    handle = ExRegisterCallback(object, Notified, &count);
    CHECK(handle != NULL && ExRegisterCallback(object, Notified, &count) == NULL);
    ExNotifyCallback(object, (PVOID)1, (PVOID)2);
    CHECK(count == 2);
#if DEFECT != 5
    ExUnregisterCallback(handle);
#endif
    ObDereferenceObject(object);

    CHECK(ExInitializeLookasideListEx(&list, NULL, NULL, PagedPool, 0, 64, TAG, 0) == STATUS_SUCCESS);
    block = ExAllocateFromLookasideListEx(&list);
    CHECK(block != NULL);
    ExFreeToLookasideListEx(&list, block);
    ExFlushLookasideListEx(&list);
#if DEFECT != 6
    ExDeleteLookasideListEx(&list);
#endif
    CHECK(ExUuidCreate(&one) == STATUS_SUCCESS && ExUuidCreate(&two) == STATUS_SUCCESS && RtlCompareMemory(&one, &two, 16) != 16);
    CHECK(ProcessorCount(ALL_PROCESSOR_GROUPS) >= 1);
}

static void Files(void)
{
    OBJECT_ATTRIBUTES attributes;
    UNICODE_STRING name = NAME("\\??\\C:\\a.txt"), other = NAME("\\??\\C:\\b.txt");
    IO_STATUS_BLOCK status;
    HANDLE handle;
    PFILE_OBJECT file;
    PDEVICE_OBJECT device;

    InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    CHECK(IoCreateFile(&handle, GENERIC_READ | SYNCHRONIZE, &attributes, &status, NULL, 0, FILE_SHARE_READ, FILE_OPEN,
                       FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0, CreateFileTypeNone, NULL, 0) == STATUS_SUCCESS);
    CHECK(status.Information == FILE_OPENED);
    CHECK(ObReferenceObjectByHandle(handle, 0, NULL, KernelMode, (PVOID *)&file, NULL) == STATUS_SUCCESS);
    device = file->DeviceObject;
    ObDereferenceObject(file);
    ZwClose(handle);
    InitializeObjectAttributes(&attributes, &other, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, NULL, NULL);
    CHECK(IoCreateFileSpecifyDeviceObjectHint(&handle, GENERIC_WRITE | SYNCHRONIZE, &attributes, &status, NULL, 0, 0, FILE_CREATE,
          FILE_SYNCHRONOUS_IO_NONALERT, NULL, 0, CreateFileTypeNone, NULL, 0, device) == STATUS_SUCCESS && status.Information == FILE_CREATED);
    ZwClose(handle);
}

static NTSTATUS NTAPI Shutdown(PDEVICE_OBJECT device, PIRP irp)
{
    (void)device;
    DbgPrint("the system shuts down\n");
    irp->IoStatus.Status = STATUS_SUCCESS;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return STATUS_SUCCESS;
}

static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
#if DEFECT != 7
    IoUnregisterShutdownNotification(driver->DeviceObject);
#endif
    IoDeleteDevice(driver->DeviceObject);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    PDEVICE_OBJECT device;

    (void)path;
    driver->DriverUnload = Unload;
    driver->MajorFunction[IRP_MJ_SHUTDOWN] = Shutdown;
    AllocateTimer = Routine(L"ExAllocateTimer");
    SetTimer = Routine(L"ExSetTimer");
    CancelTimer = Routine(L"ExCancelTimer");
    DeleteTimer = Routine(L"ExDeleteTimer");
    ProcessorCount = Routine(L"KeQueryActiveProcessorCountEx");
    CHECK(AllocateTimer && SetTimer && CancelTimer && DeleteTimer && ProcessorCount);
    Identities();
    Synchronisation();
    Files();
    CHECK(IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &device) == STATUS_SUCCESS);
    CHECK(IoRegisterShutdownNotification(device) == STATUS_SUCCESS);
    DbgPrint("%lu checks\n", Checks);
    return STATUS_SUCCESS;
}
