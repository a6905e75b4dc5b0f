/*
 * The kernel's smaller kits: queues, trace providers, security descriptors, the file system library, pageable sections, power and
 * devices, breakpoints. Prints what is not as documented, then how much was asked.
 */
#include "flt.h"

static ULONG Checks;
#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))
#define WRONG(s) ((NTSTATUS)(s))
#ifndef DEFECT
#define DEFECT 0
#endif

typedef struct LIST { struct LIST *Flink, *Blink; } LIST;
IMPORT void KeInitializeQueue(PVOID, ULONG);
IMPORT int32_t KeInsertQueue(PVOID, LIST *);
IMPORT int32_t KeInsertHeadQueue(PVOID, LIST *);
IMPORT PVOID KeRemoveQueue(PVOID, int8_t, int64_t *);
IMPORT int32_t KeReadStateQueue(PVOID);
IMPORT LIST *KeRundownQueue(PVOID);
IMPORT NTSTATUS IoWMIRegistrationControl(PVOID, ULONG);
IMPORT NTSTATUS WmiTraceMessage(uint64_t, ULONG, const GUID *, uint16_t, ...);
IMPORT NTSTATUS WmiQueryTraceInformation(ULONG, PVOID, ULONG, ULONG *, PVOID);
IMPORT NTSTATUS RtlCreateSecurityDescriptor(PVOID, ULONG);
IMPORT NTSTATUS RtlSetDaclSecurityDescriptor(PVOID, BOOLEAN, PVOID, BOOLEAN);
IMPORT NTSTATUS RtlSetOwnerSecurityDescriptor(PVOID, PVOID, BOOLEAN);
IMPORT NTSTATUS RtlAbsoluteToSelfRelativeSD(PVOID, PVOID, ULONG *);
IMPORT NTSTATUS RtlSelfRelativeToAbsoluteSD(PVOID, PVOID, ULONG *, PVOID, ULONG *, PVOID, ULONG *, PVOID, ULONG *, PVOID, ULONG *);
IMPORT BOOLEAN SeValidSecurityDescriptor(ULONG, PVOID);
IMPORT NTSTATUS RtlAllocateAndInitializeSid(const uint8_t *, BOOLEAN, ULONG, ULONG, ULONG, ULONG, ULONG, ULONG, ULONG, ULONG, PVOID *);
IMPORT PVOID RtlFreeSid(PVOID);
IMPORT BOOLEAN RtlEqualSid(PVOID, PVOID);
IMPORT NTSTATUS RtlCreateAcl(PVOID, ULONG, ULONG);
IMPORT NTSTATUS RtlAddAccessAllowedAce(PVOID, ULONG, ULONG, PVOID);
IMPORT NTSTATUS RtlAddAce(PVOID, ULONG, ULONG, PVOID, ULONG);
IMPORT NTSTATUS RtlDeleteAce(PVOID, ULONG);
IMPORT NTSTATUS RtlGetAce(PVOID, ULONG, PVOID *);
IMPORT void RtlMapGenericMask(ULONG *, const ULONG *);
IMPORT const ULONG *IoGetFileObjectGenericMapping(void);
IMPORT BOOLEAN FsRtlIsTotalDeviceFailure(NTSTATUS);
IMPORT NTSTATUS FsRtlNormalizeNtstatus(NTSTATUS, NTSTATUS);
IMPORT PVOID FsRtlAllocatePoolWithTag(ULONG, ULONG, ULONG);
IMPORT NTSTATUS FsRtlValidateReparsePointBuffer(ULONG, PVOID);
IMPORT NTSTATUS FsRtlRemoveDotsFromPath(WCHAR *, uint16_t, uint16_t *);
IMPORT NTSTATUS FsRtlCancellableWaitForSingleObject(PVOID, int64_t *, PVOID);
IMPORT extern const uint8_t *FsRtlLegalAnsiCharacterArray;
IMPORT extern ULONG InitSafeBootMode;
IMPORT PVOID MmLockPagableDataSection(PVOID);
IMPORT void MmUnlockPagableImageSection(PVOID);
IMPORT PVOID MmAllocateContiguousMemory(size_t, uint64_t);
IMPORT void MmFreeContiguousMemory(PVOID);
IMPORT NTSTATUS PoRegisterPowerSettingCallback(PVOID, const GUID *, PVOID, PVOID, PVOID *);
IMPORT NTSTATUS PoUnregisterPowerSettingCallback(PVOID);
IMPORT NTSTATUS IoRegisterPlugPlayNotification(ULONG, ULONG, PVOID, PVOID, PVOID, PVOID, PVOID *);
IMPORT NTSTATUS IoUnregisterPlugPlayNotificationEx(PVOID);
IMPORT void ExLocalTimeToSystemTime(int64_t *, int64_t *);
IMPORT void DbgBreakPoint(void);
IMPORT NTSTATUS PsCreateSystemThread(HANDLE *, ULONG, PVOID, HANDLE, PVOID, PVOID, PVOID);
IMPORT NTSTATUS ZwWaitForSingleObject(HANDLE, BOOLEAN, int64_t *);

