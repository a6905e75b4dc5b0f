/*
 * Uses what the kernel keeps for drivers by handles and by threads: events, timers, duplicated handles, tokens, impersonation,
 * user memory, versions, processors, compressed buffers. Prints what is not as documented, then how much was asked.
 */
#include "flt.h"

static ULONG Checks;
#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))
#define STRING(text) { sizeof(text) - 2, sizeof(text), (WCHAR *)text }
#define CURRENT_PROCESS ((HANDLE)(intptr_t)-1)
#define CURRENT_THREAD ((HANDLE)(intptr_t)-2)
#define WRONG(s) ((NTSTATUS)(s))
#ifndef DEFECT
#define DEFECT 0
#endif

typedef struct { ULONG Length, Level; BOOLEAN Tracking, EffectiveOnly; } QUALITY;
typedef struct { QUALITY Quality; PVOID Token; BOOLEAN Direct, DirectEffective, Remote; ULONG Control[10]; } CLIENT;
typedef struct { PVOID Client; ULONG Level; PVOID Primary, Process; } SUBJECT;
typedef struct { ULONG Size, Major, Minor, Build, Platform; WCHAR Pack[128]; uint16_t PackMajor, PackMinor, Suites; BOOLEAN Product, Reserved; } VERSION;

IMPORT NTSTATUS ZwCreateEvent(HANDLE *, ULONG, OBJECT_ATTRIBUTES *, ULONG, BOOLEAN);
IMPORT NTSTATUS ZwOpenEvent(HANDLE *, ULONG, OBJECT_ATTRIBUTES *);
IMPORT NTSTATUS ZwSetEvent(HANDLE, int32_t *);
IMPORT NTSTATUS ZwResetEvent(HANDLE, int32_t *);
IMPORT NTSTATUS ZwClearEvent(HANDLE);
IMPORT NTSTATUS ZwWaitForSingleObject(HANDLE, BOOLEAN, int64_t *);
IMPORT NTSTATUS ZwWaitForMultipleObjects(ULONG, HANDLE *, ULONG, BOOLEAN, int64_t *);
IMPORT NTSTATUS ZwCreateTimer(HANDLE *, ULONG, OBJECT_ATTRIBUTES *, ULONG);
IMPORT NTSTATUS ZwSetTimer(HANDLE, int64_t *, PVOID, PVOID, BOOLEAN, int32_t, BOOLEAN *);
IMPORT NTSTATUS ZwCancelTimer(HANDLE, BOOLEAN *);
IMPORT PVOID IoCreateNotificationEvent(UNICODE_STRING *, HANDLE *);
IMPORT PVOID IoCreateSynchronizationEvent(UNICODE_STRING *, HANDLE *);
IMPORT int32_t KeReadStateEvent(PVOID);
IMPORT NTSTATUS ObReferenceObjectByHandle(HANDLE, ULONG, PVOID, int8_t, PVOID *, PVOID);
IMPORT extern PVOID ExEventObjectType;
IMPORT extern PVOID SeTokenObjectType;
IMPORT extern BOOLEAN KdDebuggerEnabled;
IMPORT extern BOOLEAN KdDebuggerNotPresent;
IMPORT extern ULONG NtBuildNumber;
IMPORT BOOLEAN KdRefreshDebuggerNotPresent(void);
IMPORT NTSTATUS ZwDuplicateObject(HANDLE, HANDLE, HANDLE, HANDLE *, ULONG, ULONG, ULONG);
IMPORT NTSTATUS ZwOpenProcessTokenEx(HANDLE, ULONG, ULONG, HANDLE *);
IMPORT NTSTATUS ZwOpenThreadTokenEx(HANDLE, ULONG, BOOLEAN, ULONG, HANDLE *);
IMPORT NTSTATUS ZwQueryInformationToken(HANDLE, ULONG, PVOID, ULONG, ULONG *);
IMPORT NTSTATUS ZwDuplicateToken(HANDLE, ULONG, OBJECT_ATTRIBUTES *, BOOLEAN, ULONG, HANDLE *);
IMPORT NTSTATUS PsAssignImpersonationToken(PVOID, HANDLE);
IMPORT PVOID PsReferenceImpersonationToken(PVOID, BOOLEAN *, BOOLEAN *, ULONG *);
IMPORT void PsDereferenceImpersonationToken(PVOID);
IMPORT NTSTATUS PsImpersonateClient(PVOID, PVOID, BOOLEAN, BOOLEAN, ULONG);
IMPORT void PsRevertToSelf(void);
IMPORT BOOLEAN PsDisableImpersonation(PVOID, PVOID);
IMPORT void PsRestoreImpersonation(PVOID, PVOID);
IMPORT NTSTATUS SeCreateClientSecurity(PVOID, QUALITY *, BOOLEAN, CLIENT *);
IMPORT NTSTATUS SeCreateClientSecurityFromSubjectContext(SUBJECT *, QUALITY *, BOOLEAN, CLIENT *);
IMPORT NTSTATUS SeImpersonateClientEx(CLIENT *, PVOID);
IMPORT void SeCaptureSubjectContext(SUBJECT *);
IMPORT void SeReleaseSubjectContext(SUBJECT *);
IMPORT PVOID SeQuerySubjectContextToken(SUBJECT *);
IMPORT ULONG SeTokenType(PVOID);
IMPORT PVOID KeGetCurrentThread(void);
IMPORT NTSTATUS ZwAllocateVirtualMemory(HANDLE, PVOID *, uintptr_t, size_t *, ULONG, ULONG);
IMPORT NTSTATUS ZwFreeVirtualMemory(HANDLE, PVOID *, size_t *, ULONG);
IMPORT NTSTATUS RtlVerifyVersionInfo(VERSION *, ULONG, uint64_t);
IMPORT uint64_t VerSetConditionMask(uint64_t, ULONG, BOOLEAN);
IMPORT BOOLEAN PsGetVersion(ULONG *, ULONG *, ULONG *, UNICODE_STRING *);
IMPORT BOOLEAN IoIsWdmVersionAvailable(BOOLEAN, BOOLEAN);
IMPORT ULONG MmIsDriverVerifying(PVOID);
IMPORT BOOLEAN ExIsProcessorFeaturePresent(ULONG);
IMPORT int32_t KeSetPriorityThread(PVOID, int32_t);
IMPORT int32_t KeQueryPriorityThread(PVOID);
IMPORT uint64_t KeSetSystemAffinityThreadEx(uint64_t);
IMPORT void KeRevertToUserAffinityThreadEx(uint64_t);
IMPORT ULONG KeGetCurrentProcessorNumberEx(PVOID);
IMPORT NTSTATUS RtlGetCompressionWorkSpaceSize(uint16_t, ULONG *, ULONG *);
IMPORT NTSTATUS RtlCompressBuffer(uint16_t, PVOID, ULONG, PVOID, ULONG, ULONG, ULONG *, PVOID);
IMPORT NTSTATUS RtlDecompressBuffer(uint16_t, PVOID, ULONG, PVOID, ULONG, ULONG *);
IMPORT NTSTATUS RtlDecompressFragment(uint16_t, PVOID, ULONG, PVOID, ULONG, ULONG, ULONG *, PVOID);
IMPORT int memcmp(const void *, const void *, size_t);
IMPORT void *memset(void *, int, size_t);
IMPORT BOOLEAN KeRegisterBugCheckCallback(PVOID, PVOID, PVOID, ULONG, const char *);
IMPORT BOOLEAN KeRegisterBugCheckReasonCallback(PVOID, PVOID, ULONG, const char *);
IMPORT BOOLEAN KeDeregisterBugCheckCallback(PVOID);
IMPORT BOOLEAN KeDeregisterBugCheckReasonCallback(PVOID);
IMPORT void KeBugCheckEx(ULONG, uintptr_t, uintptr_t, uintptr_t, uintptr_t);

