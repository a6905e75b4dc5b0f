/*
 * The executive's locks, waits, timers, lists and tables, used as a driver uses them: written against the DDK's own headers, so that
 * what those inline is tried as well. Prints what is not as documented, then how much was asked.
 */
#include <ntifs.h>
#include <ntstrsafe.h>

static ULONG Checks;
#define CHECK(what) (Checks++, (what) ? 0 : (int)DbgPrint("line %d: %s\n", __LINE__, #what))
#define MILLISECONDS(n) (-10000LL * (n))
#define TAG 0x74795442

#ifndef DEFECT
#define DEFECT 0
#endif

static ERESOURCE Resource, Second;
static KEVENT Ready, Go;
static LONG Ran;

static void Clocks(void)
{
    LARGE_INTEGER system, again, ticks, later, wait = { .QuadPart = MILLISECONDS(40) };

    KeQuerySystemTime(&system);
    KeQuerySystemTime(&again);
    /* Between 2020 and 2100, in 100 ns since 1601 */
    CHECK(again.QuadPart >= system.QuadPart && system.QuadPart > 132223104000000000LL && system.QuadPart < 157469184000000000LL);
    KeQueryTickCount(&ticks);
    CHECK(KeDelayExecutionThread(KernelMode, FALSE, &wait) == STATUS_SUCCESS);
    KeQueryTickCount(&later);
    CHECK(later.QuadPart - ticks.QuadPart >= 2);
    CHECK(SharedUserData->NtMajorVersion == 10 && SharedUserData->NtSystemRoot[0] == 'C');
}

static VOID NTAPI Thread(PVOID context)
{
    LARGE_INTEGER now = { 0 };

    KeSetEvent(&Ready, 0, FALSE);
    KeWaitForSingleObject(&Go, Executive, KernelMode, FALSE, NULL);
    /* The main thread owns it alone. */
    KeEnterCriticalRegion();
    CHECK(!ExAcquireResourceSharedLite(&Resource, FALSE));
    KeLeaveCriticalRegion();
    CHECK(KeWaitForSingleObject(context, Executive, KernelMode, FALSE, &now) == STATUS_TIMEOUT);
    KeSetEvent(&Ready, 0, FALSE);
    PsTerminateSystemThread(STATUS_SUCCESS);
}