static uint64_t Queue[8];
static LIST Entries[3];
static int64_t Now = 0;

static void Server(PVOID context)
{
    /* Waits until somebody inserts. */
    *(PVOID *)context = KeRemoveQueue(Queue, 0, 0);
}

static void Queues(void)
{
    int64_t soon = -20000;
    PVOID taken = 0;
    HANDLE thread;

    KeInitializeQueue(Queue, 0);
    CHECK(KeRemoveQueue(Queue, 0, &Now) == (PVOID)0x102 && KeRemoveQueue(Queue, 0, &soon) == (PVOID)0x102);
    CHECK(KeInsertQueue(Queue, &Entries[0]) == 0 && KeInsertQueue(Queue, &Entries[1]) == 1 && KeInsertHeadQueue(Queue, &Entries[2]) == 2);
    CHECK(KeReadStateQueue(Queue) == 3 && KeRemoveQueue(Queue, 0, 0) == &Entries[2] && KeRemoveQueue(Queue, 0, &Now) == &Entries[0]);
    CHECK(KeInsertQueue(Queue, &Entries[0]) == 1 && KeRundownQueue(Queue) == &Entries[1] && Entries[1].Flink == &Entries[0] && Entries[0].Flink == &Entries[1]);
    CHECK(KeReadStateQueue(Queue) == 0 && KeRundownQueue(Queue) == 0);
    CHECK(PsCreateSystemThread(&thread, 0x1FFFFF, 0, 0, 0, Server, &taken) == 0);
    KeInsertQueue(Queue, &Entries[2]);
    CHECK(ZwWaitForSingleObject(thread, 0, 0) == 0 && taken == &Entries[2]);
    ZwClose(thread);
}

static NTSTATUS Trace(PVOID device)
{
    (void)device;
    return 0;
}

static void Providers(void)
{
    ULONG needed = 9;

    CHECK(IoWMIRegistrationControl((PVOID)Trace, 0x80000001) == 0 && IoWMIRegistrationControl((PVOID)Trace, 3) == 0);
    CHECK(IoWMIRegistrationControl((PVOID)Trace, 99) == WRONG(0xC000000D) && IoWMIRegistrationControl((PVOID)Providers, 0x80000002) == WRONG(0xC000000D));
    CHECK(WmiTraceMessage(1, 0, 0, 10, &needed, sizeof(needed), 0) == WRONG(0xC0000295));
    CHECK(WmiQueryTraceInformation(3, 0, 0, &needed, 0) == WRONG(0xC0000295) && needed == 0);
#if DEFECT != 1 /* left registered */
    CHECK(IoWMIRegistrationControl((PVOID)Trace, 0x80000002) == 0);
#endif
}