static int64_t Now = 0, Soon = -20000;

static void Events(void)
{
    UNICODE_STRING name = STRING(u"\\BaseNamedObjects\\Holder"), nowhere = STRING(u"\\Nowhere\\Holder");
    OBJECT_ATTRIBUTES named = { sizeof(named), 0, &name, OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE, 0, 0 };
    OBJECT_ATTRIBUTES plain = { sizeof(plain), 0, 0, OBJ_KERNEL_HANDLE, 0, 0 };
    HANDLE one, same, other, both[2];
    PVOID event;
    int32_t before = 7;

    CHECK(ZwCreateEvent(&one, 0x1F0003, &named, 1, 0) == 0);
    CHECK(ZwCreateEvent(&same, 0x1F0003, &named, 1, 0) == WRONG(0xC0000035));
    named.Attributes |= 0x80;
    CHECK(ZwCreateEvent(&same, 0x1F0003, &named, 1, 0) == WRONG(0x40000000) && same != one);
    CHECK(ZwWaitForSingleObject(one, 0, &Now) == 0x102 && ZwWaitForSingleObject(one, 0, &Soon) == 0x102);
    CHECK(ZwSetEvent(same, &before) == 0 && before == 0 && ZwSetEvent(one, &before) == 0 && before == 1);
    CHECK(ZwWaitForSingleObject(one, 0, 0) == 0 && ZwWaitForSingleObject(one, 0, &Now) == 0x102);
    CHECK(ObReferenceObjectByHandle(one, 2, ExEventObjectType, 0, &event, 0) == 0 && KeReadStateEvent(event) == 0);
    CHECK(ObReferenceObjectByHandle(one, 2, SeTokenObjectType, 0, &event, 0) == WRONG(0xC0000024));
    ZwSetEvent(one, 0);
    CHECK(KeReadStateEvent(event) == 1 && ZwResetEvent(one, &before) == 0 && before == 1 && ZwClearEvent(one) == 0);
    ObfDereferenceObject(event);
    CHECK(ZwCreateEvent(&other, 0x1F0003, &plain, 0, 1) == 0 && ZwCreateEvent(&other, 0x1F0003, &plain, 2, 1) == WRONG(0xC000000D));
    both[0] = one, both[1] = other;
    CHECK(ZwWaitForMultipleObjects(2, both, 1, 0, 0) == 1 && ZwWaitForMultipleObjects(2, both, 0, 0, &Now) == 0x102);
    ZwSetEvent(one, 0);
    CHECK(ZwWaitForMultipleObjects(2, both, 0, 0, 0) == 0 && ZwWaitForSingleObject(one, 0, &Now) == 0x102);
    CHECK(ZwClose(one) == 0 && ZwOpenEvent(&one, 0x1F0003, &named) == 0 && ZwClose(same) == 0 && ZwClose(one) == 0);
    CHECK(ZwOpenEvent(&one, 0x1F0003, &named) == WRONG(0xC0000034));
    named.ObjectName = &nowhere;
    CHECK(ZwCreateEvent(&one, 0x1F0003, &named, 1, 0) == WRONG(0xC000003A));
    ZwClose(other);
    event = IoCreateNotificationEvent(&name, &one);
    CHECK(event && KeReadStateEvent(event) == 1 && IoCreateSynchronizationEvent(&name, &same) == event);
    ZwClose(one), ZwClose(same);
    CHECK(ZwWaitForSingleObject(CURRENT_THREAD, 0, &Now) == 0x102);
}