static void Resources(void)
{
    KMUTEX mutex;
    HANDLE handle;
    PVOID thread;

    KeInitializeMutex(&mutex, 0);
    KeInitializeEvent(&Ready, SynchronizationEvent, FALSE);
    KeInitializeEvent(&Go, NotificationEvent, FALSE);
    CHECK(ExInitializeResourceLite(&Resource) == STATUS_SUCCESS);
    CHECK(PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Thread, &mutex) == STATUS_SUCCESS);
    CHECK(ObReferenceObjectByHandle(handle, THREAD_ALL_ACCESS, *PsThreadType, KernelMode, &thread, NULL) == STATUS_SUCCESS);
    ZwClose(handle);
    KeWaitForSingleObject(&Ready, Executive, KernelMode, FALSE, NULL);

    KeEnterCriticalRegion();
    CHECK(ExAcquireResourceExclusiveLite(&Resource, TRUE) && ExAcquireResourceExclusiveLite(&Resource, FALSE));
    CHECK(ExAcquireResourceSharedLite(&Resource, FALSE));
    CHECK(ExIsResourceAcquiredExclusiveLite(&Resource) && ExIsResourceAcquiredSharedLite(&Resource) == 3);
    CHECK(KeWaitForSingleObject(&mutex, Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS);
    CHECK(KeWaitForSingleObject(&mutex, Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS);
    KeSetEvent(&Go, 0, FALSE);
    KeWaitForSingleObject(&Ready, Executive, KernelMode, FALSE, NULL);
    CHECK(KeReleaseMutex(&mutex, FALSE) == -1 && KeReleaseMutex(&mutex, FALSE) == 0);
    CHECK(KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS);
    ObDereferenceObject(thread);
    ExReleaseResourceLite(&Resource);
    ExReleaseResourceLite(&Resource);
    ExConvertExclusiveToSharedLite(&Resource);
    CHECK(!ExIsResourceAcquiredExclusiveLite(&Resource) && ExIsResourceAcquiredSharedLite(&Resource) == 1);
    ExReleaseResourceLite(&Resource);
    CHECK(ExIsResourceAcquiredSharedLite(&Resource) == 0);
    KeLeaveCriticalRegion();
    CHECK(ExDeleteResourceLite(&Resource) == STATUS_SUCCESS);
}

static VOID NTAPI Deferred(PKDPC dpc, PVOID context, PVOID first, PVOID second)
{
    (void)dpc;
    CHECK(KeGetCurrentIrql() == DISPATCH_LEVEL);
    CHECK(first == second || (first == (PVOID)1 && second == (PVOID)2));
    InterlockedIncrement(&Ran);
    KeSetEvent(context, 0, FALSE);
}

static void Timers(void)
{
    KTIMER timer, periodic;
    KDPC dpc;
    KEVENT event;
    KSEMAPHORE semaphore;
    PVOID objects[2] = { &event, &semaphore };
    LARGE_INTEGER soon = { .QuadPart = MILLISECONDS(5) }, never = { .QuadPart = MILLISECONDS(1000000) }, now = { 0 };

    KeInitializeEvent(&event, SynchronizationEvent, FALSE);
    KeInitializeSemaphore(&semaphore, 0, 2);
    KeInitializeTimer(&timer);
    KeInitializeTimerEx(&periodic, SynchronizationTimer);
    KeInitializeDpc(&dpc, Deferred, &event);

    CHECK(!KeSetTimer(&timer, never, &dpc) && !KeReadStateTimer(&timer) && KeSetTimer(&timer, soon, &dpc));
    CHECK(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS && Ran == 1);
    CHECK(KeWaitForSingleObject(&timer, Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS && KeReadStateTimer(&timer));
    CHECK(!KeSetTimer(&timer, never, NULL) && KeSetTimer(&timer, never, NULL) && KeCancelTimer(&timer) && !KeCancelTimer(&timer));
    KeSetTimerEx(&periodic, soon, 1, NULL);
    CHECK(KeWaitForSingleObject(&periodic, Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS);
    CHECK(KeWaitForSingleObject(&periodic, Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS);
    CHECK(KeCancelTimer(&periodic));

    CHECK(KeInsertQueueDpc(&dpc, (PVOID)1, (PVOID)2));
    KeFlushQueuedDpcs();
    CHECK(Ran == 2);
    CHECK(KeWaitForMultipleObjects(2, objects, WaitAny, Executive, KernelMode, FALSE, NULL, NULL) == STATUS_WAIT_0);
    CHECK(KeReleaseSemaphore(&semaphore, 0, 2, FALSE) == 0 && KeReadStateSemaphore(&semaphore) == 2);
    CHECK(KeWaitForMultipleObjects(2, objects, WaitAny, Executive, KernelMode, FALSE, &now, NULL) == STATUS_WAIT_1);
    CHECK(KeWaitForMultipleObjects(2, objects, WaitAll, Executive, KernelMode, FALSE, &now, NULL) == STATUS_TIMEOUT);
    CHECK(KeReadStateSemaphore(&semaphore) == 1);
    KeSetEvent(&event, 0, FALSE);
    CHECK(KeWaitForMultipleObjects(2, objects, WaitAll, Executive, KernelMode, FALSE, &now, NULL) == STATUS_WAIT_0);
    CHECK(KeReadStateSemaphore(&semaphore) == 0 && KeReadStateEvent(&event) == 0);
}

static void Lists(void)
{
    static NPAGED_LOOKASIDE_LIST list;
    static DECLSPEC_ALIGN(16) SLIST_HEADER head;
    static DECLSPEC_ALIGN(16) SLIST_ENTRY entries[2];
    LIST_ENTRY queue, items[2];
    KSPIN_LOCK lock;
    PVOID block, again;

    InitializeSListHead(&head);
    CHECK(ExInterlockedPushEntrySList(&head, &entries[0], NULL) == NULL && ExInterlockedPushEntrySList(&head, &entries[1], NULL) == &entries[0]);
    CHECK(ExQueryDepthSList(&head) == 2);
    CHECK(ExInterlockedPopEntrySList(&head, NULL) == &entries[1] && ExInterlockedPopEntrySList(&head, NULL) == &entries[0]);
    CHECK(ExInterlockedPopEntrySList(&head, NULL) == NULL && ExQueryDepthSList(&head) == 0);

    ExInitializeNPagedLookasideList(&list, NULL, NULL, 0, 48, TAG, 0);
    block = ExAllocateFromNPagedLookasideList(&list);
    CHECK(block != NULL);
    ExFreeToNPagedLookasideList(&list, block);
    again = ExAllocateFromNPagedLookasideList(&list);
    CHECK(again == block && list.L.TotalAllocates == 2 && list.L.AllocateMisses == 1);
    ExFreeToNPagedLookasideList(&list, again);
    if (DEFECT != 1)
        ExDeleteNPagedLookasideList(&list);

    KeInitializeSpinLock(&lock);
    InitializeListHead(&queue);
    CHECK(ExInterlockedInsertTailList(&queue, &items[0], &lock) == NULL);
    CHECK(ExInterlockedInsertTailList(&queue, &items[1], &lock) == &items[0]);
    CHECK(ExInterlockedRemoveHeadList(&queue, &lock) == &items[0] && ExInterlockedRemoveHeadList(&queue, &lock) == &items[1]);
    CHECK(ExInterlockedRemoveHeadList(&queue, &lock) == NULL && IsListEmpty(&queue));
}

static RTL_GENERIC_COMPARE_RESULTS NTAPI Compare(PRTL_AVL_TABLE table, PVOID left, PVOID right)
{
    ULONG a = *(PULONG)left, b = *(PULONG)right;
    (void)table;
    return a < b ? GenericLessThan : a > b ? GenericGreaterThan : GenericEqual;
}

static PVOID NTAPI Allocate(PRTL_AVL_TABLE table, CLONG bytes)
{
    (void)table;
    return ExAllocatePoolWithTag(PagedPool, bytes, TAG);
}

static VOID NTAPI Free(PRTL_AVL_TABLE table, PVOID block)
{
    (void)table;
    ExFreePoolWithTag(block, TAG);
}

static void Tables(void)
{
    static const ULONG keys[] = { 5, 1, 9, 3, 7 };
    RTL_AVL_TABLE table;
    PVOID key = NULL;
    PULONG found;
    BOOLEAN new;
    ULONG i, last = 0;

    RtlInitializeGenericTableAvl(&table, Compare, Allocate, Free, NULL);
    CHECK(RtlIsGenericTableEmptyAvl(&table));
    for (i = 0; i < RTL_NUMBER_OF(keys); i++)
        CHECK(RtlInsertElementGenericTableAvl(&table, (PVOID)&keys[i], sizeof(ULONG), &new) && new);
    CHECK(RtlInsertElementGenericTableAvl(&table, (PVOID)&keys[0], sizeof(ULONG), &new) && !new);
    CHECK(RtlNumberGenericTableElementsAvl(&table) == 5 && table.NumberGenericTableElements == 5);
    found = RtlLookupElementGenericTableAvl(&table, (PVOID)&keys[3]);
    CHECK(found && *found == 3);
    CHECK(RtlDeleteElementGenericTableAvl(&table, (PVOID)&keys[3]) && !RtlDeleteElementGenericTableAvl(&table, (PVOID)&keys[3]));
    for (i = 0, found = RtlEnumerateGenericTableAvl(&table, TRUE); found; found = RtlEnumerateGenericTableAvl(&table, FALSE), i++) {
        CHECK(*found > last);
        last = *found;
    }
    CHECK(i == 4 && last == 9);
    found = RtlEnumerateGenericTableWithoutSplayingAvl(&table, &key);
    CHECK(found && *found == 1);
    found = RtlGetElementGenericTableAvl(&table, 1);
    CHECK(found && *found == 5);
    while ((found = RtlGetElementGenericTableAvl(&table, 0)) != NULL)
        RtlDeleteElementGenericTableAvl(&table, found);
    CHECK(RtlIsGenericTableEmptyAvl(&table));
}

static void Texts(void)
{
    WCHAR buffer[32];
    UNICODE_STRING string = { 0, sizeof(buffer), buffer }, pattern = RTL_CONSTANT_STRING(L"*.T?T"), name = RTL_CONSTANT_STRING(L"readme.txt");
    GUID guid = { 0xb86dff51, 0xa31e, 0x4bac, { 0xb3, 0xcf, 0xe8, 0xcf, 0xe7, 0x5c, 0x9f, 0xc2 } }, back;
    ULONG value;

    CHECK(RtlStringCchPrintfW(buffer, RTL_NUMBER_OF(buffer), L"%s-%hs-%04x-%wZ", L"wide", "narrow", 0x2a, &pattern) == STATUS_SUCCESS);
    CHECK(RtlCompareMemory(buffer, L"wide-narrow-002a-*.T?T", 46) == 46);
    CHECK(RtlStringCchPrintfW(buffer, 4, L"%s", L"12345") == STATUS_BUFFER_OVERFLOW && buffer[3] == 0);
    CHECK(FsRtlIsNameInExpression(&pattern, &name, TRUE, NULL) && FsRtlDoesNameContainWildCards(&pattern));
    CHECK(RtlIntegerToUnicodeString(4711, 10, &string) == STATUS_SUCCESS && string.Length == 8);
    CHECK(RtlUnicodeStringToInteger(&string, 0, &value) == STATUS_SUCCESS && value == 4711);
    CHECK(RtlStringFromGUID(&guid, &string) == STATUS_SUCCESS && RtlGUIDFromString(&string, &back) == STATUS_SUCCESS);
    CHECK(RtlCompareMemory(&guid, &back, sizeof(guid)) == sizeof(guid));
    RtlFreeUnicodeString(&string);
    CHECK(wcscmp(L"abc", L"abd") < 0 && _wcsicmp(L"ABC", L"abc") == 0 && wcschr(L"abc", L'c') != NULL);
    CHECK(RtlIsNameLegalDOS8Dot3(&name, NULL, NULL));
}

static void Rundown(void)
{
    EX_RUNDOWN_REF reference;

    ExInitializeRundownProtection(&reference);
    CHECK(ExAcquireRundownProtection(&reference));
    ExReleaseRundownProtection(&reference);
    ExWaitForRundownProtectionRelease(&reference);
    CHECK(!ExAcquireRundownProtection(&reference));
    ExRundownCompleted(&reference);
}

__attribute__((section("PAGE"), noinline)) static void Pageable(void)
{
    InterlockedIncrement(&Ran);
}

/* One defect each, chosen when it is compiled. */
static void Defect(void)
{
    static KTIMER timer;
    static KSPIN_LOCK a, b;
    LARGE_INTEGER later = { .QuadPart = MILLISECONDS(100000) };
    KIRQL irql;
    PVOID block;

    ExInitializeResourceLite(&Resource);
    ExInitializeResourceLite(&Second);
    KeInitializeTimer(&timer);
    switch (DEFECT) {
    case 2: /* a release without an acquisition */
        ExReleaseResourceLite(&Resource);
        break;
    case 3: /* unloaded with a timer set */
        KeSetTimer(&timer, later, NULL);
        break;
    case 4: /* two orders */
        KeAcquireSpinLock(&a, &irql);
        KeAcquireSpinLockAtDpcLevel(&b);
        KeReleaseSpinLockFromDpcLevel(&b);
        KeReleaseSpinLock(&a, irql);
        KeAcquireSpinLock(&b, &irql);
        KeAcquireSpinLockAtDpcLevel(&a);
        KeReleaseSpinLockFromDpcLevel(&a);
        KeReleaseSpinLock(&b, irql);
        break;
    case 5: /* a resource in memory that is freed */
        block = ExAllocatePoolWithTag(NonPagedPool, sizeof(ERESOURCE), TAG);
        ExInitializeResourceLite(block);
        ExFreePoolWithTag(block, TAG);
        break;
    case 6: /* waits for what is no object */
        block = ExAllocatePoolWithTag(NonPagedPool, sizeof(KEVENT), TAG);
        RtlZeroMemory(block, sizeof(KEVENT));
        KeWaitForSingleObject(block, Executive, KernelMode, FALSE, NULL);
        break;
    case 7: /* shared, then alone: waits for itself */
        KeEnterCriticalRegion();
        ExAcquireResourceSharedLite(&Resource, TRUE);
        ExAcquireResourceExclusiveLite(&Resource, TRUE);
        break;
    case 10: /* reads beyond a block, a page further */
        block = ExAllocatePoolWithTag(NonPagedPool, 0x1000, TAG);
        Ran = ((volatile UCHAR *)block)[0x1000];
        break;
    case 11: /* paged pool at DISPATCH_LEVEL: allocated below, touched above */
        block = ExAllocatePoolWithTag(PagedPool, 64, TAG);
        *(volatile UCHAR *)block = 1;
        KeRaiseIrql(DISPATCH_LEVEL, &irql);
        *(volatile UCHAR *)block = 2;
        KeLowerIrql(irql);
        break;
    case 12: /* pageable code at DISPATCH_LEVEL */
        Pageable();
        KeRaiseIrql(DISPATCH_LEVEL, &irql);
        Pageable();
        KeLowerIrql(irql);
        break;
    case 8: /* writes where everybody reads */
        *(volatile ULONG *)&SharedUserData->NtMajorVersion = 11;
        break;
    }
    if (DEFECT != 9) /* resources not deleted */ {
        ExDeleteResourceLite(&Resource);
        ExDeleteResourceLite(&Second);
    }
}

static VOID NTAPI Unload(PDRIVER_OBJECT driver)
{
    (void)driver;
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
    (void)path;
    driver->DriverUnload = Unload;
    if (DEFECT > 1) {
        Defect();
        return STATUS_SUCCESS;
    }
    Clocks();
    Resources();
    Timers();
    Lists();
    Tables();
    Texts();
    Rundown();
    DbgPrint("%u checks\n", Checks);
    return STATUS_SUCCESS;
}
