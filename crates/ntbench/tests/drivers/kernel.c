/*
 * Asks the kernel's functions what their documentation says they answer. Prints what is not so, then how much was asked.
 */
#include "flt.h"

static ULONG Checks;
#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))
#define STRING(text) { sizeof(text) - 2, sizeof(text), (WCHAR *)text }

static void Strings(void)
{
    static WCHAR buffer[8];
    UNICODE_STRING a = STRING(u"Größe"), b = STRING(u"GRÖSSE"), c = STRING(u"größe"), empty = { 0, 0, 0 };
    UNICODE_STRING room = { 0, sizeof(buffer), buffer }, made;

    CHECK(!RtlEqualUnicodeString(&a, &b, 1));
    CHECK(RtlEqualUnicodeString(&a, &c, 1) && !RtlEqualUnicodeString(&a, &c, 0));
    CHECK(RtlCompareUnicodeString(&a, &c, 1) == 0 && RtlCompareUnicodeString(&a, &c, 0) < 0);
    CHECK(RtlCompareUnicodeString(&empty, &a, 0) < 0);
    CHECK(RtlPrefixUnicodeString(&empty, &a, 0) && !RtlPrefixUnicodeString(&a, &empty, 0));
    b.Length = 4;
    CHECK(RtlPrefixUnicodeString(&b, &a, 1) && !RtlPrefixUnicodeString(&b, &a, 0));
    CHECK(RtlUpcaseUnicodeChar(u'ß') == u'ß' && RtlUpcaseUnicodeChar(u'é') == u'É');
    RtlCopyUnicodeString(&room, &a);
    CHECK(room.Length == 10 && memcmp(buffer, u"Größe", 12) == 0);
    CHECK(RtlAppendUnicodeToString(&room, u"xyz") == 0 && room.Length == 16);
    CHECK(RtlAppendUnicodeToString(&room, u"!") == (NTSTATUS)0xC0000023 && room.Length == 16);
    CHECK(RtlUpcaseUnicodeString(&made, &c, 1) == 0 && memcmp(made.Buffer, u"GRÖßE", 10) == 0);
    RtlFreeUnicodeString(&made);
    CHECK(made.Buffer == 0);
    RtlInitUnicodeString(&made, u"abc");
    CHECK(made.Length == 6 && made.MaximumLength == 8);
    RtlInitUnicodeString(&made, 0);
    CHECK(made.Length == 0 && made.MaximumLength == 0 && made.Buffer == 0);
    CHECK(strlen("four") == 4 && wcslen(u"abc") == 3);
}

static void Memory(void)
{
    uint8_t *small = ExAllocatePool2(POOL_FLAG_NON_PAGED, 24, TAG), *page = ExAllocatePool2(POOL_FLAG_PAGED, 0x1000, TAG);
    uint8_t *raw = ExAllocatePool2(POOL_FLAG_NON_PAGED | 2, 24, TAG), *old = ExAllocatePoolWithTag(0x600, 24, TAG);
    static const uint8_t zero[24];

    CHECK(small && page && raw && old);
    CHECK(((uintptr_t)small & 15) == 0 && ((uintptr_t)page & 0xFFF) == 0);
    CHECK(memcmp(small, zero, 24) == 0 && memcmp(raw, zero, 24) != 0);
    /* POOL_ZERO_ALLOCATION in an old-style pool type */
    CHECK(memcmp(old, zero, 24) == 0);
    memcpy(small, "0123456789", 11);
    memmove(small + 2, small, 8);
    CHECK(memcmp(small, "0101234567", 11) == 0);
    memset(small, 7, 3);
    CHECK(small[2] == 7 && small[3] == '1');
    ExFreePoolWithTag(small, TAG);
    ExFreePoolWithTag(page, 0);
    ExFreePool(raw);
    ExFreePool(old);
}

static void Levels(void)
{
    uint64_t lock = 0;
    uint8_t old;
    /* FAST_MUTEX as ExInitializeFastMutex, which is inline, makes it */
    struct { int Count; PVOID Owner; ULONG Contention; uint64_t Event[3]; ULONG Irql; } mutex = { 1, 0, 0, { 0 }, 0 };

    CHECK(KeGetCurrentIrql() == 0);
    CHECK(KfRaiseIrql(1) == 0 && KeGetCurrentIrql() == 1);
    old = KeAcquireSpinLockRaiseToDpc(&lock);
    CHECK(old == 1 && KeGetCurrentIrql() == 2 && lock != 0);
    KeReleaseSpinLock(&lock, old);
    CHECK(KeGetCurrentIrql() == 1 && lock == 0);
    KeLowerIrql(0);
    CHECK(!KeAreApcsDisabled());
    KeEnterCriticalRegion();
    CHECK(KeAreApcsDisabled() && !KeAreAllApcsDisabled());
    KeLeaveCriticalRegion();
    KeEnterGuardedRegion();
    CHECK(KeAreAllApcsDisabled());
    KeLeaveGuardedRegion();
    KeInitializeEvent(mutex.Event, 1, 0);
    ExAcquireFastMutex(&mutex);
    CHECK(KeGetCurrentIrql() == 1 && mutex.Count == 0);
    CHECK(!ExTryToAcquireFastMutex(&mutex) && KeGetCurrentIrql() == 1);
    ExReleaseFastMutex(&mutex);
    CHECK(KeGetCurrentIrql() == 0 && mutex.Count == 1);
    CHECK(ExTryToAcquireFastMutex(&mutex) && KeGetCurrentIrql() == 1);
    ExReleaseFastMutex(&mutex);
}