static void Timers(void)
{
    OBJECT_ATTRIBUTES plain = { sizeof(plain), 0, 0, OBJ_KERNEL_HANDLE, 0, 0 };
    int64_t never = -1000000000;
    BOOLEAN was = 7;
    HANDLE timer;

    CHECK(ZwCreateTimer(&timer, 0x1F0003, &plain, 0) == 0 && ZwSetTimer(timer, &Soon, 0, 0, 0, 0, &was) == 0 && was == 0);
    CHECK(ZwWaitForSingleObject(timer, 0, 0) == 0 && ZwSetTimer(timer, &never, 0, 0, 0, 0, &was) == 0 && was == 1);
    CHECK(ZwCancelTimer(timer, &was) == 0 && was == 0 && ZwWaitForSingleObject(timer, 0, &Now) == 0x102);
    CHECK(ZwSetTimer(timer, &never, 0, 0, 0, -1, 0) == WRONG(0xC00000F4));
    /* A timer that is set goes with its last handle. */
    ZwSetTimer(timer, &never, 0, 0, 0, 0, 0);
    CHECK(ZwClose(timer) == 0 && ZwClose((HANDLE)0x7777) == WRONG(0xC0000008));
}

static void Duplicates(void)
{
    OBJECT_ATTRIBUTES plain = { sizeof(plain), 0, 0, OBJ_KERNEL_HANDLE, 0, 0 };
    HANDLE one, two;

    CHECK(ZwCreateEvent(&one, 0x1F0003, &plain, 0, 0) == 0);
    CHECK(ZwDuplicateObject(CURRENT_PROCESS, one, CURRENT_PROCESS, &two, 0, OBJ_KERNEL_HANDLE, 2) == 0 && two != one);
    ZwSetEvent(one, 0);
    CHECK(ZwWaitForSingleObject(two, 0, &Now) == 0);
    CHECK(ZwDuplicateObject(CURRENT_PROCESS, one, 0, 0, 0, OBJ_KERNEL_HANDLE, 3) == 0 && ZwSetEvent(one, 0) == WRONG(0xC0000008));
    CHECK(ZwDuplicateObject(CURRENT_PROCESS, (HANDLE)0x7777, CURRENT_PROCESS, &one, 0, 0, 2) == WRONG(0xC0000008));
    CHECK(ZwDuplicateObject(two, two, CURRENT_PROCESS, &one, 0, 0, 2) == WRONG(0xC0000024));
#if DEFECT != 1 /* two is left open */
    ZwClose(two);
#endif
}