static void Security(void)
{
    static const uint8_t authority[6] = { 0, 0, 0, 0, 0, 5 };
    uint64_t absolute[5], back[5], acl[16], list[16], owner[8], relative[40], *entry;
    ULONG size = 0, sizes[5] = { sizeof(back), sizeof(list), 0, sizeof(owner), 0 }, mask = 0x80000000;
    PVOID admins, users;

    CHECK(RtlAllocateAndInitializeSid(authority, 2, 32, 544, 0, 0, 0, 0, 0, 0, &admins) == 0 && RtlAllocateAndInitializeSid(authority, 2, 32, 545, 0, 0, 0, 0, 0, 0, &users) == 0);
    CHECK(RtlAllocateAndInitializeSid(authority, 9, 1, 2, 3, 4, 5, 6, 7, 8, (PVOID *)&entry) == WRONG(0xC0000078) && !RtlEqualSid(admins, users));
    RtlCreateSecurityDescriptor(absolute, 1);
    RtlCreateAcl(acl, sizeof(acl), 2);
    RtlAddAccessAllowedAce(acl, 2, 1, admins);
    RtlAddAccessAllowedAce(acl, 2, 2, users);
    RtlGetAce(acl, 0, (PVOID *)&entry);
    memcpy(list, entry, 24);
    CHECK(RtlAddAce(acl, 2, 0xFFFFFFFF, list, 24) == 0 && RtlGetAce(acl, 2, (PVOID *)&entry) == 0 && memcmp(entry, list, 24) == 0);
    CHECK(RtlDeleteAce(acl, 0) == 0 && RtlGetAce(acl, 0, (PVOID *)&entry) == 0 && ((ULONG *)entry)[1] == 2 && RtlDeleteAce(acl, 2) == WRONG(0xC000000D));
    CHECK(RtlAddAce(acl, 2, 0, list, 20) == WRONG(0xC000000D));
    RtlSetDaclSecurityDescriptor(absolute, 1, acl, 0);
    RtlSetOwnerSecurityDescriptor(absolute, admins, 0);
    CHECK(RtlAbsoluteToSelfRelativeSD(absolute, relative, &size) == WRONG(0xC0000023) && size == 20 + 16 + sizeof(acl));
    CHECK(RtlAbsoluteToSelfRelativeSD(absolute, relative, &size) == 0 && SeValidSecurityDescriptor(size, relative) && !SeValidSecurityDescriptor(size - 4, relative));
    CHECK(RtlSelfRelativeToAbsoluteSD(relative, back, &sizes[0], list, &sizes[1], 0, &sizes[2], owner, &sizes[3], 0, &sizes[4]) == 0);
    CHECK(sizes[0] == 40 && sizes[1] == sizeof(acl) && sizes[3] == 16 && RtlEqualSid(owner, admins) && memcmp(list, acl, sizeof(acl)) == 0);
    CHECK(RtlSelfRelativeToAbsoluteSD(absolute, back, &sizes[0], list, &sizes[1], 0, &sizes[2], owner, &sizes[3], 0, &sizes[4]) == WRONG(0xC00000E7));
    RtlMapGenericMask(&mask, IoGetFileObjectGenericMapping());
    CHECK(mask == 0x120089);
    RtlFreeSid(admins), RtlFreeSid(users);
}