static void Waiting(void)
{
    uint64_t notification[3], synchronization[3];
    int64_t now = 0, soon = -10000;

    KeInitializeEvent(notification, 0, 0);
    KeInitializeEvent(synchronization, 1, 1);
    CHECK(KeWaitForSingleObject(notification, 0, 0, 0, &now) == 0x102);
    CHECK(KeWaitForSingleObject(notification, 0, 0, 0, &soon) == 0x102);
    CHECK(KeSetEvent(notification, 0, 0) == 0 && KeSetEvent(notification, 0, 0) != 0);
    CHECK(KeWaitForSingleObject(notification, 0, 0, 0, 0) == 0 && KeReadStateEvent(notification) != 0);
    /* A synchronization event lets one through. */
    CHECK(KeWaitForSingleObject(synchronization, 0, 0, 0, 0) == 0 && KeReadStateEvent(synchronization) == 0);
    CHECK(KeWaitForSingleObject(synchronization, 0, 0, 0, &now) == 0x102);
}

static void Times(void)
{
    int64_t frequency = 0, system = 0, first = KeQueryPerformanceCounter(&frequency);
    KeQuerySystemTimePrecise(&system);
    CHECK(frequency == 10000000 && KeQueryPerformanceCounter(0) >= first);
    /* Between 2020 and 2100, in 100 ns since 1601 */
    CHECK(system > 132223104000000000 && system < 157469184000000000);
}

static void Processes(void)
{
    UNICODE_STRING *image, tail = STRING(u"System");
    PVOID process = IoGetCurrentProcess();

    CHECK((uintptr_t)PsGetCurrentProcessId() == 4 && PsGetProcessId(process) == PsGetCurrentProcessId());
    CHECK(PsGetCurrentThreadId() != 0 && (uintptr_t)PsGetCurrentThreadId() % 4 == 0);
    ObfReferenceObject(process);
    ObfDereferenceObject(process);
    CHECK(SeLocateProcessImageName(process, &image) == 0);
    CHECK(image->Length > tail.Length);
    image->Buffer += (image->Length - tail.Length) / 2;
    CHECK(memcmp(image->Buffer, tail.Buffer, tail.Length) == 0);
    ExFreePool(image);
}

static void Registry(PVOID driver)
{
    struct { ULONG Title, Type, Length; uint8_t Data[32]; } partial;
    struct { ULONG Title, Type, Offset, Length, NameLength; uint8_t Rest[64]; } full;
    UNICODE_STRING answer = STRING(u"ANSWER"), none = STRING(u"None");
    HANDLE key;
    ULONG length = 0;

    CHECK(IoOpenDriverRegistryKey(driver, 0, 0x20019, 0, &key) == 0);
    CHECK(ZwQueryValueKey(key, &none, 2, &partial, sizeof(partial), &length) == (NTSTATUS)0xC0000034);
    CHECK(ZwQueryValueKey(key, &answer, 2, &partial, 8, &length) == (NTSTATUS)0xC0000023 && length == 16);
    CHECK(ZwQueryValueKey(key, &answer, 2, &partial, 14, &length) == (NTSTATUS)0x80000005 && length == 16);
    CHECK(ZwQueryValueKey(key, &answer, 2, &partial, sizeof(partial), &length) == 0 && length == 16);
    CHECK(partial.Type == 4 && partial.Length == 4 && partial.Data[0] == 42);
    CHECK(ZwQueryValueKey(key, &answer, 1, &full, sizeof(full), &length) == 0);
    CHECK(full.NameLength == 12 && full.Length == 4 && full.Offset + 4 == length);
    CHECK(memcmp(full.Rest, u"Answer", 12) == 0 && ((uint8_t *)&full)[full.Offset] == 42);
    CHECK(ZwQueryValueKey(key, &answer, 99, &partial, sizeof(partial), &length) == (NTSTATUS)0xC000000D);
    CHECK(ZwClose(key) == 0);
    CHECK(IoOpenDriverRegistryKey(driver, 7, 0x20019, 0, &key) == (NTSTATUS)0xC00000BB);
}

static void Unload(PVOID driver)
{
    (void)driver;
    DbgPrint("unloaded\n");
}

int DriverEntry(PVOID driver, UNICODE_STRING *path)
{
    UNICODE_STRING name = STRING(u"KeQueryPerformanceCounter");
    int64_t (*counter)(int64_t *) = MmGetSystemRoutineAddress(&name);
    (void)path;

    CHECK(counter != 0 && counter(0) != 0);
    Strings();
    Memory();
    Levels();
    Waiting();
    Times();
    Processes();
    Registry(driver);
    DbgPrint("%u checks\n", Checks);
    /* DRIVER_OBJECT.DriverUnload */
    *(PVOID *)((uint8_t *)driver + 0x68) = Unload;
    return STATUS_SUCCESS;
}