static void Tokens(void)
{
    QUALITY quality = { sizeof(quality), 2, 0, 0 };
    OBJECT_ATTRIBUTES attributes = { sizeof(attributes), 0, 0, OBJ_KERNEL_HANDLE, 0, &quality };
    PVOID thread = KeGetCurrentThread(), state[2], token;
    ULONG needed = 0, type = 0, level = 9, statistics[14];
    struct { PVOID Sid; ULONG Attributes; uint8_t Room[64]; } user;
    HANDLE primary, copy, none;
    BOOLEAN on_open, only;
    SUBJECT subject;
    CLIENT client;

    CHECK(ZwOpenProcessTokenEx(CURRENT_PROCESS, 8, OBJ_KERNEL_HANDLE, &primary) == 0);
    CHECK(ZwOpenThreadTokenEx(CURRENT_THREAD, 8, 1, OBJ_KERNEL_HANDLE, &none) == WRONG(0xC000007C));
    CHECK(ZwQueryInformationToken(primary, 1, 0, 0, &needed) == WRONG(0xC0000023) && needed == 16 + 12);
    CHECK(ZwQueryInformationToken(primary, 1, &user, sizeof(user), &needed) == 0 && ((uint8_t *)user.Sid)[8] == 18);
    CHECK(ZwQueryInformationToken(primary, 8, &type, 4, &needed) == 0 && type == 1);
    CHECK(ZwQueryInformationToken(primary, 9, &type, 4, &needed) == WRONG(0xC000000D));
    CHECK(ZwQueryInformationToken(primary, 10, statistics, sizeof(statistics), &needed) == 0 && needed == 56 && statistics[2] == 0x3E7);
    CHECK(ZwQueryInformationToken(primary, 999, statistics, sizeof(statistics), &needed) == WRONG(0xC0000003));
    CHECK(ZwDuplicateToken(primary, 0xC, &attributes, 0, 2, &copy) == 0);
    CHECK(ZwQueryInformationToken(copy, 8, &type, 4, &needed) == 0 && type == 2);
    CHECK(ZwQueryInformationToken(copy, 9, &type, 4, &needed) == 0 && type == 2);

    CHECK(PsReferenceImpersonationToken(thread, &on_open, &only, &level) == 0 && level == 9);
    CHECK(PsAssignImpersonationToken(thread, primary) == WRONG(0xC00000A8) && PsAssignImpersonationToken(thread, copy) == 0);
    token = PsReferenceImpersonationToken(thread, &on_open, &only, &level);
    CHECK(token && level == 2 && SeTokenType(token) == 2);
    CHECK(PsImpersonateClient(thread, token, 0, 0, 3) == WRONG(0xC00000A5));
    CHECK(ZwOpenThreadTokenEx(CURRENT_THREAD, 8, 1, OBJ_KERNEL_HANDLE, &none) == 0 && ZwClose(none) == 0);
    SeCaptureSubjectContext(&subject);
    CHECK(subject.Client == token && subject.Level == 2 && SeQuerySubjectContextToken(&subject) == token);
    CHECK(SeCreateClientSecurityFromSubjectContext(&subject, &quality, 0, &client) == 0 && client.Token != token);
    SeReleaseSubjectContext(&subject);
    PsDereferenceImpersonationToken(client.Token);
    CHECK(PsDisableImpersonation(thread, state) && PsReferenceImpersonationToken(thread, &on_open, &only, &level) == 0);
    PsRestoreImpersonation(thread, state);
    CHECK(PsReferenceImpersonationToken(thread, &on_open, &only, &level) == token);
    PsDereferenceImpersonationToken(token);
    PsDereferenceImpersonationToken(token);
    PsRevertToSelf();
    SeCaptureSubjectContext(&subject);
    CHECK(subject.Client == 0 && SeQuerySubjectContextToken(&subject) == subject.Primary);
    SeReleaseSubjectContext(&subject);

    CHECK(SeCreateClientSecurity(thread, &quality, 0, &client) == 0 && SeTokenType(client.Token) == 2 && !client.Direct);
    CHECK(SeImpersonateClientEx(&client, 0) == 0);
    PsRevertToSelf();
#if DEFECT != 2 /* the client's token is kept */
    PsDereferenceImpersonationToken(client.Token);
#endif
    ZwClose(copy), ZwClose(primary);
}