static void Library(void)
{
    struct { ULONG Tag; uint16_t Length, Reserved; uint8_t Data[8]; } reparse = { 0xA000000C, 8, 0, { 0 } };
    WCHAR path[] = u"\\a\\.\\b\\..\\c", above[] = u"\\..";
    uint64_t event[3];
    uint16_t length = 0;
    int64_t time = 5, system = 0;
    PVOID block = FsRtlAllocatePoolWithTag(1, 64, TAG);

    CHECK(block != 0);
    ExFreePoolWithTag(block, TAG);
    CHECK(FsRtlIsTotalDeviceFailure(WRONG(0xC00000A3)) && !FsRtlIsTotalDeviceFailure(0) && !FsRtlIsTotalDeviceFailure(WRONG(0xC000009C)));
    CHECK(FsRtlNormalizeNtstatus(WRONG(0xC0000022), WRONG(0xC0000001)) == WRONG(0xC0000022) && FsRtlNormalizeNtstatus(WRONG(0xC0000005), WRONG(0xC0000001)) == WRONG(0xC0000001));
    CHECK(FsRtlValidateReparsePointBuffer(16, &reparse) == 0 && FsRtlValidateReparsePointBuffer(15, &reparse) == WRONG(0xC0000278));
    reparse.Tag = 0x80000001;
    CHECK(FsRtlValidateReparsePointBuffer(16, &reparse) == WRONG(0xC0000276));
    CHECK(FsRtlRemoveDotsFromPath(path, sizeof(path) - 2, &length) == 0 && length == 8 && memcmp(path, u"\\a\\c", 8) == 0);
    CHECK(FsRtlRemoveDotsFromPath(above, sizeof(above) - 2, &length) == WRONG(0xC0000278));
    KeInitializeEvent(event, 0, 0);
    CHECK(FsRtlCancellableWaitForSingleObject(event, &Now, 0) == 0x102);
    CHECK((FsRtlLegalAnsiCharacterArray['*'] & 8) && !(FsRtlLegalAnsiCharacterArray['a'] & 8) && (FsRtlLegalAnsiCharacterArray['a'] & 4));
    ExLocalTimeToSystemTime(&time, &system);
    CHECK(system == 5 && InitSafeBootMode == 0);
}

__attribute__((section("PAGEDATA"))) static volatile ULONG Pageable = 7;

static void Resident(void)
{
    uint8_t *block = MmAllocateContiguousMemory(0x1800, ~0ull), old;
    PVOID section = MmLockPagableDataSection((PVOID)&Pageable);

    CHECK(block && ((uintptr_t)block & 0xFFF) == 0 && section);
    MmFreeContiguousMemory(block);
    old = KfRaiseIrql(2);
    CHECK(Pageable == 7);
    KeLowerIrql(old);
    MmUnlockPagableImageSection(section);
#if DEFECT == 2 /* not locked any more */
    old = KfRaiseIrql(2);
    Pageable++;
    KeLowerIrql(old);
#endif
#if DEFECT == 3 /* unlocked twice */
    MmUnlockPagableImageSection(section);
#endif
}

static void Notifications(PVOID driver)
{
    static const GUID guid = { 1, 2, 3, { 4 } };
    PVOID power, devices;

    CHECK(PoRegisterPowerSettingCallback(0, &guid, Trace, 0, &power) == 0 && PoRegisterPowerSettingCallback(0, &guid, 0, 0, &power) == WRONG(0xC000000D));
    CHECK(IoRegisterPlugPlayNotification(2, 1, (PVOID)&guid, driver, Trace, 0, &devices) == 0 && IoRegisterPlugPlayNotification(9, 1, 0, driver, Trace, 0, &power) == WRONG(0xC000000D));
    CHECK(PoUnregisterPowerSettingCallback(power) == 0 && PoUnregisterPowerSettingCallback(power) == WRONG(0xC000000D));
#if DEFECT != 4 /* left registered */
    CHECK(IoUnregisterPlugPlayNotificationEx(devices) == 0);
#endif
#if DEFECT == 5 /* nobody debugs, and nobody handles it */
    DbgBreakPoint();
#endif
}

static void Unload(PVOID driver)
{
    (void)driver;
}

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    (void)path;
    Queues();
    Providers();
    Security();
    Library();
    Resident();
    Notifications(driver);
    DbgPrint("%u checks\n", Checks);
    /* DRIVER_OBJECT.DriverUnload */
    *(PVOID *)((uint8_t *)driver + 0x68) = Unload;
    return STATUS_SUCCESS;
}