static void Memory(void)
{
    PVOID base = 0, part, again;
    size_t size = 0x2001, more = 0x1000;

    CHECK(ZwAllocateVirtualMemory(CURRENT_PROCESS, &base, 0, &size, 0x2000, 4) == 0 && base && size == 0x3000);
    part = (uint8_t *)base + 0x1000;
    CHECK(ZwAllocateVirtualMemory(CURRENT_PROCESS, &part, 0, &more, 0x1000, 4) == 0 && part == (uint8_t *)base + 0x1000);
    *(volatile uint8_t *)part = 5;
    CHECK(*(volatile uint8_t *)part == 5);
    again = (uint8_t *)base + 0x3000;
    CHECK(ZwAllocateVirtualMemory(CURRENT_PROCESS, &again, 0, &more, 0x1000, 4) == WRONG(0xC0000018));
    CHECK(ZwFreeVirtualMemory(CURRENT_PROCESS, &part, &more, 0x4000) == 0);
    size = 0;
    CHECK(ZwFreeVirtualMemory(CURRENT_PROCESS, &part, &size, 0x8000) == WRONG(0xC000009F));
    CHECK(ZwFreeVirtualMemory(CURRENT_PROCESS, &base, &size, 0x8000) == 0 && size == 0x3000);
    CHECK(ZwFreeVirtualMemory(CURRENT_PROCESS, &base, &size, 0x8000) == WRONG(0xC00000A0));
}

static void System(PVOID driver)
{
    static VERSION version;
    ULONG major = 0, minor = 9, build = 0;
    uint64_t mask = VerSetConditionMask(VerSetConditionMask(0, 2, 3), 1, 3);
    PVOID thread = KeGetCurrentThread();

    version.Size = sizeof(version), version.Major = 6, version.Minor = 1;
    CHECK(RtlVerifyVersionInfo(&version, 3, mask) == 0);
    version.Major = 10, version.Minor = 1;
    CHECK(RtlVerifyVersionInfo(&version, 3, mask) == WRONG(0xC0000059) && RtlVerifyVersionInfo(&version, 0, mask) == WRONG(0xC000000D));
    version.Product = 1;
    CHECK(RtlVerifyVersionInfo(&version, 0x80, VerSetConditionMask(0, 0x80, 1)) == 0);
    CHECK(!PsGetVersion(&major, &minor, &build, 0) && major == 10 && minor == 0 && build == 19045);
    CHECK(NtBuildNumber == (0xF0000000 | build) && !KdDebuggerEnabled && KdDebuggerNotPresent && KdRefreshDebuggerNotPresent());
    CHECK(IoIsWdmVersionAvailable(1, 0x30) && !IoIsWdmVersionAvailable(7, 0) && MmIsDriverVerifying(driver) == 1);
    CHECK(ExIsProcessorFeaturePresent(10) && !ExIsProcessorFeaturePresent(9999));
    CHECK(KeQueryPriorityThread(thread) == 8 && KeSetPriorityThread(thread, 16) == 8 && KeSetPriorityThread(thread, 8) == 16);
    CHECK(KeSetSystemAffinityThreadEx(1) == 0 && KeSetSystemAffinityThreadEx(1) == 1 && KeGetCurrentProcessorNumberEx(0) == 0);
    KeRevertToUserAffinityThreadEx(0);
    CHECK(KeSetSystemAffinityThreadEx(1) == 0);
    KeRevertToUserAffinityThreadEx(0);
}

static void Compression(void)
{
    ULONG whole = 0, fragment = 0, packed = 0, unpacked = 0, lost = 0;
    uint8_t *plain = ExAllocatePool2(POOL_FLAG_PAGED, 0x3000, TAG), *out = ExAllocatePool2(POOL_FLAG_PAGED, 0x3000, TAG);
    uint8_t *back = ExAllocatePool2(POOL_FLAG_PAGED, 0x3000, TAG), *work;

    CHECK(RtlGetCompressionWorkSpaceSize(2, &whole, &fragment) == 0 && whole && fragment);
    CHECK(RtlGetCompressionWorkSpaceSize(0, &lost, &lost) == WRONG(0xC000000D) && RtlGetCompressionWorkSpaceSize(9, &lost, &lost) == WRONG(0xC000025F));
    work = ExAllocatePool2(POOL_FLAG_PAGED, whole, TAG);
    for (ULONG i = 0; i < 0x2800; i++) plain[i] = (uint8_t)(i % 7 + i / 0x900);
    for (uint16_t format = 2; format < 4; format++) {
        CHECK(RtlCompressBuffer(format, plain, 0x2800, out, 0x3000, 4096, &packed, work) == 0 && packed < 0x800);
        CHECK(RtlDecompressBuffer(format, back, 0x3000, out, packed, &unpacked) == 0 && unpacked == 0x2800 && memcmp(plain, back, 0x2800) == 0);
        CHECK(RtlDecompressFragment(format, back, 0x100, out, packed, 0x1500, &unpacked, work) == 0 && unpacked == 0x100 && memcmp(plain + 0x1500, back, 0x100) == 0);
        CHECK(RtlCompressBuffer(format, plain, 0x2800, out, 16, 4096, &lost, work) == WRONG(0xC0000023));
    }
    memset(plain, 0, 0x2800);
    CHECK(RtlCompressBuffer(2, plain, 0x2800, out, 0x3000, 4096, &packed, work) == 0x117);
    memset(out, 0x55, 64);
    CHECK(RtlDecompressBuffer(2, back, 0x3000, out, 64, &unpacked) == WRONG(0xC0000242));
#if DEFECT == 3 /* less work space than it was told to bring */
    ExFreePoolWithTag(work, TAG);
    work = ExAllocatePool2(POOL_FLAG_PAGED, whole - 16, TAG);
    RtlCompressBuffer(2, plain, 0x2800, out, 0x3000, 4096, &packed, work);
#endif
    ExFreePoolWithTag(plain, TAG), ExFreePoolWithTag(out, TAG), ExFreePoolWithTag(back, TAG), ExFreePoolWithTag(work, TAG);
}

static uint64_t Record[8], Reason[6];
static uint8_t Kept[16];

static void Last(PVOID buffer, ULONG length)
{
    DbgPrint("last: %d bytes at %d\n", length, buffer == Kept);
#if DEFECT == 5
    *(volatile uint8_t *)0xFFFF800000000000 = 1;
#endif
}

static void Secondary(ULONG reason, PVOID record, uint64_t *data, ULONG length)
{
    DbgPrint("secondary: reason %d, %d, %d bytes, at most %d\n", reason, record == Reason, length, (ULONG)(data[1] >> 32));
    data[4] = data[0];
    data[5] = DEFECT == 6 ? 0x100000 : 16;
}

static void BugChecks(void)
{
    CHECK(KeRegisterBugCheckCallback(Record, Last, Kept, sizeof(Kept), "holder") && !KeRegisterBugCheckCallback(Record, Last, Kept, 16, "holder"));
    CHECK(KeRegisterBugCheckReasonCallback(Reason, Secondary, 2, "holder") && !KeRegisterBugCheckReasonCallback(Reason, Secondary, 99, "holder"));
#if DEFECT >= 4 && DEFECT <= 6
    KeBugCheckEx(0xDEADDEAD, 1, 2, 3, 4);
#endif
#if DEFECT != 7 /* left registered */
    CHECK(KeDeregisterBugCheckCallback(Record) && !KeDeregisterBugCheckCallback(Record));
    CHECK(KeDeregisterBugCheckReasonCallback(Reason));
#endif
}

static void Unload(PVOID driver)
{
    (void)driver;
}

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    (void)path;
    Events();
    Timers();
    Duplicates();
    Tokens();
    Memory();
    System(driver);
    Compression();
    BugChecks();
    DbgPrint("%u checks\n", Checks);
    /* DRIVER_OBJECT.DriverUnload */
    *(PVOID *)((uint8_t *)driver + 0x68) = Unload;
    return STATUS_SUCCESS;
}
